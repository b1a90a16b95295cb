/* SPDX-License-Identifier: Apache-2.0
 *
 * chunked.c - see chunked.h. A byte-exact state machine: framing goes byte by byte (a chunk has
 * five bytes of it or so), body bytes are skipped as spans.
 *
 *     SIZE -> [extension states] -> LINE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE
 *     SIZE (of 0) -> LINE_LF -> TRAILER -> [NAME -> VALUE -> VALUE_LF -> TRAILER] -> END_LF -> DONE
 *
 * Extensions are *( ";" token [ "=" ( token | quoted-string ) ] ), RFC 9112 section 7.1.1 without
 * its optional blanks.
 */
#include "proto/chunked.h"

#include "proto/chars.h"

enum state {
    ST_SIZE,      /* hex digits */
    ST_EXT_FIRST, /* behind ';': the first byte of an extension's name */
    ST_EXT_NAME,  /* the rest of it */
    ST_VAL_FIRST, /* behind '=': a token or a quoted-string begins */
    ST_VAL,       /* inside a token */
    ST_QUOTED,    /* inside a quoted-string */
    ST_ESCAPED,   /* behind a backslash in one */
    ST_VAL_END,   /* behind the closing quote */
    ST_LINE_LF,   /* the LF of a size line */
    ST_DATA,      /* `left` body bytes */
    ST_DATA_CR,   /* CRLF behind the data */
    ST_DATA_LF,   /* its LF */
    ST_TRAILER,   /* the first byte of a trailer line, or the CR of the last line */
    ST_NAME,      /* inside a trailer's name */
    ST_VALUE,     /* inside a trailer's value */
    ST_VALUE_LF,  /* the LF behind it */
    ST_END_LF,    /* the last LF */
    ST_DONE,      /* the body has ended */
    ST_BROKEN,    /* refused for its syntax */
    ST_OVER,      /* refused for its size */
};

void chunked_init(struct chunked_decoder *d) { *d = (struct chunked_decoder){.state = ST_SIZE}; }

bool chunked_done(const struct chunked_decoder *d) { return d->state == ST_DONE; }

static COLD int broken(struct chunked_decoder *d, const char *why)
{
    d->state = ST_BROKEN;
    d->why = why;
    return -E_SYNTAX;
}

