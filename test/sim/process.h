/* SPDX-License-Identifier: Apache-2.0
 *
 * process.h - the simulated world's processes: what test/sim/ev/child.c starts and
 * test/sim/ev/sweep.c ends. A process does nothing but live, until a moment that its plan or a
 * signal decides; what it writes and whom it leaves behind is in its plan. Whether it is alive is
 * asked of the clock, so processes take no turns.
 */
#pragma once
#include "base/str.h"
#include "ev/child.h"

/* Somebody whom a process leaves when it is started. */
struct process_stray {
    bool is;
    bool in_group;    /* else it has a session of its own */
    bool marked;      /* else its environment does not show the mark */
    bool holds_pipes; /* else it closed them */
    bool deaf;        /* to TERM */
};

/* What a process will do. Zero: it runs until it is told to end, and ends at once then. */
struct process_plan {
    int not_run;           /* errno of its exec; 0: it runs */
    uint32_t exec_ms;      /* until its program runs */
    uint32_t ends_ms;      /* from then on; 0: never by itself */
    struct child_exit how; /* that end */
    bool deaf;             /* to TERM */
    uint32_t term_ms;      /* from TERM to its end */
    uint32_t kill_ms;      /* from KILL to its end: what the kernel is busy with */
    const char *says;      /* on stdout, when it runs; NULL: nothing */
    struct process_stray stray;
};

/* Asked at every start: `unit` is in the mark, `n` counts its starts from 1. */
typedef void process_plan_fn(struct str unit, unsigned n, struct process_plan *ret);

/* Forgets everything: there is no process. */
void process_begin(process_plan_fn *plan);
/* Aborts if somebody still lives. */
void process_end(void);
/* child_start() fails with this code until told otherwise; 0: it does not. */
void process_refuse(int err);
/* One that an earlier run left. */
void process_leave(const char *mark, bool deaf);
/* How many live: all, or with a mark that has this unit's name; leaders: those started, not those
 * left. */
unsigned process_alive(void);
unsigned process_alive_of(struct str unit, bool leaders);
/* Its end, at this moment, by a signal or by itself. A pid that is not alive is a bug. */
void process_dies(pid_t pid, struct child_exit how);
/* SIGSTOP. */
void process_freezes(pid_t pid);

/* Somebody else listens there. */
void process_take_port(uint16_t port, bool taken);
void process_free_ports(void);

/* For test/sim/ev. */
struct process;
/* The live processes, one after the other: NULL is the beginning and the end. */
struct process *process_next(struct process *p);
pid_t process_pid(const struct process *p);
struct str process_mark(const struct process *p);
void process_signal(struct process *p, int signo);
struct process *process_find(pid_t pid); /* alive; NULL when it is not */
uint64_t process_ends_us(pid_t pid);     /* 0 when it has ended */
