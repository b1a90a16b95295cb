/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_answer.c - the words of the good answer, the JSON around them, and the judge. The judgement
 * takes nothing for granted: an answer is good only if it repeats the request's mark and says
 * everything once and in order, an event stream only if [DONE] ends it and no error stands in it.
 */
#include "role/chaos_answer.h"

#include <stdio.h>

#include "base/json.h"
#include "base/jsonw.h"
#include "proto/sse.h"
#include "role/chaos_process.h"

#define AS_WORDS(id, truthful_, words_) [CHAOS_##id] = {words_, truthful_},
static const struct {
    const char *words;
    bool truthful;
} outcomes[] = {CHAOS_OUTCOMES(AS_WORDS)};

const char *chaos_answer_words(enum chaos_outcome o) { return outcomes[o].words; }

bool chaos_answer_truthful(enum chaos_outcome o) { return outcomes[o].truthful; }

/* ---- the good answer ---- */

/* The pieces of what is said; the mark stands in the middle. */
static const char *const words[CHAOS_EVENTS_N] = {"alpha",   "bravo", NULL,
                                                  "charlie", "delta", "echo"};

void chaos_answer_mark(uint64_t mark, char to[CHAOS_MARK_BYTES])
{
    (void)snprintf(to, CHAOS_MARK_BYTES, "mark-%06llu", (unsigned long long)mark % 1000000);
}

static struct str piece(unsigned i, const char *mark) { return str_of(words[i] ? words[i] : mark); }

bool chaos_answer_said(struct str body, uint64_t mark)
{
    char text[CHAOS_MARK_BYTES];
    struct str first;

    if (str_find_str(body, STR(CHAOS_PROCESS_NAME)) < body.n)
        return true; /* a process knows no marks */
    chaos_answer_mark(mark, text);
    for (unsigned i = 0; i < CHAOS_EVENTS_N; i++) {
        size_t at = str_find_str(body, piece(i, text));

        if (at == body.n)
            return false;
        body = str_from(body, at + 1);
        if (i > 0)
            continue;
        first = body;
        if (str_find_str(first, piece(0, text)) != first.n)
            return false; /* begun twice */
    }
    return true;
}

static void write_choice(struct jsonw *w, const char *key, struct str said, bool ended)
{
    jsonw_key(w, "choices");
    jsonw_begin_array(w);
    jsonw_begin_object(w);
    if (!ended) {
        jsonw_key(w, key);
        jsonw_begin_object(w);
        jsonw_key(w, "content");
        jsonw_str(w, said);
        jsonw_end_object(w);
    }
    jsonw_key(w, "finish_reason");
    jsonw_cstr(w, ended ? "stop" : NULL);
    jsonw_key(w, "index");
    jsonw_u64(w, 0);
    if (ended) {
        jsonw_key(w, key);
        jsonw_begin_object(w);
        jsonw_key(w, "content");
        jsonw_str(w, said);
        jsonw_key(w, "role");
        jsonw_cstr(w, "assistant");
        jsonw_end_object(w);
    }
    jsonw_end_object(w);
    jsonw_end_array(w);
}

static void write_document(struct buf *out, const char *object, const char *key, struct str said,
                           bool ended)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    write_choice(&w, key, said, ended);
    jsonw_key(&w, "created");
    jsonw_u64(&w, 1);
    jsonw_key(&w, "id");
    jsonw_cstr(&w, "chatcmpl-1");
    jsonw_key(&w, "model");
    jsonw_cstr(&w, "chaos");
    jsonw_key(&w, "object");
    jsonw_cstr(&w, object);
    if (ended) {
        jsonw_key(&w, "usage");
        jsonw_begin_object(&w);
        jsonw_key(&w, "completion_tokens");
        jsonw_u64(&w, CHAOS_EVENTS_N);
        jsonw_key(&w, "prompt_tokens");
        jsonw_u64(&w, 1);
        jsonw_key(&w, "total_tokens");
        jsonw_u64(&w, CHAOS_EVENTS_N + 1);
        jsonw_end_object(&w);
    }
    jsonw_end_object(&w);
}

