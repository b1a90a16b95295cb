/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper.c - keeps a gateway running: starts it from our own executable, hands it the configuration
 * and the sockets over the link, and starts the next one when it ends. It is never given up on: at
 * once when it had served for SERVED_MS, otherwise after a delay that doubles.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ev/packet.h"
#include "role/master_priv.h"

enum {
    SERVED_MS = 200,
    DELAY_FIRST_MS = 100,
    DELAY_MOST_MS = 1000,
    END_MS = 1000, /* between the closed link and SIGKILL */
    ARGS_MAX = 24,
    ENV_MAX = 32,
    OOM_ADJUST = -100,
};

bool keeper_runs(const struct master *m) { return m->keeper.child != NULL; }

bool keeper_serves(const struct master *m)
{
    return m->keeper.child && m->keeper.link && m->keeper.accepting_ms > 0;
}

/* ---- the link ---- */

static void on_ask(void *ctx, uint32_t ticket, enum link_verb verb, uint32_t unit)
{
    struct master *m = ctx;
    const char *why = "";
    int r;

    if (verb == LINK_RELOAD) {
        reload_ask_for(m, ticket);
        return;
    }
    r = supervise_ask(m->supervise, verb, unit, &why);
    if (m->keeper.link)
        link_master_answer(m->keeper.link, ticket, r, str_of(why));
}

static void on_report(void *ctx, uint32_t unit, uint32_t generation, enum link_report report)
{
    struct master *m = ctx;

    supervise_report(m->supervise, unit, generation, report);
}

static void on_ack(void *ctx, uint32_t generation, struct str problem)
{
    struct master *m = ctx;

    if (generation != m->now.generation) {
        reload_on_ack(m, generation, problem);
        return;
    }
    if (problem.n == 0) {
        link_master_commit(m->keeper.link);
        return;
    }
    log_end(log_beginf(m->log, LOG_ERROR, loop_wall_us(m->loop), "master",
                       "the gateway refuses the configuration: %.*s", STR_ARGS(problem)));
    if (m->phase == MASTER_STARTING)
        master_give_up(m, "there is no gateway for this configuration");
    else
        keeper_kill(m);
}

static void on_swapped(void *ctx, uint32_t generation)
{
    struct master *m = ctx;

    if (generation != m->now.generation)
        reload_on_swapped(m, generation);
}

static void on_accepting(void *ctx)
{
    struct master *m = ctx;

    m->keeper.accepting_ms = loop_now_ms(m->loop);
    master_on_accepting(m);
}

static void on_drained(void *ctx)
{
    struct master *m = ctx;

    if (m->phase == MASTER_DRAINING)
        master_on_drained(m);
}

static void on_timeout(struct deadline *d)
{
    keeper_kill(container_of(container_of(d, struct keeper, timeout), struct master, keeper));
}

/* Its end has closed: the process follows, or is made to. */
static void on_closed(void *ctx, bool broken)
{
    struct master *m = ctx;

    link_master_close(&m->keeper.link);
    if (broken)
        log_end(master_say(m, LOG_ERROR, "the gateway sent what no gateway sends: it is killed"));
    if (broken)
        keeper_kill(m);
    else
        deadline_arm(m->loop, &m->keeper.timeout, END_MS, on_timeout);
}

static const struct link_master_ops link_ops = {
    .on_ask = on_ask,
    .on_report = on_report,
    .on_ack = on_ack,
    .on_swapped = on_swapped,
    .on_accepting = on_accepting,
    .on_drained = on_drained,
    .on_closed = on_closed,
};

/* ---- the process ---- */

static void on_again(struct deadline *d)
{
    keeper_start(container_of(container_of(d, struct keeper, again), struct master, keeper));
}

/* Nothing runs now: start the next one, at once or later. */
static void next(struct master *m, bool served)
{
    struct keeper *k = &m->keeper;

    if (served) {
        k->delay_ms = 0;
        keeper_start(m);
        return;
    }
    k->delay_ms = k->delay_ms ? (uint32_t)min_size(k->delay_ms * 2, DELAY_MOST_MS) : DELAY_FIRST_MS;
    deadline_arm(m->loop, &k->again, k->delay_ms, on_again);
}

static void on_end(void *ctx, const struct child_exit *how)
{
    struct master *m = ctx;
    struct keeper *k = &m->keeper;
    bool served = k->accepting_ms && loop_now_ms(m->loop) - k->accepting_ms >= SERVED_MS;
    bool hopeless = m->phase == MASTER_STARTING && how->how != CHILD_KILLED;
    enum log_level level = m->phase == MASTER_LEAVING ? LOG_DEBUG : LOG_WARN;
    char text[160];
    struct log_rec *r;

    (void)child_exit_text(how, text, sizeof text);
    r = master_say(m, level, "the gateway ended");
    log_i64(r, "pid", child_pid(k->child));
    log_text(r, "how", text);
    log_end(r);
    child_close(&k->child);
    link_master_close(&k->link);
    deadline_stop(&k->timeout);
    k->accepting_ms = 0;
    supervise_tested(m->supervise, false);
    reload_on_gateway_end(m);
    if (m->phase >= MASTER_DRAINING)
        master_on_gateway_end(m);
    else if (hopeless)
        master_give_up(m, text);
    else
        next(m, served);
}

