/* SPDX-License-Identifier: Apache-2.0
 *
 * link.h - what master and gateway say to each other: the words both ends share. The ends
 * themselves are link/master.h and link/gateway.h; the bytes between them are link/wire_priv.h.
 *
 * The link is a SOCK_SEQPACKET pair. Towards the gateway it carries the latest state of a table
 * (configuration, listeners, units, orders): a gateway that stalls blocks nobody, and when it reads
 * again it gets what is true then, not what happened meanwhile. Towards the master it carries
 * requests that name configured units and nothing else.
 */
#pragma once
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum {
    LINK_FD = 3,           /* where `inferd gateway` finds its end */
    LINK_NAME_MAX = 256,   /* bytes of a unit's name */
    LINK_SOCKET_MAX = 107, /* bytes of a Unix socket's path */
    LINK_TEXT_MAX = 800,   /* bytes of a reason; longer ones are cut at a character */
    LINK_EXIT_MAX = 159,   /* bytes of "why the last run ended" */
    LINK_ASKS_MAX = 16,    /* questions without an answer, at once */
};

/* The supervisor's states. name, word, text */
#define UNIT_STATES(X)                                                                             \
    X(UNIT_STOPPED, "stopped", "not running because somebody asked for that")                      \
    X(UNIT_STARTING, "starting", "being launched: its program does not run yet")                   \
    X(UNIT_LOADING, "loading", "its program runs and does not answer as ready yet")                \
    X(UNIT_READY, "ready", "answers")                                                              \
    X(UNIT_UNRESPONSIVE, "unresponsive", "was ready; three tests in a row found it silent")        \
    X(UNIT_DRAINING, "draining", "gets nothing new; is stopped when what it has is done")          \
    X(UNIT_STOPPING, "stopping", "was told to end, or its remains are being removed")              \
    X(UNIT_BACKOFF, "backoff", "ended or could not be started; waits for the next attempt")        \
    X(UNIT_PARKED, "parked", "failed too often; waits until it is asked for")                      \
    X(UNIT_EXITED, "exited", "ended by itself, and its restart rule leaves it there")

#define UNIT_STATE_AS_ENUM(name, word, text) name,
enum unit_state { UNIT_STATES(UNIT_STATE_AS_ENUM) UNIT_STATES_N };

/* "ready". Static; "?" for what is no state. */
const char *link_state_word(enum unit_state s);
/* A process exists or is about to. */
bool link_state_runs(enum unit_state s);

/* One unit as the master sees it now. */
struct link_unit {
    uint32_t id;         /* this unit's for as long as the master lives, never given to another */
    uint32_t generation; /* counts its processes; 0: none was started yet */
    enum unit_state state;
    pid_t pid;         /* 0: no process */
    uint32_t restarts; /* starts that nobody asked for */
    uint16_t port;     /* of ${PORT}; 0: none */
    uint64_t since_ms; /* the state was entered, CLOCK_MONOTONIC (the loop's clock) */
    uint64_t next_ms;  /* backoff: when it is started again; else 0 */
    char name[LINK_NAME_MAX + 1];
    char socket[LINK_SOCKET_MAX + 1];  /* of ${SOCKET}; "": none */
    char last_exit[LINK_EXIT_MAX + 1]; /* "exit status 3", "killed by SIGSEGV", ...; "": none yet */
};

enum link_listener_kind {
    LINK_LISTENER_DATA,     /* clients: entry `index` of the configuration's listen list */
    LINK_LISTENER_CTL,      /* the ctl socket: admin */
    LINK_LISTENER_ADMIN,    /* [admin] address */
    LINK_LISTENER_REGISTRY, /* [registry] listen: a registry of our own */
    LINK_LISTENER_FACE,     /* behind the advertised port: whether we serve, for other machines */
    LINK_LISTENER_KINDS,
};

/* `index` of a socket that was handed to us and stands in no configuration. */
#define LINK_INDEX_NONE UINT32_MAX

struct link_listener {
    uint32_t id; /* of the socket; the same in every generation that has it */
    enum link_listener_kind kind;
    uint32_t index;
    char address[LINK_SOCKET_MAX + 21]; /* as bound: "127.0.0.1:8900", "unix:/path" */
};

/* What the master counts, for the gateway's metrics. */
struct link_counts {
    uint64_t reloads, reloads_refused; /* configurations that took effect; that were wrong */
    uint64_t gateways;                 /* started so far, this one included */
};

/* What the gateway may ask for. */
enum link_verb {
    LINK_START,   /* a unit that is stopped, exited, parked or in back-off: now */
    LINK_STOP,    /* a unit: TERM at once */
    LINK_DRAIN,   /* a unit: stopped when its requests are done */
    LINK_RESTART, /* a unit: drained, stopped, started */
    LINK_RELOAD,  /* the configuration, as SIGHUP does */
    LINK_VERBS,
};

/* What the gateway's tests say about a unit's process. */
enum link_report {
    LINK_REPORT_READY,  /* it answers (again) */
    LINK_REPORT_SILENT, /* three tests in a row went unanswered: the gateway counts */
    LINK_REPORT_IDLE,   /* draining, and no request is left */
    LINK_REPORTS,
};
