/* SPDX-License-Identifier: Apache-2.0
 *
 * request.h - the life of one request, as a table of steps. A step does what it can without
 * blocking and names its successor; WAIT means "I have armed what will wake me: call me again".
 * Every wake-up, whatever its source, fills fields of the request and ends in req_run(). A timeout,
 * a reset, a dead engine or a client that left only fills r->fault; no step needs to know.
 *
 *   HEAD -> BODY -> ADMIT -> ROUTE -> CONNECT -> SEND -> AWAIT -> RELAY -> DONE
 *             \ own endpoints  ^------ another attempt -----'     any: fault -> FAIL -> DONE
 *
 * The slow client's deadlines (head, body, stall, linger) are the connection's and live in
 * net/server; the connect deadline is the client's. How long one may stay is limit_ms() of
 * request.c.
 */
#pragma once
#include "base/jsonindex.h"
#include "ev/deadline.h"
#include "fleet/plan.h"
#include "fleet/rendezvous.h"
#include "fleet/select.h"
#include "gate/guard.h"
#include "gate/mail.h"
#include "gate/splice.h"
#include "gate/usage.h"
#include "net/client.h"
#include "net/exchange.h"
#include "proto/sse.h"

#define REQ_STEPS(X)                                                                               \
    X(HEAD, req_read_head)  /* nothing was decided */                                              \
    X(BODY, req_read_body)  /* the body comes in, or an own endpoint answers */                    \
    X(ADMIT, req_admit)     /* the body is complete; no engine yet */                              \
    X(ROUTE, req_route)     /* no slot; with `ticket` it waits for one */                          \
    X(CONNECT, req_connect) /* `engine` is set and a slot of it is held */                         \
    X(SEND, req_send)       /* a connection is there */                                            \
    X(AWAIT, req_await)     /* the request is with the engine; nothing reached the client */       \
    X(PAUSE, req_pause)     /* an engine asked for a moment; no engine is held */                  \
    X(RELAY, req_relay)     /* the engine's head has come */                                       \
    X(FAIL, req_fail)       /* an error body, or a cut if the reply had begun */

#define REQ_AS_ENUM(name, fn) REQ_##name,
enum req_step { REQ_STEPS(REQ_AS_ENUM) REQ_DONE, REQ_WAIT };

struct lane;
struct lane_snap;

/* The fields of a body that are looked for: rows of its index. */
enum {
    WANT_MODEL,
    WANT_STREAM,
    WANT_PROMPT_CACHE_KEY,
    WANT_USER,
    WANT_MAX_TOKENS,
    WANT_MAX_COMPLETION_TOKENS,
    WANT_MAX_OUTPUT_TOKENS,
};

/* The engine's reply as it is relayed. */
struct relay {
    const struct http1_head *head; /* valid only inside on_head, unless kept */
    const char *head_bytes;
    bool head_kept; /* in the request's arena */
    enum http1_framing framing;
    bool more;               /* body bytes or the end follow in this turn */
    const struct iovec *iov; /* body pieces of this turn, else NULL */
    unsigned n;
    bool last;  /* they complete the body */
    bool ended; /* the reply is complete */
    unsigned status;
    bool sse;              /* text/event-stream: a cut is told by an error event */
    bool json;             /* application/json without a content coding */
    bool held;             /* the reply's head waits for its whole body, up to HOLD_BYTES */
    bool must_end_by_done; /* a close-delimited stream that has to say [DONE] */
    struct chunkq hold;
    struct splice *splice; /* alias: rewrites `model`; NULL otherwise */
    struct sse_parser events;
    struct usage *usage;        /* token counts, read in passing; NULL: nothing to be found */
    struct jsonindex *document; /* of a JSON reply that only the close ends: is it whole? */
    uint64_t bytes;             /* body bytes from the engine */
};

