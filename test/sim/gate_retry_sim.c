/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_retry_sim.c - scenarios of further attempts and of what traffic says about engines: what is
 * tried again and what is passed on, where, how often; what closes a door, who opens it, and that
 * neither a client that leaves nor another model's trouble does.
 */
#include "fleet/breaker.h"
#include "gate/control_priv.h"
#include "sim/gate_rig.h"

/* Engines "a" and "b" of model "m" on ports 8001 and 8002; one lane, so that "a" is asked first. */
static struct addr at_a, at_b;

static void begin_with(uint32_t slots_a, uint32_t slots_b)
{
    at_a = rig_at(8001);
    at_b = rig_at(8002);
    rig_begin(1);
    rig_remote("a", "http://127.0.0.1:8001", slots_a, MODELS(M("m"), M("n")));
    if (slots_b < UINT32_MAX)
        rig_remote("b", "http://127.0.0.1:8002", slots_b, MODELS(M("m")));
}

static void begin(void) { begin_with(0, 0); }

static void begin_alone(void) { begin_with(0, UINT32_MAX); }

static struct cell *cell_of(const char *name)
{
    struct member *m = member_by_name(rig.control, str_of(name));

    CHECK(m);
    return m->cell;
}

static enum cell_door door_of(const char *name)
{
    return (enum cell_door)atomic_load(&cell_of(name)->door);
}

static uint64_t attempts_at(const char *name) { return atomic_load(&cell_of(name)->requests); }

#define OTHER "{\"id\":\"c2\",\"model\":\"m\"}"
#define EXPECT_A EXPECT_STATUS(200), EXPECT_BODY(ANSWER)
#define EXPECT_B EXPECT_STATUS(200), EXPECT_BODY(OTHER)
#define GOOD_B REPEAT(0), EXPECT_CHAT_OR_END, REPLY_JSON(OTHER), AGAIN, DONE
#define SAYS(status_line)                                                                          \
    REPEAT(0), EXPECT_CHAT_OR_END, REPLY(status_line, "own words"), AGAIN, DONE

/* ---- what is tried again ---- */

static void retry_refused_connect(void)
{
    SCRIPT(b, GOOD_B);

    begin();
    ENGINE_START("b", &at_b, b);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_B, CHAT("m"), EXPECT_B, CHAT("m"), EXPECT_B, DONE);
    EXPECT_U64(attempts_at("a"), 1); /* its door is open after the first */
    EXPECT_U64(door_of("a"), CELL_DOOR_OPEN);
    EXPECT_U64(RIG_COUNT(retries[RETRY_INDEX_CONNECT]), 1);
    rig_end();
}

static void retry_broken_connection(void)
{
    SCRIPT(fin, EXPECT_CHAT, HANG_UP, DONE);
    SCRIPT(half, EXPECT_CHAT, SEND("HTTP/1.1 200 OK\r\ncont"), RESET, DONE);
    SCRIPT(garbage, EXPECT_CHAT, SEND("garbage\r\n\r\n"), EXPECT_CLOSED, DONE);
    SCRIPT(b, GOOD_B);
    const struct step *ways[] = {fin, half, garbage};

    begin();
    ENGINE_START("a", &at_a, ways[world_random(3)]);
    ENGINE_START("b", &at_b, b);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_B, DONE);
    EXPECT_U64(RIG_COUNT(retries[RETRY_INDEX_BROKEN]), 1);
    EXPECT_U64(door_of("a"), CELL_DOOR_CLOSED);
    rig_end();
}

/* A generation may have begun: it is sent again once, not twice. */
static void retry_broken_connection_once(void)
{
    SCRIPT(fin, EXPECT_CHAT, HANG_UP, DONE);
    struct addr at_c = rig_at(8003);

    begin();
    rig_remote("c", "http://127.0.0.1:8003", 0, MODELS(M("m")));
    ENGINE_START("a", &at_a, fin);
    ENGINE_START("b", &at_b, fin);
    ENGINE_START("c", &at_c, fin);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_FAULT(502, "bad_gateway"), DONE);
    EXPECT_U64(attempts_at("a") + attempts_at("b") + attempts_at("c"), 2);
    rig_end();
}

