/* SPDX-License-Identifier: Apache-2.0
 *
 * lane_priv.h - a lane from inside gate/: what its requests and steps may touch. One thread, the
 * lane's.
 */
#pragma once
#include "gate/lane.h"
#include "gate/request.h"
#include "gate/tally.h"

enum { LANE_LISTENERS_MAX = 64 };

/* A snapshot as one lane holds it: one reference, and the count of its requests that pin it. */
struct lane_snap {
    struct list node;
    struct snapshot *snap;
    uint32_t users; /* requests, and one while it is the current one */
};

/* The lane's connections to one engine, by engine.slot. */
struct lane_pool {
    uint32_t engine; /* id; 0: none */
    struct pool *pool;
};

struct lane_listener {
    struct lane *lane;
    struct listener *listener;
    uint32_t id;
};

struct lane {
    struct gate *gate;
    uint32_t index;
    struct loop *loop;
    struct mailbox *box;
    struct server *server;
    struct client *client;
    struct chunk_pool chunks;
    struct arena_cache arenas;
    struct log_writer *log;
    struct trace trace;
    struct gate_shard shard;
    struct tally *tally;    /* who used what */
    struct lane_snap *snap; /* the current one */
    struct list snaps;      /* all that are pinned */
    struct select_credits credits;
    struct lane_pool *pools;
    uint32_t npools;
    struct list requests; /* all, struct req.node */
    struct lane_listener listeners[LANE_LISTENERS_MAX];
    _Atomic uint32_t handed; /* connections that other lanes accepted for it, on their way */
    uint32_t refused;        /* connections that are being told that there are too many */
    bool full;               /* so many that the listeners are paused */
    /* refused heads in the log: those of this second that were told, and those that were not */
    uint64_t refusals_s;
    uint32_t refusals_told, refusals_untold;
    struct buf scratch; /* bodies of own replies and faults */
    bool draining;      /* tell control when the last request has ended */
    bool drained_told;
    bool closing; /* being destroyed: mails are dropped */
};

const struct limits *lane_limits(const struct lane *l);
/* Reply bytes that wait for their clients, in all lanes. */
uint64_t lane_all_unsent(const struct lane *l);
static inline const struct gate_conf *lane_conf(const struct lane_snap *s) { return s->snap->conf; }
struct lane_snap *lane_pin(struct lane *l);
void lane_unpin(struct lane *l, struct lane_snap **s);
/* The lane's pool for that engine, made when it is missing. */
struct pool *lane_pool(struct lane *l, const struct engine *e);
/* A request ended: drains look at it. */
void lane_request_over(struct lane *l);
