/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl.h - `inferd ctl`, for the list of roles: the operator's side of the control socket.
 */
#pragma once

struct command;

const struct command *ctl_command(void);
