/* SPDX-License-Identifier: Apache-2.0
 *
 * answer.c - control's answers to what lanes are asked and only control knows (PATH_ASKED): the
 * table of services, what tests found, the metrics. A list of ten thousand services takes
 * milliseconds, so all that ask for the same in one turn of the loop get one answer: however many
 * poll, control writes each body once between two looks at everything else it has to do.
 *
 * Exports: answer_
 */
#include "base/mem.h"
#include "gate/control_priv.h"
#include "gate/sources.h"

enum { BODY_BYTES = 64 << 20, TURN_MS = 1 };

static struct gate_answer *answer(struct control *c, struct str path)
{
    static const struct entry_list no_entries;
    struct gate_answer *a =
        xnew(struct gate_answer, .type = STR("application/json"), .body = buf_make(BODY_BYTES));
    struct gate_own q = {
        .snap = c->snap,
        .entries = c->sources ? sources_entries(c->sources) : &no_entries,
        .path = path,
        .wall_s = loop_wall_us(c->loop) / 1000000,
        .draining = atomic_load(&c->gate->draining),
        .registry_url = c->settings.registry_url,
        .metrics = c->metrics,
        .type = &a->type,
    };

    atomic_init(&a->refs, 1);
    a->status = c->gate->api->own(&q, &a->body, &a->fault);
    if (buf_status(&a->body) < 0) {
        a->status = 0;
        fault_set(&a->fault, FAULT_internal_error, "The reply exceeds what one reply may take");
    }
    return a;
}

static void tell(struct control *c, const struct control_mail *m, struct gate_answer *a)
{
    struct lane_mail *reply = gate_lane_mail(LANE_ANSWER);

    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    reply->ticket = m->ticket;
    reply->answer = a;
    gate_post_lane(c->gate, m->lane, reply);
}

/* Answers one question, and everybody who has the same. */
static void answer_one(struct control *c, struct control_mail *first)
{
    struct gate_answer *a = answer(c, first->path);
    struct control_mail *m;

    list_remove(&first->node);
    list_each(m, &c->questions.waiting, node)
    {
        if (!str_eq(m->path, first->path))
            continue;
        list_remove(&m->node);
        tell(c, m, a);
        gate_control_mail_free(m);
    }
    tell(c, first, a);
    gate_control_mail_free(first);
    gate_answer_unref(&a);
}

static void on_turn(struct deadline *d)
{
    struct control *c = container_of(d, struct control, questions.turn);
    struct control_mail *m;

    while ((m = list_first(&c->questions.waiting, struct control_mail, node)))
        answer_one(c, m);
}

void answer_ask(struct control *c, struct control_mail **mp)
{
    struct control_mail *m = TAKE(mp);

    list_init(&m->node);
    list_append(&c->questions.waiting, &m->node);
    if (!deadline_armed(&c->questions.turn))
        deadline_arm(c->loop, &c->questions.turn, TURN_MS, on_turn);
}

void answer_stop(struct control *c)
{
    struct control_mail *m;

    deadline_stop(&c->questions.turn);
    list_each(m, &c->questions.waiting, node)
    {
        list_remove(&m->node);
        gate_control_mail_free(m);
    }
}
