/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk.c - see chunk.h. The first two pieces stand in the queue itself, because most bodies and
 * nearly all stretches of a stream are no longer; a third moves them to a ring on the heap.
 */
#include "base/chunk.h"

#include "base/mem.h"

struct chunk {
    struct chunk *next; /* in the pool's free list */
    unsigned refs;
    unsigned write; /* bytes written so far, <= CHUNK_BYTES */
    char data[CHUNK_BYTES];
};

static struct chunk *chunk_get(struct chunk_pool *pool)
{
    struct chunk *c = pool->free;

    if (c) {
        pool->free = c->next;
        pool->count--;
    } else {
        c = mem_resize(NULL, sizeof *c);
    }
    pool->live++;
    c->next = NULL;
    c->refs = 1;
    c->write = 0;
    return c;
}

static void chunk_unref(struct chunk_pool *pool, struct chunk *c)
{
    CHECK(c->refs > 0);
    if (--c->refs > 0)
        return;
    CHECK(pool->live > 0);
    pool->live--;
    if (pool->count >= pool->max) {
        mem_free(c);
        return;
    }
    c->next = pool->free;
    pool->free = c;
    pool->count++;
}

void chunk_pool_fini(struct chunk_pool *pool)
{
    while (pool->free) {
        struct chunk *c = pool->free;

        pool->free = c->next;
        mem_free(c);
    }
    pool->count = 0;
}

void chunkq_init(struct chunkq *q, struct chunk_pool *pool) { *q = (struct chunkq){.pool = pool}; }

static unsigned next_slot(const struct chunkq *q, unsigned i)
{
    return (q->head + i) & ((q->ring ? q->size : CHUNKQ_SMALL) - 1);
}

static const struct chunk_piece *piece_look(const struct chunkq *q, unsigned i)
{
    return (q->ring ? q->ring : q->small) + next_slot(q, i);
}

static struct chunk_piece *piece_at(struct chunkq *q, unsigned i)
{
    return (q->ring ? q->ring : q->small) + next_slot(q, i);
}

void chunkq_clear(struct chunkq *q)
{
    for (unsigned i = 0; i < q->count; i++)
        chunk_unref(q->pool, piece_at(q, i)->chunk);
    mem_free(q->ring);
    *q = (struct chunkq){.pool = q->pool};
}

static struct chunk_piece *piece_push(struct chunkq *q, struct chunk_piece piece)
{
    if (q->count == (q->ring ? q->size : CHUNKQ_SMALL)) {
        unsigned size = q->count * 2;
        struct chunk_piece *ring = mem_resize_array(NULL, size, sizeof *ring);

        for (unsigned i = 0; i < q->count; i++)
            ring[i] = *piece_at(q, i);
        mem_free(q->ring);
        q->ring = ring;
        q->size = size;
        q->head = 0;
    }
    *piece_at(q, q->count) = piece;
    return piece_at(q, q->count++);
}

/* The tail may be written on when this queue alone holds it and its piece ends where writing ended.
 */
static struct chunk_piece *open_tail(struct chunkq *q)
{
    struct chunk_piece *tail = q->count ? piece_at(q, q->count - 1) : NULL;

    if (tail && tail->chunk->refs == 1 && tail->off + tail->len == tail->chunk->write &&
        tail->chunk->write < CHUNK_BYTES)
        return tail;
    return piece_push(q, (struct chunk_piece){.chunk = chunk_get(q->pool)});
}

void chunkq_append(struct chunkq *q, const void *p, size_t n)
{
    const char *from = p;

    q->bytes += n;
    while (n > 0) {
        struct chunk_piece *tail = open_tail(q);
        size_t take = min_size(n, CHUNK_BYTES - tail->chunk->write);

        memcpy(tail->chunk->data + tail->chunk->write, from, take);
        tail->chunk->write += (unsigned)take;
        tail->len += (unsigned)take;
        from += take;
        n -= take;
    }
}

void chunkq_share(struct chunkq *q, const struct chunkq *from)
{
    CHECK(q->pool == from->pool && q != from);
    for (unsigned i = 0; i < from->count; i++) {
        struct chunk_piece piece = *piece_look(from, i);

        piece.chunk->refs++;
        piece_push(q, piece);
    }
    q->bytes += from->bytes;
}

unsigned chunkq_iov_from(const struct chunkq *q, size_t skip, struct iovec *iov, unsigned max)
{
    unsigned n = 0;

    for (unsigned i = 0; i < q->count && n < max; i++) {
        const struct chunk_piece *piece = piece_look(q, i);

        if (skip >= piece->len) {
            skip -= piece->len;
            continue;
        }
        iov[n++] = (struct iovec){piece->chunk->data + piece->off + skip, piece->len - skip};
        skip = 0;
    }
    return n;
}

unsigned chunkq_iov(const struct chunkq *q, struct iovec *iov, unsigned max)
{
    return chunkq_iov_from(q, 0, iov, max);
}

void chunkq_consume(struct chunkq *q, size_t n)
{
    CHECK(n <= q->bytes);
    q->bytes -= n;
    while (n > 0) {
        struct chunk_piece *piece = piece_at(q, 0);
        size_t take = min_size(n, piece->len);

        piece->off += (unsigned)take;
        piece->len -= (unsigned)take;
        n -= take;
        if (piece->len == 0) {
            chunk_unref(q->pool, piece->chunk);
            q->head = next_slot(q, 1);
            q->count--;
        }
    }
    if (q->count == 0)
        chunkq_clear(q);
}

void chunkq_copy(const struct chunkq *q, size_t from, void *to, size_t n)
{
    char *at = to;

    CHECK(from <= q->bytes && n <= q->bytes - from);
    for (unsigned i = 0; i < q->count && n > 0; i++) {
        const struct chunk_piece *piece = piece_look(q, i);
        size_t take;

        if (from >= piece->len) {
            from -= piece->len;
            continue;
        }
        take = min_size(n, piece->len - from);
        memcpy(at, piece->chunk->data + piece->off + from, take);
        at += take;
        n -= take;
        from = 0;
    }
}
