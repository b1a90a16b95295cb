/* SPDX-License-Identifier: Apache-2.0
 *
 * log_ring.c - from the threads that log to the one thread that writes.
 *
 * A ring is a queue of 4 KiB blocks between one producer and the log thread. The producer appends
 * whole lines to the newest block and publishes its fill count; the log thread may write a block
 * that is still growing, and gives it back when it is written and a newer one exists. Given back
 * blocks are reused newest first, so that a ring occupies only as much memory as it once had to.
 *
 *   slot[head % N] .. slot[(tail - 1) % N]   blocks with the log thread; the last one is growing
 *   slot[reclaimed % N] .. up to head        written, not yet back on the producer's stack
 *
 * Waking: the log thread is AWAKE (looks again by itself), DOZING (looks again within DOZE_MS, or
 * when a ring is half full) or ASLEEP (must be woken by the next line). Under load nobody makes a
 * system call per line; at idle nothing runs. `state` against fill counts is a store-load pair on
 * both sides, hence sequentially consistent.
 *
 * Writing: whatever stdout is, the log thread alone waits for it. Pipes and terminals are reopened
 * so that O_NONBLOCK is ours alone, sockets get MSG_DONTWAIT, the rest is polled before each write.
 * What a write refuses stays in its ring, for any reason: the one answer to a stalled reader, a
 * closed pipe and a full disk is that rings fill up, producers drop and count, and writing resumes
 * where it stopped, in the middle of a line if a disk filled up there.
 */
#include "base/log_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    DOZE_MS = 40,    /* between two looks while lines keep coming */
    RETRY_MS = 100,  /* after a write failed for another reason than a slow reader */
    FINI_MS = 200,   /* what log_fini() grants a reader who makes no room */
    STOP_MS = 1500,  /* and the thread, which may be late, or stuck in a write */
    GIVE_UP_MS = 50, /* for the thread to notice that this is over */
    STACK_BYTES = 256 * 1024,
};

enum state { AWAKE, DOZING, ASLEEP };
enum order { RUN, FINISH, GIVE_UP };
/* What looking through the rings came to. */
enum pumped {
    NOTHING, /* there was nothing */
    SOME,    /* all of it was written */
    STALLED, /* the reader is slow: poll will tell */
    FAILED,  /* a write failed: try again later */
};

struct log_block {
    uint32_t n; /* bytes of whole lines; producer stores, log thread loads */
    char data[LOG_BLOCK_BYTES];
};

struct log_ring {
    struct log_block *slot[LOG_RING_BLOCKS];
    uint32_t tail; /* blocks handed to the log thread; producer stores */
    /* producer only */
    uint32_t fill;      /* of the newest block; LOG_BLOCK_BYTES while there is none */
    uint32_t reclaimed; /* <= head */
    uint32_t made;      /* blocks allocated */
    uint32_t spares;
    struct log_block *spare[LOG_RING_BLOCKS];
    bool closed; /* the producer is gone */
    /* log thread only, but for the producer's look at head */
    _Alignas(64) uint32_t head; /* blocks written */
    uint32_t taken;             /* bytes written of slot[head] */
};

static struct {
    struct log_ring *ring[LOG_WRITERS]; /* atomic: NULL or in use */
    uint64_t dropped;                   /* atomic */
    bool running;                       /* changed by log_ring_start and log_ring_stop only */
    bool stuck;                         /* the log thread outlived log_ring_stop */
    enum state state;                   /* atomic */
    enum order order;                   /* atomic */
    int wake, done;                     /* eventfds */
    pthread_t thread;
    /* log thread only */
    int fd;                /* where lines go */
    bool reopened;         /* fd is ours and non-blocking */
    bool socket;           /* fd takes MSG_DONTWAIT */
    bool file;             /* a regular file: always ready */
    struct log_ring *torn; /* its line is half written: nothing else may go out first */
} out = {.wake = -1, .done = -1, .fd = -1};

/* Producer ------------------------------------------------------------------------------------- */

static void wake_from(enum state from)
{
    uint64_t one = 1;

    if (__atomic_compare_exchange_n(&out.state, &from, AWAKE, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_RELAXED)) {
        ssize_t ignored = write(out.wake, &one, sizeof one);

        (void)ignored; /* cannot fail short of 2^64 wake-ups */
    }
}

