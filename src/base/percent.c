/* SPDX-License-Identifier: Apache-2.0
 *
 * percent.c - see percent.h.
 */
#include "base/percent.h"

static bool is_unreserved(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void percent_encode(struct buf *out, struct str s)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char byte = (unsigned char)s.p[i];

        if (is_unreserved(s.p[i])) {
            buf_char(out, s.p[i]);
        } else {
            buf_char(out, '%');
            buf_char(out, digits[byte >> 4]);
            buf_char(out, digits[byte & 15]);
        }
    }
}

/* -1 for what is no digit. */
static int hex_digit(char c)
{
    char lower = (char)(c | 0x20);

    if (c >= '0' && c <= '9')
        return c - '0';
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

int percent_decode(struct buf *out, struct str s)
{
    size_t begin = out->n;

    for (size_t i = 0; i < s.n; i++) {
        int high, low;

        if (s.p[i] != '%') {
            buf_char(out, s.p[i]);
            continue;
        }
        if (s.n - i < 3)
            return -E_SYNTAX;
        high = hex_digit(s.p[i + 1]);
        low = hex_digit(s.p[i + 2]);
        if (high < 0 || low < 0)
            return -E_SYNTAX;
        buf_char(out, (char)(high * 16 + low));
        i += 2;
    }
    if (buf_status(out) < 0)
        return -E_LIMIT;
    return str_utf8_valid(str_from(buf_str(out), begin)) ? 0 : -E_SYNTAX;
}
