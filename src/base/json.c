/* SPDX-License-Identifier: Apache-2.0
 *
 * json.c - see json.h. The only file that knows jansson: `struct json` is its json_t under another
 * name, and jansson is used as a container only. Its parser and its writer are not: numbers, depth,
 * repeated keys and key order are ours to decide.
 *
 * jansson has no integers above int64. They are kept as strings that begin with the byte 0xFF,
 * which no UTF-8 string can contain; every string that comes in is checked or cleaned, so the two
 * cannot be confused. jansson frees nested values by recursion: at most 64 levels, by jsonscan's
 * limit.
 */
#include "base/json.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "base/jsonw.h"
#include "base/mem.h"

enum { BIG_TAG = 0xFF };

/* What jansson's values take on the heap, roughly and rather too much: for heap_bytes. */
enum {
    SCALAR_BYTES = 32,
    STRING_BYTES = 80,  /* and the text */
    ARRAY_BYTES = 144,  /* empty */
    OBJECT_BYTES = 272, /* empty */
    ELEMENT_BYTES = 16, /* a place in an array */
    MEMBER_BYTES = 128, /* a place in an object, and the key */
};

static json_t *inner(const struct json *v)
{
    return (json_t *)(uintptr_t)v; /* jansson has no const */
}

static struct json *outer(json_t *v) { return (struct json *)v; }

static json_t *big_integer(uint64_t v)
{
    char text[32];
    struct buf out = buf_on(text, sizeof text);

    buf_char(&out, (char)BIG_TAG);
    buf_u64(&out, v);
    return json_stringn_nocheck(out.p, out.n);
}

static struct str string_of(const json_t *v)
{
    return str_span(json_string_value(v), json_string_length(v));
}

static bool is_big(const json_t *v)
{
    struct str s = string_of(v);

    return s.n > 0 && (unsigned char)s.p[0] == BIG_TAG;
}

/* ---- reading ---- */

struct reader {
    struct jsonscan scan;
    json_t *root;                     /* owned */
    json_t *open[JSONSCAN_DEPTH_MAX]; /* held by root */
    struct buf key, text;
    size_t heap, heap_max;
    const char *reason; /* of the error we returned to the scanner */
    uint64_t at;
};

static int refuse(struct reader *r, int err, const char *reason, uint64_t at)
{
    r->reason = reason;
    r->at = at;
    return err;
}

/* Puts a new value where it belongs; takes the reference, also on failure. */
static int attach(struct reader *r, json_t *v, const struct jsonscan_event *event, size_t bytes)
{
    json_t *parent = event->depth > 0 ? r->open[event->depth - 1] : NULL;
    int bad = 0;

    if (!v)
        return refuse(r, -E_NO_MEM, "out of memory", event->begin);
    bytes += json_is_object(parent) ? MEMBER_BYTES + r->key.n : ELEMENT_BYTES;
    if (bytes > r->heap_max - r->heap) {
        json_decref(v);
        return refuse(r, -E_LIMIT, "document takes too much memory", event->begin);
    }
    r->heap += bytes;
    if (!parent)
        r->root = v;
    else if (json_is_object(parent))
        bad = json_object_setn_new_nocheck(parent, r->key.p ? r->key.p : "", r->key.n, v);
    else
        bad = json_array_append_new(parent, v);
    return bad ? refuse(r, -E_NO_MEM, "out of memory", event->begin) : JSONSCAN_GO;
}

static int on_container(struct reader *r, const struct jsonscan_event *event)
{
    bool object = event->kind == JSONSCAN_OBJECT;
    json_t *v = object ? json_object() : json_array();

    r->open[event->depth] = v;
    return attach(r, v, event, object ? OBJECT_BYTES : ARRAY_BYTES);
}

/* Text has passed the scanner's grammar, so what strtod sees is bounded and a number. */
static json_t *double_of(struct str text)
{
    char z[JSONSCAN_NUMBER_MAX + 1];
    double v;

    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    v = strtod(z, NULL);
    return isfinite(v) ? json_real(v) : NULL;
}

