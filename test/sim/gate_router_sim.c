/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_router_sim.c - scenarios of the request path under the router's rules (docs/router.md): what
 * is forwarded and how, what may be sent again, what a client is told when nobody answers, and the
 * bounds of time. Engines "a" and "b" are asked in that order by who names no model.
 */
#include "api/api.h"
#include "gate/control_priv.h"
#include "sim/gate_rig.h"

static struct addr at_a, at_b, at_c;

static void begin_router(void)
{
    at_a = rig_at(8001);
    at_b = rig_at(8002);
    at_c = rig_at(8003);
    rig_begin(1);
    rig.gate.api = api_router(false);
    rig.gate.rules = &gate_rules_router;
    rig.conf.retry = (struct retry_conf){
        .attempts = 3, .budget_percent = 20, .mask = RETRY_CONNECT | RETRY_BROKEN};
    rig.conf.limits.first_byte_ms = rig.conf.limits.reply_ms = 20000;
    rig.conf.limits.idle_ms = 5000;
    rig.conf.limits.queue_ms = 0;
}

static void begin_alone(void)
{
    begin_router();
    rig_remote("a", "http://127.0.0.1:8001", 0, MODELS(M("m")));
}

static void begin(void)
{
    begin_alone();
    rig_remote("b", "http://127.0.0.1:8002", 0, MODELS(M("m")));
}

static uint64_t attempts_at(const char *name)
{
    struct member *m = member_by_name(rig.control, str_of(name));

    CHECK(m);
    return atomic_load(&m->cell->requests);
}

static uint64_t errors_at(const char *name)
{
    return atomic_load(&member_by_name(rig.control, str_of(name))->cell->errors);
}

static enum cell_door door_of(const char *name)
{
    return (enum cell_door)atomic_load(&member_by_name(rig.control, str_of(name))->cell->door);
}

#define JSON_POST(path) POST_WITH(path, "content-type: application/json\r\n", "{}")
#define EXPECT_ERROR(status, code, message)                                                        \
    EXPECT_STATUS(status), EXPECT_BODY("{\"error\":{\"code\":\"" code "\",\"message\":\"" message  \
                                       "\",\"param\":null,\"type\":\"server_error\"}}")
#define EXPECT_ASKED(line) EXPECT_REQUEST(line " HTTP/1.1"), EXPECT_BODY_HAS("")
#define OK REPLY("200 OK", "fine")
#define EXPECT_OK EXPECT_STATUS(200), EXPECT_BODY("fine")

/* ---- what is forwarded ---- */

