/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.h - the last few hundred things each thread did, for the moment something fails. A ring
 * belongs to one owner (lane, control, the master's loop), who passes it around: no thread-local
 * state. A note is five stores. A failed CHECK prints every ring of the process; so may a signal
 * handler. Notes hold numbers and literals only, never what a peer sent.
 */
#pragma once
#include "base/check.h"

enum {
    TRACE_NOTES = 256, /* kept per ring; a power of two */
    TRACE_RINGS = 80,  /* at once in a process; more are not printed, but work */
};

struct trace_note {
    uint64_t at_us;   /* the loop's clock */
    uint64_t id;      /* request, unit, connection; 0: none */
    const char *what; /* literal: a step's name; NULL: never written */
    uint64_t a, b;    /* whatever the literal says */
};

struct trace {
    const char *name; /* literal: "lane 0", "control" */
    uint32_t next;    /* notes written so far */
    struct trace_note note[TRACE_NOTES];
};

/* Empties the ring, registers it for trace_dump(), makes failed CHECKs print. `name` is borrowed.
 */
void trace_init(struct trace *t, const char *name);
/* Unregisters. Twice is fine. */
void trace_fini(struct trace *t);

/* Owner's thread only. */
static inline void trace_add(struct trace *t, uint64_t at_us, uint64_t id, const char *what,
                             uint64_t a, uint64_t b)
{
    uint32_t next = __atomic_load_n(&t->next, __ATOMIC_RELAXED);
    struct trace_note *n = &t->note[next % TRACE_NOTES];

    /* atomic because a dying thread prints other threads' rings; a torn note is fine there */
    __atomic_store_n(&n->at_us, at_us, __ATOMIC_RELAXED);
    __atomic_store_n(&n->id, id, __ATOMIC_RELAXED);
    __atomic_store_n(&n->a, a, __ATOMIC_RELAXED);
    __atomic_store_n(&n->b, b, __ATOMIC_RELAXED);
    __atomic_store_n(&n->what, what, __ATOMIC_RELEASE);
    __atomic_store_n(&t->next, next + 1, __ATOMIC_RELEASE);
}

/* Prints every registered ring, oldest note first. Async-signal-safe. */
void trace_dump(int fd);
/* One ring only. Async-signal-safe. */
void trace_dump_ring(const struct trace *t, int fd);
