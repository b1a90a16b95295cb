/* SPDX-License-Identifier: Apache-2.0
 *
 * inspect.c - the steps HEAD, BODY and ADMIT: may this client ask, what does it ask, is the body
 * what it must be (fields.c). It is held whole, because nothing may reach an engine before all of
 * it is known to be right. Own replies are written here too.
 *
 * Exports: req_
 */
#include "base/percent.h"
#include "gate/access.h"
#include "gate/choice.h"
#include "gate/lane_priv.h"
#include "gate/request.h"

enum {
    ANNOUNCED_METHOD_BYTES = 32,
    ANNOUNCED_PATH_BYTES = 512,
    ANNOUNCED_BYTES = 1024,
    SHORT_BYTES = 65536
};

void req_reply_fields(struct req *r)
{
    exchange_field(r->x, STR("x-request-id"), r->request_id);
    if (r->queue_position > 0) {
        char digits[12];
        struct buf b = buf_on(digits, sizeof digits);

        buf_u64(&b, r->queue_position);
        exchange_field(r->x, STR("x-inferd-queue-position"), buf_str(&b));
    }
    guard_fields(r);
    if (r->origin.n > 0) {
        exchange_field(r->x, STR("access-control-allow-origin"), r->origin);
        exchange_field(r->x, STR("vary"), STR("Origin"));
    }
}

static void reply(struct req *r, unsigned status, struct str type, struct str body,
                  struct str extra_name, struct str extra)
{
    struct exchange *x = r->x;
    struct iovec iov = {(void *)(uintptr_t)body.p, body.n};

    r->relay.status = status;
    exchange_reply(x, status);
    if (body.n > 0)
        exchange_field(x, STR("content-type"), type);
    if (extra_name.n > 0)
        exchange_field(x, extra_name, extra);
    req_reply_fields(r);
    if (exchange_start(x, status == 204 ? EXCHANGE_NO_BODY : EXCHANGE_LENGTH, body.n) < 0 ||
        (!x->reply_done && exchange_send(x, &iov, 1, true) < 0))
        r->gone = true;
}

void req_reply(struct req *r, unsigned status, struct str body, struct str extra_name,
               struct str extra)
{
    reply(r, status, STR("application/json"), body, extra_name, extra);
}

/* ---- HEAD ---- */

static struct str header(const struct req *r, enum http1_field_id id)
{
    return http1_value(r->x->head, r->x->head_bytes, id);
}

/* A listener whose address a reload took out of the configuration: its connections may go on, but
 * what it allowed by name is not known any more. */
static bool may_ask_nowhere(struct req *r, struct str host)
{
    static const struct listen_conf no_names;
    struct gate_listen any = {.addr = {.family = ADDR_IP6},
                              .conf = &no_names}; /* [::]: any literal */

    if (r->x->peer.family == ADDR_UNIX)
        return true;
    r->x->close = true;
    if (!access_host_allowed(&any, host)) {
        fault_set(&r->fault, FAULT_host_not_allowed, "Host is not this service's");
        return false;
    }
    if (!access_origin_allowed(&any, header(r, HTTP1_ORIGIN), &r->origin)) {
        fault_set(&r->fault, FAULT_origin_not_allowed, "Origin may not call this service");
        return false;
    }
    return true;
}

/* Nothing of the request is echoed: a refusal may end in a log that is not ours. */
static bool may_ask(struct req *r)
{
    const struct http1_head *h = r->x->head;
    uint32_t id = (uint32_t)(uintptr_t)exchange_listener(r->x);
    const struct gate_listen *l = gate_conf_listen(lane_conf(r->snap), id);
    struct str host =
        h->authority.len ? http1_str(r->x->head_bytes, h->authority) : header(r, HTTP1_HOST);

    if (!r->lane->gate->rules->judges_host)
        return true;
    if (!l)
        return may_ask_nowhere(r, host);
    if (!access_host_allowed(l, host)) {
        fault_set(
            &r->fault, FAULT_host_not_allowed,
            "Host is not this service's; `hosts` of the listener names others that are allowed");
        return false;
    }
    if (!access_origin_allowed(l, header(r, HTTP1_ORIGIN), &r->origin)) {
        fault_set(
            &r->fault, FAULT_origin_not_allowed,
            "Origin may not call this service; `origins` of the listener names those that may");
        return false;
    }
    return true;
}

