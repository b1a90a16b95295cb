/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.c - `inferd bench`: the command line of the load generator. It makes the one request that
 * is sent again and again, shares connections and schedule among threads, runs them (bench_load.c)
 * and prints the sum (bench_report.c). The first thread is this one, which hears the signals.
 *
 * It loads this machine only, unless --allow-remote says that the target is ours to load.
 */
#include "role/bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "conf/url.h"
#include "ev/thread.h"
#include "role/bench_report.h"
#include "role/role.h"

enum {
    BODY_BYTES_MAX = 64 << 20,
    HEAD_BYTES_MAX = 32 << 10,
    REPORT_BYTES = 64 << 10,
    DEFAULT_DURATION_MS = 10000,
    THREADS_MAX = 64,
};

#define BENCH_OPTIONS(X, T)                                                                        \
    X(T, url, REST, UNSET, 1, 1, RESTART, "The target: http://host:port or unix:/path.")           \
    X(T, path, STR, UNSET, 1, 4096, RESTART,                                                       \
      "What is asked for. Unset: /v1/chat/completions. With a path and no body it is a GET.")      \
    X(T, model, STR, UNSET, 1, 256, RESTART, "The model that the made-up chat body names.")        \
    X(T, prompt_bytes, U32, 16, 1, 33554432, RESTART, "Length of its message.")                    \
    X(T, body_file, STR, UNSET, 1, 4096, RESTART, "A file with the body instead.")                 \
    X(T, stream, BOOL, false, 0, 0, RESTART,                                                       \
      "Asks for an event stream, and reads it: events, time to the first, gaps, and their delay "  \
      "when the engine stamps them (inferd mock --stamp).")                                        \
    X(T, header, LIST, UNSET, 0, 32, RESTART, "A further header, \"Name: value\".")                \
    X(T, rate, F64, UNSET, 0, 10000000, RESTART,                                                   \
      "Requests a second, on a fixed schedule; latency counts from when a request was due. Unset " \
      "or 0: each connection sends its next request when it has the reply.")                       \
    X(T, connections, U32, 10, 1, 100000, RESTART, "At once; with --rate, at most.")               \
    X(T, threads, U32, 1, 1, THREADS_MAX, RESTART, "Threads that share the connections.")          \
    X(T, duration_ms, U32, UNSET, 1, 86400000, RESTART,                                            \
      "No request is due after it. Unset: 10 seconds, or no bound with --requests.")               \
    X(T, requests, U64, UNSET, 1, 1000000000000, RESTART, "How many at most.")                     \
    X(T, timeout_ms, U32, 60000, 0, 86400000, RESTART, "A request's whole time; 0: no bound.")     \
    X(T, grace_ms, U32, 5000, 0, 86400000, RESTART,                                                \
      "How long requests may go on behind the end of --duration-ms.")                              \
    X(T, json, BOOL, false, 0, 0, RESTART, "Prints one JSON object instead of text.")              \
    X(T, allow_remote, BOOL, false, 0, 0, RESTART, "Loads a target that is not this machine.")

struct bench_flags {
    BENCH_OPTIONS(OPTION_MEMBER, bench_flags)
};
OPTION_TABLE(bench_flags, BENCH_OPTIONS, "A load.");

struct bench {
    struct arena *arena;
    struct bench_flags options;
    struct url target;
    struct bench_conf conf;
    struct bench_plan plan;
    struct buf head, body;
    atomic_bool stop;
};

struct worker {
    struct bench_conf conf;
    struct bench_plan plan;
    struct bench_result result;
    struct thread *thread;
};

/* ---- the command line ---- */

static int wrong(const char *flag, const char *problem)
{
    fprintf(stderr, "inferd bench: --%s: %s\n", flag, problem);
    return 2;
}

static int read_target(struct bench *b)
{
    const char *why = NULL;
    struct str text = b->options.url.at[0]; /* the row asks for exactly one */

    if (url_parse(text, &b->target, &why) < 0) {
        fprintf(stderr, "inferd bench: %.*s: %s\n", STR_ARGS(text), why);
        return 2;
    }
    if (!url_is_loopback(&b->target) && !b->options.allow_remote) {
        fprintf(
            stderr,
            "inferd bench: %.*s is not this machine; --allow-remote says that you may load it\n",
            STR_ARGS(text));
        return 2;
    }
    return 0;
}

