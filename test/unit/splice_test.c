/* SPDX-License-Identifier: Apache-2.0
 *
 * splice_test.c - the model's name in passing replies: in documents and in events, however they are
 * spelled and wherever they are cut; what is not to be touched stays byte for byte.
 */
#include "unit.h"

#include <stdlib.h>

#include "base/buf.h"
#include "gate/splice.h"

static struct chunk_pool chunks = {.max = 16};
static struct arena_cache arenas = {.max = 16};

/* Feeds p[0, cut), p[cut, cut2), the rest, each a copy of exactly its size; appends what comes out.
 */
static void run(struct str in, size_t cut, size_t cut2, bool events, struct str name,
                struct buf *out)
{
    struct str parts[] = {str_head(in, cut), str_head(str_from(in, cut), cut2 - cut),
                          str_from(in, cut2)};
    struct arena a;
    struct chunkq q;
    struct splice *s;

    arena_init(&a, &arenas);
    chunkq_init(&q, &chunks);
    s = splice_create(&a, name, events);
    for (size_t i = 0; i < 3; i++) {
        char *copy = malloc(parts[i].n + 1);

        if (parts[i].n > 0)
            memcpy(copy, parts[i].p, parts[i].n);
        splice_feed(s, copy, parts[i].n, &q);
        free(copy);
    }
    splice_end(s, &q);
    while (q.bytes > 0) {
        struct iovec piece;

        (void)chunkq_iov(&q, &piece, 1);
        buf_bytes(out, piece.iov_base, piece.iov_len);
        chunkq_consume(&q, piece.iov_len);
    }
    chunkq_clear(&q);
    arena_clear(&a);
}

/* The same bytes come out wherever the reply is cut. */
static void becomes(struct str in, bool events, const char *name, struct str want)
{
    for (size_t cut = 0; cut <= in.n; cut++)
        for (size_t n = 0; n < 3 && cut + n <= in.n; n++) {
            struct buf out = buf_make(1 << 20);

            run(in, cut, n == 2 ? in.n : cut + n, events, str_of(name), &out);
            if (!str_eq(buf_str(&out), want))
                print_error("cut at %zu of \"%.*s\"\n", cut, STR_ARGS(in));
            assert_int_equal(out.n, want.n);
            assert_memory_equal(out.p, want.p, want.n);
            buf_fini(&out);
        }
}

static void document(const char *in, const char *want)
{
    becomes(str_of(in), false, "my-name", str_of(want));
}

static void events(const char *in, const char *want)
{
    becomes(str_of(in), true, "my-name", str_of(want));
}

static void unchanged(const char *in) { document(in, in); }

static void test_document(void **state)
{
    (void)state;
    document("{\"id\":1,\"model\":\"tiny\",\"x\":[]}", "{\"id\":1,\"model\":\"my-name\",\"x\":[]}");
    document(" {\n \"model\" :\t\"\" }\n", " {\n \"model\" :\t\"my-name\" }\n");
    document("{\"mod\\u0065l\":\"t\\u0069ny\"}", "{\"mod\\u0065l\":\"my-name\"}");
    document("{\"a\":{\"model\":\"no\"},\"model\":\"yes\",\"b\":[{\"model\":\"no\"}]}",
             "{\"a\":{\"model\":\"no\"},\"model\":\"my-name\",\"b\":[{\"model\":\"no\"}]}");
}

static void test_what_has_no_model_passes(void **state)
{
    (void)state;
    unchanged("");
    unchanged("null");
    unchanged("[{\"model\":\"tiny\"}]");
    unchanged("{\"choices\":[{\"model\":\"tiny\"}]}");
    unchanged("{\"model\":null}");
    unchanged("{\"model\":7}");
    unchanged("{\"model\":{\"model\":\"tiny\"}}");
    unchanged("{\"Model\":\"tiny\"}");
    unchanged("{\"model\":\"cut of");
    unchanged("{\"model\":\"bad \\q escape\"}");
    unchanged("not JSON \"model\":\"tiny\"");
}

/* Whether the error came in the same read as the value must not matter. */
static void test_errors_behind_the_value(void **state)
{
    (void)state;
    document("{\"model\":\"tiny\"} trailing", "{\"model\":\"my-name\"} trailing");
    document("{\"model\":\"tiny\",\"model\":\"other\"}",
             "{\"model\":\"my-name\",\"model\":\"other\"}");
    document("{\"model\":\"tiny\",}", "{\"model\":\"my-name\",}");
}

