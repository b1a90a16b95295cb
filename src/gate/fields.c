/* SPDX-License-Identifier: Apache-2.0
 *
 * fields.c - what a request's body says about who is to answer it. It is scanned as it comes,
 * without a DOM. Either it has to be a JSON object that names a model; or, leniently, it is what it
 * is: one that is neither a JSON object nor a form names no model, and each field that is looked
 * for stands alone. In both a repeated one is refused, because two readers would take different
 * ones.
 *
 * Exports: req_
 */
#include "gate/choice.h"
#include "gate/form.h"
#include "gate/lane_priv.h"
#include "gate/measure.h"

static const struct jsonindex_key strictly[] = {
    [WANT_MODEL] = {.name = "model",
                    .text_bytes = 256,
                    .any_case = true}, /* Ollama's reader is Go's */
    [WANT_STREAM] = {.name = "stream"},
    [WANT_PROMPT_CACHE_KEY] = {.name = "prompt_cache_key", .text_bytes = 256},
    [WANT_USER] = {.name = "user", .text_bytes = 256},
    [WANT_MAX_TOKENS] = {.name = "max_tokens"},
    [WANT_MAX_COMPLETION_TOKENS] = {.name = "max_completion_tokens"},
    [WANT_MAX_OUTPUT_TOKENS] = {.name = "max_output_tokens"},
};

enum { WANT_MESSAGES = WANT_MAX_OUTPUT_TOKENS + 1, WANT_PROMPT };

/* A name that is cut is longer than any that an engine lists. */
static const struct jsonindex_key leniently[] = {
    [WANT_MODEL] = {.name = "model", .text_bytes = 320},
    [WANT_PROMPT_CACHE_KEY] = {.name = "prompt_cache_key", .text_bytes = 448},
    [WANT_MESSAGES] = {.name = "messages", .told = true},
    [WANT_PROMPT] = {.name = "prompt", .told = true},
};

/* r->index of a lenient reading, and what it has besides. */
struct reading {
    struct jsonindex index;
    bool is_form;
    bool measures; /* where that makes a difference */
    struct form form;
    struct measure size;
};

static struct reading *reading_of(const struct req *r)
{
    return container_of(r->index, struct reading, index);
}

static bool is_lenient(const struct req *r) { return r->lane->gate->rules->lenient; }

/* Whether its body says anything about it. */
static bool has_fields(const struct req *r)
{
    return is_lenient(r) ? r->x->head->method == HTTP1_POST && !path_is_own(r->path)
                         : r->path == PATH_INFERENCE;
}

/* ---- while it comes ---- */

static int on_value(void *ctx, unsigned row, const struct jsonscan_event *event)
{
    return measure_event(ctx, row == WANT_MESSAGES ? MEASURE_MESSAGES : MEASURE_PROMPT, event);
}

static void begin_index(struct req *r)
{
    r->index = arena_alloc(&r->x->arena, sizeof *r->index);
    jsonindex_init(r->index, strictly, ARRAY_LEN(strictly));
}

static void begin_leniently(struct req *r)
{
    struct str type = http1_value(r->x->head, r->x->head_bytes, HTTP1_CONTENT_TYPE);
    struct reading *g = arena_alloc(&r->x->arena, sizeof *g); /* each part says what it needs */

    r->index = &g->index;
    g->is_form = form_init(&g->form, type);
    g->measures = !g->is_form && r->snap->snap->classed;
    g->size = (struct measure){.in_key = false};
    jsonindex_init_lenient(r->index, leniently, ARRAY_LEN(leniently), g->measures ? on_value : NULL,
                           &g->size);
}

static void twice(struct req *r, const char *key)
{
    fault_set(&r->fault, FAULT_invalid_json,
              is_lenient(r) ? "The request body has the key '%s' twice"
                            : "The request body has the key '%s' twice, or in capitals",
              key);
    memcpy(r->fault.param, key, strlen(key) + 1);
}

