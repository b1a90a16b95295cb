/* SPDX-License-Identifier: Apache-2.0
 *
 * select.h - whom to ask. A pure function of a snapshot, what is known of the request, the cells'
 * loads, and a lane's credit table, which only it changes: no I/O, no clock, so it is tested as a
 * property and simulated without a network.
 *
 * Filters: the model; a kind that speaks the path; not tried before; state GOOD; a free slot; and,
 * while that leaves anybody, no trouble with this very model (breaker.h). Of those the ones of the
 * least rank: who is absent comes after who is listed, then who is not of the class that is wanted
 * after who is, then who has no weight after who has one. So if nobody has what is preferred, all
 * are candidates; and who is left has a weight, or nobody has, and then they count as 1.
 * Order, with a session: its own engine, or while that has no room the next one that it would
 * belong to (rendezvous.h), so a hot session spills over and a lost engine's sessions spread. Order
 * without, and when no engine with a free slot is within the bound: least load / weight, with the
 * handicap of cell.h in the load; among equals smooth weighted round robin (each choice adds every
 * equal's weight to its credit, takes the largest, subtracts the sum from it), so weights 3:1 give
 * A A B A. Under round-robin all count as equals. Credits are kept for each model and class that is
 * wanted, so nobody's requests change another's turns. Models with many engines are compared four
 * at a time (crowd.h), by the same rule, where neither a class nor a turn is asked for.
 */
#pragma once
#include "fleet/options.h"
#include "fleet/snapshot.h"

enum { SELECT_TRIED_MAX = 8 };

/* Bits of a rank, see above. */
enum { SELECT_ABSENT = 4, SELECT_OTHER_CLASS = 2, SELECT_WEIGHTLESS = 1 };

/* Of an engine, whatever is wanted. */
static inline uint8_t select_rank(const struct engine *e)
{
    return (uint8_t)((e->absent ? SELECT_ABSENT : 0) | (e->weight == 0 ? SELECT_WEIGHTLESS : 0));
}

/* What is known of the request. */
struct select_facts {
    const struct model *model;        /* not NULL */
    uint32_t kinds;                   /* bit 1 << enum engine_kind; an unset kind always fits */
    uint64_t now_ms;                  /* for the breakers of models */
    uint32_t tried[SELECT_TRIED_MAX]; /* engine ids that are out */
    uint32_t ntried;
    enum cache_class wanted; /* CACHE_UNSAID: any */
    enum balance balance;
    const struct affinity_conf *affinity; /* NULL: it belongs to no session */
    uint64_t session;                     /* rendezvous_session() */
};

/* A lane's credits for weighted round robin: one per (model, class, engine) of the snapshot. */
struct select_credits {
    int32_t *at;
    uint32_t n;
    float *keys;         /* what a selection among very many notes down while it lasts */
    uint64_t generation; /* of the snapshot they belong to */
};

/* Zeroes when the snapshot is another one. */
void select_credits_fit(struct select_credits *c, const struct snapshot *s);
void select_credits_fini(struct select_credits *c);

/* Why nobody was chosen. */
enum select_verdict {
    SELECT_ONE,     /* *ret is the engine to ask */
    SELECT_FULL,    /* good engines, no free slot: wait */
    SELECT_COMING,  /* none is good, but one may come by itself: wait */
    SELECT_NOBODY,  /* none could serve it */
    SELECT_FOREIGN, /* engines list the model, but none speaks this path */
};

/* One candidate; ask again with it among `tried` for the next. */
enum select_verdict select_engine(const struct select_facts *facts, struct select_credits *credits,
                                  const struct engine **ret) MUSTCHECK;
