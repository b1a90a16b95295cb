/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - runs scenarios, each in a process of its own so that one failure hides no other, each
 * with INFERD_SIM_SEEDS seeds (100). Seed 0 is the plain world, in which nothing is random.
 *
 *   sim                                   everything
 *   sim --scenario NAME                   one of them
 *   sim --scenario NAME --seed N -v       one run of it, with its story
 *   sim --list
 *
 * Counting instructions (callgrind): --here runs the scenario in this process, so that nothing is
 * forked, and INFERD_SIM_COUNT says how many chats or events; the difference between two counts is
 * the cost of what the second had more. For all of it: test/sim/count build/count/test/sim/sim
 *
 *   INFERD_SIM_COUNT=220 valgrind --tool=callgrind sim --here --scenario count_chat --seed 0
 *   INFERD_SIM_COUNT=220 valgrind --tool=callgrind sim --here --scenario count_stream --seed 0
 */
#include "sim/sim.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "sim/names.h"
#include "sim/peer.h"
#include "sim/world.h"

enum { SEEDS = 100, SEED_S = 120 };

static const struct scenario *running;

/* In a signal handler too: no stdio. */
static void say_where(void)
{
    char text[256];
    int n =
        snprintf(text, sizeof text, "in scenario %s, seed %llu: sim --scenario %s --seed %llu -v\n",
                 running->name, (unsigned long long)world_seed(), running->name,
                 (unsigned long long)world_seed());

    if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
        _exit(1);
}

static void on_fatal(int signo)
{
    say_where();
    signal(signo, SIG_DFL);
    raise(signo);
}

#if defined(__SANITIZE_ADDRESS__)
void __sanitizer_set_death_callback(void (*callback)(void));
#endif

NORETURN void sim_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    (void)fflush(stdout);
    (void)fprintf(stderr, "FAILED %s:%d: ", file, line);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    say_where();
    _exit(1);
}

static void run_once(const struct scenario *s, uint64_t seed)
{
    world_begin(seed, seed == 0);
    names_clear();
    s->run();
    peers_finish(10000);
    peers_close();
    world_end();
}

/* Runs the seeds in a child, or here, which ends this process. */
static void start_scenario(const struct scenario *s, uint64_t first, uint64_t n, bool here)
{
    pid_t pid;

    (void)fflush(stdout);
    pid = here ? 0 : fork();
    CHECK(pid >= 0);
    if (pid > 0)
        return;
    running = s;
    (void)signal(SIGABRT, on_fatal);
    (void)signal(SIGALRM, on_fatal);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(say_where);
#endif
    for (uint64_t i = 0; i < n; i++) {
        (void)alarm(SEED_S); /* a seed that hangs, not a machine that is slow with all of them */
        run_once(s, first + i);
    }
    exit(0); /* so that leaks are looked for */
}

/* Waits for one child. True when all went well with it. */
static bool await_scenario(void)
{
    int status;

    CHECK(wait(&status) > 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static uint64_t number(const char *text)
{
    uint64_t n = 0;

    if (!str_u64(str_of(text), &n)) {
        (void)fprintf(stderr, "not a number: %s\n", text);
        exit(2);
    }
    return n;
}

static const struct scenario *(*const tables[])(void) = {
    scenarios_server,        scenarios_client,     scenarios_gate,          scenarios_gate_wait,
    scenarios_gate_break,    scenarios_gate_life,  scenarios_gate_odd,      scenarios_gate_session,
    scenarios_gate_fallback, scenarios_gate_probe, scenarios_gate_retry,    scenarios_gate_keys,
    scenarios_supervise,     scenarios_count,      scenarios_registry,      scenarios_gate_door,
    scenarios_registrar,     scenarios_gate_join,  scenarios_gate_round,    scenarios_gate_sources,
    scenarios_gate_router,   scenarios_tester,     scenarios_supervise_one, scenarios_gate_answer,
};

struct asked {
    const char *only;
    uint64_t first, seeds;
    bool list, here;
};

static bool read_args(int argc, char **argv, struct asked *a)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--scenario") == 0 && i + 1 < argc) {
            a->only = argv[++i];
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            a->first = number(argv[++i]);
            a->seeds = 1;
        } else if (strcmp(argv[i], "--list") == 0) {
            a->list = true;
        } else if (strcmp(argv[i], "--here") == 0) {
            a->here = true;
        } else if (strcmp(argv[i], "-v") == 0) {
            world_set_notes(true);
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    const char *env = getenv("INFERD_SIM_SEEDS");
    struct asked a = {.seeds = env ? number(env) : SEEDS};
    unsigned started = 0, over = 0, failed = 0;
    long at_once = sysconf(_SC_NPROCESSORS_ONLN);

    if (!read_args(argc, argv, &a)) {
        (void)fprintf(stderr, "usage: sim [--list] [--scenario NAME] [--seed N] [--here] [-v]\n");
        return 2;
    }
    for (unsigned t = 0; t < ARRAY_LEN(tables); t++) {
        for (const struct scenario *s = tables[t](); s->name; s++) {
            if (a.only && strncmp(s->name, a.only, strlen(a.only)) != 0)
                continue;
            if (a.list) {
                (void)puts(s->name);
                continue;
            }
            start_scenario(s, a.first, a.seeds, a.here);
            if (++started - over >= (unsigned)at_once) {
                failed += !await_scenario();
                over++;
            }
        }
    }
    for (; over < started; over++)
        failed += !await_scenario();
    if (a.list)
        return 0;
    (void)printf("%u scenarios passed, %u failed, %llu seeds each\n", started - failed, failed,
                 (unsigned long long)a.seeds);
    return failed || !started;
}
