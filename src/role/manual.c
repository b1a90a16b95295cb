/* SPDX-License-Identifier: Apache-2.0
 *
 * manual.c - `inferd help`: the help of a command, and the pages that are made from the option
 * tables: the reference of the configuration, manual pages, shell completion. The build installs
 * what it writes; nothing is kept by hand beside the tables.
 */
#include "role/manual.h"

#include <limits.h>
#include <stdio.h>

#include "conf/completion.h"
#include "conf/docs.h"
#include "conf/help.h"
#include "role/role.h"
#include "role/settings.h"

enum { TEXT_BYTES = 4 << 20 };

#define MANUAL_FORMAT_WORDS(X)                                                                     \
    X(MANUAL_TEXT, "text")                                                                         \
    X(MANUAL_MARKDOWN, "markdown")                                                                 \
    X(MANUAL_MAN, "man")                                                                           \
    X(MANUAL_BASH, "bash")                                                                         \
    X(MANUAL_ZSH, "zsh")                                                                           \
    X(MANUAL_FISH, "fish")
OPTION_ENUM(manual_format, MANUAL_FORMAT_WORDS);
OPTION_WORDS(manual_format, MANUAL_FORMAT_WORDS);

#define MANUAL_OPTIONS(X, T)                                                                       \
    X(T, format, WORD(manual_format), text, 0, 0, RESTART,                                         \
      "text and man take a PAGE; markdown is the reference of the configuration; the others are "  \
      "completion of that shell.")                                                                 \
    X(T, page, REST, UNSET, 0, 1, RESTART, "A command, or inferd.toml.")

struct manual_flags {
    MANUAL_OPTIONS(OPTION_MEMBER, manual_flags)
};
OPTION_TABLE(manual_flags, MANUAL_OPTIONS, "A page.");

static const struct option_table *settings_of(const struct command *c)
{
    return c->settings ? settings_table() : NULL;
}

/* "up" and "inferd-up"; NULL when there is no such command. */
static const struct command *find_page(struct str page)
{
    return role_find(str_starts(page, STR("inferd-")) ? str_from(page, 7) : page);
}

/* False when there is no such page. */
static bool write_text(struct str page, struct buf *out)
{
    const struct command *c = find_page(page);

    if (page.n == 0)
        help_overview(role_list(), out);
    else if (c)
        help_text(c, settings_of(c), out);
    else
        return false;
    return true;
}

static bool write_man(struct str page, struct buf *out)
{
    const struct command *c = find_page(page);

    if (page.n == 0 || str_eq(page, STR("inferd")))
        docs_man_overview(role_list(), out);
    else if (str_eq(page, STR("inferd.toml")))
        docs_man_settings(settings_table(), out);
    else if (c)
        docs_man_command(c, settings_of(c), out);
    else
        return false;
    return true;
}

static bool write_page(enum manual_format format, struct str page, struct buf *out)
{
    switch (format) {
    case MANUAL_MARKDOWN:
        docs_markdown(settings_table(), out);
        return true;
    case MANUAL_MAN:
        return write_man(page, out);
    case MANUAL_BASH:
        completion_bash(role_list(), settings_table(), out);
        return true;
    case MANUAL_ZSH:
        completion_zsh(role_list(), settings_table(), out);
        return true;
    case MANUAL_FISH:
        completion_fish(role_list(), settings_table(), out);
        return true;
    case MANUAL_TEXT:
    case manual_format_unset:
        break;
    }
    return write_text(page, out);
}

static int no_page(struct str page)
{
    const struct command *const *list = role_list();
    const char *nearest = NULL;
    unsigned best = UINT_MAX;

    for (size_t i = 0; list[i]; i++)
        if (!list[i]->hidden && option_nearer(page, str_of(list[i]->name), &best))
            nearest = list[i]->name;
    fprintf(stderr, "inferd help: no page \"%.*s\"", STR_ARGS(str_head(page, 100)));
    if (nearest)
        fprintf(stderr, " (did you mean %s?)", nearest);
    fprintf(stderr, "\n");
    return 2;
}

/* A full disk or a closed pipe must not look like a page. */
static int print(const struct buf *text)
{
    if (fwrite(text->p, 1, text->n, stdout) == text->n && fflush(stdout) == 0)
        return 0;
    fprintf(stderr, "inferd help: cannot write to stdout\n");
    return 1;
}

static int run(int argc, char **argv)
{
    struct buf text = buf_make(TEXT_BYTES);
    struct manual_flags flags;
    struct arena arena;
    int r;

    arena_init(&arena, NULL);
    r = role_start(manual_command(), argc, argv, &arena, &flags, NULL);
    if (r < 0) {
        struct str page = flags.page.n ? flags.page.at[0] : STR_NONE;

        r = write_page(flags.format, page, &text) ? print(&text) : no_page(page);
    }
    buf_fini(&text);
    arena_clear(&arena);
    return r;
}

const struct command *manual_command(void)
{
    static const char *const examples[] = {
        "inferd help up",
        "the flags of `inferd up`",
        "inferd help --format markdown",
        "the reference of the configuration",
        NULL,
    };
    static const struct command command = {
        .name = "help",
        .words = "[PAGE]",
        .summary = "show help, manual pages and shell completion",
        .examples = examples,
        .flags = &manual_flags_options,
        .run = run,
    };

    return &command;
}
