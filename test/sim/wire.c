/* SPDX-License-Identifier: Apache-2.0
 *
 * wire.c - sockets of the simulated kernel; see wire.h. A connection is two ends that live until
 * both are closed. Each end owns the pipe it reads from: the bytes that were sent to it, in
 * segments with the time of their arrival, then perhaps FIN, and RST at any time. Sending is
 * bounded by the receiver's pipe, which stands for the buffers of both kernels.
 */
#include "sim/wire.h"

#include <stdio.h>

#include "base/mem.h"
#include "sim/world.h"

enum {
    FD_FIRST = 1000, /* numbers that no real descriptor of a test has */
    FD_MAX = 4096,
    ROUTES_MAX = 16,
    PORT_FIRST = 20000, /* for listeners that do not care */
    PORT_LOCAL = 40000, /* for connects */
    RETRY_US = 1000000, /* a full backlog drops the SYN: tried again */
    RETRY_UNIX_US = 5000,
    BYTEWISE_MAX = 3000,   /* single-byte reads of one direction; beyond, random ones */
    CONNECT_FAIL_US = 900, /* unreachable */
};

static const uint64_t NEVER_US = UINT64_C(1000000000000000);

struct segment {
    uint64_t at_us;
    size_t n;
};

struct pipe {
    char *bytes;
    size_t head, n, size; /* bytes[head..head+n) wait, on their way or arrived */
    struct segment *seg;
    unsigned seg_head, seg_n, seg_size;
    uint64_t last_us;        /* arrival of the last segment */
    uint64_t fin_us, rst_us; /* UINT64_MAX: none */
    size_t total_read;
};

enum sock_state {
    SOCK_LISTENING,
    SOCK_CONNECTING,
    SOCK_OPEN,
};

struct conn;

struct sock {
    struct list node; /* in a listener's backlog, or in the table of listeners */
    enum sock_state state;
    struct addr local, remote;
    bool foreign;
    /* listening */
    unsigned refs, backlog_max, backlog_n;
    struct list backlog;
    /* an end */
    struct conn *conn;
    struct pipe rx;
    uint64_t ready_us; /* when a connect is decided, or when it may be accepted */
    int connect_err;   /* what is decided then; 0: connected */
    bool retry;        /* nothing is decided: try again at ready_us */
    bool shut, closed; /* we sent FIN; we closed */
};

struct conn {
    struct sock end[2];
    uint64_t latency_us;
};

static struct {
    struct wire_conf conf;
    struct {
        struct addr to;
        enum wire_route how;
    } route[ROUTES_MAX];
    unsigned routes;
    struct list listeners;
    unsigned socks; /* all that live */
    unsigned fds;
    struct wire_thing fd[FD_MAX];
    uint16_t next_port, next_local;
} wire;

void wire_begin(void)
{
    static const enum wire_reads reads[] = {WIRE_WHOLE, WIRE_RANDOM, WIRE_RANDOM, WIRE_BYTES};

    memset(&wire, 0, sizeof wire);
    list_init(&wire.listeners);
    wire.next_port = PORT_FIRST;
    wire.next_local = PORT_LOCAL;
    wire.conf = (struct wire_conf){
        .reads = reads[world_random(ARRAY_LEN(reads))],
        .short_write_percent = (unsigned short)(world_chance(50) ? world_random(40) : 0),
        .latency_min_us = world_plain() ? 0 : 20,
        .latency_max_us = world_plain() ? 0 : world_between(20, 400),
        .buffer_bytes = world_plain() ? 262144 : (size_t)2048 << world_random(8),
        .fds = 3000,
    };
}

void wire_end(void)
{
    if (wire.socks || wire.fds)
        (void)fprintf(stderr, "left behind: %u sockets, %u descriptors\n", wire.socks, wire.fds);
    CHECK(wire.socks == 0);
    CHECK(wire.fds == 0);
}

struct wire_conf *wire_conf(void) { return &wire.conf; }

void wire_small_buffers(void) { wire.conf.buffer_bytes = min_size(wire.conf.buffer_bytes, 32768); }

void wire_route(const struct addr *to, enum wire_route how)
{
    for (unsigned i = 0; i < wire.routes; i++) {
        if (addr_eq(&wire.route[i].to, to)) {
            wire.route[i].how = how;
            return;
        }
    }
    CHECK(wire.routes < ROUTES_MAX);
    wire.route[wire.routes].to = *to;
    wire.route[wire.routes++].how = how;
}

