/* SPDX-License-Identifier: Apache-2.0
 *
 * unit.c - the life of one unit; unit_priv.h draws it. set_state() alone moves it and drops what
 * the new state may not hold; an enter_x() function arms what a state needs; callbacks of the
 * process, of the sweep and of deadlines, the verbs and the reports lead from one state to the
 * next.
 *
 * What a process leaves behind has a life of its own beside the states: it begins with the
 * process's end (begin_remains) and is over when the sweep has ended every process with the unit's
 * mark, and nobody holds its pipes any more or they have had their time (end_remains). The group is
 * ended, too, because programs that write their title over their environment lose the mark. Nothing
 * of the unit is started before that.
 *
 * Failures: each is noted with its time. The delay before the next start doubles with each in a
 * row; too many within a while are a burst, which parks the unit or makes it slow.
 */
#include "supervise/unit_priv.h"

#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "conf/url.h"
#include "ev/port.h"
#include "supervise/launch.h"

enum {
    DELAY_LEAST_MS = 200,    /* before any restart */
    DELAY_POLITE_MS = 1000,  /* the same of a process that ended as if it had been asked to */
    DELAY_DOUBLED_MS = 1000, /* the least that is doubled */
    REMAINS_MS = 500,        /* for pipes to close after everybody was killed */
    KILLED_MS = 5000,        /* then it is worth a word that a killed process is still there */
    STATUS_TERM = 128 + SIGTERM,
};

static void enter_starting(struct unit *u);
static void failed(struct unit *u, bool clean, uint64_t least_ms);

static bool has_process(const struct unit *u) { return u->child && !child_exited(u->child); }

bool unit_is_idle(const struct unit *u)
{
    return !u->child && !u->sweep && !link_state_runs(u->pub.state);
}

/* ---- the record ---- */

static struct log_rec *begin_log(struct unit *u, enum log_level level, const char *message)
{
    struct supervise *s = u->s;
    struct log_rec *r = log_begin(s->conf.log, level, loop_wall_us(s->loop), "supervise", message);

    log_text(r, "unit", u->pub.name);
    log_u64(r, "generation", u->pub.generation);
    return r;
}

static enum log_level level_of(enum unit_state state)
{
    return state == UNIT_UNRESPONSIVE || state == UNIT_BACKOFF || state == UNIT_PARKED ? LOG_WARN
                                                                                       : LOG_INFO;
}

static void log_state(struct unit *u, enum unit_state was)
{
    struct log_rec *r = begin_log(u, level_of(u->pub.state), "unit changed");
    uint64_t now = loop_now_ms(u->s->loop);

    log_text(r, "was", link_state_word(was));
    log_text(r, "state", link_state_word(u->pub.state));
    if (u->pub.pid)
        log_i64(r, "pid", u->pub.pid);
    if (u->pub.next_ms)
        log_u64(r, "next_ms", u->pub.next_ms - now);
    if (!link_state_runs(u->pub.state) && u->pub.last_exit[0])
        log_text(r, "last_exit", u->pub.last_exit);
    log_end(r);
}

/* What unit_priv.h promises of each state. */
static void check_state(const struct unit *u)
{
    switch (u->pub.state) {
    case UNIT_STARTING:
        break;
    case UNIT_LOADING:
    case UNIT_READY:
    case UNIT_UNRESPONSIVE:
    case UNIT_DRAINING:
        CHECK(has_process(u));
        break;
    case UNIT_STOPPING:
        CHECK(u->child || u->sweep);
        break;
    case UNIT_STOPPED:
    case UNIT_BACKOFF:
    case UNIT_PARKED:
    case UNIT_EXITED:
        CHECK(!has_process(u));
        break;
    case UNIT_STATES_N:
        CHECK(!"a state");
    }
}

static void set_state_until(struct unit *u, enum unit_state state, uint64_t next_ms)
{
    enum unit_state was = u->pub.state;

    deadline_stop(&u->timer);
    deadline_stop(&u->stable);
    u->queueing = false;
    u->place = UNIT_PLACE_UNASKED;
    u->pub.state = state; /* the only assignment to it */
    u->pub.since_ms = loop_now_ms(u->s->loop);
    u->pub.next_ms = next_ms;
    check_state(u);
    log_state(u, was);
    supervise_tell(u->s, u);
}

