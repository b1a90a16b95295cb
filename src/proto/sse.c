/* SPDX-License-Identifier: Apache-2.0
 *
 * sse.c - see sse.h. The first bytes of each line are matched against "data:" and "[DONE]"; the
 * rest of a line is skipped to its end, 16 bytes at a time on x86-64. A CR ends its line at once
 * and an LF behind it is taken as part of that line end when it comes, so boundaries do not depend
 * on how the bytes were cut; the LF of an event that ends by CR LF CR LF therefore opens the next
 * piece.
 */
#include "proto/sse.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum state {
    ST_BEGIN,    /* of the stream: a byte order mark may come; match counts its bytes */
    ST_LINE,     /* at the first byte of a line */
    ST_AFTER_CR, /* like ST_LINE, behind a CR: an LF is skipped */
    ST_NAME,     /* inside what may be "data"; match counts the bytes that agree */
    ST_BLANK,    /* behind "data:": one space is skipped */
    ST_VALUE,    /* inside a data value that may be "[DONE]"; match counts */
    ST_REST,     /* inside a line that is of no interest any more */
};

static const char bom[] = "\xEF\xBB\xBF", data_name[] = "data", done_value[] = "[DONE]";

enum {
    BOM_LEN = sizeof bom - 1,
    DATA_LEN = sizeof data_name - 1,
    DONE_LEN = sizeof done_value - 1,
};

void sse_init(struct sse_parser *s) { *s = (struct sse_parser){.state = ST_BEGIN}; }

#if defined(__SSE2__)
/* A bit for each CR and LF of these 16 bytes. */
static inline unsigned line_ends(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i end = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n')),
                               _mm_cmpeq_epi8(v, _mm_set1_epi8('\r')));

    return (unsigned)_mm_movemask_epi8(end);
}
#endif

/* Offset of the first CR or LF from `at` on, or n. */
static inline size_t find_line_end(const char *p, size_t at, size_t n)
{
#if defined(__SSE2__)
    for (; n - at >= 16; at += 16) {
        unsigned found = line_ends(p + at);

        if (found != 0)
            return at + (size_t)__builtin_ctz(found);
    }
    if (at < n && n >= 16) { /* the rest, in the last 16 bytes */
        unsigned found = line_ends(p + n - 16) >> (at + 16 - n);

        return found != 0 ? at + (size_t)__builtin_ctz(found) : n;
    }
#endif
    while (at < n && p[at] != '\n' && p[at] != '\r')
        at++;
    return at;
}

/* The line that was being read has ended by c. */
static inline void end_line(struct sse_parser *s, char c)
{
    bool is_data = s->state == ST_BLANK || s->state == ST_VALUE || s->data_line ||
                   (s->state == ST_NAME && s->match == DATA_LEN);

    if (is_data) {
        s->done_line = s->state == ST_VALUE && s->match == DONE_LEN && !s->has_data;
        s->has_data = true;
    }
    s->data_line = false;
    s->line_open = false;
    s->state = c == '\r' ? ST_AFTER_CR : ST_LINE;
}

/* An empty line. True when it ended an event. */
static inline bool end_event(struct sse_parser *s, char c)
{
    s->state = c == '\r' ? ST_AFTER_CR : ST_LINE;
    if (!s->event_open)
        return false;
    s->event_open = false;
    if (s->has_data) {
        s->events++;
        s->done |= s->done_line;
    }
    return true;
}

static inline void open_line(struct sse_parser *s)
{
    if (!s->event_open)
        s->has_data = s->done_line = false;
    s->line_open = s->event_open = true;
    s->match = 0;
    s->state = ST_NAME;
}

/* A byte inside a line, neither CR nor LF, while it is still of interest. */
static inline void line_byte(struct sse_parser *s, char c)
{
    if (s->state == ST_NAME) {
        if (s->match < DATA_LEN && c == data_name[s->match])
            s->match++;
        else
            s->state = s->match == DATA_LEN && c == ':' ? ST_BLANK : ST_REST;
        return;
    }
    if (s->state == ST_BLANK) {
        s->state = ST_VALUE;
        s->match = 0;
        if (c == ' ')
            return;
    }
    if (s->match < DONE_LEN && c == done_value[s->match]) {
        s->match++;
    } else {
        s->data_line = true;
        s->state = ST_REST;
    }
}

/* One of the first bytes of the stream. True when it is of a byte order mark. */
static bool begin_byte(struct sse_parser *s, char c)
{
    if (c != bom[s->match]) {
        s->state = s->match > 0 ? ST_REST : ST_LINE; /* a broken mark begins an unknown field */
        return false;
    }
    s->match++;
    s->line_open = s->event_open = s->match < BOM_LEN;
    s->state = s->match < BOM_LEN ? ST_BEGIN : ST_LINE;
    return true;
}

/* The beginning of nearly every line of a stream of JSON, in one step: what line_byte() would make
 * of "data: " and a byte that begins no "[DONE]". How many bytes that are, or 0. */
static inline size_t data_start(struct sse_parser *s, const char *p, size_t n)
{
    if (n < 7 || memcmp(p, "data: ", 6) != 0 || p[6] == '[' || p[6] == '\n' || p[6] == '\r')
        return 0;
    s->match = 0;
    s->data_line = true;
    s->state = ST_REST;
    return 7;
}

enum sse_kind sse_next(struct sse_parser *s, const char *p, size_t n, size_t *used)
{
    size_t at = 0;

    while (at < n) {
        char c = p[at];

        if (UNLIKELY(s->state == ST_BEGIN)) {
            at += begin_byte(s, c);
            continue;
        }
        if (s->state == ST_LINE || s->state == ST_AFTER_CR) {
            if (c == '\n' && s->state == ST_AFTER_CR) {
                s->state = ST_LINE;
                at++;
                continue;
            }
            if (c == '\n' || c == '\r') {
                at++;
                if (!end_event(s, c))
                    continue;
                *used = at;
                return SSE_EVENT;
            }
            open_line(s);
            at += data_start(s, p + at, n - at);
        }
        if (s->state == ST_REST) {
            at = find_line_end(p, at, n);
            if (at == n)
                break;
            c = p[at];
        }
        if (c == '\n' || c == '\r')
            end_line(s, c);
        else
            line_byte(s, c);
        at++;
    }
    *used = at;
    return SSE_MORE;
}

bool sse_data_line(struct str event, size_t *at, struct str *value)
{
    while (*at < event.n) {
        size_t end = find_line_end(event.p, *at, event.n);
        struct str line = str_span(event.p + *at, end - *at);

        *at = end < event.n ? end + 1 : end;
        if (!str_starts(line, STR("data")) || (line.n > DATA_LEN && line.p[DATA_LEN] != ':'))
            continue;
        line = str_from(line, DATA_LEN + 1);
        *value = line.n > 0 && line.p[0] == ' ' ? str_from(line, 1) : line;
        return true;
    }
    return false;
}

size_t sse_mark(struct str begin) { return str_starts(begin, str_of(bom)) ? BOM_LEN : 0; }

struct str sse_closing(const struct sse_parser *s)
{
    if (s->line_open || (s->event_open && s->state == ST_AFTER_CR))
        return STR("\n\n"); /* behind a CR the first LF only completes it */
    return s->event_open ? STR("\n") : STR("");
}
