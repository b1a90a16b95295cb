/* SPDX-License-Identifier: Apache-2.0
 *
 * master.h - the master's end of the link, one for each run of the gateway. It holds the table of
 * what the gateway has not been told yet; what the socket does not take waits there, the newest in
 * place of the older. What arrives is checked and paced; everything else about it is the owner's to
 * distrust.
 */
#pragma once
#include "ev/stream.h"
#include "link/link.h"

struct link_master; /* opaque */

/* No callback runs inside a call of the owner's. A callback may close the link. */
struct link_master_ops {
    /* Answer each with link_master_answer(). `unit` is whatever the gateway wrote there. */
    void (*on_ask)(void *ctx, uint32_t ticket, enum link_verb verb, uint32_t unit);
    void (*on_report)(void *ctx, uint32_t unit, uint32_t generation, enum link_report report);
    /* To the configuration under way only. An empty `problem`: it could run on it. */
    void (*on_ack)(void *ctx, uint32_t generation, struct str problem);
    void (*on_swapped)(void *ctx, uint32_t generation);
    void (*on_accepting)(void *ctx);
    void (*on_drained)(void *ctx);
    /* The gateway's end is closed, or (`broken`) it sent what no gateway of ours sends. Nothing is
     * called after it; the owner closes, and ends the process. */
    void (*on_closed)(void *ctx, bool broken);
};

/* Takes *fd. */
int link_master_open(struct loop *l, struct ev_fd *fd, const struct link_master_ops *ops, void *ctx,
                     struct link_master **ret) MUSTCHECK;
/* NULL is fine. */
void link_master_close(struct link_master **m);

/* Begins to hand over a configuration; the one before must have been abandoned, or swapped
 * (on_swapped).
 * `bundle` (ev/memfd.h) and the sockets are duplicated. -E_NO_FDS. */
int link_master_config(struct link_master *m, uint32_t generation, const struct ev_fd *bundle,
                       const struct link_listener *listeners, const struct ev_fd *sockets,
                       unsigned listeners_n) MUSTCHECK;
/* Ends it: the gateway acknowledged and everybody swaps, or somebody refused. */
void link_master_commit(struct link_master *m);
void link_master_abandon(struct link_master *m);

/* The unit as it is now. `ring` is duplicated when the gateway has not got it yet; NULL: it has
 * none. */
void link_master_unit(struct link_master *m, const struct link_unit *u, const struct ev_fd *ring);
void link_master_unit_gone(struct link_master *m, uint32_t id);
void link_master_answer(struct link_master *m, uint32_t ticket, int err, struct str text);
void link_master_counts(struct link_master *m, const struct link_counts *counts);
void link_master_drain(struct link_master *m);
void link_master_cut(struct link_master *m);
