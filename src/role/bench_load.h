/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_load.h - the load of one thread: a loop of its own, a client with one pool, a slot for each
 * connection, and what was measured. Threads share nothing but the flag that ends them early.
 */
#pragma once
#include <stdatomic.h>

#include "conf/url.h"
#include "proto/http1.h"
#include "role/bench_hist.h"
#include "role/bench_plan.h"

/* How a request ended; the first is the only good one. enumerator, name in reports */
#define BENCH_OUTCOMES(X)                                                                          \
    X(OK, "ok")                  /* 2xx to its end; a stream: up to its [DONE] */                  \
    X(CONNECT, "connect")        /* no connection */                                               \
    X(NO_REPLY, "no_reply")      /* the connection ended before a whole reply head */              \
    X(MALFORMED, "malformed")    /* what came is not HTTP */                                       \
    X(STATUS, "status")          /* a whole reply, but not 2xx */                                  \
    X(NO_STREAM, "not_a_stream") /* 2xx, but not text/event-stream although one was asked for */   \
    X(TIMEOUT, "timeout")        /* no end within timeout_ms */                                    \
    X(TRUNCATED, "truncated")    /* 2xx, but its body broke off, or a stream had no [DONE] */      \
    X(UNFINISHED, "unfinished")  /* still running, or never sent, when time was up */

#define BENCH_AS_ENUM(id, name) BENCH_##id,
enum bench_outcome { BENCH_OUTCOMES(BENCH_AS_ENUM) BENCH_OUTCOMES_N };

enum { BENCH_STATUSES = 600 };

/* Constant while loads run; shared by all threads. */
struct bench_conf {
    const struct url *target;
    struct str head, body; /* of every request */
    enum http1_method method;
    bool stream;
    unsigned connections; /* of this thread: at once in closed loop, at most in open loop */
    uint32_t timeout_ms, grace_ms;
    atomic_bool *stop; /* set by any thread: no further requests */
};

struct bench_result {
    int err; /* the load could not run at all */
    uint64_t outcome[BENCH_OUTCOMES_N];
    uint64_t status[BENCH_STATUSES];
    const char *first_why;     /* of the first failure; NULL: none */
    uint64_t start_us, end_us; /* first request, last end */
    uint64_t body_bytes, events, connects, races;
    struct bench_hist latency; /* good ones, from due to end */
    struct bench_hist first;   /* from due to the reply's head, of streams to the first event */
    struct bench_hist gap;     /* between the events of a stream */
    struct bench_hist delay;   /* from an event's stamp to us */
};

/* Runs it to its end on the calling thread. `signals`: SIGINT and SIGTERM set *stop. */
void bench_load_run(const struct bench_conf *conf, const struct bench_plan *plan, bool signals,
                    struct bench_result *result);
