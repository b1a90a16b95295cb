/* SPDX-License-Identifier: Apache-2.0
 *
 * wire.h - the simulated kernel's sockets: listeners with backlogs, connections as two pipes of
 * bounded size through which bytes, FIN and RST travel for a while. Used from one side by ev's
 * streams (test/sim/ev), from the other by scripted peers (sim/peer.h). Addresses are ev's; nothing
 * reaches a real socket.
 *
 * What is true to Linux, because servers depend on it: a connect completes without an accept; a
 * close with unread bytes sends RST instead of FIN; bytes that arrive at a closed socket are
 * answered with RST; RST does not take away what Linux has already received, but does so on a
 * `foreign` socket (other systems do), and may overtake what was still on its way.
 */
#pragma once
#include <sys/uio.h>

#include "base/list.h"
#include "ev/addr.h"

struct sock; /* a listening socket or one end of a connection; has one owner */

/* How reads are cut. */
enum wire_reads {
    WIRE_WHOLE,  /* all that is there */
    WIRE_RANDOM, /* any part of it */
    WIRE_BYTES,  /* single bytes, for the first kilobytes of each direction */
};

/* How the network treats connects to an address on which nothing special is said: to the listener,
 * or refused. */
enum wire_route {
    WIRE_OPEN,        /* the default */
    WIRE_UNREACHABLE, /* fails after a while */
    WIRE_BLACKHOLE,   /* never answers; what connections carry to it, and from it, is lost */
};

/* Drawn from the seed by world_begin(); scenarios may overwrite it before they connect anything. */
struct wire_conf {
    enum wire_reads reads;
    unsigned short_write_percent; /* a write takes only a part though there is room */
    uint64_t latency_min_us, latency_max_us;
    size_t buffer_bytes; /* one direction of a connection holds so much */
    unsigned fds;        /* descriptors the process under test may have */
};

/* By world.c. wire_end() aborts when a socket or a descriptor is left. */
void wire_begin(void);
void wire_end(void);
struct wire_conf *wire_conf(void);
/* At most 32 KiB in each direction: scenarios that fill the network need less to fill it with. */
void wire_small_buffers(void);
void wire_route(const struct addr *to, enum wire_route how);

/* -E_BUSY when somebody listens there; port 0 is replaced by a free one. */
int wire_listen(struct addr *at, unsigned backlog, struct sock **ret) MUSTCHECK;
/* The connection that waits longest, or NULL. */
struct sock *wire_accept(struct sock *listening);
bool wire_acceptable(const struct sock *listening);
/* Starts a connect. -E_REFUSED, -E_NOT_FOUND at once for Unix paths. `foreign`: see above. */
int wire_connect(const struct addr *to, bool foreign, struct sock **ret) MUSTCHECK;
/* 1: connected, 0: not yet, or a negative code. */
int wire_connected(struct sock *s);
/* A connected pair, both foreign or none. */
void wire_pair(bool foreign, struct sock **a, struct sock **b);

/* Bytes taken (0: no room), or -E_RESET. */
long wire_send(struct sock *s, const void *p, size_t n);
/* The first of the bytes that are on their way have been so for `ms`. */
bool wire_unheard(const struct sock *s, uint32_t ms);
/* Bytes read (> 0), 0 at the end, -E_AGAIN, or -E_RESET. */
long wire_recv(struct sock *s, void *p, size_t n);
/* The same without the seed's cuts: what a patient peer sees. */
long wire_recv_all(struct sock *s, void *p, size_t n);
/* wire_recv() would not say -E_AGAIN. */
bool wire_readable(const struct sock *s);
/* wire_send() would not say 0. */
bool wire_writable(const struct sock *s);
/* The other end's FIN has arrived (bytes may be unread before it). */
bool wire_ended(const struct sock *s);
/* RST has arrived. */
bool wire_was_reset(const struct sock *s);
/* FIN behind what was sent. */
void wire_shutdown(struct sock *s);
/* Frees our end. `reset`: RST. A listening socket resets what waits in its backlog. */
void wire_close(struct sock **s, bool reset);
/* When something will arrive that has not yet; UINT64_MAX: nothing under way. */
uint64_t wire_next_us(const struct sock *s);
const struct addr *wire_local(const struct sock *s);
const struct addr *wire_remote(const struct sock *s);
bool wire_listening(const struct sock *s);

/* Descriptors: numbers that stand for sockets, and for other things of the kernel's, while they are
 * handed around. A stream or listener that holds a socket without a number counts as one, too. */

/* Something else than a socket: embedded first in what ev's fakes make. */
struct wire_object {
    const struct wire_object_ops *ops;
    unsigned refs;
};
struct wire_object_ops {
    const char *name;
    void (*destroy)(struct wire_object *o); /* the last reference has gone */
};
void wire_object_unref(struct wire_object *o);

/* What a descriptor stands for; one of them is set. */
struct wire_thing {
    struct sock *sock;
    struct wire_object *object;
};
/* A reference of its own. A connected socket has one owner only: that is a failed CHECK. */
struct wire_thing wire_thing_of(int fd);
/* Takes the thing; it stays the caller's on -E_NO_FDS. */
int wire_thing_put(struct wire_thing *t, int *ret_fd) MUSTCHECK;
void wire_thing_drop(struct wire_thing *t);

int wire_fd_put(struct sock **s, int *ret_fd) MUSTCHECK; /* -E_NO_FDS; takes *s */
struct sock *wire_fd_look(int fd);                       /* NULL: no such socket */
/* NULL: no descriptor of such a thing. Borrowed. */
struct wire_object *wire_fd_object(int fd, const struct wire_object_ops *ops);
struct sock *wire_fd_take(int fd); /* the number is free again */
void wire_fd_close(int fd);
/* Another owner of a listening socket: it ends when all have closed it. */
struct sock *wire_ref(struct sock *listening);
/* -E_NO_FDS when the process under test has no descriptor left. */
int wire_fd_reserve(void) MUSTCHECK;
void wire_fd_release(void);
unsigned wire_fds(void);
