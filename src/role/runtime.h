/* SPDX-License-Identifier: Apache-2.0
 *
 * runtime.h - the runtime directory: made, checked, and locked for as long as the master lives, so
 * that a second inferd on the same directory ends before it ends anything of the first's. The
 * instance that marks our processes is derived from its real path. Blocking calls of start-up only.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "ev/sandbox.h"
#include "supervise/supervise.h"

enum { RUNTIME_PATH_MAX = 4096 };

struct runtime {
    char dir[RUNTIME_PATH_MAX]; /* its real path */
    char instance[SUPERVISE_INSTANCE_BYTES + 1];
    int lock_fd;  /* -1: not held */
    bool unclean; /* the run before did not end in order: parts of it may be ending just now */
};

/* `gateway`: who must be able to reach the sockets in it although the directory is root's; NULL:
 * nobody but us. -E_BUSY when another inferd holds it, -E_PERM, ...; `problem` gets a sentence. */
int runtime_enter(const char *dir, const struct sandbox_user *gateway, struct runtime *ret,
                  struct buf *problem) MUSTCHECK;
/* Whether that user may pass through every folder above the directory; `*ret` names the first that
 * it may not enter (RUNTIME_PATH_MAX bytes). Rights by name only: access lists are not read. */
bool runtime_reachable(const struct runtime *r, const struct sandbox_user *user,
                       char ret[RUNTIME_PATH_MAX]);
/* Gives the lock back. The directory stays: others may have it open. */
void runtime_leave(struct runtime *r);
/* Makes the state directory, parents included, and hands it to the gateway's user. */
int runtime_make_state(const char *dir, const struct sandbox_user *gateway,
                       struct buf *problem) MUSTCHECK;
