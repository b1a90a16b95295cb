/* SPDX-License-Identifier: Apache-2.0
 *
 * babysitter_conf.c - see babysitter_conf.h. The file's keys are option tables; that a key belongs
 * to another type of backend is looked up when all are read. Without a file the flags describe the
 * backend; with one they only correct what is not the backend's.
 *
 * The arguments of each type are made here, in argv_of_*(): from then on a babysitter knows one
 * unit with one command.
 */
#include "role/babysitter_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "conf/reader.h"

enum {
    FILE_BYTES_MAX = 4 << 20,
    METADATA_BYTES_MAX = 256 << 10, /* what a registry takes of one record */
};

/* ---- the tables ---- */

/* Word in the file, as it is reported. */
#define BACKENDS(X)                                                                                \
    X(BACKEND_COMMAND, "command", "command")                                                       \
    X(BACKEND_VLLM, "vllm", "vLLM")                                                                \
    X(BACKEND_MOCK, "mock", "mock")                                                                \
    X(BACKEND_RUST, "infinilm-rust", "InfiniLM-Rust")                                              \
    X(BACKEND_INFINILM, "infinilm", "InfiniLM")
#define BACKEND_AS_ENUM(name, word, reported) name,
#define BACKEND_AS_WORD(name, word, reported) word,
#define BACKEND_AS_REPORTED(name, word, reported) reported,

enum backend { backend_unset, BACKENDS(BACKEND_AS_ENUM) BACKENDS_N };
static const char *const backend_words[BACKENDS_N] = {NULL, BACKENDS(BACKEND_AS_WORD)};
static const char *const reported[BACKENDS_N] = {NULL, BACKENDS(BACKEND_AS_REPORTED)};

#define RESTART_WORDS(X) X(RESTART_ALWAYS, "always") X(RESTART_ON_FAILURE, "on-failure")
OPTION_ENUM(restart, RESTART_WORDS);
OPTION_WORDS(restart, RESTART_WORDS);

#define CARE_OPTIONS(X, T)                                                                         \
    X(T, max_restarts, U64, 10000, 0, UINT32_MAX, RESTART, "Restarts in a row, then it gives up.") \
    X(T, restart_delay, U32, 5, 0, 86400, RESTART, "Seconds before the first restart.")            \
    X(T, heartbeat_interval, U32, 30, 1, 86400, RESTART, "Seconds between heartbeats.")            \
    X(T, restart, WORD(restart), always, 0, 0, RESTART, "Whether exit status 0 is a crash.")       \
    X(T, restart_delay_max, U32, 60, 1, 86400, RESTART, "Seconds; the delay doubles up to it.")    \
    X(T, stable_after, U32, 60, 1, 86400, RESTART, "Seconds of readiness that forgive crashes.")   \
    X(T, start_timeout, U32, 0, 0, 86400, RESTART, "Seconds to become ready in; 0: any.")          \
    X(T, stop_grace, U32, 8, 0, 3600, RESTART, "Seconds between SIGTERM and SIGKILL.")             \
    X(T, hang_timeout, U32, 0, 0, 86400, RESTART, "Seconds of silence, then a restart; 0: none.")  \
    X(T, listen, STR, UNSET, 1, 64, RESTART, "Where the babysitter listens.")
struct care {
    CARE_OPTIONS(OPTION_MEMBER, care)
};
OPTION_TABLE(care, CARE_OPTIONS, "How the engine is looked after.");

#define BACKEND_OPTIONS(X, T)                                                                      \
    X(T, type, WORD(backend), REQUIRED, 0, 0, RESTART, "Which kind of engine.")                    \
    X(T, command, STR, UNSET, 1, 65536, RESTART, "Split at blanks.")                               \
    X(T, args, LIST, UNSET, 0, 4096, RESTART, "More arguments, one each.")                         \
    X(T, work_dir, STR, UNSET, 1, 4096, RESTART, "Its working directory.")                         \
    X(T, env, MAP, UNSET, 0, 1000, RESTART, "Over the babysitter's own environment.")              \
    X(T, model, STR, UNSET, 1, 4096, RESTART, "Of vllm.")                                          \
    X(T, models, LIST, UNSET, 1, 1024, RESTART, "Of mock.")                                        \
    X(T, config_file, STR, UNSET, 1, 4096, RESTART, "Of infinilm-rust.")                           \
    X(T, model_path, STR, UNSET, 1, 4096, RESTART, "Of infinilm.")
