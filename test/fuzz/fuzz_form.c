/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_form.c - any bytes as a form whose boundary is "b", and as a content type. Asserted: every
 * cut finds the same, and so does a second reader that has the whole body before it.
 *
 * Covers: src/gate/form.c
 */
#include "fuzz.h"
#include "gate/form.h"

#define DELIMITER STR("\r\n--b")

static struct fuzz_room room;

static void run(struct form *f, struct str doc, size_t first, size_t step)
{
    size_t at = 0;

    CHECK(form_init(f, STR("multipart/form-data; boundary=b")));
    for (size_t end = min_size(first, doc.n);; end = min_size(end + step, doc.n)) {
        fuzz_fence(&room, end);
        form_feed(f, doc.p + at, end - at);
        at = end;
        if (end == doc.n)
            break;
    }
    fuzz_fence(&room, doc.n);
}

static bool same(const struct form *a, const struct form *b)
{
    return a->found == b->found && a->repeated == b->repeated && a->state == b->state &&
           (!a->found || str_eq(str_span(a->value, a->value_n), str_span(b->value, b->value_n)));
}

/* --- the second reader: only the usual way to write the name --- */

/* Cuts the line, with a CR before its LF or without; false: it does not end. */
static bool cut_line(struct str *rest, struct str *line)
{
    size_t lf = str_find(*rest, '\n');

    if (lf == rest->n)
        return false;
    *line = str_head(*rest, lf);
    *rest = str_from(*rest, lf + 1);
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        *line = str_head(*line, line->n - 1);
    return true;
}

/* Reads a head; -1: it does not end. */
static int read_head(struct str *rest)
{
    struct str line;
    int named = 0;

    while (cut_line(rest, &line)) {
        if (line.n == 0)
            return named;
        named |= str_eq(line, STR("Content-Disposition: form-data; name=\"model\""));
    }
    return -1;
}

/* False when the body has what this reader does not know. */
static bool read_whole(struct str doc, bool *found, struct str *value)
{
    size_t at = str_starts(doc, STR("--b")) ? 0 : str_find_str(doc, DELIMITER) + 2;
    struct str rest = str_from(doc, at + 3), line;
    int named;

    *found = false;
    if (at >= doc.n)
        return true;
    while (!str_starts(rest, STR("--")) && cut_line(&rest, &line)) {
        named = read_head(&rest);
        if (named < 0)
            return true;
        at = str_find_str(rest, DELIMITER);
        if (at == rest.n)
            return true;
        if (named && *found)
            return false;
        if (named)
            *value = str_head(rest, min_size(at, FORM_VALUE_MAX));
        *found |= named;
        rest = str_from(rest, at + DELIMITER.n);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct form whole, cut, other;
    struct str doc, value;
    uint64_t hash;
    bool found;

    if (size > FUZZ_BYTES)
        return 0;
    doc = fuzz_fill(&room, data, size);
    hash = fuzz_hash(doc);
    run(&whole, doc, doc.n, 1);
    run(&cut, doc, hash % (doc.n + 1), doc.n + 1);
    CHECK(same(&whole, &cut));
    if (fuzz_turn(&hash, 4)) {
        run(&cut, doc, 1, 1);
        CHECK(same(&whole, &cut));
    }
    if (read_whole(doc, &found, &value) && found)
        CHECK(whole.found &&
              (whole.repeated || str_eq(str_span(whole.value, whole.value_n), value)));
    if (form_init(&other, doc))
        CHECK(other.border > 4 && other.border <= sizeof other.delimiter);
    return 0;
}
