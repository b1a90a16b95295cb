/* SPDX-License-Identifier: Apache-2.0
 *
 * flags.h - the command line of one subcommand, described by option tables: a row `ready_file` is
 * the flag `--ready-file`. Long flags only, and -h; `--flag value` equals `--flag=value`; a boolean
 * takes no value or `=true`, `=false`; flags do not repeat unless their row is a LIST or TABLES_BY;
 * a value beginning with `-` must be written with `=`, but behind flags whose row is ANY. Rows of
 * type REST take the words that are no
 * flags. `--` ends flags. Nothing is printed here: texts go to a buffer and the role decides where
 * they go.
 */
#pragma once
#include "conf/option.h"

struct bundle;

/* What is known about a subcommand; also the source of its help, manual page and completion. */
struct command {
    const char *name;    /* "up" */
    const char *words;   /* what follows the flags: "NAME..."; NULL: nothing may */
    const char *summary; /* one line without a full stop */
    const char *text;    /* paragraphs for help and manual, separated by blank lines; may be NULL */
    const char *const *examples;      /* "inferd up", "what it does", ..., NULL; may be NULL */
    const struct option_table *flags; /* its own flags; NULL: none */
    bool settings;                    /* takes every setting as a flag, too */
    bool environment; /* under its own name INFERD_<FLAG> fills flags that are not given */
    bool hidden;      /* not in lists: for inferd itself */
    const char *const
        *aliases; /* base names of symlinks that start it, NULL-terminated; may be NULL */
    /* Runs it and returns the exit status. argv[0] is the subcommand's name, argv[argc] is NULL. */
    int (*run)(int argc, char **argv);
};

/* What flags_parse() found out; anything but FLAGS_OK ends the program. */
enum flags_verdict {
    FLAGS_OK,
    FLAGS_HELP,    /* the help is in the buffer: stdout, exit 0 */
    FLAGS_VERSION, /* the version is in the buffer: stdout, exit 0 */
    FLAGS_WRONG,   /* message and usage are in the buffer: stderr, exit 2 */
};

struct flags_input {
    const struct command *command;
    const struct option_table *settings; /* for commands that take settings, else NULL */
    int argc;
    char **argv; /* argv[0] is skipped */
    char *const
        *environment; /* INFERD_<FLAG>=value fills own flags that are not given; NULL: none */
};

/* Fills *own (of command->flags: defaults, then flags) in `arena`, and adds a BUNDLE_FLAG record
 * per setting to *overrides (may be NULL without settings). */
enum flags_verdict flags_parse(const struct flags_input *in, struct arena *arena, void *own,
                               struct bundle *overrides, struct buf *text) MUSTCHECK;
