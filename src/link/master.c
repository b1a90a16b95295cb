/* SPDX-License-Identifier: Apache-2.0
 *
 * master.c - see master.h. pump() sends what the table says is due, in this order: the
 * configuration under way, orders, answers, units (never before the first commit: the gateway could
 * not place them). It stops at the first message the socket does not take and goes on when it does.
 */
#include "link/master.h"

#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/memfd.h"
#include "ev/packet.h"
#include "link/wire_priv.h"

enum {
    WINDOW_MS = 100,      /* of the pace */
    WINDOW_MESSAGES = 256 /* read in one window; beyond it reading pauses until it ends */
};

struct unit_row {
    struct link_unit unit;
    struct ev_fd ring; /* to be sent; EV_FD_NONE: it was, or there is none */
    bool seen, dirty, gone;
};

struct listener_row {
    struct link_listener listener;
    struct ev_fd socket; /* EV_FD_NONE: the gateway has it */
};

enum verdict { VERDICT_OPEN, VERDICT_COMMIT, VERDICT_ABANDON };

/* The configuration under way. */
struct transfer {
    bool active, config_sent, acked;
    uint32_t generation;
    struct ev_fd bundle;
    struct listener_row *listeners;
    unsigned n, sent;
    enum verdict verdict;
};

struct answer_row {
    bool due;
    uint32_t ticket;
    int err;
    char text[LINK_TEXT_MAX + 1];
};

struct link_master {
    struct loop *loop;
    const struct link_master_ops *ops;
    void *ctx;
    struct packet *packet;
    struct grave grave;
    struct deadline window;
    unsigned in_window;
    struct transfer transfer;
    uint32_t *known; /* ids of the sockets of the committed generation */
    unsigned known_n;
    bool committed; /* there was a first one */
    struct unit_row *units;
    unsigned units_n;
    struct answer_row answers[LINK_ASKS_MAX];
    unsigned next_answer;
    struct link_counts counts;
    bool counts_due, drain, cut;
};

static bool send_wire(struct link_master *m, const struct wire *w, const struct ev_fd *fd)
{
    bool has_fd = fd && fd->fd >= 0;

    return packet_send(m->packet, w, sizeof *w, has_fd ? fd : NULL, has_fd ? 1 : 0) == 0;
}

static void transfer_clear(struct transfer *t)
{
    ev_fd_close(&t->bundle);
    for (unsigned i = 0; i < t->n; i++)
        ev_fd_close(&t->listeners[i].socket);
    mem_free(t->listeners);
    *t = (struct transfer){.bundle = EV_FD_NONE};
}

/* From now on the gateway has these sockets and no others. */
static void remember_sockets(struct link_master *m)
{
    const struct transfer *t = &m->transfer;

    m->known = mem_resize_array(m->known, t->n, sizeof *m->known);
    for (unsigned i = 0; i < t->n; i++)
        m->known[i] = t->listeners[i].listener.id;
    m->known_n = t->n;
    m->committed = true;
}

/* False when the socket is full. */
static bool pump_transfer(struct link_master *m)
{
    struct transfer *t = &m->transfer;
    struct wire w;

    if (!t->active)
        return true;
    if (!t->config_sent) {
        w = wire_make(WIRE_CONFIG);
        w.generation = t->generation;
        if (!send_wire(m, &w, &t->bundle))
            return false;
        t->config_sent = true;
    }
    for (; t->sent < t->n; t->sent++) {
        w = wire_make(WIRE_LISTENER);
        w.generation = t->generation;
        w.listener = t->listeners[t->sent].listener;
        if (!send_wire(m, &w, &t->listeners[t->sent].socket))
            return false;
        ev_fd_close(&t->listeners[t->sent].socket);
    }
    if (t->verdict == VERDICT_OPEN)
        return true;
    w = wire_make(t->verdict == VERDICT_COMMIT ? WIRE_COMMIT : WIRE_ABANDON);
    w.generation = t->generation;
    if (!send_wire(m, &w, NULL))
        return false;
    if (t->verdict == VERDICT_COMMIT)
        remember_sockets(m);
    transfer_clear(t);
    return true;
}

static bool pump_order(struct link_master *m, bool *due, enum wire_kind kind)
{
    struct wire w = wire_make(kind);

    if (*due && !send_wire(m, &w, NULL))
        return false;
    *due = false;
    return true;
}

static bool pump_counts(struct link_master *m)
{
    struct wire w = wire_make(WIRE_COUNTS);

    w.counts = m->counts;
    if (m->counts_due && !send_wire(m, &w, NULL))
        return false;
    m->counts_due = false;
    return true;
}

