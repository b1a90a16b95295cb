/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_wait_sim.c - scenarios of slots and tickets: who waits, for what, for how long, in which
 * order, and that whatever happens every slot and every place in the queue is given back.
 */
#include "sim/gate_rig.h"

static char order[32];
static unsigned order_n;

/* In a script: this one is served now. */
static void note(struct peer *p, void *letter)
{
    (void)p;
    CHECK(order_n + 1 < sizeof order);
    order[order_n++] = *(char *)letter;
    order[order_n] = '\0';
}
static char A[] = "a", B[] = "b", C[] = "c", D[] = "d";

static unsigned working, most_working;

static void enter(struct peer *p, void *arg)
{
    (void)p;
    (void)arg;
    working++;
    most_working = working > most_working ? working : most_working;
}

static void leave(struct peer *p, void *arg)
{
    (void)p;
    (void)arg;
    working--;
}

/* Engine "a" of model "m" with so many slots on port 8001. */
static struct engine *begin(unsigned lanes, uint32_t slots, const struct step *script)
{
    struct addr at = rig_at(8001);

    order_n = working = most_working = 0;
    rig_begin(lanes);
    rig_remote("a", "http://127.0.0.1:8001", slots, MODELS(M("m")));
    return script ? ENGINE_START("engine", &at, script) : NULL;
}

static unsigned one_or_two(void) { return 1 + (unsigned)world_random(2); }

static void start(const char *name, const struct step *script)
{
    client_start(name, &rig.at, script);
    world_run_ms(20);
}

/* ---- the queue ---- */

static void wait_fifo(void)
{
    SCRIPT(engine, SLOW_CHATTER(300));
    SCRIPT(a, CHAT("m"), EXPECT_ANSWER, DO(note, A), DONE);
    SCRIPT(b, CHAT("m"), EXPECT_ANSWER, DO(note, B), DONE);
    SCRIPT(c, CHAT("m"), EXPECT_ANSWER, DO(note, C), DONE);
    SCRIPT(d, CHAT("m"), EXPECT_ANSWER, DO(note, D), DONE);

    begin(one_or_two(), 1, engine);
    rig_start();
    start("a", a);
    start("b", b);
    start("c", c);
    start("d", d);
    EXPECT_U64(rig_tickets(), 3);
    peers_run(5000);
    EXPECT(str_eq(str_of(order), STR("abcd")));
    EXPECT_U64(RIG_COUNT(tickets), 3);
    rig_end();
}

/* A newcomer does not overtake those who wait, though a slot is free at that moment. */
static void wait_no_overtaking(void)
{
    SCRIPT(engine, REPEAT(0), EXPECT_CHAT_OR_END, DO(enter, NULL), PAUSE(50), DO(leave, NULL),
           REPLY_CHAT, AGAIN, DONE);
    SCRIPT(busy, REPEAT(8), CHAT("m"), EXPECT_ANSWER, AGAIN, DONE);

    begin(one_or_two(), 2, engine);
    rig_start();
    for (unsigned i = 0; i < 6; i++)
        client_start("busy", &rig.at, busy);
    peers_run(10000);
    EXPECT(most_working <= 2);
    EXPECT_U64(RIG_COUNT(attempts), 48);
    rig_end();
}

static void wait_queue_ms(void)
{
    SCRIPT(engine, SLOW_CHATTER(3000));
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, DONE);

    begin(one_or_two(), 1, engine);
    rig.conf.limits.queue_ms = 1000;
    rig_start();
    start("busy", busy);
    RUN(9000, CHAT("m"), MARK, EXPECT_FAULT(503, "overloaded"), SINCE(990, 1100),
        EXPECT_FIELD("retry-after", "5"), DONE);
    rig_end();
}

static void wait_queue_length(void)
{
    SCRIPT(engine, SLOW_CHATTER(400));
    SCRIPT(waits, CHAT("m"), EXPECT_ANSWER, DONE);
    SCRIPT(refused, CHAT("m"), MARK, EXPECT_FAULT(503, "overloaded"), SINCE(0, 100),
           EXPECT_FIELD("retry-after", "5"), DONE);

    begin(one_or_two(), 1, engine);
    rig.conf.limits.queue_length = 2;
    rig_start();
    for (unsigned i = 0; i < 3; i++)
        start("waits", waits);
    start("refused", refused);
    start("refused", refused);
    EXPECT_U64(rig_tickets(), 2);
    peers_run(9000);
    rig_end();
}