static void retry_statuses(void)
{
    SCRIPT(too_many, SAYS("429 Too Many Requests"));
    SCRIPT(bad, SAYS("502 Bad Gateway"));
    SCRIPT(away, SAYS("503 Service Unavailable"));
    SCRIPT(late, SAYS("504 Gateway Timeout"));
    SCRIPT(b, GOOD_B);
    const struct step *answers[] = {too_many, bad, away, late};

    begin();
    ENGINE_START("a", &at_a, answers[world_random(4)]);
    ENGINE_START("b", &at_b, b);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_B, DONE);
    EXPECT_U64(attempts_at("a"), 1);
    rig_end();
}

static void retry_not_500(void)
{
    SCRIPT(a, SAYS("500 Internal Server Error"));
    SCRIPT(b, GOOD_B);

    begin();
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, b);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_STATUS(500), EXPECT_BODY("own words"), DONE);
    EXPECT_U64(attempts_at("b"), 0);
    rig_end();
}

static void retry_as_configured(void)
{
    SCRIPT(a, SAYS("500 Internal Server Error"));
    SCRIPT(b, GOOD_B);

    begin();
    rig.conf.retry.mask = RETRY_500;
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, b);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_B, DONE);
    rig_end();
}

static void retry_no_attempt_but_the_first(void)
{
    begin();
    rig.conf.retry.attempts = 1;
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_FAULT(503, "upstream_refused"), DONE);
    rig_end();
}

/* Nobody is left who could: the last one's own words are what the client gets. */
static void retry_passes_the_last_answer_on(void)
{
    SCRIPT(a, SAYS("502 Bad Gateway"));
    SCRIPT(b, REPEAT(0), EXPECT_CHAT_OR_END, REPLY("503 Service Unavailable", "b's words"), AGAIN,
           DONE);

    begin();
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, b);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_STATUS(503), EXPECT_BODY("b's words"), DONE);
    EXPECT_U64(attempts_at("a"), 1);
    EXPECT_U64(attempts_at("b"), 1);
    rig_end();
}

static void retry_three_attempts(void)
{
    SCRIPT(a, SAYS("503 Service Unavailable"));
    struct addr at_c = rig_at(8003), at_d = rig_at(8004);

    begin();
    rig_remote("c", "http://127.0.0.1:8003", 0, MODELS(M("m")));
    rig_remote("d", "http://127.0.0.1:8004", 0, MODELS(M("m")));
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, a);
    ENGINE_START("c", &at_c, a);
    ENGINE_START("d", &at_d, a);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_STATUS(503), EXPECT_BODY("own words"), DONE);
    EXPECT_U64(attempts_at("a") + attempts_at("b") + attempts_at("c") + attempts_at("d"), 3);
    rig_end();
}

/* The next engine gets the whole request, with its own name for the model, exactly once. */
static void retry_sends_the_same_body(void)
{
    SCRIPT(a, EXPECT_REQUEST("POST " CHAT_PATH), EXPECT_BODY("{\"model\":\"m\",\"messages\":[]}"),
           HANG_UP, DONE);
    SCRIPT(b, EXPECT_REQUEST("POST " CHAT_PATH), EXPECT_BODY("{\"model\":\"m\",\"messages\":[]}"),
           REPLY_JSON(OTHER), DONE);

    begin();
    rig_alias("x", "m");
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, b);
    rig_start();
    RUN(1000, CHAT("x"), EXPECT_STATUS(200), EXPECT_BODY("{\"id\":\"c2\",\"model\":\"x\"}"), DONE);
    rig_end();
}

static void retry_streams_too(void)
{
    SCRIPT(a, EXPECT_CHAT, HANG_UP, DONE);
    SCRIPT(b, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("one") "data: [DONE]\n\n"), SEND("0\r\n\r\n"),
           DONE);

    begin();
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, b);
    rig_start();
    RUN(1000, CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_BODY(EVENT("one") "data: [DONE]\n\n"),
        DONE);
    rig_end();
}

