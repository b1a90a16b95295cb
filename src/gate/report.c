/* SPDX-License-Identifier: Apache-2.0
 *
 * report.c - what control tells the operator about itself: the bodies of /status, /units, /engines
 * and /routes, and the engines' gauges of /metrics. Told from control's members, not from a
 * snapshot: what has no place in the fleet (a unit that is stopped, an engine whose models nobody
 * knows yet) is told too. Lists are in order of names.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "gate/control_priv.h"
#include "gate/lane.h"
#include "gate/metrics.h"
#include "gate/report.h"

enum { SILENT_AFTER_S = 15 }; /* three questions for the models of a remote engine */

static const char *const origin_words[] = {
    [ENGINE_STATIC] = "remote",
    [ENGINE_UNIT] = "unit",
    [ENGINE_DISCOVERED] = "discovered",
    [ENGINE_REGISTERED] = "registered",
};

/* What one source says of an engine. */
static const char *const verdict_words[] = {
    [CELL_NO_WORD] = "unknown", [CELL_GOOD] = "good",     [CELL_COMING] = "coming",
    [CELL_BAD] = "bad",         [CELL_CLOSED] = "closed",
};

OPTION_WORDS(engine_kind, ENGINE_KIND_WORDS);

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct member *const *)a)->name, (*(struct member *const *)b)->name);
}

/* All members sorted, to be given to mem_free. */
static struct member **sorted_members(struct control *c, size_t *ret_n)
{
    struct member **all, *m;
    size_t n = 0;

    list_each(m, &c->members, node) n++;
    all = mem_alloc(max_size(n, 1) * sizeof(struct member *));
    n = 0;
    list_each(m, &c->members, node) all[n++] = m;
    qsort(all, n, sizeof(struct member *), by_name);
    *ret_n = n;
    return all;
}

/* As snapshot_serves(). */
static bool is_ready(const struct member *m)
{
    return m->nmodels > 0 && cell_state(m->cell) == CELL_GOOD;
}

static void put_u64(struct jsonw *w, const char *key, uint64_t v)
{
    jsonw_key(w, key);
    jsonw_u64(w, v);
}

static void put_bool(struct jsonw *w, const char *key, bool v)
{
    jsonw_key(w, key);
    jsonw_bool(w, v);
}

/* NULL and "" are null. */
static void put_text(struct jsonw *w, const char *key, const char *text)
{
    jsonw_key(w, key);
    jsonw_cstr(w, text && text[0] ? text : NULL);
}

static void put_str(struct jsonw *w, const char *key, struct str text)
{
    jsonw_key(w, key);
    if (text.n > 0)
        jsonw_str(w, text);
    else
        jsonw_null(w);
}

static void put_models(struct jsonw *w, const struct member *m)
{
    jsonw_key(w, "models");
    jsonw_begin_array(w);
    for (uint32_t i = 0; i < m->nmodels; i++)
        jsonw_str(w, m->models[i]);
    jsonw_end_array(w);
}

static void put_pid(struct jsonw *w, pid_t pid)
{
    jsonw_key(w, "pid");
    if (pid)
        jsonw_i64(w, pid);
    else
        jsonw_null(w);
}

/* Nothing but requests and, where its models are not configured, the question for them goes to an
 * engine that is not tested: it counts as good, and what is known is when it last answered. */
static const char *unprobed_word(const struct member *m)
{
    uint64_t now_s = loop_wall_us(m->control->loop) / 1000000;
    uint64_t then_s = atomic_load(&m->cell->checked_s);

    if (then_s == 0)
        return "untested";
    return now_s > then_s + SILENT_AFTER_S ? "silent" : "ready";
}

const char *report_state_word(const struct member *m)
{
    if (m->origin == ENGINE_UNIT)
        return link_state_word(m->unit.id ? m->unit.state : UNIT_STARTING);
    if (!member_is_engine(m))
        return "not found";
    switch (cell_state(m->cell)) {
    case CELL_NO_WORD:
    case CELL_GOOD:
        return cell_says(m->cell, CELL_PROBED) != CELL_NO_WORD ? "ready" : unprobed_word(m);
    case CELL_COMING:
        return "loading";
    case CELL_CLOSED:
        return "draining";
    case CELL_BAD:
        break;
    }
    return "unreachable";
}

