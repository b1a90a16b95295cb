/* SPDX-License-Identifier: Apache-2.0
 *
 * fetch.h - our own small questions to engines and services: one request, a time-out for all of it,
 * a bounded body. A redirect is an answer like any other; proxies of the environment are not asked.
 * Loop thread only.
 */
#pragma once
#include "base/buf.h"
#include "conf/url.h"
#include "net/client.h"

struct fetch; /* opaque, one question */

/* What is wanted of the answer. */
enum fetch_want {
    FETCH_HEAD,   /* its head says all: some peers never end the body. `body` is empty */
    FETCH_STATUS, /* the same, and nothing is waited for behind it: the connection is closed */
    FETCH_SHORT,  /* its head, and what a 2xx says when its length is told and at most max_bytes: it
                   * has FETCH_SHORT_MS to come whole, else `body` is empty */
    FETCH_BODY,   /* all of it, within the time-out; a body beyond max_bytes counts as no answer */
};

enum { FETCH_SHORT_MS = 1000 };

/* What came. Slices are good until the callback returns. */
struct fetch_reply {
    int err;                 /* 0, or why there is no answer */
    unsigned status;         /* 0 without one */
    bool connected;          /* without an answer: the connection was there */
    uint64_t took_us;        /* until the head */
    struct str server, body; /* `server` is the Server field */
};
typedef void fetch_fn(void *ctx, const struct fetch_reply *reply); /* the fetch is gone */

struct fetch_question {
    const struct url *at;     /* borrowed for the call, as are the others */
    struct str api_key;       /* sent as bearer token; n 0: none */
    const char *path;         /* put behind the url's prefix */
    enum http1_method method; /* HTTP1_METHOD_OTHER, which is 0: GET */
    struct str content_type;  /* n 0: none is said */
    struct str body;          /* of the request; p NULL: none, and its length is not said either */
    enum fetch_want want;
    uint32_t timeout_ms;
    size_t max_bytes; /* of the answer's body */
};

void fetch_start(struct loop *l, struct pool *pool, const struct fetch_question *q, fetch_fn *fn,
                 void *ctx, struct fetch **ret);
/* No callback after it. NULL is fine. */
void fetch_cancel(struct fetch **f);
