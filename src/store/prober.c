/* SPDX-License-Identifier: Apache-2.0
 *
 * prober.c - a probe owns its own connection, which is closed as soon as the head of the reply is
 * there: some peers never end the body, and thousands of services would be as many idle
 * connections. It knows its record by name and serial, since the record may be gone when the reply
 * comes; a record knows its probe (`probing`), so that those who ask share it.
 *
 * A round walks through the names in their order with a cursor, so that what is registered or
 * removed meanwhile disturbs nothing.
 */
#include "store/prober.h"

#include "base/mem.h"
#include "conf/url.h"
#include "ev/deadline.h"
#include "net/fetch.h"

enum {
    HEAD_BYTES = 16 << 10, /* of a reply */
    URL_BYTES = RECORDS_URL_BYTES + 64,
};

struct prober {
    struct loop *loop;
    struct prober_conf conf;
    struct client *client;
    struct list probes;    /* all under way */
    struct deadline pause; /* until the next round */
    bool in_round;
    bool walked;       /* the cursor is behind the last name */
    uint64_t began_us; /* the round */
    unsigned of_round, asked;
    struct buf cursor; /* the last name looked at */
    struct prober_counts counts;
};

struct probe {
    struct prober *prober;
    struct list node; /* in prober->probes */
    struct list waits;
    struct deadline hopeless; /* nobody could be asked */
    struct pool *pool;
    struct fetch *fetch;
    char *name; /* of the record */
    uint64_t serial;
    bool of_round;
    bool wanted; /* somebody asked: success is a heartbeat */
};

#define PROBER_ROW(...) METRICS_ROW(struct prober_counts, __VA_ARGS__)
static const struct metrics_family families[] = {PROBER_METRICS(PROBER_ROW)};

static void go_on(struct prober *p);

/* ---- the end of a probe ---- */

static void free_probe(struct probe *q)
{
    struct prober *p = q->prober;

    if (q->of_round)
        p->of_round--;
    else
        p->asked--;
    metrics_move(&p->counts.running, -1);
    deadline_stop(&q->hopeless);
    fetch_cancel(&q->fetch);
    pool_close(&q->pool);
    list_remove(&q->node);
    mem_free(q->name);
    mem_free(q);
}

/* The record it was about; NULL when that has gone or changed. */
static struct record *record_of(const struct probe *q)
{
    struct record *r = records_find(q->prober->conf.records, str_of(q->name));

    return r && r->serial == q->serial ? r : NULL;
}

static void apply(struct probe *q, bool good)
{
    struct prober *p = q->prober;
    struct record *r = record_of(q);
    enum records_probed was;

    if (!good)
        metrics_count(&p->counts.bad);
    if (!r) {
        metrics_count(&p->counts.dropped);
        return;
    }
    was = r->probed;
    if (good && q->wanted)
        (void)!records_beat(p->conf.records, r, STR_NONE); /* nothing that could fail is said */
    records_set_probed(p->conf.records, r, good ? RECORDS_GOOD : RECORDS_BAD);
    if (was != r->probed && p->conf.on_change)
        p->conf.on_change(p->conf.ctx, r);
}

static void tell(struct probe *q)
{
    struct list *node;

    while ((node = list_shift(&q->waits))) {
        struct prober_wait *w = list_entry(node, struct prober_wait, node);

        w->fn(w);
    }
}

/* `known` false: it was our own fault that nobody could be asked, which says nothing. */
static void finish(struct probe *q, bool known, bool good)
{
    struct prober *p = q->prober;
    struct record *r = record_of(q);

    records_at(p->conf.records, loop_now_ms(p->loop), loop_wall_us(p->loop) / 1000000);
    if (r)
        r->probing = NULL;
    if (known)
        apply(q, good);
    tell(q);
    free_probe(q);
    go_on(p);
}

static void on_fetched(void *ctx, const struct fetch_reply *reply)
{
    struct probe *q = ctx;
    bool ours = reply->err == -E_NO_FDS || reply->err == -E_NO_MEM;

    q->fetch = NULL;
    finish(q, !ours, reply->status >= 200 && reply->status < 300);
}

/* Somebody could not even be asked: told like any other failure, in a turn of its own. */
static void on_hopeless(struct deadline *d)
{
    finish(container_of(d, struct probe, hopeless), true, false);
}

/* ---- the start of a probe ---- */

/* "http://host:port+1/health" for an engine behind a babysitter, else "<url>/health". */
static bool find_target(const struct record *r, struct buf *text, struct url *ret)
{
    const char *why;

    if (!r->openai) {
        buf_add(text, r->url);
    } else {
        bool bare = str_find(r->host, ':') < r->host.n && r->host.p[0] != '[';

        if (r->port == UINT16_MAX)
            return false;
        buf_printf(text, bare ? "http://[%.*s]:%u" : "http://%.*s:%u", STR_ARGS(r->host),
                   r->port + 1U);
    }
    return buf_status(text) == 0 && url_parse(buf_str(text), ret, &why) == 0 &&
           ret->kind == URL_HTTP;
}

