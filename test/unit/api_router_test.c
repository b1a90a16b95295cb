/* SPDX-License-Identifier: Apache-2.0
 *
 * api_router_test.c - which paths are the router's own, under both of its names, and the body of
 * each endpoint byte for byte, from a table that a registry's list and a file have filled.
 */
#include "unit.h"

#include "api/api.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "fleet/breaker.h"
#include "fleet/entries.h"
#include "gate/gate.h"

enum { WALL_S = 1795208933 };

/* "b" and "a" of the registry are one engine, "c" is another one, "s" is the file's. */
struct rig {
    struct entries *table;
    struct entry_list *list;
    struct cell *ab, *c, *s;
};

static const char registry[] =
    "{\"services\":["
    "{\"name\":\"b\",\"host\":\"localhost\",\"port\":6001,\"metadata\":{\"type\":\"openai-api\","
    "\"models\":[\"m\",\"shared\"],\"models_list\":[{\"id\":\"m\",\"owned_by\":\"b\"},"
    "{\"id\":\"org/x\",\"object\":\"model\"},7,{\"object\":\"model\"}]}},"
    "{\"name\":\"a\",\"host\":\"127.0.0.1\",\"port\":6001,\"weight\":3,\"metadata\":{"
    "\"type\":\"openai-api\",\"models\":[\"m\"]}},"
    "{\"name\":\"c\",\"host\":\"h\",\"port\":7001,\"is_healthy\":false,\"metadata\":{"
    "\"type\":\"openai-api\",\"models\":[\"gone\"],\"cache_type\":\"paged\"}}]}";
static const char file[] =
    "[{\"name\":\"s\",\"host\":\"10.0.0.1\",\"port\":80,\"metadata\":{\"models\":[\"hidden\"]}}]";

static void on_note(void *ctx, const struct listing_note *n) { (void)ctx, (void)n; }

static struct cell *cell_of(const struct entries_engine *e) { return e->owner; }

static void take(struct rig *r, enum listing_kind kind, const char *text, uint64_t now_ms)
{
    struct entries_news news;
    struct listing l;

    assert_int_equal(listing_read(str_of(text), kind, 1, on_note, NULL, &l), 0);
    if (kind == LISTING_FILE)
        entries_take_file(r->table, &l, &news);
    else
        entries_take_registry(r->table, &l, now_ms, &news);
    listing_fini(&l);
}

static void settle(struct rig *r)
{
    struct entries_engine *e;

    while ((e = entries_changed(r->table))) {
        struct cell *c = e->owner;

        if (entries_engine_gone(e)) {
            cell_unref(&c);
            entries_forget(r->table, &e);
        } else if (!c) {
            e->owner = cell_create(0);
        }
    }
}

static struct cell *cell_at(const struct rig *r, const char *name)
{
    for (uint32_t i = 0; i < r->list->n; i++)
        if (str_eq(r->list->at[i].entry->name, str_of(name)))
            return r->list->at[i].cell;
    return NULL;
}

static int setup(void **state)
{
    struct entries_conf conf = {.most = 10, .grace_ms = 1000, .seed = 3};
    struct rig *r = xnew(struct rig, .table = entries_create(&conf));

    take(r, LISTING_FILE, file, 0);
    take(r, LISTING_REGISTRY, registry, 0);
    settle(r);
    r->list = entries_list(r->table, cell_of);
    r->ab = cell_at(r, "a");
    r->c = cell_at(r, "c");
    r->s = cell_at(r, "s");
    assert_ptr_equal(r->ab, cell_at(r, "b"));
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    entry_list_unref(&r->list);
    take(r, LISTING_FILE, "[]", 0);
    take(r, LISTING_REGISTRY, "{\"services\":[]}", 0);
    take(r, LISTING_REGISTRY, "{\"services\":[]}", UINT64_C(1) << 40);
    settle(r);
    entries_destroy(&r->table);
    mem_free(r);
    return 0;
}

