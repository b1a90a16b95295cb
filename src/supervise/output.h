/* SPDX-License-Identifier: Apache-2.0
 *
 * output.h - what a unit writes: bytes in, lines out. Everything goes to the unit's ring; to the
 * log go whole lines as "[name stdout] line", at most 100 a second, the rest counted. Binary-safe,
 * and without memory while no line is half written.
 */
#pragma once
#include "ev/child.h"

struct log_writer;
struct loop;
struct output; /* opaque */
struct ring;

/* `name` is borrowed. Without a ring (no descriptors left) only the log gets it. */
struct output *output_create(struct loop *l, struct log_writer *log, const char *name)
    __attribute__((returns_nonnull));
/* Every line goes to the log from now on. */
void output_log_all(struct output *o);
/* NULL is fine. */
void output_destroy(struct output **o);
/* As it comes; empty: the stream ended, and what is unterminated is a line. */
void output_take(struct output *o, enum child_stream stream, struct str bytes);
/* A line of ours among the unit's, in the ring only. */
void output_note(struct output *o, const char *text);
/* NULL when there is none. */
const struct ring *output_ring(const struct output *o);
