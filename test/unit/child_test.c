/* SPDX-License-Identifier: Apache-2.0
 *
 * child_test.c - real processes: how they are started, what they inherit, how their end is noticed,
 * who dies with whom; and the sweep that finds by mark what left its group.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "unit.h"

#include "ev/child.h"
#include "ev/deadline.h"
#include "ev/port.h"
#include "ev/sweep.h"

enum { PATIENCE_MS = 20000, LOOK_MS = 10 };

struct rig {
    struct loop *loop;
    struct child *child;
    struct deadline patience, again;
    bool running, exited;
    struct child_exit how;
    char out[CHILD_STREAMS][8192];
    size_t out_n[CHILD_STREAMS];
    uint64_t out_total;
    unsigned ends; /* streams that ended */
    bool (*done)(struct rig *r);
    unsigned sweep_ended, sweep_left;
    bool swept;
};

static bool all_over(struct rig *r) { return r->exited && r->ends == CHILD_STREAMS; }

static bool only_exit(struct rig *r) { return r->exited; }

static bool said_ready(struct rig *r) { return strstr(r->out[CHILD_STDOUT], "ready\n") != NULL; }

static bool swept(struct rig *r) { return r->swept; }

static void look(struct rig *r)
{
    if (r->done && r->done(r))
        loop_stop(r->loop);
}

static void on_running(void *ctx)
{
    struct rig *r = ctx;

    assert_false(r->exited);
    r->running = true;
    look(r);
}

static void on_output(void *ctx, enum child_stream s, struct str bytes)
{
    struct rig *r = ctx;
    size_t n = min_size(bytes.n, sizeof r->out[s] - 1 - r->out_n[s]);

    r->ends += bytes.n == 0;
    r->out_total += bytes.n;
    if (n)
        memcpy(r->out[s] + r->out_n[s], bytes.p, n);
    r->out_n[s] += n;
    look(r);
}

static void on_exit_(void *ctx, const struct child_exit *how)
{
    struct rig *r = ctx;

    r->exited = true;
    r->how = *how;
    look(r);
}

static const struct child_ops ops = {on_running, on_output, on_exit_};

static void on_impatience(struct deadline *d)
{
    struct rig *r = container_of(d, struct rig, patience);

    fail_msg("waited too long; running %d exited %d, stdout \"%s\", stderr \"%s\"", r->running,
             r->exited, r->out[0], r->out[1]);
}

static void run(struct rig *r, bool (*done)(struct rig *r))
{
    r->done = done;
    if (done(r))
        return;
    deadline_arm(r->loop, &r->patience, PATIENCE_MS, on_impatience);
    loop_run(r->loop);
    deadline_stop(&r->patience);
}

static const char *const *shell(const char *script)
{
    static const char *argv[] = {"sh", "-c", NULL, NULL};

    argv[2] = script;
    return argv;
}

static void rig_open(struct rig *r)
{
    memset(r, 0, sizeof *r);
    assert_int_equal(loop_create(&r->loop), 0);
}

static void rig_begin(struct rig *r, const struct child_conf *conf)
{
    rig_open(r);
    assert_int_equal(child_start(r->loop, conf, &ops, r, &r->child), 0);
    assert_false(r->running || r->exited); /* never inside the call */
}

static void rig_sh(struct rig *r, const char *script, const char *const *env)
{
    static const char *const none[] = {NULL};

    rig_begin(r, &(struct child_conf){.file = "/bin/sh",
                                      .argv = shell(script),
                                      .env = env ? env : none,
                                      .capture = true,
                                      .umask = 077});
}

static void rig_end(struct rig *r)
{
    if (r->child && !child_exited(r->child)) {
        child_signal_group(r->child, SIGKILL);
        run(r, only_exit);
    }
    child_close(&r->child);
    loop_destroy(&r->loop);
}

