/* SPDX-License-Identifier: Apache-2.0
 *
 * enrol.h - keeps a babysitter's two names at the registry true: its own from the start, the
 * engine's once the engine is ready and its models are known, with the state's name in every
 * heartbeat. What the records hold is enrol_record.h's, how they are kept net/registrar.h's.
 */
#pragma once
#include "api/babysitter.h"
#include "base/log.h"
#include "role/babysitter_conf.h"

struct enrol; /* opaque */

/* Everything is borrowed and outlives the enrolment. */
struct enrol_conf {
    struct loop *loop;
    struct chunk_pool *chunks;
    struct log_writer *log;
    struct metrics *metrics;
    struct str token; /* the registry's; n 0: none */
    const struct babysitter_conf *service;
    /* NULL while the engine is not to be asked. */
    const struct tester_place *(*place)(void *ctx);
    void *ctx;
};

/* Begins to register the babysitter itself. */
void enrol_create(const struct enrol_conf *conf, struct enrol **ret);
/* NULL is fine. What was not taken back stays registered. */
void enrol_destroy(struct enrol **e);
/* The engine's state changed. Ready: its models are asked for, and it is registered anew. */
void enrol_on_state(struct enrol *e, enum babysitter_state state);
/* Takes both names back; `left(ctx)` follows when that is done or has taken ENROL_LEAVE_MS, never
 * inside this call. */
enum { ENROL_LEAVE_MS = 1000 };
void enrol_leave(struct enrol *e, void (*left)(void *ctx), void *ctx);
