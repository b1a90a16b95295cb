/* SPDX-License-Identifier: Apache-2.0
 *
 * registry.h - the registry's endpoints: what services and routers say to it over HTTP, and what it
 * answers. It owns no record and no probe; it reads requests, applies the rules in their order and
 * tells the outcome. One registry a loop; loop thread only.
 *
 *   GET    /health /stats /services[?status=S&healthy=B] /services/NAME /services/NAME/health
 *   POST   /services, /services/NAME/heartbeat
 *   PUT, DELETE  /services/NAME
 *   GET    /metrics /_inferd/metrics
 *
 * The order of checks is path and method, token, content type, size, syntax, fields, existence,
 * allowed hosts, room.
 */
#pragma once
#include "base/log.h"
#include "base/metrics.h"
#include "net/exchange.h"
#include "store/hosts.h"
#include "store/prober.h"
#include "store/records.h"

struct registry; /* opaque */

/* Everything is borrowed and outlives the registry. */
struct registry_conf {
    struct loop *loop;
    struct records *records;
    struct prober *prober;
    const struct hosts *hosts;
    struct str token; /* what writing demands; n 0: nothing */
    struct log_writer *log;
    struct metrics *metrics; /* for its own endpoint; the registry adds its families */
};

void registry_create(const struct registry_conf *conf, struct registry **ret);
/* Every exchange has ended: the server is destroyed before. */
void registry_destroy(struct registry **g);
/* For struct server_conf, whose ctx is the registry. */
const struct exchange_owner *registry_owner(void);
/* For the prober and the sweep, with the registry as ctx: each is logged. */
void registry_on_probed(void *ctx, const struct record *r);
void registry_on_silent(void *ctx, const struct record *r);
