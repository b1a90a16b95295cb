/* SPDX-License-Identifier: Apache-2.0
 *
 * caller.c - see caller.h.
 */
#include "gate/caller.h"

bool caller_trusted(const struct addr_net_list *trusted, const struct addr *a)
{
    for (size_t i = 0; trusted && i < trusted->n; i++)
        if (addr_in_net(a, &trusted->at[i]))
            return true;
    return false;
}

/* "1.2.3.4", "1.2.3.4:5", "::1", "[::1]", "[::1]:5" */
static bool read_item(struct str s, struct addr *ret)
{
    return addr_parse_ip(s, 0, ret) == 0 ||
           (!str_starts(s, STR("unix:")) && addr_parse(s, ret) == 0);
}

/* Cuts the last item off a list. */
static struct str last_item(struct str *list)
{
    size_t at = list->n;
    struct str item;

    while (at > 0 && list->p[at - 1] != ',')
        at--;
    item = str_trim(str_from(*list, at));
    *list = str_head(*list, at > 0 ? at - 1 : 0);
    return item;
}

/* Goes through one field from the right. True: the search is over. */
static bool look_through(const struct addr_net_list *trusted, struct str list, struct addr *ret)
{
    while (list.n > 0) {
        struct addr a;

        if (!read_item(last_item(&list), &a))
            return true;
        *ret = a;
        if (!caller_trusted(trusted, &a))
            return true;
    }
    return false;
}

void caller_find(const struct addr_net_list *trusted, const struct addr *peer,
                 const struct http1_head *h, const char *bytes, struct addr *ret)
{
    *ret = *peer;
    if (!h || !caller_trusted(trusted, peer))
        return;
    for (unsigned i = h->nfields; i-- > 0;) {
        struct str name = http1_str(bytes, h->field[i].name);

        if (str_caseeq(name, STR("x-forwarded-for")) &&
            look_through(trusted, http1_str(bytes, h->field[i].value), ret))
            return;
    }
}

void caller_write(const struct addr *a, struct buf *out)
{
    char text[ADDR_TEXT_MAX];
    struct buf b = buf_on(text, sizeof text);
    struct str s;
    size_t colon;

    if (a->family == ADDR_IP4) { /* every line of the log has one */
        for (unsigned i = 0; i < 4; i++) {
            if (i > 0)
                buf_char(out, '.');
            buf_u64(out, a->ip[i]);
        }
        return;
    }
    if (a->family != ADDR_IP6) {
        buf_text(out, a->family == ADDR_UNIX ? "unix" : "none");
        return;
    }
    addr_write(a, &b);
    s = buf_str(&b);
    for (colon = s.n; colon > 0 && s.p[colon - 1] != ':'; colon--)
        ;
    s = str_head(s, colon - 1); /* its port */
    buf_add(out, s.n > 1 && s.p[0] == '[' ? str_span(s.p + 1, s.n - 2) : s);
}
