/* SPDX-License-Identifier: Apache-2.0
 *
 * ev_stream_contract_test.c - streams and listeners, real and simulated, against ev/stream.h and
 * ev/listener.h; see ev_rig.h.
 */
#include "ev_rig.h"

#include "base/buf.h"
#include "ev/listener.h"
#include "ev/stream.h"

enum { BIG = 3000000, SIDE_MAX = 4 * BIG };

/* From now on there are no descriptors for anything new; false: as many as before again. */
static void exhaust_fds(bool on)
{
#ifdef EV_FAKE
    wire_conf()->fds = on ? wire_fds() : 3000;
#else
    static struct rlimit before;
    struct rlimit now;

    if (on) {
        int next = dup(0);

        assert_true(next > 0);
        close(next);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        now = before;
        now.rlim_cur = (rlim_t)next;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    } else {
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    }
#endif
}

/* a side: one end of a connection and all it was told */

struct side {
    struct stream *s;
    struct buf got;
    size_t want; /* for side_has_want */
    unsigned datas, eofs, errors, drains, connects;
    int err;
    bool close_on_data;
    struct side *close_other; /* closed in our on_data */
};

static void side_data(void *ctx, char *p, size_t n)
{
    struct side *e = ctx;

    assert_false(rig.in_call);
    assert_non_null(e->s);
    assert_true(n > 0);
    e->datas++;
    buf_bytes(&e->got, p, n);
    assert_false(e->got.full);
    memset(p, 'x', n); /* it is writable */
    if (e->close_other)
        CALLV(stream_close(&e->close_other->s, STREAM_CLOSE));
    if (e->close_on_data)
        CALLV(stream_close(&e->s, STREAM_CLOSE));
}

static void side_eof(void *ctx)
{
    struct side *e = ctx;

    assert_false(rig.in_call);
    assert_non_null(e->s);
    e->eofs++;
}

static void side_error(void *ctx, int err)
{
    struct side *e = ctx;

    assert_false(rig.in_call);
    assert_non_null(e->s);
    assert_int_equal(e->errors, 0);
    assert_true(err < 0);
    e->errors++;
    e->err = err;
}

static void side_drained(void *ctx)
{
    struct side *e = ctx;

    assert_false(rig.in_call);
    assert_non_null(e->s);
    assert_int_equal(stream_queued(e->s), 0);
    e->drains++;
}

static void side_connected(void *ctx)
{
    struct side *e = ctx;

    assert_false(rig.in_call);
    assert_non_null(e->s);
    e->connects++;
}

static const struct stream_ops side_ops = {side_data, side_eof, side_error, side_drained,
                                           side_connected};

static bool side_has_want(void *ctx)
{
    const struct side *e = ctx;

    return e->got.n >= e->want;
}

static bool side_has_flushed(void *ctx) { return stream_queued(((struct side *)ctx)->s) == 0; }

static void side_init(struct side *e) { *e = (struct side){.got = buf_make(SIDE_MAX)}; }

static void side_fini(struct side *e)
{
    stream_close(&e->s, STREAM_CLOSE);
    buf_fini(&e->got);
}

static void side_expect(struct side *e, struct str bytes)
{
    e->want = bytes.n;
    wait_until(side_has_want, e);
    assert_int_equal(e->got.n, bytes.n);
    assert_memory_equal(e->got.p, bytes.p, bytes.n);
    buf_clear(&e->got);
}

static long side_write(struct side *e, struct str bytes)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)bytes.p, bytes.n / 2},
                           {(char *)(uintptr_t)bytes.p + bytes.n / 2, bytes.n - bytes.n / 2}};

    return CALL(stream_write(e->s, iov, 2));
}

static char *big_bytes(void)
{
    char *p = mem_alloc(BIG);

    for (size_t i = 0; i < BIG; i++)
        p[i] = (char)(i * 2654435761u >> 13);
    return p;
}

/* a listener that opens what it accepts */

struct door {
    struct ev_fd fd;
    struct addr at;
    struct listener *ls;
    struct side *guest; /* takes the next one; NULL: it is left to be closed */
    struct addr peer;
    unsigned accepted;
};

