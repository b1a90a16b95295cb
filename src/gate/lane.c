/* SPDX-License-Identifier: Apache-2.0
 *
 * lane.c - a lane's life: what it accepts, what control mails it, the snapshots it holds and the
 * pools it keeps. Requests themselves are request.c and the steps.
 */
#include "gate/lane.h"

#include <stdio.h>

#include "base/mem.h"
#include "fleet/breaker.h"
#include "gate/attempt.h"
#include "gate/caller.h"
#include "gate/lane_priv.h"

enum {
    POOL_IDLE_MS = 90000,
    POOL_MAX_IDLE = 256,
    CHUNKS_KEPT = 64,
    ARENA_BLOCKS_KEPT = 64,
    OWN_REPLY_BYTES = 8 << 20,
    REFUSED_MAX = 16, /* connections that are told why, in a lane or of an address */
};

const struct limits *lane_limits(const struct lane *l) { return lane_conf(l->snap)->limits; }

/* ---- snapshots ---- */

static void snap_release(struct lane_snap *s)
{
    CHECK(s->users > 0);
    if (--s->users > 0)
        return;
    list_remove(&s->node);
    snapshot_unref(&s->snap);
    mem_free(s);
}

struct lane_snap *lane_pin(struct lane *l)
{
    l->snap->users++;
    return l->snap;
}

void lane_unpin(struct lane *l, struct lane_snap **sp)
{
    struct lane_snap *s = TAKE(sp);

    (void)l;
    if (s)
        snap_release(s);
}

static struct server_limits server_limits(const struct limits *l)
{
    return (struct server_limits){
        .head_ms = l->head_ms,
        .keepalive_ms = l->keepalive_ms,
        .body_grace_ms = l->body_grace_ms,
        .body_bytes_per_s = l->body_bytes_per_s,
        .stall_ms = l->stall_ms,
        .stream_stall_ms = l->stream_stall_ms,
        .linger_ms = l->linger_ms,
        .head_bytes = l->head_bytes,
        .request_line_bytes = l->request_line_bytes,
        .headers = l->headers,
    };
}

static struct client_limits client_limits(const struct limits *l)
{
    return (struct client_limits){
        .connect_ms = l->connect_ms,
        .pool_idle_ms = POOL_IDLE_MS,
        .pool_max_idle = POOL_MAX_IDLE,
        .head_bytes = 32768,
        .headers = 200,
    };
}

/* Pools of engines that the picture does not show any more end; the slots may be another's now. */
static void prune_pools(struct lane *l, const struct snapshot *s)
{
    for (uint32_t i = 0; i < l->npools; i++) {
        bool there = false;

        for (uint32_t k = 0; k < s->nengines && !there; k++)
            there = s->engines[k].slot == i && s->engines[k].id == l->pools[i].engine;
        if (!there && l->pools[i].engine) {
            pool_close(&l->pools[i].pool);
            l->pools[i].engine = 0;
        }
    }
}

static void take_snapshot(struct lane *l, struct snapshot *snap)
{
    struct lane_snap *old = l->snap, *s = xnew(struct lane_snap, .snap = snap, .users = 1);
    struct server_limits sl;
    struct client_limits cl;

    list_init(&s->node);
    list_append(&l->snaps, &s->node);
    l->snap = s;
    sl = server_limits(lane_limits(l));
    cl = client_limits(lane_limits(l));
    server_set_limits(l->server, &sl);
    client_set_limits(l->client, &cl);
    prune_pools(l, snap);
    snap_release(old);
}

static void tell_taken(struct lane *l)
{
    struct control_mail *m = gate_control_mail(CONTROL_TAKEN);

    m->lane = l->index;
    gate_post_control(l->gate, m);
}

struct pool *lane_pool(struct lane *l, const struct engine *e)
{
    struct lane_pool *p;

    if (e->slot >= l->npools) {
        uint32_t n = e->slot + 1 > l->npools * 2 ? e->slot + 1 : l->npools * 2;

        l->pools = mem_resize_array(l->pools, n, sizeof *l->pools);
        memset(l->pools + l->npools, 0, (n - l->npools) * sizeof *l->pools);
        l->npools = n;
    }
    p = &l->pools[e->slot];
    if (p->engine != e->id) {
        struct pool_target to = {
            .host = e->at.host,
            .port = e->at.port,
            .unix_path = e->at.kind == URL_UNIX ? e->at.path.p : NULL,
        };

        pool_close(&p->pool);
        pool_create(l->client, &to, &p->pool);
        p->engine = e->id;
    }
    return p->pool;
}

