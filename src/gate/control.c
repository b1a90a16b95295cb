/* SPDX-License-Identifier: Apache-2.0
 *
 * control.c - control's life: settings and the sockets that go with them, the lanes' mails, and the
 * end in order: /ready says no, drain_delay_ms later nothing is accepted, drain_ms later what is
 * left is cut.
 */
#include "gate/control.h"

#include "base/mem.h"
#include "gate/control_priv.h"
#include "gate/lane.h"
#include "gate/metrics.h"
#include "gate/sources.h"

void control_log_member(struct control *c, enum log_level level, const struct member *m,
                        const char *what)
{
    struct log_rec *r = log_begin(c->log, level, loop_wall_us(c->loop), "control", what);

    log_text(r, "engine", m->name);
    log_text(r, "url", m->url_text);
    log_u64(r, "models", m->nmodels);
    log_end(r);
}

/* ---- sockets ---- */

static struct control_listener *find_listener(struct control *c, uint32_t id)
{
    for (unsigned i = 0; i < c->nlisteners; i++)
        if (c->listeners[i].is.id == id)
            return &c->listeners[i];
    return NULL;
}

void control_listener(struct control *c, uint32_t generation, const struct link_listener *is,
                      struct ev_fd *fd)
{
    struct control_listener *l = find_listener(c, is->id);

    if (!l) {
        if (c->nlisteners == CONTROL_LISTENERS_MAX || fd->fd < 0)
            return;
        l = &c->listeners[c->nlisteners++];
        *l = (struct control_listener){.fd = *fd};
        *fd = EV_FD_NONE;
    }
    l->is = *is;
    l->generation = generation;
}

static void on_admin_accept(void *ctx, struct ev_fd *conn, const struct addr *peer)
{
    admin_accept(ctx, conn, peer);
}

static void on_face_accept(void *ctx, struct ev_fd *conn, const struct addr *peer)
{
    face_accept(ctx, conn, peer);
}

static void on_starved(void *ctx)
{
    struct control *c = ctx;

    c->accept_pauses++;
}

static void open_own(struct control *c, struct control_listener *l)
{
    listener_fn *fn = l->is.kind == LINK_LISTENER_FACE ? on_face_accept : on_admin_accept;

    if (listener_open(c->loop, &l->fd, fn, c, &l->listener) < 0)
        log_end(log_begin(c->log, LOG_ERROR, loop_wall_us(c->loop), "control",
                          "a socket of control's own cannot be polled"));
    else
        listener_on_starved(l->listener, on_starved);
}

static void open_listener(struct control *c, struct control_listener *l)
{
    l->open = true;
    if (l->is.kind == LINK_LISTENER_REGISTRY) /* see serve_registry() */
        return;
    if (l->is.kind != LINK_LISTENER_DATA) {
        open_own(c, l);
        return;
    }
    for (uint32_t i = 0; i < c->gate->nlanes; i++) {
        struct lane_mail *m = gate_lane_mail(LANE_LISTENER);

        m->listener = l->is.id;
        if (ev_fd_dup(&l->fd, &m->fd) < 0) {
            log_end(log_begin(c->log, LOG_ERROR, loop_wall_us(c->loop), "control",
                              "no descriptors for a listener"));
            mem_free(m);
            return;
        }
        gate_post_lane(c->gate, i, m);
    }
}

static void close_listener(struct control *c, struct control_listener *l)
{
    listener_close(&l->listener);
    if (l->open && l->is.kind == LINK_LISTENER_DATA) {
        for (uint32_t i = 0; i < c->gate->nlanes; i++) {
            struct lane_mail *m = gate_lane_mail(LANE_UNLISTEN);

            m->listener = l->is.id;
            gate_post_lane(c->gate, i, m);
        }
    }
    ev_fd_close(&l->fd);
}