static void door_accept(void *ctx, struct ev_fd *conn, const struct addr *peer)
{
    struct door *d = ctx;

    assert_false(rig.in_call);
    assert_true(conn->fd >= 0);
    d->accepted++;
    d->peer = *peer;
    if (!d->guest)
        return;
    assert_int_equal(
        CALL(stream_open(rig.loop, conn, &rig.pool, &side_ops, d->guest, &d->guest->s)), 0);
    assert_int_equal(conn->fd, -1);
    d->guest = NULL;
}

static void door_open(struct door *d, const char *at)
{
    *d = (struct door){.fd = EV_FD_NONE};
    assert_int_equal(addr_parse(str_of(at), &d->at), 0);
    assert_int_equal(listener_bind(&d->at, 16, 0600, &d->fd), 0);
    assert_int_equal(CALL(listener_open(rig.loop, &d->fd, door_accept, d, &d->ls)), 0);
}

static void door_close(struct door *d)
{
    listener_close(&d->ls);
    ev_fd_close(&d->fd);
    if (d->at.family == ADDR_UNIX)
        (void)unlink(d->at.path);
}

static bool is_joined(void *ctx)
{
    struct side **both = ctx;

    return both[0]->connects == 1 && both[1]->s != NULL;
}

/* Two connected sides, a's end having connected. */
static void join_at(const char *at, struct side *a, struct side *b)
{
    struct side *both[2] = {a, b};
    struct door d;

    side_init(a);
    side_init(b);
    door_open(&d, at);
    d.guest = b;
    assert_int_equal(CALL(stream_connect(rig.loop, &d.at, &rig.pool, &side_ops, a, &a->s)), 0);
    wait_until(is_joined, both);
    door_close(&d);
}

static void join(struct side *a, struct side *b) { join_at("127.0.0.1:0", a, b); }

static void part(struct side *a, struct side *b)
{
    side_fini(a);
    side_fini(b);
}

static const char *unix_path(void)
{
    static char path[64];

    (void)snprintf(path, sizeof path, "unix:ev_contract.%d.sock", (int)getpid());
    return path;
}

/* streams */

static void talks_both_ways(void)
{
    const char *at[] = {"127.0.0.1:0", unix_path()};

    for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
        struct side a, b;
        struct addr peer;

        join_at(at[i], &a, &b);
        stream_peer(a.s, &peer);
        assert_int_equal(peer.family, i ? ADDR_UNIX : ADDR_IP4);
        stream_peer(b.s, &peer);
        assert_int_equal(peer.family, i ? ADDR_UNIX : ADDR_IP4);
        assert_true(i ? peer.path[0] == '\0' : addr_is_loopback(&peer));
        assert_true(side_write(&a, STR("hello")) >= 0);
        side_expect(&b, STR("hello"));
        assert_true(side_write(&b, STR("and good bye")) >= 0);
        side_expect(&a, STR("and good bye"));
        part(&a, &b);
    }
}

static void refuses_where_nobody_listens(void)
{
    struct side a;
    struct door d;

    side_init(&a);
    door_open(&d, "127.0.0.1:0");
    door_close(&d);
    assert_int_equal(CALL(stream_connect(rig.loop, &d.at, &rig.pool, &side_ops, &a, &a.s)), 0);
    wait_until(is_nonzero, &a.errors);
    assert_int_equal(a.err, -E_REFUSED);
    assert_int_equal(a.connects, 0);
    side_fini(&a);

    side_init(&a);
    assert_int_equal(addr_parse(str_of(unix_path()), &d.at), 0);
    assert_true(CALL(stream_connect(rig.loop, &d.at, &rig.pool, &side_ops, &a, &a.s)) < 0);
    side_fini(&a);
}

static void half_closes(void)
{
    struct side a, b;

    join(&a, &b);
    assert_true(side_write(&a, STR("question")) >= 0);
    CALLV(stream_shutdown(a.s));
    wait_until(is_nonzero, &b.eofs);
    assert_int_equal(b.got.n, 8);
    assert_true(side_write(&b, STR("answer")) >= 0);
    side_expect(&a, STR("answer"));
    wait_ms(30);
    assert_int_equal(b.eofs, 1);
    assert_int_equal(a.eofs + a.errors + b.errors, 0);
    part(&a, &b);
}