/* Who is refused is told the place it would have had, and when that would have been served. */
static void wait_position_is_told(void)
{
    SCRIPT(engine, SLOW_CHATTER(300));
    SCRIPT(waits, CHAT("m"), EXPECT_ANSWER, DONE);
    SCRIPT(refused, CHAT("m"), MARK, EXPECT_FAULT(503, "overloaded"), SINCE(0, 100),
           EXPECT_FIELD("retry-after", "3"), EXPECT_FIELD("x-inferd-queue-position", "7"), DONE);

    begin(one_or_two(), 1, engine);
    rig.conf.limits.queue_length = 6;
    rig_start();
    for (unsigned i = 0; i < 7; i++)
        start("waits", waits);
    EXPECT_U64(rig_tickets(), 6);
    world_run_ms(1260); /* four of them were granted meanwhile */
    EXPECT_U64(rig_tickets(), 2);
    for (unsigned i = 0; i < 4; i++)
        client_start("waits", &rig.at, waits);
    world_run_ms(20);
    EXPECT_U64(rig_tickets(), 6);
    client_start("refused", &rig.at, refused);
    peers_run(9000);
    EXPECT_U64(RIG_COUNT(limit_queue_length), 1);
    rig_end();
}

/* Whose turn would come after queue_ms is refused at once, the first in line never; who waits gets
 * its slot in time. */
static void wait_too_late_is_refused_at_once(void)
{
    SCRIPT(engine, SLOW_CHATTER(300));
    SCRIPT(waits, CHAT("m"), EXPECT_ANSWER, DONE);
    SCRIPT(refused, CHAT("m"), MARK, EXPECT_FAULT(503, "overloaded"), SINCE(0, 100),
           EXPECT_FIELD("x-inferd-queue-position", "5"), DONE);

    begin(one_or_two(), 1, engine);
    rig.conf.limits.queue_ms = 1500;
    rig_start();
    for (unsigned i = 0; i < 6; i++)
        start("waits", waits);
    world_run_ms(1290); /* four grants are known; one waits */
    EXPECT_U64(rig_tickets(), 1);
    for (unsigned i = 0; i < 3; i++)
        client_start("waits", &rig.at, waits);
    world_run_ms(20);
    EXPECT_U64(rig_tickets(), 4);
    client_start("refused", &rig.at, refused);
    peers_run(9000);
    EXPECT_U64(RIG_COUNT(limit_queue_ms), 1);
    rig_end();
}

static void wait_queue_of_none(void)
{
    SCRIPT(engine, SLOW_CHATTER(400));
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, DONE);

    begin(one_or_two(), 1, engine);
    rig.conf.limits.queue_length = 0;
    rig_start();
    start("busy", busy);
    RUN(9000, CHAT("m"), MARK, EXPECT_FAULT(503, "overloaded"), SINCE(0, 100), DONE);
    rig_end();
}

/* An engine that queues by itself is never waited for. */
static void wait_without_slots(void)
{
    SCRIPT(engine, SLOW_CHATTER(300));
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, DONE);

    begin(one_or_two(), 0, engine);
    rig_start();
    for (unsigned i = 0; i < 10; i++)
        client_start("busy", &rig.at, busy);
    world_run_ms(200);
    EXPECT_U64(rig_in_flight(), 10);
    peers_run(2000);
    EXPECT_U64(RIG_COUNT(tickets), 0);
    rig_end();
}

/* ---- those who leave ---- */

static void wait_hang_up(void)
{
    SCRIPT(engine, SLOW_CHATTER(500));
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, DONE);
    SCRIPT(leaves, CHAT("m"), PAUSE(100), HANG_UP, DONE);

    begin(one_or_two(), 1, engine);
    rig_start();
    start("busy", busy);
    start("leaves", leaves);
    start("busy", busy);
    EXPECT_U64(rig_tickets(), 2);
    world_run_ms(200);
    EXPECT_U64(rig_tickets(), 1);
    peers_run(9000);
    EXPECT_U64(RIG_COUNT(attempts), 2);
    rig_end();
}

/* The grant is on its way when the request goes: the slot is handed back to the next. */
static void wait_grant_meets_gone_request(void)
{
    SCRIPT(engine, SLOW_CHATTER(50));
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, DONE);
    SCRIPT(leaves, CHAT("m"), PAUSE(49), HANG_UP, DONE);

    begin(2, 1, engine);
    rig_start();
    for (unsigned i = 0; i < 6; i++) {
        client_start("busy", &rig.at, busy);
        client_start("leaves", &rig.at, leaves);
        client_start("leaves", &rig.at, leaves);
        client_start("busy", &rig.at, busy);
        world_run_ms(world_between(95, 105));
    }
    peers_run(20000);
    rig_end();
}

