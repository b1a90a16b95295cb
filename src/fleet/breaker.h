/* SPDX-License-Identifier: Apache-2.0
 *
 * breaker.h - what traffic says about an engine. Two breakers, because two things fail:
 *
 * The engine, as its connections tell. A failed connect opens its door at once, so many broken
 * replies in a row do too. Nobody is sent there until control has made a connection of its
 * own (after 1 s, doubling to 30 s, to 4 s while it takes connections, or when a probe finds it
 * well again); then the door is half open: one request, chosen by compare-and-swap, tries. Any
 * reply head closes the circuit, any failure opens the door again. A trial whose client left says
 * nothing: another may try.
 *
 * One model of it, as its answers tell: 429, 5xx, no first byte in time. After so many in a row, or
 * for as long as a 429 or 503 asks with Retry-After, selection prefers others that have the model.
 * This breaker steers and never refuses: with nobody else to turn to, the engine's own answer is
 * the truth. When its time is over one request tries again, again by compare-and-swap.
 *
 * Other requests of the engine go on as if nothing had happened, and so do other models.
 * Any thread. Model marks are hashes that are the same over snapshots (struct model.mark).
 */
#pragma once
#include "fleet/cell.h"

enum {
    BREAKER_FIRST_MS = 1000,
    BREAKER_MOST_MS = 30000,
    BREAKER_TRIAL_MOST_MS = 4000, /* while the engine takes connections */
};

/* ---- the engine ---- */

/* No connection was made. True when this opened the door: control must be told. */
bool breaker_refused(struct cell *c) MUSTCHECK;
/* The connection ended before its reply was whole; `most` of them in a row open the door, 0: never.
 * True as above. */
bool breaker_broken(struct cell *c, uint32_t most) MUSTCHECK;
/* A reply came whole. */
void breaker_whole(struct cell *c);
/* A reply head came: the engine lives. True when that closed the circuit: who waits may go on, and
 * control must be told. */
bool breaker_answered(struct cell *c) MUSTCHECK;
/* An attempt ended with neither: if it was the trial, another may have it. Before the slot is given
 * back, so that who waits for it finds both. */
void breaker_unheard(struct cell *c);
/* Both at once: a slot is given back that nothing was sent on. True as cell_give(). */
bool breaker_give(struct cell *c);
/* Control reached it; nothing when the door is not open (any more). */
void breaker_half_open(struct cell *c);
/* Control knocked in vain, more than once: who waits for it need not any more. */
void breaker_dead(struct cell *c);

/* ---- one model of it ---- */

/* `most` in a row make it shunned, 0: never; `retry_after_ms` does by itself, 0: not asked for. */
void breaker_model_failed(struct cell *c, uint32_t model, uint32_t most, uint64_t now_ms,
                          uint64_t retry_after_ms);
void breaker_model_ok(struct cell *c, uint32_t model);
/* Selection should turn to others, if there are any. */
bool breaker_model_shuns(const struct cell *c, uint32_t model, uint64_t now_ms);
/* The caller is about to try: true when it may (it has not failed, or its trial is this one). */
bool breaker_model_enter(struct cell *c, uint32_t model, uint64_t now_ms);
/* How many models are shunned now. */
unsigned breaker_models_open(const struct cell *c, uint64_t now_ms);
