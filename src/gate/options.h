/* SPDX-License-Identifier: Apache-2.0
 *
 * options.h - what the configuration decides about requests: [[listen]], [model."x"], [limits] and
 * [retry], and about the place among other machines: [registry].
 * Parsed by role/settings.c; see conf/option.h for the columns. Lengths of time are milliseconds.
 */
#pragma once
#include "conf/option.h"
#include "conf/url.h"
#include "ev/addr.h"
#include "fleet/plan.h"

#define LIMITS_OPTIONS(X, T)                                                                       \
    X(T, connect_ms, U32, 5000, 1, 600000, RELOAD, "Connecting to an engine.")                     \
    X(T, first_byte_ms, U32, 1800000, 1, 86400000, RELOAD,                                         \
      "From the request's last byte to the engine's response head.")                               \
    X(T, idle_ms, U32, 300000, 1, 86400000, RELOAD,                                                \
      "Silence of an engine in the middle of a reply; every byte starts it anew.")                 \
    X(T, head_ms, U32, 10000, 1, 600000, RELOAD, "A client's whole request head.")                 \
    X(T, keepalive_ms, U32, 75000, 1, 86400000, RELOAD,                                            \
      "A client connection idle between requests.")                                                \
    X(T, body_grace_ms, U32, 5000, 1, 600000, RELOAD,                                              \
      "How long a request body may be slow before body_bytes_per_s is asked of it.")               \
    X(T, body_bytes_per_s, U32, 1000, 0, 1073741824, RELOAD,                                       \
      "The least pace of a request body; 0 switches it off.")                                      \
    X(T, stall_ms, U32, 30000, 1, 86400000, RELOAD,                                                \
      "A client that reads nothing of a waiting reply.")                                           \
    X(T, stream_stall_ms, U32, 60000, 1, 86400000, RELOAD, "The same for a stream of events.")     \
    X(T, queue_ms, U32, 30000, 1, 86400000, RELOAD, "How long a request waits for a slot.")        \
    X(T, queue_length, U32, 512, 0, 1000000, RELOAD,                                               \
      "Requests that may wait for slots; 0 refuses at once when all slots are taken.")             \
    X(T, drain_delay_ms, U32, 0, 0, 600000, RELOAD,                                                \
      "At the end: how long /ready already says no while connections are still accepted.")         \
    X(T, drain_ms, U32, 30000, 0, 86400000, RELOAD,                                                \
      "At the end: how long requests may take to finish.")                                         \
    X(T, linger_ms, U32, 2000, 1, 60000, RELOAD,                                                   \
      "How long an early reply's connection still reads and drops before it closes, and "          \
      "again for each 256 KiB that come; 16 MiB at most.")                                         \
    X(T, head_bytes, U32, 32768, 1024, 65535, RELOAD, "A request head (431 beyond it).")           \
    X(T, request_line_bytes, U32, 8192, 256, 65535, RELOAD, "A request line (414 beyond it).")     \
    X(T, headers, U32, 100, 8, 255, RELOAD, "Header fields of a request (431 beyond it).")         \
    X(T, body_bytes, U64, 67108864, 1, 4294967296, RELOAD, "A request body (413 beyond it).")      \
    X(T, buffered_bytes, U64, 268435456, 65536, 1099511627776, RELOAD,                             \
      "All request bodies held at once (503 beyond it).")                                          \
    X(T, unsent_bytes, U64, 536870912, 65536, 1099511627776, RELOAD,                               \
      "All reply bytes held for clients that do not take them; beyond it a stream that adds to "   \
      "them is cut.")                                                                              \
    X(T, connections, U32, 10000, 1, 1000000, RELOAD,                                              \
      "Client connections at once; lowered at start to what the descriptor limit allows.")         \
    X(T, connections_per_address, U32, 256, 1, 1000000, RELOAD,                                    \
      "Connections at once of one address, of IPv6 one /64 (429 beyond it); not of loopback, and " \
      "not "                                                                                       \
      "of trusted_proxies.")

