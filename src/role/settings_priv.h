/* SPDX-License-Identifier: Apache-2.0
 *
 * settings_priv.h - what settings.c, settings_check.c and settings_collect.c share: settings while
 * they are being built, with the place every value came from.
 */
#pragma once
#include "base/map.h"
#include "conf/bundle.h"
#include "role/settings.h"

/* Where a value was set. */
struct settings_place {
    struct str
        source; /* file name, "--lanes" or "INFERD_LANES"; p is NULL for a computed default */
    uint32_t line, column; /* 0: no line */
};

struct settings_build {
    struct settings *settings; /* owned until taken */
    struct arena *arena;       /* of the settings */
    struct arena scratch;      /* places, and what the checks need */
    struct map places;         /* option path to struct settings_place */
    struct conf_errors *errors;
    size_t mistakes;
    bool whole; /* every value was read: what depends on several can be judged */
};

/* Parses and checks all but the secrets. -E_CONF with errors added; settings_build_end() either
 * way. */
int settings_build_start(struct settings_build *b, const struct bundle *bundle,
                         struct conf_errors *errors) MUSTCHECK;
/* Puts the secrets of the bundle where they belong. -E_CONF when one is missing or unusable. */
int settings_build_secrets(struct settings_build *b, const struct bundle *bundle) MUSTCHECK;
/* settings_keys.c: reads the keys of the bundle. -E_CONF when they are missing or wrong. */
int settings_build_keys(struct settings_build *b, const struct bundle *bundle) MUSTCHECK;
/* Frees what settings_build_take() did not take. */
void settings_build_end(struct settings_build *b);
/* The finished settings with one reference, the caller's. */
struct settings *settings_build_take(struct settings_build *b);

/* Notes a mistake at the place where `path` was set. */
void settings_complain(struct settings_build *b, const char *path, const char *hint,
                       const char *fmt, ...) PRINTF_LIKE(4, 5);
/* NULL when it was not set. */
const struct settings_place *settings_place_of(const struct settings_build *b, struct str path);
/* "127.0.0.1:8900" and the like; false after a complaint. */
bool settings_check_address(struct settings_build *b, const char *path, struct str text,
                            struct addr *ret);
/* settings_registry.c: the rules of [registry]; behind those of [[listen]]. */
void settings_check_registry(struct settings_build *b);
/* The rules between settings, and those that a row cannot say; fills in what is derived from texts.
 */
void settings_check(struct settings_build *b);
