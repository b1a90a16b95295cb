/* SPDX-License-Identifier: Apache-2.0
 *
 * gateway.c - `inferd gateway`: the process that talks to clients and engines. It gives up what it
 * does not need before its first thread, then assembles gate/: control on this thread, each lane on
 * one of its own. Everything it works with comes over the link; it reads no file. It ends when the
 * master closes the link or dies.
 */
#include "role/gateway.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"
#include "base/digest.h"
#include "base/mem.h"
#include "conf/bundle.h"
#include "ev/sandbox.h"
#include "gate/linked.h"
#include "link/link.h"
#include "role/lanes.h"
#include "role/registry_thread.h"
#include "role/role.h"
#include "role/settings.h"

#define GATEWAY_OPTIONS(X, T)                                                                      \
    X(T, parent, U32, REQUIRED, 1, INT32_MAX, RESTART, "The master's process number.")             \
    X(T, lanes, U32, REQUIRED, 1, GATE_LANES_MAX, RESTART, "Threads that serve clients.")          \
    X(T, log_format, U32, 0, 0, LOG_SVC, RESTART, "Number of the format.")                         \
    X(T, log_level, U32, 3, 0, LOG_TRACE, RESTART, "Number of the level.")                         \
    X(T, user, STR, UNSET, 1, SANDBOX_USER_MAX - 1, RESTART, "Who to become, for the log.")        \
    X(T, uid, U32, UNSET, 0, UINT32_MAX - 1, RESTART, "The user to become.")                       \
    X(T, gid, U32, UNSET, 0, UINT32_MAX - 1, RESTART, "The group to become.")                      \
    X(T, deny_kill, BOOL, false, 0, 0, RESTART, "Forbidden system calls kill.")

struct gateway_flags {
    GATEWAY_OPTIONS(OPTION_MEMBER, gateway_flags)
};
OPTION_TABLE(gateway_flags, GATEWAY_OPTIONS, "A gateway.");

struct gateway {
    const struct gateway_flags *flags;
    struct gate gate;
    struct loop *loop;
    struct log_writer *log;
    struct linked *linked;
    struct lanes lanes;
    struct registry_thread *registry; /* NULL: none is served */
};

/* ---- configurations ---- */

/* Settings as control holds them: the limits are this process's, lowered to its descriptors. */
struct holder {
    struct settings *settings;
    struct limits limits;
};

static void drop_holder(void *owner)
{
    struct holder *h = owner;

    settings_unref(&h->settings);
    xfree(h);
}

static void describe(struct holder *h, struct control_settings *ret)
{
    const struct settings *s = h->settings;

    h->limits = s->limits;
    h->limits.connections = settings_connections(s->limits.connections);
    *ret = (struct control_settings){
        .limits = &h->limits,
        .probe = &s->probe,
        .retry = &h->settings->retry,
        .breaker = &h->settings->breaker,
        .listens = &s->listen,
        .engines = &s->engine,
        .remotes = &s->remote,
        .aliases = &s->model,
        .affinity = &s->affinity,
        .keys = s->keys.file.p ? &s->key : NULL,
        .trusted = &s->trusted,
        .failures_per_s = s->keys.failures_per_s,
        .registry = &s->registry,
        .discover = s->file.p == NULL,
        .owner = h,
        .unref = drop_holder,
    };
}

static int parse(void *ctx, struct str bytes, struct control_settings *ret, struct buf *why)
{
    struct settings *settings = NULL;
    struct bundle *bundle = NULL;
    struct conf_errors errors;
    struct arena arena;
    int r;

    (void)ctx;
    arena_init(&arena, NULL);
    error_init(&errors, &arena);
    r = bundle_decode(bytes, &bundle);
    if (r < 0)
        buf_printf(why, "the configuration did not arrive whole: %s", err_text(r));
    else
        r = settings_from_bundle(bundle, &settings, &errors);
    if (r < 0 && errors.n)
        error_print(&errors.at[0], why);
    else if (r == 0)
        describe(xnew(struct holder, .settings = settings), ret);
    bundle_destroy(&bundle);
    arena_clear(&arena);
    return r < 0 ? -E_CONF : 0;
}

static void on_commit(void *ctx, void *owner)
{
    const struct holder *h = owner;

    (void)ctx;
    log_set_format(settings_log_format(h->settings));
    log_set_level(settings_log_level(h->settings));
}

/* ---- lanes ---- */

static void start_lanes(void *ctx, struct snapshot *first)
{
    struct gateway *g = ctx;

    lanes_start(&g->lanes, &g->gate, g->flags->lanes, first);
}

