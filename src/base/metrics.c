/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.c - the registry and the text format. Rendering walks families, then the product of their
 * labels like an odometer, and sums the cells of all shards; cells are read while their owners
 * write, so a histogram's count is computed from its buckets and never contradicts them.
 */
#include "base/metrics.h"

#include "base/map.h"
#include "base/mem.h"

enum {
    BOUNDS = METRICS_BOUNDS,
    NAME_BYTES = 128, /* of a dynamic label's value */
};

/* Upper bounds, inclusive, ascending, in observed units; `per_unit` of these make a printed one. */
static const struct scale {
    unsigned count;
    uint64_t per_unit;
    uint64_t le[BOUNDS];
} scales[] = {
    [METRICS_SECONDS] = {18,
                         1000000,
                         {1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000,
                          2500000, 5000000, 10000000, 30000000, 60000000, 120000000, 300000000,
                          600000000}},
    [METRICS_DELAY] = {16,
                       1000000,
                       {10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000,
                        250000, 500000, 1000000}},
    [METRICS_BYTES] =
        {10, 1, {256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}},
    [METRICS_COUNT] = {16,
                       1,
                       {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000,
                        100000}},
};

struct set {
    const struct metrics_family *families;
    unsigned count, shards;
    const char *shard[METRICS_SHARDS];
};

/* Values of one dynamic label; name[0] is "other". */
struct table {
    const struct metrics_label *label;
    struct map index; /* name to &name[i] */
    char *name[METRICS_NAMES];
    unsigned count;
};

struct metrics {
    struct set set[METRICS_SETS];
    struct table *table[METRICS_TABLES];
    struct {
        metrics_source_fn *fn;
        void *ctx;
    } source[METRICS_SOURCES];
    unsigned sets, tables, sources;
};

void metrics_observe(struct metrics_histogram *h, enum metrics_scale scale, uint64_t v)
{
    const struct scale *s = &scales[scale];
    unsigned i = 0;

    while (i < s->count && v > s->le[i])
        i++;
    __atomic_store_n(&h->bucket[i], __atomic_load_n(&h->bucket[i], __ATOMIC_RELAXED) + 1,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&h->sum, __atomic_load_n(&h->sum, __ATOMIC_RELAXED) + v, __ATOMIC_RELAXED);
}

/* Registry ------------------------------------------------------------------------------------- */

struct metrics *metrics_create(void) { return mem_alloc(sizeof(struct metrics)); }

void metrics_destroy(struct metrics **mp)
{
    struct metrics *m = TAKE(mp);

    if (!m)
        return;
    for (unsigned i = 0; i < m->tables; i++) {
        struct table *t = m->table[i];

        for (unsigned j = 0; j < t->count; j++)
            mem_free(t->name[j]);
        map_fini(&t->index);
        mem_free(t);
    }
    xfree(m);
}

static struct table *table_find(const struct metrics *m, const struct metrics_label *label)
{
    for (unsigned i = 0; i < m->tables; i++)
        if (str_eq(str_of(m->table[i]->label->name), str_of(label->name)))
            return m->table[i];
    return NULL;
}

static struct table *table_get(struct metrics *m, const struct metrics_label *label)
{
    struct table *t = table_find(m, label);

    if (t)
        return t;
    CHECK(!label->values && label->count == METRICS_NAMES && m->tables < METRICS_TABLES);
    t = m->table[m->tables++] = xnew(struct table, .label = label, .count = 1);
    map_init(&t->index, (uint64_t)(uintptr_t)t);
    t->name[0] = mem_strdup("other");
    return t;
}

unsigned metrics_name(struct metrics *m, const struct metrics_label *label, struct str name)
{
    struct table *t = table_get(m, label);
    char **found;

    name = str_head(name, str_utf8_cut(name, NAME_BYTES));
    if (name.n == 0)
        return 0;
    found = map_find(&t->index, name);
    if (found)
        return (unsigned)(found - t->name);
    if (t->count == METRICS_NAMES)
        return 0;
    found = &t->name[t->count];
    *found = str_dup(name);
    (void)map_put(&t->index, str_span(*found, name.n), found);
    return t->count++;
}

struct str metrics_name_of(const struct metrics *m, const struct metrics_label *label,
                           unsigned index)
{
    const struct table *t = table_find(m, label);

    return t && index < t->count ? str_of(t->name[index]) : STR("other");
}

