/* SPDX-License-Identifier: Apache-2.0
 *
 * sse.h - server-sent events (WHATWG HTML, section 9.2), sans I/O: finds where events begin and end
 * in a stream that is relayed, so that a cut can be told truthfully and a field can be spliced. It
 * never rewrites and never delays a byte. Resumable at any byte; lines end by LF, CRLF or CR.
 */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct sse_parser {
    uint8_t state;  /* private */
    bool line_open; /* bytes since the last line end: a cut stream must finish the line first */
    bool
        event_open; /* fields since the last empty line: a cut stream must finish the event first */
    bool done;      /* a `data: [DONE]` event was dispatched */
    uint64_t events; /* events dispatched so far that had data */
    bool has_data;   /* the event being read, or the one that just ended, has a data field */
    uint8_t match;   /* private: progress through "data" or "[DONE]" */
    bool data_line;  /* private: the line being read is a data field other than [DONE] */
    bool done_line;  /* private: the event's only data line so far is [DONE] */
};

void sse_init(struct sse_parser *s);

/* What one step found. An event is what stands between two empty lines: comments alone are one, too
 * (has_data tells). A CR ends an empty line at once; an LF that belongs to it opens the next piece.
 */
enum sse_kind {
    SSE_MORE,  /* all bytes looked at; no event ended */
    SSE_EVENT, /* an event ended: its dispatching empty line is the last byte used */
};

/* Looks at p[0..n) up to the end of the next event; *used says how far (1..n, 0 only if n is 0). */
enum sse_kind sse_next(struct sse_parser *s, const char *p, size_t n, size_t *used);

/* One `data` line of one complete event (the bytes from its first to its dispatching empty line):
 * iterate with *at = 0 until it returns false, in the first event of a stream with *at =
 * sse_mark(event). The value has the one optional leading blank removed. */
bool sse_data_line(struct str event, size_t *at, struct str *value);
/* Bytes of the byte order mark that these first bytes of a stream begin with: 3 or 0. Behind the
 * first byte of a stream the same bytes are the name of an unknown field. */
size_t sse_mark(struct str begin);

/* The bytes that close what is open before an own event may follow: "", "\n" or "\n\n". */
struct str sse_closing(const struct sse_parser *s);