static void big_writes_wait_and_drain(void)
{
    char *bytes = big_bytes();
    struct side a, b;
    long queued = 0;
    size_t sent = 0;

    join(&a, &b);
    CALLV(stream_pause(b.s));
    for (; queued == 0; sent += BIG) /* the kernel's buffers are as large as it likes */
        queued = side_write(&a, str_span(bytes, BIG));
    assert_true(queued > 0);
    assert_int_equal(stream_queued(a.s), queued);
    wait_ms(30);
    assert_int_equal(a.drains, 0);
    assert_int_equal(b.datas, 0);
    assert_true(stream_queued(a.s) > 0);
    CALLV(stream_resume(b.s));
    wait_until(is_nonzero, &a.drains);
    assert_int_equal(rig.pool.live, 0);
    b.want = sent;
    wait_until(side_has_want, &b);
    assert_int_equal(b.got.n, sent);
    for (size_t at = 0; at < sent; at += BIG)
        assert_memory_equal(b.got.p + at, bytes, BIG);
    assert_int_equal(a.drains, 1);
    part(&a, &b);
    mem_free(bytes);
}

static void sends_fin_behind_what_is_queued(void)
{
    char *bytes = big_bytes();
    struct side a, b;

    join(&a, &b);
    assert_true(side_write(&a, str_span(bytes, BIG)) >= 0);
    CALLV(stream_shutdown(a.s));
    wait_until(is_nonzero, &b.eofs);
    assert_int_equal(b.got.n, BIG);
    assert_memory_equal(b.got.p, bytes, BIG);
    part(&a, &b);
    mem_free(bytes);
}

static void writes_chunks_behind_a_head(void)
{
    char *bytes = big_bytes();
    struct side a, b;
    struct chunkq body;

    join(&a, &b);
    chunkq_init(&body, &rig.pool);
    chunkq_append(&body, bytes, BIG);
    assert_true(CALL(stream_write_chunks(a.s, STR("head"), &body)) >= 0);
    assert_int_equal(body.bytes, BIG);
    b.want = BIG + 4;
    wait_until(side_has_want, &b);
    assert_memory_equal(b.got.p, "head", 4);
    assert_memory_equal(b.got.p + 4, bytes, BIG);
    buf_clear(&b.got);
    chunkq_consume(&body, BIG - 100); /* it is still ours: a second attempt */
    assert_true(CALL(stream_write_chunks(a.s, STR(""), &body)) >= 0);
    side_expect(&b, str_span(bytes + BIG - 100, 100));
    assert_true(CALL(stream_write_chunks(a.s, STR("only"), NULL)) >= 0);
    side_expect(&b, STR("only"));
    chunkq_clear(&body);
    part(&a, &b);
    mem_free(bytes);
}

/* Who was told that bytes wait is told when they have gone, whatever was written meanwhile. */
static void what_waited_drains_with_a_callback(void)
{
    char *bytes = big_bytes();
    struct side a, b;
    struct chunkq body;
    long queued = 0;

    join(&a, &b);
    chunkq_init(&body, &rig.pool);
    chunkq_append(&body, bytes, 100);
    CALLV(stream_pause(b.s));
    for (b.want = 0; queued == 0; b.want += BIG)
        queued = side_write(&a, str_span(bytes, BIG));
    CALLV(stream_resume(b.s));
    while (b.got.n < b.want && a.drains == 0) { /* at some moment the kernel has room for all */
        if (b.want + 104 < SIDE_MAX) {
            assert_true(CALL(stream_write_chunks(a.s, STR("head"), &body)) >= 0);
            b.want += 104;
        }
        wait_ms(1);
    }
    wait_until(side_has_want, &b);
    wait_until(is_nonzero, &a.drains);
    chunkq_clear(&body);
    part(&a, &b);
    mem_free(bytes);
}

static void a_pause_loses_nothing(void)
{
    struct side a, b;

    join(&a, &b);
    CALLV(stream_pause(b.s));
    CALLV(stream_pause(b.s));
    assert_true(side_write(&a, STR("one ")) >= 0);
    wait_ms(20);
    assert_int_equal(b.datas, 0);
    assert_true(side_write(&a, STR("two")) >= 0);
    CALLV(stream_resume(b.s));
    CALLV(stream_resume(b.s));
    side_expect(&b, STR("one two"));
    part(&a, &b);
}

