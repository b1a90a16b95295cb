/* SPDX-License-Identifier: Apache-2.0
 *
 * wording.c - see wording.h.
 *
 * Exports: req_ wording_
 */
#include "gate/wording.h"

#include "gate/lane_priv.h"
#include "gate/request.h"

enum { NAME_CUT = 256, ENGINE_CUT = 96 };

const struct wording wording_up[SAY_CASES] = {
    [SAY_BAD_BODY] = {FAULT_bad_request, 0, 0, NULL, "{why}"},
    [SAY_NO_MODEL] = {FAULT_model_not_found, 0, 0, "model", "The model '{model}' does not exist"},
    [SAY_NOBODY] = {FAULT_no_healthy_service, 0, 5, NULL,
                    "No healthy services available for model '{model}'"},
    [SAY_NOBODY_AT_ALL] = {FAULT_no_healthy_service, 0, 5, NULL, "No healthy services available"},
    [SAY_REFUSED] = {FAULT_upstream_refused, 0, 5, NULL,
                     "Service unavailable - connection refused"},
    [SAY_BROKEN] = {FAULT_bad_gateway, 0, 0, NULL,
                    "Bad gateway - error communicating with service ({why})"},
    [SAY_LATE] = {FAULT_upstream_timeout, 0, 0, NULL, "Service timeout"},
    [SAY_NOT_TAKEN] = {FAULT_upstream_timeout, 0, 0, NULL,
                       "Service timeout: the engine did not take the request"},
    [SAY_HEAD_TOO_LARGE] = {FAULT_bad_gateway, 0, 0, NULL,
                            "Bad gateway - the engine's reply head is too large"},
    [SAY_HELD_BROKEN] = {FAULT_upstream_disconnected, 0, 0, NULL,
                         "Failed to read response from service ({why})"},
    [SAY_HELD_LATE] = {FAULT_upstream_timeout, 0, 0, NULL,
                       "Service timeout: the engine fell silent inside its reply"},
    [SAY_CUT] = {FAULT_upstream_disconnected, 0, 0, NULL, "The engine's reply broke off ({why})"},
    [SAY_SILENT] = {FAULT_upstream_timeout, 0, 0, NULL,
                    "Service timeout: the engine fell silent inside its reply"},
    [SAY_OWN_TOO_LARGE] = {FAULT_internal_error, 0, 0, NULL,
                           "The reply exceeds what one reply may take"},
};

/* What clients of the program that the router replaces have learnt to look for. */
const struct wording wording_router[SAY_CASES] = {
    [SAY_BAD_BODY] = {FAULT_bad_request, 0, 0, NULL, "Failed to read request body"},
    [SAY_NO_MODEL] = {FAULT_model_not_found, 503, -1, NULL,
                      "No healthy services available for model '{model}'"},
    [SAY_NOBODY] = {FAULT_no_healthy_service, 0, 5, NULL,
                    "No healthy services available for model '{model}'{last}"},
    [SAY_NOBODY_AT_ALL] = {FAULT_no_healthy_service, 0, 5, NULL,
                           "No healthy services available{last}"},
    [SAY_REFUSED] = {FAULT_upstream_refused, 0, 5, NULL,
                     "Service unavailable - connection refused"},
    [SAY_BROKEN] = {FAULT_bad_gateway, 0, 0, NULL,
                    "Bad gateway - error communicating with service"},
    [SAY_LATE] = {FAULT_upstream_timeout, 0, 0, NULL, "Service timeout"},
    [SAY_NOT_TAKEN] = {FAULT_upstream_timeout, 0, 0, NULL, "Service timeout"},
    [SAY_HEAD_TOO_LARGE] = {FAULT_bad_gateway, 0, 0, NULL,
                            "Bad gateway - error communicating with service"},
    [SAY_HELD_BROKEN] = {FAULT_upstream_disconnected, 0, 0, NULL,
                         "Failed to read response from service"},
    [SAY_HELD_LATE] = {FAULT_upstream_disconnected, 0, 0, NULL,
                       "Failed to read response from service"},
    [SAY_CUT] = {FAULT_upstream_disconnected, 0, 0, NULL, "Failed to read response from service"},
    [SAY_SILENT] = {FAULT_upstream_timeout, 0, 0, NULL, "Service timeout"},
    [SAY_OWN_TOO_LARGE] = {FAULT_internal_error, 0, 0, NULL, "Internal server error"},
};

static void put_last(struct buf *out, const struct req *r)
{
    if (!r->cause)
        return;
    buf_printf(out, " (last error: %s at '%.*s')", r->cause,
               (int)str_utf8_cut(r->cause_engine, ENGINE_CUT), r->cause_engine.p);
}

static void expand(struct buf *out, const struct req *r, struct str text, const char *why)
{
    while (text.n > 0) {
        struct str plain = str_cut(&text, '{'), name = str_cut(&text, '}');

        buf_add(out, plain);
        if (str_eq(name, STR("model")))
            buf_bytes(out, r->model.p, str_utf8_cut(r->model, NAME_CUT));
        else if (str_eq(name, STR("why")))
            buf_text(out, why);
        else if (str_eq(name, STR("last")))
            put_last(out, r);
    }
}

void req_say(struct req *r, enum wording_case what, const char *why)
{
    const struct wording *w = &r->lane->gate->rules->words[what];
    char memory[sizeof r->fault.text];
    struct buf text = buf_on(memory, sizeof memory);

    expand(&text, r, str_of(w->text), why ? why : "no detail");
    fault_set(&r->fault, w->code, "%.*s", (int)text.n, text.p);
    if (w->status != 0)
        r->fault.status = w->status;
    r->fault.retry_after_s = w->retry_after_s;
    if (w->param)
        memcpy(r->fault.param, w->param, strlen(w->param) + 1);
}

void req_note_cause(struct req *r, const char *kind)
{
    r->cause = kind;
    r->cause_engine = arena_str(&r->x->arena, r->engine->name);
}
