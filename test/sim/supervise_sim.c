/* SPDX-License-Identifier: Apache-2.0
 *
 * supervise_sim.c - scenarios of the units' state machine: every delay, deadline and burst rule on
 * virtual time, with processes that do as their plan says (sim/process.h).
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "sim/units.h"

static const struct child_exit crash = {CHILD_KILLED, SIGSEGV, NULL};
static const struct child_exit clean = {CHILD_EXITED, 0, NULL};

/* ---- restarts ---- */

/* One failure after the other: what stands between it and the next start. */
static void expect_delays(const uint64_t *delays, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        units_until(1, UNIT_BACKOFF, LATE_MS);
        /* up to a tenth less, never more, never under 200 */
        EXPECT_WITHIN(units.seen[1].delay_ms, max_size(delays[i] - delays[i] / 10, 200), delays[i]);
        units_until(1, UNIT_LOADING, delays[i] + LATE_MS);
        EXPECT_WITHIN(world_now_ms() - units.seen[1].failed_ms, units.seen[1].delay_ms,
                      units.seen[1].delay_ms + LATE_MS);
    }
}

static void crash_at_once(void) { units.plan = (struct process_plan){.ends_ms = 5, .how = crash}; }

static void delays_double_up_to_their_cap(void)
{
    static const uint64_t delays[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};

    units_begin();
    crash_at_once();
    units_add();
    units_apply(0);
    units_until(1, UNIT_LOADING, LATE_MS);
    expect_delays(delays, ARRAY_LEN(delays));
    EXPECT_U64(unit(1)->restarts, ARRAY_LEN(delays));
    units_end();
}

/* fabric 4.4: the second delay is twice a second at least, whatever the first one is. */
static void a_short_delay_grows_all_the_same(void)
{
    static const uint64_t delays[] = {200, 2000, 3000, 3000};
    struct engine_conf *e;

    units_begin();
    crash_at_once();
    e = units_add();
    e->restart_delay_ms = 0;
    e->restart_max_ms = 3000;
    units_apply(0);
    units_until(1, UNIT_LOADING, LATE_MS);
    expect_delays(delays, ARRAY_LEN(delays));
    units_end();
}

static void a_cap_below_the_delay_is_the_delay(void)
{
    static const uint64_t delays[] = {5000, 5000, 5000};
    struct engine_conf *e;

    units_begin();
    crash_at_once();
    e = units_add();
    e->restart_delay_ms = 5000;
    e->restart_max_ms = 100;
    units_apply(0);
    units_until(1, UNIT_LOADING, LATE_MS);
    expect_delays(delays, ARRAY_LEN(delays));
    units_end();
}

static void who_dies_together_does_not_start_together(void)
{
    unsigned different = 0;

    units_begin();
    for (unsigned i = 0; i < 20; i++)
        units_add();
    units_apply(0);
    for (unsigned id = 1; id <= 20; id++)
        units_until(id, UNIT_LOADING, LATE_MS);
    for (unsigned id = 1; id <= 20; id++)
        process_dies(unit(id)->pid, crash);
    for (unsigned id = 1; id <= 20; id++) {
        bool seen = false;

        units_until(id, UNIT_BACKOFF, LATE_MS);
        EXPECT_WITHIN(units.seen[id].delay_ms, 900, 1000);
        for (unsigned k = 1; k < id; k++)
            seen |= units.seen[k].delay_ms == units.seen[id].delay_ms;
        different += !seen;
    }
    EXPECT(different > 10);
    units_end();
}

/* As if it had been asked to: a second, whatever is configured. */
static void a_polite_end_is_not_hurried(void)
{
    static const struct child_exit ends[] = {{CHILD_EXITED, 0, NULL},
                                             {CHILD_EXITED, 143, NULL},
                                             {CHILD_KILLED, SIGTERM, NULL},
                                             {CHILD_EXITED, 1, NULL}};

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        units_begin();
        units.plan = (struct process_plan){.ends_ms = 5, .how = ends[i]};
        units_add()->restart_delay_ms = 200;
        units_apply(0);
        units_until(1, UNIT_BACKOFF, LATE_MS + 10);
        EXPECT_U64(units.seen[1].delay_ms, i < 3 ? 1000 : 200);
        units_end();
    }
}