static void on_running(void *ctx)
{
    struct master *m = ctx;

    trace_add(&m->trace, loop_now_us(m->loop), (uint64_t)child_pid(m->keeper.child), "gateway runs",
              m->counts.gateways, 0);
}

static const struct child_ops child_ops = {.on_running = on_running, .on_exit = on_end};

/* What libraries, the dynamic linker (where one is, another allocator) and sanitizers ask for;
 * nothing that could be a secret. */
static void gateway_env(char *const *from, const char *ret[ENV_MAX])
{
    static const char *const wanted[] = {"LANG=",
                                         "LC_ALL=",
                                         "TZ=",
                                         "RES_OPTIONS=",
                                         "LOCALDOMAIN=",
                                         "HOSTALIASES=",
                                         "LD_PRELOAD=",
                                         "LD_LIBRARY_PATH=",
                                         "ASAN_OPTIONS=",
                                         "UBSAN_OPTIONS=",
                                         "TSAN_OPTIONS=",
                                         "LSAN_OPTIONS=",
                                         "LLVM_PROFILE_FILE="};
    size_t n = 0;

    for (size_t i = 0; from[i]; i++)
        for (size_t k = 0; k < ARRAY_LEN(wanted) && n + 1 < ENV_MAX; k++)
            if (str_starts(str_of(from[i]), str_of(wanted[k])))
                ret[n++] = from[i];
    ret[n] = NULL;
}

/* "--parent=123" and the like, in `memory`. */
static const char *flag(struct buf *memory, const char *name, const char *text, uint64_t number)
{
    const char *at = memory->p + memory->n;

    buf_printf(memory, "--%s=", name);
    if (text)
        buf_text(memory, text);
    else
        buf_u64(memory, number);
    buf_char(memory, '\0');
    CHECK(buf_status(memory) == 0);
    return at;
}

static int start_child(struct master *m, const struct ev_fd *link)
{
    const struct settings *s = m->now.settings;
    const char *argv[ARGS_MAX] = {"inferd", "gateway"}, *env[ENV_MAX];
    const char *deny = getenv("INFERD_SANDBOX"); /* "kill": tests want to see what is denied */
    char room[2048];
    struct buf memory = buf_on(room, sizeof room);
    size_t n = 2;
    struct child_conf conf = {.file = "/proc/self/exe",
                              .argv = argv,
                              .env = env,
                              .pass = link,
                              .oom_score_adj = OOM_ADJUST,
                              .umask = 077};

    argv[n++] = flag(&memory, "parent", NULL, (uint64_t)getpid());
    argv[n++] = flag(&memory, "lanes", NULL, m->lanes);
    argv[n++] = flag(&memory, "log-format", NULL, settings_log_format(s));
    argv[n++] = flag(&memory, "log-level", NULL, settings_log_level(s));
    if (m->gateway_user.name[0]) {
        argv[n++] = flag(&memory, "user", m->gateway_user.name, 0);
        argv[n++] = flag(&memory, "uid", NULL, m->gateway_user.uid);
        argv[n++] = flag(&memory, "gid", NULL, m->gateway_user.gid);
    }
    if (deny && str_eq(str_of(deny), STR("kill")))
        argv[n++] = "--deny-kill";
    argv[n] = NULL;
    gateway_env(m->src->settings.env, env);
    return child_start(m->loop, &conf, &child_ops, m, &m->keeper.child);
}

static int hand_over(struct master *m)
{
    struct link_listener listeners[SOCKETS_MAX];

    sockets_describe(&m->now.sockets, listeners);
    return link_master_config(m->keeper.link, m->now.generation, &m->now.bundle, listeners,
                              m->now.sockets.fd, m->now.sockets.n);
}

void keeper_start(struct master *m)
{
    struct keeper *k = &m->keeper;
    struct ev_fd ours = EV_FD_NONE, theirs = EV_FD_NONE;
    int r = packet_pair(&ours, &theirs);

    CHECK(!k->child && !k->link);
    if (r == 0)
        r = link_master_open(m->loop, &ours, &link_ops, m, &k->link);
    if (r == 0)
        r = hand_over(m);
    if (r == 0)
        r = start_child(m, &theirs);
    ev_fd_close(&ours);
    ev_fd_close(&theirs);
    if (r < 0) {
        struct log_rec *rec = master_say(m, LOG_ERROR, "the gateway cannot be started");

        log_err(rec, "error", r);
        log_end(rec);
        link_master_close(&k->link);
        next(m, false);
        return;
    }
    m->counts.gateways++;
    link_master_counts(k->link, &m->counts);
    supervise_tell_all(m->supervise);
}

void keeper_last(struct master *m) { deadline_stop(&m->keeper.again); }

void keeper_end(struct master *m)
{
    link_master_close(&m->keeper.link);
    deadline_arm(m->loop, &m->keeper.timeout, END_MS, on_timeout);
}

void keeper_kill(struct master *m)
{
    if (m->keeper.child)
        child_signal(m->keeper.child, SIGKILL);
}
