/* SPDX-License-Identifier: Apache-2.0
 *
 * breaker_test.c - fleet/breaker: what opens a door and what closes it again, that behind a half
 * open one there is one place whoever asks, that one model's trouble is no other's; and the
 * handicap.
 */
#include "fleet_rig.h"

#include <pthread.h>

#include "fleet/breaker.h"

static enum cell_door door(const struct cell *c) { return (enum cell_door)atomic_load(&c->door); }

static uint32_t most(const struct cell *c) { return atomic_load(&c->block->most[c->seat]); }

static void test_a_refused_connect_opens_at_once(void **state)
{
    struct cell *c = cell_create(2);

    (void)state;
    assert_true(breaker_refused(c));
    assert_int_equal(door(c), CELL_DOOR_OPEN);
    assert_int_equal(cell_state(c), CELL_COMING);
    assert_int_equal(most(c), 0);
    assert_false(breaker_refused(c)); /* told once */
    assert_false(cell_take(c, false));
    assert_int_equal(cell_load(c), 0);
    cell_unref(&c);
}

static void test_broken_replies_in_a_row(void **state)
{
    struct cell *c = cell_create(0);

    (void)state;
    assert_false(breaker_broken(c, 3));
    assert_false(breaker_broken(c, 3));
    breaker_whole(c);
    assert_false(breaker_broken(c, 3));
    assert_false(breaker_broken(c, 3));
    assert_int_equal(cell_state(c), CELL_GOOD);
    assert_true(breaker_broken(c, 3));
    assert_int_equal(cell_state(c), CELL_COMING);
    breaker_half_open(c);
    assert_int_equal(atomic_load(&c->broken), 0);
    cell_unref(&c);
    c = cell_create(0);
    for (unsigned i = 0; i < 100; i++)
        assert_false(breaker_broken(c, 0));
    assert_int_equal(cell_state(c), CELL_GOOD);
    cell_unref(&c);
}

static void test_the_trial_decides(void **state)
{
    struct cell *c = cell_create(4);

    (void)state;
    assert_true(breaker_refused(c));
    breaker_half_open(c);
    assert_int_equal(cell_state(c), CELL_GOOD);
    assert_true(cell_take(c, false));
    assert_int_equal(door(c), CELL_DOOR_TRIAL);
    assert_false(cell_take(c, false)); /* three slots are free, and still */
    assert_false(cell_take(c, true));
    breaker_unheard(c); /* its client left */
    (void)cell_give(c);
    assert_true(cell_take(c, false));
    assert_true(breaker_broken(c, 3)); /* one failure is enough for a trial */
    (void)cell_give(c);
    assert_int_equal(door(c), CELL_DOOR_OPEN);
    breaker_half_open(c);
    assert_true(cell_take(c, false));
    assert_true(breaker_answered(c));
    assert_false(breaker_answered(c));
    assert_int_equal(most(c), 4);
    assert_true(cell_take(c, false));
    (void)cell_give(c);
    (void)cell_give(c);
    cell_unref(&c);
}

static void test_late_answers_do_not_close_an_open_door(void **state)
{
    struct cell *c = cell_create(0);

    (void)state;
    assert_true(breaker_refused(c));
    assert_false(breaker_answered(c));
    assert_int_equal(door(c), CELL_DOOR_OPEN);
    breaker_unheard(c);
    assert_int_equal(door(c), CELL_DOOR_OPEN);
    cell_unref(&c);
}

static void test_the_door_is_a_verdict_of_its_own(void **state)
{
    struct cell *c = cell_create(0);

    (void)state;
    cell_set(c, CELL_PROBED, CELL_GOOD);
    assert_true(breaker_refused(c));
    cell_set(c, CELL_PROBED, CELL_GOOD); /* a good probe does not clear it */
    assert_int_equal(cell_state(c), CELL_COMING);
    assert_int_equal(cell_says(c, CELL_TRAFFIC), CELL_COMING);
    cell_set(c, CELL_PROBED, CELL_BAD);
    breaker_half_open(c);
    assert_true(breaker_answered(c));
    assert_int_equal(cell_state(c), CELL_BAD); /* nor does traffic clear a bad probe */
    cell_unref(&c);
}

/* ---- trials from several threads ---- */

enum { THREADS = 4, ROUNDS = 2000 };

static struct {
    struct cell *cell;
    pthread_barrier_t barrier;
    _Atomic unsigned won;
} race;

static void *taker(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&race.barrier);
        if (cell_take(race.cell, false))
            atomic_fetch_add(&race.won, 1);
        pthread_barrier_wait(&race.barrier);
    }
    return NULL;
}

