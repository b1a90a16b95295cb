/* SPDX-License-Identifier: Apache-2.0
 *
 * addr.c - address texts; pure. IPv6 literals are read and written by the C library (RFC 4291
 * forms).
 */
#include "ev/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int parse_ip6(struct str text, struct addr *ret)
{
    char c[INET6_ADDRSTRLEN + IF_NAMESIZE + 2];
    struct str zone = text, host = str_cut(&zone, '%');

    if (host.n >= INET6_ADDRSTRLEN || zone.n >= IF_NAMESIZE || str_find(host, ':') == host.n)
        return -E_SYNTAX; /* without a colon it is a name, as most Hosts are */
    (void)snprintf(c, sizeof c, "%.*s", STR_ARGS(host));
    if (inet_pton(AF_INET6, c, ret->ip) != 1)
        return -E_SYNTAX;
    if (zone.n > 0) {
        (void)snprintf(c, sizeof c, "%.*s", STR_ARGS(zone));
        ret->scope = if_nametoindex(c);
        if (ret->scope == 0)
            return -E_SYNTAX;
    }
    ret->family = ADDR_IP6;
    return 0;
}

int addr_parse_ip(struct str text, uint16_t port, struct addr *ret)
{
    struct addr a = {.port = port};
    char c[INET_ADDRSTRLEN];
    bool bracketed = text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']';

    if (bracketed)
        text = str_span(text.p + 1, text.n - 2);
    if (!bracketed && text.n > 0 && text.n < sizeof c) { /* once a request, for its Host */
        memcpy(c, text.p, text.n);
        c[text.n] = '\0';
        if (inet_pton(AF_INET, c, a.ip) == 1) {
            a.family = ADDR_IP4;
            *ret = a;
            return 0;
        }
    }
    if (parse_ip6(text, &a) < 0)
        return -E_SYNTAX;
    *ret = a;
    return 0;
}

int addr_parse(struct str text, struct addr *ret)
{
    static const struct str unix_prefix = {"unix:", 5};
    struct str host;
    uint64_t port;
    size_t colon;

    if (str_starts(text, unix_prefix)) {
        struct addr a = {.family = ADDR_UNIX};
        struct str path = str_from(text, unix_prefix.n);

        if (path.n == 0 || memchr(path.p, '\0', path.n))
            return -E_SYNTAX;
        if (path.n > ADDR_UNIX_PATH_MAX)
            return -E_LIMIT;
        memcpy(a.path, path.p, path.n);
        *ret = a;
        return 0;
    }
    for (colon = text.n; colon > 0 && text.p[colon - 1] != ':'; colon--)
        ;
    if (colon == 0 || !str_u64(str_from(text, colon), &port) || port > 65535)
        return -E_SYNTAX;
    host = str_head(text, colon - 1);
    if (str_find(host, ':') < host.n && (host.n == 0 || host.p[0] != '['))
        return -E_SYNTAX; /* IPv6 wants brackets before a port */
    return addr_parse_ip(host, (uint16_t)port, ret);
}

void addr_write(const struct addr *a, struct buf *out)
{
    char text[INET6_ADDRSTRLEN], zone[IF_NAMESIZE];

    switch (a->family) {
    case ADDR_UNIX:
        buf_text(out, "unix:");
        buf_text(out, a->path);
        return;
    case ADDR_IP4:
        buf_text(out, inet_ntop(AF_INET, a->ip, text, sizeof text));
        break;
    case ADDR_IP6:
        buf_char(out, '[');
        buf_text(out, inet_ntop(AF_INET6, a->ip, text, sizeof text));
        if (a->scope && if_indextoname(a->scope, zone)) {
            buf_char(out, '%');
            buf_text(out, zone);
        }
        buf_char(out, ']');
        break;
    case ADDR_NONE:
        buf_text(out, "none");
        return;
    }
    buf_char(out, ':');
    buf_u64(out, a->port);
}

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint8_t ip6_loopback[16] = {[15] = 1};
static const uint8_t zeros[16];