struct req {
    struct lane *lane;
    struct exchange *x;
    struct list node; /* in lane->requests */
    enum req_step step;
    bool running; /* inside req_run() */
    struct fault fault;
    struct deadline deadline;
    struct lane_snap *snap; /* pinned */
    uint64_t id;            /* counts requests of this process */
    struct str request_id;  /* x-request-id */
    struct str origin;      /* to be allowed by CORS; n 0: none */
    /* what is asked */
    struct str where; /* the path, as the rules have it */
    enum path_class path;
    uint32_t kinds;
    const struct engine *passthrough; /* the engine whose path it is */
    struct str model;                 /* as the client says it; p NULL: it names none */
    struct str target;                /* as the engine knows it */
    struct plan *plan;                /* NULL: the name stands for itself alone */
    uint32_t planned;                 /* `target` is this one of it */
    struct str body_model;            /* as the body names it now */
    uint64_t body_model_end;          /* and where that ends */
    uint32_t model_label;             /* of metrics */
    struct key_hold key;              /* its share of the client's key */
    bool aliased;
    struct rendezvous_key session; /* what the client says it belongs to */
    struct chunkq body;
    struct jsonindex *index; /* while the body is read */
    uint64_t buffered;       /* of gate->buffered */
    bool body_done;
    bool asked;                       /* control, for the answer to a PATH_ASKED */
    const struct gate_answer *answer; /* while it is being given */
    /* who is asked */
    const struct engine *engine; /* a slot of its cell is held while this is set */
    const struct engine *next; /* a slot of this one too: the request is taken back from `engine` */
    uint64_t ticket;           /* 0: none is out */
    uint32_t queue_position;   /* told to a client that load refused; 0: none */
    struct call *call;
    bool opened;    /* the call's connection is there */
    bool sent;      /* and has the whole request */
    bool up_paused; /* the engine is not read because the client does not */
    bool gone;      /* the client has left */
    bool heard;     /* this attempt has said something about its engine */
    struct relay relay;
    /* attempts */
    unsigned attempts, attempts_before; /* the latter at models that were asked before this one */
    bool waited;                        /* queue_ms was waited: no more of that at another model */
    uint32_t tried[SELECT_TRIED_MAX];   /* ids of engines that are out */
    uint32_t ntried;
    uint32_t model_mark; /* of breakers; see struct model */
    uint32_t failed;     /* RETRY_*: how this attempt did, 0: not by its engine */
    uint32_t pause_ms;   /* what an engine asked for, while it lasts */
    bool rerun;          /* an inference that may have begun was sent again: once */
    bool moved;          /* move_ms was over: once */
    uint64_t sent_ms;    /* loop time of this attempt's request */
    const char *cause;   /* why the last attempt failed, and whose it was; NULL: none did */
    struct str cause_engine;
    bool taken_back;         /* from an engine that stopped answering */
    struct fault last_fault; /* of the attempt before */
    /* for the access log */
    enum req_step failed_in; /* where the fault was met; REQ_DONE: nowhere */
    struct str engine_name;
    uint64_t first_byte_us; /* loop time of the engine's head; 0: none */
};

/* The exchange's owner callbacks; server_ctx is the lane. */
const struct exchange_owner *req_owner(void);

void req_run(struct req *r);
/* Something moved: the bound of this step begins anew. */
void req_progress(struct req *r);
/* Ends it from outside, with a fault that the client is told where that is still possible. */
void req_fault(struct req *r, enum fault_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The ticket's answers. */
void req_granted(struct req *r, uint32_t engine, struct cell *cell);
void req_refused(struct req *r, const struct lane_mail *m);
/* inspect.c: control's answer; read before it returns, after which the request is over. */
void req_answered(struct req *r, const struct gate_answer *a);

/* Steps; each file of gate/ holds those it names. */
#define REQ_AS_PROTO(name, fn) enum req_step fn(struct req *r);
REQ_STEPS(REQ_AS_PROTO)
/* inspect.c: body bytes as they come. */
void req_body_bytes(struct req *r, const char *p, size_t n);
/* inspect.c: a whole reply of our own, with the fields that all carry; `extra` may be n 0. */
void req_reply(struct req *r, unsigned status, struct str body, struct str extra_name,
               struct str extra);
/* inspect.c: x-request-id and CORS, between exchange_reply() and exchange_start(). */
void req_reply_fields(struct req *r);
/* target.c: r->where, without "." and ".." where the rules say so. */
void req_find_where(struct req *r);
/* forward.c: the request's head as the engine gets it, in the request's arena; the body is
 * rewritten too when the model is an alias. */
struct str req_forward_head(struct req *r);
/* relay.c: what a call of net/client tells. */
const struct call_ops *req_call_ops(void);
/* route.c: nobody (left) to ask. */
void req_say_nobody(struct req *r);
/* route.c: chooses among those that were not tried and holds a slot of *ret when SELECT_ONE. */
enum select_verdict req_reserve(struct req *r, const struct engine **ret) MUSTCHECK;
/* route.c: gives a slot back that is not r->engine's. */
void req_give(struct req *r, const struct engine *e);
/* relay.c: tells a client that has a part of the reply that the rest will not come, then cuts. */
void req_cut(struct req *r);
/* route.c: gives the slot back; harmless when none is held. */
void req_release(struct req *r);
void req_drop_ticket(struct req *r);
/* route.c: the ticket has waited for as long as it may; control answers. */
void req_ticket_late(struct req *r);
