/* SPDX-License-Identifier: Apache-2.0
 *
 * check.c - one way to die. The message goes to stderr with write(2): the log thread may be the one
 * that is broken.
 */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static check_dump_fn *dump;

void check_set_dump(check_dump_fn *fn) { dump = fn; }

void check_failed(const char *cond, const char *file, int line, const char *func)
{
    check_dump_fn *fn = dump;
    char text[512];
    int n = snprintf(text, sizeof text, "inferd: bug: CHECK(%s) failed in %s at %s:%d\n", cond,
                     func, file, line);
    ssize_t ignored = write(STDERR_FILENO, text, min_size((size_t)n, sizeof text - 1));

    (void)ignored;
    dump = NULL; /* a CHECK that fails while printing ends it */
    if (fn)
        fn(STDERR_FILENO);
    abort();
}
