/* SPDX-License-Identifier: Apache-2.0
 *
 * guard.c - see guard.h. Every refusal for a key reads the same, whatever is wrong with it: none,
 * another scheme, an unknown id, a wrong secret. A request's share of its key is r->key: it
 * outlives the configuration that the key was read from.
 *
 * Tokens are reserved before an engine is asked and settled by what the engine says it used; where
 * it says nothing, by what was seen.
 */
#include "gate/guard.h"

#include "gate/caller.h"
#include "gate/lane_priv.h"
#include "gate/request.h"

enum {
    BYTES_A_TOKEN = 4,
    TOKENS_UNASKED = 256, /* reserved for a completion whose length nobody bounds */
};

/* Fields that bound a completion. */
static const unsigned bounds[] = {WANT_MAX_TOKENS, WANT_MAX_COMPLETION_TOKENS,
                                  WANT_MAX_OUTPUT_TOKENS};

static uint64_t now_us(const struct req *r) { return loop_now_us(r->lane->loop); }

static const struct keyring *ring_of(const struct req *r) { return lane_conf(r->snap)->keys; }

/* ---- the key ---- */

/* Authorization: Bearer, or x-api-key as Anthropic's clients send it. */
static struct str credentials(const struct req *r)
{
    const struct http1_head *h = r->x->head;
    struct str field = http1_value(h, r->x->head_bytes, HTTP1_AUTHORIZATION);

    if (field.p)
        return keys_bearer(field);
    for (unsigned i = 0; i < h->nfields; i++)
        if (str_caseeq(http1_str(r->x->head_bytes, h->field[i].name), STR("x-api-key")))
            return http1_str(r->x->head_bytes, h->field[i].value);
    return STR_NONE;
}

static void count(struct req *r, enum gate_refusal why)
{
    metrics_count(&r->lane->shard.key_refused[why]);
}

/* Also limits how often an address may fail: then it is told that, and loses its connection. */
static void refuse_key(struct req *r, enum gate_refusal why)
{
    const struct gate_conf *conf = lane_conf(r->snap);
    struct addr client;

    count(r, why);
    caller_find(conf->trusted, &r->x->peer, r->x->head, r->x->head_bytes, &client);
    if (failures_add(&r->lane->gate->failures, &client, now_us(r), conf->failures_per_s)) {
        count(r, GATE_REFUSED_ADDRESS);
        fault_set(&r->fault, FAULT_rate_limit_exceeded,
                  "Too many requests without a valid API key from this address");
        r->fault.retry_after_s = 1;
        r->x->close = true;
        return;
    }
    fault_set(&r->fault, FAULT_invalid_api_key,
              "A valid API key is needed: `Authorization: Bearer inf_...`");
}

static void refuse_rate(struct req *r, enum keys_verdict v, uint64_t wait_us)
{
    static const struct {
        enum gate_refusal why;
        const char *text;
    } rows[] = {
        [KEYS_CONCURRENCY] = {GATE_REFUSED_CONCURRENCY,
                              "This key has as many requests under way as it may have at once"},
        [KEYS_REQUESTS] = {GATE_REFUSED_REQUESTS, "This key's requests per minute are used up"},
        [KEYS_TOKENS] = {GATE_REFUSED_TOKENS, "This key's tokens per minute are used up"},
    };

    count(r, rows[v].why);
    fault_set(&r->fault, FAULT_rate_limit_exceeded, "%s", rows[v].text);
    r->fault.retry_after_s = (int)((wait_us + 999999) / 1000000);
}

void guard_head(struct req *r)
{
    const struct keyring *ring = ring_of(r);
    struct str text;
    enum keys_verdict v;
    const struct key *k;
    uint64_t wait_us = 0;

    if (!ring || r->path == PATH_OPEN)
        return;
    text = credentials(r);
    if (text.n == 0) {
        refuse_key(r, GATE_REFUSED_NO_KEY);
        return;
    }
    k = keys_recall(ring, text, (struct key_memo **)&r->x->kept);
    if (!k) {
        refuse_key(r, GATE_REFUSED_WRONG_KEY);
        return;
    }
    v = keys_take(k, arena_str(&r->x->arena, k->id), now_us(r), &r->key, &wait_us);
    if (v != KEYS_FINE)
        refuse_rate(r, v, wait_us);
}

const struct key *guard_key(const struct req *r)
{
    const struct keyring *ring = ring_of(r);
    const struct key *k = ring && r->key.cell ? keys_find(ring, r->key.id) : NULL;

    return k && k->cell == r->key.cell ? k : NULL;
}

/* ---- models and tokens ---- */

static uint64_t prompt_tokens(const struct req *r) { return r->x->body_in / BYTES_A_TOKEN + 1; }

static uint64_t tokens_asked(const struct req *r)
{
    uint64_t most = 0;

    for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
        if (r->index->fields[bounds[i]].has_u64)
            most = max_u64(most, r->index->fields[bounds[i]].u64);
    return prompt_tokens(r) + min_u64(most ? most : TOKENS_UNASKED, (uint64_t)1 << 40);
}

