/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonindex.c - see jsonindex.h. A client of jsonscan: it names a row when a key ends, fills the
 * row's field while the value passes, and has everything else skipped. Values at depth 1 belong to
 * the document's object (`parent` -1), values at depth 2 to the row `parent`, whose object is open.
 */
#include "base/jsonindex.h"

enum { NOWHERE = -2 }; /* `inside` of a row that is nobody's */

/* Row of the key just read in the object we are in, or -1. */
static int find_row(const struct jsonindex *ix)
{
    if (ix->too_long)
        return -1;
    for (unsigned i = 0; i < ix->n; i++)
        if (ix->length[i] == ix->name_n && ix->inside[i] == ix->parent &&
            memcmp(ix->keys[i].name, ix->name, ix->name_n) == 0)
            return (int)i;
    return -1;
}

/* Does any row stand in this row's object? */
static bool has_children(const struct jsonindex *ix, int row)
{
    for (unsigned i = 0; i < ix->n; i++)
        if (ix->inside[i] == row)
            return true;
    return false;
}

/* Row of an any_case key that the key just read is but for its case, or -1. */
static int find_other_case(const struct jsonindex *ix)
{
    if (ix->too_long)
        return -1;
    for (unsigned i = 0; i < ix->n; i++)
        if (ix->keys[i].any_case && ix->inside[i] == ix->parent &&
            str_caseeq(str_span(ix->name, ix->name_n), str_span(ix->keys[i].name, ix->length[i])))
            return (int)i;
    return -1;
}

static int on_key_end(struct jsonindex *ix)
{
    ix->row = find_row(ix);
    if (ix->row >= 0 && ix->fields[ix->row].kind == JSONINDEX_ABSENT)
        return JSONSCAN_GO;
    if (ix->lenient) {
        if (ix->row >= 0)
            ix->fields[ix->row].repeated = true;
        ix->row = -1;
        return JSONSCAN_GO;
    }
    ix->duplicate = ix->row >= 0 ? ix->row : find_other_case(ix);
    return ix->duplicate >= 0 ? -E_EXISTS : JSONSCAN_GO;
}

static void on_text(struct jsonindex *ix, struct str text)
{
    char *to = ix->scan.in_key ? ix->name + ix->name_n : ix->text + ix->used + ix->taken;
    size_t room = ix->scan.in_key ? (size_t)JSONINDEX_NAME_MAX - ix->name_n
                                  : (size_t)ix->keys[ix->row].text_bytes - ix->taken;

    if (ix->lenient && !ix->scan.in_key) {
        text = str_head(text, room);
    } else if (ix->too_long || text.n > room) {
        ix->too_long = true;
        return;
    }
    memcpy(to, text.p, text.n);
    if (ix->scan.in_key)
        ix->name_n = (uint8_t)(ix->name_n + text.n);
    else
        ix->taken = (uint16_t)(ix->taken + text.n);
}

/* The wanted value of the current row is complete. */
static void close_field(struct jsonindex *ix, uint64_t end)
{
    ix->fields[ix->row].end = end;
    ix->fields[ix->row].whole = true;
    ix->row = -1;
}

static void on_string_end(struct jsonindex *ix, uint64_t end)
{
    struct jsonindex_field *f = &ix->fields[ix->row];

    if (ix->keys[ix->row].text_bytes && !ix->too_long) {
        f->has_text = true;
        f->text = str_span(ix->text + ix->used, ix->taken);
        ix->used = (uint16_t)(ix->used + ix->taken);
    }
    close_field(ix, end);
}

/* A value begins, at depth 1 or 2. Its row is ix->row. */
static int on_value(struct jsonindex *ix, const struct jsonscan_event *event)
{
    static const uint8_t kinds[] = {
        [JSONSCAN_OBJECT] = JSONINDEX_OBJECT, [JSONSCAN_ARRAY] = JSONINDEX_ARRAY,
        [JSONSCAN_STRING] = JSONINDEX_STRING, [JSONSCAN_NUMBER] = JSONINDEX_NUMBER,
        [JSONSCAN_TRUE] = JSONINDEX_BOOL,     [JSONSCAN_FALSE] = JSONINDEX_BOOL,
        [JSONSCAN_NULL] = JSONINDEX_NULL,
    };
    bool container = event->kind == JSONSCAN_OBJECT || event->kind == JSONSCAN_ARRAY;
    struct jsonindex_field *f;

    if (ix->row < 0)
        return container ? JSONSCAN_SKIP : JSONSCAN_GO;
    f = &ix->fields[ix->row];
    f->kind = kinds[event->kind];
    f->begin = event->begin;
    if (ix->fn && ix->keys[ix->row].told) {
        int answer = ix->fn(ix->ctx, (unsigned)ix->row, event);

        ix->telling = container || event->kind == JSONSCAN_STRING;
        if (!ix->telling)
            close_field(ix, event->end);
        return answer;
    }
    if (event->kind == JSONSCAN_STRING) {
        ix->taken = 0;
        ix->too_long = false;
        return ix->keys[ix->row].text_bytes ? JSONSCAN_WANT_TEXT : JSONSCAN_GO;
    }
    if (container) {
        if (event->kind == JSONSCAN_ARRAY || event->depth > 1 || !has_children(ix, ix->row))
            return JSONSCAN_SKIP;
        ix->parent = ix->row;
        ix->row = -1;
        return JSONSCAN_GO;
    }
    if (f->kind == JSONINDEX_BOOL) {
        f->has_u64 = true;
        f->u64 = event->kind == JSONSCAN_TRUE;
    } else if (f->kind == JSONINDEX_NUMBER) {
        f->has_u64 = str_u64(event->text, &f->u64);
    }
    close_field(ix, event->end);
    return JSONSCAN_GO;
}

