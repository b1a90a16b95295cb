/* SPDX-License-Identifier: Apache-2.0
 *
 * request.c - the driver of the step table, where requests are born and where they end: every
 * request's slot, ticket, call, chunks and pin are given back in req_finish() and nowhere else, and
 * one line of access log is written there.
 *
 * Exports: req_
 */
#include "gate/request.h"

#include <stdarg.h>
#include <stdio.h>

#include "gate/attempt.h"
#include "gate/caller.h"
#include "gate/choice.h"
#include "gate/lane_priv.h"
#include "gate/retry.h"

enum { REFUSALS_TOLD_PER_S = 20, HELD_GRAINS = 64 };

#define AS_ROW(name, fn) [REQ_##name] = {#name, fn},
static const struct {
    const char *name;
    enum req_step (*fn)(struct req *r);
} steps[] = {REQ_STEPS(AS_ROW)[REQ_DONE] = {"DONE", NULL}};

/* What is left of reply_ms for a held body's exchange, so rounded that there are few durations. */
static uint32_t held_ms(const struct req *r, uint32_t reply_ms)
{
    uint32_t grain = reply_ms / HELD_GRAINS + 1;
    uint64_t over = loop_now_ms(r->lane->loop) - r->sent_ms;

    return over >= reply_ms ? grain : ((reply_ms - (uint32_t)over) / grain + 1) * grain;
}

/* Until the body begins, and while it is held. */
static uint32_t reply_limit_ms(const struct req *r, const struct limits *l)
{
    const struct relay *y = &r->relay;

    if (l->reply_ms > 0 && y->held)
        return held_ms(r, l->reply_ms);
    if (l->reply_ms > 0 && y->bytes == 0 && !y->iov)
        return l->reply_ms;
    return l->idle_ms;
}

static uint32_t take_limit_ms(const struct limits *l)
{
    return l->reply_ms > 0 ? l->reply_ms : l->stall_ms;
}

static uint32_t head_limit_ms(const struct req *r, const struct limits *l)
{
    return l->move_ms > 0 && l->move_ms < l->first_byte_ms && !r->moved ? l->move_ms
                                                                        : l->first_byte_ms;
}

/* How long the step may take; 0: as long as it likes. */
static uint32_t limit_ms(const struct req *r, enum req_step step)
{
    const struct limits *l = lane_conf(r->snap)->limits;

    switch (step) {
    case REQ_ROUTE:
        return l->queue_ms;
    case REQ_SEND:
        return take_limit_ms(l);
    case REQ_AWAIT:
        return head_limit_ms(r, l);
    case REQ_RELAY:
        return reply_limit_ms(r, l);
    case REQ_HEAD:
    case REQ_BODY:
    case REQ_ADMIT:
    case REQ_CONNECT:
    case REQ_PAUSE:
    case REQ_FAIL:
    case REQ_DONE:
    case REQ_WAIT:
        break;
    }
    return 0;
}

/* What must be true in each step; see the table in request.h. */
static void check_step(const struct req *r)
{
    switch (r->step) {
    case REQ_HEAD:
    case REQ_BODY:
    case REQ_ADMIT:
        CHECK(!r->engine && !r->call && r->ticket == 0);
        break;
    case REQ_ROUTE:
        CHECK(!r->call && !r->x->replied);
        break;
    case REQ_PAUSE:
        CHECK(!r->engine && !r->call && r->ticket == 0);
        break;
    case REQ_CONNECT:
        CHECK(r->engine && r->ticket == 0 && !r->x->replied);
        break;
    case REQ_SEND:
    case REQ_AWAIT:
        CHECK(r->engine && !r->x->replied);
        break;
    case REQ_RELAY:
    case REQ_FAIL:
        break;
    case REQ_DONE:
    case REQ_WAIT:
        CHECK(!"not a step that waits");
    }
}

static void on_deadline(struct deadline *d);

static void engine_timeout(struct req *r, uint32_t how, struct metrics_counter *limit,
                           enum wording_case what)
{
    req_say(r, what, NULL);
    metrics_count(limit);
    req_engine_failed(r, how);
    req_note_cause(r, "no response in time");
}

