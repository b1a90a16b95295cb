/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_odd_sim.c - scenarios of the odd: replies cut at every byte and changed at random, requests
 * changed at random, and what clients, engines and configurations may rightly do but seldom do.
 */
#include "base/buf.h"
#include "sim/gate_rig.h"

enum { CUTS = 12, MUTANTS = 15, REPLY_MAX = 1024 };

static struct addr at;

static void begin(void)
{
    at = rig_at(8001);
    rig_begin(1 + (unsigned)world_random(2));
    rig_remote("a", "http://127.0.0.1:8001", 2, MODELS(M("m")));
}

/* ---- replies that are cut, or changed ---- */

#define HEAD_OF(type) "HTTP/1.1 200 OK\r\ncontent-type: " type "\r\n"
#define STREAM_TEXT                                                                                \
    "1d\r\n" EVENT("a") "\r\n1d\r\n" EVENT("b") "\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
static const struct {
    struct str text;
    size_t tail; /* bytes at the end without which it is whole all the same */
} replies[] = {
    {STR(HEAD_OF("text/event-stream") "transfer-encoding: chunked\r\n\r\n" STREAM_TEXT), 0},
    {STR(HEAD_OF("application/json") "transfer-encoding: chunked\r\n\r\n7\r\n{\"a\":1,\r\n6\r\n"
                                     "\"b\":2}\r\n0\r\n\r\n"),
     0},
    {STR(HEAD_OF("application/json") "content-length: 13\r\n\r\n{\"a\":1,\"b\":2}"), 0},
    {STR(HEAD_OF("text/event-stream") "\r\n" EVENT("a") "data: [DONE]\n\n"), 2},
    {STR(HEAD_OF("application/json") "\r\n{\"a\":1,\"b\":2}"), 0},
    {STR("HTTP/1.1 100 Continue\r\n\r\n" HEAD_OF("text/plain") "content-length: 4\r\n\r\ntext"), 0},
};

/* An engine whose connections send the same bytes, then end. */
static char sent[REPLY_MAX];
static struct step sender[] = {EXPECT_CHAT_OR_END, SEND(""), PAUSE(2), HANG_UP, DONE};
enum { SENDER_SEND = 2, SENDER_END = 4 };

static void send_then(struct str text, unsigned end)
{
    CHECK(text.n <= sizeof sent && sender[SENDER_SEND].op == PEER_send);
    memcpy(sent, text.p, text.n);
    sender[SENDER_SEND].text = sent;
    sender[SENDER_SEND].n = text.n;
    sender[SENDER_END].op = end;
}

static void odd_reply_cut_anywhere(void)
{
    static const struct step client[] = {CHAT_STREAM("m"), EXPECT_HONEST, DONE};
    static const struct step other[] = {CHAT_STREAM("x"), EXPECT_HONEST, DONE};
    static const struct step old[] = {
        SEND("POST " CHAT_PATH " HTTP/1.0\r\ncontent-length: 13\r\n\r\n{\"model\":\"m\"}"),
        EXPECT_HONEST, DONE};
    const struct step *clients[] = {client, old, other};

    begin();
    rig.conf.breaker.broken = 0; /* it would leave an engine alone that only breaks */
    rig_alias("x", "m");
    ENGINE_START("engine", &at, sender);
    rig_start();
    for (unsigned i = 0; i < (world_plain() ? 3 * CUTS : CUTS); i++) {
        unsigned which =
            world_plain() ? i % ARRAY_LEN(replies) : (unsigned)world_random(ARRAY_LEN(replies));
        struct str text = replies[which].text;
        size_t n = world_plain() ? text.n - replies[which].tail - 1 - i / ARRAY_LEN(replies)
                                 : world_random(text.n - replies[which].tail);

        send_then(str_head(text, n), world_chance(30) ? PEER_reset : PEER_hang_up);
        client_start("client", &rig.at, clients[world_random(ARRAY_LEN(clients))]);
        peers_run(3000);
        peers_finish(3000);
    }
    rig_end();
}