static void start(struct prober *p, struct record *r, bool of_round, struct probe **ret)
{
    struct probe *q = xnew(struct probe, .prober = p, .serial = r->serial, .of_round = of_round);
    const struct records_pins *pins = r->openai ? r->host_pins : r->url_pins;
    char memory[URL_BYTES];
    struct buf text = buf_on(memory, sizeof memory);
    struct url u;

    q->name = str_dup(r->name);
    list_init(&q->waits);
    list_init(&q->node);
    list_append(&p->probes, &q->node);
    *(of_round ? &p->of_round : &p->asked) += 1;
    metrics_count(&p->counts.probes);
    metrics_move(&p->counts.running, 1);
    r->probing = q;
    *ret = q;
    if (!find_target(r, &text, &u)) {
        deadline_arm(p->loop, &q->hopeless, 1, on_hopeless);
        return;
    }
    pool_create(p->client,
                &(struct pool_target){.host = u.host,
                                      .port = u.port,
                                      .addrs = pins ? pins->at : NULL,
                                      .naddrs = pins ? pins->n : 0},
                &q->pool);
    fetch_start(
        p->loop, q->pool,
        &(struct fetch_question){
            .at = &u, .path = "/health", .want = FETCH_STATUS, .timeout_ms = p->conf.timeout_ms},
        on_fetched, q, &q->fetch);
}

int prober_ask(struct prober *p, struct record *r, struct prober_wait *w)
{
    struct probe *q = r->probing;

    if (!q && p->asked >= PROBER_ASKED)
        return -E_BUSY;
    if (!q)
        start(p, r, false, &q);
    q->wanted = true;
    list_append(&q->waits, &w->node);
    return 0;
}

void prober_forget(struct prober_wait *w) { list_remove(&w->node); }

/* ---- rounds ---- */

static void on_round(struct deadline *d);

static void end_round(struct prober *p)
{
    p->in_round = false;
    metrics_count(&p->counts.rounds);
    metrics_observe(&p->counts.round, METRICS_SECONDS, loop_now_us(p->loop) - p->began_us);
    deadline_arm(p->loop, &p->pause, p->conf.interval_ms, on_round);
}

/* Starts as many of the round's probes as may be under way. One that is on its way already counts
 * as its record's. */
static void go_on(struct prober *p)
{
    if (!p->in_round)
        return;
    while (!p->walked && p->of_round < PROBER_AT_ONCE) {
        struct record *r = records_after(p->conf.records, buf_str(&p->cursor));
        struct probe *q;

        p->walked = r == NULL;
        if (!r)
            break;
        buf_clear(&p->cursor);
        buf_add(&p->cursor, r->name);
        if (!r->probing)
            start(p, r, true, &q);
    }
    if (p->walked && p->of_round == 0)
        end_round(p);
}

static void on_round(struct deadline *d)
{
    struct prober *p = container_of(d, struct prober, pause);

    p->in_round = true;
    p->walked = false;
    p->began_us = loop_now_us(p->loop);
    buf_clear(&p->cursor);
    go_on(p);
}

void prober_create(struct loop *l, const struct prober_conf *conf, struct prober **ret)
{
    struct prober *p = xnew(struct prober, .loop = l, .conf = *conf);
    struct client_limits limits = {
        .connect_ms = conf->timeout_ms,
        .pool_idle_ms = 1000,
        .head_bytes = HEAD_BYTES,
        .headers = HTTP1_FIELDS_MAX,
    };

    list_init(&p->probes);
    p->cursor = buf_make(RECORDS_NAME_BYTES);
    client_create(l, conf->chunks, &limits, &p->client);
    deadline_arm(l, &p->pause, conf->interval_ms, on_round);
    *ret = p;
}

void prober_register(const struct prober *p, struct metrics *m)
{
    METRICS_REGISTER(m, families, &p->counts);
}

void prober_destroy(struct prober **pp)
{
    struct prober *p = TAKE(pp);
    struct probe *q;

    if (!p)
        return;
    p->in_round = false;
    deadline_stop(&p->pause);
    while ((q = list_first(&p->probes, struct probe, node))) {
        struct record *r = record_of(q);

        if (r)
            r->probing = NULL;
        tell(q);
        free_probe(q);
    }
    loop_settle(p->loop);
    client_destroy(&p->client);
    buf_fini(&p->cursor);
    mem_free(p);
}
