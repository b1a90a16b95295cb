/* SPDX-License-Identifier: Apache-2.0
 *
 * admin.c - the admin side: HTTP on the ctl socket and on [admin] address, on control's loop, so it
 * answers when the lanes are saturated. Reads (report.c, and the own endpoints of api/) are
 * answered at once; orders go to the master and are answered when it has; logs are read from the
 * unit's ring and followed by a tick.
 *
 *   GET  /status /units /engines /routes /paths /usage /metrics /_inferd/metrics,
 *        and what the data side answers itself
 *
 *   GET  /units/NAME/logs[?follow=1]
 *
 *   POST /units/NAME/start, stop, drain, restart
 *
 *   POST /reload
 *
 * NAME is percent-encoded, so it may hold anything. No web page may reach any of it: an Origin is
 * refused, and on TCP a Host that is a name other than localhost. Whoever has a login reaches the
 * TCP side, and nobody asks who it is: orders, and what engines write, are on the socket alone,
 * whose file has a mode.
 */
#include "base/jsonw.h"
#include "base/percent.h"
#include "gate/access.h"
#include "gate/control_priv.h"
#include "gate/report.h"

enum {
    REPLY_BYTES = 64 << 20,
    TAIL_TICK_MS = 100,
    TAIL_BYTES = 16 * 1024,
    TAIL_HIGH_WATER = 256 * 1024,
    RETRY_AFTER_S = 5,
    ADMIN_CONNECTIONS_MAX = 32, /* half of the descriptors kept for them, engines and the log */
    ADMIN_REFUSED_MAX = 4,      /* that are being told so */
};

/* One admin request; lives in its exchange's arena. */
struct ask {
    struct control *control;
    struct exchange *x;
    struct list node;  /* in control->asks or ->tails, or alone */
    uint32_t ticket;   /* of a question to the master; 0: none */
    uint32_t unit;     /* whose log is read */
    uint64_t at, upto; /* ring positions: behind what was sent, and where a log ends */
    bool follow;       /* it does not end there */
};

static void end(struct ask *a)
{
    list_remove(&a->node);
    exchange_end(a->x);
}

/* `allow` is "" but for a 405. */
static void reply_with(struct ask *a, unsigned status, struct str type, struct str body,
                       struct str allow)
{
    struct exchange *x = a->x;
    struct iovec iov = {(void *)(uintptr_t)body.p, body.n};
    char seconds[12];
    struct buf s = buf_on(seconds, sizeof seconds);

    exchange_reply(x, status);
    exchange_field(x, STR("content-type"), type);
    if (allow.n > 0)
        exchange_field(x, STR("allow"), allow);
    if (status == 503) {
        buf_u64(&s, RETRY_AFTER_S);
        exchange_field(x, STR("retry-after"), buf_str(&s));
    }
    /* a client that has gone meanwhile is not told, and the exchange ends all the same */
    if (exchange_start(x, EXCHANGE_LENGTH, body.n) == 0 && !x->reply_done)
        (void)!exchange_send(x, &iov, 1, true);
    end(a);
}

static void reply_json(struct ask *a, const struct buf *body)
{
    reply_with(a, 200, STR("application/json"), buf_str(body), STR_NONE);
}

static void refuse_with(struct ask *a, const struct fault *f, struct str allow)
{
    struct buf b = buf_make(4096);

    a->control->gate->api->render_fault(f, &b);
    reply_with(a, (unsigned)f->status, STR("application/json"), buf_str(&b), allow);
    buf_fini(&b);
}

static void refuse(struct ask *a, const struct fault *f) { refuse_with(a, f, STR_NONE); }

static void refuse_method(struct ask *a, struct str allow)
{
    struct fault f;

    fault_set(&f, FAULT_method_not_allowed, "This path takes %.*s", STR_ARGS(allow));
    refuse_with(a, &f, allow);
}

/* ---- orders ---- */

static void order(struct ask *a, enum link_verb verb, uint32_t unit)
{
    struct fault f;

    if (a->control->ops->order(a->control->ctx, verb, unit, &a->ticket) < 0) {
        fault_set(&f, FAULT_overloaded, "Too many orders wait for their answer");
        refuse(a, &f);
        return;
    }
    list_append(&a->control->asks, &a->node);
}

