/* SPDX-License-Identifier: Apache-2.0
 *
 * registrar_sim.c - scenarios of net/registrar.h: the schedule of what is said to a registry that
 * answers, refuses, forgets, hangs, restarts or sends elsewhere.
 */
#include "sim/sim.h"

#include <stdio.h>

#include "base/mem.h"
#include "net/registrar.h"
#include "sim/ev/fake.h"
#include "sim/names.h"
#include "sim/peer.h"
#include "sim/wire.h"

#define SCRIPT(name, ...) static const struct step name[] = {__VA_ARGS__}
/* Timers of the simulated world are late by so much, and bytes travel. */
enum { SLACK_MS = 60 };

static struct {
    struct loop *loop;
    struct chunk_pool chunks;
    struct registrar *registrar;
    struct registrar_counts counts;
    struct registrar_conf conf;
    struct addr at;
    unsigned registered, unknown, failed, recovered;
    struct registrar_event last;
    bool left;
} rig;

static void on_event(void *ctx, const struct registrar_event *event)
{
    (void)ctx;
    rig.last = *event;
    rig.registered += event->news == REGISTRAR_REGISTERED;
    rig.unknown += event->news == REGISTRAR_UNKNOWN;
    rig.failed += event->news == REGISTRAR_FAILED;
    rig.recovered += event->news == REGISTRAR_RECOVERED;
}

static void rig_open(uint32_t interval_ms)
{
    const char *why;

    memset(&rig, 0, sizeof rig);
    names_clear();
    CHECK(loop_create(&rig.loop) == 0);
    CHECK(addr_parse(STR("127.0.0.1:8081"), &rig.at) == 0);
    rig.conf = (struct registrar_conf){.chunks = &rig.chunks,
                                       .interval_ms = interval_ms,
                                       .on_event = on_event,
                                       .counts = &rig.counts};
    CHECK(url_parse(STR("http://127.0.0.1:8081/reg/"), &rig.conf.url, &why) == 0);
    fake_loop_start(rig.loop);
}

static void rig_make(void) { registrar_create(rig.loop, &rig.conf, &rig.registrar); }

static void rig_close(void)
{
    registrar_destroy(&rig.registrar);
    loop_settle(rig.loop);
    loop_destroy(&rig.loop);
    EXPECT_U64((uint64_t)rig.counts.registered.v, 0);
    EXPECT_U64(rig.chunks.live, 0);
    chunk_pool_fini(&rig.chunks);
}

static void put(struct registrar_name *n, const char *status)
{
    struct registrar_record record = {
        .host = STR("10.0.0.5"),
        .hostname = STR("ten"),
        .url = STR("http://10.0.0.5:8900"),
        .port = 8900,
        .metadata = STR("{\"type\":\"openai-api\"}"),
        .weight = 3,
    };

    registrar_put(n, &record, str_of(status));
}

static struct registrar_name *add(const char *name)
{
    struct registrar_name *n;

    registrar_add(rig.registrar, str_of(name), NULL, &n);
    return n;
}

static bool is_registered(void *ctx) { return registrar_is_registered(ctx); }

static bool has_failed(void *ctx) { return rig.failed >= *(unsigned *)ctx; }

static void on_left(void *ctx)
{
    (void)ctx;
    rig.left = true;
}

static bool is_left(void *ctx)
{
    (void)ctx;
    return rig.left;
}

/* How long it takes to say goodbye. */
static uint64_t leave(void)
{
    uint64_t began = world_now_ms();

    registrar_leave(rig.registrar, on_left, NULL);
    EXPECT(!rig.left);
    EXPECT(world_run_until(is_left, NULL, 20000));
    return world_now_ms() - began;
}

#define RECORD(status)                                                                             \
    "{\"host\":\"10.0.0.5\",\"hostname\":\"ten\",\"metadata\":{\"type\":\"openai-api\"},"          \
    "\"name\":\"a/b\",\"port\":8900,\"status\":\"" status "\",\"url\":\"http://10.0.0.5:8900\","   \
    "\"weight\":3}"
