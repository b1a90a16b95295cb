/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl_key.c - `inferd ctl key`: makes, shows and revokes API keys in their file. A secret exists in
 * this process only while it is printed, once; the file holds its digest. The file is replaced as a
 * whole, so whoever reads it, at whatever moment, reads all of one version; what it says besides
 * the keys (comments) is not kept.
 *
 * The lock is on the file that is being written, FILE.new, and goes with its process: one that was
 * killed leaves nothing to clean up.
 *
 * Exports: ctl_
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "conf/bundle.h"
#include "gate/keys.h"
#include "role/ctl_priv.h"
#include "role/ctl_table.h"
#include "role/settings.h"
#include "role/settings_keys.h"

/* The file while it is edited. */
struct edit {
    struct ctl *ctl;
    char path[PATH_MAX]; /* without symbolic links */
    char draft[PATH_MAX + 8];
    int draft_fd;
    bool exists;
    struct stat was;
    struct key_conf_list keys;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static int fail(const char *path, const char *what)
{
    ctl_complain("%s: %s: %s", path, what, err_text(err_sys(errno)));
    return -E_IO;
}

/* ---- reading ---- */

static void print_mistakes(const struct conf_errors *errors)
{
    struct buf text = buf_make(1 << 20);

    error_print_all(errors, STR("Error: "), &text);
    (void)fwrite(text.p ? text.p : "", 1, text.n, stderr);
    buf_fini(&text);
}

/* --file, or keys.file of the configuration. */
static int find_file(struct ctl *ctl, struct str *ret)
{
    struct settings_source src = {.config = ctl->flags->config.p, .env = environ};
    struct conf_errors errors;

    *ret = ctl->flags->file;
    if (ret->p)
        return 0;
    error_init(&errors, ctl->arena);
    if (settings_keys_file(&src, ctl->arena, ret, &errors) < 0) {
        print_mistakes(&errors);
        return -E_CONF;
    }
    if (ret->p)
        return 0;
    ctl_complain("no file of keys is configured: give it with --file, and say `file = \"...\"` "
                 "under [keys] in the configuration");
    return -E_NOT_FOUND;
}

/* All of a file of known size or less. */
static int read_bytes(int fd, const char *path, struct buf *out)
{
    char *to = buf_reserve(out, BUNDLE_FILE_MAX + 1);

    CHECK(to != NULL);
    while (out->n <= BUNDLE_FILE_MAX) {
        ssize_t n = read(fd, to + out->n, BUNDLE_FILE_MAX + 1 - out->n);

        if (n < 0 && errno != EINTR)
            return fail(path, "cannot be read");
        if (n == 0)
            return 0;
        out->n += n > 0 ? (size_t)n : 0;
    }
    ctl_complain("%s: it is over 4 MiB", path);
    return -E_LIMIT;
}

static int parse(struct edit *e, struct str text)
{
    struct conf_errors errors;
    int r;

    error_init(&errors, e->ctl->arena);
    r = settings_keys_read(str_of(e->path), text, e->ctl->arena, &errors, &e->keys);
    if (r < 0)
        print_mistakes(&errors);
    return r;
}

static int read_open(struct edit *e, int fd)
{
    struct buf text = buf_make(BUNDLE_FILE_MAX + 1);
    int r;

    if (fstat(fd, &e->was) < 0)
        return fail(e->path, "cannot be looked at");
    e->exists = true;
    if (!S_ISREG(e->was.st_mode)) {
        ctl_complain("%s: is not a regular file", e->path);
        return -E_CONF;
    }
    r = read_bytes(fd, e->path, &text);
    if (r == 0)
        r = parse(e, buf_str(&text));
    buf_fini(&text);
    return r;
}

/* No file is a file without keys. */
static int read_file(struct edit *e)
{
    int fd = open(e->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r;

    e->keys = (struct key_conf_list){.n = 0};
    if (fd < 0)
        return errno == ENOENT ? 0 : fail(e->path, "cannot be opened");
    r = read_open(e, fd);
    (void)close(fd);
    return r;
}

static int begin(struct ctl *ctl, struct edit *e)
{
    struct str file;
    int r = find_file(ctl, &file);

    *e = (struct edit){.ctl = ctl, .draft_fd = -1};
    if (r < 0)
        return r;
    if (!realpath(file.p, e->path)) /* it is not there yet */
        (void)snprintf(e->path, sizeof e->path, "%.*s", STR_ARGS(file));
    (void)snprintf(e->draft, sizeof e->draft, "%s.new", e->path);
    return 0;
}

/* ---- writing ---- */

/* The draft, ours alone. */
static int lock_draft(struct edit *e)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat ours, there;

    for (;;) {
        e->draft_fd = open(e->draft, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (e->draft_fd < 0)
            return fail(e->draft, "cannot be written");
        if (fcntl(e->draft_fd, F_OFD_SETLKW, &whole) < 0)
            return fail(e->draft, "cannot be locked");
        if (fstat(e->draft_fd, &ours) == 0 && stat(e->draft, &there) == 0 &&
            ours.st_ino == there.st_ino && ours.st_dev == there.st_dev)
            return 0;
        (void)close(e->draft_fd); /* whom we waited for has made it the file itself */
    }
}

static void print_key(const struct key_conf *k, struct buf *out)
{
    const struct option_table *t = settings_keys_table();

    buf_text(out, "\n[[key]]\n");
    for (size_t i = 0; i < t->n; i++) {
        char memory[64 << 10];
        struct buf value = buf_on(memory, sizeof memory);

        option_print(&t->rows[i], k, &value);
        if (!str_eq(buf_str(&value), STR("unset")))
            buf_printf(out, "%s = %.*s\n", t->rows[i].key, STR_ARGS(buf_str(&value)));
    }
}

static int write_all(int fd, struct str s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno != EINTR)
            return err_sys(errno);
        s = str_from(s, n > 0 ? (size_t)n : 0);
    }
    return 0;
}