/* The field that asks which others the page may send; empty when there is none. */
static struct str asked_fields(const struct req *r)
{
    const struct http1_head *h = r->x->head;

    for (unsigned i = 0; i < h->nfields; i++)
        if (str_caseeq(http1_str(r->x->head_bytes, h->field[i].name),
                       STR("access-control-request-headers")))
            return http1_str(r->x->head_bytes, h->field[i].value);
    return STR_NONE;
}

/* CORS preflight (Fetch standard, section 3.2): answered here, and only for origins that are
 * listed, so whatever fields their pages want to send may be sent. */
static bool answer_preflight(struct req *r)
{
    struct str fields;

    if (r->x->head->method != HTTP1_OPTIONS || r->origin.n == 0 ||
        header(r, HTTP1_ACCESS_CONTROL_REQUEST_METHOD).n == 0)
        return false;
    fields = asked_fields(r);
    r->relay.status = 204;
    exchange_reply(r->x, 204);
    exchange_field(r->x, STR("access-control-allow-methods"), STR("GET, HEAD, POST, OPTIONS"));
    if (fields.n > 0)
        exchange_field(r->x, STR("access-control-allow-headers"), fields);
    exchange_field(r->x, STR("access-control-max-age"), STR("600"));
    req_reply_fields(r);
    r->gone = exchange_start(r->x, EXCHANGE_NO_BODY, 0) < 0;
    return true;
}

static void find_path(struct req *r)
{
    req_find_where(r);
    r->path = r->lane->gate->api->classify(r->where, &r->kinds);
    if (!path_is_own(r->path) && r->path != PATH_INFERENCE && r->path != PATH_ANY)
        r->passthrough = map_find(&r->snap->snap->passthrough, r->where);
}

/* Escapes are not taken for what they stand for, but they must stand for text. */
static void unknown_path(struct req *r)
{
    size_t n = r->where.n + 1;
    struct buf plain = buf_on(arena_alloc(&r->x->arena, n), n);

    if (percent_decode(&plain, r->where) < 0)
        fault_set(&r->fault, FAULT_invalid_path, "The path is not percent-encoded UTF-8");
    else
        fault_set(&r->fault, FAULT_not_found, "Unknown path");
}

/* Fills r->fault when the method does not fit the path. */
static void check_method(struct req *r)
{
    const struct http1_head *h = r->x->head;
    bool reads = h->method == HTTP1_GET || h->method == HTTP1_HEAD;
    bool known =
        h->method != HTTP1_METHOD_OTHER && h->method != HTTP1_CONNECT && h->method != HTTP1_TRACE;
    bool fits = r->passthrough         ? known
                : path_is_own(r->path) ? reads
                : r->path == PATH_ANY  ? h->method != HTTP1_CONNECT /* it names no path */
                                       : h->method == HTTP1_POST;

    if (!r->passthrough && r->path == PATH_MANAGE)
        fault_set(&r->fault, FAULT_path_not_allowed,
                  "This path manages an engine; that engine's `passthrough` could allow it");
    else if (!r->passthrough && r->path == PATH_UNKNOWN)
        unknown_path(r);
    else if (!fits)
        fault_set(&r->fault, FAULT_method_not_allowed, "Method %.*s is not allowed for this path",
                  STR_ARGS(str_head(http1_str(r->x->head_bytes, h->method_name), 32)));
}

