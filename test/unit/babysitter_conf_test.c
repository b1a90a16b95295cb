/* SPDX-License-Identifier: Apache-2.0
 *
 * babysitter_conf_test.c - what a babysitter's file and flags become: the arguments of each type
 * of engine, which of the two wins, and every mistake with its file, line and key.
 */
#include "unit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "role/babysitter_conf.h"

OPTION_WORDS(fabric_log_format, FABRIC_LOG_FORMAT_WORDS);
OPTION_TABLE(babysitter_flags, BABYSITTER_FLAGS, "A babysitter.");

enum { WORDS_MAX = 32, TEXT_BYTES = 16 << 10 };

struct rig {
    struct arena arena;
    struct babysitter_flags flags;
    struct babysitter_conf conf;
    struct conf_errors errors, warnings;
    struct buf text; /* of errors, or of warnings */
    char path[64];   /* of the file */
    bool lenient;
};

static int setup(void **state)
{
    static struct rig r;
    int fd;

    r = (struct rig){.text = buf_make(TEXT_BYTES)};
    arena_init(&r.arena, NULL);
    (void)snprintf(r.path, sizeof r.path, "/tmp/babysitter-conf-XXXXXX");
    fd = mkstemp(r.path);
    assert_true(fd >= 0);
    close(fd);
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    (void)unlink(r->path);
    buf_fini(&r->text);
    arena_clear(&r->arena);
    return 0;
}

