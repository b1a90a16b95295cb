/* SPDX-License-Identifier: Apache-2.0
 *
 * settings.c - from a bundle to settings: defaults, what was computed from the machine, the file,
 * the environment, the flags, each over the one before. Then the rules (settings_check.c), then the
 * secrets. Nothing here reads anything but the bundle: settings_collect.c does.
 *
 * Settings live in one arena inside a box with their reference count. Secrets are overwritten when
 * the arena goes.
 */
#include "role/settings.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "conf/dump.h"
#include "conf/reader.h"
#include "role/settings_priv.h"

OPTION_WORDS(engine_kind, ENGINE_KIND_WORDS);
OPTION_WORDS(cache_type, CACHE_TYPE_WORDS);
OPTION_WORDS(unit_restart, UNIT_RESTART_WORDS);
OPTION_WORDS(log_format_word, LOG_FORMAT_WORDS);
OPTION_WORDS(log_level_word, LOG_LEVEL_WORDS);

_Static_assert(LOG_FORMAT_WORD_SVC - LOG_FORMAT_WORD_LOGFMT == LOG_SVC - LOG_LOGFMT, "same order");
_Static_assert(LOG_LEVEL_WORD_TRACE - LOG_LEVEL_WORD_OFF == LOG_TRACE - LOG_OFF, "same order");

OPTION_TABLE(listen_conf, LISTEN_OPTIONS, "An address where clients connect.");
OPTION_TABLE(engine_conf, ENGINE_OPTIONS, "A process that inferd starts, watches and restarts.");
OPTION_TABLE(remote_conf, REMOTE_OPTIONS, "An engine that runs without inferd.");
OPTION_TABLE(target_conf, TARGET_OPTIONS, "One of several models that share a name's requests.");
OPTION_TABLE(model_conf, MODEL_OPTIONS, "Another name for models, and who else may answer.");
OPTION_TABLE(affinity_conf, AFFINITY_OPTIONS, "Which engine a session stays with.");
OPTION_TABLE(probe_conf, PROBE_OPTIONS, "How engines are tested.");
OPTION_TABLE(registry_settings, REGISTRY_SETTINGS_OPTIONS,
             "The registry of several machines: one to be in, one to serve, or both.");
OPTION_TABLE(keys_options, KEYS_OPTIONS, "Who may ask.");
OPTION_TABLE(limits, LIMITS_OPTIONS, "Bounds of time and size.");
OPTION_TABLE(breaker_conf, BREAKER_OPTIONS, "When engines and models are left alone for a while.");
OPTION_TABLE(retry_conf, RETRY_OPTIONS, "Further attempts on other engines.");
OPTION_TABLE(log_options, LOG_OPTIONS, "Records on stdout.");
OPTION_TABLE(admin_conf, ADMIN_OPTIONS, "The operator's endpoints.");
OPTION_TABLE(process_conf, PROCESS_OPTIONS, "The processes themselves.");
OPTION_TABLE(settings, SETTINGS_OPTIONS, "Everything.");

struct box {
    struct settings settings;
    _Atomic unsigned refs;
    struct arena arena;
};

const struct option_table *settings_table(void) { return &settings_options; }

static struct box *box_of(struct settings *s) { return container_of(s, struct box, settings); }

struct settings *settings_ref(struct settings *s)
{
    atomic_fetch_add_explicit(&box_of(s)->refs, 1, memory_order_relaxed);
    return s;
}

void settings_unref(struct settings **sp)
{
    struct settings *s = TAKE(sp);
    struct box *box;

    if (!s)
        return;
    box = box_of(s);
    if (atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) > 1)
        return;
    arena_clear(&box->arena);
    xfree(box);
}

/* For engines, the admin side and the log. */
enum { FD_RESERVE = 64 };

uint32_t settings_connections(uint32_t wanted)
{
    struct rlimit files;

    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    if (files.rlim_cur < 256)
        return 0;
    return (uint32_t)min_u64(wanted, (files.rlim_cur - FD_RESERVE) / 2);
}

unsigned settings_fd_ceiling(void)
{
    struct rlimit files;

    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    return files.rlim_cur > FD_RESERVE && files.rlim_cur <= INT_MAX
               ? (unsigned)files.rlim_cur - FD_RESERVE
               : 0;
}

void settings_restarts(const struct settings *was, const struct settings *is, struct buf *out)
{
    option_restarts(&settings_options, was, is, out);
}

/* --- mistakes and places --- */

const struct settings_place *settings_place_of(const struct settings_build *b, struct str path)
{
    return map_find(&b->places, path);
}

void settings_complain(struct settings_build *b, const char *path, const char *hint,
                       const char *fmt, ...)
{
    const struct settings_place *place = settings_place_of(b, str_of(path));
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    error_add(b->errors, &(struct conf_error){
                             .source = place ? place->source : b->settings->file,
                             .line = place ? place->line : 0,
                             .column = place ? place->column : 0,
                             .key = str_of(path),
                             .problem = str_of(text),
                             .hint = str_of(hint),
                         });
    b->mistakes++;
}

