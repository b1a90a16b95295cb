/* SPDX-License-Identifier: Apache-2.0
 *
 * master.c - the master's life: start, signals, and the end in its order: /ready says no, nothing
 * new is accepted, what is under way finishes (all that is the gateway's, which is told to drain),
 * the units are stopped, the gateway is closed, the sockets go. A second signal shortens all of it.
 */
#include "role/master_priv.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "conf/bundle.h"
#include "ev/memfd.h"
#include "link/ring.h"

enum {
    SENTENCE_BYTES = 1024,
    DRAIN_SLACK_MS = 3000, /* beyond drain_delay_ms + drain_ms, for the cut itself */
    PATIENCE_MS = 1500,    /* for sockets that a gateway holds which dies with its master */
    CUT_MS = 700,          /* after a second signal */
    BURST = 5,
    BURST_MS = 60000,
    SLOW_PER_MINUTE = 10, /* restarts a minute of all units that fail again and again */
};

struct log_rec *master_say(struct master *m, enum log_level level, const char *message)
{
    return log_begin(m->log, level, loop_wall_us(m->loop), "master", message);
}

/* ---- configurations ---- */

static int freeze(const struct bundle *b, struct ev_fd *ret)
{
    struct buf bytes = buf_make(BUNDLE_MAX);
    int r = bundle_encode(b, &bytes);

    if (r == 0)
        r = memfd_freeze("inferd-config", buf_str(&bytes), ret);
    if (bytes.n)
        explicit_bzero(bytes.p, bytes.n); /* it holds keys */
    buf_fini(&bytes);
    return r;
}

int master_config_make(struct master *m, struct settings **settings, struct bundle **bundle,
                       struct master_config *ret, struct buf *problem)
{
    struct master_config c = {.settings = TAKE(settings), .bundle = EV_FD_NONE};
    struct sockets_plan plan = {.settings = c.settings,
                                .old = m->now.settings ? &m->now.sockets : NULL,
                                .inherited = &m->inherited,
                                .runtime_dir = m->runtime.dir,
                                .patience_ms =
                                    !m->now.settings && m->runtime.unclean ? PATIENCE_MS : 0,
                                .last_id = &m->last_socket};
    int r = freeze(*bundle, &c.bundle);

    bundle_destroy(bundle);
    if (r < 0)
        buf_printf(problem, "the configuration cannot be handed over: %s", err_text(r));
    if (r == 0)
        r = supervise_check(m->supervise, &c.settings->engine, problem);
    if (r == 0)
        r = sockets_open(&plan, &c.sockets, problem);
    if (r < 0) {
        master_config_drop(&c, plan.old);
        return -E_CONF;
    }
    c.generation = ++m->last_generation;
    *ret = c;
    return 0;
}

void master_config_drop(struct master_config *c, const struct sockets *keep)
{
    if (!c->settings)
        return;
    sockets_close(&c->sockets, keep);
    ev_fd_close(&c->bundle);
    settings_unref(&c->settings);
}

/* ---- what others are told ---- */

static void write_addresses(struct jsonw *w, const struct sockets *s, unsigned kinds)
{
    jsonw_begin_array(w);
    for (unsigned i = 0; i < s->n; i++)
        if (1U << s->at[i].is.kind & kinds)
            jsonw_cstr(w, s->at[i].is.address);
    jsonw_end_array(w);
}

static int write_ready_file(struct master *m)
{
    const char *path = m->src->ready_file;
    _cleanup_(mem_cleanup) char *temporary = mem_printf("%s.%d", path, (int)getpid());
    struct buf out = buf_make(64 << 10);
    struct jsonw w = jsonw_make(&out);
    FILE *file;
    bool good;

    jsonw_begin_object(&w);
    jsonw_key(&w, "admin");
    write_addresses(&w, &m->now.sockets, 1U << LINK_LISTENER_CTL | 1U << LINK_LISTENER_ADMIN);
    jsonw_key(&w, "listen");
    write_addresses(&w, &m->now.sockets, 1U << LINK_LISTENER_DATA);
    jsonw_key(&w, "pid");
    jsonw_i64(&w, getpid());
    jsonw_key(&w, "registry");
    write_addresses(&w, &m->now.sockets, 1U << LINK_LISTENER_REGISTRY);
    jsonw_end_object(&w);
    file = fopen(temporary, "we");
    good = file && fwrite(out.p, 1, out.n, file) == out.n;
    if (file && fclose(file) != 0)
        good = false;
    buf_fini(&out);
    if (good && rename(temporary, path) == 0)
        return 0;
    (void)unlink(temporary);
    return -E_IO;
}

