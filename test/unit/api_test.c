/* SPDX-License-Identifier: Apache-2.0
 *
 * api_test.c - what each path is and who speaks it, every own endpoint's body byte for byte from a
 * snapshot made here, and faults as clients read them.
 */
#include "unit.h"

#include "api/api.h"
#include "base/mem.h"
#include "fleet/breaker.h"
#include "gate/gate.h"

enum { WALL_S = 1795208933 };

/* Four engines, out of order: "b" is good and lists shared models, "a" is good and has its own
 * objects, "c" is bad, "d" starts on a Unix socket. */
struct rig {
    struct snapshot *snap;
    struct cell *cells[4];
};

static void add(struct rig *r, unsigned i, const char *name, const char *url, struct str *models,
                struct str *json, uint32_t n)
{
    struct engine e = {
        .id = i + 1,
        .slot = i,
        .name = str_of(name),
        .url = str_of(url),
        .weight = i + 1,
        .models = models,
        .model_json = json,
        .nmodels = n,
        .cell = r->cells[i],
    };
    const char *why;

    e.origin = i == 0 ? ENGINE_STATIC : i == 3 ? ENGINE_UNIT : ENGINE_DISCOVERED;
    assert_int_equal(url_parse(e.url, &e.at, &why), 0);
    snapshot_add(r->snap, &e);
}

static int setup(void **state)
{
    static struct str b_models[] = {{"shared", 6}, {"zeta", 4}, {"org/b:1", 7}};
    static struct str a_models[] = {{"shared", 6}, {"alpha", 5}};
    static struct str a_json[] = {
        {"{\"created\":7,\"id\":\"shared\",\"meta\":{\"id\":\"x\"},\"object\":\"model\","
         "\"owned_by\":\"a\"}",
         77},
        {NULL, 0},
    };
    static struct str c_models[] = {{"gone", 4}};
    struct rig *r = xnew(struct rig, .snap = snapshot_begin(3, 42));

    a_json[0].n = strlen(a_json[0].p);
    for (unsigned i = 0; i < 4; i++)
        r->cells[i] = cell_create(0);
    add(r, 0, "b", "http://10.0.0.5:8000", b_models, NULL, 3);
    add(r, 1, "a", "http://[::1]:11434/v2", a_models, a_json, 2);
    add(r, 2, "c", "http://host.example", c_models, NULL, 1);
    add(r, 3, "d \"x\"", "unix:/run/d.sock", NULL, NULL, 0);
    snapshot_alias(r->snap, STR("gpt-4o"), STR("shared"));
    snapshot_alias(r->snap, STR("first"), STR("gpt-4o"));
    snapshot_alias(r->snap, STR("lost"), STR("gone"));
    snapshot_alias(r->snap, STR("zeta"), STR("alpha"));
    snapshot_seal(r->snap);
    cell_set(r->cells[1], CELL_PROBED, CELL_GOOD);
    cell_set(r->cells[2], CELL_PROBED, CELL_BAD);
    assert_true(breaker_refused(r->cells[2]));
    cell_set(r->cells[3], CELL_SUPERVISED, CELL_COMING);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    snapshot_unref(&r->snap);
    for (unsigned i = 0; i < 4; i++)
        cell_unref(&r->cells[i]);
    mem_free(r);
    return 0;
}

/* ---- paths ---- */

static enum path_class class_of(const char *path, uint32_t *kinds)
{
    *kinds = 99;
    return api_gate()->classify(str_of(path), kinds);
}

enum {
    O = 1u << ENGINE_KIND_OPENAI,
    L = 1u << ENGINE_KIND_LLAMA,
    V = 1u << ENGINE_KIND_VLLM,
    M = 1u << ENGINE_KIND_OLLAMA,
};

