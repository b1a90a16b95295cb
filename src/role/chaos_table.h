/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_table.h - the one table of `inferd chaos`: what the engines do, and what the client must
 * see. chaos_run.c plays it, the tests call it, docs/chaos.md shows it.
 */
#pragma once
#include "role/chaos_client.h"
#include "role/chaos_engine.h"

/* What happens around the requests. */
enum chaos_event {
    CHAOS_NO_EVENT,
    CHAOS_ONE_REFUSES, /* nobody listens at the first engine's address */
    CHAOS_ALL_REFUSE,  /* nor at the second's */
    CHAOS_KILL,        /* the first engine is a process, and is killed in the middle */
    CHAOS_STOP,        /* it is stopped (SIGSTOP) in the middle, and goes on at the end */
};

enum { CHAOS_STATUSES = 3 };

struct chaos_row {
    const char *name;
    const char *does; /* the engines; for people */
    const char *sees; /* the client; for people */
    struct chaos_script script;
    bool stream;
    bool solo;   /* only the first engine has the model */
    bool kept;   /* a good request comes before, on a connection that is kept */
    bool budget; /* attempts in all: requests plus the retry budget */
    enum chaos_event event;
    enum chaos_leave leave;
    unsigned leave_ms;
    unsigned requests; /* 0: one */
    unsigned at_once;  /* 0: one */
    unsigned every_ms; /* an open loop instead: one is due every so often */
    unsigned after;    /* further requests behind them that the engines answer well: all are good */
    /* A pass: */
    enum chaos_outcome want;
    bool or_cut;                       /* CHAOS_CUT will do as well */
    unsigned statuses[CHAOS_STATUSES]; /* one of these; none: any */
    const char *code;                  /* of the error object or event; NULL: any */
    const char *retry_after;           /* the field; NULL: any */
    unsigned attempts;                 /* of one request, at most; 0: not counted */
    unsigned gap_ms;                   /* between its first and last attempt at least */
    unsigned gone_ms;                  /* the engine knows so soon that the client has left */
    unsigned ms;                       /* of one request, at most */
};

const struct chaos_row *chaos_table(size_t *n);
/* The retry budget that rows with `budget` allow: percent of the requests of the last 10 s, and at
 * least so many. */
enum { CHAOS_BUDGET_PERCENT = 20, CHAOS_BUDGET_LEAST = 10, CHAOS_BUDGET_MS = 10000 };
