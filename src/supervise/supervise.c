/* SPDX-License-Identifier: Apache-2.0
 *
 * supervise.c - the table of units: who is in it, what they share (ports, marks, the starts that
 * failing units may make), and when nothing of them is left. What one unit does is unit.c's.
 *
 * Units are forgotten, and silent changes told, at the end of the turn, in settle(): a unit never
 * goes away under the feet of its own callbacks.
 */
#include "supervise/supervise.h"

#include "base/log.h"
#include "base/mem.h"
#include "ev/port.h"
#include "supervise/launch.h"
#include "supervise/unit_priv.h"

enum { MINUTE_MS = 60000, PORTS = SUPERVISE_PORT_LAST - SUPERVISE_PORT_FIRST + 1 };

/* ---- what units share ---- */

uint64_t supervise_random(struct supervise *s)
{
    uint64_t x = s->random += 0x9e3779b97f4a7c15; /* splitmix64 */

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static bool port_is_taken(const struct supervise *s, const struct unit *for_unit, uint16_t port)
{
    const struct unit *u;

    list_each(u, &s->units, node) if (u != for_unit && u->pub.port == port) return true;
    return false;
}

uint16_t supervise_port(struct supervise *s, const struct unit *for_unit, uint16_t keep)
{
    unsigned from = (unsigned)(str_hash(str_of(for_unit->pub.name), 0) % PORTS);

    if (keep && !port_is_taken(s, for_unit, keep) && port_is_free(keep))
        return keep;
    for (unsigned i = 0; i < PORTS; i++) {
        uint16_t port = (uint16_t)(SUPERVISE_PORT_FIRST + (from + i) % PORTS);

        if (!port_is_taken(s, for_unit, port) && port_is_free(port))
            return port;
    }
    return 0;
}

bool supervise_is_live(const struct supervise *s, struct str mark)
{
    const struct unit *u;

    list_each(u, &s->units, node) if (u->child && !child_exited(u->child) &&
                                      str_eq(mark, str_of(u->mark))) return true;
    return false;
}

/* The one that has waited longest, so that none starves. */
static struct unit *next_in_queue(struct supervise *s)
{
    struct unit *u, *first = NULL;

    list_each(u, &s->units,
              node) if (u->queueing && (!first || u->pub.next_ms < first->pub.next_ms)) first = u;
    return first;
}

static void on_refill(struct deadline *d);

static void arm_refill(struct supervise *s)
{
    if (s->slow_tokens < s->conf.slow_per_minute && !deadline_armed(&s->refill))
        deadline_arm(s->loop, &s->refill, max_size(MINUTE_MS / s->conf.slow_per_minute, 1),
                     on_refill);
}

static void on_refill(struct deadline *d)
{
    struct supervise *s = container_of(d, struct supervise, refill);
    struct unit *u = next_in_queue(s);

    if (u)
        unit_on_turn(u);
    else
        s->slow_tokens++;
    arm_refill(s);
}

bool supervise_take_slow_token(struct supervise *s)
{
    if (s->conf.slow_per_minute == 0)
        return true; /* they share no bound */
    if (s->slow_tokens == 0)
        return false; /* a refill is under way, then */
    s->slow_tokens--;
    arm_refill(s);
    return true;
}

/* ---- telling ---- */

static void settle_later(struct supervise *s);

static void tell_now(struct supervise *s, struct unit *u)
{
    u->untold = false;
    s->ops->on_unit(s->ctx, &u->pub, output_ring(u->output));
}

void supervise_tell(struct supervise *s, struct unit *u)
{
    if (!s->quiet) {
        tell_now(s, u);
        return;
    }
    u->untold = true;
    settle_later(s);
}

void supervise_tell_all(struct supervise *s)
{
    struct unit *u;

    list_each(u, &s->units, node) tell_now(s, u);
}

static void on_stopped(struct deadline *d)
{
    struct supervise *s = container_of(d, struct supervise, report_stopped);

    s->ops->on_stopped(s->ctx);
}

static void look_whether_stopped(struct supervise *s)
{
    const struct unit *u;

    if (!s->stopping || s->sweep || deadline_armed(&s->report_stopped))
        return;
    list_each(u, &s->units, node) if (!unit_is_idle(u)) return;
    deadline_arm(s->loop, &s->report_stopped, 1, on_stopped);
}

static void forget(struct supervise *s, struct unit *u)
{
    uint32_t id = u->pub.id;

    unit_destroy(&u);
    s->ops->on_gone(s->ctx, id);
}

static void settle(struct grave *g)
{
    struct supervise *s = container_of(g, struct supervise, settle);
    struct unit *u;

    if (s->destroyed) {
        mem_free(s);
        return;
    }
    s->settling = false;
    list_each(u, &s->units, node)
    {
        if (u->untold)
            tell_now(s, u);
        if (u->goal == UNIT_REMOVE && u->pub.state == UNIT_STOPPED && unit_is_idle(u))
            forget(s, u);
    }
    look_whether_stopped(s);
}

static void settle_later(struct supervise *s)
{
    if (!s->settling)
        loop_bury(s->loop, &s->settle, settle);
    s->settling = true;
}

void supervise_unit_idle(struct supervise *s) { settle_later(s); }

/* ---- life ---- */

static void on_swept(void *ctx, unsigned ended, unsigned left)
{
    struct supervise *s = ctx;
    struct unit *u;

    s->sweep = NULL;
    if (ended || left) {
        struct log_rec *r = log_begin(s->conf.log, LOG_WARN, loop_wall_us(s->loop), "supervise",
                                      "ended what an earlier run had left");

        log_u64(r, "ended", ended);
        log_u64(r, "left", left);
        log_end(r);
    }
    list_each(u, &s->units, node) unit_on_swept_start(u);
    settle_later(s);
}

static bool is_live(void *ctx, struct str mark) { return supervise_is_live(ctx, mark); }

static void sweep_all(struct supervise *s, unsigned grace_ms)
{
    char prefix[SUPERVISE_INSTANCE_BYTES + 2];
    struct buf b = buf_on(prefix, sizeof prefix);

    buf_printf(&b, "%s/", s->conf.instance);
    sweep_start(s->loop, buf_str(&b), grace_ms, is_live, on_swept, s, &s->sweep);
}

void supervise_create(const struct supervise_conf *conf, const struct supervise_ops *ops, void *ctx,
                      struct supervise **ret)
{
    struct supervise *s =
        xnew(struct supervise, .conf = *conf, .ops = ops, .ctx = ctx, .loop = conf->loop,
             .random = conf->seed, .slow_tokens = conf->slow_per_minute);

    CHECK(conf->burst <= UNIT_BURST_MAX);
    CHECK(conf->instance[0]);
    list_init(&s->units);
    sweep_all(s, SWEEP_GRACE_MS);
    *ret = s;
}

void supervise_destroy(struct supervise **sp)
{
    struct supervise *s = TAKE(sp);
    struct unit *u;

    if (!s)
        return;
    list_each(u, &s->units, node) unit_destroy(&u);
    sweep_cancel(&s->sweep);
    deadline_stop(&s->report_stopped);
    deadline_stop(&s->refill);
    s->destroyed = true;
    if (!s->settling)
        mem_free(s);
}

/* ---- configuration ---- */

static void complain(struct buf *problem, struct str name, struct str what)
{
    buf_printf(problem, "engine \"%.*s\": %.*s", STR_ARGS(name), STR_ARGS(what));
}

int supervise_check(const struct supervise *s, const struct engine_conf_list *engines,
                    struct buf *problem)
{
    char memory[1024], path[LINK_SOCKET_MAX + 1];
    struct buf what = buf_on(memory, sizeof memory);

    for (size_t i = 0; i < engines->n; i++) {
        const struct engine_conf *e = &engines->at[i];
        int r = launch_check_user(e, &what);

        if (r == 0 && e->endpoint == ENGINE_AT_SOCKET)
            r = launch_socket_path(s->conf.runtime_dir, e->name, path, &what);
        if (r < 0) {
            complain(problem, e->name, buf_str(&what));
            return -E_CONF;
        }
    }
    return 0;
}

static struct unit *find_named(struct supervise *s, struct str name)
{
    struct unit *u;

    list_each(u, &s->units, node) if (str_eq(str_of(u->pub.name), name)) return u;
    return NULL;
}

static bool is_listed(const struct engine_conf_list *engines, const struct unit *u)
{
    for (size_t i = 0; i < engines->n; i++)
        if (str_eq(engines->at[i].name, str_of(u->pub.name)))
            return true;
    return false;
}

void supervise_apply(struct supervise *s, const struct engine_conf_list *engines, uint32_t drain_ms)
{
    struct unit *u;

    if (s->stopping)
        return;
    s->drain_ms = drain_ms;
    list_each(u, &s->units, node)
    {
        if (!is_listed(engines, u))
            (void)unit_drain(u, UNIT_REMOVE);
    }
    for (size_t i = 0; i < engines->n; i++) {
        u = find_named(s, engines->at[i].name);
        if (u) {
            unit_configure(u, &engines->at[i]);
            continue;
        }
        u = unit_create(s, ++s->last_id, &engines->at[i]);
        list_append(&s->units, &u->node);
        (void)unit_start(u);
    }
    settle_later(s);
}

/* ---- from outside ---- */

static struct unit *find_id(const struct supervise *s, uint32_t id)
{
    struct unit *u;

    list_each(u, &s->units, node) if (u->pub.id == id) return u;
    return NULL;
}

int supervise_ask(struct supervise *s, enum link_verb verb, uint32_t id, const char **why)
{
    struct unit *u = find_id(s, id);

    if (!u)
        return -E_NOT_FOUND;
    switch (verb) {
    case LINK_START:
        *why = unit_start(u);
        return 0;
    case LINK_STOP:
        *why = unit_stop(u, UNIT_STAY);
        return 0;
    case LINK_DRAIN:
        *why = unit_drain(u, UNIT_STAY);
        return 0;
    case LINK_RESTART:
        *why = unit_restart(u);
        return 0;
    case LINK_RELOAD:
    case LINK_VERBS:
        break;
    }
    return -E_NOT_FOUND;
}

void supervise_report(struct supervise *s, uint32_t id, uint32_t generation,
                      enum link_report report)
{
    struct unit *u = find_id(s, id);

    if (!u || u->pub.generation != generation)
        return;
    s->quiet = true;
    unit_report(u, report);
    s->quiet = false;
}

void supervise_place(struct supervise *s, uint32_t id, const char *taken)
{
    struct unit *u = find_id(s, id);

    if (u)
        unit_on_place(u, taken);
}

unsigned supervise_failures(const struct supervise *s, uint32_t id)
{
    const struct unit *u = find_id(s, id);

    return u ? u->fails : 0;
}

void supervise_tested(struct supervise *s, bool tested)
{
    struct unit *u;

    if (s->tested == tested)
        return;
    s->tested = tested;
    list_each(u, &s->units, node) unit_on_tested(u);
}

void supervise_freeze(struct supervise *s)
{
    struct unit *u;

    s->stopping = true;
    list_each(u, &s->units, node) unit_freeze(u);
}

void supervise_stop_all(struct supervise *s, bool now)
{
    struct unit *u;
    bool hurry = now && !s->hurry;

    s->stopping = true;
    s->hurry |= now;
    if (hurry && s->sweep) {
        sweep_cancel(&s->sweep);
        sweep_all(s, 0);
    }
    list_each(u, &s->units, node)
    {
        (void)unit_stop(u, u->goal == UNIT_REMOVE ? UNIT_REMOVE : UNIT_STAY);
        if (hurry)
            unit_on_hurry(u);
    }
    settle_later(s);
}
