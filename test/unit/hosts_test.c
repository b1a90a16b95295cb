/* SPDX-License-Identifier: Apache-2.0
 *
 * hosts_test.c - which hosts a registry may be pointed at: spellings that must not get through the
 * rule "loopback", however they are written, and what rules of networks and names let through.
 */
#include "unit.h"

#include "store/hosts.h"

static struct hosts *rules(const char *const *text, size_t n, bool any)
{
    struct str items[8];
    struct str_list list = {items, n};
    char memory[256];
    struct buf problem = buf_on(memory, sizeof memory);
    struct hosts *h = NULL;

    for (size_t i = 0; i < n; i++)
        items[i] = str_of(text[i]);
    if (hosts_create(&list, any, &h, &problem) < 0)
        return NULL;
    return h;
}

static enum hosts_verdict judge(const struct hosts *h, const char *host)
{
    struct addr at[HOSTS_AT_MAX];
    unsigned n = 0;

    return hosts_judge(h, str_of(host), at, &n);
}

/* Not one of these may be taken for this machine without asking, or at all. */
static const char *const refused[] = {
    /* other machines, and those that hand out credentials */
    "10.0.0.1",
    "192.168.0.1",
    "172.16.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "8.8.8.8",
    "255.255.255.255",
    "224.0.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "fd00:ec2::254",
    "fe80::1",
    "2001:db8::1",
    "ff02::1",
    "::2",
    "[::2]",
    "[fd00:ec2::254]",
    /* IPv4 in IPv6 */
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "[::ffff:8.8.8.8]",
    "::ffff:0a00:0001",
    "::169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    /* numbers that some resolvers take for addresses */
    "2130706433",
    "3232235521",
    "2852039166",
    "0x7f000001",
    "0xa9fea9fe",
    "0x7f.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "0251.0376.0251.0376",
    "127.1",
    "127.0.1",
    "10.1",
    "0",
    "00",
    "0x0",
    "127.0.0.01",
    "127.0.0.0x1",
    "0127.0.0.1",
    "1.2.3",
    "127.0.0.1.",
    "2130706433.",
    "999.1.1.1",
    "256.256.256.256",
    "127.0.0.1.5",
    "0x",
    "a.0x1",
    "a.1",
    /* no host at all */
    "",
    ".",
    "..",
    "a..b",
    "-a",
    "a-",
    "a b",
    " 127.0.0.1",
    "127.0.0.1 ",
    "127.0.0.1:80",
    "[127.0.0.1]",
    "[::1",
    "::1]",
    "[::1]:80",
    "http://127.0.0.1",
    "user@127.0.0.1",
    "127.0.0.1/x",
    "127.0.0.1#x",
    "127.0.0.1?x",
    "127.0.0.1%00",
    "::1%lo",
    "fe80::1%eth0",
    "127.0.0.1\\x",
    "localhost/..",
    "lo\xc3\xa7\x61lhost",
    "\xe2\x91\xa0\xe2\x91\xa6",
    "127\xe3\x80\x82\x30.0.1",
    "loc%61lhost",
    "*",
    "localhost,evil",
    "localhost:80",
};

static void test_spellings_refused(void **state)
{
    struct hosts *h = rules(NULL, 0, false);

    (void)state;
    assert_true(ARRAY_LEN(refused) >= 60);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (judge(h, refused[i]) != HOSTS_NO)
            fail_msg("\"%s\" got through", refused[i]);
    hosts_destroy(&h);
}

static void test_loopback_by_default(void **state)
{
    static const char *const at[] = {
        "127.0.0.1", "127.8.9.10",       "::1",       "[::1]",     "0.0.0.0",
        "::",        "::ffff:127.0.0.1", "localhost", "LocalHost", "localhost."};
    struct hosts *h = rules(NULL, 0, false);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(at); i++)
        assert_int_equal(judge(h, at[i]), HOSTS_AT);
    assert_int_equal(judge(h, "engine.example"), HOSTS_ASK);
    assert_int_equal(judge(h, "localhost.example"), HOSTS_ASK);
    hosts_destroy(&h);
}

