/* SPDX-License-Identifier: Apache-2.0
 *
 * sync.c - the registry is asked for its list, from the start of one question to the start of the
 * next, and never two at a time. A question without an answer, or with one that cannot be read,
 * changes nothing. Lists may be long: they are read beside the loop, and taken on it.
 *
 * What is wrong with a list is told when it is not what was wrong with the one before.
 *
 * Exports: sync_
 */
#include "gate/sources_priv.h"

#include "base/mem.h"
#include "ev/offload.h"

enum {
    CONNECT_MS = 2000,
    TOTAL_MS = 10000,
    IDLE_MS = 90000, /* of the connection, between two questions */
    HEAD_BYTES = 32 << 10,
    NOTES_BYTES = 8192, /* of what is told of one list */
};

static void ask(struct deadline *d);

/* ---- what is wrong ---- */

struct notes {
    uint64_t mark; /* of all, in their order */
    unsigned n;
    char memory[NOTES_BYTES];
    struct buf lines; /* the first of them */
};

static void on_note(void *ctx, const struct listing_note *note)
{
    struct notes *to = ctx;
    char memory[1024];
    struct buf line = buf_on(memory, sizeof memory);

    listing_write_note(note, &line);
    to->mark = str_hash(buf_str(&line), to->mark + 1);
    to->n++;
    if (to->lines.n + line.n + 1 > NOTES_BYTES)
        return;
    buf_add(&to->lines, buf_str(&line));
    buf_char(&to->lines, '\n');
}

static void tell_notes(struct sources *s, const struct notes *notes)
{
    struct control *c = s->control;
    struct str lines = buf_str(&notes->lines);
    enum log_level level = notes->mark == s->noted ? LOG_DEBUG : LOG_WARN;

    s->noted = notes->mark;
    while (lines.n > 0) {
        struct log_rec *r = log_begin(c->log, level, loop_wall_us(c->loop), "control",
                                      "the registry's list is not as it should be");

        log_str_cut(r, "what", str_cut(&lines, '\n'), LOG_TEXT_BYTES);
        log_u64(r, "of", notes->n);
        log_end(r);
    }
}

static void fail(struct sources *s, const char *why, unsigned status)
{
    struct control *c = s->control;
    bool same = s->failed && strcmp(s->failed, why) == 0;
    struct log_rec *r =
        log_begin(c->log, same ? LOG_DEBUG : LOG_WARN, loop_wall_us(c->loop), "control",
                  "the registry's list did not come: all stays as it was");

    log_text(r, "why", why);
    if (status > 0)
        log_u64(r, "status", status);
    log_end(r);
    metrics_count(&s->counts.failures);
    s->failed = why;
}

/* ---- a list ---- */

static void tell(struct sources *s, const struct listing *l, const struct entries_news *news)
{
    struct control *c = s->control;
    bool same = s->fetched && !s->failed && l->elements == s->fetched_n &&
                news->added + news->changed + news->removed + news->listed == 0;
    struct log_rec *r = log_beginf(c->log, same ? LOG_DEBUG : LOG_INFO, loop_wall_us(c->loop),
                                   "control", "Fetched %zu services from registry", l->elements);

    log_u64(r, "engines", l->n);
    log_u64(r, "added", news->added);
    log_u64(r, "changed", news->changed);
    log_u64(r, "removed", news->removed);
    log_end(r);
    s->fetched = true;
    s->fetched_n = l->elements;
    s->failed = NULL;
}

static void later(struct sources *s)
{
    struct loop *l = s->control->loop;
    uint64_t now = loop_now_ms(l), due = s->began_ms + s->conf->sync_ms;

    deadline_arm(l, &s->next, due > now ? (uint32_t)(due - now) : 1, ask);
}

/* A reply that is read beside the loop. */
struct reading {
    struct sources *s; /* NULL: nobody waits for it any more */
    uint64_t seed;
    char *body;
    size_t n;
    struct notes notes;
    struct listing list;
    int err;
};

static void read_list(void *ctx)
{
    struct reading *q = ctx;

    q->notes.lines = buf_on(q->notes.memory, sizeof q->notes.memory);
    q->err = listing_read(str_span(q->body, q->n), LISTING_REGISTRY, q->seed, on_note, &q->notes,
                          &q->list);
}

static void take(struct sources *s, struct reading *q)
{
    struct entries_news news;

    tell_notes(s, &q->notes);
    if (q->err < 0) {
        fail(s, "it is no list of services", 0);
        return;
    }
    metrics_add(&s->counts.skipped, q->list.skipped);
    entries_take_registry(s->table, &q->list, s->began_ms, &news); /* intervals count, not delays */
    sources_settle(s, &news);
    tell(s, &q->list, &news);
}

static void on_read(void *ctx)
{
    struct reading *q = ctx;

    if (q->s) {
        q->s->reading = NULL;
        take(q->s, q);
        later(q->s);
    }
    if (q->err == 0)
        listing_fini(&q->list);
    mem_free(q->body);
    mem_free(q);
}

/* False when it failed at once. */
static bool begin_reading(struct sources *s, struct str body)
{
    struct reading *q = xnew(struct reading, .s = s, .seed = s->control->gate->seed, .n = body.n,
                             .body = mem_dup(body.p, body.n));
    int r = offload_start(s->control->loop, read_list, on_read, q);

    if (r == 0) {
        s->reading = q;
        return true;
    }
    fail(s, err_text(r), 0);
    mem_free(q->body);
    mem_free(q);
    return false;
}

static void on_reply(void *ctx, const struct fetch_reply *reply)
{
    struct sources *s = ctx;

    s->fetch = NULL;
    if (reply->err == 0 && reply->status == 200 && begin_reading(s, reply->body))
        return;
    if (reply->err < 0)
        fail(s, err_text(reply->err), 0);
    else if (reply->status != 200)
        fail(s, "it answered with another status than 200", reply->status);
    later(s);
}

static void ask(struct deadline *d)
{
    struct sources *s = container_of(d, struct sources, next);
    struct fetch_question q = {
        .at = s->conf->registry,
        .api_key = s->conf->token,
        .path = "/services?healthy=true",
        .want = FETCH_BODY,
        .timeout_ms = TOTAL_MS,
        .max_bytes = LISTING_BYTES,
    };

    s->began_ms = loop_now_ms(s->control->loop);
    metrics_count(&s->counts.syncs);
    fetch_start(s->control->loop, s->pool, &q, on_reply, s, &s->fetch);
}

void sync_start(struct sources *s)
{
    struct control *c = s->control;
    const struct client_limits limits = {.connect_ms = CONNECT_MS,
                                         .pool_idle_ms = IDLE_MS,
                                         .pool_max_idle = 1,
                                         .head_bytes = HEAD_BYTES,
                                         .headers = HTTP1_FIELDS_MAX};
    struct log_rec *r =
        log_begin(c->log, LOG_INFO, loop_wall_us(c->loop), "control", "Registry sync begins");

    log_str(r, "registry", s->conf->registry->origin);
    log_u64(r, "every_ms", s->conf->sync_ms);
    log_end(r);
    client_create(c->loop, &c->chunks, &limits, &s->client);
    pool_create(
        s->client,
        &(struct pool_target){.host = s->conf->registry->host, .port = s->conf->registry->port},
        &s->pool);
    ask(&s->next);
}

void sync_stop(struct sources *s)
{
    deadline_stop(&s->next);
    fetch_cancel(&s->fetch);
    if (s->reading)
        s->reading->s = NULL;
    if (!s->client)
        return;
    pool_close(&s->pool);
    loop_settle(s->control->loop);
    client_destroy(&s->client);
}