static uint32_t blocks_in_use(const struct log_ring *r)
{
    return r->tail - __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
}

static struct log_block *block_get(struct log_ring *r)
{
    uint32_t head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);

    for (; r->reclaimed != head; r->reclaimed++)
        r->spare[r->spares++] = r->slot[r->reclaimed % LOG_RING_BLOCKS];
    if (r->spares > 0)
        return r->spare[--r->spares];
    if (r->made == LOG_RING_BLOCKS)
        return NULL;
    r->made++;
    return mem_resize(NULL, sizeof(struct log_block));
}

/* Without a log thread: at once, whole, and lost if stderr does not want it. */
static bool put_directly(const char *line, size_t n)
{
    ssize_t ignored = write(STDERR_FILENO, line, n);

    (void)ignored;
    return true;
}

bool log_ring_put(struct log_ring *r, const char *line, size_t n)
{
    struct log_block *b;
    enum state state;

    CHECK(n > 0 && n <= LOG_LONG_BYTES);
    if (!out.running)
        return put_directly(line, n);
    if (r->fill + n <= LOG_BLOCK_BYTES) {
        b = r->slot[(r->tail - 1) % LOG_RING_BLOCKS];
        memcpy(b->data + r->fill, line, n);
        r->fill += (uint32_t)n;
        __atomic_store_n(&b->n, r->fill, __ATOMIC_SEQ_CST);
    } else {
        b = block_get(r);
        if (!b) {
            __atomic_fetch_add(&out.dropped, 1, __ATOMIC_RELAXED);
            return false;
        }
        memcpy(b->data, line, n);
        r->fill = (uint32_t)n;
        __atomic_store_n(&b->n, r->fill, __ATOMIC_RELAXED);
        r->slot[r->tail % LOG_RING_BLOCKS] = b;
        __atomic_store_n(&r->tail, r->tail + 1, __ATOMIC_SEQ_CST);
        if (blocks_in_use(r) >= LOG_RING_BLOCKS / 2 &&
            __atomic_load_n(&out.state, __ATOMIC_RELAXED) == DOZING)
            wake_from(DOZING);
    }
    state = __atomic_load_n(&out.state, __ATOMIC_SEQ_CST);
    if (UNLIKELY(state == ASLEEP))
        wake_from(ASLEEP);
    return true;
}

bool log_ring_calm(struct log_ring *r) { return blocks_in_use(r) <= LOG_RING_BLOCKS / 2; }

uint64_t log_ring_dropped(void) { return __atomic_load_n(&out.dropped, __ATOMIC_RELAXED); }

struct log_ring *log_ring_create(void)
{
    struct log_ring *r = mem_alloc_aligned(_Alignof(struct log_ring), sizeof *r);

    bool found = false;

    r->fill = LOG_BLOCK_BYTES;
    for (unsigned i = 0; i < LOG_WRITERS && !found; i++) {
        struct log_ring *none = NULL;

        found = __atomic_compare_exchange_n(&out.ring[i], &none, r, false, __ATOMIC_RELEASE,
                                            __ATOMIC_RELAXED);
    }
    CHECK(found); /* more than LOG_WRITERS threads log */
    return r;
}

static void ring_free(unsigned i)
{
    struct log_ring *r = __atomic_load_n(&out.ring[i], __ATOMIC_RELAXED); /* others try it, too */

    for (; r->reclaimed != r->tail; r->reclaimed++)
        mem_free(r->slot[r->reclaimed % LOG_RING_BLOCKS]);
    while (r->spares > 0)
        mem_free(r->spare[--r->spares]);
    if (out.torn == r)
        out.torn = NULL;
    __atomic_store_n(&out.ring[i], NULL, __ATOMIC_RELEASE);
    mem_free(r);
}

void log_ring_close(struct log_ring **ring)
{
    struct log_ring *r = TAKE(ring);

    if (!r)
        return;
    if (out.running) {
        __atomic_store_n(&r->closed, true, __ATOMIC_SEQ_CST);
        wake_from(ASLEEP);
        return;
    }
    if (out.stuck)
        return;
    for (unsigned i = 0; i < LOG_WRITERS; i++)
        if (out.ring[i] == r)
            ring_free(i);
}

