/* SPDX-License-Identifier: Apache-2.0
 *
 * unit_priv.h - one unit and its state machine.
 *
 *   STOPPED -> STARTING -> LOADING -> READY <-> UNRESPONSIVE
 *                 |           |         |            |
 *                 |           |         +-> DRAINING |       asked: stop, restart, remove
 *                 |           |                |     |
 *                 +-----------+---> STOPPING <-+-----+       then STOPPED, STARTING, or forgotten
 *
 * A process that ends unasked leaves every one of them for BACKOFF (then STARTING again), EXITED,
 * or PARKED, as its rules say.
 *
 * What is true, checked at every change of state:
 *   STARTING, LOADING, READY, UNRESPONSIVE, DRAINING: there is a child that has not ended, except
 * in STARTING, where there may be none yet (the sweep of the last one is not over). STOPPING: a
 * child, or a sweep. all others: no child that has not ended. A sweep may still run; STARTING waits
 * for it.
 */
#pragma once
#include "ev/child.h"
#include "supervise/output.h"
#include "supervise/supervise_priv.h"

/* What is known of the place where a unit is about to listen; only in STARTING. */
enum unit_place {
    UNIT_PLACE_UNASKED,
    UNIT_PLACE_ASKED, /* supervise_ops.on_place() was called */
    UNIT_PLACE_FREE,
};

/* What a unit that is being stopped does next. */
enum unit_goal {
    UNIT_RUN,    /* start again */
    UNIT_STAY,   /* stay stopped */
    UNIT_REMOVE, /* be forgotten */
};

enum {
    UNIT_MARK_BYTES = SUPERVISE_INSTANCE_BYTES + 1 + LINK_NAME_MAX + 1 + 16 + 1,
    UNIT_BURST_MAX = 16,
};

struct unit {
    struct list node; /* in supervise.units */
    struct supervise *s;
    struct link_unit pub; /* what others see; state is written by set_state() alone */
    bool untold;          /* it changed inside supervise_report() */
    struct arena arena;   /* of conf */
    struct engine_conf conf;
    enum unit_goal goal;
    enum unit_place place;
    struct deadline timer;  /* what the state waits for at most */
    struct deadline stable; /* in READY: then the failures are forgotten */
    /* the process and what it leaves */
    struct child *child;        /* of this generation; may have ended, until its remains are gone */
    struct sweep *sweep;        /* of what the last process left */
    struct deadline remains;    /* how long its pipes may stay open after it ended */
    unsigned streams_open;      /* pipes that somebody may still write to */
    bool killed;                /* KILL was sent: to the process, or to what it left */
    char mark[UNIT_MARK_BYTES]; /* INFERD_UNIT of this generation */
    struct output *output;
    /* failures */
    const char *failing;                /* why it is being stopped, which counts; NULL: it is not */
    unsigned fails;                     /* in a row */
    uint64_t failed_ms[UNIT_BURST_MAX]; /* when; failure number n at n % UNIT_BURST_MAX */
    unsigned failed_n;
    bool slow;     /* burst: see SUPERVISE_SLOW */
    bool queueing; /* in BACKOFF, over, but for its turn among the slow ones */
};

/* Copies `conf`. In STOPPED. */
struct unit *unit_create(struct supervise *s, uint32_t id, const struct engine_conf *conf)
    __attribute__((returns_nonnull));
/* Without a child and without a sweep. */
void unit_destroy(struct unit **u);
/* Takes over a changed configuration; restarts if the process would be another. Takes back that it
 * was to be forgotten. */
void unit_configure(struct unit *u, const struct engine_conf *conf);

/* Each returns a static word about what happens. */
const char *unit_start(struct unit *u);
const char *unit_stop(struct unit *u, enum unit_goal goal);
const char *unit_drain(struct unit *u, enum unit_goal goal);
const char *unit_restart(struct unit *u);
void unit_report(struct unit *u, enum link_report report);
/* supervise.tested, .hurry or .sweep changed. */
void unit_on_tested(struct unit *u);
void unit_on_hurry(struct unit *u);
void unit_on_swept_start(struct unit *u);
/* supervise_place(). */
void unit_on_place(struct unit *u, const char *taken);
/* Nothing may be started any more: see supervise_freeze(). */
void unit_freeze(struct unit *u);
/* It was waiting for its turn, and this is it. */
void unit_on_turn(struct unit *u);
/* Nothing of it runs or is being removed. */
bool unit_is_idle(const struct unit *u);
