/* SPDX-License-Identifier: Apache-2.0
 *
 * supervise_test.c - units as real processes: shells and sleeps, through the real ev. What takes
 * minutes (long delays, bursts over a minute) is test/sim's; here is what only a kernel can show:
 * what is really started, really ended, and that nothing of it is left.
 *
 * The rig plays master and gateway: it keeps the latest picture of every unit, as the link does,
 * and reports in a gateway's place.
 */
#include "supervise/supervise.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "ev/child.h"
#include "ev/deadline.h"
#include "link/ring.h"

enum { PATIENCE_MS = 20000, UNITS = 4, HISTORY = 64 };

struct seen {
    struct link_unit unit;
    const struct ring *ring;
    unsigned char states[HISTORY];
    unsigned states_n;
    bool gone;
};

struct rig {
    struct loop *loop;
    struct reaper *reaper;
    struct log_writer *log;
    struct supervise *s;
    struct supervise_conf conf;
    struct deadline patience;
    char dir[64];
    struct seen seen[UNITS]; /* by id - 1 */
    bool stopped, in_report;
    bool (*done)(struct rig *r);
    enum unit_state wanted;
    unsigned wanted_unit, wanted_generation;
    const char *wanted_text;
    pid_t wanted_pid;
};

static char *const env[] = {(char[]){"PATH=/usr/bin:/bin"},
                            (char[]){"HOME=/"},
                            (char[]){"INFERD_LOG=x"},
                            (char[]){"LISTEN_FDS=1"},
                            (char[]){"NOTIFY_SOCKET=/"},
                            (char[]){"WATCHDOG_USEC=1"},
                            NULL};

static void look(struct rig *r)
{
    if (r->done && r->done(r))
        loop_stop(r->loop);
}

static void on_turn(void *ctx) { look(ctx); }

static void on_unit(void *ctx, const struct link_unit *u, const struct ring *ring)
{
    struct rig *r = ctx;
    struct seen *seen = &r->seen[u->id - 1];

    assert_false(r->in_report);
    assert_in_range(u->id, 1, UNITS);
    assert_false(seen->gone);
    if (seen->states_n == 0 || seen->unit.state != u->state)
        if (seen->states_n < HISTORY)
            seen->states[seen->states_n++] = (unsigned char)u->state;
    seen->unit = *u;
    seen->ring = ring;
    look(r);
}

static void on_gone(void *ctx, uint32_t id)
{
    struct rig *r = ctx;

    r->seen[id - 1].gone = true;
    look(r);
}

static void on_stopped(void *ctx)
{
    struct rig *r = ctx;

    r->stopped = true;
    look(r);
}

static const struct supervise_ops ops = {on_unit, on_gone, on_stopped, NULL};

static void print_seen(const struct rig *r)
{
    for (unsigned i = 0; i < UNITS && r->seen[i].states_n; i++) {
        print_error("unit %u %s pid %d last_exit \"%s\"%s:", i + 1,
                    link_state_word(r->seen[i].unit.state), (int)r->seen[i].unit.pid,
                    r->seen[i].unit.last_exit, r->seen[i].gone ? " gone" : "");
        for (unsigned k = 0; k < r->seen[i].states_n; k++)
            print_error(" %s", link_state_word((enum unit_state)r->seen[i].states[k]));
        print_error("\n");
    }
}

static void on_impatience(struct deadline *d)
{
    print_seen(container_of(d, struct rig, patience));
    fail_msg("what was waited for did not happen");
}

static void stop_turning(struct deadline *d)
{
    loop_stop(container_of(d, struct rig, patience)->loop);
}

static void run(struct rig *r, bool (*done)(struct rig *r))
{
    if (done(r))
        return;
    r->done = done;
    deadline_arm(r->loop, &r->patience, PATIENCE_MS, on_impatience);
    loop_run(r->loop);
    deadline_stop(&r->patience);
    r->done = NULL;
}

