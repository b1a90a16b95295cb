/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonscan_portable.h - see jsonscan_portable.c.
 */
#pragma once
#include "base/jsonscan.h"

void jsonscan_portable_init(struct jsonscan *s, const struct jsonscan_limits *limits,
                            jsonscan_fn *fn, void *ctx);
int jsonscan_portable_feed(struct jsonscan *s, const char *p, size_t n) MUSTCHECK;
int jsonscan_portable_finish(struct jsonscan *s) MUSTCHECK;
