/* SPDX-License-Identifier: Apache-2.0
 *
 * clock.c - turns the wall clock of a process into which it is preloaded: what asks for the time of
 * day is told the time plus so many seconds, which stand as an int64 in a file beside this library,
 * "NAME.so.offset", mapped once. The file may change at any time. All other clocks are the
 * machine's, as they are when a real clock is set; waits that end at a time of day are not moved,
 * and test_r17_clock_steps.py looks that there are none.
 *
 * No library of Debian's does this to our programs: libfaketime moves absolute waits on the
 * monotonic clock, too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

__attribute__((constructor)) static void map_offset(void)
{
    static const int64_t none;
    char path[4096];
    Dl_info self;
    void *map = MAP_FAILED;
    int fd = -1;

    if (dladdr(&offset, &self) && snprintf(path, sizeof path, "%s.offset", self.dli_fname) > 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        map = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
    }
    offset = map == MAP_FAILED ? &none : map;
}

int clock_gettime(clockid_t id, struct timespec *at)
{
    int r = (int)syscall(SYS_clock_gettime, id, at);

    if (r == 0 && offset &&
        (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_TAI))
        at->tv_sec += *offset;
    return r;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *at = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
