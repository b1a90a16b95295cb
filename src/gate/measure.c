/* SPDX-License-Identifier: Apache-2.0
 *
 * measure.c - see measure.h. What an event means follows from how deep it stands: 1 the key's own
 * value, 2 a message or an item of a prompt, 3 a message's keys and values or an item's tokens, 4 a
 * part of a message's content, 5 a part's keys and values.
 */
#include "gate/measure.h"

static bool is_container(const struct jsonscan_event *e)
{
    return e->kind == JSONSCAN_OBJECT || e->kind == JSONSCAN_ARRAY;
}

/* Of what has no use. */
static int pass_over(const struct jsonscan_event *e)
{
    return is_container(e) ? JSONSCAN_SKIP : JSONSCAN_GO;
}

static void take_text(struct measure *m, enum measure_key key, struct str text)
{
    if (!m->in_key) {
        m->of[key].bytes += text.n; /* only what counts is asked for */
        return;
    }
    for (size_t i = 0; i < text.n && m->name_n < sizeof m->name; i++)
        m->name[m->name_n++] = text.p[i];
}

static bool name_is(const struct measure *m, struct str name)
{
    return str_eq(str_span(m->name, m->name_n), name);
}

static int on_messages(struct measure *m, const struct jsonscan_event *e)
{
    bool content = name_is(m, STR("content"));

    switch (e->depth) {
    case 1:
        return e->kind == JSONSCAN_ARRAY ? JSONSCAN_GO : pass_over(e);
    case 2:
    case 4:
        return e->kind == JSONSCAN_OBJECT ? JSONSCAN_GO : pass_over(e);
    case 3:
        if (content && e->kind == JSONSCAN_ARRAY)
            return JSONSCAN_GO;
        break;
    default:
        content = content || name_is(m, STR("text"));
        break;
    }
    return content && e->kind == JSONSCAN_STRING ? JSONSCAN_WANT_TEXT : pass_over(e);
}

static int on_prompt(struct measure *m, const struct jsonscan_event *e)
{
    if (e->depth <= 2 && e->kind == JSONSCAN_STRING)
        return JSONSCAN_WANT_TEXT;
    if (e->depth <= 2 && e->kind == JSONSCAN_ARRAY)
        return JSONSCAN_GO;
    if (e->depth >= 2 && e->kind == JSONSCAN_NUMBER)
        m->of[MEASURE_PROMPT].bytes += MEASURE_TOKEN_BYTES;
    else
        m->of[MEASURE_PROMPT].odd = true;
    return pass_over(e);
}

/* A value begins. */
static int on_value(struct measure *m, enum measure_key key, const struct jsonscan_event *e)
{
    if (e->depth == 1) {
        m->of[key].there = e->kind != JSONSCAN_NULL;
        m->of[key].odd = e->kind != JSONSCAN_ARRAY && key == MEASURE_MESSAGES;
        if (!m->of[key].there)
            return JSONSCAN_GO;
    }
    return key == MEASURE_MESSAGES ? on_messages(m, e) : on_prompt(m, e);
}

int measure_event(struct measure *m, enum measure_key key, const struct jsonscan_event *e)
{
    switch (e->kind) {
    case JSONSCAN_KEY:
        m->in_key = true;
        m->name_n = 0;
        return JSONSCAN_WANT_TEXT;
    case JSONSCAN_KEY_END:
        m->in_key = false;
        return JSONSCAN_GO;
    case JSONSCAN_TEXT:
        take_text(m, key, e->text);
        return JSONSCAN_GO;
    case JSONSCAN_STRING_END:
    case JSONSCAN_OBJECT_END:
    case JSONSCAN_ARRAY_END:
        return JSONSCAN_GO;
    case JSONSCAN_OBJECT:
    case JSONSCAN_ARRAY:
    case JSONSCAN_STRING:
    case JSONSCAN_NUMBER:
    case JSONSCAN_TRUE:
    case JSONSCAN_FALSE:
    case JSONSCAN_NULL:
        return on_value(m, key, e);
    }
    CHECK(false); /* no other event */
}

bool measure_size(const struct measure *m, uint64_t *ret)
{
    bool messages = m->of[MEASURE_MESSAGES].there, prompt = m->of[MEASURE_PROMPT].there;
    enum measure_key key = messages && !m->of[MEASURE_MESSAGES].odd ? MEASURE_MESSAGES
                           : prompt || !messages                    ? MEASURE_PROMPT
                                                                    : MEASURE_MESSAGES;

    *ret = m->of[key].bytes;
    return !m->of[key].odd;
}
