/* SPDX-License-Identifier: Apache-2.0
 *
 * router.c - `inferd router`: the fabric's front door. One process with the request path of
 * `inferd up` (gate/) and no master: control on this thread, each lane on one of its own, and rules
 * and paths of its own (gate/rules.h, api/router.c). This file is the command line, the order in
 * which the parts come and go, and the signals.
 *
 * SIGHUP reads the static services again. SIGTERM and SIGINT: nobody is let in any more, what is
 * open may finish for --drain-timeout, the rest is told that it ends here. A second one ends it at
 * once.
 */
#include "role/router.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "base/digest.h"
#include "base/mem.h"
#include "gate/control.h"
#include "gate/sources.h"
#include "role/lanes.h"
#include "role/role.h"
#include "role/router_conf.h"
#include "role/services_file.h"
#include "role/settings.h"

OPTION_WORDS(fabric_log_format, FABRIC_LOG_FORMAT_WORDS);
OPTION_WORDS(balance, BALANCE_WORDS);
OPTION_WORDS(authorization_word, AUTHORIZATION_WORDS);
OPTION_TABLE(router_flags, ROUTER_OPTIONS, "A router.");

struct router {
    struct router_flags options;
    struct router_env env;
    bool odd_timeout, odd_threshold; /* the environment's could not be used */
    struct fabric fabric;
    struct control_settings settings;
    struct url registry;
    struct sources_conf sources;
    struct gate gate;
    struct control *control;
    struct lanes lanes;
    bool stopping;
    int status;
};

/* ---- control's side ---- */

static void start_lanes(void *ctx, struct snapshot *first)
{
    struct router *r = ctx;
    uint32_t n = r->options.lanes;

    lanes_start(&r->lanes, &r->gate, n == OPTION_UNSET_U32 ? lanes_default() : n, first);
}

static void on_taken(void *ctx, uint32_t generation)
{
    struct router *r = ctx;

    (void)generation; /* there is one */
    r->status = fabric_say_listening(&r->fabric);
}

static void on_drained(void *ctx)
{
    struct router *r = ctx;

    loop_stop(r->fabric.loop);
}

static const struct control_ops ops = {
    .start_lanes = start_lanes,
    .on_taken = on_taken,
    .on_drained = on_drained,
};

/* 0; or the file is not taken, and *why says for what. */
static int read_services(struct router *r, struct listing *ret, struct buf *why)
{
    return services_file_read(r->options.static_services.p, r->gate.seed, r->fabric.loop,
                              r->fabric.log, ret, why);
}

/* A file that cannot be taken changes nothing. */
static void reload(struct router *r)
{
    struct fabric *f = &r->fabric;
    char memory[LOG_TEXT_BYTES];
    struct buf why = buf_on(memory, sizeof memory);
    struct listing file;
    struct log_rec *rec;

    if (!r->options.static_services.p || r->stopping)
        return;
    if (read_services(r, &file, &why) < 0) {
        rec = log_begin(f->log, LOG_ERROR, loop_wall_us(f->loop), "router",
                        "the static services stay as they are");
        log_str_cut(rec, "why", buf_str(&why), LOG_TEXT_BYTES);
        log_end(rec);
        return;
    }
    rec =
        log_begin(f->log, LOG_INFO, loop_wall_us(f->loop), "router", "static services read again");
    log_u64(rec, "services", file.n);
    log_end(rec);
    control_take_services(r->control, &file);
    listing_fini(&file);
}

static void on_signal(void *ctx, int signo)
{
    struct router *r = ctx;

    if (signo == SIGHUP) {
        reload(r);
        return;
    }
    if (r->stopping) {
        loop_stop(r->fabric.loop);
        return;
    }
    r->stopping = true;
    fabric_say_stopped(&r->fabric, signo);
    control_drain(r->control);
}

/* ---- start ---- */

static void warn_of(struct router *r, const char *variable, bool odd)
{
    struct fabric *f = &r->fabric;
    struct log_rec *rec;

    if (!odd)
        return;
    rec = log_beginf(f->log, LOG_WARN, loop_wall_us(f->loop), "router",
                     "%s is no number that could be used: the default holds", variable);
    log_end(rec);
}

static void set_gate(struct router *r, bool alias)
{
    r->gate.api = api_router(alias);
    r->gate.rules = &gate_rules_router;
    r->gate.seed = digest_random_u64();
    r->gate.id_prefix = (uint32_t)digest_random_u64();
    r->gate.fd_ceiling = settings_fd_ceiling();
}

/* The one address, as control hands it to the lanes. */
static void open_door(struct router *r)
{
    struct link_listener is = {.id = 1, .kind = LINK_LISTENER_DATA};
    struct buf at = buf_on(is.address, sizeof is.address);

    addr_write(&r->fabric.at, &at);
    (void)buf_cstr(&at);
    control_listener(r->control, 1, &is, &r->fabric.socket);
}

