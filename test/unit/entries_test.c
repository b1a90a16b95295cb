/* SPDX-License-Identifier: Apache-2.0
 *
 * entries_test.c - the router's table against a model that keeps an array: thousands of random
 * lists of both sources on a clock that jumps. Then each rule by itself.
 */
#include "unit.h"

#include "base/mem.h"
#include "fleet/entries.h"

enum { NAMES = 12, HOSTS = 4, PORTS = 3, LISTS = 6000, GRACE_MS = 60000 };

/* ---- helpers ---- */

static void on_note(void *ctx, const struct listing_note *n)
{
    unsigned *notes = ctx;

    (void)n;
    ++*notes;
}

static struct entries *make(uint32_t most)
{
    struct entries_conf conf = {.most = most, .grace_ms = GRACE_MS, .seed = 3};

    return entries_create(&conf);
}

static struct entries_news take(struct entries *t, enum listing_kind kind, uint64_t now_ms,
                                const char *text)
{
    struct entries_news news;
    struct listing l;
    unsigned notes = 0;

    assert_int_equal(listing_read(str_of(text), kind, 1, on_note, &notes, &l), 0);
    if (kind == LISTING_FILE)
        entries_take_file(t, &l, &news);
    else
        entries_take_registry(t, &l, now_ms, &news);
    listing_fini(&l);
    return news;
}

/* Owners are cells here. */
static struct cell *cell_of(const struct entries_engine *e) { return e->owner; }

/* Gives each engine a cell and lets go of those that are gone; returns how many were told. */
static unsigned settle(struct entries *t)
{
    struct entries_engine *e;
    unsigned n = 0;

    for (; (e = entries_changed(t)); n++) {
        struct cell *c = e->owner;

        if (entries_engine_gone(e)) {
            cell_unref(&c);
            entries_forget(t, &e);
        } else if (!c) {
            e->owner = cell_create(0);
        }
    }
    return n;
}

static void finish(struct entries **t)
{
    struct entries_news news;
    struct listing none = {.rows = NULL};

    entries_take_file(*t, &none, &news);
    entries_take_registry(*t, &none, 0, &news);
    entries_take_registry(*t, &none, UINT64_C(1) << 40, &news);
    settle(*t);
    entries_destroy(t);
}

static const struct entry_seat *seat(const struct entry_list *l, const char *name)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (str_eq(l->at[i].entry->name, str_of(name)))
            return &l->at[i];
    return NULL;
}

/* ---- the model ---- */

struct said {
    bool there, healthy, lasting;
    int host, port, weight; /* weight -1: not said */
};

struct twin {
    struct said file, registry;
    bool absent;
    uint64_t absent_ms;
};

struct world {
    struct entries *t;
    struct twin twin[NAMES];
    uint64_t now_ms, r;
};

static const char *const hosts[HOSTS] = {"localhost", "127.0.0.1", "box", "0.0.0.0"};
static const char *const addresses[HOSTS] = {"here", "here", "box", "here"};

static uint64_t next_random(uint64_t *s) /* xorshift64* */
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 2685821657736338717ULL;
}

static unsigned below(struct world *w, unsigned n)
{
    return (unsigned)(next_random(&w->r) >> 33) % n;
}

static struct said say(struct world *w)
{
    return (struct said){.there = true,
                         .healthy = below(w, 8) > 0,
                         .lasting = below(w, 6) == 0,
                         .host = (int)below(w, HOSTS),
                         .port = 6000 + (int)below(w, PORTS),
                         .weight = (int)below(w, 4) - 1};
}

static void put_element(struct buf *b, unsigned name, const struct said *s, bool file)
{
    if (b->p[b->n - 1] != '[')
        buf_char(b, ',');
    buf_printf(b, "{\"name\":\"n%02u\",\"host\":\"%s\",\"port\":%d", name, hosts[s->host], s->port);
    if (s->weight >= 0)
        buf_printf(b, ",\"weight\":%d", s->weight);
    if (!file)
        buf_printf(b, ",\"is_healthy\":%s", s->healthy ? "true" : "false");
    buf_printf(b, ",\"metadata\":{\"type\":\"openai-api\",\"static\":%s}}",
               s->lasting ? "true" : "false");
}

static void random_file(struct world *w)
{
    struct buf b = buf_make(1 << 16);

    buf_char(&b, '[');
    for (unsigned i = 0; i < NAMES; i++) {
        struct twin *t = &w->twin[i];

        if (below(w, 3) == 0)
            t->file = below(w, 3) == 0 ? say(w) : (struct said){.there = false};
        if (t->file.there)
            put_element(&b, i, &t->file, true);
    }
    buf_char(&b, ']');
    (void)take(w->t, LISTING_FILE, 0, buf_cstr(&b));
    buf_fini(&b);
}

