/* SPDX-License-Identifier: Apache-2.0
 *
 * router_conf.h - the flags of `inferd router`, and the settings of control that they and two
 * variables of the environment make. Flags have the names and defaults of the router that this one
 * replaces; what it has no flag for is as `inferd up` has it by default.
 */
#pragma once
#include "gate/control.h"
#include "role/fabric.h"

#define AUTHORIZATION_WORDS(X)                                                                     \
    X(AUTHORIZATION_WORD_NEVER, "never")                                                           \
    X(AUTHORIZATION_WORD_STATIC, "static")                                                         \
    X(AUTHORIZATION_WORD_ALWAYS, "always")
OPTION_ENUM(authorization_word, AUTHORIZATION_WORDS);

#define ROUTER_OPTIONS(X, T)                                                                       \
    X(T, router_port, U32, 8080, 0, 65535, RESTART, "Where it listens; 0 takes any free port.")    \
    X(T, registry_url, STR, UNSET, 1, 2048, RESTART,                                               \
      "The registry to learn services from, as \"http://127.0.0.1:8081\"; a path is kept.")        \
    X(T, static_services, STR, UNSET, 1, 4096, RESTART,                                            \
      "A JSON file of services that are there without a registry; SIGHUP reads it again.")         \
    X(T, health_interval, U32, 30, 1, 86400, RESTART, "Seconds between rounds of probes.")         \
    X(T, health_timeout, U32, 5, 1, 3600, RESTART, "Seconds for one probe.")                       \
    X(T, registry_sync_interval, U32, 10, 1, 86400, RESTART,                                       \
      "Seconds between questions to the registry.")                                                \
    X(T, service_removal_grace_period, U32, 60, 0, 1000000, RESTART,                               \
      "Seconds that a service stays after the registry stopped naming it.")                        \
    X(T, max_errors, U32, 3, 0, 1000000, RESTART,                                                  \
      "Broken or timed out replies of an engine in a row before nobody is sent there for a while " \
      "(0 counts as 1). A failed connect is enough by itself.")                                    \
    X(T, balance, WORD(balance), UNSET, 0, 0, RESTART,                                             \
      "Who gets a request of no session: the least loaded engine, or each in turn. Unset: "        \
      "least-outstanding.")                                                                        \
    X(T, affinity_load_factor, F64, 1.25, 0, 100, RESTART,                                         \
      "An engine that carries more than so many times its share passes sessions on to the next; "  \
      "at least 1, or 0: never.")                                                                  \
    X(T, affinity_min_load, U32, 8, 1, 1000000, RESTART,                                           \
      "It never does so below this many requests.")                                                \
    X(T, stream_idle_timeout, U32, 300, 1, 86400, RESTART,                                         \
      "Seconds of silence of an engine inside its reply.")                                         \
    X(T, drain_timeout, U32, 8, 1, 86400, RESTART,                                                 \
      "Seconds that open requests may take to finish after SIGTERM.")                              \
    X(T, first_byte_timeout, U32, 0, 0, 86400, RESTART,                                            \
      "Seconds without a reply after which a request moves to another engine, once. 0: never.")    \
    X(T, queue_wait, U32, 0, 0, 86400, RESTART,                                                    \
      "Seconds that a request for a known model may wait for a healthy engine.")                   \
    X(T, trusted_proxies, COMMAS, UNSET, 0, 64, RESTART,                                           \
      "Networks whose X-Forwarded-For is believed, or \"none\". Unset: loopback and private "      \
      "ones.")                                                                                     \
    X(T, forward_authorization, WORD(authorization_word), UNSET, 0, 0, RESTART,                    \
      "Which engines get the client's Authorization: those of the file, all, or none. Unset: "     \
      "static; always under the name infini-router.")                                              \
    X(T, max_body_bytes, U64, 67108864, 1, 4294967296, RESTART, "A request body (413 beyond it).") \
    X(T, max_buffered_bytes, U64, 268435456, 65536, 1099511627776, RESTART,                        \
      "All request bodies held at once (503 beyond it).")                                          \
    X(T, lanes, U32, UNSET, 1, 64, RESTART,                                                        \
      "Threads that serve clients. Unset: half the cores, at least 1, at most 8.")                 \
    FABRIC_OPTIONS(X, T)

struct router_flags {
    ROUTER_OPTIONS(OPTION_MEMBER, router_flags)
};

/* What flags cannot say. */
struct router_env {
    uint32_t proxy_timeout_s; /* PROXY_TIMEOUT_SECONDS: for an engine's head */
    uint64_t static_above;    /* CACHE_TYPE_ROUTING_THRESHOLD: bytes of a request */
    bool alias;               /* it was started under its infini- name */
};

/* The values of the two variables, NULL when unset. False: it cannot be used, and the default
 * holds. */
bool router_env_timeout(const char *text, struct router_env *env);
bool router_env_threshold(const char *text, struct router_env *env);

/* Settings for control_apply(), with an owner of their own; texts stay the flags', which outlive
 * it. -E_CONF with *why, which begins with the flag. */
int router_conf_make(const struct router_flags *flags, const struct router_env *env,
                     struct control_settings *ret, struct buf *why) MUSTCHECK;
/* For who does not hand them to control. */
void router_conf_drop(struct control_settings *s);
