/* SPDX-License-Identifier: Apache-2.0
 *
 * loop.c - struct loop on libuv. One uv_timer serves all deadlines; a prepare handle runs at the
 * end of every turn, before the loop waits: it empties the graveyard, calls the turn hook and
 * forgets the time that was read. Those handles are unreferenced, and loop_run() runs until it is
 * stopped.
 */
#include "ev/loop.h"

#include <signal.h>
#include <time.h>

#include "base/mem.h"
#include "ev/uv_priv.h"

enum { LATE_MS = 200 };

struct loop {
    uv_loop_t uv;
    uv_timer_t timer;  /* the earliest deadline */
    uv_prepare_t turn; /* the end of each turn */
    uint64_t timer_ms; /* when `timer` fires; UINT64_MAX: not armed */
    uint64_t late_ms;  /* see loop_late_ms() */
    bool yielded;      /* to what came while nobody ran */
    uint64_t now_us;   /* 0: not read in this turn */
    uint64_t wall_us;  /* the same */
    struct deadlines *deadlines;
    struct list graves;
    void (*turn_fn)(void *ctx);
    void *turn_ctx;
    void *user;
    bool stopped;
    char *read_buffer;
};

static uint64_t clock_us(clockid_t id)
{
    struct timespec t;

    CHECK(clock_gettime(id, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void run_graves(struct loop *l)
{
    struct list *node;

    while ((node = list_shift(&l->graves))) {
        struct grave *g = list_entry(node, struct grave, node);

        g->fn(g);
    }
}

static void on_turn_end(uv_prepare_t *h)
{
    struct loop *l = h->data;

    if (l->turn_fn)
        l->turn_fn(l->turn_ctx);
    run_graves(l);
    l->now_us = l->wall_us = 0;
}

/* A process that was stopped finds its deadlines over and what they waited for unread: that comes
 * first. True while it does. */
static bool yields(struct loop *l, uint64_t due_ms)
{
    uint64_t now = loop_now_ms(l);

    if (l->yielded || now < due_ms + LATE_MS) {
        l->yielded = false;
        return false;
    }
    l->yielded = true;
    l->late_ms = now;
    loop_wake_at(l, now + 1);
    return true;
}

static void on_timer(uv_timer_t *h)
{
    struct loop *l = h->data;
    uint64_t next, due = l->timer_ms;

    l->timer_ms = UINT64_MAX;
    l->now_us = l->wall_us = 0;
    if (yields(l, due))
        return;
    next = deadlines_run(l->deadlines, loop_now_ms(l));
    if (next != UINT64_MAX)
        loop_wake_at(l, next);
}

int loop_create(struct loop **ret)
{
    struct loop *l = xnew(struct loop, .timer_ms = UINT64_MAX);
    int r = uv_loop_init(&l->uv);

    if (r < 0) {
        mem_free(l);
        return loop_err(r);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN); /* by which other servers open their logs anew: it ends nothing */
    signal(SIGUSR2, SIG_IGN);
    list_init(&l->graves);
    l->deadlines = deadlines_create();
    l->read_buffer = mem_alloc(LOOP_READ_BYTES);
    uv_timer_init(&l->uv, &l->timer);
    uv_prepare_init(&l->uv, &l->turn);
    l->timer.data = l->turn.data = l;
    uv_prepare_start(&l->turn, on_turn_end);
    *ret = l;
    return 0;
}

static void count_open(uv_handle_t *h, void *ctx) { (*(unsigned *)ctx) += uv_is_closing(h) == 0; }

void loop_destroy(struct loop **lp)
{
    struct loop *l = TAKE(lp);
    unsigned open = 0;

    if (!l)
        return;
    run_graves(l);
    uv_close((uv_handle_t *)&l->timer, NULL);
    uv_close((uv_handle_t *)&l->turn, NULL);
    uv_walk(&l->uv, count_open, &open);
    CHECK(open == 0);                           /* somebody left a handle open */
    while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0) /* twice after a loop_stop() that nobody ran into */
        ;
    run_graves(l);
    CHECK(uv_loop_close(&l->uv) == 0);
    deadlines_destroy(&l->deadlines);
    mem_free(l->read_buffer);
    mem_free(l);
}

void loop_run(struct loop *l)
{
    l->stopped = false;
    l->now_us = l->wall_us = 0;
    while (!l->stopped)
        uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
    l->stopped = true;
    uv_stop(&l->uv);
}

uint64_t loop_now_us(struct loop *l)
{
    if (l->now_us == 0)
        l->now_us = clock_us(CLOCK_MONOTONIC);
    return l->now_us;
}

uint64_t loop_now_ms(struct loop *l) { return loop_now_us(l) / 1000; }

uint64_t loop_late_ms(const struct loop *l) { return l->late_ms; }

uint64_t loop_fresh_us(struct loop *l)
{
    (void)l;
    return clock_us(CLOCK_MONOTONIC);
}

uint64_t loop_wall_us(struct loop *l)
{
    if (l->wall_us == 0)
        l->wall_us = clock_us(CLOCK_REALTIME);
    return l->wall_us;
}

void loop_bury(struct loop *l, struct grave *g, void (*fn)(struct grave *g))
{
    g->fn = fn;
    list_init(&g->node);
    list_append(&l->graves, &g->node);
}

void loop_settle(struct loop *l) { run_graves(l); }

void loop_on_turn(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    l->turn_fn = fn;
    l->turn_ctx = ctx;
}

void loop_set_user(struct loop *l, void *user) { l->user = user; }

void *loop_user(const struct loop *l) { return l->user; }

struct deadlines *loop_deadlines(struct loop *l) { return l->deadlines; }

void loop_wake_at(struct loop *l, uint64_t due_ms)
{
    uint64_t now;

    if (due_ms >= l->timer_ms)
        return;
    now = clock_us(CLOCK_MONOTONIC) / 1000;
    l->timer_ms = due_ms;
    uv_update_time(&l->uv);
    /* + 1: libuv's clock and ours are cut to whole milliseconds at different moments. */
    CHECK(uv_timer_start(&l->timer, on_timer, due_ms > now ? due_ms - now + 1 : 0, 0) == 0);
}

uv_loop_t *loop_uv(struct loop *l) { return &l->uv; }

char *loop_read_buffer(struct loop *l) { return l->read_buffer; }

int loop_err(int uv_status)
{
    if (uv_status >= 0)
        return 0;
    return uv_status == UV_EOF ? -E_EOF : err_sys(-uv_status);
}
