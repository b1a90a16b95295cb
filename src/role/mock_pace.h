/* SPDX-License-Identifier: Apache-2.0
 *
 * mock_pace.h - who talks next, to the microsecond: streams that sleep until their next event is
 * due, in the order of that, and one alarm for the first of them. Deadlines would send the events
 * of many streams in bursts, a millisecond each; what is measured behind this engine would then be
 * the bursts. Streams of one engine have one pace, so a stream that goes to sleep is due behind
 * nearly all others: it is put in from the end.
 */
#pragma once
#include "ev/alarm.h"

struct mock_pace_sleeper {
    struct list node; /* points to itself while awake */
    uint64_t due_us;
};

typedef void mock_pace_fn(struct mock_pace_sleeper *s);

struct mock_pace {
    struct loop *loop;
    struct alarm *alarm;
    struct list sleepers; /* earliest first */
    mock_pace_fn *wake;   /* may sleep again */
};

/* -E_NO_FDS. The pace must stay where it is. */
int mock_pace_init(struct mock_pace *p, struct loop *loop, mock_pace_fn *wake) MUSTCHECK;
/* Nobody may sleep any more. */
void mock_pace_fini(struct mock_pace *p);
void mock_pace_sleep(struct mock_pace *p, struct mock_pace_sleeper *s, uint64_t due_us);
/* Harmless when awake. */
static inline void mock_pace_forget(struct mock_pace_sleeper *s) { list_remove(&s->node); }
static inline bool mock_pace_asleep(const struct mock_pace_sleeper *s)
{
    return s->node.next != &s->node;
}
