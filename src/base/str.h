/* SPDX-License-Identifier: Apache-2.0
 *
 * str.h - a slice: pointer and length, not owned, not NUL-terminated. The one string type that
 * crosses function boundaries; C strings appear only at the edges (system calls, literals).
 */
#pragma once
#include <string.h>

#include "base/check.h"

struct str {
    const char *p; /* may be NULL when n is 0 */
    size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})
/* printf("%.*s", STR_ARGS(s)) */
#define STR_ARGS(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_of(const char *c) { return (struct str){c, c ? strlen(c) : 0}; }

static inline struct str str_span(const char *p, size_t n) { return (struct str){p, n}; }

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* For strings of one length; see str_caseeq(). */
bool str_same_letters(struct str a, struct str b);
/* ASCII case-insensitive: header names, hosts, never model names. */
static inline bool str_caseeq(struct str a, struct str b)
{
    return a.n == b.n && str_same_letters(a, b);
}
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* -1, 0, 1 in byte order. */
int str_cmp(struct str a, struct str b);
/* Offset of the first `c`, or s.n. */
size_t str_find(struct str s, char c);
/* Offset of the first `needle`, or s.n; 0 for an empty needle. */
size_t str_find_str(struct str s, struct str needle);
/* From offset `from` on; empty when beyond the end. */
static inline struct str str_from(struct str s, size_t from)
{
    return from >= s.n ? STR_NONE : (struct str){s.p + from, s.n - from};
}
/* The first n bytes; all of it when shorter. */
static inline struct str str_head(struct str s, size_t n)
{
    return (struct str){s.p, min_size(s.n, n)};
}
/* Without leading and trailing blanks (space and tab). */
struct str str_trim(struct str s);
/* Cuts *rest at the first `sep`: returns what stands before, leaves what stands behind. Without a
 * separator returns all and leaves {NULL, 0}. */
struct str str_cut(struct str *rest, char sep);
/* Digits only, no sign, no blank; false on overflow, on an empty slice or on any other byte. */
bool str_u64(struct str s, uint64_t *ret) MUSTCHECK;
/* How many digits `v` has in decimal: 1 to 20. */
static inline unsigned str_digits(uint64_t v)
{
    unsigned n = 1;

    for (; v >= 10; v /= 10)
        n++;
    return n;
}
/* Length of the longest prefix of at most `n` bytes that does not split a UTF-8 sequence. */
size_t str_utf8_cut(struct str s, size_t n);
/* Length of the well-formed UTF-8 sequence that `s` begins with (1..4), 0 when there is none. */
size_t str_utf8_sequence(struct str s);
/* True when every byte sequence is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
 */
bool str_utf8_valid(struct str s);
/* NUL-terminated heap copy, freed with mem_free. */
char *str_dup(struct str s) __attribute__((malloc, returns_nonnull));
/* Optimal string alignment distance (insert, delete, replace, swap neighbours), for "did you mean";
 * slices over 64 bytes count as `64`. */
unsigned str_distance(struct str a, struct str b);
/* Seeded hash for maps keyed by what peers send. */
uint64_t str_hash(struct str s, uint64_t seed);
