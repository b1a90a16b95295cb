/* SPDX-License-Identifier: Apache-2.0
 *
 * control.h - the one thread that owns the fleet, the tests of engines, the tickets and the admin
 * side. It speaks to the lanes by mail; what it works by comes from above.
 */
#pragma once
#include "base/log.h"
#include "ev/loop.h"
#include "fleet/options.h"
#include "gate/gate.h"
#include "link/link.h"
#include "supervise/options.h"

struct control; /* opaque */
struct listing;
struct sources_conf;

/* One configuration, as control needs it. The pointers live until `unref`. */
struct control_settings {
    const struct limits *limits;
    const struct probe_conf *probe;
    const struct retry_conf *retry;
    const struct breaker_conf *breaker;
    const struct listen_conf_list *listens;
    const struct engine_conf_list *engines;
    const struct remote_conf_list *remotes;
    const struct model_conf_list *aliases;
    const struct affinity_conf *affinity;
    enum balance balance;
    uint64_t static_above;            /* bytes of a request; where gate_rules.lenient */
    const struct key_conf_list *keys; /* NULL: no keys are asked for */
    const struct addr_net_list *trusted;
    uint32_t failures_per_s;
    enum forward_authorization authorization;
    struct str registry_url;            /* for PATH_ASKED to tell; p NULL: none */
    const struct sources_conf *sources; /* the router's table of services; NULL: none. Of the first
                                           settings only, and to outlive control */
    const struct registry_settings *registry; /* to be in, to serve; NULL: neither */
    bool discover;                            /* no file: attach to what runs on loopback */
    void *owner;
    void (*unref)(void *owner);
};

/* The side above: the role itself, or the link to the master (gate/linked.h). */
struct control_ops {
    /* The first settings hold: makes gate->nlanes lanes and their threads, each with a reference of
     * its own on `first`. */
    void (*start_lanes)(void *ctx, struct snapshot *first);
    /* Every lane works by the settings of that generation, and older sockets are closed. */
    void (*on_taken)(void *ctx, uint32_t generation);
    /* No request is left, or all were cut. */
    void (*on_drained)(void *ctx);
    /* The registry to serve from now on, on that socket (borrowed); `fd` NULL: none. NULL where
     * there is no socket of that kind. */
    void (*serve_registry)(void *ctx, const struct registry_settings *s, const char *address,
                           const struct ev_fd *fd);
    /* An order of the admin side; its answer comes with the ticket. -E_LIMIT. NULL
     * without an admin socket. */
    int (*order)(void *ctx, enum link_verb verb, uint32_t unit, uint32_t *ret_ticket);
    /* What the tests say about a unit's process. NULL where there are no units. */
    void (*report)(void *ctx, uint32_t unit, uint32_t generation, enum link_report report);
};

/* gate->control is set. */
void control_create(struct gate *g, struct loop *l, const struct control_ops *ops, void *ctx,
                    struct control **ret);
/* After all lanes have ended. */
void control_destroy(struct control **c);

/* A socket of the settings that control_apply() will bring with that generation. *fd is moved, or
 * is EV_FD_NONE for one that was brought before and stays. */
void control_listener(struct control *c, uint32_t generation, const struct link_listener *is,
                      struct ev_fd *fd);
/* Settings hold from now on, for new requests; what they point to is kept until `unref`. Start and
 * reload are one path. Sockets that the generation does not have are closed. */
void control_apply(struct control *c, uint32_t generation, const struct control_settings *s);
/* They will not come: closes the sockets brought for them alone. */
void control_abandon(struct control *c, uint32_t generation);

/* The router's static services as their file has them now. After control_apply(). */
void control_take_services(struct control *c, const struct listing *l);

/* /ready says no; after drain_delay_ms nothing is accepted; drain_ms later the rest is cut. */
void control_drain(struct control *c);
/* All of it now. */
void control_cut(struct control *c);
