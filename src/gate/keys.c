/* SPDX-License-Identifier: Apache-2.0
 *
 * keys.c - see keys.h. A cell's word counts keyrings in its upper half and requests under way in
 * its lower one: taking a request's share is one atomic add that tells at once how many there are,
 * and whoever brings the word to 0 frees the cell. A request can only take a share while it pins a
 * configuration whose keyring counts, so a freed cell is never met.
 */
#include "gate/keys.h"

#include "base/map.h"
#include "base/mem.h"

enum { RING_SHIFT = 32, CACHE_LINE = 64 };

#define RING_UNIT ((uint64_t)1 << RING_SHIFT)

struct key_cell {
    _Atomic uint64_t held; /* keyrings << 32 | requests under way */
    struct rate requests, tokens;
    uint32_t label;
};

struct keyring {
    uint64_t number;
    struct map by_id;
    struct key *at;
    uint32_t n;
};

/* ---- texts ---- */

static const struct str prefix = {"inf_", 4};
static const char base64url[64] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char base32[32] = "abcdefghijklmnopqrstuvwxyz234567";

bool keys_is_id(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= '0' && s.p[i] <= '9'))
            return false;
    return s.n >= KEYS_ID_MIN && s.n <= KEYS_ID_MAX;
}

/* All of it is looked at, without a branch by what it is: the time would tell of the secret. */
static bool is_secret(struct str s)
{
    static const bool digits[256] = {
        ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true,
        ['-'] = true,         ['_'] = true,
    };
    unsigned good = s.n == KEYS_SECRET;

    for (size_t i = 0; i < s.n; i++)
        good &= digits[(unsigned char)s.p[i]];
    return good;
}

bool keys_parse(struct str text, struct str *id, struct str *secret)
{
    struct str rest = str_from(text, prefix.n);

    if (!str_starts(text, prefix) || text.n > KEYS_TEXT_MAX)
        return false;
    *id = str_cut(&rest, '_');
    *secret = rest;
    return keys_is_id(*id) && is_secret(rest);
}

struct str keys_bearer(struct str authorization)
{
    struct str scheme = str_head(authorization, 7), token = str_from(authorization, 7);

    if (!str_caseeq(scheme, STR("Bearer ")))
        return STR_NONE;
    while (token.n > 0 && token.p[0] == ' ') /* RFC 7235: 1*SP */
        token = str_from(token, 1);
    return token;
}

/* The highest six bits of `bits`, which hold `n`, padded by zeros. */
static char digit(uint32_t bits, unsigned n)
{
    return base64url[(n < 6 ? bits << (6 - n) : bits >> (n - 6)) & 63];
}

void keys_make(char text[KEYS_TEXT_MAX + 1], char id[KEYS_ID_NEW + 1])
{
    uint8_t random[DIGEST_BYTES];
    uint64_t id_bits = digest_random_u64();
    char secret[KEYS_SECRET];
    struct buf out = buf_on(text, KEYS_TEXT_MAX + 1);
    uint32_t bits = 0;
    unsigned have = 0, at = 0;

    digest_random(random, sizeof random);
    for (unsigned i = 0; i < sizeof random; i++) {
        bits = bits << 8 | random[i];
        for (have += 8; have >= 6; have -= 6)
            secret[at++] = digit(bits, have);
    }
    secret[at++] = digit(bits, have);
    CHECK(at == KEYS_SECRET);
    for (unsigned i = 0; i < KEYS_ID_NEW; i++, id_bits >>= 5)
        id[i] = base32[id_bits & 31];
    id[KEYS_ID_NEW] = '\0';
    buf_add(&out, prefix);
    buf_text(&out, id);
    buf_char(&out, '_');
    buf_add(&out, str_span(secret, sizeof secret));
    CHECK(buf_cstr(&out) != NULL);
    explicit_bzero(random, sizeof random);
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(&bits, sizeof bits);
}

