/* SPDX-License-Identifier: Apache-2.0
 *
 * rendezvous.c - see rendezvous.h.
 */
#include "fleet/rendezvous.h"

static const uint64_t start = UINT64_C(0xcbf29ce484222325), prime = UINT64_C(0x100000001b3);

static uint64_t fnv1a(uint64_t h, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * prime;
    return h;
}

uint64_t rendezvous_name(struct str name) { return rendezvous_mix(fnv1a(start, name)); }

uint64_t rendezvous_session(struct str model, struct str source, struct str key)
{
    uint64_t h = fnv1a(start, model);

    h = fnv1a(fnv1a(h, STR(":")), source);
    h = fnv1a(fnv1a(h, STR(":")), key);
    return rendezvous_mix(fnv1a(h, STR("\xff")));
}

/* -ln((hash + 1/2) / 2^64). Near 1, where the winners are, it is computed from 1 - u, which loses
 * no bits. */
static double exponential(uint64_t hash)
{
    double rest = ((double)~hash + 0.5) * 0x1p-64;

    return rest < 0.5 ? -log1p(-rest) : -log(((double)hash + 0.5) * 0x1p-64);
}

bool rendezvous_bid(struct rendezvous *best, uint64_t hash, uint32_t weight)
{
    double cost;

    if (best->weight == weight && hash <= best->hash)
        return false; /* equal weights: the hash alone decides */
    cost = exponential(hash) / weight;
    if (best->weight != 0 && best->weight != weight && cost >= best->cost)
        return false;
    *best = (struct rendezvous){.hash = hash, .weight = weight, .cost = cost};
    return true;
}
