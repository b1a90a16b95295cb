/* SPDX-License-Identifier: Apache-2.0
 *
 * str.c - slices; see str.h. The hash is SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast
 * short-input PRF", 2012), as Rust's and Python's tables use it against collision floods.
 */
#include "base/str.h"

#include "base/mem.h"

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

bool str_same_letters(struct str a, struct str b)
{
    for (size_t i = 0; i < a.n; i++)
        if (a.p[i] != b.p[i] && lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_head(s, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_from(s, s.n - suffix.n), suffix);
}

int str_cmp(struct str a, struct str b)
{
    size_t n = min_size(a.n, b.n);
    int order = n ? memcmp(a.p, b.p, n) : 0;

    if (order == 0)
        order = a.n < b.n ? -1 : a.n > b.n;
    return order < 0 ? -1 : order > 0;
}

size_t str_find(struct str s, char c)
{
    const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;

    return hit ? (size_t)(hit - s.p) : s.n;
}

size_t str_find_str(struct str s, struct str needle)
{
    const char *hit = s.n && needle.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;

    if (needle.n == 0)
        return 0;
    return hit ? (size_t)(hit - s.p) : s.n;
}

struct str str_trim(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = (struct str){s.p + 1, s.n - 1};
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

struct str str_cut(struct str *rest, char sep)
{
    size_t at = str_find(*rest, sep);
    struct str before = str_head(*rest, at);

    *rest = at < rest->n ? (struct str){rest->p + at + 1, rest->n - at - 1} : STR_NONE;
    return before;
}

bool str_u64(struct str s, uint64_t *ret)
{
    uint64_t v = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    *ret = v;
    return true;
}

size_t str_utf8_cut(struct str s, size_t n)
{
    size_t lead = n, need;

    if (s.n <= n)
        return s.n;
    while (lead > 0 && n - lead < 3 && ((unsigned char)s.p[lead] & 0xC0) == 0x80)
        lead--;
    if (lead == n)
        return n;
    need = (unsigned char)s.p[lead] >= 0xF0   ? 4
           : (unsigned char)s.p[lead] >= 0xE0 ? 3
           : (unsigned char)s.p[lead] >= 0xC0 ? 2
                                              : 1;
    return lead + need > n ? lead : n;
}

/* Unicode 15, table 3-7. */
size_t str_utf8_sequence(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned char lead, low = 0x80, high = 0xBF;
    size_t need;

    if (s.n == 0)
        return 0;
    lead = p[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    need = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (s.n < need)
        return 0;
    if (lead == 0xE0)
        low = 0xA0;
    else if (lead == 0xED)
        high = 0x9F;
    else if (lead == 0xF0)
        low = 0x90;
    else if (lead == 0xF4)
        high = 0x8F;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return need;
}

bool str_utf8_valid(struct str s)
{
    for (size_t i = 0; i < s.n;) {
        size_t n = str_utf8_sequence(str_from(s, i));

        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

char *str_dup(struct str s)
{
    char *copy = mem_alloc(s.n + 1);

    if (s.n)
        memcpy(copy, s.p, s.n);
    return copy;
}

unsigned str_distance(struct str a, struct str b)
{
    enum { MAX = 64 };
    unsigned row[3][MAX + 1];

    if (a.n > MAX || b.n > MAX)
        return MAX;
    for (unsigned j = 0; j <= b.n; j++)
        row[0][j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned *now = row[i % 3], *up = row[(i - 1) % 3], *up2 = row[(i + 1) % 3];

        now[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned best = up[j - 1] + (a.p[i - 1] != b.p[j - 1]);

            best = best < up[j] + 1 ? best : up[j] + 1;
            best = best < now[j - 1] + 1 ? best : now[j - 1] + 1;
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
                up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[a.n % 3][b.n];
}

static inline uint64_t rotl(uint64_t x, int b) { return (x << b) | (x >> (64 - b)); }

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

uint64_t str_hash(struct str s, uint64_t seed)
{
    /* the key is (seed, ~seed) */
    uint64_t v[4] = {seed ^ 0x736f6d6570736575ULL, ~seed ^ 0x646f72616e646f6dULL,
                     seed ^ 0x6c7967656e657261ULL, ~seed ^ 0x7465646279746573ULL};
    uint64_t word, last = (uint64_t)s.n << 56;
    size_t i = 0;

    for (; i + 8 <= s.n; i += 8) {
        memcpy(&word, s.p + i, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (unsigned shift = 0; i < s.n; i++, shift += 8)
        last |= (uint64_t)(unsigned char)s.p[i] << shift;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
