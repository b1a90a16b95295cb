/* SPDX-License-Identifier: Apache-2.0
 *
 * child.c - the parent's side of a child process; see child.h. Thread: the loop's, which forks.
 *
 * Three descriptors tell about a child: the status pipe (closed by exec, or holding the reason why
 * there was none), the pidfd (readable when it ended) and, if its output is captured, two pipes.
 * The pipes are read to their end whatever happens: a child is never stopped by our not reading,
 * only slowed to one buffer a turn.
 *
 * Exports: child_ reaper_
 */
#include "ev/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "ev/child_priv.h"
#include "ev/thread.h"
#include "ev/uv_priv.h"
#include "ev/watch_priv.h"

enum {
    FIRST_FREE_FD = 16,    /* descriptors for the child live above the numbers they get there */
    LAST_WORDS_READS = 16, /* buffers read from a pipe before on_exit; a pipe holds one */
};

struct child {
    struct loop *loop;
    const struct child_ops *ops;
    void *ctx;
    struct grave grave;
    struct list node; /* in `started` */
    pid_t pid;
    int pidfd, status_fd, out_fd[CHILD_STREAMS];
    struct watch *exit_watch, *status_watch, *out_watch[CHILD_STREAMS];
    struct child_failure failure; /* step is -1: none */
    int oom_score_adj;            /* to add once the program runs */
    bool exited, closed;
};

/* Waiting for children is the process's, not a loop's: who was started here and is not reaped yet.
 */
static struct list started = {&started, &started};
static bool reaping; /* there is a reaper */

static const char *const steps[] = {
#define CHILD_STEP_AS_TEXT(name, text) [name] = text,
    CHILD_STEPS(CHILD_STEP_AS_TEXT)};

static void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Above the numbers that the child will give out; closes what it was given. */
static int lift(int *fd)
{
    int high = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);

    if (high < 0)
        return err_sys(errno);
    fd_close(fd);
    *fd = high;
    return 0;
}

/* Our end is non-blocking, the child's is not: that would be its surprise. */
static int pipe_for(int *ret_read, int *ret_write)
{
    int fd[2], r;

    if (pipe2(fd, O_CLOEXEC) < 0)
        return err_sys(errno);
    *ret_read = fd[0];
    *ret_write = fd[1];
    if (fcntl(fd[0], F_SETFL, O_NONBLOCK) < 0)
        return err_sys(errno);
    r = lift(ret_write);
    return r;
}

static void plan_close(struct child_plan *p)
{
    fd_close(&p->status_fd);
    fd_close(&p->stdin_fd);
    fd_close(&p->out_fd[0]);
    fd_close(&p->out_fd[1]);
    fd_close(&p->pass_fd);
}

static int plan_open(struct child *c, const struct child_conf *conf, struct child_plan *p)
{
    int r = pipe_for(&c->status_fd, &p->status_fd);

    for (int i = 0; r == 0 && conf->capture && i < CHILD_STREAMS; i++)
        r = pipe_for(&c->out_fd[i], &p->out_fd[i]);
    if (r < 0)
        return r;
    p->stdin_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (p->stdin_fd < 0)
        return err_sys(errno);
    r = lift(&p->stdin_fd);
    if (r == 0 && conf->pass) {
        p->pass_fd = fcntl(conf->pass->fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        r = p->pass_fd < 0 ? err_sys(errno) : 0;
    }
    return r;
}

/* Every signal is blocked across the fork: the child must not run our handlers. */
static int spawn(struct child *c, const struct child_plan *plan)
{
    sigset_t all, before;
    pid_t pid;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        child_exec(plan);
    r = pid < 0 ? err_sys(errno) : 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r < 0)
        return r;
    c->pid = pid;
    c->pidfd = pidfd_open(pid, 0); /* nobody else reaps, so the pid is still this child's */
    return c->pidfd < 0 ? err_sys(errno) : 0;
}

