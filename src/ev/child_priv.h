/* SPDX-License-Identifier: Apache-2.0
 *
 * child_priv.h - between child.c (the parent's side) and child_exec.c (what runs in the new process
 * before its program does).
 */
#pragma once
#include "ev/child.h"

/* What the new process reports through its status pipe when it cannot go on. */
struct child_failure {
    int step; /* index into child_steps */
    int code; /* errno */
};

#define CHILD_STEPS(X)                                                                             \
    X(CHILD_STEP_SESSION, "new session")                                                           \
    X(CHILD_STEP_FILES, "descriptors")                                                             \
    X(CHILD_STEP_LIMITS, "limits")                                                                 \
    X(CHILD_STEP_USER, "change of user")                                                           \
    X(CHILD_STEP_DIR, "work_dir")                                                                  \
    X(CHILD_STEP_EXEC, "exec")
#define CHILD_STEP_AS_ENUM(name, text) name,
enum child_step { CHILD_STEPS(CHILD_STEP_AS_ENUM) CHILD_STEPS_N };

/* All of it prepared before the fork: after it, nothing may be allocated or locked. */
struct child_plan {
    const struct child_conf *conf;
    pid_t parent;
    int status_fd; /* all descriptors are above 3 */
    int stdin_fd;
    int out_fd[2]; /* -1: ours */
    int pass_fd;   /* -1: none */
};

/* Only async-signal-safe calls. */
NORETURN void child_exec(const struct child_plan *plan);
