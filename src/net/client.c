/* SPDX-License-Identifier: Apache-2.0
 *
 * client.c - pools of connections to engines and the calls on them. A connection (`struct
 * link_conn`) is either idle in its pool, most recently used first, or carries exactly one call. A
 * reply is parsed where it was read; only a head that comes in pieces is copied.
 *
 * A call that must tell its owner something from inside one of the owner's own calls (a connection
 * that was there at once, a connect that failed at once) buries itself and tells it at the end of
 * the turn. `over` marks a call whose owner knows its end; its memory goes with the grave.
 *
 * Exports: client_ call_ pool_
 */
#include "net/client.h"

#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/resolve.h"
#include "proto/chunked.h"

enum {
    RACE_MS =
        100, /* a reused connection that ends silently so soon after the write lost the race */
    PEEK_AFTER_MS = 1000,   /* idle for longer: look before use */
    NAMES_FRESH_MS = 10000, /* resolved addresses are used again for so long */
    INFORMATIONAL_MAX = 16, /* 1xx replies before one final reply */
};

struct client {
    struct loop *loop;
    struct chunk_pool *chunks;
    struct client_limits limits;
    struct client_counts counts;
    unsigned pools;
    struct http1_head scratch;
};

struct pool {
    struct client *client;
    struct list idle; /* of link_conn, most recently used first */
    unsigned nidle;
    unsigned users; /* connections, calls and the owner */
    bool closing;
    char *host; /* NULL for Unix */
    uint16_t port;
    struct addr addrs[RESOLVE_ADDRS_MAX];
    unsigned naddrs;
    uint64_t resolved_ms; /* 0: never; UINT64_MAX: a literal or a path, for ever */
};

struct link_conn {
    struct pool *pool;
    struct stream *stream;
    struct call *call; /* NULL while idle */
    struct list node;
    struct deadline idle;
    uint64_t used_ms; /* when it became idle */
    bool reused;      /* carried a call before this one */
};

enum call_state {
    STATE_RESOLVE,
    STATE_CONNECT,
    STATE_OPEN,  /* connected, nothing sent */
    STATE_AWAIT, /* sent; head bytes may have come */
    STATE_BODY,
    STATE_OVER,
};

struct call {
    struct pool *pool;
    const struct call_ops *ops;
    void *ctx;
    struct link_conn *conn;
    struct resolve *resolve;
    struct deadline deadline; /* of the connect; then on_unheard's */
    struct grave grave;
    struct str head; /* borrowed */
    const struct chunkq *body;
    struct http1_parser parser;
    struct buf pending; /* a head in pieces */
    struct chunked_decoder chunked;
    uint64_t body_left;
    uint64_t connect_by_ms;
    uint64_t sent_ms;
    int late_err; /* a failure to be told at the end of the turn */
    const char *late_why;
    uint8_t state;   /* enum call_state */
    uint8_t framing; /* enum http1_framing */
    uint8_t asked;   /* enum http1_method */
    uint8_t addr;    /* index of the address that is tried */
    uint8_t informational;
    bool buried;
    bool tell_open; /* on_open at the end of the turn */
    bool got_bytes; /* of the reply */
    bool reusable;  /* the connection, by the reply's head */
    bool replaced;  /* the reuse race was lost once */
    bool resend;    /* a fresh connection takes the request at once */
};

static const struct stream_ops conn_ops;
static void try_connect(struct call *c);
static void on_grave(struct grave *g);

/* ---- pools ---- */

static void pool_unref(struct pool *p)
{
    CHECK(p->users > 0);
    if (--p->users > 0)
        return;
    CHECK(list_empty(&p->idle));
    p->client->pools--;
    mem_free(p->host);
    mem_free(p);
}

