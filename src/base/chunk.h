/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk.h - body bytes: fixed-size reference-counted chunks from a pool, and queues of pieces of
 * them. A chunk is written once, front to back, by the queue that owns its tail; every other holder
 * reads. Two queues may share chunks (a request body that is being sent is still held for another
 * attempt) without copying. A pool and all its chunks belong to one thread; they never cross.
 *
 *   chunkq_append(&body, p, n);                    copy in
 *   n = chunkq_iov(&body, iov, 16);                look
 *   chunkq_consume(&body, written);                drop from the front
 *   chunkq_share(&out, &body);                     same bytes, no copy
 */
#pragma once
#include <sys/uio.h>

#include "base/str.h"

enum { CHUNK_BYTES = 8192 - 32 };

struct chunk; /* opaque */

struct chunk_pool {
    struct chunk *free;
    unsigned count, max; /* chunks kept for reuse */
    size_t live;         /* chunks handed out: zero at exit */
};

struct chunk_piece {
    struct chunk *chunk;
    unsigned off, len; /* what of the chunk is queued; len > 0 */
};

enum { CHUNKQ_SMALL = 2 }; /* pieces a queue holds without a heap call */

/* May be moved by value while nobody else points to it. */
struct chunkq {
    struct chunk_pool *pool;
    struct chunk_piece *ring; /* NULL: the pieces stand in `small` */
    unsigned head, count;
    unsigned size; /* of ring, a power of two */
    struct chunk_piece small[CHUNKQ_SMALL];
    size_t bytes; /* queued */
};

void chunk_pool_fini(struct chunk_pool *pool);

void chunkq_init(struct chunkq *q, struct chunk_pool *pool);
/* Drops everything; the queue is empty and usable again and owns no memory. */
void chunkq_clear(struct chunkq *q);
void chunkq_append(struct chunkq *q, const void *p, size_t n);
/* Appends what `from` holds; both hold the bytes then. Same pool, not the same queue. */
void chunkq_share(struct chunkq *q, const struct chunkq *from);
/* Up to `max` pieces from the front; returns how many. */
unsigned chunkq_iov(const struct chunkq *q, struct iovec *iov, unsigned max);
/* The same, beginning `skip` bytes behind the front. */
unsigned chunkq_iov_from(const struct chunkq *q, size_t skip, struct iovec *iov, unsigned max);
/* Drops n <= q->bytes bytes from the front. */
void chunkq_consume(struct chunkq *q, size_t n);
/* Copies n bytes beginning at `from` into `to`; from + n <= q->bytes. */
void chunkq_copy(const struct chunkq *q, size_t from, void *to, size_t n);