static void say_addresses(struct master *m, const char *message)
{
    struct log_rec *r;

    for (unsigned i = 0; i < m->now.sockets.n; i++) {
        if (m->now.sockets.at[i].is.kind != LINK_LISTENER_DATA)
            continue;
        r = master_say(m, LOG_INFO, message);
        log_text(r, "address", m->now.sockets.at[i].is.address);
        log_end(r);
    }
}

void master_on_accepting(struct master *m)
{
    supervise_tested(m->supervise, true);
    if (m->phase != MASTER_STARTING) {
        reload_on_accepting(m);
        return;
    }
    m->phase = MASTER_RUNNING;
    say_addresses(m, "accepting clients");
    if (m->src->ready_file && write_ready_file(m) < 0) {
        struct log_rec *r = master_say(m, LOG_ERROR, "the ready file cannot be written");

        log_text(r, "file", m->src->ready_file);
        log_end(r);
    }
    notify_ready(m->notify, "accepting clients");
    reload_on_accepting(m);
}

void master_give_up(struct master *m, const char *why)
{
    log_end(log_beginf(m->log, LOG_ERROR, loop_wall_us(m->loop), "master", "giving up: %s", why));
    m->status = 1;
    m->forced = true;
    master_on_drained(m);
}

/* ---- the end ---- */

void master_on_gateway_end(struct master *m)
{
    if (m->phase == MASTER_LEAVING)
        loop_stop(m->loop);
    else if (m->phase == MASTER_DRAINING)
        master_on_drained(m);
}

static void on_units_stopped(void *ctx)
{
    struct master *m = ctx;

    m->phase = MASTER_LEAVING;
    deadline_stop(&m->hurry);
    if (keeper_runs(m))
        keeper_end(m);
    else
        loop_stop(m->loop);
}

static void stop_units(struct master *m)
{
    m->units_stopping = true;
    supervise_stop_all(m->supervise, m->forced);
}

void master_on_drained(struct master *m)
{
    if (m->phase >= MASTER_ENDING)
        return;
    m->phase = MASTER_ENDING;
    deadline_stop(&m->hurry);
    stop_units(m);
}

static void on_too_long(struct deadline *d)
{
    struct master *m = container_of(d, struct master, hurry);

    log_end(master_say(m, LOG_WARN, "the gateway does not finish in time: it is killed"));
    keeper_kill(m); /* its end is the end of the drain */
}

static void begin_end(struct master *m)
{
    const struct limits *l = &m->now.settings->limits;

    m->phase = MASTER_DRAINING;
    notify_stopping(m->notify);
    log_end(master_say(m, LOG_INFO, "stopping"));
    keeper_last(m);
    if (!keeper_serves(m)) {
        master_on_drained(m);
        return;
    }
    link_master_drain(m->keeper.link);
    deadline_arm(m->loop, &m->hurry,
                 (uint64_t)l->drain_delay_ms + l->drain_ms + l->linger_ms + DRAIN_SLACK_MS,
                 on_too_long);
}

static void force_end(struct master *m)
{
    if (m->forced)
        return;
    m->forced = true;
    log_end(master_say(m, LOG_WARN, "asked again: what is under way is cut"));
    if (m->phase == MASTER_DRAINING) {
        link_master_cut(m->keeper.link);
        deadline_arm(m->loop, &m->hurry, CUT_MS, on_too_long);
    } else if (m->units_stopping) {
        supervise_stop_all(m->supervise, true);
    }
}

static void on_signal(void *ctx, int signo)
{
    struct master *m = ctx;

    if (signo == SIGHUP)
        reload_ask(m);
    else if (m->phase < MASTER_DRAINING)
        begin_end(m);
    else
        force_end(m);
}

