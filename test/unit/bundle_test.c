/* SPDX-License-Identifier: Apache-2.0
 *
 * bundle_test.c - what goes in comes out; every limit at and beyond; and no damaged bytes are
 * taken: each cut, each flipped bit either is refused or decodes to something that encodes to those
 * bytes.
 */
#include "unit.h"

#include "base/mem.h"
#include "conf/bundle.h"

static struct bundle *sample(void)
{
    struct bundle *b;

    bundle_create(&b);
    assert_int_equal(bundle_add(b, BUNDLE_COMPUTED, STR("lanes"), STR("4")), 0);
    assert_int_equal(bundle_add(b, BUNDLE_FILE, STR("inferd.toml"), STR("a = 1\n\0x")), 0);
    assert_int_equal(bundle_add(b, BUNDLE_FLAG, STR("listen"), STR("127.0.0.1:1")), 0);
    assert_int_equal(bundle_add(b, BUNDLE_FLAG, STR("listen"), STR("127.0.0.1:2")), 0);
    assert_int_equal(bundle_add(b, BUNDLE_SECRET, STR("/etc/key"), STR("")), 0);
    return b;
}

static void assert_same(const struct bundle *a, const struct bundle *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        assert_int_equal(a->at[i].kind, b->at[i].kind);
        assert_true(str_eq(a->at[i].name, b->at[i].name));
        assert_true(str_eq(a->at[i].value, b->at[i].value));
        assert_int_equal(b->at[i].value.p[b->at[i].value.n], '\0');
    }
}

static void test_round_trip(void **state)
{
    struct buf bytes = buf_make(BUNDLE_MAX);
    struct bundle *b = sample(), *back;

    (void)state;
    assert_int_equal(bundle_encode(b, &bytes), 0);
    assert_int_equal(bytes.n, b->bytes);
    assert_int_equal(bundle_decode(buf_str(&bytes), &back), 0);
    assert_same(b, back);
    bundle_destroy(&b);
    assert_null(b);
    bundle_destroy(&b); /* NULL is fine */
    bundle_destroy(&back);
    buf_fini(&bytes);
}

static void test_empty(void **state)
{
    struct buf bytes = buf_make(BUNDLE_MAX);
    struct bundle *b, *back;

    (void)state;
    bundle_create(&b);
    assert_int_equal(bundle_encode(b, &bytes), 0);
    assert_int_equal(bundle_decode(buf_str(&bytes), &back), 0);
    assert_int_equal(back->n, 0);
    assert_null(bundle_find(back, BUNDLE_FILE, NULL));
    bundle_destroy(&b);
    bundle_destroy(&back);
    buf_fini(&bytes);
}

static void test_find(void **state)
{
    struct bundle *b = sample();
    struct str listen = STR("listen"), other = STR("other");

    (void)state;
    assert_str_is(bundle_find(b, BUNDLE_FLAG, &listen)->value, "127.0.0.1:1");
    assert_str_is(bundle_find(b, BUNDLE_FILE, NULL)->name, "inferd.toml");
    assert_null(bundle_find(b, BUNDLE_FLAG, &other));
    assert_null(bundle_find(b, BUNDLE_ENV, &listen));
    bundle_destroy(&b);
}