static bool is_in_state(struct rig *r)
{
    const struct link_unit *u = &r->seen[r->wanted_unit - 1].unit;

    return u->state == r->wanted && u->generation >= r->wanted_generation;
}

static bool is_gone(struct rig *r) { return r->seen[r->wanted_unit - 1].gone; }

static bool is_stopped(struct rig *r) { return r->stopped; }

static size_t read_output(const struct rig *r, unsigned id, char *text, size_t n)
{
    uint64_t at = 0;
    size_t got = ring_read(r->seen[id - 1].ring, &at, text, n - 1);

    text[got] = '\0';
    return got;
}

static bool has_written(struct rig *r)
{
    char text[8192];

    return r->seen[r->wanted_unit - 1].ring && read_output(r, r->wanted_unit, text, sizeof text) &&
           strstr(text, r->wanted_text);
}

/* In that state, with a process as young as that. */
static void await_state(struct rig *r, unsigned id, enum unit_state state, unsigned generation)
{
    r->wanted_unit = id;
    r->wanted = state;
    r->wanted_generation = generation;
    run(r, is_in_state);
}

static void await_text(struct rig *r, unsigned id, const char *text)
{
    r->wanted_unit = id;
    r->wanted_text = text;
    run(r, has_written);
}

static void await_gone(struct rig *r, unsigned id)
{
    r->wanted_unit = id;
    run(r, is_gone);
}

static void report(struct rig *r, unsigned id, enum link_report what)
{
    r->in_report = true;
    supervise_report(r->s, id, r->seen[id - 1].unit.generation, what);
    r->in_report = false;
    loop_settle(r->loop); /* the end of the turn that brought it */
}

static void report_ready(struct rig *r, unsigned id, unsigned generation)
{
    await_state(r, id, UNIT_LOADING, generation);
    report(r, id, LINK_REPORT_READY);
    await_state(r, id, UNIT_READY, generation);
}

static const char *ask(struct rig *r, enum link_verb verb, unsigned id)
{
    const char *why = NULL;

    assert_int_equal(supervise_ask(r->s, verb, id, &why), 0);
    assert_non_null(why);
    return why;
}

static void rig_open(struct rig *r)
{
    memset(r, 0, sizeof *r);
    (void)snprintf(r->dir, sizeof r->dir, "/tmp/supervise_test.XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(loop_create(&r->loop), 0);
    assert_int_equal(reaper_start(r->loop, &r->reaper), 0);
    loop_on_turn(r->loop, on_turn, r);
    r->log = log_writer_create();
    r->conf = (struct supervise_conf){.loop = r->loop,
                                      .log = r->log,
                                      .runtime_dir = r->dir,
                                      .env = env,
                                      .seed = 4711,
                                      .on_burst = SUPERVISE_SLOW,
                                      .burst = 5,
                                      .burst_ms = 60000,
                                      .slow_per_minute = 10};
    (void)snprintf(r->conf.instance, sizeof r->conf.instance, "%016x", (unsigned)getpid());
}

static void rig_start(struct rig *r)
{
    supervise_create(&r->conf, &ops, r, &r->s);
    supervise_tested(r->s, true);
}

/* Nothing of it may be left: no process of ours, no zombie. */
static void rig_end(struct rig *r)
{
    siginfo_t info = {.si_pid = 0};

    if (!r->stopped)
        supervise_stop_all(r->s, true);
    run(r, is_stopped);
    supervise_destroy(&r->s);
    assert_null(r->s);
    loop_settle(r->loop);
    reaper_close(&r->reaper);
    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT), -1);
    assert_int_equal(errno, ECHILD);
    loop_destroy(&r->loop);
    log_writer_destroy(&r->log);
    assert_int_equal(rmdir(r->dir), 0);
}

/* A configuration, as its defaults make it, with short times. */
struct config {
    struct engine_conf at[UNITS];
    struct str words[UNITS][8];
    size_t n;
};

