/* SPDX-License-Identifier: Apache-2.0
 *
 * registrar.h - keeps names registered at one registry (fabric.md 3.3, 4.6): POSTs a record when
 * told, beats every interval and at once when the status changes, POSTs again when the registry
 * says 404 or cannot be had, DELETEs what is dropped.
 *
 *   registrar_create(loop, &conf, &r);
 *   registrar_add(r, STR("a-server"), ctx, &n);
 *   registrar_put(n, &record, STR("running"));       POST, now
 *   registrar_set_status(n, STR("restarting"));      a beat, now
 *   registrar_drop(&n);                              DELETE, now
 *   registrar_leave(r, on_left, ctx);                DELETE of all
 *   registrar_destroy(&r);
 *
 * Names are independent: each has at most one call under way, of 5 s at most (connect: 2 s), and
 * waits for nobody else's unless 64 are under way. A change during a call waits until that has
 * ended, so that the registry hears things in their order, but never longer than 500 ms: then the
 * call is given up. While a record is not registered nothing beats: a POST always comes before the
 * first beat about it. The token goes to this registry and nowhere else; redirects are failures.
 *
 * Loop thread only. No callback runs inside a call of the owner's.
 */
#pragma once
#include "base/chunk.h"
#include "base/metrics.h"
#include "conf/url.h"

struct loop;           /* ev/loop.h */
struct registrar;      /* opaque, one registry */
struct registrar_name; /* opaque, one name there */

#define REGISTRAR_METRICS(X)                                                                       \
    X(COUNTER, registrations, "inferd_registrar_registrations_total",                              \
      "Records that a registry took from us.", NONE, , )                                           \
    X(COUNTER, beats, "inferd_registrar_beats_total", "Heartbeats that a registry took from us.",  \
      NONE, , )                                                                                    \
    X(COUNTER, unknown, "inferd_registrar_unknown_total",                                          \
      "Heartbeats that a registry answered by 404: the record was sent again.", NONE, , )          \
    X(COUNTER, failures, "inferd_registrar_failures_total",                                        \
      "Calls to a registry that failed or were refused.", NONE, , )                                \
    X(GAUGE, registered, "inferd_registrar_registered", "Names that a registry has from us.",      \
      NONE, , )

/* Its owner's, so that it outlives a registrar. */
struct registrar_counts {
    REGISTRAR_METRICS(METRICS_FIELD)
};
void registrar_register(const struct registrar_counts *counts, struct metrics *m);

enum registrar_call {
    REGISTRAR_NOTHING, /* none is under way or due */
    REGISTRAR_POST,
    REGISTRAR_BEAT,
    REGISTRAR_DELETE,
};

enum registrar_news {
    REGISTRAR_NO_NEWS,    /* never told */
    REGISTRAR_REGISTERED, /* a POST was taken */
    REGISTRAR_UNKNOWN,    /* 404 to a beat: the record is sent again at once */
    REGISTRAR_FAILED,     /* a call failed, and not as the one before it: told once per change */
    REGISTRAR_RECOVERED,  /* a beat was taken behind failures */
};

/* Good during the callback. */
struct registrar_event {
    enum registrar_news news;
    struct str name;
    enum registrar_call call;
    unsigned status; /* of the registry's answer, 0 without one */
    int err;         /* without an answer: why */
    void *ctx;       /* of the name */
};
typedef void registrar_event_fn(void *ctx, const struct registrar_event *event);

struct registrar_conf {
    struct chunk_pool *chunks;
    struct url url;   /* of the registry, URL_HTTP; copied. Its prefix stands before "/services" */
    struct str token; /* n 0: none; copied */
    uint32_t interval_ms; /* between beats, from the start of one to that of the next */
    bool one_try;         /* a POST that fails is not tried again until a beat is answered 404 */
    bool bare_beats;      /* beats have no body, no length and no type: the status is not said */
    registrar_event_fn *on_event; /* of a name that was dropped none follows */
    void *ctx;
    struct registrar_counts *counts;
};

void registrar_create(struct loop *l, const struct registrar_conf *conf, struct registrar **ret);
/* All names go without a word to the registry; owners' pointers to them are void. NULL is fine. */
void registrar_destroy(struct registrar **r);

/* 1..256 bytes, not there already. Nothing is sent before registrar_put(). */
void registrar_add(struct registrar *r, struct str name, void *ctx, struct registrar_name **ret);

/* Within the bounds that a registry has (fabric.md 2.7): anything longer is a bug. */
struct registrar_record {
    struct str host, hostname, url;
    uint16_t port;
    struct str metadata; /* a JSON object */
    int64_t weight;      /* below 0: none is said */
};
/* Registers it or replaces what is registered, copied. The status goes with it. */
void registrar_put(struct registrar_name *n, const struct registrar_record *record,
                   struct str status);
/* What beats and later POSTs say. The first one is registrar_put()'s. */
void registrar_set_status(struct registrar_name *n, struct str status);
/* The registry has it, as far as we know. */
bool registrar_is_registered(const struct registrar_name *n);
/* DELETE, for 1 s at most, if it may be registered. NULL is fine. */
void registrar_drop(struct registrar_name **n);

/* Drops all names, in parallel; then, after 1 s at most, `done`, once. No registrar_add() behind
 * it; owners' pointers to names are void. */
void registrar_leave(struct registrar *r, void (*done)(void *ctx), void *ctx);