static void test_one_of_all_threads_has_the_trial(void **state)
{
    pthread_t thread[THREADS];

    (void)state;
    race.cell = cell_create(0);
    assert_int_equal(pthread_barrier_init(&race.barrier, NULL, THREADS + 1), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, taker, NULL), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        assert_true(breaker_refused(race.cell));
        breaker_half_open(race.cell);
        atomic_store(&race.won, 0);
        pthread_barrier_wait(&race.barrier);
        pthread_barrier_wait(&race.barrier);
        assert_int_equal(atomic_load(&race.won), 1);
        assert_int_equal(cell_load(race.cell), 1);
        (void)cell_give(race.cell);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    pthread_barrier_destroy(&race.barrier);
    cell_unref(&race.cell);
}

/* ---- one model ---- */

static void test_one_bad_model_closes_nothing_else(void **state)
{
    struct cell *c = cell_create(0);

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        breaker_model_failed(c, 1, 5, 1000, 0);
    assert_false(breaker_model_shuns(c, 1, 1000));
    breaker_model_failed(c, 1, 5, 1000, 0);
    assert_true(breaker_model_shuns(c, 1, 1000));
    assert_true(breaker_model_shuns(c, 1, 1999));
    assert_false(breaker_model_shuns(c, 1, 2000));
    assert_false(breaker_model_shuns(c, 2, 1000));
    assert_int_equal(cell_state(c), CELL_GOOD);
    assert_int_equal(breaker_models_open(c, 1500), 1);
    cell_unref(&c);
}

static void test_a_models_trial_is_one(void **state)
{
    struct cell *c = cell_create(0);

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        breaker_model_failed(c, 7, 5, 1000, 0);
    assert_false(breaker_model_enter(c, 7, 1500));
    assert_true(breaker_model_enter(c, 7, 2000));
    assert_false(breaker_model_enter(c, 7, 2000)); /* somebody is there */
    assert_true(breaker_model_shuns(c, 7, 2999));
    breaker_model_failed(c, 7, 5, 2500, 0); /* the trial failed: twice as long */
    assert_true(breaker_model_shuns(c, 7, 4400));
    assert_false(breaker_model_shuns(c, 7, 4500));
    assert_true(breaker_model_enter(c, 7, 4500));
    breaker_model_ok(c, 7);
    assert_false(breaker_model_shuns(c, 7, 4500));
    assert_int_equal(atomic_load(&c->troubles), 0);
    assert_true(breaker_model_enter(c, 7, 4500)); /* no trouble: everybody may */
    assert_true(breaker_model_enter(c, 7, 4500));
    cell_unref(&c);
}

