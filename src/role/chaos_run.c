/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_run.c - a row in order: settle (good requests until every engine that has the model is
 * asked again, so that no row inherits the breakers of the one before), set the stage, ask, wait
 * for the ends, ask once more (`after`), judge. What the engines saw stands in the stage's records,
 * what the clients saw in `slots`.
 */
#include "role/chaos_run.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "ev/deadline.h"

enum {
    PATIENCE_MS = 15000, /* a request without an end by then hangs */
    SETTLE_AT_ONCE = 8,  /* and that many rounds at least */
    SETTLE_ROUNDS = 4,
    SETTLE_PAUSE_MS = 50,
    KEPT_AT_ONCE = 8,
    SLACK_REQUESTS = 2, /* of the budget: its window is not ours to the millisecond */
};

struct slot {
    struct chaos_run *run;
    struct chaos_reply reply;
    uint64_t ended_us; /* 0: under way */
};

struct chaos_run {
    struct chaos_wait *w;
    struct chaos_stage *stage;
    struct chaos_engine *const *engines;
    const struct addr *at;
    struct chaos_run_conf conf;
    struct chaos_client *client;
    uint64_t next_mark;
    uint64_t *sent_us; /* of every request so far, for the budget's window */
    size_t sent_n, sent_size;
    /* the row */
    const struct chaos_row *row;
    struct slot *slots;
    unsigned total, sent, ended;
    struct deadline due;
    struct chaos_process *process;
    int gateway_pid;
};

/* ---- asking ---- */

static void note_sent(struct chaos_run *run)
{
    if (run->sent_n == run->sent_size) {
        run->sent_size = run->sent_size ? 2 * run->sent_size : 1024;
        run->sent_us = mem_resize_array(run->sent_us, run->sent_size, sizeof(*run->sent_us));
    }
    run->sent_us[run->sent_n++] = loop_now_us(run->w->loop);
}

/* Requests of the `us` before `began_us` and of all the time since: more than any window of that
 * length had, however long the row took. */
static size_t sent_within(const struct chaos_run *run, uint64_t us, uint64_t began_us)
{
    size_t n = run->sent_n;

    while (n > 0 && run->sent_us[n - 1] + us >= began_us)
        n--;
    return run->sent_n - n;
}

static unsigned patient(const struct chaos_run *run, unsigned ms)
{
    return ms * run->conf.patience;
}

static struct str model_of(const struct chaos_run *run)
{
    return run->row->solo ? run->conf.solo : run->conf.model;
}

static void on_reply(void *ctx, const struct chaos_reply *reply);

static void ask(struct chaos_run *run, struct slot *s, uint64_t mark, const struct chaos_row *row)
{
    struct chaos_question q = {.model = model_of(run), .mark = mark, .patience_ms = PATIENCE_MS};

    if (row) {
        q.stream = row->stream;
        q.leave = row->leave;
        q.leave_ms = row->leave_ms;
    }
    s->run = run;
    s->ended_us = 0;
    run->sent++;
    note_sent(run);
    chaos_client_ask(run->client, &q, on_reply, s);
}

/* The row's next request, if there is one. */
static void ask_next(struct chaos_run *run)
{
    if (run->sent < run->total)
        ask(run, &run->slots[run->sent], run->stage->first_mark + run->sent, run->row);
}

static void on_reply(void *ctx, const struct chaos_reply *reply)
{
    struct slot *s = ctx;
    struct chaos_run *run = s->run;

    s->reply = *reply;
    s->ended_us = loop_now_us(run->w->loop);
    run->ended++;
    if (run->row->every_ms == 0)
        ask_next(run);
}

static bool all_ended(void *ctx)
{
    struct chaos_run *run = ctx;

    return run->ended == run->total;
}

