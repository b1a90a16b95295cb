/* SPDX-License-Identifier: Apache-2.0
 *
 * control_priv.h - control from inside: control.c (settings, sockets, draining), member.c (members
 * and snapshots), probe.c and round.c (tests), learn.c (lists of models, discovery), door.c (the
 * breaker), join.c (a registry), face.c, admin.c, report.c.
 */
#pragma once
#include "base/metrics.h"
#include "base/trace.h"
#include "ev/deadline.h"
#include "gate/control.h"
#include "gate/join_priv.h"
#include "gate/mail.h"
#include "gate/member.h"
#include "gate/tally.h"
#include "gate/tickets.h"
#include "net/server.h"

/* A socket of a configuration. */
struct control_listener {
    struct link_listener is;
    uint32_t generation; /* the last one that names it */
    struct ev_fd fd;
    bool open;                 /* lanes, or the admin server, poll it */
    struct listener *listener; /* control's own; NULL for those of others */
};

enum { CONTROL_LISTENERS_MAX = 68 };

struct control {
    struct gate *gate;
    struct loop *loop;
    const struct control_ops *ops;
    void *ctx;
    struct mailbox *box;
    struct log_writer *log;
    struct trace trace;
    struct link_counts counts;             /* the master's */
    uint64_t accept_pauses, admin_refused; /* of the admin side */
    struct metrics *metrics;
    struct chunk_pool chunks;
    struct arena_cache arenas;
    struct client *client;
    struct tickets *tickets;
    /* configurations */
    struct control_settings settings; /* those that hold; owner NULL before the first */
    struct gate_conf *conf;           /* of `settings` */
    uint32_t untaken_generation;
    uint32_t untaken; /* lanes that do not work by it yet; who is above is told when all do */
    struct tally_names *key_names;
    struct control_listener listeners[CONTROL_LISTENERS_MAX];
    unsigned nlisteners;
    /* the fleet */
    struct list members;
    struct sources *sources; /* NULL without a table of services */
    uint32_t last_id;
    struct {
        uint32_t n;     /* given out so far, or free */
        uint32_t *free; /* of members that went */
        uint32_t nfree, room;
    } slots;             /* members' */
    uint64_t generation; /* of snapshots */
    struct snapshot *snap;
    struct deadline publish; /* coalesces membership changes */
    struct deadline discover;
    struct {
        struct list waiting[2]; /* members whose test has no place yet; [1]: doubtful ones */
        uint32_t busy[2];       /* questions under way */
        struct deadline next;
    } tests;
    struct {
        struct deadline next;
        bool under_way, reported;
        bool changed;      /* some word, since the last report */
        uint32_t left;     /* members whose test it waits for */
        uint32_t good, of; /* as the last report had them */
        uint64_t began_ms;
    } round;
    struct deadline halve; /* of handicaps, while there are any */
    /* draining */
    struct deadline drain_delay, drain_limit;
    uint32_t drained; /* lanes that have */
    bool cutting;
    bool closing;      /* being destroyed: mails are dropped */
    bool finished;     /* every lane has drained */
    bool told;         /* who is above knows */
    struct join *join; /* the registry that this machine's engines are in: join.c */
    struct server *face;
    /* admin */
    struct server *admin;
    struct list asks; /* admin requests that wait for the master */
    struct {
        struct list waiting; /* CONTROL_ASK */
        struct deadline turn;
    } questions;       /* of lanes: answer.c */
    struct list tails; /* log readers that follow */
    struct deadline tail_tick;
};

/* control.c */
void control_log_member(struct control *c, enum log_level level, const struct member *m,
                        const char *what);

/* A server on control's loop. */
void control_serve(struct control *c, const struct exchange_owner *owner, bool host_optional,
                   struct server **ret);
/* What had to go before the end has gone. */
void control_left(struct control *c);

/* member.c */
struct member *member_create(struct control *c, enum engine_origin origin, struct str name,
                             struct str url);
void member_destroy(struct member **m);
struct member *member_by_unit(struct control *c, uint32_t unit);
struct member *member_by_name(struct control *c, struct str name);
/* Applies the members' part of a configuration. */
void members_configure(struct control *c);
void members_unit(struct control *c, const struct link_unit *u, struct ev_fd *ring);
void members_unit_gone(struct control *c, uint32_t id);
/* Membership or models changed: a new snapshot within 5 ms. */
void members_changed(struct control *c);
/* Builds and hands out a snapshot now. */
void members_publish(struct control *c);
/* The same; each lane answers with CONTROL_TAKEN. */
void members_publish_told(struct control *c);
/* An engine's state changed: tickets may move. */
void member_state(struct control *c, struct member *m, enum cell_source source,
                  enum cell_verdict v);
/* Takes the ids (and whole objects) of an OpenAI list. False when it is none. */
bool member_set_models(struct member *m, struct str json);
/* The configuration's, if it names any; else they are learnt. */
void member_fix_models(struct member *m, const struct str_list *models);
/* These, and nobody is asked. */
void member_name_models(struct member *m, const struct str *models, uint32_t n);
/* Its models, or which program it is, are asked from itself. */
bool member_learns(const struct member *m);
/* A question for its models has had an outcome: who waits for an unknown model may be told. */
void member_note_asked(struct member *m);

/* probe.c */
/* Begins its schedule, or begins it anew. */
void probe_start(struct member *m);
/* The end of it, or its address is another one. */
void probe_stop(struct member *m);
/* True when tests say something about it. */
bool probe_tests(const struct member *m);
/* From now on its tests are a GET of this URL, over connections of their own, and not of the
 * engine; "none": there are no tests. -E_SYNTAX, -E_UNSUPPORTED with *why a static sentence. A
 * change is tested at once. */
int probe_aim(struct member *m, struct str url, const char **why) MUSTCHECK;
/* Tests it now, unless that is under way; false when it is not tested. */
bool probe_now(struct member *m);
/* Control's connections to the engine; NULL while nobody knows where it is. */
struct pool *probe_pool(struct member *m);
/* No question may be under way. */
void probe_ask_models(struct member *m, probe_answer_fn *fn);

/* round.c */
/* Begins the rounds of tests, if the rules have them and they have not begun. */
void rounds_start(struct control *c);
void rounds_stop(struct control *c);
/* A member's test has had an outcome, or will have none. */
void round_tested(struct member *m);
/* What a test says of it has changed. */
void round_changed(struct control *c);

/* learn.c */
/* Takes what a list of models tells. */
void learn_models(struct member *m, const struct fetch_reply *r);
/* Looks for engines in the usual places, if the configuration says so. */
void discover_start(struct control *c);
/* One that was found is there no more. */
void discover_lost(struct member *m);

/* door.c */
/* A lane says so: the engine's door opened, or its circuit is closed again. */
void door_moved(struct control *c, uint32_t engine);
/* Knocks now, if its door is open: who opens may have one request. */
void door_try(struct member *m);
/* It serves (again): slowly at first. */
void door_returned(struct member *m);
/* Some cell has a handicap that is to be halved. */
void door_handicapped(struct control *c);
/* The member goes, or has a new cell. */
void door_forget(struct member *m);

/* answer.c */
/* Takes a CONTROL_ASK, answers it in the next turn. */
void answer_ask(struct control *c, struct control_mail **m);
/* Drops those that wait. */
void answer_stop(struct control *c);

/* admin.c */
void admin_start(struct control *c);
void admin_stop(struct control *c);
void admin_accept(struct control *c, struct ev_fd *fd, const struct addr *peer);
void admin_answer(struct control *c, uint32_t ticket, int err, struct str text);
