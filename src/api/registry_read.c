/* SPDX-License-Identifier: Apache-2.0
 *
 * registry_read.c - what clients of the registry send: the bodies of POST, PUT and heartbeats, the
 * query of the list. Documents are read whole and strictly (base/json.h: repeated keys are an
 * error); unknown keys are ignored everywhere.
 */
#include "api/registry_priv.h"

#include "base/json.h"
#include "base/percent.h"

enum { QUERY_BYTES = 8192 };

static bool wrong(struct fault *f, const char *key, const char *what)
{
    fault_set(f, FAULT_invalid_field, "Field '%s' %s", key, what);
    memcpy(f->param, key, min_size(strlen(key), sizeof f->param - 1));
    return false;
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool c1 = c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0;

        if (c < 0x20 || c == 0x7f || c1)
            return true;
    }
    return false;
}

static bool is_text(struct str s, size_t most)
{
    return s.n >= 1 && s.n <= most && !has_control(s);
}

/* ---- POST and PUT ---- */

struct reading {
    const struct json *object;
    bool whole;
    struct arena *arena;
    struct fault *f;
};

static bool read_text(const struct reading *q, const char *key, size_t most, struct str *ret)
{
    const struct json *v = json_find_cstr(q->object, key);
    char what[64];
    struct buf b = buf_on(what, sizeof what);
    struct str text;

    *ret = STR_NONE;
    if (!q->whole && (!v || json_kind_of(v) == JSON_KIND_NULL))
        return true;
    if (!v)
        return wrong(q->f, key, "is missing");
    if (!json_get_str(v, &text))
        return wrong(q->f, key, "must be a string");
    if (!is_text(text, most)) {
        buf_printf(&b, "must have 1 to %zu bytes, none of them control", most);
        return wrong(q->f, key, buf_cstr(&b));
    }
    *ret = arena_str(q->arena, text);
    return true;
}

static bool read_port(const struct reading *q, int32_t *ret)
{
    const struct json *v = json_find_cstr(q->object, "port");
    int64_t port;

    *ret = -1;
    if (!q->whole && (!v || json_kind_of(v) == JSON_KIND_NULL))
        return true;
    if (!v)
        return wrong(q->f, "port", "is missing");
    if (!json_get_i64(v, &port) || port < 0 || port > UINT16_MAX)
        return wrong(q->f, "port", "must be an integer within 0 and 65535");
    *ret = (int32_t)port;
    return true;
}

/* -1 when there is none; what is no weight is ignored and counted. */
static int32_t read_weight(const struct json *object, unsigned *odd)
{
    const struct json *v = json_find_cstr(object, "weight");
    int64_t weight;

    if (!v || json_kind_of(v) == JSON_KIND_NULL)
        return -1;
    if (json_get_i64(v, &weight) && weight >= 0 && weight <= RECORDS_WEIGHT_MAX)
        return (int32_t)weight;
    ++*odd;
    return -1;
}

static bool read_metadata(const struct reading *q, struct records_fields *ret, unsigned *odd)
{
    const struct json *v = json_find_cstr(q->object, "metadata");
    struct buf text = buf_make(RECORDS_METADATA_BYTES);
    struct str type = STR_NONE;
    bool fits;

    ret->metadata = q->whole ? STR("{}") : STR_NONE;
    ret->metadata_weight = -1;
    if (!v || (!q->whole && json_kind_of(v) == JSON_KIND_NULL))
        return true;
    if (json_kind_of(v) != JSON_KIND_OBJECT)
        return wrong(q->f, "metadata", "must be an object");
    json_write(v, &text);
    fits = buf_status(&text) == 0;
    if (fits) {
        ret->metadata = arena_str(q->arena, buf_str(&text));
        ret->openai =
            json_get_str(json_find_cstr(v, "type"), &type) && str_eq(type, STR("openai-api"));
        ret->metadata_weight = read_weight(v, odd);
    }
    buf_fini(&text);
    return fits || wrong(q->f, "metadata", "must take no more than 256 KiB");
}

/* It is ours to set; only its type is looked at. */
static bool read_timestamp(const struct reading *q)
{
    const struct json *v = json_find_cstr(q->object, "timestamp");
    enum json_kind kind = json_kind_of(v);

    if (!q->whole || kind == JSON_KIND_NONE || kind == JSON_KIND_NULL || kind == JSON_KIND_STRING)
        return true;
    return wrong(q->f, "timestamp", "must be a string or null");
}

bool registry_read_ports(bool openai, int32_t port, struct fault *f)
{
    if (openai && port == UINT16_MAX)
        return wrong(f, "port", "must be below 65535: the babysitter has the next one");
    return true;
}

