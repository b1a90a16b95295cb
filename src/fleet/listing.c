/* SPDX-License-Identifier: Apache-2.0
 *
 * listing.c - see listing.h. The text is scanned for the list and for where its elements begin and
 * end; each of them then becomes values of its own, so that neither a repeated key in one nor the
 * size of all together spoils the others.
 */
#include "fleet/listing.h"

#include <limits.h>

#include "base/json.h"
#include "base/jsonindex.h"
#include "base/map.h"
#include "base/mem.h"
#include "conf/option.h"
#include "conf/url.h"

/* Far beyond what LISTING_BYTES can hold. */
static const struct jsonscan_limits scan_limits = {
    .depth = 64, .number_bytes = 64, .keys = 10000, .tokens = LISTING_BYTES};

struct reading {
    enum listing_kind kind;
    listing_note_fn *fn;
    void *ctx;
    struct listing *to;
    struct map names;
    size_t room, names_room;
    /* the element that is read */
    size_t element;
    struct str name;
    const struct json *metadata;
};

/* ---- notes ---- */

void listing_write_note(const struct listing_note *n, struct buf *out)
{
    if (n->of_element) {
        buf_printf(out, "services[%zu]", n->element);
        if (n->name.n > 0)
            buf_printf(out, " '%.*s'", STR_ARGS(n->name));
        buf_text(out, ": ");
    }
    if (n->key.n > 0)
        buf_printf(out, "%.*s ", STR_ARGS(n->key));
    buf_text(out, n->what);
    if (n->hint.n > 0)
        buf_printf(out, "; did you mean '%.*s'?", STR_ARGS(n->hint));
}

static void note(const struct reading *q, enum listing_gravity gravity, struct str key,
                 const char *what, struct str hint)
{
    struct listing_note n = {
        .gravity = gravity,
        .element = q->element,
        .of_element = true,
        .name = q->name,
        .key = key,
        .what = what,
        .hint = hint,
    };

    q->fn(q->ctx, &n);
}

static void ignore(const struct reading *q, const char *key, const char *what)
{
    note(q, LISTING_IGNORED, str_of(key), what, STR_NONE);
}

/* The element is no good. */
static bool bad(const struct reading *q, const char *key, const char *what)
{
    enum listing_gravity g = q->kind == LISTING_FILE ? LISTING_REFUSED : LISTING_SKIPPED;

    note(q, g, str_of(key), what, STR_NONE);
    return false;
}

static int refuse(const struct reading *q, const char *what)
{
    struct listing_note n = {.gravity = LISTING_REFUSED, .what = what};

    q->fn(q->ctx, &n);
    return -E_CONF;
}

/* ---- where the list is ---- */

/* The shapes, the first of them is taken that is there. */
enum { NESTED, PLAIN, BARE, SHAPES };

struct search {
    struct str bytes;
    bool is_services, in_static; /* the last key, of the document or of static_services */
    int open;                    /* the shape whose array is open, -1: none */
    unsigned open_depth;
    size_t begin;
    struct str found[SHAPES]; /* p NULL: not there */
    bool twice;
};

static bool is_key(const struct search *s, const struct jsonscan_event *e, const char *quoted)
{
    return str_eq(str_span(s->bytes.p + e->begin, e->end - e->begin), str_of(quoted));
}

static int open_array(struct search *s, const struct jsonscan_event *e)
{
    int shape = -1;

    if (e->depth == 0)
        shape = BARE;
    else if (e->depth == 1 && s->is_services)
        shape = PLAIN;
    else if (e->depth == 2 && s->is_services && s->in_static)
        shape = NESTED;
    if (shape >= 0) {
        s->open = shape;
        s->open_depth = e->depth;
        s->begin = e->begin;
    }
    return JSONSCAN_SKIP;
}

static int on_search(void *ctx, const struct jsonscan_event *e)
{
    struct search *s = ctx;

    switch ((int)e->kind) {
    case JSONSCAN_KEY_END:
        if (e->depth == 1)
            s->in_static = is_key(s, e, "\"static_services\"");
        s->is_services = is_key(s, e, "\"services\"");
        return JSONSCAN_GO;
    case JSONSCAN_OBJECT:
        return e->depth == 0 || (e->depth == 1 && s->in_static) ? JSONSCAN_GO : JSONSCAN_SKIP;
    case JSONSCAN_ARRAY:
        return open_array(s, e);
    case JSONSCAN_ARRAY_END:
        if (s->open >= 0 && e->depth == s->open_depth) {
            s->twice |= s->found[s->open].p != NULL;
            s->found[s->open] = str_span(s->bytes.p + s->begin, e->end - s->begin);
            s->open = -1;
        }
        return JSONSCAN_GO;
    default:
        return JSONSCAN_GO;
    }
}

