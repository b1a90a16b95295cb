/* SPDX-License-Identifier: Apache-2.0
 *
 * linked.h - control under a master: configurations, their sockets, units, orders and the end come
 * over the link (link/gateway.h), and what control finds out goes back over it.
 */
#pragma once
#include "gate/control.h"

struct linked; /* opaque */

/* The role's side. */
struct linked_ops {
    /* Parses a bundle; -E_CONF with *why (the caller's buffer) filled. */
    int (*parse)(void *ctx, struct str bundle, struct control_settings *ret, struct buf *why);
    /* A configuration holds from now on; `owner` is its. */
    void (*on_commit)(void *ctx, void *owner);
    /* See control_ops. */
    void (*start_lanes)(void *ctx, struct snapshot *first);
    /* The master has gone, or is done with us. */
    void (*on_over)(void *ctx);
    /* See control_ops; NULL: none can be served. */
    void (*serve_registry)(void *ctx, const struct registry_settings *s, const char *address,
                           const struct ev_fd *fd);
};

/* `fd` is the gateway's end of the link; taken. -E_NO_FDS, -E_INVAL. */
int linked_create(struct gate *g, struct loop *l, struct ev_fd *fd, const struct linked_ops *ops,
                  void *ctx, struct linked **ret) MUSTCHECK;
/* Control with it; after all lanes have ended. NULL is fine. */
void linked_destroy(struct linked **k);
struct control *linked_control(struct linked *k);
