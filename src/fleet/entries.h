/* SPDX-License-Identifier: Apache-2.0
 *
 * entries.h - the router's table: what the static file and the registry name, merged by name, and
 * which of these rows are one engine. Pure: it reads no clock. Control's thread.
 *
 * A row has two sides. The file's is never removed nor re-addressed by a registry: an element of
 * the same name only adds metadata keys and models that the file lacks. A registry's side that is
 * absent from a list stays for the grace period, counted from the first list without it and ended
 * by a list: a registry that cannot be asked takes nothing away.
 *
 * Rows with one address (listing_write_address()) are one engine. Whose picture may have changed is
 * given out by entries_changed().
 */
#pragma once
#include "base/list.h"
#include "fleet/entry.h"
#include "fleet/listing.h"
#include "fleet/snapshot.h"

struct entries; /* opaque */

enum {
    ENTRIES_MAX = 10000,
    ENTRIES_LASTING_MS = 3600000, /* grace of what has metadata.static */
};

struct entries_conf {
    uint32_t most;     /* rows */
    uint32_t grace_ms; /* absent rows of the registry are kept so long */
    uint64_t seed;     /* of maps */
};

struct entries *entries_create(const struct entries_conf *conf) __attribute__((returns_nonnull));
/* Every engine must have been let go, or have no `owner`. */
void entries_destroy(struct entries **t);

/* What a list did. */
struct entries_news {
    uint32_t added, changed, removed, ignored; /* rows; ignored: beyond `most` */
    uint32_t listed;                           /* rows whose source says another word now */
};

/* The file as it is now. */
void entries_take_file(struct entries *t, const struct listing *l, struct entries_news *ret);
/* The registry's list as of now. */
void entries_take_registry(struct entries *t, const struct listing *l, uint64_t now_ms,
                           struct entries_news *ret);

/* By origin, absent ones also. */
struct entries_totals {
    uint32_t rows[2];   /* by enum entry_origin */
    uint32_t listed[3]; /* by enum entry_listed */
};
struct entries_totals entries_count(const struct entries *t);

/* ---- engines ---- */

/* All rows of one address. */
struct entries_engine {
    void *owner; /* the caller's; NULL at first */
    /* private */
    struct list changed; /* in the table's list, while to be looked at */
    struct list rows;    /* by name */
    char *address;
};

/* The next whose picture may have changed; NULL: there are no more. */
struct entries_engine *entries_changed(struct entries *t);
/* No row is left: it is to be let go with entries_forget(). */
bool entries_engine_gone(const struct entries_engine *e);
void entries_forget(struct entries *t, struct entries_engine **e);

/* What an engine is by its rows together. Texts live until the next list is taken, arrays in the
 * arena. */
struct entries_picture {
    struct str name, url; /* of the first row by name */
    struct str probe;     /* of the file's first row, else of the first */
    bool from_file;       /* some row of it is the file's */
    uint32_t weight;      /* the first one that is said, else 1 */
    enum cache_class cache;
    enum entry_listed listed; /* the best of its rows */
    struct str *models;       /* of rows that are not called unhealthy, or of all when all are */
    uint32_t nmodels;
};
void entries_picture(const struct entries *t, const struct entries_engine *e, struct arena *arena,
                     struct entries_picture *ret);

/* All rows by name, each with the cell that `cell` tells for its engine: a new list. */
struct entry_list *entries_list(const struct entries *t,
                                struct cell *(*cell)(const struct entries_engine *e))
    __attribute__((returns_nonnull));
