/* SPDX-License-Identifier: Apache-2.0
 *
 * form.h - one field of a multipart/form-data body (RFC 7578), read as it comes: the value of the
 * part that is called `model`. Nothing else of the body is kept, and what is odd in it is no error:
 * then there is no such field. Pure.
 */
#pragma once
#include "base/str.h"

enum {
    FORM_BOUNDARY_MAX = 70, /* bytes, RFC 2046 section 5.1.1 */
    FORM_VALUE_MAX = 320,   /* a longer value is cut here */
    FORM_LINE_MAX = 1024,   /* of a part's head; a longer line is nobody's */
};

enum form_state {
    FORM_OUTSIDE, /* before the first part, or in one that is not wanted */
    FORM_INSIDE,  /* in the one that is */
    FORM_BORDER,  /* behind a boundary, up to the line's end */
    FORM_HEAD,
    FORM_OVER,
};

/* Plain data. */
struct form {
    bool found; /* a whole part of that name: `value` */
    bool repeated;
    uint16_t value_n;
    char value[FORM_VALUE_MAX];
    /* private */
    enum form_state state;
    bool wanted;    /* the part whose head is read */
    bool too_long;  /* the line that is */
    uint8_t border; /* bytes of `delimiter` */
    uint8_t matched;
    uint16_t line_n;
    char delimiter[4 + FORM_BOUNDARY_MAX]; /* CR LF - - boundary */
    char line[FORM_LINE_MAX];
};

/* False: the content type is not that of a form, or names no boundary that could be one. */
bool form_init(struct form *f, struct str content_type) MUSTCHECK;
void form_feed(struct form *f, const char *p, size_t n);
