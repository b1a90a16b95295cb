/* SPDX-License-Identifier: Apache-2.0
 *
 * router_conf_test.c - what each flag of the router, and its two variables, make of the settings.
 */
#include "unit.h"

#include "gate/retry.h"
#include "role/router_conf.h"

OPTION_WORDS(fabric_log_format, FABRIC_LOG_FORMAT_WORDS);
OPTION_WORDS(balance, BALANCE_WORDS);
OPTION_WORDS(authorization_word, AUTHORIZATION_WORDS);
OPTION_TABLE(router_flags, ROUTER_OPTIONS, "A router.");

static struct router_flags defaults(void)
{
    struct router_flags f;
    struct arena arena;

    arena_init(&arena, NULL);
    option_defaults(&router_flags_options, &f, &arena);
    arena_clear(&arena);
    return f;
}

static struct control_settings made(const struct router_flags *f, const struct router_env *env)
{
    struct control_settings s;
    char memory[512];
    struct buf why = buf_on(memory, sizeof memory);

    assert_int_equal(router_conf_make(f, env, &s, &why), 0);
    return s;
}

static void drop(struct control_settings *s) { s->unref(s->owner); }

static const struct router_env usual = {.proxy_timeout_s = 1800, .static_above = 51200};

static void test_defaults(void **state)
{
    struct router_flags f = defaults();
    struct control_settings s = made(&f, &usual);
    const struct limits *l = s.limits;

    (void)state;
    assert_int_equal(f.router_port, 8080);
    assert_int_equal(f.registry_sync_interval, 10);
    assert_int_equal(f.service_removal_grace_period, 60);
    assert_int_equal(l->first_byte_ms, 1800000);
    assert_int_equal(l->reply_ms, 1800000);
    assert_int_equal(l->move_ms, 0);
    assert_int_equal(l->queue_ms, 0);
    assert_int_equal(l->idle_ms, 300000);
    assert_int_equal(l->connect_ms, 5000);
    assert_int_equal(l->drain_ms, 8000);
    assert_int_equal(l->drain_delay_ms, 0);
    assert_int_equal(l->body_bytes, 64 << 20);
    assert_int_equal(l->buffered_bytes, 256 << 20);
    /* the fabric's limits of connections */
    assert_int_equal(l->head_bytes, 32 << 10);
    assert_int_equal(l->request_line_bytes, 8 << 10);
    assert_int_equal(l->headers, 100);
    assert_int_equal(l->head_ms, 10000);
    assert_int_equal(l->body_grace_ms, 5000);
    assert_int_equal(l->body_bytes_per_s, 1000);
    assert_int_equal(l->keepalive_ms, 75000);
    assert_int_equal(l->stall_ms, 30000);
    assert_int_equal(l->stream_stall_ms, 60000);
    assert_true(l->connections > 0 && l->connections <= 10000);
    assert_int_equal(s.probe->interval_ms, 30000);
    assert_int_equal(s.probe->timeout_ms, 5000);
    assert_int_equal(s.breaker->broken, 3);
    assert_int_equal(s.breaker->model_failures, 0);
    assert_int_equal(s.retry->attempts, 3);
    assert_int_equal(s.retry->budget_percent, 20);
    assert_true(s.affinity->enabled && s.affinity->load_factor == 1.25);
    assert_int_equal(s.affinity->header.n, 0);
    assert_int_equal(s.affinity->min_load, 8);
    assert_int_equal(s.static_above, 51200);
    assert_true(s.balance != BALANCE_ROUND_ROBIN);
    assert_null(s.registry_url.p);
    drop(&s);
}

static void test_flags(void **state)
{
    struct router_flags f = defaults();
    struct router_env env = {.proxy_timeout_s = 7, .static_above = 5};
    struct control_settings s;

    (void)state;
    f.health_interval = 2;
    f.health_timeout = 3;
    f.max_errors = 0;
    f.balance = BALANCE_ROUND_ROBIN;
    f.affinity_load_factor = 0;
    f.affinity_min_load = 2;
    f.stream_idle_timeout = 4;
    f.drain_timeout = 5;
    f.first_byte_timeout = 6;
    f.queue_wait = 8;
    f.max_body_bytes = 1;
    f.max_buffered_bytes = 65536;
    f.max_connections = 9;
    f.registry_url = STR("http://h:1/x//");
    s = made(&f, &env);
    assert_int_equal(s.probe->interval_ms, 2000);
    assert_int_equal(s.probe->timeout_ms, 3000);
    assert_int_equal(s.breaker->broken, 1);
    assert_int_equal(s.balance, BALANCE_ROUND_ROBIN);
    assert_true(s.affinity->load_factor == 0);
    assert_int_equal(s.affinity->min_load, 2);
    assert_int_equal(s.limits->idle_ms, 4000);
    assert_int_equal(s.limits->drain_ms, 5000);
    assert_int_equal(s.limits->move_ms, 6000);
    assert_int_equal(s.limits->first_byte_ms, 7000);
    assert_int_equal(s.limits->queue_ms, 8000);
    assert_int_equal(s.limits->body_bytes, 1);
    assert_int_equal(s.limits->buffered_bytes, 65536);
    assert_int_equal(s.limits->connections, 9);
    assert_int_equal(s.static_above, 5);
    assert_str_is(s.registry_url, "http://h:1/x");
    drop(&s);
}

