/* SPDX-License-Identifier: Apache-2.0
 *
 * registry_priv.h - the registry's files to each other: one request (`ask`), and the parts that
 * read bodies and send lists.
 */
#pragma once
#include "api/registry.h"
#include "base/fault.h"
#include "store/vetting.h"

enum {
    REGISTRY_BODY_BYTES = 2 << 20,
    REGISTRY_HELD_BYTES = 256 << 20, /* lists that slow readers may hold beside the current */
    REGISTRY_NAMES_ASKED = 64,       /* registrations that wait for a name's address at once */
};

enum registry_route {
    REGISTRY_UNKNOWN,
    REGISTRY_HEALTH,
    REGISTRY_STATS,
    REGISTRY_SERVICES,
    REGISTRY_SERVICE,
    REGISTRY_SERVICE_HEALTH,
    REGISTRY_HEARTBEAT,
    REGISTRY_METRICS,
    REGISTRY_ROUTES,
};

#define REGISTRY_METRICS(X)                                                                        \
    X(COUNTER, requests, "inferd_registry_requests_total",                                         \
      "Requests answered, by endpoint and status class.", NONE, [REGISTRY_ROUTES][6],              \
      &label_route, &label_class)                                                                  \
    X(COUNTER, registered, "inferd_registry_registrations_total",                                  \
      "Services registered, repeats included.", NONE, , )                                          \
    X(COUNTER, unregistered, "inferd_registry_removals_total", "Services removed on request.",     \
      NONE, , )                                                                                    \
    X(COUNTER, silent, "inferd_registry_swept_total",                                              \
      "Services removed because no heartbeat came for 300 s.", NONE, , )                           \
    X(COUNTER, beats, "inferd_registry_heartbeats_total", "Heartbeats taken.", NONE, , )           \
    X(COUNTER, odd_weights, "inferd_registry_odd_weights_total",                                   \
      "Weights ignored for their type or range.", NONE, , )                                        \
    X(COUNTER, cut_readers, "inferd_registry_cut_readers_total",                                   \
      "Readers of lists cut off because slow readers held too many old ones.", NONE, , )           \
    X(GAUGE, asking, "inferd_registry_names_asked", "Registrations that wait for an address.",     \
      NONE, , )

struct registry_counts {
    REGISTRY_METRICS(METRICS_FIELD)
};

struct registry {
    struct registry_conf conf;
    struct registry_counts counts;
    struct list readers; /* asks that send a list, oldest first */
    struct buf scratch;  /* of replies; empty between callbacks */
    uint64_t start_us;
    unsigned asking; /* names */
};

/* One request; lives in its exchange's arena. */
struct ask {
    struct registry *registry;
    struct exchange *x;
    enum registry_route route;
    struct str allow; /* of the route */
    struct str name;  /* decoded */
    bool want_body;   /* it is read, not dropped */
    struct buf body;
    struct fault fault; /* found before the body was there */
    /* POST and PUT, while names are asked for */
    struct records_fields fields;
    struct vetting *vetting;
    /* GET .../health */
    struct prober_wait wait;
    /* GET /services */
    struct list reader; /* in registry->readers */
    struct records_list *list;
    size_t at; /* bytes of it that were sent */
    struct str tail;
};

/* registry.c */
void registry_end(struct ask *a);
void registry_refuse(struct ask *a, const struct fault *f);

/* registry_list.c: the reply to GET /services; ends the ask, then or later. */
void registry_list_start(struct ask *a, struct str query);
void registry_list_go_on(struct ask *a);

/* registry_read.c; pure. `what` of a POST must be whole, of a PUT may be in part. Slices of *ret
 * live in the arena. *odd: weights that were ignored. False with *f filled. */
bool registry_read_fields(struct str body, bool whole, struct arena *arena,
                          struct records_fields *ret, unsigned *odd, struct fault *f);
/* The status that a heartbeat's body tells; p NULL when it tells none. */
struct str registry_read_beat(struct str body, struct arena *arena);
/* Where an openai-api record's babysitter would be, there is a port. */
bool registry_read_ports(bool openai, int32_t port, struct fault *f);

struct registry_filter {
    struct str status; /* p NULL: any */
    int healthy;       /* 1, 0; -1: any */
};
bool registry_read_query(struct str query, struct arena *arena, struct registry_filter *ret,
                         struct fault *f);
/* application/json or application/SOMETHING+json, whatever its parameters. */
bool registry_read_is_json(struct str content_type);
