/* SPDX-License-Identifier: Apache-2.0
 *
 * help.c - see help.h. Plain text of at most 80 columns where the words allow it.
 */
#include "conf/help.h"

enum { COLUMNS = 80, FLAG_COLUMN = 30, NAME_BYTES = 256 };

/* Wraps `text` at COLUMNS; every line but the first is indented, the first begins at column `at`.
 */
static void wrap(struct str text, size_t at, size_t indent, struct buf *out)
{
    while (text.n) {
        struct str word = str_cut(&text, ' ');

        if (word.n == 0)
            continue;
        if (at > indent && at + 1 + word.n > COLUMNS) {
            buf_printf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            buf_char(out, ' ');
            at++;
        }
        buf_add(out, word);
        at += word.n;
    }
    buf_char(out, '\n');
}

const char *help_value_name(const struct option *o)
{
    struct str key = str_of(o->key);

    if (o->type == OPTION_BOOL)
        return NULL;
    if (o->type == OPTION_U32 || o->type == OPTION_U64)
        return "N";
    if (o->type == OPTION_F64)
        return "X";
    if (o->type == OPTION_WORD)
        return "WORD";
    if (o->type == OPTION_COMMAS)
        return "A,B";
    if (o->by || str_eq(key, STR("address")))
        return "ADDR";
    if (str_ends(key, STR("_file")) || str_eq(key, STR("config")))
        return "FILE";
    return str_ends(key, STR("_dir")) ? "DIR" : "TEXT";
}

bool help_default(const struct option *o, struct str *ret)
{
    struct str dflt = str_of(o->dflt);

    if (o->type == OPTION_SUB || option_is_required(o) || str_eq(dflt, STR("UNSET")))
        return false;
    if (o->type == OPTION_STR)
        dflt = str_span(dflt.p + 1, dflt.n - 2);
    *ret = dflt;
    return true;
}

void help_sentences(const struct option *o, struct buf *out)
{
    struct str dflt;

    buf_text(out, o->text);
    for (size_t i = 1; i < o->words_n; i++)
        buf_printf(out, "%s%s", i == 1 ? " One of " : ", ", o->words[i]);
    buf_text(out, o->words_n ? "." : "");
    if (o->type == OPTION_LIST || o->by)
        buf_text(out, " May be repeated.");
    if (option_is_required(o))
        buf_text(out, " Required.");
    else if (o->type != OPTION_BOOL && help_default(o, &dflt))
        buf_printf(out, " [%.*s]", STR_ARGS(dflt));
}

static int flag_line(void *ctx, struct str path, const struct option *o)
{
    char memory[2048], left_memory[NAME_BYTES];
    struct buf left = buf_on(left_memory, sizeof left_memory), text = buf_on(memory, sizeof memory);
    struct buf *out = ctx;
    const char *value = help_value_name(o);

    buf_text(&left, o->letter ? "  -" : "  --");
    buf_text(&left, o->letter ? o->letter : "");
    buf_text(&left, o->letter ? ", --" : "");
    option_flag_name(path, &left);
    if (value)
        buf_printf(&left, " %s", value);
    help_sentences(o, &text);
    buf_add(out, buf_str(&left));
    if (left.n + 2 > FLAG_COLUMN) {
        buf_char(out, '\n');
        left.n = 0;
    }
    buf_printf(out, "%*s", (int)(FLAG_COLUMN - left.n), "");
    wrap(buf_str(&text), FLAG_COLUMN, FLAG_COLUMN, out);
    return 0;
}

static int each_own_flag(const struct command *c, option_visit_fn *fn, void *ctx)
{
    int r = 0;

    for (size_t i = 0; c->flags && i < c->flags->n && r == 0; i++)
        if (c->flags->rows[i].type != OPTION_REST)
            r = fn(ctx, str_of(c->flags->rows[i].key), &c->flags->rows[i]);
    return r;
}

int help_each_flag(const struct command *c, const struct option_table *settings,
                   option_visit_fn *fn, void *ctx)
{
    int r = each_own_flag(c, fn, ctx);

    return r == 0 && c->settings && settings ? option_each_flag(settings, fn, ctx) : r;
}

void help_usage(const struct command *c, struct buf *out)
{
    buf_printf(out, "usage: inferd %s%s%s%s\n", c->name, c->flags || c->settings ? " [flags]" : "",
               c->words ? " " : "", c->words ? c->words : "");
}

static void paragraphs(struct str text, struct buf *out)
{
    while (text.n) {
        size_t end = str_find_str(text, STR("\n\n"));

        buf_char(out, '\n');
        wrap(str_head(text, end), 0, 0, out);
        text = str_from(text, end + 2);
    }
}

void help_text(const struct command *c, const struct option_table *settings, struct buf *out)
{
    help_usage(c, out);
    buf_printf(out, "\n%s.\n", c->summary);
    if (c->text)
        paragraphs(str_of(c->text), out);
    if (c->examples) {
        buf_text(out, "\nExamples:\n");
        for (size_t i = 0; c->examples[i]; i += 2) {
            buf_printf(out, "  %s\n      ", c->examples[i]);
            wrap(str_of(c->examples[i + 1]), 6, 6, out);
        }
    }
    buf_text(out, "\nFlags:\n");
    (void)each_own_flag(c, flag_line, out);
    buf_printf(out, "%-*s%s\n", FLAG_COLUMN, "  -h, --help", "This text.");
    buf_printf(out, "%-*s%s\n", FLAG_COLUMN, "  --version", "The version.");
    if (settings) {
        buf_text(out, "\nSettings, also in inferd.toml and as INFERD_ variables:\n");
        (void)option_each_flag(settings, flag_line, out);
    }
}

void help_overview(const struct command *const *commands, struct buf *out)
{
    buf_text(
        out,
        "usage: inferd COMMAND [flags]\n\n"
        "One dependable inference service out of the model servers of a machine.\n\nCommands:\n");
    for (size_t i = 0; commands[i]; i++)
        if (!commands[i]->hidden)
            buf_printf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    buf_text(out, "\nExamples:\n"
                  "  inferd up\n      serve what inferd.toml says, or what runs on this machine\n"
                  "  inferd ctl status\n      see what is running\n"
                  "\n`inferd COMMAND --help` tells more; `inferd --version` the version.\n");
}
