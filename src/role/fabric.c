/* SPDX-License-Identifier: Apache-2.0
 *
 * fabric.c - see fabric.h.
 *
 * A fabric role is reachable from outside only on purpose: beyond loopback it wants a registry
 * token or --insecure, and under an infini- name, where the original's scripts expect it to come
 * up, it says what is exposed.
 */
#include "role/fabric.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/listener.h"
#include "ev/notify.h"
#include "ev/thread.h"
#include "role/role.h"
#include "role/token.h"

enum {
    BACKLOG = 4096,
    END_MS = 2000,  /* for open requests, after a signal */
    BIND_MS = 1000, /* whoever had the address may be ending just now */
    IDLE_CHUNKS = 1024,
    IDLE_ARENAS = 1024,
};

int fabric_fail(const char *what, const char *why)
{
    fprintf(stderr, "Error: %s: %s\n", what, why);
    return 1;
}

/* ---- the log ---- */

static struct log_rec *say(struct fabric *f, enum log_level level, const char *message)
{
    return log_begin(f->log, level, loop_wall_us(f->loop), f->conf.role, message);
}

/* How many parts of the filter could not be used. */
static unsigned start_log(const struct fabric_conf *conf)
{
    static const enum log_format formats[] = {
        [fabric_log_format_unset] = LOG_SVC,
        [FABRIC_LOGFMT] = LOG_LOGFMT,
        [FABRIC_JSON] = LOG_JSON,
        [FABRIC_SVC] = LOG_SVC,
    };
    const char *no_colour = getenv("NO_COLOR"), *filter = getenv("INFERD_LOG");
    struct log_conf log = {.format = formats[conf->options.log_format],
                           .level = LOG_INFO,
                           .fd = STDOUT_FILENO,
                           .colour = !no_colour || !no_colour[0]};
    unsigned odd = 0;

    if (!filter || !filter[0])
        filter = getenv("RUST_LOG");
    if (filter && filter[0])
        odd = log_filter_parse(str_of(filter), str_of(conf->role), &log.level);
    if (log_init(&log) < 0)
        fprintf(stderr, "inferd %s: no log thread, records go to stderr\n", conf->role);
    return odd;
}

/* ---- start ---- */

static int read_address(struct fabric *f)
{
    const struct fabric_options *o = &f->conf.options;
    struct str listen = o->listen;

    if (!listen.p)
        listen = f->conf.alias ? STR("0.0.0.0") : STR("127.0.0.1");
    if (addr_parse_ip(listen, f->conf.port, &f->at) == 0)
        return 0;
    fprintf(stderr, "inferd %s: --listen: not an IPv4 or IPv6 address\n", f->conf.role);
    return 2;
}

static bool exposed(const struct fabric *f) { return !addr_is_loopback(&f->at) && f->token.n == 0; }

static int check_exposure(const struct fabric *f)
{
    char memory[ADDR_TEXT_MAX];
    struct buf at = buf_on(memory, sizeof memory);

    if (!exposed(f) || f->conf.alias || f->conf.options.insecure)
        return 0;
    addr_write(&f->at, &at);
    fprintf(stderr,
            "Error: %.*s can be reached from other machines, and there is no registry token: "
            "give --registry-token-file, or --insecure if everybody may use it\n",
            STR_ARGS(buf_str(&at)));
    return 1;
}

int fabric_open(const struct fabric_conf *conf, struct fabric *f)
{
    unsigned odd;
    int r;

    *f = (struct fabric){.conf = *conf, .socket = EV_FD_NONE, .token = STR("")};
    f->chunks.max = IDLE_CHUNKS;
    f->arenas.max = IDLE_ARENAS;
    r = read_address(f);
    if (r == 0)
        r = token_find(f->conf.options.registry_token_file, &f->token_memory);
    f->token = str_of(f->token_memory);
    if (r == 0)
        r = check_exposure(f);
    if (r == 0 && loop_create(&f->loop) < 0)
        r = fabric_fail("no event loop", strerror(errno));
    if (r != 0) {
        mem_free(f->token_memory);
        return r;
    }
    role_raise_descriptors();
    odd = start_log(conf);
    f->log = log_writer_create();
    f->notify = notify_create(f->loop);
    f->metrics = metrics_create();
    if (odd > 0) {
        struct log_rec *rec = say(f, LOG_WARN, "parts of the log filter are not understood");

        log_u64(rec, "parts", odd);
        log_end(rec);
    }
    return 0;
}

int fabric_adopt(const struct fabric_conf *conf, const struct addr *at, struct str token,
                 struct ev_fd *fd, struct fabric *f)
{
    int r;

