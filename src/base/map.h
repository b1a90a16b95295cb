/* SPDX-License-Identifier: Apache-2.0
 *
 * map.h - string to pointer, open addressing, seeded hash. Keys are borrowed slices that must
 * outlive their entry. Values are never NULL. One thread at a time; readers of a finished map may
 * be many.
 */
#pragma once
#include "base/str.h"

struct map_slot {
    struct str key; /* p is NULL when the slot is empty */
    uint64_t hash;
    void *value;
};

struct map {
    struct map_slot *slots; /* a power of two, NULL while empty */
    size_t count, size;
    uint64_t seed;
};

/* `seed` differs per process (getrandom) for keys that peers choose. */
void map_init(struct map *m, uint64_t seed);
void map_fini(struct map *m);
/* NULL when absent. */
void *map_find(const struct map *m, struct str key);
/* Replaces; returns the value that stood there before, or NULL. The new key slice is borrowed. */
void *map_put(struct map *m, struct str key, void *value);
/* Returns the value removed, or NULL. */
void *map_remove(struct map *m, struct str key);
/* Visits every entry in no particular order: for (size_t i = 0; (s = map_next(m, &i));) */
struct map_slot *map_next(const struct map *m, size_t *i);
