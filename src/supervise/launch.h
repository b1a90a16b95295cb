/* SPDX-License-Identifier: Apache-2.0
 *
 * launch.h - from [[engine]] to a process: the words of its command with ${PORT} and ${SOCKET}
 * filled in, its environment, the program looked up where the unit's own PATH says, the user it
 * becomes. Reads the file system and the user database; starts nothing.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "ev/child.h"
#include "supervise/options.h"

struct launch_input {
    const struct engine_conf *engine;
    char *const *parent_env;
    const char *mark;    /* value of INFERD_UNIT */
    uint16_t port;       /* 0: none */
    const char *socket;  /* "": none */
    uint32_t socket_gid; /* 0: none */
    bool any_program;    /* also one that anybody could have replaced */
};

/* Fills file, argv, env, work_dir, user and umask of *ret, all in `arena`. -E_CONF with a sentence
 * in `problem`. */
int launch_prepare(const struct launch_input *in, struct arena *arena, struct child_conf *ret,
                   struct buf *problem) MUSTCHECK;
/* Whether the user it names can be had: -E_CONF with a sentence. */
int launch_check_user(const struct engine_conf *engine, struct buf *problem) MUSTCHECK;
/* Path of the unit's socket; -E_LIMIT with a sentence when it would be too long. `ret` holds
 * LINK_SOCKET_MAX + 1. */
int launch_socket_path(const char *runtime_dir, struct str name, char *ret,
                       struct buf *problem) MUSTCHECK;
/* The command for the log, quoted where needed; values of flags that sound secret are masked. */
void launch_print(const char *const *argv, struct buf *out);
/* True when both would start the same process. */
bool launch_same(const struct engine_conf *a, const struct engine_conf *b);
/* A deep copy. */
void launch_copy(const struct engine_conf *from, struct arena *arena, struct engine_conf *ret);
