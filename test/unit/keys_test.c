/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_test.c - API keys: their text and what passes for one, keyrings and what they carry over,
 * rights, a request's share, and what a connection remembers. How long a comparison takes is
 * key_timing_test.c's.
 */
#include "unit.h"

#include "base/buf.h"
#include "base/mem.h"
#include "gate/keys.h"

#define SECRET_A "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define SECRET_B "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
#define SECOND ((uint64_t)1000000)

static struct str any[] = {{"*", 1}}, some[] = {{"tiny", 4}, {"llama-*", 7}};

static struct key_conf key(const char *id, const char *secret)
{
    struct key_conf k = {.id = str_of(id),
                         .models = {any, 1},
                         .concurrency = OPTION_UNSET_U32,
                         .requests_per_minute = OPTION_UNSET_U32,
                         .tokens_per_minute = OPTION_UNSET_U64};

    keys_digest(str_of(secret), k.digest);
    return k;
}

static struct keyring *ring_of(struct key_conf *keys, size_t n, const struct keyring *before)
{
    struct key_conf_list list = {keys, n};

    return keys_build(&list, before, 7, NULL, NULL);
}

static bool parses(const char *text)
{
    struct str id, secret;

    return keys_parse(str_of(text), &id, &secret);
}

static void test_texts(void **state)
{
    struct str id, secret;

    (void)state;
    assert_true(keys_parse(STR("inf_alice7_" SECRET_A), &id, &secret));
    assert_str_is(id, "alice7");
    assert_str_is(secret, SECRET_A);
    assert_true(parses("inf_abcd_--__AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    assert_true(parses("inf_abcdefghijklmnopqrstuvwxyz234567_" SECRET_A));
    assert_false(parses(""));
    assert_false(parses("inf_"));
    assert_false(parses("inf__" SECRET_A));
    assert_false(parses("inf_abc_" SECRET_A)); /* too short an id */
    assert_false(parses("inf_abcdefghijklmnopqrstuvwxyz2345678_" SECRET_A));
    assert_false(parses("inf_Alice_" SECRET_A));
    assert_false(parses("inf_al-ce_" SECRET_A));
    assert_false(parses("INF_alice_" SECRET_A));
    assert_false(parses("sk-alice_" SECRET_A));
    assert_false(parses("inf_alice_" SECRET_A "A"));
    assert_false(parses("inf_alice_AAAA"));
    assert_false(parses("inf_alice_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+/"));
    assert_false(parses("inf_alice" SECRET_A));
}

/* No text of up to 100 random bytes, and no key with one byte changed, upsets it; only what has the
 * form passes. */
static void test_texts_of_any_bytes(void **state)
{
    static const char key[] = "inf_alice7_" SECRET_A;
    struct str id, secret;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        char text[101];
        size_t n = digest_random_u64() % 101;

        digest_random(text, sizeof text);
        assert_false(keys_parse(str_span(text, n), &id, &secret));
        (void)keys_bearer(str_span(text, n));
    }
    for (size_t at = 0; at < sizeof key - 1; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char text[sizeof key];

            memcpy(text, key, sizeof key);
            text[at] = (char)byte;
            if (keys_parse(str_span(text, sizeof key - 1), &id, &secret)) {
                assert_true(keys_is_id(id));
                assert_int_equal(secret.n, KEYS_SECRET);
                assert_ptr_equal(secret.p + secret.n, text + sizeof key - 1);
            }
        }
    }
}

static void test_bearer(void **state)
{
    (void)state;
    assert_str_is(keys_bearer(STR("Bearer x")), "x");
    assert_str_is(keys_bearer(STR("bearer   x")), "x");
    assert_str_is(keys_bearer(STR("BEARER x y")), "x y");
    assert_int_equal(keys_bearer(STR("Bearer ")).n, 0);
    assert_int_equal(keys_bearer(STR("Bearer")).n, 0);
    assert_int_equal(keys_bearer(STR("Bearerx")).n, 0);
    assert_int_equal(keys_bearer(STR("Basic eDp5")).n, 0);
    assert_int_equal(keys_bearer(STR_NONE).n, 0);
}

static void test_made_keys_are_keys_and_differ(void **state)
{
    char text[2][KEYS_TEXT_MAX + 1], id[2][KEYS_ID_NEW + 1];
    unsigned seen[256] = {0}, kinds = 0;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        struct str parsed, secret;

        keys_make(text[i % 2], id[i % 2]);
        assert_true(keys_parse(str_of(text[i % 2]), &parsed, &secret));
        assert_str_is(parsed, id[i % 2]);
        if (i > 0)
            assert_string_not_equal(text[0], text[1]);
        for (size_t k = 0; k < secret.n; k++)
            seen[(unsigned char)secret.p[k]]++;
    }
    for (unsigned i = 0; i < 256; i++)
        kinds += seen[i] > 0;
    assert_int_equal(kinds, 64); /* every digit of base64url, or the bits are not all used */
}

