/* SPDX-License-Identifier: Apache-2.0
 *
 * hosts.c - see hosts.h. The order in hosts_judge() matters: what looks like a number is never
 * taken for a name, because the system's resolver reads "2130706433" and "0x7f.1" as addresses.
 */
#include "store/hosts.h"

#include "base/mem.h"
#include "conf/url.h"

enum { NAME_BYTES_MAX = 253 };

struct network {
    struct addr base;
    unsigned bits; /* that must be equal */
};

struct hosts {
    bool any;
    struct network *networks;
    unsigned nnetworks;
    struct str *names; /* owned */
    unsigned nnames;
    uint16_t *denied; /* ports */
    unsigned ndenied;
    struct addr own; /* family ADDR_NONE: not denied */
};

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const struct addr loopback4 = {.family = ADDR_IP4, .ip = {127, 0, 0, 1}};
static const struct addr loopback6 = {.family = ADDR_IP6, .ip = {[15] = 1}};

/* What a connection to it would reach. */
static void normalise(struct addr *a)
{
    if (a->family == ADDR_IP6 && memcmp(a->ip, mapped, sizeof mapped) == 0) {
        a->family = ADDR_IP4;
        memcpy(a->ip, a->ip + 12, 4);
        memset(a->ip + 4, 0, 12);
    }
    if (addr_is_wildcard(a))
        memcpy(a->ip, a->family == ADDR_IP4 ? loopback4.ip : loopback6.ip, sizeof a->ip);
}

static bool contains(const struct network *w, const struct addr *a)
{
    unsigned whole = w->bits / 8, rest = w->bits % 8;
    uint8_t mask = (uint8_t)(0xff00 >> rest);

    if (w->base.family != a->family || a->scope != 0)
        return false;
    return memcmp(w->base.ip, a->ip, whole) == 0 &&
           (rest == 0 || ((w->base.ip[whole] ^ a->ip[whole]) & mask) == 0);
}

static bool in_networks(const struct hosts *h, const struct addr *a)
{
    for (unsigned i = 0; i < h->nnetworks; i++)
        if (contains(&h->networks[i], a))
            return true;
    return false;
}

bool hosts_any(const struct hosts *h) { return h->any; }

bool hosts_allow(const struct hosts *h, struct addr *a)
{
    normalise(a);
    return h->any || in_networks(h, a);
}

/* ---- ports ---- */

static bool is_own(const struct hosts *h, struct addr a)
{
    normalise(&a);
    return addr_is_wildcard(&h->own) ? addr_is_local(&a) : addr_same_host(&h->own, &a);
}

bool hosts_port_allowed(const struct hosts *h, const struct addr *at, unsigned n, uint16_t port)
{
    for (unsigned i = 0; i < h->ndenied; i++)
        if (h->denied[i] == port)
            return false;
    if (h->own.family == ADDR_NONE || h->own.port != port)
        return true;
    for (unsigned i = 0; i < n; i++)
        if (is_own(h, at[i]))
            return false;
    return true;
}

int hosts_deny_ports(struct hosts *h, const struct str_list *ports, struct buf *problem)
{
    uint64_t port;

    for (size_t i = 0; i < ports->n; i++) {
        if (!str_u64(ports->at[i], &port) || port < 1 || port > UINT16_MAX) {
            buf_printf(problem, "\"%.*s\" is no port (1 to 65535)",
                       STR_ARGS(str_head(ports->at[i], 100)));
            return -E_CONF;
        }
        h->denied = mem_resize_array(h->denied, h->ndenied + 1, sizeof *h->denied);
        h->denied[h->ndenied++] = (uint16_t)port;
    }
    return 0;
}

void hosts_deny_own(struct hosts *h, const struct addr *own)
{
    if (h->any)
        return;
    h->own = *own;
    if (!addr_is_wildcard(own))
        normalise(&h->own);
}

/* ---- what is judged ---- */

static struct str without_dot(struct str name)
{
    return name.n > 1 && name.p[name.n - 1] == '.' ? str_head(name, name.n - 1) : name;
}

