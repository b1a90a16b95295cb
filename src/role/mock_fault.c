/* SPDX-License-Identifier: Apache-2.0
 *
 * mock_fault.c - parses `--fault` and throws the dice. The model ends at the first '=', the
 * probability begins at the last '@' if a number stands behind it (URLs may hold an '@').
 */
#include "role/mock_fault.h"

enum fault_arg { ARG_NOTHING, ARG_NUMBER, ARG_TEXT };

#define AS_ROW(id, word_, arg_, least_, most_)                                                     \
    [MOCK_FAULT_##id] = {.word = word_, .arg = ARG_##arg_, .least = (least_), .most = (most_)},
static const struct {
    const char *word;
    enum fault_arg arg;
    uint64_t least, most;
} kinds[] = {MOCK_FAULT_KINDS(AS_ROW)};

static int find_kind(struct str word, enum mock_fault_kind *ret)
{
    for (size_t i = MOCK_FAULT_NONE + 1; i < ARRAY_LEN(kinds); i++) {
        if (str_eq(word, str_of(kinds[i].word))) {
            *ret = (enum mock_fault_kind)i;
            return 0;
        }
    }
    return -E_SYNTAX;
}

/* "0", "1", "0.25": digits with at most one dot, between 0 and 1. */
static bool parse_chance(struct str s, double *ret)
{
    double value = 0, scale = 0;

    if (s.n == 0 || s.n > 18 || s.p[0] == '.')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' && scale == 0) {
            scale = 1;
            continue;
        }
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        value = value * 10 + (s.p[i] - '0');
        scale *= 10;
    }
    if (scale > 0)
        value /= scale;
    if (value > 1)
        return false;
    *ret = value;
    return true;
}

/* Cuts "@P" off *rest when it is there. */
static double take_chance(struct str *rest)
{
    double p = 1;

    for (size_t i = rest->n; i-- > 0;) {
        if (rest->p[i] != '@')
            continue;
        if (parse_chance(str_from(*rest, i + 1), &p))
            rest->n = i;
        break;
    }
    return p;
}

static int parse_arg(struct str arg, bool has_arg, struct mock_fault *f, struct buf *problem)
{
    const char *word = kinds[f->kind].word;

    switch (kinds[f->kind].arg) {
    case ARG_NOTHING:
        if (!has_arg)
            return 0;
        buf_printf(problem, "%s takes no argument", word);
        return -E_SYNTAX;
    case ARG_TEXT:
        f->text = arg;
        if (arg.n > 0)
            return 0;
        buf_printf(problem, "%s needs an argument, as in %s:http://127.0.0.1:1/", word, word);
        return -E_SYNTAX;
    case ARG_NUMBER:
        if (str_u64(arg, &f->number) && f->number >= kinds[f->kind].least &&
            f->number <= kinds[f->kind].most)
            return 0;
        buf_printf(problem, "%s needs a number of %llu to %llu, as in %s:%llu", word,
                   (unsigned long long)kinds[f->kind].least,
                   (unsigned long long)kinds[f->kind].most, word,
                   (unsigned long long)kinds[f->kind].most);
        return -E_SYNTAX;
    }
    return -E_SYNTAX;
}

int mock_fault_parse(struct str text, struct mock_fault *ret, struct buf *problem)
{
    struct mock_fault f = {.p = 1};
    struct str rest = text, word;
    bool has_arg;

    f.model = str_cut(&rest, '=');
    if (!rest.p || f.model.n == 0) {
        buf_text(problem, "a fault is MODEL=KIND[:ARG][@P]");
        return -E_SYNTAX;
    }
    f.p = take_chance(&rest);
    word = str_cut(&rest, ':');
    has_arg = rest.p != NULL;
    if (find_kind(word, &f.kind) < 0) {
        buf_text(problem, "kinds of fault are");
        for (size_t i = MOCK_FAULT_NONE + 1; i < ARRAY_LEN(kinds); i++)
            buf_printf(problem, " %s", kinds[i].word);
        return -E_SYNTAX;
    }
    if (parse_arg(rest, has_arg, &f, problem) < 0)
        return -E_SYNTAX;
    *ret = f;
    return 0;
}

/* SplitMix64: one addition and three mixes, good enough for dice. In [0, 1). */
static double throw_dice(uint64_t *dice)
{
    uint64_t z = *dice += 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

const struct mock_fault *mock_fault_strike(const struct mock_fault *faults, size_t n,
                                           struct str model, uint64_t *dice)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(faults[i].model, model) && throw_dice(dice) < faults[i].p)
            return &faults[i];
    }
    return NULL;
}
