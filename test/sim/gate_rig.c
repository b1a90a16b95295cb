/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_rig.c - see gate_rig.h. It plays the role of role/gateway.c, without threads: each lane has
 * a loop of its own, and the world lets them take turns.
 */
#include "sim/gate_rig.h"

#include <stdio.h>

#include "api/api.h"
#include "base/mem.h"
#include "ev/memfd.h"
#include "ev/packet.h"
#include "gate/control_priv.h"
#include "gate/lane_priv.h"
#include "gate/linked.h"
#include "sim/ev/fake.h"

enum { PLENTY_MS = 20000 };

struct rig rig;

/* ---- configurations ---- */

#define LIMIT_DEFAULT(T, key, TYPE, dflt, least, most, when, text) .key = (dflt),
static const struct limits default_limits = {LIMITS_OPTIONS(LIMIT_DEFAULT, limits)};
/* Not tested: most engines of scenarios answer what is written down for them and nothing else. */
static const struct probe_conf no_probes = {.timeout_ms = 1000, .failures = 3, .successes = 2};

static const struct affinity_conf default_affinity = {
    .enabled = true, .header = {"x-session-id", 12}, .load_factor = 1.25, .min_load = 8};

static void conf_unref(void *owner)
{
    struct rig_conf *c = owner;

    CHECK(c->refs > 0);
    if (--c->refs > 0)
        return;
    for (unsigned i = 0; i < rig.given_n; i++)
        if (rig.given[i] == c)
            rig.given[i] = NULL;
    mem_free(c);
}

/* A copy that holds until its last user lets go; returns its number. */
static unsigned conf_give(void)
{
    struct rig_conf *c = mem_dup(&rig.conf, sizeof rig.conf);

    c->refs = 1;
    c->listens.at = c->listen;
    c->engines.at = c->engine;
    c->remotes.at = c->remote;
    c->aliases.at = c->alias;
    c->keys.at = c->key;
    c->trusted.at = c->net;
    CHECK(rig.given_n < ARRAY_LEN(rig.given));
    rig.given[rig.given_n] = c;
    return rig.given_n++;
}

static int parse(void *ctx, struct str bundle, struct control_settings *ret, struct buf *why)
{
    struct rig_conf *c;
    uint64_t n = 0;

    CHECK(ctx == &rig && str_u64(bundle, &n) && n < rig.given_n && rig.given[n]);
    c = rig.given[n];
    if (c->refuse) {
        buf_text(why, c->refuse);
        conf_unref(c);
        return -E_CONF;
    }
    *ret = (struct control_settings){
        .limits = &c->limits,
        .probe = &c->probe,
        .retry = &c->retry,
        .breaker = &c->breaker,
        .listens = &c->listens,
        .engines = &c->engines,
        .remotes = &c->remotes,
        .aliases = &c->aliases,
        .affinity = &c->affinity,
        .keys = c->asks_keys ? &c->keys : NULL,
        .trusted = &c->trusted,
        .registry = &c->registry,
        .failures_per_s = 10,
        .sources = c->sources,
        .authorization = c->authorization,
        .discover = c->discover,
        .owner = c, /* the reference it was born with */
        .unref = conf_unref,
    };
    return 0;
}

/* The caller's list goes with its scope. */
static struct str_list keep(struct str_list list)
{
    struct str *at = rig.models[rig.models_n++];

    CHECK(rig.models_n <= ARRAY_LEN(rig.models) && list.n <= RIG_PLACES);
    for (size_t i = 0; i < list.n; i++)
        at[i] = list.at[i];
    return (struct str_list){at, list.n};
}

struct remote_conf *rig_remote(const char *name, const char *url, uint32_t slots,
                               struct str_list models)
{
    struct remote_conf *r = &rig.conf.remote[rig.conf.remotes.n++];
    const char *why = NULL;

    CHECK(rig.conf.remotes.n <= RIG_REMOTES);
    *r = (struct remote_conf){.name = str_of(name),
                              .url = str_of(url),
                              .slots = slots,
                              .weight = 1,
                              .models = keep(models)};
    if (models.n > 0)
        r->kind = ENGINE_KIND_OPENAI;
    CHECK(url_parse(r->url, &r->at, &why) == 0);
    return r;
}

struct engine_conf *rig_unit(const char *name, uint32_t slots, struct str_list models)
{
    struct engine_conf *e = &rig.conf.engine[rig.conf.engines.n++];

    CHECK(rig.conf.engines.n <= RIG_PLACES);
    *e = (struct engine_conf){.name = str_of(name),
                              .slots = slots,
                              .weight = 1,
                              .models = keep(models),
                              .live_interval_ms = 2000,
                              .live_timeout_ms = 5000};
    if (models.n > 0)
        e->kind = ENGINE_KIND_OPENAI;
    return e;
}

