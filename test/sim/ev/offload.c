/* SPDX-License-Identifier: Apache-2.0
 *
 * offload.c - blocking work of the simulated world: done in one piece when its time has come, told
 * on the loop some time later.
 */
#include "ev/offload.h"

#include "base/mem.h"
#include "sim/ev/fake.h"

enum { WORK_MAX_US = 2000 };

struct offload {
    struct source source;
    uint64_t at_us;
    bool worked;
    void (*work)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

static bool offload_ready(struct source *s)
{
    return container_of(s, struct offload, source)->at_us <= world_now_us();
}

static void offload_fire(struct source *s)
{
    struct offload *o = container_of(s, struct offload, source);

    if (!o->worked) {
        o->worked = true;
        o->at_us = world_now_us() + world_random(WORK_MAX_US);
        o->work(o->ctx);
        return;
    }
    source_close(s);
    o->done(o->ctx);
}

static uint64_t offload_next_us(struct source *s)
{
    return container_of(s, struct offload, source)->at_us;
}

static const struct source_ops offload_ops = {"offloaded work", offload_ready, offload_fire,
                                              offload_next_us};

int offload_start(struct loop *l, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct offload *o = xnew(struct offload, .work = work, .done = done, .ctx = ctx);

    o->at_us = world_now_us() + world_random(WORK_MAX_US);
    source_open(l, &o->source, &offload_ops);
    o->source.finishes = true;
    return 0;
}