static int on_number(struct reader *r, const struct jsonscan_event *event)
{
    struct str text = event->text;
    bool minus = text.p[0] == '-';
    uint64_t v;
    json_t *n;

    if (!str_u64(str_from(text, minus), &v) || (minus && (v == 0 || v > (uint64_t)1 << 63))) {
        n = double_of(text);
        if (!n)
            return refuse(r, -E_SYNTAX, "number out of range", event->begin);
    } else if (minus) {
        n = json_integer((json_int_t)(~v + 1));
    } else if (v <= INT64_MAX) {
        n = json_integer((json_int_t)v);
    } else {
        n = big_integer(v);
    }
    return attach(r, n, event, SCALAR_BYTES);
}

static int on_key_end(struct reader *r, const struct jsonscan_event *event)
{
    if (json_object_getn(r->open[event->depth - 1], r->key.p ? r->key.p : "", r->key.n))
        return refuse(r, -E_EXISTS, "repeated key", event->begin);
    return JSONSCAN_GO;
}

static int on_event(void *ctx, const struct jsonscan_event *event)
{
    struct reader *r = ctx;

    switch (event->kind) {
    case JSONSCAN_OBJECT:
    case JSONSCAN_ARRAY:
        return on_container(r, event);
    case JSONSCAN_OBJECT_END:
    case JSONSCAN_ARRAY_END:
        return JSONSCAN_GO;
    case JSONSCAN_KEY:
    case JSONSCAN_STRING:
        buf_clear(event->kind == JSONSCAN_KEY ? &r->key : &r->text);
        return JSONSCAN_WANT_TEXT;
    case JSONSCAN_KEY_END:
        return on_key_end(r, event);
    case JSONSCAN_STRING_END:
        return attach(r, json_stringn_nocheck(r->text.p ? r->text.p : "", r->text.n), event,
                      STRING_BYTES + r->text.n);
    case JSONSCAN_TEXT:
        buf_add(r->scan.in_key ? &r->key : &r->text, event->text);
        return JSONSCAN_GO;
    case JSONSCAN_NUMBER:
        return on_number(r, event);
    case JSONSCAN_TRUE:
        return attach(r, json_true(), event, 0);
    case JSONSCAN_FALSE:
        return attach(r, json_false(), event, 0);
    case JSONSCAN_NULL:
        return attach(r, json_null(), event, 0);
    }
    CHECK(false); /* no other event */
}

static void describe(const struct reader *r, struct json_error *error)
{
    *error = (struct json_error){
        .at = r->reason ? r->at : r->scan.error_at,
        .reason = r->reason ? r->reason : r->scan.reason,
    };
    if (r->scan.err == -E_EXISTS && r->key.n > 0) {
        size_t n = str_utf8_cut(buf_str(&r->key), sizeof error->key - 1);

        memcpy(error->key, r->key.p, n);
    }
}

int json_read(struct str bytes, const struct json_limits *limits, struct json_error *error,
              struct json **ret)
{
    struct json_limits l = limits ? *limits : JSON_LIMITS;
    struct reader r = {
        .key = buf_make(bytes.n), .text = buf_make(bytes.n), .heap_max = l.heap_bytes};
    int err;

    jsonscan_init(&r.scan, &l.scan, on_event, &r);
    err = jsonscan_feed(&r.scan, bytes.p, bytes.n);
    if (err == 0)
        err = jsonscan_finish(&r.scan);
    if (err == 0) {
        *ret = outer(TAKE(&r.root));
    } else if (error) {
        describe(&r, error);
    }
    json_decref(r.root);
    buf_fini(&r.key);
    buf_fini(&r.text);
    return err;
}

/* ---- writing ---- */

struct member {
    struct str key;
    json_t *value;
};

/* A container that is being written. */
struct frame {
    json_t *v;
    struct member *members; /* sorted, owned; NULL for an array */
    size_t i, n;
};

