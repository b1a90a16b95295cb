/* SPDX-License-Identifier: Apache-2.0
 *
 * server_sim.c - scenarios of net/server: slow, greedy, rude and broken clients on one side, a
 * small owner on the other, who does as the path says:
 *
 *   /hello        five bytes at once            /echo      the body's length, when it has come
 *   /any          the same, of any bytes
 *   /fill/N       N bytes, with a length        /early     413 at once, whatever the body does
 *   /stream/N     the same as a stream          /hold      never anything
 *   /cut/N /cutstream/N   N bytes of more, then exchange_cut()
 *   /slow         reads the body in sips of 100 ms: pause, resume
 */
#include <stdio.h>

#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/listener.h"
#include "net/server.h"
#include "sim/ev/fake.h"
#include "sim/peer.h"
#include "sim/sim.h"
#include "sim/wire.h"

enum { HIGH_WATER = 64 * 1024, PIECE = 8000, SIP_MS = 100 };

static struct {
    struct loop *loop;
    struct server *server;
    struct listener *listener;
    struct chunk_pool chunks;
    struct arena_cache arenas;
    struct addr at;
    struct ev_fd fd;
    unsigned asks, ended, gone, body_faults;
    int gone_err;
    size_t most_queued;
} rig;

/* One request, in its exchange's arena. */
struct ask {
    struct exchange *x;
    struct deadline again;
    uint64_t left, at;
    bool slow, any, cut;
};

static void end(struct ask *a)
{
    deadline_stop(&a->again);
    rig.ended++;
    exchange_end(a->x);
}

static void reply_text(struct ask *a, unsigned status, const char *text)
{
    exchange_reply_whole(a->x, status, STR("text/plain"), str_of(text));
    end(a);
}

/* Sends the pattern as far as the client takes it. */
static void pump(struct ask *a)
{
    char piece[PIECE];

    while (a->left > 0) {
        struct iovec iov = {piece, (size_t)min_u64(a->left, PIECE)};
        long queued;

        for (size_t i = 0; i < iov.iov_len; i++)
            piece[i] = peer_fill(a->at + i);
        a->at += iov.iov_len;
        a->left -= iov.iov_len;
        queued = exchange_send(a->x, &iov, 1, a->left == 0 && !a->cut);
        if (queued < 0)
            break;
        rig.most_queued = max_size(rig.most_queued, (size_t)queued);
        if (queued > HIGH_WATER && a->left > 0)
            return;
    }
    if (a->cut)
        exchange_cut(a->x);
    end(a);
}

static void start_fill(struct ask *a, struct str number, bool stream)
{
    uint64_t promised;

    CHECK(str_u64(number, &a->left));
    promised = a->left + (a->cut ? 1000 : 0);
    exchange_reply(a->x, 200);
    if (exchange_start(a->x, stream ? EXCHANGE_STREAM : EXCHANGE_LENGTH, promised) == 0 &&
        !a->x->reply_done)
        pump(a);
    else
        end(a);
}

static struct str path_of(const struct exchange *x)
{
    return http1_str(x->head_bytes, x->head->path);
}

static bool after(struct str path, struct str prefix, struct str *rest)
{
    *rest = str_from(path, prefix.n);
    return str_starts(path, prefix);
}

static void *on_request(void *server_ctx, struct exchange *x)
{
    struct ask *a = arena_new(&x->arena, struct ask);

    CHECK(server_ctx == &rig);
    rig.asks++;
    a->x = x;
    x->ctx = a;
    if (x->fault) {
        reply_text(a, (unsigned)x->fault->status, fault_code_name(x->fault->code));
        return a;
    }
    a->slow = str_eq(path_of(x), STR("/slow"));
    a->any = str_eq(path_of(x), STR("/any"));
    if (str_eq(path_of(x), STR("/early")))
        reply_text(a, 413, "too much");
    return a;
}

static void on_again(struct deadline *d) { exchange_resume(container_of(d, struct ask, again)->x); }

