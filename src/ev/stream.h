/* SPDX-License-Identifier: Apache-2.0
 *
 * stream.h - a byte stream in both directions: TCP or Unix today, TLS later. Opaque; its descriptor
 * never leaves ev/. The owner gets bytes in a buffer that the loop lends for the duration of the
 * callback, and gives bytes with one call that takes them all: what the kernel does not take at
 * once waits here (copied or shared chunks), with one write outstanding.
 *
 * An idle stream owns no buffer. Callbacks never run inside a call of the owner's; after
 * stream_close() none runs at all. A callback may close the stream.
 */
#pragma once
#include <sys/uio.h>

#include "base/chunk.h"
#include "ev/addr.h"
#include "ev/loop.h"

struct stream; /* opaque */

/* A descriptor on its way from one loop or process to another: moved, never read. */
struct ev_fd {
    int fd; /* -1: none */
};
#define EV_FD_NONE ((struct ev_fd){-1})
void ev_fd_close(struct ev_fd *fd);
/* A second descriptor of the same thing, close-on-exec. -E_NO_FDS. */
int ev_fd_dup(const struct ev_fd *fd, struct ev_fd *ret) MUSTCHECK;

struct stream_ops {
    /* n > 0 bytes; `p` is the loop's and writable, good until the callback returns. Not called
     * while reading is paused. */
    void (*on_data)(void *ctx, char *p, size_t n);
    /* The peer will send no more. While reading is paused it is told only under
     * stream_watch_hangup(), and then means that the peer is gone or half closed. Called once. */
    void (*on_eof)(void *ctx);
    /* The connection is dead (-E_RESET, -E_TIMEOUT, ...), or a connect failed (-E_REFUSED,
     * -E_UNREACHABLE, ...). Nothing is called after it; the owner closes. */
    void (*on_error)(void *ctx, int err);
    /* The queue of unsent bytes became empty after it had not been. */
    void (*on_drained)(void *ctx);
    /* stream_connect() succeeded; reading and writing may begin. */
    void (*on_connected)(void *ctx);
};

/* Starts connecting; on_connected or on_error tells. -E_NO_FDS, -E_REFUSED (Unix paths may fail at
 * once), ... `pool` holds unsent bytes and must outlive the stream. Reading is armed. */
int stream_connect(struct loop *l, const struct addr *to, struct chunk_pool *pool,
                   const struct stream_ops *ops, void *ctx, struct stream **ret) MUSTCHECK;
/* Takes a connected descriptor (from listener_*, or a pair); fd is left alone on error. Reading is
 * armed. */
int stream_open(struct loop *l, struct ev_fd *fd, struct chunk_pool *pool,
                const struct stream_ops *ops, void *ctx, struct stream **ret) MUSTCHECK;
/* Hands the callbacks to a new owner: a pooled connection changes hands so. */
void stream_set_owner(struct stream *s, const struct stream_ops *ops, void *ctx);

/* Takes all bytes of iov[0..n). Returns how many bytes wait unsent in all (0: everything is with
 * the kernel), or a negative code when the connection is dead, with no callback about it. */
long stream_write(struct stream *s, const struct iovec *iov, unsigned n) MUSTCHECK;
/* The same with `head` in front of the whole of `body`, whose chunks are shared, not copied. */
long stream_write_chunks(struct stream *s, struct str head, const struct chunkq *body) MUSTCHECK;
/* Bytes not yet taken by the kernel. */
size_t stream_queued(const struct stream *s);
/* When the kernel last took bytes, loop_now_ms(): for write-stall deadlines. */
uint64_t stream_progress_ms(const struct stream *s);

/* Bounds what the kernel holds unsent or unread for it, in bytes (it takes twice that in memory);
 * the first time counts. Without, the kernel lets it grow to megabytes. With a bound for what is
 * unread, on_data gives 6 KiB at most. */
void stream_bound_unsent(struct stream *s, unsigned bytes);
void stream_bound_unread(struct stream *s, unsigned bytes);

/* Stops and resumes reading; both harmless when done already. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);
/* While paused, learn of the peer's hang-up all the same (on_eof). */
void stream_watch_hangup(struct stream *s, bool on);

/* False when the peer has closed or sent unasked bytes that no callback has told yet: one MSG_PEEK.
 */
bool stream_peek_idle(struct stream *s);
/* True when the peer's host has acknowledged nothing for `ms`, though there is something to
 * acknowledge: it is gone, or the way to it. Never of Unix sockets. */
bool stream_unheard(const struct stream *s, uint32_t ms);
/* Sends FIN after what is queued; reading goes on. */
void stream_shutdown(struct stream *s);

enum stream_end {
    STREAM_CLOSE, /* what is queued is dropped, FIN */
    STREAM_RESET, /* RST: a cut that nobody can take for an end */
};
/* NULL is fine. The memory goes at the end of the turn. */
void stream_close(struct stream **s, enum stream_end how);

/* The other end; family ADDR_UNIX with an empty path for Unix peers. */
void stream_peer(const struct stream *s, struct addr *ret);
