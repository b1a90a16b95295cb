/* SPDX-License-Identifier: Apache-2.0
 *
 * memfd.c - see memfd.h. F_SEAL_FUTURE_WRITE leaves the writer's own mapping writable and forbids
 * every later one.
 */
#include "ev/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE /* the kernel has it since 5.1, libc's header later */
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

enum { FROZEN = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static int write_all(int fd, struct str bytes)
{
    for (size_t at = 0; at < bytes.n;) {
        ssize_t n = write(fd, bytes.p + at, bytes.n - at);

        if (n < 0 && errno != EINTR)
            return err_sys(errno);
        at += n < 0 ? 0 : (size_t)n;
    }
    return 0;
}

int memfd_freeze(const char *name, struct str bytes, struct ev_fd *ret)
{
    struct ev_fd fd = {memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    int r;

    if (fd.fd < 0)
        return err_sys(errno);
    r = write_all(fd.fd, bytes);
    if (r == 0 && fcntl(fd.fd, F_ADD_SEALS, FROZEN) < 0)
        r = err_sys(errno);
    if (r < 0)
        ev_fd_close(&fd);
    else
        *ret = fd;
    return r;
}

static int sealed_size(const struct ev_fd *fd, int seals, size_t *ret)
{
    struct stat st;
    int have = fcntl(fd->fd, F_GET_SEALS);

    if (have < 0 || (have & seals) != seals || fstat(fd->fd, &st) < 0 || st.st_size < 0)
        return -E_INVAL;
    *ret = (size_t)st.st_size;
    return 0;
}

int memfd_map(const struct ev_fd *fd, size_t max, struct str *ret)
{
    size_t bytes;
    void *p;
    int r = sealed_size(fd, FROZEN, &bytes);

    if (r < 0)
        return r;
    if (bytes > max)
        return -E_LIMIT;
    if (bytes == 0) {
        *ret = STR_NONE;
        return 0;
    }
    p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd->fd, 0);
    if (p == MAP_FAILED)
        return err_sys(errno);
    *ret = str_span(p, bytes);
    return 0;
}

void memfd_unmap(struct str *bytes)
{
    if (bytes->n)
        munmap((void *)(uintptr_t)bytes->p, bytes->n);
    *bytes = STR_NONE;
}

int memfd_board(const char *name, size_t bytes, struct ev_fd *ret, void **ret_map)
{
    struct ev_fd fd = {memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    void *p = MAP_FAILED;
    int r = 0;

    if (fd.fd < 0)
        return err_sys(errno);
    if (ftruncate(fd.fd, (off_t)bytes) == 0)
        p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.fd, 0);
    if (p == MAP_FAILED ||
        fcntl(fd.fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE) <
            0)
        r = err_sys(errno);
    if (r < 0) {
        if (p != MAP_FAILED)
            munmap(p, bytes);
        ev_fd_close(&fd);
        return r;
    }
    *ret = fd;
    *ret_map = p;
    return 0;
}

int memfd_board_map(const struct ev_fd *fd, size_t bytes, const void **ret)
{
    size_t have;
    void *p;
    int r = sealed_size(fd, F_SEAL_SHRINK | F_SEAL_GROW, &have);

    if (r < 0)
        return r;
    if (have != bytes)
        return -E_INVAL;
    p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd->fd, 0);
    if (p == MAP_FAILED)
        return err_sys(errno);
    *ret = p;
    return 0;
}

void memfd_board_unmap(const void *map, size_t bytes)
{
    if (map)
        munmap((void *)(uintptr_t)map, bytes);
}

int memfd_dup(const struct ev_fd *fd, struct ev_fd *ret)
{
    int copy = fcntl(fd->fd, F_DUPFD_CLOEXEC, 3);

    if (copy < 0)
        return err_sys(errno);
    ret->fd = copy;
    return 0;
}
