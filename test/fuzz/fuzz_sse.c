/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_sse.c - any bytes as an event stream, beside a second reader that cuts the whole stream into
 * lines as WHATWG HTML section 9.2 says. Asserted: the same events end at the same bytes, whole,
 * cut and byte by byte; data lines and [DONE] are the same; and wherever the stream is cut, what
 * sse_closing() adds makes the event that we write behind it one of its own, with nothing but our
 * data in it.
 *
 * Covers: src/proto/sse.c
 */
#include "fuzz.h"
#include "proto/sse.h"

#define OWN "data: x\n\n"
#define BOM "\xEF\xBB\xBF"

static struct fuzz_room room;

/* A digest of the events, and what is left open at the end. */
struct outcome {
    uint64_t ends;   /* where each ended, and whether it had data */
    uint64_t values; /* the data lines of all events that ended */
    uint64_t events; /* with data */
    bool done, line_open, event_open, has_data;
};

/* The second reader. */

struct event {
    size_t lines;         /* of it so far */
    size_t data;          /* lines of them that are data */
    uint64_t values;      /* a digest of the values of those */
    struct str last_data; /* the last one's value */
};

static void add_line(struct event *e, struct str line)
{
    struct str value = line, name = str_cut(&value, ':');

    e->lines++;
    if (!str_eq(name, STR("data")))
        return;
    if (value.n > 0 && value.p[0] == ' ')
        value = str_from(value, 1);
    e->data++;
    e->values = fuzz_mix(e->values, fuzz_hash(value));
    e->last_data = value;
}

static void end_event(struct outcome *o, struct event *e, size_t at)
{
    if (e->lines == 0)
        return;
    o->ends = fuzz_mix(fuzz_mix(o->ends, at), e->data > 0);
    o->values = fuzz_mix(o->values, e->values);
    o->events += e->data > 0;
    o->done |= e->data == 1 && str_eq(e->last_data, STR("[DONE]"));
}

/* *last is the last event that ended. */
static struct outcome second_read(struct str s, struct event *last)
{
    struct outcome o = {0};
    struct event e = {0};
    size_t at = str_starts(s, STR(BOM)) ? sizeof BOM - 1 : 0;

    *last = e;
    while (at < s.n) {
        size_t end = at;

        while (end < s.n && s.p[end] != '\r' && s.p[end] != '\n')
            end++;
        if (end == s.n) {
            o.line_open = true;
            break;
        }
        if (end > at)
            add_line(&e, str_span(s.p + at, end - at));
        at = end + 1;
        if (end > 0 && e.lines > 0 && (end == 0 || s.p[end - 1] == '\n' || s.p[end - 1] == '\r')) {
            end_event(&o, &e, at);
            *last = e;
            e = (struct event){0};
        }
        if (s.p[end] == '\r' && at < s.n && s.p[at] == '\n')
            at++;
    }
    o.event_open = o.line_open || e.lines > 0;
    o.has_data = e.lines > 0 ? e.data > 0 : last->data > 0;
    return o;
}

/* The parser. */

/* The data lines of one event, by the iterator. */
static uint64_t values_of(struct str event, bool first)
{
    uint64_t values = 0;
    struct str value;
    size_t at = first ? sse_mark(event) : 0;

    while (sse_data_line(event, &at, &value))
        values = fuzz_mix(values, fuzz_hash(value));
    return values;
}

/* Our event may follow from here: it must be one of its own. */
static void check_closing(const struct sse_parser *at)
{
    struct sse_parser s = *at;
    struct str closing = sse_closing(at), own = STR(OWN);
    size_t used = 0;

    if (closing.n > 0) {
        CHECK(at->event_open && sse_next(&s, closing.p, closing.n, &used) == SSE_EVENT);
        CHECK(used == closing.n && s.events == at->events + s.has_data);
    }
    CHECK(!s.event_open && !s.line_open);
    CHECK(sse_next(&s, own.p, own.n, &used) == SSE_EVENT && used == own.n);
    CHECK(s.has_data && s.events >= at->events + 1 && s.events <= at->events + 2);
    CHECK(!s.event_open && sse_closing(&s).n == 0);
}

/* Pieces of `step` bytes, the first of `first`. */
static struct outcome parse(struct str s, size_t first, size_t step, bool closing)
{
    struct outcome o = {0};
    struct sse_parser p;
    size_t begin = 0, at = 0;

    sse_init(&p);
    for (size_t end = min_size(first, s.n);; end = min_size(end + step, s.n)) {
        fuzz_fence(&room, end);
        while (at < end) {
            size_t used = 0;
            enum sse_kind kind = sse_next(&p, s.p + at, end - at, &used);

            CHECK(used > 0 && used <= end - at);
            at += used;
            CHECK(kind == SSE_EVENT || at == end);
            if (kind != SSE_EVENT)
                continue;
            o.ends = fuzz_mix(fuzz_mix(o.ends, at), p.has_data);
            o.values = fuzz_mix(o.values, values_of(str_span(s.p + begin, at - begin), begin == 0));
            begin = at;
        }
        if (closing)
            check_closing(&p);
        if (end == s.n)
            break;
    }
    o.events = p.events;
    o.done = p.done;
    o.line_open = p.line_open;
    o.event_open = p.event_open;
    o.has_data = p.has_data;
    return o;
}

static void same(struct outcome a, struct outcome b)
{
    CHECK(a.ends == b.ends);
    CHECK(a.events == b.events);
    CHECK(a.values == b.values);
    CHECK(a.done == b.done);
    CHECK(a.line_open == b.line_open && a.event_open == b.event_open);
}

/* The stream cut, closed, and our event behind it, as a client reads them. */
static void check_cut(struct str s, size_t cut)
{
    static char memory[FUZZ_BYTES + 64];
    struct outcome before, after;
    struct sse_parser p;
    struct str whole, closing;
    struct event last;
    size_t used;

    sse_init(&p);
    for (size_t at = 0; at < cut; at += used)
        (void)sse_next(&p, s.p + at, cut - at, &used);
    closing = sse_closing(&p);
    before = second_read(str_head(s, cut), &last);
    memcpy(memory, s.p, cut);
    memcpy(memory + cut, closing.p, closing.n);
    memcpy(memory + cut + closing.n, OWN, sizeof OWN - 1);
    whole = str_span(memory, cut + closing.n + sizeof OWN - 1);
    after = second_read(whole, &last);
    CHECK(last.lines == 1 && last.data == 1 && str_eq(last.last_data, STR("x")));
    CHECK(!after.event_open && after.events > before.events && after.events <= before.events + 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome o;
    struct event last;
    uint64_t hash;
    struct str s;

    if (size > FUZZ_BYTES)
        return 0;
    s = fuzz_fill(&room, data, size);
    hash = fuzz_hash(s);
    o = second_read(s, &last);
    same(parse(s, hash % (s.n + 1), s.n + 1, true), o);
    if (fuzz_turn(&hash, 4))
        same(parse(s, s.n, 1, false), o);
    if (fuzz_turn(&hash, 16))
        same(parse(s, 1, 1, true), o);
    if (fuzz_turn(&hash, 4))
        same(parse(s, hash % 7, 1 + hash / 7 % 37, false), o);
    fuzz_fence(&room, s.n);
    check_cut(s, hash % (s.n + 1));
    return 0;
}
