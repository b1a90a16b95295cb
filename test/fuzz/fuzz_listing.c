/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_listing.c - any bytes as the router's lists of services: the first byte says which of the
 * two. Asserted: rows are within their bounds, each name is there once, URLs parse and lead to the
 * row's own place, a refusal says why, once; taken into a table, a list makes as many rows as it
 * has, the same list again changes nothing, every engine has a picture, lists of the other source
 * take nothing away, and empty ones of its own end them all.
 *
 * Covers: src/fleet/listing.c src/fleet/entries.c
 */
#include "conf/url.h"
#include "fleet/entries.h"
#include "fuzz.h"

static struct fuzz_room room;

struct notes {
    unsigned n[3];
};

static void on_note(void *ctx, const struct listing_note *n)
{
    struct notes *to = ctx;
    char memory[1024];
    struct buf b = buf_on(memory, sizeof memory);

    listing_write_note(n, &b);
    CHECK(b.n > 0 || b.full);
    to->n[n->gravity]++;
}

static void check_url(struct str text, const struct listing_row *r, unsigned port)
{
    const char *why;
    struct url u;

    CHECK(url_parse(text, &u, &why) == 0 && u.kind == URL_HTTP && u.port == port);
    CHECK(str_caseeq(u.host, r->host) || r->host.p[0] == '[');
}

static void check_row(const struct listing_row *r, enum listing_kind kind)
{
    const char *why;
    struct url u;
    struct json *v = NULL;

    CHECK(r->name.n >= 1 && r->name.n <= LISTING_NAME_BYTES && str_utf8_valid(r->name));
    CHECK(r->host.n >= 1 && r->host.n <= LISTING_HOST_BYTES && r->port >= 1 &&
          r->port <= LISTING_PORT_MAX && r->weight <= LISTING_WEIGHT_MAX);
    CHECK(r->weighed || r->weight == 1);
    CHECK(r->healthy || kind == LISTING_REGISTRY);
    check_url(r->url, r, r->port);
    check_url(r->babysitter_url, r, r->port + 1U);
    CHECK((kind == LISTING_FILE && str_eq(r->probe, STR("none"))) ||
          (url_parse(r->probe, &u, &why) == 0 && u.kind == URL_HTTP));
    CHECK(r->metadata.n <= LISTING_METADATA_BYTES && json_read(r->metadata, NULL, NULL, &v) == 0);
    CHECK(json_kind_of(v) == JSON_KIND_OBJECT);
    json_unref(&v);
}

static bool is_new(const struct listing *l, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (str_eq(l->rows[k].name, l->rows[i].name))
            return false;
    return true;
}

static void take(struct entries *t, enum listing_kind kind, const struct listing *l,
                 uint64_t now_ms, struct entries_news *news)
{
    if (kind == LISTING_FILE)
        entries_take_file(t, l, news);
    else
        entries_take_registry(t, l, now_ms, news);
}

static struct cell *cell_of(const struct entries_engine *e) { return e->owner; }

static uint32_t settle(struct entries *t)
{
    struct entries_engine *e;
    struct entries_picture p;
    struct arena a;
    uint32_t n = 0;

    arena_init(&a, NULL);
    for (; (e = entries_changed(t)); n++) {
        struct cell *c = e->owner;

        if (entries_engine_gone(e)) {
            cell_unref(&c);
            entries_forget(t, &e);
            continue;
        }
        entries_picture(t, e, &a, &p);
        CHECK(p.name.n > 0 && p.url.n > 0 && p.probe.n > 0);
        if (!c)
            e->owner = cell_create(0);
    }
    arena_clear(&a);
    return n;
}

static void check_table(const struct listing *l, enum listing_kind kind)
{
    struct entries *t = entries_create(&(struct entries_conf){.most = 64, .grace_ms = 1000});
    uint32_t most = (uint32_t)min_size(l->n, 64);
    struct listing none = {.rows = NULL};
    struct entries_news news;
    struct entry_list *rows;

    take(t, kind, l, 5, &news);
    CHECK(news.added == most && news.ignored == l->n - most && news.changed + news.removed == 0);
    CHECK(settle(t) <= most);
    rows = entries_list(t, cell_of);
    CHECK(rows->n == most);
    for (uint32_t i = 1; i < rows->n; i++)
        CHECK(str_cmp(rows->at[i - 1].entry->name, rows->at[i].entry->name) < 0);
    entry_list_unref(&rows);
    take(t, kind, l, 6, &news);
    CHECK(news.added + news.changed + news.removed + news.listed == 0 && settle(t) == 0);
    take(t, kind == LISTING_FILE ? LISTING_REGISTRY : LISTING_FILE, &none, 7, &news);
    CHECK(news.removed == 0);
    take(t, kind, &none, 8, &news);
    take(t, kind, &none, 8 + ENTRIES_LASTING_MS, &news);
    settle(t);
    rows = entries_list(t, cell_of);
    CHECK(rows->n == 0);
    entry_list_unref(&rows);
    entries_destroy(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct notes notes = {.n = {0}};
    struct listing l;
    enum listing_kind kind;
    int r;

    if (size == 0 || size > FUZZ_BYTES)
        return 0;
    kind = data[0] % 2 ? LISTING_FILE : LISTING_REGISTRY;
    r = listing_read(fuzz_fill(&room, data + 1, size - 1), kind, 1, on_note, &notes, &l);
    CHECK(notes.n[LISTING_REFUSED] == (r < 0));
    if (r < 0)
        return 0;
    CHECK(l.n + l.skipped <= l.elements && l.nnames <= l.elements);
    CHECK(notes.n[LISTING_SKIPPED] == l.skipped && (kind == LISTING_REGISTRY || l.skipped == 0));
    for (size_t i = 0; i < l.n; i++) {
        check_row(&l.rows[i], kind);
        CHECK(is_new(&l, i));
    }
    check_table(&l, kind);
    listing_fini(&l);
    return 0;
}
