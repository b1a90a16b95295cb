/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_round_sim.c - scenarios of an engine's health under the router's rules: rounds of tests of
 * babysitters, what their answers mean, how soon a bad one is asked again, and the breaker beside
 * them, neither of which speaks for the other.
 */
#include <stdio.h>

#include "gate/control_priv.h"
#include "sim/gate_rig.h"

static struct addr engine_at, babysitter_at;

#define ASKED EXPECT_REQUEST_OR_END("GET /health HTTP/1.1")
#define SAYS(status_line, body) ASKED, REPLY(status_line, body)
#define WELL                                                                                       \
    ASKED, REPLY_JSON("{\"infinilm_server_ready\":true,\"infinilm_server_running\":true,"          \
                      "\"status\":\"healthy\"}")
#define UNREADY ASKED, REPLY_JSON("{\"infinilm_server_ready\":false,\"status\":\"starting\"}")
#define ILL SAYS("503 Service Unavailable", "{}")
#define WELL_FOR_EVER REPEAT(0), WELL, AGAIN, DONE

enum { INTERVAL_MS = 5000, TIMEOUT_MS = 2000 };

static void begin(void)
{
    engine_at = rig_at(8001);
    babysitter_at = rig_at(8002);
    rig_begin(1 + (unsigned)world_random(2));
    rig.gate.rules = &gate_rules_router;
    rig.conf.probe = (struct probe_conf){
        .interval_ms = 0, .timeout_ms = TIMEOUT_MS, .failures = 1, .successes = 1};
    rig.conf.limits.queue_ms = 0;
}

static struct member *member(const char *name)
{
    struct member *m = member_by_name(rig.control, str_of(name));

    CHECK(m);
    return m;
}

static void aim(const char *name, const char *url)
{
    const char *why = NULL;

    if (probe_aim(member(name), str_of(url), &why) < 0)
        sim_fail(__FILE__, __LINE__, "%s: %s", url, why);
}

/* The rounds begin now. */
static void begin_rounds(void)
{
    rig.conf.probe.interval_ms = INTERVAL_MS;
    EXPECT(rig_reload());
}

static void add_a(void)
{
    begin();
    rig_remote("a", "http://127.0.0.1:8001", 0, MODELS(M("m")));
}

/* Engine "a" of model "m" at port 8001, its babysitter at 8002. */
static void start_a(void)
{
    rig_start();
    aim("a", "http://127.0.0.1:8002/health");
    begin_rounds();
}

static bool is_tested(void *ctx) { return member("a")->tests >= *(uint64_t *)ctx; }

/* How long until "a" has had so many tests. */
static uint64_t until_tests(uint64_t n, uint64_t ms)
{
    uint64_t began = world_now_ms();

    if (!world_run_until(is_tested, &n, ms))
        sim_fail(__FILE__, __LINE__, "%llu tests, not %llu", (unsigned long long)member("a")->tests,
                 (unsigned long long)n);
    return world_now_ms() - began;
}

static bool round_is(void *under_way) { return rig.control->round.under_way == *(bool *)under_way; }

static void until_round(bool under_way, uint64_t ms)
{
    if (!world_run_until(round_is, &under_way, ms))
        sim_fail(__FILE__, __LINE__, "the round is%s under way", under_way ? " not" : "");
}

/* ---- rounds ---- */

/* The first at once, then each interval from start to start, however long the answers take. */
static void round_from_start_to_start(void)
{
    SCRIPT(slow, REPEAT(0), ASKED, PAUSE(700), REPLY("200 OK", ""), AGAIN, DONE);
    SCRIPT(quick, WELL_FOR_EVER);
    struct addr other = rig_at(8004);
    uint64_t began;

    add_a();
    rig_remote("b", "http://127.0.0.1:8003", 0, MODELS(M("m")));
    ENGINE_START("slow", &babysitter_at, slow);
    ENGINE_START("quick", &other, quick);
    rig_start();
    aim("a", "http://127.0.0.1:8002/health");
    aim("b", "http://127.0.0.1:8004/health");
    world_run_ms(100);
    EXPECT_U64(member("a")->tests, 0); /* under way since it was aimed, and counted by the round */
    begin_rounds();
    world_run_ms(750);
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    EXPECT_U64(rig_word("b"), CELL_GOOD);
    EXPECT(!rig.control->round.under_way && rig.control->round.reported);
    began = rig.control->round.began_ms;
    for (unsigned i = 0; i < 5; i++) {
        until_round(true, INTERVAL_MS + 100);
        EXPECT_WITHIN(rig.control->round.began_ms - began, INTERVAL_MS, INTERVAL_MS + 5);
        began = rig.control->round.began_ms;
        world_run_ms(20);
        EXPECT_WITHIN(member("a")->began_ms - began, 0, 5); /* side by side */
        EXPECT_WITHIN(member("b")->began_ms - began, 0, 5);
        until_round(false, 1000);
    }
    EXPECT_U64(member("a")->tests, member("b")->tests);
    rig_end_hard();
}