/* ---- paths ---- */

static enum path_class class_of(bool alias, const char *path)
{
    uint32_t kinds = 0;
    enum path_class c = api_router(alias)->classify(str_of(path), &kinds);

    assert_int_equal(kinds, UINT32_MAX); /* no kind of engine is left out */
    return c;
}

static void test_paths(void **state)
{
    static const char *const own[] = {"/health",     "/status",           "/services",
                                      "/stats",      "/models",           "/v1/models",
                                      "/v1/models/", "/v1/models/a/b",    "/_inferd/metrics",
                                      "/he%61lth",   "/%5finferd/metrics"};
    static const char *const engines[] = {
        "/",           "/health/",  "/Health", "/v1/test", "/services/a", "/v1/chat/completions",
        "/v1/modelsx", "/_inferdx", "/ready",  "/he%6",    "/health%ff",  "/metrics/"};
    static const char *const nobodys[] = {"/_inferd/", "/_inferd/x", "/_inferd/metrics/",
                                          "/%5Finferd/x", "/_inferd%2fx"};

    (void)state;
    for (unsigned alias = 0; alias < 2; alias++) {
        for (size_t i = 0; i < ARRAY_LEN(own); i++)
            assert_int_equal(class_of(alias, own[i]), PATH_ASKED);
        for (size_t i = 0; i < ARRAY_LEN(engines); i++)
            assert_int_equal(class_of(alias, engines[i]), PATH_ANY);
        for (size_t i = 0; i < ARRAY_LEN(nobodys); i++)
            assert_int_equal(class_of(alias, nobodys[i]), PATH_UNKNOWN);
    }
    assert_int_equal(class_of(false, "/metrics"), PATH_ASKED);
    assert_int_equal(class_of(true, "/metrics"), PATH_ANY);
}

static void test_long_paths(void **state)
{
    char path[9000];

    (void)state;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    memcpy(path, "/_inferd/", 9);
    assert_int_equal(class_of(false, path), PATH_UNKNOWN);
    memcpy(path, "/%5finferd/", 11);
    assert_int_equal(class_of(false, path), PATH_UNKNOWN);
    for (size_t i = 0; i + 12 < sizeof path; i += 3) /* where it is cut, an escape is broken */
        memcpy(path + 11 + i, "%41", 3);
    assert_int_equal(class_of(false, path), PATH_UNKNOWN);
    memcpy(path, "/v1/models/", 11);
    assert_int_equal(class_of(false, path), PATH_ASKED);
    memcpy(path, "/v1/model_/", 11);
    assert_int_equal(class_of(false, path), PATH_ANY);
}

/* ---- bodies ---- */

static void asked(const struct rig *r, const char *path, unsigned status, enum fault_code code,
                  const char *want)
{
    struct str type = STR("application/json");
    struct gate_own q = {.entries = r->list,
                         .registry_url = STR("http://r:8081"),
                         .path = str_of(path),
                         .wall_s = WALL_S,
                         .type = &type};
    struct buf out = buf_make(1 << 20);
    struct fault f = {.code = FAULT_none};

    assert_int_equal(api_router(false)->own(&q, &out, &f), status);
    assert_int_equal(f.code, code);
    assert_int_equal(buf_status(&out), 0);
    assert_str_is(type, "application/json");
    if (status == 0)
        api_router(false)->render_fault(&f, &out);
    assert_str_is(buf_str(&out), want);
    buf_fini(&out);
}

static void says(const struct rig *r, const char *path, const char *want)
{
    asked(r, path, 200, FAULT_none, want);
}

static void test_health(void **state)
{
    struct rig *r = *state;

    says(r, "/health",
         "{\"healthy_services\":\"3/4\",\"message\":null,\"registry_url\":\"http://r:8081\","
         "\"router\":\"running\",\"status\":\"healthy\",\"timestamp\":1795208933}");
    cell_set(r->ab, CELL_PROBED, CELL_BAD); /* both rows of it */
    assert_true(breaker_refused(r->s));
    says(r, "/status",
         "{\"healthy_services\":\"0/4\",\"message\":\"No healthy services available\","
         "\"registry_url\":\"http://r:8081\",\"router\":\"running\",\"status\":\"running\","
         "\"timestamp\":1795208933}");
}

