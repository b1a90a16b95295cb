/* SPDX-License-Identifier: Apache-2.0
 *
 * codec_echo.c - what our codecs read: raw bytes of one connection on stdin; on stdout one JSON
 * line for each request that passes, {"body":"...","method":"...","target":"..."} with each byte of
 * them as the character of that number, and at the end {"codec":"pass|refuse|more","status":N}. For
 * differential.py, which asks nginx and node the same.
 */
#include <stdio.h>

#include "base/mem.h"
#include "raw.h"

enum { INPUT_BYTES = 1 << 22 };

static void put_string(struct buf *out, const char *key, struct str s)
{
    buf_printf(out, "\"%s\":\"", key);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            buf_printf(out, "\\u%04x", c);
        else
            buf_char(out, (char)c);
    }
    buf_char(out, '"');
}

static void on_request(void *ctx, struct str method, struct str target, struct str body)
{
    struct buf *out = ctx;

    buf_char(out, '{');
    put_string(out, "body", body);
    buf_char(out, ',');
    put_string(out, "method", method);
    buf_char(out, ',');
    put_string(out, "target", target);
    buf_text(out, "}\n");
}

int main(void)
{
    static struct raw r;
    char *input = mem_alloc(INPUT_BYTES);
    size_t n = fread(input, 1, INPUT_BYTES, stdin);
    struct buf out = buf_make(INPUT_BYTES), transcript = buf_make(INPUT_BYTES);

    raw_init(&r, &transcript, NULL);
    r.on_request = on_request;
    r.ctx = &out;
    raw_feed(&r, input, n);
    raw_end(&r);
    buf_printf(&out, "{\"codec\":\"%s\",\"status\":%d}\n",
               r.status                                        ? "refuse"
               : str_ends(buf_str(&transcript), STR("more\n")) ? "more"
                                                               : "pass",
               r.status);
    if (buf_status(&out) < 0 || fwrite(out.p, 1, out.n, stdout) != out.n)
        return 1;
    raw_fini(&r);
    buf_fini(&out);
    buf_fini(&transcript);
    mem_free(input);
    return 0;
}
