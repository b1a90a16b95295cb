/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve.h - host names to addresses, and other blocking work, off the loop.
 */
#pragma once
#include "ev/addr.h"
#include "ev/loop.h"

struct resolve; /* opaque, one look-up */
enum { RESOLVE_ADDRS_MAX = 8 };

/* err is 0 with n >= 1 addresses, or -E_NAME, -E_TIMEOUT. The array is good until it returns; the
 * look-up is gone: the owner forgets its pointer here. */
typedef void resolve_fn(void *ctx, int err, const struct addr *addrs, unsigned n);
/* Literals are answered too, and later than this call, like names. */
int resolve_start(struct loop *l, const char *host, uint16_t port, resolve_fn *fn, void *ctx,
                  struct resolve **ret) MUSTCHECK;
/* No callback after it. NULL is fine. */
void resolve_cancel(struct resolve **r);
