/* SPDX-License-Identifier: Apache-2.0
 *
 * join.c - this machine's engines in a registry that others read: a record for each engine that is
 * known to have models, kept true. All of them lead to the one address that is advertised, behind
 * which keys, slots and queue are; the records differ in models, class, weight and state.
 *
 * What should be there follows from the members, and a review makes it so: of every change one
 * within a few milliseconds. What is registered belongs to its member (member.joined) and goes with
 * it. A registry that changes, or is not wanted any more, is left first, and joined anew behind
 * that.
 */
#include "base/jsonw.h"
#include "base/mem.h"
#include "gate/control_priv.h"
#include "gate/registration.h"
#include "gate/report.h"

enum {
    REVIEW_MS = 5, /* changes come in groups */
    METADATA_BYTES = 256 << 10,
    NAME_BYTES = 256,
};

/* A member's record there. */
struct joined {
    struct registrar_name *name;
    char *metadata; /* as it was sent; "": it is to be sent anew */
};

struct join {
    struct control *control;
    struct registrar *registrar; /* NULL: no registry */
    struct registrar_counts counts;
    char *where;  /* what a registrar is made from, as text */
    char *parent; /* what their names begin with */
    char *shown;  /* where they lead */
    struct deadline review;
    bool members; /* the next review is of more than states */
    bool counted; /* the counts are in control's metrics: where there could be a registry */
    bool leaving; /* the registrar is */
    bool over;    /* the service drains: nothing is registered any more */
};

/* Takes `now` in place of what stood there; true when it is another one. */
static bool replace(char **was, char *now)
{
    bool same = *was && strcmp(*was, now) == 0;

    mem_free(*was);
    *was = now;
    return !same;
}

static const struct registry_settings *wanted(const struct join *j)
{
    const struct registry_settings *s = j->control->settings.registry;

    return s && s->at.kind == URL_HTTP && !j->over ? s : NULL;
}

/* ---- one record ---- */

static void put_models(struct jsonw *w, const struct member *m, bool whole)
{
    jsonw_key(w, "models");
    jsonw_begin_array(w);
    for (uint32_t i = 0; i < m->nmodels; i++)
        jsonw_str(w, m->models[i]);
    jsonw_end_array(w);
    jsonw_key(w, "models_list");
    jsonw_begin_array(w);
    for (uint32_t i = 0; i < m->nmodels; i++) {
        if (whole && m->model_json && m->model_json[i].n > 0) {
            jsonw_raw(w, m->model_json[i]);
            continue;
        }
        jsonw_begin_object(w);
        jsonw_key(w, "id");
        jsonw_str(w, m->models[i]);
        jsonw_key(w, "object");
        jsonw_cstr(w, "model");
        jsonw_end_object(w);
    }
    jsonw_end_array(w);
}

static void put_metadata(struct buf *out, const struct member *m, struct str parent, bool whole)
{
    static const char *const classes[] = {[CACHE_PAGED] = "paged", [CACHE_STATIC] = "static"};
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    if (m->cache != CACHE_UNSAID) {
        jsonw_key(&w, "cache_type");
        jsonw_cstr(&w, classes[m->cache]);
    }
    put_models(&w, m, whole);
    jsonw_key(&w, "parent_service");
    jsonw_str(&w, parent);
    jsonw_key(&w, "type");
    jsonw_cstr(&w, "openai-api");
    jsonw_key(&w, "weight");
    jsonw_u64(&w, m->weight);
    jsonw_end_object(&w);
}

/* What engines say about their models may be more than a record holds: then their names will do. */
static char *metadata_of(const struct member *m, struct str parent)
{
    struct buf b = buf_make(METADATA_BYTES);
    char *text;

    put_metadata(&b, m, parent, true);
    if (buf_status(&b) < 0) {
        buf_fini(&b);
        b = buf_make(4 * METADATA_BYTES);
        put_metadata(&b, m, parent, false);
    }
    text = str_dup(buf_str(&b));
    buf_fini(&b);
    return text;
}

static struct str status_of(const struct member *m)
{
    const char *word = report_state_word(m);

    if (cell_state(m->cell) == CELL_GOOD)
        return STR("running");
    /* a unit that is ready, by its process, and does not serve */
    return strcmp(word, "ready") == 0 ? STR("unreachable") : str_of(word);
}

static void put(const struct join *j, struct joined *joined, const struct member *m)
{
    const struct registry_settings *s = wanted(j);
    char memory[512];
    struct buf url = buf_on(memory, sizeof memory);
    struct registrar_record record = {
        .host = s->shown.host,
        .hostname = s->shown.host,
        .port = s->shown.port,
        .metadata = str_of(joined->metadata),
        .weight = m->weight,
    };

    buf_text(&url, "http://");
    buf_add(&url, s->shown.origin);
    record.url = buf_str(&url);
    registrar_put(joined->name, &record, status_of(m));
}

/* ---- the members' records ---- */

/* Of two of one name, a unit's process that ends and its successor, the one that is configured. */
static bool belongs(const struct member *m)
{
    return m->nmodels > 0 && (m->origin != ENGINE_UNIT || m->conf != NULL);
}

void join_forget(struct member *m)
{
    struct joined *joined = TAKE(&m->joined);

    if (!joined)
        return;
    registrar_drop(&joined->name);
    mem_free(joined->metadata);
    mem_free(joined);
}

