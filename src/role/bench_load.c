/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_load.c - slots take requests from the plan (bench_plan.h) and drive one call each.
 *
 *   free --take()--> calling --finish()--> free or, after a failed connect, resting
 *
 * Closed loop: a slot that becomes free takes the next request at once. Open loop: an alarm takes
 * what is due into free slots; while none is free, what is due waits in the plan and is late by
 * definition. finish() is the only end of a request. When the plan is over and no slot calls, the
 * loop stops; `grace_ms` behind the plan's end, or at once when told to stop, what still runs is
 * cancelled and counts as unfinished.
 *
 * An event stream is read for two things: where its events end, and the stamp that `inferd mock
 * --stamp` puts into each, "sent_us":N, which is the same clock as ours.
 */
#include "role/bench_load.h"

#include <signal.h>

#include "base/mem.h"
#include "ev/alarm.h"
#include "ev/deadline.h"
#include "ev/thread.h"
#include "net/client.h"
#include "proto/sse.h"

enum {
    REST_MS = 10, /* behind a failed connect, so that a dead target is not hammered */
    LOOK_MS = 50, /* how often *stop is looked at */
    IDLE_CHUNKS = 64,
    CONNECT_MS = 5000,
    POOL_IDLE_MS = 60000,
};

/* Finds "sent_us":DIGITS in a stream of bytes. */
struct stamp {
    unsigned matched;
    bool found; /* in this event */
    uint64_t us;
};

enum slot_state {
    SLOT_FREE,    /* in load.free */
    SLOT_CALLING, /* one request */
    SLOT_RESTING, /* its deadline makes it free */
};

struct slot {
    struct load *load;
    struct list node;
    enum slot_state state;
    struct call *call;
    struct deadline deadline;
    uint64_t due_us, event_us; /* event_us: of the last event, 0 before the first */
    unsigned status;           /* 0 before the head */
    bool event_stream;
    struct sse_parser sse;
    struct stamp stamp;
};

struct load {
    const struct bench_conf *conf;
    struct bench_result *result;
    struct bench_plan plan;
    struct loop *loop;
    struct chunk_pool chunks;
    struct client *client;
    struct pool *pool;
    struct alarm *alarm; /* the next due request, open loop */
    struct deadline look;
    struct signal_watch *term, *interrupt;
    struct chunkq body;
    struct list free;
    struct slot *slots;
    unsigned calling, resting;
    bool over;         /* the plan has no further request */
    uint64_t abort_us; /* when what still runs is cancelled */
};

static void take_due(struct load *l);

/* ---- the end of a request ---- */

static void set_free(struct slot *s)
{
    s->state = SLOT_FREE;
    list_prepend(&s->load->free, &s->node);
}

static void on_rested(struct deadline *d)
{
    struct slot *s = container_of(d, struct slot, deadline);

    s->load->resting--;
    set_free(s);
    take_due(s->load);
}

/* The call is gone, by itself or by call_cancel(). `why` may be NULL. */
static void finish(struct slot *s, enum bench_outcome outcome, const char *why)
{
    struct load *l = s->load;
    struct bench_result *r = l->result;
    uint64_t now = loop_fresh_us(l->loop);

    CHECK(s->state == SLOT_CALLING);
    s->call = NULL;
    deadline_stop(&s->deadline);
    r->outcome[outcome]++;
    r->end_us = now;
    if (outcome == BENCH_OK)
        bench_hist_add(&r->latency, now - s->due_us);
    else if (!r->first_why && why)
        r->first_why = why;
    l->calling--;
    if (outcome == BENCH_CONNECT) {
        s->state = SLOT_RESTING;
        l->resting++;
        deadline_arm(l->loop, &s->deadline, REST_MS, on_rested);
    } else {
        set_free(s);
    }
    take_due(l);
}

static void cancel(struct slot *s, enum bench_outcome outcome, const char *why)
{
    call_cancel(&s->call);
    finish(s, outcome, why);
}

static void on_timeout(struct deadline *d)
{
    cancel(container_of(d, struct slot, deadline), BENCH_TIMEOUT, "no end within timeout_ms");
}

/* ---- the reply ---- */

static bool good_status(const struct slot *s) { return s->status >= 200 && s->status < 300; }

static void stamp_feed(struct stamp *m, const char *p, size_t n)
{
    static const char key[] = "\"sent_us\":";
    const unsigned whole = sizeof(key) - 1;

    for (size_t i = 0; i < n; i++) {
        if (m->matched == whole) {
            if (p[i] >= '0' && p[i] <= '9') {
                m->us = m->us * 10 + (uint64_t)(p[i] - '0');
                m->found = true;
                continue;
            }
            m->matched = 0;
        }
        if (p[i] == key[m->matched]) {
            if (++m->matched == whole)
                m->us = 0;
        } else {
            m->matched = p[i] == key[0];
        }
    }
}

