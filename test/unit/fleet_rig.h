/* SPDX-License-Identifier: Apache-2.0
 *
 * fleet_rig.h - snapshots made of short descriptions: engines with models and weights, their cells
 * kept at hand.
 */
#pragma once
#include "unit.h"

#include "base/mem.h"
#include "fleet/select.h"

enum { FLEET_MAX = 320 };

struct fleet_rig {
    struct snapshot *snapshot;
    struct cell *cells[FLEET_MAX]; /* by id */
    uint32_t n;
};

/* `e` has its own words; name, models, id and cell are filled in. `models` separated by blanks. The
 * id is the number of engines before it. */
static inline void fleet_add_engine(struct fleet_rig *f, const char *name, const char *models,
                                    uint32_t slots, struct engine e)
{
    struct str list[8], rest = str_of(models);

    if (!f->snapshot)
        f->snapshot = snapshot_begin(1, 7);
    e.id = e.slot = f->n;
    e.name = str_of(name);
    e.models = list;
    while (rest.n && e.nmodels < ARRAY_LEN(list))
        list[e.nmodels++] = str_cut(&rest, ' ');
    f->cells[f->n] = e.cell = cell_create(slots);
    snapshot_add(f->snapshot, &e);
    f->n++;
}

static inline void fleet_add(struct fleet_rig *f, const char *name, const char *models,
                             uint32_t weight, uint32_t slots, enum engine_kind kind)
{
    fleet_add_engine(f, name, models, slots, (struct engine){.weight = weight, .kind = kind});
}

static inline void fleet_fini(struct fleet_rig *f)
{
    snapshot_unref(&f->snapshot);
    for (uint32_t i = 0; i < f->n; i++)
        cell_unref(&f->cells[i]);
}

/* As if it had so many requests in flight. */
static inline void fleet_carry(struct fleet_rig *f, uint32_t id, uint32_t in_flight)
{
    atomic_store(&f->cells[id]->block->load[f->cells[id]->seat], in_flight);
}

static inline const struct model *fleet_model(const struct fleet_rig *f, const char *name)
{
    const struct model *m = snapshot_model(f->snapshot, str_of(name));

    assert_non_null(m);
    return m;
}
