/* SPDX-License-Identifier: Apache-2.0
 *
 * chars.h - which bytes may stand where in HTTP, and the scanners that run over spans of them. One
 * 256-byte table of classes; on x86-64 the two hot runs (names, values) go 16 bytes at a time with
 * SSE2 and fall back to the table for the odd byte. Everything here is inline and reads only
 * p[0..n).
 *
 * The target classes are wider than RFC 3986: what the WHATWG URL standard lets browsers and fetch
 * send unescaped ("[]^|" in a path, also "\`{}" in a query) passes, since refusing it would break
 * honest clients; what no URL library sends (`"`, `<`, `>`, `#`, and "\" in a path, which some
 * servers take for a slash) does not.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    CHARS_TOKEN = 1, /* RFC 9110 section 5.6.2: methods, field names, codings, connection options */
    CHARS_PATH = 2,  /* a request target before its '?' */
    CHARS_QUERY = 4, /* a request target behind its '?' */
    CHARS_VALUE = 8, /* a field value: visible ASCII, obs-text, space, tab */
    CHARS_HOST = 16, /* a host name: letters, digits, "-._~" */
    CHARS_QUOTED = 32 /* inside a quoted-string, without '"' and the backslash */
};

/* T token, P path, Q query, V value, H host, X quoted */
#define CHARS_V (CHARS_VALUE | CHARS_QUOTED)
#define CHARS_QV (CHARS_QUERY | CHARS_V)
#define CHARS_PQV (CHARS_PATH | CHARS_QV)
#define CHARS_TQV (CHARS_TOKEN | CHARS_QV)
#define CHARS_TPQV (CHARS_TOKEN | CHARS_PQV)
#define CHARS_ALL (CHARS_HOST | CHARS_TPQV)

static const uint8_t chars_class[256] = {
    ['\t'] = CHARS_V,
    [' '] = CHARS_V,
    ['!'] = CHARS_TPQV,
    ['"'] = CHARS_VALUE,
    ['#'] = CHARS_TOKEN | CHARS_V,
    ['$' ... '\''] = CHARS_TPQV,
    ['(' ... ')'] = CHARS_PQV,
    ['*' ... '+'] = CHARS_TPQV,
    [','] = CHARS_PQV,
    ['-' ... '.'] = CHARS_ALL,
    ['/'] = CHARS_PQV,
    ['0' ... '9'] = CHARS_ALL,
    [':' ... ';'] = CHARS_PQV,
    ['<'] = CHARS_V,
    ['='] = CHARS_PQV,
    ['>'] = CHARS_V,
    ['?'] = CHARS_QV,
    ['@'] = CHARS_PQV,
    ['A' ... 'Z'] = CHARS_ALL,
    ['['] = CHARS_PQV,
    ['\\'] = CHARS_QUERY | CHARS_VALUE,
    [']'] = CHARS_PQV,
    ['^'] = CHARS_TPQV,
    ['_'] = CHARS_ALL,
    ['`'] = CHARS_TQV,
    ['a' ... 'z'] = CHARS_ALL,
    ['{'] = CHARS_QV,
    ['|'] = CHARS_TPQV,
    ['}'] = CHARS_QV,
    ['~'] = CHARS_ALL,
    [0x80 ... 0xff] = CHARS_V,
};

static inline int chars_is(char c, uint8_t class) { return chars_class[(uint8_t)c] & class; }

/* Offset of the first byte from `at` on that is not of the class; n when there is none. */
static inline size_t chars_run(const char *p, size_t at, size_t n, uint8_t class)
{
    while (at < n && chars_is(p[at], class))
        at++;
    return at;
}

/* chars_run(CHARS_TOKEN); *underscore becomes true when it passes a '_'. */
static inline size_t chars_name(const char *p, size_t at, size_t n, bool *underscore)
{
    for (;;) {
#if defined(__SSE2__)
        while (n - at >= 16) { /* letters and '-' in bulk: nearly every name ends at its ':' here */
            __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + at));
            __m128i low = _mm_or_si128(v, _mm_set1_epi8(0x20));
            __m128i alpha = _mm_and_si128(_mm_cmpgt_epi8(low, _mm_set1_epi8('a' - 1)),
                                          _mm_cmplt_epi8(low, _mm_set1_epi8('z' + 1)));
            __m128i good = _mm_or_si128(alpha, _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));
            unsigned odd = (unsigned)_mm_movemask_epi8(good) ^ 0xffff;

            if (odd != 0) {
                at += (size_t)__builtin_ctz(odd);
                break;
            }
            at += 16;
        }
#endif
        if (at == n || !chars_is(p[at], CHARS_TOKEN))
            return at;
        *underscore |= p[at] == '_';
        at++;
    }
}

/* chars_run(CHARS_VALUE) */
static inline size_t chars_value(const char *p, size_t at, size_t n)
{
    for (;;) {
#if defined(__SSE2__)
        while (n - at >= 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + at));
            __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
            __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
            unsigned odd = (unsigned)_mm_movemask_epi8(_mm_or_si128(control, del));

            if (odd != 0) {
                at += (size_t)__builtin_ctz(odd);
                break;
            }
            at += 16;
        }
#endif
        if (at == n || !chars_is(p[at], CHARS_VALUE))
            return at;
        at++;
    }
}

/* True when a[0..n), bytes of a token, equals lower[0..n), a name of small letters, digits and '-',
 * in any case. Folding by |0x20 is exact there: no other token byte folds onto one of these. */
static inline bool chars_folded_eq(const char *a, const char *lower, size_t n)
{
    const uint64_t fold = 0x2020202020202020;
    uint64_t x, y, differ = 0;
    uint32_t s, t;

    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8) {
            memcpy(&x, a + i, 8);
            memcpy(&y, lower + i, 8);
            differ |= (x | fold) ^ y;
        }
        memcpy(&x, a + n - 8, 8);
        memcpy(&y, lower + n - 8, 8);
        return (differ | ((x | fold) ^ y)) == 0;
    }
    if (n >= 4) {
        memcpy(&s, a, 4);
        memcpy(&t, lower, 4);
        differ = (s | (uint32_t)fold) ^ t;
        memcpy(&s, a + n - 4, 4);
        memcpy(&t, lower + n - 4, 4);
        return (differ | ((s | (uint32_t)fold) ^ t)) == 0;
    }
    for (size_t i = 0; i < n; i++)
        differ |= (uint64_t)((a[i] | 0x20) ^ lower[i]);
    return differ == 0;
}
