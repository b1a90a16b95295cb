/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos.c - `inferd chaos`: the command line, the stage (two misbehaving engines on this machine
 * and a gateway before them), the rows one after another, the report. Without --target the gateway
 * is an `inferd up` of its own; with it, whatever answers there, which somebody has told to use the
 * two engine addresses (docs/chaos.md).
 */
#include "role/chaos.h"

#include <stdio.h>

#include "base/mem.h"
#include "conf/url.h"
#include "ev/thread.h"
#include "role/chaos_report.h"
#include "role/role.h"

enum {
    REPORT_BYTES = 1 << 20,
    IDLE_CHUNKS = 64,
    IDLE_ARENAS = 64,
    SETTLE_OWN_MS = 5000,
    SETTLE_TARGET_MS = 15000,
};

#define CHAOS_OPTIONS(X, T)                                                                        \
    X(T, target, STR, UNSET, 1, 2048, RESTART,                                                     \
      "Another gateway, http://host:port, that was told to use the engines of --engine-ports. "    \
      "Unset: an inferd of its own.")                                                              \
    X(T, engine_ports, STR, UNSET, 3, 11, RESTART,                                                 \
      "\"A,B\": the ports on 127.0.0.1 that the two engines take. Unset: any.")                    \
    X(T, model, STR, "chaos", 1, 256, RESTART, "The model that is asked for.")                     \
    X(T, header, LIST, UNSET, 0, 32, RESTART,                                                      \
      "A further header of each request, \"Name: value\", as for a key.")                          \
    X(T, only, LIST, UNSET, 0, 64, RESTART, "A row of the table; may be given again. Unset: all.") \
    X(T, patience, U32, 1, 1, 20, RESTART,                                                         \
      "So many times as long may everything take, an inferd of its own having limits that are as " \
      "much longer: for a machine that does other things.")                                        \
    X(T, list, BOOL, false, 0, 0, RESTART, "Prints the table and does nothing.")                   \
    X(T, json, BOOL, false, 0, 0, RESTART, "Prints one JSON object instead of text.")

struct chaos_flags {
    CHAOS_OPTIONS(OPTION_MEMBER, chaos_flags)
};
OPTION_TABLE(chaos_flags, CHAOS_OPTIONS, "A run.");

struct chaos {
    struct chaos_flags options;
    struct url url; /* of --target */
    struct addr at[CHAOS_ENGINES];
    struct chaos_wait w;
    struct chaos_stage stage;
    struct chaos_engine *engines[CHAOS_ENGINES];
    struct chaos_gateway *gateway;
    struct chaos_run *run;
    struct signal_watch *term, *interrupt;
    struct chaos_result *results;
    size_t results_n;
    struct buf origin; /* of a gateway of our own */
};

/* ---- the command line ---- */

static int wrong(const char *flag, const char *problem)
{
    fprintf(stderr, "inferd chaos: --%s: %s\n", flag, problem);
    return 2;
}

static int read_ports(struct chaos *c)
{
    struct str rest = c->options.engine_ports;
    uint64_t port;

    for (unsigned i = 0; i < CHAOS_ENGINES; i++) {
        c->at[i] = (struct addr){.family = ADDR_IP4, .ip = {127, 0, 0, 1}};
        if (!c->options.engine_ports.p)
            continue;
        if (!str_u64(str_cut(&rest, ','), &port) || port == 0 || port > 65535)
            return wrong("engine-ports", "must be two ports, as \"8001,8002\"");
        c->at[i].port = (uint16_t)port;
    }
    if (c->options.engine_ports.p && (rest.p || c->at[0].port == c->at[1].port))
        return wrong("engine-ports", "must be two ports, as \"8001,8002\"");
    return 0;
}

