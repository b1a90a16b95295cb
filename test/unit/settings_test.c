/* SPDX-License-Identifier: Apache-2.0
 *
 * settings_test.c - from where values come and what wins; every key with its default; secrets; both
 * forms of a configuration mean the same; what a reload must say needs a restart. The rules between
 * values are settings_rules_test's.
 */
#include "settings_rig.h"

#include "base/str.h"

#define ENGINE "[[engine]]\nname = 'e'\ncommand = ['x', '${PORT}']\n"

/* --- every key --- */

struct wanted {
    const char *key, *dflt; /* as the row has it */
};

/* Every row of `t` is wanted and every wanted one is a row, in the order of the reference. */
static void assert_rows(const struct option_table *t, const struct wanted *wanted)
{
    size_t n = 0;

    for (; wanted[n].key; n++) {
        const struct option *o = option_find(t, str_of(wanted[n].key));

        if (!o)
            fail_msg("[%s] has no %s", t->name, wanted[n].key);
        else if (strcmp(o->dflt, wanted[n].dflt) != 0)
            fail_msg("[%s] %s is %s, not %s", t->name, o->key, o->dflt, wanted[n].dflt);
    }
    for (size_t i = 0; i < t->n; i++)
        n -= t->rows[i].type != OPTION_NAME;
    assert_int_equal(n, 0);
}

static const struct option_table *table_of(const char *key)
{
    const struct option *o = option_find(settings_table(), str_of(key));

    assert_non_null(o);
    assert_non_null(o->table);
    return o->table;
}

static void test_every_limit_has_its_default(void **state)
{
    static const struct wanted limits[] = {
        {"connect_ms", "5000"},
        {"first_byte_ms", "1800000"},
        {"idle_ms", "300000"},
        {"head_ms", "10000"},
        {"keepalive_ms", "75000"},
        {"body_grace_ms", "5000"},
        {"body_bytes_per_s", "1000"},
        {"stall_ms", "30000"},
        {"stream_stall_ms", "60000"},
        {"queue_ms", "30000"},
        {"queue_length", "512"},
        {"drain_delay_ms", "0"},
        {"drain_ms", "30000"},
        {"linger_ms", "2000"},
        {"head_bytes", "32768"},
        {"request_line_bytes", "8192"},
        {"headers", "100"},
        {"body_bytes", "67108864"},
        {"buffered_bytes", "268435456"},
        {"unsent_bytes", "536870912"},
        {"connections", "10000"},
        {"connections_per_address", "256"},
        {NULL, NULL},
    };

    (void)state;
    assert_rows(table_of("limits"), limits);
}

static void test_every_key_of_engines_has_its_default(void **state)
{
    static const struct wanted engine[] = {
        {"name", "REQUIRED"},
        {"command", "REQUIRED"},
        {"models", "UNSET"},
        {"slots", "0"},
        {"weight", "1"},
        {"kind", "UNSET"},
        {"cache_type", "UNSET"},
        {"passthrough", "UNSET"},
        {"url", "UNSET"},
        {"ready_path", "UNSET"},
        {"ready_timeout_ms", "0"},
        {"hang_timeout_ms", "0"},
        {"live_interval_ms", "UNSET"},
        {"live_timeout_ms", "UNSET"},
        {"restart", "always"},
        {"restart_delay_ms", "1000"},
        {"restart_max_ms", "60000"},
        {"stable_ms", "60000"},
        {"stop_grace_ms", "8000"},
        {"work_dir", "UNSET"},
        {"user", "UNSET"},
        {"env", "UNSET"},
        {NULL, NULL},
    };
    static const struct wanted remote[] = {
        {"name", "REQUIRED"},
        {"url", "REQUIRED"},
        {"api_key_file", "UNSET"},
        {"models", "UNSET"},
        {"slots", "0"},
        {"weight", "1"},
        {"kind", "UNSET"},
        {"passthrough", "UNSET"},
        {"probe_path", "UNSET"},
        {"cache_type", "UNSET"},
        {NULL, NULL},
    };

    (void)state;
    assert_rows(table_of("engine"), engine);
    assert_rows(table_of("remote"), remote);
}

