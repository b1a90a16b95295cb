/* SPDX-License-Identifier: Apache-2.0
 *
 * settings_check.c - the rules of a configuration that one row cannot say: texts that must be
 * addresses, urls, names or paths, values that depend on each other, names that must be unique or
 * exist. Mistakes are noted at the line where the value was set. What a text means is kept beside
 * it (addr, at, endpoint). Lists may be long (10,000 remotes), so everything here is linear in
 * them.
 *
 * The rules also run when some values were wrong already, so that one run shows all mistakes: such
 * a value is then unset. What takes several values to judge is left until all of them were read.
 */
#include <limits.h>
#include <stdio.h>

#include "api/api.h"
#include "gate/gate.h"
#include "gate/retry.h"
#include "role/settings_priv.h"

enum { PATH_BYTES = 1024 };

/* Names that must be unique across lists, and what holds them. */
struct names {
    struct map engines; /* engine and remote names to their option path */
    struct map paths;   /* passthrough paths to the name of their owner */
    struct map models;  /* declared models to the name of a declarer */
    struct map aliases; /* alias names to struct model_conf */
    bool asked;         /* some engine's models are only known when it is asked */
};

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return true;
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool all_of(struct str s, const char *others)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && !strchr(others, s.p[i]))
            return false;
    return s.n > 0;
}

static char *path_of(char *memory, const char *list, size_t i, const char *key)
{
    (void)snprintf(memory, PATH_BYTES, "%s[%zu].%s", list, i, key);
    return memory;
}

/* --- top level --- */

/* Written out, so that it is what a dump says; an empty list that was given is another thing. */
static void default_retry(struct settings_build *b, struct str_list *on)
{
    on->at = arena_alloc(b->arena, RETRY_KINDS_N * sizeof *on->at);
    for (unsigned i = 0; i < RETRY_KINDS_N; i++)
        if (RETRY_DEFAULT >> i & 1)
            on->at[on->n++] = str_of(retry_word(i));
}

static void check_retry(struct settings_build *b)
{
    struct retry_conf *c = &b->settings->retry;
    char path[64];

    if (!c->on.at)
        default_retry(b, &c->on);
    c->mask = 0;
    for (size_t i = 0; i < c->on.n; i++) {
        uint32_t bit = retry_bit(c->on.at[i]);

        (void)snprintf(path, sizeof path, "retry.on[%zu]", i);
        if (bit == 0)
            settings_complain(b, path, NULL, "\"%.*s\" is none of %s",
                              (int)str_utf8_cut(c->on.at[i], 64), c->on.at[i].p, retry_words());
        c->mask |= bit;
    }
}

static void check_dir(struct settings_build *b, const char *path, struct str dir)
{
    if (!dir.p)
        settings_complain(b, path, NULL, "is not set");
    else if (dir.p[0] != '/')
        settings_complain(b, path, NULL, "must be an absolute path");
}

static const char *key_of(const char *path) { return strrchr(path, '.') + 1; }

/* A value that may not be more than another; the complaint goes to the one that was set. */
static void check_order(struct settings_build *b, const char *path, uint64_t v,
                        const char *most_path, uint64_t most)
{
    bool other = !settings_place_of(b, str_of(path)) && settings_place_of(b, str_of(most_path));

    if (v > most)
        settings_complain(b, other ? most_path : path, NULL, "%llu is %s than %s, %llu",
                          (unsigned long long)(other ? most : v), other ? "less" : "more",
                          key_of(other ? path : most_path), (unsigned long long)(other ? v : most));
}

static void check_limits(struct settings_build *b)
{
    const struct limits *l = &b->settings->limits;

    check_order(b, "limits.request_line_bytes", l->request_line_bytes, "limits.head_bytes",
                l->head_bytes);
    check_order(b, "limits.body_bytes", l->body_bytes, "limits.buffered_bytes", l->buffered_bytes);
}

bool settings_check_address(struct settings_build *b, const char *path, struct str text,
                            struct addr *ret)
{
    struct str name = str_head(text, str_find(text, ':'));

    if (addr_parse(text, ret) == 0)
        return true;
    if (str_caseeq(name, STR("localhost")))
        settings_complain(b, path, NULL, "names are not looked up: write 127.0.0.1 or [::1]");
    else
        settings_complain(
            b, path, NULL,
            "\"%.*s\" is not an address like 127.0.0.1:8900, [::1]:8900 or unix:/path",
            STR_ARGS(text));
    return false;
}

