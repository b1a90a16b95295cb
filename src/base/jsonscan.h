/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonscan.h - JSON (RFC 8259) as it arrives: a validating scanner that may be cut at any byte,
 * keeps O(1) state, allocates nothing, builds nothing and does not recurse. It reports keys,
 * strings, numbers, literals and nesting as events with absolute byte offsets; who wants values
 * keeps them (jsonindex.h: a few wanted keys; json.h: the whole document).
 *
 *   jsonscan_init(&s, NULL, on_event, ctx);
 *   while (more)
 *       r = jsonscan_feed(&s, p, n);           any split gives the same events and the same verdict
 *   r = jsonscan_finish(&s);
 *
 * Strict: UTF-8 only (RFC 3629), no byte order mark, no lone surrogate escapes, one value, nothing
 * but white space around it. Repeated keys are not its business: its clients see them.
 * Exactly one thread at a time; the callback must not feed.
 */
#pragma once
#include "base/err.h"
#include "base/str.h"

/* Hard bounds of the state; configured limits are at most these. */
enum {
    JSONSCAN_DEPTH_MAX = 64,   /* open containers */
    JSONSCAN_NUMBER_MAX = 128, /* bytes of one number */
    JSONSCAN_KEYS_MAX = 65535, /* keys of one object */
};

struct jsonscan_limits {
    unsigned depth;        /* containers open at once */
    unsigned number_bytes; /* bytes of one number; the zeros right behind a leading "0." are free
                              (up to JSONSCAN_NUMBER_MAX bytes in all): they carry no digit */
    unsigned keys;         /* keys of one object */
    uint64_t tokens;       /* keys and values of one document, a container counting once */
};

/* The defaults, to be taken where NULL is given. */
#define JSONSCAN_LIMITS                                                                            \
    ((struct jsonscan_limits){.depth = 64, .number_bytes = 64, .keys = 10000, .tokens = 1000000})

enum jsonscan_kind {
    JSONSCAN_OBJECT,     /* '{' */
    JSONSCAN_OBJECT_END, /* '}' */
    JSONSCAN_ARRAY,      /* '[' */
    JSONSCAN_ARRAY_END,  /* ']' */
    JSONSCAN_KEY,        /* the opening quote of a key */
    JSONSCAN_KEY_END,    /* [begin, end) is the whole key with its quotes */
    JSONSCAN_STRING,     /* the opening quote of a string value */
    JSONSCAN_STRING_END, /* [begin, end) is the whole string with its quotes */
    JSONSCAN_TEXT,       /* a piece of the key's or string's text, unescaped; only if asked for */
    JSONSCAN_NUMBER,     /* text: all of it */
    JSONSCAN_TRUE,
    JSONSCAN_FALSE,
    JSONSCAN_NULL,
};

struct jsonscan_event {
    enum jsonscan_kind kind;
    unsigned depth;      /* containers open around it; 0: the document's own value */
    uint64_t begin, end; /* raw bytes, counted from the first byte ever fed */
    struct str text; /* JSONSCAN_TEXT: never empty, may begin or end inside a UTF-8 sequence, the
                        whole is valid once *_END is told. Dies with the callback. */
};

/* What the callback may answer. Negative (a code of err.h): stop, that is the scan's error now. */
enum {
    JSONSCAN_GO = 0,
    JSONSCAN_WANT_TEXT = 1, /* to KEY or STRING: tell its text */
    JSONSCAN_SKIP = 1, /* to OBJECT or ARRAY: validate the inside, tell nothing until its *_END */
};
typedef int jsonscan_fn(void *ctx, const struct jsonscan_event *event);

/* Plain data; all fields but the result are private. */
struct jsonscan {
    /* the result */
    int err; /* 0, -E_SYNTAX, -E_LIMIT, or what the callback returned */
    const char
        *reason; /* static, a clause such as "control character in string"; "" while err is 0 */
    uint64_t error_at; /* offset of the byte at fault */
    uint64_t offset;   /* bytes fed so far */
    uint64_t tokens;   /* keys and values so far */
    /* private */
    jsonscan_fn *fn;
    void *ctx;
    struct jsonscan_limits limits;
    uint64_t objects;     /* bit d: the container at depth d is an object */
    uint64_t token_begin; /* offset of the string, number or literal that is open */
    uint8_t state, depth;
    uint8_t loud; /* events at most this deep are told */
    bool in_key, want_text;
    bool number_zero;    /* no digit but zeros yet */
    uint8_t pending;     /* UTF-8 continuation bytes, hex digits or literal bytes still to come */
    uint8_t low, high;   /* bounds of the next UTF-8 continuation byte */
    uint8_t literal;     /* enum jsonscan_kind of the literal that is open */
    uint16_t unit;       /* \u escape so far */
    uint16_t lead;       /* high surrogate that waits for its other half, or 0 */
    uint8_t number_n;    /* bytes in `number` */
    uint8_t number_free; /* of these not counted against the limit */
    uint16_t keys[JSONSCAN_DEPTH_MAX]; /* keys so far, per open object */
    char number[JSONSCAN_NUMBER_MAX];
};

/* `limits` may be NULL: JSONSCAN_LIMITS. A limit beyond the hard bounds is a bug. */
void jsonscan_init(struct jsonscan *s, const struct jsonscan_limits *limits, jsonscan_fn *fn,
                   void *ctx);
/* 0 or s->err; after an error every call returns it again and tells nothing. p may be NULL if n is
 * 0. */
int jsonscan_feed(struct jsonscan *s, const char *p, size_t n) MUSTCHECK;
/* The document has ended: 0 if it was exactly one value. Call once. */
int jsonscan_finish(struct jsonscan *s) MUSTCHECK;
