/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_registry.c - any bytes as what a registry's clients send: the first byte says whether they
 * are a registration, a change, a heartbeat, a query of the list or a host. Asserted: what is taken
 * is within its bounds and goes into a table whose list is JSON; what is refused has a fault of the
 * right kind; a host that the rules name an address for is one of this machine.
 *
 * Covers: src/api/registry_read.c src/store/hosts.c
 */
#include "api/registry_priv.h"
#include "base/json.h"
#include "fuzz.h"

static struct fuzz_room room;

static void within(struct str s, size_t most)
{
    CHECK(!s.p || (s.n >= 1 && s.n <= most && str_utf8_valid(s)));
}

static void check_fault(const struct fault *f)
{
    CHECK(f->code == FAULT_invalid_json || f->code == FAULT_invalid_field ||
          f->code == FAULT_invalid_query);
    CHECK(str_utf8_valid(str_of(f->text)) && str_utf8_valid(str_of(f->param)));
}

/* What was taken is listed as one JSON object with that name. */
static void check_listed(const struct records_fields *f)
{
    struct records *t = records_create(2);
    struct records_pins *host = NULL, *url = NULL;
    struct records_list *l;
    struct record *r = NULL;
    struct json *v = NULL;
    struct str name;

    records_at(t, 1, 1795208933);
    CHECK(records_register(t, f, &host, &url, &r) == 0);
    l = records_list(t, RECORDS_ALL);
    CHECK(l->count == 1 && json_read(buf_str(&l->bytes), NULL, NULL, &v) == 0);
    CHECK(json_get_str(json_find_cstr(v, "name"), &name) && str_eq(name, f->name));
    CHECK(records_beat(t, r, STR_NONE) == 0 && r->healthy == str_eq(f->status, STR("running")));
    json_unref(&v);
    records_unlist(t, &l);
    records_destroy(&t);
}

static void check_fields(struct str body, bool whole, struct arena *a)
{
    struct records_fields f;
    struct fault fault = {.code = FAULT_none};
    unsigned odd = 0;

    if (!registry_read_fields(body, whole, a, &f, &odd, &fault)) {
        check_fault(&fault);
        return;
    }
    within(f.name, RECORDS_NAME_BYTES);
    within(f.host, RECORDS_HOST_BYTES);
    within(f.hostname, RECORDS_HOST_BYTES);
    within(f.url, RECORDS_URL_BYTES);
    within(f.status, RECORDS_HOST_BYTES);
    within(f.metadata, RECORDS_METADATA_BYTES);
    CHECK(f.port >= -1 && f.port <= 65535 && odd <= 2);
    CHECK(f.weight >= -1 && f.weight <= RECORDS_WEIGHT_MAX);
    if (!whole)
        return;
    CHECK(f.name.p && f.host.p && f.hostname.p && f.url.p && f.status.p && f.port >= 0);
    check_listed(&f);
}

static void check_query(struct str query, struct arena *a)
{
    struct registry_filter filter;
    struct fault fault;

    if (registry_read_query(query, a, &filter, &fault))
        CHECK(filter.healthy >= -1 && filter.healthy <= 1 && str_utf8_valid(filter.status));
    else
        check_fault(&fault);
}

static void check_host(struct str host)
{
    static struct hosts *loopback;
    struct str_list none = {NULL, 0};
    struct addr at[HOSTS_AT_MAX];
    struct buf problem = buf_make(100);
    struct str of_url;
    uint16_t port;
    unsigned n = 0;

    if (!loopback)
        CHECK(hosts_create(&none, false, &loopback, &problem) == 0);
    if (hosts_judge(loopback, host, at, &n) == HOSTS_AT)
        for (unsigned i = 0; i < n; i++)
            CHECK(addr_is_loopback(&at[i]) && at[i].port == 0);
    if (hosts_of_url(host, &of_url, &port))
        CHECK(of_url.n > 0 && of_url.p >= host.p && of_url.p + of_url.n <= host.p + host.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str s;

    if (size == 0 || size > FUZZ_BYTES)
        return 0;
    arena_init(&a, NULL);
    s = fuzz_fill(&room, data + 1, size - 1);
    switch (data[0] % 5) {
    case 0:
        check_fields(s, true, &a);
        break;
    case 1:
        check_fields(s, false, &a);
        break;
    case 2:
        within(registry_read_beat(s, &a), RECORDS_HOST_BYTES);
        break;
    case 3:
        check_query(s, &a);
        break;
    default:
        check_host(s);
    }
    arena_clear(&a);
    return 0;
}
