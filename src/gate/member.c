/* SPDX-License-Identifier: Apache-2.0
 *
 * member.c - the members: engines from every source, with what each source says of them, and
 * the snapshots made from them. A configuration keeps members whose name and address it still has,
 * so that their cells, connections and learnt models outlive a reload.
 */
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "gate/control_priv.h"
#include "gate/lane.h"

enum { COALESCE_MS = 5, MODELS_MAX = 1024 };

/* ---- members ---- */

/* Dense: those of members that went are given out first. */
static uint32_t take_slot(struct control *c)
{
    return c->slots.nfree > 0 ? c->slots.free[--c->slots.nfree] : c->slots.n++;
}

static void give_slot(struct control *c, uint32_t slot)
{
    if (c->slots.nfree == c->slots.room) {
        c->slots.room = c->slots.room * 2 + 16;
        c->slots.free = mem_resize_array(c->slots.free, c->slots.room, sizeof *c->slots.free);
    }
    c->slots.free[c->slots.nfree++] = slot;
}

struct member *member_create(struct control *c, enum engine_origin origin, struct str name,
                             struct str url)
{
    struct member *m = xnew(struct member, .control = c, .origin = origin, .weight = 1);
    const char *why;

    m->id = ++c->last_id;
    m->slot = take_slot(c);
    m->name = str_dup(name);
    m->url_text = str_dup(url);
    if (url.n == 0 || url_parse(str_of(m->url_text), &m->at, &why) < 0)
        m->at = (struct url){.kind = URL_NONE};
    m->cell = cell_create(0);
    list_append(&c->members, &m->node);
    return m;
}

static void clear_models(struct member *m)
{
    for (uint32_t i = 0; i < m->nmodels; i++) {
        mem_free((void *)(uintptr_t)m->models[i].p);
        if (m->model_json)
            mem_free((void *)(uintptr_t)m->model_json[i].p);
    }
    mem_free(m->models);
    mem_free(m->model_json);
    m->models = m->model_json = NULL;
    m->nmodels = 0;
}

void member_destroy(struct member **mp)
{
    struct member *m = TAKE(mp);

    if (!m)
        return;
    cell_set(m->cell, CELL_LISTED, CELL_BAD); /* older snapshots may still show it */
    join_forget(m);
    probe_stop(m);
    door_forget(m);
    clear_models(m);
    ring_close(&m->ring);
    list_remove(&m->node);
    give_slot(m->control, m->slot);
    mem_free(m->name);
    mem_free(m->url_text);
    mem_free(m->api_key);
    cell_unref(&m->cell);
    mem_free(m);
}

struct member *member_by_unit(struct control *c, uint32_t unit)
{
    struct member *m;

    list_each(m, &c->members, node) if (m->origin == ENGINE_UNIT && m->unit.id == unit) return m;
    return NULL;
}

struct member *member_by_name(struct control *c, struct str name)
{
    struct member *m, *found = NULL; /* the youngest: a unit may end beside its successor */

    list_each(m, &c->members, node) if (str_eq(str_of(m->name), name)) found = m;
    return found;
}

void member_name_models(struct member *m, const struct str *models, uint32_t n)
{
    clear_models(m);
    m->models = mem_alloc(max_size(n, 1) * sizeof *m->models);
    for (; m->nmodels < n; m->nmodels++)
        m->models[m->nmodels] = str_span(str_dup(models[m->nmodels]), models[m->nmodels].n);
    m->models_fixed = m->models_known = true;
}

void member_fix_models(struct member *m, const struct str_list *models)
{
    m->models_fixed = models->n > 0;
    if (m->models_fixed)
        member_name_models(m, models->at, (uint32_t)models->n);
}

bool member_learns(const struct member *m) { return !m->models_fixed || !m->kind_fixed; }

void member_note_asked(struct member *m)
{
    if (m->asked)
        return;
    m->asked = true;
    if (m->control->snap && m->control->snap->unsettled)
        members_publish(m->control);
}

/* The object of one model as its engine lists it, completed as OpenAI clients expect it. */
static struct str object_text(struct json *model)
{
    struct buf b = buf_make(64 * 1024);

    entry_complete_model(model);
    json_write(model, &b);
    if (buf_status(&b) < 0) { /* an object beyond all use: only its name is passed on */
        buf_fini(&b);
        return STR_NONE;
    }
    return buf_str(&b);
}

