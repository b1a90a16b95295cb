/* SPDX-License-Identifier: Apache-2.0
 *
 * memfd.c - memory behind descriptors in the simulated world. A frozen one is mapped as a copy, so
 * that a write through the mapping hurts nobody else and ASan knows its end; a board is one piece
 * of memory that both sides see, as it is in truth.
 */
#include "ev/memfd.h"

#include "base/mem.h"
#include "sim/ev/fake.h"
#include "sim/wire.h"

struct memory {
    struct wire_object object;
    bool board;
    size_t n;
    char bytes[];
};

static void memory_destroy(struct wire_object *o) { mem_free(o); }

static const struct wire_object_ops memory_ops = {"memory", memory_destroy};

static struct memory *memory_create(size_t n, bool board)
{
    struct memory *m = mem_alloc(sizeof *m + n);

    m->object = (struct wire_object){&memory_ops, 1};
    m->board = board;
    m->n = n;
    return m;
}

static struct memory *memory_of(const struct ev_fd *fd)
{
    struct wire_object *o = wire_fd_object(fd->fd, &memory_ops);

    return o ? container_of(o, struct memory, object) : NULL;
}

static int put(struct memory *m, struct ev_fd *ret)
{
    struct wire_thing t = {NULL, &m->object};
    int r = wire_thing_put(&t, &ret->fd);

    wire_thing_drop(&t);
    return r;
}

int memfd_freeze(const char *name, struct str bytes, struct ev_fd *ret)
{
    struct memory *m = memory_create(bytes.n, false);

    (void)name;
    if (bytes.n > 0)
        memcpy(m->bytes, bytes.p, bytes.n);
    return put(m, ret);
}

int memfd_map(const struct ev_fd *fd, size_t max, struct str *ret)
{
    const struct memory *m = memory_of(fd);

    if (!m || m->board)
        return -E_INVAL;
    if (m->n > max)
        return -E_LIMIT;
    *ret = m->n ? str_span(mem_dup(m->bytes, m->n), m->n) : STR_NONE;
    return 0;
}

void memfd_unmap(struct str *bytes)
{
    mem_free((void *)(uintptr_t)bytes->p);
    *bytes = STR_NONE;
}

int memfd_board(const char *name, size_t bytes, struct ev_fd *ret, void **ret_map)
{
    struct memory *m = memory_create(bytes, true);
    int r;

    (void)name;
    m->object.refs++; /* the mapping's */
    r = put(m, ret);
    if (r < 0)
        wire_object_unref(&m->object);
    else
        *ret_map = m->bytes;
    return r;
}

int memfd_board_map(const struct ev_fd *fd, size_t bytes, const void **ret)
{
    struct memory *m = memory_of(fd);

    if (!m || !m->board || m->n != bytes)
        return -E_INVAL;
    m->object.refs++;
    *ret = m->bytes;
    return 0;
}

void memfd_board_unmap(const void *map, size_t bytes)
{
    struct memory *m;

    if (!map)
        return;
    m = container_of((char *)(uintptr_t)map, struct memory, bytes);
    CHECK(m->n == bytes);
    wire_object_unref(&m->object);
}

int memfd_dup(const struct ev_fd *fd, struct ev_fd *ret) { return ev_fd_dup(fd, ret); }
