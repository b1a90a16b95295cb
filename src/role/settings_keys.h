/* SPDX-License-Identifier: Apache-2.0
 *
 * settings_keys.h - the file of API keys as text: read for a configuration, and by `inferd ctl
 * key`.
 */
#pragma once
#include "conf/error.h"
#include "gate/options.h"

/* All of its keys, in their order, in `arena`. -E_CONF with *errors filled. */
int settings_keys_read(struct str source, struct str toml, struct arena *arena,
                       struct conf_errors *errors, struct key_conf_list *ret) MUSTCHECK;
/* What a [[key]] may hold. */
const struct option_table *settings_keys_table(void);
