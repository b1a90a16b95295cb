/* SPDX-License-Identifier: Apache-2.0
 *
 * settings_rig.h - a directory of its own, a configuration file in it, and settings collected from
 * both, with an environment and flags of the test's choice. The working directory is that
 * directory.
 */
#pragma once
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "conf/bundle.h"
#include "role/settings.h"

enum { SETTINGS_RIG_ENV = 8 };

struct settings_rig {
    char dir[64];
    struct arena arena;
    struct conf_errors errors;
    struct bundle *flags, *bundle;
    struct settings *settings;
    char *env[SETTINGS_RIG_ENV + 1]; /* "NAME=value" literals */
    const char *config;              /* of --config */
    struct buf text;
};

static inline int settings_rig_setup(void **state)
{
    struct settings_rig *r = xnew(struct settings_rig, .dir = "/tmp/inferd-settings-XXXXXX");

    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(chdir(r->dir), 0);
    arena_init(&r->arena, NULL);
    bundle_create(&r->flags);
    r->text = buf_make(1 << 20);
    *state = r;
    return 0;
}

static inline void settings_rig_forget(struct settings_rig *r)
{
    settings_unref(&r->settings);
    bundle_destroy(&r->bundle);
    bundle_destroy(&r->flags);
    bundle_create(&r->flags);
    arena_clear(&r->arena);
    arena_init(&r->arena, NULL);
    buf_clear(&r->text);
    memset(r->env, 0, sizeof r->env);
}

static inline int settings_rig_teardown(void **state)
{
    struct settings_rig *r = *state;
    char command[128];

    settings_rig_forget(r);
    bundle_destroy(&r->flags);
    arena_clear(&r->arena);
    buf_fini(&r->text);
    assert_int_equal(chdir("/"), 0);
    (void)snprintf(command, sizeof command, "rm -rf %s", r->dir);
    assert_int_equal(system(command), 0);
    mem_free(r);
    return 0;
}

static inline void settings_rig_file(const char *path, const char *text, mode_t mode)
{
    int fd;

    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static inline void settings_rig_flag(struct settings_rig *r, const char *path, const char *value)
{
    assert_int_equal(bundle_add(r->flags, BUNDLE_FLAG, str_of(path), str_of(value)), 0);
}

/* Collects; the mistakes as they are printed, "" for none. */
static inline const char *settings_rig_collect(struct settings_rig *r)
{
    struct settings_source src = {.config = r->config, .flags = r->flags, .env = r->env};
    int code;

    settings_unref(&r->settings);
    bundle_destroy(&r->bundle);
    buf_clear(&r->text);
    error_init(&r->errors, &r->arena);
    code = settings_collect(&src, &r->bundle, &r->settings, &r->errors);
    error_print_all(&r->errors, STR(""), &r->text);
    assert_int_equal(code, r->errors.n ? -E_CONF : 0);
    assert_true((code == 0) == (r->settings != NULL));
    assert_true((code == 0) == (r->bundle != NULL));
    return buf_cstr(&r->text);
}

/* The mistakes of a file alone. */
static inline const char *settings_rig_read(struct settings_rig *r, const char *toml)
{
    settings_rig_file("inferd.toml", toml, 0644);
    return settings_rig_collect(r);
}
