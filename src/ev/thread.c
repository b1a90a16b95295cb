/* SPDX-License-Identifier: Apache-2.0
 *
 * thread.c - see thread.h.
 *
 * Exports: thread_ signal_watch_
 */
#include "ev/thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "base/mem.h"
#include "ev/uv_priv.h"

struct thread {
    uv_thread_t id;
    void (*main)(void *ctx);
    void *ctx;
    char name[16];
};

static void thread_main(void *arg)
{
    struct thread *t = arg;

    (void)pthread_setname_np(pthread_self(), t->name);
    t->main(t->ctx);
}

int thread_start(const char *name, void (*main)(void *ctx), void *ctx, struct thread **ret)
{
    struct thread *t = xnew(struct thread, .main = main, .ctx = ctx);
    sigset_t all, before;
    int r;

    (void)snprintf(t->name, sizeof t->name, "%s", name);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = uv_thread_create(&t->id, thread_main, t);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r < 0) {
        mem_free(t);
        return loop_err(r);
    }
    *ret = t;
    return 0;
}

void thread_join(struct thread **tp)
{
    struct thread *t = TAKE(tp);

    if (!t)
        return;
    CHECK(uv_thread_join(&t->id) == 0);
    mem_free(t);
}

struct signal_watch {
    uv_signal_t handle;
    signal_fn *fn;
    void *ctx;
};

static void on_signal(uv_signal_t *h, int signo)
{
    struct signal_watch *w = h->data;

    w->fn(w->ctx, signo);
}

static void mask(int how, int signo)
{
    sigset_t one;

    (void)sigemptyset(&one);
    (void)sigaddset(&one, signo);
    (void)pthread_sigmask(how, &one, NULL);
}

int signal_watch_start(struct loop *l, int signo, signal_fn *fn, void *ctx,
                       struct signal_watch **ret)
{
    struct signal_watch *w = xnew(struct signal_watch, .fn = fn, .ctx = ctx);
    int r = uv_signal_init(loop_uv(l), &w->handle);

    if (r == 0) {
        w->handle.data = w;
        r = uv_signal_start(&w->handle, on_signal, signo);
    }
    if (r < 0) {
        mem_free(w);
        return loop_err(r);
    }
    *ret = w;
    return 0;
}

static void on_watch_closed(uv_handle_t *h) { mem_free(h->data); }

void signal_watch_close(struct signal_watch **wp)
{
    struct signal_watch *w = TAKE(wp);

    int signo;

    if (!w)
        return;
    signo = w->handle.signum;
    mask(SIG_BLOCK, signo); /* libuv restores the default first, which must not strike here */
    uv_close((uv_handle_t *)&w->handle, on_watch_closed);
    if (signo != SIGCHLD) /* its default is to do nothing; ignored, it would reap behind our back */
        (void)signal(signo, SIG_IGN);
    mask(SIG_UNBLOCK, signo);
}
