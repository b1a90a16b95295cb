/* SPDX-License-Identifier: Apache-2.0
 *
 * supervise_priv.h - the table of units, as its state machine sees it.
 */
#pragma once
#include "base/list.h"
#include "ev/deadline.h"
#include "ev/sweep.h"
#include "supervise/supervise.h"

struct unit; /* unit_priv.h */

struct supervise {
    struct supervise_conf conf;
    const struct supervise_ops *ops;
    void *ctx;
    struct loop *loop;
    struct list units;   /* by id */
    struct sweep *sweep; /* of what an earlier run left; units wait for it */
    struct deadline report_stopped;
    struct deadline refill; /* of slow_tokens */
    struct grave settle;    /* at the end of the turn: tells what is untold, forgets what is gone */
    unsigned slow_tokens;   /* starts that units in slow mode may still make */
    uint32_t last_id;
    uint32_t drain_ms;
    uint64_t random;
    bool tested, stopping, hurry; /* hurry: stop without grace */
    bool quiet;                   /* inside supervise_report() */
    bool settling;                /* `settle` is buried */
    bool destroyed;               /* and it was the last thing to happen */
};

/* Pseudo-random, from the seed: jitter and marks, not secrets. */
uint64_t supervise_random(struct supervise *s);
/* A free port of the range that no other unit has, `keep` if it can stay; 0: none. Begins to look
 * where the name says, so that a unit mostly gets its old port in the next run, too. */
uint16_t supervise_port(struct supervise *s, const struct unit *for_unit, uint16_t keep);
/* True for the mark of a process that is to live. */
bool supervise_is_live(const struct supervise *s, struct str mark);
/* Tells what changed: now, or at the end of the turn. */
void supervise_tell(struct supervise *s, struct unit *u);
/* A unit's process or its remains are gone for good. */
void supervise_unit_idle(struct supervise *s);
/* True when a unit in slow mode may be started now; counts it. Else unit_on_turn() follows. */
bool supervise_take_slow_token(struct supervise *s);
