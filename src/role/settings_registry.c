/* SPDX-License-Identifier: Apache-2.0
 *
 * settings_registry.c - the rules of [registry]: what is served is open to other machines only on
 * purpose, and what is advertised is an address that they can reach, with a port behind it that is
 * free to listen on.
 *
 * Exports: settings_
 */
#include <stdio.h>

#include "gate/access.h"
#include "proto/http1.h"
#include "role/settings_priv.h"
#include "store/hosts.h"

static bool is_taken(const struct settings *s, const struct addr *a)
{
    bool taken = addr_eq(a, &s->admin.addr);

    for (size_t i = 0; i < s->listen.n; i++)
        taken |= addr_eq(a, &s->listen.at[i].addr);
    return taken;
}

/* ---- the registry that is served ---- */

static void check_allowed(struct settings_build *b)
{
    char memory[512];
    struct buf problem = buf_on(memory, sizeof memory);
    struct hosts *hosts = NULL;

    if (hosts_create(&b->settings->registry.allow_hosts, false, &hosts, &problem) < 0)
        settings_complain(b, "registry.allow_hosts", NULL, "%.*s", STR_ARGS(buf_str(&problem)));
    hosts_destroy(&hosts);
}

static void check_served(struct settings_build *b)
{
    const struct settings *s = b->settings;
    struct registry_settings *r = &b->settings->registry;

    check_allowed(b);
    if (!r->listen.p || !settings_check_address(b, "registry.listen", r->listen, &r->addr))
        return;
    if (r->addr.family == ADDR_UNIX)
        settings_complain(b, "registry.listen", NULL, "must be a TCP address");
    else if (r->addr.port != 0 && is_taken(s, &r->addr))
        settings_complain(b, "registry.listen", NULL, "is listened on for something else, too");
    if (!s->insecure && !r->token_file.p && !addr_is_loopback(&r->addr))
        settings_complain(
            b, "registry.listen", NULL,
            "is not a loopback address, and there is no token: anyone who reaches it "
            "could register what they like. registry.token_file names one, --insecure "
            "allows it without");
}

/* ---- the registry that is joined ---- */

static const struct listen_conf *first_tcp(const struct settings *s)
{
    for (size_t i = 0; i < s->listen.n; i++) {
        enum addr_family family = s->listen.at[i].addr.family;

        if (family == ADDR_IP4 || family == ADDR_IP6)
            return &s->listen.at[i];
    }
    return NULL;
}

/* "HOST:PORT" of an address, when others can make something of it. */
static struct str text_of(struct settings_build *b, const struct addr *at)
{
    char memory[ADDR_TEXT_MAX];
    struct buf text = buf_on(memory, sizeof memory);
    const char *lacks = at->port == 0          ? "port is any that is free"
                        : addr_is_wildcard(at) ? "address is every one of this machine"
                                               : NULL;

    if (lacks) {
        settings_complain(b, "registry.url", NULL,
                          "needs registry.advertise, which says where others reach this machine: "
                          "the first [[listen]]'s %s",
                          lacks);
        return STR_NONE;
    }
    addr_write(at, &text);
    return str_span(arena_cstr(b->arena, buf_str(&text)), text.n);
}

/* The host and port that are registered, and where the port behind it is bound. */
static void check_shown(struct settings_build *b, const struct listen_conf *door)
{
    struct registry_settings *r = &b->settings->registry;
    struct gate_listen listen = {.addr = door->addr, .conf = door};
    struct str text = r->advertise.p ? r->advertise : text_of(b, &door->addr), host, port;
    const char *path = r->advertise.p ? "registry.advertise" : "registry.url", *why;

    if (!text.p)
        return;
    if (!http1_target_authority(text, &host, &port) || !port.p ||
        url_parse(arena_printf(b->arena, "http://%.*s", STR_ARGS(text)), &r->shown, &why) < 0) {
        settings_complain(b, path, NULL, "\"%.*s\" is not HOST:PORT, as 10.0.0.5:8900",
                          STR_ARGS(text));
        return;
    }
    if (!access_host_allowed(&listen, r->shown.origin))
        settings_complain(
            b, path, NULL,
            "the first [[listen]] does not answer to \"%.*s\": its `hosts` must have it",
            STR_ARGS(host));
    if (r->shown.port == 65535) {
        settings_complain(b, path, NULL,
                          "others ask the port behind the advertised one for health: there is none "
                          "behind 65535");
        return;
    }
    r->face = door->addr;
    r->face.port = (uint16_t)(r->shown.port + 1);
    if (is_taken(b->settings, &r->face) || addr_eq(&r->face, &r->addr))
        settings_complain(
            b, path, NULL,
            "others ask the port behind the advertised one, %u, for health, and it is "
            "listened on for something else",
            r->face.port);
}

static void check_names(struct settings_build *b)
{
    const struct settings *s = b->settings;
    char path[64];

    if (!s->registry.name.p) {
        settings_complain(b, "registry.url", NULL,
                          "needs registry.name: this machine says no name of its own");
        return;
    }
    for (size_t i = 0; i < s->registry.name.n; i++) {
        if ((unsigned char)s->registry.name.p[i] > ' ' && s->registry.name.p[i] != 0x7f)
            continue;
        settings_complain(b, "registry.name", NULL, "must not have blanks or control characters");
        return;
    }
    for (size_t i = 0; i < s->engine.n + s->remote.n; i++) {
        bool unit = i < s->engine.n;
        size_t k = unit ? i : i - s->engine.n;
        struct str name = unit ? s->engine.at[k].name : s->remote.at[k].name;

        if (s->registry.name.n + 1 + name.n <= 256)
            continue;
        (void)snprintf(path, sizeof path, "%s[%zu].name", unit ? "engine" : "remote", k);
        settings_complain(b, path, NULL,
                          "is too long: behind registry.name and a dash it may have 256 bytes");
    }
}

static void check_joined(struct settings_build *b)
{
    struct registry_settings *r = &b->settings->registry;
    const struct listen_conf *door = first_tcp(b->settings);
    const char *why = "must be http://HOST:PORT";

    if (!r->url.p)
        return;
    if (url_parse(r->url, &r->at, &why) < 0 || r->at.kind != URL_HTTP) {
        settings_complain(b, "registry.url", NULL, "\"%.*s\" %s", STR_ARGS(r->url), why);
        r->at = (struct url){.kind = URL_NONE};
        return;
    }
    check_names(b);
    if (door)
        check_shown(b, door);
    else
        settings_complain(b, "registry.url", NULL,
                          "needs a TCP address in [[listen]]: others cannot reach a Unix socket");
}

void settings_check_registry(struct settings_build *b)
{
    check_served(b);
    check_joined(b);
}
