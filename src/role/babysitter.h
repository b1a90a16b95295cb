/* SPDX-License-Identifier: Apache-2.0
 *
 * babysitter.h - `inferd babysitter`, for the list of roles (role.c); what a command is says
 * conf/flags.h.
 */
#pragma once

struct command;

const struct command *babysitter_command(void);
