/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_answer.h - what the engines of `inferd chaos` say when they are well, and what a careful
 * client could say of an answer: right and whole, a truthful error, or something that must not be.
 * A request carries a mark ("mark-000123") that a good answer repeats, so an answer that reaches
 * the wrong client shows. Pure: nothing here talks to anybody.
 */
#pragma once
#include "base/buf.h"

/* What became of a request. The order is that of the report. enumerator, truthful, words */
#define CHAOS_OUTCOMES(X)                                                                          \
    X(GOOD, true, "the good answer")                                                               \
    X(OWN, true, "the engine's own error")                                                         \
    X(ERROR, true, "an error object")                                                              \
    X(EVENT, true, "an error event and a cut")                                                     \
    X(CUT, true, "a cut")                                                                          \
    X(UNENDED, true, "all of it with [DONE], then a cut")                                          \
    X(EVENT_ENDED, true, "an error event and a clean end")                                         \
    X(BARE, true, "an error that is no error object")                                              \
    X(LEFT, true, "left by the client")                                                            \
    X(AS_SAID, false, "2xx, and not the good answer")                                              \
    X(LIE, false, "a false end")                                                                   \
    X(NOTHING, false, "no answer: the connection ended")                                           \
    X(HUNG, false, "no end")

#define CHAOS_OUTCOME_ENUM(id, truthful, words) CHAOS_##id,
enum chaos_outcome { CHAOS_OUTCOMES(CHAOS_OUTCOME_ENUM) CHAOS_OUTCOMES_N };

const char *chaos_answer_words(enum chaos_outcome o);
/* It says what happened: the client knows that it has no answer. */
bool chaos_answer_truthful(enum chaos_outcome o);

enum {
    CHAOS_EVENTS_N = 6, /* of a good stream, before [DONE] */
    CHAOS_MARK_BYTES = 16,
};

void chaos_answer_mark(uint64_t mark, char to[CHAOS_MARK_BYTES]);
/* The good answer to that mark: whole, or its event i, 0..CHAOS_EVENTS_N - 1; appended. */
void chaos_answer_whole(uint64_t mark, struct buf *out);
void chaos_answer_event(uint64_t mark, unsigned i, struct buf *out);
/* Whether `body`, a whole answer or the events of a stream, has everything of the good answer to
 * that mark, once and in order. */
bool chaos_answer_said(struct str body, uint64_t mark);

struct chaos_reply {
    enum chaos_outcome outcome;
    unsigned status;      /* 0: no head came */
    char code[48];        /* of the error object or event; "" for none */
    char retry_after[16]; /* the field; "" for none */
    uint64_t us;          /* from asking to the end */
    const char *why;      /* static: how it broke; NULL */
};

/* What came behind the head. */
struct chaos_seen {
    struct str answer;
    uint64_t mark;     /* of the request */
    bool asked_stream; /* by the request */
    bool event_stream; /* by its content type */
    bool clean;        /* the body came to the end that its framing promised */
};

/* reply->status is set; fills reply->code. */
enum chaos_outcome chaos_answer_judge(const struct chaos_seen *seen, struct chaos_reply *reply);
