/* SPDX-License-Identifier: Apache-2.0
 *
 * option.c - what rows can do without a document: defaults, setting from text with the bounds
 * checked, printing, names of flags and variables. The only recursion follows TABLE rows, which are
 * static and cannot form a circle.
 */
#include "conf/option.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/jsonw.h"

enum { PATH_BYTES = 256 };

bool option_is_scalar(const struct option *o)
{
    switch (o->type) {
    case OPTION_BOOL:
    case OPTION_U32:
    case OPTION_U64:
    case OPTION_F64:
    case OPTION_STR:
    case OPTION_WORD:
        return true;
    case OPTION_NAME:
    case OPTION_LIST:
    case OPTION_COMMAS:
    case OPTION_REST:
    case OPTION_MAP:
    case OPTION_FREE:
    case OPTION_SUB:
    case OPTION_TABLES:
    case OPTION_NAMED:
        break;
    }
    return false;
}

bool option_is_required(const struct option *o) { return str_eq(str_of(o->dflt), STR("REQUIRED")); }

static bool is_unset(const struct option *o)
{
    return str_eq(str_of(o->dflt), STR("UNSET")) || option_is_required(o);
}

const struct option *option_find(const struct option_table *t, struct str key)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].type != OPTION_NAME && str_eq(str_of(t->rows[i].key), key))
            return &t->rows[i];
    return NULL;
}

bool option_nearer(struct str wrong, struct str candidate, unsigned *best)
{
    unsigned distance = str_distance(wrong, candidate);
    size_t longer = max_size(wrong.n, candidate.n);

    if (distance >= *best || distance > (longer + 2) / 4 + 1 || distance >= longer)
        return false;
    *best = distance;
    return true;
}

const char *option_nearest(const struct option_table *t, struct str key)
{
    const char *nearest = NULL;
    unsigned best = UINT_MAX;

    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].type != OPTION_NAME && option_nearer(key, str_of(t->rows[i].key), &best))
            nearest = t->rows[i].key;
    return nearest;
}

/* --- setting --- */

static int out_of_bounds(const struct option *o, bool above, struct str shown, struct buf *problem)
{
    buf_printf(problem, "%.*s is too %s: at %s %lld", STR_ARGS(shown), above ? "large" : "small",
               above ? "most" : "least", (long long)(above ? o->most : o->least));
    return -E_CONF;
}

int option_set_integer(const struct option *o, void *base, int64_t v, struct buf *problem)
{
    char digits[24];
    struct buf shown = buf_on(digits, sizeof digits);

    CHECK(o->type == OPTION_U32 || o->type == OPTION_U64 || o->type == OPTION_F64);
    if (v < o->least || v > o->most) {
        buf_i64(&shown, v);
        return out_of_bounds(o, v > o->most, buf_str(&shown), problem);
    }
    if (o->type == OPTION_U32)
        *(uint32_t *)option_member(o, base) = (uint32_t)v;
    else if (o->type == OPTION_U64)
        *(uint64_t *)option_member(o, base) = (uint64_t)v;
    else
        *(double *)option_member(o, base) = (double)v;
    return 0;
}

int option_set_double(const struct option *o, void *base, double v, struct buf *problem)
{
    char digits[40];
    struct buf shown = buf_on(digits, sizeof digits);

    CHECK(o->type == OPTION_F64);
    if (!isfinite(v)) {
        buf_text(problem, "must be a finite number");
        return -E_CONF;
    }
    if (v < (double)o->least || v > (double)o->most) {
        jsonw_format_double(&shown, v);
        return out_of_bounds(o, v > (double)o->most, buf_str(&shown), problem);
    }
    *(double *)option_member(o, base) = v;
    return 0;
}

int option_check_str(const struct option *o, struct str v, struct buf *problem)
{
    if (v.n == 0 && o->least > 0)
        buf_text(problem, "must not be empty");
    else if ((int64_t)v.n < o->least)
        buf_printf(problem, "is too short: at least %lld bytes", (long long)o->least);
    else if ((int64_t)v.n > o->most)
        buf_printf(problem, "is too long: at most %lld bytes", (long long)o->most);
    else if (str_find(v, '\0') < v.n)
        buf_text(problem, "must not contain a NUL character");
    else if (!str_utf8_valid(v))
        buf_text(problem, "is not UTF-8");
    else
        return 0;
    return -E_CONF;
}

int option_check_count(const struct option *o, size_t n, struct buf *problem)
{
    if ((int64_t)n < o->least && n == 0)
        buf_text(problem, "must not be empty");
    else if ((int64_t)n < o->least)
        buf_printf(problem, "has %zu entries: at least %lld", n, (long long)o->least);
    else if ((int64_t)n > o->most)
        buf_printf(problem, "has %zu entries: at most %lld", n, (long long)o->most);
    else
        return 0;
    return -E_CONF;
}