static struct engine_conf *add_unit(struct config *c, const char *name, const char *script)
{
    struct engine_conf *e = &c->at[c->n];
    struct str *words = c->words[c->n++];

    words[0] = STR("/bin/sh");
    words[1] = STR("-c");
    words[2] = str_of(script);
    *e = (struct engine_conf){.name = str_of(name),
                              .command = {words, 3},
                              .restart = UNIT_RESTART_ALWAYS,
                              .restart_delay_ms = 200,
                              .restart_max_ms = 60000,
                              .stable_ms = 60000,
                              .stop_grace_ms = 5000,
                              .endpoint = ENGINE_AT_PORT};
    return e;
}

static void apply(struct rig *r, struct config *c)
{
    struct engine_conf_list list = {c->at, c->n};
    char memory[512];
    struct buf problem = buf_on(memory, sizeof memory);

    assert_int_equal(supervise_check(r->s, &list, &problem), 0);
    supervise_apply(r->s, &list, 10000);
}

static bool alive(pid_t pid) { return kill(pid, 0) == 0; }

static bool is_dead(struct rig *r) { return !alive(r->wanted_pid); }

/* Killed and reaped: SIGCHLD wakes the loop for it. */
static void await_dead(struct rig *r, pid_t pid)
{
    r->wanted_pid = pid;
    run(r, is_dead);
}

/* ---- */

static void starts_and_becomes_ready_by_report(void **state)
{
    struct config c = {.n = 0};
    struct rig r;
    struct link_unit *u = &r.seen[0].unit;
    char text[4096];

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "tiny", "echo port ${PORT} unit $INFERD_UNIT; echo oops >&2; env; exec sleep 60");
    apply(&r, &c);
    assert_int_equal(u->state, UNIT_STARTING); /* told at once */
    report_ready(&r, 1, 1);
    assert_string_equal(u->name, "tiny");
    assert_in_range(u->port, SUPERVISE_PORT_FIRST, SUPERVISE_PORT_LAST);
    assert_true(alive(u->pid));
    assert_int_equal(u->restarts, 0);
    await_text(&r, 1, "HOME=");
    (void)read_output(&r, 1, text, sizeof text);
    assert_non_null(strstr(text, "port 27"));
    assert_non_null(strstr(text, r.conf.instance));
    assert_non_null(strstr(text, "/tiny/"));
    assert_null(strstr(text, "INFERD_LOG"));
    assert_null(strstr(text, "LISTEN_"));
    assert_null(strstr(text, "NOTIFY_SOCKET"));
    assert_null(strstr(text, "WATCHDOG_"));
    await_text(&r, 1, "oops\n");
    report(&r, 1, LINK_REPORT_SILENT);
    await_state(&r, 1, UNIT_UNRESPONSIVE, 1);
    report(&r, 1, LINK_REPORT_READY);
    await_state(&r, 1, UNIT_READY, 1);
    supervise_report(r.s, 1, 7, LINK_REPORT_SILENT); /* of another process */
    supervise_report(r.s, 9, 1, LINK_REPORT_SILENT); /* of no unit */
    rig_end(&r);
    assert_int_equal(u->state, UNIT_STOPPED);
    assert_int_equal(u->pid, 0);
}

static void a_crash_is_restarted_after_a_delay(void **state)
{
    struct config c = {.n = 0};
    struct rig r;
    struct link_unit *u = &r.seen[0].unit;
    uint16_t port;

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "tiny", "exec sleep 60");
    apply(&r, &c);
    report_ready(&r, 1, 1);
    port = u->port;
    assert_int_equal(kill(u->pid, SIGSEGV), 0);
    await_state(&r, 1, UNIT_BACKOFF, 1);
    assert_string_equal(u->last_exit, "killed by SIGSEGV");
    assert_int_equal(u->pid, 0);
    assert_in_range(u->next_ms - u->since_ms, 200, 1000);
    report_ready(&r, 1, 2);
    assert_int_equal(u->restarts, 1);
    assert_int_equal(u->port, port);
    rig_end(&r);
}

