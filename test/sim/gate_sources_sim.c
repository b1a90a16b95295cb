/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_sources_sim.c - scenarios of the router's table: lists of a registry that come, change, are
 * late, broken or gone, what of it selection sees, and that nothing else moves it.
 */
#include <stdio.h>

#include "gate/control_priv.h"
#include "gate/sources_priv.h"
#include "sim/gate_rig.h"
#include "sim/names.h"

enum { SYNC_MS = 2000, GRACE_MS = 6000 };

static struct addr registry_at, engine_at, babysitter_at;
static struct sources_conf conf;
static struct url registry;

#define ASKED EXPECT_REQUEST("GET /services?healthy=true HTTP/1.1")
/* As the original's doubles answer: HTTP/1.0, and the end is the end. */
#define SAYS(text)                                                                                 \
    ASKED,                                                                                         \
        SEND("HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6\r\nContent-Type: application/json\r\n"       \
             "\r\n" text),                                                                         \
        DONE
#define LISTS(elements)                                                                            \
    SAYS("{\"services\": [" elements "], \"total\": 1, \"timestamp\": \"2026-11-20T21:08:53\"}")
#define ENGINE(name, host, port, more)                                                             \
    "{\"name\": \"" name "\", \"host\": \"" host "\", \"port\": " port                             \
    ", \"last_heartbeat\": 1795208933.25" more "}"
#define META(more) ", \"metadata\": {\"type\": \"openai-api\"" more "}"
#define A ENGINE("a", "127.0.0.1", "8001", META(", \"models\": [\"m\"]"))
#define WELL REPEAT(0), EXPECT_REQUEST_OR_END("GET /health HTTP/1.1"), REPLY_JSON("{}"), AGAIN, DONE

static void begin(void)
{
    const char *why;

    registry_at = rig_at(8081);
    engine_at = rig_at(8001);
    babysitter_at = rig_at(8002);
    rig_begin(1 + (unsigned)world_random(2));
    rig.gate.rules = &gate_rules_router;
    rig.conf.probe = (struct probe_conf){
        .interval_ms = 30000, .timeout_ms = 1000, .failures = 1, .successes = 1};
    rig.conf.limits.queue_ms = 0;
    CHECK(url_parse(STR("http://127.0.0.1:8081"), &registry, &why) == 0);
    conf = (struct sources_conf){
        .registry = &registry, .sync_ms = SYNC_MS, .grace_ms = GRACE_MS, .most = 100};
    rig.conf.sources = &conf;
}

static const struct sources *sources(void) { return rig.control->sources; }

static bool is_synced(void *ctx)
{
    const struct sources *s = sources();

    return metrics_counter_read(&s->counts.syncs) >= *(uint64_t *)ctx && !s->fetch && !s->reading;
}

/* Until so many questions have had their outcome; with what follows from it. */
static void until_syncs(uint64_t n, uint64_t ms)
{
    if (!world_run_until(is_synced, &n, ms))
        sim_fail(__FILE__, __LINE__, "%llu questions, not %llu",
                 (unsigned long long)metrics_counter_read(&sources()->counts.syncs),
                 (unsigned long long)n);
    world_run_ms(50);
}

static struct member *member(const char *name) { return member_by_name(rig.control, str_of(name)); }

static const struct entry_seat *seat(const char *name)
{
    const struct entry_list *l = sources_entries(sources());

    for (uint32_t i = 0; i < l->n; i++)
        if (str_eq(l->at[i].entry->name, str_of(name)))
            return &l->at[i];
    return NULL;
}

/* Requests of it have somebody to go to, well or ill. */
static bool serves(const char *model)
{
    return snapshot_model(rig.control->snap, str_of(model)) != NULL;
}

static uint64_t failures(void) { return metrics_counter_read(&sources()->counts.failures); }

/* ---- lists that come ---- */

/* The first is asked for at the start; what it names is probed and serves at once. */
static void sources_serve_at_once(void)
{
    SCRIPT(list, LISTS(A ", {\"name\": \"svc\", \"port\": 8002}"));
    SCRIPT(engine, CHATTER);
    SCRIPT(well, WELL);

    begin();
    ENGINE_START("registry", &registry_at, list);
    ENGINE_START("engine", &engine_at, engine);
    ENGINE_START("babysitter", &babysitter_at, well);
    rig_start();
    until_syncs(1, 500);
    EXPECT_U64(rig_until_word("a", CELL_GOOD, 500) <= 500, 1);
    EXPECT(!seat("svc"));
    RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    EXPECT_U64(atomic_load(&seat("a")->cell->requests), 1);
    rig_end_hard();
}