void keys_digest(struct str secret, uint8_t ret[DIGEST_BYTES]) { digest_sha256(secret, ret); }

/* ---- cells ---- */

static struct key_cell *cell_new(uint32_t label)
{
    struct key_cell *c = mem_alloc_aligned(CACHE_LINE, CACHE_LINE);

    _Static_assert(sizeof *c <= CACHE_LINE, "keys do not slow each other down");
    atomic_init(&c->held, RING_UNIT);
    c->label = label;
    return c;
}

static void cell_drop(struct key_cell *c, uint64_t unit)
{
    if (atomic_fetch_sub_explicit(&c->held, unit, memory_order_acq_rel) == unit)
        mem_free(c);
}

/* ---- keyrings ---- */

static struct key_cell *cell_of(const struct key *k, const struct keyring *before,
                                keys_label_fn *label, void *ctx)
{
    const struct key *was = before ? keys_find(before, k->id) : NULL;

    if (!was || memcmp(was->digest, k->digest, DIGEST_BYTES) != 0)
        return cell_new(label ? label(ctx, k->id) : 0);
    atomic_fetch_add_explicit(&was->cell->held, RING_UNIT, memory_order_relaxed);
    return was->cell;
}

struct keyring *keys_build(const struct key_conf_list *list, const struct keyring *before,
                           uint64_t seed, keys_label_fn *label, void *ctx)
{
    static _Atomic uint64_t last;
    struct keyring *ring = xnew(struct keyring, .n = (uint32_t)list->n);

    ring->number = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    ring->at = mem_alloc(max_size(list->n, 1) * sizeof *ring->at);
    map_init(&ring->by_id, seed);
    for (size_t i = 0; i < list->n; i++) {
        struct key *k = &ring->at[i];

        *k = (struct key){.id = list->at[i].id, .conf = &list->at[i]};
        memcpy(k->digest, list->at[i].digest, DIGEST_BYTES);
        k->cell = cell_of(k, before, label, ctx);
        CHECK(map_put(&ring->by_id, k->id, k) == NULL);
    }
    return ring;
}

void keys_destroy(struct keyring **rp)
{
    struct keyring *ring = TAKE(rp);

    if (!ring)
        return;
    for (uint32_t i = 0; i < ring->n; i++)
        cell_drop(ring->at[i].cell, RING_UNIT);
    map_fini(&ring->by_id);
    mem_free(ring->at);
    mem_free(ring);
}

uint64_t keys_number(const struct keyring *ring) { return ring->number; }

uint32_t keys_count(const struct keyring *ring) { return ring->n; }

const struct key *keys_find(const struct keyring *ring, struct str id)
{
    return map_find(&ring->by_id, id);
}

const struct key *keys_check(const struct keyring *ring, struct str text)
{
    static const struct key nobody; /* no secret is known whose digest is zero */
    static const char filler[KEYS_SECRET] = "-------------------------------------------";
    struct str id = STR("none"), secret = str_span(filler, sizeof filler), given_id, given_secret;
    uint8_t digest[DIGEST_BYTES];
    const struct key *k;
    bool same;

    if (keys_parse(text, &given_id, &given_secret)) {
        id = given_id;
        secret = given_secret;
    }
    k = keys_find(ring, id);
    if (!k)
        k = &nobody;
    digest_sha256(secret, digest);
    same = digest_equal(str_span((const char *)digest, sizeof digest),
                        str_span((const char *)k->digest, sizeof k->digest));
    explicit_bzero(digest, sizeof digest);
    return same && k != &nobody ? k : NULL;
}

/* ---- rights ---- */

static bool matches(struct str pattern, struct str model)
{
    if (pattern.n > 0 && pattern.p[pattern.n - 1] == '*')
        return str_starts(model, str_head(pattern, pattern.n - 1));
    return str_eq(pattern, model);
}

bool keys_allow(const struct key *k, struct str model)
{
    for (size_t i = 0; i < k->conf->models.n; i++)
        if (matches(k->conf->models.at[i], model))
            return true;
    return false;
}

