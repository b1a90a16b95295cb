/* SPDX-License-Identifier: Apache-2.0
 *
 * registry.c - see registry.h. A request is looked at when its head is there: what is wrong by then
 * is answered once the body has come and been dropped, or at once when the client waits for leave
 * to send it or sends a lot. Everything else happens in on_body_end(), in one go, but for three
 * things that take time: a name's addresses (vetting), a probe, a long list.
 *
 * registry_end() is the last word on every request.
 */
#include "api/registry.h"

#include "api/registry_priv.h"
#include "api/reply.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "base/percent.h"

enum {
    SCRATCH_BYTES = 64 << 20,
    DROPPED_BYTES_MAX = 4 << 20, /* of a body whose answer is certain: most clients listen only
                                    after they have sent all */
    NAME_TEXT = 200,             /* of a name in a message */
};

static const struct str allows[REGISTRY_ROUTES] = {
    [REGISTRY_UNKNOWN] = {"", 0},
    [REGISTRY_HEALTH] = {"GET, HEAD", 9},
    [REGISTRY_STATS] = {"GET, HEAD", 9},
    [REGISTRY_SERVICES] = {"GET, HEAD, POST", 15},
    [REGISTRY_SERVICE] = {"GET, HEAD, PUT, DELETE", 22},
    [REGISTRY_SERVICE_HEALTH] = {"GET, HEAD", 9},
    [REGISTRY_HEARTBEAT] = {"POST", 4},
    [REGISTRY_METRICS] = {"GET, HEAD", 9},
};
static const char *const route_names[REGISTRY_ROUTES] = {
    "other", "health", "stats", "services", "service", "service_health", "heartbeat", "metrics",
};
static const char *const class_names[6] = {"0", "1xx", "2xx", "3xx", "4xx", "5xx"};
static const struct metrics_label label_route = {"endpoint", REGISTRY_ROUTES, route_names};
static const struct metrics_label label_class = {"class", 6, class_names};
#define REGISTRY_ROW(...) METRICS_ROW(struct registry_counts, __VA_ARGS__)
static const struct metrics_family families[] = {REGISTRY_METRICS(REGISTRY_ROW)};

/* ---- the end of a request ---- */

void registry_end(struct ask *a)
{
    struct registry *g = a->registry;

    if (a->vetting)
        g->asking--;
    metrics_set(&g->counts.asking, g->asking);
    vetting_cancel(&a->vetting);
    prober_forget(&a->wait);
    list_remove(&a->reader);
    records_unlist(g->conf.records, &a->list);
    buf_fini(&a->body);
    exchange_end(a->x);
}

static void count_reply(struct ask *a, unsigned status)
{
    metrics_count(&a->registry->counts.requests[a->route][status / 100]);
}

void registry_refuse(struct ask *a, const struct fault *f)
{
    count_reply(a, (unsigned)f->status);
    reply_fault(a->x, f, f->code == FAULT_method_not_allowed ? a->allow : STR_NONE);
    registry_end(a);
}

/* What was written into the scratch buffer is the reply. */
static void answer(struct ask *a, unsigned status, struct str type)
{
    struct buf *out = &a->registry->scratch;
    struct fault f;

    if (buf_status(out) < 0) {
        buf_clear(out);
        fault_set(&f, FAULT_internal_error, "The reply exceeds what one reply may take");
        registry_refuse(a, &f);
        return;
    }
    count_reply(a, status);
    reply_whole(a->x, status, type, buf_str(out));
    buf_clear(out);
    registry_end(a);
}

static void answer_json(struct ask *a, unsigned status)
{
    answer(a, status, STR("application/json"));
}

static uint64_t wall_s(const struct ask *a) { return loop_wall_us(a->x->loop) / 1000000; }

static void put_now(struct ask *a, struct jsonw *w)
{
    char memory[40];
    struct buf b = buf_on(memory, sizeof memory);

    records_write_time(&b, wall_s(a));
    jsonw_key(w, "timestamp");
    jsonw_str(w, buf_str(&b));
}

static void refuse_unknown(struct ask *a)
{
    struct fault f;

    fault_set(&f, FAULT_service_not_found, "Service '%.*s' not found",
              (int)str_utf8_cut(a->name, NAME_TEXT), a->name.p);
    registry_refuse(a, &f);
}

/* ---- log ---- */