static size_t cell_bytes(const struct metrics_family *f)
{
    return f->type == METRICS_COUNTER ? sizeof(struct metrics_counter)
           : f->type == METRICS_GAUGE ? sizeof(struct metrics_gauge)
                                      : sizeof(struct metrics_histogram);
}

static void family_check(struct metrics *m, const struct metrics_family *f)
{
    size_t cells = 1;

    for (unsigned i = 0; i < METRICS_LABELS && f->label[i]; i++) {
        cells *= f->label[i]->count;
        if (!f->label[i]->values)
            (void)table_get(m, f->label[i]);
    }
    CHECK(f->bytes == cells * cell_bytes(f));
    CHECK((f->type == METRICS_HISTOGRAM) == (f->scale != METRICS_NONE));
}

void metrics_register(struct metrics *m, const struct metrics_family *families, unsigned count,
                      const void *shard)
{
    struct set *s = NULL;

    for (unsigned i = 0; i < m->sets; i++)
        if (m->set[i].families == families)
            s = &m->set[i];
    if (!s) {
        CHECK(m->sets < METRICS_SETS);
        s = &m->set[m->sets++];
        *s = (struct set){.families = families, .count = count};
        for (unsigned i = 0; i < count; i++)
            family_check(m, &families[i]);
    }
    CHECK(s->count == count && s->shards < METRICS_SHARDS);
    s->shard[s->shards++] = shard;
}

void metrics_source(struct metrics *m, metrics_source_fn *fn, void *ctx)
{
    CHECK(m->sources < METRICS_SOURCES);
    m->source[m->sources].fn = fn;
    m->source[m->sources++].ctx = ctx;
}

/* Text ----------------------------------------------------------------------------------------- */

/* A label's value: what the format gives a meaning is escaped, what is no UTF-8 becomes U+FFFD. */
static void put_label_value(struct buf *out, struct str s)
{
    while (s.n > 0) {
        size_t n = str_utf8_sequence(s);

        if (n == 0)
            buf_text(out, "\xef\xbf\xbd");
        else if (*s.p == '\n')
            buf_text(out, "\\n");
        else if (*s.p == '"' || *s.p == '\\')
            buf_char(out, '\\'), buf_char(out, *s.p);
        else
            buf_bytes(out, s.p, n);
        s = str_from(s, n ? n : 1);
    }
}

static void put_label(struct buf *out, bool *first, const char *name, struct str value)
{
    buf_char(out, *first ? '{' : ',');
    *first = false;
    buf_text(out, name);
    buf_text(out, "=\"");
    put_label_value(out, value);
    buf_char(out, '"');
}

/* v / per_unit without trailing zeros; per_unit is a power of ten. */
static void put_scaled(struct buf *out, uint64_t v, uint64_t per_unit)
{
    buf_u64(out, v / per_unit);
    if (v % per_unit)
        buf_char(out, '.');
    for (v %= per_unit; v; v %= per_unit) {
        v *= 10;
        buf_char(out, (char)('0' + v / per_unit));
    }
}

void metrics_put_head(struct buf *out, enum metrics_type type, const char *name, const char *help)
{
    static const char *const types[] = {[METRICS_COUNTER] = "counter",
                                        [METRICS_GAUGE] = "gauge",
                                        [METRICS_HISTOGRAM] = "histogram"};

    buf_text(out, "# HELP ");
    buf_text(out, name);
    buf_char(out, ' ');
    buf_text(out, help);
    buf_text(out, "\n# TYPE ");
    buf_text(out, name);
    buf_char(out, ' ');
    buf_text(out, types[type]);
    buf_char(out, '\n');
}

void metrics_put_i64(struct buf *out, const char *name, const struct str *labels, unsigned pairs,
                     int64_t value)
{
    bool first = true;

    buf_text(out, name);
    for (unsigned i = 0; i < pairs; i++) {
        buf_char(out, first ? '{' : ',');
        first = false;
        buf_add(out, labels[2 * i]);
        buf_text(out, "=\"");
        put_label_value(out, labels[2 * i + 1]);
        buf_char(out, '"');
    }
    buf_text(out, first ? " " : "} ");
    buf_i64(out, value);
    buf_char(out, '\n');
}