/* Nobody there: it is a round, and there will be more. */
static void round_of_nobody(void)
{
    begin();
    rig_start();
    begin_rounds();
    EXPECT(rig.control->round.reported);
    EXPECT_U64(rig.control->round.of, 0);
    until_round(false, 10);
    EXPECT(deadline_armed(&rig.control->round.next));
    rig_end();
}

/* Tests that take longer than the interval: the next round begins when this one is over. */
static void round_never_overlaps(void)
{
    SCRIPT(silent, ASKED, EXPECT_GONE, DONE);
    uint64_t began, after = 0;

    add_a();
    rig.conf.probe.timeout_ms = 8000;
    ENGINE_START("silent", &babysitter_at, silent);
    start_a();
    began = rig.control->round.began_ms;
    for (unsigned i = 0; i < 3; i++) {
        world_run_ms(7900);
        EXPECT(rig.control->round.under_way);
        EXPECT_U64(rig.control->round.began_ms, began);
        until_round(false, 300);
        after = world_now_ms();
        until_round(true, 100);
        EXPECT_WITHIN(rig.control->round.began_ms - after, 0, 5);
        began = rig.control->round.began_ms;
    }
    rig_end_hard();
}

/* A thousand black holes and one engine that is well: whether they are known for what they are or
 * not, a round takes two time-outs at most, and nobody notices. */
static void round_of_black_holes(void)
{
    static char names[RIG_REMOTES][16], urls[RIG_REMOTES][40];
    SCRIPT(engine, CHATTER);
    SCRIPT(well, WELL_FOR_EVER);
    struct addr hole = rig_at(9000);
    const unsigned holes = 1000;

    add_a();
    for (unsigned i = 0; i < holes; i++) {
        (void)snprintf(names[i], sizeof names[i], "e%u", i);
        (void)snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%u", 10000 + i);
        rig_remote(names[i], urls[i], 0, MODELS(M("hole")));
    }
    ENGINE_START("hole", &hole, NULL);
    ENGINE_START("engine", &engine_at, engine);
    ENGINE_START("babysitter", &babysitter_at, well);
    rig_start();
    for (unsigned i = 0; i < holes; i++)
        aim(names[i], "http://127.0.0.1:9000/health");
    aim("a", "http://127.0.0.1:8002/health");
    begin_rounds();
    for (unsigned i = 0; i < 4; i++) {
        uint64_t began = world_now_ms();

        EXPECT_WITHIN(until_tests(i + 1, INTERVAL_MS), 0, INTERVAL_MS);
        RUN(3000, MARK, CHAT("m"), EXPECT_ANSWER, GET("/v1/models"), EXPECT_STATUS(200),
            EXPECT_BODY_HAS("\"m\""), SINCE(0, 100), DONE);
        EXPECT_U64(rig_word("a"), CELL_GOOD);
        until_round(false, 2 * TIMEOUT_MS + 200);
        EXPECT_WITHIN(world_now_ms() - began, 0, 2 * TIMEOUT_MS + 200);
        EXPECT_U64(rig_word("e0"), CELL_COMING);
        EXPECT_U64(rig_word(names[holes - 1]), CELL_COMING);
        until_round(true, INTERVAL_MS);
    }
    rig_end_hard();
}

/* ---- what an answer means ---- */

/* Each answer is given at a port of its own, once in each round. */
struct answer {
    const char *what;
    enum cell_verdict word;
    struct step script[8];
};

