/* SPDX-License-Identifier: Apache-2.0
 *
 * records.h - the registry's table: services by name, their heartbeats, and the lists of them as
 * JSON. Pure: it reads no clock and no socket; whoever asks says what time it is first. One thread.
 *
 *   records_at(t, loop_now_ms(l), loop_wall_us(l) / 1000000);     before anything else of a turn
 *   r = records_register(t, &fields, &record);
 *   list = records_list(t, RECORDS_HEALTHY);                       its bytes stay while it is held
 *   records_unlist(t, &list);
 *
 * Ages are counted on the monotonic clock, and only while somebody was awake to hear a heartbeat: a
 * table that nobody asked for some seconds (records_at() is due every second) forgives the gap. The
 * wall clock is only printed.
 */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "ev/addr.h"

struct records; /* opaque, the table */

enum {
    RECORDS_NAME_BYTES = 256,
    RECORDS_HOST_BYTES = 253, /* host, hostname, status */
    RECORDS_URL_BYTES = 2048,
    RECORDS_METADATA_BYTES = 256 << 10, /* serialised */
    RECORDS_WEIGHT_MAX = 1000000,
    RECORDS_LIST_BYTES = 60 << 20, /* of all records: readers of the list take 64 MiB at most */
    RECORDS_FRESH_MS = 120000,     /* a heartbeat this old says nothing any more */
    RECORDS_KEPT_MS = 300000,      /* a record is kept so long without one */
};

/* The last probe's word; informational only. */
enum records_probed {
    RECORDS_UNKNOWN, /* not probed since its registration */
    RECORDS_GOOD,
    RECORDS_BAD,
};

/* Addresses that a record's host was found to have when it was allowed: nobody asks again. */
struct records_pins {
    unsigned n;
    struct addr at[];
};

/* What a registration or a change says. Slices are borrowed for the call. */
struct records_fields {
    struct str name, host, hostname, url, status; /* p NULL: not said */
    int32_t port;                                 /* -1: not said */
    struct str metadata;                          /* compact, keys sorted; p NULL: not said */
    bool openai;                                  /* its "type" is "openai-api"; said with it */
    int32_t metadata_weight;                      /* its "weight"; -1: none; said with it */
    int32_t weight;                               /* -1: not said */
};

/* One service. Read only, outside records.c; gone after the next call that may remove it. */
struct record {
    struct str name, host, hostname, url, status;
    uint16_t port;
    bool openai;
    bool healthy; /* status is "running", and a heartbeat came within RECORDS_FRESH_MS */
    enum records_probed probed;
    uint64_t serial;       /* changes when it is registered anew, or aims elsewhere */
    uint64_t beat_s;       /* wall clock of the last heartbeat */
    uint64_t registered_s; /* wall clock */
    void *probing;         /* the prober's; NULL after each change of the serial */
    struct records_pins *host_pins, *url_pins; /* NULL: asked for by name */
    /* private */
    struct list node; /* in fresh or old, by beat_ms */
    bool fresh;
    uint64_t beat_ms; /* the table's clock */
    int32_t weight, metadata_weight;
    struct str text;     /* the whole record as JSON; owned */
    struct str metadata; /* inside `text` */
    size_t stamp_at;     /* of last_heartbeat inside `text` */
    struct {
        struct records_list *list; /* whose bytes hold `text` at `at`; compared, never followed */
        size_t at;
    } in[2];
};

/* `max`: records at most. */
struct records *records_create(size_t max) __attribute__((returns_nonnull));
void records_destroy(struct records **t);
/* Says what time it is. Neither must go back for ages to hold; the wall clock may. */
void records_at(struct records *t, uint64_t now_ms, uint64_t wall_s);

/* NULL when there is none. */
struct record *records_find(const struct records *t, struct str name);
/* The first whose name is greater; the first of all for an empty name; NULL behind the last. */
struct record *records_after(const struct records *t, struct str name);
size_t records_count(const struct records *t);
size_t records_healthy(const struct records *t);

/* A new record, or a new life of the one of that name; all fields must be said but weight. The pins
 * are taken (heap). -E_LIMIT: the table is full, or its list would be too long. */
int records_register(struct records *t, const struct records_fields *f, struct records_pins **host,
                     struct records_pins **url, struct record **ret) MUSTCHECK;
/* Changes what is said, the name apart, and counts as a heartbeat. Pins are taken when `aimed`:
 * host or url were said. -E_LIMIT as above. */
int records_change(struct records *t, struct record *r, const struct records_fields *f, bool aimed,
                   struct records_pins **host, struct records_pins **url) MUSTCHECK;
/* `status` p NULL: stays. -E_LIMIT as above (a longer status); then nothing happened. */
int records_beat(struct records *t, struct record *r, struct str status) MUSTCHECK;
void records_set_probed(struct records *t, struct record *r, enum records_probed probed);
void records_remove(struct records *t, struct record *r);
/* Removes what is silent for longer than RECORDS_KEPT_MS, the oldest first; `fn` sees each before.
 */
void records_sweep(struct records *t, void (*fn)(void *ctx, const struct record *r), void *ctx);

/* ---- lists ---- */

enum records_which {
    RECORDS_ALL,
    RECORDS_HEALTHY,
    RECORDS_OTHER, /* made for one question */
};

/* Records in the order of their names, as JSON objects with commas between them. The bytes stay as
 * long as it is held, except that heartbeats may move stamps on in place: cut only between values.
 */
struct records_list {
    struct buf bytes;
    size_t count;
    /* private */
    enum records_which which;
    unsigned held; /* by whom it was given to */
    bool current;  /* the table's own, to be given to the next who asks */
};

/* Held until records_unlist(). */
struct records_list *records_list(struct records *t, enum records_which which)
    __attribute__((returns_nonnull));
/* The same for records of this status (p NULL: any) that are healthy (1), are not (0), or any (-1).
 */
struct records_list *records_select(struct records *t, struct str status, int healthy)
    __attribute__((returns_nonnull));
void records_unlist(struct records *t, struct records_list **list);
/* Bytes of lists that are held and given to nobody any more. */
size_t records_held_bytes(const struct records *t);

/* The record as JSON, good until its next change. */
static inline struct str records_text(const struct record *r) { return r->text; }
/* "2026-11-20T21:08:53+00:00" */
void records_write_time(struct buf *out, uint64_t wall_s);
/* "1795208933.0" */
void records_write_beat(struct buf *out, const struct record *r);
const char *records_probed_text(enum records_probed probed);