static enum wire_route route_to(const struct addr *to)
{
    for (unsigned i = 0; i < wire.routes; i++) {
        if (addr_eq(&wire.route[i].to, to))
            return wire.route[i].how;
    }
    return WIRE_OPEN;
}

/* pipes */

static void pipe_init(struct pipe *p)
{
    *p = (struct pipe){.fin_us = UINT64_MAX, .rst_us = UINT64_MAX};
}

static void pipe_fini(struct pipe *p)
{
    mem_free(p->bytes);
    mem_free(p->seg);
}

static void pipe_put(struct pipe *p, const void *from, size_t n, uint64_t at_us)
{
    struct segment *last = p->seg_n ? &p->seg[p->seg_head + p->seg_n - 1] : NULL;

    if (p->head + p->n + n > p->size) {
        if (p->n)
            memmove(p->bytes, p->bytes + p->head, p->n);
        p->head = 0;
        if (p->n + n > p->size) {
            p->size = (p->n + n) * 2;
            p->bytes = mem_resize(p->bytes, p->size);
        }
    }
    memcpy(p->bytes + p->head + p->n, from, n);
    p->n += n;
    if (last && last->at_us == at_us) {
        last->n += n;
        return;
    }
    if (p->seg_head + p->seg_n == p->seg_size) {
        if (p->seg_n)
            memmove(p->seg, p->seg + p->seg_head, p->seg_n * sizeof *p->seg);
        p->seg_head = 0;
        if (p->seg_n == p->seg_size) {
            p->seg_size = p->seg_size ? p->seg_size * 2 : 8;
            p->seg = mem_resize_array(p->seg, p->seg_size, sizeof *p->seg);
        }
    }
    p->seg[p->seg_head + p->seg_n++] = (struct segment){at_us, n};
    p->last_us = at_us;
}

/* Bytes that have arrived. */
static size_t pipe_arrived(const struct pipe *p)
{
    uint64_t now = world_now_us();
    size_t n = 0;

    for (unsigned i = 0; i < p->seg_n && p->seg[p->seg_head + i].at_us <= now; i++)
        n += p->seg[p->seg_head + i].n;
    return n;
}

static void pipe_get(struct pipe *p, void *to, size_t n)
{
    memcpy(to, p->bytes + p->head, n);
    p->head += n;
    p->n -= n;
    p->total_read += n;
    while (n > 0) {
        struct segment *s = &p->seg[p->seg_head];
        size_t take = min_size(n, s->n);

        s->n -= take;
        n -= take;
        if (s->n == 0) {
            p->seg_head++;
            p->seg_n--;
        }
    }
}

/* Drops the last n bytes, which have not arrived. */
static void pipe_cut(struct pipe *p, size_t n)
{
    p->n -= n;
    while (n > 0) {
        struct segment *s = &p->seg[p->seg_head + p->seg_n - 1];
        size_t take = min_size(n, s->n);

        s->n -= take;
        n -= take;
        if (s->n == 0)
            p->seg_n--;
    }
}

/* connections */

static struct sock *other_end(const struct sock *s) { return &s->conn->end[s == &s->conn->end[0]]; }

static struct conn *conn_create(bool foreign, bool other_foreign)
{
    struct conn *c = xnew(struct conn);

    c->latency_us = world_between(wire.conf.latency_min_us, wire.conf.latency_max_us);
    for (unsigned i = 0; i < 2; i++) {
        struct sock *s = &c->end[i];

        list_init(&s->node);
        s->conn = c;
        s->state = SOCK_OPEN;
        pipe_init(&s->rx);
    }
    c->end[0].foreign = foreign;
    c->end[1].foreign = other_foreign;
    wire.socks += 2;
    return c;
}

/* When something sent now along this connection arrives. */
static uint64_t travel(const struct sock *s)
{
    uint64_t jitter = world_random(s->conn->latency_us / 4 + 1);

    if (route_to(&s->local) == WIRE_BLACKHOLE || route_to(&s->remote) == WIRE_BLACKHOLE)
        return world_now_us() + NEVER_US;
    return world_now_us() + s->conn->latency_us + jitter;
}

/* When something sent now to `to` arrives, not before what was sent to it earlier. */
static uint64_t arrival(const struct sock *to)
{
    uint64_t at = travel(to);

    return at > to->rx.last_us ? at : to->rx.last_us;
}

