/* SPDX-License-Identifier: Apache-2.0
 *
 * stream.c - streams on sockets through uv_poll: we read and write ourselves, because a lent read
 * buffer, one write call for head and body, RST on demand and hang-ups seen while reading is paused
 * are more than uv_stream offers, at the same number of system calls. The interest in events
 * changes only when something is paused or stuck, so a request at full speed costs no epoll_ctl.
 *
 * Unix sockets have a backlog that answers EAGAIN to a connect when it is full, where TCP would
 * wait: such a connect is tried again every few milliseconds until the owner's deadline ends it.
 *
 * Exports: stream_ ev_fd_
 */
#include "ev/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/socket_priv.h"
#include "ev/uv_priv.h"

enum { IOV_MAX_PIECES = 64, TOGETHER_BYTES = 2048, BACKLOG_RETRY_MS = 5 };

/* Apart, because few streams ever need it and idle ones are many. */
struct retry {
    struct deadline deadline;
    struct stream *stream;
    struct addr to;
};

struct stream {
    uv_poll_t poll;
    struct loop *loop;
    const struct stream_ops *ops;
    void *ctx;
    struct chunkq out; /* bytes the kernel did not take yet */
    uint64_t progress_ms;
    struct retry *retry; /* of a connect to a full Unix backlog, else NULL */
    int fd;              /* -1 once closed */
    int events;          /* what uv_poll watches now */
    enum addr_family family;
    bool connecting;
    bool paused;
    bool watch_hangup;
    bool eof;        /* told to the owner, or not wanted any more */
    bool dead;       /* an error was met: nothing works any more */
    bool fin_wanted; /* shutdown() behind what is queued */
    bool closed;     /* by the owner */
    bool unsent_bounded, unread_bounded;
};

static void on_poll(uv_poll_t *h, int status, int events);

void ev_fd_close(struct ev_fd *fd)
{
    if (fd->fd >= 0)
        close(fd->fd);
    fd->fd = -1;
}

int ev_fd_dup(const struct ev_fd *fd, struct ev_fd *ret)
{
    int copy = fcntl(fd->fd, F_DUPFD_CLOEXEC, 3);

    if (copy < 0)
        return err_sys(errno);
    ret->fd = copy;
    return 0;
}

/* Watches what the state asks for; cheap when nothing changed. */
static void update_interest(struct stream *s)
{
    int want = 0;

    if (s->closed || s->dead)
        return;
    if (s->connecting) {
        want = s->retry ? 0 : UV_WRITABLE;
    } else {
        if (!s->eof)
            want |= !s->paused ? UV_READABLE : s->watch_hangup ? UV_DISCONNECT : 0;
        if (s->out.bytes > 0)
            want |= UV_WRITABLE;
    }
    if (want == s->events)
        return;
    s->events = want;
    if (want)
        CHECK(uv_poll_start(&s->poll, want, on_poll) == 0);
    else
        CHECK(uv_poll_stop(&s->poll) == 0);
}

static void kill_stream(struct stream *s)
{
    s->dead = true;
    if (s->retry)
        deadline_stop(&s->retry->deadline);
    if (s->events)
        CHECK(uv_poll_stop(&s->poll) == 0);
    s->events = 0;
    chunkq_clear(&s->out);
}

/* Dead, and the owner is told. */
static void fail(struct stream *s, int err)
{
    if (s->dead || s->closed)
        return;
    kill_stream(s);
    s->ops->on_error(s->ctx, err);
}

/* Few bytes in several pieces are copied together: the kernel takes one piece in less time than we
 * need for the copy. */
static ssize_t send_pieces(int fd, const struct iovec *iov, unsigned n)
{
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n};
    NO_INIT char together[TOGETHER_BYTES];
    size_t bytes = 0;

    for (unsigned i = 0; i < n && bytes <= sizeof together; i++)
        bytes += iov[i].iov_len;
    if (n == 1)
        return socket_send(fd, iov[0].iov_base, bytes);
    if (bytes > sizeof together)
        return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        memcpy(together + bytes, iov[i].iov_base, iov[i].iov_len);
        bytes += iov[i].iov_len;
    }
    return socket_send(fd, together, bytes);
}