bool addr_is_loopback(const struct addr *a)
{
    switch (a->family) {
    case ADDR_UNIX:
        return true;
    case ADDR_IP4:
        return a->ip[0] == 127;
    case ADDR_IP6:
        return memcmp(a->ip, ip6_loopback, 16) == 0 ||
               (memcmp(a->ip, mapped, 12) == 0 && a->ip[12] == 127);
    case ADDR_NONE:
        break;
    }
    return false;
}

bool addr_is_wildcard(const struct addr *a)
{
    return (a->family == ADDR_IP4 && memcmp(a->ip, zeros, 4) == 0) ||
           (a->family == ADDR_IP6 && memcmp(a->ip, zeros, 16) == 0);
}

bool addr_is_local(const struct addr *a)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_scope_id = a->scope};
    bool four = a->family == ADDR_IP4;
    int fd, r;

    if (a->family == ADDR_UNIX || a->family == ADDR_NONE)
        return a->family == ADDR_UNIX;
    fd = socket(four ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    memcpy(four ? (void *)&in4.sin_addr : (void *)&in6.sin6_addr, a->ip, four ? 4 : 16);
    r = four ? bind(fd, (struct sockaddr *)&in4, sizeof in4)
             : bind(fd, (struct sockaddr *)&in6, sizeof in6);
    (void)close(fd);
    return r == 0;
}

bool addr_same_host(const struct addr *a, const struct addr *b)
{
    if (a->family != b->family)
        return false;
    if (a->family == ADDR_UNIX)
        return strcmp(a->path, b->path) == 0;
    return memcmp(a->ip, b->ip, a->family == ADDR_IP4 ? 4 : 16) == 0 && a->scope == b->scope;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return addr_same_host(a, b) && a->port == b->port;
}

static bool is_mapped(const struct addr *a)
{
    return a->family == ADDR_IP6 && memcmp(a->ip, mapped, sizeof mapped) == 0;
}

/* An IPv4 address that came through an IPv6 socket, as IPv4. */
static struct addr unmapped(const struct addr *a)
{
    struct addr four = {.family = ADDR_IP4, .port = a->port};

    if (!is_mapped(a))
        return *a;
    memcpy(four.ip, a->ip + sizeof mapped, 4);
    return four;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

int addr_net_parse(struct str text, struct addr_net *ret)
{
    size_t slash = str_find(text, '/');
    struct addr_net net = {.bits = 0};
    uint64_t bits;
    unsigned most;

    if (str_eq(text, STR("unix"))) {
        *ret = (struct addr_net){.ip.family = ADDR_UNIX};
        return 0;
    }
    if (addr_parse_ip(str_head(text, slash), 0, &net.ip) < 0 || net.ip.scope != 0)
        return -E_SYNTAX;
    most = net.ip.family == ADDR_IP4 ? 32 : 128;
    bits = most;
    if (slash < text.n && (!str_u64(str_from(text, slash + 1), &bits) || bits > most))
        return -E_SYNTAX;
    net.bits = (unsigned)bits;
    for (unsigned i = net.bits; i < most; i++)
        if (net.ip.ip[i / 8] >> (7 - i % 8) & 1)
            return -E_SYNTAX;
    *ret = net;
    return 0;
}

bool addr_in_net(const struct addr *a, const struct addr_net *net)
{
    struct addr ip = unmapped(a);

    return ip.family == net->ip.family &&
           (ip.family == ADDR_UNIX || same_bits(ip.ip, net->ip.ip, net->bits));
}

struct str addr_client(const struct addr *a)
{
    const char *ip = (const char *)a->ip;

    if (a->family != ADDR_IP4 && a->family != ADDR_IP6)
        return STR_NONE;
    if (a->family == ADDR_IP4)
        return str_span(ip, 4);
    return is_mapped(a) ? str_span(ip + sizeof mapped, 4) : str_span(ip, 8);
}