/* The same for queue_ms: the refusal and the grant cross. */
static void wait_grant_meets_late_request(void)
{
    SCRIPT(engine, SLOW_CHATTER(100));
    SCRIPT(either, CHAT("m"), EXPECT_RAW("HTTP/1.1 "), PAUSE(300), HANG_UP, DONE);

    begin(2, 1, engine);
    rig.conf.limits.queue_ms = 100;
    rig_start();
    for (unsigned i = 0; i < 5; i++) {
        client_start("either", &rig.at, either);
        world_run_ms(world_between(0, 2));
        client_start("either", &rig.at, either);
        world_run_ms(500);
    }
    peers_run(20000);
    rig_end();
}

/* A storm of everything. */
static void wait_storm(void)
{
    SCRIPT(engine, SLOW_CHATTER(7));
    SCRIPT(other, SLOW_CHATTER(11));
    SCRIPT(stays, REPEAT(4), CHAT("m"), EXPECT_ANSWER, PAUSE(3), CHAT("n"), EXPECT_ANSWER, AGAIN,
           DONE);
    SCRIPT(leaves, CHAT("m"), PAUSE(9), RESET, DONE);
    SCRIPT(flees, CHAT("n"), PAUSE(14), HANG_UP, DONE);
    struct addr at = rig_at(8002);

    begin(2, 2, engine);
    rig_remote("b", "http://127.0.0.1:8002", 1, MODELS(M("m"), M("n")));
    ENGINE_START("other", &at, other);
    rig_start();
    for (unsigned i = 0; i < 6; i++) {
        client_start("stays", &rig.at, stays);
        client_start("leaves", &rig.at, leaves);
        client_start("flees", &rig.at, flees);
        client_start("leaves", &rig.at, leaves);
        world_run_ms(world_between(0, 20));
    }
    peers_run(60000);
    rig_end();
}

/* ---- engines that are on their way, that go, that change ---- */

static void begin_unit(unsigned lanes, uint32_t slots)
{
    order_n = working = most_working = 0;
    rig_begin(lanes);
    rig_unit("u", slots, MODELS(M("m")));
}

static void wait_for_coming_engine(void)
{
    SCRIPT(waits, CHAT("m"), EXPECT_ANSWER, DONE);
    SCRIPT(engine, CHATTER);
    struct addr at = rig_at(27001);

    begin_unit(one_or_two(), 0);
    rig_start();
    start("before it was started", waits);
    rig_unit_is(1, 1, UNIT_STARTING, 27001);
    world_run_ms(100);
    start("while it starts", waits);
    EXPECT_U64(rig_tickets(), 2);
    ENGINE_START("engine", &at, engine);
    rig_unit_is(1, 1, UNIT_READY, 27001);
    peers_run(1000);
    rig_end();
}

static void wait_in_vain(void)
{
    SCRIPT(waits, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"),
           EXPECT_FIELD("retry-after", "5"), DONE);

    begin_unit(one_or_two(), 4);
    rig_start();
    start("waits", waits);
    rig_unit_is(1, 1, UNIT_BACKOFF, 27001);
    world_run_ms(100);
    start("waits", waits);
    EXPECT_U64(rig_tickets(), 2);
    rig_unit_is(1, 1, UNIT_PARKED, 27001);
    peers_run(1000);
    RUN(1000, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"), DONE);
    rig_end();
}

/* Its process dies and comes back elsewhere: what waits is served there. */
static void wait_over_a_restart(void)
{
    SCRIPT(first, EXPECT_CHAT, PAUSE(200), RESET, DONE);
    SCRIPT(second, CHATTER);
    SCRIPT(broken, CHAT("m"), EXPECT_FAULT(502, "bad_gateway"), DONE);
    SCRIPT(waits, CHAT("m"), EXPECT_ANSWER, DONE);
    struct addr one = rig_at(27001), two = rig_at(27002);
    struct engine *e;

    begin_unit(one_or_two(), 1);
    rig_start();
    e = ENGINE_START("first", &one, first);
    rig_unit_is(1, 1, UNIT_READY, 27001);
    world_run_ms(20);
    start("broken", broken);
    start("waits", waits);
    start("waits", waits);
    engine_stop(e);
    rig_unit_is(1, 1, UNIT_BACKOFF, 27001);
    world_run_ms(2000);
    EXPECT_U64(rig_tickets(), 2);
    rig_unit_is(1, 2, UNIT_STARTING, 27002);
    world_run_ms(100);
    ENGINE_START("second", &two, second);
    rig_unit_is(1, 2, UNIT_READY, 27002);
    peers_run(3000);
    rig_end();
}

static void wait_for_engine_that_is_taken_out(void)
{
    SCRIPT(engine, SLOW_CHATTER(2000));
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, DONE);
    SCRIPT(waits, CHAT("m"), EXPECT_FAULT(404, "model_not_found"), DONE);

    begin(one_or_two(), 1, engine);
    rig_start();
    start("busy", busy);
    start("waits", waits);
    rig.conf.remotes.n = 0;
    EXPECT(rig_reload());
    world_run_ms(100);
    EXPECT_U64(rig_tickets(), 0);
    RUN(9000, CHAT("m"), EXPECT_FAULT(404, "model_not_found"), DONE);
    rig_end();
}

