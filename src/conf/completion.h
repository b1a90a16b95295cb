/* SPDX-License-Identifier: Apache-2.0
 *
 * completion.h - what shells offer behind `inferd`, made from commands and option tables.
 * `commands` is NULL-terminated; everything appends to a buffer.
 */
#pragma once
#include "conf/flags.h"

void completion_bash(const struct command *const *commands, const struct option_table *settings,
                     struct buf *out);
void completion_zsh(const struct command *const *commands, const struct option_table *settings,
                    struct buf *out);
void completion_fish(const struct command *const *commands, const struct option_table *settings,
                     struct buf *out);
