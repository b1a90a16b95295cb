/* SPDX-License-Identifier: Apache-2.0
 *
 * enrol.c - see enrol.h. The engine's record is written anew whenever the engine becomes ready, and
 * only with the list of models at hand: until then its last status stands, so that nobody hears
 * "running" beside an old list.
 *
 * Asking for the list goes in rounds, one path after the other, and ends with the first list that
 * is not empty, or when the engine is not ready any more.
 */
#include "role/enrol.h"

#include "base/mem.h"
#include "ev/deadline.h"
#include "net/fetch.h"
#include "net/registrar.h"
#include "role/enrol_record.h"

enum {
    LIST_MS = 5000,
    LIST_BYTES = 4 << 20,
    PATHS = 2,
    ROUNDS_FAST = 20, /* so many rounds FAST_MS apart */
    FAST_MS = 300,
    ROUNDS_SLOW = 50, /* then, up to this round, SLOW_MS */
    SLOW_MS = 1000,
    LAST_MS = 2000,
};

struct enrol {
    struct enrol_conf conf;
    struct registrar *registrar;
    struct registrar_counts counts;
    struct registrar_name *own, *engine;
    bool engine_put; /* the engine's record was sent once */
    struct fetch *fetch;
    struct deadline next;
    unsigned round, path;
    unsigned absent;  /* paths that were not found in this round */
    bool answered;    /* one of them was answered in this round */
    bool told_absent; /* the engine has no list, which was said once */
};

static struct log_rec *say(struct enrol *e, enum log_level level, const char *message)
{
    return log_begin(e->conf.log, level, loop_wall_us(e->conf.loop), "babysitter", message);
}

/* ---- the engine's record ---- */

static void register_engine(struct enrol *e, const struct json *models)
{
    struct enrol_record record;

    enrol_record_engine(e->conf.service, models, &record);
    registrar_put(e->engine, &record.fields, STR("running"));
    enrol_record_fini(&record);
    e->engine_put = true;
}

static void register_empty(struct enrol *e)
{
    struct json *none = json_new_array();

    register_engine(e, none);
    json_unref(&none);
}

static void take_list(struct enrol *e, struct json *models)
{
    log_end(log_beginf(e->conf.log, LOG_INFO, loop_wall_us(e->conf.loop), "babysitter",
                       "Fetched %zu models", json_count(models)));
    register_engine(e, models);
}

/* ---- asking for the models ---- */

static void ask(struct enrol *e);

static void begin_round(struct enrol *e)
{
    e->path = e->absent = 0;
    e->answered = false;
    ask(e);
}

static void on_next(struct deadline *d) { begin_round(container_of(d, struct enrol, next)); }

static void say_absent(struct enrol *e)
{
    if (!e->told_absent)
        log_end(say(e, LOG_WARN,
                    "the engine has neither /v1/models nor /models and is not registered: name its "
                    "models in [service] models, or set [service] register_without_models"));
    e->told_absent = true;
}

static void end_round(struct enrol *e)
{
    unsigned round = ++e->round;

    if (e->answered && e->conf.service->register_without_models)
        register_empty(e);
    else if (e->absent == PATHS)
        say_absent(e);
    else
        deadline_arm(e->conf.loop, &e->next,
                     round < ROUNDS_FAST   ? FAST_MS
                     : round < ROUNDS_SLOW ? SLOW_MS
                                           : LAST_MS,
                     on_next);
}

static void on_list(void *ctx, const struct fetch_reply *r)
{
    struct enrol *e = ctx;
    struct json *models;

    e->fetch = NULL;
    e->answered |= r->err == 0;
    e->absent += r->status == 404;
    if (r->err == 0 && r->status / 100 == 2 && enrol_record_read_models(r->body, &models) == 0) {
        take_list(e, models);
        json_unref(&models);
    } else if (++e->path < PATHS) {
        ask(e);
    } else {
        end_round(e);
    }
}

static void ask(struct enrol *e)
{
    static const char *const paths[PATHS] = {"/v1/models", "/models"};
    const struct tester_place *place = e->conf.place(e->conf.ctx);
    struct fetch_question q = {
        .path = paths[e->path],
        .want = FETCH_BODY,
        .timeout_ms = LIST_MS,
        .max_bytes = LIST_BYTES,
    };

    if (!place)
        return; /* enrol_on_state() begins anew */
    q.at = &place->at;
    fetch_start(e->conf.loop, place->pool, &q, on_list, e, &e->fetch);
}

static void stop_asking(struct enrol *e)
{
    fetch_cancel(&e->fetch);
    deadline_stop(&e->next);
}

/* ---- states ---- */

static void on_ready(struct enrol *e)
{
    struct json *models = enrol_record_models(e->conf.service);

    e->round = 0;
    if (models)
        register_engine(e, models);
    else
        begin_round(e);
    json_unref(&models);
}

void enrol_on_state(struct enrol *e, enum babysitter_state state)
{
    stop_asking(e);
    if (state == BABYSITTER_READY)
        on_ready(e);
    else if (e->engine_put && state != BABYSITTER_STOPPING)
        registrar_set_status(e->engine, str_of(babysitter_state_word(state)));
}

void enrol_leave(struct enrol *e, void (*left)(void *ctx), void *ctx)
{
    stop_asking(e);
    registrar_leave(e->registrar, left, ctx);
}

/* ---- life ---- */

static void on_event(void *ctx, const struct registrar_event *event)
{
    static const char *const texts[] = {
        [REGISTRAR_REGISTERED] = "registered",
        [REGISTRAR_UNKNOWN] = "the registry does not know this name any more: it is sent again",
        [REGISTRAR_FAILED] = "the registry cannot be had or refuses; trying on",
        [REGISTRAR_RECOVERED] = "the registry is there again",
    };
    struct enrol *e = ctx;
    struct log_rec *r =
        say(e, event->news == REGISTRAR_FAILED ? LOG_WARN : LOG_INFO, texts[event->news]);

    log_str(r, "name", event->name);
    if (event->status > 0)
        log_u64(r, "status", event->status);
    if (event->err < 0)
        log_err(r, "error", event->err);
    log_end(r);
}

static void add_names(struct enrol *e)
{
    struct str name = e->conf.service->name;
    char memory[BABYSITTER_NAME_MAX + 8];
    struct buf server = buf_on(memory, sizeof memory);

    buf_add(&server, name);
    buf_text(&server, "-server");
    registrar_add(e->registrar, name, NULL, &e->own);
    registrar_add(e->registrar, buf_str(&server), NULL, &e->engine);
}

void enrol_create(const struct enrol_conf *conf, struct enrol **ret)
{
    struct enrol *e = xnew(struct enrol, .conf = *conf);
    struct registrar_conf registrar = {
        .chunks = conf->chunks,
        .url = conf->service->registry,
        .token = conf->token,
        .interval_ms = conf->service->heartbeat_s * 1000,
        .on_event = on_event,
        .ctx = e,
        .counts = &e->counts,
    };
    struct enrol_record own;

    registrar_register(&e->counts, conf->metrics);
    registrar_create(conf->loop, &registrar, &e->registrar);
    add_names(e);
    enrol_record_own(conf->service, &own);
    registrar_put(e->own, &own.fields, STR("running"));
    enrol_record_fini(&own);
    *ret = e;
}

void enrol_destroy(struct enrol **ep)
{
    struct enrol *e = TAKE(ep);

    if (!e)
        return;
    stop_asking(e);
    registrar_destroy(&e->registrar);
    mem_free(e);
}