static void tells_how_it_ended(void **state)
{
    static const struct {
        const char *script, *text;
        enum child_how how;
        int code;
    } rows[] = {
        {"exit 0", "exit status 0", CHILD_EXITED, 0},
        {"exit 3", "exit status 3", CHILD_EXITED, 3},
        {"kill -SEGV $$", "killed by SIGSEGV", CHILD_KILLED, SIGSEGV},
        {"kill -KILL $$", "killed by SIGKILL", CHILD_KILLED, SIGKILL},
        {"kill -34 $$; exit 9", "killed by signal 34", CHILD_KILLED, 34},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        char text[64];

        rig_sh(&r, rows[i].script, NULL);
        run(&r, only_exit);
        assert_true(r.running);
        assert_int_equal(r.how.how, rows[i].how);
        assert_int_equal(r.how.code, rows[i].code);
        child_exit_text(&r.how, text, sizeof text);
        assert_string_equal(text, rows[i].text);
        rig_end(&r);
    }
}

static void tells_why_it_does_not_run(void **state)
{
    static const char *const none[] = {NULL}, *const argv[] = {"x", NULL};
    struct rig r;
    char text[128], script[] = "/tmp/inferd-test-XXXXXX";
    int fd;

    (void)state;
    rig_begin(&r, &(struct child_conf){
                      .file = "/nonexistent/x", .argv = argv, .env = none, .capture = true});
    run(&r, only_exit);
    assert_false(r.running);
    assert_int_equal(r.how.how, CHILD_NOT_RUN);
    assert_int_equal(r.how.code, ENOENT);
    child_exit_text(&r.how, text, sizeof text);
    assert_string_equal(text, "could not be started: exec: No such file or directory");
    rig_end(&r);

    rig_begin(&r,
              &(struct child_conf){
                  .file = "/bin/sh", .argv = argv, .env = none, .work_dir = "/nonexistent/dir"});
    run(&r, only_exit);
    child_exit_text(&r.how, text, sizeof text);
    assert_string_equal(text, "could not be started: work_dir: No such file or directory");
    rig_end(&r);

    fd = mkstemp(script); /* a file that is no program */
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "hello", 5), 5);
    assert_int_equal(fchmod(fd, 0700), 0);
    close(fd);
    rig_begin(&r, &(struct child_conf){.file = script, .argv = argv, .env = none});
    run(&r, only_exit);
    child_exit_text(&r.how, text, sizeof text);
    assert_string_equal(text, "could not be started: exec: Exec format error");
    unlink(script);
    rig_end(&r);
}

static void starts_clean(void **state)
{
    static const char *const env[] = {"A=1", "B=two words", NULL};
    int stray = open("/dev/null", O_RDONLY); /* a library's descriptor, without close-on-exec */
    struct rig r;

    (void)state;
    assert_true(stray > 2);
    rig_sh(&r,
           "echo fds: /proc/self/fd/*; readlink /proc/self/fd/0; echo $A $B; umask; ulimit -c;"
           "grep -E 'Sig(Blk|Ign)' /proc/self/status; read x || echo eof; env | wc -l",
           env);
    run(&r, all_over);
    /* 3 is the shell's own view of the directory */
    assert_non_null(strstr(r.out[0], "fds: /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2"));
    assert_null(strstr(r.out[0], "/proc/self/fd/4"));
    assert_non_null(strstr(r.out[0], "\n/dev/null\n1 two words\n0077\n0\n"));
    if (!strstr(r.out[0], "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\neof\n"))
        fail_msg("the child said: %s", r.out[0]);
    assert_string_equal(r.out[1], "");
    close(stray);
    rig_end(&r);
}

/* libc refuses to touch the two signals it uses itself, so an ancestor's SIG_IGN came through. */
static void resets_the_signals_that_libc_keeps(void **state)
{
    static const unsigned long ignored[8] = {1}, dfl[8];
    struct rig r;

    (void)state;
    assert_int_equal(syscall(SYS_rt_sigaction, 32, ignored, NULL, NSIG / 8), 0);
    rig_sh(&r, "grep SigIgn /proc/self/status", NULL);
    run(&r, all_over);
    assert_int_equal(syscall(SYS_rt_sigaction, 32, dfl, NULL, NSIG / 8), 0);
    assert_string_equal(r.out[0], "SigIgn:\t0000000000000000\n");
    rig_end(&r);
}

