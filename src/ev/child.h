/* SPDX-License-Identifier: Apache-2.0
 *
 * child.h - one child process: its own session and group, killed when we die, every descriptor
 * closed but the ones given, default signals, no core files. We fork and exec ourselves (libuv's
 * spawn has no parent-death signal, limits or descriptor hygiene), from the one thread that lives
 * as long as the process: the parent-death signal follows the forking thread.
 *
 * The end is noticed by pidfd. An ended child stays a zombie until child_close(), so its pid and
 * group cannot be reused while somebody may still signal them.
 */
#pragma once
#include "ev/loop.h"
#include "ev/stream.h"

struct child; /* opaque */

enum child_stream { CHILD_STDOUT, CHILD_STDERR, CHILD_STREAMS };

enum child_how {
    CHILD_EXITED,  /* code: exit status */
    CHILD_KILLED,  /* code: signal number */
    CHILD_NOT_RUN, /* the program could not be executed; code: errno, step: what failed */
};

struct child_exit {
    enum child_how how;
    int code;
    const char *step; /* static */
};

/* Whose rights it gets. */
struct child_user {
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /* supplementary */
    size_t groups_n;
};

/* Everything is borrowed for the call only. */
struct child_conf {
    const char *file;                     /* path of the program */
    const char *const *argv, *const *env; /* NULL-terminated; nothing is added */
    const char *work_dir;                 /* NULL: ours */
    const struct child_user *user;        /* NULL: ours */
    const struct ev_fd *pass;             /* becomes descriptor 3; NULL: none */
    bool capture;      /* stdout and stderr go to on_output; else they are ours */
    int oom_score_adj; /* added to ours, where the system allows it */
    uint64_t nofile;   /* soft limit of descriptors; 0: as ours */
    unsigned umask;
    int death_signal; /* what it gets when we die; 0: SIGKILL */
};

/* No callback runs inside a call of the owner's, and none after child_close(). */
struct child_ops {
    /* The program runs: exec succeeded. Not called when on_exit says CHILD_NOT_RUN. */
    void (*on_running)(void *ctx);
    /* What it wrote, as it came; bytes.n is 0 once, at the end of the stream. May be called after
     * on_exit: others may hold the pipe. */
    void (*on_output)(void *ctx, enum child_stream stream, struct str bytes);
    /* It ended, and what it wrote before was handed over. The group may still have members. */
    void (*on_exit)(void *ctx, const struct child_exit *how);
};

/* -E_NO_FDS, -E_NO_MEM, -E_AGAIN (no process to be had). */
int child_start(struct loop *l, const struct child_conf *conf, const struct child_ops *ops,
                void *ctx, struct child **ret) MUSTCHECK;
pid_t child_pid(const struct child *c);
/* To the process alone, or to its whole group. Harmless when nobody is left. */
void child_signal(struct child *c, int signo);
void child_signal_group(struct child *c, int signo);
bool child_exited(const struct child *c);
/* Reaps and forgets a child that has exited (a bug otherwise); its pipes are closed. NULL is fine.
 */
void child_close(struct child **c);
/* Forgets a child that does not end although it was killed: a device's driver holds it. Whoever
 * adopts it reaps it. NULL is fine. */
void child_abandon(struct child **c);

/* Makes orphaned descendants ours and reaps them as they end; one per process, for the loop whose
 * thread starts the children. */
struct reaper;
int reaper_start(struct loop *l, struct reaper **ret) MUSTCHECK;
void reaper_close(struct reaper **r);

/* "exit status 3", "killed by SIGSEGV", "could not be started: exec: No such file or directory".
 * Returns the length written, at most n - 1. */
size_t child_exit_text(const struct child_exit *how, char *to, size_t n);
