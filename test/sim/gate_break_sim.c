/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_break_sim.c - scenarios of what breaks: engines that cannot be reached, that lie, fall
 * silent or die at any moment; clients that are slow or leave. No reply ever ends falsely, nothing
 * is kept for those who have gone, and memory is bounded both ways.
 */
#include "gate/lane_priv.h"
#include "sim/gate_rig.h"

enum { HELD_MAX = 40 }; /* chunks of 8 KiB that one slow stream may hold here */

static struct addr at;

/* Engine "a" of model "m" on port 8001, whose n-th connection follows the n-th script. */
#define BEGIN(...)                                                                                 \
    do {                                                                                           \
        begin();                                                                                   \
        ENGINE_START("engine", &at, __VA_ARGS__);                                                  \
    } while (0)
static void begin(void)
{
    at = rig_at(8001);
    wire_small_buffers();
    rig_begin(1 + (unsigned)world_random(2));
    rig.conf.breaker.broken = 0; /* its connections are counted: nobody knocks */
    rig_remote("a", "http://127.0.0.1:8001", 2, MODELS(M("m")));
}

static size_t chunks_live(void)
{
    size_t n = 0;

    for (uint32_t i = 0; i < rig.gate.nlanes; i++)
        n += rig.gate.lanes[i]->chunks.live;
    return n;
}

/* ---- before a head ---- */

static void break_refused(void)
{
    begin();
    rig_start();
    RUN(9000, CHAT("m"), EXPECT_FAULT(503, "upstream_refused"), EXPECT_FIELD("retry-after", "5"),
        DONE);
    rig_end();
}

static void break_blackhole(void)
{
    begin();
    rig_start();
    wire_route(&at, WIRE_BLACKHOLE);
    /* a connect of 5 s, and two of control's of 2 s, 1 s and 2 s later: it may come back */
    RUN(25000, CHAT("m"), MARK, EXPECT_FAULT(503, "upstream_refused"), SINCE(11900, 12400), DONE);
    rig_end();
}

static void break_closed_before_head(void)
{
    SCRIPT(fin, EXPECT_CHAT, HANG_UP, DONE);
    SCRIPT(rst, EXPECT_CHAT, RESET, DONE);
    SCRIPT(half, EXPECT_CHAT, SEND("HTTP/1.1 200 OK\r\ncont"), PAUSE(10), HANG_UP, DONE);

    BEGIN(fin, rst, half);
    rig_start();
    RUN(9000, CHAT("m"), EXPECT_FAULT(502, "bad_gateway"), CHAT("m"),
        EXPECT_FAULT(502, "bad_gateway"), CHAT("m"), EXPECT_FAULT(502, "bad_gateway"), DONE);
    rig_end();
}

