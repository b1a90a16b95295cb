/* SPDX-License-Identifier: Apache-2.0
 *
 * reader.c - walks the events of conf/toml.h with a stack of frames, one for each open table or
 * list that a row describes. Tables nest as deep as rows declare them, so the stack has a fixed
 * size; what may nest further (free tables, and what is skipped after a mistake) is counted inside
 * one frame. The event that begins a list tells its length, so every array is allocated once, in
 * the arena.
 */
#include "conf/reader.h"

#include "base/jsonw.h"
#include "conf/toml.h"

enum {
    FRAMES_MAX = 24,
    PATH_MAX_BYTES = 4096,
    PROBLEM_BYTES = 1024,
    JSON_MAX_BYTES = 4 << 20,
    FREE_NESTED_MAX = JSONW_DEPTH_MAX - 1,
};

enum frame_kind {
    FRAME_TABLE,   /* members are rows of `table`, set in `base` */
    FRAME_STRINGS, /* elements go to `list` */
    FRAME_TABLES,  /* elements are structs of `table` at `base`, one after the other */
    FRAME_NAMED,   /* members are such structs, their keys become NAME */
    FRAME_MAP,     /* members go to `map` */
    FRAME_FREE,    /* everything goes to `json` until its end */
    FRAME_SKIP,    /* everything is dropped until its end */
};

struct frame {
    enum frame_kind kind;
    const struct option *row;         /* that opened it; NULL for the document */
    const struct option_table *table; /* TABLE, TABLES, NAMED */
    char *base;                       /* TABLE, TABLES, NAMED */
    struct str_list *list;            /* STRINGS */
    struct str_pairs *map;            /* MAP */
    size_t filled;                    /* elements so far */
    size_t nested;         /* FREE, SKIP: open tables and arrays inside, itself included */
    uint64_t seen;         /* TABLE: bit per row that was given */
    size_t path;           /* length of the path to it */
    uint32_t line, column; /* where it was opened */
};

struct state {
    const struct reader *conf;
    struct frame stack[FRAMES_MAX];
    size_t depth;
    char path_memory[PATH_MAX_BYTES];
    struct buf path; /* of the value at hand */
    char problem_memory[PROBLEM_BYTES];
    struct buf problem;
    struct buf json; /* FREE */
    struct jsonw writer;
    size_t mistakes;
};

static bool opens(const struct toml_event *e)
{
    return e->kind == TOML_TABLE || e->kind == TOML_ARRAY;
}

static bool closes(const struct toml_event *e)
{
    return e->kind == TOML_TABLE_END || e->kind == TOML_ARRAY_END;
}

static struct frame *top(struct state *s) { return &s->stack[s->depth - 1]; }

static struct frame *push(struct state *s, enum frame_kind kind, const struct option *row,
                          const struct toml_event *e)
{
    struct frame *f = &s->stack[s->depth];

    CHECK(s->depth < FRAMES_MAX);
    s->depth++;
    *f = (struct frame){
        .kind = kind, .row = row, .path = s->path.n, .line = e->line, .column = e->column};
    f->nested = 1;
    return f;
}

/* --- mistakes --- */

/* Of the value at hand; the sentence is in s->problem, which is emptied. */
static void note(struct state *s, struct conf_errors *to, uint32_t line, uint32_t column,
                 const char *hint)
{
    struct conf_error error = {
        .source = s->conf->source,
        .line = line,
        .column = column,
        .key = buf_str(&s->path),
        .problem = buf_str(&s->problem),
        .hint = str_of(hint),
    };

    error_add(to, &error);
    buf_clear(&s->problem);
}

static void mistake_at(struct state *s, uint32_t line, uint32_t column, const char *hint)
{
    note(s, s->conf->errors, line, column, hint);
    s->mistakes++;
}

static void mistake(struct state *s, const struct toml_event *e)
{
    mistake_at(s, e->line, e->column, NULL);
    if (opens(e))
        push(s, FRAME_SKIP, NULL, e);
}

