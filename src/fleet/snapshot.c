/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshot.c - builds and indexes; see snapshot.h. While it is being made, engines and aliases
 * stand in arrays that grow by doubling inside the arena; sealing sorts them and builds the maps.
 */
#include "fleet/snapshot.h"

#include <stdlib.h>

#include "base/mem.h"
#include "fleet/crowd.h"
#include "fleet/plan.h"
#include "fleet/rendezvous.h"

enum { SHARES_MOST = 1 << 30 };

/* Of the marks that cells remember models by. */
static const uint64_t MARK_SEED = UINT64_C(0x6d6f64656c);

struct snapshot *snapshot_begin(uint64_t generation, uint64_t map_seed)
{
    struct snapshot *s = xnew(struct snapshot, .generation = generation);

    atomic_init(&s->refs, 1);
    arena_init(&s->arena, NULL);
    map_init(&s->by_model, map_seed);
    map_init(&s->aliases, map_seed);
    map_init(&s->passthrough, map_seed);
    return s;
}

/* Room for one more behind n elements of an array that doubles. */
static void *grown(struct arena *a, void *old, uint32_t n, size_t size)
{
    void *bigger;

    if (n > 0 && (n & (n - 1)) != 0)
        return old;
    bigger = arena_zalloc(a, max_size(n * 2, 1) * size);
    if (n > 0)
        memcpy(bigger, old, n * size);
    return bigger;
}

static struct str *copy_list(struct arena *a, const struct str *list, uint32_t n)
{
    struct str *copy = arena_alloc(a, max_size(n, 1) * sizeof *copy);

    for (uint32_t i = 0; i < n; i++)
        copy[i] = list[i].p ? arena_str(a, list[i]) : STR_NONE;
    return copy;
}

static struct url copy_url(struct arena *a, struct url u)
{
    u.host = arena_str(a, u.host);
    u.prefix = arena_str(a, u.prefix);
    u.path = str_span(arena_cstr(a, u.path), u.path.n);
    u.origin = arena_str(a, u.origin);
    return u;
}

void snapshot_add(struct snapshot *s, const struct engine *e)
{
    struct arena *a = &s->arena;
    struct engine *to;

    s->engines = grown(a, s->engines, s->nengines, sizeof *s->engines);
    to = &s->engines[s->nengines++];
    *to = *e;
    to->name = arena_str(a, e->name);
    to->at = copy_url(a, e->at);
    to->url = arena_str(a, e->url);
    to->api_key = e->api_key.p ? arena_str(a, e->api_key) : STR_NONE;
    to->models = copy_list(a, e->models, e->nmodels);
    to->model_json = e->model_json ? copy_list(a, e->model_json, e->nmodels) : NULL;
    to->passthrough = copy_list(a, e->passthrough, e->npassthrough);
    to->half = rendezvous_name(e->name);
    to->share = e->weight > 0 ? e->weight : 1;
    to->rank = select_rank(e);
    s->classed |= e->cache != CACHE_UNSAID;
    to->cell = cell_ref(e->cell);
    if (e->slot >= s->slots)
        s->slots = e->slot + 1;
}

void snapshot_add_alias(struct snapshot *s, const struct alias *a)
{
    struct arena *arena = &s->arena;
    struct alias *to;
    bool shares = false;

    CHECK(a->ntargets <= PLAN_TARGETS_MAX);
    s->alias_list = grown(arena, s->alias_list, s->naliases, sizeof *s->alias_list);
    to = &s->alias_list[s->naliases++];
    *to = (struct alias){.name = arena_str(arena, a->name),
                         .ntargets = (uint32_t)max_size(a->ntargets, 1),
                         .fallbacks = copy_list(arena, a->fallbacks, a->nfallbacks),
                         .nfallbacks = a->nfallbacks};
    to->targets = arena_zalloc(arena, to->ntargets * sizeof *to->targets);
    to->targets[0] = (struct target){.model = to->name, .weight = 1};
    for (uint32_t i = 0; i < a->ntargets; i++) {
        to->targets[i] = a->targets[i];
        to->targets[i].model = arena_str(arena, a->targets[i].model);
        shares |= a->targets[i].weight > 0;
    }
    for (uint32_t i = 0; i < to->ntargets; i++) {
        struct target *t = &to->targets[i];

        t->half = rendezvous_name(t->model);
        t->weight += a->ntargets > 0 && !shares; /* if nobody has a share all have the same */
        to->in_turn |= (uint32_t)(t->weight > 0) << i;
    }
}

void snapshot_alias(struct snapshot *s, struct str name, struct str target)
{
    struct target one = {.model = target, .weight = 1};

    snapshot_add_alias(s, &(struct alias){.name = name, .targets = &one, .ntargets = 1});
}

void snapshot_add_nameless(struct snapshot *s)
{
    s->all = arena_new(&s->arena, struct model);
    s->all->name = STR_NONE;
    s->all->mark = (uint32_t)str_hash(STR_NONE, MARK_SEED) | 1;
}

static int by_engine_name(const void *a, const void *b)
{
    const struct engine *x = a, *y = b;
    int order = str_cmp(x->name, y->name);

    return order ? order : x->id < y->id ? -1 : x->id > y->id;
}

static int by_alias_name(const void *a, const void *b)
{
    return str_cmp(((const struct alias *)a)->name, ((const struct alias *)b)->name);
}

static int by_model_name(const void *a, const void *b)
{
    return str_cmp((*(struct model *const *)a)->name, (*(struct model *const *)b)->name);
}

