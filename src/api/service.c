/* SPDX-License-Identifier: Apache-2.0
 *
 * service.c - the bodies that the fabric's clients read: who is there, how each of them is, how
 * many are healthy. Compact JSON with sorted keys. Who they are is the caller's: engines, or rows
 * of the router's table.
 */
#include "api/api_priv.h"

/* Verdicts in the fabric's words. */
static const char *const probed_words[] = {
    [CELL_NO_WORD] = "unknown", [CELL_GOOD] = "good",  [CELL_COMING] = "bad",
    [CELL_BAD] = "bad",         [CELL_CLOSED] = "bad",
};
static const char *const traffic_words[] = {
    [CELL_DOOR_CLOSED] = "closed",       [CELL_DOOR_OPEN] = "open",       [CELL_DOOR_DEAD] = "open",
    [CELL_DOOR_HALF_OPEN] = "half-open", [CELL_DOOR_TRIAL] = "half-open",
};

void service_put_names(struct jsonw *w, const struct str *names, uint32_t n)
{
    jsonw_begin_array(w);
    for (uint32_t i = 0; i < n; i++)
        jsonw_str(w, names[i]);
    jsonw_end_array(w);
}

/* An empty text is told as null. */
static void put_text(struct jsonw *w, const char *key, struct str text)
{
    jsonw_key(w, key);
    if (text.n > 0)
        jsonw_str(w, text);
    else
        jsonw_null(w);
}

static void put_number(struct jsonw *w, const char *key, uint64_t v)
{
    jsonw_key(w, key);
    jsonw_u64(w, v);
}

static void put_word(struct jsonw *w, const char *key, const char *word)
{
    jsonw_key(w, key);
    jsonw_cstr(w, word);
}

static void put_last_check(struct jsonw *w, uint64_t checked_s)
{
    jsonw_key(w, "last_check");
    if (checked_s)
        jsonw_u64(w, checked_s);
    else
        jsonw_null(w);
}

void service_put(struct jsonw *w, const struct service *s)
{
    const struct cell *c = s->cell;

    jsonw_begin_object(w);
    put_text(w, "babysitter_url", s->babysitter_url);
    put_number(w, "error_count", atomic_load(&c->errors));
    jsonw_key(w, "healthy");
    jsonw_bool(w, s->healthy);
    put_text(w, "host", s->host);
    put_number(w, "in_flight", cell_load(c));
    put_last_check(w, atomic_load(&c->checked_s));
    put_word(w, "listed", s->listed);
    jsonw_key(w, "metadata");
    s->put_metadata(w, s->metadata);
    jsonw_key(w, "models");
    service_put_names(w, s->models, s->nmodels);
    put_text(w, "name", s->name);
    put_word(w, "origin", s->origin);
    put_number(w, "port", s->port);
    put_word(w, "probed", probed_words[cell_says(c, CELL_PROBED)]);
    put_number(w, "request_count", s->requests);
    jsonw_key(w, "response_time");
    jsonw_double(w, (double)atomic_load(&c->response_us) / 1e6);
    put_word(w, "traffic", traffic_words[atomic_load(&c->door)]);
    put_text(w, "url", s->url);
    put_number(w, "weight", s->weight);
    jsonw_end_object(w);
}

static void put_all(struct jsonw *w, const struct services *s)
{
    put_text(w, "registry_url", s->q->registry_url);
    jsonw_key(w, "services");
    jsonw_begin_array(w);
    s->put(w, s->q);
    jsonw_end_array(w);
}

void service_health(const struct services *s, struct buf *out)
{
    struct jsonw w = jsonw_make(out);
    char text[24];
    struct buf ratio = buf_on(text, sizeof text);

    buf_printf(&ratio, "%u/%u", s->healthy, s->n);
    jsonw_begin_object(&w);
    put_text(&w, "healthy_services", buf_str(&ratio));
    put_word(&w, "message", s->healthy ? NULL : "No healthy services available");
    put_text(&w, "registry_url", s->q->registry_url);
    put_word(&w, "router", "running");
    put_word(&w, "status", s->healthy ? "healthy" : "running");
    put_number(&w, "timestamp", s->q->wall_s);
    jsonw_end_object(&w);
}

void service_list(const struct services *s, struct buf *out)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    put_all(&w, s);
    put_number(&w, "total", s->n);
    jsonw_end_object(&w);
}

void service_stats(const struct services *s, struct buf *out)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    put_number(&w, "healthy_services", s->healthy);
    put_all(&w, s);
    put_number(&w, "total_services", s->n);
    jsonw_end_object(&w);
}
