/* SPDX-License-Identifier: Apache-2.0
 *
 * loop.c - struct loop on virtual time. Deadlines are the real ones (src/ev/deadline.c); this file
 * gives them their clock and their one timer, and serves sources, the turn hook and the graveyard
 * in the order that loop.h promises. Stricter than the contract wherever a misuse can be seen.
 */
#include "sim/ev/fake.h"

#include "base/mem.h"

enum {
    SOURCES_MAX = 4096, /* of one loop, ready at once */
};

/* The wall clock when the world's clock says 0: a day in 2026. */
static const uint64_t wall_us = 1790000000000000;

struct loop {
    struct actor actor;
    struct list sources;
    struct list graves;
    struct source *timer;
    struct deadlines *deadlines;
    uint64_t timer_ms; /* UINT64_MAX: not armed */
    void (*turn_fn)(void *ctx);
    void *turn_ctx;
    void *user;
    bool running; /* between loop_run() and the end of the turn in which loop_stop() was called */
    bool stopped;
    bool in_turn, burying;
};

/* sources */

void source_open(struct loop *l, struct source *s, const struct source_ops *ops)
{
    s->ops = ops;
    s->loop = l;
    s->closed = false;
    s->grave = (struct grave){0};
    list_init(&s->node);
    list_append(&l->sources, &s->node);
}

static void on_source_buried(struct grave *g) { mem_free(container_of(g, struct source, grave)); }

void source_close(struct source *s)
{
    CHECK(!s->closed);
    s->closed = true;
    list_remove(&s->node);
    loop_bury(s->loop, &s->grave, on_source_buried);
}

uint64_t source_never(struct source *s)
{
    (void)s;
    return UINT64_MAX;
}

/* the timer of all deadlines */

struct timer {
    struct source source;
};

static bool timer_ready(struct source *s) { return s->loop->timer_ms <= world_now_ms(); }

static void timer_fire(struct source *s)
{
    struct loop *l = s->loop;
    uint64_t next;

    l->timer_ms = UINT64_MAX;
    next = deadlines_run(l->deadlines, world_now_ms());
    if (next != UINT64_MAX)
        loop_wake_at(l, next);
}

static uint64_t timer_next_us(struct source *s)
{
    struct loop *l = s->loop;

    return l->timer_ms == UINT64_MAX ? UINT64_MAX : l->timer_ms * 1000;
}

static const struct source_ops timer_ops = {"timer", timer_ready, timer_fire, timer_next_us};

/* the loop */

static bool loop_actor_ready(struct actor *a)
{
    struct loop *l = container_of(a, struct loop, actor);
    struct source *s;

    if (!l->running)
        return false;
    if (!list_empty(&l->graves))
        return true;
    list_each(s, &l->sources, node)
    {
        if (s->ops->ready(s))
            return true;
    }
    return false;
}

static uint64_t loop_actor_next_us(struct actor *a)
{
    struct loop *l = container_of(a, struct loop, actor);
    uint64_t next = UINT64_MAX;
    struct source *s;

    if (!l->running)
        return UINT64_MAX;
    list_each(s, &l->sources, node) next = min_u64(next, s->ops->next_us(s));
    return next;
}

static void run_graves(struct loop *l)
{
    struct list *node;

    CHECK(!l->burying);
    l->burying = true;
    while ((node = list_shift(&l->graves))) {
        struct grave *g = list_entry(node, struct grave, node);

        g->fn(g);
    }
    l->burying = false;
}