static void random_list(struct world *w)
{
    struct buf b = buf_make(1 << 16);

    buf_text(&b, "{\"services\":[");
    for (unsigned i = 0; i < NAMES; i++) {
        struct twin *t = &w->twin[i];
        uint64_t grace = t->registry.lasting ? ENTRIES_LASTING_MS : GRACE_MS;

        switch (below(w, 4)) {
        case 0: /* not named */
            if (t->registry.there && !t->absent)
                t->absent_ms = w->now_ms;
            t->absent = true;
            if (t->registry.there && w->now_ms - t->absent_ms >= grace)
                t->registry.there = false;
            continue;
        case 1: /* named, as something else */
            buf_printf(&b, "%s{\"name\":\"n%02u\"}", b.p[b.n - 1] == '[' ? "" : ",", i);
            t->absent = false;
            continue;
        case 2:
            t->registry = say(w);
            break;
        default:
            if (!t->registry.there)
                t->registry = say(w);
        }
        t->absent = false;
        put_element(&b, i, &t->registry, false);
    }
    buf_text(&b, "]}");
    (void)take(w->t, LISTING_REGISTRY, w->now_ms, buf_cstr(&b));
    buf_fini(&b);
}

static const struct said *place(const struct twin *t)
{
    return t->file.there ? &t->file : &t->registry;
}

static void check_row(const struct world *w, unsigned i, const struct entry_seat *s)
{
    const struct twin *t = &w->twin[i];
    const struct said *at = place(t);
    enum entry_listed listed = t->file.there         ? ENTRY_YES
                               : t->absent           ? ENTRY_ABSENT
                               : t->registry.healthy ? ENTRY_YES
                                                     : ENTRY_NO;

    assert_non_null(s);
    assert_int_equal(s->entry->origin, t->file.there ? ENTRY_STATIC : ENTRY_REGISTRY);
    assert_str_is(s->entry->host, hosts[at->host]);
    assert_int_equal(s->entry->port, at->port);
    assert_int_equal(s->entry->weight, at->weight < 0 ? 1 : at->weight);
    assert_int_equal(entry_listed(s->entry), listed);
}

static bool is_one(const struct said *a, const struct said *b)
{
    return a->port == b->port && strcmp(addresses[a->host], addresses[b->host]) == 0;
}

static void check(const struct world *w)
{
    struct entry_list *l = entries_list(w->t, cell_of);
    uint32_t n = 0;

    for (unsigned i = 0; i < NAMES; i++) {
        const struct entry_seat *mine;
        char name[16];
        bool first = true;

        (void)snprintf(name, sizeof name, "n%02u", i);
        mine = seat(l, name);
        if (!w->twin[i].file.there && !w->twin[i].registry.there) {
            assert_null(mine);
            continue;
        }
        check_row(w, i, mine);
        assert_ptr_equal(mine, &l->at[n++]);
        for (unsigned k = 0; k < i; k++) {
            const struct twin *other = &w->twin[k];
            bool one = (other->file.there || other->registry.there) &&
                       is_one(place(other), place(&w->twin[i]));

            (void)snprintf(name, sizeof name, "n%02u", k);
            if (seat(l, name))
                assert_int_equal(seat(l, name)->cell == mine->cell, one);
            first &= !one;
        }
        assert_int_equal(mine->first, first);
    }
    assert_int_equal(l->n, n);
    assert_int_equal(entries_count(w->t).rows[0] + entries_count(w->t).rows[1], n);
    entry_list_unref(&l);
}

static void against_a_model(void **state)
{
    struct world w = {.t = make(ENTRIES_MAX), .now_ms = 1000, .r = 0x9e3779b97f4a7c15};

    (void)state;
    for (unsigned i = 0; i < LISTS; i++) {
        w.now_ms += below(&w, 10) == 0 ? below(&w, 4000000) : below(&w, 20000);
        if (below(&w, 5) == 0)
            random_file(&w);
        else
            random_list(&w);
        settle(w.t);
        check(&w);
    }
    finish(&w.t);
}

/* ---- rules ---- */

#define ONE(name, host, port, more)                                                                \
    "{\"name\":\"" name "\",\"host\":\"" host "\",\"port\":" port                                  \
    ",\"metadata\":{\"type\":\"openai-api\"" more "}}"
#define LIST(elements) "{\"services\":[" elements "]}"

