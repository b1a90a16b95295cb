/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl_table.h - a table for a terminal: cells in reading order, columns as wide as they need to be.
 * What comes from outside cannot steer the terminal: control characters and bytes that are not
 * UTF-8 are shown as escapes. A column in which nothing stands is left out.
 */
#pragma once
#include "base/buf.h"

enum { CTL_TABLE_COLUMNS_MAX = 16 };

struct ctl_column {
    const char *head;
    bool right; /* numbers */
};

struct ctl_table {
    const struct ctl_column *columns;
    unsigned ncolumns;
    struct str *cells; /* owned texts */
    size_t n, size;
};

/* `columns` is borrowed. */
void ctl_table_init(struct ctl_table *t, const struct ctl_column *columns, unsigned n);
void ctl_table_fini(struct ctl_table *t);
/* The next cell; an empty text is a cell without a value. */
void ctl_table_add(struct ctl_table *t, struct str text);
void ctl_table_add_u64(struct ctl_table *t, uint64_t v);
/* Appends the table; the last row is complete. */
void ctl_table_print(const struct ctl_table *t, struct buf *out);
/* Appends text from outside as a cell would have it. */
void ctl_table_safe(struct buf *out, struct str text);
