/* SPDX-License-Identifier: Apache-2.0
 *
 * target.h - a path without its "." and ".." segments (RFC 3986 section 5.2.4), also when their
 * dots are escaped. Pure.
 */
#pragma once
#include "base/buf.h"

/* Appends what is left of `path`, which begins with '/'; so does that, and it is no longer. */
void target_resolve(struct str path, struct buf *out);
