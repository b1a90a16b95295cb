/* SPDX-License-Identifier: Apache-2.0
 *
 * probe.c - what control asks engines, each in one schedule of its own or all in rounds (round.c):
 * whether a unit is ready, whether an engine answers, and which models it has (learn.c reads the
 * list).
 *
 * Readiness of a unit: the configured path, or /health and on 404 /v1/models; 2xx is ready. Tests
 * begin at once and space out to 160 ms. After that, as for every other engine: a test each
 * interval, from start to start and never two at a time, so that a slow answer moves nothing;
 * sooner while the engine is doubtful. The outcome becomes the word of CELL_PROBED
 * (fleet/health.h). Of a unit, silence is also reported to the master, who alone moves its state:
 * tests that went unanswered, as many in a row as eject, and the first answer after them.
 *
 * Tests run side by side, so many at once at most. Engines that do not answer hold their places
 * longest: they share half of the places, and the other half is left to those that answer.
 */
#include "base/mem.h"
#include "gate/control_priv.h"

enum {
    READY_FIRST_MS = 5,
    READY_MOST_MS = 160,
    READY_TIMEOUT_MS = 5000,
    ASK_EVERY_MS = 5000,
    ASK_TIMEOUT_MS = 4000,
    TEST_BYTES = 64 * 1024,
    MODELS_BYTES = 4 << 20,
    STEPS = 32, /* waits are whole 32nds of an interval: they share lists of deadlines */
};

static void run_test(struct deadline *d);

/* ---- turns ---- */

/* Tests take a quarter of the descriptors at most. */
static bool has_place(const struct control *c, bool doubtful)
{
    uint32_t places = c->gate->rules->places, ceiling = c->gate->fd_ceiling;

    if (ceiling > 0 && ceiling / 4 < places)
        places = ceiling / 4;

    return c->tests.busy[0] + c->tests.busy[1] < places &&
           (!doubtful || c->tests.busy[1] < places / 2);
}

static void begin_test(struct member *m);

static void next_turns(struct control *c)
{
    for (unsigned doubtful = 0; doubtful < 2; doubtful++) {
        struct member *m;

        list_each(m, &c->tests.waiting[doubtful], turn)
        {
            if (!has_place(c, doubtful))
                break;
            list_remove(&m->turn);
            m->queued = false;
            begin_test(m);
        }
    }
}

static void on_turn(struct deadline *d) { next_turns(container_of(d, struct control, tests.next)); }

static void leave_queue(struct member *m)
{
    if (m->queued)
        list_remove(&m->turn);
    m->queued = false;
}

/* Forgets the question under way; its place goes to the next in a moment. */
static void drop_question(struct member *m)
{
    struct control *c = m->control;

    leave_queue(m);
    round_tested(m);
    if (!m->fetch)
        return;
    fetch_cancel(&m->fetch);
    c->tests.busy[m->doubtful]--;
    if (!c->closing)
        deadline_arm(c->loop, &c->tests.next, 1, on_turn);
}

static struct pool *open_pool(struct control *c, const struct url *at, struct pool **pool)
{
    struct pool_target to = {
        .host = at->host,
        .port = at->port,
        .unix_path = at->kind == URL_UNIX ? at->path.p : NULL,
    };

    if (!*pool && at->kind != URL_NONE)
        pool_create(c->client, &to, pool);
    return *pool;
}

struct pool *probe_pool(struct member *m) { return open_pool(m->control, &m->at, &m->pool); }

static void on_reply(void *ctx, const struct fetch_reply *r)
{
    struct member *m = ctx;
    struct control *c = m->control;

    m->fetch = NULL;
    c->tests.busy[m->doubtful]--;
    if (r->err == 0) { /* for /services, /stats */
        atomic_store_explicit(&m->cell->response_us, r->took_us, memory_order_relaxed);
        atomic_store_explicit(&m->cell->checked_s, loop_wall_us(c->loop) / 1000000,
                              memory_order_relaxed);
    }
    m->on_answer(m, r);
    next_turns(c);
}

