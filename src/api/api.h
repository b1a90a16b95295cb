/* SPDX-License-Identifier: Apache-2.0
 *
 * api.h - what inferd says in HTTP about itself, for gate/ to call: which path is what (paths.c),
 * the bodies of its own endpoints (own.c, models.c), how a fault is told (fault.c). All of it is
 * pure: it reads a snapshot and its cells and appends to a buffer, on any thread.
 */
#pragma once

#include <stdbool.h>

struct gate_api;

/* Static: `inferd up`'s. */
const struct gate_api *api_gate(void);
/* The router's; `alias`: under its infini- name. */
const struct gate_api *api_router(bool alias);
