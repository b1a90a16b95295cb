/* SPDX-License-Identifier: Apache-2.0
 *
 * lanes.h - the lanes of a program that serves clients: each on a loop and a thread of its own.
 */
#pragma once
#include "gate/gate.h"

struct thread;

struct lanes {
    struct gate *gate;
    struct {
        struct loop *loop;
        struct lane *lane;
        struct thread *thread;
    } of[GATE_LANES_MAX];
};

/* Half the cores, at least 1, at most 8. */
uint32_t lanes_default(void);
/* Makes `n` lanes, which becomes gate->nlanes, each with a reference of its own on `first`, and
 * starts them. Aborts without memory or threads: there is nothing to go on with. */
void lanes_start(struct lanes *l, struct gate *g, uint32_t n, struct snapshot *first);
/* Stops and frees what was started. Before control goes. */
void lanes_end(struct lanes *l);