struct engine_of {
    BACKEND_OPTIONS(OPTION_MEMBER, engine_of)
};
OPTION_TABLE(engine_of, BACKEND_OPTIONS, "What is run.");

#define SERVICE_OPTIONS(X, T)                                                                      \
    X(T, models, LIST, UNSET, 0, 1024, RESTART, "Its models; else they are asked from it.")        \
    X(T, weight, U32, UNSET, 0, BABYSITTER_WEIGHT_MAX, RESTART, "Its share of requests.")          \
    X(T, health_path, STR, UNSET, 1, 1024, RESTART, "Answers 2xx when it is ready.")               \
    X(T, register_without_models, BOOL, false, 0, 0, RESTART, "Although it lists none.")
struct service {
    SERVICE_OPTIONS(OPTION_MEMBER, service)
};
OPTION_TABLE(service, SERVICE_OPTIONS, "How it is registered.");

#define FILE_OPTIONS(X, T)                                                                         \
    X(T, name, STR, UNSET, 1, BABYSITTER_NAME_MAX, RESTART, "Its name.")                           \
    X(T, host, STR, "localhost", 1, 253, RESTART, "The host it registers.")                        \
    X(T, port, U32, UNSET, 1, 65534, RESTART, "The engine's port.")                                \
    X(T, registry_url, STR, UNSET, 0, 2048, RESTART, "The registry.")                              \
    X(T, router_url, STR, UNSET, 0, 2048, RESTART, "Accepted.")                                    \
    X(T, babysitter, TABLE(care), UNSET, 0, 0, RESTART, "How the engine is looked after.")         \
    X(T, backend, TABLE(engine_of), REQUIRED, 0, 0, RESTART, "What is run.")                       \
    X(T, metadata, FREE, UNSET, 0, METADATA_BYTES_MAX, RESTART, "Put over its record's own.")      \
    X(T, service, TABLE(service), UNSET, 0, 0, RESTART, "How it is registered.")
struct file {
    FILE_OPTIONS(OPTION_MEMBER, file)
};
OPTION_TABLE(file, FILE_OPTIONS, "A babysitter.");

/* Which types have a key. All have `type`. */
#define OF(backend) (1U << (backend))
static const struct {
    const char *key;
    unsigned types;
} backend_keys[] = {
    {"command", OF(BACKEND_COMMAND)},
    {"args", OF(BACKEND_COMMAND) | OF(BACKEND_VLLM) | OF(BACKEND_INFINILM)},
    {"work_dir", OF(BACKEND_COMMAND) | OF(BACKEND_VLLM) | OF(BACKEND_RUST) | OF(BACKEND_INFINILM)},
    {"env", OF(BACKEND_COMMAND) | OF(BACKEND_VLLM) | OF(BACKEND_INFINILM)},
    {"model", OF(BACKEND_VLLM)},
    {"models", OF(BACKEND_MOCK)},
    {"config_file", OF(BACKEND_RUST)},
    {"model_path", OF(BACKEND_INFINILM)},
};
enum { BACKEND_KEYS = ARRAY_LEN(backend_keys) };

struct build {
    const struct babysitter_input *in;
    struct file file;
    struct str path; /* of the file; p NULL: there is none */
    struct {
        uint32_t line, column; /* line 0: not given */
    } keys[BACKEND_KEYS], type, port, name, host, registry, health;
    int status; /* the worst so far */
};

/* ---- mistakes ---- */

/* `source` is a file or a flag: a flag that cannot be is exit status 2. */
static void wrong(struct build *b, struct str source, uint32_t line, const char *key,
                  const char *fmt, ...) PRINTF_LIKE(5, 6);