/* One system call. Returns bytes taken (0: the socket is full), or a negative code. */
static long send_some(struct stream *s, const struct iovec *iov, unsigned n)
{
    ssize_t sent;

    do
        sent = send_pieces(s->fd, iov, n);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return errno == EAGAIN ? 0 : err_sys(errno);
    if (sent > 0)
        s->progress_ms = loop_now_ms(s->loop);
    return sent;
}

static void send_fin(struct stream *s)
{
    s->fin_wanted = false;
    (void)shutdown(s->fd, SHUT_WR); /* fails only when the peer is gone, which reading tells */
}

/* Sends what is queued until the socket is full. 0, or a negative code. */
static int flush_queue(struct stream *s)
{
    while (s->out.bytes > 0) {
        NO_INIT struct iovec iov[IOV_MAX_PIECES];
        unsigned n = chunkq_iov(&s->out, iov, IOV_MAX_PIECES);
        size_t before = s->out.bytes;
        long sent = send_some(s, iov, n);

        if (sent < 0)
            return (int)sent;
        if (sent == 0)
            return 0;
        chunkq_consume(&s->out, min_size((size_t)sent, before));
    }
    if (s->fin_wanted)
        send_fin(s);
    return 0;
}

static void read_once(struct stream *s)
{
    char *buffer = loop_read_buffer(s->loop);
    ssize_t n;

    do
        n = socket_recv(s->fd, buffer, LOOP_READ_BYTES);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        s->ops->on_data(s->ctx, buffer, (size_t)n);
    } else if (n == 0) {
        s->eof = true;
        update_interest(s);
        s->ops->on_eof(s->ctx);
    } else if (errno != EAGAIN) {
        fail(s, err_sys(errno));
    }
}

/* The socket has an error pending: what came before it is still to be read. */
static void read_out(struct stream *s)
{
    s->events = 0; /* libuv stopped watching */
    while (!s->closed && !s->dead && !s->eof && !s->paused && !s->connecting) {
        char *buffer = loop_read_buffer(s->loop);
        ssize_t n = socket_recv(s->fd, buffer, LOOP_READ_BYTES);

        if (n <= 0) {
            fail(s, n < 0 ? err_sys(errno) : -E_RESET);
            return;
        }
        s->ops->on_data(s->ctx, buffer, (size_t)n);
    }
    if (s->closed || s->dead)
        return;
    if (s->connecting || s->eof || s->watch_hangup || s->out.bytes > 0) {
        int err = 0;
        socklen_t len = sizeof err;

        (void)getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len);
        fail(s, err ? err_sys(err) : -E_RESET);
    }
    /* else: paused with unread bytes; reading meets the error when it resumes */
}

static void on_writable(struct stream *s)
{
    int r;

    if (s->connecting) {
        int err = 0;
        socklen_t len = sizeof err;

        (void)getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len);
        if (err) {
            fail(s, err_sys(err));
            return;
        }
        s->connecting = false;
        update_interest(s);
        s->ops->on_connected(s->ctx);
        return;
    }
    r = flush_queue(s);
    if (r < 0) {
        fail(s, r);
        return;
    }
    if (s->out.bytes == 0) {
        update_interest(s);
        s->ops->on_drained(s->ctx);
    }
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct stream *s = h->data;

    if (status < 0) {
        read_out(s);
        return;
    }
    if (events & UV_WRITABLE && (s->connecting || s->out.bytes > 0))
        on_writable(s);
    if (s->closed || s->dead || s->connecting || s->eof)
        return;
    if (events & UV_READABLE && !s->paused) {
        read_once(s);
    } else if (events & UV_DISCONNECT && s->paused && s->watch_hangup) {
        s->eof = true;
        update_interest(s);
        s->ops->on_eof(s->ctx);
    }
}