static void ready_for_long_enough_is_forgiven(void)
{
    units_begin();
    units_add();
    units_apply(0);
    for (unsigned i = 1; i <= 3; i++) { /* not long enough */
        units_make_ready(1);
        world_run_ms(i == 3 ? 61000 : 59000);
        process_dies(unit(1)->pid, crash);
        units_until(1, UNIT_BACKOFF, LATE_MS);
        if (i == 1)
            EXPECT_WITHIN(units.seen[1].delay_ms, 900, 1000);
        if (i == 2)
            EXPECT_WITHIN(units.seen[1].delay_ms, 1800, 2000);
    }
    EXPECT_WITHIN(units.seen[1].delay_ms, 900, 1000);
    /* what was unresponsive meanwhile was not ready for so long */
    units_make_ready(1);
    world_run_ms(40000);
    units_report(1, LINK_REPORT_SILENT);
    units_report(1, LINK_REPORT_READY);
    world_run_ms(40000);
    process_dies(unit(1)->pid, crash);
    units_until(1, UNIT_BACKOFF, LATE_MS);
    EXPECT_WITHIN(units.seen[1].delay_ms, 1800, 2000);
    units_end();
}

static void rules_decide_what_follows_an_end(void)
{
    static const struct {
        enum unit_restart rule;
        const struct child_exit *how;
        enum unit_state then;
    } rows[] = {
        {UNIT_RESTART_ALWAYS, &clean, UNIT_BACKOFF}, {UNIT_RESTART_ALWAYS, &crash, UNIT_BACKOFF},
        {UNIT_RESTART_FAILURE, &clean, UNIT_EXITED}, {UNIT_RESTART_FAILURE, &crash, UNIT_BACKOFF},
        {UNIT_RESTART_NEVER, &clean, UNIT_EXITED},   {UNIT_RESTART_NEVER, &crash, UNIT_EXITED},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        units_begin();
        units.plan = (struct process_plan){.ends_ms = 50, .how = *rows[i].how};
        units_add()->restart = rows[i].rule;
        units_apply(0);
        units_until(1, rows[i].then, 100);
        world_run_ms(HOUR_MS);
        if (rows[i].then == UNIT_EXITED) {
            EXPECT(unit(1)->state == UNIT_EXITED);
            EXPECT_U64(unit(1)->generation, 1);
            EXPECT(strcmp(units_ask(1, LINK_START), "starting") == 0);
            units_until(1, UNIT_LOADING, LATE_MS);
            EXPECT_U64(unit(1)->restarts, 0);
        } else {
            EXPECT(unit(1)->generation > 30);
        }
        units_end();
    }
}

static void what_cannot_be_started_is_tried_again(void)
{
    units_begin();
    units.plan = (struct process_plan){.not_run = ENOEXEC};
    units_add();
    units_apply(0);
    units_until(1, UNIT_BACKOFF, LATE_MS);
    EXPECT(strcmp(unit(1)->last_exit, "could not be started: exec: Exec format error") == 0);
    process_refuse(-E_AGAIN); /* no process to be had */
    units_until_exit(1, "could not be started: not now, try again", 1000 + LATE_MS);
    EXPECT(unit(1)->state == UNIT_BACKOFF);
    EXPECT_U64(unit(1)->generation, 1);
    process_refuse(0);
    units.plan.not_run = 0;
    units_until(1, UNIT_LOADING, 2000 + LATE_MS);
    EXPECT_U64(unit(1)->restarts, 2);
    units_end();
}

/* ---- bursts ---- */

static void begin_bursts(enum supervise_on_burst on_burst)
{
    units_open(units_plan_all);
    units.conf.on_burst = on_burst;
    units.conf.burst = 5;
    units.conf.burst_ms = MINUTE_MS;
    units.conf.slow_per_minute = 10;
    units_start();
}

static void a_burst_parks(void)
{
    begin_bursts(SUPERVISE_PARK);
    crash_at_once();
    units_add();
    units_apply(0);
    units_until(1, UNIT_PARKED, MINUTE_MS);
    EXPECT_U64(unit(1)->generation, 5);
    world_run_ms(HOUR_MS);
    EXPECT(unit(1)->state == UNIT_PARKED);
    EXPECT(strcmp(units_ask(1, LINK_RESTART), "starting") == 0);
    units_until(1, UNIT_LOADING, LATE_MS);
    units_until(1, UNIT_PARKED, MINUTE_MS); /* all five are its again */
    EXPECT_U64(unit(1)->generation, 10);
    EXPECT(strcmp(units_ask(1, LINK_STOP), "stopped") == 0);
    EXPECT(unit(1)->state == UNIT_STOPPED);
    units_end();
}

static void failures_far_apart_are_no_burst(void)
{
    begin_bursts(SUPERVISE_PARK);
    units.plan = (struct process_plan){.ends_ms = 16000, .how = crash};
    units_add()->restart_max_ms = 1000;
    units_apply(0);
    world_run_ms(HOUR_MS / 2);
    EXPECT(unit(1)->state != UNIT_PARKED);
    EXPECT(unit(1)->generation > 80);
    units_end();
}

/* A15: units that exit at once make ten starts a minute, all of them together, and none of them
 * starves. */
