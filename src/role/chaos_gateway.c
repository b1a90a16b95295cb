/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_gateway.c - writes a configuration, starts `inferd up`, waits for its ready file, and at
 * the end removes the folder with everything in it.
 */
#include "role/chaos_gateway.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"

enum {
    READY_MS = 30000,
    READY_BYTES = 64 << 10,
    FOLDERS_OPEN = 8,
};

struct chaos_gateway {
    char *folder;
    struct chaos_process *process;
};

/* The limits are those that docs/chaos.md asks of other gateways. */
static const char conf_text[] = "[[listen]]\n"
                                "address = \"127.0.0.1:0\"\n"
                                "[limits]\n"
                                "connect_ms = %u\n"
                                "first_byte_ms = %u\n"
                                "idle_ms = %u\n"
                                "queue_ms = %u\n"
                                "drain_ms = 1000\n"
                                "[probe]\n"
                                "interval_ms = 200\n"
                                "timeout_ms = %u\n"
                                "[[remote]]\n"
                                "name = \"one\"\n"
                                "url = \"http://127.0.0.1:%u\"\n"
                                "models = [\"chaos\", \"chaos-solo\"]\n"
                                "[[remote]]\n"
                                "name = \"two\"\n"
                                "url = \"http://127.0.0.1:%u\"\n"
                                "models = [\"chaos\"]\n";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    (void)remove(path);
    return 0;
}

static int write_conf(const char *path, const struct addr engines[2], unsigned patience)
{
    FILE *f = fopen(path, "we");
    bool good;

    if (!f)
        return -E_IO;
    good = fprintf(f, conf_text, 500 * patience, 1500 * patience, 1000 * patience, 2000 * patience,
                   200 * patience, engines[0].port, engines[1].port) > 0;
    return fclose(f) == 0 && good ? 0 : -E_IO;
}

/* The first address of the ready file. */
static bool read_ready(const char *path, struct addr *at)
{
    char bytes[READY_BYTES];
    struct json *document = NULL;
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(bytes, 1, sizeof(bytes), f) : 0;
    struct str text;
    bool good = false;

    if (f)
        (void)fclose(f);
    if (n > 0 && json_read(str_span(bytes, n), NULL, NULL, &document) == 0)
        good = json_get_str(json_at(json_find_cstr(document, "listen"), 0), &text) &&
               addr_parse(text, at) == 0;
    json_unref(&document);
    return good;
}

struct start {
    struct chaos_gateway *g;
    const char *ready;
    struct addr *at;
};

static bool is_there(void *ctx)
{
    struct start *s = ctx;

    return chaos_process_ended(s->g->process) || read_ready(s->ready, s->at);
}

static int start(struct chaos_wait *w, struct chaos_gateway *g, const struct addr engines[2],
                 unsigned patience, struct addr *at)
{
    _cleanup_(mem_cleanup) char *conf = mem_printf("%s/inferd.toml", g->folder);
    _cleanup_(mem_cleanup) char *run = mem_printf("%s/run", g->folder);
    _cleanup_(mem_cleanup) char *state = mem_printf("%s/state", g->folder);
    _cleanup_(mem_cleanup) char *ready = mem_printf("%s/ready", g->folder);
    const char *const argv[] = {"inferd",        "up",  "--config",    conf,
                                "--runtime-dir", run,   "--state-dir", state,
                                "--ready-file",  ready, NULL};
    struct start s = {.g = g, .ready = ready, .at = at};
    int r = write_conf(conf, engines, patience);

    if (r == 0)
        r = chaos_process_start(w->loop, argv, &g->process);
    if (r < 0)
        return r;
    if (chaos_process_wait(w, READY_MS, is_there, &s) && !chaos_process_ended(g->process))
        return 0;
    (void)fprintf(stderr, "%.*s", STR_ARGS(chaos_process_words(g->process)));
    return -E_TIMEOUT;
}

int chaos_gateway_start(struct chaos_wait *w, const struct addr engines[2], unsigned patience,
                        struct addr *at, struct chaos_gateway **ret)
{
    const char *where = getenv("TMPDIR");
    struct chaos_gateway *g = xnew(struct chaos_gateway);
    int r = -E_IO;

    g->folder = mem_printf("%s/inferd-chaos.XXXXXX", where && *where ? where : "/tmp");
    if (mkdtemp(g->folder) && chmod(g->folder, 0755) == 0) /* its gateway may be another user */
        r = start(w, g, engines, patience, at);
    if (r < 0) {
        (void)fprintf(stderr, "Error: no gateway in %s: %s\n", g->folder, err_text(r));
        chaos_gateway_end(w, &g);
        return r;
    }
    *ret = g;
    return 0;
}

int chaos_gateway_pid(const struct chaos_gateway *g) { return chaos_process_child(g->process); }

void chaos_gateway_end(struct chaos_wait *w, struct chaos_gateway **gp)
{
    struct chaos_gateway *g = TAKE(gp);

    if (!g)
        return;
    chaos_process_end(w, false, &g->process);
    (void)nftw(g->folder, remove_one, FOLDERS_OPEN, FTW_DEPTH | FTW_PHYS);
    mem_free(g->folder);
    xfree(g);
}
