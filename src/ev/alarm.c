/* SPDX-License-Identifier: Apache-2.0
 *
 * alarm.c - see alarm.h. A timerfd on CLOCK_MONOTONIC, which is the loop's clock.
 */
#include "ev/alarm.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "ev/watch_priv.h"

struct alarm {
    int fd;
    struct watch *watch;
    alarm_fn *fn;
    void *ctx;
};

static void on_ready(void *ctx, int ready)
{
    struct alarm *a = ctx;
    uint64_t times;

    (void)ready;
    if (read(a->fd, &times, sizeof(times)) == (ssize_t)sizeof(times))
        a->fn(a->ctx);
}

int alarm_create(struct loop *l, alarm_fn *fn, void *ctx, struct alarm **ret)
{
    struct alarm *a = xnew(struct alarm, .fn = fn, .ctx = ctx);
    int r;

    a->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (a->fd < 0) {
        r = err_sys(errno);
        goto fail;
    }
    r = watch_start(l, a->fd, WATCH_READ, on_ready, a, &a->watch);
    if (r < 0)
        goto fail;
    *ret = a;
    return 0;
fail:
    alarm_close(&a);
    return r;
}

void alarm_at(struct alarm *a, uint64_t at_us)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at_us / 1000000),
                     .tv_nsec = (long)(at_us % 1000000) * 1000},
    };

    if (at_us == 0)
        when.it_value.tv_nsec = 1; /* all zero would disarm it */
    CHECK(timerfd_settime(a->fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
}

void alarm_close(struct alarm **ap)
{
    struct alarm *a = TAKE(ap);

    if (!a)
        return;
    watch_close(&a->watch);
    if (a->fd >= 0)
        close(a->fd);
    mem_free(a);
}