static void on_event(struct slot *s, uint64_t now)
{
    struct bench_result *r = s->load->result;

    if (s->sse.has_data && !s->sse.done) {
        r->events++;
        if (s->event_us)
            bench_hist_add(&r->gap, now - s->event_us);
        else
            bench_hist_add(&r->first, now - s->due_us);
        s->event_us = now;
        if (s->stamp.found && now >= s->stamp.us)
            bench_hist_add(&r->delay, now - s->stamp.us);
    }
    s->stamp = (struct stamp){0};
}

static void read_events(struct slot *s, const char *p, size_t n, uint64_t now)
{
    while (n > 0) {
        size_t used = 0;
        enum sse_kind kind = sse_next(&s->sse, p, n, &used);

        stamp_feed(&s->stamp, p, used);
        if (kind == SSE_EVENT)
            on_event(s, now);
        p += used;
        n -= used;
    }
}

static void on_head(void *ctx, const struct http1_head *head, const char *bytes,
                    enum http1_framing framing, bool more)
{
    struct slot *s = ctx;
    struct load *l = s->load;

    (void)framing;
    (void)more;
    s->status = head->status;
    l->result->status[min_size(head->status, BENCH_STATUSES - 1)]++;
    s->event_stream = l->conf->stream && str_starts(http1_value(head, bytes, HTTP1_CONTENT_TYPE),
                                                    STR("text/event-stream"));
    if (!l->conf->stream && good_status(s))
        bench_hist_add(&l->result->first, loop_fresh_us(l->loop) - s->due_us);
}

static void on_body(void *ctx, const struct iovec *iov, unsigned n, bool last)
{
    struct slot *s = ctx;
    uint64_t now = s->event_stream ? loop_fresh_us(s->load->loop) : 0;

    (void)last;
    for (unsigned i = 0; i < n; i++) {
        s->load->result->body_bytes += iov[i].iov_len;
        if (s->event_stream)
            read_events(s, iov[i].iov_base, iov[i].iov_len, now);
    }
}

static void on_end(void *ctx, bool clean)
{
    struct slot *s = ctx;

    (void)clean; /* a body that only the close ended may be whole: HTTP cannot tell, [DONE] can */
    if (!good_status(s))
        finish(s, BENCH_STATUS, "a status that is not 2xx");
    else if (s->load->conf->stream && !s->event_stream)
        finish(s, BENCH_NO_STREAM, "the reply is not text/event-stream");
    else if (s->load->conf->stream && !s->sse.done)
        finish(s, BENCH_TRUNCATED, "a stream ended without [DONE]");
    else
        finish(s, BENCH_OK, NULL);
}

static void on_fail(void *ctx, int err, enum call_phase phase, const char *why)
{
    struct slot *s = ctx;

    if (phase == CALL_CONNECT)
        finish(s, BENCH_CONNECT, why);
    else if (phase == CALL_BODY && good_status(s))
        finish(s, BENCH_TRUNCATED, why);
    else if (phase == CALL_BODY)
        finish(s, BENCH_STATUS, "a status that is not 2xx");
    else
        finish(s, err == -E_SYNTAX || err == -E_LIMIT ? BENCH_MALFORMED : BENCH_NO_REPLY, why);
}

/* ---- the request ---- */

static void send_request(struct slot *s)
{
    const struct bench_conf *conf = s->load->conf;

    call_send(s->call, conf->head, conf->body.n ? &s->load->body : NULL, conf->method);
}

static void on_open(void *ctx) { send_request(ctx); }