/* From start to start, however long an answer takes. */
static void sources_every_interval(void)
{
    SCRIPT(quick, LISTS(A));
    SCRIPT(slow, ASKED, PAUSE(1500),
           SEND("HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n"
                "{\"services\":[]}"),
           DONE);

    begin();
    ENGINE_START("registry", &registry_at, quick, slow, quick);
    rig_start();
    until_syncs(1, 500);
    for (uint64_t n = 2; n < 6; n++) {
        uint64_t before = sources()->began_ms;

        until_syncs(n, SYNC_MS + 1700);
        EXPECT_WITHIN(sources()->began_ms - before, SYNC_MS, SYNC_MS + 20);
    }
    EXPECT_U64(failures(), 0);
    rig_end_hard();
}

/* A registry that is silent has ten seconds, and the next question waits for their end. */
static void sources_never_overlap(void)
{
    SCRIPT(quick, LISTS(A));
    SCRIPT(silent, ASKED, EXPECT_GONE, DONE);
    struct engine *e;

    begin();
    e = ENGINE_START("registry", &registry_at, quick, silent, quick);
    rig_start();
    until_syncs(1, 500);
    world_run_ms(SYNC_MS + 9500);
    EXPECT_U64(engine_accepted(e), 2);
    EXPECT_U64(metrics_counter_read(&sources()->counts.syncs), 2);
    until_syncs(3, 1500);
    EXPECT_U64(engine_accepted(e), 3);
    EXPECT_U64(failures(), 1);
    EXPECT_U64(entry_listed(seat("a")->entry), ENTRY_YES);
    rig_end_hard();
}

/* The token goes to the registry, and to nobody else. */
static void sources_token(void)
{
    SCRIPT(list, ASKED, EXPECT_FIELD("authorization", "Bearer s3cret"),
           EXPECT_FIELD("host", "127.0.0.1:8081"), EXPECT_FIELD("accept", "*/*"),
           REPLY_JSON("{\"services\":[{\"name\":\"a\",\"host\":\"127.0.0.1\",\"port\":8001,"
                      "\"metadata\":{\"type\":\"openai-api\",\"models\":[\"m\"]}}]}"),
           DONE);
    SCRIPT(engine, EXPECT_CHAT, EXPECT_NO_FIELD("authorization"), REPLY_CHAT, DONE);
    SCRIPT(babysitter, EXPECT_REQUEST("GET /health"), EXPECT_NO_FIELD("authorization"),
           REPLY_JSON("{}"), DONE);

    begin();
    conf.token = STR("s3cret");
    ENGINE_START("registry", &registry_at, list);
    ENGINE_START("engine", &engine_at, engine);
    ENGINE_START("babysitter", &babysitter_at, babysitter);
    rig_start();
    until_syncs(1, 500);
    rig_until_word("a", CELL_GOOD, 500);
    RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    rig_end_hard();
}

/* ---- lists that do not come ---- */

/* Whatever comes instead of a list changes nothing, for longer than any grace. */
static void sources_failures_change_nothing(void)
{
    SCRIPT(list, LISTS(A));
    SCRIPT(status, ASKED, REPLY("500 x", "{\"services\":[]}"), DONE);
    SCRIPT(redirect, ASKED,
           SEND("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:8081/empty\r\n"
                "content-length: 0\r\n\r\n"),
           DONE);
    SCRIPT(garbage, SAYS("<html>"));
    SCRIPT(cut, SAYS("{\"services\": [" A ", {\"na"));
    SCRIPT(no_list, SAYS("{\"services\": {}}"));
    SCRIPT(short_body, ASKED,
           SEND("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"services\":[]}"), DONE);
    SCRIPT(reset, ASKED, RESET, DONE);
    SCRIPT(engine, CHATTER);
    struct engine *e;
    uint64_t generation;

    begin();
    e = ENGINE_START("registry", &registry_at, list, status, redirect, garbage, cut, no_list,
                     short_body, reset);
    ENGINE_START("engine", &engine_at, engine);
    rig_start();
    until_syncs(1, 500);
    generation = rig.control->snap->generation;
    until_syncs(8, 8 * SYNC_MS);
    EXPECT_U64(failures(), 7);
    engine_stop(e); /* nobody is there */
    until_syncs(12, 6 * SYNC_MS);
    EXPECT_U64(failures(), 11);
    EXPECT_U64(rig.control->snap->generation, generation);
    EXPECT_U64(entry_listed(seat("a")->entry), ENTRY_YES);
    rig_end_hard();
}

