/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_engine.h - the engines of `inferd chaos`: listeners on this machine that answer each
 * request by a script, step by step, well or badly, and keep a ledger of what reached them.
 *
 * Two engines share one ledger, and an attempt is counted there by the request's mark: the script
 * of the second attempt is the second one, whichever engine it reached. Loop thread only.
 */
#pragma once
#include "base/arena.h"
#include "base/chunk.h"
#include "ev/addr.h"
#include "net/exchange.h"
#include "role/chaos_answer.h"

/* What an engine does next. `n` and `text` as said. */
enum chaos_do {
    CHAOS_DO_END,    /* the request is over: kept when its reply is complete, else FIN */
    CHAOS_DO_GOOD,   /* the good answer whole, as a stream if that was asked */
    CHAOS_DO_STATUS, /* status n and this engine's own error object; text: "name: value" or NULL */
    CHAOS_DO_HEAD,   /* 200 and the head of a stream */
    CHAOS_DO_EVENTS, /* the next n events of the good answer */
    CHAOS_DO_RAW_EVENTS, /* the same without chunks around them */
    CHAOS_DO_PART, /* 200, the length of the good answer that is no stream, and n bytes less than it
                    */
    CHAOS_DO_REST, /* behind it: what is missing, less n bytes; n 0 completes the reply */
    CHAOS_DO_RAW,  /* text as it is, past all framing */
    CHAOS_DO_REPEAT, /* text as often as fits n KiB, as fast as it is taken */
    CHAOS_DO_WAIT,   /* n milliseconds */
    CHAOS_DO_FIN,    /* the connection ends in order */
    CHAOS_DO_RST,    /* the connection is reset */
    CHAOS_DO_HOLD,   /* nothing more, until the other side goes */
};

struct chaos_step {
    enum chaos_do what;
    unsigned n;
    const char *text;
};

enum {
    CHAOS_ENGINES = 2,
    CHAOS_ACTS = 3,
};

/* act[i]: the steps, up to CHAOS_DO_END, of attempt i + 1 (and the last one's of all further), or
 * of engine i when `by_engine`; NULL behaves well. */
struct chaos_script {
    const struct chaos_step *act[CHAOS_ACTS];
    bool by_engine;
    bool every_other; /* an engine behaves well on every second request */
};

/* One request, as the engines saw it. */
struct chaos_record {
    unsigned attempts;
    unsigned open;              /* attempts that have not ended */
    uint64_t first_us, last_us; /* when the first and the last attempt had come whole */
    uint64_t gone_us;           /* when the other side went before the script's end; 0: never */
    unsigned by[CHAOS_ENGINES]; /* attempts at each engine */
};

struct chaos_engine;

/* What both engines share. Owned by the runner. */
struct chaos_stage {
    struct loop *loop;
    struct chaos_script script;
    uint64_t first_mark;          /* of the requests that the script is for */
    struct chaos_record *records; /* of marks first_mark..; in `memory`: calls may outlive a row */
    size_t records_n;
    uint64_t served[CHAOS_ENGINES]; /* requests before and between rows, answered well */
    struct chunk_pool chunks;
    struct arena_cache arenas;
    struct arena memory; /* cleared when the engines are gone */
    struct buf scratch;
    bool keep; /* answers between rows leave their connections open */
};

/* Listens at once, on *at, whose port 0 becomes the one it got. -E_BUSY, ... */
int chaos_engine_create(struct chaos_stage *stage, unsigned number, struct addr *at,
                        struct chaos_engine **ret) MUSTCHECK;
/* Refuses connections from now on and ends those that are there. */
void chaos_engine_stop(struct chaos_engine *e);
/* On the same address again. */
int chaos_engine_start(struct chaos_engine *e) MUSTCHECK;
bool chaos_engine_listens(const struct chaos_engine *e);
/* NULL is fine. */
void chaos_engine_destroy(struct chaos_engine **e);
