/* SPDX-License-Identifier: Apache-2.0
 *
 * round.c - tests of all engines at once, where the rules ask for it: the first round at the start,
 * then from the start of one to the start of the next, and never two at a time. A round is over
 * when each of its tests has had an outcome. What comes in between (a new member, a bad one that is
 * tested sooner) is probe.c's and delays no round.
 *
 * Exports: rounds_ round_
 */
#include "gate/control_priv.h"

static void report(struct control *c)
{
    struct member *m;
    uint32_t good = 0, of = 0;
    bool news;
    struct log_rec *r;

    list_each(m, &c->members, node)
    {
        if (!probe_tests(m))
            continue;
        of++;
        good += m->health.word == CELL_GOOD;
    }
    news = !c->round.reported || c->round.changed || good != c->round.good || of != c->round.of;
    c->round.good = good;
    c->round.of = of;
    c->round.changed = false;
    c->round.reported = true;
    r = log_begin(c->log, news ? LOG_INFO : LOG_DEBUG, loop_wall_us(c->loop), "control",
                  "Health check completed");
    log_u64(r, "good", good);
    log_u64(r, "of", of);
    log_u64(r, "ms", loop_now_ms(c->loop) - c->round.began_ms);
    log_end(r);
}

static void begin_round(struct deadline *d);

static void end_round(struct control *c)
{
    uint32_t every = c->settings.probe->interval_ms;
    uint64_t due = c->round.began_ms + every, now = loop_now_ms(c->loop);

    c->round.under_way = false;
    report(c);
    if (every > 0)
        deadline_arm(c->loop, &c->round.next, due > now ? (uint32_t)(due - now) : 1, begin_round);
}

static void begin_round(struct deadline *d)
{
    struct control *c = container_of(d, struct control, round.next);
    struct member *m;

    c->round.began_ms = loop_now_ms(c->loop);
    c->round.under_way = true;
    list_each(m, &c->members, node)
    {
        if (!probe_now(m))
            continue;
        m->in_round = true;
        c->round.left++;
    }
    if (c->round.left == 0)
        end_round(c);
}

void rounds_start(struct control *c)
{
    if (!c->gate->rules->rounds || c->settings.probe->interval_ms == 0 || c->round.under_way ||
        deadline_armed(&c->round.next))
        return;
    begin_round(&c->round.next);
}

void rounds_stop(struct control *c) { deadline_stop(&c->round.next); }

void round_tested(struct member *m)
{
    struct control *c = m->control;

    if (!m->in_round)
        return;
    m->in_round = false;
    if (--c->round.left == 0 && !c->closing)
        end_round(c);
}

void round_changed(struct control *c) { c->round.changed = true; }
