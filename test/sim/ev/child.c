/* SPDX-License-Identifier: Apache-2.0
 *
 * child.c - processes of the simulated world, see sim/process.h, and struct child over them. Like
 * the kernel, it tells of an exec, of an exit and of the ends of two pipes in any order in which
 * they can be seen, but of the exec first.
 */
#include "ev/child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/mem.h"
#include "ev/sweep.h"
#include "sim/ev/fake.h"
#include "sim/process.h"

enum { FIRST_PID = 1000, MARK_MAX = 512, UNITS_MAX = 128 };

struct process {
    struct list node;
    pid_t pid;
    pid_t group; /* pid of its leader */
    pid_t pipes; /* whose pipes it holds; 0: nobody's */
    uint64_t ends_us;
    struct child_exit how;
    struct process_plan plan;
    bool leader, frozen, term_pending;
    char mark[MARK_MAX]; /* "": none */
};

struct child {
    struct source source;
    const struct child_ops *ops;
    void *ctx;
    pid_t pid;
    uint64_t exec_us;
    bool running_told, exit_told, end_told[CHILD_STREAMS], said;
    const char *says;
};

static struct {
    struct list processes; /* dead ones, too, until process_end() */
    process_plan_fn *plan;
    pid_t last_pid;
    int refuse;
    struct {
        char name[MARK_MAX];
        unsigned starts;
    } units[UNITS_MAX];
} world_of;

/* ---- processes ---- */

static bool lives(const struct process *p) { return p->ends_us > world_now_us(); }

void process_begin(process_plan_fn *plan)
{
    memset(&world_of, 0, sizeof world_of);
    list_init(&world_of.processes);
    world_of.plan = plan;
    world_of.last_pid = FIRST_PID;
}

void process_end(void)
{
    struct process *p;

    CHECK(process_alive() == 0);
    list_each(p, &world_of.processes, node)
    {
        list_remove(&p->node);
        mem_free(p);
    }
}

void process_refuse(int err) { world_of.refuse = err; }

static struct process *add_process(const char *mark)
{
    struct process *p = xnew(struct process, .pid = ++world_of.last_pid, .ends_us = UINT64_MAX);

    CHECK(strlen(mark) < sizeof p->mark);
    memcpy(p->mark, mark, strlen(mark) + 1);
    p->group = p->pid;
    list_init(&p->node);
    list_append(&world_of.processes, &p->node);
    return p;
}

void process_leave(const char *mark, bool deaf) { add_process(mark)->plan.deaf = deaf; }

struct process *process_next(struct process *p)
{
    struct list *at = p ? p->node.next : world_of.processes.next;

    for (; at != &world_of.processes; at = at->next) {
        p = list_entry(at, struct process, node);
        if (lives(p))
            return p;
    }
    return NULL;
}

pid_t process_pid(const struct process *p) { return p->pid; }

struct str process_mark(const struct process *p) { return str_of(p->mark); }

struct process *process_find(pid_t pid)
{
    struct process *p = NULL;

    while ((p = process_next(p)))
        if (p->pid == pid)
            return p;
    return NULL;
}

uint64_t process_ends_us(pid_t pid)
{
    struct process *p = process_find(pid);

    return p ? p->ends_us : 0;
}

/* "instance/unit/nonce" */
static struct str unit_of(struct str mark)
{
    (void)str_cut(&mark, '/');
    return str_cut(&mark, '/');
}

unsigned process_alive(void)
{
    unsigned n = 0;

    for (struct process *p = NULL; (p = process_next(p));)
        n++;
    return n;
}

unsigned process_alive_of(struct str unit, bool leaders)
{
    unsigned n = 0;

    for (struct process *p = NULL; (p = process_next(p));)
        n += p->leader == leaders && str_eq(unit_of(str_of(p->mark)), unit);
    return n;
}

static void ends_in(struct process *p, uint32_t ms, struct child_exit how)
{
    uint64_t at = world_now_us() + (uint64_t)ms * 1000;

    if (at >= p->ends_us)
        return;
    p->ends_us = at;
    p->how = how;
    world_note("process %d will end in %u ms", (int)p->pid, ms);
}

void process_dies(pid_t pid, struct child_exit how)
{
    struct process *p = process_find(pid);

    CHECK(p);
    ends_in(p, 0, how);
}

void process_freezes(pid_t pid)
{
    struct process *p = process_find(pid);

    CHECK(p);
    p->frozen = true;
}

void process_signal(struct process *p, int signo)
{
    world_note("process %d gets signal %d", (int)p->pid, signo);
    if (signo == SIGCONT) {
        p->frozen = false;
        signo = p->term_pending ? SIGTERM : 0;
    }
    if (signo == SIGTERM && p->frozen)
        p->term_pending = true;
    else if (signo == SIGTERM && !p->plan.deaf)
        ends_in(p, p->plan.term_ms, (struct child_exit){CHILD_KILLED, SIGTERM, NULL});
    else if (signo == SIGKILL)
        ends_in(p, p->plan.kill_ms, (struct child_exit){CHILD_KILLED, SIGKILL, NULL});
}

/* ---- what can be seen of a child ---- */

static struct child *child_of(struct source *s) { return container_of(s, struct child, source); }

/* Alive or not. */
static struct process *leader_of(const struct child *c)
{
    struct process *p;

    list_each(p, &world_of.processes, node) if (p->pid == c->pid) return p;
    CHECK(!"a child has a process");
}

/* When the last one that holds its pipes ends. */
static uint64_t pipes_end_us(const struct child *c)
{
    uint64_t last = 0;
    struct process *p;

    list_each(p, &world_of.processes, node) if (p->pipes == c->pid && p->ends_us > last) last =
        p->ends_us;
    return last;
}

