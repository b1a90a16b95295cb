/* SPDX-License-Identifier: Apache-2.0
 *
 * server.c - the reading side of HTTP/1.1 server connections, and their life; see server_priv.h for
 * the states. A head that comes in one read is parsed where it lies; only split heads and pipelined
 * bytes are copied, into `pending`, which exists only then. All of a connection runs on its
 * server's loop.
 *
 * Deadlines: one per connection for its state, one for bytes that the client does not take. The
 * body rate is a leaky bucket that holds body_grace_ms worth of body_bytes_per_s: a client that
 * stalls is cut after the grace, a slow one when the bucket runs dry, a fast one never.
 *
 * Exports: server_ conn_
 */
#include "net/server_priv.h"

#include "base/mem.h"

enum {
    LINGER_BYTES = 16 << 20,       /* who still sends its body reads the reply, not a reset */
    LINGER_STEP_BYTES = 256 << 10, /* and has linger_ms for each of these */
    RATE_TICK_MS = 1000,           /* how often the body rate is settled */
    PIPELINED_BYTES =
        HTTP1_HEAD_BYTES_MAX + 64 * 1024, /* what one read can leave behind a request */
    SHED_LOOKS = 64,                      /* idle connections looked at for one that may go */
    FRESH_MS = 1000, /* so long may a new connection's first bytes be on their way */
};

const struct server_limits server_limits_usual = {
    .head_ms = 10000,
    .keepalive_ms = 75000,
    .body_grace_ms = 5000,
    .body_bytes_per_s = 1000,
    .stall_ms = 30000,
    .stream_stall_ms = 60000,
    .linger_ms = 2000,
    .head_bytes = 32768,
    .request_line_bytes = 8192,
    .headers = 100,
};

static const struct stream_ops conn_ops;
static void feed(struct conn *c, const char *p, size_t n);
static void count_unsent(struct conn *c, size_t now);

/* ---- states ---- */

static void on_turn(struct grave *g);
static void on_deadline(struct deadline *d);
static void on_stall(struct deadline *d);

/* How often the body rate is settled; 0: never. */
static uint32_t rate_tick_ms(const struct server_limits *l)
{
    return l->body_grace_ms < RATE_TICK_MS ? l->body_grace_ms : RATE_TICK_MS;
}

static uint64_t state_limit_ms(const struct conn *c)
{
    const struct server_limits *l = &c->server->conf.limits;

    switch ((enum conn_state)c->state) {
    case CONN_IDLE:
        return c->x.start_us == 0 ? l->head_ms : l->keepalive_ms; /* never spoke: as for a head */
    case CONN_HEAD:
        return l->head_ms;
    case CONN_BODY:
        return rate_tick_ms(l);
    case CONN_LINGER:
        return l->linger_ms ? l->linger_ms : 1;
    case CONN_BUSY:
    case CONN_CLOSED:
        break;
    }
    return 0;
}

void conn_set_state(struct conn *c, enum conn_state state)
{
    bool idle = state == CONN_IDLE;

    c->state = (uint8_t)state;
    deadline_arm(c->server->loop, &c->deadline, state_limit_ms(c), on_deadline);
    list_remove(&c->node);
    list_append(idle ? &c->server->idle : &c->server->busy, &c->node);
}

static void free_conn(struct conn *c)
{
    CHECK(!c->owned && !c->stream);
    list_remove(&c->node);
    if (c->x.kept)
        c->x.owner->on_over(c->x.kept);
    buf_fini(&c->pending);
    arena_clear(&c->x.arena);
    mem_free(c);
}

static void bury(struct conn *c)
{
    if (!c->buried)
        loop_bury(c->x.loop, &c->turn, on_turn); /* the server may be gone already */
    c->buried = true;
}

static bool is_over(const struct conn *c) { return c->state == CONN_CLOSED && !c->owned; }

/* A client that reads until the close must not take this one for the end of its reply. */
static bool would_seem_whole(const struct conn *c)
{
    return c->reply == REPLY_CLOSE && c->x.replied &&
           (!c->x.reply_done || stream_queued(c->stream) > 0);
}

