/* SPDX-License-Identifier: Apache-2.0
 *
 * tally.c - see tally.h. A row is published by its pair: counts are there before it is, and rows
 * never move or go, so a reader meets whole rows whose numbers may be a moment old.
 */
#include "gate/tally.h"

#include <stdlib.h>

#include "base/mem.h"

enum { MODELS = 1 << 16, FULL = TALLY_PAIRS / 4 * 3 };

struct row {
    _Atomic uint32_t pair; /* key * MODELS + model + 1; 0: free */
    _Atomic uint64_t requests, failed, limited, tokens_in, tokens_out;
};

struct tally {
    struct row others;
    struct row rows[TALLY_PAIRS];
    uint32_t used;
};

struct tally_names {
    struct map by_name;
    char *at[TALLY_KEYS];
    uint32_t n;
};

/* ---- a lane's table ---- */

struct tally *tally_create(void)
{
    struct tally *t = mem_alloc(sizeof *t);

    atomic_init(&t->others.pair, TALLY_OTHER * MODELS + 1);
    return t;
}

void tally_destroy(struct tally **tp)
{
    struct tally *t = TAKE(tp);

    mem_free(t);
}

static struct row *find(struct tally *t, uint32_t pair)
{
    uint32_t i = (pair * 2654435769U) >> 20; /* of 4,096 */

    _Static_assert(TALLY_PAIRS == 4096, "as the shift says");
    for (;; i = (i + 1) % TALLY_PAIRS) {
        uint32_t is = atomic_load_explicit(&t->rows[i].pair, memory_order_relaxed);

        if (is == pair)
            return &t->rows[i];
        if (is == 0)
            break;
    }
    if (t->used == FULL)
        return &t->others;
    t->used++;
    atomic_store_explicit(&t->rows[i].pair, pair, memory_order_release);
    return &t->rows[i];
}

/* One writer: no locked instruction. */
static void add(_Atomic uint64_t *to, uint64_t n)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

void tally_add(struct tally *t, uint32_t key, uint32_t model, const struct tally_counts *by)
{
    struct row *r = find(t, key * MODELS + model + 1);

    add(&r->requests, by->requests);
    add(&r->failed, by->failed);
    add(&r->limited, by->limited);
    add(&r->tokens_in, by->tokens_in);
    add(&r->tokens_out, by->tokens_out);
}

/* ---- names ---- */

struct tally_names *tally_names_create(uint64_t seed)
{
    struct tally_names *n = xnew(struct tally_names, .n = 2);

    map_init(&n->by_name, seed);
    n->at[TALLY_NO_KEY] = mem_strdup("");
    n->at[TALLY_OTHER] = mem_strdup("other");
    return n;
}

void tally_names_destroy(struct tally_names **np)
{
    struct tally_names *n = TAKE(np);

    if (!n)
        return;
    map_fini(&n->by_name);
    for (uint32_t i = 0; i < n->n; i++)
        mem_free(n->at[i]);
    mem_free(n);
}

uint32_t tally_label(struct tally_names *n, struct str key)
{
    char **at = map_find(&n->by_name, key);

    if (at)
        return (uint32_t)(at - n->at);
    if (n->n == TALLY_KEYS)
        return TALLY_OTHER;
    n->at[n->n] = str_dup(key);
    (void)map_put(&n->by_name, str_of(n->at[n->n]), &n->at[n->n]);
    return n->n++;
}

struct str tally_name(const struct tally_names *n, uint32_t label)
{
    return str_of(n->at[label < n->n ? label : TALLY_OTHER]);
}

/* ---- the sum ---- */

static int by_pair(const void *a, const void *b)
{
    const struct tally_row *x = a, *y = b;
    int order = (x->key > y->key) - (x->key < y->key);

    return order ? order : (x->model > y->model) - (x->model < y->model);
}

static uint64_t read(_Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

static void read_row(struct row *r, struct tally_row *out, size_t *n)
{
    uint32_t pair = atomic_load_explicit(&r->pair, memory_order_acquire);

    if (pair == 0 || read(&r->requests) == 0)
        return;
    out[(*n)++] = (struct tally_row){
        .key = (pair - 1) / MODELS,
        .model = (pair - 1) % MODELS,
        .counts = {read(&r->requests), read(&r->failed), read(&r->limited), read(&r->tokens_in),
                   read(&r->tokens_out)},
    };
}

static void merge(struct tally_counts *to, const struct tally_counts *from)
{
    to->requests += from->requests;
    to->failed += from->failed;
    to->limited += from->limited;
    to->tokens_in += from->tokens_in;
    to->tokens_out += from->tokens_out;
}

struct tally_row *tally_sum(struct tally *const *tables, uint32_t n, size_t *ret_n)
{
    struct tally_row *rows = mem_alloc((n * (TALLY_PAIRS + 1) + 1) * sizeof *rows);
    size_t found = 0, kept = 0;

    for (uint32_t i = 0; i < n; i++) {
        read_row(&tables[i]->others, rows, &found);
        for (uint32_t k = 0; k < TALLY_PAIRS; k++)
            read_row(&tables[i]->rows[k], rows, &found);
    }
    if (found > 1)
        qsort(rows, found, sizeof *rows, by_pair);
    for (size_t i = 0; i < found; i++) {
        if (kept > 0 && by_pair(&rows[kept - 1], &rows[i]) == 0)
            merge(&rows[kept - 1].counts, &rows[i].counts);
        else
            rows[kept++] = rows[i];
    }
    *ret_n = kept;
    return rows;
}