/* Serves some of what is ready, in any order. */
static void serve(struct loop *l)
{
    static struct source *ready[SOURCES_MAX]; /* turns nest only across loops, see below */
    struct source **mine = ready, *s;
    unsigned n = 0, serve_n;

    list_each(s, &l->sources, node)
    {
        if (s->ops->ready(s)) {
            CHECK(n < SOURCES_MAX);
            ready[n++] = s;
        }
    }
    if (n == 0)
        return;
    for (unsigned i = n - 1; i > 0; i--) {
        unsigned j = world_plain() ? i : (unsigned)world_random(i + 1);

        s = ready[i];
        ready[i] = ready[j];
        ready[j] = s;
    }
    serve_n = world_plain() ? n : (unsigned)world_random(n) + 1;
    mine = mem_dup(ready, serve_n * sizeof *mine); /* a callback may wait for another loop's turn */
    for (unsigned i = 0; i < serve_n; i++) {
        s = mine[i];
        if (!s->closed && s->ops->ready(s))
            s->ops->fire(s);
    }
    mem_free(mine);
}

static void loop_actor_turn(struct actor *a)
{
    struct loop *l = container_of(a, struct loop, actor);

    CHECK(!l->in_turn);
    l->in_turn = true;
    serve(l);
    if (l->turn_fn)
        l->turn_fn(l->turn_ctx);
    run_graves(l);
    l->in_turn = false;
    if (l->stopped)
        l->running = false;
    a->busy = false;
}

static const struct actor_ops loop_ops = {loop_actor_ready, loop_actor_turn, loop_actor_next_us};

int loop_create(struct loop **ret)
{
    struct loop *l = xnew(struct loop, .timer_ms = UINT64_MAX);

    list_init(&l->sources);
    list_init(&l->graves);
    l->deadlines = deadlines_create();
    l->timer = mem_alloc(sizeof(struct timer));
    source_open(l, l->timer, &timer_ops);
    world_add(&l->actor, "a loop", &loop_ops);
    *ret = l;
    return 0;
}

/* As libuv waits for work that is under way. */
static void finish_sources(struct loop *l)
{
    struct source *s;

    list_each(s, &l->sources, node)
    {
        while (s->finishes && !s->closed)
            s->ops->fire(s);
    }
}

void loop_destroy(struct loop **lp)
{
    struct loop *l = TAKE(lp);

    if (!l)
        return;
    CHECK(!l->in_turn);
    source_close(l->timer);
    finish_sources(l);
    run_graves(l);
    CHECK(list_empty(&l->sources)); /* something on it was not closed */
    deadlines_destroy(&l->deadlines);
    world_remove(&l->actor);
    mem_free(l);
}

void fake_loop_start(struct loop *l)
{
    CHECK(!l->running);
    l->running = true;
    l->stopped = false;
}

bool fake_loop_running(const struct loop *l) { return l->running; }

void loop_run(struct loop *l)
{
    fake_loop_start(l);
    fake_wait_loop(l);
}

void loop_stop(struct loop *l) { l->stopped = true; }

uint64_t loop_now_us(struct loop *l)
{
    (void)l;
    return world_now_us();
}

uint64_t loop_now_ms(struct loop *l) { return loop_now_us(l) / 1000; }

uint64_t loop_late_ms(const struct loop *l)
{
    (void)l;
    return 0; /* virtual time waits for everybody */
}

uint64_t loop_fresh_us(struct loop *l) { return loop_now_us(l); }

uint64_t loop_wall_us(struct loop *l) { return wall_us + loop_now_us(l); }

void loop_bury(struct loop *l, struct grave *g, void (*fn)(struct grave *g))
{
    CHECK(!g->node.next || list_empty(&g->node)); /* buried twice */
    g->fn = fn;
    list_init(&g->node);
    list_append(&l->graves, &g->node);
}

void loop_settle(struct loop *l)
{
    CHECK(!l->in_turn);
    run_graves(l);
}

void loop_on_turn(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    l->turn_fn = fn;
    l->turn_ctx = ctx;
}

void loop_set_user(struct loop *l, void *user) { l->user = user; }

void *loop_user(const struct loop *l) { return l->user; }

struct deadlines *loop_deadlines(struct loop *l) { return l->deadlines; }

void loop_wake_at(struct loop *l, uint64_t due_ms) { l->timer_ms = min_u64(l->timer_ms, due_ms); }
