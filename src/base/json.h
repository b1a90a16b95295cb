/* SPDX-License-Identifier: Apache-2.0
 *
 * json.h - whole JSON documents as values: the one reader and the one writer. For configuration,
 * registry records and replies of our own calls; bodies that pass through are only scanned
 * (jsonindex.h), and hot replies are written directly (jsonw.h). The library behind the values
 * (jansson) stays inside json.c.
 *
 * Reading is strict: jsonscan.h's rules, and repeated keys are refused. Integers within int64 or
 * uint64 are exact, "-0" is the double -0.0, every other number is a double; one beyond the double
 * range is refused, one too small for it is zero. Writing is jsonw.h's form with the keys of every
 * object in ascending byte order, so equal documents are equal bytes.
 *
 * Values are reference counted; a value is never changed once others may hold it. Not for sharing
 * between threads. NULL is accepted wherever a value is looked at, and is of kind JSON_KIND_NONE.
 */
#pragma once
#include "base/buf.h"
#include "base/jsonscan.h"

struct json; /* opaque */

enum json_kind {
    JSON_KIND_NONE, /* no value: NULL was given */
    JSON_KIND_NULL,
    JSON_KIND_BOOL,
    JSON_KIND_I64, /* every integer that fits int64 */
    JSON_KIND_U64, /* integers above that */
    JSON_KIND_DOUBLE,
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT,
};

struct json_limits {
    struct jsonscan_limits scan;
    size_t heap_bytes; /* what the values may take, estimated: [] costs 50 times its text */
};

/* The defaults, to be taken where NULL is given. */
#define JSON_LIMITS ((struct json_limits){.scan = JSONSCAN_LIMITS, .heap_bytes = 64 << 20})

struct json_error {
    uint64_t at;        /* offset of the byte at fault */
    const char *reason; /* static */
    char key[64];       /* -E_EXISTS: the repeated key, cut at a character; "" otherwise */
};

/* -E_SYNTAX, -E_LIMIT, -E_EXISTS (a repeated key), -E_NO_MEM. `limits` NULL: JSON_LIMITS; `error`
 * may be NULL and is written only on failure. *ret is the caller's, to be given to json_unref. */
int json_read(struct str bytes, const struct json_limits *limits, struct json_error *error,
              struct json **ret) MUSTCHECK;
/* Appends to `out`; buf_status(out) tells whether it all fitted. */
void json_write(const struct json *v, struct buf *out);

/* New values are the caller's. Strings that are not UTF-8 get U+FFFD for what is wrong. */
struct json *json_new_null(void);
struct json *json_new_bool(bool v);
struct json *json_new_i64(int64_t v);
struct json *json_new_u64(uint64_t v);
/* A finite double; anything else is a bug. */
struct json *json_new_double(double v);
struct json *json_new_str(struct str v);
struct json *json_new_array(void);
struct json *json_new_object(void);

struct json *json_ref(const struct json *v);
/* NULL is fine; *v is NULL afterwards. */
void json_unref(struct json **v);
/* For _cleanup_(json_cleanup). */
static inline void json_cleanup(struct json **v) { json_unref(v); }

/* Replaces; takes *v. Nothing may hold more than 64 levels. */
void json_put(struct json *object, struct str key, struct json **v);
/* True if the key was there. */
bool json_remove(struct json *object, struct str key);
/* Takes *v. */
void json_push(struct json *array, struct json **v);

enum json_kind json_kind_of(const struct json *v);
/* Borrowed; NULL when absent or when `object` is no object. */
struct json *json_find(const struct json *object, struct str key);
struct json *json_find_cstr(const struct json *object, const char *key);
/* Elements of an array, members of an object, 0 otherwise. */
size_t json_count(const struct json *v);
/* Borrowed; NULL beyond the end or when `array` is no array. */
struct json *json_at(const struct json *array, size_t i);
/* Visits the members in no particular order, nothing being changed meanwhile:
 * for (void *it = NULL; json_next(object, &it, &key, &v);) */
bool json_next(const struct json *object, void **it, struct str *key, struct json **v);

/* false, and *ret untouched, when the value is of another kind. Strings are borrowed from the
 * value. */
bool json_get_bool(const struct json *v, bool *ret);
bool json_get_str(const struct json *v, struct str *ret);
bool json_get_i64(const struct json *v, int64_t *ret);
/* Also from an I64 that is not negative. */
bool json_get_u64(const struct json *v, uint64_t *ret);
/* From any number, rounded. */
bool json_get_double(const struct json *v, double *ret);
/* Written, the two would be the same bytes: 1 is not 1.0. Costs as much as writing both. */
bool json_same(const struct json *a, const struct json *b);
