/* SPDX-License-Identifier: Apache-2.0
 *
 * toml.h - TOML 1.0 bytes in, events out. Behind it stands toml.cc, the one C++ file of the tree.
 * The whole document is parsed before the first event; members of a table come in byte order of
 * their keys, elements of an array in their own.
 */
#pragma once
#include "base/err.h"
#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

enum toml_kind {
    TOML_TABLE,     /* begins a table of `count` members, the document itself being the first */
    TOML_TABLE_END, /* ends it */
    TOML_ARRAY,     /* begins an array of `count` elements; [[x]] is an array of tables */
    TOML_ARRAY_END, /* ends it */
    TOML_STRING,    /* text */
    TOML_INTEGER,   /* integer */
    TOML_FLOAT,     /* number, NaN and infinities included */
    TOML_BOOLEAN,   /* boolean */
    TOML_TIME,      /* text: a date, a time or both, RFC 3339 */
};

struct toml_event {
    enum toml_kind kind;
    bool keyed;     /* a member of a table: `key` is valid */
    struct str key; /* borrowed for the call, as is `text`; may hold any character */
    size_t count;
    struct str text;
    int64_t integer;
    double number;
    bool boolean;
    uint32_t line, column; /* of the key if there is one, else of the value; 0 when unknown */
};

/* Not 0 stops the parse, which returns it. */
typedef int toml_event_fn(void *ctx, const struct toml_event *e);

enum {
    TOML_NESTED_MAX = 32, /* brackets within brackets, and parts of one dotted key */
    TOML_ERROR_BYTES = 256,
};

struct toml_error {
    uint32_t line, column;
    char text[TOML_ERROR_BYTES]; /* a sentence without a full stop */
};

/* -E_SYNTAX with *error filled, what `fn` returned, or 0. */
int toml_parse(struct str bytes, toml_event_fn *fn, void *ctx, struct toml_error *error) MUSTCHECK;

#ifdef __cplusplus
}
#endif