static void test_inference_paths(void **state)
{
    static const struct {
        const char *path;
        uint32_t kinds;
    } rows[] = {
        {"/v1/chat/completions", O | L | V | M},
        {"/v1/completions", O | L | V | M},
        {"/v1/embeddings", O | L | V | M},
        {"/v1/responses", O | L | V | M},
        {"/v1/messages", O | L | V | M},
        {"/v1/messages/count_tokens", O | L | V},
        {"/v1/rerank", O | L | V},
        {"/v1/score", O | V},
        {"/v1/moderations", O},
        {"/completion", L},
        {"/completions", L},
        {"/chat/completions", L},
        {"/infill", L},
        {"/embedding", L},
        {"/embeddings", L},
        {"/reranking", L},
        {"/apply-template", L},
        {"/tokenize", L | V},
        {"/detokenize", L | V},
        {"/rerank", L | V},
        {"/v2/rerank", V},
        {"/v2/embed", V},
        {"/score", V},
        {"/classify", V},
        {"/pooling", V},
        {"/invocations", V},
        {"/api/chat", M},
        {"/api/generate", M},
        {"/api/embed", M},
        {"/api/embeddings", M},
    };
    uint32_t kinds;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(class_of(rows[i].path, &kinds), PATH_INFERENCE);
        assert_int_equal(kinds, rows[i].kinds);
    }
}

static void test_own_paths(void **state)
{
    static const char *const rows[] = {"/health",    "/ready",       "/models",
                                       "/v1/models", "/v1/models/x", "/v1/models/org/x%20y"};
    uint32_t kinds;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(class_of(rows[i], &kinds), i < 2 ? PATH_OPEN : PATH_OWN);
        assert_int_equal(kinds, 0);
    }
}

static void test_management_paths(void **state)
{
    static const char *const rows[] = {"/props",
                                       "/slots",
                                       "/slots/0",
                                       "/lora-adapters",
                                       "/models/load",
                                       "/models/unload",
                                       "/sleep",
                                       "/wake_up",
                                       "/v1/load_lora_adapter",
                                       "/v1/unload_lora_adapter",
                                       "/reset_prefix_cache",
                                       "/collective_rpc",
                                       "/start_profile",
                                       "/load",
                                       "/version",
                                       "/api/tags",
                                       "/api/ps",
                                       "/api/show",
                                       "/api/pull",
                                       "/api/push",
                                       "/api/create",
                                       "/api/copy",
                                       "/api/delete",
                                       "/api/version",
                                       "/api/blobs/sha256:00"};
    uint32_t kinds;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(class_of(rows[i], &kinds), PATH_MANAGE);
        assert_int_equal(kinds, 0);
    }
}

static void test_unknown_paths(void **state)
{
    static const char *const rows[] = {"",
                                       "/",
                                       "*",
                                       "/v1",
                                       "/v1/",
                                       "/v1/models/",
                                       "/models/",
                                       "/health/",
                                       "/Health",
                                       "/healthz",
                                       "/metrics",
                                       "/services",
                                       "/stats",
                                       "/status",
                                       "/units",
                                       "/reload",
                                       "/v1/chat/completions/",
                                       "/v1/chat%2Fcompletions",
                                       "/v1/Chat/completions",
                                       "//v1/chat/completions",
                                       "/v1/chat/../chat/completions",
                                       "/%73lots",
                                       "/slots/",
                                       "/api",
                                       "/api/",
                                       "/api/blobs/",
                                       "/v1/audio/transcriptions",
                                       "/v1/responses/resp_1",
                                       "/v1/files",
                                       "/v1/realtime"};
    uint32_t kinds;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(class_of(rows[i], &kinds), PATH_UNKNOWN);
        assert_int_equal(kinds, 0);
    }
}

/* ---- own endpoints ---- */

static void asked(const struct rig *r, const char *path, bool admin, bool draining, unsigned status,
                  enum fault_code code, const char *want)
{
    struct gate_own q = {.snap = r->snap,
                         .path = str_of(path),
                         .wall_s = WALL_S,
                         .admin = admin,
                         .draining = draining};
    struct buf out = buf_make(1 << 20);
    struct fault f = {.code = FAULT_none};

