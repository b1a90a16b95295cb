/* SPDX-License-Identifier: Apache-2.0
 *
 * table_test.c - the table of raw requests against the codecs: each row must tell its transcript,
 * whatever the bytes are cut into: whole, one byte at a time, and in two pieces at every position
 * (rows over 4 KiB: near every line end and at every 61st). What passes is written anew as it would
 * go upstream, and reading that must tell the same requests.
 *
 *     table_test FILE.rows ...
 */
#include <stdio.h>

#include "raw.h"
#include "rows.h"

enum { BIG_ROW = 4096, ROWS_AT_LEAST = 300 };

static unsigned failures;

/* The bytes in two pieces, or one by one when cut is 0. */
static struct buf tell(const struct row *row, size_t cut, struct buf *upstream)
{
    static struct raw r;
    struct buf out = buf_make(1 << 20);
    const char *p = row->bytes.p;
    size_t n = row->bytes.n;

    raw_init(&r, &out, upstream);
    if (cut == 0) {
        for (size_t i = 0; i < n; i++)
            raw_feed(&r, p + i, 1);
    } else {
        raw_feed(&r, p, cut);
        raw_feed(&r, p + cut, n - cut);
    }
    raw_end(&r);
    raw_fini(&r);
    return out;
}

static bool worth_cutting(const struct row *row, size_t at)
{
    const char *p = row->bytes.p;

    if (row->bytes.n <= BIG_ROW || at % 61 == 0)
        return true;
    for (size_t i = at - min_size(at, 2); i < min_size(at + 2, row->bytes.n); i++)
        if (p[i] == '\r' || p[i] == '\n')
            return true;
    return false;
}

static bool check_cut(const struct row *row, size_t cut)
{
    _cleanup_(buf_fini) struct buf told = tell(row, cut, NULL);

    if (str_eq(buf_str(&told), buf_str(&row->transcript)))
        return true;
    printf("row %.*s (line %u), cut %s%zu: told\n%.*s\nnot\n%.*s\n", STR_ARGS(row->id), row->line,
           cut == 0 ? "everywhere, " : "at ", cut, STR_ARGS(buf_str(&told)),
           STR_ARGS(buf_str(&row->transcript)));
    failures++;
    return false;
}

/* The transcript without its last line and without what only the way in has: fields the writer
 * sets. */
static void requests_of(struct buf *out, const struct buf *transcript)
{
    struct str rest = buf_str(transcript);

    while (rest.n > 0) {
        struct str line = str_cut(&rest, '\n');

        if (str_starts(line, STR("codec: ")) || str_starts(line, STR("up: CONNECT")))
            continue;
        buf_add(out, line);
        buf_char(out, '\n');
    }
}

/* What goes upstream, read again, is what came in. */
static void check_rewritten(const struct row *row)
{
    _cleanup_(buf_fini) struct buf upstream = buf_make(1 << 20), again = buf_make(1 << 20);
    _cleanup_(buf_fini) struct buf want = buf_make(1 << 20), got = buf_make(1 << 20);
    _cleanup_(buf_fini) struct buf told = tell(row, row->bytes.n, &upstream);
    static struct raw r;

    raw_init(&r, &again, NULL);
    raw_feed(&r, upstream.p, upstream.n);
    raw_end(&r);
    raw_fini(&r);
    requests_of(&want, &told);
    requests_of(&got, &again);
    if (str_eq(buf_str(&want), buf_str(&got)) && str_ends(buf_str(&again), STR("codec: pass\n")))
        return;
    printf("row %.*s (line %u), written anew: read as\n%.*s\nnot\n%.*s\n", STR_ARGS(row->id),
           row->line, STR_ARGS(buf_str(&again)), STR_ARGS(buf_str(&want)));
    failures++;
}

static void check_row(const struct row *row)
{
    if (!check_cut(row, row->bytes.n) || !check_cut(row, 0))
        return;
    for (size_t cut = 1; cut < row->bytes.n; cut++)
        if (worth_cutting(row, cut) && !check_cut(row, cut))
            return;
    check_rewritten(row);
}

int main(int argc, char **argv)
{
    struct rows all = {0};
    size_t passed = 0;

    for (int i = 1; i < argc; i++)
        rows_read(&all, argv[i]);
    for (size_t i = 0; i < all.n; i++) {
        check_row(&all.row[i]);
        passed += all.row[i].requests > 0;
    }
    printf("%zu rows, %zu of them with requests that pass, %u failures\n", all.n, passed, failures);
    if (all.n < ROWS_AT_LEAST) {
        printf("fewer than %d rows: the table has lost some\n", ROWS_AT_LEAST);
        failures++;
    }
    rows_free(&all);
    return failures > 0;
}
