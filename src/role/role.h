/* SPDX-License-Identifier: Apache-2.0
 *
 * role.h - the list of subcommands. A role is one file with one function that returns its `struct
 * command` (conf/flags.h): name, summary, flags, examples and run(). The list is what main.c picks
 * from, and what help, manual pages and shell completion are made of.
 */
#pragma once
#include "conf/flags.h"

/* NULL-terminated, in the order of the help. */
const struct command *const *role_list(void);
/* By subcommand name; NULL when there is none. */
const struct command *role_find(struct str name);
/* By the base name of argv[0], for symlinks; NULL when it is no role's. */
const struct command *role_find_alias(const char *path);
/* argv[0] is a symlink's name of this command, not the command's own. */
bool role_is_alias(const struct command *c, const char *path);
/* The start of every run(): parses argv, prints help, version or mistakes. -1 to go on, otherwise
 * the exit status. *own is of command->flags, its strings live in `arena`. `overrides` receives the
 * settings given as flags; NULL for commands that take none. */
int role_start(const struct command *c, int argc, char **argv, struct arena *arena, void *own,
               struct bundle *overrides) MUSTCHECK;
/* Every connection is a descriptor: as many as the hard limit allows, from here on. */
void role_raise_descriptors(void);
