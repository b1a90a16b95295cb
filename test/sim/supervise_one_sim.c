/* SPDX-License-Identifier: Apache-2.0
 *
 * supervise_one_sim.c - scenarios of supervise/ with the rules that a babysitter gives it: restarts
 * that end, exact delays, a place that has to be free, and an end in two steps.
 */
#include <signal.h>
#include <string.h>

#include "sim/units.h"

static const struct child_exit crash = {CHILD_KILLED, SIGSEGV, NULL};

/* fabric 4.4: max_restarts + 1 launches, and delays to the millisecond. */
static void so_many_failures_in_a_row_park(void)
{
    static const uint64_t delays[] = {200, 2000, 4000};

    units_open(units_plan_all);
    units.conf.failures_max = 4;
    units.conf.exact_delays = true;
    units_start();
    units.plan = (struct process_plan){.ends_ms = 5, .how = crash};
    units_add()->restart_delay_ms = 0;
    units_apply(0);
    for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
        units_until(1, UNIT_BACKOFF, 8000);
        EXPECT_U64(units.seen[1].delay_ms, delays[i]);
        EXPECT_U64(supervise_failures(units.s, 1), i + 1);
        units_until(1, UNIT_LOADING, 8000);
    }
    units_until(1, UNIT_PARKED, LATE_MS);
    world_run_ms(HOUR_MS);
    EXPECT(unit(1)->state == UNIT_PARKED);
    EXPECT_U64(unit(1)->generation, 4);
    EXPECT_U64(unit(1)->restarts, 3);
    units_end();
}

static void a_stable_run_forgets_failures_in_a_row(void)
{
    units_open(units_plan_all);
    units.conf.failures_max = 2;
    units_start();
    units_add();
    units_apply(0);
    for (unsigned i = 0; i < 5; i++) {
        units_make_ready(1);
        world_run_ms(61000);
        process_dies(unit(1)->pid, crash);
        units_until(1, UNIT_BACKOFF, LATE_MS);
        EXPECT_U64(supervise_failures(units.s, 1), 1);
    }
    units_make_ready(1);
    world_run_ms(59000);
    process_dies(unit(1)->pid, crash);
    units_until(1, UNIT_PARKED, LATE_MS);
    units_end();
}

/* Without a delay of its own the least one holds, whatever the failure was. */
static void a_failure_that_was_stopped_has_a_delay(void)
{
    struct engine_conf *e;

    units_begin();
    e = units_add();
    e->restart_delay_ms = 0;
    e->ready_timeout_ms = 1000;
    units_apply(0);
    units_until(1, UNIT_BACKOFF, 1000 + LATE_MS);
    EXPECT_U64(units.seen[1].delay_ms, 200);
    units_until(1, UNIT_LOADING, 200 + LATE_MS);
    units_end();
}

static void begin_with_place(void)
{
    struct engine_conf *e;

    units_open(units_plan_all);
    units.places = true;
    units_start();
    e = units_add();
    e->endpoint = ENGINE_AT_URL;
    e->command.n = 1;
    units_apply(0);
    world_run_ms(LATE_MS);
    EXPECT_U64(units.places_asked, 1);
    EXPECT(unit(1)->state == UNIT_STARTING);
    EXPECT_U64(unit(1)->generation, 0);
}

static void a_taken_place_is_a_failure(void)
{
    begin_with_place();
    supervise_place(units.s, 1, "port 1 is in use");
    EXPECT(unit(1)->state == UNIT_BACKOFF);
    EXPECT(strcmp(unit(1)->last_exit, "port 1 is in use") == 0);
    EXPECT_U64(supervise_failures(units.s, 1), 1);
    supervise_place(units.s, 1, NULL); /* nobody asked */
    EXPECT(unit(1)->state == UNIT_BACKOFF);
    world_run_ms(1000 + LATE_MS);
    EXPECT_U64(units.places_asked, 2);
    EXPECT_U64(unit(1)->generation, 0);
    supervise_place(units.s, 1, NULL);
    units_until(1, UNIT_LOADING, LATE_MS);
    process_dies(unit(1)->pid, crash);
    world_run_ms(3000); /* asked before every launch */
    EXPECT_U64(units.places_asked, 3);
    EXPECT_U64(unit(1)->generation, 1);
    units_end();
}

static void a_stop_while_its_place_is_asked_for_holds(void)
{
    begin_with_place();
    EXPECT(strcmp(units_ask(1, LINK_STOP), "stopped") == 0);
    supervise_place(units.s, 1, NULL);
    world_run_ms(MINUTE_MS);
    EXPECT(unit(1)->state == UNIT_STOPPED);
    EXPECT_U64(unit(1)->generation, 0);
    units_end();
}

static void frozen_nothing_is_started(void)
{
    units_begin();
    units_add();
    units_add();
    units_apply(0);
    units_make_ready(1);
    units_until(2, UNIT_LOADING, LATE_MS);
    process_dies(unit(2)->pid, crash);
    units_until(2, UNIT_BACKOFF, LATE_MS);
    supervise_freeze(units.s);
    EXPECT(unit(2)->state == UNIT_STOPPED);
    world_run_ms(MINUTE_MS);
    EXPECT(unit(1)->state == UNIT_READY);
    EXPECT(!units.stopped);
    process_dies(unit(1)->pid, crash);
    world_run_ms(MINUTE_MS);
    EXPECT(unit(1)->state == UNIT_STOPPED);
    EXPECT_U64(unit(1)->generation, 1);
    EXPECT_U64(unit(2)->generation, 1);
    units_end();
}

const struct scenario *scenarios_supervise_one(void)
{
    static const struct scenario table[] = {
        {"supervise_so_many_failures_in_a_row_park", so_many_failures_in_a_row_park},
        {"supervise_a_stable_run_forgets_failures_in_a_row",
         a_stable_run_forgets_failures_in_a_row},
        {"supervise_a_failure_that_was_stopped_has_a_delay",
         a_failure_that_was_stopped_has_a_delay},
        {"supervise_a_taken_place_is_a_failure", a_taken_place_is_a_failure},
        {"supervise_a_stop_while_its_place_is_asked_for_holds",
         a_stop_while_its_place_is_asked_for_holds},
        {"supervise_frozen_nothing_is_started", frozen_nothing_is_started},
        {NULL, NULL},
    };

    return table;
}
