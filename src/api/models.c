/* SPDX-License-Identifier: Apache-2.0
 *
 * models.c - the model list of OpenAI's API: what the healthy engines serve, each model once, told
 * by the first engine by name that lists it; then the aliases, which tell under their own name what
 * the first of their targets and fallbacks tells that is served. An alias hides a model of the same
 * name, as it does in requests.
 *
 * What an engine says about a model is passed on byte for byte: it was completed and brought into
 * order when it was read (struct engine, model_json).
 */
#include <stdlib.h>

#include "api/api_priv.h"
#include "base/jsonindex.h"
#include "base/mem.h"
#include "fleet/plan.h"

/* One line of the list. */
struct line {
    struct str id;
    const struct engine *engine; /* who tells about it */
    uint32_t k;                  /* as its k-th model */
};

/* An engine's object under another id: its bytes with the id exchanged. False when it has none that
 * could be found. */
static bool put_renamed(struct jsonw *w, struct str json, struct str id)
{
    static const struct jsonindex_key wanted[] = {{.name = "id"}};
    struct jsonindex ix;
    struct buf b = buf_make(json.n + 6 * id.n + 2);

    jsonindex_init(&ix, wanted, ARRAY_LEN(wanted));
    if (json.n == 0 || jsonindex_feed(&ix, json.p, json.n) < 0 || jsonindex_finish(&ix) < 0 ||
        !ix.fields[0].whole)
        return false;
    buf_add(&b, str_head(json, ix.fields[0].begin));
    buf_char(&b, '"');
    jsonw_escape(&b, id);
    buf_char(&b, '"');
    buf_add(&b, str_from(json, ix.fields[0].end));
    jsonw_raw(w, buf_str(&b));
    buf_fini(&b);
    return true;
}

static void put_plain(struct jsonw *w, struct str id)
{
    jsonw_begin_object(w);
    jsonw_key(w, "created");
    jsonw_u64(w, 0);
    jsonw_key(w, "id");
    jsonw_str(w, id);
    jsonw_key(w, "object");
    jsonw_cstr(w, "model");
    jsonw_key(w, "owned_by");
    jsonw_cstr(w, "inferd");
    jsonw_end_object(w);
}

static struct str own_object(const struct engine *e, uint32_t k)
{
    return e->model_json ? e->model_json[k] : STR_NONE;
}

void models_put(struct jsonw *w, const struct engine *e, uint32_t k)
{
    struct str json = own_object(e, k);

    if (json.n > 0)
        jsonw_raw(w, json);
    else
        put_plain(w, e->models[k]);
}

static void put_line(struct jsonw *w, const struct line *e)
{
    if (str_eq(e->id, e->engine->models[e->k]))
        models_put(w, e->engine, e->k);
    else if (!put_renamed(w, own_object(e->engine, e->k), e->id))
        put_plain(w, e->id);
}

/* By id; of equal ids the first engine by name first, which is the order of their addresses. */
static int by_id(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    int order = str_cmp(x->id, y->id);

    if (order == 0)
        order = (x->engine > y->engine) - (x->engine < y->engine);
    return order ? order : (x->k > y->k) - (x->k < y->k);
}

/* Sorted, each id once. */
static size_t collect(const struct snapshot *s, struct line *list)
{
    size_t n = 0, kept = 0;

    for (uint32_t i = 0; i < s->nengines; i++) {
        const struct engine *e = &s->engines[i];

        if (cell_state(e->cell) != CELL_GOOD)
            continue;
        for (uint32_t k = 0; k < e->nmodels; k++)
            list[n++] = (struct line){e->models[k], e, k};
    }
    if (n > 1)
        qsort(list, n, sizeof *list, by_id);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || !str_eq(list[kept - 1].id, list[i].id))
            list[kept++] = list[i];
    return kept;
}

static int find_id(const void *key, const void *element)
{
    return str_cmp(*(const struct str *)key, ((const struct line *)element)->id);
}

