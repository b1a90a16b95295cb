/* SPDX-License-Identifier: Apache-2.0
 *
 * client_sim.c - scenarios of net/client: engines that are away, slow, rude or broken on the other
 * side. Calls are made here one at a time or together; what each was told is written down in its
 * `struct ask` and looked at afterwards.
 */
#include <stdio.h>

#include "base/mem.h"
#include "net/client.h"
#include "sim/ev/fake.h"
#include "sim/names.h"
#include "sim/peer.h"
#include "sim/sim.h"
#include "sim/wire.h"

enum { ASKS_MAX = 32, BODY_MAX = 8 << 20 };

/* One call and what its owner was told. */
struct ask {
    struct call *call;
    struct buf head, body; /* of the request, of the reply */
    struct chunkq out;
    unsigned opened, sent, heads, last;
    unsigned status;
    bool over, clean;
    bool pause; /* the reply, at its head */
    int err;    /* 0: on_end */
    enum call_phase phase;
    uint64_t began_us, over_us;
    enum http1_method method;
};

static struct {
    struct loop *loop;
    struct client *client;
    struct pool *pool;
    struct chunk_pool chunks;
    struct addr at;
    struct ask asks[ASKS_MAX];
    unsigned n;
} rig;

static void on_open(void *ctx)
{
    struct ask *a = ctx;

    EXPECT(a->opened++ == 0 && !a->over);
    call_send(a->call, buf_str(&a->head), &a->out, a->method);
}

static void on_sent(void *ctx) { ((struct ask *)ctx)->sent++; }

static void on_head(void *ctx, const struct http1_head *head, const char *bytes,
                    enum http1_framing framing, bool more)
{
    struct ask *a = ctx;

    (void)bytes;
    (void)framing;
    (void)more;
    EXPECT(a->heads++ == 0 && !a->over);
    a->status = head->status;
    if (a->pause)
        call_pause(a->call);
}

static void on_body(void *ctx, const struct iovec *iov, unsigned n, bool last)
{
    struct ask *a = ctx;

    EXPECT(a->heads == 1 && !a->over && a->last == 0 && n > 0);
    for (unsigned i = 0; i < n; i++) {
        EXPECT(iov[i].iov_len > 0);
        buf_bytes(&a->body, iov[i].iov_base, iov[i].iov_len);
    }
    a->last += last;
}

static void over(struct ask *a)
{
    EXPECT(!a->over);
    a->over = true;
    a->over_us = world_now_us();
    a->call = NULL;
}

static void on_end(void *ctx, bool clean)
{
    struct ask *a = ctx;

    EXPECT(a->heads == 1);
    a->clean = clean;
    over(a);
}

static void on_fail(void *ctx, int err, enum call_phase phase, const char *why)
{
    struct ask *a = ctx;

    EXPECT(err < 0 && why != NULL);
    a->err = err;
    a->phase = phase;
    over(a);
}

