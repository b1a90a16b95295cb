/* SPDX-License-Identifier: Apache-2.0
 *
 * sweep.c - see sweep.h. One round: look through /proc, hold a pidfd of every match (opened before
 * its environment is read, so what is signalled is what was read), TERM all, wait for the pidfds,
 * KILL after the grace. Rounds follow until one finds nothing; from the second on, and without a
 * grace, it is KILL at once.
 */
#include "ev/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/watch_priv.h"

enum {
    KILL_MS = 1000,        /* for the kernel to end a process that was killed */
    ROUNDS_MAX = 8,        /* against something that forks faster than we look */
    ENVIRON_MAX = 4 << 20, /* bytes of one environment that are looked at */
    TARGETS_MAX = 1024,    /* in one round; the rest in the next */
};

struct target {
    struct list node;
    struct sweep *sweep;
    struct watch *watch;
    int pidfd;
};

struct sweep {
    struct loop *loop;
    struct grave grave;
    struct deadline deadline;
    struct list targets; /* not gone yet */
    sweep_spare_fn *spare;
    sweep_done_fn *done;
    void *ctx;
    char *prefix;
    unsigned grace_ms, round, ended;
    bool killing;
};

static void start_round(struct sweep *s);

static void target_destroy(struct target *t)
{
    list_remove(&t->node);
    watch_close(&t->watch);
    close(t->pidfd);
    mem_free(t);
}

static void on_grave(struct grave *g)
{
    struct sweep *s = container_of(g, struct sweep, grave);

    mem_free(s->prefix);
    mem_free(s);
}

static void sweep_bury(struct sweep *s)
{
    struct target *t;

    deadline_stop(&s->deadline);
    list_each(t, &s->targets, node) target_destroy(t);
    loop_bury(s->loop, &s->grave, on_grave);
}

static void finish(struct sweep *s, unsigned left)
{
    sweep_done_fn *done = s->done;
    void *ctx = s->ctx;
    unsigned ended = s->ended;

    sweep_bury(s);
    done(ctx, ended, left);
}

/* The value of the mark in an environment block, or STR_NONE. */
static struct str find_mark(struct str env)
{
    while (env.n) {
        struct str entry = str_cut(&env, '\0');

        if (str_starts(entry, STR(SWEEP_MARK "=")))
            return str_from(entry, sizeof SWEEP_MARK);
    }
    return STR_NONE;
}

static bool read_environ(pid_t pid, struct buf *env)
{
    char path[64];
    int fd;
    ssize_t n = 1;

    buf_clear(env);
    (void)snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (n > 0) {
        char *room = buf_reserve(env, 16384);

        n = room ? read(fd, room, 16384) : 0;
        env->n += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    return env->n > 0;
}

static void on_target_gone(void *ctx, int ready)
{
    struct target *t = ctx;
    struct sweep *s = t->sweep;

    (void)ready;
    target_destroy(t);
    s->ended++;
    if (list_empty(&s->targets))
        start_round(s);
}

/* Holds the process if it carries the mark. */
static bool take_target(struct sweep *s, const char *name, struct buf *env)
{
    uint64_t pid;
    struct str mark;
    struct target *t;
    int fd;

    if (!str_u64(str_of(name), &pid) || pid > INT32_MAX || (pid_t)pid == getpid())
        return false;
    fd = pidfd_open((pid_t)pid, 0);
    if (fd < 0)
        return false;
    mark = read_environ((pid_t)pid, env) ? find_mark(buf_str(env)) : STR_NONE;
    if (!mark.n || !str_starts(mark, str_of(s->prefix)) || (s->spare && s->spare(s->ctx, mark))) {
        close(fd);
        return false;
    }
    t = xnew(struct target, .sweep = s, .pidfd = fd);
    list_init(&t->node);
    if (watch_start(s->loop, fd, WATCH_READ, on_target_gone, t, &t->watch) < 0) {
        close(fd); /* out of descriptors: the next round finds it again */
        mem_free(t);
        return false;
    }
    list_append(&s->targets, &t->node);
    return true;
}

static void scan(struct sweep *s)
{
    struct buf env = buf_make(ENVIRON_MAX);
    DIR *proc = opendir("/proc");
    struct dirent *e;
    uid_t own = geteuid();
    unsigned found = 0;

    while (proc && found < TARGETS_MAX && (e = readdir(proc))) {
        struct stat st;

        if (e->d_name[0] < '1' || e->d_name[0] > '9')
            continue;
        if (own != 0 && (fstatat(dirfd(proc), e->d_name, &st, 0) < 0 || st.st_uid != own))
            continue;
        found += take_target(s, e->d_name, &env);
    }
    if (proc)
        closedir(proc);
    buf_fini(&env);
}

static void signal_all(struct sweep *s, int signo)
{
    struct target *t;

    list_each(t, &s->targets, node)(void) pidfd_send_signal(t->pidfd, signo, NULL, 0);
}

static void on_deadline(struct deadline *d)
{
    struct sweep *s = container_of(d, struct sweep, deadline);
    struct target *t;
    unsigned left = 0;

    if (!s->killing) {
        s->killing = true;
        signal_all(s, SIGKILL);
        deadline_arm(s->loop, &s->deadline, KILL_MS, on_deadline);
        return;
    }
    list_each(t, &s->targets, node) left++;
    finish(s, left); /* in the kernel's hands, or of another user */
}

static void start_round(struct sweep *s)
{
    deadline_stop(&s->deadline);
    if (s->round == ROUNDS_MAX) {
        finish(s, 1);
        return;
    }
    s->killing = s->round++ > 0 || s->grace_ms == 0;
    scan(s);
    if (list_empty(&s->targets)) {
        finish(s, 0);
        return;
    }
    signal_all(s, s->killing ? SIGKILL : SIGTERM);
    deadline_arm(s->loop, &s->deadline, s->killing ? KILL_MS : s->grace_ms, on_deadline);
}

static void on_first(struct deadline *d) { start_round(container_of(d, struct sweep, deadline)); }

void sweep_start(struct loop *l, struct str prefix, unsigned grace_ms, sweep_spare_fn *spare,
                 sweep_done_fn *done, void *ctx, struct sweep **ret)
{
    struct sweep *s = xnew(struct sweep, .loop = l, .spare = spare, .done = done, .ctx = ctx,
                           .grace_ms = grace_ms, .prefix = str_dup(prefix));

    CHECK(prefix.n > 0);
    list_init(&s->targets);
    deadline_arm(l, &s->deadline, 1, on_first);
    *ret = s;
}

void sweep_cancel(struct sweep **sp)
{
    struct sweep *s = TAKE(sp);

    if (s)
        sweep_bury(s);
}
