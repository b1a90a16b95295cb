/* SPDX-License-Identifier: Apache-2.0
 *
 * sockets.c - see sockets.h.
 */
#include "role/sockets.h"

#include <stdio.h>
#include <unistd.h>

#include "ev/notify.h"

enum { BACKLOG = 4096, CLIENT_MODE = 0660, CTL_MODE = 0600 };

void sockets_inherit(struct sockets_inherited *ret)
{
    struct ev_fd fd[SOCKETS_INHERITED_MAX];
    unsigned n = notify_sockets(fd, SOCKETS_INHERITED_MAX);

    ret->n = 0;
    for (unsigned i = 0; i < n; i++) {
        if (listener_inspect(&fd[i], &ret->addr[ret->n]) < 0)
            ev_fd_close(&fd[i]);
        else
            ret->fd[ret->n++] = fd[i];
    }
}

/* The sockets in the making. */
struct opening {
    const struct sockets_plan *plan;
    struct sockets *to;
    struct buf *problem;
};

static bool has_id(const struct sockets *s, uint32_t id)
{
    for (unsigned i = 0; s && i < s->n; i++)
        if (s->at[i].is.id == id)
            return true;
    return false;
}

/* An old socket of this address and purpose that is not taken over yet. */
static int find_old(const struct opening *o, const struct addr *configured,
                    enum link_listener_kind kind)
{
    const struct sockets *old = o->plan->old;

    for (unsigned i = 0; old && i < old->n; i++)
        if (old->at[i].is.kind == kind && addr_eq(&old->at[i].configured, configured) &&
            !has_id(o->to, old->at[i].is.id))
            return (int)i;
    return -1;
}

static int find_inherited(const struct opening *o, const struct addr *a)
{
    for (unsigned i = 0; i < o->plan->inherited->n; i++)
        if (addr_eq(&o->plan->inherited->addr[i], a))
            return (int)i;
    return -1;
}

static int bind_one(const struct opening *o, struct sockets_one *one, struct ev_fd *ret)
{
    unsigned mode = one->is.kind == LINK_LISTENER_CTL ? CTL_MODE : CLIENT_MODE;
    char text[ADDR_TEXT_MAX];
    struct buf b = buf_on(text, sizeof text);
    int r = listener_bind_patiently(&one->bound, BACKLOG, mode, o->plan->patience_ms, ret);

    if (r == 0)
        return 0;
    addr_write(&one->configured, &b);
    buf_printf(o->problem, "cannot listen on %.*s: %s", STR_ARGS(buf_str(&b)),
               r == -E_BUSY ? "another program does" : err_text(r));
    return r;
}

static int add(struct opening *o, const struct addr *configured, enum link_listener_kind kind,
               uint32_t index)
{
    struct sockets *to = o->to;
    struct sockets_one *one = &to->at[to->n];
    int old = find_old(o, configured, kind), inherited = find_inherited(o, configured);
    struct buf text;
    int r = 0;

    if (to->n == SOCKETS_MAX) {
        buf_printf(o->problem, "more than %d listening sockets", SOCKETS_MAX);
        return -E_LIMIT;
    }
    if (old >= 0) {
        *one = o->plan->old->at[old];
        to->fd[to->n] = o->plan->old->fd[old];
    } else {
        *one =
            (struct sockets_one){.is.kind = kind, .configured = *configured, .bound = *configured};
        if (inherited >= 0) {
            one->inherited = true;
            to->fd[to->n] = o->plan->inherited->fd[inherited];
        } else {
            r = bind_one(o, one, &to->fd[to->n]);
        }
        if (r < 0)
            return r;
        one->is.id = ++*o->plan->last_id;
    }
    one->is.index = index;
    text = buf_on(one->is.address, sizeof one->is.address);
    addr_write(&one->bound, &text);
    CHECK(buf_cstr(&text) != NULL);
    to->n++;
    return 0;
}

/* Without [[listen]], sockets that were handed over take the place of the default address. */
static int add_listens(struct opening *o)
{
    const struct settings *s = o->plan->settings;
    const struct sockets_inherited *inherited = o->plan->inherited;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < s->listen.n; i++)
        if (!(s->listen_default && inherited->n > 0))
            r = add(o, &s->listen.at[i].addr, LINK_LISTENER_DATA, i);
    for (unsigned i = 0; r == 0 && i < inherited->n; i++) {
        bool used = false;

        for (unsigned k = 0; k < o->to->n; k++)
            used |= addr_eq(&o->to->at[k].bound, &inherited->addr[i]);
        if (used)
            continue;
        if (!s->insecure && !s->keys.file.p && !addr_is_loopback(&inherited->addr[i])) {
            buf_text(o->problem, "a socket of LISTEN_FDS is reachable from outside this machine, "
                                 "and there are no keys: keys.file names some, --insecure allows "
                                 "it without");
            return -E_PERM;
        }
        r = add(o, &inherited->addr[i], LINK_LISTENER_DATA, LINK_INDEX_NONE);
    }
    return r;
}

static int add_ctl(struct opening *o)
{
    struct addr at = {.family = ADDR_UNIX};
    int n = snprintf(at.path, sizeof at.path, "%s/ctl.sock", o->plan->runtime_dir);

    if (n < 0 || (size_t)n >= sizeof at.path) {
        buf_printf(o->problem, "%s is too long for the control socket: it would exceed %d bytes",
                   o->plan->runtime_dir, ADDR_UNIX_PATH_MAX);
        return -E_LIMIT;
    }
    return add(o, &at, LINK_LISTENER_CTL, 0);
}

int sockets_open(const struct sockets_plan *plan, struct sockets *ret, struct buf *problem)
{
    struct sockets made = {.n = 0};
    struct opening o = {.plan = plan, .to = &made, .problem = problem};
    int r = add_listens(&o);

    if (r == 0)
        r = add_ctl(&o);
    if (r == 0 && plan->settings->admin.addr.family != ADDR_NONE)
        r = add(&o, &plan->settings->admin.addr, LINK_LISTENER_ADMIN, 0);
    if (r == 0 && plan->settings->registry.addr.family != ADDR_NONE)
        r = add(&o, &plan->settings->registry.addr, LINK_LISTENER_REGISTRY, 0);
    if (r == 0 && plan->settings->registry.face.family != ADDR_NONE)
        r = add(&o, &plan->settings->registry.face, LINK_LISTENER_FACE, 0);
    if (r < 0) {
        sockets_close(&made, plan->old);
        return r;
    }
    *ret = made;
    return 0;
}

void sockets_close(struct sockets *s, const struct sockets *keep)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (s->at[i].inherited || has_id(keep, s->at[i].is.id))
            continue;
        ev_fd_close(&s->fd[i]);
        if (s->at[i].bound.family == ADDR_UNIX)
            (void)unlink(s->at[i].bound.path);
    }
    s->n = 0;
}

void sockets_describe(const struct sockets *s, struct link_listener ret[SOCKETS_MAX])
{
    for (unsigned i = 0; i < s->n; i++)
        ret[i] = s->at[i].is;
}
