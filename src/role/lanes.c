/* SPDX-License-Identifier: Apache-2.0
 *
 * lanes.c - see lanes.h.
 */
#include "role/lanes.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/trace.h"
#include "ev/thread.h"
#include "gate/lane.h"

enum { DEFAULT_MOST = 8 };

/* Every lane has one of each, and so has control; the role and a registry log, too. */
_Static_assert(GATE_LANES_MAX + 3 <= LOG_WRITERS, "each needs its log writer");
_Static_assert(GATE_LANES_MAX + 1 <= METRICS_SHARDS, "each needs its shard");
_Static_assert(GATE_LANES_MAX + 1 <= TRACE_RINGS, "each wants its trace printed");

uint32_t lanes_default(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN) / 2;

    return n < 1 ? 1 : n > DEFAULT_MOST ? DEFAULT_MOST : (uint32_t)n;
}

static void run_lane(void *ctx) { loop_run(ctx); }

void lanes_start(struct lanes *l, struct gate *g, uint32_t n, struct snapshot *first)
{
    char name[16];

    l->gate = g;
    for (uint32_t i = 0; i < n; i++) {
        CHECK(loop_create(&l->of[i].loop) == 0);
        lane_create(g, i, l->of[i].loop, snapshot_ref(first), &l->of[i].lane);
    }
    g->nlanes = n;
    for (uint32_t i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "lane %u", i);
        CHECK(thread_start(name, run_lane, l->of[i].loop, &l->of[i].thread) == 0);
    }
}

void lanes_end(struct lanes *l)
{
    struct gate *g = l->gate;

    if (!g)
        return;
    for (uint32_t i = 0; i < g->nlanes; i++)
        gate_post_lane(g, i, gate_lane_mail(LANE_STOP));
    for (uint32_t i = 0; i < g->nlanes; i++)
        thread_join(&l->of[i].thread);
    for (uint32_t i = 0; i < g->nlanes; i++) {
        lane_destroy(&l->of[i].lane);
        g->lanes[i] = NULL;
        loop_destroy(&l->of[i].loop);
    }
}
