/* SPDX-License-Identifier: Apache-2.0
 *
 * map_test.c - the hash map against a plain array that does the same, over random operations; with
 * a small key space, so that removals meet long probe chains.
 */
#include "unit.h"

#include "base/map.h"
#include "base/mem.h"

enum { KEYS = 200 };

static uint64_t next_random(uint64_t *s) /* xorshift64* */
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 2685821657736338717ULL;
}

static void assert_same(const struct map *m, char keys[KEYS][16], int *const model[KEYS],
                        size_t count)
{
    struct map_slot *s;
    size_t seen = 0;

    assert_int_equal(m->count, count);
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_find(m, str_of(keys[i])), model[i]);
    for (size_t i = 0; (s = map_next(m, &i));) {
        seen++;
        assert_ptr_equal(map_find(m, s->key), s->value);
    }
    assert_int_equal(seen, count);
}

static void test_against_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t r = seed;
        char keys[KEYS][16];
        int values[KEYS], *model[KEYS] = {NULL};
        size_t count = 0;
        struct map m;

        map_init(&m, seed);
        for (int i = 0; i < KEYS; i++)
            (void)snprintf(keys[i], sizeof keys[i], "k%d", i);
        for (int step = 0; step < 4000; step++) {
            size_t k = next_random(&r) % KEYS;
            int *value = &values[next_random(&r) % KEYS];
            /* phases that fill and phases that drain */
            bool put = next_random(&r) % 100 < (step / 500 % 2 ? 25 : 75);

            if (put) {
                assert_ptr_equal(map_put(&m, str_of(keys[k]), value), model[k]);
                count += model[k] == NULL;
                model[k] = value;
            } else {
                assert_ptr_equal(map_remove(&m, str_of(keys[k])), model[k]);
                count -= model[k] != NULL;
                model[k] = NULL;
            }
            if (step % 100 == 0)
                assert_same(&m, keys, model, count);
        }
        assert_same(&m, keys, model, count);
        map_fini(&m);
        assert_int_equal(m.count, 0);
    }
}

static void test_empty_map_and_empty_key(void **state)
{
    int value;
    size_t i = 0;
    struct map m;

    (void)state;
    map_init(&m, 1);
    assert_null(map_find(&m, STR("a")));
    assert_null(map_remove(&m, STR("a")));
    assert_null(map_next(&m, &i));
    assert_null(map_put(&m, STR_NONE, &value));
    assert_ptr_equal(map_find(&m, STR("")), &value);
    assert_ptr_equal(map_find(&m, STR_NONE), &value);
    assert_ptr_equal(map_remove(&m, STR("")), &value);
    assert_int_equal(m.count, 0);
    map_fini(&m);
}

static void test_keys_are_bytes(void **state)
{
    int one, two;
    struct map m;

    (void)state;
    map_init(&m, 1);
    (void)map_put(&m, (struct str){"a\0b", 3}, &one);
    (void)map_put(&m, (struct str){"a\0c", 3}, &two);
    assert_ptr_equal(map_find(&m, (struct str){"a\0b", 3}), &one);
    assert_null(map_find(&m, STR("a")));
    map_fini(&m);
}

static void test_replacing_borrows_the_new_key(void **state)
{
    char *old = mem_strdup("key"), *fresh = mem_strdup("key");
    int value;
    struct map m;

    (void)state;
    map_init(&m, 1);
    (void)map_put(&m, str_of(old), &value);
    (void)map_put(&m, str_of(fresh), &value);
    mem_free(old);
    assert_ptr_equal(map_find(&m, STR("key")), &value); /* ASan is the assertion */
    map_fini(&m);
    mem_free(fresh);
}

static void test_null_value_is_a_bug(void **state)
{
    char text[512];
    struct map m;

    (void)state;
    map_init(&m, 1);
    assert_dies((void)map_put(&m, STR("a"), NULL), text);
    assert_non_null(strstr(text, "value != NULL"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_empty_map_and_empty_key),
        cmocka_unit_test(test_keys_are_bytes),
        cmocka_unit_test(test_replacing_borrows_the_new_key),
        cmocka_unit_test(test_null_value_is_a_bug),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
