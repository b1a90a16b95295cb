/* SPDX-License-Identifier: Apache-2.0
 *
 * sources_priv.h - sources from inside: sources.c (the table, and members from it), sync.c (the
 * registry).
 */
#pragma once
#include "base/metrics.h"
#include "gate/control_priv.h"
#include "gate/sources.h"

#define SOURCES_METRICS(X)                                                                         \
    X(COUNTER, syncs, "inferd_syncs_total", "Lists of services asked of the registry.", NONE, , )  \
    X(COUNTER, failures, "inferd_sync_failures_total",                                             \
      "Lists of services that did not come, or could not be read.", NONE, , )                      \
    X(COUNTER, skipped, "inferd_sync_skipped_total",                                               \
      "Services left out of a list because what it says of them is wrong.", NONE, , )              \
    X(COUNTER, ignored, "inferd_limit_entries_total",                                              \
      "Services left out because the table was full.", NONE, , )                                   \
    X(GAUGE, rows, "inferd_entries", "Rows of the table of services, by origin.", NONE, [2],       \
      &label_origin)                                                                               \
    X(GAUGE, absent, "inferd_entries_absent", "Rows that the registry's last list did not name.",  \
      NONE, , )

struct sources_counts {
    SOURCES_METRICS(METRICS_FIELD)
};

struct sources {
    struct control *control;
    const struct sources_conf *conf;
    struct entries *table;
    struct entry_list *list; /* as it is told */
    struct sources_counts counts;
    uint32_t ignored; /* of the last list of each source together */
    /* sync.c */
    struct client *client;
    struct pool *pool;
    struct fetch *fetch;
    struct reading *reading; /* of what it brought */
    struct deadline next;
    uint64_t began_ms;  /* the last question */
    bool fetched;       /* a list has come */
    size_t fetched_n;   /* its elements */
    uint64_t noted;     /* a mark of what was noted about it */
    const char *failed; /* why the last question was in vain; NULL: it was not */
};

/* What a list did to the table becomes members, and is told. */
void sources_settle(struct sources *s, const struct entries_news *news);

void sync_start(struct sources *s);
void sync_stop(struct sources *s);
