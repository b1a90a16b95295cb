/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics_test.c - the text of every type against expected output, sums over shards, dynamic names
 * and their overflow, escaping, the cap, and a scrape while threads count.
 */
#include "unit.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/metrics.h"

static const char *const route_names[] = {"chat", "embeddings"};
static const char *const class_names[] = {"2xx", "4xx", "5xx"};
static const struct metrics_label route_label = {"route", 2, route_names};
static const struct metrics_label class_label = {"class", 3, class_names};
static const struct metrics_label engine_label = {.name = "engine", .count = METRICS_NAMES};

#define TEST_METRICS(X)                                                                            \
    X(COUNTER, requests, "t_requests_total", "Requests.", NONE, [2][3], &route_label,              \
      &class_label)                                                                                \
    X(COUNTER, plain, "t_plain_total", "No labels.", NONE, , )                                     \
    X(GAUGE, open, "t_open", "Open now.", NONE, , )                                                \
    X(HISTOGRAM, wait, "t_wait_seconds", "Wait.", SECONDS, [2], &route_label)                      \
    X(COUNTER, bytes, "t_bytes_total", "Bytes.", NONE, [METRICS_NAMES], &engine_label)             \
    X(GAUGE, load, "t_load", "Load.", NONE, [METRICS_NAMES], &engine_label)

struct shard {
    TEST_METRICS(METRICS_FIELD)
};
#define TEST_ROW(...) METRICS_ROW(struct shard, __VA_ARGS__)
static const struct metrics_family families[] = {TEST_METRICS(TEST_ROW)};

struct fixture {
    struct shard shard[2];
    struct metrics *m;
    struct buf text;
};

static int set_up(void **state)
{
    struct fixture *f = xnew(struct fixture, .text = buf_make(1 << 20));

    f->m = metrics_create();
    METRICS_REGISTER(f->m, families, &f->shard[0]);
    METRICS_REGISTER(f->m, families, &f->shard[1]);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    metrics_destroy(&f->m);
    buf_fini(&f->text);
    mem_free(f);
    return 0;
}

static const char *render(struct fixture *f)
{
    buf_clear(&f->text);
    assert_int_equal(metrics_render(f->m, &f->text), 0);
    return buf_cstr(&f->text);
}

static void assert_line(const char *text, const char *line)
{
    const char *at = strstr(text, line);

    while (at && (at != text && at[-1] != '\n'))
        at = strstr(at + 1, line);
    if (!at || at[strlen(line)] != '\n')
        fail_msg("no line \"%s\" in:\n%s", line, text);
}

static void test_counters_sum_over_shards(void **state)
{
    struct fixture *f = *state;
    const char *text;

    metrics_count(&f->shard[0].requests[0][1]);
    metrics_count(&f->shard[0].requests[0][1]);
    metrics_add(&f->shard[1].requests[0][1], 40);
    metrics_count(&f->shard[1].requests[1][2]);
    metrics_count(&f->shard[0].plain);
    text = render(f);
    assert_line(text, "# HELP t_requests_total Requests.");
    assert_line(text, "# TYPE t_requests_total counter");
    assert_line(text,
                "t_requests_total{route=\"chat\",class=\"2xx\"} 0"); /* closed sets start at 0 */
    assert_line(text, "t_requests_total{route=\"chat\",class=\"4xx\"} 42");
    assert_line(text, "t_requests_total{route=\"embeddings\",class=\"5xx\"} 1");
    assert_line(text, "t_plain_total 1");
    assert_int_equal(metrics_counter_read(&f->shard[1].requests[0][1]), 40);
}

static void test_gauges_move_both_ways(void **state)
{
    struct fixture *f = *state;

    metrics_move(&f->shard[0].open, 5);
    metrics_move(&f->shard[1].open, -7); /* closed on another thread than opened */
    assert_line(render(f), "t_open -2");
    assert_line(render(f), "# TYPE t_open gauge");
    metrics_set(&f->shard[1].open, 3);
    assert_line(render(f), "t_open 8");
}

