/* SPDX-License-Identifier: Apache-2.0
 *
 * http1_priv.h - what the files of the HTTP/1 codec share.
 */
#pragma once
#include "proto/http1.h"

/* Fills authority, path, query and has_query of a request from its target and method; `query` is
 * the offset of the '?', 0 when there is none. The target's bytes are known to be of the path class
 * before it and of the query class behind it. Returns NULL, or why the target is refused. */
const char *http1_target_split(struct http1_head *h, const char *bytes, size_t query) MUSTCHECK;
