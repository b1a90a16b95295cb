/* SPDX-License-Identifier: Apache-2.0
 *
 * options.h - [[engine]]: a process that inferd starts, watches and restarts. Parsed by
 * role/settings.c; see conf/option.h for the columns. Lengths of time are milliseconds.
 */
#pragma once
#include "conf/cache_type.h"
#include "conf/engine_kind.h"
#include "conf/option.h"
#include "conf/url.h"

#define UNIT_RESTART_WORDS(X)                                                                      \
    X(UNIT_RESTART_ALWAYS, "always")                                                               \
    X(UNIT_RESTART_FAILURE, "on-failure")                                                          \
    X(UNIT_RESTART_NEVER, "never")
OPTION_ENUM(unit_restart, UNIT_RESTART_WORDS);

#define ENGINE_OPTIONS(X, T)                                                                       \
    X(T, name, STR, REQUIRED, 1, 256, RELOAD, "Its name in logs, metrics and `inferd ctl`.")       \
    X(T, command, LIST, REQUIRED, 1, 1024, RELOAD,                                                 \
      "Program and arguments, one string each; no shell. ${PORT} or ${SOCKET} is filled in.")      \
    X(T, models, LIST, UNSET, 0, 1024, RELOAD,                                                     \
      "Models it answers for. Unset: asked from the engine.")                                      \
    X(T, slots, U32, 0, 0, 65535, RELOAD,                                                          \
      "Requests at once, more wait; 0: the engine queues by itself.")                              \
    X(T, weight, U32, 1, 1, 1000, RELOAD, "Its share among engines of the same model.")            \
    X(T, kind, WORD(engine_kind), UNSET, 0, 0, RELOAD,                                             \
      "Which program it is. Unset: asked from the engine.")                                        \
    X(T, cache_type, WORD(cache_type), UNSET, 0, 0, RELOAD,                                        \
      "How it keeps its cache, for routers that read the registry. Unset: not said.")              \
    X(T, passthrough, LIST, UNSET, 0, 64, RELOAD,                                                  \
      "Paths that go to this engine although they are not inference, as \"/slots\".")              \
    X(T, url, STR, UNSET, 1, 2048, RELOAD,                                                         \
      "Where it answers. Unset: http://127.0.0.1:${PORT} or unix:${SOCKET}.")                      \
    X(T, ready_path, STR, UNSET, 1, 1024, RELOAD,                                                  \
      "Answers 2xx when the engine is ready. Unset: /health, then /v1/models.")                    \
    X(T, ready_timeout_ms, U32, 0, 0, 86400000, RELOAD,                                            \
      "Restarted when it is not ready by then; 0 waits for ever.")                                 \
    X(T, hang_timeout_ms, U32, 0, 0, 86400000, RELOAD,                                             \
      "Restarted when it was unresponsive for this long; 0 never.")                                \
    X(T, live_interval_ms, U32, UNSET, 1, 3600000, RELOAD,                                         \
      "Between two tests whether it still answers. Unset: as [probe] interval_ms.")                \
    X(T, live_timeout_ms, U32, UNSET, 1, 3600000, RELOAD,                                          \
      "A test without an answer by then failed; [probe] failures of them in a row make it "        \
      "unresponsive. Unset: as [probe] timeout_ms.")                                               \
    X(T, restart, WORD(unit_restart), always, 0, 0, RELOAD,                                        \
      "Whether it is started again when it ends.")                                                 \
    X(T, restart_delay_ms, U32, 1000, 0, 86400000, RELOAD,                                         \
      "Before the first restart; doubles each time.")                                              \
    X(T, restart_max_ms, U32, 60000, 0, 86400000, RELOAD, "The longest that delay becomes.")       \
    X(T, stable_ms, U32, 60000, 1, 86400000, RELOAD, "Ready for this long resets the delay.")      \
    X(T, stop_grace_ms, U32, 8000, 0, 3600000, RELOAD, "Between SIGTERM and SIGKILL.")             \
    X(T, work_dir, STR, UNSET, 1, 4096, RELOAD, "Its working directory. Unset: inferd's.")         \
    X(T, user, STR, UNSET, 1, 256, RELOAD,                                                         \
      "The user it runs as, when inferd is root. Unset: inferd's.")                                \
    X(T, env, MAP, UNSET, 0, 256, RELOAD,                                                          \
      "Variables over inferd's own environment, which is passed without INFERD_*, LISTEN_*, "      \
      "NOTIFY_SOCKET and WATCHDOG_*.")

/* How the engine is told where to listen. */
enum engine_endpoint {
    ENGINE_AT_PORT,   /* ${PORT} in command or env: a port of 27000-27999 */
    ENGINE_AT_SOCKET, /* ${SOCKET} there: a path in the runtime directory */
    ENGINE_AT_URL,    /* neither: `url` says it */
};

struct engine_conf {
    ENGINE_OPTIONS(OPTION_MEMBER, engine_conf)
    enum engine_endpoint endpoint;
};
OPTION_LIST_OF(engine_conf);
