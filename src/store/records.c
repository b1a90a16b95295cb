/* SPDX-License-Identifier: Apache-2.0
 *
 * records.c - an array of records in the order of their names, and two lists of them in the order
 * of their heartbeats: `fresh` and `old`. A heartbeat moves a record to the end of `fresh`; the
 * passing of time moves it from the front of `fresh` to the end of `old`, and the sweep takes it
 * from the front of `old`: each in O(1), however many there are.
 *
 * Every record keeps itself as JSON (`text`), written anew when anything but its heartbeat changes
 * (write_text(), by changed()). The lists that everybody asks for, all and the healthy ones, are
 * those texts side by side and are put together when somebody asks for the first time after a
 * change. A heartbeat changes twelve bytes in the text and in these lists, in place, so that ten
 * thousand services that beat and a thousand routers that ask cost no more than the copying.
 *
 * A list that is being sent when its successor is made lives on until its last reader is through.
 */
#include "store/records.h"

#include <time.h>

#include "base/jsonw.h"
#include "base/mem.h"

enum {
    GAP_MS = 5000,     /* unasked for longer: nobody was there */
    TICK_MS = 1000,    /* what of such a gap counts */
    FRAME_BYTES = 512, /* keys, punctuation and numbers of a record */
    TEXT_BYTES = RECORDS_METADATA_BYTES + (64 << 10),
};

struct records {
    struct record **at; /* by name */
    size_t n, size, max;
    struct list fresh, old; /* by beat_ms */
    size_t healthy;
    size_t text_bytes; /* of all records, with a comma each */
    uint64_t now_ms;   /* the table's clock: the monotonic one without the gaps */
    uint64_t seen_ms;  /* the monotonic one, when it was last told */
    uint64_t wall_s;
    uint64_t serials;
    struct records_list *current[RECORDS_OTHER]; /* NULL: to be made */
    size_t held_bytes;
};

static const char *const probed_texts[] = {
    [RECORDS_UNKNOWN] = "unknown",
    [RECORDS_GOOD] = "healthy",
    [RECORDS_BAD] = "unhealthy",
};

const char *records_probed_text(enum records_probed probed) { return probed_texts[probed]; }

void records_write_time(struct buf *out, uint64_t wall_s)
{
    time_t s = (time_t)wall_s;
    struct tm t;
    char text[40];

    CHECK(gmtime_r(&s, &t));
    buf_bytes(out, text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S+00:00", &t));
}

void records_write_beat(struct buf *out, const struct record *r)
{
    buf_u64(out, r->beat_s);
    buf_text(out, ".0");
}

/* ---- lists ---- */

static void free_list(struct records_list *l)
{
    buf_fini(&l->bytes);
    mem_free(l);
}

/* What was put together is not true any more. A list that nobody holds keeps its memory for the
 * next. */
static void spoil_lists(struct records *t)
{
    for (unsigned k = 0; k < RECORDS_OTHER; k++) {
        struct records_list *l = t->current[k];

        if (!l)
            continue;
        l->current = false;
        if (l->held > 0) {
            t->held_bytes += l->bytes.size;
            t->current[k] = NULL;
        }
    }
}

static void add_text(struct records_list *l, struct record *r)
{
    if (l->count++ > 0)
        buf_char(&l->bytes, ',');
    if (l->which != RECORDS_OTHER) {
        r->in[l->which].list = l;
        r->in[l->which].at = l->bytes.n;
    }
    buf_add(&l->bytes, r->text);
}

static void put_together(struct records *t, struct records_list *l)
{
    buf_clear(&l->bytes);
    CHECK(buf_reserve(&l->bytes, t->text_bytes)); /* no more than that: it may be held for long */
    l->count = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (l->which == RECORDS_HEALTHY && !t->at[i]->healthy)
            t->at[i]->in[l->which].list = NULL;
        else
            add_text(l, t->at[i]);
    }
    CHECK(buf_status(&l->bytes) == 0);
    l->current = true;
}

struct records_list *records_list(struct records *t, enum records_which which)
{
    struct records_list *l = t->current[which];

