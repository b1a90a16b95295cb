/* SPDX-License-Identifier: Apache-2.0
 *
 * tester_sim.c - scenarios of supervise/tester: when an engine is asked, what counts as ready and
 * as alive, and whose place is taken.
 */
#include <string.h>

#include "sim/ev/fake.h"
#include "sim/names.h"
#include "sim/peer.h"
#include "sim/sim.h"
#include "sim/wire.h"
#include "supervise/tester.h"

#define SCRIPT(name, ...) static const struct step name[] = {__VA_ARGS__}

enum { PORT = 6001, LATE_MS = 60 /* of what happens on time: the network between */ };

static struct {
    struct loop *loop;
    struct chunk_pool chunks;
    struct tester *tester;
    unsigned ready, silent, slow, free, taken;
    uint64_t began_ms, at_ms; /* of the scenario; of the last report */
} rig;

static void on_report(void *ctx, enum link_report what)
{
    (void)ctx;
    EXPECT(what == LINK_REPORT_READY || what == LINK_REPORT_SILENT);
    if (what == LINK_REPORT_READY)
        rig.ready++;
    else
        rig.silent++;
    rig.at_ms = world_now_ms();
}

static void on_slow(void *ctx)
{
    (void)ctx;
    rig.slow++;
}

static void on_place(void *ctx, bool taken)
{
    (void)ctx;
    if (taken)
        rig.taken++;
    else
        rig.free++;
}

static void rig_open(const char *host, const char *path)
{
    struct tester_conf conf = {.chunks = &rig.chunks,
                               .host = str_of(host),
                               .port = PORT,
                               .path = path,
                               .on_report = on_report,
                               .on_slow = on_slow,
                               .on_place = on_place};

    memset(&rig, 0, sizeof rig);
    names_clear();
    EXPECT(loop_create(&rig.loop) == 0);
    conf.loop = rig.loop;
    tester_create(&conf, &rig.tester);
    fake_loop_start(rig.loop);
    rig.began_ms = world_now_ms();
}

static void rig_close(void)
{
    tester_destroy(&rig.tester);
    peers_finish(10000);
    peers_close();
    loop_destroy(&rig.loop);
    EXPECT_U64(rig.chunks.live, 0);
    chunk_pool_fini(&rig.chunks);
}

static struct addr at(const char *text)
{
    struct addr a;

    CHECK(addr_parse(str_of(text), &a) == 0);
    return a;
}

static bool is_ready(void *ctx) { return rig.ready >= *(unsigned *)ctx; }
static bool is_silent(void *ctx) { return rig.silent >= *(unsigned *)ctx; }

static void until_ready(unsigned times, uint64_t ms)
{
    EXPECT(world_run_until(is_ready, &times, ms));
}

static void until_silent(unsigned times, uint64_t ms)
{
    EXPECT(world_run_until(is_silent, &times, ms));
}

/* ---- readiness ---- */

/* After 100 ms, then 100, 200, 400, 800 ms and 1 s apart; both paths each time. */
static void tester_asks_at_its_pauses(void)
{
    SCRIPT(loading, EXPECT_REQUEST("GET /"), REPLY("503 Service Unavailable", "{}"), DONE);
    static const struct {
        uint64_t at_ms;
        unsigned rounds;
    } rows[] = {{90, 0}, {190, 1}, {290, 2}, {500, 3}, {1000, 4}, {1900, 5}, {3000, 6}, {4100, 7}};
    struct addr here = at("127.0.0.1:6001");
    struct engine *e;

    rig_open("127.0.0.1", NULL);
    e = ENGINE_START("loading", &here, loading);
    tester_watch(rig.tester);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        world_run_ms(rig.began_ms + rows[i].at_ms - world_now_ms());
        EXPECT_WITHIN(engine_accepted(e), 2 * rows[i].rounds - (rows[i].rounds > 4 ? 2 : 0),
                      2 * rows[i].rounds);
    }
    world_run_ms(60000);
    EXPECT_U64(rig.ready, 0);
    EXPECT_U64(rig.slow, 1);
    EXPECT(engine_accepted(e) > 110);
    tester_rest(rig.tester);
    world_run_ms(100);
    engine_stop(e);
    rig_close();
}

static void tester_takes_404_from_a_model_path(void)
{
    SCRIPT(absent, EXPECT_REQUEST("GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1:6001\r\n"),
           REPLY("404 Not Found", "{}"), DONE);
    struct addr here = at("127.0.0.1:6001");

    rig_open("0.0.0.0", NULL);
    ENGINE_START("absent", &here, absent);
    tester_watch(rig.tester);
    EXPECT(!tester_place(rig.tester));
    until_ready(1, 100 + LATE_MS);
    EXPECT(tester_place(rig.tester) != NULL);
    tester_rest(rig.tester);
    EXPECT(!tester_place(rig.tester));
    rig_close();
}

/* A path of its own has to be there. */
static void tester_does_not_take_404_from_an_own_path(void)
{
    SCRIPT(absent, EXPECT_REQUEST("GET /up HTTP/1.1"), REPLY("404 Not Found", "{}"), DONE);
    SCRIPT(there, EXPECT_REQUEST("GET /up HTTP/1.1"), REPLY("204 No Content", ""), DONE);
    struct addr here = at("127.0.0.1:6001");
    struct engine *e;

    rig_open("localhost", "/up");
    e = ENGINE_START("engine", &here, absent, absent, there);
    tester_watch(rig.tester);
    until_ready(1, 3000);
    EXPECT_U64(engine_accepted(e), 3);
    rig_close();
}