/* ---- /units ---- */

static void put_unit(struct jsonw *w, const struct member *m, uint64_t now_ms)
{
    const struct link_unit *u = &m->unit;

    jsonw_begin_object(w);
    put_u64(w, "generation", u->generation);
    put_u64(w, "in_flight", cell_load(m->cell));
    put_text(w, "last_exit", u->last_exit);
    put_models(w, m);
    put_text(w, "name", m->name);
    put_u64(w, "next_start_ms", u->next_ms > now_ms ? u->next_ms - now_ms : 0);
    put_pid(w, u->pid);
    put_u64(w, "restarts", u->restarts);
    put_u64(w, "slots", atomic_load(&m->cell->slots));
    put_text(w, "state", report_state_word(m));
    put_u64(w, "state_ms", u->id && now_ms > u->since_ms ? now_ms - u->since_ms : 0);
    put_text(w, "url", m->url_text);
    put_u64(w, "waiting", atomic_load(&m->cell->waiting));
    jsonw_end_object(w);
}

void report_units(struct control *c, struct buf *out)
{
    struct jsonw w = jsonw_make(out);
    size_t n;
    struct member **all = sorted_members(c, &n);

    jsonw_begin_object(&w);
    jsonw_key(&w, "units");
    jsonw_begin_array(&w);
    for (size_t i = 0; i < n; i++)
        if (all[i]->origin == ENGINE_UNIT)
            put_unit(&w, all[i], loop_now_ms(c->loop));
    jsonw_end_array(&w);
    jsonw_end_object(&w);
    mem_free(all);
}

/* ---- /engines ---- */

/* What only a unit that the master has told of has; null for others. */
static void put_unit_u64(struct jsonw *w, const char *key, bool unit, uint64_t v)
{
    jsonw_key(w, key);
    if (unit)
        jsonw_u64(w, v);
    else
        jsonw_null(w);
}

/* What its tests found. */
static void put_tests(struct jsonw *w, const struct member *m)
{
    uint64_t checked_s = atomic_load(&m->cell->checked_s);

    put_u64(w, "ejections", m->ejections);
    put_u64(w, "failures_in_a_row", m->health.failures);
    jsonw_key(w, "last_answer_s");
    if (checked_s)
        jsonw_u64(w, checked_s);
    else
        jsonw_null(w);
    put_text(w, "last_test", m->tests > 0 ? health_text(m->health.last) : NULL);
    put_u64(w, "response_us", atomic_load(&m->cell->response_us));
    put_u64(w, "tests", m->tests);
    put_u64(w, "tests_failed", m->tests_failed);
}

/* Each source's own word; `ready` and `state` are what comes of them. */
static void put_verdicts(struct jsonw *w, const struct cell *c)
{
    static const char *const sources[] = {
        [CELL_LISTED] = "listed",
        [CELL_PROBED] = "probed",
        [CELL_SUPERVISED] = "supervised",
        [CELL_TRAFFIC] = "traffic",
    };
    static const enum cell_source by_word[] = {CELL_LISTED, CELL_PROBED, CELL_SUPERVISED,
                                               CELL_TRAFFIC};

    jsonw_key(w, "verdicts");
    jsonw_begin_object(w);
    for (unsigned i = 0; i < ARRAY_LEN(by_word); i++)
        put_text(w, sources[by_word[i]], verdict_words[cell_says(c, by_word[i])]);
    jsonw_end_object(w);
}