/* What is connected to is what was judged. */
static void test_pins(void **state)
{
    struct hosts *h = rules(NULL, 0, false);
    struct addr at[HOSTS_AT_MAX];
    unsigned n = 0;

    (void)state;
    assert_int_equal(hosts_judge(h, STR("localhost"), at, &n), HOSTS_AT);
    assert_int_equal(n, 2);
    assert_true(addr_is_loopback(&at[0]) && at[0].family == ADDR_IP4);
    assert_true(addr_is_loopback(&at[1]) && at[1].family == ADDR_IP6);
    assert_int_equal(hosts_judge(h, STR("0.0.0.0"), at, &n), HOSTS_AT);
    assert_true(n == 1 && addr_is_loopback(&at[0]));
    assert_int_equal(hosts_judge(h, STR("::ffff:127.0.0.9"), at, &n), HOSTS_AT);
    assert_true(n == 1 && at[0].family == ADDR_IP4 && at[0].ip[3] == 9);
    hosts_destroy(&h);
}

static void test_answers_of_a_resolver(void **state)
{
    struct hosts *h = rules(NULL, 0, false);
    struct addr a;

    (void)state;
    assert_int_equal(addr_parse_ip(STR("::ffff:10.0.0.1"), 0, &a), 0);
    assert_false(hosts_allow(h, &a));
    assert_int_equal(addr_parse_ip(STR("::ffff:127.0.0.1"), 0, &a), 0);
    assert_true(hosts_allow(h, &a) && a.family == ADDR_IP4);
    assert_int_equal(addr_parse_ip(STR("169.254.169.254"), 0, &a), 0);
    assert_false(hosts_allow(h, &a));
    assert_int_equal(addr_parse_ip(STR("0.0.0.0"), 0, &a), 0);
    assert_true(hosts_allow(h, &a));
    hosts_destroy(&h);
}

static bool port_allowed(const struct hosts *h, const char *at, uint16_t port)
{
    struct addr a = {.family = ADDR_NONE};

    if (!at)
        return hosts_port_allowed(h, NULL, 0, port);
    assert_int_equal(addr_parse_ip(str_of(at), 0, &a), 0);
    return hosts_port_allowed(h, &a, 1, port);
}

static void test_ports_denied(void **state)
{
    struct str items[] = {STR("6379"), STR("22")}, none[] = {STR("0"), STR("65536"), STR("http")};
    struct hosts *h = rules(NULL, 0, false);
    char memory[256];
    struct buf problem = buf_on(memory, sizeof memory);

    (void)state;
    assert_int_equal(hosts_deny_ports(h, &(struct str_list){items, 2}, &problem), 0);
    assert_false(port_allowed(h, "127.0.0.1", 6379));
    assert_false(port_allowed(h, NULL, 22));
    assert_true(port_allowed(h, "127.0.0.1", 23));
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_int_equal(hosts_deny_ports(h, &(struct str_list){&none[i], 1}, &problem), -E_CONF);
    assert_non_null(strstr(buf_cstr(&problem), "\"http\" is no port"));
    hosts_destroy(&h);
}

/* Where the registry itself listens, however that is spelled. */
static void test_own_listener(void **state)
{
    static const char *const any[] = {"0.0.0.0/0", "::/0"};
    struct hosts *h = rules(any, 2, false), *open = rules(NULL, 0, true);
    struct addr own;

    (void)state;
    assert_int_equal(addr_parse_ip(STR("127.0.0.1"), 8081, &own), 0);
    hosts_deny_own(h, &own);
    assert_false(port_allowed(h, "127.0.0.1", 8081));
    assert_false(port_allowed(h, "0.0.0.0", 8081));
    assert_false(port_allowed(h, "::ffff:127.0.0.1", 8081));
    assert_true(port_allowed(h, "127.0.0.2", 8081));
    assert_true(port_allowed(h, "127.0.0.1", 8082));
    assert_true(port_allowed(h, "10.0.0.1", 8081));
    assert_true(port_allowed(h, NULL, 8081)); /* by name */
    assert_int_equal(addr_parse_ip(STR("0.0.0.0"), 8081, &own), 0);
    hosts_deny_own(h, &own);
    assert_false(port_allowed(h, "127.0.0.2", 8081));
    assert_true(port_allowed(h, "192.0.2.1", 8081)); /* no interface of this machine has it */
    hosts_deny_own(open, &own);
    assert_true(port_allowed(open, "127.0.0.1", 8081)); /* as the original */
    hosts_destroy(&h);
    hosts_destroy(&open);
}