static void on_container_end(struct jsonindex *ix, const struct jsonscan_event *event)
{
    if (event->depth == 1 && ix->parent >= 0) {
        ix->row = ix->parent;
        ix->parent = -1;
    }
    if (ix->row >= 0)
        close_field(ix, event->end);
}

/* Inside a value that another one listens to. */
static int tell(struct jsonindex *ix, const struct jsonscan_event *event)
{
    bool ends = event->kind == JSONSCAN_OBJECT_END || event->kind == JSONSCAN_ARRAY_END ||
                event->kind == JSONSCAN_STRING_END;
    int answer = ix->fn(ix->ctx, (unsigned)ix->row, event);

    if (ends && event->depth == 1) {
        ix->telling = false;
        close_field(ix, event->end);
    }
    return answer;
}

static int on_event(void *ctx, const struct jsonscan_event *event)
{
    struct jsonindex *ix = ctx;

    if (ix->telling)
        return tell(ix, event);
    if (event->depth == 0) { /* the document itself */
        ix->is_object |= event->kind == JSONSCAN_OBJECT;
        return event->kind == JSONSCAN_ARRAY ? JSONSCAN_SKIP : JSONSCAN_GO;
    }
    switch (event->kind) {
    case JSONSCAN_KEY:
        ix->name_n = 0;
        ix->too_long = false;
        return JSONSCAN_WANT_TEXT;
    case JSONSCAN_KEY_END:
        return on_key_end(ix);
    case JSONSCAN_TEXT:
        on_text(ix, event->text);
        return JSONSCAN_GO;
    case JSONSCAN_STRING_END:
        if (ix->row >= 0)
            on_string_end(ix, event->end);
        return JSONSCAN_GO;
    case JSONSCAN_OBJECT_END:
    case JSONSCAN_ARRAY_END:
        on_container_end(ix, event);
        return JSONSCAN_GO;
    case JSONSCAN_OBJECT:
    case JSONSCAN_ARRAY:
    case JSONSCAN_STRING:
    case JSONSCAN_NUMBER:
    case JSONSCAN_TRUE:
    case JSONSCAN_FALSE:
    case JSONSCAN_NULL:
        return on_value(ix, event);
    }
    CHECK(false); /* no other event */
}

/* Lengths and parents of all rows; a wrong table is found at its first use. */
static void read_table(struct jsonindex *ix, const struct jsonindex_key *keys, unsigned n)
{
    size_t text = 0;

    CHECK(n <= JSONINDEX_KEYS_MAX);
    for (unsigned i = 0; i < n; i++) {
        size_t length = keys[i].name ? strlen(keys[i].name) : 0;
        int8_t in = keys[i].name ? -1 : NOWHERE;

        for (unsigned j = 0; keys[i].in && j < n && in < 0; j++)
            if (keys[j].name && !keys[j].in && strcmp(keys[j].name, keys[i].in) == 0)
                in = (int8_t)j;
        CHECK((in >= 0 || !keys[i].in) && length <= JSONINDEX_NAME_MAX);
        CHECK(!keys[i].told || !keys[i].in);
        ix->length[i] = (uint8_t)length;
        ix->inside[i] = in;
        text += keys[i].text_bytes;
    }
    CHECK(text <= JSONINDEX_TEXT_BYTES);
}

static void init(struct jsonindex *ix, const struct jsonindex_key *keys, unsigned n,
                 const struct jsonscan_limits *limits)
{
    read_table(ix, keys, n);
    memset(ix->fields, 0, n * sizeof ix->fields[0]);
    ix->is_object = false;
    ix->duplicate = ix->parent = ix->row = -1;
    ix->keys = keys;
    ix->n = n;
    ix->used = ix->taken = 0;
    ix->too_long = false;
    ix->name_n = 0;
    ix->lenient = ix->telling = false;
    ix->fn = NULL;
    jsonscan_init(&ix->scan, limits, on_event, ix);
}

void jsonindex_init(struct jsonindex *ix, const struct jsonindex_key *keys, unsigned n)
{
    init(ix, keys, n, NULL);
}

void jsonindex_init_lenient(struct jsonindex *ix, const struct jsonindex_key *keys, unsigned n,
                            jsonindex_fn *fn, void *ctx)
{
    static const struct jsonscan_limits limits = {.depth = JSONSCAN_DEPTH_MAX,
                                                  .number_bytes = JSONSCAN_NUMBER_MAX,
                                                  .keys = JSONSCAN_KEYS_MAX,
                                                  .tokens = UINT64_MAX};

    init(ix, keys, n, &limits);
    ix->lenient = true;
    ix->fn = fn;
    ix->ctx = ctx;
}

int jsonindex_feed(struct jsonindex *ix, const char *p, size_t n)
{
    return jsonscan_feed(&ix->scan, p, n);
}

int jsonindex_finish(struct jsonindex *ix) { return jsonscan_finish(&ix->scan); }
