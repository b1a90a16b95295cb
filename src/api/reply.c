/* SPDX-License-Identifier: Apache-2.0
 *
 * reply.c - see reply.h.
 */
#include "api/reply.h"

#include "api/api_priv.h"

enum { FAULT_BYTES = 4096, RETRY_AFTER_S = 5 };

static void send_body(struct exchange *x, struct str type, struct str body)
{
    struct iovec iov = {(void *)(uintptr_t)body.p, body.n};

    exchange_field(x, STR("content-type"), type);
    if (exchange_start(x, EXCHANGE_LENGTH, body.n) == 0 && !x->reply_done)
        (void)!exchange_send(x, &iov, 1, true);
}

void reply_whole(struct exchange *x, unsigned status, struct str type, struct str body)
{
    exchange_reply(x, status);
    send_body(x, type, body);
}

void reply_json(struct exchange *x, unsigned status, struct str body)
{
    reply_whole(x, status, STR("application/json"), body);
}

void reply_render_fault(const struct fault *f, struct buf *out) { fault_render(f, out); }

void reply_fault(struct exchange *x, const struct fault *f, struct str allow)
{
    char memory[FAULT_BYTES], seconds[12];
    struct buf body = buf_on(memory, sizeof memory);
    struct buf after = buf_on(seconds, sizeof seconds);

    fault_render(f, &body);
    exchange_reply(x, (unsigned)f->status);
    if (allow.n > 0)
        exchange_field(x, STR("allow"), allow);
    if (f->status == 401)
        exchange_field(x, STR("www-authenticate"), STR("Bearer"));
    if (f->status == 503) {
        buf_u64(&after, f->retry_after_s > 0 ? (uint64_t)f->retry_after_s : RETRY_AFTER_S);
        exchange_field(x, STR("retry-after"), buf_str(&after));
    }
    send_body(x, STR("application/json"), buf_str(&body));
}