static const struct call_ops ops = {
    .on_open = on_open,
    .on_sent = on_sent,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

/* A call with `bytes` of the pattern as its body. Does not wait. */
static struct ask *ask(enum http1_method method, const char *path, size_t bytes)
{
    struct ask *a = &rig.asks[rig.n++];

    CHECK(rig.n <= ASKS_MAX);
    *a = (struct ask){.head = buf_make(1024), .body = buf_make(BODY_MAX), .method = method};
    chunkq_init(&a->out, &rig.chunks);
    for (size_t i = 0; i < bytes;) {
        char piece[1000];
        size_t n = min_size(sizeof piece, bytes - i);

        for (size_t k = 0; k < n; k++)
            piece[k] = peer_fill(i++);
        chunkq_append(&a->out, piece, n);
    }
    buf_printf(&a->head, "%s %s HTTP/1.1\r\nhost: a\r\n", http1_method_text(method), path);
    if (bytes > 0)
        buf_printf(&a->head, "content-length: %zu\r\n", bytes);
    buf_text(&a->head, "\r\n");
    a->began_us = world_now_us();
    call_open(rig.pool, &ops, a, &a->call);
    if (call_take_open(a->call))
        on_open(a);
    return a;
}

static bool ask_over(void *ctx) { return ((const struct ask *)ctx)->over; }

static void wait_ask(struct ask *a, uint64_t ms) { EXPECT(world_run_until(ask_over, a, ms)); }

static struct ask *get(const char *path)
{
    struct ask *a = ask(HTTP1_GET, path, 0);

    wait_ask(a, 100000);
    return a;
}

static void cancel(struct ask *a)
{
    call_cancel(&a->call);
    a->over = true;
}

static uint64_t took_ms(const struct ask *a) { return (a->over_us - a->began_us) / 1000; }

static void expect_reply(const struct ask *a, unsigned status, const char *body)
{
    EXPECT(a->over && a->err == 0);
    EXPECT_U64(a->status, status);
    EXPECT(str_eq(buf_str(&a->body), str_of(body)));
}

static void expect_fail(const struct ask *a, int err, enum call_phase phase)
{
    EXPECT(a->over);
    if (a->err != err || a->phase != phase)
        sim_fail(__FILE__, __LINE__, "%s in phase %u, not %s in phase %u", err_text(a->err),
                 a->phase, err_text(err), phase);
}

static void open_pool(const char *host)
{
    struct pool_target to = {.host = str_of(host), .port = rig.at.port};

    pool_create(rig.client, &to, &rig.pool);
}

static void rig_open(void)
{
    struct client_limits limits = {.connect_ms = 5000,
                                   .pool_idle_ms = 60000,
                                   .pool_max_idle = 2,
                                   .head_bytes = 4096,
                                   .headers = 20};

    memset(&rig, 0, sizeof rig);
    wire_small_buffers();
    CHECK(addr_parse(STR("127.0.0.1:8000"), &rig.at) == 0);
    CHECK(loop_create(&rig.loop) == 0);
    client_create(rig.loop, &rig.chunks, &limits, &rig.client);
    open_pool("127.0.0.1");
    fake_loop_start(rig.loop);
}

static void rig_close(void)
{
    for (unsigned i = 0; i < rig.n; i++) {
        EXPECT(rig.asks[i].over);
        chunkq_clear(&rig.asks[i].out);
        buf_fini(&rig.asks[i].head);
        buf_fini(&rig.asks[i].body);
    }
    pool_close(&rig.pool);
    loop_settle(rig.loop);
    client_destroy(&rig.client);
    loop_destroy(&rig.loop);
    EXPECT_U64(rig.chunks.live, 0);
    chunk_pool_fini(&rig.chunks);
}

static const struct client_counts *counts(void) { return client_stats(rig.client); }

#define SCRIPT(name, ...) static const struct step name[] = {__VA_ARGS__}

/* ---- plain use ---- */

static void client_framings(void)
{
    SCRIPT(script, EXPECT_REQUEST("GET /length"), REPLY("200 OK", "hello"),
           EXPECT_REQUEST("GET /chunked"),
           SEND("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n "
                "world\r\n0\r\nt: u\r\n\r\n"),
           EXPECT_REQUEST("HEAD /head"), SEND("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
           EXPECT_REQUEST("GET /204"), SEND("HTTP/1.1 204 No Content\r\n\r\n"),
           EXPECT_REQUEST("GET /304"),
           SEND("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
           EXPECT_REQUEST("GET /empty"), REPLY("200 OK", ""), EXPECT_REQUEST("GET /1xx"),
           SEND("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"),
           PAUSE(20), REPLY("404 Not Found", "no"), EXPECT_REQUEST("GET /close"),
           SEND("HTTP/1.1 200 OK\r\n\r\nuntil the end"), DONE);
    struct ask *a;

    rig_open();
    ENGINE_START("engine", &rig.at, script);
    expect_reply(get("/length"), 200, "hello");
    expect_reply(get("/chunked"), 200, "hello world");
    a = ask(HTTP1_HEAD, "/head", 0);
    wait_ask(a, 1000);
    expect_reply(a, 200, "");
    expect_reply(get("/204"), 204, "");
    expect_reply(get("/304"), 304, "");
    expect_reply(get("/empty"), 200, "");
    expect_reply(get("/1xx"), 404, "no");
    a = get("/close");
    expect_reply(a, 200, "until the end");
    EXPECT(!a->clean);
    EXPECT_U64(metrics_counter_read(&counts()->connects), 1);
    EXPECT_U64(metrics_counter_read(&counts()->reused), 7);
    rig_close();
}

static void client_large_bodies(void)
{
    SCRIPT(script, EXPECT_REQUEST("POST /up"), EXPECT_FILLED(150000),
           SEND("HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n"), FILL(200000), PAUSE(50),
           DONE);
    struct ask *a;

    rig_open();
    ENGINE_START("engine", &rig.at, script);
    a = ask(HTTP1_POST, "/up", 150000);
    wait_ask(a, 60000);
    EXPECT_U64(a->status, 200);
    EXPECT_U64(a->body.n, 200000);
    EXPECT_U64(a->last, 1);
    for (size_t i = 0; i < a->body.n; i++)
        EXPECT(a->body.p[i] == peer_fill(i));
    rig_close();
}

/* ---- connecting ---- */

static void client_connect_timeout(void)
{
    struct ask *a;

    rig_open();
    wire_route(&rig.at, WIRE_BLACKHOLE);
    a = get("/");
    expect_fail(a, -E_TIMEOUT, CALL_CONNECT);
    EXPECT_WITHIN(took_ms(a), 4990, 5010);
    EXPECT_U64(metrics_counter_read(&counts()->connect_failures), 1);
    rig_close();
}

static void client_connect_refused(void)
{
    rig_open();
    expect_fail(get("/"), -E_REFUSED, CALL_CONNECT);
    wire_route(&rig.at, WIRE_UNREACHABLE);
    expect_fail(get("/"), -E_UNREACHABLE, CALL_CONNECT);
    rig_close();
}

static void client_all_addresses(void)
{
    SCRIPT(script, EXPECT_REQUEST("GET /"), REPLY("200 OK", "here"), EXPECT_END, DONE);
    struct addr addrs[3] = {{0}};
    struct ask *a;

    rig_open();
    CHECK(addr_parse(STR("10.0.0.1:8000"), &addrs[0]) == 0);
    CHECK(addr_parse(STR("10.0.0.2:8000"), &addrs[1]) == 0);
    CHECK(addr_parse(STR("127.0.0.1:8000"), &addrs[2]) == 0);
    names_add("engine.test", addrs, 3);
    wire_route(&addrs[0], WIRE_BLACKHOLE);
    ENGINE_START("engine", &rig.at, script);
    pool_close(&rig.pool);
    open_pool("engine.test");
    a = get("/");
    expect_reply(a, 200, "here");
    EXPECT_WITHIN(took_ms(a), 1660, 1690); /* a third of connect_ms */
    EXPECT_U64(metrics_counter_read(&counts()->connect_failures), 2);
    rig_close();
}

static void client_no_address_answers(void)
{
    struct addr addrs[2] = {{0}};
    struct ask *a;

    rig_open();
    CHECK(addr_parse(STR("10.0.0.1:8000"), &addrs[0]) == 0);
    CHECK(addr_parse(STR("10.0.0.2:8000"), &addrs[1]) == 0);
    names_add("engine.test", addrs, 2);
    wire_route(&addrs[0], WIRE_BLACKHOLE);
    wire_route(&addrs[1], WIRE_BLACKHOLE);
    pool_close(&rig.pool);
    open_pool("engine.test");
    a = get("/");
    expect_fail(a, -E_TIMEOUT, CALL_CONNECT);
    EXPECT_WITHIN(took_ms(a), 4990, 5020);
    rig_close();
}

static void client_no_such_name(void)
{
    struct ask *a;

    rig_open();
    names_add("lost.test", NULL, 0);
    pool_close(&rig.pool);
    open_pool("nowhere.test");
    expect_fail(get("/"), -E_NAME, CALL_CONNECT);
    pool_close(&rig.pool);
    open_pool("lost.test");
    a = get("/");
    expect_fail(a, -E_TIMEOUT, CALL_CONNECT);
    EXPECT(took_ms(a) <= 5010);
    rig_close();
}

/* A name that has moved is asked for again after 10 s, not before. */
static void client_name_moves(void)
{
    SCRIPT(first, EXPECT_REQUEST("GET /"), SEND("HTTP/1.1 200 OK\r\n\r\none"), DONE);
    SCRIPT(second, EXPECT_REQUEST("GET /"), SEND("HTTP/1.1 200 OK\r\n\r\ntwo"), DONE);
    struct addr one, two;

    rig_open();
    CHECK(addr_parse(STR("10.0.0.1:8000"), &one) == 0);
    CHECK(addr_parse(STR("10.0.0.2:8000"), &two) == 0);
    ENGINE_START("one", &one, first);
    ENGINE_START("two", &two, second);
    names_add("engine.test", &one, 1);
    pool_close(&rig.pool);
    open_pool("engine.test");
    expect_reply(get("/"), 200, "one");
    names_add("engine.test", &two, 1);
    world_run_ms(8000);
    expect_reply(get("/"), 200, "one");
    world_run_ms(3000);
    expect_reply(get("/"), 200, "two");
    rig_close();
}

/* ---- the reuse race ---- */

#define ONE_THEN(...) EXPECT_REQUEST("GET /one"), REPLY("200 OK", "1"), __VA_ARGS__

static void race(enum http1_method method, const struct step *first, const struct step *second)
{
    struct ask *a;

    ENGINE_START("engine", &rig.at, first, second);
    expect_reply(get("/one"), 200, "1");
    a = ask(method, "/two", method == HTTP1_POST ? 30000 : 0);
    wait_ask(a, 5000);
    expect_reply(a, 200, "2");
    EXPECT_U64(a->opened, 1);
    EXPECT_U64(metrics_counter_read(&counts()->connects), 2);
}

static void client_reuse_race_get(void)
{
    SCRIPT(first, ONE_THEN(EXPECT_REQUEST("GET /two"), PAUSE(50), HANG_UP, DONE));
    SCRIPT(second, EXPECT_REQUEST("GET /two"), REPLY("200 OK", "2"), DONE);

    rig_open();
    race(HTTP1_GET, first, second);
    EXPECT_U64(metrics_counter_read(&counts()->reuse_races), 1);
    rig_close();
}

static void client_reuse_race_post(void)
{
    SCRIPT(first, ONE_THEN(EXPECT_REQUEST("POST /two"), RESET, DONE));
    SCRIPT(second, EXPECT_REQUEST("POST /two"), EXPECT_FILLED(30000), REPLY("200 OK", "2"), DONE);

    rig_open();
    race(HTTP1_POST, first, second);
    EXPECT_U64(metrics_counter_read(&counts()->reuse_races), 1);
    rig_close();
}

/* The engine closes while the request is on its way. */
static void client_reuse_race_crossing(void)
{
    SCRIPT(first, ONE_THEN(HANG_UP, DONE));
    SCRIPT(second, EXPECT_REQUEST("POST /two"), EXPECT_FILLED(30000), REPLY("200 OK", "2"), DONE);

    rig_open();
    race(HTTP1_POST, first, second);
    rig_close();
}

/* An engine that thinks longer than 100 ms and then hangs up has seen the request. */
static void client_late_close_is_no_race(void)
{
    SCRIPT(first, ONE_THEN(EXPECT_REQUEST("POST /two"), PAUSE(130), HANG_UP, DONE));
    struct ask *a;

    rig_open();
    ENGINE_START("engine", &rig.at, first);
    expect_reply(get("/one"), 200, "1");
    a = ask(HTTP1_POST, "/two", 0);
    wait_ask(a, 5000);
    expect_fail(a, -E_EOF, CALL_SEND);
    EXPECT_U64(metrics_counter_read(&counts()->reuse_races), 0);
    EXPECT_U64(metrics_counter_read(&counts()->connects), 1);
    rig_close();
}

static void client_fresh_close_is_no_race(void)
{
    SCRIPT(first, EXPECT_REQUEST("GET /one"), HANG_UP, DONE);

    rig_open();
    ENGINE_START("engine", &rig.at, first);
    expect_fail(get("/one"), -E_EOF, CALL_SEND);
    EXPECT_U64(metrics_counter_read(&counts()->connects), 1);
    rig_close();
}

static void client_race_is_lost_once(void)
{
    SCRIPT(first, ONE_THEN(EXPECT_REQUEST("GET /two"), HANG_UP, DONE));
    SCRIPT(second, EXPECT_REQUEST("GET /two"), HANG_UP, DONE);

    rig_open();
    ENGINE_START("engine", &rig.at, first, second);
    expect_reply(get("/one"), 200, "1");
    expect_fail(get("/two"), -E_EOF, CALL_SEND);
    EXPECT_U64(metrics_counter_read(&counts()->connects), 2);
    rig_close();
}

/* One byte of a reply is enough to know that the request was seen. */
static void client_first_byte_ends_the_race(void)
{
    SCRIPT(first, ONE_THEN(EXPECT_REQUEST("GET /two"), SEND("H"), PAUSE(5), HANG_UP, DONE));

    rig_open();
    ENGINE_START("engine", &rig.at, first);
    expect_reply(get("/one"), 200, "1");
    expect_fail(get("/two"), -E_EOF, CALL_HEAD);
    EXPECT_U64(metrics_counter_read(&counts()->connects), 1);
    rig_close();
}

static void client_race_and_nobody_there(void)
{
    SCRIPT(first, ONE_THEN(EXPECT_REQUEST("GET /two"), PAUSE(40), HANG_UP, DONE));
    struct engine *e;

    rig_open();
    e = ENGINE_START("engine", &rig.at, first);
    expect_reply(get("/one"), 200, "1");
    engine_stop(e);
    expect_fail(get("/two"), -E_REFUSED, CALL_RECONNECT);
    rig_close();
}

/* ---- idle connections ---- */

static void client_idle_ends(void)
{
    SCRIPT(script, EXPECT_REQUEST("GET /one"), REPLY("200 OK", "1"), MARK, EXPECT_END,
           SINCE(59000, 60100), DONE);

    rig_open();
    ENGINE_START("engine", &rig.at, script);
    expect_reply(get("/one"), 200, "1");
    EXPECT_U64(pool_idle(rig.pool), 1);
    world_run_ms(61000);
    EXPECT_U64(pool_idle(rig.pool), 0);
    rig_close();
}

static void client_idle_closed_by_engine(void)
{
    SCRIPT(first, ONE_THEN(PAUSE(500), HANG_UP, DONE));
    SCRIPT(second, EXPECT_REQUEST("GET /two"), REPLY("200 OK", "2"), EXPECT_END, DONE);

    rig_open();
    ENGINE_START("engine", &rig.at, first, second);
    expect_reply(get("/one"), 200, "1");
    world_run_ms(2000);
    EXPECT_U64(pool_idle(rig.pool), 0); /* idle connections are read all the time */
    expect_reply(get("/two"), 200, "2");
    EXPECT_U64(metrics_counter_read(&counts()->reuse_races), 0);
    rig_close();
}

static void ask_two(struct peer *p, void *arg)
{
    (void)p;
    *(struct ask **)arg = ask(HTTP1_GET, "/two", 0);
}

/* The end has arrived and the loop has not heard of it yet: after more than a second one looks
 * before one sends, so this is no race. */
static void client_looks_at_what_was_idle_for_long(void)
{
    static struct ask *two;
    SCRIPT(first, ONE_THEN(PAUSE(1100), HANG_UP, DO(ask_two, &two), DONE));
    SCRIPT(second, EXPECT_REQUEST("GET /two"), REPLY("200 OK", "2"), EXPECT_END, DONE);

    two = NULL;
    rig_open();
    wire_conf()->latency_min_us = wire_conf()->latency_max_us = 0;
    ENGINE_START("engine", &rig.at, first, second);
    expect_reply(get("/one"), 200, "1");
    world_run_ms(1200);
    wait_ask(two, 1000);
    expect_reply(two, 200, "2");
    EXPECT_U64(metrics_counter_read(&counts()->reuse_races), 0);
    rig_close();
}

static void client_idle_gets_unasked_bytes(void)
{
    SCRIPT(first,
           ONE_THEN(PAUSE(100), SEND("HTTP/1.1 408 Request Timeout\r\n\r\n"), EXPECT_CLOSED, DONE));
    SCRIPT(second, EXPECT_REQUEST("GET /two"), REPLY("200 OK", "2"), EXPECT_END, DONE);

    rig_open();
    ENGINE_START("engine", &rig.at, first, second);
    expect_reply(get("/one"), 200, "1");
    world_run_ms(300);
    EXPECT_U64(pool_idle(rig.pool), 0);
    expect_reply(get("/two"), 200, "2");
    rig_close();
}

/* Two replies to one request: the second is nobody's. */
static void client_bytes_behind_a_reply(void)
{
    SCRIPT(first, EXPECT_REQUEST("GET /one"),
           SEND("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1HTTP/1.1 200 OK\r\ncontent-length: "
                "1\r\n\r\n2"),
           EXPECT_CLOSED, DONE);

    rig_open();
    ENGINE_START("engine", &rig.at, first);
    expect_reply(get("/one"), 200, "1");
    world_run_ms(100);
    EXPECT_U64(pool_idle(rig.pool), 0);
    rig_close();
}

static void client_pool_keeps_two(void)
{
    SCRIPT(script, EXPECT_REQUEST("GET /"), PAUSE(50), REPLY("200 OK", "x"), EXPECT_CLOSED, DONE);
    struct ask *a[4];

    rig_open();
    ENGINE_START("engine", &rig.at, script);
    for (unsigned i = 0; i < 4; i++)
        a[i] = ask(HTTP1_GET, "/", 0);
    for (unsigned i = 0; i < 4; i++)
        wait_ask(a[i], 1000);
    EXPECT_U64(pool_idle(rig.pool), 2);
    pool_flush(rig.pool);
    EXPECT_U64(pool_idle(rig.pool), 0);
    rig_close();
}

static void client_connection_close_is_obeyed(void)
{
    SCRIPT(script, EXPECT_REQUEST("GET /"),
           SEND("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx"), EXPECT_END,
           DONE);
    SCRIPT(old, EXPECT_REQUEST("GET /"), SEND("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx"),
           EXPECT_END, DONE);

    rig_open();
    ENGINE_START("engine", &rig.at, script, old);
    expect_reply(get("/"), 200, "x");
    EXPECT_U64(pool_idle(rig.pool), 0);
    expect_reply(get("/"), 200, "x");
    EXPECT_U64(pool_idle(rig.pool), 0);
    rig_close();
}

static void client_pool_closed_under_calls(void)
{
    SCRIPT(script, EXPECT_REQUEST("GET /"), PAUSE(100), REPLY("200 OK", "x"), EXPECT_END, DONE);
    struct ask *a;

    rig_open();
    ENGINE_START("engine", &rig.at, script);
    a = ask(HTTP1_GET, "/", 0);
    world_run_ms(20);
    pool_close(&rig.pool);
    wait_ask(a, 1000);
    expect_reply(a, 200, "x");
    rig_close();
}

/* ---- broken replies ---- */

static void broken(const struct step *script, int err, enum call_phase phase)
{
    struct engine *e = ENGINE_START("engine", &rig.at, script);

    expect_fail(get("/"), err, phase);
    EXPECT_U64(pool_idle(rig.pool), 0);
    engine_stop(e);
}

#define BROKEN(literal, err, phase)                                                                \
    do {                                                                                           \
        static const struct step script_[] = {EXPECT_REQUEST("GET /"), SEND(literal),              \
                                              EXPECT_CLOSED, DONE};                                \
        broken(script_, err, phase);                                                               \
    } while (0)
static void client_malformed_replies(void)
{
    rig_open();
    BROKEN("HTTP/1.1 2x0 OK\r\n\r\n", -E_SYNTAX, CALL_HEAD);
    BROKEN("SSH-2.0-OpenSSH\r\n", -E_SYNTAX, CALL_HEAD);
    BROKEN("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", -E_SYNTAX,
           CALL_HEAD);
    BROKEN("HTTP/1.1 200 OK\r\nbad header\r\n\r\n", -E_SYNTAX, CALL_HEAD);
    BROKEN("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
           -E_SYNTAX, CALL_HEAD);
    BROKEN("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", -E_SYNTAX, CALL_BODY);
    BROKEN("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", -E_SYNTAX,
           CALL_BODY);
    rig_close();
}

static void client_endless_informational(void)
{
    SCRIPT(script, EXPECT_REQUEST("GET /"), REPEAT(17), SEND("HTTP/1.1 102 Processing\r\n\r\n"),
           AGAIN, EXPECT_CLOSED, DONE);

    rig_open();
    broken(script, -E_SYNTAX, CALL_HEAD);
    rig_close();
}

static void client_head_too_large(void)
{
    SCRIPT(script, EXPECT_REQUEST("GET /"), SEND("HTTP/1.1 200 OK\r\nx: "), FILL(6000),
           EXPECT_CLOSED, DONE);

    rig_open();
    broken(script, -E_LIMIT, CALL_HEAD);
    rig_close();
}

/* ---- cuts, by FIN and by RST, in every framing ---- */

#define CUT(literal, phase)                                                                        \
    do {                                                                                           \
        static const struct step fin_[] = {EXPECT_REQUEST("GET /"), SEND(literal), PAUSE(3),       \
                                           HANG_UP, DONE};                                         \
        static const struct step rst_[] = {EXPECT_REQUEST("GET /"), SEND(literal), PAUSE(3),       \
                                           RESET, DONE};                                           \
        broken(fin_, -E_EOF, phase);                                                               \
        broken(rst_, -E_RESET, phase);                                                             \
    } while (0)
static void client_cuts(void)
{
    rig_open();
    wire_conf()->reads = WIRE_WHOLE; /* what was sent before the reset is read before it */
    CUT("HTTP/1.1 200", CALL_HEAD);
    CUT("HTTP/1.1 100 Continue\r\n\r\n", CALL_HEAD);
    CUT("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", CALL_BODY);
    CUT("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", CALL_BODY);
    CUT("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3", CALL_BODY);
    CUT("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc", CALL_BODY);
    CUT("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", CALL_BODY);
    CUT("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", CALL_BODY);
    CUT("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n", CALL_BODY);
    rig_close();
}

static void client_reset_of_a_reply_until_close(void)
{
    SCRIPT(script, EXPECT_REQUEST("GET /"), SEND("HTTP/1.1 200 OK\r\n\r\nabc"), PAUSE(3), RESET,
           DONE);

    rig_open();
    broken(script, -E_RESET, CALL_BODY);
    rig_close();
}

/* ---- cancel, back-pressure, early replies ---- */

static void client_cancel_at_any_time(void)
{
    SCRIPT(script, EXPECT_REQUEST_OR_END("POST /"),
           SEND("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), REPEAT(0),
           SEND("3\r\nabc\r\n"), PAUSE(1), AGAIN, EXPECT_GONE, DONE);

    rig_open();
    ENGINE_START("engine", &rig.at, script);
    for (unsigned i = 0; i < 12; i++) {
        struct ask *a = ask(HTTP1_POST, "/", 3000);

        world_run_ms(i * i / 4);
        EXPECT(!a->over);
        cancel(a);
        EXPECT_U64(pool_idle(rig.pool), 0);
    }
    peers_finish(3000);
    rig_close();
}

/* The reply is not read: the engine's writes wait, and nothing grows here. */
static void client_pause(void)
{
    SCRIPT(script, EXPECT_REQUEST("GET /"),
           SEND("HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n"), FILL(200000),
           SINCE(2900, 60000), EXPECT_CLOSED, DONE);
    struct ask *a;
    size_t before;

    rig_open();
    ENGINE_START("engine", &rig.at, script);
    a = ask(HTTP1_GET, "/", 0);
    a->pause = true;
    while (a->status == 0)
        world_run_ms(1);
    world_run_ms(10);
    before = a->body.n;
    world_run_ms(3000);
    EXPECT_U64(a->body.n, before);
    call_resume(a->call);
    wait_ask(a, 60000);
    EXPECT_U64(a->body.n, 200000);
    rig_close();
}

static void client_slow_upload(void)
{
    SCRIPT(script, DEAF(1), PAUSE(2000), DEAF(0), EXPECT_REQUEST("POST /"), EXPECT_FILLED(500000),
           REPLY("200 OK", "x"), EXPECT_CLOSED, DONE);
    struct ask *a;

    rig_open();
    ENGINE_START("engine", &rig.at, script);
    a = ask(HTTP1_POST, "/", 500000);
    world_run_ms(1000);
    EXPECT(call_queued(a->call) > 0);
    EXPECT_U64(a->sent, 0);
    wait_ask(a, 60000);
    EXPECT_U64(a->sent, 1);
    expect_reply(a, 200, "x");
    rig_close();
}

/* A reply that comes before the request is out is a reply; its connection is not used again. */
static void client_early_reply(void)
{
    SCRIPT(script, EXPECT_REQUEST("POST /"), DEAF(1), REPLY("413 Payload Too Large", "no"),
           PAUSE(500), DEAF(0), PAUSE(100), DONE);
    struct ask *a;

    rig_open();
    ENGINE_START("engine", &rig.at, script);
    a = ask(HTTP1_POST, "/", 200000);
    wait_ask(a, 5000);
    expect_reply(a, 413, "no");
    EXPECT_U64(pool_idle(rig.pool), 0);
    rig_close();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_client(void)
{
    static const struct scenario all[] = {
        ROW(client_framings) ROW(client_large_bodies) ROW(client_connect_timeout)
            ROW(client_connect_refused) ROW(client_all_addresses) ROW(client_no_address_answers)
                ROW(client_no_such_name) ROW(client_name_moves) ROW(client_reuse_race_get) ROW(
                    client_reuse_race_post) ROW(client_reuse_race_crossing)
                    ROW(client_late_close_is_no_race) ROW(client_fresh_close_is_no_race) ROW(
                        client_race_is_lost_once) ROW(client_first_byte_ends_the_race)
                        ROW(client_race_and_nobody_there) ROW(client_idle_ends) ROW(
                            client_idle_closed_by_engine) ROW(client_idle_gets_unasked_bytes)
                            ROW(client_bytes_behind_a_reply) ROW(client_pool_keeps_two)
                                ROW(client_connection_close_is_obeyed) ROW(
                                    client_pool_closed_under_calls) ROW(client_malformed_replies)
                                    ROW(client_endless_informational) ROW(client_head_too_large)
                                        ROW(client_cuts) ROW(client_reset_of_a_reply_until_close)
                                            ROW(client_cancel_at_any_time) ROW(client_pause)
                                                ROW(client_slow_upload)
                                                    ROW(client_looks_at_what_was_idle_for_long)
                                                        ROW(client_early_reply){NULL, NULL},
    };

    return all;
}