static void check_admin(struct settings_build *b)
{
    struct admin_conf *admin = &b->settings->admin;

    if (!admin->address.p ||
        !settings_check_address(b, "admin.address", admin->address, &admin->addr))
        return;
    if (admin->addr.family == ADDR_UNIX)
        settings_complain(b, "admin.address", NULL,
                          "must be a TCP address: the control socket is there anyway");
    else if (!addr_is_loopback(&admin->addr))
        settings_complain(b, "admin.address", NULL, "must be a loopback address: it has no keys");
}

/* --- listen --- */

static bool is_host(struct str s)
{
    struct addr ip;

    return s.n <= 253 && (all_of(s, ".-_") || addr_parse_ip(s, 0, &ip) == 0);
}

static bool is_origin(struct str s)
{
    size_t at = str_find_str(s, STR("://"));
    struct str host = str_from(s, at + 3);
    size_t colon;
    uint64_t port = 1;

    if (at == s.n || host.n == 0 || !all_of(str_head(s, at), "+-."))
        return false;
    if (host.p[0] == '[')
        colon = str_find(host, ']') + 1;
    else
        colon = str_find(host, ':');
    if (colon > host.n || (colon < host.n && !str_u64(str_from(host, colon + 1), &port)))
        return false;
    return port >= 1 && port <= 65535 && (colon == host.n || host.p[colon] == ':') &&
           is_host(str_head(host, colon));
}

static void check_listen_lists(struct settings_build *b, const struct listen_conf *l, size_t at)
{
    char path[PATH_BYTES];

    for (size_t i = 0; i < l->hosts.n; i++)
        if (!is_host(l->hosts.at[i]))
            settings_complain(b, path_of(path, "listen", at, "hosts"), NULL,
                              "\"%.*s\" is not a host name or address without a port",
                              STR_ARGS(l->hosts.at[i]));
    for (size_t i = 0; i < l->origins.n; i++)
        if (!is_origin(l->origins.at[i]))
            settings_complain(
                b, path_of(path, "listen", at, "origins"), NULL,
                "\"%.*s\" is not an origin like https://chat.example or http://localhost:3000",
                STR_ARGS(l->origins.at[i]));
}

static bool clashes(const struct addr *a, const struct addr *b)
{
    return addr_eq(a, b) && (a->family == ADDR_UNIX || a->port != 0);
}

static void check_listen(struct settings_build *b)
{
    struct settings *s = b->settings;
    char path[PATH_BYTES];

    for (size_t i = 0; i < s->listen.n; i++) {
        struct listen_conf *l = &s->listen.at[i];

        check_listen_lists(b, l, i);
        (void)path_of(path, "listen", i, "address");
        if (!l->address.p || !settings_check_address(b, path, l->address, &l->addr))
            continue;
        if (!s->insecure && !s->keys.file.p && !addr_is_loopback(&l->addr))
            settings_complain(b, path, NULL,
                              "is not a loopback address, and there are no keys: anyone who "
                              "reaches it could use the models. keys.file names some, --insecure "
                              "allows it without");
        for (size_t j = 0; j < i; j++)
            if (clashes(&l->addr, &s->listen.at[j].addr))
                settings_complain(b, path, NULL, "is the address of listen[%zu], too", j);
        if (clashes(&l->addr, &s->admin.addr))
            settings_complain(b, path, NULL, "is admin.address, too");
    }
}

static void add_default_listen(struct settings_build *b)
{
    struct settings *s = b->settings;

    if (s->listen.n > 0)
        return;
    s->listen.at = arena_new(b->arena, struct listen_conf);
    s->listen.at->address = STR("127.0.0.1:8900");
    s->listen.n = 1;
    s->listen_default = true;
}

static void check_proxies(struct settings_build *b)
{
    const struct str_list *list = &b->settings->trusted_proxies;
    struct addr_net_list *nets = &b->settings->trusted;

    nets->at = arena_alloc(b->arena, max_size(list->n, 1) * sizeof *nets->at);
    for (size_t i = 0; i < list->n; i++) {
        if (addr_net_parse(list->at[i], &nets->at[nets->n]) == 0)
            nets->n++;
        else
            settings_complain(b, "trusted_proxies", NULL,
                              "\"%.*s\" is not an address, a range like 10.0.0.0/8 whose last bits "
                              "are 0, or unix",
                              STR_ARGS(list->at[i]));
    }
}