/* A shell that tells its children's pids as "child=N.". */
static pid_t pid_of(struct rig *r, unsigned id, const char *label)
{
    char text[8192];
    const char *at;

    await_text(r, id, label);
    (void)read_output(r, id, text, sizeof text);
    at = strstr(text, label);
    return (pid_t)strtol(at + strlen(label), NULL, 10);
}

static void a_deaf_unit_is_killed_when_its_grace_is_over(void **state)
{
    struct config c = {.n = 0};
    struct rig r;
    struct link_unit *u = &r.seen[0].unit;
    uint64_t began;
    pid_t child;

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "deaf", "trap '' TERM; sleep 60 & echo child=$!.; while :; do sleep 60; done")
        ->stop_grace_ms = 300;
    apply(&r, &c);
    report_ready(&r, 1, 1);
    child = pid_of(&r, 1, "child=");
    began = loop_fresh_us(r.loop);
    assert_string_equal(ask(&r, LINK_STOP, 1), "stopping");
    assert_int_equal(u->state, UNIT_STOPPING);
    await_state(&r, 1, UNIT_STOPPED, 1);
    assert_in_range(loop_fresh_us(r.loop) - began, 290 * 1000, 5000 * 1000);
    assert_string_equal(u->last_exit, "killed by SIGKILL");
    await_dead(&r, child);
    assert_string_equal(ask(&r, LINK_STOP, 1), "it is stopped already");
    rig_end(&r);
}

static void what_left_its_group_is_swept_before_the_next_start(void **state)
{
    struct config c = {.n = 0};
    struct rig r;
    pid_t stray;

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "forks",
             "setsid -f sh -c 'trap \"\" TERM; echo child=$$.; while :; do sleep 60; done'; "
             "sleep 0.3; exec sleep 60");
    add_unit(&c, "other", "exec sleep 60");
    apply(&r, &c);
    report_ready(&r, 1, 1);
    report_ready(&r, 2, 1);
    stray = pid_of(&r, 1, "child=");
    assert_true(alive(stray));
    assert_int_equal(kill(r.seen[0].unit.pid, SIGKILL), 0);
    await_state(&r, 1, UNIT_LOADING, 2);
    await_dead(&r, stray);
    assert_int_equal(r.seen[1].unit.generation, 1);
    assert_true(alive(r.seen[1].unit.pid));
    rig_end(&r);
}

/* Programs that write their title over their environment lose the mark, but not their group. */
static void a_group_is_ended_without_its_mark(void **state)
{
    struct config c = {.n = 0};
    struct rig r;
    pid_t stray;

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "title",
             "env -i sh -c 'trap \"\" TERM; echo child=$$.; while :; do /bin/sleep 60; done' & "
             "exec sleep 60")
        ->stop_grace_ms = 400;
    apply(&r, &c);
    stray = pid_of(&r, 1, "child=");
    assert_true(alive(stray));
    ask(&r, LINK_STOP, 1);
    await_state(&r, 1, UNIT_STOPPED, 1);
    await_dead(&r, stray);
    rig_end(&r);
}

/* What an earlier run of this instance left is ended before anything is started. */
static void an_earlier_run_is_ended_first(void **state)
{
    static const char *const argv[] = {"sleep", "60", NULL};
    char mark[64];
    const char *left_env[] = {mark, NULL};
    struct config c = {.n = 0};
    struct rig r;
    pid_t left;

    (void)state;
    rig_open(&r);
    (void)snprintf(mark, sizeof mark, "INFERD_UNIT=%s/old/1", r.conf.instance);
    left = fork();
    if (left == 0) {
        execve("/bin/sleep", (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)left_env);
        _exit(1);
    }
    for (int i = 0; i < 2000; i++) { /* until it is that sleep */
        char path[64], got[256] = "";
        int fd;

        (void)snprintf(path, sizeof path, "/proc/%d/environ", (int)left);
        fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        if (read(fd, got, sizeof got - 1) > 0 && strstr(got, "/old/1")) {
            close(fd);
            break;
        }
        close(fd);
        usleep(1000);
    }
    rig_start(&r);
    add_unit(&c, "new", "exec sleep 60");
    apply(&r, &c);
    assert_int_equal(r.seen[0].unit.state, UNIT_STARTING);
    assert_int_equal(r.seen[0].unit.pid, 0);
    await_state(&r, 1, UNIT_LOADING, 1);
    await_dead(&r, left);
    rig_end(&r);
}

