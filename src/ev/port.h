/* SPDX-License-Identifier: Apache-2.0
 *
 * port.h - is a TCP port free? Asked by binding to it, never by connecting: a connect would be a
 * request to whoever is there.
 */
#pragma once
#include "base/check.h"

/* False when somebody listens on it, on any address of this machine. Nothing is reserved. */
bool port_is_free(uint16_t port);