static int read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0) {
        char *room = buf_reserve(out, 65536);

        n = room ? read(fd, room, 65536) : -1;
        out->n += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    return n < 0 ? -E_IO : 0;
}

static void make_body(struct bench *b)
{
    struct jsonw w = jsonw_make(&b->body);
    struct buf prompt = buf_make(b->options.prompt_bytes);

    while (prompt.n < b->options.prompt_bytes)
        buf_add(&prompt, str_head(STR("Tell me a story. "), b->options.prompt_bytes - prompt.n));
    jsonw_begin_object(&w);
    jsonw_key(&w, "messages");
    jsonw_begin_array(&w);
    jsonw_begin_object(&w);
    jsonw_key(&w, "content");
    jsonw_str(&w, buf_str(&prompt));
    jsonw_key(&w, "role");
    jsonw_cstr(&w, "user");
    jsonw_end_object(&w);
    jsonw_end_array(&w);
    jsonw_key(&w, "model");
    jsonw_str(&w, b->options.model);
    jsonw_key(&w, "stream");
    jsonw_bool(&w, b->options.stream);
    jsonw_end_object(&w);
    buf_fini(&prompt);
}

static int read_body(struct bench *b)
{
    const struct bench_flags *o = &b->options;

    b->body = buf_make(BODY_BYTES_MAX);
    if (o->body_file.p && o->model.p)
        return wrong("model", "goes into the made-up body, not with --body-file");
    if (o->body_file.p && read_file(o->body_file.p, &b->body) < 0)
        return wrong("body-file", "cannot be read, or is over 64 MiB");
    if (o->model.p)
        make_body(b);
    else if (!o->body_file.p && !o->path.p)
        return wrong("model", "one of --model, --body-file and --path is needed");
    if (buf_status(&b->body) < 0)
        return wrong("prompt-bytes", "the body is over 64 MiB");
    return 0;
}

static int add_headers(struct bench *b)
{
    for (size_t i = 0; i < b->options.header.n; i++) {
        struct str value = b->options.header.at[i], name = str_cut(&value, ':');

        value = str_trim(value);
        if (!value.p || !http1_is_token(name) || !http1_is_value(value))
            return wrong("header", "must be \"Name: value\"");
        http1_write_field(&b->head, name, value);
    }
    return 0;
}

/* The request's head, once for all. */
static int make_head(struct bench *b)
{
    const struct bench_flags *o = &b->options;
    struct str path = o->path.p ? o->path : STR("/v1/chat/completions");
    struct str target =
        arena_printf(b->arena, "%.*s%.*s", STR_ARGS(b->target.prefix), STR_ARGS(path));
    bool posts = b->body.n > 0;
    int r;

    if (!http1_is_target(target))
        return wrong("path", "is no path of an HTTP request");
    b->head = buf_make(HEAD_BYTES_MAX);
    http1_write_request_line(&b->head, posts ? STR("POST") : STR("GET"), target);
    http1_write_field(&b->head, STR("host"), b->target.origin);
    http1_write_field(&b->head, STR("user-agent"), STR("inferd-bench/" INFERD_VERSION));
    if (posts) {
        http1_write_field(&b->head, STR("content-type"), STR("application/json"));
        http1_write_length(&b->head, b->body.n);
    }
    r = add_headers(b);
    http1_write_end(&b->head);
    if (r == 0 && buf_status(&b->head) < 0)
        return wrong("header", "the head is over 32 KiB");
    b->conf.method = posts ? HTTP1_POST : HTTP1_GET;
    b->conf.head = buf_str(&b->head);
    b->conf.body = buf_str(&b->body);
    return r;
}

static int read_options(struct bench *b)
{
    const struct bench_flags *o = &b->options;
    int r = read_target(b);

    if (r == 0)
        r = read_body(b);
    if (r == 0)
        r = make_head(b);
    if (r == 0 && o->threads > o->connections)
        r = wrong("threads", "more threads than connections");
    b->conf.target = &b->target;
    b->conf.stream = o->stream;
    b->conf.timeout_ms = o->timeout_ms;
    b->conf.grace_ms = o->grace_ms;
    b->conf.stop = &b->stop;
    b->plan.rate = o->rate > 0 ? o->rate : 0; /* unset is NaN */
    b->plan.requests = o->requests;
    b->plan.threads = o->threads;
    return r;
}

