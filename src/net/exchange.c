/* SPDX-License-Identifier: Apache-2.0
 *
 * exchange.c - the writing side of HTTP/1.1 server connections: replies are serialised here and
 * nowhere else. The head is built in the server's buffer and goes out in one write with the first
 * body bytes; what leaves in one exchange_send() is one system call.
 *
 * Whether the connection lives on is decided when the head ends: not when the request asked to
 * close, when its body has not been read by then, when the server drains, or when the reply is
 * delimited by the close itself.
 */
#include "net/exchange.h"

#include <time.h>

#include "net/server_priv.h"

enum {
    IOV_PIECES = 56,
    STREAM_UNSENT_BYTES =
        16 * 1024, /* of a stream, with the kernel: many events, few milliseconds */
};

static struct conn *conn_of(struct exchange *x) { return container_of(x, struct conn, x); }

void *exchange_listener(const struct exchange *x)
{
    return container_of((struct exchange *)(uintptr_t)x, struct conn, x)->listener_ctx;
}

int exchange_flush_held(struct server *s)
{
    struct conn *c = TAKE(&s->held);
    struct iovec iov = {s->head_out.p, s->head_out.n};
    long r;

    if (!c)
        return 0;
    r = stream_write(c->stream, &iov, 1);
    if (r < 0) {
        conn_lost(c);
        return (int)r;
    }
    conn_watch_stall(c);
    return 0;
}

void exchange_reply(struct exchange *x, unsigned status)
{
    struct server *s = conn_of(x)->server;

    CHECK(!x->replied && status >= 200 && status <= 599);
    if (s->held)
        (void)exchange_flush_held(s); /* its owner meets the failure with its next bytes */
    buf_clear(&s->head_out);
    x->dated = x->named = false;
    http1_write_status_line(&s->head_out, status);
}

void exchange_field(struct exchange *x, struct str name, struct str value)
{
    http1_write_field(&conn_of(x)->server->head_out, name, value);
}

/* "Wed, 25 Nov 2026 05:00:00 GMT" (RFC 9110 section 5.6.7), made once a second. */
static struct str date_now(struct server *s)
{
    uint64_t now_s = loop_wall_us(s->loop) / 1000000;

