/* SPDX-License-Identifier: Apache-2.0
 *
 * retry.c - another attempt. A request is tried again only while nothing of a reply has reached the
 * client, only when that is safe, on an engine that it has not tried, and within the budget.
 *
 * Safe is: a connection that was not made (any method: nothing was sent); a connection that broke
 * before a whole head, for reads always, for inference once (the generation has gone with it); an
 * answer that says that nothing was done (429, 503) or that a gateway before us failed (502, 504).
 *
 * The next engine is found, and a slot of it held, before the present attempt is given up: as long
 * as nobody else can take the request, the engine's own answer is what the client gets. Only when
 * the others are merely full does it wait for one of them. An engine that asks for a pause of
 * PAUSE_MOST_MS at most is asked again after it when there is nobody else.
 *
 * Exports: req_ retry_
 */
#include "gate/retry.h"

#include "fleet/breaker.h"
#include "gate/access.h"
#include "gate/attempt.h"
#include "gate/choice.h"
#include "gate/lane_priv.h"
#include "gate/request.h"

enum { PAUSE_MOST_MS = 1000, HANDICAP_OF_FAILURE = 4 };

/* ---- words ---- */

#define AS_WORD(bit, word, dflt) word,
static const char *const words[] = {RETRY_KINDS(AS_WORD)};

uint32_t retry_bit(struct str word)
{
    for (unsigned i = 0; i < RETRY_KINDS_N; i++)
        if (str_eq(word, str_of(words[i])))
            return UINT32_C(1) << i;
    return RETRY_NOTHING;
}

const char *retry_word(unsigned index)
{
    CHECK(index < RETRY_KINDS_N);
    return words[index];
}

#define AS_LIST(bit, word, dflt) ", " word

const char *retry_words(void)
{
    static const char all[] = RETRY_KINDS(AS_LIST);

    return all + 2;
}

uint32_t retry_bit_of_status(unsigned status)
{
    switch (status) {
    case 429:
        return RETRY_429;
    case 500:
        return RETRY_500;
    case 502:
        return RETRY_502;
    case 503:
        return RETRY_503;
    case 504:
        return RETRY_504;
    default:
        return RETRY_NOTHING;
    }
}

uint64_t retry_after_ms(struct str value)
{
    uint64_t seconds = 0;

    if (value.n == 0 || value.n > 5)
        return 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9')
            return 0;
        seconds = seconds * 10 + (uint64_t)(value.p[i] - '0');
    }
    return seconds > 0 ? seconds * 1000 : 1;
}

/* ---- what an attempt says about its engine ---- */

static void tell_control(struct req *r, enum control_mail_kind kind)
{
    struct control_mail *m = gate_control_mail(kind);

    m->engine = r->engine->id;
    gate_post_control(r->lane->gate, m);
}

/* An engine that fails is given less for a while: a fast failure would make it the emptiest. */
static void handicap(struct req *r)
{
    if (r->lane->gate->rules->slow_start && cell_handicap(r->engine->cell, HANDICAP_OF_FAILURE))
        tell_control(r, CONTROL_HANDICAP);
}

static void count_failure(struct req *r, uint32_t how, bool reached)
{
    const struct breaker_conf *conf = lane_conf(r->snap)->breaker;
    struct cell *c;

    if (!r->engine)
        return;
    c = r->engine->cell;
    r->heard = true;
    r->failed = how;
    atomic_fetch_add_explicit(&c->errors, 1, memory_order_relaxed);
    if (r->passthrough)
        return; /* management says nothing about what the engine is there for */
    handicap(r);
    if (how == RETRY_TIMEOUT && r->lane->gate->rules->judges_models)
        breaker_model_failed(c, r->model_mark, conf->model_failures, loop_now_ms(r->lane->loop), 0);
    else if (reached ? breaker_broken(c, conf->broken) : breaker_refused(c))
        tell_control(r, CONTROL_BREAKER);
}

void req_engine_failed(struct req *r, uint32_t how) { count_failure(r, how, how != RETRY_CONNECT); }

void req_engine_unheard(struct req *r) { count_failure(r, RETRY_BROKEN, false); }

/* What the engine asks for; 0: nothing. */
static uint64_t asked_pause_ms(const struct req *r)
{
    const struct relay *y = &r->relay;

    return retry_after_ms(http1_value(y->head, y->head_bytes, HTTP1_RETRY_AFTER));
}

