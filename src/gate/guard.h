/* SPDX-License-Identifier: Apache-2.0
 *
 * guard.h - keys at the request's steps: may this client ask, for this model, now. With no keys
 * configured all of it says yes and costs a look at a pointer.
 */
#pragma once
#include "base/str.h"

struct key;
struct req;

/* HEAD, before the body is read: the key, its requests at once and its rate. Fills r->fault. */
void guard_head(struct req *r);
/* ADMIT, when r->model is known: the right to it, and tokens. Fills r->fault. */
void guard_model(struct req *r);
/* ADMIT of a path that belongs to one engine. Fills r->fault. */
void guard_passthrough(struct req *r);
/* The key as the pinned configuration has it; NULL when no key is needed or its key is gone. */
const struct key *guard_key(const struct req *r);
/* What is left of the key's rates, as fields of the reply that has begun. */
void guard_fields(struct req *r);
/* Whether a field of an engine's reply would repeat those. */
bool guard_withholds(const struct req *r, struct str name);
/* The request has ended: it is counted, and gives back what it held. */
void guard_end(struct req *r);
