/* SPDX-License-Identifier: Apache-2.0
 *
 * select_test.c - whom to ask, as properties over random fleets: the answer is always one that
 * could be given, none with less load exists, none is given only for the reason that is named; and
 * smooth weighted round robin, step by step and as shares.
 */
#include "fleet_rig.h"

#include "fleet/crowd.h"
#include "fleet/rendezvous.h"

enum { FEW = 16 };

static uint64_t seed = 88172645463325252ULL;

static uint32_t random_below(uint32_t n) /* xorshift64* */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (uint32_t)((seed * 2685821657736338717ULL) >> 33) % n;
}

struct rig {
    struct fleet_rig f;
    struct select_credits credits;
    struct select_facts facts;
};

static void ready(struct rig *r, const char *model)
{
    snapshot_seal(r->f.snapshot);
    select_credits_fit(&r->credits, r->f.snapshot);
    r->facts.model = fleet_model(&r->f, model);
    r->facts.kinds = 1u << ENGINE_KIND_OPENAI;
}

static void end(struct rig *r)
{
    for (uint32_t i = 0; i < r->f.n; i++)
        fleet_carry(&r->f, i, 0);
    select_credits_fini(&r->credits);
    fleet_fini(&r->f);
}

/* The name of the chosen one. */
static char choose(struct rig *r)
{
    const struct engine *e = NULL;

    assert_int_equal(select_engine(&r->facts, &r->credits, &e), SELECT_ONE);
    assert_non_null(e);
    return e->name.p[0];
}

static void chooses(struct rig *r, const char *names)
{
    for (; *names; names++)
        assert_int_equal(choose(r), *names);
}

static void nobody(struct rig *r, enum select_verdict why)
{
    const struct engine *e = (const struct engine *)r;

    assert_int_equal(select_engine(&r->facts, &r->credits, &e), why);
    assert_ptr_equal(e, r); /* written only on success */
}

static void test_smooth_weighted_round_robin(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    fleet_add(&r.f, "a", "m", 3, 0, engine_kind_unset);
    fleet_add(&r.f, "b", "m", 1, 0, engine_kind_unset);
    ready(&r, "m");
    chooses(&r, "aabaaabaaaba"); /* nothing is in flight: all are equals */
    end(&r);
    memset(&r, 0, sizeof r);
    fleet_add(&r.f, "a", "m", 5, 0, engine_kind_unset);
    fleet_add(&r.f, "b", "m", 1, 0, engine_kind_unset);
    fleet_add(&r.f, "c", "m", 1, 0, engine_kind_unset);
    ready(&r, "m");
    chooses(&r, "aabacaaaabacaa"); /* nginx's example */
    end(&r);
    memset(&r, 0, sizeof r);
    fleet_add(&r.f, "a", "m", 7, 0, engine_kind_unset);
    fleet_add(&r.f, "b", "m", 7, 0, engine_kind_unset);
    fleet_add(&r.f, "c", "m", 7, 0, engine_kind_unset);
    ready(&r, "m");
    chooses(&r, "abcabcabc");
    end(&r);
}

static void test_models_have_credits_of_their_own(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    fleet_add(&r.f, "a", "m n", 1, 0, engine_kind_unset);
    fleet_add(&r.f, "b", "m n", 1, 0, engine_kind_unset);
    ready(&r, "m");
    for (int i = 0; i < 5; i++) {
        r.facts.model = fleet_model(&r.f, "m");
        assert_int_equal(choose(&r), "ab"[i % 2]);
        r.facts.model = fleet_model(&r.f, "n");
        assert_int_equal(choose(&r), "ab"[i % 2]);
    }
    end(&r);
}

