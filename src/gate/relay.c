/* SPDX-License-Identifier: Apache-2.0
 *
 * relay.c - the steps RELAY and FAIL: the engine's reply goes to the client as it comes, and never
 * ends falsely.
 *
 * Chunked replies and event streams go on at once. Other bodies are held until they are complete or
 * HOLD_BYTES are there, so that a short reply that breaks is an honest 502. What breaks later is
 * told to the reader of an event stream by an error event, without [DONE], and in every case the
 * reply ends unclean (exchange_cut). The engine is not read while the client has HIGH_WATER bytes
 * waiting. An event stream is chunked even when its length is known: the error event has no room in
 * a length.
 *
 * Exports: req_
 */
#include "base/jsonw.h"
#include "fleet/breaker.h"
#include "gate/attempt.h"
#include "gate/choice.h"
#include "gate/lane_priv.h"
#include "gate/request.h"
#include "gate/retry.h"

enum {
    HOLD_BYTES = 64 * 1024,
    HIGH_WATER = 16 * 1024,
    STREAM_UNREAD_BYTES = 32 * 1024, /* with the kernel */
    ERROR_BODY_BYTES = 4096,
};

/* ---- token counts, read in passing ---- */

static void look_at_events(struct relay *y, struct str piece)
{
    while (piece.n > 0) {
        size_t used;

        (void)sse_next(&y->events, piece.p, piece.n, &used);
        piece = str_from(piece, used);
    }
}

static void look_at(struct req *r, const struct iovec *iov, unsigned n)
{
    struct relay *y = &r->relay;

    for (unsigned i = 0; i < n; i++) {
        y->bytes += iov[i].iov_len;
        if (y->sse)
            look_at_events(y, str_span(iov[i].iov_base, iov[i].iov_len));
        if (y->usage)
            usage_feed(y->usage, iov[i].iov_base, iov[i].iov_len);
        if (y->document && jsonindex_feed(y->document, iov[i].iov_base, iov[i].iov_len) < 0)
            y->document = NULL; /* not what it says it is: relayed all the same */
    }
}

/* ---- the head ---- */

static bool starts_fold(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_caseeq(str_head(s, prefix.n), prefix);
}

/* Server and Date of ours and the engine's are never both there. */
static bool is_left_to_us(struct req *r, const struct http1_field *f)
{
    if (f->id != HTTP1_DATE && f->id != HTTP1_SERVER)
        return false;
    if (r->lane->gate->rules->names_itself)
        return true;
    if (f->id == HTTP1_DATE)
        r->x->dated = true;
    else
        r->x->named = true;
    return false;
}

static void write_fields(struct req *r, const struct http1_head *h, const char *bytes)
{
    const struct gate_rules *rules = r->lane->gate->rules;

    for (unsigned i = 0; i < h->nfields; i++) {
        const struct http1_field *f = &h->field[i];
        struct str name = http1_str(bytes, f->name);

        if (!http1_is_hop_by_hop(h, bytes, f) && !rules->reply_withholds(f, name) &&
            !guard_withholds(r, name) && !is_left_to_us(r, f) &&
            !(r->plan && starts_fold(name, STR("x-inferd-"))))
            exchange_field(r->x, name, http1_str(bytes, f->value));
    }
    req_tell_model(r);
    req_reply_fields(r);
}

/* Begins the client's reply from a head that is at hand. */
static bool start_reply(struct req *r, const struct http1_head *h, const char *bytes,
                        enum exchange_body body, uint64_t length)
{
    CHECK(h);
    exchange_reply(r->x, h->status);
    write_fields(r, h, bytes);
    if (exchange_start(r->x, body, length) == 0)
        return true;
    if (r->x->replied || r->gone)
        r->gone = true;
    else
        req_say(r, SAY_HEAD_TOO_LARGE, NULL);
    return false;
}

