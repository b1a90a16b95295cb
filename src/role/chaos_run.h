/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_run.h - plays rows of the table against one gateway and judges them. One run per process;
 * loop thread only; chaos_run_row() runs the loop.
 */
#pragma once
#include "role/chaos_gateway.h"
#include "role/chaos_table.h"

enum chaos_verdict {
    CHAOS_PASS, /* as the row says */
    CHAOS_SAFE, /* not so, but the client was told the truth */
    CHAOS_FAIL,
};

struct chaos_result {
    const struct chaos_row *row;
    enum chaos_verdict verdict;
    bool missed; /* an engine was left that could have served, and was not asked */
    unsigned seen[CHAOS_OUTCOMES_N];
    unsigned status;     /* of the last answer that was not good; 0: none */
    char code[48];       /* the same */
    unsigned attempts;   /* of one request, the most */
    unsigned asked;      /* attempts in all */
    uint64_t request_us; /* the longest request */
    uint64_t us;         /* the row */
    char note[160];      /* why it is no pass; "" */
};

struct chaos_run_conf {
    struct chaos_target target;
    struct str model; /* of both engines */
    struct str solo;  /* of the first alone; the same as `model`: the second is switched off */
    struct chaos_gateway *gateway; /* NULL: somebody else's */
    unsigned patience;             /* so many times as long may everything take */
    unsigned settle_ms;            /* before a row, until both engines are asked again */
};

struct chaos_run;

/* The stage's engines must be there; all borrowed while the run lives. */
void chaos_run_create(struct chaos_wait *w, struct chaos_stage *stage,
                      struct chaos_engine *const engines[CHAOS_ENGINES],
                      const struct addr at[CHAOS_ENGINES], const struct chaos_run_conf *conf,
                      struct chaos_run **ret);
/* Whether the gateway is there and asks an engine at all. Runs the loop. */
bool chaos_run_reaches(struct chaos_run *run) MUSTCHECK;
void chaos_run_row(struct chaos_run *run, const struct chaos_row *row, struct chaos_result *ret);
/* NULL is fine. */
void chaos_run_destroy(struct chaos_run **run);
