/* SPDX-License-Identifier: Apache-2.0
 *
 * mock_engine.c - READ -> WAIT -> TALK: the body is read and looked at as it comes; then the reply
 * waits for its latency, and is said whole or as a stream at a pace. Any step may end in HELD
 * (silent until the client goes) or in a cut, as the faults say. A call lives in its exchange's
 * arena and ends in finish(), the only place that gives the exchange back.
 *
 * A stream stops when the client does not read (on_drained() goes on), and when the client leaves.
 */
#include "role/mock_engine.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/jsonindex.h"
#include "base/jsonw.h"
#include "ev/deadline.h"

enum {
    HIGH_WATER_BYTES = 64 << 10, /* stop talking while so much waits */
    BATCH_EVENTS = 16,           /* of one write, when that many are due */
    TURN_US = 1000,              /* a stream that has had its turn waits so long */
    TURN_BATCHES = 64,           /* of one turn, so that one reader cannot hold the loop */
    INPUT_BYTES_MAX = 16 << 20,  /* a body that must be kept */
    STAMPED_BYTES = 2048 + 64,   /* behind an event's text, with its stamp */
};

/* How every event's JSON ends. */
#define EVENT_END STR("}\n\n")

enum route {
    ROUTE_NONE,
    ROUTE_HEALTH,
    ROUTE_MODELS,
    ROUTE_CHAT,
    ROUTE_COMPLETIONS,
    ROUTE_EMBEDDINGS,
};

static const struct {
    struct str path;
    enum http1_method method; /* GET answers HEAD too */
} routes[] = {
    [ROUTE_HEALTH] = {{"/health", 7}, HTTP1_GET},
    [ROUTE_MODELS] = {{"/v1/models", 10}, HTTP1_GET},
    [ROUTE_CHAT] = {{"/v1/chat/completions", 20}, HTTP1_POST},
    [ROUTE_COMPLETIONS] = {{"/v1/completions", 15}, HTTP1_POST},
    [ROUTE_EMBEDDINGS] = {{"/v1/embeddings", 14}, HTTP1_POST},
};

enum { KEY_MODEL, KEY_STREAM, KEYS };
static const struct jsonindex_key wanted[KEYS] = {
    [KEY_MODEL] = {.name = "model", .text_bytes = 256},
    [KEY_STREAM] = {.name = "stream"},
};

enum step {
    STEP_READ, /* the body is coming */
    STEP_WAIT, /* the deadline starts the reply */
    STEP_TALK, /* events are sent as they are due */
    STEP_HELD, /* nothing more is said, the client must go */
};

struct call {
    struct mock_engine *e;
    struct exchange *x;
    enum route route;
    enum step step;
    bool counted; /* among the engine's active ones */
    struct jsonindex index;
    struct buf body; /* embeddings only */
    const struct mock_model *model;
    const struct mock_fault *fault; /* NULL: behave */
    bool stream;
    struct deadline deadline;         /* of STEP_WAIT */
    struct mock_pace_sleeper sleeper; /* of STEP_TALK */
    uint64_t talk_us;                 /* when the first event was due */
    uint64_t sent;                    /* events */
    struct str before, behind;
};

static enum mock_dialect dialect_of(const struct call *c)
{
    return c->route == ROUTE_COMPLETIONS ? MOCK_COMPLETION : MOCK_CHAT;
}

static enum mock_fault_kind fault_of(const struct call *c)
{
    return c->fault ? c->fault->kind : MOCK_FAULT_NONE;
}

/* The last word on a call: it is gone when this returns. */
static void finish(struct call *c)
{
    struct exchange *x = c->x;

    deadline_stop(&c->deadline);
    mock_pace_forget(&c->sleeper);
    if (c->counted)
        c->e->active--;
    buf_fini(&c->body);
    exchange_end(x);
}

static void on_gone(void *ctx, int err)
{
    struct call *c = ctx;

    (void)err;
    if (c->counted && !exchange_complete(c->x))
        c->e->cancelled++;
    finish(c);
}

/* Sends `body` behind a head that has been begun, and empties it. */
static void end_json(struct call *c, struct buf *body)
{
    struct iovec iov = {body->p, body->n};

    exchange_field(c->x, STR("content-type"), STR("application/json"));
    /* A client that is gone by now is no different: the call ends here. */
    if (exchange_start(c->x, EXCHANGE_LENGTH, body->n) == 0)
        (void)!exchange_send(c->x, &iov, 1, true);
    buf_clear(body);
    finish(c);
}

