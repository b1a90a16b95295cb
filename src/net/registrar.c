/* SPDX-License-Identifier: Apache-2.0
 *
 * registrar.c - see registrar.h. A name is a small machine: what it would say next follows from
 * three facts (next_call()), `due` says when, and one call at a time says it.
 *
 *   leaving          DELETE if a POST ever went out, then it is gone
 *   !registered      POST; when it fails again after 2 s, doubling to 30
 *   registered       beat, one interval after the last call began; a beat that told something new
 *                    and failed goes again like a POST
 *
 * `changed` is what the registry has not been told yet. It is set by the owner, taken along by the
 * call that tells it and put back when that fails; while it is set the next call does not wait for
 * the interval.
 */
#include "net/registrar.h"

#include "base/jsonw.h"
#include "base/mem.h"
#include "base/percent.h"
#include "ev/deadline.h"
#include "net/fetch.h"

enum {
    CONNECT_MS = 2000,
    CALL_MS = 5000,
    RETRY_MS = 2000,
    RETRY_MAX_MS = 30000,
    HURRY_MS = 500, /* a change waits so long for the call under way */
    LEAVE_MS = 1000,
    IDLE_MS = 90000,
    IDLE_MAX = 8,
    CALLS_MAX = 64, /* at once; more names wait for their turn */
    HEAD_BYTES = 16 << 10,
    REPLY_BYTES = 64 << 10,
    NAME_BYTES_MAX = 256,
    PATH_BYTES = 1024,       /* "/services/<name>/heartbeat", every byte of the name escaped */
    RECORD_BYTES = 32 << 10, /* without its metadata, every byte escaped */
};

struct registrar {
    struct loop *loop;
    struct registrar_conf conf;
    char *url_text, *token;
    struct client *client;
    struct pool *pool;
    struct list names;
    struct list waiting; /* those that would call, and may not yet */
    unsigned calls;      /* under way */
    struct deadline left;
    void (*done)(void *ctx); /* of registrar_leave() */
    void *done_ctx;
    struct grave grave;
};

struct registrar_name {
    struct registrar *registrar;
    struct list node; /* in registrar->names */
    struct list turn; /* in registrar->waiting, or alone */
    void *ctx;
    char *name;
    char *host, *hostname, *url, *metadata, *status; /* NULL before registrar_put() */
    uint16_t port;
    int64_t weight;
    struct fetch *fetch;
    enum registrar_call call; /* under way */
    struct deadline due;      /* the next call */
    struct deadline hurry;    /* the call under way is given up */
    struct deadline leave;    /* the name is */
    uint32_t retry_ms;        /* the last pause behind a failure; 0: the last call went well */
    bool registered;
    bool posted;       /* a POST went out: it may be there */
    bool leaving;      /* the owner has dropped it */
    bool changed;      /* since the call under way, or the last one, began */
    bool took_changes; /* the call under way tells them */
    bool late;         /* the next call was due while this one was under way */
    bool given_up;     /* one_try: beats find out */
    bool troubled;     /* the last call failed, like this: */
    unsigned bad_status;
    int bad_err;
};

#define REGISTRAR_ROW(...) METRICS_ROW(struct registrar_counts, __VA_ARGS__)
static const struct metrics_family families[] = {REGISTRAR_METRICS(REGISTRAR_ROW)};

static void go(struct registrar_name *n);

static void end_call(struct registrar_name *n)
{
    if (n->call != REGISTRAR_NOTHING)
        n->registrar->calls--;
    n->call = REGISTRAR_NOTHING;
}

static void run_waiting(struct registrar *r)
{
    struct list *first;

    while (r->calls < CALLS_MAX && (first = list_shift(&r->waiting)))
        go(list_entry(first, struct registrar_name, turn));
}

static void set_registered(struct registrar_name *n, bool on)
{
    if (n->registered != on)
        metrics_move(&n->registrar->conf.counts->registered, on ? 1 : -1);
    n->registered = on;
}

/* ---- the end of a name ---- */

static void on_left(struct deadline *d)
{
    struct registrar *r = container_of(d, struct registrar, left);

    r->done(r->done_ctx);
}

static void clear_record(struct registrar_name *n)
{
    mem_free(n->host);
    mem_free(n->hostname);
    mem_free(n->url);
    mem_free(n->metadata);
    mem_free(n->status);
    n->host = n->hostname = n->url = n->metadata = n->status = NULL;
}

