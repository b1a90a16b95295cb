/* SPDX-License-Identifier: Apache-2.0
 *
 * docs.c - see docs.h. The prose that no row can carry (where the file is looked for, what wins
 * over what, an example) stands here once and goes into both the Markdown page and the manual.
 * Tables are walked with their path, so a nested table gets the header a file would give it. The
 * texts of rows are plain but for `code`; what would mean more in either format is escaped.
 */
#include "conf/docs.h"

#include "conf/help.h"

enum { PATH_BYTES = 512, TEXT_BYTES = 2048 };

static const char *const prose[] = {
    "`inferd up` and `inferd check` read one TOML file: the one of `--config`, else of "
    "`INFERD_CONFIG`, else `./inferd.toml`, else `~/.config/inferd/inferd.toml`, else "
    "`/etc/inferd/inferd.toml`; without any, everything has its default and inferd attaches to the "
    "engines that it finds on loopback.",
    "Everything is optional. A flag wins over the environment, the environment over the file, the "
    "file over the default. The key `k_x` of table `[t]` is the flag `--t-k-x` and the variable "
    "`INFERD_T_K_X`; keys at the top level have no table in their names (`lanes` is `--lanes` and "
    "`INFERD_LANES`). `--listen`, which may be repeated, replaces all `[[listen]]` tables, as does "
    "`INFERD_LISTEN` with commas. Engines, remotes, aliases and all other lists are for the file "
    "only.",
    "Unknown keys are errors. `inferd check` shows all mistakes of a file with line, key and "
    "bound, "
    "and `inferd check --dump` every value with the place it comes from. SIGHUP or `inferd ctl "
    "reload` reads the same file again; a mistake in it, or its absence, leaves everything as it "
    "was. Keys marked "
    "*restart* keep their old value until inferd is started anew, which the log then says.",
    NULL,
};

static const char example[] =
    "[[listen]]\n"
    "address = \"127.0.0.1:8900\"\n"
    "\n"
    "[[engine]]                       # inferd starts, watches and restarts it\n"
    "name = \"tiny\"\n"
    "command = [\"llama-server\", \"-m\", \"tiny.gguf\", \"--port\", \"${PORT}\"]\n"
    "slots = 4\n"
    "\n"
    "[[remote]]                       # runs without inferd\n"
    "name = \"gpu1\"\n"
    "url = \"http://10.0.0.5:8000\"\n"
    "api_key_file = \"/etc/inferd/gpu1.key\"\n"
    "models = [\"llama-70b\"]\n"
    "\n"
    "[model.\"gpt-4o\"]                 # another name for a model\n"
    "target = \"tiny\"\n"
    "\n"
    "[limits]\n"
    "queue_ms = 10000\n";

/* One table of the walk. */
struct place {
    struct str header; /* "[[engine]]"; empty at the top level */
    struct str path;   /* "limits" when its scalars are flags "--limits-x", "" at the top level */
    bool flags;        /* whether they are */
    const struct option *row; /* that holds the table; NULL at the top level */
};

typedef void table_fn(struct buf *out, const struct place *place, const struct option_table *t);

static bool is_table(const struct option *o)
{
    return o->type == OPTION_SUB || o->type == OPTION_TABLES || o->type == OPTION_NAMED;
}

/* Calls `fn` for `t` and every table below it. `flags`: its scalars are flags. The recursion
 * follows static tables. */
static void walk(const struct option_table *t, struct buf *path, bool flags, table_fn *fn,
                 struct buf *out)
{
    size_t before = path->n;

    for (size_t i = 0; i < t->n; i++) {
        const struct option *o = &t->rows[i];
        char memory[PATH_BYTES];
        struct buf header = buf_on(memory, sizeof memory);

        if (!is_table(o))
            continue;
        buf_printf(path, "%s%s%s", before ? "." : "", o->key,
                   o->type == OPTION_NAMED ? ".\"NAME\"" : "");
        buf_printf(&header, o->type == OPTION_TABLES ? "[[%.*s]]" : "[%.*s]",
                   STR_ARGS(buf_str(path)));
        fn(out, &(struct place){buf_str(&header), buf_str(path), flags && o->type == OPTION_SUB, o},
           o->table);
        walk(o->table, path, flags && o->type == OPTION_SUB, fn, out);
        path->n = before;
    }
}

