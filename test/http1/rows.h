/* SPDX-License-Identifier: Apache-2.0
 *
 * rows.h - reads the table of raw requests (*.rows; README.md tells the format). Test code only: a
 * malformed row ends the program with its place.
 */
#pragma once
#include "base/buf.h"

struct row {
    struct str id, rfc, note, gate; /* of the file's text; note may be empty */
    unsigned line;                  /* where it begins */
    struct buf bytes;               /* what the client sends, unescaped */
    struct buf transcript;          /* what raw.h must tell */
    unsigned requests;              /* `up:` lines */
};

struct rows {
    struct row *row;
    size_t n;
    char **text; /* of each file; the rows point into it */
    size_t files;
};

/* Reads one file; adds its rows to those there are. */
void rows_read(struct rows *all, const char *path);
void rows_free(struct rows *all);
