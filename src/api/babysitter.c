/* SPDX-License-Identifier: Apache-2.0
 *
 * babysitter.c - see babysitter.h. Everything is answered in on_body_end(), in one go, but for
 * /models, which waits for the engine. What a request's body holds is dropped.
 */
#include "api/babysitter.h"

#include "api/reply.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "net/fetch.h"

enum {
    REPLY_BYTES = 16 << 20,
    MODELS_BYTES = 4 << 20,
    MODELS_MS = 5000,
    ASKING_MAX = 64, /* requests for /models that wait for the engine at once */
    DROPPED_BYTES_MAX = 4 << 20,
};

struct babysitter {
    struct babysitter_face face;
    struct buf scratch; /* of replies; empty between callbacks */
    unsigned asking;
};

/* One request; lives in its exchange's arena. */
struct ask {
    struct babysitter *b;
    struct exchange *x;
    void (*answer)(struct ask *a);
    struct fault fault; /* found before the body was there */
    struct fetch *fetch;
    struct tester_place place; /* that is asked */
    bool second;               /* the second path is asked */
};

static const struct {
    const char *word, *status;
} states[BABYSITTER_STATES_N] = {
#define STATE_AS_ROW(name, word, status) [name] = {word, status},
    BABYSITTER_STATES(STATE_AS_ROW)};

const char *babysitter_state_word(enum babysitter_state s) { return states[s].word; }

/* ---- the end of a request ---- */

static void end(struct ask *a)
{
    if (a->fetch)
        a->b->asking--;
    fetch_cancel(&a->fetch);
    exchange_end(a->x);
}

static void refuse(struct ask *a, const struct fault *f)
{
    reply_fault(a->x, f, f->code == FAULT_method_not_allowed ? STR("GET, HEAD") : STR_NONE);
    end(a);
}

/* What was written into the scratch buffer is the reply. */
static void answer(struct ask *a, unsigned status, struct str type)
{
    struct buf *out = &a->b->scratch;
    struct fault f;

    if (buf_status(out) < 0) {
        fault_set(&f, FAULT_internal_error, "The reply exceeds what one reply may take");
        refuse(a, &f);
    } else {
        reply_whole(a->x, status, type, buf_str(out));
        end(a);
    }
    buf_clear(out);
}

static void answer_json(struct ask *a, unsigned status)
{
    answer(a, status, STR("application/json"));
}

/* ---- what is known here ---- */

static void put_engine_port(const struct babysitter *b, const struct babysitter_view *v,
                            struct jsonw *w)
{
    jsonw_key(w, "infinilm_server_port");
    if (v->state == BABYSITTER_READY || v->state == BABYSITTER_UNRESPONSIVE)
        jsonw_u64(w, b->face.port);
    else
        jsonw_null(w);
}

static void on_health(struct ask *a)
{
    struct babysitter *b = a->b;
    struct jsonw w = jsonw_make(&b->scratch);
    struct babysitter_view v;

    b->face.look(b->face.ctx, &v);
    jsonw_begin_object(&w);
    jsonw_key(&w, "babysitter");
    jsonw_cstr(&w, "enhanced");
    put_engine_port(b, &v, &w);
    jsonw_key(&w, "infinilm_server_ready");
    jsonw_bool(&w, v.state == BABYSITTER_READY);
    jsonw_key(&w, "infinilm_server_running");
    jsonw_bool(&w, v.pid > 0);
    jsonw_key(&w, "service");
    jsonw_str(&w, b->face.name);
    jsonw_key(&w, "status");
    jsonw_cstr(&w, states[v.state].status);
    jsonw_key(&w, "timestamp");
    jsonw_u64(&w, loop_wall_us(a->x->loop) / 1000000);
    jsonw_end_object(&w);
    answer_json(a, v.was_ready && v.state != BABYSITTER_READY ? 503 : 200);
}

