/* SPDX-License-Identifier: Apache-2.0
 *
 * error.c - see error.h.
 */
#include "conf/error.h"

void error_add(struct conf_errors *errors, const struct conf_error *e)
{
    struct arena *a = errors->arena;

    if (errors->n == ERROR_MAX) {
        errors->more++;
        return;
    }
    errors->at[errors->n++] = (struct conf_error){
        .source = e->source.p ? arena_str(a, e->source) : STR_NONE,
        .line = e->line,
        .column = e->column,
        .key = arena_str(a, e->key),
        .problem = arena_str(a, e->problem),
        .hint = arena_str(a, e->hint),
    };
}

void error_print(const struct conf_error *e, struct buf *out)
{
    if (e->source.p) {
        buf_add(out, e->source);
        if (e->line)
            buf_printf(out, ":%u", e->line);
        if (e->line && e->column)
            buf_printf(out, ":%u", e->column);
        buf_text(out, ": ");
    }
    if (e->key.n) {
        buf_add(out, e->key);
        buf_text(out, ": ");
    }
    buf_add(out, e->problem);
    if (e->hint.n)
        buf_printf(out, " (did you mean `%.*s`?)", STR_ARGS(e->hint));
}

/* By line within the one file; what has no line comes first, in the order it was found. */
void error_print_all(const struct conf_errors *errors, struct str before, struct buf *out)
{
    bool printed[ERROR_MAX] = {false};

    for (size_t n = 0; n < errors->n; n++) {
        size_t next = ERROR_MAX;

        for (size_t i = 0; i < errors->n; i++)
            if (!printed[i] && (next == ERROR_MAX || errors->at[i].line < errors->at[next].line))
                next = i;
        CHECK(next < ERROR_MAX); /* each turn prints one of n */
        printed[next] = true;
        buf_add(out, before);
        error_print(&errors->at[next], out);
        buf_char(out, '\n');
    }
    if (errors->more) {
        buf_add(out, before);
        buf_printf(out, "and %zu more\n", errors->more);
    }
}
