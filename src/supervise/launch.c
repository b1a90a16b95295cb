/* SPDX-License-Identifier: Apache-2.0
 *
 * launch.c - see launch.h. The environment is the parent's without what was meant for us, then the
 * user's own variables when the unit runs as somebody else, then the configured ones, then the
 * mark, which nothing overrides: the sweep finds a unit's processes by it. A program is looked up
 * once, with the PATH the unit will have, and refused when anybody could have replaced it.
 */
#include "supervise/launch.h"

#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ev/sweep.h"
#include "link/link.h"

enum {
    WORD_MAX = 128 * 1024, /* bytes of one word of a command or one variable; the kernel's bound */
    GROUPS_MAX = 1024,     /* supplementary groups of a user */
    OOM_SCORE_ADJ = 500,   /* short of memory, an engine goes before the process that restarts it */
};

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

/* Cut rather than left out: paths are long. */
static void say(struct buf *problem, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(struct buf *problem, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_add(problem, str_head(str_of(text), problem->cap - problem->n - 1));
}

/* ---- words ---- */

struct place {
    struct str form, value;
};

/* "${PORT}" and "${SOCKET}" anywhere in a word; any other "${" is the engine's own business, as is
 * every one of a unit that has neither. */
static const char *fill_in(const struct launch_input *in, struct arena *arena, struct str word)
{
    char port[8];
    struct buf b = buf_make(WORD_MAX), digits = buf_on(port, sizeof port);
    struct place places[] = {{STR("${PORT}"), STR_NONE}, {STR("${SOCKET}"), str_of(in->socket)}};
    const char *filled;

    if (in->engine->endpoint == ENGINE_AT_URL)
        return word.n <= WORD_MAX ? arena_cstr(arena, word) : NULL;
    buf_u64(&digits, in->port);
    places[0].value = buf_str(&digits);
    while (word.n) {
        size_t at = str_find(word, '$'), skip = 0;

        buf_add(&b, str_head(word, at));
        word = str_from(word, at);
        for (size_t i = 0; i < ARRAY_LEN(places) && !skip; i++) {
            if (!str_starts(word, places[i].form))
                continue;
            buf_add(&b, places[i].value);
            skip = places[i].form.n;
        }
        if (!skip && word.n) {
            buf_char(&b, '$');
            skip = 1;
        }
        word = str_from(word, skip);
    }
    filled = buf_status(&b) < 0 ? NULL : arena_cstr(arena, buf_str(&b));
    buf_fini(&b);
    return filled;
}

static int fill_command(const struct launch_input *in, struct arena *arena, struct child_conf *ret,
                        struct buf *problem)
{
    const struct str_list *command = &in->engine->command;
    const char **argv = arena_zalloc(arena, (command->n + 1) * sizeof *argv);

    for (size_t i = 0; i < command->n; i++) {
        argv[i] = fill_in(in, arena, command->at[i]);
        if (!argv[i]) {
            say(problem, "word %zu of the command is longer than %d bytes", i + 1, WORD_MAX);
            return -E_CONF;
        }
    }
    if (!argv[0] || !argv[0][0]) {
        say(problem, "the command names no program");
        return -E_CONF;
    }
    ret->argv = argv;
    return 0;
}

/* ---- environment ---- */

struct variables {
    const char **at;
    size_t n;
};

static bool names(const char *variable, struct str name)
{
    return str_starts(str_of(variable), name) && variable[name.n] == '=';
}

/* `text` is "NAME=value"; replaces a variable of that name. */
static void set_variable(struct variables *v, const char *text)
{
    struct str name = str_head(str_of(text), str_find(str_of(text), '='));

    for (size_t i = 0; i < v->n; i++) {
        if (names(v->at[i], name)) {
            v->at[i] = text;
            return;
        }
    }
    v->at[v->n++] = text;
}

static void set_pair(struct variables *v, struct arena *arena, struct str name, const char *value)
{
    set_variable(v, arena_printf(arena, "%.*s=%s", STR_ARGS(name), value).p);
}

static const char *get_variable(const struct variables *v, struct str name)
{
    for (size_t i = 0; i < v->n; i++)
        if (names(v->at[i], name))
            return v->at[i] + name.n + 1;
    return NULL;
}

/* Meant for us, not for what we start. */
static bool is_ours(const char *variable)
{
    static const struct str prefixes[] = {{"INFERD_", 7}, {"LISTEN_", 7}, {"WATCHDOG_", 9}};

    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (str_starts(str_of(variable), prefixes[i]))
            return true;
    return names(variable, STR("NOTIFY_SOCKET")) || !strchr(variable, '=');
}

static int fill_env(const struct launch_input *in, struct arena *arena, const struct passwd *pw,
                    struct variables *v, struct buf *problem)
{
    const struct str_pairs *own = &in->engine->env;
    size_t inherited = 0;

    while (in->parent_env && in->parent_env[inherited])
        inherited++;
    v->at = arena_zalloc(arena, (inherited + own->n + 5) * sizeof *v->at);
    for (size_t i = 0; i < inherited; i++)
        if (!is_ours(in->parent_env[i]))
            v->at[v->n++] = arena_cstr(arena, str_of(in->parent_env[i]));
    if (pw) {
        set_pair(v, arena, STR("HOME"), pw->pw_dir);
        set_pair(v, arena, STR("USER"), pw->pw_name);
        set_pair(v, arena, STR("LOGNAME"), pw->pw_name);
    }
    for (size_t i = 0; i < own->n; i++) {
        const char *value = fill_in(in, arena, own->at[i].value);

        if (!value || str_find(own->at[i].key, '=') < own->at[i].key.n || own->at[i].key.n == 0) {
            say(problem, "env: \"%.*s\" cannot be passed on", STR_ARGS(own->at[i].key));
            return -E_CONF;
        }
        set_pair(v, arena, own->at[i].key, value);
    }
    set_pair(v, arena, STR(SWEEP_MARK), in->mark);
    return 0;
}

/* ---- program ---- */

/* The process changes to work_dir before it runs the program. */
static const char *absolute(struct arena *arena, const char *dir, const char *path)
{
    char cwd[4096];

    if (path[0] == '/')
        return path;
    if (dir && dir[0] == '/')
        return arena_printf(arena, "%s/%s", dir, path).p;
    if (!getcwd(cwd, sizeof cwd))
        return path;
    return dir ? arena_printf(arena, "%s/%s/%s", cwd, dir, path).p
               : arena_printf(arena, "%s/%s", cwd, path).p;
}

/* 0, -E_NOT_FOUND when there is no program, -E_PERM when it must not be run. */
static int look_at(const struct launch_input *in, const char *path, struct buf *problem)
{
    struct stat st;

    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return -E_NOT_FOUND;
    if ((st.st_mode & 0111) == 0) {
        say(problem, "%s is not executable", path);
        return -E_PERM;
    }
    if (!in->any_program && (st.st_mode & S_IWOTH)) {
        say(problem, "%s can be written by any user: not started", path);
        return -E_PERM;
    }
    return 0;
}

/* First on PATH that can be executed, as execvp() finds it, without the current directory that an
 * empty entry means there. */
static int look_up(const struct launch_input *in, struct arena *arena, struct str name,
                   struct str path, const char **ret, struct buf *problem)
{
    const char *dir = in->engine->work_dir.p;
    int r = -E_NOT_FOUND;

    while (path.n && r == -E_NOT_FOUND) {
        struct str entry = str_cut(&path, ':');
        const char *file;

        if (!entry.n)
            continue;
        file = arena_printf(arena, "%.*s/%.*s", STR_ARGS(entry), STR_ARGS(name)).p;
        file = absolute(arena, dir, file);
        if (access(file, X_OK) < 0)
            continue;
        r = look_at(in, file, problem);
        *ret = file;
    }
    return r;
}

static int find_program(const struct launch_input *in, struct arena *arena,
                        const struct variables *v, struct child_conf *ret, struct buf *problem)
{
    const char *dir = in->engine->work_dir.p, *path = get_variable(v, STR("PATH"));
    struct str name = str_of(ret->argv[0]);
    int r;

    if (str_find(name, '/') < name.n) {
        ret->file = absolute(arena, dir, name.p);
        r = look_at(in, ret->file, problem);
        if (r == -E_NOT_FOUND)
            say(problem, "there is no program %s", ret->file);
    } else {
        r = look_up(in, arena, name, str_of(path ? path : DEFAULT_PATH), &ret->file, problem);
        if (r == -E_NOT_FOUND)
            say(problem, "there is no program \"%s\" in PATH", name.p);
    }
    return r < 0 ? -E_CONF : 0;
}

static int find_dir(const struct launch_input *in, struct arena *arena, struct child_conf *ret,
                    struct buf *problem)
{
    struct stat st;

    if (!in->engine->work_dir.p)
        return 0;
    ret->work_dir = absolute(arena, NULL, in->engine->work_dir.p);
    if (stat(ret->work_dir, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    say(problem, "work_dir %s is no directory", ret->work_dir);
    return -E_CONF;
}

/* ---- user ---- */

/* *ret is NULL when it is to run as we do. It is the user database's: good until it is asked
 * again. */
static int find_user(const struct engine_conf *engine, const struct passwd **ret,
                     struct buf *problem)
{
    const struct passwd *pw;

    *ret = NULL;
    if (!engine->user.p)
        return 0;
    pw = getpwnam(engine->user.p);
    if (!pw) {
        say(problem, "there is no user \"%s\"", engine->user.p);
        return -E_CONF;
    }
    if (pw->pw_uid == geteuid())
        return 0;
    if (geteuid() != 0) {
        say(problem, "only root can start it as user \"%s\"", engine->user.p);
        return -E_CONF;
    }
    *ret = pw;
    return 0;
}

int launch_check_user(const struct engine_conf *engine, struct buf *problem)
{
    const struct passwd *pw;

    return find_user(engine, &pw, problem);
}

static int fill_user(const struct passwd *pw, struct arena *arena, struct child_conf *ret,
                     struct buf *problem)
{
    struct child_user *user = arena_new(arena, struct child_user);
    gid_t *groups = arena_alloc(arena, GROUPS_MAX * sizeof *groups);
    int n = GROUPS_MAX;

    if (getgrouplist(pw->pw_name, pw->pw_gid, groups, &n) < 0) {
        say(problem, "user \"%s\" is in more than %d groups", pw->pw_name, GROUPS_MAX);
        return -E_CONF;
    }
    *user = (struct child_user){pw->pw_uid, pw->pw_gid, groups, (size_t)n};
    ret->user = user;
    return 0;
}

/* ---- the whole ---- */

/* Of a unit with a socket: only those who are to connect to it may. Else as we were started. */
static unsigned umask_for(const struct launch_input *in)
{
    mode_t ours;

    if (in->socket[0])
        return in->socket_gid ? 007 : 077;
    ours = umask(077); /* the only way to read it */
    (void)umask(ours);
    return ours;
}

int launch_prepare(const struct launch_input *in, struct arena *arena, struct child_conf *ret,
                   struct buf *problem)
{
    struct child_conf c = {.capture = true, .oom_score_adj = OOM_SCORE_ADJ};
    struct variables env = {.n = 0};
    const struct passwd *pw;
    int r = find_user(in->engine, &pw, problem);

    if (r == 0)
        r = fill_command(in, arena, &c, problem);
    if (r == 0)
        r = fill_env(in, arena, pw, &env, problem);
    if (r == 0 && pw)
        r = fill_user(pw, arena, &c, problem);
    if (r == 0)
        r = find_dir(in, arena, &c, problem);
    if (r == 0)
        r = find_program(in, arena, &env, &c, problem);
    if (r < 0)
        return r;
    c.env = env.at;
    c.umask = umask_for(in);
    *ret = c;
    return 0;
}

int launch_socket_path(const char *runtime_dir, struct str name, char *ret, struct buf *problem)
{
    /* "unit-": no unit's name may make it another socket of that directory. */
    int n = snprintf(ret, LINK_SOCKET_MAX + 1, "%s/unit-%.*s.sock", runtime_dir, STR_ARGS(name));

    if (n <= LINK_SOCKET_MAX)
        return 0;
    ret[0] = '\0';
    say(problem, "its socket %s/unit-%.*s.sock is longer than %d bytes", runtime_dir,
        STR_ARGS(name), LINK_SOCKET_MAX);
    return -E_LIMIT;
}

/* ---- for the log ---- */

static bool contains_caseless(struct str s, struct str needle)
{
    for (size_t i = 0; i + needle.n <= s.n; i++)
        if (str_caseeq(str_span(s.p + i, needle.n), needle))
            return true;
    return false;
}

static bool sounds_secret(struct str name)
{
    static const struct str words[] = {{"key", 3}, {"token", 5}, {"secret", 6}, {"password", 8}};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (contains_caseless(name, words[i]))
            return true;
    return false;
}

static void print_word(struct str word, struct buf *out)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "%+,-./:=@_";
    bool quoted = word.n == 0;

    for (size_t i = 0; i < word.n; i++)
        quoted |= word.p[i] == '\0' || !strchr(plain, word.p[i]);
    if (quoted)
        buf_char(out, '\'');
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] == '\'')
            buf_text(out, "'\\''");
        else
            buf_char(out, word.p[i]);
    }
    if (quoted)
        buf_char(out, '\'');
}

