/* SPDX-License-Identifier: Apache-2.0
 *
 * entries.c - see entries.h. A list that says what the one before said changes nothing: sides are
 * compared before anything is made from them. What a row is for others (struct entry) is made anew
 * when one of its sides changed.
 */
#include "fleet/entries.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"

enum { MERGED_BYTES = 2 * LISTING_METADATA_BYTES, ADDRESS_BYTES = 320 };

/* What one source says of a name. */
struct side {
    char *texts;
    struct listing_row is;
};

struct row {
    struct list node; /* in table->rows */
    struct side *file, *registry;
    uint64_t named;     /* the last list of the registry that named it */
    uint64_t filed;     /* the last file that did */
    bool absent;        /* the registry's last list did not name it */
    uint64_t absent_ms; /* since then */
    struct entry *entry;
    struct entries_engine *engine;
    struct list in_engine;
};

struct entries {
    struct entries_conf conf;
    struct list rows;
    uint32_t nrows;
    struct map by_name; /* keys are of each row's entry */
    struct map engines; /* by address */
    struct list changed;
    uint64_t lists, files; /* taken so far */
};

/* ---- sides ---- */

static void drop_side(struct side **sp)
{
    struct side *s = TAKE(sp);

    if (!s)
        return;
    mem_free(s->texts);
    mem_free(s);
}

/* One block for all texts: there may be many sides. */
static struct side *make_side(const struct listing_row *r)
{
    struct side *s = xnew(struct side, .is = *r);
    struct str *texts[] = {&s->is.name,           &s->is.host,  &s->is.url,
                           &s->is.babysitter_url, &s->is.probe, &s->is.metadata};
    size_t n = 0;
    char *at;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        n += texts[i]->n;
    s->texts = at = mem_alloc(n);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        memcpy(at, texts[i]->p, texts[i]->n);
        texts[i]->p = at;
        at += texts[i]->n;
    }
    return s;
}

/* Whether the source calls it healthy is no part of what it is. */
static bool is_same(const struct side *s, const struct listing_row *r)
{
    const struct listing_row *is = &s->is;

    return is->port == r->port && is->lasting == r->lasting && is->weighed == r->weighed &&
           is->weight == r->weight && str_eq(is->host, r->host) && str_eq(is->url, r->url) &&
           str_eq(is->probe, r->probe) && str_eq(is->metadata, r->metadata);
}

/* The side that says where it is. */
static const struct listing_row *place_of(const struct row *r)
{
    return r->file ? &r->file->is : &r->registry->is;
}

static enum entry_listed listed_of(const struct row *r)
{
    if (r->file)
        return ENTRY_YES;
    return r->absent ? ENTRY_ABSENT : r->registry->is.healthy ? ENTRY_YES : ENTRY_NO;
}

/* ---- what a row is for others ---- */

/* Metadata is what we wrote ourselves. */
static struct json *parse(struct str metadata)
{
    struct json *v = NULL;

    CHECK(json_read(metadata, NULL, NULL, &v) == 0);
    return v;
}

/* Strings of a "models" array, each once over all calls with one map. */
static void add_models(struct entry *e, const struct json *metadata, struct map *seen)
{
    const struct json *models = json_find_cstr(metadata, "models");
    size_t n = json_kind_of(models) == JSON_KIND_ARRAY ? json_count(models) : 0;
    struct str *all = arena_alloc(&e->arena, (e->nmodels + n) * sizeof *all + 1), id;

    if (e->nmodels > 0)
        memcpy(all, e->models, e->nmodels * sizeof *all);
    e->models = all;
    for (size_t i = 0; i < n; i++) {
        if (!json_get_str(json_at(models, i), &id) || id.n == 0 || map_find(seen, id))
            continue;
        id = arena_str(&e->arena, id);
        (void)map_put(seen, id, e);
        e->models[e->nmodels++] = id;
    }
}

static void tell_model(struct entry *e, struct json *model)
{
    struct buf b = buf_make(MERGED_BYTES);
    struct str id;

    if (!json_get_str(json_find_cstr(model, "id"), &id))
        return;
    entry_complete_model(model);
    json_write(model, &b);
    CHECK(buf_status(&b) == 0);
    e->list[e->nlist++] =
        (struct entry_model){arena_str(&e->arena, id), arena_str(&e->arena, buf_str(&b))};
    buf_fini(&b);
}