static int scan(struct str bytes, jsonscan_fn *fn, void *ctx, const char **reason)
{
    struct jsonscan s;
    int r;

    jsonscan_init(&s, &scan_limits, fn, ctx);
    r = jsonscan_feed(&s, bytes.p, bytes.n);
    if (r == 0)
        r = jsonscan_finish(&s);
    *reason = s.reason;
    return r;
}

static int find_list(const struct reading *q, struct str bytes, struct str *ret)
{
    struct search s = {.bytes = bytes, .open = -1};
    const char *reason;
    int r = scan(bytes, on_search, &s, &reason);

    if (r < 0)
        return refuse(q, reason);
    if (s.twice)
        return refuse(q, "has its list twice");
    *ret = s.found[PLAIN];
    if (q->kind == LISTING_FILE && s.found[NESTED].p)
        *ret = s.found[NESTED];
    else if (q->kind == LISTING_FILE && !ret->p)
        *ret = s.found[BARE];
    if (ret->p)
        return 0;
    return refuse(q, q->kind == LISTING_FILE ? "has no array 'static_services.services' or "
                                               "'services', and is none itself"
                                             : "has no array 'services'");
}

/* ---- one element: its texts ---- */

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

static bool read_name(struct reading *q, const struct json *v)
{
    const struct json *name = json_find_cstr(v, "name");
    struct str text;

    if (!name)
        return bad(q, "name", "is missing");
    if (!json_get_str(name, &text))
        return bad(q, "name", "must be a string");
    if (text.n == 0 || text.n > LISTING_NAME_BYTES || has_control(text))
        return bad(q, "name", "must have 1 to 256 bytes, none of them control");
    q->name = arena_str(&q->to->arena, text);
    return true;
}

static bool is_bare_ip6(struct str host)
{
    return host.p[0] != '[' && str_find(host, ':') < host.n;
}

static struct str make_url(struct arena *a, struct str host, unsigned port, struct str prefix)
{
    return arena_printf(a, is_bare_ip6(host) ? "http://[%.*s]:%u%.*s" : "http://%.*s:%u%.*s",
                        STR_ARGS(host), port, STR_ARGS(prefix));
}

static bool read_place(const struct reading *q, const struct json *v, struct listing_row *row)
{
    const struct json *host = json_find_cstr(v, "host"), *port = json_find_cstr(v, "port");
    const char *why;
    struct url u;
    int64_t number;

    if (!host)
        return bad(q, "host", "is missing");
    if (!json_get_str(host, &row->host))
        return bad(q, "host", "must be a string");
    if (!port)
        return bad(q, "port", "is missing");
    if (!json_get_i64(port, &number))
        return bad(q, "port", "must be an integer");
    if (number < 1 || number > LISTING_PORT_MAX)
        return bad(q, "port", "must be within 1 and 65534: the babysitter has the next one");
    row->port = (uint16_t)number;
    if (row->host.n == 0 || row->host.n > LISTING_HOST_BYTES)
        return bad(q, "host", "must have 1 to 253 bytes");
    row->host = arena_str(&q->to->arena, row->host);
    row->url = make_url(&q->to->arena, row->host, row->port, STR(""));
    if (url_parse(row->url, &u, &why) < 0 || u.prefix.n > 0 || u.port != row->port)
        return bad(q, "host", "must be a name or an address");
    row->babysitter_url = make_url(&q->to->arena, row->host, row->port + 1U, STR(""));
    row->probe = arena_printf(&q->to->arena, "%.*s/health", STR_ARGS(row->babysitter_url));
    return true;
}

static struct str without_brackets(struct str host)
{
    if (host.n > 2 && host.p[0] == '[')
        return str_span(host.p + 1, host.n - 2);
    return host;
}

/* The url counts for its prefix, and only if it leads to the very host and port. */
static void read_url(const struct reading *q, const struct json *v, struct listing_row *row)
{
    const struct json *url = json_find_cstr(v, "url");
    const char *why;
    struct str text;
    struct url u;

    if (!url)
        return;
    if (!json_get_str(url, &text)) {
        ignore(q, "url", "must be a string");
        return;
    }
    if (text.n <= LISTING_URL_BYTES && url_parse(text, &u, &why) == 0 && u.kind == URL_HTTP &&
        u.port == row->port && str_caseeq(u.host, without_brackets(row->host)))
        row->url = make_url(&q->to->arena, row->host, row->port, u.prefix);
}