static void test_names_are_escaped(void **state)
{
    char longest[257], want[6 * 256 + 16];
    struct buf b = buf_on(want, sizeof want);

    (void)state;
    becomes(STR("{\"model\":\"x\"}"), false, "a\"b\\c\n\xC3\xA9",
            STR("{\"model\":\"a\\\"b\\\\c\\n\xC3\xA9\"}"));
    memset(longest, 1, 256);
    longest[256] = '\0';
    buf_text(&b, "{\"model\":\"");
    for (int i = 0; i < 256; i++)
        buf_text(&b, "\\u0001");
    buf_text(&b, "\"}");
    becomes(STR("{\"model\":\"x\"}"), false, longest, buf_str(&b));
}

static void test_too_long_a_value_passes(void **state)
{
    struct buf in = buf_make(1 << 20);

    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        struct buf want = buf_make(1 << 20);

        buf_clear(&in);
        buf_text(&in, "{\"model\":\"");
        while (in.n < 10 + SPLICE_HELD_BYTES - 2 + extra) /* both quotes count */
            buf_char(&in, 'm');
        buf_text(&in, "\",\"x\":1}");
        buf_add(&want, extra ? buf_str(&in) : STR("{\"model\":\"my-name\",\"x\":1}"));
        for (size_t cut = 0; cut <= in.n; cut += cut < 40 || cut > in.n - 40 ? 1 : 4001) {
            struct buf out = buf_make(1 << 20);

            run(buf_str(&in), cut, in.n, false, STR("my-name"), &out);
            assert_int_equal(out.n, want.n);
            assert_memory_equal(out.p, want.p, want.n);
            buf_fini(&out);
        }
        buf_fini(&want);
    }
    buf_fini(&in);
}

/* A read as large as the bound, with the value's last byte in it, was once passed unchanged. */
static void test_a_large_read_behind_a_cut_value(void **state)
{
    struct buf in = buf_make(1 << 20), out = buf_make(1 << 20);

    (void)state;
    buf_text(&in, "{\"model\":\"tiny\",\"content\":\"");
    while (in.n < 200000)
        buf_char(&in, 'x');
    buf_text(&in, "\"}");
    run(buf_str(&in), 12, in.n, false, STR("tony"), &out);
    assert_int_equal(out.n, in.n);
    assert_true(str_starts(buf_str(&out), STR("{\"model\":\"tony\",\"content\":\"")));
    buf_fini(&in);
    buf_fini(&out);
}

static void test_events(void **state)
{
    (void)state;
    events("data: {\"model\":\"tiny\",\"n\":1}\n\ndata: {\"n\":2,\"model\":\"tiny\"}\n\ndata: "
           "[DONE]\n\n",
           "data: {\"model\":\"my-name\",\"n\":1}\n\ndata: "
           "{\"n\":2,\"model\":\"my-name\"}\n\ndata: [DONE]\n\n");
    events("event: x\nid: 1\ndata:{\"model\":\"tiny\"}\nretry: 5\n\n",
           "event: x\nid: 1\ndata:{\"model\":\"my-name\"}\nretry: 5\n\n");
    events("\xEF\xBB\xBF"
           "data: {\"model\":\"tiny\"}\n\n",
           "\xEF\xBB\xBF"
           "data: {\"model\":\"my-name\"}\n\n");
    events("data: {\"a\":{\"model\":\"tiny\"}}\n\n", "data: {\"a\":{\"model\":\"tiny\"}}\n\n");
    events("data: {\"mod\\u0065l\":\"tiny\"}\n\n", "data: {\"mod\\u0065l\":\"my-name\"}\n\n");
    events(": comment\n\n\n\ndata: [{\"model\":\"tiny\"}]\n\n",
           ": comment\n\n\n\ndata: [{\"model\":\"tiny\"}]\n\n");
    events("data: not JSON\n\ndata: {\"model\":\"tiny\"\n\n",
           "data: not JSON\n\ndata: {\"model\":\"tiny\"\n\n");
    events("model: {\"model\":\"tiny\"}\n\n", "model: {\"model\":\"tiny\"}\n\n");
}

static void test_events_of_other_line_ends(void **state)
{
    (void)state;
    events("data: {\"model\":\"tiny\"}\r\n\r\ndata: {\"model\":\"tiny\"}\r\n\r\n",
           "data: {\"model\":\"my-name\"}\r\n\r\ndata: {\"model\":\"my-name\"}\r\n\r\n");
    events("data: {\"model\":\"tiny\"}\r\rdata: {\"model\":\"tiny\"}\r\r",
           "data: {\"model\":\"my-name\"}\r\rdata: {\"model\":\"my-name\"}\r\r");
    events("data: {\"model\":\"tiny\"}\n\r\ndata: {\"model\":\"tiny\"}\r\n\n",
           "data: {\"model\":\"my-name\"}\n\r\ndata: {\"model\":\"my-name\"}\r\n\n");
}

