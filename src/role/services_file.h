/* SPDX-License-Identifier: Apache-2.0
 *
 * services_file.h - the router's file of static services (docs/router.md), read as a whole: at the
 * start, where any mistake in it ends the router, and again on SIGHUP.
 */
#pragma once
#include "ev/loop.h"
#include "fleet/listing.h"

struct log_writer;

/* Blocks for the time of reading. What counts as not said is logged as warnings. -E_CONF, and *why
 * begins with the path: "services.json: services[3] 'a': port is missing". */
int services_file_read(const char *path, uint64_t seed, struct loop *l, struct log_writer *log,
                       struct listing *ret, struct buf *why) MUSTCHECK;
