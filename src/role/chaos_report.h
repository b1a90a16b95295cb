/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_report.h - results as text for people and as JSON; see chaos_run.h for what they say.
 */
#pragma once
#include "role/chaos_run.h"

/* The table alone: name, what the engines do, what the client must see. */
void chaos_report_list(struct buf *out);
/* One line, as soon as the row has been played. */
void chaos_report_line(const struct chaos_result *r, struct buf *out);
/* "N pass, N safe, N fail". */
void chaos_report_sum(const struct chaos_result *r, size_t n, struct buf *out);
/* {"fail":N,"missed":N,"pass":N,"rows":[..],"safe":N}, keys in ascending order. */
void chaos_report_json(const struct chaos_result *r, size_t n, struct buf *out);
unsigned chaos_report_count(const struct chaos_result *r, size_t n, enum chaos_verdict verdict);