static struct log_rec *say(const struct registry *g, enum log_level level, const char *what,
                           struct str name)
{
    struct log_rec *r = log_begin(g->conf.log, level, loop_wall_us(g->conf.loop), "registry", what);

    log_str(r, "name", name);
    return r;
}

static void say_service(const struct registry *g, const char *what, const struct record *s,
                        const struct addr *peer)
{
    struct log_rec *r = say(g, LOG_INFO, what, s->name);
    char memory[ADDR_TEXT_MAX];
    struct buf from = buf_on(memory, sizeof memory);

    log_str(r, "host", s->host);
    log_u64(r, "port", s->port);
    log_str(r, "status", s->status);
    if (peer) {
        addr_write(peer, &from);
        log_str(r, "peer", buf_str(&from));
    }
    log_end(r);
}

void registry_on_probed(void *ctx, const struct record *s)
{
    struct log_rec *r = say(ctx, LOG_INFO, "probed", s->name);

    log_text(r, "health_status", records_probed_text(s->probed));
    log_end(r);
}

void registry_on_silent(void *ctx, const struct record *s)
{
    struct registry *g = ctx;

    metrics_count(&g->counts.silent);
    log_end(say(g, LOG_INFO, "removed: no heartbeat for 300 s", s->name));
}

static void say_odd(const struct ask *a, unsigned odd, struct str name)
{
    if (odd == 0)
        return;
    metrics_add(&a->registry->counts.odd_weights, odd);
    log_end(say(a->registry, LOG_WARN,
                "a weight is ignored: it must be an integer within 0 and 1000000", name));
}

/* ---- reads ---- */

static void on_health(struct ask *a)
{
    const struct records *t = a->registry->conf.records;
    struct jsonw w = jsonw_make(&a->registry->scratch);

    jsonw_begin_object(&w);
    jsonw_key(&w, "healthy_services");
    jsonw_u64(&w, records_healthy(t));
    jsonw_key(&w, "registered_services");
    jsonw_u64(&w, records_count(t));
    jsonw_key(&w, "registry");
    jsonw_cstr(&w, "running");
    jsonw_key(&w, "status");
    jsonw_cstr(&w, "healthy");
    put_now(a, &w);
    jsonw_end_object(&w);
    answer_json(a, 200);
}

static void count_word(struct json *object, struct str word)
{
    struct json *n;
    int64_t was = 0;

    (void)json_get_i64(json_find(object, word), &was);
    n = json_new_i64(was + 1);
    json_put(object, word, &n);
}

static void put_i64(struct json *object, const char *key, uint64_t v)
{
    struct json *n = json_new_i64((int64_t)v);

    json_put(object, str_of(key), &n);
}

static void on_stats(struct ask *a)
{
    struct registry *g = a->registry;
    const struct records *t = g->conf.records;
    struct json *all = json_new_object(), *hosts = json_new_object(), *states = json_new_object();
    struct json *now;
    char memory[40];
    struct buf b = buf_on(memory, sizeof memory);
    size_t healthy = records_healthy(t), total = records_count(t);

    for (struct record *r = records_after(t, STR("")); r; r = records_after(t, r->name)) {
        count_word(hosts, r->host);
        count_word(states, r->status);
    }
    records_write_time(&b, wall_s(a));
    now = json_new_str(buf_str(&b));
    put_i64(all, "healthy_services", healthy);
    put_i64(all, "total_services", total);
    put_i64(all, "unhealthy_services", total - healthy);
    put_i64(all, "uptime", (loop_now_us(a->x->loop) - g->start_us) / 1000000);
    json_put(all, STR("host_distribution"), &hosts);
    json_put(all, STR("status_distribution"), &states);
    json_put(all, STR("timestamp"), &now);
    json_write(all, &g->scratch);
    json_unref(&all);
    answer_json(a, 200);
}

static void on_metrics(struct ask *a)
{
    struct registry *g = a->registry;

    (void)!metrics_render(g->conf.metrics, &g->scratch); /* answer() sees a full buffer */
    answer(a, 200, STR(METRICS_CONTENT_TYPE));
}

static void on_record(struct ask *a)
{
    const struct record *r = records_find(a->registry->conf.records, a->name);

    if (!r) {
        refuse_unknown(a);
        return;
    }
    buf_add(&a->registry->scratch, records_text(r));
    answer_json(a, 200);
}