static void test_limits_of_one_record(void **state)
{
    static const struct {
        enum bundle_kind kind;
        size_t most;
    } kinds[] = {
        {BUNDLE_FILE, BUNDLE_FILE_MAX},     {BUNDLE_COMPUTED, BUNDLE_TEXT_MAX},
        {BUNDLE_ENV, BUNDLE_TEXT_MAX},      {BUNDLE_FLAG, BUNDLE_TEXT_MAX},
        {BUNDLE_SECRET, BUNDLE_SECRET_MAX}, {BUNDLE_KEYS, BUNDLE_FILE_MAX},
    };
    char *big = mem_alloc(BUNDLE_FILE_MAX + 1);
    struct bundle *b;

    (void)state;
    bundle_create(&b);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        assert_int_equal(bundle_add(b, kinds[i].kind, STR("x"), str_span(big, kinds[i].most)), 0);
        assert_int_equal(bundle_add(b, kinds[i].kind, STR("x"), str_span(big, kinds[i].most + 1)),
                         -E_LIMIT);
    }
    assert_int_equal(bundle_add(b, BUNDLE_ENV, str_span(big, BUNDLE_NAME_MAX), STR("")), 0);
    assert_int_equal(bundle_add(b, BUNDLE_ENV, str_span(big, BUNDLE_NAME_MAX + 1), STR("")),
                     -E_LIMIT);
    assert_int_equal(b->n, ARRAY_LEN(kinds) + 1);
    bundle_destroy(&b);
    mem_free(big);
}

static void test_limits_of_all(void **state)
{
    char *big = mem_alloc(BUNDLE_FILE_MAX);
    struct bundle *b;
    size_t n = 0;

    (void)state;
    bundle_create(&b);
    while (bundle_add(b, BUNDLE_FLAG, STR("x"), STR("y")) == 0)
        n++;
    assert_int_equal(n, BUNDLE_RECORDS_MAX);
    bundle_destroy(&b);
    bundle_create(&b);
    for (n = 0; bundle_add(b, BUNDLE_FILE, STR("x"), str_span(big, BUNDLE_FILE_MAX)) == 0;)
        n++;
    assert_int_equal(n, BUNDLE_MAX / BUNDLE_FILE_MAX - 1); /* heads take the rest */
    bundle_destroy(&b);
    mem_free(big);
}

/* A copy without slack, so that a read behind the end is seen by the sanitizer. */
static int decode_exactly(struct str bytes, struct bundle **ret)
{
    char *copy = mem_alloc(bytes.n ? bytes.n : 1);
    int r;

    if (bytes.n)
        memcpy(copy, bytes.p, bytes.n);
    r = bundle_decode(str_span(copy, bytes.n), ret);
    mem_free(copy);
    return r;
}

static void test_every_cut_is_refused(void **state)
{
    struct buf bytes = buf_make(BUNDLE_MAX);
    struct bundle *b = sample(), *back = NULL;

    (void)state;
    assert_int_equal(bundle_encode(b, &bytes), 0);
    for (size_t n = 0; n < bytes.n; n++)
        assert_int_equal(decode_exactly(str_head(buf_str(&bytes), n), &back), -E_SYNTAX);
    buf_char(&bytes, '\0');
    assert_int_equal(decode_exactly(buf_str(&bytes), &back), -E_SYNTAX); /* and one byte more */
    assert_null(back);
    bundle_destroy(&b);
    buf_fini(&bytes);
}

static void test_every_flipped_bit(void **state)
{
    struct buf bytes = buf_make(BUNDLE_MAX), again = buf_make(BUNDLE_MAX);
    struct bundle *b = sample();

    (void)state;
    assert_int_equal(bundle_encode(b, &bytes), 0);
    for (size_t bit = 0; bit < bytes.n * 8; bit++) {
        struct bundle *back;

        bytes.p[bit / 8] ^= (char)(1 << bit % 8);
        if (decode_exactly(buf_str(&bytes), &back) == 0) {
            buf_clear(&again);
            assert_int_equal(bundle_encode(back, &again), 0);
            assert_true(str_eq(buf_str(&again), buf_str(&bytes)));
            assert_true(bit / 8 >= 16); /* nothing of the head may differ */
            bundle_destroy(&back);
        }
        bytes.p[bit / 8] ^= (char)(1 << bit % 8);
    }
    bundle_destroy(&b);
    buf_fini(&bytes);
    buf_fini(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_limits_of_one_record),
        cmocka_unit_test(test_limits_of_all),
        cmocka_unit_test(test_every_cut_is_refused),
        cmocka_unit_test(test_every_flipped_bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
