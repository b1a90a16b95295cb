/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonscan_run.h - the inner loops of jsonscan.c: how far is the text inside a string plain, how
 * far is it well-formed UTF-8. 16 bytes at a time with SSE2, which every x86-64 has; 8 at a time
 * elsewhere, in plain arithmetic. JSONSCAN_PORTABLE takes the second way everywhere: the tests run
 * both. Nothing reads at or beyond `end`.
 */
#pragma once
#include "base/str.h"

#if defined(__SSE2__) && !defined(JSONSCAN_PORTABLE)
#include <emmintrin.h>
#define JSONSCAN_SSE2 1
#else
#define JSONSCAN_SSE2 0
#endif

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    return v;
}

static inline bool is_plain(uint8_t b) { return b >= 0x20 && b < 0x80 && b != '"' && b != '\\'; }

/* First byte from p on that is not plain: a quote, '\', a control character, or not ASCII. */
static inline const uint8_t *plain_run(const uint8_t *p, const uint8_t *end)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;

#if JSONSCAN_SSE2
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'),
                  blank = _mm_set1_epi8(' ');

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i odd = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        /* signed: below ' ' are the control characters and all that is not ASCII */
        int mask = _mm_movemask_epi8(_mm_or_si128(odd, _mm_cmplt_epi8(v, blank)));

        if (mask)
            return p + __builtin_ctz((unsigned)mask);
    }
#endif
    for (; end - p >= 8; p += 8) {
        uint64_t v = load64(p), q = v ^ ones * '"', b = v ^ ones * '\\';
        /* A borrow runs only out of a byte that is a hit itself, so the lowest hit is exact. */
        uint64_t hits = ((q - ones) & ~q) | ((b - ones) & ~b) | ((v - ones * 0x20) & ~v) | v;

        if (hits & tops)
            return p + __builtin_ctzll(hits & tops) / 8;
    }
    while (p < end && is_plain(*p))
        p++;
    return p;
}

/* Behind the last of the well-formed non-ASCII sequences that stand at p (Unicode 15, table 3-7).
 * Looks at four bytes at a time, so the last few before `end` are left to the caller. */
static inline const uint8_t *utf8_run(const uint8_t *p, const uint8_t *end)
{
    while (end - p >= 4) {
        uint32_t v = load32(p);

        if ((v & 0xC0C0F0) == 0x8080E0) {
            uint32_t high = v & 0x200F; /* 0: overlong; 0x200D: a surrogate */

            if (high == 0 || high == 0x200D)
                break;
            p += 3;
        } else if ((v & 0xC0E0) == 0x80C0) {
            if ((v & 0x1E) == 0) /* overlong */
                break;
            p += 2;
        } else if ((v & 0xC0C0C0F8) == 0x808080F0) {
            uint32_t high = v & 0x3007; /* 0: overlong; more than 4: beyond U+10FFFF */

            if (high == 0 || ((v & 4) && high != 4))
                break;
            p += 4;
        } else {
            break;
        }
    }
    return p;
}