static void answer_health(struct ask *a)
{
    const struct record *r = records_find(a->registry->conf.records, a->name);
    struct jsonw w = jsonw_make(&a->registry->scratch);
    char memory[40];
    struct buf beat = buf_on(memory, sizeof memory);

    if (!r) {
        refuse_unknown(a);
        return;
    }
    records_write_beat(&beat, r);
    jsonw_begin_object(&w);
    jsonw_key(&w, "health_status");
    jsonw_cstr(&w, records_probed_text(r->probed));
    jsonw_key(&w, "is_healthy");
    jsonw_bool(&w, r->healthy);
    jsonw_key(&w, "last_heartbeat");
    jsonw_raw(&w, buf_str(&beat));
    jsonw_key(&w, "service");
    jsonw_str(&w, r->name);
    put_now(a, &w);
    jsonw_end_object(&w);
    answer_json(a, 200);
}

static void on_probed(struct prober_wait *w) { answer_health(container_of(w, struct ask, wait)); }

static void on_record_health(struct ask *a)
{
    struct record *r = records_find(a->registry->conf.records, a->name);
    struct fault f;

    if (!r) {
        refuse_unknown(a);
        return;
    }
    a->wait.fn = on_probed;
    if (prober_ask(a->registry->conf.prober, r, &a->wait) < 0) {
        fault_set(&f, FAULT_overloaded, "Too many probes at once");
        registry_refuse(a, &f);
    }
}

/* ---- writes ---- */

static void put_done(struct ask *a, struct jsonw *w, struct str name, const char *what)
{
    char memory[RECORDS_NAME_BYTES + 64];
    struct buf text = buf_on(memory, sizeof memory);

    (void)a;
    buf_text(&text, "Service '");
    buf_add(&text, name);
    buf_printf(&text, "' %s successfully", what);
    jsonw_key(w, "message");
    jsonw_str(w, buf_str(&text));
}

static void answer_done(struct ask *a, unsigned status, const char *what, const struct record *r)
{
    struct jsonw w = jsonw_make(&a->registry->scratch);

    jsonw_begin_object(&w);
    put_done(a, &w, r ? r->name : a->name, what);
    if (r) {
        jsonw_key(&w, "service");
        jsonw_raw(&w, records_text(r));
    }
    jsonw_end_object(&w);
    answer_json(a, status);
}

static void refuse_full(struct ask *a)
{
    struct fault f;

    fault_set(&f, FAULT_table_full, "The table of services is full");
    registry_refuse(a, &f);
}

static void refuse_host(struct ask *a, int err, const char *what)
{
    struct fault f;

    if (err == -E_NO_FDS || err == -E_NO_MEM)
        fault_set(&f, FAULT_overloaded, "The name in '%s' cannot be looked up now", what);
    else
        fault_set(&f, FAULT_host_not_allowed, "The host of '%s' may not be registered here%s", what,
                  err == -E_PERM ? "" : ": its address is not known");
    memcpy(f.param, what, strlen(what));
    log_end(say(a->registry, LOG_WARN, "refused: host not allowed",
                a->fields.name.p ? a->fields.name : a->name));
    registry_refuse(a, &f);
}

static void refuse_port(struct ask *a, const char *what)
{
    struct fault f;

    fault_set(&f, FAULT_host_not_allowed, "The port of '%s' may not be registered here", what);
    memcpy(f.param, what, strlen(what));
    log_end(say(a->registry, LOG_WARN, "refused: port not allowed",
                a->fields.name.p ? a->fields.name : a->name));
    registry_refuse(a, &f);
}

static bool may_lead_to(const struct ask *a, const struct records_pins *pins, int32_t port)
{
    return hosts_port_allowed(a->registry->conf.hosts, pins ? pins->at : NULL, pins ? pins->n : 0,
                              (uint16_t)port);
}

/* Where the record would lead: to the service, its babysitter, its url. `r`: what it is now, NULL
 * for a registration. True when one of them is refused; the reply is on its way. */
static bool leads_astray(struct ask *a, const struct record *r, const struct vetting_pins *pins)
{
    const struct records_fields *c = &a->fields;
    int32_t port = c->port;
    struct str host, url = c->url;
    uint16_t of_url;

    if (port < 0 || !url.p) { /* a registration says both */
        CHECK(r);
        port = port < 0 ? r->port : port;
        url = url.p ? url : r->url;
    }
    if (!may_lead_to(a, pins->host, port) ||
        ((c->metadata.p ? c->openai : r && r->openai) && !may_lead_to(a, pins->host, port + 1)))
        refuse_port(a, "port");
    else if (hosts_of_url(url, &host, &of_url) && !may_lead_to(a, pins->url, of_url))
        refuse_port(a, "url");
    else
        return false;
    return true;
}

