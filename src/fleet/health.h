/* SPDX-License-Identifier: Apache-2.0
 *
 * health.h - from the outcomes of one engine's tests to the word of CELL_PROBED. So many failures
 * in a row eject it, so many answers in a row bring it back; a single one of either kind only makes
 * it doubtful, which is a reason to ask again sooner. Pure: no clock, no network, no cell.
 *
 *             failures in a row                        its last failure says which
 *   NO_WORD ---------------------> COMING or BAD  <------------------------------+
 *      |                              |    ^   |                                 |
 *      | an answer                    |    |   +---------------------------------+
 *      v         successes in a row   |    |
 *    GOOD <---------------------------+    |
 *      +-----------------------------------+   failures in a row
 */
#pragma once
#include "base/str.h"
#include "fleet/cell.h"

/* What came of one test. */
enum health_outcome {
    HEALTH_ALIVE,   /* an answer that is good: below 500, or 2xx by health_strictly() */
    HEALTH_LOADING, /* 503, or its body says so: it is there, and not ready */
    HEALTH_SILENT,  /* it took the connection and said nothing in time */
    HEALTH_FAILED,  /* another answer, or something that is none */
    HEALTH_ABSENT,  /* no connection */
};

struct health {
    enum cell_verdict word;   /* NO_WORD, GOOD, COMING or BAD */
    enum health_outcome last; /* of the last test */
    uint32_t failures;        /* in a row; 0 after an answer */
    uint32_t successes;       /* in a row; 0 after a failure */
};

/* Counts one outcome; `failures` and `successes` are how many in a row change the word, 1 at least.
 * True when the word is another one now. An engine that is loading or silent is COMING: it may come
 * by itself, and requests without another engine wait for it. */
bool health_note(struct health *h, enum health_outcome o, uint32_t failures, uint32_t successes);
/* What a babysitter's answer says of its engine: 2xx is good unless its body is an object with
 * "infinilm_server_ready":false. */
enum health_outcome health_strictly(unsigned status, struct str body);
/* From the last failure to the next test: 1 s, doubling with each in a row, `most_ms` at most. */
uint32_t health_again_ms(const struct health *h, uint32_t most_ms);
/* Requests may go there, as far as tests know. */
static inline bool health_is_good(const struct health *h)
{
    return h->word == CELL_NO_WORD || h->word == CELL_GOOD;
}
/* It is out, or about to be: its last test failed, or too few have succeeded since. */
static inline bool health_is_doubtful(const struct health *h)
{
    return h->failures > 0 || !health_is_good(h);
}
/* For logs: "no answer in time". */
const char *health_text(enum health_outcome o);