static void ask(struct member *m, const char *path, enum fetch_want want, uint32_t timeout_ms,
                probe_answer_fn *fn)
{
    struct control *c = m->control;
    struct fetch_question q = {
        .at = &m->at,
        .api_key = m->api_key ? str_of(m->api_key) : STR_NONE,
        .path = path,
        .want = want,
        .timeout_ms = timeout_ms,
        .max_bytes = want == FETCH_HEAD ? TEST_BYTES : MODELS_BYTES,
    };

    m->on_answer = fn;
    c->tests.busy[m->doubtful]++;
    fetch_start(c->loop, probe_pool(m), &q, on_reply, m, &m->fetch);
}

/* Somebody else is asked about the engine: its babysitter. */
static void ask_about(struct member *m, uint32_t timeout_ms, probe_answer_fn *fn)
{
    struct control *c = m->control;
    struct fetch_question q = {
        .at = &m->probe_at,
        .path = m->probe_at.prefix.n > 0 ? "" : "/",
        .want = FETCH_SHORT,
        .timeout_ms = timeout_ms,
        .max_bytes = TEST_BYTES,
    };

    m->on_answer = fn;
    c->tests.busy[m->doubtful]++;
    fetch_start(c->loop, open_pool(c, &m->probe_at, &m->probe_pool), &q, on_reply, m, &m->fetch);
}

void probe_ask_models(struct member *m, probe_answer_fn *fn)
{
    m->models_due_ms = loop_now_ms(m->control->loop) + ASK_EVERY_MS;
    ask(m, "/v1/models", FETCH_BODY, ASK_TIMEOUT_MS, fn);
}

/* ---- when ---- */

static const struct probe_conf *conf_of(const struct control *c)
{
    static const struct probe_conf before_the_first = {
        .interval_ms = 2000, .timeout_ms = 1000, .failures = 3, .successes = 2};

    return c->settings.probe ? c->settings.probe : &before_the_first;
}

/* From one test of an engine to the next; 0: it is not tested, only asked for its models. */
static uint32_t interval_ms(const struct member *m)
{
    const struct probe_conf *p = conf_of(m->control);

    if (m->origin == ENGINE_UNIT) {
        if (m->conf && m->conf->live_interval_ms != OPTION_UNSET_U32)
            return m->conf->live_interval_ms;
        return p->interval_ms > 0 ? p->interval_ms : 2000; /* the master relies on it */
    }
    return str_eq(m->probe_path, STR("none")) ? 0 : p->interval_ms;
}

bool probe_tests(const struct member *m) { return interval_ms(m) > 0; }

static uint32_t timeout_ms(const struct member *m)
{
    if (m->origin == ENGINE_UNIT && m->conf && m->conf->live_timeout_ms != OPTION_UNSET_U32)
        return m->conf->live_timeout_ms;
    return conf_of(m->control)->timeout_ms;
}

/* NULL: the usual paths. */
static const char *own_path(const struct member *m)
{
    struct str path = m->probe_path.n > 0 ? m->probe_path : conf_of(m->control)->path;

    if (m->origin == ENGINE_UNIT)
        path = m->conf && m->conf->ready_path.n > 0 ? m->conf->ready_path : STR_NONE;
    return path.n > 0 ? path.p : NULL;
}

static const char *test_path(const struct member *m)
{
    const char *own = own_path(m);

    if (own)
        return own;
    return m->second_path ? "/v1/models" : "/health";
}

static void later(struct member *m, uint32_t ms)
{
    deadline_arm(m->control->loop, &m->next_test, ms, run_test);
}

/* Up to an eighth sooner than the interval says, another part of it each time: engines that were
 * asked together drift apart. */
static uint32_t jitter(const struct member *m, uint32_t step)
{
    uint64_t mixed =
        (m->id + m->tests * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);

    return (uint32_t)(mixed >> 33) % (STEPS / 8 + 1) * step;
}

