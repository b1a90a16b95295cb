/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_jsonindex.c - any bytes as a document of which a few keys are wanted. Asserted: every cut
 * finds the same; of a document that the document reader reads, the index finds each wanted key
 * with the reader's own value at the bytes it names, and nothing else; a key that is a wanted one
 * but for its case is refused exactly where the table says so.
 *
 * Covers: src/base/jsonindex.c
 */
#include "base/json.h"
#include "base/jsonindex.h"
#include "fuzz.h"

enum { A, MODEL, USAGE, USAGE_A, USAGE_T, ROWS };

static const struct jsonindex_key plain[ROWS] = {
    [A] = {.name = "a", .text_bytes = 4},
    [MODEL] = {.name = "model", .text_bytes = 256},
    [USAGE] = {.name = "usage"},
    [USAGE_A] = {.name = "a", .in = "usage", .text_bytes = 16},
    [USAGE_T] = {.name = "t", .in = "usage"},
};

static const struct jsonindex_key any_case[ROWS] = {
    [A] = {.name = "a"},
    [MODEL] = {.name = "model", .text_bytes = 256, .any_case = true},
    [USAGE] = {.name = "usage", .any_case = true},
    [USAGE_A] = {.name = "a", .in = "usage", .text_bytes = 16, .any_case = true},
    [USAGE_T] = {.name = "t", .in = "usage"},
};

static struct fuzz_room room;

/* Pieces of `step` bytes, the first of `first`. */
static int run(struct jsonindex *ix, const struct jsonindex_key *keys, struct str doc, size_t first,
               size_t step)
{
    size_t at = 0;
    int r = 0;

    jsonindex_init(ix, keys, ROWS);
    for (size_t end = min_size(first, doc.n); r == 0; end = min_size(end + step, doc.n)) {
        fuzz_fence(&room, end);
        r = jsonindex_feed(ix, doc.p + at, end - at);
        at = end;
        if (end == doc.n)
            break;
    }
    fuzz_fence(&room, doc.n);
    return r ? r : jsonindex_finish(ix);
}

static void same(const struct jsonindex *a, int ra, const struct jsonindex *b, int rb)
{
    CHECK(ra == rb && a->duplicate == b->duplicate && a->is_object == b->is_object);
    CHECK(a->scan.error_at == b->scan.error_at && a->scan.tokens == b->scan.tokens);
    for (int i = 0; i < ROWS; i++) {
        const struct jsonindex_field *f = &a->fields[i], *g = &b->fields[i];

        CHECK(f->kind == g->kind && f->whole == g->whole && f->has_text == g->has_text);
        CHECK(f->has_u64 == g->has_u64 && f->begin == g->begin && f->end == g->end);
        CHECK(f->u64 == g->u64 && str_eq(f->text, g->text));
    }
}

/* One wanted key against the document; `object` is where it should be. */
static void check_field(const struct jsonindex_field *f, const struct jsonindex_key *key,
                        const struct json *object, struct str doc)
{
    struct json *v = json_find_cstr(object, key->name), *raw = NULL;
    struct str text;
    uint64_t u;

    CHECK((f->kind == JSONINDEX_ABSENT) == (v == NULL));
    if (!v)
        return;
    CHECK(f->whole && f->begin < f->end && f->end <= doc.n);
    CHECK(json_read(str_span(doc.p + f->begin, f->end - f->begin), NULL, NULL, &raw) == 0);
    CHECK(json_same(v, raw));
    if (json_get_str(v, &text)) {
        CHECK(f->kind == JSONINDEX_STRING &&
              f->has_text == (text.n <= key->text_bytes && key->text_bytes));
        CHECK(!f->has_text || str_eq(f->text, text));
    }
    if (json_get_u64(v, &u))
        CHECK(f->kind == JSONINDEX_NUMBER && f->has_u64 && f->u64 == u);
    json_unref(&raw);
}

/* True when the object has a key that is this one but for its case. */
static bool other_case(const struct json *object, const char *name)
{
    struct str key, want = str_of(name);
    struct json *v;
    void *it = NULL;

    while (json_kind_of(object) == JSON_KIND_OBJECT && json_next(object, &it, &key, &v))
        if (str_caseeq(key, want) && !str_eq(key, want))
            return true;
    return false;
}

static void check_found(const struct jsonindex *ix, int r, const struct jsonindex_key *keys,
                        const struct json *v, struct str doc)
{
    const struct json *usage = json_find_cstr(v, "usage");
    bool refused = false;

    for (int i = 0; i < ROWS; i++)
        refused |= keys[i].any_case && other_case(keys[i].in ? usage : v, keys[i].name);
    CHECK(r == (refused ? -E_EXISTS : 0));
    if (refused) {
        CHECK(ix->duplicate >= 0 && ix->duplicate < ROWS && keys[ix->duplicate].any_case);
        return;
    }
    CHECK(ix->is_object == (json_kind_of(v) == JSON_KIND_OBJECT) && ix->duplicate == -1);
    for (int i = 0; i < ROWS; i++)
        check_field(&ix->fields[i], &keys[i], keys[i].in ? usage : v, doc);
}

static void check_table(const struct jsonindex_key *keys, struct str doc, uint64_t hash)
{
    static struct jsonindex whole, cut;
    struct json *v = NULL;
    int r = run(&whole, keys, doc, doc.n, 1);

    same(&whole, r, &cut, run(&cut, keys, doc, hash % (doc.n + 1), doc.n + 1));
    if (fuzz_turn(&hash, 8))
        same(&whole, r, &cut, run(&cut, keys, doc, 1, 1));
    if (!fuzz_turn(&hash, 2))
        return;
    if (json_read(doc, NULL, NULL, &v) == 0)
        check_found(&whole, r, keys, v, doc);
    json_unref(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t hash;
    struct str doc;

    if (size > FUZZ_BYTES)
        return 0;
    doc = fuzz_fill(&room, data, size);
    hash = fuzz_hash(doc);
    check_table(plain, doc, hash);
    check_table(any_case, doc, fuzz_mix(hash, 1));
    return 0;
}