static int set_word(const struct option *o, void *base, struct str v, struct buf *problem)
{
    struct str nearest = STR_NONE;
    unsigned best = UINT_MAX;

    for (size_t i = 1; i < o->words_n; i++) {
        if (str_eq(str_of(o->words[i]), v)) {
            unsigned word = (unsigned)i;

            memcpy(option_member(o, base), &word, sizeof word);
            return 0;
        }
        if (option_nearer(v, str_of(o->words[i]), &best))
            nearest = str_of(o->words[i]);
    }
    buf_text(problem, "must be one of ");
    for (size_t i = 1; i < o->words_n; i++)
        buf_printf(problem, "%s\"%s\"", i == 1 ? "" : ", ", o->words[i]);
    if (nearest.n)
        buf_printf(problem, " (did you mean \"%s\"?)", nearest.p);
    return -E_CONF;
}

int option_set_str(const struct option *o, void *base, struct arena *a, struct str v,
                   struct buf *problem)
{
    int r;

    if (o->type == OPTION_WORD)
        return set_word(o, base, v, problem);
    CHECK(o->type == OPTION_STR || o->type == OPTION_NAME);
    r = option_check_str(o, v, problem);
    if (r < 0)
        return r;
    *(struct str *)option_member(o, base) = str_span(arena_cstr(a, v), v.n);
    return 0;
}

static int set_bool_text(const struct option *o, void *base, struct str text, struct buf *problem)
{
    bool yes = str_eq(text, STR("true")) || str_eq(text, STR("1"));

    if (!yes && !str_eq(text, STR("false")) && !str_eq(text, STR("0"))) {
        buf_text(problem, "must be true or false");
        return -E_CONF;
    }
    *(bool *)option_member(o, base) = yes;
    return 0;
}

static int set_number_text(const struct option *o, void *base, struct str text, struct buf *problem)
{
    bool minus = text.n && text.p[0] == '-';
    uint64_t v;

    if (!str_u64(str_from(text, minus), &v)) {
        buf_printf(problem, "\"%.*s\" is not an integer", STR_ARGS(str_head(text, 64)));
        return -E_CONF;
    }
    if (v > INT64_MAX)
        return out_of_bounds(o, !minus, text, problem);
    return option_set_integer(o, base, minus ? -(int64_t)v : (int64_t)v, problem);
}

static int set_double_text(const struct option *o, void *base, struct str text, struct buf *problem)
{
    char digits[64] = "";
    char *end = digits;
    double v = 0;

    if (text.n < sizeof digits && text.n && text.p[0] != ' ') {
        memcpy(digits, text.p, text.n);
        digits[text.n] = '\0';
        v = strtod(digits, &end); /* our own command line; the locale is never set */
    }
    if (end == digits || *end) {
        buf_printf(problem, "\"%.*s\" is not a number", STR_ARGS(str_head(text, 64)));
        return -E_CONF;
    }
    return option_set_double(o, base, v, problem);
}

int option_add_text(const struct option *o, void *base, struct arena *a, struct str text,
                    struct buf *problem)
{
    struct str_list *list = option_member(o, base);
    struct str *grown;

    if (text.n == 0 || str_find(text, '\0') < text.n || !str_utf8_valid(text)) {
        buf_text(problem, text.n ? "is not UTF-8 text" : "must not be empty");
        return -E_CONF;
    }
    grown = arena_alloc(a, (list->n + 1) * sizeof *grown);
    if (list->n)
        memcpy(grown, list->at, list->n * sizeof *grown);
    grown[list->n] = str_span(arena_cstr(a, text), text.n);
    *list = (struct str_list){.at = grown, .n = list->n + 1};
    return 0;
}

/* `sep` 0: the text is the only item. */
static int set_items(const struct option *o, void *base, struct arena *a, struct str text, char sep,
                     struct buf *problem)
{
    struct str_list *list = option_member(o, base);
    struct str rest = text;
    int r = 0;

    *list = (struct str_list){.n = 0};
    do {
        struct str item = sep ? str_trim(str_cut(&rest, sep)) : text;

        r = option_add_text(o, base, a, item, problem);
        if (r == 0 && (int64_t)list->n > o->most)
            break;
    } while (r == 0 && sep && rest.p);
    return r < 0 ? r : option_check_count(o, list->n, problem);
}

