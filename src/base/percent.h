/* SPDX-License-Identifier: Apache-2.0
 *
 * percent.h - percent-encoding (RFC 3986 section 2.1) of names that stand in paths.
 */
#pragma once
#include "base/buf.h"

/* Appends `s` with every byte that is not unreserved (letters, digits, "-._~") as %XX. */
void percent_encode(struct buf *out, struct str s);
/* Appends `s` with its escapes taken for the bytes they stand for; '+' stays '+'. -E_SYNTAX when an
 * escape is broken or when the whole is not UTF-8 afterwards, -E_LIMIT when it does not fit. */
int percent_decode(struct buf *out, struct str s) MUSTCHECK;