/* Log thread ----------------------------------------------------------------------------------- */

/* Bytes written, or -errno. */
static ssize_t write_some(const char *p, size_t n)
{
    struct pollfd ready = {.fd = out.fd, .events = POLLOUT};
    ssize_t done;

    if (!out.reopened && !out.socket && !out.file && poll(&ready, 1, 0) == 0)
        return -EAGAIN; /* a blocking descriptor that would block */
    done = out.socket ? send(out.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) : write(out.fd, p, n);
    return done < 0 ? -errno : done;
}

/* Writes what slot[head] holds. */
static enum pumped pump_block(struct log_ring *r, const struct log_block *b, uint32_t n)
{
    while (r->taken < n) {
        ssize_t done = write_some(b->data + r->taken, n - r->taken);

        if (done == -EINTR)
            continue;
        if (done <= 0)
            return done == -EAGAIN || done == -EWOULDBLOCK ? STALLED : FAILED;
        r->taken += (uint32_t)done;
        out.torn = b->data[r->taken - 1] == '\n' ? NULL : r;
    }
    return SOME;
}

static enum pumped pump_ring(struct log_ring *r)
{
    enum pumped result = NOTHING;

    for (;;) {
        uint32_t tail = __atomic_load_n(&r->tail, __ATOMIC_SEQ_CST);
        const struct log_block *b;
        uint32_t n;

        if (r->head == tail)
            return result;
        b = r->slot[r->head % LOG_RING_BLOCKS];
        n = __atomic_load_n(&b->n, __ATOMIC_SEQ_CST);
        if (r->taken < n) {
            result = pump_block(r, b, n);
            if (result != SOME)
                return result;
        }
        if (tail == r->head + 1)
            return result; /* it is the newest block and may grow */
        r->taken = 0;
        __atomic_store_n(&r->head, r->head + 1, __ATOMIC_RELEASE);
    }
}

static enum pumped pump_all(void)
{
    enum pumped result = NOTHING;

    if (out.torn) {
        result = pump_ring(out.torn);
        if (result > SOME)
            return result;
    }
    for (unsigned i = 0; i < LOG_WRITERS; i++) {
        struct log_ring *r = __atomic_load_n(&out.ring[i], __ATOMIC_ACQUIRE);
        bool closed = r && __atomic_load_n(&r->closed, __ATOMIC_SEQ_CST);
        enum pumped one = r ? pump_ring(r) : NOTHING;

        if (one > SOME)
            return one;
        if (one == SOME)
            result = SOME;
        if (closed)
            ring_free(i);
    }
    return result;
}

/* A line or a closed ring that arrived before the log thread said it would sleep. */
static bool anything_new(void)
{
    for (unsigned i = 0; i < LOG_WRITERS; i++) {
        struct log_ring *r = __atomic_load_n(&out.ring[i], __ATOMIC_ACQUIRE);
        uint32_t tail = r ? __atomic_load_n(&r->tail, __ATOMIC_SEQ_CST) : 0;

        if (!r)
            continue;
        if (__atomic_load_n(&r->closed, __ATOMIC_SEQ_CST) || tail - r->head > 1)
            return true;
        if (tail - r->head == 1 &&
            __atomic_load_n(&r->slot[r->head % LOG_RING_BLOCKS]->n, __ATOMIC_SEQ_CST) > r->taken)
            return true;
    }
    return false;
}

static void forget_wakes(void)
{
    uint64_t count;
    ssize_t ignored = read(out.wake, &count, sizeof count);

    (void)ignored; /* nobody woke us: non-blocking */
}

/* While all is to end: false when the reader makes no room in its time, which begins when it is
 * waited for, not when the end was ordered: this thread may be late. */
static bool wait_for_reader(void)
{
    struct pollfd fds[2] = {{.fd = out.wake, .events = POLLIN}, {.fd = out.fd, .events = POLLOUT}};
    bool any = poll(fds, 2, FINI_MS) > 0;

    forget_wakes();
    return any;
}

