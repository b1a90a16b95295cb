/* SPDX-License-Identifier: Apache-2.0
 *
 * listener.h - listening sockets. The master binds and hands descriptors on; each lane polls all of
 * them and takes one connection a wake-up. Accepting pauses by itself when descriptors run out,
 * until one is free again (looked at every 20 ms), and by listener_pause() at a cap.
 */
#pragma once
#include "ev/addr.h"
#include "ev/loop.h"
#include "ev/stream.h"

struct listener; /* opaque */

/* `conn` is the callee's: it moves it (sets fd to -1) or it is closed after the call. `peer` as in
 * stream_peer(). */
typedef void listener_fn(void *ctx, struct ev_fd *conn, const struct addr *peer);

/* Binds and listens; non-blocking, close-on-exec. A stale Unix socket file is replaced when nobody
 * answers on it (-E_BUSY when somebody does); new ones get `unix_mode`. The port bound is written
 * back into *at when it was 0. -E_BUSY, -E_PERM, -E_UNREACHABLE, ... */
int listener_bind(struct addr *at, unsigned backlog, unsigned unix_mode,
                  struct ev_fd *ret) MUSTCHECK;
/* The same, but an address in use is tried again for up to `ms`: whoever held it may be ending just
 * now. Blocks for that long: for a start, before the loop runs. */
int listener_bind_patiently(struct addr *at, unsigned backlog, unsigned unix_mode, unsigned ms,
                            struct ev_fd *ret) MUSTCHECK;
/* What a descriptor that was inherited (LISTEN_FDS) listens on; -E_INVAL when it does not listen.
 */
int listener_inspect(const struct ev_fd *fd, struct addr *ret) MUSTCHECK;

/* Polls a duplicate of *fd on this loop; *fd stays the caller's. */
int listener_open(struct loop *l, const struct ev_fd *fd, listener_fn *fn, void *ctx,
                  struct listener **ret) MUSTCHECK;
/* Counted: accepts again when each pause was resumed. */
void listener_pause(struct listener *ls);
void listener_resume(struct listener *ls);
/* Leaves descriptors to others: accepting pauses, as when there are none left, once only numbers of
 * `ceiling` and above are free (the kernel gives the lowest). 0: no ceiling. */
void listener_set_ceiling(struct listener *ls, unsigned ceiling);
/* `fn` is called with the listener's ctx whenever accepting begins to pause for want of descriptors
 * or memory, so that its owner may let some go. */
void listener_on_starved(struct listener *ls, void (*fn)(void *ctx));
/* How often that was, so far. */
uint64_t listener_starved(const struct listener *ls);
void listener_close(struct listener **ls);
