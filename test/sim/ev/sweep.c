/* SPDX-License-Identifier: Apache-2.0
 *
 * sweep.c - sweeps over the simulated world's processes, with the rounds and times of the real one.
 */
#include "ev/sweep.h"

#include <signal.h>

#include "base/mem.h"
#include "ev/deadline.h"
#include "sim/ev/fake.h"
#include "sim/process.h"

enum { TARGETS_MAX = 64, KILL_MS = 1000, ROUNDS_MAX = 8 };

struct sweep {
    struct source source;
    struct deadline deadline;
    char *prefix;
    unsigned grace_ms, round, ended;
    bool killing, begun;
    sweep_spare_fn *spare;
    sweep_done_fn *done;
    void *ctx;
    pid_t targets[TARGETS_MAX];
    unsigned n;
};

static struct sweep *sweep_of(struct source *s) { return container_of(s, struct sweep, source); }

static uint64_t sweep_next_us(struct source *source)
{
    struct sweep *s = sweep_of(source);
    uint64_t last = 0;

    if (!s->begun)
        return UINT64_MAX;
    for (unsigned i = 0; i < s->n; i++) {
        uint64_t ends = process_ends_us(s->targets[i]);

        last = ends > last ? ends : last;
    }
    return last;
}

static bool sweep_ready(struct source *s) { return sweep_next_us(s) <= world_now_us(); }

static void sweep_close(struct sweep *s)
{
    deadline_stop(&s->deadline);
    mem_free(s->prefix);
    source_close(&s->source);
}

static void finish(struct sweep *s, unsigned left)
{
    sweep_done_fn *done = s->done;
    void *ctx = s->ctx;
    unsigned ended = s->ended;

    sweep_close(s);
    done(ctx, ended, left);
}

static void signal_all(struct sweep *s, int signo)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct process *p = process_find(s->targets[i]);

        if (p)
            process_signal(p, signo);
    }
}

static void on_deadline(struct deadline *d)
{
    struct sweep *s = container_of(d, struct sweep, deadline);
    unsigned left = 0;

    if (!s->killing) {
        s->killing = true;
        signal_all(s, SIGKILL);
        deadline_arm(s->source.loop, &s->deadline, KILL_MS, on_deadline);
        return;
    }
    for (unsigned i = 0; i < s->n; i++)
        left += process_find(s->targets[i]) != NULL;
    s->ended += s->n - left;
    finish(s, left);
}

static void scan(struct sweep *s)
{
    s->n = 0;
    for (struct process *p = NULL; (p = process_next(p));) {
        struct str mark = process_mark(p);

        if (!str_starts(mark, str_of(s->prefix)) || (s->spare && s->spare(s->ctx, mark)))
            continue;
        CHECK(s->n < TARGETS_MAX);
        s->targets[s->n++] = process_pid(p);
    }
}

static void start_round(struct sweep *s)
{
    deadline_stop(&s->deadline);
    if (s->round == ROUNDS_MAX) {
        finish(s, 1);
        return;
    }
    s->begun = true;
    s->killing = s->round++ > 0 || s->grace_ms == 0;
    scan(s);
    if (s->n == 0) {
        finish(s, 0);
        return;
    }
    signal_all(s, s->killing ? SIGKILL : SIGTERM);
    deadline_arm(s->source.loop, &s->deadline, s->killing ? KILL_MS : s->grace_ms, on_deadline);
}

static void sweep_fire(struct source *source)
{
    struct sweep *s = sweep_of(source);

    s->ended += s->n;
    start_round(s);
}

static const struct source_ops sweep_ops = {"sweep", sweep_ready, sweep_fire, sweep_next_us};

static void on_first(struct deadline *d) { start_round(container_of(d, struct sweep, deadline)); }

void sweep_start(struct loop *l, struct str prefix, unsigned grace_ms, sweep_spare_fn *spare,
                 sweep_done_fn *done, void *ctx, struct sweep **ret)
{
    struct sweep *s = xnew(struct sweep, .grace_ms = grace_ms, .spare = spare, .done = done,
                           .ctx = ctx, .prefix = str_dup(prefix));

    CHECK(prefix.n > 0);
    source_open(l, &s->source, &sweep_ops);
    deadline_arm(l, &s->deadline, 1, on_first);
    *ret = s;
}

void sweep_cancel(struct sweep **sp)
{
    struct sweep *s = TAKE(sp);

    if (s)
        sweep_close(s);
}