static void test_histogram(void **state)
{
    struct fixture *f = *state;
    const char *text;

    metrics_observe(&f->shard[0].wait[0], METRICS_SECONDS, 0);
    metrics_observe(&f->shard[0].wait[0], METRICS_SECONDS, 1000); /* bounds are inclusive */
    metrics_observe(&f->shard[1].wait[0], METRICS_SECONDS, 1001);
    metrics_observe(&f->shard[1].wait[0], METRICS_SECONDS, 3600 * 1000000ULL);
    text = render(f);
    assert_line(text, "# TYPE t_wait_seconds histogram");
    assert_line(text, "t_wait_seconds_bucket{route=\"chat\",le=\"0.001\"} 2");
    assert_line(text, "t_wait_seconds_bucket{route=\"chat\",le=\"0.0025\"} 3");
    assert_line(text, "t_wait_seconds_bucket{route=\"chat\",le=\"1\"} 3");
    assert_line(text, "t_wait_seconds_bucket{route=\"chat\",le=\"600\"} 3");
    assert_line(text, "t_wait_seconds_bucket{route=\"chat\",le=\"+Inf\"} 4");
    assert_line(text, "t_wait_seconds_sum{route=\"chat\"} 3600.002001");
    assert_line(text, "t_wait_seconds_count{route=\"chat\"} 4");
    assert_line(text, "t_wait_seconds_count{route=\"embeddings\"} 0");
}

static void test_scales_ascend(void **state)
{
    static const struct {
        enum metrics_scale scale;
        uint64_t beyond;
    } rows[] = {{METRICS_SECONDS, 600000001},
                {METRICS_DELAY, 1000001},
                {METRICS_BYTES, 67108865},
                {METRICS_COUNT, 100001}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct metrics_histogram h = {.sum = 0}, last = {.sum = 0};
        size_t used = 0;

        for (uint64_t v = 0; v < rows[i].beyond; v = v * 5 / 4 + 1)
            metrics_observe(&h, rows[i].scale, v);
        metrics_observe(&last, rows[i].scale, rows[i].beyond);
        while (used <= METRICS_BOUNDS && h.bucket[used])
            used++;
        assert_in_range(used, 8, METRICS_BOUNDS);
        assert_int_equal(last.bucket[used], 1); /* the first one no value below got into: +Inf */
        assert_int_equal(last.bucket[used - 1], 0);
    }
}

static void test_dynamic_names(void **state)
{
    struct fixture *f = *state;
    unsigned tiny = metrics_name(f->m, &engine_label, STR("tiny"));
    const char *text = render(f);

    assert_null(strstr(text, "t_bytes_total{"));
    assert_line(text, "t_load{engine=\"tiny\"} 0");
    assert_null(strstr(text, "engine=\"other\""));
    assert_int_equal(metrics_name(f->m, &engine_label, STR("tiny")), tiny);
    assert_int_not_equal(tiny, 0);
    metrics_add(&f->shard[0].bytes[tiny], 10);
    metrics_count(&f->shard[1].bytes[0]);
    text = render(f);
    assert_line(text, "t_bytes_total{engine=\"tiny\"} 10");
    assert_line(text, "t_bytes_total{engine=\"other\"} 1");
}

static void test_names_overflow_into_other(void **state)
{
    struct fixture *f = *state;
    char name[16];

    assert_int_equal(metrics_name(f->m, &engine_label, STR_NONE), 0);
    for (int i = 1; i < METRICS_NAMES; i++) {
        (void)snprintf(name, sizeof name, "e%d", i);
        assert_int_equal(metrics_name(f->m, &engine_label, str_of(name)), i);
    }
    assert_int_equal(metrics_name(f->m, &engine_label, STR("one too many")), 0);
    assert_int_equal(metrics_name(f->m, &engine_label, STR("e255")), 255);
}

static void test_names_are_escaped_and_cut(void **state)
{
    struct fixture *f = *state;
    char name[300];
    unsigned i;

    i = metrics_name(f->m, &engine_label, STR("a\"b\\c\nd\xff\xc3\xa4"));
    metrics_count(&f->shard[0].bytes[i]);
    assert_line(render(f), "t_bytes_total{engine=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\xc3\xa4\"} 1");
    memset(name, 'x', sizeof name);
    i = metrics_name(f->m, &engine_label, str_span(name, 300));
    assert_int_equal(metrics_name(f->m, &engine_label, str_span(name, 128)), i);
}