static void walk_all(const struct option_table *t, table_fn *fn, struct buf *out)
{
    char memory[PATH_BYTES];
    struct buf path = buf_on(memory, sizeof memory);

    fn(out, &(struct place){.flags = true}, t);
    walk(t, &path, true, fn, out);
}

/* "1 to 86400000", "up to 64 entries"; nothing where there is no bound worth telling. */
static void bounds(const struct option *o, struct buf *out)
{
    switch (o->type) {
    case OPTION_U32:
    case OPTION_U64:
    case OPTION_F64:
        buf_printf(out, "%lld to %lld", (long long)o->least, (long long)o->most);
        return;
    case OPTION_STR:
    case OPTION_NAME:
        buf_printf(out, "up to %lld bytes", (long long)o->most);
        return;
    case OPTION_WORD:
        for (size_t i = 1; i < o->words_n; i++)
            buf_printf(out, "%s`%s`", i == 1 ? "" : ", ", o->words[i]);
        return;
    case OPTION_LIST:
    case OPTION_COMMAS:
    case OPTION_REST:
    case OPTION_MAP:
    case OPTION_TABLES:
    case OPTION_NAMED:
        buf_printf(out, "up to %lld entries", (long long)o->most);
        return;
    case OPTION_BOOL:
    case OPTION_FREE:
    case OPTION_SUB:
        return;
    }
}

/* As a file would have it. */
static void default_text(const struct option *o, struct buf *out)
{
    struct str dflt;

    if (option_is_required(o))
        buf_text(out, "*required*");
    else if (!help_default(o, &dflt))
        buf_text(out, "unset");
    else if (o->type == OPTION_STR || o->type == OPTION_WORD)
        buf_printf(out, "`\"%.*s\"`", STR_ARGS(dflt));
    else
        buf_printf(out, "`%.*s`", STR_ARGS(dflt));
}

/* --- Markdown --- */

/* Escapes what is no `code`. */
static void markdown_text(struct str text, struct buf *out)
{
    bool code = false;

    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '`')
            code = !code;
        if (!code && strchr("*|<\\", text.p[i]))
            buf_char(out, '\\');
        buf_char(out, text.p[i]);
    }
}

/* "`--limits-x` | `INFERD_LIMITS_X`"; a list has neither. */
static void markdown_names(struct buf *out, const struct place *place, const struct option *o)
{
    char memory[PATH_BYTES];
    struct buf path = buf_on(memory, sizeof memory);

    if (!option_is_scalar(o)) {
        buf_text(out, "| | ");
        return;
    }
    buf_add(&path, place->path);
    buf_text(&path, path.n ? "." : "");
    buf_text(&path, o->key);
    buf_text(out, "`--");
    option_flag_name(buf_str(&path), out);
    buf_text(out, "` | `");
    option_env_name(buf_str(&path), out);
    buf_text(out, "` | ");
}

static void markdown_row(struct buf *out, const struct place *place, const struct option *o)
{
    buf_printf(out, "| `%s` | %s | ", o->key, option_type_text(o));
    default_text(o, out);
    buf_text(out, " | ");
    bounds(o, out);
    buf_text(out, " | ");
    if (place->flags)
        markdown_names(out, place, o);
    markdown_text(str_of(o->text), out);
    buf_text(out, o->when == OPTION_RESTART ? " *restart* |\n" : " |\n");
}

static void markdown_head(struct buf *out, const struct place *place, const struct option_table *t)
{
    if (!place->row) {
        buf_text(out, "\n## Top level\n\n");
        return;
    }
    buf_printf(out, "\n## `%.*s`\n\n", STR_ARGS(place->header));
    markdown_text(str_of(t->text), out);
    if (place->row->by) {
        buf_printf(out, " `%s` is also ", place->row->by);
        buf_text(out, "`--");
        option_flag_name(place->path, out);
        buf_text(out, "` and `");
        option_env_name(place->path, out);
        buf_text(out, "`, which replace all tables of the file.");
    } else if (!place->flags) {
        buf_text(out, " For the file only.");
    }
    buf_text(out, "\n\n");
}

