/* SPDX-License-Identifier: Apache-2.0
 *
 * api_priv.h - the files of api/ to each other. The functions are those of struct gate_api
 * (gate/gate.h) and the parts that own.c puts together.
 */
#pragma once
#include "base/jsonw.h"
#include "gate/gate.h"

/* paths.c */
enum path_class paths_classify(struct str path, uint32_t *kinds);
bool paths_row(size_t i, struct str *path, enum path_class *c);
/* Its streams' events have names, which clients go by. */
bool paths_names_events(struct str path);
/* The escaped {id} of "/v1/models/{id}"; n 0 when `path` is none. */
struct str paths_model_id(struct str path);

/* own.c */
unsigned own_answer(const struct gate_own *q, struct buf *out, struct fault *f);
/* The object of the model with that escaped id, which `put` appends, or is false when there is
 * none.
 */
unsigned own_model(const struct gate_own *q, struct str escaped,
                   bool (*put)(const struct gate_own *q, struct str id, struct buf *out),
                   struct buf *out, struct fault *f);

/* service.c: one service, as /services and /stats show it. */
struct service {
    struct str babysitter_url, host, name, url; /* n 0: null */
    bool healthy;
    const char *listed, *origin;
    void (*put_metadata)(struct jsonw *w, const void *metadata);
    const void *metadata;
    const struct str *models;
    uint32_t nmodels, weight;
    uint16_t port;
    uint64_t requests;
    const struct cell *cell;
};

/* All of them. */
struct services {
    const struct gate_own *q;
    uint32_t n, healthy;
    void (*put)(struct jsonw *w, const struct gate_own *q); /* each with service_put() */
};

void service_put(struct jsonw *w, const struct service *s);
void service_put_names(struct jsonw *w, const struct str *names, uint32_t n);
/* The bodies of /health, /services, /stats. */
void service_health(const struct services *s, struct buf *out);
void service_list(const struct services *s, struct buf *out);
void service_stats(const struct services *s, struct buf *out);

/* router.c: the escaped {id} of "/v1/models/{id}". */
struct str router_model_id(struct str path);

/* router_own.c: see gate_api.own. */
unsigned router_own_health(const struct gate_own *q, struct buf *out, struct fault *f);
unsigned router_own_services(const struct gate_own *q, struct buf *out, struct fault *f);
unsigned router_own_stats(const struct gate_own *q, struct buf *out, struct fault *f);
unsigned router_own_models(const struct gate_own *q, struct buf *out, struct fault *f);
unsigned router_own_model(const struct gate_own *q, struct buf *out, struct fault *f);

/* models.c: OpenAI's list, and one object of it, of what `key` may use (NULL: all). False when
 * nobody who is healthy serves `id`, or the key may not use it. */
void models_list(const struct snapshot *s, const struct key *key, struct buf *out);
bool models_one(const struct snapshot *s, const struct key *key, struct str id, struct buf *out);
/* What an engine says about its k-th model. */
void models_put(struct jsonw *w, const struct engine *e, uint32_t k);

/* fault.c */
void fault_render(const struct fault *f, struct buf *out);
void fault_render_event(const struct fault *f, struct str path, uint64_t events, struct buf *out);
