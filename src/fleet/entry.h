/* SPDX-License-Identifier: Apache-2.0
 *
 * entry.h - a row of the router's table as others see it: one name in the static file or in the
 * registry. Several rows may be one engine (struct engine, one cell). Rows are immutable but for
 * `listed`, lists of them wholly; both are reference counted, for any thread.
 */
#pragma once
#include "base/arena.h"
#include "base/json.h"
#include "fleet/cell.h"

/* How an engine keeps its cache, where it says so: long requests are for the one kind, short ones
 * for the other. */
enum cache_class { CACHE_UNSAID, CACHE_PAGED, CACHE_STATIC, CACHE_CLASSES };

enum entry_origin {
    ENTRY_STATIC,   /* the file */
    ENTRY_REGISTRY, /* the registry */
};

/* What its source says; the better first. */
enum entry_listed {
    ENTRY_YES,
    ENTRY_ABSENT, /* it was not in the last list */
    ENTRY_NO,     /* it is called unhealthy there */
};

/* One row of the list of models. */
struct entry_model {
    struct str id;
    struct str json; /* its object, with `object`, `created`, `owned_by`; compact, keys sorted */
};

struct entry {
    _Atomic uint32_t refs;
    _Atomic uint8_t listed; /* enum entry_listed; written by control */
    enum entry_origin origin;
    bool openai; /* metadata.type is "openai-api": it is in lists of models */
    struct str name, host, url, babysitter_url;
    uint16_t port;
    uint32_t weight;
    enum cache_class cache;
    struct str metadata; /* compact, keys sorted */
    struct str *models;  /* that it serves by name */
    uint32_t nmodels;
    struct entry_model *list; /* that it tells of: metadata.models_list, else its models */
    uint32_t nlist;
    struct arena arena; /* private: of all texts */
};

/* What OpenAI clients expect of an object in a list of models and it does not have: `object`,
 * `created`, `owned_by`. */
void entry_complete_model(struct json *model);

struct entry *entry_ref(struct entry *e);
void entry_unref(struct entry **e);

/* A row, and the engine it is. */
struct entry_seat {
    struct entry *entry;
    struct cell *cell;
    bool first; /* of its engine's rows: counts of requests are told once, here */
};

struct entry_list {
    _Atomic uint32_t refs;
    uint32_t n;
    struct entry_seat at[]; /* sorted by name */
};

/* All seats to be filled by the caller, who gives the references. */
struct entry_list *entry_list_create(uint32_t n) __attribute__((returns_nonnull));
struct entry_list *entry_list_ref(struct entry_list *l);
/* NULL is fine; any thread. */
void entry_list_unref(struct entry_list **l);

static inline enum entry_listed entry_listed(const struct entry *e)
{
    return (enum entry_listed)atomic_load_explicit(&e->listed, memory_order_relaxed);
}
/* Listed is not "no", probed is not "bad", traffic is not "open". */
bool entry_healthy(const struct entry_seat *s);