static void write_file(const struct rig *r, const char *toml)
{
    FILE *f = fopen(r->path, "we");

    assert_non_null(f);
    assert_true(fputs(toml, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* argv is NULL-terminated, without the program's name. With a file unless toml is NULL. */
static int read_both(struct rig *r, const char *toml, const char *const *argv)
{
    static const struct command command = {.name = "babysitter",
                                           .flags = &babysitter_flags_options};
    const char *words[WORDS_MAX] = {"babysitter"};
    struct flags_input in = {.command = &command, .argc = 1, .argv = (char **)(uintptr_t)words};
    struct babysitter_input input = {.flags = &r->flags,
                                     .lenient = r->lenient,
                                     .own_program = "/usr/bin/inferd",
                                     .arena = &r->arena,
                                     .errors = &r->errors,
                                     .warnings = &r->warnings};
    int status;

    for (size_t i = 0; argv && argv[i]; i++)
        words[in.argc++] = argv[i];
    if (toml) {
        write_file(r, toml);
        words[in.argc++] = "--config-file";
        words[in.argc++] = r->path;
    }
    buf_clear(&r->text);
    assert_int_equal(flags_parse(&in, &r->arena, &r->flags, NULL, &r->text), FLAGS_OK);
    error_init(&r->errors, &r->arena);
    error_init(&r->warnings, &r->arena);
    status = babysitter_conf_read(&input, &r->conf);
    error_print_all(status == 0 ? &r->warnings : &r->errors, STR(""), &r->text);
    return status;
}

#define READ(r, toml, ...)                                                                         \
    read_both((r), (toml), (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* The command's words, joined by "|". */
static void expect_command(struct rig *r, const char *words)
{
    const struct str_list *command = &r->conf.engine.command;

    buf_clear(&r->text);
    for (size_t i = 0; i < command->n; i++) {
        buf_text(&r->text, i ? "|" : "");
        buf_add(&r->text, command->at[i]);
    }
    assert_str_is(buf_str(&r->text), words);
}

/* What was printed, with the path of the file as FILE. */
static void expect_text(struct rig *r, const char *expected)
{
    struct buf shown = buf_make(TEXT_BYTES);
    struct str rest = buf_str(&r->text), path = str_of(r->path);

    while (rest.n) {
        size_t at = str_find_str(rest, path);

        buf_add(&shown, str_head(rest, at));
        if (at < rest.n)
            buf_text(&shown, "FILE");
        rest = str_from(rest, at + path.n);
    }
    assert_str_is(buf_str(&shown), expected);
    buf_fini(&shown);
}

/* ---- types ---- */

static void test_command_with_all_its_keys(void **state)
{
    struct rig *r = *state;

    assert_int_equal(READ(r, "port = 8100 # comment\n"
                             "[backend]\n"
                             "type = \"command\"\n"
                             "command = \"  conda run -n env\\tpython \"\n"
                             "args = [\n  \"a b\", \"\",\n  '--x=\"y\"', ]\n"
                             "work_dir = \"/srv\"\n"
                             "env = { B = \"2 3\", \"A\" = \"\" }\n"),
                     0);
    expect_command(r, "conda|run|-n|env|python|a b||--x=\"y\"");
    assert_str_is(r->conf.name, "command-8100");
    assert_str_is(r->conf.host, "localhost");
    assert_str_is(r->conf.engine.work_dir, "/srv");
    assert_int_equal(r->conf.engine.env.n, 2);
    assert_str_is(r->conf.engine.env.at[0].key, "A");
    assert_str_is(r->conf.engine.env.at[1].value, "2 3");
    assert_int_equal(r->conf.registry.kind, URL_NONE);
    assert_int_equal(r->conf.engine.endpoint, ENGINE_AT_URL);
}

static void test_env_as_a_table_of_its_own(void **state)
{
    struct rig *r = *state;

    assert_int_equal(READ(r, "port = 1\n[backend]\ntype = 'command'\ncommand = 'x'\n"
                             "[backend.env]\nCUDA = \"0\"\n"),
                     0);
    assert_str_is(r->conf.engine.env.at[0].key, "CUDA");
}

static void test_arguments_of_each_type(void **state)
{
    static const struct {
        const char *backend, *type, *command;
    } rows[] = {
        {"type = 'vllm'\nmodel = '/m x'\nargs = ['--tp', '2']\n", "vLLM",
         "python3|-m|vllm.entrypoints.openai.api_server|--model|/m x|--port|7001|--host|h|--tp|2"},
        {"type = 'mock'\nmodels = ['a', 'b']\n", "mock",
         "/usr/bin/inferd|mock|--name|n|--port|7001|--models|a,b"},
        {"type = 'infinilm-rust'\nconfig_file = 'c.toml'\nwork_dir = 'w'\n", "InfiniLM-Rust",
         "xtask|service|c.toml|-p|7001"},
        {"type = 'infinilm'\nmodel_path = '/m'\nargs = ['--dev', 'nvidia']\n", "InfiniLM",
         "python3|launch_server.py|--port|7001|--host|h|--model-path|/m|--dev|nvidia"},
    };
    struct rig *r = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char toml[512];

        (void)snprintf(toml, sizeof toml, "name = 'n'\nhost = 'h'\nport = 7001\n[backend]\n%s",
                       rows[i].backend);
        assert_int_equal(READ(r, toml), 0);
        assert_string_equal(r->conf.type, rows[i].type);
        expect_command(r, rows[i].command);
    }
}

static void test_flags_without_a_file(void **state)
{
    struct rig *r = *state;

    assert_int_equal(READ(r, NULL, "--port", "8100", "--command", "run --fast", "--args", "-x y",
                          "--env", "A=1 2", "--env", "B=", "--env", "A=3=4", "--work-dir", "w"),
                     0);
    expect_command(r, "run|--fast|-x|y");
    assert_str_is(r->conf.name, "command-8100");
    assert_int_equal(r->conf.engine.env.n, 2);
    assert_str_is(r->conf.engine.env.at[0].value, "3=4");
    assert_str_is(r->conf.engine.env.at[1].value, "");
    assert_str_is(r->conf.engine.work_dir, "w");
    assert_int_equal(r->warnings.n, 0);

    assert_int_equal(
        READ(r, NULL, "--port", "1", "--service-type", "vLLM", "--path", "/m", "--args", "--tp 2"),
        0);
    expect_command(r, "python3|-m|vllm.entrypoints.openai.api_server|--model|/m|--port|1|--host|"
                      "localhost|--tp|2");
    assert_str_is(r->conf.name, "vllm-1");
    assert_int_equal(READ(r, NULL, "--port", "1", "--service-type", "mock", "--args", "a, b"), 0);
    expect_command(r, "/usr/bin/inferd|mock|--name|mock-1|--port|1|--models|a,b");
    assert_int_equal(READ(r, NULL, "--port", "1", "--service-type", "InfiniLM-Rust", "--path", "c"),
                     0);
    expect_command(r, "xtask|service|c|-p|1");
    assert_str_is(r->conf.name, "infinilm-rust-1");
    assert_int_equal(READ(r, NULL, "--port", "1", "--service-type", "InfiniLM", "--path", "/m",
                          "--dev", "nvidia", "--ndev", "2", "--max-batch", "8", "--args", "-v"),
                     0);
    expect_command(r, "python3|launch_server.py|--port|1|--host|localhost|--model-path|/m|--dev|"
                      "nvidia|--ndev|2|--max-batch|8|-v");
    assert_int_equal(r->warnings.n, 0);
}

static void test_a_command_is_stronger_than_a_type(void **state)
{
    struct rig *r = *state;

    assert_int_equal(READ(r, NULL, "--port", "1", "--service-type", "vLLM", "--command", "x"), 0);
    expect_command(r, "x");
    assert_string_equal(r->conf.type, "command");
}

/* ---- which wins ---- */

static const char full[] = "name = 'file'\nhost = '10.0.0.1'\nport = 7000\n"
                           "registry_url = 'http://r:1/x/'\nrouter_url = 'anything'\n"
                           "[babysitter]\nmax_restarts = 7\nrestart_delay = 2\n"
                           "heartbeat_interval = 9\nrestart = 'on-failure'\n"
                           "restart_delay_max = 30\nstable_after = 11\nstart_timeout = 12\n"
                           "stop_grace = 3\nhang_timeout = 4\nlisten = '127.0.0.2'\n"
                           "[backend]\ntype = 'command'\ncommand = 'x'\nwork_dir = 'w'\n"
                           "[metadata]\ncache_type = 'paged'\nn = 1\nf = 1.5\nb = true\n"
                           "none = nan\nd = 2026-11-20T21:08:53Z\nt = { z = 1, a = [1, 'x'] }\n"
                           "[service]\nmodels = ['m']\nweight = 0\nhealth_path = '/up'\n"
                           "register_without_models = true\n";

static void test_a_whole_file(void **state)
{
    struct rig *r = *state;
    const struct engine_conf *e = &r->conf.engine;

    assert_int_equal(READ(r, full), 0);
    assert_str_is(r->conf.name, "file");
    assert_str_is(r->conf.host, "10.0.0.1");
    assert_int_equal(r->conf.port, 7000);
    assert_str_is(r->conf.registry.origin, "r:1");
    assert_str_is(r->conf.registry.prefix, "/x");
    assert_str_is(r->conf.listen, "127.0.0.2");
    assert_int_equal(r->conf.failures_max, 8);
    assert_int_equal(r->conf.heartbeat_s, 9);
    assert_int_equal(e->restart, UNIT_RESTART_FAILURE);
    assert_int_equal(e->restart_delay_ms, 2000);
    assert_int_equal(e->restart_max_ms, 30000);
    assert_int_equal(e->stable_ms, 11000);
    assert_int_equal(e->ready_timeout_ms, 12000);
    assert_int_equal(e->hang_timeout_ms, 4000);
    assert_int_equal(e->stop_grace_ms, 3000);
    assert_int_equal(r->conf.models.n, 1);
    assert_int_equal(r->conf.weight, 0);
    assert_string_equal(r->conf.health_path, "/up");
    assert_true(r->conf.register_without_models);
    assert_str_is(r->conf.metadata, "{\"b\":true,\"cache_type\":\"paged\",\"d\":"
                                    "\"2026-11-20T21:08:53Z\",\"f\":1.5,\"n\":1,\"t\":{\"a\":[1,"
                                    "\"x\"],\"z\":1}}");
    assert_int_equal(r->warnings.n, 0);
}

static void test_defaults(void **state)
{
    struct rig *r = *state;

    assert_int_equal(READ(r, NULL, "--port", "1", "--command", "x"), 0);
    assert_int_equal(r->conf.failures_max, 10001);
    assert_int_equal(r->conf.heartbeat_s, 30);
    assert_int_equal(r->conf.engine.restart, UNIT_RESTART_ALWAYS);
    assert_int_equal(r->conf.engine.restart_delay_ms, 5000);
    assert_int_equal(r->conf.engine.restart_max_ms, 60000);
    assert_int_equal(r->conf.engine.stable_ms, 60000);
    assert_int_equal(r->conf.engine.stop_grace_ms, 8000);
    assert_int_equal(r->conf.engine.ready_timeout_ms, 0);
    assert_int_equal(r->conf.engine.hang_timeout_ms, 0);
    assert_int_equal(r->conf.weight, OPTION_UNSET_U32);
    assert_str_is(r->conf.metadata, "{}");
    assert_null(r->conf.listen.p);
}

static void test_flags_that_win_over_the_file(void **state)
{
    struct rig *r = *state;

    assert_int_equal(READ(r, full, "--name", "flag", "--port", "7001", "--host", "h2",
                          "--registry-url", "http://q", "--max-restarts", "0", "--restart-delay",
                          "0", "--heartbeat-interval", "1", "--work-dir", "v", "--listen",
                          "127.0.0.3", "--router-url", "http://x"),
                     0);
    assert_str_is(r->conf.name, "flag");
    assert_str_is(r->conf.host, "h2");
    assert_int_equal(r->conf.port, 7001);
    assert_str_is(r->conf.registry.origin, "q");
    assert_int_equal(r->conf.failures_max, 1);
    assert_int_equal(r->conf.engine.restart_delay_ms, 0);
    assert_int_equal(r->conf.heartbeat_s, 1);
    assert_str_is(r->conf.engine.work_dir, "v");
    assert_str_is(r->conf.listen, "127.0.0.3");
    assert_int_equal(r->warnings.n, 0);
    assert_int_equal(READ(r, full, "--host", "localhost"), 0);
    assert_str_is(r->conf.host, "10.0.0.1");
}

static void test_flags_without_effect_are_named_once(void **state)
{
    struct rig *r = *state;

    assert_int_equal(READ(r, full, "--service-type", "vLLM", "--path", "p", "--command", "c",
                          "--args", "a", "--env", "A=1", "--dev", "d", "--ndev", "1", "--max-batch",
                          "2"),
                     0);
    expect_text(r, "--service-type, --path, --command, --args, --env, --dev, --ndev, --max-batch: "
                   "no effect beside a configuration file\n");
    assert_int_equal(READ(r, NULL, "--port", "1", "--command", "x", "--dev", "d", "--ndev", "1",
                          "--path", "p", "--service-type", "mock"),
                     0);
    expect_text(r, "--service-type, --path, --dev, --ndev: no effect for this type of service\n");
}

/* ---- mistakes ---- */

static void test_every_mistake_of_a_file(void **state)
{
    static const struct {
        const char *toml, *text;
    } rows[] = {
        {"port = 1\n", "FILE:1:1: `backend` is missing\n"},
        {"[backend]\ntype = 'command'\ncommand = 'x'\n",
         "FILE:1: port: is missing, and there is no --port\n"},
        {"port = 65535\n[backend]\ntype = 'command'\ncommand = 'x'\n",
         "FILE:1:1: port: 65535 is too large: at most 65534\n"},
        {"port = '1'\n[backend]\ntype = 'command'\ncommand = 'x'\n",
         "FILE:1:1: port: must be an integer, not a string\n"},
        {"port = 1\n[backend]\ncommand = 'x'\n", "FILE:2:2: backend: `type` is missing\n"},
        {"port = 1\n[backend]\ntype = 'Command'\ncommand = 'x'\n",
         "FILE:3:1: backend.type: must be one of \"command\", \"vllm\", \"mock\", "
         "\"infinilm-rust\", \"infinilm\" (did you mean \"command\"?)\n"},
        {"port = 1\n[backend]\n\ntype = 'command'\n",
         "FILE:4: backend.command: is missing for type \"command\"\n"},
        {"port = 1\n[backend]\ntype = 'vllm'\n",
         "FILE:3: backend.model: is missing for type \"vllm\"\n"},
        {"port = 1\n[backend]\ntype = 'mock'\n",
         "FILE:3: backend.models: is missing for type \"mock\"\n"},
        {"port = 1\n[backend]\ntype = 'infinilm-rust'\n",
         "FILE:3: backend.config_file: is missing for type \"infinilm-rust\"\n"},
        {"port = 1\n[backend]\ntype = 'infinilm'\n",
         "FILE:3: backend.model_path: is missing for type \"infinilm\"\n"},
        {"port = 1\n[backend]\ntype = 'command'\ncommand = ' '\n",
         "FILE:4: backend.command: names no program\n"},
        {"port = 1\n[backend]\ntype = 'command'\ncommand = 'x'\nargs = 'a b'\n",
         "FILE:5:1: backend.args: must be a list of strings, not a string: write args = [\"a\", "
         "\"b\"]\n"},
        {"port = 1\n[backend]\ntype = 'command'\ncommand = 'x'\nenv = { A = 1 }\n",
         "FILE:5:9: backend.env.A: must be a string, not a number\n"},
        {"port = 1\n[backend]\ntype = 'command'\ncommand = 'x'\nmodel = 'm'\n",
         "FILE:5:1: backend.model: unknown key for type \"command\": it is one of type \"vllm\"\n"},
        {"port = 1\n[backend]\ntype = 'mock'\nmodels = ['a']\nargs = []\n",
         "FILE:5:1: backend.args: unknown key for type \"mock\": it is one of type \"command\", "
         "\"vllm\", \"infinilm\"\n"},
        {"prot = 1\n[backend]\ntype = 'command'\ncommand = 'x'\n",
         "FILE:1:1: prot: unknown key (did you mean `port`?)\n"},
        {"port = 1\n[babysitter]\nheartbeat_intervall = 1\n[backend]\ntype = 'command'\n"
         "command = 'x'\n",
         "FILE:3:1: babysitter.heartbeat_intervall: unknown key (did you mean "
         "`heartbeat_interval`?)\n"},
        {"port = 1\n[babysitter]\nheartbeat_interval = 0\n[backend]\ntype = 'command'\n"
         "command = 'x'\n",
         "FILE:3:1: babysitter.heartbeat_interval: 0 is too small: at least 1\n"},
        {"port = 1\nregistry_url = 'https://r'\n[backend]\ntype = 'command'\ncommand = 'x'\n",
         "FILE:2: registry_url: asks for TLS, which inferd does not speak yet: put http:// here, "
         "or a proxy in between\n"},
        {"port = 1\nregistry_url = 'unix:/x'\n[backend]\ntype = 'command'\ncommand = 'x'\n",
         "FILE:2: registry_url: must be \"http://host:port\"\n"},
        {"port = 1\nhost = 'a b'\n[backend]\ntype = 'command'\ncommand = 'x'\n",
         "FILE:2: host: is no host name or address\n"},
        {"port = 1\nname = \"a\\nb\"\n[backend]\ntype = 'command'\ncommand = 'x'\n",
         "FILE:2: name: must be UTF-8 without control characters\n"},
        {"port = 1\n[backend]\ntype = 'command'\ncommand = 'x'\n[service]\nhealth_path = 'up'\n",
         "FILE:6: service.health_path: must begin with / and be visible ASCII\n"},
        {"port = 1\n[backend]\ntype = 'command'\ncommand = 'x'\n[service]\nweight = 1000001\n",
         "FILE:6:1: service.weight: 1000001 is too large: at most 1000000\n"},
    };
    struct rig *r = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(READ(r, rows[i].toml), 1);
        expect_text(r, rows[i].text);
    }
    assert_int_equal(READ(r, "port = \n"), 1);
    assert_int_equal(str_find_str(buf_str(&r->text), STR(":1:")), strlen(r->path));
}

static void test_mistakes_of_flags(void **state)
{
    static const struct {
        int status;
        const char *argv[6], *text;
    } rows[] = {
        {1, {"--command", "x"}, "--port is missing, and there is no --config-file\n"},
        {1, {"--port", "1"}, "--command is missing for type command\n"},
        {1, {"--port", "1", "--service-type", "vLLM"}, "--path is missing for type vLLM\n"},
        {1,
         {"--port", "1", "--service-type", "vllm"},
         "--service-type: \"vllm\" is none of command, vLLM, mock, InfiniLM-Rust, InfiniLM\n"},
        {1, {"--port", "1", "--config-file", "/no/such"}, "/no/such: cannot be read: not found\n"},
        {2, {"--port", "1", "--command", "x", "--env", "A"}, "--env: must be KEY=VALUE\n"},
        {2, {"--port", "1", "--command", "x", "--env", "=A"}, "--env: must be KEY=VALUE\n"},
        {2,
         {"--port", "1", "--command", "x", "--host", "a/b"},
         "--host: is no host name or address\n"},
        {2,
         {"--port", "1", "--command", "x", "--registry-url", "r:1"},
         "--registry-url: must be \"http://host:port\" or \"unix:/path\"\n"},
    };
    struct rig *r = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *argv[7] = {NULL};

        memcpy(argv, rows[i].argv, sizeof rows[i].argv);
        assert_int_equal(read_both(r, NULL, argv), rows[i].status);
        expect_text(r, rows[i].text);
    }
}

static void test_lenient_makes_unknown_keys_warnings(void **state)
{
    struct rig *r = *state;

    r->lenient = true;
    assert_int_equal(READ(r, "port = 1\nmodel = 'm'\n[x]\ny = 1\n[backend]\ntype = 'command'\n"
                             "command = 'x'\nmodel = 'm'\n"),
                     0);
    expect_text(r, "FILE:2:1: model: unknown key (did you mean `backend.model`?)\n"
                   "FILE:3:2: x: unknown key\n"
                   "FILE:8:1: backend.model: unknown key for type \"command\": it is one of type "
                   "\"vllm\"\n");
    expect_command(r, "x");
    assert_int_equal(READ(r, "port = 'x'\nz = 1\n[backend]\ntype = 'command'\ncommand = 'x'\n"), 1);
    expect_text(r, "FILE:1:1: port: must be an integer, not a string\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_command_with_all_its_keys),
        TEST(test_env_as_a_table_of_its_own),
        TEST(test_arguments_of_each_type),
        TEST(test_flags_without_a_file),
        TEST(test_a_command_is_stronger_than_a_type),
        TEST(test_a_whole_file),
        TEST(test_defaults),
        TEST(test_flags_that_win_over_the_file),
        TEST(test_flags_without_effect_are_named_once),
        TEST(test_every_mistake_of_a_file),
        TEST(test_mistakes_of_flags),
        TEST(test_lenient_makes_unknown_keys_warnings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