static void on_body(void *ctx, const char *p, size_t n)
{
    struct ask *a = ctx;

    for (size_t i = 0; i < n && !a->any; i++)
        EXPECT(p[i] == peer_fill(a->at + i));
    a->at += n;
    if (a->slow && !deadline_armed(&a->again)) {
        exchange_pause(a->x);
        deadline_arm(rig.loop, &a->again, SIP_MS, on_again);
    }
}

static void on_body_end(void *ctx)
{
    struct ask *a = ctx;
    struct str path = path_of(a->x), number;
    char text[32];

    if (a->slow || a->any || str_eq(path, STR("/echo"))) {
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)a->at);
        reply_text(a, 200, text);
        return;
    }
    a->at = 0;
    if (str_eq(path, STR("/hello"))) {
        reply_text(a, 200, "hello");
    } else if (after(path, STR("/fill/"), &number)) {
        start_fill(a, number, false);
    } else if (after(path, STR("/stream/"), &number)) {
        start_fill(a, number, true);
    } else if (after(path, STR("/cut/"), &number)) {
        a->cut = true;
        start_fill(a, number, false);
    } else if (after(path, STR("/cutstream/"), &number)) {
        a->cut = true;
        start_fill(a, number, true);
    } else if (str_eq(path, STR("/empty"))) {
        exchange_reply(a->x, 204);
        if (exchange_start(a->x, EXCHANGE_NO_BODY, 0) < 0)
            CHECK(a->x->reply_done);
        end(a);
    } else {
        EXPECT(str_eq(path, STR("/hold")));
    }
}

static void on_body_fault(void *ctx, const struct fault *f)
{
    rig.body_faults++;
    reply_text(ctx, (unsigned)f->status, fault_code_name(f->code));
}

static void on_drained(void *ctx)
{
    struct ask *a = ctx;

    if (a->left > 0 && a->x->replied)
        pump(a);
}

static void on_gone(void *ctx, int err)
{
    rig.gone++;
    rig.gone_err = err;
    end(ctx);
}

static const struct exchange_owner owner = {
    .on_request = on_request,
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_body_fault = on_body_fault,
    .on_drained = on_drained,
    .on_gone = on_gone,
};

static void on_accept(void *ctx, struct ev_fd *conn, const struct addr *peer)
{
    (void)ctx;
    CHECK(server_accept(rig.server, conn, peer, NULL) == 0);
}

/* Whoever sees the number of connections fall finds what this one held given back. */
static void on_closed(void *ctx, const struct addr *peer, enum fault_code refused)
{
    (void)ctx;
    (void)peer;
    (void)refused;
    if (rig.server) /* NULL at its end */
        CHECK(server_connections(rig.server) > 0);
}

static void rig_open(void)
{
    struct server_conf conf = {
        .limits = {.head_ms = 10000,
                   .keepalive_ms = 75000,
                   .body_grace_ms = 5000,
                   .body_bytes_per_s = 1000,
                   .stall_ms = 30000,
                   .stream_stall_ms = 60000,
                   .linger_ms = 2000,
                   .head_bytes = 4096,
                   .request_line_bytes = 1024,
                   .headers = 20},
        .owner = &owner,
        .ctx = &rig,
        .chunks = &rig.chunks,
        .arenas = &rig.arenas,
        .name = STR("sim/1"),
        .on_closed = on_closed,
    };

    memset(&rig, 0, sizeof rig);
    wire_small_buffers();
    CHECK(addr_parse(STR("127.0.0.1:8900"), &rig.at) == 0);
    CHECK(loop_create(&rig.loop) == 0);
    server_create(rig.loop, &conf, &rig.server);
    CHECK(listener_bind(&rig.at, 64, 0, &rig.fd) == 0);
    CHECK(listener_open(rig.loop, &rig.fd, on_accept, NULL, &rig.listener) == 0);
    fake_loop_start(rig.loop);
}

