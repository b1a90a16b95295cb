/* SPDX-License-Identifier: Apache-2.0
 *
 * crowd.c - see crowd.h. Two passes over the groups: the first computes every engine's load for its
 * weight and the least of them, the second does a step of smooth weighted round robin among those
 * that have it. Vectors of four words, as every machine has them; the division is exactly rounded,
 * so equal fractions are equal keys.
 *
 * The words of a block are written by others while they are read here: each is read whole, which is
 * all that selection asks (a slot is reserved after, never assumed).
 */
#include "fleet/crowd.h"

#include <math.h>
#include <stdlib.h>

#include "fleet/rendezvous.h"

typedef int32_t v4i __attribute__((vector_size(16)));
typedef float v4f __attribute__((vector_size(16)));

_Static_assert(engine_kind_unset == 0 && ENGINE_KIND_OLLAMA < 8, "kinds fit of_kind[]");

/* --- building --- */

static int by_seat(const void *a, const void *b)
{
    const struct cell *x = (*(const struct engine *const *)a)->cell;
    const struct cell *y = (*(const struct engine *const *)b)->cell;

    if (x->block != y->block)
        return x->block->number < y->block->number ? -1 : 1;
    return x->seat < y->seat ? -1 : x->seat > y->seat;
}

static void set_divisors(struct crowd_group *g)
{
    for (unsigned i = 0; i < CELL_BLOCK_SEATS; i++)
        g->divisor[i] = g->weight[i] == 0 ? NAN : (float)g->weight[i];
}

struct crowd *crowd_build(struct arena *a, const struct engine *const *engines, uint32_t all)
{
    const struct engine **sorted = arena_alloc(a, max_size(all, 1) * sizeof(void *));
    struct crowd_group *g = NULL;
    struct crowd *c;
    uint32_t n = 0;

    for (uint32_t i = 0; i < all; i++)
        if (engines[i]->rank == 0)
            sorted[n++] = engines[i];
    if (n < CROWD_LEAST)
        return NULL;
    c = arena_new(a, struct crowd);
    qsort(sorted, n, sizeof(void *), by_seat);
    for (uint32_t i = 0; i < n; i++)
        c->n += i == 0 || sorted[i]->cell->block != sorted[i - 1]->cell->block;
    c->groups = arena_zalloc(a, c->n * sizeof *c->groups);
    for (uint32_t i = 0; i < n; i++) {
        const struct engine *e = sorted[i];
        uint32_t seat = e->cell->seat;

        if (!g || g->block != e->cell->block) {
            g = g ? g + 1 : c->groups;
            g->block = e->cell->block;
        }
        g->weight[seat] = (int32_t)e->share;
        g->id[seat] = e->id;
        g->half[seat] = e->half;
        g->engine[seat] = e;
        g->of_kind[e->kind] |= UINT64_C(1) << seat;
        c->kinds |= 1u << e->kind;
    }
    c->kinds &= ~1u; /* who did not say speaks everything */
    for (uint32_t i = 0; i < c->n; i++)
        set_divisors(&c->groups[i]);
    return c;
}

/* --- selection --- */

#ifdef __SANITIZE_THREAD__
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WATCHED 1
#endif
#endif

static v4i read_words(const _Atomic uint32_t *from)
{
    v4i words;

#ifdef WATCHED
    for (unsigned i = 0; i < 4; i++)
        words[i] = (int32_t)atomic_load_explicit(&from[i], memory_order_relaxed);
#else
    memcpy(&words, (const void *)(uintptr_t)from, sizeof words);
#endif
    return words;
}

static v4f read_floats(const float *from)
{
    v4f floats;

    memcpy(&floats, from, sizeof floats);
    return floats;
}

static v4i choose(v4i mask, v4i yes, v4i no) { return (mask & yes) | (~mask & no); }

/* Bit per seat that this request must not have. */
static uint64_t out_of_bounds(const struct crowd_group *g, const struct select_facts *f)
{
    uint64_t out = 0;

    for (unsigned kind = 1; kind < ARRAY_LEN(g->of_kind); kind++)
        if (!(f->kinds >> kind & 1))
            out |= g->of_kind[kind];
    for (uint32_t k = 0; k < f->ntried; k++)
        for (unsigned i = 0; i < CELL_BLOCK_SEATS; i++)
            out |= (uint64_t)(g->id[i] == f->tried[k]) << i;
    return out;
}

