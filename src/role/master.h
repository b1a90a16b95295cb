/* SPDX-License-Identifier: Apache-2.0
 *
 * master.h - the process behind `inferd up`: it reads the configuration, holds the listening
 * sockets, starts and watches the gateway and the engines, and does nothing else. It speaks no TCP.
 */
#pragma once
#include "role/settings.h"

/* Borrowed for the master's life. */
struct master_source {
    struct settings_source settings; /* also for every reload */
    const char *ready_file;          /* NULL: none */
    uint64_t nofile;                 /* the soft limit of descriptors as we got it */
};

/* Runs until a signal ends it. Takes *settings and *bundle, the first configuration. Returns the
 * exit status. */
int master_run(const struct master_source *src, struct settings **settings, struct bundle **bundle);
