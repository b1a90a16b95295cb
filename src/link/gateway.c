/* SPDX-License-Identifier: Apache-2.0
 *
 * gateway.c - see gateway.h. What the master was not told yet waits in a table, too: the latest
 * report of each unit, up to LINK_ASKS_MAX questions, and one bit for each announcement.
 */
#include "link/gateway.h"

#include "base/mem.h"
#include "ev/memfd.h"
#include "ev/packet.h"
#include "link/wire_priv.h"

enum { BUNDLE_BYTES_MAX = 64 << 20 };

struct ask_row {
    bool open, due; /* open: no answer yet; due: not sent yet */
    uint32_t ticket, unit;
    enum link_verb verb;
};

struct report_row {
    uint32_t unit, generation;
    enum link_report report;
};

struct link_gateway {
    struct loop *loop;
    const struct link_gateway_ops *ops;
    void *ctx;
    struct packet *packet;
    struct grave grave;
    struct ask_row asks[LINK_ASKS_MAX];
    uint32_t last_ticket;
    struct report_row *reports; /* not sent yet */
    unsigned reports_n, reports_size;
    struct wire ack;  /* ack_due */
    uint32_t pending; /* the configuration without a verdict; 0: none */
    uint32_t swapped;
    bool ack_due, swapped_due, accepting_due, drained_due;
    bool over; /* the master is gone, or on_closed is due */
};

static bool send_wire(struct link_gateway *g, const struct wire *w)
{
    return packet_send(g->packet, w, sizeof *w, NULL, 0) == 0;
}

static bool pump_word(struct link_gateway *g, bool *due, enum wire_kind kind, uint32_t generation)
{
    struct wire w = wire_make(kind);

    w.generation = generation;
    if (*due && !send_wire(g, &w))
        return false;
    *due = false;
    return true;
}

static bool pump_ack(struct link_gateway *g)
{
    if (g->ack_due && !send_wire(g, &g->ack))
        return false;
    g->ack_due = false;
    return true;
}

static bool pump_asks(struct link_gateway *g)
{
    for (unsigned i = 0; i < LINK_ASKS_MAX; i++) {
        struct ask_row *a = &g->asks[i];
        struct wire w = wire_make(WIRE_ASK);

        if (!a->due)
            continue;
        w.ticket = a->ticket;
        w.code = (int32_t)a->verb;
        w.unit.id = a->unit;
        if (!send_wire(g, &w))
            return false;
        a->due = false;
    }
    return true;
}

static bool pump_reports(struct link_gateway *g)
{
    while (g->reports_n) {
        const struct report_row *r = &g->reports[g->reports_n - 1];
        struct wire w = wire_make(WIRE_REPORT);

        w.unit.id = r->unit;
        w.unit.generation = r->generation;
        w.code = (int32_t)r->report;
        if (!send_wire(g, &w))
            return false;
        g->reports_n--;
    }
    return true;
}

static void pump(struct link_gateway *g)
{
    if (g->over)
        return;
    (void)(pump_ack(g) && pump_word(g, &g->swapped_due, WIRE_SWAPPED, g->swapped) &&
           pump_word(g, &g->accepting_due, WIRE_ACCEPTING, 0) &&
           pump_word(g, &g->drained_due, WIRE_DRAINED, 0) && pump_reports(g) && pump_asks(g));
}

static void on_packet_closed(void *ctx)
{
    struct link_gateway *g = ctx;

    g->over = true;
    g->ops->on_closed(g->ctx);
}

static void got_config(struct link_gateway *g, const struct wire *w, const struct ev_fd *fd)
{
    struct str bundle;

    if (g->pending)
        g->ops->on_abandon(g->ctx, g->pending); /* implied by the next one */
    if (g->over)
        return;
    g->pending = w->generation;
    if (memfd_map(fd, BUNDLE_BYTES_MAX, &bundle) < 0) {
        link_gateway_ack(g, w->generation, "the configuration could not be mapped");
        return;
    }
    g->ops->on_config(g->ctx, w->generation, bundle);
    memfd_unmap(&bundle);
}

static void got_answer(struct link_gateway *g, const struct wire *w)
{
    for (unsigned i = 0; i < LINK_ASKS_MAX; i++) {
        if (!g->asks[i].open || g->asks[i].ticket != w->ticket)
            continue;
        g->asks[i].open = false;
        g->ops->on_answer(g->ctx, w->ticket, w->code, str_of(w->text));
        return;
    }
}

