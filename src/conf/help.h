/* SPDX-License-Identifier: Apache-2.0
 *
 * help.h - texts for the terminal, made from commands and option tables, and the pieces that pages
 * (docs.h) and completion (completion.h) share with them. Everything appends to a buffer.
 */
#pragma once
#include "conf/flags.h"

/* The text of --help; `settings` for commands that take them. */
void help_text(const struct command *c, const struct option_table *settings, struct buf *out);
/* "usage: inferd up [flags]" in one line. */
void help_usage(const struct command *c, struct buf *out);
/* What `inferd --help` says: the list of subcommands, NULL-terminated. */
void help_overview(const struct command *const *commands, struct buf *out);

/* The command's own flags, then the settings if it takes them; --help and --version are not among
 * them. Stops at the first non-zero return and returns it. */
int help_each_flag(const struct command *c, const struct option_table *settings,
                   option_visit_fn *fn, void *ctx);
/* "N", "FILE": what stands for the value of a flag; NULL for booleans. Static. */
const char *help_value_name(const struct option *o);
/* The row's sentences, then its words, default and whether it repeats. */
void help_sentences(const struct option *o, struct buf *out);
/* Without the quotes of a string; false when there is no default. */
bool help_default(const struct option *o, struct str *ret);