/* Those of a registrar that is left: it drops its names itself. */
static void abandon(struct control *c)
{
    struct member *m;

    list_each(m, &c->members, node)
    {
        if (!m->joined)
            continue;
        m->joined->name = NULL;
        join_forget(m);
    }
}

static void register_member(struct join *j, struct member *m)
{
    char memory[NAME_BYTES + 1];
    struct buf name = buf_on(memory, sizeof memory);

    buf_printf(&name, "%.*s-%s", STR_ARGS(wanted(j)->name), m->name);
    if (buf_status(&name) < 0 || name.n > NAME_BYTES)
        return; /* a discovered one: the configuration's were measured */
    m->joined = xnew(struct joined, .metadata = metadata_of(m, wanted(j)->name));
    registrar_add(j->registrar, buf_str(&name), m, &m->joined->name);
    put(j, m->joined, m);
}

static void review_member(struct join *j, struct member *m)
{
    if (!m->joined)
        register_member(j, m);
    else if (replace(&m->joined->metadata, metadata_of(m, wanted(j)->name)))
        put(j, m->joined, m);
    else
        registrar_set_status(m->joined->name, status_of(m));
}

static void review_members(struct join *j)
{
    struct member *m;

    list_each(m, &j->control->members, node)
    {
        if (!belongs(m))
            join_forget(m);
    }
    list_each(m, &j->control->members, node)
    {
        if (belongs(m))
            review_member(j, m);
    }
}

static void on_review(struct deadline *d)
{
    struct join *j = container_of(d, struct join, review);
    struct member *m;

    if (!j->registrar || j->leaving || !wanted(j))
        return;
    if (j->members) {
        j->members = false;
        review_members(j);
        return;
    }
    list_each(m, &j->control->members, node)
    {
        if (m->joined)
            registrar_set_status(m->joined->name, status_of(m));
    }
}

void join_state_changed(struct control *c)
{
    struct join *j = c->join;

    if (j->registrar && !deadline_armed(&j->review))
        deadline_arm(c->loop, &j->review, REVIEW_MS, on_review);
}

void join_changed(struct control *c)
{
    c->join->members = true;
    join_state_changed(c);
}

/* ---- the registry ---- */

static void on_event(void *ctx, const struct registrar_event *event)
{
    struct join *j = ctx;

    registration_say(j->control->log, loop_wall_us(j->control->loop), "registry", event);
}

static void enter(struct join *j, const struct registry_settings *s)
{
    struct registrar_conf conf = {
        .chunks = &j->control->chunks,
        .url = s->at,
        .token = s->token,
        .interval_ms = s->heartbeat_interval_s * 1000,
        .on_event = on_event,
        .ctx = j,
        .counts = &j->counts,
    };

    registrar_create(j->control->loop, &conf, &j->registrar);
    join_changed(j->control);
}

static void on_left(void *ctx)
{
    struct join *j = ctx;
    const struct registry_settings *s = wanted(j);

    registrar_destroy(&j->registrar);
    j->leaving = false;
    if (s)
        enter(j, s);
    control_left(j->control);
}

static void leave(struct join *j)
{
    if (!j->registrar || j->leaving)
        return;
    j->leaving = true;
    abandon(j->control);
    registrar_leave(j->registrar, on_left, j);
}

void join_configure(struct control *c)
{
    struct join *j = c->join;
    const struct registry_settings *s = wanted(j);
    struct member *m;

    if (c->settings.registry && !j->counted)
        registrar_register(&j->counts, c->metrics);
    j->counted = c->settings.registry != NULL;
    if (!s) {
        leave(j);
        return;
    }
    if (replace(&j->where, mem_printf("%.*s %u %.*s", STR_ARGS(s->url), s->heartbeat_interval_s,
                                      STR_ARGS(s->token))))
        leave(j);
    if (replace(&j->parent, str_dup(s->name)))
        list_each(m, &c->members, node) join_forget(m);
    if (replace(&j->shown, str_dup(s->shown.origin)))
        list_each(m, &c->members, node) if (m->joined)(void)
            replace(&m->joined->metadata, mem_strdup(""));
    if (!j->registrar)
        enter(j, s);
    join_changed(c);
}

void join_leave(struct control *c)
{
    c->join->over = true;
    leave(c->join);
}

bool join_has_left(const struct control *c) { return c->join->over && !c->join->registrar; }

void join_report(const struct control *c, struct jsonw *w)
{
    const struct registry_settings *s = wanted(c->join);
    const struct member *m;
    uint64_t names = 0;

    if (!s)
        return;
    list_each(m, &c->members, node) names += m->joined != NULL;
    jsonw_key(w, "registry");
    jsonw_begin_object(w);
    jsonw_key(w, "names");
    jsonw_u64(w, names);
    jsonw_key(w, "registered");
    jsonw_i64(w, c->join->counts.registered.v);
    jsonw_key(w, "url");
    jsonw_str(w, s->url);
    jsonw_end_object(w);
}

void join_create(struct control *c) { c->join = xnew(struct join, .control = c); }

void join_end(struct control *c)
{
    c->join->over = true;
    abandon(c);
    registrar_destroy(&c->join->registrar);
    deadline_stop(&c->join->review);
}

void join_destroy(struct control *c)
{
    mem_free(c->join->where);
    mem_free(c->join->parent);
    mem_free(c->join->shown);
    mem_free(c->join);
    c->join = NULL;
}
