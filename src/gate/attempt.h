/* SPDX-License-Identifier: Apache-2.0
 *
 * attempt.h - how one attempt at an engine ends and whether another follows: retry.c to the other
 * steps. Exports: req_
 */
#pragma once
#include "gate/request.h"

/* The attempt failed by the engine's fault, `how` of retry.h: its breakers hear of it. */
void req_engine_failed(struct req *r, uint32_t how);
/* The same, RETRY_BROKEN, and it cannot even be reached. */
void req_engine_unheard(struct req *r);
/* A reply head came; so do they of this. */
void req_engine_answered(struct req *r);
/* The attempt has failed: ROUTE when another one may be made, else FAIL. */
enum req_step req_again(struct req *r);
/* What to do with an answer: RELAY, or ROUTE or PAUSE for another attempt. */
enum req_step req_judge_answer(struct req *r);
/* move_ms is over: to another engine, if there is one; then it is taken back. */
void req_move(struct req *r);
/* Its engine does not answer any more: it goes to another one, if there is one and nothing has come
 * from this one. */
void req_taken_back(struct req *r);
/* And so it does: ROUTE. */
enum req_step req_leave(struct req *r);
/* Forgets the present attempt, ticket and engines tried. */
void req_start_over(struct req *r);
