/* SPDX-License-Identifier: Apache-2.0
 *
 * notify.c - see notify.h. The protocol is sd_notify(3) and sd_listen_fds(3): text lines in one
 * datagram to a Unix socket, abstract when its name begins with '@'.
 */
#include "ev/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "ev/deadline.h"

enum { AGAIN_MS = 50, STATE_MAX = 512, LISTEN_FIRST = 3, LISTEN_SANE = 1024 };

struct notify {
    struct loop *loop;
    struct deadline beat, again;
    char state[STATE_MAX]; /* the last change of state told */
    size_t state_n;
    uint64_t beat_ms; /* 0: no watchdog */
    int fd;           /* -1: nobody listens */
    struct sockaddr_un to;
    socklen_t to_len;
};

static bool env_u64(const char *name, uint64_t *ret) { return str_u64(str_of(getenv(name)), ret); }

static bool env_is_for_us(const char *name)
{
    uint64_t pid;

    return !getenv(name) || (env_u64(name, &pid) && pid == (uint64_t)getpid());
}

static void find_socket(struct notify *n)
{
    struct str path = str_of(getenv("NOTIFY_SOCKET"));

    n->fd = -1;
    if (path.n < 2 || path.n >= sizeof n->to.sun_path || (path.p[0] != '/' && path.p[0] != '@'))
        return;
    n->to.sun_family = AF_UNIX;
    memcpy(n->to.sun_path, path.p, path.n);
    n->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n);
    if (path.p[0] == '@')
        n->to.sun_path[0] = '\0';
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

struct notify *notify_create(struct loop *l)
{
    struct notify *n = xnew(struct notify, .loop = l);
    uint64_t us;

    find_socket(n);
    if (n->fd >= 0 && env_u64("WATCHDOG_USEC", &us) && env_is_for_us("WATCHDOG_PID") && us >= 2000)
        n->beat_ms = us / 2000;
    return n;
}

void notify_destroy(struct notify **np)
{
    struct notify *n = TAKE(np);

    if (!n)
        return;
    deadline_stop(&n->beat);
    deadline_stop(&n->again);
    if (n->fd >= 0)
        close(n->fd);
    mem_free(n);
}

/* False when the manager's queue is full. */
static bool try_send(struct notify *n, struct str text)
{
    ssize_t sent;

    if (n->fd < 0)
        return true;
    do
        sent =
            sendto(n->fd, text.p, text.n, MSG_NOSIGNAL, (const struct sockaddr *)&n->to, n->to_len);
    while (sent < 0 && errno == EINTR);
    return sent >= 0 || (errno != EAGAIN && errno != ENOBUFS);
}

static void on_again(struct deadline *d)
{
    struct notify *n = container_of(d, struct notify, again);

    if (!try_send(n, str_span(n->state, n->state_n)))
        deadline_arm(n->loop, &n->again, AGAIN_MS, on_again);
}

/* A change of state must arrive; a newer one makes an older one moot. */
static void send_state(struct notify *n, const struct buf *b)
{
    n->state_n = b->n;
    memcpy(n->state, b->p, b->n);
    deadline_stop(&n->again);
    on_again(&n->again);
}

void notify_ready(struct notify *n, const char *status)
{
    char room[STATE_MAX];
    struct buf b = buf_on(room, sizeof room);

    buf_printf(&b, "READY=1\nMAINPID=%d\nSTATUS=%.300s", (int)getpid(), status);
    send_state(n, &b);
}

void notify_reloading(struct notify *n)
{
    char room[128];
    struct buf b = buf_on(room, sizeof room);

    buf_printf(&b, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading",
               (unsigned long long)loop_fresh_us(n->loop));
    send_state(n, &b);
}

void notify_stopping(struct notify *n)
{
    char room[64];
    struct buf b = buf_on(room, sizeof room);

    buf_text(&b, "STOPPING=1\nSTATUS=draining");
    send_state(n, &b);
}

void notify_status(struct notify *n, const char *status)
{
    char room[512];
    struct buf b = buf_on(room, sizeof room);

    buf_printf(&b, "STATUS=%.300s", status);
    (void)try_send(n, buf_str(&b));
}

static void on_beat(struct deadline *d)
{
    struct notify *n = container_of(d, struct notify, beat);

    (void)try_send(n, STR("WATCHDOG=1"));
    deadline_arm(n->loop, &n->beat, n->beat_ms, on_beat);
}

void notify_watch(struct notify *n)
{
    if (n->beat_ms)
        on_beat(&n->beat);
}

unsigned notify_sockets(struct ev_fd *ret, unsigned max)
{
    uint64_t count = 0, pid = 0;
    unsigned n = 0;

    if (!env_u64("LISTEN_FDS", &count) || !env_u64("LISTEN_PID", &pid) || pid != (uint64_t)getpid())
        return 0;
    for (int fd = LISTEN_FIRST; fd < LISTEN_FIRST + (int)min_u64(count, LISTEN_SANE); fd++) {
        if (n == max) {
            close(fd);
            continue;
        }
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
            continue; /* not open: a mistake of whoever started us */
        ret[n++].fd = fd;
    }
    return n;
}