#define ROW_A                                                                                      \
    "{\"babysitter_url\":\"http://127.0.0.1:6002\",\"error_count\":2,\"healthy\":true,"            \
    "\"host\":\"127.0.0.1\",\"in_flight\":1,\"last_check\":1795208900,\"listed\":\"yes\","         \
    "\"metadata\":{\"models\":[\"m\"],\"type\":\"openai-api\"},\"models\":[\"m\"],"                \
    "\"name\":\"a\",\"origin\":\"registry\",\"port\":6001,\"probed\":\"good\","                    \
    "\"request_count\":5,\"response_time\":0.757807,\"traffic\":\"closed\","                       \
    "\"url\":\"http://127.0.0.1:6001\",\"weight\":3}"
#define ROW_B                                                                                      \
    "{\"babysitter_url\":\"http://localhost:6002\",\"error_count\":2,\"healthy\":true,"            \
    "\"host\":\"localhost\",\"in_flight\":1,\"last_check\":1795208900,\"listed\":\"yes\","         \
    "\"metadata\":{\"models\":[\"m\",\"shared\"],\"models_list\":[{\"id\":\"m\","                  \
    "\"owned_by\":\"b\"},{\"id\":\"org/x\",\"object\":\"model\"},7,{\"object\":\"model\"}],"       \
    "\"type\":\"openai-api\"},\"models\":[\"m\",\"shared\"],\"name\":\"b\","                       \
    "\"origin\":\"registry\",\"port\":6001,\"probed\":\"good\",\"request_count\":0,"               \
    "\"response_time\":0.757807,\"traffic\":\"closed\",\"url\":\"http://localhost:6001\","         \
    "\"weight\":1}"
#define ROW_C                                                                                      \
    "{\"babysitter_url\":\"http://h:7002\",\"error_count\":0,\"healthy\":false,\"host\":\"h\","    \
    "\"in_flight\":0,\"last_check\":null,\"listed\":\"no\",\"metadata\":{"                         \
    "\"cache_type\":\"paged\",\"models\":[\"gone\"],\"type\":\"openai-api\"},"                     \
    "\"models\":[\"gone\"],\"name\":\"c\",\"origin\":\"registry\",\"port\":7001,"                  \
    "\"probed\":\"unknown\",\"request_count\":0,\"response_time\":0.0,"                            \
    "\"traffic\":\"closed\",\"url\":\"http://h:7001\",\"weight\":1}"
#define ROW_S                                                                                      \
    "{\"babysitter_url\":\"http://10.0.0.1:81\",\"error_count\":0,\"healthy\":false,"              \
    "\"host\":\"10.0.0.1\",\"in_flight\":0,\"last_check\":null,\"listed\":\"yes\","                \
    "\"metadata\":{\"models\":[\"hidden\"]},\"models\":[\"hidden\"],\"name\":\"s\","               \
    "\"origin\":\"static\",\"port\":80,\"probed\":\"bad\",\"request_count\":0,"                    \
    "\"response_time\":0.0,\"traffic\":\"open\",\"url\":\"http://10.0.0.1:80\",\"weight\":1}"

