/* SPDX-License-Identifier: Apache-2.0
 *
 * manual.h - `inferd help`, for the list of roles (role.c); what a command is says
 * conf/flags.h.
 */
#pragma once

struct command;

const struct command *manual_command(void);