static void test_every_other_key_has_its_default(void **state)
{
    static const struct wanted top[] = {
        {"lanes", "UNSET"},           {"state_dir", "UNSET"},
        {"runtime_dir", "UNSET"},     {"insecure", "false"},
        {"listen", "UNSET"},          {"engine", "UNSET"},
        {"remote", "UNSET"},          {"model", "UNSET"},
        {"affinity", "UNSET"},        {"probe", "UNSET"},
        {"limits", "UNSET"},          {"log", "UNSET"},
        {"admin", "UNSET"},           {"process", "UNSET"},
        {"registry", "UNSET"},        {"keys", "UNSET"},
        {"trusted_proxies", "UNSET"}, {"retry", "UNSET"},
        {"breaker", "UNSET"},         {NULL, NULL},
    };
    static const struct wanted listen[] = {
        {"address", "REQUIRED"}, {"hosts", "UNSET"}, {"origins", "UNSET"}, {NULL, NULL}};
    static const struct wanted model[] = {
        {"target", "UNSET"}, {"targets", "UNSET"}, {"fallbacks", "UNSET"}, {NULL, NULL}};
    static const struct wanted affinity[] = {{"enabled", "true"},
                                             {"header", "\"x-session-id\""},
                                             {"load_factor", "1.25"},
                                             {"min_load", "8"},
                                             {NULL, NULL}};
    static const struct wanted probe[] = {{"interval_ms", "2000"}, {"timeout_ms", "1000"},
                                          {"failures", "3"},       {"successes", "2"},
                                          {"path", "UNSET"},       {NULL, NULL}};
    static const struct wanted retry[] = {
        {"on", "UNSET"}, {"attempts", "3"}, {"budget_percent", "20"}, {NULL, NULL}};
    static const struct wanted breaker[] = {{"broken", "3"}, {"model_failures", "5"}, {NULL, NULL}};
    static const struct wanted log[] = {{"format", "logfmt"}, {"level", "info"}, {NULL, NULL}};
    static const struct wanted admin[] = {{"address", "UNSET"}, {NULL, NULL}};
    static const struct wanted keys[] = {{"file", "UNSET"}, {"failures_per_s", "10"}, {NULL, NULL}};
    static const struct wanted registry[] = {
        {"url", "UNSET"},          {"advertise", "UNSET"},
        {"name", "UNSET"},         {"heartbeat_interval_s", "30"},
        {"token_file", "UNSET"},   {"listen", "UNSET"},
        {"allow_hosts", "UNSET"},  {"health_interval_s", "30"},
        {"health_timeout_s", "5"}, {"cleanup_interval_s", "60"},
        {"max_services", "10000"}, {NULL, NULL}};
    static const struct wanted process[] = {{"user", "UNSET"}, {NULL, NULL}};

    (void)state;
    assert_rows(settings_table(), top);
    assert_rows(table_of("listen"), listen);
    assert_rows(table_of("model"), model);
    assert_rows(table_of("affinity"), affinity);
    assert_rows(table_of("probe"), probe);
    assert_rows(table_of("retry"), retry);
    assert_rows(table_of("breaker"), breaker);
    assert_rows(table_of("log"), log);
    assert_rows(table_of("admin"), admin);
    assert_rows(table_of("process"), process);
    assert_rows(table_of("keys"), keys);
    assert_rows(table_of("registry"), registry);
}

static void test_what_needs_a_restart(void **state)
{
    static const char *const restart[] = {"lanes", "state_dir", "runtime_dir", "process"};
    const struct option_table *t = settings_table();

    (void)state;
    for (size_t i = 0; i < t->n; i++) {
        bool wanted = false;

        for (size_t k = 0; k < ARRAY_LEN(restart); k++)
            wanted |= strcmp(t->rows[i].key, restart[k]) == 0;
        if ((t->rows[i].when == OPTION_RESTART) != wanted)
            fail_msg("%s", t->rows[i].key);
    }
}

/* --- sources --- */

