/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_priv.h - the libuv loop behind struct loop, for the files of ev/ only.
 */
#pragma once
#include <uv.h>

#include "ev/loop_priv.h"

enum { LOOP_READ_BYTES = 64 * 1024 };

uv_loop_t *loop_uv(struct loop *l);
/* The buffer that reads are made into: LOOP_READ_BYTES, one user at a time. */
char *loop_read_buffer(struct loop *l);
/* The negative err.h code for a libuv status. */
int loop_err(int uv_status);
