/* SPDX-License-Identifier: Apache-2.0
 *
 * mock.c - `inferd mock`: an OpenAI engine without a model, for the first curl, for tests and for
 * benchmarks. This file is the command line and the life of the process: what it does before it
 * listens (a helper process, bytes on stdout, a late start), the loop, and its end. What it answers
 * is mock_engine.c's.
 *
 * One process, one thread beside the log's. It exits 0 on SIGTERM and SIGINT without draining:
 * an engine that is told to stop stops.
 */
#include "role/mock.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/log.h"
#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/listener.h"
#include "ev/thread.h"
#include "net/server.h"
#include "role/mock_engine.h"
#include "role/mock_registry.h"
#include "role/role.h"
#include "role/token.h"

enum {
    NAME_BYTES_MAX = 256,
    HELPER_SECONDS = 600, /* a forgotten helper ends by itself */
    IDLE_CHUNKS = 256,
    IDLE_ARENAS = 1024,
    CHARACTERS_PER_SECOND = 100,
};

#define MOCK_OPTIONS(X, T)                                                                         \
    X(T, name, STR, REQUIRED, 1, NAME_BYTES_MAX, RESTART, "Its name, which every reply contains.") \
    X(T, models, COMMAS, REQUIRED, 1, 1024, RESTART, "The models it has.")                         \
    X(T, port, U32, UNSET, 0, 65534, RESTART, "Where it listens; 0 takes any free port.")          \
    X(T, socket, STR, UNSET, 1, 107, RESTART, "A Unix socket instead of a port.")                  \
    X(T, listen, STR, "127.0.0.1", 1, 64, RESTART, "The address that goes with --port.")           \
    X(T, registry_url, STR, UNSET, 1, 2048, RESTART,                                               \
      "A registry to be registered at while it runs.")                                             \
    X(T, registry_token_file, STR, UNSET, 1, 4096, RESTART,                                        \
      "A file whose first line is the registry's token; nobody else may read it. Unset: "          \
      "INFERD_REGISTRY_TOKEN_FILE.")                                                               \
    X(T, seed, U64, 1, 0, INT64_MAX, RESTART, "Makes probabilities repeatable.")                   \
    X(T, latency_ms, U32, 0, 0, 86400000, RESTART, "Before the first byte of each reply.")         \
    X(T, tokens_per_second, F64, UNSET, 0, 1000000000, RESTART,                                    \
      "Pace of streams, a character being a token; when given, other replies take as long. "       \
      "Unset: 100 for streams; 0: as fast as they are read.")                                      \
    X(T, repeat, U32, 1, 1, 100000, RESTART, "How often the sentence is said in one reply.")       \
    X(T, stamp, BOOL, false, 0, 0, RESTART,                                                        \
      "Each event says when it was sent: \"sent_us\", microseconds of the monotonic clock, which " \
      "inferd bench reads.")                                                                       \
    X(T, fault, LIST, UNSET, 0, 1000, RESTART,                                                     \
      "MODEL=KIND[:ARG][@P]: misbehaves for that model with probability P. Kinds: status:NNN "     \
      "delay:MS hang reset close abort:N truncate:N stall:N garbage badhttp redirect:URL "         \
      "exit:CODE crash.")                                                                          \
    X(T, health_status, U32, 200, 200, 599, RESTART, "Status of /health.")                         \
    X(T, models_status, U32, 200, 200, 599, RESTART, "Status of /v1/models.")                      \
    X(T, keepalive_ms, U32, 0, 0, 86400000, RESTART,                                               \
      "Closes connections idle for so long; 0 keeps them.")                                        \
    X(T, ready_after_ms, U32, 0, 0, 86400000, RESTART, "Listens that much later.")                 \
    X(T, exit_after_ms, STR, UNSET, 1, 32, RESTART, "N[:CODE]: ends by itself.")                   \
    X(T, ignore_sigterm, BOOL, false, 0, 0, RESTART, "Goes on when asked to stop.")                \
    X(T, fork_helper, BOOL, false, 0, 0, RESTART, "Has a second process in its group.")            \
    X(T, fork_stray, BOOL, false, 0, 0, RESTART, "Has one that left its group and session.")       \
    X(T, emit_file, STR, UNSET, 1, 4096, RESTART, "Writes the bytes of that file to stdout.")      \
    X(T, ready_file, STR, UNSET, 1, 4096, RESTART,                                                 \
      "Written once it listens: {\"listen\":[ADDRESS],\"pid\":N}.")

struct mock_flags {
    MOCK_OPTIONS(OPTION_MEMBER, mock_flags)
};
OPTION_TABLE(mock_flags, MOCK_OPTIONS, "A mock engine.");