static void free_name(struct registrar_name *n)
{
    struct registrar *r = n->registrar;

    set_registered(n, false);
    fetch_cancel(&n->fetch);
    end_call(n);
    list_remove(&n->turn);
    deadline_stop(&n->due);
    deadline_stop(&n->hurry);
    deadline_stop(&n->leave);
    list_remove(&n->node);
    clear_record(n);
    mem_free(n->name);
    mem_free(n);
    if (r->done && list_empty(&r->names))
        deadline_arm(r->loop, &r->left, 1, on_left);
}

static void on_leave_over(struct deadline *d)
{
    struct registrar_name *n = container_of(d, struct registrar_name, leave);
    struct registrar *r = n->registrar;

    free_name(n);
    run_waiting(r);
}

/* ---- what comes back ---- */

/* The call under way may still be when the next is due: then that comes directly behind it. */
static void on_due(struct deadline *d)
{
    struct registrar_name *n = container_of(d, struct registrar_name, due);

    if (n->call == REGISTRAR_NOTHING)
        go(n);
    else
        n->late = true;
}

static void arm_retry(struct registrar_name *n)
{
    n->retry_ms = n->retry_ms == 0 ? RETRY_MS : n->retry_ms * 2;
    if (n->retry_ms > RETRY_MAX_MS)
        n->retry_ms = RETRY_MAX_MS;
    deadline_arm(n->registrar->loop, &n->due, n->retry_ms, on_due);
}

static enum registrar_news succeed(struct registrar_name *n, enum registrar_call call)
{
    struct registrar_counts *counts = n->registrar->conf.counts;
    bool troubled = n->troubled;

    n->troubled = false;
    n->retry_ms = 0;
    metrics_count(call == REGISTRAR_POST ? &counts->registrations : &counts->beats);
    if (!n->changed) {
        set_registered(n, true);
        n->given_up = false;
    }
    if (n->changed || n->late)
        go(n);
    if (call == REGISTRAR_POST)
        return REGISTRAR_REGISTERED;
    return troubled ? REGISTRAR_RECOVERED : REGISTRAR_NO_NEWS;
}

static enum registrar_news fail(struct registrar_name *n, enum registrar_call call,
                                const struct fetch_reply *reply)
{
    bool same = n->troubled && n->bad_status == reply->status && n->bad_err == reply->err;

    metrics_count(&n->registrar->conf.counts->failures);
    n->troubled = true;
    n->bad_status = reply->status;
    n->bad_err = reply->err;
    n->given_up = n->given_up || (call == REGISTRAR_POST && n->registrar->conf.one_try);
    if (n->changed || n->late) {
        go(n);
    } else if (!n->given_up && (n->took_changes || call == REGISTRAR_POST)) {
        n->changed = n->took_changes;
        arm_retry(n);
    }
    return same ? REGISTRAR_NO_NEWS : REGISTRAR_FAILED;
}

static enum registrar_news take(struct registrar_name *n, enum registrar_call call,
                                const struct fetch_reply *reply)
{
    if (call == REGISTRAR_DELETE) {
        n->posted = false;
        go(n);
        return REGISTRAR_NO_NEWS;
    }
    if (call == REGISTRAR_BEAT && reply->status == 404) {
        metrics_count(&n->registrar->conf.counts->unknown);
        set_registered(n, false);
        n->given_up = false;
        go(n);
        return REGISTRAR_UNKNOWN;
    }
    if (reply->status >= 200 && reply->status < 300)
        return succeed(n, call);
    return fail(n, call, reply);
}

static void on_reply(void *ctx, const struct fetch_reply *reply)
{
    struct registrar_name *n = ctx;
    struct registrar *r = n->registrar;
    bool told = !n->leaving; /* one that leaves may be gone behind take() */
    struct registrar_event event = {
        .call = n->call, .status = reply->status, .err = reply->err, .ctx = n->ctx};

    n->fetch = NULL;
    end_call(n);
    deadline_stop(&n->hurry);
    event.news = take(n, event.call, reply);
    run_waiting(r);
    if (!told || event.news == REGISTRAR_NO_NEWS)
        return;
    event.name = str_of(n->name);
    r->conf.on_event(r->conf.ctx, &event);
}

/* ---- what goes out ---- */

static void write_path(const struct registrar_name *n, enum registrar_call call, struct buf *out)
{
    buf_text(out, "/services");
    if (call == REGISTRAR_POST)
        return;
    buf_char(out, '/');
    percent_encode(out, str_of(n->name));
    if (call == REGISTRAR_BEAT)
        buf_text(out, "/heartbeat");
}

