/* SPDX-License-Identifier: Apache-2.0
 *
 * names.h - the simulated world's name service, for scenarios; see test/sim/ev/resolve.c.
 */
#pragma once
#include "ev/addr.h"

/* Forgets all names. */
void names_clear(void);
/* `name` is borrowed. Addresses in the order they are answered; their ports are replaced. n = 0:
 * the name service does not answer for this name. A name that is there already is replaced. */
void names_add(const char *name, const struct addr *addrs, unsigned n);
