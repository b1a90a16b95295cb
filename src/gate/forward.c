/* SPDX-License-Identifier: Apache-2.0
 *
 * forward.c - the steps CONNECT, SEND and AWAIT: a connection to the chosen engine, the request
 * written anew from its parsed parts, and the wait for the engine's head. Nothing of the reply has
 * reached the client before AWAIT is left for RELAY.
 *
 * Exports: req_
 */
#include "base/jsonw.h"
#include "gate/attempt.h"
#include "gate/lane_priv.h"
#include "gate/request.h"

/* Credentials are for us unless the settings say whom else they are for. */
static bool gets_authorization(const struct req *r)
{
    switch (lane_conf(r->snap)->authorization) {
    case AUTHORIZATION_NEVER:
        break;
    case AUTHORIZATION_STATIC:
        return r->engine->origin == ENGINE_STATIC;
    case AUTHORIZATION_ALWAYS:
        return true;
    }
    return false;
}

static void write_fields(struct req *r, struct buf *out)
{
    const struct http1_head *h = r->x->head;
    const struct gate_rules *rules = r->lane->gate->rules;
    const char *bytes = r->x->head_bytes;
    bool credentials = gets_authorization(r);

    for (unsigned i = 0; i < h->nfields; i++) {
        const struct http1_field *f = &h->field[i];
        struct str name = http1_str(bytes, f->name);

        if (http1_is_hop_by_hop(h, bytes, f) || rules->request_withholds(f, name))
            continue;
        if (f->id == HTTP1_AUTHORIZATION && !credentials)
            continue;
        if (r->aliased && f->id == HTTP1_ACCEPT_ENCODING)
            continue; /* a coded reply could not be spliced */
        http1_write_field(out, name, http1_str(bytes, f->value));
    }
}

/* The body with the engine's own name for the model, instead of the one it has now: what stands
 * before and behind is shared. */
static void splice_body(struct req *r)
{
    const struct jsonindex_field *model = &r->index->fields[WANT_MODEL];
    char name[6 * 256 + 2], piece[1024];
    struct buf quoted = buf_on(name, sizeof name);
    struct chunkq out, rest;

    buf_char(&quoted, '"');
    jsonw_escape(&quoted, r->target);
    buf_char(&quoted, '"');
    CHECK(buf_status(&quoted) == 0);
    chunkq_init(&out, &r->lane->chunks);
    chunkq_init(&rest, &r->lane->chunks);
    for (uint64_t at = 0; at < model->begin;) {
        size_t n = (size_t)min_u64(sizeof piece, model->begin - at);

        chunkq_copy(&r->body, (size_t)at, piece, n);
        chunkq_append(&out, piece, n);
        at += n;
    }
    chunkq_append(&out, quoted.p, quoted.n);
    chunkq_share(&rest, &r->body);
    chunkq_consume(&rest, (size_t)r->body_model_end);
    chunkq_share(&out, &rest);
    chunkq_clear(&rest);
    chunkq_clear(&r->body);
    r->body = out;
    r->body_model = r->target;
    r->body_model_end = model->begin + quoted.n;
}

struct str req_forward_head(struct req *r)
{
    const struct http1_head *h = r->x->head;
    const char *bytes = r->x->head_bytes;
    const struct engine *e = r->engine;
    /* what came in, a blank behind each colon, our own lines, and room for what they replace */
    size_t cap = r->x->head_n + h->nfields + e->at.prefix.n + e->at.origin.n + e->api_key.n + 512;
    struct buf out = buf_on(arena_alloc(&r->x->arena, cap), cap);
    struct str target = r->where;

    if (e->at.prefix.n > 0 || h->has_query) {
        struct str query = http1_str(bytes, h->query);

        target = arena_printf(&r->x->arena, "%.*s%.*s%s%.*s", STR_ARGS(e->at.prefix),
                              STR_ARGS(target), h->has_query ? "?" : "", STR_ARGS(query));
    }
    http1_write_request_line(&out, http1_str(bytes, h->method_name), target);
    http1_write_field(&out, STR("host"), e->at.origin);
    write_fields(r, &out);
    if (!http1_value(h, bytes, HTTP1_ACCEPT).p)
        http1_write_field(&out, STR("accept"), STR("*/*"));
    if (e->api_key.n > 0)
        http1_write_field(&out, STR("authorization"),
                          arena_printf(&r->x->arena, "Bearer %.*s", STR_ARGS(e->api_key)));
    http1_write_field(&out, STR("x-request-id"), r->request_id);
    if (r->body.bytes > 0)
        http1_write_length(&out, r->body.bytes);
    http1_write_end(&out);
    CHECK(buf_status(&out) == 0);
    return buf_str(&out);
}

enum req_step req_connect(struct req *r)
{
    if (!r->call && !r->opened) {
        const struct engine *e = r->engine;

        r->attempts++;
        r->engine_name = e->name; /* the pinned snapshot keeps it */
        metrics_count(&r->lane->shard.attempts);
        atomic_fetch_add_explicit(&e->cell->requests, 1, memory_order_relaxed);
        call_open(lane_pool(r->lane, e), req_call_ops(), r, &r->call);
        r->opened = call_take_open(r->call);
    }
    return r->opened ? REQ_SEND : REQ_WAIT;
}

enum req_step req_send(struct req *r)
{
    if (!r->sent) {
        if (!str_eq(r->body_model, r->target))
            splice_body(r);
        r->sent = true;
        r->sent_ms = loop_now_ms(r->lane->loop);
        call_send(r->call, req_forward_head(r), &r->body, r->x->head->method);
    }
    if (r->relay.status != 0 || call_queued(r->call) == 0)
        return REQ_AWAIT;
    return REQ_WAIT;
}

enum req_step req_await(struct req *r)
{
    return r->relay.status != 0 ? req_judge_answer(r) : REQ_WAIT;
}