void pool_create(struct client *c, const struct pool_target *to, struct pool **ret)
{
    struct pool *p = xnew(struct pool, .client = c, .users = 1, .port = to->port);

    list_init(&p->idle);
    c->pools++;
    if (to->unix_path) {
        p->addrs[0].family = ADDR_UNIX;
        memcpy(p->addrs[0].path, to->unix_path,
               min_size(strlen(to->unix_path), ADDR_UNIX_PATH_MAX));
        p->naddrs = 1;
        p->resolved_ms = UINT64_MAX;
    } else if (to->naddrs > 0) {
        CHECK(to->naddrs <= RESOLVE_ADDRS_MAX);
        memcpy(p->addrs, to->addrs, to->naddrs * sizeof *to->addrs);
        for (unsigned i = 0; i < to->naddrs; i++)
            p->addrs[i].port = to->port;
        p->naddrs = to->naddrs;
        p->resolved_ms = UINT64_MAX;
    } else if (addr_parse_ip(to->host, to->port, &p->addrs[0]) == 0) {
        p->naddrs = 1;
        p->resolved_ms = UINT64_MAX;
    }
    if (!to->unix_path)
        p->host = str_dup(to->host);
    *ret = p;
}

static void conn_close(struct link_conn *k)
{
    struct pool *p = k->pool;

    if (!k->call && k->node.next != &k->node)
        p->nidle--;
    list_remove(&k->node);
    deadline_stop(&k->idle);
    stream_close(&k->stream, STREAM_CLOSE);
    mem_free(k);
    pool_unref(p);
}

void pool_flush(struct pool *p)
{
    struct link_conn *k;

    p->users++; /* the last connection must not take the pool along */
    list_each(k, &p->idle, node) conn_close(k);
    pool_unref(p);
}

void pool_close(struct pool **pp)
{
    struct pool *p = TAKE(pp);

    if (!p)
        return;
    p->closing = true;
    pool_flush(p);
    pool_unref(p);
}

unsigned pool_idle(const struct pool *p) { return p->nidle; }

static void on_idle_over(struct deadline *d)
{
    conn_close(container_of(d, struct link_conn, idle));
}

/* The connection is free again: kept, or closed. */
static void conn_release(struct link_conn *k, bool keep)
{
    struct pool *p = k->pool;
    const struct client_limits *l = &p->client->limits;

    k->call = NULL;
    if (!keep || p->closing || p->nidle >= l->pool_max_idle || stream_queued(k->stream) > 0) {
        conn_close(k);
        return;
    }
    k->reused = true;
    k->used_ms = loop_now_ms(p->client->loop);
    list_prepend(&p->idle, &k->node);
    p->nidle++;
    stream_resume(k->stream);
    deadline_arm(p->client->loop, &k->idle, l->pool_idle_ms, on_idle_over);
}

/* The most recently used idle connection that is still alive, or NULL. */
static struct link_conn *conn_take(struct pool *p)
{
    struct link_conn *k;

    while ((k = list_first(&p->idle, struct link_conn, node))) {
        bool old = loop_now_ms(p->client->loop) - k->used_ms > PEEK_AFTER_MS;

        if (!old || stream_peek_idle(k->stream)) {
            list_remove(&k->node);
            p->nidle--;
            deadline_stop(&k->idle);
            return k;
        }
        metrics_count(&p->client->counts.stale);
        conn_close(k);
    }
    return NULL;
}

/* ---- the end of a call ---- */

static void bury(struct call *c)
{
    if (c->buried)
        return;
    c->buried = true;
    loop_bury(c->pool->client->loop, &c->grave, on_grave);
}

/* Nothing of it is used any more; its memory goes at the end of the turn. */
static void retire(struct call *c)
{
    c->state = STATE_OVER;
    deadline_stop(&c->deadline);
    resolve_cancel(&c->resolve);
    buf_fini(&c->pending);
    bury(c);
}

static enum call_phase phase_of(const struct call *c)
{
    if (c->state == STATE_BODY)
        return CALL_BODY;
    if (c->state != STATE_AWAIT)
        return c->resend ? CALL_RECONNECT : CALL_CONNECT;
    return c->got_bytes ? CALL_HEAD : CALL_SEND;
}

static void fail(struct call *c, int err, const char *why)
{
    enum call_phase phase = phase_of(c);
    struct link_conn *k = TAKE(&c->conn);

    if (k) {
        k->call = NULL;
        conn_close(k);
    }
    retire(c);
    c->ops->on_fail(c->ctx, err, phase, why);
}

/* From inside a call of the owner's. */
static void fail_late(struct call *c, int err, const char *why)
{
    c->late_err = err;
    c->late_why = why;
    bury(c);
}

