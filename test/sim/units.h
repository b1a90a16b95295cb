/* SPDX-License-Identifier: Apache-2.0
 *
 * units.h - the rig of supervise's scenarios: it plays master and gateway, keeps the latest picture
 * of every unit, and reports as the gateway's tests would. What must hold in every scenario is
 * asserted where it can be seen: nothing is told inside a report, a generation at a time, nothing
 * lives when everything is said to be stopped.
 *
 * Programs are looked up on the real file system, so every command is /bin/sh, which nobody runs.
 */
#pragma once
#include "sim/process.h"
#include "sim/sim.h"
#include "sim/world.h"
#include "supervise/supervise.h"

enum {
    UNITS = 64,
    UNITS_STARTS = 256,
    MINUTE_MS = 60000,
    HOUR_MS = 3600000,
    LATE_MS = 20, /* of what happens on time: a slow turn, a sweep that looks around */
};

struct units_seen {
    struct link_unit unit;
    bool gone;
    unsigned starts;
    uint64_t started_ms[UNITS_STARTS];
    uint64_t delay_ms;  /* of its last back-off */
    uint64_t failed_ms; /* when that began */
};

struct units {
    struct loop *loop;
    struct log_writer *log;
    struct supervise *s;
    struct supervise_conf conf;
    struct units_seen seen[UNITS + 1]; /* by id */
    struct engine_conf engines[UNITS];
    struct str words[UNITS][3];
    char names[UNITS][8];
    size_t n;
    struct process_plan plan; /* of every process */
    bool stopped, in_report;
    bool places; /* before units_start(): supervise asks for places, and the scenario answers */
    unsigned places_asked;
    unsigned survivors; /* of the end: processes that nothing can end */
    unsigned wanted_id;
    enum unit_state wanted;
    const char *wanted_text;
};
extern struct units units;

/* A world with that plan for every start; the scenario may change units.conf now. */
void units_open(process_plan_fn *plan);
/* Tested from the start. */
void units_start(void);
/* What most scenarios want: no burst rule, and every process does as units.plan says. */
void units_begin(void);
void units_plan_all(struct str unit, unsigned n, struct process_plan *ret);
/* Stops everything, and asserts that nothing is left. */
void units_end(void);

/* One more [[engine]], "u1" and so on, with the defaults of its table; for units_apply(). */
struct engine_conf *units_add(void);
void units_apply(uint32_t drain_ms);

static inline struct link_unit *unit(unsigned id) { return &units.seen[id].unit; }
/* Runs until it is in that state, or says that it ended so; fails after `ms`. */
void units_until(unsigned id, enum unit_state state, uint64_t ms);
void units_until_exit(unsigned id, const char *text, uint64_t ms);
bool units_have_stopped(void *ctx);
/* About its present process. */
void units_report(unsigned id, enum link_report what);
/* Waits for LOADING and reports. */
void units_make_ready(unsigned id);
/* The answer. */
const char *units_ask(unsigned id, enum link_verb verb);
/* Starts that fell into the `ms` that begin with `from`. */
unsigned units_starts_within(unsigned id, uint64_t from, uint64_t ms);