static void test_credits_begin_anew_with_a_snapshot(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};
    struct fleet_rig next = {.snapshot = snapshot_begin(2, 7)};

    (void)state;
    fleet_add(&r.f, "a", "m", 1, 0, engine_kind_unset);
    fleet_add(&r.f, "b", "m", 1, 0, engine_kind_unset);
    ready(&r, "m");
    chooses(&r, "a");
    select_credits_fit(&r.credits, r.f.snapshot); /* the same one: nothing is lost */
    chooses(&r, "b");
    chooses(&r, "a");
    fleet_add(&next, "a", "m", 1, 0, engine_kind_unset);
    fleet_add(&next, "b", "m", 1, 0, engine_kind_unset);
    fleet_add(&next, "c", "m", 1, 0, engine_kind_unset);
    snapshot_seal(next.snapshot);
    select_credits_fit(&r.credits, next.snapshot);
    r.facts.model = fleet_model(&next, "m");
    chooses(&r, "abc");
    fleet_fini(&next);
    end(&r);
}

static void test_least_load_for_its_weight(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    fleet_add(&r.f, "a", "m", 1, 0, engine_kind_unset);
    fleet_add(&r.f, "b", "m", 4, 0, engine_kind_unset);
    ready(&r, "m");
    fleet_carry(&r.f, 0, 1);
    fleet_carry(&r.f, 1, 3);
    chooses(&r, "bbb"); /* 3/4 is less than 1/1 */
    fleet_carry(&r.f, 1, 5);
    chooses(&r, "aaa");
    fleet_carry(&r.f, 1, 4);
    chooses(&r, "bbabbbba"); /* equals: by weight */
    end(&r);
}

static void test_shares_follow_weights(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};
    uint32_t got[10] = {0}, sum = 0;

    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        char name[2] = {(char)('a' + i), 0};

        fleet_add(&r.f, name, "m", i * i + 1, 0, engine_kind_unset);
        sum += i * i + 1;
    }
    ready(&r, "m");
    for (uint32_t i = 0; i < sum * 3; i++)
        got[choose(&r) - 'a']++;
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(got[i], 3 * (i * i + 1)); /* exactly, every `sum` choices */
    end(&r);
}

static void test_filters(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    fleet_add(&r.f, "a", "m", 1, 1, ENGINE_KIND_OLLAMA);
    fleet_add(&r.f, "b", "m", 1, 1, engine_kind_unset);
    fleet_add(&r.f, "c", "m", 1, 1, ENGINE_KIND_OPENAI);
    ready(&r, "m");
    chooses(&r, "bcbc"); /* an unset kind speaks everything */
    r.facts.kinds = 1u << ENGINE_KIND_OLLAMA;
    chooses(&r, "abab");
    r.facts.kinds = 1u << ENGINE_KIND_OPENAI;
    r.facts.tried[r.facts.ntried++] = 1;
    chooses(&r, "ccc");
    fleet_carry(&r.f, 2, 1);
    nobody(&r, SELECT_FULL);
    r.facts.ntried = 0;
    chooses(&r, "bbb");
    cell_set(r.f.cells[1], CELL_PROBED, CELL_BAD);
    nobody(&r, SELECT_FULL);
    fleet_carry(&r.f, 2, 0);
    cell_set(r.f.cells[2], CELL_SUPERVISED, CELL_CLOSED);
    nobody(&r, SELECT_FOREIGN);
    end(&r);
}

static void test_why_nobody(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    fleet_add(&r.f, "a", "m", 1, 1, ENGINE_KIND_OPENAI);
    fleet_add(&r.f, "b", "m", 1, 1, ENGINE_KIND_OPENAI);
    ready(&r, "m");
    cell_set(r.f.cells[0], CELL_SUPERVISED, CELL_COMING);
    cell_set(r.f.cells[1], CELL_LISTED, CELL_BAD);
    nobody(&r, SELECT_COMING);
    cell_set(r.f.cells[0], CELL_PROBED, CELL_BAD); /* the worse word wins */
    nobody(&r, SELECT_NOBODY);
    cell_set(r.f.cells[1], CELL_LISTED, CELL_GOOD);
    chooses(&r, "b");
    fleet_carry(&r.f, 1, 1);
    cell_set(r.f.cells[0], CELL_PROBED, CELL_GOOD);
    nobody(&r, SELECT_FULL); /* one that runs is nearer than one that comes */
    r.facts.tried[r.facts.ntried++] = 1;
    nobody(&r, SELECT_COMING);
    r.facts.tried[r.facts.ntried++] = 0;
    nobody(&r, SELECT_NOBODY);
    end(&r);
}

