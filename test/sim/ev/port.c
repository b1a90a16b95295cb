/* SPDX-License-Identifier: Apache-2.0
 *
 * port.c - the simulated machine's ports: free, but for those that a scenario took.
 */
#include "ev/port.h"

#include <string.h>

#include "sim/process.h"

static bool is_taken[UINT16_MAX + 1];

void process_take_port(uint16_t port, bool taken) { is_taken[port] = taken; }

void process_free_ports(void) { memset(is_taken, 0, sizeof is_taken); }

bool port_is_free(uint16_t port) { return !is_taken[port]; }
