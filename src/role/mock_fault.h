/* SPDX-License-Identifier: Apache-2.0
 *
 * mock_fault.h - how a mock engine misbehaves on purpose: `--fault MODEL=KIND[:ARG][@P]`. A fault
 * belongs to one model and strikes a request for it with probability P. The dice are seeded, so a
 * run can be repeated.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* enumerator, word, argument, least, most */
#define MOCK_FAULT_KINDS(X)                                                                        \
    X(STATUS, "status", NUMBER, 200, 599)    /* that status and an error object */                 \
    X(DELAY, "delay", NUMBER, 0, 86400000)   /* so many milliseconds later than otherwise */       \
    X(HANG, "hang", NOTHING, 0, 0)           /* no answer, ever */                                 \
    X(RESET, "reset", NOTHING, 0, 0)         /* RST before any byte */                             \
    X(CLOSE, "close", NOTHING, 0, 0)         /* FIN before any byte */                             \
    X(ABORT, "abort", NUMBER, 0, 1000000000) /* RST after so many events, bytes if no stream */    \
    X(TRUNCATE, "truncate", NUMBER, 0, 1000000000) /* the same with FIN, no terminator */          \
    X(STALL, "stall", NUMBER, 0, 1000000000)       /* silence after so many */                     \
    X(GARBAGE, "garbage", NOTHING, 0, 0)           /* 200 and what is not JSON */                  \
    X(BADHTTP, "badhttp", NOTHING, 0, 0)           /* what is not HTTP */                          \
    X(REDIRECT, "redirect", TEXT, 0, 0)            /* 307 to a URL */                              \
    X(EXIT, "exit", NUMBER, 0, 255)                /* the process ends */                          \
    X(CRASH, "crash", NOTHING, 0, 0)               /* the process aborts */

#define MOCK_FAULT_AS_ENUM(id, word, arg, least, most) MOCK_FAULT_##id,
enum mock_fault_kind {
    MOCK_FAULT_NONE, /* behave */
    MOCK_FAULT_KINDS(MOCK_FAULT_AS_ENUM)
};

struct mock_fault {
    struct str model; /* exact name */
    enum mock_fault_kind kind;
    uint64_t number; /* of kinds that take one */
    struct str text; /* of kinds that take one */
    double p;        /* 0..1 */
};

/* Slices of *ret point into `text`. -E_SYNTAX with a sentence in `problem`. */
int mock_fault_parse(struct str text, struct mock_fault *ret, struct buf *problem) MUSTCHECK;
/* The first of the model's faults whose dice fall; NULL: behave. *dice moves on by every throw. */
const struct mock_fault *mock_fault_strike(const struct mock_fault *faults, size_t n,
                                           struct str model, uint64_t *dice);