static void share_starts(unsigned n)
{
    unsigned least = UINT32_MAX, most = 0, sum = 0;
    uint64_t from;

    begin_bursts(SUPERVISE_SLOW);
    crash_at_once();
    for (unsigned i = 0; i < n; i++)
        units_add();
    units_apply(0);
    world_run_ms(2 * MINUTE_MS); /* each has had its burst */
    from = world_now_ms();
    world_run_ms(HOUR_MS);
    for (unsigned id = 1; id <= n; id++) {
        unsigned starts = units.seen[id].starts;

        sum += units_starts_within(id, from, HOUR_MS);
        least = starts < least ? starts : least;
        most = starts > most ? starts : most;
    }
    EXPECT_WITHIN(sum, 590, 611); /* ten were saved up at most */
    EXPECT(most - least <= 2);
    units_end();
}

static void slow_units_share_their_starts(void)
{
    share_starts(64);
    share_starts(12);
}

static void slow_ends_with_a_stable_run(void)
{
    begin_bursts(SUPERVISE_SLOW);
    crash_at_once();
    units_add();
    units_apply(0);
    while (units.seen[1].starts < 5)
        EXPECT(world_step(UINT64_MAX));
    units_until(1, UNIT_BACKOFF, LATE_MS);
    EXPECT_WITHIN(units.seen[1].delay_ms, 54000, 60000); /* the longest, at once */
    units.plan = (struct process_plan){.exec_ms = 0};
    units_make_ready(1);
    world_run_ms(61000);
    process_dies(unit(1)->pid, crash);
    units_until(1, UNIT_BACKOFF, LATE_MS);
    EXPECT_WITHIN(units.seen[1].delay_ms, 900, 1000);
    units_end();
}

/* ---- what a process leaves ---- */

static void expect_start_after_crash(uint64_t least_ms, uint64_t most_ms)
{
    uint64_t at = world_now_ms();

    process_dies(unit(1)->pid, crash);
    units_until(1, UNIT_BACKOFF, LATE_MS); /* the death shows at once */
    units.plan = (struct process_plan){.exec_ms = 0};
    units_until(1, UNIT_LOADING, most_ms + LATE_MS);
    EXPECT_WITHIN(world_now_ms() - at, least_ms, most_ms + LATE_MS);
    EXPECT_U64(process_alive(), 1);
}

static void begin_with_stray(struct process_stray stray)
{
    stray.is = true;
    units_begin();
    units.plan = (struct process_plan){.stray = stray};
    units_add()->restart_delay_ms = 0;
    units_apply(0);
    units_until(1, UNIT_LOADING, LATE_MS);
    EXPECT_U64(process_alive(), 2);
}

static void nothing_starts_beside_its_remains(void)
{
    begin_with_stray((struct process_stray){.marked = true});
    expect_start_after_crash(200, 200);
    units_end();
    begin_with_stray((struct process_stray){.marked = true, .deaf = true, .holds_pipes = true});
    expect_start_after_crash(2000, 2000);
    units_end();
    /* the mark is lost, the group is not; its pipes show that somebody is there */
    begin_with_stray((struct process_stray){.in_group = true, .deaf = true, .holds_pipes = true});
    expect_start_after_crash(2000, 2000);
    units_end();
    begin_with_stray((struct process_stray){.in_group = true, .holds_pipes = true});
    expect_start_after_crash(200, 200);
    units_end();
    /* nobody knows of it: it goes with the group */
    begin_with_stray((struct process_stray){.in_group = true, .deaf = true});
    expect_start_after_crash(200, 200);
    units_end();
}

/* R26: a stop takes its grace and a second at most, whoever does not listen. */
static void a_stop_ends_within_its_grace(void)
{
    static const struct {
        struct process_plan plan;
        uint64_t least, most;
    } rows[] = {
        {{.term_ms = 300}, 300, 300},
        {{.deaf = true}, 8000, 8000},
        {{.deaf = true, .kill_ms = 400}, 8400, 8400},
        {{.stray = {.is = true, .marked = true, .deaf = true}}, 2000, 2000},
        {{.term_ms = 7000, .stray = {.is = true, .marked = true, .deaf = true}}, 8000, 8000},
        {{.deaf = true, .stray = {.is = true, .marked = true, .deaf = true}}, 8000, 8000},
        {{.deaf = true, .stray = {.is = true, .in_group = true, .holds_pipes = true, .deaf = true}},
         8000,
         8000},
        /* out of reach: it holds the pipes for ever, we do not wait for ever */
        {{.term_ms = 10, .stray = {.is = true, .holds_pipes = true}}, 2500, 2600},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t at;

        units_begin();
        units.plan = rows[i].plan;
        units_add();
        units_apply(0);
        units_make_ready(1);
        at = world_now_ms();
        EXPECT(strcmp(units_ask(1, LINK_STOP), "stopping") == 0);
        units_until(1, UNIT_STOPPED, rows[i].most + LATE_MS);
        EXPECT_WITHIN(world_now_ms() - at, rows[i].least, rows[i].most + LATE_MS);
        for (struct process *p = NULL; (p = process_next(p));) /* the one out of reach */
            process_signal(p, SIGKILL);
        units_end();
    }
}

