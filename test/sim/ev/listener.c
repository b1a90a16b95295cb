/* SPDX-License-Identifier: Apache-2.0
 *
 * listener.c - listening sockets of the simulated world: one connection a wake-up, paused for 20
 * ms when the process under test has no descriptor left.
 */
#include "ev/listener.h"

#include "base/mem.h"
#include "ev/deadline.h"
#include "sim/ev/fake.h"
#include "sim/wire.h"

enum { STARVED_MS = 20 };

struct listener {
    struct source source;
    struct sock *sock;
    unsigned paused;
    uint64_t starved;
    void (*on_starved)(void *ctx);
    struct deadline again;
    listener_fn *fn;
    void *ctx;
};

static struct listener *listener_of(struct source *s)
{
    return container_of(s, struct listener, source);
}

static bool listener_ready(struct source *s)
{
    struct listener *ls = listener_of(s);

    return ls->paused == 0 && !deadline_armed(&ls->again) && wire_acceptable(ls->sock);
}

static void on_again(struct deadline *d) { (void)d; /* being disarmed is all there is to it */ }

static void listener_fire(struct source *s)
{
    struct listener *ls = listener_of(s);
    struct sock *conn;
    struct addr peer;
    struct ev_fd fd;

    if (wire_fd_reserve() < 0) {
        ls->starved++;
        deadline_arm(s->loop, &ls->again, STARVED_MS, on_again);
        if (ls->on_starved)
            ls->on_starved(ls->ctx);
        return;
    }
    wire_fd_release();
    conn = wire_accept(ls->sock);
    peer = *wire_remote(conn);
    if (wire_fd_put(&conn, &fd.fd) < 0)
        CHECK(false); /* it was free a moment ago */
    ls->fn(ls->ctx, &fd, &peer);
    ev_fd_close(&fd);
}

static uint64_t listener_next_us(struct source *s)
{
    struct listener *ls = listener_of(s);

    return ls->paused || deadline_armed(&ls->again) ? UINT64_MAX : wire_next_us(ls->sock);
}

static const struct source_ops listener_ops = {"listener", listener_ready, listener_fire,
                                               listener_next_us};

void ev_fd_close(struct ev_fd *fd)
{
    if (fd->fd >= 0)
        wire_fd_close(fd->fd);
    fd->fd = -1;
}

int ev_fd_dup(const struct ev_fd *fd, struct ev_fd *ret)
{
    struct wire_thing t = wire_thing_of(fd->fd);
    int r = wire_thing_put(&t, &ret->fd);

    wire_thing_drop(&t); /* nothing is left of it when it was put */
    return r;
}

int listener_bind(struct addr *at, unsigned backlog, unsigned unix_mode, struct ev_fd *ret)
{
    struct sock *s;
    struct addr a = *at;
    int r = wire_listen(&a, backlog, &s);

    (void)unix_mode;
    if (r < 0)
        return r;
    r = wire_fd_put(&s, &ret->fd);
    if (r < 0) {
        wire_close(&s, false);
        return r;
    }
    *at = a;
    return 0;
}

int listener_inspect(const struct ev_fd *fd, struct addr *ret)
{
    struct sock *s = wire_fd_look(fd->fd);

    if (!s || !wire_listening(s))
        return -E_INVAL;
    *ret = *wire_local(s);
    return 0;
}

int listener_open(struct loop *l, const struct ev_fd *fd, listener_fn *fn, void *ctx,
                  struct listener **ret)
{
    struct sock *s = wire_fd_look(fd->fd);
    struct listener *ls;
    int r = wire_fd_reserve();

    if (r < 0)
        return r;
    CHECK(s && wire_listening(s));
    ls = xnew(struct listener, .sock = wire_ref(s), .fn = fn, .ctx = ctx);
    source_open(l, &ls->source, &listener_ops);
    *ret = ls;
    return 0;
}

void listener_pause(struct listener *ls)
{
    CHECK(!ls->source.closed);
    ls->paused++;
}

void listener_resume(struct listener *ls)
{
    CHECK(!ls->source.closed && ls->paused > 0);
    ls->paused--;
}

void listener_set_ceiling(struct listener *ls, unsigned ceiling)
{
    (void)ls;
    (void)ceiling; /* the number of descriptors that a world has is not the kernel's */
}

void listener_on_starved(struct listener *ls, void (*fn)(void *ctx)) { ls->on_starved = fn; }

uint64_t listener_starved(const struct listener *ls) { return ls->starved; }

void listener_close(struct listener **lp)
{
    struct listener *ls = TAKE(lp);

    if (!ls)
        return;
    deadline_stop(&ls->again);
    wire_close(&ls->sock, false);
    wire_fd_release();
    source_close(&ls->source);
}