/* ---- lists that change ---- */

/* Absent, it still serves; removed after the grace period by a list; what it carries is finished.
 */
static void sources_grace(void)
{
    SCRIPT(list, LISTS(A));
    SCRIPT(empty, LISTS(""));
    SCRIPT(engine, SLOW_CHATTER(3000));
    SCRIPT(client, CHAT("m"), EXPECT_ANSWER, DONE);
    SCRIPT(well, WELL);

    begin();
    ENGINE_START("registry", &registry_at, list, empty);
    ENGINE_START("engine", &engine_at, engine);
    ENGINE_START("babysitter", &babysitter_at, well);
    rig_start();
    until_syncs(2, SYNC_MS + 500);
    EXPECT_U64(entry_listed(seat("a")->entry), ENTRY_ABSENT);
    EXPECT(member("a")->absent && entry_healthy(seat("a")));
    RUN(4000, CHAT("m"), EXPECT_ANSWER, DONE);
    until_syncs(4, 2 * SYNC_MS);
    EXPECT(seat("a") != NULL);
    world_run_ms(500);
    client_start("client", &rig.at, client);
    until_syncs(5, SYNC_MS + 100); /* the fourth without it, three intervals behind the first */
    EXPECT(!seat("a") && !member("a") && !serves("m"));
    peers_run(4000);
    rig_end_hard();
}

/* It is called unhealthy, and well again; a probe's word is another matter. */
static void sources_unlisted(void)
{
    SCRIPT(list, LISTS(A));
    SCRIPT(ill, LISTS(ENGINE("a", "127.0.0.1", "8001",
                             ", \"is_healthy\": false" META(", \"models\": [\"m\"]"))));
    SCRIPT(engine, CHATTER);

    begin();
    ENGINE_START("registry", &registry_at, list, ill, list);
    ENGINE_START("engine", &engine_at, engine);
    rig_start();
    until_syncs(2, SYNC_MS + 500);
    EXPECT_U64(rig_word("a"), CELL_COMING); /* nobody is at the babysitter's port */
    EXPECT_U64(cell_says(member("a")->cell, CELL_LISTED), CELL_COMING);
    until_syncs(3, SYNC_MS + 500);
    EXPECT_U64(cell_says(member("a")->cell, CELL_LISTED), CELL_GOOD);
    EXPECT_U64(rig_word("a"), CELL_COMING);
    RUN(500, CHAT("m"), EXPECT_FAULT(503, "no_healthy_service"), DONE);
    rig_end_hard();
}

/* What only /services shows makes no snapshot; an address makes another engine with counters of its
 * own; what it had said about the one before is gone with it. */
static void sources_moves(void)
{
    SCRIPT(list, LISTS(A));
    SCRIPT(same, LISTS(ENGINE("a", "127.0.0.1", "8001", META(", \"models\":[\"m\"]"))));
    SCRIPT(more, LISTS(ENGINE("a", "127.0.0.1", "8001", META(", \"models\": [\"m\"], \"x\": 1"))));
    SCRIPT(renamed,
           LISTS(ENGINE("b", "LOCALHOST", "8001", META(", \"models\": [\"m\"]")) ", " ENGINE(
               "c", "127.0.0.1", "8001", META(", \"models\": [\"n\"]"))));
    SCRIPT(moved, LISTS(ENGINE("b", "127.0.0.1", "8003", META(", \"models\": [\"m\"]")) ", " ENGINE(
                      "c", "127.0.0.1", "8001", META(", \"models\": [\"n\"]"))));
    SCRIPT(well, WELL);
    struct addr here = rig_at(0);
    struct cell *cell;
    uint64_t generation;

    begin();
    conf.grace_ms = 0;
    names_add("LOCALHOST", &here, 1);
    ENGINE_START("registry", &registry_at, list, same, more, renamed, moved);
    ENGINE_START("babysitter", &babysitter_at, well);
    rig_start();
    until_syncs(1, 500);
    rig_until_word("a", CELL_GOOD, 500);
    cell = member("a")->cell;
    generation = rig.control->snap->generation;
    until_syncs(2, SYNC_MS + 500);
    until_syncs(3, SYNC_MS + 500);
    EXPECT(str_find_str(seat("a")->entry->metadata, STR("\"x\":1")) < 200);
    EXPECT_U64(rig.control->snap->generation, generation);
    until_syncs(4, SYNC_MS + 500);
    EXPECT(!member("a") && member("b")->cell == cell && seat("c")->cell == cell);
    EXPECT(seat("b")->first && !seat("c")->first);
    EXPECT_U64(rig_word("b"), CELL_GOOD);
    EXPECT_U64(member("b")->nmodels, 2);
    until_syncs(5, SYNC_MS + 500);
    EXPECT(member("c")->cell == cell && member("b")->cell != cell);
    EXPECT(seat("b")->first && seat("c")->first);
    EXPECT_U64(rig_word("b"), CELL_COMING);
    EXPECT_U64(rig_word("c"), CELL_GOOD);
    rig_end_hard();
}