static void test_no_file_is_fine(void **state)
{
    struct settings_rig *r = *state;
    const struct settings *s;

    if (access("/etc/inferd/inferd.toml", F_OK) == 0) {
        print_message("skipped: this machine has an /etc/inferd/inferd.toml\n");
        skip();
    }
    assert_string_equal(settings_rig_collect(r), "");
    s = r->settings;
    assert_null(s->file.p);
    assert_true(s->listen_default);
    assert_int_equal(s->listen.n, 1);
    assert_str_is(s->listen.at[0].address, "127.0.0.1:8900");
    assert_int_equal(s->listen.at[0].addr.port, 8900);
    assert_true(s->lanes >= 1 && s->lanes <= 8);
    assert_int_equal(s->limits.reply_ms, 0);
    assert_int_equal(s->limits.move_ms, 0);
    assert_int_equal(s->remote.n + s->model.n, 0);
    assert_int_equal(s->engine.n, 1); /* the built-in mock, and nothing else */
    assert_str_is(s->engine.at[0].name, "mock");
    assert_str_is(s->engine.at[0].models.at[0], "inferd-mock");
    assert_int_equal(s->engine.at[0].endpoint, ENGINE_AT_SOCKET);
    assert_int_equal(settings_log_format(s), LOG_LOGFMT);
    assert_int_equal(settings_log_level(s), LOG_INFO);
}

static void test_directories_follow_the_environment(void **state)
{
    struct settings_rig *r = *state;

    r->env[0] = (char[]){"XDG_RUNTIME_DIR=/run/user/7"};
    r->env[1] = (char[]){"XDG_STATE_HOME=/s"};
    r->env[2] = (char[]){"HOME=/h"};
    assert_string_equal(settings_rig_read(r, ""), "");
    assert_str_is(r->settings->runtime_dir, "/run/user/7/inferd");
    assert_str_is(r->settings->state_dir, geteuid() ? "/s/inferd" : "/var/lib/inferd");
    r->env[0] = (char[]){"XDG_RUNTIME_DIR=relative"};
    r->env[1] = (char[]){"HOME=/h"};
    r->env[2] = NULL;
    assert_string_equal(settings_rig_read(r, ""), "");
    if (geteuid() == 0)
        assert_str_is(r->settings->runtime_dir, "/run/inferd");
    else
        assert_true(str_starts(r->settings->runtime_dir, STR("/tmp/inferd-")));
    assert_str_is(r->settings->state_dir, geteuid() ? "/h/.local/state/inferd" : "/var/lib/inferd");
}

static void test_flag_over_environment_over_file_over_default(void **state)
{
    struct settings_rig *r = *state;

    assert_string_equal(settings_rig_read(r, "[limits]\nqueue_ms = 1\nheaders = 11\n"), "");
    assert_int_equal(r->settings->limits.queue_ms, 1);
    assert_int_equal(r->settings->limits.idle_ms, 300000);
    r->env[0] = (char[]){"INFERD_LIMITS_QUEUE_MS=2"};
    assert_string_equal(settings_rig_collect(r), "");
    assert_int_equal(r->settings->limits.queue_ms, 2);
    settings_rig_flag(r, "limits.queue_ms", "3");
    assert_string_equal(settings_rig_collect(r), "");
    assert_int_equal(r->settings->limits.queue_ms, 3);
    assert_int_equal(r->settings->limits.headers, 11);
}

static void test_every_scalar_has_its_variable(void **state)
{
    struct settings_rig *r = *state;

    r->env[0] = (char[]){"INFERD_LANES=5"};
    r->env[1] = (char[]){"INFERD_INSECURE=true"};
    r->env[2] = (char[]){"INFERD_LOG_FORMAT=json"};
    r->env[3] = (char[]){"INFERD_LOG_LEVEL=debug"};
    r->env[4] = (char[]){"INFERD_STATE_DIR=/x"};
    r->env[5] = (char[]){"INFERD_LISTEN=127.0.0.1:1, 0.0.0.0:2"};
    r->env[6] = (char[]){"INFERD_ADMIN_ADDRESS=127.0.0.1:3"};
    assert_string_equal(settings_rig_read(r, ""), "");
    assert_int_equal(r->settings->lanes, 5);
    assert_true(r->settings->insecure);
    assert_int_equal(settings_log_format(r->settings), LOG_JSON);
    assert_int_equal(settings_log_level(r->settings), LOG_DEBUG);
    assert_str_is(r->settings->state_dir, "/x");
    assert_int_equal(r->settings->listen.n, 2);
    assert_str_is(r->settings->listen.at[1].address, "0.0.0.0:2");
    assert_int_equal(r->settings->admin.addr.port, 3);
}

