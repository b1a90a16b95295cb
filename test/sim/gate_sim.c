/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_sim.c - scenarios of the request path when all goes well, and of what is refused before an
 * engine is asked.
 */
#include "sim/gate_rig.h"

/* One engine "a" of model "m" that answers chats, on port 8001. */
static struct engine *begin(unsigned lanes, const struct step *script)
{
    struct addr at = rig_at(8001);

    rig_begin(lanes);
    rig_remote("a", "http://127.0.0.1:8001", 0, MODELS(M("m")));
    return script ? ENGINE_START("engine", &at, script) : NULL;
}

static void gate_chat(void)
{
    SCRIPT(engine, EXPECT_CHAT, EXPECT_FIELD("host", "127.0.0.1:8001"),
           EXPECT_FIELD("content-type", "application/json"), EXPECT_FIELD("content-length", "27"),
           EXPECT_FIELD("accept", "*/*"), EXPECT_NO_FIELD("authorization"),
           EXPECT_NO_FIELD("x-forwarded-for"), EXPECT_NO_FIELD("x_y"), EXPECT_NO_FIELD("te"),
           EXPECT_FIELD("x-request-id", "mine"), EXPECT_BODY("{\"model\":\"m\",\"messages\":[]}"),
           REPLY_CHAT, EXPECT_CHAT, REPLY_CHAT, EXPECT_END, DONE);
    struct engine *e;

    e = begin(1, engine);
    rig_start();
    RUN(10000,
        POST_WITH(CHAT_PATH,
                  "content-type: application/json\r\nauthorization: Bearer secret\r\n"
                  "x-forwarded-for: 1.2.3.4\r\nx_y: z\r\nte: trailers\r\nx-request-id: mine\r\n",
                  "{\"model\":\"m\",\"messages\":[]}"),
        EXPECT_STATUS(200), EXPECT_FIELD("content-type", "application/json"),
        EXPECT_FIELD("x-request-id", "mine"), EXPECT_BODY(ANSWER), CHAT("m"), EXPECT_STATUS(200),
        EXPECT_BODY(ANSWER), DONE);
    EXPECT_U64(engine_accepted(e), 1);
    EXPECT_U64(RIG_COUNT(attempts), 2);
    EXPECT_U64(RIG_COUNT(tokens_in), 6);
    EXPECT_U64(RIG_COUNT(tokens_out), 10);
    rig_end();
}

static void gate_chat_chunked(void)
{
    SCRIPT(engine, EXPECT_CHAT, SEND(JSON_HEAD "transfer-encoding: chunked\r\n\r\n"),
           CHUNK("{\"model\":"), PAUSE(50), CHUNK("\"m\"}"), SEND("0\r\n\r\n"), EXPECT_END, DONE);

    begin(1, engine);
    rig_start();
    RUN(10000, CHAT("m"), EXPECT_STATUS(200), EXPECT_FIELD("transfer-encoding", "chunked"),
        EXPECT_BODY("{\"model\":\"m\"}"), DONE);
    rig_end();
}

static void gate_stream(void)
{
    SCRIPT(engine, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a")), PAUSE(1000), CHUNK(EVENT("b")),
           CHUNK(EVENT("c")), STREAM_DONE, EXPECT_END, DONE);

    begin(1, engine);
    rig_start();
    RUN(10000, CHAT_STREAM("m"), EXPECT_STATUS(200),
        EXPECT_FIELD("content-type", "text/event-stream"), MARK, EXPECT_SOME(20), SINCE(0, 50),
        EXPECT_BODY(EVENT("a") EVENT("b") EVENT("c") "data: [DONE]\n\n"), DONE);
    rig_end();
}

