/* SPDX-License-Identifier: Apache-2.0
 *
 * caller_test.c - ranges of addresses, and who stands behind trusted proxies; what X-Forwarded-For
 * may be made to say by somebody who wants to be another.
 */
#include "unit.h"

#include "gate/caller.h"

static struct addr_net nets[8];
static struct addr_net_list trusted = {nets, 0};

static struct addr_net net(const char *text)
{
    struct addr_net n = {.bits = 999};

    assert_int_equal(addr_net_parse(str_of(text), &n), 0);
    return n;
}

static void trust(const char *one, const char *two)
{
    nets[0] = net(one);
    trusted.n = 1;
    if (two)
        nets[trusted.n++] = net(two);
}

static struct addr ip(const char *text)
{
    struct addr a = {.family = ADDR_UNIX};

    if (strcmp(text, "unix") != 0)
        assert_int_equal(addr_parse_ip(str_of(text), 4711, &a), 0);
    return a;
}

static bool in(const char *address, const char *range)
{
    struct addr a = ip(address);
    struct addr_net n = net(range);

    return addr_in_net(&a, &n);
}

static void test_ranges(void **state)
{
    static const char *const bad[] = {
        "",          "x",           "10.0.0.0/33", "10.0.0.1/8",   "::/129", "fd00::1/8",
        "10.0.0.0/", "10.0.0.0/-1", "/8",          "10.0.0.0/8/8", "unix/3", "10.0.0.0:80"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct addr_net n;

        if (addr_net_parse(str_of(bad[i]), &n) == 0)
            fail_msg("\"%s\" was taken for a range", bad[i]);
    }
    assert_true(in("10.255.0.1", "10.0.0.0/8"));
    assert_false(in("11.0.0.1", "10.0.0.0/8"));
    assert_true(in("10.0.0.127", "10.0.0.0/25"));
    assert_false(in("10.0.0.128", "10.0.0.0/25"));
    assert_true(in("1.2.3.4", "0.0.0.0/0"));
    assert_false(in("::1", "0.0.0.0/0"));
    assert_true(in("1.2.3.4", "1.2.3.4"));
    assert_false(in("1.2.3.5", "1.2.3.4"));
    assert_true(in("fd12::9", "fd00::/8"));
    assert_true(in("::ffff:10.1.1.1", "10.0.0.0/8"));
    assert_true(in("unix", "unix"));
    assert_false(in("unix", "0.0.0.0/0"));
    assert_false(in("127.0.0.1", "unix"));
}

/* Whom a request with these fields is taken to come from. */
static const char *caller(const char *peer, const char *fields)
{
    static const struct http1_limits limits = {
        .head_bytes = 4096, .request_line_bytes = 1024, .fields = 100};
    static struct http1_head head;
    static char text[ADDR_TEXT_MAX];
    char bytes[2048];
    struct buf b = buf_on(text, sizeof text);
    struct addr from = ip(peer), who;
    struct http1_parser p;
    int n = snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\nhost: a\r\n%s\r\n", fields);

    http1_init(&p, false, &limits);
    assert_int_equal(http1_parse(&p, bytes, (size_t)n, &head), n);
    caller_find(&trusted, &from, &head, bytes, &who);
    caller_write(&who, &b);
    return buf_cstr(&b);
}

#define XFF "X-Forwarded-For: "

static void test_nobody_is_believed_unasked(void **state)
{
    struct addr from = ip("10.0.0.1"), who;

    (void)state;
    trusted.n = 0;
    assert_string_equal(caller("10.0.0.1", XFF "1.2.3.4\r\n"), "10.0.0.1");
    caller_find(NULL, &from, NULL, NULL, &who);
    assert_true(addr_eq(&who, &from));
    trust("10.0.0.0/8", NULL);
    assert_string_equal(caller("11.0.0.1", XFF "1.2.3.4\r\n"), "11.0.0.1");
    assert_string_equal(caller("unix", XFF "1.2.3.4\r\n"), "unix");
    caller_find(&trusted, &from, NULL, NULL, &who); /* a head that was refused */
    assert_true(addr_eq(&who, &from));
}

static void test_the_right_most_stranger(void **state)
{
    (void)state;
    trust("10.0.0.0/8", "fd00::/8");
    assert_string_equal(caller("10.0.0.1", ""), "10.0.0.1");
    assert_string_equal(caller("10.0.0.1", XFF "1.2.3.4\r\n"), "1.2.3.4");
    assert_string_equal(caller("10.0.0.1", XFF "9.9.9.9, 1.2.3.4\r\n"), "1.2.3.4");
    assert_string_equal(caller("10.0.0.1", XFF "9.9.9.9, 1.2.3.4,10.1.1.1 ,fd00::7\r\n"),
                        "1.2.3.4");
    assert_string_equal(caller("fd00::1", XFF "1.2.3.4:5678\r\n"), "1.2.3.4");
    assert_string_equal(caller("10.0.0.1", XFF "[2001:db8::1]:443\r\n"), "2001:db8::1");
    assert_string_equal(caller("10.0.0.1", XFF "2001:db8::1\r\n"), "2001:db8::1");
    assert_string_equal(caller("10.0.0.1", XFF "9.9.9.9\r\n" XFF "1.2.3.4\r\n"), "1.2.3.4");
    assert_string_equal(caller("10.0.0.1", XFF "1.2.3.4\r\nx-forwarded-for: 10.2.2.2\r\n"),
                        "1.2.3.4");
    assert_string_equal(caller("10.0.0.1", XFF "10.3.3.3, 10.2.2.2\r\n"),
                        "10.3.3.3"); /* all ours */
    trust("unix", NULL);
    assert_string_equal(caller("unix", XFF "1.2.3.4\r\n"), "1.2.3.4");
}

/* An item that is no address: the proxy that passed it on is who is known. */
static void test_what_is_no_address(void **state)
{
    static const char *const bad[] = {"unknown", "_hidden",     "1.2.3", "unix:/x",
                                      "",        "\"1.2.3.4\"", "*"};

    (void)state;
    trust("10.0.0.0/8", NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char fields[128];

        (void)snprintf(fields, sizeof fields, XFF "1.2.3.4, %s, 10.5.5.5\r\n", bad[i]);
        assert_string_equal(caller("10.0.0.1", fields), "10.5.5.5");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_nobody_is_believed_unasked),
        cmocka_unit_test(test_the_right_most_stranger),
        cmocka_unit_test(test_what_is_no_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
