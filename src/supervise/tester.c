/* SPDX-License-Identifier: Apache-2.0
 *
 * tester.c - see tester.h. One question at a time. A round of readiness asks each path at each
 * address until one answer will do; rounds are spaced by `pauses`, from the end of one to the start
 * of the next. Tests of a ready engine are spaced from start to start.
 */
#include "supervise/tester.h"

#include "base/buf.h"
#include "base/mem.h"
#include "ev/deadline.h"
#include "net/fetch.h"

enum {
    CONNECT_NEAR_MS = 50, /* to loopback */
    CONNECT_FAR_MS = 500,
    READY_MS = 500, /* for one answer */
    LIVE_EVERY_MS = 10000,
    LIVE_MS = 5000,
    SILENT_AFTER = 3, /* tests in a row */
    PLACE_MS = 1500,  /* for the name behind an address, too: then nobody is there */
    PLACES = 2,
    PATHS = 2,
    ANSWER_BYTES = 64 << 10,
};

/* Before the first round, after it, ...; the last one from then on. */
static const uint32_t pauses[] = {100, 100, 200, 400, 800, 1000};

enum phase { RESTING, STARTING, LIVING };

struct spot {
    struct tester_place place;
    struct client *client; /* its own: limits of connecting are a client's */
    char *origin;
};

struct tester {
    struct tester_conf conf;
    struct spot spots[PLACES];
    unsigned n;
    enum phase phase;
    unsigned spot, path, round; /* asked now; of LIVING: where it was ready */
    unsigned silent;            /* tests in a row that were not answered */
    uint64_t began_ms;          /* of the test under way */
    struct fetch *fetch;
    struct call *call; /* of the question whether a place is taken */
    unsigned asked;    /* the spot it asks */
    struct deadline next, slow, patience;
};

/* ---- addresses ---- */

static bool is_wildcard(struct str host)
{
    return str_eq(host, STR("0.0.0.0")) || str_eq(host, STR("::"));
}

static void add_spot(struct tester *t, struct str host)
{
    struct spot *s = &t->spots[t->n++];
    bool ip6 = str_find(host, ':') < host.n;
    struct client_limits limits = {.head_bytes = 32 << 10, .headers = 100};
    struct pool_target to = {.host = host, .port = t->conf.port};
    const char *why;

    s->origin = mem_printf(ip6 ? "http://[%.*s]:%u" : "http://%.*s:%u", STR_ARGS(host), to.port);
    CHECK(url_parse(str_of(s->origin), &s->place.at, &why) == 0);
    limits.connect_ms = url_is_loopback(&s->place.at) ? CONNECT_NEAR_MS : CONNECT_FAR_MS;
    client_create(t->conf.loop, t->conf.chunks, &limits, &s->client);
    pool_create(s->client, &to, &s->place.pool);
}

static uint32_t connect_ms(const struct spot *s)
{
    return url_is_loopback(&s->place.at) ? CONNECT_NEAR_MS : CONNECT_FAR_MS;
}

static const char *path_at(const struct tester *t)
{
    static const char *const models[PATHS] = {"/v1/models", "/models"};

    return t->conf.path ? t->conf.path : models[t->path];
}

/* ---- questions ---- */

static void ask(struct tester *t, uint32_t timeout_ms, fetch_fn *fn)
{
    struct spot *s = &t->spots[t->spot];
    struct fetch_question q = {
        .at = &s->place.at,
        .path = path_at(t),
        .want = FETCH_HEAD,
        .timeout_ms = timeout_ms,
        .max_bytes = ANSWER_BYTES,
    };

    t->began_ms = loop_now_ms(t->conf.loop);
    fetch_start(t->conf.loop, s->place.pool, &q, fn, t, &t->fetch);
}

static void on_live_due(struct deadline *d);

static void next_live(struct tester *t)
{
    uint64_t spent = loop_now_ms(t->conf.loop) - t->began_ms;
    uint64_t ms = spent < LIVE_EVERY_MS ? LIVE_EVERY_MS - spent : 1;

    deadline_arm(t->conf.loop, &t->next, ms, on_live_due);
}

static void on_live(void *ctx, const struct fetch_reply *r)
{
    struct tester *t = ctx;

    t->fetch = NULL;
    next_live(t);
    if (r->err < 0) {
        if (++t->silent == SILENT_AFTER)
            t->conf.on_report(t->conf.ctx, LINK_REPORT_SILENT);
        return;
    }
    if (t->silent >= SILENT_AFTER) {
        t->silent = 0;
        t->conf.on_report(t->conf.ctx, LINK_REPORT_READY);
    }
    t->silent = 0;
}

