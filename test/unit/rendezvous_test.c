/* SPDX-License-Identifier: Apache-2.0
 *
 * rendezvous_test.c - the bids: the hash's vectors, which no version may change; shares by weight;
 * who leaves takes only its own; and what a choice with a session must be, restated with sorted
 * bids, for few engines and for crowds.
 */
#include "fleet_rig.h"

#include <math.h>
#include <stdlib.h>

#include "fleet/crowd.h"
#include "fleet/rendezvous.h"

static uint64_t seed = 88172645463325252ULL;

static uint32_t random_below(uint32_t n) /* xorshift64* */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (uint32_t)((seed * 2685821657736338717ULL) >> 33) % n;
}

static uint64_t session(uint32_t i)
{
    char key[16];

    (void)snprintf(key, sizeof key, "s%u", i);
    return rendezvous_session(STR("m"), STR("prompt_cache"), str_of(key));
}

/* docs/routing.md has the same rows, and test_affinity.py computes them in another language. */
static void test_vectors(void **state)
{
    static const struct {
        const char *model, *source, *key, *name;
        uint64_t hash;
    } rows[] = {
        {"m", "prompt_cache", "", "a", 0xb2d2758576394269},
        {"m", "prompt_cache", "k", "a", 0x72e50bd2af4d89ce},
        {"m", "prompt_cache", "k", "b", 0x86d732cc9671cba6},
        {"tiny", "user", "alice", "engine-1", 0x2e4011a3ad843006},
        {"tiny", "user", "alice", "engine-2", 0xe280faf7071b9a9b},
        {"tiny", "header", "7f3c", "10.0.0.1:8000", 0xd7b18203c78a0fa4},
        {"default", "prompt_cache", "k", "a", 0x69c8dea6b7da2133},
        {"m", "ip", "26d34037d0f19237", "a", 0x786d4e686f94f725},
        {"default", "ip", "26d34037d0f19237", "master-9g_8b_thinking-server", 0x81ed798b3998ca15},
        {"org/mod\303\250le", "prompt_cache", "\316\243", "gpu@node-7", 0x393b3b73abf6ad9c},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(
            rendezvous_hash(rendezvous_session(str_of(rows[i].model), str_of(rows[i].source),
                                               str_of(rows[i].key)),
                            rendezvous_name(str_of(rows[i].name))),
            rows[i].hash);
}

/* Who wins when all bid; `without` stays out. */
static uint32_t winner(const uint64_t *names, const uint32_t *weights, uint32_t n, uint64_t key,
                       uint32_t without)
{
    struct rendezvous best = {.weight = 0};
    uint32_t won = UINT32_MAX;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t hash = rendezvous_hash(key, names[i]);

        if (i != without && rendezvous_hopes(&best, hash, weights[i]) &&
            rendezvous_bid(&best, hash, weights[i]))
            won = i;
    }
    return won;
}

static void test_shares_follow_weights(void **state)
{
    enum { N = 6, SESSIONS = 60000 };
    static const uint32_t weights[N] = {1, 1, 2, 3, 5, 8};
    uint64_t names[N];
    uint32_t got[N] = {0};

    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "engine-%u", i);
        names[i] = rendezvous_name(str_of(name));
    }
    for (uint32_t i = 0; i < SESSIONS; i++)
        got[winner(names, weights, N, session(i), UINT32_MAX)]++;
    for (uint32_t i = 0; i < N; i++) { /* six times the deviation of a fair lot */
        double share = weights[i] / 20.0, want = share * SESSIONS;

        assert_true(fabs(got[i] - want) < 6 * sqrt(want * (1 - share)));
    }
}

static void test_only_its_own_sessions_move(void **state)
{
    enum { N = 9, SESSIONS = 3000 };
    uint64_t names[N];
    uint32_t weights[N], moved = 0, to[N] = {0};

    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        char name[2] = {(char)('a' + i), 0};

        names[i] = rendezvous_name(str_of(name));
        weights[i] = 1 + i % 3;
    }
    for (uint32_t i = 0; i < SESSIONS; i++) {
        uint32_t was = winner(names, weights, N, session(i), UINT32_MAX);
        uint32_t is = winner(names, weights, N, session(i), 4);

        if (was == 4) {
            moved++;
            to[is]++;
        } else {
            assert_int_equal(is, was);
        }
    }
    assert_true(moved > 0);
    for (uint32_t i = 0; i < N; i++) /* they spread over all who are left */
        assert_true(i == 4 ? to[i] == 0 : to[i] > 0);
}