static const struct entries_engine *engine_of(struct entries *t) { return entries_changed(t); }

static void the_same_again_changes_nothing(void **state)
{
    static const char text[] = LIST(ONE("a", "h", "1", ",\"x\":1.50"));
    static const char other[] =
        LIST("{\"port\":1,\"last_heartbeat\":2.5,\"metadata\":{\"x\":1.5, \"type\":\"openai-api\"},"
             "\"host\":\"h\",\"name\":\"a\"}");
    struct entries *t = make(10);
    struct entries_news news = take(t, LISTING_REGISTRY, 0, text);

    (void)state;
    assert_int_equal(news.added, 1);
    assert_int_equal(settle(t), 1);
    news = take(t, LISTING_REGISTRY, 1, other);
    assert_int_equal(news.added + news.changed + news.removed + news.listed, 0);
    assert_int_equal(settle(t), 0);
    finish(&t);
}

/* A row stays for the grace period behind the first list without it, and however long no list
 * comes: the list that ends it has to come. */
static void grace_begins_with_the_first_list_without_it(void **state)
{
    struct entries *t = make(10);
    struct entries_news news;

    (void)state;
    (void)take(t, LISTING_REGISTRY, 0, LIST(ONE("a", "h", "1", "")));
    news = take(t, LISTING_REGISTRY, 1000000, LIST(""));
    assert_int_equal(news.listed, 1);
    assert_int_equal(news.removed, 0);
    news = take(t, LISTING_REGISTRY, 1000000 + GRACE_MS - 1, LIST(""));
    assert_int_equal(news.removed, 0);
    assert_int_equal(entries_count(t).listed[ENTRY_ABSENT], 1);
    news = take(t, LISTING_REGISTRY, 1000000 + GRACE_MS, LIST(""));
    assert_int_equal(news.removed, 1);
    settle(t);
    finish(&t);
}

static void lasting_ones_stay_an_hour(void **state)
{
    struct entries *t = make(10);

    (void)state;
    (void)take(t, LISTING_REGISTRY, 0, LIST(ONE("a", "h", "1", ",\"static\":true")));
    (void)take(t, LISTING_REGISTRY, 5, LIST(""));
    assert_int_equal(take(t, LISTING_REGISTRY, 5 + 3599999, LIST("")).removed, 0);
    assert_int_equal(take(t, LISTING_REGISTRY, 5 + 3600000, LIST("")).removed, 1);
    finish(&t);
}

static void who_returns_in_time_begins_anew(void **state)
{
    struct entries *t = make(10);

    (void)state;
    (void)take(t, LISTING_REGISTRY, 0, LIST(ONE("a", "h", "1", "")));
    (void)take(t, LISTING_REGISTRY, 10, LIST(""));
    assert_int_equal(take(t, LISTING_REGISTRY, GRACE_MS, LIST(ONE("a", "h", "1", ""))).listed, 1);
    assert_int_equal(entries_count(t).listed[ENTRY_YES], 1);
    (void)take(t, LISTING_REGISTRY, GRACE_MS + 20, LIST(""));
    assert_int_equal(take(t, LISTING_REGISTRY, 2 * GRACE_MS, LIST("")).removed, 0);
    finish(&t);
}

/* Any element of the name says that it is there, even one that is none of ours or is broken. */
static void a_name_is_enough_to_be_there(void **state)
{
    struct entries *t = make(10);

    (void)state;
    (void)take(t, LISTING_REGISTRY, 0, LIST(ONE("a", "h", "1", "") "," ONE("b", "h", "2", "")));
    (void)take(t, LISTING_REGISTRY, 1,
               LIST("{\"name\":\"a\",\"metadata\":{\"type\":\"babysitter\"}},"
                    "{\"name\":\"b\",\"port\":7,\"port\":8}"));
    assert_int_equal(entries_count(t).listed[ENTRY_YES], 2);
    finish(&t);
}

