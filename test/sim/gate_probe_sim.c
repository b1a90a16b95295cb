/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_probe_sim.c - scenarios of the tests of engines: what ejects one, what brings it back, how
 * soon, and that no engine's silence is felt by another.
 */
#include <stdio.h>

#include "gate/control_priv.h"
#include "sim/gate_rig.h"

static struct addr at;

#define NO_MODELS ((struct str_list){NULL, 0})
#define ASKED EXPECT_REQUEST_OR_END("GET /health HTTP/1.1")
#define HEALTH(status_line) ASKED, REPLY(status_line, "x")
#define FINE HEALTH("200 OK")
#define ILL HEALTH("500 Internal Server Error")
#define LOADING HEALTH("503 Service Unavailable")
#define LIST(model) REPLY_JSON("{\"object\":\"list\",\"data\":[{\"id\":\"" model "\"}]}")
#define HUNG                                                                                       \
    {                                                                                              \
        EXPECT_REQUEST_OR_END("GET /"), EXPECT_GONE, DONE                                          \
    }

static void begin(void)
{
    at = rig_at(8001);
    rig_begin(1 + (unsigned)world_random(2));
    rig.conf.probe.interval_ms = 2000;
}

/* Remote "a" of model "m" at port 8001. */
static void begin_with_a(void)
{
    begin();
    rig_remote("a", "http://127.0.0.1:8001", 0, MODELS(M("m")));
}

/* Remotes e0, e1 and so on, at ports from 9000 on. */
static void begin_many(unsigned n, const struct step *script, struct str model)
{
    static char names[RIG_REMOTES][16], urls[RIG_REMOTES][40];

    for (unsigned i = 0; i < n; i++) {
        struct addr one = rig_at((uint16_t)(9000 + i));

        (void)snprintf(names[i], sizeof names[i], "e%u", i);
        (void)snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%u", 9000 + i);
        rig_remote(names[i], urls[i], 0, MODELS(model));
        ENGINE_START("one of many", &one, script);
    }
}

static struct member *member(const char *name)
{
    struct member *m = member_by_name(rig.control, str_of(name));

    CHECK(m);
    return m;
}

/* ---- the word ---- */

static void probe_never_asked_counts_as_good(void)
{
    SCRIPT(engine, CHATTER);

    begin_with_a();
    rig.conf.remote[0].probe_path = STR("none");
    ENGINE_START("engine", &at, engine);
    rig_start();
    world_run_ms(20000);
    EXPECT_U64(rig_word("a"), CELL_NO_WORD);
    EXPECT_U64(member("a")->tests, 0);
    RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    rig_end();
}

/* Two failures and an answer are nothing; the third in a row ejects; one answer brings nothing
 * back, the second in a row does. */