/* --- engines and remotes --- */

/* What the two have in common, with the option path of their list. */
struct any_engine {
    const char *list;
    size_t i;
    struct str name;
    const struct str_list *models, *passthrough;
};

static void check_name(struct settings_build *b, struct names *n, const struct any_engine *e)
{
    char path[PATH_BYTES];
    const char *other;

    if (e->name.n == 0)
        return;
    (void)path_of(path, e->list, e->i, "name");
    if (!is_alnum(e->name.p[0]) || !all_of(e->name, "._-+:@"))
        settings_complain(
            b, path, NULL,
            "\"%.*s\" must be letters, digits and . _ - + : @, beginning with a letter or digit",
            STR_ARGS(e->name));
    other = map_find(&n->engines, e->name);
    if (other)
        settings_complain(b, path, NULL, "\"%.*s\" is the name of %s, too", STR_ARGS(e->name),
                          other);
    else
        (void)map_put(&n->engines, e->name,
                      arena_cstr(&b->scratch, str_head(str_of(path), str_find(str_of(path), '.'))));
}

static void check_models(struct settings_build *b, struct names *n, const struct any_engine *e)
{
    char path[PATH_BYTES];

    (void)path_of(path, e->list, e->i, "models");
    n->asked |= e->models->n == 0;
    for (size_t i = 0; i < e->models->n; i++) {
        struct str model = e->models->at[i];

        if (model.n == 0 || model.n > 256 || !is_plain(model))
            settings_complain(b, path, NULL,
                              "names must have 1 to 256 bytes and no control characters");
        else
            (void)map_put(&n->models, model, arena_cstr(&b->scratch, e->name));
    }
}

static bool is_path(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '?' || s.p[i] == '#')
            return false;
    return s.n > 0 && s.n <= 1024 && s.p[0] == '/';
}

/* What control asks an engine for; unset is fine. */
static void check_path(struct settings_build *b, const char *path, struct str text)
{
    if (text.p && !is_path(text))
        settings_complain(b, path, NULL, "\"%.*s\" is not a path like /health, without query",
                          STR_ARGS(text));
}

/* Where a path goes that no engine can have for itself; NULL for any other. */
static const char *goes_elsewhere(struct str path)
{
    uint32_t kinds;
    enum path_class c = api_gate()->classify(path, &kinds);

    if (c == PATH_INFERENCE)
        return "goes to the engines of the model that the body names";
    return path_is_own(c) ? "is answered by inferd itself" : NULL;
}

static void check_passthrough(struct settings_build *b, struct names *n, const struct any_engine *e)
{
    char path[PATH_BYTES];
    const char *other, *elsewhere;

    (void)path_of(path, e->list, e->i, "passthrough");
    for (size_t i = 0; i < e->passthrough->n; i++) {
        struct str claimed = e->passthrough->at[i];

        if (!is_path(claimed)) {
            settings_complain(b, path, NULL, "\"%.*s\" is not a path like /slots, without query",
                              STR_ARGS(claimed));
            continue;
        }
        elsewhere = goes_elsewhere(claimed);
        if (elsewhere)
            settings_complain(b, path, NULL, "\"%.*s\" %s: it cannot be passed to one engine",
                              STR_ARGS(claimed), elsewhere);
        other = map_put(&n->paths, claimed, arena_cstr(&b->scratch, e->name));
        if (other)
            settings_complain(b, path, NULL,
                              "\"%.*s\" is claimed by \"%s\", too: it can go to one engine only",
                              STR_ARGS(claimed), other);
    }
}

static bool mentions(const struct engine_conf *e, struct str placeholder)
{
    for (size_t i = 0; i < e->command.n; i++)
        if (str_find_str(e->command.at[i], placeholder) < e->command.at[i].n)
            return true;
    for (size_t i = 0; i < e->env.n; i++)
        if (str_find_str(e->env.at[i].value, placeholder) < e->env.at[i].value.n)
            return true;
    return false;
}

/* The url with its placeholders filled in by something of the right form. */
static struct str filled_in(struct settings_build *b, struct str url)
{
    struct str forms[] = {STR("${PORT}"), STR("${SOCKET}")}, values[] = {STR("27000"), STR("/s")};

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        size_t at = str_find_str(url, forms[i]);