static void test_check(void **state)
{
    struct key_conf keys[] = {key("alice", SECRET_A), key("bobby", SECRET_B)};
    struct keyring *ring = ring_of(keys, 2, NULL);

    (void)state;
    assert_int_equal(keys_count(ring), 2);
    assert_str_is(keys_check(ring, STR("inf_alice_" SECRET_A))->id, "alice");
    assert_str_is(keys_check(ring, STR("inf_bobby_" SECRET_B))->id, "bobby");
    assert_null(keys_check(ring, STR("inf_alice_" SECRET_B)));
    assert_null(keys_check(ring, STR("inf_carol_" SECRET_A)));
    assert_null(keys_check(ring, STR("inf_none_-------------------------------------------")));
    assert_null(keys_check(ring, STR("nonsense")));
    assert_null(keys_check(ring, STR_NONE));
    keys_destroy(&ring);
    ring = ring_of(keys, 0, NULL); /* asks for keys and has none: nobody may */
    assert_null(keys_check(ring, STR("inf_alice_" SECRET_A)));
    keys_destroy(&ring);
}

static void test_rights(void **state)
{
    struct key_conf keys[] = {key("alice", SECRET_A), key("bobby", SECRET_B)};
    struct keyring *ring;
    const struct key *alice, *bobby;

    (void)state;
    keys[1].models = (struct str_list){some, 2};
    ring = ring_of(keys, 2, NULL);
    alice = keys_find(ring, STR("alice"));
    bobby = keys_find(ring, STR("bobby"));
    assert_true(keys_allow_all(alice) && keys_allow(alice, STR("anything")));
    assert_false(keys_allow_all(bobby));
    assert_true(keys_allow(bobby, STR("tiny")));
    assert_false(keys_allow(bobby, STR("tiny2")));
    assert_false(keys_allow(bobby, STR("Tiny")));
    assert_true(keys_allow(bobby, STR("llama-3")));
    assert_true(keys_allow(bobby, STR("llama-")));
    assert_false(keys_allow(bobby, STR("llama")));
    assert_false(keys_allow(bobby, STR("")));
    keys_destroy(&ring);
}

static void test_concurrency(void **state)
{
    struct key_conf keys[] = {key("alice", SECRET_A)};
    struct key_hold h[3];
    struct keyring *ring;
    const struct key *k;
    uint64_t wait = 0;

    (void)state;
    keys[0].concurrency = 2;
    ring = ring_of(keys, 1, NULL);
    k = keys_find(ring, STR("alice"));
    assert_int_equal(keys_take(k, k->id, 0, &h[0], &wait), KEYS_FINE);
    assert_int_equal(keys_take(k, k->id, 0, &h[1], &wait), KEYS_FINE);
    assert_int_equal(keys_take(k, k->id, 0, &h[2], &wait), KEYS_CONCURRENCY);
    assert_true(wait > 0);
    keys_release(&h[2], 0, 0);
    keys_release(&h[2], 0, 0); /* once is all there is to give */
    assert_int_equal(keys_under_way(k), 2);
    keys_release(&h[0], 0, 0);
    assert_int_equal(keys_take(k, k->id, 0, &h[0], &wait), KEYS_FINE);
    keys_release(&h[0], 0, 0);
    keys_release(&h[1], 0, 0);
    assert_int_equal(keys_under_way(k), 0);
    keys_destroy(&ring);
}

static void test_requests_per_minute(void **state)
{
    struct key_conf keys[] = {key("alice", SECRET_A)};
    struct keyring *ring;
    struct key_hold h;
    uint64_t wait = 0, now = 100 * SECOND;

    (void)state;
    keys[0].requests_per_minute = 3;
    ring = ring_of(keys, 1, NULL);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(keys_take(keys_find(ring, STR("alice")), STR("alice"), now, &h, &wait),
                         KEYS_FINE);
        assert_int_equal(keys_requests_left(&h, now).left, 2 - i);
        keys_release(&h, now, 0);
    }
    assert_int_equal(keys_take(keys_find(ring, STR("alice")), STR("alice"), now, &h, &wait),
                     KEYS_REQUESTS);
    assert_int_equal(wait, 20 * SECOND);
    keys_release(&h, now, 0);
    now += wait;
    assert_int_equal(keys_take(keys_find(ring, STR("alice")), STR("alice"), now, &h, &wait),
                     KEYS_FINE);
    keys_release(&h, now, 0);
    keys_destroy(&ring);
}

