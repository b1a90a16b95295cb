/* SPDX-License-Identifier: Apache-2.0
 *
 * raw.h - a connection's worth of request bytes through the codecs: heads and bodies as a server
 * reads them, told as text. The table test, the differential rig and the round-trip check share it.
 *
 * The transcript has, for each request that was read whole, the lines
 *     up: METHOD TARGET      (what an upstream is asked for: an absolute form is taken by its path)
 *     + name: value          (each field that may be passed on, in order)
 *     body: ...              (only when there is one; chunks put together)
 * and at the end one line "codec: pass", "codec: refuse STATUS" or "codec: more" (bytes are
 * missing). Bytes outside visible ASCII and the space, and the backslash, are escaped as rows.h
 * says.
 */
#pragma once
#include "base/buf.h"
#include "proto/chunked.h"
#include "proto/http1.h"

enum { RAW_BODY_BYTES = 1 << 20 };

/* A request that was read whole; the slices live until it returns. */
typedef void raw_request_fn(void *ctx, struct str method, struct str target, struct str body);

struct raw {
    struct http1_limits limits;
    struct http1_parser parser;
    struct http1_head head;
    struct chunked_decoder chunks;
    enum { RAW_HEAD, RAW_BODY, RAW_REFUSED } phase;
    int status;           /* of the refusal */
    const char *why;      /* of the refusal */
    uint64_t left;        /* of a body with a length */
    struct buf bytes;     /* of the current head */
    struct buf body;      /* of the current request, decoded */
    struct buf *out;      /* the transcript, borrowed */
    struct buf *upstream; /* re-serialised requests, one behind the other; borrowed, may be NULL */
    raw_request_fn *on_request; /* may be NULL */
    void *ctx;
};

/* The default limits of the gateway. */
void raw_init(struct raw *r, struct buf *out, struct buf *upstream);
void raw_fini(struct raw *r);
void raw_feed(struct raw *r, const char *p, size_t n);
/* No more bytes will come: writes the last line. */
void raw_end(struct raw *r);

/* Appends s, escaped as in the rows. */
void raw_escape(struct buf *out, struct str s);