static void complete(struct call *c, bool keep, bool clean)
{
    struct link_conn *k = TAKE(&c->conn);

    conn_release(k, keep && c->reusable);
    retire(c);
    c->ops->on_end(c->ctx, clean);
}

static void on_grave(struct grave *g)
{
    struct call *c = container_of(g, struct call, grave);

    c->buried = false;
    if (c->state == STATE_OVER) {
        pool_unref(c->pool);
        mem_free(c);
    } else if (c->late_err) {
        fail(c, c->late_err, c->late_why);
    } else if (c->tell_open) {
        c->tell_open = false;
        c->ops->on_open(c->ctx);
    }
}

void call_cancel(struct call **cp)
{
    struct call *c = TAKE(cp);
    struct link_conn *k;

    if (!c)
        return;
    CHECK(c->state != STATE_OVER);
    k = TAKE(&c->conn);
    if (k) {
        bool untouched = c->state == STATE_OPEN;

        conn_release(k, untouched);
    }
    retire(c);
}

/* ---- connecting ---- */

static void write_request(struct call *c);

/* What is left of connect_ms, shared by the addresses that were not tried yet: one that swallows
 * connects leaves time for the others. */
static uint64_t share_ms(const struct call *c)
{
    uint64_t now_ms = loop_now_ms(c->pool->client->loop);
    uint64_t left = c->connect_by_ms > now_ms ? c->connect_by_ms - now_ms : 0;

    return max_u64(left / (c->pool->naddrs - c->addr), 1);
}

static void on_connect_timeout(struct deadline *d)
{
    struct call *c = container_of(d, struct call, deadline);

    metrics_count(&c->pool->client->counts.connect_failures);
    metrics_count(&c->pool->client->counts.connect_timeouts);
    if (c->resolve) {
        fail(c, -E_TIMEOUT, "the host name was not resolved in time");
        return;
    }
    if (c->conn) {
        struct link_conn *k = TAKE(&c->conn);

        k->call = NULL;
        conn_close(k);
    }
    c->addr++;
    c->late_err = -E_TIMEOUT;
    try_connect(c);
    if (c->state != STATE_OVER && c->conn == NULL && c->late_err)
        fail(c, c->late_err, "connect timed out");
}

/* Tries addresses from c->addr on. When none is left: c->conn stays NULL and late_err tells why. */
static void try_connect(struct call *c)
{
    struct pool *p = c->pool;
    struct client *cl = p->client;

    c->state = STATE_CONNECT;
    while (c->addr < p->naddrs) {
        struct link_conn *k = xnew(struct link_conn, .pool = p, .call = c);
        int r;

        list_init(&k->node);
        metrics_count(&cl->counts.connects);
        r = stream_connect(cl->loop, &p->addrs[c->addr], cl->chunks, &conn_ops, k, &k->stream);
        if (r == 0) {
            p->users++;
            c->conn = k;
            c->late_err = 0;
            deadline_arm(cl->loop, &c->deadline, share_ms(c), on_connect_timeout);
            return;
        }
        mem_free(k);
        metrics_count(&cl->counts.connect_failures);
        c->late_err = r;
        c->addr++;
    }
    deadline_stop(&c->deadline);
    if (c->late_err == 0)
        c->late_err = -E_REFUSED;
}

static void on_resolved(void *ctx, int err, const struct addr *addrs, unsigned n)
{
    struct call *c = ctx;
    struct pool *p = c->pool;

    c->resolve = NULL;
    deadline_stop(&c->deadline);
    if (err < 0) {
        fail(c, err, "the host name does not resolve");
        return;
    }
    p->naddrs = n;
    memcpy(p->addrs, addrs, n * sizeof *addrs);
    p->resolved_ms = loop_now_ms(p->client->loop);
    c->addr = 0;
    try_connect(c);
    if (!c->conn)
        fail(c, c->late_err, "connect failed");
}

static bool names_fresh(const struct pool *p)
{
    return p->resolved_ms == UINT64_MAX ||
           (p->resolved_ms > 0 && loop_now_ms(p->client->loop) - p->resolved_ms < NAMES_FRESH_MS);
}