static bool pump_answers(struct link_master *m)
{
    for (unsigned i = 0; i < LINK_ASKS_MAX; i++) {
        struct answer_row *a = &m->answers[(m->next_answer + i) % LINK_ASKS_MAX];
        struct wire w = wire_make(WIRE_ANSWER);

        if (!a->due)
            continue;
        w.ticket = a->ticket;
        w.code = a->err;
        wire_text(&w, str_of(a->text));
        if (!send_wire(m, &w, NULL))
            return false;
        a->due = false;
    }
    return true;
}

static void forget_unit(struct link_master *m, unsigned i)
{
    ev_fd_close(&m->units[i].ring);
    m->units[i] = m->units[--m->units_n];
}

static bool pump_units(struct link_master *m)
{
    for (unsigned i = 0; i < m->units_n;) {
        struct unit_row *u = &m->units[i];
        struct wire w = wire_make(u->gone ? WIRE_UNIT_GONE : WIRE_UNIT);

        if (u->gone && !u->seen) { /* it came and went while the gateway did not look */
            forget_unit(m, i);
            continue;
        }
        if (u->dirty) {
            w.unit = u->unit;
            if (!send_wire(m, &w, &u->ring))
                return false;
            ev_fd_close(&u->ring);
            u->dirty = false;
            u->seen = true;
        }
        if (u->gone)
            forget_unit(m, i);
        else
            i++;
    }
    return true;
}

static void pump(struct link_master *m)
{
    (void)(pump_transfer(m) && pump_order(m, &m->drain, WIRE_DRAIN) &&
           pump_order(m, &m->cut, WIRE_CUT) && pump_counts(m) && pump_answers(m) && m->committed &&
           pump_units(m));
}

static void on_window(struct deadline *d)
{
    struct link_master *m = container_of(d, struct link_master, window);

    m->in_window = 0;
    packet_resume(m->packet);
}

static void dispatch(struct link_master *m, const struct wire *w)
{
    const struct transfer *t = &m->transfer;
    bool first_ack = t->active && t->generation == w->generation && t->config_sent && !t->acked;

    switch ((enum wire_kind)w->kind) {
    case WIRE_ASK:
        m->ops->on_ask(m->ctx, w->ticket, (enum link_verb)w->code, w->unit.id);
        return;
    case WIRE_REPORT:
        m->ops->on_report(m->ctx, w->unit.id, w->unit.generation, (enum link_report)w->code);
        return;
    case WIRE_ACK:
        if (!first_ack)
            return;
        m->transfer.acked = true;
        m->ops->on_ack(m->ctx, w->generation,
                       w->code ? str_of(w->text[0] ? w->text : "refused without a reason")
                               : STR_NONE);
        return;
    case WIRE_SWAPPED:
        m->ops->on_swapped(m->ctx, w->generation);
        return;
    case WIRE_ACCEPTING:
        m->ops->on_accepting(m->ctx);
        return;
    case WIRE_DRAINED:
        m->ops->on_drained(m->ctx);
        return;
    case WIRE_CONFIG:
    case WIRE_LISTENER:
    case WIRE_COMMIT:
    case WIRE_ABANDON:
    case WIRE_UNIT:
    case WIRE_UNIT_GONE:
    case WIRE_ANSWER:
    case WIRE_COUNTS:
    case WIRE_DRAIN:
    case WIRE_CUT:
    case WIRE_KINDS_N:
        break;
    }
    CHECK(false); /* wire_read() lets only the gateway's kinds through */
}

static void on_message(void *ctx, const void *p, size_t n, struct ev_fd *fds, unsigned fds_n)
{
    struct link_master *m = ctx;
    struct wire w;

    (void)fds;
    if (wire_read(p, n, fds_n, false, &w) < 0) {
        packet_close(&m->packet);
        m->ops->on_closed(m->ctx, true);
        return;
    }
    if (!deadline_armed(&m->window)) {
        m->in_window = 0;
        deadline_arm(m->loop, &m->window, WINDOW_MS, on_window);
    }
    if (++m->in_window == WINDOW_MESSAGES)
        packet_pause(m->packet);
    dispatch(m, &w);
}

static void on_writable(void *ctx) { pump(ctx); }

static void on_packet_closed(void *ctx)
{
    struct link_master *m = ctx;

    m->ops->on_closed(m->ctx, false);
}

static const struct packet_ops packet_ops = {on_message, on_writable, on_packet_closed};