/* The engine takes its time with the request. */
static void on_send_deadline(struct req *r)
{
    const struct limits *l = lane_conf(r->snap)->limits;
    uint64_t silent = loop_now_ms(r->lane->loop) - call_progress_ms(r->call);
    uint32_t most = take_limit_ms(l);

    if (silent < most)
        deadline_arm(r->lane->loop, &r->deadline, most - silent, on_deadline);
    else
        engine_timeout(r, l->reply_ms > 0 ? RETRY_TIMEOUT : RETRY_BROKEN,
                       &r->lane->shard.limit_engine_stall, SAY_NOT_TAKEN);
}

/* And with its reply head. */
static void on_head_deadline(struct req *r)
{
    const struct limits *l = lane_conf(r->snap)->limits;

    if (head_limit_ms(r, l) == l->first_byte_ms) {
        engine_timeout(r, RETRY_TIMEOUT, &r->lane->shard.limit_first_byte, SAY_LATE);
        return;
    }
    req_move(r);
    if (!r->taken_back)
        deadline_arm(r->lane->loop, &r->deadline, l->first_byte_ms - l->move_ms, on_deadline);
}

static void on_deadline(struct deadline *d)
{
    struct req *r = container_of(d, struct req, deadline);

    if (r->step == REQ_ROUTE && r->model.p && !snapshot_model(r->lane->snap->snap, r->target)) {
        req_say(r, SAY_NO_MODEL, NULL); /* no engine that was on its way turned out to have it */
    } else if (r->step == REQ_ROUTE) {
        r->waited = true;
        req_ticket_late(r);
        return;
    } else if (r->step == REQ_SEND) {
        on_send_deadline(r);
    } else if (r->step == REQ_RELAY) {
        engine_timeout(r, RETRY_BROKEN, &r->lane->shard.limit_idle,
                       r->x->replied ? SAY_SILENT : SAY_HELD_LATE);
    } else {
        on_head_deadline(r);
    }
    req_run(r);
}

/* A refused head costs its sender nothing: of those, the log tells so many a second of each lane,
 * and with the next one how many it did not tell. */
static bool refusal_is_told(struct lane *l)
{
    uint64_t second = loop_now_ms(l->loop) / 1000;

    if (second != l->refusals_s) {
        l->refusals_s = second;
        l->refusals_told = 0;
    }
    if (l->refusals_told < REFUSALS_TOLD_PER_S) {
        l->refusals_told++;
        return true;
    }
    l->refusals_untold++;
    metrics_count(&l->shard.log_suppressed);
    return false;
}

static void log_client(struct req *r, struct log_rec *rec)
{
    struct addr client;
    char text[ADDR_TEXT_MAX];
    struct buf b = buf_on(text, sizeof text);

    caller_find(lane_conf(r->snap)->trusted, &r->x->peer, r->x->head, r->x->head_bytes, &client);
    caller_write(&client, &b);
    log_str(rec, "client", buf_str(&b));
    if (r->key.id.n)
        log_str(rec, "key", r->key.id);
}

