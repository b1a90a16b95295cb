/* SPDX-License-Identifier: Apache-2.0
 *
 * sources.h - where the router's engines come from: the file of static services, handed down by the
 * role, and a registry, asked at the start and then every interval (sync.c). Both go into one table
 * (fleet/entries.h), whose engines are control's members. Control's thread.
 */
#pragma once
#include "conf/url.h"
#include "fleet/entries.h"

struct control;
struct sources; /* opaque */

struct sources_conf {
    const struct url *registry; /* NULL: none is asked */
    struct str token;           /* sent there, and nowhere else; n 0: none */
    uint32_t sync_ms;           /* from one question to the next */
    uint32_t grace_ms;          /* see struct entries_conf */
    uint32_t most;              /* rows of the table */
    const struct listing *file; /* as it is at the start; NULL: there is none */
};

/* *conf and what it points to are borrowed until sources_destroy(), the file until this returns. */
void sources_start(struct control *c, const struct sources_conf *conf, struct sources **ret);
void sources_destroy(struct sources **s);
/* The file was read again. */
void sources_take_file(struct sources *s, const struct listing *l);
/* Every row, good until the next turn of the loop. */
const struct entry_list *sources_entries(const struct sources *s);
