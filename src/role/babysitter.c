/* SPDX-License-Identifier: Apache-2.0
 *
 * babysitter.c - `inferd babysitter`: runs one engine on port P, says how it is on port P+1, and
 * keeps it registered. It is the supervisor (supervise/) with one unit, a tester of its own where
 * `up` has a gateway, and a face over HTTP (api/babysitter.h). This file is the command line, what
 * the parts tell each other, and the order of the end: unregistered, stopped, gone.
 *
 * What the engine's state is called stands in state_of() alone.
 */
#include "role/babysitter.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/babysitter.h"
#include "base/digest.h"
#include "ev/child.h"
#include "ev/sandbox.h"
#include "role/babysitter_conf.h"
#include "role/enrol.h"
#include "role/role.h"
#include "supervise/supervise.h"

enum {
    TEXT_BYTES = 64 << 10,
    PATH_BYTES = 4096,
    END_MS = 500,          /* for open requests, when the engine is gone */
    LONG_INTERVAL_S = 120, /* a registry takes a service for dead then */
};

OPTION_WORDS(fabric_log_format, FABRIC_LOG_FORMAT_WORDS);
OPTION_TABLE(babysitter_flags, BABYSITTER_FLAGS, "A babysitter.");

struct sitter {
    struct babysitter_flags options;
    struct babysitter_conf conf;
    struct conf_errors warnings;
    struct arena *arena;
    uint64_t nofile; /* soft limit that the engine is started with */
    struct fabric fabric;
    struct reaper *reaper;
    struct supervise *supervise;
    struct tester *tester;
    struct babysitter *face;
    struct enrol *enrol; /* NULL: no registry */
    struct link_unit unit;
    enum babysitter_state state;
    uint32_t watched; /* generation that the tester tests */
    uint64_t began_ms;
    bool was_ready;
    /* the end */
    bool leaving, hurried, unregistered, stopped, over;
};

static struct log_rec *say(struct sitter *s, enum log_level level, const char *message)
{
    return log_begin(s->fabric.log, level, loop_wall_us(s->fabric.loop), "babysitter", message);
}

/* ---- what state it is in ---- */

static enum babysitter_state state_of(const struct sitter *s)
{
    if (s->leaving)
        return BABYSITTER_STOPPING;
    switch (s->unit.state) {
    case UNIT_STARTING:
        return s->unit.pid == 0 && s->unit.restarts > 0 ? BABYSITTER_RESTARTING
                                                        : BABYSITTER_STARTING;
    case UNIT_READY:
        return BABYSITTER_READY;
    case UNIT_UNRESPONSIVE:
        return BABYSITTER_UNRESPONSIVE;
    case UNIT_STOPPING: /* because it did not become ready, or hung */
    case UNIT_BACKOFF:
        return BABYSITTER_RESTARTING;
    case UNIT_PARKED:
        return BABYSITTER_FAILED;
    case UNIT_EXITED:
        return BABYSITTER_EXITED;
    case UNIT_STOPPED: /* not started yet */
    case UNIT_LOADING:
    case UNIT_DRAINING:
    case UNIT_STATES_N:
        break;
    }
    return BABYSITTER_STARTING;
}

static void look(void *ctx, struct babysitter_view *ret)
{
    const struct sitter *s = ctx;
    uint64_t failures = supervise_failures(s->supervise, s->unit.id);

    *ret = (struct babysitter_view){
        .state = s->state,
        .was_ready = s->was_ready,
        .pid = s->unit.pid,
        .restarts = s->unit.restarts,
        .consecutive_restarts = min_u64(failures, s->conf.failures_max - 1),
        .uptime_s = (loop_now_ms(s->fabric.loop) - s->began_ms) / 1000,
        .last_exit = s->unit.last_exit,
    };
}

static void say_ready(struct sitter *s)
{
    struct log_rec *r = say(s, LOG_INFO, "Service detected");

    log_str(r, "name", s->conf.name);
    log_u64(r, "port", s->conf.port);
    log_i64(r, "pid", s->unit.pid);
    log_end(r);
}