static void on_status(void *ctx, int ready)
{
    struct child *c = ctx;
    ssize_t n = read(c->status_fd, &c->failure, sizeof c->failure);

    (void)ready;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    watch_close(&c->status_watch);
    fd_close(&c->status_fd);
    if (n == (ssize_t)sizeof c->failure)
        return; /* on_exit tells */
    c->failure.step = -1;
    if (c->oom_score_adj) {
        char path[40], text[16];
        int fd;

        (void)snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)c->pid);
        (void)snprintf(text, sizeof text, "%d", c->oom_score_adj);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
            ssize_t ignored = write(fd, text, strlen(text));

            (void)ignored; /* "where the system allows it" */
            close(fd);
        }
    }
    c->ops->on_running(c->ctx);
}

/* One buffer from a pipe; false when there is nothing more now. */
static bool read_output(struct child *c, enum child_stream s)
{
    char *p = loop_read_buffer(c->loop);
    ssize_t n = read(c->out_fd[s], p, LOOP_READ_BYTES);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        watch_close(&c->out_watch[s]);
        fd_close(&c->out_fd[s]);
        n = 0;
    }
    c->ops->on_output(c->ctx, s, str_span(p, (size_t)n));
    return n > 0 && !c->closed;
}

static void on_stdout(void *ctx, int ready)
{
    (void)ready;
    (void)read_output(ctx, CHILD_STDOUT);
}

static void on_stderr(void *ctx, int ready)
{
    (void)ready;
    (void)read_output(ctx, CHILD_STDERR);
}