static void answer_json(struct call *c, unsigned status, struct buf *body)
{
    exchange_reply(c->x, status);
    end_json(c, body);
}

/* `allow` is the field that a 405 carries; empty for the others. */
static void answer_fault_allow(struct call *c, const struct fault *f, struct str allow)
{
    struct buf *out = &c->e->scratch;

    mock_reply_error(str_of(f->text), str_of(fault_code_name(f->code)),
                     str_of(fault_code_type(f->code)), out);
    exchange_reply(c->x, (unsigned)f->status);
    if (allow.n > 0)
        exchange_field(c->x, STR("allow"), allow);
    end_json(c, out);
}

static void answer_fault(struct call *c, const struct fault *f)
{
    answer_fault_allow(c, f, STR_NONE);
}

static uint64_t unix_seconds(struct call *c) { return loop_wall_us(c->e->loop) / 1000000; }

static void answer_health(struct call *c)
{
    const struct mock_conf *conf = c->e->conf;
    struct buf *out = &c->e->scratch;
    struct jsonw w = jsonw_make(out);

    if (conf->health_status >= 400) {
        mock_reply_error(STR("told to be ill"), STR("mock"), STR("server_error"), out);
        answer_json(c, conf->health_status, out);
        return;
    }
    jsonw_begin_object(&w);
    jsonw_key(&w, "active");
    jsonw_u64(&w, c->e->active);
    jsonw_key(&w, "cancelled");
    jsonw_u64(&w, c->e->cancelled);
    jsonw_key(&w, "port");
    jsonw_u64(&w, conf->port);
    jsonw_key(&w, "requests");
    jsonw_u64(&w, c->e->requests);
    jsonw_key(&w, "service");
    jsonw_str(&w, conf->name);
    jsonw_key(&w, "status");
    jsonw_cstr(&w, "healthy");
    jsonw_end_object(&w);
    answer_json(c, conf->health_status, out);
}

static void answer_models(struct call *c)
{
    const struct mock_conf *conf = c->e->conf;
    struct buf *out = &c->e->scratch;

    if (conf->models_status >= 400)
        mock_reply_error(STR("told to list no models"), STR("mock"), STR("server_error"), out);
    else
        mock_reply_models(conf->models, conf->models_n, unix_seconds(c), out);
    answer_json(c, conf->models_status, out);
}

/* Ends the reply in the middle, or leaves it there. */
static void break_off(struct call *c)
{
    enum mock_fault_kind kind = fault_of(c);

    if (kind == MOCK_FAULT_STALL) {
        c->step = STEP_HELD;
        return;
    }
    exchange_kill(c->x, kind == MOCK_FAULT_ABORT);
    finish(c);
}

static bool breaks_off(const struct call *c)
{
    enum mock_fault_kind kind = fault_of(c);

    return kind == MOCK_FAULT_ABORT || kind == MOCK_FAULT_TRUNCATE || kind == MOCK_FAULT_STALL;
}

/* What stands behind an event's text when events are stamped: the same end, with the time in it. */
static struct iovec stamped_end(struct call *c, struct buf *out)
{
    char *at = out->p + out->n;
    size_t before = out->n;

    buf_add(out, str_head(c->behind, c->behind.n - EVENT_END.n));
    buf_text(out, ",\"sent_us\":");
    buf_u64(out, loop_fresh_us(c->e->loop));
    buf_add(out, EVENT_END);
    CHECK(buf_status(out) == 0); /* as long as `behind` is at most, and a number */
    return (struct iovec){at, out->n - before};
}

/* The next events up to `until` in one write. What exchange_send() returns. */
static long send_batch(struct call *c, uint64_t until)
{
    struct iovec iov[3 * BATCH_EVENTS + 1];
    struct buf *stamps = &c->e->scratch;
    unsigned n = 0;
    bool last;
    long queued;

    if (c->e->conf->stamp)
        CHECK(buf_reserve(stamps, (size_t)BATCH_EVENTS * STAMPED_BYTES)); /* it moves no more */

    for (unsigned i = 0; i < BATCH_EVENTS && c->sent < until; i++, c->sent++) {
        struct str piece = c->model->piece[c->sent % c->model->pieces];

        iov[n++] = (struct iovec){(char *)(uintptr_t)c->before.p, c->before.n};
        iov[n++] = (struct iovec){(char *)(uintptr_t)piece.p, piece.n};
        if (c->e->conf->stamp)
            iov[n++] = stamped_end(c, stamps);
        else
            iov[n++] = (struct iovec){(char *)(uintptr_t)c->behind.p, c->behind.n};
    }
    last = c->sent == c->model->total && !(breaks_off(c) && c->fault->number <= c->sent);
    if (last) {
        struct str done = MOCK_REPLY_DONE;

        iov[n++] = (struct iovec){(char *)(uintptr_t)done.p, done.n};
    }
    queued = exchange_send(c->x, iov, n, last);
    buf_clear(stamps);
    return queued;
}