/* ---- the run ---- */

/* On the clock of the loops. -E_NO_FDS. */
static int set_bounds(struct bench *b)
{
    const struct bench_flags *o = &b->options;
    uint64_t duration = o->duration_ms;
    struct loop *clock = NULL;
    int r = loop_create(&clock);

    if (r < 0)
        return r;
    if (o->duration_ms == OPTION_UNSET_U32)
        duration = o->requests == OPTION_UNSET_U64 ? DEFAULT_DURATION_MS : 0;
    b->plan.start_us = loop_now_us(clock);
    loop_destroy(&clock);
    b->plan.end_us = duration ? b->plan.start_us + duration * 1000 : UINT64_MAX;
    return 0;
}

static void run_worker(void *ctx)
{
    struct worker *w = ctx;

    bench_load_run(&w->conf, &w->plan, w->plan.thread == 0, &w->result);
}

static void run_workers(struct bench *b, struct worker *workers, struct bench_result *sum)
{
    unsigned n = b->options.threads, connections = b->options.connections;

    sum->err = set_bounds(b);
    if (sum->err < 0)
        return;
    for (unsigned i = 0; i < n; i++) {
        struct worker *w = &workers[i];

        w->conf = b->conf;
        w->conf.connections = connections / n + (i < connections % n);
        w->plan = b->plan;
        w->plan.thread = i;
        if (i > 0)
            w->result.err = thread_start("bench", run_worker, w, &w->thread);
    }
    run_worker(&workers[0]);
    for (unsigned i = 0; i < n; i++) {
        thread_join(&workers[i].thread);
        bench_report_merge(sum, &workers[i].result);
    }
}

static int print(const struct bench *b, const struct bench_result *sum)
{
    struct buf out = buf_make(REPORT_BYTES);
    bool good = sum->outcome[BENCH_OK] > 0 && sum->outcome[BENCH_TRUNCATED] == 0 &&
                bench_report_failed(sum) == 0;

    if (b->options.json)
        bench_report_json(sum, &out);
    else
        bench_report_text(sum, b->options.stream, &out);
    (void)fwrite(out.p, 1, out.n, stdout);
    buf_fini(&out);
    return good ? 0 : 1;
}

static int load(struct bench *b)
{
    struct worker *workers = mem_alloc(b->options.threads * sizeof(*workers));
    struct bench_result *sum = xnew(struct bench_result);
    int status = 1;

    role_raise_descriptors();
    run_workers(b, workers, sum);
    if (sum->err < 0)
        fprintf(stderr, "Error: no load: %s\n", err_text(sum->err));
    else
        status = print(b, sum);
    mem_free(workers);
    mem_free(sum);
    return status;
}

static int run(int argc, char **argv)
{
    struct arena arena;
    struct bench b = {.arena = &arena};
    int r;

    arena_init(&arena, NULL);
    r = role_start(bench_command(), argc, argv, &arena, &b.options, NULL);
    if (r < 0) {
        r = read_options(&b);
        if (r == 0)
            r = load(&b);
    }
    buf_fini(&b.head);
    buf_fini(&b.body);
    arena_clear(&arena);
    return r;
}

const struct command *bench_command(void)
{
    static const char *const examples[] = {
        "inferd bench http://127.0.0.1:8900 --model tiny",
        "ten connections for ten seconds, as fast as they are answered",
        "inferd bench http://127.0.0.1:8900 --model tiny --rate 500 --connections 200",
        "500 requests a second, whatever becomes of them",
        "inferd bench unix:/run/engine.sock --model tiny --stream --requests 100 --json",
        "a hundred streams of an engine on a socket",
        NULL,
    };
    static const struct command command = {
        .name = "bench",
        .words = "URL",
        .summary = "load an endpoint and measure what comes back",
        .text =
            "A reply is good when it is 2xx and came to its end; an event stream must end with "
            "[DONE]. A reply that broke off is truncated, which is counted apart from failed. Exit "
            "status 0: something was good, nothing failed and nothing was truncated; 1: not so; 2: "
            "a flag is wrong.",
        .examples = examples,
        .flags = &bench_flags_options,
        .run = run,
    };

    return &command;
}