static void on_pidfd(void *ctx, int ready)
{
    struct child *c = ctx;
    struct child_exit how = {.how = CHILD_EXITED};
    siginfo_t info = {.si_pid = 0};

    (void)ready;
    if (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
        return;
    if (c->status_watch)
        on_status(c, WATCH_READ); /* what happened first is told first */
    for (int s = 0; s < CHILD_STREAMS && !c->closed; s++)
        for (int i = 0; i < LAST_WORDS_READS && c->out_fd[s] >= 0; i++)
            if (!read_output(c, (enum child_stream)s))
                break;
    if (c->closed)
        return;
    watch_close(&c->exit_watch);
    c->exited = true;
    how.code = info.si_status;
    if (c->failure.step >= 0)
        how = (struct child_exit){CHILD_NOT_RUN, c->failure.code,
                                  steps[min_size((size_t)c->failure.step, CHILD_STEP_EXEC)]};
    else if (info.si_code != CLD_EXITED)
        how.how = CHILD_KILLED;
    c->ops->on_exit(c->ctx, &how);
}

static int watch_all(struct child *c)
{
    static watch_fn *const fns[CHILD_STREAMS] = {on_stdout, on_stderr};
    int r = watch_start(c->loop, c->pidfd, WATCH_READ, on_pidfd, c, &c->exit_watch);

    if (r == 0)
        r = watch_start(c->loop, c->status_fd, WATCH_READ, on_status, c, &c->status_watch);
    for (int s = 0; r == 0 && s < CHILD_STREAMS; s++)
        if (c->out_fd[s] >= 0)
            r = watch_start(c->loop, c->out_fd[s], WATCH_READ, fns[s], c, &c->out_watch[s]);
    return r;
}

static void on_grave(struct grave *g) { mem_free(container_of(g, struct child, grave)); }

static void child_destroy(struct child *c)
{
    c->closed = true;
    list_remove(&c->node);
    watch_close(&c->exit_watch);
    watch_close(&c->status_watch);
    fd_close(&c->status_fd);
    fd_close(&c->pidfd);
    for (int s = 0; s < CHILD_STREAMS; s++) {
        watch_close(&c->out_watch[s]);
        fd_close(&c->out_fd[s]);
    }
    loop_bury(c->loop, &c->grave, on_grave);
}

/* What it adds to, once for all: our own. */
static int own_oom_score_adj(void)
{
    char text[16];
    int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
    struct str line = str_span(text, n > 0 ? (size_t)n : 0);
    bool minus = str_starts(line, STR("-"));
    uint64_t v;

    if (fd >= 0)
        close(fd);
    line = str_head(line, str_find(line, '\n'));
    if (!str_u64(minus ? str_from(line, 1) : line, &v) || v > 1000)
        return 0;
    return minus ? -(int)v : (int)v;
}

int child_start(struct loop *l, const struct child_conf *conf, const struct child_ops *ops,
                void *ctx, struct child **ret)
{
    struct child *c = xnew(struct child, .loop = l, .ops = ops, .ctx = ctx, .pidfd = -1,
                           .status_fd = -1, .out_fd = {-1, -1}, .failure = {.step = -1});
    struct child_plan plan = {conf, getpid(), -1, -1, {-1, -1}, -1};
    int r = plan_open(c, conf, &plan);

    list_init(&c->node);
    list_append(&started, &c->node);
    if (conf->oom_score_adj) {
        int score = own_oom_score_adj() + conf->oom_score_adj;

        c->oom_score_adj = score > 1000 ? 1000 : score < -1000 ? -1000 : score;
    }
    if (r == 0)
        r = spawn(c, &plan);
    plan_close(&plan);
    if (r == 0)
        r = watch_all(c);
    if (r < 0) {
        if (c->pid > 0) { /* it has hardly begun, so this does not take long */
            (void)kill(c->pid, SIGKILL);
            while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        }
        child_destroy(c);
        return r;
    }
    *ret = c;
    return 0;
}

pid_t child_pid(const struct child *c) { return c->pid; }

void child_signal(struct child *c, int signo) { (void)pidfd_send_signal(c->pidfd, signo, NULL, 0); }

void child_signal_group(struct child *c, int signo)
{
    /* Not reaped yet, so the group's number is still its own. Before its setsid() there is no such
     * group: then the process itself is all there is. */
    if (kill(-c->pid, signo) < 0)
        child_signal(c, signo);
}

bool child_exited(const struct child *c) { return c->exited; }

struct reaper {
    struct signal_watch *watch;
};

static bool started_by_us(pid_t pid)
{
    struct child *c;

    list_each(c, &started, node) if (c->pid == pid) return true;
    return false;
}

/* Ends adopted zombies. Those that we started are child_close()'s; while one of them waits for that
 * it may stand in front of others, so child_close() calls this, too. */
static void reap_adopted(void)
{
    siginfo_t info = {.si_pid = 0};

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0 &&
           !started_by_us(info.si_pid)) {
        (void)waitid(P_PID, (id_t)info.si_pid, &info, WEXITED | WNOHANG);
        info.si_pid = 0;
    }
}

void child_close(struct child **cp)
{
    struct child *c = TAKE(cp);
    siginfo_t info;

    if (!c)
        return;
    CHECK(c->exited);
    (void)waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG);
    child_destroy(c);
    if (reaping)
        reap_adopted();
}

void child_abandon(struct child **cp)
{
    struct child *c = TAKE(cp);

    if (c)
        child_destroy(c);
}

static void on_sigchld(void *ctx, int signo)
{
    (void)ctx;
    (void)signo;
    reap_adopted();
}

int reaper_start(struct loop *l, struct reaper **ret)
{
    struct reaper *r = xnew(struct reaper);
    int err = prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ? err_sys(errno) : 0;

    if (err == 0)
        err = signal_watch_start(l, SIGCHLD, on_sigchld, NULL, &r->watch);
    if (err < 0) {
        mem_free(r);
        return err;
    }
    reaping = true;
    *ret = r;
    return 0;
}

void reaper_close(struct reaper **rp)
{
    struct reaper *r = TAKE(rp);

    if (!r)
        return;
    reaping = false;
    signal_watch_close(&r->watch);
    mem_free(r);
}
