/* SPDX-License-Identifier: Apache-2.0
 *
 * settings.h - the whole configuration of `inferd up`: the tables of every folder put together,
 * parsed into one immutable, reference-counted picture. Building it has two halves:
 * settings_collect() reads files and the environment into a bundle (the master, at start and at
 * each reload; blocking), and settings_from_bundle() turns a bundle into settings (both processes,
 * no input or output). A reload builds a new one; nothing changes an old one.
 */
#pragma once
#include "base/log.h"
#include "conf/error.h"
#include "conf/flags.h"
#include "conf/option.h"
#include "fleet/options.h"
#include "gate/options.h"
#include "supervise/options.h"

struct bundle;

enum {
    SETTINGS_ENGINES_MAX = 64,
    SETTINGS_REMOTES_MAX = 10000,
    SETTINGS_ALIASES_MAX = 10000,
    SETTINGS_LISTENS_MAX = 64,
};

/* In the order of enum log_format and enum log_level, one higher. */
#define LOG_FORMAT_WORDS(X)                                                                        \
    X(LOG_FORMAT_WORD_LOGFMT, "logfmt")                                                            \
    X(LOG_FORMAT_WORD_JSON, "json")                                                                \
    X(LOG_FORMAT_WORD_SVC, "svc")
OPTION_ENUM(log_format_word, LOG_FORMAT_WORDS);

#define LOG_LEVEL_WORDS(X)                                                                         \
    X(LOG_LEVEL_WORD_OFF, "off")                                                                   \
    X(LOG_LEVEL_WORD_ERROR, "error")                                                               \
    X(LOG_LEVEL_WORD_WARN, "warn")                                                                 \
    X(LOG_LEVEL_WORD_INFO, "info")                                                                 \
    X(LOG_LEVEL_WORD_DEBUG, "debug")                                                               \
    X(LOG_LEVEL_WORD_TRACE, "trace")
OPTION_ENUM(log_level_word, LOG_LEVEL_WORDS);

#define LOG_OPTIONS(X, T)                                                                          \
    X(T, format, WORD(log_format_word), logfmt, 0, 0, RELOAD, "Shape of a record on stdout.")      \
    X(T, level, WORD(log_level_word), info, 0, 0, RELOAD,                                          \
      "The least important level that is written.")

struct log_options {
    LOG_OPTIONS(OPTION_MEMBER, log_options)
};

#define ADMIN_OPTIONS(X, T)                                                                        \
    X(T, address, STR, UNSET, 1, 200, RELOAD,                                                      \
      "A loopback address for /metrics, /services and /stats beside the control socket.")

struct admin_conf {
    ADMIN_OPTIONS(OPTION_MEMBER, admin_conf)
    struct addr addr; /* ADDR_NONE without one */
};

#define PROCESS_OPTIONS(X, T)                                                                      \
    X(T, user, STR, UNSET, 1, 256, RESTART,                                                        \
      "As root: the user that the gateway becomes. Unset: inferd if there is one, else nobody.")

struct process_conf {
    PROCESS_OPTIONS(OPTION_MEMBER, process_conf)
};