/* Sockets that the generation names are open, all others closed. */
static void settle_listeners(struct control *c, uint32_t generation)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < c->nlisteners; i++) {
        struct control_listener *l = &c->listeners[i];

        if (l->generation != generation) {
            close_listener(c, l);
            continue;
        }
        if (!l->open)
            open_listener(c, l);
        c->listeners[kept++] = *l;
    }
    c->nlisteners = kept;
}

static void serve_registry(struct control *c)
{
    const struct control_listener *l = NULL;

    for (unsigned i = 0; i < c->nlisteners; i++)
        if (c->listeners[i].is.kind == LINK_LISTENER_REGISTRY)
            l = &c->listeners[i];
    if (c->ops->serve_registry)
        c->ops->serve_registry(c->ctx, c->settings.registry, l ? l->is.address : NULL,
                               l ? &l->fd : NULL);
}

/* ---- configurations ---- */

static const struct client_limits client_limits = {.connect_ms = 2000,
                                                   .pool_idle_ms = 30000,
                                                   .pool_max_idle = 2,
                                                   .head_bytes = 32768,
                                                   .headers = 200};

/* Of a socket that was handed over and stands in no configuration. */
static const struct listen_conf no_names;

static uint32_t label_key(void *ctx, struct str id) { return tally_label(ctx, id); }

static struct gate_conf *make_conf(struct control *c, uint32_t generation)
{
    struct gate_conf *conf =
        xnew(struct gate_conf, .limits = c->settings.limits, .affinity = c->settings.affinity,
             .balance = c->settings.balance, .static_above = c->settings.static_above,
             .breaker = c->settings.breaker, .retry = c->settings.retry);

    if (c->settings.keys)
        conf->keys = keys_build(c->settings.keys, c->conf ? c->conf->keys : NULL, c->gate->seed,
                                label_key, c->key_names);
    conf->trusted = c->settings.trusted;
    conf->failures_per_s = c->settings.failures_per_s;
    conf->authorization = c->settings.authorization;
    atomic_init(&conf->refs, 1);
    conf->listens = mem_alloc(max_size(c->nlisteners, 1) * sizeof *conf->listens);
    for (unsigned i = 0; i < c->nlisteners; i++) {
        const struct control_listener *l = &c->listeners[i];
        struct gate_listen *to = &conf->listens[conf->nlistens];

        if (l->generation != generation || l->is.kind != LINK_LISTENER_DATA)
            continue;
        *to = (struct gate_listen){.id = l->is.id, .conf = &no_names};
        if (l->is.index < c->settings.listens->n)
            to->conf = &c->settings.listens->at[l->is.index];
        if (addr_parse(str_of(l->is.address), &to->addr) == 0)
            conf->nlistens++;
    }
    /* the settings themselves are kept by the conf from here on */
    conf->owner = c->settings.owner;
    conf->owner_unref = c->settings.unref;
    return conf;
}

static void start_lanes(struct control *c)
{
    c->ops->start_lanes(c->ctx, c->snap);
    for (uint32_t i = 0; i < c->gate->nlanes; i++)
        lane_register(c->gate->lanes[i], c->metrics);
}

/* A test may take its time for connecting, too. */
static void limit_client(struct control *c)
{
    struct client_limits l = client_limits;

    l.connect_ms = c->gate->rules->knock_ms;
    if (l.connect_ms < c->settings.probe->timeout_ms)
        l.connect_ms = c->settings.probe->timeout_ms;
    client_set_limits(c->client, &l);
}

void control_apply(struct control *c, uint32_t generation, const struct control_settings *settings)
{
    struct gate_conf *old = c->conf;
    bool first = old == NULL;

    c->settings = *settings;
    c->conf = make_conf(c, generation);
    limit_client(c);
    members_configure(c);
    if (first && settings->sources)
        sources_start(c, settings->sources, &c->sources);
    discover_start(c);
    rounds_start(c);
    c->untaken = first ? 0 : c->gate->nlanes;
    c->untaken_generation = generation;
    members_publish_told(c);
    if (first)
        start_lanes(c);
    settle_listeners(c, generation);
    serve_registry(c);
    join_configure(c);
    if (first)
        c->ops->on_taken(c->ctx, generation);
    else
        gate_conf_unref(old);
}