/* ---- the units ---- */

static void on_unit(void *ctx, const struct link_unit *u, const struct ring *ring)
{
    struct master *m = ctx;
    struct ev_fd fd = EV_FD_NONE;

    if (!m->keeper.link)
        return;
    if (ring && ring_share(ring, &fd) < 0)
        fd = EV_FD_NONE; /* its log cannot be read then, all else works */
    link_master_unit(m->keeper.link, u, &fd);
    ev_fd_close(&fd);
}

static void on_unit_gone(void *ctx, uint32_t id)
{
    struct master *m = ctx;

    if (m->keeper.link)
        link_master_unit_gone(m->keeper.link, id);
}

static const struct supervise_ops supervise_ops = {
    .on_unit = on_unit,
    .on_gone = on_unit_gone,
    .on_stopped = on_units_stopped,
};

static void make_supervise(struct master *m)
{
    struct supervise_conf conf = {
        .loop = m->loop,
        .log = m->log,
        .runtime_dir = m->runtime.dir,
        .env = m->src->settings.env,
        .seed = digest_random_u64(),
        .nofile = m->src->nofile,
        .socket_gid = m->gateway_user.name[0] ? m->gateway_user.gid : 0,
        .on_burst = SUPERVISE_SLOW,
        .burst = BURST,
        .burst_ms = BURST_MS,
        .slow_per_minute = SLOW_PER_MINUTE,
    };

    memcpy(conf.instance, m->runtime.instance, sizeof conf.instance);
    supervise_create(&conf, &supervise_ops, m, &m->supervise);
}

/* ---- start ---- */

static int start_failed(struct buf *problem)
{
    fprintf(stderr, "Error: %.*s\n", STR_ARGS(buf_str(problem)));
    return 1;
}

/* As root the gateway becomes somebody else. */
static int choose_user(struct master *m, const struct settings *s, struct buf *problem)
{
    const char *name = s->process.user.p;

    if (geteuid() != 0) {
        if (name)
            buf_text(problem, "process.user: only root can start the gateway as another user");
        return name ? -E_CONF : 0;
    }
    if (sandbox_find_user(name, &m->gateway_user) == 0)
        return 0;
    buf_printf(problem, "process.user: there is no user \"%s\"", name ? name : "nobody");
    return -E_CONF;
}

static int take_directories(struct master *m, const struct settings *s, struct buf *problem)
{
    const struct sandbox_user *gateway = m->gateway_user.name[0] ? &m->gateway_user : NULL;
    int r = runtime_enter(s->runtime_dir.p, gateway, &m->runtime, problem);

    return r < 0 ? r : runtime_make_state(s->state_dir.p, gateway, problem);
}

/* The gateway gives up root: what it then cannot do is said here, not found out. */
static void say_user(struct master *m)
{
    struct log_rec *r;
    char folder[RUNTIME_PATH_MAX];

    if (!m->gateway_user.name[0])
        return;
    r = master_say(m, LOG_WARN, "started as root: engines run as root unless they name a user");
    log_text(r, "gateway_user", m->gateway_user.name);
    log_end(r);
    if (runtime_reachable(&m->runtime, &m->gateway_user, folder))
        return;
    r = master_say(m, LOG_WARN,
                   "the gateway's user may not enter a folder above the runtime directory: engines "
                   "on a ${SOCKET} there will not be reached");
    log_text(r, "folder", folder);
    log_end(r);
}

static void say_start(struct master *m, const struct settings *s)
{
    uint32_t connections = settings_connections(s->limits.connections);
    struct log_rec *r = master_say(m, LOG_INFO, "inferd " INFERD_VERSION " starts");

    log_text(r, "config", s->file.p ? s->file.p : "none");
    log_u64(r, "engines", s->engine.n);
    log_u64(r, "remotes", s->remote.n);
    log_u64(r, "lanes", s->lanes);
    log_text(r, "runtime_dir", m->runtime.dir);
    log_end(r);
    if (!s->file.p) {
        log_end(master_say(m, LOG_INFO,
                           "no configuration file: engines are looked for on this machine's usual "
                           "ports, and the built-in mock offers the model inferd-mock"));
    }
    say_user(m);
    if (connections < s->limits.connections) {
        r = master_say(m, LOG_WARN, "limits.connections is lowered to fit the descriptor limit");
        log_u64(r, "connections", connections);
        log_end(r);
    }
    for (size_t i = 0; i < s->listen.n && s->insecure; i++) {
        if (addr_is_loopback(&s->listen.at[i].addr))
            continue;
        r = master_say(m, LOG_WARN, "insecure: whoever reaches this address can use every model");
        log_str(r, "address", s->listen.at[i].address);
        log_end(r);
    }
}

