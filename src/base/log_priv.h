/* SPDX-License-Identifier: Apache-2.0
 *
 * log_priv.h - between log.c, which makes lines, and log_ring.c, which gets them written. A ring
 * carries whole lines from one thread to the log thread. Nothing outside base/log*.c includes this.
 */
#pragma once
#include "base/log.h"

enum {
    LOG_BLOCK_BYTES = 4096, /* PIPE_BUF: a write of a block is all or nothing */
    LOG_RING_BLOCKS = 64,   /* of a ring at most: 256 KiB; allocated when first needed */
};

struct log_ring;

/* Starts and ends the log thread; see log_init() and log_fini(). */
int log_ring_start(int fd) MUSTCHECK;
void log_ring_stop(void);

struct log_ring *log_ring_create(void) __attribute__((returns_nonnull));
/* The log thread still writes what the ring holds, then frees it. */
void log_ring_close(struct log_ring **ring);
/* One whole line of at most LOG_LONG_BYTES, newline included. False: full, dropped and counted. */
bool log_ring_put(struct log_ring *ring, const char *line, size_t n);
/* Half of the blocks are free: time to say what was dropped. */
bool log_ring_calm(struct log_ring *ring);
/* Lines dropped by all rings of the process. */
uint64_t log_ring_dropped(void);
