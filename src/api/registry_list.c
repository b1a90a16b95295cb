/* SPDX-License-Identifier: Apache-2.0
 *
 * registry_list.c - the reply to GET /services, piece by piece as the client takes it. The list is
 * held (store/records.h) until its last byte is out; heartbeats go on moving stamps in it
 * meanwhile, so a piece never ends inside a number. Slow readers hold lists that are out of date:
 * when those take too much together, the readers that began first are cut.
 */
#include "api/registry_priv.h"
#include "base/jsonw.h"

enum {
    PIECE_BYTES = 256 << 10,
    HIGH_WATER_BYTES = 64 << 10, /* no more is handed over while so much waits */
    STAMP_BYTES = 16,            /* longer runs of digits and dots are no stamp */
    TAIL_BYTES = 96,
};

#define LIST_HEAD STR("{\"services\":[")

static bool is_of_number(char c) { return (c >= '0' && c <= '9') || c == '.'; }

/* How many bytes from `at` on the next piece has. */
static size_t piece_bytes(struct str all, size_t at)
{
    size_t end = min_size(all.n, at + PIECE_BYTES), back = 0;

    if (end == all.n)
        return end - at;
    while (back < STAMP_BYTES && end - back > at + 1 && is_of_number(all.p[end - back - 1]))
        back++;
    return end - back - at;
}

/* True when the reply is over, one way or another. */
static bool send_pieces(struct ask *a)
{
    struct str all = buf_str(&a->list->bytes);

    while (exchange_queued(a->x) <= HIGH_WATER_BYTES) {
        size_t n = piece_bytes(all, a->at);
        bool last = a->at + n == all.n;
        struct iovec iov[3];
        unsigned k = 0;

        if (a->at == 0)
            iov[k++] = (struct iovec){(void *)(uintptr_t)LIST_HEAD.p, LIST_HEAD.n};
        if (n > 0)
            iov[k++] = (struct iovec){(void *)(uintptr_t)(all.p + a->at), n};
        if (last)
            iov[k++] = (struct iovec){(void *)(uintptr_t)a->tail.p, a->tail.n};
        a->at += n;
        if (exchange_send(a->x, iov, k, last) < 0 || last)
            return true;
    }
    return false;
}

void registry_list_go_on(struct ask *a)
{
    if (send_pieces(a))
        registry_end(a);
}

static void cut_slow_readers(struct registry *g)
{
    struct ask *a;

    while (records_held_bytes(g->conf.records) > REGISTRY_HELD_BYTES &&
           (a = list_first(&g->readers, struct ask, reader))) {
        metrics_count(&g->counts.cut_readers);
        exchange_cut(a->x);
        registry_end(a);
    }
}

static struct str write_tail(struct ask *a)
{
    char memory[TAIL_BYTES];
    struct buf b = buf_on(memory, sizeof memory);

    buf_text(&b, "],\"timestamp\":\"");
    records_write_time(&b, loop_wall_us(a->x->loop) / 1000000);
    buf_text(&b, "\",\"total\":");
    buf_u64(&b, a->list->count);
    buf_char(&b, '}');
    CHECK(buf_status(&b) == 0);
    return arena_str(&a->x->arena, buf_str(&b));
}

void registry_list_start(struct ask *a, struct str query)
{
    struct registry *g = a->registry;
    struct registry_filter filter;
    struct fault f;

    if (!registry_read_query(query, &a->x->arena, &filter, &f)) {
        registry_refuse(a, &f);
        return;
    }
    a->list = records_select(g->conf.records, filter.status, filter.healthy);
    a->tail = write_tail(a);
    list_append(&g->readers, &a->reader);
    exchange_reply(a->x, 200);
    exchange_field(a->x, STR("content-type"), STR("application/json"));
    if (exchange_start(a->x, EXCHANGE_LENGTH, LIST_HEAD.n + a->list->bytes.n + a->tail.n) < 0 ||
        a->x->reply_done || send_pieces(a))
        registry_end(a);
    cut_slow_readers(g); /* perhaps this one */
}
