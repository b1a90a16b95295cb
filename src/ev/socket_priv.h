/* SPDX-License-Identifier: Apache-2.0
 *
 * socket_priv.h - addresses as the kernel wants them, and socket options that several files set.
 */
#pragma once
#include <sys/socket.h>

#include "ev/addr.h"

/* Returns the length of the sockaddr written into *to. */
socklen_t socket_addr(const struct addr *a, struct sockaddr_storage *to);
/* Family ADDR_NONE for what is neither IP nor Unix. */
void socket_addr_back(const struct sockaddr_storage *from, socklen_t len, struct addr *ret);
/* A non-blocking close-on-exec stream socket of that family, or a negative code. */
int socket_new(enum addr_family family);
/* send() and recv() of one piece, never waiting, without SIGPIPE. libc's are points of thread
 * cancellation, which nobody here uses and which costs two locked instructions a call once there
 * are threads; four calls a relayed request make that a hundredth of it. */
ssize_t socket_send(int fd, const void *p, size_t n);
ssize_t socket_recv(int fd, void *p, size_t n);
enum socket_peer {
    SOCKET_CAME, /* it connected to us */
    SOCKET_WENT_TO,
};
/* TCP_NODELAY and keep-alive probes; nothing on Unix sockets. */
void socket_tune(int fd, enum addr_family family, enum socket_peer peer);