static void log_access(struct req *r)
{
    struct lane *l = r->lane;
    struct exchange *x = r->x;
    const struct usage *u = r->relay.usage;
    uint64_t total_us = loop_now_us(l->loop) - x->start_us;
    struct log_rec *rec;

    if (!x->head && !refusal_is_told(l))
        return;
    rec = log_begin(l->log, LOG_INFO, loop_wall_us(l->loop), l->gate->rules->name, "request");
    if (!rec)
        return;
    log_str(rec, "id", r->request_id);
    if (!x->head && l->refusals_untold > 0) {
        log_u64(rec, "suppressed", l->refusals_untold);
        l->refusals_untold = 0;
    }
    if (x->head) {
        log_str(rec, "method", http1_str(x->head_bytes, x->head->method_name));
        log_str(rec, "path", http1_str(x->head_bytes, x->head->path));
    }
    if (r->model.n)
        log_str(rec, "model", str_head(r->model, str_utf8_cut(r->model, 128)));
    if (r->engine_name.n)
        log_str(rec, "engine", r->engine_name);
    log_client(r, rec);
    log_u64(rec, "status", r->gone && !x->replied ? 499 : r->relay.status);
    if (r->fault.code) {
        log_text(rec, "fault", fault_code_name(r->fault.code));
        log_text(rec, "while", steps[r->failed_in].name);
    }
    log_u64(rec, "attempts", r->attempts);
    if (r->plan && r->plan->n > 1)
        log_str(rec, "served_model", str_head(r->target, str_utf8_cut(r->target, 128)));
    if (r->first_byte_us)
        log_ms(rec, "first_byte_ms", r->first_byte_us - x->start_us);
    log_ms(rec, "total_ms", total_us);
    log_u64(rec, "bytes_in", x->body_in);
    log_u64(rec, "bytes_out", x->bytes_out);
    if (u && (u->in || u->out)) {
        log_u64(rec, "tokens_in", u->in);
        log_u64(rec, "tokens_out", u->out);
    }
    if (r->relay.events.events)
        log_u64(rec, "events", r->relay.events.events);
    log_end(rec);
}

static void count_end(struct req *r)
{
    struct gate_shard *m = &r->lane->shard;
    unsigned class = r->gone && !r->x->replied ? 0 : r->relay.status / 100;

    class = class < GATE_STATUS_CLASSES ? class : 0;
    metrics_count(&m->requests[class]);
    if (r->model.n > 0)
        metrics_count(&m->by_model[r->model_label][class]);
    if (r->fault.code)
        metrics_count(&m->faults[r->fault.code]);
    if (r->gone)
        metrics_count(&m->canceled);
    metrics_add(&m->bytes_in, r->x->body_in);
    metrics_add(&m->bytes_out, r->x->bytes_out);
    if (r->relay.usage) {
        metrics_add(&m->tokens_in, r->relay.usage->in);
        metrics_add(&m->tokens_out, r->relay.usage->out);
    }
    metrics_observe(&m->total, METRICS_SECONDS, loop_now_us(r->lane->loop) - r->x->start_us);
    metrics_move(&m->in_flight, -1);
}

static void req_finish(struct req *r)
{
    struct lane *l = r->lane;
    struct exchange *x = r->x;

    deadline_stop(&r->deadline);
    call_cancel(&r->call);
    req_drop_ticket(r);
    req_release(r);
    atomic_fetch_sub_explicit(&l->gate->buffered, r->buffered, memory_order_relaxed);
    log_access(r);
    guard_end(r);
    count_end(r); /* at last: whoever sees it counted finds its place and its share free */
    chunkq_clear(&r->body);
    chunkq_clear(&r->relay.hold);
    list_remove(&r->node);
    lane_unpin(l, &r->snap);
    exchange_end(x); /* the request's memory goes with it */
    lane_request_over(l);
}

/* Most steps have no bound and follow one that has none. */
static inline void bound(struct req *r, uint64_t ms)
{
    if (ms > 0 || deadline_armed(&r->deadline))
        deadline_arm(r->lane->loop, &r->deadline, ms, on_deadline);
}

/* What comes next, a fault and a request that is taken back included. */
static enum req_step look(struct req *r)
{
    if (r->fault.code && r->step != REQ_FAIL) {
        bool attempt = r->step >= REQ_CONNECT && r->step <= REQ_AWAIT;
        bool may_ask = r->step >= REQ_ROUTE && r->step < REQ_RELAY; /* another model */
        enum req_step next = attempt ? req_again(r) : REQ_FAIL;

        return next == REQ_FAIL && may_ask && req_fall_back(r) ? REQ_ROUTE : next;
    }
    if (r->taken_back)
        return req_leave(r);
    return steps[r->step].fn(r);
}