void conn_close(struct conn *c, enum stream_end how)
{
    if (c->state == CONN_CLOSED)
        return;
    if (would_seem_whole(c))
        how = STREAM_RESET;
    if (c->server->held == c)
        c->server->held = NULL;
    stream_close(&c->stream, how);
    count_unsent(c, 0);
    deadline_stop(&c->stall);
    conn_set_state(c, CONN_CLOSED);
    if (c->server->conf.on_closed)
        c->server->conf.on_closed(c->server->conf.ctx, &c->x.peer, c->refused);
    atomic_fetch_sub_explicit(&c->server->connections, 1, memory_order_relaxed);
    metrics_count(&c->server->counts.closed);
    if (is_over(c))
        bury(c);
}

void conn_lost(struct conn *c)
{
    metrics_count(&c->server->counts.gone);
    conn_close(c, STREAM_CLOSE);
}

/* The same, met by ourselves: the owner learns it. */
static void gone(struct conn *c, int err, enum stream_end how)
{
    bool tell = c->owned;

    metrics_count(&c->server->counts.gone);
    conn_close(c, how);
    if (tell)
        c->x.owner->on_gone(c->x.ctx, err);
}

/* ---- the end of a connection that still has something to say ---- */

/* Dropped; a client that goes on sending gets more time for it, one that trickles does not. */
static void linger_on(struct conn *c, size_t n)
{
    uint32_t steps = (LINGER_BYTES - c->linger_left) / LINGER_STEP_BYTES;

    if (n >= c->linger_left) {
        conn_close(c, STREAM_CLOSE);
        return;
    }
    c->linger_left -= (uint32_t)n;
    if ((LINGER_BYTES - c->linger_left) / LINGER_STEP_BYTES > steps)
        deadline_arm(c->server->loop, &c->deadline, state_limit_ms(c), on_deadline);
}

static void begin_linger(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    if (c->cut_hard) {
        conn_close(c, STREAM_RESET);
        return;
    }
    stream_shutdown(c->stream);
    if (c->eof && stream_queued(c->stream) == 0) {
        conn_close(c, STREAM_CLOSE);
        return;
    }
    c->linger_left = LINGER_BYTES;
    conn_set_state(c, CONN_LINGER);
    stream_resume(c->stream);
}

/* ---- deadlines ---- */

/* A fault met before or instead of a head: the owner renders it, then the connection ends. */
static void refuse(struct conn *c, enum fault_code code, int status, const char *why)
{
    struct fault *f = arena_new(&c->x.arena, struct fault);

    fault_set(f, code, "%s", why);
    f->status = status;
    c->x.fault = f;
    c->x.head = NULL;
    c->x.close = true;
    metrics_count(&c->server->counts.refused_heads);
    c->owned = true;
    conn_set_state(c, CONN_BUSY);
    c->x.ctx = c->x.owner->on_request(c->server->conf.ctx, &c->x);
}

static void settle_body_rate(struct conn *c)
{
    const struct server_limits *l = &c->server->conf.limits;
    int64_t full = (int64_t)l->body_grace_ms * l->body_bytes_per_s;
    uint32_t tick = rate_tick_ms(l);
    struct fault f;

    if (c->reading_paused) { /* we are the slow one */
        c->body.mark = c->x.body_in;
        deadline_arm(c->server->loop, &c->deadline, tick, on_deadline);
        return;
    }
    c->body.credit += (int64_t)(c->x.body_in - c->body.mark) * 1000;
    if (c->body.credit > full)
        c->body.credit = full;
    c->body.credit -= (int64_t)l->body_bytes_per_s * tick;
    c->body.mark = c->x.body_in;
    if (c->body.credit >= 0) {
        deadline_arm(c->server->loop, &c->deadline, tick, on_deadline);
        return;
    }
    metrics_count(&c->server->counts.body_timeouts);
    fault_set(&f, FAULT_request_timeout,
              "The request body came too slowly (less than %u bytes a second)",
              l->body_bytes_per_s);
    c->x.close = true;
    conn_set_state(c, CONN_BUSY);
    c->x.owner->on_body_fault(c->x.ctx, &f);
}

/* The client still takes the last reply: its pace is the stall deadline's business. */
static bool rearmed_for_reply(struct conn *c)
{
    if (stream_queued(c->stream) == 0)
        return false;
    deadline_arm(c->server->loop, &c->deadline, state_limit_ms(c), on_deadline);
    return true;
}