void req_engine_answered(struct req *r)
{
    struct cell *c = r->engine->cell;
    unsigned status = r->relay.status;

    r->heard = true;
    if (breaker_answered(c))
        tell_control(r, CONTROL_BREAKER);
    if (r->passthrough || !r->lane->gate->rules->judges_models)
        return;
    if (status == 429 || status >= 500) {
        atomic_fetch_add_explicit(&c->errors, 1, memory_order_relaxed);
        breaker_model_failed(c, r->model_mark, lane_conf(r->snap)->breaker->model_failures,
                             loop_now_ms(r->lane->loop), asked_pause_ms(r));
        handicap(r);
    } else if (atomic_load_explicit(&c->troubles, memory_order_relaxed) > 0) {
        breaker_model_ok(c, r->model_mark);
    }
}

/* ---- another attempt ---- */

static bool is_json(const struct req *r)
{
    return access_is_json(http1_value(r->x->head, r->x->head_bytes, HTTP1_CONTENT_TYPE));
}

/* A JSON POST to where models are asked: what it has begun ends with its connection. */
static bool generates(const struct req *r)
{

    if (r->path == PATH_INFERENCE)
        return true;
    return r->x->head->method == HTTP1_POST && is_json(r) &&
           (str_starts(r->where, STR("/v1/")) || str_starts(r->where, STR("/chat/")) ||
            str_starts(r->where, STR("/completions")));
}

/* The connection took the request along: may it be sent again? */
static bool repeatable(const struct req *r)
{
    enum http1_method method = r->x->head->method;

    return method == HTTP1_GET || method == HTTP1_HEAD || method == HTTP1_OPTIONS ||
           (generates(r) && !r->rerun);
}

static bool allowed(const struct req *r, uint32_t how)
{
    const struct retry_conf *c = lane_conf(r->snap)->retry;

    if (r->passthrough || r->gone || r->x->replied ||
        r->attempts - r->attempts_before >= c->attempts)
        return false;
    if ((c->mask & how) == 0 || r->ntried == SELECT_TRIED_MAX)
        return false;
    return how != RETRY_BROKEN || repeatable(r);
}

static bool afford(struct req *r)
{
    struct gate *g = r->lane->gate;

    if (budget_take(&g->budgets[r->lane->index], g->budgets, g->nlanes,
                    lane_conf(r->snap)->retry->budget_percent, loop_now_ms(r->lane->loop)))
        return true;
    metrics_count(&r->lane->shard.limit_retries);
    return false;
}

/* Gives the present attempt up, and all that was read of it. */
static void drop_attempt(struct req *r)
{
    struct chunkq hold = r->relay.hold;

    call_cancel(&r->call);
    req_release(r);
    chunkq_clear(&hold);
    r->relay = (struct relay){.hold = hold};
    r->opened = r->sent = r->up_paused = r->heard = false;
    r->failed = RETRY_NOTHING;
    r->fault = (struct fault){.code = FAULT_none};
}

/* What became of the search for another engine. */
enum found { FOUND_NOBODY, FOUND_ENGINE, FOUND_QUEUE, FOUND_NO_BUDGET };

/* `waits`: one that is full is found, too, if its queue may be waited in. */
static enum found find_next(struct req *r, bool waits, const struct engine **next)
{
    enum found found = FOUND_NOBODY;

    waits = waits && lane_conf(r->snap)->limits->queue_ms > 0;
    r->tried[r->ntried++] = r->engine->id;
    switch (req_reserve(r, next)) {
    case SELECT_ONE:
        found = afford(r) ? FOUND_ENGINE : FOUND_NO_BUDGET;
        if (found == FOUND_NO_BUDGET)
            req_give(r, *next);
        break;
    case SELECT_FULL:
        if (waits)
            found = afford(r) ? FOUND_QUEUE : FOUND_NO_BUDGET;
        break;
    case SELECT_COMING:
    case SELECT_NOBODY:
    case SELECT_FOREIGN:
        break;
    }
    if (found == FOUND_NOBODY || found == FOUND_NO_BUDGET)
        r->ntried--;
    return found;
}

/* What the client is told when it stays the last that was met. */
static void note_failure(struct req *r)
{
    if (r->fault.code) {
        r->last_fault = r->fault;
        return;
    }
    fault_set(&r->last_fault, FAULT_no_healthy_service,
              "No healthy services available for model '%.*s' (last error: '%.*s' answered %u)",
              (int)str_utf8_cut(r->model, 128), r->model.p, (int)str_utf8_cut(r->engine->name, 48),
              r->engine->name.p, r->relay.status);
    r->last_fault.retry_after_s = 5;
}

static void move_on(struct req *r, uint32_t how, const struct engine *next)
{
    if (how == RETRY_BROKEN)
        r->rerun = true;
    note_failure(r);
    drop_attempt(r);
    r->engine = next; /* NULL: ROUTE takes a ticket */
    metrics_count(&r->lane->shard.retries[__builtin_ctz(how)]);
}

