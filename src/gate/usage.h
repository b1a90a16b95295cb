/* SPDX-License-Identifier: Apache-2.0
 *
 * usage.h - token counts, read out of an engine's reply in passing: finds "usage":{...} in whole
 * bodies and in event streams alike, in any pieces, without reading the rest as JSON. That is
 * sound: inside a JSON string a quote has a '\' before it, so the name with its quotes and a colon
 * behind them is a key. Counts are for the log and the metrics, not for billing: an object that
 * does not end within USAGE_BYTES is not counted.
 *
 * What it costs decides what a relayed byte costs, hence no jsonscan here (base/jsonscan.h).
 */
#pragma once
#include "base/str.h"

enum { USAGE_BYTES = 512 }; /* of one usage object that comes in pieces */

struct usage {
    uint64_t in, out; /* of the newest object that had them: prompt_tokens or input_tokens,
                         completion_tokens or output_tokens */
    /* private */
    uint16_t n; /* bytes kept: an object, or its name, that has begun in an earlier piece */
    char kept[USAGE_BYTES];
};

void usage_init(struct usage *u);
void usage_feed(struct usage *u, const char *p, size_t n);