static void on_deadline(struct deadline *d)
{
    struct conn *c = container_of(d, struct conn, deadline);

    switch ((enum conn_state)c->state) {
    case CONN_IDLE:
        if (rearmed_for_reply(c))
            break;
        metrics_count(&c->server->counts.idle_closed);
        conn_close(c, STREAM_CLOSE);
        break;
    case CONN_HEAD:
        metrics_count(&c->server->counts.head_timeouts);
        refuse(c, FAULT_request_timeout, 408, "The request head did not come in time");
        break;
    case CONN_BODY:
        settle_body_rate(c);
        break;
    case CONN_LINGER:
        if (!rearmed_for_reply(c))
            conn_close(c, STREAM_CLOSE);
        break;
    case CONN_BUSY:
    case CONN_CLOSED:
        CHECK(!"no deadline in this state");
        break;
    }
}

static bool reply_is_stream(const struct conn *c)
{
    return c->reply == REPLY_CHUNKED || c->reply == REPLY_CLOSE;
}

static uint64_t stall_limit_ms(const struct conn *c)
{
    const struct server_limits *l = &c->server->conf.limits;

    return reply_is_stream(c) ? l->stream_stall_ms : l->stall_ms;
}

static void count_unsent(struct conn *c, size_t now)
{
    if (now == c->unsent)
        return;
    now = min_size(now, UINT32_MAX);
    atomic_fetch_add_explicit(&c->server->unsent, now - c->unsent, memory_order_relaxed);
    c->unsent = (uint32_t)now;
}

void conn_watch_stall(struct conn *c)
{
    count_unsent(c, stream_queued(c->stream));
    if (stream_queued(c->stream) == 0)
        deadline_stop(&c->stall);
    else if (!deadline_armed(&c->stall))
        deadline_arm(c->server->loop, &c->stall, stall_limit_ms(c), on_stall);
}

static void on_stall(struct deadline *d)
{
    struct conn *c = container_of(d, struct conn, stall);
    uint64_t silent = loop_now_ms(c->server->loop) - stream_progress_ms(c->stream);
    uint64_t limit = stall_limit_ms(c);

    if (silent < limit) {
        deadline_arm(c->server->loop, &c->stall, limit - silent, on_stall);
        return;
    }
    metrics_count(reply_is_stream(c) ? &c->server->counts.stream_stalls
                                     : &c->server->counts.stalls);
    gone(c, -E_TIMEOUT, STREAM_RESET);
}

/* ---- requests ---- */

/* Copies what was parsed out of the read buffer: as much of the head struct as is in use. */
static void keep_head(struct conn *c, const char *bytes, size_t n)
{
    const struct http1_head *h = &c->server->scratch;
    size_t used = offsetof(struct http1_head, field) + h->nfields * sizeof h->field[0];
    struct http1_head *head = arena_alloc(&c->x.arena, used);

    memcpy(head, h, used);
    c->x.head = head;
    c->x.head_bytes = arena_str(&c->x.arena, str_span(bytes, n)).p;
    c->x.head_n = n;
}

static void body_complete(struct conn *c)
{
    conn_set_state(c, CONN_BUSY);
    if (!c->x.reply_done)
        c->x.owner->on_body_end(c->x.ctx);
}

static void begin_body(struct conn *c)
{
    const struct server_limits *l = &c->server->conf.limits;
    const struct http1_head *h = c->x.head;

    c->body.is_chunked = h->framing == HTTP1_CHUNKED;
    c->body.left = h->framing == HTTP1_LENGTH ? h->content_length : 0;
    if (c->body.is_chunked)
        chunked_init(&c->body.chunked);
    c->body.credit = (int64_t)l->body_grace_ms * l->body_bytes_per_s;
    c->body.mark = 0;
    conn_set_state(c, h->framing == HTTP1_NO_BODY ? CONN_BUSY : CONN_BODY);
}