#define EXPECT_POST(status)                                                                        \
    EXPECT_REQUEST("POST /reg/services HTTP/1.1\r\n"),                                             \
        EXPECT_FIELD("content-type", "application/json"), EXPECT_BODY(RECORD(status))
#define EXPECT_BEAT(status)                                                                        \
    EXPECT_REQUEST("POST /reg/services/a%2Fb/heartbeat HTTP/1.1\r\n"),                             \
        EXPECT_FIELD("content-type", "application/json"),                                          \
        EXPECT_BODY("{\"status\":\"" status "\"}")
#define EXPECT_DELETE EXPECT_REQUEST("DELETE /reg/services/a%2Fb HTTP/1.1\r\n")
#define CREATED REPLY("201 Created", "{}")
/* The connection ends with it, so that connections and calls are the same. */
#define GONE_CREATED SEND("HTTP/1.0 201 Created\r\n\r\n{}"), HANG_UP, DONE
#define OK REPLY("200 OK", "{}")
#define BEHIND(ms) SINCE((ms)-SLACK_MS, (ms) + SLACK_MS)

/* POST at once, a beat every interval, at once on a change, DELETE. */
static void registrar_schedule(void)
{
    SCRIPT(registry, EXPECT_POST("running"), EXPECT_FIELD("authorization", "Bearer secret"),
           EXPECT_FIELD("host", "127.0.0.1:8081"), CREATED, MARK, EXPECT_BEAT("running"),
           EXPECT_FIELD("authorization", "Bearer secret"), BEHIND(30000), OK, MARK,
           EXPECT_BEAT("running"), BEHIND(30000), OK, MARK, EXPECT_BEAT("restarting"), BEHIND(7000),
           OK, MARK, EXPECT_BEAT("restarting"), BEHIND(30000), OK, EXPECT_DELETE,
           EXPECT_FIELD("authorization", "Bearer secret"), OK, EXPECT_GONE, DONE);
    struct registrar_name *n;

    rig_open(30000);
    rig.conf.token = STR("secret");
    ENGINE_START("registry", &rig.at, registry);
    rig_make();
    n = add("a/b");
    put(n, "running");
    world_run_ms(67000);
    EXPECT(registrar_is_registered(n));
    registrar_set_status(n, STR("restarting"));
    registrar_set_status(n, STR("restarting"));
    world_run_ms(31000);
    EXPECT_U64(rig.registered, 1);
    EXPECT_U64(rig.failed, 0);
    EXPECT_U64(rig.counts.beats.v, 4);
    EXPECT_WITHIN(leave(), 0, SLACK_MS);
    rig_close();
}

/* 2, 4, 8, 16, 30, 30 s; each way to fail is told once. */
static void registrar_retries(void)
{
    SCRIPT(registry, EXPECT_POST("running"), REPLY("503 Service Unavailable", "{}"), MARK,
           EXPECT_POST("running"), BEHIND(2000), REPLY("503 Service Unavailable", "{}"), MARK,
           EXPECT_POST("running"), BEHIND(4000), REPLY("503 Service Unavailable", "{}"), MARK,
           EXPECT_POST("running"), BEHIND(8000), REPLY("401 Unauthorized", "{}"), MARK,
           EXPECT_POST("running"), BEHIND(16000), REPLY("401 Unauthorized", "{}"), MARK,
           EXPECT_POST("running"), BEHIND(30000), REPLY("401 Unauthorized", "{}"), MARK,
           EXPECT_POST("running"), BEHIND(30000), CREATED, MARK, EXPECT_BEAT("running"),
           BEHIND(60000), REPLY("503 Service Unavailable", "{}"), MARK, EXPECT_BEAT("running"),
           BEHIND(60000), OK, EXPECT_GONE, DONE);
    struct registrar_name *n;

    rig_open(60000);
    ENGINE_START("registry", &rig.at, registry, registry);
    rig_make();
    n = add("a/b");
    put(n, "running");
    EXPECT(world_run_until(is_registered, n, 100000));
    EXPECT_U64(rig.failed, 2);
    EXPECT_U64(rig.counts.failures.v, 6);
    EXPECT_U64(rig.registered, 1);
    world_run_ms(121000);
    EXPECT_U64(rig.failed, 3);
    EXPECT_U64(rig.recovered, 1);
    rig_close();
}