static const char *kind_text(enum toml_kind kind)
{
    static const char *const texts[] = {
        [TOML_TABLE] = "a table",    [TOML_ARRAY] = "a list",      [TOML_STRING] = "a string",
        [TOML_INTEGER] = "a number", [TOML_FLOAT] = "a float",     [TOML_BOOLEAN] = "a boolean",
        [TOML_TIME] = "a date",      [TOML_TABLE_END] = "nothing", [TOML_ARRAY_END] = "nothing",
    };

    return texts[kind];
}

static const char *wanted_text(const struct option *o)
{
    static const char *const texts[] = {
        [OPTION_BOOL] = "true or false",
        [OPTION_U32] = "an integer",
        [OPTION_U64] = "an integer",
        [OPTION_F64] = "a number",
        [OPTION_STR] = "a string",
        [OPTION_NAME] = "a string",
        [OPTION_WORD] = "a string",
        [OPTION_LIST] = "a list of strings",
        [OPTION_COMMAS] = "a list of strings",
        [OPTION_REST] = "a list of strings",
        [OPTION_MAP] = "a table of strings",
        [OPTION_FREE] = "a table",
        [OPTION_SUB] = "a table",
        [OPTION_TABLES] = "a list of tables",
        [OPTION_NAMED] = "a table of tables",
    };

    return texts[o->type];
}

/* Shows what should have been written instead of a string: its words as a list. */
static void show_list(struct state *s, const struct option *o, struct str text)
{
    struct str rest = text;
    const char *sep = "";

    buf_printf(&s->problem, ": write %s = [", o->key);
    while (rest.n && s->problem.n < PROBLEM_BYTES / 2) {
        struct str word = str_cut(&rest, ' ');

        if (word.n == 0)
            continue;
        buf_text(&s->problem, sep);
        option_print_str(str_head(word, 100), &s->problem);
        sep = ", ";
    }
    buf_text(&s->problem, rest.n ? ", ...]" : "]");
}

static void wrong_type(struct state *s, const struct option *o, const struct toml_event *e)
{
    buf_printf(&s->problem, "must be %s, not %s", wanted_text(o), kind_text(e->kind));
    if (o->type == OPTION_LIST && e->kind == TOML_STRING)
        show_list(s, o, e->text);
    else if (o->type == OPTION_TABLES && e->kind == TOML_TABLE)
        buf_printf(&s->problem, ": write [[%.*s]]", STR_ARGS(buf_str(&s->path)));
    else if ((o->type == OPTION_SUB || o->type == OPTION_NAMED) && e->kind == TOML_ARRAY)
        buf_printf(&s->problem, ": write [%.*s]", STR_ARGS(buf_str(&s->path)));
    mistake(s, e);
}

/* A key of another table, when it is exactly that: "limits.connect_ms". */
static bool find_elsewhere(const struct option_table *root, struct str key, struct buf *path)
{
    for (size_t i = 0; i < root->n; i++) {
        const struct option *o = &root->rows[i];

        if (o->table && option_find(o->table, key)) {
            buf_printf(path, o->type == OPTION_SUB ? "%s.%.*s" : "[[%s]] %.*s", o->key,
                       STR_ARGS(key));
            return true;
        }
    }
    return false;
}

static void unknown_key(struct state *s, const struct option_table *t, const struct toml_event *e)
{
    char memory[PATH_MAX_BYTES];
    struct buf elsewhere = buf_on(memory, sizeof memory);
    const char *hint = option_nearest(t, e->key);

    if (!hint && s->depth == 1 && find_elsewhere(t, e->key, &elsewhere))
        hint = buf_cstr(&elsewhere);
    buf_text(&s->problem, "unknown key");
    if (s->conf->unknown)
        note(s, s->conf->unknown, e->line, e->column, hint);
    else
        mistake_at(s, e->line, e->column, hint);
    if (opens(e))
        push(s, FRAME_SKIP, NULL, e);
}

static void was_set(struct state *s, const struct toml_event *e)
{
    if (s->conf->on_set)
        s->conf->on_set(s->conf->ctx, buf_str(&s->path), e->line, e->column);
}

/* --- values of rows --- */