static void round_answers(void)
{
    static const struct answer all[] = {
        {"200", CELL_GOOD, {REPEAT(0), SAYS("200 OK", ""), AGAIN, DONE}},
        {"204", CELL_GOOD, {REPEAT(0), SAYS("204 x", ""), AGAIN, DONE}},
        {"299", CELL_GOOD, {REPEAT(0), SAYS("299 x", "fine"), AGAIN, DONE}},
        {"301", CELL_COMING, {REPEAT(0), SAYS("301 x", ""), AGAIN, DONE}},
        {"404", CELL_COMING, {REPEAT(0), SAYS("404 x", ""), AGAIN, DONE}},
        {"429", CELL_COMING, {REPEAT(0), SAYS("429 x", ""), AGAIN, DONE}},
        {"500", CELL_COMING, {REPEAT(0), SAYS("500 x", ""), AGAIN, DONE}},
        {"503", CELL_COMING, {REPEAT(0), ILL, AGAIN, DONE}},
        {"ready", CELL_GOOD, {WELL_FOR_EVER}},
        {"unready", CELL_COMING, {REPEAT(0), UNREADY, AGAIN, DONE}},
        {"a null",
         CELL_GOOD,
         {REPEAT(0), SAYS("200 x", "{\"infinilm_server_ready\":null}"), AGAIN, DONE}},
        {"no JSON",
         CELL_GOOD,
         {REPEAT(0), SAYS("200 x", "{\"infinilm_server_ready\":false"), AGAIN, DONE}},
        {"no HTTP", CELL_COMING, {ASKED, SEND("220 mail.example ESMTP\r\n"), EXPECT_GONE, DONE}},
        {"an end", CELL_COMING, {ASKED, HANG_UP, DONE}},
        {"unannounced",
         CELL_GOOD,
         {ASKED, SEND("HTTP/1.1 200 OK\r\n\r\n{\"infinilm_server_ready\":false}"), HANG_UP, DONE}},
        {"chunked",
         CELL_GOOD,
         {ASKED,
          SEND("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1f\r\n"
               "{\"infinilm_server_ready\":false}\r\n"),
          EXPECT_GONE, DONE}},
        {"unfinished",
         CELL_GOOD,
         {ASKED,
          SEND("HTTP/1.1 200 OK\r\ncontent-length: 32\r\n\r\n{\"infinilm_server_ready\":false}"),
          EXPECT_GONE, DONE}},
        {"one more",
         CELL_GOOD,
         {ASKED,
          SEND("HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n{\"infinilm_server_ready\":false}"),
          PAD(65506), EXPECT_GONE, DONE}},
        {"64 KiB",
         CELL_COMING,
         {ASKED,
          SEND("HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n{\"infinilm_server_ready\":false}"),
          PAD(65505), EXPECT_GONE, DONE}},
    };
    static char urls[ARRAY_LEN(all)][48], aims[ARRAY_LEN(all)][48];
    /* in other worlds the longest may take longer than it has */
    unsigned n = ARRAY_LEN(all) - !world_plain();

    begin();
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        struct addr at = rig_at((uint16_t)(9001 + 2 * i));

        (void)snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%u", 9000 + 2 * i);
        (void)snprintf(aims[i], sizeof aims[i], "http://127.0.0.1:%u/health", 9001 + 2 * i);
        rig_remote(all[i].what, urls[i], 0, MODELS(M("m")));
        ENGINE_START(all[i].what, &at, all[i].script);
    }
    rig_start();
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        aim(all[i].what, aims[i]);
    begin_rounds();
    until_round(false, FETCH_SHORT_MS + 500); /* the unfinished one is not waited for */
    for (unsigned i = 0; i < n; i++)
        if (rig_word(all[i].what) != all[i].word)
            sim_fail(__FILE__, __LINE__, "%s: %d", all[i].what, (int)rig_word(all[i].what));
    rig_end_hard();
}