/* One combination of label values of one family. */
struct sample {
    const struct metrics *m;
    const struct set *set;
    const struct metrics_family *family;
    unsigned at[METRICS_LABELS]; /* odometer */
    size_t offset;               /* of its cell in a shard */
};

static struct str label_value(const struct sample *s, unsigned i)
{
    const struct metrics_label *label = s->family->label[i];

    return str_of(label->values ? label->values[s->at[i]]
                                : table_find(s->m, label)->name[s->at[i]]);
}

static void put_series(struct buf *out, const struct sample *s, const char *suffix, struct str le)
{
    bool first = true;

    buf_text(out, s->family->name);
    buf_text(out, suffix);
    for (unsigned i = 0; i < METRICS_LABELS && s->family->label[i]; i++)
        put_label(out, &first, s->family->label[i]->name, label_value(s, i));
    if (le.n)
        put_label(out, &first, "le", le);
    buf_text(out, first ? " " : "} ");
}

/* The sum of one word of the cell over all shards. */
static uint64_t total(const struct sample *s, size_t word)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < s->set->shards; i++) {
        const void *cell = s->set->shard[i] + s->offset;

        sum += __atomic_load_n((const uint64_t *)cell + word, __ATOMIC_RELAXED);
    }
    return sum;
}

static void put_histogram(struct buf *out, const struct sample *s)
{
    const struct scale *scale = &scales[s->family->scale];
    uint64_t count = 0;

    for (unsigned i = 0; i <= scale->count; i++) {
        char text[32];
        struct buf le = buf_on(text, sizeof text);

        count += total(s, i);
        if (i < scale->count)
            put_scaled(&le, scale->le[i], scale->per_unit);
        else
            buf_text(&le, "+Inf");
        put_series(out, s, "_bucket", buf_str(&le));
        buf_u64(out, count);
        buf_char(out, '\n');
    }
    put_series(out, s, "_sum", STR_NONE);
    put_scaled(out, total(s, offsetof(struct metrics_histogram, sum) / 8), scale->per_unit);
    buf_char(out, '\n');
    put_series(out, s, "_count", STR_NONE);
    buf_u64(out, count);
    buf_char(out, '\n');
}

/* A combination with a dynamic label that says nothing: a name not given out yet; or never counted,
 * where a gauge at zero does say something, but for "other". */
static bool is_silent(const struct sample *s)
{
    bool dynamic = false, other = false;
    const struct table *names;

    for (unsigned i = 0; i < METRICS_LABELS && s->family->label[i]; i++) {
        if (s->family->label[i]->values)
            continue;
        names = table_find(s->m, s->family->label[i]);
        if (!names || s->at[i] >= names->count)
            return true;
        dynamic = true;
        other |= s->at[i] == 0;
    }
    if (!dynamic || (s->family->type == METRICS_GAUGE && !other))
        return false;
    for (size_t word = 0; word < cell_bytes(s->family) / 8; word++)
        if (total(s, word) != 0)
            return false;
    return true;
}

/* Moves on to the next combination; false behind the last one. */
static bool advance(struct sample *s)
{
    for (unsigned i = METRICS_LABELS; i-- > 0;) {
        if (!s->family->label[i])
            continue;
        if (++s->at[i] < s->family->label[i]->count)
            return true;
        s->at[i] = 0;
    }
    return false;
}

static void put_family(struct buf *out, struct sample s)
{
    metrics_put_head(out, s.family->type, s.family->name, s.family->help);
    s.offset = s.family->offset;
    do {
        if (is_silent(&s)) {
            /* no line */
        } else if (s.family->type == METRICS_HISTOGRAM) {
            put_histogram(out, &s);
        } else {
            put_series(out, &s, "", STR_NONE);
            if (s.family->type == METRICS_GAUGE)
                buf_i64(out, (int64_t)total(&s, 0));
            else
                buf_u64(out, total(&s, 0));
            buf_char(out, '\n');
        }
        s.offset += cell_bytes(s.family);
    } while (advance(&s));
}

int metrics_render(struct metrics *m, struct buf *out)
{
    for (unsigned i = 0; i < m->sets; i++)
        for (unsigned j = 0; j < m->set[i].count; j++)
            put_family(
                out, (struct sample){.m = m, .set = &m->set[i], .family = &m->set[i].families[j]});
    for (unsigned i = 0; i < m->sources; i++)
        m->source[i].fn(m->source[i].ctx, out);
    return buf_status(out);
}
