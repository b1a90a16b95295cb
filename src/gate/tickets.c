/* SPDX-License-Identifier: Apache-2.0
 *
 * tickets.c - see tickets.h. One list in order of arrival; a model's tickets are served in that
 * order because each run walks it from the front and stops asking for a model once one of its
 * tickets found nothing that might have gone anywhere. A grant reserves the slot here and hands it
 * to the lane with a reference on the cell; if the request has ended meanwhile, the lane gives the
 * slot back.
 *
 * Each model that is waited for has a line, which knows how many wait and how fast they are served:
 * grants by the time in which somebody waited, the last ten seconds or so of it. From that, and
 * from nothing else, comes what a refused client is told: its position, and when it would have been
 * its turn. A newcomer whose turn would come after queue_ms is refused at once, so that under
 * overload nobody waits in vain; the one at the head of a line never is, so a wrong estimate heals
 * itself.
 */
#include "gate/tickets.h"

#include "base/mem.h"
#include "fleet/breaker.h"
#include "fleet/select.h"

enum {
    LINES_KEPT = 64, /* empty lines whose pace is remembered */
    PACE_GRANTS = 4, /* fewer tell nothing about a pace */
    PACE_WINDOW_US = 10000000,
    RETRY_AFTER_S = 5, /* where no pace is known */
    RETRY_AFTER_MAX_S = 300,
};

/* Those who wait for one model, or, without a name, for any. */
struct line {
    struct list node; /* in tickets->lines, the one used last in front */
    char *model;      /* NULL: no name */
    size_t model_n;
    unsigned waiting;
    uint64_t served;   /* grants within busy_us; both are halved together as they grow */
    uint64_t busy_us;  /* time in which somebody waited, up to since_us */
    uint64_t since_us; /* when it was last accounted */
};

struct ticket {
    struct list node;
    struct line *line;
    uint32_t lane;
    uint64_t id;
    uint32_t kinds;
    enum cache_class wanted;
    bool has_session;
    uint64_t session; /* see struct select_facts */
    uint32_t tried[SELECT_TRIED_MAX];
    uint32_t ntried;
    bool coming;        /* waits for an engine, not for a slot */
    uint64_t stuck_run; /* the run in which its model was found full */
};

struct tickets {
    struct gate *gate;
    struct loop *loop;
    struct list waiting;
    struct list lines;
    unsigned count, nlines;
    struct select_credits credits;
    uint64_t run;
};

void tickets_create(struct gate *g, struct loop *l, struct tickets **ret)
{
    struct tickets *t = xnew(struct tickets, .gate = g, .loop = l);

    list_init(&t->waiting);
    list_init(&t->lines);
    *ret = t;
}

static struct str model_of(const struct ticket *k)
{
    return str_span(k->line->model, k->line->model_n);
}

/* ---- lines ---- */

static void line_destroy(struct tickets *t, struct line *n)
{
    list_remove(&n->node);
    t->nlines--;
    mem_free(n->model);
    mem_free(n);
}

/* The oldest empty lines beyond LINES_KEPT go. */
static void forget_lines(struct tickets *t)
{
    struct list *node = t->lines.prev, *before;

    for (; node != &t->lines && t->nlines > LINES_KEPT; node = before) {
        struct line *n = list_entry(node, struct line, node);

        before = node->prev;
        if (n->waiting == 0)
            line_destroy(t, n);
    }
}

static bool is_of(const struct line *n, struct str model)
{
    if (!n->model || !model.p)
        return !n->model && !model.p;
    return str_eq(str_span(n->model, n->model_n), model);
}

static struct line *line_get(struct tickets *t, struct str model)
{
    struct line *n;

    list_each(n, &t->lines, node)
    {
        if (is_of(n, model)) {
            list_remove(&n->node);
            list_prepend(&t->lines, &n->node);
            return n;
        }
    }
    forget_lines(t);
    n = xnew(struct line, .model = model.p ? str_dup(model) : NULL, .model_n = model.n);
    list_init(&n->node);
    list_prepend(&t->lines, &n->node);
    t->nlines++;
    return n;
}

/* Time in which somebody waited, up to now. */
static void line_account(struct line *n, uint64_t now_us)
{
    if (n->waiting > 0)
        n->busy_us += now_us - n->since_us;
    n->since_us = now_us;
    while (n->busy_us > PACE_WINDOW_US && n->served > PACE_GRANTS) {
        n->busy_us /= 2;
        n->served /= 2;
    }
}

