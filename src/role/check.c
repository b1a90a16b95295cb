/* SPDX-License-Identifier: Apache-2.0
 *
 * check.c - `inferd check`: reads the configuration exactly as `inferd up` would, says what is
 * wrong with it, and with --dump what every value is and where it comes from. Starts and binds
 * nothing.
 */
#include "role/check.h"

#include <stdio.h>
#include <unistd.h>

#include "conf/bundle.h"
#include "role/role.h"
#include "role/settings.h"

enum { TEXT_BYTES = 64 << 20 };

#define CHECK_OPTIONS(X, T)                                                                        \
    X(T, config, STR, UNSET, 1, 4096, RESTART,                                                     \
      "The file. Unset: $INFERD_CONFIG, ./inferd.toml, ~/.config/inferd/inferd.toml or "           \
      "/etc/inferd/inferd.toml, whichever is there first.")                                        \
    X(T, dump, BOOL, false, 0, 0, RESTART, "Prints every value with the place it comes from.")

struct check_flags {
    CHECK_OPTIONS(OPTION_MEMBER, check_flags)
};
OPTION_TABLE(check_flags, CHECK_OPTIONS, "A check.");

/* -1 when it could not be written: a full disk must not look like a verdict. */
static int print(FILE *to, const struct buf *text)
{
    if (fwrite(text->p ? text->p : "", 1, text->n, to) == text->n && fflush(to) == 0)
        return 0;
    fprintf(stderr, "Error: cannot write to stdout\n");
    return -1;
}

static void count(size_t n, const char *what, const char *plural, struct buf *out)
{
    buf_printf(out, ", %zu %s%s", n, what, n == 1 ? "" : plural);
}

static void verdict(const struct settings *s, struct buf *out)
{
    if (!s->file.p) {
        buf_text(out, "no configuration file: ok, the built-in mock and what runs on loopback\n");
        return;
    }
    buf_printf(out, "%.*s: ok", STR_ARGS(s->file));
    count(s->engine.n, "engine", "s", out);
    count(s->remote.n, "remote", "s", out);
    count(s->model.n, "alias", "es", out);
    buf_char(out, '\n');
}

static int check(const struct check_flags *flags, const struct bundle *overrides,
                 struct arena *arena)
{
    struct settings_source src = {.config = flags->config.p, .flags = overrides, .env = environ};
    struct buf text = buf_make(TEXT_BYTES);
    struct settings *settings = NULL;
    struct bundle *bundle = NULL;
    struct conf_errors errors;
    int r;

    error_init(&errors, arena);
    r = settings_collect(&src, &bundle, &settings, &errors);
    if (r < 0)
        error_print_all(&errors, STR("Error: "), &text);
    else if (flags->dump)
        settings_dump(bundle, &text);
    else
        verdict(settings, &text);
    if (print(r < 0 ? stderr : stdout, &text) < 0)
        r = -1;
    buf_fini(&text);
    settings_unref(&settings);
    bundle_destroy(&bundle);
    return r < 0 ? 1 : 0;
}

static int run(int argc, char **argv)
{
    struct check_flags flags;
    struct bundle *overrides;
    struct arena arena;
    int r;

    arena_init(&arena, NULL);
    bundle_create(&overrides);
    r = role_start(check_command(), argc, argv, &arena, &flags, overrides);
    if (r < 0)
        r = check(&flags, overrides, &arena);
    bundle_destroy(&overrides);
    arena_clear(&arena);
    return r;
}

const struct command *check_command(void)
{
    static const char *const examples[] = {
        "inferd check",
        "all mistakes of the configuration that `inferd up` would use",
        "inferd check --config new.toml --dump",
        "every value of new.toml, with the place it comes from",
        NULL,
    };
    static const struct command command = {
        .name = "check",
        .summary = "check the configuration, or show it with --dump",
        .text = "Reads file, environment and flags as `inferd up` does and starts nothing. Exit "
                "status 0: "
                "`inferd up` would take it; 1: it would not, and every mistake is on stderr with "
                "its line; "
                "2: a flag is wrong.",
        .examples = examples,
        .flags = &check_flags_options,
        .settings = true,
        .run = run,
    };

    return &command;
}