/* Who tells about an alias: the first of its targets and fallbacks that is listed. */
static const struct line *who_tells(const struct snapshot *s, const struct alias *a,
                                    const struct line *list, size_t n)
{
    const struct line *found = NULL;
    struct plan plan;

    (void)plan_make(s, a->name, NULL, NULL, &plan);
    for (uint32_t i = 0; i < plan.n && !found; i++)
        found = bsearch(&plan.models[i], list, n, sizeof *list, find_id);
    return found;
}

/* Adds, behind the n models, those aliases that one of them answers for; returns how many. */
static size_t collect_aliases(const struct snapshot *s, struct line *list, size_t n)
{
    size_t added = 0;

    for (uint32_t i = 0; n > 0 && i < s->naliases; i++) {
        const struct alias *a = &s->alias_list[i];
        const struct line *model = who_tells(s, a, list, n);

        if (model)
            list[n + added++] = (struct line){a->name, model->engine, model->k};
    }
    return added;
}

static void put_allowed(struct jsonw *w, const struct key *key, const struct line *e)
{
    if (!key || keys_allow(key, e->id))
        put_line(w, e);
}

/* Both parts of the list are sorted: merged, an alias instead of a model of the same name. */
static void put_merged(struct jsonw *w, const struct snapshot *s, const struct key *key,
                       const struct line *list, size_t n, size_t aliases)
{
    size_t i = 0, a = 0;

    while (i < n || a < aliases) {
        const struct line *model = i < n ? &list[i] : NULL;
        const struct line *alias = a < aliases ? &list[n + a] : NULL;

        if (model && (!alias || str_cmp(model->id, alias->id) < 0)) {
            if (!map_find(&s->aliases, model->id)) /* one without a target hides it too */
                put_allowed(w, key, model);
            i++;
        } else if (alias) {
            put_allowed(w, key, alias);
            a++;
        }
    }
}

void models_list(const struct snapshot *s, const struct key *key, struct buf *out)
{
    struct jsonw w = jsonw_make(out);
    struct line *list;
    size_t most = s->naliases, n, aliases;

    for (uint32_t i = 0; i < s->nengines; i++)
        most += s->engines[i].nmodels;
    list = mem_alloc(max_size(most, 1) * sizeof *list);
    n = collect(s, list);
    aliases = collect_aliases(s, list, n);
    jsonw_begin_object(&w);
    jsonw_key(&w, "data");
    jsonw_begin_array(&w);
    put_merged(&w, s, key, list, n, aliases);
    jsonw_end_array(&w);
    jsonw_key(&w, "object");
    jsonw_cstr(&w, "list");
    jsonw_end_object(&w);
    mem_free(list);
}

/* The first healthy engine that tells about a model. */
static bool find_teller(const struct snapshot *s, struct str model, struct line *ret)
{
    const struct model *m = snapshot_model(s, model);

    for (uint32_t i = 0; m && i < m->nengines; i++) {
        const struct engine *e = m->engines[i];

        if (cell_state(e->cell) != CELL_GOOD)
            continue;
        for (uint32_t k = 0; k < e->nmodels; k++) {
            if (str_eq(e->models[k], model)) {
                *ret = (struct line){model, e, k};
                return true;
            }
        }
    }
    return false;
}

bool models_one(const struct snapshot *s, const struct key *key, struct str id, struct buf *out)
{
    struct jsonw w = jsonw_make(out);
    struct plan plan = {.models = {id}, .n = 1};
    struct line found;

    if (key && !keys_allow(key, id))
        return false;
    (void)plan_make(s, id, NULL, NULL, &plan);
    for (uint32_t i = 0; i < plan.n; i++) {
        if (find_teller(s, plan.models[i], &found)) {
            found.id = id;
            put_line(&w, &found);
            return true;
        }
    }
    return false;
}