/* --- random fleets --- */

/* Of up to `most` engines; from CROWD_LEAST on they are a crowd. */
static void random_fleet(struct rig *r, uint32_t most)
{
    static const enum cell_source spoken[] = {CELL_LISTED, CELL_PROBED, CELL_SUPERVISED};
    static const enum cell_verdict verdicts[] = {CELL_NO_WORD, CELL_NO_WORD, CELL_NO_WORD,
                                                 CELL_GOOD,    CELL_GOOD,    CELL_COMING,
                                                 CELL_BAD,     CELL_CLOSED};
    uint32_t n = 1 + random_below(most);

    for (uint32_t i = 0; i < n; i++) {
        char name[2] = {(char)('a' + i % 26), 0};
        enum engine_kind kind = (enum engine_kind)random_below(ENGINE_KIND_OLLAMA + 1);

        fleet_add(&r->f, name, random_below(4) ? "m" : "m n", 1 + random_below(4), random_below(4),
                  kind);
        fleet_carry(&r->f, i, random_below(4));
        cell_set(r->f.cells[i], spoken[random_below(ARRAY_LEN(spoken))],
                 verdicts[random_below(ARRAY_LEN(verdicts))]);
    }
    ready(r, "m");
    r->facts.kinds = random_below(32);
    r->facts.ntried = random_below(4);
    for (uint32_t i = 0; i < r->facts.ntried; i++)
        r->facts.tried[i] = random_below(n);
}

enum fit { FITS, IS_FOREIGN, WAS_TRIED, IS_COMING, IS_OUT, IS_FULL };

/* The rule once more, in other words than the code's. */
static enum fit judge(const struct select_facts *f, const struct engine *e)
{
    if (e->kind && !(f->kinds >> e->kind & 1))
        return IS_FOREIGN;
    for (uint32_t i = 0; i < f->ntried; i++)
        if (f->tried[i] == e->id)
            return WAS_TRIED;
    if (cell_state(e->cell) != CELL_GOOD)
        return cell_state(e->cell) == CELL_COMING ? IS_COMING : IS_OUT;
    return cell_full(e->cell) ? IS_FULL : FITS;
}

static void check_choice(const struct select_facts *f, enum select_verdict v,
                         const struct engine *e)
{
    uint32_t count[IS_FULL + 1] = {0};

    for (uint32_t i = 0; i < f->model->nengines; i++) {
        const struct engine *other = f->model->engines[i];
        enum fit fit = judge(f, other);

        count[fit]++;
        if (v == SELECT_ONE && fit == FITS) /* load / weight is not less */
            assert_true((uint64_t)cell_load(other->cell) * e->weight >=
                        (uint64_t)cell_load(e->cell) * other->weight);
    }
    assert_int_equal(v, count[FITS]         ? SELECT_ONE
                        : count[IS_FULL]    ? SELECT_FULL
                        : count[IS_COMING]  ? SELECT_COMING
                        : count[IS_FOREIGN] ? SELECT_FOREIGN
                                            : SELECT_NOBODY);
    if (v == SELECT_ONE)
        assert_int_equal(judge(f, e), FITS);
}

static void test_random_fleets(void **state)
{
    uint32_t seen[SELECT_FOREIGN + 1] = {0};

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct rig r = {.facts = {.ntried = 0}};

        random_fleet(&r, round % 10 ? FEW : FLEET_MAX);
        for (int i = 0; i < 6; i++) {
            const struct engine *e = NULL;
            enum select_verdict v = select_engine(&r.facts, &r.credits, &e);

            seen[v]++;
            check_choice(&r.facts, v, e);
            if (e && random_below(2))
                cell_hold(e->cell);
        }
        end(&r);
    }
    for (size_t v = 0; v < ARRAY_LEN(seen); v++) /* the fleets were random enough */
        assert_true(seen[v] > 20);
}

