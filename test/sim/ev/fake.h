/* SPDX-License-Identifier: Apache-2.0
 *
 * fake.h - what the files of test/sim/ev share: event sources. Everything that can call back on a
 * loop (stream, listener, mailbox, look-up, offloaded work, signal watch, the timer) is a source of
 * it. A turn of a loop serves some of its ready sources in an order of the world's choosing.
 *
 * A source that is closed is not served any more, though it may already stand on the turn's list;
 * its memory goes at the end of the turn, so that a use after the close meets a CHECK or ASan.
 */
#pragma once
#include "ev/loop.h"
#include "ev/loop_priv.h"
#include "sim/world.h"

struct source;

struct source_ops {
    const char *name;
    bool (*ready)(struct source *s);
    void (*fire)(struct source *s);
    /* When it will be ready by the passing of time alone; UINT64_MAX: never. */
    uint64_t (*next_us)(struct source *s);
};

/* Embedded first; allocated with mem_alloc. */
struct source {
    struct list node; /* in its loop's sources */
    const struct source_ops *ops;
    struct loop *loop;
    bool closed;
    bool finishes; /* loop_destroy() lets it come to its end */
    struct grave grave;
};

void source_open(struct loop *l, struct source *s, const struct source_ops *ops);
/* Frees it at the end of the turn. */
void source_close(struct source *s);
/* For sources that time alone cannot make ready. */
uint64_t source_never(struct source *s);

/* A loop takes turns only while it runs. This is loop_run() without the waiting: for scenarios,
 * which let the world run themselves. */
void fake_loop_start(struct loop *l);
bool fake_loop_running(const struct loop *l);
/* Lets the world run until this loop does not run any more. */
void fake_wait_loop(struct loop *l);
/* The process under test gets a signal. */
void fake_signal(int signo);
