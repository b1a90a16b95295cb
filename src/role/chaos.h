/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos.h - `inferd chaos`: puts a gateway under fire and says what its clients saw.
 */
#pragma once
#include "conf/flags.h"

const struct command *chaos_command(void);
