/* SPDX-License-Identifier: Apache-2.0
 *
 * plan_test.c - which models may answer for a name, and in which order: shares, sessions, names
 * that stand for names, fallbacks, and what is cut where it would not end.
 */
#include "fleet_rig.h"

#include "fleet/plan.h"
#include "fleet/rendezvous.h"

struct rig {
    struct snapshot *s;
    struct select_credits credits;
    struct plan plan;
};

/* "a 9, b" and "c, d": targets with weights, fallbacks. */
static void alias(struct rig *r, const char *name, const char *targets, const char *fallbacks)
{
    struct target list[PLAN_TARGETS_MAX];
    struct str texts[PLAN_FALLBACKS_MAX], rest = str_of(targets);
    struct alias a = {.name = str_of(name), .targets = list, .fallbacks = texts};

    if (!r->s)
        r->s = snapshot_begin(1, 7);
    while (rest.n) {
        struct str one = str_trim(str_cut(&rest, ',')), model = str_cut(&one, ' ');
        uint64_t weight = 1;

        if (one.n)
            assert_true(str_u64(one, &weight));
        list[a.ntargets++] = (struct target){.model = model, .weight = (uint32_t)weight};
    }
    for (rest = str_of(fallbacks); rest.n;)
        texts[a.nfallbacks++] = str_trim(str_cut(&rest, ','));
    snapshot_add_alias(r->s, &a);
}

static void ready(struct rig *r)
{
    snapshot_seal(r->s);
    select_credits_fit(&r->credits, r->s);
}

static void end(struct rig *r)
{
    select_credits_fini(&r->credits);
    snapshot_unref(&r->s);
}

static const char *text_of(const struct plan *p)
{
    static char text[1024];
    struct buf b = buf_on(text, sizeof text);

    for (uint32_t i = 0; i < p->n; i++) {
        buf_text(&b, i == 0 ? "" : i == p->targets ? " else " : " ");
        buf_add(&b, p->models[i]);
    }
    return buf_cstr(&b);
}

/* The plan of the next request. */
static const char *plan(struct rig *r, const char *name)
{
    assert_true(plan_make(r->s, str_of(name), NULL, &r->credits, &r->plan));
    return text_of(&r->plan);
}

static const char *named(struct rig *r, const char *name)
{
    assert_true(plan_make(r->s, str_of(name), NULL, NULL, &r->plan));
    return text_of(&r->plan);
}

static void test_names_without_a_plan(void **state)
{
    struct rig r = {.plan = {.n = 77}};

    (void)state;
    alias(&r, "x", "a", "");
    ready(&r);
    assert_false(plan_make(r.s, STR("a"), NULL, &r.credits, &r.plan));
    assert_int_equal(r.plan.n, 77);
    assert_string_equal(plan(&r, "x"), "a");
    end(&r);
}

static void test_shares(void **state)
{
    struct rig r = {.s = NULL};
    uint32_t a = 0;

    (void)state;
    alias(&r, "x", "a 9, b 1", "");
    alias(&r, "y", "a 2, b 1, c 1", "");
    ready(&r);
    for (uint32_t i = 0; i < 100; i++)
        a += plan(&r, "x")[0] == 'a';
    assert_int_equal(a, 90);
    assert_string_equal(plan(&r, "y"), "a b c"); /* smooth, and the others stand behind */
    assert_string_equal(plan(&r, "y"), "b c a");
    assert_string_equal(plan(&r, "y"), "c a b");
    assert_string_equal(plan(&r, "y"), "a b c");
    assert_string_equal(named(&r, "y"), "a b c");
    end(&r);
}

static void test_no_share_while_others_have_one(void **state)
{
    struct rig r = {.s = NULL};

    (void)state;
    alias(&r, "x", "a 0, b 1, c 0, d 1", "");
    alias(&r, "none", "a 0, b 0", "");
    ready(&r);
    assert_string_equal(plan(&r, "x"), "b d a c");
    assert_string_equal(plan(&r, "x"), "d b a c");
    assert_string_equal(plan(&r, "none"), "a b");
    assert_string_equal(plan(&r, "none"), "b a");
    end(&r);
}