/* Of its metadata.models_list, even when that is empty; without one, of its models. */
static void tell_models(struct entry *e, const struct json *metadata)
{
    const struct json *list = json_find_cstr(metadata, "models_list");
    bool is_list = json_kind_of(list) == JSON_KIND_ARRAY;
    size_t n = is_list ? json_count(list) : e->nmodels;

    e->list = arena_alloc(&e->arena, n * sizeof *e->list + 1);
    for (size_t i = 0; i < n; i++) {
        _cleanup_(json_cleanup) struct json *model = NULL;

        if (is_list) {
            model = json_ref(json_at(list, i));
        } else {
            struct json *id = json_new_str(e->models[i]);

            model = json_new_object();
            json_put(model, STR("id"), &id);
        }
        tell_model(e, model);
    }
}

/* The second has what the first lacks. */
static void add_keys(struct json *to, const struct json *from)
{
    struct json *v;
    struct str key;

    for (void *it = NULL; json_next(from, &it, &key, &v);) {
        struct json *more = json_find(to, key) ? NULL : json_ref(v);

        if (more)
            json_put(to, key, &more);
    }
}

static void describe(struct entry *e, const struct row *r, uint64_t seed)
{
    _cleanup_(json_cleanup) struct json *metadata = parse(place_of(r)->metadata);
    struct buf text = buf_make(MERGED_BYTES);
    struct map seen;
    struct str type;

    map_init(&seen, seed);
    add_models(e, metadata, &seen);
    if (r->file && r->registry) {
        _cleanup_(json_cleanup) struct json *more = parse(r->registry->is.metadata);

        add_models(e, more, &seen);
        add_keys(metadata, more);
    }
    map_fini(&seen);
    json_write(metadata, &text);
    CHECK(buf_status(&text) == 0);
    e->metadata = arena_str(&e->arena, buf_str(&text));
    buf_fini(&text);
    e->openai =
        json_get_str(json_find_cstr(metadata, "type"), &type) && str_eq(type, STR("openai-api"));
    if (json_get_str(json_find_cstr(metadata, "cache_type"), &type))
        e->cache = str_eq(type, STR("paged"))    ? CACHE_PAGED
                   : str_eq(type, STR("static")) ? CACHE_STATIC
                                                 : CACHE_UNSAID;
    tell_models(e, metadata);
}

static struct entry *make_entry(const struct row *r, uint64_t seed)
{
    const struct listing_row *at = place_of(r);
    struct entry *e = xnew(struct entry, .origin = r->file ? ENTRY_STATIC : ENTRY_REGISTRY,
                           .port = at->port, .weight = at->weight);

    atomic_init(&e->refs, 1);
    atomic_init(&e->listed, (uint8_t)listed_of(r));
    arena_init(&e->arena, NULL);
    e->name = arena_str(&e->arena, at->name);
    e->host = arena_str(&e->arena, at->host);
    e->url = arena_str(&e->arena, at->url);
    e->babysitter_url = arena_str(&e->arena, at->babysitter_url);
    describe(e, r, seed);
    return e;
}

/* ---- engines ---- */

static void mark(struct entries *t, struct entries_engine *e)
{
    if (list_empty(&e->changed))
        list_append(&t->changed, &e->changed);
}

static struct entries_engine *engine_at(struct entries *t, const struct listing_row *at)
{
    char memory[ADDRESS_BYTES];
    struct buf address = buf_on(memory, sizeof memory);
    struct entries_engine *e;

    listing_write_address(at->host, at->port, &address);
    CHECK(buf_status(&address) == 0);
    e = map_find(&t->engines, buf_str(&address));
    if (e)
        return e;
    e = xnew(struct entries_engine, .address = str_dup(buf_str(&address)));
    list_init(&e->changed);
    list_init(&e->rows);
    (void)map_put(&t->engines, str_of(e->address), e);
    return e;
}

static void leave_engine(struct entries *t, struct row *r)
{
    list_remove(&r->in_engine);
    if (r->engine)
        mark(t, r->engine);
    r->engine = NULL;
}

/* Lists come sorted, nearly always: its place is looked for from the end. */
static void join_engine(struct entries *t, struct row *r, struct entries_engine *e)
{
    struct list *behind = e->rows.prev;

    r->engine = e;
    mark(t, e);
    while (behind != &e->rows &&
           str_cmp(list_entry(behind, struct row, in_engine)->entry->name, r->entry->name) > 0)
        behind = behind->prev;
    list_append(behind->next, &r->in_engine); /* a ring: in front of the next one */
}

struct entries_engine *entries_changed(struct entries *t)
{
    struct list *node = list_shift(&t->changed);

