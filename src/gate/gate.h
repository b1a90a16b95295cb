/* SPDX-License-Identifier: Apache-2.0
 *
 * gate.h - what lanes and control share. One `struct gate` a process;
 * its plain members are written before the first lane starts. Everything else between threads is a
 * mail (gate/mail.h), a snapshot or a cell (fleet/).
 */
#pragma once
#include "base/fault.h"
#include "ev/listener.h"
#include "ev/mailbox.h"
#include "fleet/options.h"
#include "fleet/select.h"
#include "fleet/snapshot.h"
#include "gate/budget.h"
#include "gate/clients.h"
#include "gate/failures.h"
#include "gate/keys.h"
#include "gate/options.h"
#include "gate/rules.h"
#include "proto/http1.h"

enum { GATE_LANES_MAX = 64 };

struct lane;
struct metrics;
struct settings;

/* A listening address as requests see it. */
struct gate_listen {
    uint32_t id; /* of the socket; the same over reloads that keep it */
    struct addr addr;
    const struct listen_conf *conf; /* hosts, origins */
};

/* Which engines get the client's Authorization; one of ours goes before it. */
enum forward_authorization {
    AUTHORIZATION_NEVER,
    AUTHORIZATION_STATIC, /* those that the configuration lists (ENGINE_STATIC) */
    AUTHORIZATION_ALWAYS,
};

/* The settings that hold with one snapshot; reached through snapshot.conf. Immutable. */
struct gate_conf {
    _Atomic uint32_t refs;
    const struct limits *limits;
    const struct affinity_conf *affinity;
    enum balance balance;
    uint64_t static_above; /* bytes: longer requests are for engines with a static cache */
    const struct retry_conf *retry;
    const struct breaker_conf *breaker;
    struct keyring *keys;                /* NULL: none are configured, and none are asked for */
    const struct addr_net_list *trusted; /* proxies whose X-Forwarded-For is believed; or NULL */
    uint32_t failures_per_s;             /* of one address */
    enum forward_authorization authorization;
    struct gate_listen *listens;
    uint32_t nlistens;
    void *owner; /* what keeps the pointers alive */
    void (*owner_unref)(void *owner);
};

struct gate_conf *gate_conf_ref(struct gate_conf *c);
void gate_conf_unref(void *c);
/* The conf of a socket; NULL when a reload removed it (its connections live on until they end). */
const struct gate_listen *gate_conf_listen(const struct gate_conf *c, uint32_t id);

/* What a path is. */
enum path_class {
    PATH_UNKNOWN,   /* 404 */
    PATH_OWN,       /* answered here, GET and HEAD */
    PATH_OPEN,      /* the same, and needs no key */
    PATH_INFERENCE, /* POST, JSON, goes to an engine of the model */
    PATH_MANAGE,    /* an engine's management: 403 unless an engine passes it through */
    PATH_ASKED,     /* answered by control, which knows what no snapshot shows; GET and HEAD */
    PATH_ANY,       /* any method and body, goes to an engine as it is */
};

static inline bool path_is_own(enum path_class c)
{
    return c == PATH_OWN || c == PATH_OPEN || c == PATH_ASKED;
}

/* One own endpoint's question; the answer is JSON unless the endpoint says otherwise. */
struct gate_own {
    const struct snapshot *snap;
    const struct entry_list *entries; /* of PATH_ASKED: the router's table, else empty */
    const struct key *key;            /* only what it may use is told; NULL: everything */
    struct str path;
    uint64_t wall_s;
    bool draining;
    bool admin; /* the admin listener asks: its paths exist too */
    /* of PATH_ASKED only */
    struct str registry_url; /* p NULL: none */
    struct metrics *metrics;
    struct str *type; /* of the answer: JSON unless it is set */
};

/* The layer below (api/), handed down at start. Called on lanes and on control; pure. */
struct gate_api {
    /* *kinds: bits of the engine kinds that speak an inference path. */
    enum path_class (*classify)(struct str path, uint32_t *kinds);
    /* The i-th row of the table of paths; one that ends in '/' stands for all below it. False:
     * there are no more. */
    bool (*path)(size_t i, struct str *path, enum path_class *c);
    /* Appends the body; returns the status, 0 with *f filled for a fault. */
    unsigned (*own)(const struct gate_own *q, struct buf *out, struct fault *f);
    /* Appends an error body. */
    void (*render_fault)(const struct fault *f, struct buf *out);
    /* Appends the event that ends a broken stream of that path, behind so many events. */
    void (*render_event)(const struct fault *f, struct str path, uint64_t events, struct buf *out);
};

struct gate {
    const struct gate_api *api;
    const struct gate_rules *rules;
    struct mailbox *control; /* where lanes post */
    struct lane *lanes[GATE_LANES_MAX];
    uint32_t nlanes;
    uint64_t seed;             /* of hash maps */
    struct clients *clients;   /* connections of each address; NULL: nobody counts them */
    unsigned fd_ceiling;       /* lanes accept below it; 0: no reserve for others */
    uint32_t id_prefix;        /* of request ids, differs per process */
    _Atomic uint64_t buffered; /* request body bytes held, all lanes */
    _Atomic uint64_t next_id;  /* of requests */
    struct failures failures;  /* of clients without a right key */
    struct budget budgets[GATE_LANES_MAX]; /* of further attempts, a shard a lane */
    _Atomic bool draining; /* /ready says no; after drain_delay_ms nothing is accepted */
};