/* Some bytes are others, missing, or there twice. */
static size_t mutate(struct str text, char *to)
{
    size_t n = text.n;

    memcpy(to, text.p, n);
    for (unsigned times = 1 + (unsigned)world_random(3); times > 0; times--) {
        size_t i = world_random(n);

        switch (world_random(4)) {
        case 0:
            to[i] = (char)world_random(256);
            break;
        case 1:
            to[i] = "\r\n :,0\"{}\\"[world_random(11)];
            break;
        case 2:
            memmove(to + i, to + i + 1, n - i - 1);
            n--;
            break;
        default:
            memmove(to + i + 1, to + i, n - i);
            n++;
            break;
        }
    }
    return n;
}

static void odd_mutated_replies(void)
{
    static const struct step client[] = {
        POST_WITH(CHAT_PATH, "connection: close\r\n", "{\"model\":\"x\",\"stream\":true}"),
        EXPECT_GONE, DONE};

    begin();
    rig.conf.breaker.broken = 0;
    rig_alias("x", "m");
    rig.conf.limits.idle_ms = rig.conf.limits.first_byte_ms = 500;
    ENGINE_START("engine", &at, sender);
    rig_start();
    for (unsigned i = 0; i < MUTANTS; i++) {
        char text[REPLY_MAX];

        send_then(str_span(text, mutate(replies[world_random(ARRAY_LEN(replies))].text, text)),
                  PEER_hang_up);
        client_start("client", &rig.at, client);
        peers_run(3000);
        peers_finish(3000);
    }
    rig_end();
}

