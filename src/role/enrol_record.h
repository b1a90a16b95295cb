/* SPDX-License-Identifier: Apache-2.0
 *
 * enrol_record.h - what a babysitter tells a registry: its own record and its engine's, and the
 * list of models that the second one holds. Pure.
 */
#pragma once
#include "base/json.h"
#include "net/registrar.h"
#include "role/babysitter_conf.h"

/* One record; its slices point into the configuration and into `memory`. */
struct enrol_record {
    struct registrar_record fields;
    struct buf memory;
};
void enrol_record_fini(struct enrol_record *r);

/* Of the babysitter itself, `<name>`. */
void enrol_record_own(const struct babysitter_conf *c, struct enrol_record *ret);
/* Of the engine, `<name>-server`, which has these models; an array. */
void enrol_record_engine(const struct babysitter_conf *c, const struct json *models,
                         struct enrol_record *ret);
/* The models that the configuration names, in [service] or [metadata]; NULL when it names none. */
struct json *enrol_record_models(const struct babysitter_conf *c);
/* The list in an engine's answer: {"data":[...]} or an array, not empty. -E_SYNTAX when it is not
 * JSON or has no such list; otherwise *ret is the caller's. */
int enrol_record_read_models(struct str answer, struct json **ret) MUSTCHECK;