/* RST to `to`, arriving at `at_us`; overtakes some of what is still on its way. */
static void send_reset(struct sock *to, uint64_t at_us)
{
    struct pipe *p = &to->rx;
    size_t flying = p->n - pipe_arrived(p);

    if (p->rst_us != UINT64_MAX)
        return;
    if (flying && world_chance(50)) {
        pipe_cut(p, world_random(flying) + 1);
        p->fin_us = UINT64_MAX; /* FIN never comes before the bytes in front of it */
    }
    p->rst_us = at_us;
}

static void end_close(struct sock *s, bool reset)
{
    struct sock *to = other_end(s);
    size_t arrived = pipe_arrived(&s->rx);
    bool dead = s->rx.rst_us <= world_now_us();

    CHECK(!s->closed);
    s->closed = true;
    wire.socks--;
    if (to->closed) {
        pipe_fini(&s->rx);
        pipe_fini(&to->rx);
        mem_free(s->conn);
        return;
    }
    if (dead)
        return;
    if (reset || arrived > 0) {
        send_reset(to, arrival(to));
        return;
    }
    if (!s->shut)
        to->rx.fin_us = arrival(to);
    if (s->rx.n > 0) /* on its way to a closed socket */
        send_reset(to, s->rx.seg[s->rx.seg_head].at_us + s->conn->latency_us);
}

/* listeners and connects */

static struct sock *listener_at(const struct addr *to)
{
    struct sock *s;

    list_each(s, &wire.listeners, node)
    {
        if (s->local.family == to->family && s->local.port == to->port &&
            (addr_same_host(&s->local, to) || addr_is_wildcard(&s->local)))
            return s;
    }
    return NULL;
}

int wire_listen(struct addr *at, unsigned backlog, struct sock **ret)
{
    struct addr a = *at;
    struct sock *s;

    if (a.family != ADDR_UNIX && a.port == 0)
        a.port = wire.next_port++;
    if (listener_at(&a))
        return -E_BUSY;
    s = xnew(struct sock, .state = SOCK_LISTENING, .local = a, .refs = 1);
    s->backlog_max = backlog ? backlog : 1;
    list_init(&s->backlog);
    list_init(&s->node);
    list_append(&wire.listeners, &s->node);
    wire.socks++;
    *at = a;
    *ret = s;
    return 0;
}

bool wire_acceptable(const struct sock *ls)
{
    const struct sock *s = list_first(&ls->backlog, struct sock, node);

    return s && s->ready_us <= world_now_us();
}

struct sock *wire_accept(struct sock *ls)
{
    struct sock *s;

    CHECK(ls->state == SOCK_LISTENING);
    if (!wire_acceptable(ls))
        return NULL;
    s = list_entry(list_shift(&ls->backlog), struct sock, node);
    ls->backlog_n--;
    return s;
}

struct sock *wire_ref(struct sock *ls)
{
    CHECK(ls->state == SOCK_LISTENING);
    ls->refs++;
    return ls;
}

/* Reaches the listener, or decides that nobody will answer. */
static void try_connect(struct sock *s)
{
    struct sock *ls = listener_at(&s->remote), *end = other_end(s);

    s->retry = false;
    switch (route_to(&s->remote)) {
    case WIRE_UNREACHABLE:
        s->connect_err = -E_UNREACHABLE;
        s->ready_us = travel(s) + CONNECT_FAIL_US;
        return;
    case WIRE_BLACKHOLE:
        s->ready_us = UINT64_MAX;
        return;
    case WIRE_OPEN:
        break;
    }
    s->ready_us = travel(s) + s->conn->latency_us;
    if (!ls) {
        s->connect_err = -E_REFUSED;
        return;
    }
    if (ls->backlog_n >= ls->backlog_max) {
        s->retry = true;
        s->ready_us = world_now_us() + (ls->local.family == ADDR_UNIX ? RETRY_UNIX_US : RETRY_US);
        return;
    }
    s->connect_err = 0;
    end->local = ls->local;
    end->closed = false;
    wire.socks++;
    end->ready_us = s->ready_us - s->conn->latency_us / 2;
    list_append(&ls->backlog, &end->node);
    ls->backlog_n++;
}

int wire_connect(const struct addr *to, bool foreign, struct sock **ret)
{
    struct sock *ls = listener_at(to), *s;
    struct conn *c;

    if (to->family == ADDR_UNIX && !ls)
        return world_chance(50) ? -E_REFUSED : -E_NOT_FOUND;
    c = conn_create(foreign, !foreign);
    s = &c->end[0];
    c->end[1].closed = true; /* there is no other end before a listener has it */
    wire.socks--;
    s->state = SOCK_CONNECTING;
    s->remote = *to;
    s->local = (struct addr){.family = to->family};
    if (to->family != ADDR_UNIX) {
        s->local = *to;
        s->local.port = wire.next_local++;
    }
    c->end[1].remote = s->local;
    try_connect(s);
    *ret = s;
    return 0;
}

