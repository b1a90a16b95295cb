/* SPDX-License-Identifier: Apache-2.0
 *
 * client.h - HTTP/1.1 client: pools of kept-alive connections to engines, and calls on them. One
 * client per loop. A pool belongs to one address; it resolves names off the loop and tries every
 * address.
 *
 * A call: call_open() -> on_open (connected, pooled or new) -> call_send() -> on_sent? -> on_head
 * -> on_body* -> on_end. Any failure is on_fail, once, and ends the call. The owner ends a call
 * that has not ended with call_cancel(): its connection is closed, which is how an engine learns
 * that nobody listens.
 *
 * A host that is gone acknowledges nothing: when nothing of a request has been, nor a byte of the
 * reply has come, for as long as a connect may take, the call fails by -E_TIMEOUT in CALL_SEND, and
 * the pool's idle connections are closed.
 *
 * The reuse race (an engine closes an idle connection just as we send): a *reused* connection that
 * ends without a byte of reply within 100 ms of the write is replaced by a fresh one, any method;
 * the owner does not notice (counted). 1xx replies are swallowed; a 101 is a failure. No callback
 * runs inside a call of the owner's, except where stated.
 */
#pragma once
#include "base/chunk.h"
#include "base/metrics.h"
#include "ev/addr.h"
#include "ev/stream.h"
#include "proto/http1.h"

struct client;
struct pool;
struct call;

/* Where a call was when it failed: what may be retried and what it says about the engine. */
enum call_phase {
    CALL_CONNECT,   /* no connection: nothing was sent */
    CALL_RECONNECT, /* the same, but on one that lost the reuse race bytes may have been sent */
    CALL_SEND,      /* bytes may have been sent, no byte of a reply came */
    CALL_HEAD,      /* a byte of a reply came, no complete head */
    CALL_BODY,      /* the head was given */
};

struct call_ops {
    void (*on_open)(void *ctx);
    /* What call_send() left queued is with the kernel now. May be NULL. */
    void (*on_sent)(void *ctx);
    /* The final (non-1xx) head; `bytes` and *head are good until the callback returns. `more`:
     * on_body or on_end follows at once, from bytes already read, and they are good until that
     * has returned. */
    void (*on_head)(void *ctx, const struct http1_head *head, const char *bytes,
                    enum http1_framing framing, bool more);
    /* All body bytes of one read, without their framing, in n > 0 pieces that are good until the
     * callback returns. `last`: the body is complete, on_end follows at once. */
    void (*on_body)(void *ctx, const struct iovec *iov, unsigned n, bool last);
    /* The body is complete and the connection is back in the pool or closed. `clean` is false, and
     * no `last` came before it, when only the close of the connection marked the end. The call is
     * gone. */
    void (*on_end)(void *ctx, bool clean);
    /* The call is gone. `why` is a static sentence part. */
    void (*on_fail)(void *ctx, int err, enum call_phase phase, const char *why);
};

/* Pieces in one on_body at most. */
enum { CALL_PIECES_MAX = 48 };

struct client_limits {
    uint32_t connect_ms;          /* one connect: the look-up and all addresses share it */
    uint32_t pool_idle_ms;        /* an idle connection is closed after it */
    uint32_t pool_max_idle;       /* idle connections kept per pool */
    uint32_t head_bytes, headers; /* of a reply */
};

/* What one client counts, a shard of the registry's sums. */
#define CLIENT_METRICS(X)                                                                          \
    X(COUNTER, connects, "inferd_engine_connects_total", "Connects to engines begun.", NONE, , )   \
    X(COUNTER, connect_failures, "inferd_engine_connect_failures_total",                           \
      "Connects to engines that failed, timeouts included.", NONE, , )                             \
    X(COUNTER, connect_timeouts, "inferd_limit_connect_ms_total",                                  \
      "Connects to engines that took longer than connect_ms.", NONE, , )                           \
    X(COUNTER, reused, "inferd_engine_connections_reused_total",                                   \
      "Requests sent on a connection that had carried one before.", NONE, , )                      \
    X(COUNTER, reuse_races, "inferd_engine_reuse_races_total",                                     \
      "Reused connections that ended as the request was sent: it went out again on a fresh one.",  \
      NONE, , )                                                                                    \
    X(COUNTER, unheard, "inferd_engine_unheard_total",                                             \
      "Requests given up because the engine's host acknowledged nothing of them.", NONE, , )       \
    X(COUNTER, stale, "inferd_engine_connections_stale_total",                                     \
      "Idle connections found closed when they were looked at before use.", NONE, , )

/* Written by the client's thread; see base/metrics.h. */
struct client_counts {
    CLIENT_METRICS(METRICS_FIELD)
};

void client_create(struct loop *l, struct chunk_pool *chunks, const struct client_limits *limits,
                   struct client **ret);
void client_set_limits(struct client *c, const struct client_limits *limits);
const struct client_counts *client_stats(const struct client *c);
/* Adds them to the sums; the client must outlive the registry's last render. */
void client_register(const struct client *c, struct metrics *m);
/* All pools must have been closed. */
void client_destroy(struct client **c);

/* `host` is a name or a literal without brackets ("" for Unix), `unix_path` non-NULL for Unix. */
struct pool_target {
    struct str host;
    uint16_t port;
    const char *unix_path;
    const struct addr *addrs; /* naddrs > 0: what the name is taken for, with `port`; nobody is */
    unsigned naddrs;          /* asked, now or later. RESOLVE_ADDRS_MAX at most; copied */
};
void pool_create(struct client *c, const struct pool_target *to, struct pool **ret);
/* Idle connections are closed now, busy ones when their call ends; the pool then goes by itself. */
void pool_close(struct pool **p);
unsigned pool_idle(const struct pool *p);
/* Closes idle connections: the engine behind the address changed. */
void pool_flush(struct pool *p);

/* on_open or on_fail follows, never before this returns. */
void call_open(struct pool *p, const struct call_ops *ops, void *ctx, struct call **ret);
/* True when the connection is there already, so that the owner may send at once, without waiting
 * for on_open (which is not called then). Only directly after call_open(). */
bool call_take_open(struct call *c);
/* `head` and `body` (may be NULL) are borrowed until on_head, on_fail or call_cancel: the reuse
 * race sends them again. `asked` decides the reply's framing. */
void call_send(struct call *c, struct str head, const struct chunkq *body, enum http1_method asked);
/* The reply is a stream: the kernel shall not read far ahead. */
void call_bound_unread(struct call *c, unsigned bytes);
/* Stops and resumes the reply (back-pressure to the engine). */
void call_pause(struct call *c);
void call_resume(struct call *c);
/* Bytes of the request not yet with the kernel. */
size_t call_queued(const struct call *c);
uint64_t call_progress_ms(const struct call *c);
bool call_reused(const struct call *c);
/* Ends it; no callback follows. NULL is fine. */
void call_cancel(struct call **c);
