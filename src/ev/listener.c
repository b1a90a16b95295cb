/* SPDX-License-Identifier: Apache-2.0
 *
 * listener.c - see listener.h. While descriptors are short the listening socket is not polled at
 * all, or a waiting client would wake the loop without end; a deadline looks for a free one
 * instead.
 */
#include "ev/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/socket_priv.h"
#include "ev/uv_priv.h"

enum { STARVED_PAUSE_MS = 20, PATIENCE_STEP_MS = 10 };

struct listener {
    uv_poll_t poll;
    struct loop *loop;
    listener_fn *fn;
    void *ctx;
    struct deadline starved;
    uint64_t starved_count;
    void (*on_starved)(void *ctx);
    unsigned ceiling; /* 0: none */
    unsigned pauses;
    int fd;
};

/* True when the socket file exists and somebody accepts there. */
static bool somebody_answers(const struct addr *at)
{
    struct sockaddr_storage sa;
    socklen_t len = socket_addr(at, &sa);
    int fd = socket_new(ADDR_UNIX);
    bool answers;

    if (fd < 0)
        return false;
    answers = connect(fd, (struct sockaddr *)&sa, len) == 0 || errno == EAGAIN;
    close(fd);
    return answers;
}

static int bind_unix(int fd, const struct sockaddr_storage *sa, socklen_t len,
                     const struct addr *at, unsigned mode)
{
    struct stat st;

    if (lstat(at->path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return -E_EXISTS;
        if (somebody_answers(at))
            return -E_BUSY;
        if (unlink(at->path) < 0)
            return err_sys(errno);
    }
    if (fchmod(fd, (mode_t)mode) < 0) /* the file is born with these rights, umask aside */
        return err_sys(errno);
    if (bind(fd, (const struct sockaddr *)sa, len) < 0)
        return err_sys(errno);
    return chmod(at->path, (mode_t)mode) < 0 ? err_sys(errno) : 0;
}

static int bind_ip(int fd, const struct sockaddr_storage *sa, socklen_t len,
                   enum addr_family family)
{
    int on = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return err_sys(errno);
    if (family == ADDR_IP6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
        return err_sys(errno);
    return bind(fd, (const struct sockaddr *)sa, len) < 0 ? err_sys(errno) : 0;
}

int listener_bind(struct addr *at, unsigned backlog, unsigned unix_mode, struct ev_fd *ret)
{
    struct sockaddr_storage sa;
    socklen_t len = socket_addr(at, &sa);
    struct ev_fd fd = {socket_new(at->family)};
    int r;

    if (fd.fd < 0)
        return fd.fd;
    r = at->family == ADDR_UNIX ? bind_unix(fd.fd, &sa, len, at, unix_mode)
                                : bind_ip(fd.fd, &sa, len, at->family);
    if (r == 0 && listen(fd.fd, (int)backlog) < 0)
        r = err_sys(errno);
    if (r == 0)
        r = listener_inspect(&fd, at);
    if (r < 0) {
        ev_fd_close(&fd);
        return r;
    }
    *ret = fd;
    return 0;
}

int listener_bind_patiently(struct addr *at, unsigned backlog, unsigned unix_mode, unsigned ms,
                            struct ev_fd *ret)
{
    static const struct timespec pause = {.tv_nsec = PATIENCE_STEP_MS * 1000000L};
    int r = listener_bind(at, backlog, unix_mode, ret);

    for (unsigned waited = 0; r == -E_BUSY && waited < ms; waited += PATIENCE_STEP_MS) {
        (void)nanosleep(&pause, NULL);
        r = listener_bind(at, backlog, unix_mode, ret);
    }
    return r;
}

int listener_inspect(const struct ev_fd *fd, struct addr *ret)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof sa, size = sizeof(int);
    int listens = 0;

    if (getsockopt(fd->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens)
        return -E_INVAL;
    if (getsockname(fd->fd, (struct sockaddr *)&sa, &len) < 0)
        return err_sys(errno);
    socket_addr_back(&sa, len, ret);
    return ret->family == ADDR_NONE ? -E_INVAL : 0;
}

static void on_acceptable(uv_poll_t *h, int status, int events);

static void update_poll(struct listener *ls)
{
    if (ls->pauses == 0)
        CHECK(uv_poll_start(&ls->poll, UV_READABLE, on_acceptable) == 0);
    else
        CHECK(uv_poll_stop(&ls->poll) == 0);
}

static bool below_ceiling(const struct listener *ls, int fd)
{
    return ls->ceiling == 0 || (unsigned)fd < ls->ceiling;
}

/* Would an accept get a descriptor that it may have? The kernel gives the lowest. */
static bool descriptors_left(const struct listener *ls)
{
    int fd = fcntl(ls->fd, F_DUPFD_CLOEXEC, 0);
    bool left = fd >= 0 && below_ceiling(ls, fd);

    if (fd >= 0)
        close(fd);
    return left;
}

static void on_starved_over(struct deadline *d)
{
    struct listener *ls = container_of(d, struct listener, starved);

    if (descriptors_left(ls))
        listener_resume(ls);
    else
        deadline_arm(ls->loop, &ls->starved, STARVED_PAUSE_MS, on_starved_over);
}

/* Descriptors or memory ran out: polling on would spin. */
static void starve(struct listener *ls)
{
    if (deadline_armed(&ls->starved))
        return;
    ls->starved_count++;
    listener_pause(ls);
    deadline_arm(ls->loop, &ls->starved, STARVED_PAUSE_MS, on_starved_over);
    if (ls->on_starved)
        ls->on_starved(ls->ctx);
}

static void on_acceptable(uv_poll_t *h, int status, int events)
{
    struct listener *ls = h->data;
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof sa;
    struct ev_fd conn;
    struct addr peer;

    (void)events;
    if (status < 0) {
        starve(ls);
        return;
    }
    conn.fd = accept4(ls->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (conn.fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            starve(ls);
        return; /* another lane was faster, or the client has gone */
    }
    socket_addr_back(&sa, len, &peer);
    if (!below_ceiling(ls, conn.fd + 1)) /* this one is still ours */
        starve(ls);
    ls->fn(ls->ctx, &conn, &peer);
    ev_fd_close(&conn);
}

int listener_open(struct loop *l, const struct ev_fd *fd, listener_fn *fn, void *ctx,
                  struct listener **ret)
{
    int dup_fd = fcntl(fd->fd, F_DUPFD_CLOEXEC, 3);
    struct listener *ls;

    if (dup_fd < 0)
        return err_sys(errno);
    ls = xnew(struct listener, .loop = l, .fn = fn, .ctx = ctx, .fd = dup_fd);
    if (uv_poll_init(loop_uv(l), &ls->poll, dup_fd) != 0) {
        close(dup_fd);
        mem_free(ls);
        return -E_NO_FDS;
    }
    ls->poll.data = ls;
    update_poll(ls);
    *ret = ls;
    return 0;
}

void listener_pause(struct listener *ls)
{
    if (ls->pauses++ == 0)
        update_poll(ls);
}

void listener_resume(struct listener *ls)
{
    CHECK(ls->pauses > 0);
    if (--ls->pauses == 0)
        update_poll(ls);
}

void listener_set_ceiling(struct listener *ls, unsigned ceiling) { ls->ceiling = ceiling; }

void listener_on_starved(struct listener *ls, void (*fn)(void *ctx)) { ls->on_starved = fn; }

uint64_t listener_starved(const struct listener *ls) { return ls->starved_count; }

static void on_closed(uv_handle_t *h) { mem_free(h->data); }

void listener_close(struct listener **lp)
{
    struct listener *ls = TAKE(lp);

    if (!ls)
        return;
    deadline_stop(&ls->starved);
    CHECK(uv_poll_stop(&ls->poll) == 0);
    uv_close((uv_handle_t *)&ls->poll, on_closed);
    close(ls->fd);
    ls->fd = -1;
}