static void set_state(struct unit *u, enum unit_state state) { set_state_until(u, state, 0); }

static void rest_in(struct unit *u, enum unit_state state)
{
    set_state(u, state);
    supervise_unit_idle(u->s);
}

/* ---- deadlines that rest on reports ---- */

static void enter_stopping(struct unit *u);

/* Stopped because of a failure: what its rule says comes after that. */
static void fail_by_stop(struct unit *u, const char *why)
{
    u->failing = why;
    u->goal = UNIT_RUN;
    enter_stopping(u);
}

static void on_not_ready(struct deadline *d)
{
    fail_by_stop(container_of(d, struct unit, timer), "not ready in time");
}

static void on_hung(struct deadline *d)
{
    fail_by_stop(container_of(d, struct unit, timer), "unresponsive for too long");
}

static void on_drain_over(struct deadline *d)
{
    enter_stopping(container_of(d, struct unit, timer));
}

/* While nobody tests the units nobody can say that they are ready, alive or idle. */
static void arm_judgement(struct unit *u)
{
    struct loop *l = u->s->loop;
    bool tested = u->s->tested;

    if (u->pub.state == UNIT_LOADING)
        deadline_arm(l, &u->timer, tested ? u->conf.ready_timeout_ms : 0, on_not_ready);
    else if (u->pub.state == UNIT_UNRESPONSIVE)
        deadline_arm(l, &u->timer, tested ? u->conf.hang_timeout_ms : 0, on_hung);
    else if (u->pub.state == UNIT_DRAINING)
        deadline_arm(l, &u->timer, tested ? u->s->drain_ms : 0, on_drain_over);
}

void unit_on_tested(struct unit *u) { arm_judgement(u); }

/* ---- what a process leaves ---- */

static void kill_now(struct unit *u);

static void flush_output(struct unit *u)
{
    for (int s = 0; s < CHILD_STREAMS; s++)
        output_take(u->output, (enum child_stream)s, STR_NONE);
}

static void stopped(struct unit *u)
{
    bool counts = u->failing && u->goal == UNIT_RUN;

    u->failing = NULL;
    if (counts)
        failed(u, false, DELAY_LEAST_MS);
    else if (u->goal == UNIT_RUN && !u->s->stopping)
        enter_starting(u);
    else
        rest_in(u, UNIT_STOPPED);
}

static void try_launch(struct unit *u);

/* Engines leave it behind, and none can bind to it again. */
static void remove_socket(struct unit *u)
{
    if (u->pub.socket[0])
        (void)unlink(u->pub.socket);
}

static void end_remains(struct unit *u)
{
    if (!u->child || has_process(u) || u->sweep || (u->streams_open && deadline_armed(&u->remains)))
        return;
    deadline_stop(&u->remains);
    child_signal_group(u->child, SIGKILL);
    flush_output(u);
    child_close(&u->child);
    remove_socket(u);
    if (u->pub.state == UNIT_STOPPING)
        stopped(u);
    else if (u->pub.state == UNIT_STARTING)
        try_launch(u);
    else
        supervise_unit_idle(u->s);
}

static void on_remains_over(struct deadline *d);

static void kill_remains(struct unit *u)
{
    u->killed = true;
    child_signal_group(u->child, SIGKILL);
    deadline_arm(u->s->loop, &u->remains, REMAINS_MS, on_remains_over);
}

static void on_remains_over(struct deadline *d)
{
    struct unit *u = container_of(d, struct unit, remains);

    if (u->killed)
        end_remains(u);
    else
        kill_remains(u);
}

static void on_swept(void *ctx, unsigned ended, unsigned left)
{
    struct unit *u = ctx;

    u->sweep = NULL;
    if (ended || left) {
        struct log_rec *r = begin_log(u, LOG_WARN, "ended what a unit's process had left");

        log_u64(r, "ended", ended);
        log_u64(r, "left", left);
        log_end(r);
    }
    end_remains(u);
}

