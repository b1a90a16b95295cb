/* SPDX-License-Identifier: Apache-2.0
 *
 * thread.c - threads and signals in the simulated world. A thread has a stack of its own, borrowed
 * from a real thread, but runs only when the scheduler hands it the turn, and hands it back when it
 * waits: in loop_run(), in thread_join(), at its end. While it waits in loop_run() the turns of its
 * loop are taken by the scheduler. So one thing happens at a time, in an order the seed decides.
 */
#include "ev/thread.h"

#include <pthread.h>

#include "base/mem.h"
#include "sim/ev/fake.h"

enum thread_state {
    THREAD_READY,   /* will go on when it is handed the turn */
    THREAD_LOOPING, /* waits until its loop was stopped */
    THREAD_JOINING, /* waits until another thread has ended */
    THREAD_ENDED,
};

struct thread {
    struct actor actor;
    pthread_t id;
    enum thread_state state;
    void (*main)(void *ctx);
    void *ctx;
    struct loop *loop;
    struct thread *awaited;
    pthread_cond_t go;
    bool has_turn;
};

static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t scheduler_go = PTHREAD_COND_INITIALIZER;
static struct thread *holder; /* NULL: the scheduler has the turn */

static bool thread_ready(struct actor *a)
{
    struct thread *t = container_of(a, struct thread, actor);

    switch (t->state) {
    case THREAD_READY:
        return true;
    case THREAD_LOOPING:
        return !fake_loop_running(t->loop);
    case THREAD_JOINING:
        return t->awaited->state == THREAD_ENDED;
    case THREAD_ENDED:
        break;
    }
    return false;
}

static void thread_turn(struct actor *a)
{
    struct thread *t = container_of(a, struct thread, actor);
    struct actor *before = world_current();

    world_set_current(a);
    t->state = THREAD_READY;
    pthread_mutex_lock(&turn_lock);
    holder = t;
    pthread_cond_signal(&t->go);
    while (holder)
        pthread_cond_wait(&scheduler_go, &turn_lock);
    pthread_mutex_unlock(&turn_lock);
    world_set_current(before);
    a->busy = false;
}

static uint64_t thread_next_us(struct actor *a)
{
    (void)a;
    return UINT64_MAX;
}

static const struct actor_ops thread_ops = {thread_ready, thread_turn, thread_next_us};

static void wait_turn(struct thread *t)
{
    while (holder != t)
        pthread_cond_wait(&t->go, &turn_lock);
}

/* On the thread's own stack: hands the turn back until `state` is over. */
static void give_turn(struct thread *t, enum thread_state state)
{
    pthread_mutex_lock(&turn_lock);
    t->state = state;
    holder = NULL;
    pthread_cond_signal(&scheduler_go);
    if (state != THREAD_ENDED)
        wait_turn(t);
    pthread_mutex_unlock(&turn_lock);
}

static void *thread_body(void *ctx)
{
    struct thread *t = ctx;

    pthread_mutex_lock(&turn_lock);
    wait_turn(t);
    pthread_mutex_unlock(&turn_lock);
    t->main(t->ctx);
    give_turn(t, THREAD_ENDED);
    return NULL;
}

int thread_start(const char *name, void (*main)(void *ctx), void *ctx, struct thread **ret)
{
    struct thread *t = xnew(struct thread, .main = main, .ctx = ctx, .state = THREAD_READY);

    (void)name;
    pthread_cond_init(&t->go, NULL);
    world_add(&t->actor, "a thread", &thread_ops);
    CHECK(pthread_create(&t->id, NULL, thread_body, t) == 0);
    *ret = t;
    return 0;
}

static struct thread *current_thread(void)
{
    struct actor *a = world_current();

    return a ? container_of(a, struct thread, actor) : NULL;
}

void thread_join(struct thread **tp)
{
    struct thread *t = TAKE(tp), *me = current_thread();

    if (!t)
        return;
    if (me) {
        me->awaited = t;
        give_turn(me, THREAD_JOINING);
    } else {
        while (t->state != THREAD_ENDED)
            CHECK(world_step(UINT64_MAX)); /* else nothing can ever end it */
    }
    CHECK(t->state == THREAD_ENDED);
    CHECK(pthread_join(t->id, NULL) == 0);
    pthread_cond_destroy(&t->go);
    world_remove(&t->actor);
    mem_free(t);
}

void fake_wait_loop(struct loop *l)
{
    struct thread *me = current_thread();

    if (me) {
        me->loop = l;
        give_turn(me, THREAD_LOOPING);
        return;
    }
    while (fake_loop_running(l))
        CHECK(world_step(UINT64_MAX)); /* else nothing can ever stop it */
}

/* signals */

enum { SIGNAL_WATCHES_MAX = 16 };

struct signal_watch {
    struct source source;
    int signo;
    bool pending;
    signal_fn *fn;
    void *ctx;
};

static struct signal_watch *watches[SIGNAL_WATCHES_MAX];

static bool signal_ready(struct source *s)
{
    return container_of(s, struct signal_watch, source)->pending;
}

static void signal_fire(struct source *s)
{
    struct signal_watch *w = container_of(s, struct signal_watch, source);

    w->pending = false;
    w->fn(w->ctx, w->signo);
}

static const struct source_ops signal_ops = {"signal", signal_ready, signal_fire, source_never};

int signal_watch_start(struct loop *l, int signo, signal_fn *fn, void *ctx,
                       struct signal_watch **ret)
{
    struct signal_watch *w = xnew(struct signal_watch, .signo = signo, .fn = fn, .ctx = ctx);

    for (unsigned i = 0; i < SIGNAL_WATCHES_MAX; i++) {
        if (!watches[i]) {
            watches[i] = w;
            source_open(l, &w->source, &signal_ops);
            *ret = w;
            return 0;
        }
    }
    mem_free(w);
    return -E_LIMIT;
}

void signal_watch_close(struct signal_watch **wp)
{
    struct signal_watch *w = TAKE(wp);

    if (!w)
        return;
    for (unsigned i = 0; i < SIGNAL_WATCHES_MAX; i++) {
        if (watches[i] == w)
            watches[i] = NULL;
    }
    source_close(&w->source);
}

void fake_signal(int signo)
{
    for (unsigned i = 0; i < SIGNAL_WATCHES_MAX; i++) {
        if (watches[i] && watches[i]->signo == signo)
            watches[i]->pending = true;
    }
}