static void wrong(struct build *b, struct str source, uint32_t line, const char *key,
                  const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    error_add(b->in->errors,
              &(struct conf_error){
                  .source = source, .line = line, .key = str_of(key), .problem = str_of(text)});
    if (b->status == 0)
        b->status = str_starts(source, STR("--")) ? 2 : 1;
}

/* A mistake in a value that either a flag or the file gave. */
#define WRONG(b, by_flag, flag, line, key, ...)                                                    \
    wrong(b, (by_flag) ? STR(flag) : (b)->path, (by_flag) ? 0 : (line), (by_flag) ? NULL : (key),  \
          __VA_ARGS__)

/* ---- the file ---- */

static void on_set(void *ctx, struct str path, uint32_t line, uint32_t column)
{
    struct build *b = ctx;
    static const struct str prefix = {"backend.", 8};
    struct str key = str_starts(path, prefix) ? str_from(path, prefix.n) : STR_NONE;

    for (size_t i = 0; i < BACKEND_KEYS; i++) {
        if (!str_eq(key, str_of(backend_keys[i].key)))
            continue;
        b->keys[i].line = line;
        b->keys[i].column = column;
    }
    if (str_eq(key, STR("type")))
        b->type.line = line;
    else if (str_eq(path, STR("port")))
        b->port.line = line;
    else if (str_eq(path, STR("name")))
        b->name.line = line;
    else if (str_eq(path, STR("host")))
        b->host.line = line;
    else if (str_eq(path, STR("registry_url")))
        b->registry.line = line;
    else if (str_eq(path, STR("service.health_path")))
        b->health.line = line;
}

static void refuse_foreign_keys(struct build *b)
{
    struct conf_errors *to = b->in->lenient ? b->in->warnings : b->in->errors;
    unsigned type = OF(b->file.backend.type);

    for (size_t i = 0; i < BACKEND_KEYS && b->file.backend.type; i++) {
        char key[64], problem[200];
        struct buf p = buf_on(problem, sizeof problem);
        const char *sep = "";

        if (b->keys[i].line == 0 || (backend_keys[i].types & type))
            continue;
        (void)snprintf(key, sizeof key, "backend.%s", backend_keys[i].key);
        buf_printf(&p, "unknown key for type \"%s\": it is one of type ",
                   backend_words[b->file.backend.type]);
        for (unsigned t = 1; t < BACKENDS_N; t++) {
            if ((backend_keys[i].types & OF(t)) == 0)
                continue;
            buf_printf(&p, "%s\"%s\"", sep, backend_words[t]);
            sep = ", ";
        }
        error_add(to, &(struct conf_error){.source = b->path,
                                           .line = b->keys[i].line,
                                           .column = b->keys[i].column,
                                           .key = str_of(key),
                                           .problem = buf_str(&p)});
        if (!b->in->lenient)
            b->status = 1;
    }
}

static const char *read_all(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *to = buf_reserve(out, FILE_BYTES_MAX + 1);
    ssize_t n = 0;

    if (fd < 0)
        return err_text(err_sys(errno));
    do {
        n = read(fd, to + out->n, FILE_BYTES_MAX + 1 - out->n);
        out->n += n > 0 ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0)
        n = err_sys(errno);
    (void)close(fd);
    if (n < 0)
        return err_text((int)n);
    return out->n > FILE_BYTES_MAX ? "it is over 4 MiB" : NULL;
}

static void read_file(struct build *b)
{
    struct buf bytes = buf_make(FILE_BYTES_MAX + 1);
    struct reader reader = {
        .table = &file_options,
        .base = &b->file,
        .arena = b->in->arena,
        .source = b->path,
        .errors = b->in->errors,
        .unknown = b->in->lenient ? b->in->warnings : NULL,
        .on_set = on_set,
        .ctx = b,
    };
    const char *why = read_all(b->path.p, &bytes);

    if (why)
        wrong(b, b->path, 0, NULL, "cannot be read: %s", why);
    else if (reader_run(&reader, buf_str(&bytes)) < 0)
        b->status = 1;
    buf_fini(&bytes);
    if (!why)
        refuse_foreign_keys(b);
}

