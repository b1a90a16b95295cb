/* SPDX-License-Identifier: Apache-2.0
 *
 * watch.c - see watch_priv.h. libuv frees a handle's place only in a later turn, so the memory goes
 * in its close callback; the descriptor has left the epoll set when uv_close() returns.
 */
#include "ev/watch_priv.h"

#include "base/mem.h"
#include "ev/uv_priv.h"

struct watch {
    uv_poll_t poll;
    watch_fn *fn;
    void *ctx;
    int what; /* now waited for */
};

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct watch *w = h->data;
    int ready = 0;

    if (status < 0 || (events & (UV_READABLE | UV_DISCONNECT)))
        ready |= WATCH_READ;
    if (events & UV_WRITABLE)
        ready |= WATCH_WRITE;
    ready &= w->what | (status < 0 ? WATCH_READ : 0);
    if (ready)
        w->fn(w->ctx, ready);
}

int watch_start(struct loop *l, int fd, int what, watch_fn *fn, void *ctx, struct watch **ret)
{
    struct watch *w = xnew(struct watch, .fn = fn, .ctx = ctx);
    int r = uv_poll_init(loop_uv(l), &w->poll, fd);

    if (r < 0) {
        mem_free(w);
        return loop_err(r);
    }
    w->poll.data = w;
    watch_for(w, what);
    *ret = w;
    return 0;
}

void watch_for(struct watch *w, int what)
{
    int events = (what & WATCH_READ ? UV_READABLE : 0) | (what & WATCH_WRITE ? UV_WRITABLE : 0);

    if (what == w->what)
        return;
    w->what = what;
    if (events)
        CHECK(uv_poll_start(&w->poll, events, on_poll) == 0);
    else
        uv_poll_stop(&w->poll);
}

static void on_closed(uv_handle_t *h) { mem_free(h->data); }

void watch_close(struct watch **wp)
{
    struct watch *w = TAKE(wp);

    if (w)
        uv_close((uv_handle_t *)&w->poll, on_closed);
}
