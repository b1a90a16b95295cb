/* SPDX-License-Identifier: Apache-2.0
 *
 * api.c - the table that gate/ is given.
 */
#include "api/api.h"

#include "api/api_priv.h"

const struct gate_api *api_gate(void)
{
    static const struct gate_api api = {
        .classify = paths_classify,
        .path = paths_row,
        .own = own_answer,
        .render_fault = fault_render,
        .render_event = fault_render_event,
    };

    return &api;
}