/* As a request walks: each next one is another, until the reason says that nobody is left. */
static void test_trying_all_ends(void **state)
{
    (void)state;
    for (int round = 0; round < 1000; round++) {
        struct rig r = {.facts = {.ntried = 0}};
        const struct engine *e;
        uint32_t ids[SELECT_TRIED_MAX];

        random_fleet(&r, round % 10 ? FEW : FLEET_MAX);
        r.facts.ntried = 0;
        while (r.facts.ntried < SELECT_TRIED_MAX &&
               select_engine(&r.facts, &r.credits, &e) == SELECT_ONE) {
            for (uint32_t i = 0; i < r.facts.ntried; i++)
                assert_int_not_equal(ids[i], e->id);
            ids[r.facts.ntried] = e->id;
            r.facts.tried[r.facts.ntried++] = e->id;
        }
        end(&r);
    }
}

/* --- crowds --- */

/* The rule step by step over engines in the order of their seats. */
static bool has_least(const struct fleet_rig *f, const uint32_t *weights, uint32_t i)
{
    for (uint32_t k = 0; k < f->n; k++)
        if ((uint64_t)cell_load(f->cells[i]) * weights[k] >
            (uint64_t)cell_load(f->cells[k]) * weights[i])
            return false;
    return true;
}

static uint32_t smooth(const struct fleet_rig *f, const uint32_t *weights, int64_t *credit)
{
    uint32_t best = UINT32_MAX;
    int64_t sum = 0;

    for (uint32_t i = 0; i < f->n; i++) {
        if (!has_least(f, weights, i))
            continue;
        credit[i] += weights[i];
        sum += weights[i];
        best = best == UINT32_MAX || credit[i] > credit[best] ? i : best;
    }
    credit[best] -= sum;
    return best;
}

static void test_a_crowd_is_served_by_the_same_rule(void **state)
{
    (void)state;
    for (uint32_t n = CROWD_LEAST - 1; n <= FLEET_MAX; n += 51) {
        struct rig r = {.facts = {.ntried = 0}};
        uint32_t weights[FLEET_MAX];
        int64_t credit[FLEET_MAX] = {0};

        for (uint32_t i = 0; i < n; i++) {
            char name[8];

            (void)snprintf(name, sizeof name, "e%03u", i);
            weights[i] = 1 + random_below(3);
            fleet_add(&r.f, name, "m", weights[i], 0, engine_kind_unset);
            fleet_carry(&r.f, i, random_below(3) ? 0 : weights[i] * random_below(2));
        }
        ready(&r, "m");
        assert_true((r.facts.model->crowd != NULL) == (n >= CROWD_LEAST));
        for (int i = 0; i < 400; i++) {
            const struct engine *e;

            assert_int_equal(select_engine(&r.facts, &r.credits, &e), SELECT_ONE);
            assert_int_equal(e->id, smooth(&r.f, weights, credit));
            if (random_below(4) == 0)
                cell_hold(e->cell);
        }
        end(&r);
    }
}

