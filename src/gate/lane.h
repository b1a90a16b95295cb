/* SPDX-License-Identifier: Apache-2.0
 *
 * lane.h - one lane: an event loop that owns client connections, the requests on them and its own
 * pools of upstream connections. Lanes share nothing mutable but cells and struct gate's atomics.
 * The role runs each on a thread of its own; the simulation runs them all on one.
 */
#pragma once
#include "base/log.h"
#include "base/trace.h"
#include "fleet/select.h"
#include "gate/mail.h"
#include "gate/metrics.h"
#include "net/client.h"
#include "net/server.h"

struct tally;
struct lane; /* opaque outside gate/ */

/* On a loop of its own; registers itself as gate->lanes[index]. Takes the reference `first`. */
void lane_create(struct gate *g, uint32_t index, struct loop *l, struct snapshot *first,
                 struct lane **ret);
/* After its loop has stopped. */
void lane_destroy(struct lane **l);
struct mailbox *lane_mailbox(struct lane *l);
const struct gate_shard *lane_shard(const struct lane *l);
/* Who used what of it (gate/tally.h). */
struct tally *lane_tally(const struct lane *l);
/* Adds its counts, its server's and its client's to the sums. */
void lane_register(const struct lane *l, struct metrics *m);
/* Client connections now; any thread. */
uint32_t lane_connections(const struct lane *l);