static int start(struct master *m, struct settings **settings, struct bundle **bundle,
                 struct buf *problem)
{
    const struct settings *s = *settings;
    int r;

    if (settings_connections(s->limits.connections) == 0) {
        buf_text(problem, "the limit of open descriptors is below 256: raise it (ulimit -n)");
        return -E_LIMIT;
    }
    r = choose_user(m, s, problem);
    if (r == 0)
        r = take_directories(m, s, problem);
    if (r < 0)
        return r;
    sockets_inherit(&m->inherited);
    make_supervise(m);
    r = master_config_make(m, settings, bundle, &m->now, problem);
    if (r < 0)
        return r;
    m->lanes = m->now.settings->lanes;
    say_start(m, m->now.settings);
    supervise_apply(m->supervise, &m->now.settings->engine, m->now.settings->limits.drain_ms);
    keeper_start(m);
    notify_watch(m->notify);
    return 0;
}

static int watch_signals(struct master *m)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        if (signal_watch_start(m->loop, signals[i], on_signal, m, &m->watch[i]) < 0)
            return -E_NO_FDS;
    return reaper_start(m->loop, &m->reaper);
}

static void clean_up(struct master *m)
{
    for (size_t i = 0; i < ARRAY_LEN(m->watch); i++)
        signal_watch_close(&m->watch[i]);
    deadline_stop(&m->hurry);
    supervise_destroy(&m->supervise);
    master_config_drop(&m->reload.next, NULL);
    master_config_drop(&m->now, NULL);
    for (unsigned i = 0; i < m->inherited.n; i++)
        ev_fd_close(&m->inherited.fd[i]);
    if (m->src->ready_file && m->phase != MASTER_STARTING)
        (void)unlink(m->src->ready_file);
    reaper_close(&m->reaper);
    notify_destroy(&m->notify);
    loop_destroy(&m->loop);
    runtime_leave(&m->runtime);
    trace_fini(&m->trace);
}

static int live(struct master *m, struct settings **settings, struct bundle **bundle)
{
    struct buf problem = buf_make(SENTENCE_BYTES);
    int r = loop_create(&m->loop);

    if (r < 0) {
        buf_printf(&problem, "no event loop: %s", err_text(r));
        r = start_failed(&problem);
        buf_fini(&problem);
        return r;
    }
    m->notify = notify_create(m->loop);
    if (watch_signals(m) < 0)
        buf_text(&problem, "signals cannot be watched: no descriptors");
    else
        (void)start(m, settings, bundle, &problem);
    if (problem.n) {
        m->status = start_failed(&problem);
    } else {
        loop_run(m->loop);
        log_end(master_say(m, LOG_INFO, "ended"));
    }
    clean_up(m);
    buf_fini(&problem);
    return m->status;
}

int master_run(const struct master_source *src, struct settings **settings, struct bundle **bundle)
{
    struct master *m = xnew(struct master, .src = src, .runtime.lock_fd = -1);
    struct log_conf log = {.format = settings_log_format(*settings),
                           .level = settings_log_level(*settings),
                           .fd = STDOUT_FILENO};
    int status = 1;

    if (log_init(&log) < 0) {
        fprintf(stderr, "Error: no thread for the log\n");
    } else {
        m->log = log_writer_create();
        trace_init(&m->trace, "master");
        status = live(m, settings, bundle);
        log_writer_destroy(&m->log);
        log_fini();
    }
    settings_unref(settings);
    bundle_destroy(bundle);
    xfree(m);
    return status;
}
