/* SPDX-License-Identifier: Apache-2.0
 *
 * records_test.c - the registry's table against a model that keeps an array and computes everything
 * anew each time: 10^5 random registrations, heartbeats, changes, removals, probes, sweeps and
 * jumps of both clocks, with lists held and let go meanwhile. Then each rule by itself.
 */
#include "unit.h"

#include <malloc.h>

#include "base/mem.h"
#include "store/records.h"

enum { NAMES = 48, HELD = 16, OPERATIONS = 100000, MAX = 40 };

static uint64_t next_random(uint64_t *s) /* xorshift64* */
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 2685821657736338717ULL;
}

/* ---- the model ---- */

struct twin {
    bool there;
    const char *status, *host, *metadata;
    int port, weight, metadata_weight;
    uint64_t beat_ms, beat_s, registered_s;
    enum records_probed probed;
};

struct world {
    struct records *t;
    struct twin twin[NAMES]; /* in the order of the names */
    uint64_t now_ms, wall_s; /* now_ms without gaps */
    uint64_t clock_ms;       /* what the table is told */
    struct records_list *held[HELD];
    size_t held_n[HELD];
    uint64_t r;
};

static const char *const statuses[] = {"running", "starting", "running", "with \"quotes\""};
static const char *const hosts[] = {"127.0.0.1", "localhost", "a\tb"};
static const char *const metadatas[] = {"{}", "{\"type\":\"openai-api\"}",
                                        "{\"a\":[1,2.5],\"weight\":3}"};

static bool is_healthy(const struct world *w, const struct twin *m)
{
    return strcmp(m->status, "running") == 0 && w->now_ms - m->beat_ms < RECORDS_FRESH_MS;
}

static void name_of(size_t k, char *text, size_t n) { (void)snprintf(text, n, "svc-%02zu", k); }

static void put_escaped(struct buf *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '"')
            buf_text(out, "\\\"");
        else if (*s == '\t')
            buf_text(out, "\\t");
        else
            buf_char(out, *s);
    }
}

static void put_twin(const struct world *w, size_t k, struct buf *out)
{
    const struct twin *m = &w->twin[k];
    int weight = m->weight >= 0 ? m->weight : m->metadata_weight;
    char name[16];

    name_of(k, name, sizeof name);
    buf_printf(out, "{\"health_status\":\"%s\",\"host\":\"", records_probed_text(m->probed));
    put_escaped(out, m->host);
    buf_printf(out, "\",\"hostname\":\"h\",\"is_healthy\":%s,\"last_heartbeat\":%llu.0,",
               is_healthy(w, m) ? "true" : "false", (unsigned long long)m->beat_s);
    buf_printf(out, "\"metadata\":%s,\"name\":\"%s\",\"port\":%d,\"status\":\"", m->metadata, name,
               m->port);
    put_escaped(out, m->status);
    buf_text(out, "\",\"timestamp\":\"");
    records_write_time(out, m->registered_s);
    buf_text(out, "\",\"url\":\"http://x\"");
    if (weight >= 0)
        buf_printf(out, ",\"weight\":%d", weight);
    buf_char(out, '}');
}

static void assert_list(struct world *w, enum records_which which)
{
    struct records_list *l = records_list(w->t, which);
    struct buf want = buf_make(1 << 20);
    size_t n = 0;

    for (size_t k = 0; k < NAMES; k++) {
        if (!w->twin[k].there || (which == RECORDS_HEALTHY && !is_healthy(w, &w->twin[k])))
            continue;
        if (n++ > 0)
            buf_char(&want, ',');
        put_twin(w, k, &want);
    }
    assert_int_equal(l->count, n);
    assert_str_is(buf_str(&l->bytes), buf_cstr(&want));
    buf_fini(&want);
    records_unlist(w->t, &l);
}

static void assert_world(struct world *w)
{
    size_t n = 0, healthy = 0;

    for (size_t k = 0; k < NAMES; k++) {
        char name[16];

        name_of(k, name, sizeof name);
        assert_int_equal(records_find(w->t, str_of(name)) != NULL, w->twin[k].there);
        n += w->twin[k].there;
        healthy += w->twin[k].there && is_healthy(w, &w->twin[k]);
    }
    assert_int_equal(records_count(w->t), n);
    assert_int_equal(records_healthy(w->t), healthy);
    assert_list(w, RECORDS_ALL);
    assert_list(w, RECORDS_HEALTHY);
}

