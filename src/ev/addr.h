/* SPDX-License-Identifier: Apache-2.0
 *
 * addr.h - socket addresses: TCP over IPv4 and IPv6, and Unix paths. Literals only; names are
 * resolved off the loop by ev/resolve.h.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum addr_family { ADDR_NONE, ADDR_IP4, ADDR_IP6, ADDR_UNIX };

enum { ADDR_UNIX_PATH_MAX = 107, ADDR_TEXT_MAX = 128 };

struct addr {
    enum addr_family family;
    uint16_t port;                     /* host byte order; 0 for Unix */
    uint32_t scope;                    /* IPv6 zone index, else 0 */
    uint8_t ip[16];                    /* network byte order; IPv4 uses the first 4 */
    char path[ADDR_UNIX_PATH_MAX + 1]; /* Unix, NUL-terminated */
};

/* "127.0.0.1:8900", "[::1]:8900", "unix:/path". -E_SYNTAX for anything else (names included),
 * -E_LIMIT for a path that is too long. */
int addr_parse(struct str text, struct addr *ret) MUSTCHECK;
/* An IPv4 or IPv6 literal, brackets allowed around IPv6. -E_SYNTAX. */
int addr_parse_ip(struct str text, uint16_t port, struct addr *ret) MUSTCHECK;
/* The form addr_parse() takes; appends. */
void addr_write(const struct addr *a, struct buf *out);
/* 127.0.0.0/8, ::1, their IPv4-mapped forms, and every Unix path. */
bool addr_is_loopback(const struct addr *a);
/* 0.0.0.0 or :: */
bool addr_is_wildcard(const struct addr *a);
bool addr_eq(const struct addr *a, const struct addr *b);
/* The address part only, ports ignored. */
bool addr_same_host(const struct addr *a, const struct addr *b);
/* An interface of this machine has it (now); wildcards and all of loopback count. The kernel is
 * asked, which takes a moment and no more. */
bool addr_is_local(const struct addr *a);

/* A range of addresses: all whose first `bits` are those of `ip`. ADDR_UNIX: every Unix socket. */
struct addr_net {
    struct addr ip;
    unsigned bits;
};

/* "10.0.0.0/8", "fd00::/8", a lone address, "unix". -E_SYNTAX; bits behind the prefix must be 0. */
int addr_net_parse(struct str text, struct addr_net *ret) MUSTCHECK;
/* An IPv4-mapped IPv6 address is what it maps. */
bool addr_in_net(const struct addr *a, const struct addr_net *net);

/* What tells clients apart: an IPv4 address, whatever it is wrapped in, or of an IPv6 one the /64,
 * all of which one client has. n 0: neither. The bytes are *a's. */
struct str addr_client(const struct addr *a);