static bool is_label(struct str label)
{
    for (size_t i = 0; i < label.n; i++) {
        char c = label.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return label.n > 0 && label.n <= 63 && label.p[0] != '-' && label.p[label.n - 1] != '-';
}

/* The last part of a name that some resolver would read as a number. */
static bool is_number(struct str label)
{
    size_t i = label.n > 2 && str_caseeq(str_head(label, 2), STR("0x")) ? 2 : 0;

    if (i > 0 || str_caseeq(label, STR("0x")))
        return true;
    while (i < label.n && label.p[i] >= '0' && label.p[i] <= '9')
        i++;
    return i == label.n;
}

static bool is_name(struct str host)
{
    struct str rest = without_dot(host), label = STR_NONE;

    if (rest.n == 0 || rest.n > NAME_BYTES_MAX)
        return false;
    while (rest.p) {
        label = str_cut(&rest, '.');
        if (!is_label(label))
            return false;
    }
    return !is_number(label);
}

static bool is_rule(const struct hosts *h, struct str name)
{
    for (unsigned i = 0; i < h->nnames; i++)
        if (str_caseeq(h->names[i], name))
            return true;
    return false;
}

/* It is this machine by definition; no resolver is asked. */
static enum hosts_verdict judge_localhost(const struct hosts *h, struct addr *at, unsigned *n)
{
    unsigned found = 0;

    if (in_networks(h, &loopback4))
        at[found++] = loopback4;
    if (in_networks(h, &loopback6))
        at[found++] = loopback6;
    if (found == 0)
        return HOSTS_NO;
    *n = found;
    return HOSTS_AT;
}

enum hosts_verdict hosts_judge(const struct hosts *h, struct str host, struct addr *at, unsigned *n)
{
    struct str name = without_dot(host);

    if (h->any)
        return HOSTS_NAME;
    if (str_find(host, '%') < host.n) /* an interface of ours is nobody's business */
        return HOSTS_NO;
    if (addr_parse_ip(host, 0, at) == 0) {
        if (!hosts_allow(h, at))
            return HOSTS_NO;
        *n = 1;
        return HOSTS_AT;
    }
    if (!is_name(host))
        return HOSTS_NO;
    if (is_rule(h, name))
        return HOSTS_NAME;
    if (str_caseeq(name, STR("localhost")))
        return judge_localhost(h, at, n);
    return HOSTS_ASK;
}

bool hosts_of_url(struct str url, struct str *ret_host, uint16_t *ret_port)
{
    _cleanup_(mem_cleanup) char *plain = NULL;
    const char *why;
    struct url u;
    size_t at;

    if (str_caseeq(str_head(url, 8), STR("https://"))) { /* the same but for the letter */
        plain = mem_printf("http://%.*s", STR_ARGS(str_from(url, 8)));
        if (url_parse(str_of(plain), &u, &why) < 0)
            return false;
        at = (size_t)(u.host.p - plain) + 1;
        *ret_host = str_span(url.p + at, u.host.n);
    } else {
        if (url_parse(url, &u, &why) < 0 || u.kind != URL_HTTP)
            return false;
        *ret_host = u.host;
    }
    *ret_port = u.port;
    return true;
}

/* ---- rules ---- */

static void add_network(struct hosts *h, const struct addr *base, unsigned bits)
{
    h->networks = mem_resize_array(h->networks, h->nnetworks + 1, sizeof *h->networks);
    h->networks[h->nnetworks++] = (struct network){.base = *base, .bits = bits};
}

static int add_rule(struct hosts *h, struct str rule, struct buf *problem)
{
    struct str bits = rule, host = str_cut(&bits, '/');
    unsigned most;
    uint64_t n;
    struct addr a;

    if (addr_parse_ip(host, 0, &a) == 0) {
        normalise(&a);
        n = most = a.family == ADDR_IP4 ? 32 : 128;
        if (!bits.p || (str_u64(bits, &n) && n <= most)) {
            add_network(h, &a, (unsigned)n);
            return 0;
        }
        buf_printf(problem, "\"%.*s\" has a prefix length that is not within 0 and %u",
                   STR_ARGS(str_head(rule, 100)), most);
        return -E_CONF;
    }
    if (bits.p || !is_name(host)) {
        buf_printf(problem, "\"%.*s\" is no address, network or host name",
                   STR_ARGS(str_head(rule, 100)));
        return -E_CONF;
    }
    h->names = mem_resize_array(h->names, h->nnames + 1, sizeof *h->names);
    host = without_dot(host);
    h->names[h->nnames++] = str_span(str_dup(host), host.n);
    return 0;
}

int hosts_create(const struct str_list *rules, bool any, struct hosts **ret, struct buf *problem)
{
    struct hosts *h = xnew(struct hosts, .any = any && rules->n == 0);

    for (size_t i = 0; i < rules->n; i++) {
        if (add_rule(h, rules->at[i], problem) < 0) {
            hosts_destroy(&h);
            return -E_CONF;
        }
    }
    if (rules->n == 0) {
        add_network(h, &loopback4, 8);
        add_network(h, &loopback6, 128);
    }
    *ret = h;
    return 0;
}

void hosts_destroy(struct hosts **hp)
{
    struct hosts *h = TAKE(hp);

    if (!h)
        return;
    for (unsigned i = 0; i < h->nnames; i++)
        mem_free((char *)(uintptr_t)h->names[i].p);
    mem_free(h->names);
    mem_free(h->denied);
    mem_free(h->networks);
    mem_free(h);
}