/* Microseconds until the turn of who stands there; 0: nobody knows. */
static uint64_t line_wait_us(struct line *n, unsigned position, uint64_t now_us)
{
    line_account(n, now_us);
    return n->served >= PACE_GRANTS ? position * n->busy_us / n->served : 0;
}

static unsigned position_of(const struct tickets *t, struct ticket *k)
{
    struct list *node = &k->node;
    unsigned position = 0;

    for (; node != &t->waiting; node = node->prev)
        position += list_entry(node, struct ticket, node)->line == k->line;
    return position;
}

/* ---- tickets ---- */

static bool has_tried(const struct ticket *k, uint32_t engine)
{
    for (uint32_t i = 0; i < k->ntried; i++)
        if (k->tried[i] == engine)
            return true;
    return false;
}

/* Counts the ticket in the cells that could serve it, or takes it out of the count. */
static void count_waiting(const struct ticket *k, const struct snapshot *s, bool add)
{
    const struct model *m = snapshot_model(s, model_of(k));

    for (uint32_t i = 0; m && i < m->nengines; i++) {
        if (has_tried(k, m->engines[i]->id))
            continue;
        if (add)
            atomic_fetch_add(&m->engines[i]->cell->waiting, 1);
        else
            atomic_fetch_sub(&m->engines[i]->cell->waiting, 1);
    }
}

static void drop(struct tickets *t, const struct snapshot *s, struct ticket *k)
{
    if (s)
        count_waiting(k, s, false);
    list_remove(&k->node);
    t->count--;
    line_account(k->line, loop_now_us(t->loop));
    k->line->waiting--;
    mem_free(k);
}

void tickets_destroy(struct tickets **tp)
{
    struct tickets *t = TAKE(tp);
    struct ticket *k;
    struct line *n;

    if (!t)
        return;
    list_each(k, &t->waiting, node) drop(t, NULL, k);
    list_each(n, &t->lines, node) line_destroy(t, n);
    select_credits_fini(&t->credits);
    mem_free(t);
}

static void refuse(struct tickets *t, const struct ticket *k, enum fault_code code)
{
    struct lane_mail *m = gate_lane_mail(LANE_REFUSE);

    m->ticket = k->id;
    m->fault = code;
    gate_post_lane(t->gate, k->lane, m);
}

/* Load is why: told with its place and when it would have been its turn. */
static void shed(struct tickets *t, struct ticket *k, enum shed_for why)
{
    struct lane_mail *m = gate_lane_mail(LANE_REFUSE);
    unsigned position = position_of(t, k);
    uint64_t wait_s = (line_wait_us(k->line, position, loop_now_us(t->loop)) + 999999) / 1000000;

    m->ticket = k->id;
    m->fault = FAULT_overloaded;
    m->shed_for = why;
    m->position = position;
    m->retry_after_s = wait_s == 0 ? RETRY_AFTER_S : (uint32_t)min_u64(wait_s, RETRY_AFTER_MAX_S);
    gate_post_lane(t->gate, k->lane, m);
}

/* Its turn would come too late; never true of the first one. */
static bool too_late(struct tickets *t, const struct ticket *k, uint32_t queue_ms)
{
    unsigned position = k->line->waiting;

    return position > 1 && !k->coming &&
           line_wait_us(k->line, position, loop_now_us(t->loop)) > (uint64_t)queue_ms * 1000;
}

void tickets_add(struct tickets *t, const struct snapshot *s, const struct control_mail *m,
                 const struct limits *l)
{
    struct ticket *k =
        xnew(struct ticket, .lane = m->lane, .id = m->ticket, .kinds = m->kinds,
             .wanted = m->wanted, .has_session = m->has_session, .session = m->session);

    k->ntried = m->ntried;
    memcpy(k->tried, m->tried, sizeof k->tried);
    k->line = line_get(t, m->model);
    list_append(&t->waiting, &k->node);
    t->count++;
    line_account(k->line, loop_now_us(t->loop));
    k->line->waiting++;
    count_waiting(k, s, true); /* before looking for slots: see cell.h */
    tickets_run(t, s);
    if (t->waiting.prev != &k->node) /* served */
        return;
    if (k->line->waiting > l->queue_length)
        shed(t, k, SHED_QUEUE_LENGTH);
    else if (too_late(t, k, l->queue_ms))
        shed(t, k, SHED_TOO_LATE);
    else
        return;
    drop(t, s, k);
}

