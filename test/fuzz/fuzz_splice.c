/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_splice.c - any bytes as an engine's reply to an aliased request, as a document and as
 * events. Asserted: the same comes out however it is cut; it differs from what came in by nothing
 * but the alias in place of JSON strings, one in a document, at most one in an event; what the
 * document reader reads as an object with a `model` that is a string has the alias as its `model`
 * afterwards, and what has none is unchanged.
 *
 * Covers: src/gate/splice.c
 */
#include "base/json.h"
#include "fuzz.h"
#include "gate/splice.h"
#include "proto/sse.h"

enum { IN_BYTES = 1 << 15 };

#define ALIAS "ali\"as\xC3\xA9"
#define QUOTED "\"ali\\\"as\xC3\xA9\""

static struct fuzz_room room;
static struct chunk_pool chunks = {.max = 64};
static struct arena_cache arenas = {.max = 16};

/* Pieces of `step` bytes, the first of `first`; what comes out is in `to`. */
static struct str splice(struct str in, bool events, size_t first, size_t step, char *to)
{
    struct arena a;
    struct chunkq q;
    struct splice *s;
    size_t at = 0, n;

    arena_init(&a, &arenas);
    chunkq_init(&q, &chunks);
    s = splice_create(&a, STR(ALIAS), events);
    for (size_t end = min_size(first, in.n);; end = min_size(end + step, in.n)) {
        fuzz_fence(&room, end);
        splice_feed(s, in.p + at, end - at, &q);
        at = end;
        if (end == in.n)
            break;
    }
    splice_end(s, &q);
    n = q.bytes;
    CHECK(n <= 4 * IN_BYTES);
    chunkq_copy(&q, 0, to, n);
    chunkq_clear(&q);
    arena_clear(&a);
    CHECK(chunks.live == 0);
    return str_span(to, n);
}

/* Behind the JSON string that begins at `at`. */
static size_t string_end(struct str s, size_t at)
{
    CHECK(at < s.n && s.p[at] == '"');
    for (at++; at < s.n && s.p[at] != '"'; at++)
        at += s.p[at] == '\\';
    CHECK(at < s.n);
    return at + 1;
}

/* The number of strings that were replaced; all else is the same. */
static size_t count_replaced(struct str in, struct str out)
{
    struct str quoted = STR(QUOTED);
    size_t at = 0, replaced = 0;

    for (size_t i = 0; i < out.n;) {
        if (str_starts(str_from(out, i), quoted)) {
            at = string_end(in, at);
            i += quoted.n;
            replaced++;
        } else {
            CHECK(at < in.n && in.p[at] == out.p[i]);
            at++;
            i++;
        }
    }
    CHECK(at == in.n);
    return replaced;
}

/* True when it is an object whose `model` is a string; then in *model, as long as *v lives. */
static bool model_of(struct str doc, struct json **v, struct str *model)
{
    *v = NULL;
    return json_read(doc, NULL, NULL, v) == 0 && json_get_str(json_find(*v, STR("model")), model);
}

/* The alias is there if, and only if, there was a name. False when the document is none. */
static void check_model(struct str in, struct str out, size_t replaced)
{
    struct json *v, *w;
    struct str name, alias;

    if (model_of(in, &v, &name)) {
        CHECK(replaced == 1 && model_of(out, &w, &alias) && str_eq(alias, STR(ALIAS)));
        json_unref(&w);
    } else if (v) {
        CHECK(replaced == 0);
    }
    json_unref(&v);
}

static void check_document(struct str in, uint64_t hash)
{
    static char memory[4 * IN_BYTES], again[4 * IN_BYTES];
    struct str out = splice(in, false, in.n, 1, memory);
    size_t replaced = count_replaced(in, out);

    CHECK(replaced <= 1);
    CHECK(str_eq(splice(in, false, hash % (in.n + 1), in.n + 1, again), out));
    if (fuzz_turn(&hash, 4))
        CHECK(str_eq(splice(in, false, hash % 7, 1 + hash % 5, again), out));
    check_model(in, out, replaced);
}

/* The next event of a stream, or what is left of it. */
static struct str next_event(struct sse_parser *p, struct str *rest)
{
    struct str event;
    size_t used = 0;

    (void)sse_next(p, rest->p, rest->n, &used);
    event = str_head(*rest, used);
    *rest = str_from(*rest, used);
    return event;
}

/* The data lines of an event, put together. */
static struct str data_of(struct str event, bool first, char *to)
{
    struct str value;
    size_t at = first ? sse_mark(event) : 0, n = 0;

    while (sse_data_line(event, &at, &value)) {
        if (n > 0)
            to[n++] = '\n';
        if (value.n > 0)
            memcpy(to + n, value.p, value.n);
        n += value.n;
    }
    return str_span(to, n);
}

static void check_events(struct str in, uint64_t hash)
{
    static char memory[4 * IN_BYTES], again[4 * IN_BYTES], data[2][4 * IN_BYTES];
    struct str out = splice(in, true, in.n, 1, memory), rest_in = in, rest_out = out;
    struct sse_parser p, q;

    (void)count_replaced(in, out);
    CHECK(str_eq(splice(in, true, hash % (in.n + 1), in.n + 1, again), out));
    if (fuzz_turn(&hash, 4))
        CHECK(str_eq(splice(in, true, hash % 7, 1 + hash % 5, again), out));
    sse_init(&p);
    sse_init(&q);
    while (rest_in.n > 0) {
        struct str before = next_event(&p, &rest_in), after = next_event(&q, &rest_out);
        size_t replaced = count_replaced(before, after);

        CHECK(replaced <= 1 && p.events == q.events && p.event_open == q.event_open);
        if (!p.event_open)
            check_model(data_of(before, before.p == in.p, data[0]),
                        data_of(after, after.p == out.p, data[1]), replaced);
        else
            CHECK(replaced == 0);
    }
    CHECK(rest_out.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t hash;
    struct str s;

    if (size > IN_BYTES)
        return 0;
    s = fuzz_fill(&room, data, size);
    hash = fuzz_hash(s);
    if (str_find_str(s, STR(QUOTED)) < s.n)
        return 0; /* then nobody can tell who wrote it */
    check_document(s, hash);
    check_events(s, hash);
    return 0;
}
