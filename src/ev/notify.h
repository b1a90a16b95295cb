/* SPDX-License-Identifier: Apache-2.0
 *
 * notify.h - the service manager's side of a daemon: sd_notify messages, its watchdog, and the
 * sockets it passes (LISTEN_FDS). Without one (NOTIFY_SOCKET unset) everything here does nothing.
 * Datagrams are sent without waiting; a change of state that the manager's queue does not take is
 * sent again later.
 */
#pragma once
#include "ev/loop.h"
#include "ev/stream.h"

struct notify; /* opaque */

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; never fails: at worst there is nobody to
 * tell. */
struct notify *notify_create(struct loop *l) __attribute__((returns_nonnull));
/* NULL is fine. */
void notify_destroy(struct notify **n);

void notify_ready(struct notify *n, const char *status);
/* Before a reload; notify_ready() ends it. */
void notify_reloading(struct notify *n);
void notify_stopping(struct notify *n);
/* One line for `systemctl status`. */
void notify_status(struct notify *n, const char *status);
/* Answers the watchdog at half its interval from now on, for as long as the loop turns. */
void notify_watch(struct notify *n);

/* Sockets of LISTEN_FDS that are meant for this process (LISTEN_PID), made close-on-exec. Returns
 * how many there are, at most `max`; what is beyond is closed. Once per process. */
unsigned notify_sockets(struct ev_fd *ret, unsigned max);