/* ---- the flags' backend ---- */

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* The words of a text, copied. */
static struct str_list split(struct arena *a, struct str text)
{
    struct str_list list = {arena_alloc(a, (text.n / 2 + 1) * sizeof *list.at), 0};

    for (size_t i = 0; i < text.n;) {
        size_t from;

        while (i < text.n && is_blank(text.p[i]))
            i++;
        from = i;
        while (i < text.n && !is_blank(text.p[i]))
            i++;
        if (i > from)
            list.at[list.n++] =
                str_span(arena_cstr(a, str_span(text.p + from, i - from)), i - from);
    }
    return list;
}

static struct str_list split_commas(struct arena *a, struct str text)
{
    struct str_list list = {arena_alloc(a, (text.n + 1) * sizeof *list.at), 0};

    while (text.p) {
        struct str item = str_trim(str_cut(&text, ','));

        if (item.n > 0)
            list.at[list.n++] = str_span(arena_cstr(a, item), item.n);
    }
    return list;
}

/* Sorted by key; of one key's values the last. */
static void put_pair(struct str_pairs *pairs, struct str_pair pair)
{
    size_t i = 0;

    while (i < pairs->n && str_cmp(pairs->at[i].key, pair.key) < 0)
        i++;
    if (i == pairs->n || !str_eq(pairs->at[i].key, pair.key)) {
        memmove(&pairs->at[i + 1], &pairs->at[i], (pairs->n - i) * sizeof *pairs->at);
        pairs->n++;
    }
    pairs->at[i] = pair;
}

static void take_env(struct build *b)
{
    const struct str_list *given = &b->in->flags->env;
    struct str_pairs *env = &b->file.backend.env;

    env->at = arena_alloc(b->in->arena, (given->n + 1) * sizeof *env->at);
    for (size_t i = 0; i < given->n; i++) {
        struct str value = given->at[i], key = str_cut(&value, '=');

        if (!value.p || key.n == 0) {
            wrong(b, STR("--env"), 0, NULL, "must be KEY=VALUE");
            continue;
        }
        key = str_span(arena_cstr(b->in->arena, key), key.n);
        put_pair(env, (struct str_pair){key, value});
    }
}

static bool choose_type(struct build *b)
{
    const struct babysitter_flags *f = b->in->flags;
    struct str wanted = f->service_type.p ? f->service_type : STR("command");

    if (f->command.p)
        wanted = STR("command");
    for (unsigned t = 1; t < BACKENDS_N; t++)
        if (str_eq(wanted, str_of(reported[t])))
            b->file.backend.type = (enum backend)t;
    if (b->file.backend.type)
        return true;
    wrong(b, STR_NONE, 0, NULL,
          "--service-type: \"%.*s\" is none of command, vLLM, mock, InfiniLM-Rust, InfiniLM",
          STR_ARGS(wanted));
    return false;
}

static void add_number(struct arena *a, struct str_list *args, const char *flag, uint32_t value)
{
    if (value == OPTION_UNSET_U32)
        return;
    args->at[args->n++] = str_of(flag);
    args->at[args->n++] = arena_printf(a, "%u", value);
}

/* --dev, --ndev and --max-batch, then what --args says. */
static struct str_list device_args(struct build *b)
{
    const struct babysitter_flags *f = b->in->flags;
    struct str_list own = split(b->in->arena, f->args), all = {NULL, 0};

    all.at = arena_alloc(b->in->arena, (own.n + 6) * sizeof *all.at);
    if (f->dev.p) {
        all.at[all.n++] = STR("--dev");
        all.at[all.n++] = f->dev;
    }
    add_number(b->in->arena, &all, "--ndev", f->ndev);
    add_number(b->in->arena, &all, "--max-batch", f->max_batch);
    for (size_t i = 0; i < own.n; i++)
        all.at[all.n++] = own.at[i];
    return all;
}

static void take_flags(struct build *b)
{
    const struct babysitter_flags *f = b->in->flags;
    struct engine_of *e = &b->file.backend;

    take_env(b);
    if (!choose_type(b))
        return;
    e->command = f->command;
    e->model = e->config_file = e->model_path = f->path;
    if (e->type == BACKEND_MOCK)
        e->models = split_commas(b->in->arena, f->args);
    else if (e->type == BACKEND_INFINILM)
        e->args = device_args(b);
    else
        e->args = split(b->in->arena, f->args);
}

