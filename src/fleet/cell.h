/* SPDX-License-Identifier: Apache-2.0
 *
 * cell.h - the mutable words of one engine: who says what about it, and how much it carries. Lanes
 * and control share cells without locks; a cell outlives the snapshots that name it. Verdicts are
 * written by control, each source its own, and nobody overwrites another's: the effective
 * state is computed from all of them. The breaker (fleet/breaker.h) is the one verdict that lanes
 * write too: who meets a refused connection closes the door for everybody, at once. Slots are
 * reserved first and asked about never: two lanes that see the last one free cannot both get it.
 *
 * What selection reads of every candidate, the load and its bound, stands side by side for 64 cells
 * in a block: comparing sixteen engines costs two cache lines instead of sixteen, and ten thousand
 * fit into a core's first two caches. That lanes write words of one line costs no more than that
 * they write words of one cell, which they do anyway.
 *
 * Memory order: relaxed, but for the pair (give back a slot, look for waiters) against (register a
 * waiter, look for slots), which must be sequentially consistent or a waiter sleeps beside a free
 * slot.
 */
#pragma once
#include <stdatomic.h>

#include "base/check.h"

/* What one source says. */
enum cell_verdict {
    CELL_NO_WORD, /* the source does not speak about this engine: counts as good */
    CELL_GOOD,
    CELL_COMING, /* not now, but it may come by itself: starting, loading, in back-off */
    CELL_BAD,    /* not now, and nothing is known to change that */
    CELL_CLOSED, /* it works off what it has and gets nothing new (draining) */
};

enum cell_source {
    CELL_LISTED,     /* the source that told us of it still does */
    CELL_PROBED,     /* active tests */
    CELL_TRAFFIC,    /* the breaker */
    CELL_SUPERVISED, /* its unit's state */
    CELL_SOURCES
};

enum {
    CELL_BLOCK_SEATS = 64,
    CELL_UNBOUNDED = INT32_MAX,
    CELL_LOAD_BITS = 24,
    CELL_LOAD_MASK = (1 << CELL_LOAD_BITS) - 1,
    CELL_HANDICAP_MOST = 127, /* so that the word stays positive as a signed one */
};

/* The words of 64 cells that selection compares. */
struct cell_block {
    /* The requests that hold it, below its handicap: requests that it only pretends to have, so
     * that an engine that fails fast, or has just come back, is not the emptiest of all. */
    _Alignas(64) _Atomic uint32_t load[CELL_BLOCK_SEATS];
    /* how many may before selection passes it over: its slots, CELL_UNBOUNDED without; 0 while its
     * state is not GOOD */
    _Atomic uint32_t most[CELL_BLOCK_SEATS];
    uint32_t number; /* ascending with age, never reused: a stable order */
};

/* The door that traffic closes; see breaker.h. */
enum cell_door {
    CELL_DOOR_CLOSED,    /* the circuit is: requests flow */
    CELL_DOOR_OPEN,      /* nobody goes there; control tries it again later */
    CELL_DOOR_DEAD,      /* the same, and control has knocked in vain: nobody waits for it either */
    CELL_DOOR_HALF_OPEN, /* one request may try */
    CELL_DOOR_TRIAL,     /* it does */
};

enum { CELL_MODELS_IN_TROUBLE = 8 };

/* One model of the engine that fails while others may be fine; see breaker.h. */
struct cell_trouble {
    _Atomic uint32_t model;    /* its mark; 0: the entry is free */
    _Atomic uint32_t failures; /* in a row */
    _Atomic uint32_t openings; /* in a row */
    _Atomic uint64_t until_ms; /* not before, as long as others have the model; 0: never opened */
};

struct cell {
    struct cell_block *block;
    uint32_t seat;                         /* in it */
    _Atomic uint32_t slots;                /* 0: the engine queues by itself */
    _Atomic uint32_t waiting;              /* tickets that could be served here */
    _Atomic uint8_t verdict[CELL_SOURCES]; /* enum cell_verdict; not of CELL_TRAFFIC: cell_says() */
    _Atomic uint8_t door;                  /* enum cell_door */
    _Atomic uint8_t troubles;              /* entries of `trouble` that are taken */
    _Atomic uint32_t broken;               /* connections that broke, in a row */
    _Atomic uint32_t epoch;                /* counts changes of what `most` is computed from */
    _Atomic uint32_t refs;
    /* for /services, /stats and metrics */
    _Alignas(64) _Atomic uint64_t requests; /* attempts forwarded */
    _Atomic uint64_t errors;                /* failed tests and failed attempts */
    _Atomic uint64_t response_us;           /* duration of the last answered test */
    _Atomic uint64_t checked_s;             /* when, seconds since the epoch; 0: never */
    struct cell_trouble trouble[CELL_MODELS_IN_TROUBLE];
};

/* Any thread. */
struct cell *cell_create(uint32_t slots) __attribute__((returns_nonnull));
struct cell *cell_ref(struct cell *c);
/* The last reference frees it; nothing may be in flight or waiting then. Any thread. */
void cell_unref(struct cell **c);

/* Control only: both change what selection sees. The breaker's word is its own (breaker.h). */
void cell_set(struct cell *c, enum cell_source source, enum cell_verdict v);
void cell_set_slots(struct cell *c, uint32_t slots);
/* Any thread: the door changed. */
void cell_door_changed(struct cell *c);
/* What one source says. */
enum cell_verdict cell_says(const struct cell *c, enum cell_source source);
/* The worst word of all sources, by: BAD, CLOSED, COMING, GOOD. Never NO_WORD. */
enum cell_verdict cell_state(const struct cell *c);

/* Reserves a slot, and behind a half-open door the trial. False when all are taken, when another
 * has the trial, or when others wait for a slot and `queued` does not say that the caller is the
 * one whose turn it is. */
bool cell_take(struct cell *c, bool queued);
/* Counts a request that waits for no slot, and takes none from others: management. */
void cell_hold(struct cell *c);
/* Gives either back. True when somebody waits: control must be told. */
bool cell_give(struct cell *c);

/* Adds to its handicap; true when that was 0: somebody must halve it from now on. */
bool cell_handicap(struct cell *c, uint32_t n);
/* True while something is left of it. */
bool cell_handicap_halve(struct cell *c);

/* The requests that hold it. */
static inline uint32_t cell_load(const struct cell *c)
{
    return atomic_load_explicit(&c->block->load[c->seat], memory_order_relaxed) & CELL_LOAD_MASK;
}
/* The same and its handicap: what selection compares. */
static inline uint32_t cell_weighed(const struct cell *c)
{
    uint32_t word = atomic_load_explicit(&c->block->load[c->seat], memory_order_relaxed);

    return (word & CELL_LOAD_MASK) + (word >> CELL_LOAD_BITS);
}
/* True when no slot is free now. */
static inline bool cell_full(const struct cell *c)
{
    uint32_t slots = atomic_load_explicit(&c->slots, memory_order_relaxed);

    return slots > 0 && cell_load(c) >= slots;
}
