/* SPDX-License-Identifier: Apache-2.0
 *
 * options.h - [[remote]]: an engine that runs without inferd; [affinity]: which engine a session
 * stays with; [probe]: how all engines are tested. Parsed by role/settings.c; see conf/option.h for
 * the columns. Lengths of time are milliseconds.
 */
#pragma once
#include "conf/cache_type.h"
#include "conf/engine_kind.h"
#include "conf/option.h"
#include "conf/url.h"

#define BREAKER_OPTIONS(X, T)                                                                      \
    X(T, broken, U32, 3, 0, 1000, RELOAD,                                                          \
      "Replies of an engine that break in a row before nobody is sent there for a while. A "       \
      "failed "                                                                                    \
      "connect is enough by itself. 0: replies that break do not count.")                          \
    X(T, model_failures, U32, 5, 0, 1000, RELOAD,                                                  \
      "Answers 429 or 5xx, or none in time, of one model of an engine in a row before others are " \
      "preferred for a while. 0: they do not count.")

struct breaker_conf {
    BREAKER_OPTIONS(OPTION_MEMBER, breaker_conf)
};

#define REMOTE_OPTIONS(X, T)                                                                       \
    X(T, name, STR, REQUIRED, 1, 256, RELOAD, "Its name in logs and metrics.")                     \
    X(T, url, STR, REQUIRED, 1, 2048, RELOAD,                                                      \
      "\"http://host:port\" or \"unix:/path\", without /v1.")                                      \
    X(T, api_key_file, STR, UNSET, 1, 4096, RELOAD,                                                \
      "A file of mode 0600 whose content is sent as the bearer token.")                            \
    X(T, models, LIST, UNSET, 0, 1024, RELOAD,                                                     \
      "Models it answers for. Unset: asked from the engine, at start and every 5 s.")              \
    X(T, slots, U32, 0, 0, 65535, RELOAD,                                                          \
      "Requests at once, more wait; 0: the engine queues by itself.")                              \
    X(T, weight, U32, 1, 1, 1000, RELOAD, "Its share among engines of the same model.")            \
    X(T, kind, WORD(engine_kind), UNSET, 0, 0, RELOAD,                                             \
      "Which program it is. Unset: asked from the engine.")                                        \
    X(T, cache_type, WORD(cache_type), UNSET, 0, 0, RELOAD,                                        \
      "How it keeps its cache, for routers that read the registry. Unset: not said.")              \
    X(T, passthrough, LIST, UNSET, 0, 64, RELOAD,                                                  \
      "Paths that go to this engine although they are not inference, as \"/slots\".")              \
    X(T, probe_path, STR, UNSET, 1, 1024, RELOAD,                                                  \
      "What its tests ask for; \"none\": it is not tested. Unset: as [probe] path.")

struct remote_conf {
    REMOTE_OPTIONS(OPTION_MEMBER, remote_conf)
    struct url at;      /* url, parsed */
    struct str api_key; /* content of api_key_file, trimmed; p is NULL without one */
};
OPTION_LIST_OF(remote_conf);

#define AFFINITY_OPTIONS(X, T)                                                                     \
    X(T, enabled, BOOL, true, 0, 0, RELOAD,                                                        \
      "Requests of one session go to one engine, which has seen their beginning before: by "       \
      "`prompt_cache_key`, else `user`, else the header.")                                         \
    X(T, header, STR, "x-session-id", 0, 64, RELOAD,                                               \
      "The request header that names a session; empty: none.")                                     \
    X(T, load_factor, F64, 1.25, 0, 100, RELOAD,                                                   \
      "An engine that carries more than so many times its share passes sessions on to the next; "  \
      "at least 1, or 0: never.")                                                                  \
    X(T, min_load, U32, 8, 1, 1000000, RELOAD, "It never does so below this many requests.")

struct affinity_conf {
    AFFINITY_OPTIONS(OPTION_MEMBER, affinity_conf)
};

/* Who gets a request that belongs to no session: the least loaded engine, with turns among equals,
 * or whose turn it is whatever they carry. */
#define BALANCE_WORDS(X)                                                                           \
    X(BALANCE_LEAST_OUTSTANDING, "least-outstanding")                                              \
    X(BALANCE_ROUND_ROBIN, "round-robin")
OPTION_ENUM(balance, BALANCE_WORDS); /* balance_unset: least-outstanding */

#define PROBE_OPTIONS(X, T)                                                                        \
    X(T, interval_ms, U32, 2000, 0, 3600000, RELOAD,                                               \
      "From one test of an engine to the next, half of it while one is doubtful; 0: only units "   \
      "are tested.")                                                                               \
    X(T, timeout_ms, U32, 1000, 1, 3600000, RELOAD, "A test without an answer by then failed.")    \
    X(T, failures, U32, 3, 1, 1000, RELOAD,                                                        \
      "Failed tests in a row after which an engine gets no requests.")                             \
    X(T, successes, U32, 2, 1, 1000, RELOAD,                                                       \
      "Answered tests in a row after which it gets requests again.")                               \
    X(T, path, STR, UNSET, 1, 1024, RELOAD,                                                        \
      "What tests ask for: an answer below 500 is good. Unset: /health, and /v1/models of "        \
      "engines that have no such path.")

struct probe_conf {
    PROBE_OPTIONS(OPTION_MEMBER, probe_conf)
};
