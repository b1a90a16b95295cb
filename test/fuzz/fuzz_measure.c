/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_measure.c - any bytes as the body of a request that is read leniently. Asserted: every cut
 * finds the same; a document that the document reader reads has the size that a walk over it
 * counts, and each wanted field is what the reader says, whatever the others are.
 *
 * Covers: src/gate/measure.c
 */
#include "base/json.h"
#include "base/jsonindex.h"
#include "fuzz.h"
#include "gate/measure.h"

enum { MODEL, MESSAGES, PROMPT, ROWS };

static const struct jsonindex_key wanted[ROWS] = {
    [MODEL] = {.name = "model", .text_bytes = 4},
    [MESSAGES] = {.name = "messages", .told = true},
    [PROMPT] = {.name = "prompt", .told = true},
};

static struct fuzz_room room;

struct outcome {
    int err;
    struct jsonindex index;
    struct measure size;
};

static int on_value(void *ctx, unsigned row, const struct jsonscan_event *event)
{
    return measure_event(ctx, row == MESSAGES ? MEASURE_MESSAGES : MEASURE_PROMPT, event);
}

/* Pieces of `step` bytes, the first of `first`. */
static void run(struct outcome *o, struct str doc, size_t first, size_t step)
{
    size_t at = 0;

    o->size = (struct measure){.in_key = false};
    jsonindex_init_lenient(&o->index, wanted, ROWS, on_value, &o->size);
    for (size_t end = min_size(first, doc.n);; end = min_size(end + step, doc.n)) {
        fuzz_fence(&room, end);
        o->err = jsonindex_feed(&o->index, doc.p + at, end - at);
        at = end;
        if (o->err || end == doc.n)
            break;
    }
    fuzz_fence(&room, doc.n);
    if (!o->err)
        o->err = jsonindex_finish(&o->index);
}

static void same(const struct outcome *a, const struct outcome *b)
{
    uint64_t x, y;

    CHECK(a->err == b->err && a->index.is_object == b->index.is_object);
    if (a->err)
        return;
    for (int i = 0; i < ROWS; i++) {
        const struct jsonindex_field *f = &a->index.fields[i], *g = &b->index.fields[i];

        CHECK(f->kind == g->kind && f->whole == g->whole && f->repeated == g->repeated);
        CHECK(f->begin == g->begin && f->end == g->end && str_eq(f->text, g->text));
    }
    CHECK(measure_size(&a->size, &x) == measure_size(&b->size, &y) && x == y);
}

/* --- the walk --- */

static uint64_t text_of(const struct json *v)
{
    struct str s;

    return json_get_str(v, &s) ? s.n : 0;
}

static uint64_t content_of(const struct json *message)
{
    const struct json *content = json_find_cstr(message, "content");
    uint64_t n = text_of(content);

    if (json_kind_of(content) != JSON_KIND_ARRAY)
        return n;
    for (size_t i = 0; i < json_count(content); i++) {
        const struct json *part = json_at(content, i);

        if (json_kind_of(part) == JSON_KIND_OBJECT)
            n += text_of(json_find_cstr(part, "text")) + text_of(json_find_cstr(part, "content"));
    }
    return n;
}

static bool is_number(const struct json *v)
{
    double d;

    return json_get_double(v, &d);
}

static bool count_item(const struct json *item, uint64_t *n)
{
    if (is_number(item)) {
        *n += 4;
        return true;
    }
    if (json_kind_of(item) != JSON_KIND_ARRAY) {
        *n += text_of(item);
        return json_kind_of(item) == JSON_KIND_STRING;
    }
    for (size_t i = 0; i < json_count(item); i++) {
        if (!is_number(json_at(item, i)))
            return false;
        *n += 4;
    }
    return true;
}

static bool there(const struct json *v) { return v && json_kind_of(v) != JSON_KIND_NULL; }

static bool walk(const struct json *doc, uint64_t *n)
{
    const struct json *messages = json_find_cstr(doc, "messages");
    const struct json *prompt = json_find_cstr(doc, "prompt");

    *n = 0;
    if (json_kind_of(messages) == JSON_KIND_ARRAY) {
        for (size_t i = 0; i < json_count(messages); i++)
            if (json_kind_of(json_at(messages, i)) == JSON_KIND_OBJECT)
                *n += content_of(json_at(messages, i));
        return true;
    }
    if (!there(prompt))
        return !there(messages);
    if (json_kind_of(prompt) != JSON_KIND_ARRAY) {
        *n = text_of(prompt);
        return json_kind_of(prompt) == JSON_KIND_STRING;
    }
    for (size_t i = 0; i < json_count(prompt); i++)
        if (!count_item(json_at(prompt, i), n))
            return false;
    return true;
}

static void check_found(const struct outcome *o, const struct json *doc)
{
    const struct json *model = json_find_cstr(doc, "model");
    const struct jsonindex_field *f = &o->index.fields[MODEL];
    uint64_t want, got;
    struct str text;
    bool says;

    CHECK(o->err == 0 && o->index.is_object == (json_kind_of(doc) == JSON_KIND_OBJECT));
    if (!o->index.is_object)
        return;
    says = walk(doc, &want);
    CHECK(measure_size(&o->size, &got) == says && (!says || got == want));
    CHECK((f->kind == JSONINDEX_ABSENT) == (model == NULL) && !f->repeated);
    CHECK((f->kind == JSONINDEX_STRING) == (json_get_str(model, &text)));
    if (f->kind == JSONINDEX_STRING)
        CHECK(f->has_text && str_eq(f->text, str_head(text, 4)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, cut;
    struct json *v = NULL;
    uint64_t hash;
    struct str doc;

    if (size > FUZZ_BYTES)
        return 0;
    doc = fuzz_fill(&room, data, size);
    hash = fuzz_hash(doc);
    run(&whole, doc, doc.n, 1);
    run(&cut, doc, hash % (doc.n + 1), doc.n + 1);
    same(&whole, &cut);
    if (fuzz_turn(&hash, 8)) {
        run(&cut, doc, 1, 1);
        same(&whole, &cut);
    }
    if (fuzz_turn(&hash, 2) && json_read(doc, NULL, NULL, &v) == 0)
        check_found(&whole, v);
    json_unref(&v);
    return 0;
}
