/* SPDX-License-Identifier: Apache-2.0
 *
 * registry_parts.h - what a registry is made of, on the loop of a fabric role: records, the prober,
 * the HTTP side, and the timers that drive them. `inferd registry` has one, and so has `inferd up`
 * when its configuration says so.
 */
#pragma once
#include "role/fabric.h"
#include "store/hosts.h"

struct registry;       /* api/registry.h */
struct registry_parts; /* opaque */

struct registry_parts_conf {
    struct hosts *hosts; /* borrowed; its own address is denied here */
    uint32_t health_interval_s, health_timeout_s, cleanup_interval_s, max_services;
};

/* The fabric is bound, and is borrowed. */
void registry_parts_create(struct fabric *f, const struct registry_parts_conf *conf,
                           struct registry_parts **ret);
/* What registry_owner() wants as its server's ctx. */
struct registry *registry_parts_registry(struct registry_parts *p);
/* After fabric_close_clients(). NULL is fine. */
void registry_parts_destroy(struct registry_parts **p);