/* The next test, counted from the start of this one. */
static void after_test(struct member *m)
{
    uint32_t every = interval_ms(m), step = every / STEPS + 1;
    uint64_t spent = loop_now_ms(m->control->loop) - m->began_ms, due;

    if (m->control->gate->rules->rounds) {
        if (!health_is_good(&m->health))
            later(m, health_again_ms(&m->health, every));
        round_tested(m);
        return;
    }
    if (every == 0) {
        if (member_learns(m))
            later(m, ASK_EVERY_MS);
        return;
    }
    due = health_is_doubtful(&m->health) ? every / 2 : every - jitter(m, step);
    due = due > spent ? (due - spent) / step * step : 0;
    later(m, due > 0 ? (uint32_t)due : 1);
}

/* ---- what the outcome means ---- */

static enum health_outcome outcome_of(const struct member *m, const struct fetch_reply *r)
{
    if (r->err == 0 && m->control->gate->rules->strict_probes)
        return health_strictly(r->status, r->body);
    if (r->err == 0)
        return r->status < 500 ? HEALTH_ALIVE : r->status == 503 ? HEALTH_LOADING : HEALTH_FAILED;
    if (!r->connected)
        return HEALTH_ABSENT;
    return r->err == -E_TIMEOUT ? HEALTH_SILENT : HEALTH_FAILED;
}

static void report_unit(struct member *m, enum link_report what)
{
    m->control->ops->report(m->control->ctx, m->unit.id, m->unit.generation, what);
}

/* Any answer says that the process lives, whatever it says. */
static void note_liveness(struct member *m, bool answered)
{
    if (!answered) {
        if (++m->silent == conf_of(m->control)->failures)
            report_unit(m, LINK_REPORT_SILENT);
        return;
    }
    if (m->unit.state == UNIT_UNRESPONSIVE || m->silent >= conf_of(m->control)->failures)
        report_unit(m, LINK_REPORT_READY);
    m->silent = 0;
}

static void log_health(const struct member *m, bool good)
{
    struct control *c = m->control;
    struct log_rec *r = log_begin(c->log, good ? LOG_INFO : LOG_WARN, loop_wall_us(c->loop),
                                  "control", good ? "engine returned" : "engine ejected");

    log_text(r, "engine", m->name);
    log_text(r, "url", m->url_text);
    log_text(r, "why", health_text(m->health.last));
    log_u64(r, "tests_in_a_row", good ? m->health.successes : m->health.failures);
    log_end(r);
}

/* Requests that have had no byte from it are taken back by their lanes. */
static void tell_lanes(const struct member *m)
{
    struct gate *g = m->control->gate;

    for (uint32_t i = 0; i < g->nlanes; i++) {
        struct lane_mail *mail;

        if (!g->lanes[i])
            continue;
        mail = gate_lane_mail(LANE_EJECTED);
        mail->engine = m->id;
        gate_post_lane(g, i, mail);
    }
}

static enum cell_verdict word_of(const struct member *m)
{
    bool waited_for = m->health.word == CELL_BAD && !m->control->gate->rules->gives_up;

    return waited_for ? CELL_COMING : m->health.word;
}

/* Our own trouble, which says nothing about the engine: no descriptors were left, or the process
 * was stopped while it might have answered. */
static bool is_ours(const struct member *m, const struct fetch_reply *r)
{
    return r->err == -E_NO_FDS ||
           (r->err == -E_TIMEOUT && loop_late_ms(m->control->loop) > m->began_ms);
}

