/* SPDX-License-Identifier: Apache-2.0
 *
 * cell_test.c - the words of an engine: slots taken and given back, waiters that go first, whose
 * verdict wins, and threads that hammer one cell: never more than its slots, zero at the end.
 */
#include "unit.h"

#include <pthread.h>
#include <sched.h>

#include "base/check.h"
#include "fleet/cell.h"

static void test_slots(void **state)
{
    struct cell *c = cell_create(2);

    (void)state;
    assert_false(cell_full(c));
    assert_true(cell_take(c, false));
    assert_true(cell_take(c, false));
    assert_int_equal(cell_load(c), 2);
    assert_true(cell_full(c));
    assert_false(cell_take(c, false));
    assert_false(cell_take(c, true));
    assert_int_equal(cell_load(c), 2);
    assert_false(cell_give(c));
    assert_true(cell_take(c, false));
    assert_false(cell_give(c));
    assert_false(cell_give(c));
    assert_int_equal(cell_load(c), 0);
    cell_unref(&c);
    assert_null(c);
    cell_unref(&c); /* NULL is fine */
}

static void test_no_slots_means_no_bound(void **state)
{
    struct cell *c = cell_create(0);

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_true(cell_take(c, false));
    assert_false(cell_full(c));
    assert_int_equal(cell_load(c), 1000); /* counted all the same */
    for (int i = 0; i < 1000; i++)
        assert_false(cell_give(c));
    cell_unref(&c);
}

static void test_slots_that_a_reload_changed(void **state)
{
    struct cell *c = cell_create(2);

    (void)state;
    assert_true(cell_take(c, false));
    assert_true(cell_take(c, false));
    cell_set_slots(c, 1); /* fewer than are in flight: nothing new until they are gone */
    assert_true(cell_full(c));
    assert_false(cell_give(c));
    assert_false(cell_take(c, true));
    assert_false(cell_give(c));
    assert_true(cell_take(c, false));
    cell_set_slots(c, 0);
    assert_true(cell_take(c, false));
    assert_false(cell_give(c));
    assert_false(cell_give(c));
    cell_unref(&c);
}

static void test_who_waits_goes_first(void **state)
{
    struct cell *c = cell_create(1);

    (void)state;
    assert_true(cell_take(c, false));
    atomic_fetch_add(&c->waiting, 1);
    assert_true(cell_give(c)); /* control must be told */
    assert_false(cell_take(c, false));
    assert_true(cell_take(c, true));
    atomic_fetch_sub(&c->waiting, 1);
    assert_false(cell_give(c));
    cell_unref(&c);
}

static void test_worst_verdict_wins_and_none_overwrites_another(void **state)
{
    static const enum cell_verdict order[] = {CELL_GOOD, CELL_COMING, CELL_CLOSED, CELL_BAD};
    struct cell *c = cell_create(1);

    (void)state;
    assert_int_equal(cell_state(c), CELL_GOOD); /* nobody has spoken */
    for (unsigned s = 0; s < CELL_SOURCES; s++) {
        for (unsigned t = 0; s != CELL_TRAFFIC && t < CELL_SOURCES; t++) {
            for (size_t a = 0; s != t && t != CELL_TRAFFIC && a < ARRAY_LEN(order); a++) {
                for (size_t b = 0; b < ARRAY_LEN(order); b++) {
                    cell_set(c, (enum cell_source)s, order[a]);
                    cell_set(c, (enum cell_source)t, order[b]);
                    assert_int_equal(cell_state(c), order[a > b ? a : b]);
                    cell_set(c, (enum cell_source)t, CELL_NO_WORD);
                    assert_int_equal(cell_state(c), order[a]);
                }
            }
        }
        if (s != CELL_TRAFFIC)
            cell_set(c, (enum cell_source)s, CELL_NO_WORD);
    }
    assert_int_equal(cell_state(c), CELL_GOOD);
    cell_unref(&c);
}

static void test_seats_are_taken_and_left(void **state)
{
    struct cell *c[3 * CELL_BLOCK_SEATS];
    struct cell *again;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        c[i] = cell_create(1);
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        for (size_t k = 0; k < i; k++)
            assert_true(c[i]->block != c[k]->block || c[i]->seat != c[k]->seat);
    assert_true(cell_take(c[70], false));
    assert_false(cell_give(c[70]));
    cell_set(c[70], CELL_LISTED, CELL_BAD);
    cell_unref(&c[70]);
    again = cell_create(0); /* the seat that is free, and nothing of who sat there */
    assert_int_equal(atomic_load(&again->block->most[again->seat]), CELL_UNBOUNDED);
    assert_int_equal(cell_load(again), 0);
    cell_unref(&again);
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        cell_unref(&c[i]);
}

static void test_selection_sees_slots_and_state(void **state)
{
    struct cell *c = cell_create(3);
    const _Atomic uint32_t *most = &c->block->most[c->seat];

    (void)state;
    assert_int_equal(atomic_load(most), 3);
    cell_set(c, CELL_PROBED, CELL_COMING);
    assert_int_equal(atomic_load(most), 0);
    cell_set_slots(c, 5);
    assert_int_equal(atomic_load(most), 0);
    cell_set(c, CELL_PROBED, CELL_GOOD);
    assert_int_equal(atomic_load(most), 5);
    cell_set_slots(c, 0);
    assert_int_equal(atomic_load(most), CELL_UNBOUNDED);
    cell_hold(c);
    assert_int_equal(cell_load(c), 1);
    assert_false(cell_give(c));
    cell_unref(&c);
}

