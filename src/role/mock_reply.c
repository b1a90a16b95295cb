/* SPDX-License-Identifier: Apache-2.0
 *
 * mock_reply.c - the mock's sentences and the JSON around them, keys in ascending order as
 * everywhere. Streams are three slices an event: what stands before the character, the character,
 * what stands behind it; only the middle one changes.
 */
#include "role/mock_reply.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/jsonw.h"

enum {
    SENTENCE_BYTES = 4096, /* names are at most 256 bytes each */
    EMBEDDING_NUMBERS = 8, /* 4 bytes of the digest each */
    EMBEDDING_INPUTS_MAX = 2048,
    PROMPT_TOKENS = 10,
    COMPLETION_TOKENS = 5,
};

/* The length of the UTF-8 character at the front; a byte that begins none stands alone. */
static size_t character(struct str s)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;

    return min_size(n, s.n);
}

static struct str escaped(struct str s, struct arena *arena)
{
    struct buf out = buf_make(6 * SENTENCE_BYTES);
    struct str kept;

    jsonw_escape(&out, s);
    kept = arena_str(arena, buf_str(&out));
    buf_fini(&out);
    return kept;
}

/* A piece for each character. */
static void cut_in_pieces(struct mock_model *m, struct str rest, struct arena *arena)
{
    m->piece = arena_alloc(arena, rest.n * sizeof(*m->piece));
    while (rest.n > 0) {
        size_t n = character(rest);

        m->piece[m->pieces++] = escaped(str_head(rest, n), arena);
        rest = str_from(rest, n);
    }
}

void mock_reply_model(struct mock_model *m, struct str name, struct str id, unsigned repeat,
                      struct arena *arena)
{
    struct str sentence =
        arena_printf(arena, "Hello from %.*s (model: %.*s)", STR_ARGS(name), STR_ARGS(id));
    struct str once = escaped(sentence, arena);
    char *said = arena_alloc(arena, once.n * repeat + 1);

    *m = (struct mock_model){.id = id, .said = {said, once.n * repeat}};
    for (unsigned i = 0; i < repeat; i++)
        memcpy(said + i * once.n, once.p, once.n);
    cut_in_pieces(m, sentence, arena);
    m->total = (uint64_t)m->pieces * repeat;
}

static const struct {
    const char *id, *whole, *event;
} names[] = {
    [MOCK_CHAT] = {"chatcmpl-", "chat.completion", "chat.completion.chunk"},
    [MOCK_COMPLETION] = {"cmpl-", "text_completion", "text_completion"},
};

/* "created", "id", "model", "object": what every reply has behind its choices. */
static void put_common(const struct mock_model *m, const char *id, const char *object, uint64_t n,
                       uint64_t created, struct buf *out)
{
    buf_text(out, "],\"created\":");
    buf_u64(out, created);
    buf_text(out, ",\"id\":\"");
    buf_text(out, id);
    buf_u64(out, n);
    buf_text(out, "\",\"model\":\"");
    jsonw_escape(out, m->id);
    buf_text(out, "\",\"object\":\"");
    buf_text(out, object);
    buf_char(out, '"');
}

void mock_reply_whole(const struct mock_model *m, enum mock_dialect dialect, uint64_t n,
                      uint64_t created, struct buf *out)
{
    buf_text(out, "{\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,");
    buf_text(out, dialect == MOCK_CHAT ? "\"message\":{\"content\":\"" : "\"text\":\"");
    buf_add(out, m->said);
    buf_text(out, dialect == MOCK_CHAT ? "\",\"role\":\"assistant\"}}" : "\"}");
    put_common(m, names[dialect].id, names[dialect].whole, n, created, out);
    buf_printf(out,
               ",\"usage\":{\"completion_tokens\":%d,\"prompt_tokens\":%d,\"total_tokens\":%d}}",
               COMPLETION_TOKENS, PROMPT_TOKENS, COMPLETION_TOKENS + PROMPT_TOKENS);
}

void mock_reply_frame(const struct mock_model *m, enum mock_dialect dialect, uint64_t n,
                      uint64_t created, struct arena *arena, struct str *ret_before,
                      struct str *ret_behind)
{
    char memory[2048];
    struct buf out = buf_on(memory, sizeof(memory));

    if (dialect == MOCK_CHAT)
        buf_text(&out, "\"},\"finish_reason\":null,\"index\":0}");
    else
        buf_text(&out, "\"}");
    put_common(m, names[dialect].id, names[dialect].event, n, created, &out);
    buf_text(&out, "}\n\n");
    CHECK(buf_status(&out) == 0); /* model names are bounded */
    *ret_behind = arena_str(arena, buf_str(&out));
    *ret_before = dialect == MOCK_CHAT
                      ? STR("data: {\"choices\":[{\"delta\":{\"content\":\"")
                      : STR("data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"text\":\"");
}