static void a_paused_reader_hears_of_hangups_when_it_asked(void)
{
    struct side a, b;

    join(&a, &b);
    CALLV(stream_pause(b.s));
    assert_true(side_write(&a, STR("unread")) >= 0);
    CALLV(stream_shutdown(a.s));
    wait_ms(30);
    assert_int_equal(b.eofs + b.errors, 0);
    CALLV(stream_watch_hangup(b.s, true));
    wait_until(is_nonzero, &b.eofs);
    wait_ms(20);
    assert_int_equal(b.eofs, 1);
    assert_int_equal(b.datas + b.errors, 0);
    part(&a, &b);
}

static void without_the_watch_the_end_comes_when_reading_resumes(void)
{
    struct side a, b;

    join(&a, &b);
    CALLV(stream_pause(b.s));
    assert_true(side_write(&a, STR("unread")) >= 0);
    wait_until(side_has_flushed, &a); /* a close drops what is queued */
    CALLV(stream_close(&a.s, STREAM_CLOSE));
    wait_ms(30);
    assert_int_equal(b.eofs + b.errors, 0);
    CALLV(stream_resume(b.s));
    wait_until(is_nonzero, &b.eofs);
    assert_int_equal(b.got.n, 6);
    assert_int_equal(b.eofs, 1);
    part(&a, &b);
}

static void a_reset_is_an_error_and_no_end(void)
{
    struct side a, b;

    join(&a, &b);
    assert_true(side_write(&a, STR("last words")) >= 0);
    CALLV(stream_close(&a.s, STREAM_RESET));
    wait_until(is_nonzero, &b.errors);
    assert_int_equal(b.err, -E_RESET);
    assert_int_equal(b.eofs, 0);
    wait_ms(20);
    assert_int_equal(b.errors, 1);
    part(&a, &b);
}

static void a_watched_pause_hears_of_a_reset(void)
{
    struct side a, b;

    join(&a, &b);
    CALLV(stream_pause(b.s));
    CALLV(stream_watch_hangup(b.s, true));
    CALLV(stream_close(&a.s, STREAM_RESET));
    wait_until(is_nonzero, &b.errors);
    assert_int_equal(b.err, -E_RESET);
    assert_int_equal(b.datas + b.eofs, 0);
    part(&a, &b);
}

/* Nobody reads on b, but bytes wait to be sent: they never will be, and b must learn it. */
static void a_paused_writer_hears_of_a_reset(void)
{
    char *bytes = big_bytes();
    struct side a, b;
    long queued;

    join(&a, &b);
    CALLV(stream_pause(b.s));
    CALLV(stream_pause(a.s));
    for (queued = 0; queued == 0;)
        queued = side_write(&b, str_span(bytes, BIG));
    wait_ms(20);
    CALLV(stream_close(&a.s, STREAM_RESET));
    wait_until(is_nonzero, &b.errors);
    assert_int_equal(b.drains, 0);
    part(&a, &b);
    mem_free(bytes);
}

static void closing_with_unread_bytes_resets(void)
{
    struct side a, b;

    join(&a, &b);
    CALLV(stream_pause(b.s));
    assert_true(side_write(&a, STR("never read")) >= 0);
    while (stream_peek_idle(b.s)) /* until they have arrived */
        wait_ms(1);
    CALLV(stream_close(&b.s, STREAM_CLOSE));
    wait_until(is_nonzero, &a.errors);
    assert_int_equal(a.err, -E_RESET);
    assert_int_equal(a.eofs, 0);
    part(&a, &b);
}

static void writing_to_the_dead_says_so(void)
{
    struct side a, b;
    long r = 0;

    join(&a, &b);
    CALLV(stream_pause(a.s)); /* so that only writing can tell */
    CALLV(stream_close(&b.s, STREAM_RESET));
    for (unsigned i = 0; i < 1000 && r >= 0 && a.errors == 0; i++) {
        wait_ms(1);
        r = side_write(&a, STR("anybody there?"));
    }
    assert_true(r < 0 || a.errors == 1); /* the latter only if bytes waited */
    assert_true(side_write(&a, STR("really?")) < 0);
    CALLV(stream_resume(a.s));
    wait_ms(20);
    assert_int_equal(a.errors, r < 0 ? 0 : 1); /* a return value is all the news there is */
    part(&a, &b);
}

static bool peeks_busy(void *ctx) { return !stream_peek_idle(((struct side *)ctx)->s); }