static void test_tokens_are_reserved_then_settled(void **state)
{
    struct key_conf keys[] = {key("alice", SECRET_A)};
    struct keyring *ring;
    struct key_hold h, other;
    uint64_t wait = 0;

    (void)state;
    keys[0].tokens_per_minute = 1000;
    ring = ring_of(keys, 1, NULL);
    assert_int_equal(keys_take(keys_find(ring, STR("alice")), STR("alice"), 0, &h, &wait),
                     KEYS_FINE);
    assert_int_equal(keys_take(keys_find(ring, STR("alice")), STR("alice"), 0, &other, &wait),
                     KEYS_FINE);
    assert_int_equal(keys_reserve(&h, 0, 900, &wait), KEYS_FINE);
    assert_int_equal(keys_reserve(&h, 0, 900, &wait), KEYS_FINE); /* once */
    assert_int_equal(keys_reserve(&other, 0, 900, &wait), KEYS_TOKENS);
    keys_release(&h, 0, 100); /* it came to less */
    assert_int_equal(keys_tokens_left(&other, 0).left, 900);
    assert_int_equal(keys_reserve(&other, 0, 900, &wait), KEYS_FINE);
    keys_release(&other, 0, 2900); /* and to more: the minute after next is the first with some */
    assert_int_equal(keys_take(keys_find(ring, STR("alice")), STR("alice"), 0, &h, &wait),
                     KEYS_FINE);
    assert_int_equal(keys_reserve(&h, 119 * SECOND, 1, &wait), KEYS_TOKENS);
    assert_int_equal(keys_reserve(&h, 121 * SECOND, 1, &wait), KEYS_FINE);
    keys_release(&h, 121 * SECOND, 1);
    keys_destroy(&ring);
}

static uint32_t count_labels(void *ctx, struct str id)
{
    (void)id;
    return ++*(uint32_t *)ctx;
}

static void test_cells_outlive_keyrings(void **state)
{
    struct key_conf keys[] = {key("alice", SECRET_A), key("bobby", SECRET_B)};
    struct key_conf changed[] = {key("alice", SECRET_A), key("bobby", SECRET_A)};
    struct key_conf_list one = {keys, 2}, two = {changed, 2}, none = {changed, 0};
    uint32_t labels = 0;
    struct keyring *ring = keys_build(&one, NULL, 7, count_labels, &labels), *next;
    struct key_hold alice, bobby;
    uint64_t wait = 0;

    (void)state;
    changed[0].concurrency = 1;
    assert_int_equal(keys_take(keys_find(ring, STR("alice")), STR("alice"), 0, &alice, &wait),
                     KEYS_FINE);
    assert_int_equal(keys_take(keys_find(ring, STR("bobby")), STR("bobby"), 0, &bobby, &wait),
                     KEYS_FINE);
    next = keys_build(&two, ring, 7, count_labels, &labels);
    assert_int_equal(labels, 3); /* bobby has another secret: that is another key */
    assert_int_not_equal(keys_number(ring), keys_number(next));
    keys_destroy(&ring);
    assert_int_equal(keys_under_way(keys_find(next, STR("alice"))), 1);
    assert_int_equal(keys_under_way(keys_find(next, STR("bobby"))), 0);
    assert_true(keys_find(next, STR("alice"))->cell == alice.cell);
    assert_true(keys_find(next, STR("bobby"))->cell != bobby.cell);
    ring = keys_build(&none, next, 7, count_labels, &labels);
    keys_destroy(&next);
    keys_destroy(&ring);
    keys_release(&alice, 0, 0); /* the last to hold its cell */
    keys_release(&bobby, 0, 0);
}

static void test_a_connection_remembers(void **state)
{
    struct key_conf keys[] = {key("alice", SECRET_A), key("bobby", SECRET_B)};
    struct keyring *ring = ring_of(keys, 2, NULL), *without;
    struct key_memo *memo = NULL;
    const struct key *alice = keys_find(ring, STR("alice"));

    (void)state;
    assert_null(keys_recall(ring, STR("inf_alice_" SECRET_B), &memo));
    assert_null(memo);
    assert_ptr_equal(keys_recall(ring, STR("inf_alice_" SECRET_A), &memo), alice);
    assert_non_null(memo);
    assert_ptr_equal(keys_recall(ring, STR("inf_alice_" SECRET_A), &memo), alice);
    assert_null(keys_recall(ring, STR("inf_alice_" SECRET_B), &memo));
    assert_null(keys_recall(ring, STR("inf_alice_"), &memo));
    assert_ptr_equal(keys_recall(ring, STR("inf_alice_" SECRET_A), &memo), alice);
    assert_str_is(keys_recall(ring, STR("inf_bobby_" SECRET_B), &memo)->id, "bobby");
    without = ring_of(keys, 1, ring); /* a reload took bobby out */
    assert_null(keys_recall(without, STR("inf_bobby_" SECRET_B), &memo));
    assert_str_is(keys_recall(without, STR("inf_alice_" SECRET_A), &memo)->id, "alice");
    keys_forget(memo);
    keys_forget(NULL);
    keys_destroy(&without);
    keys_destroy(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_texts_of_any_bytes),
        cmocka_unit_test(test_bearer),
        cmocka_unit_test(test_made_keys_are_keys_and_differ),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_concurrency),
        cmocka_unit_test(test_requests_per_minute),
        cmocka_unit_test(test_tokens_are_reserved_then_settled),
        cmocka_unit_test(test_cells_outlive_keyrings),
        cmocka_unit_test(test_a_connection_remembers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
