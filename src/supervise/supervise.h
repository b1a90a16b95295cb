/* SPDX-License-Identifier: Apache-2.0
 *
 * supervise.h - the units: processes that are configured, started, watched, restarted and ended.
 * Owned by the master (under `up`) and driven from outside by three things only: the configuration,
 * verbs of an operator, and reports of whoever tests the units over HTTP. What a unit does next is
 * its state machine's (unit.c), which sees processes through ev/child.h and time through deadlines,
 * so the simulation runs it unchanged.
 *
 * One loop thread. No callback runs inside supervise_report(), but the verbs and supervise_apply()
 * tell changes at once.
 */
#pragma once
#include "link/link.h"
#include "supervise/options.h"

struct log_writer;
struct loop;
struct ring;
struct supervise; /* opaque */

enum { SUPERVISE_PORT_FIRST = 27000, SUPERVISE_PORT_LAST = 27999, SUPERVISE_INSTANCE_BYTES = 16 };

/* What a unit does that failed `burst` times within `burst_ms`. */
enum supervise_on_burst {
    SUPERVISE_SLOW, /* goes on at its longest delay, and all such units share `slow_per_minute` */
    SUPERVISE_PARK, /* waits until it is asked for */
};

struct supervise_conf {
    struct loop *loop;
    struct log_writer *log;
    const char *runtime_dir; /* of the units' sockets */
    char instance[SUPERVISE_INSTANCE_BYTES + 1];
    char *const *env;    /* as environ; what is not the units' business is left out */
    uint64_t seed;       /* of jitter and marks */
    uint64_t nofile;     /* soft limit that units get back; 0: ours */
    uint32_t socket_gid; /* the runtime directory hands this group to sockets; 0: it does not */
    enum supervise_on_burst on_burst;
    unsigned burst, burst_ms, slow_per_minute;
    uint64_t failures_max; /* so many failures in a row park a unit; 0: no bound */
    bool exact_delays;     /* before restarts; else up to a tenth is taken off */
    bool log_all;          /* every line of output; else the first ones of each second */
    bool any_program;      /* starts programs that anybody could have replaced, too */
    int death_signal;      /* what a unit's process gets when we die; 0: SIGKILL */
};

struct supervise_ops {
    /* A new unit, or anything in it changed. `ring` is its output. */
    void (*on_unit)(void *ctx, const struct link_unit *u, const struct ring *ring);
    /* It left the configuration and nothing of it runs any more. */
    void (*on_gone)(void *ctx, uint32_t id);
    /* After supervise_stop_all(): nothing of any unit runs any more. Later than that call. */
    void (*on_stopped)(void *ctx);
    /* A unit that has no place of its own (ENGINE_AT_URL) is about to be launched: it waits for
     * supervise_place(), which may be called at once. NULL: whether its url's port can be bound
     * decides. */
    void (*on_place)(void *ctx, uint32_t id);
};

/* Borrows what `conf` points to for its life. Begins by ending what an earlier run of this instance
 * left behind; units start after that. */
void supervise_create(const struct supervise_conf *conf, const struct supervise_ops *ops, void *ctx,
                      struct supervise **ret);
/* Nothing may run any more. NULL is fine. */
void supervise_destroy(struct supervise **s);

/* What stands in the way of running this configuration, as a sentence in `problem`: -E_CONF. Checks
 * what only the system knows (users, lengths of socket paths). */
int supervise_check(const struct supervise *s, const struct engine_conf_list *engines,
                    struct buf *problem) MUSTCHECK;
/* From now on these are the units: new ones are started, missing ones drained and ended, those
 * whose process would be another (command, env, ...) restarted, all others left alone. Copied. */
void supervise_apply(struct supervise *s, const struct engine_conf_list *engines,
                     uint32_t drain_ms);

/* 0 with a word about what happens, or -E_NOT_FOUND. `why` is static. LINK_RELOAD is not for here.
 */
int supervise_ask(struct supervise *s, enum link_verb verb, uint32_t id,
                  const char **why) MUSTCHECK;
/* Ignored unless it is about the unit's present process. */
void supervise_report(struct supervise *s, uint32_t id, uint32_t generation,
                      enum link_report report);
/* The answer to on_place(): `taken` is NULL, or a sentence that says who is there, which counts as
 * a failure of the unit. Ignored when nothing was asked. */
void supervise_place(struct supervise *s, uint32_t id, const char *taken);
/* Failures in a row: what the delay is computed from. 0 for a unit that is not known. */
unsigned supervise_failures(const struct supervise *s, uint32_t id);
/* Whether somebody tests the units. While nobody does, what rests on reports stands still: nobody
 * is found not ready in time, hung, or drained. Deaths, and what follows from them, go on. */
void supervise_tested(struct supervise *s, bool tested);
/* Starts nothing ever after. What runs goes on; units without a process are stopped. */
void supervise_freeze(struct supervise *s);
/* Stops every unit at once, and starts nothing ever after; on_stopped follows. `now`: without grace
 * (may follow an earlier call without). A process that KILL does not end is given up after 5 s. */
void supervise_stop_all(struct supervise *s, bool now);
/* Tells every unit again: for a new gateway. */
void supervise_tell_all(struct supervise *s);