static void tell_answer(struct ask *a, int err, struct str text)
{
    struct fault f;

    if (err < 0) {
        enum fault_code code = err == -E_CONF        ? FAULT_bad_request
                               : err == -E_NOT_FOUND ? FAULT_service_not_found
                                                     : FAULT_conflict;

        fault_set(&f, code, "%.*s", STR_ARGS(text));
        refuse(a, &f);
    } else {
        struct buf b = buf_make(8192);
        struct jsonw w = jsonw_make(&b);

        jsonw_begin_object(&w);
        jsonw_key(&w, "message");
        jsonw_str(&w, text.n ? text : STR("done"));
        jsonw_end_object(&w);
        reply_json(a, &b);
        buf_fini(&b);
    }
}

void admin_answer(struct control *c, uint32_t ticket, int err, struct str text)
{
    struct ask *a;

    list_each(a, &c->asks, node)
    {
        if (a->ticket == ticket) {
            tell_answer(a, err, text);
            return;
        }
    }
}

/* ---- logs ---- */

/* The next piece of the log, whole lines after a gap: what was overwritten before it could be sent
 * leaves the rest of a line. */
static struct str read_log(struct ask *a, const struct member *m, char *piece, size_t n)
{
    uint64_t from = a->at;
    struct str text = STR_NONE;
    size_t line;

    if (!m->ring)
        return text;
    n = ring_read(m->ring, &a->at, piece, n);
    text = str_span(piece, n);
    line = str_find(text, '\n');
    if (a->at - n != from && line < n)
        text = str_from(text, line + 1);
    return text;
}

/* Sends what is new; true when the reply is over: the unit is gone, or all that was asked for has
 * been said. */
static bool send_log(struct ask *a)
{
    const struct member *m = member_by_unit(a->control, a->unit);
    char piece[TAIL_BYTES];

    while (exchange_queued(a->x) < TAIL_HIGH_WATER) {
        uint64_t left = a->follow ? sizeof piece : a->at < a->upto ? a->upto - a->at : 0;
        uint64_t from = a->at;
        struct iovec iov;
        struct str text;

        if (!m || left == 0) {
            (void)!exchange_send(a->x, NULL, 0, true);
            return true;
        }
        text = read_log(a, m, piece, min_size(left, sizeof piece));
        iov = (struct iovec){(void *)(uintptr_t)text.p, text.n};
        if (text.n > 0 && exchange_send(a->x, &iov, 1, false) < 0)
            return true;
        if (a->follow && a->at == from)
            return false;
    }
    return false; /* the reader is slow: the next tick goes on */
}

static void on_tail_tick(struct deadline *d)
{
    struct control *c = container_of(d, struct control, tail_tick);
    struct ask *a;

    list_each(a, &c->tails, node) if (send_log(a)) end(a);
    if (!list_empty(&c->tails))
        deadline_arm(c->loop, &c->tail_tick, TAIL_TICK_MS, on_tail_tick);
}

static void begin_log(struct ask *a, const struct member *m, struct str query)
{
    struct control *c = a->control;

    a->unit = m->unit.id;
    a->follow = str_eq(query, STR("follow=1"));
    a->at = 0;
    a->upto = m->ring ? ring_newest(m->ring) : 0;
    exchange_reply(a->x, 200);
    exchange_field(a->x, STR("content-type"), STR("text/plain; charset=utf-8"));
    if (exchange_start(a->x, EXCHANGE_STREAM, 0) < 0 || a->x->reply_done || send_log(a) ||
        exchange_send(a->x, NULL, 0, false) < 0) { /* the head goes out, whatever there is to say */
        end(a);
        return;
    }
    list_append(&c->tails, &a->node);
    if (!deadline_armed(&c->tail_tick))
        deadline_arm(c->loop, &c->tail_tick, TAIL_TICK_MS, on_tail_tick);
}

/* ---- dispatch ---- */

#define READS STR("GET, HEAD")

/* The unit that `escaped` names; NULL with *f filled. */
static struct member *find_unit(struct control *c, struct str escaped, struct fault *f)
{
    char text[LINK_NAME_MAX];
    struct buf name = buf_on(text, sizeof text);
    struct member *m;
    int r = percent_decode(&name, escaped);