/* Its own URL is asked as it stands, and "none" is not asked. */
static void round_own_urls(void)
{
    SCRIPT(engine, CHATTER);
    SCRIPT(health, REPEAT(0), EXPECT_REQUEST_OR_END("GET /live/z HTTP/1.1"), REPLY("200 OK", ""),
           AGAIN, DONE);
    struct addr at = rig_at(9000);

    add_a();
    rig_remote("b", "http://127.0.0.1:8003", 0, MODELS(M("m")));
    rig.conf.remote[1].probe_path = STR("none");
    ENGINE_START("engine", &engine_at, engine);
    ENGINE_START("health", &at, health);
    rig_start();
    aim("a", "http://127.0.0.1:9000/live/z");
    aim("b", "none");
    begin_rounds();
    world_run_ms(2 * INTERVAL_MS);
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    EXPECT_U64(rig_word("b"), CELL_NO_WORD);
    EXPECT_U64(member("b")->tests, 0);
    EXPECT_U64(rig.control->round.of, 1);
    RUN(1000, REPEAT(4), CHAT("m"), EXPECT_STATUS(200), EXPECT_BODY_HAS(""), AGAIN, DONE);
    rig_end_hard();
}

/* Errors add up, of tests and of attempts, and one good test forgives them. */
static void round_errors_and_times(void)
{
    SCRIPT(babysitter, ILL, ILL, ASKED, PAUSE(300), REPLY("200 OK", ""), REPEAT(0), WELL, AGAIN,
           DONE);
    SCRIPT(angry, EXPECT_REQUEST("POST"), EXPECT_ANY_BODY_OR_END, REPLY("500 x", ""), SHUT, DONE);
    SCRIPT(broken, EXPECT_REQUEST_OR_END("POST"), EXPECT_ANY_BODY_OR_END, RESET, DONE);

    add_a();
    ENGINE_START("babysitter", &babysitter_at, babysitter);
    ENGINE_START("engine", &engine_at, angry, broken);
    start_a();
    until_tests(1, 200);
    EXPECT_U64(atomic_load(&member("a")->cell->errors), 1);
    until_tests(2, 1100);
    EXPECT_U64(atomic_load(&member("a")->cell->errors), 2);
    until_tests(3, 2500);
    EXPECT_U64(atomic_load(&member("a")->cell->errors), 0);
    EXPECT_WITHIN(atomic_load(&member("a")->cell->response_us), 300000, 350000);
    EXPECT(atomic_load(&member("a")->cell->checked_s) > 0);
    RUN(500, CHAT("m"), EXPECT_STATUS(500), DONE); /* an answer */
    EXPECT_U64(atomic_load(&member("a")->cell->errors), 0);
    RUN(500, CHAT("m"), EXPECT_HONEST, DONE);
    EXPECT_U64(atomic_load(&member("a")->cell->errors), 1);
    until_round(true, INTERVAL_MS);
    until_round(false, 200);
    EXPECT_U64(atomic_load(&member("a")->cell->errors), 0);
    rig_end_hard();
}

/* ---- bad ones ---- */

/* After 1, 2, 4 s and then each interval: the rounds are among them. */
static void round_bad_is_asked_sooner(void)
{
    SCRIPT(ill, REPEAT(0), ILL, AGAIN, DONE);
    static const uint64_t at[] = {0, 1000, 3000, 7000, 15000, 30000, 60000, 90000};
    uint64_t began;

    add_a();
    ENGINE_START("ill", &babysitter_at, ill);
    rig_start();
    aim("a", "http://127.0.0.1:8002/health");
    rig.conf.probe.interval_ms = 30000;
    EXPECT(rig_reload());
    rig_until_word("a", CELL_COMING, 100);
    began = world_now_ms();
    for (unsigned i = 1; i < ARRAY_LEN(at); i++) {
        until_tests(i + 1, 40000);
        EXPECT_WITHIN(world_now_ms() - began, at[i] - 50, at[i] + 150);
    }
    rig_end_hard();
}

