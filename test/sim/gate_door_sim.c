/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_door_sim.c - scenarios of control's half of the breaker: when it knocks at an engine whose
 * door is open, what a knock costs, that who comes back begins slowly, and what those who waited in
 * vain are told.
 */
#include "gate/control_priv.h"
#include "sim/gate_rig.h"

static struct addr at;

/* Remote "a" of model "m" at port 8001. Nobody listens there yet. */
static void begin(uint32_t interval_ms)
{
    at = rig_at(8001);
    rig_begin(1 + (unsigned)world_random(2));
    rig.conf.probe.interval_ms = interval_ms;
    rig_remote("a", "http://127.0.0.1:8001", 0, MODELS(M("m")));
}

static struct member *member(const char *name)
{
    struct member *m = member_by_name(rig.control, str_of(name));

    CHECK(m);
    return m;
}

static bool is_at(void *ctx) { return atomic_load(&member("a")->cell->door) == *(uint8_t *)ctx; }

/* How long that took. */
static uint64_t until_door(enum cell_door door, uint64_t ms)
{
    uint8_t wanted = (uint8_t)door;
    uint64_t began = world_now_ms();

    if (!world_run_until(is_at, &wanted, ms))
        sim_fail(__FILE__, __LINE__, "the door is %u, not %d",
                 atomic_load(&member("a")->cell->door), (int)door);
    return world_now_ms() - began;
}

#define SERVER                                                                                     \
    REPEAT(0), EXPECT_WORK_OR_END("POST " CHAT_PATH " HTTP/1.1", "m"), EXPECT_ANY_BODY_OR_END,     \
        REPLY_CHAT, AGAIN, DONE

/* Who is refused waits for the engine's return; this one does not. */
static void open_by_refusal(void)
{
    SCRIPT(client, CHAT("m"), PAUSE(40), HANG_UP, DONE);

    client_start("client", &rig.at, client);
    until_door(CELL_DOOR_OPEN, 50);
    world_run_ms(40);
    peers_run(100);
}

/* ---- when it knocks ---- */

/* One second after the door opened control connects, sends nothing, and one request may try. */
static void door_knock(void)
{
    SCRIPT(engine, SERVER);
    struct engine *e;

    begin(0);
    rig_start();
    open_by_refusal();
    e = ENGINE_START("engine", &at, engine);
    world_run_ms(800);
    EXPECT_U64(engine_accepted(e), 0);
    EXPECT_WITHIN(until_door(CELL_DOOR_HALF_OPEN, 1000), 0, 250);
    world_run_ms(20);
    EXPECT_U64(engine_accepted(e), 1);
    EXPECT_U64(RIG_COUNT(attempts), 1);
    RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    until_door(CELL_DOOR_CLOSED, 50);
    EXPECT_U64(member("a")->openings, 0);
    rig_end();
}

/* Nobody answers: after 1, 2, 4, 8 s; since the second nobody waits for it. */
static void door_knocks_space_out(void)
{
    SCRIPT(engine, SERVER);
    const struct client_counts *counts;
    uint64_t before;

    begin(0);
    rig_start();
    counts = client_stats(rig.control->client);
    before = metrics_counter_read(&counts->connects);
    open_by_refusal();
    world_run_ms(16500);
    EXPECT_U64(metrics_counter_read(&counts->connects) - before, 4);
    EXPECT_U64(member("a")->openings, 5);
    ENGINE_START("engine", &at, engine);
    RUN(1000, CHAT("m"), MARK, EXPECT_FAULT(503, "no_healthy_service"), SINCE(0, 50), DONE);
    EXPECT_WITHIN(until_door(CELL_DOOR_HALF_OPEN, 20000), 13000, 15500);
    RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    EXPECT_U64(metrics_counter_read(&counts->connects) - before, 5);
    rig_end();
}

/* Whose tests say that it is well again need not wait for the next knock. */
static void door_opened_by_a_test(void)
{
    SCRIPT(engine, SERVER);

    begin(1000);
    rig_start();
    open_by_refusal();
    world_run_ms(8000); /* the next knock is at 15 s */
    EXPECT_U64(atomic_load(&member("a")->cell->verdict[CELL_PROBED]), CELL_BAD);
    ENGINE_START("engine", &at, engine);
    EXPECT_WITHIN(until_door(CELL_DOOR_HALF_OPEN, 7000), 0, 1500);
    RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    until_door(CELL_DOOR_CLOSED, 50);
    rig_end();
}

