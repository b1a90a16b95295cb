/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve.c - names of the simulated world: literals, localhost, and what a scenario has told
 * names_add(). A name without addresses never answers until E_TIMEOUT; others fail with E_NAME.
 */
#include "ev/resolve.h"

#include <stdio.h>

#include "base/mem.h"
#include "sim/ev/fake.h"
#include "sim/names.h"

enum {
    NAMES_MAX = 8,
    ANSWER_MAX_US = 3000,
    LOST_US = 5000000, /* what a resolver waits */
};

static struct {
    const char *name;
    struct addr addrs[RESOLVE_ADDRS_MAX];
    unsigned n;
} names[NAMES_MAX];

struct resolve {
    struct source source;
    uint64_t at_us;
    int err;
    struct addr addrs[RESOLVE_ADDRS_MAX];
    unsigned n;
    resolve_fn *fn;
    void *ctx;
};

void names_clear(void) { memset(names, 0, sizeof names); }

void names_add(const char *name, const struct addr *addrs, unsigned n)
{
    CHECK(n <= RESOLVE_ADDRS_MAX);
    for (unsigned i = 0; i < NAMES_MAX; i++) {
        if (names[i].name && strcmp(names[i].name, name) != 0)
            continue;
        names[i].name = name;
        names[i].n = n;
        for (unsigned k = 0; k < n; k++)
            names[i].addrs[k] = addrs[k];
        return;
    }
    CHECK(false); /* NAMES_MAX */
}

static bool resolve_ready(struct source *s)
{
    return container_of(s, struct resolve, source)->at_us <= world_now_us();
}

static void resolve_fire(struct source *s)
{
    struct resolve *r = container_of(s, struct resolve, source);

    source_close(s); /* its memory lasts until the end of the turn */
    r->fn(r->ctx, r->err, r->addrs, r->n);
}

static uint64_t resolve_next_us(struct source *s)
{
    return container_of(s, struct resolve, source)->at_us;
}

static const struct source_ops resolve_ops = {"look-up", resolve_ready, resolve_fire,
                                              resolve_next_us};

static void look_up(struct resolve *r, const char *host, uint16_t port)
{
    if (addr_parse_ip(str_of(host), port, &r->addrs[0]) == 0) {
        r->n = 1;
        return;
    }
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (addr_parse_ip(str_of(host), port, &r->addrs[0]) == 0) {
        r->n = 1;
        return;
    }
    r->err = -E_NAME;
    for (unsigned i = 0; i < NAMES_MAX; i++) {
        if (!names[i].name || strcmp(names[i].name, host) != 0)
            continue;
        r->n = names[i].n;
        r->err = r->n ? 0 : -E_TIMEOUT;
        if (!r->n)
            r->at_us += LOST_US;
        for (unsigned k = 0; k < r->n; k++) {
            r->addrs[k] = names[i].addrs[k];
            r->addrs[k].port = port;
        }
    }
}

int resolve_start(struct loop *l, const char *host, uint16_t port, resolve_fn *fn, void *ctx,
                  struct resolve **ret)
{
    struct resolve *r = xnew(struct resolve, .fn = fn, .ctx = ctx);

    r->at_us = world_now_us() + world_random(ANSWER_MAX_US);
    look_up(r, host, port);
    source_open(l, &r->source, &resolve_ops);
    *ret = r;
    return 0;
}

void resolve_cancel(struct resolve **rp)
{
    struct resolve *r = TAKE(rp);

    if (r)
        source_close(&r->source);
}
