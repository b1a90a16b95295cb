/* SPDX-License-Identifier: Apache-2.0
 *
 * plan.h - which models may answer for the name that a client asked for, in the order they are to
 * be tried: its targets, the one whose turn it is first, then its fallbacks. A session stays with
 * one target (weighted rendezvous hashing over their names); without one smooth weighted round
 * robin shares the requests, with credits that belong to a lane as those of engines do. Whether a
 * model can be served now is not looked at: that is the caller's to see when it comes to it. Pure.
 */
#pragma once
#include "base/str.h"

struct snapshot;
struct select_credits;
struct rendezvous_key;

enum {
    PLAN_TARGETS_MAX = 16, /* of one name */
    PLAN_FALLBACKS_MAX = 8,
    PLAN_MAX = 24,  /* models of one plan; more are left out */
    PLAN_DEPTH = 8, /* names that stand for names that share: deeper ones are left out */
};

struct plan {
    struct str models[PLAN_MAX]; /* slices of the snapshot; none is a name for others */
    uint32_t n;                  /* at least 1 */
    uint32_t targets;            /* those before this one; the rest are fallbacks */
};

/* False, and nothing is written, when the name stands for itself alone. `key` may be NULL. The
 * credits fit the snapshot; NULL: all in the order they were named. */
bool plan_make(const struct snapshot *s, struct str name, const struct rendezvous_key *key,
               struct select_credits *credits, struct plan *ret);
