/* SPDX-License-Identifier: Apache-2.0
 *
 * server.h - HTTP/1.1 server connections on one loop: heads, bodies, keep-alive, pipelining, and
 * the deadlines of a client that is slow (fabric: head, body rate, stall, idle, linger). One server
 * per loop and owner; connections come from listeners or are handed over by other lanes.
 */
#pragma once
#include "base/metrics.h"
#include "ev/stream.h"
#include "net/exchange.h"

struct server; /* opaque */

/* Milliseconds; 0 switches a limit off. Copied. */
struct server_limits {
    uint32_t head_ms;       /* the whole head, from its first byte (408), or from accept (close) */
    uint32_t keepalive_ms;  /* idle between requests: closed */
    uint32_t body_grace_ms; /* after it, the body must come at body_bytes_per_s (408) */
    uint32_t body_bytes_per_s;
    uint32_t stall_ms;        /* a client that takes no byte of a reply that waits */
    uint32_t stream_stall_ms; /* the same for EXCHANGE_STREAM replies */
    uint32_t linger_ms;       /* reading and dropping after an early reply, before the close */
    uint32_t head_bytes, request_line_bytes, headers;
};
/* Of servers that have no settings of their own: admin sides, faces, registry, babysitter. */
extern const struct server_limits server_limits_usual;

/* What one server counts, a shard of the registry's sums. Every limit above has its row. */
#define SERVER_METRICS(X)                                                                          \
    X(COUNTER, accepted, "inferd_connections_accepted_total", "Client connections taken.", NONE,   \
      , )                                                                                          \
    X(COUNTER, closed, "inferd_connections_closed_total", "Client connections that ended.", NONE,  \
      , )                                                                                          \
    X(COUNTER, gone, "inferd_connections_lost_total",                                              \
      "Client connections that broke, or whose client left before its reply was there.", NONE, , ) \
    X(COUNTER, shed, "inferd_connections_shed_total",                                              \
      "Idle client connections closed to make room for new ones.", NONE, , )                       \
    X(COUNTER, requests, "inferd_heads_total", "Request heads that were read.", NONE, , )          \
    X(COUNTER, refused_heads, "inferd_heads_refused_total",                                        \
      "Requests refused for their head, or before it came; each limit is counted below, too.",     \
      NONE, , )                                                                                    \
    X(COUNTER, pipelined, "inferd_pipelined_total",                                                \
      "Times that bytes came behind a request under way and were kept.", NONE, , )                 \
    X(COUNTER, large_heads, "inferd_limit_head_bytes_total",                                       \
      "Heads refused for head_bytes, or for a field line beyond 8 KiB.", NONE, , )                 \
    X(COUNTER, long_lines, "inferd_limit_request_line_bytes_total",                                \
      "Heads refused for request_line_bytes.", NONE, , )                                           \
    X(COUNTER, many_fields, "inferd_limit_headers_total", "Heads refused for headers.", NONE, , )  \
    X(COUNTER, head_timeouts, "inferd_limit_head_ms_total",                                        \
      "Heads that did not come within head_ms.", NONE, , )                                         \
    X(COUNTER, body_timeouts, "inferd_limit_body_bytes_per_s_total",                               \
      "Bodies slower than body_bytes_per_s after body_grace_ms.", NONE, , )                        \
    X(COUNTER, idle_closed, "inferd_limit_keepalive_ms_total",                                     \
      "Connections closed for keepalive_ms, or because they never spoke within head_ms.", NONE,    \
      , )                                                                                          \
    X(COUNTER, stalls, "inferd_limit_stall_ms_total",                                              \
      "Clients cut because they took nothing of a reply for stall_ms.", NONE, , )                  \
    X(COUNTER, stream_stalls, "inferd_limit_stream_stall_ms_total",                                \
      "Clients cut because they took nothing of a stream for stream_stall_ms.", NONE, , )

/* Written by the server's thread; see base/metrics.h. */
struct server_counts {
    SERVER_METRICS(METRICS_FIELD)
};

struct server_conf {
    struct server_limits limits;
    const struct exchange_owner *owner;
    void *ctx; /* passed to on_request */
    struct chunk_pool *chunks;
    struct arena_cache *arenas;
    struct str name;    /* the Server field; the bytes outlive the server */
    bool host_optional; /* HTTP/1.1 without Host passes; on Unix sockets it always does */
    /* A connection that server_accept() or server_refuse() took has ended; `refused` is the code it
     * was refused with. It is counted until this returns. NULL: nobody wants to know. Must not call
     * the server. */
    void (*on_closed)(void *ctx, const struct addr *peer, enum fault_code refused);
};

void server_create(struct loop *l, const struct server_conf *conf, struct server **ret);
/* Takes a connected client. `listener_ctx` identifies where it came from (struct
 * exchange.server_ctx is conf.ctx; this one is exchange_listener()). -E_NO_FDS, ...: the fd is left
 * to the caller. */
int server_accept(struct server *s, struct ev_fd *fd, const struct addr *peer,
                  void *listener_ctx) MUSTCHECK;
/* The same for a client that is told so and nothing else: on_request() gets an exchange with that
 * fault before this returns, and the connection closes behind the reply. */
int server_refuse(struct server *s, struct ev_fd *fd, const struct addr *peer, void *listener_ctx,
                  enum fault_code code, const char *why) MUSTCHECK;
void *exchange_listener(const struct exchange *x);
/* Open connections now; any thread. */
unsigned server_connections(const struct server *s);
/* Reply bytes that wait because their clients do not take them; any thread. */
size_t server_unsent(const struct server *s);
const struct server_counts *server_stats(const struct server *s);
/* Adds them to the sums; the server must outlive the registry's last render. */
void server_register(const struct server *s, struct metrics *m);
/* New limits for connections and requests that begin later. */
void server_set_limits(struct server *s, const struct server_limits *limits);
/* Idle connections are closed, busy ones get `Connection: close` on their next reply. */
void server_drain(struct server *s);
/* Closes the longest-idle connection; false when none idles. One on which bytes wait unread does
 * not idle, nor does one that came within the last second and has not spoken yet. */
bool server_shed_idle(struct server *s);
/* Closes every connection; owners of live exchanges get on_gone(-E_CLOSED). */
void server_destroy(struct server **s);