static void begin_request(struct conn *c, const char *bytes, size_t n, bool body_here)
{
    static const char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";

    keep_head(c, bytes, n);
    c->x.bytes_out = 0;
    metrics_count(&c->server->counts.requests);
    c->owned = true;
    begin_body(c);
    c->x.ctx = c->x.owner->on_request(c->server->conf.ctx, &c->x);
    if (!c->owned || c->state == CONN_CLOSED)
        return;
    if (c->state == CONN_BUSY) { /* no body */
        if (!c->x.replied)
            c->x.owner->on_body_end(c->x.ctx);
    } else if (c->x.head->expect_continue && !c->x.replied && !body_here) {
        struct iovec iov = {(void *)(uintptr_t)continue_line, sizeof continue_line - 1};

        if (stream_write(c->stream, &iov, 1) < 0)
            gone(c, -E_RESET, STREAM_CLOSE);
    }
}

static void begin_head(struct conn *c)
{
    const struct server_limits *l = &c->server->conf.limits;
    struct http1_limits limits = {
        .head_bytes = l->head_bytes,
        .request_line_bytes = l->request_line_bytes,
        .fields = (uint16_t)l->headers,
        .host_optional = c->server->conf.host_optional || c->x.peer.family == ADDR_UNIX,
    };

    http1_init(&c->parser, false, &limits);
    c->x.start_us = loop_now_us(c->server->loop);
    c->x.body_in = 0;
    c->x.replied = c->x.reply_done = c->x.close = false;
    c->x.fault = NULL;
    c->reply = REPLY_NONE;
    conn_set_state(c, CONN_HEAD);
}

/* The parser's refusal: which limit it was, where it was one. */
static void refuse_head(struct conn *c)
{
    const struct http1_parser *p = &c->parser;
    struct server_counts *counts = &c->server->counts;

    if (p->code == FAULT_uri_too_long)
        metrics_count(&counts->long_lines);
    else if (p->code == FAULT_headers_too_large)
        metrics_count(p->nfields >= p->limits.fields ? &counts->many_fields : &counts->large_heads);
    refuse(c, p->code, p->status, p->why);
}

/* Feeds head bytes; returns how many of p[0..n) belong to the head. */
static size_t take_head(struct conn *c, const char *p, size_t n)
{
    size_t before = c->pending.n;
    const char *bytes = p;
    size_t have = n;
    struct buf split; /* a head that came in pieces */
    long r;

    if (before > 0 || c->pending.p) {
        size_t room = c->pending.cap - before;

        n = min_size(n, room);
        buf_bytes(&c->pending, p, n);
        bytes = c->pending.p;
        have = c->pending.n;
    }
    r = http1_parse(&c->parser, bytes, have, &c->server->scratch);
    if (r < 0) {
        refuse_head(c);
        return n;
    }
    if (r == 0) {
        if (!c->pending.p) {
            c->pending = buf_make(HTTP1_HEAD_BYTES_MAX);
            buf_bytes(&c->pending, p, n);
        }
        return n;
    }
    split = c->pending;
    c->pending = (struct buf){.n = 0};
    begin_request(c, bytes, (size_t)r, have > (size_t)r);
    buf_fini(&split);
    return (size_t)r - before;
}

static void broken_body(struct conn *c)
{
    struct fault f;

    fault_set(&f, FAULT_bad_request, "The chunked request body is malformed: %s",
              c->body.chunked.why);
    c->x.close = true;
    conn_set_state(c, CONN_BUSY);
    if (!c->x.reply_done)
        c->x.owner->on_body_fault(c->x.ctx, &f);
}

static void give_body(struct conn *c, struct str data)
{
    c->x.body_in += data.n;
    if (data.n > 0 && !c->x.reply_done)
        c->x.owner->on_body(c->x.ctx, data.p, data.n);
}

static size_t take_body(struct conn *c, const char *p, size_t n)
{
    struct str data = {p, n};
    long used;

    if (!c->body.is_chunked) {
        data.n = (size_t)min_u64(n, c->body.left);
        c->body.left -= data.n;
        give_body(c, data);
        if (c->body.left == 0 && c->owned && c->state == CONN_BODY)
            body_complete(c);
        return data.n;
    }
    used = chunked_decode(&c->body.chunked, p, n, &data);
    if (used < 0) {
        broken_body(c);
        return n;
    }
    give_body(c, data);
    if (chunked_done(&c->body.chunked) && c->owned && c->state == CONN_BODY)
        body_complete(c);
    return (size_t)used;
}

