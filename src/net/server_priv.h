/* SPDX-License-Identifier: Apache-2.0
 *
 * server_priv.h - one HTTP/1.1 connection, shared by server.c (reading: heads, bodies, deadlines,
 * the end) and exchange.c (writing: replies). `struct conn` embeds its one exchange first.
 *
 *   IDLE --first byte--> HEAD --head--> BODY --last byte--> BUSY --exchange_end()--> IDLE
 *     any --reply with unread body, refused head, cut--> LINGER --> closed
 *
 * In IDLE and LINGER no owner is attached; in BODY and BUSY one is, from on_request() to
 * exchange_end(). A connection whose stream is gone waits for its owner's exchange_end().
 */
#pragma once
#include <stdatomic.h>

#include "ev/deadline.h"
#include "net/server.h"
#include "proto/chunked.h"

enum conn_state {
    CONN_IDLE,   /* between requests, nothing of the next one was read */
    CONN_HEAD,   /* part of a head was read */
    CONN_BODY,   /* the owner is attached, its body is coming */
    CONN_BUSY,   /* the body is complete (or refused); what comes now waits in `pending` */
    CONN_LINGER, /* no owner; what comes is dropped until the client closes or the limit */
    CONN_CLOSED, /* no stream any more */
};

/* How the current reply is delimited on the wire. */
enum conn_reply {
    REPLY_NONE,
    REPLY_EMPTY,  /* no body at all */
    REPLY_LENGTH, /* `reply_left` bytes to come */
    REPLY_CHUNKED,
    REPLY_CLOSE, /* until the connection closes: a cut must be an RST */
};

/* Of a request. */
struct conn_body {
    struct chunked_decoder chunked;
    bool is_chunked;
    uint64_t left;  /* of a body with a length */
    int64_t credit; /* leaky bucket of its rate, thousandths of bytes */
    uint64_t mark;  /* x.body_in when the credit was last settled */
};

struct conn {
    struct exchange x; /* first: an exchange is its connection */
    struct server *server;
    struct stream *stream;    /* NULL once closed */
    struct list node;         /* in server->idle (IDLE) or server->busy (all other states) */
    struct deadline deadline; /* of the state: idle, head, body rate, linger */
    struct deadline stall;    /* of the bytes that wait unsent */
    struct grave turn;        /* at its end: frees what is over, or goes on with pipelined bytes */
    void *listener_ctx;
    union {
        struct http1_parser parser; /* until the head is there */
        struct conn_body body;      /* from then on */
    };
    struct buf pending; /* a partial head, or bytes behind the current request */
    uint64_t reply_left;
    uint32_t linger_left; /* bytes still read and dropped */
    uint32_t unsent;      /* of server->unsent */
    uint8_t state;        /* enum conn_state; set by conn_set_state() only */
    uint8_t reply;        /* enum conn_reply */
    uint8_t refused;      /* enum fault_code of server_refuse() */
    bool owned;           /* on_request() was called, exchange_end() was not */
    bool reading_paused;  /* by the owner or by pipelined bytes */
    bool cut_hard;        /* end by RST */
    bool eof;             /* the client will send no more */
    bool buried;          /* `turn` is */
};

struct server {
    struct loop *loop;
    struct server_conf conf;
    struct server_counts counts;
    struct list idle, busy;
    _Atomic unsigned connections; /* read by other threads, too */
    _Atomic size_t unsent;        /* bytes that clients did not take yet; as above */
    bool draining;
    struct http1_head scratch; /* the parser's output, copied compactly into the exchange's arena */
    struct conn *held;         /* whose reply head waits in head_out for its first body bytes */
    struct buf head_out;
    uint64_t date_s; /* the second that `date` shows */
    char date[32];
    char name[96];
};

/* server.c */
void conn_set_state(struct conn *c, enum conn_state state);
/* Arms or stops the stall deadline after bytes were handed to the stream. */
void conn_watch_stall(struct conn *c);
/* The stream failed while the owner was calling us: no on_gone(). */
void conn_lost(struct conn *c);
/* exchange_end(): the connection goes on with the next request, lingers or closes. */
void conn_next(struct conn *c);
/* The client can be told nothing more. */
void conn_close(struct conn *c, enum stream_end how);

/* exchange.c: sends a held head now. 0 or a negative code. */
int exchange_flush_held(struct server *s);