    assert_int_equal(api_gate()->own(&q, &out, &f), status);
    assert_int_equal(f.code, code);
    assert_int_equal(buf_status(&out), 0);
    if (status == 0) {
        assert_int_equal(out.n, 0);
        api_gate()->render_fault(&f, &out);
    }
    assert_str_is(buf_str(&out), want);
    buf_fini(&out);
}

static void says(const struct rig *r, const char *path, const char *want)
{
    asked(r, path, false, false, 200, FAULT_none, want);
    asked(r, path, true, true, 200, FAULT_none, want);
}

static void refuses(const struct rig *r, const char *path, enum fault_code code, const char *want)
{
    asked(r, path, false, false, 0, code, want);
}

static void test_health(void **state)
{
    struct rig *r = *state;

    says(r, "/health",
         "{\"healthy_services\":\"2/4\",\"message\":null,\"registry_url\":null,"
         "\"router\":\"running\",\"status\":\"healthy\",\"timestamp\":1795208933}");
    for (unsigned i = 0; i < 4; i++)
        cell_set(r->cells[i], CELL_PROBED, CELL_BAD);
    says(r, "/health",
         "{\"healthy_services\":\"0/4\",\"message\":\"No healthy services available\","
         "\"registry_url\":null,\"router\":\"running\",\"status\":\"running\","
         "\"timestamp\":1795208933}");
}

static void test_ready(void **state)
{
    struct rig *r = *state;
    static const char draining[] =
        "{\"error\":{\"code\":\"draining\",\"message\":\"This service is shutting down\","
        "\"param\":null,\"type\":\"server_error\"}}";

    asked(r, "/ready", false, false, 200, FAULT_none, "{\"status\":\"ready\"}");
    asked(r, "/ready", false, true, 0, FAULT_draining, draining);
    cell_set(r->cells[0], CELL_SUPERVISED, CELL_COMING);
    cell_set(r->cells[1], CELL_LISTED, CELL_CLOSED);
    refuses(r, "/ready", FAULT_no_healthy_service,
            "{\"error\":{\"code\":\"no_healthy_service\",\"message\":\"No healthy services "
            "available\",\"param\":null,\"type\":\"server_error\"}}");
    asked(r, "/ready", false, true, 0, FAULT_draining, draining);
}

#define PLAIN(id) "{\"created\":0,\"id\":\"" id "\",\"object\":\"model\",\"owned_by\":\"inferd\"}"
#define OF_A(id)                                                                                   \
    "{\"created\":7,\"id\":\"" id                                                                  \
    "\",\"meta\":{\"id\":\"x\"},\"object\":\"model\",\"owned_by\":\"a\"}"

static void test_models(void **state)
{
    struct rig *r = *state;
    static const char all[] =
        "{\"data\":[" PLAIN("alpha") "," OF_A("first") "," OF_A("gpt-4o") "," PLAIN(
            "org/b:1") "," OF_A("shared") "," PLAIN("zeta") "],\"object\":\"list\"}";

    says(r, "/models", all);
    says(r, "/v1/models", all);
    cell_set(r->cells[1], CELL_PROBED, CELL_BAD); /* "a": its models go, "b" tells of the shared */
    says(r, "/v1/models",
         "{\"data\":[" PLAIN("first") "," PLAIN("gpt-4o") "," PLAIN("org/b:1") "," PLAIN(
             "shared") "],\"object\":\"list\"}");
    cell_set(r->cells[0], CELL_PROBED, CELL_BAD);
    says(r, "/v1/models", "{\"data\":[],\"object\":\"list\"}");
}

#define NO_MODEL(id)                                                                               \
    "{\"error\":{\"code\":\"model_not_found\",\"message\":\"The model '" id                        \
    "' does not exist\",\"param\":null,\"type\":\"invalid_request_error\"}}"