static void test_a_full_crowd_is_full(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    for (uint32_t i = 0; i < 100; i++)
        fleet_add(&r.f, "x", "m", 1, 2, i < 50 ? ENGINE_KIND_OPENAI : ENGINE_KIND_OLLAMA);
    ready(&r, "m");
    for (uint32_t i = 0; i < 50; i++)
        fleet_carry(&r.f, i, 2);
    nobody(&r, SELECT_FULL); /* those of the other kind are free, but do not speak this */
    cell_set_slots(r.f.cells[7], 3);
    for (int i = 0; i < 3; i++) {
        const struct engine *e;

        assert_int_equal(select_engine(&r.facts, &r.credits, &e), SELECT_ONE);
        assert_int_equal(e->id, 7);
    }
    r.facts.tried[r.facts.ntried++] = 7;
    nobody(&r, SELECT_FULL);
    for (uint32_t i = 0; i < 50; i++)
        cell_set(r.f.cells[i], CELL_PROBED, i == 20 ? CELL_COMING : CELL_BAD);
    nobody(&r, SELECT_COMING);
    cell_set(r.f.cells[20], CELL_PROBED, CELL_CLOSED);
    nobody(&r, SELECT_FOREIGN);
    r.facts.kinds = UINT32_MAX;
    for (uint32_t i = 50; i < 100; i++)
        cell_set(r.f.cells[i], CELL_LISTED, CELL_BAD);
    nobody(&r, SELECT_NOBODY);
    end(&r);
}

/* --- ranks --- */

static void add(struct rig *r, const char *name, uint32_t weight, enum cache_class cache,
                bool absent)
{
    fleet_add_engine(&r->f, name, "m", 0,
                     (struct engine){.weight = weight, .cache = cache, .absent = absent});
}

static void test_absent_engines_come_last(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    add(&r, "a", 5, CACHE_UNSAID, true);
    add(&r, "b", 1, CACHE_UNSAID, false);
    add(&r, "c", 1, CACHE_UNSAID, false);
    ready(&r, "m");
    fleet_carry(&r.f, 1, 50);
    fleet_carry(&r.f, 2, 60);
    chooses(&r, "bbb"); /* whatever they carry */
    r.facts.tried[r.facts.ntried++] = 1;
    chooses(&r, "ccc");
    cell_set(r.f.cells[2], CELL_PROBED, CELL_BAD);
    chooses(&r, "aaa"); /* there is no other */
    end(&r);
}

static void test_class_that_is_wanted(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    add(&r, "a", 1, CACHE_STATIC, false);
    add(&r, "b", 1, CACHE_PAGED, false);
    add(&r, "c", 1, CACHE_UNSAID, false);
    add(&r, "d", 1, CACHE_PAGED, true);
    add(&r, "e", 1, CACHE_STATIC, true);
    ready(&r, "m");
    r.facts.wanted = CACHE_PAGED;
    chooses(&r, "bbb");
    r.facts.wanted = CACHE_STATIC;
    chooses(&r, "aaa");
    r.facts.wanted = CACHE_UNSAID;
    chooses(&r, "abcabc");
    cell_set(r.f.cells[1], CELL_PROBED, CELL_BAD);
    r.facts.wanted = CACHE_PAGED;
    chooses(&r, "acac"); /* nobody who is listed has it: all of these, and not the absent one */
    cell_set(r.f.cells[0], CELL_PROBED, CELL_BAD);
    cell_set(r.f.cells[2], CELL_PROBED, CELL_BAD);
    chooses(&r, "ddd");
    end(&r);
}

static void test_weight_0_gets_nothing_new(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    add(&r, "a", 0, CACHE_UNSAID, false);
    add(&r, "b", 3, CACHE_UNSAID, false);
    add(&r, "c", 0, CACHE_UNSAID, false);
    add(&r, "d", 1, CACHE_UNSAID, true);
    ready(&r, "m");
    fleet_carry(&r.f, 1, 100);
    chooses(&r, "bbbb");
    cell_set(r.f.cells[1], CELL_PROBED, CELL_BAD);
    chooses(&r, "acacac"); /* all are 0: all count as 1 */
    fleet_carry(&r.f, 0, 1);
    chooses(&r, "ccc");
    end(&r);
}

/* Class first, weight within it: who has no weight is still the only one of its class. */
static void test_ranks_are_settled_one_after_the_other(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    add(&r, "a", 0, CACHE_STATIC, false);
    add(&r, "b", 2, CACHE_PAGED, false);
    add(&r, "c", 1, CACHE_PAGED, false);
    ready(&r, "m");
    r.facts.wanted = CACHE_STATIC;
    chooses(&r, "aaa");
    r.facts.wanted = CACHE_PAGED;
    chooses(&r, "bcbbcb");
    r.facts.wanted = CACHE_UNSAID;
    chooses(&r, "bcb");
    end(&r);
}