static int read_target(struct chaos *c)
{
    const struct chaos_flags *o = &c->options;
    const char *why = NULL;

    if (!o->target.p)
        return o->engine_ports.p ? wrong("engine-ports", "goes with --target") : 0;
    if (url_parse(o->target, &c->url, &why) < 0)
        return wrong("target", why);
    if (c->url.kind != URL_HTTP || !url_is_loopback(&c->url))
        return wrong("target", "must be http:// on this machine: the engines are");
    if (!o->engine_ports.p)
        return wrong("engine-ports", "is needed with --target: what was it told to use?");
    return 0;
}

static int read_headers(const struct chaos *c)
{
    for (size_t i = 0; i < c->options.header.n; i++) {
        struct str value = c->options.header.at[i], name = str_cut(&value, ':');

        if (!value.p || !http1_is_token(name) || !http1_is_value(str_trim(value)))
            return wrong("header", "must be \"Name: value\"");
    }
    return 0;
}

static bool is_row(struct str name)
{
    size_t n;
    const struct chaos_row *rows = chaos_table(&n);

    for (size_t i = 0; i < n; i++)
        if (str_eq(str_of(rows[i].name), name))
            return true;
    return false;
}

static bool is_chosen(const struct chaos *c, const struct chaos_row *row)
{
    for (size_t i = 0; i < c->options.only.n; i++)
        if (str_eq(str_of(row->name), c->options.only.at[i]))
            return true;
    return c->options.only.n == 0;
}

static int read_options(struct chaos *c)
{
    int r = read_ports(c);

    if (r == 0)
        r = read_target(c);
    if (r == 0)
        r = read_headers(c);
    for (size_t i = 0; r == 0 && i < c->options.only.n; i++)
        if (!is_row(c->options.only.at[i]))
            r = wrong("only", "there is no such row; --list shows them");
    return r;
}

/* ---- the run ---- */

static void print(struct buf *out)
{
    (void)fwrite(out->p ? out->p : "", 1, out->n, stdout);
    (void)fflush(stdout);
    buf_clear(out);
}

static void on_signal(void *ctx, int signo)
{
    struct chaos *c = ctx;

    (void)signo;
    c->w.stopped = true;
    loop_stop(c->w.loop);
}

static void play_rows(struct chaos *c)
{
    size_t n;
    const struct chaos_row *rows = chaos_table(&n);
    struct buf out = buf_make(REPORT_BYTES);

    c->results = mem_alloc(n * sizeof(*c->results));
    for (size_t i = 0; i < n && !c->w.stopped; i++) {
        if (!is_chosen(c, &rows[i]))
            continue;
        chaos_run_row(c->run, &rows[i], &c->results[c->results_n]);
        if (c->w.stopped)
            break;
        if (!c->options.json)
            chaos_report_line(&c->results[c->results_n], &out);
        print(&out);
        c->results_n++;
    }
    if (c->options.json)
        chaos_report_json(c->results, c->results_n, &out);
    else
        chaos_report_sum(c->results, c->results_n, &out);
    print(&out);
    buf_fini(&out);
}

static int open_stage(struct chaos *c)
{
    int r = loop_create(&c->w.loop);

    if (r < 0)
        return r;
    c->stage.loop = c->w.loop;
    c->stage.chunks.max = IDLE_CHUNKS;
    c->stage.arenas.max = IDLE_ARENAS;
    c->stage.scratch = buf_make(REPORT_BYTES);
    arena_init(&c->stage.memory, NULL);
    r = signal_watch_start(c->w.loop, SIGTERM, on_signal, c, &c->term);
    if (r == 0)
        r = signal_watch_start(c->w.loop, SIGINT, on_signal, c, &c->interrupt);
    for (unsigned i = 0; r == 0 && i < CHAOS_ENGINES; i++) {
        r = chaos_engine_create(&c->stage, i, &c->at[i], &c->engines[i]);
        if (r < 0)
            fprintf(stderr, "Error: engine %u on port %u: %s\n", i + 1, c->at[i].port, err_text(r));
    }
    return r;
}