static void put_engine(struct jsonw *w, const struct member *m, uint64_t now_ms)
{
    const struct link_unit *u = &m->unit;
    bool unit = m->origin == ENGINE_UNIT && u->id != 0;

    jsonw_begin_object(w);
    put_u64(w, "errors", atomic_load(&m->cell->errors));
    put_u64(w, "in_flight", cell_load(m->cell));
    put_text(w, "kind", engine_kind_words[m->kind]);
    put_text(w, "last_exit", unit ? u->last_exit : NULL);
    put_models(w, m);
    put_text(w, "name", m->name);
    put_unit_u64(w, "next_start_ms", unit, u->next_ms > now_ms ? u->next_ms - now_ms : 0);
    put_text(w, "origin", origin_words[m->origin]);
    put_pid(w, unit ? u->pid : 0);
    put_bool(w, "ready", is_ready(m));
    put_u64(w, "requests", atomic_load(&m->cell->requests));
    put_unit_u64(w, "restarts", unit, u->restarts);
    put_u64(w, "slots", atomic_load(&m->cell->slots));
    put_text(w, "state", report_state_word(m));
    put_unit_u64(w, "state_ms", unit, now_ms > u->since_ms ? now_ms - u->since_ms : 0);
    jsonw_key(w, "tested");
    jsonw_begin_object(w);
    put_tests(w, m);
    jsonw_end_object(w);
    put_text(w, "url", m->url_text);
    put_verdicts(w, m->cell);
    put_u64(w, "waiting", atomic_load(&m->cell->waiting));
    put_u64(w, "weight", m->weight);
    jsonw_end_object(w);
}

void report_engines(struct control *c, struct buf *out)
{
    struct jsonw w = jsonw_make(out);
    size_t n;
    struct member **all = sorted_members(c, &n);

    jsonw_begin_object(&w);
    jsonw_key(&w, "engines");
    jsonw_begin_array(&w);
    for (size_t i = 0; i < n; i++)
        put_engine(&w, all[i], loop_now_ms(c->loop));
    jsonw_end_array(&w);
    jsonw_end_object(&w);
    mem_free(all);
}

/* ---- /routes ---- */

/* The engines of a model that were not told yet; `told` has a flag for every engine, NULL when
 * there is one model only. */
static void put_route_engines(struct jsonw *w, const struct snapshot *s, const struct model *m,
                              bool *told)
{
    for (uint32_t i = 0; m && i < m->nengines; i++) {
        const struct engine *e = m->engines[i];

        if (told && told[e - s->engines])
            continue;
        if (told)
            told[e - s->engines] = true;
        jsonw_begin_object(w);
        jsonw_key(w, "name");
        jsonw_str(w, e->name);
        put_bool(w, "ready", cell_state(e->cell) == CELL_GOOD);
        jsonw_end_object(w);
    }
}

static void put_targets(struct jsonw *w, const struct alias *a)
{
    jsonw_key(w, "targets");
    jsonw_begin_array(w);
    for (uint32_t i = 0; a && !alias_is_itself(a) && i < a->ntargets; i++) {
        jsonw_begin_object(w);
        jsonw_key(w, "model");
        jsonw_str(w, a->targets[i].model);
        put_u64(w, "weight", a->targets[i].weight);
        jsonw_end_object(w);
    }
    jsonw_end_array(w);
}

/* Who answers for a name: a model's own, or one that stands for others. */
static void put_route(struct jsonw *w, const struct snapshot *s, struct str name,
                      const struct alias *a)
{
    struct plan plan = {.models = {name}, .targets = 1};
    bool *told = NULL;

    if (a)
        (void)plan_make(s, name, NULL, NULL, &plan);
    if (plan.targets > 1) {
        told = mem_alloc(max_size(s->nengines, 1) * sizeof *told);
        memset(told, 0, s->nengines * sizeof *told);
    }
    jsonw_begin_object(w);
    jsonw_key(w, "alias_of");
    if (a && a->ntargets == 1 && !alias_is_itself(a))
        jsonw_str(w, a->targets[0].model);
    else
        jsonw_null(w);
    jsonw_key(w, "engines");
    jsonw_begin_array(w);
    for (uint32_t i = 0; i < plan.targets; i++)
        put_route_engines(w, s, snapshot_model(s, plan.models[i]), told);
    jsonw_end_array(w);
    jsonw_key(w, "fallbacks");
    jsonw_begin_array(w);
    for (uint32_t i = 0; a && i < a->nfallbacks; i++)
        jsonw_str(w, a->fallbacks[i]);
    jsonw_end_array(w);
    jsonw_key(w, "name");
    jsonw_str(w, name);
    put_targets(w, a);
    jsonw_end_object(w);
    mem_free(told);
}