static void the_file_stands(void **state)
{
    struct entries *t = make(10);
    struct entry_list *l;
    const struct entry *e;

    (void)state;
    (void)take(t, LISTING_FILE, 0,
               "[{\"name\":\"a\",\"host\":\"f\",\"port\":1,\"metadata\":{\"models\":[\"m1\"],"
               "\"k\":\"file\"}}]");
    (void)take(t, LISTING_REGISTRY, 0,
               LIST("{\"name\":\"a\",\"host\":\"r\",\"port\":2,\"weight\":9,\"is_healthy\":false,"
                    "\"metadata\":{\"type\":\"openai-api\",\"models\":[\"m2\",\"m1\"],"
                    "\"k\":\"registry\",\"cache_type\":\"paged\"}}"));
    settle(t);
    l = entries_list(t, cell_of);
    e = l->at[0].entry;
    assert_int_equal(e->origin, ENTRY_STATIC);
    assert_str_is(e->url, "http://f:1");
    assert_int_equal(e->weight, 1);
    assert_int_equal(entry_listed(e), ENTRY_YES);
    assert_int_equal(e->cache, CACHE_PAGED);
    assert_true(e->openai);
    assert_str_is(e->metadata, "{\"cache_type\":\"paged\",\"k\":\"file\",\"models\":[\"m1\"],"
                               "\"type\":\"openai-api\"}");
    assert_int_equal(e->nmodels, 2);
    assert_str_is(e->models[0], "m1");
    assert_str_is(e->models[1], "m2");
    entry_list_unref(&l);
    (void)take(t, LISTING_REGISTRY, 1, LIST(""));
    assert_int_equal(take(t, LISTING_REGISTRY, 1 + GRACE_MS, LIST("")).changed, 1);
    assert_int_equal(take(t, LISTING_REGISTRY, UINT64_C(1) << 40, LIST("")).removed, 0);
    l = entries_list(t, cell_of);
    assert_int_equal(l->n, 1);
    assert_int_equal(l->at[0].entry->nmodels, 1);
    entry_list_unref(&l);
    finish(&t);
}

