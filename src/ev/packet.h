/* SPDX-License-Identifier: Apache-2.0
 *
 * packet.h - messages with boundaries between two processes on one machine: a SOCK_SEQPACKET pair
 * whose messages may carry descriptors. Nothing is queued here: a message that the kernel does not
 * take is the sender's to keep, so that a peer who does not read costs no memory.
 */
#pragma once
#include "ev/loop.h"
#include "ev/stream.h"

struct packet; /* opaque: one end */

enum { PACKET_BYTES_MAX = 4096, PACKET_FDS_MAX = 4 };

/* No callback runs inside a call of the owner's, and none after packet_close(). */
struct packet_ops {
    /* One message; both arrays are good until the callback returns, and descriptors that the callee
     * does not move are closed then. A message over PACKET_BYTES_MAX comes with n = SIZE_MAX. */
    void (*on_message)(void *ctx, const void *p, size_t n, struct ev_fd *fds, unsigned fds_n);
    /* Sending works again after -E_AGAIN. */
    void (*on_writable)(void *ctx);
    /* The other end is gone. Nothing is called after it; the owner closes. */
    void (*on_closed)(void *ctx);
};

/* Two connected ends, close-on-exec. */
int packet_pair(struct ev_fd *ret_a, struct ev_fd *ret_b) MUSTCHECK;
/* Takes *fd. -E_INVAL when it is no SOCK_SEQPACKET socket. */
int packet_open(struct loop *l, struct ev_fd *fd, const struct packet_ops *ops, void *ctx,
                struct packet **ret) MUSTCHECK;
/* Sends all of it or nothing; the descriptors are duplicated for the peer and stay the caller's.
 * -E_AGAIN (on_writable follows), -E_RESET (on_closed follows). */
int packet_send(struct packet *p, const void *bytes, size_t n, const struct ev_fd *fds,
                unsigned fds_n) MUSTCHECK;
/* Stops and resumes on_message; closing is noticed when it is resumed. */
void packet_pause(struct packet *p);
void packet_resume(struct packet *p);
/* NULL is fine. */
void packet_close(struct packet **p);
