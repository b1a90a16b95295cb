/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl_show.h - what the control socket says, for people: documents to text.
 */
#pragma once
#include "base/json.h"

/* Append the text of a reply. -E_SYNTAX when the document is none of that kind. */
int ctl_show_status(const struct json *doc, struct buf *out) MUSTCHECK;
int ctl_show_engines(const struct json *doc, struct buf *out) MUSTCHECK;
int ctl_show_models(const struct json *doc, struct buf *out) MUSTCHECK;
int ctl_show_usage(const struct json *doc, struct buf *out) MUSTCHECK;
/* "850ms", "12s", "3m", "5h", "2d" */
void ctl_show_duration(uint64_t ms, struct buf *out);