struct mock {
    struct arena *arena;
    struct mock_flags options;
    struct mock_conf conf;
    struct mock_engine engine;
    struct addr at;
    struct loop *loop;
    struct chunk_pool chunks;
    struct arena_cache arenas;
    struct server *server;
    struct listener *listener;
    struct mock_registry *registry; /* NULL without one */
    struct signal_watch *term, *interrupt;
    struct deadline late, end;
    struct url registry_url;
    char *token;
    bool stopping;
    struct log_writer *log;
    int status; /* of the process */
};

/* ---- the command line ---- */

static int wrong(const char *flag, struct str problem)
{
    fprintf(stderr, "inferd mock: --%s: %.*s\n", flag, STR_ARGS(problem));
    return 2;
}

static int read_address(struct mock *m)
{
    const struct mock_flags *o = &m->options;
    bool has_port = o->port != OPTION_UNSET_U32;

    if (has_port == (o->socket.p != NULL))
        return wrong("port", STR("exactly one of --port and --socket is needed"));
    if (has_port) {
        if (addr_parse_ip(o->listen, (uint16_t)o->port, &m->at) < 0)
            return wrong("listen", STR("not an IPv4 or IPv6 address"));
        return 0;
    }
    m->at.family = ADDR_UNIX;
    CHECK(o->socket.n <= ADDR_UNIX_PATH_MAX);
    memcpy(m->at.path, o->socket.p, o->socket.n + 1);
    return 0;
}

static int read_models(struct mock *m)
{
    const struct mock_flags *o = &m->options;
    struct mock_model *models = arena_alloc(m->arena, o->models.n * sizeof(*models));

    for (size_t i = 0; i < o->models.n; i++) {
        struct str id = str_trim(o->models.at[i]);

        if (id.n == 0 || id.n > NAME_BYTES_MAX)
            return wrong("models", STR("names have 1 to 256 bytes"));
        mock_reply_model(&models[i], o->name, id, o->repeat, m->arena);
    }
    m->conf.models = models;
    m->conf.models_n = o->models.n;
    return 0;
}

static int read_faults(struct mock *m)
{
    const struct str_list *texts = &m->options.fault;
    struct mock_fault *faults = arena_alloc(m->arena, (texts->n + 1) * sizeof(*faults));
    char memory[512];

    for (size_t i = 0; i < texts->n; i++) {
        struct buf problem = buf_on(memory, sizeof(memory));

        if (mock_fault_parse(texts->at[i], &faults[i], &problem) < 0)
            return wrong("fault", buf_str(&problem));
    }
    m->conf.faults = faults;
    m->conf.faults_n = texts->n;
    return 0;
}

/* "N" or "N:CODE". */
static int read_end(const struct mock *m, uint64_t *ret_ms, int *ret_status)
{
    struct str rest = m->options.exit_after_ms, first;
    uint64_t code = 0;

    *ret_ms = 0;
    *ret_status = 0;
    if (!rest.p)
        return 0;
    first = str_cut(&rest, ':');
    if (!str_u64(first, ret_ms) || *ret_ms > 86400000 || (rest.p && !str_u64(rest, &code)) ||
        code > 255)
        return wrong("exit-after-ms", STR("not N or N:CODE with N up to 86400000, CODE to 255"));
    *ret_status = (int)code;
    return 0;
}

static int read_registry(struct mock *m)
{
    const struct mock_flags *o = &m->options;
    const char *why;

    if (!o->registry_url.p)
        return 0;
    if (o->socket.p)
        return wrong("registry-url", STR("a Unix socket cannot be registered: --port"));
    if (url_parse(o->registry_url, &m->registry_url, &why) < 0)
        return wrong("registry-url", str_of(why));
    if (m->registry_url.kind != URL_HTTP)
        return wrong("registry-url", STR("must be http://HOST:PORT"));
    return token_find(o->registry_token_file, &m->token);
}

static int read_options(struct mock *m)
{
    const struct mock_flags *o = &m->options;
    bool paced = o->tokens_per_second == o->tokens_per_second; /* unset is NaN */
    int r;

    m->conf = (struct mock_conf){
        .name = o->name,
        .port = o->port == OPTION_UNSET_U32 ? 0 : (uint16_t)o->port,
        .seed = o->seed,
        .latency_ms = o->latency_ms,
        .tokens_per_second = paced ? o->tokens_per_second : CHARACTERS_PER_SECOND,
        .slow_whole = paced && o->tokens_per_second > 0,
        .health_status = o->health_status,
        .models_status = o->models_status,
        .stamp = o->stamp,
    };
    r = read_address(m);
    if (r == 0)
        r = read_models(m);
    if (r == 0)
        r = read_faults(m);
    if (r == 0)
        r = read_registry(m);
    return r;
}