static void set_scalar(struct state *s, const struct option *o, char *base,
                       const struct toml_event *e)
{
    bool number = o->type == OPTION_U32 || o->type == OPTION_U64 || o->type == OPTION_F64;
    int r = 0;

    if (number && e->kind == TOML_INTEGER)
        r = option_set_integer(o, base, e->integer, &s->problem);
    else if (o->type == OPTION_F64 && e->kind == TOML_FLOAT)
        r = option_set_double(o, base, e->number, &s->problem);
    else if (o->type == OPTION_BOOL && e->kind == TOML_BOOLEAN)
        *(bool *)option_member(o, base) = e->boolean;
    else if ((o->type == OPTION_STR || o->type == OPTION_WORD) && e->kind == TOML_STRING)
        r = option_set_str(o, base, s->conf->arena, e->text, &s->problem);
    else {
        wrong_type(s, o, e);
        return;
    }
    if (r < 0)
        mistake(s, e);
    else
        was_set(s, e);
}

/* True when as many entries as `e` announces may follow. */
static bool count_fits(struct state *s, const struct option *o, const struct toml_event *e)
{
    if (option_check_count(o, e->count, &s->problem) == 0)
        return true;
    mistake(s, e);
    return false;
}

static void open_strings(struct state *s, const struct option *o, char *base,
                         const struct toml_event *e)
{
    struct frame *f = push(s, FRAME_STRINGS, o, e);

    f->list = option_member(o, base);
    f->list->n = 0;
    f->list->at = arena_alloc(s->conf->arena, e->count * sizeof *f->list->at);
    was_set(s, e);
}

static void open_map(struct state *s, const struct option *o, char *base,
                     const struct toml_event *e)
{
    struct frame *f = push(s, FRAME_MAP, o, e);

    f->map = option_member(o, base);
    f->map->n = 0;
    f->map->at = arena_alloc(s->conf->arena, e->count * sizeof *f->map->at);
    was_set(s, e);
}

/* For [[key]] and [key."name"]: every t_list has the same shape. */
struct any_list {
    void *at;
    size_t n;
};

static void open_tables(struct state *s, enum frame_kind kind, const struct option *o, char *base,
                        const struct toml_event *e)
{
    struct frame *f = push(s, kind, o, e);
    struct any_list list = {.n = e->count};

    list.at = arena_alloc(s->conf->arena, e->count * o->table->bytes);
    for (size_t i = 0; i < e->count; i++)
        option_defaults(o->table, (char *)list.at + i * o->table->bytes, s->conf->arena);
    memcpy(option_member(o, base), &list, sizeof list);
    f->table = o->table;
    f->base = list.at;
}

static void open_table(struct state *s, const struct option *row, const struct option_table *t,
                       char *base, const struct toml_event *e)
{
    struct frame *f = push(s, FRAME_TABLE, row, e);

    f->table = t;
    f->base = base;
}

static void open_free(struct state *s, const struct option *o, char *base,
                      const struct toml_event *e)
{
    struct frame *f = push(s, FRAME_FREE, o, e);

    f->base = base;
    s->json = buf_make(JSON_MAX_BYTES);
    s->writer = jsonw_make(&s->json);
    jsonw_begin_object(&s->writer);
    was_set(s, e);
}

static void set_row(struct state *s, const struct option *o, char *base, const struct toml_event *e)
{
    bool table = e->kind == TOML_TABLE, array = e->kind == TOML_ARRAY;

    if (option_is_scalar(o)) {
        set_scalar(s, o, base, e);
    } else if ((o->type == OPTION_LIST || o->type == OPTION_COMMAS) && array) {
        if (count_fits(s, o, e))
            open_strings(s, o, base, e);
    } else if (o->type == OPTION_MAP && table) {
        if (count_fits(s, o, e))
            open_map(s, o, base, e);
    } else if (o->type == OPTION_TABLES && array) {
        if (count_fits(s, o, e))
            open_tables(s, FRAME_TABLES, o, base, e);
    } else if (o->type == OPTION_NAMED && table) {
        if (count_fits(s, o, e))
            open_tables(s, FRAME_NAMED, o, base, e);
    } else if (o->type == OPTION_SUB && table) {
        open_table(s, o, o->table, option_member(o, base), e);
    } else if (o->type == OPTION_FREE && table) {
        open_free(s, o, base, e);
    } else {
        wrong_type(s, o, e);
    }
}

