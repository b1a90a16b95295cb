/* SPDX-License-Identifier: Apache-2.0
 *
 * cell.c - see cell.h. Blocks are found and left under one lock, which only the making and the end
 * of a cell take; a block lives as long as one of its seats is taken.
 */
#include "fleet/cell.h"

#include <pthread.h>

#include "base/mem.h"

/* A block with what only its owner, the hall, looks at. */
struct row {
    struct cell_block block;
    uint64_t taken; /* bit per seat */
    struct row *next;
};

/* All blocks. Process-wide, since cells are made and ended on any thread. */
static struct {
    pthread_mutex_t lock;
    struct row *first;
    uint32_t rows; /* ever made */
} hall = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void sit(struct cell *c)
{
    struct row *r;

    CHECK(pthread_mutex_lock(&hall.lock) == 0);
    for (r = hall.first; r && ~r->taken == 0;)
        r = r->next;
    if (!r) {
        r = mem_alloc_aligned(_Alignof(struct row), sizeof *r);
        r->block.number = hall.rows++;
        r->next = hall.first;
        hall.first = r;
    }
    c->block = &r->block;
    c->seat = (uint32_t)__builtin_ctzll(~r->taken);
    r->taken |= UINT64_C(1) << c->seat;
    CHECK(pthread_mutex_unlock(&hall.lock) == 0);
}

static void leave(struct cell *c)
{
    struct row *r = container_of(c->block, struct row, block), **at = &hall.first;

    CHECK(pthread_mutex_lock(&hall.lock) == 0);
    r->taken &= ~(UINT64_C(1) << c->seat);
    if (r->taken == 0) {
        while (*at != r)
            at = &(*at)->next;
        *at = r->next;
        mem_free(r);
    }
    CHECK(pthread_mutex_unlock(&hall.lock) == 0);
}

static _Atomic uint32_t *load_word(struct cell *c) { return &c->block->load[c->seat]; }

/* Several threads may say something at once: whoever stores a bound that is not computed from the
 * last word does it again. */
static void set_most(struct cell *c)
{
    uint32_t epoch = atomic_fetch_add(&c->epoch, 1) + 1;

    for (;;) {
        uint32_t slots = atomic_load_explicit(&c->slots, memory_order_relaxed), seen;
        uint32_t most = cell_state(c) != CELL_GOOD                  ? 0
                        : slots == 0 || slots > (uint32_t)INT32_MAX ? CELL_UNBOUNDED
                                                                    : slots;

        atomic_store(&c->block->most[c->seat], most);
        seen = atomic_load(&c->epoch);
        if (seen == epoch)
            return;
        epoch = seen;
    }
}

struct cell *cell_create(uint32_t slots)
{
    struct cell *c = mem_alloc_aligned(_Alignof(struct cell), sizeof *c);

    sit(c);
    atomic_store(load_word(c), 0);
    atomic_init(&c->refs, 1);
    cell_set_slots(c, slots);
    return c;
}

struct cell *cell_ref(struct cell *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void cell_unref(struct cell **cp)
{
    struct cell *c = TAKE(cp);

    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
        return;
    CHECK(cell_load(c) == 0 && atomic_load(&c->waiting) == 0);
    leave(c);
    mem_free(c);
}

void cell_set(struct cell *c, enum cell_source source, enum cell_verdict v)
{
    CHECK(source != CELL_TRAFFIC);
    atomic_store_explicit(&c->verdict[source], (uint8_t)v, memory_order_release);
    set_most(c);
}

void cell_door_changed(struct cell *c) { set_most(c); }

enum cell_verdict cell_says(const struct cell *c, enum cell_source source)
{
    static const enum cell_verdict of_door[] = {
        [CELL_DOOR_CLOSED] = CELL_NO_WORD, [CELL_DOOR_OPEN] = CELL_COMING,
        [CELL_DOOR_DEAD] = CELL_BAD,       [CELL_DOOR_HALF_OPEN] = CELL_GOOD,
        [CELL_DOOR_TRIAL] = CELL_COMING,
    };

    if (source == CELL_TRAFFIC)
        return of_door[atomic_load_explicit(&c->door, memory_order_acquire)];
    return (enum cell_verdict)atomic_load_explicit(&c->verdict[source], memory_order_acquire);
}

void cell_set_slots(struct cell *c, uint32_t slots)
{
    atomic_store_explicit(&c->slots, slots, memory_order_relaxed);
    set_most(c);
}

enum cell_verdict cell_state(const struct cell *c)
{
    static const uint8_t severity[] = {
        [CELL_NO_WORD] = 0, [CELL_GOOD] = 0, [CELL_COMING] = 1, [CELL_CLOSED] = 2, [CELL_BAD] = 3,
    };
    static const enum cell_verdict of_severity[] = {CELL_GOOD, CELL_COMING, CELL_CLOSED, CELL_BAD};
    uint8_t worst = 0;

    for (unsigned i = 0; i < CELL_SOURCES; i++) {
        uint8_t s = severity[cell_says(c, i)];

        worst = s > worst ? s : worst;
    }
    return of_severity[worst];
}

/* Behind a half-open door there is one place, whatever the slots say. */
static bool take_trial(struct cell *c)
{
    uint8_t door = atomic_load_explicit(&c->door, memory_order_relaxed);

    if (door == CELL_DOOR_CLOSED)
        return true;
    if (door != CELL_DOOR_HALF_OPEN ||
        !atomic_compare_exchange_strong(&c->door, &door, CELL_DOOR_TRIAL))
        return false;
    set_most(c);
    return true;
}

bool cell_take(struct cell *c, bool queued)
{
    uint32_t slots = atomic_load_explicit(&c->slots, memory_order_relaxed);
    uint32_t word = atomic_load_explicit(load_word(c), memory_order_relaxed);

    if (!queued && atomic_load_explicit(&c->waiting, memory_order_relaxed) > 0)
        return false;
    do {
        if (slots > 0 && (word & CELL_LOAD_MASK) >= slots)
            return false;
    } while (!atomic_compare_exchange_weak(load_word(c), &word, word + 1));
    if (take_trial(c))
        return true;
    (void)cell_give(c); /* who waits is served when the door's next word comes */
    return false;
}

void cell_hold(struct cell *c) { atomic_fetch_add(load_word(c), 1); }

bool cell_give(struct cell *c)
{
    uint32_t before = atomic_fetch_sub(load_word(c), 1);

    CHECK((before & CELL_LOAD_MASK) > 0);
    return atomic_load(&c->waiting) > 0;
}

bool cell_handicap(struct cell *c, uint32_t n)
{
    uint32_t word = atomic_load_explicit(load_word(c), memory_order_relaxed), had, is;

    do {
        had = word >> CELL_LOAD_BITS;
        is = n < CELL_HANDICAP_MOST - had ? had + n : CELL_HANDICAP_MOST;
    } while (!atomic_compare_exchange_weak(load_word(c), &word,
                                           (word & CELL_LOAD_MASK) | is << CELL_LOAD_BITS));
    return had == 0;
}

bool cell_handicap_halve(struct cell *c)
{
    uint32_t word = atomic_load_explicit(load_word(c), memory_order_relaxed), left;

    do {
        left = word >> CELL_LOAD_BITS >> 1;
    } while (word >> CELL_LOAD_BITS > 0 &&
             !atomic_compare_exchange_weak(load_word(c), &word,
                                           (word & CELL_LOAD_MASK) | left << CELL_LOAD_BITS));
    return left > 0;
}