/* ---- what is not ---- */

/* A reply that has begun is the reply, however short it was. */
static void retry_not_behind_a_head(void)
{
    SCRIPT(stream, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("one")), HANG_UP, DONE);
    SCRIPT(held, EXPECT_CHAT, SEND(JSON_HEAD "content-length: 100\r\n\r\n{\"id\""), HANG_UP, DONE);
    SCRIPT(b, GOOD_B);
    bool streams = world_chance(50);

    begin();
    ENGINE_START("a", &at_a, streams ? stream : held);
    ENGINE_START("b", &at_b, b);
    rig_start();
    if (streams)
        RUN(1000, CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_CUT, DONE);
    else
        RUN(1000, CHAT("m"), EXPECT_FAULT(502, "upstream_disconnected"), DONE);
    EXPECT_U64(attempts_at("b"), 0);
    rig_end();
}

static void retry_within_its_budget(void)
{
    SCRIPT(a, SAYS("503 Service Unavailable"));

    begin();
    rig.conf.breaker.model_failures = 0;
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, a);
    rig_start();
    for (unsigned i = 0; i < 40; i++)
        RUN(1000, CHAT("m"), EXPECT_STATUS(503), EXPECT_BODY("own words"), DONE);
    EXPECT_U64(attempts_at("a") + attempts_at("b"), 40 + 10);
    EXPECT_U64(RIG_COUNT(limit_retries), 30);
    world_run_ms(10000);
    RUN(1000, CHAT("m"), EXPECT_STATUS(503), DONE);
    EXPECT_U64(attempts_at("a") + attempts_at("b"), 40 + 10 + 2);
    rig_end();
}

/* ---- pauses ---- */

#define SAYS_LATER(seconds)                                                                        \
    SEND("HTTP/1.1 429 Too Many Requests\r\nretry-after: " seconds                                 \
         "\r\ncontent-length: 5\r\n\r\nlater")

static void retry_after_a_second(void)
{
    SCRIPT(first, EXPECT_CHAT, SAYS_LATER("1"), EXPECT_GONE, DONE);
    SCRIPT(then, EXPECT_CHAT, REPLY_CHAT, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, first, then);
    rig_start();
    RUN(2000, CHAT("m"), EXPECT_A, SINCE(999, 1100), DONE);
    EXPECT_U64(attempts_at("a"), 2);
    rig_end();
}

/* "0" asks for nothing: again at once, as often as attempts allow. */
static void retry_after_no_time(void)
{
    SCRIPT(first, EXPECT_CHAT, SAYS_LATER("0"), EXPECT_GONE, DONE);
    SCRIPT(then, EXPECT_CHAT, REPLY_CHAT, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, first, first, then);
    rig_start();
    RUN(2000, CHAT("m"), EXPECT_A, SINCE(0, 100), DONE);
    EXPECT_U64(attempts_at("a"), 3);
    rig_end();
}

static void retry_not_after_longer(void)
{
    SCRIPT(a, EXPECT_CHAT, SAYS_LATER("2"), EXPECT_GONE, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_STATUS(429), EXPECT_FIELD("retry-after", "2"), EXPECT_BODY("later"),
        DONE);
    rig_end();
}

static void retry_elsewhere_rather_than_wait(void)
{
    SCRIPT(a, EXPECT_CHAT, SAYS_LATER("1"), EXPECT_GONE, DONE);
    SCRIPT(b, GOOD_B);

    begin();
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, b);
    rig_start();
    RUN(500, CHAT("m"), EXPECT_B, DONE);
    rig_end();
}

static void retry_client_leaves_in_a_pause(void)
{
    SCRIPT(a, EXPECT_CHAT, SAYS_LATER("1"), EXPECT_GONE, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, a);
    rig_start();
    RUN(1000, CHAT("m"), PAUSE(500), HANG_UP, DONE);
    rig_wait_idle(200);
    EXPECT_U64(attempts_at("a"), 1);
    rig_end();
}

/* ---- the others are full ---- */

