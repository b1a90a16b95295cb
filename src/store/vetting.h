/* SPDX-License-Identifier: Apache-2.0
 *
 * vetting.h - may a service of this host and url be registered? Names that only their addresses can
 * speak for are resolved, off the loop and once: the addresses found are what is connected to
 * later, whatever the name says by then. Loop thread only.
 */
#pragma once
#include "ev/loop.h"
#include "store/hosts.h"
#include "store/records.h"

struct vetting; /* opaque, one question */

/* What was found out: heap, the callee's to take (TAKE()). NULL: by name. */
struct vetting_pins {
    struct records_pins *host, *url;
};
void vetting_drop(struct vetting_pins *pins);

/* 0; -E_PERM: `what` ("host", "url") may not be registered; -E_NAME, -E_TIMEOUT: nobody knows its
 * address. The vetting is gone. */
typedef void vetting_fn(void *ctx, int err, const char *what, struct vetting_pins *pins);

/* `host` and `url` are copied. `fn` runs later, or within this call (after *ret was written) when
 * nobody had to be asked. */
void vetting_start(struct loop *l, const struct hosts *hosts, struct str host, struct str url,
                   vetting_fn *fn, void *ctx, struct vetting **ret);
/* No callback after it. NULL is fine. */
void vetting_cancel(struct vetting **v);
