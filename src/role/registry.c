/* SPDX-License-Identifier: Apache-2.0
 *
 * registry.c - `inferd registry`: the table of services that babysitters fill and routers read.
 * This file is the command line; what it is made of is role/registry_parts.h's, what it answers
 * api/registry.h's, what it knows store/records.h's, whom it asks store/prober.h's.
 *
 * Nothing is kept on disk: services register again when they are told that nobody knows them.
 */
#include "role/registry.h"

#include <stdio.h>

#include "api/registry.h"
#include "role/fabric.h"
#include "role/registry_parts.h"
#include "role/role.h"

#define REGISTRY_OPTIONS(X, T)                                                                     \
    X(T, port, U32, 8081, 0, 65535, RESTART, "Where it listens; 0 takes any free port.")           \
    X(T, health_interval, U32, 30, 1, 86400, RESTART, "Seconds between rounds of probes.")         \
    X(T, health_timeout, U32, 5, 1, 3600, RESTART, "Seconds for one probe.")                       \
    X(T, cleanup_interval, U32, 60, 1, 86400, RESTART,                                             \
      "Seconds between sweeps, which remove services without a heartbeat for 300.")                \
    X(T, allow_host, LIST, UNSET, 0, 1000, RESTART,                                                \
      "An address, a network (10.0.0.0/8) or a name that may be registered as host and in url. "   \
      "Unset: loopback; everything under the name infini-registry.")                               \
    X(T, deny_port, LIST, UNSET, 0, 1000, RESTART,                                                 \
      "A port that may not be registered at any host, neither as port nor in url (6379).")         \
    X(T, max_services, U32, 10000, 1, 1000000, RESTART, "Services registered at once.")            \
    FABRIC_OPTIONS(X, T)

OPTION_WORDS(fabric_log_format, FABRIC_LOG_FORMAT_WORDS);

struct registry_flags {
    REGISTRY_OPTIONS(OPTION_MEMBER, registry_flags)
};
OPTION_TABLE(registry_flags, REGISTRY_OPTIONS, "A registry.");

struct keeper {
    struct registry_flags options;
    struct fabric fabric;
    struct hosts *hosts;
    struct registry_parts *parts;
};

static void build(struct keeper *k)
{
    struct registry_parts_conf conf = {
        .hosts = k->hosts,
        .health_interval_s = k->options.health_interval,
        .health_timeout_s = k->options.health_timeout,
        .cleanup_interval_s = k->options.cleanup_interval,
        .max_services = k->options.max_services,
    };

    registry_parts_create(&k->fabric, &conf, &k->parts);
}

static int live(struct keeper *k)
{
    struct fabric *f = &k->fabric;
    int status = fabric_bind(f);

    if (status == 0) {
        build(k);
        status = fabric_serve(f, registry_owner(), registry_parts_registry(k->parts));
    }
    if (status == 0)
        status = fabric_run(f);
    fabric_close_clients(f);
    registry_parts_destroy(&k->parts);
    return status;
}

/* 2, and why, when a flag is none. */
static int read_rules(struct keeper *k, bool alias)
{
    char memory[512];
    struct buf problem = buf_on(memory, sizeof memory);
    const char *flag = "--allow-host";
    int r = hosts_create(&k->options.allow_host, alias, &k->hosts, &problem);

    if (r == 0) {
        flag = "--deny-port";
        r = hosts_deny_ports(k->hosts, &k->options.deny_port, &problem);
    }
    if (r < 0)
        fprintf(stderr, "inferd registry: %s: %.*s\n", flag, STR_ARGS(buf_str(&problem)));
    return r < 0 ? 2 : 0;
}

static int start(struct keeper *k, bool alias)
{
    struct fabric_conf conf = {
        .role = "registry",
        .alias = alias,
        .port = (uint16_t)k->options.port,
        .options = FABRIC_OPTIONS_OF(&k->options),
    };
    int status = read_rules(k, alias);

    if (status == 0)
        status = fabric_open(&conf, &k->fabric);
    if (status == 0) {
        status = live(k);
        fabric_close(&k->fabric);
    }
    hosts_destroy(&k->hosts);
    return status;
}

static const char *const aliases[] = {"infini-registry", NULL};
static const char *const examples[] = {
    "inferd registry",
    "on 127.0.0.1:8081, for services of this machine",
    "inferd registry --listen 10.0.0.1 --allow-host 10.0.0.0/24 --insecure",
    "for the machines of a network that trust each other",
    NULL,
};

static int run(int argc, char **argv)
{
    const struct command *c = registry_command();
    struct arena arena;
    struct keeper k = {.parts = NULL};
    int r;

    arena_init(&arena, NULL);
    r = role_start(c, argc, argv, &arena, &k.options, NULL);
    if (r < 0)
        r = start(&k, role_is_alias(c, argv[0]));
    arena_clear(&arena);
    return r;
}

const struct command *registry_command(void)
{
    static const struct command command = {
        .name = "registry",
        .summary = "the table of services: registration, heartbeats, health",
        .text =
            "Services register over HTTP and beat; routers ask who is healthy. A service is "
            "healthy while its status is \"running\" and a heartbeat came within 120 seconds, and "
            "is forgotten after 300. The table is in memory only: after a restart services "
            "register again by themselves.\n\n"
            "Started as infini-registry it listens on every address and lets every host be "
            "registered, as InfiniLM-SVC's registry does. Otherwise INFERD_<FLAG> in the "
            "environment (INFERD_HEALTH_INTERVAL=10) fills flags that are not given. INFERD_LOG or "
            "RUST_LOG set the level of the log.",
        .examples = examples,
        .flags = &registry_flags_options,
        .environment = true,
        .aliases = aliases,
        .run = run,
    };

    return &command;
}