void rig_alias(const char *name, const char *target)
{
    struct model_conf *a = &rig.conf.alias[rig.conf.aliases.n++];

    CHECK(rig.conf.aliases.n <= RIG_PLACES);
    *a = (struct model_conf){.name = str_of(name), .target = str_of(target)};
}

struct key_conf *rig_key(const char *id, const char *secret, struct str_list models)
{
    struct key_conf *k = &rig.conf.key[rig.conf.keys.n++];

    CHECK(rig.conf.keys.n <= RIG_PLACES);
    *k = (struct key_conf){.id = str_of(id),
                           .models = keep(models),
                           .concurrency = OPTION_UNSET_U32,
                           .requests_per_minute = OPTION_UNSET_U32,
                           .tokens_per_minute = OPTION_UNSET_U64};
    keys_digest(str_of(secret), k->digest);
    rig.conf.asks_keys = true;
    return k;
}

/* ---- the gateway's role ---- */

static void start_lanes(void *ctx, struct snapshot *first)
{
    CHECK(ctx == &rig);
    for (uint32_t i = 0; i < rig.gate.nlanes; i++) {
        struct lane *l;

        CHECK(loop_create(&rig.lane_loops[i]) == 0);
        lane_create(&rig.gate, i, rig.lane_loops[i], snapshot_ref(first), &l);
        fake_loop_start(rig.lane_loops[i]);
    }
}

static void on_commit(void *ctx, void *owner) { CHECK(ctx == &rig && owner != NULL); }

static void on_over(void *ctx)
{
    CHECK(ctx == &rig);
    rig.over = true;
}

static const struct linked_ops linked_ops = {
    .parse = parse, .on_commit = on_commit, .start_lanes = start_lanes, .on_over = on_over};

/* ---- the master's end ---- */

static void on_ask(void *ctx, uint32_t ticket, enum link_verb verb, uint32_t unit)
{
    (void)ctx;
    rig.asked = verb;
    rig.asked_unit = unit;
    rig.asks++;
    link_master_answer(rig.master, ticket, 0, STR("as you say"));
}

static void on_report(void *ctx, uint32_t unit, uint32_t generation, enum link_report report)
{
    (void)ctx;
    CHECK(rig.reports_n < RIG_REPORTS);
    world_note("master: report %u of unit %u, generation %u", report, unit, generation);
    rig.reports[rig.reports_n++] = (struct rig_report){unit, generation, report, world_now_ms()};
}

static void on_ack(void *ctx, uint32_t generation, struct str problem)
{
    (void)ctx;
    EXPECT_U64(generation, rig.generation);
    rig.acked = true;
    rig.refused = problem.n > 0;
    if (rig.refused)
        link_master_abandon(rig.master);
    else
        link_master_commit(rig.master);
}

static void on_swapped(void *ctx, uint32_t generation)
{
    (void)ctx;
    EXPECT_U64(generation, rig.generation);
    rig.swapped = true;
}

static void on_accepting(void *ctx)
{
    (void)ctx;
    EXPECT(!rig.accepting);
    rig.accepting = true;
}

static void on_drained(void *ctx)
{
    (void)ctx;
    EXPECT(!rig.drained);
    rig.drained = true;
}

static void on_closed(void *ctx, bool broken)
{
    (void)ctx;
    sim_fail(__FILE__, __LINE__, "the gateway closed its link (%s)", broken ? "broken" : "gone");
}

static const struct link_master_ops master_ops = {
    .on_ask = on_ask,
    .on_report = on_report,
    .on_ack = on_ack,
    .on_swapped = on_swapped,
    .on_accepting = on_accepting,
    .on_drained = on_drained,
    .on_closed = on_closed,
};

static bool is_true(void *flag) { return *(bool *)flag; }

static void wait_for(bool *flag, uint64_t ms)
{
    if (!world_run_until(is_true, flag, ms))
        sim_fail(__FILE__, __LINE__, "the master waited in vain");
}

/* ---- life ---- */

struct addr rig_at(uint16_t port)
{
    return (struct addr){.family = ADDR_IP4, .port = port, .ip = {127, 0, 0, 1}};
}

