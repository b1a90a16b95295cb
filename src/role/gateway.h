/* SPDX-License-Identifier: Apache-2.0
 *
 * gateway.h - `inferd gateway`, for the list of roles: what the master starts, for nobody else.
 */
#pragma once

struct command;

const struct command *gateway_command(void);