        if (at < url.n)
            url = arena_printf(&b->scratch, "%.*s%.*s%.*s", (int)at, url.p, STR_ARGS(values[i]),
                               STR_ARGS(str_from(url, at + forms[i].n)));
    }
    return url;
}

/* `said` is what the file says, `meant` the same without placeholders. */
static void check_url(struct settings_build *b, const char *path, struct str said, struct str meant,
                      struct url *ret)
{
    const char *why;

    if (url_parse(meant, ret, &why) < 0)
        settings_complain(b, path, NULL, "\"%.*s\" %s", STR_ARGS(said), why);
    else if (str_ends(ret->prefix, STR("/v1"))) /* what clients are told, and would come twice */
        settings_complain(
            b, path, NULL,
            "\"%.*s\" ends with /v1, with which the paths behind it begin: leave it out",
            STR_ARGS(said));
}

static void check_endpoint(struct settings_build *b, struct engine_conf *e, size_t i)
{
    bool port = mentions(e, STR("${PORT}")), socket = mentions(e, STR("${SOCKET}"));
    bool url_port = str_find_str(e->url, STR("${PORT}")) < e->url.n;
    bool url_socket = str_find_str(e->url, STR("${SOCKET}")) < e->url.n;
    char path[PATH_BYTES];
    struct url url;

    (void)path_of(path, "engine", i, "command");
    e->endpoint = port ? ENGINE_AT_PORT : socket ? ENGINE_AT_SOCKET : ENGINE_AT_URL;
    if (port && socket)
        settings_complain(b, path, NULL,
                          "has both ${PORT} and ${SOCKET}: an engine listens on one of them");
    else if (!port && !socket && !e->url.p)
        settings_complain(
            b, path, NULL,
            "has neither ${PORT} nor ${SOCKET}, and no url says where the engine answers");
    (void)path_of(path, "engine", i, "url");
    if ((url_port && !port) || (url_socket && !socket))
        settings_complain(b, path, NULL, "has %s, but command does not tell the engine",
                          url_port && !port ? "${PORT}" : "${SOCKET}");
    else if (e->url.p)
        check_url(b, path, e->url, filled_in(b, e->url), &url);
}

static void check_env(struct settings_build *b, const struct engine_conf *e, size_t i)
{
    char path[PATH_BYTES];

    (void)path_of(path, "engine", i, "env");
    for (size_t j = 0; j < e->env.n; j++) {
        struct str key = e->env.at[j].key;

        if (str_find(key, '=') < key.n)
            settings_complain(b, path, NULL, "\"%.*s\" has an = in it", STR_ARGS(key));
        if (str_eq(key, STR("INFERD_UNIT")))
            settings_complain(b, path, NULL, "INFERD_UNIT is set by inferd itself");
    }
}

static void check_engine(struct settings_build *b, struct names *n, size_t i)
{
    struct engine_conf *e = &b->settings->engine.at[i];
    struct any_engine any = {.list = "engine",
                             .i = i,
                             .name = e->name,
                             .models = &e->models,
                             .passthrough = &e->passthrough};
    char path[PATH_BYTES], other[PATH_BYTES];

    check_name(b, n, &any);
    check_models(b, n, &any);
    check_passthrough(b, n, &any);
    if (e->command.n && e->command.at[0].n == 0)
        settings_complain(b, path_of(path, "engine", i, "command"), NULL,
                          "begins with an empty string");
    if (b->whole)
        check_endpoint(b, e, i);
    check_env(b, e, i);
    check_path(b, path_of(path, "engine", i, "ready_path"), e->ready_path);
    if (b->whole)
        check_order(b, path_of(path, "engine", i, "restart_delay_ms"), e->restart_delay_ms,
                    path_of(other, "engine", i, "restart_max_ms"), e->restart_max_ms);
}

static void check_remote(struct settings_build *b, struct names *n, size_t i)
{
    struct remote_conf *r = &b->settings->remote.at[i];
    struct any_engine any = {.list = "remote",
                             .i = i,
                             .name = r->name,
                             .models = &r->models,
                             .passthrough = &r->passthrough};
    char path[PATH_BYTES];

    check_name(b, n, &any);
    check_models(b, n, &any);
    check_passthrough(b, n, &any);
    if (r->url.p)
        check_url(b, path_of(path, "remote", i, "url"), r->url, r->url, &r->at);
    if (!str_eq(r->probe_path, STR("none")))
        check_path(b, path_of(path, "remote", i, "probe_path"), r->probe_path);
}