static void probe_three_eject_two_return(void)
{
    SCRIPT(engine, FINE, ILL, ILL, FINE, ILL, ILL, ILL, FINE, ILL, FINE, FINE, REPEAT(0), FINE,
           AGAIN, DONE);

    begin_with_a();
    ENGINE_START("engine", &at, engine);
    rig_start();
    rig_until_word("a", CELL_BAD, 20000);
    EXPECT_U64(member("a")->tests, 7);
    EXPECT_U64(member("a")->health.failures, 3);
    RUN(1000, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"), DONE);
    rig_until_word("a", CELL_GOOD, 20000);
    EXPECT_U64(member("a")->tests, 11);
    EXPECT_U64(member("a")->ejections, 1);
    EXPECT_U64(member("a")->tests_failed, 6);
    world_run_ms(10000);
    EXPECT_U64(member("a")->ejections, 1);
    rig_end();
}

/* Its answers alternate: doubtful, and never out; once out, it does not come back so. */
static void probe_flapping(void)
{
    SCRIPT(engine, REPEAT(20), ILL, ILL, FINE, AGAIN, ILL, ILL, ILL, REPEAT(0), FINE, ILL, AGAIN,
           DONE);

    begin_with_a();
    ENGINE_START("engine", &at, engine);
    rig_start();
    rig_until_word("a", CELL_BAD, 130000);
    EXPECT_U64(member("a")->tests, 63);
    world_run_ms(60000);
    EXPECT_U64(rig_word("a"), CELL_BAD);
    EXPECT(member("a")->tests > 100);
    rig_end();
}

/* Nobody listens there; then somebody does. */
static void probe_refused(void)
{
    SCRIPT(engine, REPEAT(0), EXPECT_WORK_OR_END("POST " CHAT_PATH " HTTP/1.1", "m"),
           EXPECT_ANY_BODY_OR_END, REPLY_CHAT, AGAIN, DONE);

    begin_with_a();
    rig_start();
    EXPECT_WITHIN(rig_until_word("a", CELL_BAD, 10000), 1500, 2200);
    RUN(1000, CHAT("m"), MARK, EXPECT_FAULT(503, "no_healthy_service"), SINCE(0, 100), DONE);
    ENGINE_START("engine", &at, engine);
    EXPECT_WITHIN(rig_until_word("a", CELL_GOOD, 10000), 900, 2300);
    RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    rig_end();
}

/* Who says 503 is there and not ready: requests wait, as for a unit that starts. */
static void probe_loading(void)
{
    SCRIPT(engine, REPEAT(8), LOADING, AGAIN, REPEAT(0), FINE, AGAIN, DONE);
    SCRIPT(chats, REPEAT(0), EXPECT_WORK_OR_END("POST " CHAT_PATH " HTTP/1.1", "m"),
           EXPECT_ANY_BODY_OR_END, REPLY_CHAT, AGAIN, DONE);

    begin_with_a();
    ENGINE_START("engine", &at, engine, chats);
    rig_start();
    rig_until_word("a", CELL_COMING, 10000);
    RUN(15000, CHAT("m"), MARK, EXPECT_ANSWER, SINCE(3000, 9000), DONE);
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    rig_end();
}

/* The word follows the last failure while it is out. */
static void probe_bad_then_loading(void)
{
    SCRIPT(engine, REPEAT(0), LOADING, AGAIN, DONE);

    begin_with_a();
    rig_start();
    rig_until_word("a", CELL_BAD, 10000);
    ENGINE_START("engine", &at, engine);
    rig_until_word("a", CELL_COMING, 1200);
    EXPECT_U64(member("a")->ejections, 1);
    rig_end();
}

/* ---- what counts as an answer ---- */

static void probe_answer_below_500(void)
{
    SCRIPT(engine, REPEAT(0), HEALTH("401 Unauthorized"), HEALTH("302 Found"), HEALTH("204 x"),
           HEALTH("400 Bad Request"), AGAIN, DONE);

    begin_with_a();
    ENGINE_START("engine", &at, engine);
    rig_start();
    world_run_ms(20000);
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    EXPECT_U64(member("a")->tests_failed, 0);
    rig_end();
}

/* The first test without an answer asks the second path, later ones that alone. */
static void probe_without_health(void)
{
    SCRIPT(engine, HEALTH("404 Not Found"), REPEAT(0),
           EXPECT_REQUEST_OR_END("GET /v1/models HTTP/1.1"), LIST("m"), AGAIN, DONE);
    SCRIPT(other, HEALTH("501 Not Implemented"), REPEAT(0),
           EXPECT_REQUEST_OR_END("GET /v1/models HTTP/1.1"), REPLY("404 Not Found", ""), AGAIN,
           DONE);
    struct addr second = rig_at(8002);

    begin_with_a();
    rig_remote("b", "http://127.0.0.1:8002", 0, MODELS(M("m")));
    ENGINE_START("engine", &at, engine);
    ENGINE_START("other", &second, other);
    rig_start();
    world_run_ms(20000);
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    EXPECT_U64(rig_word("b"), CELL_GOOD);
    rig_end();
}

static void probe_path_of_its_own(void)
{
    SCRIPT(one, REPEAT(0), EXPECT_REQUEST_OR_END("GET /v1/ping HTTP/1.1"),
           REPLY("404 Not Found", ""), AGAIN, DONE);
    SCRIPT(two, REPEAT(0), EXPECT_REQUEST_OR_END("GET /alive HTTP/1.1"), REPLY("200 OK", ""), AGAIN,
           DONE);
    struct addr second = rig_at(8002);

    begin_with_a();
    rig.conf.probe.path = STR("/alive");
    rig.conf.remote[0].probe_path = STR("/ping");
    rig.conf.remote[0].url = STR("http://127.0.0.1:8001/v1");
    rig.conf.remote[0].at.prefix = STR("/v1");
    rig_remote("b", "http://127.0.0.1:8002", 0, MODELS(M("m")));
    ENGINE_START("one", &at, one);
    ENGINE_START("two", &second, two);
    rig_start();
    world_run_ms(5000);
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    EXPECT_U64(rig_word("b"), CELL_GOOD);
    rig_end();
}

static bool nobody_is_tested(void *ctx)
{
    (void)ctx;
    return rig.control->tests.busy[0] + rig.control->tests.busy[1] == 0;
}

/* The head says all; what comes behind it, or does not, is nobody's business. */
static void probe_body_never_ends(void)
{
    SCRIPT(engine, ASKED,
           SEND("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"), EXPECT_GONE,
           DONE);
    SCRIPT(huge, ASKED, SEND("HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n"), FILL(200000),
           EXPECT_GONE, DONE);
    struct addr second = rig_at(8002);

    begin_with_a();
    rig_remote("b", "http://127.0.0.1:8002", 0, MODELS(M("m")));
    ENGINE_START("engine", &at, engine);
    ENGINE_START("huge", &second, huge);
    rig_start();
    world_run_ms(20000);
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    EXPECT_U64(rig_word("b"), CELL_GOOD);
    EXPECT_U64(member("a")->tests_failed + member("b")->tests_failed, 0);
    EXPECT(member("a")->tests >= 10);
    EXPECT(world_run_until(nobody_is_tested, NULL, 5000)); /* no peer is in the middle of sending */
    rig_end_hard();
}

static void probe_no_http(void)
{
    SCRIPT(engine, ASKED, SEND("220 mail.example ESMTP\r\n"), EXPECT_GONE, DONE);

    begin_with_a();
    ENGINE_START("engine", &at, engine);
    rig_start();
    rig_until_word("a", CELL_BAD, 10000);
    rig_end();
}

/* ---- when ---- */

/* An interval until it is asked, then three time-outs: the process is there and says nothing. */
static void probe_hung_engine(void)
{
    SCRIPT(engine, FINE, REPEAT(1), ASKED, AGAIN, EXPECT_GONE, DONE);
    struct engine *e;

    begin_with_a();
    e = ENGINE_START("engine", &at, engine, NULL);
    rig_start();
    rig_until_word("a", CELL_GOOD, 1000);
    EXPECT_WITHIN(rig_until_word("a", CELL_COMING, 10000), 3900, 5100);
    EXPECT_U64(engine_accepted(e), 1);
    rig_end_hard();
}

static unsigned inside, most_inside;

static void enter(struct peer *p, void *arg)
{
    (void)p;
    (void)arg;
    inside++;
    most_inside = inside > most_inside ? inside : most_inside;
}

static void leave(struct peer *p, void *arg)
{
    (void)p;
    (void)arg;
    inside--;
}

/* Its answers take longer than the interval: the next test waits for this one's end. */
static void probe_never_two_at_once(void)
{
    SCRIPT(engine, REPEAT(0), ASKED, DO(enter, NULL), PAUSE(700), DO(leave, NULL),
           REPLY("200 OK", ""), AGAIN, DONE);

    inside = most_inside = 0;
    begin_with_a();
    rig.conf.probe.interval_ms = 200;
    ENGINE_START("engine", &at, engine);
    rig_start();
    world_run_ms(20000);
    EXPECT_U64(most_inside, 1);
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    EXPECT_WITHIN(member("a")->tests, 20, 30);
    rig_end_hard();
}

/* Engines that were asked together drift apart, and none is asked later than the interval. */
static void probe_drift(void)
{
    SCRIPT(engine, REPEAT(0), FINE, AGAIN, DONE);
    uint64_t most = 0;

    begin();
    begin_many(24, engine, STR("m"));
    rig_start();
    world_run_ms(30000);
    for (unsigned i = 0; i < 100; i++) { /* at most so many in one of a hundred moments */
        uint64_t now = world_now_ms(), n = 0;
        struct member *m;

        world_run_ms(20);
        list_each(m, &rig.control->members, node) n += m->began_ms >= now;
        most = n > most ? n : most;
    }
    if (!world_plain())
        EXPECT(most < 12);
    EXPECT_WITHIN(member("e7")->tests, 15, 21);
    rig_end();
}

/* ---- one's silence, and the others ---- */

/* Three hundred black holes: the one engine that answers is tested as before, requests are served
 * at once, and the holes are out after two rounds of what has place. */
static void probe_black_holes(void)
{
    SCRIPT(engine, REPEAT(0), EXPECT_WORK_OR_END("POST " CHAT_PATH " HTTP/1.1", "m"),
           EXPECT_ANY_BODY_OR_END, REPLY_CHAT, AGAIN, DONE);
    uint64_t before;
    char name[16];

    begin_with_a();
    begin_many(300, NULL, STR("hole"));
    ENGINE_START("engine", &at, engine);
    rig_start();
    RUN(3000, MARK, CHAT("m"), EXPECT_ANSWER, GET("/v1/models"), EXPECT_STATUS(200),
        EXPECT_BODY_HAS("\"hole\""), SINCE(0, 100), DONE);
    world_run_ms(12000);
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof name, "e%u", i);
        EXPECT_U64(rig_word(name), CELL_COMING);
    }
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    before = member("a")->tests;
    world_run_ms(20000);
    EXPECT_WITHIN(member("a")->tests - before, 10, 13);
    EXPECT_U64(rig_word("a"), CELL_GOOD);
    EXPECT(rig.control->tests.busy[0] + rig.control->tests.busy[1] <= 129);
    RUN(3000, MARK, CHAT("m"), EXPECT_ANSWER, GET("/v1/models"), EXPECT_STATUS(200),
        EXPECT_BODY_HAS("\"m\""), SINCE(0, 100), DONE);
    rig_end_hard();
}

