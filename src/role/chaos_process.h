/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_process.h - what `inferd chaos` waits for, and the processes it starts: this program,
 * executed again. Loop thread only; the functions that say so run the loop until something is so.
 */
#pragma once
#include <signal.h>

#include "ev/addr.h"
#include "ev/loop.h"

struct chaos_process;

struct chaos_wait {
    struct loop *loop;
    bool stopped; /* by a signal: every wait ends at once */
};

typedef bool chaos_wait_fn(void *ctx);

/* Runs the loop until fn says so, at most `ms`; whether it did. fn NULL: just the time. */
bool chaos_process_wait(struct chaos_wait *w, unsigned ms, chaos_wait_fn *fn, void *ctx);

/* "inferd" argv[1].. with what it writes kept in part. */
int chaos_process_start(struct loop *l, const char *const *argv,
                        struct chaos_process **ret) MUSTCHECK;
void chaos_process_signal(struct chaos_process *p, int signo);
bool chaos_process_ended(const struct chaos_process *p);
/* The pid of its first child; 0: none. */
int chaos_process_child(const struct chaos_process *p);
/* The last of what it wrote. */
struct str chaos_process_words(const struct chaos_process *p);
/* SIGTERM (or SIGKILL at once), and waits: runs the loop. NULL is fine. */
void chaos_process_end(struct chaos_wait *w, bool kill, struct chaos_process **p);

/* An engine process on that address, waited for: runs the loop. */
int chaos_process_engine(struct chaos_wait *w, const struct addr *at,
                         struct chaos_process **ret) MUSTCHECK;
#define CHAOS_PROCESS_NAME "chaos-process" /* which its answers say */
