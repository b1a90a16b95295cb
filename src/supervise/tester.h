/* SPDX-License-Identifier: Apache-2.0
 *
 * tester.h - asks one engine on a known port whether it is there: free to be taken before a start,
 * ready after it, alive from then on. Two addresses are tried: 127.0.0.1 and the host that the
 * engine is known by. Pure HTTP client: what follows is the owner's. Loop thread only.
 *
 *   rest --tester_watch()--> starting --on_report(READY)--> living --on_report(SILENT, READY...)
 *    ^---------------------- tester_rest() ------------------------'
 */
#pragma once
#include "conf/url.h"
#include "link/link.h"
#include "net/client.h"

struct tester; /* opaque */

struct tester_conf {
    struct loop *loop;
    struct chunk_pool *chunks; /* outlives the tester */
    struct str host;           /* name or literal without brackets; borrowed */
    uint16_t port;
    const char *path; /* answers 2xx when it is ready; borrowed. NULL: /v1/models, then /models,
                         where 404 will do, too */
    /* READY: it answers (again). SILENT: three tests in a row were not answered. */
    void (*on_report)(void *ctx, enum link_report what);
    /* Not ready for TESTER_SLOW_MS; once a start. */
    void (*on_slow)(void *ctx);
    /* The answer to tester_ask_place(). */
    void (*on_place)(void *ctx, bool taken);
    void *ctx;
};

enum { TESTER_SLOW_MS = 30000 };

/* Where it was found ready. */
struct tester_place {
    struct url at;
    struct pool *pool; /* keeps no idle connections: an engine may serve one at a time */
};

void tester_create(const struct tester_conf *conf, struct tester **ret);
/* NULL is fine. Questions of others on its places must have ended. */
void tester_destroy(struct tester **t);
/* Whether anybody takes connections there; on_place() follows, later than this call. What was asked
 * before is forgotten. */
void tester_ask_place(struct tester *t);
/* A process was started: is it ready? */
void tester_watch(struct tester *t);
/* There is nothing to test. No callback until one of the above. */
void tester_rest(struct tester *t);
/* NULL until it was ready for the first time since tester_watch(). */
const struct tester_place *tester_place(const struct tester *t);