/* Bytes behind the current request: kept up to one head, then reading stops. */
static void stash(struct conn *c, const char *p, size_t n)
{
    if (c->x.head && c->x.head->keep_alive &&
        !c->x.close) { /* else no further request is answered */
        if (!c->pending.p)
            c->pending = buf_make(PIPELINED_BYTES);
        buf_bytes(&c->pending, p, n);
        metrics_count(&c->server->counts.pipelined);
    }
    c->reading_paused = true;
    stream_pause(c->stream);
    stream_watch_hangup(c->stream, true);
}

/* Hands out p[0..n) until it is used up or must wait. */
static void feed(struct conn *c, const char *p, size_t n)
{
    while (n > 0) {
        size_t used = n;

        switch ((enum conn_state)c->state) {
        case CONN_IDLE:
            begin_head(c);
            used = take_head(c, p, n);
            break;
        case CONN_HEAD:
            used = take_head(c, p, n);
            break;
        case CONN_BODY:
            used = take_body(c, p, n);
            break;
        case CONN_BUSY:
            stash(c, p, n);
            break;
        case CONN_LINGER:
            linger_on(c, n);
            break;
        case CONN_CLOSED:
            return;
        }
        p += used;
        n -= used;
    }
}

/* ---- the next request ---- */

/* Bytes that waited behind the previous request, at the end of the turn in which it ended. */
static void go_on(struct conn *c)
{
    struct buf waiting = c->pending;

    c->pending = buf_make(HTTP1_HEAD_BYTES_MAX);
    c->reading_paused = false;
    feed(c, waiting.p, waiting.n);
    buf_fini(&waiting);
    if (c->state != CONN_CLOSED && !c->reading_paused)
        stream_resume(c->stream);
    if (c->state == CONN_IDLE && c->eof)
        conn_close(c, STREAM_CLOSE);
}

static void on_turn(struct grave *g)
{
    struct conn *c = container_of(g, struct conn, turn);

    c->buried = false;
    if (is_over(c))
        free_conn(c);
    else if (c->state == CONN_IDLE)
        go_on(c);
}

void conn_next(struct conn *c)
{
    bool unread = c->state == CONN_BODY;

    CHECK(c->owned);
    c->owned = false;
    c->x.head = NULL;
    c->x.fault = NULL;
    c->x.ctx = NULL;
    arena_clear(&c->x.arena);
    if (c->state == CONN_CLOSED) {
        bury(c);
        return;
    }
    if (!c->x.reply_done) { /* the owner gave up without a word */
        conn_close(c, STREAM_RESET);
        return;
    }
    if (unread || c->x.close || c->cut_hard || c->server->draining) {
        begin_linger(c);
        return;
    }
    conn_set_state(c, CONN_IDLE);
    if (c->pending.n > 0) {
        bury(c);
    } else if (c->reading_paused) {
        c->reading_paused = false;
        stream_resume(c->stream);
    }
}

/* ---- stream callbacks ---- */

static void on_data(void *ctx, char *p, size_t n) { feed(ctx, p, n); }

static void on_eof(void *ctx)
{
    struct conn *c = ctx;

    c->eof = true;
    if (c->owned)
        gone(c, -E_EOF, STREAM_CLOSE);
    else if (stream_queued(c->stream) > 0)
        begin_linger(c);
    else
        conn_close(c, STREAM_CLOSE);
}

static void on_error(void *ctx, int err) { gone(ctx, err, STREAM_CLOSE); }

static void on_drained(void *ctx)
{
    struct conn *c = ctx;

    count_unsent(c, 0);
    deadline_stop(&c->stall);
    if (c->owned)
        c->x.owner->on_drained(c->x.ctx);
    else if (c->state == CONN_LINGER && c->eof)
        conn_close(c, STREAM_CLOSE);
    else if (c->state == CONN_LINGER || c->state == CONN_IDLE) /* the time counts from now */
        deadline_arm(c->server->loop, &c->deadline, state_limit_ms(c), on_deadline);
}

static const struct stream_ops conn_ops = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drained = on_drained,
};

/* ---- the server ---- */