static void a_frozen_process_hears_term(void)
{
    units_begin();
    units.plan = (struct process_plan){.term_ms = 20};
    units_add();
    units_apply(0);
    units_make_ready(1);
    process_freezes(unit(1)->pid);
    units_ask(1, LINK_STOP);
    units_until(1, UNIT_STOPPED, 20 + LATE_MS);
    units_end();
}

static void an_earlier_run_is_ended_before_anything_starts(void)
{
    uint64_t at;

    units_open(units_plan_all);
    process_leave("0123456789abcdef/u1/old", false);
    process_leave("0123456789abcdef/other/old", true);
    process_leave("another/u1/old", false);
    units_start();
    at = world_now_ms();
    units_add();
    units_apply(0);
    EXPECT(unit(1)->state == UNIT_STARTING);
    units_until(1, UNIT_LOADING, 2000 + LATE_MS);
    EXPECT_WITHIN(world_now_ms() - at, 2000, 2000 + LATE_MS);
    EXPECT_U64(process_alive(), 2); /* ours, and another instance's */
    for (struct process *p = NULL; (p = process_next(p));)
        if (str_starts(process_mark(p), STR("another/")))
            process_signal(p, SIGKILL);
    units_end();
}

/* A unit that is stopped while it waits for that sweep is not started by its end. */
static void a_stop_before_the_first_start_holds(void)
{
    units_open(units_plan_all);
    process_leave("0123456789abcdef/u1/old", true);
    units_start();
    units_add();
    units_apply(0);
    EXPECT(strcmp(units_ask(1, LINK_STOP), "stopped") == 0);
    world_run_ms(MINUTE_MS);
    EXPECT(unit(1)->state == UNIT_STOPPED);
    EXPECT_U64(unit(1)->generation, 0);
    units_end();
}

/* ---- deadlines that rest on reports ---- */

static void not_ready_in_time_is_a_failure(void)
{
    units_begin();
    units_add()->ready_timeout_ms = 30000;
    units_apply(0);
    units_until(1, UNIT_LOADING, LATE_MS);
    world_run_ms(29000);
    EXPECT(unit(1)->state == UNIT_LOADING);
    units_until(1, UNIT_BACKOFF, 1000 + LATE_MS);
    EXPECT(strcmp(unit(1)->last_exit, "not ready in time: killed by SIGTERM") == 0);
    units_make_ready(1);
    world_run_ms(HOUR_MS);
    EXPECT(unit(1)->state == UNIT_READY);
    EXPECT_U64(unit(1)->generation, 2);
    units_end();
}

static void silent_for_too_long_is_a_failure(void)
{
    units_begin();
    units_add()->hang_timeout_ms = 20000;
    units_add(); /* may be silent for ever */
    units_apply(0);
    units_make_ready(1);
    units_make_ready(2);
    units_report(2, LINK_REPORT_SILENT);
    units_report(1, LINK_REPORT_SILENT);
    units_until(1, UNIT_UNRESPONSIVE, LATE_MS);
    world_run_ms(19000);
    units_report(1, LINK_REPORT_READY); /* just in time */
    world_run_ms(MINUTE_MS);
    EXPECT(unit(1)->state == UNIT_READY);
    units_report(1, LINK_REPORT_SILENT);
    units_until(1, UNIT_BACKOFF, 20000 + LATE_MS);
    EXPECT(strcmp(unit(1)->last_exit, "unresponsive for too long: killed by SIGTERM") == 0);
    world_run_ms(HOUR_MS);
    EXPECT(unit(2)->state == UNIT_UNRESPONSIVE);
    EXPECT_U64(unit(2)->generation, 1);
    units_end();
}

/* Under `never` it is stopped all the same, and stays so. */
static void a_failure_under_never_is_the_end(void)
{
    struct engine_conf *e;

    units_begin();
    e = units_add();
    e->restart = UNIT_RESTART_NEVER;
    e->ready_timeout_ms = 1000;
    units_apply(0);
    units_until(1, UNIT_EXITED, 1000 + 2 * LATE_MS);
    units_end();
}

