/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonw.c - see jsonw.h. The nesting is two bit sets, so a writer is a few words on the stack. Once
 * the buffer is full the structure is still followed, and nothing more is appended.
 */
#include "base/jsonw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* What stands between two members, and the checks that a value may come now. */
static void before_value(struct jsonw *w)
{
    uint64_t bit;

    CHECK(!w->done);
    if (w->depth == 0)
        return;
    bit = (uint64_t)1 << (w->depth - 1);
    if (w->objects & bit) {
        CHECK(w->keyed);
        w->keyed = false;
        return;
    }
    if (w->begun & bit)
        buf_char(w->out, ',');
    w->begun |= bit;
}

static void after_scalar(struct jsonw *w) { w->done = w->depth == 0; }

static void begin(struct jsonw *w, bool object)
{
    uint64_t bit;

    before_value(w);
    CHECK(w->depth < JSONW_DEPTH_MAX);
    bit = (uint64_t)1 << w->depth++;
    w->objects = object ? w->objects | bit : w->objects & ~bit;
    w->begun &= ~bit;
    buf_char(w->out, object ? '{' : '[');
}

static void end(struct jsonw *w, bool object)
{
    CHECK(w->depth > 0 && !w->keyed);
    w->depth--;
    CHECK((w->objects >> w->depth & 1) == object);
    buf_char(w->out, object ? '}' : ']');
    w->done = w->depth == 0;
}

void jsonw_begin_object(struct jsonw *w) { begin(w, true); }

void jsonw_end_object(struct jsonw *w) { end(w, true); }

void jsonw_begin_array(struct jsonw *w) { begin(w, false); }

void jsonw_end_array(struct jsonw *w) { end(w, false); }

static void quoted(struct buf *out, struct str s)
{
    buf_char(out, '"');
    jsonw_escape(out, s);
    buf_char(out, '"');
}

void jsonw_key_str(struct jsonw *w, struct str key)
{
    uint64_t bit;

    CHECK(w->depth > 0 && !w->keyed);
    bit = (uint64_t)1 << (w->depth - 1);
    CHECK(w->objects & bit);
    if (w->begun & bit)
        buf_char(w->out, ',');
    w->begun |= bit;
    w->keyed = true;
    quoted(w->out, key);
    buf_char(w->out, ':');
}

void jsonw_key(struct jsonw *w, const char *key) { jsonw_key_str(w, str_of(key)); }

void jsonw_str(struct jsonw *w, struct str s)
{
    before_value(w);
    quoted(w->out, s);
    after_scalar(w);
}

void jsonw_cstr(struct jsonw *w, const char *s)
{
    if (s)
        jsonw_str(w, str_of(s));
    else
        jsonw_null(w);
}

void jsonw_u64(struct jsonw *w, uint64_t v)
{
    before_value(w);
    buf_u64(w->out, v);
    after_scalar(w);
}

void jsonw_i64(struct jsonw *w, int64_t v)
{
    before_value(w);
    buf_i64(w->out, v);
    after_scalar(w);
}

void jsonw_double(struct jsonw *w, double v)
{
    if (!isfinite(v)) {
        jsonw_null(w);
        return;
    }
    before_value(w);
    jsonw_format_double(w->out, v);
    after_scalar(w);
}

void jsonw_bool(struct jsonw *w, bool v) { jsonw_raw(w, v ? STR("true") : STR("false")); }

void jsonw_null(struct jsonw *w) { jsonw_raw(w, STR("null")); }

void jsonw_raw(struct jsonw *w, struct str json)
{
    before_value(w);
    buf_add(w->out, json);
    after_scalar(w);
}

/* One byte that may not stand as it is: a control character, '"' or '\\'. */
static void escape_byte(struct buf *out, unsigned char c)
{
    static const char short_form[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n',  ['\f'] = 'f',
        ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\',
    };
    char text[6] = {'\\', short_form[c], '0', '0', 0, 0};

    if (text[1]) {
        buf_bytes(out, text, 2);
        return;
    }
    text[1] = 'u';
    text[4] = "0123456789abcdef"[c >> 4];
    text[5] = "0123456789abcdef"[c & 15];
    buf_bytes(out, text, 6);
}

