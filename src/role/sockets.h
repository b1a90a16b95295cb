/* SPDX-License-Identifier: Apache-2.0
 *
 * sockets.h - the listening sockets of one configuration. The master binds them, holds them, and
 * never reads from them; a gateway that dies takes none of them along, so clients wait in the
 * kernel's queue until the next one is there. A reload keeps the socket of every address that
 * stays.
 */
#pragma once
#include "base/buf.h"
#include "ev/listener.h"
#include "link/link.h"
#include "role/settings.h"

enum { SOCKETS_MAX = SETTINGS_LISTENS_MAX + 4, SOCKETS_INHERITED_MAX = 32 };

struct sockets_one {
    struct link_listener is;
    struct addr configured; /* as it stands in the configuration: its port may be 0 */
    struct addr bound;
    bool inherited; /* never closed, its file never removed */
};

struct sockets {
    struct sockets_one at[SOCKETS_MAX];
    struct ev_fd fd[SOCKETS_MAX]; /* beside, as link_master_config() takes them */
    unsigned n;
};

/* What LISTEN_FDS brought; held for as long as the master lives. */
struct sockets_inherited {
    struct addr addr[SOCKETS_INHERITED_MAX];
    struct ev_fd fd[SOCKETS_INHERITED_MAX];
    unsigned n;
};

struct sockets_plan {
    const struct settings *settings;
    const struct sockets *old; /* NULL at start */
    const struct sockets_inherited *inherited;
    const char *runtime_dir; /* of ctl.sock */
    unsigned patience_ms;    /* for an address in use */
    uint32_t *last_id;
};

/* Takes the sockets of LISTEN_FDS; what is no listening socket is closed. */
void sockets_inherit(struct sockets_inherited *ret);
/* Those of `old` whose address stays are in *ret too. On failure nothing new is open and `problem`
 * has a sentence. */
int sockets_open(const struct sockets_plan *plan, struct sockets *ret,
                 struct buf *problem) MUSTCHECK;
/* Closes those that `keep` (may be NULL) does not have, and removes the files of Unix sockets that
 * were bound here. */
void sockets_close(struct sockets *s, const struct sockets *keep);
/* The descriptions alone, as link_master_config() takes them. */
void sockets_describe(const struct sockets *s, struct link_listener ret[SOCKETS_MAX]);