int option_set_text(const struct option *o, void *base, struct arena *a, struct str text,
                    struct buf *problem)
{
    switch (o->type) {
    case OPTION_BOOL:
        return set_bool_text(o, base, text, problem);
    case OPTION_U32:
    case OPTION_U64:
        return set_number_text(o, base, text, problem);
    case OPTION_F64:
        return set_double_text(o, base, text, problem);
    case OPTION_STR:
    case OPTION_WORD:
        return option_set_str(o, base, a, text, problem);
    case OPTION_LIST:
        return set_items(o, base, a, text, 0, problem);
    case OPTION_COMMAS:
        return set_items(o, base, a, text, ',', problem);
    case OPTION_NAME:
    case OPTION_REST:
    case OPTION_MAP:
    case OPTION_FREE:
    case OPTION_SUB:
    case OPTION_TABLES:
    case OPTION_NAMED:
        break;
    }
    CHECK(false && "a type that no text can hold");
    return -E_CONF;
}

int option_check_text(const struct option *o, struct str text, struct buf *problem)
{
    const struct option *row = o->by ? option_find(o->table, str_of(o->by)) : o;
    _Alignas(16) char scratch[sizeof(struct str_list)];
    struct option alone;
    struct arena a;
    int r;

    CHECK(row != NULL);
    alone = *row;
    alone.offset = 0;
    arena_init(&a, NULL);
    r = option_set_text(&alone, scratch, &a, text, problem);
    arena_clear(&a);
    return r;
}

/* --- defaults --- */

static void set_unset(const struct option *o, void *base)
{
    void *member = option_member(o, base);

    if (o->type == OPTION_U32)
        *(uint32_t *)member = OPTION_UNSET_U32;
    else if (o->type == OPTION_U64)
        *(uint64_t *)member = OPTION_UNSET_U64;
    else if (o->type == OPTION_F64)
        *(double *)member = NAN;
    else if (o->type == OPTION_FREE)
        *(struct str *)member = STR("{}");
}

void option_defaults(const struct option_table *t, void *base, struct arena *a)
{
    char memory[256];
    struct buf problem = buf_on(memory, sizeof memory);

    CHECK(t->n <= 64);
    memset(base, 0, t->bytes);
    for (size_t i = 0; i < t->n; i++) {
        const struct option *o = &t->rows[i];
        struct str dflt = str_of(o->dflt);

        if (o->type == OPTION_SUB) {
            option_defaults(o->table, option_member(o, base), a);
        } else if (is_unset(o)) {
            set_unset(o, base);
        } else {
            if (o->type == OPTION_STR) { /* without its quotes */
                CHECK(dflt.n >= 2 && dflt.p[0] == '"');
                dflt = str_span(dflt.p + 1, dflt.n - 2);
            }
            CHECK(option_set_text(o, base, a, dflt, &problem) == 0);
        }
    }
}

/* --- printing --- */

void option_print_str(struct str s, struct buf *out)
{
    buf_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '"' || c == '\\')
            buf_char(out, '\\');
        if (c == '\n')
            buf_text(out, "\\n");
        else if (c == '\t')
            buf_text(out, "\\t");
        else if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\u%04X", c);
        else
            buf_char(out, (char)c);
    }
    buf_char(out, '"');
}

static bool is_bare(struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return key.n > 0;
}

void option_print_key(struct str key, struct buf *out)
{
    if (is_bare(key))
        buf_add(out, key);
    else
        option_print_str(key, out);
}

static void print_list(const struct str_list *list, struct buf *out)
{
    buf_char(out, '[');
    for (size_t i = 0; i < list->n; i++) {
        buf_text(out, i ? ", " : "");
        option_print_str(list->at[i], out);
    }
    buf_char(out, ']');
}

/* Values may be secrets (HF_TOKEN); the names say what was set. */
static void print_map(const struct str_pairs *map, struct buf *out)
{
    buf_char(out, '{');
    for (size_t i = 0; i < map->n; i++) {
        buf_text(out, i ? ", " : " ");
        option_print_key(map->at[i].key, out);
        buf_text(out, " = \"***\"");
    }
    buf_text(out, map->n ? " }" : "}");
}

static void print_number(uint64_t v, bool unset, struct buf *out)
{
    if (unset)
        buf_text(out, "unset");
    else
        buf_u64(out, v);
}