/* B4: a registry that has lost everything has it back with the next beat. */
static void registrar_heals(void)
{
    SCRIPT(first, EXPECT_POST("running"), CREATED, EXPECT_GONE, DONE);
    SCRIPT(second, EXPECT_BEAT("running"), REPLY("404 Not Found", "{}"), MARK,
           EXPECT_POST("running"), BEHIND(SLACK_MS), CREATED, EXPECT_GONE, DONE);
    struct registrar_name *n;
    struct engine *registry;
    uint64_t began;

    rig_open(30000);
    registry = ENGINE_START("registry", &rig.at, first);
    rig_make();
    n = add("a/b");
    put(n, "running");
    EXPECT(world_run_until(is_registered, n, 1000));
    world_run_ms(world_between(0, 35000));
    engine_kill(registry);
    world_run_ms(world_between(0, 65000));
    began = world_now_ms();
    ENGINE_START("registry again", &rig.at, second);
    while (rig.registered < 2)
        world_run_ms(10);
    EXPECT_WITHIN(world_now_ms() - began, 0, 31000);
    EXPECT_U64(rig.unknown, 1);
    rig_close();
}

/* "on entering ready the re-POST replaces the beat": while the record is new, nothing beats. */
static void registrar_no_beat_before_the_record(void)
{
    SCRIPT(registry, EXPECT_POST("running"), CREATED, EXPECT_BEAT("restarting"), OK, MARK,
           EXPECT_POST("running"), REPLY("500 Oh", "{}"), EXPECT_POST("running"), BEHIND(3000),
           CREATED, MARK, EXPECT_BEAT("running"), BEHIND(1500), OK, EXPECT_GONE, DONE);
    struct registrar_name *n;

    rig_open(1500);
    ENGINE_START("registry", &rig.at, registry);
    rig_make();
    n = add("a/b");
    put(n, "running");
    world_run_ms(1000);
    registrar_set_status(n, STR("restarting"));
    world_run_ms(1000);
    put(n, "running");
    world_run_ms(4000);
    EXPECT_U64(rig.registered, 2);
    EXPECT_U64(rig.counts.beats.v, 2);
    rig_close();
}

/* A beat that was to tell something and failed goes again before the interval is over. */
static void registrar_change_is_told_again(void)
{
    SCRIPT(registry, EXPECT_POST("running"), CREATED, EXPECT_BEAT("failed"), MARK,
           REPLY("500 Oh", "{}"), EXPECT_BEAT("failed"), BEHIND(2000), OK, EXPECT_GONE, DONE);
    struct registrar_name *n;

    rig_open(30000);
    ENGINE_START("registry", &rig.at, registry);
    rig_make();
    n = add("a/b");
    put(n, "running");
    world_run_ms(1000);
    registrar_set_status(n, STR("failed"));
    world_run_ms(10000);
    EXPECT_U64(rig.recovered, 1);
    rig_close();
}

