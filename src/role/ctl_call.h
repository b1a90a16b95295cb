/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl_call.h - requests to a running inferd through its control socket, one after the other. Each
 * runs the line's own loop until the reply is there, so to the caller it is one plain call.
 */
#pragma once
#include "base/buf.h"
#include "net/client.h"

struct ctl_call; /* opaque: a line to one inferd */

struct ctl_reply {
    unsigned status; /* 0: there was none */
    struct buf body; /* what did not go to the sink; ctl_call_ask() makes it, buf_fini() ends it */
    bool broken;     /* the reply, or what came instead of it, ended before its end */
};

/* False: no more, please. */
typedef bool ctl_call_sink_fn(void *ctx, struct str bytes);

struct ctl_question {
    struct str method, target;
    ctl_call_sink_fn *sink; /* of a 200's body; NULL: it is collected */
    void *sink_ctx;
    bool endless; /* the body may be silent for as long as it likes */
};

/* -E_LIMIT: the path is too long for a socket. -E_NO_FDS, -E_NO_MEM. Connects at the first ask. */
int ctl_call_open(const char *socket_path, struct ctl_call **ret) MUSTCHECK;
/* NULL is fine. */
void ctl_call_close(struct ctl_call **c);
/* 0: ret->status and ret->body are there. -E_CLOSED: the sink had enough. Otherwise nobody answers
 * (-E_NOT_FOUND, -E_REFUSED, -E_PERM, -E_TIMEOUT, ...) or not to the end: ret->broken. */
int ctl_call_ask(struct ctl_call *c, const struct ctl_question *q, struct ctl_reply *ret) MUSTCHECK;
