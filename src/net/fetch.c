/* SPDX-License-Identifier: Apache-2.0
 *
 * fetch.c - see fetch.h. A body that is not wanted still gets a moment to end, so that the
 * connection can be used again; one that does not end is closed.
 */
#include "net/fetch.h"

#include "base/arena.h"
#include "base/mem.h"
#include "ev/deadline.h"

enum { END_MS = 100, SERVER_MAX = 256, TARGET_BYTES = 8192, HEAD_BYTES = 16384 };

struct fetch {
    struct loop *loop;
    struct call *call;
    struct deadline deadline;
    struct buf request; /* head and body */
    struct buf body;    /* of the answer */
    struct buf server;
    enum http1_method method;
    enum fetch_want want;
    bool keeps, whole; /* the body is wanted; it has come */
    uint64_t began_us;
    uint32_t timeout_ms;
    size_t skipped, max_bytes; /* of a body that is not wanted */
    struct fetch_reply reply;
    fetch_fn *fn;
    void *ctx;
};

static void destroy(struct fetch *f)
{
    deadline_stop(&f->deadline);
    buf_fini(&f->request);
    buf_fini(&f->body);
    buf_fini(&f->server);
    mem_free(f);
}

static void finish(struct fetch *f, int err)
{
    struct fetch_reply *r = &f->reply;

    call_cancel(&f->call);
    if (f->want != FETCH_BODY && r->status > 0)
        err = 0;
    else if (err == 0 && buf_status(&f->body) < 0)
        err = -E_LIMIT;
    r->err = err;
    if (err < 0)
        r->status = 0;
    r->server = buf_str(&f->server);
    r->body = f->whole && err == 0 ? buf_str(&f->body) : STR_NONE;
    f->fn(f->ctx, r);
    destroy(f);
}

static void on_timeout(struct deadline *d)
{
    finish(container_of(d, struct fetch, deadline), -E_TIMEOUT);
}

static void on_open(void *ctx)
{
    struct fetch *f = ctx;

    f->reply.connected = true;
    call_send(f->call, buf_str(&f->request), NULL, f->method);
}

/* A body that FETCH_SHORT is there for. */
static bool is_short(const struct fetch *f, const struct http1_head *head,
                     enum http1_framing framing)
{
    return head->status >= 200 && head->status < 300 && framing == HTTP1_LENGTH &&
           head->content_length <= f->max_bytes;
}

/* The head decides; what may still come behind it has so long. */
static void await_end(struct fetch *f)
{
    uint64_t spent_ms = f->reply.took_us / 1000;
    uint32_t left = spent_ms < f->timeout_ms ? f->timeout_ms - (uint32_t)spent_ms : 0;
    uint32_t ms = f->keeps ? FETCH_SHORT_MS : END_MS;

    deadline_arm(f->loop, &f->deadline, f->keeps && left < ms ? left : ms, on_timeout);
}

static void on_head(void *ctx, const struct http1_head *head, const char *bytes,
                    enum http1_framing framing, bool more)
{
    struct fetch *f = ctx;

    (void)more;
    f->reply.status = head->status;
    f->reply.took_us = loop_now_us(f->loop) - f->began_us;
    buf_add(&f->server, str_head(http1_value(head, bytes, HTTP1_SERVER), SERVER_MAX));
    f->keeps = f->want == FETCH_BODY || (f->want == FETCH_SHORT && is_short(f, head, framing));
    if (f->want == FETCH_STATUS)
        finish(f, 0);
    else if (f->want != FETCH_BODY)
        await_end(f);
}

static void on_body(void *ctx, const struct iovec *iov, unsigned n, bool last)
{
    struct fetch *f = ctx;

    (void)last;
    for (unsigned i = 0; i < n; i++) {
        if (f->keeps)
            buf_bytes(&f->body, iov[i].iov_base, iov[i].iov_len);
        else
            f->skipped += iov[i].iov_len;
    }
    if (buf_status(&f->body) < 0 || f->skipped > f->max_bytes)
        finish(f, -E_LIMIT);
}

static void on_end(void *ctx, bool clean)
{
    struct fetch *f = ctx;

    (void)clean;
    f->call = NULL;
    f->whole = f->keeps;
    finish(f, 0);
}

static void on_fail(void *ctx, int err, enum call_phase phase, const char *why)
{
    struct fetch *f = ctx;

    (void)why;
    f->call = NULL;
    f->reply.connected = phase != CALL_CONNECT;
    finish(f, err);
}

static const struct call_ops ops = {
    .on_open = on_open,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

static void write_request(struct fetch *f, const struct fetch_question *q)
{
    struct buf target = buf_make(TARGET_BYTES), *out = &f->request;

    buf_add(&target, q->at->prefix);
    buf_text(&target, q->path);
    http1_write_request_line(out, str_of(http1_method_text(f->method)), buf_str(&target));
    buf_fini(&target);
    http1_write_field(out, STR("host"), q->at->origin);
    http1_write_field(out, STR("accept"), STR("*/*"));
    if (q->api_key.n > 0) {
        struct buf bearer = buf_make(8192);

        buf_text(&bearer, "Bearer ");
        buf_add(&bearer, q->api_key);
        http1_write_field(out, STR("authorization"), buf_str(&bearer));
        buf_fini(&bearer);
    }
    if (q->content_type.n > 0)
        http1_write_field(out, STR("content-type"), q->content_type);
    if (q->body.p)
        http1_write_length(out, q->body.n);
    http1_write_end(out);
    buf_add(out, q->body);
}

void fetch_start(struct loop *l, struct pool *pool, const struct fetch_question *q, fetch_fn *fn,
                 void *ctx, struct fetch **ret)
{
    struct fetch *f = xnew(struct fetch, .loop = l, .want = q->want, .fn = fn, .ctx = ctx);

    f->began_us = loop_now_us(l);
    f->timeout_ms = q->timeout_ms;
    f->max_bytes = q->max_bytes;
    f->method = q->method == HTTP1_METHOD_OTHER ? HTTP1_GET : q->method;
    f->request = buf_make(HEAD_BYTES + q->body.n);
    f->body = buf_make(q->max_bytes);
    f->server = buf_make(SERVER_MAX);
    write_request(f, q);
    deadline_arm(l, &f->deadline, q->timeout_ms, on_timeout);
    call_open(pool, &ops, f, &f->call);
    *ret = f;
}

void fetch_cancel(struct fetch **fp)
{
    struct fetch *f = TAKE(fp);

    if (!f)
        return;
    call_cancel(&f->call);
    destroy(f);
}