int wire_connected(struct sock *s)
{
    if (s->state == SOCK_OPEN)
        return 1;
    if (s->rx.rst_us <= world_now_us())
        return -E_REFUSED; /* the listener closed with us in its backlog */
    if (s->ready_us > world_now_us())
        return 0;
    if (s->retry) {
        try_connect(s);
        return 0;
    }
    if (s->connect_err < 0)
        return s->connect_err;
    s->state = SOCK_OPEN;
    return 1;
}

void wire_pair(bool foreign, struct sock **a, struct sock **b)
{
    struct conn *c = conn_create(foreign, foreign);

    for (unsigned i = 0; i < 2; i++)
        c->end[i].local.family = c->end[i].remote.family = ADDR_UNIX;
    *a = &c->end[0];
    *b = &c->end[1];
}

/* reading and writing */

long wire_send(struct sock *s, const void *p, size_t n)
{
    struct sock *to = other_end(s);
    size_t room;

    CHECK(s->state == SOCK_OPEN && !s->closed && !s->shut);
    if (s->rx.rst_us <= world_now_us())
        return -E_RESET;
    if (n == 0)
        return 0;
    room = wire.conf.buffer_bytes - min_size(wire.conf.buffer_bytes, to->rx.n);
    n = min_size(n, room);
    if (n > 1 && world_chance(wire.conf.short_write_percent))
        n = world_random(n) + 1;
    if (n > 0)
        pipe_put(&to->rx, p, n, arrival(to));
    if (n > 0 && to->closed) /* which will be answered with RST */
        send_reset(s, travel(s) + s->conn->latency_us);
    return (long)n;
}

bool wire_unheard(const struct sock *s, uint32_t ms)
{
    const struct pipe *p = &other_end(s)->rx;
    uint64_t now = world_now_us();

    for (unsigned i = 0; i < p->seg_n; i++) {
        uint64_t at = p->seg[p->seg_head + i].at_us;

        if (at > now)
            return at > now + NEVER_US / 2 && now + NEVER_US - at >= ms * UINT64_C(1000);
    }
    return false;
}

static size_t cut_read(struct sock *s, size_t n)
{
    switch (wire.conf.reads) {
    case WIRE_WHOLE:
        return n;
    case WIRE_BYTES:
        if (s->rx.total_read < BYTEWISE_MAX)
            return 1;
        break;
    case WIRE_RANDOM:
        break;
    }
    return world_chance(30) ? n : world_random(n) + 1;
}

static long receive(struct sock *s, void *p, size_t n, bool cut)
{
    uint64_t now = world_now_us();
    size_t arrived = pipe_arrived(&s->rx);

    CHECK(s->state == SOCK_OPEN && !s->closed && n > 0);
    if (s->rx.rst_us <= now && (s->foreign || arrived == 0))
        return -E_RESET;
    if (arrived > 0) {
        n = min_size(n, arrived);
        if (cut)
            n = cut_read(s, n);
        pipe_get(&s->rx, p, n);
        return (long)n;
    }
    return s->rx.fin_us <= now && s->rx.n == 0 ? 0 : -E_AGAIN;
}

long wire_recv(struct sock *s, void *p, size_t n) { return receive(s, p, n, true); }

long wire_recv_all(struct sock *s, void *p, size_t n) { return receive(s, p, n, false); }

bool wire_readable(const struct sock *s)
{
    uint64_t now = world_now_us();

    return s->rx.rst_us <= now || s->rx.fin_us <= now || pipe_arrived(&s->rx) > 0;
}

bool wire_writable(const struct sock *s)
{
    const struct sock *to = other_end(s);

    return s->rx.rst_us <= world_now_us() || to->rx.n < wire.conf.buffer_bytes;
}

bool wire_ended(const struct sock *s) { return s->rx.fin_us <= world_now_us(); }

bool wire_was_reset(const struct sock *s) { return s->rx.rst_us <= world_now_us(); }

void wire_shutdown(struct sock *s)
{
    struct sock *to = other_end(s);

    CHECK(s->state == SOCK_OPEN && !s->closed && !s->shut);
    s->shut = true;
    if (!to->closed)
        to->rx.fin_us = arrival(to);
}