/* A connection of its own for the call; failures are told late. */
static void connect_fresh(struct call *c)
{
    struct pool *p = c->pool;

    c->addr = 0;
    c->connect_by_ms = loop_now_ms(p->client->loop) + p->client->limits.connect_ms;
    if (!names_fresh(p)) {
        int r;

        c->state = STATE_RESOLVE;
        r = resolve_start(p->client->loop, p->host, p->port, on_resolved, c, &c->resolve);
        if (r < 0)
            fail_late(c, r, "the host name does not resolve");
        else
            deadline_arm(p->client->loop, &c->deadline, p->client->limits.connect_ms,
                         on_connect_timeout);
        return;
    }
    try_connect(c);
    if (!c->conn)
        fail_late(c, c->late_err, "connect failed");
}

void call_open(struct pool *p, const struct call_ops *ops, void *ctx, struct call **ret)
{
    struct call *c = xnew(struct call, .pool = p, .ops = ops, .ctx = ctx);

    CHECK(!p->closing);
    p->users++;
    c->conn = conn_take(p);
    if (c->conn) {
        c->conn->call = c;
        c->state = STATE_OPEN;
        c->tell_open = true;
        metrics_count(&p->client->counts.reused);
        bury(c);
    } else {
        connect_fresh(c);
    }
    *ret = c;
}

bool call_take_open(struct call *c)
{
    bool open = c->tell_open;

    c->tell_open = false;
    return open;
}

/* ---- sending ---- */

/* True when a reused connection ended as idle ones do, and the request goes out again on a fresh
 * one. */
static bool lost_race(struct call *c)
{
    struct client *cl = c->pool->client;
    struct link_conn *k = c->conn;

    if (!k->reused || c->replaced || c->got_bytes || c->state != STATE_AWAIT ||
        loop_now_ms(cl->loop) - c->sent_ms > RACE_MS)
        return false;
    metrics_count(&cl->counts.reuse_races);
    c->replaced = c->resend = true;
    c->conn = NULL;
    k->call = NULL;
    conn_close(k);
    connect_fresh(c);
    return true;
}

/* A connection is alive for all that its pool knows, and its peer's host may have gone since. */
static void on_unheard(struct deadline *d)
{
    struct call *c = container_of(d, struct call, deadline);
    struct client *cl = c->pool->client;
    uint32_t ms = cl->limits.connect_ms;

    if (c->state != STATE_AWAIT || c->got_bytes)
        return;
    if (!stream_unheard(c->conn->stream, ms - ms / 4)) { /* the clocks are not the same */
        deadline_arm(cl->loop, d, ms, on_unheard);
        return;
    }
    metrics_count(&cl->counts.unheard);
    pool_flush(c->pool); /* theirs has gone, too */
    fail(c, -E_TIMEOUT, "its host acknowledges nothing");
}

static void write_request(struct call *c)
{
    struct client *cl = c->pool->client;
    struct http1_limits limits = {
        .head_bytes = cl->limits.head_bytes,
        .request_line_bytes = cl->limits.head_bytes,
        .fields = (uint16_t)cl->limits.headers,
    };
    long queued;

    http1_init(&c->parser, true, &limits);
    c->state = STATE_AWAIT;
    c->sent_ms = loop_now_ms(cl->loop);
    deadline_arm(cl->loop, &c->deadline, cl->limits.connect_ms, on_unheard);
    queued = stream_write_chunks(c->conn->stream, c->head, c->body);
    if (queued < 0 && !lost_race(c))
        fail_late(c, (int)queued, "the connection broke while the request was sent");
}

void call_send(struct call *c, struct str head, const struct chunkq *body, enum http1_method asked)
{
    CHECK(c->state == STATE_OPEN && !c->tell_open);
    c->head = head;
    c->body = body;
    c->asked = (uint8_t)asked;
    write_request(c);
}

void call_bound_unread(struct call *c, unsigned bytes)
{
    if (c->conn)
        stream_bound_unread(c->conn->stream, bytes);
}

void call_pause(struct call *c)
{
    if (c->conn)
        stream_pause(c->conn->stream);
}

void call_resume(struct call *c)
{
    if (c->conn)
        stream_resume(c->conn->stream);
}

size_t call_queued(const struct call *c) { return c->conn ? stream_queued(c->conn->stream) : 0; }

uint64_t call_progress_ms(const struct call *c)
{
    return c->conn ? stream_progress_ms(c->conn->stream) : 0;
}

bool call_reused(const struct call *c) { return c->conn && c->conn->reused; }