static void test_listen_flags_replace_the_files_tables(void **state)
{
    struct settings_rig *r = *state;

    settings_rig_flag(r, "listen", "127.0.0.1:1");
    settings_rig_flag(r, "listen", "[::1]:2");
    r->env[0] = (char[]){"INFERD_LISTEN=127.0.0.1:3,127.0.0.1:4,127.0.0.1:5"};
    assert_string_equal(
        settings_rig_read(r, "[[listen]]\naddress = '127.0.0.1:6'\nhosts = ['a.example']\n"), "");
    assert_int_equal(r->settings->listen.n, 2);
    assert_str_is(r->settings->listen.at[0].address, "127.0.0.1:1");
    assert_int_equal(r->settings->listen.at[0].hosts.n, 0);
    assert_str_is(r->settings->listen.at[1].address, "[::1]:2");
    assert_false(r->settings->listen_default);
}

static void test_mistakes_name_their_source(void **state)
{
    struct settings_rig *r = *state;

    r->env[0] = (char[]){"INFERD_LANES=many"};
    r->env[1] = (char[]){"INFERD_LISTEN=127.0.0.1:1,nowhere"};
    settings_rig_flag(r, "limits.head_ms", "0");
    assert_string_equal(
        settings_rig_read(r, "\n[log]\nlevel = 'loud'\nformat = 'jsno'\n"),
        "INFERD_LANES: lanes: \"many\" is not an integer\n"
        "--limits-head-ms: limits.head_ms: 0 is too small: at least 1\n"
        "INFERD_LISTEN: listen[1].address: \"nowhere\" is not an address like "
        "127.0.0.1:8900, [::1]:8900 or unix:/path\n"
        "./inferd.toml:3:1: log.level: must be one of \"off\", \"error\", \"warn\", "
        "\"info\", \"debug\", \"trace\"\n"
        "./inferd.toml:4:1: log.format: must be one of \"logfmt\", \"json\", "
        "\"svc\" (did you mean \"json\"?)\n");
}

static void test_unknown_keys_name_the_nearest(void **state)
{
    struct settings_rig *r = *state;

    assert_string_equal(
        settings_rig_read(r, "queue_ms = 1\nlane = 2\n[limit]\nx = 1\n[[engines]]\n"
                             "[limits]\nhead_byte = 1\n"),
        "./inferd.toml:1:1: queue_ms: unknown key (did you mean `limits.queue_ms`?)\n"
        "./inferd.toml:2:1: lane: unknown key (did you mean `lanes`?)\n"
        "./inferd.toml:3:2: limit: unknown key (did you mean `limits`?)\n"
        "./inferd.toml:5:3: engines: unknown key (did you mean `engine`?)\n"
        "./inferd.toml:7:1: limits.head_byte: unknown key (did you mean "
        "`head_bytes`?)\n");
}

static void test_which_file(void **state)
{
    struct settings_rig *r = *state;
    char config[100], home[100];

    (void)snprintf(config, sizeof config, "INFERD_CONFIG=%s/b.toml", r->dir);
    (void)snprintf(home, sizeof home, "HOME=%s", r->dir);
    settings_rig_file("a.toml", "lanes = 1", 0644);
    settings_rig_file("b.toml", "lanes = 2", 0644);
    settings_rig_file("inferd.toml", "lanes = 3", 0644);
    assert_int_equal(mkdir(".config", 0755) | mkdir(".config/inferd", 0755), 0);
    settings_rig_file(".config/inferd/inferd.toml", "lanes = 4", 0644);
    r->env[0] = home;
    r->env[1] = config;
    r->config = "a.toml";
    for (uint32_t lanes = 1; lanes <= 4; lanes++) {
        assert_string_equal(settings_rig_collect(r), "");
        assert_int_equal(r->settings->lanes, lanes);
        assert_non_null(r->settings->file.p);
        if (lanes == 1)
            r->config = NULL;
        else if (lanes == 2)
            r->env[1] = NULL;
        else
            (void)unlink("inferd.toml");
    }
}

static void test_a_named_file_must_be_there(void **state)
{
    struct settings_rig *r = *state;

    settings_rig_file("inferd.toml", "lanes = 3", 0644);
    r->config = "nowhere.toml";
    assert_string_equal(settings_rig_collect(r), "nowhere.toml: cannot be read: not found\n");
    r->config = NULL;
    r->env[0] = (char[]){"INFERD_CONFIG=gone.toml"};
    assert_string_equal(settings_rig_collect(r), "gone.toml: cannot be read: not found\n");
    r->config = "/tmp";
    assert_non_null(strstr(settings_rig_collect(r), "/tmp: cannot be read: "));
}