static void test_one_model(void **state)
{
    struct rig *r = *state;

    says(r, "/v1/models/alpha", PLAIN("alpha"));
    says(r, "/v1/models/shared", OF_A("shared"));
    says(r, "/v1/models/sh%61red", OF_A("shared"));
    says(r, "/v1/models/gpt-4o", OF_A("gpt-4o"));
    says(r, "/v1/models/zeta", PLAIN("zeta"));
    says(r, "/v1/models/org/b:1", PLAIN("org/b:1"));
    says(r, "/v1/models/org%2Fb%3a1", PLAIN("org/b:1"));
    refuses(r, "/v1/models/gone", FAULT_model_not_found, NO_MODEL("gone"));
    refuses(r, "/v1/models/lost", FAULT_model_not_found, NO_MODEL("lost"));
    refuses(r, "/v1/models/alpha/", FAULT_model_not_found, NO_MODEL("alpha/"));
    refuses(r, "/v1/models/%252F", FAULT_model_not_found, NO_MODEL("%2F"));
    refuses(r, "/v1/models/%22%0A", FAULT_model_not_found, NO_MODEL("\\\"\\n"));
}

#define BAD_PATH                                                                                   \
    "{\"error\":{\"code\":\"invalid_path\",\"message\":\"The path is not percent-encoded "         \
    "UTF-8\",\"param\":null,\"type\":\"invalid_request_error\"}}"

static void test_bad_model_path(void **state)
{
    static const char *const rows[] = {"/v1/models/%", "/v1/models/%2", "/v1/models/%zz",
                                       "/v1/models/%ff", "/v1/models/a%c3"};
    char path[2100] = "/v1/models/";
    struct gate_own q = {.snap = ((struct rig *)*state)->snap};
    struct buf out = buf_make(4096);
    struct fault f;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        refuses(*state, rows[i], FAULT_invalid_path, BAD_PATH);
    memset(path + 11, 'm', 2000);
    q.path = str_span(path, 2011);
    assert_int_equal(api_gate()->own(&q, &out, &f), 0);
    assert_int_equal(f.code, FAULT_model_not_found);
    buf_fini(&out);
}

#define NOT_FOUND                                                                                  \
    "{\"error\":{\"code\":\"not_found\",\"message\":\"Unknown path\",\"param\":null,"              \
    "\"type\":\"invalid_request_error\"}}"

#define SERVICE_A                                                                                  \
    "{\"babysitter_url\":null,\"error_count\":0,\"healthy\":true,\"host\":\"::1\","                \
    "\"in_flight\":0,\"last_check\":null,\"listed\":\"yes\",\"metadata\":{\"models\":["            \
    "\"shared\",\"alpha\"],\"models_list\":[" OF_A("shared") "," PLAIN(                            \
        "alpha") "],\"type\":\"openai-api\"},"                                                     \
                 "\"models\":[\"shared\",\"alpha\"],\"name\":\"a\",\"origin\":\"discovered\","     \
                 "\"port\":11434,\"probed\":\"good\",\"request_count\":0,\"response_time\":0.0,"   \
                 "\"traffic\":\"closed\",\"url\":\"http://[::1]:11434/v2\",\"weight\":2}"
#define SERVICE_B                                                                                  \
    "{\"babysitter_url\":null,\"error_count\":3,\"healthy\":true,\"host\":\"10.0.0.5\","           \
    "\"in_flight\":1,\"last_check\":1795208930,\"listed\":\"yes\",\"metadata\":{\"models\":["      \
    "\"shared\",\"zeta\",\"org/b:1\"],\"models_list\":[" PLAIN("shared") "," PLAIN(                \
        "zeta") "," PLAIN("org/b:1") "],\"type\":\"openai-api\"},"                                 \
                                     "\"models\":[\"shared\",\"zeta\",\"org/b:1\"],\"name\":"      \
                                     "\"b\",\"origin\":\"static\",\"port\":8000,\"probed\":"       \
                                     "\"unknown\",\"request_count\":12,\"response_time\":"         \
                                     "0.000757,\"traffic\":\"closed\",\"url\":"                    \
                                     "\"http://10.0.0.5:8000\",\"weight\":1}"