static struct stream *stream_new(struct loop *l, int fd, enum addr_family family,
                                 enum socket_peer peer, struct chunk_pool *pool,
                                 const struct stream_ops *ops, void *ctx)
{
    struct stream *s =
        xnew(struct stream, .loop = l, .fd = fd, .family = family, .ops = ops, .ctx = ctx);

    if (uv_poll_init(loop_uv(l), &s->poll, fd) != 0) {
        mem_free(s);
        return NULL;
    }
    s->poll.data = s;
    s->progress_ms = loop_now_ms(l);
    chunkq_init(&s->out, pool);
    socket_tune(fd, family, peer);
    return s;
}

static int connect_fd(int fd, const struct addr *to)
{
    struct sockaddr_storage sa;
    socklen_t len = socket_addr(to, &sa);
    int r;

    do
        r = connect(fd, (struct sockaddr *)&sa, len);
    while (r < 0 && errno == EINTR);
    if (r < 0 && errno != EINPROGRESS)
        return err_sys(errno);
    return 0;
}

static void on_retry(struct deadline *d)
{
    struct retry *again = container_of(d, struct retry, deadline);
    struct stream *s = again->stream;
    int r = connect_fd(s->fd, &again->to);

    if (r == -E_AGAIN) {
        deadline_arm(s->loop, &again->deadline, BACKLOG_RETRY_MS, on_retry);
    } else if (r < 0) {
        fail(s, r);
    } else {
        mem_free(TAKE(&s->retry));
        update_interest(s);
    }
}

int stream_connect(struct loop *l, const struct addr *to, struct chunk_pool *pool,
                   const struct stream_ops *ops, void *ctx, struct stream **ret)
{
    int fd = socket_new(to->family);
    int r = fd < 0 ? fd : connect_fd(fd, to);
    struct stream *s;

    if (fd < 0)
        return fd;
    if (r < 0 && !(r == -E_AGAIN && to->family == ADDR_UNIX)) {
        close(fd);
        return r;
    }
    s = stream_new(l, fd, to->family, SOCKET_WENT_TO, pool, ops, ctx);
    if (!s) {
        close(fd);
        return -E_NO_FDS;
    }
    s->connecting = true;
    if (r == -E_AGAIN) {
        s->retry = xnew(struct retry, .stream = s, .to = *to);
        deadline_arm(l, &s->retry->deadline, BACKLOG_RETRY_MS, on_retry);
    }
    update_interest(s);
    *ret = s;
    return 0;
}

int stream_open(struct loop *l, struct ev_fd *fd, struct chunk_pool *pool,
                const struct stream_ops *ops, void *ctx, struct stream **ret)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof sa;
    struct stream *s;

    if (getsockname(fd->fd, (struct sockaddr *)&sa, &len) < 0)
        return err_sys(errno);
    s = stream_new(l, fd->fd,
                   sa.ss_family == AF_INET    ? ADDR_IP4
                   : sa.ss_family == AF_INET6 ? ADDR_IP6
                                              : ADDR_UNIX,
                   SOCKET_CAME, pool, ops, ctx);
    if (!s)
        return -E_NO_FDS;
    fd->fd = -1;
    update_interest(s);
    *ret = s;
    return 0;
}

void stream_set_owner(struct stream *s, const struct stream_ops *ops, void *ctx)
{
    s->ops = ops;
    s->ctx = ctx;
}

HOT long stream_write(struct stream *s, const struct iovec *iov, unsigned n)
{
    size_t skip = 0;

    CHECK(!s->closed && n <= IOV_MAX_PIECES);
    if (s->dead)
        return -E_RESET;
    if (s->out.bytes == 0 && !s->connecting && n > 0) {
        long sent = send_some(s, iov, n);

        if (sent < 0) {
            kill_stream(s);
            return sent;
        }
        skip = (size_t)sent;
    }
    for (unsigned i = 0; i < n; i++) {
        size_t done = min_size(skip, iov[i].iov_len);

        skip -= done;
        if (iov[i].iov_len > done)
            chunkq_append(&s->out, (const char *)iov[i].iov_base + done, iov[i].iov_len - done);
    }
    if (s->out.bytes > 0)
        update_interest(s);
    return (long)s->out.bytes;
}

