/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_gateway.h - the gateway that `inferd chaos` puts under fire when no other is named: `inferd
 * up` in a folder of its own, with two remotes and limits short enough that a run takes a minute.
 * Loop thread only.
 */
#pragma once
#include "role/chaos_process.h"

struct chaos_gateway;

/* Runs the loop until it accepts clients, and writes where to *at. Its limits are `patience` times
 * those of the table. Errors are printed. */
int chaos_gateway_start(struct chaos_wait *w, const struct addr engines[2], unsigned patience,
                        struct addr *at, struct chaos_gateway **ret) MUSTCHECK;
/* The pid of the process that talks to clients: another one means that the last one died. */
int chaos_gateway_pid(const struct chaos_gateway *g);
/* Ends it and removes its folder: runs the loop. NULL is fine. */
void chaos_gateway_end(struct chaos_wait *w, struct chaos_gateway **g);
