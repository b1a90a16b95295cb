/* SPDX-License-Identifier: Apache-2.0
 *
 * check.h - `inferd check`, for the list of roles (role.c); what a command is says
 * conf/flags.h.
 */
#pragma once

struct command;

const struct command *check_command(void);
