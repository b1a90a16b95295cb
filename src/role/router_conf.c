/* SPDX-License-Identifier: Apache-2.0
 *
 * router_conf.c - see router_conf.h.
 *
 * Exports: router_env_
 */
#include "role/router_conf.h"

#include "base/mem.h"
#include "gate/retry.h"
#include "role/settings.h"

enum { PROXY_TIMEOUT_S = 1800, STATIC_ABOVE = 51200, TRUSTED_MAX = 64 };

OPTION_TABLE(limits, LIMITS_OPTIONS, "As without a configuration.");
OPTION_TABLE(retry_conf, RETRY_OPTIONS, "As without a configuration.");

/* What the settings point to. */
struct router_conf {
    struct limits limits;
    struct probe_conf probe;
    struct retry_conf retry;
    struct breaker_conf breaker;
    struct affinity_conf affinity;
    struct addr_net nets[TRUSTED_MAX];
    struct addr_net_list trusted;
};

/* ---- the environment ---- */

bool router_env_timeout(const char *text, struct router_env *env)
{
    uint64_t n;

    env->proxy_timeout_s = PROXY_TIMEOUT_S;
    if (!text)
        return true;
    if (!str_u64(str_trim(str_of(text)), &n) || n < 1 || n > UINT32_MAX / 1000)
        return false;
    env->proxy_timeout_s = (uint32_t)n;
    return true;
}

bool router_env_threshold(const char *text, struct router_env *env)
{
    uint64_t n;

    env->static_above = STATIC_ABOVE;
    if (!text)
        return true;
    if (!str_u64(str_trim(str_of(text)), &n))
        return false;
    env->static_above = n;
    return true;
}

/* ---- settings ---- */

static void set_limits(struct limits *l, const struct router_flags *f, const struct router_env *env)
{
    l->first_byte_ms = l->reply_ms = env->proxy_timeout_s * 1000;
    l->move_ms = f->first_byte_timeout * 1000;
    l->idle_ms = f->stream_idle_timeout * 1000;
    l->queue_ms = f->queue_wait * 1000;
    l->drain_ms = f->drain_timeout * 1000;
    l->body_bytes = f->max_body_bytes;
    l->buffered_bytes = f->max_buffered_bytes;
    l->connections = settings_connections(f->max_connections);
    l->connections_per_address = UINT32_MAX; /* its clients are few, and behind proxies */
}

/* Without the flag, who is near. */
static const char *const near[] = {
    "127.0.0.0/8", "::1", "unix", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
};

static int set_trusted(struct router_conf *c, const struct str_list *list, struct buf *why)
{
    c->trusted.at = c->nets;
    if (list->n == 1 && str_eq(list->at[0], STR("none")))
        return 0;
    for (size_t i = 0; list->n == 0 && i < ARRAY_LEN(near); i++)
        CHECK(addr_net_parse(str_of(near[i]), &c->nets[c->trusted.n++]) == 0);
    for (size_t i = 0; i < list->n; i++) {
        if (addr_net_parse(list->at[i], &c->nets[c->trusted.n++]) == 0)
            continue;
        buf_printf(why,
                   "--trusted-proxies: \"%.*s\" is not an address, or a network like 10.0.0.0/8 "
                   "whose last bits are 0",
                   STR_ARGS(str_head(list->at[i], 64)));
        return -E_CONF;
    }
    return 0;
}

static int check(const struct router_flags *f, const struct router_conf *c, struct buf *why)
{
    if (f->affinity_load_factor > 0 && f->affinity_load_factor < 1)
        buf_text(why, "--affinity-load-factor: must be 0 or at least 1");
    else if (c->limits.connections == 0)
        buf_text(why, "--max-connections: fewer than 256 descriptors are allowed to this process");
    else
        return 0;
    return -E_CONF;
}

static void drop(void *owner) { xfree(owner); }

void router_conf_drop(struct control_settings *s) { drop(TAKE(&s->owner)); }

static enum forward_authorization authorization(const struct router_flags *f, bool alias)
{
    switch (f->forward_authorization) {
    case AUTHORIZATION_WORD_NEVER:
        return AUTHORIZATION_NEVER;
    case AUTHORIZATION_WORD_STATIC:
        return AUTHORIZATION_STATIC;
    case AUTHORIZATION_WORD_ALWAYS:
        return AUTHORIZATION_ALWAYS;
    case authorization_word_unset:
        break;
    }
    return alias ? AUTHORIZATION_ALWAYS : AUTHORIZATION_STATIC;
}

static void describe(struct router_conf *c, const struct router_flags *f,
                     const struct router_env *env, struct control_settings *ret)
{
    static const struct listen_conf any_host;
    static const struct listen_conf_list listens = {(struct listen_conf *)(uintptr_t)&any_host, 1};
    static const struct engine_conf_list no_engines;
    static const struct remote_conf_list no_remotes;
    static const struct model_conf_list no_aliases;

    *ret = (struct control_settings){
        .limits = &c->limits,
        .probe = &c->probe,
        .retry = &c->retry,
        .breaker = &c->breaker,
        .listens = &listens,
        .engines = &no_engines,
        .remotes = &no_remotes,
        .aliases = &no_aliases,
        .affinity = &c->affinity,
        .balance = f->balance,
        .static_above = env->static_above,
        .authorization = authorization(f, env->alias),
        .trusted = &c->trusted,
        .registry_url = f->registry_url,
        .owner = c,
        .unref = drop,
    };
    while (ret->registry_url.n > 0 && ret->registry_url.p[ret->registry_url.n - 1] == '/')
        ret->registry_url.n--;
}

int router_conf_make(const struct router_flags *f, const struct router_env *env,
                     struct control_settings *ret, struct buf *why)
{
    struct router_conf *c = xnew(struct router_conf, .trusted.n = 0);
    struct arena arena;

    arena_init(&arena, NULL);
    option_defaults(&limits_options, &c->limits, &arena);
    option_defaults(&retry_conf_options, &c->retry, &arena);
    arena_clear(&arena); /* of lists, which are empty */
    set_limits(&c->limits, f, env);
    c->retry.mask = RETRY_CONNECT | RETRY_BROKEN;
    c->probe = (struct probe_conf){.interval_ms = f->health_interval * 1000,
                                   .timeout_ms = f->health_timeout * 1000,
                                   .failures = 1,
                                   .successes = 1};
    c->breaker = (struct breaker_conf){.broken = f->max_errors > 0 ? f->max_errors : 1};
    c->affinity = (struct affinity_conf){.enabled = true,
                                         .header = STR(""),
                                         .load_factor = f->affinity_load_factor,
                                         .min_load = f->affinity_min_load};
    if (check(f, c, why) < 0 || set_trusted(c, &f->trusted_proxies, why) < 0) {
        xfree(c);
        return -E_CONF;
    }
    describe(c, f, env, ret);
    return 0;
}