static void check_affinity(struct settings_build *b)
{
    const struct affinity_conf *a = &b->settings->affinity;

    if (a->load_factor > 0 && a->load_factor < 1)
        settings_complain(b, "affinity.load_factor", NULL,
                          "must be at least 1, or 0 for no bound: below it the engines together "
                          "could not carry what there is");
    if (a->header.n > 0 && !all_of(a->header, "!#$%&'*+-.^_`|~"))
        settings_complain(b, "affinity.header", NULL, "\"%.*s\" is not the name of a header field",
                          STR_ARGS(a->header));
}

/* --- aliases --- */

static const char *nearest_model(struct settings_build *b, const struct names *n, struct str wrong)
{
    struct str nearest = STR_NONE;
    unsigned best = UINT_MAX;
    struct map_slot *slot;

    for (size_t i = 0; (slot = map_next(&n->models, &i));)
        if (option_nearer(wrong, slot->key, &best))
            nearest = slot->key;
    for (size_t i = 0; (slot = map_next(&n->aliases, &i));)
        if (!str_eq(slot->key, wrong) && option_nearer(wrong, slot->key, &best))
            nearest = slot->key;
    return nearest.p ? arena_cstr(&b->scratch, nearest) : NULL;
}

static char *alias_path(struct settings_build *b, const struct model_conf *alias, const char *key)
{
    char memory[PATH_BYTES];
    struct buf path = buf_on(memory, sizeof memory);

    buf_text(&path, "model.");
    option_print_str(alias->name, &path);
    buf_text(&path, key);
    return arena_cstr(&b->scratch, buf_str(&path));
}

/* The key that says what it stands for; of those that are set, one that has a place. */
static char *said_path(struct settings_build *b, const struct model_conf *alias)
{
    return alias_path(b, alias,
                      alias->target.p        ? ".target"
                      : alias->targets.n > 0 ? ".targets[0].model"
                      : alias->fallbacks.n   ? ".fallbacks"
                                             : "");
}

/* One of the models that an alias names under `path`. */
static void check_model_of(struct settings_build *b, const struct names *n, const char *path,
                           struct str model)
{
    if (model.n == 0 || model.n > 256 || !is_plain(model))
        settings_complain(b, path, NULL,
                          "names must have 1 to 256 bytes and no control characters");
    else if (!n->asked && !map_find(&n->models, model) && !map_find(&n->aliases, model))
        settings_complain(b, path, nearest_model(b, n, model), "no engine has a model \"%.*s\"",
                          STR_ARGS(model));
}

static void check_targets(struct settings_build *b, const struct names *n,
                          const struct model_conf *alias)
{
    for (size_t i = 0; i < alias->targets.n; i++) {
        const struct str model = alias->targets.at[i].model;
        char key[64], *path;

        (void)snprintf(key, sizeof key, ".targets[%zu].model", i);
        path = alias_path(b, alias, key);
        check_model_of(b, n, path, model);
        for (size_t k = 0; k < i; k++)
            if (str_eq(model, alias->targets.at[k].model))
                settings_complain(b, path, NULL,
                                  "\"%.*s\" is targets[%zu], too: give one the weight",
                                  STR_ARGS(model), k);
    }
}

static void check_fallbacks(struct settings_build *b, const struct names *n,
                            const struct model_conf *alias)
{
    const char *path = alias_path(b, alias, ".fallbacks");

    for (size_t i = 0; i < alias->fallbacks.n; i++) {
        struct str model = alias->fallbacks.at[i];

        check_model_of(b, n, path, model);
        if (str_eq(model, alias->name))
            settings_complain(b, path, NULL, "\"%.*s\" cannot fall back to itself",
                              STR_ARGS(model));
        for (size_t k = 0; k < i; k++)
            if (str_eq(model, alias->fallbacks.at[k]))
                settings_complain(b, path, NULL, "has \"%.*s\" twice", STR_ARGS(model));
    }
}