static void test_sessions_stay(void **state)
{
    struct rig r = {.s = NULL};
    struct select_credits fresh = {.n = 0};
    uint32_t a = 0;

    (void)state;
    alias(&r, "x", "a 3, b 1", "c");
    ready(&r);
    select_credits_fit(&fresh, r.s);
    for (uint32_t i = 0; i < 4000; i++) {
        char text[16];
        struct rendezvous_key key = {STR("user"), STR_NONE};
        struct plan other;

        (void)snprintf(text, sizeof text, "u%u", i);
        key.value = str_of(text);
        assert_true(plan_make(r.s, STR("x"), &key, &r.credits, &r.plan));
        (void)plan(&r, "x"); /* somebody's without a session moves nothing */
        assert_true(plan_make(r.s, STR("x"), &key, &fresh, &other)); /* on every lane */
        assert_true(plan_make(r.s, STR("x"), &key, &r.credits, &r.plan));
        assert_int_equal(r.plan.n, 3);
        for (uint32_t k = 0; k < 3; k++)
            assert_true(str_eq(r.plan.models[k], other.models[k]));
        a += str_eq(r.plan.models[0], STR("a"));
    }
    assert_in_range(a, 2830, 3170); /* six deviations */
    select_credits_fini(&fresh);
    end(&r);
}

static void test_names_of_names(void **state)
{
    struct rig r = {.s = NULL};
    uint32_t count[4] = {0};

    (void)state;
    alias(&r, "top", "left, right", "");
    alias(&r, "left", "a, b", "");
    alias(&r, "right", "c 3, d 1", "");
    alias(&r, "nick", "deep", "");
    alias(&r, "deep", "top", "");
    ready(&r);
    for (uint32_t i = 0; i < 800; i++)
        count[plan(&r, i % 2 ? "top" : "nick")[0] - 'a']++;
    assert_int_equal(count[0], 200);
    assert_int_equal(count[1], 200);
    assert_int_equal(count[2], 300);
    assert_int_equal(count[3], 100);
    assert_string_equal(named(&r, "nick"), "a b c d");
    end(&r);
}

static void test_fallbacks(void **state)
{
    struct rig r = {.s = NULL};

    (void)state;
    alias(&r, "tiny", "", "small, big");
    alias(&r, "nick", "tiny", "");
    alias(&r, "own", "tiny", "other");
    alias(&r, "a", "m", "b");
    alias(&r, "b", "n", "a");
    alias(&r, "twice", "m, n", "a, n, z");
    alias(&r, "split", "p, q", "halves");
    alias(&r, "halves", "h, i", "");
    ready(&r);
    assert_string_equal(plan(&r, "tiny"), "tiny else small big"); /* a model's own name */
    assert_string_equal(plan(&r, "nick"), "tiny else small big"); /* handed down */
    assert_string_equal(plan(&r, "own"), "tiny else other");      /* unless it has its own */
    assert_string_equal(plan(&r, "a"), "m else n");               /* each other's: no circle */
    assert_string_equal(plan(&r, "b"), "n else m");
    assert_string_equal(plan(&r, "twice"), "m n else z"); /* each model once */
    assert_string_equal(plan(&r, "split"), "p q else h i");
    assert_string_equal(plan(&r, "split"), "q p else i h");
    end(&r);
}

/* What the configuration refuses ends all the same. */
static void test_what_does_not_end_is_cut(void **state)
{
    struct rig r = {.s = NULL};
    char name[16], targets[64];

    (void)state;
    alias(&r, "x", "y, a", "");
    alias(&r, "y", "x, b", "");
    alias(&r, "loop", "pool", "");
    alias(&r, "pool", "loop", "");
    for (uint32_t i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        (void)snprintf(targets, sizeof targets, "n%u, m%u", i + 1, i);
        alias(&r, name, targets, "");
    }
    ready(&r);
    (void)plan(&r, "x");
    assert_true(r.plan.n >= 2);
    (void)plan(&r, "loop");
    assert_int_equal(r.plan.n, 1);
    (void)plan(&r, "n0");
    assert_in_range(r.plan.n, 1, PLAN_MAX);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_without_a_plan),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_no_share_while_others_have_one),
        cmocka_unit_test(test_sessions_stay),
        cmocka_unit_test(test_names_of_names),
        cmocka_unit_test(test_fallbacks),
        cmocka_unit_test(test_what_does_not_end_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