static void rig_close(void)
{
    listener_close(&rig.listener);
    ev_fd_close(&rig.fd);
    server_destroy(&rig.server);
    loop_destroy(&rig.loop);
    EXPECT_U64(rig.chunks.live, 0);
    EXPECT_U64(rig.asks, rig.ended);
    chunk_pool_fini(&rig.chunks);
    arena_cache_fini(&rig.arenas);
}

static const struct server_counts *counts(void) { return server_stats(rig.server); }

/* One client after another, then the end. */
#define RUN(ms, ...)                                                                               \
    do {                                                                                           \
        static const struct step script_[] = {__VA_ARGS__};                                        \
        client_start("client", &rig.at, script_);                                                  \
        peers_run(ms);                                                                             \
    } while (0)

#define GET(path) SEND("GET " path " HTTP/1.1\r\nhost: a\r\n\r\n")
#define HELLO GET("/hello"), EXPECT_STATUS(200), EXPECT_BODY("hello")

/* ---- plain use ---- */

static void server_plain(void)
{
    rig_open();
    RUN(5000, HELLO, EXPECT_FIELD("content-length", "5"), EXPECT_NO_FIELD("connection"),
        EXPECT_FIELD("server", "sim/1"), HELLO, GET("/fill/150000"), EXPECT_STATUS(200),
        EXPECT_FIELD("content-length", "150000"), EXPECT_FILLED(150000), GET("/stream/150000"),
        EXPECT_STATUS(200), EXPECT_FIELD("transfer-encoding", "chunked"), EXPECT_FILLED(150000),
        GET("/empty"), EXPECT_STATUS(204), EXPECT_NO_FIELD("content-length"), HELLO, DONE);
    RUN(5000, SEND("HEAD /fill/1000 HTTP/1.1\r\nhost: a\r\n\r\n"), EXPECT_STATUS_NO_BODY(200),
        EXPECT_FIELD("content-length", "1000"), EXPECT_QUIET(50), HELLO, DONE);
    EXPECT_U64(metrics_counter_read(&counts()->requests), 8);
    rig_close();
}

static void server_bodies(void)
{
    rig_open();
    RUN(60000, SEND("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 70000\r\n\r\n"), FILL(70000),
        EXPECT_STATUS(200), EXPECT_BODY("70000"),
        SEND("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"), EXPECT_STATUS(200),
        EXPECT_BODY("0"),
        SEND("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\n"),
        FILL(1000), SEND("\r\n0\r\nignored: trailer\r\n\r\n"), EXPECT_STATUS(200),
        EXPECT_BODY("1000"),
        SEND("POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 20000\r\n\r\n"), FILL(20000),
        EXPECT_STATUS(200), EXPECT_BODY("20000"), HELLO, DONE);
    rig_close();
}

