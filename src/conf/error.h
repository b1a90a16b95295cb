/* SPDX-License-Identifier: Apache-2.0
 *
 * error.h - what is wrong with a configuration: where, which key, what, and what was probably
 * meant. All mistakes of one run are collected, up to a cap, so that they are mended in one go.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"

enum { ERROR_MAX = 20 };

struct conf_error {
    struct str source;  /* file name, "--lanes" or "INFERD_LANES"; p is NULL when it is nowhere */
    uint32_t line;      /* from 1; 0: no line */
    uint32_t column;    /* from 1, in characters */
    struct str key;     /* "engine[0].slots"; empty when it is no key's */
    struct str problem; /* "70000 is not within 0 and 65535" */
    struct str hint;    /* the known key that is nearest, or empty */
};

struct conf_errors {
    struct arena *arena; /* borrowed; holds the texts */
    struct conf_error at[ERROR_MAX];
    size_t n;
    size_t more; /* that found no room */
};

static inline void error_init(struct conf_errors *e, struct arena *arena)
{
    *e = (struct conf_errors){.arena = arena};
}

/* Copies what `e` holds. */
void error_add(struct conf_errors *errors, const struct conf_error *e);
/* "inferd.toml:12:9: engine[0].slots: 70000 is not within 0 and 65535", without a newline. */
void error_print(const struct conf_error *e, struct buf *out);
/* All of them by place, each after `before` and with a newline behind. */
void error_print_all(const struct conf_errors *errors, struct str before, struct buf *out);