/* Connects succeed and every request breaks: each trial costs one request, twice as long after the
 * one before. */
static void door_trials_that_break(void)
{
    SCRIPT(engine, EXPECT_REQUEST_OR_END("POST"), EXPECT_ANY_BODY_OR_END, RESET, DONE);
    SCRIPT(client, REPEAT(0), CHAT("m"), EXPECT_HONEST, AGAIN, DONE);

    begin(0);
    ENGINE_START("engine", &at, engine);
    rig_start();
    client_start("client", &rig.at, client);
    world_run_ms(16000); /* after three that broke, at 1, 3, 7 and 15 s */
    EXPECT_WITHIN(RIG_COUNT(attempts), 6, 8);
    rig_end_hard();
    peers_run(1000);
}

/* The member goes, or everything ends, in the middle of a knock. */
static void door_knock_cut_short(void)
{
    begin(0);
    ENGINE_START("backlog", &at, NULL);
    rig.conf.remote[0].url = STR("http://127.0.0.1:8002");
    rig.conf.remote[0].at.port = 8002;
    rig_start();
    open_by_refusal();
    world_run_ms(world_between(900, 1100));
    if (world_chance(50)) {
        rig.conf.remotes.n = 0;
        EXPECT(rig_reload());
        world_run_ms(2000);
    }
    rig_end();
}

/* ---- slow start ---- */

/* Who returns is taken for busier than it is, for a second. */
static void door_slow_start(void)
{
    SCRIPT(engine, SERVER);

    begin(500);
    rig_start();
    world_run_ms(3000);
    EXPECT_U64(atomic_load(&member("a")->cell->verdict[CELL_PROBED]), CELL_BAD);
    EXPECT_U64(cell_weighed(member("a")->cell), 0);
    ENGINE_START("engine", &at, engine);
    while (atomic_load(&member("a")->cell->verdict[CELL_PROBED]) != CELL_GOOD)
        world_run_ms(1);
    EXPECT_U64(cell_weighed(member("a")->cell), 8);
    EXPECT_U64(cell_load(member("a")->cell), 0);
    world_run_ms(600);
    EXPECT_U64(cell_weighed(member("a")->cell), 2);
    world_run_ms(600);
    EXPECT_U64(cell_weighed(member("a")->cell), 0);
    EXPECT(!deadline_armed(&rig.control->halve));
    rig_end();
}

/* ---- in vain ---- */

/* The wait is over: full engines and engines that are not ready are told apart. */
static void door_waited_for_nobody(void)
{
    SCRIPT(engine, SLOW_CHATTER(1800));
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, DONE);

    begin(0);
    rig.conf.limits.queue_ms = 500;
    rig.conf.remote[0].slots = 1;
    rig_unit("u", 0, MODELS(M("n")));
    ENGINE_START("engine", &at, engine);
    rig_start();
    rig_unit_is(1, 1, UNIT_LOADING, 27001);
    client_start("busy", &rig.at, busy);
    world_run_ms(50);
    RUN(4000, CHAT("m"), EXPECT_FAULT(503, "overloaded"), EXPECT_FIELD("retry-after", "5"),
        CHAT("n"), MARK, EXPECT_STATUS(503), SINCE(490, 600),
        EXPECT_BODY_HAS("\"message\":\"No engine of model 'n' was ready within 500 ms; engine 'u': "
                        "its process is not ready, or not there\""),
        EXPECT_FIELD("retry-after", "5"), CHAT("n"), EXPECT_FAULT(503, "no_healthy_service"), DONE);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_door(void)
{
    static const struct scenario all[] = {
        ROW(door_knock) ROW(door_knocks_space_out) ROW(door_opened_by_a_test)
            ROW(door_trials_that_break) ROW(door_knock_cut_short) ROW(door_slow_start)
                ROW(door_waited_for_nobody){NULL, NULL},
    };

    return all;
}