void control_take_services(struct control *c, const struct listing *l)
{
    sources_take_file(c->sources, l);
}

void control_abandon(struct control *c, uint32_t generation)
{
    for (unsigned i = 0; i < c->nlisteners; i++) /* sockets that only it had named */
        if (c->listeners[i].generation == generation && !c->listeners[i].open) {
            ev_fd_close(&c->listeners[i].fd);
            c->listeners[i--] = c->listeners[--c->nlisteners];
        }
}

/* ---- the end ---- */

static void post_all(struct control *c, enum lane_mail_kind kind)
{
    for (uint32_t i = 0; i < c->gate->nlanes; i++)
        if (c->gate->lanes[i])
            gate_post_lane(c->gate, i, gate_lane_mail(kind));
}

/* The lanes have theirs closed; with ours the kernel lets nobody in any more, unless who is above
 * has one, too. */
static void close_sockets(struct control *c)
{
    for (unsigned i = 0; i < c->nlisteners; i++)
        if (c->listeners[i].is.kind == LINK_LISTENER_DATA)
            ev_fd_close(&c->listeners[i].fd);
}

static void on_drain_limit(struct deadline *d)
{
    post_all(container_of(d, struct control, drain_limit), LANE_CUT);
}

/* Who is cut does not wait for a registry. */
static void tell_drained(struct control *c)
{
    if (c->told || !c->finished || !(c->cutting || join_has_left(c)))
        return;
    c->told = true;
    c->ops->on_drained(c->ctx);
}

void control_left(struct control *c) { tell_drained(c); }

/* Before the first configuration there are none, and nothing that could be finished. */
static bool without_lanes(struct control *c)
{
    if (c->gate->nlanes > 0 && c->gate->lanes[0])
        return false;
    c->finished = true;
    tell_drained(c);
    return true;
}

static void stop_accepting(struct deadline *d)
{
    struct control *c = container_of(d, struct control, drain_delay);
    uint32_t ms = c->settings.limits ? c->settings.limits->drain_ms : 0;

    if (without_lanes(c))
        return;
    post_all(c, LANE_DRAIN);
    close_sockets(c);
    if (ms == 0)
        on_drain_limit(&c->drain_limit);
    else
        deadline_arm(c->loop, &c->drain_limit, ms, on_drain_limit);
}

void control_drain(struct control *c)
{
    uint32_t ms = c->settings.limits ? c->settings.limits->drain_delay_ms : 0;

    if (atomic_exchange(&c->gate->draining, true))
        return;
    log_end(log_begin(c->log, LOG_INFO, loop_wall_us(c->loop), "control", "draining"));
    join_leave(c);
    if (ms == 0)
        stop_accepting(&c->drain_delay);
    else
        deadline_arm(c->loop, &c->drain_delay, ms, stop_accepting);
}

void control_cut(struct control *c)
{
    if (c->cutting)
        return;
    c->cutting = true;
    atomic_store(&c->gate->draining, true);
    deadline_stop(&c->drain_delay);
    if (without_lanes(c))
        return;
    post_all(c, LANE_DRAIN);
    close_sockets(c);
    post_all(c, LANE_CUT);
    tell_drained(c); /* when only the registry was waited for */
}

/* ---- mails ---- */

