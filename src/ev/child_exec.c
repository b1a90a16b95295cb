/* SPDX-License-Identifier: Apache-2.0
 *
 * child_exec.c - from fork to exec: async-signal-safe calls only, because other threads of the
 * parent may have held any lock at the fork. A step that fails is written to the status pipe and
 * ends the process; a pipe that closes without a word means that the program runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ev/child_priv.h"

NORETURN static void fail(const struct child_plan *p, enum child_step step)
{
    struct child_failure f = {(int)step, errno};
    ssize_t ignored = write(p->status_fd, &f, sizeof f);

    (void)ignored;
    _exit(127);
}

/* libc keeps two real-time signals to itself and refuses them: the kernel is asked directly, or
 * they would stay ignored if whoever started us ignored them. All zero is the default action. */
static void default_signals(void)
{
    static const unsigned long raw[8];
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int s = 1; s < NSIG; s++)
        if (sigaction(s, &dfl, NULL) < 0)
            (void)syscall(SYS_rt_sigaction, s, raw, NULL, NSIG / 8); /* KILL and STOP refuse */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The kernel's last word on the parent; forgotten at a change of user, so it is said twice. */
static void die_with_parent(const struct child_plan *p)
{
    (void)prctl(PR_SET_PDEATHSIG, p->conf->death_signal ? p->conf->death_signal : SIGKILL);
    if (getppid() != p->parent) /* it was gone before we asked */
        _exit(127);
}

static void wire_files(const struct child_plan *p)
{
    int at[4] = {p->stdin_fd, p->out_fd[0], p->out_fd[1], p->pass_fd};

    for (int i = 0; i < 4; i++)
        if (at[i] >= 0 && dup2(at[i], i) < 0)
            fail(p, CHILD_STEP_FILES);
    /* Ours are close-on-exec already; this is for what libraries opened. Older kernels lack it. */
    (void)syscall(SYS_close_range, p->pass_fd >= 0 ? 4U : 3U, ~0U, CLOSE_RANGE_CLOEXEC);
}

static void set_limits(const struct child_plan *p)
{
    struct rlimit none = {0, 0}, files;

    if (setrlimit(RLIMIT_CORE, &none) < 0)
        fail(p, CHILD_STEP_LIMITS);
    if (p->conf->nofile == 0)
        return;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        fail(p, CHILD_STEP_LIMITS);
    files.rlim_cur = p->conf->nofile < files.rlim_max ? p->conf->nofile : files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        fail(p, CHILD_STEP_LIMITS);
}

static void become(const struct child_plan *p, const struct child_user *u)
{
    /* Raw system calls: libc's broadcast to threads that do not exist here. */
    if (syscall(SYS_setgroups, u->groups_n, u->groups) < 0 ||
        syscall(SYS_setresgid, u->gid, u->gid, u->gid) < 0 ||
        syscall(SYS_setresuid, u->uid, u->uid, u->uid) < 0)
        fail(p, CHILD_STEP_USER);
    die_with_parent(p);
}

void child_exec(const struct child_plan *p)
{
    const struct child_conf *c = p->conf;

    die_with_parent(p);
    if (setsid() < 0)
        fail(p, CHILD_STEP_SESSION);
    wire_files(p);
    (void)umask((mode_t)c->umask);
    set_limits(p);
    if (c->user)
        become(p, c->user);
    if (c->work_dir && chdir(c->work_dir) < 0)
        fail(p, CHILD_STEP_DIR);
    default_signals();
    (void)execve(c->file, (char *const *)(uintptr_t)c->argv, (char *const *)(uintptr_t)c->env);
    fail(p, CHILD_STEP_EXEC);
}
