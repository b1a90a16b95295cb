/* SPDX-License-Identifier: Apache-2.0
 *
 * mock_registry.h - a mock engine in a registry (fabric.md 6.1): one try to register, then a
 * heartbeat every 10 s, and again whenever the registry does not know it.
 */
#pragma once
#include "conf/url.h"
#include "ev/addr.h"
#include "role/mock_engine.h"

struct mock_registry; /* opaque */
struct chunk_pool;    /* base/chunk.h */
struct log_writer;    /* base/log.h */

/* All is borrowed for as long as it is registered, but `url` and `token`. */
struct mock_registry_conf {
    const struct mock_conf *engine;
    struct url url; /* URL_HTTP */
    struct str token;
    const struct addr *at; /* where it listens */
    struct chunk_pool *chunks;
    struct log_writer *log;
};

void mock_registry_enter(struct loop *l, const struct mock_registry_conf *conf,
                         struct mock_registry **ret);
/* Unregisters; `done` after 1 s at most. */
void mock_registry_leave(struct mock_registry *r, void (*done)(void *ctx), void *ctx);
/* NULL is fine. */
void mock_registry_destroy(struct mock_registry **r);