/* ---- the reply ---- */

/* What decoding one read found. */
struct pieces {
    struct iovec iov[CALL_PIECES_MAX];
    unsigned n;
    size_t used;     /* bytes looked at */
    bool complete;   /* the body ended within them */
    const char *bad; /* why the coding is broken, or NULL */
};

static void decode_chunks(struct call *c, const char *p, size_t n, struct pieces *out)
{
    while (out->used < n && out->n < CALL_PIECES_MAX && !out->complete) {
        struct str data = STR_NONE;
        long used = chunked_decode(&c->chunked, p + out->used, n - out->used, &data);

        if (used < 0) {
            out->bad = c->chunked.why;
            return;
        }
        if (data.n > 0)
            out->iov[out->n++] = (struct iovec){(void *)(uintptr_t)data.p, data.n};
        out->used += (size_t)used;
        out->complete = chunked_done(&c->chunked);
    }
}

/* Up to CALL_PIECES_MAX pieces of body from p[0..n). */
static void decode(struct call *c, const char *p, size_t n, struct pieces *out)
{
    out->n = 0;
    out->used = 0;
    out->complete = false;
    out->bad = NULL;
    switch ((enum http1_framing)c->framing) {
    case HTTP1_NO_BODY:
        out->complete = true;
        return;
    case HTTP1_LENGTH:
        out->used = (size_t)min_u64(n, c->body_left);
        c->body_left -= out->used;
        out->complete = c->body_left == 0;
        break;
    case HTTP1_UNTIL_CLOSE:
        out->used = n;
        break;
    case HTTP1_CHUNKED:
        decode_chunks(c, p, n, out);
        return;
    }
    if (out->used > 0)
        out->iov[out->n++] = (struct iovec){(void *)(uintptr_t)p, out->used};
}

/* Gives decoded pieces to the owner until p[0..n) is used up; *first was decoded already. */
static void give_body(struct call *c, const char *p, size_t n, struct pieces *first)
{
    struct pieces *d = first;

    for (;;) {
        if (d->n > 0)
            c->ops->on_body(c->ctx, d->iov, d->n, d->complete && !d->bad);
        if (c->state == STATE_OVER)
            return;
        if (d->bad) {
            fail(c, -E_SYNTAX, d->bad);
            return;
        }
        if (d->complete) {
            complete(c, d->used == n, true); /* bytes behind the reply: nobody asked for them */
            return;
        }
        p += d->used;
        n -= d->used;
        if (n == 0)
            return;
        decode(c, p, n, d);
    }
}

static void begin_body(struct call *c, const struct http1_head *head)
{
    c->framing = (uint8_t)http1_response_framing(head, (enum http1_method)c->asked);
    c->body_left = head->content_length;
    if (c->framing == HTTP1_CHUNKED)
        chunked_init(&c->chunked);
    c->reusable =
        head->keep_alive && c->framing != HTTP1_UNTIL_CLOSE && stream_queued(c->conn->stream) == 0;
    c->state = STATE_BODY;
}

/* One head was parsed: `bytes` begins with it, `rest` follows it. True: look for another (1xx). */
static bool take_head(struct call *c, const char *bytes, const char *rest, size_t n)
{
    const struct http1_head *head = &c->pool->client->scratch;
    NO_INIT struct pieces d;

    if (head->status == 101 || (head->status < 200 && ++c->informational > INFORMATIONAL_MAX)) {
        fail(c, -E_SYNTAX, "an unexpected informational reply");
        return false;
    }
    if (head->status < 200) {
        http1_init(&c->parser, true, &c->parser.limits);
        return true;
    }
    begin_body(c, head);
    decode(c, rest, n, &d);
    c->ops->on_head(c->ctx, head, bytes, (enum http1_framing)c->framing,
                    d.n > 0 || d.complete || d.bad);
    if (c->state != STATE_OVER)
        give_body(c, rest, n, &d);
    return false;
}

