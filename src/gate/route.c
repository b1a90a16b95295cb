/* SPDX-License-Identifier: Apache-2.0
 *
 * route.c - the step ROUTE: chooses an engine and reserves a slot of it, or takes a ticket and
 * waits for control to grant one. `r->engine` set means: a slot of its cell is held.
 *
 * Exports: req_
 */
#include "base/mem.h"
#include "fleet/breaker.h"
#include "gate/choice.h"
#include "gate/lane_priv.h"
#include "gate/request.h"

static void slot_is_free(struct req *r, uint32_t engine)
{
    struct control_mail *m = gate_control_mail(CONTROL_SLOT_FREE);

    m->engine = engine;
    gate_post_control(r->lane->gate, m);
}

void req_give(struct req *r, const struct engine *e)
{
    if (breaker_give(e->cell))
        slot_is_free(r, e->id);
}

void req_release(struct req *r)
{
    const struct engine *e = TAKE(&r->engine), *next = TAKE(&r->next);

    if (e && !r->heard)
        req_give(r, e);
    else if (e && cell_give(e->cell))
        slot_is_free(r, e->id);
    if (next)
        req_give(r, next);
}

static void take_ticket(struct req *r)
{
    struct control_mail *m = gate_control_mail(CONTROL_TICKET);
    struct select_facts facts = {.session = 0};

    r->ticket = r->id + 1; /* never 0 */
    m->lane = r->lane->index;
    m->ticket = r->ticket;
    m->kinds = r->kinds;
    m->wanted = req_wanted_class(r);
    m->has_session = req_keep_session(r, &facts);
    m->session = facts.session;
    m->ntried = r->ntried;
    memcpy(m->tried, r->tried, sizeof m->tried);
    if (r->target.p)
        m->model = str_span(str_dup(r->target), r->target.n);
    metrics_count(&r->lane->shard.tickets);
    gate_post_control(r->lane->gate, m);
}

static void tell_control(struct req *r, enum control_mail_kind kind)
{
    struct control_mail *m = gate_control_mail(kind);

    m->lane = r->lane->index;
    m->ticket = r->ticket;
    gate_post_control(r->lane->gate, m);
}

/* What a grant does not say. */
static void mark_model(struct req *r)
{
    const struct model *m = snapshot_model(r->snap->snap, r->target);

    if (m) {
        r->model_label = m->label;
        r->model_mark = m->mark;
    }
}

void req_drop_ticket(struct req *r)
{
    if (r->ticket == 0)
        return;
    tell_control(r, CONTROL_TICKET_GONE);
    r->ticket = 0;
}

void req_ticket_late(struct req *r) { tell_control(r, CONTROL_TICKET_LATE); }

void req_granted(struct req *r, uint32_t engine, struct cell *cell)
{
    struct lane *l = r->lane;
    const struct engine *found = NULL;

    r->ticket = 0;
    lane_unpin(l, &r->snap); /* the engine may be younger than the picture the request began with */
    r->snap = lane_pin(l);
    for (uint32_t i = 0; i < l->snap->snap->nengines; i++)
        if (l->snap->snap->engines[i].id == engine)
            found = &l->snap->snap->engines[i];
    if (!found) { /* taken out of the fleet since: look again */
        if (breaker_give(cell))
            slot_is_free(r, engine);
        req_run(r);
        return;
    }
    r->engine = found;
    mark_model(r);
    req_run(r);
}

/* Why nothing can be sent there now, as far as its words tell. */
static const char *not_ready_text(const struct cell *c)
{
    if (cell_says(c, CELL_SUPERVISED) == CELL_COMING)
        return "its process is not ready, or not there";
    if (cell_says(c, CELL_PROBED) == CELL_COMING)
        return "it is loading, or silent";
    return "connections to it failed";
}

/* The engine that a wait was for which is over; NULL when there were others, only full. */
static const struct engine *never_came(const struct req *r)
{
    const struct model *m = snapshot_model(r->lane->snap->snap, r->target);
    const struct engine *coming = NULL;

    for (uint32_t i = 0; m && i < m->nengines; i++) {
        enum cell_verdict v = cell_state(m->engines[i]->cell);

        if (v == CELL_GOOD)
            return NULL;
        if (v == CELL_COMING && !coming)
            coming = m->engines[i];
    }
    return coming;
}

/* queue_ms is over. */
static void waited_in_vain(struct req *r, enum fault_code code)
{
    const struct engine *e = never_came(r);
    uint32_t ms = lane_conf(r->snap)->limits->queue_ms;
    int n = (int)str_utf8_cut(r->model, 128);

    metrics_count(&r->lane->shard.limit_queue_ms);
    if (r->lane->gate->rules->tells_cause)
        req_say_nobody(r);
    else if (e)
        fault_set(&r->fault, FAULT_no_healthy_service,
                  "No engine of model '%.*s' was ready within %u ms; engine '%.*s': %s", n,
                  r->model.p, ms, (int)str_utf8_cut(e->name, 128), e->name.p,
                  not_ready_text(e->cell));
    else
        fault_set(&r->fault, code, "No engine had a free slot for model '%.*s' within %u ms", n,
                  r->model.p, ms);
}

