/* SPDX-License-Identifier: Apache-2.0
 *
 * member.h - one engine as control knows it: who it is, what each source says of it, and what is
 * under way to find out more. Made and ended by member.c, its tests are probe.c's, its open door is
 * door.c's. Control's thread only; what lanes see of it is a `struct engine` in each snapshot, and
 * its cell.
 */
#pragma once
#include "base/list.h"
#include "ev/deadline.h"
#include "fleet/health.h"
#include "fleet/snapshot.h"
#include "link/link.h"
#include "link/ring.h"
#include "net/fetch.h"

struct control;     /* gate/control_priv.h */
struct engine_conf; /* supervise/options.h */
struct member;
/* An engine's answer to a question, or that there is none. */
typedef void probe_answer_fn(struct member *m, const struct fetch_reply *r);

/* One engine as control knows it; becomes a `struct engine` in each snapshot while it has a place.
 */
struct member {
    struct list node; /* in control->members */
    struct control *control;
    uint32_t id, slot;
    enum engine_origin origin;
    enum engine_kind kind;
    bool kind_fixed;                 /* by the configuration */
    char *name, *url_text, *api_key; /* api_key may be NULL */
    struct url at;                   /* into url_text */
    uint32_t weight;
    enum cache_class cache;
    bool absent;   /* no entry of it is in its source's last list */
    bool of_table; /* an engine of the router's table: sources.c makes and ends it */
    struct cell *cell;
    struct str *models, *model_json; /* owned texts */
    uint32_t nmodels;
    bool models_fixed; /* by the configuration */
    bool models_known;
    bool no_list_told;       /* in the log: it answers, but not with a list of models */
    bool asked;              /* for its models, and whatever came of it is known */
    struct str *passthrough; /* into the settings */
    uint32_t npassthrough;
    bool stays;            /* found again in the configuration that is being applied */
    struct joined *joined; /* its record in the registry: join.c; NULL: none */
    /* units */
    const struct engine_conf *conf; /* NULL for others; into the settings */
    struct link_unit unit;
    struct ring *ring;
    struct pool *pool; /* control's connections to the engine */
    /* tests: probe.c */
    char *probe_text;        /* what probe_at points into; NULL: the engine itself is asked */
    struct url probe_at;     /* what tests ask, as it stands: the prefix is all of the path */
    struct pool *probe_pool; /* to there */
    struct fetch *fetch;     /* the question under way, one at most */
    probe_answer_fn *on_answer;
    struct deadline next_test;
    struct list turn; /* while queued: in control->tests.waiting */
    bool queued;
    bool in_round;            /* control->round waits for its test: round.c */
    bool doubtful;            /* which places the question counts for */
    bool second_path;         /* /health was 404, /v1/models is asked */
    struct str probe_path;    /* into the settings; n 0: the usual one */
    uint64_t tested_since_ms; /* when the tests of this generation began */
    uint64_t began_ms;        /* the last test */
    uint64_t models_due_ms;   /* when its models are to be asked next */
    struct health health;     /* what the tests say; its word is CELL_PROBED's */
    uint32_t silent;          /* units: tests in a row without an answer */
    uint64_t tests, tests_failed, ejections;
    /* the breaker */
    struct deadline reopen; /* until its open door is tried */
    struct deadline lapse;  /* of a trial that nothing is heard of */
    uint32_t unheard_ms;    /* so long already, in whole seconds */
    bool deaf;              /* nobody answered the last knock */
    struct call *knock;     /* which is being done */
    uint32_t openings;      /* of the door, in a row */
};

/* A usual place where nobody was found is a member that is looked at, and no engine. */
static inline bool member_is_engine(const struct member *m)
{
    return m->origin != ENGINE_DISCOVERED || m->nmodels > 0;
}