static struct ticket *find(struct tickets *t, const struct control_mail *m)
{
    struct ticket *k;

    list_each(k, &t->waiting, node) if (k->lane == m->lane && k->id == m->ticket) return k;
    return NULL;
}

void tickets_late(struct tickets *t, const struct snapshot *s, const struct control_mail *m)
{
    struct ticket *k = find(t, m);

    if (!k)
        return; /* its answer is on the way */
    shed(t, k, SHED_QUEUE_MS);
    drop(t, s, k);
    tickets_run(t, s);
}

void tickets_gone(struct tickets *t, const struct snapshot *s, const struct control_mail *m)
{
    struct ticket *k = find(t, m);

    if (!k)
        return;
    drop(t, s, k);
    tickets_run(t, s); /* nobody may be held back by what has gone */
}

static void grant(struct tickets *t, const struct ticket *k, const struct engine *e)
{
    struct lane_mail *m = gate_lane_mail(LANE_GRANT);

    k->line->served++;
    m->ticket = k->id;
    m->engine = e->id;
    m->cell = cell_ref(e->cell);
    gate_post_lane(t->gate, k->lane, m);
}

/* True when the ticket's wait is over, one way or the other. */
static bool serve(struct tickets *t, const struct snapshot *s, struct ticket *k, bool *full)
{
    struct select_facts facts = {.model = snapshot_model(s, model_of(k)),
                                 .kinds = k->kinds,
                                 .wanted = k->wanted,
                                 .session = k->session};
    const struct gate_conf *conf = s->conf;
    const struct engine *e = NULL;
    enum select_verdict v = SELECT_NOBODY;

    facts.now_ms = loop_now_ms(t->loop);
    facts.ntried = k->ntried;
    memcpy(facts.tried, k->tried, sizeof facts.tried);
    if (!facts.model) {
        k->coming = *full = s->unsettled; /* an engine that is on its way may have it */
        if (!*full)
            refuse(t, k, FAULT_model_not_found);
        return !*full;
    }
    if (conf)
        facts.balance = conf->balance;
    if (k->has_session && conf) /* its own engine, if that is the one with a slot */
        facts.affinity = conf->affinity;
    v = select_engine(&facts, &t->credits, &e);
    while (v == SELECT_ONE && !cell_take(e->cell, true))
        v = select_engine(&facts, &t->credits, &e);
    *full = false;
    switch (v) {
    case SELECT_ONE:
        (void)breaker_model_enter(e->cell, facts.model->mark, facts.now_ms);
        grant(t, k, e);
        return true;
    case SELECT_FULL:
    case SELECT_COMING:
        k->coming = v == SELECT_COMING;
        *full = true;
        return false;
    case SELECT_NOBODY:
    case SELECT_FOREIGN:
        break;
    }
    refuse(t, k, FAULT_no_healthy_service);
    return true;
}

/* An older ticket of the same model found nothing in this run. One that has been somewhere already
 * says nothing: that may be just where this one can go. */
static bool behind_stuck(struct tickets *t, struct ticket *k)
{
    struct list *node = k->node.prev;

    for (; node != &t->waiting; node = node->prev) {
        const struct ticket *older = list_entry(node, struct ticket, node);

        if (older->line == k->line && older->kinds == k->kinds && older->ntried == 0)
            return older->stuck_run == t->run;
    }
    return false;
}

void tickets_run(struct tickets *t, const struct snapshot *s)
{
    struct ticket *k;

    t->run++;
    select_credits_fit(&t->credits, s);
    list_each(k, &t->waiting, node)
    {
        bool full = behind_stuck(t, k);

        if (!full && serve(t, s, k, &full))
            drop(t, s, k);
        else
            k->stuck_run = t->run;
    }
}

void tickets_detach(struct tickets *t, const struct snapshot *old)
{
    struct ticket *k;

    list_each(k, &t->waiting, node) count_waiting(k, old, false);
}

void tickets_attach(struct tickets *t, const struct snapshot *s)
{
    struct ticket *k;

    list_each(k, &t->waiting, node) count_waiting(k, s, true);
}

unsigned tickets_count(const struct tickets *t) { return t->count; }