void launch_print(const char *const *argv, struct buf *out)
{
    bool mask = false;

    for (size_t i = 0; argv[i]; i++) {
        struct str word = str_of(argv[i]), name = str_head(word, str_find(word, '='));
        bool secret = sounds_secret(name), joined = name.n < word.n;

        if (i)
            buf_char(out, ' ');
        if (mask) {
            buf_text(out, "***");
        } else if (i && secret && joined) { /* --api-key=X, HF_TOKEN=X */
            print_word(name, out);
            buf_text(out, "=***");
        } else {
            print_word(word, out);
        }
        mask = i && !mask && secret && !joined && word.p[0] == '-';
    }
}

/* ---- configurations ---- */

static bool same_list(const struct str_list *a, const struct str_list *b)
{
    for (size_t i = 0; a->n == b->n && i < a->n; i++)
        if (!str_eq(a->at[i], b->at[i]))
            return false;
    return a->n == b->n;
}

static bool same_pairs(const struct str_pairs *a, const struct str_pairs *b)
{
    for (size_t i = 0; a->n == b->n && i < a->n; i++)
        if (!str_eq(a->at[i].key, b->at[i].key) || !str_eq(a->at[i].value, b->at[i].value))
            return false;
    return a->n == b->n;
}

bool launch_same(const struct engine_conf *a, const struct engine_conf *b)
{
    return same_list(&a->command, &b->command) && same_pairs(&a->env, &b->env) &&
           str_eq(a->work_dir, b->work_dir) && str_eq(a->user, b->user) &&
           a->endpoint == b->endpoint;
}