void req_run(struct req *r)
{
    if (r->running)
        return; /* a callback from inside a step: the step looks again */
    r->running = true;
    for (;;) {
        enum req_step next;

        check_step(r);
        next = look(r);
        if (next == REQ_FAIL)
            r->failed_in = r->step;
        if (next == REQ_WAIT) {
            if (r->fault.code && r->step != REQ_FAIL)
                continue;
            r->running = false;
            return;
        }
        trace_add(&r->lane->trace, loop_now_us(r->lane->loop), r->id, steps[next].name,
                  r->relay.status, r->relay.bytes);
        if (next == REQ_DONE)
            break;
        bound(r, limit_ms(r, next));
        r->step = next; /* the only assignment to r->step but the first */
    }
    req_finish(r);
}

void req_progress(struct req *r)
{
    deadline_arm(r->lane->loop, &r->deadline, limit_ms(r, r->step), on_deadline);
}

void req_fault(struct req *r, enum fault_code code, const char *fmt, ...)
{
    char text[sizeof r->fault.text];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (r->fault.code == FAULT_none)
        fault_set(&r->fault, code, "%s", text);
    req_run(r);
}

/* ---- the exchange's callbacks ---- */

/* Process and request, eight hex digits each, more for the request when it needs them. */
static struct str own_request_id(struct req *r)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t id = r->id;
    unsigned n = 8 + (id >> 32 ? 16 : 8);
    char *text = arena_alloc(&r->x->arena, n);

    for (unsigned i = n; i > 8; id >>= 4)
        text[--i] = hex[id & 15];
    for (unsigned i = 8, prefix = r->lane->gate->id_prefix; i > 0; prefix >>= 4)
        text[--i] = hex[prefix & 15];
    return str_span(text, n);
}

/* The client's own x-request-id, or one of ours. */
static struct str request_id(struct req *r)
{
    struct str given =
        r->x->head ? http1_value(r->x->head, r->x->head_bytes, HTTP1_X_REQUEST_ID) : STR_NONE;

    for (size_t i = 0; i < given.n; i++)
        if (given.p[i] < 0x21 || given.p[i] > 0x7e)
            given.n = 0;
    if (given.n > 0 && given.n <= 128)
        return given;
    return own_request_id(r);
}

static void *on_request(void *server_ctx, struct exchange *x)
{
    struct lane *l = server_ctx;
    struct req *r = arena_new(&x->arena, struct req);

    r->lane = l;
    r->x = x;
    r->step = REQ_HEAD;
    r->failed_in = REQ_DONE;
    r->snap = lane_pin(l);
    r->id = atomic_fetch_add_explicit(&l->gate->next_id, 1, memory_order_relaxed);
    r->request_id = request_id(r);
    chunkq_init(&r->body, &l->chunks);
    chunkq_init(&r->relay.hold, &l->chunks);
    list_append(&l->requests, &r->node);
    metrics_move(&l->shard.in_flight, 1);
    x->ctx = r; /* a step may end the exchange before we return */
    req_run(r);
    return r;
}

static void on_body(void *ctx, const char *p, size_t n) { req_body_bytes(ctx, p, n); }

static void on_body_end(void *ctx)
{
    struct req *r = ctx;

    r->body_done = true;
    req_run(r);
}

static void on_body_fault(void *ctx, const struct fault *f)
{
    struct req *r = ctx;

    if (r->fault.code == FAULT_none && f->code == FAULT_bad_request)
        req_say(r, SAY_BAD_BODY, f->text);
    else if (r->fault.code == FAULT_none)
        r->fault = *f;
    req_run(r);
}

static void on_drained(void *ctx)
{
    struct req *r = ctx;

    if (r->up_paused && r->call) {
        r->up_paused = false;
        call_resume(r->call);
        req_progress(r); /* the wait was the client's, not the engine's silence */
    }
}

static void on_gone(void *ctx, int err)
{
    struct req *r = ctx;

    r->gone = true;
    fault_set(&r->fault, FAULT_client_gone, "%s", err_text(err));
    req_run(r);
}

static void on_over(void *kept) { keys_forget(kept); }

static const struct exchange_owner owner = {
    .on_request = on_request,
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_body_fault = on_body_fault,
    .on_drained = on_drained,
    .on_gone = on_gone,
    .on_over = on_over,
};

const struct exchange_owner *req_owner(void) { return &owner; }
