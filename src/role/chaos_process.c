/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_process.c - waiting on a loop, and a child of this program.
 */
#include "role/chaos_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "ev/child.h"
#include "ev/deadline.h"

enum {
    LOOK_MS = 2,
    END_MS = 15000,
    WORDS_BYTES = 16 << 10, /* of what a process writes, kept */
    ENV_MAX = 1024,
};

struct chaos_process {
    struct child *child;
    bool ended;
    struct buf words, before; /* the newest, and what filled up before */
};

/* ---- waiting ---- */

struct waiting {
    struct chaos_wait *w;
    chaos_wait_fn *fn;
    void *ctx;
    bool done;
    struct deadline look, end;
};

static void on_look(struct deadline *d)
{
    struct waiting *v = container_of(d, struct waiting, look);

    v->done = v->fn && v->fn(v->ctx);
    if (v->done || v->w->stopped)
        loop_stop(v->w->loop);
    else
        deadline_arm(v->w->loop, &v->look, LOOK_MS, on_look);
}

static void on_over(struct deadline *d)
{
    loop_stop(container_of(d, struct waiting, end)->w->loop);
}

bool chaos_process_wait(struct chaos_wait *w, unsigned ms, chaos_wait_fn *fn, void *ctx)
{
    struct waiting v = {.w = w, .fn = fn, .ctx = ctx, .done = fn && fn(ctx)};

    if (v.done || w->stopped || ms == 0)
        return v.done;
    deadline_arm(w->loop, &v.look, LOOK_MS, on_look);
    deadline_arm(w->loop, &v.end, ms, on_over);
    loop_run(w->loop);
    deadline_stop(&v.look);
    deadline_stop(&v.end);
    return v.done;
}

/* ---- a process ---- */

static void on_output(void *ctx, enum child_stream stream, struct str bytes)
{
    struct chaos_process *p = ctx;

    (void)stream;
    bytes = str_head(bytes, WORDS_BYTES);
    if (p->words.n + bytes.n > WORDS_BYTES) {
        struct buf old = p->before;

        p->before = p->words;
        p->words = old;
        buf_clear(&p->words);
    }
    buf_add(&p->words, bytes);
}

static void on_end(void *ctx, const struct child_exit *how)
{
    (void)how;
    ((struct chaos_process *)ctx)->ended = true;
}

static void on_running(void *ctx) { (void)ctx; }

/* Ours without what would be taken for settings. */
static void make_env(const char **to)
{
    size_t n = 0;

    for (char **e = environ; *e && n < ENV_MAX - 1; e++) {
        struct str v = str_of(*e);

        if (!str_starts(v, STR("INFERD_")) || str_starts(v, STR("INFERD_SANDBOX=")))
            to[n++] = *e;
    }
    to[n] = NULL;
}

int chaos_process_start(struct loop *l, const char *const *argv, struct chaos_process **ret)
{
    static const struct child_ops ops = {
        .on_running = on_running, .on_output = on_output, .on_exit = on_end};
    const char *env[ENV_MAX];
    struct child_conf conf = {
        .file = "/proc/self/exe", .argv = argv, .env = env, .capture = true, .umask = 022};
    struct chaos_process *p =
        xnew(struct chaos_process, .words = buf_make(WORDS_BYTES), .before = buf_make(WORDS_BYTES));
    int r;

    make_env(env);
    r = child_start(l, &conf, &ops, p, &p->child);
    if (r < 0) {
        xfree(p);
        return r;
    }
    *ret = p;
    return 0;
}

void chaos_process_signal(struct chaos_process *p, int signo) { child_signal(p->child, signo); }

bool chaos_process_ended(const struct chaos_process *p) { return p->ended; }

struct str chaos_process_words(const struct chaos_process *p) { return buf_str(&p->words); }

int chaos_process_child(const struct chaos_process *p)
{
    char path[64], words[64] = "";
    int self = (int)child_pid(p->child);
    struct str list;
    uint64_t pid = 0;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", self, self);
    f = fopen(path, "re");
    if (!f)
        return 0;
    if (!fgets(words, sizeof words, f))
        words[0] = '\0';
    (void)fclose(f);
    list = str_of(words);
    return str_u64(str_cut(&list, ' '), &pid) ? (int)pid : 0; /* the first one */
}

static bool has_ended(void *ctx) { return ((struct chaos_process *)ctx)->ended; }

void chaos_process_end(struct chaos_wait *w, bool kill, struct chaos_process **pp)
{
    struct chaos_process *p = TAKE(pp);
    struct chaos_wait patient = {.loop = w->loop}; /* an end is waited for, asked to stop or not */

    if (!p)
        return;
    if (!p->ended)
        child_signal(p->child, kill ? SIGKILL : SIGTERM);
    if (!chaos_process_wait(&patient, END_MS, has_ended, p)) {
        child_signal_group(p->child, SIGKILL);
        (void)chaos_process_wait(&patient, END_MS, has_ended, p);
    }
    if (p->ended)
        child_close(&p->child);
    else
        child_abandon(&p->child);
    buf_fini(&p->words);
    buf_fini(&p->before);
    xfree(p);
}

/* ---- an engine that can be killed ---- */

static bool says_listening(void *ctx)
{
    struct chaos_process *p = ctx;

    return p->ended || str_find_str(buf_str(&p->words), STR("listening")) < p->words.n;
}

int chaos_process_engine(struct chaos_wait *w, const struct addr *at, struct chaos_process **ret)
{
    char port[16];
    const char *const argv[] = {"inferd",       "mock", "--name",   CHAOS_PROCESS_NAME,
                                "--port",       port,   "--models", "chaos,chaos-solo",
                                "--latency-ms", "20",   NULL};
    struct chaos_process *p = NULL;
    int r;

    (void)snprintf(port, sizeof(port), "%u", at->port);
    r = chaos_process_start(w->loop, argv, &p);
    if (r < 0)
        return r;
    if (!chaos_process_wait(w, END_MS, says_listening, p) || p->ended) {
        chaos_process_end(w, true, &p);
        return -E_BUSY;
    }
    *ret = p;
    return 0;
}
