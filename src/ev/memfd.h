/* SPDX-License-Identifier: Apache-2.0
 *
 * memfd.h - bytes that travel between processes as a descriptor: anonymous memory, sealed so that
 * the reader needs to trust neither its size nor, once mapped, the other side's good will.
 */
#pragma once
#include "base/str.h"
#include "ev/stream.h"

/* A sealed, read-only copy. -E_NO_FDS, -E_NO_MEM. */
int memfd_freeze(const char *name, struct str bytes, struct ev_fd *ret) MUSTCHECK;
/* Maps a frozen one; the descriptor stays the caller's and may be closed. -E_INVAL when it is not
 * sealed against every change, -E_LIMIT when it is larger than `max` bytes. Empty ones give
 * STR_NONE. */
int memfd_map(const struct ev_fd *fd, size_t max, struct str *ret) MUSTCHECK;
void memfd_unmap(struct str *bytes);

/* `bytes` of zeroed memory, mapped writable here; nobody who gets the descriptor can write to it,
 * grow it or shrink it. */
int memfd_board(const char *name, size_t bytes, struct ev_fd *ret, void **ret_map) MUSTCHECK;
/* The other side: maps exactly `bytes`, read-only. -E_INVAL when it is no such memory. */
int memfd_board_map(const struct ev_fd *fd, size_t bytes, const void **ret) MUSTCHECK;
void memfd_board_unmap(const void *map, size_t bytes);

/* A duplicate, close-on-exec. */
int memfd_dup(const struct ev_fd *fd, struct ev_fd *ret) MUSTCHECK;
