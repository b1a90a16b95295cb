/* SPDX-License-Identifier: Apache-2.0
 *
 * select_bench.c - what choosing an engine costs: ns per request for looking up its model, choosing
 * and reserving, in the fleets of the budget: 10,000 engines with 1,000 models, ten engines a
 * model, models asked for at random; and one model on all 10,000. Requests stay in flight for a
 * while, so loads differ: with few in flight nearly all engines are equals, which is the worst
 * case; with many the least loaded are few. Best of several rounds of at least 50 ms each. Prints
 * one line per fleet; with --check it fails above the budget.
 */
#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "fleet/rendezvous.h"
#include "fleet/select.h"

enum { ENGINES = 10000, HELD_MAX = 30000, ROUNDS = 7 };

struct fleet {
    const char *name;
    uint32_t models;    /* engines are spread over them */
    uint32_t in_flight; /* requests held at once */
    bool weighted;      /* weights 1 to 4 instead of 1 */
    bool sessions;      /* every request belongs to one of many */
    double budget_ns;
};

static const struct fleet fleets[] = {
    {"1,000 models, 10 engines each, idle", 1000, 0, false, false, 2000},
    {"1,000 models, 10 engines each, 20,000 in flight", 1000, 20000, false, false, 2000},
    {"one model on 10,000 engines, idle", 1, 0, false, false, 15000},
    {"one model on 10,000 engines, weighted, idle", 1, 0, true, false, 15000},
    {"one model on 10,000 engines, 5,000 in flight", 1, 5000, false, false, 15000},
    {"one model on 10,000 engines, weighted, 25,000 in flight", 1, 25000, true, false, 15000},
    {"sessions, 1,000 models, 10 engines each", 1000, 20000, false, true, 2000},
    {"sessions, one model on 10,000 engines, idle", 1, 0, false, true, 100000},
    {"sessions, one model on 10,000 engines, 25,000 in flight", 1, 25000, false, true, 100000},
    {"sessions, the same, weighted", 1, 25000, true, true, 100000},
};

static double cpu_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint32_t random_below(uint32_t n) /* xorshift64* */
{
    static uint64_t s = 88172645463325252ULL;

    s ^= s >> 12;
    s ^= s << 25;
    s ^= s >> 27;
    return (uint32_t)((s * 2685821657736338717ULL) >> 33) % n;
}

static char names[ENGINES][16]; /* of models */

static struct snapshot *build(const struct fleet *f)
{
    struct snapshot *s = snapshot_begin(1, 1);

    for (uint32_t i = 0; i < ENGINES; i++) {
        char name[24];
        struct str model;
        struct engine e = {.id = i, .slot = i, .models = &model, .nmodels = 1};

        (void)snprintf(names[i % f->models], sizeof names[0], "model-%u", i % f->models);
        (void)snprintf(name, sizeof name, "engine-%u", i);
        e.name = str_of(name);
        model = str_of(names[i % f->models]);
        e.weight = f->weighted ? 1 + i % 4 : 1;
        e.cell = cell_create(0);
        snapshot_add(s, &e);
        cell_unref(&e.cell);
    }
    snapshot_seal(s);
    return s;
}

struct run {
    const struct fleet *fleet;
    struct snapshot *snapshot;
    struct select_credits credits;
    struct cell *held[HELD_MAX];
    uint32_t n;
};

/* One request: looked up, chosen, reserved; one that began earlier ends. */
static void request(struct run *r)
{
    static const struct affinity_conf affinity = {.load_factor = 1.25, .min_load = 8};
    struct select_facts facts = {.kinds = 1};
    const struct engine *e;

    if (r->fleet->sessions) {
        char key[24];

        (void)snprintf(key, sizeof key, "conversation-%u", random_below(100000));
        facts.affinity = &affinity;
        facts.session = rendezvous_session(STR("model"), STR("prompt_cache"), str_of(key));
    }
    facts.model = snapshot_model(r->snapshot, str_of(names[random_below(r->fleet->models)]));
    CHECK(facts.model != NULL);
    CHECK(select_engine(&facts, &r->credits, &e) == SELECT_ONE && cell_take(e->cell, false));
    r->held[r->n++] = e->cell;
    if (r->n > r->fleet->in_flight) {
        uint32_t gone = random_below(r->n);

        (void)cell_give(r->held[gone]);
        r->held[gone] = r->held[--r->n];
    }
}

static double measure(struct run *r)
{
    double best = 1e9;

    for (uint32_t i = 0; i < r->fleet->in_flight; i++)
        request(r);
    for (int round = 0; round < ROUNDS; round++) {
        double began = cpu_s(), spent;
        uint32_t n = 0;

        do {
            for (int i = 0; i < 100; i++)
                request(r);
            n += 100;
            spent = cpu_s() - began;
        } while (spent < 0.05);
        best = spent * 1e9 / n < best ? spent * 1e9 / n : best;
    }
    return best;
}

static double run_fleet(const struct fleet *f)
{
    static struct run r;
    double ns;

    r = (struct run){.fleet = f, .snapshot = build(f)};
    select_credits_fit(&r.credits, r.snapshot);
    ns = measure(&r);
    printf("%-58s %8.0f ns, budget %.0f\n", f->name, ns, f->budget_ns);
    while (r.n)
        (void)cell_give(r.held[--r.n]);
    select_credits_fini(&r.credits);
    snapshot_unref(&r.snapshot);
    return ns;
}

int main(int argc, char **argv)
{
    bool check = argc > 1 && str_eq(str_of(argv[1]), STR("--check")), over = false;

    for (size_t i = 0; i < ARRAY_LEN(fleets); i++)
        over |= run_fleet(&fleets[i]) > fleets[i].budget_ns;
    return check && over;
}