/* Of a load word, what is no handicap. */
static const v4i mask = {CELL_LOAD_MASK, CELL_LOAD_MASK, CELL_LOAD_MASK, CELL_LOAD_MASK};

/* The load and the handicap, which stands above it: its bits are few, so the product is exact. */
static v4f weighed(v4i word)
{
    return __builtin_convertvector(word & mask, v4f) +
           __builtin_convertvector(word & ~mask, v4f) * (1.0f / (CELL_LOAD_MASK + 1));
}

/* Fills in the keys of a group, NAN for whom cannot be asked, and keeps the least: comparing with a
 * NAN is false, so it is never the least nor an equal. */
static v4f weigh(const struct crowd_group *g, float *keys, v4f least)
{
    for (unsigned i = 0; i < CELL_BLOCK_SEATS; i += 4) {
        v4i word = read_words(g->block->load + i), most = read_words(g->block->most + i);
        v4i load = word & mask;
        v4f key = weighed(word) / read_floats(g->divisor + i);

        key = (v4f)((v4i)key | (load >= most)); /* all bits set are a NAN */
        memcpy(keys + i, &key, sizeof key);
        least = (v4f)choose(key < least, (v4i)key, (v4i)least);
    }
    return least;
}

/* The same once more without those who are out. */
static v4f weigh_again(float *keys, uint64_t out, v4f least)
{
    for (unsigned i = 0; i < CELL_BLOCK_SEATS; i++)
        if (out >> i & 1)
            keys[i] = NAN;
    for (unsigned i = 0; i < CELL_BLOCK_SEATS; i += 4) {
        v4f key = read_floats(keys + i);

        least = (v4f)choose(key < least, (v4i)key, (v4i)least);
    }
    return least;
}

/* Whether somebody of the group would do, had it a free slot. */
static bool is_full(const struct crowd_group *g, uint64_t out)
{
    for (unsigned i = 0; i < CELL_BLOCK_SEATS; i++) {
        uint32_t most = atomic_load_explicit(&g->block->most[i], memory_order_relaxed);

        if (g->weight[i] > 0 && !(out >> i & 1) && most > 0 &&
            (atomic_load_explicit(&g->block->load[i], memory_order_relaxed) & CELL_LOAD_MASK) >=
                most)
            return true;
    }
    return false;
}

struct best {
    v4i credit, index; /* of the largest so far, of each of the four columns */
    v4i sum;           /* of the equals' weights */
};

/* Every equal of a group earns its weight. */
static void earn(const struct crowd_group *g, const float *keys, v4f least, int32_t *credit,
                 v4i index, struct best *b)
{
    const v4i four = {4, 4, 4, 4};

    for (unsigned i = 0; i < CELL_BLOCK_SEATS; i += 4, index += four) {
        v4i equal = read_floats(keys + i) == least, weight, had, better;

        memcpy(&weight, g->weight + i, sizeof weight);
        memcpy(&had, credit + i, sizeof had);
        had += weight & equal;
        b->sum += weight & equal;
        memcpy(credit + i, &had, sizeof had);
        better = (had > b->credit) & equal;
        b->credit = choose(better, had, b->credit);
        b->index = choose(better, index, b->index);
    }
}

/* One step of smooth weighted round robin among the equals; the first of the largest. */
static uint32_t settle(const struct crowd *c, const float *keys, float least, int32_t *credit)
{
    const v4f all = {least, least, least, least};
    struct best b = {.credit = {INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN}};
    unsigned column = 0;

    for (uint32_t i = 0; i < c->n; i++) {
        int32_t at = (int32_t)(i * CELL_BLOCK_SEATS);

        earn(&c->groups[i], keys + at, all, credit + at, (v4i){at, at + 1, at + 2, at + 3}, &b);
    }
    for (unsigned k = 1; k < 4; k++)
        if (b.credit[k] > b.credit[column] ||
            (b.credit[k] == b.credit[column] && b.index[k] < b.index[column]))
            column = k;
    credit[b.index[column]] -= b.sum[0] + b.sum[1] + b.sum[2] + b.sum[3];
    return (uint32_t)b.index[column];
}