static bool is_live(void *ctx, struct str mark)
{
    const struct unit *u = ctx;

    return supervise_is_live(u->s, mark);
}

static void sweep_remains(struct unit *u, unsigned grace_ms)
{
    char memory[UNIT_MARK_BYTES];
    struct buf prefix = buf_on(memory, sizeof memory);

    buf_printf(&prefix, "%s/%s/", u->s->conf.instance, u->pub.name);
    sweep_start(u->s->loop, buf_str(&prefix), grace_ms, is_live, on_swept, u, &u->sweep);
}

/* What may be left of the stop's own grace; a process that ended by itself had none. */
static unsigned grace_of_remains(const struct unit *u)
{
    uint64_t now = loop_now_ms(u->s->loop);

    if (u->s->hurry || u->killed)
        return 0;
    if (u->pub.state != UNIT_STOPPING)
        return SWEEP_GRACE_MS;
    if (!deadline_armed(&u->timer) || u->timer.due_ms <= now)
        return 0;
    return (unsigned)min_u64(u->timer.due_ms - now, SWEEP_GRACE_MS);
}

static void begin_remains(struct unit *u)
{
    unsigned grace_ms = grace_of_remains(u);

    deadline_stop(&u->timer);
    sweep_remains(u, grace_ms);
    if (grace_ms == 0) {
        kill_remains(u);
        return;
    }
    u->killed = false;
    child_signal_group(u->child, SIGTERM);
    deadline_arm(u->s->loop, &u->remains, grace_ms, on_remains_over);
}

void unit_on_hurry(struct unit *u)
{
    if (has_process(u) && u->pub.state == UNIT_STOPPING)
        kill_now(u); /* once more, perhaps: then its time is counted anew */
    if (!u->sweep)
        return;
    sweep_cancel(&u->sweep);
    sweep_remains(u, 0);
    kill_remains(u);
}

/* ---- stopping ---- */

static void note_exit(struct unit *u, const char *how)
{
    struct buf b = buf_on(u->pub.last_exit, sizeof u->pub.last_exit - 1);

    if (u->failing)
        buf_printf(&b, "%s: ", u->failing);
    buf_add(&b, str_head(str_of(how), b.size - b.n));
    u->pub.last_exit[b.n] = '\0';
    output_note(u->output, u->pub.last_exit);
}

/* In the hands of a driver. It keeps its memory and its port, so its unit waits for it; but when
 * all is to end, we do not stay because of it. */
static void on_killed_over(struct deadline *d)
{
    struct unit *u = container_of(d, struct unit, timer);
    struct log_rec *r = begin_log(u, LOG_ERROR, "a killed process does not end");

    log_i64(r, "pid", u->pub.pid);
    log_end(r);
    if (!u->s->stopping)
        return;
    note_exit(u, "killed, but it did not end");
    u->pub.pid = 0;
    flush_output(u);
    child_abandon(&u->child);
    rest_in(u, UNIT_STOPPED);
}

static void kill_now(struct unit *u)
{
    u->killed = true;
    child_signal_group(u->child, SIGKILL);
    deadline_arm(u->s->loop, &u->timer, KILLED_MS, on_killed_over);
}

static void on_grace_over(struct deadline *d)
{
    struct unit *u = container_of(d, struct unit, timer);
    struct log_rec *r = begin_log(u, LOG_WARN, "still there after stop_grace_ms: killed");

    log_i64(r, "pid", u->pub.pid);
    log_end(r);
    kill_now(u);
}

static void enter_stopping(struct unit *u)
{
    set_state(u, UNIT_STOPPING);
    if (u->s->hurry || u->conf.stop_grace_ms == 0) {
        kill_now(u);
        return;
    }
    child_signal_group(u->child, SIGTERM);
    child_signal_group(u->child, SIGCONT); /* a stopped process does not hear TERM */
    deadline_arm(u->s->loop, &u->timer, u->conf.stop_grace_ms, on_grace_over);
}