static void drains_until_it_is_idle(void **state)
{
    struct config c = {.n = 0};
    struct rig r;

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "busy", "exec sleep 60");
    apply(&r, &c);
    report_ready(&r, 1, 1);
    assert_string_equal(ask(&r, LINK_DRAIN, 1), "draining");
    assert_int_equal(r.seen[0].unit.state, UNIT_DRAINING);
    assert_true(alive(r.seen[0].unit.pid));
    report(&r, 1, LINK_REPORT_IDLE);
    await_state(&r, 1, UNIT_STOPPED, 1);
    assert_string_equal(r.seen[0].unit.last_exit, "killed by SIGTERM");
    assert_string_equal(ask(&r, LINK_START, 1), "starting");
    report_ready(&r, 1, 2);
    assert_string_equal(ask(&r, LINK_START, 1), "it runs already");
    assert_string_equal(ask(&r, LINK_RESTART, 1), "draining, then starting");
    report(&r, 1, LINK_REPORT_IDLE);
    report_ready(&r, 1, 3);
    assert_int_equal(r.seen[0].unit.restarts, 0); /* somebody asked */
    rig_end(&r);
}

static void a_reload_touches_what_it_must(void **state)
{
    struct config c = {.n = 0};
    struct rig r;
    pid_t pids[3];

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "same", "exec sleep 60");
    add_unit(&c, "changed", "exec sleep 60");
    add_unit(&c, "removed", "exec sleep 60");
    apply(&r, &c);
    for (unsigned i = 0; i < 3; i++) {
        report_ready(&r, i + 1, 1);
        pids[i] = r.seen[i].unit.pid;
    }
    c.n = 0;
    add_unit(&c, "same", "exec sleep 60")->restart_delay_ms = 777; /* no other process */
    add_unit(&c, "changed", "exec sleep 61");
    add_unit(&c, "new", "exec sleep 60");
    apply(&r, &c);
    assert_int_equal(r.seen[1].unit.state, UNIT_DRAINING);
    assert_int_equal(r.seen[2].unit.state, UNIT_DRAINING);
    report_ready(&r, 4, 1);
    assert_string_equal(r.seen[3].unit.name, "new");
    report(&r, 2, LINK_REPORT_IDLE);
    report(&r, 3, LINK_REPORT_IDLE);
    report_ready(&r, 2, 2);
    await_gone(&r, 3);
    assert_int_equal(r.seen[0].unit.pid, pids[0]);
    assert_int_equal(r.seen[0].unit.generation, 1);
    await_dead(&r, pids[1]);
    await_dead(&r, pids[2]);
    rig_end(&r);
}

static void stops_all_with_grace_and_then_without(void **state)
{
    struct config c = {.n = 0};
    struct rig r;
    uint64_t began;

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "polite", "exec sleep 60");
    add_unit(&c, "deaf", "trap '' TERM; echo deaf; while :; do sleep 60; done")->stop_grace_ms =
        60000;
    add_unit(&c, "crashes", "exit 3")->restart_delay_ms = 60000;
    apply(&r, &c);
    report_ready(&r, 1, 1);
    await_text(&r, 2, "deaf\n");
    await_state(&r, 3, UNIT_BACKOFF, 1);
    supervise_stop_all(r.s, false);
    assert_int_equal(r.seen[2].unit.state, UNIT_STOPPED);
    await_state(&r, 1, UNIT_STOPPED, 1);
    assert_false(r.stopped);
    assert_string_equal(ask(&r, LINK_START, 1), "inferd is stopping");
    apply(&r, &c);
    assert_int_equal(r.seen[1].unit.state, UNIT_STOPPING);
    began = loop_fresh_us(r.loop);
    supervise_stop_all(r.s, true);
    assert_false(r.stopped); /* later than that call */
    run(&r, is_stopped);
    assert_in_range(loop_fresh_us(r.loop) - began, 0, 5000 * 1000);
    rig_end(&r);
}

