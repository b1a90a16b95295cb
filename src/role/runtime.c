/* SPDX-License-Identifier: Apache-2.0
 *
 * runtime.c - see runtime.h. The lock is one of open file descriptions (F_OFD_SETLK): the kernel
 * drops it when the master ends, however it ends, and no child inherits the descriptor.
 */
#include "role/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"

enum { PRIVATE = 0700, PARENT = 0755, SHARED = 02710 };

static int fail(struct buf *problem, const char *dir, const char *what, int errno_value)
{
    buf_printf(problem, "%s: %s: %s", dir, what, err_text(err_sys(errno_value)));
    return err_sys(errno_value);
}

/* The directory and what is missing above it; *made says whether it was not there. */
static int make_dir(const char *dir, bool *made, struct buf *problem)
{
    char path[RUNTIME_PATH_MAX];
    size_t n = strlen(dir);

    if (n >= sizeof path)
        return fail(problem, dir, "too long", ENAMETOOLONG);
    memcpy(path, dir, n + 1);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, PARENT) < 0 && errno != EEXIST)
            return fail(problem, path, "cannot be made", errno);
        *slash = '/';
    }
    *made = mkdir(dir, PRIVATE) == 0;
    if (!*made && errno != EEXIST)
        return fail(problem, dir, "cannot be made", errno);
    return 0;
}

/* Nobody else may put things into it, or sockets and locks in it mean nothing. */
static int check_dir(const char *dir, struct buf *problem)
{
    struct stat st;

    if (stat(dir, &st) < 0)
        return fail(problem, dir, "cannot be read", errno);
    if (!S_ISDIR(st.st_mode))
        return fail(problem, dir, "not a directory", ENOTDIR);
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        buf_printf(problem, "%s: belongs to another user", dir);
        return -E_PERM;
    }
    if (st.st_mode & (S_IWGRP | S_IWOTH)) {
        buf_printf(problem, "%s: can be written by others: chmod go-w it", dir);
        return -E_PERM;
    }
    return 0;
}

static int share_dir(const char *dir, const struct sandbox_user *gateway, struct buf *problem)
{
    if (chown(dir, (uid_t)-1, gateway->gid) < 0 || chmod(dir, SHARED) < 0)
        return fail(problem, dir, "cannot be shared with the gateway's user", errno);
    return 0;
}

static int lock_dir(struct runtime *r, struct buf *problem)
{
    char path[RUNTIME_PATH_MAX + 8];
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    (void)snprintf(path, sizeof path, "%s/lock", r->dir);
    r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (r->lock_fd < 0)
        return fail(problem, path, "cannot be opened", errno);
    if (fcntl(r->lock_fd, F_OFD_SETLK, &whole) == 0)
        return 0;
    if (errno != EAGAIN && errno != EACCES)
        return fail(problem, path, "cannot be locked", errno);
    buf_printf(problem, "%s: another inferd runs there; give this one its own --runtime-dir",
               r->dir);
    return -E_BUSY;
}

static void name_instance(struct runtime *r)
{
    uint8_t sum[DIGEST_BYTES];

    digest_sha256(str_of(r->dir), sum);
    digest_hex(sum, SUPERVISE_INSTANCE_BYTES / 2, r->instance);
}

/* Whoever ends in order takes its control socket along. */
static bool ended_unclean(const char *dir)
{
    char path[RUNTIME_PATH_MAX + 16];

    (void)snprintf(path, sizeof path, "%s/ctl.sock", dir);
    return access(path, F_OK) == 0;
}

int runtime_enter(const char *dir, const struct sandbox_user *gateway, struct runtime *ret,
                  struct buf *problem)
{
    _cleanup_(runtime_leave) struct runtime r = {.lock_fd = -1};
    char real[PATH_MAX];
    bool made;
    int e = make_dir(dir, &made, problem);

    if (e == 0)
        e = check_dir(dir, problem);
    if (e < 0)
        return e;
    if (!realpath(dir, real) || strlen(real) >= sizeof r.dir)
        return fail(problem, dir, "has no real path", errno);
    memcpy(r.dir, real, strlen(real) + 1);
    e = lock_dir(&r, problem);
    if (e == 0 && gateway)
        e = share_dir(r.dir, gateway, problem);
    if (e < 0)
        return e;
    name_instance(&r);
    r.unclean = ended_unclean(r.dir);
    *ret = r;
    r.lock_fd = -1;
    return 0;
}

static bool may_pass(const struct stat *st, const struct sandbox_user *user)
{
    if (st->st_uid == user->uid)
        return st->st_mode & S_IXUSR;
    return st->st_mode & (st->st_gid == user->gid ? S_IXGRP : S_IXOTH);
}

bool runtime_reachable(const struct runtime *r, const struct sandbox_user *user,
                       char ret[RUNTIME_PATH_MAX])
{
    struct stat st;

    memcpy(ret, r->dir, sizeof r->dir);
    for (char *slash = strchr(ret + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (stat(ret, &st) == 0 && !may_pass(&st, user))
            return false;
        *slash = '/';
    }
    return true;
}

void runtime_leave(struct runtime *r)
{
    if (r->lock_fd >= 0)
        (void)close(r->lock_fd);
    r->lock_fd = -1;
}

int runtime_make_state(const char *dir, const struct sandbox_user *gateway, struct buf *problem)
{
    bool made;
    int r = make_dir(dir, &made, problem);

    if (r < 0)
        return r;
    if (gateway && chown(dir, gateway->uid, gateway->gid) < 0)
        return fail(problem, dir, "cannot be given to the gateway's user", errno);
    return 0;
}