void wire_close(struct sock **sp, bool reset)
{
    struct sock *s = TAKE(sp), *waiting;

    if (!s)
        return;
    if (s->state != SOCK_LISTENING) {
        end_close(s, reset);
        return;
    }
    CHECK(s->refs > 0);
    if (--s->refs > 0)
        return;
    while ((waiting = list_first(&s->backlog, struct sock, node))) {
        list_remove(&waiting->node);
        end_close(waiting, true);
    }
    list_remove(&s->node);
    wire.socks--;
    mem_free(s);
}

uint64_t wire_next_us(const struct sock *s)
{
    uint64_t now = world_now_us(), next = UINT64_MAX;

    if (s->state == SOCK_LISTENING) {
        const struct sock *first = list_first(&s->backlog, struct sock, node);

        return first && first->ready_us > now ? first->ready_us : UINT64_MAX;
    }
    if (s->state == SOCK_CONNECTING && s->ready_us > now)
        next = s->ready_us;
    for (unsigned i = 0; i < s->rx.seg_n; i++) {
        uint64_t at = s->rx.seg[s->rx.seg_head + i].at_us;

        if (at > now) {
            next = min_u64(next, at);
            break;
        }
    }
    if (s->rx.fin_us > now)
        next = min_u64(next, s->rx.fin_us);
    if (s->rx.rst_us > now)
        next = min_u64(next, s->rx.rst_us);
    return next;
}

const struct addr *wire_local(const struct sock *s) { return &s->local; }

const struct addr *wire_remote(const struct sock *s) { return &s->remote; }

bool wire_listening(const struct sock *s) { return s->state == SOCK_LISTENING; }

/* descriptors */

int wire_fd_reserve(void)
{
    if (wire.fds >= wire.conf.fds)
        return -E_NO_FDS;
    wire.fds++;
    return 0;
}

void wire_fd_release(void)
{
    CHECK(wire.fds > 0);
    wire.fds--;
}

unsigned wire_fds(void) { return wire.fds; }

static bool is_none(const struct wire_thing *t) { return !t->sock && !t->object; }

/* NULL: no such descriptor. */
static struct wire_thing *thing_at(int fd)
{
    struct wire_thing *t;

    if (fd < FD_FIRST || fd >= FD_FIRST + FD_MAX)
        return NULL;
    t = &wire.fd[fd - FD_FIRST];
    return is_none(t) ? NULL : t;
}

void wire_object_unref(struct wire_object *o)
{
    CHECK(o->refs > 0);
    if (--o->refs == 0)
        o->ops->destroy(o);
}

struct wire_thing wire_thing_of(int fd)
{
    struct wire_thing *t = thing_at(fd);

    CHECK(t);
    if (t->sock)
        (void)wire_ref(t->sock);
    else
        t->object->refs++;
    return *t;
}

int wire_thing_put(struct wire_thing *t, int *ret_fd)
{
    int r = wire_fd_reserve();

    if (r < 0)
        return r;
    for (unsigned i = 0; i < FD_MAX; i++) {
        if (!is_none(&wire.fd[i]))
            continue;
        wire.fd[i] = *t;
        *t = (struct wire_thing){NULL, NULL};
        *ret_fd = (int)(FD_FIRST + i);
        return 0;
    }
    wire_fd_release();
    return -E_NO_FDS;
}

void wire_thing_drop(struct wire_thing *t)
{
    struct wire_object *o = TAKE(&t->object);

    wire_close(&t->sock, false);
    if (o)
        wire_object_unref(o);
}

int wire_fd_put(struct sock **s, int *ret_fd)
{
    struct wire_thing t = {*s, NULL};
    int r = wire_thing_put(&t, ret_fd);

    if (r == 0)
        *s = NULL;
    return r;
}

struct sock *wire_fd_look(int fd)
{
    struct wire_thing *t = thing_at(fd);

    return t ? t->sock : NULL;
}

struct wire_object *wire_fd_object(int fd, const struct wire_object_ops *ops)
{
    struct wire_thing *t = thing_at(fd);

    return t && t->object && t->object->ops == ops ? t->object : NULL;
}

static struct wire_thing take(int fd)
{
    struct wire_thing *t = thing_at(fd), was;

    CHECK(t);
    was = *t;
    *t = (struct wire_thing){NULL, NULL};
    wire_fd_release();
    return was;
}

struct sock *wire_fd_take(int fd)
{
    struct wire_thing t = take(fd);

    CHECK(t.sock);
    return t.sock;
}

void wire_fd_close(int fd)
{
    struct wire_thing t = take(fd);

    wire_thing_drop(&t);
}