static void server_old_clients(void)
{
    rig_open();
    RUN(5000, SEND("GET /hello HTTP/1.0\r\n\r\n"), EXPECT_STATUS(200), EXPECT_BODY("hello"),
        EXPECT_FIELD("connection", "close"), EXPECT_END, DONE);
    RUN(5000, SEND("GET /hello HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"), EXPECT_STATUS(200),
        EXPECT_BODY("hello"), EXPECT_FIELD("connection", "keep-alive"),
        SEND("GET /stream/5000 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"), EXPECT_STATUS(200),
        EXPECT_FIELD("connection", "close"), EXPECT_NO_FIELD("transfer-encoding"),
        EXPECT_FILLED(5000), EXPECT_END, DONE);
    RUN(5000, SEND("GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        EXPECT_STATUS(200), EXPECT_BODY("hello"), EXPECT_FIELD("connection", "close"), EXPECT_END,
        DONE);
    rig_close();
}

/* ---- slow heads, idle connections ---- */

static void server_head_deadline(void)
{
    rig_open();
    RUN(20000, SEND("GET /hello HTTP/1.1\r\n"), MARK, EXPECT_STATUS(408), SINCE(9990, 10100),
        EXPECT_FIELD("connection", "close"), EXPECT_BODY("request_timeout"), EXPECT_END, DONE);
    RUN(20000, DRIP("GET /hello HTTP/1.1\r\n", 1000), EXPECT_STATUS(408), SINCE(9990, 22200),
        EXPECT_BODY("request_timeout"), DONE);
    EXPECT_U64(metrics_counter_read(&counts()->head_timeouts), 2);
    rig_close();
}

/* The time counts from the head's first byte, not from the end of the idle pause before it. */
static void server_head_deadline_begins_anew(void)
{
    rig_open();
    RUN(90000, HELLO, PAUSE(60000), MARK, SEND("GET /he"), PAUSE(9800),
        SEND("llo HTTP/1.1\r\nhost: a\r\n\r\n"), EXPECT_STATUS(200), EXPECT_BODY("hello"), DONE);
    EXPECT_U64(metrics_counter_read(&counts()->head_timeouts), 0);
    rig_close();
}

static void server_silent_client_closed(void)
{
    rig_open();
    RUN(20000, EXPECT_END, SINCE(9990, 10100), DONE);
    EXPECT_U64(metrics_counter_read(&counts()->idle_closed), 1);
    EXPECT_U64(rig.asks, 0);
    rig_close();
}

static void server_keepalive_close(void)
{
    rig_open();
    RUN(100000, HELLO, MARK, EXPECT_QUIET(74000), EXPECT_END, SINCE(74900, 75200), DONE);
    EXPECT_U64(metrics_counter_read(&counts()->idle_closed), 1);
    rig_close();
}

/* ---- slow bodies ---- */

static void server_body_stops(void)
{
    rig_open();
    RUN(30000, SEND("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 50000\r\n\r\n"), FILL(20000),
        MARK, EXPECT_STATUS(408), SINCE(4900, 6200), EXPECT_FIELD("connection", "close"),
        EXPECT_BODY("request_timeout"), EXPECT_END, DONE);
    EXPECT_U64(metrics_counter_read(&counts()->body_timeouts), 1);
    EXPECT_U64(rig.body_faults, 1);
    rig_close();
}

static void server_body_drips(void)
{
    rig_open();
    RUN(60000, SEND("POST /any HTTP/1.1\r\nhost: a\r\ncontent-length: 500\r\n\r\n"),
        DRIP("one after the other, and slowly", 700), EXPECT_STATUS(408),
        EXPECT_BODY("request_timeout"), DONE);
    EXPECT_U64(metrics_counter_read(&counts()->body_timeouts), 1);
    rig_close();
}

/* Somewhat more than body_bytes_per_s is fast enough, for as long as it takes. */
static void server_body_just_fast_enough(void)
{
    rig_open();
    RUN(90000, SEND("POST /any HTTP/1.1\r\nhost: a\r\ncontent-length: 69000\r\n\r\n"), REPEAT(60),
        FILL(1150), PAUSE(1000), AGAIN, EXPECT_STATUS(200), EXPECT_BODY("69000"), DONE);
    EXPECT_U64(metrics_counter_read(&counts()->body_timeouts), 0);
    rig_close();
}

/* While the owner does not read, the client cannot be the slow one. */
static void server_paused_body_is_not_slow(void)
{
    rig_open();
    wire_conf()->reads = WIRE_WHOLE;
    wire_conf()->buffer_bytes = 2048;
    RUN(600000, SEND("POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n"),
        FILL(200000), EXPECT_STATUS(200), EXPECT_BODY("200000"), DONE);
    EXPECT_U64(metrics_counter_read(&counts()->body_timeouts), 0);
    rig_close();
}

/* ---- clients that do not read ---- */

static void server_stall(void)
{
    rig_open();
    RUN(60000, DEAF(1), GET("/fill/200000"), MARK, PAUSE(29000), DEAF(0), SIP(1, 1), PAUSE(40),
        DEAF(1), PAUSE(29000), DEAF(0), SIP(0, 0), EXPECT_STATUS(200), EXPECT_FILLED(200000), DONE);
    EXPECT_U64(metrics_counter_read(&counts()->stalls), 0);
    rig_close();
}

static void server_stalled_reply_reset(void)
{
    rig_open();
    RUN(60000, DEAF(1), GET("/fill/200000"), MARK, PAUSE(32000), DEAF(0), EXPECT_RESET, DONE);
    EXPECT_U64(metrics_counter_read(&counts()->stalls), 1);
    EXPECT(rig.gone_err == -E_TIMEOUT);
    EXPECT(rig.most_queued < HIGH_WATER + 2 * PIECE);
    rig_close();
}

static void server_stalled_stream_reset(void)
{
    rig_open();
    RUN(90000, DEAF(1), GET("/stream/200000"), MARK, PAUSE(62000), DEAF(0), EXPECT_RESET, DONE);
    EXPECT_U64(metrics_counter_read(&counts()->stream_stalls), 1);
    rig_close();
}

static void server_slow_reader_lives(void)
{
    rig_open();
    RUN(900000, SIP(900, 900), GET("/fill/200000"), EXPECT_STATUS(200), EXPECT_FILLED(200000),
        DONE);
    EXPECT_U64(metrics_counter_read(&counts()->stalls), 0);
    rig_close();
}

/* ---- early replies, linger ---- */

static char none[] = "0", one[] = "1";

static void expect_connections(struct peer *p, void *n)
{
    (void)p;
    EXPECT_U64(server_connections(rig.server), n == one);
}

static void server_linger_ends_after_time(void)
{
    rig_open();
    RUN(20000, SEND("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\n"), MARK,
        EXPECT_STATUS(413), EXPECT_FIELD("connection", "close"), EXPECT_BODY("too much"),
        EXPECT_END, SINCE(0, 500), SEND("more"), PAUSE(1400), DO(expect_connections, one),
        PAUSE(700), DO(expect_connections, none), DONE);
    rig_close();
}

static void server_linger_ends_after_bytes(void)
{
    if (world_seed() % 10 > 0)
        return; /* sixteen million bytes take their time */
    rig_open();
    wire_conf()->buffer_bytes = 1 << 20;
    RUN(90000, SEND("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 50000000\r\n\r\n"),
        EXPECT_STATUS(413), EXPECT_BODY("too much"), EXPECT_END, FILL(16700000), PAUSE(100),
        DO(expect_connections, one), FILL(80000), PAUSE(100), DO(expect_connections, none), DONE);
    rig_close();
}

/* A body that goes on coming is read to its end; one that trickles has its time once. */
static void server_linger_lasts_while_a_body_comes(void)
{
    rig_open();
    wire_conf()->buffer_bytes = 1 << 20;
    RUN(60000, SEND("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n"),
        EXPECT_STATUS(413), EXPECT_BODY("too much"), EXPECT_END, REPEAT(5), PAUSE(1500),
        FILL(300000), AGAIN, PAUSE(1500), DO(expect_connections, one), PAUSE(700),
        DO(expect_connections, none), DONE);
    RUN(60000, SEND("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n"),
        EXPECT_STATUS(413), EXPECT_BODY("too much"), EXPECT_END, REPEAT(4), PAUSE(450), FILL(1000),
        AGAIN, DO(expect_connections, one), PAUSE(300), DO(expect_connections, none), DONE);
    rig_close();
}

/* A client that has sent its whole body before it looks reads the reply, not a reset. */
static void server_linger_saves_the_reply(void)
{
    rig_open();
    RUN(20000, SEND("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 50000\r\n\r\n"),
        FILL(50000), EXPECT_STATUS(413), EXPECT_BODY("too much"), EXPECT_END, DONE);
    rig_close();
}

static void server_linger_ends_with_the_client(void)
{
    rig_open();
    RUN(20000, SEND("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\n"),
        EXPECT_STATUS(413), EXPECT_BODY("too much"), HANG_UP, PAUSE(100), DONE);
    world_run_ms(100);
    EXPECT_U64(server_connections(rig.server), 0);
    rig_close();
}

/* ---- pipelining ---- */

static void server_pipelined(void)
{
    rig_open();
    RUN(5000,
        SEND(
            "GET /hello HTTP/1.1\r\nhost: a\r\n\r\nPOST /echo HTTP/1.1\r\nhost: a\r\n"
            "content-length: 3\r\n\r\n!@_GET /fill/2000 HTTP/1.1\r\nhost: a\r\n\r\n"
            "GET /stream/100000 HTTP/1.1\r\nhost: a\r\n\r\nGET /hello HTTP/1.1\r\nhost: a\r\n\r\n"),
        EXPECT_STATUS(200), EXPECT_BODY("hello"), EXPECT_STATUS(200), EXPECT_BODY("3"),
        EXPECT_STATUS(200), EXPECT_FILLED(2000), EXPECT_STATUS(200), EXPECT_FILLED(100000),
        EXPECT_STATUS(200), EXPECT_BODY("hello"), HELLO, DONE);
    EXPECT_U64(metrics_counter_read(&counts()->requests), 6);
    rig_close();
}

static void server_pipelined_behind_close(void)
{
    rig_open();
    RUN(5000,
        SEND("GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
             "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n"),
        EXPECT_STATUS(200), EXPECT_BODY("hello"), EXPECT_END, DONE);
    EXPECT_U64(metrics_counter_read(&counts()->requests), 1);
    rig_close();
}

/* While a reply is under way no more than one read is kept; then reading stops. */
static void server_pipelined_flood(void)
{
    rig_open();
    wire_conf()->buffer_bytes = 262144; /* so that the script's writes end */
    RUN(20000, GET("/hold"), PAUSE(50), GET("/hello"), PAUSE(50), MARK, REPEAT(100), GET("/hello"),
        AGAIN, EXPECT_QUIET(200), HANG_UP, DONE);
    world_run_ms(2000);
    EXPECT_U64(rig.gone, 1);
    EXPECT_U64(metrics_counter_read(&counts()->requests), 1);
    EXPECT(metrics_counter_read(&counts()->pipelined) <= 1);
    rig_close();
}

/* ---- expect, refusals ---- */

static void server_expect_continue(void)
{
    rig_open();
    RUN(5000,
        SEND("POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: "
             "3\r\n\r\n"),
        EXPECT_RAW("HTTP/1.1 100 Continue\r\n\r\n"), SEND("!@_"), EXPECT_STATUS(200),
        EXPECT_BODY("3"),
        SEND("POST /early HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: "
             "3\r\n\r\n"),
        EXPECT_STATUS(413), EXPECT_BODY("too much"), EXPECT_FIELD("connection", "close"),
        EXPECT_END, DONE);
    rig_close();
}

static void server_refused_heads(void)
{
    rig_open();
#define REFUSED(literal, code, name)                                                               \
    RUN(5000, SEND(literal), EXPECT_STATUS(code), EXPECT_FIELD("connection", "close"),             \
        EXPECT_BODY(name), EXPECT_END, DONE)
    REFUSED("GET /hello HTTP/1.1\r\n\r\n", 400, "bad_request");
    REFUSED("GET /hello HTTP/1.1\nhost: a\n\n", 400, "bad_request");
    REFUSED("GET /hello HTTP/2.0\r\nhost: a\r\n\r\n", 505, "version_not_supported");
    REFUSED("GET /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400,
            "bad_request");
    REFUSED("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: "
            "chunked\r\n\r\n",
            400, "bad_request");
    REFUSED("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501,
            "not_implemented");
    REFUSED("GET /hello HTTP/1.1\r\nhost: a\r\nexpect: the-worst\r\n\r\n", 417,
            "expectation_failed");
#undef REFUSED
    EXPECT_U64(metrics_counter_read(&counts()->refused_heads), 7);
    EXPECT_U64(metrics_counter_read(&counts()->requests), 0);
    rig_close();
}

static void server_head_too_large(void)
{
    rig_open();
    RUN(5000, SEND("GET /"), REPEAT(1200), SEND("a"), AGAIN, EXPECT_STATUS(414),
        EXPECT_BODY("uri_too_long"), DONE);
    RUN(5000, SEND("GET /hello HTTP/1.1\r\nhost: a\r\nx: "), FILL(9000), EXPECT_STATUS(431),
        EXPECT_BODY("headers_too_large"), DONE);
    rig_close();
}

static void server_bad_chunks(void)
{
    rig_open();
    RUN(5000, SEND("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n"),
        EXPECT_STATUS(400), EXPECT_BODY("bad_request"), EXPECT_FIELD("connection", "close"),
        EXPECT_END, DONE);
    EXPECT_U64(rig.body_faults, 1);
    rig_close();
}

/* ---- clients that leave ---- */

static void server_hang_up_is_told(void)
{
    rig_open();
    RUN(5000, GET("/hold"), PAUSE(100), HANG_UP, DONE);
    world_run_ms(100);
    EXPECT_U64(rig.gone, 1);
    RUN(5000, GET("/hold"), PAUSE(100), RESET, DONE);
    world_run_ms(100);
    EXPECT_U64(rig.gone, 2);
    RUN(5000, GET("/hold"), PAUSE(100), SHUT, EXPECT_CLOSED, DONE);
    EXPECT_U64(rig.gone, 3);
    RUN(5000, DEAF(1), GET("/fill/200000"), PAUSE(100), HANG_UP, DONE);
    world_run_ms(5000);
    EXPECT_U64(rig.gone, 4);
    EXPECT_U64(server_connections(rig.server), 0);
    rig_close();
}

static void server_hang_up_inside_a_body(void)
{
    rig_open();
    RUN(5000, SEND("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n!@_"), PAUSE(100),
        HANG_UP, DONE);
    RUN(5000, SEND("POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n"), FILL(1000),
        HANG_UP, DONE);
    world_run_ms(2000);
    EXPECT_U64(rig.gone, 2);
    EXPECT_U64(server_connections(rig.server), 0);
    rig_close();
}

/* What was sent before the half close is answered, when the reply needs no waiting. */
static void server_cuts(void)
{
    rig_open();
    RUN(5000, GET("/cut/3000"), EXPECT_STATUS(200), EXPECT_SOME(3000), EXPECT_CUT, DONE);
    RUN(5000, GET("/cutstream/3000"), EXPECT_STATUS(200), EXPECT_SOME(3000), EXPECT_CUT, DONE);
    RUN(5000, SEND("GET /cutstream/3000 HTTP/1.0\r\n\r\n"), EXPECT_RESET, DONE);
    rig_close();
}

/* A client that reads until the close gets no close that looks like the end. */
static void server_half_close_of_old_client(void)
{
    rig_open();
    wire_conf()->buffer_bytes = 2048;
    RUN(9000, SIP(100, 50), SEND("GET /stream/200000 HTTP/1.0\r\n\r\n"), EXPECT_STATUS(200),
        PAUSE(200), SHUT, PAUSE(50), SIP(0, 0), EXPECT_CUT, DONE);
    rig_close();
}

/* The last reply is still on its way to a slow reader when the connection idles, or lingers. */
static void server_idle_with_unsent_bytes(void)
{
    rig_open();
    wire_conf()->buffer_bytes = 2048;
    RUN(300000, SIP(100, 900), GET("/fill/16000"), EXPECT_STATUS(200), EXPECT_FILLED(16000),
        SIP(0, 0), MARK, EXPECT_END, SINCE(50000, 76000), DONE);
    rig_close();
}

static void server_linger_with_unsent_bytes(void)
{
    rig_open();
    wire_conf()->buffer_bytes = 2048;
    RUN(300000, SIP(100, 100), SEND("GET /stream/16000 HTTP/1.0\r\n\r\n"), EXPECT_STATUS(200),
        EXPECT_FILLED(16000), EXPECT_END, DONE);
    RUN(300000, SIP(100, 100),
        SEND("GET /fill/16000 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        EXPECT_STATUS(200), EXPECT_FILLED(16000), EXPECT_END, DONE);
    rig_close();
}

/* ---- drain, shed ---- */

static void hello_then_wait(void)
{
    static const struct step script[] = {HELLO, EXPECT_END, DONE};

    client_start("idler", &rig.at, script);
    world_run_ms(1000);
}

static void server_drain_closes_idle(void)
{
    static const struct step busy[] = {
        SEND("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n!"),
        PAUSE(2000),
        SEND("@_"),
        EXPECT_STATUS(200),
        EXPECT_FIELD("connection", "close"),
        EXPECT_BODY("3"),
        EXPECT_END,
        DONE,
    };

    rig_open();
    client_start("busy", &rig.at, busy);
    hello_then_wait();
    EXPECT_U64(server_connections(rig.server), 2);
    server_drain(rig.server);
    EXPECT_U64(server_connections(rig.server), 1);
    peers_run(5000);
    world_run_ms(100);
    EXPECT_U64(server_connections(rig.server), 0);
    rig_close();
}

static void server_shed(void)
{
    rig_open();
    hello_then_wait();
    hello_then_wait();
    EXPECT(server_shed_idle(rig.server));
    EXPECT_U64(server_connections(rig.server), 1);
    EXPECT(server_shed_idle(rig.server));
    EXPECT(!server_shed_idle(rig.server));
    peers_run(1000);
    rig_close();
}

static void server_destroyed_under_load(void)
{
    static const struct step hold[] = {GET("/hold"), EXPECT_RESET, DONE};
    static const struct step fill[] = {DEAF(1), GET("/fill/200000"), PAUSE(300),
                                       DEAF(0), EXPECT_RESET,        DONE};

    rig_open();
    client_start("holder", &rig.at, hold);
    client_start("filler", &rig.at, fill);
    world_run_ms(100);
    rig_close();
    peers_run(1000);
}

static void server_accept_pauses_without_descriptors(void)
{
    static const struct step late[] = {HELLO, DONE};

    rig_open();
    wire_conf()->fds = wire_fds() + 1;
    hello_then_wait();
    client_start("late", &rig.at, late);
    world_run_ms(500);
    EXPECT(listener_starved(rig.listener) > 0);
    EXPECT(server_shed_idle(rig.server));
    peers_run(5000);
    rig_close();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_server(void)
{
    static const struct scenario all[] = {
        ROW(server_plain) ROW(server_bodies) ROW(server_old_clients) ROW(server_head_deadline) ROW(
            server_head_deadline_begins_anew) ROW(server_silent_client_closed)
            ROW(server_keepalive_close) ROW(server_body_stops) ROW(server_body_drips) ROW(
                server_body_just_fast_enough) ROW(server_paused_body_is_not_slow) ROW(server_stall)
                ROW(server_stalled_reply_reset) ROW(server_stalled_stream_reset)
                    ROW(server_slow_reader_lives) ROW(server_linger_ends_after_time) ROW(
                        server_linger_ends_after_bytes) ROW(server_linger_lasts_while_a_body_comes)
                        ROW(server_linger_saves_the_reply) ROW(server_linger_ends_with_the_client)
                            ROW(server_pipelined) ROW(server_pipelined_behind_close)
                                ROW(server_pipelined_flood) ROW(server_expect_continue)
                                    ROW(server_refused_heads) ROW(server_head_too_large)
                                        ROW(server_bad_chunks) ROW(server_hang_up_is_told) ROW(
                                            server_hang_up_inside_a_body) ROW(server_cuts)
                                            ROW(server_half_close_of_old_client) ROW(
                                                server_idle_with_unsent_bytes)
                                                ROW(server_linger_with_unsent_bytes) ROW(
                                                    server_drain_closes_idle) ROW(server_shed)
                                                    ROW(server_destroyed_under_load) ROW(
                                                        server_accept_pauses_without_descriptors){
                                                        NULL, NULL},
    };

    return all;
}