static int by_key(const void *a, const void *b)
{
    return str_cmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

static struct member *sorted_members(json_t *object, size_t n)
{
    struct member *members = mem_resize_array(NULL, n + 1, sizeof *members);
    size_t i = 0;

    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it))
        members[i++] = (struct member){
            .key = str_span(json_object_iter_key(it), json_object_iter_key_len(it)),
            .value = json_object_iter_value(it),
        };
    CHECK(i == n);
    qsort(members, n, sizeof *members, by_key);
    return members;
}

static void write_scalar(struct jsonw *w, json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        if (is_big(v))
            jsonw_raw(w, str_from(string_of(v), 1));
        else
            jsonw_str(w, string_of(v));
        break;
    case JSON_INTEGER:
        jsonw_i64(w, json_integer_value(v));
        break;
    case JSON_REAL:
        jsonw_double(w, json_real_value(v));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        jsonw_bool(w, json_is_true(v));
        break;
    case JSON_NULL:
        jsonw_null(w);
        break;
    case JSON_OBJECT:
    case JSON_ARRAY:
        CHECK(false); /* begin_value took them */
    }
}

/* Writes a scalar, or begins a container and fills *f; true in that case. */
static bool begin_value(struct jsonw *w, json_t *v, struct frame *f)
{
    if (json_is_object(v)) {
        size_t n = json_object_size(v);

        *f = (struct frame){.v = v, .n = n, .members = sorted_members(v, n)};
        jsonw_begin_object(w);
        return true;
    }
    if (json_is_array(v)) {
        *f = (struct frame){.v = v, .n = json_array_size(v)};
        jsonw_begin_array(w);
        return true;
    }
    write_scalar(w, v);
    return false;
}

static void end_container(struct jsonw *w, struct frame *f)
{
    if (f->members)
        jsonw_end_object(w);
    else
        jsonw_end_array(w);
    xfree(f->members);
}

void json_write(const struct json *v, struct buf *out)
{
    struct frame frames[JSONW_DEPTH_MAX + 1];
    struct jsonw w = jsonw_make(out);
    size_t depth = 0;

    CHECK(v);
    depth += begin_value(&w, inner(v), &frames[0]);
    while (depth > 0) {
        struct frame *f = &frames[depth - 1];
        json_t *next;

        if (f->i == f->n) {
            end_container(&w, f);
            depth--;
            continue;
        }
        if (f->members) {
            jsonw_key_str(&w, f->members[f->i].key);
            next = f->members[f->i].value;
        } else {
            next = json_array_get(f->v, f->i);
        }
        f->i++;
        depth += begin_value(&w, next, &frames[depth]);
    }
}

/* ---- values ---- */

/* What is not UTF-8 replaced; the result is the caller's to free when it is not `s` itself. */
static struct str clean(struct str s, struct buf *room)
{
    if (str_utf8_valid(s))
        return str_span(s.p ? s.p : "", s.n);
    *room = buf_make(SIZE_MAX);
    for (size_t i = 0; i < s.n;) {
        size_t n = str_utf8_sequence(str_from(s, i));

        buf_add(room, n ? str_span(s.p + i, n) : STR("\xEF\xBF\xBD"));
        i += n ? n : 1;
    }
    return buf_str(room);
}

static struct json *made(json_t *v)
{
    CHECK(v); /* memory: small, so fatal */
    return outer(v);
}

struct json *json_new_null(void) { return made(json_null()); }

struct json *json_new_bool(bool v) { return made(json_boolean(v)); }

struct json *json_new_i64(int64_t v) { return made(json_integer(v)); }

struct json *json_new_u64(uint64_t v)
{
    return made(v <= INT64_MAX ? json_integer((json_int_t)v) : big_integer(v));
}

struct json *json_new_double(double v)
{
    CHECK(isfinite(v));
    return made(json_real(v));
}

struct json *json_new_str(struct str v)
{
    struct buf room = buf_make(0);
    struct str s = clean(v, &room);
    struct json *made_v = made(json_stringn_nocheck(s.p, s.n));

    buf_fini(&room);
    return made_v;
}

struct json *json_new_array(void) { return made(json_array()); }

struct json *json_new_object(void) { return made(json_object()); }

struct json *json_ref(const struct json *v) { return outer(json_incref(inner(v))); }