/* False: its key was revoked, or changed, while its body came. */
static bool still_valid(struct req *r, const struct key **ret)
{
    *ret = guard_key(r);
    if (*ret)
        return true;
    refuse_key(r, GATE_REFUSED_WRONG_KEY);
    return false;
}

void guard_model(struct req *r)
{
    const struct key *k;
    enum keys_verdict v;
    uint64_t wait_us = 0;

    if (!ring_of(r) || !still_valid(r, &k))
        return;
    if (!keys_allow(k, r->model)) {
        count(r, GATE_REFUSED_MODEL);
        fault_set(&r->fault, FAULT_model_not_allowed, "This key may not use the model '%.*s'",
                  (int)str_utf8_cut(r->model, 128), r->model.p);
        memcpy(r->fault.param, "model", sizeof "model");
        return;
    }
    v = keys_reserve(&r->key, now_us(r), tokens_asked(r), &wait_us);
    if (v != KEYS_FINE)
        refuse_rate(r, v, wait_us);
}

void guard_passthrough(struct req *r)
{
    const struct key *k;

    if (!ring_of(r) || !still_valid(r, &k) || keys_allow_all(k))
        return;
    count(r, GATE_REFUSED_MODEL);
    fault_set(&r->fault, FAULT_path_not_allowed,
              "This path belongs to an engine: it needs a key that may use every model");
}

/* ---- what the client is told ---- */

/* Names of the three fields of a rate. */
struct rate_names {
    struct str limit, remaining, reset;
};

#define RATE_NAMES(of)                                                                             \
    {                                                                                              \
        STR_TEXT("x-ratelimit-limit-" of), STR_TEXT("x-ratelimit-remaining-" of),                  \
            STR_TEXT("x-ratelimit-reset-" of)                                                      \
    }
#define STR_TEXT(literal)                                                                          \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }
static const struct rate_names requests_names = RATE_NAMES("requests");
static const struct rate_names tokens_names = RATE_NAMES("tokens");

static void put_number(struct req *r, struct str name, uint64_t v)
{
    char digits[24];
    struct buf b = buf_on(digits, sizeof digits);

    buf_u64(&b, v);
    exchange_field(r->x, name, buf_str(&b));
}

/* Every reply of a limited key has them: nothing here goes through printf. */
static void put_rate(struct req *r, const struct rate_names *names, uint64_t limit,
                     struct rate_view view)
{
    uint64_t ms = (view.reset_us + 999) / 1000;
    char text[32];
    struct buf b = buf_on(text, sizeof text);

    put_number(r, names->limit, limit);
    put_number(r, names->remaining, view.left);
    buf_u64(&b, ms / 1000);
    buf_char(&b, '.');
    for (unsigned unit = 100; unit > 0; unit /= 10)
        buf_char(&b, (char)('0' + ms / unit % 10));
    buf_char(&b, 's');
    exchange_field(r->x, names->reset, buf_str(&b));
}

void guard_fields(struct req *r)
{
    if (!r->key.cell)
        return;
    if (r->key.requests_per_minute)
        put_rate(r, &requests_names, r->key.requests_per_minute,
                 keys_requests_left(&r->key, now_us(r)));
    if (r->key.tokens_per_minute)
        put_rate(r, &tokens_names, r->key.tokens_per_minute, keys_tokens_left(&r->key, now_us(r)));
}

bool guard_withholds(const struct req *r, struct str name)
{
    static const struct str ours = {"x-ratelimit-", 12};

    return (r->key.requests_per_minute || r->key.tokens_per_minute) && name.n > ours.n &&
           str_caseeq(str_head(name, ours.n), ours);
}

/* ---- the end ---- */

/* What it used, for the rate: nothing when no engine began to answer. */
static uint64_t tokens_used(const struct req *r)
{
    const struct relay *y = &r->relay;
    uint64_t said = y->usage ? y->usage->in + y->usage->out : 0;

    if (said > 0)
        return said;
    if (r->first_byte_us == 0 || y->status >= 400)
        return 0;
    return prompt_tokens(r) + (y->sse ? y->events.events : y->bytes / BYTES_A_TOKEN);
}

void guard_end(struct req *r)
{
    const struct usage *u = r->relay.usage;
    struct tally_counts by = {
        .requests = 1,
        .failed = r->fault.code || r->relay.status >= 400,
        .limited = r->fault.code == FAULT_rate_limit_exceeded && r->key.cell,
        .tokens_in = u ? u->in : 0,
        .tokens_out = u ? u->out : 0,
    };

    if (r->key.cell || r->model.n > 0)
        tally_add(r->lane->tally, keys_label(&r->key), r->model.n > 0 ? r->model_label + 1 : 0,
                  &by);
    keys_release(&r->key, now_us(r), tokens_used(r));
}