    return node ? list_entry(node, struct entries_engine, changed) : NULL;
}

bool entries_engine_gone(const struct entries_engine *e) { return list_empty(&e->rows); }

void entries_forget(struct entries *t, struct entries_engine **ep)
{
    struct entries_engine *e = TAKE(ep);

    CHECK(entries_engine_gone(e));
    list_remove(&e->changed);
    (void)map_remove(&t->engines, str_of(e->address));
    mem_free(e->address);
    mem_free(e);
}

/* ---- rows ---- */

/* A side of it is another one now. */
static void renew(struct entries *t, struct row *r)
{
    struct entry *old = r->entry;
    struct entries_engine *e = engine_at(t, place_of(r));

    r->entry = make_entry(r, t->conf.seed);
    (void)map_put(&t->by_name, r->entry->name, r); /* the key is the new one's */
    entry_unref(&old);
    if (r->engine != e) {
        leave_engine(t, r);
        join_engine(t, r, e);
    }
    mark(t, e);
}

static void drop_row(struct entries *t, struct row *r)
{
    leave_engine(t, r);
    (void)map_remove(&t->by_name, r->entry->name);
    list_remove(&r->node);
    t->nrows--;
    drop_side(&r->file);
    drop_side(&r->registry);
    entry_unref(&r->entry);
    mem_free(r);
}

/* One of its sides has gone. */
static void lessen(struct entries *t, struct row *r, struct entries_news *news)
{
    if (r->file || r->registry) {
        renew(t, r);
        news->changed++;
        return;
    }
    drop_row(t, r);
    news->removed++;
}

/* NULL: there is no room for one more. */
static struct row *row_of(struct entries *t, struct str name)
{
    struct row *r = map_find(&t->by_name, name);

    if (r || t->nrows == t->conf.most)
        return r;
    r = mem_alloc(sizeof *r);
    list_init(&r->in_engine);
    list_init(&r->node);
    list_append(&t->rows, &r->node);
    t->nrows++;
    return r;
}

static void take_side(struct entries *t, struct row *r, struct side **side,
                      const struct listing_row *is, struct entries_news *news)
{
    if (*side && is_same(*side, is)) {
        (*side)->is.healthy = is->healthy;
        return;
    }
    news->added += r->entry == NULL;
    news->changed += r->entry != NULL;
    drop_side(side);
    *side = make_side(is);
    renew(t, r);
}

static void set_listed(struct entries *t, struct row *r, struct entries_news *news)
{
    enum entry_listed now = listed_of(r);

    if (entry_listed(r->entry) == now)
        return;
    atomic_store_explicit(&r->entry->listed, (uint8_t)now, memory_order_relaxed);
    news->listed++;
    mark(t, r->engine);
}

/* ---- lists ---- */

void entries_take_file(struct entries *t, const struct listing *l, struct entries_news *ret)
{
    struct entries_news news = {.added = 0};
    struct row *r;

    t->files++;
    for (size_t i = 0; i < l->n; i++) {
        r = row_of(t, l->rows[i].name);
        news.ignored += r == NULL;
        if (!r)
            continue;
        r->filed = t->files;
        take_side(t, r, &r->file, &l->rows[i], &news);
        set_listed(t, r, &news);
    }
    list_each(r, &t->rows, node)
    {
        if (!r->file || r->filed == t->files)
            continue;
        drop_side(&r->file);
        lessen(t, r, &news);
    }
    *ret = news;
}

static uint64_t grace_of(const struct entries *t, const struct row *r)
{
    return r->registry->is.lasting ? max_size(t->conf.grace_ms, ENTRIES_LASTING_MS)
                                   : t->conf.grace_ms;
}

/* The list did not name it. */
static void miss(struct entries *t, struct row *r, uint64_t now_ms, struct entries_news *news)
{
    if (!r->absent)
        r->absent_ms = now_ms;
    r->absent = true;
    if (now_ms - r->absent_ms < grace_of(t, r)) {
        set_listed(t, r, news);
        return;
    }
    drop_side(&r->registry);
    lessen(t, r, news);
}

void entries_take_registry(struct entries *t, const struct listing *l, uint64_t now_ms,
                           struct entries_news *ret)
{
    struct entries_news news = {.added = 0};
    struct row *r;