static void test_rules(void **state)
{
    static const char *const text[] = {"10.1.0.0/13", "192.0.2.7", "2001:db8::/33", "gpu-1.lan"};
    struct hosts *h = rules(text, ARRAY_LEN(text), true);

    (void)state;
    assert_false(hosts_any(h)); /* rules were given */
    assert_int_equal(judge(h, "10.0.255.255"), HOSTS_AT);
    assert_int_equal(judge(h, "10.7.255.255"), HOSTS_AT);
    assert_int_equal(judge(h, "10.8.0.0"), HOSTS_NO);
    assert_int_equal(judge(h, "192.0.2.7"), HOSTS_AT);
    assert_int_equal(judge(h, "192.0.2.8"), HOSTS_NO);
    assert_int_equal(judge(h, "2001:db8:7fff::1"), HOSTS_AT);
    assert_int_equal(judge(h, "2001:db8:8000::1"), HOSTS_NO);
    assert_int_equal(judge(h, "GPU-1.lan."), HOSTS_NAME);
    assert_int_equal(judge(h, "gpu-2.lan"), HOSTS_ASK);
    assert_int_equal(judge(h, "127.0.0.1"), HOSTS_NO); /* not among them */
    assert_int_equal(judge(h, "localhost"), HOSTS_NO);
    hosts_destroy(&h);
}

static void test_any(void **state)
{
    struct hosts *h = rules(NULL, 0, true);

    (void)state;
    assert_true(hosts_any(h));
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_int_equal(judge(h, refused[i]), HOSTS_NAME);
    hosts_destroy(&h);
}

static void test_rules_refused(void **state)
{
    static const char *const wrong[] = {"10.0.0.0/33",  "::/129", "10.0.0.0/", "10.0.0.0/x",
                                        "10.0.0.0/8/8", "a b",    "",          "1.2.3",
                                        "name/8",       "*"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_null(rules(&wrong[i], 1, false));
}

static void test_urls(void **state)
{
    static const char *const wrong[] = {
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x",
        "ftp://127.0.0.1",
        "unix:/run/x",
        "http://",
        "http:/127.0.0.1",
        "//127.0.0.1",
        "127.0.0.1",
        "http://user@127.0.0.1",
        "http://127.0.0.1@10.0.0.1",
        "http://127.0.0.1:80@10.0.0.1/",
        "http://127.0.0.1#@10.0.0.1",
        "http://127.0.0.1?x=1",
        "http://127.0.0.1\\@10.0.0.1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:80x",
        "http://[::1",
        "http://::1/",
        "javascript:1",
        "http://127.0.0.1/a b",
        "https://user@127.0.0.1",
        "https:///x",
        "http://127.0.0.1/\x7f",
    };
    struct str host;
    uint16_t port;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (hosts_of_url(str_of(wrong[i]), &host, &port))
            fail_msg("\"%s\" got through with host %.*s", wrong[i], STR_ARGS(host));
    assert_true(hosts_of_url(STR("http://127.0.0.1:6001/base/"), &host, &port));
    assert_str_is(host, "127.0.0.1");
    assert_int_equal(port, 6001);
    assert_true(hosts_of_url(STR("HTTPS://[::1]:8443"), &host, &port));
    assert_str_is(host, "::1");
    assert_int_equal(port, 8443);
    assert_true(hosts_of_url(STR("http://0x7f.1/"), &host, &port)); /* the host is judged next */
    assert_str_is(host, "0x7f.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings_refused),
        cmocka_unit_test(test_loopback_by_default),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_answers_of_a_resolver),
        cmocka_unit_test(test_ports_denied),
        cmocka_unit_test(test_own_listener),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_any),
        cmocka_unit_test(test_rules_refused),
        cmocka_unit_test(test_urls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
