/* SPDX-License-Identifier: Apache-2.0
 *
 * master_priv.h - the master from inside: up.c (the command line), master.c (its life: signals, the
 * end in order), keeper.c (the gateway's process and the link to it), reload.c (the next
 * configuration). One thread, one loop; it does no TCP and resolves no names.
 */
#pragma once
#include "base/log.h"
#include "base/trace.h"
#include "ev/child.h"
#include "ev/deadline.h"
#include "ev/notify.h"
#include "ev/thread.h"
#include "link/master.h"
#include "role/master.h"
#include "role/runtime.h"
#include "role/sockets.h"

enum master_phase {
    MASTER_STARTING, /* no gateway has accepted yet */
    MASTER_RUNNING,  /* one has; it may be gone again just now */
    MASTER_DRAINING, /* asked to end: the gateway finishes what it has */
    MASTER_ENDING,   /* the units are being stopped */
    MASTER_LEAVING,  /* the gateway is being ended */
};

/* One configuration and what goes with it. */
struct master_config {
    uint32_t generation;
    struct settings *settings; /* NULL: there is none */
    struct ev_fd bundle;       /* the same, frozen, as the gateway gets it */
    struct sockets sockets;
};

/* The gateway's process. */
struct keeper {
    struct child *child;
    struct link_master *link;
    struct deadline again;   /* when the next one is started */
    struct deadline timeout; /* an ending one is killed then */
    uint64_t accepting_ms;   /* since when it serves; 0: not yet */
    uint32_t delay_ms;       /* before the next start, if this one does not serve for long enough */
};

/* A reload under way. */
struct reload {
    struct master_config next;                  /* settings NULL: none under way */
    bool committed;                             /* both sides agreed; only the swap is awaited */
    bool again;                                 /* asked for once more meanwhile */
    uint32_t tickets[LINK_ASKS_MAX], tickets_n; /* who waits for this one */
};

struct master {
    const struct master_source *src;
    struct loop *loop;
    struct log_writer *log;
    struct trace trace;
    struct notify *notify;
    struct reaper *reaper;
    struct signal_watch *watch[3];
    struct supervise *supervise;
    struct runtime runtime;
    struct sandbox_user gateway_user; /* name "" when the gateway stays who we are */
    struct sockets_inherited inherited;
    struct master_config now;
    struct reload reload;
    struct keeper keeper;
    struct link_counts counts;
    struct deadline hurry; /* the drain's limit */
    enum master_phase phase;
    bool forced; /* a second signal came */
    bool units_stopping;
    uint32_t last_generation, last_socket, lanes;
    int status;
};

struct log_rec *master_say(struct master *m, enum log_level level, const char *message);
/* The gateway accepts clients (again). */
void master_on_accepting(struct master *m);
/* No request is left, or there is nobody who could have one. */
void master_on_drained(struct master *m);
/* The gateway's process has ended. */
void master_on_gateway_end(struct master *m);
/* Start-up failed: says why and ends with status 1. */
void master_give_up(struct master *m, const char *why);

/* Builds what settings and sockets say: fills *ret but for its generation's commitment. -E_CONF
 * with a sentence in `problem`. Takes *settings and *bundle in any case. */
int master_config_make(struct master *m, struct settings **settings, struct bundle **bundle,
                       struct master_config *ret, struct buf *problem) MUSTCHECK;
void master_config_drop(struct master_config *c, const struct sockets *keep);

/* keeper.c */
void keeper_start(struct master *m);
/* The end has begun: a start that is put off is called off. */
void keeper_last(struct master *m);
/* Closes the link, upon which the gateway ends; kills it when it does not. */
void keeper_end(struct master *m);
/* At once. */
void keeper_kill(struct master *m);
bool keeper_serves(const struct master *m);
bool keeper_runs(const struct master *m);

/* reload.c */
void reload_ask(struct master *m);
void reload_ask_for(struct master *m, uint32_t ticket);
void reload_on_ack(struct master *m, uint32_t generation, struct str problem);
void reload_on_swapped(struct master *m, uint32_t generation);
/* The gateway is gone: what was agreed holds, what was not is refused. */
void reload_on_gateway_end(struct master *m);
/* A gateway serves: what was asked for meanwhile begins. */
void reload_on_accepting(struct master *m);