static void dispatch(struct link_gateway *g, const struct wire *w, struct ev_fd *fd)
{
    switch ((enum wire_kind)w->kind) {
    case WIRE_CONFIG:
        got_config(g, w, fd);
        return;
    case WIRE_LISTENER:
        g->ops->on_listener(g->ctx, w->generation, &w->listener, fd);
        return;
    case WIRE_COMMIT:
        g->pending = 0;
        g->ops->on_commit(g->ctx, w->generation);
        return;
    case WIRE_ABANDON:
        g->pending = 0;
        g->ops->on_abandon(g->ctx, w->generation);
        return;
    case WIRE_UNIT:
        g->ops->on_unit(g->ctx, &w->unit, fd);
        return;
    case WIRE_UNIT_GONE:
        g->ops->on_unit_gone(g->ctx, w->unit.id);
        return;
    case WIRE_ANSWER:
        got_answer(g, w);
        return;
    case WIRE_COUNTS:
        g->ops->on_counts(g->ctx, &w->counts);
        return;
    case WIRE_DRAIN:
        g->ops->on_drain(g->ctx);
        return;
    case WIRE_CUT:
        g->ops->on_cut(g->ctx);
        return;
    case WIRE_ASK:
    case WIRE_REPORT:
    case WIRE_ACK:
    case WIRE_SWAPPED:
    case WIRE_ACCEPTING:
    case WIRE_DRAINED:
    case WIRE_KINDS_N:
        break;
    }
    CHECK(false); /* wire_read() lets only the master's kinds through */
}

static void on_message(void *ctx, const void *p, size_t n, struct ev_fd *fds, unsigned fds_n)
{
    struct link_gateway *g = ctx;
    struct ev_fd none = EV_FD_NONE;
    struct wire w;

    if (wire_read(p, n, fds_n, true, &w) == 0) {
        dispatch(g, &w, fds_n ? &fds[0] : &none);
        return;
    }
    packet_close(&g->packet); /* not our master: as good as none */
    on_packet_closed(g);
}

static void on_writable(void *ctx) { pump(ctx); }

static const struct packet_ops packet_ops = {on_message, on_writable, on_packet_closed};

int link_gateway_open(struct loop *l, struct ev_fd *fd, const struct link_gateway_ops *ops,
                      void *ctx, struct link_gateway **ret)
{
    struct link_gateway *g = xnew(struct link_gateway, .loop = l, .ops = ops, .ctx = ctx);
    int r = packet_open(l, fd, &packet_ops, g, &g->packet);

    if (r < 0) {
        mem_free(g);
        return r;
    }
    *ret = g;
    return 0;
}

static void on_grave(struct grave *grave)
{
    struct link_gateway *g = container_of(grave, struct link_gateway, grave);

    mem_free(g->reports);
    mem_free(g);
}

void link_gateway_close(struct link_gateway **gp)
{
    struct link_gateway *g = TAKE(gp);

    if (!g)
        return;
    g->over = true;
    packet_close(&g->packet);
    loop_bury(g->loop, &g->grave, on_grave);
}

int link_gateway_ask(struct link_gateway *g, enum link_verb verb, uint32_t unit,
                     uint32_t *ret_ticket)
{
    for (unsigned i = 0; i < LINK_ASKS_MAX; i++) {
        if (g->asks[i].open)
            continue;
        g->asks[i] = (struct ask_row){true, true, ++g->last_ticket, unit, verb};
        *ret_ticket = g->last_ticket;
        pump(g);
        return 0;
    }
    return -E_LIMIT;
}

void link_gateway_report(struct link_gateway *g, uint32_t unit, uint32_t generation,
                         enum link_report report)
{
    unsigned i = 0;

    while (i < g->reports_n && g->reports[i].unit != unit)
        i++;
    if (i == g->reports_size) {
        g->reports_size = g->reports_size ? g->reports_size * 2 : 16;
        g->reports = mem_resize_array(g->reports, g->reports_size, sizeof *g->reports);
    }
    if (i == g->reports_n)
        g->reports_n++;
    g->reports[i] = (struct report_row){unit, generation, report};
    pump(g);
}

void link_gateway_ack(struct link_gateway *g, uint32_t generation, const char *problem)
{
    g->ack = wire_make(WIRE_ACK);
    g->ack.generation = generation;
    g->ack.code = problem != NULL;
    wire_text(&g->ack, str_of(problem));
    g->ack_due = true;
    pump(g);
}

void link_gateway_swapped(struct link_gateway *g, uint32_t generation)
{
    g->swapped = generation;
    g->swapped_due = true;
    pump(g);
}

void link_gateway_accepting(struct link_gateway *g)
{
    g->accepting_due = true;
    pump(g);
}

void link_gateway_drained(struct link_gateway *g)
{
    g->drained_due = true;
    pump(g);
}