/* An event's data is all of its data lines. */
static void test_data_over_several_lines(void **state)
{
    (void)state;
    events("data: {\ndata:   \"model\":\ndata: \"tiny\",\nid: 7\ndata: \"x\": 1}\n\n",
           "data: {\ndata:   \"model\":\ndata: \"my-name\",\nid: 7\ndata: \"x\": 1}\n\n");
    events("data\ndata: {\"model\":\"tiny\"}\ndata:\n\n",
           "data\ndata: {\"model\":\"my-name\"}\ndata:\n\n");
    events("data: {\"model\":\"ti\ndata: ny\"}\n\n", "data: {\"model\":\"ti\ndata: ny\"}\n\n");
    events("data: {\"model\":\"tiny\"}\ndata: {\"model\":\"tiny\"}\n\n",
           "data: {\"model\":\"tiny\"}\ndata: {\"model\":\"tiny\"}\n\n");
}

/* The stream ended inside an event: nobody dispatches it, nothing is lost. */
static void test_a_cut_event_passes(void **state)
{
    (void)state;
    events("data: {\"model\":\"tiny\"}\n\ndata: {\"model\":\"tiny\"}\n",
           "data: {\"model\":\"my-name\"}\n\ndata: {\"model\":\"tiny\"}\n");
    events("data: {\"mo", "data: {\"mo");
}

static void test_too_long_an_event_passes(void **state)
{
    static const char small[] = "data: {\"model\":\"tiny\"}\n\n",
                      spliced[] = "data: {\"model\":\"my-name\"}\n\n";
    struct buf in = buf_make(1 << 20);

    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        struct buf want = buf_make(1 << 20);

        buf_clear(&in);
        buf_text(&in, "data: {\"model\":\"tiny\",\"x\":\"");
        while (in.n < SPLICE_HELD_BYTES - 4 + extra)
            buf_char(&in, 'y');
        buf_text(&in, "\"}\n\n");
        if (extra == 0) {
            buf_text(&want, "data: {\"model\":\"my-name\"");
            buf_add(&want, str_from(buf_str(&in), sizeof "data: {\"model\":\"tiny\"" - 1));
        } else {
            buf_add(&want, buf_str(&in));
        }
        buf_text(&in, small);
        buf_text(&want, spliced);
        for (size_t cut = 0; cut <= in.n; cut += cut < 40 || cut > in.n - 60 ? 1 : 4001) {
            struct buf out = buf_make(1 << 20);

            run(buf_str(&in), cut, in.n, true, STR("my-name"), &out);
            assert_int_equal(out.n, want.n);
            assert_memory_equal(out.p, want.p, want.n);
            buf_fini(&out);
        }
        buf_fini(&want);
    }
    buf_fini(&in);
}

/* With CR LF the event is complete at the CR of its empty line; its LF was once held back until the
 * next event, and readers that look for two line ends saw every event late. */
static void test_no_byte_of_a_complete_event_is_held(void **state)
{
    static const char whole[] = "data: {\"model\":\"tiny\"}\r\n\r\n";
    struct str in = STR(whole);
    struct arena a;
    struct chunkq q;
    struct splice *s;

    (void)state;
    for (size_t cut = 0; cut < in.n; cut++) {
        arena_init(&a, &arenas);
        chunkq_init(&q, &chunks);
        s = splice_create(&a, STR("tony"), true);
        splice_feed(s, in.p, cut, &q);
        splice_feed(s, in.p + cut, in.n - cut, &q);
        assert_int_equal(q.bytes, in.n);
        chunkq_clear(&q);
        arena_clear(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_what_has_no_model_passes),
        cmocka_unit_test(test_errors_behind_the_value),
        cmocka_unit_test(test_names_are_escaped),
        cmocka_unit_test(test_too_long_a_value_passes),
        cmocka_unit_test(test_a_large_read_behind_a_cut_value),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_events_of_other_line_ends),
        cmocka_unit_test(test_data_over_several_lines),
        cmocka_unit_test(test_a_cut_event_passes),
        cmocka_unit_test(test_too_long_an_event_passes),
        cmocka_unit_test(test_no_byte_of_a_complete_event_is_held),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);

    chunk_pool_fini(&chunks);
    arena_cache_fini(&arenas);
    return r;
}