/* --- frames --- */

static void close_table(struct state *s, const struct frame *f)
{
    for (size_t i = 0; i < f->table->n; i++) {
        const struct option *o = &f->table->rows[i];

        if (o->type == OPTION_NAME || !option_is_required(o) || (f->seen >> i & 1))
            continue;
        buf_printf(&s->problem, "`%s` is missing", o->key);
        mistake_at(s, f->line, f->column, NULL);
    }
}

static void in_table(struct state *s, struct frame *f, const struct toml_event *e)
{
    const struct option *o = option_find(f->table, e->key);

    buf_text(&s->path, s->path.n ? "." : "");
    if (!o) {
        option_print_key(e->key, &s->path);
        unknown_key(s, f->table, e);
        return;
    }
    buf_text(&s->path, o->key);
    f->seen |= UINT64_C(1) << (o - f->table->rows);
    set_row(s, o, f->base, e);
}

static bool good_string(struct state *s, const struct toml_event *e)
{
    if (e->kind != TOML_STRING)
        buf_printf(&s->problem, "must be a string, not %s", kind_text(e->kind));
    else if (str_find(e->text, '\0') < e->text.n)
        buf_text(&s->problem, "must not contain a NUL character");
    else
        return true;
    mistake(s, e);
    return false;
}

static void in_strings(struct state *s, struct frame *f, const struct toml_event *e)
{
    buf_printf(&s->path, "[%zu]", f->filled++);
    if (good_string(s, e))
        f->list->at[f->list->n++] = str_span(arena_cstr(s->conf->arena, e->text), e->text.n);
}

static void in_map(struct state *s, struct frame *f, const struct toml_event *e)
{
    buf_char(&s->path, '.');
    option_print_key(e->key, &s->path);
    if (e->key.n == 0 || str_find(e->key, '\0') < e->key.n) {
        buf_text(&s->problem, "must not be an empty key or contain a NUL character");
        mistake(s, e);
    } else if (good_string(s, e)) {
        f->map->at[f->map->n++] = (struct str_pair){
            .key = str_span(arena_cstr(s->conf->arena, e->key), e->key.n),
            .value = str_span(arena_cstr(s->conf->arena, e->text), e->text.n),
        };
    }
}

static void in_tables(struct state *s, struct frame *f, const struct toml_event *e)
{
    buf_printf(&s->path, "[%zu]", f->filled);
    if (e->kind != TOML_TABLE) {
        buf_printf(&s->problem, "must be a table, not %s", kind_text(e->kind));
        mistake(s, e);
    } else {
        open_table(s, f->row, f->table, f->base + f->filled * f->table->bytes, e);
    }
    f->filled++;
}

static void set_name(struct state *s, const struct option_table *t, char *base,
                     const struct toml_event *e)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].type == OPTION_NAME &&
            option_set_str(&t->rows[i], base, s->conf->arena, e->key, &s->problem) < 0)
            mistake_at(s, e->line, e->column, NULL);
}

static void in_named(struct state *s, struct frame *f, const struct toml_event *e)
{
    char *base = f->base + f->filled++ * f->table->bytes;

    buf_char(&s->path, '.');
    option_print_str(e->key, &s->path);
    if (e->kind != TOML_TABLE) {
        buf_printf(&s->problem, "must be a table, not %s", kind_text(e->kind));
        mistake(s, e);
        return;
    }
    set_name(s, f->table, base, e);
    open_table(s, f->row, f->table, base, e);
}