/* How many events should have been said by now. */
static uint64_t events_due(struct call *c, uint64_t stop)
{
    double pace = c->e->conf->tokens_per_second;
    uint64_t now = loop_fresh_us(c->e->loop);

    if (pace <= 0)
        return stop;
    return min_u64(stop, 1 + (uint64_t)((double)(now - c->talk_us) * pace / 1e6));
}

/* Sleeps until the next event is due; a stream without a pace lets others talk for a while. */
static void sleep_until_due(struct call *c)
{
    double pace = c->e->conf->tokens_per_second;
    uint64_t due = loop_fresh_us(c->e->loop) + TURN_US;

    if (pace > 0)
        due = c->talk_us + (uint64_t)((double)c->sent * 1e6 / pace) + 1; /* the product is cut */
    mock_pace_sleep(&c->e->pace, &c->sleeper, due);
}

static void talk(struct call *c)
{
    uint64_t stop = breaks_off(c) ? min_u64(c->fault->number, c->model->total) : c->model->total;
    uint64_t due = events_due(c, stop);

    for (unsigned i = 0; c->sent < due && i < TURN_BATCHES; i++) {
        long queued = send_batch(c, due);

        if (queued < 0) {
            on_gone(c, (int)queued);
            return;
        }
        if (exchange_complete(c->x)) {
            finish(c);
            return;
        }
        if (queued > HIGH_WATER_BYTES)
            return; /* on_drained() goes on */
    }
    if (c->sent < stop)
        sleep_until_due(c);
    else if (stop == 0 && exchange_send(c->x, NULL, 0, false) < 0) /* the head alone */
        on_gone(c, -E_RESET);
    else /* only a fault stops before the end */
        break_off(c);
}

static void start_stream(struct call *c)
{
    exchange_reply(c->x, 200);
    exchange_field(c->x, STR("content-type"), STR("text/event-stream"));
    exchange_field(c->x, STR("cache-control"), STR("no-cache"));
    if (exchange_start(c->x, EXCHANGE_STREAM, 0) < 0) {
        on_gone(c, -E_RESET);
        return;
    }
    mock_reply_frame(c->model, dialect_of(c), ++c->e->replies, unix_seconds(c), &c->x->arena,
                     &c->before, &c->behind);
    c->step = STEP_TALK;
    c->talk_us = loop_now_us(c->e->loop);
    talk(c);
}

/* Announces the whole body and says a part of it. */
static void start_part(struct call *c, struct buf *body)
{
    size_t part = (size_t)min_u64(c->fault->number, body->n - 1);
    struct iovec iov = {body->p, part};
    int r;

    exchange_reply(c->x, 200);
    exchange_field(c->x, STR("content-type"), STR("application/json"));
    r = exchange_start(c->x, EXCHANGE_LENGTH, body->n);
    if (r == 0)
        r = exchange_send(c->x, &iov, 1, false) < 0 ? -E_RESET : 0;
    buf_clear(body);
    if (r < 0)
        on_gone(c, r);
    else
        break_off(c);
}

static void start_whole(struct call *c)
{
    struct buf *out = &c->e->scratch, problem = buf_make(256);

    if (c->route != ROUTE_EMBEDDINGS) {
        mock_reply_whole(c->model, dialect_of(c), ++c->e->replies, unix_seconds(c), out);
    } else if (mock_reply_embeddings(buf_str(&c->body), c->model->id, out, &problem) < 0) {
        struct fault f;

        fault_set(&f, FAULT_bad_request, "%.*s", STR_ARGS(buf_str(&problem)));
        answer_fault(c, &f);
        buf_fini(&problem);
        return;
    }
    if (breaks_off(c))
        start_part(c, out);
    else
        answer_json(c, 200, out);
}

/* Ends a head that has nothing behind it. */
static void answer_empty(struct call *c, enum exchange_body body)
{
    if (exchange_start(c->x, body, 0) < 0)
        on_gone(c, -E_RESET);
    else
        finish(c);
}

