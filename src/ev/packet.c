/* SPDX-License-Identifier: Apache-2.0
 *
 * packet.c - see packet.h. At most MESSAGES_A_TURN are read per wake-up, so that a peer who floods
 * cannot keep the loop from its other work.
 */
#include "ev/packet.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "ev/watch_priv.h"

enum { MESSAGES_A_TURN = 32 };

struct packet {
    struct loop *loop;
    const struct packet_ops *ops;
    void *ctx;
    struct watch *watch; /* NULL: closed, or the peer is gone */
    struct grave grave;
    int fd;
    bool paused, blocked; /* blocked: on_writable is owed */
};

int packet_pair(struct ev_fd *ret_a, struct ev_fd *ret_b)
{
    int fd[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) < 0)
        return err_sys(errno);
    ret_a->fd = fd[0];
    ret_b->fd = fd[1];
    return 0;
}

static void rearm(struct packet *p)
{
    if (p->watch)
        watch_for(p->watch, (p->paused ? 0 : WATCH_READ) | (p->blocked ? WATCH_WRITE : 0));
}

static void gone(struct packet *p)
{
    watch_close(&p->watch);
    p->ops->on_closed(p->ctx);
}

/* Collects the descriptors of a message; what is beyond PACKET_FDS_MAX is closed. */
static unsigned take_fds(struct msghdr *m, struct ev_fd fds[PACKET_FDS_MAX])
{
    unsigned n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (n < PACKET_FDS_MAX)
                fds[n++].fd = fd;
            else
                close(fd);
        }
    }
    return n;
}

/* False when there is nothing more to read now. */
static bool read_one(struct packet *p)
{
    char bytes[PACKET_BYTES_MAX];
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(PACKET_FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {bytes, sizeof bytes};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    struct ev_fd fds[PACKET_FDS_MAX] = {EV_FD_NONE, EV_FD_NONE, EV_FD_NONE, EV_FD_NONE};
    ssize_t n = recvmsg(p->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    unsigned fds_n;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    fds_n = n < 0 ? 0 : take_fds(&m, fds);
    if (n < 0 || (n == 0 && fds_n == 0)) { /* ours are never empty: this is the end */
        gone(p);
        return false;
    }
    p->ops->on_message(p->ctx, bytes, m.msg_flags & MSG_TRUNC ? SIZE_MAX : (size_t)n, fds, fds_n);
    for (unsigned i = 0; i < fds_n; i++)
        ev_fd_close(&fds[i]);
    return true;
}

static void on_ready(void *ctx, int ready)
{
    struct packet *p = ctx;

    if ((ready & WATCH_WRITE) && p->blocked) {
        p->blocked = false;
        rearm(p);
        p->ops->on_writable(p->ctx);
    }
    if (!(ready & WATCH_READ))
        return;
    for (unsigned i = 0; i < MESSAGES_A_TURN && p->watch && !p->paused; i++)
        if (!read_one(p))
            return;
}

int packet_open(struct loop *l, struct ev_fd *fd, const struct packet_ops *ops, void *ctx,
                struct packet **ret)
{
    struct packet *p;
    socklen_t size = sizeof(int);
    int type = 0, r;

    if (getsockopt(fd->fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET)
        return -E_INVAL;
    p = xnew(struct packet, .loop = l, .ops = ops, .ctx = ctx, .fd = fd->fd);
    r = watch_start(l, p->fd, WATCH_READ, on_ready, p, &p->watch);
    if (r < 0) {
        mem_free(p);
        return r;
    }
    fd->fd = -1;
    *ret = p;
    return 0;
}

int packet_send(struct packet *p, const void *bytes, size_t n, const struct ev_fd *fds,
                unsigned fds_n)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(PACKET_FDS_MAX * sizeof(int))];
    } control = {.room = {0}};
    struct iovec iov = {(void *)(uintptr_t)bytes, n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    CHECK(n > 0 && n <= PACKET_BYTES_MAX && fds_n <= PACKET_FDS_MAX);
    if (!p->watch)
        return -E_RESET;
    if (p->blocked)
        return -E_AGAIN;
    if (fds_n) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
        control.align = (struct cmsghdr){.cmsg_len = CMSG_LEN(fds_n * sizeof(int)),
                                         .cmsg_level = SOL_SOCKET,
                                         .cmsg_type = SCM_RIGHTS};
        for (unsigned i = 0; i < fds_n; i++)
            memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &fds[i].fd, sizeof(int));
    }
    if (sendmsg(p->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n)
        return 0;
    /* A dead peer is told by the read side, so that its last messages are still read. ETOOMANYREFS:
     * too many descriptors are under way, which ends when the peer reads. */
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ETOOMANYREFS) {
        p->blocked = true;
        rearm(p);
        return -E_AGAIN;
    }
    return -E_RESET;
}

void packet_pause(struct packet *p)
{
    p->paused = true;
    rearm(p);
}

void packet_resume(struct packet *p)
{
    p->paused = false;
    rearm(p);
}

static void on_grave(struct grave *g) { mem_free(container_of(g, struct packet, grave)); }

void packet_close(struct packet **pp)
{
    struct packet *p = TAKE(pp);

    if (!p)
        return;
    watch_close(&p->watch);
    close(p->fd);
    p->fd = -1;
    loop_bury(p->loop, &p->grave, on_grave);
}
