/* SPDX-License-Identifier: Apache-2.0
 *
 * ring.c - see ring.h. The writer announces how far it is going to write (`claimed`), copies, and
 * publishes (`newest`); the reader copies what is published and afterwards discards what a claim
 * has reached meanwhile. No lock, and neither can hold up the other.
 */
#include "link/ring.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "ev/memfd.h"

enum { RING_MAGIC = 0x474e4952 }; /* "RING" */

struct ring_board {
    uint32_t magic, bytes;
    _Atomic uint64_t claimed, newest;
    char data[RING_BYTES]; /* position p stands at p % RING_BYTES */
};

struct ring {
    struct ev_fd fd;
    struct ring_board *mine;        /* the writer's mapping, or NULL */
    const struct ring_board *board; /* either end's */
};

int ring_create(struct ring **ret)
{
    struct ring *r = xnew(struct ring, .fd = EV_FD_NONE);
    void *map;
    int err = memfd_board("inferd-output", sizeof(struct ring_board), &r->fd, &map);

    if (err < 0) {
        mem_free(r);
        return err;
    }
    r->board = r->mine = map;
    r->mine->magic = RING_MAGIC;
    r->mine->bytes = RING_BYTES;
    *ret = r;
    return 0;
}

int ring_share(const struct ring *r, struct ev_fd *ret) { return memfd_dup(&r->fd, ret); }

void ring_write(struct ring *r, struct str bytes)
{
    struct ring_board *b = r->mine;
    uint64_t at = atomic_load_explicit(&b->newest, memory_order_relaxed);
    size_t first;

    if (bytes.n > RING_BYTES) {
        at += bytes.n - RING_BYTES; /* they count, though nobody can read them */
        bytes = str_from(bytes, bytes.n - RING_BYTES);
    }
    atomic_store_explicit(&b->claimed, at + bytes.n, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    first = min_size(bytes.n, RING_BYTES - at % RING_BYTES);
    if (bytes.n) {
        memcpy(b->data + at % RING_BYTES, bytes.p, first);
        memcpy(b->data, bytes.p + first, bytes.n - first);
    }
    atomic_store_explicit(&b->newest, at + bytes.n, memory_order_release);
}

int ring_open(struct ev_fd *fd, struct ring **ret)
{
    const void *map;
    const struct ring_board *b;
    int err = memfd_board_map(fd, sizeof(struct ring_board), &map);

    if (err < 0)
        return err;
    b = map;
    if (b->magic != RING_MAGIC || b->bytes != RING_BYTES) {
        memfd_board_unmap(map, sizeof(struct ring_board));
        return -E_INVAL;
    }
    *ret = xnew(struct ring, .fd = *fd, .board = b);
    *fd = EV_FD_NONE;
    return 0;
}

/* The oldest byte that no claim up to `claimed` overwrites. */
static uint64_t oldest_under(uint64_t claimed)
{
    return claimed > RING_BYTES ? claimed - RING_BYTES : 0;
}

uint64_t ring_newest(const struct ring *r)
{
    return atomic_load_explicit(&r->board->newest, memory_order_acquire);
}

uint64_t ring_oldest(const struct ring *r) { return oldest_under(ring_newest(r)); }

size_t ring_read(const struct ring *r, uint64_t *at, void *to, size_t n)
{
    uint64_t newest = ring_newest(r), from = *at, oldest = oldest_under(newest);
    size_t first, lost;

    if (from < oldest || from > newest)
        from = oldest;
    n = min_size(n, (size_t)(newest - from));
    first = min_size(n, RING_BYTES - from % RING_BYTES);
    if (n) {
        memcpy(to, r->board->data + from % RING_BYTES, first);
        memcpy((char *)to + first, r->board->data, n - first);
    }
    atomic_thread_fence(memory_order_acquire);
    oldest = oldest_under(atomic_load_explicit(&r->board->claimed, memory_order_relaxed));
    lost = oldest > from ? min_size(n, (size_t)(oldest - from)) : 0;
    if (lost) /* overwritten while we copied */
        memmove(to, (char *)to + lost, n - lost);
    *at = from + n;
    return n - lost;
}

void ring_close(struct ring **rp)
{
    struct ring *r = TAKE(rp);

    if (!r)
        return;
    memfd_board_unmap(r->board, sizeof(struct ring_board));
    ev_fd_close(&r->fd);
    mem_free(r);
}
