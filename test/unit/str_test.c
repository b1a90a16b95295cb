/* SPDX-License-Identifier: Apache-2.0
 *
 * str_test.c - slices: search, cutting, numbers, UTF-8 (against a decoder written for the test),
 * distance (against a table), the hash (against SipHash-1-3 vectors made with another program).
 */
#include "unit.h"

#include "base/mem.h"

static void test_compare(void **state)
{
    (void)state;
    assert_true(str_eq(STR_NONE, STR("")));
    assert_false(str_eq(STR("a"), STR("b")));
    assert_true(str_caseeq(STR("Content-TYPE"), STR("content-type")));
    assert_false(str_caseeq(STR("@"), STR("`"))); /* differ in bit 5 only */
    assert_false(str_caseeq(STR("\xc3\x84"), STR("\xc3\xa4")));
    assert_true(str_starts(STR("abc"), STR("ab")) && str_starts(STR("abc"), STR_NONE));
    assert_false(str_starts(STR("ab"), STR("abc")));
    assert_true(str_ends(STR("abc"), STR("bc")) && str_ends(STR("abc"), STR("abc")));
    assert_false(str_ends(STR("bc"), STR("abc")));
    assert_int_equal(str_cmp(STR("a"), STR("b")), -1);
    assert_int_equal(str_cmp(STR("b"), STR("a")), 1);
    assert_int_equal(str_cmp(STR("ab"), STR("a")), 1);
    assert_int_equal(str_cmp(STR("a"), STR("\xff")), -1); /* bytes are unsigned */
    assert_int_equal(str_cmp(STR_NONE, STR("")), 0);
}

static void test_search(void **state)
{
    (void)state;
    assert_int_equal(str_find(STR("abc"), 'c'), 2);
    assert_int_equal(str_find(STR("abc"), 'x'), 3);
    assert_int_equal(str_find(STR_NONE, 'x'), 0);
    assert_int_equal(str_find_str(STR("abcabc"), STR("ca")), 2);
    assert_int_equal(str_find_str(STR("abc"), STR("abcd")), 3);
    assert_int_equal(str_find_str(STR("abc"), STR_NONE), 0);
    assert_int_equal(str_find_str(STR_NONE, STR("a")), 0);
}

static void test_slices(void **state)
{
    struct str rest = STR("a,,b"), all = STR("abc");

    (void)state;
    assert_str_is(str_from(STR("abc"), 1), "bc");
    assert_str_is(str_from(STR("abc"), 3), "");
    assert_str_is(str_from(STR("abc"), 99), "");
    assert_str_is(str_head(STR("abc"), 2), "ab");
    assert_str_is(str_head(STR("abc"), 99), "abc");
    assert_str_is(str_trim(STR(" \t a b\t ")), "a b");
    assert_str_is(str_trim(STR("\n")), "\n");
    assert_str_is(str_trim(STR("   ")), "");
    assert_str_is(str_cut(&rest, ','), "a");
    assert_str_is(str_cut(&rest, ','), "");
    assert_non_null(rest.p);
    assert_str_is(str_cut(&rest, ','), "b");
    assert_null(rest.p);
    assert_str_is(str_cut(&all, ','), "abc");
    assert_null(all.p);
}