long stream_write_chunks(struct stream *s, struct str head, const struct chunkq *body)
{
    NO_INIT struct iovec iov[IOV_MAX_PIECES];
    unsigned n = 1 + (body ? chunkq_iov(body, iov + 1, IOV_MAX_PIECES - 1) : 0);
    size_t direct = head.n, skip = 0, total = head.n + (body ? body->bytes : 0);
    bool waited = s->out.bytes > 0;

    CHECK(!s->closed);
    iov[0] = (struct iovec){(void *)(uintptr_t)head.p, head.n};
    if (s->dead)
        return -E_RESET;
    if (s->out.bytes == 0 && !s->connecting) {
        long sent = send_some(s, iov, n);

        if (sent < 0) {
            kill_stream(s);
            return sent;
        }
        skip = (size_t)sent;
    }
    if (skip < total) {
        size_t before;

        if (skip < direct) {
            chunkq_append(&s->out, head.p + skip, direct - skip);
            skip = direct;
        }
        before = s->out.bytes;
        if (body) {
            struct chunkq rest;

            chunkq_init(&rest, body->pool);
            chunkq_share(&rest, body);
            chunkq_consume(&rest, skip - direct);
            chunkq_share(&s->out, &rest);
            chunkq_clear(&rest);
        }
        CHECK(s->out.bytes - before == total - skip);
        if (s->out.bytes > 0) {
            /* More pieces than one call carries; what waited before drains with a callback. */
            int r = s->connecting || waited ? 0 : flush_queue(s);

            if (r < 0) {
                kill_stream(s);
                return r;
            }
        }
        update_interest(s);
    }
    return (long)s->out.bytes;
}

size_t stream_queued(const struct stream *s) { return s->out.bytes; }

uint64_t stream_progress_ms(const struct stream *s) { return s->progress_ms; }

static void bound(struct stream *s, bool *done, int option, unsigned bytes)
{
    int n = (int)bytes;

    if (*done || s->closed || s->dead)
        return;
    *done = true;
    (void)setsockopt(s->fd, SOL_SOCKET, option, &n, sizeof n);
}

void stream_bound_unsent(struct stream *s, unsigned bytes)
{
    bound(s, &s->unsent_bounded, SO_SNDBUF, bytes);
}

void stream_bound_unread(struct stream *s, unsigned bytes)
{
    bound(s, &s->unread_bounded, SO_RCVBUF, bytes);
}

void stream_pause(struct stream *s)
{
    s->paused = true;
    update_interest(s);
}

void stream_resume(struct stream *s)
{
    s->paused = false;
    update_interest(s);
}

void stream_watch_hangup(struct stream *s, bool on)
{
    s->watch_hangup = on;
    update_interest(s);
}

bool stream_peek_idle(struct stream *s)
{
    char byte;
    ssize_t n;

    if (s->dead || s->eof || s->connecting)
        return false;
    n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

bool stream_unheard(const struct stream *s, uint32_t ms)
{
    struct tcp_info is;
    socklen_t n = sizeof is;

    /* a peer that only takes nothing in answers the kernel's questions for room */
    return !s->dead && getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &is, &n) == 0 &&
           is.tcpi_unacked > 0 && is.tcpi_last_ack_recv >= ms;
}

void stream_shutdown(struct stream *s)
{
    if (s->dead || s->connecting)
        return;
    s->fin_wanted = true;
    if (s->out.bytes == 0)
        send_fin(s);
}

static void on_closed(uv_handle_t *h) { mem_free(h->data); }

void stream_close(struct stream **sp, enum stream_end how)
{
    struct stream *s = TAKE(sp);

    if (!s)
        return;
    CHECK(!s->closed);
    kill_stream(s);
    s->closed = true;
    if (how == STREAM_RESET && s->family != ADDR_UNIX) {
        struct linger cut = {.l_onoff = 1, .l_linger = 0};

        (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &cut, sizeof cut);
    }
    mem_free(s->retry);
    uv_close((uv_handle_t *)&s->poll, on_closed);
    close(s->fd);
    s->fd = -1;
}

void stream_peer(const struct stream *s, struct addr *ret)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof sa;

    *ret = (struct addr){.family = s->family};
    if (s->fd >= 0 && getpeername(s->fd, (struct sockaddr *)&sa, &len) == 0)
        socket_addr_back(&sa, len, ret);
}