/* Out at the first failure, in again with the first answer. */
static void round_one_is_enough(void)
{
    SCRIPT(babysitter, WELL, UNREADY, UNREADY, UNREADY, REPEAT(0), WELL, AGAIN, DONE);
    SCRIPT(engine, CHATTER);

    add_a();
    ENGINE_START("babysitter", &babysitter_at, babysitter);
    ENGINE_START("engine", &engine_at, engine);
    start_a();
    rig_until_word("a", CELL_GOOD, 200);
    RUN(500, CHAT("m"), EXPECT_ANSWER, DONE);
    EXPECT_WITHIN(rig_until_word("a", CELL_COMING, INTERVAL_MS + 100), INTERVAL_MS - 800,
                  INTERVAL_MS + 50);
    RUN(500, MARK, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"), SINCE(0, 100), DONE);
    EXPECT_WITHIN(rig_until_word("a", CELL_GOOD, 8000), 2500,
                  7100);                            /* asked again after 1, 2, 4 s */
    EXPECT_U64(cell_weighed(member("a")->cell), 0); /* no slow start */
    RUN(500, CHAT("m"), EXPECT_ANSWER, DONE);
    rig_end_hard();
}

/* Whoever says that it is not ready still works off what it has. */
static void round_leaves_requests_alone(void)
{
    SCRIPT(babysitter, WELL, REPEAT(0), ILL, AGAIN, DONE);
    SCRIPT(engine, EXPECT_CHAT, PAUSE(8000), REPLY_CHAT, DONE);
    SCRIPT(other, CHATTER);
    struct addr second = rig_at(8003);

    add_a();
    ENGINE_START("babysitter", &babysitter_at, babysitter);
    ENGINE_START("engine", &engine_at, engine);
    start_a();
    rig_until_word("a", CELL_GOOD, 200);
    SCRIPT(client, CHAT("m"), MARK, EXPECT_ANSWER, SINCE(7900, 8200), DONE);
    client_start("client", &rig.at, client);
    world_run_ms(100);
    ENGINE_START("other", &second, other);
    rig_remote("b", "http://127.0.0.1:8003", 0, MODELS(M("m")));
    rig.conf.remote[1].probe_path = STR("none");
    EXPECT(rig_reload());
    rig_until_word("a", CELL_COMING, INTERVAL_MS + 100);
    peers_run(9000);
    EXPECT_U64(RIG_COUNT(attempts), 1);
    rig_end_hard();
}

/* Requests that may wait do, for any engine of the model. */
static void round_waits_for_bad_ones(void)
{
    SCRIPT(babysitter, SAYS("404 x", ""), SAYS("404 x", ""), REPEAT(0), WELL, AGAIN, DONE);
    SCRIPT(engine, CHATTER);

    add_a();
    rig.conf.limits.queue_ms = 10000;
    ENGINE_START("babysitter", &babysitter_at, babysitter);
    ENGINE_START("engine", &engine_at, engine);
    start_a();
    rig_until_word("a", CELL_COMING, 200);
    RUN(6000, MARK, CHAT("m"), EXPECT_ANSWER, SINCE(2500, 3500), DONE);
    rig_end_hard();
}

/* ---- the breaker ---- */

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

/* A dead engine whose babysitter says that all is well: one failed connect, then nothing before
 * control has been there itself, after 1, 2, 4 s and so on, 30 s at most. What tests say does not
 * close the door, nor does a reload. */
static void round_dead_engine_behind_a_living_babysitter(void)
{
    static const uint64_t knocks_at[] = {1000, 3000, 7000, 15000, 31000, 61000, 91000};
    SCRIPT(babysitter, WELL_FOR_EVER);
    SCRIPT(engine, CHATTER);
    const struct client_counts *counts;
    uint64_t knocks, opened;

    add_a();
    rig_remote("b", "http://127.0.0.1:8003", 0, MODELS(M("m")));
    rig.conf.remote[1].probe_path = STR("none");
    ENGINE_START("babysitter", &babysitter_at, babysitter);
    {
        struct addr second = rig_at(8003);

        ENGINE_START("b", &second, engine);
    }
    start_a();
    counts = client_stats(rig.control->client);
    rig_until_word("a", CELL_GOOD, 200);
    opened = world_now_ms();
    RUN(900, REPEAT(20), CHAT("m"), EXPECT_ANSWER, AGAIN, DONE);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_OPEN);
    EXPECT_U64(atomic_load(&member("a")->cell->errors), 1); /* one failed attempt */
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    EXPECT(rig_reload());
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_OPEN);
    knocks = metrics_counter_read(&counts->connect_failures);
    for (unsigned i = 0; i < ARRAY_LEN(knocks_at); i++) {
        world_run_ms(opened + knocks_at[i] - 50 - world_now_ms());
        EXPECT_U64(metrics_counter_read(&counts->connect_failures) - knocks, i);
        world_run_ms(200);
        EXPECT_U64(metrics_counter_read(&counts->connect_failures) - knocks, i + 1);
    }
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    EXPECT_U64(atomic_load(&member("a")->cell->errors), 0); /* knocks are not counted */
    EXPECT_U64(cell_says(member("a")->cell, CELL_TRAFFIC), CELL_COMING);
    ENGINE_START("engine", &engine_at, engine);
    EXPECT_WITHIN(until_door(CELL_DOOR_HALF_OPEN, 31000), 0, 30500);
    RUN(2000, REPEAT(20), CHAT("m"), EXPECT_ANSWER, AGAIN, DONE);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_CLOSED);
    EXPECT_U64(member("a")->openings, 0);
    rig_end_hard();
}