/* One call that hangs: the other name beats, and a change does not wait for it. */
static void registrar_hanging_call(void)
{
    SCRIPT(one, EXPECT_POST("running"), GONE_CREATED);
    SCRIPT(other, EXPECT_REQUEST("POST /reg/services HTTP/1.1\r\n"),
           EXPECT_BODY_HAS("\"name\":\"other\""), GONE_CREATED);
    SCRIPT(hangs, EXPECT_BEAT("running"), EXPECT_GONE, BEHIND(1500), DONE);
    SCRIPT(goes_on, EXPECT_REQUEST("POST /reg/services/other/heartbeat"), EXPECT_BODY_HAS(""),
           GONE_CREATED);
    SCRIPT(hurried, EXPECT_BEAT("restarting"), OK, EXPECT_GONE, DONE);
    struct registrar_name *n, *o;

    rig_open(30000);
    ENGINE_START("registry", &rig.at, one, other, hangs, goes_on, hurried);
    rig_make();
    n = add("a/b");
    put(n, "running");
    world_run_ms(500);
    o = add("other");
    put(o, "running");
    world_run_ms(30500);
    EXPECT_U64(rig.counts.beats.v, 1);
    registrar_set_status(n, STR("restarting"));
    world_run_ms(1000);
    EXPECT_U64(rig.counts.beats.v, 2);
    EXPECT(registrar_is_registered(n) && registrar_is_registered(o));
    rig_close();
}

/* Nobody answers: connects end after 2 s, calls after 5. */
static void registrar_time_limits(void)
{
    SCRIPT(hangs, EXPECT_POST("running"), EXPECT_GONE, BEHIND(5000), DONE);
    struct registrar_name *n;
    uint64_t began = 0;
    unsigned one = 1;

    rig_open(30000);
    wire_route(&rig.at, WIRE_BLACKHOLE);
    rig_make();
    n = add("a/b");
    put(n, "running");
    began = world_now_ms();
    EXPECT(world_run_until(has_failed, &one, 20000));
    EXPECT_WITHIN(world_now_ms() - began, 2000, 2000 + SLACK_MS);
    EXPECT(rig.last.status == 0 && rig.last.err < 0);
    wire_route(&rig.at, WIRE_OPEN);
    ENGINE_START("registry", &rig.at, hangs);
    world_run_ms(8000);
    EXPECT_U64(rig.counts.failures.v, 2);
    EXPECT(!registrar_is_registered(n));
    rig_close();
}

/* The end does not wait for a registry that hangs, nor one name for another. */
static void registrar_leaves_in_time(void)
{
    SCRIPT(one, EXPECT_POST("running"), GONE_CREATED);
    SCRIPT(two, EXPECT_REQUEST("POST /reg/services HTTP/1.1\r\n"), EXPECT_BODY_HAS("other"),
           GONE_CREATED);
    SCRIPT(end, EXPECT_REQUEST("DELETE /reg/services/"), EXPECT_GONE, BEHIND(1000), DONE);
    struct registrar_name *never;

    rig_open(30000);
    ENGINE_START("registry", &rig.at, one, two, end, end);
    rig_make();
    put(add("a/b"), "running");
    world_run_ms(500);
    put(add("other"), "running");
    never = add("never");
    EXPECT(!registrar_is_registered(never));
    world_run_ms(1000);
    EXPECT_U64(rig.registered, 2);
    EXPECT_WITHIN(leave(), 1000, 1000 + SLACK_MS);
    rig_close();
}

/* DELETE and the next POST of one name keep their order. */
static void registrar_comes_back(void)
{
    SCRIPT(registry, EXPECT_POST("running"), CREATED, EXPECT_DELETE, PAUSE(200), OK,
           EXPECT_POST("running"), CREATED, EXPECT_GONE, DONE);
    struct registrar_name *n;

    rig_open(30000);
    ENGINE_START("registry", &rig.at, registry);
    rig_make();
    n = add("a/b");
    put(n, "running");
    world_run_ms(1000);
    registrar_drop(&n);
    world_run_ms(world_between(0, 150));
    n = add("a/b");
    put(n, "running");
    EXPECT(world_run_until(is_registered, n, 1000));
    EXPECT_WITHIN(leave(), 0, 1100);
    rig_close();
}

