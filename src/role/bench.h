/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.h - `inferd bench`: loads an OpenAI-style endpoint and says what came back.
 */
#pragma once
#include "conf/flags.h"

const struct command *bench_command(void);
