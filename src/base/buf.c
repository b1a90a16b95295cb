/* SPDX-License-Identifier: Apache-2.0
 *
 * buf.c - see buf.h.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

void buf_fini(struct buf *b)
{
    if (!b->lent)
        mem_free(b->p);
    *b = (struct buf){.cap = b->cap};
}

char *buf_grow(struct buf *b, size_t n)
{
    CHECK(b->n <= b->size && b->size <= b->cap);
    if (b->full || n > b->cap - b->n) {
        b->full = true;
        return NULL;
    }
    if (n > b->size - b->n || (!b->p && !b->lent)) {
        size_t size = max_size(max_size(b->size * 2, b->n + n), 64);

        b->size = min_size(size, b->cap);
        b->p = mem_resize(b->p, b->size);
    }
    return b->p + b->n;
}

void buf_bytes(struct buf *b, const void *p, size_t n)
{
    char *to = n ? buf_reserve(b, n) : NULL;

    if (!to)
        return;
    memcpy(to, p, n);
    b->n += n;
}

void buf_add(struct buf *b, struct str s) { buf_bytes(b, s.p, s.n); }

void buf_text(struct buf *b, const char *c) { buf_bytes(b, c, strlen(c)); }

void buf_char(struct buf *b, char c)
{
    char *to = buf_reserve(b, 1);

    if (!to)
        return;
    *to = c;
    b->n++;
}

void buf_u64(struct buf *b, uint64_t v)
{
    unsigned n = str_digits(v);
    char *to = buf_reserve(b, n);

    if (!to)
        return;
    for (unsigned i = n; i > 0; v /= 10)
        to[--i] = (char)('0' + v % 10);
    b->n += n;
}

void buf_i64(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_char(b, '-');
    buf_u64(b, v < 0 ? ~(uint64_t)v + 1 : (uint64_t)v);
}

void buf_hex(struct buf *b, uint64_t v)
{
    char digits[16];
    size_t at = sizeof digits;

    do
        digits[--at] = "0123456789abcdef"[v & 15];
    while (v >>= 4);
    buf_bytes(b, digits + at, sizeof digits - at);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    char text[512];
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof text) {
        buf_bytes(b, text, (size_t)n);
    } else if (n >= 0) {
        char *long_text = mem_resize(NULL, (size_t)n + 1);

        (void)vsnprintf(long_text, (size_t)n + 1, fmt, again);
        buf_bytes(b, long_text, (size_t)n);
        mem_free(long_text);
    }
    va_end(again);
}

int buf_status(const struct buf *b) { return b->full ? -E_LIMIT : 0; }

const char *buf_cstr(struct buf *b)
{
    char *end = buf_reserve(b, 1);

    if (!end)
        return NULL;
    *end = '\0';
    return b->p;
}