/* Flags that change nothing, in one warning. */
static void warn_of_idle_flags(struct build *b)
{
    const struct babysitter_flags *f = b->in->flags;
    enum backend type = b->file.backend.type;
    bool file = b->path.p != NULL,
         typed = type == BACKEND_VLLM || type == BACKEND_RUST || type == BACKEND_INFINILM;
    bool device = !file && type == BACKEND_INFINILM;
    const struct {
        const char *flag;
        bool given, used;
    } rows[] = {
        {"--service-type", f->service_type.p, !file && !f->command.p},
        {"--path", f->path.p, !file && typed},
        {"--command", f->command.p, !file},
        {"--args", f->args.p, !file && type != BACKEND_RUST},
        {"--env", f->env.n > 0, !file},
        {"--dev", f->dev.p, device},
        {"--ndev", f->ndev != OPTION_UNSET_U32, device},
        {"--max-batch", f->max_batch != OPTION_UNSET_U32, device},
    };
    char text[256];
    struct buf list = buf_on(text, sizeof text);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!rows[i].given || rows[i].used)
            continue;
        buf_text(&list, list.n ? ", " : "");
        buf_text(&list, rows[i].flag);
    }
    if (list.n == 0)
        return;
    buf_text(&list, file ? ": no effect beside a configuration file"
                         : ": no effect for this type of service");
    error_add(b->in->warnings, &(struct conf_error){.problem = buf_str(&list)});
}

/* ---- the unit's command ---- */

struct words {
    struct arena *arena;
    struct str_list *list;
    size_t room;
};

static struct words words_for(struct build *b, struct engine_conf *e, size_t room)
{
    e->command.at = arena_alloc(b->in->arena, room * sizeof *e->command.at);
    e->command.n = 0;
    return (struct words){b->in->arena, &e->command, room};
}

static void add(struct words *w, struct str word)
{
    CHECK(w->list->n < w->room);
    w->list->at[w->list->n++] = word;
}

static void add_all(struct words *w, const struct str_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        add(w, list->at[i]);
}

static void add_port(struct words *w, uint16_t port) { add(w, arena_printf(w->arena, "%u", port)); }

/* A key that its type must have; what is missing is said at the line of the type. */
static bool has(struct build *b, bool given, const char *key, const char *flag)
{
    if (given)
        return true;
    if (b->path.p)
        wrong(b, b->path, b->type.line, arena_printf(b->in->arena, "backend.%s", key).p,
              "is missing for type \"%s\"", backend_words[b->file.backend.type]);
    else
        wrong(b, STR_NONE, 0, NULL, "%s is missing for type %s", flag,
              reported[b->file.backend.type]);
    return false;
}

static void argv_of_command(struct build *b, const struct babysitter_conf *c, struct engine_conf *e)
{
    const struct engine_of *from = &b->file.backend;
    struct str_list command = split(b->in->arena, from->command);
    struct words w = words_for(b, e, command.n + from->args.n + 1);

    (void)c;
    if (!has(b, from->command.p, "command", "--command"))
        return;
    if (command.n == 0)
        WRONG(b, !b->path.p, "--command", b->keys[0].line, "backend.command", "names no program");
    add_all(&w, &command);
    add_all(&w, &from->args);
}

static void argv_of_vllm(struct build *b, const struct babysitter_conf *c, struct engine_conf *e)
{
    const struct engine_of *from = &b->file.backend;
    struct words w = words_for(b, e, from->args.n + 9);

    if (!has(b, from->model.p, "model", "--path"))
        return;
    add(&w, STR("python3"));
    add(&w, STR("-m"));
    add(&w, STR("vllm.entrypoints.openai.api_server"));
    add(&w, STR("--model"));
    add(&w, from->model);
    add(&w, STR("--port"));
    add_port(&w, c->port);
    add(&w, STR("--host"));
    add(&w, c->host);
    add_all(&w, &from->args);
}

