/* SPDX-License-Identifier: Apache-2.0
 *
 * registry_thread.h - the registry that `inferd up` serves: a fabric role on a loop and a thread of
 * its own in the gateway process, so that thousands of services and routers take nothing from those
 * who serve clients. A change of its settings is a new registry: services register again when their
 * next heartbeat is answered by 404.
 */
#pragma once
#include "ev/listener.h"
#include "gate/options.h"

struct registry_thread; /* opaque */

/* Makes *t what the settings say: nothing when `fd` is NULL, as it is when nothing has changed,
 * else a new one, bound at `address` already. `fd` is borrowed. -E_NO_FDS, -E_NO_MEM: there is
 * none. */
int registry_thread_settle(struct registry_thread **t, const struct registry_settings *s,
                           const char *address, const struct ev_fd *fd) MUSTCHECK;
/* NULL is fine. */
void registry_thread_stop(struct registry_thread **t);
