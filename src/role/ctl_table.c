/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl_table.c - see ctl_table.h. A character counts as one place wide, which is wrong for East
 * Asian scripts and right enough for names of models.
 */
#include "role/ctl_table.h"

#include "base/mem.h"

enum { CELL_BYTES = 4096, GAP = 2 };

void ctl_table_init(struct ctl_table *t, const struct ctl_column *columns, unsigned n)
{
    CHECK(n > 0 && n <= CTL_TABLE_COLUMNS_MAX);
    *t = (struct ctl_table){.columns = columns, .ncolumns = n};
}

void ctl_table_fini(struct ctl_table *t)
{
    for (size_t i = 0; i < t->n; i++)
        mem_free((void *)(uintptr_t)t->cells[i].p);
    mem_free(t->cells);
    *t = (struct ctl_table){.n = 0};
}

/* C0, DEL and, as UTF-8, C1. */
static bool is_control(const char *p, size_t n)
{
    unsigned char first = (unsigned char)p[0];

    return n == 1 ? first < 0x20 || first == 0x7f
                  : n == 2 && first == 0xc2 && (unsigned char)p[1] < 0xa0;
}

void ctl_table_safe(struct buf *out, struct str text)
{
    while (text.n > 0) {
        size_t n = str_utf8_sequence(text);

        if (n == 0 || is_control(text.p, n)) {
            n = n ? n : 1;
            for (size_t i = 0; i < n; i++)
                buf_printf(out, "\\x%02x", (unsigned char)text.p[i]);
        } else {
            buf_add(out, str_head(text, n));
        }
        text = str_from(text, n);
    }
}

void ctl_table_add(struct ctl_table *t, struct str text)
{
    struct buf b = buf_make(4 * CELL_BYTES);

    ctl_table_safe(&b, str_head(text, CELL_BYTES));
    if (t->n == t->size) {
        t->size = max_size(64, t->size * 2);
        t->cells = mem_resize_array(t->cells, t->size, sizeof *t->cells);
    }
    t->cells[t->n++] = str_span(str_dup(buf_str(&b)), b.n);
    buf_fini(&b);
}

void ctl_table_add_u64(struct ctl_table *t, uint64_t v)
{
    char text[24];
    struct buf b = buf_on(text, sizeof text);

    buf_u64(&b, v);
    ctl_table_add(t, buf_str(&b));
}

/* Characters, not bytes. */
static size_t width_of(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static void put_spaces(struct buf *out, size_t n)
{
    while (n-- > 0)
        buf_char(out, ' ');
}

/* Places of each column, 0 for one that is left out. */
static void measure(const struct ctl_table *t, size_t *width, unsigned *ret_last)
{
    *ret_last = 0;
    for (unsigned k = 0; k < t->ncolumns; k++) {
        width[k] = 0;
        for (size_t i = k; i < t->n; i += t->ncolumns)
            width[k] = max_size(width[k], width_of(t->cells[i]));
        if (width[k] == 0 && t->n > 0)
            continue;
        width[k] = max_size(width[k], strlen(t->columns[k].head));
        *ret_last = k;
    }
}

static void put_row(const struct ctl_table *t, const struct str *cells, const size_t *width,
                    unsigned last, struct buf *out)
{
    for (unsigned k = 0; k <= last; k++) {
        struct str text = cells ? cells[k] : str_of(t->columns[k].head);
        size_t pad;

        if (width[k] == 0)
            continue;
        if (text.n == 0)
            text = STR("-");
        pad = width[k] - width_of(text);
        if (t->columns[k].right)
            put_spaces(out, pad);
        buf_add(out, text);
        if (k < last)
            put_spaces(out, GAP + (t->columns[k].right ? 0 : pad));
    }
    buf_char(out, '\n');
}

void ctl_table_print(const struct ctl_table *t, struct buf *out)
{
    size_t width[CTL_TABLE_COLUMNS_MAX];
    unsigned last;

    CHECK(t->n % t->ncolumns == 0);
    measure(t, width, &last);
    put_row(t, NULL, width, last, out);
    for (size_t i = 0; i < t->n; i += t->ncolumns)
        put_row(t, t->cells + i, width, last, out);
}