static void register_now(struct ask *a, struct vetting_pins *pins)
{
    struct registry *g = a->registry;
    struct record *r;

    if (leads_astray(a, NULL, pins))
        return;
    if (records_register(g->conf.records, &a->fields, &pins->host, &pins->url, &r) < 0) {
        refuse_full(a);
        return;
    }
    metrics_count(&g->counts.registered);
    say_service(g, "registered", r, &a->x->peer);
    answer_done(a, 201, "registered", r);
}

static void change_now(struct ask *a, bool aimed, struct vetting_pins *pins)
{
    struct registry *g = a->registry;
    struct record *r = records_find(g->conf.records, a->name);
    struct vetting_pins now = *pins;

    if (r && !aimed)
        now = (struct vetting_pins){r->host_pins, r->url_pins};
    if (!r) {
        refuse_unknown(a);
    } else if (leads_astray(a, r, &now)) {
        return;
    } else if (records_change(g->conf.records, r, &a->fields, aimed, &pins->host, &pins->url) < 0) {
        refuse_full(a);
    } else {
        say_service(g, "updated", r, &a->x->peer);
        answer_done(a, 200, "updated", r);
    }
}

static void on_vetted(void *ctx, int err, const char *what, struct vetting_pins *pins)
{
    struct ask *a = ctx;

    a->vetting = NULL;
    a->registry->asking--;
    records_at(a->registry->conf.records, loop_now_ms(a->x->loop), wall_s(a));
    if (err < 0)
        refuse_host(a, err, what);
    else if (a->route == REGISTRY_SERVICES)
        register_now(a, pins);
    else
        change_now(a, true, pins);
}

static void vet(struct ask *a, struct str host, struct str url)
{
    struct registry *g = a->registry;
    struct fault f;

    if (g->asking >= REGISTRY_NAMES_ASKED) {
        fault_set(&f, FAULT_overloaded, "Too many names are being looked up");
        registry_refuse(a, &f);
        return;
    }
    g->asking++; /* on_vetted() takes it back, perhaps before this returns */
    vetting_start(a->x->loop, g->conf.hosts, host, url, on_vetted, a, &a->vetting);
}

static void on_register(struct ask *a)
{
    struct fault f;
    unsigned odd;

    if (!registry_read_fields(buf_str(&a->body), true, &a->x->arena, &a->fields, &odd, &f)) {
        registry_refuse(a, &f);
        return;
    }
    say_odd(a, odd, a->fields.name);
    vet(a, a->fields.host, a->fields.url);
}

static void on_change(struct ask *a)
{
    struct vetting_pins none = {NULL, NULL};
    const struct records_fields *c = &a->fields;
    const struct record *r;
    struct fault f;
    unsigned odd;

    if (!registry_read_fields(buf_str(&a->body), false, &a->x->arena, &a->fields, &odd, &f)) {
        registry_refuse(a, &f);
        return;
    }
    r = records_find(a->registry->conf.records, a->name);
    if (!r) {
        refuse_unknown(a);
        return;
    }
    if (!registry_read_ports(c->metadata.p ? c->openai : r->openai, c->port < 0 ? r->port : c->port,
                             &f)) {
        registry_refuse(a, &f);
        return;
    }
    say_odd(a, odd, a->name);
    if (c->host.p || c->url.p)
        vet(a, c->host.p ? c->host : r->host, c->url.p ? c->url : r->url);
    else
        change_now(a, false, &none);
}

static void on_remove(struct ask *a)
{
    struct registry *g = a->registry;
    struct record *r = records_find(g->conf.records, a->name);

    if (!r) {
        refuse_unknown(a);
        return;
    }
    metrics_count(&g->counts.unregistered);
    say_service(g, "unregistered", r, &a->x->peer);
    records_remove(g->conf.records, r);
    answer_done(a, 200, "unregistered", NULL);
}

