/* SPDX-License-Identifier: Apache-2.0
 *
 * prober.h - asks services how they are: all of them in rounds, one when somebody wants to know.
 * A probe is a GET of the record's health path, decided by its status: 2xx is good, anything else,
 * an error or the timeout is bad. What it finds goes into the record (records_set_probed()), unless
 * the record was registered anew or aimed elsewhere meanwhile. Loop thread only.
 *
 * Rounds never overlap: the pause between two begins when the last probe of a round is over.
 */
#pragma once
#include "base/chunk.h"
#include "base/metrics.h"
#include "ev/loop.h"
#include "store/records.h"

struct prober; /* opaque */

#define PROBER_METRICS(X)                                                                          \
    X(COUNTER, probes, "inferd_registry_probes_total", "Probes of services.", NONE, , )            \
    X(COUNTER, bad, "inferd_registry_probe_failures_total",                                        \
      "Probes of services that found them "                                                        \
      "unhealthy.",                                                                                \
      NONE, , )                                                                                    \
    X(COUNTER, dropped, "inferd_registry_probes_dropped_total",                                    \
      "Results of probes that were not used: the record was replaced or removed meanwhile.", NONE, \
      , )                                                                                          \
    X(COUNTER, rounds, "inferd_registry_probe_rounds_total", "Rounds of probes that ended.", NONE, \
      , )                                                                                          \
    X(GAUGE, running, "inferd_registry_probes_running", "Probes under way.", NONE, , )             \
    X(HISTOGRAM, round, "inferd_registry_probe_round_seconds", "What a round took.", SECONDS, , )

struct prober_counts {
    PROBER_METRICS(METRICS_FIELD)
};

struct prober_conf {
    struct records *records;
    struct chunk_pool *chunks;
    uint64_t interval_ms; /* between rounds, and before the first */
    uint32_t timeout_ms;  /* of one probe, all of it */
    /* The probed state of a record has just changed. May be NULL. */
    void (*on_change)(void *ctx, const struct record *r);
    void *ctx;
};

enum {
    PROBER_AT_ONCE = 64, /* of a round */
    PROBER_ASKED = 512,  /* for those who asked, beside the round's */
};

void prober_create(struct loop *l, const struct prober_conf *conf, struct prober **ret);
/* Who waits is told (gone). NULL is fine. */
void prober_destroy(struct prober **p);
void prober_register(const struct prober *p, struct metrics *m);

/* Somebody who wants to know. Embedded. */
struct prober_wait {
    struct list node;
    void (*fn)(struct prober_wait *w); /* the record may be gone or another by now */
};
/* Probes the record now, or waits for the probe that is on its way; success counts as a heartbeat.
 * w->fn runs later. -E_BUSY: too many at once. */
int prober_ask(struct prober *p, struct record *r, struct prober_wait *w) MUSTCHECK;
/* w->fn will not run. Harmless when it has. */
void prober_forget(struct prober_wait *w);