static void peeks_at_idle_connections(void)
{
    struct side a, b;

    join(&a, &b);
    assert_true(stream_peek_idle(b.s));
    CALLV(stream_pause(b.s));
    assert_true(side_write(&a, STR("unasked")) >= 0);
    while (!peeks_busy(&b))
        wait_ms(1);
    CALLV(stream_resume(b.s));
    side_expect(&b, STR("unasked"));
    assert_true(stream_peek_idle(b.s));
    CALLV(stream_pause(b.s));
    CALLV(stream_shutdown(a.s));
    while (!peeks_busy(&b))
        wait_ms(1);
    part(&a, &b);
}

static void nothing_is_called_after_a_close(void)
{
    struct side a, b, c, d;

    join(&a, &b);
    join(&c, &d);
    b.close_on_data = true;
    assert_true(side_write(&a, STR("go")) >= 0);
    CALLV(stream_shutdown(a.s));
    wait_until(is_nonzero, &b.datas);
    assert_null(b.s); /* and its callbacks assert that they are not called with a NULL */
    wait_ms(20);

    part(&a, &b);
    join(&a, &b);
    b.close_other = &d; /* both are ready in the same turn, either may come first */
    d.close_other = &b;
    CALLV(stream_pause(b.s));
    CALLV(stream_pause(d.s));
    assert_true(side_write(&a, STR("1")) >= 0);
    assert_true(side_write(&c, STR("2")) >= 0);
    while (!peeks_busy(&b) || !peeks_busy(&d))
        wait_ms(1);
    CALLV(stream_resume(b.s));
    CALLV(stream_resume(d.s));
    wait_ms(20);
    assert_int_equal(b.datas + d.datas, 1);
    part(&a, &b);
    part(&c, &d);
}

static void an_owner_hands_a_stream_on(void)
{
    struct side a, b, heir;

    join(&a, &b);
    side_init(&heir);
    heir.s = b.s;
    b.s = NULL;
    CALLV(stream_set_owner(heir.s, &side_ops, &heir));
    assert_true(side_write(&a, STR("for the heir")) >= 0);
    side_expect(&heir, STR("for the heir"));
    side_fini(&heir);
    part(&a, &b);
}

static void progress_is_when_the_kernel_took_bytes(void)
{
    char *bytes = big_bytes();
    struct side a, b;
    uint64_t before;

    join(&a, &b);
    before = stream_progress_ms(a.s);
    wait_ms(20);
    assert_true(side_write(&a, STR("x")) >= 0);
    assert_true(stream_progress_ms(a.s) >= before + 19);
    CALLV(stream_pause(b.s));
    while (side_write(&a, str_span(bytes, BIG)) == 0)
        ;
    wait_ms(30); /* whatever still moves has moved */
    before = stream_progress_ms(a.s);
    wait_ms(50);
    assert_int_equal(stream_progress_ms(a.s), before);
    CALLV(stream_resume(b.s));
    wait_until(is_nonzero, &a.drains);
    assert_true(stream_progress_ms(a.s) >= before + 49);
    part(&a, &b);
    mem_free(bytes);
}

/* listeners */

static void listeners_are_what_they_say(void)
{
    struct door d;
    struct addr at;
    struct ev_fd second = EV_FD_NONE;

    door_open(&d, "127.0.0.1:0");
    assert_true(d.at.port != 0);
    assert_int_equal(listener_inspect(&d.fd, &at), 0);
    assert_true(addr_eq(&at, &d.at));
    assert_int_equal(listener_bind(&at, 4, 0600, &second), -E_BUSY);
    assert_int_equal(second.fd, -1);
    door_close(&d);
    assert_int_equal(d.fd.fd, -1);

    door_open(&d, unix_path());
    assert_int_equal(listener_bind(&d.at, 4, 0600, &second), -E_BUSY);
    door_close(&d);
}

static void what_is_not_taken_is_closed(void)
{
    struct side a;
    struct door d;

    side_init(&a);
    door_open(&d, "127.0.0.1:0");
    assert_int_equal(CALL(stream_connect(rig.loop, &d.at, &rig.pool, &side_ops, &a, &a.s)), 0);
    wait_until(is_nonzero, &a.eofs);
    assert_int_equal(d.accepted, 1);
    assert_true(addr_is_loopback(&d.peer));
    door_close(&d);
    side_fini(&a);
}