void json_unref(struct json **v) { json_decref(inner(TAKE(v))); }

void json_put(struct json *object, struct str key, struct json **v)
{
    struct buf room = buf_make(0);
    struct str k = clean(key, &room);

    CHECK(json_is_object(inner(object)) && *v);
    CHECK(json_object_setn_new_nocheck(inner(object), k.p, k.n, inner(TAKE(v))) == 0);
    buf_fini(&room);
}

bool json_remove(struct json *object, struct str key)
{
    return json_object_deln(inner(object), key.p ? key.p : "", key.n) == 0;
}

void json_push(struct json *array, struct json **v)
{
    CHECK(json_is_array(inner(array)) && *v);
    CHECK(json_array_append_new(inner(array), inner(TAKE(v))) == 0);
}

enum json_kind json_kind_of(const struct json *v)
{
    if (!v)
        return JSON_KIND_NONE;
    switch (json_typeof(inner(v))) {
    case JSON_OBJECT:
        return JSON_KIND_OBJECT;
    case JSON_ARRAY:
        return JSON_KIND_ARRAY;
    case JSON_STRING:
        return is_big(inner(v)) ? JSON_KIND_U64 : JSON_KIND_STRING;
    case JSON_INTEGER:
        return JSON_KIND_I64;
    case JSON_REAL:
        return JSON_KIND_DOUBLE;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_KIND_BOOL;
    case JSON_NULL:
        return JSON_KIND_NULL;
    }
    CHECK(false); /* jansson has no other type */
}

struct json *json_find(const struct json *object, struct str key)
{
    return outer(json_object_getn(inner(object), key.p ? key.p : "", key.n));
}

struct json *json_find_cstr(const struct json *object, const char *key)
{
    return json_find(object, str_of(key));
}

size_t json_count(const struct json *v)
{
    return json_array_size(inner(v)) + json_object_size(inner(v));
}

struct json *json_at(const struct json *array, size_t i)
{
    return outer(json_array_get(inner(array), i));
}

bool json_next(const struct json *object, void **it, struct str *key, struct json **v)
{
    *it = *it ? json_object_iter_next(inner(object), *it) : json_object_iter(inner(object));
    if (!*it)
        return false;
    *key = str_span(json_object_iter_key(*it), json_object_iter_key_len(*it));
    *v = outer(json_object_iter_value(*it));
    return true;
}

bool json_get_bool(const struct json *v, bool *ret)
{
    if (json_kind_of(v) != JSON_KIND_BOOL)
        return false;
    *ret = json_is_true(inner(v));
    return true;
}

bool json_get_str(const struct json *v, struct str *ret)
{
    if (json_kind_of(v) != JSON_KIND_STRING)
        return false;
    *ret = string_of(inner(v));
    return true;
}

bool json_get_i64(const struct json *v, int64_t *ret)
{
    if (json_kind_of(v) != JSON_KIND_I64)
        return false;
    *ret = json_integer_value(inner(v));
    return true;
}

bool json_get_u64(const struct json *v, uint64_t *ret)
{
    int64_t i;

    if (json_kind_of(v) == JSON_KIND_U64)
        return str_u64(str_from(string_of(inner(v)), 1), ret);
    if (!json_get_i64(v, &i) || i < 0)
        return false;
    *ret = (uint64_t)i;
    return true;
}

bool json_get_double(const struct json *v, double *ret)
{
    uint64_t big;

    if (json_kind_of(v) == JSON_KIND_U64 && json_get_u64(v, &big))
        *ret = (double)big;
    else if (json_is_number(inner(v)))
        *ret = json_number_value(inner(v));
    else
        return false;
    return true;
}

bool json_same(const struct json *a, const struct json *b)
{
    struct buf left = buf_make(SIZE_MAX), right = buf_make(SIZE_MAX);
    bool same;

    if (!a || !b || a == b)
        return a == b;
    json_write(a, &left); /* jansson's own comparison stops at a NUL in a key */
    json_write(b, &right);
    same = str_eq(buf_str(&left), buf_str(&right));
    buf_fini(&left);
    buf_fini(&right);
    return same;
}
