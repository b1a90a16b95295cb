/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_life_sim.c - scenarios of a gateway's life: how it ends, how it takes another configuration
 * while it works, how it finds engines and tells whether they answer, and what its admin side says.
 */
#include "sim/gate_rig.h"

static struct addr at;

static void begin(void)
{
    at = rig_at(8001);
    rig_begin(1 + (unsigned)world_random(2));
}

static struct engine *begin_with(const struct step *script)
{
    begin();
    rig_remote("a", "http://127.0.0.1:8001", 1, MODELS(M("m")));
    return ENGINE_START("engine", &at, script);
}

static bool is_drained(void *ctx)
{
    (void)ctx;
    return rig.drained;
}

static void wait_drained(uint64_t ms) { EXPECT(world_run_until(is_drained, NULL, ms)); }

/* A short stream of two seconds. */
#define STREAMER                                                                                   \
    REPEAT(0), EXPECT_CHAT_OR_END, STREAM_HEAD, CHUNK(EVENT("a")), PAUSE(2000), CHUNK(EVENT("b")), \
        STREAM_DONE, AGAIN, DONE

/* ---- the end ---- */

/* First /ready says no, then nothing is accepted, then what was begun is finished. */
static void life_drain(void)
{
    SCRIPT(engine, STREAMER);
    SCRIPT(busy, CHAT_STREAM("m"), EXPECT_STATUS(200),
           EXPECT_BODY(EVENT("a") EVENT("b") "data: [DONE]\n\n"), EXPECT_END, DONE);
    SCRIPT(idler, GET("/ready"), EXPECT_STATUS(200), EXPECT_BODY_HAS("ready"), EXPECT_END, DONE);
    SCRIPT(between, GET("/ready"), EXPECT_STATUS(503), EXPECT_BODY_HAS("draining"),
           GET("/v1/models"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"m\""), EXPECT_END, DONE);

    begin_with(engine);
    rig.conf.limits.drain_delay_ms = 1000;
    rig_start();
    client_start("idler", &rig.at, idler);
    world_run_ms(50);
    link_master_drain(rig.master);
    world_run_ms(50);
    client_start("between", &rig.at, between);
    client_start("busy", &rig.at, busy);
    world_run_ms(800);
    EXPECT(!rig.drained);
    EXPECT_U64(rig_requests(), 1);
    world_run_ms(500);
    EXPECT_U64(rig_connections(), 1);
    EXPECT(!rig.drained);
    wait_drained(1500);
    peers_run(1000);
    world_run_ms(50);
    EXPECT_U64(rig_connections(), 0);
    rig_end();
}

static void life_drain_nothing(void)
{
    begin();
    rig_start();
    link_master_drain(rig.master);
    wait_drained(100);
    rig_end();
}

static void life_drain_before_the_first_configuration(void)
{
    begin();
    link_master_drain(rig.master);
    wait_drained(100);
    rig_end();
}

