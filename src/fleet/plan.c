/* SPDX-License-Identifier: Apache-2.0
 *
 * plan.c - see plan.h. Fallbacks are those of the nearest name on the way from what was asked for
 * to the first target; a fallback's own fallbacks do not count, so two names may be each other's.
 */
#include "fleet/plan.h"

#include "fleet/rendezvous.h"
#include "fleet/select.h"

struct planner {
    const struct snapshot *snapshot;
    const struct rendezvous_key *key;
    struct select_credits *credits;
    struct plan *plan;
    const struct alias *falls_back; /* whose fallbacks count */
    bool first;                     /* no model of this name was found yet: credits move */
};

static void add_model(struct planner *p, struct str model)
{
    struct plan *plan = p->plan;

    p->first = false;
    for (uint32_t i = 0; i < plan->n; i++)
        if (str_eq(plan->models[i], model))
            return;
    if (plan->n < PLAN_MAX)
        plan->models[plan->n++] = model;
}

/* Of the targets that `left` still has, the one that bids highest, or whose credit is largest. */
static uint32_t best_of(const struct planner *p, const struct alias *a, uint32_t left)
{
    const int32_t *credit = p->credits ? p->credits->at + a->credit : NULL;
    struct rendezvous best = {.weight = 0};
    uint32_t found = PLAN_TARGETS_MAX;
    uint64_t session = p->key ? rendezvous_session(a->name, p->key->source, p->key->value) : 0;

    for (uint32_t i = 0; i < a->ntargets; i++) {
        const struct target *t = &a->targets[i];

        if (!(left >> i & 1))
            continue;
        if (p->key ? rendezvous_bid(&best, rendezvous_hash(session, t->half), t->weight)
                   : found == PLAN_TARGETS_MAX || (credit && credit[i] > credit[found]))
            found = i;
    }
    return found;
}

/* One step of smooth weighted round robin: everybody earns, the largest pays for all. */
static uint32_t whose_turn(const struct planner *p, const struct alias *a)
{
    int32_t *credit = p->credits->at + a->credit, sum = 0;
    uint32_t chosen;

    for (uint32_t i = 0; i < a->ntargets; i++) {
        int32_t weight = a->in_turn >> i & 1 ? (int32_t)a->targets[i].weight : 0;

        credit[i] += weight;
        sum += weight;
    }
    chosen = best_of(p, a, a->in_turn);
    credit[chosen] -= sum;
    return chosen;
}

static void add_name(struct planner *p, struct str name, unsigned depth);

/* Those with a share by their turn, then those without in the order they were named. */
static void add_targets(struct planner *p, const struct alias *a, unsigned depth)
{
    uint32_t left = a->in_turn;

    if (a->ntargets > 1 && !p->key && p->credits && p->first) {
        uint32_t chosen = whose_turn(p, a);

        left &= ~(UINT32_C(1) << chosen);
        add_name(p, a->targets[chosen].model, depth);
    }
    while (left) {
        uint32_t next = a->ntargets > 1 ? best_of(p, a, left) : 0;

        left &= ~(UINT32_C(1) << next);
        add_name(p, a->targets[next].model, depth);
    }
    for (uint32_t i = 0; i < a->ntargets; i++)
        if (!(a->in_turn >> i & 1))
            add_name(p, a->targets[i].model, depth);
}

static void add_name(struct planner *p, struct str name, unsigned depth)
{
    const struct alias *a = map_find(&p->snapshot->aliases, name);

    if (a && p->plan->n == 0 && !p->falls_back && a->nfallbacks > 0)
        p->falls_back = a;
    if (!a || alias_is_itself(a))
        add_model(p, a ? a->name : name);
    else if (depth < PLAN_DEPTH)
        add_targets(p, a, depth + 1);
}

bool plan_make(const struct snapshot *s, struct str name, const struct rendezvous_key *key,
               struct select_credits *credits, struct plan *ret)
{
    struct planner p = {.snapshot = s, .key = key, .credits = credits, .plan = ret, .first = true};

    if (!map_find(&s->aliases, name))
        return false;
    ret->n = ret->targets = 0;
    add_name(&p, name, 0);
    if (ret->n == 0) /* stands for others without end: for nobody */
        add_model(&p, name);
    ret->targets = ret->n;
    for (uint32_t i = 0; p.falls_back && i < p.falls_back->nfallbacks; i++) {
        p.first = true;
        add_name(&p, p.falls_back->fallbacks[i], 0);
    }
    return true;
}