#define SETTINGS_OPTIONS(X, T)                                                                     \
    X(T, lanes, U32, UNSET, 1, 64, RESTART,                                                        \
      "Threads that serve clients. Unset: half the cores, at least 1, at most 8.")                 \
    X(T, state_dir, STR, UNSET, 1, 4096, RESTART,                                                  \
      "What outlives a restart. Unset: /var/lib/inferd as root, else $XDG_STATE_HOME/inferd, "     \
      "else ~/.local/state/inferd.")                                                               \
    X(T, runtime_dir, STR, UNSET, 1, 96, RESTART,                                                  \
      "Lock, control socket and engine sockets. Unset: $XDG_RUNTIME_DIR/inferd, else /run/inferd " \
      "as root, else /tmp/inferd-UID.")                                                            \
    X(T, trusted_proxies, LIST, UNSET, 0, 64, RELOAD,                                              \
      "Proxies whose X-Forwarded-For is believed: addresses, ranges like 10.0.0.0/8, \"unix\".")   \
    X(T, insecure, BOOL, false, 0, 0, RELOAD, "Lets it listen off loopback without keys.")         \
    X(T, listen, TABLES_BY(listen_conf, address), UNSET, 0, SETTINGS_LISTENS_MAX, RELOAD,          \
      "Where clients connect. Unset: 127.0.0.1:8900.")                                             \
    X(T, engine, TABLES(engine_conf), UNSET, 0, SETTINGS_ENGINES_MAX, RELOAD,                      \
      "Processes that inferd starts, watches and restarts.")                                       \
    X(T, remote, TABLES(remote_conf), UNSET, 0, SETTINGS_REMOTES_MAX, RELOAD,                      \
      "Engines that run without inferd.")                                                          \
    X(T, model, NAMED(model_conf), UNSET, 0, SETTINGS_ALIASES_MAX, RELOAD,                         \
      "Other names for models. The engine sees its own, the client the one it asked for.")         \
    X(T, affinity, TABLE(affinity_conf), UNSET, 0, 0, RELOAD,                                      \
      "Which engine a session stays with.")                                                        \
    X(T, probe, TABLE(probe_conf), UNSET, 0, 0, RELOAD, "How engines are tested.")                 \
    X(T, registry, TABLE(registry_settings), UNSET, 0, 0, RELOAD,                                  \
      "The registry of several machines: one to be in, one to serve, or both.")                    \
    X(T, keys, TABLE(keys_options), UNSET, 0, 0, RELOAD, "Who may ask.")                           \
    X(T, limits, TABLE(limits), UNSET, 0, 0, RELOAD, "Bounds of time and size.")                   \
    X(T, retry, TABLE(retry_conf), UNSET, 0, 0, RELOAD, "Further attempts on other engines.")      \
    X(T, breaker, TABLE(breaker_conf), UNSET, 0, 0, RELOAD,                                        \
      "When engines and models are left alone for a while.")                                       \
    X(T, log, TABLE(log_options), UNSET, 0, 0, RELOAD, "Records on stdout.")                       \
    X(T, admin, TABLE(admin_conf), UNSET, 0, 0, RELOAD, "The operator's endpoints.")               \
    X(T, process, TABLE(process_conf), UNSET, 0, 0, RESTART, "The processes themselves.")

/* lanes, state_dir and runtime_dir always hold a value here, and `listen` has at least one entry.
 */
struct settings {
    SETTINGS_OPTIONS(OPTION_MEMBER, settings)
    struct str file;              /* the file it came from; p is NULL when there was none */
    struct key_conf_list key;     /* of the file keys.file */
    struct addr_net_list trusted; /* trusted_proxies */
    bool listen_default;          /* nobody configured `listen`: its one entry is 127.0.0.1:8900 */
};

static inline enum log_format settings_log_format(const struct settings *s)
{
    return (enum log_format)(s->log.format - LOG_FORMAT_WORD_LOGFMT);
}

static inline enum log_level settings_log_level(const struct settings *s)
{
    return (enum log_level)(s->log.level - LOG_LEVEL_WORD_OFF);
}

/* Client connections that the limit of descriptors allows: a request may take two, and 64 are for
 * everything else. 0: the limit is below 256, which is not enough to serve. */
uint32_t settings_connections(uint32_t wanted);
/* Descriptors from this number on are for engines, the admin side and the log. */
unsigned settings_fd_ceiling(void);

/* What settings_collect() works from. Borrowed for the call. */
struct settings_source {
    const char *config;         /* of --config; NULL: INFERD_CONFIG, else the usual places */
    const struct bundle *flags; /* of flags_parse(); may be NULL */
    char *const *env;           /* as environ */
};

/* The table of all settings, for flags_parse() and the documentation. */
const struct option_table *settings_table(void);
/* Finds and reads the configuration file and the secrets it names, checks all of it, and gives both
 * forms. -E_CONF with *errors filled. */
int settings_collect(const struct settings_source *src, struct bundle **ret_bundle,
                     struct settings **ret, struct conf_errors *errors) MUSTCHECK;
/* Where the API keys are, when it is configured: of a configuration that may be wrong elsewhere, in
 * whose keys file not even a look is taken. -E_CONF with *errors filled; else *ret is of `arena`,
 * p NULL when there is none. */
int settings_keys_file(const struct settings_source *src, struct arena *arena, struct str *ret,
                       struct conf_errors *errors) MUSTCHECK;
/* Reads nothing but the bundle. -E_CONF with *errors filled. The bundle is not needed after. */
int settings_from_bundle(const struct bundle *b, struct settings **ret,
                         struct conf_errors *errors) MUSTCHECK;
struct settings *settings_ref(struct settings *s);
/* NULL is fine. Any thread; the last one frees, and overwrites the secrets. */
void settings_unref(struct settings **s);
/* Appends the keys that differ but need a restart, ", "-separated; nothing when there are none. */
void settings_restarts(const struct settings *was, const struct settings *is, struct buf *out);
/* Appends every value with its origin, as TOML with comments; secrets and environments are not
 * shown. The bundle is one that settings_from_bundle() took. */
void settings_dump(const struct bundle *b, struct buf *out);