/* ---- before the loop ---- */

/* Processes that do nothing but be there, for tests of stopping. They are started before any thread
 * is, so a bare fork is enough; SIGTERM ends them. */
static NORETURN void idle(void)
{
    alarm(HELPER_SECONDS);
    for (;;)
        pause();
}

static void fork_helper(void)
{
    if (fork() == 0)
        idle();
}

/* Returns when it is a stray, and the process in between no more. */
static void fork_stray(void)
{
    int held[2];
    char none;

    CHECK(pipe(held) == 0);
    if (fork() == 0) {
        setsid();
        if (fork() != 0)
            _exit(0); /* its child belongs to nobody now */
        close(held[0]);
        close(held[1]);
        idle();
    }
    close(held[1]);
    CHECK(read(held[0], &none, 1) == 0);
    close(held[0]);
}

static int emit_file(const char *path)
{
    char bytes[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;

    while (fd >= 0 && (n = read(fd, bytes, sizeof(bytes))) > 0) {
        for (ssize_t at = 0, w; at < n; at += w) {
            w = write(STDOUT_FILENO, bytes + at, (size_t)(n - at));
            if (w <= 0)
                break;
        }
    }
    if (fd >= 0)
        close(fd);
    return n < 0 ? -E_IO : 0;
}

static void start_log(void)
{
    struct log_conf conf = {
        .format = LOG_SVC, .level = LOG_INFO, .fd = STDOUT_FILENO, .colour = false};
    const char *filter = getenv("INFERD_LOG");

    if (!filter)
        filter = getenv("RUST_LOG");
    if (filter)
        log_filter_parse(str_of(filter), STR("mock"), &conf.level);
    if (log_init(&conf) < 0)
        fprintf(stderr, "inferd mock: no log thread, records go to stderr\n");
}

/* ---- on the loop ---- */

static void say(struct mock *m, const char *message)
{
    struct log_rec *r = log_begin(m->log, LOG_INFO, loop_wall_us(m->loop), "mock", message);
    char memory[ADDR_TEXT_MAX];
    struct buf at = buf_on(memory, sizeof(memory));

    addr_write(&m->at, &at);
    log_str(r, "name", m->conf.name);
    log_str(r, "address", buf_str(&at));
    log_end(r);
}

static int write_ready_file(struct mock *m)
{
    const char *path = m->options.ready_file.p;
    _cleanup_(mem_cleanup) char *temporary = mem_printf("%s.%d", path, (int)getpid());
    struct buf out = buf_make(1024);
    struct jsonw w = jsonw_make(&out);
    char memory[ADDR_TEXT_MAX];
    struct buf at = buf_on(memory, sizeof(memory));
    FILE *file;
    bool good;

    addr_write(&m->at, &at);
    jsonw_begin_object(&w);
    jsonw_key(&w, "listen");
    jsonw_begin_array(&w);
    jsonw_str(&w, buf_str(&at));
    jsonw_end_array(&w);
    jsonw_key(&w, "pid");
    jsonw_i64(&w, getpid());
    jsonw_end_object(&w);
    file = fopen(temporary, "we");
    good = file && fwrite(out.p, 1, out.n, file) == out.n;
    if (file && fclose(file) != 0)
        good = false;
    buf_fini(&out);
    return good && rename(temporary, path) == 0 ? 0 : -E_IO;
}

static void on_connection(void *ctx, struct ev_fd *conn, const struct addr *peer)
{
    struct mock *m = ctx;

    (void)!server_accept(m->server, conn, peer, NULL); /* a refused one is closed by the listener */
}

static void enter_registry(struct mock *m)
{
    struct mock_registry_conf conf = {
        .engine = &m->conf,
        .url = m->registry_url,
        .token = str_of(m->token),
        .at = &m->at,
        .chunks = &m->chunks,
        .log = m->log,
    };

    if (m->registry_url.kind == URL_HTTP)
        mock_registry_enter(m->loop, &conf, &m->registry);
}

/* Error: prints why and ends the loop with status 1. */
static void start_listening(struct mock *m)
{
    struct ev_fd fd = EV_FD_NONE;
    const char *what = "cannot listen";
    int r = listener_bind(&m->at, 4096, 0660, &fd);

    if (r == 0) {
        m->conf.port = m->at.port;
        r = listener_open(m->loop, &fd, on_connection, m, &m->listener);
        ev_fd_close(&fd);
    }
    if (r == 0 && m->options.ready_file.p) {
        what = "cannot write the ready file";
        r = write_ready_file(m);
    }
    if (r == 0) {
        say(m, "listening");
        enter_registry(m);
        return;
    }
    fprintf(stderr, "Error: %s: %s\n", what, err_text(r));
    m->status = 1;
    loop_stop(m->loop);
}

static void on_late(struct deadline *d) { start_listening(container_of(d, struct mock, late)); }

static void on_end(struct deadline *d) { loop_stop(container_of(d, struct mock, end)->loop); }

static void on_left(void *ctx) { loop_stop(((struct mock *)ctx)->loop); }

static void on_signal(void *ctx, int signo)
{
    struct mock *m = ctx;

    if (m->options.ignore_sigterm) {
        say(m, "ignoring a signal");
        return;
    }
    say(m, signo == SIGTERM ? "stopped by SIGTERM" : "stopped by SIGINT");
    m->status = 0;
    if (m->registry && !m->stopping)
        mock_registry_leave(m->registry, on_left, m);
    else
        loop_stop(m->loop);
    m->stopping = true;
}

static void make_server(struct mock *m)
{
    struct server_conf conf = {
        .limits = {.head_ms = 10000,
                   .keepalive_ms = m->options.keepalive_ms,
                   .linger_ms = 2000,
                   .head_bytes = HTTP1_HEAD_BYTES_MAX,
                   .request_line_bytes = HTTP1_HEAD_BYTES_MAX,
                   .headers = HTTP1_FIELDS_MAX},
        .owner = mock_engine_owner(),
        .ctx = &m->engine,
        .chunks = &m->chunks,
        .arenas = &m->arenas,
        .name = STR("inferd-mock/" INFERD_VERSION),
    };

    m->chunks.max = IDLE_CHUNKS;
    m->arenas.max = IDLE_ARENAS;
    server_create(m->loop, &conf, &m->server);
}

static void run_loop(struct mock *m, uint64_t end_ms)
{
    deadline_arm(m->loop, &m->end, end_ms, on_end);
    if (signal_watch_start(m->loop, SIGTERM, on_signal, m, &m->term) < 0 ||
        signal_watch_start(m->loop, SIGINT, on_signal, m, &m->interrupt) < 0 ||
        mock_engine_init(&m->engine, &m->conf, m->loop) < 0) {
        m->status = 1;
        return;
    }
    make_server(m);
    deadline_arm(m->loop, &m->late, m->options.ready_after_ms, on_late);
    if (m->options.ready_after_ms == 0)
        start_listening(m);
    if (m->options.ready_after_ms > 0 || m->listener)
        loop_run(m->loop);
    mock_registry_destroy(&m->registry);
    listener_close(&m->listener);
    server_destroy(&m->server);
    mock_engine_fini(&m->engine);
}

static int live(struct mock *m, uint64_t end_ms)
{
    start_log();
    m->log = log_writer_create();
    if (loop_create(&m->loop) < 0) {
        fprintf(stderr, "Error: no event loop\n");
        return 1;
    }
    run_loop(m, end_ms);
    deadline_stop(&m->late);
    deadline_stop(&m->end);
    signal_watch_close(&m->term);
    signal_watch_close(&m->interrupt);
    loop_destroy(&m->loop);
    chunk_pool_fini(&m->chunks);
    arena_cache_fini(&m->arenas);
    log_writer_destroy(&m->log);
    log_fini();
    return m->status;
}

static int run(int argc, char **argv)
{
    struct arena arena;
    struct mock m = {.arena = &arena};
    uint64_t end_ms = 0;
    int r;

    arena_init(&arena, NULL);
    r = role_start(mock_command(), argc, argv, &arena, &m.options, NULL);
    if (r < 0) {
        r = read_options(&m);
        if (r == 0)
            r = read_end(&m, &end_ms, &m.status);
        if (r == 0) {
            if (m.options.fork_helper)
                fork_helper();
            if (m.options.fork_stray)
                fork_stray();
            role_raise_descriptors();
            if (m.options.emit_file.p && emit_file(m.options.emit_file.p) < 0) {
                fprintf(stderr, "Error: cannot read %s\n", m.options.emit_file.p);
                r = 1;
            } else {
                r = live(&m, end_ms);
            }
        }
    }
    mem_free(m.token);
    arena_clear(&arena);
    return r;
}

const struct command *mock_command(void)
{
    static const char *const examples[] = {
        "inferd mock --name a --port 8001 --models tiny",
        "one model on 127.0.0.1:8001",
        "inferd mock --name a --port 8001 --models tiny --fault tiny=truncate:5@0.1",
        "one stream in ten breaks off after five events",
        NULL,
    };
    static const struct command command = {
        .name = "mock",
        .summary = "an OpenAI engine without a model, for trying and testing",
        .text = "It answers chat, completions, embeddings and the list of models, streaming or "
                "not, always with the same sentence, at the pace and with the faults it is told.",
        .examples = examples,
        .flags = &mock_flags_options,
        .run = run,
    };

    return &command;
}