static void test_round_robin_counts_turns_and_no_loads(void **state)
{
    struct rig r = {.facts = {.balance = BALANCE_ROUND_ROBIN}};

    (void)state;
    fleet_add(&r.f, "a", "m", 3, 0, engine_kind_unset);
    fleet_add(&r.f, "b", "m", 1, 0, engine_kind_unset);
    ready(&r, "m");
    fleet_carry(&r.f, 0, 90);
    chooses(&r, "aabaaaba");
    fleet_carry(&r.f, 1, 900);
    chooses(&r, "aaba");
    end(&r);
}

/* Two models on one engine each and one on both, two classes, with and without a size: each pool
 * has its turns to itself. */
static void test_pools_do_not_disturb_each_other(void **state)
{
    static const enum cache_class wants[] = {CACHE_UNSAID, CACHE_PAGED, CACHE_STATIC};
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    for (char name = 'a'; name <= 'd'; name++)
        fleet_add_engine(
            &r.f, (char[]){name, 0}, "m n", 0,
            (struct engine){.weight = 1, .cache = name <= 'b' ? CACHE_PAGED : CACHE_STATIC});
    ready(&r, "m");
    for (int i = 0; i < 12; i++)
        for (size_t k = 0; k < ARRAY_LEN(wants); k++) {
            static const char *const turns[] = {"abcd", "abab", "cdcd"};

            r.facts.wanted = wants[k];
            r.facts.model = fleet_model(&r.f, "m");
            assert_int_equal(choose(&r), turns[k][i % 4]);
            r.facts.model = fleet_model(&r.f, "n");
            assert_int_equal(choose(&r), turns[k][i % 4]);
        }
    end(&r);
}

static void test_no_name_is_every_engine(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};

    (void)state;
    fleet_add(&r.f, "a", "m", 1, 0, engine_kind_unset);
    fleet_add(&r.f, "b", "n", 2, 0, engine_kind_unset);
    fleet_add(&r.f, "c", "", 1, 0, engine_kind_unset);
    snapshot_add_nameless(r.f.snapshot);
    ready(&r, "m");
    r.facts.model = snapshot_model(r.f.snapshot, STR_NONE);
    assert_non_null(r.facts.model);
    chooses(&r, "bacbbacb");
    assert_null(snapshot_model(r.f.snapshot, STR(""))); /* an empty name is a name */
    end(&r);
    memset(&r, 0, sizeof r);
    fleet_add(&r.f, "a", "m", 1, 0, engine_kind_unset);
    ready(&r, "m");
    assert_null(snapshot_model(r.f.snapshot, STR_NONE));
    end(&r);
}

/* More than credits could hold are made smaller, in proportion. */
static void test_large_weights(void **state)
{
    for (uint32_t n = 50; n <= FLEET_MAX; n += 250) {
        struct rig r = {.facts = {.ntried = 0}};
        uint32_t got[2] = {0};

        (void)state;
        for (uint32_t i = 0; i < n; i++)
            add(&r, "e", i % 2 ? 40000000 : 80000000, CACHE_UNSAID, false);
        ready(&r, "m");
        for (uint32_t i = 0; i < n * 30; i++) {
            const struct engine *e = NULL;

            assert_int_equal(select_engine(&r.facts, &r.credits, &e), SELECT_ONE);
            got[e->weight == 40000000]++;
        }
        assert_in_range(got[0] * 1000 / got[1], 1990, 2010);
        end(&r);
    }
}

/* The rule of ranks in other words: filter after filter. */
struct left {
    const struct engine *at[FLEET_MAX];
    uint32_t n;
};