/* A redirect is a refusal: nobody is asked elsewhere, and no token goes there. */
static void registrar_follows_nobody(void)
{
    SCRIPT(registry, EXPECT_POST("running"),
           SEND("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:9999/services\r\n"
                "content-length: 0\r\n\r\n"),
           EXPECT_GONE, DONE);
    SCRIPT(nobody, EXPECT_QUIET(1), DONE);
    struct addr elsewhere;
    struct engine *other;

    rig_open(30000);
    CHECK(addr_parse(STR("127.0.0.1:9999"), &elsewhere) == 0);
    other = ENGINE_START("elsewhere", &elsewhere, nobody);
    ENGINE_START("registry", &rig.at, registry);
    rig_make();
    put(add("a/b"), "running");
    world_run_ms(1000);
    EXPECT_U64(rig.failed, 1);
    EXPECT_U64(rig.last.status, 307);
    EXPECT_U64(engine_accepted(other), 0);
    engine_stop(other);
    rig_close();
}

/* The mock's way: one try, then beats without a word, and a 404 to one is what registers it. */
static void registrar_one_try(void)
{
    SCRIPT(registry, EXPECT_REQUEST("POST /reg/services/a%2Fb/heartbeat HTTP/1.1\r\n"),
           EXPECT_NO_FIELD("content-type"), EXPECT_NO_FIELD("content-length"),
           EXPECT_NO_FIELD("transfer-encoding"), REPLY("404 Not Found", "{}"),
           EXPECT_POST("running"), CREATED, EXPECT_GONE, DONE);
    struct registrar_name *n;

    rig_open(10000);
    rig.conf.one_try = rig.conf.bare_beats = true;
    rig_make();
    n = add("a/b");
    put(n, "running");
    world_run_ms(9500);
    EXPECT_U64(rig.counts.failures.v, 1);
    EXPECT(!registrar_is_registered(n));
    ENGINE_START("registry", &rig.at, registry);
    world_run_ms(1000);
    EXPECT(registrar_is_registered(n));
    rig_close();
}

/* Close-delimited HTTP/1.0, and a body that never ends: the head says all. */
static void registrar_old_peers(void)
{
    SCRIPT(old, EXPECT_POST("running"), SEND("HTTP/1.0 201 Created\r\n\r\n{}"), HANG_UP, DONE);
    SCRIPT(endless, EXPECT_BEAT("running"), SEND("HTTP/1.0 200 OK\r\n\r\n{"), EXPECT_GONE, DONE);
    struct registrar_name *n;

    rig_open(5000);
    ENGINE_START("registry", &rig.at, old, endless);
    rig_make();
    n = add("a/b");
    put(n, "running");
    world_run_ms(9000);
    EXPECT(registrar_is_registered(n));
    EXPECT_U64(rig.counts.beats.v, 1);
    EXPECT_U64(rig.failed, 0);
    rig_close();
}

/* Many names: 64 calls at once, and each has its turn. */
static void registrar_takes_turns(void)
{
    SCRIPT(hangs, EXPECT_REQUEST_OR_END(""), EXPECT_GONE, DONE);
    struct engine *registry;

    rig_open(30000);
    registry = ENGINE_START("registry", &rig.at, hangs);
    rig_make();
    for (int i = 0; i < 100; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "svc-%d", i);
        put(add(name), "running");
    }
    world_run_ms(4900);
    EXPECT_U64(engine_accepted(registry), 64);
    world_run_ms(1000);
    EXPECT_U64(engine_accepted(registry), 100);
    EXPECT_WITHIN(leave(), 1000, 1000 + SLACK_MS);
    rig_close();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_registrar(void)
{
    static const struct scenario all[] = {
        ROW(registrar_schedule) ROW(registrar_retries) ROW(registrar_heals)
            ROW(registrar_no_beat_before_the_record) ROW(registrar_change_is_told_again)
                ROW(registrar_hanging_call) ROW(registrar_time_limits) ROW(registrar_leaves_in_time)
                    ROW(registrar_comes_back) ROW(registrar_follows_nobody) ROW(registrar_one_try)
                        ROW(registrar_old_peers) ROW(registrar_takes_turns){NULL, NULL},
    };

    return all;
}
