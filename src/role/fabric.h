/* SPDX-License-Identifier: Apache-2.0
 *
 * fabric.h - what the programs of the fabric (registry, babysitter, router) have in common: the
 * loop of their main thread, one address, the log in its format, the registry token, the rule about
 * being reachable from outside, and the end on a signal. Registry and babysitter also have their
 * server on that loop, with the fabric's limits; the router's servers are its lanes'.
 *
 *   r = fabric_open(&conf, &f);                 2 or 1: the exit status, said on stderr
 *   r = fabric_bind(&f);                        before anything is started
 *   ... parts on f.loop ...
 *   fabric_serve(&f, owner, ctx);               or, with servers of its own, fabric_say_listening()
 *   status = fabric_run(&f);
 *   fabric_close_clients(&f);
 *   ... parts away ...
 *   fabric_close(&f);
 */
#pragma once
#include "base/log.h"
#include "base/metrics.h"
#include "conf/flags.h"
#include "ev/deadline.h"
#include "net/server.h"

#define FABRIC_LOG_FORMAT_WORDS(X)                                                                 \
    X(FABRIC_LOGFMT, "logfmt")                                                                     \
    X(FABRIC_JSON, "json")                                                                         \
    X(FABRIC_SVC, "svc")
OPTION_ENUM(fabric_log_format, FABRIC_LOG_FORMAT_WORDS);

/* Rows that every role of the fabric has, behind its own. */
#define FABRIC_OPTIONS(X, T)                                                                       \
    X(T, listen, STR, UNSET, 1, 64, RESTART,                                                       \
      "The IPv4 or IPv6 address to listen on. Unset: 127.0.0.1; 0.0.0.0 under an infini- name.")   \
    X(T, registry_token_file, STR, UNSET, 1, 4096, RESTART,                                        \
      "A file whose first line is the registry's token; nobody else may read it. "                 \
      "INFERD_REGISTRY_TOKEN_FILE counts under every name.")                                       \
    X(T, insecure, BOOL, false, 0, 0, RESTART,                                                     \
      "Listens beyond loopback without a registry token.")                                         \
    X(T, max_connections, U32, 10000, 1, 1000000, RESTART, "Client connections at once.")          \
    X(T, log_format, WORD(fabric_log_format), svc, 0, 0, RESTART, "Of the lines on stdout.")       \
    X(T, ready_file, STR, UNSET, 1, 4096, RESTART,                                                 \
      "Written once it listens: {\"listen\":[ADDRESS],\"pid\":N}.")

struct fabric_options {
    FABRIC_OPTIONS(OPTION_MEMBER, fabric_options)
};
/* From a role's own struct, which has the rows as members. */
#define FABRIC_OPTIONS_OF(o)                                                                       \
    ((struct fabric_options){(o)->listen, (o)->registry_token_file, (o)->insecure,                 \
                             (o)->max_connections, (o)->log_format, (o)->ready_file})

struct fabric_conf {
    const char *role; /* "registry": the log's target; static */
    bool alias;       /* started under its infini- name */
    uint16_t port;
    struct fabric_options options;
    /* SIGINT, SIGTERM and SIGHUP are the role's, which ends with fabric_end(). NULL: the first two
     * end it, and the third is nobody's. */
    void (*on_signal)(void *ctx, int signo);
    void *ctx;
};

struct fabric {
    struct fabric_conf conf;
    struct loop *loop;
    struct log_writer *log;
    struct addr at;      /* what it listens on */
    struct ev_fd socket; /* bound; fabric_serve() takes it */
    struct str token;    /* "" without one */
    /* of the server on the loop, for its parts as well */
    struct metrics *metrics;
    struct chunk_pool chunks;
    struct arena_cache arenas;
    struct server *server;
    /* private */
    char *token_memory;
    struct listener *listener;
    struct signal_watch *term, *interrupt, *hangup;
    struct notify *notify; /* the service manager; NULL when adopted */
    struct deadline end, look;
    bool stopping;
    bool adopted; /* the log is not its own, nor are the signals */
    uint64_t refused;
};

/* 0; or the exit status, with the reason on stderr: 2 for flags that cannot be, 1 for the rest.
 * After 0 fabric_close() is due. */
int fabric_open(const struct fabric_conf *conf, struct fabric *f) MUSTCHECK;
/* For a role inside another program: on a socket that is bound (*fd is taken) at `at`, with a loop
 * of its own and the log that is there; no command line and no signals. `token` is borrowed.
 * -E_NO_FDS, -E_NO_MEM; after 0 fabric_close() is due. */
int fabric_adopt(const struct fabric_conf *conf, const struct addr *at, struct str token,
                 struct ev_fd *fd, struct fabric *f) MUSTCHECK;
/* The same as fabric_open(): binds, writes nothing yet. Signals wait for fabric_run() from here on.
 */
int fabric_bind(struct fabric *f) MUSTCHECK;
/* The same: says what it listens on, and what is exposed, writes the ready file, and tells the
 * service manager, if one wants to know. */
int fabric_say_listening(struct fabric *f) MUSTCHECK;
/* The loop, until fabric_end(), or loop_stop() of a role with a server of its own: of a signal, if
 * the role does not hear of them itself, and then open requests are given 2 s. The exit status. */
int fabric_run(struct fabric *f) MUSTCHECK;
void fabric_say_stopped(struct fabric *f, int signo);
/* After fabric_close_clients() and the role's parts. */
void fabric_close(struct fabric *f);
/* "Error: what: why" on stderr; 1. */
int fabric_fail(const char *what, const char *why);

/* fabric_server.c. The same: begins to accept, and says so. */
int fabric_serve(struct fabric *f, const struct exchange_owner *owner, void *ctx) MUSTCHECK;
/* fabric_run() stops accepting, gives open requests `ms`, and returns. */
void fabric_end(struct fabric *f, unsigned ms);
/* Closes what clients there are; owners of live exchanges are told. Before the role's parts go. */
void fabric_close_clients(struct fabric *f);