static struct str copy_of(struct arena *arena, struct str s)
{
    return s.p ? str_span(arena_cstr(arena, s), s.n) : STR_NONE;
}

static void copy_str(struct arena *arena, struct str *s) { *s = copy_of(arena, *s); }

static void copy_list(struct arena *arena, struct str_list *list)
{
    struct str *at = arena_zalloc(arena, (list->n + 1) * sizeof *at);

    for (size_t i = 0; i < list->n; i++)
        at[i] = copy_of(arena, list->at[i]);
    list->at = at;
}

static void copy_pairs(struct arena *arena, struct str_pairs *pairs)
{
    struct str_pair *at = arena_zalloc(arena, (pairs->n + 1) * sizeof *at);

    for (size_t i = 0; i < pairs->n; i++)
        at[i] =
            (struct str_pair){copy_of(arena, pairs->at[i].key), copy_of(arena, pairs->at[i].value)};
    pairs->at = at;
}

/* Held in the struct itself. */
static void copy_nothing(struct arena *arena, const void *member)
{
    (void)arena;
    (void)member;
}

#define COPY_MEMBER(T, key, TYPE, dflt, least, most, when, text) COPY_##TYPE(arena, &ret->key);
#define COPY_STR copy_str
#define COPY_LIST copy_list
#define COPY_MAP copy_pairs
#define COPY_U32 copy_nothing
#define COPY_WORD(w) copy_nothing

void launch_copy(const struct engine_conf *from, struct arena *arena, struct engine_conf *ret)
{
    *ret = *from;
    ENGINE_OPTIONS(COPY_MEMBER, engine_conf)
}