/* An engine on the registered host only. */
static void tester_tries_the_host_behind_loopback(void)
{
    SCRIPT(there, EXPECT_REQUEST("GET /v1/models HTTP/1.1\r\nhost: engine.test:6001\r\n"),
           REPLY("200 OK", "{}"), DONE);
    struct addr other = at("10.0.0.7:6001");

    rig_open("engine.test", NULL);
    names_add("engine.test", &other, 1);
    ENGINE_START("there", &other, there);
    tester_watch(rig.tester);
    until_ready(1, 1000);
    EXPECT(str_eq(tester_place(rig.tester)->at.host, STR("engine.test")));
    rig_close();
}

/* ---- life ---- */

/* From start to start 10 s apart; the third one that nobody takes is told, an answer takes it back.
 */
static void tester_counts_three_silent_tests(void)
{
    SCRIPT(there, EXPECT_REQUEST("GET /v1/models"), REPLY("200 OK", "{}"), DONE);
    SCRIPT(ill, EXPECT_REQUEST("GET /v1/models"), REPLY("500 Internal Server Error", "{}"), DONE);
    struct addr here = at("127.0.0.1:6001");
    struct engine *e;

    rig_open("127.0.0.1", NULL);
    e = ENGINE_START("engine", &here, there, ill);
    tester_watch(rig.tester);
    until_ready(1, 1000);
    world_run_ms(15000); /* any answer will do */
    EXPECT_U64(engine_accepted(e), 2);
    EXPECT_U64(rig.silent, 0);
    engine_stop(e);
    until_silent(1, 26000);
    EXPECT_WITHIN(rig.at_ms - rig.began_ms, 40000, 40200 + LATE_MS);
    world_run_ms(60000);
    EXPECT_U64(rig.silent, 1);
    e = ENGINE_START("again", &here, ill);
    until_ready(2, 11000);
    engine_stop(e);
    world_run_ms(60000);
    EXPECT_U64(rig.silent, 2);
    rig_close();
}

/* Five seconds each for one that takes connections and says nothing. */
static void tester_gives_up_on_a_hung_engine(void)
{
    SCRIPT(there, EXPECT_REQUEST("GET /v1/models"), REPLY("200 OK", "{}"), DONE);
    SCRIPT(hung, EXPECT_REQUEST("GET /v1/models"), EXPECT_GONE, DONE);
    struct addr here = at("127.0.0.1:6001");

    rig_open("127.0.0.1", NULL);
    ENGINE_START("engine", &here, there, hung);
    tester_watch(rig.tester);
    until_ready(1, 1000);
    until_silent(1, 40000);
    EXPECT_WITHIN(rig.at_ms - rig.began_ms, 35000, 35200 + LATE_MS);
    EXPECT(tester_place(rig.tester) != NULL);
    rig_close();
}

/* A new process is a new question, whatever was under way. */
static void tester_begins_anew_with_each_process(void)
{
    SCRIPT(hung, EXPECT_REQUEST("GET /v1/models"), EXPECT_GONE, DONE);
    SCRIPT(there, EXPECT_REQUEST("GET /v1/models"), REPLY("200 OK", "{}"), DONE);
    struct addr here = at("127.0.0.1:6001");

    rig_open("127.0.0.1", NULL);
    ENGINE_START("engine", &here, hung, there);
    tester_watch(rig.tester);
    world_run_ms(200);
    tester_watch(rig.tester);
    until_ready(1, 100 + LATE_MS);
    world_run_ms(40000);
    EXPECT_U64(rig.slow, 0);
    tester_rest(rig.tester);
    world_run_ms(60000);
    EXPECT_U64(rig.ready, 1);
    EXPECT_U64(rig.silent, 0);
    rig_close();
}

/* ---- places ---- */

static void tester_sees_whose_place_it_is(void)
{
    SCRIPT(foreign, EXPECT_GONE, DONE);
    struct addr here = at("127.0.0.1:6001"), other = at("10.0.0.7:6001");
    struct engine *e;

    rig_open("10.0.0.7", NULL);
    tester_ask_place(rig.tester);
    world_run_ms(1000);
    EXPECT_U64(rig.free, 1);
    e = ENGINE_START("foreign", &here, foreign);
    tester_ask_place(rig.tester);
    world_run_ms(1000);
    EXPECT_U64(rig.taken, 1);
    engine_stop(e);
    e = ENGINE_START("foreign there", &other, foreign);
    tester_ask_place(rig.tester);
    world_run_ms(1000);
    EXPECT_U64(rig.taken, 2);
    engine_stop(e);
    wire_route(&other, WIRE_BLACKHOLE); /* whoever does not say so has not taken it */
    tester_ask_place(rig.tester);
    world_run_ms(2000);
    EXPECT_U64(rig.free, 2);
    tester_ask_place(rig.tester);
    tester_rest(rig.tester);
    world_run_ms(2000);
    EXPECT_U64(rig.free + rig.taken, 4);
    rig_close();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_tester(void)
{
    static const struct scenario all[] = {
        ROW(tester_asks_at_its_pauses) ROW(tester_takes_404_from_a_model_path)
            ROW(tester_does_not_take_404_from_an_own_path)
                ROW(tester_tries_the_host_behind_loopback) ROW(tester_counts_three_silent_tests)
                    ROW(tester_gives_up_on_a_hung_engine) ROW(tester_begins_anew_with_each_process)
                        ROW(tester_sees_whose_place_it_is){NULL, NULL},
    };

    return all;
}
