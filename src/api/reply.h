/* SPDX-License-Identifier: Apache-2.0
 *
 * reply.h - whole replies of inferd's own in HTTP: a JSON body, or a fault as OpenAI's error object
 * with the fields that its status asks for. The exchange stays the caller's, who ends it; that a
 * client has gone meanwhile is not told, and on_gone() does not follow.
 */
#pragma once
#include "base/fault.h"
#include "net/exchange.h"

void reply_whole(struct exchange *x, unsigned status, struct str type, struct str body);
void reply_json(struct exchange *x, unsigned status, struct str body);
/* `allow`: what a 405 says; empty otherwise. */
void reply_fault(struct exchange *x, const struct fault *f, struct str allow);
/* The error object alone; at most some 2 KiB. */
void reply_render_fault(const struct fault *f, struct buf *out);