bool member_set_models(struct member *m, struct str bytes)
{
    struct json *doc = NULL, *data;
    size_t n, kept = 0;

    if (json_read(bytes, NULL, NULL, &doc) < 0)
        return false;
    data = json_kind_of(doc) == JSON_KIND_ARRAY ? doc : json_find_cstr(doc, "data");
    if (json_kind_of(data) != JSON_KIND_ARRAY) {
        json_unref(&doc);
        return false;
    }
    n = min_size(json_count(data), MODELS_MAX);
    clear_models(m);
    m->models = mem_alloc(max_size(n, 1) * sizeof *m->models);
    m->model_json = mem_alloc(max_size(n, 1) * sizeof *m->model_json);
    for (size_t i = 0; i < n; i++) {
        struct json *model = json_at(data, i);
        struct str id;

        if (!json_get_str(json_find_cstr(model, "id"), &id) || id.n == 0 || id.n > 256)
            continue;
        m->models[kept] = str_span(str_dup(id), id.n);
        m->model_json[kept] = object_text(model);
        kept++;
    }
    m->nmodels = (uint32_t)kept;
    m->models_known = true;
    json_unref(&doc);
    return true;
}

/* ---- snapshots ---- */

/* A name gets its place among the labels with the first snapshot that shows it, and keeps it. */
static void label_models(const struct control *c, struct snapshot *s)
{
    for (uint32_t i = 0; i < s->nmodels; i++)
        s->models[i]->label = metrics_name(c->metrics, gate_metrics_model(), s->models[i]->name);
}

static void add_member(struct snapshot *s, const struct member *m)
{
    struct engine e = {
        .id = m->id,
        .slot = m->slot,
        .origin = m->origin,
        .kind = m->kind,
        .name = str_of(m->name),
        .at = m->at,
        .url = str_of(m->url_text),
        .api_key = m->api_key ? str_of(m->api_key) : STR_NONE,
        .weight = m->weight,
        .cache = m->cache,
        .absent = m->absent,
        .models = m->models,
        .model_json = m->model_json,
        .nmodels = m->nmodels,
        .passthrough = m->passthrough,
        .npassthrough = m->npassthrough,
        .label = metrics_name(m->control->metrics, gate_metrics_engine(), str_of(m->name)),
        .cell = m->cell,
    };

    snapshot_add(s, &e);
}

/* It may have models that nobody has asked it for yet: a unit that is on its way or was found
 * ready, a remote or a usual place whose first question is under way. */
static bool member_may_learn(const struct member *m)
{
    if (m->models_fixed || m->models_known)
        return false;
    if (m->origin != ENGINE_UNIT)
        return !m->asked;
    return m->unit.id == 0 || m->unit.state == UNIT_STARTING || m->unit.state == UNIT_LOADING ||
           (m->unit.state == UNIT_READY && !m->asked);
}

static void add_alias(struct snapshot *s, const struct model_conf *conf)
{
    struct target targets[PLAN_TARGETS_MAX] = {{.model = conf->target, .weight = 1}};
    struct alias a = {.name = conf->name,
                      .targets = targets,
                      .ntargets = conf->target.p != NULL,
                      .fallbacks = conf->fallbacks.at,
                      .nfallbacks = (uint32_t)conf->fallbacks.n};

    for (size_t i = 0; i < conf->targets.n; i++)
        targets[a.ntargets++] = (struct target){.model = conf->targets.at[i].model,
                                                .weight = conf->targets.at[i].weight};
    snapshot_add_alias(s, &a);
}

static void publish(struct control *c, bool tell)
{
    struct snapshot *s = snapshot_begin(++c->generation, c->gate->seed), *old = c->snap;
    struct member *m;

    deadline_stop(&c->publish);
    list_each(m, &c->members, node)
    {
        if (member_is_engine(m))
            add_member(s, m);
    }
    list_each(m, &c->members, node) s->unsettled |= member_may_learn(m);
    if (c->gate->rules->nameless)
        snapshot_add_nameless(s);
    for (size_t i = 0; i < c->settings.aliases->n; i++)
        add_alias(s, &c->settings.aliases->at[i]);
    snapshot_seal(s);
    label_models(c, s);
    s->conf = gate_conf_ref(c->conf);
    s->conf_unref = gate_conf_unref;
    if (old)
        tickets_detach(c->tickets, old);
    c->snap = s;
    tickets_attach(c->tickets, s);
    for (uint32_t i = 0; i < c->gate->nlanes; i++) {
        struct lane_mail *mail;

        if (!c->gate->lanes[i])
            continue;
        mail = gate_lane_mail(LANE_SNAPSHOT);
        mail->snap = snapshot_ref(s);
        mail->tell = tell;
        gate_post_lane(c->gate, i, mail);
    }
    snapshot_unref(&old);
    join_changed(c);
    tickets_run(c->tickets, s);
}

void members_publish(struct control *c) { publish(c, false); }