static void write_record(const struct registrar_name *n, struct buf *out)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    jsonw_key(&w, "host");
    jsonw_cstr(&w, n->host);
    jsonw_key(&w, "hostname");
    jsonw_cstr(&w, n->hostname);
    jsonw_key(&w, "metadata");
    jsonw_raw(&w, str_of(n->metadata));
    jsonw_key(&w, "name");
    jsonw_cstr(&w, n->name);
    jsonw_key(&w, "port");
    jsonw_u64(&w, n->port);
    jsonw_key(&w, "status");
    jsonw_cstr(&w, n->status);
    jsonw_key(&w, "url");
    jsonw_cstr(&w, n->url);
    if (n->weight >= 0) {
        jsonw_key(&w, "weight");
        jsonw_i64(&w, n->weight);
    }
    jsonw_end_object(&w);
}

static void write_beat(const struct registrar_name *n, struct buf *out)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    jsonw_key(&w, "status");
    jsonw_cstr(&w, n->status);
    jsonw_end_object(&w);
}

static void ask(struct registrar_name *n, enum registrar_call call)
{
    static const enum http1_method methods[] = {[REGISTRAR_POST] = HTTP1_POST,
                                                [REGISTRAR_BEAT] = HTTP1_POST,
                                                [REGISTRAR_DELETE] = HTTP1_DELETE};
    struct registrar *r = n->registrar;
    char memory[PATH_BYTES];
    struct buf path = buf_on(memory, sizeof memory);
    struct buf body = buf_make(RECORD_BYTES + (n->metadata ? strlen(n->metadata) : 0));
    struct fetch_question q = {
        .at = &r->conf.url,
        .api_key = r->conf.token,
        .method = methods[call],
        .want = FETCH_HEAD,
        .timeout_ms = CALL_MS,
        .max_bytes = REPLY_BYTES,
    };

    write_path(n, call, &path);
    q.path = buf_cstr(&path);
    CHECK(q.path); /* within PATH_BYTES, as the bounds of registrar.h have it */
    if (call == REGISTRAR_POST)
        write_record(n, &body);
    else if (call == REGISTRAR_BEAT && !r->conf.bare_beats)
        write_beat(n, &body);
    CHECK(buf_status(&body) == 0);
    if (body.n > 0) {
        q.content_type = STR("application/json");
        q.body = buf_str(&body);
    }
    n->call = call;
    r->calls++;
    fetch_start(r->loop, r->pool, &q, on_reply, n, &n->fetch);
    buf_fini(&body);
}

static enum registrar_call next_call(const struct registrar_name *n)
{
    if (n->leaving)
        return n->posted ? REGISTRAR_DELETE : REGISTRAR_NOTHING;
    if (!n->status)
        return REGISTRAR_NOTHING;
    return n->registered || n->given_up ? REGISTRAR_BEAT : REGISTRAR_POST;
}

/* Says what is next. Frees a name that has left. */
static void go(struct registrar_name *n)
{
    enum registrar_call call = next_call(n);

    CHECK(n->call == REGISTRAR_NOTHING);
    if (call == REGISTRAR_NOTHING && n->leaving)
        free_name(n);
    if (call == REGISTRAR_NOTHING)
        return;
    if (n->registrar->calls >= CALLS_MAX) {
        if (list_empty(&n->turn)) /* else it waits already, and keeps its place */
            list_append(&n->registrar->waiting, &n->turn);
        return;
    }
    list_remove(&n->turn);
    n->took_changes = n->changed;
    n->changed = n->late = false;
    n->posted = n->posted || call == REGISTRAR_POST;
    deadline_arm(n->registrar->loop, &n->due, n->registrar->conf.interval_ms, on_due);
    ask(n, call);
}

static void on_hurry(struct deadline *d)
{
    struct registrar_name *n = container_of(d, struct registrar_name, hurry);

    fetch_cancel(&n->fetch);
    end_call(n);
    go(n);
}

/* Something is to be said now. */
static void change(struct registrar_name *n)
{
    n->changed = true;
    if (n->call == REGISTRAR_NOTHING)
        go(n);
    else if (!deadline_armed(&n->hurry))
        deadline_arm(n->registrar->loop, &n->hurry, HURRY_MS, on_hurry);
}

/* ---- the owner's side ---- */