static void free_value(struct state *s, struct frame *f, const struct toml_event *e)
{
    /* a float that is no number drops its key; in a list null keeps the places of the others */
    if (e->kind == TOML_FLOAT && e->keyed && !(e->number - e->number == 0))
        return;
    if (e->keyed)
        jsonw_key_str(&s->writer, e->key);
    switch (e->kind) {
    case TOML_TABLE:
        jsonw_begin_object(&s->writer);
        f->nested++;
        return;
    case TOML_ARRAY:
        jsonw_begin_array(&s->writer);
        f->nested++;
        return;
    case TOML_TABLE_END:
        jsonw_end_object(&s->writer);
        f->nested--;
        return;
    case TOML_ARRAY_END:
        jsonw_end_array(&s->writer);
        f->nested--;
        return;
    case TOML_STRING:
    case TOML_TIME:
        jsonw_str(&s->writer, e->text);
        return;
    case TOML_INTEGER:
        jsonw_i64(&s->writer, e->integer);
        return;
    case TOML_FLOAT:
        jsonw_double(&s->writer, e->number);
        return;
    case TOML_BOOLEAN:
        jsonw_bool(&s->writer, e->boolean);
        return;
    }
}

/* Of a free table that will not be used; what is open in it is skipped. */
static void abandon_free(struct state *s, struct frame *f, const char *why,
                         const struct toml_event *e)
{
    buf_text(&s->problem, why);
    mistake_at(s, e->line ? e->line : f->line, e->column, NULL);
    buf_fini(&s->json);
    f->kind = FRAME_SKIP;
    f->nested += opens(e);
}

static void in_free(struct state *s, struct frame *f, const struct toml_event *e)
{
    if (opens(e) && f->nested == FREE_NESTED_MAX) {
        abandon_free(s, f, "is nested too deep", e);
        return;
    }
    free_value(s, f, e);
    if (f->nested > 0)
        return;
    if (buf_status(&s->json) < 0 || (int64_t)s->json.n > f->row->most) {
        buf_printf(&s->problem, "is too large: at most %lld bytes as JSON",
                   (long long)f->row->most);
        mistake_at(s, f->line, f->column, NULL);
    } else {
        struct str text = buf_str(&s->json);

        *(struct str *)option_member(f->row, f->base) =
            str_span(arena_cstr(s->conf->arena, text), text.n);
    }
    buf_fini(&s->json);
    s->depth--;
}

static void in_skip(struct state *s, struct frame *f, const struct toml_event *e)
{
    f->nested += opens(e);
    f->nested -= closes(e);
    if (f->nested == 0)
        s->depth--;
}

static int on_event(void *ctx, const struct toml_event *e)
{
    struct state *s = ctx;
    struct frame *f;

    if (s->depth == 0) { /* the document opens */
        open_table(s, NULL, s->conf->table, s->conf->base, e);
        return 0;
    }
    f = top(s);
    s->path.n = f->path;
    s->path.full = false;
    if (f->kind == FRAME_SKIP) {
        in_skip(s, f, e);
    } else if (f->kind == FRAME_FREE) {
        in_free(s, f, e);
    } else if (closes(e)) {
        if (f->kind == FRAME_TABLE)
            close_table(s, f);
        s->depth--;
    } else if (f->kind == FRAME_TABLE) {
        in_table(s, f, e);
    } else if (f->kind == FRAME_STRINGS) {
        in_strings(s, f, e);
    } else if (f->kind == FRAME_TABLES) {
        in_tables(s, f, e);
    } else if (f->kind == FRAME_NAMED) {
        in_named(s, f, e);
    } else {
        in_map(s, f, e);
    }
    return 0;
}

int reader_run(const struct reader *r, struct str toml)
{
    struct state s = {.conf = r};
    struct toml_error error;
    int code;

    s.path = buf_on(s.path_memory, sizeof s.path_memory);
    s.problem = buf_on(s.problem_memory, sizeof s.problem_memory);
    code = toml_parse(toml, on_event, &s, &error);
    if (code < 0) {
        struct conf_error e = {
            .source = r->source,
            .line = error.line,
            .column = error.column,
            .problem = str_of(error.text),
        };

        error_add(r->errors, &e);
        return -E_CONF;
    }
    CHECK(s.depth == 0);
    return s.mistakes ? -E_CONF : 0;
}