static void retry_waits_for_the_other(void)
{
    SCRIPT(a, SAYS("503 Service Unavailable"));
    SCRIPT(b, EXPECT_CHAT, PAUSE(2000), REPLY_JSON(OTHER), EXPECT_CHAT, REPLY_JSON(OTHER), DONE);
    SCRIPT(busy, CHAT("m"), EXPECT_B, DONE);

    begin_with(0, 1);
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, b);
    rig_start();
    client_start("busy", &rig.at, busy); /* a first, then b */
    world_run_ms(100);
    RUN(5000, CHAT("m"), EXPECT_B, SINCE(1800, 2200), DONE);
    rig_end();
}

/* ---- doors ---- */

/* Control's own connect, by which an open door becomes half open. */
static const struct step knock[] = {EXPECT_CLOSED, DONE};

static void breaker_opens_and_tries(void)
{
    SCRIPT(fin, EXPECT_CHAT, HANG_UP, DONE);
    SCRIPT(good, REPEAT(0), EXPECT_CHAT_OR_END, REPLY_CHAT, AGAIN, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, fin, fin, fin, knock, fin, knock, good);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_FAULT(502, "bad_gateway"), CHAT("m"),
        EXPECT_FAULT(502, "bad_gateway"), CHAT("m"), EXPECT_FAULT(502, "bad_gateway"), DONE);
    EXPECT_U64(door_of("a"), CELL_DOOR_OPEN);
    /* one waits for the trial and fails in it, the next one for twice as long */
    RUN(3000, CHAT("m"), MARK, EXPECT_FAULT(502, "bad_gateway"), SINCE(900, 1100), DONE);
    EXPECT_U64(door_of("a"), CELL_DOOR_OPEN);
    RUN(3000, CHAT("m"), MARK, EXPECT_A, SINCE(1900, 2100), DONE);
    EXPECT_U64(door_of("a"), CELL_DOOR_CLOSED);
    RUN(1000, CHAT("m"), EXPECT_A, DONE);
    rig_end();
}

/* All that wait come through when the one trial has gone well, and only then. */
static void breaker_has_one_trial(void)
{
    SCRIPT(fin, EXPECT_CHAT, HANG_UP, DONE);
    SCRIPT(slow, REPEAT(0), EXPECT_CHAT_OR_END, PAUSE(500), REPLY_CHAT, AGAIN, DONE);
    SCRIPT(waits, CHAT("m"), EXPECT_A, DONE);

    begin_alone();
    rig.conf.breaker.broken = 1;
    ENGINE_START("a", &at_a, fin, slow);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_FAULT(502, "bad_gateway"), DONE);
    for (unsigned i = 0; i < 5; i++)
        client_start("waits", &rig.at, waits);
    world_run_ms(1200);
    EXPECT_U64(door_of("a"), CELL_DOOR_TRIAL);
    EXPECT_U64(rig_in_flight(), 1);
    EXPECT_U64(rig_tickets(), 4);
    peers_run(3000);
    EXPECT_U64(door_of("a"), CELL_DOOR_CLOSED);
    rig_end();
}

/* A trial that takes its time: others may try meanwhile, one a second. */
static void breaker_slow_trial(void)
{
    SCRIPT(fin, EXPECT_CHAT, HANG_UP, DONE);
    SCRIPT(slow, REPEAT(0), EXPECT_CHAT_OR_END, PAUSE(60000), REPLY_CHAT, AGAIN, DONE);
    SCRIPT(waits, CHAT("m"), EXPECT_A, DONE);

    begin_alone();
    rig.conf.breaker.broken = 1;
    ENGINE_START("a", &at_a, fin, slow);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_FAULT(502, "bad_gateway"), DONE);
    for (unsigned i = 0; i < 4; i++)
        client_start("waits", &rig.at, waits);
    world_run_ms(1500);
    EXPECT_U64(rig_in_flight(), 1);
    world_run_ms(3000);
    EXPECT_U64(rig_in_flight(), 4);
    peers_run(70000);
    EXPECT_U64(door_of("a"), CELL_DOOR_CLOSED);
    rig_end();
}

