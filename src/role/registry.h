/* SPDX-License-Identifier: Apache-2.0
 *
 * registry.h - `inferd registry`, for the list of roles (role.c); what a command is says
 * conf/flags.h.
 */
#pragma once

struct command;

const struct command *registry_command(void);