/* Eight numbers of [-1, 1) made from the digest of what was asked. */
static void put_embedding(struct jsonw *w, struct str input, size_t index)
{
    uint8_t digest[DIGEST_BYTES];

    digest_sha256(input, digest);
    jsonw_begin_object(w);
    jsonw_key(w, "embedding");
    jsonw_begin_array(w);
    for (unsigned i = 0; i < EMBEDDING_NUMBERS; i++) {
        const uint8_t *b = digest + (size_t)i * 4;
        uint32_t v = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];

        jsonw_double(w, v / 2147483648.0 - 1.0);
    }
    jsonw_end_array(w);
    jsonw_key(w, "index");
    jsonw_u64(w, index);
    jsonw_key(w, "object");
    jsonw_cstr(w, "embedding");
    jsonw_end_object(w);
}

/* A string stands for itself, anything else (token ids) for its JSON. */
static void put_input(struct jsonw *w, const struct json *input, size_t index)
{
    struct buf text = buf_make(SIZE_MAX);
    struct str s;

    if (!json_get_str(input, &s)) {
        json_write(input, &text);
        s = buf_str(&text);
    }
    put_embedding(w, s, index);
    buf_fini(&text);
}

/* A list of texts or of lists of token ids; otherwise one text or one such list. */
static bool is_many(const struct json *input)
{
    enum json_kind first = json_kind_of(json_at(input, 0));

    return first == JSON_KIND_STRING || first == JSON_KIND_ARRAY;
}

static size_t count_inputs(const struct json *input)
{
    if (is_many(input))
        return json_count(input);
    return json_kind_of(input) == JSON_KIND_STRING || json_count(input) > 0 ? 1 : 0;
}

int mock_reply_embeddings(struct str body, struct str model, struct buf *out, struct buf *problem)
{
    _cleanup_(json_cleanup) struct json *document = NULL;
    struct jsonw w = jsonw_make(out);
    const struct json *input;
    size_t n;

    if (json_read(body, NULL, NULL, &document) < 0) {
        buf_text(problem, "the body is not JSON");
        return -E_SYNTAX;
    }
    input = json_find_cstr(document, "input");
    n = count_inputs(input);
    if (n == 0 || n > EMBEDDING_INPUTS_MAX) {
        buf_printf(problem, "input must be a text, token ids, or 1 to %d of them",
                   EMBEDDING_INPUTS_MAX);
        return -E_SYNTAX;
    }
    jsonw_begin_object(&w);
    jsonw_key(&w, "data");
    jsonw_begin_array(&w);
    for (size_t i = 0; i < n; i++)
        put_input(&w, is_many(input) ? json_at(input, i) : input, i);
    jsonw_end_array(&w);
    jsonw_key(&w, "model");
    jsonw_str(&w, model);
    jsonw_key(&w, "object");
    jsonw_cstr(&w, "list");
    jsonw_key(&w, "usage");
    jsonw_raw(&w, STR("{\"prompt_tokens\":10,\"total_tokens\":10}"));
    jsonw_end_object(&w);
    return 0;
}

void mock_reply_list(const struct mock_model *models, size_t n, uint64_t created, struct jsonw *w)
{
    jsonw_begin_array(w);
    for (size_t i = 0; i < n; i++) {
        jsonw_begin_object(w);
        jsonw_key(w, "created");
        jsonw_u64(w, created);
        jsonw_key(w, "id");
        jsonw_str(w, models[i].id);
        jsonw_key(w, "object");
        jsonw_cstr(w, "model");
        jsonw_end_object(w);
    }
    jsonw_end_array(w);
}

void mock_reply_models(const struct mock_model *models, size_t n, uint64_t created, struct buf *out)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    jsonw_key(&w, "data");
    mock_reply_list(models, n, created, &w);
    jsonw_key(&w, "object");
    jsonw_cstr(&w, "list");
    jsonw_end_object(&w);
}

void mock_reply_error(struct str message, struct str code, struct str type, struct buf *out)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    jsonw_key(&w, "error");
    jsonw_begin_object(&w);
    jsonw_key(&w, "code");
    jsonw_str(&w, code);
    jsonw_key(&w, "message");
    jsonw_str(&w, message);
    jsonw_key(&w, "param");
    jsonw_null(&w);
    jsonw_key(&w, "type");
    jsonw_str(&w, type);
    jsonw_end_object(&w);
    jsonw_end_object(&w);
}
