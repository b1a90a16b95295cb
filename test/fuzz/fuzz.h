/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz.h - what the fuzz targets share. The input is copied once into a fixed room whose end can be
 * fenced: with the address sanitizer, a parser that is given the first n bytes and looks at the
 * next one is a finding, without a heap block for each piece. Nothing here allocates, so that a
 * target makes some hundred thousand runs a second.
 */
#pragma once
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FUZZ_FENCED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FUZZ_FENCED 1
#endif
#ifdef FUZZ_FENCED
#include <sanitizer/asan_interface.h>
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_BYTES = 1 << 17 }; /* longer inputs are passed over */

struct fuzz_room {
    _Alignas(16) char p[FUZZ_BYTES + 16];
    size_t open; /* bytes that may be looked at, the fence stands behind them */
    bool fenced; /* there is a fence */
};

/* Only the first n bytes of the room may be looked at. Costs by how far the fence moves. */
static inline void fuzz_fence(struct fuzz_room *r, size_t n)
{
#ifdef FUZZ_FENCED
    size_t from = r->fenced ? r->open & ~(size_t)7 : 0;

    if (!r->fenced)
        __asan_poison_memory_region(r->p, sizeof r->p);
    else if (n < r->open)
        __asan_poison_memory_region(r->p + n, ((r->open + 7) & ~(size_t)7) - n);
    if (n > from)
        __asan_unpoison_memory_region(r->p + from, n - from);
#endif
    r->open = n;
    r->fenced = true;
}

/* The input in the room, all of it open. */
static inline struct str fuzz_fill(struct fuzz_room *r, const uint8_t *data, size_t size)
{
    CHECK(size <= FUZZ_BYTES);
    fuzz_fence(r, size);
    if (size)
        memcpy(r->p, data, size);
    return str_span(r->p, size);
}

static inline uint64_t fuzz_mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

/* A number that the bytes decide: where to cut, what to check this time. */
static inline uint64_t fuzz_hash(struct str s)
{
    uint64_t h = s.n, word;
    size_t i = 0;

    for (; i + 8 <= s.n; i += 8) {
        memcpy(&word, s.p + i, 8);
        h = fuzz_mix(h, word);
    }
    for (; i < s.n; i++)
        h = fuzz_mix(h, (uint8_t)s.p[i]);
    return h;
}

/* Costly checks take turns: true for one input in n, by a number made from `hash`; for every input
 * where the corpus is replayed as a test. */
static inline bool fuzz_turn(uint64_t *hash, unsigned n)
{
    *hash = fuzz_mix(*hash, n);
#ifdef FUZZ_REPLAY
    return true;
#else
    return *hash >> 32 < (UINT64_C(1) << 32) / n;
#endif
}
