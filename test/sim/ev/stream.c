/* SPDX-License-Identifier: Apache-2.0
 *
 * stream.c - streams of the simulated world, on sim/wire.h's sockets. What src/ev/stream.c leaves
 * open, this one closes: writing before on_connected(), behind a shutdown or after stream_close()
 * is a failed CHECK, and the buffer that on_data() lends is exactly as long as it says and is freed
 * right afterwards, so that reading past it or keeping it is seen by ASan.
 */
#include "ev/stream.h"

#include "base/mem.h"
#include "sim/ev/fake.h"
#include "sim/wire.h"

enum { READ_BYTES = 64 * 1024, IOV_PIECES = 64 };

struct stream {
    struct source source;
    struct sock *sock;
    const struct stream_ops *ops;
    void *ctx;
    struct chunkq out;
    uint64_t progress_ms;
    bool connecting;
    bool paused;
    bool watch_hangup;
    bool eof;  /* told */
    bool dead; /* an error was met */
    bool fin_wanted, fin_sent;
};

static char plain_buffer[READ_BYTES];

static struct stream *stream_of(struct source *s) { return container_of(s, struct stream, source); }

static bool open_and(const struct stream *s, bool what)
{
    return !s->source.closed && !s->dead && what;
}

/* What reading would be called for now. */
static bool wants_read(const struct stream *s)
{
    if (s->connecting || s->eof || s->dead)
        return false;
    if (!s->paused)
        return wire_readable(s->sock);
    return s->watch_hangup && (wire_ended(s->sock) || wire_was_reset(s->sock));
}

static bool wants_write(const struct stream *s)
{
    return !s->connecting && !s->dead && s->out.bytes > 0 && wire_writable(s->sock);
}

static bool stream_ready(struct source *src)
{
    struct stream *s = stream_of(src);

    if (s->connecting && !s->dead)
        return wire_connected(s->sock) != 0;
    return wants_read(s) || wants_write(s);
}

static void fail(struct stream *s, int err)
{
    s->dead = true;
    chunkq_clear(&s->out);
    s->ops->on_error(s->ctx, err);
}

/* One write call. Bytes taken, or a negative code. */
static long send_some(struct stream *s, const struct iovec *iov, unsigned n)
{
    long total = 0;

    for (unsigned i = 0; i < n; i++) {
        long sent = wire_send(s->sock, iov[i].iov_base, iov[i].iov_len);

        if (sent < 0)
            return sent;
        total += sent;
        if ((size_t)sent < iov[i].iov_len)
            break;
    }
    if (total > 0)
        s->progress_ms = world_now_ms();
    return total;
}

static void send_fin(struct stream *s)
{
    s->fin_wanted = false;
    s->fin_sent = true;
    wire_shutdown(s->sock);
}

static void serve_write(struct stream *s)
{
    struct iovec iov[IOV_PIECES];
    long sent = send_some(s, iov, chunkq_iov(&s->out, iov, IOV_PIECES));

    if (sent < 0) {
        fail(s, (int)sent);
        return;
    }
    chunkq_consume(&s->out, (size_t)sent);
    if (s->out.bytes > 0)
        return;
    if (s->fin_wanted)
        send_fin(s);
    s->ops->on_drained(s->ctx);
}

static void serve_read(struct stream *s)
{
    long n;

    if (s->paused) /* watching for a hang-up */
        n = wire_was_reset(s->sock) ? -E_RESET : 0;
    else
        n = wire_recv(s->sock, plain_buffer, READ_BYTES);
    if (n > 0) {
        char *lent = world_plain() ? plain_buffer : mem_dup(plain_buffer, (size_t)n);

        s->ops->on_data(s->ctx, lent, (size_t)n);
        if (!world_plain())
            mem_free(lent);
    } else if (n == 0) {
        s->eof = true;
        s->ops->on_eof(s->ctx);
    } else if (n != -E_AGAIN) {
        fail(s, (int)n);
    }
}

static void stream_fire(struct source *src)
{
    struct stream *s = stream_of(src);
    int r;

    if (s->connecting) {
        r = wire_connected(s->sock);
        if (r < 0) {
            fail(s, r);
        } else if (r > 0) {
            s->connecting = false;
            s->ops->on_connected(s->ctx);
        }
        return;
    }
    if (wants_write(s))
        serve_write(s);
    if (open_and(s, true) && wants_read(s))
        serve_read(s);
}

static uint64_t stream_next_us(struct source *src)
{
    struct stream *s = stream_of(src);

    return s->dead ? UINT64_MAX : wire_next_us(s->sock);
}

static const struct source_ops stream_source = {"stream", stream_ready, stream_fire,
                                                stream_next_us};

static void stream_new(struct loop *l, struct sock *sock, struct chunk_pool *pool,
                       const struct stream_ops *ops, void *ctx, struct stream **ret)
{
    struct stream *s = xnew(struct stream, .sock = sock, .ops = ops, .ctx = ctx);

    s->progress_ms = world_now_ms();
    chunkq_init(&s->out, pool);
    source_open(l, &s->source, &stream_source);
    *ret = s;
}

