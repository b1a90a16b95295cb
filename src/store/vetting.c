/* SPDX-License-Identifier: Apache-2.0
 *
 * vetting.c - the host, then the host of the url: each is judged by the rules and, if these cannot
 * tell, by all of its addresses. One bad address among several refuses it: who decides what a name
 * resolves to also decides in which order.
 */
#include "store/vetting.h"

#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/resolve.h"

enum { RESOLVE_MS = 5000 };

static const char *const parts[] = {"host", "url"};

struct vetting {
    struct loop *loop;
    const struct hosts *hosts;
    char *host, *url; /* names or addresses, without port; url NULL: it has none that could be */
    unsigned at;      /* index of parts[] that is looked at */
    struct vetting_pins pins;
    struct resolve *resolve;
    struct deadline deadline;
    vetting_fn *fn;
    void *ctx;
};

void vetting_drop(struct vetting_pins *pins)
{
    mem_free(TAKE(&pins->host));
    mem_free(TAKE(&pins->url));
}

static void stop_asking(struct vetting *v)
{
    deadline_stop(&v->deadline);
    resolve_cancel(&v->resolve);
}

static void destroy(struct vetting *v)
{
    stop_asking(v);
    vetting_drop(&v->pins);
    mem_free(v->host);
    mem_free(v->url);
    mem_free(v);
}

static void finish(struct vetting *v, int err)
{
    const char *what = err < 0 ? parts[v->at] : "";

    stop_asking(v);
    v->fn(v->ctx, err, what, &v->pins);
    destroy(v);
}

static void pin(struct vetting *v, const struct addr *at, unsigned n)
{
    struct records_pins *p = mem_alloc(sizeof *p + n * sizeof *at);

    p->n = n;
    memcpy(p->at, at, n * sizeof *at);
    *(v->at == 0 ? &v->pins.host : &v->pins.url) = p;
}

static void go_on(struct vetting *v);

static void on_resolved(void *ctx, int err, const struct addr *addrs, unsigned n)
{
    struct vetting *v = ctx;
    struct addr allowed[RESOLVE_ADDRS_MAX];

    v->resolve = NULL;
    for (unsigned i = 0; err == 0 && i < n; i++) {
        allowed[i] = addrs[i];
        if (!hosts_allow(v->hosts, &allowed[i]))
            err = -E_PERM;
    }
    stop_asking(v);
    if (err < 0) {
        finish(v, err);
        return;
    }
    pin(v, allowed, n);
    v->at++;
    go_on(v);
}

static void on_timeout(struct deadline *d)
{
    finish(container_of(d, struct vetting, deadline), -E_TIMEOUT);
}

static void ask(struct vetting *v, const char *name)
{
    int r = resolve_start(v->loop, name, 0, on_resolved, v, &v->resolve);

    if (r < 0) {
        finish(v, r);
        return;
    }
    deadline_arm(v->loop, &v->deadline, RESOLVE_MS, on_timeout);
}

/* The url's host is the host: what was found for the one holds for the other, and no second answer
 * can differ. */
static bool same_again(const struct vetting *v)
{
    return v->at == 1 && v->url && str_caseeq(str_of(v->host), str_of(v->url));
}

static void go_on(struct vetting *v)
{
    for (; v->at < ARRAY_LEN(parts); v->at++) {
        const char *name = v->at == 0 ? v->host : v->url;
        struct addr at[HOSTS_AT_MAX];
        unsigned n = 0;
        enum hosts_verdict verdict;

        if (same_again(v)) {
            if (v->pins.host)
                pin(v, v->pins.host->at, v->pins.host->n);
            continue;
        }
        verdict = name ? hosts_judge(v->hosts, str_of(name), at, &n) : HOSTS_NO;
        if (verdict == HOSTS_NO) {
            finish(v, -E_PERM);
            return;
        }
        if (verdict == HOSTS_ASK) {
            ask(v, name);
            return;
        }
        if (verdict == HOSTS_AT)
            pin(v, at, n);
    }
    finish(v, 0);
}

void vetting_start(struct loop *l, const struct hosts *hosts, struct str host, struct str url,
                   vetting_fn *fn, void *ctx, struct vetting **ret)
{
    struct vetting *v = xnew(struct vetting, .loop = l, .hosts = hosts, .fn = fn, .ctx = ctx);
    struct str of_url;
    uint16_t port;

    *ret = v;
    v->host = str_dup(host);
    if (hosts_any(hosts)) {
        finish(v, 0);
        return;
    }
    if (hosts_of_url(url, &of_url, &port))
        v->url = str_dup(of_url);
    go_on(v);
}

void vetting_cancel(struct vetting **vp)
{
    struct vetting *v = TAKE(vp);

    if (v)
        destroy(v);
}
