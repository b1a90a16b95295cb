/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve.c - getaddrinfo on libuv's thread pool; literals are answered at the next turn without
 * it.
 */
#include "ev/resolve.h"

#include <netdb.h>
#include <stdio.h>

#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/socket_priv.h"
#include "ev/uv_priv.h"

struct resolve {
    uv_getaddrinfo_t req;
    struct loop *loop;
    struct deadline soon; /* literals */
    struct addr literal;
    resolve_fn *fn; /* NULL once canceled */
    void *ctx;
};

static void on_literal(struct deadline *d)
{
    struct resolve *r = container_of(d, struct resolve, soon);

    r->fn(r->ctx, 0, &r->literal, 1);
    mem_free(r);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct resolve *r = req->data;
    struct addr addrs[RESOLVE_ADDRS_MAX];
    unsigned n = 0;

    for (struct addrinfo *ai = list; status == 0 && ai && n < RESOLVE_ADDRS_MAX; ai = ai->ai_next) {
        struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};

        memcpy(&sa, ai->ai_addr, min_size(ai->ai_addrlen, sizeof sa));
        socket_addr_back(&sa, ai->ai_addrlen, &addrs[n]);
        n += addrs[n].family == ADDR_IP4 || addrs[n].family == ADDR_IP6;
    }
    if (r->fn)
        r->fn(r->ctx, n ? 0 : -E_NAME, addrs, n);
    uv_freeaddrinfo(list);
    mem_free(r);
}

int resolve_start(struct loop *l, const char *host, uint16_t port, resolve_fn *fn, void *ctx,
                  struct resolve **ret)
{
    struct resolve *r = xnew(struct resolve, .loop = l, .fn = fn, .ctx = ctx);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char service[8];
    int err;

    if (addr_parse_ip(str_of(host), port, &r->literal) == 0) {
        deadline_arm(l, &r->soon, 1, on_literal);
        *ret = r;
        return 0;
    }
    r->req.data = r;
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    err = uv_getaddrinfo(loop_uv(l), &r->req, on_resolved, host, service, &hints);
    if (err < 0) {
        mem_free(r);
        return loop_err(err);
    }
    *ret = r;
    return 0;
}

void resolve_cancel(struct resolve **rp)
{
    struct resolve *r = TAKE(rp);

    if (!r)
        return;
    r->fn = NULL;
    if (deadline_armed(&r->soon)) {
        deadline_stop(&r->soon);
        mem_free(r);
        return;
    }
    (void)uv_cancel(
        (uv_req_t *)&r->req); /* on_resolved frees it, now or when the thread is through */
}
