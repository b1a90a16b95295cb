/* SPDX-License-Identifier: Apache-2.0
 *
 * access.c - see access.h.
 */
#include "gate/access.h"

/* "name:port", "[v6]:port", "name" to the host part; IPv6 keeps its brackets. */
static struct str without_port(struct str host)
{
    size_t close = str_find(host, ']');

    if (host.n > 0 && host.p[0] == '[')
        return str_head(host, min_size(close + 1, host.n));
    return str_head(host, str_find(host, ':'));
}

static bool listed(const struct str_list *list, struct str name)
{
    for (size_t i = 0; i < list->n; i++)
        if (str_caseeq(list->at[i], name))
            return true;
    return false;
}

bool access_host_allowed(const struct gate_listen *l, struct str host)
{
    struct addr a;

    if (l->addr.family == ADDR_UNIX || host.n == 0)
        return true;
    host = without_port(host);
    if (addr_parse_ip(host, 0, &a) == 0)
        return addr_is_wildcard(&l->addr) || addr_same_host(&a, &l->addr) ||
               listed(&l->conf->hosts, host);
    return str_caseeq(host, STR("localhost")) || listed(&l->conf->hosts, host);
}

/* "http://host:port" where host is this machine and port ours. */
static bool own_origin(const struct gate_listen *l, struct str origin)
{
    static const struct str scheme = {"http://", 7};
    struct str rest = str_from(origin, scheme.n), host, port_text;
    struct addr a;
    uint64_t port = 80;

    if (!str_starts(origin, scheme))
        return false;
    host = without_port(rest);
    port_text = str_from(rest, host.n);
    if (port_text.n > 0 && (port_text.p[0] != ':' || !str_u64(str_from(port_text, 1), &port)))
        return false;
    if (port != l->addr.port)
        return false;
    if (str_caseeq(host, STR("localhost")))
        return true;
    return addr_parse_ip(host, 0, &a) == 0 &&
           (addr_is_loopback(&a) || addr_same_host(&a, &l->addr));
}

bool access_origin_allowed(const struct gate_listen *l, struct str origin, struct str *cors)
{
    *cors = STR_NONE;
    if (l->addr.family == ADDR_UNIX || !origin.p)
        return true;
    if (listed(&l->conf->origins, origin)) {
        *cors = origin;
        return true;
    }
    return own_origin(l, origin);
}

bool access_is_json(struct str content_type)
{
    struct str type = str_head(content_type, str_find(content_type, ';'));

    return str_caseeq(str_trim(type), STR("application/json"));
}
