/* SPDX-License-Identifier: Apache-2.0
 *
 * registration.c - see registration.h.
 */
#include "gate/registration.h"

/* What an operator can do about it. */
static const char *advice(unsigned status)
{
    switch (status) {
    case 0:
        return NULL;
    case 401:
        return "the registry wants its token: registry_token_file";
    case 403:
        return "the registry does not allow this host: its --allow-host";
    case 503:
        return "the registry is full: its --max-services";
    default:
        return status < 400 ? "redirects are not followed" : NULL;
    }
}

static void say_failed(struct log_writer *log, uint64_t wall_us, const char *target,
                       const struct registrar_event *e)
{
    struct log_rec *r =
        log_begin(log, LOG_WARN, wall_us, target,
                  e->call == REGISTRAR_POST ? "cannot register" : "the heartbeat failed");

    log_str(r, "service", e->name);
    if (e->status > 0)
        log_u64(r, "status", e->status);
    else
        log_err(r, "error", e->err);
    if (advice(e->status))
        log_text(r, "advice", advice(e->status));
    log_end(r);
}

void registration_say(struct log_writer *log, uint64_t wall_us, const char *target,
                      const struct registrar_event *event)
{
    static const char *const messages[] = {
        [REGISTRAR_REGISTERED] = "registered",
        [REGISTRAR_UNKNOWN] = "the registry does not know the service: registering again",
        [REGISTRAR_RECOVERED] = "the registry takes heartbeats again",
    };
    struct log_rec *r;

    if (event->news == REGISTRAR_FAILED) {
        say_failed(log, wall_us, target, event);
        return;
    }
    r = log_begin(log, LOG_INFO, wall_us, target, messages[event->news]);
    log_str(r, "service", event->name);
    log_end(r);
}