/* When the exec shows: never if the process ended before or cannot be executed. */
static uint64_t running_us(const struct child *c)
{
    const struct process *p = leader_of(c);

    return c->running_told || p->plan.not_run || p->ends_us <= c->exec_us ? UINT64_MAX : c->exec_us;
}

static uint64_t child_next_us(struct source *s)
{
    const struct child *c = child_of(s);
    uint64_t next = running_us(c);

    if (next != UINT64_MAX)
        return next; /* first of all */
    if (!c->exit_told)
        next = leader_of(c)->ends_us;
    for (int i = 0; i < CHILD_STREAMS; i++)
        if (!c->end_told[i])
            next = min_u64(next, pipes_end_us(c));
    return next;
}

static bool child_ready(struct source *s) { return child_next_us(s) <= world_now_us(); }

static void tell_running(struct child *c)
{
    c->running_told = true;
    if (c->says)
        c->ops->on_output(c->ctx, CHILD_STDOUT, str_of(c->says));
    if (!c->source.closed)
        c->ops->on_running(c->ctx);
}

static void tell_exit(struct child *c)
{
    const struct child_exit how = leader_of(c)->how;

    c->exit_told = true;
    c->ops->on_exit(c->ctx, &how);
}

static void child_fire(struct source *s)
{
    struct child *c = child_of(s);
    uint64_t now = world_now_us();
    bool exits = !c->exit_told && leader_of(c)->ends_us <= now;
    bool closes = pipes_end_us(c) <= now;

    if (running_us(c) <= now) {
        tell_running(c);
        return;
    }
    for (int i = 0; i < CHILD_STREAMS; i++) {
        if (!closes || c->end_told[i] || (exits && world_chance(30)))
            continue;
        c->end_told[i] = true;
        c->ops->on_output(c->ctx, (enum child_stream)i, STR_NONE);
        return;
    }
    if (exits)
        tell_exit(c);
}

static const struct source_ops child_source_ops = {"child", child_ready, child_fire, child_next_us};

/* ---- the header's ---- */

static const char *mark_in(const char *const *env)
{
    for (; *env; env++)
        if (str_starts(str_of(*env), STR(SWEEP_MARK "=")))
            return *env + sizeof SWEEP_MARK;
    return "";
}

static unsigned count_start(struct str unit)
{
    for (unsigned i = 0; i < UNITS_MAX; i++) {
        if (!world_of.units[i].name[0])
            memcpy(world_of.units[i].name, unit.p, min_size(unit.n, MARK_MAX - 1));
        if (str_eq(str_of(world_of.units[i].name), unit))
            return ++world_of.units[i].starts;
    }
    CHECK(!"room for so many units");
}

static void add_stray(const struct process *leader, const struct process_stray *stray)
{
    struct process *p;

    if (!stray->is)
        return;
    p = add_process(stray->marked ? leader->mark : "");
    p->plan.deaf = stray->deaf;
    p->pipes = stray->holds_pipes ? leader->pid : 0;
    p->group = stray->in_group ? leader->pid : p->pid;
}

int child_start(struct loop *l, const struct child_conf *conf, const struct child_ops *ops,
                void *ctx, struct child **ret)
{
    struct child *c;
    struct process *p;

    CHECK(conf->file && conf->argv[0]);
    if (world_of.refuse)
        return world_of.refuse;
    p = add_process(mark_in(conf->env));
    p->leader = true;
    p->pipes = p->pid;
    world_of.plan(unit_of(str_of(p->mark)), count_start(unit_of(str_of(p->mark))), &p->plan);
    c = xnew(struct child, .ops = ops, .ctx = ctx, .pid = p->pid, .says = p->plan.says);
    c->exec_us = world_now_us() + (uint64_t)p->plan.exec_ms * 1000 + world_between(100, 900);
    if (p->plan.not_run) {
        p->ends_us = c->exec_us;
        p->how = (struct child_exit){CHILD_NOT_RUN, p->plan.not_run, "exec"};
    } else if (p->plan.ends_ms) {
        p->ends_us = c->exec_us + (uint64_t)p->plan.ends_ms * 1000;
        p->how = p->plan.how;
    }
    add_stray(p, &p->plan.stray);
    source_open(l, &c->source, &child_source_ops);
    world_note("process %d of %s starts", (int)p->pid, p->mark);
    *ret = c;
    return 0;
}

pid_t child_pid(const struct child *c) { return c->pid; }

void child_signal(struct child *c, int signo)
{
    struct process *p = process_find(c->pid);

    if (p)
        process_signal(p, signo);
}

void child_signal_group(struct child *c, int signo)
{
    for (struct process *p = NULL; (p = process_next(p));)
        if (p->group == c->pid)
            process_signal(p, signo);
}

bool child_exited(const struct child *c) { return c->exit_told; }

/* Nobody asks for the dead any more, and a long life has many. */
static void forget_dead(pid_t pid)
{
    struct process *p;

    list_each(p, &world_of.processes, node)
    {
        if (lives(p) || (p->pid != pid && p->pipes != pid))
            continue;
        list_remove(&p->node);
        mem_free(p);
    }
}

void child_close(struct child **cp)
{
    struct child *c = TAKE(cp);

    if (!c)
        return;
    CHECK(c->exit_told);
    forget_dead(c->pid);
    source_close(&c->source);
}

void child_abandon(struct child **cp)
{
    struct child *c = TAKE(cp);

    if (c)
        source_close(&c->source);
}