static void answer_status(struct call *c, unsigned status)
{
    struct buf *out = &c->e->scratch;

    if (status == 204 || status == 304) {
        exchange_reply(c->x, status);
        answer_empty(c, EXCHANGE_NO_BODY);
        return;
    }
    mock_reply_error(STR("told to fail"), STR("mock"), STR("server_error"), out);
    answer_json(c, status, out);
}

static void answer_redirect(struct call *c)
{
    exchange_reply(c->x, 307);
    exchange_field(c->x, STR("location"), c->fault->text);
    answer_empty(c, EXCHANGE_LENGTH);
}

/* The faults that leave nothing of the reply. False: it is said, perhaps not to its end. */
static bool misbehave(struct call *c)
{
    struct buf *out = &c->e->scratch;

    switch (fault_of(c)) {
    case MOCK_FAULT_STATUS:
        answer_status(c, (unsigned)c->fault->number);
        return true;
    case MOCK_FAULT_HANG:
        c->step = STEP_HELD;
        return true;
    case MOCK_FAULT_BADHTTP:
        (void)exchange_raw(c->x, STR("HTTQ/9.9 okay\r\nthis is not: HTTP\n\n"));
        __attribute__((fallthrough));
    case MOCK_FAULT_CLOSE:
    case MOCK_FAULT_RESET:
        exchange_kill(c->x, fault_of(c) == MOCK_FAULT_RESET);
        finish(c);
        return true;
    case MOCK_FAULT_GARBAGE:
        buf_text(out, "<html>{\"this is\": not JSON]");
        answer_json(c, 200, out);
        return true;
    case MOCK_FAULT_REDIRECT:
        answer_redirect(c);
        return true;
    case MOCK_FAULT_EXIT:
        _exit((int)c->fault->number);
    case MOCK_FAULT_CRASH:
        abort();
    case MOCK_FAULT_NONE:
    case MOCK_FAULT_DELAY:
    case MOCK_FAULT_ABORT:
    case MOCK_FAULT_TRUNCATE:
    case MOCK_FAULT_STALL:
        break;
    }
    return false;
}

static void speak(struct call *c)
{
    if (misbehave(c))
        return;
    if (c->stream)
        start_stream(c);
    else
        start_whole(c);
}

static void on_deadline(struct deadline *d) { speak(container_of(d, struct call, deadline)); }

static void on_wake(struct mock_pace_sleeper *s) { talk(container_of(s, struct call, sleeper)); }

static void on_drained(void *ctx)
{
    struct call *c = ctx;

    if (c->step == STEP_TALK && !mock_pace_asleep(&c->sleeper))
        talk(c);
}

/* Milliseconds from the request's last byte to the reply's first. */
static uint64_t latency_ms(const struct call *c)
{
    const struct mock_conf *conf = c->e->conf;
    uint64_t ms = c->route == ROUTE_EMBEDDINGS ? 0 : conf->latency_ms;

    if (fault_of(c) == MOCK_FAULT_DELAY)
        ms += c->fault->number;
    if (conf->slow_whole && !c->stream && c->route != ROUTE_EMBEDDINGS)
        ms += (uint64_t)((double)c->model->total * 1000 / conf->tokens_per_second);
    return ms;
}

static const struct mock_model *find_model(const struct mock_conf *conf, struct str id)
{
    for (size_t i = 0; i < conf->models_n; i++) {
        if (str_eq(conf->models[i].id, id))
            return &conf->models[i];
    }
    return NULL;
}

/* An inference request is whole. */
static void answer_inference(struct call *c)
{
    struct mock_engine *e = c->e;
    const struct jsonindex_field *model = &c->index.fields[KEY_MODEL];
    struct str id = model->has_text ? model->text : STR("null");
    int r = jsonindex_finish(&c->index);
    struct fault f;
    uint64_t ms;

    e->requests++;
    e->active++;
    c->counted = true;
    if (r == -E_EXISTS)
        fault_set(&f, FAULT_invalid_json, "The key '%s' occurs twice",
                  wanted[c->index.duplicate].name);
    else if (r < 0)
        fault_set(&f, FAULT_internal_error, "The body is not JSON: %s", c->index.scan.reason);
    else if (!(c->model = find_model(e->conf, id)))
        fault_set(&f, FAULT_invalid_model, "Model %.*s not available on this service",
                  STR_ARGS(str_head(id, 128)));
    if (!c->model) {
        answer_fault(c, &f);
        return;
    }
    c->stream = c->route != ROUTE_EMBEDDINGS && c->index.fields[KEY_STREAM].u64 == 1 &&
                c->index.fields[KEY_STREAM].kind == JSONINDEX_BOOL;
    c->fault = mock_fault_strike(e->conf->faults, e->conf->faults_n, id, &e->dice);
    ms = latency_ms(c);
    c->step = STEP_WAIT;
    if (ms > 0)
        deadline_arm(e->loop, &c->deadline, ms, on_deadline);
    else
        speak(c);
}