static enum forward_authorization authorization(enum authorization_word word, bool alias)
{
    struct router_flags f = defaults();
    struct router_env env = usual;
    struct control_settings s;
    enum forward_authorization a;

    env.alias = alias;
    f.forward_authorization = word;
    s = made(&f, &env);
    a = s.authorization;
    drop(&s);
    return a;
}

static void test_authorization(void **state)
{
    (void)state;
    assert_int_equal(authorization(authorization_word_unset, false), AUTHORIZATION_STATIC);
    assert_int_equal(authorization(authorization_word_unset, true), AUTHORIZATION_ALWAYS);
    for (unsigned alias = 0; alias < 2; alias++) {
        assert_int_equal(authorization(AUTHORIZATION_WORD_NEVER, alias), AUTHORIZATION_NEVER);
        assert_int_equal(authorization(AUTHORIZATION_WORD_STATIC, alias), AUTHORIZATION_STATIC);
        assert_int_equal(authorization(AUTHORIZATION_WORD_ALWAYS, alias), AUTHORIZATION_ALWAYS);
    }
}

/* ---- who is believed ---- */

static bool trusts(const struct control_settings *s, const char *ip)
{
    struct addr a;

    assert_int_equal(addr_parse_ip(str_of(ip), 1, &a), 0);
    for (size_t i = 0; i < s->trusted->n; i++)
        if (addr_in_net(&a, &s->trusted->at[i]))
            return true;
    return false;
}

static void test_proxies(void **state)
{
    static const char *const near[] = {"127.0.0.1",   "127.9.9.9",  "::1",
                                       "10.1.2.3",    "172.16.0.1", "172.31.255.255",
                                       "192.168.7.7", "fd00::1",    "::ffff:10.0.0.1"};
    static const char *const far[] = {"8.8.8.8",     "11.0.0.1",   "172.32.0.1",  "192.169.0.1",
                                      "169.254.1.1", "100.64.0.1", "2001:db8::1", "fe80::1"};
    static struct str none[] = {{"none", 4}}, two[] = {{"8.8.8.0/24", 10}, {"::1", 3}};
    struct router_flags f = defaults();
    struct control_settings s = made(&f, &usual);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(near); i++)
        assert_true(trusts(&s, near[i]));
    for (size_t i = 0; i < ARRAY_LEN(far); i++)
        assert_false(trusts(&s, far[i]));
    drop(&s);
    f.trusted_proxies = (struct str_list){none, 1};
    s = made(&f, &usual);
    assert_int_equal(s.trusted->n, 0);
    drop(&s);
    f.trusted_proxies = (struct str_list){two, 2};
    s = made(&f, &usual);
    assert_true(trusts(&s, "8.8.8.8") && trusts(&s, "::1") && !trusts(&s, "127.0.0.1"));
    drop(&s);
}

static void refused(const struct router_flags *f, const char *want)
{
    struct control_settings s;
    char memory[512];
    struct buf why = buf_on(memory, sizeof memory);

    assert_int_equal(router_conf_make(f, &usual, &s, &why), -E_CONF);
    assert_str_is(buf_str(&why), want);
}

static void test_refused(void **state)
{
    static struct str wrong[] = {{"10.0.0.0/8", 10}, {"10.0.0.1/8", 10}};
    static struct str mixed[] = {{"none", 4}, {"::1", 3}};
    struct router_flags f = defaults();

    (void)state;
    f.affinity_load_factor = 0.99;
    refused(&f, "--affinity-load-factor: must be 0 or at least 1");
    f.affinity_load_factor = 1;
    f.trusted_proxies = (struct str_list){wrong, 2};
    refused(&f, "--trusted-proxies: \"10.0.0.1/8\" is not an address, or a network like 10.0.0.0/8 "
                "whose last bits are 0");
    f.trusted_proxies = (struct str_list){mixed, 2};
    refused(&f, "--trusted-proxies: \"none\" is not an address, or a network like 10.0.0.0/8 "
                "whose last bits are 0");
}

/* ---- the environment ---- */

static void test_timeout(void **state)
{
    static const char *const odd[] = {"",  "0",     "-1",      "1.5",
                                      "x", "1800s", "4294968", "18446744073709551616"};
    struct router_env env;

    (void)state;
    assert_true(router_env_timeout(NULL, &env));
    assert_int_equal(env.proxy_timeout_s, 1800);
    assert_true(router_env_timeout(" 60 ", &env));
    assert_int_equal(env.proxy_timeout_s, 60);
    assert_true(router_env_timeout("4294967", &env));
    assert_int_equal(env.proxy_timeout_s, 4294967);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        assert_false(router_env_timeout(odd[i], &env));
        assert_int_equal(env.proxy_timeout_s, 1800);
    }
}

static void test_threshold(void **state)
{
    static const char *const odd[] = {"", "-1", "50k", "18446744073709551616"};
    struct router_env env;

    (void)state;
    assert_true(router_env_threshold(NULL, &env));
    assert_int_equal(env.static_above, 51200);
    assert_true(router_env_threshold("0", &env));
    assert_int_equal(env.static_above, 0);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        assert_false(router_env_threshold(odd[i], &env));
        assert_int_equal(env.static_above, 51200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_flags),
        cmocka_unit_test(test_authorization), cmocka_unit_test(test_proxies),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_threshold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
