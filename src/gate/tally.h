/* SPDX-License-Identifier: Apache-2.0
 *
 * tally.h - who used what: requests and tokens by key and model. Each lane has a table that it
 * alone writes; control adds them up when it is asked. A table has a fixed size: pairs beyond it
 * count under the other key and the other model, so a sum over all of them is always right.
 *
 * Keys are named by labels, which control hands out and never takes back; models by their label of
 * the metrics plus one, 0 standing for requests that name none. Nothing here outlives the gateway's
 * process.
 */
#pragma once
#include <stdatomic.h>

#include "base/map.h"

enum {
    TALLY_PAIRS = 4096,
    TALLY_KEYS = 4096, /* labels */
    TALLY_NO_KEY = 0,  /* there are no keys, or it needed none */
    TALLY_OTHER = 1,   /* keys beyond TALLY_KEYS */
};

struct tally_counts {
    uint64_t requests; /* ended */
    uint64_t failed;   /* of them: with a fault, or a status from 400 on */
    uint64_t limited;  /* of them: 429 for the key's own limits */
    uint64_t tokens_in, tokens_out;
};

struct tally; /* opaque: a lane's table */

struct tally *tally_create(void) __attribute__((returns_nonnull));
void tally_destroy(struct tally **t);
/* The lane's thread. */
void tally_add(struct tally *t, uint32_t key, uint32_t model, const struct tally_counts *by);

/* ---- control's side ---- */

struct tally_names; /* opaque: labels of keys */

struct tally_names *tally_names_create(uint64_t seed) __attribute__((returns_nonnull));
void tally_names_destroy(struct tally_names **n);
/* Found or new; TALLY_OTHER when there are too many. */
uint32_t tally_label(struct tally_names *n, struct str key);
/* "" for TALLY_NO_KEY. */
struct str tally_name(const struct tally_names *n, uint32_t label);

struct tally_row {
    uint32_t key, model;
    struct tally_counts counts;
};

/* The sum of tables, sorted by key and model; to be given to mem_free(). */
struct tally_row *tally_sum(struct tally *const *tables, uint32_t n, size_t *ret_n)
    __attribute__((returns_nonnull));
