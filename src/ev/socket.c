/* SPDX-License-Identifier: Apache-2.0
 *
 * socket.c - see socket_priv.h.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "ev/socket_priv.h"

socklen_t socket_addr(const struct addr *a, struct sockaddr_storage *to)
{
    struct sockaddr_un *un = (struct sockaddr_un *)to;
    struct sockaddr_in *in = (struct sockaddr_in *)to;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;

    memset(to, 0, sizeof *to);
    switch (a->family) {
    case ADDR_IP4:
        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        memcpy(&in->sin_addr, a->ip, 4);
        return sizeof *in;
    case ADDR_IP6:
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(a->port);
        in6->sin6_scope_id = a->scope;
        memcpy(&in6->sin6_addr, a->ip, 16);
        return sizeof *in6;
    case ADDR_UNIX:
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, a->path, strlen(a->path) + 1);
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(a->path) + 1);
    case ADDR_NONE:
        break;
    }
    CHECK(!"an address without a family");
    return 0;
}

void socket_addr_back(const struct sockaddr_storage *from, socklen_t len, struct addr *ret)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)from;
    const struct sockaddr_in *in = (const struct sockaddr_in *)from;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
    size_t path;

    *ret = (struct addr){.family = ADDR_NONE};
    switch (from->ss_family) {
    case AF_INET:
        ret->family = ADDR_IP4;
        ret->port = ntohs(in->sin_port);
        memcpy(ret->ip, &in->sin_addr, 4);
        break;
    case AF_INET6:
        ret->family = ADDR_IP6;
        ret->port = ntohs(in6->sin6_port);
        ret->scope = in6->sin6_scope_id;
        memcpy(ret->ip, &in6->sin6_addr, 16);
        break;
    case AF_UNIX:
        ret->family = ADDR_UNIX;
        path = len > offsetof(struct sockaddr_un, sun_path)
                   ? len - offsetof(struct sockaddr_un, sun_path)
                   : 0;
        path = min_size(path, ADDR_UNIX_PATH_MAX);
        memcpy(ret->path, un->sun_path, path);
        break;
    default:
        break;
    }
}

int socket_new(enum addr_family family)
{
    int domain = family == ADDR_UNIX ? AF_UNIX : family == ADDR_IP6 ? AF_INET6 : AF_INET;
    int fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_sys(errno);
    return fd;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
/* The sanitizers look at what libc's functions are given; clang says otherwise when they are on. */
ssize_t socket_send(int fd, const void *p, size_t n)
{
    return send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t socket_recv(int fd, void *p, size_t n) { return recv(fd, p, n, MSG_DONTWAIT); }
#else
ssize_t socket_send(int fd, const void *p, size_t n)
{
    return syscall(SYS_sendto, fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
}

ssize_t socket_recv(int fd, void *p, size_t n)
{
    return syscall(SYS_recvfrom, fd, p, n, MSG_DONTWAIT, NULL, NULL);
}
#endif

void socket_tune(int fd, enum addr_family family, enum socket_peer peer)
{
    /* Who comes to us may be on the move: 25 s. Who we went to is one or two switches away: 9 s, by
     * so many probes that lost packets do not look like a lost host. */
    int on = 1, idle_s = 10, every_s = 5, probes = 3;

    if (peer == SOCKET_WENT_TO) {
        idle_s = 3;
        every_s = 1;
        probes = 6;
    }

    if (family == ADDR_UNIX)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}