static const struct call_ops call_ops = {
    .on_open = on_open,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

static void begin(struct slot *s, uint64_t due_us)
{
    struct load *l = s->load;

    list_remove(&s->node);
    s->state = SLOT_CALLING;
    l->calling++;
    s->due_us = due_us;
    s->event_us = 0;
    s->status = 0;
    s->event_stream = false;
    sse_init(&s->sse);
    s->stamp = (struct stamp){0};
    if (l->result->start_us == 0)
        l->result->start_us = loop_fresh_us(l->loop);
    deadline_arm(l->loop, &s->deadline, l->conf->timeout_ms, on_timeout);
    call_open(l->pool, &call_ops, s, &s->call);
    if (call_take_open(s->call))
        send_request(s);
}

/* Everything that is due, as far as slots are free; then waits for the next, or ends. */
static void take_due(struct load *l)
{
    struct slot *s;
    uint64_t due = 0;

    while (!l->over && (s = list_first(&l->free, struct slot, node))) {
        switch (bench_plan_take(&l->plan, loop_fresh_us(l->loop), &due)) {
        case BENCH_NOW:
            begin(s, due);
            break;
        case BENCH_LATER:
            alarm_at(l->alarm, due);
            return;
        case BENCH_OVER:
            l->over = true;
            break;
        }
    }
    if (l->over && l->calling + l->resting == 0)
        loop_stop(l->loop);
}

static void on_alarm(void *ctx) { take_due(ctx); }

static void on_signal(void *ctx, int signo)
{
    struct load *l = ctx;

    (void)signo;
    atomic_store(l->conf->stop, true);
}

/* Now and then: is it time to stop? */
static void on_look(struct deadline *d)
{
    struct load *l = container_of(d, struct load, look);
    uint64_t now = loop_now_us(l->loop);
    bool stop = atomic_load(l->conf->stop);

    if (stop)
        l->over = true;
    if (stop || now >= l->abort_us || (l->over && l->calling + l->resting == 0))
        loop_stop(l->loop);
    else
        deadline_arm(l->loop, &l->look, LOOK_MS, on_look);
}

/* ---- life ---- */

static int open_load(struct load *l, bool signals)
{
    const struct client_limits limits = {.connect_ms = CONNECT_MS,
                                         .pool_idle_ms = POOL_IDLE_MS,
                                         .pool_max_idle = l->conf->connections,
                                         .head_bytes = HTTP1_HEAD_BYTES_MAX,
                                         .headers = HTTP1_FIELDS_MAX};
    const struct url *u = l->conf->target;
    struct pool_target to = {.host = u->host, .port = u->port};
    int r = loop_create(&l->loop);

    if (r < 0)
        return r;
    r = alarm_create(l->loop, on_alarm, l, &l->alarm);
    if (r == 0 && signals)
        r = signal_watch_start(l->loop, SIGTERM, on_signal, l, &l->term);
    if (r == 0 && signals)
        r = signal_watch_start(l->loop, SIGINT, on_signal, l, &l->interrupt);
    if (r < 0)
        return r;
    if (u->kind == URL_UNIX)
        to.unix_path = u->path.p;
    client_create(l->loop, &l->chunks, &limits, &l->client);
    pool_create(l->client, &to, &l->pool);
    chunkq_init(&l->body, &l->chunks);
    chunkq_append(&l->body, l->conf->body.p, l->conf->body.n);
    return 0;
}

/* What never got its turn was due all the same. */
static void count_unsent(struct load *l)
{
    if (l->plan.rate > 0 && !atomic_load(l->conf->stop))
        l->result->outcome[BENCH_UNFINISHED] += bench_plan_total(&l->plan) - l->plan.taken;
}

static void close_load(struct load *l)
{
    l->over = true;
    deadline_stop(&l->look);
    for (unsigned i = 0; l->slots && i < l->conf->connections; i++) {
        struct slot *s = &l->slots[i];

        if (s->state == SLOT_CALLING)
            cancel(s, BENCH_UNFINISHED, NULL);
        deadline_stop(&s->deadline);
    }
    if (l->client) {
        l->result->connects = metrics_counter_read(&client_stats(l->client)->connects);
        l->result->races = metrics_counter_read(&client_stats(l->client)->reuse_races);
        chunkq_clear(&l->body);
        pool_close(&l->pool);
        loop_settle(l->loop);
    }
    client_destroy(&l->client);
    signal_watch_close(&l->term);
    signal_watch_close(&l->interrupt);
    alarm_close(&l->alarm);
    loop_destroy(&l->loop);
    chunk_pool_fini(&l->chunks);
    mem_free(l->slots);
}

static void run_load(struct load *l)
{
    const struct bench_conf *conf = l->conf;

    l->slots = mem_alloc(conf->connections * sizeof(*l->slots));
    for (unsigned i = conf->connections; i-- > 0;) {
        l->slots[i].load = l;
        list_init(&l->slots[i].node);
        set_free(&l->slots[i]);
    }
    if (l->plan.end_us != UINT64_MAX)
        l->abort_us = l->plan.end_us + (uint64_t)conf->grace_ms * 1000;
    else
        l->abort_us = UINT64_MAX;
    deadline_arm(l->loop, &l->look, LOOK_MS, on_look);
    take_due(l);
    loop_run(l->loop);
    count_unsent(l);
}

void bench_load_run(const struct bench_conf *conf, const struct bench_plan *plan, bool signals,
                    struct bench_result *result)
{
    struct load l = {.conf = conf, .result = result, .plan = *plan, .chunks.max = IDLE_CHUNKS};

    list_init(&l.free);
    result->err = open_load(&l, signals);
    if (result->err == 0)
        run_load(&l);
    close_load(&l);
}
