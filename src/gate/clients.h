/* SPDX-License-Identifier: Apache-2.0
 *
 * clients.h - how many connections each client address has, counted over all lanes: the bound of
 * connections_per_address. Of an IPv6 address its /64 counts, because that is what one client is
 * given. Loopback addresses and Unix sockets are not counted: there, many clients share one address
 * (a proxy on this machine, programs of its users), and `connections` bounds them.
 *
 * Any thread. Nothing is allocated by what a peer does.
 */
#pragma once
#include "ev/addr.h"

struct clients; /* opaque */

void clients_create(uint64_t seed, struct clients **ret);
void clients_destroy(struct clients **c);
/* One more connection of that address. Returns how many there are with it, 0 when the address is
 * not counted. A NULL `c` counts nobody. */
uint32_t clients_enter(struct clients *c, const struct addr *a);
/* It has ended. */
void clients_leave(struct clients *c, const struct addr *a);
