/* SPDX-License-Identifier: Apache-2.0
 *
 * select.c - see select.h. One pass finds the least load and whether it is shared; only then a
 * second pass settles the equals by credit. A session's two passes are the bound and the bids.
 * Where engines differ in rank one pass before finds the least. Many engines are crowd.c's.
 */
#include "fleet/select.h"

#include "base/mem.h"
#include "fleet/breaker.h"
#include "fleet/crowd.h"
#include "fleet/rendezvous.h"

void select_credits_fit(struct select_credits *c, const struct snapshot *s)
{
    if (c->at && c->generation == s->generation)
        return;
    c->at = mem_resize_array(c->at, max_size(s->credits, 1), sizeof *c->at);
    memset(c->at, 0, max_size(s->credits, 1) * sizeof *c->at);
    c->keys = mem_resize_array(c->keys, max_size(s->crowd, 1), sizeof *c->keys);
    c->n = s->credits;
    c->generation = s->generation;
}

void select_credits_fini(struct select_credits *c)
{
    mem_free(c->at);
    mem_free(c->keys);
    *c = (struct select_credits){.n = 0};
}

static bool was_tried(const struct select_facts *f, const struct engine *e)
{
    for (uint32_t i = 0; i < f->ntried; i++)
        if (f->tried[i] == e->id)
            return true;
    return false;
}

static bool speaks(const struct select_facts *f, const struct engine *e)
{
    return e->kind == engine_kind_unset || (f->kinds & (1u << e->kind)) != 0;
}

static unsigned rank_of(const struct select_facts *f, const struct engine *e)
{
    bool other = f->wanted != CACHE_UNSAID && e->cache != f->wanted;

    return e->rank | (other ? SELECT_OTHER_CLASS : 0U);
}

/* What of a load counts: nothing where turns are all that does. */
static uint32_t counted(const struct select_facts *f)
{
    return f->balance == BALANCE_ROUND_ROBIN ? 0 : UINT32_MAX;
}

/* What the first pass learnt. */
struct survey {
    unsigned only; /* engines of this rank + 1; 0: of any */
    uint64_t load; /* the least in_flight, of `weight` */
    uint64_t weight;
    uint32_t first;  /* index of the first engine with that load */
    uint32_t equals; /* how many have it */
    bool full, coming, foreign;
    bool shunned;    /* somebody is out only for trouble with this model */
    bool unshunning; /* that is no reason any more: there is nobody else */
};

/* Nearly always there is no trouble with anything. */
static bool is_shunned(const struct select_facts *f, const struct engine *e)
{
    return atomic_load_explicit(&e->cell->troubles, memory_order_relaxed) > 0 &&
           breaker_model_shuns(e->cell, f->model->mark, f->now_ms);
}

/* False when the engine cannot be asked now; notes why. */
static bool eligible(const struct select_facts *f, const struct engine *e, struct survey *s)
{
    enum cell_verdict state;

    if (s->only && rank_of(f, e) + 1 != s->only) /* 0 where all are alike */
        return false;
    if (!speaks(f, e)) {
        s->foreign = true;
        return false;
    }
    if (was_tried(f, e))
        return false;
    state = cell_state(e->cell);
    s->coming |= state == CELL_COMING;
    if (state != CELL_GOOD)
        return false;
    if (cell_full(e->cell)) {
        s->full = true;
        return false;
    }
    if (!s->unshunning && is_shunned(f, e)) {
        s->shunned = true;
        return false;
    }
    return true;
}

/* Of all who can be asked, + 1; 0: they do not differ, or there is nobody. */
static unsigned least_rank(const struct select_facts *f, bool unshunning)
{
    struct survey ignored = {.unshunning = unshunning};
    unsigned least = 0;

    if (!f->model->ranked)
        return 0;
    for (uint32_t i = 0; i < f->model->nengines; i++) {
        const struct engine *e = f->model->engines[i];
        unsigned rank = rank_of(f, e) + 1;

        if ((least == 0 || rank < least) && eligible(f, e, &ignored))
            least = rank;
    }
    return least;
}

static struct survey look_once(const struct select_facts *f, bool unshunning)
{
    struct survey s = {.unshunning = unshunning, .only = least_rank(f, unshunning)};
    uint32_t counts = counted(f);

    for (uint32_t i = 0; i < f->model->nengines; i++) {
        const struct engine *e = f->model->engines[i];
        uint64_t load, a, b;

        if (!eligible(f, e, &s))
            continue;
        load = cell_weighed(e->cell) & counts;
        a = load * s.weight; /* load / weight compared without division */
        b = s.load * e->share;
        if (s.equals > 0 && a > b)
            continue;
        if (s.equals > 0 && a == b) {
            s.equals++;
            continue;
        }
        s.load = load;
        s.weight = e->share;
        s.first = i;
        s.equals = 1;
    }
    return s;
}