int link_master_open(struct loop *l, struct ev_fd *fd, const struct link_master_ops *ops, void *ctx,
                     struct link_master **ret)
{
    struct link_master *m = xnew(struct link_master, .loop = l, .ops = ops, .ctx = ctx,
                                 .transfer = {.bundle = EV_FD_NONE});
    int r = packet_open(l, fd, &packet_ops, m, &m->packet);

    if (r < 0) {
        mem_free(m);
        return r;
    }
    *ret = m;
    return 0;
}

static void on_grave(struct grave *g)
{
    struct link_master *m = container_of(g, struct link_master, grave);

    mem_free(m->known);
    mem_free(m->units);
    mem_free(m);
}

void link_master_close(struct link_master **mp)
{
    struct link_master *m = TAKE(mp);

    if (!m)
        return;
    deadline_stop(&m->window);
    packet_close(&m->packet);
    transfer_clear(&m->transfer);
    while (m->units_n)
        forget_unit(m, 0);
    loop_bury(m->loop, &m->grave, on_grave);
}

static bool socket_known(const struct link_master *m, uint32_t id)
{
    for (unsigned i = 0; i < m->known_n; i++)
        if (m->known[i] == id)
            return true;
    return false;
}

int link_master_config(struct link_master *m, uint32_t generation, const struct ev_fd *bundle,
                       const struct link_listener *listeners, const struct ev_fd *sockets,
                       unsigned n)
{
    struct transfer *t = &m->transfer;
    int r;

    CHECK(!t->active || t->verdict == VERDICT_ABANDON);
    transfer_clear(
        t); /* an abandonment that is not sent yet is implied by the next configuration */
    *t = (struct transfer){.active = true, .generation = generation, .bundle = EV_FD_NONE};
    t->listeners = mem_alloc(n * sizeof *t->listeners);
    r = memfd_dup(bundle, &t->bundle);
    for (unsigned i = 0; r == 0 && i < n; i++) {
        t->listeners[i] = (struct listener_row){listeners[i], EV_FD_NONE};
        t->n = i + 1;
        if (!socket_known(m, listeners[i].id))
            r = memfd_dup(&sockets[i], &t->listeners[i].socket);
    }
    if (r < 0) {
        transfer_clear(t);
        return r;
    }
    pump(m);
    return 0;
}

static void decide(struct link_master *m, enum verdict v)
{
    CHECK(m->transfer.active && m->transfer.verdict == VERDICT_OPEN);
    m->transfer.verdict = v;
    pump(m);
}

void link_master_commit(struct link_master *m) { decide(m, VERDICT_COMMIT); }

void link_master_abandon(struct link_master *m) { decide(m, VERDICT_ABANDON); }

static struct unit_row *find_unit(struct link_master *m, uint32_t id)
{
    for (unsigned i = 0; i < m->units_n; i++)
        if (m->units[i].unit.id == id)
            return &m->units[i];
    return NULL;
}

void link_master_unit(struct link_master *m, const struct link_unit *u, const struct ev_fd *ring)
{
    struct unit_row *row = find_unit(m, u->id);

    if (!row) {
        m->units = mem_resize_array(m->units, m->units_n + 1, sizeof *m->units);
        row = &m->units[m->units_n++];
        *row = (struct unit_row){.ring = EV_FD_NONE};
        if (ring && memfd_dup(ring, &row->ring) < 0)
            row->ring = EV_FD_NONE; /* no logs for it then; better than no unit */
    }
    row->unit = *u;
    row->dirty = true;
    pump(m);
}

void link_master_unit_gone(struct link_master *m, uint32_t id)
{
    struct unit_row *row = find_unit(m, id);

    if (!row)
        return;
    row->gone = row->dirty = true;
    pump(m);
}

void link_master_answer(struct link_master *m, uint32_t ticket, int err, struct str text)
{
    struct answer_row *a = &m->answers[m->next_answer++ % LINK_ASKS_MAX];
    size_t n = str_utf8_cut(text, LINK_TEXT_MAX);

    /* A gateway that asks more than LINK_ASKS_MAX at once loses its oldest answers. */
    *a = (struct answer_row){.due = true, .ticket = ticket, .err = err};
    if (n)
        memcpy(a->text, text.p, n);
    pump(m);
}

void link_master_counts(struct link_master *m, const struct link_counts *counts)
{
    m->counts = *counts;
    m->counts_due = true;
    pump(m);
}

void link_master_drain(struct link_master *m)
{
    m->drain = true;
    pump(m);
}

void link_master_cut(struct link_master *m)
{
    m->cut = true;
    pump(m);
}
