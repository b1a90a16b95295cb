/* SPDX-License-Identifier: Apache-2.0
 *
 * entry.c - see entry.h.
 */
#include "fleet/entry.h"

#include "base/mem.h"

static void put_missing(struct json *model, const char *key, struct json *v)
{
    if (json_find_cstr(model, key))
        json_unref(&v);
    else
        json_put(model, str_of(key), &v);
}

void entry_complete_model(struct json *model)
{
    put_missing(model, "object", json_new_str(STR("model")));
    put_missing(model, "created", json_new_i64(0));
    put_missing(model, "owned_by", json_new_str(STR("inferd")));
}

struct entry *entry_ref(struct entry *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

void entry_unref(struct entry **ep)
{
    struct entry *e = TAKE(ep);

    if (!e || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1)
        return;
    arena_clear(&e->arena);
    mem_free(e);
}

struct entry_list *entry_list_create(uint32_t n)
{
    struct entry_list *l = mem_alloc(sizeof *l + n * sizeof l->at[0]);

    atomic_init(&l->refs, 1);
    l->n = n;
    return l;
}

struct entry_list *entry_list_ref(struct entry_list *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void entry_list_unref(struct entry_list **lp)
{
    struct entry_list *l = TAKE(lp);

    if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < l->n; i++) {
        entry_unref(&l->at[i].entry);
        cell_unref(&l->at[i].cell);
    }
    mem_free(l);
}

bool entry_healthy(const struct entry_seat *s)
{
    enum cell_verdict probed = cell_says(s->cell, CELL_PROBED);
    uint8_t door = atomic_load_explicit(&s->cell->door, memory_order_relaxed);

    return entry_listed(s->entry) != ENTRY_NO && (probed == CELL_NO_WORD || probed == CELL_GOOD) &&
           door != CELL_DOOR_OPEN && door != CELL_DOOR_DEAD;
}
