/* SPDX-License-Identifier: Apache-2.0
 *
 * gateway.h - the gateway's end of the link; lives on the control thread's loop.
 *
 * Order of a configuration: on_config, which is answered by link_gateway_ack() (at once or later);
 * on_listener for each of its sockets; then on_commit ("swap now", all of it is there) or
 * on_abandon (somebody refused it, keep the old). After the swap the gateway calls
 * link_gateway_swapped(). The first configuration arrives the same way, so start and reload are one
 * path. Units arrive after the first commit and whenever they change.
 */
#pragma once
#include "ev/stream.h"
#include "link/link.h"

struct link_gateway; /* opaque */

/* No callback runs inside a call of the owner's. A callback may close the link. */
struct link_gateway_ops {
    /* `bundle` is good until the callback returns. */
    void (*on_config)(void *ctx, uint32_t generation, struct str bundle);
    /* The callee moves *fd or it is closed. *fd is EV_FD_NONE when a socket with this id was handed
     * over before (and is still wanted). What this generation does not name is closed at the swap.
     */
    void (*on_listener)(void *ctx, uint32_t generation, const struct link_listener *listener,
                        struct ev_fd *fd);
    void (*on_commit)(void *ctx, uint32_t generation);
    /* What on_listener brought for it is the callee's to close. */
    void (*on_abandon)(void *ctx, uint32_t generation);
    /* A new unit or a changed one. `ring` holds its output (link/ring.h) the first time its id is
     * seen, else EV_FD_NONE; the callee moves it or it is closed. */
    void (*on_unit)(void *ctx, const struct link_unit *unit, struct ev_fd *ring);
    /* The configuration no longer has it and its process is gone. */
    void (*on_unit_gone)(void *ctx, uint32_t id);
    /* To link_gateway_ask(): err is 0 or a negative code with a sentence. RELOAD is answered when
     * it is done, the other verbs when the unit's state has begun to move. */
    void (*on_answer)(void *ctx, uint32_t ticket, int err, struct str text);
    /* SIGTERM: finish what is in flight in reliability.md R23's order, then link_gateway_drained().
     * The admin side stays up until on_closed. */
    void (*on_drain)(void *ctx);
    /* A second SIGTERM: cut everything, then link_gateway_drained(). */
    void (*on_cut)(void *ctx);
    /* What the master counted so far. */
    void (*on_counts)(void *ctx, const struct link_counts *counts);
    /* The master is done or dead: exit. Nothing is called after it; the owner still closes. */
    void (*on_closed)(void *ctx);
};

/* Takes the descriptor. -E_NO_FDS, -E_INVAL. */
int link_gateway_open(struct loop *l, struct ev_fd *fd, const struct link_gateway_ops *ops,
                      void *ctx, struct link_gateway **ret) MUSTCHECK;
/* NULL is fine. */
void link_gateway_close(struct link_gateway **g);

/* None of these blocks; what the socket does not take is sent later, the latest report of a unit in
 * place of an older one. */

/* A question; *ret_ticket comes back with on_answer. `unit` is an id, ignored for LINK_RELOAD.
 * -E_LIMIT: LINK_ASKS_MAX are open. */
int link_gateway_ask(struct link_gateway *g, enum link_verb verb, uint32_t unit,
                     uint32_t *ret_ticket) MUSTCHECK;
/* About this generation of the unit; the master ignores reports about older ones. */
void link_gateway_report(struct link_gateway *g, uint32_t unit, uint32_t generation,
                         enum link_report report);
/* `problem` NULL: we could run on this configuration. */
void link_gateway_ack(struct link_gateway *g, uint32_t generation, const char *problem);
/* Removed listeners are closed, the old snapshot takes no new request. */
void link_gateway_swapped(struct link_gateway *g, uint32_t generation);
/* Every listener is polled: from now on a client is served. */
void link_gateway_accepting(struct link_gateway *g);
/* No request is left, or all were cut. */
void link_gateway_drained(struct link_gateway *g);