/* Of two that have the model the one that is out gets nothing. */
static void probe_the_other_serves(void)
{
    SCRIPT(good, REPEAT(0), EXPECT_WORK_OR_END("POST " CHAT_PATH " HTTP/1.1", "m"),
           EXPECT_ANY_BODY_OR_END, REPLY_CHAT, AGAIN, DONE);
    SCRIPT(ill, REPEAT(0), ILL, AGAIN, DONE);
    struct addr second = rig_at(8002);

    begin_with_a();
    rig_remote("b", "http://127.0.0.1:8002", 0, MODELS(M("m")));
    ENGINE_START("ill", &at, ill);
    ENGINE_START("good", &second, good);
    rig_start();
    rig_until_word("a", CELL_BAD, 10000);
    RUN(3000, REPEAT(20), CHAT("m"), EXPECT_ANSWER, AGAIN, DONE);
    rig_end();
}

/* ---- models ---- */

/* What answers after a gap may be another engine. */
static void probe_models_after_a_gap(void)
{
    SCRIPT(first, FINE, EXPECT_REQUEST("GET /v1/models"), LIST("one"), REPEAT(0), FINE,
           EXPECT_REQUEST_OR_END("GET /v1/models"), LIST("one"), AGAIN, DONE);
    SCRIPT(then, MARK, FINE, EXPECT_REQUEST("GET /v1/models"), SINCE(0, 200), LIST("two"),
           REPEAT(0), FINE, AGAIN, DONE);
    struct engine *e;

    begin();
    rig.conf.probe.interval_ms = 6000; /* longer than from one question for models to the next */
    rig_remote("a", "http://127.0.0.1:8001", 0, NO_MODELS);
    e = ENGINE_START("first", &at, first);
    rig_start();
    world_run_ms(1000);
    RUN(100, GET("/v1/models/one"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"one\""), DONE);
    engine_kill(e);
    rig_until_word("a", CELL_BAD, 15000);
    ENGINE_START("then", &at, then);
    rig_until_word("a", CELL_GOOD, 7000);
    RUN(100, GET("/v1/models/two"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"two\""),
        GET("/v1/models/one"), EXPECT_FAULT(404, "model_not_found"), DONE);
    rig_end_hard();
}

