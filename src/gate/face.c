/* SPDX-License-Identifier: Apache-2.0
 *
 * face.c - what other machines are told about this one on the port behind the advertised one: the
 * fabric's registries and routers judge whoever is registered at P by GET /health at P + 1, as they
 * would ask a babysitter. It is 200 while some engine serves. No keys are asked for, so nothing is
 * told that the registry does not tell, either.
 *
 *   GET /health /models /info
 */
#include "base/jsonw.h"
#include "gate/control_priv.h"

enum { REPLY_BYTES = 8 << 20, URL_BYTES = 320, CONNECTIONS_MAX = 256, RETRY_AFTER_S = 5 };

static bool serves(const struct control *c)
{
    if (atomic_load(&c->gate->draining))
        return false;
    for (uint32_t i = 0; c->snap && i < c->snap->nengines; i++)
        if (snapshot_serves(&c->snap->engines[i]))
            return true;
    return false;
}

static void put_port(const struct control *c, struct jsonw *w)
{
    jsonw_key(w, "infinilm_server_port");
    if (serves(c))
        jsonw_u64(w, c->settings.registry->shown.port);
    else
        jsonw_null(w);
}

static void put_status(const struct control *c, struct jsonw *w)
{
    jsonw_key(w, "status");
    jsonw_cstr(w, atomic_load(&c->gate->draining) ? "stopping"
                  : serves(c)                     ? "healthy"
                                                  : "unhealthy");
}

static unsigned write_health(struct control *c, struct buf *out)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    jsonw_key(&w, "babysitter");
    jsonw_cstr(&w, "inferd");
    put_port(c, &w);
    jsonw_key(&w, "infinilm_server_ready");
    jsonw_bool(&w, serves(c));
    jsonw_key(&w, "infinilm_server_running");
    jsonw_bool(&w, true);
    jsonw_key(&w, "service");
    jsonw_str(&w, c->settings.registry->name);
    put_status(c, &w);
    jsonw_key(&w, "timestamp");
    jsonw_u64(&w, loop_wall_us(c->loop) / 1000000);
    jsonw_end_object(&w);
    return serves(c) ? 200 : 503;
}

static unsigned write_info(struct control *c, struct buf *out)
{
    const struct registry_settings *s = c->settings.registry;
    bool ip6 = str_find(s->shown.host, ':') < s->shown.host.n;
    char memory[URL_BYTES];
    struct buf url = buf_on(memory, sizeof memory);
    struct jsonw w = jsonw_make(out);

    buf_printf(&url, ip6 ? "http://[%.*s]:%u" : "http://%.*s:%u", STR_ARGS(s->shown.host),
               s->shown.port + 1U);

    jsonw_begin_object(&w);
    jsonw_key(&w, "babysitter");
    jsonw_cstr(&w, "inferd");
    jsonw_key(&w, "host");
    jsonw_str(&w, s->shown.host);
    put_port(c, &w);
    jsonw_key(&w, "name");
    jsonw_str(&w, s->name);
    jsonw_key(&w, "port");
    jsonw_u64(&w, s->shown.port + 1U);
    jsonw_key(&w, "service");
    jsonw_str(&w, s->name);
    put_status(c, &w);
    jsonw_key(&w, "url");
    jsonw_str(&w, buf_str(&url));
    jsonw_end_object(&w);
    return 200;
}

static unsigned write_models(struct control *c, struct buf *out, struct fault *f)
{
    struct gate_own q = {
        .snap = c->snap, .path = STR("/v1/models"), .wall_s = loop_wall_us(c->loop) / 1000000};

    return c->gate->api->own(&q, out, f);
}

static bool is_known(struct str path)
{
    return str_eq(path, STR("/health")) || str_eq(path, STR("/info")) ||
           str_eq(path, STR("/models"));
}

/* The status; 0 with *f filled. */
static unsigned answer(struct control *c, const struct exchange *x, struct buf *out,
                       struct fault *f)
{
    struct str path;

    if (x->fault) {
        *f = *x->fault;
        return 0;
    }
    CHECK(x->head);
    path = http1_str(x->head_bytes, x->head->path);
    if (!is_known(path))
        fault_set(f, FAULT_not_found, "There is no such path");
    else if (x->head->method != HTTP1_GET && x->head->method != HTTP1_HEAD)
        fault_set(f, FAULT_method_not_allowed, "This path takes GET");
    else if (!c->snap || !c->settings.registry)
        fault_set(f, FAULT_no_healthy_service, "This service is starting");
    else if (str_eq(path, STR("/health")))
        return write_health(c, out);
    else
        return str_eq(path, STR("/info")) ? write_info(c, out) : write_models(c, out, f);
    return 0;
}

/* A client that has gone meanwhile is not told, and the exchange ends all the same. */
static void send_json(struct exchange *x, unsigned status, const struct buf *body)
{
    struct iovec iov = {(void *)(uintptr_t)body->p, body->n};

    exchange_reply(x, status);
    exchange_field(x, STR("content-type"), STR("application/json"));
    if (status == 405)
        exchange_field(x, STR("allow"), STR("GET, HEAD"));
    if (exchange_start(x, EXCHANGE_LENGTH, body->n) == 0 && !x->reply_done)
        (void)!exchange_send(x, &iov, 1, true);
}

static void reply(struct control *c, struct exchange *x)
{
    struct buf out = buf_make(REPLY_BYTES);
    struct fault f = {.code = 0};
    unsigned status = answer(c, x, &out, &f);

    if (status == 0 || buf_status(&out) < 0) {
        if (status != 0)
            fault_set(&f, FAULT_internal_error, "The reply exceeds what one reply may take");
        status = (unsigned)f.status;
        buf_clear(&out);
        c->gate->api->render_fault(&f, &out);
    }
    send_json(x, status, &out);
    buf_fini(&out);
    exchange_end(x);
}

static void *on_request(void *server_ctx, struct exchange *x)
{
    x->ctx = x;
    if (x->fault)
        reply(server_ctx, x); /* no body end will come */
    return x;
}

static void on_body(void *ctx, const char *p, size_t n) { (void)ctx, (void)p, (void)n; }

static void on_body_end(void *ctx)
{
    struct exchange *x = ctx;

    reply(x->server_ctx, x);
}

static void on_body_fault(void *ctx, const struct fault *f)
{
    (void)f;
    exchange_kill(ctx, false);
    exchange_end(ctx);
}

static void on_drained(void *ctx) { (void)ctx; }

static void on_gone(void *ctx, int err)
{
    (void)err;
    exchange_end(ctx);
}

static const struct exchange_owner owner = {
    .on_request = on_request,
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_body_fault = on_body_fault,
    .on_drained = on_drained,
    .on_gone = on_gone,
};

void face_start(struct control *c) { control_serve(c, &owner, true, &c->face); }

void face_stop(struct control *c) { server_destroy(&c->face); }

void face_accept(struct control *c, struct ev_fd *fd, const struct addr *peer)
{
    int r = -E_LIMIT;

    if (server_connections(c->face) < CONNECTIONS_MAX || server_shed_idle(c->face))
        r = server_accept(c->face, fd, peer, NULL);
    (void)r; /* the listener closes what is not taken */
}
