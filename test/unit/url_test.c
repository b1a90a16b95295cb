/* SPDX-License-Identifier: Apache-2.0
 *
 * url_test.c - urls of engines: what each part becomes, what is refused and with which words, what
 * counts as loopback.
 */
#include "unit.h"

#include "conf/url.h"

static const struct {
    const char *text, *host;
    uint16_t port;
    const char *prefix, *origin;
} good[] = {
    {"http://10.0.0.5:8000", "10.0.0.5", 8000, "", "10.0.0.5:8000"},
    {"http://10.0.0.5:8000/", "10.0.0.5", 8000, "", "10.0.0.5:8000"},
    {"HTTP://gpu-1.example_x", "gpu-1.example_x", 80, "", "gpu-1.example_x"},
    {"http://[::1]:80/v2//", "::1", 80, "/v2", "[::1]:80"},
    {"http://[fe80::1]/a/b", "fe80::1", 80, "/a/b", "[fe80::1]"},
    {"http://x:65535/%20", "x", 65535, "/%20", "x:65535"},
    {"http://x:1", "x", 1, "", "x:1"},
};

static void test_http(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        const char *why = NULL;
        struct url u;

        assert_int_equal(url_parse(str_of(good[i].text), &u, &why), 0);
        assert_int_equal(u.kind, URL_HTTP);
        assert_str_is(u.host, good[i].host);
        assert_int_equal(u.port, good[i].port);
        assert_str_is(u.prefix, good[i].prefix);
        assert_str_is(u.origin, good[i].origin);
        assert_int_equal(u.path.n, 0);
    }
}

static void test_unix(void **state)
{
    char longest[5 + 107 + 2] = "unix:/";
    const char *why = NULL;
    struct url u;

    (void)state;
    assert_int_equal(url_parse(STR("unix:/run/engine.sock"), &u, &why), 0);
    assert_int_equal(u.kind, URL_UNIX);
    assert_str_is(u.path, "/run/engine.sock");
    assert_str_is(u.origin, "localhost");
    assert_str_is(u.prefix, "");
    memset(longest + 6, 'x', 107);
    assert_int_equal(url_parse(str_span(longest, 5 + 107), &u, &why), 0);
    assert_int_equal(url_parse(str_span(longest, 5 + 108), &u, &why), -E_SYNTAX);
    assert_non_null(strstr(why, "at most 107 bytes"));
    assert_int_equal(url_parse(STR("unix:/a\0b"), &u, &why), -E_SYNTAX);
}

static const struct {
    const char *text, *why;
} bad[] = {
    {"", "must be \"http://host:port\""},
    {"10.0.0.5:8000", "must be \"http://host:port\""},
    {"ftp://x", "must be \"http://host:port\""},
    {"http:/x", "must be \"http://host:port\""},
    {"file:///etc/passwd", "must be \"http://host:port\""},
    {"http://", "has no host name"},
    {"http://:80", "has no host name"},
    {"http:///path", "has no host name"},
    {"http://[::1", "has no host name"},
    {"http://[]:80", "has no host name"},
    {"http://[::g]", "has no host name"},
    {"http://[127.0.0.1]", "has no host name"},
    {"http://user@host", "must be \"http://host:port\""},
    {"http://user:pw@host", "has a port"},
    {"http://x:0", "has a port"},
    {"http://x:65536", "has a port"},
    {"http://x:", "has a port"},
    {"http://x:8x", "must be \"http://host:port\""},
    {"http://x:-1", "has a port"},
    {"http://x:99999999999999999999", "has a port"},
    {"http://x?q", "must be \"http://host:port\""},
    {"http://x/?q", "may have a path"},
    {"http://x/#f", "may have a path"},
    {"http://x/a b", "may have a path"},
    {"http://x/\xc3\xa4", "may have a path"},
    {"http://x\r\n", "must be \"http://host:port\""},
    {"unix:run/x", "needs an absolute path"},
    {"unix:", "needs an absolute path"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct url u = {.port = 7};
        const char *why = NULL;

        assert_int_equal(url_parse(str_of(bad[i].text), &u, &why), -E_SYNTAX);
        assert_non_null(why);
        if (!strstr(why, bad[i].why))
            fail_msg("%s: %s", bad[i].text, why);
        assert_int_equal(u.port, 7); /* written only on success */
    }
}

static void test_https_says_that_tls_is_not_there_yet(void **state)
{
    const char *why = NULL;
    struct url u;

    (void)state;
    assert_int_equal(url_parse(STR("https://api.example/v1"), &u, &why), -E_UNSUPPORTED);
    assert_non_null(strstr(why, "TLS, which inferd does not speak yet"));
    assert_int_equal(url_parse(STR("HTTPS://"), &u, &why), -E_UNSUPPORTED);
}

static void test_long_host(void **state)
{
    char text[7 + 254];
    const char *why = NULL;
    struct url u;

    (void)state;
    memcpy(text, "http://", 7);
    memset(text + 7, 'h', 254);
    assert_int_equal(url_parse(str_span(text, 7 + 253), &u, &why), 0);
    assert_int_equal(url_parse(str_span(text, 7 + 254), &u, &why), -E_SYNTAX);
}

static const struct {
    const char *text;
    bool loopback;
} places[] = {
    {"http://localhost:1", true},       {"http://LocalHost", true},    {"http://127.0.0.1", true},
    {"http://127.9.9.9", true},         {"http://[::1]", true},        {"unix:/x", true},
    {"http://128.0.0.1", false},        {"http://10.0.0.1", false},    {"http://[::2]", false},
    {"http://0.0.0.0", false},          {"http://localhost.x", false}, {"http://127.1", false},
    {"http://[::ffff:1.2.3.4]", false},
};

static void test_loopback(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const char *why = NULL;
        struct url u;

        assert_int_equal(url_parse(str_of(places[i].text), &u, &why), 0);
        if (url_is_loopback(&u) != places[i].loopback)
            fail_msg("%s", places[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_unix),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_https_says_that_tls_is_not_there_yet),
        cmocka_unit_test(test_long_host),
        cmocka_unit_test(test_loopback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
