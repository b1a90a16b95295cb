/* SPDX-License-Identifier: Apache-2.0
 *
 * splice.c - see splice.h. A document is indexed as it passes (base/jsonindex.h): bytes before the
 * value go on at once, the value is replaced when it is complete, the rest passes untouched. Events
 * are short and are spliced whole.
 */
#include "gate/splice.h"

#include "base/jsonindex.h"
#include "base/jsonw.h"
#include "proto/sse.h"

static const struct jsonindex_key wanted[] = {{.name = "model"}};

struct splice {
    struct arena *arena;
    struct str name; /* as a JSON string, quotes included */
    struct buf held; /* on the heap until the end; freed with the arena */
    bool events;
    bool passing; /* nothing (more) to splice in this document, or in this event */
    bool begun;   /* the first event, or what stands before it, has gone on */
    uint64_t fed; /* document bytes looked at */
    struct jsonindex index;
    struct sse_parser sse;
};

static void free_held(void *ctx)
{
    struct splice *s = ctx;

    buf_fini(&s->held);
}

struct splice *splice_create(struct arena *a, struct str name, bool events)
{
    struct splice *s = arena_new(a, struct splice);
    char quoted[6 * 256 + 2]; /* \u00xx for each byte */
    struct buf b = buf_on(quoted, sizeof quoted);

    buf_char(&b, '"');
    jsonw_escape(&b, name);
    buf_char(&b, '"');
    s->arena = a;
    s->events = events;
    CHECK(buf_status(&b) == 0); /* the name was admitted, so it is no longer than that */
    s->name = arena_str(a, buf_str(&b));
    s->held = buf_make(SPLICE_HELD_BYTES);
    arena_on_clear(a, free_held, s);
    jsonindex_init(&s->index, wanted, ARRAY_LEN(wanted));
    sse_init(&s->sse);
    return s;
}

static void flush_held(struct splice *s, struct chunkq *out)
{
    chunkq_append(out, s->held.p, s->held.n);
    s->begun |= s->held.n > 0;
    buf_clear(&s->held);
}

/* Behind feeding p[0..n), which stands at `s->fed`: what of it is of the value, what is around it.
 */
static void cut_value(struct splice *s, const char *p, size_t n, struct chunkq *out)
{
    const struct jsonindex_field *model = &s->index.fields[0];
    uint64_t end = model->whole ? model->end : s->fed + n;
    size_t before = model->begin > s->fed ? (size_t)(model->begin - s->fed) : 0;
    size_t behind = (size_t)(end - s->fed);

    chunkq_append(out, p, before);
    if (end - model->begin > SPLICE_HELD_BYTES) { /* no name is that long */
        flush_held(s, out);
        chunkq_append(out, p + before, n - before);
        s->passing = true;
    } else if (model->whole) {
        buf_clear(&s->held);
        chunkq_append(out, s->name.p, s->name.n);
        chunkq_append(out, p + behind, n - behind);
        s->passing = true;
    } else {
        buf_bytes(&s->held, p + before, n - before);
    }
}

/* An error behind the value does not matter: it was spliced already when the bytes came in other
 * pieces. */
static void feed_document(struct splice *s, const char *p, size_t n, struct chunkq *out)
{
    const struct jsonindex_field *model = &s->index.fields[0];
    int r;

    if (s->passing) {
        chunkq_append(out, p, n);
        return;
    }
    r = jsonindex_feed(&s->index, p, n);
    if (model->kind == JSONINDEX_STRING && (r == 0 || model->whole)) {
        cut_value(s, p, n, out);
    } else {
        if (r < 0 || model->kind != JSONINDEX_ABSENT) { /* not JSON; null, or something odd */
            flush_held(s, out);
            s->passing = true;
        }
        chunkq_append(out, p, n);
    }
    s->fed += n;
}

/* Where `model` stands in one event, whose first field is at `at`; false when there is nothing to
 * splice. The data of an event is its data lines, joined by line feeds (WHATWG HTML,
 * section 9.2.6); a string holds none of them, so the value lies in one line. */
static bool find_in_event(struct str event, size_t at, size_t *begin, size_t *end)
{
    struct jsonindex ix;
    const struct jsonindex_field *model = &ix.fields[0];
    struct str value;
    size_t lines = 0;
    uint64_t fed = 0;
    bool found = false;

    jsonindex_init(&ix, wanted, ARRAY_LEN(wanted));
    while (sse_data_line(event, &at, &value)) {
        if (lines++ > 0) {
            if (jsonindex_feed(&ix, "\n", 1) < 0)
                return false;
            fed++;
        }
        if (jsonindex_feed(&ix, value.p, value.n) < 0)
            return false;
        if (!found && model->kind == JSONINDEX_STRING && model->whole) {
            *begin = (size_t)(value.p - event.p) + (size_t)(model->begin - fed);
            *end = (size_t)(value.p - event.p) + (size_t)(model->end - fed);
            found = true;
        }
        fed += value.n;
    }
    return found && jsonindex_finish(&ix) == 0;
}

static void splice_event(struct splice *s, struct chunkq *out)
{
    struct str event = buf_str(&s->held);
    size_t begin, end;

    if (find_in_event(event, s->begun ? 0 : sse_mark(event), &begin, &end)) {
        s->begun = true;
        chunkq_append(out, event.p, begin);
        chunkq_append(out, s->name.p, s->name.n);
        chunkq_append(out, event.p + end, event.n - end);
        buf_clear(&s->held);
    } else {
        flush_held(s, out);
    }
}

static void feed_events(struct splice *s, const char *p, size_t n, struct chunkq *out)
{
    while (n > 0) {
        bool between = !s->sse.event_open && (p[0] == '\n' || p[0] == '\r');
        size_t used;
        enum sse_kind kind = sse_next(&s->sse, p, between ? 1 : n, &used);

        if (between) { /* the LF of a CR LF whose event was complete at the CR: not held back */
            flush_held(s, out);
            chunkq_append(out, p, 1);
            s->begun = true;
            p++;
            n--;
            continue;
        }
        if (!s->passing)
            buf_bytes(&s->held, p, used);
        if (s->passing || buf_status(&s->held) < 0) { /* an event beyond the bound */
            flush_held(s, out);
            chunkq_append(out, p, used);
            s->passing = kind != SSE_EVENT;
        } else if (kind == SSE_EVENT) {
            splice_event(s, out);
        }
        p += used;
        n -= used;
    }
}

void splice_feed(struct splice *s, const char *p, size_t n, struct chunkq *out)
{
    if (s->events)
        feed_events(s, p, n, out);
    else
        feed_document(s, p, n, out);
}

void splice_end(struct splice *s, struct chunkq *out) { flush_held(s, out); }
