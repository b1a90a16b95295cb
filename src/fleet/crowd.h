/* SPDX-License-Identifier: Apache-2.0
 *
 * crowd.h - the engines of a model that has many, laid out by the blocks their cells sit in, so
 * that selection compares them four at a time. Built once with the snapshot; select.h's rule to the
 * word.
 */
#pragma once
#include "fleet/select.h"

enum { CROWD_LEAST = 65 }; /* engines; fewer are compared one by one */

/* Engines whose cells share a block. */
struct crowd_group {
    _Alignas(16) int32_t weight[CELL_BLOCK_SEATS]; /* by seat; 0: not this model's */
    float divisor[CELL_BLOCK_SEATS];               /* of a load: the weight, or NAN */
    uint32_t id[CELL_BLOCK_SEATS];
    uint64_t half[CELL_BLOCK_SEATS]; /* engine.half */
    const struct engine *engine[CELL_BLOCK_SEATS];
    uint64_t of_kind[8]; /* bit per seat, by enum engine_kind */
    const struct cell_block *block;
};

struct crowd {
    struct crowd_group *groups; /* the older block first */
    uint32_t n;
    uint32_t kinds; /* bit 1 << enum engine_kind, without the unset one */
};

/* Of those whose rank is 0 (select.h), in the snapshot's arena; NULL when they are not many. */
struct crowd *crowd_build(struct arena *a, const struct engine *const *engines, uint32_t all);
/* As select_engine(), but for the reason when nobody was chosen: *full says whether somebody good
 * has no free slot. `credit` and `keys` have 64 entries a group. */
bool crowd_select(const struct crowd *crowd, const struct select_facts *facts, int32_t *credit,
                  float *keys, const struct engine **ret, bool *full);
/* The engine that keeps the session of `facts`; false when none that has a slot is within the
 * bound.
 */
bool crowd_keep_session(const struct crowd *crowd, const struct select_facts *facts,
                        const struct engine **ret);