static void on_mail(void *ctx, struct mail *mail)
{
    struct control *c = ctx;
    struct control_mail *m = container_of(mail, struct control_mail, mail);

    if (c->closing) /* the lanes are gone: nobody is left to be answered */
        goto done;
    switch ((enum control_mail_kind)mail->kind) {
    case CONTROL_TICKET:
        tickets_add(c->tickets, c->snap, m, c->settings.limits);
        break;
    case CONTROL_TICKET_LATE:
        tickets_late(c->tickets, c->snap, m);
        break;
    case CONTROL_TICKET_GONE:
        tickets_gone(c->tickets, c->snap, m);
        break;
    case CONTROL_SLOT_FREE:
        tickets_run(c->tickets, c->snap);
        break;
    case CONTROL_BREAKER:
        door_moved(c, m->engine);
        break;
    case CONTROL_HANDICAP:
        door_handicapped(c);
        break;
    case CONTROL_TAKEN: /* whoever asked for the reload finds it in force everywhere */
        if (c->untaken > 0 && --c->untaken == 0)
            c->ops->on_taken(c->ctx, c->untaken_generation);
        break;
    case CONTROL_ASK:
        answer_ask(c, &m);
        return;
    case CONTROL_DRAINED:
        c->finished = ++c->drained == c->gate->nlanes;
        tell_drained(c);
        break;
    }
done:
    gate_control_mail_free(m);
}

/* ---- birth and death ---- */

void control_serve(struct control *c, const struct exchange_owner *owner, bool host_optional,
                   struct server **ret)
{
    struct server_conf conf = {
        .limits = server_limits_usual,
        .owner = owner,
        .ctx = c,
        .chunks = &c->chunks,
        .arenas = &c->arenas,
        .name = STR("inferd/" INFERD_VERSION),
        .host_optional = host_optional,
    };

    server_create(c->loop, &conf, ret);
}

void control_create(struct gate *g, struct loop *l, const struct control_ops *ops, void *ctx,
                    struct control **ret)
{
    struct control *c = xnew(struct control, .gate = g, .loop = l, .ops = ops, .ctx = ctx);

    list_init(&c->members);
    list_init(&c->asks);
    list_init(&c->questions.waiting);
    list_init(&c->tails);
    list_init(&c->tests.waiting[0]);
    list_init(&c->tests.waiting[1]);
    c->chunks.max = 16;
    c->arenas.max = 16;
    c->log = log_writer_create();
    trace_init(&c->trace, "control");
    c->metrics = metrics_create();
    client_create(l, &c->chunks, &client_limits, &c->client);
    tickets_create(g, l, &c->tickets);
    c->key_names = tally_names_create(g->seed);
    CHECK(mailbox_create(l, on_mail, c, &c->box) == 0);
    g->control = c->box;
    admin_start(c);
    face_start(c);
    join_create(c);
    *ret = c;
}

void control_destroy(struct control **cp)
{
    struct control *c = TAKE(cp);
    struct member *m;

    if (!c)
        return;
    c->closing = true;
    mailbox_close(&c->box);
    admin_stop(c);
    answer_stop(c);
    face_stop(c);
    join_end(c);
    deadline_stop(&c->publish);
    deadline_stop(&c->discover);
    deadline_stop(&c->tests.next);
    rounds_stop(c);
    deadline_stop(&c->halve);
    deadline_stop(&c->drain_delay);
    deadline_stop(&c->drain_limit);
    sources_destroy(&c->sources);
    if (c->snap)
        tickets_detach(c->tickets, c->snap);
    tickets_destroy(&c->tickets);
    list_each(m, &c->members, node) member_destroy(&m);
    mem_free(c->slots.free);
    for (unsigned i = 0; i < c->nlisteners; i++) {
        listener_close(&c->listeners[i].listener);
        ev_fd_close(&c->listeners[i].fd);
    }
    loop_settle(c->loop);
    client_destroy(&c->client);
    snapshot_unref(&c->snap);
    if (c->conf)
        gate_conf_unref(c->conf);
    metrics_destroy(&c->metrics);
    join_destroy(c);
    tally_names_destroy(&c->key_names);
    CHECK(c->chunks.live == 0);
    chunk_pool_fini(&c->chunks);
    arena_cache_fini(&c->arenas);
    trace_fini(&c->trace);
    log_writer_destroy(&c->log);
    mem_free(c);
}