static int sync_folder(const struct edit *e)
{
    char folder[PATH_MAX];
    struct str path = str_of(e->path);
    size_t n = path.n;
    _cleanup_(close_fd) int fd = -1;

    while (n > 0 && path.p[n - 1] != '/')
        n--;
    (void)snprintf(folder, sizeof folder, "%.*s", (int)n, n ? path.p : "");
    fd = open(n ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? 0 : fail(e->path, "its folder cannot be written to disk");
}

/* The draft becomes the file: all of it, on disk, readable by its owner alone. */
static int commit(struct edit *e)
{
    struct buf text = buf_make(BUNDLE_FILE_MAX);
    int r;

    buf_text(&text, "# API keys of inferd, written by `inferd ctl key`. Secrets are not in here, "
                    "only their SHA-256.\n");
    for (size_t i = 0; i < e->keys.n; i++)
        print_key(&e->keys.at[i], &text);
    r = buf_status(&text);
    if (r < 0)
        ctl_complain("%s: it would become larger than 4 MiB", e->path);
    else if (ftruncate(e->draft_fd, 0) < 0 || write_all(e->draft_fd, buf_str(&text)) < 0 ||
             (e->exists && geteuid() == 0 &&
              fchown(e->draft_fd, e->was.st_uid, e->was.st_gid) < 0) ||
             fchmod(e->draft_fd, 0600) < 0 || fsync(e->draft_fd) < 0)
        r = fail(e->draft, "cannot be written");
    else if (rename(e->draft, e->path) < 0)
        r = fail(e->path, "cannot be replaced");
    else
        r = sync_folder(e);
    buf_fini(&text);
    return r;
}

/* What is left of it when nothing was to be changed, or could not be. */
static void end(struct edit *e, bool committed)
{
    if (e->draft_fd >= 0 && !committed)
        (void)unlink(e->draft);
    close_fd(&e->draft_fd);
}

/* ---- key new ---- */

static void describe_new(const struct ctl_flags *f, struct arena *a, const char *id,
                         struct key_conf *k)
{
    static struct str all[] = {{"*", 1}};

    option_defaults(settings_keys_table(), k, a);
    k->id = arena_str(a, str_of(id));
    k->name = f->name;
    k->models = f->models.n ? f->models : (struct str_list){all, 1};
    k->concurrency = f->concurrency;
    k->requests_per_minute = f->requests_per_minute;
    k->tokens_per_minute = f->tokens_per_minute;
}

static void add(struct edit *e, struct key_conf *k, struct str secret)
{
    struct key_conf *at = arena_alloc(e->ctl->arena, (e->keys.n + 1) * sizeof *at);
    char hex[DIGEST_HEX_BYTES];

    keys_digest(secret, k->digest);
    digest_hex(k->digest, DIGEST_BYTES, hex);
    k->sha256 = arena_str(e->ctl->arena, str_of(hex));
    if (e->keys.n)
        memcpy(at, e->keys.at, e->keys.n * sizeof *at);
    at[e->keys.n] = *k;
    e->keys = (struct key_conf_list){at, e->keys.n + 1};
}

/* Past stdio, whose buffers would keep it. */
static int show_secret(const struct ctl *ctl, const char *text, const char *id)
{
    char line[2 * KEYS_TEXT_MAX + 64];
    struct buf out = buf_on(line, sizeof line);
    int r;

    if (ctl->flags->json)
        buf_printf(&out, "{\"id\":\"%s\",\"key\":\"%s\"}\n", id, text);
    else
        buf_printf(&out, "%s\n", text);
    r = write_all(STDOUT_FILENO, buf_str(&out));
    explicit_bzero(line, sizeof line);
    if (r < 0)
        ctl_complain("cannot write the key: %s; `inferd ctl key revoke %s` takes it back",
                     err_text(r), id);
    return r;
}

static int make_key(struct edit *e, char *text, char *id)
{
    struct str secret, public;
    struct key_conf k;
    int r = lock_draft(e);

    if (r == 0)
        r = read_file(e);
    if (r == 0) {
        keys_make(text, id);
        CHECK(keys_parse(str_of(text), &public, &secret));
        describe_new(e->ctl->flags, e->ctl->arena, id, &k);
        add(e, &k, secret);
        r = commit(e);
    }
    end(e, r == 0);
    return r;
}

static int key_new(struct ctl *ctl)
{
    char text[KEYS_TEXT_MAX + 1], id[KEYS_ID_NEW + 1];
    struct edit e;
    int r = begin(ctl, &e);

    if (r == 0)
        r = make_key(&e, text, id);
    if (r < 0)
        return 1;
    r = show_secret(ctl, text, id);
    explicit_bzero(text, sizeof text);
    if (r < 0)
        return 1;
    (void)fprintf(stderr, "inferd ctl: key %s stands in %s; it is shown this once\n", id, e.path);
    return ctl_apply(ctl) ? 0 : 1;
}

/* ---- key revoke ---- */

static bool names(const struct str_list *words, struct str id)
{
    for (size_t i = 2; i < words->n; i++)
        if (str_eq(words->at[i], id))
            return true;
    return false;
}

/* Takes out those that are named; how many of the words were no key's. */
static size_t take_out(struct edit *e)
{
    const struct str_list *words = &e->ctl->flags->words;
    size_t kept = 0, unknown = 0;

    for (size_t w = 2; w < words->n; w++) {
        size_t i = 0;

        while (i < e->keys.n && !str_eq(e->keys.at[i].id, words->at[w]))
            i++;
        if (i == e->keys.n) {
            ctl_complain("%.*s: there is no such key in %s", STR_ARGS(str_head(words->at[w], 64)),
                         e->path);
            unknown++;
        }
    }
    for (size_t i = 0; i < e->keys.n; i++)
        if (!names(words, e->keys.at[i].id))
            e->keys.at[kept++] = e->keys.at[i];
    e->keys.n = kept;
    return unknown;
}

static int key_revoke(struct ctl *ctl)
{
    struct edit e;
    size_t before = 0, unknown = 0;
    bool changed = false;
    int r = begin(ctl, &e);

    if (r == 0)
        r = lock_draft(&e);
    if (r == 0)
        r = read_file(&e);
    if (r == 0) {
        before = e.keys.n;
        unknown = take_out(&e);
        changed = e.keys.n < before;
        if (changed)
            r = commit(&e);
    }
    end(&e, r == 0 && changed);
    if (r < 0 || (changed && !ctl_apply(ctl)))
        return 1;
    if (changed && !ctl->flags->json)
        (void)fprintf(stderr, "inferd ctl: %zu of %zu keys revoked\n", before - e.keys.n, before);
    return unknown ? 1 : 0;
}

/* ---- key list ---- */

static void add_limit(struct ctl_table *t, uint64_t limit, uint64_t unset)
{
    if (limit == unset)
        ctl_table_add(t, STR_NONE);
    else
        ctl_table_add_u64(t, limit);
}

static void add_models(struct ctl_table *t, const struct str_list *models)
{
    struct buf names = buf_make(4096);

    for (size_t i = 0; i < models->n; i++) {
        buf_text(&names, i ? "," : "");
        buf_add(&names, models->at[i]);
    }
    ctl_table_add(t, buf_str(&names));
    buf_fini(&names);
}

static void show_table(const struct key_conf_list *keys, struct buf *out)
{
    static const struct ctl_column columns[] = {{"KEY", false},       {"NAME", false},
                                                {"AT ONCE", true},    {"REQUESTS/MIN", true},
                                                {"TOKENS/MIN", true}, {"MODELS", false}};
    struct ctl_table t;

    ctl_table_init(&t, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < keys->n; i++) {
        const struct key_conf *k = &keys->at[i];

        ctl_table_add(&t, k->id);
        ctl_table_add(&t, k->name);
        add_limit(&t, k->concurrency, OPTION_UNSET_U32);
        add_limit(&t, k->requests_per_minute, OPTION_UNSET_U32);
        add_limit(&t, k->tokens_per_minute, OPTION_UNSET_U64);
        add_models(&t, &k->models);
    }
    ctl_table_print(&t, out);
    ctl_table_fini(&t);
}

static void put_limit(struct jsonw *w, const char *key, uint64_t limit, uint64_t unset)
{
    jsonw_key(w, key);
    if (limit == unset)
        jsonw_null(w);
    else
        jsonw_u64(w, limit);
}

static void put_key(struct jsonw *w, const struct key_conf *k)
{
    jsonw_begin_object(w);
    put_limit(w, "concurrency", k->concurrency, OPTION_UNSET_U32);
    jsonw_key(w, "id");
    jsonw_str(w, k->id);
    jsonw_key(w, "models");
    jsonw_begin_array(w);
    for (size_t i = 0; i < k->models.n; i++)
        jsonw_str(w, k->models.at[i]);
    jsonw_end_array(w);
    jsonw_key(w, "name");
    jsonw_cstr(w, k->name.p);
    put_limit(w, "requests_per_minute", k->requests_per_minute, OPTION_UNSET_U32);
    put_limit(w, "tokens_per_minute", k->tokens_per_minute, OPTION_UNSET_U64);
    jsonw_end_object(w);
}

static void show_json(const struct key_conf_list *keys, struct buf *out)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    jsonw_key(&w, "keys");
    jsonw_begin_array(&w);
    for (size_t i = 0; i < keys->n; i++)
        put_key(&w, &keys->at[i]);
    jsonw_end_array(&w);
    jsonw_end_object(&w);
    buf_char(out, '\n');
}