static void leads_its_own_session(void **state)
{
    struct rig r;
    char want[64];

    (void)state;
    /* pid, group, session */
    rig_sh(
        &r,
        "set -- $(sed 's/.*) //' /proc/$$/stat); echo $$ $3 $4 ready; echo ready; sleep 60 & wait",
        NULL);
    run(&r, said_ready);
    snprintf(want, sizeof want, "%d %d %d ready\n", (int)child_pid(r.child),
             (int)child_pid(r.child), (int)child_pid(r.child));
    assert_memory_equal(r.out[0], want, strlen(want));
    child_signal_group(r.child, SIGTERM); /* the sleep, too: else the pipes stay open */
    run(&r, all_over);
    assert_int_equal(r.how.how, CHILD_KILLED);
    rig_end(&r);
}

static void passes_a_descriptor(void **state)
{
    static const char *const none[] = {NULL};
    struct rig r;
    struct ev_fd pass;
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(write(fds[1], "through\n", 8), 8);
    pass.fd = fds[0];
    rig_begin(&r, &(struct child_conf){.file = "/bin/sh",
                                       .argv = shell("read x <&3; echo $x"),
                                       .env = none,
                                       .capture = true,
                                       .pass = &pass});
    run(&r, all_over);
    assert_string_equal(r.out[0], "through\n");
    close(fds[0]);
    close(fds[1]);
    rig_end(&r);
}

static void captures_everything(void **state)
{
    struct rig r;

    (void)state;
    rig_sh(&r, "printf 'a\\0b'; printf err >&2; head -c 3000000 /dev/zero", NULL);
    run(&r, all_over);
    assert_memory_equal(r.out[0], "a\0b", 3);
    assert_string_equal(r.out[1], "err");
    assert_int_equal(r.out_total, 3000006);
    rig_end(&r);
}

/* A grandchild that holds the pipes does not postpone the news of the exit. */
static void exit_does_not_wait_for_the_pipes(void **state)
{
    struct rig r;

    (void)state;
    rig_sh(&r, "sleep 60 & echo last words; exit 5", NULL);
    run(&r, only_exit);
    assert_int_equal(r.how.code, 5);
    assert_string_equal(r.out[0], "last words\n"); /* told before the exit */
    assert_int_equal(r.ends, 0);
    child_signal_group(r.child, SIGKILL); /* the group outlives its leader */
    run(&r, all_over);
    rig_end(&r);
}

static void is_killed_with_its_parent(void **state)
{
    int fds[2];
    pid_t pid, grandchild = 0;
    char c;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid ==
        0) { /* the parent-to-be: starts a child that holds the pipe, then dies without a word */
        struct rig r;
        struct ev_fd pass = {fds[1]};
        static const char *const none[] = {NULL};

        rig_begin(&r,
                  &(struct child_conf){.file = "/bin/sh",
                                       .env = none,
                                       .pass = &pass,
                                       .capture = true,
                                       .argv = shell("trap '' TERM HUP INT; sleep 60 & echo ready; "
                                                     "exec sleep 60 3>&-")});
        run(&r, said_ready);
        grandchild = child_pid(r.child);
        if (write(fds[1], &grandchild, sizeof grandchild) != sizeof grandchild)
            _exit(1);
        raise(SIGKILL);
    }
    assert_int_equal(read(fds[0], &grandchild, sizeof grandchild), sizeof grandchild);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(fds[1]);
    for (int i = 0; i < PATIENCE_MS / LOOK_MS && kill(grandchild, 0) == 0; i++)
        usleep(LOOK_MS * 1000);
    assert_int_equal(kill(grandchild, 0), -1);
    assert_int_equal(kill(-grandchild, SIGKILL),
                     0); /* its own child is in the group: not reached */
    while (read(fds[0], &c, 1) > 0)
        ;
    close(fds[0]);
}

static void on_swept(void *ctx, unsigned ended, unsigned left)
{
    struct rig *r = ctx;

    r->swept = true;
    r->sweep_ended = ended;
    r->sweep_left = left;
    look(r);
}

static bool no_zombie(struct rig *r)
{
    siginfo_t info = {.si_pid = 0};

    (void)r;
    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT),
                     0); /* there are children */
    return info.si_pid == 0;
}

static void on_again(struct deadline *d)
{
    struct rig *r = container_of(d, struct rig, again);

    deadline_arm(r->loop, &r->again, LOOK_MS, on_again);
    look(r);
}

/* For what no callback tells of. */
static void run_and_look(struct rig *r, bool (*done)(struct rig *r))
{
    deadline_arm(r->loop, &r->again, LOOK_MS, on_again);
    run(r, done);
    deadline_stop(&r->again);
}