static void breaker_trial_whose_client_leaves(void)
{
    SCRIPT(fin, EXPECT_CHAT, HANG_UP, DONE);
    SCRIPT(slow, EXPECT_CHAT, EXPECT_GONE, DONE);
    SCRIPT(good, REPEAT(0), EXPECT_CHAT_OR_END, REPLY_CHAT, AGAIN, DONE);
    SCRIPT(leaves, CHAT("m"), PAUSE(1500), HANG_UP, DONE);

    begin_alone();
    rig.conf.breaker.broken = 1;
    ENGINE_START("a", &at_a, fin, knock, slow, good);
    rig_start();
    RUN(1000, CHAT("m"), EXPECT_FAULT(502, "bad_gateway"), DONE);
    client_start("leaves", &rig.at, leaves);
    world_run_ms(100);
    RUN(5000, CHAT("m"), MARK, EXPECT_A, SINCE(1300, 1600), DONE);
    rig_end();
}

/* Five of them close two well-known gateways for 30 s. */
static void breaker_forgives_who_leaves(void)
{
    SCRIPT(slow, EXPECT_CHAT, EXPECT_GONE, DONE);
    SCRIPT(good, REPEAT(0), EXPECT_CHAT_OR_END, REPLY_CHAT, AGAIN, DONE);

    begin_alone();
    ENGINE_START("a", &at_a, slow, slow, slow, slow, slow, slow, good);
    rig_start();
    for (unsigned i = 0; i < 6; i++)
        RUN(1000, CHAT("m"), PAUSE(50), HANG_UP, DONE);
    rig_wait_idle(500);
    EXPECT_U64(door_of("a"), CELL_DOOR_CLOSED);
    EXPECT_U64(breaker_models_open(cell_of("a"), world_now_ms()), 0);
    EXPECT_U64(atomic_load(&cell_of("a")->errors), 0);
    RUN(200, CHAT("m"), EXPECT_A, DONE);
    rig_end();
}

/* Model "m" of "a" fails; model "n", which only "a" has, is served as if nothing was. */
static void breaker_one_model_closes_nothing_else(void)
{
    SCRIPT(a, REPEAT(0), EXPECT_REQUEST_OR_END("POST "), EXPECT_ANY_BODY_OR_END,
           REPLY("503 Service Unavailable", "own words"), AGAIN, DONE);
    SCRIPT(b, GOOD_B);

    begin();
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, b);
    rig_start();
    for (unsigned i = 0; i < 12; i++) {
        RUN(1000, CHAT("m"), EXPECT_B, DONE);
        world_run_ms(20);
    }
    EXPECT_U64(door_of("a"), CELL_DOOR_CLOSED);
    CHECK(attempts_at("a") <= 5);
    for (unsigned i = 0; i < 3; i++) /* asked all the same: nobody else has it */
        RUN(1000, CHAT("n"), EXPECT_STATUS(503), EXPECT_BODY("own words"), DONE);
    rig_end();
}

/* A long prompt is silent for as long as a hung model: no other model of the engine pays for it. */
static void breaker_timeouts_are_of_the_model(void)
{
    SCRIPT(silent, EXPECT_CHAT, EXPECT_GONE, DONE);
    SCRIPT(then, EXPECT_CHAT, REPLY_CHAT, DONE);

    begin_alone();
    rig.conf.limits.first_byte_ms = 200;
    ENGINE_START("a", &at_a, silent, silent, silent, silent, silent, then);
    rig_start();
    for (unsigned i = 0; i < 5; i++)
        RUN(1000, CHAT("m"), EXPECT_FAULT(504, "upstream_timeout"), DONE);
    EXPECT_U64(door_of("a"), CELL_DOOR_CLOSED);
    EXPECT_U64(breaker_models_open(cell_of("a"), world_now_ms()), 1);
    RUN(200, CHAT("m"), EXPECT_A, DONE);
    rig_end();
}