/* Whatever clients send, engines see whole requests for their own paths. */
static void odd_mutated_requests(void)
{
    static const struct str requests[] = {
        STR("POST " CHAT_PATH " HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            "content-length: 28\r\n\r\n{\"model\":\"m\",\"stream\":false}"),
        STR("POST " CHAT_PATH " HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
            "a\r\n{\"model\":\"\r\n12\r\nm\",\"stream\":false}\r\n0\r\n\r\n"),
        STR("GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    };
    SCRIPT(engine, REPEAT(0), EXPECT_REQUEST_OR_END("POST /v1/"), EXPECT_ANY_BODY_OR_END,
           EXPECT_SO_FAR("\"m\""), REPLY_CHAT, AGAIN, DONE);
    static struct step client[] = {SEND(""), PAUSE(20), HANG_UP, DONE};
    static char text[REPLY_MAX];

    begin();
    ENGINE_START("engine", &at, engine);
    rig_start();
    for (unsigned i = 0; i < MUTANTS; i++) {
        client[0].text = text;
        client[0].n = mutate(requests[world_random(ARRAY_LEN(requests))], text);
        client_start("client", &rig.at, client);
        peers_run(3000);
    }
    rig_end();
}

/* ---- rightful but seldom ---- */

static void odd_pipelined_chats(void)
{
    SCRIPT(engine, SLOW_CHATTER(20));

    begin();
    ENGINE_START("engine", &at, engine);
    rig_start();
    RUN(9000, CHAT("m"), CHAT("m"), GET("/ready"), CHAT("m"), EXPECT_ANSWER, EXPECT_ANSWER,
        EXPECT_STATUS(200), EXPECT_BODY_HAS("ready"), EXPECT_ANSWER, DONE);
    EXPECT_U64(RIG_COUNT(attempts), 3);
    rig_end();
}

static void odd_expect_continue(void)
{
    SCRIPT(engine, CHATTER);

    begin();
    ENGINE_START("engine", &at, engine);
    rig_start();
    RUN(9000,
        SEND("POST " CHAT_PATH " HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
             "content-length: 13\r\n\r\n"),
        EXPECT_RAW("HTTP/1.1 100 Continue\r\n\r\n"), SEND("{\"model\":\"m\"}"), EXPECT_ANSWER,
        SEND("POST /nowhere HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
             "content-length: 13\r\n\r\n"),
        EXPECT_FAULT(404, "not_found"), EXPECT_END, DONE);
    rig_end();
}

static void odd_passthrough(void)
{
    SCRIPT(engine, EXPECT_REQUEST("GET /slots?x=1 HTTP/1.1"), EXPECT_NO_FIELD("content-length"),
           REPLY_JSON("[]"), EXPECT_REQUEST("HEAD /slots HTTP/1.1"),
           SEND("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
           EXPECT_REQUEST("POST /slots HTTP/1.1"), EXPECT_BODY("erase"),
           REPLY("400 Bad Request", "no"), EXPECT_CLOSED, DONE);

    begin();
    rig.conf.remote[0].passthrough = MODELS(M("/slots"));
    ENGINE_START("engine", &at, engine);
    rig_start();
    RUN(9000, GET("/slots?x=1"), EXPECT_STATUS(200), EXPECT_BODY("[]"),
        SEND("HEAD /slots HTTP/1.1\r\nhost: localhost\r\n\r\n"), EXPECT_STATUS_NO_BODY(200),
        EXPECT_FIELD("content-length", "2"), POST("/slots", "erase"), EXPECT_STATUS(400),
        EXPECT_BODY("no"), GET("/props"), EXPECT_FAULT(403, "path_not_allowed"), DONE);
    rig_end();
}

static void odd_cross_origin(void)
{
    SCRIPT(engine, CHATTER);

    begin();
    rig.conf.listen[0].origins = MODELS(M("https://chat.example"));
    ENGINE_START("engine", &at, engine);
    rig_start();
    RUN(9000,
        SEND("OPTIONS " CHAT_PATH " HTTP/1.1\r\nhost: localhost\r\norigin: https://chat.example\r\n"
             "access-control-request-method: POST\r\n\r\n"),
        EXPECT_STATUS(204), EXPECT_FIELD("access-control-allow-origin", "https://chat.example"),
        POST_WITH(CHAT_PATH, "origin: https://chat.example\r\n", "{\"model\":\"m\"}"),
        EXPECT_ANSWER, EXPECT_FIELD("access-control-allow-origin", "https://chat.example"),
        POST_WITH(CHAT_PATH, "origin: http://localhost:8900\r\n", "{\"model\":\"m\"}"),
        EXPECT_ANSWER, EXPECT_NO_FIELD("access-control-allow-origin"), DONE);
    rig_end();
}

static void odd_unix_engine(void)
{
    SCRIPT(engine, CHATTER);
    struct addr path = {.family = ADDR_UNIX, .path = "/run/engine.sock"};

    rig_begin(1);
    rig_remote("a", "unix:/run/engine.sock", 1, MODELS(M("m")));
    rig_start();
    RUN(9000, CHAT("m"), EXPECT_FAULT(503, "upstream_refused"), DONE);
    ENGINE_START("engine", &path, engine);
    world_run_ms(5000); /* the next knock */
    RUN(9000, CHAT("m"), EXPECT_ANSWER, CHAT("m"), EXPECT_ANSWER, DONE);
    rig_end();
}

static void odd_hang_up_while_connecting(void)
{
    begin();
    rig_start();
    wire_route(&at, WIRE_BLACKHOLE);
    RUN(9000, CHAT("m"), PAUSE(300), HANG_UP, DONE);
    rig_wait_idle(100);
    rig_end();
}

/* A name that does not resolve is an engine that cannot be reached. */
static void odd_no_such_name(void)
{
    rig_begin(1);
    rig_remote("a", "http://nowhere.test:8001", 1, MODELS(M("m")));
    rig_start();
    RUN(9000, CHAT("m"), EXPECT_FAULT(503, "upstream_refused"), DONE);
    rig_end();
}

/* A model that nobody has named yet may be one that an engine is about to name. */
static void odd_unknown_model_waits_for_lists(void)
{
    SCRIPT(lists, PAUSE(400), REPEAT(0), EXPECT_REQUEST_OR_END("GET /v1/models"),
           REPLY_JSON("{\"data\":[{\"id\":\"m\"}]}"), AGAIN, DONE);
    SCRIPT(chats, CHATTER);
    SCRIPT(waits, CHAT("m"), EXPECT_ANSWER, DONE);
    SCRIPT(refused, CHAT("n"), EXPECT_FAULT(404, "model_not_found"), DONE);

    at = rig_at(8001);
    rig_begin(1 + (unsigned)world_random(2));
    rig_remote("a", "http://127.0.0.1:8001", 1, (struct str_list){NULL, 0});
    ENGINE_START("engine", &at, lists, chats);
    rig_start();
    client_start("waits", &rig.at, waits);
    client_start("refused", &rig.at, refused);
    peers_run(3000);
    rig_end();
}

/* It waits no longer than any other. */
static void odd_engine_never_comes(void)
{
    rig_begin(1 + (unsigned)world_random(2));
    rig_unit("u", 1, MODELS(M("m")));
    rig.conf.limits.queue_ms = 1000;
    rig_start();
    rig_unit_is(1, 1, UNIT_LOADING, 27001);
    RUN(9000, CHAT("m"), MARK, EXPECT_FAULT(503, "no_healthy_service"), SINCE(950, 1100),
        EXPECT_FIELD("retry-after", "5"), DONE);
    rig_end();
}

/* An address that a reload takes out is not listened on any more; what is there goes on. */
static void odd_reload_removes_a_listener(void)
{
    SCRIPT(engine, SLOW_CHATTER(500));
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, GET("/ready"), EXPECT_STATUS(200),
           EXPECT_BODY_HAS("ready"), DONE);
    SCRIPT(quick, GET("/ready"), EXPECT_STATUS(200), EXPECT_BODY_HAS("ready"), DONE);
    SCRIPT(refused, EXPECT_GONE, DONE);

    begin();
    rig.conf.listens.n = 2;
    ENGINE_START("engine", &at, engine);
    rig_start();
    client_start("quick", &rig.second_at, quick);
    client_start("busy", &rig.second_at, busy);
    world_run_ms(100);
    rig.conf.listens.n = 1;
    EXPECT(rig_reload());
    world_run_ms(20);
    client_start("refused", &rig.second_at, refused);
    client_start("quick", &rig.at, quick);
    peers_run(3000);
    rig_end();
}

/* The engine's connections are new when its process is: the old ones are not used. */
static void odd_engine_restarts_on_its_port(void)
{
    SCRIPT(old, EXPECT_CHAT, REPLY_CHAT, EXPECT_CLOSED, DONE);
    SCRIPT(fresh, CHATTER);
    struct engine *e;

    at = rig_at(27001);
    rig_begin(1);
    rig_unit("u", 1, MODELS(M("m")));
    rig_start();
    e = ENGINE_START("old", &at, old);
    rig_unit_is(1, 1, UNIT_READY, 27001);
    world_run_ms(20);
    RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    engine_kill(e);
    rig_unit_is(1, 1, UNIT_BACKOFF, 27001);
    world_run_ms(50);
    ENGINE_START("fresh", &at, fresh);
    rig_unit_is(1, 2, UNIT_READY, 27001);
    RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_odd(void)
{
    static const struct scenario all[] = {
        ROW(odd_reply_cut_anywhere) ROW(odd_mutated_replies) ROW(odd_mutated_requests)
            ROW(odd_pipelined_chats) ROW(odd_expect_continue) ROW(odd_passthrough)
                ROW(odd_cross_origin) ROW(odd_unix_engine) ROW(odd_hang_up_while_connecting)
                    ROW(odd_no_such_name) ROW(odd_unknown_model_waits_for_lists)
                        ROW(odd_engine_never_comes) ROW(odd_reload_removes_a_listener)
                            ROW(odd_engine_restarts_on_its_port){NULL, NULL},
    };

    return all;
}