static void router_any_method_any_path(void)
{
    SCRIPT(a, EXPECT_ASKED("GET /x?q=1"), OK, EXPECT_ASKED("PROPFIND /"), OK,
           EXPECT_REQUEST("DELETE /v1/files/7 HTTP/1.1"), EXPECT_NO_FIELD("content-length"),
           EXPECT_BODY(""), OK, EXPECT_ASKED("OPTIONS *"), OK, EXPECT_REQUEST("POST /any HTTP/1.1"),
           EXPECT_FIELD("content-length", "9"), EXPECT_BODY("not\0json!"), OK, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(1000, SEND("GET /x?q=1 HTTP/1.1\r\n\r\n"), EXPECT_OK, SEND("PROPFIND / HTTP/1.1\r\n\r\n"),
        EXPECT_OK, SEND("DELETE /v1/files/7 HTTP/1.1\r\ncontent-length: 0\r\n\r\n"), EXPECT_OK,
        SEND("OPTIONS * HTTP/1.1\r\n\r\n"), EXPECT_OK,
        SEND("POST /any HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), CHUNK("not\0"),
        CHUNK("json!"), SEND("0\r\n\r\n"), EXPECT_OK, DONE);
    RUN(1000, SEND("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n"),
        EXPECT_FAULT(405, "method_not_allowed"), DONE);
    rig_end();
}

static void router_resolves_dots(void)
{
    SCRIPT(a, EXPECT_ASKED("GET /pre/fix/c"), OK, EXPECT_ASKED("GET /pre/fix/"), OK,
           EXPECT_ASKED("GET /pre/fix/b/?a=/../b"), OK, EXPECT_ASKED("GET /pre/fix/a/...//.b"), OK,
           EXPECT_ASKED("GET /pre/fix/%41/b"), OK, DONE);

    begin_router();
    rig_remote("a", "http://127.0.0.1:8001/pre/fix", 0, MODELS(M("m")));
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(1000, GET("/a/./b/../../../c"), EXPECT_OK, GET("/.."), EXPECT_OK,
        GET("/a/%2E./b/.?a=/../b"), EXPECT_OK, GET("/a/...//.b"), EXPECT_OK, GET("/%41/b"),
        EXPECT_OK, GET("/x/%2e%2e/health"), EXPECT_STATUS(200),
        EXPECT_BODY_HAS("\"router\":\"running\""), DONE);
    rig_end();
}

static void router_passes_fields(void)
{
    SCRIPT(a, EXPECT_REQUEST("GET / HTTP/1.1"), EXPECT_FIELD("host", "127.0.0.1:8001"),
           EXPECT_FIELD("x-forwarded-for", "10.0.0.1"), EXPECT_FIELD("forwarded", "for=10.0.0.1"),
           EXPECT_FIELD("origin", "http://page"), EXPECT_FIELD("x-api-key", "k"),
           EXPECT_FIELD("cookie", "c=1"), EXPECT_FIELD("x_under", "u"),
           EXPECT_FIELD("x-request-id", "mine"), EXPECT_FIELD("accept", "*/*"),
           EXPECT_NO_FIELD("via"), EXPECT_NO_FIELD("connection"), EXPECT_NO_FIELD("upgrade"),
           EXPECT_NO_FIELD("x-named"), EXPECT_NO_FIELD("te"), EXPECT_NO_FIELD("keep-alive"),
           EXPECT_NO_FIELD("proxy-authorization"), EXPECT_NO_FIELD("trailer"),
           SEND("HTTP/1.1 302 Found\r\nlocation: /there\r\nserver: engine/1\r\nset-cookie: a=1\r\n"
                "access-control-allow-origin: *\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
                "x-hop: 1\r\nconnection: x-hop\r\nkeep-alive: timeout=5\r\n"
                "x-request-id: theirs\r\ncontent-length: 0\r\n\r\n"),
           DONE);

    begin_alone();
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(1000,
        SEND("GET / HTTP/1.1\r\nhost: elsewhere\r\nx-forwarded-for: 10.0.0.1\r\n"
             "forwarded: for=10.0.0.1\r\norigin: http://page\r\nx-api-key: k\r\ncookie: c=1\r\n"
             "x_under: u\r\nx-request-id: mine\r\nconnection: upgrade, x-named\r\nx-named: 1\r\n"
             "upgrade: websocket\r\nte: trailers\r\ntrailer: x\r\nkeep-alive: 1\r\n"
             "proxy-authorization: Basic eA==\r\n\r\n"),
        EXPECT_STATUS(302), EXPECT_FIELD("location", "/there"), EXPECT_FIELD("server", "engine/1"),
        EXPECT_FIELD("set-cookie", "a=1"), EXPECT_FIELD("access-control-allow-origin", "*"),
        EXPECT_FIELD("date", "Thu, 01 Jan 1970 00:00:00 GMT"), EXPECT_NO_FIELD("x-hop"),
        EXPECT_NO_FIELD("keep-alive"), EXPECT_FIELD("x-request-id", "mine"), EXPECT_BODY(""), DONE);
    rig_end();
}

static void router_authorization(void)
{
    SCRIPT(with, EXPECT_REQUEST("GET / HTTP/1.1"), EXPECT_FIELD("authorization", "Bearer x"), OK,
           DONE);
    SCRIPT(without, EXPECT_REQUEST("GET / HTTP/1.1"), EXPECT_NO_FIELD("authorization"), OK, DONE);
    enum forward_authorization how = (enum forward_authorization)world_random(3);

    begin_alone();
    rig.conf.authorization = how;
    ENGINE_START("a", &at_a, how == AUTHORIZATION_NEVER ? without : with);
    rig_start();
    RUN(1000, SEND("GET / HTTP/1.1\r\nauthorization: Bearer x\r\n\r\n"), EXPECT_OK, DONE);
    rig_end();
}

/* ---- another attempt ---- */

static void router_any_response_is_final(void)
{
    SCRIPT(a, EXPECT_ASKED("GET /"), REPLY("503 Service Unavailable", "a's"), EXPECT_ASKED("GET /"),
           REPLY("429 Too Many Requests", "a's"), EXPECT_ASKED("GET /"),
           REPLY("502 Bad Gateway", "a's"), DONE);

    begin_router();
    rig_remote("a", "http://127.0.0.1:8001", 0, MODELS(M("m")))->weight = 2;
    rig_remote("b", "http://127.0.0.1:8002", 0, MODELS(M("m")))->weight = 0;
    rig.conf.breaker.model_failures = 0;
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(1000, GET("/"), EXPECT_STATUS(503), EXPECT_NO_FIELD("retry-after"), EXPECT_BODY("a's"),
        GET("/"), EXPECT_STATUS(429), EXPECT_BODY("a's"), GET("/"), EXPECT_STATUS(502),
        EXPECT_BODY("a's"), DONE);
    EXPECT_U64(attempts_at("b"), 0);
    rig_end();
}

static void router_refused_connect_any_method(void)
{
    SCRIPT(b, EXPECT_ASKED("PUT /files"), OK, DONE);

    begin();
    ENGINE_START("b", &at_b, b);
    rig_start();
    RUN(1000, SEND("PUT /files HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"), EXPECT_OK, DONE);
    EXPECT_U64(attempts_at("a"), 1);
    rig_end();
}

/* One by one: what may be sent again when its connection broke, and what may not. */
static const struct {
    struct step send[2];
    const char *line;
    bool again;
} sent[] = {
    {{GET("/x"), DONE}, "GET /x", true},
    {{SEND("OPTIONS /x HTTP/1.1\r\n\r\n"), DONE}, "OPTIONS /x", true},
    {{JSON_POST("/v1/chat/completions"), DONE}, "POST /v1/chat/completions", true},
    {{JSON_POST("/chat/completions"), DONE}, "POST /chat/completions", true},
    {{JSON_POST("/completions"), DONE}, "POST /completions", true},
    {{POST_WITH("/v1/x", "content-type: application/json; charset=utf-8\r\n", "{}"), DONE},
     "POST /v1/x",
     true},
    {{JSON_POST("/generate"), DONE}, "POST /generate", false},
    {{POST_WITH("/v1/files", "content-type: text/plain\r\n", "x"), DONE}, "POST /v1/files", false},
    {{POST_WITH("/v1/x", "content-type: application/jsonlines\r\n", "x"), DONE},
     "POST /v1/x",
     false},
    {{SEND("PUT /v1/x HTTP/1.1\r\ncontent-type: application/json\r\n\r\n"), DONE},
     "PUT /v1/x",
     false},
    {{SEND("DELETE /v1/x HTTP/1.1\r\n\r\n"), DONE}, "DELETE /v1/x", false},
};

static void router_broken_connection(void)
{
    size_t i = world_random(sizeof sent / sizeof sent[0]);
    const struct step reads = {.op = PEER_request, .text = sent[i].line, .n = strlen(sent[i].line)};
    const struct step breaks[] = {reads, EXPECT_BODY_HAS(""), HANG_UP, DONE};
    const struct step answers[] = {reads, EXPECT_BODY_HAS(""), OK, DONE};
    const struct step again[] = {sent[i].send[0], EXPECT_OK, DONE};
    const struct step not_again[] = {
        sent[i].send[0],
        EXPECT_ERROR(502, "bad_gateway", "Bad gateway - error communicating with service"), DONE};

    begin();
    ENGINE_START("a", &at_a, breaks);
    ENGINE_START("b", &at_b, answers);
    rig_start();
    client_start("client", &rig.at, sent[i].again ? again : not_again);
    peers_run(1000);
    EXPECT_U64(attempts_at("b"), sent[i].again);
    rig_end();
}

/* A GET as often as there are attempts, a generation once more. */
static void router_broken_three_times(void)
{
    SCRIPT(breaks, EXPECT_REQUEST(""), EXPECT_BODY_HAS(""), HANG_UP, DONE);
    bool reads = world_chance(50);

    begin();
    rig_remote("c", "http://127.0.0.1:8003", 0, MODELS(M("m")));
    rig_remote("d", "http://127.0.0.1:8004", 0, MODELS(M("m")));
    ENGINE_START("a", &at_a, breaks);
    ENGINE_START("b", &at_b, breaks);
    ENGINE_START("c", &at_c, breaks);
    rig_start();
    if (reads)
        RUN(1000, GET("/"),
            EXPECT_ERROR(502, "bad_gateway", "Bad gateway - error communicating with service"),
            DONE);
    else
        RUN(1000, JSON_POST("/v1/chat/completions"),
            EXPECT_ERROR(502, "bad_gateway", "Bad gateway - error communicating with service"),
            DONE);
    EXPECT_U64(attempts_at("a") + attempts_at("b") + attempts_at("c"), reads ? 3 : 2);
    EXPECT_U64(attempts_at("d"), 0);
    rig_end();
}

/* A connection that was kept ends as the request is sent: the engine gets it on another one,
 * whatever the method, and nobody counts that. */
static void router_reuse_race(void)
{
    SCRIPT(first, EXPECT_REQUEST(""), OK, EXPECT_REQUEST("POST /x"), EXPECT_BODY_HAS(""), HANG_UP,
           DONE);
    SCRIPT(second, EXPECT_REQUEST("POST /x"), EXPECT_BODY("body"), OK, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, first, second);
    rig_start();
    RUN(1000, GET("/"), EXPECT_OK, POST("/x", "body"), EXPECT_OK, DONE);
    EXPECT_U64(attempts_at("a"), 2);
    EXPECT_U64(errors_at("a"), 0);
    rig_end();
}

/* No other one can be made: it was refused, but bytes were sent before. */
static void router_race_and_nobody_there(void)
{
    SCRIPT(first, EXPECT_REQUEST(""), OK, EXPECT_REQUEST("POST /x"), EXPECT_BODY_HAS(""), PAUSE(40),
           HANG_UP, DONE);
    struct engine *e;

    begin_alone();
    rig_remote("b", "http://127.0.0.1:8002", 0, MODELS(M("m")))->weight = 0;
    e = ENGINE_START("a", &at_a, first);
    rig_start();
    RUN(1000, GET("/"), EXPECT_OK, DONE);
    engine_stop(e);
    RUN(1000, POST("/x", "body"),
        EXPECT_ERROR(503, "upstream_refused", "Service unavailable - connection refused"), DONE);
    EXPECT_U64(attempts_at("b"), 0);
    EXPECT_U64(door_of("a"), CELL_DOOR_OPEN);
    rig_end();
}

/* ---- what is told ---- */

static void router_no_such_model(void)
{
    SCRIPT(a, EXPECT_QUIET(100), DONE);

    begin_alone();
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(1000, CHAT("none"), EXPECT_STATUS(503), EXPECT_NO_FIELD("retry-after"),
        EXPECT_BODY("{\"error\":{\"code\":\"model_not_found\",\"message\":\"No healthy services "
                    "available for model 'none'\",\"param\":null,"
                    "\"type\":\"server_error\"}}"),
        DONE);
    rig_end();
}

static void router_nobody_healthy(void)
{
    begin_alone();
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_STATUS(503), EXPECT_FIELD("retry-after", "5"),
        EXPECT_BODY("{\"error\":{\"code\":\"no_healthy_service\",\"message\":\"No healthy services "
                    "available for model 'm' (last error: connection refused at 'a')\","
                    "\"param\":null,\"type\":\"server_error\"}}"),
        CHAT("m"), /* its door is open now */
        EXPECT_ERROR(503, "no_healthy_service", "No healthy services available for model 'm'"),
        GET("/"), EXPECT_ERROR(503, "no_healthy_service", "No healthy services available"), DONE);
    EXPECT_U64(attempts_at("a"), 1);
    rig_end();
}

static void router_nobody_left(void)
{
    SCRIPT(a, EXPECT_REQUEST(""), SEND("nonsense\r\n\r\n"), EXPECT_CLOSED, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(1000, GET("/"),
        EXPECT_ERROR(503, "no_healthy_service",
                     "No healthy services available (last error: invalid HTTP at 'a')"),
        DONE);
    rig_end();
}

static void router_refused_thrice(void)
{
    begin();
    rig_remote("c", "http://127.0.0.1:8003", 0, MODELS(M("m")));
    rig_remote("d", "http://127.0.0.1:8004", 0, MODELS(M("m")));
    rig_start();
    RUN(1000, GET("/"), EXPECT_STATUS(503), EXPECT_FIELD("retry-after", "5"),
        EXPECT_BODY_HAS("\"code\":\"upstream_refused\",\"message\":\"Service unavailable - "
                        "connection refused\""),
        DONE);
    EXPECT_U64(attempts_at("d"), 0);
    rig_end();
}

static void router_no_answer_in_time(void)
{
    SCRIPT(a, EXPECT_REQUEST(""), EXPECT_GONE, DONE);

    begin();
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, a);
    rig_start();
    RUN(30000, GET("/"), EXPECT_ERROR(504, "upstream_timeout", "Service timeout"),
        SINCE(19900, 20200), DONE);
    EXPECT_U64(attempts_at("a") + attempts_at("b"), 1);
    rig_end();
}

/* ---- bounds of time ---- */

static void router_moves_once(void)
{
    SCRIPT(a, EXPECT_REQUEST(""), EXPECT_GONE, DONE);
    SCRIPT(late, EXPECT_REQUEST(""), PAUSE(8000), OK, DONE);

    begin();
    rig_remote("c", "http://127.0.0.1:8003", 0, MODELS(M("m")));
    rig.conf.limits.move_ms = 3000;
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, late);
    ENGINE_START("c", &at_c, a);
    rig_start();
    RUN(30000, GET("/"), EXPECT_OK, SINCE(10900, 11200), DONE);
    EXPECT_U64(attempts_at("a"), 1);
    EXPECT_U64(attempts_at("b"), 1);
    EXPECT_U64(attempts_at("c"), 0);
    rig_end();
}