void members_publish_told(struct control *c) { publish(c, true); }

static void on_publish(struct deadline *d)
{
    members_publish(container_of(d, struct control, publish));
}

void members_changed(struct control *c)
{
    if (c->conf && !deadline_armed(&c->publish))
        deadline_arm(c->loop, &c->publish, COALESCE_MS, on_publish);
}

void member_state(struct control *c, struct member *m, enum cell_source source, enum cell_verdict v)
{
    cell_set(m->cell, source, v);
    join_state_changed(c);
    if (c->snap)
        tickets_run(c->tickets, c->snap);
}

/* ---- configurations ---- */

static void set_key(struct member *m, struct str key)
{
    mem_free(m->api_key);
    m->api_key = key.p ? str_dup(key) : NULL;
}

_Static_assert((int)CACHE_TYPE_PAGED == CACHE_PAGED && (int)CACHE_TYPE_STATIC == CACHE_STATIC,
               "the same order");

static void set_common(struct member *m, uint32_t weight, uint32_t slots, enum engine_kind kind,
                       enum cache_type cache, const struct str_list *passthrough,
                       const struct str_list *models)
{
    m->weight = weight;
    m->cache = (enum cache_class)cache;
    m->kind_fixed = kind != engine_kind_unset;
    if (m->kind_fixed)
        m->kind = kind;
    m->passthrough = passthrough->at;
    m->npassthrough = (uint32_t)passthrough->n;
    cell_set_slots(m->cell, slots);
    member_fix_models(m, models);
}

/* `m`: the member that has its name, or NULL. */
static void configure_remote(struct control *c, const struct remote_conf *r, struct member *m)
{
    if (!m || m->origin != ENGINE_STATIC || !str_eq(str_of(m->url_text), r->url))
        m = member_create(c, ENGINE_STATIC, r->name, r->url);
    m->stays = true;
    m->probe_path = r->probe_path;
    set_key(m, r->api_key);
    set_common(m, r->weight, r->slots, r->kind, r->cache_type, &r->passthrough, &r->models);
    cell_set(m->cell, CELL_LISTED, CELL_GOOD);
    probe_start(m);
}

static void configure_unit(struct member *m, const struct engine_conf *e)
{
    m->conf = e;
    m->stays = true;
    set_common(m, e->weight, e->slots, e->kind, e->cache_type, &e->passthrough, &e->models);
}

/* A unit's models and words are known before its process is, so that its requests wait. */
static void expect_unit(struct control *c, const struct engine_conf *e, struct member *m)
{
    if (!m || m->origin != ENGINE_UNIT) {
        m = member_create(c, ENGINE_UNIT, e->name, STR_NONE);
        cell_set(m->cell, CELL_SUPERVISED, CELL_COMING);
    }
    configure_unit(m, e);
}

void members_configure(struct control *c)
{
    struct member *m;
    struct map names; /* before this configuration: lists may be long, so each is looked at once */

    map_init(&names, 0);
    list_each(m, &c->members, node)
    {
        m->stays = m->of_table || (m->origin == ENGINE_DISCOVERED && c->settings.discover);
        (void)map_put(&names, str_of(m->name), m); /* the youngest, as member_by_name() */
    }
    for (size_t i = 0; i < c->settings.remotes->n; i++)
        configure_remote(c, &c->settings.remotes->at[i],
                         map_find(&names, c->settings.remotes->at[i].name));
    for (size_t i = 0; i < c->settings.engines->n; i++)
        expect_unit(c, &c->settings.engines->at[i],
                    map_find(&names, c->settings.engines->at[i].name));
    map_fini(&names);
    list_each(m, &c->members, node)
    {
        if (m->stays)
            continue;
        m->conf = NULL;
        m->passthrough = NULL;
        m->npassthrough = 0;
        m->probe_path = STR_NONE;
        if (m->origin == ENGINE_UNIT &&
            m->unit.id) /* its process is still there: until on_unit_gone */
            cell_set(m->cell, CELL_LISTED, CELL_CLOSED);
        else
            member_destroy(&m);
    }
}

/* ---- units ---- */

static enum cell_verdict verdict_of(enum unit_state s)
{
    switch (s) {
    case UNIT_READY:
        return CELL_GOOD;
    case UNIT_STARTING:
    case UNIT_LOADING:
    case UNIT_BACKOFF:
    case UNIT_UNRESPONSIVE:
        return CELL_COMING;
    case UNIT_DRAINING:
        return CELL_CLOSED;
    case UNIT_STOPPED:
    case UNIT_STOPPING:
    case UNIT_PARKED:
    case UNIT_EXITED:
    case UNIT_STATES_N:
        break;
    }
    return CELL_BAD;
}

