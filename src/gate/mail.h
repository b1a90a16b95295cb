/* SPDX-License-Identifier: Apache-2.0
 *
 * mail.h - what lanes and control say to each other (ev/mailbox.h): a mail owns what it points to.
 *
 *       mails to control: TICKET, TICKET_LATE, TICKET_GONE, SLOT_FREE, BREAKER, HANDICAP, DRAINED,
 *                         TAKEN, ASK
 *   lanes  -------------------------------------------------------------->  control
 *          <--------------------------------------------------------------
 *            mails to a lane: SNAPSHOT, CONN, LISTENER, GRANT, REFUSE, ANSWER, EJECTED, DRAIN,
 *            CUT, STOP
 */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "gate/gate.h"

/* Control's answer to PATH_ASKED; who asked in the same moment shares it. */
struct gate_answer {
    _Atomic uint32_t refs;
    unsigned status; /* 0: `fault` */
    struct str type; /* of the body; static */
    struct buf body;
    struct fault fault;
};

/* ---- mails to a lane ---- */
enum lane_mail_kind {
    LANE_SNAPSHOT, /* struct lane_mail: the new picture, a reference */
    LANE_CONN,     /* a connection that another lane accepted */
    LANE_LISTENER, /* poll it; fd is a duplicate of the lane's own */
    LANE_UNLISTEN, /* stop polling the one with this id */
    LANE_GRANT,    /* a ticket's turn: `cell` has a slot reserved for it (a reference) */
    LANE_REFUSE,   /* a ticket's end: `fault` */
    LANE_ANSWER,   /* to CONTROL_ASK */
    LANE_EJECTED,  /* `engine` stopped answering: requests without a byte may go elsewhere */
    LANE_DRAIN,    /* stop accepting, finish what is there, tell control */
    LANE_CUT,      /* end every request now */
    LANE_STOP,     /* leave the loop */
};

/* Why load refused a ticket. */
enum shed_for {
    SHED_QUEUE_LENGTH, /* as many as queue_length waited */
    SHED_TOO_LATE,     /* its turn would have come after queue_ms */
    SHED_QUEUE_MS,     /* it waited for so long */
};

struct lane_mail {
    struct mail mail;
    struct snapshot *snap;
    bool tell; /* SNAPSHOT: control waits to hear that it was taken */
    struct ev_fd fd;
    struct addr peer;
    uint32_t listener; /* id */
    uint32_t tried;    /* LANE_CONN: lanes that had nothing to shed for it */
    uint64_t ticket;
    uint32_t engine; /* id */
    struct cell *cell;
    enum fault_code fault;
    enum shed_for shed_for; /* LANE_REFUSE by FAULT_overloaded */
    uint32_t position;      /* the place in the queue that it had, or would have had */
    uint32_t retry_after_s;
    struct gate_answer *answer; /* to `ticket`; a reference */
};

/* ---- mails to control ---- */
enum control_mail_kind {
    CONTROL_TICKET,      /* lane, ticket, model, kinds, session, tried: wait for a slot */
    CONTROL_TICKET_LATE, /* lane, ticket: it waited for queue_ms; answered like a ticket */
    CONTROL_TICKET_GONE, /* lane, ticket: its request has ended */
    CONTROL_SLOT_FREE,   /* engine: a slot came free while somebody waits */
    CONTROL_BREAKER,     /* engine: its door opened, or the circuit is closed again */
    CONTROL_HANDICAP,    /* engine: it has one, to be halved */
    CONTROL_DRAINED,     /* lane: no request is left */
    CONTROL_TAKEN,       /* lane: it works by the snapshot that was marked `tell` */
    CONTROL_ASK,         /* lane, ticket (the request's id), path: a PATH_ASKED */
};

struct control_mail {
    struct mail mail;
    uint32_t lane;
    uint64_t ticket;
    uint32_t engine;
    uint32_t kinds;
    enum cache_class wanted;
    bool has_session;
    uint64_t session; /* see struct select_facts */
    uint32_t tried[SELECT_TRIED_MAX];
    uint32_t ntried;
    struct str model; /* owned by the mail: mem_free; p NULL: none is named */
    struct str path;  /* so is this */
    struct list node; /* of ASK: in control->questions */
};

/* Heap mails, zeroed. */
struct lane_mail *gate_lane_mail(enum lane_mail_kind kind);
struct control_mail *gate_control_mail(enum control_mail_kind kind);
/* What the lane has not moved of it goes, too: the descriptor, the answer. */
void gate_lane_mail_free(struct lane_mail *m);
void gate_control_mail_free(struct control_mail *m);
/* NULL is fine. */
void gate_answer_unref(struct gate_answer **a);
void gate_post_lane(struct gate *g, uint32_t lane, struct lane_mail *m);
void gate_post_control(struct gate *g, struct control_mail *m);