static void test_own_cache_line(void **state)
{
    struct cell *a = cell_create(1), *b = cell_create(1);

    (void)state;
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_int_equal((uintptr_t)b % 64, 0);
    cell_unref(&a);
    cell_unref(&b);
}

static void test_last_reference_with_work_is_a_bug(void **state)
{
    struct cell *c = cell_create(1), *same = cell_ref(c);
    char text[4096];

    (void)state;
    assert_true(cell_take(c, false));
    cell_unref(&same); /* not the last */
    assert_null(same);
    assert_dies(cell_unref(&c), text);
    assert_false(cell_give(c));
    assert_dies((void)cell_give(c), text); /* what nobody took */
    cell_unref(&c);
}

enum { THREADS = 4, ROUNDS = 50000, SLOTS = 2 };

struct hammer {
    struct cell *cell;
    _Atomic uint32_t inside, most, granted;
};

/* Takes as a lane does, until it had its share. */
static void *hammer(void *ctx)
{
    struct hammer *h = ctx;

    for (int i = 0; i < ROUNDS; i++) {
        uint32_t now, most;

        while (!cell_take(h->cell, i % 7 == 0))
            (void)sched_yield(); /* who has the slots may wait for this core */
        now = atomic_fetch_add(&h->inside, 1) + 1;
        most = atomic_load(&h->most);
        while (now > most && !atomic_compare_exchange_weak(&h->most, &most, now))
            continue;
        atomic_fetch_add(&h->granted, 1);
        atomic_fetch_sub(&h->inside, 1);
        (void)cell_give(h->cell);
    }
    return NULL;
}

static void test_threads_never_exceed_slots_and_end_at_zero(void **state)
{
    struct hammer h = {.cell = cell_create(SLOTS)};
    pthread_t t[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, &h), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    assert_true(h.most >= 1 && h.most <= SLOTS);
    assert_int_equal(h.granted, THREADS * ROUNDS);
    assert_int_equal(cell_load(h.cell), 0);
    cell_unref(&h.cell);
}

/* The pair whose order matters: a giver that looks for waiters, a waiter that looks for slots. One
 * of the two must see the other, or a ticket sleeps beside a free slot. */
struct pair {
    struct cell *cell;
    pthread_barrier_t start, end;
    bool told;
};

static void *giver(void *ctx)
{
    struct pair *p = ctx;

    for (int i = 0; i < ROUNDS / 10; i++) {
        pthread_barrier_wait(&p->start);
        p->told = cell_give(p->cell);
        pthread_barrier_wait(&p->end);
    }
    return NULL;
}

static void test_no_ticket_sleeps_beside_a_free_slot(void **state)
{
    struct pair p = {.cell = cell_create(1)};
    pthread_t t;

    (void)state;
    assert_int_equal(pthread_barrier_init(&p.start, NULL, 2), 0);
    assert_int_equal(pthread_barrier_init(&p.end, NULL, 2), 0);
    assert_int_equal(pthread_create(&t, NULL, giver, &p), 0);
    for (int i = 0; i < ROUNDS / 10; i++) {
        bool got;

        assert_true(cell_take(p.cell, false));
        pthread_barrier_wait(&p.start);
        atomic_fetch_add(&p.cell->waiting, 1);
        got = cell_take(p.cell, true);
        pthread_barrier_wait(&p.end);
        assert_true(got || p.told);
        if (got)
            (void)cell_give(p.cell);
        atomic_fetch_sub(&p.cell->waiting, 1);
    }
    assert_int_equal(pthread_join(t, NULL), 0);
    pthread_barrier_destroy(&p.start);
    pthread_barrier_destroy(&p.end);
    cell_unref(&p.cell);
}

static void *refs(void *ctx)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct cell *c = cell_ref(ctx);

        cell_unref(&c);
    }
    return NULL;
}

static void test_references_from_threads(void **state)
{
    struct cell *c = cell_create(1);
    pthread_t t[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, refs, c), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    assert_int_equal(atomic_load(&c->refs), 1);
    cell_unref(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_no_slots_means_no_bound),
        cmocka_unit_test(test_slots_that_a_reload_changed),
        cmocka_unit_test(test_who_waits_goes_first),
        cmocka_unit_test(test_worst_verdict_wins_and_none_overwrites_another),
        cmocka_unit_test(test_seats_are_taken_and_left),
        cmocka_unit_test(test_selection_sees_slots_and_state),
        cmocka_unit_test(test_own_cache_line),
        cmocka_unit_test(test_last_reference_with_work_is_a_bug),
        cmocka_unit_test(test_threads_never_exceed_slots_and_end_at_zero),
        cmocka_unit_test(test_no_ticket_sleeps_beside_a_free_slot),
        cmocka_unit_test(test_references_from_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