/* Load refused it. */
static void shed(struct req *r, const struct lane_mail *m)
{
    struct gate_shard *shard = &r->lane->shard;
    int n = (int)str_utf8_cut(r->model, 128);

    switch (m->shed_for) {
    case SHED_QUEUE_LENGTH:
        metrics_count(&shard->limit_queue_length);
        fault_set(&r->fault, m->fault, "Too many requests wait for model '%.*s'", n, r->model.p);
        break;
    case SHED_TOO_LATE:
        metrics_count(&shard->limit_queue_ms);
        fault_set(&r->fault, m->fault,
                  "No engine would have a free slot for model '%.*s' within %u ms", n, r->model.p,
                  lane_conf(r->snap)->limits->queue_ms);
        break;
    case SHED_QUEUE_MS:
        waited_in_vain(r, m->fault);
        break;
    }
    r->fault.retry_after_s = (int)m->retry_after_s;
    r->queue_position = m->position;
}

void req_say_nobody(struct req *r)
{
    if (r->last_fault.code && !r->lane->gate->rules->tells_cause)
        r->fault = r->last_fault; /* nobody else: the truth is */
    else
        req_say(r, r->model.p ? SAY_NOBODY : SAY_NOBODY_AT_ALL, NULL);
}

void req_refused(struct req *r, const struct lane_mail *m)
{
    r->ticket = 0;
    if (m->fault == FAULT_model_not_found && r->model.p)
        req_say(r, SAY_NO_MODEL, NULL);
    else if (m->fault == FAULT_overloaded)
        shed(r, m);
    else
        req_say_nobody(r);
    req_run(r);
}

static enum req_step nobody(struct req *r, enum select_verdict why)
{
    bool tells_cause = r->lane->gate->rules->tells_cause;

    if (!tells_cause && r->waited && (why == SELECT_FULL || why == SELECT_COMING)) {
        fault_set(&r->fault, FAULT_overloaded, "No engine had a free slot for model '%.*s'",
                  (int)str_utf8_cut(r->model, 128), r->model.p);
        r->fault.retry_after_s = 5;
    } else if (!tells_cause && why == SELECT_FOREIGN) {
        fault_set(&r->fault, FAULT_not_found, "No engine of model '%.*s' speaks this path",
                  (int)str_utf8_cut(r->model, 128), r->model.p);
    } else {
        req_say_nobody(r);
    }
    return REQ_WAIT;
}

/* A path that belongs to one engine goes to it or fails. */
static enum req_step route_through(struct req *r)
{
    const struct engine *e = r->passthrough;

    if (cell_state(e->cell) != CELL_GOOD) {
        fault_set(&r->fault, FAULT_no_healthy_service, "Engine '%.*s' is not ready",
                  STR_ARGS(e->name));
        r->fault.retry_after_s = 5;
        return REQ_WAIT;
    }
    cell_hold(e->cell); /* management does not wait for slots */
    r->engine = e;
    return REQ_CONNECT;
}

/* A slot, and where the model has failed there its trial. `shunned`: it was chosen although it has,
 * because there is nobody else. */
static bool reserve(const struct select_facts *f, const struct engine *e)
{
    bool shunned = breaker_model_shuns(e->cell, f->model->mark, f->now_ms);

    if (!cell_take(e->cell, false))
        return false;
    if (shunned || breaker_model_enter(e->cell, f->model->mark, f->now_ms))
        return true;
    (void)breaker_give(e->cell);
    return false;
}

enum select_verdict req_reserve(struct req *r, const struct engine **ret)
{
    struct select_facts facts = {.kinds = r->kinds, .now_ms = loop_now_ms(r->lane->loop)};
    enum select_verdict v;

    facts.model = snapshot_model(r->snap->snap, r->target);
    if (!facts.model) /* an engine that has not said yet which models it has may have it */
        return SELECT_COMING;
    r->model_label = facts.model->label;
    r->model_mark = facts.model->mark;
    facts.ntried = r->ntried;
    memcpy(facts.tried, r->tried, r->ntried * sizeof r->tried[0]);
    facts.wanted = req_wanted_class(r);
    facts.balance = lane_conf(r->snap)->balance;
    (void)req_keep_session(r, &facts);
    select_credits_fit(&r->lane->credits, r->snap->snap);
    v = select_engine(&facts, &r->lane->credits, ret);
    while (v == SELECT_ONE && !reserve(&facts, *ret)) { /* somebody was faster, or others wait */
        if (facts.ntried == SELECT_TRIED_MAX)
            return SELECT_FULL;
        facts.tried[facts.ntried++] = (*ret)->id;
        v = select_engine(&facts, &r->lane->credits, ret);
        if (v != SELECT_ONE)
            return SELECT_FULL;
    }
    return v;
}

enum req_step req_route(struct req *r)
{
    const struct engine *e = NULL;
    enum select_verdict v;

    if (r->engine) /* granted, or found by the attempt before */
        return REQ_CONNECT;
    if (r->passthrough)
        return route_through(r);
    if (r->ticket)
        return REQ_WAIT;
    v = req_reserve(r, &e);
    switch (v) {
    case SELECT_ONE:
        r->engine = e;
        return REQ_CONNECT;
    case SELECT_FULL:
    case SELECT_COMING:
        if (r->waited || lane_conf(r->snap)->limits->queue_ms == 0)
            return nobody(r, v);
        take_ticket(r);
        return REQ_WAIT;
    case SELECT_NOBODY:
    case SELECT_FOREIGN:
        break;
    }
    return nobody(r, v);
}
