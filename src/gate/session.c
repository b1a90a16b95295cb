/* SPDX-License-Identifier: Apache-2.0
 *
 * session.c - which session a request belongs to, so that it can go to the engine that has seen the
 * session's beginning. The first of these that is there and that the rules take names it: the
 * body's `prompt_cache_key`, its `user`, the header that [affinity] names; who is behind a trusted
 * proxy and with which program. What has another type, no byte or too many is as if it were not
 * there: nothing about a session is ever an error. Nothing is remembered: the session's text
 * decides (fleet/rendezvous.h).
 *
 * Exports: req_
 */
#include "base/digest.h"
#include "gate/caller.h"
#include "gate/choice.h"
#include "gate/lane_priv.h"

enum { CALLER_BYTES = 8 }; /* of a digest */

static bool take_field(struct req *r, unsigned row, struct str source)
{
    const struct jsonindex_field *f = r->index ? &r->index->fields[row] : NULL;

    if (!f || !f->has_text || f->text.n == 0)
        return false;
    r->session = (struct rendezvous_key){source, f->text};
    return true;
}

static bool take_header(struct req *r, struct str name)
{
    const struct http1_head *h = r->x->head;

    for (unsigned i = 0; name.n > 0 && i < h->nfields; i++) {
        struct str value = http1_str(r->x->head_bytes, h->field[i].value);

        if (value.n > 0 && str_caseeq(http1_str(r->x->head_bytes, h->field[i].name), name)) {
            r->session = (struct rendezvous_key){STR("header"), value};
            return true;
        }
    }
    return false;
}

/* The first element of X-Forwarded-For, where the peer may say so; it need not be an address. */
static struct str first_forwarded(const struct req *r)
{
    const struct http1_head *h = r->x->head;

    if (!caller_trusted(lane_conf(r->snap)->trusted, &r->x->peer))
        return STR_NONE;
    for (unsigned i = 0; i < h->nfields; i++) {
        struct str list = http1_str(r->x->head_bytes, h->field[i].value);

        if (str_caseeq(http1_str(r->x->head_bytes, h->field[i].name), STR("x-forwarded-for")))
            return str_trim(str_cut(&list, ','));
    }
    return STR_NONE;
}

/* Named by the beginning of a digest of both. */
static bool take_caller(struct req *r)
{
    struct str first = first_forwarded(r);
    struct str program = http1_value(r->x->head, r->x->head_bytes, HTTP1_USER_AGENT);
    uint8_t digest[DIGEST_BYTES];
    struct buf both;
    char *hex;

    if (first.n == 0)
        return false;
    both = buf_on(arena_alloc(&r->x->arena, first.n + program.n), first.n + program.n);
    buf_add(&both, first);
    buf_add(&both, program);
    digest_sha256(buf_str(&both), digest);
    hex = arena_alloc(&r->x->arena, 2 * CALLER_BYTES + 1);
    digest_hex(digest, CALLER_BYTES, hex);
    r->session = (struct rendezvous_key){STR("ip"), str_span(hex, 2 * (size_t)CALLER_BYTES)};
    return true;
}

void req_find_session(struct req *r)
{
    const struct gate_rules *rules = r->lane->gate->rules;
    const struct affinity_conf *a = lane_conf(r->snap)->affinity;

    if (!a || !a->enabled)
        return;
    if (take_field(r, WANT_PROMPT_CACHE_KEY, STR("prompt_cache")) ||
        (rules->session_of_user &&
         (take_field(r, WANT_USER, STR("user")) || take_header(r, a->header))) ||
        (rules->session_of_caller && take_caller(r)))
        metrics_count(&r->lane->shard.sessions);
}

/* The settings may have changed since: another snapshot is pinned after a grant. */
bool req_keep_session(const struct req *r, struct select_facts *facts)
{
    const struct affinity_conf *a = lane_conf(r->snap)->affinity;

    if (r->session.value.n == 0 || !a || !a->enabled)
        return false;
    facts->affinity = a;
    facts->session = rendezvous_session(r->target.p ? r->target : STR("default"), r->session.source,
                                        r->session.value);
    return true;
}