void server_create(struct loop *l, const struct server_conf *conf, struct server **ret)
{
    struct server *s = xnew(struct server, .loop = l, .conf = *conf);

    list_init(&s->idle);
    list_init(&s->busy);
    s->head_out = buf_make(HTTP1_HEAD_BYTES_MAX + 1024);
    *ret = s;
}

static int take_client(struct server *s, struct ev_fd *fd, const struct addr *peer,
                       void *listener_ctx, struct conn **ret)
{
    struct conn *c = xnew(struct conn, .server = s, .listener_ctx = listener_ctx);
    int r = stream_open(s->loop, fd, s->conf.chunks, &conn_ops, c, &c->stream);

    if (r < 0) {
        mem_free(c);
        return r;
    }
    c->x.loop = s->loop;
    c->x.owner = s->conf.owner;
    c->x.server_ctx = s->conf.ctx;
    c->x.peer = *peer;
    arena_init(&c->x.arena, s->conf.arenas);
    list_init(&c->node);
    atomic_fetch_add_explicit(&s->connections, 1, memory_order_relaxed);
    metrics_count(&s->counts.accepted);
    conn_set_state(c, CONN_IDLE);
    *ret = c;
    return 0;
}

int server_accept(struct server *s, struct ev_fd *fd, const struct addr *peer, void *listener_ctx)
{
    struct conn *c;

    return take_client(s, fd, peer, listener_ctx, &c);
}

int server_refuse(struct server *s, struct ev_fd *fd, const struct addr *peer, void *listener_ctx,
                  enum fault_code code, const char *why)
{
    struct conn *c;
    int r = take_client(s, fd, peer, listener_ctx, &c);

    if (r < 0)
        return r;
    c->refused = (uint8_t)code;
    begin_head(c);
    refuse(c, code, fault_code_status(code), why);
    return 0;
}

unsigned server_connections(const struct server *s)
{
    return atomic_load_explicit(&s->connections, memory_order_relaxed);
}

size_t server_unsent(const struct server *s)
{
    return atomic_load_explicit(&s->unsent, memory_order_relaxed);
}

const struct server_counts *server_stats(const struct server *s) { return &s->counts; }

#define SERVER_ROW(...) METRICS_ROW(struct server_counts, __VA_ARGS__)

void server_register(const struct server *s, struct metrics *m)
{
    static const struct metrics_family families[] = {SERVER_METRICS(SERVER_ROW)};

    METRICS_REGISTER(m, families, &s->counts);
}

void server_set_limits(struct server *s, const struct server_limits *limits)
{
    s->conf.limits = *limits;
}

/* Not while bytes of its last reply still wait. */
static bool quiet(const struct conn *c) { return stream_queued(c->stream) == 0 && !c->buried; }

void server_drain(struct server *s)
{
    struct conn *c;

    s->draining = true;
    list_each(c, &s->idle, node)
    {
        if (quiet(c))
            conn_close(c, STREAM_CLOSE);
        else if (!c->buried)
            begin_linger(c);
    }
}

/* It is new, and its first request may be under way. */
static bool fresh(const struct conn *c)
{
    uint64_t began_ms = c->deadline.due_ms - state_limit_ms(c); /* or the millisecond behind it */

    return c->x.start_us == 0 && began_ms + FRESH_MS > loop_now_ms(c->server->loop);
}

bool server_shed_idle(struct server *s)
{
    unsigned looks = 0;
    struct conn *c;

    list_each(c, &s->idle, node)
    {
        if (looks++ == SHED_LOOKS)
            break;
        if (quiet(c) && !fresh(c) && stream_peek_idle(c->stream)) {
            metrics_count(&s->counts.shed);
            conn_close(c, STREAM_CLOSE);
            return true;
        }
    }
    return false;
}

void server_destroy(struct server **sp)
{
    struct server *s = TAKE(sp);
    struct list *lists[2];

    if (!s)
        return;
    lists[0] = &s->idle;
    lists[1] = &s->busy;
    for (unsigned i = 0; i < 2; i++) {
        struct conn *c;

        list_each(c, lists[i], node)
        {
            if (c->state != CONN_CLOSED)
                gone(c, -E_CLOSED, STREAM_RESET);
        }
    }
    list_remove(&s->idle);
    list_remove(&s->busy);
    buf_fini(&s->head_out);
    mem_free(s);
}
