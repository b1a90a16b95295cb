/* SPDX-License-Identifier: Apache-2.0
 *
 * world.c - clock, chance and scheduler of the simulated world; see world.h. Readiness is asked,
 * not signalled: each step looks at every actor. Scenarios have a handful of them, and a lost
 * wake-up of the simulation itself cannot hide one of the code under test.
 */
#include "sim/world.h"

#include <stdarg.h>
#include <stdio.h>

#include "sim/wire.h"

enum {
    FIRST_US = 7000000, /* clocks do not begin at 0 */
    ACTORS_MAX = 256,   /* at once */
    LATE_PERCENT = 10,  /* so often the world sleeps longer than it was asked to, */
    LATE_MAX_US = 1200, /* by up to so much */
};

static struct {
    bool on, plain, notes;
    uint64_t seed, state;
    uint64_t now_us;
    uint64_t turns;
    struct list actors;
    struct actor *current;
} world;

void world_begin(uint64_t seed, bool plain)
{
    CHECK(!world.on);
    world.on = true;
    world.plain = plain;
    world.seed = seed;
    world.state = seed * 0x9e3779b97f4a7c15u + 0x1234567;
    world.now_us = FIRST_US + (plain ? 0 : seed * 991 % 1000000);
    world.turns = 0;
    world.current = NULL;
    list_init(&world.actors);
    wire_begin();
}

void world_end(void)
{
    struct actor *a;

    CHECK(world.on);
    list_each(a, &world.actors, node)(void)
        fprintf(stderr, "left behind in the world: %s\n", a->name);
    CHECK(list_empty(&world.actors));
    wire_end();
    world.on = false;
}

bool world_plain(void) { return world.plain; }

uint64_t world_seed(void) { return world.seed; }

uint64_t world_now_us(void)
{
    CHECK(world.on);
    return world.now_us;
}

uint64_t world_now_ms(void) { return world_now_us() / 1000; }

/* splitmix64: small, and good enough to decide who goes first. */
static uint64_t draw(void)
{
    uint64_t z = (world.state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t world_random(uint64_t below)
{
    CHECK(below > 0);
    return world.plain ? 0 : draw() % below;
}

uint64_t world_between(uint64_t lo, uint64_t hi)
{
    CHECK(lo <= hi);
    return lo + world_random(hi - lo + 1);
}

bool world_chance(unsigned percent) { return !world.plain && draw() % 100 < percent; }

void world_add(struct actor *a, const char *name, const struct actor_ops *ops)
{
    a->ops = ops;
    a->name = name;
    a->busy = false;
    list_append(&world.actors, &a->node);
}

void world_remove(struct actor *a) { list_remove(&a->node); }

/* A ready actor, by chance; NULL when there is none. */
static struct actor *pick(void)
{
    struct actor *ready[ACTORS_MAX], *a;
    unsigned n = 0;

    list_each(a, &world.actors, node)
    {
        if (!a->busy && a->ops->ready(a)) {
            CHECK(n < ACTORS_MAX);
            ready[n++] = a;
        }
    }
    return n ? ready[world_random(n)] : NULL;
}

static uint64_t next_us(void)
{
    uint64_t next = UINT64_MAX;
    struct actor *a;

    list_each(a, &world.actors, node)
    {
        if (!a->busy)
            next = min_u64(next, a->ops->next_us(a));
    }
    return next;
}

bool world_step(uint64_t until_us)
{
    struct actor *a;
    uint64_t next;

    CHECK(world.on);
    while (!(a = pick())) {
        next = next_us();
        if (next == UINT64_MAX && until_us == UINT64_MAX)
            return false;
        CHECK(next > world.now_us); /* else it would be ready */
        if (next > until_us) {
            world.now_us = until_us > world.now_us ? until_us : world.now_us;
            return false;
        }
        world.now_us = next;
        if (world_chance(LATE_PERCENT))
            world.now_us = min_u64(until_us, next + world_random(LATE_MAX_US));
    }
    world.turns++;
    a->busy = true;
    a->ops->turn(a); /* may free it: who stays clears busy */
    return true;
}

void world_run_ms(uint64_t ms)
{
    uint64_t until = world.now_us + ms * 1000;

    while (world_step(until))
        ;
}

bool world_run_until(bool (*done)(void *ctx), void *ctx, uint64_t ms)
{
    uint64_t until = world.now_us + ms * 1000;

    while (!done(ctx)) {
        if (!world_step(until))
            return done(ctx);
    }
    return true;
}

uint64_t world_turns(void) { return world.turns; }

void world_set_current(struct actor *a) { world.current = a; }

struct actor *world_current(void) { return world.current; }

void world_set_notes(bool on) { world.notes = on; }

bool world_notes(void) { return world.notes; }

void world_note(const char *fmt, ...)
{
    va_list ap;

    if (!world.notes)
        return;
    (void)printf("%10.3f ms  ", (double)(world.now_us - FIRST_US) / 1000);
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    (void)putchar('\n');
}