static void markdown_table(struct buf *out, const struct place *place, const struct option_table *t)
{
    markdown_head(out, place, t);
    buf_text(out, place->flags ? "| key | type | default | bounds | flag | variable | |\n"
                                 "| --- | --- | --- | --- | --- | --- | --- |\n"
                               : "| key | type | default | bounds | |\n"
                                 "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < t->n; i++)
        if (!is_table(&t->rows[i]) && t->rows[i].type != OPTION_NAME)
            markdown_row(out, place, &t->rows[i]);
}

void docs_markdown(const struct option_table *settings, struct buf *out)
{
    buf_text(
        out,
        "<!-- Written by `inferd help --format markdown`; a test compares. -->\n# Configuration\n");
    for (size_t i = 0; prose[i]; i++)
        buf_printf(out, "\n%s\n", prose[i]);
    buf_printf(out, "\n```toml\n%s```\n", example);
    walk_all(settings, markdown_table, out);
}

/* --- manual pages --- */

/* Whether the star at `i` begins or ends *a word*, and is none of its own as in INFERD_*. */
static bool is_mark(struct str text, size_t i, bool open)
{
    return open || ((i == 0 || strchr(" (\n", text.p[i - 1])) && i + 1 < text.n &&
                    text.p[i + 1] >= 'A' && text.p[i + 1] <= 'z');
}

/* Escapes for troff and turns `x` into bold x, *x* into italic x. */
static void troff(struct str text, struct buf *out)
{
    bool bold = false, italic = false, start = true;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c == '`') {
            bold = !bold;
            buf_text(out, bold ? "\\fB" : "\\fR");
        } else if (c == '*' && is_mark(text, i, italic)) {
            italic = !italic;
            buf_text(out, italic ? "\\fI" : "\\fR");
        } else if (c == '\\') {
            buf_text(out, "\\e");
        } else if (c == '-') {
            buf_text(out, "\\-");
        } else {
            if (start && (c == '.' || c == '\''))
                buf_text(out, "\\&");
            buf_char(out, c);
        }
        start = c == '\n';
    }
}

/* Literal text: examples. */
static void troff_literal(struct str text, struct buf *out)
{
    buf_text(out, ".RS 4\n.nf\n");
    while (text.n) {
        struct str line = str_cut(&text, '\n');

        if (line.n && (line.p[0] == '.' || line.p[0] == '\''))
            buf_text(out, "\\&");
        for (size_t i = 0; i < line.n; i++) {
            if (line.p[i] == '\\' || line.p[i] == '-')
                buf_text(out, line.p[i] == '-' ? "\\-" : "\\e");
            else
                buf_char(out, line.p[i]);
        }
        buf_char(out, '\n');
    }
    buf_text(out, ".fi\n.RE\n");
}

/* The first one of a section has the section's own distance. */
static void paragraph(struct str text, bool first, struct buf *out)
{
    buf_text(out, first ? "" : ".PP\n");
    troff(text, out);
    buf_char(out, '\n');
}

static void man_row(struct buf *out, const struct option *o)
{
    char memory[TEXT_BYTES];
    struct buf text = buf_on(memory, sizeof memory);

    buf_printf(&text, "`%s` (%s", o->key, option_type_text(o));
    buf_text(&text, ", ");
    default_text(o, &text);
    buf_text(&text, ")");
    buf_text(out, ".TP\n");
    troff(buf_str(&text), out);
    buf_clear(&text);
    buf_printf(&text, "\n%s", o->text);
    if (o->type != OPTION_BOOL && o->type != OPTION_FREE) {
        buf_text(&text, " (");
        bounds(o, &text);
        buf_text(&text, ")");
    }
    buf_printf(&text, "%s\n", o->when == OPTION_RESTART ? " *restart*" : "");
    troff(buf_str(&text), out);
}

static void man_table(struct buf *out, const struct place *place, const struct option_table *t)
{
    buf_text(out, ".SS ");
    troff(place->row ? place->header : STR("Top level"), out);
    buf_char(out, '\n');
    if (place->row)
        paragraph(str_of(t->text), true, out);
    for (size_t i = 0; i < t->n; i++)
        if (!is_table(&t->rows[i]) && t->rows[i].type != OPTION_NAME)
            man_row(out, &t->rows[i]);
}