    CHECK(which != RECORDS_OTHER);
    if (!l) {
        l = xnew(struct records_list, .which = which, .bytes = buf_make(SIZE_MAX));
        t->current[which] = l;
    }
    if (!l->current)
        put_together(t, l);
    l->held++;
    return l;
}

struct records_list *records_select(struct records *t, struct str status, int healthy)
{
    struct records_list *l;

    if (!status.p && healthy != 0)
        return records_list(t, healthy < 0 ? RECORDS_ALL : RECORDS_HEALTHY);
    l = xnew(struct records_list, .which = RECORDS_OTHER, .held = 1, .bytes = buf_make(SIZE_MAX));
    for (size_t i = 0; i < t->n; i++) {
        struct record *r = t->at[i];

        if ((!status.p || str_eq(status, r->status)) &&
            (healthy < 0 || r->healthy == (healthy > 0)))
            add_text(l, r);
    }
    t->held_bytes += l->bytes.size;
    return l;
}

void records_unlist(struct records *t, struct records_list **lp)
{
    struct records_list *l = TAKE(lp);

    if (!l)
        return;
    CHECK(l->held > 0);
    l->held--;
    if (l->held > 0 || (l->which != RECORDS_OTHER && t->current[l->which] == l))
        return;
    t->held_bytes -= l->bytes.size;
    free_list(l);
}

size_t records_held_bytes(const struct records *t) { return t->held_bytes; }

/* ---- one record ---- */

/* `metadata` may stand in the text that is replaced. */
static void write_text(struct records *t, struct record *r, struct str metadata)
{
    struct buf b = buf_make(TEXT_BYTES);
    struct jsonw w = jsonw_make(&b);
    char beat_memory[32];
    struct buf beat = buf_on(beat_memory, sizeof beat_memory);
    int32_t weight = r->weight >= 0 ? r->weight : r->metadata_weight;
    size_t metadata_at;
    char *old = (char *)(uintptr_t)r->text.p;

    jsonw_begin_object(&w);
    jsonw_key(&w, "health_status");
    jsonw_cstr(&w, probed_texts[r->probed]);
    jsonw_key(&w, "host");
    jsonw_str(&w, r->host);
    jsonw_key(&w, "hostname");
    jsonw_str(&w, r->hostname);
    jsonw_key(&w, "is_healthy");
    jsonw_bool(&w, r->healthy);
    jsonw_key(&w, "last_heartbeat");
    records_write_beat(&beat, r);
    r->stamp_at = b.n;
    jsonw_raw(&w, buf_str(&beat));
    jsonw_key(&w, "metadata");
    metadata_at = b.n;
    jsonw_raw(&w, metadata);
    jsonw_key(&w, "name");
    jsonw_str(&w, r->name);
    jsonw_key(&w, "port");
    jsonw_u64(&w, r->port);
    jsonw_key(&w, "status");
    jsonw_str(&w, r->status);
    jsonw_key(&w, "timestamp");
    buf_clear(&beat);
    records_write_time(&beat, r->registered_s);
    jsonw_str(&w, buf_str(&beat));
    jsonw_key(&w, "url");
    jsonw_str(&w, r->url);
    if (weight >= 0) {
        jsonw_key(&w, "weight");
        jsonw_i64(&w, weight);
    }
    jsonw_end_object(&w);
    CHECK(buf_status(&b) == 0); /* every part is bounded */
    t->text_bytes -= r->text.n + (old != NULL);
    t->text_bytes += b.n + 1;
    r->text = str_span(mem_dup(b.p, b.n), b.n);
    r->metadata = str_span(r->text.p + metadata_at, metadata.n);
    buf_fini(&b);
    mem_free(old); /* `metadata` may have been part of it */
}

/* Anything but its heartbeat changed, or may have. `metadata` as it is from now on. */
static void changed(struct records *t, struct record *r, struct str metadata)
{
    bool healthy = r->fresh && str_eq(r->status, STR("running"));

    t->healthy += healthy;
    t->healthy -= r->healthy;
    r->healthy = healthy;
    write_text(t, r, metadata);
    spoil_lists(t);
}

