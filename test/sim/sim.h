/* SPDX-License-Identifier: Apache-2.0
 *
 * sim.h - scenarios and how they fail. A scenario is a function that is run in a fresh world, once
 * for every seed; main.c lists and runs them. A failure names the scenario and the seed, so that
 * the same run can be seen again, with notes: sim --scenario NAME --seed N -v.
 */
#pragma once
#include "base/check.h"

struct scenario {
    const char *name;
    void (*run)(void);
};

/* Each scenarios_*.c gives one table, ended by a NULL name. */
const struct scenario *scenarios_server(void);
const struct scenario *scenarios_client(void);
const struct scenario *scenarios_gate(void);
const struct scenario *scenarios_gate_wait(void);
const struct scenario *scenarios_gate_break(void);
const struct scenario *scenarios_gate_door(void);
const struct scenario *scenarios_gate_life(void);
const struct scenario *scenarios_gate_odd(void);
const struct scenario *scenarios_gate_session(void);
const struct scenario *scenarios_gate_fallback(void);
const struct scenario *scenarios_gate_probe(void);
const struct scenario *scenarios_gate_round(void);
const struct scenario *scenarios_gate_retry(void);
const struct scenario *scenarios_gate_sources(void);
const struct scenario *scenarios_gate_router(void);
const struct scenario *scenarios_gate_answer(void);
const struct scenario *scenarios_gate_join(void);
const struct scenario *scenarios_gate_keys(void);
const struct scenario *scenarios_count(void);
const struct scenario *scenarios_supervise(void);
const struct scenario *scenarios_registry(void);
const struct scenario *scenarios_registrar(void);
const struct scenario *scenarios_tester(void);
const struct scenario *scenarios_supervise_one(void);

NORETURN void sim_fail(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* What a scenario asserts. */
#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond))                                                                               \
            sim_fail(__FILE__, __LINE__, "%s", #cond);                                             \
    } while (0)
#define EXPECT_U64(got, want)                                                                      \
    do {                                                                                           \
        unsigned long long got_ = (got), want_ = (want);                                           \
        if (got_ != want_)                                                                         \
            sim_fail(__FILE__, __LINE__, "%s is %llu, not %llu", #got, got_, want_);               \
    } while (0)
#define EXPECT_WITHIN(got, lo, hi)                                                                 \
    do {                                                                                           \
        unsigned long long got_ = (got), lo_ = (lo), hi_ = (hi);                                   \
        if (got_ < lo_ || got_ > hi_)                                                              \
            sim_fail(__FILE__, __LINE__, "%s is %llu, not %llu to %llu", #got, got_, lo_, hi_);    \
    } while (0)