/* Models and aliases, both sorted, in one order; an alias hides a model of its name. */
void report_routes(const struct snapshot *s, struct buf *out)
{
    struct jsonw w = jsonw_make(out);
    uint32_t i = 0, a = 0;

    jsonw_begin_object(&w);
    jsonw_key(&w, "models");
    jsonw_begin_array(&w);
    while (i < s->nmodels || a < s->naliases) {
        const struct model *m = i < s->nmodels ? s->models[i] : NULL;
        const struct alias *alias = a < s->naliases ? &s->alias_list[a] : NULL;

        if (m && (!alias || str_cmp(m->name, alias->name) < 0)) {
            if (!map_find(&s->aliases, m->name))
                put_route(&w, s, m->name, NULL);
            i++;
        } else if (alias) {
            put_route(&w, s, alias->name, alias);
            a++;
        }
    }
    jsonw_end_array(&w);
    jsonw_end_object(&w);
}

/* ---- /status ---- */

static uint64_t count_connections(const struct gate *g)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < g->nlanes; i++)
        n += g->lanes[i] ? lane_connections(g->lanes[i]) : 0;
    return n;
}

static void put_listen(struct jsonw *w, const struct control *c)
{
    jsonw_key(w, "listen");
    jsonw_begin_array(w);
    for (unsigned i = 0; i < c->nlisteners; i++)
        if (c->listeners[i].is.kind == LINK_LISTENER_DATA)
            jsonw_cstr(w, c->listeners[i].is.address);
    jsonw_end_array(w);
}

void report_status(struct control *c, struct buf *out)
{
    struct jsonw w = jsonw_make(out);
    uint64_t ready = 0, in_flight = 0, engines = 0;
    const struct member *m;

    list_each(m, &c->members, node)
    {
        engines += member_is_engine(m);
        ready += is_ready(m);
        in_flight += cell_load(m->cell);
    }
    jsonw_begin_object(&w);
    put_u64(&w, "connections", count_connections(c->gate));
    put_bool(&w, "draining", atomic_load(&c->gate->draining));
    put_u64(&w, "engines", engines);
    put_u64(&w, "engines_ready", ready);
    put_u64(&w, "gateway_pid", (uint64_t)getpid());
    put_u64(&w, "in_flight", in_flight);
    put_u64(&w, "lanes", c->gate->nlanes);
    put_listen(&w, c);
    put_u64(&w, "models", c->snap->nmodels);
    join_report(c, &w);
    put_text(&w, "version", INFERD_VERSION);
    put_u64(&w, "waiting", tickets_count(c->tickets));
    jsonw_end_object(&w);
}

/* ---- /paths ---- */

void report_paths(const struct gate_api *api, struct buf *out)
{
    static const char *const words[] = {
        [PATH_UNKNOWN] = "unknown",     [PATH_OWN] = "own",       [PATH_OPEN] = "open",
        [PATH_INFERENCE] = "inference", [PATH_MANAGE] = "manage", [PATH_ASKED] = "own"};
    struct jsonw w = jsonw_make(out);
    enum path_class class;
    struct str path;

    jsonw_begin_object(&w);
    jsonw_key(&w, "paths");
    jsonw_begin_array(&w);
    for (size_t i = 0; api->path(i, &path, &class); i++) {
        jsonw_begin_object(&w);
        put_text(&w, "class", words[class]);
        put_str(&w, "path", path);
        jsonw_end_object(&w);
    }
    jsonw_end_array(&w);
    jsonw_end_object(&w);
}

/* ---- /usage ---- */