#define SERVICE_C                                                                                  \
    "{\"babysitter_url\":null,\"error_count\":0,\"healthy\":false,\"host\":\"host.example\","      \
    "\"in_flight\":0,\"last_check\":null,\"listed\":\"absent\",\"metadata\":{\"models\":["         \
    "\"gone\"],\"models_list\":[" PLAIN("gone") "],\"type\":\"openai-api\"},\"models\":["          \
                                                "\"gone\"],\"name\":\"c\",\"origin\":"             \
                                                "\"discovered\",\"port\":80,\"probed\":\"bad\","   \
                                                "\"request_count\":0,\"response_time\":0.0,"       \
                                                "\"traffic\":\"open\",\"url\":"                    \
                                                "\"http://host.example\",\"weight\":3}"
#define SERVICE_D                                                                                  \
    "{\"babysitter_url\":null,\"error_count\":0,\"healthy\":false,\"host\":\"localhost\","         \
    "\"in_flight\":0,\"last_check\":null,\"listed\":\"yes\",\"metadata\":{\"models\":[],"          \
    "\"models_list\":[],\"type\":\"openai-api\"},\"models\":[],\"name\":\"d \\\"x\\\"\","          \
    "\"origin\":\"unit\",\"port\":0,\"probed\":\"unknown\",\"request_count\":0,"                   \
    "\"response_time\":0.0,\"traffic\":\"closed\",\"url\":\"unix:/run/d.sock\",\"weight\":4}"
#define SERVICES SERVICE_A "," SERVICE_B "," SERVICE_C "," SERVICE_D

static void test_services(void **state)
{
    struct rig *r = *state;

    atomic_store(&r->cells[0]->requests, 12);
    atomic_store(&r->cells[0]->errors, 3);
    atomic_store(&r->cells[0]->response_us, 757);
    atomic_store(&r->cells[0]->checked_s, WALL_S - 3);
    assert_true(cell_take(r->cells[0], false));
    cell_set(r->cells[2], CELL_LISTED, CELL_CLOSED);
    asked(r, "/services", true, false, 200, FAULT_none,
          "{\"registry_url\":null,\"services\":[" SERVICES "],\"total\":4}");
    asked(r, "/stats", true, false, 200, FAULT_none,
          "{\"healthy_services\":2,\"registry_url\":null,\"services\":[" SERVICES
          "],\"total_services\":4}");
    assert_false(cell_give(r->cells[0]));
    refuses(r, "/services", FAULT_not_found, NOT_FOUND);
    refuses(r, "/stats", FAULT_not_found, NOT_FOUND);
}

static void test_not_own(void **state)
{
    refuses(*state, "/v1/models/", FAULT_not_found, NOT_FOUND);
    refuses(*state, "/nothing", FAULT_not_found, NOT_FOUND);
    asked(*state, "/metrics", true, false, 0, FAULT_not_found, NOT_FOUND);
}

static void test_empty_fleet(void **state)
{
    struct rig r = {.snap = snapshot_begin(1, 1)};

    (void)state;
    snapshot_alias(r.snap, STR("a"), STR("b"));
    snapshot_seal(r.snap);
    says(&r, "/v1/models", "{\"data\":[],\"object\":\"list\"}");
    asked(&r, "/services", true, false, 200, FAULT_none,
          "{\"registry_url\":null,\"services\":[],\"total\":0}");
    refuses(&r, "/v1/models/a", FAULT_model_not_found, NO_MODEL("a"));
    snapshot_unref(&r.snap);
}

/* A name that stands in many places of an alias's object, and one that needs escapes. */
static void test_alias_is_spliced(void **state)
{
    struct rig r = {.snap = snapshot_begin(1, 1)};
    struct str names[] = {STR("m")};
    struct str json[] = {
        STR("{\"created\":0,\"id\":\"m\",\"object\":\"model\",\"owned_by\":\"m\",\"root\":\"m\"}")};

    (void)state;
    r.cells[0] = cell_create(0);
    add(&r, 0, "e", "http://h:1", names, json, 1);
    snapshot_alias(r.snap, STR("q\"\x01"), STR("m"));
    snapshot_seal(r.snap);
    says(&r, "/v1/models/q%22%01",
         "{\"created\":0,\"id\":\"q\\\"\\u0001\",\"object\":\"model\",\"owned_by\":\"m\","
         "\"root\":\"m\"}");
    snapshot_unref(&r.snap);
    cell_unref(&r.cells[0]);
}