static void count_test(struct member *m, const struct fetch_reply *r)
{
    const struct gate_rules *rules = m->control->gate->rules;
    const struct probe_conf *p = conf_of(m->control);
    enum health_outcome o = outcome_of(m, r);
    bool was_good = health_is_good(&m->health), is_good;

    if (is_ours(m, r))
        return;
    m->tests++;
    if (o != HEALTH_ALIVE) {
        m->tests_failed++;
        atomic_fetch_add_explicit(&m->cell->errors, 1, memory_order_relaxed);
    } else if (m->health.failures > 0) {
        m->models_due_ms = 0; /* it may be another one that answers now */
    }
    if (o == HEALTH_ALIVE && rules->strict_probes)
        atomic_store_explicit(&m->cell->errors, 0, memory_order_relaxed);
    if (m->origin == ENGINE_UNIT)
        note_liveness(m, r->err == 0);
    if (!health_note(&m->health, o, p->failures, p->successes))
        return;
    round_changed(m->control);
    member_state(m->control, m, CELL_PROBED, word_of(m));
    is_good = health_is_good(&m->health);
    if (is_good == was_good)
        return;
    if (is_good) {
        door_returned(m);
        door_try(m);
    } else {
        m->ejections++;
        if (rules->takes_back)
            tell_lanes(m);
    }
    if (m->origin == ENGINE_DISCOVERED)
        discover_lost(m); /* the good ones among them are told where they are found */
    else
        log_health(m, is_good);
}

/* ---- tests ---- */

static void on_models(struct member *m, const struct fetch_reply *r)
{
    learn_models(m, r);
    if (m->origin == ENGINE_UNIT &&
        (m->unit.state == UNIT_LOADING || m->unit.state == UNIT_STARTING)) {
        report_unit(m, LINK_REPORT_READY);
        later(m, interval_ms(m));
        return;
    }
    if (r->err < 0 && probe_tests(m))
        count_test(m, r); /* no word for it, but one against it */
    else if (m->origin == ENGINE_DISCOVERED && (r->err < 0 || m->nmodels == 0))
        discover_lost(m);
    after_test(m);
}

/* Nobody there answers this path; another may exist. */
static bool lacks_path(const struct fetch_reply *r)
{
    return r->err == 0 && (r->status == 404 || r->status == 405 || r->status == 501);
}

static void on_test(struct member *m, const struct fetch_reply *r)
{
    if (lacks_path(r) && !own_path(m) && !m->second_path) {
        m->second_path = true;
        ask(m, test_path(m), FETCH_HEAD, timeout_ms(m), on_test);
        return;
    }
    count_test(m, r);
    if (outcome_of(m, r) != HEALTH_ALIVE)
        member_note_asked(m); /* nobody need wait for what it might have */
    else if (member_learns(m) && loop_now_ms(m->control->loop) >= m->models_due_ms) {
        probe_ask_models(m, on_models);
        return;
    }
    after_test(m);
}

/* An engine that takes long to come is asked less often: what our asking adds to its start stays
 * below a fiftieth of it, READY_FIRST_MS at least and READY_MOST_MS at most. */
static uint32_t ready_pause_ms(const struct member *m)
{
    uint64_t age = loop_now_ms(m->control->loop) - m->tested_since_ms;
    uint32_t pause = READY_FIRST_MS;

    while (pause < READY_MOST_MS && (uint64_t)pause * 2 * 50 <= age)
        pause *= 2;
    return pause;
}

static void on_ready_test(struct member *m, const struct fetch_reply *r)
{
    if (lacks_path(r) && !own_path(m) && !m->second_path) {
        m->second_path = true;
        ask(m, test_path(m), FETCH_HEAD, READY_TIMEOUT_MS, on_ready_test);
        return;
    }
    if (r->err < 0 || r->status < 200 || r->status > 299) {
        later(m, ready_pause_ms(m));
        return;
    }
    m->silent = 0;
    if (member_learns(m)) {
        probe_ask_models(m, on_models);
        return;
    }
    report_unit(m, LINK_REPORT_READY);
    later(m, interval_ms(m));
}

static bool is_coming(const struct member *m)
{
    return m->unit.state == UNIT_STARTING || m->unit.state == UNIT_LOADING;
}

static bool is_running(const struct member *m)
{
    return m->unit.state == UNIT_READY || m->unit.state == UNIT_UNRESPONSIVE;
}

