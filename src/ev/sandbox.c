/* SPDX-License-Identifier: Apache-2.0
 *
 * sandbox.c - see sandbox.h. The filter allows by default and denies by list: what it must stop is
 * the step from a broken gateway to a program of the attacker's, and lists of everything that libc
 * may ever need break on the next libc. io_uring answers ENOSYS: libuv probes it and goes without.
 */
#include "ev/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <linux/capability.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

uint64_t sandbox_shield(void)
{
    struct rlimit none = {0, 0}, files;
    uint64_t before;

    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)setrlimit(RLIMIT_CORE, &none);
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    before = files.rlim_cur;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    return before;
}

static bool find_user(const char *name, struct sandbox_user *ret)
{
    struct passwd *pw = getpwnam(name);

    if (!pw || strlen(name) >= sizeof ret->name)
        return false;
    ret->uid = pw->pw_uid;
    ret->gid = pw->pw_gid;
    memcpy(ret->name, name, strlen(name) + 1);
    return true;
}

int sandbox_find_user(const char *name, struct sandbox_user *ret)
{
    if (name)
        return find_user(name, ret) ? 0 : -E_NOT_FOUND;
    return find_user("inferd", ret) || find_user("nobody", ret) ? 0 : -E_NOT_FOUND;
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}, {0}};

    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap); /* only root may, and only root needs to */
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &head, none) < 0 ? -E_PERM : 0;
}

static int become(const struct sandbox_user *u)
{
    uid_t r, e, s;

    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap); /* while we still may */
    if (setgroups(0, NULL) < 0 || setresgid(u->gid, u->gid, u->gid) < 0 ||
        setresuid(u->uid, u->uid, u->uid) < 0)
        return -E_PERM;
    if (getresuid(&r, &e, &s) < 0 || r != u->uid || e != u->uid || s != u->uid)
        return -E_PERM;
    if (u->uid != 0 && (setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0))
        return -E_PERM; /* it must not be possible to come back */
    return 0;
}

/* The calls that start processes or reach into them. */
static int deny_processes(scmp_filter_ctx f, uint32_t action)
{
    static const int calls[] = {SCMP_SYS(execve),
                                SCMP_SYS(execveat),
                                SCMP_SYS(fork),
                                SCMP_SYS(vfork),
                                SCMP_SYS(ptrace),
                                SCMP_SYS(process_vm_readv),
                                SCMP_SYS(process_vm_writev)};
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(calls); i++)
        r = seccomp_rule_add(f, action, calls[i], 0);
    if (r == 0) /* threads stay possible */
        r = seccomp_rule_add(f, action, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    if (r == 0) /* its flags are in memory, where no filter sees them; libc falls back to clone */
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return r;
}

/* What no server needs, and what has let others out of their sandbox. */
static int deny_rest(scmp_filter_ctx f)
{
    static const int gone[] = {SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter),
                               SCMP_SYS(io_uring_register)};
    static const int calls[] = {
        SCMP_SYS(mount),
        SCMP_SYS(umount2),
        SCMP_SYS(pivot_root),
        SCMP_SYS(chroot),
        SCMP_SYS(bpf),
        SCMP_SYS(keyctl),
        SCMP_SYS(add_key),
        SCMP_SYS(request_key),
        SCMP_SYS(userfaultfd),
        SCMP_SYS(unshare),
        SCMP_SYS(setns),
        SCMP_SYS(init_module),
        SCMP_SYS(finit_module),
        SCMP_SYS(delete_module),
        SCMP_SYS(kexec_load),
        SCMP_SYS(perf_event_open),
        SCMP_SYS(open_by_handle_at),
        SCMP_SYS(reboot),
        SCMP_SYS(swapon),
        SCMP_SYS(swapoff),
        SCMP_SYS(pidfd_getfd),
        SCMP_SYS(personality),
    };
    static const int families[] = {AF_NETLINK, AF_PACKET};
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(gone); i++)
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), gone[i], 0);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(calls); i++)
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(families); i++)
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
    return r;
}

/* 0, or a negative errno of libseccomp's. */
static int load_filter(enum sandbox_deny deny)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    int r;

    if (!f)
        return -ENOMEM;
    (void)seccomp_attr_set(f, SCMP_FLTATR_CTL_LOG, 1);
    r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0)
        r = deny_processes(f, deny == SANDBOX_KILL ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM));
    if (r == 0)
        r = deny_rest(f);
    if (r == 0)
        r = seccomp_load(f);
    seccomp_release(f);
    return r;
}

int sandbox_enter(const struct sandbox_user *user, enum sandbox_deny deny, int parent,
                  struct sandbox_report *ret)
{
    struct sandbox_report report = {.user_changed = user != NULL};
    int r = user ? become(user) : 0;

    if (r == 0)
        r = drop_capabilities();
    if (r < 0)
        return r;
    (void)prctl(PR_SET_DUMPABLE, 0); /* a change of user resets it */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -E_PERM;
    if (SANITIZED)
        report.why_not = "a sanitizer build needs the calls it denies";
    else if (load_filter(deny) != 0)
        report.why_not = "the kernel does not take it";
    report.filtered = report.why_not == NULL;
    *ret = report;
    return 0;
}