static bool read_health_url(const struct reading *q, const struct json *v, struct listing_row *row)
{
    const struct json *url = json_find_cstr(v, "health_url");
    const char *why;
    struct str text;
    struct url u;

    if (!url)
        return true;
    if (!json_get_str(url, &text))
        return bad(q, "health_url", "must be a string");
    if (!str_eq(text, STR("none")) &&
        (text.n > LISTING_URL_BYTES || url_parse(text, &u, &why) < 0 || u.kind != URL_HTTP))
        return bad(q, "health_url", "must be \"none\" or \"http://host:port/path\"");
    row->probe = arena_str(&q->to->arena, text);
    return true;
}

/* ---- one element: the rest ---- */

static bool read_weight(const struct reading *q, const struct json *object, const char *key,
                        struct listing_row *row)
{
    const struct json *v = json_find_cstr(object, "weight");
    int64_t weight;

    if (!v || json_kind_of(v) == JSON_KIND_NULL)
        return false;
    if (!json_get_i64(v, &weight) || weight < 0 || weight > LISTING_WEIGHT_MAX) {
        ignore(q, key, "must be an integer within 0 and 1000000");
        return false;
    }
    row->weight = (uint32_t)weight;
    row->weighed = true;
    return true;
}

static void read_weights(const struct reading *q, const struct json *v, struct listing_row *row)
{
    row->weight = 1;
    if (!read_weight(q, v, "weight", row) && q->kind == LISTING_REGISTRY)
        (void)read_weight(q, q->metadata, "metadata.weight", row);
}

static bool read_metadata(const struct reading *q, const struct json *v, struct listing_row *row)
{
    struct buf text = buf_make(LISTING_METADATA_BYTES);
    bool fits;

    json_write(q->metadata, &text);
    fits = buf_status(&text) == 0;
    if (fits)
        row->metadata = arena_str(&q->to->arena, buf_str(&text));
    buf_fini(&text);
    if (!fits)
        return bad(q, "metadata", "must take no more than 256 KiB");
    (void)!json_get_bool(json_find_cstr(q->metadata, "static"), &row->lasting);
    row->healthy = true;
    if (q->kind == LISTING_REGISTRY && json_find_cstr(v, "is_healthy") &&
        !json_get_bool(json_find_cstr(v, "is_healthy"), &row->healthy))
        ignore(q, "is_healthy", "must be true or false");
    return true;
}

static const char *const file_keys[] = {"name",      "host",         "port",
                                        "weight",    "metadata",     "health_url",
                                        "max_fails", "fail_timeout", "backup"};

static void look_for_odd_keys(const struct reading *q, const struct json *v)
{
    struct json *value;
    struct str key;

    for (void *it = NULL; json_next(v, &it, &key, &value);) {
        struct str hint = STR_NONE;
        unsigned best = UINT_MAX;
        bool known = false;

        for (size_t i = 0; i < ARRAY_LEN(file_keys) && !known; i++) {
            known = str_eq(key, str_of(file_keys[i]));
            if (option_nearer(key, str_of(file_keys[i]), &best))
                hint = str_of(file_keys[i]);
        }
        if (!known)
            note(q, LISTING_IGNORED, key, "is no key of a static service", hint);
    }
}

/* ---- one element: all of it ---- */

static void add_name(struct reading *q)
{
    struct listing *l = q->to;

    if (l->nnames == q->names_room) {
        q->names_room = q->names_room * 2 + 64;
        l->names = mem_resize_array(l->names, q->names_room, sizeof *l->names);
    }
    l->names[l->nnames++] = q->name;
}

static void add_row(struct reading *q, const struct listing_row *row)
{
    struct listing *l = q->to;

    if (l->n == q->room) {
        q->room = q->room * 2 + 64;
        l->rows = mem_resize_array(l->rows, q->room, sizeof *l->rows);
    }
    l->rows[l->n++] = *row;
}

static bool is_engine(const struct json *metadata)
{
    struct str type;

    return json_get_str(json_find_cstr(metadata, "type"), &type) && str_eq(type, STR("openai-api"));
}

/* The element's metadata, {} put where there is none that could be one. */
static const struct json *metadata_of(const struct reading *q, struct json *v)
{
    const struct json *metadata = json_find_cstr(v, "metadata");
    struct json *none;

    if (json_kind_of(metadata) == JSON_KIND_OBJECT)
        return metadata;
    if (metadata)
        ignore(q, "metadata", "must be an object");
    none = json_new_object();
    json_put(v, STR("metadata"), &none);
    return json_find_cstr(v, "metadata");
}