static void test_a_huge_file_is_refused(void **state)
{
    struct settings_rig *r = *state;

    settings_rig_file("inferd.toml", "", 0644);
    assert_int_equal(truncate("inferd.toml", BUNDLE_FILE_MAX + 1), 0);
    assert_string_equal(settings_rig_collect(r),
                        "./inferd.toml: cannot be read: it is over 4 MiB\n");
}

/* --- secrets --- */

#define REMOTE "[[remote]]\nname = 'r'\nurl = 'http://x'\napi_key_file = 'key'\n"

static void test_secrets_are_read_and_trimmed(void **state)
{
    struct settings_rig *r = *state;

    settings_rig_file("key", " \tsk-1_X \r\n", 0600);
    assert_string_equal(settings_rig_read(r, REMOTE), "");
    assert_str_is(r->settings->remote.at[0].api_key, "sk-1_X");
    settings_rig_file("key", "k", 0400);
    assert_string_equal(settings_rig_collect(r), "");
}

static void test_secrets_others_can_read_are_refused(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0644, 0610, 0601, 0666};
    struct settings_rig *r = *state;

    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        settings_rig_file("key", "k", modes[i]);
        assert_string_equal(settings_rig_read(r, REMOTE),
                            "./inferd.toml:4:1: remote[0].api_key_file: \"key\" can be read or "
                            "changed by others: chmod 600 it\n");
    }
}

static void test_secrets_that_are_no_keys(void **state)
{
    static const char *const texts[] = {"", " \n", "two words", "line\nline", "\xc3\xa4", "a\x01"};
    struct settings_rig *r = *state;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        settings_rig_file("key", texts[i], 0600);
        assert_string_equal(settings_rig_read(r, REMOTE),
                            "./inferd.toml:4:1: remote[0].api_key_file: \"key\" must hold one word "
                            "of 1 to 4096 visible ASCII characters\n");
    }
    (void)unlink("key");
    assert_string_equal(settings_rig_read(r, REMOTE),
                        "./inferd.toml:4:1: remote[0].api_key_file: \"key\" cannot be read: not "
                        "found\n");
    assert_int_equal(mkdir("key", 0700), 0);
    assert_string_equal(
        settings_rig_read(r, REMOTE),
        "./inferd.toml:4:1: remote[0].api_key_file: \"key\" is not a regular file\n");
    assert_int_equal(rmdir("key"), 0);
    assert_int_equal(mkfifo("key", 0600), 0); /* must not wait for a writer */
    assert_string_equal(
        settings_rig_read(r, REMOTE),
        "./inferd.toml:4:1: remote[0].api_key_file: \"key\" is not a regular file\n");
}

static void test_a_credential_of_systemd_may_carry_a_group_bit(void **state)
{
    struct settings_rig *r = *state;
    char env[100], toml[200];

    (void)snprintf(env, sizeof env, "CREDENTIALS_DIRECTORY=%s/cred", r->dir);
    (void)snprintf(toml, sizeof toml,
                   "[[remote]]\nname = 'r'\nurl = 'http://x'\napi_key_file = '%s/cred/key'\n",
                   r->dir);
    assert_int_equal(mkdir("cred", 0700), 0);
    settings_rig_file("cred/key", "k", 0440);
    assert_non_null(strstr(settings_rig_read(r, toml), "chmod 600 it"));
    r->env[0] = env;
    assert_string_equal(settings_rig_collect(r), "");
    /* a directory whose name only begins like it is another one */
    assert_int_equal(mkdir("credible", 0700), 0);
    settings_rig_file("credible/key", "k", 0440);
    (void)snprintf(toml, sizeof toml,
                   "[[remote]]\nname = 'r'\nurl = 'http://x'\napi_key_file = '%s/credible/key'\n",
                   r->dir);
    assert_non_null(strstr(settings_rig_read(r, toml), "chmod 600 it"));
}

/* --- both forms --- */

