/* SPDX-License-Identifier: Apache-2.0
 *
 * router.c - what the fabric's router says about itself, and which paths are its own: a few, read
 * from control, because they show more than what requests are routed by. Every other path belongs
 * to the engines, except below /_inferd/, which no engine ever sees.
 *
 * A path is its own however it is escaped.
 *
 * Exports: api_router
 */
#include "api/api.h"
#include "api/api_priv.h"
#include "base/metrics.h"
#include "base/percent.h"

enum { PATH_BYTES = 64 }; /* longer than any of ours but {id} */

typedef unsigned answer_fn(const struct gate_own *q, struct buf *out, struct fault *f);

static unsigned answer_metrics(const struct gate_own *q, struct buf *out, struct fault *f)
{
    if (metrics_render(q->metrics, out) < 0) {
        fault_set(f, FAULT_internal_error, "The metrics exceed what one reply may take");
        return 0;
    }
    *q->type = STR(METRICS_CONTENT_TYPE);
    return 200;
}

/* The original has no /metrics: under its name the path is the engines'. */
static const struct {
    struct str path;
    answer_fn *answer;
    bool alias; /* under the infini- name, too */
} endpoints[] = {
    {{"/health", 7}, router_own_health, true},     {{"/status", 7}, router_own_health, true},
    {{"/services", 9}, router_own_services, true}, {{"/stats", 6}, router_own_stats, true},
    {{"/models", 7}, router_own_models, true},     {{"/v1/models", 10}, router_own_models, true},
    {{"/v1/models/", 11}, router_own_model, true}, {{"/_inferd/metrics", 16}, answer_metrics, true},
    {{"/metrics", 8}, answer_metrics, false},
};

/* The path without escapes, or as it is when it is longer than any of ours or no text. */
static struct str plain(struct str path, struct buf *on)
{
    bool escaped = str_find(path, '%') < path.n;

    return escaped && percent_decode(on, path) == 0 ? buf_str(on) : path;
}

/* Whether it is below that folder, which ends in '/'; *rest is what is left, escapes and all. */
static bool below(struct str path, struct str folder, struct str *rest)
{
    for (size_t i = 0; i < folder.n; i++) {
        size_t n = str_starts(path, STR("%")) ? 3 : 1;
        char memory[4];
        struct buf letter = buf_on(memory, sizeof memory);

        if (n == 1 ? path.n == 0 || path.p[0] != folder.p[i]
                   : percent_decode(&letter, str_head(path, n)) < 0 || memory[0] != folder.p[i])
            return false;
        path = str_from(path, n);
    }
    *rest = path;
    return true;
}

struct str router_model_id(struct str path)
{
    struct str id = STR_NONE;

    (void)!below(path, STR("/v1/models/"), &id);
    return id;
}

/* The row of a path, or ARRAY_LEN(endpoints). */
static size_t find(struct str path)
{
    char memory[PATH_BYTES];
    struct buf on = buf_on(memory, sizeof memory);
    struct str models = STR("/v1/models/"), id;
    size_t i = 0;

    path = below(path, models, &id) ? models : plain(path, &on);
    while (i < ARRAY_LEN(endpoints) && !str_eq(path, endpoints[i].path))
        i++;
    return i;
}

static enum path_class others(struct str path)
{
    struct str rest;

    return below(path, STR("/_inferd/"), &rest) ? PATH_UNKNOWN : PATH_ANY;
}

static enum path_class classify(struct str path, uint32_t *kinds)
{
    *kinds = UINT32_MAX;
    return find(path) < ARRAY_LEN(endpoints) ? PATH_ASKED : others(path);
}

static enum path_class classify_alias(struct str path, uint32_t *kinds)
{
    size_t i = find(path);

    *kinds = UINT32_MAX;
    return i < ARRAY_LEN(endpoints) && endpoints[i].alias ? PATH_ASKED : others(path);
}

static bool row(size_t i, struct str *path, enum path_class *c)
{
    if (i >= ARRAY_LEN(endpoints))
        return false;
    *path = endpoints[i].path;
    *c = PATH_ASKED;
    return true;
}

static unsigned answer(const struct gate_own *q, struct buf *out, struct fault *f)
{
    size_t i = find(q->path);

    CHECK(i < ARRAY_LEN(endpoints));
    return endpoints[i].answer(q, out, f);
}

const struct gate_api *api_router(bool alias)
{
    static const struct gate_api own_name = {
        .classify = classify,
        .path = row,
        .own = answer,
        .render_fault = fault_render,
        .render_event = fault_render_event,
    };
    static const struct gate_api infini_name = {
        .classify = classify_alias,
        .path = row,
        .own = answer,
        .render_fault = fault_render,
        .render_event = fault_render_event,
    };

    return alias ? &infini_name : &own_name;
}
