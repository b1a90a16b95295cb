/* SPDX-License-Identifier: Apache-2.0
 *
 * fallback.c - which model answers a request whose model's name stands for several: the first of
 * its plan (fleet/plan.h) that can be asked now; else the first that may come by itself. When that
 * one fails a request in a way that lets another be asked, the next one is. What a client is told:
 * the model that answers, in x-inferd-model, and that it is a fallback, in x-inferd-fallback.
 *
 * Exports: req_
 */
#include "base/percent.h"
#include "gate/attempt.h"
#include "gate/choice.h"
#include "gate/lane_priv.h"

/* What can be said of a model without choosing an engine. */
enum outlook {
    OUTLOOK_NONE,  /* nobody has it, or nobody who could serve it */
    OUTLOOK_MAYBE, /* somebody may come who does */
    OUTLOOK_GOOD,  /* a healthy engine has it, with a free slot or not */
};

static enum outlook outlook_of(const struct req *r, struct str model)
{
    const struct model *m = snapshot_model(r->snap->snap, model);
    enum outlook best = !m && r->snap->snap->unsettled ? OUTLOOK_MAYBE : OUTLOOK_NONE;

    for (uint32_t i = 0; m && i < m->nengines && best != OUTLOOK_GOOD; i++) {
        const struct engine *e = m->engines[i];
        enum cell_verdict state = cell_state(e->cell);

        if (e->kind != engine_kind_unset && !(r->kinds >> e->kind & 1))
            continue;
        if (state == CELL_GOOD)
            best = OUTLOOK_GOOD;
        else if (state == CELL_COMING)
            best = OUTLOOK_MAYBE;
    }
    return best;
}

/* From `from` on; plan->n: nobody can serve any of them. */
static uint32_t first_hope(const struct req *r, uint32_t from)
{
    uint32_t maybe = r->plan->n;

    for (uint32_t i = from; i < r->plan->n; i++) {
        enum outlook o = outlook_of(r, r->plan->models[i]);

        if (o == OUTLOOK_GOOD)
            return i;
        if (o == OUTLOOK_MAYBE && maybe == r->plan->n)
            maybe = i;
    }
    return maybe;
}

static void aim(struct req *r, uint32_t at)
{
    r->planned = at;
    r->target = r->plan->models[at];
    r->aliased = !str_eq(r->target, r->model);
}

void req_make_plan(struct req *r)
{
    struct select_credits *credits = &r->lane->credits;
    const struct rendezvous_key *key = r->session.value.n > 0 ? &r->session : NULL;
    uint32_t at;
    struct plan plan;

    r->target = r->model;
    select_credits_fit(credits, r->snap->snap);
    if (!plan_make(r->snap->snap, r->model, key, credits, &plan))
        return;
    r->plan = arena_new(&r->x->arena, struct plan);
    *r->plan = plan;
    for (uint32_t i = 0; i < plan.n; i++) /* a grant changes the picture that is pinned */
        r->plan->models[i] = arena_str(&r->x->arena, plan.models[i]);
    at = first_hope(r, 0);
    aim(r, at < plan.n ? at : 0);
}

/* Faults that say that this model cannot answer this now. Others are the client's, or ours. */
static bool is_of_model(enum fault_code code)
{
    switch ((int)code) {
    case FAULT_none: /* an answer that may be tried again */
    case FAULT_model_not_found:
    case FAULT_not_found: /* none of its engines speaks the path */
    case FAULT_no_healthy_service:
    case FAULT_overloaded:
    case FAULT_upstream_refused:
    case FAULT_upstream_timeout:
    case FAULT_upstream_disconnected:
    case FAULT_bad_gateway:
        return true;
    default:
        return false;
    }
}

bool req_may_fall_back(const struct req *r)
{
    return r->plan && !r->x->replied && !r->gone && is_of_model(r->fault.code) &&
           first_hope(r, r->planned + 1) < r->plan->n;
}

bool req_fall_back(struct req *r)
{
    if (!req_may_fall_back(r))
        return false;
    req_start_over(r);
    aim(r, first_hope(r, r->planned + 1));
    return true;
}

bool req_is_known(const struct req *r)
{
    const struct snapshot *s = r->snap->snap;

    if (s->unsettled || snapshot_model(s, r->target))
        return true;
    for (uint32_t i = 0; r->plan && i < r->plan->n; i++)
        if (snapshot_model(s, r->plan->models[i]))
            return true;
    return false;
}

/* A name as a field's value: percent-encoded when it has anything but visible ASCII. */
static struct str field_value(struct req *r, struct str name)
{
    struct buf out = buf_on(arena_alloc(&r->x->arena, name.n * 3 + 1), name.n * 3 + 1);

    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];

        if (c > ' ' && c < 0x7f && c != '%')
            continue;
        percent_encode(&out, name);
        return buf_str(&out);
    }
    return name;
}

void req_tell_model(struct req *r)
{
    if (!r->plan || r->plan->n < 2)
        return;
    exchange_field(r->x, STR("x-inferd-model"), field_value(r, r->target));
    if (r->planned < r->plan->targets)
        return;
    exchange_field(r->x, STR("x-inferd-fallback"), STR("1"));
    metrics_count(&r->lane->shard.fallbacks[r->model_label]);
}