static void test_the_bundle_means_the_same_without_the_machine(void **state)
{
    struct settings_rig *r = *state;
    struct buf bytes = buf_make(BUNDLE_MAX);
    struct bundle *there;
    struct settings *s;

    settings_rig_file("key", "secret", 0600);
    settings_rig_flag(r, "limits.queue_ms", "77");
    r->env[0] = (char[]){"INFERD_LANES=6"};
    assert_string_equal(settings_rig_read(r, REMOTE ENGINE "[model.a]\ntarget = 'b'\n"), "");
    assert_int_equal(bundle_encode(r->bundle, &bytes), 0);
    assert_int_equal(bundle_decode(buf_str(&bytes), &there), 0);
    (void)unlink("key");
    (void)unlink("inferd.toml");
    assert_int_equal(settings_from_bundle(there, &s, &r->errors), 0);
    bundle_destroy(&there); /* not needed after */
    assert_int_equal(s->lanes, 6);
    assert_int_equal(s->limits.queue_ms, 77);
    assert_str_is(s->remote.at[0].api_key, "secret");
    assert_str_is(s->engine.at[0].command.at[1], "${PORT}");
    assert_str_is(s->model.at[0].target, "b");
    assert_str_is(s->file, "./inferd.toml");
    assert_str_is(s->state_dir, r->settings->state_dir.p);
    settings_unref(&s);
    buf_fini(&bytes);
}

static void test_a_bundle_without_its_secret_is_refused(void **state)
{
    struct settings_rig *r = *state;
    struct bundle *poor;
    struct settings *s = NULL;

    settings_rig_file("key", "secret", 0600);
    assert_string_equal(settings_rig_read(r, REMOTE), "");
    bundle_create(&poor);
    for (size_t i = 0; i < r->bundle->n; i++)
        if (r->bundle->at[i].kind != BUNDLE_SECRET)
            assert_int_equal(bundle_add(poor, r->bundle->at[i].kind, r->bundle->at[i].name,
                                        r->bundle->at[i].value),
                             0);
    assert_int_equal(settings_from_bundle(poor, &s, &r->errors), -E_CONF);
    assert_null(s);
    assert_str_is(r->errors.at[0].problem, "\"key\" was not read");
    bundle_destroy(&poor);
}

static void test_strange_bundles_are_refused(void **state)
{
    static const struct {
        enum bundle_kind kind;
        const char *name, *value;
    } rows[] = {
        {BUNDLE_FLAG, "nothing", "1"},
        {BUNDLE_FLAG, "engine", "x"},
        {BUNDLE_ENV, "limits", "1"},
        {BUNDLE_ENV, "engine[0].slots", "1"},
        {BUNDLE_FLAG, "", ""},
        {BUNDLE_COMPUTED, "lanes", "0"},
        {BUNDLE_FLAG, "limits..head_ms", "1"},
        {BUNDLE_FILE, "f", "= x"},
    };
    struct settings_rig *r = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct settings *s = NULL;
        struct bundle *b;

        bundle_create(&b);
        error_init(&r->errors, &r->arena);
        assert_int_equal(bundle_add(b, rows[i].kind, str_of(rows[i].name), str_of(rows[i].value)),
                         0);
        assert_int_equal(settings_from_bundle(b, &s, &r->errors), -E_CONF);
        assert_null(s);
        assert_true(r->errors.n > 0);
        bundle_destroy(&b);
    }
}

static void test_reload_lists_what_needs_a_restart(void **state)
{
    struct settings_rig *r = *state;
    struct settings *was;

    assert_string_equal(
        settings_rig_read(r, "lanes = 1\nstate_dir = '/a'\n[log]\nlevel = 'warn'\n"), "");
    was = settings_ref(r->settings);
    assert_string_equal(
        settings_rig_read(
            r, "lanes = 2\nstate_dir = '/a'\n[log]\nlevel = 'info'\n[process]\nuser = 'root'\n"),
        "");
    buf_clear(&r->text);
    settings_restarts(was, r->settings, &r->text);
    assert_str_is(buf_str(&r->text), "lanes, process.user");
    buf_clear(&r->text);
    settings_restarts(was, was, &r->text);
    assert_int_equal(r->text.n, 0);
    settings_unref(&was);
}

