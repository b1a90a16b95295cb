/* SPDX-License-Identifier: Apache-2.0
 *
 * wire.c - checks what came over the link; see wire_priv.h. Pure: fuzzed alone.
 */
#include "link/wire_priv.h"

#define WIRE_AS_ROW(name, from_master, fds) [name] = {from_master, fds},
static const struct {
    bool from_master;
    unsigned fds;
} kinds[] = {WIRE_KINDS(WIRE_AS_ROW)};

#define TERMINATED(array) (memchr(array, '\0', sizeof(array)) != NULL)

static bool unit_ok(const struct link_unit *u)
{
    return u->state < UNIT_STATES_N && u->pid >= 0 && u->name[0] && TERMINATED(u->name) &&
           TERMINATED(u->socket) && TERMINATED(u->last_exit);
}

static bool members_ok(const struct wire *w)
{
    switch ((enum wire_kind)w->kind) {
    case WIRE_LISTENER:
        return w->listener.kind < LINK_LISTENER_KINDS && TERMINATED(w->listener.address);
    case WIRE_UNIT:
        return unit_ok(&w->unit);
    case WIRE_ANSWER:
        return w->code <= 0 && TERMINATED(w->text);
    case WIRE_ASK:
        return w->code >= 0 && w->code < LINK_VERBS;
    case WIRE_REPORT:
        return w->code >= 0 && w->code < LINK_REPORTS;
    case WIRE_ACK:
        return (w->code == 0 || w->code == 1) && TERMINATED(w->text);
    case WIRE_CONFIG:
    case WIRE_COMMIT:
    case WIRE_ABANDON:
    case WIRE_UNIT_GONE:
    case WIRE_COUNTS:
    case WIRE_DRAIN:
    case WIRE_CUT:
    case WIRE_SWAPPED:
    case WIRE_ACCEPTING:
    case WIRE_DRAINED:
        return true;
    case WIRE_KINDS_N:
        break;
    }
    return false;
}

int wire_read(const void *p, size_t n, unsigned fds_n, bool from_master, struct wire *ret)
{
    struct wire w;

    if (n != sizeof w)
        return -E_SYNTAX;
    memcpy(&w, p, sizeof w);
    if (w.version != WIRE_VERSION || w.reserved != 0 || w.kind >= WIRE_KINDS_N)
        return -E_SYNTAX;
    if (kinds[w.kind].from_master != from_master || fds_n > kinds[w.kind].fds)
        return -E_SYNTAX;
    if (w.kind == WIRE_CONFIG && fds_n != 1)
        return -E_SYNTAX;
    if (!members_ok(&w))
        return -E_SYNTAX;
    *ret = w;
    return 0;
}

struct wire wire_make(enum wire_kind kind)
{
    struct wire w;

    memset(&w, 0, sizeof w); /* padding too: it crosses a border */
    w.version = WIRE_VERSION;
    w.kind = kind;
    return w;
}

void wire_text(struct wire *w, struct str text)
{
    size_t n = str_utf8_cut(text, LINK_TEXT_MAX);

    if (n)
        memcpy(w->text, text.p, n);
    w->text[n] = '\0';
}