static void bad_json(struct req *r, int err)
{
    const struct jsonindex *ix = r->index;

    if (err == -E_EXISTS)
        twice(r, strictly[ix->duplicate].name);
    else if (err == -E_LIMIT)
        fault_set(&r->fault, FAULT_invalid_json,
                  "The request body exceeds a limit of JSON at byte %llu: %s",
                  (unsigned long long)ix->scan.error_at, ix->scan.reason);
    else
        fault_set(&r->fault, FAULT_invalid_json,
                  "The request body is not valid JSON at byte %llu: %s",
                  (unsigned long long)ix->scan.error_at, ix->scan.reason);
}

static void scan_leniently(struct req *r, const char *p, size_t n)
{
    if (!r->index)
        begin_leniently(r);
    if (reading_of(r)->is_form)
        form_feed(&reading_of(r)->form, p, n);
    else if (jsonindex_feed(r->index, p, n) < 0)
        return; /* jsonindex_finish() tells it again */
}

bool req_scan(struct req *r, const char *p, size_t n)
{
    int err;

    if (!has_fields(r))
        return true;
    if (is_lenient(r)) {
        scan_leniently(r, p, n);
        return true;
    }
    if (!r->index)
        begin_index(r);
    err = jsonindex_feed(r->index, p, n);
    if (err == 0)
        return true;
    bad_json(r, err);
    return false;
}

/* ---- when it is complete ---- */

static void bad_model(struct req *r, const char *text)
{
    fault_set(&r->fault, FAULT_invalid_model, "%s", text);
    memcpy(r->fault.param, "model", sizeof "model");
}

static void read_strictly(struct req *r)
{
    const struct jsonindex_field *model;
    int err;

    if (!r->index) {
        fault_set(&r->fault, FAULT_invalid_json,
                  "The request has no body; a JSON object is expected");
        return;
    }
    err = jsonindex_finish(r->index);
    if (err < 0) {
        bad_json(r, err);
        return;
    }
    model = &r->index->fields[WANT_MODEL];
    if (!r->index->is_object)
        fault_set(&r->fault, FAULT_invalid_json, "The request body is not a JSON object");
    else if (model->kind == JSONINDEX_ABSENT || model->kind == JSONINDEX_NULL)
        bad_model(r, "The request names no model");
    else if (model->kind != JSONINDEX_STRING)
        bad_model(r, "`model` is not a string");
    else if (!model->has_text || model->text.n == 0)
        bad_model(r, "`model` is not a name of 1 to 256 bytes");
    else
        r->model = model->text; /* lives in the index, which lives in the arena */
    r->body_model = r->model;
    r->body_model_end = model->end;
}

static void read_form(struct req *r, const struct form *f)
{
    if (f->repeated)
        twice(r, "model");
    else if (f->found)
        r->model = str_span(f->value, f->value_n);
}

static void read_object(struct req *r)
{
    const struct jsonindex_field *f = r->index->fields, *model = &f[WANT_MODEL];

    for (size_t i = 0; i < ARRAY_LEN(leniently); i++)
        if (leniently[i].name && f[i].repeated) {
            twice(r, leniently[i].name);
            return;
        }
    if (model->kind == JSONINDEX_STRING)
        r->model = model->text;
    else if (model->kind != JSONINDEX_ABSENT && model->kind != JSONINDEX_NULL)
        bad_model(r, "`model` is neither a string nor null");
}

static void read_leniently(struct req *r)
{
    if (!r->index)
        return;
    if (reading_of(r)->is_form)
        read_form(r, &reading_of(r)->form);
    else if (jsonindex_finish(r->index) == 0 && r->index->is_object)
        read_object(r);
    else
        r->index = NULL;      /* its fields are none */
    r->body_model = r->model; /* the engine is sent the body as it is */
}

enum cache_class req_wanted_class(const struct req *r)
{
    uint64_t bytes;

    if (!is_lenient(r) || !r->index || !reading_of(r)->measures ||
        !measure_size(&reading_of(r)->size, &bytes))
        return CACHE_UNSAID;
    return bytes > lane_conf(r->snap)->static_above ? CACHE_STATIC : CACHE_PAGED;
}

void req_read_fields(struct req *r)
{
    if (is_lenient(r))
        read_leniently(r);
    else
        read_strictly(r);
}