bool keys_allow_all(const struct key *k)
{
    for (size_t i = 0; i < k->conf->models.n; i++)
        if (str_eq(k->conf->models.at[i], STR("*")))
            return true;
    return false;
}

/* ---- use ---- */

enum keys_verdict keys_take(const struct key *k, struct str id_copy, uint64_t now_us,
                            struct key_hold *hold, uint64_t *wait_us)
{
    const struct key_conf *conf = k->conf;
    uint64_t held = atomic_fetch_add_explicit(&k->cell->held, 1, memory_order_relaxed);
    struct key_hold h = {.cell = k->cell, .id = id_copy};

    if (conf->requests_per_minute != OPTION_UNSET_U32)
        h.requests_per_minute = conf->requests_per_minute;
    if (conf->tokens_per_minute != OPTION_UNSET_U64)
        h.tokens_per_minute = conf->tokens_per_minute;
    *hold = h;
    if (conf->concurrency != OPTION_UNSET_U32 && (uint32_t)held >= conf->concurrency) {
        *wait_us = 1000000; /* nobody knows when one of them ends */
        return KEYS_CONCURRENCY;
    }
    if (h.requests_per_minute &&
        !rate_take(&k->cell->requests, now_us, h.requests_per_minute, 1, wait_us))
        return KEYS_REQUESTS;
    return KEYS_FINE;
}

enum keys_verdict keys_reserve(struct key_hold *hold, uint64_t now_us, uint64_t tokens,
                               uint64_t *wait_us)
{
    if (!hold->cell || !hold->tokens_per_minute || hold->reserved)
        return KEYS_FINE;
    tokens = max_u64(tokens, 1);
    if (!rate_take(&hold->cell->tokens, now_us, hold->tokens_per_minute, tokens, wait_us)) {
        if (hold->requests_per_minute) /* what a limit refuses is no request */
            rate_settle(&hold->cell->requests, now_us, hold->requests_per_minute, 1, 0);
        return KEYS_TOKENS;
    }
    hold->reserved = tokens;
    return KEYS_FINE;
}

void keys_release(struct key_hold *hold, uint64_t now_us, uint64_t tokens_used)
{
    struct key_cell *c = TAKE(&hold->cell);

    if (!c)
        return;
    if (hold->reserved)
        rate_settle(&c->tokens, now_us, hold->tokens_per_minute, hold->reserved, tokens_used);
    hold->reserved = 0;
    cell_drop(c, 1);
}

uint32_t keys_label(const struct key_hold *hold) { return hold->cell ? hold->cell->label : 0; }

uint32_t keys_under_way(const struct key *k)
{
    return (uint32_t)atomic_load_explicit(&k->cell->held, memory_order_relaxed);
}

struct rate_view keys_requests_left(const struct key_hold *hold, uint64_t now_us)
{
    return rate_look(&hold->cell->requests, now_us, hold->requests_per_minute);
}

struct rate_view keys_tokens_left(const struct key_hold *hold, uint64_t now_us)
{
    return rate_look(&hold->cell->tokens, now_us, hold->tokens_per_minute);
}

/* ---- what a connection remembers ---- */

const struct key *keys_recall(const struct keyring *ring, struct str text, struct key_memo **memo)
{
    struct key_memo *m = *memo;
    const struct key *k;

    if (m && m->ring == ring->number && digest_equal(text, str_span(m->text, m->n)))
        return m->key;
    k = keys_check(ring, text);
    if (!k)
        return NULL;
    if (!m)
        m = *memo = mem_alloc(sizeof *m);
    m->ring = ring->number;
    m->key = k;
    m->n = (uint32_t)text.n; /* <= KEYS_TEXT_MAX, or it would not have been one */
    memcpy(m->text, text.p, text.n);
    return k;
}

void keys_forget(struct key_memo *m)
{
    if (m)
        explicit_bzero(m, sizeof *m);
    mem_free(m);
}
