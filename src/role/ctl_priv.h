/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl_priv.h - `inferd ctl` from inside: ctl.c (the command line, orders to the running inferd) and
 * ctl_key.c (the file of API keys, for which nothing has to run).
 */
#pragma once
#include "conf/option.h"
#include "role/ctl_call.h"

enum { CTL_TEXT_BYTES = 64 << 20, CTL_WORDS_MAX = 256 };

#define CTL_OPTIONS(X, T)                                                                          \
    X(T, runtime_dir, STR, UNSET, 1, 96, RESTART,                                                  \
      "The directory of the inferd that is meant. Unset: that of `inferd up` with this user's "    \
      "configuration and environment.")                                                            \
    X(T, config, STR, UNSET, 1, 4096, RESTART,                                                     \
      "The configuration file to look for runtime_dir and keys.file in. Unset: the usual places.") \
    X(T, json, BOOL, false, 0, 0, RESTART, "Prints JSON: what the control socket says.")           \
    X(T, follow, SHORT(f), false, 0, 0, RESTART, "logs: goes on as more is written.")              \
    X(T, file, STR, UNSET, 1, 4096, RESTART, "key: the file of the keys. Unset: keys.file.")       \
    X(T, name, STR, UNSET, 1, 128, RESTART, "key new: whose it is.")                               \
    X(T, models, COMMAS, UNSET, 0, 1000, RESTART,                                                  \
      "key new: the models it may ask for, or beginnings like llama-*. Unset: all.")               \
    X(T, concurrency, U32, UNSET, 1, 1000000, RESTART, "key new: requests at once.")               \
    X(T, requests_per_minute, U32, UNSET, 1, 10000000, RESTART, "key new: their rate.")            \
    X(T, tokens_per_minute, U64, UNSET, 1, 1000000000000, RESTART,                                 \
      "key new: the rate of tokens, of prompts and completions.")                                  \
    X(T, words, REST, UNSET, 1, CTL_WORDS_MAX, RESTART, "The command and its names.")

struct ctl_flags {
    CTL_OPTIONS(OPTION_MEMBER, ctl_flags)
};

struct ctl {
    const struct ctl_flags *flags;
    struct arena *arena;
    const char *socket;
    struct ctl_call *line;
};

/* A sentence on stderr. */
void ctl_complain(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* False when stdout cannot be written, which was told. That a reader has left is no failure. */
bool ctl_print(struct str text);
/* What a running inferd does with its new keys: true when it works by them, or none runs, which is
 * told on stderr, as is a refusal. */
bool ctl_apply(struct ctl *ctl);

/* ctl_key.c: `key new`, `key list`, `key revoke ID...`; the exit status. */
int ctl_key(struct ctl *ctl);
/* What is wrong with the command line; NULL: nothing. */
const char *ctl_key_mistake(const struct ctl_flags *flags);