static void note_place(struct settings_build *b, struct str path, struct str source, uint32_t line,
                       uint32_t column)
{
    struct settings_place *place = arena_new(&b->scratch, struct settings_place);

    *place = (struct settings_place){.source = source, .line = line, .column = column};
    (void)map_put(&b->places, arena_str(&b->scratch, path), place);
}

static void on_set(void *ctx, struct str path, uint32_t line, uint32_t column)
{
    struct settings_build *b = ctx;

    note_place(b, path, b->settings->file, line, column);
}

/* --- the sources --- */

static struct str source_of(struct settings_build *b, enum bundle_kind kind, struct str path)
{
    char memory[256];
    struct buf name = buf_on(memory, sizeof memory);

    if (kind == BUNDLE_COMPUTED)
        return STR_NONE;
    if (kind == BUNDLE_FLAG) {
        buf_text(&name, "--");
        option_flag_name(path, &name);
    } else {
        option_env_name(path, &name);
    }
    return arena_str(&b->scratch, buf_str(&name));
}

/* Of the elements of a list that is replaced: places outlive what stood there. */
static void forget_places(struct settings_build *b, const char *key)
{
    struct str prefix = arena_printf(&b->scratch, "%s[", key);
    struct map_slot *slot;

    for (size_t i = 0; (slot = map_next(&b->places, &i));)
        if (str_starts(slot->key, prefix))
            *(struct settings_place *)slot->value = (struct settings_place){.line = 0};
}

/* One more [[listen]] from `--listen ADDR`; the first of its kind replaces what was there. */
static int add_element(struct settings_build *b, const struct option *o, void *base,
                       enum bundle_kind kind, bool first, struct str text, struct buf *problem)
{
    struct {
        char *at;
        size_t n;
    } list; /* as every t_list */
    size_t bytes = o->table->bytes;
    struct str path;
    char *grown;

    memcpy(&list, option_member(o, base), sizeof list);
    if (first) {
        list.n = 0;
        forget_places(b, o->key);
    }
    if (option_check_count(o, list.n + 1, problem) < 0)
        return -E_CONF;
    grown = arena_alloc(b->arena, (list.n + 1) * bytes);
    if (list.n)
        memcpy(grown, list.at, list.n * bytes);
    option_defaults(o->table, grown + list.n * bytes, b->arena);
    list.at = grown;
    list.n++;
    memcpy(option_member(o, base), &list, sizeof list);
    path = arena_printf(&b->scratch, "%s[%zu].%s", o->key, list.n - 1, o->by);
    note_place(b, path, source_of(b, kind, str_of(o->key)), 0, 0);
    return option_set_text(option_find(o->table, str_of(o->by)), grown + (list.n - 1) * bytes,
                           b->arena, text, problem);
}

static void apply_record(struct settings_build *b, const struct bundle_record *rec, bool first)
{
    char memory[1024];
    struct buf problem = buf_on(memory, sizeof memory);
    const struct option *row;
    void *base;
    int r = -E_CONF;

    note_place(b, rec->name, source_of(b, rec->kind, rec->name), 0, 0);
    if (!option_resolve(&settings_options, b->settings, rec->name, &row, &base))
        buf_text(&problem, "unknown key");
    else if (row->by)
        r = add_element(b, row, base, rec->kind, first, rec->value, &problem);
    else
        r = option_set_text(row, base, b->arena, rec->value, &problem);
    if (r < 0)
        settings_complain(b, rec->name.p, NULL, "%.*s", STR_ARGS(buf_str(&problem)));
}

static void apply_kind(struct settings_build *b, const struct bundle *bundle, enum bundle_kind kind)
{
    for (size_t i = 0; i < bundle->n; i++)
        if (bundle->at[i].kind == kind)
            apply_record(b, &bundle->at[i],
                         bundle_find(bundle, kind, &bundle->at[i].name) == &bundle->at[i]);
}

static void apply_file(struct settings_build *b, const struct bundle *bundle)
{
    const struct bundle_record *file = bundle_find(bundle, BUNDLE_FILE, NULL);
    struct reader reader = {
        .table = &settings_options,
        .base = b->settings,
        .arena = b->arena,
        .errors = b->errors,
        .on_set = on_set,
        .ctx = b,
    };

    if (!file)
        return;
    b->settings->file = str_span(arena_cstr(b->arena, file->name), file->name.n);
    reader.source = b->settings->file;
    if (reader_run(&reader, file->value) < 0)
        b->mistakes++;
}

/* Without a file there is one engine of our own, so that the first request has an answer. It is
 * what `inferd mock` is, run from this very program. */