static void source(void *ctx, struct buf *out)
{
    const struct str labels[] = {STR("unit"), STR("a\"b"), STR("state"), STR("ready")};

    metrics_put_head(out, METRICS_GAUGE, "t_units", "Units.");
    metrics_put_i64(out, "t_units", labels, 2, *(int *)ctx);
    metrics_put_i64(out, "t_units_all", NULL, 0, -1);
}

static void test_sources(void **state)
{
    struct fixture *f = *state;
    int n = 7;
    const char *text;

    metrics_source(f->m, source, &n);
    text = render(f);
    assert_line(text, "# TYPE t_units gauge");
    assert_line(text, "t_units{unit=\"a\\\"b\",state=\"ready\"} 7");
    assert_line(text, "t_units_all -1");
}

static void test_cap_is_told(void **state)
{
    struct fixture *f = *state;
    struct buf little = buf_make(100);

    assert_int_equal(metrics_render(f->m, &little), -E_LIMIT);
    buf_fini(&little);
}

static void test_wrong_tables_abort(void **state)
{
    static const struct metrics_family wrong_size = {
        .name = "x", .help = "x", .bytes = 16, .label = {&class_label}};
    static const struct metrics_family no_scale = {.name = "x",
                                                   .help = "x",
                                                   .type = METRICS_HISTOGRAM,
                                                   .bytes = sizeof(struct metrics_histogram)};
    struct fixture *f = *state;
    char text[512];

    assert_dies(metrics_register(f->m, &wrong_size, 1, &f->shard), text);
    assert_non_null(strstr(text, "f->bytes =="));
    assert_dies(metrics_register(f->m, &no_scale, 1, &f->shard), text);
    assert_non_null(strstr(text, "METRICS_NONE"));
    assert_dies(for (int i = 0; i < METRICS_SHARDS; i++)
                    METRICS_REGISTER(f->m, families, &f->shard[0]),
                text);
}

enum { ROUNDS = 200000 };

static void *counts(void *arg)
{
    struct shard *s = arg;

    for (int i = 0; i < ROUNDS; i++) {
        metrics_count(&s->requests[0][0]);
        metrics_observe(&s->wait[0], METRICS_SECONDS, 2000);
        metrics_move(&s->open, i % 2 ? 1 : -1);
    }
    return NULL;
}

static void test_scrape_while_threads_count(void **state)
{
    struct fixture *f = *state;
    pthread_t thread[2];
    uint64_t before = 0;
    char line[100];

    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, counts, &f->shard[i]), 0);
    for (int i = 0; i < 20; i++) {
        const char *at = strstr(render(f), "t_requests_total{route=\"chat\",class=\"2xx\"} ");
        struct str digits;
        uint64_t now = 0;

        assert_non_null(at);
        digits = str_of(strchr(at, ' ') + 1);
        assert_true(str_u64(str_head(digits, str_find(digits, '\n')), &now));
        assert_true(now >= before); /* counters never go back */
        before = now;
    }
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    (void)snprintf(line, sizeof line, "t_requests_total{route=\"chat\",class=\"2xx\"} %d",
                   2 * ROUNDS);
    assert_line(render(f), line);
    (void)snprintf(line, sizeof line, "t_wait_seconds_count{route=\"chat\"} %d", 2 * ROUNDS);
    assert_line(render(f), line);
    assert_line(render(f), "t_open 0");
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(test_counters_sum_over_shards),
        WITH_FIXTURE(test_gauges_move_both_ways),
        WITH_FIXTURE(test_histogram),
        cmocka_unit_test(test_scales_ascend),
        WITH_FIXTURE(test_dynamic_names),
        WITH_FIXTURE(test_names_overflow_into_other),
        WITH_FIXTURE(test_names_are_escaped_and_cut),
        WITH_FIXTURE(test_sources),
        WITH_FIXTURE(test_cap_is_told),
        WITH_FIXTURE(test_wrong_tables_abort),
        WITH_FIXTURE(test_scrape_while_threads_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