static void on_heartbeat(struct ask *a)
{
    struct registry *g = a->registry;
    struct record *r = records_find(g->conf.records, a->name);
    struct jsonw w = jsonw_make(&g->scratch);
    struct str status = STR_NONE;

    if (!r) {
        refuse_unknown(a);
        return;
    }
    if (registry_read_is_json(http1_value(a->x->head, a->x->head_bytes, HTTP1_CONTENT_TYPE)))
        status = registry_read_beat(buf_str(&a->body), &a->x->arena);
    if (records_beat(g->conf.records, r, status) < 0) {
        refuse_full(a);
        return;
    }
    metrics_count(&g->counts.beats);
    jsonw_begin_object(&w);
    jsonw_key(&w, "message");
    jsonw_cstr(&w, "Heartbeat received");
    put_now(a, &w);
    jsonw_end_object(&w);
    answer_json(a, 200);
}

/* ---- the head ---- */

static bool method_fits(struct str allow, struct str method)
{
    while (allow.n > 0)
        if (str_eq(str_trim(str_cut(&allow, ',')), method))
            return true;
    return false;
}

/* "/services/NAME", "/services/NAME/health", "/services/NAME/heartbeat"; *escaped is the name. */
static enum registry_route find_service_route(struct str path, struct str *escaped)
{
    struct str rest = str_from(path, 10);

    if (!str_starts(path, STR("/services/")))
        return REGISTRY_UNKNOWN;
    *escaped = str_cut(&rest, '/');
    if (escaped->n == 0)
        return REGISTRY_UNKNOWN;
    if (!rest.p)
        return REGISTRY_SERVICE;
    if (str_eq(rest, STR("health")))
        return REGISTRY_SERVICE_HEALTH;
    return str_eq(rest, STR("heartbeat")) ? REGISTRY_HEARTBEAT : REGISTRY_UNKNOWN;
}

static enum registry_route find_route(struct str path, struct str *escaped)
{
    static const struct {
        struct str path;
        enum registry_route route;
    } whole[] = {
        {{"/services", 9}, REGISTRY_SERVICES},
        {{"/health", 7}, REGISTRY_HEALTH},
        {{"/stats", 6}, REGISTRY_STATS},
        {{"/metrics", 8}, REGISTRY_METRICS},
        {{"/_inferd/metrics", 16}, REGISTRY_METRICS},
    };

    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        if (str_eq(path, whole[i].path))
            return whole[i].route;
    return find_service_route(path, escaped);
}

static bool is_read(const struct ask *a)
{
    return a->x->head->method == HTTP1_GET || a->x->head->method == HTTP1_HEAD;
}

static bool read_path(struct ask *a)
{
    const struct http1_head *h = a->x->head;
    struct str path = http1_str(a->x->head_bytes, h->path), escaped = STR_NONE;
    struct buf name = buf_make(path.n + 1);
    int r = 0;

    a->route = find_route(path, &escaped);
    a->allow = allows[a->route];
    if (escaped.p) {
        r = percent_decode(&name, escaped);
        a->name = arena_str(&a->x->arena, buf_str(&name));
        buf_fini(&name);
    }
    if (r < 0)
        fault_set(&a->fault, FAULT_invalid_path, "The path is not percent-encoded UTF-8");
    else if (a->route == REGISTRY_UNKNOWN)
        fault_set(&a->fault, FAULT_not_found, "Unknown path");
    else if (!method_fits(a->allow, http1_str(a->x->head_bytes, h->method_name)))
        fault_set(&a->fault, FAULT_method_not_allowed, "This path takes %.*s", STR_ARGS(a->allow));
    return a->fault.code == FAULT_none;
}

static bool has_token(const struct ask *a)
{
    struct str sent = http1_value(a->x->head, a->x->head_bytes, HTTP1_AUTHORIZATION);

    return str_caseeq(str_head(sent, 7), STR("Bearer ")) &&
           digest_equal(str_trim(str_from(sent, 7)), a->registry->conf.token);
}

/* All that the head decides; the fault is in a->fault. */
static void read_head(struct ask *a)
{
    const struct http1_head *h = a->x->head;
    bool document;

    if (!read_path(a))
        return;
    document = h->method == HTTP1_PUT || a->route == REGISTRY_SERVICES;
    a->want_body = !is_read(a) && h->method != HTTP1_DELETE;
    if (!is_read(a) && a->registry->conf.token.n > 0 && !has_token(a))
        fault_set(&a->fault, FAULT_invalid_registry_token,
                  "The registry's token is missing or wrong");
    else if (a->want_body && document &&
             !registry_read_is_json(http1_value(h, a->x->head_bytes, HTTP1_CONTENT_TYPE)))
        fault_set(&a->fault, FAULT_unsupported_media_type,
                  "The body's content type must be application/json");
    else if (a->want_body && h->has_length && h->content_length > REGISTRY_BODY_BYTES)
        fault_set(&a->fault, FAULT_payload_too_large, "The body is over %d bytes",
                  REGISTRY_BODY_BYTES);
}

