/* SPDX-License-Identifier: Apache-2.0
 *
 * url.c - see url.h. Strict: user names, queries and fragments are refused, since nothing would
 * send them; the prefix is visible ASCII, since it goes into request lines as it is.
 */
#include "conf/url.h"

#include <arpa/inet.h>

static const char bad_form[] = "must be \"http://host:port\" or \"unix:/path\"";

static bool is_visible(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
            return false;
    return true;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

static bool is_ip6(struct str s)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct in6_addr ip;

    if (s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return memchr(text, '\0', s.n) == NULL && inet_pton(AF_INET6, text, &ip) == 1;
}

static bool parse_host(struct str *rest, struct str *host)
{
    size_t n = 0;

    if (rest->n && rest->p[0] == '[') {
        n = str_find(*rest, ']');
        if (n == rest->n)
            return false;
        *host = str_span(rest->p + 1, n - 1);
        *rest = str_from(*rest, n + 1);
        return is_ip6(*host);
    }
    while (n < rest->n && is_host_char(rest->p[n]))
        n++;
    *host = str_head(*rest, n);
    *rest = str_from(*rest, n);
    return n > 0 && n <= 253;
}

static bool parse_port(struct str *rest, uint16_t *port)
{
    size_t n = 1;
    uint64_t v;

    if (rest->n == 0 || rest->p[0] != ':') {
        *port = 80;
        return true;
    }
    while (n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '9')
        n++;
    /* no more digits than HTTP's own parsers take: the text stands in Host as it is */
    if (n > 6 || !str_u64(str_from(str_head(*rest, n), 1), &v) || v < 1 || v > 65535)
        return false;
    *rest = str_from(*rest, n);
    *port = (uint16_t)v;
    return true;
}

static int parse_http(struct str rest, struct url *u, const char **why)
{
    struct str all = rest;

    u->kind = URL_HTTP;
    if (!parse_host(&rest, &u->host)) {
        *why = "has no host name or address that can be one";
        return -E_SYNTAX;
    }
    if (!parse_port(&rest, &u->port)) {
        *why = "has a port that is not within 1 and 65535";
        return -E_SYNTAX;
    }
    u->origin = str_head(all, all.n - rest.n);
    if (rest.n && rest.p[0] != '/') {
        *why = bad_form;
        return -E_SYNTAX;
    }
    while (rest.n && rest.p[rest.n - 1] == '/')
        rest.n--;
    u->prefix = rest.n ? rest : STR("");
    if (!is_visible(rest) || str_find(rest, '?') < rest.n || str_find(rest, '#') < rest.n) {
        *why = "may have a path, but no query, fragment or blank";
        return -E_SYNTAX;
    }
    return 0;
}

int url_parse(struct str text, struct url *ret, const char **why)
{
    struct url u = {.prefix = STR("")};
    int r = 0;

    if (str_caseeq(str_head(text, 8), STR("https://"))) {
        *why = "asks for TLS, which inferd does not speak yet: put http:// here, or a proxy in "
               "between";
        return -E_UNSUPPORTED;
    }
    if (str_caseeq(str_head(text, 7), STR("http://"))) {
        r = parse_http(str_from(text, 7), &u, why);
    } else if (str_starts(text, STR("unix:"))) {
        u.kind = URL_UNIX;
        u.path = str_from(text, 5);
        u.origin = STR("localhost");
        if (u.path.n == 0 || u.path.p[0] != '/' || u.path.n > 107 ||
            str_find(u.path, '\0') < u.path.n) {
            *why = "needs an absolute path of at most 107 bytes behind \"unix:\"";
            r = -E_SYNTAX;
        }
    } else {
        *why = bad_form;
        r = -E_SYNTAX;
    }
    if (r == 0)
        *ret = u;
    return r;
}

bool url_is_loopback(const struct url *u)
{
    struct str h = u->host;
    char text[INET6_ADDRSTRLEN + 1];
    struct in_addr ip4;
    struct in6_addr ip6;

    if (u->kind == URL_UNIX || str_caseeq(h, STR("localhost")))
        return true;
    if (h.n >= sizeof text)
        return false;
    if (h.n)
        memcpy(text, h.p, h.n);
    text[h.n] = '\0';
    if (inet_pton(AF_INET, text, &ip4) == 1)
        return (ntohl(ip4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, text, &ip6) == 1 && IN6_IS_ADDR_LOOPBACK(&ip6);
}