/* The members from "last_exit" to "restart_count". */
static void put_run(const struct babysitter *b, const struct babysitter_view *v, struct jsonw *w)
{
    jsonw_key(w, "last_exit");
    if (v->last_exit && v->last_exit[0])
        jsonw_cstr(w, v->last_exit);
    else
        jsonw_null(w);
    jsonw_key(w, "name");
    jsonw_str(w, b->face.name);
    jsonw_key(w, "pid");
    if (v->pid > 0)
        jsonw_i64(w, v->pid);
    else
        jsonw_null(w);
    jsonw_key(w, "port");
    jsonw_u64(w, b->face.port + 1U);
    jsonw_key(w, "restart_count");
    jsonw_u64(w, v->restarts);
}

static void on_info(struct ask *a)
{
    struct babysitter *b = a->b;
    struct jsonw w = jsonw_make(&b->scratch);
    struct babysitter_view v;

    b->face.look(b->face.ctx, &v);
    jsonw_begin_object(&w);
    jsonw_key(&w, "babysitter");
    jsonw_cstr(&w, "enhanced");
    jsonw_key(&w, "consecutive_restarts");
    jsonw_u64(&w, v.consecutive_restarts);
    jsonw_key(&w, "host");
    jsonw_str(&w, b->face.host);
    put_engine_port(b, &v, &w);
    put_run(b, &v, &w);
    jsonw_key(&w, "service");
    jsonw_str(&w, b->face.name);
    jsonw_key(&w, "service_type");
    jsonw_cstr(&w, b->face.type);
    jsonw_key(&w, "state");
    jsonw_cstr(&w, states[v.state].word);
    jsonw_key(&w, "uptime");
    jsonw_u64(&w, v.uptime_s);
    jsonw_key(&w, "url");
    jsonw_str(&w, b->face.url);
    jsonw_end_object(&w);
    answer_json(a, 200);
}

static void on_metrics(struct ask *a)
{
    (void)!metrics_render(a->b->face.metrics, &a->b->scratch); /* answer() sees a full buffer */
    answer(a, 200, STR(METRICS_CONTENT_TYPE));
}

/* ---- models ---- */

static void refuse_engine(struct ask *a, enum fault_code code, const char *why)
{
    struct fault f;

    fault_set(&f, code, "The engine on port %u %s", a->b->face.port, why);
    refuse(a, &f);
}

static void ask_models(struct ask *a);

static void on_models_reply(void *ctx, const struct fetch_reply *r)
{
    struct ask *a = ctx;
    struct json *list;

    a->fetch = NULL;
    a->b->asking--;
    if (r->err == 0 && r->status == 404 && !a->second) {
        a->second = true;
        ask_models(a);
    } else if (r->err < 0) {
        refuse_engine(a, FAULT_engine_unavailable, "did not answer for its models");
    } else if (r->status / 100 != 2) {
        refuse_engine(a, FAULT_engine_unavailable, "answered with an error for its models");
    } else if (json_read(r->body, NULL, NULL, &list) < 0) {
        refuse_engine(a, FAULT_bad_engine_reply, "did not answer with JSON for its models");
    } else {
        json_write(list, &a->b->scratch);
        json_unref(&list);
        answer_json(a, 200);
    }
}

static void ask_models(struct ask *a)
{
    struct fetch_question q = {
        .at = &a->place.at,
        .path = a->second ? "/v1/models" : "/models",
        .want = FETCH_BODY,
        .timeout_ms = MODELS_MS,
        .max_bytes = MODELS_BYTES,
    };

    a->b->asking++;
    fetch_start(a->x->loop, a->place.pool, &q, on_models_reply, a, &a->fetch);
}

static void on_models(struct ask *a)
{
    const struct tester_place *place = a->b->face.place(a->b->face.ctx);
    struct fault f;

    if (!place) {
        refuse_engine(a, FAULT_engine_unavailable, "is not ready");
    } else if (a->b->asking >= ASKING_MAX) {
        fault_set(&f, FAULT_overloaded, "Too many requests for the engine's models");
        refuse(a, &f);
    } else {
        a->place = *place;
        ask_models(a);
    }
}