static bool spare_live(void *ctx, struct str mark)
{
    (void)ctx;
    return str_ends(mark, STR("/live"));
}

static void sweep_finds_what_left(void **state)
{
    static const char *const env[] = {"PATH=/usr/bin:/bin", SWEEP_MARK "=t35t/a b/dead", NULL};
    static const char *const other[] = {"PATH=/usr/bin:/bin", SWEEP_MARK "=t35t/a/live", NULL};
    struct reaper *reaper;
    struct rig r, live;
    struct sweep *s;
    uint64_t began;

    (void)state;
    rig_sh(&live, "echo ready; sleep 60 & wait", other);
    run(&live, said_ready);
    rig_sh(&r,
           "setsid -f sh -c \"trap '' TERM; sleep 61 & echo ready; wait; sleep 62\"; setsid -f "
           "sleep 63",
           env);
    assert_int_equal(reaper_start(r.loop, &reaper), 0);
    run(&r, said_ready);
    run(&r, only_exit);
    began = loop_fresh_us(r.loop);
    sweep_start(r.loop, STR("t35t/"), SWEEP_GRACE_MS, spare_live, on_swept, &r, &s);
    run(&r, swept);
    assert_true(r.sweep_ended >= 3); /* two that end at TERM, one at KILL, and what it forked */
    assert_int_equal(r.sweep_left, 0);
    assert_true(loop_fresh_us(r.loop) - began > 1900 * 1000);
    assert_false(child_exited(live.child));
    r.swept = false; /* nobody is left */
    sweep_start(r.loop, STR("t35t/a b/dead"), SWEEP_GRACE_MS, NULL, on_swept, &r, &s);
    run(&r, swept);
    assert_int_equal(r.sweep_ended, 0);
    child_close(&r.child);       /* with it the adopted zombies behind it go */
    run_and_look(&r, no_zombie); /* the live one is all that is left */
    reaper_close(&reaper);
    rig_end(&r);
    rig_end(&live);
}

static void sweep_can_be_canceled(void **state)
{
    struct rig r;
    struct sweep *s;

    (void)state;
    rig_open(&r);
    sweep_start(r.loop, STR("nobody/"), SWEEP_GRACE_MS, NULL, on_swept, &r, &s);
    sweep_cancel(&s);
    assert_null(s);
    sweep_start(r.loop, STR("nobody/"), SWEEP_GRACE_MS, NULL, on_swept, &r, &s);
    run(&r, swept);
    rig_end(&r);
}

static void adopted_zombies_are_reaped(void **state)
{
    struct reaper *reaper;
    struct rig r;

    (void)state;
    rig_open(&r);
    assert_int_equal(reaper_start(r.loop, &reaper), 0);
    assert_int_equal(
        child_start(r.loop,
                    &(struct child_conf){.file = "/bin/sh",
                                         .capture = true,
                                         .argv = shell("for i in 1 2 3 4 5 6 7 8; do "
                                                       "setsid -f true; done; sleep 0.2; "
                                                       "echo ready; sleep 60"),
                                         .env = (const char *const[]){NULL}},
                    &ops, &r, &r.child),
        0);
    run(&r, said_ready);
    run_and_look(&r, no_zombie);
    reaper_close(&reaper);
    rig_end(&r);
}

static void port_is_asked_by_binding(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    assert_false(port_is_free(ntohs(at.sin_port)));
    assert_int_equal(accept(fd, NULL, NULL), -1); /* nobody knocked */
    close(fd);
    assert_true(port_is_free(ntohs(at.sin_port)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_how_it_ended),
        cmocka_unit_test(tells_why_it_does_not_run),
        cmocka_unit_test(starts_clean),
        cmocka_unit_test(resets_the_signals_that_libc_keeps),
        cmocka_unit_test(leads_its_own_session),
        cmocka_unit_test(passes_a_descriptor),
        cmocka_unit_test(captures_everything),
        cmocka_unit_test(exit_does_not_wait_for_the_pipes),
        cmocka_unit_test(is_killed_with_its_parent),
        cmocka_unit_test(sweep_finds_what_left),
        cmocka_unit_test(sweep_can_be_canceled),
        cmocka_unit_test(adopted_zombies_are_reaped),
        cmocka_unit_test(port_is_asked_by_binding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
