/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_client.c - asks, collects the whole answer, and has it judged when its end is known. An end
 * that only the close of the connection marked counts as clean: HTTP cannot tell it from one.
 */
#include "role/chaos_client.h"

#include "base/mem.h"
#include "conf/option.h"
#include "ev/deadline.h"

enum {
    CONNECT_MS = 3000,
    HEAD_BYTES = 4096,
    ANSWER_BYTES_MAX = 8 << 20, /* kept of one answer; the rest is counted as said */
};

struct chaos_client {
    struct loop *loop;
    struct chunk_pool *chunks;
    struct chaos_target to;
    struct client *client;
    struct pool *pool;
    struct list asks;
};

struct chaos_ask {
    struct chaos_client *c;
    struct list node;
    struct grave grave;
    struct chaos_question q;
    chaos_client_fn *fn;
    void *ctx;
    struct call *call;
    struct buf head;
    struct chunkq body;
    struct buf answer;
    bool event_stream;
    uint64_t began_us;
    struct deadline patience, leave;
    struct chaos_reply reply;
};

static void copy(struct str s, char *to, size_t size)
{
    s = str_head(s, size - 1);
    if (s.n)
        memcpy(to, s.p, s.n);
    to[s.n] = '\0';
}

/* ---- a request ---- */

static void free_ask(struct grave *g)
{
    struct chaos_ask *a = container_of(g, struct chaos_ask, grave);

    chunkq_clear(&a->body);
    buf_fini(&a->head);
    buf_fini(&a->answer);
    xfree(a);
}

static void end_ask(struct chaos_ask *a)
{
    call_cancel(&a->call);
    deadline_stop(&a->patience);
    deadline_stop(&a->leave);
    list_remove(&a->node);
    loop_bury(a->c->loop, &a->grave, free_ask);
}

static void finish(struct chaos_ask *a, enum chaos_outcome outcome, const char *why)
{
    a->reply.outcome = outcome;
    a->reply.us = loop_now_us(a->c->loop) - a->began_us;
    a->reply.why = why;
    end_ask(a);
    a->fn(a->ctx, &a->reply);
}

static enum chaos_outcome judge(struct chaos_ask *a, bool clean)
{
    const struct chaos_seen seen = {.answer = buf_str(&a->answer),
                                    .mark = a->q.mark,
                                    .asked_stream = a->q.stream,
                                    .event_stream = a->event_stream,
                                    .clean = clean};

    return chaos_answer_judge(&seen, &a->reply);
}

static void on_patience(struct deadline *d)
{
    finish(container_of(d, struct chaos_ask, patience), CHAOS_HUNG, "nothing more came");
}

static void on_leave(struct deadline *d)
{
    finish(container_of(d, struct chaos_ask, leave), CHAOS_LEFT, NULL);
}

static void on_head(void *ctx, const struct http1_head *head, const char *bytes,
                    enum http1_framing framing, bool more)
{
    struct chaos_ask *a = ctx;

    (void)framing;
    (void)more;
    a->reply.status = head->status;
    a->event_stream =
        str_starts(http1_value(head, bytes, HTTP1_CONTENT_TYPE), STR("text/event-stream"));
    for (unsigned i = 0; i < head->nfields; i++) {
        if (str_caseeq(http1_str(bytes, head->field[i].name), STR("retry-after")))
            copy(http1_str(bytes, head->field[i].value), a->reply.retry_after,
                 sizeof(a->reply.retry_after));
    }
}

static void on_body(void *ctx, const struct iovec *iov, unsigned n, bool last)
{
    struct chaos_ask *a = ctx;

    (void)last;
    for (unsigned i = 0; i < n; i++)
        buf_bytes(&a->answer, iov[i].iov_base, iov[i].iov_len);
    if (a->q.leave == CHAOS_LEAVES_LATE && !deadline_armed(&a->leave))
        deadline_arm(a->c->loop, &a->leave, 1, on_leave);
}

static void on_end(void *ctx, bool clean)
{
    struct chaos_ask *a = ctx;

    (void)clean; /* ended by the close alone: HTTP cannot tell it from an end */
    a->call = NULL;
    finish(a, judge(a, true), NULL);
}

