/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_toml.c - any bytes as a configuration file. Asserted: the bridge's events nest, count and
 * sort as its header says, with places and well-formed text; every mistake that is reported has a
 * place within the input and a sentence; what is accepted is dumped as TOML that is accepted again
 * and dumped the same. Twice: by a table with one row of each type, and as the settings of
 * `inferd up` with all rules between them.
 *
 * Covers: src/conf/toml.cc src/conf/reader.c src/conf/dump.c
 */
#include "conf/bundle.h"
#include "conf/dump.h"
#include "conf/reader.h"
#include "conf/toml.h"
#include "fuzz.h"
#include "role/settings.h"

enum { TOML_BYTES = 1 << 16, DEPTH_MAX = 4 * TOML_NESTED_MAX, DUMP_BYTES = 8 << 20 };

static struct fuzz_room room;
static struct arena_cache arenas = {.max = 64};

/* One row of each type. */

#define MOODS(X) X(MOOD_GLAD, "glad") X(MOOD_SAD, "sad")
OPTION_ENUM(mood, MOODS);
OPTION_WORDS(mood, MOODS);

#define FISH_OPTIONS(X, T)                                                                         \
    X(T, name, STR, REQUIRED, 1, 20, RELOAD, "Name.")                                              \
    X(T, mood, WORD(mood), glad, 0, 0, RELOAD, "Mood.")                                            \
    X(T, food, LIST, UNSET, 0, 4, RELOAD, "Food.")                                                 \
    X(T, extra, FREE, UNSET, 0, 200, RELOAD, "Anything.")
struct fish {
    FISH_OPTIONS(OPTION_MEMBER, fish)
};
OPTION_LIST_OF(fish);
OPTION_TABLE(fish, FISH_OPTIONS, "A fish.");

#define VERSION_OPTIONS(X, T) X(T, weight, F64, 0.5, 0, 1, RELOAD, "Weight.")
struct version {
    VERSION_OPTIONS(OPTION_MEMBER, version)
};
OPTION_LIST_OF(version);
OPTION_TABLE(version, VERSION_OPTIONS, "A version.");

#define MODEL_ROWS(X, T)                                                                           \
    X(T, name, NAME, REQUIRED, 1, 30, RELOAD, "Name.")                                             \
    X(T, version, TABLES(version), UNSET, 0, 3, RELOAD, "Versions.")
struct plant {
    MODEL_ROWS(OPTION_MEMBER, plant)
};
OPTION_LIST_OF(plant);
OPTION_TABLE(plant, MODEL_ROWS, "A plant.");

#define LAMP_OPTIONS(X, T)                                                                         \
    X(T, on, BOOL, true, 0, 0, RELOAD, "On.")                                                      \
    X(T, watts, F64, UNSET, -10, 1000, RELOAD, "Watts.")                                           \
    X(T, env, MAP, UNSET, 0, 3, RELOAD, "Names.")
struct lamp {
    LAMP_OPTIONS(OPTION_MEMBER, lamp)
};
OPTION_TABLE(lamp, LAMP_OPTIONS, "A lamp.");

#define TANK_OPTIONS(X, T)                                                                         \
    X(T, depth, U32, 500, 1, 9000, RELOAD, "Depth.")                                               \
    X(T, litres, U64, UNSET, 0, INT64_MAX, RELOAD, "Litres.")                                      \
    X(T, label, STR, "a tank", 1, 40, RELOAD, "Label.")                                            \
    X(T, tags, COMMAS, UNSET, 0, 5, RELOAD, "Tags.")                                               \
    X(T, lamp, TABLE(lamp), UNSET, 0, 0, RELOAD, "Lamp.")                                          \
    X(T, fish, TABLES(fish), UNSET, 0, 4, RELOAD, "Fish.")                                         \
    X(T, plant, NAMED(plant), UNSET, 0, 4, RELOAD, "Plants.")
struct tank {
    TANK_OPTIONS(OPTION_MEMBER, tank)
};
OPTION_TABLE(tank, TANK_OPTIONS, "A tank.");

/* The bridge. */

struct shape {
    struct str doc;
    struct {
        enum toml_kind kind;
        size_t count, seen;
        char last_key[64]; /* the key before, cut */
        size_t last_n;
    } open[DEPTH_MAX];
    size_t depth, events;
    uint32_t lines;
};

static void check_key(struct shape *s, struct str key)
{
    char *last = s->open[s->depth - 1].last_key;
    struct str cut = str_head(key, sizeof s->open[0].last_key);

    CHECK(str_utf8_valid(key));
    if (s->open[s->depth - 1].seen > 1)
        CHECK(str_cmp(str_span(last, s->open[s->depth - 1].last_n), cut) <= 0);
    memcpy(last, cut.n ? cut.p : "", cut.n);
    s->open[s->depth - 1].last_n = cut.n;
}

static int on_event(void *ctx, const struct toml_event *e)
{
    struct shape *s = ctx;
    bool end = e->kind == TOML_TABLE_END || e->kind == TOML_ARRAY_END;

    s->events++;
    CHECK(e->line <= s->lines && (s->depth > 0 || (e->kind == TOML_TABLE && s->events == 1)));
    if (end) {
        s->depth--;
        CHECK(s->open[s->depth].kind == (e->kind == TOML_TABLE_END ? TOML_TABLE : TOML_ARRAY));
        CHECK(s->open[s->depth].seen == s->open[s->depth].count && !e->keyed);
        return 0;
    }
    if (s->depth > 0) {
        s->open[s->depth - 1].seen++;
        CHECK(e->keyed == (s->open[s->depth - 1].kind == TOML_TABLE));
        if (e->keyed)
            check_key(s, e->key);
    }
    if (e->kind == TOML_STRING || e->kind == TOML_TIME)
        CHECK(str_utf8_valid(e->text));
    if (e->kind != TOML_TABLE && e->kind != TOML_ARRAY)
        return 0;
    CHECK(s->depth < DEPTH_MAX);
    s->open[s->depth].kind = e->kind;
    s->open[s->depth].count = e->count;
    s->open[s->depth++].seen = 0;
    return 0;
}

