/* SPDX-License-Identifier: Apache-2.0
 *
 * own.c - the bodies of the own endpoints of `inferd up`, told from a snapshot and its cells, as
 * the fabric's router tells them (service.c), so that its clients read both. There is neither a
 * registry nor a babysitter here: their URLs are null.
 */
#include "api/api_priv.h"
#include "base/percent.h"

enum { MODEL_ID_BYTES = 1024 };

static uint32_t count_healthy(const struct snapshot *s)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->nengines; i++)
        n += snapshot_serves(&s->engines[i]);
    return n;
}

static unsigned answer_ready(const struct gate_own *q, struct buf *out, struct fault *f)
{
    if (q->draining) {
        fault_set(f, FAULT_draining, "This service is shutting down");
    } else if (count_healthy(q->snap) == 0) {
        fault_set(f, FAULT_no_healthy_service, "No healthy services available");
    } else {
        buf_text(out, "{\"status\":\"ready\"}");
        return 200;
    }
    f->retry_after_s = 5;
    return 0;
}

static unsigned answer_models(const struct gate_own *q, struct buf *out, struct fault *f)
{
    (void)f;
    models_list(q->snap, q->key, out);
    return 200;
}

unsigned own_model(const struct gate_own *q, struct str escaped,
                   bool (*put)(const struct gate_own *q, struct str id, struct buf *out),
                   struct buf *out, struct fault *f)
{
    char text[MODEL_ID_BYTES];
    struct buf id = buf_on(text, sizeof text);
    int r = percent_decode(&id, escaped);

    if (r == -E_SYNTAX) {
        fault_set(f, FAULT_invalid_path, "The path is not percent-encoded UTF-8");
        return 0;
    }
    if (r < 0) /* longer than any name: not listed, and told as it came */
        id = buf_on(text, 0);
    if (r < 0 || !put(q, buf_str(&id), out)) {
        struct str name = r < 0 ? escaped : buf_str(&id);

        fault_set(f, FAULT_model_not_found, "The model '%.*s' does not exist",
                  (int)str_utf8_cut(name, 128), name.p);
        return 0;
    }
    return 200;
}

static bool put_model(const struct gate_own *q, struct str id, struct buf *out)
{
    return models_one(q->snap, q->key, id, out);
}

static unsigned answer_model(const struct gate_own *q, struct buf *out, struct fault *f)
{
    return own_model(q, paths_model_id(q->path), put_model, out, f);
}

/* ---- services ---- */

static const char *const listed_words[] = {
    [CELL_NO_WORD] = "yes", [CELL_GOOD] = "yes",      [CELL_COMING] = "no",
    [CELL_BAD] = "absent",  [CELL_CLOSED] = "absent",
};
static const char *const origin_words[] = {
    [ENGINE_STATIC] = "static",
    [ENGINE_UNIT] = "unit",
    [ENGINE_DISCOVERED] = "discovered",
};

static void put_metadata(struct jsonw *w, const void *of)
{
    const struct engine *e = of;

    jsonw_begin_object(w);
    jsonw_key(w, "models");
    service_put_names(w, e->models, e->nmodels);
    jsonw_key(w, "models_list");
    jsonw_begin_array(w);
    for (uint32_t i = 0; i < e->nmodels; i++)
        models_put(w, e, i);
    jsonw_end_array(w);
    jsonw_key(w, "type");
    jsonw_cstr(w, "openai-api");
    jsonw_end_object(w);
}

static void put_engine(struct jsonw *w, const struct engine *e)
{
    struct service s = {
        .healthy = snapshot_serves(e),
        .host = e->at.kind == URL_UNIX ? STR("localhost") : e->at.host,
        .listed = listed_words[cell_says(e->cell, CELL_LISTED)],
        .put_metadata = put_metadata,
        .metadata = e,
        .models = e->models,
        .nmodels = e->nmodels,
        .name = e->name,
        .origin = origin_words[e->origin],
        .port = e->at.kind == URL_HTTP ? e->at.port : 0,
        .requests = atomic_load(&e->cell->requests),
        .url = e->url,
        .weight = e->weight,
        .cell = e->cell,
    };

    service_put(w, &s);
}

static void put_engines(struct jsonw *w, const struct gate_own *q)
{
    for (uint32_t i = 0; i < q->snap->nengines; i++)
        put_engine(w, &q->snap->engines[i]);
}

static struct services services_of(const struct gate_own *q)
{
    return (struct services){
        .q = q, .n = q->snap->nengines, .healthy = count_healthy(q->snap), .put = put_engines};
}

static unsigned answer_health(const struct gate_own *q, struct buf *out, struct fault *f)
{
    struct services s = services_of(q);

    (void)f;
    service_health(&s, out);
    return 200;
}

static unsigned answer_services(const struct gate_own *q, struct buf *out, struct fault *f)
{
    struct services s = services_of(q);

    (void)f;
    service_list(&s, out);
    return 200;
}

static unsigned answer_stats(const struct gate_own *q, struct buf *out, struct fault *f)
{
    struct services s = services_of(q);

    (void)f;
    service_stats(&s, out);
    return 200;
}

/* ---- dispatch ---- */

static const struct {
    const char *path;
    unsigned (*answer)(const struct gate_own *q, struct buf *out, struct fault *f);
    bool admin; /* only the admin listener has it */
} endpoints[] = {
    {"/health", answer_health, false},    {"/ready", answer_ready, false},
    {"/models", answer_models, false},    {"/v1/models", answer_models, false},
    {"/services", answer_services, true}, {"/stats", answer_stats, true},
};

unsigned own_answer(const struct gate_own *q, struct buf *out, struct fault *f)
{
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
        if (str_eq(q->path, str_of(endpoints[i].path)) && (q->admin || !endpoints[i].admin))
            return endpoints[i].answer(q, out, f);
    if (paths_model_id(q->path).n > 0)
        return answer_model(q, out, f);
    fault_set(f, FAULT_not_found, "Unknown path");
    return 0;
}