static void check_alias(struct settings_build *b, const struct names *n,
                        const struct model_conf *alias)
{
    const char *owner = map_find(&n->models, alias->name);
    bool itself = !alias->target.p && alias->targets.n == 0;

    if (!is_plain(alias->name))
        settings_complain(b, said_path(b, alias), NULL, "names must not have control characters");
    if (alias->target.p && alias->targets.n > 0)
        settings_complain(b, alias_path(b, alias, ".targets[0].model"), NULL,
                          "`target` is set, too: one of them says who answers");
    if (itself && alias->fallbacks.n == 0)
        settings_complain(b, said_path(b, alias), NULL, "needs `target`, `targets` or `fallbacks`");
    else if (itself && !owner && !n->asked)
        settings_complain(b, said_path(b, alias), nearest_model(b, n, alias->name),
                          "no engine has a model \"%.*s\", and no target says who answers",
                          STR_ARGS(alias->name));
    if (owner && !itself)
        settings_complain(b, said_path(b, alias), NULL,
                          "\"%.*s\" is a model of \"%s\": an alias of that name would hide it",
                          STR_ARGS(alias->name), owner);
    if (alias->target.p)
        check_model_of(b, n, alias_path(b, alias, ".target"), alias->target);
    check_targets(b, n, alias);
    check_fallbacks(b, n, alias);
}

/* The i-th name that an alias stands for; NULL behind the last. */
static const struct str *target_of(const struct model_conf *alias, size_t i)
{
    if (alias->target.p)
        return i == 0 ? &alias->target : NULL;
    return i < alias->targets.n ? &alias->targets.at[i].model : NULL;
}

/* Where a walk has come to. */
struct hop {
    const struct model_conf *alias;
    size_t next; /* of its targets */
};

/* Walks from one alias to its targets and theirs, each alias once in all walks: `seen` is 1 while
 * it is on the way, which is how a circle is met, and 2 after. */
static void walk(struct settings_build *b, const struct names *n, struct hop *way,
                 unsigned char *seen, const struct model_conf *from)
{
    const struct model_conf *all = b->settings->model.at;
    size_t depth = 0;

    if (seen[from - all])
        return;
    way[depth++] = (struct hop){from, 0};
    seen[from - all] = 1;
    while (depth > 0) {
        struct hop *hop = &way[depth - 1];
        const struct str *target = target_of(hop->alias, hop->next++);
        const struct model_conf *to = target ? map_find(&n->aliases, *target) : NULL;

        if (!target) {
            seen[hop->alias - all] = 2;
            depth--;
        } else if (to && seen[to - all] == 0) {
            seen[to - all] = 1;
            way[depth++] = (struct hop){to, 0};
        } else if (to && seen[to - all] == 1) {
            settings_complain(b, said_path(b, to), NULL,
                              "is a target of its own target: the aliases go in a circle");
        }
    }
}

/* Fallbacks make no circles: a fallback's own fallbacks are not followed. */
static void check_loops(struct settings_build *b, const struct names *n)
{
    const struct model_conf_list *list = &b->settings->model;
    unsigned char *seen = arena_zalloc(&b->scratch, max_size(list->n, 1));
    struct hop *way = arena_alloc(&b->scratch, max_size(list->n, 1) * sizeof *way);

    for (size_t i = 0; i < list->n; i++)
        walk(b, n, way, seen, &list->at[i]);
}

void settings_check(struct settings_build *b)
{
    struct settings *s = b->settings;
    struct names n = {.asked = false};

    map_init(&n.engines, 0);
    map_init(&n.paths, 0);
    map_init(&n.models, 0);
    map_init(&n.aliases, 0);
    if (s->lanes == OPTION_UNSET_U32)
        settings_complain(b, "lanes", NULL, "is not set");
    check_dir(b, "state_dir", s->state_dir);
    check_dir(b, "runtime_dir", s->runtime_dir);
    if (b->whole)
        check_limits(b);
    check_affinity(b);
    check_path(b, "probe.path", s->probe.path);
    check_retry(b);
    check_admin(b);
    add_default_listen(b);
    check_listen(b);
    settings_check_registry(b);
    check_proxies(b);
    for (size_t i = 0; i < s->engine.n; i++)
        check_engine(b, &n, i);
    for (size_t i = 0; i < s->remote.n; i++)
        check_remote(b, &n, i);
    for (size_t i = 0; i < s->model.n; i++)
        (void)map_put(&n.aliases, s->model.at[i].name, &s->model.at[i]);
    for (size_t i = 0; b->whole && i < s->model.n; i++)
        check_alias(b, &n, &s->model.at[i]);
    if (b->whole)
        check_loops(b, &n);
    map_fini(&n.engines);
    map_fini(&n.paths);
    map_fini(&n.models);
    map_fini(&n.aliases);
}