    if (r == -E_SYNTAX) {
        fault_set(f, FAULT_invalid_path, "The name is not percent-encoded UTF-8");
        return NULL;
    }
    m = r == 0 ? member_by_name(c, buf_str(&name)) : NULL;
    if (m && m->origin == ENGINE_UNIT && m->unit.id != 0)
        return m;
    if (r < 0)
        fault_set(f, FAULT_service_not_found, "No engine has so long a name");
    else if (!m)
        fault_set(f, FAULT_service_not_found, "There is no engine '%.*s'", (int)name.n, name.p);
    else if (m->origin != ENGINE_UNIT)
        fault_set(f, FAULT_conflict, "Engine '%s' is not a process of this inferd", m->name);
    else
        fault_set(f, FAULT_no_healthy_service, "Engine '%s' is being set up: try again", m->name);
    return NULL;
}

/* "NAME/VERB" */
static void on_unit_path(struct ask *a, struct str path, struct str query, bool post, bool get)
{
    static const struct {
        struct str word;
        enum link_verb verb; /* LINK_VERBS: reads the log */
    } verbs[] = {
        {{"start", 5}, LINK_START},     {{"stop", 4}, LINK_STOP},  {{"drain", 5}, LINK_DRAIN},
        {{"restart", 7}, LINK_RESTART}, {{"logs", 4}, LINK_VERBS},
    };
    struct str escaped = str_cut(&path, '/');
    struct member *m;
    struct fault f;
    size_t i = 0;

    while (i < ARRAY_LEN(verbs) && !str_eq(path, verbs[i].word))
        i++;
    if (i == ARRAY_LEN(verbs)) {
        fault_set(&f, FAULT_not_found, "Unknown path");
        refuse(a, &f);
        return;
    }
    if (verbs[i].verb == LINK_VERBS ? !get : !post) {
        refuse_method(a, verbs[i].verb == LINK_VERBS ? READS : STR("POST"));
        return;
    }
    m = find_unit(a->control, escaped, &f);
    if (!m)
        refuse(a, &f);
    else if (verbs[i].verb == LINK_VERBS)
        begin_log(a, m, query);
    else
        order(a, verbs[i].verb, m->unit.id);
}

/* Appends the body; the type of it, or *f filled. */
static struct str read_path(struct control *c, struct str path, struct buf *out, struct fault *f)
{
    struct gate_own q = {.snap = c->snap,
                         .path = path,
                         .wall_s = loop_wall_us(c->loop) / 1000000,
                         .draining = atomic_load(&c->gate->draining),
                         .admin = true};

    if (str_eq(path, STR("/metrics")) || str_eq(path, STR("/_inferd/metrics"))) {
        if (metrics_render(c->metrics, out) < 0)
            fault_set(f, FAULT_internal_error, "The metrics exceed what one reply may take");
        return STR(METRICS_CONTENT_TYPE);
    }
    if (str_eq(path, STR("/status")))
        report_status(c, out);
    else if (str_eq(path, STR("/units")))
        report_units(c, out);
    else if (str_eq(path, STR("/engines")))
        report_engines(c, out);
    else if (str_eq(path, STR("/paths")))
        report_paths(c->gate->api, out);
    else if (str_eq(path, STR("/usage")))
        report_usage(c, out);
    else if (str_eq(path, STR("/routes")))
        report_routes(c->snap, out);
    else
        (void)c->gate->api->own(&q, out, f);
    return STR("application/json");
}

static void on_read(struct ask *a, struct str path, bool get)
{
    struct fault f = {.code = FAULT_none};
    struct buf b = buf_make(REPLY_BYTES);
    struct str type = read_path(a->control, path, &b, &f);

    if (!f.code && buf_status(&b) < 0)
        fault_set(&f, FAULT_internal_error, "The reply exceeds what one reply may take");
    if (!get && f.code != FAULT_not_found)
        refuse_method(a, READS);
    else if (f.code)
        refuse(a, &f);
    else
        reply_with(a, 200, type, buf_str(&b), STR_NONE);
    buf_fini(&b);
}