/* Without a gateway states stand still, but for deaths and what follows from them. */
static void untested_units_are_not_judged(void)
{
    units_begin();
    units_add()->ready_timeout_ms = 10000;
    units_add()->hang_timeout_ms = 10000;
    units_add();
    units_add();
    units_apply(20000);
    units_until(1, UNIT_LOADING, LATE_MS);
    units_make_ready(2);
    units_make_ready(3);
    units_make_ready(4);
    units_report(2, LINK_REPORT_SILENT);
    units_ask(3, LINK_DRAIN);
    world_run_ms(5000);
    supervise_tested(units.s, false);
    world_run_ms(HOUR_MS);
    EXPECT(unit(1)->state == UNIT_LOADING);
    EXPECT(unit(2)->state == UNIT_UNRESPONSIVE);
    EXPECT(unit(3)->state == UNIT_DRAINING);
    process_dies(unit(4)->pid, crash); /* noticed, and started again */
    units_until(4, UNIT_BACKOFF, LATE_MS);
    units_until(4, UNIT_LOADING, 1000 + LATE_MS);
    supervise_tested(units.s, true); /* the new one has its full time to say something */
    world_run_ms(9000);
    EXPECT(unit(1)->state == UNIT_LOADING);
    EXPECT(unit(2)->state == UNIT_UNRESPONSIVE);
    units_until(1, UNIT_BACKOFF, 1000 + LATE_MS);
    units_until(2, UNIT_BACKOFF, LATE_MS);
    units_until(3, UNIT_STOPPED, 11000 + LATE_MS);
    units_end();
}

static void reports_count_for_their_process_only(void)
{
    units_begin();
    units_add();
    units_apply(0);
    units_make_ready(1);
    supervise_report(units.s, 1, 0, LINK_REPORT_SILENT);
    supervise_report(units.s, 1, 2, LINK_REPORT_SILENT);
    supervise_report(units.s, 2, 1, LINK_REPORT_SILENT);
    supervise_report(units.s, 1, 1, LINK_REPORT_IDLE); /* it does not drain */
    supervise_report(units.s, 1, 1, LINK_REPORTS);
    world_run_ms(1000);
    EXPECT(unit(1)->state == UNIT_READY);
    process_dies(unit(1)->pid, crash);
    units_until(1, UNIT_BACKOFF, LATE_MS);
    units_report(1, LINK_REPORT_READY); /* of a dead one */
    units_report(1, LINK_REPORT_SILENT);
    EXPECT(unit(1)->state == UNIT_BACKOFF);
    units_end();
}

/* ---- draining ---- */

static void a_drain_ends_when_idle_or_over(void)
{
    units_begin();
    units.plan = (struct process_plan){.term_ms = 100};
    for (unsigned i = 0; i < 4; i++)
        units_add();
    units_apply(30000);
    for (unsigned id = 1; id <= 4; id++)
        units_make_ready(id);
    for (unsigned id = 1; id <= 4; id++)
        EXPECT(strcmp(units_ask(id, LINK_DRAIN), "draining") == 0);
    world_run_ms(1000);
    units_report(1, LINK_REPORT_IDLE);
    units_until(1, UNIT_STOPPED, 100 + LATE_MS);
    EXPECT(strcmp(units_ask(2, LINK_STOP), "stopping") == 0);
    units_until(2, UNIT_STOPPED, 100 + LATE_MS);
    process_dies(unit(3)->pid, crash); /* as good an end as any */
    units_until(3, UNIT_STOPPED, LATE_MS);
    EXPECT(strcmp(units_ask(4, LINK_START), "it is being stopped and will start then") == 0);
    world_run_ms(28000);
    EXPECT(unit(4)->state == UNIT_DRAINING);
    units_make_ready(4);
    EXPECT_U64(unit(4)->generation, 2);
    EXPECT_U64(unit(4)->restarts, 0);
    units_end();
}

static void without_drain_time_a_drain_is_a_stop(void)
{
    units_begin();
    units_add();
    units_apply(0);
    units_make_ready(1);
    EXPECT(strcmp(units_ask(1, LINK_DRAIN), "stopping") == 0);
    units_until(1, UNIT_STOPPED, LATE_MS);
    units_end();
}

static void a_restart_drains_first(void)
{
    units_begin();
    units_add();
    units_apply(30000);
    units_until(1, UNIT_LOADING, LATE_MS);
    EXPECT(strcmp(units_ask(1, LINK_RESTART), "stopping, then starting") ==
           0); /* nothing is under way */
    units_make_ready(1);
    EXPECT_U64(unit(1)->generation, 2);
    EXPECT(strcmp(units_ask(1, LINK_RESTART), "draining, then starting") == 0);
    units_report(1, LINK_REPORT_IDLE);
    units_make_ready(1);
    EXPECT_U64(unit(1)->generation, 3);
    EXPECT_U64(unit(1)->restarts, 0);
    units_end();
}

/* ---- reload ---- */

