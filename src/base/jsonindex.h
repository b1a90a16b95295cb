/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonindex.h - a few wanted keys of a JSON object, found while its bytes pass by: type, place, and
 * the value itself where it is small. The document is validated as a whole (jsonscan.h) and never
 * kept. Wanted are keys of the document's object, or of an object that is a value in it.
 *
 *   static const struct jsonindex_key wanted[] = {
 *       [REQ_MODEL] = { .name = "model", .text_bytes = 256 },
 *       [REQ_STREAM] = { .name = "stream" },
 *       [REQ_USAGE] = { .name = "usage" },
 *       [REQ_PROMPT_TOKENS] = { .name = "prompt_tokens", .in = "usage" },
 *   };
 *   jsonindex_init(&ix, wanted, ARRAY_LEN(wanted));
 *   r = jsonindex_feed(&ix, p, n); ...  r = jsonindex_finish(&ix);
 *   if (r == 0 && ix.fields[REQ_STREAM].kind == JSONINDEX_BOOL) ... ix.fields[REQ_STREAM].u64
 *
 * Keys are compared after unescaping: "mod\u0065l" is "model". A wanted key that occurs twice stops
 * the scan with -E_EXISTS, because two readers would take different ones. Not to be moved in
 * memory.
 *
 * A lenient index, for documents that are others' business, stops for nothing but an error of
 * syntax or a hard bound of the scan: each field stands alone. It can have another client listen to
 * what is inside a wanted value.
 */
#pragma once
#include "base/jsonscan.h"

/* Bounds of one table. */
enum {
    JSONINDEX_KEYS_MAX = 12,   /* rows */
    JSONINDEX_NAME_MAX = 32,   /* bytes of a wanted name */
    JSONINDEX_TEXT_BYTES = 768 /* sum of text_bytes */
};

/* One wanted key; tables are static and outlive the index. */
struct jsonindex_key {
    const char *name;    /* NULL: a row that is nobody's */
    const char *in;      /* NULL: a key of the document; else the name of the row it is in */
    uint16_t text_bytes; /* > 0: keep the value of a string of up to this many bytes, unescaped */
    bool any_case;       /* "Model" repeats "model", too: readers that ignore case take either */
    bool told;           /* of the document: a lenient index tells what its value is made of */
};

/* The scan's event of a row's value, or inside it; answers as to the scan (jsonscan.h). */
typedef int jsonindex_fn(void *ctx, unsigned row, const struct jsonscan_event *event);

enum jsonindex_kind {
    JSONINDEX_ABSENT,
    JSONINDEX_NULL,
    JSONINDEX_BOOL,
    JSONINDEX_NUMBER,
    JSONINDEX_STRING,
    JSONINDEX_ARRAY,
    JSONINDEX_OBJECT,
};

struct jsonindex_field {
    uint8_t kind;        /* enum jsonindex_kind; set when the value begins */
    bool whole;          /* the value has ended: `end` and what follows are valid */
    bool repeated;       /* lenient: its key occurred again; this is the first one's value */
    bool has_text;       /* a string, wanted as text, that fits or was cut: `text` */
    bool has_u64;        /* a bool (0, 1), or a number that is digits only and fits: `u64` */
    uint64_t begin, end; /* the raw value, quotes included, counted from the first byte fed */
    uint64_t u64;
    struct str text; /* unescaped UTF-8, may hold NUL; lives in the index. Lenient: one that does
                        not fit is cut, maybe inside a character */
};

struct jsonindex {
    struct jsonindex_field fields[JSONINDEX_KEYS_MAX]; /* by row of the table */
    bool is_object;       /* the document is an object; otherwise every field is absent */
    int duplicate;        /* row of the key that occurred twice, -1 if none */
    struct jsonscan scan; /* err, reason, error_at, offset */
    /* private */
    const struct jsonindex_key *keys;
    unsigned n;
    bool lenient, telling;
    jsonindex_fn *fn;
    void *ctx;
    int parent;    /* row of the object we are in, -1: the document */
    int row;       /* row whose value comes next or is open, -1: nobody's */
    uint16_t used; /* of `text` */
    uint16_t taken;
    bool too_long; /* the open key or string does not fit */
    uint8_t name_n;
    uint8_t length[JSONINDEX_KEYS_MAX]; /* of each row's name */
    int8_t inside[JSONINDEX_KEYS_MAX];  /* the row whose object it is in, -1: the document */
    char name[JSONINDEX_NAME_MAX];
    char text[JSONINDEX_TEXT_BYTES];
};

/* A table that breaks a bound above, or whose `in` names no row, is a bug. Default scan limits. */
void jsonindex_init(struct jsonindex *ix, const struct jsonindex_key *keys, unsigned n);
/* Lenient, with the hard bounds of the scan alone; `fn` hears of rows that are `told`, NULL: nobody
 * does. */
void jsonindex_init_lenient(struct jsonindex *ix, const struct jsonindex_key *keys, unsigned n,
                            jsonindex_fn *fn, void *ctx);
/* 0, -E_SYNTAX or -E_LIMIT (ix->scan says where and why), -E_EXISTS (ix->duplicate: which key). */
int jsonindex_feed(struct jsonindex *ix, const char *p, size_t n) MUSTCHECK;
/* The same. 0: a whole valid document; look at is_object. */
int jsonindex_finish(struct jsonindex *ix) MUSTCHECK;
