/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_client.h - one chat request of `inferd chaos`, and its answer, judged. Each request has a
 * connection of its own. Loop thread only.
 */
#pragma once
#include "net/client.h"
#include "role/chaos_answer.h"

/* When the client leaves by itself. */
enum chaos_leave {
    CHAOS_STAYS,
    CHAOS_LEAVES_EARLY, /* leave_ms after it asked */
    CHAOS_LEAVES_LATE,  /* with the first bytes of the body */
};

struct chaos_client;
struct chaos_ask;

typedef void chaos_client_fn(void *ctx, const struct chaos_reply *reply);

/* What is asked for; borrowed for the call. */
struct chaos_question {
    struct str model;
    uint64_t mark;
    bool stream;
    enum chaos_leave leave;
    unsigned leave_ms;
    unsigned patience_ms; /* then it is CHAOS_HUNG */
};

struct chaos_target {
    struct str host;
    uint16_t port;
    struct str origin, prefix;     /* of the URL; borrowed while the client lives */
    const struct str_list *fields; /* further ones, "name: value", that were checked */
};

void chaos_client_create(struct loop *l, struct chunk_pool *chunks, const struct chaos_target *to,
                         struct chaos_client **ret);
/* Nothing may be under way. NULL is fine. */
void chaos_client_destroy(struct chaos_client **c);
/* fn follows once, never before this returns. */
void chaos_client_ask(struct chaos_client *c, const struct chaos_question *q, chaos_client_fn *fn,
                      void *ctx);
/* Drops what is under way, without a word to its owners. */
void chaos_client_drop_all(struct chaos_client *c);
