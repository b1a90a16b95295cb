/* SPDX-License-Identifier: Apache-2.0
 *
 * target.c - the path that a request is taken for. Where the rules resolve dots, what decides
 * between own endpoints and engines is what an engine will see, and nothing climbs out of the path
 * that an engine's URL begins with.
 *
 * Exports: req_ target_
 */
#include "gate/target.h"

#include "gate/lane_priv.h"
#include "gate/request.h"

/* How many dots the segment is made of, 1 or 2; 0: it has anything else. */
static unsigned dots(struct str segment)
{
    unsigned n = 0;

    while (segment.p && segment.n > 0) { /* behind the last slash there is none */
        bool escaped = segment.n >= 3 && str_caseeq(str_head(segment, 3), STR("%2e"));

        if ((!escaped && segment.p[0] != '.') || n == 2)
            return 0;
        segment = str_from(segment, escaped ? 3 : 1);
        n++;
    }
    return n;
}

static bool has_dots(struct str path)
{
    for (size_t i = 0; i + 1 < path.n; i++)
        if (path.p[i] == '/' && (path.p[i + 1] == '.' || path.p[i + 1] == '%'))
            return true;
    return false;
}

void target_resolve(struct str path, struct buf *out)
{
    size_t root = out->n;
    struct str rest = str_from(path, 1);
    bool more;

    do {
        size_t at = str_find(rest, '/');
        struct str segment = str_head(rest, at);
        unsigned n = dots(segment);

        more = at < rest.n;
        rest = str_from(rest, more ? at + 1 : at);
        if (n == 2)
            while (out->n > root && out->p[--out->n] != '/')
                ;
        if (n == 0 || !more)
            buf_char(out, '/');
        if (n == 0)
            buf_add(out, segment);
    } while (more);
}

void req_find_where(struct req *r)
{
    struct str path = http1_str(r->x->head_bytes, r->x->head->path);
    struct buf out;

    r->where = path;
    if (!r->lane->gate->rules->resolves_dots || !has_dots(path))
        return;
    out = buf_on(arena_alloc(&r->x->arena, path.n + 1), path.n + 1);
    target_resolve(path, &out);
    r->where = buf_str(&out);
}