/* A fast failure does not make an engine the emptiest of all. */
static void breaker_fast_failures_get_less(void)
{
    SCRIPT(a, SAYS("500 Internal Server Error"));
    SCRIPT(b, REPEAT(0), EXPECT_CHAT_OR_END, PAUSE(400), REPLY_JSON(OTHER), AGAIN, DONE);
    SCRIPT(hasty, POST_WITH(CHAT_PATH, "connection: close\r\n", "{\"model\":\"m\"}"), EXPECT_GONE,
           DONE);

    begin();
    rig.conf.breaker.model_failures = 0;
    ENGINE_START("a", &at_a, a);
    ENGINE_START("b", &at_b, b);
    rig_start();
    for (unsigned i = 0; i < 20; i++) {
        client_start("hasty", &rig.at, hasty);
        world_run_ms(10);
    }
    peers_run(2000);
    CHECK(attempts_at("b") > attempts_at("a"));
    world_run_ms(3000);
    EXPECT_U64(cell_weighed(cell_of("a")), 0); /* forgiven */
    rig_end();
}

/* ---- taken back ---- */

static void retry_takes_back_from_the_hung(void)
{
    SCRIPT(hung, EXPECT_REQUEST_OR_END(""), EXPECT_GONE, DONE);
    SCRIPT(b, REPEAT(0), EXPECT_WORK_OR_END("POST " CHAT_PATH, "m"), EXPECT_ANY_BODY_OR_END,
           REPLY_JSON(OTHER), AGAIN, DONE);

    begin();
    rig.conf.probe.interval_ms = 2000;
    ENGINE_START("a", &at_a, hung);
    ENGINE_START("b", &at_b, b);
    rig_start();
    RUN(12000, CHAT("m"), MARK, EXPECT_B, SINCE(1000, 8500), DONE);
    EXPECT_U64(attempts_at("a"), 1);
    EXPECT_U64(RIG_COUNT(taken_back), 1);
    RUN(500, CHAT("m"), EXPECT_B, DONE);
    rig_end();
}

/* Who has nobody to turn to is left: the engine may answer yet. */
static void retry_leaves_where_nobody_else_is(void)
{
    SCRIPT(slow, EXPECT_CHAT, PAUSE(9000), REPLY_CHAT, DONE);
    SCRIPT(hung, EXPECT_REQUEST_OR_END(""), EXPECT_GONE, DONE);
    SCRIPT(waits, CHAT("m"), EXPECT_A, DONE);

    begin_alone();
    rig_start();
    ENGINE_START("a", &at_a, slow, hung);
    rig.conf.probe.interval_ms = 2000;
    client_start("client", &rig.at, waits);
    world_run_ms(100);
    CHECK(rig_reload());
    peers_run(12000);
    EXPECT_U64(RIG_COUNT(taken_back), 0);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_retry(void)
{
    static const struct scenario all[] = {
        ROW(retry_refused_connect) ROW(retry_broken_connection) ROW(retry_broken_connection_once)
            ROW(retry_statuses) ROW(retry_not_500) ROW(retry_as_configured) ROW(
                retry_no_attempt_but_the_first) ROW(retry_passes_the_last_answer_on)
                ROW(retry_three_attempts) ROW(retry_sends_the_same_body) ROW(retry_streams_too) ROW(
                    retry_not_behind_a_head) ROW(retry_within_its_budget) ROW(retry_after_a_second)
                    ROW(retry_after_no_time) ROW(retry_not_after_longer) ROW(
                        retry_elsewhere_rather_than_wait) ROW(retry_client_leaves_in_a_pause)
                        ROW(retry_waits_for_the_other) ROW(breaker_opens_and_tries)
                            ROW(breaker_has_one_trial) ROW(breaker_slow_trial) ROW(
                                breaker_trial_whose_client_leaves) ROW(breaker_forgives_who_leaves)
                                ROW(breaker_one_model_closes_nothing_else)
                                    ROW(breaker_timeouts_are_of_the_model)
                                        ROW(breaker_fast_failures_get_less)
                                            ROW(retry_takes_back_from_the_hung)
                                                ROW(retry_leaves_where_nobody_else_is){NULL, NULL},
    };

    return all;
}