static bool is_for_operators(struct str path)
{
    return str_starts(path, STR("/units/")) || str_eq(path, STR("/reload"));
}

static bool may_ask(const struct ask *a, struct str path, struct fault *f)
{
    static const struct listen_conf no_names;
    const struct gate_listen any_address = {
        .addr = {.family = a->x->peer.family == ADDR_UNIX ? ADDR_UNIX : ADDR_IP4},
        .conf = &no_names,
    };
    const struct http1_head *h = a->x->head;
    struct str host = http1_value(h, a->x->head_bytes, HTTP1_HOST);

    if (h->authority.len)
        host = http1_str(a->x->head_bytes, h->authority);
    if (http1_value(h, a->x->head_bytes, HTTP1_ORIGIN).p) {
        fault_set(f, FAULT_origin_not_allowed, "No web page may use the admin side");
        return false;
    }
    if (!access_host_allowed(&any_address, host)) {
        fault_set(f, FAULT_host_not_allowed, "Host is a name other than localhost");
        return false;
    }
    if (a->x->peer.family != ADDR_UNIX && is_for_operators(path)) {
        fault_set(f, FAULT_path_not_allowed, "Orders and logs are on the control socket only");
        return false;
    }
    return true;
}

static void dispatch(struct ask *a)
{
    const struct http1_head *h = a->x->head;
    struct str path, query;
    bool post, get;
    struct fault f;

    if (a->x->fault) {
        refuse(a, a->x->fault);
        return;
    }
    path = http1_str(a->x->head_bytes, h->path);
    query = http1_str(a->x->head_bytes, h->query);
    post = h->method == HTTP1_POST;
    get = h->method == HTTP1_GET || h->method == HTTP1_HEAD;
    if (!may_ask(a, path, &f)) {
        refuse(a, &f);
    } else if (!a->control->snap) {
        fault_set(&f, FAULT_no_healthy_service, "This service is starting");
        refuse(a, &f);
    } else if (str_starts(path, STR("/units/"))) {
        on_unit_path(a, str_from(path, 7), query, post, get);
    } else if (!str_eq(path, STR("/reload"))) {
        on_read(a, path, get);
    } else if (post) {
        order(a, LINK_RELOAD, 0);
    } else {
        refuse_method(a, STR("POST"));
    }
}

static void *on_request(void *server_ctx, struct exchange *x)
{
    struct ask *a = arena_new(&x->arena, struct ask);

    a->control = server_ctx;
    a->x = x;
    list_init(&a->node);
    x->ctx = a;
    if (x->fault)
        dispatch(a); /* no body end will come */
    return a;
}

static void on_body(void *ctx, const char *p, size_t n)
{
    (void)ctx, (void)p, (void)n; /* orders have no body; what is sent is dropped */
}

static void on_body_end(void *ctx) { dispatch(ctx); }

static void on_body_fault(void *ctx, const struct fault *f) { refuse(ctx, f); }

static void on_drained(void *ctx) { (void)ctx; /* the tick goes on */ }

static void on_gone(void *ctx, int err)
{
    (void)err;
    end(ctx);
}

static const struct exchange_owner owner = {
    .on_request = on_request,
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_body_fault = on_body_fault,
    .on_drained = on_drained,
    .on_gone = on_gone,
};

void admin_start(struct control *c)
{
    control_serve(c, &owner, false, &c->admin);
    metrics_source(c->metrics, report_metrics, c);
}

void admin_stop(struct control *c)
{
    deadline_stop(&c->tail_tick);
    server_destroy(&c->admin);
}

void admin_accept(struct control *c, struct ev_fd *fd, const struct addr *peer)
{
    int r = -E_LIMIT;

    if (server_connections(c->admin) < ADMIN_CONNECTIONS_MAX || server_shed_idle(c->admin)) {
        r = server_accept(c->admin, fd, peer, NULL);
    } else {
        c->admin_refused++;
        if (server_connections(c->admin) < ADMIN_CONNECTIONS_MAX + ADMIN_REFUSED_MAX)
            r = server_refuse(c->admin, fd, peer, NULL, FAULT_overloaded, "Too many connections");
    }
    if (r < 0)
        ev_fd_close(fd);
}
