/* SPDX-License-Identifier: Apache-2.0
 *
 * sandbox.h - what a process gives up for good. The shield is for every process that holds secrets:
 * no core files, no ptrace by its own user, no reading of its /proc. The sandbox is the gateway's,
 * who may not become anything else: when started as root another user, no capabilities, no new
 * privileges, and no system call that starts or reaches into processes.
 */
#pragma once
#include "base/err.h"

/* Non-dumpable, no core files; the soft limit of descriptors is raised to the hard one. Returns the
 * soft limit as it was, which is what children get back. */
uint64_t sandbox_shield(void);

enum { SANDBOX_USER_MAX = 64 };

/* Somebody to become. */
struct sandbox_user {
    uint32_t uid, gid;
    char name[SANDBOX_USER_MAX];
};

/* The user a gateway becomes that was started by root: `name`, or, when that is NULL, "inferd" if
 * there is one, else "nobody". -E_NOT_FOUND. Reads the user database, which may block: start-up
 * only. */
int sandbox_find_user(const char *name, struct sandbox_user *ret) MUSTCHECK;

/* What happens to a system call that starts a process or reaches into one. */
enum sandbox_deny {
    SANDBOX_REFUSE, /* EPERM, and a line in the kernel's audit log */
    SANDBOX_KILL,   /* the process ends: for tests, where such a call is a bug to be found */
};

struct sandbox_report {
    bool user_changed;
    bool filtered;       /* the system call filter is on */
    const char *why_not; /* static; NULL when it is */
};

/* Before the first thread is started, once. `user` NULL: stay who we are. The process dies with
 * `parent` afterwards (a change of user makes the kernel forget); it exits at once when that is no
 * longer its parent. -E_PERM: privileges could not be dropped, or could be regained: go no further.
 */
int sandbox_enter(const struct sandbox_user *user, enum sandbox_deny deny, int parent,
                  struct sandbox_report *ret) MUSTCHECK;