/* To another engine, at once or as soon as one has a slot; or there is none. */
static enum found go_elsewhere(struct req *r, uint32_t how)
{
    const struct engine *next = NULL;
    enum found found = find_next(r, true, &next);

    if (found == FOUND_ENGINE || found == FOUND_QUEUE)
        move_on(r, how, next);
    return found;
}

/* No engine could be reached. One that comes back may still serve this request: it waits. */
static enum req_step await_return(struct req *r)
{
    if (!afford(r))
        return REQ_FAIL;
    move_on(r, RETRY_CONNECT, NULL);
    r->ntried = 0;
    return REQ_ROUTE;
}

/* It could be sent again, and there is nobody to send it to: that is what is told, unless it may
 * wait for somebody who was not tried. */
static enum req_step await_another(struct req *r, uint32_t how)
{
    uint32_t engine = r->engine->id;

    if (lane_conf(r->snap)->limits->queue_ms == 0 || !afford(r)) {
        req_say_nobody(r);
        return REQ_FAIL;
    }
    move_on(r, how, NULL);
    r->tried[r->ntried++] = engine;
    return REQ_ROUTE;
}

enum req_step req_again(struct req *r)
{
    const struct gate_rules *rules = r->lane->gate->rules;
    uint32_t how = r->failed;

    if (how == RETRY_NOTHING || !r->engine || !allowed(r, how))
        return REQ_FAIL;
    switch (go_elsewhere(r, how)) {
    case FOUND_ENGINE:
    case FOUND_QUEUE:
        return REQ_ROUTE;
    case FOUND_NO_BUDGET:
        return REQ_FAIL;
    case FOUND_NOBODY:
        break;
    }
    if (rules->tells_cause)
        return await_another(r, how);
    return rules->awaits_return && how == RETRY_CONNECT && !req_may_fall_back(r) ? await_return(r)
                                                                                 : REQ_FAIL;
}

void req_start_over(struct req *r)
{
    if (r->fault.code || r->engine)
        note_failure(r);
    req_drop_ticket(r);
    drop_attempt(r);
    r->ntried = 0;
    r->attempts_before = r->attempts;
    r->rerun = false;
}

static enum req_step judge(struct req *r, uint32_t how)
{
    enum found found;
    uint64_t pause;

    if (!allowed(r, how))
        return REQ_RELAY;
    found = go_elsewhere(r, how);
    if (found == FOUND_ENGINE || found == FOUND_QUEUE)
        return REQ_ROUTE;
    pause = asked_pause_ms(r);
    if (pause == 0 || pause > PAUSE_MOST_MS || !afford(r))
        return REQ_RELAY;
    move_on(r, how, NULL);
    r->pause_ms = (uint32_t)pause;
    return REQ_PAUSE;
}

enum req_step req_judge_answer(struct req *r)
{
    uint32_t how = retry_bit_of_status(r->relay.status);
    enum req_step next;

    if ((lane_conf(r->snap)->retry->mask & how) == 0)
        return REQ_RELAY;
    next = judge(r, how);
    return next == REQ_RELAY && req_fall_back(r) ? REQ_ROUTE : next;
}

/* ---- PAUSE ---- */

static void on_pause_over(struct deadline *d)
{
    struct req *r = container_of(d, struct req, deadline);

    r->pause_ms = 0;
    req_run(r);
}

enum req_step req_pause(struct req *r)
{
    if (r->pause_ms == 0)
        return REQ_ROUTE;
    if (!deadline_armed(&r->deadline))
        deadline_arm(r->lane->loop, &r->deadline, r->pause_ms, on_pause_over);
    return REQ_WAIT;
}

/* ---- taken back ---- */

/* The next engine is found, and a slot of it held, if the request may be sent again. */
static bool leave_for_another(struct req *r, bool waits)
{
    const struct engine *next = NULL;
    enum found found;

    if (!allowed(r, RETRY_BROKEN))
        return false;
    found = find_next(r, waits, &next);
    if (found != FOUND_ENGINE && found != FOUND_QUEUE)
        return false;
    r->next = next;
    r->taken_back = true;
    return true;
}

void req_taken_back(struct req *r)
{
    if (r->step < REQ_CONNECT || r->step > REQ_AWAIT || r->heard || !leave_for_another(r, true))
        return; /* it may answer yet */
    req_run(r);
}

void req_move(struct req *r)
{
    r->moved = true;
    if (r->heard || !leave_for_another(r, false))
        return;
    req_engine_failed(r, RETRY_TIMEOUT);
    req_note_cause(r, "no response in time");
}

enum req_step req_leave(struct req *r)
{
    const struct engine *next = TAKE(&r->next);

    r->taken_back = false;
    metrics_count(&r->lane->shard.taken_back);
    move_on(r, RETRY_BROKEN, next);
    return REQ_ROUTE;
}
