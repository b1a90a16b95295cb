/* SPDX-License-Identifier: Apache-2.0
 *
 * hosts.h - which hosts a registry lets itself be pointed at, so that a registration cannot make it
 * (and every router behind it) talk to whoever it likes. Pure: a name's addresses are somebody
 * else's to find (vetting.h).
 *
 * A rule is an address, a network or a name, word for word. What is judged is taken strictly: one
 * spelling of IPv4 (no octal, hexadecimal or short forms), IPv6 with or without brackets, names of
 * letters, digits, '-', '_' and '.'. 0.0.0.0 and :: mean this machine, an IPv4 address in IPv6 is
 * that IPv4 address.
 *
 * Some ports lead nowhere, whoever is allowed: those that are denied by number, and the registry's
 * own, which would have it register, probe and forward to itself.
 */
#pragma once
#include "conf/option.h"
#include "ev/addr.h"

struct hosts; /* opaque, constant once made */

/* `rules` empty: loopback, or everything when `any`. -E_CONF with a sentence in `problem`. */
int hosts_create(const struct str_list *rules, bool any, struct hosts **ret,
                 struct buf *problem) MUSTCHECK;
void hosts_destroy(struct hosts **h);
/* Before the first question. Ports that are denied at every address, as text. -E_CONF as above. */
int hosts_deny_ports(struct hosts *h, const struct str_list *ports, struct buf *problem) MUSTCHECK;
/* The same: where the registry listens. It is denied at that address, or at every address of this
 * machine when it is a wildcard; to nobody when everything may be registered. */
void hosts_deny_own(struct hosts *h, const struct addr *own);
/* May this port be reached at these addresses? n 0: they are not known, the host goes by name. */
bool hosts_port_allowed(const struct hosts *h, const struct addr *at, unsigned n, uint16_t port);
/* Everything may be registered, and nothing is looked at. */
bool hosts_any(const struct hosts *h);

enum hosts_verdict {
    HOSTS_NO,   /* it may not be registered */
    HOSTS_NAME, /* it may, by name: whoever connects asks for its addresses then */
    HOSTS_AT,   /* it may, at exactly the addresses told */
    HOSTS_ASK,  /* it may if every address it has may: hosts_allow() */
};

enum { HOSTS_AT_MAX = 2 };

/* `at` has room for HOSTS_AT_MAX, its ports are 0; *n is written for HOSTS_AT. */
enum hosts_verdict hosts_judge(const struct hosts *h, struct str host, struct addr *at,
                               unsigned *n);
/* One of the addresses that a name turned out to have. *a becomes what is connected to: an IPv4
 * address in IPv6 is told as IPv4. */
bool hosts_allow(const struct hosts *h, struct addr *a);
/* The host of "http://..." or "https://..."; false when it is no such URL, or holds what no request
 * would be sent with (a user, a fragment, a query, a blank). */
bool hosts_of_url(struct str url, struct str *ret_host, uint16_t *ret_port);