/* Slots are raised, an engine is added: what waits moves at once, under an alias too. */
static void wait_reload_brings_slots(void)
{
    SCRIPT(engine, SLOW_CHATTER(2000));
    SCRIPT(busy, CHAT("x"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"model\":\"x\""), SINCE(0, 2600),
           DONE);

    begin(one_or_two(), 1, engine);
    rig_alias("x", "m");
    rig_start();
    for (unsigned i = 0; i < 3; i++)
        start("busy", busy);
    EXPECT_U64(rig_tickets(), 2);
    if (world_chance(50)) {
        rig.conf.remote[0].slots = 3;
    } else {
        rig_remote("b", "http://127.0.0.1:8001", 2, MODELS(M("m")));
    }
    EXPECT(rig_reload());
    world_run_ms(100);
    EXPECT_U64(rig_tickets(), 0);
    peers_run(9000);
    rig_end();
}

/* The picture in which a request began is gone when its turn comes. */
static void wait_alias_outlives_its_snapshot(void)
{
    SCRIPT(engine, SLOW_CHATTER(500));
    SCRIPT(busy, CHAT("x"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"model\":\"x\""), DONE);

    begin(one_or_two(), 1, engine);
    rig_alias("x", "m");
    rig_start();
    start("busy", busy);
    start("busy", busy);
    start("busy", busy);
    EXPECT(rig_reload());
    world_run_ms(100);
    EXPECT(rig_reload());
    peers_run(9000);
    rig_end();
}

/* A granted engine is taken out before the grant arrives: the request looks again. */
static void wait_grant_meets_reload(void)
{
    SCRIPT(engine, SLOW_CHATTER(60));
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, DONE);
    struct addr at = rig_at(8002);

    begin(2, 1, engine);
    rig_remote("b", "http://127.0.0.1:8002", 1, MODELS(M("m")));
    ENGINE_START("b", &at, engine);
    rig_start();
    for (unsigned i = 0; i < 10; i++) {
        for (unsigned k = 0; k < 3; k++)
            client_start("busy", &rig.at, busy);
        world_run_ms(world_between(40, 70));
        rig.conf.remotes.n = 2 - i % 2; /* b comes and goes */
        EXPECT(rig_reload());
    }
    peers_run(20000);
    rig_end();
}

/* An engine that fails gives its slot to the next. */
static void wait_failure_frees_the_slot(void)
{
    SCRIPT(engine, EXPECT_CHAT, PAUSE(50), HANG_UP, DONE);
    SCRIPT(good, CHATTER);
    SCRIPT(fails, CHAT("m"), EXPECT_FAULT(502, "bad_gateway"), DONE);
    SCRIPT(waits, CHAT("m"), EXPECT_ANSWER, DONE);
    struct addr at = rig_at(8001);

    begin(one_or_two(), 1, NULL);
    ENGINE_START("engine", &at, engine, good);
    rig_start();
    start("fails", fails);
    start("waits", waits);
    peers_run(3000);
    rig_end();
}

/* Least outstanding first, weights among equals. */
static void wait_balance(void)
{
    SCRIPT(engine, SLOW_CHATTER(1000));
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, DONE);
    struct addr at = rig_at(8002);
    struct engine *a, *b;

    a = begin(1, 0, engine);
    rig_remote("b", "http://127.0.0.1:8002", 0, MODELS(M("m")))->weight = 3;
    b = ENGINE_START("b", &at, engine);
    rig_start();
    for (unsigned i = 0; i < 8; i++)
        start("busy", busy);
    EXPECT_U64(engine_accepted(a), 2);
    EXPECT_U64(engine_accepted(b), 6);
    peers_run(9000);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_wait(void)
{
    static const struct scenario all[] = {
        ROW(wait_fifo) ROW(wait_no_overtaking) ROW(wait_queue_ms) ROW(wait_queue_length)
            ROW(wait_position_is_told) ROW(wait_too_late_is_refused_at_once) ROW(wait_queue_of_none)
                ROW(wait_without_slots) ROW(wait_hang_up) ROW(wait_grant_meets_gone_request)
                    ROW(wait_grant_meets_late_request) ROW(wait_storm) ROW(wait_for_coming_engine)
                        ROW(wait_in_vain) ROW(wait_over_a_restart)
                            ROW(wait_for_engine_that_is_taken_out) ROW(wait_reload_brings_slots)
                                ROW(wait_alias_outlives_its_snapshot) ROW(wait_grant_meets_reload)
                                    ROW(wait_failure_frees_the_slot) ROW(wait_balance){NULL, NULL},
    };

    return all;
}