/* A head that has to wait for its body is kept in the request's arena. */
static void keep_head(struct req *r)
{
    struct relay *y = &r->relay;
    const struct http1_head *h = y->head;
    struct http1_head *copy;
    size_t used, bytes;

    CHECK(h);
    used = offsetof(struct http1_head, field) + h->nfields * sizeof h->field[0];
    copy = arena_alloc(&r->x->arena, used);
    bytes = h->reason.off + h->reason.len;
    memcpy(copy, h, used);
    for (unsigned i = 0; i < h->nfields; i++)
        bytes = max_size(bytes, (size_t)h->field[i].value.off + h->field[i].value.len);
    y->head_bytes = arena_str(&r->x->arena, str_span(y->head_bytes, bytes)).p;
    y->head = copy;
    y->head_kept = true;
}

/* What the head says about how the body is to be treated. */
static void read_head(struct req *r)
{
    struct relay *y = &r->relay;
    struct str type = http1_value(y->head, y->head_bytes, HTTP1_CONTENT_TYPE);
    bool plain = http1_value(y->head, y->head_bytes, HTTP1_CONTENT_ENCODING).n == 0;
    bool events = starts_fold(type, STR("text/event-stream"));
    const struct gate_rules *rules = r->lane->gate->rules;

    y->sse = plain && events;
    y->json = plain && starts_fold(type, STR("application/json"));
    sse_init(&y->events);
    if (y->sse && r->call)
        call_bound_unread(r->call, STREAM_UNREAD_BYTES);
    y->must_end_by_done = y->sse && y->framing == HTTP1_UNTIL_CLOSE && rules->ends_by_done &&
                          r->path == PATH_INFERENCE && str_ends(r->where, STR("/completions"));
    if (r->aliased && y->framing != HTTP1_NO_BODY && (y->sse || y->json))
        y->splice = splice_create(&r->x->arena, r->model, y->sse);
    if (r->path == PATH_INFERENCE && y->framing != HTTP1_NO_BODY && y->status < 300) {
        if (y->json || y->sse) {
            y->usage = arena_alloc(&r->x->arena, sizeof *y->usage);
            usage_init(y->usage);
        }
    }
    if (y->json && y->framing == HTTP1_UNTIL_CLOSE && y->status < 300) {
        y->document = arena_alloc(&r->x->arena, sizeof *y->document);
        jsonindex_init(y->document, NULL, 0);
    }
    y->held = !events && (y->framing == HTTP1_UNTIL_CLOSE ||
                          (y->framing == HTTP1_LENGTH && (y->splice || rules->holds_long ||
                                                          y->head->content_length <= HOLD_BYTES)));
}

/* ---- the body ---- */

/* Its client takes less than comes, and all clients that do so hold more than they may together:
 * the reply that adds to it is cut, and what waits of it is dropped. */
static bool cut_for_unsent(struct req *r)
{
    uint64_t most = lane_limits(r->lane)->unsent_bytes;

    if (r->fault.code || lane_all_unsent(r->lane) <= most)
        return false;
    metrics_count(&r->lane->shard.limit_unsent);
    exchange_kill(r->x, true);
    r->gone = true;
    fault_set(&r->fault, FAULT_overloaded,
              "Clients that do not read hold all of the %llu bytes that are there for them",
              (unsigned long long)most);
    return true;
}

static void send_pieces(struct req *r, const struct iovec *iov, unsigned n, bool last)
{
    long queued = exchange_send(r->x, iov, n, last);

    if (queued < 0) {
        r->gone = true;
        fault_set(&r->fault, FAULT_client_gone, "the client has gone");
    } else if (queued > HIGH_WATER && !last && !r->up_paused && r->call && !cut_for_unsent(r)) {
        r->up_paused = true;
        call_pause(r->call);
        deadline_stop(&r->deadline); /* the silence is the client's */
    }
}

/* Sends all of a queue, in as many calls as its pieces need; also what a fault has to say. */
static void send_queue(struct req *r, struct chunkq *q, bool last)
{
    while (q->bytes > 0 && !r->gone) {
        NO_INIT struct iovec iov[CALL_PIECES_MAX];
        unsigned n = chunkq_iov(q, iov, CALL_PIECES_MAX);
        size_t bytes = 0;

        for (unsigned i = 0; i < n; i++)
            bytes += iov[i].iov_len;
        send_pieces(r, iov, n, last && bytes == q->bytes);
        chunkq_consume(q, bytes);
    }
}

