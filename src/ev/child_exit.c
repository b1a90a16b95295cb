/* SPDX-License-Identifier: Apache-2.0
 *
 * child_exit.c - how a child ended, in words, for the log and for `inferd ctl status`. Pure, and
 * apart from child.c because the simulation's processes, which never see a kernel, end in the same
 * words.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "ev/child.h"

size_t child_exit_text(const struct child_exit *how, char *to, size_t n)
{
    const char *abbrev = how->how == CHILD_KILLED ? sigabbrev_np(how->code) : NULL;
    int len = 0;

    switch (how->how) {
    case CHILD_EXITED:
        len = snprintf(to, n, "exit status %d", how->code);
        break;
    case CHILD_KILLED:
        len = abbrev ? snprintf(to, n, "killed by SIG%s", abbrev)
                     : snprintf(to, n, "killed by signal %d", how->code);
        break;
    case CHILD_NOT_RUN:
        len =
            snprintf(to, n, "could not be started: %s: %s", how->step, strerrordesc_np(how->code));
        break;
    }
    return min_size((size_t)len, n - 1);
}