/* What the lanes counted, by key and model; to be given to mem_free. */
static struct tally_row *sum_usage(const struct control *c, size_t *ret_n)
{
    struct tally *tables[GATE_LANES_MAX];
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->gate->nlanes; i++)
        if (c->gate->lanes[i])
            tables[n++] = lane_tally(c->gate->lanes[i]);
    return tally_sum(tables, n, ret_n);
}

static struct str model_of(const struct control *c, const struct tally_row *row)
{
    return row->model ? metrics_name_of(c->metrics, gate_metrics_model(), row->model - 1)
                      : STR_NONE;
}

static void put_usage(struct jsonw *w, const struct control *c, const struct tally_row *row)
{
    struct str id = tally_name(c->key_names, row->key);
    const struct keyring *ring = c->conf->keys;
    const struct key *key = ring && id.n > 0 ? keys_find(ring, id) : NULL;

    jsonw_begin_object(w);
    put_u64(w, "completion_tokens", row->counts.tokens_out);
    put_u64(w, "failed", row->counts.failed);
    put_str(w, "key", id);
    put_u64(w, "limited", row->counts.limited);
    put_str(w, "model", model_of(c, row));
    put_str(w, "name", key ? key->conf->name : STR_NONE);
    put_u64(w, "prompt_tokens", row->counts.tokens_in);
    put_u64(w, "requests", row->counts.requests);
    jsonw_end_object(w);
}

void report_usage(struct control *c, struct buf *out)
{
    struct jsonw w = jsonw_make(out);
    size_t n;
    struct tally_row *rows = sum_usage(c, &n);

    jsonw_begin_object(&w);
    jsonw_key(&w, "usage");
    jsonw_begin_array(&w);
    for (size_t i = 0; i < n; i++)
        put_usage(&w, c, &rows[i]);
    jsonw_end_array(&w);
    jsonw_end_object(&w);
    mem_free(rows);
}

/* ---- /metrics ---- */

static const struct {
    const char *name, *help;
    size_t offset; /* in struct tally_counts */
} usage_metrics[] = {
    {"inferd_key_requests_total", "Requests ended, by key and model.",
     offsetof(struct tally_counts, requests)},
    {"inferd_key_failed_total", "Of them: with a fault or a status from 400 on.",
     offsetof(struct tally_counts, failed)},
    {"inferd_key_limited_total", "Of them: refused for the key's own limits.",
     offsetof(struct tally_counts, limited)},
    {"inferd_key_prompt_tokens_total", "Prompt tokens that engines reported, by key and model.",
     offsetof(struct tally_counts, tokens_in)},
    {"inferd_key_completion_tokens_total",
     "Completion tokens that engines reported, by key and model.",
     offsetof(struct tally_counts, tokens_out)},
};

static void usage_to_metrics(const struct control *c, struct buf *out)
{
    size_t n;
    struct tally_row *rows = sum_usage(c, &n);

    for (size_t k = 0; k < ARRAY_LEN(usage_metrics); k++) {
        metrics_put_head(out, METRICS_COUNTER, usage_metrics[k].name, usage_metrics[k].help);
        for (size_t i = 0; i < n; i++) {
            struct str labels[4] = {STR("key"), tally_name(c->key_names, rows[i].key), STR("model"),
                                    model_of(c, &rows[i])};
            uint64_t v;

            memcpy(&v, (const char *)&rows[i].counts + usage_metrics[k].offset, sizeof v);
            metrics_put_i64(out, usage_metrics[k].name, labels, 2, (int64_t)v);
        }
    }
    mem_free(rows);
}

static int64_t gauge_ready(const struct member *m) { return is_ready(m); }

static int64_t gauge_in_flight(const struct member *m) { return cell_load(m->cell); }

static int64_t count_requests(const struct member *m)
{
    return (int64_t)atomic_load(&m->cell->requests);
}

static int64_t count_errors(const struct member *m)
{
    return (int64_t)atomic_load(&m->cell->errors);
}

static int64_t count_tests(const struct member *m) { return (int64_t)m->tests; }

static int64_t count_failed(const struct member *m) { return (int64_t)m->tests_failed; }

static int64_t count_ejections(const struct member *m) { return (int64_t)m->ejections; }

