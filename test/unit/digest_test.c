/* SPDX-License-Identifier: Apache-2.0
 *
 * digest_test.c - FIPS 180-4 vectors, hex,
 * randomness that is not constant, comparison.
 */
#include "unit.h"

#include "base/digest.h"

static void assert_digest(struct str bytes, const char *hex)
{
    uint8_t d[DIGEST_BYTES];
    char text[DIGEST_HEX_BYTES];

    digest_sha256(bytes, d);
    digest_hex(d, sizeof d, text);
    assert_string_equal(text, hex);
}

static void test_vectors(void **state)
{
    static char million[1000000];

    (void)state;
    assert_digest(STR_NONE, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_digest(STR("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_digest(STR("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    memset(million, 'a', sizeof million);
    assert_digest(str_span(million, sizeof million),
                  "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void test_hex(void **state)
{
    char text[7];

    (void)state;
    digest_hex((const uint8_t[]){0x00, 0xa5, 0xff}, 3, text);
    assert_string_equal(text, "00a5ff");
    digest_hex(NULL, 0, text);
    assert_string_equal(text, "");
}

static void test_random_fills_all_of_it(void **state)
{
    unsigned char a[300], seen[300] = {0};

    (void)state;
    for (int round = 0; round < 20; round++) {
        memset(a, 0, sizeof a);
        digest_random(a, sizeof a);
        for (size_t i = 0; i < sizeof a; i++)
            seen[i] |= a[i] != 0;
    }
    for (size_t i = 0; i < sizeof seen; i++) /* wrong once in 256^20 runs */
        assert_true(seen[i]);
    digest_random(a, 0);
    assert_true(digest_random_u64() != digest_random_u64());
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(digest_equal(STR("secret"), STR("secret")));
    assert_true(digest_equal(STR_NONE, STR("")));
    assert_false(digest_equal(STR("secret"), STR("secreT")));
    assert_false(digest_equal(STR("Secret"), STR("secret")));
    assert_false(digest_equal(STR("secret"), STR("secre")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_random_fills_all_of_it),
        cmocka_unit_test(test_equal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
