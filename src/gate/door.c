/* SPDX-License-Identifier: Apache-2.0
 *
 * door.c - control's half of the breaker: control itself knocks at the engine whose door is open,
 * 1 s after it opened and after doubling times up to 30 s (or what the rules say while it takes
 * connections), or as soon as a test finds the engine well again. It makes a connection and sends
 * nothing: so no request is spent on finding out whether anybody listens there. And the halving of
 * handicaps.
 */
#include "fleet/breaker.h"
#include "gate/control_priv.h"

enum { HALVE_EVERY_MS = 250, HANDICAP_OF_RETURN = 8, KNOCKS_IN_VAIN = 2 };

/* One that takes connections and breaks its replies is tried more often: it may be what it was
 * asked that breaks them, and it may be the only one. */
static uint32_t pause_ms(const struct member *m)
{
    uint32_t ms = BREAKER_FIRST_MS;
    uint32_t most = m->deaf ? BREAKER_MOST_MS : m->control->gate->rules->reopen_most_ms;

    for (uint32_t i = 1; i < m->openings && ms < most; i++)
        ms *= 2;
    return ms < most ? ms : most;
}

static void on_reopen(struct deadline *d) { door_try(container_of(d, struct member, reopen)); }

/* A generation may take minutes until its first byte: as long as nothing is known of the trial, one
 * more request may try every now and then. */
static void on_lapse(struct deadline *d)
{
    struct member *m = container_of(d, struct member, lapse);
    struct control *c = m->control;
    enum cell_door door = (enum cell_door)atomic_load(&m->cell->door);

    if (door != CELL_DOOR_TRIAL && door != CELL_DOOR_HALF_OPEN)
        return;
    m->unheard_ms = door == CELL_DOOR_TRIAL ? m->unheard_ms + BREAKER_FIRST_MS : 0;
    deadline_arm(c->loop, &m->lapse, BREAKER_FIRST_MS, on_lapse);
    if (m->unheard_ms < c->gate->rules->trial_ms)
        return;
    m->unheard_ms = 0;
    breaker_unheard(m->cell);
    if (c->snap)
        tickets_run(c->tickets, c->snap);
}

static void on_knocked(void *ctx)
{
    struct member *m = ctx;
    struct control *c = m->control;

    m->deaf = false;
    call_cancel(&m->knock); /* nothing was sent: the connection is kept for the next test */
    breaker_half_open(m->cell);
    m->unheard_ms = 0;
    deadline_arm(c->loop, &m->lapse, BREAKER_FIRST_MS, on_lapse);
    if (c->snap)
        tickets_run(c->tickets, c->snap);
}

static void on_unanswered(void *ctx, int err, enum call_phase phase, const char *why)
{
    struct member *m = ctx;
    struct control *c = m->control;

    (void)err;
    (void)phase;
    (void)why;
    m->knock = NULL;
    m->deaf = true;
    m->openings++;
    if (c->gate->rules->gives_up &&
        m->openings > KNOCKS_IN_VAIN) { /* with the connect that opened the door: three */
        breaker_dead(m->cell);
        if (c->snap)
            tickets_run(c->tickets, c->snap);
    }
    deadline_arm(c->loop, &m->reopen, pause_ms(m), on_reopen);
}

void door_try(struct member *m)
{
    static const struct call_ops ops = {.on_open = on_knocked, .on_fail = on_unanswered};
    enum cell_door door = (enum cell_door)atomic_load(&m->cell->door);
    struct pool *pool = probe_pool(m);

    if ((door != CELL_DOOR_OPEN && door != CELL_DOOR_DEAD) || !pool)
        return;
    deadline_stop(&m->reopen);
    call_cancel(&m->knock); /* of the time before it was well, if there is one */
    pool_flush(pool);       /* a kept connection would prove nothing */
    call_open(pool, &ops, m, &m->knock);
}

static struct member *by_id(struct control *c, uint32_t id)
{
    struct member *m;

    list_each(m, &c->members, node) if (m->id == id) return m;
    return NULL;
}

void door_moved(struct control *c, uint32_t engine)
{
    struct member *m = by_id(c, engine);
    enum cell_door door;

    if (!m)
        return;
    join_state_changed(c);
    door = (enum cell_door)atomic_load(&m->cell->door);
    if (door == CELL_DOOR_OPEN && !deadline_armed(&m->reopen) && !m->knock) {
        if (m->openings++ == 0)
            control_log_member(c, LOG_WARN, m, "engine fails: its circuit is open");
        deadline_arm(c->loop, &m->reopen, pause_ms(m), on_reopen);
    } else if (door == CELL_DOOR_CLOSED && m->openings > 0) {
        m->openings = 0;
        deadline_stop(&m->reopen);
        call_cancel(&m->knock);
        control_log_member(c, LOG_INFO, m, "engine answers again: its circuit is closed");
        door_returned(m);
        tickets_run(c->tickets, c->snap);
    }
}

/* ---- handicaps ---- */

static void on_halve(struct deadline *d)
{
    struct control *c = container_of(d, struct control, halve);
    struct member *m;
    bool left = false;

    list_each(m, &c->members, node) left |= cell_handicap_halve(m->cell);
    if (left)
        deadline_arm(c->loop, &c->halve, HALVE_EVERY_MS, on_halve);
}

void door_handicapped(struct control *c)
{
    if (!deadline_armed(&c->halve))
        deadline_arm(c->loop, &c->halve, HALVE_EVERY_MS, on_halve);
}

void door_returned(struct member *m)
{
    if (!m->control->gate->rules->slow_start)
        return;
    (void)cell_handicap(m->cell, HANDICAP_OF_RETURN);
    door_handicapped(m->control);
}

void door_forget(struct member *m)
{
    deadline_stop(&m->reopen);
    deadline_stop(&m->lapse);
    call_cancel(&m->knock);
    m->openings = 0;
}