/* The table's time becomes the record's. */
static void beat(struct records *t, struct record *r)
{
    r->beat_ms = t->now_ms;
    r->beat_s = t->wall_s;
    r->fresh = true;
    list_remove(&r->node);
    list_append(&t->fresh, &r->node);
}

/* Only the stamp moves on; false when it is of another length, which nothing can hide. */
static bool stamp(struct records *t, struct record *r)
{
    char memory[32];
    struct buf b = buf_on(memory, sizeof memory);
    char *text = (char *)(uintptr_t)r->text.p + r->stamp_at;

    records_write_beat(&b, r);
    if (memcmp(text + b.n, ",\"metadata\":", 12) != 0)
        return false;
    memcpy(text, b.p, b.n);
    for (unsigned k = 0; k < RECORDS_OTHER; k++) {
        struct records_list *l = t->current[k];

        if (l && l->current && r->in[k].list == l)
            memcpy(l->bytes.p + r->in[k].at + r->stamp_at, b.p, b.n);
    }
    return true;
}

static void set_str(struct str *at, struct str value)
{
    char *old = (char *)(uintptr_t)at->p;

    if (!value.p || (old && str_eq(*at, value)))
        return;
    *at = str_span(str_dup(value), value.n);
    mem_free(old);
}

static void free_record(struct record *r)
{
    struct str *const owned[] = {&r->name, &r->host, &r->hostname, &r->url, &r->status, &r->text};

    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        mem_free((char *)(uintptr_t)owned[i]->p);
    mem_free(r->host_pins);
    mem_free(r->url_pins);
    mem_free(r);
}

/* What a change will add to the list at most, escapes included: those that JSON needs are no longer
 * than six bytes a byte. */
static size_t growth(const struct records_fields *f)
{
    return 6 * (f->name.n + f->host.n + f->hostname.n + f->url.n + f->status.n) + f->metadata.n;
}

/* `freed`: bytes of the record as it is that the change replaces. */
static bool has_room(const struct records *t, size_t freed, const struct records_fields *f)
{
    return t->text_bytes - freed + growth(f) + FRAME_BYTES <= RECORDS_LIST_BYTES;
}

static void aim(struct records *t, struct record *r, struct records_pins **host,
                struct records_pins **url)
{
    mem_free(r->host_pins);
    mem_free(r->url_pins);
    r->host_pins = TAKE(host);
    r->url_pins = TAKE(url);
    r->serial = ++t->serials;
    r->probing = NULL;
}

static void take_fields(struct record *r, const struct records_fields *f)
{
    set_str(&r->host, f->host);
    set_str(&r->hostname, f->hostname);
    set_str(&r->url, f->url);
    set_str(&r->status, f->status);
    if (f->port >= 0)
        r->port = (uint16_t)f->port;
    if (f->weight >= 0)
        r->weight = f->weight;
    if (f->metadata.p) {
        r->openai = f->openai;
        r->metadata_weight = f->metadata_weight;
    }
}

/* ---- the table ---- */

struct records *records_create(size_t max)
{
    struct records *t = xnew(struct records, .max = max);

    list_init(&t->fresh);
    list_init(&t->old);
    return t;
}

void records_destroy(struct records **tp)
{
    struct records *t = TAKE(tp);

    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++)
        free_record(t->at[i]);
    for (unsigned k = 0; k < RECORDS_OTHER; k++) {
        CHECK(!t->current[k] || t->current[k]->held == 0);
        if (t->current[k])
            free_list(t->current[k]);
    }
    CHECK(t->held_bytes == 0);
    mem_free(t->at);
    mem_free(t);
}

void records_at(struct records *t, uint64_t now_ms, uint64_t wall_s)
{
    uint64_t passed = t->seen_ms > 0 && now_ms > t->seen_ms ? now_ms - t->seen_ms : 0;
    struct record *r;

    t->now_ms += passed > GAP_MS ? TICK_MS : passed;
    t->seen_ms = now_ms;
    t->wall_s = wall_s;
    while ((r = list_first(&t->fresh, struct record, node)) &&
           t->now_ms - r->beat_ms >= RECORDS_FRESH_MS) {
        r->fresh = false;
        list_remove(&r->node);
        list_append(&t->old, &r->node);
        if (r->healthy)
            changed(t, r, r->metadata);
    }
}