/* A trial that fails opens the door for twice as long, up to 30 s, though connects succeed. */
static void round_trials_that_break(void)
{
    SCRIPT(engine, EXPECT_REQUEST_OR_END("POST"), EXPECT_ANY_BODY_OR_END, RESET, DONE);
    static const uint64_t pauses[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};

    add_a();
    ENGINE_START("engine", &engine_at, engine);
    rig_start();
    RUN(1000, REPEAT(2), CHAT("m"), EXPECT_HONEST, AGAIN, DONE);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_CLOSED);
    RUN(1000, CHAT("m"), EXPECT_HONEST, DONE); /* the third in a row */
    for (unsigned i = 0; i < ARRAY_LEN(pauses); i++) {
        EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_OPEN);
        EXPECT_WITHIN(until_door(CELL_DOOR_HALF_OPEN, 31000), pauses[i] - 100, pauses[i] + 100);
        RUN(1000, CHAT("m"), EXPECT_HONEST, DONE);
    }
    EXPECT_U64(RIG_COUNT(attempts), 3 + ARRAY_LEN(pauses));
    rig_end_hard();
}

/* Only failures in a row open the door: a whole reply between them is a new beginning. */
static void round_whole_replies_forgive(void)
{
    SCRIPT(breaks, EXPECT_REQUEST_OR_END("POST"), EXPECT_ANY_BODY_OR_END, RESET, DONE);
    SCRIPT(answers, EXPECT_CHAT_OR_END, REPLY_CHAT, HANG_UP, DONE);

    add_a();
    rig.conf.retry.mask = RETRY_CONNECT; /* each request one attempt */
    ENGINE_START("engine", &engine_at, breaks, breaks, answers, breaks, breaks, answers, breaks);
    rig_start();
    for (unsigned i = 0; i < 2; i++) {
        RUN(1000, REPEAT(2), CHAT("m"), EXPECT_HONEST, AGAIN, DONE);
        EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_CLOSED);
        RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    }
    RUN(1000, REPEAT(2), CHAT("m"), EXPECT_HONEST, AGAIN, DONE);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_CLOSED);
    RUN(1000, CHAT("m"), EXPECT_HONEST, DONE); /* the third in a row */
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_OPEN);
    rig_end_hard();
}

