/* SPDX-License-Identifier: Apache-2.0
 *
 * router_own.c - the bodies of the router's own endpoints, told from the rows of its table and the
 * cells of their engines. Several rows may be one engine: each shows its state, the first one its
 * count of requests.
 *
 * The list of models is what healthy rows of type openai-api tell, in the order of their names: of
 * several rows that tell of one model the first is believed.
 */
#include <stdlib.h>

#include "api/api_priv.h"
#include "base/mem.h"

/* ---- services ---- */

static const char *const listed_words[] = {
    [ENTRY_YES] = "yes",
    [ENTRY_ABSENT] = "absent",
    [ENTRY_NO] = "no",
};
static const char *const origin_words[] = {
    [ENTRY_STATIC] = "static",
    [ENTRY_REGISTRY] = "registry",
};

static void put_metadata(struct jsonw *w, const void *of)
{
    const struct entry *e = of;

    jsonw_raw(w, e->metadata);
}

static void put_row(struct jsonw *w, const struct entry_seat *at)
{
    const struct entry *e = at->entry;
    struct service s = {
        .babysitter_url = e->babysitter_url,
        .healthy = entry_healthy(at),
        .host = e->host,
        .listed = listed_words[entry_listed(e)],
        .put_metadata = put_metadata,
        .metadata = e,
        .models = e->models,
        .nmodels = e->nmodels,
        .name = e->name,
        .origin = origin_words[e->origin],
        .port = e->port,
        .requests = at->first ? atomic_load(&at->cell->requests) : 0,
        .url = e->url,
        .weight = e->weight,
        .cell = at->cell,
    };

    service_put(w, &s);
}

static void put_rows(struct jsonw *w, const struct gate_own *q)
{
    for (uint32_t i = 0; i < q->entries->n; i++)
        put_row(w, &q->entries->at[i]);
}

static struct services services_of(const struct gate_own *q)
{
    struct services s = {.q = q, .n = q->entries->n, .put = put_rows};

    for (uint32_t i = 0; i < s.n; i++)
        s.healthy += entry_healthy(&q->entries->at[i]);
    return s;
}

unsigned router_own_health(const struct gate_own *q, struct buf *out, struct fault *f)
{
    struct services s = services_of(q);

    (void)f;
    service_health(&s, out);
    return 200;
}

unsigned router_own_services(const struct gate_own *q, struct buf *out, struct fault *f)
{
    struct services s = services_of(q);

    (void)f;
    service_list(&s, out);
    return 200;
}

unsigned router_own_stats(const struct gate_own *q, struct buf *out, struct fault *f)
{
    struct services s = services_of(q);

    (void)f;
    service_stats(&s, out);
    return 200;
}

/* ---- models ---- */

static bool tells(const struct entry_seat *at) { return at->entry->openai && entry_healthy(at); }

/* A model of the list, and who came before whom. */
struct told {
    const struct entry_model *model;
    uint32_t order;
};

static int by_id(const void *a, const void *b)
{
    const struct told *x = a, *y = b;
    int order = str_cmp(x->model->id, y->model->id);

    return order ? order : (x->order > y->order) - (x->order < y->order);
}

/* Sorted by id, each id once; to be given to mem_free. */
static struct told *collect(const struct entry_list *l, size_t *ret_n)
{
    size_t most = 0, kept = 0;
    uint32_t n = 0;
    struct told *list;

    for (uint32_t i = 0; i < l->n; i++)
        most += l->at[i].entry->nlist;
    list = mem_alloc(max_size(most, 1) * sizeof *list);
    for (uint32_t i = 0; i < l->n; i++) {
        const struct entry *e = l->at[i].entry;

        for (uint32_t k = 0; k < e->nlist && tells(&l->at[i]); k++, n++)
            list[n] = (struct told){&e->list[k], n};
    }
    if (n > 1)
        qsort(list, n, sizeof *list, by_id);
    for (uint32_t i = 0; i < n; i++)
        if (kept == 0 || !str_eq(list[kept - 1].model->id, list[i].model->id))
            list[kept++] = list[i];
    *ret_n = kept;
    return list;
}

unsigned router_own_models(const struct gate_own *q, struct buf *out, struct fault *f)
{
    struct jsonw w = jsonw_make(out);
    size_t n;
    struct told *list = collect(q->entries, &n);

    (void)f;
    jsonw_begin_object(&w);
    jsonw_key(&w, "data");
    jsonw_begin_array(&w);
    for (size_t i = 0; i < n; i++)
        jsonw_raw(&w, list[i].model->json);
    jsonw_end_array(&w);
    jsonw_key(&w, "object");
    jsonw_cstr(&w, "list");
    jsonw_end_object(&w);
    mem_free(list);
    return 200;
}

static bool put_model(const struct gate_own *q, struct str id, struct buf *out)
{
    for (uint32_t i = 0; i < q->entries->n; i++) {
        const struct entry *e = q->entries->at[i].entry;

        for (uint32_t k = 0; k < e->nlist && tells(&q->entries->at[i]); k++) {
            if (!str_eq(e->list[k].id, id))
                continue;
            buf_add(out, e->list[k].json);
            return true;
        }
    }
    return false;
}

unsigned router_own_model(const struct gate_own *q, struct buf *out, struct fault *f)
{
    return own_model(q, router_model_id(q->path), put_model, out, f);
}
