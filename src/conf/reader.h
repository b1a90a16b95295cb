/* SPDX-License-Identifier: Apache-2.0
 *
 * reader.h - a TOML document into a struct, by its option table. Every mistake is noted and the
 * rest is still read, so one run shows them all.
 */
#pragma once
#include "conf/error.h"
#include "conf/option.h"

/* Told of every value that was set: "engine[0].slots", "model.\"gpt-4o\".target". */
typedef void reader_set_fn(void *ctx, struct str path, uint32_t line, uint32_t column);

struct reader {
    const struct option_table *table;
    void *base;          /* the struct; holds its defaults already */
    struct arena *arena; /* for everything the struct will point to */
    struct str source;   /* the file's name, for errors */
    struct conf_errors *errors;
    struct conf_errors
        *unknown;          /* keys that no row has go here and are no mistakes; NULL: they are */
    reader_set_fn *on_set; /* may be NULL */
    void *ctx;
};

/* -E_CONF when anything was added to *errors. */
int reader_run(const struct reader *r, struct str toml) MUSTCHECK;
