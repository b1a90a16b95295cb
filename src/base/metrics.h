/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.h - counters, gauges and histograms without locks, rendered as Prometheus text 0.0.4. A
 * shard is a plain struct of cells that one thread writes (relaxed load and store, no locked
 * instruction); the scraping thread sums the shards of a set. The folder that owns a set of
 * families writes it once, as a table:
 *
 *   #define GATE_METRICS(X)                                                                   \
 *       X(COUNTER, requests, "inferd_requests_total", "Requests answered.", NONE,             \
 *         [ROUTES][CLASSES], &label_route, &label_class)                                      \
 *       X(HISTOGRAM, total, "inferd_request_seconds", "Whole time.", SECONDS, , )             \
 *       X(COUNTER, engine_bytes, "inferd_engine_bytes_total", "Bytes from engines.", NONE,    \
 *         [METRICS_NAMES], &label_engine)
 *   struct gate_shard { GATE_METRICS(METRICS_FIELD) };
 *   static const struct metrics_family gate_families[] = { GATE_METRICS(GATE_ROW) };
 *     with #define GATE_ROW(...) METRICS_ROW(struct gate_shard, __VA_ARGS__)
 *
 *   metrics_count(&shard->requests[route][class]);
 *   metrics_observe(&shard->total, METRICS_SECONDS, total_us);
 *
 * Labels come from closed sets, or from a bounded table of names (engines, models) whose overflow
 * is "other". Registry and name tables belong to one thread (control); cells to their shard's
 * thread.
 */
#pragma once
#include "base/buf.h"

enum {
    METRICS_LABELS = 3,   /* of a family at most */
    METRICS_BOUNDS = 24,  /* of a histogram at most */
    METRICS_NAMES = 256,  /* values of a dynamic label, "other" included */
    METRICS_SETS = 16,    /* in a registry */
    METRICS_SHARDS = 80,  /* of a set: lanes, of which there are 64 at most, control */
    METRICS_TABLES = 4,   /* dynamic labels in a registry */
    METRICS_SOURCES = 16, /* collectors in a registry */
};

enum metrics_type {
    METRICS_COUNTER,   /* only grows; summed over shards */
    METRICS_GAUGE,     /* signed; summed over shards */
    METRICS_HISTOGRAM, /* buckets, sum, count; summed over shards */
};

/* Bounds of a histogram's buckets: what goes in, what is printed. */
enum metrics_scale {
    METRICS_NONE,    /* no histogram */
    METRICS_SECONDS, /* microseconds in, seconds printed: 1 ms to 10 minutes */
    METRICS_DELAY,   /* microseconds in, seconds printed: 10 us to 1 s */
    METRICS_BYTES,   /* bytes: 256 to 64 MiB */
    METRICS_COUNT,   /* tokens, attempts, queue positions: 1 to 100,000 */
};

struct metrics_counter {
    uint64_t v;
};

struct metrics_gauge {
    int64_t v;
};

struct metrics_histogram {
    uint64_t bucket[METRICS_BOUNDS + 1]; /* not cumulative; the one behind the last bound is +Inf */
    uint64_t sum;                        /* in observed units */
};

/* A label: a closed set of values, or `values` NULL: a table of names kept by the registry. */
struct metrics_label {
    const char *name;
    unsigned count; /* METRICS_NAMES for a dynamic one */
    const char *const *values;
};

struct metrics_family {
    const char *name, *help;
    enum metrics_type type;
    enum metrics_scale scale;                          /* histograms */
    size_t offset, bytes;                              /* of the cells in the shard */
    const struct metrics_label *label[METRICS_LABELS]; /* as the dimensions stand; NULL ends */
};

#define METRICS_CELL_COUNTER struct metrics_counter
#define METRICS_CELL_GAUGE struct metrics_gauge
#define METRICS_CELL_HISTOGRAM struct metrics_histogram
#define METRICS_FIELD(type, field, name, help, scale, dims, ...) METRICS_CELL_##type field dims;
#define METRICS_ROW(S, type_, field, name_, help_, scale_, dims, ...)                              \
    {.name = name_,                                                                                \
     .help = help_,                                                                                \
     .type = METRICS_##type_,                                                                      \
     .scale = METRICS_##scale_,                                                                    \
     .offset = offsetof(S, field),                                                                 \
     .bytes = sizeof((S *)0)->field,                                                               \
     .label = {__VA_ARGS__}},

/* Shard owner's thread only. */
static inline void metrics_add(struct metrics_counter *c, uint64_t n)
{
    __atomic_store_n(&c->v, __atomic_load_n(&c->v, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline void metrics_count(struct metrics_counter *c) { metrics_add(c, 1); }

static inline void metrics_move(struct metrics_gauge *g, int64_t by)
{
    __atomic_store_n(&g->v, __atomic_load_n(&g->v, __ATOMIC_RELAXED) + by, __ATOMIC_RELAXED);
}

static inline void metrics_set(struct metrics_gauge *g, int64_t v)
{
    __atomic_store_n(&g->v, v, __ATOMIC_RELAXED);
}

void metrics_observe(struct metrics_histogram *h, enum metrics_scale scale, uint64_t v);

/* Any thread. */
static inline uint64_t metrics_counter_read(const struct metrics_counter *c)
{
    return __atomic_load_n(&c->v, __ATOMIC_RELAXED);
}

struct metrics; /* the registry; opaque, one thread's */

struct metrics *metrics_create(void) __attribute__((returns_nonnull));
void metrics_destroy(struct metrics **m);
/* Adds one shard of a set; all shards of a set name the same table. The shard must outlive the
 * registry, and its counts stay in the sums. Table and cells are borrowed. Aborts when dimensions
 * and labels disagree, when histogram and scale do, or when a table is full. */
void metrics_register(struct metrics *m, const struct metrics_family *families, unsigned count,
                      const void *shard);
#define METRICS_REGISTER(m, families, shard)                                                       \
    metrics_register(m, families, ARRAY_LEN(families), shard)

/* The index of a dynamic label's value, for use in cells: found, or added, or 0 ("other") when the
 * table is full or the name is empty. Never reused. The name is copied, cut at 128 bytes. */
unsigned metrics_name(struct metrics *m, const struct metrics_label *label, struct str name);

/* The value behind an index: "other" for 0 and for one that metrics_name() never gave. Lives as
 * long as the registry. */
struct str metrics_name_of(const struct metrics *m, const struct metrics_label *label,
                           unsigned index);

/* Values that are computed when asked for (list lengths, memory): called by metrics_render(). */
typedef void metrics_source_fn(void *ctx, struct buf *out);
void metrics_source(struct metrics *m, metrics_source_fn *fn, void *ctx);
/* For sources: HELP and TYPE once, then each sample; labels are name, value pairs, `pairs` of them.
 */
void metrics_put_head(struct buf *out, enum metrics_type type, const char *name, const char *help);
void metrics_put_i64(struct buf *out, const char *name, const struct str *labels, unsigned pairs,
                     int64_t value);

/* Everything, appended to `out`. Counts under a dynamic label appear once they are not zero, gauges
 * with the name. -E_LIMIT when the buffer's cap was reached. */
int metrics_render(struct metrics *m, struct buf *out) MUSTCHECK;
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
