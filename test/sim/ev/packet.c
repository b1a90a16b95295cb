/* SPDX-License-Identifier: Apache-2.0
 *
 * packet.c - message pairs of the simulated world. Each end holds what was sent to it and when that
 * arrives; a pair takes so many messages as its seed says before a sender has to wait. Descriptors
 * travel as references of their own and get new numbers where they arrive.
 */
#include "ev/packet.h"

#include "base/mem.h"
#include "sim/ev/fake.h"
#include "sim/wire.h"

enum { TRAVEL_MAX_US = 300, PLAIN_ROOM = 64, ROOM_MAX = 40 };

struct message {
    struct list node;
    uint64_t at_us;
    size_t n;
    struct wire_thing things[PACKET_FDS_MAX];
    unsigned things_n;
    char bytes[];
};

/* What a descriptor of one end stands for. */
struct end {
    struct wire_object object;
    struct end *peer; /* NULL: closed */
    struct list inbox;
    unsigned inbox_n, room;
};

struct packet {
    struct source source;
    struct end *end;
    const struct packet_ops *ops;
    void *ctx;
    bool paused, over, wants_room;
};

static void message_free(struct message *m)
{
    for (unsigned i = 0; i < m->things_n; i++)
        wire_thing_drop(&m->things[i]);
    mem_free(m);
}

static void end_destroy(struct wire_object *o)
{
    struct end *e = container_of(o, struct end, object);
    struct message *m;

    if (e->peer)
        e->peer->peer = NULL;
    list_each(m, &e->inbox, node)
    {
        list_remove(&m->node);
        message_free(m);
    }
    mem_free(e);
}

static const struct wire_object_ops end_ops = {"packet end", end_destroy};

static struct end *end_create(void)
{
    struct end *e = xnew(struct end, .object = {&end_ops, 1});

    list_init(&e->inbox);
    e->room = world_plain() ? PLAIN_ROOM : 1 + (unsigned)world_random(ROOM_MAX);
    return e;
}

int packet_pair(struct ev_fd *ret_a, struct ev_fd *ret_b)
{
    struct end *a = end_create(), *b = end_create();
    struct wire_thing ta = {NULL, &a->object}, tb = {NULL, &b->object};
    int fa, fb;

    a->peer = b;
    b->peer = a;
    if (wire_thing_put(&ta, &fa) == 0) {
        if (wire_thing_put(&tb, &fb) == 0) {
            ret_a->fd = fa;
            ret_b->fd = fb;
            return 0;
        }
        wire_fd_close(fa);
    }
    wire_thing_drop(&ta);
    wire_thing_drop(&tb);
    return -E_NO_FDS;
}

static struct packet *packet_of(struct source *s) { return container_of(s, struct packet, source); }

static bool arrived(const struct packet *p)
{
    const struct message *m = list_first(&p->end->inbox, struct message, node);

    return m && m->at_us <= world_now_us();
}

static bool has_room(const struct packet *p)
{
    return !p->end->peer || p->end->peer->inbox_n < p->end->peer->room;
}

static bool is_over(const struct packet *p) { return !p->end->peer && list_empty(&p->end->inbox); }

static bool packet_ready(struct source *s)
{
    const struct packet *p = packet_of(s);

    if (p->over)
        return false;
    return (!p->paused && (arrived(p) || is_over(p))) || (p->wants_room && has_room(p));
}

static void deliver(struct packet *p)
{
    struct message *m = list_entry(list_shift(&p->end->inbox), struct message, node);
    struct ev_fd fds[PACKET_FDS_MAX];
    bool large = m->n > PACKET_BYTES_MAX;
    char *lent = mem_dup(m->bytes, m->n ? m->n : 1); /* exactly as long as it says */

    p->end->inbox_n--;
    for (unsigned i = 0; i < m->things_n; i++)
        if (wire_thing_put(&m->things[i], &fds[i].fd) < 0)
            fds[i] = EV_FD_NONE;
    p->ops->on_message(p->ctx, lent, large ? SIZE_MAX : m->n, fds, m->things_n);
    for (unsigned i = 0; i < m->things_n; i++)
        ev_fd_close(&fds[i]);
    mem_free(lent);
    message_free(m);
}

static void packet_fire(struct source *s)
{
    struct packet *p = packet_of(s);

    if (p->wants_room && has_room(p)) {
        p->wants_room = false;
        p->ops->on_writable(p->ctx);
        return;
    }
    if (is_over(p)) {
        p->over = true;
        p->ops->on_closed(p->ctx);
        return;
    }
    do
        deliver(p);
    while (!s->closed && !p->paused && arrived(p) && !world_chance(30));
}

static uint64_t packet_next_us(struct source *s)
{
    const struct packet *p = packet_of(s);
    const struct message *m = list_first(&p->end->inbox, struct message, node);

    return !p->paused && m && m->at_us > world_now_us() ? m->at_us : UINT64_MAX;
}

static const struct source_ops packet_source = {"packet", packet_ready, packet_fire,
                                                packet_next_us};

int packet_open(struct loop *l, struct ev_fd *fd, const struct packet_ops *ops, void *ctx,
                struct packet **ret)
{
    struct wire_object *o = wire_fd_object(fd->fd, &end_ops);
    struct packet *p;

    if (!o)
        return -E_INVAL;
    o->refs++; /* the descriptor's is given up below */
    ev_fd_close(fd);
    CHECK(wire_fd_reserve() == 0); /* the number it had */
    p = xnew(struct packet, .ops = ops, .ctx = ctx);
    p->end = container_of(o, struct end, object);
    source_open(l, &p->source, &packet_source);
    *ret = p;
    return 0;
}

int packet_send(struct packet *p, const void *bytes, size_t n, const struct ev_fd *fds,
                unsigned fds_n)
{
    struct end *to = p->end->peer;
    struct message *m;

    CHECK(!p->source.closed && fds_n <= PACKET_FDS_MAX);
    if (p->over || !to)
        return -E_RESET;
    if (!has_room(p)) {
        p->wants_room = true;
        return -E_AGAIN;
    }
    m = mem_alloc(sizeof *m + n);
    m->n = n;
    memcpy(m->bytes, bytes, n);
    for (unsigned i = 0; i < fds_n; i++)
        m->things[m->things_n++] = wire_thing_of(fds[i].fd);
    m->at_us = world_now_us() + world_random(TRAVEL_MAX_US);
    if (!list_empty(&to->inbox)) {
        const struct message *last = list_entry(to->inbox.prev, struct message, node);

        m->at_us = last->at_us > m->at_us ? last->at_us : m->at_us;
    }
    list_init(&m->node);
    list_append(&to->inbox, &m->node);
    to->inbox_n++;
    return 0;
}

void packet_pause(struct packet *p) { p->paused = true; }

void packet_resume(struct packet *p) { p->paused = false; }

void packet_close(struct packet **pp)
{
    struct packet *p = TAKE(pp);

    if (!p)
        return;
    wire_object_unref(&p->end->object);
    wire_fd_release();
    p->end = NULL;
    source_close(&p->source);
}