static void enter(struct sitter *s, enum babysitter_state state)
{
    if (s->state == state)
        return;
    s->state = state;
    if (state == BABYSITTER_READY) {
        s->was_ready = true;
        say_ready(s);
    }
    if (s->enrol)
        enrol_on_state(s->enrol, state);
}

/* ---- the unit and its tests ---- */

static const struct tester_place *place(void *ctx)
{
    const struct sitter *s = ctx;

    return s->state == BABYSITTER_READY ? tester_place(s->tester) : NULL;
}

static void on_unit(void *ctx, const struct link_unit *u, const struct ring *ring)
{
    struct sitter *s = ctx;
    bool tested = u->pid > 0 && u->state != UNIT_STOPPING;

    (void)ring;
    s->unit = *u;
    if (tested && s->watched != u->generation) {
        s->watched = u->generation;
        tester_watch(s->tester);
    } else if (!tested && u->state != UNIT_STARTING) { /* where its place is asked for */
        tester_rest(s->tester);
    }
    enter(s, state_of(s));
}

static void on_gone(void *ctx, uint32_t id)
{
    (void)ctx;
    (void)id;
}

static void on_place_wanted(void *ctx, uint32_t id)
{
    struct sitter *s = ctx;

    (void)id;
    tester_ask_place(s->tester);
}

static void on_place(void *ctx, bool taken)
{
    struct sitter *s = ctx;
    char memory[40];
    struct buf text = buf_on(memory, sizeof memory);

    buf_printf(&text, "port %u is in use", s->conf.port);
    supervise_place(s->supervise, s->unit.id, taken ? buf_cstr(&text) : NULL);
}

static void on_report(void *ctx, enum link_report what)
{
    struct sitter *s = ctx;

    supervise_report(s->supervise, s->unit.id, s->unit.generation, what);
}

static void on_slow(void *ctx)
{
    struct sitter *s = ctx;
    struct log_rec *r = say(s, LOG_WARN, "not ready yet after 30 s; still waiting");

    log_str(r, "name", s->conf.name);
    log_u64(r, "port", s->conf.port);
    log_end(r);
}

/* ---- the end ---- */

static void look_whether_over(struct sitter *s)
{
    if (s->over || !s->stopped || !(s->unregistered || s->hurried))
        return;
    s->over = true;
    fabric_end(&s->fabric, END_MS);
}

static void on_stopped(void *ctx)
{
    struct sitter *s = ctx;

    s->stopped = true;
    look_whether_over(s);
}

static void on_unregistered(void *ctx)
{
    struct sitter *s = ctx;

    s->unregistered = true;
    if (!s->hurried)
        supervise_stop_all(s->supervise, false);
    look_whether_over(s);
}

static void leave(struct sitter *s, int signo)
{
    fabric_say_stopped(&s->fabric, signo);
    s->leaving = true;
    tester_rest(s->tester);
    supervise_freeze(s->supervise);
    enter(s, BABYSITTER_STOPPING);
    if (s->enrol)
        enrol_leave(s->enrol, on_unregistered, s);
    else
        on_unregistered(s);
}

static void on_signal(void *ctx, int signo)
{
    struct sitter *s = ctx;

    if (!s->leaving) {
        leave(s, signo);
        return;
    }
    if (s->hurried)
        return;
    s->hurried = true;
    log_end(say(s, LOG_WARN, "asked again: the engine is killed"));
    supervise_stop_all(s->supervise, true);
    look_whether_over(s);
}

/* ---- start ---- */

/* What tells this babysitter's processes from others': port and network, so that the next one
 * there finds what a killed one left, whatever their names. */
static void name_instance(const struct sitter *s, char ret[SUPERVISE_INSTANCE_BYTES + 1])
{
    char text[128];
    uint8_t sum[DIGEST_BYTES];
    struct buf b = buf_on(text, sizeof text);
    struct stat net = {0};

    (void)stat("/proc/self/ns/net", &net);
    buf_printf(&b, "babysitter %llu:%llu %u", (unsigned long long)net.st_dev,
               (unsigned long long)net.st_ino, s->conf.port);
    digest_sha256(buf_str(&b), sum);
    digest_hex(sum, SUPERVISE_INSTANCE_BYTES / 2, ret);
}