static void break_invalid_replies(void)
{
    SCRIPT(garbage, EXPECT_CHAT, SEND("garbage\r\n\r\n"), EXPECT_CLOSED, DONE);
    SCRIPT(smuggled, EXPECT_CHAT,
           SEND("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"),
           EXPECT_CLOSED, DONE);
    SCRIPT(split, EXPECT_CHAT, SEND("HTTP/1.1 200 OK\r\nx: a\rb: c\r\ncontent-length: 0\r\n\r\n"),
           EXPECT_CLOSED, DONE);
    SCRIPT(upgrade, EXPECT_CHAT, SEND("HTTP/1.1 101 Switching Protocols\r\n\r\n"), EXPECT_CLOSED,
           DONE);
    SCRIPT(
        endless, EXPECT_CHAT, SEND("HTTP/1.1 200 OK\r\n"), REPEAT(0),
        SEND(
            "x: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
        PAUSE(1), AGAIN, EXPECT_GONE, DONE);

    BEGIN(garbage, smuggled, split, upgrade, endless);
    rig_start();
    RUN(9000, REPEAT(5), CHAT("m"), EXPECT_FAULT(502, "bad_gateway"), AGAIN, DONE);
    rig_end();
}

static void break_first_byte(void)
{
    SCRIPT(engine, EXPECT_CHAT, MARK, EXPECT_END, SINCE(1900, 2200), DONE);

    BEGIN(engine);
    rig.conf.limits.first_byte_ms = 2000;
    rig_start();
    RUN(9000, CHAT("m"), MARK, EXPECT_FAULT(504, "upstream_timeout"), SINCE(1900, 2200),
        EXPECT_NO_FIELD("retry-after"), DONE);
    rig_end();
}

static void break_takes_no_request(void)
{
    SCRIPT(engine, DEAF(1), PAUSE(3500), DEAF(0), EXPECT_GONE, DONE);
    SCRIPT(client,
           SEND("POST " CHAT_PATH " HTTP/1.1\r\nhost: localhost\r\ncontent-length: 250013\r\n\r\n"
                "{\"model\":\"m\"}"),
           PAD(250000), EXPECT_FAULT(504, "upstream_timeout"), DONE);

    BEGIN(engine);
    rig.conf.limits.stall_ms = 2000;
    rig_start();
    client_start("client", &rig.at, client);
    peers_run(30000);
    rig_end();
}

/* ---- inside a body ---- */

/* A short body that breaks was never begun: an honest 502. */
static void break_held_body(void)
{
    SCRIPT(fin, EXPECT_CHAT, SEND(JSON_HEAD "content-length: 100\r\n\r\n{\"a\":1"), PAUSE(5),
           HANG_UP, DONE);
    SCRIPT(rst, EXPECT_CHAT, SEND(JSON_HEAD "content-length: 100\r\n\r\n"), PAUSE(5), RESET, DONE);
    SCRIPT(open, EXPECT_CHAT, SEND(JSON_HEAD "\r\n{\"a\":1"), PAUSE(5), RESET, DONE);
    SCRIPT(bytewise, EXPECT_CHAT, SEND(JSON_HEAD "\r\n{\"a\":1"), PAUSE(5), HANG_UP, DONE);

    BEGIN(fin, rst, open, bytewise);
    rig_start();
    RUN(9000, REPEAT(4), CHAT("m"), EXPECT_STATUS(502), EXPECT_BODY_HAS("\"code\":"), AGAIN, DONE);
    rig_end();
}

static void break_long_body(void)
{
    SCRIPT(fin, EXPECT_CHAT, SEND(JSON_HEAD "content-length: 300000\r\n\r\n"), FILL(90000),
           PAUSE(5), HANG_UP, DONE);
    SCRIPT(chunks, EXPECT_CHAT, SEND(JSON_HEAD "transfer-encoding: chunked\r\n\r\n"),
           CHUNK("{\"a\":"), PAUSE(5), HANG_UP, DONE);
    SCRIPT(bad, EXPECT_CHAT, SEND(JSON_HEAD "transfer-encoding: chunked\r\n\r\n"), CHUNK("{\"a\":"),
           SEND("nonsense\r\n"), EXPECT_CLOSED, DONE);
    SCRIPT(rst, EXPECT_CHAT, SEND(JSON_HEAD "\r\n"), FILL(90000), PAUSE(50), RESET, DONE);

    BEGIN(fin, chunks, bad, rst);
    rig_start();
    for (unsigned i = 0; i < 4; i++)
        RUN(9000, CHAT("m"), EXPECT_STATUS(200), EXPECT_CUT, DONE);
    EXPECT_U64(RIG_COUNT(cut_streams), 4);
    rig_end();
}

/* The stream breaks between events, inside one, inside the chunk framing, by FIN, by RST: the
 * reader is told by an event of its own, and the reply never ends. */
static void break_stream(void)
{
#define TORN "data: {\"mo"
    SCRIPT(fin, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a")), PAUSE(9), HANG_UP, DONE);
    SCRIPT(rst, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a")), PAUSE(9), RESET, DONE);
    SCRIPT(bad, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a")), SEND("xyz\r\n"), EXPECT_CLOSED, DONE);
    SCRIPT(torn, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a") TORN), PAUSE(9), HANG_UP, DONE);
    SCRIPT(chunk, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a")), SEND("5\r\nda"), PAUSE(9), HANG_UP,
           DONE);

    BEGIN(fin, rst, bad, torn, chunk);
    rig_start();
    for (unsigned i = 0; i < 5; i++)
        RUN(9000, CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_SOME(sizeof EVENT("a") + 20),
            EXPECT_SO_FAR("\"code\":\"upstream_disconnected\""), EXPECT_CUT, DONE);
    EXPECT_U64(RIG_COUNT(cut_streams), 5);
    rig_end();
}

/* All of it came and [DONE], only the last chunk did not: nothing is told behind [DONE], for a
 * reader that has its end would take it for a second one; the cut is passed on. */
static void break_stream_after_done(void)
{
    SCRIPT(done, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a")), CHUNK("data: [DONE]\n\n"), PAUSE(9),
           HANG_UP, DONE);

    BEGIN(done);
    rig_start();
    RUN(9000, CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_CUT_BEHIND("data: [DONE]\n\n"), DONE);
    EXPECT_U64(RIG_COUNT(cut_streams), 1);
    rig_end();
}

/* What is told behind a torn line is a line of its own. */
static void break_torn_event(void)
{
    SCRIPT(torn, EXPECT_CHAT, STREAM_HEAD, CHUNK(TORN), PAUSE(50), HANG_UP, DONE);

    BEGIN(torn);
    rig_start();
    RUN(9000, CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_SOME(40),
        EXPECT_SO_FAR(TORN "\n\ndata: {\"error\":{"), EXPECT_CUT, DONE);
    rig_end();
}

/* For HTTP/1.0 the end of the connection is the end of the reply: a cut is a reset. */
static void break_stream_of_old_client(void)
{
    SCRIPT(fin, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a")), PAUSE(100), HANG_UP, DONE);

    BEGIN(fin);
    rig_start();
    RUN(9000, SEND("POST " CHAT_PATH " HTTP/1.0\r\ncontent-length: 13\r\n\r\n{\"model\":\"m\"}"),
        EXPECT_RESET, DONE);
    rig_end();
}

#define OPEN_STREAM_HEAD SEND("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")

static void break_stream_until_close(void)
{
    SCRIPT(good, EXPECT_CHAT, OPEN_STREAM_HEAD, SEND(EVENT("a") "data: [DONE]\n\n"), DONE);
    SCRIPT(bad, EXPECT_CHAT, OPEN_STREAM_HEAD, SEND(EVENT("a")), DONE);

    BEGIN(good, bad);
    rig_start();
    RUN(9000, CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_BODY(EVENT("a") "data: [DONE]\n\n"),
        CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_SOME(60),
        EXPECT_SO_FAR("\"code\":\"upstream_disconnected\""), EXPECT_CUT, DONE);
    rig_end();
}

static void break_idle_stream(void)
{
    SCRIPT(engine, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a")), REPEAT(3), PAUSE(1500),
           CHUNK(EVENT("b")), AGAIN, MARK, EXPECT_END, SINCE(1900, 2200), DONE);

    BEGIN(engine);
    rig.conf.limits.idle_ms = 2000;
    rig_start();
    RUN(20000, CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_SOME(160),
        EXPECT_SO_FAR("\"code\":\"upstream_timeout\""), SINCE(6400, 6800), EXPECT_CUT, DONE);
    rig_end();
}

/* A held body that stops is a timeout, too, and no client waits for ever. */
static void break_idle_held_body(void)
{
    SCRIPT(engine, EXPECT_CHAT, SEND(JSON_HEAD "content-length: 100\r\n\r\n{"), EXPECT_END, DONE);

    BEGIN(engine);
    rig.conf.limits.idle_ms = 2000;
    rig_start();
    RUN(20000, CHAT("m"), EXPECT_FAULT(504, "upstream_timeout"), SINCE(1900, 2300), DONE);
    rig_end();
}

/* ---- connections that are not used again ---- */

static void break_more_than_promised(void)
{
    SCRIPT(first, EXPECT_CHAT,
           SEND(JSON_HEAD
                "content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen"),
           EXPECT_CLOSED, DONE);
    SCRIPT(second, CHATTER);

    BEGIN(first, second);
    rig_start();
    RUN(9000, CHAT("m"), EXPECT_STATUS(200), EXPECT_BODY("{}"), PAUSE(20), CHAT("m"), EXPECT_ANSWER,
        DONE);
    rig_end();
}

static void break_reuse_race(void)
{
    SCRIPT(first, EXPECT_CHAT, REPLY_CHAT, EXPECT_CHAT, HANG_UP, DONE);
    SCRIPT(second, CHATTER);
    struct engine *e;

    begin();
    e = ENGINE_START("engine", &at, first, second);
    rig_start();
    RUN(9000, CHAT("m"), EXPECT_ANSWER, CHAT("m"), EXPECT_ANSWER, DONE);
    EXPECT_U64(engine_accepted(e), 2);
    EXPECT_U64(RIG_COUNT(attempts), 2);
    rig_end();
}

/* The engine answers before it has read the request, and reads no further. */
static void break_early_reply(void)
{
    SCRIPT(engine, EXPECT_REQUEST("POST " CHAT_PATH), DEAF(1), REPLY("413 Payload Too Large", "no"),
           EXPECT_QUIET(300), DEAF(0), EXPECT_GONE, DONE);
    BEGIN(engine);
    rig_start();
    RUN(9000,
        SEND("POST " CHAT_PATH " HTTP/1.1\r\nhost: localhost\r\ncontent-length: 250013\r\n\r\n"
             "{\"model\":\"m\"}"),
        PAD(250000), EXPECT_STATUS(413), EXPECT_BODY("no"), DONE);
    rig_end();
}

/* ---- clients that leave ---- */

static void break_hang_up_while_awaiting(void)
{
    SCRIPT(engine, EXPECT_CHAT, MARK, EXPECT_END, SINCE(400, 700), DONE);

    BEGIN(engine);
    rig_start();
    RUN(9000, CHAT("m"), PAUSE(500), HANG_UP, DONE);
    world_run_ms(100);
    EXPECT_U64(RIG_COUNT(canceled), 1);
    rig_end();
}

static void break_hang_up_inside_stream(void)
{
    SCRIPT(engine, EXPECT_CHAT, STREAM_HEAD, REPEAT(0), CHUNK(EVENT("a")), PAUSE(5), AGAIN,
           EXPECT_GONE, SINCE(200, 600), DONE);

    BEGIN(engine);
    rig_start();
    RUN(9000, CHAT_STREAM("m"), EXPECT_STATUS(200), PAUSE(300), HANG_UP, DONE);
    rig_wait_idle(200);
    peers_finish(200);
    rig_end();
}

static void break_hang_up_at_any_time(void)
{
    SCRIPT(engine, REPEAT(0), EXPECT_CHAT_OR_END, PAUSE(4), STREAM_HEAD, CHUNK(EVENT("a")),
           PAUSE(4), CHUNK(EVENT("a")), STREAM_DONE, AGAIN, DONE);
    static struct step script[] = {CHAT_STREAM("m"), PAUSE(0), RESET, DONE};

    BEGIN(engine);
    rig_start();
    for (unsigned i = 0; i < 14; i++) {
        script[1].a = i;
        script[2].op = i % 2 ? PEER_reset : PEER_hang_up;
        client_start("client", &rig.at, script);
        peers_run(1000);
    }
    world_run_ms(50);
    rig_end();
}

/* Half a close is a hang-up. */
static void break_half_close(void)
{
    SCRIPT(engine, EXPECT_CHAT, EXPECT_END, DONE);

    BEGIN(engine);
    rig_start();
    RUN(9000, CHAT("m"), PAUSE(100), SHUT, EXPECT_CLOSED, DONE);
    rig_end();
}

static void break_hang_up_inside_body(void)
{
    begin();
    rig_start();
    RUN(9000,
        SEND("POST " CHAT_PATH " HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{"),
        PAUSE(50), HANG_UP, DONE);
    world_run_ms(50);
    EXPECT_U64(RIG_COUNT(attempts), 0);
    rig_end();
}

/* ---- slow clients ---- */

/* The engine is not read while the client does not read: nothing grows, nothing times out. */
static void break_slow_reader(void)
{
    SCRIPT(engine, EXPECT_CHAT,
           SEND("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
                "content-length: 250000\r\n\r\n"),
           FILL(250000), EXPECT_END, DONE);
    SCRIPT(client, DEAF(1), CHAT("m"), PAUSE(25000), DEAF(0), EXPECT_STATUS(200),
           EXPECT_FILLED(250000), DONE);

    BEGIN(engine);
    rig.conf.limits.idle_ms = 5000;
    rig_start();
    client_start("client", &rig.at, client);
    for (unsigned i = 0; i < 25; i++) {
        world_run_ms(1000);
        EXPECT(chunks_live() <= HELD_MAX);
    }
    peers_run(20000);
    rig_end();
}

static void break_stalled_reader(void)
{
    SCRIPT(engine, EXPECT_CHAT, STREAM_HEAD, REPEAT(0),
           CHUNK(EVENT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
           CHUNK(EVENT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
           PAUSE(1), AGAIN, EXPECT_GONE, SINCE(59000, 90000), DONE);

    BEGIN(engine);
    wire_conf()->buffer_bytes = 16384;
    rig_start();
    RUN(100000, DEAF(1), CHAT_STREAM("m"), PAUSE(65000), DEAF(0), EXPECT_RESET, DONE);
    EXPECT_U64(RIG_COUNT(canceled), 1);
    rig_end();
}

/* A stream of events with pauses of the client's making is not idle. */
static void break_sipping_reader(void)
{
    SCRIPT(engine, EXPECT_CHAT, STREAM_HEAD, REPEAT(300), CHUNK(EVENT("a")), PAUSE(1), AGAIN,
           STREAM_DONE, EXPECT_END, DONE);

    BEGIN(engine);
    wire_conf()->buffer_bytes = 2048;
    rig.conf.limits.idle_ms = 3000;
    rig_start();
    RUN(900000, SIP(100, 900), CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_SOME(300 * 28),
        EXPECT_BODY_HAS("[DONE]"), DONE);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_break(void)
{
    static const struct scenario all[] = {
        ROW(break_refused) ROW(break_blackhole) ROW(break_closed_before_head)
            ROW(break_invalid_replies) ROW(break_first_byte) ROW(break_takes_no_request) ROW(
                break_held_body) ROW(break_long_body) ROW(break_stream) ROW(break_stream_after_done)
                ROW(break_torn_event) ROW(break_stream_of_old_client) ROW(break_stream_until_close)
                    ROW(break_idle_stream) ROW(break_idle_held_body) ROW(break_more_than_promised)
                        ROW(break_reuse_race) ROW(break_early_reply)
                            ROW(break_hang_up_while_awaiting) ROW(break_hang_up_inside_stream)
                                ROW(break_hang_up_at_any_time) ROW(break_half_close)
                                    ROW(break_hang_up_inside_body) ROW(break_slow_reader)
                                        ROW(break_stalled_reader)
                                            ROW(break_sipping_reader){NULL, NULL},
    };

    return all;
}
