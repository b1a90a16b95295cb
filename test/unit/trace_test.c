/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_test.c - the rings' order and bound, the dump of a process that fails a CHECK, dumping
 * while another thread writes.
 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>

#include "base/mem.h"
#include "base/trace.h"

static struct trace rings[2];

static void read_dump(void (*dump)(const struct trace *, int), const struct trace *t, char *text,
                      size_t size)
{
    FILE *f = tmpfile();

    assert_non_null(f);
    dump(t, fileno(f));
    rewind(f);
    text[fread(text, 1, size - 1, f)] = '\0';
    (void)fclose(f);
}

static void dump_all(const struct trace *unused, int fd)
{
    (void)unused;
    trace_dump(fd);
}

static void test_keeps_the_last_notes_in_order(void **state)
{
    static char text[TRACE_NOTES * 100];
    char line[64];
    const char *at;

    (void)state;
    trace_init(&rings[0], "lane 0");
    read_dump(trace_dump_ring, &rings[0], text, sizeof text);
    assert_string_equal(text,
                        "trace of lane 0: 0 notes, the last ones (age, id, what, two numbers), "
                        "newest last:\n");
    for (uint64_t i = 0; i < TRACE_NOTES + 10; i++)
        trace_add(&rings[0], 1000 + i, i, "STEP", i * 2, UINT64_MAX);
    read_dump(trace_dump_ring, &rings[0], text, sizeof text);
    assert_non_null(strstr(text, "lane 0: 266 notes"));
    assert_null(strstr(text, " #9 "));
    at = strchr(text, '\n') + 1;
    for (uint64_t i = 10; i < TRACE_NOTES + 10; i++) {
        (void)snprintf(line, sizeof line, "  -%d us #%d STEP %d 18446744073709551615\n",
                       (int)(TRACE_NOTES + 9 - i), (int)i, (int)i * 2);
        assert_memory_equal(at, line, strlen(line));
        at += strlen(line);
    }
    assert_string_equal(at, "");
    trace_fini(&rings[0]);
}

static void test_failed_check_prints_every_ring(void **state)
{
    volatile int one = 1;
    char text[4096];

    (void)state;
    trace_init(&rings[0], "lane 0");
    trace_init(&rings[1], "control");
    trace_add(&rings[0], 50, 7, "SEND", 1, 2);
    trace_add(&rings[1], 60, 8, "GRANT", 3, 4);
    assert_dies(CHECK(one == 2), text);
    assert_non_null(strstr(text, "CHECK(one == 2) failed"));
    assert_non_null(strstr(text, "trace of lane 0: 1 notes"));
    assert_non_null(strstr(text, "#7 SEND 1 2\n"));
    assert_non_null(strstr(text, "trace of control: 1 notes"));
    assert_non_null(strstr(text, "#8 GRANT 3 4\n"));
    trace_fini(&rings[1]);
    trace_fini(&rings[1]);
    assert_dies(CHECK(one == 2), text);
    assert_null(strstr(text, "control"));
    assert_non_null(strstr(text, "lane 0"));
    trace_fini(&rings[0]);
}

static void test_more_rings_than_places(void **state)
{
    struct trace *many = mem_alloc((TRACE_RINGS + 1) * sizeof *many);
    char text[TRACE_RINGS * 200];

    (void)state;
    for (int i = 0; i <= TRACE_RINGS; i++)
        trace_init(&many[i], i < TRACE_RINGS ? "placed" : "unplaced");
    trace_add(&many[TRACE_RINGS], 1, 2, "x", 3, 4);
    read_dump(dump_all, NULL, text, sizeof text);
    assert_non_null(strstr(text, "of placed"));
    assert_null(strstr(text, "unplaced"));
    for (int i = 0; i <= TRACE_RINGS; i++)
        trace_fini(&many[i]);
    read_dump(dump_all, NULL, text, sizeof text);
    assert_string_equal(text, "");
    mem_free(many);
}

static bool stop;

static void *writes(void *arg)
{
    for (uint64_t i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++)
        trace_add(arg, i, i, i % 2 ? "ODD" : "EVEN", i, i);
    return NULL;
}

static void test_dump_while_another_thread_writes(void **state)
{
    static char text[TRACE_NOTES * 120];
    pthread_t thread;

    (void)state;
    stop = false;
    trace_init(&rings[0], "busy");
    assert_int_equal(pthread_create(&thread, NULL, writes, &rings[0]), 0);
    for (int i = 0; i < 50; i++) {
        errno = 77;
        read_dump(dump_all, NULL, text, sizeof text);
        assert_non_null(strstr(text, "trace of busy"));
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    trace_fini(&rings[0]);
}

static void test_dump_keeps_errno_and_survives_a_bad_descriptor(void **state)
{
    (void)state;
    trace_init(&rings[0], "x");
    trace_add(&rings[0], 1, 1, "x", 1, 1);
    errno = 77;
    trace_dump(-1);
    assert_int_equal(errno, 77);
    trace_fini(&rings[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_the_last_notes_in_order),
        cmocka_unit_test(test_failed_check_prints_every_ring),
        cmocka_unit_test(test_more_rings_than_places),
        cmocka_unit_test(test_dump_while_another_thread_writes),
        cmocka_unit_test(test_dump_keeps_errno_and_survives_a_bad_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