static const struct supervise_ops supervise_ops = {
    .on_unit = on_unit,
    .on_gone = on_gone,
    .on_stopped = on_stopped,
    .on_place = on_place_wanted,
};

static void make_supervise(struct sitter *s)
{
    struct supervise_conf conf = {
        .loop = s->fabric.loop,
        .log = s->fabric.log,
        .runtime_dir = "",
        .env = environ,
        .seed = digest_random_u64(),
        .nofile = s->nofile,
        .failures_max = s->conf.failures_max,
        .exact_delays = true,
        .log_all = true,
        .any_program = true,
        .death_signal = SIGTERM,
    };

    name_instance(s, conf.instance);
    supervise_create(&conf, &supervise_ops, s, &s->supervise);
    supervise_tested(s->supervise, true);
}

static void make_tester(struct sitter *s)
{
    struct tester_conf conf = {
        .loop = s->fabric.loop,
        .chunks = &s->fabric.chunks,
        .host = s->conf.host,
        .port = s->conf.port,
        .path = s->conf.health_path,
        .on_report = on_report,
        .on_slow = on_slow,
        .on_place = on_place,
        .ctx = s,
    };

    tester_create(&conf, &s->tester);
}

static void make_enrol(struct sitter *s)
{
    struct enrol_conf conf = {
        .loop = s->fabric.loop,
        .chunks = &s->fabric.chunks,
        .log = s->fabric.log,
        .metrics = s->fabric.metrics,
        .token = s->fabric.token,
        .service = &s->conf,
        .place = place,
        .ctx = s,
    };

    if (s->conf.registry.kind != URL_NONE)
        enrol_create(&conf, &s->enrol);
}

static struct str own_url(struct sitter *s)
{
    bool ip6 = str_find(s->conf.host, ':') < s->conf.host.n;

    return arena_printf(s->arena, ip6 ? "http://[%.*s]:%u" : "http://%.*s:%u",
                        STR_ARGS(s->conf.host), s->conf.port + 1U);
}

static void make_face(struct sitter *s)
{
    struct babysitter_face face = {
        .loop = s->fabric.loop,
        .metrics = s->fabric.metrics,
        .name = s->conf.name,
        .host = s->conf.host,
        .url = own_url(s),
        .port = s->conf.port,
        .type = s->conf.type,
        .look = look,
        .place = place,
        .ctx = s,
    };

    babysitter_create(&face, &s->face);
}

static bool is_loopback_host(struct str host)
{
    struct url at = {.kind = URL_HTTP, .host = host};

    return url_is_loopback(&at) || str_eq(host, STR("0.0.0.0")) || str_eq(host, STR("::"));
}

static void say_warnings(struct sitter *s)
{
    char memory[2048];

    for (size_t i = 0; i < s->warnings.n; i++) {
        struct buf text = buf_on(memory, sizeof memory);

        error_print(&s->warnings.at[i], &text);
        log_end(log_begin_str(s->fabric.log, LOG_WARN, loop_wall_us(s->fabric.loop), "babysitter",
                              buf_str(&text)));
    }
    if (s->conf.registry.kind == URL_NONE)
        return;
    if (s->conf.heartbeat_s >= LONG_INTERVAL_S)
        log_end(say(s, LOG_WARN,
                    "heartbeat_interval is 120 s or more: registries take the service for dead in "
                    "between"));
    if (addr_is_loopback(&s->fabric.at) && !is_loopback_host(s->conf.host))
        log_end(say(s, LOG_WARN,
                    "the registered host is not loopback, but this babysitter listens on loopback "
                    "only: others cannot ask it; give --listen 0.0.0.0 or the host's address"));
}

static int serve(struct sitter *s)
{
    struct engine_conf_list units = {.at = &s->conf.engine, .n = 1};
    struct fabric *f = &s->fabric;
    int status;

    if (reaper_start(f->loop, &s->reaper) < 0) {
        fprintf(stderr, "Error: descendants of the engine cannot be adopted\n");
        return 1;
    }
    s->began_ms = loop_now_ms(f->loop);
    make_tester(s);
    make_supervise(s);
    make_face(s);
    status = fabric_serve(f, babysitter_owner(), s->face);
    if (status != 0)
        return status;
    say_warnings(s);
    make_enrol(s);
    supervise_apply(s->supervise, &units, 0);
    return fabric_run(f);
}

