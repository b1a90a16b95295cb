/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk_test.c - queues of shared chunks against flat byte arrays over random operations; at the
 * end of every test the pool has handed out nothing.
 */
#include "unit.h"

#include "base/chunk.h"
#include "base/mem.h"

enum { QUEUES = 3, MODEL_BYTES = 1 << 20 };

struct model {
    unsigned char *p;
    size_t from, to;
};

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 2685821657736338717ULL;
}

static void assert_holds(const struct chunkq *q, const void *p, size_t n)
{
    unsigned char *copy = mem_alloc(n + 1);
    struct iovec iov[256];
    unsigned pieces = chunkq_iov(q, iov, ARRAY_LEN(iov));
    size_t at = 0;

    assert_int_equal(q->bytes, n);
    assert_true(pieces < ARRAY_LEN(iov));
    for (unsigned i = 0; i < pieces; i++) {
        assert_true(iov[i].iov_len > 0 && iov[i].iov_len <= n - at);
        assert_memory_equal(iov[i].iov_base, (const char *)p + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_int_equal(at, n);
    chunkq_copy(q, 0, copy, n);
    if (n)
        assert_memory_equal(copy, p, n);
    mem_free(copy);
}

static void random_step(struct chunkq *q, struct model *m, uint64_t *r)
{
    static unsigned char bytes[3 * CHUNK_BYTES];
    size_t k = next_random(r) % QUEUES, other = (k + 1 + next_random(r) % (QUEUES - 1)) % QUEUES;
    size_t held = m[k].to - m[k].from, n;

    switch (next_random(r) % 8) {
    case 0:
    case 1:
    case 2: /* append: often a few bytes, sometimes more than a chunk */
        n = next_random(r) % (next_random(r) % 4 ? 200 : sizeof bytes);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)next_random(r);
        if (m[k].to + n > MODEL_BYTES)
            return;
        chunkq_append(&q[k], bytes, n);
        memcpy(m[k].p + m[k].to, bytes, n);
        m[k].to += n;
        return;
    case 3: /* share */
        n = m[other].to - m[other].from;
        if (m[k].to + n > MODEL_BYTES || n > 100000)
            return;
        chunkq_share(&q[k], &q[other]);
        memcpy(m[k].p + m[k].to, m[other].p + m[other].from, n);
        m[k].to += n;
        return;
    case 4:
    case 5:
    case 6: /* consume, now and then all of it */
        n = next_random(r) % 4 ? next_random(r) % (held + 1) : held;
        chunkq_consume(&q[k], n);
        m[k].from += n;
        return;
    default:
        if (next_random(r) % 10 == 0) {
            chunkq_clear(&q[k]);
            m[k].from = m[k].to = 0;
        }
    }
}

static void test_against_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct chunk_pool pool = {.max = 4};
        struct chunkq q[QUEUES];
        struct model m[QUEUES];
        uint64_t r = seed;

        for (size_t k = 0; k < QUEUES; k++) {
            chunkq_init(&q[k], &pool);
            m[k] = (struct model){.p = mem_alloc(MODEL_BYTES)};
        }
        for (int step = 0; step < 300; step++) {
            random_step(q, m, &r);
            for (size_t k = 0; k < QUEUES; k++)
                assert_holds(&q[k], m[k].p + m[k].from, m[k].to - m[k].from);
        }
        for (size_t k = 0; k < QUEUES; k++) {
            chunkq_clear(&q[k]);
            mem_free(m[k].p);
        }
        assert_int_equal(pool.live, 0);
        assert_true(pool.count <= pool.max);
        chunk_pool_fini(&pool);
    }
}

static void test_shared_tail_is_not_written(void **state)
{
    struct chunk_pool pool = {.max = 0};
    struct chunkq body, out;

    (void)state;
    chunkq_init(&body, &pool);
    chunkq_init(&out, &pool);
    chunkq_append(&body, "abc", 3);
    chunkq_share(&out, &body);
    assert_int_equal(pool.live, 1);
    chunkq_append(&out, "XYZ", 3);
    chunkq_append(&body, "def", 3);
    assert_holds(&body, "abcdef", 6);
    assert_holds(&out, "abcXYZ", 6);
    chunkq_consume(&body, 6);
    assert_holds(&out, "abcXYZ", 6);
    chunkq_clear(&out);
    assert_int_equal(pool.live, 0);
    assert_int_equal(pool.count, 0);
}

