/* SPDX-License-Identifier: Apache-2.0
 *
 * mock_reply.h - what a mock engine says: the sentence of each model, cut into characters, and the
 * JSON around it. Nothing here talks to anybody. What is the same for every request is made once,
 * because the mock is also the engine behind the benchmarks.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* "Hello from <name> (model: <id>)", said `repeat` times. */
struct mock_model {
    struct str id;
    struct str *piece; /* its characters, escaped for JSON */
    size_t pieces;     /* of one time */
    uint64_t total;    /* events of a stream: pieces * repeat */
    struct str said;   /* the whole, escaped for JSON */
};

/* What the two APIs that complete text differ in. */
enum mock_dialect { MOCK_CHAT, MOCK_COMPLETION };

/* Everything lives in the arena. */
void mock_reply_model(struct mock_model *m, struct str name, struct str id, unsigned repeat,
                      struct arena *arena);

/* Whole bodies, appended to `out`. `n` numbers the reply, `created` is in Unix seconds. */
void mock_reply_whole(const struct mock_model *m, enum mock_dialect dialect, uint64_t n,
                      uint64_t created, struct buf *out);
/* What stands before and behind the text of each event of a stream, in the arena. */
void mock_reply_frame(const struct mock_model *m, enum mock_dialect dialect, uint64_t n,
                      uint64_t created, struct arena *arena, struct str *ret_before,
                      struct str *ret_behind);
#define MOCK_REPLY_DONE STR("data: [DONE]\n\n")

/* Eight numbers for each input of the document `body`, which is the whole request. -E_SYNTAX when
 * it is not JSON or has no usable `input`, with a sentence in `problem`. */
int mock_reply_embeddings(struct str body, struct str model, struct buf *out,
                          struct buf *problem) MUSTCHECK;
/* An array of the models, as a value of `w`. */
struct jsonw; /* base/jsonw.h */
void mock_reply_list(const struct mock_model *models, size_t n, uint64_t created, struct jsonw *w);
/* The list of models. */
void mock_reply_models(const struct mock_model *models, size_t n, uint64_t created,
                       struct buf *out);
void mock_reply_error(struct str message, struct str code, struct str type, struct buf *out);