static void test_u64(void **state)
{
    static const char *const bad[] = {
        "", " 1", "1 ", "+1", "-1", "0x1", "1a", "18446744073709551616", "99999999999999999999"};
    uint64_t v = 7;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(str_u64(str_of(bad[i]), &v));
    assert_int_equal(v, 7); /* written on success only */
    assert_true(str_u64(STR("0018446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    assert_true(str_u64(STR("0"), &v));
    assert_int_equal(v, 0);
}

/* RFC 3629 the slow way: decode, then ask whether the shortest form was used. */
static size_t slow_sequence(const unsigned char *p, size_t n)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned point;
    size_t need = p[0] < 0x80             ? 1
                  : (p[0] & 0xe0) == 0xc0 ? 2
                  : (p[0] & 0xf0) == 0xe0 ? 3
                  : (p[0] & 0xf8) == 0xf0 ? 4
                                          : 0;

    if (need == 0 || need > n)
        return 0;
    if (need == 1)
        return 1;
    point = p[0] & (0x7fu >> need);
    for (size_t i = 1; i < need; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (p[i] & 0x3f);
    }
    if (point < least[need] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    return need;
}

static void test_utf8_every_lead_and_second_byte(void **state)
{
    static const unsigned char tails[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};

    (void)state;
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++)
            for (size_t c = 0; c < ARRAY_LEN(tails) * ARRAY_LEN(tails); c++) {
                unsigned char p[4] = {(unsigned char)a, (unsigned char)b, tails[c % 6],
                                      tails[c / 6]};

                for (size_t n = 1; n <= 4; n++)
                    if (str_utf8_sequence(str_span((char *)p, n)) != slow_sequence(p, n))
                        fail_msg("%02x %02x %02x %02x, %zu bytes", p[0], p[1], p[2], p[3], n);
            }
    assert_int_equal(str_utf8_sequence(STR_NONE), 0);
}

static void test_utf8_valid(void **state)
{
    (void)state;
    assert_true(str_utf8_valid(STR_NONE));
    assert_true(str_utf8_valid(STR("a\xc3\xa4\xe4\xb8\xad\xf0\x9f\x98\x80z")));
    assert_true(str_utf8_valid(((struct str){"a\0b", 3})));
    assert_false(str_utf8_valid(STR("a\xc3")));
    assert_false(str_utf8_valid(STR("\xed\xa0\x80"))); /* a surrogate */
    assert_false(str_utf8_valid(STR("\xc0\x80")));     /* overlong */
    assert_false(str_utf8_valid(STR("\xf4\x90\x80\x80")));
}

static void test_utf8_cut(void **state)
{
    struct str text = STR("a\xc3\xa4\xe4\xb8\xad\xf0\x9f\x98\x80z"); /* 1 2 3 4 1 */
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};

    (void)state;
    for (size_t n = 0; n < ARRAY_LEN(expected); n++)
        assert_int_equal(str_utf8_cut(text, n), expected[n]);
    /* what is no UTF-8 is cut where asked, not eaten up to its beginning */
    assert_int_equal(str_utf8_cut(STR("\x80\x80\x80\x80\x80\x80\x80\x80"), 6), 6);
    assert_int_equal(str_utf8_cut(STR("ab\x80\x80\x80"), 3), 3);
    assert_int_equal(str_utf8_cut(STR("\xc3\xa4\x80\x80"), 3), 3);
}

static void test_distance(void **state)
{
    static const struct {
        const char *a, *b;
        unsigned distance;
    } rows[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"abc", "", 3},
        {"abc", "abc", 0},
        {"abc", "abd", 1},
        {"abc", "abcd", 1},
        {"abc", "acb", 1},
        {"ca", "abc", 3},
        {"kitten", "sitting", 3},
        {"listne", "listen", 1},
        {"adress", "address", 1},
        {"idle_ms", "head_ms", 4},
        {"a", "b", 1},
        {"ab", "ba", 1},
        {"abcdef", "badcfe", 3},
    };
    char longest[65];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(str_distance(str_of(rows[i].a), str_of(rows[i].b)), rows[i].distance);
        assert_int_equal(str_distance(str_of(rows[i].b), str_of(rows[i].a)), rows[i].distance);
    }
    memset(longest, 'x', sizeof longest);
    assert_int_equal(str_distance(str_span(longest, 64), str_span(longest, 64)), 0);
    assert_int_equal(str_distance(str_span(longest, 64), STR("x")), 63);
    assert_int_equal(str_distance(str_span(longest, 65), str_span(longest, 65)), 64);
}

/* SipHash-1-3 of the bytes 0, 1, 2, ... under the key (1, ~1), from a separate implementation that
 * was held against the published SipHash-2-4 vectors. */
static const struct {
    size_t n;
    uint64_t hash;
} hash_vectors[] = {
    {0, 0x5634d6aafd8c1fef}, {1, 0x7fec7925f0bbc026},  {7, 0xe950eb5cd738e46f},
    {8, 0xf4a5b8a13f9adfee}, {15, 0x211d08ca3c2fafe0}, {63, 0x317a459d034f2050},
};

static void test_hash(void **state)
{
    char text[64];
    uint64_t seen[ARRAY_LEN(text)];

    (void)state;
    for (size_t n = 0; n < sizeof text; n++) {
        text[n] = (char)n;
        seen[n] = str_hash(str_span(text, n), 1);
        assert_true(seen[n] == str_hash(str_span(text, n), 1));
        assert_true(seen[n] != str_hash(str_span(text, n), 2));
        for (size_t i = 0; i < n; i++)
            assert_true(seen[i] != seen[n]);
    }
    for (size_t i = 0; i < ARRAY_LEN(hash_vectors); i++)
        assert_true(seen[hash_vectors[i].n] == hash_vectors[i].hash);
}

static void test_dup(void **state)
{
    char *copy = str_dup(STR("abc")), *empty = str_dup(STR_NONE);

    (void)state;
    assert_string_equal(copy, "abc");
    assert_string_equal(empty, "");
    mem_free(copy);
    mem_free(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_utf8_every_lead_and_second_byte),
        cmocka_unit_test(test_utf8_valid),
        cmocka_unit_test(test_utf8_cut),
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_dup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