static void what_cannot_be_started_says_why(void **state)
{
    struct config c = {.n = 0};
    struct rig r;

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "absent", "")->command.at[0] = STR("/nonexistent/program");
    add_unit(&c, "script", "");
    c.at[1].command.at[0] = STR("/etc/passwd");
    add_unit(&c, "once", "exit 7")->restart = UNIT_RESTART_NEVER;
    add_unit(&c, "fine", "exit 0")->restart = UNIT_RESTART_FAILURE;
    apply(&r, &c);
    await_state(&r, 1, UNIT_BACKOFF, 0);
    assert_string_equal(r.seen[0].unit.last_exit, "there is no program /nonexistent/program");
    assert_int_equal(r.seen[0].unit.generation, 0);
    await_state(&r, 2, UNIT_BACKOFF, 0);
    assert_string_equal(r.seen[1].unit.last_exit, "/etc/passwd is not executable");
    await_state(&r, 3, UNIT_EXITED, 1);
    assert_string_equal(r.seen[2].unit.last_exit, "exit status 7");
    await_state(&r, 4, UNIT_EXITED, 1);
    rig_end(&r);
}

static void a_burst_parks_until_asked(void **state)
{
    struct config c = {.n = 0};
    struct rig r;

    (void)state;
    rig_open(&r);
    r.conf.on_burst = SUPERVISE_PARK;
    r.conf.burst = 3;
    rig_start(&r);
    add_unit(&c, "crashes", "exit 3")->restart_max_ms = 200;
    apply(&r, &c);
    await_state(&r, 1, UNIT_PARKED, 3);
    assert_int_equal(r.seen[0].unit.restarts, 2);
    assert_string_equal(ask(&r, LINK_START, 1), "starting");
    await_state(&r, 1, UNIT_PARKED, 6);
    rig_end(&r);
}

static void a_stopped_process_is_ended(void **state)
{
    struct config c = {.n = 0};
    struct rig r;

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "hung", "exec sleep 60")->hang_timeout_ms = 50;
    apply(&r, &c);
    report_ready(&r, 1, 1);
    assert_int_equal(kill(r.seen[0].unit.pid, SIGSTOP), 0);
    report(&r, 1, LINK_REPORT_SILENT);
    await_state(&r, 1, UNIT_BACKOFF, 1);
    assert_string_equal(r.seen[0].unit.last_exit, "unresponsive for too long: killed by SIGTERM");
    report_ready(&r, 1, 2);
    rig_end(&r);
}

static void a_socket_is_a_path_of_the_runtime_directory(void **state)
{
    struct config c = {.n = 0};
    struct engine_conf_list list = {c.at, 1};
    char memory[512], wanted[128], name[128];
    struct buf problem = buf_on(memory, sizeof memory);
    struct rig r;

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "sock", "echo at ${SOCKET}; exec sleep 60")->endpoint = ENGINE_AT_SOCKET;
    apply(&r, &c);
    report_ready(&r, 1, 1);
    (void)snprintf(wanted, sizeof wanted, "%s/unit-sock.sock", r.dir);
    assert_string_equal(r.seen[0].unit.socket, wanted);
    assert_int_equal(r.seen[0].unit.port, 0);
    await_text(&r, 1, wanted);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    c.at[0].name = str_of(name);
    assert_int_equal(supervise_check(r.s, &list, &problem), -E_CONF);
    assert_non_null(strstr(buf_cstr(&problem), "is longer than 107 bytes"));
    rig_end(&r);
}