bool crowd_select(const struct crowd *crowd, const struct select_facts *facts, int32_t *credit,
                  float *keys, const struct engine **ret, bool *full)
{
    v4f least = {INFINITY, INFINITY, INFINITY, INFINITY};
    bool all = facts->ntried == 0 && (crowd->kinds & ~facts->kinds) == 0;
    float best = INFINITY;
    uint32_t chosen;

    for (uint32_t i = 0; i < crowd->n; i++) {
        const struct crowd_group *g = &crowd->groups[i];
        float *k = keys + (size_t)i * CELL_BLOCK_SEATS;
        uint64_t out = all ? 0 : out_of_bounds(g, facts);
        v4f before = least;

        least = weigh(g, k, least);
        if (out)
            least = weigh_again(k, out, before);
    }
    for (unsigned k = 0; k < 4; k++)
        best = least[k] < best ? least[k] : best;
    *full = false;
    for (uint32_t i = 0; best == INFINITY && !*full && i < crowd->n; i++)
        *full = is_full(&crowd->groups[i], out_of_bounds(&crowd->groups[i], facts));
    if (best == INFINITY)
        return false;
    chosen = settle(crowd, keys, best, credit);
    *ret = crowd->groups[chosen / CELL_BLOCK_SEATS].engine[chosen % CELL_BLOCK_SEATS];
    return true;
}

/* --- sessions --- */

/* What the candidates of a group carry and weigh. */
static void add_up(const struct crowd_group *g, uint64_t out, uint64_t *in_flight,
                   uint64_t *weights)
{
    v4i loads = {0, 0, 0, 0}, sum = {0, 0, 0, 0};
    const v4i none = {0, 0, 0, 0};

    for (unsigned i = 0; i < CELL_BLOCK_SEATS; i += 4) {
        v4i load = read_words(g->block->load + i) & mask, most = read_words(g->block->most + i);
        v4i weight, counts;

        memcpy(&weight, g->weight + i, sizeof weight);
        for (unsigned k = 0; out && k < 4; k++)
            weight[k] = out >> (i + k) & 1 ? 0 : weight[k];
        counts = (weight > none) & (most > none);
        loads += load & counts;
        sum += weight & counts;
    }
    *in_flight += (uint64_t)loads[0] + (uint64_t)loads[1] + (uint64_t)loads[2] + (uint64_t)loads[3];
    *weights += (uint64_t)sum[0] + (uint64_t)sum[1] + (uint64_t)sum[2] + (uint64_t)sum[3];
}

/* Who is no candidate, has no room or is out is asked only when its bid might win: few are. */
static void take_bids(const struct crowd_group *g, const struct select_facts *f,
                      const struct rendezvous_bound *bound, bool all, struct rendezvous *best,
                      const struct engine **ret)
{
    uint64_t out = all ? 0 : out_of_bounds(g, f);

    for (unsigned i = 0; i < CELL_BLOCK_SEATS; i++) {
        uint64_t hash = rendezvous_hash(f->session, g->half[i]);
        uint32_t weight = (uint32_t)g->weight[i], load;

        if (!rendezvous_hopes(best, hash, weight) || weight == 0 || (out >> i & 1))
            continue;
        load = atomic_load_explicit(&g->block->load[i], memory_order_relaxed) & CELL_LOAD_MASK;
        if (load < atomic_load_explicit(&g->block->most[i], memory_order_relaxed) &&
            rendezvous_within(bound, load, weight) && rendezvous_bid(best, hash, weight))
            *ret = g->engine[i];
    }
}

bool crowd_keep_session(const struct crowd *crowd, const struct select_facts *facts,
                        const struct engine **ret)
{
    bool all = facts->ntried == 0 && (crowd->kinds & ~facts->kinds) == 0;
    double factor = facts->affinity->load_factor;
    struct rendezvous best = {.weight = 0};
    struct rendezvous_bound bound;
    uint64_t in_flight = 0, weights = 0;

    for (uint32_t i = 0; factor > 0 && i < crowd->n; i++)
        add_up(&crowd->groups[i], all ? 0 : out_of_bounds(&crowd->groups[i], facts), &in_flight,
               &weights);
    bound = rendezvous_bound(factor, facts->affinity->min_load, in_flight, weights);
    for (uint32_t i = 0; i < crowd->n; i++)
        take_bids(&crowd->groups[i], facts, &bound, all, &best, ret);
    return best.weight > 0;
}
