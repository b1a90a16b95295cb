/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl_show.c - see ctl_show.h. A member that is missing or of another type counts as empty: a newer
 * inferd may leave out what this one knows.
 */
#include "role/ctl_show.h"

#include "role/ctl_table.h"

enum { NAMES_BYTES = 2048, NAMES_SHOWN = 4 };

static struct str text_of(const struct json *object, const char *key)
{
    struct str s = STR_NONE;

    (void)json_get_str(json_find_cstr(object, key), &s);
    return s;
}

static uint64_t number_of(const struct json *object, const char *key)
{
    uint64_t v = 0;

    (void)json_get_u64(json_find_cstr(object, key), &v);
    return v;
}

static bool truth_of(const struct json *object, const char *key)
{
    bool v = false;

    (void)json_get_bool(json_find_cstr(object, key), &v);
    return v;
}

void ctl_show_duration(uint64_t ms, struct buf *out)
{
    uint64_t s = ms / 1000;

    if (s < 1)
        buf_printf(out, "%ums", (unsigned)ms);
    else if (s < 120)
        buf_printf(out, "%us", (unsigned)s);
    else if (s < 120 * 60)
        buf_printf(out, "%um", (unsigned)(s / 60));
    else if (s < 48 * 3600)
        buf_printf(out, "%uh", (unsigned)(s / 3600));
    else
        buf_printf(out, "%llud", (unsigned long long)(s / 86400));
}

/* ---- status ---- */

static const char *plural(uint64_t n) { return n == 1 ? "" : "s"; }

static void put_counted(struct buf *out, uint64_t n, const char *what)
{
    buf_printf(out, "%llu %s%s", (unsigned long long)n, what, plural(n));
}

static const char *verdict_of(const struct json *doc)
{
    if (truth_of(doc, "draining"))
        return "draining";
    return number_of(doc, "engines_ready") > 0 ? "ready" : "no engine is ready";
}

int ctl_show_status(const struct json *doc, struct buf *out)
{
    const struct json *listen = json_find_cstr(doc, "listen");
    const struct json *registry = json_find_cstr(doc, "registry");
    struct str version = text_of(doc, "version"), address;

    if (version.n == 0)
        return -E_SYNTAX;
    buf_text(out, "inferd ");
    ctl_table_safe(out, version);
    buf_printf(out, ": %s\n", verdict_of(doc));
    for (size_t i = 0; i < json_count(listen); i++) {
        if (!json_get_str(json_at(listen, i), &address))
            continue;
        buf_text(out, i == 0 ? "listens   " : "          ");
        ctl_table_safe(out, address);
        buf_char(out, '\n');
    }
    buf_printf(out, "gateway   pid %llu, ", (unsigned long long)number_of(doc, "gateway_pid"));
    put_counted(out, number_of(doc, "lanes"), "lane");
    buf_text(out, ", ");
    put_counted(out, number_of(doc, "connections"), "connection");
    buf_printf(out, "\nengines   %llu of %llu ready\n",
               (unsigned long long)number_of(doc, "engines_ready"),
               (unsigned long long)number_of(doc, "engines"));
    buf_printf(out, "models    %llu\n", (unsigned long long)number_of(doc, "models"));
    buf_printf(out, "requests  %llu in flight, %llu waiting\n",
               (unsigned long long)number_of(doc, "in_flight"),
               (unsigned long long)number_of(doc, "waiting"));
    if (registry) {
        buf_printf(out, "registry  %llu of %llu registered at ",
                   (unsigned long long)number_of(registry, "registered"),
                   (unsigned long long)number_of(registry, "names"));
        ctl_table_safe(out, text_of(registry, "url"));
        buf_char(out, '\n');
    }
    return 0;
}

/* ---- engines ---- */

/* "a, b, c, d and 3 more" */
static void add_names(struct ctl_table *t, const struct json *names)
{
    size_t n = json_count(names);
    struct buf b = buf_make(NAMES_BYTES);
    struct str name;

    for (size_t i = 0; i < n && i < NAMES_SHOWN; i++) {
        if (json_get_str(json_at(names, i), &name)) {
            buf_text(&b, i == 0 ? "" : ", ");
            buf_add(&b, name);
        }
    }
    if (n > NAMES_SHOWN)
        buf_printf(&b, " and %zu more", n - NAMES_SHOWN);
    ctl_table_add(t, buf_str(&b));
    buf_fini(&b);
}

/* "ready", and for a unit how long; "backoff" with the time that is left. */
static void add_state(struct ctl_table *t, const struct json *engine)
{
    char text[128];
    struct buf b = buf_on(text, sizeof text);
    uint64_t left = number_of(engine, "next_start_ms"), since;

    buf_add(&b, str_head(text_of(engine, "state"), 64));
    if (left > 0) {
        buf_text(&b, ", starts in ");
        ctl_show_duration(left, &b);
    } else if (json_get_u64(json_find_cstr(engine, "state_ms"), &since)) {
        buf_char(&b, ' ');
        ctl_show_duration(since, &b);
    }
    ctl_table_add(t, buf_str(&b));
}

static void add_busy(struct ctl_table *t, const struct json *engine)
{
    char text[64];
    struct buf b = buf_on(text, sizeof text);
    uint64_t slots = number_of(engine, "slots");

    buf_u64(&b, number_of(engine, "in_flight"));
    if (slots > 0) {
        buf_char(&b, '/');
        buf_u64(&b, slots);
    }
    ctl_table_add(t, buf_str(&b));
}

/* A number that only units have. */
static void add_if_there(struct ctl_table *t, const struct json *engine, const char *key)
{
    uint64_t v;

    if (json_get_u64(json_find_cstr(engine, key), &v))
        ctl_table_add_u64(t, v);
    else
        ctl_table_add(t, STR_NONE);
}