/* ---- connections ---- */

uint32_t lane_connections(const struct lane *l)
{
    return server_connections(l->server) + atomic_load_explicit(&l->handed, memory_order_relaxed);
}

uint64_t lane_all_unsent(const struct lane *l)
{
    uint64_t all = 0;

    for (uint32_t i = 0; i < l->gate->nlanes; i++)
        if (l->gate->lanes[i]) /* at the end they go one by one */
            all += server_unsent(l->gate->lanes[i]->server);
    return all;
}

/* A connection on its way to the lane that serves it. */
struct arrival {
    struct ev_fd *fd;
    const struct addr *peer;
    uint32_t listener; /* id */
    uint32_t tried;    /* lanes that had nothing to shed for it */
};

static void hand_over(struct lane *l, const struct arrival *a, uint32_t to)
{
    struct lane_mail *m = gate_lane_mail(LANE_CONN);

    /* counted for the other lane at once, or every lane would hand it all new ones in a burst */
    atomic_fetch_add_explicit(&l->gate->lanes[to]->handed, 1, memory_order_relaxed);
    m->fd = *a->fd;
    a->fd->fd = -1;
    m->peer = *a->peer;
    m->listener = a->listener;
    m->tried = a->tried;
    gate_post_lane(l->gate, to, m);
}

static void set_full(struct lane *l, bool full)
{
    if (l->full == full)
        return;
    l->full = full;
    if (full)
        metrics_count(&l->shard.accept_pauses);
    for (uint32_t i = 0; i < LANE_LISTENERS_MAX; i++) {
        if (!l->listeners[i].listener)
            continue;
        if (full)
            listener_pause(l->listeners[i].listener);
        else
            listener_resume(l->listeners[i].listener);
    }
}

/* Told so, as long as not too many are being told. */
static int refuse(struct lane *l, const struct arrival *a, enum fault_code code,
                  uint32_t being_told, const char *why)
{
    if (being_told >= REFUSED_MAX)
        return -E_LIMIT;
    return server_refuse(l->server, a->fd, a->peer, (void *)(uintptr_t)a->listener, code, why);
}

/* Beyond `connections`, and no lane has an idle one to close for it. Once too many are being told,
 * the next ones wait in the kernel's queue. */
static int refuse_for_cap(struct lane *l, const struct arrival *a)
{
    int r;

    metrics_count(&l->shard.limit_connections);
    r = refuse(l, a, FAULT_overloaded, l->refused++, "Too many connections");
    if (r < 0)
        l->refused--;
    else if (l->refused >= REFUSED_MAX)
        set_full(l, true);
    return r;
}

/* A lane that does not keep up gets no more to look at than it could refuse. */
static bool may_hand_over(const struct lane *l, uint32_t to)
{
    const struct lane *other = l->gate->lanes[to];

    return atomic_load_explicit(&other->handed, memory_order_relaxed) < REFUSED_MAX;
}

static void serve(struct lane *l, struct arrival *a)
{
    const struct limits *limits = lane_limits(l);
    uint32_t all = 0, same = clients_enter(l->gate->clients, a->peer);
    uint32_t next = (l->index + 1) % l->gate->nlanes;
    int r;

    for (uint32_t i = 0; i < l->gate->nlanes; i++)
        all += lane_connections(l->gate->lanes[i]);
    if (same > limits->connections_per_address &&
        !caller_trusted(lane_conf(l->snap)->trusted, a->peer)) { /* a proxy is many clients */
        metrics_count(&l->shard.limit_address);
        r = refuse(l, a, FAULT_rate_limit_exceeded, same - limits->connections_per_address - 1,
                   "Too many connections from this address");
    } else if (all < limits->connections || server_shed_idle(l->server)) {
        r = server_accept(l->server, a->fd, a->peer, (void *)(uintptr_t)a->listener);
    } else if (++a->tried < l->gate->nlanes && may_hand_over(l, next)) {
        clients_leave(l->gate->clients, a->peer);
        hand_over(l, a, next);
        return;
    } else {
        r = refuse_for_cap(l, a);
    }
    if (r < 0) {
        clients_leave(l->gate->clients, a->peer);
        ev_fd_close(a->fd); /* the client sees a close */
    }
}

static void on_closed(void *ctx, const struct addr *peer, enum fault_code refused)
{
    struct lane *l = ctx;

    clients_leave(l->gate->clients, peer);
    if (refused != FAULT_overloaded)
        return;
    l->refused--;
    set_full(l, false);
}