/* Files: there from the start, never probed if so said, read again. */
static void sources_of_a_file(void)
{
    SCRIPT(engine, CHATTER);
    SCRIPT(empty, LISTS(""));
    static const struct listing none;
    struct listing_row row = {.name = STR("s"),
                              .host = STR("127.0.0.1"),
                              .port = 8001,
                              .url = STR("http://127.0.0.1:8001"),
                              .babysitter_url = STR("http://127.0.0.1:8002"),
                              .probe = STR("none"),
                              .healthy = true,
                              .weight = 1,
                              .metadata = STR("{\"models\":[\"m\"]}")};
    struct listing file = {.rows = &row, .n = 1, .names = &row.name, .nnames = 1, .elements = 1};

    begin();
    conf.file = &file;
    ENGINE_START("engine", &engine_at, engine);
    ENGINE_START("registry", &registry_at, empty);
    rig_start();
    RUN(500, CHAT("m"), EXPECT_ANSWER, DONE);
    until_syncs(6, 6 * SYNC_MS);
    EXPECT_U64(entry_listed(seat("s")->entry), ENTRY_YES);
    EXPECT_U64(member("s")->origin, ENGINE_STATIC);
    EXPECT_U64(member("s")->tests, 0);
    row.metadata = STR("{\"models\":[\"n\"]}");
    control_take_services(rig.control, &file);
    world_run_ms(50);
    RUN(500, CHAT("n"), EXPECT_ANSWER, DONE);
    EXPECT(!serves("m"));
    control_take_services(rig.control, &none);
    world_run_ms(50);
    EXPECT_U64(sources_entries(sources())->n, 0);
    rig_end_hard();
}

/* The end may come at any moment of a question, its answer's reading among them. */
static void sources_end_at_any_time(void)
{
    SCRIPT(list, EXPECT_REQUEST_OR_END("GET /services"),
           SEND("HTTP/1.0 200 OK\r\n\r\n{\"services\": [" A "]}"), DONE);

    begin();
    conf.sync_ms = 5;
    ENGINE_START("registry", &registry_at, list);
    rig_start();
    world_run_ms(world_random(40));
    rig_end_hard();
}

/* Rows have a bound, and what is beyond it comes when there is room. */
static void sources_full(void)
{
    SCRIPT(list,
           LISTS(A ", " ENGINE("b", "h", "1", META("")) ", " ENGINE("c", "h", "2", META(""))));
    SCRIPT(fewer, LISTS(A ", " ENGINE("c", "h", "2", META(""))));

    begin();
    conf.most = 2;
    conf.grace_ms = 0;
    ENGINE_START("registry", &registry_at, list, fewer);
    rig_start();
    until_syncs(1, 500);
    EXPECT(seat("a") && seat("b") && !seat("c"));
    EXPECT_U64(metrics_counter_read(&sources()->counts.ignored), 1);
    until_syncs(3, 2 * SYNC_MS + 500);
    EXPECT(seat("a") && !seat("b") && seat("c"));
    rig_end_hard();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_sources(void)
{
    static const struct scenario all[] = {
        ROW(sources_serve_at_once) ROW(sources_every_interval) ROW(sources_never_overlap)
            ROW(sources_token) ROW(sources_failures_change_nothing) ROW(sources_grace)
                ROW(sources_unlisted) ROW(sources_moves) ROW(sources_of_a_file)
                    ROW(sources_end_at_any_time) ROW(sources_full){NULL, NULL},
    };

    return all;
}
