/* SPDX-License-Identifier: Apache-2.0
 *
 * err.c - the tables behind err.h, and the one place where errno values are translated.
 */
#include "base/err.h"

#include <errno.h>

#define AS_NAME(name, number, text) [number] = #name,
#define AS_TEXT(name, number, text) [number] = text,
static const char *const names[] = {ERR_CODES(AS_NAME)};
static const char *const texts[] = {ERR_CODES(AS_TEXT)};

const char *err_name(int err)
{
    unsigned i = err < 0 ? 0u - (unsigned)err : 0;

    return i > 0 && i < ARRAY_LEN(names) ? names[i] : "E_?";
}

const char *err_text(int err)
{
    unsigned i = err < 0 ? 0u - (unsigned)err : 0;

    return i > 0 && i < ARRAY_LEN(texts) ? texts[i] : "unknown error";
}

int err_sys(int errno_value)
{
    static const struct {
        int sys;
        int ours;
    } map[] = {
        {EAGAIN, E_AGAIN},
        {EINTR, E_AGAIN},
        {ECONNRESET, E_RESET},
        {EPIPE, E_RESET},
        {ECONNABORTED, E_RESET},
        {ECONNREFUSED, E_REFUSED},
        {ETIMEDOUT, E_TIMEOUT},
        {EHOSTUNREACH, E_UNREACHABLE},
        {ENETUNREACH, E_UNREACHABLE},
        {ENOENT, E_NOT_FOUND},
        {ESRCH, E_NOT_FOUND},
        {EEXIST, E_EXISTS},
        {EADDRINUSE, E_BUSY},
        {EBUSY, E_BUSY},
        {EACCES, E_PERM},
        {EPERM, E_PERM},
        {EMFILE, E_NO_FDS},
        {ENFILE, E_NO_FDS},
        {ENOMEM, E_NO_MEM},
        {ENOBUFS, E_NO_MEM},
        {ENOSPC, E_NO_SPACE},
        {ECANCELED, E_CANCELED},
        {EINVAL, E_INVAL},
        {EAFNOSUPPORT, E_UNSUPPORTED},
        {EADDRNOTAVAIL, E_UNREACHABLE},
        {ENOTDIR, E_NOT_FOUND},
        {ENOSYS, E_UNSUPPORTED},
    };

    for (size_t i = 0; i < ARRAY_LEN(map); i++)
        if (map[i].sys == errno_value)
            return -map[i].ours;
    return -E_IO;
}
