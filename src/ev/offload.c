/* SPDX-License-Identifier: Apache-2.0
 *
 * offload.c - on libuv's thread pool; its threads start with the first piece of work.
 */
#include "ev/offload.h"

#include "base/mem.h"
#include "ev/uv_priv.h"

struct offload {
    uv_work_t req;
    void (*work)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

static void on_work(uv_work_t *req)
{
    struct offload *o = req->data;

    o->work(o->ctx);
}

static void on_done(uv_work_t *req, int status)
{
    struct offload *o = req->data;

    (void)status; /* we never cancel */
    o->done(o->ctx);
    mem_free(o);
}

int offload_start(struct loop *l, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct offload *o = xnew(struct offload, .work = work, .done = done, .ctx = ctx);
    int r;

    o->req.data = o;
    r = uv_queue_work(loop_uv(l), &o->req, on_work, on_done);
    if (r < 0) {
        mem_free(o);
        return loop_err(r);
    }
    return 0;
}
