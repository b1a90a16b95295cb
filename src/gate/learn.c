/* SPDX-License-Identifier: Apache-2.0
 *
 * learn.c - what control learns from engines' lists of models: the models, which program the engine
 * is, and, without a configuration, that there is one at all on loopback's usual ports.
 *
 * A usual place is a member while it is looked at; it is attached, and tested as every other
 * engine, while it has models. Who is lost is looked for again.
 *
 * Exports: learn_ discover_
 */
#include "base/mem.h"
#include "gate/control_priv.h"

enum { LOOK_EVERY_MS = 5000 };

/* ---- models ---- */

static void note_kind(struct member *m, struct str server, struct str body)
{
    enum engine_kind kind = ENGINE_KIND_OPENAI;

    if (m->kind_fixed)
        return;
    if (str_caseeq(server, STR("llama.cpp")))
        kind = ENGINE_KIND_LLAMA;
    else if (str_find_str(body, STR("\"owned_by\":\"vllm\"")) < body.n)
        kind = ENGINE_KIND_VLLM;
    else if (str_find_str(body, STR("\"owned_by\":\"library\"")) < body.n)
        kind = ENGINE_KIND_OLLAMA;
    if (m->kind != kind) {
        m->kind = kind;
        members_changed(m->control);
    }
}

/* Changes when the list does. */
static uint64_t models_mark(const struct member *m)
{
    uint64_t mark = m->models_known;

    for (uint32_t i = 0; i < m->nmodels; i++)
        mark = str_hash(m->models[i], mark + i);
    return mark;
}

/* An answer, and none that gets better by itself: nobody will ever be sent there. Told once. */
static void note_no_list(struct member *m, unsigned status)
{
    struct control *c = m->control;
    struct log_rec *r;

    if (m->models_known || m->no_list_told || m->of_table || status == 429 || status >= 500)
        return;
    m->no_list_told = true;
    r = log_begin(c->log, LOG_WARN, loop_wall_us(c->loop), "control",
                  "an engine does not tell its models, and `models` does not name them");
    log_text(r, "engine", m->name);
    log_text(r, "url", m->url_text);
    log_u64(r, "status", status);
    log_end(r);
}

void learn_models(struct member *m, const struct fetch_reply *r)
{
    struct control *c = m->control;

    if (r->err == 0 && r->status == 200) {
        uint64_t before = models_mark(m);

        note_kind(m, r->server, r->body);
        if (!m->models_fixed && member_set_models(m, r->body) && models_mark(m) != before) {
            control_log_member(c, LOG_INFO, m, "models learnt");
            members_publish(c);
        }
    }
    if (r->err == 0)
        note_no_list(m, r->status);
    member_note_asked(m);
}

/* ---- discovery ---- */

static const struct {
    const char *name, *url;
    enum engine_kind kind;
} usual[] = {
    {"ollama", "http://127.0.0.1:11434", ENGINE_KIND_OLLAMA},
    {"llama.cpp", "http://127.0.0.1:8080", ENGINE_KIND_LLAMA},
    {"vllm", "http://127.0.0.1:8000", ENGINE_KIND_VLLM},
};

void discover_lost(struct member *m)
{
    struct control *c = m->control;

    if (m->nmodels == 0)
        return;
    control_log_member(c, LOG_WARN, m, "an engine stopped answering");
    member_set_models(m, STR("[]"));
    m->health = (struct health){.word = CELL_BAD};
    member_state(c, m, CELL_PROBED, CELL_BAD);
    members_changed(c);
}

static void on_look(struct member *m, const struct fetch_reply *r)
{
    static const struct str own = {"inferd/", 7};

    if (r->err == 0 && r->status == 200 && !str_starts(r->server, own) &&
        member_set_models(m, r->body) && m->nmodels > 0) {
        note_kind(m, r->server, r->body);
        control_log_member(m->control, LOG_INFO, m, "found an engine");
        m->health = (struct health){.word = CELL_GOOD};
        member_state(m->control, m, CELL_PROBED, CELL_GOOD);
        members_changed(m->control);
        door_returned(m);
        probe_start(m);
    }
    member_note_asked(m);
}

static void look_around(struct deadline *d)
{
    struct control *c = container_of(d, struct control, discover);

    for (unsigned i = 0; i < ARRAY_LEN(usual); i++) {
        struct member *m = member_by_name(c, str_of(usual[i].name));

        if (!m) {
            m = member_create(c, ENGINE_DISCOVERED, str_of(usual[i].name), str_of(usual[i].url));
            m->health.word = CELL_BAD;
            cell_set(m->cell, CELL_PROBED, CELL_BAD);
        }
        if (m->origin == ENGINE_DISCOVERED && !m->fetch && m->nmodels == 0)
            probe_ask_models(m, on_look);
    }
    deadline_arm(c->loop, &c->discover, LOOK_EVERY_MS, look_around);
}

void discover_start(struct control *c)
{
    deadline_stop(&c->discover);
    if (c->settings.discover)
        look_around(&c->discover);
}