void option_print(const struct option *o, const void *base, struct buf *out)
{
    const void *member = option_member_const(o, base);
    unsigned word;

    switch (o->type) {
    case OPTION_BOOL:
        buf_text(out, *(const bool *)member ? "true" : "false");
        return;
    case OPTION_U32:
        print_number(*(const uint32_t *)member, *(const uint32_t *)member == OPTION_UNSET_U32, out);
        return;
    case OPTION_U64:
        print_number(*(const uint64_t *)member, *(const uint64_t *)member == OPTION_UNSET_U64, out);
        return;
    case OPTION_F64:
        if (isnan(*(const double *)member))
            buf_text(out, "unset");
        else
            jsonw_format_double(out, *(const double *)member);
        return;
    case OPTION_STR:
    case OPTION_NAME:
        if (!((const struct str *)member)->p)
            buf_text(out, "unset");
        else
            option_print_str(*(const struct str *)member, out);
        return;
    case OPTION_WORD:
        memcpy(&word, member, sizeof word);
        if (word == 0)
            buf_text(out, "unset");
        else
            option_print_str(str_of(o->words[word]), out);
        return;
    case OPTION_LIST:
    case OPTION_COMMAS:
    case OPTION_REST:
        print_list(member, out);
        return;
    case OPTION_MAP:
        print_map(member, out);
        return;
    case OPTION_FREE:
        buf_add(out, *(const struct str *)member);
        return;
    case OPTION_SUB:
    case OPTION_TABLES:
    case OPTION_NAMED:
        break;
    }
    CHECK(false && "tables are not one value");
}

const char *option_type_text(const struct option *o)
{
    switch (o->type) {
    case OPTION_BOOL:
        return "boolean";
    case OPTION_U32:
    case OPTION_U64:
        return "integer";
    case OPTION_F64:
        return "number";
    case OPTION_STR:
    case OPTION_NAME:
    case OPTION_WORD:
        return "string";
    case OPTION_LIST:
    case OPTION_COMMAS:
    case OPTION_REST:
        return "list of strings";
    case OPTION_MAP:
        return "table of strings";
    case OPTION_FREE:
    case OPTION_SUB:
        return "table";
    case OPTION_TABLES:
        return "list of tables";
    case OPTION_NAMED:
        return "table of tables";
    }
    return "";
}

/* --- names and paths --- */

void option_flag_name(struct str path, struct buf *out)
{
    for (size_t i = 0; i < path.n; i++)
        buf_char(out, path.p[i] == '.' || path.p[i] == '_' ? '-' : path.p[i]);
}

void option_env_name(struct str path, struct buf *out)
{
    buf_text(out, "INFERD_");
    for (size_t i = 0; i < path.n; i++) {
        char c = path.p[i];

        buf_char(out, c == '.' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c);
    }
}

static int each_flag(const struct option_table *t, struct buf *path, option_visit_fn *fn, void *ctx)
{
    size_t before = path->n;
    int r = 0;

    for (size_t i = 0; i < t->n && r == 0; i++) {
        const struct option *o = &t->rows[i];

        buf_text(path, before ? "." : "");
        buf_text(path, o->key);
        CHECK(!path->full);
        if (o->type == OPTION_SUB)
            r = each_flag(o->table, path, fn, ctx);
        else if (option_is_scalar(o) || o->by)
            r = fn(ctx, buf_str(path), o);
        path->n = before;
    }
    return r;
}

int option_each_flag(const struct option_table *t, option_visit_fn *fn, void *ctx)
{
    char memory[PATH_BYTES];
    struct buf path = buf_on(memory, sizeof memory);

    return each_flag(t, &path, fn, ctx);
}

bool option_resolve(const struct option_table *t, void *base, struct str path,
                    const struct option **ret_row, void **ret_base)
{
    const struct option *o;

    for (;;) {
        o = option_find(t, str_cut(&path, '.'));
        if (!o)
            return false;
        if (path.p == NULL)
            break;
        if (o->type != OPTION_SUB)
            return false;
        base = option_member(o, base);
        t = o->table;
    }
    if (!option_is_scalar(o) && !o->by)
        return false;
    *ret_row = o;
    *ret_base = base;
    return true;
}

struct restarts {
    const struct option_table *table;
    void *was, *is; /* looked at only */
    struct buf *out;
};

static int on_restart_row(void *ctx, struct str path, const struct option *o)
{
    struct restarts *x = ctx;
    struct buf was = buf_make(1 << 16), is = buf_make(1 << 16);
    const struct option *row;
    void *was_base, *is_base;

    if (o->when != OPTION_RESTART || !option_is_scalar(o))
        return 0;
    CHECK(option_resolve(x->table, x->was, path, &row, &was_base));
    CHECK(option_resolve(x->table, x->is, path, &row, &is_base));
    option_print(row, was_base, &was);
    option_print(row, is_base, &is);
    if (!str_eq(buf_str(&was), buf_str(&is))) {
        buf_text(x->out, x->out->n ? ", " : "");
        buf_add(x->out, path);
    }
    buf_fini(&was);
    buf_fini(&is);
    return 0;
}

void option_restarts(const struct option_table *t, const void *was, const void *is, struct buf *out)
{
    struct restarts x = {
        .table = t, .was = (void *)(uintptr_t)was, .is = (void *)(uintptr_t)is, .out = out};

    (void)option_each_flag(t, on_restart_row, &x);
}
