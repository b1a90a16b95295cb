/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshot.h - one immutable picture of the fleet: names, models, weights, addresses, indexes.
 * Built by control, handed to every lane, pinned by each request. What changes from second to
 * second is in the cells (fleet/cell.h), so a health flap makes no new snapshot. Reference counted
 * across threads; lanes hold one reference and count their requests without atomics.
 */
#pragma once
#include "base/arena.h"
#include "base/map.h"
#include "conf/engine_kind.h"
#include "conf/url.h"
#include "fleet/entry.h"

/* Where an engine came from. */
enum engine_origin {
    ENGINE_STATIC,     /* [[remote]] */
    ENGINE_UNIT,       /* [[engine]], or the built-in mock */
    ENGINE_DISCOVERED, /* found on loopback */
    ENGINE_REGISTERED, /* named by the registry, and by no file */
};

/* One engine. Slices live in the snapshot's arena. */
struct engine {
    uint32_t id;   /* never reused while the process lives */
    uint32_t slot; /* dense: lanes index their pools with it; reused after the engine is gone */
    enum engine_origin origin;
    enum engine_kind kind; /* engine_kind_unset: not known (yet) */
    struct str name;
    struct url at;      /* where it answers */
    struct str url;     /* the same, as text */
    struct str api_key; /* sent as its bearer token; p NULL: none */
    uint32_t weight;    /* 0: nothing new, while another one may have it */
    uint32_t share;     /* the weight, at least 1; what selection counts with */
    uint8_t rank;       /* see select.h */
    enum cache_class cache;
    bool absent;            /* its source does not name it just now: the last to be asked */
    struct str *models;     /* by the names it knows */
    struct str *model_json; /* its own object of each in its model list, completed with `object`,
                               `created` and `owned_by`, keys sorted; n 0: none */
    uint32_t nmodels;
    struct str *passthrough;
    uint32_t npassthrough;
    uint32_t label;    /* of its name in metrics; 0: of "other" */
    uint64_t half;     /* of its name, for the sessions it bids for: see rendezvous.h */
    struct cell *cell; /* a reference */
};

/* Requests may go there now: it is good, and it is known to have a model. One that nobody has heard
 * of yet is no use to anybody, whatever its cell says. */
static inline bool snapshot_serves(const struct engine *e)
{
    return e->nmodels > 0 && cell_state(e->cell) == CELL_GOOD;
}

/* All engines that list one model, sorted by name. */
struct model {
    struct str name;
    const struct engine **engines;
    uint32_t nengines;
    uint32_t mark;       /* of its name, the same in every snapshot; never 0 */
    uint32_t label;      /* of its name in metrics; 0: of "other" */
    uint32_t credit;     /* where its engines' credits begin in a lane's table, see select.h */
    bool ranked;         /* they are not all of one rank and class */
    bool classed;        /* some say their class: credits are by the class that is wanted, too */
    struct crowd *crowd; /* when they are many, see crowd.h; else NULL */
    uint32_t crowd_credit;
};

struct snapshot {
    _Atomic uint32_t refs;
    uint64_t generation;
    struct arena arena;
    struct engine *engines; /* sorted by name */
    uint32_t nengines;
    uint32_t slots;        /* one more than the highest engine.slot */
    struct model **models; /* sorted by name */
    uint32_t nmodels;
    uint32_t credits;         /* size of a lane's credit table */
    uint32_t crowd;           /* credits of the largest model that is a crowd */
    struct map by_model;      /* name to struct model */
    struct model *all;        /* every engine, for requests that name no model; NULL: not wanted */
    bool classed;             /* some engine says its class */
    struct map aliases;       /* alias to struct alias */
    struct map passthrough;   /* path to struct engine */
    struct alias *alias_list; /* sorted by name */
    uint32_t naliases;
    bool
        unsettled; /* some engine has not said yet which models it has: an unknown model may come */
    void *conf;    /* the settings that hold with it; its owner's type, counted by the hooks */
    void (*conf_unref)(void *conf);
};

/* One of the models that a name stands for. */
struct target {
    struct str model; /* may be a name with several targets itself, else it stands for itself */
    uint32_t weight;
    uint64_t half; /* of its name, see rendezvous.h */
};

/* A name that stands for other models, or for itself with others to fall back to. */
struct alias {
    struct str name;
    struct target *targets;
    uint32_t ntargets; /* 1 to PLAN_TARGETS_MAX; for itself: 1, the name */
    struct str *fallbacks;
    uint32_t nfallbacks;
    uint32_t in_turn; /* bit per target that has a share; never 0 */
    uint32_t credit;  /* where its targets' credits begin in a lane's table */
};

static inline bool alias_is_itself(const struct alias *a)
{
    return a->ntargets == 1 && str_eq(a->targets[0].model, a->name);
}

/* A snapshot in the making: add engines and aliases, then seal. All slices are copied. */
struct snapshot *snapshot_begin(uint64_t generation, uint64_t map_seed);
/* Takes a reference on e->cell, computes `half`, `share` and `rank`. Of two engines that claim one
 * passthrough path the first keeps it.
 */
void snapshot_add(struct snapshot *s, const struct engine *e);
/* `targets`, `fallbacks` and their counts are read; without targets it stands for itself. They may
 * be aliases that were or will be added; chains of single targets are followed when sealing. */
void snapshot_add_alias(struct snapshot *s, const struct alias *a);
/* One that stands for one. */
void snapshot_alias(struct snapshot *s, struct str name, struct str target);
void snapshot_seal(struct snapshot *s);

struct snapshot *snapshot_ref(struct snapshot *s);
/* NULL is fine; any thread. */
void snapshot_unref(struct snapshot **s);

/* Before sealing: requests may name no model. */
void snapshot_add_nameless(struct snapshot *s);
/* NULL when no engine lists it. No name (p NULL) is every engine, where that may be. */
const struct model *snapshot_model(const struct snapshot *s, struct str name);
