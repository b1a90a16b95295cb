/* SPDX-License-Identifier: Apache-2.0
 *
 * flags.c - see flags.h.
 */
#include "conf/flags.h"

#include <limits.h>

#include "conf/bundle.h"
#include "conf/help.h"

enum { PROBLEM_BYTES = 1024, NAME_BYTES = 256 };

struct parse {
    const struct flags_input *in;
    struct arena *arena;
    void *own;
    struct bundle *overrides;
    int at;        /* the argument at hand */
    uint64_t seen; /* bit per row of the command's own table */
    bool words;    /* behind `--`: no more flags */
    char problem_memory[PROBLEM_BYTES];
    struct buf problem; /* the message, when something is wrong */
};

/* A flag that was looked for, and what was found. */
struct search {
    struct str name;          /* without dashes */
    const struct option *row; /* NULL for help and version */
    bool own;                 /* of the command's own table; otherwise a setting */
    char path[NAME_BYTES];    /* of a setting */
    char nearest[NAME_BYTES]; /* the flag that was probably meant, or "" */
    unsigned best;
};

static void keep(char *to, struct str s)
{
    struct buf b = buf_on(to, NAME_BYTES);

    buf_add(&b, s);
    CHECK(buf_cstr(&b) != NULL);
}

static int try_name(struct search *s, struct str path, const struct option *o, bool own)
{
    char memory[NAME_BYTES];
    struct buf name = buf_on(memory, sizeof memory);

    option_flag_name(path, &name);
    if (str_eq(buf_str(&name), s->name)) {
        s->row = o;
        s->own = own;
        keep(s->path, path);
        return 1;
    }
    if (option_nearer(s->name, buf_str(&name), &s->best))
        keep(s->nearest, buf_str(&name));
    return 0;
}

static int on_setting(void *ctx, struct str path, const struct option *o)
{
    return try_name(ctx, path, o, false);
}

static bool find_flag(const struct flags_input *in, struct search *s)
{
    const struct option_table *own = in->command->flags;

    s->best = UINT_MAX;
    for (size_t i = 0; own && i < own->n; i++)
        if (own->rows[i].type != OPTION_REST &&
            try_name(s, str_of(own->rows[i].key), &own->rows[i], true))
            return true;
    (void)try_name(s, STR("help"), NULL, true); /* for the hint only */
    (void)try_name(s, STR("version"), NULL, true);
    return in->settings && option_each_flag(in->settings, on_setting, s) != 0;
}

static const struct option *find_letter(const struct option_table *t, struct str letter)
{
    for (size_t i = 0; t && i < t->n; i++)
        if (t->rows[i].letter && str_eq(str_of(t->rows[i].letter), letter))
            return &t->rows[i];
    return NULL;
}

static const struct option *find_rest(const struct option_table *t)
{
    for (size_t i = 0; t && i < t->n; i++)
        if (t->rows[i].type == OPTION_REST)
            return &t->rows[i];
    return NULL;
}

/* --- setting --- */

static int set_own(struct parse *p, const struct option *o, struct str text)
{
    const struct option_table *own = p->in->command->flags;
    uint64_t bit;

    CHECK(own); /* `o` is one of its rows */
    bit = UINT64_C(1) << (o - own->rows);
    if (o->type == OPTION_LIST)
        return option_add_text(o, p->own, p->arena, text, &p->problem);
    if (p->seen & bit) {
        buf_text(&p->problem, "is given twice");
        return -E_CONF;
    }
    p->seen |= bit;
    return option_set_text(o, p->own, p->arena, text, &p->problem);
}

/* A setting is checked by its own row; the rules between settings come when all are known. */
static int set_setting(struct parse *p, const struct search *s, struct str text)
{
    struct str path = str_of(s->path);

    if (!s->row->by && bundle_find(p->overrides, BUNDLE_FLAG, &path)) {
        buf_text(&p->problem, "is given twice");
        return -E_CONF;
    }
    if (option_check_text(s->row, text, &p->problem) < 0)
        return -E_CONF;
    if (bundle_add(p->overrides, BUNDLE_FLAG, path, text) < 0) {
        buf_text(&p->problem, "is too long or given too often");
        return -E_CONF;
    }
    return 0;
}

