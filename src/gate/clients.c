/* SPDX-License-Identifier: Apache-2.0
 *
 * clients.c - see clients.h. A count-min sketch instead of a map: every address has one counter in
 * each row, at places that a seeded hash gives, and its count is the least of them. So entering and
 * leaving are a few atomic additions without a lock or an allocation, whatever comes. The count is
 * never too low. It is too high only for an address that shares its place in every row with another
 * one's: with as many crowded addresses as 10,000 connections can make (39 of 256), that is one
 * address in 10^10, and nobody can aim for it without the seed.
 */
#include "gate/clients.h"

#include <stdatomic.h>

#include "base/mem.h"

enum { ROWS = 4, PLACES = 1 << 14 }; /* 256 KiB, of which the touched pages are resident */

struct clients {
    uint64_t seed;
    _Atomic uint32_t n[ROWS][PLACES];
};

void clients_create(uint64_t seed, struct clients **ret)
{
    struct clients *c = mem_alloc(sizeof *c); /* not xnew(): untouched pages stay untouched */

    c->seed = seed;
    *ret = c;
}

void clients_destroy(struct clients **cp)
{
    struct clients *c = TAKE(cp);

    mem_free(c);
}

/* n 0: not counted. */
static struct str counted_part(const struct addr *a)
{
    return addr_is_loopback(a) ? STR_NONE : addr_client(a);
}

/* Sixteen bits of the hash a row, of which PLACES takes fourteen. */
static _Atomic uint32_t *place(struct clients *c, unsigned row, uint64_t hash)
{
    return &c->n[row][(hash >> (16 * row)) % PLACES];
}

uint32_t clients_enter(struct clients *c, const struct addr *a)
{
    struct str part = counted_part(a);
    uint32_t least = UINT32_MAX;
    uint64_t hash;

    if (!c || part.n == 0)
        return 0;
    hash = str_hash(part, c->seed);
    for (unsigned row = 0; row < ROWS; row++) {
        uint32_t n = atomic_fetch_add_explicit(place(c, row, hash), 1, memory_order_relaxed) + 1;

        least = n < least ? n : least;
    }
    return least;
}

void clients_leave(struct clients *c, const struct addr *a)
{
    struct str part = counted_part(a);
    uint64_t hash;

    if (!c || part.n == 0)
        return;
    hash = str_hash(part, c->seed);
    for (unsigned row = 0; row < ROWS; row++)
        CHECK(atomic_fetch_sub_explicit(place(c, row, hash), 1, memory_order_relaxed) > 0);
}
