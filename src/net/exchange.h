/* SPDX-License-Identifier: Apache-2.0
 *
 * exchange.h - one request and its reply, seen from the server's side, whatever carries it. The
 * owner (gate, admin, mock) talks to this and never to a connection: HTTP/1 has one exchange a
 * connection at a time, HTTP/2 will have many. The embedding transport is net/server.c.
 *
 * Life: on_request() gives the head. The body follows through on_body()/on_body_end() (a transport
 * answers Expect: 100-continue by itself when on_request() returned without a reply). The owner
 * replies: exchange_reply(), exchange_field()..., exchange_start() in one go, then exchange_send()
 * until `last`. At the end the owner calls exchange_end() exactly once, after a complete reply,
 * after exchange_cut(), or after on_gone(); the exchange is not touched any more then.
 *
 * A head that the codec refused comes as an exchange with `fault` set: the owner renders it, and no
 * on_body_end() follows.
 * Loop thread only; no callback runs inside a call of the owner's.
 */
#pragma once
#include <sys/uio.h>

#include "base/arena.h"
#include "base/fault.h"
#include "ev/addr.h"
#include "ev/loop.h"
#include "proto/http1.h"

struct exchange;

/* The owner's side. ctx is what on_request() returned. */
struct exchange_owner {
    /* A new request. The returned ctx must not be NULL. */
    void *(*on_request)(void *server_ctx, struct exchange *x);
    /* Body bytes, good until the callback returns; n > 0. Decoded (no chunk framing). */
    void (*on_body)(void *ctx, const char *p, size_t n);
    /* The body is complete; called for requests without a body too, after on_request() returned.
     * Not called when the reply was complete before. */
    void (*on_body_end)(void *ctx);
    /* The body cannot be had: malformed, too slow. The connection closes after the reply. */
    void (*on_body_fault)(void *ctx, const struct fault *f);
    /* What exchange_send() left queued has gone out. */
    void (*on_drained)(void *ctx);
    /* The client has gone or stalled (-E_RESET, -E_EOF, -E_TIMEOUT): nothing more can be sent. The
     * owner calls exchange_end(), now or later. */
    void (*on_gone)(void *ctx, int err);
    /* The connection is over and its owner kept something on it (exchange.kept). May be NULL. */
    void (*on_over)(void *kept);
};

/* How the reply's body is delimited. */
enum exchange_body {
    EXCHANGE_NO_BODY, /* HEAD, 204, 304: nothing follows; exchange_start() completes the reply */
    EXCHANGE_LENGTH,  /* exactly `length` bytes will be sent */
    EXCHANGE_STREAM,  /* until `last`: chunked, or close-delimited for HTTP/1.0 */
};

/* Embedded first by the transport. */
struct exchange {
    struct loop *loop;
    const struct exchange_owner *owner;
    void *ctx;                     /* the owner's */
    void *kept;                    /* the owner's, from one request of the connection to the next */
    struct arena arena;            /* cleared by exchange_end() */
    const struct http1_head *head; /* valid until exchange_end(); NULL when `fault` is set */
    const char *head_bytes;        /* what head's spans point into */
    size_t head_n;                 /* how many those are */
    const struct fault *fault;     /* the codec's refusal, NULL when there is a head */
    struct addr peer;              /* the client */
    uint64_t start_us;             /* loop_now_us() of the head's first byte */
    uint64_t body_in;              /* body bytes received so far */
    uint64_t bytes_out;            /* bytes of head and body handed to the connection */
    bool replied;                  /* exchange_start() was called */
    bool reply_done;               /* the last byte was handed over */
    bool dated, named;             /* the owner wrote Date, Server by itself */
    bool close;       /* the connection ends behind this reply; the owner may set it before
                         exchange_start() */
    void *server_ctx; /* what on_request() was given */
};

/* Begins the reply's head: 200..599. */
void exchange_reply(struct exchange *x, unsigned status);
/* Never content-length, transfer-encoding or connection: the transport writes them; so it does
 * date and server unless `dated`, `named` were set.
 * Invalid names or values are a bug. */
void exchange_field(struct exchange *x, struct str name, struct str value);
/* Ends the head. It goes out with the first exchange_send(), or at once for EXCHANGE_NO_BODY and
 * for a length of 0. -E_LIMIT when the head is too large (nothing was sent: reply something else).
 */
int exchange_start(struct exchange *x, enum exchange_body body, uint64_t length) MUSTCHECK;
/* Body bytes, all taken. `last` completes the reply. Returns the bytes queued on the connection
 * (back-pressure: stop feeding beyond your high-water mark until on_drained()), or a negative code
 * when the connection is dead (on_gone is not called then). n may be 0. */
long exchange_send(struct exchange *x, const struct iovec *iov, unsigned n, bool last) MUSTCHECK;
size_t exchange_queued(const struct exchange *x);
/* Ends an unfinished reply so that no client takes it for a whole one: without the final chunk
 * where the client can tell, by RST where it cannot (HTTP/1.0, close-delimited). What is queued
 * before is still sent, within the linger limit, except under RST. */
void exchange_cut(struct exchange *x);
/* Stops and resumes reading the request body. */
void exchange_pause(struct exchange *x);
void exchange_resume(struct exchange *x);
/* The owner is done with it. */
void exchange_end(struct exchange *x);
/* True while the reply is complete or cut and the exchange may be ended. */
static inline bool exchange_complete(const struct exchange *x) { return x->reply_done; }

/* Shorthand for a small whole reply: status, content type, body. */
void exchange_reply_whole(struct exchange *x, unsigned status, struct str content_type,
                          struct str body);

/* For engines that misbehave on purpose (mock, chaos). Bytes as they are, past all framing.
 * -E_CLOSED when the connection is dead (on_gone is not called then). */
int exchange_raw(struct exchange *x, struct str bytes);
/* Ends the connection at once, whatever was promised: by RST or by FIN. exchange_end() follows. */
void exchange_kill(struct exchange *x, bool reset);