/* ---- faults ---- */

static void told(const struct fault *f, const char *want)
{
    char memory[4096];
    struct buf out = buf_on(memory, sizeof memory);

    api_gate()->render_fault(f, &out);
    assert_int_equal(buf_status(&out), 0);
    assert_str_is(buf_str(&out), want);
}

static void test_faults(void **state)
{
    struct fault f;

    (void)state;
    fault_set(&f, FAULT_service_not_found, "Service 'svc' not found");
    told(&f, "{\"error\":{\"code\":\"service_not_found\",\"message\":\"Service 'svc' not found\","
             "\"param\":null,\"type\":\"invalid_request_error\"}}");
    fault_set(&f, FAULT_invalid_model, "a \"b\" \\ \t\x1f/\xc3\xa9");
    memcpy(f.param, "mo\"del", 7);
    told(&f, "{\"error\":{\"code\":\"invalid_model\",\"message\":\"a \\\"b\\\" \\\\ \\t\\u001f/"
             "\xc3\xa9\",\"param\":\"mo\\\"del\",\"type\":\"invalid_request_error\"}}");
    fault_set(&f, FAULT_upstream_timeout, "\xff");
    told(&f, "{\"error\":{\"code\":\"upstream_timeout\",\"message\":\"\xef\xbf\xbd\",\"param\":"
             "null,\"type\":\"server_error\"}}");
}

static void ends_with(const struct fault *f, const char *path, uint64_t events, const char *want)
{
    char memory[4096];
    struct buf out = buf_on(memory, sizeof memory);

    api_gate()->render_event(f, str_of(path), events, &out);
    assert_int_equal(buf_status(&out), 0);
    assert_str_is(buf_str(&out), want);
}

/* The event behind a broken stream: nameless, but where clients go by names. */
static void test_last_events(void **state)
{
    static const char *const named[] = {"/v1/responses", "/responses", "/v1/messages"};
    struct fault f;

    (void)state;
    fault_set(&f, FAULT_upstream_timeout, "late");
    ends_with(&f, "/v1/chat/completions", 7,
              "data: {\"error\":{\"code\":\"upstream_timeout\",\"message\":\"late\",\"param\":null,"
              "\"type\":\"server_error\"}}\n\n");
    for (size_t i = 0; i < ARRAY_LEN(named); i++)
        ends_with(&f, named[i], 7,
                  "event: error\ndata: {\"error\":{\"code\":\"upstream_timeout\",\"message\":"
                  "\"late\",\"param\":null,\"type\":\"server_error\"},\"sequence_number\":7,"
                  "\"type\":\"error\"}\n\n");
}

/* The longest that can be: the buffer that gate/ lends must be enough. */
static void test_longest_fault(void **state)
{
    char memory[4096];
    struct buf out = buf_on(memory, sizeof memory);
    struct fault f;

    (void)state;
    fault_set(&f, FAULT_unsupported_media_type, "x");
    memset(f.text, 1, sizeof f.text - 1);
    f.text[sizeof f.text - 1] = '\0';
    memset(f.param, 1, sizeof f.param - 1);
    f.param[sizeof f.param - 1] = '\0';
    api_gate()->render_fault(&f, &out);
    assert_int_equal(buf_status(&out), 0);
    assert_true(out.n > 6 * (511 + 63) && out.n < 3700);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inference_paths),
        cmocka_unit_test(test_own_paths),
        cmocka_unit_test(test_management_paths),
        cmocka_unit_test(test_unknown_paths),
        WITH_RIG(test_health),
        WITH_RIG(test_ready),
        WITH_RIG(test_models),
        WITH_RIG(test_one_model),
        WITH_RIG(test_bad_model_path),
        WITH_RIG(test_services),
        WITH_RIG(test_not_own),
        cmocka_unit_test(test_empty_fleet),
        cmocka_unit_test(test_alias_is_spliced),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_last_events),
        cmocka_unit_test(test_longest_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