static void test_dump_says_where_values_come_from(void **state)
{
    static const char *const lines[] = {
        "\nlanes = 6 # INFERD_LANES\n",
        "\nqueue_ms = 77 # --limits-queue-ms\n",
        "\nname = \"e\" # ./inferd.toml:6\n",
        "\n[model.\"gpt-4o\"]\ntarget = \"t\" # ./inferd.toml:10\n",
        "\nenv = { TOKEN = \"***\" } # ./inferd.toml:8\n",
        "\nidle_ms = 300000 # default\n",
        "\napi_key_file = \"key\" # ./inferd.toml:4\n",
        "\nready_path = unset # default\n",
    };
    struct settings_rig *r = *state;
    struct buf dump = buf_make(1 << 20), squeezed = buf_make(1 << 20);

    settings_rig_file("key", "secret", 0600);
    r->env[0] = (char[]){"INFERD_LANES=6"};
    settings_rig_flag(r, "limits.queue_ms", "77");
    assert_string_equal(settings_rig_read(r, REMOTE ENGINE "env = {TOKEN = 'hidden'}\n"
                                                           "[model.gpt-4o]\ntarget = 't'\n"),
                        "");
    settings_dump(r->bundle, &dump);
    buf_char(&squeezed, '\n');
    for (size_t i = 0; i < dump.n; i++) /* columns are not the point */
        if (dump.p[i] != ' ' || (i && dump.p[i - 1] != ' '))
            buf_char(&squeezed, dump.p[i]);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct str line = str_of(lines[i]);
        struct str hidden;

        if (str_find_str(buf_str(&squeezed), line) < squeezed.n)
            continue;
        /* what is no TOML value stands as a comment */
        hidden = arena_printf(&r->arena, "\n# %s", lines[i] + 1);
        if (str_find_str(buf_str(&squeezed), hidden) == squeezed.n)
            fail_msg("no \"%s\" in\n%s", lines[i], buf_cstr(&squeezed));
    }
    assert_int_equal(str_find_str(buf_str(&dump), STR("hidden")), dump.n);
    assert_int_equal(str_find_str(buf_str(&dump), STR("secret")), dump.n);
    /* it is TOML, and configures the same */
    assert_string_equal(settings_rig_read(r, buf_cstr(&dump)), "");
    assert_int_equal(r->settings->limits.queue_ms, 77);
    assert_str_is(r->settings->model.at[0].name, "gpt-4o");
    buf_fini(&dump);
    buf_fini(&squeezed);
}

static void test_many_remotes_are_fast(void **state)
{
    struct settings_rig *r = *state;
    struct buf toml = buf_make(BUNDLE_FILE_MAX);

    for (int i = 0; i < SETTINGS_REMOTES_MAX; i++)
        buf_printf(&toml, "[[remote]]\nname = 'r%d'\nurl = 'http://10.0.0.1:%d'\nmodels = ['m']\n",
                   i, i + 1);
    assert_string_equal(settings_rig_read(r, buf_cstr(&toml)), "");
    assert_int_equal(r->settings->remote.n, SETTINGS_REMOTES_MAX);
    assert_int_equal(r->settings->remote.at[9999].at.port, 10000);
    buf_text(&toml, "[[remote]]\nname = 'x'\nurl = 'http://x'\n");
    assert_non_null(strstr(settings_rig_read(r, buf_cstr(&toml)),
                           "remote: has 10001 entries: at most 10000\n"));
    buf_fini(&toml);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, settings_rig_setup, settings_rig_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_limit_has_its_default),
        cmocka_unit_test(test_every_key_of_engines_has_its_default),
        cmocka_unit_test(test_every_other_key_has_its_default),
        cmocka_unit_test(test_what_needs_a_restart),
        TEST(test_no_file_is_fine),
        TEST(test_directories_follow_the_environment),
        TEST(test_flag_over_environment_over_file_over_default),
        TEST(test_every_scalar_has_its_variable),
        TEST(test_listen_flags_replace_the_files_tables),
        TEST(test_mistakes_name_their_source),
        TEST(test_unknown_keys_name_the_nearest),
        TEST(test_which_file),
        TEST(test_a_named_file_must_be_there),
        TEST(test_a_huge_file_is_refused),
        TEST(test_secrets_are_read_and_trimmed),
        TEST(test_secrets_others_can_read_are_refused),
        TEST(test_secrets_that_are_no_keys),
        TEST(test_a_credential_of_systemd_may_carry_a_group_bit),
        TEST(test_the_bundle_means_the_same_without_the_machine),
        TEST(test_a_bundle_without_its_secret_is_refused),
        TEST(test_strange_bundles_are_refused),
        TEST(test_reload_lists_what_needs_a_restart),
        TEST(test_dump_says_where_values_come_from),
        TEST(test_many_remotes_are_fast),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