/* ---- failures ---- */

static void forgive(struct unit *u)
{
    u->fails = u->failed_n = 0;
    u->slow = false;
}

static void on_stable(struct deadline *d) { forgive(container_of(d, struct unit, stable)); }

static void start_again(struct unit *u)
{
    u->pub.restarts++;
    enter_starting(u);
}

static void on_backoff_over(struct deadline *d)
{
    struct unit *u = container_of(d, struct unit, timer);

    if (u->slow && !supervise_take_slow_token(u->s))
        u->queueing = true; /* unit_on_turn() */
    else
        start_again(u);
}

void unit_on_turn(struct unit *u) { start_again(u); }

/* Doubles from one failure in a row to the next. Up to a tenth is taken off where there are others,
 * so that units that died together do not start together. */
static uint64_t next_delay(struct unit *u, uint64_t least_ms)
{
    uint64_t first = u->conf.restart_delay_ms, most = u->conf.restart_max_ms, ms = first;

    most = most > first ? most : first;
    if (u->fails > 1) {
        ms = first > DELAY_DOUBLED_MS ? first : DELAY_DOUBLED_MS;
        for (unsigned i = 1; i < u->fails && ms < most; i++)
            ms *= 2;
    }
    ms = u->slow ? most : min_u64(ms, most);
    if (!u->s->conf.exact_delays)
        ms -= supervise_random(u->s) % (ms / 10 + 1);
    return ms > least_ms ? ms : least_ms;
}

static bool is_burst(const struct unit *u, uint64_t now)
{
    const struct supervise_conf *c = &u->s->conf;

    return c->burst > 0 && u->failed_n >= c->burst &&
           now - u->failed_ms[(u->failed_n - c->burst) % UNIT_BURST_MAX] <= c->burst_ms;
}

/* It ended, or could not be started: what its rule says. */
static void failed(struct unit *u, bool clean, uint64_t least_ms)
{
    uint64_t now = loop_now_ms(u->s->loop), most = u->s->conf.failures_max, ms;

    if (u->s->stopping) {
        rest_in(u, UNIT_STOPPED);
        return;
    }
    if (u->conf.restart == UNIT_RESTART_NEVER ||
        (u->conf.restart == UNIT_RESTART_FAILURE && clean)) {
        rest_in(u, UNIT_EXITED);
        return;
    }
    u->fails++;
    if (most > 0 && u->fails >= most) {
        rest_in(u, UNIT_PARKED);
        return;
    }
    u->failed_ms[u->failed_n++ % UNIT_BURST_MAX] = now;
    if (is_burst(u, now)) {
        if (u->s->conf.on_burst == SUPERVISE_PARK) {
            rest_in(u, UNIT_PARKED);
            return;
        }
        u->slow = true;
    }
    ms = next_delay(u, least_ms);
    set_state_until(u, UNIT_BACKOFF, now + ms);
    deadline_arm(u->s->loop, &u->timer, ms, on_backoff_over);
}

/* ---- the process ---- */

static void enter_loading(struct unit *u)
{
    set_state(u, UNIT_LOADING);
    arm_judgement(u);
}

static void on_running(void *ctx)
{
    struct unit *u = ctx;

    if (u->pub.state == UNIT_STARTING)
        enter_loading(u);
}

static void on_output(void *ctx, enum child_stream stream, struct str bytes)
{
    struct unit *u = ctx;

    output_take(u->output, stream, bytes);
    if (bytes.n)
        return;
    u->streams_open--;
    end_remains(u);
}

/* As if somebody had asked it to end. */
static bool ended_politely(const struct child_exit *how)
{
    return how->how == CHILD_KILLED
               ? how->code == SIGTERM
               : how->how == CHILD_EXITED && (how->code == 0 || how->code == STATUS_TERM);
}

