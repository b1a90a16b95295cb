/* SPDX-License-Identifier: Apache-2.0
 *
 * settings_collect.c - the half that touches the machine: which file, its bytes, the environment,
 * the defaults that depend on cores and directories, the secrets, the users. Plain blocking calls:
 * the master runs it before its loop starts and for a reload. All of it ends up in a bundle.
 *
 * Exports: settings_
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "ev/sandbox.h"
#include "role/lanes.h"
#include "role/settings_priv.h"

enum { PATH_BYTES = 4096 };

struct collect {
    const struct settings_source *src;
    struct bundle *bundle;
    struct conf_errors *errors;
};

static const char *env_get(char *const *env, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; env && env[i]; i++)
        if (strncmp(env[i], name, n) == 0 && env[i][n] == '=')
            return env[i] + n + 1;
    return NULL;
}

static int complain(struct collect *c, struct str source, struct str key, struct str problem)
{
    error_add(c->errors, &(struct conf_error){.source = source, .key = key, .problem = problem});
    return -E_CONF;
}

/* --- files --- */

/* -E_LIMIT when there is more than `max` bytes; err_sys() otherwise. The buffer is allocated once,
 * so that no copy of a secret stays behind. */
static int read_all(int fd, size_t max, struct buf *out)
{
    char *to = buf_reserve(out, max + 1);

    CHECK(to != NULL);
    while (out->n <= max) {
        ssize_t n = read(fd, to + out->n, max + 1 - out->n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(errno);
        if (n == 0)
            return 0;
        out->n += (size_t)n;
    }
    return -E_LIMIT;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

/* 1 when it was read, 0 when it is not there and need not be. */
static int read_config(struct collect *c, const char *path, bool must_exist)
{
    struct buf bytes = buf_make(BUNDLE_FILE_MAX + 1);
    _cleanup_(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[128];
    int r;

    if (fd < 0 && !must_exist && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    r = fd < 0 ? err_sys(errno) : read_all(fd, BUNDLE_FILE_MAX, &bytes);
    if (r == 0)
        r = bundle_add(c->bundle, BUNDLE_FILE, str_of(path), buf_str(&bytes));
    buf_fini(&bytes);
    if (r == 0)
        return 1;
    (void)snprintf(text, sizeof text, "cannot be read: %s",
                   r == -E_LIMIT ? "it is over 4 MiB" : err_text(r));
    return complain(c, str_of(path), STR_NONE, str_of(text));
}

static int find_config(struct collect *c)
{
    const char *home = env_get(c->src->env, "HOME");
    const char *named = c->src->config ? c->src->config : env_get(c->src->env, "INFERD_CONFIG");
    char path[PATH_BYTES];
    int r;

    if (named && *named)
        return read_config(c, named, true);
    r = read_config(c, "./inferd.toml", false);
    if (r == 0 && home && home[0] == '/' &&
        snprintf(path, sizeof path, "%s/.config/inferd/inferd.toml", home) < PATH_BYTES)
        r = read_config(c, path, false);
    if (r == 0)
        r = read_config(c, "/etc/inferd/inferd.toml", false);
    return r;
}

/* --- the machine and the environment --- */

static int add_computed(struct collect *c, const char *key, struct str value)
{
    return bundle_add(c->bundle, BUNDLE_COMPUTED, str_of(key), value);
}

static int compute_lanes(struct collect *c)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%u", lanes_default());
    return add_computed(c, "lanes", str_of(text));
}

/* What engines are called in a registry begins with the host's name. */
static int compute_name(struct collect *c)
{
    char name[129] = "";

    if (gethostname(name, sizeof name - 1) < 0 || !name[0])
        return 0;
    return add_computed(c, "registry.name", str_of(name));
}

static int compute_dirs(struct collect *c)
{
    const char *run = env_get(c->src->env, "XDG_RUNTIME_DIR"), *home = env_get(c->src->env, "HOME");
    const char *state = env_get(c->src->env, "XDG_STATE_HOME");
    bool root = geteuid() == 0;
    char path[PATH_BYTES];
    int r;

    if (run && run[0] == '/')
        (void)snprintf(path, sizeof path, "%s/inferd", run);
    else if (root)
        (void)snprintf(path, sizeof path, "/run/inferd");
    else
        (void)snprintf(path, sizeof path, "/tmp/inferd-%u", (unsigned)geteuid());
    r = add_computed(c, "runtime_dir", str_of(path));
    if (r < 0)
        return r;
    if (root)
        (void)snprintf(path, sizeof path, "/var/lib/inferd");
    else if (state && state[0] == '/')
        (void)snprintf(path, sizeof path, "%s/inferd", state);
    else if (home && home[0] == '/')
        (void)snprintf(path, sizeof path, "%s/.local/state/inferd", home);
    else
        (void)snprintf(path, sizeof path, "/tmp/inferd-%u/state", (unsigned)geteuid());
    return add_computed(c, "state_dir", str_of(path));
}

/* A list (`listen`) is given with commas and becomes one record for each item. */
static int add_variable(void *ctx, struct str path, const struct option *o)
{
    struct collect *c = ctx;
    char memory[256];
    struct buf name = buf_on(memory, sizeof memory);
    struct str rest;
    int r = 0;

    option_env_name(path, &name);
    CHECK(buf_cstr(&name) != NULL);
    rest = str_of(env_get(c->src->env, memory));
    if (!rest.p || (o->by && rest.n == 0))
        return 0;
    if (!o->by)
        r = bundle_add(c->bundle, BUNDLE_ENV, path, rest);
    while (o->by && rest.p && r == 0)
        r = bundle_add(c->bundle, BUNDLE_ENV, path, str_trim(str_cut(&rest, ',')));
    return r < 0 ? complain(c, buf_str(&name), path, STR("is too long")) : 0;
}

static int add_flags(struct collect *c)
{
    int r = 0;

    for (size_t i = 0; c->src->flags && i < c->src->flags->n && r == 0; i++)
        r = bundle_add(c->bundle, BUNDLE_FLAG, c->src->flags->at[i].name,
                       c->src->flags->at[i].value);
    return r;
}

/* --- secrets --- */

/* Whether systemd put it there: such a file may carry a group bit (its ACL). */
static bool is_credential(const struct collect *c, struct str path)
{
    struct str dir = str_of(env_get(c->src->env, "CREDENTIALS_DIRECTORY"));
    struct str rest = str_from(path, dir.n);

    return dir.n && str_starts(path, dir) && rest.n > 1 && rest.p[0] == '/' &&
           str_find(str_from(rest, 1), '/') == rest.n - 1;
}

/* Why it is none that only the owner can read; NULL when it is. */
static const char *unsafe_secret(const struct collect *c, const char *path, const struct stat *st)
{
    bool credential = is_credential(c, str_of(path));

    if (!S_ISREG(st->st_mode))
        return "is not a regular file";
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return "belongs to another user";
    if (st->st_mode & (credential ? 037 : 077))
        return "can be read or changed by others: chmod 600 it";
    return NULL;
}

static int read_secret(struct collect *c, struct settings_build *b, enum bundle_kind kind,
                       struct str file, const char *key)
{
    size_t most = kind == BUNDLE_KEYS ? BUNDLE_FILE_MAX : BUNDLE_SECRET_MAX;
    struct buf bytes = buf_make(most + 1);
    _cleanup_(close_fd) int fd = open(file.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    const char *why = NULL;
    struct stat st = {0};
    int r = fd < 0 || fstat(fd, &st) < 0 ? err_sys(errno) : 0;

    if (r == 0)
        why = unsafe_secret(c, file.p, &st);
    if (r == 0 && !why)
        r = read_all(fd, most, &bytes);
    if (r == 0 && !why)
        r = bundle_add(c->bundle, kind, file, buf_str(&bytes));
    if (bytes.n)
        explicit_bzero(bytes.p, bytes.n);
    buf_fini(&bytes);
    if (why)
        settings_complain(b, key, NULL, "\"%.*s\" %s", STR_ARGS(file), why);
    else if (r < 0)
        settings_complain(b, key, NULL, "\"%.*s\" cannot be read: %s", STR_ARGS(file),
                          r == -E_LIMIT ? "it is too large" : err_text(r));
    return why || r < 0 ? -E_CONF : 0;
}

static int read_secrets(struct collect *c, struct settings_build *b)
{
    char key[64];
    struct str keys = b->settings->keys.file, token = b->settings->registry.token_file;
    int result = 0;

    if (keys.p && read_secret(c, b, BUNDLE_KEYS, keys, "keys.file") < 0)
        result = -E_CONF;
    if (token.p && read_secret(c, b, BUNDLE_SECRET, token, "registry.token_file") < 0)
        result = -E_CONF;
    for (size_t i = 0; i < b->settings->remote.n; i++) {
        struct str file = b->settings->remote.at[i].api_key_file;

        if (!file.p || bundle_find(c->bundle, BUNDLE_SECRET, &file))
            continue;
        (void)snprintf(key, sizeof key, "remote[%zu].api_key_file", i);
        if (read_secret(c, b, BUNDLE_SECRET, file, key) < 0)
            result = -E_CONF;
    }
    return result;
}

/* --- users --- */

static bool is_user(struct settings_build *b, const char *key, struct str name)
{
    struct sandbox_user user;

    if (!name.p || sandbox_find_user(name.p, &user) == 0)
        return true;
    settings_complain(b, key, NULL, "there is no user \"%.*s\"", STR_ARGS(name));
    return false;
}

static int find_users(struct settings_build *b)
{
    bool all = is_user(b, "process.user", b->settings->process.user);
    char key[64];

    for (size_t i = 0; i < b->settings->engine.n; i++) {
        (void)snprintf(key, sizeof key, "engine[%zu].user", i);
        all &= is_user(b, key, b->settings->engine.at[i].user);
    }
    return all ? 0 : -E_CONF;
}

/* --- all of it --- */

static int fill_bundle(struct collect *c)
{
    int r = compute_lanes(c);

    if (r == 0)
        r = compute_dirs(c);
    if (r == 0)
        r = compute_name(c);
    if (r == 0)
        r = option_each_flag(settings_table(), add_variable, c);
    if (r == 0)
        r = add_flags(c);
    if (r == 0)
        r = find_config(c);
    if (r < 0 && c->errors->n == 0)
        return complain(c, STR_NONE, STR_NONE, STR("too many flags and variables"));
    return r < 0 ? r : 0;
}

int settings_collect(const struct settings_source *src, struct bundle **ret_bundle,
                     struct settings **ret, struct conf_errors *errors)
{
    struct collect c = {.src = src, .errors = errors};
    struct settings_build b;
    int r;

    bundle_create(&c.bundle);
    r = fill_bundle(&c);
    if (r == 0) {
        r = settings_build_start(&b, c.bundle, errors);
        if (read_secrets(&c, &b) < 0)
            r = -E_CONF;
        if (find_users(&b) < 0)
            r = -E_CONF;
        if (r == 0)
            r = settings_build_secrets(&b, c.bundle);
        if (r == 0)
            r = settings_build_keys(&b, c.bundle);
        if (r == 0) {
            *ret = settings_build_take(&b);
            *ret_bundle = TAKE(&c.bundle);
        }
        settings_build_end(&b);
    }
    bundle_destroy(&c.bundle);
    CHECK(r == 0 || errors->n > 0);
    return r < 0 ? -E_CONF : 0;
}

int settings_keys_file(const struct settings_source *src, struct arena *arena, struct str *ret,
                       struct conf_errors *errors)
{
    struct collect c = {.src = src, .errors = errors};
    struct settings_build b;
    int r;

    bundle_create(&c.bundle);
    r = fill_bundle(&c);
    if (r == 0) {
        (void)!settings_build_start(&b, c.bundle, errors); /* a key is made for it all the same */
        *ret = b.settings->keys.file;
        if (ret->p)
            *ret = str_span(arena_cstr(arena, *ret), ret->n);
        settings_build_end(&b);
    }
    bundle_destroy(&c.bundle);
    return r;
}
