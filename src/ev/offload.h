/* SPDX-License-Identifier: Apache-2.0
 *
 * offload.h - blocking work as a pair: `work` runs on a pool thread, `done` on the loop afterwards.
 */
#pragma once
#include "ev/loop.h"

struct offload; /* opaque, one piece of work */
int offload_start(struct loop *l, void (*work)(void *ctx), void (*done)(void *ctx),
                  void *ctx) MUSTCHECK;