    *f = (struct fabric){
        .conf = *conf, .socket = EV_FD_NONE, .at = *at, .token = token, .adopted = true};
    f->chunks.max = IDLE_CHUNKS;
    f->arenas.max = IDLE_ARENAS;
    r = loop_create(&f->loop);
    if (r < 0)
        return r;
    f->log = log_writer_create();
    f->metrics = metrics_create();
    f->socket = *fd;
    *fd = EV_FD_NONE;
    return 0;
}

/* ---- signals ---- */

static void on_signal(void *ctx, int signo)
{
    struct fabric *f = ctx;

    if (signo != SIGHUP)
        notify_stopping(f->notify);
    if (f->conf.on_signal) {
        f->conf.on_signal(f->conf.ctx, signo);
        return;
    }
    if (!f->stopping)
        fabric_say_stopped(f, signo);
    fabric_end(f, END_MS);
}

static int watch_signals(struct fabric *f)
{
    if (signal_watch_start(f->loop, SIGTERM, on_signal, f, &f->term) < 0 ||
        signal_watch_start(f->loop, SIGINT, on_signal, f, &f->interrupt) < 0 ||
        (f->conf.on_signal && signal_watch_start(f->loop, SIGHUP, on_signal, f, &f->hangup) < 0))
        return fabric_fail("cannot watch signals", strerror(errno));
    return 0;
}

/* ---- that it is there ---- */

int fabric_bind(struct fabric *f)
{
    char memory[ADDR_TEXT_MAX + 32];
    struct buf what = buf_on(memory, sizeof memory);
    int r = listener_bind_patiently(&f->at, BACKLOG, 0, BIND_MS, &f->socket);

    if (r == 0)
        return watch_signals(f); /* who hears of us from here on may end us */
    buf_text(&what, "cannot listen on ");
    addr_write(&f->at, &what);
    return fabric_fail(buf_cstr(&what), err_text(r));
}

static int write_ready_file(const struct fabric *f)
{
    const char *path = f->conf.options.ready_file.p;
    _cleanup_(mem_cleanup) char *temporary = NULL;
    char memory[ADDR_TEXT_MAX], text[ADDR_TEXT_MAX + 64];
    struct buf at = buf_on(memory, sizeof memory), out = buf_on(text, sizeof text);
    FILE *file;
    bool good;

    if (!path)
        return 0;
    temporary = mem_printf("%s.%d", path, (int)getpid());
    addr_write(&f->at, &at);
    buf_printf(&out, "{\"listen\":[\"%.*s\"],\"pid\":%d}", STR_ARGS(buf_str(&at)), (int)getpid());
    file = fopen(temporary, "we");
    good = file && fwrite(out.p, 1, out.n, file) == out.n;
    if (file && fclose(file) != 0)
        good = false;
    return good && rename(temporary, path) == 0 ? 0 : fabric_fail(path, strerror(errno));
}

int fabric_say_listening(struct fabric *f)
{
    char memory[ADDR_TEXT_MAX];
    struct buf at = buf_on(memory, sizeof memory);
    struct log_rec *r;

    addr_write(&f->at, &at);
    if (exposed(f)) {
        r = say(f, LOG_WARN,
                "exposed: whoever reaches this address may use it, there is no registry "
                "token");
        log_str(r, "address", buf_str(&at));
        log_end(r);
    }
    r = say(f, LOG_INFO, "listening");
    log_str(r, "address", buf_str(&at));
    log_text(r, "version", INFERD_VERSION);
    log_end(r);
    if (write_ready_file(f) != 0)
        return 1;
    if (f->notify)
        notify_ready(f->notify, "accepting clients");
    return 0;
}

/* ---- the end ---- */

int fabric_run(struct fabric *f)
{
    notify_watch(f->notify);
    loop_run(f->loop);
    return 0;
}

void fabric_say_stopped(struct fabric *f, int signo)
{
    static const char *const texts[] = {
        [SIGHUP] = "stopped by SIGHUP",
        [SIGINT] = "stopped by SIGINT",
        [SIGTERM] = "stopped by SIGTERM",
    };

    log_end(say(f, LOG_INFO, texts[signo]));
}

void fabric_close(struct fabric *f)
{
    fabric_close_clients(f);
    ev_fd_close(&f->socket);
    signal_watch_close(&f->term);
    signal_watch_close(&f->interrupt);
    signal_watch_close(&f->hangup);
    notify_destroy(&f->notify);
    loop_destroy(&f->loop);
    metrics_destroy(&f->metrics);
    chunk_pool_fini(&f->chunks);
    arena_cache_fini(&f->arenas);
    log_writer_destroy(&f->log);
    if (!f->adopted)
        log_fini();
    mem_free(f->token_memory);
}