static struct survey look(const struct select_facts *f)
{
    struct survey s = look_once(f, false);

    return s.equals == 0 && s.shunned ? look_once(f, true) : s;
}

/* Smooth weighted round robin among those with the least load. */
static uint32_t settle(const struct select_facts *f, int32_t *credit, const struct survey *least)
{
    struct survey ignored = {.unshunning = least->unshunning, .only = least->only};
    uint32_t best = least->first, counts = counted(f);
    int32_t sum = 0;

    for (uint32_t i = least->first; i < f->model->nengines; i++) {
        const struct engine *e = f->model->engines[i];

        if ((cell_weighed(e->cell) & counts) * least->weight != least->load * e->share ||
            !eligible(f, e, &ignored))
            continue;
        credit[i] += (int32_t)e->share;
        sum += (int32_t)e->share;
        if (credit[i] > credit[best])
            best = i;
    }
    credit[best] -= sum;
    return best;
}

/* What all candidates carry and weigh, those without a free slot too: theirs is a share as well. */
static struct rendezvous_bound bound_of(const struct select_facts *f, unsigned rank)
{
    struct survey ignored = {.only = rank};
    uint64_t in_flight = 0, weights = 0;

    for (uint32_t i = 0; f->affinity->load_factor > 0 && i < f->model->nengines; i++) {
        const struct engine *e = f->model->engines[i];

        ignored.full = false;
        if (!eligible(f, e, &ignored) && !ignored.full)
            continue;
        in_flight += cell_load(e->cell);
        weights += e->share;
    }
    return rendezvous_bound(f->affinity->load_factor, f->affinity->min_load, in_flight, weights);
}

/* The engine that bids highest for the session among those that may take one more; NULL when all
 * that have a slot are above the bound. */
static const struct engine *keep_session(const struct select_facts *f)
{
    struct survey ignored = {.only = least_rank(f, false)};
    struct rendezvous_bound bound = bound_of(f, ignored.only);
    struct rendezvous best = {.weight = 0};
    const struct engine *chosen = NULL;

    for (uint32_t i = 0; i < f->model->nengines; i++) {
        const struct engine *e = f->model->engines[i];

        uint64_t hash = rendezvous_hash(f->session, e->half);

        if (rendezvous_hopes(&best, hash, e->share) && eligible(f, e, &ignored) &&
            rendezvous_within(&bound, cell_load(e->cell), e->share) &&
            rendezvous_bid(&best, hash, e->share))
            chosen = e;
    }
    return chosen;
}

static enum select_verdict why_nobody(const struct survey *s)
{
    return s->full      ? SELECT_FULL
           : s->coming  ? SELECT_COMING
           : s->foreign ? SELECT_FOREIGN
                        : SELECT_NOBODY;
}

/* A crowd is of rank 0, whatever class is wanted; its keys are loads. False when none of it was
 * chosen; *full: it has somebody who would do, had he a free slot. */
static bool ask_crowd(const struct select_facts *f, struct select_credits *c,
                      const struct engine **ret, bool *full)
{
    const struct model *m = f->model;

    *full = false;
    if (m->classed && f->wanted != CACHE_UNSAID)
        return false;
    if (f->affinity && crowd_keep_session(m->crowd, f, ret) && !is_shunned(f, *ret))
        return true;
    return f->balance != BALANCE_ROUND_ROBIN &&
           crowd_select(m->crowd, f, c->at + m->crowd_credit, c->keys, ret, full) &&
           !is_shunned(f, *ret);
}

enum select_verdict select_engine(const struct select_facts *facts, struct select_credits *credits,
                                  const struct engine **ret)
{
    const struct model *m = facts->model;
    int32_t *credit = credits->at + m->credit + (m->classed ? facts->wanted * m->nengines : 0);
    const struct engine *own;
    struct survey s;
    bool full;

    CHECK(m->credit < credits->n || m->nengines == 0);
    if (m->crowd) {
        if (ask_crowd(facts, credits, ret, &full))
            return SELECT_ONE;
        if (full && !m->ranked)
            return SELECT_FULL;
    }
    if (facts->affinity && (own = keep_session(facts))) {
        *ret = own;
        return SELECT_ONE;
    }
    s = look(facts);
    if (s.equals == 0)
        return why_nobody(&s);
    *ret = m->engines[s.equals > 1 ? settle(facts, credit, &s) : s.first];
    return SELECT_ONE;
}