void registrar_create(struct loop *l, const struct registrar_conf *conf, struct registrar **ret)
{
    struct registrar *r = xnew(struct registrar, .loop = l, .conf = *conf);
    struct client_limits limits = {
        .connect_ms = CONNECT_MS,
        .pool_idle_ms = IDLE_MS,
        .pool_max_idle = IDLE_MAX,
        .head_bytes = HEAD_BYTES,
        .headers = HTTP1_FIELDS_MAX,
    };
    const struct url *u = &conf->url;
    struct pool_target to = {.host = u->host, .port = u->port};

    CHECK(u->kind == URL_HTTP && conf->interval_ms > 0);
    list_init(&r->names);
    list_init(&r->waiting);
    r->url_text = mem_printf("%.*s%.*s", STR_ARGS(u->origin), STR_ARGS(u->prefix));
    r->conf.url.host = r->conf.url.path = STR_NONE; /* the pool knows */
    r->conf.url.origin = str_span(r->url_text, u->origin.n);
    r->conf.url.prefix = str_span(r->url_text + u->origin.n, u->prefix.n);
    r->token = str_dup(conf->token);
    r->conf.token = str_of(r->token);
    client_create(l, conf->chunks, &limits, &r->client);
    pool_create(r->client, &to, &r->pool);
    *ret = r;
}

static void on_grave(struct grave *g)
{
    struct registrar *r = container_of(g, struct registrar, grave);

    client_destroy(&r->client);
    mem_free(r->url_text);
    mem_free(r->token);
    mem_free(r);
}

void registrar_destroy(struct registrar **rp)
{
    struct registrar *r = TAKE(rp);
    struct registrar_name *n;

    if (!r)
        return;
    r->done = NULL;
    list_each(n, &r->names, node) free_name(n);
    deadline_stop(&r->left);
    pool_close(&r->pool);
    loop_bury(r->loop, &r->grave, on_grave);
}

void registrar_register(const struct registrar_counts *counts, struct metrics *m)
{
    METRICS_REGISTER(m, families, counts);
}

static struct registrar_name *find(struct registrar *r, struct str name)
{
    struct registrar_name *n;

    list_each(n, &r->names, node)
    {
        if (str_eq(str_of(n->name), name))
            return n;
    }
    return NULL;
}

/* One that is just leaving comes back, so that its DELETE cannot overtake the new POST. */
void registrar_add(struct registrar *r, struct str name, void *ctx, struct registrar_name **ret)
{
    struct registrar_name *n = find(r, name);

    CHECK(name.n > 0 && name.n <= NAME_BYTES_MAX && !r->done && (!n || n->leaving));
    if (!n) {
        n = xnew(struct registrar_name, .registrar = r, .name = str_dup(name));
        list_append(&r->names, &n->node);
        list_init(&n->turn);
    }
    deadline_stop(&n->leave);
    n->leaving = false;
    n->ctx = ctx;
    *ret = n;
}

void registrar_put(struct registrar_name *n, const struct registrar_record *record,
                   struct str status)
{
    clear_record(n);
    n->host = str_dup(record->host);
    n->hostname = str_dup(record->hostname);
    n->url = str_dup(record->url);
    n->port = record->port;
    n->metadata = str_dup(record->metadata);
    n->weight = record->weight;
    n->status = str_dup(status);
    n->retry_ms = 0;
    n->given_up = false;
    set_registered(n, false);
    change(n);
}

void registrar_set_status(struct registrar_name *n, struct str status)
{
    CHECK(n->status);
    if (str_eq(str_of(n->status), status))
        return;
    mem_free(n->status);
    n->status = str_dup(status);
    change(n);
}

bool registrar_is_registered(const struct registrar_name *n) { return n->registered; }

void registrar_drop(struct registrar_name **np)
{
    struct registrar_name *n = TAKE(np);

    if (!n)
        return;
    n->leaving = true;
    set_registered(n, false);
    clear_record(n);
    deadline_arm(n->registrar->loop, &n->leave, LEAVE_MS, on_leave_over);
    change(n);
}

void registrar_leave(struct registrar *r, void (*done)(void *ctx), void *ctx)
{
    struct registrar_name *n, *leaving;

    CHECK(!r->done);
    r->done = done;
    r->done_ctx = ctx;
    if (list_empty(&r->names))
        deadline_arm(r->loop, &r->left, 1, on_left);
    list_each(n, &r->names, node)
    {
        leaving = n;
        if (!n->leaving)
            registrar_drop(&leaving);
    }
}