/* ---- what happens ---- */

#define PICK(w, from) (from)[next_random(&(w)->r) % ARRAY_LEN(from)]

static void do_register(struct world *w, size_t k, const char *name)
{
    struct twin *m = &w->twin[k];
    size_t which = next_random(&w->r) % ARRAY_LEN(metadatas);
    struct twin is = {
        .there = true,
        .status = PICK(w, statuses),
        .host = PICK(w, hosts),
        .metadata = metadatas[which],
        .port = (int)(next_random(&w->r) % 65536),
        .weight = next_random(&w->r) % 2 ? -1 : (int)(next_random(&w->r) % 9),
        .metadata_weight = which == 2 ? 3 : -1,
        .beat_ms = w->now_ms,
        .beat_s = w->wall_s,
        .registered_s = w->wall_s,
    };
    struct records_fields f = {
        .name = str_of(name),
        .host = str_of(is.host),
        .hostname = STR("h"),
        .url = STR("http://x"),
        .status = str_of(is.status),
        .port = is.port,
        .metadata = str_of(is.metadata),
        .openai = which == 1,
        .metadata_weight = is.metadata_weight,
        .weight = is.weight,
    };
    struct records_pins *host = NULL, *url = NULL;
    struct record *r = records_find(w->t, f.name);
    uint64_t serial = r ? r->serial : 0;
    bool full = !m->there && records_count(w->t) == MAX;

    assert_int_equal(records_register(w->t, &f, &host, &url, &r), full ? -E_LIMIT : 0);
    if (full)
        return;
    assert_true(r->serial > serial);
    *m = is;
}

static void do_change(struct world *w, size_t k, struct record *r)
{
    struct twin *m = &w->twin[k];
    uint64_t dice = next_random(&w->r);
    struct records_fields f = {.port = -1, .weight = -1, .metadata_weight = -1};
    struct records_pins *host = NULL, *url = NULL;

    if (dice & 1)
        m->status = PICK(w, statuses), f.status = str_of(m->status);
    if (dice & 2)
        m->host = PICK(w, hosts), f.host = str_of(m->host);
    if (dice & 4)
        m->port = f.port = (int)(dice >> 40) % 65536;
    if (dice & 8)
        m->weight = f.weight = (int)(dice >> 50) % 7;
    if (dice & 16) {
        size_t which = (dice >> 30) % ARRAY_LEN(metadatas);

        m->metadata = metadatas[which];
        f.metadata = str_of(m->metadata);
        f.openai = which == 1;
        m->metadata_weight = f.metadata_weight = which == 2 ? 3 : -1;
    }
    m->beat_ms = w->now_ms;
    m->beat_s = w->wall_s;
    assert_int_equal(records_change(w->t, r, &f, f.host.p != NULL, &host, &url), 0);
}

static void do_beat(struct world *w, size_t k, struct record *r)
{
    struct twin *m = &w->twin[k];
    bool tells = next_random(&w->r) % 4 == 0;

    if (tells)
        m->status = PICK(w, statuses);
    m->beat_ms = w->now_ms;
    m->beat_s = w->wall_s;
    assert_int_equal(records_beat(w->t, r, tells ? str_of(m->status) : STR_NONE), 0);
}

static void on_silent(void *ctx, const struct record *r)
{
    struct world *w = ctx;
    char name[16];

    for (size_t k = 0; k < NAMES; k++) {
        name_of(k, name, sizeof name);
        if (str_eq(r->name, str_of(name))) {
            assert_true(w->twin[k].there && w->now_ms - w->twin[k].beat_ms > RECORDS_KEPT_MS);
            w->twin[k].there = false;
            return;
        }
    }
    fail();
}