struct limits {
    LIMITS_OPTIONS(OPTION_MEMBER, limits)
    /* 0: no such bound. What only the router has. Its queue_ms may be 0, too: who finds no engine
     * is refused at once. */
    uint32_t reply_ms; /* from the head to the first body byte, and the whole exchange while its
                        * body is held; idle_ms begins behind it. Also instead of stall_ms for an
                        * engine that does not take the request */
    uint32_t move_ms;  /* wait for a head, then the request goes to another engine, once */
};

#define RETRY_OPTIONS(X, T)                                                                        \
    X(T, on, LIST, UNSET, 0, 16, RELOAD,                                                           \
      "What is tried again on another engine, of connect, broken, timeout, 429, 500, 502, 503 "    \
      "and "                                                                                       \
      "504. Unset: all but timeout and 500; []: nothing.")                                         \
    X(T, attempts, U32, 3, 1, 8, RELOAD, "Attempts of one request, the first included.")           \
    X(T, budget_percent, U32, 20, 0, 100, RELOAD,                                                  \
      "Further attempts, of the requests of the last 10 seconds; 10 are always allowed, unless "   \
      "this is 0.")

struct retry_conf {
    RETRY_OPTIONS(OPTION_MEMBER, retry_conf)
    uint32_t mask; /* `on`, as bits of gate/retry.h */
};

#define LISTEN_OPTIONS(X, T)                                                                       \
    X(T, address, STR, REQUIRED, 1, 200, RELOAD,                                                   \
      "\"127.0.0.1:8900\", \"[::1]:8900\" or \"unix:/path\" (mode 0660). Port 0 takes "            \
      "a free one.")                                                                               \
    X(T, hosts, LIST, UNSET, 0, 64, RELOAD,                                                        \
      "Names that the Host field may have, besides the address itself and localhost.")             \
    X(T, origins, LIST, UNSET, 0, 64, RELOAD,                                                      \
      "Web pages that may call, as \"https://chat.example\"; opens CORS for them.")

struct listen_conf {
    LISTEN_OPTIONS(OPTION_MEMBER, listen_conf)
    struct addr addr; /* address, parsed */
};
OPTION_LIST_OF(listen_conf);

#define REGISTRY_SETTINGS_OPTIONS(X, T)                                                            \
    X(T, url, STR, UNSET, 1, 2048, RELOAD,                                                         \
      "The registry where the engines of this machine are registered, as "                         \
      "\"http://10.0.0.1:8081\". Unset: nowhere.")                                                 \
    X(T, advertise, STR, UNSET, 1, 300, RELOAD,                                                    \
      "\"HOST:PORT\" under which other machines reach this one's clients' side; the port behind "  \
      "it is listened on, too. Unset: the first TCP address of [[listen]].")                       \
    X(T, name, STR, UNSET, 1, 128, RELOAD,                                                         \
      "What the names of its engines there begin with. Unset: the host's name.")                   \
    X(T, heartbeat_interval_s, U32, 30, 1, 3600, RELOAD,                                           \
      "Seconds between heartbeats; an engine counts as lost after 120 without one.")               \
    X(T, token_file, STR, UNSET, 1, 4096, RELOAD,                                                  \
      "A file of mode 0600 whose content is the registry's token: what is sent to `url`, and "     \
      "what "                                                                                      \
      "writing to `listen` needs.")                                                                \
    X(T, listen, STR, UNSET, 1, 200, RELOAD,                                                       \
      "Where a registry of our own listens, as \"10.0.0.1:8081\". Unset: there is none.")          \
    X(T, allow_hosts, LIST, UNSET, 0, 1000, RELOAD,                                                \
      "Addresses, networks (10.0.0.0/8) and names that may be registered there. Unset: loopback.") \
    X(T, health_interval_s, U32, 30, 1, 86400, RELOAD, "Seconds between its rounds of probes.")    \
    X(T, health_timeout_s, U32, 5, 1, 3600, RELOAD, "Seconds for one of its probes.")              \
    X(T, cleanup_interval_s, U32, 60, 1, 86400, RELOAD,                                            \
      "Seconds between its sweeps, which remove services without a heartbeat for 300.")            \
    X(T, max_services, U32, 10000, 1, 1000000, RELOAD, "Services registered there at once.")