/* The status for a registry that can be none. */
static int set_sources(struct router *r)
{
    const char *why;

    r->sources = (struct sources_conf){
        .token = r->fabric.token,
        .sync_ms = r->options.registry_sync_interval * 1000,
        .grace_ms = r->options.service_removal_grace_period * 1000,
        .most = ENTRIES_MAX,
    };
    r->settings.sources = &r->sources;
    if (!r->settings.registry_url.p)
        return 0;
    if (url_parse(r->settings.registry_url, &r->registry, &why) < 0) {
        fprintf(stderr, "inferd router: --registry-url: %s\n", why);
        return 2;
    }
    if (r->registry.kind != URL_HTTP) {
        fprintf(stderr, "inferd router: --registry-url: must be \"http://host:port\"\n");
        return 2;
    }
    r->sources.registry = &r->registry;
    return 0;
}

/* Control, and what it begins with. */
static int begin(struct router *r)
{
    char memory[LOG_TEXT_BYTES];
    struct buf why = buf_on(memory, sizeof memory);
    struct listing file = {.rows = NULL};

    if (r->options.static_services.p && read_services(r, &file, &why) < 0) {
        fprintf(stderr, "Error: %.*s\n", STR_ARGS(buf_str(&why)));
        return 1;
    }
    r->sources.file = &file;
    clients_create(r->gate.seed, &r->gate.clients);
    control_create(&r->gate, r->fabric.loop, &ops, r, &r->control);
    open_door(r);
    control_apply(r->control, 1, &r->settings);
    r->sources.file = NULL;
    listing_fini(&file);
    return r->status;
}

static int live(struct router *r)
{
    struct fabric *f = &r->fabric;
    int status = set_sources(r);

    if (status == 0)
        status = fabric_bind(f);
    warn_of(r, "PROXY_TIMEOUT_SECONDS", r->odd_timeout);
    warn_of(r, "CACHE_TYPE_ROUTING_THRESHOLD", r->odd_threshold);
    if (status == 0)
        status = begin(r);
    if (!r->control) {
        router_conf_drop(&r->settings);
        return status;
    }
    if (status == 0)
        status = fabric_run(f);
    lanes_end(&r->lanes);
    control_destroy(&r->control);
    clients_destroy(&r->gate.clients);
    return status;
}

static int start(struct router *r, bool alias)
{
    struct fabric_conf conf = {
        .role = "router",
        .alias = alias,
        .port = (uint16_t)r->options.router_port,
        .options = FABRIC_OPTIONS_OF(&r->options),
        .on_signal = on_signal,
        .ctx = r,
    };
    char memory[512];
    struct buf why = buf_on(memory, sizeof memory);
    int status;

    r->odd_timeout = !router_env_timeout(getenv("PROXY_TIMEOUT_SECONDS"), &r->env);
    r->odd_threshold = !router_env_threshold(getenv("CACHE_TYPE_ROUTING_THRESHOLD"), &r->env);
    r->env.alias = alias;
    role_raise_descriptors();
    if (router_conf_make(&r->options, &r->env, &r->settings, &why) < 0) {
        fprintf(stderr, "inferd router: %.*s\n", STR_ARGS(buf_str(&why)));
        return 2;
    }
    status = fabric_open(&conf, &r->fabric);
    if (status != 0) {
        router_conf_drop(&r->settings);
        return status;
    }
    set_gate(r, alias);
    status = live(r);
    fabric_close(&r->fabric);
    return status;
}

static const char *const aliases[] = {"infini-router", NULL};
static const char *const examples[] = {
    "inferd router --registry-url http://127.0.0.1:8081",
    "on 127.0.0.1:8080, for the services of a registry",
    "inferd router --static-services services.json --listen 10.0.0.1 --insecure",
    "for a network that may use the engines of a file",
    NULL,
};

static int run(int argc, char **argv)
{
    const struct command *c = router_command();
    struct router *r = xnew(struct router, .status = 0);
    struct arena arena;
    int status;

    arena_init(&arena, NULL);
    status = role_start(c, argc, argv, &arena, &r->options, NULL);
    if (status < 0)
        status = start(r, role_is_alias(c, argv[0]));
    arena_clear(&arena);
    xfree(r);
    return status;
}

const struct command *router_command(void)
{
    static const struct command command = {
        .name = "router",
        .summary = "one OpenAI endpoint over the engines of a registry or a file",
        .text =
            "Requests go to a healthy engine of the model that they name: sessions stay where "
            "their cache is, the rest goes where least is under way. Engines come from a registry, "
            "which is asked every few seconds, from a JSON file, or from both. Engines are probed, "
            "and one that fails is left alone for a while.\n\n"
            "Started as infini-router it listens on every address and hands the client's "
            "Authorization to every engine, as InfiniLM-SVC's router does. Otherwise "
            "INFERD_<FLAG> in the environment (INFERD_HEALTH_INTERVAL=10) fills flags that are not "
            "given. PROXY_TIMEOUT_SECONDS (1800) bounds the wait for an engine's reply, "
            "CACHE_TYPE_ROUTING_THRESHOLD (51200) is the size in bytes beyond which a request "
            "prefers an engine with a static cache. INFERD_LOG or RUST_LOG set the level of the "
            "log.",
        .examples = examples,
        .flags = &router_flags_options,
        .environment = true,
        .aliases = aliases,
        .run = run,
    };

    return &command;
}