static void gate_stream_old_client(void)
{
    SCRIPT(engine, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a")), STREAM_DONE, EXPECT_END, DONE);

    begin(1, engine);
    rig_start();
    RUN(10000, SEND("POST " CHAT_PATH " HTTP/1.0\r\ncontent-length: 13\r\n\r\n{\"model\":\"m\"}"),
        EXPECT_STATUS(200), EXPECT_NO_FIELD("transfer-encoding"),
        EXPECT_BODY(EVENT("a") "data: [DONE]\n\n"), EXPECT_END, DONE);
    rig_end();
}

/* A short reply of which the first read holds only a part is held until it is whole. */
static void gate_reply_in_pieces(void)
{
    SCRIPT(engine, EXPECT_CHAT, SEND(JSON_HEAD "x-note: kept\r\ncontent-length: 13\r\n\r\n{\"mod"),
           PAUSE(100), SEND("el\":\""), PAUSE(100), SEND("m\"}"), EXPECT_CHAT, REPLY_CHAT,
           EXPECT_END, DONE);
    SCRIPT(other, CHATTER);
    struct addr at = rig_at(8002);

    begin(1, engine);
    rig_remote("b", "http://127.0.0.1:8002", 0, MODELS(M("other")));
    ENGINE_START("other", &at, other);
    rig_start();
    {
        SCRIPT(second, PAUSE(50), REPEAT(5), CHAT("other"), EXPECT_STATUS(200), EXPECT_BODY(ANSWER),
               PAUSE(20), AGAIN, DONE);

        client_start("second", &rig.at, second);
    }
    RUN(10000, CHAT("m"), EXPECT_STATUS(200), EXPECT_FIELD("x-note", "kept"),
        EXPECT_FIELD("content-length", "13"), EXPECT_BODY("{\"model\":\"m\"}"), CHAT("m"),
        EXPECT_STATUS(200), EXPECT_BODY(ANSWER), DONE);
    rig_end();
}

static void gate_large_reply(void)
{
    SCRIPT(engine, EXPECT_CHAT, SEND(JSON_HEAD "content-length: 100000\r\n\r\n"), FILL(100000),
           EXPECT_CHAT, SEND(JSON_HEAD "connection: close\r\n\r\n"), FILL(100000), DONE);

    begin(1, engine);
    rig_start();
    RUN(20000, CHAT("m"), EXPECT_STATUS(200), EXPECT_FIELD("content-length", "100000"),
        EXPECT_FILLED(100000), CHAT("m"), EXPECT_STATUS(200),
        EXPECT_FIELD("transfer-encoding", "chunked"), EXPECT_FILLED(100000), DONE);
    rig_end();
}

static void gate_engine_statuses(void)
{
    SCRIPT(engine, EXPECT_CHAT, REPLY("500 Internal Server Error", "oops"), EXPECT_CHAT,
           SEND("HTTP/1.1 204 No Content\r\n\r\n"), EXPECT_CHAT,
           SEND("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 429 Too Many\r\nretry-after: 7\r\n"
                "content-length: 4\r\nserver: x\r\naccess-control-allow-origin: *\r\n\r\nslow"),
           EXPECT_CHAT, SEND("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n"),
           EXPECT_END, DONE);

    begin(1, engine);
    rig_start();
    RUN(10000, CHAT("m"), EXPECT_STATUS(500), EXPECT_BODY("oops"), CHAT("m"), EXPECT_STATUS(204),
        CHAT("m"), EXPECT_STATUS(429), EXPECT_FIELD("retry-after", "7"),
        EXPECT_FIELD("server", "inferd/" INFERD_VERSION),
        EXPECT_NO_FIELD("access-control-allow-origin"), EXPECT_BODY("slow"), CHAT("m"),
        EXPECT_STATUS(302), EXPECT_FIELD("location", "/x"), EXPECT_BODY(""), DONE);
    rig_end();
}

/* ---- aliases ---- */

static void gate_alias(void)
{
    SCRIPT(engine, EXPECT_CHAT, EXPECT_BODY("{ \"x\": 1, \"model\": \"m\", \"messages\": [] }"),
           EXPECT_NO_FIELD("accept-encoding"),
           REPLY_JSON("{\"id\":1,\"model\":\"m-7b\",\"end\":true}"), EXPECT_CHAT, STREAM_HEAD,
           CHUNK("data: {\"mo"), PAUSE(20),
           CHUNK("del\":\"m\",\"t\":\"a\"}\n\ndata: {\"model\":\"m\""), PAUSE(20),
           CHUNK(",\"t\":\"b\"}\n\n"), STREAM_DONE, EXPECT_CHAT,
           SEND(JSON_HEAD "transfer-encoding: chunked\r\n\r\n"), CHUNK("{\"model\":\"m"), PAUSE(20),
           CHUNK("\"}"), SEND("0\r\n\r\n"), EXPECT_END, DONE);

    begin(1, engine);
    rig_alias("gpt-4o", "inner");
    rig_alias("inner", "m");
    rig_start();
    RUN(10000,
        POST_WITH(CHAT_PATH, "accept-encoding: gzip\r\n",
                  "{ \"x\": 1, \"model\": \"gpt-4o\", \"messages\": [] }"),
        EXPECT_STATUS(200), EXPECT_FIELD("content-length", "36"),
        EXPECT_BODY("{\"id\":1,\"model\":\"gpt-4o\",\"end\":true}"), CHAT_STREAM("gpt-4o"),
        EXPECT_STATUS(200),
        EXPECT_BODY("data: {\"model\":\"gpt-4o\",\"t\":\"a\"}\n\n"
                    "data: {\"model\":\"gpt-4o\",\"t\":\"b\"}\n\ndata: [DONE]\n\n"),
        CHAT("gpt-4o"), EXPECT_STATUS(200), EXPECT_BODY("{\"model\":\"gpt-4o\"}"), DONE);
    rig_end();
}

/* ---- refusals ---- */

static void gate_refusals(void)
{
    begin(1, NULL); /* nothing may reach an engine: there is none to answer */
    rig_start();
    RUN(10000, CHAT("nope"), EXPECT_FAULT(404, "model_not_found"), EXPECT_NO_FIELD("retry-after"),
        POST(CHAT_PATH, "{\"messages\":[]}"), EXPECT_FAULT(400, "invalid_model"),
        POST(CHAT_PATH, "{\"model\":7}"), EXPECT_FAULT(400, "invalid_model"),
        POST(CHAT_PATH, "{\"model\":\"\"}"), EXPECT_FAULT(400, "invalid_model"),
        POST(CHAT_PATH, "[]"), EXPECT_FAULT(400, "invalid_json"), GET("/nowhere"),
        EXPECT_FAULT(404, "not_found"), GET(CHAT_PATH), EXPECT_FAULT(405, "method_not_allowed"),
        EXPECT_FIELD("allow", "POST"), POST("/api/delete", "{\"model\":\"m\"}"),
        EXPECT_FAULT(403, "path_not_allowed"), DONE);
    RUN(10000, POST(CHAT_PATH, "{\"model\":\"m\",\"model\":\"n\"}"),
        EXPECT_FAULT(400, "invalid_json"), DONE);
    RUN(10000, POST(CHAT_PATH, "{\"model\":\"m\",}"), EXPECT_FAULT(400, "invalid_json"), DONE);
    RUN(10000, SEND("POST " CHAT_PATH " HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        EXPECT_FAULT(400, "invalid_json"), DONE);
    RUN(10000, POST_WITH(CHAT_PATH, "content-encoding: gzip\r\n", "{\"model\":\"m\"}"),
        EXPECT_FAULT(415, "unsupported_media_type"), DONE);
    RUN(10000, SEND("GET /v1/models HTTP/1.1\r\nhost: evil.example\r\n\r\n"),
        EXPECT_FAULT(403, "host_not_allowed"), DONE);
    RUN(10000,
        SEND("GET /v1/models HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\n\r\n"),
        EXPECT_FAULT(403, "origin_not_allowed"), DONE);
    RUN(10000,
        SEND("GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: "
             "websocket\r\n\r\n"),
        EXPECT_FAULT(501, "not_implemented"), DONE);
    RUN(10000, SEND("GET / HTTP/1.1\r\n\r\n"), EXPECT_FAULT(400, "bad_request"), EXPECT_END, DONE);
    EXPECT_U64(RIG_COUNT(attempts), 0);
    rig_end();
}

/* Too large by its length, by its chunks, by all bodies together. */
static void gate_body_limits(void)
{
    begin(1, NULL);
    rig.conf.limits.body_bytes = 10000;
    rig_start();
    RUN(10000,
        SEND("POST " CHAT_PATH " HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10001\r\n\r\n"),
        EXPECT_FAULT(413, "payload_too_large"), EXPECT_FIELD("connection", "close"), EXPECT_END,
        DONE);
    RUN(10000,
        SEND("POST " CHAT_PATH " HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
             "{\"model\":\"m\",\"x\":\""),
        DONE);
    RUN(10000,
        SEND("POST " CHAT_PATH
             " HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"),
        CHUNK("{\"model\":\"m\",\"x\":\""), REPEAT(120),
        CHUNK("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
              "aaa"
              "aaaaaaaaa"),
        AGAIN, EXPECT_FAULT(413, "payload_too_large"), EXPECT_END, DONE);
    EXPECT_U64(RIG_COUNT(limit_body), 2);
    rig_end();
}

static void gate_buffered_limit(void)
{
    SCRIPT(holder, POST(CHAT_PATH, "{\"model\":\"m\"}"), EXPECT_STATUS(200), EXPECT_BODY(ANSWER),
           DONE);
    SCRIPT(engine, EXPECT_CHAT, PAUSE(2000), REPLY_CHAT, EXPECT_CLOSED, DONE);

    begin(1, engine);
    rig.conf.limits.buffered_bytes = 39;
    rig_start();
    client_start("holder", &rig.at, holder);
    world_run_ms(200);
    RUN(9000, CHAT("m"), EXPECT_FAULT(503, "overloaded"), EXPECT_FIELD("retry-after", "5"), DONE);
    peers_run(5000);
    EXPECT_U64(RIG_COUNT(limit_buffered), 1);
    rig_end();
}

static void gate_own_endpoints(void)
{
    begin(2, NULL);
    rig_alias("gpt-4o", "m");
    rig_start();
    RUN(10000, GET("/health"), EXPECT_STATUS(200), EXPECT_BODY_HAS("{"), GET("/ready"),
        EXPECT_STATUS(200), EXPECT_BODY("{\"status\":\"ready\"}"), GET("/v1/models"),
        EXPECT_STATUS(200), EXPECT_BODY_HAS("\"gpt-4o\""), GET("/v1/models/m"), EXPECT_STATUS(200),
        EXPECT_BODY_HAS("\"id\":\"m\""), GET("/v1/models/x"), EXPECT_FAULT(404, "model_not_found"),
        GET("/metrics"), EXPECT_FAULT(404, "not_found"),
        SEND("HEAD /ready HTTP/1.1\r\nhost: localhost\r\n\r\n"), EXPECT_STATUS_NO_BODY(200),
        GET("/ready"), EXPECT_STATUS(200), EXPECT_BODY_HAS("ready"), DONE);
    rig_end();
}

static void gate_connection_cap(void)
{
    SCRIPT(idler, GET("/ready"), EXPECT_STATUS(200), EXPECT_BODY_HAS("ready"), EXPECT_CLOSED, DONE);
    SCRIPT(quick, GET("/ready"), EXPECT_STATUS(200), EXPECT_BODY_HAS("ready"), DONE);
    SCRIPT(busy, CHAT("m"), EXPECT_STATUS(200), EXPECT_BODY(ANSWER), DONE);
    SCRIPT(refused, GET("/ready"), EXPECT_FAULT(503, "overloaded"), EXPECT_END, DONE);
    SCRIPT(engine, REPEAT(0), EXPECT_CHAT_OR_END, PAUSE(3000), REPLY_CHAT, AGAIN, DONE);

    begin(1, engine);
    rig.conf.limits.connections = 2;
    rig_start();
    client_start("busy", &rig.at, busy);
    world_run_ms(200);
    client_start("idler", &rig.at, idler);
    world_run_ms(200);
    client_start("quick", &rig.at, quick); /* the idle one makes room */
    world_run_ms(200);
    client_start("busy", &rig.at, busy);
    world_run_ms(200);
    client_start("refused", &rig.at, refused);
    peers_run(10000);
    EXPECT_U64(RIG_COUNT(limit_connections), 1);
    rig_end();
}

/* Connections that idled and left must not count against the cap. */
static void gate_connection_cap_counts_the_living(void)
{
    unsigned lanes = 1 + (unsigned)world_random(2);

    begin(lanes, NULL);
    rig.conf.limits.connections = 2;
    rig_start();
    for (unsigned i = 0; i < 6; i++) {
        RUN(1000, GET("/ready"), EXPECT_STATUS(200), EXPECT_BODY_HAS("ready"), HANG_UP, DONE);
        world_run_ms(20);
    }
    EXPECT_U64(RIG_COUNT(limit_connections), 0);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate(void)
{
    static const struct scenario all[] = {
        ROW(gate_chat) ROW(gate_chat_chunked) ROW(gate_stream) ROW(gate_stream_old_client)
            ROW(gate_reply_in_pieces) ROW(gate_large_reply) ROW(gate_engine_statuses)
                ROW(gate_alias) ROW(gate_refusals) ROW(gate_body_limits) ROW(gate_buffered_limit)
                    ROW(gate_own_endpoints) ROW(gate_connection_cap)
                        ROW(gate_connection_cap_counts_the_living){NULL, NULL},
    };

    return all;
}