/* No head in time counts against the engine, whichever model was asked for; answers do not. */
static void round_timeouts_open(void)
{
    SCRIPT(silent, EXPECT_REQUEST_OR_END("POST"), EXPECT_ANY_BODY_OR_END, EXPECT_GONE, DONE);
    SCRIPT(angry, REPEAT(4), EXPECT_REQUEST_OR_END("POST"), EXPECT_ANY_BODY_OR_END,
           REPLY("500 x", "x"), EXPECT_REQUEST_OR_END("POST"), EXPECT_ANY_BODY_OR_END,
           REPLY("429 x", "x"), EXPECT_REQUEST_OR_END("POST"), EXPECT_ANY_BODY_OR_END,
           REPLY("503 x", "x"), AGAIN, DONE);
    static struct str both[] = {M("m"), M("n")};

    begin();
    rig_remote("a", "http://127.0.0.1:8001", 0, (struct str_list){both, 2});
    rig.conf.limits.first_byte_ms = 500;
    rig.conf.retry.mask = RETRY_CONNECT | RETRY_BROKEN;
    rig.conf.retry.budget_percent = 0;
    ENGINE_START("engine", &engine_at, angry, silent);
    rig_start();
    RUN(9000, REPEAT(4), CHAT("m"), EXPECT_STATUS(500), EXPECT_BODY_HAS(""), CHAT("m"),
        EXPECT_STATUS(429), EXPECT_BODY_HAS(""), CHAT("n"), EXPECT_STATUS(503), EXPECT_BODY_HAS(""),
        AGAIN, DONE);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_CLOSED);
    EXPECT_U64(atomic_load(&member("a")->cell->troubles), 0);
    EXPECT_U64(atomic_load(&member("a")->cell->errors), 0);
    world_run_ms(200);
    RUN(3000, CHAT("m"), EXPECT_FAULT(504, "upstream_timeout"), CHAT("n"),
        EXPECT_FAULT(504, "upstream_timeout"), DONE);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_CLOSED);
    RUN(3000, CHAT("m"), EXPECT_FAULT(504, "upstream_timeout"), DONE);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_OPEN);
    rig_end_hard();
}

/* Behind the half-open door one request tries, for as long as it takes up to 30 s. */
static void round_one_trial(void)
{
    SCRIPT(engine, REPEAT(0), EXPECT_CHAT_OR_END, PAUSE(20000), REPLY_CHAT, AGAIN, DONE);
    SCRIPT(one, CHAT("m"), MARK, EXPECT_ANSWER, SINCE(19900, 20300), DONE);

    add_a();
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_HONEST, DONE);
    ENGINE_START("engine", &engine_at, engine);
    until_door(CELL_DOOR_HALF_OPEN, 2000);
    client_start("one", &rig.at, one);
    until_door(CELL_DOOR_TRIAL, 100);
    for (unsigned i = 0; i < 9; i++) {
        SCRIPT(other, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"), DONE);

        client_start("other", &rig.at, other);
        world_run_ms(2000);
    }
    EXPECT_U64(RIG_COUNT(attempts), 2);
    peers_run(5000);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_CLOSED);
    rig_end_hard();
}

/* A trial of which nothing is heard is not the last one for ever. */
static void round_trial_lapses(void)
{
    SCRIPT(silent, EXPECT_REQUEST_OR_END("POST"), EXPECT_ANY_BODY_OR_END, EXPECT_GONE, DONE);
    SCRIPT(engine, CHATTER);
    SCRIPT(one, CHAT("m"), PAUSE(60000), HANG_UP, DONE);

    add_a();
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_HONEST, DONE);
    ENGINE_START("engine", &engine_at, silent, silent, engine); /* the first is control's own */
    until_door(CELL_DOOR_HALF_OPEN, 2000);
    client_start("one", &rig.at, one);
    until_door(CELL_DOOR_TRIAL, 100);
    EXPECT_WITHIN(until_door(CELL_DOOR_HALF_OPEN, 40000), 29000, 31500);
    {
        SCRIPT(other, CHAT("m"), EXPECT_ANSWER, DONE);

        client_start("other", &rig.at, other);
        until_door(CELL_DOOR_CLOSED, 200);
    }
    peers_run(60000);
    rig_end_hard();
}

/* Its host has gone without a word, and lanes still hold connections to it: who is sent there is
 * served elsewhere after one connect timeout, and nobody else is sent there. */