static void on_fail(void *ctx, int err, enum call_phase phase, const char *why)
{
    struct chaos_ask *a = ctx;

    (void)err;
    a->call = NULL;
    finish(a, phase == CALL_BODY ? judge(a, false) : CHAOS_NOTHING, why);
}

static void on_open(void *ctx)
{
    struct chaos_ask *a = ctx;

    call_send(a->call, buf_str(&a->head), &a->body, HTTP1_POST);
}

static const struct call_ops ops = {.on_open = on_open,
                                    .on_head = on_head,
                                    .on_body = on_body,
                                    .on_end = on_end,
                                    .on_fail = on_fail};

static void make_request(struct chaos_ask *a)
{
    const struct chaos_target *to = &a->c->to;
    char memory[1024], mark[CHAOS_MARK_BYTES];
    struct buf body = buf_on(memory, sizeof(memory)), target = buf_make(HEAD_BYTES);

    chaos_answer_mark(a->q.mark, mark);
    buf_printf(&body,
               "{\"model\":\"%.*s\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]%s}",
               STR_ARGS(a->q.model), mark, a->q.stream ? ",\"stream\":true" : "");
    CHECK(buf_status(&body) == 0);
    chunkq_init(&a->body, a->c->chunks);
    chunkq_append(&a->body, body.p, body.n);
    buf_add(&target, to->prefix);
    buf_text(&target, "/v1/chat/completions");
    a->head = buf_make(HEAD_BYTES);
    http1_write_request_line(&a->head, STR("POST"), buf_str(&target));
    buf_fini(&target);
    http1_write_field(&a->head, STR("host"), to->origin);
    http1_write_field(&a->head, STR("content-type"), STR("application/json"));
    for (size_t i = 0; to->fields && i < to->fields->n; i++) {
        struct str value = to->fields->at[i], name = str_cut(&value, ':');

        http1_write_field(&a->head, name, str_trim(value));
    }
    http1_write_length(&a->head, body.n);
    http1_write_end(&a->head);
    CHECK(buf_status(&a->head) == 0);
}

void chaos_client_ask(struct chaos_client *c, const struct chaos_question *q, chaos_client_fn *fn,
                      void *ctx)
{
    struct chaos_ask *a = xnew(struct chaos_ask, .c = c, .q = *q, .fn = fn, .ctx = ctx);

    a->answer = buf_make(ANSWER_BYTES_MAX);
    a->began_us = loop_now_us(c->loop);
    list_append(&c->asks, &a->node);
    make_request(a);
    deadline_arm(c->loop, &a->patience, q->patience_ms, on_patience);
    if (q->leave == CHAOS_LEAVES_EARLY)
        deadline_arm(c->loop, &a->leave, q->leave_ms, on_leave);
    call_open(c->pool, &ops, a, &a->call);
}

/* ---- life ---- */

void chaos_client_create(struct loop *l, struct chunk_pool *chunks, const struct chaos_target *to,
                         struct chaos_client **ret)
{
    const struct client_limits limits = {
        .connect_ms = CONNECT_MS, .head_bytes = HTTP1_HEAD_BYTES_MAX, .headers = HTTP1_FIELDS_MAX};
    const struct pool_target at = {.host = to->host, .port = to->port};
    struct chaos_client *c = xnew(struct chaos_client, .loop = l, .chunks = chunks, .to = *to);

    list_init(&c->asks);
    client_create(l, chunks, &limits, &c->client);
    pool_create(c->client, &at, &c->pool);
    *ret = c;
}

void chaos_client_drop_all(struct chaos_client *c)
{
    struct chaos_ask *a;

    while ((a = list_first(&c->asks, struct chaos_ask, node)))
        end_ask(a);
}

void chaos_client_destroy(struct chaos_client **cp)
{
    struct chaos_client *c = TAKE(cp);

    if (!c)
        return;
    CHECK(list_empty(&c->asks));
    pool_close(&c->pool);
    loop_settle(c->loop);
    client_destroy(&c->client);
    xfree(c);
}
