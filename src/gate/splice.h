/* SPDX-License-Identifier: Apache-2.0
 *
 * splice.h - rewrites the value of the top-level key `model` in a reply that passes by, so that a
 * client that asked for an alias reads that alias: in one JSON document, or in each event of an
 * event stream. Every other byte stays as it is. Used for aliased requests only; a reply that is
 * not what it says (no object, no such key, not JSON) passes unchanged. Holds back at most one
 * event, or the bytes of the value itself.
 */
#pragma once
#include "base/arena.h"
#include "base/chunk.h"

struct splice; /* opaque; lives in the arena */

/* What one event, or one value, may take before it passes unchanged. */
enum { SPLICE_HELD_BYTES = 64 * 1024 };

/* `name` is copied. */
struct splice *splice_create(struct arena *a, struct str name, bool events);
/* Appends to `out` what may go on. */
void splice_feed(struct splice *s, const char *p, size_t n, struct chunkq *out);
/* The reply has ended: appends what was still held back. */
void splice_end(struct splice *s, struct chunkq *out);