static void add_mock(struct settings_build *b)
{
    static const char *const words[] = {"/proc/self/exe", "mock",        "--name",   "inferd",
                                        "--models",       "inferd-mock", "--socket", "${SOCKET}"};
    struct engine_conf *e = arena_new(b->arena, struct engine_conf);

    option_defaults(&engine_conf_options, e, b->arena);
    e->name = STR("mock");
    e->command.at = arena_alloc(b->arena, ARRAY_LEN(words) * sizeof *e->command.at);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        e->command.at[e->command.n++] = str_of(words[i]);
    e->models.at = arena_new(b->arena, struct str);
    e->models.at[e->models.n++] = STR("inferd-mock");
    e->kind = ENGINE_KIND_OPENAI;
    b->settings->engine.at = e;
    b->settings->engine.n = 1;
}

/* --- building --- */

int settings_build_start(struct settings_build *b, const struct bundle *bundle,
                         struct conf_errors *errors)
{
    struct box *box = xnew(struct box, .refs = 1);

    arena_init(&box->arena, NULL);
    *b =
        (struct settings_build){.settings = &box->settings, .arena = &box->arena, .errors = errors};
    arena_init(&b->scratch, NULL);
    map_init(&b->places, 0); /* the keys are the operator's own */
    option_defaults(&settings_options, b->settings, b->arena);
    apply_kind(b, bundle, BUNDLE_COMPUTED);
    apply_file(b, bundle);
    apply_kind(b, bundle, BUNDLE_ENV);
    apply_kind(b, bundle, BUNDLE_FLAG);
    if (!b->settings->file.p)
        add_mock(b);
    b->whole = b->mistakes == 0;
    settings_check(b);
    return b->mistakes ? -E_CONF : 0;
}

void settings_build_end(struct settings_build *b)
{
    settings_unref(&b->settings);
    map_fini(&b->places);
    arena_clear(&b->scratch);
}

struct settings *settings_build_take(struct settings_build *b) { return TAKE(&b->settings); }

struct secret {
    char *p;
    size_t n;
};

static void wipe(void *ctx)
{
    struct secret *secret = ctx;

    explicit_bzero(secret->p, secret->n);
}

static struct str trim_secret(struct str s)
{
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1]))
        s.n--;
    while (s.n && strchr(" \t\r\n", s.p[0]))
        s = (struct str){s.p + 1, s.n - 1};
    return s;
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
            return false;
    return s.n > 0 && s.n <= 4096;
}

/* *ret stays unset when it complains. */
static void set_secret(struct settings_build *b, const struct bundle *bundle, struct str file,
                       const char *path, struct str *ret)
{
    const struct bundle_record *rec = bundle_find(bundle, BUNDLE_SECRET, &file);
    struct str key = rec ? trim_secret(rec->value) : STR_NONE;
    struct secret *secret;

    if (!rec || !is_token(key)) {
        settings_complain(b, path, NULL, "\"%.*s\" %s", STR_ARGS(file),
                          rec ? "must hold one word of 1 to 4096 visible ASCII characters"
                              : "was not read");
        return;
    }
    secret = arena_new(b->arena, struct secret);
    *secret = (struct secret){.p = arena_cstr(b->arena, key), .n = key.n};
    arena_on_clear(b->arena, wipe, secret);
    *ret = str_span(secret->p, secret->n);
}

int settings_build_secrets(struct settings_build *b, const struct bundle *bundle)
{
    struct registry_settings *registry = &b->settings->registry;
    char path[64];

    if (registry->token_file.p)
        set_secret(b, bundle, registry->token_file, "registry.token_file", &registry->token);
    for (size_t i = 0; i < b->settings->remote.n; i++) {
        struct remote_conf *remote = &b->settings->remote.at[i];

        if (!remote->api_key_file.p)
            continue;
        (void)snprintf(path, sizeof path, "remote[%zu].api_key_file", i);
        set_secret(b, bundle, remote->api_key_file, path, &remote->api_key);
    }
    return b->mistakes ? -E_CONF : 0;
}

int settings_from_bundle(const struct bundle *bundle, struct settings **ret,
                         struct conf_errors *errors)
{
    struct settings_build b;
    int r = settings_build_start(&b, bundle, errors);

    if (r == 0)
        r = settings_build_secrets(&b, bundle);
    if (r == 0)
        r = settings_build_keys(&b, bundle);
    if (r == 0)
        *ret = settings_build_take(&b);
    settings_build_end(&b);
    return r;
}

static struct str origin_of(void *ctx, struct str path)
{
    struct settings_build *b = ctx;
    const struct settings_place *place = settings_place_of(b, path);

    if (!place || !place->source.p)
        return STR("default");
    if (place->line == 0)
        return place->source;
    return arena_printf(&b->scratch, "%.*s:%u", STR_ARGS(place->source), place->line);
}

void settings_dump(const struct bundle *bundle, struct buf *out)
{
    struct arena arena;
    struct conf_errors errors;
    struct settings_build b;

    arena_init(&arena, NULL);
    error_init(&errors, &arena);
    CHECK(settings_build_start(&b, bundle, &errors) == 0);
    dump_print(&settings_options, b.settings, origin_of, &b, out);
    settings_build_end(&b);
    arena_clear(&arena);
}