/* The value of a flag that has none after `=`: for a boolean true, else the next argument. */
static int take_value(struct parse *p, const struct option *o, struct str *ret)
{
    struct str next;

    if (o->type == OPTION_BOOL) {
        *ret = STR("true");
        return 0;
    }
    if (p->at + 1 >= p->in->argc) {
        buf_text(&p->problem, "needs a value");
        return -E_CONF;
    }
    next = str_of(p->in->argv[p->at + 1]);
    if (!o->any && next.n > 1 && next.p[0] == '-') {
        buf_printf(&p->problem,
                   "needs a value; \"%.*s\" looks like a flag (write it with `=` if it is meant)",
                   STR_ARGS(str_head(next, 100)));
        return -E_CONF;
    }
    p->at++;
    *ret = next;
    return 0;
}

/* What p->problem holds is put behind the flag's name. */
static void name_problem(struct parse *p, struct str flag)
{
    char memory[PROBLEM_BYTES];
    struct buf said = buf_on(memory, sizeof memory);

    buf_add(&said, buf_str(&p->problem));
    buf_clear(&p->problem);
    buf_printf(&p->problem, "%.*s: %.*s", STR_ARGS(str_head(flag, 100)), STR_ARGS(buf_str(&said)));
}

static int set_flag(struct parse *p, struct search *s, struct str written, bool has_value,
                    struct str value)
{
    int r = 0;

    if (!has_value)
        r = take_value(p, s->row, &value);
    if (r == 0)
        r = s->own ? set_own(p, s->row, value) : set_setting(p, s, value);
    if (r < 0)
        name_problem(p, written);
    return r;
}

static int parse_long(struct parse *p, struct str arg)
{
    size_t equals = str_find(arg, '=');
    struct str written = str_head(arg, equals);
    struct search s = {.name = str_from(written, 2)};

    if (!find_flag(p->in, &s)) {
        buf_printf(&p->problem, "unknown flag %.*s", STR_ARGS(str_head(written, 100)));
        if (s.nearest[0])
            buf_printf(&p->problem, " (did you mean --%s?)", s.nearest);
        return -E_CONF;
    }
    return set_flag(p, &s, written, equals < arg.n,
                    equals < arg.n ? str_span(arg.p + equals + 1, arg.n - equals - 1) : STR_NONE);
}

static int parse_letter(struct parse *p, struct str arg)
{
    struct search s = {.own = true};

    s.row = find_letter(p->in->command->flags, str_from(arg, 1));
    if (!s.row) {
        buf_printf(&p->problem, "unknown flag %.*s", STR_ARGS(str_head(arg, 100)));
        return -E_CONF;
    }
    return set_flag(p, &s, arg, false, STR_NONE);
}

static int parse_word(struct parse *p, struct str arg)
{
    const struct option *o = find_rest(p->in->command->flags);

    if (!o) {
        buf_printf(&p->problem, "unexpected argument \"%.*s\"", STR_ARGS(str_head(arg, 100)));
        return -E_CONF;
    }
    if (option_add_text(o, p->own, p->arena, arg, &p->problem) < 0) {
        name_problem(p, str_of(o->key));
        return -E_CONF;
    }
    return 0;
}

/* The value of a variable; p NULL when it is unset or empty. */
static struct str find_variable(char *const *environment, struct str name)
{
    for (; *environment; environment++) {
        struct str value = str_of(*environment), key = str_cut(&value, '=');

        if (str_eq(key, name) && value.n > 0)
            return value;
    }
    return STR_NONE;
}

/* A list has commas between its items; a switch also takes 1 and 0. */
static int set_variable(struct parse *p, const struct option *o, struct str value)
{
    int r = 0;

    if (o->type == OPTION_BOOL && str_eq(value, STR("1")))
        value = STR("true");
    else if (o->type == OPTION_BOOL && str_eq(value, STR("0")))
        value = STR("false");
    if (o->type != OPTION_LIST)
        return set_own(p, o, value);
    while (value.p && r == 0)
        r = set_own(p, o, str_trim(str_cut(&value, ',')));
    return r;
}