    t->lists++;
    for (size_t i = 0; i < l->nnames; i++) {
        r = map_find(&t->by_name, l->names[i]);
        if (r)
            r->named = t->lists;
    }
    for (size_t i = 0; i < l->n; i++) {
        r = row_of(t, l->rows[i].name);
        news.ignored += r == NULL;
        if (!r)
            continue;
        r->named = t->lists;
        r->absent = false;
        take_side(t, r, &r->registry, &l->rows[i], &news);
    }
    list_each(r, &t->rows, node)
    {
        if (!r->registry)
            continue;
        if (r->named != t->lists) {
            miss(t, r, now_ms, &news);
            continue;
        }
        r->absent = false;
        set_listed(t, r, &news);
    }
    *ret = news;
}

/* ---- the table ---- */

struct entries *entries_create(const struct entries_conf *conf)
{
    struct entries *t = xnew(struct entries, .conf = *conf);

    list_init(&t->rows);
    list_init(&t->changed);
    map_init(&t->by_name, conf->seed);
    map_init(&t->engines, conf->seed);
    return t;
}

void entries_destroy(struct entries **tp)
{
    struct entries *t = TAKE(tp);
    struct row *r;
    struct entries_engine *e;

    if (!t)
        return;
    list_each(r, &t->rows, node) drop_row(t, r);
    while ((e = entries_changed(t)))
        entries_forget(t, &e);
    CHECK(t->engines.count == 0);
    map_fini(&t->by_name);
    map_fini(&t->engines);
    mem_free(t);
}

struct entries_totals entries_count(const struct entries *t)
{
    struct entries_totals n = {.rows = {0}};
    const struct row *r;

    list_each(r, &t->rows, node)
    {
        n.rows[r->entry->origin]++;
        n.listed[entry_listed(r->entry)]++;
    }
    return n;
}

/* ---- pictures ---- */

static bool counts(const struct row *r, enum entry_listed best)
{
    return best == ENTRY_NO || entry_listed(r->entry) != ENTRY_NO;
}

static void unite_models(const struct entries *t, const struct entries_engine *e,
                         struct arena *arena, struct entries_picture *p)
{
    const struct row *r;
    struct map seen;
    size_t n = 0;

    list_each(r, &e->rows, in_engine) n += r->entry->nmodels;
    p->models = arena_alloc(arena, n * sizeof *p->models + 1);
    map_init(&seen, t->conf.seed);
    list_each(r, &e->rows, in_engine)
    {
        for (uint32_t i = 0; counts(r, p->listed) && i < r->entry->nmodels; i++) {
            if (map_find(&seen, r->entry->models[i]))
                continue;
            (void)map_put(&seen, r->entry->models[i], r->entry);
            p->models[p->nmodels++] = r->entry->models[i];
        }
    }
    map_fini(&seen);
}

static void add_to_picture(struct entries_picture *p, const struct row *r, bool *weighed)
{
    const struct listing_row *at = place_of(r);

    if (r->file && !p->from_file) { /* the operator's word, not a guess */
        p->from_file = true;
        p->probe = at->probe;
    }
    if (at->weighed && !*weighed) {
        *weighed = true;
        p->weight = at->weight;
    }
    if (p->cache == CACHE_UNSAID)
        p->cache = r->entry->cache;
    if (entry_listed(r->entry) < p->listed)
        p->listed = entry_listed(r->entry);
}

void entries_picture(const struct entries *t, const struct entries_engine *e, struct arena *arena,
                     struct entries_picture *ret)
{
    struct entries_picture p = {.weight = 1, .listed = ENTRY_NO};
    const struct row *first = list_first(&e->rows, struct row, in_engine), *r;
    bool weighed = false;

    CHECK(first);
    p.name = first->entry->name;
    p.url = first->entry->url;
    p.probe = place_of(first)->probe;
    list_each(r, &e->rows, in_engine) add_to_picture(&p, r, &weighed);
    unite_models(t, e, arena, &p);
    *ret = p;
}

static int by_name(const void *a, const void *b)
{
    const struct entry_seat *x = a, *y = b;

    return str_cmp(x->entry->name, y->entry->name);
}

struct entry_list *entries_list(const struct entries *t,
                                struct cell *(*cell)(const struct entries_engine *e))
{
    struct entry_list *l = entry_list_create(t->nrows);
    const struct row *r;
    uint32_t n = 0;

    list_each(r, &t->rows, node)
    {
        l->at[n++] = (struct entry_seat){
            .entry = entry_ref(r->entry),
            .cell = cell_ref(cell(r->engine)),
            .first = r->engine->rows.next == &r->in_engine,
        };
    }
    if (n > 1)
        qsort(l->at, n, sizeof l->at[0], by_name);
    return l;
}
