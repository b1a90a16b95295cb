/* SPDX-License-Identifier: Apache-2.0
 *
 * registration.h - what the log says of a registrar (net/registrar.h), the same in every program
 * that has one.
 */
#pragma once
#include "base/log.h"
#include "net/registrar.h"

/* "registered" at INFO for each POST that was taken, the rest once per change. */
void registration_say(struct log_writer *log, uint64_t wall_us, const char *target,
                      const struct registrar_event *event);