/* What must not be sent again, and what nobody else could take, waits for all of its time. */
static void router_does_not_move(void)
{
    SCRIPT(late, EXPECT_REQUEST(""), EXPECT_BODY_HAS(""), PAUSE(8000), OK, DONE);
    bool alone = world_chance(50);

    if (alone)
        begin_alone();
    else
        begin();
    rig.conf.limits.move_ms = 3000;
    ENGINE_START("a", &at_a, late);
    if (!alone)
        ENGINE_START("b", &at_b, late);
    rig_start();
    if (alone)
        RUN(30000, GET("/"), EXPECT_OK, SINCE(7900, 8200), DONE);
    else
        RUN(30000, POST("/x", "body"), EXPECT_OK, SINCE(7900, 8200), DONE);
    EXPECT_U64(attempts_at("a"), 1);
    rig_end();
}

static void router_waits_for_the_first_body_byte(void)
{
    SCRIPT(a, EXPECT_REQUEST(""), STREAM_HEAD, PAUSE(15000), CHUNK(EVENT("one")), PAUSE(3000),
           CHUNK(EVENT("two")), EXPECT_GONE, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(60000, GET("/"), EXPECT_STATUS(200), EXPECT_SO_FAR("two"), SINCE(17900, 18200),
        EXPECT_CUT_BEHIND(EVENT("one") EVENT(
            "two") "data: {\"error\":{\"code\":\"upstream_timeout\",\"message\":\"Service "
                   "timeout\",\"param\":null,\"type\":\"server_error\"}}\n\n"),
        SINCE(22900, 23300), DONE);
    rig_end();
}

static void router_no_first_body_byte(void)
{
    SCRIPT(a, EXPECT_REQUEST(""), PAUSE(10000), STREAM_HEAD, EXPECT_GONE, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(60000, GET("/"), EXPECT_STATUS(200), EXPECT_CUT, SINCE(29900, 30300), DONE);
    rig_end();
}

/* A held body: all of the exchange has the time that the head has. */
static void router_held_body_in_time(void)
{
    SCRIPT(a, EXPECT_REQUEST(""), PAUSE(10000),
           SEND("HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n"),
           DRIP("0123456789012345678901234567890123456789", 1000), EXPECT_GONE, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(60000, GET("/"),
        EXPECT_ERROR(502, "upstream_disconnected", "Failed to read response from service"),
        SINCE(19900, 20800), DONE);
    rig_end();
}

/* ---- the wait for an engine ---- */

static void router_queue_wait(void)
{
    SCRIPT(a, EXPECT_REQUEST_OR_END(""), EXPECT_BODY_HAS(""), OK, DONE);
    bool comes = world_chance(50);

    begin_alone();
    rig.conf.limits.queue_ms = 8000;
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"), DONE); /* the door is open now */
    client_start("client", &rig.at,
                 comes ? (const struct step[]){CHAT("m"), EXPECT_OK, SINCE(100, 7900), DONE}
                       : (const struct step[]){CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"),
                                               SINCE(7900, 8200), DONE});
    world_run_ms(500);
    if (comes)
        ENGINE_START("a", &at_a, a);
    peers_run(20000);
    RUN(1000, CHAT("none"), EXPECT_FAULT(503, "model_not_found"), SINCE(0, 100), DONE);
    rig_end();
}

/* Who waits for an engine that it has not tried holds nobody back from the one that it has. */
static void router_waits_past_who_has_tried(void)
{
    SCRIPT(a, REPEAT(0), EXPECT_REQUEST_OR_END(""), EXPECT_ANY_BODY_OR_END, OK, AGAIN, DONE);
    SCRIPT(first, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"), SINCE(7900, 8300), DONE);
    SCRIPT(later, CHAT("m"), EXPECT_OK, SINCE(100, 6000), DONE);

    begin_alone();
    rig_remote("b", "http://127.0.0.1:8002", 0, MODELS(M("n"), M("m")));
    rig.conf.limits.queue_ms = 8000;
    rig_start();
    RUN(1000, CHAT("n"), EXPECT_FAULT(503, "no_healthy_service"), DONE); /* b's door is open now */
    client_start("first", &rig.at, first); /* a refuses it: it waits for b */
    world_run_ms(20);
    client_start("later", &rig.at, later);
    client_start("later", &rig.at, later);
    world_run_ms(500);
    EXPECT_U64(rig_tickets(), 3);
    ENGINE_START("a", &at_a, a);
    peers_run(20000);
    rig_end();
}

static void router_black_hole(void)
{
    begin_alone();
    wire_route(&at_a, WIRE_BLACKHOLE);
    rig_start();
    RUN(10000, GET("/"),
        EXPECT_ERROR(503, "no_healthy_service",
                     "No healthy services available (last error: connect timed out at 'a')"),
        SINCE(4900, 5200), DONE);
    rig_end();
}

/* ---- the reply ---- */

static void router_long_body_is_held_at_first(void)
{
    SCRIPT(early, EXPECT_REQUEST(""), SEND("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"),
           FILL(60000), HANG_UP, DONE);
    SCRIPT(late, EXPECT_REQUEST(""), SEND("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"),
           FILL(80000), HANG_UP, DONE);
    SCRIPT(whole, EXPECT_REQUEST(""), SEND("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"),
           FILL(100000), DONE);

    begin_alone();
    rig.conf.breaker.broken = 0;
    ENGINE_START("a", &at_a, early, late, whole);
    rig_start();
    RUN(5000, GET("/"),
        EXPECT_ERROR(502, "upstream_disconnected", "Failed to read response from service"), DONE);
    RUN(5000, GET("/"), EXPECT_STATUS(200), EXPECT_FIELD("content-length", "100000"), EXPECT_CUT,
        DONE);
    RUN(5000, GET("/"), EXPECT_STATUS(200), EXPECT_FIELD("content-length", "100000"),
        EXPECT_FILLED(100000), DONE);
    rig_end();
}

/* Only the close ends it: a whole line more is a whole reply, half a line is none. */
static void router_close_delimited_stream(void)
{
    SCRIPT(whole, EXPECT_REQUEST(""), EXPECT_BODY_HAS(""),
           SEND("HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n"), HANG_UP,
           DONE);
    SCRIPT(half, EXPECT_REQUEST(""), EXPECT_BODY_HAS(""),
           SEND("HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\ndata: 2"),
           HANG_UP, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, whole, half);
    rig_start();
    RUN(1000, CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_BODY("data: 1\n\n"), DONE);
    RUN(1000, GET("/"), EXPECT_STATUS(200), EXPECT_SO_FAR("upstream_disconnected"), EXPECT_CUT,
        DONE);
    rig_end();
}

/* Nothing can be told in it when it breaks, but it is a stream. */
static void router_coded_events_are_not_held(void)
{
    SCRIPT(a, EXPECT_REQUEST(""),
           SEND("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n"
                "\r\none"),
           PAUSE(3000), SEND("two"), HANG_UP, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(5000, GET("/"), EXPECT_STATUS(200), EXPECT_SO_FAR("one"), SINCE(0, 200),
        EXPECT_BODY("onetwo"), DONE);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_router(void)
{
    static const struct scenario all[] = {
        ROW(router_any_method_any_path) ROW(router_resolves_dots) ROW(router_passes_fields) ROW(
            router_authorization) ROW(router_any_response_is_final)
            ROW(router_refused_connect_any_method) ROW(router_broken_connection) ROW(
                router_broken_three_times) ROW(router_reuse_race) ROW(router_race_and_nobody_there)
                ROW(router_no_such_model) ROW(router_nobody_healthy) ROW(router_queue_wait)
                    ROW(router_nobody_left) ROW(router_refused_thrice) ROW(router_no_answer_in_time)
                        ROW(router_moves_once) ROW(router_does_not_move)
                            ROW(router_waits_for_the_first_body_byte) ROW(router_no_first_body_byte)
                                ROW(router_held_body_in_time) ROW(router_long_body_is_held_at_first)
                                    ROW(router_close_delimited_stream)
                                        ROW(router_coded_events_are_not_held)
                                            ROW(router_waits_past_who_has_tried)
                                                ROW(router_black_hole){NULL, NULL},
    };

    return all;
}
