/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.c - the rings' table, and printing without anything that could be broken by now: no heap,
 * no stdio, no locks; text is put together in a small buffer and leaves with write(2). Another
 * thread's ring is read while it may be written: a note may be torn, its literal never is.
 */
#include "base/trace.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct trace *rings[TRACE_RINGS]; /* atomic */

void trace_init(struct trace *t, const char *name)
{
    memset(t, 0, sizeof *t);
    t->name = name;
    check_set_dump(trace_dump);
    for (unsigned i = 0; i < TRACE_RINGS; i++) {
        struct trace *none = NULL;

        if (__atomic_compare_exchange_n(&rings[i], &none, t, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return;
    }
}

void trace_fini(struct trace *t)
{
    for (unsigned i = 0; i < TRACE_RINGS; i++) {
        struct trace *mine = t;

        (void)__atomic_compare_exchange_n(&rings[i], &mine, NULL, false, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED);
    }
}

/* Text on its way out. */
struct out {
    int fd;
    size_t n;
    char text[1024];
};

static void flush(struct out *o)
{
    size_t done = 0;

    while (done < o->n) {
        ssize_t n = write(o->fd, o->text + done, o->n - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    o->n = 0;
}

static void put(struct out *o, const char *s)
{
    for (; *s; s++) {
        if (o->n == sizeof o->text)
            flush(o);
        o->text[o->n++] = *s;
    }
}

static void put_u64(struct out *o, const char *before, uint64_t v)
{
    char digits[21];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do
        digits[--at] = (char)('0' + v % 10);
    while (v /= 10);
    put(o, before);
    put(o, digits + at);
}

static void put_note(struct out *o, const struct trace_note *n, uint64_t newest_us)
{
    const char *what = __atomic_load_n(&n->what, __ATOMIC_ACQUIRE);
    uint64_t at = __atomic_load_n(&n->at_us, __ATOMIC_RELAXED);

    if (!what)
        return;
    put_u64(o, "  -", newest_us > at ? newest_us - at : 0);
    put_u64(o, " us #", __atomic_load_n(&n->id, __ATOMIC_RELAXED));
    put(o, " ");
    put(o, what);
    put_u64(o, " ", __atomic_load_n(&n->a, __ATOMIC_RELAXED));
    put_u64(o, " ", __atomic_load_n(&n->b, __ATOMIC_RELAXED));
    put(o, "\n");
}

void trace_dump_ring(const struct trace *t, int fd)
{
    uint32_t next = __atomic_load_n(&t->next, __ATOMIC_ACQUIRE);
    const struct trace_note *newest = &t->note[(next - 1) % TRACE_NOTES];
    struct out o = {.fd = fd, .n = 0};

    put(&o, "trace of ");
    put(&o, t->name);
    put_u64(&o, ": ", next);
    put(&o, " notes, the last ones (age, id, what, two numbers), newest last:\n");
    for (uint32_t i = 0; i < TRACE_NOTES; i++)
        put_note(&o, &t->note[(next + i) % TRACE_NOTES],
                 __atomic_load_n(&newest->at_us, __ATOMIC_RELAXED));
    flush(&o);
}

void trace_dump(int fd)
{
    int before = errno;

    for (unsigned i = 0; i < TRACE_RINGS; i++) {
        const struct trace *t = __atomic_load_n(&rings[i], __ATOMIC_ACQUIRE);

        if (t)
            trace_dump_ring(t, fd);
    }
    errno = before;
}