static void on_accept(void *ctx, struct ev_fd *conn, const struct addr *peer)
{
    struct lane_listener *ls = ctx;
    struct lane *l = ls->lane;
    struct arrival a = {.fd = conn, .peer = peer, .listener = ls->id};
    uint32_t best = l->index, least = lane_connections(l), all = 0;

    for (uint32_t i = 0; i < l->gate->nlanes; i++) {
        uint32_t n = lane_connections(l->gate->lanes[i]);

        all += n;
        if (n < least) {
            least = n;
            best = i;
        }
    }
    if (best == l->index || all >= lane_limits(l)->connections)
        serve(l, &a);
    else
        hand_over(l, &a, best);
}

/* What idles makes room for what works. */
static void on_starved(void *ctx)
{
    struct lane_listener *ls = ctx;
    struct lane *l = ls->lane;

    metrics_count(&l->shard.accept_pauses);
    for (uint32_t i = 0; i < l->npools; i++)
        if (l->pools[i].engine)
            pool_flush(l->pools[i].pool);
    for (unsigned i = 0; i < REFUSED_MAX && server_shed_idle(l->server); i++)
        continue;
}

static void add_listener(struct lane *l, struct lane_mail *m)
{
    struct lane_listener *ls = l->listeners;

    while (ls->listener) /* control hands out no more than there are places */
        CHECK(++ls < l->listeners + LANE_LISTENERS_MAX);
    *ls = (struct lane_listener){.lane = l, .id = m->listener};
    if (listener_open(l->loop, &m->fd, on_accept, ls, &ls->listener) < 0) {
        log_end(log_begin(l->log, LOG_ERROR, loop_wall_us(l->loop), "gate",
                          "a listener cannot be polled"));
        return;
    }
    listener_set_ceiling(ls->listener, l->gate->fd_ceiling);
    listener_on_starved(ls->listener, on_starved);
    if (l->full)
        listener_pause(ls->listener);
}

static void drop_listener(struct lane *l, uint32_t id)
{
    for (uint32_t i = 0; i < LANE_LISTENERS_MAX; i++)
        if (l->listeners[i].listener && l->listeners[i].id == id)
            listener_close(&l->listeners[i].listener);
}

/* ---- draining ---- */

void lane_request_over(struct lane *l)
{
    if (l->draining && !l->drained_told && list_empty(&l->requests)) {
        struct control_mail *m = gate_control_mail(CONTROL_DRAINED);

        l->drained_told = true;
        m->lane = l->index;
        gate_post_control(l->gate, m);
    }
}

static void drain(struct lane *l)
{
    for (uint32_t i = 0; i < LANE_LISTENERS_MAX; i++)
        listener_close(&l->listeners[i].listener);
    server_drain(l->server);
    l->draining = true;
    lane_request_over(l);
}

static void cut(struct lane *l)
{
    struct req *r;

    list_each(r, &l->requests, node) req_fault(r, FAULT_draining, "The service is shutting down");
}

static void take_back(struct lane *l, uint32_t engine)
{
    struct req *r;

    list_each(r, &l->requests, node) if (r->engine && r->engine->id == engine) req_taken_back(r);
}

/* ---- mails ---- */

static struct req *find_ticket(struct lane *l, uint64_t ticket)
{
    struct req *r;

    list_each(r, &l->requests, node) if (r->ticket == ticket) return r;
    return NULL;
}

static void on_answer(struct lane *l, struct lane_mail *m)
{
    struct req *r;

    list_each(r, &l->requests, node)
    {
        if (r->id == m->ticket) {
            req_answered(r, m->answer);
            return; /* the list has changed */
        }
    }
}

static void give_back(struct lane *l, const struct lane_mail *m)
{
    struct control_mail *c;

    if (!breaker_give(m->cell))
        return;
    c = gate_control_mail(CONTROL_SLOT_FREE);
    c->engine = m->engine;
    gate_post_control(l->gate, c);
}

static void on_grant(struct lane *l, struct lane_mail *m)
{
    struct req *r = find_ticket(l, m->ticket);

    if (r)
        req_granted(r, m->engine, m->cell);
    else
        give_back(l, m); /* its request has ended meanwhile */
    cell_unref(&m->cell);
}

/* A mail that comes too late: what it carries is let go. */
static void drop_mail(struct lane *l, struct lane_mail *m)
{
    if (m->cell) {
        give_back(l, m);
        cell_unref(&m->cell);
    }
    snapshot_unref(&m->snap);
    gate_lane_mail_free(m);
}