static void test_extremes(void **state)
{
    struct rendezvous best = {.weight = 0};

    (void)state;
    assert_true(rendezvous_hopes(&best, 0, 1));
    assert_true(rendezvous_bid(&best, 0, 1)); /* somebody is better than nobody */
    assert_true(isfinite(best.cost));
    assert_false(rendezvous_bid(&best, 0, 1)); /* of equals the first stays */
    assert_true(rendezvous_bid(&best, UINT64_MAX, 1));
    assert_true(best.cost > 0);
    assert_false(rendezvous_bid(&best, UINT64_MAX - 1, 1)); /* the last bit decides */
    assert_true(rendezvous_bid(&best, UINT64_MAX, 1000));
}

static void test_bound(void **state)
{
    struct rendezvous_bound b = rendezvous_bound(1.25, 8, 0, 2);

    (void)state;
    assert_true(rendezvous_within(&b, 7, 1));
    assert_false(rendezvous_within(&b, 8, 1));
    b = rendezvous_bound(1.25, 1, 39, 10); /* 5 for each weight */
    assert_true(rendezvous_within(&b, 4, 1));
    assert_false(rendezvous_within(&b, 5, 1));
    assert_true(rendezvous_within(&b, 14, 3));
    assert_false(rendezvous_within(&b, 15, 3));
    b = rendezvous_bound(1.25, 1, 40, 10); /* 5.125: rounded up */
    assert_true(rendezvous_within(&b, 5, 1));
    assert_false(rendezvous_within(&b, 6, 1));
    b = rendezvous_bound(0, 8, 40, 10);
    assert_true(rendezvous_within(&b, UINT32_MAX, 1));
}

/* --- choices --- */

struct rig {
    struct fleet_rig f;
    struct select_credits credits;
    struct select_facts facts;
    struct affinity_conf conf;
};

static void ready(struct rig *r)
{
    snapshot_seal(r->f.snapshot);
    select_credits_fit(&r->credits, r->f.snapshot);
    r->facts.model = fleet_model(&r->f, "m");
    r->facts.affinity = &r->conf;
}

static void end(struct rig *r)
{
    for (uint32_t i = 0; i < r->f.n; i++)
        fleet_carry(&r->f, i, 0);
    select_credits_fini(&r->credits);
    fleet_fini(&r->f);
}

static void random_fleet(struct rig *r)
{
    static const enum cell_source spoken[] = {CELL_LISTED, CELL_PROBED, CELL_SUPERVISED};
    uint32_t n = 1 + random_below(random_below(4) ? 12 : FLEET_MAX), kinds = random_below(3);
    uint32_t busy = 1 + random_below(20), weights = 1 + random_below(4);

    for (uint32_t i = 0; i < n; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "e%u", i * 7919 % 1000);
        fleet_add(&r->f, name, "m", 1 + random_below(weights), random_below(2) * random_below(9),
                  (enum engine_kind)random_below(ENGINE_KIND_OLLAMA));
        fleet_carry(&r->f, i, random_below(busy));
        if (random_below(6) == 0)
            cell_set(r->f.cells[i], spoken[random_below(ARRAY_LEN(spoken))],
                     random_below(2) ? CELL_BAD : CELL_COMING);
    }
    r->conf = (struct affinity_conf){.load_factor = random_below(5) ? 1 + random_below(3) / 4.0 : 0,
                                     .min_load = 1 + random_below(12)};
    r->facts.kinds = kinds ? UINT32_MAX : random_below(32);
    r->facts.ntried = random_below(4);
    for (uint32_t i = 0; i < r->facts.ntried; i++)
        r->facts.tried[i] = random_below(n);
    ready(r);
}

static bool is_candidate(const struct select_facts *f, const struct engine *e)
{
    for (uint32_t i = 0; i < f->ntried; i++)
        if (f->tried[i] == e->id)
            return false;
    return cell_state(e->cell) == CELL_GOOD && (e->kind == 0 || (f->kinds >> e->kind & 1));
}

static long double score(const struct select_facts *f, const struct engine *e)
{
    uint64_t hash = rendezvous_hash(f->session, rendezvous_name(e->name));

    return -(long double)e->weight / log1pl(-((long double)~hash + 0.5L) * 0x1p-64L);
}

/* The rule as it is written: all scores, highest first, the first below its bound that has a slot.
 * NULL: none. */
