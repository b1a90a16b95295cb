/* SPDX-License-Identifier: Apache-2.0
 *
 * choice.h - what a request's words say about who is to answer it: what its body names (fields.c),
 * which models may, for the name it asks for (fallback.c), and which session it belongs to
 * (session.c). Exports: req_
 */
#pragma once
#include "gate/request.h"

/* ---- fields.c ---- */

/* Body bytes as they come; false: r->fault is filled. */
bool req_scan(struct req *r, const char *p, size_t n);
/* The body is complete: fills what it says, or r->fault. */
void req_read_fields(struct req *r);
/* Which engines' caches suit it, by how much it asks about; CACHE_UNSAID: any. */
enum cache_class req_wanted_class(const struct req *r);

/* ---- fallback.c ---- */

/* Which models may answer for r->model; r->target is the first to ask. */
void req_make_plan(struct req *r);
/* Somebody lists one of them, or may yet. */
bool req_is_known(const struct req *r);
/* The present model cannot answer: begins anew with the next one that might. False when there is
 * none, or when the fault at hand is no model's. */
bool req_fall_back(struct req *r);
/* Whether it could. */
bool req_may_fall_back(const struct req *r);
/* Which model the reply comes from, between exchange_reply() and exchange_start(). */
void req_tell_model(struct req *r);

/* ---- session.c ---- */

/* Fills r->session, if there is one, when the body is complete. */
void req_find_session(struct req *r);
/* What selection must know of it; false when there is none. */
bool req_keep_session(const struct req *r, struct select_facts *facts);
