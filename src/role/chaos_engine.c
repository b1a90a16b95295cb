/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_engine.c - a request is read whole, its mark is looked up, and perform() takes the steps of
 * its script until one has to wait. A call lives in its exchange's arena and ends in finish().
 * GETs (a gateway's questions of health and models) are always answered well: what is tested is
 * the traffic.
 *
 * Requests between rows close their connection behind the answer, so that a row's first attempt is
 * one on a fresh connection, and a row that needs a kept one makes it itself.
 */
#include "role/chaos_engine.h"

#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/listener.h"
#include "net/server.h"

enum {
    BODY_BYTES_MAX = 64 << 10,
    ANSWER_BYTES_MAX = 4096,
    HIGH_WATER_BYTES = 64 << 10,
    BATCH_BYTES = 8 << 10, /* of CHAOS_DO_REPEAT, in one write */
    BACKLOG = 1024,
};

struct chaos_engine {
    struct chaos_stage *stage;
    unsigned number;
    struct addr at;
    struct server *server;
    struct listener *listener;
    unsigned arrivals; /* of rows */
};

struct call {
    struct chaos_engine *e;
    struct exchange *x;
    struct buf body;
    uint64_t mark; /* 0: none, as between rows */
    bool stream;
    const struct chaos_step *step; /* the one that comes next; NULL: the request is not whole yet */
    struct chaos_record *record;   /* NULL: not of this row */
    unsigned events;               /* of the stream, said so far */
    size_t said;                   /* bytes of a reply that comes in parts */
    size_t repeat_left;            /* bytes of CHAOS_DO_REPEAT */
    struct deadline deadline;
};

/* ---- a call ---- */

static void finish(struct call *c)
{
    struct exchange *x = c->x;

    deadline_stop(&c->deadline);
    if (c->record)
        c->record->open--;
    buf_fini(&c->body);
    exchange_end(x);
}

static void on_gone(void *ctx, int err)
{
    struct call *c = ctx;

    (void)err;
    if (c->record && !exchange_complete(c->x))
        c->record->gone_us = loop_now_us(c->e->stage->loop);
    finish(c);
}

/* What is in the scratch buffer, as body bytes. False: the other side has gone, and so has c. */
static bool send_scratch(struct call *c, bool last)
{
    struct buf *out = &c->e->stage->scratch;
    struct iovec iov = {out->p, out->n};
    long r = exchange_complete(c->x) ? 0 : exchange_send(c->x, &iov, 1, last);

    buf_clear(out);
    if (r < 0)
        on_gone(c, (int)r);
    return r >= 0;
}

static bool start_reply(struct call *c, const char *type, enum exchange_body body, uint64_t length)
{
    exchange_field(c->x, STR("content-type"), str_of(type));
    if (exchange_start(c->x, body, length) == 0)
        return true;
    on_gone(c, -E_RESET);
    return false;
}

static bool say_head(struct call *c)
{
    exchange_reply(c->x, 200);
    return start_reply(c, "text/event-stream", EXCHANGE_STREAM, 0);
}

/* The next n, into the scratch buffer. */
static void write_events(struct call *c, unsigned n)
{
    for (unsigned end = c->events + n; c->events < end && c->events < CHAOS_EVENTS_N; c->events++)
        chaos_answer_event(c->mark, c->events, &c->e->stage->scratch);
}

static bool say_events(struct call *c, unsigned n, bool last)
{
    struct buf *out = &c->e->stage->scratch;

    write_events(c, n);
    if (last)
        buf_text(out, "data: [DONE]\n\n");
    return send_scratch(c, last);
}

static bool say_good(struct call *c)
{
    struct buf *out = &c->e->stage->scratch;

    if (c->stream)
        return say_head(c) && say_events(c, CHAOS_EVENTS_N, true);
    chaos_answer_whole(c->mark, out);
    exchange_reply(c->x, 200);
    return start_reply(c, "application/json", EXCHANGE_LENGTH, out->n) && send_scratch(c, true);
}

static bool say_part(struct call *c, unsigned less)
{
    struct buf *out = &c->e->stage->scratch;
    size_t whole;

    chaos_answer_whole(c->mark, out);
    whole = out->n;
    out->n -= min_size(less, whole - 1);
    c->said = out->n;
    exchange_reply(c->x, 200);
    return start_reply(c, "application/json", EXCHANGE_LENGTH, whole) && send_scratch(c, false);
}

static bool say_rest(struct call *c, unsigned less)
{
    struct buf *out = &c->e->stage->scratch;
    size_t whole;

    chaos_answer_whole(c->mark, out);
    whole = out->n;
    memmove(out->p, out->p + c->said, whole - c->said);
    out->n = whole - less - c->said;
    c->said += out->n;
    return send_scratch(c, less == 0);
}

static bool say_status(struct call *c, unsigned status, const char *field)
{
    struct buf *out = &c->e->stage->scratch;
    struct str value = str_of(field), name = str_cut(&value, ':');

    buf_printf(out,
               "{\"error\":{\"code\":\"engine_%u\",\"message\":\"the engine says %u\","
               "\"param\":null,\"type\":\"engine_error\"}}",
               status, status);
    exchange_reply(c->x, status);
    if (field)
        exchange_field(c->x, name, str_trim(value));
    return start_reply(c, "application/json", EXCHANGE_LENGTH, out->n) && send_scratch(c, true);
}

static void end_connection(struct call *c, bool reset)
{
    exchange_kill(c->x, reset);
    finish(c);
}

/* Bytes past all framing. False: the other side has gone, and so has c. */
static bool say_raw(struct call *c, struct str bytes)
{
    if (exchange_raw(c->x, bytes) == 0)
        return true;
    on_gone(c, -E_RESET);
    return false;
}

static bool say_raw_events(struct call *c, unsigned n)
{
    struct buf *out = &c->e->stage->scratch;
    bool there;

    write_events(c, n);
    there = say_raw(c, buf_str(out));
    buf_clear(out);
    return there;
}

/* False: it goes on in on_drained(), or c has gone. */
static bool repeat(struct call *c, struct str text)
{
    struct buf *out = &c->e->stage->scratch;

    while (c->repeat_left >= text.n && exchange_queued(c->x) < HIGH_WATER_BYTES) {
        bool there;

        while (out->n + text.n <= BATCH_BYTES && c->repeat_left >= text.n) {
            buf_add(out, text);
            c->repeat_left -= text.n;
        }
        there = say_raw(c, buf_str(out));
        buf_clear(out);
        if (!there)
            return false;
    }
    return c->repeat_left < text.n;
}

/* One step. True: the next one may follow at once; false: it waits, or the call is gone. */
static bool take_step(struct call *c, const struct chaos_step *s)
{
    switch (s->what) {
    case CHAOS_DO_GOOD:
        return say_good(c);
    case CHAOS_DO_STATUS:
        return say_status(c, s->n, s->text);
    case CHAOS_DO_HEAD:
        return say_head(c);
    case CHAOS_DO_EVENTS:
        return say_events(c, s->n, false);
    case CHAOS_DO_RAW_EVENTS:
        return say_raw_events(c, s->n);
    case CHAOS_DO_PART:
        return say_part(c, s->n);
    case CHAOS_DO_REST:
        return say_rest(c, s->n);
    case CHAOS_DO_RAW:
        return say_raw(c, str_of(s->text));
    case CHAOS_DO_REPEAT:
        c->repeat_left = (size_t)s->n << 10;
        return repeat(c, str_of(s->text));
    case CHAOS_DO_WAIT:
        return false; /* perform() has armed it */
    case CHAOS_DO_FIN:
    case CHAOS_DO_RST:
        end_connection(c, s->what == CHAOS_DO_RST);
        return false;
    case CHAOS_DO_HOLD:
        return false;
    case CHAOS_DO_END:
        if (exchange_complete(c->x))
            finish(c);
        else
            end_connection(c, false);
        return false;
    }
    return false;
}

static void perform(struct call *c);

static void on_deadline(struct deadline *d) { perform(container_of(d, struct call, deadline)); }

static void perform(struct call *c)
{
    const struct chaos_step *s;

    do {
        s = c->step++;
        if (s->what == CHAOS_DO_WAIT)
            deadline_arm(c->e->stage->loop, &c->deadline, s->n, on_deadline);
    } while (take_step(c, s));
}

static void on_drained(void *ctx)
{
    struct call *c = ctx;
    const struct chaos_step *s = c->step ? c->step - 1 : NULL; /* the one that is being taken */

    if (s && s->what == CHAOS_DO_REPEAT && c->repeat_left >= str_of(s->text).n &&
        repeat(c, str_of(s->text)))
        perform(c);
}

/* ---- a request ---- */

static const struct chaos_step behave[] = {{CHAOS_DO_GOOD, 0, NULL}, {CHAOS_DO_END, 0, NULL}};
/* Long enough that requests of one moment meet, and go to several engines. */
static const struct chaos_step behave_slowly[] = {
    {CHAOS_DO_WAIT, 5, NULL}, {CHAOS_DO_GOOD, 0, NULL}, {CHAOS_DO_END, 0, NULL}};

static uint64_t find_mark(struct str body)
{
    uint64_t mark = 0;
    size_t at = str_find_str(body, STR("mark-"));

    return at + 11 <= body.n && str_u64(str_head(str_from(body, at + 5), 6), &mark) ? mark : 0;
}

static const struct chaos_step *find_act(const struct chaos_script *s, unsigned i)
{
    while (i > 0 && (i >= CHAOS_ACTS || (!s->act[i] && !s->by_engine)))
        i--;
    return s->act[i] ? s->act[i] : behave;
}

static void begin(struct call *c)
{
    struct chaos_stage *stage = c->e->stage;
    struct str body = buf_str(&c->body);
    struct chaos_record *r;

    c->mark = find_mark(body);
    c->stream = str_find_str(body, STR("\"stream\":true")) < body.n;
    if (c->mark < stage->first_mark || c->mark >= stage->first_mark + stage->records_n) {
        stage->served[c->e->number]++;
        c->step = behave_slowly;
        c->x->close = !stage->keep;
        perform(c);
        return;
    }
    c->record = r = &stage->records[c->mark - stage->first_mark];
    r->last_us = loop_now_us(stage->loop);
    if (r->attempts == 0)
        r->first_us = r->last_us;
    c->step = find_act(&stage->script, stage->script.by_engine ? c->e->number : r->attempts);
    if (stage->script.every_other && c->e->arrivals++ % 2)
        c->step = behave;
    r->attempts++;
    r->by[c->e->number]++;
    r->open++;
    perform(c);
}

static void answer_get(struct call *c)
{
    struct str path = http1_str(c->x->head_bytes, c->x->head->path);
    struct str body = STR("{\"status\":\"ok\"}");

    if (str_ends(path, STR("/models")))
        body = STR("{\"data\":[{\"created\":1,\"id\":\"chaos\",\"object\":\"model\"},"
                   "{\"created\":1,\"id\":\"chaos-solo\",\"object\":\"model\"}],"
                   "\"object\":\"list\"}");
    exchange_reply_whole(c->x, 200, STR("application/json"), body);
    finish(c);
}

static void on_body(void *ctx, const char *p, size_t n)
{
    buf_bytes(&((struct call *)ctx)->body, p, n);
}

static void on_body_end(void *ctx)
{
    struct call *c = ctx;

    if (c->x->head->method == HTTP1_POST)
        begin(c);
    else
        answer_get(c);
}

/* A gateway that sends no HTTP: said, so that it shows. */
static void on_body_fault(void *ctx, const struct fault *f)
{
    struct call *c = ctx;

    exchange_reply_whole(c->x, (unsigned)f->status, STR("text/plain"), str_of(f->text));
    finish(c);
}

static void *on_request(void *server_ctx, struct exchange *x)
{
    struct call *c = arena_new(&x->arena, struct call);

    c->e = server_ctx;
    c->x = x;
    c->body = buf_make(BODY_BYTES_MAX);
    if (x->fault)
        on_body_fault(c, x->fault);
    return c;
}

static const struct exchange_owner owner = {
    .on_request = on_request,
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_body_fault = on_body_fault,
    .on_drained = on_drained,
    .on_gone = on_gone,
};

/* ---- an engine ---- */

static void on_connection(void *ctx, struct ev_fd *conn, const struct addr *peer)
{
    struct chaos_engine *e = ctx;

    (void)!server_accept(e->server, conn, peer, NULL); /* a refused one is closed by the listener */
}

int chaos_engine_start(struct chaos_engine *e)
{
    struct server_conf conf = {
        .limits = {.head_bytes = HTTP1_HEAD_BYTES_MAX,
                   .request_line_bytes = HTTP1_HEAD_BYTES_MAX,
                   .headers = HTTP1_FIELDS_MAX,
                   .linger_ms = 2000},
        .owner = &owner,
        .ctx = e,
        .chunks = &e->stage->chunks,
        .arenas = &e->stage->arenas,
        .name = STR("chaos"),
    };
    struct ev_fd fd = EV_FD_NONE;
    int r;

    CHECK(!e->listener);
    r = listener_bind_patiently(&e->at, BACKLOG, 0600, 2000, &fd);
    if (r < 0)
        return r;
    r = listener_open(e->stage->loop, &fd, on_connection, e, &e->listener);
    ev_fd_close(&fd);
    if (r == 0)
        server_create(e->stage->loop, &conf, &e->server);
    return r;
}

void chaos_engine_stop(struct chaos_engine *e)
{
    listener_close(&e->listener);
    server_destroy(&e->server);
}

bool chaos_engine_listens(const struct chaos_engine *e) { return e->listener != NULL; }

int chaos_engine_create(struct chaos_stage *stage, unsigned number, struct addr *at,
                        struct chaos_engine **ret)
{
    struct chaos_engine *e = xnew(struct chaos_engine, .stage = stage, .number = number, .at = *at);
    int r = chaos_engine_start(e);

    if (r < 0) {
        chaos_engine_destroy(&e);
        return r;
    }
    *at = e->at;
    *ret = e;
    return 0;
}

void chaos_engine_destroy(struct chaos_engine **ep)
{
    struct chaos_engine *e = TAKE(ep);

    if (!e)
        return;
    chaos_engine_stop(e);
    xfree(e);
}
