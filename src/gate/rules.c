/* SPDX-License-Identifier: Apache-2.0
 *
 * rules.c - see rules.h.
 */
#include "gate/rules.h"

#include "fleet/breaker.h"
#include "proto/chars.h"
#include "proto/http1.h"

/* Of a field's name, which is a token. */
static inline bool begins(struct str name, struct str lower)
{
    return name.n >= lower.n && chars_folded_eq(name.p, lower.p, lower.n);
}

/* `up` vouches for addresses by itself, and has judged Origin. */
static bool up_withholds_of_request(const struct http1_field *f, struct str name)
{
    static const struct str forwarded = {"x-forwarded-", 12}, key = {"x-api-key", 9};

    switch (f->id) {
    case HTTP1_FORWARDED:
    case HTTP1_X_REAL_IP:
    case HTTP1_X_REQUEST_ID:
    case HTTP1_ORIGIN:
    case HTTP1_ACCESS_CONTROL_REQUEST_METHOD:
        return true;
    case HTTP1_OTHER:
        return (name.n == key.n && begins(name, key)) || f->underscore || begins(name, forwarded);
    default:
        return false;
    }
}

/* CORS and the request id are ours. */
static bool up_withholds_of_reply(const struct http1_field *f, struct str name)
{
    static const struct str cors = {"access-control-", 15};

    return f->id == HTTP1_X_REQUEST_ID || (f->id == HTTP1_OTHER && begins(name, cors));
}

/* The router passes on what it was given; whom `authorization` goes to is a setting (forward.c). */
static bool router_withholds(const struct http1_field *f, struct str name)
{
    (void)name;
    return f->id == HTTP1_X_REQUEST_ID;
}

const struct gate_rules gate_rules_up = {
    .name = "gate",
    .needs_host = true,
    .judges_host = true,
    .refuses_upgrade = true,
    .request_withholds = up_withholds_of_request,
    .reply_withholds = up_withholds_of_reply,
    .names_itself = true,
    .ends_by_done = true,
    .awaits_return = true,
    .words = wording_up,
    .session_of_user = true,
    .places = 256,
    .takes_back = true,
    .gives_up = true,
    .knock_ms = 2000,
    .reopen_most_ms = BREAKER_TRIAL_MOST_MS,
    .trial_ms = BREAKER_FIRST_MS,
    .slow_start = true,
    .judges_models = true,
};

const struct gate_rules gate_rules_router = {
    .name = "router",
    .resolves_dots = true,
    .announces = true,
    .request_withholds = router_withholds,
    .reply_withholds = router_withholds,
    .holds_long = true,
    .tells_cause = true,
    .words = wording_router,
    .lenient = true,
    .nameless = true,
    .session_of_caller = true,
    .strict_probes = true,
    .rounds = true,
    .places = 1024,
    .knock_ms = 5000,
    .reopen_most_ms = BREAKER_MOST_MS,
    .trial_ms = BREAKER_MOST_MS,
};
