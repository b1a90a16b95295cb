/* SPDX-License-Identifier: Apache-2.0
 *
 * up.h - `inferd up`, for the list of roles (role.c); what a command is says
 * conf/flags.h.
 */
#pragma once

struct command;

const struct command *up_command(void);
