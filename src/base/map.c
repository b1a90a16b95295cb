/* SPDX-License-Identifier: Apache-2.0
 *
 * map.c - linear probing with backward-shift deletion (no tombstones), load factor 3/4.
 */
#include "base/map.h"

#include "base/mem.h"

void map_init(struct map *m, uint64_t seed) { *m = (struct map){.seed = seed}; }

void map_fini(struct map *m)
{
    mem_free(m->slots);
    *m = (struct map){.seed = m->seed};
}

/* The slot of `key`, or the empty slot where it would stand. The map has room. */
static struct map_slot *probe(const struct map *m, struct str key, uint64_t hash)
{
    size_t i = hash & (m->size - 1);

    while (m->slots[i].key.p && (m->slots[i].hash != hash || !str_eq(m->slots[i].key, key)))
        i = (i + 1) & (m->size - 1);
    return &m->slots[i];
}

void *map_find(const struct map *m, struct str key)
{
    return m->count ? probe(m, key, str_hash(key, m->seed))->value : NULL;
}

static void grow(struct map *m)
{
    struct map bigger = {.size = m->size ? m->size * 2 : 8, .seed = m->seed, .count = m->count};

    bigger.slots = mem_alloc(bigger.size * sizeof *bigger.slots);
    for (size_t i = 0; i < m->size; i++)
        if (m->slots[i].key.p)
            *probe(&bigger, m->slots[i].key, m->slots[i].hash) = m->slots[i];
    mem_free(m->slots);
    *m = bigger;
}

void *map_put(struct map *m, struct str key, void *value)
{
    uint64_t hash = str_hash(key, m->seed);
    struct map_slot *s;
    void *before;

    CHECK(value != NULL);
    if (!key.p)
        key.p = ""; /* an empty key is a key */
    if (m->count + 1 > m->size / 4 * 3)
        grow(m);
    s = probe(m, key, hash);
    before = s->value;
    *s = (struct map_slot){key, hash, value};
    m->count += before == NULL;
    return before;
}

void *map_remove(struct map *m, struct str key)
{
    struct map_slot *s = m->count ? probe(m, key, str_hash(key, m->seed)) : NULL;
    void *value = s ? s->value : NULL;
    size_t hole, i;

    if (!value)
        return NULL;
    hole = i = (size_t)(s - m->slots);
    for (;;) {
        size_t home;

        m->slots[hole] = (struct map_slot){.value = NULL};
        do {
            i = (i + 1) & (m->size - 1);
            if (!m->slots[i].key.p) {
                m->count--;
                return value;
            }
            home = m->slots[i].hash & (m->size - 1);
        } while (((i - home) & (m->size - 1)) < ((i - hole) & (m->size - 1)));
        m->slots[hole] = m->slots[i];
        hole = i;
    }
}

struct map_slot *map_next(const struct map *m, size_t *i)
{
    while (*i < m->size) {
        struct map_slot *s = &m->slots[(*i)++];

        if (s->key.p)
            return s;
    }
    return NULL;
}
