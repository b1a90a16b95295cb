/* SPDX-License-Identifier: Apache-2.0
 *
 * enrol_record.c - see enrol_record.h.
 */
#include "role/enrol_record.h"

enum {
    RECORD_DEPTH = 4,        /* levels around a model in a record */
    RECORD_BYTES = 64 << 20, /* escaped, models and metadata do not take more */
};

static void put_str(struct json *object, const char *key, struct str text)
{
    struct json *v = json_new_str(text);

    json_put(object, str_of(key), &v);
}

static void put(struct json *object, const char *key, struct json *v)
{
    json_put(object, str_of(key), &v);
}

/* Takes *metadata. */
static void fill(struct enrol_record *r, const struct babysitter_conf *c, unsigned port,
                 struct json **metadata)
{
    bool ip6 = str_find(c->host, ':') < c->host.n;
    struct buf *b = &r->memory;
    size_t url;

    *r = (struct enrol_record){.memory = buf_make(RECORD_BYTES)};
    json_write(*metadata, b);
    json_unref(metadata);
    url = b->n;
    buf_printf(b, ip6 ? "http://[%.*s]:%u" : "http://%.*s:%u", STR_ARGS(c->host), port);
    CHECK(buf_status(b) == 0);
    r->fields = (struct registrar_record){
        .host = c->host,
        .hostname = c->host,
        .url = str_from(buf_str(b), url),
        .port = (uint16_t)port,
        .metadata = str_head(buf_str(b), url),
        .weight = -1,
    };
}

void enrol_record_fini(struct enrol_record *r) { buf_fini(&r->memory); }

void enrol_record_own(const struct babysitter_conf *c, struct enrol_record *ret)
{
    struct json *metadata = json_new_object();

    put_str(metadata, "babysitter", STR("enhanced"));
    put_str(metadata, "type", str_of(c->type));
    fill(ret, c, c->port + 1U, &metadata);
}

static struct json *ids_of(const struct json *models)
{
    struct json *ids = json_new_array();

    for (size_t i = 0; i < json_count(models); i++) {
        struct str id = STR("");
        struct json *v;

        (void)json_get_str(json_find_cstr(json_at(models, i), "id"), &id);
        v = json_new_str(id);
        json_push(ids, &v);
    }
    return ids;
}

/* Parsed once before: it was written by conf/reader.c. NULL would be a bug there. */
static struct json *read_metadata(const struct babysitter_conf *c)
{
    struct json *overlay = NULL;

    CHECK(json_read(c->metadata, NULL, NULL, &overlay) == 0);
    return overlay;
}

static void overlay_metadata(const struct babysitter_conf *c, struct json *metadata)
{
    struct json *overlay = read_metadata(c), *v;
    struct str key;

    for (void *it = NULL; json_next(overlay, &it, &key, &v);) {
        struct json *copy = json_ref(v);

        json_put(metadata, key, &copy);
    }
    json_unref(&overlay);
}

void enrol_record_engine(const struct babysitter_conf *c, const struct json *models,
                         struct enrol_record *ret)
{
    struct json *metadata = json_new_object();
    bool weighs = c->weight != OPTION_UNSET_U32;

    put_str(metadata, "type", STR("openai-api"));
    put_str(metadata, "parent_service", c->name);
    put_str(metadata, "babysitter", STR("enhanced"));
    put(metadata, "models", ids_of(models));
    put(metadata, "models_list", json_ref(models));
    overlay_metadata(c, metadata);
    if (weighs)
        put(metadata, "weight", json_new_i64(c->weight));
    fill(ret, c, c->port, &metadata);
    if (weighs)
        ret->fields.weight = c->weight;
}

static void push_model(struct json *list, struct str id)
{
    struct json *model = json_new_object();

    put_str(model, "id", id);
    put_str(model, "object", STR("model"));
    json_push(list, &model);
}

struct json *enrol_record_models(const struct babysitter_conf *c)
{
    struct json *list = json_new_array(), *overlay;
    const struct json *named;
    struct str id;

    for (size_t i = 0; i < c->models.n; i++)
        push_model(list, c->models.at[i]);
    overlay = read_metadata(c);
    named = json_find_cstr(overlay, "models");
    for (size_t i = 0; c->models.n == 0 && i < json_count(named); i++)
        if (json_get_str(json_at(named, i), &id))
            push_model(list, id);
    json_unref(&overlay);
    if (json_count(list) == 0)
        json_unref(&list);
    return list;
}

int enrol_record_read_models(struct str answer, struct json **ret)
{
    struct json_limits limits = JSON_LIMITS;
    struct json *whole, *list;

    limits.scan.depth -= RECORD_DEPTH;
    if (json_read(answer, &limits, NULL, &whole) < 0)
        return -E_SYNTAX;
    list = json_ref(json_kind_of(whole) == JSON_KIND_ARRAY ? whole : json_find_cstr(whole, "data"));
    json_unref(&whole);
    if (json_kind_of(list) == JSON_KIND_ARRAY && json_count(list) > 0) {
        *ret = list;
        return 0;
    }
    json_unref(&list);
    return -E_SYNTAX;
}