static void probe_models_in_the_same_schedule(void)
{
    SCRIPT(engine, FINE, EXPECT_REQUEST("GET /v1/models"), MARK, LIST("one"), FINE, FINE, FINE,
           EXPECT_REQUEST("GET /v1/models"), SINCE(4900, 7100), LIST("two"), REPEAT(0), FINE, AGAIN,
           DONE);

    begin();
    rig_remote("a", "http://127.0.0.1:8001", 0, NO_MODELS);
    ENGINE_START("engine", &at, engine);
    rig_start();
    world_run_ms(7200);
    RUN(100, GET("/v1/models/two"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"two\""), DONE);
    rig_end_hard();
}

/* One that was found is lost after as many failures as eject, and found again. */
static void probe_discovered(void)
{
    SCRIPT(llama, EXPECT_REQUEST("GET /v1/models"), LIST("found"), FINE, ILL, ILL, FINE,
           EXPECT_REQUEST("GET /v1/models"), LIST("found"), ILL, ILL, ILL, REPEAT(0),
           EXPECT_REQUEST_OR_END("GET /v1/models"), LIST("again"), FINE, FINE, FINE, AGAIN, DONE);
    struct addr usual = rig_at(8080);

    begin();
    rig.conf.probe.interval_ms = 1000;
    rig.conf.discover = true;
    ENGINE_START("llama", &usual, llama);
    rig_start();
    world_run_ms(500);
    RUN(100, GET("/v1/models/found"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"found\""), DONE);
    rig_until_word("llama.cpp", CELL_BAD, 6000);
    world_run_ms(20);
    RUN(100, GET("/v1/models/found"), EXPECT_FAULT(404, "model_not_found"), DONE);
    rig_until_word("llama.cpp", CELL_GOOD, 5100);
    world_run_ms(20);
    RUN(100, GET("/v1/models/again"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"again\""), DONE);
    rig_end_hard();
}