static int open_run(struct chaos *c)
{
    struct chaos_run_conf conf = {.model = c->options.model,
                                  .solo = c->options.model,
                                  .patience = c->options.patience,
                                  .settle_ms = SETTLE_TARGET_MS};
    struct addr at;
    int r;

    conf.target = (struct chaos_target){
        .host = c->url.host, .port = c->url.port, .origin = c->url.origin, .prefix = c->url.prefix};
    if (!c->options.target.p) {
        r = chaos_gateway_start(&c->w, c->at, conf.patience, &at, &c->gateway);
        if (r < 0)
            return r;
        c->origin = buf_make(ADDR_TEXT_MAX);
        addr_write(&at, &c->origin);
        conf.target = (struct chaos_target){
            .host = STR("127.0.0.1"), .port = at.port, .origin = buf_str(&c->origin)};
        conf.model = STR("chaos");
        conf.solo = STR("chaos-solo");
        conf.gateway = c->gateway;
        conf.settle_ms = SETTLE_OWN_MS;
    }
    conf.target.fields = &c->options.header;
    chaos_run_create(&c->w, &c->stage, c->engines, c->at, &conf, &c->run);
    return 0;
}

static void close_all(struct chaos *c)
{
    chaos_run_destroy(&c->run);
    if (c->w.loop)
        chaos_gateway_end(&c->w, &c->gateway);
    for (unsigned i = 0; i < CHAOS_ENGINES; i++)
        chaos_engine_destroy(&c->engines[i]);
    signal_watch_close(&c->term);
    signal_watch_close(&c->interrupt);
    loop_destroy(&c->w.loop);
    arena_clear(&c->stage.memory);
    chunk_pool_fini(&c->stage.chunks);
    arena_cache_fini(&c->stage.arenas);
    buf_fini(&c->stage.scratch);
    buf_fini(&c->origin);
    mem_free(c->results);
}

static int play(struct chaos *c)
{
    int r = open_stage(c);

    if (r == 0)
        r = open_run(c);
    if (r < 0)
        return 1;
    if (!chaos_run_reaches(c->run)) {
        if (!c->w.stopped)
            fprintf(stderr, "Error: no request to the gateway reaches an engine\n");
        return 1;
    }
    play_rows(c);
    if (c->w.stopped)
        return 1;
    return chaos_report_count(c->results, c->results_n, CHAOS_FAIL) ? 1 : 0;
}

static int print_list(void)
{
    struct buf out = buf_make(REPORT_BYTES);

    chaos_report_list(&out);
    print(&out);
    buf_fini(&out);
    return 0;
}

static int run(int argc, char **argv)
{
    struct arena arena;
    struct chaos c = {.results = NULL};
    int r;

    arena_init(&arena, NULL);
    r = role_start(chaos_command(), argc, argv, &arena, &c.options, NULL);
    if (r < 0) {
        r = read_options(&c);
        if (r == 0 && c.options.list)
            r = print_list();
        else if (r == 0) {
            role_raise_descriptors();
            r = play(&c);
            close_all(&c);
        }
    }
    arena_clear(&arena);
    return r;
}

const struct command *chaos_command(void)
{
    static const char *const examples[] = {
        "inferd chaos",
        "an inferd of its own under fire, half a minute",
        "inferd chaos --only stream-reset --only engine-hung",
        "two rows of the table",
        "inferd chaos --target http://127.0.0.1:8080 --engine-ports 9001,9002",
        "another gateway, whose two engines are 127.0.0.1:9001 and 127.0.0.1:9002",
        NULL,
    };
    static const struct command command = {
        .name = "chaos",
        .flags = &chaos_flags_options,
        .run = run,
        .examples = examples,
        .summary = "put a gateway under fire and say what its clients see",
        .text =
            "Plays a table of failures, one after another: engines that refuse, reset, hang, flap, "
            "lie or die, and clients that leave. Each row says what the client must see, and is "
            "given "
            "a verdict: pass, as it says; safe, not so, but the client was told the truth; fail, "
            "anything else: a broken answer that looks whole, no answer, an end that never comes, "
            "more attempts than allowed.\n\n"
            "Exit status 0: nothing failed; 1: something did; 2: a flag is wrong.",
    };

    return &command;
}
