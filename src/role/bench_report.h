/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_report.h - what a load measured, for people and as JSON.
 */
#pragma once
#include "base/buf.h"
#include "role/bench_load.h"

/* Adds what one thread measured. */
void bench_report_merge(struct bench_result *into, const struct bench_result *from);
/* Requests that failed, of all kinds: not the truncated, not the unfinished. */
uint64_t bench_report_failed(const struct bench_result *r);
/* A few lines of text. `stream`: with what only event streams have. */
void bench_report_text(const struct bench_result *r, bool stream, struct buf *out);
/* One object on one line; times in microseconds. */
void bench_report_json(const struct bench_result *r, struct buf *out);