void rig_begin(unsigned lanes)
{
    struct ev_fd a, b;

    log_set_level(world_notes() ? LOG_TRACE : LOG_OFF);
    memset(&rig, 0, sizeof rig);
    rig.conf.limits = default_limits;
    rig.conf.affinity = default_affinity;
    rig.conf.probe = no_probes;
    rig.conf.breaker = (struct breaker_conf){.broken = 3, .model_failures = 5};
    rig.conf.retry =
        (struct retry_conf){.attempts = 3, .budget_percent = 20, .mask = RETRY_DEFAULT};
    rig.conf.listens.n = 1;
    CHECK(addr_parse(STR("127.0.0.1:8900"), &rig.at) == 0);
    CHECK(addr_parse(STR("unix:/run/inferd/ctl.sock"), &rig.ctl_at) == 0);
    CHECK(addr_parse(STR("127.0.0.1:8901"), &rig.second_at) == 0);
    rig.conf.listen[0] = (struct listen_conf){.address = STR("127.0.0.1:8900"), .addr = rig.at};
    rig.conf.listen[1] =
        (struct listen_conf){.address = STR("127.0.0.1:8901"), .addr = rig.second_at};
    rig.gate.api = api_gate();
    rig.gate.rules = &gate_rules_up;
    rig.gate.nlanes = lanes;
    rig.gate.seed = 7;
    clients_create(rig.gate.seed, &rig.gate.clients);
    CHECK(listener_bind(&rig.at, 128, 0, &rig.listener) == 0);
    CHECK(listener_bind(&rig.second_at, 128, 0, &rig.second) == 0);
    CHECK(listener_bind(&rig.ctl_at, 128, 0600, &rig.ctl) == 0);
    CHECK(packet_pair(&a, &b) == 0);
    CHECK(loop_create(&rig.master_loop) == 0);
    CHECK(loop_create(&rig.control_loop) == 0);
    CHECK(link_master_open(rig.master_loop, &a, &master_ops, &rig, &rig.master) == 0);
    CHECK(linked_create(&rig.gate, rig.control_loop, &b, &linked_ops, &rig, &rig.linked) == 0);
    rig.control = linked_control(rig.linked);
    fake_loop_start(rig.master_loop);
    fake_loop_start(rig.control_loop);
}

static void hand_over(void)
{
    struct link_listener listeners[3] = {
        {.id = 1, .kind = LINK_LISTENER_DATA, .index = 0, .address = "127.0.0.1:8900"},
        {.id = 2, .kind = LINK_LISTENER_CTL, .address = "unix:/run/inferd/ctl.sock"},
        {.id = 3, .kind = LINK_LISTENER_DATA, .index = 1, .address = "127.0.0.1:8901"},
    };
    struct ev_fd sockets[3] = {rig.listener, rig.ctl, rig.second}, bundle;
    unsigned n = rig.conf.listens.n == 2 ? 3 : 2;
    char text[12];

    (void)snprintf(text, sizeof text, "%u", conf_give());
    CHECK(memfd_freeze("conf", str_of(text), &bundle) == 0);
    rig.acked = rig.refused = rig.swapped = false;
    CHECK(link_master_config(rig.master, ++rig.generation, &bundle, listeners, sockets, n) == 0);
    ev_fd_close(&bundle);
}

void rig_start(void)
{
    hand_over();
    wait_for(&rig.accepting, PLENTY_MS);
    EXPECT(rig.swapped && !rig.refused);
}

static bool decided(void *ctx)
{
    (void)ctx;
    return rig.swapped || (rig.acked && rig.refused);
}

bool rig_reload(void)
{
    hand_over();
    EXPECT(world_run_until(decided, NULL, PLENTY_MS));
    if (rig.swapped && rig.conf.listens.n < 2)
        ev_fd_close(&rig.second);
    return rig.swapped;
}

void rig_unit_is(uint32_t id, uint32_t generation, enum unit_state state, uint16_t port)
{
    struct link_unit u = {.id = id,
                          .generation = generation,
                          .state = state,
                          .port = port,
                          .since_ms = world_now_ms()};
    struct str name;

    CHECK(id >= 1 && id <= rig.conf.engines.n);
    name = rig.conf.engine[id - 1].name;
    u.pid = link_state_runs(state) ? (pid_t)(1000 + generation) : 0;
    memcpy(u.name, name.p, name.n);
    link_master_unit(rig.master, &u, NULL);
}

void rig_unit_gone(uint32_t id) { link_master_unit_gone(rig.master, id); }

unsigned rig_count_reports(uint32_t unit, enum link_report report)
{
    unsigned n = 0;

    for (unsigned i = 0; i < rig.reports_n; i++)
        n += rig.reports[i].unit == unit && rig.reports[i].report == report;
    return n;
}

struct awaited {
    uint32_t unit;
    enum link_report report;
    unsigned nth;
};

static bool reported(void *ctx)
{
    const struct awaited *a = ctx;

    return rig_count_reports(a->unit, a->report) > a->nth;
}