void chaos_answer_whole(uint64_t mark, struct buf *out)
{
    char text[CHAOS_MARK_BYTES], memory[128];
    struct buf said = buf_on(memory, sizeof(memory));

    chaos_answer_mark(mark, text);
    for (unsigned i = 0; i < CHAOS_EVENTS_N; i++) {
        buf_add(&said, piece(i, text));
        buf_char(&said, ' ');
    }
    write_document(out, "chat.completion", "message", buf_str(&said), true);
}

void chaos_answer_event(uint64_t mark, unsigned i, struct buf *out)
{
    char text[CHAOS_MARK_BYTES];

    chaos_answer_mark(mark, text);
    buf_text(out, "data: ");
    write_document(out, "chat.completion.chunk", "delta", piece(i, text), false);
    buf_text(out, "\n\n");
}

/* ---- the judgement ---- */

static void copy(struct str s, char *to, size_t size)
{
    s = str_head(s, size - 1);
    if (s.n)
        memcpy(to, s.p, s.n);
    to[s.n] = '\0';
}

/* {"error":{"code":..,"message":"..","type":".."}}: fills reply.code. `param` may be missing: an
 * engine's own object is an engine's affair. */
static bool read_error(struct str text, struct chaos_reply *reply)
{
    struct json *document = NULL;
    struct json *error;
    struct str message, code = STR_NONE;
    bool good;

    if (json_read(text, NULL, NULL, &document) < 0)
        return false;
    error = json_find_cstr(document, "error");
    good = json_get_str(json_find_cstr(error, "message"), &message) && message.n > 0 &&
           json_kind_of(json_find_cstr(error, "type")) == JSON_KIND_STRING;
    if (good && json_get_str(json_find_cstr(error, "code"), &code))
        copy(code, reply->code, sizeof(reply->code));
    json_unref(&document);
    return good;
}

/* Looks through the events for the ends that they claim. */
static void read_ends(struct str answer, struct chaos_reply *reply, unsigned *done, unsigned *error,
                      bool *last_is_end)
{
    struct sse_parser sse;
    size_t used;

    sse_init(&sse);
    *done = *error = 0;
    *last_is_end = false;
    while (sse_next(&sse, answer.p, answer.n, &used) == SSE_EVENT) {
        struct str event = str_head(answer, used), line;
        bool is_done = false, is_error = false;

        for (size_t at = 0; sse_data_line(event, &at, &line);) {
            is_done = is_done || str_eq(line, STR("[DONE]"));
            is_error = is_error || (str_starts(line, STR("{")) && read_error(line, reply));
        }
        *done += is_done;
        *error += is_error;
        *last_is_end = is_done || is_error;
        answer = str_from(answer, used);
    }
    if (answer.n > 0)
        *last_is_end = false;
}

static enum chaos_outcome judge_stream(const struct chaos_seen *a, struct chaos_reply *reply)
{
    struct str answer = a->answer;
    bool clean = a->clean;
    unsigned done, error;
    bool last_is_end;

    read_ends(answer, reply, &done, &error, &last_is_end);
    if (done + error > 1 || (done + error == 1 && !last_is_end))
        return CHAOS_LIE;
    if (error)
        return clean ? CHAOS_EVENT_ENDED : CHAOS_EVENT;
    if (done && !chaos_answer_said(answer, a->mark))
        return CHAOS_LIE;
    if (done)
        return clean ? CHAOS_GOOD : CHAOS_UNENDED;
    if (!clean)
        return CHAOS_CUT;
    return chaos_answer_said(answer, a->mark) ? CHAOS_AS_SAID : CHAOS_LIE; /* without [DONE] */
}

enum chaos_outcome chaos_answer_judge(const struct chaos_seen *a, struct chaos_reply *reply)
{
    if (reply->status == 0)
        return CHAOS_NOTHING;
    if (reply->status >= 400) {
        if (!a->clean || !read_error(a->answer, reply))
            return CHAOS_BARE;
        return str_starts(str_of(reply->code), STR("engine_")) ? CHAOS_OWN : CHAOS_ERROR;
    }
    if (a->event_stream)
        return judge_stream(a, reply);
    if (!a->clean)
        return CHAOS_CUT;
    return !a->asked_stream && chaos_answer_said(a->answer, a->mark) ? CHAOS_GOOD : CHAOS_AS_SAID;
}