static const struct engine *by_the_book(const struct select_facts *f)
{
    const struct engine *best = NULL;
    uint64_t in_flight = 0, weights = 0;

    for (uint32_t i = 0; i < f->model->nengines; i++) {
        const struct engine *e = f->model->engines[i];

        in_flight += is_candidate(f, e) ? cell_load(e->cell) : 0;
        weights += is_candidate(f, e) ? e->weight : 0;
    }
    for (uint32_t i = 0; i < f->model->nengines; i++) {
        const struct engine *e = f->model->engines[i];
        double bound = ceil(f->affinity->load_factor * (double)(in_flight + 1) * e->weight /
                            (double)(weights ? weights : 1));

        if (!is_candidate(f, e) || cell_full(e->cell))
            continue;
        if (f->affinity->load_factor > 0 && cell_load(e->cell) >= f->affinity->min_load &&
            cell_load(e->cell) >= bound)
            continue;
        if (!best || score(f, e) > score(f, best))
            best = e;
    }
    return best;
}

static void test_choices_are_by_the_book(void **state)
{
    uint32_t kept = 0, balanced = 0;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct rig r = {.facts = {.ntried = 0}};

        random_fleet(&r);
        for (uint32_t i = 0; i < 8; i++) {
            const struct engine *want, *e = NULL;
            enum select_verdict v;

            r.facts.session = session((uint32_t)round * 100 + random_below(10));
            want = by_the_book(&r.facts);
            v = select_engine(&r.facts, &r.credits, &e);
            if (want) {
                assert_int_equal(v, SELECT_ONE);
                assert_ptr_equal(e, want);
                kept++;
            } else if (v == SELECT_ONE) { /* all who have a slot carry too much: any of them */
                assert_true(is_candidate(&r.facts, e) && !cell_full(e->cell));
                balanced++;
            }
            if (v == SELECT_ONE)
                cell_hold(e->cell);
        }
        end(&r);
    }
    assert_true(kept > 1000 && balanced > 20);
}

/* A session that everybody asks for fills its engine to the bound, then the next, and so on. */
static void test_a_hot_session_spills_over(void **state)
{
    struct rig r = {.conf = {.load_factor = 1.25, .min_load = 8}};
    uint32_t most = 0;

    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        char name[2] = {(char)('a' + i), 0};

        fleet_add(&r.f, name, "m", 1, 0, engine_kind_unset);
    }
    ready(&r);
    r.facts.session = session(7);
    for (uint32_t t = 0; t < 1000; t++) {
        const struct engine *e;
        double bound = fmax(8, ceil(1.25 * (t + 1) / 10));

        assert_int_equal(select_engine(&r.facts, &r.credits, &e), SELECT_ONE);
        assert_true(cell_load(e->cell) < bound);
        cell_hold(e->cell);
        most = (uint32_t)max_size(most, cell_load(e->cell));
        if (t < 8)
            assert_int_equal(cell_load(e->cell), t + 1); /* below min_load: all to one */
    }
    assert_int_equal(most, 125);
    end(&r);
}

static const struct engine *home(struct rig *r, uint32_t i)
{
    const struct engine *e = NULL;

    r->facts.session = session(i);
    assert_int_equal(select_engine(&r->facts, &r->credits, &e), SELECT_ONE);
    return e;
}

/* Ejected, and back: its sessions go and return, nobody else's move. In a crowd too. */
static void leaves_and_returns(uint32_t n)
{
    enum { SESSIONS = 2000 };
    struct rig r = {.conf = {.load_factor = 1.25, .min_load = 8}};
    static const struct engine *was[SESSIONS];
    uint32_t moved = 0;

    for (uint32_t i = 0; i < n; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "e%u", i);
        fleet_add(&r.f, name, "m", 1 + i % 2, 0, engine_kind_unset);
    }
    ready(&r);
    for (uint32_t i = 0; i < SESSIONS; i++)
        was[i] = home(&r, i);
    cell_set(r.f.cells[1], CELL_PROBED, CELL_BAD);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        const struct engine *e = home(&r, i);

        moved += was[i]->id == 1;
        assert_int_not_equal(e->id, 1);
        if (was[i]->id != 1)
            assert_ptr_equal(e, was[i]);
    }
    assert_true(moved > 0 && moved < SESSIONS);
    cell_set(r.f.cells[1], CELL_PROBED, CELL_GOOD);
    for (uint32_t i = 0; i < SESSIONS; i++)
        assert_ptr_equal(home(&r, i), was[i]);
    end(&r);
}

static void test_an_engine_leaves_and_returns(void **state)
{
    (void)state;
    leaves_and_returns(2);
    leaves_and_returns(7);
    leaves_and_returns(CROWD_LEAST + 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_shares_follow_weights),
        cmocka_unit_test(test_only_its_own_sessions_move),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_choices_are_by_the_book),
        cmocka_unit_test(test_a_hot_session_spills_over),
        cmocka_unit_test(test_an_engine_leaves_and_returns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
