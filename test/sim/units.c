/* SPDX-License-Identifier: Apache-2.0
 *
 * units.c - see units.h.
 */
#include "sim/units.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "sim/ev/fake.h"

struct units units;

void units_plan_all(struct str unit, unsigned n, struct process_plan *ret)
{
    (void)unit;
    (void)n;
    *ret = units.plan;
}

static void on_unit(void *ctx, const struct link_unit *u, const struct ring *ring)
{
    struct units_seen *seen = &units.seen[u->id];

    (void)ctx;
    EXPECT(ring);
    EXPECT(!units.in_report);
    EXPECT(!seen->gone);
    EXPECT(!units.stopped);
    EXPECT(u->generation == seen->unit.generation || u->generation == seen->unit.generation + 1);
    if (u->generation != seen->unit.generation)
        seen->started_ms[seen->starts++ % UNITS_STARTS] = world_now_ms();
    if (u->state == UNIT_BACKOFF && seen->unit.state != UNIT_BACKOFF) {
        seen->delay_ms = u->next_ms - u->since_ms;
        seen->failed_ms = u->since_ms;
    }
    if (u->state != seen->unit.state)
        world_note("unit %s is %s", u->name, link_state_word(u->state));
    seen->unit = *u;
}

static void on_gone(void *ctx, uint32_t id)
{
    (void)ctx;
    EXPECT(!units.seen[id].gone);
    EXPECT_U64(process_alive_of(str_of(units.seen[id].unit.name), true), 0);
    units.seen[id].gone = true;
}

static void on_stopped(void *ctx)
{
    (void)ctx;
    EXPECT_U64(process_alive(), units.survivors);
    units.stopped = true;
}

static void on_place(void *ctx, uint32_t id)
{
    (void)ctx;
    (void)id;
    units.places_asked++;
}

static const struct supervise_ops ops = {on_unit, on_gone, on_stopped, NULL};
static const struct supervise_ops ops_with_places = {on_unit, on_gone, on_stopped, on_place};

static char *const no_env[] = {NULL};

void units_open(process_plan_fn *plan)
{
    memset(&units, 0, sizeof units);
    process_begin(plan);
    process_free_ports();
    log_set_level(world_notes() ? LOG_TRACE : LOG_OFF);
    EXPECT(loop_create(&units.loop) == 0);
    units.log = log_writer_create();
    units.conf = (struct supervise_conf){.loop = units.loop,
                                         .log = units.log,
                                         .runtime_dir = "/nonexistent/sim",
                                         .instance = "0123456789abcdef",
                                         .env = no_env,
                                         .seed = world_seed()};
    fake_loop_start(units.loop);
}

void units_start(void)
{
    supervise_create(&units.conf, units.places ? &ops_with_places : &ops, NULL, &units.s);
    supervise_tested(units.s, true);
}

void units_begin(void)
{
    units_open(units_plan_all);
    units_start();
}

bool units_have_stopped(void *ctx)
{
    (void)ctx;
    return units.stopped;
}

void units_end(void)
{
    if (!units.stopped)
        supervise_stop_all(units.s, true);
    EXPECT(world_run_until(units_have_stopped, NULL, 10000));
    supervise_destroy(&units.s);
    loop_destroy(&units.loop);
    log_writer_destroy(&units.log);
    process_end();
}

struct engine_conf *units_add(void)
{
    struct engine_conf *e = &units.engines[units.n];
    struct str *words = units.words[units.n];

    EXPECT(units.n < UNITS);
    (void)snprintf(units.names[units.n], sizeof units.names[units.n], "u%zu", units.n + 1);
    words[0] = STR("/bin/sh");
    words[1] = STR("${PORT}");
    *e = (struct engine_conf){.name = str_of(units.names[units.n]),
                              .command = {words, 2},
                              .restart = UNIT_RESTART_ALWAYS,
                              .restart_delay_ms = 1000,
                              .restart_max_ms = 60000,
                              .stable_ms = 60000,
                              .stop_grace_ms = 8000,
                              .endpoint = ENGINE_AT_PORT};
    units.n++;
    return e;
}

void units_apply(uint32_t drain_ms)
{
    struct engine_conf_list list = {units.engines, units.n};

    supervise_apply(units.s, &list, drain_ms);
}

static bool is_as_wanted(void *ctx)
{
    (void)ctx;
    return unit(units.wanted_id)->state == units.wanted;
}

void units_until(unsigned id, enum unit_state state, uint64_t ms)
{
    units.wanted_id = id;
    units.wanted = state;
    if (!world_run_until(is_as_wanted, NULL, ms))
        sim_fail(__FILE__, __LINE__, "unit %u is %s, not %s, after %llu ms", id,
                 link_state_word(unit(id)->state), link_state_word(state), (unsigned long long)ms);
}

static bool says_so(void *ctx)
{
    (void)ctx;
    return strcmp(unit(units.wanted_id)->last_exit, units.wanted_text) == 0;
}

void units_until_exit(unsigned id, const char *text, uint64_t ms)
{
    units.wanted_id = id;
    units.wanted_text = text;
    if (!world_run_until(says_so, NULL, ms))
        sim_fail(__FILE__, __LINE__, "unit %u says \"%s\", not \"%s\"", id, unit(id)->last_exit,
                 text);
}

void units_report(unsigned id, enum link_report what)
{
    units.in_report = true;
    supervise_report(units.s, id, unit(id)->generation, what);
    units.in_report = false;
    world_run_ms(1);
}

void units_make_ready(unsigned id)
{
    units_until(id, UNIT_LOADING, 5 * MINUTE_MS);
    units_report(id, LINK_REPORT_READY);
    units_until(id, UNIT_READY, LATE_MS);
}

const char *units_ask(unsigned id, enum link_verb verb)
{
    const char *why = NULL;

    EXPECT(supervise_ask(units.s, verb, id, &why) == 0);
    EXPECT(why);
    return why;
}

unsigned units_starts_within(unsigned id, uint64_t from, uint64_t ms)
{
    unsigned n = 0;

    EXPECT(units.seen[id].starts <= UNITS_STARTS);
    for (unsigned i = 0; i < units.seen[id].starts; i++)
        n += units.seen[id].started_ms[i] >= from && units.seen[id].started_ms[i] - from < ms;
    return n;
}
