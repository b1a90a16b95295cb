/* SPDX-License-Identifier: Apache-2.0
 *
 * registry_sim.c - scenarios of store/: names whose addresses change after they were allowed,
 * probes of services that are well, ill, silent, replaced or removed meanwhile, and rounds of many.
 * The table is driven directly; what HTTP makes of it is test/e2e's.
 */
#include "sim/sim.h"

#include <stdio.h>

#include "base/mem.h"
#include "ev/deadline.h"
#include "sim/ev/fake.h"
#include "sim/names.h"
#include "sim/peer.h"
#include "sim/wire.h"
#include "store/prober.h"
#include "store/vetting.h"

#define SCRIPT(name, ...) static const struct step name[] = {__VA_ARGS__}

static struct {
    struct loop *loop;
    struct chunk_pool chunks;
    struct hosts *hosts;
    struct records *records;
    struct prober *prober;
    struct deadline tick;
    /* the last vetting */
    struct vetting *vetting;
    bool vetted;
    int verdict;
    struct vetting_pins pins;
    unsigned changes; /* that the prober told */
    unsigned told;    /* of those who wait */
} rig;

static void on_tick(struct deadline *d)
{
    records_at(rig.records, loop_now_ms(rig.loop), loop_wall_us(rig.loop) / 1000000);
    deadline_arm(rig.loop, d, 1000, on_tick);
}

static void on_change(void *ctx, const struct record *r)
{
    (void)ctx;
    EXPECT(r->probed != RECORDS_UNKNOWN);
    rig.changes++;
}

static void rig_open(uint64_t interval_ms)
{
    struct str_list none = {NULL, 0};
    struct prober_conf conf = {
        .interval_ms = interval_ms, .timeout_ms = 1000, .on_change = on_change};
    char memory[100];
    struct buf problem = buf_on(memory, sizeof memory);

    memset(&rig, 0, sizeof rig);
    names_clear();
    CHECK(loop_create(&rig.loop) == 0);
    CHECK(hosts_create(&none, false, &rig.hosts, &problem) == 0);
    rig.records = records_create(1000);
    conf.records = rig.records;
    conf.chunks = &rig.chunks;
    prober_create(rig.loop, &conf, &rig.prober);
    on_tick(&rig.tick);
    fake_loop_start(rig.loop);
}

static void rig_close(void)
{
    vetting_cancel(&rig.vetting);
    vetting_drop(&rig.pins);
    prober_destroy(&rig.prober);
    records_destroy(&rig.records);
    hosts_destroy(&rig.hosts);
    deadline_stop(&rig.tick);
    loop_destroy(&rig.loop);
    EXPECT_U64(rig.chunks.live, 0);
    chunk_pool_fini(&rig.chunks);
}

static void on_vetted(void *ctx, int err, const char *what, struct vetting_pins *pins)
{
    (void)ctx;
    EXPECT(err == 0 ? !*what : *what != '\0');
    rig.vetting = NULL;
    rig.vetted = true;
    rig.verdict = err;
    rig.pins.host = TAKE(&pins->host);
    rig.pins.url = TAKE(&pins->url);
}

static bool is_vetted(void *ctx)
{
    (void)ctx;
    return rig.vetted;
}

static int vet(const char *host, const char *url)
{
    vetting_drop(&rig.pins);
    rig.vetted = false;
    vetting_start(rig.loop, rig.hosts, str_of(host), str_of(url), on_vetted, NULL, &rig.vetting);
    EXPECT(world_run_until(is_vetted, NULL, 20000));
    return rig.verdict;
}

/* With the pins of the last vetting. */
static struct record *add(const char *name, const char *host, int32_t port, bool openai)
{
    struct records_fields f = {
        .name = str_of(name),
        .host = str_of(host),
        .hostname = STR("h"),
        .url = STR("http://127.0.0.1:1"),
        .status = STR("running"),
        .port = port,
        .metadata = STR("{}"),
        .openai = openai,
        .metadata_weight = -1,
        .weight = -1,
    };
    struct record *r = NULL;

    EXPECT(records_register(rig.records, &f, &rig.pins.host, &rig.pins.url, &r) == 0);
    return r;
}

static struct record *find(const char *name) { return records_find(rig.records, str_of(name)); }

static void on_told(struct prober_wait *w)
{
    list_init(&w->node);
    rig.told++;
}

static bool is_told(void *ctx) { return rig.told >= *(unsigned *)ctx; }

static void probe(const char *name)
{
    struct prober_wait w = {.fn = on_told};
    unsigned want = rig.told + 1;

    list_init(&w.node);
    EXPECT(prober_ask(rig.prober, find(name), &w) == 0);
    EXPECT(world_run_until(is_told, &want, 10000));
}

static struct addr at(const char *text)
{
    struct addr a;

    CHECK(addr_parse(str_of(text), &a) == 0);
    return a;
}

/* ---- names ---- */

/* What a name says after it was allowed is nobody's business. */
static void registry_pins_the_first_answer(void)
{
    SCRIPT(good, EXPECT_REQUEST("GET /health HTTP/1.1\r\nhost: engine.test:8001\r\n"),
           REPLY("200 OK", "{}"), DONE);
    SCRIPT(evil, EXPECT_QUIET(1), DONE);
    struct addr first = at("127.0.0.2:8001"), second = at("10.6.6.6:8001");
    struct engine *other;

    rig_open(3600000);
    names_add("engine.test", &first, 1);
    ENGINE_START("good", &first, good);
    other = ENGINE_START("evil", &second, evil);
    EXPECT(vet("engine.test", "http://engine.test:8000") == 0);
    EXPECT(rig.pins.host && rig.pins.host->n == 1 && rig.pins.url && rig.pins.url->n == 1);
    add("a", "engine.test", 8000, true);
    names_add("engine.test", &second, 1); /* rebinding */
    world_run_ms(60000);
    probe("a");
    EXPECT(find("a")->probed == RECORDS_GOOD);
    EXPECT_U64(engine_accepted(other), 0);
    engine_stop(other);
    rig_close();
}