static void on_mail(void *ctx, struct mail *mail)
{
    struct lane *l = ctx;
    struct lane_mail *m = container_of(mail, struct lane_mail, mail);
    struct req *r;

    if (l->closing) {
        drop_mail(l, m);
        return;
    }
    switch ((enum lane_mail_kind)mail->kind) {
    case LANE_SNAPSHOT:
        take_snapshot(l, TAKE(&m->snap));
        if (m->tell)
            tell_taken(l);
        break;
    case LANE_CONN:
        atomic_fetch_sub_explicit(&l->handed, 1, memory_order_relaxed);
        serve(l, &(struct arrival){&m->fd, &m->peer, m->listener, m->tried});
        break;
    case LANE_LISTENER:
        add_listener(l, m);
        break;
    case LANE_UNLISTEN:
        drop_listener(l, m->listener);
        break;
    case LANE_GRANT:
        on_grant(l, m);
        break;
    case LANE_REFUSE:
        r = find_ticket(l, m->ticket);
        if (r)
            req_refused(r, m);
        break;
    case LANE_ANSWER:
        on_answer(l, m);
        break;
    case LANE_EJECTED:
        take_back(l, m->engine);
        break;
    case LANE_DRAIN:
        drain(l);
        break;
    case LANE_CUT:
        cut(l);
        break;
    case LANE_STOP:
        loop_stop(l->loop);
        break;
    }
    gate_lane_mail_free(m);
}

/* ---- birth and death ---- */

void lane_create(struct gate *g, uint32_t index, struct loop *loop, struct snapshot *first,
                 struct lane **ret)
{
    struct lane *l = xnew(struct lane, .gate = g, .index = index, .loop = loop);
    struct server_conf sc = {
        .owner = req_owner(),
        .ctx = l,
        .chunks = &l->chunks,
        .arenas = &l->arenas,
        .name = STR("inferd/" INFERD_VERSION),
        .host_optional = !g->rules->needs_host,
        .on_closed = on_closed,
    };
    struct client_limits cl;

    l->chunks.max = CHUNKS_KEPT;
    l->arenas.max = ARENA_BLOCKS_KEPT;
    l->scratch = buf_make(OWN_REPLY_BYTES);
    list_init(&l->snaps);
    list_init(&l->requests);
    l->snap = xnew(struct lane_snap, .snap = first, .users = 1);
    list_init(&l->snap->node);
    list_append(&l->snaps, &l->snap->node);
    l->log = log_writer_create();
    l->tally = tally_create();
    trace_init(&l->trace, "lane");
    sc.limits = server_limits(lane_limits(l));
    cl = client_limits(lane_limits(l));
    server_create(loop, &sc, &l->server);
    client_create(loop, &l->chunks, &cl, &l->client);
    CHECK(mailbox_create(loop, on_mail, l, &l->box) == 0);
    g->lanes[index] = l;
    *ret = l;
}

void lane_destroy(struct lane **lp)
{
    struct lane *l = TAKE(lp);

    if (!l)
        return;
    l->closing = true;
    mailbox_close(&l->box);
    for (uint32_t i = 0; i < LANE_LISTENERS_MAX; i++)
        listener_close(&l->listeners[i].listener);
    server_destroy(&l->server); /* ends the requests */
    CHECK(list_empty(&l->requests));
    for (uint32_t i = 0; i < l->npools; i++)
        pool_close(&l->pools[i].pool);
    loop_settle(l->loop); /* what was buried goes now, while its pools are there */
    client_destroy(&l->client);
    snap_release(TAKE(&l->snap));
    CHECK(list_empty(&l->snaps));
    select_credits_fini(&l->credits);
    CHECK(l->chunks.live == 0);
    chunk_pool_fini(&l->chunks);
    arena_cache_fini(&l->arenas);
    buf_fini(&l->scratch);
    tally_destroy(&l->tally);
    log_writer_destroy(&l->log);
    trace_fini(&l->trace);
    mem_free(l->pools);
    mem_free(l);
}

struct mailbox *lane_mailbox(struct lane *l) { return l->box; }

struct tally *lane_tally(const struct lane *l) { return l->tally; }

const struct gate_shard *lane_shard(const struct lane *l) { return &l->shard; }

void lane_register(const struct lane *l, struct metrics *m)
{
    gate_metrics_register(m, &l->shard);
    server_register(l->server, m);
    client_register(l->client, m);
}
