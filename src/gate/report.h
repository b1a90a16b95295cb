/* SPDX-License-Identifier: Apache-2.0
 *
 * report.h - what control tells the operator (report.c): the bodies of the admin side's reads. All
 * append.
 */
#pragma once
#include "gate/gate.h"

struct control;
struct member;

/* A unit's state is the master's word; of others the tests' verdict is all there is. Static. */
const char *report_state_word(const struct member *m);

void report_status(struct control *c, struct buf *out);
void report_units(struct control *c, struct buf *out);
void report_engines(struct control *c, struct buf *out);
void report_routes(const struct snapshot *s, struct buf *out);
/* The table of paths. */
void report_paths(const struct gate_api *api, struct buf *out);
/* Requests and tokens by key and model. */
void report_usage(struct control *c, struct buf *out);
/* A metrics_source_fn; ctx is the control. */
void report_metrics(void *ctx, struct buf *out);