static void lists_of_models(void **state)
{
    static const struct {
        const char *metadata;
        unsigned models, told;
        const char *first; /* as it is told */
    } rows[] = {
        {"", 0, 0, NULL},
        {",\"models\":[\"a\",7,\"\",\"b\",\"a\"]", 2, 2,
         "{\"created\":0,\"id\":\"a\",\"object\":\"model\",\"owned_by\":\"inferd\"}"},
        {",\"models\":\"a\"", 0, 0, NULL},
        {",\"models\":[\"a\"],\"models_list\":[]", 1, 0, NULL},
        {",\"models\":[\"a\"],\"models_list\":{}", 1, 1, NULL},
        {",\"models_list\":[{\"z\":[1.50],\"id\":\"q\",\"created\":5},{\"id\":7},\"x\",{}]", 0, 1,
         "{\"created\":5,\"id\":\"q\",\"object\":\"model\",\"owned_by\":\"inferd\",\"z\":[1.5]}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct entries *t = make(10);
        struct entry_list *l;
        char text[512];

        (void)snprintf(text, sizeof text,
                       "{\"services\":[{\"name\":\"n\",\"host\":\"h\",\"port\":1,"
                       "\"metadata\":{\"type\":\"openai-api\"%s}}]}",
                       rows[i].metadata);
        (void)take(t, LISTING_REGISTRY, 0, text);
        settle(t);
        l = entries_list(t, cell_of);
        assert_int_equal(l->at[0].entry->nmodels, rows[i].models);
        assert_int_equal(l->at[0].entry->nlist, rows[i].told);
        if (rows[i].first)
            assert_str_is(l->at[0].entry->list[0].json, rows[i].first);
        entry_list_unref(&l);
        finish(&t);
    }
}

/* Two names of one engine: weight and class of the first who says them, models of the healthy. */
static void rows_of_one_engine(void **state)
{
    struct entries *t = make(10);
    const struct entries_engine *e;
    struct entries_picture p;
    struct arena a;

    (void)state;
    arena_init(&a, NULL);
    (void)take(
        t, LISTING_REGISTRY, 0,
        LIST("{\"name\":\"b\",\"host\":\"127.0.0.1\",\"port\":1,\"weight\":0,"
             "\"metadata\":{\"type\":\"openai-api\",\"models\":[\"m2\",\"m1\"],"
             "\"cache_type\":\"static\"}}," ONE("a", "LOCALHOST", "1", ",\"models\":[\"m1\"]")));
    e = engine_of(t);
    entries_picture(t, e, &a, &p);
    assert_null(entries_changed(t));
    assert_str_is(p.name, "a");
    assert_str_is(p.url, "http://LOCALHOST:1");
    assert_str_is(p.probe, "http://LOCALHOST:2/health");
    assert_int_equal(p.weight, 0);
    assert_int_equal(p.cache, CACHE_STATIC);
    assert_int_equal(p.listed, ENTRY_YES);
    assert_int_equal(p.nmodels, 2);
    assert_true(!p.from_file);
    (void)take(t, LISTING_REGISTRY, 1,
               LIST("{\"name\":\"b\",\"host\":\"127.0.0.1\",\"port\":1,\"weight\":0,"
                    "\"is_healthy\":false,\"metadata\":{\"type\":\"openai-api\",\"models\":[\"m2\","
                    "\"m1\"],\"cache_type\":\"static\"}}"));
    assert_ptr_equal(engine_of(t), e);
    entries_picture(t, e, &a, &p);
    assert_int_equal(p.listed, ENTRY_ABSENT);
    assert_int_equal(p.nmodels, 1);
    (void)take(
        t, LISTING_FILE, 1,
        "[{\"name\":\"z\",\"host\":\"0.0.0.0\",\"port\":1,\"health_url\":\"http://m:5/p\"}]");
    assert_ptr_equal(engine_of(t), e);
    entries_picture(t, e, &a, &p);
    assert_true(p.from_file);
    assert_int_equal(p.listed, ENTRY_YES);
    assert_str_is(p.name, "a");
    assert_str_is(p.probe, "http://m:5/p");
    arena_clear(&a);
    finish(&t);
}

/* An engine that moves is another one; the one before is let go. */
static void another_address_is_another_engine(void **state)
{
    struct entries *t = make(10);
    struct entries_engine *before, *e;

    (void)state;
    (void)take(t, LISTING_REGISTRY, 0, LIST(ONE("a", "h", "1", "")));
    before = entries_changed(t);
    (void)take(t, LISTING_REGISTRY, 1, LIST(ONE("a", "H", "1", ",\"x\":2")));
    assert_ptr_equal(entries_changed(t), before);
    assert_null(entries_changed(t));
    (void)take(t, LISTING_REGISTRY, 2, LIST(ONE("a", "h", "2", "")));
    e = entries_changed(t);
    assert_ptr_equal(e, before);
    assert_true(entries_engine_gone(e));
    entries_forget(t, &e);
    e = entries_changed(t);
    assert_true(e && !entries_engine_gone(e));
    finish(&t);
}

static void rows_have_a_bound(void **state)
{
    struct entries *t = make(2);
    struct entries_news news;

    (void)state;
    news = take(t, LISTING_REGISTRY, 0, LIST(ONE("a", "h", "1", "") "," ONE("b", "h", "2", "")));
    assert_int_equal(news.ignored, 0);
    news = take(t, LISTING_REGISTRY, 0,
                LIST(ONE("c", "h", "3", "") "," ONE("b", "h", "9", "") "," ONE("d", "h", "4", "")));
    assert_int_equal(news.ignored, 2);
    assert_int_equal(news.changed, 1);
    assert_int_equal(entries_count(t).rows[ENTRY_REGISTRY], 2);
    news = take(t, LISTING_FILE, 0, "[{\"name\":\"f\",\"host\":\"h\",\"port\":1}]");
    assert_int_equal(news.ignored, 1);
    settle(t);
    finish(&t);
}

static void health_of_a_row(void **state)
{
    struct entry e = {.refs = 1};
    struct entry_seat s = {.entry = &e, .cell = cell_create(0)};

    (void)state;
    assert_true(entry_healthy(&s));
    atomic_store(&e.listed, ENTRY_ABSENT);
    assert_true(entry_healthy(&s));
    atomic_store(&e.listed, ENTRY_NO);
    assert_false(entry_healthy(&s));
    atomic_store(&e.listed, ENTRY_YES);
    cell_set(s.cell, CELL_LISTED, CELL_BAD); /* the engine's, by its other rows */
    assert_true(entry_healthy(&s));
    cell_set(s.cell, CELL_PROBED, CELL_BAD);
    assert_false(entry_healthy(&s));
    cell_set(s.cell, CELL_PROBED, CELL_GOOD);
    atomic_store(&s.cell->door, CELL_DOOR_DEAD);
    assert_false(entry_healthy(&s));
    atomic_store(&s.cell->door, CELL_DOOR_HALF_OPEN);
    assert_true(entry_healthy(&s));
    cell_unref(&s.cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_a_model),
        cmocka_unit_test(the_same_again_changes_nothing),
        cmocka_unit_test(grace_begins_with_the_first_list_without_it),
        cmocka_unit_test(lasting_ones_stay_an_hour),
        cmocka_unit_test(who_returns_in_time_begins_anew),
        cmocka_unit_test(a_name_is_enough_to_be_there),
        cmocka_unit_test(the_file_stands),
        cmocka_unit_test(lists_of_models),
        cmocka_unit_test(rows_of_one_engine),
        cmocka_unit_test(another_address_is_another_engine),
        cmocka_unit_test(rows_have_a_bound),
        cmocka_unit_test(health_of_a_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
