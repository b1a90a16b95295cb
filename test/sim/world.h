/* SPDX-License-Identifier: Apache-2.0
 *
 * world.h - the simulated world that test/sim/ev runs in: one virtual clock, one seeded source of
 * chance, and a scheduler that lets exactly one actor take exactly one turn at a time. Actors are
 * event loops, threads between their loops, and scripted peers. Time stands still while anybody has
 * something to do and then jumps to the next moment at which somebody will.
 *
 * There is one world at a time. A seeded world decides by its seed everything that a kernel, a
 * network or a scheduler would: who runs next, how many of the ready events one turn serves and in
 * which order, where reads and writes are cut, how long bytes travel, how late a timer is. The same
 * seed is the same run. A plain world takes the first choice everywhere: nothing is random, for
 * instruction counts and for stepping through with a debugger.
 *
 * This is test code: the world is a global on purpose, so that the code under test need not carry
 * it.
 */
#pragma once
#include "base/list.h"

/* Somebody who can take a turn. Embedded in a loop, a thread, a peer. */
struct actor {
    struct list node;
    const struct actor_ops *ops;
    const char *name; /* borrowed */
    bool busy;        /* in its turn: not scheduled, however deep the stack is */
};

struct actor_ops {
    /* Has it something to do at this moment? */
    bool (*ready)(struct actor *a);
    /* Does some of it. May add and remove actors, this one included. */
    void (*turn)(struct actor *a);
    /* When it will have something to do if nobody else does anything; UINT64_MAX: never. */
    uint64_t (*next_us)(struct actor *a);
};

void world_begin(uint64_t seed, bool plain);
/* Aborts when anything is left behind: an actor, a socket, a descriptor. */
void world_end(void);
bool world_plain(void);
uint64_t world_seed(void);

uint64_t world_now_us(void);
uint64_t world_now_ms(void);
/* 0 <= result < below; 0 in a plain world. */
uint64_t world_random(uint64_t below);
/* lo <= result <= hi; lo in a plain world. */
uint64_t world_between(uint64_t lo, uint64_t hi);
/* True in so many of a hundred cases; never in a plain world. */
bool world_chance(unsigned percent);

void world_add(struct actor *a, const char *name, const struct actor_ops *ops);
void world_remove(struct actor *a);

/* One turn of one ready actor; when nobody is ready, time moves first, but not beyond `until_us`.
 * False: nobody had anything to do until then, and it is `until_us` now (or, for UINT64_MAX, nobody
 * will ever have anything to do again). */
bool world_step(uint64_t until_us);
/* Everything that happens in so many milliseconds. */
void world_run_ms(uint64_t ms);
/* Until `done(ctx)`; false when it did not come true within `ms`. */
bool world_run_until(bool (*done)(void *ctx), void *ctx, uint64_t ms);
/* Turns taken so far in this world. */
uint64_t world_turns(void);

/* Threads take turns too, but on their own stacks: test/sim/ev/thread.c hooks in here. What runs is
 * the scheduler (NULL) or one of them. */
void world_set_current(struct actor *a);
struct actor *world_current(void);

/* One line of the story, with the time in front, when notes are on. */
void world_note(const char *fmt, ...) PRINTF_LIKE(1, 2);
void world_set_notes(bool on);
bool world_notes(void);