static int64_t gauge_failures(const struct member *m) { return m->health.failures; }

static int64_t gauge_response(const struct member *m)
{
    return (int64_t)atomic_load(&m->cell->response_us);
}

static int64_t gauge_circuit(const struct member *m)
{
    return atomic_load(&m->cell->door) != CELL_DOOR_CLOSED;
}

static int64_t gauge_probed(const struct member *m) { return health_is_good(&m->health); }

static const struct {
    enum metrics_type type;
    const char *name, *help;
    int64_t (*value)(const struct member *m);
} engine_metrics[] = {
    {METRICS_GAUGE, "inferd_engine_ready", "1 when the engine is asked.", gauge_ready},
    {METRICS_GAUGE, "inferd_engine_in_flight", "Requests the engine carries.", gauge_in_flight},
    {METRICS_COUNTER, "inferd_engine_requests_total", "Attempts forwarded.", count_requests},
    {METRICS_COUNTER, "inferd_engine_errors_total", "Failed tests and failed attempts.",
     count_errors},
    {METRICS_GAUGE, "inferd_engine_circuit_open",
     "1 while its circuit is not closed: failed connections keep requests away.", gauge_circuit},
    {METRICS_GAUGE, "inferd_engine_probed", "0 while its tests keep requests away, else 1.",
     gauge_probed},
    {METRICS_GAUGE, "inferd_engine_test_failures", "Failed tests in a row.", gauge_failures},
    {METRICS_GAUGE, "inferd_engine_test_us", "Microseconds until the last answer to a test.",
     gauge_response},
    {METRICS_COUNTER, "inferd_engine_tests_total", "Tests made.", count_tests},
    {METRICS_COUNTER, "inferd_engine_tests_failed_total", "Tests that failed.", count_failed},
    {METRICS_COUNTER, "inferd_engine_ejections_total",
     "Times that failed tests kept requests away.", count_ejections},
};

static void put_count(struct buf *out, const char *name, const char *help, uint64_t v)
{
    metrics_put_head(out, METRICS_COUNTER, name, help);
    metrics_put_i64(out, name, NULL, 0, (int64_t)v);
}

void report_metrics(void *ctx, struct buf *out)
{
    struct control *c = ctx;
    size_t n;
    struct member **all = sorted_members(c, &n);

    for (size_t k = 0; k < ARRAY_LEN(engine_metrics); k++) {
        metrics_put_head(out, engine_metrics[k].type, engine_metrics[k].name,
                         engine_metrics[k].help);
        for (size_t i = 0; i < n; i++) {
            struct str labels[2] = {STR("engine"), str_of(all[i]->name)};

            metrics_put_i64(out, engine_metrics[k].name, labels, 1,
                            engine_metrics[k].value(all[i]));
        }
    }
    metrics_put_head(out, METRICS_GAUGE, "inferd_waiting", "Requests that wait for a slot.");
    metrics_put_i64(out, "inferd_waiting", NULL, 0, tickets_count(c->tickets));
    metrics_put_head(out, METRICS_GAUGE, "inferd_admin_connections",
                     "Connections of the control socket and the admin address.");
    metrics_put_i64(out, "inferd_admin_connections", NULL, 0, server_connections(c->admin));
    put_count(out, "inferd_admin_refused_total",
              "Connections of theirs refused because 32 were open.", c->admin_refused);
    put_count(out, "inferd_admin_accept_pauses_total",
              "Times that accepting them paused for want of descriptors or memory.",
              c->accept_pauses);
    usage_to_metrics(c, out);
    put_count(out, "inferd_log_dropped_total", "Log records dropped.", log_dropped());
    put_count(out, "inferd_reloads_total", "Configurations that took effect by a reload.",
              c->counts.reloads);
    put_count(out, "inferd_reloads_refused_total",
              "Reloads that were wrong: the configuration before stayed.",
              c->counts.reloads_refused);
    put_count(out, "inferd_gateway_starts_total", "Gateway processes started, this one included.",
              c->counts.gateways);
    mem_free(all);
}
