/* SPDX-License-Identifier: Apache-2.0
 *
 * registry_parts.c - see registry_parts.h: the timers, and the order in which the parts come and
 * go.
 */
#include "role/registry_parts.h"

#include "api/registry.h"
#include "base/mem.h"

enum { TICK_MS = 1000 }; /* records_at() is due so often */

struct registry_parts {
    struct fabric *fabric;
    uint64_t cleanup_ms;
    struct records *records;
    struct prober *prober;
    struct registry *registry;
    struct deadline tick, sweep;
};

static void tell_time(struct registry_parts *p)
{
    struct loop *l = p->fabric->loop;

    records_at(p->records, loop_now_ms(l), loop_wall_us(l) / 1000000);
}

static void on_tick(struct deadline *d)
{
    struct registry_parts *p = container_of(d, struct registry_parts, tick);

    tell_time(p);
    deadline_arm(p->fabric->loop, d, TICK_MS, on_tick);
}

static void on_sweep(struct deadline *d)
{
    struct registry_parts *p = container_of(d, struct registry_parts, sweep);

    tell_time(p);
    records_sweep(p->records, registry_on_silent, p->registry);
    deadline_arm(p->fabric->loop, d, p->cleanup_ms, on_sweep);
}

/* The prober wants somebody to tell before the registry, which needs the prober, is there. */
static void on_probed(void *ctx, const struct record *r)
{
    struct registry_parts *p = ctx;

    registry_on_probed(p->registry, r);
}

void registry_parts_create(struct fabric *f, const struct registry_parts_conf *conf,
                           struct registry_parts **ret)
{
    struct registry_parts *p = xnew(struct registry_parts, .fabric = f);
    struct prober_conf probing = {
        .chunks = &f->chunks,
        .interval_ms = conf->health_interval_s * UINT64_C(1000),
        .timeout_ms = conf->health_timeout_s * 1000,
        .on_change = on_probed,
        .ctx = p,
    };
    struct registry_conf registry = {
        .loop = f->loop,
        .hosts = conf->hosts,
        .token = f->token,
        .log = f->log,
        .metrics = f->metrics,
    };

    hosts_deny_own(conf->hosts, &f->at);
    p->cleanup_ms = conf->cleanup_interval_s * UINT64_C(1000);
    p->records = records_create(conf->max_services);
    probing.records = registry.records = p->records;
    prober_create(f->loop, &probing, &p->prober);
    prober_register(p->prober, f->metrics);
    registry.prober = p->prober;
    registry_create(&registry, &p->registry);
    tell_time(p);
    deadline_arm(f->loop, &p->tick, TICK_MS, on_tick);
    deadline_arm(f->loop, &p->sweep, p->cleanup_ms, on_sweep);
    *ret = p;
}

struct registry *registry_parts_registry(struct registry_parts *p) { return p->registry; }

void registry_parts_destroy(struct registry_parts **pp)
{
    struct registry_parts *p = TAKE(pp);

    if (!p)
        return;
    deadline_stop(&p->tick);
    deadline_stop(&p->sweep);
    registry_destroy(&p->registry);
    prober_destroy(&p->prober);
    records_destroy(&p->records);
    mem_free(p);
}