/* Index of the first whose name is not less, and whether it is equal. */
static size_t place(const struct records *t, struct str name, bool *ret_there)
{
    size_t low = 0, high = t->n;

    *ret_there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_cmp(t->at[middle]->name, name);

        if (order == 0) {
            *ret_there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct record *records_find(const struct records *t, struct str name)
{
    bool there;
    size_t i = place(t, name, &there);

    return there ? t->at[i] : NULL;
}

struct record *records_after(const struct records *t, struct str name)
{
    bool there;
    size_t i = place(t, name, &there) + there;

    return i < t->n ? t->at[i] : NULL;
}

size_t records_count(const struct records *t) { return t->n; }
size_t records_healthy(const struct records *t) { return t->healthy; }

static struct record *insert(struct records *t, struct str name)
{
    struct record *r = xnew(struct record, .port = 0);
    bool there;
    size_t i = place(t, name, &there);

    CHECK(!there);
    if (t->n == t->size) {
        t->size = max_size(64, 2 * t->size);
        t->at = mem_resize_array(t->at, t->size, sizeof(struct record *));
    }
    memmove(t->at + i + 1, t->at + i, (t->n - i) * sizeof(struct record *));
    t->at[i] = r;
    t->n++;
    list_init(&r->node);
    set_str(&r->name, name);
    return r;
}

int records_register(struct records *t, const struct records_fields *f, struct records_pins **host,
                     struct records_pins **url, struct record **ret)
{
    struct record *r = records_find(t, f->name);

    if ((!r && t->n >= t->max) || !has_room(t, r ? r->text.n : 0, f))
        return -E_LIMIT;
    if (!r)
        r = insert(t, f->name);
    r->weight = r->metadata_weight = -1;
    take_fields(r, f);
    aim(t, r, host, url);
    r->probed = RECORDS_UNKNOWN;
    r->registered_s = t->wall_s;
    beat(t, r);
    changed(t, r, f->metadata);
    *ret = r;
    return 0;
}

int records_change(struct records *t, struct record *r, const struct records_fields *f, bool aimed,
                   struct records_pins **host, struct records_pins **url)
{
    bool openai = r->openai;
    uint16_t port = r->port;

    if (!has_room(t, f->metadata.p ? r->metadata.n : 0, f))
        return -E_LIMIT;
    take_fields(r, f);
    if (aimed) {
        aim(t, r, host, url);
    } else if (openai != r->openai || port != r->port) {
        r->serial = ++t->serials;
        r->probing = NULL;
    }
    beat(t, r);
    changed(t, r, f->metadata.p ? f->metadata : r->metadata);
    return 0;
}

int records_beat(struct records *t, struct record *r, struct str status)
{
    struct records_fields f = {.status = status};
    bool same = !status.p || str_eq(status, r->status);

    if (!same && !has_room(t, r->status.n, &f))
        return -E_LIMIT;
    set_str(&r->status, status);
    same = same && r->fresh;
    beat(t, r);
    if (!same || !stamp(t, r))
        changed(t, r, r->metadata);
    return 0;
}

void records_set_probed(struct records *t, struct record *r, enum records_probed probed)
{
    if (r->probed == probed)
        return;
    r->probed = probed;
    changed(t, r, r->metadata);
}

void records_remove(struct records *t, struct record *r)
{
    bool there;
    size_t i = place(t, r->name, &there);

    CHECK(there && t->at[i] == r);
    memmove(t->at + i, t->at + i + 1, (t->n - i - 1) * sizeof(struct record *));
    t->n--;
    t->healthy -= r->healthy;
    t->text_bytes -= r->text.n + 1;
    list_remove(&r->node);
    spoil_lists(t);
    free_record(r);
}

void records_sweep(struct records *t, void (*fn)(void *ctx, const struct record *r), void *ctx)
{
    struct record *r;

    while ((r = list_first(&t->old, struct record, node)) &&
           t->now_ms - r->beat_ms > RECORDS_KEPT_MS) {
        fn(ctx, r);
        records_remove(t, r);
    }
}
