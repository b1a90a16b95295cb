/* SPDX-License-Identifier: Apache-2.0
 *
 * sandbox_test.c - what a process may still do behind the filter, tried in children that enter it.
 * Sanitizers need the very calls that are denied, so this program and its copy of ev/sandbox.c are
 * built without one in every build (see meson.build).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "ev/sandbox.h"
#include "unit.h"

enum { FILTERED = 2 }; /* PR_GET_SECCOMP */

/* Runs `fn` in a child that has entered the sandbox; its exit status, or minus the signal. */
static int inside(enum sandbox_deny deny, const struct sandbox_user *user, int (*fn)(void))
{
    pid_t parent = getpid(), pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        struct sandbox_report report;

        if (sandbox_enter(user, deny, parent, &report) < 0)
            _exit(101);
        if (!report.filtered || report.why_not || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != FILTERED)
            _exit(102);
        _exit(fn());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* 0, or the number of the first row that was answered otherwise. */
struct denied {
    long number;
    long args[4];
    int answer;
};

static int try_all(const struct denied *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const long *a = rows[i].args;

        errno = 0;
        if (syscall(rows[i].number, a[0], a[1], a[2], a[3]) >= 0 || errno != rows[i].answer) {
            fprintf(stderr, "system call %ld: %s\n", rows[i].number, strerror(errno));
            return (int)i + 1;
        }
    }
    return 0;
}

#define TRY(...)                                                                                   \
    static const struct denied rows[] = {__VA_ARGS__};                                             \
    return try_all(rows, ARRAY_LEN(rows))

/* Arguments are null pointers and bad descriptors: unfiltered, these answer EFAULT or EBADF. */
static int start_processes(void)
{
    TRY({SYS_execve, {0}, EPERM}, {SYS_execveat, {-1}, EPERM}, {SYS_clone, {SIGCHLD}, EPERM},
        {SYS_clone, {CLONE_VM | CLONE_VFORK | SIGCHLD}, EPERM}, {SYS_clone3, {0}, ENOSYS},
#ifdef SYS_fork
        {SYS_fork, {0}, EPERM}, {SYS_vfork, {0}, EPERM},
#endif
    );
}

static int reach_into_processes(void)
{
    TRY({SYS_ptrace, {PTRACE_ATTACH, 1}, EPERM}, {SYS_process_vm_readv, {1}, EPERM},
        {SYS_process_vm_writev, {1}, EPERM}, {SYS_pidfd_getfd, {-1}, EPERM});
}

static int leave_the_box(void)
{
    TRY({SYS_mount, {0}, EPERM}, {SYS_umount2, {0}, EPERM}, {SYS_pivot_root, {0}, EPERM},
        {SYS_chroot, {0}, EPERM}, {SYS_bpf, {-1}, EPERM}, {SYS_keyctl, {-1}, EPERM},
        {SYS_add_key, {0}, EPERM}, {SYS_request_key, {0}, EPERM}, {SYS_userfaultfd, {-1}, EPERM},
        {SYS_unshare, {0}, EPERM}, {SYS_setns, {-1}, EPERM}, {SYS_init_module, {0}, EPERM},
        {SYS_finit_module, {-1}, EPERM}, {SYS_delete_module, {0}, EPERM},
        {SYS_kexec_load, {0}, EPERM}, {SYS_perf_event_open, {0}, EPERM},
        {SYS_open_by_handle_at, {-1}, EPERM}, {SYS_personality, {0}, EPERM},
        {SYS_socket, {AF_NETLINK, SOCK_RAW}, EPERM}, {SYS_socket, {AF_PACKET, SOCK_RAW}, EPERM},
        {SYS_io_uring_setup, {0}, ENOSYS}, {SYS_io_uring_enter, {-1}, ENOSYS},
        {SYS_io_uring_register, {-1}, ENOSYS});
}

static void *say_done(void *done)
{
    *(bool *)done = true;
    return NULL;
}