void jsonw_escape(struct buf *out, struct str s)
{
    size_t run = 0; /* first byte not yet copied */

    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        size_t n = 1;

        if (c >= 0x80)
            n = str_utf8_sequence(str_from(s, i));
        if (n > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += n;
            continue;
        }
        buf_bytes(out, s.p + run, i - run);
        if (n > 0)
            escape_byte(out, c);
        else
            buf_add(out, STR("\xEF\xBF\xBD"));
        run = ++i;
    }
    if (run < s.n)
        buf_bytes(out, s.p + run, s.n - run);
}

/* A decimal: digits d0.d1d2... times ten to the power of `exponent`. */
struct decimal {
    char digits[18]; /* no zero at the end but for "0" itself */
    int n;
    int exponent;
};

/* Rounds to `n` digits; the program runs in the C locale. */
static void to_decimal(double v, int n, struct decimal *d)
{
    char text[32]; /* d.ddde+xxx */

    CHECK(n >= 1 && n <= 17);
    (void)snprintf(text, sizeof text, "%.*e", n - 1, v);
    d->digits[0] = text[0];
    if (n > 1)
        memcpy(d->digits + 1, text + 2, (size_t)n - 1);
    d->n = n;
    d->exponent = 0;
    for (const char *e = text + (n > 1 ? n + 3 : 3); *e; e++)
        d->exponent = d->exponent * 10 + (*e - '0');
    if (text[n > 1 ? n + 2 : 2] == '-')
        d->exponent = -d->exponent;
    while (d->n > 1 && d->digits[d->n - 1] == '0')
        d->n--;
}

static bool reads_back(const struct decimal *d, double v)
{
    char text[40];

    (void)snprintf(text, sizeof text, "%c.%.*se%d", d->digits[0], d->n - 1, d->digits + 1,
                   d->exponent);
    return strtod(text, NULL) == v;
}

/* The next decimal of as many digits, away from zero. A power of two has half the room below it, so
 * the nearest short decimal may miss while this one reads back. */
static void step_up(struct decimal *d)
{
    int i = d->n - 1;

    while (i >= 0 && d->digits[i] == '9')
        d->digits[i--] = '0';
    if (i >= 0) {
        d->digits[i]++;
    } else {
        d->digits[0] = '1';
        d->exponent++;
    }
    while (d->n > 1 && d->digits[d->n - 1] == '0')
        d->n--;
}

/* The fewest digits that read back as v > 0. Fifteen digits survive decimal-double-decimal for
 * normal doubles, so there the first try settles everything shorter; subnormals start at one digit.
 */
static void shortest(double v, struct decimal *d)
{
    int exponent;
    bool two_power = frexp(v, &exponent) == 0.5;

    for (int n = v < 0x1p-1022 ? 1 : 15; n < 17; n++) {
        to_decimal(v, n, d);
        if (reads_back(d, v))
            return;
        if (!two_power)
            continue;
        d->n = n; /* with the zeros that to_decimal dropped: they are still there */
        step_up(d);
        if (reads_back(d, v))
            return;
    }
    to_decimal(v, 17, d);
}

static void put_zeros(struct buf *out, int n)
{
    while (n-- > 0)
        buf_char(out, '0');
}

void jsonw_format_double(struct buf *out, double v)
{
    struct decimal d = {.digits = "0", .n = 1};
    int whole; /* digits before the point */

    CHECK(isfinite(v));
    if (signbit(v))
        buf_char(out, '-');
    if (v != 0)
        shortest(fabs(v), &d);
    if (d.exponent < -5 || d.exponent >= 16) {
        buf_char(out, d.digits[0]);
        if (d.n > 1) {
            buf_char(out, '.');
            buf_bytes(out, d.digits + 1, (size_t)d.n - 1);
        }
        buf_char(out, 'e');
        buf_char(out, d.exponent < 0 ? '-' : '+');
        buf_u64(out, (uint64_t)abs(d.exponent));
        return;
    }
    if (d.exponent < 0) {
        buf_add(out, STR("0."));
        put_zeros(out, -d.exponent - 1);
        buf_bytes(out, d.digits, (size_t)d.n);
        return;
    }
    whole = d.exponent + 1 < d.n ? d.exponent + 1 : d.n;
    buf_bytes(out, d.digits, (size_t)whole);
    put_zeros(out, d.exponent + 1 - whole);
    buf_char(out, '.');
    if (whole < d.n)
        buf_bytes(out, d.digits + whole, (size_t)(d.n - whole));
    else
        buf_char(out, '0');
}