static void test_services(void **state)
{
    struct rig *r = *state;

    assert_true(cell_take(r->ab, false));
    atomic_store(&r->ab->requests, 5);
    atomic_store(&r->ab->errors, 2);
    atomic_store(&r->ab->response_us, 757807);
    atomic_store(&r->ab->checked_s, WALL_S - 33);
    cell_set(r->ab, CELL_PROBED, CELL_GOOD);
    cell_set(r->s, CELL_PROBED, CELL_BAD);
    assert_true(breaker_refused(r->s));
    says(r, "/services",
         "{\"registry_url\":\"http://r:8081\",\"services\":[" ROW_A "," ROW_B "," ROW_C "," ROW_S
         "],\"total\":4}");
    says(r, "/stats",
         "{\"healthy_services\":2,\"registry_url\":\"http://r:8081\",\"services\":[" ROW_A "," ROW_B
         "," ROW_C "," ROW_S "],\"total_services\":4}");
    assert_false(cell_give(r->ab));
}

#define MODEL_M "{\"created\":0,\"id\":\"m\",\"object\":\"model\",\"owned_by\":\"inferd\"}"
#define MODEL_X "{\"created\":0,\"id\":\"org/x\",\"object\":\"model\",\"owned_by\":\"inferd\"}"

static void test_models(void **state)
{
    struct rig *r = *state;
    static const char all[] = "{\"data\":[" MODEL_M "," MODEL_X "],\"object\":\"list\"}";

    says(r, "/models", all); /* "a" comes first; a row that is no openai-api tells nothing */
    says(r, "/v1/models", all);
    says(r, "/v1/models/m", MODEL_M);
    says(r, "/v1/models/org/x", MODEL_X);
    says(r, "/v1/models/org%2Fx", MODEL_X);
    says(r, "/v1/%6dodels%2Forg/x", MODEL_X);
    cell_set(r->ab, CELL_PROBED, CELL_BAD);
    says(r, "/models", "{\"data\":[],\"object\":\"list\"}");
}

static void test_models_that_are_none(void **state)
{
    struct rig *r = *state;

    for (unsigned i = 0; i < 4; i++) {
        static const char *const ids[] = {"hidden", "gone", "shared", ""};
        char path[64], want[200];

        snprintf(path, sizeof path, "/v1/models/%s", ids[i]);
        snprintf(want, sizeof want,
                 "{\"error\":{\"code\":\"model_not_found\",\"message\":\"The model '%s' does not "
                 "exist\",\"param\":null,\"type\":\"invalid_request_error\"}}",
                 ids[i]);
        asked(r, path, 0, FAULT_model_not_found, want);
    }
    asked(r, "/v1/models/%ff", 0, FAULT_invalid_path,
          "{\"error\":{\"code\":\"invalid_path\",\"message\":\"The path is not percent-encoded "
          "UTF-8\",\"param\":null,\"type\":\"invalid_request_error\"}}");
}

static void test_metrics(void **state)
{
    struct metrics *m = metrics_create();
    struct str type = STR("application/json");
    struct gate_own q = {.path = STR("/_inferd/metrics"), .metrics = m, .type = &type};
    struct buf out = buf_make(1 << 20);
    struct fault f;

    (void)state;
    assert_int_equal(api_router(true)->own(&q, &out, &f), 200);
    assert_str_is(type, METRICS_CONTENT_TYPE);
    buf_fini(&out);
    metrics_destroy(&m);
}

/* No registry: null, and an empty table is no error. */
static void test_nobody(void **state)
{
    static const struct entry_list none;
    struct gate_own q = {.entries = &none, .path = STR("/services")};
    struct buf out = buf_make(1 << 20);
    struct fault f;

    (void)state;
    assert_int_equal(api_router(false)->own(&q, &out, &f), 200);
    assert_str_is(buf_str(&out), "{\"registry_url\":null,\"services\":[],\"total\":0}");
    buf_fini(&out);
}

static void test_table_of_paths(void **state)
{
    enum path_class c;
    struct str path;
    size_t n = 0;

    (void)state;
    for (; api_router(false)->path(n, &path, &c); n++)
        assert_int_equal(c, PATH_ASKED);
    assert_int_equal(n, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_long_paths),
        cmocka_unit_test_setup_teardown(test_health, setup, teardown),
        cmocka_unit_test_setup_teardown(test_services, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models_that_are_none, setup, teardown),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_table_of_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