static void test_openings_double_up_to_their_most(void **state)
{
    static const uint32_t lasts[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    struct cell *c = cell_create(0);
    uint64_t now = 5000;

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        breaker_model_failed(c, 3, 5, now, 0);
    for (size_t i = 0; i < ARRAY_LEN(lasts); i++) {
        assert_true(breaker_model_shuns(c, 3, now + lasts[i] - 1));
        assert_false(breaker_model_shuns(c, 3, now + lasts[i]));
        now += lasts[i];
        assert_true(breaker_model_enter(c, 3, now));
        breaker_model_failed(c, 3, 5, now, 0);
    }
    cell_unref(&c);
}

static void test_what_an_engine_asks_for_is_given(void **state)
{
    struct cell *c = cell_create(0);

    (void)state;
    breaker_model_failed(c, 9, 5, 1000, 7000);
    assert_true(breaker_model_shuns(c, 9, 7999));
    assert_false(breaker_model_shuns(c, 9, 8000));
    breaker_model_failed(c, 9, 0, 10000, 86400000); /* within reason */
    assert_true(breaker_model_shuns(c, 9, 39999));
    assert_false(breaker_model_shuns(c, 9, 40000));
    cell_unref(&c);
}

static void test_more_models_in_trouble_than_are_remembered(void **state)
{
    struct cell *c = cell_create(0);

    (void)state;
    for (uint32_t m = 1; m <= 2 * CELL_MODELS_IN_TROUBLE; m++)
        for (unsigned i = 0; i < 5; i++)
            breaker_model_failed(c, m, 5, 1000, 0);
    assert_int_equal(breaker_models_open(c, 1500), CELL_MODELS_IN_TROUBLE);
    assert_false(breaker_model_shuns(c, 2 * CELL_MODELS_IN_TROUBLE, 1500));
    for (uint32_t m = 1; m <= 2 * CELL_MODELS_IN_TROUBLE; m++)
        breaker_model_ok(c, m);
    assert_int_equal(breaker_models_open(c, 1500), 0);
    breaker_model_failed(c, 99, 1, 1000, 0);
    assert_true(breaker_model_shuns(c, 99, 1500));
    cell_unref(&c);
}

/* ---- the handicap ---- */

static void test_a_handicap_is_no_request(void **state)
{
    struct cell *c = cell_create(1);

    (void)state;
    assert_true(cell_handicap(c, 5));
    assert_false(cell_handicap(c, 3));
    assert_int_equal(cell_load(c), 0);
    assert_int_equal(cell_weighed(c), 8);
    assert_true(cell_take(c, false)); /* its slot is free all the same */
    assert_true(cell_full(c));
    assert_int_equal(cell_weighed(c), 9);
    for (uint32_t left = 4; left > 0; left /= 2) {
        assert_true(cell_handicap_halve(c));
        assert_int_equal(cell_weighed(c), 1 + left);
    }
    assert_false(cell_handicap_halve(c));
    assert_false(cell_handicap_halve(c));
    assert_true(cell_handicap(c, 100000));
    assert_int_equal(cell_weighed(c), 1 + CELL_HANDICAP_MOST);
    assert_int_equal(cell_load(c), 1);
    (void)cell_give(c);
    cell_unref(&c);
}

/* ---- selection ---- */

static const char *choose(const struct fleet_rig *f, struct select_credits *credits,
                          uint64_t now_ms)
{
    struct select_facts facts = {.model = fleet_model(f, "m"), .kinds = ~0u, .now_ms = now_ms};
    const struct engine *e = NULL;

    assert_int_equal(select_engine(&facts, credits, &e), SELECT_ONE);
    return e->name.p;
}

static void assert_choices(unsigned n)
{
    struct fleet_rig f = {.n = 0};
    struct select_credits credits = {.n = 0};
    char name[16];
    uint32_t mark;

    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "e%03u", i);
        fleet_add(&f, name, "m", 1, 0, ENGINE_KIND_OPENAI);
    }
    snapshot_seal(f.snapshot);
    select_credits_fit(&credits, f.snapshot);
    mark = fleet_model(&f, "m")->mark;
    /* the emptiest has a handicap: the next one is asked */
    for (unsigned i = 2; i < n; i++)
        fleet_carry(&f, i, 6);
    fleet_carry(&f, 1, 2);
    assert_true(cell_handicap(f.cells[0], 8));
    assert_memory_equal(choose(&f, &credits, 0), "e001", 4);
    (void)cell_handicap_halve(f.cells[0]);
    (void)cell_handicap_halve(f.cells[0]);
    (void)cell_handicap_halve(f.cells[0]);
    assert_memory_equal(choose(&f, &credits, 0), "e000", 4);
    /* it fails with this model: others are preferred, until its time is over */
    breaker_model_failed(f.cells[0], mark, 1, 1000, 0);
    assert_memory_equal(choose(&f, &credits, 1500), "e001", 4);
    assert_memory_equal(choose(&f, &credits, 2000), "e000", 4);
    /* nobody is left without trouble: then it is nobody's reason */
    for (unsigned i = 0; i < n; i++)
        breaker_model_failed(f.cells[i], mark, 1, 3000, 0);
    assert_memory_equal(choose(&f, &credits, 3500), "e000", 4);
    select_credits_fini(&credits);
    for (unsigned i = 0; i < n; i++)
        atomic_store(&f.cells[i]->block->load[f.cells[i]->seat], 0);
    fleet_fini(&f);
}

static void test_selection_sees_trouble_and_handicaps(void **state)
{
    (void)state;
    assert_choices(3);
}

static void test_a_crowd_sees_them_too(void **state)
{
    (void)state;
    assert_choices(100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_refused_connect_opens_at_once),
        cmocka_unit_test(test_broken_replies_in_a_row),
        cmocka_unit_test(test_the_trial_decides),
        cmocka_unit_test(test_late_answers_do_not_close_an_open_door),
        cmocka_unit_test(test_the_door_is_a_verdict_of_its_own),
        cmocka_unit_test(test_one_of_all_threads_has_the_trial),
        cmocka_unit_test(test_one_bad_model_closes_nothing_else),
        cmocka_unit_test(test_a_models_trial_is_one),
        cmocka_unit_test(test_openings_double_up_to_their_most),
        cmocka_unit_test(test_what_an_engine_asks_for_is_given),
        cmocka_unit_test(test_more_models_in_trouble_than_are_remembered),
        cmocka_unit_test(test_a_handicap_is_no_request),
        cmocka_unit_test(test_selection_sees_trouble_and_handicaps),
        cmocka_unit_test(test_a_crowd_sees_them_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