static void on_exit_(void *ctx, const struct child_exit *how)
{
    struct unit *u = ctx;
    char text[LINK_EXIT_MAX + 1];

    (void)child_exit_text(how, text, sizeof text);
    note_exit(u, text);
    u->pub.pid = 0;
    begin_remains(u);
    if (u->pub.state == UNIT_DRAINING)
        set_state(u, UNIT_STOPPING);
    else if (u->pub.state != UNIT_STOPPING)
        failed(u, how->how == CHILD_EXITED && how->code == 0,
               ended_politely(how) ? DELAY_POLITE_MS : DELAY_LEAST_MS);
    else
        supervise_tell(u->s, u);
}

static const struct child_ops child_ops = {on_running, on_output, on_exit_};

/* ---- starting ---- */

static int choose_port(struct unit *u, struct buf *problem)
{
    struct url at;
    const char *why;

    u->pub.port = u->conf.endpoint == ENGINE_AT_PORT ? supervise_port(u->s, u, u->pub.port) : 0;
    if (u->conf.endpoint == ENGINE_AT_PORT && !u->pub.port) {
        buf_printf(problem, "no port of %d-%d is free", SUPERVISE_PORT_FIRST, SUPERVISE_PORT_LAST);
        return -E_BUSY;
    }
    if (u->conf.endpoint != ENGINE_AT_URL || url_parse(u->conf.url, &at, &why) < 0 ||
        at.kind != URL_HTTP || !url_is_loopback(&at) || port_is_free(at.port))
        return 0;
    buf_printf(problem, "port %u is in use", at.port);
    return -E_BUSY;
}

static int choose_place(struct unit *u, struct buf *problem)
{
    u->pub.socket[0] = '\0';
    if (u->conf.endpoint != ENGINE_AT_SOCKET)
        return choose_port(u, problem);
    u->pub.port = 0;
    return launch_socket_path(u->s->conf.runtime_dir, u->conf.name, u->pub.socket, problem);
}

static void make_mark(struct unit *u)
{
    struct buf b = buf_on(u->mark, sizeof u->mark);

    buf_printf(&b, "%s/%s/%016llx", u->s->conf.instance, u->pub.name,
               (unsigned long long)supervise_random(u->s));
    CHECK(buf_cstr(&b));
}

static void log_start(struct unit *u, const struct child_conf *conf)
{
    struct buf command = buf_make(64 * 1024), names = buf_make(4096);
    struct log_rec *r = begin_log(u, LOG_INFO, "unit started");

    launch_print(conf->argv, &command);
    for (size_t i = 0; i < u->conf.env.n; i++) {
        if (i)
            buf_char(&names, ',');
        buf_add(&names, u->conf.env.at[i].key);
    }
    log_i64(r, "pid", u->pub.pid);
    if (u->pub.port)
        log_u64(r, "port", u->pub.port);
    if (u->pub.socket[0])
        log_text(r, "socket", u->pub.socket);
    log_text(r, "file", conf->file);
    log_str_cut(r, "command", buf_str(&command), 2000);
    if (names.n)
        log_str(r, "env", buf_str(&names));
    log_end(r);
    buf_fini(&command);
    buf_fini(&names);
}

static int start_child(struct unit *u, const struct child_conf *conf, struct buf *problem)
{
    char note[64];
    struct buf b = buf_on(note, sizeof note);
    int r;

    remove_socket(u); /* of a master that was killed */
    r = child_start(u->s->loop, conf, &child_ops, u, &u->child);
    if (r < 0) {
        buf_printf(problem, "could not be started: %s", err_text(r));
        return r;
    }
    u->killed = false;
    u->streams_open = CHILD_STREAMS;
    u->pub.generation++;
    u->pub.pid = child_pid(u->child);
    buf_printf(&b, "started, pid %d", (int)u->pub.pid);
    output_note(u->output, buf_cstr(&b));
    log_start(u, conf);
    supervise_tell(u->s, u);
    return 0;
}