static void a_removed_unit_that_comes_back_is_started(void)
{
    units_begin();
    units.plan = (struct process_plan){.term_ms = 500};
    units_add();
    units_apply(30000);
    units_make_ready(1);
    units.n = 0;
    units_apply(30000);
    EXPECT(unit(1)->state == UNIT_DRAINING);
    EXPECT(strcmp(units_ask(1, LINK_START), "it is no longer configured") == 0);
    EXPECT(strcmp(units_ask(1, LINK_STOP), "stopping") == 0);
    units_add(); /* the same name */
    units_apply(30000);
    units_make_ready(1);
    EXPECT_U64(unit(1)->generation, 2);
    EXPECT(!units.seen[1].gone);
    units.n = 0;
    units_apply(30000);
    units_report(1, LINK_REPORT_IDLE);
    world_run_ms(500 + LATE_MS);
    EXPECT(units.seen[1].gone);
    units_add(); /* the name once more, but another unit */
    units_apply(30000);
    units_until(2, UNIT_LOADING, LATE_MS);
    EXPECT(strcmp(unit(2)->name, "u1") == 0);
    units_end();
}

static void a_reload_leaves_stopped_units_stopped(void)
{
    units_begin();
    units_add();
    units_add()->restart = UNIT_RESTART_NEVER;
    units_apply(1000);
    units_make_ready(1);
    units_make_ready(2);
    units_ask(1, LINK_STOP);
    process_dies(unit(2)->pid, crash);
    units_until(1, UNIT_STOPPED, LATE_MS);
    units_until(2, UNIT_EXITED, LATE_MS);
    units_apply(1000); /* nothing changed */
    world_run_ms(MINUTE_MS);
    EXPECT(unit(1)->state == UNIT_STOPPED);
    EXPECT(unit(2)->state == UNIT_EXITED);
    units.words[0][1] = units.words[1][1] = STR("--other"); /* a new command is a new chance */
    units_apply(1000);
    units_until(2, UNIT_LOADING, LATE_MS);
    world_run_ms(MINUTE_MS);
    EXPECT(unit(1)->state == UNIT_STOPPED);
    units_end();
}

static void units_without_a_process_go_at_once(void)
{
    units_begin();
    crash_at_once();
    units_add();
    units_add();
    units_apply(30000);
    units_until(1, UNIT_BACKOFF, LATE_MS);
    units_until(2, UNIT_BACKOFF, LATE_MS);
    units_ask(2, LINK_STOP);
    units.n = 0;
    units_apply(30000);
    world_run_ms(LATE_MS);
    EXPECT(units.seen[1].gone);
    EXPECT(units.seen[2].gone);
    units_end();
}

/* ---- ports ---- */

static void ports_are_kept_and_not_shared(void)
{
    uint16_t port;

    units_begin();
    for (unsigned i = 0; i < UNITS; i++)
        units_add();
    units_apply(0);
    for (unsigned id = 1; id <= UNITS; id++) {
        units_until(id, UNIT_LOADING, LATE_MS);
        EXPECT_WITHIN(unit(id)->port, SUPERVISE_PORT_FIRST, SUPERVISE_PORT_LAST);
        for (unsigned k = 1; k < id; k++)
            EXPECT(unit(k)->port != unit(id)->port);
    }
    port = unit(1)->port;
    process_dies(unit(1)->pid, crash);
    units_until(1, UNIT_BACKOFF, LATE_MS);
    units_until(1, UNIT_LOADING, 1000 + LATE_MS);
    EXPECT_U64(unit(1)->port, port);
    process_dies(unit(1)->pid, crash);
    process_take_port(port, true); /* somebody was faster */
    units_until(1, UNIT_BACKOFF, LATE_MS);
    units_until(1, UNIT_LOADING, 2000 + LATE_MS);
    EXPECT(unit(1)->port != port);
    for (unsigned p = SUPERVISE_PORT_FIRST; p <= SUPERVISE_PORT_LAST; p++)
        process_take_port((uint16_t)p, true);
    process_dies(unit(1)->pid, crash);
    units_until(1, UNIT_BACKOFF, LATE_MS);
    units_until_exit(1, "no port of 27000-27999 is free", 4000 + LATE_MS);
    EXPECT(unit(1)->state == UNIT_BACKOFF);
    units_end();
}

/* ---- the end ---- */

static void everything_stops(bool now, uint64_t least, uint64_t most)
{
    uint64_t at;

    units_begin();
    units_add();
    units_apply(30000);
    units_make_ready(1);
    units.plan =
        (struct process_plan){.deaf = true, .stray = {.is = true, .marked = true, .deaf = true}};
    units_add();
    units.plan.kill_ms = 50;
    units_apply(30000);
    units_until(2, UNIT_LOADING, LATE_MS);
    at = world_now_ms();
    supervise_stop_all(units.s, now);
    EXPECT(!units.stopped);
    EXPECT(strcmp(units_ask(1, LINK_START), "inferd is stopping") == 0);
    units_apply(0);
    EXPECT(world_run_until(units_have_stopped, NULL, most + LATE_MS));
    EXPECT_WITHIN(world_now_ms() - at, least, most + LATE_MS);
    EXPECT_U64(unit(1)->generation, 1);
    EXPECT_U64(unit(2)->generation, 1);
    units_end();
}

