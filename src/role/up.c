/* SPDX-License-Identifier: Apache-2.0
 *
 * up.c - `inferd up`: the command line and the first configuration. The rest is the master's.
 */
#include "role/up.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "conf/bundle.h"
#include "ev/sandbox.h"
#include "role/master.h"
#include "role/role.h"

enum { TEXT_BYTES = 1 << 20 };

#define UP_OPTIONS(X, T)                                                                           \
    X(T, config, STR, UNSET, 1, 4096, RESTART,                                                     \
      "The file. Unset: $INFERD_CONFIG, ./inferd.toml, ~/.config/inferd/inferd.toml or "           \
      "/etc/inferd/inferd.toml, whichever is there first; without any, engines on this "           \
      "machine are looked for.")                                                                   \
    X(T, ready_file, STR, UNSET, 1, 4096, RESTART,                                                 \
      "Written once clients are accepted: {\"admin\":[ADDRESS],\"listen\":[ADDRESS],\"pid\":N,"    \
      "\"registry\":[ADDRESS]}.")

struct up_flags {
    UP_OPTIONS(OPTION_MEMBER, up_flags)
};
OPTION_TABLE(up_flags, UP_OPTIONS, "A start.");

static void print_errors(const struct conf_errors *errors)
{
    struct buf text = buf_make(TEXT_BYTES);

    error_print_all(errors, STR("Error: "), &text);
    (void)fwrite(text.p ? text.p : "", 1, text.n, stderr);
    buf_fini(&text);
}

static int up(const struct up_flags *flags, const struct bundle *overrides, struct arena *arena)
{
    struct master_source src = {
        .settings = {.config = flags->config.p, .flags = overrides, .env = environ},
        .ready_file = flags->ready_file.p,
    };
    struct settings *settings = NULL;
    struct bundle *bundle = NULL;
    struct conf_errors errors;

    (void)signal(SIGHUP, SIG_IGN); /* until it is watched: what is read now is the newest */
    src.nofile = sandbox_shield();
    error_init(&errors, arena);
    if (settings_collect(&src.settings, &bundle, &settings, &errors) < 0) {
        print_errors(&errors);
        return 1;
    }
    return master_run(&src, &settings, &bundle);
}

static int run(int argc, char **argv)
{
    struct up_flags flags;
    struct bundle *overrides;
    struct arena arena;
    int r;

    arena_init(&arena, NULL);
    bundle_create(&overrides);
    r = role_start(up_command(), argc, argv, &arena, &flags, overrides);
    if (r < 0)
        r = up(&flags, overrides, &arena);
    bundle_destroy(&overrides);
    arena_clear(&arena);
    return r;
}

const struct command *up_command(void)
{
    static const char *const examples[] = {
        "inferd up",
        "everything from inferd.toml; without one, this machine's engines and a mock",
        "inferd up --config /etc/inferd/inferd.toml --listen 127.0.0.1:8900 --lanes 4",
        "flags go before variables, variables before the file",
        NULL,
    };
    static const struct command command = {
        .name = "up",
        .summary = "serve every model of this machine under one address",
        .text =
            "Starts the engines of the configuration, watches and restarts them, and answers "
            "OpenAI clients for all their models and those of the remotes.\n\n"
            "SIGHUP reads the configuration again: what is wrong is said and the old one stays. "
            "SIGTERM and SIGINT finish what is under way and end; a second one cuts it.\n\n"
            "Exit status 0: ended by a signal; 1: it could not start; 2: a flag is wrong.",
        .examples = examples,
        .flags = &up_flags_options,
        .settings = true,
        .run = run,
    };

    return &command;
}