/* ---- the exchange's owner ---- */

static void read_head(struct ask *a)
{
    static const struct {
        struct str path;
        void (*answer)(struct ask *a);
    } routes[] = {
        {{"/health", 7}, on_health},
        {{"/info", 5}, on_info},
        {{"/models", 7}, on_models},
        {{"/metrics", 8}, on_metrics},
        {{"/_inferd/metrics", 16}, on_metrics},
    };
    const struct http1_head *h = a->x->head;
    struct str path = http1_str(a->x->head_bytes, h->path);

    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (str_eq(path, routes[i].path))
            a->answer = routes[i].answer;
    if (!a->answer)
        fault_set(&a->fault, FAULT_not_found, "Unknown path");
    else if (h->method != HTTP1_GET && h->method != HTTP1_HEAD)
        fault_set(&a->fault, FAULT_method_not_allowed, "This path takes GET, HEAD");
}

static void *on_request(void *server_ctx, struct exchange *x)
{
    struct ask *a = arena_new(&x->arena, struct ask);

    a->b = server_ctx;
    a->x = x;
    if (x->fault)
        a->fault = *x->fault;
    else
        read_head(a);
    if (a->fault.code && (x->fault || x->head->expect_continue))
        refuse(a, &a->fault);
    return a;
}

static void on_body(void *ctx, const char *p, size_t n)
{
    struct ask *a = ctx;

    (void)p;
    (void)n;
    if (a->x->body_in <= DROPPED_BYTES_MAX)
        return;
    fault_set(&a->fault, FAULT_payload_too_large, "The body is over %d bytes", DROPPED_BYTES_MAX);
    refuse(a, &a->fault);
}

static void on_body_end(void *ctx)
{
    struct ask *a = ctx;

    if (a->fault.code)
        refuse(a, &a->fault);
    else
        a->answer(a);
}

static void on_body_fault(void *ctx, const struct fault *f) { refuse(ctx, f); }

static void on_drained(void *ctx) { (void)ctx; }

static void on_gone(void *ctx, int err)
{
    (void)err;
    end(ctx);
}

const struct exchange_owner *babysitter_owner(void)
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

/* ---- life ---- */

static void on_render(void *ctx, struct buf *out)
{
    static const char restarts[] = "inferd_babysitter_restarts_total";
    static const char state[] = "inferd_babysitter_state";
    static const char uptime[] = "inferd_babysitter_uptime_seconds";
    const struct babysitter *b = ctx;
    struct babysitter_view v;

    b->face.look(b->face.ctx, &v);
    metrics_put_head(out, METRICS_COUNTER, restarts, "Restarts of the engine.");
    metrics_put_i64(out, restarts, NULL, 0, (int64_t)v.restarts);
    metrics_put_head(out, METRICS_GAUGE, state, "1 for the state that the engine is in.");
    for (unsigned s = 0; s < BABYSITTER_STATES_N; s++) {
        struct str label[] = {STR("state"), str_of(states[s].word)};

        metrics_put_i64(out, state, label, 1, s == v.state);
    }
    metrics_put_head(out, METRICS_GAUGE, uptime, "Seconds since the babysitter started.");
    metrics_put_i64(out, uptime, NULL, 0, (int64_t)v.uptime_s);
}

void babysitter_create(const struct babysitter_face *face, struct babysitter **ret)
{
    struct babysitter *b = xnew(struct babysitter, .face = *face);

    b->scratch = buf_make(REPLY_BYTES);
    metrics_source(face->metrics, on_render, b);
    *ret = b;
}

void babysitter_destroy(struct babysitter **bp)
{
    struct babysitter *b = TAKE(bp);

    if (!b)
        return;
    CHECK(b->asking == 0);
    buf_fini(&b->scratch);
    mem_free(b);
}