/* ---- units ---- */

/* Its process is well, for all that the master knows, and its tests fail: two words, and neither
 * changes the other. */
static void probe_unit_that_fails(void)
{
    SCRIPT(engine, ILL, ILL, ILL, FINE, FINE, REPEAT(0), FINE, AGAIN, DONE);

    at = rig_at(27001);
    rig_begin(1);
    rig_unit("u", 0, MODELS(M("m")));
    rig_start();
    ENGINE_START("unit", &at, engine);
    rig_unit_is(1, 1, UNIT_READY, 27001);
    rig_until_word("u", CELL_BAD, 10000);
    EXPECT_U64(cell_says(member("u")->cell, CELL_SUPERVISED), CELL_GOOD);
    RUN(1000, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"), DONE);
    rig_until_word("u", CELL_GOOD, 10000);
    EXPECT_U64(rig_count_reports(1, LINK_REPORT_SILENT), 0);
    EXPECT_U64(rig_count_reports(1, LINK_REPORT_READY), 0);
    rig_end_hard();
}

/* Another process: what was found out about the one before does not hold. */
static void probe_unit_restarts(void)
{
    SCRIPT(engine, REPEAT(0), ILL, AGAIN, DONE);

    at = rig_at(27001);
    rig_begin(1);
    rig_unit("u", 0, MODELS(M("m")));
    rig_start();
    ENGINE_START("unit", &at, engine);
    rig_unit_is(1, 1, UNIT_READY, 27001);
    rig_until_word("u", CELL_BAD, 10000);
    rig_unit_is(1, 2, UNIT_LOADING, 27001);
    rig_until_word("u", CELL_NO_WORD, 100);
    rig_unit_is(1, 2, UNIT_READY, 27001);
    world_run_ms(500);
    EXPECT_U64(rig_word("u"), CELL_NO_WORD);
    rig_until_word("u", CELL_BAD, 10000);
    rig_end();
}

/* ---- other configurations ---- */

static void probe_switched_off(void)
{
    begin_with_a();
    rig_start();
    rig_until_word("a", CELL_BAD, 10000);
    rig.conf.probe.interval_ms = 0;
    EXPECT(rig_reload());
    EXPECT_U64(rig_word("a"), CELL_NO_WORD);
    world_run_ms(5000);
    EXPECT_U64(rig_word("a"), CELL_NO_WORD);
    rig.conf.probe.interval_ms = 1000;
    rig.conf.probe.failures = 1;
    EXPECT(rig_reload());
    rig_until_word("a", CELL_BAD, 100);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_probe(void)
{
    static const struct scenario all[] = {
        ROW(probe_never_asked_counts_as_good) ROW(probe_three_eject_two_return) ROW(probe_flapping)
            ROW(probe_refused) ROW(probe_loading) ROW(probe_bad_then_loading)
                ROW(probe_answer_below_500) ROW(probe_without_health) ROW(probe_path_of_its_own)
                    ROW(probe_body_never_ends) ROW(probe_no_http) ROW(probe_hung_engine)
                        ROW(probe_never_two_at_once) ROW(probe_drift) ROW(probe_black_holes)
                            ROW(probe_the_other_serves) ROW(probe_models_after_a_gap)
                                ROW(probe_models_in_the_same_schedule) ROW(probe_discovered)
                                    ROW(probe_unit_that_fails) ROW(probe_unit_restarts)
                                        ROW(probe_switched_off){NULL, NULL},
    };

    return all;
}
