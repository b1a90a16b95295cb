/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonw.h - writes JSON straight into a buffer, in the one output form of this program: compact,
 * UTF-8 raw, '/' not escaped, shortest doubles. The caller gives keys in ascending byte order;
 * json.h's json_write() sorts by itself and uses this writer. What it writes is always valid JSON:
 * bytes that are not UTF-8 become U+FFFD. Room is checked once, by buf_status() of the buffer, at
 * the end.
 *
 *   struct jsonw w = jsonw_make(&out);
 *   jsonw_begin_object(&w);
 *   jsonw_key(&w, "error");
 *   jsonw_begin_object(&w);
 *   jsonw_key(&w, "message");
 *   jsonw_str(&w, STR("no such model"));
 *   jsonw_end_object(&w);
 *   jsonw_end_object(&w);
 *   r = buf_status(&out);
 *
 * Misuse (a value without its key, an end without its begin, over 64 levels) is a bug and aborts.
 */
#pragma once
#include "base/buf.h"

enum { JSONW_DEPTH_MAX = 64 };

struct jsonw {
    struct buf *out;
    uint64_t objects; /* bit d: the container at depth d is an object */
    uint64_t begun;   /* bit d: the container at depth d has a member already */
    uint8_t depth;
    bool keyed; /* a key was written, its value comes next */
    bool done;  /* the document's value is complete */
};

static inline struct jsonw jsonw_make(struct buf *out) { return (struct jsonw){.out = out}; }

void jsonw_begin_object(struct jsonw *w);
void jsonw_end_object(struct jsonw *w);
void jsonw_begin_array(struct jsonw *w);
void jsonw_end_array(struct jsonw *w);
void jsonw_key(struct jsonw *w, const char *key);
void jsonw_key_str(struct jsonw *w, struct str key);
void jsonw_str(struct jsonw *w, struct str s);
/* A C string; NULL writes null. */
void jsonw_cstr(struct jsonw *w, const char *s);
void jsonw_u64(struct jsonw *w, uint64_t v);
void jsonw_i64(struct jsonw *w, int64_t v);
/* NaN and infinities write null. */
void jsonw_double(struct jsonw *w, double v);
void jsonw_bool(struct jsonw *w, bool v);
void jsonw_null(struct jsonw *w);
/* One complete value that is known to be valid JSON. */
void jsonw_raw(struct jsonw *w, struct str json);

/* The inside of a JSON string, without its quotes. */
void jsonw_escape(struct buf *out, struct str s);
/* The shortest decimal that reads back equal, always with a fraction or an exponent: 0.0, 0.00001,
 * 1e-6, 1e+16 (exponents below 1e-5 and from 1e16). `v` is finite. */
void jsonw_format_double(struct buf *out, double v);