static void argv_of_mock(struct build *b, const struct babysitter_conf *c, struct engine_conf *e)
{
    const struct engine_of *from = &b->file.backend;
    struct words w = words_for(b, e, 8);
    struct buf models = buf_make(FILE_BYTES_MAX);

    if (!has(b, from->models.n > 0, "models", "--args"))
        return;
    for (size_t i = 0; i < from->models.n; i++) {
        buf_text(&models, i ? "," : "");
        buf_add(&models, from->models.at[i]);
    }
    add(&w, str_of(b->in->own_program));
    add(&w, STR("mock"));
    add(&w, STR("--name"));
    add(&w, c->name);
    add(&w, STR("--port"));
    add_port(&w, c->port);
    add(&w, STR("--models"));
    add(&w, str_of(arena_cstr(b->in->arena, buf_str(&models))));
    buf_fini(&models);
}

static void argv_of_rust(struct build *b, const struct babysitter_conf *c, struct engine_conf *e)
{
    struct words w = words_for(b, e, 5);

    if (!has(b, b->file.backend.config_file.p, "config_file", "--path"))
        return;
    add(&w, STR("xtask"));
    add(&w, STR("service"));
    add(&w, b->file.backend.config_file);
    add(&w, STR("-p"));
    add_port(&w, c->port);
}

static void argv_of_infinilm(struct build *b, const struct babysitter_conf *c,
                             struct engine_conf *e)
{
    const struct engine_of *from = &b->file.backend;
    struct words w = words_for(b, e, from->args.n + 8);

    if (!has(b, from->model_path.p, "model_path", "--path"))
        return;
    add(&w, STR("python3"));
    add(&w, STR("launch_server.py"));
    add(&w, STR("--port"));
    add_port(&w, c->port);
    add(&w, STR("--host"));
    add(&w, c->host);
    add(&w, STR("--model-path"));
    add(&w, from->model_path);
    add_all(&w, &from->args);
}

static void (*const argv_of[BACKENDS_N])(struct build *b, const struct babysitter_conf *c,
                                         struct engine_conf *e) = {
    [BACKEND_COMMAND] = argv_of_command,   [BACKEND_VLLM] = argv_of_vllm,
    [BACKEND_MOCK] = argv_of_mock,         [BACKEND_RUST] = argv_of_rust,
    [BACKEND_INFINILM] = argv_of_infinilm,
};

static void make_engine(struct build *b, const struct babysitter_conf *c, struct engine_conf *e)
{
    const struct care *care = &b->file.babysitter;
    const struct engine_of *from = &b->file.backend;

    *e = (struct engine_conf){
        .name = c->name,
        .ready_timeout_ms = care->start_timeout * 1000,
        .hang_timeout_ms = care->hang_timeout * 1000,
        .restart = care->restart == RESTART_ON_FAILURE ? UNIT_RESTART_FAILURE : UNIT_RESTART_ALWAYS,
        .restart_delay_ms = care->restart_delay * 1000,
        .restart_max_ms = care->restart_delay_max * 1000,
        .stable_ms = care->stable_after * 1000,
        .stop_grace_ms = care->stop_grace * 1000,
        .work_dir = from->work_dir,
        .env = from->env,
        .endpoint = ENGINE_AT_URL,
    };
    if (from->type)
        argv_of[from->type](b, c, e);
}

/* ---- the rest ---- */

static bool is_clean(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return str_utf8_valid(s);
}

/* Where the flags win over the file. */
static void overlay(struct build *b)
{
    const struct babysitter_flags *f = b->in->flags;
    struct file *file = &b->file;

    if (f->name.p)
        file->name = f->name;
    if (f->host.p && !str_eq(f->host, STR("localhost")))
        file->host = f->host;
    if (f->port != OPTION_UNSET_U32)
        file->port = f->port;
    if (f->registry_url.p)
        file->registry_url = f->registry_url;
    if (f->max_restarts != OPTION_UNSET_U64)
        file->babysitter.max_restarts = f->max_restarts;
    if (f->restart_delay != OPTION_UNSET_U32)
        file->babysitter.restart_delay = f->restart_delay;
    if (f->heartbeat_interval != OPTION_UNSET_U32)
        file->babysitter.heartbeat_interval = f->heartbeat_interval;
    if (f->work_dir.p)
        file->backend.work_dir = f->work_dir;
    if (f->listen.p)
        file->babysitter.listen = f->listen;
}