static int launch(struct unit *u, struct buf *problem)
{
    struct supervise *s = u->s;
    struct launch_input in = {.engine = &u->conf,
                              .parent_env = s->conf.env,
                              .mark = u->mark,
                              .any_program = s->conf.any_program};
    struct child_conf conf;
    struct arena arena;
    int r;

    arena_init(&arena, NULL);
    make_mark(u);
    r = choose_place(u, problem);
    in.port = u->pub.port;
    in.socket = u->pub.socket;
    in.socket_gid = s->conf.socket_gid;
    if (r == 0)
        r = launch_prepare(&in, &arena, &conf, problem);
    if (r == 0) {
        conf.nofile = s->conf.nofile;
        conf.death_signal = s->conf.death_signal;
        r = start_child(u, &conf, problem);
    }
    arena_clear(&arena);
    return r;
}

/* Whether somebody has to say first that its place is free; asks once. */
static bool waits_for_place(struct unit *u)
{
    struct supervise *s = u->s;

    if (!s->ops->on_place || u->conf.endpoint != ENGINE_AT_URL || u->place == UNIT_PLACE_FREE)
        return false;
    if (u->place == UNIT_PLACE_UNASKED) {
        u->place = UNIT_PLACE_ASKED;
        s->ops->on_place(s->ctx, u->pub.id);
    }
    return true;
}

/* Called again by whatever is in the way. */
static void try_launch(struct unit *u)
{
    char memory[1024];
    struct buf problem = buf_on(memory, sizeof memory);

    if (u->child || u->sweep || u->s->sweep || waits_for_place(u))
        return;
    u->place = UNIT_PLACE_UNASKED;
    if (launch(u, &problem) == 0)
        return;
    note_exit(u, buf_cstr(&problem) ? buf_cstr(&problem) : "could not be started");
    failed(u, false, DELAY_LEAST_MS);
}

void unit_on_place(struct unit *u, const char *taken)
{
    if (u->place != UNIT_PLACE_ASKED)
        return;
    if (!taken) {
        u->place = UNIT_PLACE_FREE;
        try_launch(u);
        return;
    }
    log_end(begin_log(u, LOG_ERROR, taken));
    note_exit(u, taken);
    failed(u, false, DELAY_LEAST_MS);
}

void unit_on_swept_start(struct unit *u)
{
    if (u->pub.state == UNIT_STARTING)
        try_launch(u);
}

static void enter_starting(struct unit *u)
{
    u->goal = UNIT_RUN;
    u->failing = NULL;
    set_state(u, UNIT_STARTING);
    try_launch(u);
}

/* ---- verbs ---- */

static const char *refuse(const struct unit *u)
{
    if (u->s->stopping)
        return "inferd is stopping";
    return u->goal == UNIT_REMOVE ? "it is no longer configured" : NULL;
}

const char *unit_start(struct unit *u)
{
    const char *no = refuse(u);

    if (no)
        return no;
    switch (u->pub.state) {
    case UNIT_STOPPED:
    case UNIT_BACKOFF:
    case UNIT_PARKED:
    case UNIT_EXITED:
        forgive(u);
        enter_starting(u);
        return "starting";
    case UNIT_DRAINING:
    case UNIT_STOPPING:
        u->goal = UNIT_RUN;
        u->failing = NULL;
        return "it is being stopped and will start then";
    case UNIT_STARTING:
    case UNIT_LOADING:
    case UNIT_READY:
    case UNIT_UNRESPONSIVE:
    case UNIT_STATES_N:
        break;
    }
    return "it runs already";
}

const char *unit_stop(struct unit *u, enum unit_goal goal)
{
    if (u->goal != UNIT_REMOVE) /* unit_configure() alone takes that back */
        u->goal = goal;
    u->failing = NULL;
    if (u->pub.state == UNIT_STOPPING) {
        if (u->killed && has_process(u) && !deadline_armed(&u->timer))
            kill_now(u); /* it has not ended since, and now there is less patience */
        return "it is being stopped already";
    }
    if (has_process(u)) {
        enter_stopping(u);
        return "stopping";
    }
    if (u->pub.state == UNIT_STOPPED) {
        supervise_unit_idle(u->s);
        return "it is stopped already";
    }
    rest_in(u, UNIT_STOPPED);
    return "stopped";
}

