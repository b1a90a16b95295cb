/* SPDX-License-Identifier: Apache-2.0
 *
 * alarm.h - one moment, to the microsecond, on a loop's clock: for schedules of load, where the
 * millisecond of a deadline (ev/deadline.h) would itself be what is measured. Costs a descriptor
 * and a system call each time it is set; everything else takes a deadline.
 */
#pragma once
#include "ev/loop.h"

struct alarm; /* opaque */
typedef void alarm_fn(void *ctx);

/* -E_NO_FDS. `fn` runs once for each alarm_at(), never inside a call of the owner's. */
int alarm_create(struct loop *l, alarm_fn *fn, void *ctx, struct alarm **ret) MUSTCHECK;
/* Sets it to loop_now_us() == at_us, at once when that is past; what was set before is forgotten.
 */
void alarm_at(struct alarm *a, uint64_t at_us);
/* NULL is fine. No callback follows. */
void alarm_close(struct alarm **a);
