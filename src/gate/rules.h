/* SPDX-License-Identifier: Apache-2.0
 *
 * rules.h - what differs between the programs that have this request path: `inferd up`, and the
 * fabric's router, which keeps the contract of the one it replaces (docs/router.md). One table
 * each, chosen at start; no step asks which program it is in. What a user may change is no rule but
 * a setting: struct gate_conf.
 */
#pragma once
#include "gate/wording.h"

struct http1_field;

struct gate_rules {
    const char *name; /* of the program, in the log */
    /* lane.c */
    bool needs_host; /* HTTP/1.1 without Host is refused */
    /* inspect.c */
    bool judges_host; /* Host and Origin have to be the listener's: pages cannot drive a model */
    bool lenient;     /* what is no JSON object goes to an engine as well; each field that is looked
                         for stands alone; a request's size is measured where engines have classes */
    bool refuses_upgrade; /* 501; else it goes as hop-by-hop fields do, and the rest is served */
    bool resolves_dots;   /* a path is what is left of it without "." and ".." */
    bool announces;       /* a line in the log for each request that is about to be forwarded */
    /* forward.c, relay.c: end-to-end fields that are not passed on */
    bool (*request_withholds)(const struct http1_field *f, struct str name);
    bool (*reply_withholds)(const struct http1_field *f, struct str name);
    /* relay.c */
    bool names_itself; /* Server and Date of replies are ours; else the engine's, where it has them
                        */
    bool holds_long;   /* the beginning of a long body is held, too, in case it breaks there */
    bool ends_by_done; /* a stream of completions that only its close ends has to say [DONE] */
    /* retry.c */
    bool awaits_return; /* when no engine could be reached, one that was tried may be again */
    bool tells_cause;   /* nobody is left to ask: that is what is told, and the last failure */
    /* member.c */
    bool nameless; /* a request may name no model: any engine may answer it */
    /* session.c */
    bool session_of_user;   /* `user`, and the header of [affinity], name a session */
    bool session_of_caller; /* who is behind a trusted proxy, with its program, is one */
    /* probe.c, round.c */
    bool strict_probes; /* only 2xx without a word of the body's against it is good, and the errors
                         * counted so far are forgiven then; else any answer below 500 is good */
    bool rounds;        /* all engines are tested at once each interval, bad ones sooner, after 1,
                         * 2, 4 s and so on; else each has a schedule of its own */
    uint16_t places;    /* tests at once; engines in doubt get half of them at most */
    bool takes_back;    /* requests without a byte leave an engine that its tests find bad */
    bool gives_up; /* nobody waits for an engine that is bad, or that control knocked at in vain;
                    * else requests wait for each that has the model, if they wait at all */
    /* door.c, retry.c */
    uint32_t knock_ms;       /* how long a connect of control's own may take */
    uint32_t reopen_most_ms; /* the longest pause of an open door while the engine takes
                              * connections; BREAKER_MOST_MS while it does not */
    uint32_t trial_ms;       /* so long a trial of which nothing is heard is the only one */
    bool slow_start;    /* who fails or comes back is taken for busier than it is, for a moment */
    bool judges_models; /* 429, 5xx and no head in time count against the model that was asked for;
                         * else the last against the engine, as a connection that breaks, and
                         * answers against nobody */
    /* wording.c */
    const struct wording *words; /* by enum wording_case */
};

extern const struct gate_rules gate_rules_up, gate_rules_router;
