/* SPDX-License-Identifier: Apache-2.0
 *
 * access.h - who may talk to a listener that has no keys: pure rules on Host and Origin, so that no
 * web page can drive a local model, by a script of its own (Origin) or by a name that resolves to
 * this machine (DNS rebinding; Host).
 */
#pragma once
#include "gate/gate.h"

/* Host (without port) is the listener's address (any IP literal on a wildcard address), localhost,
 * or one of its `hosts`. An empty host is allowed only where the codec lets it through (HTTP/1.0).
 */
bool access_host_allowed(const struct gate_listen *l, struct str host);
/* Origin is absent, loopback's or the listener's own address with the listener's port, or one of
 * its `origins`. *cors is set to the origin when it is one of `origins`: the reply then allows it.
 */
bool access_origin_allowed(const struct gate_listen *l, struct str origin, struct str *cors);
/* Content-Type is application/json, whatever its parameters: no page sends it unasked. */
bool access_is_json(struct str content_type);