/* Any of the fields may name a coding: an engine would read another body than was inspected. */
static bool is_coded(const struct req *r)
{
    const struct http1_head *h = r->x->head;

    if (!h->known[HTTP1_CONTENT_ENCODING])
        return false;
    for (unsigned i = h->known[HTTP1_CONTENT_ENCODING] - 1U; i < h->nfields; i++) {
        struct str coding = http1_str(r->x->head_bytes, h->field[i].value);

        if (h->field[i].id == HTTP1_CONTENT_ENCODING && coding.n > 0 &&
            !str_caseeq(coding, STR("identity")))
            return true;
    }
    return false;
}

static void check_body_head(struct req *r)
{
    const struct http1_head *h = r->x->head;
    const struct limits *l = lane_conf(r->snap)->limits;

    if (h->has_length && h->content_length > l->body_bytes) {
        metrics_count(&r->lane->shard.limit_body);
        fault_set(&r->fault, FAULT_payload_too_large, "The request body exceeds %llu bytes",
                  (unsigned long long)l->body_bytes);
    } else if (r->path == PATH_INFERENCE && is_coded(r)) {
        fault_set(&r->fault, FAULT_unsupported_media_type,
                  "Content-Encoding is not supported: send the JSON body as it is");
    }
}

enum req_step req_read_head(struct req *r)
{
    if (r->x->fault) {
        r->fault = *r->x->fault;
        return REQ_WAIT; /* the driver sees the fault */
    }
    if (r->x->head->upgrade && r->lane->gate->rules->refuses_upgrade) {
        fault_set(&r->fault, FAULT_not_implemented, "Upgrade is not supported");
        return REQ_WAIT;
    }
    if (!may_ask(r))
        return REQ_WAIT;
    find_path(r);
    if (answer_preflight(r)) /* browsers send no credentials with it */
        return REQ_DONE;
    guard_head(r);
    if (!r->fault.code)
        check_method(r);
    if (!r->fault.code)
        check_body_head(r);
    return r->fault.code ? REQ_WAIT : REQ_BODY;
}

/* ---- BODY ---- */

void req_body_bytes(struct req *r, const char *p, size_t n)
{
    struct gate *g = r->lane->gate;
    const struct limits *l = lane_conf(r->snap)->limits;

    if (r->fault.code)
        return;
    r->buffered += n;
    if (atomic_fetch_add_explicit(&g->buffered, n, memory_order_relaxed) + n > l->buffered_bytes) {
        metrics_count(&r->lane->shard.limit_buffered);
        r->x->close = true;
        req_fault(r, FAULT_overloaded,
                  "Request bodies take all of the %llu bytes that are there for them",
                  (unsigned long long)l->buffered_bytes);
        return;
    }
    if (r->x->body_in > l->body_bytes) {
        metrics_count(&r->lane->shard.limit_body);
        r->x->close = true;
        req_fault(r, FAULT_payload_too_large, "The request body exceeds %llu bytes",
                  (unsigned long long)l->body_bytes);
        return;
    }
    chunkq_append(&r->body, p, n);
    if (!req_scan(r, p, n))
        req_run(r);
}

static enum req_step answer_own(struct req *r)
{
    struct buf *out = &r->lane->scratch;
    struct gate_own q = {
        .snap = r->snap->snap,
        .key = guard_key(r),
        .path = r->where,
        .wall_s = loop_wall_us(r->lane->loop) / 1000000,
        .draining = atomic_load_explicit(&r->lane->gate->draining, memory_order_relaxed),
    };
    unsigned status;

    buf_clear(out);
    status = r->lane->gate->api->own(&q, out, &r->fault);
    if (status == 0)
        return REQ_WAIT;
    if (buf_status(out) < 0) {
        req_say(r, SAY_OWN_TOO_LARGE, NULL);
        return REQ_WAIT;
    }
    req_reply(r, status, buf_str(out), STR_NONE, STR_NONE);
    return REQ_DONE;
}

