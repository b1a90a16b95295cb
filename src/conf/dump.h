/* SPDX-License-Identifier: Apache-2.0
 *
 * dump.h - a parsed struct as TOML again, every value with a comment that says where it came from.
 */
#pragma once
#include "conf/option.h"

/* Where the value at "engine[0].slots" came from: "default", "--lanes", "inferd.toml:3". */
typedef struct str dump_origin_fn(void *ctx, struct str path);

/* Appends every value, defaults included. Values without one stand as comments; so do the hidden
 * ones. */
void dump_print(const struct option_table *t, const void *base, dump_origin_fn *origin, void *ctx,
                struct buf *out);
