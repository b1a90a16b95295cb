/* SPDX-License-Identifier: Apache-2.0
 *
 * breaker.c - see breaker.h. Every word is changed by compare-and-swap or is a mere count: two
 * failures that meet may be counted as one, which moves an opening by one request and nothing else.
 */
#include "fleet/breaker.h"

static bool move(struct cell *c, enum cell_door from, enum cell_door to)
{
    uint8_t was = (uint8_t)from;

    if (!atomic_compare_exchange_strong(&c->door, &was, (uint8_t)to))
        return false;
    cell_door_changed(c);
    return true;
}

static bool open_door(struct cell *c, bool closed_too)
{
    return move(c, CELL_DOOR_TRIAL, CELL_DOOR_OPEN) ||
           move(c, CELL_DOOR_HALF_OPEN, CELL_DOOR_OPEN) ||
           (closed_too && move(c, CELL_DOOR_CLOSED, CELL_DOOR_OPEN));
}

bool breaker_refused(struct cell *c) { return open_door(c, true); }

bool breaker_broken(struct cell *c, uint32_t most)
{
    uint32_t broken = atomic_fetch_add_explicit(&c->broken, 1, memory_order_relaxed) + 1;

    return most > 0 && open_door(c, broken >= most);
}

void breaker_whole(struct cell *c)
{
    if (atomic_load_explicit(&c->broken, memory_order_relaxed) > 0)
        atomic_store_explicit(&c->broken, 0, memory_order_relaxed);
}

bool breaker_answered(struct cell *c)
{
    if (atomic_load_explicit(&c->door, memory_order_relaxed) == CELL_DOOR_CLOSED)
        return false;
    /* through an open door comes only what was on its way before it opened */
    return move(c, CELL_DOOR_TRIAL, CELL_DOOR_CLOSED) ||
           move(c, CELL_DOOR_HALF_OPEN, CELL_DOOR_CLOSED);
}

void breaker_unheard(struct cell *c)
{
    if (atomic_load_explicit(&c->door, memory_order_relaxed) == CELL_DOOR_TRIAL)
        (void)move(c, CELL_DOOR_TRIAL, CELL_DOOR_HALF_OPEN);
}

bool breaker_give(struct cell *c)
{
    breaker_unheard(c);
    return cell_give(c);
}

void breaker_half_open(struct cell *c)
{
    atomic_store_explicit(&c->broken, 0, memory_order_relaxed);
    if (!move(c, CELL_DOOR_OPEN, CELL_DOOR_HALF_OPEN))
        (void)move(c, CELL_DOOR_DEAD, CELL_DOOR_HALF_OPEN);
}

void breaker_dead(struct cell *c) { (void)move(c, CELL_DOOR_OPEN, CELL_DOOR_DEAD); }

/* ---- one model ---- */

static bool in_trouble(const struct cell *c)
{
    return atomic_load_explicit(&c->troubles, memory_order_relaxed) > 0;
}

static struct cell_trouble *find(const struct cell *c, uint32_t model)
{
    for (unsigned i = 0; in_trouble(c) && i < CELL_MODELS_IN_TROUBLE; i++)
        if (atomic_load_explicit(&c->trouble[i].model, memory_order_relaxed) == model)
            return (struct cell_trouble *)(uintptr_t)&c->trouble[i];
    return NULL;
}

/* An entry for it; when all are taken, none: the engine as a whole is in trouble then, and its own
 * breaker will say so. */
static struct cell_trouble *claim(struct cell *c, uint32_t model)
{
    for (unsigned i = 0; i < CELL_MODELS_IN_TROUBLE; i++) {
        uint32_t nobody = 0;

        if (!atomic_compare_exchange_strong(&c->trouble[i].model, &nobody, model))
            continue;
        atomic_fetch_add_explicit(&c->troubles, 1, memory_order_relaxed);
        return &c->trouble[i];
    }
    return NULL;
}

static uint64_t opening_ms(uint32_t openings)
{
    uint64_t ms = BREAKER_FIRST_MS;

    while (openings-- > 0 && ms < BREAKER_MOST_MS)
        ms *= 2;
    return ms < BREAKER_MOST_MS ? ms : BREAKER_MOST_MS;
}

void breaker_model_failed(struct cell *c, uint32_t model, uint32_t most, uint64_t now_ms,
                          uint64_t retry_after_ms)
{
    struct cell_trouble *t = find(c, model);
    uint64_t until = 0, was;

    if (!t)
        t = claim(c, model);
    if (!t)
        return;
    was = atomic_load_explicit(&t->until_ms, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&t->failures, 1, memory_order_relaxed) + 1 >= most && most > 0 &&
        (was == 0 || now_ms + BREAKER_FIRST_MS >= was)) /* several in one opening are one */
        until =
            now_ms + opening_ms(atomic_fetch_add_explicit(&t->openings, 1, memory_order_relaxed));
    if (retry_after_ms > BREAKER_MOST_MS)
        retry_after_ms = BREAKER_MOST_MS;
    if (retry_after_ms > 0 && now_ms + retry_after_ms > until)
        until = now_ms + retry_after_ms;
    if (until > was)
        atomic_store_explicit(&t->until_ms, until, memory_order_relaxed);
}

void breaker_model_ok(struct cell *c, uint32_t model)
{
    struct cell_trouble *t = find(c, model);

    if (!t)
        return;
    atomic_store_explicit(&t->failures, 0, memory_order_relaxed);
    atomic_store_explicit(&t->openings, 0, memory_order_relaxed);
    atomic_store_explicit(&t->until_ms, 0, memory_order_relaxed);
    if (atomic_compare_exchange_strong(&t->model, &model, 0))
        atomic_fetch_sub_explicit(&c->troubles, 1, memory_order_relaxed);
}

bool breaker_model_shuns(const struct cell *c, uint32_t model, uint64_t now_ms)
{
    const struct cell_trouble *t = find(c, model);

    return t && atomic_load_explicit(&t->until_ms, memory_order_relaxed) > now_ms;
}

bool breaker_model_enter(struct cell *c, uint32_t model, uint64_t now_ms)
{
    struct cell_trouble *t = find(c, model);
    uint64_t until = t ? atomic_load_explicit(&t->until_ms, memory_order_relaxed) : 0;

    if (until == 0)
        return true;
    return until <= now_ms &&
           atomic_compare_exchange_strong(&t->until_ms, &until, now_ms + BREAKER_FIRST_MS);
}

unsigned breaker_models_open(const struct cell *c, uint64_t now_ms)
{
    unsigned n = 0;

    for (unsigned i = 0; in_trouble(c) && i < CELL_MODELS_IN_TROUBLE; i++)
        n += atomic_load_explicit(&c->trouble[i].model, memory_order_relaxed) != 0 &&
             atomic_load_explicit(&c->trouble[i].until_ms, memory_order_relaxed) > now_ms;
    return n;
}
