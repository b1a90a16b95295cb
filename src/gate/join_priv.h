/* SPDX-License-Identifier: Apache-2.0
 *
 * join_priv.h - this machine among others, as control sees it: its engines in a registry (join.c),
 * and what others ask on the port behind the advertised one (face.c).
 */
#pragma once
#include <stdbool.h>

struct addr;    /* ev/addr.h */
struct control; /* gate/control_priv.h */
struct ev_fd;   /* ev/stream.h */
struct jsonw;   /* base/jsonw.h */
struct member;  /* gate/member.h */

/* ---- join.c ---- */
void join_create(struct control *c);
/* Settings hold. */
void join_configure(struct control *c);
/* A member came, went or changed. */
void join_changed(struct control *c);
/* Only its state did. */
void join_state_changed(struct control *c);
/* The member goes: so does its record. */
void join_forget(struct member *m);
/* For good: all records are deleted, then control_left(), after 1 s at most. */
void join_leave(struct control *c);
bool join_has_left(const struct control *c);
/* {"names":2,"registered":1,"url":"http://..."}; nothing, not even the key, without a registry. */
void join_report(const struct control *c, struct jsonw *w);
/* Without a word to the registry; metrics still read its counts. */
void join_end(struct control *c);
void join_destroy(struct control *c);

/* ---- face.c ---- */
void face_start(struct control *c);
void face_stop(struct control *c);
void face_accept(struct control *c, struct ev_fd *fd, const struct addr *peer);
