/* SPDX-License-Identifier: Apache-2.0
 *
 * tickets.h - the one queue: requests that wait for a slot, or for an engine that is on its way.
 * FIFO per model; control's alone. Classes, fairness, cold start and swap will change this file and
 * no other. While a ticket waits, the cells of all engines of its model count it in `waiting`, so
 * that no lane takes a slot past it.
 */
#pragma once
#include "ev/loop.h"
#include "gate/mail.h"

struct tickets; /* opaque */

void tickets_create(struct gate *g, struct loop *l, struct tickets **ret);
/* What still waits is forgotten, its cells are not. */
void tickets_destroy(struct tickets **t);
/* A mail of kind CONTROL_TICKET. Refused when queue_length tickets wait for its model, or when its
 * turn would come after queue_ms at the pace of late. */
void tickets_add(struct tickets *t, const struct snapshot *s, const struct control_mail *m,
                 const struct limits *l);
/* CONTROL_TICKET_LATE: queue_ms has passed; refused, unless its answer is on the way already. */
void tickets_late(struct tickets *t, const struct snapshot *s, const struct control_mail *m);
/* CONTROL_TICKET_GONE. */
void tickets_gone(struct tickets *t, const struct snapshot *s, const struct control_mail *m);
/* A slot came free, an engine's state or the fleet changed: grants what can be granted now, refuses
 * what has no hope any more. */
void tickets_run(struct tickets *t, const struct snapshot *s);
/* Before and after a snapshot is replaced: the cells' `waiting` follows the models' engines. */
void tickets_detach(struct tickets *t, const struct snapshot *old);
void tickets_attach(struct tickets *t, const struct snapshot *s);
unsigned tickets_count(const struct tickets *t);
