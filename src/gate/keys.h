/* SPDX-License-Identifier: Apache-2.0
 *
 * keys.h - API keys. A key's text is "inf_<id>_<secret>": the id is public and finds it, the secret
 * is 256 random bits in base64url, of which only the SHA-256 is known here. There is nothing to
 * guess offline, hence no salt and no slow hash.
 *
 * A keyring is immutable and belongs to one configuration (struct gate_conf). What changes while a
 * key is used (requests under way, rates) is its cell, which goes on from one keyring to the next
 * for as long as id and secret are the same. Cells are counted: by keyrings and by requests.
 */
#pragma once
#include "base/digest.h"
#include "gate/options.h"
#include "gate/rate.h"

enum {
    KEYS_ID_MIN = 4,
    KEYS_ID_MAX = 32,
    KEYS_ID_NEW = 12, /* of a key that is made */
    KEYS_SECRET = 43, /* 32 bytes in base64url without padding */
    KEYS_TEXT_MAX = 4 + KEYS_ID_MAX + 1 + KEYS_SECRET,
    KEYS_MAX = 100000, /* in one keyring */
};

struct keyring; /* opaque */
struct key_cell;

struct key {
    struct str id;
    uint8_t digest[DIGEST_BYTES];
    const struct key_conf *conf; /* rights and limits; lives as long as the configuration */
    struct key_cell *cell;       /* a reference */
};

/* A request's share of a key; zero: it has none. Independent of any keyring. */
struct key_hold {
    struct key_cell *cell;                           /* a reference, counted as under way */
    struct str id;                                   /* the request's own copy */
    uint64_t requests_per_minute, tokens_per_minute; /* 0: no limit */
    uint64_t reserved;                               /* tokens */
};

/* ---- texts ---- */

/* "inf_<id>_<secret>" into its parts. False for anything else. */
bool keys_parse(struct str text, struct str *id, struct str *secret);
bool keys_is_id(struct str s);
/* The credentials of an Authorization field, when its scheme is Bearer; else n 0. */
struct str keys_bearer(struct str authorization);
/* The text of a new key and its id; both NUL-terminated. The caller overwrites the text. */
void keys_make(char text[KEYS_TEXT_MAX + 1], char id[KEYS_ID_NEW + 1]);
/* What stands in the file for a key's secret. */
void keys_digest(struct str secret, uint8_t ret[DIGEST_BYTES]);

/* ---- keyrings ---- */

/* Told of each key whose cell is new; returns its label (gate/tally.h). */
typedef uint32_t keys_label_fn(void *ctx, struct str id);
/* Cells of keys that `before` (may be NULL) has too are carried over. `list` outlives the keyring;
 * its ids differ. */
struct keyring *keys_build(const struct key_conf_list *list, const struct keyring *before,
                           uint64_t seed, keys_label_fn *label, void *ctx);
/* NULL is fine. */
void keys_destroy(struct keyring **ring);
/* Another number for each keyring; never 0. */
uint64_t keys_number(const struct keyring *ring);
uint32_t keys_count(const struct keyring *ring);
const struct key *keys_find(const struct keyring *ring, struct str id);
/* The key that `text` is, or NULL. Takes the same time whatever of it is wrong: the secret is
 * hashed and compared in constant time, with a digest of nobody's when there is no such id. */
const struct key *keys_check(const struct keyring *ring, struct str text);

/* ---- rights ---- */

bool keys_allow(const struct key *k, struct str model);
bool keys_allow_all(const struct key *k);

/* ---- use ---- */

enum keys_verdict {
    KEYS_FINE,
    KEYS_CONCURRENCY, /* as many requests as it may have are under way */
    KEYS_REQUESTS,    /* requests_per_minute */
    KEYS_TOKENS,      /* tokens_per_minute */
};

/* A request begins; `id_copy` is what hold->id becomes. *wait_us: when to come again. */
enum keys_verdict keys_take(const struct key *k, struct str id_copy, uint64_t now_us,
                            struct key_hold *hold, uint64_t *wait_us);
/* Reserves tokens for it, once. */
enum keys_verdict keys_reserve(struct key_hold *hold, uint64_t now_us, uint64_t tokens,
                               uint64_t *wait_us);
/* It has ended: what it reserved becomes what it used. Harmless when it holds nothing. */
void keys_release(struct key_hold *hold, uint64_t now_us, uint64_t tokens_used);
uint32_t keys_label(const struct key_hold *hold);
uint32_t keys_under_way(const struct key *k);
struct rate_view keys_requests_left(const struct key_hold *hold, uint64_t now_us);
struct rate_view keys_tokens_left(const struct key_hold *hold, uint64_t now_us);

/* ---- what a connection remembers ---- */

/* Its last key, so that the same text again costs one comparison. It counts for one keyring. */
struct key_memo {
    uint64_t ring; /* keys_number() */
    const struct key *key;
    uint32_t n;
    char text[KEYS_TEXT_MAX];
};

/* keys_check() through *memo, which is made when it is NULL and a key was found. */
const struct key *keys_recall(const struct keyring *ring, struct str text, struct key_memo **memo);
/* Overwrites and frees; NULL is fine. */
void keys_forget(struct key_memo *memo);
