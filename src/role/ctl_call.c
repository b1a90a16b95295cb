/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl_call.c - see ctl_call.h. One pool on the control socket; a kept connection carries all orders
 * of one command. A reply whose connection ends early is told as such and never taken for a whole
 * one: an order whose answer was lost may have been carried out.
 */
#include "role/ctl_call.h"

#include "base/mem.h"
#include "ev/deadline.h"

enum {
    ANSWER_MS = 30000, /* for the head, and between two pieces of the body */
    REPLY_BYTES = 64 << 20,
};

struct ctl_call {
    struct loop *loop;
    struct chunk_pool chunks;
    struct client *client;
    struct pool *pool;
    /* the one that is asked now */
    struct call *call;
    struct deadline deadline;
    const struct ctl_question *question;
    struct ctl_reply *reply;
    struct buf head;
    int err;
};

static void over(struct ctl_call *c, int err)
{
    c->err = err;
    deadline_stop(&c->deadline);
    call_cancel(&c->call);
    loop_stop(c->loop);
}

static void on_timeout(struct deadline *d)
{
    over(container_of(d, struct ctl_call, deadline), -E_TIMEOUT);
}

static bool is_post(const struct ctl_question *q) { return str_eq(q->method, STR("POST")); }

static void on_open(void *ctx)
{
    struct ctl_call *c = ctx;

    call_send(c->call, buf_str(&c->head), NULL, is_post(c->question) ? HTTP1_POST : HTTP1_GET);
}

static void await_more(struct ctl_call *c)
{
    if (c->question->endless)
        deadline_stop(&c->deadline);
    else
        deadline_arm(c->loop, &c->deadline, ANSWER_MS, on_timeout);
}

static void on_head(void *ctx, const struct http1_head *head, const char *bytes,
                    enum http1_framing framing, bool more)
{
    struct ctl_call *c = ctx;

    (void)bytes, (void)framing, (void)more;
    c->reply->status = head->status;
    await_more(c);
}

static void on_body(void *ctx, const struct iovec *iov, unsigned n, bool last)
{
    struct ctl_call *c = ctx;
    bool to_sink = c->question->sink && c->reply->status == 200;

    (void)last;
    for (unsigned i = 0; i < n; i++) {
        struct str piece = str_span(iov[i].iov_base, iov[i].iov_len);

        if (!to_sink)
            buf_add(&c->reply->body, piece);
        else if (!c->question->sink(c->question->sink_ctx, piece)) {
            over(c, -E_CLOSED);
            return;
        }
    }
    await_more(c);
}

static void on_end(void *ctx, bool clean)
{
    struct ctl_call *c = ctx;

    c->call = NULL;
    c->reply->broken = !clean;
    over(c, clean ? buf_status(&c->reply->body) : -E_EOF);
}

static void on_fail(void *ctx, int err, enum call_phase phase, const char *why)
{
    struct ctl_call *c = ctx;

    (void)why;
    c->call = NULL;
    c->reply->broken = phase != CALL_CONNECT;
    over(c, err);
}

static const struct call_ops ops = {
    .on_open = on_open,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

int ctl_call_open(const char *socket_path, struct ctl_call **ret)
{
    static const struct client_limits limits = {
        .connect_ms = ANSWER_MS,
        .pool_idle_ms = ANSWER_MS,
        .pool_max_idle = 1,
        .head_bytes = HTTP1_HEAD_BYTES_MAX,
        .headers = HTTP1_FIELDS_MAX,
    };
    struct pool_target at = {.host = STR(""), .unix_path = socket_path};
    struct ctl_call *c;
    int r;

    if (strlen(socket_path) > ADDR_UNIX_PATH_MAX)
        return -E_LIMIT;
    c = xnew(struct ctl_call, .head = buf_make(HTTP1_HEAD_BYTES_MAX));
    r = loop_create(&c->loop);
    if (r < 0) {
        mem_free(c);
        return r;
    }
    client_create(c->loop, &c->chunks, &limits, &c->client);
    pool_create(c->client, &at, &c->pool);
    *ret = c;
    return 0;
}

void ctl_call_close(struct ctl_call **cp)
{
    struct ctl_call *c = TAKE(cp);

    if (!c)
        return;
    pool_close(&c->pool);
    loop_settle(c->loop);
    client_destroy(&c->client);
    loop_destroy(&c->loop);
    chunk_pool_fini(&c->chunks);
    buf_fini(&c->head);
    mem_free(c);
}

int ctl_call_ask(struct ctl_call *c, const struct ctl_question *q, struct ctl_reply *ret)
{
    *ret = (struct ctl_reply){.body = buf_make(REPLY_BYTES)};
    c->question = q;
    c->reply = ret;
    buf_clear(&c->head);
    http1_write_request_line(&c->head, q->method, q->target);
    http1_write_field(&c->head, STR("host"), STR("localhost"));
    if (is_post(q))
        http1_write_length(&c->head, 0);
    http1_write_end(&c->head);
    CHECK(buf_status(&c->head) == 0);
    deadline_arm(c->loop, &c->deadline, ANSWER_MS, on_timeout);
    call_open(c->pool, &ops, c, &c->call);
    loop_run(c->loop);
    return c->err;
}
