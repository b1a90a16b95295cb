/* SPDX-License-Identifier: Apache-2.0
 *
 * chunked.h - the chunked transfer coding (RFC 9112 section 7.1), sans I/O. The decoder is
 * resumable at any byte and allocates nothing; extensions and trailers are checked, bounded and
 * dropped. Strict: CRLF only, at most 8 hex digits in a size, no blanks, extension bytes as the
 * grammar has them, framing overhead bounded for the whole body.
 */
#pragma once
#include "base/err.h"
#include "base/str.h"

enum {
    CHUNKED_SIZE_DIGITS = 8,       /* hex digits in a chunk size */
    CHUNKED_EXTENSION_BYTES = 256, /* in one chunk line, from its first ';' to before the CR */
    CHUNKED_OVERHEAD_BYTES =
        100000, /* extensions and trailers of one body; other framing is <= 12 bytes a chunk */
    CHUNKED_TRAILER_BYTES = 8192, /* all trailers */
    CHUNKED_HEAD_MAX = 12,        /* what chunked_write_head writes at most */
};

struct chunked_decoder {
    uint8_t state;      /* private */
    uint8_t digits;     /* of the current size */
    uint32_t left;      /* of the current chunk */
    uint32_t extension; /* bytes in this line */
    uint32_t trailer;   /* bytes in all trailers */
    uint64_t overhead;  /* bytes in all extensions and trailers */
    const char *why;    /* static sentence part, valid after an error */
};

void chunked_init(struct chunked_decoder *d);

/* Takes bytes from p[0..n). Returns how many it used (> 0 unless n is 0), and the body bytes among
 * them, one contiguous span of p, in *data (n may be 0). Call again with the rest until it returns
 * all of n or `chunked_done()`. -E_SYNTAX, -E_LIMIT: the body is broken, and body bytes that stood
 * before the flaw in this call are not handed out. Never uses a byte beyond the end of the body;
 * uses none once it is done. */
long chunked_decode(struct chunked_decoder *d, const char *p, size_t n, struct str *data) MUSTCHECK;
bool chunked_done(const struct chunked_decoder *d);

/* "1a2b\r\n" for a chunk of n > 0 bytes into out (CHUNKED_HEAD_MAX bytes); returns its length. The
 * caller writes it, the n bytes, and "\r\n"; the body ends with CHUNKED_LAST. */
size_t chunked_write_head(char *out, uint32_t n);
#define CHUNKED_LAST "0\r\n\r\n"