struct registry_settings {
    REGISTRY_SETTINGS_OPTIONS(OPTION_MEMBER, registry_settings)
    struct url at;    /* url, parsed; URL_NONE without one */
    struct url shown; /* advertise: host, port and, as text, both */
    struct addr face; /* where the port behind it is bound; ADDR_NONE without `url` */
    struct addr addr; /* listen; ADDR_NONE without one */
    struct str token; /* content of token_file, trimmed; p is NULL without one */
};

#define KEYS_OPTIONS(X, T)                                                                         \
    X(T, file, STR, UNSET, 1, 4096, RELOAD,                                                        \
      "The file of the API keys; `inferd ctl key` writes it. With one, every request needs a "     \
      "key.")                                                                                      \
    X(T, failures_per_s, U32, 10, 1, 100000, RELOAD,                                               \
      "Requests without a right key that one client address may make (429 beyond it).")

struct keys_options {
    KEYS_OPTIONS(OPTION_MEMBER, keys_options)
};

/* A [[key]] of the file that keys.file names. */
#define KEY_OPTIONS(X, T)                                                                          \
    X(T, id, STR, REQUIRED, 4, 32, RELOAD, "Public part of the key: lower-case letters, digits.")  \
    X(T, sha256, STR, REQUIRED, 64, 64, RELOAD, "SHA-256 of its secret part, hexadecimal.")        \
    X(T, name, STR, UNSET, 1, 128, RELOAD, "Whose it is; for people.")                             \
    X(T, models, LIST, REQUIRED, 1, 1000, RELOAD,                                                  \
      "Names it may ask for; \"*\" is all of them, \"llama-*\" all that begin so.")                \
    X(T, concurrency, U32, UNSET, 1, 1000000, RELOAD, "Requests at once. Unset: no limit.")        \
    X(T, requests_per_minute, U32, UNSET, 1, 10000000, RELOAD, "Unset: no limit.")                 \
    X(T, tokens_per_minute, U64, UNSET, 1, 1000000000000, RELOAD,                                  \
      "Of prompts and completions. Unset: no limit.")

struct key_conf {
    KEY_OPTIONS(OPTION_MEMBER, key_conf)
    uint8_t digest[32]; /* sha256, read */
};
OPTION_LIST_OF(key_conf);

struct addr_net_list {
    struct addr_net *at;
    size_t n;
};

#define TARGET_OPTIONS(X, T)                                                                       \
    X(T, model, STR, REQUIRED, 1, 256, RELOAD, "A model, by the name its engine knows.")           \
    X(T, weight, U32, 1, 0, 1000, RELOAD,                                                          \
      "Its share of the requests; 0: only while no other can answer.")

struct target_conf {
    TARGET_OPTIONS(OPTION_MEMBER, target_conf)
};
OPTION_LIST_OF(target_conf);

#define MODEL_OPTIONS(X, T)                                                                        \
    X(T, name, NAME, REQUIRED, 1, 256, RELOAD, "The name that clients ask for.")                   \
    X(T, target, STR, UNSET, 1, 256, RELOAD,                                                       \
      "The model that answers, by the name its engine knows. Unset, without `targets`: the name "  \
      "itself.")                                                                                   \
    X(T, targets, TABLES(target_conf), UNSET, 0, PLAN_TARGETS_MAX, RELOAD,                         \
      "Several models that share the requests; a session stays with one of them.")                 \
    X(T, fallbacks, LIST, UNSET, 0, PLAN_FALLBACKS_MAX, RELOAD,                                    \
      "Models that answer, the first that can, when none of the targets does.")

/* A name that stands for others, or for itself with fallbacks. Targets may be such names
 * themselves; loops were refused. */
struct model_conf {
    MODEL_OPTIONS(OPTION_MEMBER, model_conf)
};
OPTION_LIST_OF(model_conf);
