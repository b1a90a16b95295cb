/* SPDX-License-Identifier: Apache-2.0
 *
 * http1_write.c - HTTP/1.1 heads, written from parts. What goes out is always made here from parsed
 * fields, so nothing that we did not understand can pass through; in builds with the address
 * sanitizer or without optimisation every part is checked again.
 */
#include "proto/http1.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHECK_PARTS 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
#define CHECK_PARTS 1
#endif
#ifndef CHECK_PARTS
#define CHECK_PARTS 0
#endif

static inline char *put(char *to, const char *p, size_t n)
{
    memcpy(to, p, n);
    return to + n;
}

void http1_write_request_line(struct buf *out, struct str method, struct str target)
{
    static const char tail[] = " HTTP/1.1\r\n";
    size_t n = method.n + 1 + target.n + sizeof tail - 1;
    char *to = buf_reserve(out, n);

    if (CHECK_PARTS)
        CHECK(http1_is_token(method) && http1_is_target(target));
    if (!to)
        return;
    to = put(to, method.p, method.n);
    *to++ = ' ';
    to = put(to, target.p, target.n);
    put(to, tail, sizeof tail - 1);
    out->n += n;
}

void http1_write_status_line(struct buf *out, unsigned status)
{
    char line[64] = "HTTP/1.1 nnn ";
    const char *reason = http1_reason(status);
    size_t n = strlen(reason);
    char *to = line + 13;

    CHECK(status >= 100 && status <= 999);
    line[9] = (char)('0' + status / 100);
    line[10] = (char)('0' + status / 10 % 10);
    line[11] = (char)('0' + status % 10);
    to = put(to, reason, n);
    to = put(to, "\r\n", 2);
    buf_bytes(out, line, (size_t)(to - line));
}

void http1_write_field(struct buf *out, struct str name, struct str value)
{
    size_t n = name.n + value.n + 4;
    char *to = buf_reserve(out, n);

    if (CHECK_PARTS)
        CHECK(http1_is_token(name) && http1_is_value(value));
    if (!to)
        return;
    to = put(to, name.p, name.n);
    to = put(to, ": ", 2);
    if (value.n > 0)
        to = put(to, value.p, value.n);
    put(to, "\r\n", 2);
    out->n += n;
}

void http1_write_length(struct buf *out, uint64_t bytes)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + bytes % 10);
    while (bytes /= 10);
    http1_write_field(out, STR("content-length"), str_span(digits + at, sizeof digits - at));
}

void http1_write_chunked(struct buf *out) { buf_add(out, STR("transfer-encoding: chunked\r\n")); }

void http1_write_end(struct buf *out) { buf_add(out, STR("\r\n")); }