int stream_connect(struct loop *l, const struct addr *to, struct chunk_pool *pool,
                   const struct stream_ops *ops, void *ctx, struct stream **ret)
{
    struct sock *sock;
    int r = wire_fd_reserve();

    if (r < 0)
        return r;
    r = wire_connect(to, false, &sock);
    if (r < 0) {
        wire_fd_release();
        return r;
    }
    stream_new(l, sock, pool, ops, ctx, ret);
    (*ret)->connecting = true;
    return 0;
}

int stream_open(struct loop *l, struct ev_fd *fd, struct chunk_pool *pool,
                const struct stream_ops *ops, void *ctx, struct stream **ret)
{
    struct sock *sock = wire_fd_look(fd->fd);
    int r;

    CHECK(sock && !wire_listening(sock));
    sock = wire_fd_take(fd->fd);
    r = wire_fd_reserve();
    CHECK(r == 0); /* the number it had */
    fd->fd = -1;
    stream_new(l, sock, pool, ops, ctx, ret);
    return 0;
}

void stream_set_owner(struct stream *s, const struct stream_ops *ops, void *ctx)
{
    CHECK(!s->source.closed);
    s->ops = ops;
    s->ctx = ctx;
}

static void check_writable(const struct stream *s)
{
    CHECK(!s->source.closed);
    CHECK(!s->connecting);
    CHECK(!s->fin_wanted && !s->fin_sent);
}

static int died(struct stream *s, long err)
{
    s->dead = true;
    chunkq_clear(&s->out);
    return (int)err;
}

long stream_write(struct stream *s, const struct iovec *iov, unsigned n)
{
    size_t skip = 0;

    CHECK(n <= IOV_PIECES);
    check_writable(s);
    if (s->dead)
        return -E_RESET;
    if (s->out.bytes == 0) {
        long sent = send_some(s, iov, n);

        if (sent < 0)
            return died(s, sent);
        skip = (size_t)sent;
    }
    for (unsigned i = 0; i < n; i++) {
        size_t done = min_size(skip, iov[i].iov_len);

        skip -= done;
        if (iov[i].iov_len > done)
            chunkq_append(&s->out, (const char *)iov[i].iov_base + done, iov[i].iov_len - done);
    }
    return (long)s->out.bytes;
}

long stream_write_chunks(struct stream *s, struct str head, const struct chunkq *body)
{
    size_t skip = 0, of_head;

    check_writable(s);
    if (s->dead)
        return -E_RESET;
    if (s->out.bytes == 0) {
        struct iovec iov[IOV_PIECES] = {{(void *)(uintptr_t)head.p, head.n}};
        unsigned n = 1 + (body ? chunkq_iov(body, iov + 1, IOV_PIECES - 1) : 0);
        long sent = send_some(s, iov, n);

        if (sent < 0)
            return died(s, sent);
        skip = (size_t)sent;
    }
    of_head = min_size(skip, head.n);
    if (of_head < head.n)
        chunkq_append(&s->out, head.p + of_head, head.n - of_head);
    if (body && skip - of_head < body->bytes) {
        struct chunkq rest;

        chunkq_init(&rest, body->pool);
        chunkq_share(&rest, body);
        chunkq_consume(&rest, skip - of_head);
        chunkq_share(&s->out, &rest);
        chunkq_clear(&rest);
    }
    return (long)s->out.bytes;
}

size_t stream_queued(const struct stream *s)
{
    CHECK(!s->source.closed);
    return s->out.bytes;
}

uint64_t stream_progress_ms(const struct stream *s)
{
    CHECK(!s->source.closed);
    return s->progress_ms;
}

void stream_bound_unsent(struct stream *s, unsigned bytes) { (void)s, (void)bytes; }

void stream_bound_unread(struct stream *s, unsigned bytes) { (void)s, (void)bytes; }

void stream_pause(struct stream *s)
{
    CHECK(!s->source.closed);
    s->paused = true;
}

void stream_resume(struct stream *s)
{
    CHECK(!s->source.closed);
    s->paused = false;
}

void stream_watch_hangup(struct stream *s, bool on)
{
    CHECK(!s->source.closed);
    s->watch_hangup = on;
}

bool stream_peek_idle(struct stream *s)
{
    CHECK(!s->source.closed);
    return !s->dead && !s->eof && !s->connecting && !wire_readable(s->sock);
}

bool stream_unheard(const struct stream *s, uint32_t ms)
{
    CHECK(!s->source.closed);
    return !s->dead && wire_unheard(s->sock, ms);
}

void stream_shutdown(struct stream *s)
{
    CHECK(!s->source.closed);
    if (s->dead || s->connecting || s->fin_wanted || s->fin_sent)
        return;
    s->fin_wanted = true;
    if (s->out.bytes == 0)
        send_fin(s);
}

void stream_close(struct stream **sp, enum stream_end how)
{
    struct stream *s = TAKE(sp);

    if (!s)
        return;
    CHECK(!s->source.closed);
    chunkq_clear(&s->out);
    wire_close(&s->sock, how == STREAM_RESET && wire_remote(s->sock)->family != ADDR_UNIX);
    wire_fd_release();
    source_close(&s->source);
}

void stream_peer(const struct stream *s, struct addr *ret)
{
    CHECK(!s->source.closed);
    *ret = *wire_remote(s->sock);
}