static int listen_at(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void a_port_in_use_is_not_used(void **state)
{
    struct config c = {.n = 0};
    struct rig r;
    struct sockaddr_in at;
    socklen_t n = sizeof at;
    char url[64];
    uint16_t port;
    int fd;

    (void)state;
    rig_open(&r);
    rig_start(&r);
    fd = listen_at(0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", ntohs(at.sin_port));
    add_unit(&c, "moves", "exec sleep 60");
    add_unit(&c, "cannot", "exec sleep 60")->endpoint = ENGINE_AT_URL;
    c.at[1].url = str_of(url);
    apply(&r, &c);
    await_state(&r, 1, UNIT_LOADING, 1);
    await_state(&r, 2, UNIT_BACKOFF, 0);
    assert_non_null(strstr(r.seen[1].unit.last_exit, "is in use"));
    close(fd);
    await_state(&r, 2, UNIT_LOADING, 1);
    port = r.seen[0].unit.port;
    fd = listen_at(port);
    assert_int_equal(kill(r.seen[0].unit.pid, SIGKILL), 0);
    await_state(&r, 1, UNIT_LOADING, 2);
    assert_int_not_equal(r.seen[0].unit.port, port);
    close(fd);
    rig_end(&r);
}

/* R26: a hundred megabytes a second, and nobody else notices. */
static void a_flood_of_output_stops_nobody(void **state)
{
    static const struct str lines[] = {{"y y y y y y y y\n", 16}};
    struct config c = {.n = 0};
    struct rig r;
    char text[1024];
    uint64_t began, from;

    (void)state;
    rig_open(&r);
    rig_start(&r);
    add_unit(&c, "loud", "exec yes 'y y y y y y y y'")->stop_grace_ms = 1000;
    add_unit(&c, "calm", "exec sleep 60");
    apply(&r, &c);
    report_ready(&r, 1, 1);
    report_ready(&r, 2, 1);
    await_text(&r, 1, "y y\n");
    began = loop_fresh_us(r.loop);
    for (from = ring_newest(r.seen[0].ring); ring_newest(r.seen[0].ring) - from < 20 << 20;) {
        r.wanted_unit = 1; /* turn by turn */
        deadline_arm(r.loop, &r.patience, 1, stop_turning);
        loop_run(r.loop);
        assert_true(loop_fresh_us(r.loop) - began < PATIENCE_MS * 1000);
    }
    (void)read_output(&r, 1, text, 17);
    assert_str_is(lines[0], text);
    began = loop_fresh_us(r.loop);
    ask(&r, LINK_STOP, 2);
    await_state(&r, 2, UNIT_STOPPED, 1);
    ask(&r, LINK_STOP, 1);
    await_state(&r, 1, UNIT_STOPPED, 1);
    assert_true(loop_fresh_us(r.loop) - began < 8000 * 1000);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_and_becomes_ready_by_report),
        cmocka_unit_test(a_crash_is_restarted_after_a_delay),
        cmocka_unit_test(a_deaf_unit_is_killed_when_its_grace_is_over),
        cmocka_unit_test(what_left_its_group_is_swept_before_the_next_start),
        cmocka_unit_test(a_group_is_ended_without_its_mark),
        cmocka_unit_test(an_earlier_run_is_ended_first),
        cmocka_unit_test(drains_until_it_is_idle),
        cmocka_unit_test(a_reload_touches_what_it_must),
        cmocka_unit_test(stops_all_with_grace_and_then_without),
        cmocka_unit_test(what_cannot_be_started_says_why),
        cmocka_unit_test(a_burst_parks_until_asked),
        cmocka_unit_test(a_stopped_process_is_ended),
        cmocka_unit_test(a_socket_is_a_path_of_the_runtime_directory),
        cmocka_unit_test(a_port_in_use_is_not_used),
        cmocka_unit_test(a_flood_of_output_stops_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