/* ---- the registry ---- */

static void serve_registry(void *ctx, const struct registry_settings *s, const char *address,
                           const struct ev_fd *fd)
{
    struct gateway *g = ctx;
    int r = registry_thread_settle(&g->registry, s, address, fd);
    struct log_rec *rec;

    if (r == 0)
        return;
    rec = log_begin(g->log, LOG_ERROR, loop_wall_us(g->loop), "gateway",
                    "the registry cannot be served");
    log_err(rec, "error", r);
    log_end(rec);
}

/* ---- its life ---- */

static void on_over(void *ctx)
{
    struct gateway *g = ctx;

    loop_stop(g->loop);
}

static const struct linked_ops ops = {
    .parse = parse,
    .on_commit = on_commit,
    .start_lanes = start_lanes,
    .serve_registry = serve_registry,
    .on_over = on_over,
};

/* Before any thread. */
static int give_up_rights(const struct gateway_flags *f, struct sandbox_report *report)
{
    struct sandbox_user user = {.uid = f->uid, .gid = f->gid};
    bool becomes = f->user.p != NULL;
    int r;

    if (becomes)
        memcpy(user.name, f->user.p, f->user.n + 1);
    r = sandbox_enter(becomes ? &user : NULL, f->deny_kill ? SANDBOX_KILL : SANDBOX_REFUSE,
                      (int)f->parent, report);
    if (r < 0)
        fprintf(stderr, "Error: the gateway cannot give up its rights: %s\n", err_text(r));
    return r;
}

static void say_sandbox(struct log_writer *log, struct loop *l, const struct gateway_flags *f,
                        const struct sandbox_report *report)
{
    struct log_rec *r = log_begin(log, LOG_INFO, loop_wall_us(l), "gateway", "sandbox");

    if (report->user_changed)
        log_str(r, "user", f->user);
    log_bool(r, "no_new_privs", true);
    log_bool(r, "filtered", report->filtered);
    if (report->why_not)
        log_text(r, "why_not", report->why_not);
    log_end(r);
}

static int live(struct gateway *g, const struct sandbox_report *report)
{
    struct ev_fd link = {LINK_FD};
    int r = loop_create(&g->loop);

    g->log = log_writer_create();

    if (r == 0)
        r = linked_create(&g->gate, g->loop, &link, &ops, g, &g->linked);
    if (r < 0) {
        fprintf(stderr,
                "Error: `inferd gateway` is started by `inferd up` and by nobody else: %s\n",
                err_text(r));
    } else {
        say_sandbox(g->log, g->loop, g->flags, report);
        loop_run(g->loop);
        lanes_end(&g->lanes);
        registry_thread_stop(&g->registry);
        linked_destroy(&g->linked);
    }
    loop_destroy(&g->loop);
    log_writer_destroy(&g->log);
    return r < 0 ? 1 : 0;
}

static int serve(const struct gateway_flags *f)
{
    struct gateway *g = xnew(struct gateway, .flags = f);
    struct log_conf log = {.format = (enum log_format)f->log_format,
                           .level = (enum log_level)f->log_level,
                           .fd = STDOUT_FILENO};
    struct sandbox_report report;
    int status = 1;

    if (fcntl(LINK_FD, F_SETFD, FD_CLOEXEC) < 0) {
        fprintf(stderr, "Error: `inferd gateway` is started by `inferd up` and by nobody else\n");
    } else if (give_up_rights(f, &report) == 0 && log_init(&log) == 0) {
        g->gate.api = api_gate();
        g->gate.rules = &gate_rules_up;
        g->gate.seed = digest_random_u64();
        g->gate.id_prefix = (uint32_t)digest_random_u64();
        g->gate.fd_ceiling = settings_fd_ceiling();
        clients_create(g->gate.seed, &g->gate.clients);
        status = live(g, &report);
        clients_destroy(&g->gate.clients);
        log_fini();
    }
    xfree(g);
    return status;
}

static int run(int argc, char **argv)
{
    struct gateway_flags flags;
    struct arena arena;
    int r;

    (void)signal(SIGHUP, SIG_IGN); /* for the master, whoever else is told by the way */
    arena_init(&arena, NULL);
    r = role_start(gateway_command(), argc, argv, &arena, &flags, NULL);
    if (r < 0)
        r = serve(&flags);
    arena_clear(&arena);
    return r;
}

const struct command *gateway_command(void)
{
    static const struct command command = {
        .name = "gateway",
        .summary = "the part of `inferd up` that talks to the network",
        .flags = &gateway_flags_options,
        .hidden = true,
        .run = run,
    };

    return &command;
}