static void wait_for_work(enum pumped result)
{
    struct pollfd fds[2] = {{.fd = out.wake, .events = POLLIN}, {.fd = out.fd, .events = POLLOUT}};
    enum state state = result == NOTHING ? ASLEEP : result == SOME ? DOZING : AWAKE;
    int timeout_ms = result == NOTHING ? -1 : result == SOME ? DOZE_MS : RETRY_MS;

    __atomic_store_n(&out.state, state, __ATOMIC_SEQ_CST);
    if (state == ASLEEP && anything_new())
        timeout_ms = 0;
    (void)poll(fds, result == STALLED ? 2 : 1, result == STALLED ? -1 : timeout_ms);
    __atomic_store_n(&out.state, AWAKE, __ATOMIC_SEQ_CST);
    forget_wakes();
}

static void *log_thread(void *arg)
{
    uint64_t one = 1;
    ssize_t ignored;

    for (;;) {
        enum order order = __atomic_load_n(&out.order, __ATOMIC_SEQ_CST);
        enum pumped result = pump_all();

        if (order == GIVE_UP || (order == FINISH && (result == NOTHING || result == FAILED)))
            break;
        if (order == FINISH && result == STALLED && !wait_for_reader())
            break;
        if (order != FINISH)
            wait_for_work(result);
    }
    ignored = write(out.done, &one, sizeof one);
    (void)ignored;
    return arg;
}

/* Start and stop ------------------------------------------------------------------------------- */

static void sink_open(int fd)
{
    struct stat st = {0};
    char path[32];
    int own = -1;

    out.fd = fd;
    out.reopened = out.socket = out.file = false;
    if (fstat(fd, &st) < 0)
        return; /* every write will fail and be tried again */
    out.socket = S_ISSOCK(st.st_mode);
    out.file = S_ISREG(st.st_mode);
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
        return;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (own < 0)
        return; /* another user's pipe, or no /proc: poll before each write */
    out.fd = own;
    out.reopened = true;
}

static void sink_close(void)
{
    if (out.reopened)
        close(out.fd);
    close(out.wake);
    close(out.done);
    out.fd = out.wake = out.done = -1;
    out.reopened = false;
}

static int thread_start(void)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int r;

    CHECK(pthread_attr_init(&attr) == 0);
    CHECK(pthread_attr_setstacksize(&attr, STACK_BYTES) == 0);
    sigfillset(&all); /* signals, SIGPIPE among them, are for other threads */
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    r = pthread_create(&out.thread, &attr, log_thread, NULL);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    pthread_attr_destroy(&attr);
    if (r == 0)
        (void)pthread_setname_np(out.thread, "log");
    return r == 0 ? 0 : err_sys(r);
}

int log_ring_start(int fd)
{
    int r;

    CHECK(!out.running && !out.stuck);
    out.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    out.done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (out.wake < 0 || out.done < 0) {
        r = err_sys(errno);
        goto fail;
    }
    sink_open(fd);
    out.state = AWAKE;
    out.order = RUN;
    out.torn = NULL;
    r = thread_start();
    if (r < 0)
        goto fail;
    out.running = true;
    return 0;
fail:
    sink_close();
    return r;
}

static bool thread_done(enum order order, int ms)
{
    struct pollfd done = {.fd = out.done, .events = POLLIN};
    uint64_t one = 1;
    ssize_t ignored;
    int n;

    __atomic_store_n(&out.order, order, __ATOMIC_SEQ_CST);
    ignored = write(out.wake, &one, sizeof one);
    (void)ignored;
    do
        n = poll(&done, 1, ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

void log_ring_stop(void)
{
    if (!out.running)
        return;
    out.running = false;
    if (!thread_done(FINISH, STOP_MS) && !thread_done(GIVE_UP, GIVE_UP_MS)) {
        /* stuck in a write to a descriptor that another process filled: it dies with the process,
         * and until then everything it may look at stays */
        pthread_detach(out.thread);
        out.stuck = true;
        return;
    }
    pthread_join(out.thread, NULL);
    sink_close();
    for (unsigned i = 0; i < LOG_WRITERS; i++) {
        struct log_ring *r = out.ring[i];

        if (!r)
            continue;
        if (r->closed) {
            ring_free(i);
            continue;
        }
        /* an open writer goes on without the thread; what could not be written is lost */
        r->taken = 0;
        r->head = r->tail;
        r->fill = LOG_BLOCK_BYTES;
    }
}