void rig_wait_report(uint32_t unit, enum link_report report, unsigned nth, uint64_t ms)
{
    struct awaited a = {unit, report, nth};

    if (!world_run_until(reported, &a, ms))
        sim_fail(__FILE__, __LINE__, "no report %u of unit %u (%u so far)", report, unit,
                 rig_count_reports(unit, report));
}

/* ---- looking inside ---- */

enum cell_verdict rig_word(const char *member)
{
    const struct member *m = member_by_name(rig.control, str_of(member));

    CHECK(m);
    return cell_says(m->cell, CELL_PROBED);
}

struct awaited_word {
    const char *member;
    enum cell_verdict word;
};

static bool has_word(void *ctx)
{
    const struct awaited_word *a = ctx;

    return rig_word(a->member) == a->word;
}

uint64_t rig_until_word(const char *member, enum cell_verdict v, uint64_t ms)
{
    struct awaited_word a = {member, v};
    uint64_t began = world_now_ms();

    if (!world_run_until(has_word, &a, ms))
        sim_fail(__FILE__, __LINE__, "the word of %s is %d, not %d", member, (int)rig_word(member),
                 (int)v);
    return world_now_ms() - began;
}

unsigned rig_tickets(void) { return tickets_count(rig.control->tickets); }

unsigned rig_in_flight(void)
{
    struct member *m;
    unsigned n = 0;

    list_each(m, &rig.control->members, node) n += cell_load(m->cell);
    return n;
}

unsigned rig_requests(void)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < rig.gate.nlanes; i++) {
        struct req *r;

        if (rig.gate.lanes[i])
            list_each(r, &rig.gate.lanes[i]->requests, node) n++;
    }
    return n;
}

unsigned rig_connections(void)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < rig.gate.nlanes; i++)
        n += server_connections(rig.gate.lanes[i]->server);
    return n;
}

uint64_t rig_count(size_t offset)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < rig.gate.nlanes; i++) {
        const char *shard = (const char *)lane_shard(rig.gate.lanes[i]);
        uint64_t one;

        memcpy(&one, shard + offset, sizeof one);
        n += one;
    }
    return n;
}

/* True when nothing is under way between clients and engines. */
static bool is_idle(void *ctx)
{
    struct member *m;

    (void)ctx;
    if (rig_requests() > 0 || rig_tickets() > 0 || atomic_load(&rig.gate.buffered) > 0)
        return false;
    list_each(m, &rig.control->members, node)
    {
        if (cell_load(m->cell) > 0 || atomic_load(&m->cell->waiting) > 0)
            return false;
    }
    return true;
}

void rig_wait_idle(uint64_t ms)
{
    struct member *m;

    if (world_run_until(is_idle, NULL, ms))
        return;
    list_each(m, &rig.control->members, node)(void)
        fprintf(stderr, "%s: %u in flight, %u waiting\n", m->name, cell_load(m->cell),
                atomic_load(&m->cell->waiting));
    sim_fail(__FILE__, __LINE__, "not idle: %u requests, %u tickets, %llu bytes held",
             rig_requests(), rig_tickets(), (unsigned long long)atomic_load(&rig.gate.buffered));
}

/* ---- the end ---- */

static bool lanes_stopped(void *ctx)
{
    (void)ctx;
    for (uint32_t i = 0; i < rig.gate.nlanes; i++)
        if (rig.gate.lanes[i] && fake_loop_running(rig.lane_loops[i]))
            return false;
    return true;
}

static void take_down(void)
{
    for (uint32_t i = 0; i < rig.gate.nlanes; i++)
        if (rig.gate.lanes[i])
            gate_post_lane(&rig.gate, i, gate_lane_mail(LANE_STOP));
    EXPECT(world_run_until(lanes_stopped, NULL, PLENTY_MS));
    for (uint32_t i = 0; i < rig.gate.nlanes; i++) {
        lane_destroy(&rig.gate.lanes[i]);
        loop_destroy(&rig.lane_loops[i]);
    }
    linked_destroy(&rig.linked);
    loop_destroy(&rig.control_loop);
    loop_destroy(&rig.master_loop);
    ev_fd_close(&rig.listener);
    ev_fd_close(&rig.second);
    ev_fd_close(&rig.ctl);
    EXPECT_U64(atomic_load(&rig.gate.buffered), 0);
    clients_destroy(&rig.gate.clients);
    for (unsigned i = 0; i < rig.given_n; i++)
        EXPECT(rig.given[i] == NULL);
}

void rig_end_hard(void)
{
    link_master_close(&rig.master);
    wait_for(&rig.over, PLENTY_MS);
    take_down();
}

void rig_end(void)
{
    rig_wait_idle(PLENTY_MS);
    rig_end_hard();
}
