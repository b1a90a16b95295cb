/* SPDX-License-Identifier: Apache-2.0
 *
 * token.c - see token.h.
 */
#include "role/token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "proto/http1.h"

enum { TOKEN_BYTES_MAX = 4096 };

static int fail(const char *path, const char *why)
{
    fprintf(stderr, "Error: registry token file %s: %s\n", path, why);
    return 1;
}

static int read_token(const char *path, char **ret)
{
    char bytes[TOKEN_BYTES_MAX];
    struct str line = {bytes, 0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    bool open_to_others;

    if (fd < 0)
        return fail(path, strerror(errno));
    open_to_others = fstat(fd, &st) < 0 || (st.st_mode & 077) != 0;
    if (!open_to_others)
        n = read(fd, bytes, sizeof bytes);
    close(fd);
    if (open_to_others)
        return fail(path, "may be read by others than its owner (chmod 600)");
    if (n < 0)
        return fail(path, strerror(errno));
    line.n = (size_t)n;
    line = str_trim(str_head(line, min_size(str_find(line, '\n'), str_find(line, '\r'))));
    if (line.n == 0 || !http1_is_value(line))
        return fail(path, "its first line is no token");
    *ret = str_dup(line);
    return 0;
}

int token_find(struct str path, char **ret)
{
    const char *file = path.p ? path.p : getenv("INFERD_REGISTRY_TOKEN_FILE");

    if (file && file[0])
        return read_token(file, ret);
    *ret = mem_strdup("");
    return 0;
}