static void pauses_of_a_listener_count(void)
{
    struct side a, b;
    struct door d;

    side_init(&a);
    side_init(&b);
    door_open(&d, "127.0.0.1:0");
    d.guest = &b;
    CALLV(listener_pause(d.ls));
    CALLV(listener_pause(d.ls));
    assert_int_equal(CALL(stream_connect(rig.loop, &d.at, &rig.pool, &side_ops, &a, &a.s)), 0);
    wait_until(is_nonzero, &a.connects);
    wait_ms(20);
    CALLV(listener_resume(d.ls));
    wait_ms(20);
    assert_int_equal(d.accepted, 0);
    CALLV(listener_resume(d.ls));
    wait_until(is_nonzero, &d.accepted);
    door_close(&d);
    part(&a, &b);
}

static void a_starved_listener_waits(void)
{
    struct side a, b;
    struct door d;
    uint64_t began;

    side_init(&a);
    side_init(&b);
    door_open(&d, "127.0.0.1:0");
    d.guest = &b;
    assert_int_equal(CALL(stream_connect(rig.loop, &d.at, &rig.pool, &side_ops, &a, &a.s)), 0);
    exhaust_fds(true);
    began = loop_now_ms(rig.loop);
    wait_ms(350);
    exhaust_fds(false);
    assert_int_equal(d.accepted, 0);
    assert_true(listener_starved(d.ls) >= 1);
    assert_true(listener_starved(d.ls) <= (loop_now_ms(rig.loop) - began) / 20 + 1);
    wait_until(is_nonzero, &d.accepted);
    door_close(&d);
    part(&a, &b);
}

#ifndef EV_FAKE /* whose descriptors have no numbers to keep free */
/* Descriptors from the ceiling on are left to others. */
static void a_listener_keeps_below_its_ceiling(void)
{
    struct side a, b;
    struct door d;

    side_init(&a);
    side_init(&b);
    door_open(&d, "127.0.0.1:0");
    d.guest = &b;
    listener_set_ceiling(d.ls, 4);
    assert_int_equal(CALL(stream_connect(rig.loop, &d.at, &rig.pool, &side_ops, &a, &a.s)), 0);
    wait_until(is_nonzero, &d.accepted); /* what was accepted is served */
    assert_int_equal(listener_starved(d.ls), 1);
    wait_ms(100);
    assert_int_equal(listener_starved(d.ls), 1); /* and nothing else is accepted */
    listener_set_ceiling(d.ls, 0);
    wait_ms(100);
    assert_int_equal(listener_starved(d.ls), 1);
    door_close(&d);
    part(&a, &b);
}
#endif

#define TESTS(X)                                                                                   \
    X(talks_both_ways)                                                                             \
    X(refuses_where_nobody_listens)                                                                \
    X(half_closes)                                                                                 \
    X(big_writes_wait_and_drain)                                                                   \
    X(sends_fin_behind_what_is_queued)                                                             \
    X(writes_chunks_behind_a_head)                                                                 \
    X(what_waited_drains_with_a_callback)                                                          \
    X(a_pause_loses_nothing)                                                                       \
    X(a_paused_reader_hears_of_hangups_when_it_asked)                                              \
    X(without_the_watch_the_end_comes_when_reading_resumes)                                        \
    X(a_reset_is_an_error_and_no_end)                                                              \
    X(a_watched_pause_hears_of_a_reset)                                                            \
    X(a_paused_writer_hears_of_a_reset)                                                            \
    X(closing_with_unread_bytes_resets)                                                            \
    X(writing_to_the_dead_says_so)                                                                 \
    X(peeks_at_idle_connections)                                                                   \
    X(nothing_is_called_after_a_close)                                                             \
    X(an_owner_hands_a_stream_on)                                                                  \
    X(progress_is_when_the_kernel_took_bytes)                                                      \
    X(listeners_are_what_they_say)                                                                 \
    X(what_is_not_taken_is_closed)                                                                 \
    X(pauses_of_a_listener_count)                                                                  \
    X(a_starved_listener_waits)
#ifdef EV_FAKE
#define REAL_TESTS(X)
#else
#define REAL_TESTS(X) X(a_listener_keeps_below_its_ceiling)
#endif

TESTS(AS_TEST)
REAL_TESTS(AS_TEST)

int main(void)
{
    const struct CMUnitTest tests[] = {TESTS(AS_ROW) REAL_TESTS(AS_ROW)};

    return cmocka_run_group_tests_name("ev: streams and listeners", tests, NULL, NULL);
}
