/* SPDX-License-Identifier: Apache-2.0
 *
 * access_test.c - who may talk to a listener without keys: Host and Origin against each kind of
 * address, and the spellings by which a web page would try to pass for this machine.
 */
#include "unit.h"

#include "gate/access.h"

static struct str hosts[] = {{"Chat.Example", 12}, {"10.9.8.7", 8}};
static struct str origins[] = {{"https://chat.example", 20}, {"null", 4}};
static const struct listen_conf named = {.hosts = {.at = hosts, .n = 2},
                                         .origins = {.at = origins, .n = 2}};
static const struct listen_conf bare;

static struct gate_listen listener(const char *address, const struct listen_conf *conf)
{
    struct gate_listen l = {.conf = conf};

    assert_int_equal(addr_parse(str_of(address), &l.addr), 0);
    return l;
}

static bool host(const char *address, const struct listen_conf *conf, const char *name)
{
    struct gate_listen l = listener(address, conf);

    return access_host_allowed(&l, str_of(name));
}

/* 0: refused, 1: allowed, 2: allowed and CORS is open for it. */
static int origin(const char *address, const struct listen_conf *conf, const char *text)
{
    struct gate_listen l = listener(address, conf);
    struct str cors = STR("unset");
    bool may = access_origin_allowed(&l, text ? str_of(text) : STR_NONE, &cors);

    if (cors.n > 0)
        assert_str_is(cors, text);
    return may + (cors.n > 0);
}

static void test_host_of_a_loopback_listener(void **state)
{
    static const char *const good[] = {"127.0.0.1", "127.0.0.1:8900", "127.0.0.1:1",
                                       "localhost", "localhost:8900", "LocalHost",
                                       ""};
    static const char *const bad[] = {"evil.example",
                                      "evil.example:8900",
                                      "127.0.0.1.evil.example",
                                      "localhost.evil.example",
                                      "localhost.",
                                      "localhostx",
                                      "127.0.0.2",
                                      "0.0.0.0",
                                      "[::1]",
                                      "[::1]:8900",
                                      "10.0.0.1",
                                      "127.1",
                                      "2130706433",
                                      "0x7f000001",
                                      "127.0.0.01",
                                      "[",
                                      "[]",
                                      ":8900",
                                      "]",
                                      "[::1",
                                      "::1"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(host("127.0.0.1:8900", &bare, good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (host("127.0.0.1:8900", &bare, bad[i]))
            fail_msg("host '%s' was let in", bad[i]);
    }
}

static void test_host_of_other_listeners(void **state)
{
    (void)state;
    assert_true(host("[::1]:8900", &bare, "[::1]:8900"));
    assert_true(host("[::1]:8900", &bare, "[0:0:0:0:0:0:0:1]"));
    assert_true(host("[::1]:8900", &bare, "localhost"));
    assert_false(host("[::1]:8900", &bare, "127.0.0.1"));
    assert_false(host("[::1]:8900", &bare, "[::2]"));
    assert_true(host("192.168.1.5:80", &bare, "192.168.1.5"));
    assert_false(host("192.168.1.5:80", &bare, "192.168.1.6"));
    assert_true(
        host("0.0.0.0:8900", &bare, "192.168.1.5:8900")); /* any literal: it needed no DNS */
    assert_true(host("0.0.0.0:8900", &bare, "[fe80::1]"));
    assert_false(host("0.0.0.0:8900", &bare, "evil.example"));
    assert_true(host("[::]:8900", &bare, "10.0.0.1"));
    assert_false(host("[::]:8900", &bare, "evil.example"));
    assert_true(host("unix:/run/x.sock", &bare, "evil.example"));
}

static void test_listed_hosts(void **state)
{
    (void)state;
    assert_true(host("127.0.0.1:8900", &named, "chat.example"));
    assert_true(host("127.0.0.1:8900", &named, "CHAT.example:443"));
    assert_true(host("127.0.0.1:8900", &named, "10.9.8.7:8900"));
    assert_false(host("127.0.0.1:8900", &named, "xchat.example"));
    assert_false(host("127.0.0.1:8900", &named, "chat.example.org"));
}

static void test_origin(void **state)
{
    static const char *const good[] = {"http://127.0.0.1:8900", "http://localhost:8900",
                                       "http://[::1]:8900", "http://LOCALHOST:8900",
                                       "http://127.0.0.2:8900"};
    static const char *const bad[] = {"",
                                      "null",
                                      "http://127.0.0.1",
                                      "http://127.0.0.1:8901",
                                      "https://localhost:8900",
                                      "http://localhost",
                                      "http://evil.example:8900",
                                      "http://localhost.evil:8900",
                                      "http://localhost:8900.evil",
                                      "http://localhost:8900/",
                                      "http://user@localhost:8900",
                                      "http://localhost:08900x",
                                      "http://10.0.0.1:8900",
                                      "file://",
                                      "HTTP://",
                                      "http://",
                                      "http://:8900",
                                      "chrome-extension://abc",
                                      "http://[::1]8900"};

    (void)state;
    assert_int_equal(origin("127.0.0.1:8900", &bare, NULL), 1);
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (origin("127.0.0.1:8900", &bare, good[i]) != 1)
            fail_msg("origin '%s' was refused", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (origin("127.0.0.1:8900", &bare, bad[i]) != 0)
            fail_msg("origin '%s' was let in", bad[i]);
}

static void test_origin_of_other_listeners(void **state)
{
    (void)state;
    assert_int_equal(origin("127.0.0.1:80", &bare, "http://localhost"), 1);
    assert_int_equal(origin("192.168.1.5:8900", &bare, "http://192.168.1.5:8900"), 1);
    assert_int_equal(origin("192.168.1.5:8900", &bare, "http://192.168.1.6:8900"), 0);
    assert_int_equal(origin("0.0.0.0:8900", &bare, "http://192.168.1.6:8900"), 0);
    assert_int_equal(origin("unix:/run/x.sock", &bare, "http://evil.example"), 1);
}

static void test_listed_origins_open_cors(void **state)
{
    (void)state;
    assert_int_equal(origin("127.0.0.1:8900", &named, "https://chat.example"), 2);
    assert_int_equal(origin("127.0.0.1:8900", &named, "null"), 2);
    assert_int_equal(origin("127.0.0.1:8900", &named, "http://chat.example"), 0);
    assert_int_equal(origin("127.0.0.1:8900", &named, "https://chat.example:444"), 0);
    assert_int_equal(origin("127.0.0.1:8900", &named, "http://localhost:8900"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_of_a_loopback_listener),
        cmocka_unit_test(test_host_of_other_listeners),
        cmocka_unit_test(test_listed_hosts),
        cmocka_unit_test(test_origin),
        cmocka_unit_test(test_origin_of_other_listeners),
        cmocka_unit_test(test_listed_origins_open_cors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
