/* SPDX-License-Identifier: Apache-2.0
 *
 * mock_registry.c - see mock_registry.h. The record is the original's, which says 127.0.0.1
 * whatever it listens on; only an address given on purpose is said instead.
 */
#include "role/mock_registry.h"

#include "base/jsonw.h"
#include "base/mem.h"
#include "gate/registration.h"
#include "net/registrar.h"

enum { BEAT_MS = 10000, METADATA_BYTES = 4 << 20 };

struct mock_registry {
    struct loop *loop;
    struct log_writer *log;
    struct registrar *registrar;
    struct registrar_counts counts; /* nobody reads them */
};

static void on_event(void *ctx, const struct registrar_event *event)
{
    struct mock_registry *r = ctx;

    registration_say(r->log, loop_wall_us(r->loop), "mock", event);
}

static void write_metadata(const struct mock_conf *m, uint64_t created, struct buf *out)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    jsonw_key(&w, "models");
    jsonw_begin_array(&w);
    for (size_t i = 0; i < m->models_n; i++)
        jsonw_str(&w, m->models[i].id);
    jsonw_end_array(&w);
    jsonw_key(&w, "models_list");
    mock_reply_list(m->models, m->models_n, created, &w);
    jsonw_key(&w, "type");
    jsonw_cstr(&w, "openai-api");
    jsonw_end_object(&w);
}

static void enter(struct mock_registry *r, const struct mock_registry_conf *conf)
{
    char memory[ADDR_TEXT_MAX + 16];
    struct buf text = buf_on(memory, sizeof memory), metadata = buf_make(METADATA_BYTES);
    struct addr shown = *conf->at;
    bool usual = addr_is_wildcard(&shown) || addr_is_loopback(&shown);
    struct registrar_record record = {.port = conf->engine->port, .weight = -1};
    struct registrar_name *name;
    struct url url;
    const char *why;

    if (usual)
        CHECK(addr_parse_ip(STR("127.0.0.1"), shown.port, &shown) == 0);
    buf_text(&text, "http://");
    addr_write(&shown, &text);
    CHECK(url_parse(buf_str(&text), &url, &why) == 0);
    write_metadata(conf->engine, loop_wall_us(r->loop) / 1000000, &metadata);
    record.host = url.host;
    record.hostname = usual ? STR("localhost") : url.host;
    record.url = buf_str(&text);
    record.metadata = buf_str(&metadata);
    registrar_add(r->registrar, conf->engine->name, NULL, &name);
    registrar_put(name, &record, STR("running"));
    buf_fini(&metadata);
}

void mock_registry_enter(struct loop *l, const struct mock_registry_conf *conf,
                         struct mock_registry **ret)
{
    struct mock_registry *r = xnew(struct mock_registry, .loop = l, .log = conf->log);
    struct registrar_conf registrar = {
        .chunks = conf->chunks,
        .url = conf->url,
        .token = conf->token,
        .interval_ms = BEAT_MS,
        .one_try = true,
        .bare_beats = true,
        .on_event = on_event,
        .ctx = r,
        .counts = &r->counts,
    };

    registrar_create(l, &registrar, &r->registrar);
    enter(r, conf);
    *ret = r;
}

void mock_registry_leave(struct mock_registry *r, void (*done)(void *ctx), void *ctx)
{
    registrar_leave(r->registrar, done, ctx);
}

void mock_registry_destroy(struct mock_registry **rp)
{
    struct mock_registry *r = TAKE(rp);

    if (!r)
        return;
    registrar_destroy(&r->registrar);
    mem_free(r);
}
