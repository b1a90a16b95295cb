/* SPDX-License-Identifier: Apache-2.0
 *
 * docs.h - pages made from commands and option tables: the reference of the configuration and
 * manual pages. Everything appends to a buffer; nothing depends on the machine.
 */
#pragma once
#include "conf/flags.h"

/* docs/config.md: every key with type, default, bounds, flag and variable. */
void docs_markdown(const struct option_table *settings, struct buf *out);
/* inferd.toml(5). */
void docs_man_settings(const struct option_table *settings, struct buf *out);
/* inferd(1): the list of subcommands. `commands` is NULL-terminated here and below. */
void docs_man_overview(const struct command *const *commands, struct buf *out);
/* inferd-up(1) and the like. `settings` for commands that take them, else NULL. */
void docs_man_command(const struct command *c, const struct option_table *settings,
                      struct buf *out);
