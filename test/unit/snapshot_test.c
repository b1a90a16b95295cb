/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshot_test.c - what a snapshot finds by model, alias and path; that it owns its texts; chains
 * and loops of aliases; references across threads, and settings that live as long as it.
 */
#include "fleet_rig.h"

#include <pthread.h>

/* What a name stands for: itself, or the first target. */
static struct str resolve(const struct snapshot *s, struct str name, bool *is_alias)
{
    const struct alias *a = map_find(&s->aliases, name);

    *is_alias = a != NULL;
    return a ? a->targets[0].model : name;
}

static void test_models_are_indexed_by_name(void **state)
{
    struct fleet_rig f = {.n = 0};
    const struct model *m;

    (void)state;
    fleet_add(&f, "b", "x y", 1, 0, engine_kind_unset);
    fleet_add(&f, "a", "y z y", 1, 0, engine_kind_unset); /* listed twice counts once */
    fleet_add(&f, "c", "", 1, 0, engine_kind_unset);
    snapshot_seal(f.snapshot);
    assert_int_equal(f.snapshot->nengines, 3);
    assert_str_is(f.snapshot->engines[0].name, "a");
    assert_int_equal(f.snapshot->nmodels, 3);
    assert_str_is(f.snapshot->models[0]->name, "x");
    assert_str_is(f.snapshot->models[2]->name, "z");
    m = fleet_model(&f, "y");
    assert_int_equal(m->nengines, 2);
    assert_str_is(m->engines[0]->name, "a");
    assert_str_is(m->engines[1]->name, "b");
    assert_null(snapshot_model(f.snapshot, STR("nobody")));
    assert_int_equal(f.snapshot->slots, 3);
    fleet_fini(&f);
}

static void test_credits_do_not_overlap(void **state)
{
    struct fleet_rig f = {.n = 0};
    uint8_t used[16] = {0};

    (void)state;
    fleet_add(&f, "a", "x y", 1, 0, engine_kind_unset);
    fleet_add(&f, "b", "y z", 1, 0, engine_kind_unset);
    fleet_add(&f, "c", "x y z", 1, 0, engine_kind_unset);
    snapshot_seal(f.snapshot);
    assert_int_equal(f.snapshot->credits, 7);
    for (uint32_t i = 0; i < f.snapshot->nmodels; i++)
        for (uint32_t k = 0; k < f.snapshot->models[i]->nengines; k++)
            assert_int_equal(used[f.snapshot->models[i]->credit + k]++, 0);
    for (uint32_t i = 0; i < f.snapshot->credits; i++)
        assert_int_equal(used[i], 1);
    fleet_fini(&f);
}

static void test_empty(void **state)
{
    struct snapshot *s = snapshot_begin(3, 0);
    bool is_alias = true;

    (void)state;
    snapshot_seal(s);
    assert_int_equal(s->nengines + s->nmodels + s->slots + s->credits, 0);
    assert_null(snapshot_model(s, STR("")));
    assert_str_is(resolve(s, STR("x"), &is_alias), "x");
    assert_false(is_alias);
    snapshot_unref(&s);
    assert_null(s);
    snapshot_unref(&s); /* NULL is fine */
}

static void test_texts_are_copied(void **state)
{
    char name[] = "name", model[] = "model", json[] = "{\"id\":1}", url[] = "http://h:1/p",
         key[] = "sk", path[] = "/slots", alias[] = "alias";
    struct str models[] = {str_of(model)}, jsons[] = {str_of(json)}, paths[] = {str_of(path)};
    struct engine e = {.weight = 1,
                       .name = str_of(name),
                       .url = str_of(url),
                       .api_key = str_of(key),
                       .models = models,
                       .model_json = jsons,
                       .nmodels = 1,
                       .passthrough = paths,
                       .npassthrough = 1,
                       .cell = cell_create(0)};
    struct snapshot *s = snapshot_begin(1, 0);
    const struct engine *got;
    const char *why;
    bool is_alias;

    (void)state;
    assert_int_equal(url_parse(e.url, &e.at, &why), 0);
    snapshot_add(s, &e);
    snapshot_alias(s, str_of(alias), str_of(model));
    snapshot_seal(s);
    cell_unref(&e.cell); /* the snapshot has its own */
    memset(name, '#', 4), memset(model, '#', 5), memset(json, '#', 8), memset(url, '#', 12);
    memset(key, '#', 2), memset(path, '#', 6), memset(alias, '#', 5);
    got = &s->engines[0];
    assert_str_is(got->name, "name");
    assert_str_is(got->models[0], "model");
    assert_str_is(got->model_json[0], "{\"id\":1}");
    assert_str_is(got->url, "http://h:1/p");
    assert_str_is(got->at.host, "h");
    assert_str_is(got->at.prefix, "/p");
    assert_str_is(got->at.origin, "h:1");
    assert_str_is(got->api_key, "sk");
    assert_ptr_equal(map_find(&s->passthrough, STR("/slots")), got);
    assert_non_null(snapshot_model(s, STR("model")));
    assert_str_is(resolve(s, STR("alias"), &is_alias), "model");
    snapshot_unref(&s);
}

