/* SPDX-License-Identifier: Apache-2.0
 *
 * router.h - `inferd router`, for the list of roles: an OpenAI endpoint over the engines that a
 * registry or a file names.
 */
#pragma once

struct command;

const struct command *router_command(void);