/* Requests that take too long are told so, then cut. */
static void life_drain_limit(void)
{
    SCRIPT(engine, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a")), EXPECT_END, DONE);
    SCRIPT(waits, CHAT("m"), EXPECT_FAULT(503, "draining"), EXPECT_END, DONE);
    SCRIPT(busy, CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_SOME(10),
           EXPECT_SO_FAR("\"code\":\"draining\""), EXPECT_CUT, DONE);

    begin_with(engine);
    rig.conf.limits.drain_ms = 3000;
    rig_start();
    client_start("busy", &rig.at, busy);
    world_run_ms(50);
    client_start("waits", &rig.at, waits);
    world_run_ms(50);
    EXPECT_U64(rig_tickets(), 1);
    link_master_drain(rig.master);
    world_run_ms(2800);
    EXPECT(!rig.drained);
    wait_drained(400);
    peers_run(3000);
    rig_end();
}

static void life_second_signal(void)
{
    SCRIPT(engine, EXPECT_CHAT, STREAM_HEAD, CHUNK(EVENT("a")), EXPECT_END, DONE);
    SCRIPT(busy, CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_SOME(10),
           EXPECT_SO_FAR("\"code\":\"draining\""), EXPECT_CUT, DONE);

    begin_with(engine);
    rig.conf.limits.drain_delay_ms = world_chance(50) ? 5000 : 0;
    rig_start();
    client_start("busy", &rig.at, busy);
    world_run_ms(50);
    link_master_drain(rig.master);
    world_run_ms(500);
    EXPECT(!rig.drained);
    link_master_cut(rig.master);
    wait_drained(100);
    peers_run(3000);
    rig_end();
}

/* The master dies in the middle of everything. */
static void life_master_dies(void)
{
    SCRIPT(engine, REPEAT(0), EXPECT_CHAT_OR_END, STREAM_HEAD, CHUNK(EVENT("a")), PAUSE(100),
           CHUNK(EVENT("b")), PAUSE(100), STREAM_DONE, AGAIN, EXPECT_GONE, DONE);
    SCRIPT(any, CHAT_STREAM("m"), EXPECT_GONE, DONE);

    begin_with(engine);
    rig_start();
    for (unsigned i = 0; i < 8; i++) {
        client_start("client", &rig.at, any);
        world_run_ms(world_between(0, 60));
    }
    rig_end_hard();
    peers_run(1000);
}

/* ---- other configurations ---- */

static void life_reload_under_requests(void)
{
    SCRIPT(engine, SLOW_CHATTER(30));
    SCRIPT(busy, REPEAT(10), CHAT("m"), EXPECT_ANSWER, AGAIN, DONE);

    begin_with(engine);
    rig_start();
    for (unsigned i = 0; i < 3; i++)
        client_start("busy", &rig.at, busy);
    for (unsigned i = 0; i < 8; i++) {
        world_run_ms(world_between(1, 90));
        rig.conf.limits.queue_ms = 20000 + i;
        rig.conf.remote[0].slots = 1 + i % 3;
        if (i % 4 == 3)
            rig.conf.remote[0].url =
                i % 8 == 3 ? STR("http://localhost:8001") : STR("http://127.0.0.1:8001");
        if (i % 4 == 3)
            rig.conf.remote[0].at.host = i % 8 == 3 ? STR("localhost") : STR("127.0.0.1");
        EXPECT(rig_reload());
    }
    peers_run(30000);
    rig_end();
}

static void life_reload_refused(void)
{
    SCRIPT(engine, CHATTER);

    begin_with(engine);
    rig_start();
    rig.conf.refuse = "no such thing";
    rig.conf.remotes.n = 0;
    EXPECT(!rig_reload());
    EXPECT(rig.refused);
    RUN(3000, CHAT("m"), EXPECT_ANSWER, DONE);
    rig.conf.refuse = NULL;
    EXPECT(rig_reload());
    RUN(3000, CHAT("m"), EXPECT_FAULT(404, "model_not_found"), DONE);
    rig_end();
}

static void life_reload_changes_limits(void)
{
    SCRIPT(engine, EXPECT_CHAT, EXPECT_END, DONE);

    begin_with(engine);
    rig_start();
    rig.conf.limits.first_byte_ms = 500;
    EXPECT(rig_reload());
    world_run_ms(20);
    RUN(3000, CHAT("m"), MARK, EXPECT_FAULT(504, "upstream_timeout"), SINCE(450, 600), DONE);
    rig_end();
}

/* ---- finding engines ---- */

#define LIST(server, model)                                                                        \
    STEP(reply,                                                                                    \
         .text = "{\"object\":\"list\",\"data\":[{\"id\":\"" model "\",\"object\":\"model\"}]}",   \
         .n = sizeof("{\"object\":\"list\",\"data\":[{\"id\":\"" model                             \
                     "\",\"object\":\"model\"}]}") -                                               \
              1,                                                                                   \
         .value = "200 OK", .more = "server: " server "\r\n")
#define LISTER(server, model)                                                                      \
    REPEAT(0), EXPECT_REQUEST_OR_END("GET /v1/models HTTP/1.1"), LIST(server, model), AGAIN, DONE

static void life_discovery(void)
{
    SCRIPT(engine, LISTER("llama.cpp", "found"));
    SCRIPT(chats, CHATTER);
    struct addr usual = rig_at(8080);
    struct engine *e;

    begin();
    rig.conf.discover = true;
    rig_start();
    world_run_ms(100);
    RUN(1000, CHAT("found"), EXPECT_FAULT(404, "model_not_found"), DONE);
    e = ENGINE_START("llama", &usual, engine, chats);
    world_run_ms(5200);
    RUN(1000, GET("/v1/models"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"found\""), CHAT("found"),
        EXPECT_ANSWER, DONE);
    engine_kill(e);
    world_run_ms(5200);
    RUN(1000, CHAT("found"), EXPECT_FAULT(404, "model_not_found"), DONE);
    rig_end();
}

/* What answers as inferd is no engine: two of them would send requests in circles. */
static void life_discovery_shuns_its_own_kind(void)
{
    SCRIPT(engine, LISTER("inferd/" INFERD_VERSION, "circle"));
    struct addr usual = rig_at(8000);

    begin();
    rig.conf.discover = true;
    ENGINE_START("inferd", &usual, engine);
    rig_start();
    world_run_ms(6000);
    RUN(1000, CHAT("circle"), EXPECT_FAULT(404, "model_not_found"), DONE);
    rig_end();
}

/* A remote without models is asked, every 5 s. */
static void life_models_are_asked(void)
{
    SCRIPT(engine, EXPECT_REQUEST("GET /v1/models"), EXPECT_FIELD("authorization", "Bearer key"),
           LIST("x", "one"), EXPECT_REQUEST("GET /v1/models"), MARK, LIST("x", "two"),
           EXPECT_REQUEST_OR_END("GET /v1/models"), SINCE(4800, 5300), LIST("x", "two"),
           EXPECT_CLOSED, DONE);

    begin();
    rig_remote("a", "http://127.0.0.1:8001", 0, (struct str_list){NULL, 0})->api_key = STR("key");
    ENGINE_START("engine", &at, engine);
    rig_start();
    world_run_ms(500);
    RUN(100, GET("/v1/models/one"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"one\""), DONE);
    world_run_ms(5000);
    RUN(100, GET("/v1/models/one"), EXPECT_FAULT(404, "model_not_found"), GET("/v1/models/two"),
        EXPECT_STATUS(200), EXPECT_BODY_HAS("\"two\""), DONE);
    rig_end();
}

/* ---- units: ready, silent, answering again ---- */

static struct engine *begin_unit(const struct step *first, const struct step *then)
{
    at = rig_at(27001);
    rig_begin(1 + (unsigned)world_random(2));
    rig_unit("u", 0, MODELS(M("m")));
    rig_start();
    return first ? ENGINE_START("unit", &at, first, then) : NULL;
}

#define HEALTH(status_line) EXPECT_REQUEST_OR_END("GET /health HTTP/1.1"), REPLY(status_line, "x")

static void life_ready_by_health(void)
{
    SCRIPT(loading, REPEAT(5), HEALTH("503 Service Unavailable"), AGAIN, REPEAT(0),
           HEALTH("200 OK"), AGAIN, DONE);

    begin_unit(loading, loading);
    rig_unit_is(1, 1, UNIT_LOADING, 27001);
    rig_wait_report(1, LINK_REPORT_READY, 0, 3000);
    EXPECT_U64(rig.reports[0].generation, 1);
    rig_end();
}

static void life_ready_by_models(void)
{
    SCRIPT(engine, REPEAT(0), EXPECT_REQUEST_OR_END("GET /health HTTP/1.1"),
           REPLY("404 Not Found", "x"), EXPECT_REQUEST_OR_END("GET /v1/models HTTP/1.1"),
           LIST("x", "m"), AGAIN, DONE);

    begin_unit(engine, engine);
    rig_unit_is(1, 1, UNIT_LOADING, 27001);
    rig_wait_report(1, LINK_REPORT_READY, 0, 3000);
    rig_end();
}

/* The port opens late: refused connects are tried again soon. */
static void life_ready_when_the_port_opens(void)
{
    SCRIPT(engine, REPEAT(0), HEALTH("200 OK"), AGAIN, DONE);
    uint64_t opened;

    begin_unit(NULL, NULL);
    rig_unit_is(1, 1, UNIT_LOADING, 27001);
    world_run_ms(3000);
    ENGINE_START("unit", &at, engine);
    opened = world_now_ms();
    rig_wait_report(1, LINK_REPORT_READY, 0, 3000);
    EXPECT_WITHIN(world_now_ms() - opened, 0, 260);
    rig_end();
}

static void life_silent_unit(void)
{
    SCRIPT(hung, EXPECT_REQUEST_OR_END("GET /health"), EXPECT_GONE, DONE);
    SCRIPT(back, REPEAT(0), HEALTH("500 Internal Server Error"), AGAIN, DONE);
    uint64_t began;

    at = rig_at(27001);
    rig_begin(1 + (unsigned)world_random(2));
    rig_unit("u", 0, MODELS(M("m")))->live_timeout_ms = 1000;
    rig_start();
    ENGINE_START("unit", &at, hung, hung, hung, hung, back);
    rig_unit_is(1, 1, UNIT_READY, 27001);
    began = world_now_ms();
    rig_wait_report(1, LINK_REPORT_SILENT, 0, 12000);
    /* an interval of 2 s and three timeouts of 1 s: who is silent is asked again sooner */
    EXPECT_WITHIN(world_now_ms() - began, 4900, 5100);
    rig_unit_is(1, 1, UNIT_UNRESPONSIVE, 27001);
    rig_wait_report(1, LINK_REPORT_READY, 0, 5000); /* any answer counts */
    rig_unit_is(1, 1, UNIT_READY, 27001);
    world_run_ms(7000);
    EXPECT_U64(rig_count_reports(1, LINK_REPORT_SILENT), 1);
    rig_end();
}

/* A unit that drains gets nothing new; when its last request has ended the master hears of it. */
static void life_unit_drains(void)
{
    SCRIPT(engine, STREAMER);
    SCRIPT(busy, CHAT_STREAM("m"), EXPECT_STATUS(200), EXPECT_BODY_HAS("[DONE]"), DONE);
    SCRIPT(late, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"), DONE);

    begin_unit(engine, engine);
    rig_unit_is(1, 1, UNIT_READY, 27001);
    world_run_ms(20);
    client_start("busy", &rig.at, busy);
    world_run_ms(100);
    rig_unit_is(1, 1, UNIT_DRAINING, 27001);
    world_run_ms(100);
    client_start("late", &rig.at, late);
    world_run_ms(500);
    EXPECT_U64(rig_count_reports(1, LINK_REPORT_IDLE), 0);
    peers_run(4000);
    rig_wait_report(1, LINK_REPORT_IDLE, 0, 200);
    rig_unit_is(1, 1, UNIT_STOPPED, 27001);
    rig_end();
}

/* ---- the admin side ---- */

static void life_admin(void)
{
    SCRIPT(engine, SLOW_CHATTER(300));
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, DONE);
    SCRIPT(admin, GET("/status"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"waiting\":1"),
           GET("/metrics"), EXPECT_STATUS(200), EXPECT_BODY_HAS("inferd_requests_in_flight 2"),
           GET("/units"), EXPECT_STATUS(200), EXPECT_BODY_HAS("\"name\":\"u\""), GET("/services"),
           EXPECT_STATUS(200), EXPECT_BODY_HAS("{"), GET("/stats"), EXPECT_STATUS(200),
           EXPECT_BODY_HAS("{"), POST("/units/u/restart", ""), EXPECT_STATUS(200),
           EXPECT_BODY("{\"message\":\"as you say\"}"), POST("/units/x/stop", ""),
           EXPECT_FAULT(404, "service_not_found"), POST("/reload", ""), EXPECT_STATUS(200),
           EXPECT_BODY_HAS("as you say"),
           SEND("GET /status HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n\r\n"),
           EXPECT_FAULT(403, "origin_not_allowed"), DONE);

    begin();
    rig_remote("a", "http://127.0.0.1:8001", 1, MODELS(M("m")));
    rig_unit("u", 1, MODELS(M("n")));
    ENGINE_START("engine", &at, engine);
    rig_start();
    rig_unit_is(1, 1, UNIT_STOPPED, 27001);
    client_start("busy", &rig.at, busy);
    client_start("busy", &rig.at, busy);
    world_run_ms(30);
    client_start("admin", &rig.ctl_at, admin);
    peers_run(9000);
    EXPECT_U64(rig.asks, 2);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_life(void)
{
    static const struct scenario all[] = {
        ROW(life_drain) ROW(life_drain_nothing) ROW(life_drain_before_the_first_configuration)
            ROW(life_drain_limit) ROW(life_second_signal) ROW(life_master_dies)
                ROW(life_reload_under_requests) ROW(life_reload_refused)
                    ROW(life_reload_changes_limits) ROW(life_discovery)
                        ROW(life_discovery_shuns_its_own_kind) ROW(life_models_are_asked)
                            ROW(life_ready_by_health) ROW(life_ready_by_models)
                                ROW(life_ready_when_the_port_opens) ROW(life_silent_unit)
                                    ROW(life_unit_drains) ROW(life_admin){NULL, NULL},
    };

    return all;
}