static void round_host_vanishes(void)
{
    SCRIPT(babysitter, WELL_FOR_EVER);
    SCRIPT(engine, CHATTER);
    SCRIPT(client, CHAT("m"), MARK, EXPECT_ANSWER, SINCE(0, 5300), DONE);
    struct addr second = rig_at(8003);
    struct engine *gone[2];

    add_a();
    rig_remote("b", "http://127.0.0.1:8003", 0, MODELS(M("m")));
    rig.conf.remote[1].probe_path = STR("none");
    gone[0] = ENGINE_START("babysitter", &babysitter_at, babysitter);
    gone[1] = ENGINE_START("engine", &engine_at, engine);
    ENGINE_START("second", &second, engine);
    start_a();
    rig_until_word("a", CELL_GOOD, 200);
    RUN(2000, REPEAT(20), CHAT("m"), EXPECT_ANSWER, AGAIN, DONE);
    wire_route(&babysitter_at, WIRE_BLACKHOLE);
    wire_route(&engine_at, WIRE_BLACKHOLE);
    for (unsigned i = 0; i < 2; i++)
        engine_kill(gone[i]);
    for (unsigned i = 0; i < 8; i++)
        client_start("client", &rig.at, client);
    world_run_ms(4900);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_CLOSED);
    peers_run(500);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_OPEN);
    RUN(1000, REPEAT(20), MARK, CHAT("m"), EXPECT_ANSWER, SINCE(0, 100), AGAIN, DONE);
    rig_until_word("a", CELL_COMING, INTERVAL_MS + TIMEOUT_MS);
    RUN(1000, REPEAT(20), MARK, CHAT("m"), EXPECT_ANSWER, SINCE(0, 100), AGAIN, DONE);
    EXPECT(RIG_COUNT(attempts) <= 88);
    rig_end_hard();
}

/* When tests find it well again, control is there at once: it does not wait for the next knock. */
static void round_return_is_tried_at_once(void)
{
    SCRIPT(babysitter, WELL_FOR_EVER);
    SCRIPT(engine, CHATTER);

    add_a();
    start_a(); /* nobody there */
    rig_until_word("a", CELL_COMING, 200);
    RUN(1000, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"), DONE);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_CLOSED);
    atomic_store(&member("a")->cell->door, CELL_DOOR_OPEN); /* by a connect before */
    member("a")->openings = 5;
    door_moved(rig.control, member("a")->id);
    world_run_ms(9000);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_OPEN);
    ENGINE_START("engine", &engine_at, engine);
    ENGINE_START("babysitter", &babysitter_at, babysitter);
    EXPECT_WITHIN(rig_until_word("a", CELL_GOOD, INTERVAL_MS + 100), 0, INTERVAL_MS + 100);
    EXPECT_WITHIN(until_door(CELL_DOOR_HALF_OPEN, 500), 0, 50);
    RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    until_door(CELL_DOOR_CLOSED, 50);
    rig_end_hard();
}

/* Requests that are served say nothing about what tests say, nor the other way round. */
static void round_words_are_apart(void)
{
    SCRIPT(babysitter, WELL, REPEAT(0), ILL, AGAIN, DONE);
    SCRIPT(engine, REPEAT(0), EXPECT_CHAT_OR_END, PAUSE(6000), REPLY_CHAT, AGAIN, DONE);
    SCRIPT(client, CHAT("m"), EXPECT_ANSWER, DONE);

    add_a();
    ENGINE_START("babysitter", &babysitter_at, babysitter);
    ENGINE_START("engine", &engine_at, engine);
    start_a();
    rig_until_word("a", CELL_GOOD, 200);
    world_run_ms(1000);
    client_start("client", &rig.at, client);
    peers_run(7000); /* served meanwhile, and the tests say bad */
    EXPECT_U64(rig_word("a"), CELL_COMING);
    EXPECT_U64(atomic_load(&member("a")->cell->door), CELL_DOOR_CLOSED);
    RUN(100, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"), DONE);
    rig_end_hard();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_round(void)
{
    static const struct scenario all[] = {
        ROW(round_from_start_to_start) ROW(round_of_nobody) ROW(round_never_overlaps) ROW(
            round_of_black_holes) ROW(round_answers) ROW(round_own_urls) ROW(round_errors_and_times)
            ROW(round_bad_is_asked_sooner) ROW(round_one_is_enough) ROW(round_leaves_requests_alone)
                ROW(round_waits_for_bad_ones) ROW(round_dead_engine_behind_a_living_babysitter)
                    ROW(round_trials_that_break) ROW(round_whole_replies_forgive)
                        ROW(round_timeouts_open) ROW(round_one_trial) ROW(round_trial_lapses)
                            ROW(round_return_is_tried_at_once) ROW(round_host_vanishes)
                                ROW(round_words_are_apart){NULL, NULL},
    };

    return all;
}
