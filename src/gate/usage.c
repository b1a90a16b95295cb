/* SPDX-License-Identifier: Apache-2.0
 *
 * usage.c - see usage.h. Most pieces hold no usage and cost one memmem(); bytes are copied only
 * where the name or the object is cut by the end of a piece.
 */
#include "gate/usage.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/buf.h"

static const struct str name = {"\"usage\"", 7};

/* What looking at some bytes found. */
enum found {
    FOUND_NONE,   /* no usage, whatever follows */
    FOUND_OBJECT, /* one, complete: *at is behind it */
    FOUND_CUT,    /* perhaps one, from *at on: the end of the bytes cut it */
};

/* Where the name stands from `at` on, or s.n. Every relayed byte passes here: its first two bytes
 * are looked for 16 places at a time, which is rarely a false alarm. */
static size_t find_name(struct str s, size_t at)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), letter = _mm_set1_epi8('u');

    for (; s.n - at >= 17; at += 16) {
        const char *p = s.p + at;
        __m128i first = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), quote);
        __m128i second =
            _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 1)), letter);
        unsigned hits = (unsigned)_mm_movemask_epi8(_mm_and_si128(first, second));

        for (; hits; hits &= hits - 1) {
            size_t hit = at + (size_t)__builtin_ctz(hits);

            if (s.n - hit >= name.n && memcmp(s.p + hit, name.p, name.n) == 0)
                return hit;
        }
    }
#endif
    for (; s.n - at >= name.n; at++)
        if (s.p[at] == '"' && memcmp(s.p + at, name.p, name.n) == 0)
            return at;
    return s.n;
}

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

static size_t skip_space(struct str s, size_t at)
{
    while (at < s.n && is_space(s.p[at]))
        at++;
    return at;
}

static void keep(struct usage *u, struct str key, uint64_t v)
{
    if (str_eq(key, STR("prompt_tokens")) || str_eq(key, STR("input_tokens")))
        u->in = v;
    else if (str_eq(key, STR("completion_tokens")) || str_eq(key, STR("output_tokens")))
        u->out = v;
}

/* The closing quote of the string whose inside begins at `at`; s.n when it is not there. */
static size_t string_end(struct str s, size_t at)
{
    while (at < s.n && s.p[at] != '"')
        at += s.p[at] == '\\' ? 2 : 1;
    return min_size(at, s.n);
}

/* A string at `at` (its opening quote): a key when a colon follows. False when it is cut. */
static bool read_string(struct str s, size_t *at, struct str *key)
{
    size_t begin = *at + 1, end = string_end(s, begin), next = skip_space(s, end + 1);

    if (next >= s.n)
        return false;
    *key = STR_NONE;
    *at = next;
    if (s.p[next] == ':') {
        *key = str_span(s.p + begin, end - begin);
        *at = next + 1;
    }
    return true;
}

/* Digits at `at`, of the value of `key`. False when the end cuts them. */
static bool read_number(struct usage *u, struct str s, size_t *at, struct str key)
{
    size_t end = *at;
    uint64_t v;

    while (end < s.n && s.p[end] >= '0' && s.p[end] <= '9')
        end++;
    if (end == s.n)
        return false;
    if (key.n > 0 && s.p[end] != '.' && str_u64(str_span(s.p + *at, end - *at), &v))
        keep(u, key, v);
    *at = end;
    return true;
}

/* The object whose inside begins at *at. False when the end cuts it. */
static bool read_object(struct usage *u, struct str s, size_t *at)
{
    struct str key = STR_NONE;
    unsigned depth = 1;

    while (*at < s.n && depth > 0) {
        char c = s.p[*at];

        if (c == '"') {
            if (!read_string(s, at, &key))
                return false;
        } else if (c >= '0' && c <= '9') {
            if (!read_number(u, s, at, depth == 1 ? key : STR_NONE))
                return false;
        } else {
            depth += c == '{' || c == '[';
            depth -= c == '}' || c == ']';
            if (!is_space(c))
                key = STR_NONE; /* a sign, a comma, a bracket: what it named is no plain number */
            ++*at;
        }
    }
    return depth == 0;
}

/* Where a beginning of the name at the very end stands; s.n when there is none. */
static size_t cut_name(struct str s)
{
    size_t from = s.n >= name.n ? s.n - name.n + 1 : 0;

    while (from < s.n &&
           (s.p[from] != '"' || !str_eq(str_from(s, from), str_head(name, s.n - from))))
        from++;
    return from;
}

static enum found look(struct usage *u, struct str s, size_t *at)
{
    for (;;) {
        size_t begin = find_name(s, *at), next;

        if (begin >= s.n) {
            *at = cut_name(s);
            return *at < s.n ? FOUND_CUT : FOUND_NONE;
        }
        next = skip_space(s, begin + name.n);
        if (next < s.n && s.p[next] == ':')
            next = skip_space(s, next + 1);
        else if (next < s.n)
            next = s.n + 1; /* not a key */
        *at = begin;
        if (next == s.n)
            return FOUND_CUT;
        if (next < s.n && s.p[next] == '{') {
            size_t inside = next + 1;

            if (!read_object(u, s, &inside))
                return FOUND_CUT;
            *at = inside;
            return FOUND_OBJECT;
        }
        *at = begin + name.n; /* null, most often */
    }
}

void usage_init(struct usage *u)
{
    u->in = u->out = 0;
    u->n = 0;
}

/* Goes on with what an earlier piece began; returns how many of the new bytes that took. */
static size_t feed_kept(struct usage *u, const char *p, size_t n)
{
    size_t before = u->n, at = 0, take = min_size(n, USAGE_BYTES - before);
    enum found f;

    memcpy(u->kept + before, p, take);
    u->n = (uint16_t)(before + take);
    f = look(u, str_span(u->kept, u->n), &at);
    if (f == FOUND_CUT && u->n < USAGE_BYTES) {
        memmove(u->kept, u->kept + at, u->n - at);
        u->n = (uint16_t)(u->n - at);
        return take;
    }
    u->n = 0;
    if (f == FOUND_OBJECT && at >= before)
        return at - before;
    return f == FOUND_NONE ? 0
                           : take; /* nothing of it was one: the new bytes are looked at alone */
}

void usage_feed(struct usage *u, const char *p, size_t n)
{
    while (u->n > 0 && n > 0) {
        size_t used = feed_kept(u, p, n);

        p += used;
        n -= used;
    }
    for (size_t at = 0; n > 0; p += at, n -= at, at = 0) {
        enum found f = look(u, str_span(p, n), &at);

        if (f == FOUND_OBJECT)
            continue;
        if (f == FOUND_CUT && n - at < USAGE_BYTES) {
            memcpy(u->kept, p + at, n - at);
            u->n = (uint16_t)(n - at);
        }
        return;
    }
}