static bool read_all(const struct reading *q, struct records_fields *ret, unsigned *odd)
{
    *ret = (struct records_fields){.port = -1};
    if (q->whole && !read_text(q, "name", RECORDS_NAME_BYTES, &ret->name))
        return false;
    if (!read_text(q, "host", RECORDS_HOST_BYTES, &ret->host) ||
        !read_text(q, "hostname", RECORDS_HOST_BYTES, &ret->hostname) ||
        !read_text(q, "url", RECORDS_URL_BYTES, &ret->url) ||
        !read_text(q, "status", RECORDS_HOST_BYTES, &ret->status) || !read_port(q, &ret->port) ||
        !read_metadata(q, ret, odd) || !read_timestamp(q))
        return false;
    ret->weight = read_weight(q->object, odd);
    return registry_read_ports(ret->openai, ret->port, q->f);
}

bool registry_read_fields(struct str body, bool whole, struct arena *arena,
                          struct records_fields *ret, unsigned *odd, struct fault *f)
{
    _cleanup_(json_cleanup) struct json *v = NULL;
    struct json_error error;
    struct reading q = {.whole = whole, .arena = arena, .f = f};
    int r = json_read(body, NULL, &error, &v);

    *odd = 0;
    if (r == -E_EXISTS) {
        fault_set(f, FAULT_invalid_json, "The body has a key twice");
        return false;
    }
    if (r < 0) {
        fault_set(f, FAULT_invalid_json, "The body is not JSON that can be read: %s at byte %llu",
                  error.reason, (unsigned long long)error.at);
        return false;
    }
    if (json_kind_of(v) != JSON_KIND_OBJECT) {
        fault_set(f, FAULT_invalid_field, "The body must be a JSON object");
        return false;
    }
    q.object = v;
    return read_all(&q, ret, odd);
}

struct str registry_read_beat(struct str body, struct arena *arena)
{
    _cleanup_(json_cleanup) struct json *v = NULL;
    struct str status;

    if (body.n == 0 || json_read(body, NULL, NULL, &v) < 0 ||
        !json_get_str(json_find_cstr(v, "status"), &status) || !is_text(status, RECORDS_HOST_BYTES))
        return STR_NONE;
    return arena_str(arena, status);
}

bool registry_read_is_json(struct str content_type)
{
    struct str type = str_trim(str_head(content_type, str_find(content_type, ';')));
    struct str sub = str_from(type, 12);

    if (!str_caseeq(str_head(type, 12), STR("application/")))
        return false;
    if (str_caseeq(sub, STR("json")))
        return true;
    return sub.n > 5 && str_caseeq(str_from(sub, sub.n - 5), STR("+json"));
}

/* ---- the query of the list ---- */

/* Form-decoded into the arena; false when it is not decodable. */
static bool decode(struct str text, struct arena *arena, struct str *ret)
{
    struct buf b = buf_make(QUERY_BYTES);
    char *plain = arena_alloc(arena, text.n + 1);
    bool good;

    for (size_t i = 0; i < text.n; i++)
        plain[i] = text.p[i];
    for (size_t i = 0; i < text.n; i++)
        if (plain[i] == '+')
            plain[i] = ' ';
    good = percent_decode(&b, str_span(plain, text.n)) == 0;
    if (good)
        *ret = arena_str(arena, buf_str(&b));
    buf_fini(&b);
    return good;
}

/* -1: neither. */
static int read_truth(struct str v)
{
    static const struct {
        struct str word;
        int truth;
    } words[] = {
        {{"true", 4}, 1},  {{"1", 1}, 1}, {{"yes", 3}, 1},
        {{"false", 5}, 0}, {{"0", 1}, 0}, {{"no", 2}, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_caseeq(v, words[i].word))
            return words[i].truth;
    return -1;
}

static bool wrong_query(struct fault *f, const char *key, const char *what)
{
    fault_set(f, FAULT_invalid_query, "Query parameter '%s' %s", key, what);
    memcpy(f->param, key, strlen(key));
    return false;
}

bool registry_read_query(struct str query, struct arena *arena, struct registry_filter *ret,
                         struct fault *f)
{
    struct registry_filter filter = {.healthy = -1};

    while (query.n > 0) {
        struct str value = str_cut(&query, '&'), written = str_cut(&value, '='), key, text;
        bool status, healthy;

        if (!decode(written, arena, &key)) /* then it is none that is known */
            continue;
        status = str_eq(key, STR("status"));
        healthy = str_eq(key, STR("healthy"));
        if (!status && !healthy)
            continue;
        if (status ? filter.status.p != NULL : filter.healthy >= 0)
            return wrong_query(f, status ? "status" : "healthy", "is given twice");
        if (!decode(value.p ? value : STR(""), arena, &text))
            return wrong_query(f, status ? "status" : "healthy", "is not percent-encoded UTF-8");
        if (status)
            filter.status = text.p ? text : STR("");
        else if ((filter.healthy = read_truth(text)) < 0)
            return wrong_query(f, "healthy", "must be true, 1, yes, false, 0 or no");
    }
    *ret = filter;
    return true;
}