static void keep(struct left *l, bool (*fits)(const struct engine *, enum cache_class),
                 enum cache_class wanted)
{
    struct left those = {.n = 0};

    for (uint32_t i = 0; i < l->n; i++)
        if (fits(l->at[i], wanted))
            those.at[those.n++] = l->at[i];
    if (those.n > 0)
        *l = those;
}

static bool is_listed(const struct engine *e, enum cache_class wanted)
{
    (void)wanted;
    return !e->absent;
}

static bool has_class(const struct engine *e, enum cache_class wanted)
{
    return wanted == CACHE_UNSAID || e->cache == wanted;
}

static bool has_weight(const struct engine *e, enum cache_class wanted)
{
    (void)wanted;
    return e->weight > 0;
}

static struct left candidates(const struct select_facts *f)
{
    struct left l = {.n = 0};

    for (uint32_t i = 0; i < f->model->nengines; i++)
        if (judge(f, f->model->engines[i]) == FITS)
            l.at[l.n++] = f->model->engines[i];
    keep(&l, is_listed, f->wanted);
    keep(&l, has_class, f->wanted);
    keep(&l, has_weight, f->wanted);
    return l;
}

static uint64_t share_of(const struct engine *e) { return e->weight ? e->weight : 1; }

/* Where a session goes. */
static const struct engine *home_of(const struct select_facts *f, const struct left *l)
{
    uint64_t in_flight = 0, weights = 0;
    struct rendezvous best = {.weight = 0};
    const struct engine *home = NULL;
    struct rendezvous_bound bound;

    for (uint32_t i = 0; i < l->n; i++) {
        in_flight += cell_load(l->at[i]->cell);
        weights += share_of(l->at[i]);
    }
    bound = rendezvous_bound(f->affinity->load_factor, f->affinity->min_load, in_flight, weights);
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t share = (uint32_t)share_of(l->at[i]);
        uint64_t hash = rendezvous_hash(f->session, rendezvous_name(l->at[i]->name));

        if (rendezvous_within(&bound, cell_load(l->at[i]->cell), share) &&
            rendezvous_bid(&best, hash, share))
            home = l->at[i];
    }
    return home;
}

static void random_ranks(struct rig *r, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "e%03u", i);
        fleet_add_engine(&r->f, name, "m", 0,
                         (struct engine){.weight = random_below(4),
                                         .cache = random_below(CACHE_CLASSES),
                                         .absent = random_below(3) == 0});
        fleet_carry(&r->f, i, random_below(30));
        if (random_below(3) == 0)
            cell_set(r->f.cells[i], CELL_PROBED, CELL_BAD);
    }
    ready(r, "m");
}

static void test_random_ranks(void **state)
{
    static const struct affinity_conf affinity = {.load_factor = 1.25, .min_load = 4};

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct rig r = {.facts = {.ntried = 0}};
        struct left those;
        const struct engine *e = NULL;
        enum select_verdict v;

        random_ranks(&r, 1 + random_below(round % 20 ? 6 : FLEET_MAX));
        r.facts.wanted = random_below(CACHE_CLASSES);
        r.facts.balance = random_below(2) ? BALANCE_ROUND_ROBIN : BALANCE_LEAST_OUTSTANDING;
        r.facts.affinity = random_below(2) ? &affinity : NULL;
        r.facts.session = (uint64_t)random_below(1 << 30) << 32;
        those = candidates(&r.facts);
        v = select_engine(&r.facts, &r.credits, &e);
        assert_int_equal(v, those.n ? SELECT_ONE : SELECT_NOBODY);
        for (uint32_t i = 0; e && i < those.n; i++) {
            if (r.facts.affinity)
                assert_ptr_equal(e, home_of(&r.facts, &those));
            else if (r.facts.balance != BALANCE_ROUND_ROBIN)
                assert_true(cell_load(those.at[i]->cell) * share_of(e) >=
                            cell_load(e->cell) * share_of(those.at[i]));
            if (those.at[i] == e)
                break;
            assert_true(i + 1 < those.n); /* it is one of them */
        }
        end(&r);
    }
}

