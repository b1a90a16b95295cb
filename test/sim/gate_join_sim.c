/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_join_sim.c - scenarios of a machine in a registry: what is said of its engines and when,
 * how it leaves, and that its end waits for nobody who hangs.
 */
#include "sim/gate_rig.h"

enum { REGISTRY_PORT = 8081, SLACK_MS = 80 };

static struct addr registry_at;

static void join(const char *url, const char *name)
{
    struct registry_settings *s = &rig.conf.registry;
    const char *why;

    *s = (struct registry_settings){
        .url = str_of(url), .name = str_of(name), .heartbeat_interval_s = 30};
    CHECK(url_parse(s->url, &s->at, &why) == 0);
    CHECK(url_parse(STR("http://10.0.0.5:8900"), &s->shown, &why) == 0);
}

/* A unit "u1" with the model "m", which is not there yet. */
static void begin(void)
{
    registry_at = rig_at(REGISTRY_PORT);
    rig_begin(1);
    rig_unit("u1", 1, MODELS(M("m")))->cache_type = CACHE_TYPE_STATIC;
    join("http://127.0.0.1:8081", "n");
}

static bool is_drained(void *ctx)
{
    (void)ctx;
    return rig.drained;
}

static uint64_t drain(void)
{
    uint64_t began = world_now_ms();

    link_master_drain(rig.master);
    EXPECT(world_run_until(is_drained, NULL, 20000));
    return world_now_ms() - began;
}

#define RECORD(name, status)                                                                       \
    "{\"host\":\"10.0.0.5\",\"hostname\":\"10.0.0.5\",\"metadata\":{\"cache_type\":\"static\","    \
    "\"models\":[\"m\"],\"models_list\":[{\"id\":\"m\",\"object\":\"model\"}],"                    \
    "\"parent_service\":\"" name "\",\"type\":\"openai-api\",\"weight\":1},\"name\":\"" name       \
    "-u1\",\"port\":8900,\"status\":\"" status "\",\"url\":\"http://10.0.0.5:8900\",\"weight\":1}"
#define EXPECT_RECORD(name, status)                                                                \
    EXPECT_REQUEST("POST /services HTTP/1.1\r\n"), EXPECT_BODY(RECORD(name, status)),              \
        REPLY("201 Created", "{}")
#define EXPECT_BEAT(status)                                                                        \
    EXPECT_REQUEST("POST /services/n-u1/heartbeat HTTP/1.1\r\n"),                                  \
        EXPECT_BODY("{\"status\":\"" status "\"}"), REPLY("200 OK", "{}")
#define EXPECT_DELETE(name) EXPECT_REQUEST("DELETE /services/" name "-u1 HTTP/1.1\r\n")
#define AT_ONCE SINCE(0, SLACK_MS)

/* Its state's word at every moment, told at once; "running" only while requests may go there. */
static void join_tells_the_state(void)
{
    SCRIPT(registry, EXPECT_RECORD("n", "starting"), MARK, EXPECT_BEAT("loading"),
           SINCE(1000 - SLACK_MS, 1000 + SLACK_MS), MARK, EXPECT_BEAT("running"),
           SINCE(1000 - SLACK_MS, 1000 + SLACK_MS), MARK, EXPECT_BEAT("running"),
           SINCE(30000 - SLACK_MS, 30000 + SLACK_MS), MARK, EXPECT_BEAT("backoff"),
           SINCE(4000 - SLACK_MS, 4000 + SLACK_MS), EXPECT_GONE, DONE);
    SCRIPT(engine, CHATTER);
    struct addr unit_at = rig_at(27000);

    begin();
    ENGINE_START("registry", &registry_at, registry);
    ENGINE_START("unit", &unit_at, engine);
    rig_start();
    world_run_ms(1000);
    rig_unit_is(1, 1, UNIT_LOADING, 27000);
    world_run_ms(1000);
    rig_unit_is(1, 1, UNIT_READY, 27000);
    world_run_ms(34000);
    rig_unit_is(1, 1, UNIT_BACKOFF, 0);
    world_run_ms(1000);
    rig_end_hard();
}

