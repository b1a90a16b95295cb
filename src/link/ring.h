/* SPDX-License-Identifier: Apache-2.0
 *
 * ring.h - the last output of a unit: a memfd of fixed size that the master writes and the gateway
 * maps read-only, so `inferd ctl logs` costs the master nothing. Positions count bytes since the
 * unit was configured and only grow; the ring holds the last ring_bytes() of them, in whole lines
 * except where a line was longer than the ring. The reader never waits and never stops the writer:
 * what was overwritten while it read is not returned.
 */
#pragma once
#include "base/str.h"
#include "ev/stream.h"

struct ring; /* opaque: one mapping */

enum { RING_BYTES = 256 * 1024 };

/* The writer's: a sealed memfd (no growing, no shrinking, no other writer) and its mapping. */
int ring_create(struct ring **ret) MUSTCHECK;
/* A duplicate of the descriptor, to be handed over. */
int ring_share(const struct ring *r, struct ev_fd *ret) MUSTCHECK;
void ring_write(struct ring *r, struct str bytes);

/* The reader's: takes *fd on success. -E_INVAL when it is no such ring. */
int ring_open(struct ev_fd *fd, struct ring **ret) MUSTCHECK;
/* Copies at most `n` bytes from position *at on to `to` and moves *at behind them. When *at is
 * older than what is held, *at first moves to the oldest byte. Returns how many were copied: 0 when
 * there is nothing new. */
size_t ring_read(const struct ring *r, uint64_t *at, void *to, size_t n);
/* Position of the oldest byte held, and behind the newest. */
uint64_t ring_oldest(const struct ring *r);
uint64_t ring_newest(const struct ring *r);
/* Either end; NULL is fine. */
void ring_close(struct ring **r);