static void index_model(struct snapshot *s, struct str name, const struct engine *e)
{
    struct model *m = map_find(&s->by_model, name);

    if (!m) {
        m = arena_new(&s->arena, struct model);
        m->name = name;
        m->mark = (uint32_t)str_hash(name, MARK_SEED) | 1;
        map_put(&s->by_model, name, m);
        s->models = grown(&s->arena, s->models, s->nmodels, sizeof(struct model *));
        s->models[s->nmodels++] = m;
    }
    if (m->nengines > 0 && m->engines[m->nengines - 1] == e)
        return; /* listed twice by one engine */
    m->engines = grown(&s->arena, m->engines, m->nengines, sizeof(struct engine *));
    m->engines[m->nengines++] = e;
}

/* A crowd has its own besides, which lie as its groups do, with unused places. */
static void place_credits(struct snapshot *s, struct model *m)
{
    for (uint32_t i = 0; i < m->nengines; i++) {
        m->ranked |= m->engines[i]->rank > 0 || m->engines[i]->cache != CACHE_UNSAID;
        m->classed |= m->engines[i]->cache != CACHE_UNSAID;
    }
    m->credit = s->credits;
    s->credits += m->nengines * (m->classed ? CACHE_CLASSES : 1);
    if (m->nengines >= CROWD_LEAST)
        m->crowd = crowd_build(&s->arena, m->engines, m->nengines);
    if (m->crowd) {
        m->crowd_credit = s->credits;
        s->credits += m->crowd->n * CELL_BLOCK_SEATS;
        s->crowd = (uint32_t)max_size(s->crowd, (size_t)m->crowd->n * CELL_BLOCK_SEATS);
    }
}

static void index_all(struct snapshot *s)
{
    struct model *m = s->all;

    m->engines = arena_alloc(&s->arena, max_size(s->nengines, 1) * sizeof(struct engine *));
    for (uint32_t i = 0; i < s->nengines; i++)
        m->engines[m->nengines++] = &s->engines[i];
    place_credits(s, m);
}

static void index_engines(struct snapshot *s)
{
    for (uint32_t i = 0; i < s->nengines; i++) {
        struct engine *e = &s->engines[i];

        for (uint32_t k = 0; k < e->nmodels; k++)
            index_model(s, e->models[k], e);
        for (uint32_t k = 0; k < e->npassthrough; k++)
            if (!map_find(&s->passthrough, e->passthrough[k]))
                map_put(&s->passthrough, e->passthrough[k], e);
    }
    if (s->nmodels > 1)
        qsort(s->models, s->nmodels, sizeof(struct model *), by_model_name);
    for (uint32_t i = 0; i < s->nmodels; i++)
        place_credits(s, s->models[i]);
    if (s->all)
        index_all(s);
}

/* The alias that a name stands for when it stands for one other name and says no more than that;
 * NULL at the end of a chain. */
static struct alias *next_of(const struct snapshot *s, struct str name)
{
    struct alias *a = map_find(&s->aliases, name);

    return a && a->ntargets == 1 && a->nfallbacks == 0 && !alias_is_itself(a) ? a : NULL;
}

/* Gives every target of the chain that begins with *first the end of it: each chain is walked once.
 * A circle, which the configuration refuses, is cut: one of its aliases stands for itself. */
static void shorten(struct snapshot *s, struct str *first)
{
    struct str *hop = first, end;
    struct alias *next;

    for (uint32_t n = 0; (next = next_of(s, *hop)); n++) {
        if (n == s->naliases) {
            next->targets[0].model = next->name;
            break;
        }
        hop = &next->targets[0].model;
    }
    end = *hop;
    for (hop = first; !str_eq(*hop, end);) {
        next = next_of(s, *hop);
        *hop = end;
        if (!next)
            break;
        hop = &next->targets[0].model;
    }
}

static void index_aliases(struct snapshot *s)
{
    if (s->naliases > 1)
        qsort(s->alias_list, s->naliases, sizeof *s->alias_list, by_alias_name);
    for (uint32_t i = 0; i < s->naliases; i++)
        map_put(&s->aliases, s->alias_list[i].name, &s->alias_list[i]);
    for (uint32_t i = 0; i < s->naliases; i++) {
        struct alias *a = &s->alias_list[i];

        for (uint32_t k = 0; k < a->ntargets && !alias_is_itself(a); k++)
            shorten(s, &a->targets[k].model);
        a->credit = s->credits;
        s->credits += a->ntargets > 1 ? a->ntargets : 0;
    }
}

/* Credits go up to the sum of all shares: where weights are large and many that is too much, and
 * shares are made smaller in proportion. */
static void fit_shares(struct snapshot *s)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->nengines; i++)
        sum += s->engines[i].share;
    for (uint32_t i = 0; sum > SHARES_MOST && i < s->nengines; i++)
        s->engines[i].share =
            (uint32_t)max_u64(s->engines[i].share * (uint64_t)SHARES_MOST / sum, 1);
}

void snapshot_seal(struct snapshot *s)
{
    fit_shares(s);
    if (s->nengines > 1)
        qsort(s->engines, s->nengines, sizeof *s->engines, by_engine_name);
    index_engines(s);
    index_aliases(s);
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void snapshot_unref(struct snapshot **sp)
{
    struct snapshot *s = TAKE(sp);

    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < s->nengines; i++)
        cell_unref(&s->engines[i].cell);
    map_fini(&s->by_model);
    map_fini(&s->aliases);
    map_fini(&s->passthrough);
    if (s->conf)
        s->conf_unref(s->conf);
    arena_clear(&s->arena);
    mem_free(s);
}

const struct model *snapshot_model(const struct snapshot *s, struct str name)
{
    return name.p ? map_find(&s->by_model, name) : s->all;
}