/* The circuit is open: it is not "running", whatever the master says of its process. */
static void join_tells_of_the_breaker(void)
{
    SCRIPT(registry, EXPECT_RECORD("n", "starting"), EXPECT_BEAT("running"), MARK,
           EXPECT_BEAT("unreachable"), AT_ONCE, EXPECT_GONE, DONE);

    begin();
    rig.conf.retry.attempts = 1;
    ENGINE_START("registry", &registry_at, registry);
    rig_start();
    world_run_ms(100);
    rig_unit_is(1, 1, UNIT_READY, 27000); /* where nobody listens */
    world_run_ms(10);
    RUN(1000, CHAT("m"), EXPECT_HONEST, DONE);
    world_run_ms(200);
    rig_end_hard();
}

/* The records go when draining begins, and the end is told behind that. */
static void join_leaves_first(void)
{
    SCRIPT(registry, EXPECT_RECORD("n", "starting"), EXPECT_DELETE("n"), PAUSE(300),
           REPLY("200 OK", "{}"), EXPECT_GONE, DONE);

    begin();
    ENGINE_START("registry", &registry_at, registry);
    rig_start();
    world_run_ms(100);
    EXPECT_WITHIN(drain(), 300, 300 + SLACK_MS);
    rig_end();
}

static void join_end_is_bounded(void)
{
    SCRIPT(registry, EXPECT_RECORD("n", "starting"), EXPECT_DELETE("n"), EXPECT_GONE, DONE);

    begin();
    ENGINE_START("registry", &registry_at, registry);
    rig_start();
    world_run_ms(100);
    EXPECT_WITHIN(drain(), 1000, 1000 + SLACK_MS);
    rig_end();
}

/* Who cuts waits for nobody. */
static void join_cut_is_at_once(void)
{
    SCRIPT(registry, EXPECT_RECORD("n", "starting"), EXPECT_DELETE("n"), EXPECT_GONE, DONE);
    uint64_t began;

    begin();
    ENGINE_START("registry", &registry_at, registry);
    rig_start();
    world_run_ms(100);
    link_master_drain(rig.master);
    world_run_ms(200);
    EXPECT(!rig.drained);
    began = world_now_ms();
    link_master_cut(rig.master);
    EXPECT(world_run_until(is_drained, NULL, 5000));
    EXPECT_WITHIN(world_now_ms() - began, 0, SLACK_MS);
    rig_end();
}

/* A reload that has nothing to do with it says nothing; another name, and another registry, are
 * told to both. */
static void join_reloads(void)
{
    SCRIPT(first, EXPECT_RECORD("n", "starting"), EXPECT_QUIET(2000), EXPECT_DELETE("n"),
           REPLY("200 OK", "{}"), EXPECT_RECORD("other", "starting"), EXPECT_DELETE("other"),
           REPLY("200 OK", "{}"), EXPECT_GONE, DONE);
    SCRIPT(second, EXPECT_RECORD("other", "starting"), EXPECT_DELETE("other"),
           REPLY("200 OK", "{}"), EXPECT_GONE, DONE);
    struct addr other_at = rig_at(8082);

    begin();
    ENGINE_START("first", &registry_at, first);
    ENGINE_START("second", &other_at, second);
    rig_start();
    world_run_ms(100);
    rig.conf.limits.queue_ms = 5000;
    EXPECT(rig_reload());
    world_run_ms(2500);
    rig.conf.registry.name = STR("other");
    EXPECT(rig_reload());
    world_run_ms(1000);
    join("http://127.0.0.1:8082", "other");
    EXPECT(rig_reload());
    world_run_ms(1000);
    rig.conf.registry = (struct registry_settings){.at = {.kind = URL_NONE}};
    EXPECT(rig_reload());
    world_run_ms(1000);
    EXPECT(drain() < SLACK_MS);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_join(void)
{
    static const struct scenario all[] = {
        ROW(join_tells_the_state) ROW(join_tells_of_the_breaker) ROW(join_leaves_first)
            ROW(join_end_is_bounded) ROW(join_cut_is_at_once) ROW(join_reloads){NULL, NULL},
    };

    return all;
}