/* The type in lower case, blanks made dashes, and the port. */
static struct str derive_name(struct arena *a, const char *type, uint16_t port)
{
    char word[32];
    size_t n = 0;

    for (; n < sizeof word - 1 && type[n]; n++) {
        char c = type[n];

        word[n] = c == ' ' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    word[n] = '\0';
    return arena_printf(a, "%s-%u", word, port);
}

static void take_names(struct build *b, struct babysitter_conf *c)
{
    const struct babysitter_flags *f = b->in->flags;
    bool ip6 = str_find(b->file.host, ':') < b->file.host.n;
    struct str text =
        arena_printf(b->in->arena, ip6 ? "http://[%.*s]" : "http://%.*s", STR_ARGS(b->file.host));
    struct url at;
    const char *why;

    c->host = b->file.host;
    if (url_parse(text, &at, &why) < 0 || !str_eq(at.host, c->host))
        WRONG(b, f->host.p, "--host", b->host.line, "host", "is no host name or address");
    c->name = b->file.name;
    if (c->name.p && !is_clean(c->name))
        WRONG(b, f->name.p, "--name", b->name.line, "name",
              "must be UTF-8 without control characters");
    if (!c->name.p)
        c->name = derive_name(b->in->arena, c->type, c->port);
}

static void take_port(struct build *b, struct babysitter_conf *c)
{
    if (b->file.port != OPTION_UNSET_U32)
        c->port = (uint16_t)b->file.port;
    else if (b->path.p)
        wrong(b, b->path, 1, "port", "is missing, and there is no --port");
    else
        wrong(b, STR_NONE, 0, NULL, "--port is missing, and there is no --config-file");
}

static void take_registry(struct build *b, struct babysitter_conf *c)
{
    struct str url = b->file.registry_url;
    const char *why = "";
    int r;

    if (url.n == 0)
        return;
    r = url_parse(url, &c->registry, &why);
    if (r == 0 && c->registry.kind != URL_HTTP) {
        why = "must be \"http://host:port\"";
        r = -E_SYNTAX;
    }
    if (r < 0)
        WRONG(b, b->in->flags->registry_url.p, "--registry-url", b->registry.line, "registry_url",
              "%s", why);
}

static void take_service(struct build *b, struct babysitter_conf *c)
{
    const struct service *s = &b->file.service;

    c->models = s->models;
    c->weight = s->weight;
    c->health_path = s->health_path.p;
    c->register_without_models = s->register_without_models;
    if (!s->health_path.p)
        return;
    for (size_t i = 0; i < s->health_path.n; i++) {
        if (s->health_path.p[0] == '/' && s->health_path.p[i] > ' ' && s->health_path.p[i] < 0x7f)
            continue;
        wrong(b, b->path, b->health.line, "service.health_path",
              "must begin with / and be visible ASCII");
        return;
    }
}

int babysitter_conf_read(const struct babysitter_input *in, struct babysitter_conf *ret)
{
    struct build b = {.in = in, .path = in->flags->config_file};
    struct babysitter_conf c = {.port = 0};

    option_defaults(&file_options, &b.file, in->arena);
    if (b.path.p)
        read_file(&b);
    else
        take_flags(&b);
    overlay(&b);
    if (b.status == 0) {
        c.type = reported[b.file.backend.type];
        CHECK(c.type); /* it is required */
        take_port(&b, &c);
        take_names(&b, &c);
        take_registry(&b, &c);
        take_service(&b, &c);
        make_engine(&b, &c, &c.engine);
        warn_of_idle_flags(&b);
    }
    c.listen = b.file.babysitter.listen;
    c.heartbeat_s = b.file.babysitter.heartbeat_interval;
    c.failures_max = b.file.babysitter.max_restarts + 1;
    c.metadata = b.file.metadata;
    if (b.status == 0)
        *ret = c;
    return b.status;
}