/* The babysitter's word is all that is wanted. */
static void on_word(struct member *m, const struct fetch_reply *r)
{
    count_test(m, r);
    after_test(m);
}

static void begin_test(struct member *m)
{
    m->began_ms = loop_now_ms(m->control->loop);
    if (m->probe_at.kind != URL_NONE)
        ask_about(m, timeout_ms(m), on_word);
    else if (m->origin == ENGINE_UNIT && is_coming(m))
        ask(m, test_path(m), FETCH_HEAD, READY_TIMEOUT_MS, on_ready_test);
    else if (probe_tests(m))
        ask(m, test_path(m), FETCH_HEAD, timeout_ms(m), on_test);
    else
        probe_ask_models(m, on_models);
}

static bool wants_test(const struct member *m)
{
    if (m->at.kind == URL_NONE)
        return false;
    if (m->origin == ENGINE_UNIT)
        return is_coming(m) || is_running(m);
    if (m->origin == ENGINE_DISCOVERED && m->nmodels == 0)
        return false; /* it is looked for */
    return probe_tests(m) || member_learns(m);
}

static void take_turn(struct member *m)
{
    struct control *c = m->control;

    m->doubtful = health_is_doubtful(&m->health);
    m->queued = true;
    list_append(&c->tests.waiting[m->doubtful], &m->turn);
    next_turns(c);
}

static void run_test(struct deadline *d)
{
    struct member *m = container_of(d, struct member, next_test);

    if (m->origin == ENGINE_UNIT && m->unit.state == UNIT_DRAINING) {
        if (cell_load(m->cell) == 0)
            report_unit(m, LINK_REPORT_IDLE);
        later(m, 50);
        return;
    }
    if (!m->fetch && !m->queued && wants_test(m))
        take_turn(m);
}

bool probe_now(struct member *m)
{
    if (!probe_tests(m) || !wants_test(m))
        return false;
    deadline_stop(&m->next_test);
    if (!m->fetch && !m->queued)
        take_turn(m);
    return true;
}

/* Another process, or another address: nothing that was found holds. */
static void forget(struct member *m)
{
    m->health = (struct health){.word = CELL_NO_WORD};
    m->second_path = false;
    m->silent = 0;
    cell_set(m->cell, CELL_PROBED, CELL_NO_WORD);
}

void probe_start(struct member *m)
{
    drop_question(m);
    m->tested_since_ms = loop_now_ms(m->control->loop);
    if (m->origin == ENGINE_UNIT && is_running(m)) {
        if (m->models_fixed || m->models_known) {
            later(m, interval_ms(m));
            return;
        }
    } else if (m->origin == ENGINE_UNIT) {
        forget(m);
        if (m->pool && is_coming(m))
            pool_flush(m->pool);
    } else if (!probe_tests(m)) {
        forget(m); /* by a reload: a verdict would stand for ever */
    }
    later(m, 1);
}

void probe_stop(struct member *m)
{
    drop_question(m);
    deadline_stop(&m->next_test);
    pool_close(&m->pool);
    pool_close(&m->probe_pool);
    mem_free(m->probe_text);
    m->probe_text = NULL;
    m->probe_at = (struct url){.kind = URL_NONE};
    forget(m);
}

int probe_aim(struct member *m, struct str url, const char **why)
{
    bool none = str_eq(url, STR("none"));
    struct url at;
    char *text;
    int r = 0;

    if (m->probe_text && str_eq(url, str_of(m->probe_text)))
        return 0;
    text = str_dup(url);
    at = (struct url){.kind = URL_NONE};
    if (!none)
        r = url_parse(str_of(text), &at, why);
    if (r < 0) {
        mem_free(text);
        return r;
    }
    drop_question(m);
    pool_close(&m->probe_pool);
    mem_free(m->probe_text);
    m->probe_text = text;
    m->probe_at = at;
    m->probe_path = none ? STR("none") : STR_NONE;
    probe_start(m);
    return 0;
}
