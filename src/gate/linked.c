/* SPDX-License-Identifier: Apache-2.0
 *
 * linked.c - see linked.h.
 */
#include "gate/linked.h"

#include "base/mem.h"
#include "gate/control_priv.h"
#include "link/gateway.h"

struct linked {
    const struct linked_ops *ops;
    void *ctx;
    struct link_gateway *link;
    struct control *control;
    struct control_settings next; /* acknowledged, not yet committed */
    uint32_t next_generation;
    bool has_next, accepting;
};

/* ---- configurations ---- */

static void drop_next(struct linked *k)
{
    if (k->next.owner)
        k->next.unref(k->next.owner);
    k->next = (struct control_settings){.owner = NULL};
    k->has_next = false;
}

static void on_config(void *ctx, uint32_t generation, struct str bundle)
{
    struct linked *k = ctx;
    struct buf why = buf_make(LINK_TEXT_MAX);

    drop_next(k);
    k->has_next = k->ops->parse(k->ctx, bundle, &k->next, &why) == 0;
    k->next_generation = generation;
    link_gateway_ack(k->link, generation, k->has_next ? NULL : buf_cstr(&why) ? why.p : "refused");
    buf_fini(&why);
}

static void on_listener(void *ctx, uint32_t generation, const struct link_listener *is,
                        struct ev_fd *fd)
{
    struct linked *k = ctx;

    control_listener(k->control, generation, is, fd);
}

static void on_commit(void *ctx, uint32_t generation)
{
    struct linked *k = ctx;
    struct control_settings next = k->next;

    if (!k->has_next || generation != k->next_generation)
        return;
    k->next = (struct control_settings){.owner = NULL};
    k->has_next = false;
    k->ops->on_commit(k->ctx, next.owner);
    control_apply(k->control, generation, &next);
    if (!k->accepting)
        link_gateway_accepting(k->link);
    k->accepting = true;
}

static void on_abandon(void *ctx, uint32_t generation)
{
    struct linked *k = ctx;

    if (!k->has_next || generation != k->next_generation)
        return;
    drop_next(k);
    control_abandon(k->control, generation);
}

/* ---- from the master ---- */

static void on_unit(void *ctx, const struct link_unit *unit, struct ev_fd *ring)
{
    struct linked *k = ctx;

    members_unit(k->control, unit, ring);
}

static void on_unit_gone(void *ctx, uint32_t id)
{
    struct linked *k = ctx;

    members_unit_gone(k->control, id);
}

static void on_answer(void *ctx, uint32_t ticket, int err, struct str text)
{
    struct linked *k = ctx;

    admin_answer(k->control, ticket, err, text);
}

static void on_drain(void *ctx)
{
    struct linked *k = ctx;

    control_drain(k->control);
}

static void on_cut(void *ctx)
{
    struct linked *k = ctx;

    control_cut(k->control);
}

static void on_counts(void *ctx, const struct link_counts *counts)
{
    struct linked *k = ctx;

    k->control->counts = *counts;
}

static void on_closed(void *ctx)
{
    struct linked *k = ctx;

    k->ops->on_over(k->ctx);
}

static const struct link_gateway_ops link_ops = {
    .on_config = on_config,
    .on_listener = on_listener,
    .on_commit = on_commit,
    .on_abandon = on_abandon,
    .on_unit = on_unit,
    .on_unit_gone = on_unit_gone,
    .on_answer = on_answer,
    .on_drain = on_drain,
    .on_cut = on_cut,
    .on_counts = on_counts,
    .on_closed = on_closed,
};

/* ---- from control ---- */

static void start_lanes(void *ctx, struct snapshot *first)
{
    struct linked *k = ctx;

    k->ops->start_lanes(k->ctx, first);
}

static void serve_registry(void *ctx, const struct registry_settings *s, const char *address,
                           const struct ev_fd *fd)
{
    struct linked *k = ctx;

    if (k->ops->serve_registry)
        k->ops->serve_registry(k->ctx, s, address, fd);
}

static void on_taken(void *ctx, uint32_t generation)
{
    struct linked *k = ctx;

    link_gateway_swapped(k->link, generation);
}

static void on_drained(void *ctx)
{
    struct linked *k = ctx;

    link_gateway_drained(k->link);
}

static int order(void *ctx, enum link_verb verb, uint32_t unit, uint32_t *ret_ticket)
{
    struct linked *k = ctx;

    return link_gateway_ask(k->link, verb, unit, ret_ticket);
}

static void report(void *ctx, uint32_t unit, uint32_t generation, enum link_report what)
{
    struct linked *k = ctx;

    link_gateway_report(k->link, unit, generation, what);
}

static const struct control_ops control_ops = {
    .start_lanes = start_lanes,
    .on_taken = on_taken,
    .on_drained = on_drained,
    .serve_registry = serve_registry,
    .order = order,
    .report = report,
};

/* ---- birth and death ---- */

int linked_create(struct gate *g, struct loop *l, struct ev_fd *fd, const struct linked_ops *ops,
                  void *ctx, struct linked **ret)
{
    struct linked *k = xnew(struct linked, .ops = ops, .ctx = ctx);
    int r = link_gateway_open(l, fd, &link_ops, k, &k->link);

    if (r < 0) {
        mem_free(k);
        return r;
    }
    control_create(g, l, &control_ops, k, &k->control);
    *ret = k;
    return 0;
}

void linked_destroy(struct linked **kp)
{
    struct linked *k = TAKE(kp);

    if (!k)
        return;
    link_gateway_close(&k->link);
    control_destroy(&k->control);
    drop_next(k);
    mem_free(k);
}

struct control *linked_control(struct linked *k) { return k->control; }