static void test_of_two_claims_the_first_keeps_the_path(void **state)
{
    struct str path[] = {STR("/slots")};
    struct snapshot *s = snapshot_begin(1, 0);
    const struct engine *owner;

    (void)state;
    /* "first" is by name, so that the order of sources does not matter */
    for (int i = 0; i < 2; i++) {
        struct engine e = {.id = (uint32_t)i,
                           .weight = 1,
                           .name = i ? STR("a") : STR("b"),
                           .passthrough = path,
                           .npassthrough = 1,
                           .cell = cell_create(0)};

        snapshot_add(s, &e);
        cell_unref(&e.cell);
    }
    snapshot_seal(s);
    owner = map_find(&s->passthrough, STR("/slots"));
    assert_str_is(owner->name, "a");
    snapshot_unref(&s);
}

static void test_alias_chains_end_at_the_model(void **state)
{
    struct snapshot *s = snapshot_begin(1, 0);
    bool is_alias = false;

    (void)state;
    snapshot_alias(s, STR("c"), STR("b"));
    snapshot_alias(s, STR("b"), STR("a"));
    snapshot_alias(s, STR("a"), STR("model"));
    snapshot_seal(s);
    assert_int_equal(s->naliases, 3);
    assert_str_is(s->alias_list[0].name, "a");
    for (uint32_t i = 0; i < s->naliases; i++) {
        assert_str_is(resolve(s, s->alias_list[i].name, &is_alias), "model");
        assert_true(is_alias);
    }
    assert_str_is(resolve(s, STR("model"), &is_alias), "model");
    assert_false(is_alias);
    snapshot_unref(&s);
}

/* The configuration lets chains be as long as it likes. */
static void test_long_alias_chains(void **state)
{
    struct snapshot *s = snapshot_begin(1, 0);
    char name[16], target[16];
    bool is_alias;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "a%d", i);
        (void)snprintf(target, sizeof target, "a%d", i + 1);
        snapshot_alias(s, str_of(name), str_of(target));
    }
    snapshot_seal(s);
    assert_str_is(resolve(s, STR("a0"), &is_alias), "a1000");
    assert_str_is(resolve(s, STR("a999"), &is_alias), "a1000");
    snapshot_unref(&s);
}

/* The configuration refuses them; sealing must end all the same. */
static void test_alias_loops_end(void **state)
{
    struct snapshot *s = snapshot_begin(1, 0);
    bool is_alias;

    (void)state;
    snapshot_alias(s, STR("a"), STR("b"));
    snapshot_alias(s, STR("b"), STR("c"));
    snapshot_alias(s, STR("c"), STR("a"));
    snapshot_alias(s, STR("self"), STR("self"));
    snapshot_alias(s, STR("d"), STR("a"));
    snapshot_alias(s, STR("0"), STR("a")); /* met first, and outside of the circle */
    snapshot_seal(s);
    (void)resolve(s, STR("d"), &is_alias);
    assert_true(is_alias);
    (void)resolve(s, STR("0"), &is_alias);
    assert_true(is_alias);
    assert_str_is(resolve(s, STR("self"), &is_alias), "self");
    assert_null(snapshot_model(s, resolve(s, STR("a"), &is_alias)));
    snapshot_unref(&s);
}

static void count_down(void *ctx) { atomic_fetch_sub((_Atomic int *)ctx, 1); }

enum { THREADS = 4, ROUNDS = 20000 };

static void *refs(void *ctx)
{
    struct snapshot *mine = ctx; /* a reference of its own */

    for (int i = 0; i < ROUNDS; i++) {
        struct snapshot *more = snapshot_ref(mine);

        assert_int_equal(more->generation, 9);
        snapshot_unref(&more);
    }
    snapshot_unref(&mine);
    return NULL;
}

static void test_last_reference_of_any_thread_frees(void **state)
{
    struct snapshot *s = snapshot_begin(9, 0);
    struct cell *cell = cell_create(1);
    struct engine e = {.weight = 1, .name = STR("e"), .cell = cell};
    _Atomic int alive = 1;
    pthread_t t[THREADS];

    (void)state;
    snapshot_add(s, &e);
    s->conf = &alive;
    s->conf_unref = count_down;
    snapshot_seal(s);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, refs, snapshot_ref(s)), 0);
    snapshot_unref(&s); /* perhaps not the last */
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    assert_int_equal(atomic_load(&alive), 0); /* the settings went with it, once */
    assert_int_equal(atomic_load(&cell->refs), 1);
    cell_unref(&cell);
}

static void test_a_pinned_snapshot_outlives_the_next(void **state)
{
    struct fleet_rig f = {.n = 0}, g = {.n = 0};
    struct snapshot *pin;

    (void)state;
    fleet_add(&f, "old", "m", 1, 0, engine_kind_unset);
    snapshot_seal(f.snapshot);
    pin = snapshot_ref(f.snapshot);
    fleet_fini(&f);
    fleet_add(&g, "new", "m", 1, 0, engine_kind_unset);
    snapshot_seal(g.snapshot);
    fleet_fini(&g);
    assert_str_is(snapshot_model(pin, STR("m"))->engines[0]->name, "old");
    assert_int_equal(cell_state(pin->engines[0].cell), CELL_GOOD);
    snapshot_unref(&pin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models_are_indexed_by_name),
        cmocka_unit_test(test_credits_do_not_overlap),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_texts_are_copied),
        cmocka_unit_test(test_of_two_claims_the_first_keeps_the_path),
        cmocka_unit_test(test_alias_chains_end_at_the_model),
        cmocka_unit_test(test_long_alias_chains),
        cmocka_unit_test(test_alias_loops_end),
        cmocka_unit_test(test_last_reference_of_any_thread_frees),
        cmocka_unit_test(test_a_pinned_snapshot_outlives_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
