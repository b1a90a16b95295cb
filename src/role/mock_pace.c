/* SPDX-License-Identifier: Apache-2.0
 *
 * mock_pace.c - see mock_pace.h.
 */
#include "role/mock_pace.h"

static struct mock_pace_sleeper *first(const struct mock_pace *p)
{
    return list_first(&p->sleepers, struct mock_pace_sleeper, node);
}

static void on_alarm(void *ctx)
{
    struct mock_pace *p = ctx;
    uint64_t now = loop_fresh_us(p->loop);
    struct mock_pace_sleeper *s;

    while ((s = first(p)) && s->due_us <= now) {
        list_remove(&s->node);
        p->wake(s);
    }
    if (s)
        alarm_at(p->alarm, s->due_us);
}

int mock_pace_init(struct mock_pace *p, struct loop *loop, mock_pace_fn *wake)
{
    *p = (struct mock_pace){.loop = loop, .wake = wake};
    list_init(&p->sleepers);
    return alarm_create(loop, on_alarm, p, &p->alarm);
}

void mock_pace_fini(struct mock_pace *p)
{
    CHECK(list_empty(&p->sleepers));
    alarm_close(&p->alarm);
}

void mock_pace_sleep(struct mock_pace *p, struct mock_pace_sleeper *s, uint64_t due_us)
{
    struct list *before = p->sleepers.prev;

    CHECK(!mock_pace_asleep(s));
    while (before != &p->sleepers &&
           list_entry(before, struct mock_pace_sleeper, node)->due_us > due_us)
        before = before->prev;
    s->due_us = due_us;
    list_insert_(&s->node, before, before->next);
    if (first(p) == s)
        alarm_at(p->alarm, due_us);
}
