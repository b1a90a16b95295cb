/* SPDX-License-Identifier: Apache-2.0
 *
 * unit.h - what every unit test includes: cmocka with the headers it forgot, and assertions that
 * print slices. assert_dies() runs a statement in a forked child that must end by a failed CHECK.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"

#define assert_str_is(actual, expected) unit_str_is((actual), str_of(expected), __FILE__, __LINE__)

static inline void unit_str_is(struct str actual, struct str expected, const char *file, int line)
{
    if (str_eq(actual, expected))
        return;
    print_error("got  \"%.*s\" (%zu bytes)\nwant \"%.*s\" (%zu bytes)\n", STR_ARGS(actual),
                actual.n, STR_ARGS(expected), expected.n);
    _fail(file, line);
}

/* The child's side writes stderr to the pipe and leaves no core file. */
static inline pid_t unit_fork(const int fds[2])
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        (void)dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
    }
    close(fds[1]);
    return pid;
}

/* Up to the end of file, NUL-terminated; closes the reading side. */
static inline void unit_read_all(int fd, char *text, size_t size)
{
    size_t n = 0;
    ssize_t got;

    while (n < size - 1 && (got = read(fd, text + n, size - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    close(fd);
}

/* Runs the statement in a child whose stderr goes to `text` (a char array); it must abort. */
#define assert_dies(statement, text)                                                               \
    do {                                                                                           \
        int unit_pipe_[2], unit_status_ = 0;                                                       \
        assert_int_equal(pipe(unit_pipe_), 0);                                                     \
        pid_t unit_pid_ = unit_fork(unit_pipe_);                                                   \
        if (unit_pid_ == 0) {                                                                      \
            statement;                                                                             \
            _exit(0);                                                                              \
        }                                                                                          \
        unit_read_all(unit_pipe_[0], (text), sizeof(text));                                        \
        assert_int_equal(waitpid(unit_pid_, &unit_status_, 0), unit_pid_);                         \
        assert_true(WIFSIGNALED(unit_status_));                                                    \
        assert_int_equal(WTERMSIG(unit_status_), SIGABRT);                                         \
    } while (0)
