/* SPDX-License-Identifier: Apache-2.0
 *
 * settings_rules_test.c - the rules of a configuration that one row cannot say: each mistake with
 * the sentence and the place a person reads.
 */
#include "settings_rig.h"

#include "gate/retry.h"

#define ENGINE "[[engine]]\nname = 'e'\ncommand = ['x', '${PORT}']\n"
#define REMOTE "[[remote]]\nname = 'r'\nurl = 'http://x'\n"

struct row {
    const char *toml, *says; /* says: behind "./inferd.toml:", a line each; "" when it is taken */
};

static void check_rows(struct settings_rig *r, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct buf want = buf_make(1 << 16);
        struct str rest = str_of(rows[i].says);
        const char *got = settings_rig_read(r, rows[i].toml);

        while (rest.n) {
            struct str line = str_cut(&rest, '\n');

            buf_printf(&want, "./inferd.toml:%.*s\n", STR_ARGS(line));
        }
        if (!str_eq(str_of(got), buf_str(&want)))
            fail_msg("\n%s\nsays\n%s\nnot\n%s", rows[i].toml, got, want.n ? buf_cstr(&want) : "");
        buf_fini(&want);
        settings_rig_forget(r);
    }
}

static void test_listen(void **state)
{
    static const struct row rows[] = {
        {"[[listen]]\naddress = '127.0.0.1:0'\n[[listen]]\naddress = '127.0.0.1:0'\n", ""},
        {"[[listen]]\naddress = '[::1]:8900'\n[[listen]]\naddress = 'unix:/tmp/x'\n", ""},
        {"[[listen]]\naddress = '0.0.0.0:8900'\n",
         "2:1: listen[0].address: is not a loopback address, and there are no keys: anyone who "
         "reaches it could use the models. keys.file names some, --insecure allows it without"},
        {"[[listen]]\naddress = '[::]:8900'\n",
         "2:1: listen[0].address: is not a loopback address, and there are no keys: anyone who "
         "reaches it could use the models. keys.file names some, --insecure allows it without"},
        {"insecure = true\n[[listen]]\naddress = '0.0.0.0:8900'\n", ""},
        {"[[listen]]\naddress = 'localhost:8900'\n",
         "2:1: listen[0].address: names are not looked up: write 127.0.0.1 or [::1]"},
        {"[[listen]]\naddress = '127.0.0.1'\n",
         "2:1: listen[0].address: \"127.0.0.1\" is not an address like 127.0.0.1:8900, [::1]:8900 "
         "or unix:/path"},
        {"[[listen]]\naddress = '127.0.0.1:70000'\n",
         "2:1: listen[0].address: \"127.0.0.1:70000\" is not an address like 127.0.0.1:8900, "
         "[::1]:8900 or unix:/path"},
        {"[[listen]]\naddress = '127.0.0.1:1'\n[[listen]]\naddress = '127.0.0.1:1'\n",
         "4:1: listen[1].address: is the address of listen[0], too"},
        {"[[listen]]\naddress = 'unix:/x'\n[[listen]]\naddress = 'unix:/x'\n",
         "4:1: listen[1].address: is the address of listen[0], too"},
        {"[admin]\naddress = '127.0.0.1:1'\n[[listen]]\naddress = '127.0.0.1:1'\n",
         "4:1: listen[0].address: is admin.address, too"},
        {"[[listen]]\nhosts = ['a']\n", "1:1: listen[0]: `address` is missing"},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

#define JOIN "[registry]\nurl = 'http://10.0.0.1:8081'\n"

static void test_registry(void **state)
{
    static const struct row rows[] = {
        {JOIN, ""},
        {JOIN "advertise = 'gpu1:8900'\n",
         "3:1: registry.advertise: the first [[listen]] does not answer to \"gpu1\": its `hosts` "
         "must have it"},
        {JOIN "advertise = 'gpu1:8900'\n[[listen]]\naddress = '127.0.0.1:8900'\nhosts = ['gpu1']\n",
         ""},
        {JOIN "advertise = '127.0.0.1:8900'\nname = 'a'\ntoken_file = '/nowhere'\n",
         "5:1: registry.token_file: \"/nowhere\" cannot be read: not found"},
        {"[registry]\nurl = 'https://x'\n",
         "2:1: registry.url: \"https://x\" asks for TLS, which inferd does not speak yet: put "
         "http:// here, or a proxy in between"},
        {"[registry]\nurl = 'unix:/x'\n",
         "2:1: registry.url: \"unix:/x\" must be http://HOST:PORT"},
        {JOIN "advertise = 'gpu1'\n",
         "3:1: registry.advertise: \"gpu1\" is not HOST:PORT, as 10.0.0.5:8900"},
        {JOIN "advertise = 'http://gpu1:1'\n",
         "3:1: registry.advertise: \"http://gpu1:1\" is not HOST:PORT, as 10.0.0.5:8900"},
        {JOIN "advertise = 'localhost:65535'\n",
         "3:1: registry.advertise: others ask the port behind the advertised one for health: there "
         "is none behind 65535"},
        {JOIN "name = 'a b'\n", "3:1: registry.name: must not have blanks or control characters"},
        {JOIN "[[listen]]\naddress = '127.0.0.1:0'\n",
         "2:1: registry.url: needs registry.advertise, which says where others reach this machine: "
         "the first [[listen]]'s port is any that is free"},
        {"insecure = true\n" JOIN "[[listen]]\naddress = '0.0.0.0:8900'\n",
         "3:1: registry.url: needs registry.advertise, which says where others reach this machine: "
         "the first [[listen]]'s address is every one of this machine"},
        {JOIN "[[listen]]\naddress = 'unix:/x'\n",
         "2:1: registry.url: needs a TCP address in [[listen]]: others cannot reach a Unix socket"},
        {JOIN "[[listen]]\naddress = '127.0.0.1:8900'\n[[listen]]\naddress = '127.0.0.1:8901'\n",
         "2:1: registry.url: others ask the port behind the advertised one, 8901, for health, and "
         "it is listened on for something else"},
        {"[registry]\nlisten = '127.0.0.1:8081'\nallow_hosts = ['10.0.0.0/8', 'gpu1']\n", ""},
        {"[registry]\nlisten = '127.0.0.1:8900'\n",
         "2:1: registry.listen: is listened on for something else, too"},
        {"[registry]\nlisten = 'unix:/x'\n", "2:1: registry.listen: must be a TCP address"},
        {"[registry]\nlisten = '10.0.0.1:8081'\n",
         "2:1: registry.listen: is not a loopback address, and there is no token: anyone who "
         "reaches it could register what they like. registry.token_file names one, --insecure "
         "allows it without"},
        {"insecure = true\n[registry]\nlisten = '10.0.0.1:8081'\n", ""},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

static void test_registry_texts_are_read(void **state)
{
    struct settings_rig *r = *state;
    const struct registry_settings *g;

    settings_rig_file("token", "secret\n", 0600);
    assert_string_equal(
        settings_rig_read(r,
                          JOIN "advertise = '[fd00::5]:9000'\ntoken_file = 'token'\n"
                               "listen = '127.0.0.1:8081'\n"
                               "[[listen]]\naddress = '127.0.0.1:8900'\nhosts = ['[fd00::5]']\n"
                               "[[remote]]\nname = 'x'\nurl = 'http://x'\ncache_type = 'paged'\n"),
        "");
    g = &r->settings->registry;
    assert_str_is(g->at.host, "10.0.0.1");
    assert_str_is(g->shown.host, "fd00::5");
    assert_int_equal(g->shown.port, 9000);
    assert_str_is(g->shown.origin, "[fd00::5]:9000");
    assert_int_equal(g->face.port, 9001);
    assert_true(addr_is_loopback(&g->face)); /* where the first [[listen]] is */
    assert_int_equal(g->addr.port, 8081);
    assert_str_is(g->token, "secret");
    assert_true(g->name.n > 0);
    assert_int_equal(r->settings->remote.at[0].cache_type, CACHE_TYPE_PAGED);
    assert_string_equal(settings_rig_read(r, JOIN "[[listen]]\naddress = '127.0.0.2:7000'\n"), "");
    assert_str_is(r->settings->registry.shown.origin, "127.0.0.2:7000");
    assert_string_equal(settings_rig_read(r, ""), "");
    assert_int_equal(r->settings->registry.at.kind, URL_NONE);
    assert_int_equal(r->settings->registry.face.family, ADDR_NONE);
    assert_int_equal(r->settings->registry.addr.family, ADDR_NONE);
}

static void test_hosts_and_origins(void **state)
{
    static const struct row rows[] = {
        {"[[listen]]\naddress = '127.0.0.1:1'\nhosts = ['a.example', '10.0.0.1', '::1', 'x_y']\n"
         "origins = ['https://chat.example', 'http://localhost:3000', 'http://[::1]:1', "
         "'chrome-extension://abc']\n",
         ""},
        {"[[listen]]\naddress = '127.0.0.1:1'\nhosts = ['a.example:80']\n",
         "3:1: listen[0].hosts: \"a.example:80\" is not a host name or address without a port"},
        {"[[listen]]\naddress = '127.0.0.1:1'\nhosts = ['']\n",
         "3:1: listen[0].hosts: \"\" is not a host name or address without a port"},
        {"[[listen]]\naddress = '127.0.0.1:1'\norigins = ['chat.example']\n",
         "3:1: listen[0].origins: \"chat.example\" is not an origin like https://chat.example or "
         "http://localhost:3000"},
        {"[[listen]]\naddress = '127.0.0.1:1'\norigins = ['https://chat.example/']\n",
         "3:1: listen[0].origins: \"https://chat.example/\" is not an origin like "
         "https://chat.example or http://localhost:3000"},
        {"[[listen]]\naddress = '127.0.0.1:1'\norigins = ['http://x:0']\n",
         "3:1: listen[0].origins: \"http://x:0\" is not an origin like https://chat.example or "
         "http://localhost:3000"},
        {"[[listen]]\naddress = '127.0.0.1:1'\norigins = ['*']\n",
         "3:1: listen[0].origins: \"*\" is not an origin like https://chat.example or "
         "http://localhost:3000"},
        {"[[listen]]\naddress = '127.0.0.1:1'\norigins = ['http://[::1']\n",
         "3:1: listen[0].origins: \"http://[::1\" is not an origin like https://chat.example or "
         "http://localhost:3000"},
        {"[[listen]]\naddress = '127.0.0.1:1'\norigins = ['http://', '://x']\n",
         "3:1: listen[0].origins: \"http://\" is not an origin like https://chat.example or "
         "http://localhost:3000\n"
         "3:1: listen[0].origins: \"://x\" is not an origin like https://chat.example or "
         "http://localhost:3000"},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

static void test_admin_and_directories(void **state)
{
    static const struct row rows[] = {
        {"[admin]\naddress = '127.0.0.1:8901'\n", ""},
        {"[admin]\naddress = '10.0.0.1:8901'\n",
         "2:1: admin.address: must be a loopback address: it has no keys"},
        {"insecure = true\n[admin]\naddress = '0.0.0.0:8901'\n",
         "3:1: admin.address: must be a loopback address: it has no keys"},
        {"[admin]\naddress = 'unix:/x'\n",
         "2:1: admin.address: must be a TCP address: the control socket is there anyway"},
        {"state_dir = 'x'\nruntime_dir = './y'\n",
         "1:1: state_dir: must be an absolute path\n2:1: runtime_dir: must be an absolute path"},
        {"runtime_dir = '/1234567890123456789012345678901234567890123456789012345678901234567890123"
         "456789012345678901234567890'\n",
         "1:1: runtime_dir: is too long: at most 96 bytes"},
        {"[limits]\nhead_bytes = 4096\n",
         "2:1: limits.head_bytes: 4096 is less than request_line_bytes, 8192"},
        {"[limits]\nrequest_line_bytes = 40000\n",
         "2:1: limits.request_line_bytes: 40000 is more than head_bytes, 32768"},
        {"[limits]\nbody_bytes = 300000000\n",
         "2:1: limits.body_bytes: 300000000 is more than buffered_bytes, 268435456"},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

static void test_engines(void **state)
{
    static const struct row rows[] = {
        {ENGINE, ""},
        {"[[engine]]\nname = 'e'\ncommand = 'llama-server -m x.gguf --port ${PORT}'\n",
         "3:1: engine[0].command: must be a list of strings, not a string: write command = "
         "[\"llama-server\", \"-m\", \"x.gguf\", \"--port\", \"${PORT}\"]"},
        {"[[engine]]\nname = 'e'\ncommand = ['x']\n",
         "3:1: engine[0].command: has neither ${PORT} nor ${SOCKET}, and no url says where the "
         "engine answers"},
        {"[[engine]]\nname = 'e'\ncommand = ['x']\nurl = 'http://127.0.0.1:9'\n", ""},
        {"[[engine]]\nname = 'e'\ncommand = ['x']\nenv = {P = '${PORT}'}\n", ""},
        {"[[engine]]\nname = 'e'\ncommand = ['x', '--listen=${SOCKET}']\n", ""},
        {"[[engine]]\nname = 'e'\ncommand = ['x', '${PORT}', '${SOCKET}']\n",
         "3:1: engine[0].command: has both ${PORT} and ${SOCKET}: an engine listens on one of "
         "them"},
        {ENGINE "url = 'http://127.0.0.1:${PORT}/v9'\n", ""},
        {"[[engine]]\nname = 'e'\ncommand = ['x', '${SOCKET}']\nurl = 'unix:${SOCKET}'\n", ""},
        {"[[engine]]\nname = 'e'\ncommand = ['x']\nurl = 'http://127.0.0.1:${PORT}'\n",
         "4:1: engine[0].url: has ${PORT}, but command does not tell the engine"},
        {ENGINE "url = 'unix:${SOCKET}'\n",
         "4:1: engine[0].url: has ${SOCKET}, but command does not tell the engine"},
        {ENGINE "url = 'https://127.0.0.1:${PORT}'\n",
         "4:1: engine[0].url: \"https://127.0.0.1:${PORT}\" asks for TLS, which inferd does not "
         "speak yet: put http:// here, or a proxy in between"},
        {ENGINE "url = 'nonsense'\n", "4:1: engine[0].url: \"nonsense\" must be "
                                      "\"http://host:port\" or \"unix:/path\""},
        {"[[engine]]\nname = 'e'\ncommand = ['', '${PORT}']\n",
         "3:1: engine[0].command: begins with an empty string"},
        {"[[engine]]\nname = 'e'\ncommand = []\n", "3:1: engine[0].command: must not be empty"},
        {"[[engine]]\nname = 'e'\n", "1:1: engine[0]: `command` is missing"},
        {"[[engine]]\ncommand = ['x', '${PORT}']\n", "1:1: engine[0]: `name` is missing"},
        {ENGINE "ready_path = 'health'\n",
         "4:1: engine[0].ready_path: \"health\" is not a path like /health, without query"},
        {ENGINE "ready_path = '/health?x'\n",
         "4:1: engine[0].ready_path: \"/health?x\" is not a path like /health, without query"},
        {ENGINE "restart_delay_ms = 61000\n",
         "4:1: engine[0].restart_delay_ms: 61000 is more than restart_max_ms, 60000"},
        {ENGINE "restart_max_ms = 500\n",
         "4:1: engine[0].restart_max_ms: 500 is less than restart_delay_ms, 1000"},
        {ENGINE "restart = 'sometimes'\n", "4:1: engine[0].restart: must be one of \"always\", "
                                           "\"on-failure\", \"never\""},
        {ENGINE "kind = 'vlm'\n",
         "4:1: engine[0].kind: must be one of \"openai\", \"llama.cpp\", \"vllm\", \"ollama\" (did "
         "you mean \"vllm\"?)"},
        {ENGINE "env = {'A=B' = 'x'}\n", "4:1: engine[0].env: \"A=B\" has an = in it"},
        {ENGINE "env = {INFERD_UNIT = 'x'}\n",
         "4:1: engine[0].env: INFERD_UNIT is set by inferd itself"},
        {ENGINE "slot = 4\n", "4:1: engine[0].slot: unknown key (did you mean `slots`?)"},
        {ENGINE "weight = 0\n", "4:1: engine[0].weight: 0 is too small: at least 1"},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

static void test_names(void **state)
{
    static const struct row rows[] = {
        {"[[remote]]\nname = 'a.b_c-d+e:f@9'\nurl = 'http://x'\n", ""},
        {"[[remote]]\nname = 'a b'\nurl = 'http://x'\n",
         "2:1: remote[0].name: \"a b\" must be letters, digits and . _ - + : @, beginning with a "
         "letter or digit"},
        {"[[remote]]\nname = '-a'\nurl = 'http://x'\n",
         "2:1: remote[0].name: \"-a\" must be letters, digits and . _ - + : @, beginning with a "
         "letter or digit"},
        {"[[remote]]\nname = '\xc3\xa4'\nurl = 'http://x'\n",
         "2:1: remote[0].name: \"\xc3\xa4\" must be letters, digits and . _ - + : @, beginning "
         "with "
         "a letter or digit"},
        {ENGINE ENGINE, "5:1: engine[1].name: \"e\" is the name of engine[0], too"},
        {ENGINE "[[remote]]\nname = 'e'\nurl = 'http://x'\n",
         "5:1: remote[0].name: \"e\" is the name of engine[0], too"},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

static void test_remotes(void **state)
{
    static const struct row rows[] = {
        {REMOTE, ""},
        {"[[remote]]\nname = 'r'\nurl = 'unix:/run/engine.sock'\nweight = 2\nslots = 16\n", ""},
        {"[[remote]]\nname = 'r'\nurl = 'https://api.example/v1'\n",
         "3:1: remote[0].url: \"https://api.example/v1\" asks for TLS, which inferd does not speak "
         "yet: put http:// here, or a proxy in between"},
        {"[[remote]]\nname = 'r'\nurl = '10.0.0.5:8000'\n",
         "3:1: remote[0].url: \"10.0.0.5:8000\" must be \"http://host:port\" or \"unix:/path\""},
        {"[[remote]]\nname = 'r'\n", "1:1: remote[0]: `url` is missing"},
        {"[[remote]]\nname = 'r'\nurl = 'http://10.0.0.5:8000/v1/'\n",
         "3:1: remote[0].url: \"http://10.0.0.5:8000/v1/\" ends with /v1, with which the paths "
         "behind "
         "it begin: leave it out"},
        {"[[remote]]\nname = 'r'\nurl = 'http://10.0.0.5:8000/v1/a'\n", ""},
        {ENGINE "url = 'http://127.0.0.1:${PORT}/a/v1'\n",
         "4:1: engine[0].url: \"http://127.0.0.1:${PORT}/a/v1\" ends with /v1, with which the "
         "paths "
         "behind it begin: leave it out"},
        {REMOTE "models = ['']\n",
         "4:1: remote[0].models: names must have 1 to 256 bytes and no control characters"},
        {REMOTE "models = [\"a\\nb\"]\n",
         "4:1: remote[0].models: names must have 1 to 256 bytes and no control characters"},
        {REMOTE "models = ['m', 'm']\n", ""},
        {REMOTE "work_dir = '/'\n", "4:1: remote[0].work_dir: unknown key"},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

static void test_passthrough(void **state)
{
    static const struct row rows[] = {
        {ENGINE "passthrough = ['/slots', '/sleep']\n" REMOTE "passthrough = ['/props']\n", ""},
        {ENGINE "passthrough = ['/slots']\n" REMOTE "passthrough = ['/props', '/slots']\n",
         "8:1: remote[0].passthrough: \"/slots\" is claimed by \"e\", too: it can go to one engine "
         "only"},
        {ENGINE "passthrough = ['slots', '/a?b', '/a b', '']\n",
         "4:1: engine[0].passthrough: \"slots\" is not a path like /slots, without query\n"
         "4:1: engine[0].passthrough: \"/a?b\" is not a path like /slots, without query\n"
         "4:1: engine[0].passthrough: \"/a b\" is not a path like /slots, without query\n"
         "4:1: engine[0].passthrough: \"\" is not a path like /slots, without query"},
        {REMOTE "passthrough = ['/v1/chat/completions', '/health', '/v1/models/x', '/v1/x']\n",
         "4:1: remote[0].passthrough: \"/v1/chat/completions\" goes to the engines of the model "
         "that "
         "the body names: it cannot be passed to one engine\n"
         "4:1: remote[0].passthrough: \"/health\" is answered by inferd itself: it cannot be "
         "passed "
         "to one engine\n"
         "4:1: remote[0].passthrough: \"/v1/models/x\" is answered by inferd itself: it cannot be "
         "passed to one engine"},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

#define TINY REMOTE "models = ['tiny']\n"

/* An empty list is one: who wants no further attempt gets none. */
static void test_what_is_tried_again(void **state)
{
    static const struct row rows[] = {
        {"[retry]\non = ['connect', '404']\n", " retry.on[1]: \"404\" is none of connect, broken, "
                                               "timeout, 429, 500, 502, 503, 504\n"},
    };
    struct settings_rig *r = *state;

    check_rows(r, rows, ARRAY_LEN(rows));
    assert_string_equal(settings_rig_read(r, ""), "");
    assert_int_equal(r->settings->retry.mask, RETRY_DEFAULT);
    assert_int_equal(r->settings->retry.on.n, 6); /* as a dump shows it */
    assert_string_equal(settings_rig_read(r, "[retry]\non = ['503', 'timeout']\n"), "");
    assert_int_equal(r->settings->retry.mask, RETRY_503 | RETRY_TIMEOUT);
    assert_string_equal(settings_rig_read(r, "[retry]\non = []\n"), "");
    assert_int_equal(r->settings->retry.mask, 0);
}

static void test_affinity(void **state)
{
    static const struct row rows[] = {
        {"[affinity]\nheader = 'X-Chat'\nload_factor = 1\nmin_load = 1\n", ""},
        {"[affinity]\nheader = ''\nload_factor = 0\nenabled = false\n", ""},
        {"[affinity]\nload_factor = 0.5\n",
         "2:1: affinity.load_factor: must be at least 1, or 0 for no bound: below it the engines "
         "together could not carry what there is"},
        {"[affinity]\nheader = 'x chat'\n",
         "2:1: affinity.header: \"x chat\" is not the name of a header field"},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

static void test_aliases(void **state)
{
    static const struct row rows[] = {
        {TINY "[model.'gpt-4o']\ntarget = 'tiny'\n[model.b]\ntarget = 'gpt-4o'\n", ""},
        {REMOTE "[model.'gpt-4o']\ntarget = 'whatever it lists'\n", ""},
        {TINY "[model.'gpt-4o']\ntarget = 'tyni'\n",
         "6:1: model.\"gpt-4o\".target: no engine has a model \"tyni\" (did you mean `tiny`?)"},
        {TINY "[model.'gpt-4o']\ntarget = 'unheard of'\n",
         "6:1: model.\"gpt-4o\".target: no engine has a model \"unheard of\""},
        {"[model.'gpt-4o']\ntarget = 'tiny'\n",
         "2:1: model.\"gpt-4o\".target: no engine has a model \"tiny\""},
        {TINY "[model.a]\ntarget = 'a'\n",
         "6:1: model.\"a\".target: is a target of its own target: the aliases go in a circle"},
        {TINY "[model.a]\ntarget = 'b'\n[model.b]\ntarget = 'c'\n[model.c]\ntarget = 'a'\n"
              "[model.d]\ntarget = 'b'\n",
         "6:1: model.\"a\".target: is a target of its own target: the aliases go in a circle"},
        {TINY "[model.tiny]\ntarget = 'tiny'\n",
         "6:1: model.\"tiny\".target: \"tiny\" is a model of \"r\": an alias of that name would "
         "hide it\n"
         "6:1: model.\"tiny\".target: is a target of its own target: the aliases go in a circle"},
        {TINY "[model.\"a\\u0007\"]\ntarget = 'tiny'\n",
         "6:1: model.\"a\\u0007\".target: names must not have control characters"},
        {TINY "[model.a]\n", " model.\"a\": needs `target`, `targets` or `fallbacks`"},
        {TINY "[model]\na = 'tiny'\n", "6:1: model.\"a\": must be a table, not a string"},
        {TINY "[[model]]\nname = 'a'\n",
         "5:3: model: must be a table of tables, not a list: write [model]"},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

#define TWO "[[remote]]\nname = 'r'\nurl = 'http://x'\nmodels = ['tiny', 'big']\n"
static void test_targets_and_fallbacks(void **state)
{
    static const struct row rows[] = {
        {TWO "[model.a]\ntargets = [{model = 'tiny', weight = 9}, {model = 'big', weight = 0}]\n"
             "fallbacks = ['b']\n[model.b]\ntargets = [{model = 'tiny'}]\nfallbacks = ['a']\n",
         ""}, /* two names may be each other's fallback */
        {TWO "[model.tiny]\nfallbacks = ['big']\n[model.big]\nfallbacks = ['tiny']\n", ""},
        {TWO "[model.a]\ntarget = 'tiny'\ntargets = [{model = 'big'}]\n",
         "7:13: model.\"a\".targets[0].model: `target` is set, too: one of them says who answers"},
        {TWO "[model.a]\ntargets = [{model = 'tiny'}, {model = 'bug'}]\n",
         "6:31: model.\"a\".targets[1].model: no engine has a model \"bug\" (did you mean `big`?)"},
        {TWO "[model.a]\ntargets = [{model = 'tiny'}, {model = 'tiny'}]\n",
         "6:31: model.\"a\".targets[1].model: \"tiny\" is targets[0], too: give one the weight"},
        {TWO "[model.a]\ntargets = [{model = 'tiny', weight = 1001}]\n",
         "6:29: model.\"a\".targets[0].weight: 1001 is too large: at most 1000"},
        {TWO "[model.tiny]\nfallbacks = ['tiny', 'big', 'big', 'bag']\n",
         "6:1: model.\"tiny\".fallbacks: \"tiny\" cannot fall back to itself\n"
         "6:1: model.\"tiny\".fallbacks: has \"big\" twice\n"
         "6:1: model.\"tiny\".fallbacks: no engine has a model \"bag\" (did you mean `big`?)"},
        {TWO "[model.tony]\nfallbacks = ['big']\n",
         "6:1: model.\"tony\".fallbacks: no engine has a model \"tony\", and no target says who "
         "answers (did you mean `tiny`?)"},
        {TWO "[model.big]\ntargets = [{model = 'tiny'}]\n",
         "6:13: model.\"big\".targets[0].model: \"big\" is a model of \"r\": an alias of that name "
         "would hide it"},
        {TWO "[model.a]\ntargets = [{model = 'tiny'}, {model = 'b'}]\n[model.b]\n"
             "targets = [{model = 'c'}, {model = 'big'}]\n[model.c]\ntarget = 'a'\n",
         "6:13: model.\"a\".targets[0].model: is a target of its own target: the aliases go in a "
         "circle"},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

static void test_rules_run_beside_other_mistakes(void **state)
{
    static const struct row rows[] = {
        {"lanes = 0\n[[remote]]\nname = 'a b'\nurl = 'https://x'\n[[engine]]\nname = 7\n"
         "command = 'x'\npassthrough = ['y']\n[model.a]\ntarget = 'nobody'\n",
         "1:1: lanes: 0 is too small: at least 1\n"
         "3:1: remote[0].name: \"a b\" must be letters, digits and . _ - + : @, beginning with a "
         "letter or digit\n"
         "4:1: remote[0].url: \"https://x\" asks for TLS, which inferd does not speak yet: put "
         "http:// here, or a proxy in between\n"
         "6:1: engine[0].name: must be a string, not a number\n"
         "7:1: engine[0].command: must be a list of strings, not a string: write command = "
         "[\"x\"]\n"
         "8:1: engine[0].passthrough: \"y\" is not a path like /slots, without query"},
        {"[[listen]]\naddress = 1\n[[listen]]\naddress = 'x'\n",
         "2:1: listen[0].address: must be a string, not a number\n"
         "4:1: listen[1].address: \"x\" is not an address like 127.0.0.1:8900, [::1]:8900 or "
         "unix:/path"},
        {REMOTE "api_key_file = '/nowhere/key'\nslots = -1\n",
         "4:1: remote[0].api_key_file: \"/nowhere/key\" cannot be read: not found\n"
         "5:1: remote[0].slots: -1 is too small: at least 0"},
    };

    check_rows(*state, rows, ARRAY_LEN(rows));
}

static void test_endpoints_are_known(void **state)
{
    struct settings_rig *r = *state;

    assert_string_equal(
        settings_rig_read(r, ENGINE "[[engine]]\nname = 'f'\ncommand = ['${SOCKET}']\n[[engine]]\n"
                                    "name = 'g'\ncommand = ['x']\nurl = 'http://127.0.0.1:1'\n"
                                    "[[engine]]\nname = 'h'\ncommand = ['x']\nenv.P = '${PORT}'\n"),
        "");
    assert_int_equal(r->settings->engine.at[0].endpoint, ENGINE_AT_PORT);
    assert_int_equal(r->settings->engine.at[1].endpoint, ENGINE_AT_SOCKET);
    assert_int_equal(r->settings->engine.at[2].endpoint, ENGINE_AT_URL);
    assert_int_equal(r->settings->engine.at[3].endpoint, ENGINE_AT_PORT);
}

static void test_remote_urls_are_parsed(void **state)
{
    struct settings_rig *r = *state;

    assert_string_equal(
        settings_rig_read(r, "[[remote]]\nname = 'r'\nurl = 'http://10.0.0.5:8000/v2'\n"), "");
    assert_str_is(r->settings->remote.at[0].at.host, "10.0.0.5");
    assert_int_equal(r->settings->remote.at[0].at.port, 8000);
    assert_str_is(r->settings->remote.at[0].at.prefix, "/v2");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, settings_rig_setup, settings_rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_listen),
        TEST(test_registry),
        TEST(test_hosts_and_origins),
        TEST(test_admin_and_directories),
        TEST(test_engines),
        TEST(test_names),
        TEST(test_remotes),
        TEST(test_passthrough),
        TEST(test_what_is_tried_again),
        TEST(test_affinity),
        TEST(test_aliases),
        TEST(test_targets_and_fallbacks),
        TEST(test_rules_run_beside_other_mistakes),
        TEST(test_endpoints_are_known),
        TEST(test_remote_urls_are_parsed),
        TEST(test_registry_texts_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