/* n good requests at once, on marks that no row has. True: all answers are good, within `ms`. */
static bool ask_good(struct chaos_run *run, unsigned n, uint64_t ms)
{
    struct slot *mine = mem_alloc(n * sizeof(*mine)), *theirs = run->slots;
    bool good = true;

    run->slots = mine;
    run->total = n;
    run->sent = run->ended = 0;
    for (unsigned i = 0; i < n; i++)
        ask(run, &mine[i], run->next_mark++, NULL);
    if (!chaos_process_wait(run->w, 2 * PATIENCE_MS, all_ended, run))
        chaos_client_drop_all(run->client);
    for (unsigned i = 0; i < n; i++)
        good = good && mine[i].ended_us > 0 && mine[i].reply.outcome == CHAOS_GOOD &&
               mine[i].reply.us <= ms * 1000;
    run->slots = theirs;
    mem_free(mine);
    return good;
}

/* ---- before ---- */

static bool settled(const struct chaos_run *run, const uint64_t before[CHAOS_ENGINES])
{
    const uint64_t *served = run->stage->served;
    bool alone = run->row->solo;

    return served[0] > before[0] && (alone || served[1] > before[1]);
}

/* False: an engine is not asked any more, in all that time. */
static bool settle(struct chaos_run *run)
{
    uint64_t end = loop_now_us(run->w->loop) + run->conf.settle_ms * run->conf.patience * 1000ull;
    uint64_t before[CHAOS_ENGINES];
    unsigned good = 0;
    bool both = false;

    memcpy(before, run->stage->served, sizeof(before));
    while (!run->w->stopped && loop_now_us(run->w->loop) < end) {
        if (ask_good(run, SETTLE_AT_ONCE, PATIENCE_MS)) {
            good++;
        } else {
            good = 0;
            (void)chaos_process_wait(run->w, SETTLE_PAUSE_MS, NULL, NULL);
        }
        both = settled(run, before);
        if (both && good >= SETTLE_ROUNDS)
            return true;
    }
    return both && good > 0;
}

static bool turn_off_second(const struct chaos_run *run)
{
    return run->row->solo && str_eq(run->conf.solo, run->conf.model);
}

/* The listeners and processes as the row wants them at its beginning. 0, or what went wrong. */
static int begin_event(struct chaos_run *run)
{
    enum chaos_event event = run->row->event;
    int r = 0;

    if (event != CHAOS_NO_EVENT)
        chaos_engine_stop(run->engines[0]);
    if (event == CHAOS_ALL_REFUSE)
        chaos_engine_stop(run->engines[1]);
    if (event == CHAOS_KILL || event == CHAOS_STOP)
        r = chaos_process_engine(run->w, &run->at[0], &run->process);
    return r;
}

static void end_event(struct chaos_run *run)
{
    if (run->process)
        chaos_process_signal(run->process, SIGCONT);
    chaos_process_end(run->w, true, &run->process);
    for (unsigned i = 0; i < CHAOS_ENGINES; i++) {
        if (!chaos_engine_listens(run->engines[i]) && chaos_engine_start(run->engines[i]) < 0)
            (void)fprintf(stderr, "Error: engine %u cannot listen again\n", i + 1);
    }
}

static void keep_connections(struct chaos_run *run)
{
    run->stage->keep = true;
    (void)ask_good(run, KEPT_AT_ONCE, PATIENCE_MS);
    run->stage->keep = false;
}

/* ---- during ---- */

static void strike(struct chaos_run *run)
{
    if (run->row->event == CHAOS_KILL)
        chaos_process_signal(run->process, SIGKILL);
    else if (run->row->event == CHAOS_STOP)
        chaos_process_signal(run->process, SIGSTOP);
}

static void on_due(struct deadline *d)
{
    struct chaos_run *run = container_of(d, struct chaos_run, due);

    if (run->sent == run->total / 3)
        strike(run);
    ask_next(run);
    if (run->sent < run->total)
        deadline_arm(run->w->loop, &run->due, run->row->every_ms, on_due);
}

static bool engines_quiet(void *ctx)
{
    struct chaos_run *run = ctx;
    unsigned open = 0;

    for (size_t i = 0; i < run->stage->records_n; i++)
        open += run->stage->records[i].open;
    return open == 0;
}

static void play(struct chaos_run *run)
{
    const struct chaos_row *row = run->row;

    run->total = row->requests ? row->requests : 1;
    run->sent = run->ended = 0;
    if (row->every_ms)
        on_due(&run->due);
    else
        for (unsigned i = 0; i < (row->at_once ? row->at_once : 1); i++)
            ask_next(run);
    (void)chaos_process_wait(run->w, 3 * PATIENCE_MS, all_ended, run);
    deadline_stop(&run->due);
    chaos_client_drop_all(run->client);
    (void)chaos_process_wait(run->w, patient(run, row->gone_ms), engines_quiet, run);
}

