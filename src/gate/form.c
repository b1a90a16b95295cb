/* SPDX-License-Identifier: Apache-2.0
 *
 * form.c - see form.h. A delimiter begins with the only CR it has, so where it does not go on the
 * search begins anew with the byte at hand.
 */
#include "gate/form.h"

/* The value of a parameter behind a field's first word, without its quotes; n 0: there is none. */
static struct str param(struct str field, struct str name)
{
    str_cut(&field, ';');
    while (field.n > 0) {
        size_t eq = str_find(field, '='), end;
        struct str key = str_trim(str_head(field, eq)), value;

        field = str_trim(str_from(field, eq + 1));
        if (field.n > 0 && field.p[0] == '"') {
            field = str_from(field, 1);
            for (end = 0; end < field.n && field.p[end] != '"'; end++)
                end += field.p[end] == '\\';
            value = str_head(field, end);
            field = str_from(field, end);
            str_cut(&field, ';');
        } else {
            value = str_trim(str_cut(&field, ';'));
        }
        if (str_caseeq(key, name))
            return value;
    }
    return STR_NONE;
}

bool form_init(struct form *f, struct str content_type)
{
    struct str type = content_type, boundary;

    if (!str_caseeq(str_trim(str_cut(&type, ';')), STR("multipart/form-data")))
        return false;
    boundary = param(content_type, STR("boundary"));
    if (boundary.n == 0 || boundary.n > FORM_BOUNDARY_MAX || str_find(boundary, '\r') < boundary.n)
        return false;
    *f = (struct form){.state = FORM_OUTSIDE, .matched = 2}; /* the first one begins a line */
    memcpy(f->delimiter, "\r\n--", 4);
    memcpy(f->delimiter + 4, boundary.p, boundary.n);
    f->border = (uint8_t)(4 + boundary.n);
    return true;
}

static void keep(struct form *f, const char *p, size_t n)
{
    n = min_size(n, FORM_VALUE_MAX - f->value_n);
    memcpy(f->value + f->value_n, p, n);
    f->value_n = (uint16_t)(f->value_n + n);
}

/* A delimiter is complete: so is the part before it. */
static void end_part(struct form *f)
{
    f->found |= f->state == FORM_INSIDE;
    f->state = FORM_BORDER;
    f->matched = 0;
    f->line_n = 0;
    f->too_long = f->wanted = false;
}

/* Bytes of a part, or before the first. Returns how many it took. */
static size_t in_part(struct form *f, const char *p, size_t n)
{
    const char *cr;
    size_t plain;

    if (f->matched > 0 && *p == f->delimiter[f->matched]) {
        if (++f->matched == f->border)
            end_part(f);
        return 1;
    }
    if (f->state == FORM_INSIDE)
        keep(f, f->delimiter, f->matched);
    f->matched = 0;
    cr = memchr(p, '\r', n);
    plain = cr ? (size_t)(cr - p) : n;
    if (f->state == FORM_INSIDE)
        keep(f, p, plain);
    if (!cr)
        return n;
    f->matched = 1;
    return plain + 1;
}

static void begin_body(struct form *f)
{
    f->state = FORM_OUTSIDE;
    if (!f->wanted)
        return;
    f->repeated |= f->found;
    if (f->found)
        return;
    f->state = FORM_INSIDE;
    f->value_n = 0;
}

static void end_line(struct form *f)
{
    struct str line = str_span(f->line, f->line_n), rest = line;
    bool over = f->state == FORM_BORDER && str_starts(line, STR("--"));

    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line = rest = str_head(line, line.n - 1);
    if (f->state == FORM_BORDER)
        f->state = over ? FORM_OVER : FORM_HEAD;
    else if (line.n == 0 && !f->too_long)
        begin_body(f);
    else if (!f->too_long &&
             str_caseeq(str_trim(str_cut(&rest, ':')), STR("content-disposition")) &&
             str_eq(param(rest, STR("name")), STR("model")))
        f->wanted = true;
    f->line_n = 0;
    f->too_long = false;
}

/* Bytes of a line. Returns how many it took. */
static size_t in_line(struct form *f, const char *p, size_t n)
{
    const char *lf = memchr(p, '\n', n);
    size_t plain = lf ? (size_t)(lf - p) : n, room = min_size(plain, FORM_LINE_MAX - f->line_n);

    memcpy(f->line + f->line_n, p, room);
    f->line_n = (uint16_t)(f->line_n + room);
    f->too_long |= room < plain;
    if (!lf)
        return n;
    end_line(f);
    return plain + 1;
}

void form_feed(struct form *f, const char *p, size_t n)
{
    while (n > 0 && f->state != FORM_OVER) {
        bool in_line_now = f->state == FORM_BORDER || f->state == FORM_HEAD;
        size_t took = in_line_now ? in_line(f, p, n) : in_part(f, p, n);

        p += took;
        n -= took;
    }
}