void unit_freeze(struct unit *u)
{
    if (!has_process(u) && u->pub.state != UNIT_STOPPED && u->pub.state != UNIT_STOPPING)
        (void)unit_stop(u, UNIT_STAY);
}

const char *unit_drain(struct unit *u, enum unit_goal goal)
{
    if (u->pub.state == UNIT_DRAINING) {
        u->goal = u->goal == UNIT_REMOVE ? UNIT_REMOVE : goal;
        return "it is draining already";
    }
    if (u->s->drain_ms == 0 || (u->pub.state != UNIT_READY && u->pub.state != UNIT_UNRESPONSIVE))
        return unit_stop(u, goal); /* nothing is under way there */
    u->goal = goal;
    set_state(u, UNIT_DRAINING);
    arm_judgement(u);
    return "draining";
}

const char *unit_restart(struct unit *u)
{
    const char *no = refuse(u);

    if (no)
        return no;
    if (!has_process(u))
        return unit_start(u);
    forgive(u);
    (void)unit_drain(u, UNIT_RUN);
    return u->pub.state == UNIT_DRAINING ? "draining, then starting" : "stopping, then starting";
}

void unit_report(struct unit *u, enum link_report report)
{
    bool ready = report == LINK_REPORT_READY, silent = report == LINK_REPORT_SILENT;

    /* Somebody answers, so its program runs, although that has not been noticed here. */
    if (ready && u->pub.state == UNIT_STARTING && has_process(u))
        set_state(u, UNIT_LOADING);
    if (ready && (u->pub.state == UNIT_LOADING || u->pub.state == UNIT_UNRESPONSIVE)) {
        set_state(u, UNIT_READY);
        deadline_arm(u->s->loop, &u->stable, u->conf.stable_ms, on_stable);
    } else if (silent && u->pub.state == UNIT_READY) {
        set_state(u, UNIT_UNRESPONSIVE);
        arm_judgement(u);
    } else if (report == LINK_REPORT_IDLE && u->pub.state == UNIT_DRAINING) {
        enter_stopping(u);
    }
}

/* ---- configuration ---- */

static void take_conf(struct unit *u, const struct engine_conf *conf)
{
    struct arena old = u->arena;

    arena_init(&u->arena, NULL);
    launch_copy(conf, &u->arena, &u->conf);
    arena_clear(&old);
}

struct unit *unit_create(struct supervise *s, uint32_t id, const struct engine_conf *conf)
{
    struct unit *u = xnew(struct unit, .s = s, .goal = UNIT_STAY);
    struct buf name = buf_on(u->pub.name, sizeof u->pub.name);

    list_init(&u->node);
    arena_init(&u->arena, NULL);
    take_conf(u, conf);
    buf_add(&name, conf->name);
    CHECK(buf_cstr(&name));
    u->pub.id = id;
    u->pub.state = UNIT_STOPPED; /* where everything begins */
    u->pub.since_ms = loop_now_ms(s->loop);
    u->output = output_create(s->loop, s->conf.log, u->pub.name);
    if (s->conf.log_all)
        output_log_all(u->output);
    return u;
}

void unit_destroy(struct unit **up)
{
    struct unit *u = TAKE(up);

    if (!u)
        return;
    CHECK(!u->child && !u->sweep);
    list_remove(&u->node);
    deadline_stop(&u->timer);
    deadline_stop(&u->stable);
    deadline_stop(&u->remains);
    output_destroy(&u->output);
    arena_clear(&u->arena);
    mem_free(u);
}

void unit_configure(struct unit *u, const struct engine_conf *conf)
{
    bool same = launch_same(&u->conf, conf), removed = u->goal == UNIT_REMOVE;

    take_conf(u, conf);
    if (removed) { /* and it is there again */
        u->goal = UNIT_RUN;
        if (u->pub.state == UNIT_STOPPED)
            enter_starting(u);
    } else if (!same && u->pub.state != UNIT_STOPPED && u->pub.state != UNIT_STOPPING &&
               u->pub.state != UNIT_DRAINING) {
        (void)unit_restart(u);
    }
}