static void on_live_due(struct deadline *d)
{
    ask(container_of(d, struct tester, next), LIVE_MS, on_live);
}

/* ---- readiness ---- */

static void ask_ready(struct tester *t);

static void on_round_due(struct deadline *d)
{
    struct tester *t = container_of(d, struct tester, next);

    t->spot = t->path = 0;
    ask_ready(t);
}

static void pause_round(struct tester *t)
{
    uint32_t ms = pauses[min_size(t->round++, ARRAY_LEN(pauses) - 1)];

    deadline_arm(t->conf.loop, &t->next, ms, on_round_due);
}

/* The next path or address of the round; a place that takes no connection is not asked twice. */
static void go_on(struct tester *t, bool connected)
{
    unsigned paths = t->conf.path ? 1 : PATHS;

    if (connected && t->path + 1 < paths) {
        t->path++;
    } else {
        t->path = 0;
        t->spot++;
    }
    if (t->spot < t->n)
        ask_ready(t);
    else
        pause_round(t);
}

static void on_ready(void *ctx, const struct fetch_reply *r)
{
    struct tester *t = ctx;
    bool good = r->status / 100 == 2 || (r->status == 404 && !t->conf.path);

    t->fetch = NULL;
    if (r->err < 0 || !good) {
        go_on(t, r->connected);
        return;
    }
    t->phase = LIVING;
    t->silent = 0;
    deadline_stop(&t->slow);
    next_live(t);
    t->conf.on_report(t->conf.ctx, LINK_REPORT_READY);
}

static void ask_ready(struct tester *t)
{
    ask(t, connect_ms(&t->spots[t->spot]) + READY_MS, on_ready);
}

static void on_slow(struct deadline *d)
{
    struct tester *t = container_of(d, struct tester, slow);

    t->conf.on_slow(t->conf.ctx);
}

/* ---- places ---- */

static void answer_place(struct tester *t, bool taken)
{
    call_cancel(&t->call);
    deadline_stop(&t->patience);
    t->conf.on_place(t->conf.ctx, taken);
}

static void ask_spot(struct tester *t);

static void on_open(void *ctx) { answer_place(ctx, true); }

static void on_fail(void *ctx, int err, enum call_phase phase, const char *why)
{
    struct tester *t = ctx;

    (void)err;
    (void)phase;
    (void)why;
    t->call = NULL;
    if (++t->asked < t->n)
        ask_spot(t);
    else
        answer_place(t, false);
}

static const struct call_ops place_ops = {.on_open = on_open, .on_fail = on_fail};

static void ask_spot(struct tester *t)
{
    call_open(t->spots[t->asked].place.pool, &place_ops, t, &t->call);
}

static void on_patience_over(struct deadline *d)
{
    answer_place(container_of(d, struct tester, patience), false);
}

void tester_ask_place(struct tester *t)
{
    tester_rest(t);
    t->asked = 0;
    deadline_arm(t->conf.loop, &t->patience, PLACE_MS, on_patience_over);
    ask_spot(t);
}

/* ---- life ---- */

void tester_watch(struct tester *t)
{
    tester_rest(t);
    t->phase = STARTING;
    t->round = 0;
    deadline_arm(t->conf.loop, &t->slow, TESTER_SLOW_MS, on_slow);
    pause_round(t);
}

void tester_rest(struct tester *t)
{
    fetch_cancel(&t->fetch);
    call_cancel(&t->call);
    deadline_stop(&t->next);
    deadline_stop(&t->slow);
    deadline_stop(&t->patience);
    t->phase = RESTING;
}

const struct tester_place *tester_place(const struct tester *t)
{
    return t->phase == LIVING ? &t->spots[t->spot].place : NULL;
}

void tester_create(const struct tester_conf *conf, struct tester **ret)
{
    static const struct str near = {"127.0.0.1", 9};
    struct tester *t = xnew(struct tester, .conf = *conf);

    add_spot(t, near);
    if (!str_eq(conf->host, near) && !is_wildcard(conf->host))
        add_spot(t, conf->host);
    *ret = t;
}

void tester_destroy(struct tester **tp)
{
    struct tester *t = TAKE(tp);

    if (!t)
        return;
    tester_rest(t);
    for (unsigned i = 0; i < t->n; i++) {
        pool_close(&t->spots[i].place.pool);
        client_destroy(&t->spots[i].client);
        mem_free(t->spots[i].origin);
    }
    mem_free(t);
}