int ctl_show_engines(const struct json *doc, struct buf *out)
{
    static const struct ctl_column columns[] = {
        {"NAME", false},    {"STATE", false}, {"KIND", false},      {"PID", true},
        {"RESTARTS", true}, {"BUSY", true},   {"WAITING", true},    {"REQUESTS", true},
        {"MODELS", false},  {"URL", false},   {"LAST EXIT", false},
    };
    const struct json *list = json_find_cstr(doc, "engines");
    struct ctl_table t;

    if (json_kind_of(list) != JSON_KIND_ARRAY)
        return -E_SYNTAX;
    ctl_table_init(&t, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *e = json_at(list, i);

        ctl_table_add(&t, text_of(e, "name"));
        add_state(&t, e);
        ctl_table_add(&t, text_of(e, "kind"));
        add_if_there(&t, e, "pid");
        add_if_there(&t, e, "restarts");
        add_busy(&t, e);
        ctl_table_add_u64(&t, number_of(e, "waiting"));
        ctl_table_add_u64(&t, number_of(e, "requests"));
        add_names(&t, json_find_cstr(e, "models"));
        ctl_table_add(&t, text_of(e, "url"));
        ctl_table_add(&t, text_of(e, "last_exit"));
    }
    ctl_table_print(&t, out);
    ctl_table_fini(&t);
    return 0;
}

/* ---- models ---- */

/* "1/2", and the engines' names. */
static void add_engines(struct ctl_table *t, const struct json *engines)
{
    size_t n = json_count(engines), ready = 0;
    struct buf b = buf_make(NAMES_BYTES);
    char text[48];
    struct buf ratio = buf_on(text, sizeof text);

    for (size_t i = 0; i < n; i++) {
        const struct json *e = json_at(engines, i);

        ready += truth_of(e, "ready");
        if (i < NAMES_SHOWN) {
            buf_text(&b, i == 0 ? "" : ", ");
            buf_add(&b, text_of(e, "name"));
        }
    }
    if (n > NAMES_SHOWN)
        buf_printf(&b, " and %zu more", n - NAMES_SHOWN);
    buf_printf(&ratio, "%zu/%zu", ready, n);
    ctl_table_add(t, buf_str(&ratio));
    ctl_table_add(t, buf_str(&b));
    buf_fini(&b);
}

/* "a", "a 9, b 1", each with " else c, d" when there are fallbacks; "-" for a model's own name. */
static void add_stands_for(struct ctl_table *t, const struct json *m)
{
    const struct json *targets = json_find_cstr(m, "targets");
    const struct json *fallbacks = json_find_cstr(m, "fallbacks");
    struct buf b = buf_make(4096);

    if (json_count(targets) < 2 && json_kind_of(json_find_cstr(m, "alias_of")) == JSON_KIND_STRING)
        buf_add(&b, text_of(m, "alias_of"));
    for (size_t i = 0; json_count(targets) > 1 && i < json_count(targets); i++) {
        const struct json *one = json_at(targets, i);

        buf_text(&b, i == 0 ? "" : ", ");
        buf_add(&b, text_of(one, "model"));
        buf_printf(&b, " %llu", (unsigned long long)number_of(one, "weight"));
    }
    for (size_t i = 0; i < json_count(fallbacks); i++) {
        struct str name = STR_NONE;

        (void)json_get_str(json_at(fallbacks, i), &name);
        buf_text(&b, i > 0 ? ", " : b.n > 0 ? " else " : "else ");
        buf_add(&b, name);
    }
    ctl_table_add(t, buf_str(&b));
    buf_fini(&b);
}

int ctl_show_models(const struct json *doc, struct buf *out)
{
    static const struct ctl_column columns[] = {
        {"MODEL", false}, {"READY", true}, {"ENGINES", false}, {"ALIAS OF", false}};
    const struct json *list = json_find_cstr(doc, "models");
    struct ctl_table t;

    if (json_kind_of(list) != JSON_KIND_ARRAY)
        return -E_SYNTAX;
    ctl_table_init(&t, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *m = json_at(list, i);

        ctl_table_add(&t, text_of(m, "name"));
        add_engines(&t, json_find_cstr(m, "engines"));
        add_stands_for(&t, m);
    }
    ctl_table_print(&t, out);
    ctl_table_fini(&t);
    return 0;
}

/* ---- usage ---- */

int ctl_show_usage(const struct json *doc, struct buf *out)
{
    static const struct ctl_column columns[] = {
        {"KEY", false},   {"NAME", false},   {"MODEL", false},    {"REQUESTS", true},
        {"FAILED", true}, {"LIMITED", true}, {"TOKENS IN", true}, {"TOKENS OUT", true}};
    const struct json *list = json_find_cstr(doc, "usage");
    struct ctl_table t;

    if (json_kind_of(list) != JSON_KIND_ARRAY)
        return -E_SYNTAX;
    ctl_table_init(&t, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *row = json_at(list, i);

        ctl_table_add(&t, text_of(row, "key"));
        ctl_table_add(&t, text_of(row, "name"));
        ctl_table_add(&t, text_of(row, "model"));
        ctl_table_add_u64(&t, number_of(row, "requests"));
        ctl_table_add_u64(&t, number_of(row, "failed"));
        ctl_table_add_u64(&t, number_of(row, "limited"));
        ctl_table_add_u64(&t, number_of(row, "prompt_tokens"));
        ctl_table_add_u64(&t, number_of(row, "completion_tokens"));
    }
    ctl_table_print(&t, out);
    ctl_table_fini(&t);
    return 0;
}