/* Turns of a crowd, with ranks or without, are exact over one round of its weights. */
static void test_crowds_take_turns(void **state)
{
    (void)state;
    for (int ranked = 0; ranked < 2; ranked++) {
        struct rig r = {.facts = {.balance = BALANCE_ROUND_ROBIN}};
        uint32_t got[100] = {0}, sum = 0;

        for (uint32_t i = 0; i < 100; i++) {
            char name[16];

            (void)snprintf(name, sizeof name, "e%03u", i);
            add(&r, name, 1 + i % 3, CACHE_UNSAID, ranked && i % 10 == 0);
            sum += ranked && i % 10 == 0 ? 0 : 1 + i % 3;
        }
        ready(&r, "m");
        assert_non_null(r.facts.model->crowd);
        for (uint32_t i = 0; i < sum * 2; i++) {
            const struct engine *e = NULL;

            assert_int_equal(select_engine(&r.facts, &r.credits, &e), SELECT_ONE);
            got[e->id]++;
            cell_hold(e->cell);
        }
        for (uint32_t i = 0; i < 100; i++)
            assert_int_equal(got[i], ranked && i % 10 == 0 ? 0 : 2 * (1 + i % 3));
        end(&r);
    }
}

/* Requests that begin and end at random: nobody starves, and work in flight follows the weights. */
static void test_steady_load_is_spread_by_weight(void **state)
{
    struct rig r = {.facts = {.ntried = 0}};
    uint64_t in_flight[3] = {0};
    struct cell *held[64];
    uint32_t n = 0;

    (void)state;
    fleet_add(&r.f, "a", "m", 1, 0, engine_kind_unset);
    fleet_add(&r.f, "b", "m", 2, 0, engine_kind_unset);
    fleet_add(&r.f, "c", "m", 5, 0, engine_kind_unset);
    ready(&r, "m");
    for (int i = 0; i < 20000; i++) {
        const struct engine *e;

        if (n == ARRAY_LEN(held)) {
            uint32_t gone = random_below(n);

            (void)cell_give(held[gone]);
            held[gone] = held[--n];
        }
        assert_int_equal(select_engine(&r.facts, &r.credits, &e), SELECT_ONE);
        assert_true(cell_take(e->cell, false));
        held[n++] = e->cell;
        for (uint32_t k = 0; k < 3; k++)
            in_flight[k] += cell_load(r.f.cells[k]);
    }
    assert_in_range(in_flight[1] * 100 / in_flight[0], 180, 220);
    assert_in_range(in_flight[2] * 100 / in_flight[0], 460, 540);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smooth_weighted_round_robin),
        cmocka_unit_test(test_models_have_credits_of_their_own),
        cmocka_unit_test(test_credits_begin_anew_with_a_snapshot),
        cmocka_unit_test(test_least_load_for_its_weight),
        cmocka_unit_test(test_shares_follow_weights),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_why_nobody),
        cmocka_unit_test(test_random_fleets),
        cmocka_unit_test(test_trying_all_ends),
        cmocka_unit_test(test_a_crowd_is_served_by_the_same_rule),
        cmocka_unit_test(test_a_full_crowd_is_full),
        cmocka_unit_test(test_absent_engines_come_last),
        cmocka_unit_test(test_class_that_is_wanted),
        cmocka_unit_test(test_weight_0_gets_nothing_new),
        cmocka_unit_test(test_ranks_are_settled_one_after_the_other),
        cmocka_unit_test(test_round_robin_counts_turns_and_no_loads),
        cmocka_unit_test(test_pools_do_not_disturb_each_other),
        cmocka_unit_test(test_no_name_is_every_engine),
        cmocka_unit_test(test_large_weights),
        cmocka_unit_test(test_random_ranks),
        cmocka_unit_test(test_crowds_take_turns),
        cmocka_unit_test(test_steady_load_is_spread_by_weight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
