/* SPDX-License-Identifier: Apache-2.0
 *
 * rendezvous.h - which engine a session belongs to, without anybody having to remember it: every
 * engine bids for every session, the highest bid wins. An engine that goes takes only its own
 * sessions with it, and gets them back when it returns; every gateway that knows the same names
 * comes to the same answer. A bid is -w / ln(u) for a weight w and a number u between 0 and 1 made
 * of the session and the engine's name, which gives each its weight's share (weighted rendezvous
 * hashing).
 *
 *     u = (hash64(session || 0xFF || name) + 1/2) / 2^64
 *
 * hash64 is fixed for ever, without a seed, or gateways of two versions would disagree; its test
 * vectors are in docs/routing.md. It is made of two halves, so that a snapshot computes the names'
 * once and a request the session's once, and each bid costs a few cycles:
 *
 *     hash64(x) = mix(mix(fnv1a(left)) ^ mix(fnv1a(right)))
 *
 * where `left` is x up to and with its last 0xFF, `right` what follows (names are UTF-8, which has
 * no such byte), fnv1a is FNV-1a of 64 bits, and mix the finalizer of MurmurHash3. Pure.
 */
#pragma once
#include <math.h>

#include "base/str.h"

/* What names a session: "prompt_cache" and its key, for example. */
struct rendezvous_key {
    struct str source, value; /* value.n 0: there is no session */
};

/* The half of an engine's name. */
uint64_t rendezvous_name(struct str name);
/* The half of a session, whose text is "<model>:<source>:<key>". */
uint64_t rendezvous_session(struct str model, struct str source, struct str key);

static inline uint64_t rendezvous_mix(uint64_t h)
{
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

static inline uint64_t rendezvous_hash(uint64_t session, uint64_t name)
{
    return rendezvous_mix(session ^ name);
}

/* The highest bid so far; zeroed: none. */
struct rendezvous {
    uint64_t hash;
    uint32_t weight;
    double cost; /* -ln(u) / w: the least is the highest bid */
};

/* False for a bid that is lost, told without a logarithm, as nearly all are: -ln(u) is at least
 * 1 - u. */
static inline bool rendezvous_hopes(const struct rendezvous *best, uint64_t hash, uint32_t weight)
{
    double rest = (double)(int64_t)(~hash >> 1) * 0x1p-63;

    return best->weight == 0 || rest <= best->cost * weight;
}

/* True when this bid is higher than all before, and is kept; of equal bids the first stays. */
bool rendezvous_bid(struct rendezvous *best, uint64_t hash, uint32_t weight);

/* How much an engine may carry before a session goes to the next: the larger of min_load and
 * factor * (T + 1) * w / W, rounded up, with T requests in flight and weights of W among all
 * candidates. A factor of 0 bounds nothing. */
struct rendezvous_bound {
    double min_load, per_weight;
};

static inline struct rendezvous_bound rendezvous_bound(double factor, uint32_t min_load,
                                                       uint64_t in_flight, uint64_t weights)
{
    return (struct rendezvous_bound){
        .min_load = factor > 0 ? min_load : HUGE_VAL,
        .per_weight = factor * (double)(in_flight + 1) / (double)(weights ? weights : 1),
    };
}

/* A whole number is less than a bound when it is less than the bound rounded up. */
static inline bool rendezvous_within(const struct rendezvous_bound *b, uint32_t load,
                                     uint32_t weight)
{
    return load < b->min_load || load < b->per_weight * weight;
}
