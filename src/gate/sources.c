/* SPDX-License-Identifier: Apache-2.0
 *
 * sources.c - the table of services becomes members: one for each engine, with what its rows say
 * together. A list that says nothing new costs no snapshot, and no lane hears of it; what only
 * /services shows does neither.
 */
#include "gate/sources_priv.h"

#include "base/mem.h"

static const char *const origin_values[] = {
    [ENTRY_STATIC] = "static", [ENTRY_REGISTRY] = "registry"};
static const struct metrics_label label_origin = {"origin", 2, origin_values};
#define SOURCES_ROW(...) METRICS_ROW(struct sources_counts, __VA_ARGS__)
static const struct metrics_family families[] = {SOURCES_METRICS(SOURCES_ROW)};

/* ---- members ---- */

/* True when it was another one. */
static bool set_text(char **to, struct str text)
{
    if (str_eq(str_of(*to), text))
        return false;
    mem_free(*to);
    *to = str_dup(text);
    return true;
}

static bool has_models(const struct member *m, const struct entries_picture *p)
{
    if (m->nmodels != p->nmodels)
        return false;
    for (uint32_t i = 0; i < p->nmodels; i++)
        if (!str_eq(m->models[i], p->models[i]))
            return false;
    return true;
}

/* What selection looks at; true when something of it was another one. */
static bool set_facts(struct member *m, const struct entries_picture *p)
{
    enum engine_origin origin = p->from_file ? ENGINE_STATIC : ENGINE_REGISTERED;
    bool absent = p->listed == ENTRY_ABSENT;
    bool changed = m->weight != p->weight || m->cache != p->cache || m->absent != absent ||
                   m->origin != origin;

    m->weight = p->weight;
    m->cache = p->cache;
    m->absent = absent;
    m->origin = origin;
    changed |= set_text(&m->name, p->name);
    if (set_text(&m->url_text, p->url)) {
        const char *why;

        CHECK(url_parse(str_of(m->url_text), &m->at, &why) == 0);
        changed = true;
    }
    if (!has_models(m, p)) {
        member_name_models(m, p->models, p->nmodels);
        changed = true;
    }
    return changed;
}

static struct member *make_member(struct control *c, const struct entries_picture *p)
{
    struct member *m = member_create(c, ENGINE_REGISTERED, p->name, p->url);

    m->of_table = true;
    m->kind = ENGINE_KIND_OPENAI;
    m->kind_fixed = true;
    member_name_models(m, p->models, p->nmodels);
    return m;
}

/* True when selection sees a difference. */
static bool renew(struct sources *s, struct entries_engine *e, struct arena *arena)
{
    struct entries_picture p;
    struct member *m = e->owner;
    bool changed = m == NULL;
    const char *why;

    entries_picture(s->table, e, arena, &p);
    if (!m)
        m = e->owner = make_member(s->control, &p);
    changed |= set_facts(m, &p);
    member_state(s->control, m, CELL_LISTED, p.listed == ENTRY_NO ? CELL_COMING : CELL_GOOD);
    CHECK(probe_aim(m, p.probe, &why) == 0);
    return changed;
}

static bool renew_members(struct sources *s)
{
    struct entries_engine *e;
    struct arena arena;
    bool changed = false;

    arena_init(&arena, &s->control->arenas);
    while ((e = entries_changed(s->table))) {
        struct member *m = e->owner;

        if (!entries_engine_gone(e)) {
            changed |= renew(s, e, &arena);
            continue;
        }
        changed |= m != NULL;
        member_destroy(&m);
        entries_forget(s->table, &e);
    }
    arena_clear(&arena);
    return changed;
}

/* ---- the table ---- */

static struct cell *cell_of(const struct entries_engine *e)
{
    return ((const struct member *)e->owner)->cell;
}

static void count(struct sources *s)
{
    struct entries_totals n = entries_count(s->table);

    for (unsigned i = 0; i < ARRAY_LEN(n.rows); i++)
        metrics_set(&s->counts.rows[i], n.rows[i]);
    metrics_set(&s->counts.absent, n.listed[ENTRY_ABSENT]);
}

static void warn_full(struct sources *s, uint32_t ignored)
{
    struct control *c = s->control;
    struct log_rec *r;

    metrics_add(&s->counts.ignored, ignored);
    if (ignored > 0 && ignored != s->ignored) {
        r = log_begin(c->log, LOG_WARN, loop_wall_us(c->loop), "control",
                      "the table of services is full: some are left out");
        log_u64(r, "left_out", ignored);
        log_u64(r, "at_most", s->conf->most);
        log_end(r);
    }
    s->ignored = ignored;
}

void sources_settle(struct sources *s, const struct entries_news *news)
{
    bool changed = renew_members(s);

    if (!s->list || news->added + news->changed + news->removed > 0) {
        entry_list_unref(&s->list);
        s->list = entries_list(s->table, cell_of);
    }
    count(s);
    warn_full(s, news->ignored);
    if (changed && s->control->snap) /* at once: whoever reads /services may act on it */
        members_publish(s->control);
}

void sources_take_file(struct sources *s, const struct listing *l)
{
    struct entries_news news;

    entries_take_file(s->table, l, &news);
    sources_settle(s, &news);
}

const struct entry_list *sources_entries(const struct sources *s) { return s->list; }

void sources_start(struct control *c, const struct sources_conf *conf, struct sources **ret)
{
    struct sources *s = xnew(struct sources, .control = c, .conf = conf);
    struct listing none = {.rows = NULL};

    s->table = entries_create(&(struct entries_conf){
        .most = conf->most, .grace_ms = conf->grace_ms, .seed = c->gate->seed});
    METRICS_REGISTER(c->metrics, families, &s->counts);
    *ret = s;
    sources_take_file(s, conf->file ? conf->file : &none);
    if (conf->registry)
        sync_start(s);
}

/* Its members are control's, which ends them. */
void sources_destroy(struct sources **sp)
{
    struct sources *s = TAKE(sp);

    if (!s)
        return;
    sync_stop(s);
    entry_list_unref(&s->list);
    entries_destroy(&s->table);
    mem_free(s);
}