static COLD int over(struct chunked_decoder *d, const char *why)
{
    d->state = ST_OVER;
    d->why = why;
    return -E_LIMIT;
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int count_extension(struct chunked_decoder *d)
{
    if (++d->extension > CHUNKED_EXTENSION_BYTES)
        return over(d, "a chunk extension that is too long");
    if (++d->overhead > CHUNKED_OVERHEAD_BYTES)
        return over(d, "too many bytes of chunk extensions and trailers");
    return 0;
}

static inline int size_byte(struct chunked_decoder *d, char c)
{
    int digit = hex_of(c);

    if (digit >= 0) {
        if (d->digits == CHUNKED_SIZE_DIGITS)
            return broken(d, "a chunk size of more than 8 digits");
        d->digits++;
        d->left = d->left << 4 | (uint32_t)digit;
        return 0;
    }
    if (d->digits == 0 || (c != '\r' && c != ';'))
        return broken(d, "a malformed chunk size");
    if (c == '\r') {
        d->state = ST_LINE_LF;
        return 0;
    }
    d->state = ST_EXT_FIRST;
    return count_extension(d);
}

/* One byte of an extension, or the CR behind it. */
static int extension_byte(struct chunked_decoder *d, char c)
{
    bool token = chars_is(c, CHARS_TOKEN), end = c == '\r' || c == ';';
    int r = c == '\r' ? 0 : count_extension(d);

    if (r < 0)
        return r;
    switch (d->state) {
    case ST_QUOTED:
        if (c == '"')
            d->state = ST_VAL_END;
        else if (c == '\\')
            d->state = ST_ESCAPED;
        else if (!chars_is(c, CHARS_QUOTED))
            break;
        return 0;
    case ST_ESCAPED:
        if (!chars_is(c, CHARS_VALUE))
            break;
        d->state = ST_QUOTED;
        return 0;
    case ST_EXT_FIRST:
    case ST_VAL_FIRST:
        if (c == '"' && d->state == ST_VAL_FIRST)
            d->state = ST_QUOTED;
        else if (token)
            d->state = d->state == ST_EXT_FIRST ? ST_EXT_NAME : ST_VAL;
        else
            break;
        return 0;
    default: /* ST_EXT_NAME, ST_VAL, ST_VAL_END: what may be followed by more or by the end */
        if (token && d->state != ST_VAL_END)
            return 0;
        if (c == '=' && d->state == ST_EXT_NAME)
            d->state = ST_VAL_FIRST;
        else if (end)
            d->state = c == '\r' ? ST_LINE_LF : ST_EXT_FIRST;
        else
            break;
        return 0;
    }
    return broken(d, "a malformed chunk extension");
}

/* One byte of the trailer section, its last CRLF included. */
static int trailer_byte(struct chunked_decoder *d, char c)
{
    if (++d->trailer > CHUNKED_TRAILER_BYTES)
        return over(d, "trailers that are too long");
    if (++d->overhead > CHUNKED_OVERHEAD_BYTES)
        return over(d, "too many bytes of chunk extensions and trailers");
    switch (d->state) {
    case ST_TRAILER:
        if (c == '\r')
            d->state = ST_END_LF;
        else if (chars_is(c, CHARS_TOKEN))
            d->state = ST_NAME;
        else
            break;
        return 0;
    case ST_NAME:
        if (c == ':')
            d->state = ST_VALUE;
        else if (!chars_is(c, CHARS_TOKEN))
            break;
        return 0;
    case ST_VALUE:
        if (c == '\r')
            d->state = ST_VALUE_LF;
        else if (!chars_is(c, CHARS_VALUE))
            break;
        return 0;
    default: /* ST_VALUE_LF, ST_END_LF */
        if (c != '\n')
            break;
        d->state = d->state == ST_VALUE_LF ? ST_TRAILER : ST_DONE;
        return 0;
    }
    return broken(d, "a malformed trailer");
}

/* Any framing byte. 0 or a negative code. */
static inline int frame_byte(struct chunked_decoder *d, char c)
{
    switch ((enum state)d->state) {
    case ST_SIZE:
        return size_byte(d, c);
    case ST_LINE_LF:
        if (c != '\n')
            return broken(d, "a chunk line without its CRLF");
        d->state = d->left > 0 ? ST_DATA : ST_TRAILER;
        return 0;
    case ST_DATA_CR:
        if (c != '\r')
            return broken(d, "a chunk without the CRLF behind it");
        d->state = ST_DATA_LF;
        return 0;
    case ST_DATA_LF:
        if (c != '\n')
            return broken(d, "a chunk without the CRLF behind it");
        d->state = ST_SIZE;
        d->digits = 0;
        d->extension = 0;
        return 0;
    case ST_EXT_FIRST:
    case ST_EXT_NAME:
    case ST_VAL_FIRST:
    case ST_VAL:
    case ST_QUOTED:
    case ST_ESCAPED:
    case ST_VAL_END:
        return extension_byte(d, c);
    case ST_TRAILER:
    case ST_NAME:
    case ST_VALUE:
    case ST_VALUE_LF:
    case ST_END_LF:
        return trailer_byte(d, c);
    case ST_BROKEN:
        return -E_SYNTAX;
    case ST_OVER:
        return -E_LIMIT;
    case ST_DATA:
    case ST_DONE:
        break;
    }
    CHECK(d->state != ST_DATA && d->state != ST_DONE);
    return -E_INVAL;
}

long chunked_decode(struct chunked_decoder *d, const char *p, size_t n, struct str *data)
{
    size_t at = 0;

    *data = STR_NONE;
    while (at < n && d->state != ST_DONE) {
        if (d->state == ST_DATA) {
            size_t span = min_size(d->left, n - at);

            if (data->n > 0)
                break; /* one span a call */
            *data = str_span(p + at, span);
            at += span;
            d->left -= (uint32_t)span;
            if (d->left == 0)
                d->state = ST_DATA_CR;
        } else {
            int r = frame_byte(d, p[at]);

            if (r < 0) {
                *data = STR_NONE;
                return r;
            }
            at++;
        }
    }
    return (long)at;
}

size_t chunked_write_head(char *out, uint32_t n)
{
    size_t digits = 0;

    CHECK(n > 0);
    for (uint32_t v = n; v > 0; v >>= 4)
        digits++;
    for (size_t i = digits; i-- > 0; n >>= 4)
        out[i] = "0123456789abcdef"[n & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}
