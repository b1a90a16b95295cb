/* SPDX-License-Identifier: Apache-2.0
 *
 * http1_target.c - request targets and authorities (RFC 9112 section 3.2, RFC 3986 section 3.2).
 * The parser has checked the bytes one by one; here the form is told and taken apart. A
 * percent-escape in the path must be whole (two peers that repair "%zz" differently see two paths);
 * nothing is decoded or normalised: that is the gate's, which knows what the path means.
 *
 * Hosts are narrower than RFC 3986's reg-name: letters, digits, "-._~". Sub-delimiters and
 * percent-escapes stand in no name that resolves, and lists ("a,b") hide there.
 */
#include "proto/http1_priv.h"

#include <arpa/inet.h>

#include "proto/chars.h"

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool escapes_whole(struct str s)
{
    for (size_t i = str_find(s, '%'); i < s.n; i++)
        if (s.p[i] == '%' && (s.n - i < 3 || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2])))
            return false;
    return true;
}

static bool is_port(struct str s)
{
    unsigned port = 0;

    if (s.n > 5)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        port = port * 10 + (unsigned)(s.p[i] - '0');
    }
    return port <= 65535;
}

static bool is_ipv6(struct str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ignored;

    if (s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return memchr(text, '\0', s.n) == NULL && inet_pton(AF_INET6, text, &ignored) == 1;
}

bool http1_target_authority(struct str authority, struct str *host, struct str *port)
{
    struct str name, rest;

    if (authority.n > 0 && authority.p[0] == '[') {
        size_t end = str_find(authority, ']');

        name = str_span(authority.p + 1, end - 1);
        if (end == authority.n || !is_ipv6(name))
            return false;
        rest = str_from(authority, end + 1);
    } else {
        size_t end = chars_run(authority.p, 0, authority.n, CHARS_HOST);

        name = str_head(authority, end);
        rest = str_from(authority, end);
    }
    if (name.n == 0 || (rest.n > 0 && (rest.p[0] != ':' || !is_port(str_from(rest, 1)))))
        return false;
    *host = name;
    *port = rest.n > 1 ? str_from(rest, 1) : STR_NONE;
    return true;
}

static struct http1_span span_from(size_t off, size_t end)
{
    return (struct http1_span){(uint16_t)off, (uint16_t)(end - off)};
}

static const char *split_absolute(struct http1_head *h, const char *bytes, size_t path_end)
{
    size_t from = h->target.off + sizeof "http://" - 1, slash = from;
    struct str host, port;

    if (path_end < from || !str_caseeq(str_span(bytes + h->target.off, 7), STR("http://")))
        return "a request target that is neither a path nor an http URL";
    while (slash < path_end && bytes[slash] != '/')
        slash++;
    if (!http1_target_authority(str_span(bytes + from, slash - from), &host, &port))
        return "an invalid host in the request target";
    h->authority = span_from(from, slash);
    h->path = slash < path_end ? span_from(slash, path_end) : span_from(from - 1, from);
    return NULL;
}

static const char *split_connect(struct http1_head *h, const char *bytes)
{
    struct str host, port;

    if (!http1_target_authority(http1_str(bytes, h->target), &host, &port) || port.n == 0)
        return "a CONNECT target that is not host:port";
    h->authority = h->target;
    return NULL;
}

const char *http1_target_split(struct http1_head *h, const char *bytes, size_t query)
{
    size_t from = h->target.off, end = from + h->target.len, path_end = query ? query : end;
    const char *why;

    if (query) {
        h->has_query = true;
        h->query = span_from(query + 1, end);
    }
    if (h->method == HTTP1_CONNECT)
        return split_connect(h, bytes);
    if (bytes[from] == '/') {
        h->path = span_from(from, path_end);
    } else if (bytes[from] == '*' && h->target.len == 1) {
        h->path = h->target;
        return h->method == HTTP1_OPTIONS ? NULL : "the target * of a method other than OPTIONS";
    } else {
        why = split_absolute(h, bytes, path_end);
        if (why)
            return why;
    }
    return escapes_whole(http1_str(bytes, h->path)) ? NULL : "a broken percent-escape in the path";
}
