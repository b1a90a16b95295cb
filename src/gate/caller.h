/* SPDX-License-Identifier: Apache-2.0
 *
 * caller.h - whose request it is when proxies stand between: the right-most address of
 * X-Forwarded-For that is no trusted proxy, and only when a trusted proxy is who connects. What
 * stands to the left of it may be anybody's invention and is not looked at.
 */
#pragma once
#include "ev/addr.h"
#include "gate/options.h"
#include "proto/http1.h"

/* Whether it is one of the proxies; `trusted` NULL: there are none. */
bool caller_trusted(const struct addr_net_list *trusted, const struct addr *a);
/* `h` may be NULL. An item that is no address ends the search at the proxy that passed it on. */
void caller_find(const struct addr_net_list *trusted, const struct addr *peer,
                 const struct http1_head *h, const char *bytes, struct addr *ret);
/* The address without a port, as the log and people have it: "10.0.0.1", "fe80::1", "unix". */
void caller_write(const struct addr *a, struct buf *out);