static void test_two_pieces_need_no_ring(void **state)
{
    static char bytes[2 * CHUNK_BYTES];
    struct chunk_pool pool = {.max = 8};
    struct chunkq q;

    (void)state;
    chunkq_init(&q, &pool);
    for (int i = 0; i < 10; i++) { /* wraps around the two places */
        chunkq_append(&q, bytes, CHUNK_BYTES + 1);
        assert_int_equal(q.count, 2);
        assert_null(q.ring);
        chunkq_consume(&q, CHUNK_BYTES);
        assert_int_equal(q.count, 1);
        chunkq_append(&q, bytes, CHUNK_BYTES);
        assert_int_equal(q.count, 2);
        assert_null(q.ring);
        chunkq_consume(&q, q.bytes);
        assert_int_equal(q.count, 0);
    }
    chunkq_append(&q, bytes, CHUNK_BYTES + 1);
    chunkq_consume(&q, CHUNK_BYTES); /* the front stands in the second place */
    chunkq_append(&q, bytes, 2 * CHUNK_BYTES);
    assert_non_null(q.ring);
    assert_int_equal(q.bytes, 2 * CHUNK_BYTES + 1);
    chunkq_consume(&q, q.bytes);
    assert_null(q.ring); /* an empty queue owns nothing */
    assert_int_equal(pool.live, 0);
    chunk_pool_fini(&pool);
}

static void test_looking_from_the_middle(void **state)
{
    struct chunk_pool pool = {.max = 0};
    static char bytes[3 * CHUNK_BYTES];
    char copy[20];
    struct iovec iov[8];
    struct chunkq q;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    chunkq_init(&q, &pool);
    assert_int_equal(chunkq_iov(&q, iov, 8), 0);
    chunkq_append(&q, bytes, sizeof bytes);
    assert_int_equal(chunkq_iov_from(&q, CHUNK_BYTES + 5, iov, 8), 2);
    assert_int_equal(iov[0].iov_len, CHUNK_BYTES - 5);
    assert_memory_equal(iov[0].iov_base, bytes + CHUNK_BYTES + 5, CHUNK_BYTES - 5);
    assert_int_equal(chunkq_iov_from(&q, CHUNK_BYTES, iov, 1), 1);
    assert_int_equal(iov[0].iov_len, CHUNK_BYTES);
    assert_int_equal(chunkq_iov_from(&q, sizeof bytes, iov, 8), 0);
    assert_int_equal(chunkq_iov(&q, iov, 0), 0);
    chunkq_copy(&q, CHUNK_BYTES - 10, copy, 20);
    assert_memory_equal(copy, bytes + CHUNK_BYTES - 10, 20);
    chunkq_copy(&q, sizeof bytes, copy, 0);
    chunkq_clear(&q);
    assert_int_equal(pool.live, 0);
}

static void test_misuse_aborts(void **state)
{
    struct chunk_pool pool = {.max = 1}, second = {.max = 1};
    struct chunkq q, other;
    char text[512], byte;

    (void)state;
    chunkq_init(&q, &pool);
    chunkq_init(&other, &second);
    chunkq_append(&q, "abc", 3);
    assert_dies(chunkq_consume(&q, 4), text);
    assert_dies(chunkq_copy(&q, 3, &byte, 1), text);
    assert_dies(chunkq_copy(&q, SIZE_MAX, &byte, 2), text);
    assert_dies(chunkq_share(&other, &q), text);
    assert_dies(chunkq_share(&q, &q), text);
    assert_non_null(strstr(text, "chunkq_share"));
    chunkq_clear(&q);
    chunk_pool_fini(&pool);
}

static void test_pool_keeps_max(void **state)
{
    struct chunk_pool pool = {.max = 2};
    static char bytes[5 * CHUNK_BYTES];
    struct chunkq q;

    (void)state;
    chunkq_init(&q, &pool);
    chunkq_append(&q, bytes, sizeof bytes);
    assert_int_equal(pool.live, 5);
    chunkq_clear(&q);
    assert_int_equal(pool.live, 0);
    assert_int_equal(pool.count, 2);
    chunkq_append(&q, bytes, 1);
    assert_int_equal(pool.count, 1);
    chunkq_clear(&q);
    chunk_pool_fini(&pool);
    assert_int_equal(pool.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_shared_tail_is_not_written),
        cmocka_unit_test(test_two_pieces_need_no_ring),
        cmocka_unit_test(test_looking_from_the_middle),
        cmocka_unit_test(test_misuse_aborts),
        cmocka_unit_test(test_pool_keeps_max),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
