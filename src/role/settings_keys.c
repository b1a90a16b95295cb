/* SPDX-License-Identifier: Apache-2.0
 *
 * settings_keys.c - the file of API keys, a TOML document of [[key]] tables, into settings. It came
 * in the bundle like the configuration itself, so both processes read the same. Mistakes are told
 * with its name and line.
 *
 * Exports: settings_
 */
#include "role/settings_keys.h"

#include "conf/reader.h"
#include "gate/keys.h"
#include "role/settings_priv.h"

OPTION_TABLE(key_conf, KEY_OPTIONS, "A key.");

#define FILE_OPTIONS(X, T) X(T, key, TABLES(key_conf), UNSET, 0, KEYS_MAX, RELOAD, "A key.")

struct keys_file {
    FILE_OPTIONS(OPTION_MEMBER, keys_file)
};
OPTION_TABLE(keys_file, FILE_OPTIONS, "The keys.");

struct reading {
    struct arena scratch;
    struct map lines; /* "key[3].id" to its line */
    struct map ids;
    struct str source;
    struct conf_errors *errors;
    size_t mistakes;
};

const struct option_table *settings_keys_table(void) { return &key_conf_options; }

static void on_set(void *ctx, struct str path, uint32_t line, uint32_t column)
{
    struct reading *r = ctx;
    uint32_t *place = arena_alloc(&r->scratch, 2 * sizeof *place);

    place[0] = line;
    place[1] = column;
    (void)map_put(&r->lines, arena_str(&r->scratch, path), place);
}

static void complain(struct reading *r, size_t i, const char *key, const char *problem)
{
    struct str path = arena_printf(&r->scratch, "key[%zu].%s", i, key);
    const uint32_t *place = map_find(&r->lines, path);

    error_add(r->errors, &(struct conf_error){.source = r->source,
                                              .line = place ? place[0] : 0,
                                              .column = place ? place[1] : 0,
                                              .key = path,
                                              .problem = str_of(problem)});
    r->mistakes++;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool read_digest(struct str hex, uint8_t ret[DIGEST_BYTES])
{
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        int high = hex_value(hex.p[2 * i]), low = hex_value(hex.p[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void check_key(struct reading *r, struct key_conf *k, size_t i)
{
    if (!keys_is_id(k->id))
        complain(r, i, "id", "must be 4 to 32 lower-case letters and digits");
    else if (map_put(&r->ids, k->id, k))
        complain(r, i, "id", "is the id of a key above, too");
    if (!read_digest(k->sha256, k->digest))
        complain(r, i, "sha256", "must be 64 hexadecimal digits");
    for (size_t m = 0; m < k->models.n; m++)
        if (k->models.at[m].n == 0 || k->models.at[m].n > 256)
            complain(r, i, "models", "names must have 1 to 256 bytes");
}

int settings_keys_read(struct str source, struct str toml, struct arena *arena,
                       struct conf_errors *errors, struct key_conf_list *ret)
{
    struct reading r = {.source = source, .errors = errors};
    struct keys_file file = {.key = {.n = 0}};
    struct reader reader = {
        .table = &keys_file_options,
        .base = &file,
        .arena = arena,
        .source = source,
        .errors = errors,
        .on_set = on_set,
        .ctx = &r,
    };
    int result;

    arena_init(&r.scratch, NULL);
    map_init(&r.lines, 0);
    map_init(&r.ids, 0);
    result = reader_run(&reader, toml);
    for (size_t i = 0; result == 0 && i < file.key.n; i++)
        check_key(&r, &file.key.at[i], i);
    if (result == 0 && r.mistakes)
        result = -E_CONF;
    if (result == 0)
        *ret = file.key;
    map_fini(&r.lines);
    map_fini(&r.ids);
    arena_clear(&r.scratch);
    return result;
}

int settings_build_keys(struct settings_build *b, const struct bundle *bundle)
{
    struct settings *s = b->settings;
    const struct bundle_record *rec;

    if (!s->keys.file.p)
        return 0;
    rec = bundle_find(bundle, BUNDLE_KEYS, &s->keys.file);
    if (!rec) {
        settings_complain(b, "keys.file", NULL, "\"%.*s\" was not read", STR_ARGS(s->keys.file));
        return -E_CONF;
    }
    return settings_keys_read(s->keys.file, rec->value, b->arena, b->errors, &s->key);
}