/* Through the splice: what comes out of it is sent, in one go. */
static void send_spliced(struct req *r, const struct iovec *iov, unsigned n, bool last)
{
    struct chunkq out;

    chunkq_init(&out, &r->lane->chunks);
    for (unsigned i = 0; i < n; i++)
        splice_feed(r->relay.splice, iov[i].iov_base, iov[i].iov_len, &out);
    if (last)
        splice_end(r->relay.splice, &out);
    if (out.bytes == 0)
        send_pieces(r, NULL, 0, last);
    else
        send_queue(r, &out, last);
    chunkq_clear(&out);
}

static void send_body(struct req *r, const struct iovec *iov, unsigned n, bool last)
{
    if (r->relay.splice)
        send_spliced(r, iov, n, last);
    else
        send_pieces(r, iov, n, last);
}

/* The held body is complete: one reply with its length. */
static void release_whole(struct req *r, const struct iovec *iov, unsigned n)
{
    struct relay *y = &r->relay;
    size_t bytes = y->hold.bytes;

    if (bytes > 0 || y->splice) { /* else it came in one read and goes out from there */
        struct chunkq whole;

        chunkq_init(&whole, &r->lane->chunks);
        for (unsigned i = 0; i < n; i++)
            chunkq_append(&y->hold, iov[i].iov_base, iov[i].iov_len);
        while (y->splice && y->hold.bytes > 0) {
            struct iovec piece;

            (void)chunkq_iov(&y->hold, &piece, 1);
            splice_feed(y->splice, piece.iov_base, piece.iov_len, &whole);
            chunkq_consume(&y->hold, piece.iov_len);
        }
        if (y->splice)
            splice_end(y->splice, &whole);
        else
            chunkq_share(&whole, &y->hold);
        chunkq_clear(&y->hold);
        if (start_reply(r, y->head, y->head_bytes, EXCHANGE_LENGTH, whole.bytes))
            send_queue(r, &whole, true);
        chunkq_clear(&whole);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        bytes += iov[i].iov_len;
    if (start_reply(r, y->head, y->head_bytes, EXCHANGE_LENGTH, bytes) && bytes > 0)
        send_pieces(r, iov, n, true);
}

/* It has become too large to be held: it streams from here on. */
static void release_stream(struct req *r)
{
    struct relay *y = &r->relay;
    struct chunkq held = y->hold;

    y->held = false;
    req_progress(r);
    chunkq_init(&y->hold, held.pool);
    if (y->framing == HTTP1_LENGTH && !y->splice) {
        if (start_reply(r, y->head, y->head_bytes, EXCHANGE_LENGTH, y->head->content_length))
            send_queue(r, &held, false);
    } else if (start_reply(r, y->head, y->head_bytes, EXCHANGE_STREAM, 0)) {
        while (held.bytes > 0 && !r->gone) {
            struct iovec piece;

            (void)chunkq_iov(&held, &piece, 1);
            send_body(r, &piece, 1, false);
            chunkq_consume(&held, piece.iov_len);
        }
    }
    chunkq_clear(&held);
}

static void hold_pieces(struct req *r)
{
    struct relay *y = &r->relay;

    if (y->last) {
        release_whole(r, y->iov, y->n);
        return;
    }
    if (!y->head_kept)
        keep_head(r); /* its bytes are still there while the first of the body are */
    for (unsigned i = 0; i < y->n; i++)
        chunkq_append(&y->hold, y->iov[i].iov_base, y->iov[i].iov_len);
    if (y->hold.bytes > HOLD_BYTES)
        release_stream(r);
}

/* Nothing is sent again from here on, so a long stream does not hold what it was asked. */
static void drop_body(struct req *r)
{
    if (r->body.bytes == 0 || !r->call || call_queued(r->call) > 0)
        return;
    chunkq_clear(&r->body);
    atomic_fetch_sub_explicit(&r->lane->gate->buffered, r->buffered, memory_order_relaxed);
    r->buffered = 0;
}

/* The reply's beginning, once. */
static void begin(struct req *r)
{
    struct relay *y = &r->relay;

    drop_body(r);
    if (r->first_byte_us == 0) {
        r->first_byte_us = loop_now_us(r->lane->loop);
        metrics_observe(&r->lane->shard.first_byte, METRICS_SECONDS,
                        r->first_byte_us - r->x->start_us);
    }
    read_head(r);
    if (y->held) {
        req_progress(r);
        if (!(y->more && y->framing == HTTP1_LENGTH))
            keep_head(r);
    } else if (y->framing == HTTP1_NO_BODY) {
        bool none = y->status == 204 || y->status == 304 || !y->head->has_length;

        (void)start_reply(r, y->head, y->head_bytes, none ? EXCHANGE_NO_BODY : EXCHANGE_LENGTH,
                          y->head->content_length);
    } else if (y->framing == HTTP1_LENGTH && !y->splice && !y->sse) {
        if (start_reply(r, y->head, y->head_bytes, EXCHANGE_LENGTH, y->head->content_length) &&
            !y->more)
            send_pieces(r, NULL, 0, false);
    } else if (start_reply(r, y->head, y->head_bytes, EXCHANGE_STREAM, 0) && !y->more) {
        send_pieces(r, NULL, 0, false);
    }
}

enum req_step req_relay(struct req *r)
{
    struct relay *y = &r->relay;

    if (y->head && r->first_byte_us == 0)
        begin(r);
    if (y->iov && !r->fault.code) {
        look_at(r, y->iov, y->n);
        if (y->held)
            hold_pieces(r);
        else
            send_body(r, y->iov, y->n, y->last);
    }
    y->iov = NULL;
    if (r->fault.code)
        return REQ_WAIT;
    if (!y->ended)
        return REQ_WAIT;
    if (y->held && !r->x->replied) /* closed behind it, or of no bytes at all */
        release_whole(r, NULL, 0);
    else if (!r->x->reply_done)
        send_body(r, NULL, 0, true);
    if (r->fault.code)
        return REQ_WAIT;
    return REQ_DONE;
}

/* ---- failure ---- */

/* Finishes what is open in an event stream and adds the error as an event of its own. */
static void send_error_event(struct req *r)
{
    struct relay *y = &r->relay;
    char text[ERROR_BODY_BYTES];
    struct buf b = buf_on(text, sizeof text);
    struct chunkq out;

    chunkq_init(&out, &r->lane->chunks);
    if (y->splice)
        splice_end(y->splice, &out);
    buf_add(&b, sse_closing(&y->events));
    r->lane->gate->api->render_event(&r->fault, r->where, y->events.events, &b);
    chunkq_append(&out, b.p, b.n);
    if (buf_status(&b) == 0)
        send_queue(r, &out, false);
    chunkq_clear(&out);
}

void req_cut(struct req *r)
{
    bool told_end = r->relay.events.done; /* the client has it all: a second end would be a lie */

    if (r->relay.sse && !told_end && r->relay.framing != HTTP1_NO_BODY && !r->gone)
        send_error_event(r);
    metrics_count(&r->lane->shard.cut_streams);
    exchange_cut(r->x);
}

static void reply_fault(struct req *r)
{
    char text[ERROR_BODY_BYTES], seconds[12];
    struct buf b = buf_on(text, sizeof text), s = buf_on(seconds, sizeof seconds);
    struct str name = STR_NONE, value = STR_NONE;

    r->lane->gate->api->render_fault(&r->fault, &b);
    CHECK(buf_status(&b) == 0);
    if (r->fault.code == FAULT_method_not_allowed) {
        name = STR("allow");
        value = r->passthrough || r->path == PATH_ANY
                    ? STR("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH")
                : path_is_own(r->path) ? STR("GET, HEAD")
                                       : STR("POST");
    } else if (r->fault.code == FAULT_invalid_api_key) {
        name = STR("www-authenticate");
        value = STR("Bearer");
    } else if ((r->fault.status == 503 || r->fault.status == 429) && r->fault.retry_after_s >= 0) {
        buf_u64(&s, (uint64_t)(r->fault.retry_after_s ? r->fault.retry_after_s : 5));
        name = STR("retry-after");
        value = buf_str(&s);
    }
    req_reply(r, (unsigned)r->fault.status, buf_str(&b), name, value);
}

enum req_step req_fail(struct req *r)
{
    call_cancel(&r->call); /* also tells the engine that nobody listens any more */
    if (r->gone)
        return REQ_DONE;
    if (!r->x->replied)
        reply_fault(r);
    else if (!r->x->reply_done)
        req_cut(r);
    return REQ_DONE;
}

/* ---- what the call tells ---- */

static void on_open(void *ctx)
{
    struct req *r = ctx;

    r->opened = true;
    req_run(r);
}

static void on_sent(void *ctx) { req_run(ctx); }

static void on_head(void *ctx, const struct http1_head *head, const char *bytes,
                    enum http1_framing framing, bool more)
{
    struct req *r = ctx;
    struct relay *y = &r->relay;
    unsigned class = head->status / 100;

    metrics_count(
        &r->lane->shard.by_engine[r->engine->label][class < GATE_STATUS_CLASSES ? class : 0]);
    y->status = head->status;
    y->head = head;
    y->head_bytes = bytes;
    y->framing = framing;
    y->more = more;
    req_engine_answered(r);
    req_run(r);
}

static void on_body(void *ctx, const struct iovec *iov, unsigned n, bool last)
{
    struct req *r = ctx;

    r->relay.iov = iov;
    r->relay.n = n;
    r->relay.last = last;
    if (!r->up_paused)
        req_progress(r);
    req_run(r);
}

/* Whether a reply that only the close of its connection ended is a whole one, as far as can be
 * told. */
static bool looks_whole(struct relay *y)
{
    if (y->must_end_by_done)
        return y->events.done;
    if (y->sse)
        return !y->events.line_open;
    return !y->document || jsonindex_finish(y->document) == 0;
}

static enum wording_case broken_body(const struct req *r)
{
    return r->x->replied ? SAY_CUT : SAY_HELD_BROKEN;
}

static void on_end(void *ctx, bool clean)
{
    struct req *r = ctx;

    r->call = NULL;
    r->relay.ended = true;
    if (r->engine && (clean || looks_whole(&r->relay)))
        breaker_whole(r->engine->cell);
    if (!clean && !looks_whole(&r->relay)) {
        req_engine_failed(r, RETRY_BROKEN);
        if (!r->fault.code)
            req_say(r, broken_body(r), "the connection closed before it was complete");
    }
    req_run(r);
}

/* What kind of failure it was, for people. */
static const char *kind_of(int err, enum call_phase phase)
{
    if (phase > CALL_RECONNECT)
        return err == -E_SYNTAX || err == -E_LIMIT ? "invalid HTTP" : "connection broke";
    return err == -E_TIMEOUT ? "connect timed out" : err_text(err);
}

static void note_failure(struct req *r, int err, enum call_phase phase)
{
    if (err == -E_NO_FDS)
        return; /* our own trouble says nothing about it */
    if (err == -E_TIMEOUT && phase == CALL_SEND)
        req_engine_unheard(r);
    else
        req_engine_failed(r, phase <= CALL_RECONNECT ? RETRY_CONNECT : RETRY_BROKEN);
    if (phase == CALL_RECONNECT)
        r->failed = RETRY_BROKEN; /* as far as another attempt is concerned */
}

static void on_fail(void *ctx, int err, enum call_phase phase, const char *why)
{
    struct req *r = ctx;

    r->call = NULL;
    note_failure(r, err, phase);
    req_note_cause(r, kind_of(err, phase));
    switch (phase) {
    case CALL_CONNECT:
    case CALL_RECONNECT:
        req_say(r, SAY_REFUSED, why);
        r->fault.whose = FAULT_OF_ENGINE;
        break;
    case CALL_SEND:
    case CALL_HEAD:
        req_say(r, SAY_BROKEN, why);
        break;
    case CALL_BODY:
        req_say(r, broken_body(r), why);
        break;
    }
    req_run(r);
}

static const struct call_ops call_ops = {
    .on_open = on_open,
    .on_sent = on_sent,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

const struct call_ops *req_call_ops(void) { return &call_ops; }
