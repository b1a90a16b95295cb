/* SPDX-License-Identifier: Apache-2.0
 *
 * thread.h - threads that run a loop, and signals as events of a loop.
 */
#pragma once
#include "ev/loop.h"

struct thread;
/* Starts `main(ctx)` on a thread with every signal blocked; its name is cut at 15 bytes. */
int thread_start(const char *name, void (*main)(void *ctx), void *ctx,
                 struct thread **ret) MUSTCHECK;
/* Waits for its end and frees it. */
void thread_join(struct thread **t);

struct signal_watch;
typedef void signal_fn(void *ctx, int signo);
/* Delivers `signo` on this loop, coalesced. SIGPIPE is ignored by loop_create(). */
int signal_watch_start(struct loop *l, int signo, signal_fn *fn, void *ctx,
                       struct signal_watch **ret) MUSTCHECK;
/* From then on the signal is ignored: nobody waits for it any more, and what it does by default
 * would turn an orderly end into a death. NULL is fine. */
void signal_watch_close(struct signal_watch **w);