/* ---- the judgement ---- */

static void worsen(struct chaos_result *r, enum chaos_verdict verdict, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The note is the first of the worst. */
static void worsen(struct chaos_result *r, enum chaos_verdict verdict, const char *fmt, ...)
{
    va_list args;

    if (verdict <= r->verdict)
        return;
    r->verdict = verdict;
    va_start(args, fmt);
    (void)vsnprintf(r->note, sizeof(r->note), fmt, args);
    va_end(args);
}

static bool status_fits(const struct chaos_row *row, unsigned status)
{
    bool any = row->statuses[0] == 0;

    for (unsigned i = 0; i < CHAOS_STATUSES; i++)
        any = any || (row->statuses[i] && row->statuses[i] == status);
    return any;
}

static void judge_fields(struct chaos_result *r, const struct chaos_reply *reply)
{
    const struct chaos_row *row = r->row;

    if (!status_fits(row, reply->status))
        worsen(r, CHAOS_SAFE, "status %u", reply->status);
    if (row->code && reply->code[0] && !str_eq(str_of(row->code), str_of(reply->code)))
        worsen(r, CHAOS_SAFE, "code %s instead of %s", reply->code, row->code);
    if (row->retry_after && !str_eq(str_of(row->retry_after), str_of(reply->retry_after)))
        worsen(r, CHAOS_SAFE, "retry-after \"%s\" instead of %s", reply->retry_after,
               row->retry_after);
}

static void judge_reply(struct chaos_result *r, const struct chaos_reply *reply, unsigned most_ms)
{
    const struct chaos_row *row = r->row;
    enum chaos_outcome o = reply->outcome;

    if (o == row->want)
        judge_fields(r, reply);
    else if (o == CHAOS_GOOD || (row->or_cut && o == CHAOS_CUT))
        ; /* more than was asked for: the attempts say whether it was due */
    else if (chaos_answer_truthful(o))
        worsen(r, CHAOS_SAFE, "not %s", chaos_answer_words(row->want));
    else
        worsen(r, CHAOS_FAIL, "not %s%s%s", chaos_answer_words(row->want), reply->why ? ": " : "",
               reply->why ? reply->why : "");
    r->missed = r->missed || (row->want == CHAOS_GOOD && o != CHAOS_GOOD);
    if (reply->us > most_ms * 1000ull)
        worsen(r, CHAOS_SAFE, "%.2f s, at most %.2f s", (double)reply->us / 1e6, most_ms / 1e3);
    r->seen[o]++;
    if (o != CHAOS_GOOD) {
        r->status = reply->status;
        memcpy(r->code, reply->code, sizeof(r->code));
    }
    if (reply->us > r->request_us)
        r->request_us = reply->us;
}

static void judge_record(struct chaos_result *r, const struct chaos_record *rec,
                         const struct slot *s, unsigned gone_ms)
{
    const struct chaos_row *row = r->row;

    r->asked += rec->attempts;
    if (rec->attempts > r->attempts)
        r->attempts = rec->attempts;
    if (row->attempts && rec->attempts > row->attempts)
        worsen(r, CHAOS_FAIL, "%u attempts, at most %u", rec->attempts, row->attempts);
    if (row->gap_ms && rec->last_us - rec->first_us < row->gap_ms * 1000ull)
        worsen(r, CHAOS_SAFE, "asked again after %.2f s",
               (double)(rec->last_us - rec->first_us) / 1e6);
    if (!gone_ms || rec->attempts == 0)
        return;
    if (rec->open > 0 || rec->gone_us == 0 || rec->gone_us > s->ended_us + gone_ms * 1000ull)
        worsen(r, CHAOS_FAIL, "the engine was not told within %.1f s", gone_ms / 1e3);
}

static void judge(struct chaos_run *run, struct chaos_result *r, uint64_t began_us)
{
    const struct chaos_row *row = run->row;
    uint64_t window_us = CHAOS_BUDGET_MS * 1000ull;
    size_t budget = sent_within(run, window_us, began_us) * CHAOS_BUDGET_PERCENT / 100;

    for (unsigned i = 0; i < run->total; i++) {
        struct chaos_reply hung = {.outcome = CHAOS_HUNG, .us = 3ull * PATIENCE_MS * 1000};

        judge_reply(r, run->slots[i].ended_us ? &run->slots[i].reply : &hung,
                    patient(run, row->ms));
        judge_record(r, &run->stage->records[i], &run->slots[i], patient(run, row->gone_ms));
    }
    if (budget < CHAOS_BUDGET_LEAST)
        budget = CHAOS_BUDGET_LEAST;
    if (row->budget && r->asked > run->total + budget + SLACK_REQUESTS)
        worsen(r, CHAOS_FAIL, "%u attempts for %u requests, the budget is %zu more", r->asked,
               run->total, budget);
}

static void judge_after(struct chaos_run *run, struct chaos_result *r)
{
    for (unsigned i = 0; i < run->row->after; i++) {
        if (ask_good(run, 1, patient(run, run->row->ms)))
            continue;
        worsen(r, CHAOS_SAFE, "afterwards: no good answer to request %u", i + 1);
        r->missed = true;
    }
}

static void judge_gateway(struct chaos_run *run, struct chaos_result *r)
{
    int pid = run->conf.gateway ? chaos_gateway_pid(run->conf.gateway) : 0;

    if (pid != run->gateway_pid)
        worsen(r, CHAOS_FAIL, "the gateway died");
    run->gateway_pid = pid;
}

/* ---- a row ---- */

void chaos_run_row(struct chaos_run *run, const struct chaos_row *row, struct chaos_result *r)
{
    struct chaos_stage *stage = run->stage;
    unsigned n = row->requests ? row->requests : 1;
    uint64_t began;
    bool ready;

    *r = (struct chaos_result){.row = row};
    run->row = row;
    if (turn_off_second(run))
        chaos_engine_stop(run->engines[1]);
    ready = settle(run);
    if (row->kept)
        keep_connections(run);
    began = loop_now_us(run->w->loop);
    stage->script = row->script;
    stage->records = arena_zalloc(&stage->memory, n * sizeof(*stage->records));
    stage->first_mark = run->next_mark;
    stage->records_n = n;
    run->next_mark += n;
    run->slots = mem_alloc(n * sizeof(*run->slots));
    if (begin_event(run) < 0) {
        worsen(r, CHAOS_FAIL, "no engine process");
    } else {
        play(run);
        judge(run, r, began);
    }
    judge_after(run, r);
    r->us = loop_now_us(run->w->loop) - began;
    end_event(run);
    judge_gateway(run, r);
    if (r->verdict != CHAOS_PASS && !ready && !r->note[0])
        worsen(r, CHAOS_SAFE, "an engine was not asked any more before it");
    stage->records_n = 0;
    mem_free(run->slots);
    stage->records = NULL;
    run->slots = NULL;
}

void chaos_run_create(struct chaos_wait *w, struct chaos_stage *stage,
                      struct chaos_engine *const engines[CHAOS_ENGINES],
                      const struct addr at[CHAOS_ENGINES], const struct chaos_run_conf *conf,
                      struct chaos_run **ret)
{
    struct chaos_run *run = xnew(struct chaos_run, .w = w, .stage = stage, .engines = engines,
                                 .at = at, .conf = *conf, .next_mark = 1);

    chaos_client_create(w->loop, &stage->chunks, &conf->target, &run->client);
    run->gateway_pid = conf->gateway ? chaos_gateway_pid(conf->gateway) : 0;
    *ret = run;
}

bool chaos_run_reaches(struct chaos_run *run)
{
    static const struct chaos_row nothing = {.name = "nothing"};

    run->row = &nothing;
    return settle(run) || run->stage->served[0] + run->stage->served[1] > 0;
}

void chaos_run_destroy(struct chaos_run **rp)
{
    struct chaos_run *run = TAKE(rp);

    if (!run)
        return;
    chaos_client_destroy(&run->client);
    mem_free(run->sent_us);
    xfree(run);
}