static void dispatch(struct ask *a)
{
    const struct http1_head *h = a->x->head;

    switch (a->route) {
    case REGISTRY_HEALTH:
        on_health(a);
        return;
    case REGISTRY_STATS:
        on_stats(a);
        return;
    case REGISTRY_SERVICES:
        if (is_read(a))
            registry_list_start(a, http1_str(a->x->head_bytes, h->query));
        else
            on_register(a);
        return;
    case REGISTRY_SERVICE:
        (is_read(a) ? on_record : h->method == HTTP1_PUT ? on_change : on_remove)(a);
        return;
    case REGISTRY_SERVICE_HEALTH:
        on_record_health(a);
        return;
    case REGISTRY_HEARTBEAT:
        on_heartbeat(a);
        return;
    case REGISTRY_METRICS:
        on_metrics(a);
        return;
    case REGISTRY_UNKNOWN:
    case REGISTRY_ROUTES:
        break;
    }
    CHECK(!"a fault was found for it");
}

/* ---- the exchange's owner ---- */

static void *on_request(void *server_ctx, struct exchange *x)
{
    struct ask *a = arena_new(&x->arena, struct ask);

    a->registry = server_ctx;
    a->x = x;
    a->body = buf_make(REGISTRY_BODY_BYTES);
    list_init(&a->reader);
    list_init(&a->wait.node);
    if (x->fault)
        a->fault = *x->fault;
    else
        read_head(a);
    if (a->fault.code && (x->fault || x->head->expect_continue ||
                          (x->head->has_length && x->head->content_length > DROPPED_BYTES_MAX)))
        registry_refuse(a, &a->fault);
    return a;
}

static void on_body(void *ctx, const char *p, size_t n)
{
    struct ask *a = ctx;

    if (!a->fault.code && a->want_body)
        buf_bytes(&a->body, p, n);
    if (!a->fault.code && a->x->body_in > REGISTRY_BODY_BYTES)
        fault_set(&a->fault, FAULT_payload_too_large, "The body is over %d bytes",
                  REGISTRY_BODY_BYTES);
    if (a->x->body_in > DROPPED_BYTES_MAX)
        registry_refuse(a, &a->fault);
}

static void on_body_end(void *ctx)
{
    struct ask *a = ctx;

    records_at(a->registry->conf.records, loop_now_ms(a->x->loop), wall_s(a));
    if (a->fault.code)
        registry_refuse(a, &a->fault);
    else
        dispatch(a);
}

static void on_body_fault(void *ctx, const struct fault *f) { registry_refuse(ctx, f); }

static void on_drained(void *ctx)
{
    struct ask *a = ctx;

    if (a->list)
        registry_list_go_on(a);
}

static void on_gone(void *ctx, int err)
{
    (void)err;
    registry_end(ctx);
}

const struct exchange_owner *registry_owner(void)
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

static void put_gauge(struct buf *out, const char *name, const char *help, size_t v)
{
    metrics_put_head(out, METRICS_GAUGE, name, help);
    metrics_put_i64(out, name, NULL, 0, (int64_t)v);
}

static void on_render(void *ctx, struct buf *out)
{
    const struct records *t = ((const struct registry *)ctx)->conf.records;

    put_gauge(out, "inferd_registry_services", "Services registered.", records_count(t));
    put_gauge(out, "inferd_registry_healthy_services", "Services that run and are heard of.",
              records_healthy(t));
    put_gauge(out, "inferd_registry_held_list_bytes",
              "Lists out of date that somebody still reads.", records_held_bytes(t));
}

void registry_create(const struct registry_conf *conf, struct registry **ret)
{
    struct registry *g = xnew(struct registry, .conf = *conf);

    list_init(&g->readers);
    g->scratch = buf_make(SCRATCH_BYTES);
    g->start_us = loop_now_us(conf->loop);
    METRICS_REGISTER(conf->metrics, families, &g->counts);
    metrics_source(conf->metrics, on_render, g);
    *ret = g;
}

void registry_destroy(struct registry **gp)
{
    struct registry *g = TAKE(gp);

    if (!g)
        return;
    CHECK(list_empty(&g->readers) && g->asking == 0);
    buf_fini(&g->scratch);
    mem_free(g);
}
