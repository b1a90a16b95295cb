/* SPDX-License-Identifier: Apache-2.0
 *
 * wording.h - what a client is told when its request comes to nothing: one row for each way in
 * which that happens, in each program's words. Codes and statuses are a contract (docs/errors.md).
 * Exports: req_say()
 */
#pragma once
#include "base/fault.h"

struct req;

enum wording_case {
    SAY_BAD_BODY,       /* the request's body is malformed or broke off */
    SAY_NO_MODEL,       /* no engine has the model, healthy or not */
    SAY_NOBODY,         /* a model is named, and nobody healthy is left who has it */
    SAY_NOBODY_AT_ALL,  /* none is named */
    SAY_REFUSED,        /* no connection was made */
    SAY_BROKEN,         /* it ended, or was no HTTP, before a whole reply head */
    SAY_LATE,           /* no reply head in time */
    SAY_NOT_TAKEN,      /* the engine did not take the request in time */
    SAY_HEAD_TOO_LARGE, /* the engine's reply head cannot be passed on */
    SAY_HELD_BROKEN,    /* a body broke while nothing of the reply had gone out */
    SAY_HELD_LATE,      /* and did not come in time */
    SAY_CUT,            /* a reply broke that had begun to go out */
    SAY_SILENT,         /* and fell silent */
    SAY_OWN_TOO_LARGE,  /* an own endpoint's reply */
    SAY_CASES
};

struct wording {
    enum fault_code code;
    int status;        /* 0: the code's own */
    int retry_after_s; /* 0: 5 where the status is 503; -1: none */
    const char *param; /* the field at fault, or NULL */
    /* {model}: its name; {why}: the detail at hand; {last}: " (last error: ...)" after an attempt
     * that failed, else nothing */
    const char *text;
};

extern const struct wording wording_up[SAY_CASES], wording_router[SAY_CASES];

/* Fills r->fault in the words of the program's rules. `why` is a static sentence part or NULL. */
void req_say(struct req *r, enum wording_case what, const char *why);
/* The attempt at r->engine failed: what {last} will say. `kind` is static. */
void req_note_cause(struct req *r, const char *kind);
