/* SPDX-License-Identifier: Apache-2.0
 *
 * reload.c - the next configuration: read and checked here, new addresses bound, then shown to the
 * gateway; only when both could run on it do both swap. Any refusal keeps the old one whole. One at
 * a time: what is asked for meanwhile is one more reload afterwards. Without a gateway it waits for
 * the next one. The end of the program wins over it.
 */
#include "conf/bundle.h"
#include "role/master_priv.h"

enum { SENTENCE_BYTES = 4096, ERRORS_BYTES = 64 << 10 };

static void answer(struct master *m, int err, struct str text)
{
    struct reload *r = &m->reload;

    for (uint32_t i = 0; i < r->tickets_n && m->keeper.link; i++)
        link_master_answer(m->keeper.link, r->tickets[i], err, text);
    r->tickets_n = 0;
}

static void counted(struct master *m, uint64_t *counter)
{
    ++*counter;
    if (m->keeper.link)
        link_master_counts(m->keeper.link, &m->counts);
}

/* Nothing changes. */
static void refuse(struct master *m, struct str why)
{
    log_end(log_beginf(m->log, LOG_ERROR, loop_wall_us(m->loop), "master",
                       "reload refused, the configuration before stays: %.*s",
                       (int)min_size(why.n, LOG_TEXT_BYTES / 2), why.p));
    counted(m, &m->counts.reloads_refused);
    notify_ready(m->notify, "accepting clients; the last reload was refused");
    answer(m, -E_CONF, why);
}

/* The file that it runs by, once there is one: a reload that finds it gone is refused and does not
 * go on to the next place, or to none at all. */
static int collect(struct master *m, struct settings **settings, struct bundle **bundle,
                   struct buf *why)
{
    struct settings_source from = m->src->settings;
    struct arena arena;
    struct conf_errors errors;
    int r;

    arena_init(&arena, NULL);
    error_init(&errors, &arena);
    if (m->now.settings->file.p)
        from.config = m->now.settings->file.p;
    r = settings_collect(&from, bundle, settings, &errors);
    if (r < 0)
        error_print_all(&errors, STR_NONE, why);
    arena_clear(&arena);
    while (why->n && why->p[why->n - 1] == '\n')
        why->n--;
    return r;
}

static int offer(struct master *m)
{
    const struct master_config *next = &m->reload.next;
    struct link_listener listeners[SOCKETS_MAX];

    sockets_describe(&next->sockets, listeners);
    return link_master_config(m->keeper.link, next->generation, &next->bundle, listeners,
                              next->sockets.fd, next->sockets.n);
}

static void begin(struct master *m)
{
    struct buf why = buf_make(ERRORS_BYTES);
    struct settings *settings = NULL;
    struct bundle *bundle = NULL;
    int r;

    m->reload.again = false;
    m->reload.committed = false;
    notify_reloading(m->notify);
    r = collect(m, &settings, &bundle, &why);
    if (r == 0)
        r = master_config_make(m, &settings, &bundle, &m->reload.next, &why);
    if (r == 0 && offer(m) < 0) {
        master_config_drop(&m->reload.next, &m->now.sockets);
        buf_text(&why, "no descriptors to hand it to the gateway");
        r = -E_NO_FDS;
    }
    if (r < 0)
        refuse(m, buf_str(&why));
    buf_fini(&why);
}

void reload_ask(struct master *m)
{
    m->reload.again = true;
    if (!m->reload.next.settings && keeper_serves(m) && m->phase == MASTER_RUNNING)
        begin(m);
}

void reload_ask_for(struct master *m, uint32_t ticket)
{
    struct reload *r = &m->reload;

    if (m->phase >= MASTER_DRAINING || r->tickets_n == LINK_ASKS_MAX) {
        link_master_answer(m->keeper.link, ticket, -E_BUSY, STR("inferd is shutting down"));
        return;
    }
    r->tickets[r->tickets_n++] = ticket;
    reload_ask(m);
}

static void finish(struct master *m)
{
    struct reload *r = &m->reload;
    struct buf restarts = buf_make(SENTENCE_BYTES), text = buf_make(SENTENCE_BYTES);
    struct log_rec *rec;

    settings_restarts(m->now.settings, r->next.settings, &restarts);
    master_config_drop(&m->now, &r->next.sockets);
    m->now = r->next;
    r->next = (struct master_config){.bundle = EV_FD_NONE};
    log_set_format(settings_log_format(m->now.settings));
    log_set_level(settings_log_level(m->now.settings));
    supervise_apply(m->supervise, &m->now.settings->engine, m->now.settings->limits.drain_ms);
    counted(m, &m->counts.reloads);
    buf_text(&text, "reloaded");
    if (restarts.n)
        buf_printf(&text, "; needs a restart: %.*s", STR_ARGS(buf_str(&restarts)));
    rec = master_say(m, restarts.n ? LOG_WARN : LOG_INFO, "reloaded");
    log_u64(rec, "generation", m->now.generation);
    if (restarts.n)
        log_str(rec, "needs_restart", buf_str(&restarts));
    log_end(rec);
    notify_ready(m->notify, "accepting clients");
    answer(m, 0, buf_str(&text));
    buf_fini(&restarts);
    buf_fini(&text);
    if (r->again)
        reload_ask(m);
}

static void give_up(struct master *m, struct str why)
{
    master_config_drop(&m->reload.next, &m->now.sockets);
    refuse(m, why);
}

void reload_on_ack(struct master *m, uint32_t generation, struct str problem)
{
    if (!m->reload.next.settings || generation != m->reload.next.generation)
        return;
    if (problem.n == 0 && m->phase == MASTER_RUNNING) {
        m->reload.committed = true;
        link_master_commit(m->keeper.link);
        return;
    }
    link_master_abandon(m->keeper.link);
    give_up(m, problem.n ? problem : STR("inferd is shutting down"));
    if (m->reload.again)
        reload_ask(m);
}

void reload_on_swapped(struct master *m, uint32_t generation)
{
    if (m->reload.next.settings && m->reload.committed && generation == m->reload.next.generation)
        finish(m);
}

void reload_on_gateway_end(struct master *m)
{
    if (!m->reload.next.settings)
        return;
    if (m->reload.committed)
        finish(m);
    else
        give_up(m, STR("the gateway ended meanwhile"));
}

void reload_on_accepting(struct master *m)
{
    if (m->reload.again)
        reload_ask(m);
}