static uint32_t lines_of(struct str doc)
{
    uint32_t lines = 1;

    for (size_t i = 0; i < doc.n; i++)
        lines += doc.p[i] == '\n';
    return lines;
}

static int stop_at(void *ctx, const struct toml_event *e)
{
    size_t *left = ctx;

    (void)e;
    return (*left)-- == 0 ? -E_CANCELED : 0;
}

static bool check_bridge(struct str doc, uint64_t hash)
{
    static struct shape s;
    struct toml_error error = {0};
    int r;
    size_t left;

    s.depth = s.events = 0;
    s.lines = lines_of(doc);
    r = toml_parse(doc, on_event, &s, &error);
    CHECK(r == 0 || r == -E_SYNTAX);
    if (r < 0) {
        CHECK(s.events == 0 && error.line >= 1 && error.line <= s.lines && error.text[0]);
        CHECK(error.column >= 1 && error.column <= doc.n + 1);
        CHECK(str_utf8_valid(str_of(error.text)));
        return false;
    }
    CHECK(s.depth == 0);
    left = hash % s.events;
    CHECK(toml_parse(doc, stop_at, &left, &error) == -E_CANCELED);
    return true;
}

/* The reader. */

static void check_errors(const struct conf_errors *errors, uint32_t lines)
{
    static char text[64 * 1024];
    struct buf out = buf_on(text, sizeof text);

    CHECK(errors->n > 0 && errors->n <= ERROR_MAX);
    for (size_t i = 0; i < errors->n; i++) {
        const struct conf_error *e = &errors->at[i];

        CHECK(e->line <= lines && e->problem.n > 0);
        CHECK(e->line > 0 || e->column == 0);
        CHECK(str_utf8_valid(e->problem) && str_utf8_valid(e->key));
    }
    error_print_all(errors, STR(""), &out);
    CHECK(out.n > 0);
}

static struct str no_origin(void *ctx, struct str path)
{
    (void)ctx;
    CHECK(path.n > 0);
    return STR("here");
}

/* The next line that is no comment, without the comment at its end. */
static struct str next_setting(struct str *dump)
{
    struct str line;

    do
        line = str_cut(dump, '\n');
    while (dump->p && (line.n == 0 || line.p[0] == '#'));
    for (size_t n = line.n; n > 0; n--)
        if (line.p[n - 1] == '#')
            return str_trim(str_head(line, n - 1));
    return line;
}

static void same_dump(struct str a, struct str b)
{
    while (a.p && b.p)
        CHECK(str_eq(next_setting(&a), next_setting(&b)));
    CHECK(!a.p && !b.p);
}

/* True when it was accepted; then its dump is in *out. */
static bool read_tank(struct str doc, struct buf *out)
{
    struct arena arena;
    struct conf_errors errors;
    struct tank tank;
    struct reader r = {.table = &tank_options,
                       .base = &tank,
                       .arena = &arena,
                       .source = STR("fuzz.toml"),
                       .errors = &errors};
    int err;

    arena_init(&arena, &arenas);
    error_init(&errors, &arena);
    option_defaults(&tank_options, &tank, &arena);
    err = reader_run(&r, doc);
    CHECK(err == (errors.n ? -E_CONF : 0));
    if (err < 0)
        check_errors(&errors, lines_of(doc));
    else
        dump_print(&tank_options, &tank, no_origin, NULL, out);
    CHECK(buf_status(out) == 0);
    arena_clear(&arena);
    return err == 0;
}

/* The settings of `inferd up`. */
static bool read_settings(struct str doc, struct buf *out)
{
    struct arena arena;
    struct conf_errors errors;
    struct settings *settings = NULL;
    struct bundle *b;
    int err;

    arena_init(&arena, &arenas);
    error_init(&errors, &arena);
    bundle_create(&b);
    CHECK(bundle_add(b, BUNDLE_COMPUTED, STR("lanes"), STR("2")) == 0);
    CHECK(bundle_add(b, BUNDLE_COMPUTED, STR("state_dir"), STR("/var/lib/inferd")) == 0);
    CHECK(bundle_add(b, BUNDLE_COMPUTED, STR("runtime_dir"), STR("/run/inferd")) == 0);
    CHECK(bundle_add(b, BUNDLE_FILE, STR("fuzz.toml"), doc) == 0);
    err = settings_from_bundle(b, &settings, &errors);
    CHECK(err == (errors.n ? -E_CONF : 0) && (settings != NULL) == (err == 0));
    if (err < 0)
        check_errors(&errors, lines_of(doc));
    else
        settings_dump(b, out);
    settings_unref(&settings);
    bundle_destroy(&b);
    arena_clear(&arena);
    return err == 0;
}

static void check_again(struct str doc, bool (*read)(struct str, struct buf *))
{
    struct buf once = buf_make(DUMP_BYTES), twice = buf_make(DUMP_BYTES);

    if (read(doc, &once)) {
        CHECK(read(buf_str(&once), &twice));
        same_dump(buf_str(&once), buf_str(&twice));
    }
    buf_fini(&once);
    buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t hash;
    struct str doc;

    if (size > TOML_BYTES)
        return 0;
    doc = fuzz_fill(&room, data, size);
    hash = fuzz_hash(doc);
    if (!check_bridge(doc, hash) && !fuzz_turn(&hash, 8))
        return 0;
    check_again(doc, read_tank);
    check_again(doc, read_settings);
    return 0;
}