static void man_head(const char *title, const char *section, const char *name, const char *summary,
                     struct buf *out)
{
    buf_printf(out, ".TH %s %s \"" INFERD_DATE "\" \"inferd " INFERD_VERSION "\"\n.SH NAME\n",
               title, section);
    troff(str_of(name), out);
    buf_text(out, " \\- ");
    troff(str_of(summary), out);
    buf_char(out, '\n');
}

void docs_man_settings(const struct option_table *settings, struct buf *out)
{
    man_head("INFERD.TOML", "5", "inferd.toml", "configuration of inferd", out);
    buf_text(out, ".SH DESCRIPTION\n");
    for (size_t i = 0; prose[i]; i++)
        paragraph(str_of(prose[i]), i == 0, out);
    buf_text(out, ".SH KEYS\n");
    walk_all(settings, man_table, out);
    buf_text(out, ".SH EXAMPLE\n");
    troff_literal(STR(example), out);
    buf_text(out, ".SH SEE ALSO\n.BR inferd (1)\n");
}

void docs_man_overview(const struct command *const *commands, struct buf *out)
{
    man_head("INFERD", "1", "inferd", "one dependable inference service out of many model servers",
             out);
    buf_text(out, ".SH SYNOPSIS\n.B inferd\n.I COMMAND\n[flags]\n.SH COMMANDS\n");
    for (size_t i = 0; commands[i]; i++) {
        if (commands[i]->hidden)
            continue;
        buf_printf(out, ".TP\n\\fB%s\\fR\n", commands[i]->name);
        troff(str_of(commands[i]->summary), out);
        buf_printf(out, ", see \\fBinferd\\-%s\\fR(1)\n", commands[i]->name);
    }
    buf_text(out, ".SH EXIT STATUS\n0 after an orderly end, 1 when something could not be started "
                  "or done, 2 for a "
                  "mistake on the command line.\n"
                  ".SH FILES\n.TP\n.I /etc/inferd/inferd.toml\nsee \\fBinferd.toml\\fR(5)\n"
                  ".SH SEE ALSO\n.BR inferd.toml (5)\n");
}

static int man_flag(void *ctx, struct str path, const struct option *o)
{
    char memory[TEXT_BYTES];
    struct buf text = buf_on(memory, sizeof memory), *out = ctx;
    const char *value = help_value_name(o);

    if (o->letter)
        buf_printf(&text, "`-%s`, ", o->letter);
    buf_text(&text, "`--");
    option_flag_name(path, &text);
    buf_printf(&text, value ? "` *%s*\n" : "`\n", value);
    help_sentences(o, &text);
    buf_text(out, ".TP\n");
    troff(buf_str(&text), out);
    buf_char(out, '\n');
    return 0;
}

void docs_man_command(const struct command *c, const struct option_table *settings, struct buf *out)
{
    char title[64], name[64];
    struct buf t = buf_on(title, sizeof title), n = buf_on(name, sizeof name);
    struct str rest = str_of(c->text);

    buf_text(&t, "INFERD\\-");
    for (const char *p = c->name; *p; p++)
        buf_char(&t, *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p);
    buf_printf(&n, "inferd-%s", c->name);
    CHECK(buf_cstr(&t) && buf_cstr(&n));
    man_head(title, "1", name, c->summary, out);
    buf_printf(out, ".SH SYNOPSIS\n\\fBinferd %s\\fR [flags] %s\n", c->name,
               c->words ? c->words : "");
    if (rest.n)
        buf_text(out, ".SH DESCRIPTION\n");
    while (rest.n) {
        size_t end = str_find_str(rest, STR("\n\n"));

        paragraph(str_head(rest, end), rest.p == c->text, out);
        rest = str_from(rest, end + 2);
    }
    buf_text(out, ".SH FLAGS\n");
    (void)help_each_flag(c, settings, man_flag, out);
    buf_text(
        out,
        ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nHelp.\n.TP\n\\fB\\-\\-version\\fR\nThe version.\n");
    if (c->examples)
        buf_text(out, ".SH EXAMPLES\n");
    for (size_t i = 0; c->examples && c->examples[i]; i += 2) {
        buf_text(out, ".TP\n\\fB");
        troff(str_of(c->examples[i]), out);
        buf_text(out, "\\fR\n");
        troff(str_of(c->examples[i + 1]), out);
        buf_char(out, '\n');
    }
    buf_text(out, ".SH SEE ALSO\n.BR inferd (1),\n.BR inferd.toml (5)\n");
}
