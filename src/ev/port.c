/* SPDX-License-Identifier: Apache-2.0
 *
 * port.c - see port.h. With SO_REUSEADDR, connections in TIME_WAIT do not count as somebody, but a
 * listening socket does, whatever address of the machine it holds.
 */
#include "ev/port.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static bool binds(int family, const struct sockaddr *at, socklen_t n)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    bool ok;

    if (fd < 0)
        return errno == EAFNOSUPPORT; /* no such family here, so nobody listens in it */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    ok = bind(fd, at, n) == 0 || errno == EADDRNOTAVAIL;
    /* Two bound sockets may share a port, but only one may listen. */
    ok = ok && (listen(fd, 1) == 0 || errno != EADDRINUSE);
    close(fd);
    return ok;
}

bool port_is_free(uint16_t port)
{
    const struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    const struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    return binds(AF_INET, (const struct sockaddr *)&any4, sizeof any4) &&
           binds(AF_INET6, (const struct sockaddr *)&any6, sizeof any6);
}