static int key_list(struct ctl *ctl)
{
    struct buf out = buf_make(CTL_TEXT_BYTES);
    struct edit e;
    bool good;
    int r = begin(ctl, &e);

    if (r == 0)
        r = read_file(&e);
    if (r == 0 && !e.exists) {
        ctl_complain("%s: there is no such file; `key new` makes it", e.path);
        r = -E_NOT_FOUND;
    }
    if (r == 0 && ctl->flags->json)
        show_json(&e.keys, &out);
    else if (r == 0)
        show_table(&e.keys, &out);
    good = r == 0 && ctl_print(buf_str(&out));
    buf_fini(&out);
    return good ? 0 : 1;
}

/* ---- dispatch ---- */

static bool is_new(const struct ctl_flags *f)
{
    return f->words.n >= 2 && str_eq(f->words.at[0], STR("key")) &&
           str_eq(f->words.at[1], STR("new"));
}

const char *ctl_key_mistake(const struct ctl_flags *f)
{
    bool about_keys = str_eq(f->words.at[0], STR("key"));
    bool describes = f->name.p || f->models.n || f->concurrency != OPTION_UNSET_U32 ||
                     f->requests_per_minute != OPTION_UNSET_U32 ||
                     f->tokens_per_minute != OPTION_UNSET_U64;

    if (describes && !is_new(f))
        return "only `key new` knows --name, --models, --concurrency, --requests-per-minute and "
               "--tokens-per-minute";
    if (!about_keys)
        return f->file.p ? "only `key` knows --file" : NULL;
    if (f->words.n < 2)
        return "new, list or revoke?";
    if (is_new(f) && !f->name.p)
        return "`key new` needs --name: whose key is it?";
    if (str_eq(f->words.at[1], STR("revoke")))
        return f->words.n < 3 ? "`key revoke` needs the id of a key" : NULL;
    if (!is_new(f) && !str_eq(f->words.at[1], STR("list")))
        return "there are `key new`, `key list` and `key revoke`";
    return f->words.n > 2 ? "it takes no more words" : NULL;
}

int ctl_key(struct ctl *ctl)
{
    struct str what = ctl->flags->words.at[1];

    if (str_eq(what, STR("new")))
        return key_new(ctl);
    return str_eq(what, STR("list")) ? key_list(ctl) : key_revoke(ctl);
}