static void stop_all_gives_its_grace(void) { everything_stops(false, 8000, 8050); }

static void stop_all_in_a_hurry_gives_none(void) { everything_stops(true, 0, 50); }

/* A driver holds it: its unit waits for it, the end does not. */
static void what_kill_does_not_end_is_given_up_in_the_end(void)
{
    pid_t pid;

    units_begin();
    units.plan = (struct process_plan){.deaf = true, .kill_ms = HOUR_MS};
    units_add()->stop_grace_ms = 1000;
    units_apply(0);
    units_make_ready(1);
    pid = unit(1)->pid;
    units_ask(1, LINK_RESTART);
    world_run_ms(10 * MINUTE_MS);
    EXPECT(unit(1)->state == UNIT_STOPPING);
    EXPECT_U64(unit(1)->generation, 1);
    units.survivors = 1;
    supervise_stop_all(units.s, false); /* it was killed long ago */
    EXPECT(world_run_until(units_have_stopped, NULL, 5000 + LATE_MS));
    EXPECT(unit(1)->state == UNIT_STOPPED);
    process_dies(pid, crash);
    units_end();
}

/* The second TERM. */
static void hurry_cuts_what_is_under_way(void)
{
    uint64_t at;

    units_open(units_plan_all);
    process_leave("0123456789abcdef/old/old", true);
    units_start();
    units_add();
    units_apply(0);
    supervise_stop_all(units.s, false); /* while that is being ended */
    world_run_ms(500);
    EXPECT(!units.stopped);
    supervise_stop_all(units.s, true);
    EXPECT(world_run_until(units_have_stopped, NULL, LATE_MS));
    units_end();
    begin_with_stray((struct process_stray){.marked = true, .deaf = true});
    process_dies(unit(1)->pid, crash);
    units_until(1, UNIT_BACKOFF, LATE_MS);
    world_run_ms(300);
    EXPECT(unit(1)->state == UNIT_STARTING); /* the stray is in the way */
    at = world_now_ms();
    supervise_stop_all(units.s, false);
    EXPECT(unit(1)->state == UNIT_STOPPED);
    world_run_ms(100);
    EXPECT(!units.stopped);
    supervise_stop_all(units.s, true);
    EXPECT(world_run_until(units_have_stopped, NULL, LATE_MS));
    EXPECT(world_now_ms() - at < 200);
    units_end();
}

/* ---- anything at all ---- */

static void plan_anything(struct str unit_name, unsigned n, struct process_plan *ret)
{
    (void)unit_name;
    (void)n;
    *ret = (struct process_plan){
        .exec_ms = (uint32_t)world_random(50),
        .ends_ms = world_chance(50) ? (uint32_t)world_between(1, 20000) : 0,
        .how = world_chance(30) ? clean : crash,
        .deaf = world_chance(20),
        .term_ms = (uint32_t)world_random(3000),
        .kill_ms = world_chance(20) ? (uint32_t)world_random(500) : 0,
        .not_run = world_chance(10) ? ENOENT : 0,
        .stray = {.is = world_chance(30),
                  .in_group = world_chance(50),
                  .marked = true,
                  .holds_pipes = world_chance(50),
                  .deaf = world_chance(50)},
    };
}

static void change_something(void)
{
    size_t i = world_random(units.n);

    if (world_chance(30))
        units.n = world_between(1, 5);
    if (world_chance(50))
        units.words[i][1] = world_chance(50) ? STR("--this") : STR("--that");
    units_apply((uint32_t)world_random(3000));
}

static void do_something(void)
{
    unsigned id = (unsigned)world_between(1, 12);
    const char *why;

    switch (world_random(8)) {
    case 0:
        change_something();
        break;
    case 1:
        supervise_tested(units.s, world_chance(70));
        break;
    case 2:
    case 3:
        if (unit(id)->state == UNIT_STOPPED || world_chance(30))
            (void)!supervise_ask(units.s, (enum link_verb)world_random(LINK_VERBS), id, &why);
        break;
    case 4:
        process_refuse(world_chance(10) ? -E_AGAIN : 0);
        break;
    default:
        if (id < UNITS)
            units_report(id, (enum link_report)world_random(LINK_REPORTS));
    }
}

/* Whatever happens in whatever order: never two processes of one unit, none that nobody knows, and
 * in the end nothing. */