    if (now_s != s->date_s) {
        time_t t = (time_t)now_s;
        struct tm tm;

        s->date_s = now_s;
        CHECK(gmtime_r(&t, &tm) != NULL);
        (void)strftime(s->date, sizeof s->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
    return str_of(s->date);
}

static void set_framing(struct conn *c, enum exchange_body body, uint64_t length)
{
    struct buf *out = &c->server->head_out;
    bool old_client = c->x.head && c->x.head->minor == 0;

    c->reply_left = 0;
    if (body == EXCHANGE_NO_BODY) {
        c->reply = REPLY_EMPTY;
    } else if (body == EXCHANGE_LENGTH) {
        http1_write_length(out, length);
        c->reply = REPLY_LENGTH;
        c->reply_left = length;
    } else if (old_client) {
        c->reply = REPLY_CLOSE;
        c->x.close = true;
    } else {
        http1_write_chunked(out);
        c->reply = REPLY_CHUNKED;
    }
}

static void set_connection(struct conn *c)
{
    struct buf *out = &c->server->head_out;

    if (!c->x.head || !c->x.head->keep_alive || c->state == CONN_BODY || c->server->draining)
        c->x.close = true;
    if (c->x.close)
        http1_write_field(out, STR("connection"), STR("close"));
    else if (c->x.head->minor == 0)
        http1_write_field(out, STR("connection"), STR("keep-alive"));
}

int exchange_start(struct exchange *x, enum exchange_body body, uint64_t length)
{
    struct conn *c = conn_of(x);
    struct server *s = c->server;

    if (c->state == CONN_CLOSED)
        return -E_CLOSED;
    set_framing(c, body, length);
    set_connection(c);
    if (!x->dated)
        http1_write_field(&s->head_out, STR("date"), date_now(s));
    if (!x->named)
        http1_write_field(&s->head_out, STR("server"), s->conf.name);
    http1_write_end(&s->head_out);
    if (buf_status(&s->head_out) < 0) {
        c->reply = REPLY_NONE;
        return -E_LIMIT;
    }
    if (body == EXCHANGE_STREAM)
        stream_bound_unsent(c->stream, STREAM_UNSENT_BYTES);
    x->replied = true;
    x->bytes_out += s->head_out.n;
    s->held = c;
    if (x->head && x->head->method == HTTP1_HEAD)
        c->reply = REPLY_EMPTY;
    if (c->reply == REPLY_EMPTY || (c->reply == REPLY_LENGTH && c->reply_left == 0)) {
        x->reply_done = true;
        return exchange_flush_held(s);
    }
    return 0;
}

/* The pieces of one send: a held head, the chunk framing around the body bytes, the last chunk. */
static unsigned gather(struct conn *c, struct iovec *out, const struct iovec *iov, unsigned n,
                       size_t bytes, bool last, char *chunk_head)
{
    unsigned k = 0;
    bool chunked = c->reply == REPLY_CHUNKED;

    if (c->server->held == c) {
        out[k++] = (struct iovec){c->server->head_out.p, c->server->head_out.n};
        c->server->held = NULL;
    }
    if (bytes > 0) {
        if (chunked)
            out[k++] = (struct iovec){chunk_head, chunked_write_head(chunk_head, (uint32_t)bytes)};
        for (unsigned i = 0; i < n; i++)
            out[k++] = iov[i];
    }
    if (chunked && (bytes > 0 || last)) {
        static const char tail[] = "\r\n" CHUNKED_LAST;
        size_t skip = bytes > 0 ? 0 : 2;

        out[k++] =
            (struct iovec){(void *)(uintptr_t)(tail + skip), last ? sizeof tail - 1 - skip : 2};
    }
    return k;
}

long exchange_send(struct exchange *x, const struct iovec *iov, unsigned n, bool last)
{
    struct conn *c = conn_of(x);
    NO_INIT struct iovec out[IOV_PIECES + 4];
    char chunk_head[CHUNKED_HEAD_MAX];
    size_t bytes = 0;
    unsigned k;
    long queued;

    if (c->state == CONN_CLOSED)
        return -E_CLOSED;
    CHECK(x->replied && n <= IOV_PIECES);
    if (x->reply_done) { /* a HEAD, or a length of 0: there is no body to send */
        return (long)stream_queued(c->stream);
    }
    for (unsigned i = 0; i < n; i++)
        bytes += iov[i].iov_len;
    if (c->reply == REPLY_LENGTH) {
        CHECK(bytes <= c->reply_left);
        c->reply_left -= bytes;
        last = c->reply_left == 0;
    }
    k = gather(c, out, iov, n, bytes, last, chunk_head);
    x->bytes_out += bytes;
    x->reply_done = last;
    queued = k > 0 ? stream_write(c->stream, out, k) : (long)stream_queued(c->stream);
    if (queued < 0) {
        conn_lost(c);
        return queued;
    }
    if (queued > 0 || deadline_armed(&c->stall))
        conn_watch_stall(c);
    return queued;
}

size_t exchange_queued(const struct exchange *x)
{
    const struct conn *c = (const struct conn *)(const void *)x;

    return c->stream ? stream_queued(c->stream) : 0;
}

void exchange_cut(struct exchange *x)
{
    struct conn *c = conn_of(x);

    if (x->reply_done || c->state == CONN_CLOSED)
        return;
    if (c->server->held == c)
        (void)exchange_flush_held(c->server);
    c->cut_hard = !x->replied || c->reply == REPLY_CLOSE;
    x->close = true;
    x->reply_done = true;
}

void exchange_pause(struct exchange *x)
{
    struct conn *c = conn_of(x);

    if (c->state != CONN_BODY)
        return;
    c->reading_paused = true;
    stream_pause(c->stream);
    stream_watch_hangup(c->stream, true);
}

void exchange_resume(struct exchange *x)
{
    struct conn *c = conn_of(x);

    if (c->state != CONN_BODY)
        return;
    c->reading_paused = false;
    stream_resume(c->stream);
}

void exchange_end(struct exchange *x)
{
    struct conn *c = conn_of(x);

    if (c->server && c->state != CONN_CLOSED && c->server->held == c)
        (void)exchange_flush_held(c->server);
    conn_next(c);
}

void exchange_reply_whole(struct exchange *x, unsigned status, struct str content_type,
                          struct str body)
{
    struct iovec iov = {(void *)(uintptr_t)body.p, body.n};

    exchange_reply(x, status);
    if (body.n > 0)
        exchange_field(x, STR("content-type"), content_type);
    if (exchange_start(x, EXCHANGE_LENGTH, body.n) < 0)
        return;
    if (!x->reply_done && exchange_send(x, &iov, 1, true) < 0)
        return; /* the client has gone; the owner ends the exchange all the same */
}

int exchange_raw(struct exchange *x, struct str bytes)
{
    struct conn *c = conn_of(x);
    struct iovec iov = {(void *)(uintptr_t)bytes.p, bytes.n};

    if (c->server->held == c)
        (void)exchange_flush_held(c->server);
    if (c->state != CONN_CLOSED && stream_write(c->stream, &iov, 1) < 0)
        conn_lost(c);
    return c->state == CONN_CLOSED ? -E_CLOSED : 0;
}

void exchange_kill(struct exchange *x, bool reset)
{
    struct conn *c = conn_of(x);

    if (c->server->held == c)
        (void)exchange_flush_held(c->server);
    conn_close(c, reset ? STREAM_RESET : STREAM_CLOSE);
}
