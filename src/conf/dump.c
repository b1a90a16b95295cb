/* SPDX-License-Identifier: Apache-2.0
 *
 * dump.c - see dump.h. Two paths grow side by side: the one in table headers (model."x") and the
 * one that origins are kept under (engine[0]). A table's own values are printed before its tables,
 * as TOML demands. The recursion follows static tables, never input.
 */
#include "conf/dump.h"

enum { PATH_BYTES = 2048, ORIGIN_COLUMN = 44 };

struct dump {
    dump_origin_fn *origin;
    void *ctx;
    struct buf *out;
    char header_memory[PATH_BYTES], path_memory[PATH_BYTES];
    struct buf header; /* "engine" */
    struct buf path;   /* "engine[0]" */
};

static void print_table(struct dump *d, const struct option_table *t, const char *base);

static bool is_table(const struct option *o)
{
    return o->type == OPTION_SUB || o->type == OPTION_TABLES || o->type == OPTION_NAMED;
}

static void print_value(struct dump *d, const struct option *o, const char *base)
{
    char memory[PATH_BYTES];
    struct buf path = buf_on(memory, sizeof memory), value = buf_make(8 << 20);
    struct str origin;
    size_t before;

    buf_add(&path, buf_str(&d->path));
    buf_text(&path, path.n ? "." : "");
    buf_text(&path, o->key);
    option_print(o, base, &value);
    before = d->out->n;
    /* JSON is no TOML, hidden values are no values, and "unset" is none at all */
    if (o->type == OPTION_FREE || o->type == OPTION_MAP || str_eq(buf_str(&value), STR("unset")))
        buf_text(d->out, "# ");
    buf_printf(d->out, "%s = ", o->key);
    buf_add(d->out, buf_str(&value));
    origin = d->origin(d->ctx, buf_str(&path));
    before = d->out->n - before;
    buf_printf(d->out, "%*s # %.*s\n", before < ORIGIN_COLUMN ? (int)(ORIGIN_COLUMN - before) : 0,
               "", STR_ARGS(origin));
    buf_fini(&value);
}

/* Every t_list has this shape. */
struct any_list {
    char *at;
    size_t n;
};

static struct str name_of(const struct option_table *t, const char *base)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].type == OPTION_NAME)
            return *(const struct str *)option_member_const(&t->rows[i], base);
    return STR_NONE;
}

static void print_header(struct dump *d, const char *open, const char *close)
{
    buf_printf(d->out, "\n%s%.*s%s\n", open, STR_ARGS(buf_str(&d->header)), close);
}

static void print_elements(struct dump *d, const struct option *o, const char *base)
{
    size_t header = d->header.n, path = d->path.n;
    struct any_list list;

    memcpy(&list, option_member_const(o, base), sizeof list);
    for (size_t i = 0; i < list.n; i++) {
        const char *element = list.at + i * o->table->bytes;

        if (o->type == OPTION_NAMED) {
            buf_char(&d->header, '.');
            option_print_str(name_of(o->table, element), &d->header);
            buf_char(&d->path, '.');
            option_print_str(name_of(o->table, element), &d->path);
            print_header(d, "[", "]");
        } else {
            buf_printf(&d->path, "[%zu]", i);
            print_header(d, "[[", "]]");
        }
        print_table(d, o->table, element);
        d->header.n = header;
        d->path.n = path;
    }
}

static void print_table(struct dump *d, const struct option_table *t, const char *base)
{
    size_t header = d->header.n, path = d->path.n;

    for (size_t i = 0; i < t->n; i++)
        if (!is_table(&t->rows[i]) && t->rows[i].type != OPTION_NAME)
            print_value(d, &t->rows[i], base);
    for (size_t i = 0; i < t->n; i++) {
        const struct option *o = &t->rows[i];

        if (!is_table(o))
            continue;
        buf_printf(&d->header, "%s%s", header ? "." : "", o->key);
        buf_printf(&d->path, "%s%s", path ? "." : "", o->key);
        if (o->type == OPTION_SUB) {
            print_header(d, "[", "]");
            print_table(d, o->table, option_member_const(o, base));
        } else {
            print_elements(d, o, base);
        }
        d->header.n = header;
        d->path.n = path;
    }
}

void dump_print(const struct option_table *t, const void *base, dump_origin_fn *origin, void *ctx,
                struct buf *out)
{
    struct dump d = {.origin = origin, .ctx = ctx, .out = out};

    d.header = buf_on(d.header_memory, sizeof d.header_memory);
    d.path = buf_on(d.path_memory, sizeof d.path_memory);
    print_table(&d, t, base);
}