/* Host and url are the same name: it is asked for once, so the two cannot differ. */
static void registry_one_bad_address_refuses(void)
{
    struct addr mixed[] = {at("127.0.0.2:0"), at("169.254.169.254:0")};
    struct addr hidden[] = {at("[::ffff:10.0.0.1]:0")}, fine[] = {at("[::ffff:127.0.0.3]:0")};

    rig_open(3600000);
    names_add("mixed.test", mixed, 2);
    names_add("hidden.test", hidden, 1);
    names_add("fine.test", fine, 1);
    EXPECT(vet("mixed.test", "http://127.0.0.1:1") == -E_PERM);
    EXPECT(vet("127.0.0.1", "http://mixed.test:1") == -E_PERM);
    EXPECT(vet("hidden.test", "http://127.0.0.1:1") == -E_PERM);
    EXPECT(vet("fine.test", "http://fine.test:1") == 0);
    EXPECT(rig.pins.host->at[0].family == ADDR_IP4 && rig.pins.host->at[0].ip[3] == 3);
    EXPECT(addr_same_host(&rig.pins.host->at[0], &rig.pins.url->at[0]));
    EXPECT(vet("nobody.test", "http://127.0.0.1:1") == -E_NAME);
    rig_close();
}

static void registry_silent_name_service(void)
{
    uint64_t began;

    rig_open(3600000);
    names_add("silent.test", NULL, 0);
    began = world_now_ms();
    EXPECT(vet("silent.test", "http://127.0.0.1:1") < 0);
    EXPECT_WITHIN(world_now_ms() - began, 4900, 5200);
    rig.vetted = false;
    vetting_start(rig.loop, rig.hosts, STR("silent.test"), STR("http://x.test"), on_vetted, NULL,
                  &rig.vetting);
    world_run_ms(world_between(0, 4000));
    vetting_cancel(&rig.vetting); /* the client has gone */
    world_run_ms(20000);
    EXPECT(!rig.vetted);
    rig_close();
}

/* ---- probes ---- */

/* The record changes at any moment of its probe; the result is dropped, who waits is told. */
static void registry_replaced_under_its_probe(void)
{
    SCRIPT(slow, EXPECT_REQUEST("GET /health"), PAUSE(300), REPLY("200 OK", "{}"), DONE);
    struct addr here = at("127.0.0.1:8001");
    struct prober_wait w = {.fn = on_told};
    unsigned one = 1;
    bool remove = world_random(2) == 1;

    rig_open(3600000);
    ENGINE_START("slow", &here, slow);
    EXPECT(vet("127.0.0.1", "http://127.0.0.1:1") == 0);
    add("a", "127.0.0.1", 8000, true);
    list_init(&w.node);
    EXPECT(prober_ask(rig.prober, find("a"), &w) == 0);
    world_run_ms(world_between(0, 250));
    if (remove)
        records_remove(rig.records, find("a"));
    else
        add("a", "127.0.0.1", 9000, true);
    EXPECT(world_run_until(is_told, &one, 5000));
    EXPECT(remove ? find("a") == NULL : find("a")->probed == RECORDS_UNKNOWN);
    EXPECT_U64(rig.changes, 0);
    rig_close();
}

static void registry_ends_under_its_probes(void)
{
    struct addr hole = at("127.0.0.1:8001");
    struct prober_wait w = {.fn = on_told}, forgotten = {.fn = on_told};

    rig_open(100);
    wire_route(&hole, WIRE_BLACKHOLE);
    EXPECT(vet("127.0.0.1", "http://127.0.0.1:1") == 0);
    add("a", "127.0.0.1", 8000, true);
    list_init(&w.node);
    list_init(&forgotten.node);
    EXPECT(prober_ask(rig.prober, find("a"), &w) == 0);
    EXPECT(prober_ask(rig.prober, find("a"), &forgotten) == 0);
    world_run_ms(world_between(0, 900));
    prober_forget(&forgotten);
    rig_close(); /* tells who still waits */
    EXPECT_U64(rig.told, 1);
}

static bool round_over(void *ctx)
{
    (void)ctx;
    for (struct record *r = records_after(rig.records, STR("")); r;
         r = records_after(rig.records, r->name))
        if (r->probed == RECORDS_UNKNOWN)
            return false;
    return true;
}

/* 64 at a time: 150 that never answer take three timeouts, not 150 and not one. */
static void registry_rounds_are_bounded(void)
{
    struct addr hole = at("127.0.0.1:8001");
    uint64_t began;

    rig_open(5000);
    wire_route(&hole, WIRE_BLACKHOLE);
    for (int i = 0; i < 150; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "svc-%03d", i);
        add(name, "127.0.0.1", 8000, true);
    }
    world_run_ms(4900);
    EXPECT_U64(rig.changes, 0); /* the first one interval after the start */
    began = world_now_ms();
    EXPECT(world_run_until(round_over, NULL, 20000));
    EXPECT_WITHIN(world_now_ms() - began, 3000, 3400);
    EXPECT_U64(rig.changes, 150);
    rig_close();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_registry(void)
{
    static const struct scenario all[] = {
        ROW(registry_pins_the_first_answer) ROW(registry_one_bad_address_refuses)
            ROW(registry_silent_name_service) ROW(registry_replaced_under_its_probe)
                ROW(registry_ends_under_its_probes) ROW(registry_rounds_are_bounded){NULL, NULL},
    };

    return all;
}