static int take_environment(struct parse *p)
{
    const struct option_table *own = p->in->command->flags;
    char memory[NAME_BYTES];

    for (size_t i = 0; own && p->in->environment && i < own->n; i++) {
        const struct option *o = &own->rows[i];
        const struct str_list *items = option_member(o, p->own);
        bool given = o->type == OPTION_LIST ? items->n > 0 : (p->seen >> i & 1) != 0;
        struct buf name = buf_on(memory, sizeof memory);
        struct str value;

        option_env_name(str_of(o->key), &name);
        value = find_variable(p->in->environment, buf_str(&name));
        if (given || o->type == OPTION_REST || !value.p)
            continue;
        if (set_variable(p, o, value) < 0) {
            name_problem(p, buf_str(&name));
            return -E_CONF;
        }
    }
    return 0;
}

/* What only the whole command line can tell: what is required, how many there are. */
static int check_all(struct parse *p)
{
    const struct option_table *own = p->in->command->flags;
    char memory[NAME_BYTES];

    for (size_t i = 0; own && i < own->n; i++) {
        const struct option *o = &own->rows[i];
        bool list = o->type == OPTION_LIST || o->type == OPTION_REST;
        struct buf name = buf_on(memory, sizeof memory);

        buf_text(&name, o->type == OPTION_REST ? "" : "--");
        option_flag_name(str_of(o->key), &name);
        if (list) {
            const struct str_list *items = option_member(o, p->own);

            if (option_check_count(o, items->n, &p->problem) == 0)
                continue;
            buf_clear(&p->problem);
            if (o->type == OPTION_REST && p->in->command->words)
                buf_printf(&p->problem,
                           items->n ? "too many arguments; %s is taken" : "%s is missing",
                           p->in->command->words);
            else
                buf_printf(&p->problem, "%.*s: %s", STR_ARGS(buf_str(&name)),
                           items->n ? "is given too often" : "is missing");
            return -E_CONF;
        }
        if (option_is_required(o) && !(p->seen >> i & 1)) {
            buf_printf(&p->problem, "%.*s is missing", STR_ARGS(buf_str(&name)));
            return -E_CONF;
        }
    }
    return 0;
}

static enum flags_verdict parse_all(struct parse *p, struct buf *text)
{
    int r = 0;

    for (p->at = 1; p->at < p->in->argc && r == 0; p->at++) {
        struct str arg = str_of(p->in->argv[p->at]);

        if (p->words || arg.n < 2 || arg.p[0] != '-')
            r = parse_word(p, arg);
        else if (str_eq(arg, STR("--")))
            p->words = true;
        else if (str_eq(arg, STR("--help")) || str_eq(arg, STR("-h"))) {
            help_text(p->in->command, p->in->settings, text);
            return FLAGS_HELP;
        } else if (str_eq(arg, STR("--version"))) {
            buf_text(text, "inferd " INFERD_VERSION "\n");
            return FLAGS_VERSION;
        } else if (arg.p[1] == '-')
            r = parse_long(p, arg);
        else
            r = parse_letter(p, arg);
    }
    if (r == 0)
        r = take_environment(p);
    if (r == 0)
        r = check_all(p);
    return r < 0 ? FLAGS_WRONG : FLAGS_OK;
}

enum flags_verdict flags_parse(const struct flags_input *in, struct arena *arena, void *own,
                               struct bundle *overrides, struct buf *text)
{
    struct parse p = {.in = in, .arena = arena, .own = own, .overrides = overrides};
    enum flags_verdict verdict;

    CHECK(!in->settings || overrides);
    p.problem = buf_on(p.problem_memory, sizeof p.problem_memory);
    if (in->command->flags)
        option_defaults(in->command->flags, own, arena);
    verdict = parse_all(&p, text);
    if (verdict == FLAGS_WRONG) {
        buf_printf(text, "inferd %s: %.*s\n", in->command->name, STR_ARGS(buf_str(&p.problem)));
        help_usage(in->command, text);
        buf_printf(text, "try `inferd %s --help`\n", in->command->name);
    }
    return verdict;
}