/* Threads, sockets, files and memory: what a gateway lives by. */
static int do_what_servers_do(void)
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    bool done = false;
    pthread_t thread;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || write(null, "x", 1) != 1)
        return 1;
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        if (socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0) < 0 && errno != EAFNOSUPPORT)
            return 2;
    if (pthread_create(&thread, NULL, say_done, &done) != 0 || pthread_join(thread, NULL) != 0)
        return 3;
    return done ? 0 : 4;
}

static int is_confined(void)
{
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 1;
    if (prctl(PR_GET_DUMPABLE) != 0)
        return 2;
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        if (geteuid() == 0 && prctl(PR_CAPBSET_READ, cap) != 0)
            return 3;
    return 0;
}

static int is_nobody(void)
{
    if (geteuid() != 65534 || getuid() != 65534 || getegid() != 65534 || getgroups(0, NULL) != 0)
        return 1;
    if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0)
        return 2;
    return is_confined();
}

static void test_it_starts_no_process(void **state)
{
    (void)state;
    assert_int_equal(inside(SANDBOX_REFUSE, NULL, start_processes), 0);
}

static void test_it_reaches_into_no_process(void **state)
{
    (void)state;
    assert_int_equal(inside(SANDBOX_REFUSE, NULL, reach_into_processes), 0);
}

static void test_nothing_leads_out(void **state)
{
    (void)state;
    assert_int_equal(inside(SANDBOX_REFUSE, NULL, leave_the_box), 0);
}

static void test_servers_live_on(void **state)
{
    (void)state;
    assert_int_equal(inside(SANDBOX_REFUSE, NULL, do_what_servers_do), 0);
    assert_int_equal(inside(SANDBOX_KILL, NULL, do_what_servers_do), 0);
}

static void test_where_refusals_kill(void **state)
{
    (void)state;
    assert_int_equal(inside(SANDBOX_KILL, NULL, start_processes), -SIGSYS);
    assert_int_equal(inside(SANDBOX_KILL, NULL, reach_into_processes), -SIGSYS);
    assert_int_equal(inside(SANDBOX_KILL, NULL, leave_the_box), 0); /* libraries may probe these */
}

static void test_rights_do_not_come_back(void **state)
{
    static const struct sandbox_user nobody = {.uid = 65534, .gid = 65534, .name = "nobody"};

    (void)state;
    assert_int_equal(inside(SANDBOX_REFUSE, NULL, is_confined), 0);
    if (geteuid() == 0)
        assert_int_equal(inside(SANDBOX_REFUSE, &nobody, is_nobody), 0);
    else
        assert_int_equal(inside(SANDBOX_REFUSE, &nobody, is_nobody), 101); /* it goes no further */
}

static void test_another_parent_is_the_end(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0) {
        struct sandbox_report report;

        (void)!sandbox_enter(NULL, SANDBOX_REFUSE, 1, &report);
        _exit(7);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_it_dies_with_its_parent(void **state)
{
    int status, pair[2];
    pid_t outer;
    char byte;

    (void)state;
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    outer = fork();
    if (outer == 0) { /* the parent of the one in the box */
        pid_t self = getpid();

        if (fork() == 0) {
            struct sandbox_report report;

            if (sandbox_enter(NULL, SANDBOX_REFUSE, self, &report) == 0)
                (void)!write(pair[1], "r", 1);
            for (;;)
                pause();
        }
        close(pair[1]);
        (void)!read(pair[0], &byte, 1);
        _exit(0);
    }
    assert_int_equal(waitpid(outer, &status, 0), outer);
    close(pair[1]);
    while (read(pair[0], &byte, 1) > 0) /* ends when the last holder of the other end has */
        continue;
    close(pair[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_starts_no_process),
        cmocka_unit_test(test_it_reaches_into_no_process),
        cmocka_unit_test(test_nothing_leads_out),
        cmocka_unit_test(test_servers_live_on),
        cmocka_unit_test(test_where_refusals_kill),
        cmocka_unit_test(test_rights_do_not_come_back),
        cmocka_unit_test(test_another_parent_is_the_end),
        cmocka_unit_test(test_it_dies_with_its_parent),
    };

    alarm(60); /* a child that never ends is a failure */
    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