/* Head bytes, perhaps with more behind them. */
static void feed_head(struct call *c, const char *p, size_t n)
{
    for (;;) {
        struct buf split = c->pending;
        size_t before = split.n;
        long r;

        c->got_bytes = true;
        c->pending = buf_make(HTTP1_HEAD_BYTES_MAX + 65536);
        if (before > 0)
            buf_bytes(&split, p, n);
        r = http1_parse(&c->parser, before ? split.p : p, before ? split.n : n,
                        &c->pool->client->scratch);
        if (r == 0) {
            if (before == 0)
                buf_bytes(&c->pending, p, n);
            else
                c->pending = split;
            return;
        }
        if (r < 0) {
            buf_fini(&split);
            fail(c, (int)r, c->parser.why);
            return;
        }
        r -= (long)before;
        if (!take_head(c, before ? split.p : p, p + r, n - (size_t)r) || n == (size_t)r) {
            buf_fini(&split);
            return;
        }
        buf_fini(&split);
        p += r;
        n -= (size_t)r;
    }
}

static void on_data(void *ctx, char *p, size_t n)
{
    struct link_conn *k = ctx;
    struct call *c = k->call;
    NO_INIT struct pieces d;

    if (!c) { /* unasked bytes on an idle connection */
        conn_close(k);
        return;
    }
    switch ((enum call_state)c->state) {
    case STATE_AWAIT:
        feed_head(c, p, n);
        break;
    case STATE_BODY:
        decode(c, p, n, &d);
        give_body(c, p, n, &d);
        break;
    case STATE_OPEN:
        fail(c, -E_SYNTAX, "bytes before the request");
        break;
    case STATE_RESOLVE:
    case STATE_CONNECT:
    case STATE_OVER:
        CHECK(!"bytes in this state");
        break;
    }
}

static void broken(struct link_conn *k, int err, const char *why)
{
    struct call *c = k->call;

    if (!c) {
        conn_close(k);
        return;
    }
    if (c->state == STATE_CONNECT) {
        metrics_count(&c->pool->client->counts.connect_failures);
        c->conn = NULL;
        k->call = NULL;
        conn_close(k);
        c->addr++;
        c->late_err = err;
        try_connect(c);
        if (!c->conn)
            fail(c, c->late_err, "connect failed");
        return;
    }
    if (!lost_race(c))
        fail(c, err, why);
}

static void on_eof(void *ctx)
{
    struct link_conn *k = ctx;
    struct call *c = k->call;

    if (c && c->state == STATE_BODY && c->framing == HTTP1_UNTIL_CLOSE)
        complete(c, false, false);
    else if (c && c->state == STATE_BODY)
        broken(k, -E_EOF, "the connection closed inside the reply's body");
    else
        broken(k, -E_EOF, "the connection closed before the reply");
}

static void on_error(void *ctx, int err)
{
    struct link_conn *k = ctx;

    broken(k, err,
           k->call && k->call->state == STATE_BODY ? "the connection broke inside the reply's body"
                                                   : "the connection broke before the reply");
}

static void on_drained(void *ctx)
{
    struct link_conn *k = ctx;

    if (k->call && k->call->state == STATE_AWAIT && k->call->ops->on_sent)
        k->call->ops->on_sent(k->call->ctx);
}

static void on_connected(void *ctx)
{
    struct link_conn *k = ctx;
    struct call *c = k->call;

    deadline_stop(&c->deadline);
    c->state = STATE_OPEN;
    if (c->resend)
        write_request(c);
    else
        c->ops->on_open(c->ctx);
}

static const struct stream_ops conn_ops = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drained = on_drained,
    .on_connected = on_connected,
};

/* ---- the client ---- */

void client_create(struct loop *l, struct chunk_pool *chunks, const struct client_limits *limits,
                   struct client **ret)
{
    *ret = xnew(struct client, .loop = l, .chunks = chunks, .limits = *limits);
}

void client_set_limits(struct client *c, const struct client_limits *limits)
{
    c->limits = *limits;
}

const struct client_counts *client_stats(const struct client *c) { return &c->counts; }

#define CLIENT_ROW(...) METRICS_ROW(struct client_counts, __VA_ARGS__)

void client_register(const struct client *c, struct metrics *m)
{
    static const struct metrics_family families[] = {CLIENT_METRICS(CLIENT_ROW)};

    METRICS_REGISTER(m, families, &c->counts);
}

void client_destroy(struct client **cp)
{
    struct client *c = TAKE(cp);

    if (!c)
        return;
    CHECK(c->pools == 0);
    mem_free(c);
}
