/* SPDX-License-Identifier: Apache-2.0
 *
 * heads.h - what must hold for a head of either direction, for the two http1 targets: cuts,
 * limits, a second reading of what was accepted, and what may be passed on.
 */
#pragma once
#include "fuzz.h"
#include "proto/http1.h"

enum { HEADS_OUT_BYTES = 1 << 17 };

/* How a parser ended. */
struct heads_verdict {
    long length; /* of the head, 0 for more, or a negative code */
    int status;
    enum fault_code code;
    const char *why;
};

/* The limits of a gateway that is left as it is. */
extern const struct http1_limits heads_limits;

/* One parser over all of it in one call. */
struct heads_verdict heads_parse(bool response, struct str bytes, const struct http1_limits *limits,
                                 struct http1_head *head);
void heads_same_verdict(struct heads_verdict a, struct heads_verdict b);

/* The whole check of one input; true when there is a head, then in *head. */
bool heads_check(bool response, struct fuzz_room *room, struct str bytes, struct http1_head *head);

/* Appends the fields that may be passed on, the framing and the empty line. */
void heads_write_fields(const struct http1_head *h, const char *bytes, struct buf *out);
/* Reads what was written; false when only a line outgrew its bound by the blank we put behind the
 * colon. Otherwise the fields that were passed on and the framing are the same. */
bool heads_reread(const struct http1_head *h, const char *bytes, struct str written,
                  struct http1_head *again);