static bool read_row(struct reading *q, struct json *v)
{
    struct listing_row row = {.name = STR_NONE};

    if (!read_name(q, v))
        return false;
    add_name(q);
    row.name = q->name;
    q->metadata = metadata_of(q, v);
    if (q->kind == LISTING_REGISTRY && !is_engine(q->metadata))
        return true; /* a service of another kind: only that it is there is of interest */
    if (map_find(&q->names, q->name))
        return bad(q, "name", "was there before");
    if (!read_place(q, v, &row) || !read_metadata(q, v, &row))
        return false;
    if (q->kind == LISTING_REGISTRY)
        read_url(q, v, &row);
    else if (!read_health_url(q, v, &row))
        return false;
    read_weights(q, v, &row);
    if (q->kind == LISTING_FILE)
        look_for_odd_keys(q, v);
    (void)map_put(&q->names, q->name, v);
    add_row(q, &row);
    return true;
}

/* An element that is no good as a whole may still be known by its name: then it is not gone. */
static void find_name(struct reading *q, struct str bytes)
{
    static const struct jsonindex_key wanted[] = {
        {.name = "name", .text_bytes = LISTING_NAME_BYTES}};
    struct jsonindex ix;

    jsonindex_init(&ix, wanted, ARRAY_LEN(wanted));
    if (jsonindex_feed(&ix, bytes.p, bytes.n) < 0 || jsonindex_finish(&ix) < 0 ||
        !ix.fields[0].has_text)
        return;
    q->name = arena_str(&q->to->arena, ix.fields[0].text);
    add_name(q);
}

static bool read_element(struct reading *q, struct str bytes)
{
    struct json_error error;
    struct json *v = NULL;
    bool good;
    int r;

    if (bytes.p[0] != '{')
        return bad(q, NULL, "must be an object");
    r = json_read(bytes, NULL, &error, &v);
    if (r < 0) {
        find_name(q, bytes);
        return bad(q, r == -E_EXISTS ? error.key : NULL,
                   r == -E_EXISTS ? "is there twice" : error.reason);
    }
    good = read_row(q, v);
    json_unref(&v);
    return good;
}

/* ---- the elements ---- */

struct walk {
    struct reading *q;
    struct str bytes;
    size_t begin;
};

static int take_element(struct walk *w, size_t begin, size_t end)
{
    struct reading *q = w->q;

    q->name = STR_NONE;
    if (!read_element(q, str_span(w->bytes.p + begin, end - begin))) {
        if (q->kind == LISTING_FILE)
            return -E_CONF;
        q->to->skipped++;
    }
    q->element++;
    return JSONSCAN_GO;
}

static int on_walk(void *ctx, const struct jsonscan_event *e)
{
    struct walk *w = ctx;

    if (e->depth != 1)
        return JSONSCAN_GO;
    switch ((int)e->kind) {
    case JSONSCAN_OBJECT:
    case JSONSCAN_ARRAY:
        w->begin = e->begin;
        return JSONSCAN_SKIP;
    case JSONSCAN_STRING:
        return JSONSCAN_GO;
    case JSONSCAN_OBJECT_END:
    case JSONSCAN_ARRAY_END:
        return take_element(w, w->begin, e->end);
    default:
        return take_element(w, e->begin, e->end);
    }
}

int listing_read(struct str bytes, enum listing_kind kind, uint64_t seed, listing_note_fn *fn,
                 void *ctx, struct listing *ret)
{
    struct listing l = {.rows = NULL};
    struct reading q = {.kind = kind, .fn = fn, .ctx = ctx, .to = &l};
    struct walk w = {.q = &q};
    const char *reason;
    int r;

    r = bytes.n > LISTING_BYTES ? refuse(&q, "takes more than 64 MiB")
                                : find_list(&q, bytes, &w.bytes);
    if (r < 0)
        return r;
    arena_init(&l.arena, NULL);
    map_init(&q.names, seed);
    r = scan(w.bytes, on_walk, &w, &reason);
    map_fini(&q.names);
    l.elements = q.element;
    if (r < 0) {
        listing_fini(&l);
        return -E_CONF;
    }
    *ret = l;
    return 0;
}

void listing_fini(struct listing *l)
{
    mem_free(l->rows);
    mem_free(l->names);
    arena_clear(&l->arena);
    *l = (struct listing){.rows = NULL};
}

void listing_write_address(struct str host, uint16_t port, struct buf *out)
{
    static const char *const here[] = {"localhost", "127.0.0.1", "::1", "0.0.0.0"};

    host = without_brackets(host);
    for (size_t i = 0; i < ARRAY_LEN(here); i++)
        if (str_caseeq(host, str_of(here[i])))
            host = str_of(here[0]);
    for (size_t i = 0; i < host.n; i++)
        buf_char(out, host.p[i] >= 'A' && host.p[i] <= 'Z' ? (char)(host.p[i] + 32) : host.p[i]);
    buf_printf(out, ":%u", port);
}
