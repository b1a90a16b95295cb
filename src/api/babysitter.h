/* SPDX-License-Identifier: Apache-2.0
 *
 * babysitter.h - the babysitter's face: what it answers on the port behind its engine's. It reads
 * what its owner tells it about the engine, and asks the engine itself for its models. One a loop;
 * loop thread only.
 *
 *   GET /health /info /models /metrics /_inferd/metrics
 *
 * /health is 200 until the engine has been ready for the first time, then 200 while it is and 503
 * while it is not: routers and registries judge the engine by it.
 */
#pragma once
#include "base/metrics.h"
#include "net/exchange.h"
#include "supervise/tester.h"

/* name, word, `status` in /health */
#define BABYSITTER_STATES(X)                                                                       \
    X(BABYSITTER_STARTING, "starting", "starting")                                                 \
    X(BABYSITTER_READY, "ready", "healthy")                                                        \
    X(BABYSITTER_UNRESPONSIVE, "unresponsive", "unresponsive")                                     \
    X(BABYSITTER_RESTARTING, "restarting", "restarting")                                           \
    X(BABYSITTER_FAILED, "failed", "failed")                                                       \
    X(BABYSITTER_EXITED, "exited", "exited")                                                       \
    X(BABYSITTER_STOPPING, "stopping", "stopping")
#define BABYSITTER_STATE_AS_ENUM(name, word, status) name,
enum babysitter_state { BABYSITTER_STATES(BABYSITTER_STATE_AS_ENUM) BABYSITTER_STATES_N };

/* "ready". Static. */
const char *babysitter_state_word(enum babysitter_state s);

/* What is true now. */
struct babysitter_view {
    enum babysitter_state state;
    bool was_ready; /* ever */
    pid_t pid;      /* 0: no process */
    uint64_t restarts, consecutive_restarts, uptime_s;
    const char *last_exit; /* NULL or "": none yet; good until the owner is asked again */
};

/* Everything is borrowed and outlives the babysitter. */
struct babysitter_face {
    struct loop *loop;
    struct metrics *metrics; /* for its own endpoint; the babysitter adds its families */
    struct str name, host;
    struct str url;   /* its own */
    uint16_t port;    /* the engine's */
    const char *type; /* "vLLM" */
    void (*look)(void *ctx, struct babysitter_view *ret);
    /* NULL while the engine is not to be asked. */
    const struct tester_place *(*place)(void *ctx);
    void *ctx;
};

struct babysitter; /* opaque */

void babysitter_create(const struct babysitter_face *face, struct babysitter **ret);
/* Every exchange has ended: the server is destroyed before. NULL is fine. */
void babysitter_destroy(struct babysitter **b);
/* For struct server_conf, whose ctx is the babysitter. */
const struct exchange_owner *babysitter_owner(void);