/* A unit at another address is another engine: lanes that still hold a snapshot with the address
 * before must not take the new one's word for that. For them it is on its way, so they wait, and
 * are sent on by the newest snapshot. */
static void renew_cell(struct member *m)
{
    struct cell *old = m->cell;

    door_forget(m);
    m->cell = cell_create(atomic_load(&old->slots));
    atomic_store(&m->cell->requests, atomic_load(&old->requests));
    atomic_store(&m->cell->errors, atomic_load(&old->errors));
    atomic_store(&m->cell->response_us, atomic_load(&old->response_us));
    atomic_store(&m->cell->checked_s, atomic_load(&old->checked_s));
    cell_set(m->cell, CELL_SUPERVISED, CELL_COMING);
    cell_set(old, CELL_LISTED, CELL_COMING);
    cell_set(old, CELL_SUPERVISED, CELL_COMING);
    cell_unref(&old);
}

/* Where this run of the unit answers. True when that changed. */
static bool place_unit(struct member *m, const struct link_unit *u)
{
    struct buf b = buf_make(4096);
    struct str wanted = m->conf ? m->conf->url : STR_NONE;
    const char *why;
    bool changed;

    if (wanted.n == 0) {
        if (u->socket[0])
            buf_printf(&b, "unix:%s", u->socket);
        else if (u->port)
            buf_printf(&b, "http://127.0.0.1:%u", u->port);
    }
    while (wanted.n > 0) { /* ${PORT} and ${SOCKET} in a configured url */
        size_t at = str_find(wanted, '$');

        buf_add(&b, str_head(wanted, at));
        wanted = str_from(wanted, at);
        if (str_starts(wanted, STR("${PORT}"))) {
            buf_u64(&b, u->port);
            wanted = str_from(wanted, 7);
        } else if (str_starts(wanted, STR("${SOCKET}"))) {
            buf_text(&b, u->socket);
            wanted = str_from(wanted, 9);
        } else if (wanted.n > 0) {
            buf_char(&b, wanted.p[0]);
            wanted = str_from(wanted, 1);
        }
    }
    changed = !str_eq(buf_str(&b), str_of(m->url_text));
    if (changed && b.n > 0) {
        probe_stop(m);
        mem_free(m->url_text);
        m->url_text = str_dup(buf_str(&b));
        if (url_parse(str_of(m->url_text), &m->at, &why) < 0)
            m->at = (struct url){.kind = URL_NONE};
        m->id = ++m->control->last_id; /* lanes make a new pool */
        renew_cell(m);
    }
    buf_fini(&b);
    return changed;
}

void members_unit(struct control *c, const struct link_unit *u, struct ev_fd *ring)
{
    struct member *m = member_by_unit(c, u->id);
    bool again;

    if (!m) {
        m = member_by_name(c, str_of(u->name));
        if (!m || m->origin != ENGINE_UNIT || m->unit.id) {
            m = member_create(c, ENGINE_UNIT, str_of(u->name), STR_NONE);
            for (size_t i = 0; c->settings.engines && i < c->settings.engines->n; i++)
                if (str_eq(c->settings.engines->at[i].name, str_of(u->name)))
                    configure_unit(m, &c->settings.engines->at[i]);
        }
        members_changed(c);
    }
    if (ring->fd >= 0 && !m->ring && ring_open(ring, &m->ring) < 0)
        m->ring = NULL;
    again = m->unit.generation != u->generation || m->unit.state != u->state;
    m->unit = *u;
    if (place_unit(m, u))
        members_publish(c); /* before its state says that it may be asked */
    cell_set(m->cell, CELL_LISTED, m->conf ? CELL_GOOD : CELL_CLOSED);
    member_state(c, m, CELL_SUPERVISED, verdict_of(u->state));
    if (again)
        probe_start(m);
    if (again && u->state == UNIT_READY) {
        door_returned(m);
        door_try(m);
    }
    if (u->state == UNIT_DRAINING && cell_load(m->cell) == 0)
        c->ops->report(c->ctx, u->id, u->generation, LINK_REPORT_IDLE);
}

void members_unit_gone(struct control *c, uint32_t id)
{
    struct member *m = member_by_unit(c, id);

    if (!m)
        return;
    if (m->conf && m == member_by_name(c, str_of(m->name))) {
        ring_close(&m->ring); /* a unit of that name is configured anew, and will have its own */
        m->unit = (struct link_unit){.id = 0};
        member_state(c, m, CELL_SUPERVISED, CELL_COMING);
        return;
    }
    member_destroy(&m);
    members_changed(c);
}