static void nothing_breaks_it(void)
{
    units_open(plan_anything);
    units.conf.on_burst = world_chance(50) ? SUPERVISE_SLOW : SUPERVISE_PARK;
    units.conf.burst = (unsigned)world_random(6);
    units.conf.burst_ms = MINUTE_MS;
    units.conf.slow_per_minute = (unsigned)world_random(20);
    units_start();
    for (unsigned i = 0; i < 5; i++) {
        struct engine_conf *e = units_add();

        e->ready_timeout_ms = (uint32_t)world_random(3000);
        e->hang_timeout_ms = (uint32_t)world_random(3000);
        e->stop_grace_ms = (uint32_t)world_random(2000);
        e->restart_delay_ms = (uint32_t)world_random(1000);
        e->restart_max_ms = 2000;
        e->stable_ms = 5000;
        e->restart = (enum unit_restart)world_between(UNIT_RESTART_ALWAYS, UNIT_RESTART_NEVER);
    }
    units_apply(1000);
    for (unsigned i = 0; i < 400; i++) {
        do_something();
        world_run_ms(world_random(400));
        for (size_t k = 0; k < 5; k++)
            EXPECT(process_alive_of(str_of(units.names[k]), true) <= 1);
    }
    if (world_chance(50)) {
        supervise_stop_all(units.s, false);
        world_run_ms(world_random(3000));
    }
    units_end();
}

const struct scenario *scenarios_supervise(void)
{
    static const struct scenario table[] = {
        {"supervise_delays_double_up_to_their_cap", delays_double_up_to_their_cap},
        {"supervise_a_short_delay_grows_all_the_same", a_short_delay_grows_all_the_same},
        {"supervise_a_cap_below_the_delay_is_the_delay", a_cap_below_the_delay_is_the_delay},
        {"supervise_who_dies_together_does_not_start_together",
         who_dies_together_does_not_start_together},
        {"supervise_a_polite_end_is_not_hurried", a_polite_end_is_not_hurried},
        {"supervise_ready_for_long_enough_is_forgiven", ready_for_long_enough_is_forgiven},
        {"supervise_rules_decide_what_follows_an_end", rules_decide_what_follows_an_end},
        {"supervise_what_cannot_be_started_is_tried_again", what_cannot_be_started_is_tried_again},
        {"supervise_a_burst_parks", a_burst_parks},
        {"supervise_failures_far_apart_are_no_burst", failures_far_apart_are_no_burst},
        {"supervise_slow_units_share_their_starts", slow_units_share_their_starts},
        {"supervise_slow_ends_with_a_stable_run", slow_ends_with_a_stable_run},
        {"supervise_nothing_starts_beside_its_remains", nothing_starts_beside_its_remains},
        {"supervise_a_stop_ends_within_its_grace", a_stop_ends_within_its_grace},
        {"supervise_a_frozen_process_hears_term", a_frozen_process_hears_term},
        {"supervise_an_earlier_run_is_ended_before_anything_starts",
         an_earlier_run_is_ended_before_anything_starts},
        {"supervise_a_stop_before_the_first_start_holds", a_stop_before_the_first_start_holds},
        {"supervise_not_ready_in_time_is_a_failure", not_ready_in_time_is_a_failure},
        {"supervise_silent_for_too_long_is_a_failure", silent_for_too_long_is_a_failure},
        {"supervise_a_failure_under_never_is_the_end", a_failure_under_never_is_the_end},
        {"supervise_untested_units_are_not_judged", untested_units_are_not_judged},
        {"supervise_reports_count_for_their_process_only", reports_count_for_their_process_only},
        {"supervise_a_drain_ends_when_idle_or_over", a_drain_ends_when_idle_or_over},
        {"supervise_without_drain_time_a_drain_is_a_stop", without_drain_time_a_drain_is_a_stop},
        {"supervise_a_restart_drains_first", a_restart_drains_first},
        {"supervise_a_removed_unit_that_comes_back_is_started",
         a_removed_unit_that_comes_back_is_started},
        {"supervise_a_reload_leaves_stopped_units_stopped", a_reload_leaves_stopped_units_stopped},
        {"supervise_units_without_a_process_go_at_once", units_without_a_process_go_at_once},
        {"supervise_ports_are_kept_and_not_shared", ports_are_kept_and_not_shared},
        {"supervise_stop_all_gives_its_grace", stop_all_gives_its_grace},
        {"supervise_stop_all_in_a_hurry_gives_none", stop_all_in_a_hurry_gives_none},
        {"supervise_what_kill_does_not_end_is_given_up_in_the_end",
         what_kill_does_not_end_is_given_up_in_the_end},
        {"supervise_hurry_cuts_what_is_under_way", hurry_cuts_what_is_under_way},
        {"supervise_nothing_breaks_it", nothing_breaks_it},
        {NULL, NULL},
    };

    return table;
}
