/* SPDX-License-Identifier: Apache-2.0
 *
 * mock.h - `inferd mock`, for the list of roles (role.c); what a command is says
 * conf/flags.h.
 */
#pragma once

struct command;

const struct command *mock_command(void);