static int live(struct sitter *s)
{
    int status = fabric_bind(&s->fabric);

    if (status == 0)
        status = serve(s);
    fabric_close_clients(&s->fabric);
    babysitter_destroy(&s->face);
    enrol_destroy(&s->enrol);
    tester_destroy(&s->tester);
    supervise_destroy(&s->supervise);
    reaper_close(&s->reaper);
    return status;
}

static int start(struct sitter *s, bool alias)
{
    struct fabric_conf conf = {
        .role = "babysitter",
        .alias = alias,
        .port = (uint16_t)(s->conf.port + 1),
        .options = FABRIC_OPTIONS_OF(&s->options),
        .on_signal = on_signal,
        .ctx = s,
    };
    int status;

    if (!conf.options.listen.p)
        conf.options.listen = s->conf.listen;
    s->nofile = sandbox_shield();
    status = fabric_open(&conf, &s->fabric);
    if (status == 0) {
        status = live(s);
        fabric_close(&s->fabric);
    }
    return status;
}

static int configure(struct sitter *s)
{
    const char *lenient = getenv("INFERD_LENIENT_CONFIG");
    char *own = arena_alloc(s->arena, PATH_BYTES);
    ssize_t n = readlink("/proc/self/exe", own, PATH_BYTES - 1);
    struct conf_errors errors;
    struct babysitter_input in = {
        .flags = &s->options,
        .lenient = s->options.lenient_config || (lenient && strcmp(lenient, "1") == 0),
        .own_program = own,
        .arena = s->arena,
        .errors = &errors,
        .warnings = &s->warnings,
    };
    struct buf text = buf_make(TEXT_BYTES);
    int status;

    own[n > 0 ? n : 0] = '\0';
    error_init(&errors, s->arena);
    error_init(&s->warnings, s->arena);
    status = babysitter_conf_read(&in, &s->conf);
    error_print_all(&errors, STR("Error: "), &text);
    (void)fwrite(text.p ? text.p : "", 1, text.n, stderr);
    buf_fini(&text);
    if (status == 2)
        fprintf(stderr, "try `inferd babysitter --help`\n");
    return status;
}

static const char *const aliases[] = {"infini-babysitter", NULL};
static const char *const examples[] = {
    "inferd babysitter --port 8100 --command \"llama-server --port 8100\"",
    "runs it, answers on 8101",
    "inferd babysitter --config-file llama.toml",
    "the same from a file",
    NULL,
};

static int run(int argc, char **argv)
{
    const struct command *c = babysitter_command();
    struct arena arena;
    struct sitter s = {.arena = &arena};
    int r;

    arena_init(&arena, NULL);
    r = role_start(c, argc, argv, &arena, &s.options, NULL);
    if (r < 0) {
        r = configure(&s);
        if (r == 0)
            r = start(&s, role_is_alias(c, argv[0]));
    }
    arena_clear(&arena);
    return r;
}

const struct command *babysitter_command(void)
{
    static const struct command command = {
        .name = "babysitter",
        .summary = "run one engine, restart it, keep it registered",
        .text =
            "Starts the engine, restarts it when it ends or hangs, says how it is on the port "
            "behind the engine's, and registers it at a registry with its models. The engine and "
            "all that it started end with the babysitter.\n\n"
            "The engine comes from a TOML file or from flags. Beside a file, the flags about the "
            "engine itself have no effect; name, host, port, registry, restarts, heartbeats and "
            "working directory win over it.\n\n"
            "Started as infini-babysitter it listens on every address, as InfiniLM-SVC's "
            "babysitter does. Otherwise INFERD_<FLAG> in the environment fills flags that are not "
            "given. INFERD_LOG or RUST_LOG set the level of the log.\n\n"
            "SIGTERM, SIGINT and SIGHUP unregister both names and stop the engine; a second one "
            "kills it. Exit status 0: ended by a signal; 1: it could not start; 2: a flag is "
            "wrong.",
        .examples = examples,
        .flags = &babysitter_flags_options,
        .environment = true,
        .aliases = aliases,
        .run = run,
    };

    return &command;
}