/* The monotonic clock goes on, or nobody was awake; the wall clock does what it likes. */
static void pass_time(struct world *w)
{
    uint64_t dice = next_random(&w->r), ms = dice % 5000;

    w->clock_ms += ms;
    w->now_ms += ms;
    if (dice % 97 == 0) { /* suspended for an hour: one second of it counts */
        w->clock_ms += 3600000;
        w->now_ms += 1000 - ms;
    }
    w->wall_s += ms / 1000;
    if (dice % 89 == 0)
        w->wall_s = 1000000000 + (dice >> 32);
    if (dice % 1009 == 0)
        w->wall_s = 1000 + (dice >> 52); /* another length */
    records_at(w->t, w->clock_ms, w->wall_s);
}

/* Lists that are held keep their length and count, whatever happens. */
static void hold_or_let_go(struct world *w)
{
    size_t i = next_random(&w->r) % HELD;

    if (w->held[i]) {
        assert_int_equal(w->held[i]->bytes.n, w->held_n[i]);
        records_unlist(w->t, &w->held[i]);
        return;
    }
    switch (next_random(&w->r) % 4) {
    case 0:
        w->held[i] = records_list(w->t, RECORDS_ALL);
        break;
    case 1:
        w->held[i] = records_list(w->t, RECORDS_HEALTHY);
        break;
    case 2:
        w->held[i] = records_select(w->t, STR("running"), -1);
        break;
    default:
        w->held[i] = records_select(w->t, STR_NONE, 0);
    }
    w->held_n[i] = w->held[i]->bytes.n;
}

static void do_something(struct world *w)
{
    size_t k = next_random(&w->r) % NAMES;
    uint64_t dice = next_random(&w->r) % 100;
    struct record *r;
    char name[16];

    name_of(k, name, sizeof name);
    r = records_find(w->t, str_of(name));
    if (dice < 12)
        do_register(w, k, name);
    else if (dice < 20)
        hold_or_let_go(w);
    else if (dice < 35)
        pass_time(w);
    else if (dice < 36)
        records_sweep(w->t, on_silent, w);
    else if (r && dice < 80)
        do_beat(w, k, r);
    else if (r && dice < 88)
        do_change(w, k, r);
    else if (r && dice < 94)
        records_set_probed(w->t, r, w->twin[k].probed = (enum records_probed)(1 + dice % 2));
    else if (r && dice < 97) {
        records_remove(w->t, r);
        w->twin[k].there = false;
    }
}

static void test_against_model(void **state)
{
    struct world w = {.r = 88172645463325252ULL, .now_ms = 1000, .clock_ms = 1000};
    size_t most = 0;

    (void)state;
    w.wall_s = 1795208933;
    w.t = records_create(MAX);
    records_at(w.t, w.clock_ms, w.wall_s);
    for (int i = 0; i < OPERATIONS; i++) {
        do_something(&w);
        if (next_random(&w.r) % 32 == 0)
            assert_world(&w);
        if (i == OPERATIONS / 10)
            most = mallinfo2().uordblks;
    }
    /* as much as after a tenth of it: nothing piles up */
    assert_in_range(mallinfo2().uordblks, 0, most + (1 << 20));
    for (size_t i = 0; i < HELD; i++)
        records_unlist(w.t, &w.held[i]);
    assert_int_equal(records_held_bytes(w.t), 0);
    assert_world(&w);
    records_destroy(&w.t);
}

/* ---- one by one ---- */

static struct record *add(struct records *t, const char *name, const char *status)
{
    struct records_fields f = {
        .name = str_of(name),
        .host = STR("127.0.0.1"),
        .hostname = STR("localhost"),
        .url = STR("http://127.0.0.1:6001"),
        .status = str_of(status),
        .port = 6001,
        .metadata = STR("{}"),
        .metadata_weight = -1,
        .weight = -1,
    };
    struct records_pins *host = NULL, *url = NULL;
    struct record *r = NULL;

    assert_int_equal(records_register(t, &f, &host, &url, &r), 0);
    return r;
}

/* Seconds pass one by one, as they do while somebody is awake. */
static void wait_s(struct records *t, uint64_t *ms, unsigned s)
{
    while (s-- > 0)
        records_at(t, *ms += 1000, 1795208933);
}

static void count_silent(void *ctx, const struct record *r)
{
    (void)r;
    ++*(int *)ctx;
}

