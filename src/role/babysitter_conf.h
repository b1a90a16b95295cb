/* SPDX-License-Identifier: Apache-2.0
 *
 * babysitter_conf.h - what a babysitter is told: its flags, its TOML file, and the one
 * configuration that the two make. Blocking calls of start-up only. What the keys mean is in
 * docs/babysitter.md.
 */
#pragma once
#include "conf/error.h"
#include "conf/url.h"
#include "role/fabric.h"
#include "supervise/options.h"

enum {
    BABYSITTER_NAME_MAX = 249, /* "<name>-server" has 256 bytes at most */
    BABYSITTER_WEIGHT_MAX = 1000000,
};

/* A flag that is not given leaves room for the file, or for the default. */
#define BABYSITTER_FLAGS(X, T)                                                                     \
    X(T, config_file, STR, UNSET, 1, 4096, RESTART, "The TOML file: see docs/babysitter.md.")      \
    X(T, name, STR, UNSET, 1, BABYSITTER_NAME_MAX, RESTART,                                        \
      "Its name in the registry. Unset: the type and the port, as command-8100.")                  \
    X(T, host, STR, UNSET, 1, 253, RESTART, "The host it registers. Unset: localhost.")            \
    X(T, port, U32, UNSET, 1, 65534, RESTART,                                                      \
      "The engine's port; the babysitter listens on the one behind it.")                           \
    X(T, service_type, STR, UNSET, 1, 64, RESTART,                                                 \
      "What it runs without a file: command, vLLM, mock, InfiniLM-Rust or InfiniLM.")              \
    X(T, path, STR, UNSET, 1, 4096, RESTART, "The model or configuration file of such a type.")    \
    X(T, command, ANY(STR), UNSET, 1, 65536, RESTART,                                              \
      "The command it runs without a file, split at blanks; quotes mean nothing.")                 \
    X(T, args, ANY(STR), UNSET, 0, 65536, RESTART,                                                 \
      "More arguments, split at blanks; for mock the models, split at commas.")                    \
    X(T, work_dir, STR, UNSET, 1, 4096, RESTART, "The engine's working directory.")                \
    X(T, env, ANY(LIST), UNSET, 0, 1000, RESTART,                                                  \
      "KEY=VALUE for the engine's environment; may be repeated.")                                  \
    X(T, registry_url, STR, UNSET, 0, 2048, RESTART, "The registry. Unset: it does not register.") \
    X(T, router_url, STR, UNSET, 0, 2048, RESTART, "Accepted; routers ask the registry.")          \
    X(T, max_restarts, U64, UNSET, 0, UINT32_MAX, RESTART,                                         \
      "Restarts in a row before it gives up. Unset: 10000.")                                       \
    X(T, restart_delay, U32, UNSET, 0, 86400, RESTART,                                             \
      "Seconds before the first restart; they double. Unset: 5.")                                  \
    X(T, heartbeat_interval, U32, UNSET, 1, 86400, RESTART,                                        \
      "Seconds between heartbeats. Unset: 30.")                                                    \
    X(T, dev, STR, UNSET, 1, 64, RESTART, "Handed to InfiniLM.")                                   \
    X(T, ndev, U32, UNSET, 0, 65536, RESTART, "Handed to InfiniLM.")                               \
    X(T, max_batch, U32, UNSET, 0, 1000000, RESTART, "Handed to InfiniLM.")                        \
    X(T, lenient_config, BOOL, false, 0, 0, RESTART,                                               \
      "Unknown keys of the file are warnings. INFERD_LENIENT_CONFIG=1 counts under every name.")   \
    FABRIC_OPTIONS(X, T)

struct babysitter_flags {
    BABYSITTER_FLAGS(OPTION_MEMBER, babysitter_flags)
};

struct babysitter_conf {
    struct str name, host;
    uint16_t port;
    const char *type;    /* as it is reported: "vLLM"; static */
    struct str listen;   /* p NULL: unset */
    struct url registry; /* kind URL_NONE: it does not register */
    uint32_t heartbeat_s;
    struct engine_conf engine; /* the unit */
    uint64_t failures_max;     /* of supervise_conf */
    struct str_list models;    /* [service] models; n 0: asked from the engine */
    uint32_t weight;           /* OPTION_UNSET_U32: none */
    const char *health_path;   /* NULL: the model paths */
    bool register_without_models;
    struct str metadata; /* [metadata] as a JSON object */
};

struct babysitter_input {
    const struct babysitter_flags *flags;
    bool lenient;
    const char *own_program;               /* for type mock */
    struct arena *arena;                   /* for all that the result points to */
    struct conf_errors *errors, *warnings; /* filled */
};

/* 0, or the exit status: 2 for a flag that cannot be, 1 for the rest; *errors says why. */
int babysitter_conf_read(const struct babysitter_input *in, struct babysitter_conf *ret) MUSTCHECK;
