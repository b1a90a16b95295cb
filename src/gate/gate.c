/* SPDX-License-Identifier: Apache-2.0
 *
 * gate.c - mails and the settings that travel with a snapshot; see gate.h.
 */
#include "gate/gate.h"

#include "base/mem.h"
#include "gate/lane.h"

struct gate_conf *gate_conf_ref(struct gate_conf *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void gate_conf_unref(void *conf)
{
    struct gate_conf *c = conf;

    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
        return;
    keys_destroy(&c->keys);
    if (c->owner_unref)
        c->owner_unref(c->owner);
    mem_free(c->listens);
    mem_free(c);
}

const struct gate_listen *gate_conf_listen(const struct gate_conf *c, uint32_t id)
{
    for (uint32_t i = 0; i < c->nlistens; i++)
        if (c->listens[i].id == id)
            return &c->listens[i];
    return NULL;
}

struct lane_mail *gate_lane_mail(enum lane_mail_kind kind)
{
    return xnew(struct lane_mail, .mail.kind = kind, .fd = EV_FD_NONE);
}

struct control_mail *gate_control_mail(enum control_mail_kind kind)
{
    return xnew(struct control_mail, .mail.kind = kind);
}

void gate_answer_unref(struct gate_answer **ap)
{
    struct gate_answer *a = TAKE(ap);

    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) > 1)
        return;
    buf_fini(&a->body);
    mem_free(a);
}

void gate_lane_mail_free(struct lane_mail *m)
{
    ev_fd_close(&m->fd);
    gate_answer_unref(&m->answer);
    mem_free(m);
}

void gate_control_mail_free(struct control_mail *m)
{
    mem_free((void *)(uintptr_t)m->model.p);
    mem_free((void *)(uintptr_t)m->path.p);
    mem_free(m);
}

void gate_post_lane(struct gate *g, uint32_t lane, struct lane_mail *m)
{
    struct mail *mail = &m->mail;

    mailbox_post(lane_mailbox(g->lanes[lane]), &mail);
}

void gate_post_control(struct gate *g, struct control_mail *m)
{
    struct mail *mail = &m->mail;

    mailbox_post(g->control, &mail);
}