static void test_ages_to_the_second(void **state)
{
    struct records *t = records_create(10);
    uint64_t ms = 5000;
    struct record *r;
    int gone = 0;

    (void)state;
    records_at(t, ms, 1795208933);
    r = add(t, "a", "running");
    wait_s(t, &ms, 119);
    assert_true(r->healthy);
    wait_s(t, &ms, 1);
    assert_false(r->healthy);
    assert_int_equal(records_healthy(t), 0);
    assert_int_equal(records_beat(t, r, STR_NONE), 0);
    assert_true(r->healthy);
    wait_s(t, &ms, 300);
    records_sweep(t, count_silent, &gone);
    assert_int_equal(gone, 0);
    wait_s(t, &ms, 1);
    records_sweep(t, count_silent, &gone);
    assert_int_equal(gone, 1);
    assert_null(records_find(t, STR("a")));
    records_destroy(&t);
}

static void test_only_running_is_alive(void **state)
{
    struct records *t = records_create(10);
    struct record *r;

    (void)state;
    records_at(t, 1, 1795208933);
    r = add(t, "a", "Running");
    assert_false(r->healthy);
    assert_int_equal(records_beat(t, r, STR("running")), 0);
    assert_true(r->healthy);
    records_set_probed(t, r, RECORDS_BAD); /* informational */
    assert_true(r->healthy);
    records_destroy(&t);
}

/* Ten hours asleep are one second: whoever could not beat is not dead. */
static void test_gaps_are_forgiven(void **state)
{
    struct records *t = records_create(10);
    struct record *r;

    (void)state;
    records_at(t, 1000, 1795208933);
    r = add(t, "a", "running");
    records_at(t, 36001000, 1795244933);
    assert_true(r->healthy);
    records_destroy(&t);
}

static void test_list_has_an_end(void **state)
{
    struct records *t = records_create(100000);
    char *big = mem_alloc(RECORDS_METADATA_BYTES + 1);
    struct records_fields f = {
        .host = STR("127.0.0.1"),
        .hostname = STR("h"),
        .url = STR("http://127.0.0.1:6001"),
        .status = STR("running"),
        .port = 1,
        .metadata_weight = -1,
        .weight = -1,
    };
    struct records_pins *host = NULL, *url = NULL;
    struct records_list *l;
    struct record *r;
    char name[16];
    int i = 0, e;

    (void)state;
    memset(big, 'x', RECORDS_METADATA_BYTES);
    memcpy(big, "{\"k\":\"", 6);
    memcpy(big + RECORDS_METADATA_BYTES - 2, "\"}", 3);
    f.metadata = str_of(big);
    records_at(t, 1, 1795208933);
    do {
        (void)snprintf(name, sizeof name, "n%d", i++);
        f.name = str_of(name);
        e = records_register(t, &f, &host, &url, &r);
    } while (e == 0);
    assert_int_equal(e, -E_LIMIT);
    l = records_list(t, RECORDS_ALL);
    assert_in_range(l->bytes.n, RECORDS_LIST_BYTES - (1 << 20), RECORDS_LIST_BYTES);
    records_unlist(t, &l);
    /* a repeat replaces, and fits */
    f.name = STR("n0");
    assert_int_equal(records_register(t, &f, &host, &url, &r), 0);
    records_destroy(&t);
    mem_free(big);
}

static void test_walks_in_order(void **state)
{
    static const char *const names[] = {"b", "a", "\xc3\xa9", "A", "a/b", "aa"};
    static const char *const order[] = {"A", "a", "a/b", "aa", "b", "\xc3\xa9"};
    struct records *t = records_create(10);
    struct record *r;
    size_t n = 0;

    (void)state;
    records_at(t, 1, 1795208933);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        add(t, names[i], "running");
    for (r = records_after(t, STR("")); r; r = records_after(t, r->name))
        assert_str_is(r->name, order[n++]);
    assert_int_equal(n, ARRAY_LEN(order));
    records_remove(t, records_find(t, STR("a/b")));
    assert_str_is(records_after(t, STR("a/b"))->name, "aa");
    records_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),         cmocka_unit_test(test_ages_to_the_second),
        cmocka_unit_test(test_only_running_is_alive), cmocka_unit_test(test_gaps_are_forgiven),
        cmocka_unit_test(test_list_has_an_end),       cmocka_unit_test(test_walks_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