/* 404, or 405 when another method would do. */
static void answer_nothing(struct call *c)
{
    struct str path = http1_str(c->x->head_bytes, c->x->head->path);
    struct fault f;

    for (size_t i = 1; i < ARRAY_LEN(routes); i++) {
        if (!str_eq(path, routes[i].path))
            continue;
        fault_set(&f, FAULT_method_not_allowed, "This path takes another method");
        answer_fault_allow(c, &f, routes[i].method == HTTP1_GET ? STR("GET, HEAD") : STR("POST"));
        return;
    }
    fault_set(&f, FAULT_not_found, "There is no such path");
    answer_fault(c, &f);
}

static void on_body(void *ctx, const char *p, size_t n)
{
    struct call *c = ctx;

    if (c->route < ROUTE_CHAT)
        return;
    (void)!jsonindex_feed(&c->index, p, n); /* jsonindex_finish() says it again */
    if (c->route == ROUTE_EMBEDDINGS)
        buf_bytes(&c->body, p, n);
}

static void on_body_end(void *ctx)
{
    struct call *c = ctx;
    struct fault f;

    switch (c->route) {
    case ROUTE_HEALTH:
        answer_health(c);
        return;
    case ROUTE_MODELS:
        answer_models(c);
        return;
    case ROUTE_CHAT:
    case ROUTE_COMPLETIONS:
    case ROUTE_EMBEDDINGS:
        if (buf_status(&c->body) == 0) {
            answer_inference(c);
            return;
        }
        fault_set(&f, FAULT_payload_too_large, "The body is over %d bytes", INPUT_BYTES_MAX);
        answer_fault(c, &f);
        return;
    case ROUTE_NONE:
        answer_nothing(c);
        return;
    }
}

static void on_body_fault(void *ctx, const struct fault *f) { answer_fault(ctx, f); }

static enum route find_route(const struct exchange *x)
{
    struct str path = http1_str(x->head_bytes, x->head->path);
    enum http1_method method = x->head->method == HTTP1_HEAD ? HTTP1_GET : x->head->method;

    for (size_t i = 1; i < ARRAY_LEN(routes); i++) {
        if (method == routes[i].method && str_eq(path, routes[i].path))
            return (enum route)i;
    }
    return ROUTE_NONE;
}

static void *on_request(void *server_ctx, struct exchange *x)
{
    struct mock_engine *e = server_ctx;
    struct call *c = arena_alloc(&x->arena, sizeof(*c));

    /* Not zeroed as a whole: the index is large and has its own init. */
    c->e = e;
    c->x = x;
    c->route = x->fault ? ROUTE_NONE : find_route(x);
    c->step = STEP_READ;
    c->counted = c->stream = false;
    c->body = buf_make(INPUT_BYTES_MAX);
    c->model = NULL;
    c->fault = NULL;
    c->deadline = (struct deadline){.fn = on_deadline};
    list_init(&c->sleeper.node);
    c->sent = 0;
    if (c->route >= ROUTE_CHAT)
        jsonindex_init(&c->index, wanted, KEYS);
    if (x->fault)
        answer_fault(c, x->fault);
    return c;
}

const struct exchange_owner *mock_engine_owner(void)
{
    static const struct exchange_owner owner = {
        .on_request = on_request,
        .on_body = on_body,
        .on_body_end = on_body_end,
        .on_body_fault = on_body_fault,
        .on_drained = on_drained,
        .on_gone = on_gone,
    };

    return &owner;
}

int mock_engine_init(struct mock_engine *e, const struct mock_conf *conf, struct loop *loop)
{
    *e = (struct mock_engine){.conf = conf, .loop = loop, .dice = conf->seed};
    e->scratch = buf_make(SIZE_MAX);
    return mock_pace_init(&e->pace, loop, on_wake);
}

void mock_engine_fini(struct mock_engine *e)
{
    mock_pace_fini(&e->pace);
    buf_fini(&e->scratch);
}