static enum req_step ask_control(struct req *r)
{
    struct control_mail *m = gate_control_mail(CONTROL_ASK);

    m->lane = r->lane->index;
    m->ticket = r->id;
    m->path = str_span(str_dup(r->where), r->where.n);
    r->asked = true;
    gate_post_control(r->lane->gate, m);
    return REQ_WAIT;
}

/* Long answers whose readers do not take them have the bound that streams have. */
static bool may_answer(struct req *r, size_t n)
{
    uint64_t most = lane_limits(r->lane)->unsent_bytes;

    if (n <= SHORT_BYTES || lane_all_unsent(r->lane) + n <= most)
        return true;
    metrics_count(&r->lane->shard.limit_unsent);
    fault_set(&r->fault, FAULT_overloaded,
              "Clients that do not read hold all of the %llu bytes that are there for them",
              (unsigned long long)most);
    return false;
}

static enum req_step answer_asked(struct req *r)
{
    const struct gate_answer *a = r->answer;

    if (a->status == 0)
        r->fault = a->fault;
    if (a->status == 0 || !may_answer(r, a->body.n))
        return REQ_WAIT;
    reply(r, a->status, a->type, buf_str(&a->body), STR_NONE, STR_NONE);
    return REQ_DONE;
}

void req_answered(struct req *r, const struct gate_answer *a)
{
    if (r->step != REQ_BODY) /* it fails */
        return;
    r->answer = a;
    req_run(r);
}

enum req_step req_read_body(struct req *r)
{
    if (r->path == PATH_ASKED)
        return r->answer ? answer_asked(r) : r->asked ? REQ_WAIT : ask_control(r);
    if (path_is_own(r->path))
        return answer_own(r);
    return r->body_done ? REQ_ADMIT : REQ_WAIT;
}

/* ---- ADMIT ---- */

/* Before an engine is chosen, so that a request that finds none is in the log by its model, too. */
static void announce(struct req *r)
{
    const struct gate_rules *rules = r->lane->gate->rules;
    char text[ANNOUNCED_BYTES] NO_INIT;
    struct buf said = buf_on(text, sizeof text);
    struct log_rec *rec;

    if (!rules->announces || !log_enabled(LOG_INFO))
        return;
    buf_add(&said, STR("Proxying "));
    buf_add(&said,
            str_head(http1_str(r->x->head_bytes, r->x->head->method_name), ANNOUNCED_METHOD_BYTES));
    buf_char(&said, ' ');
    buf_add(&said, str_head(r->where, ANNOUNCED_PATH_BYTES));
    if (r->model.p) {
        buf_add(&said, STR(" (model: "));
        buf_add(&said, r->model);
        buf_char(&said, ')');
    }
    rec = log_begin_str(r->lane->log, LOG_INFO, loop_wall_us(r->lane->loop), rules->name,
                        buf_str(&said));
    log_str(rec, "id", r->request_id);
    log_end(rec);
}

enum req_step req_admit(struct req *r)
{
    lane_unpin(r->lane, &r->snap); /* the body may have taken long: route by the newest picture */
    r->snap = lane_pin(r->lane);
    if (r->passthrough) {
        find_path(r);
        if (!r->passthrough)
            fault_set(&r->fault, FAULT_path_not_allowed, "The engine of this path has gone");
        else
            guard_passthrough(r);
        return r->fault.code ? REQ_WAIT : REQ_ROUTE;
    }
    req_read_fields(r);
    if (!r->fault.code)
        guard_model(r);
    if (r->fault.code)
        return REQ_WAIT;
    req_find_session(r);
    req_make_plan(r);
    announce(r);
    if (r->model.p && !req_is_known(r)) {
        req_say(r, SAY_NO_MODEL, NULL);
        return REQ_WAIT;
    }
    budget_count(&r->lane->gate->budgets[r->lane->index], loop_now_ms(r->lane->loop));
    return REQ_ROUTE;
}
