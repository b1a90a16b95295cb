/* SPDX-License-Identifier: Apache-2.0
 *
 * heads.c - see heads.h. An accepted head is read a second time here, line by line and without the
 * parser's tables and states: what both agree on is what a peer with another parser will see.
 */
#include "heads.h"

#include <strings.h>

const struct http1_limits heads_limits = {
    .head_bytes = 32768, .request_line_bytes = 8192, .fields = 100};

#define NAME_OF(id, name) [HTTP1_##id] = name,
static const char *const known_names[] = {HTTP1_KNOWN_FIELDS(NAME_OF)};

static struct heads_verdict verdict_of(const struct http1_parser *p, long length)
{
    CHECK(length >= 0 || length == -E_SYNTAX || length == -E_LIMIT);
    return length < 0 ? (struct heads_verdict){length, p->status, p->code, p->why}
                      : (struct heads_verdict){.length = length};
}

struct heads_verdict heads_parse(bool response, struct str bytes, const struct http1_limits *limits,
                                 struct http1_head *head)
{
    struct http1_parser p;
    long length;

    http1_init(&p, response, limits);
    length = http1_parse(&p, bytes.p, bytes.n, head);
    CHECK(length <= (long)bytes.n);
    return verdict_of(&p, length);
}

void heads_same_verdict(struct heads_verdict a, struct heads_verdict b)
{
    CHECK(a.length == b.length);
    CHECK(a.status == b.status);
    CHECK(a.code == b.code);
    CHECK(a.why == b.why);
}

static void same_head(const struct http1_head *a, const struct http1_head *b)
{
    CHECK(memcmp(a, b, offsetof(struct http1_head, field)) == 0); /* both were zeroed before */
    CHECK(memcmp(a->field, b->field, a->nfields * sizeof a->field[0]) == 0);
}

/* Byte by byte into one head with another parser that gets it in two pieces, as connections share
 * it. */
static void check_bytewise(bool response, struct fuzz_room *room, struct str s, size_t cut,
                           struct heads_verdict whole, const struct http1_head *want)
{
    static struct http1_head shared;
    struct http1_parser single, pieces;
    size_t end = s.n;
    long r = 0;

    http1_init(&single, response, &heads_limits);
    http1_init(&pieces, response, &heads_limits);
    for (size_t i = 1; i <= s.n && r == 0; i++) {
        fuzz_fence(room, i);
        r = http1_parse(&single, s.p, i, &shared);
        end = i;
        if (r == 0 && i == cut)
            CHECK(http1_parse(&pieces, s.p, i, &shared) == 0); /* as the other one said */
    }
    heads_same_verdict(verdict_of(&single, r), whole);
    CHECK(r <= 0 || (size_t)r == end);
    if (r > 0)
        same_head(&shared, want);
    if (r < 0) /* it stays refused */
        CHECK(http1_parse(&single, s.p, end, &shared) == r);
    fuzz_fence(room, s.n);
    heads_same_verdict(verdict_of(&pieces, http1_parse(&pieces, s.p, s.n, &shared)), whole);
    if (whole.length > 0)
        same_head(&shared, want);
}

/* In two pieces: each says what the whole says as soon as it says anything. */
static void check_cut(bool response, struct fuzz_room *room, struct str s, size_t cut,
                      struct heads_verdict whole, const struct http1_head *want)
{
    static struct http1_head head;
    struct http1_parser p;
    long r;

    http1_init(&p, response, &heads_limits);
    fuzz_fence(room, cut);
    r = http1_parse(&p, s.p, cut, &head);
    fuzz_fence(room, s.n);
    CHECK(r <= (long)cut && (r == 0 || r == whole.length));
    if (r == 0)
        r = http1_parse(&p, s.p, s.n, &head);
    heads_same_verdict(verdict_of(&p, r), whole);
    if (r > 0)
        same_head(&head, want);
}

/* Each limit is exact: what just fits passes, one less is refused, by the status that it has. */
static void check_limits(bool response, struct str head, const struct http1_head *h)
{
    static struct http1_head ignored;
    struct http1_limits tight = heads_limits;
    size_t line = h->target.off + h->target.len + sizeof " HTTP/1.1" - 1 - h->method_name.off;
    struct heads_verdict v;

    CHECK(head.n <= heads_limits.head_bytes && h->nfields <= heads_limits.fields);
    tight.head_bytes = (uint32_t)head.n;
    tight.fields = h->nfields;
    if (!response)
        tight.request_line_bytes = (uint32_t)line;
    CHECK(heads_parse(response, head, &tight, &ignored).length == (long)head.n);
    tight.head_bytes--;
    v = heads_parse(response, head, &tight, &ignored);
    CHECK(v.length == -E_LIMIT && v.status == (response ? 502 : 431));
    tight.head_bytes++;
    if (h->nfields > 0) {
        tight.fields--;
        v = heads_parse(response, head, &tight, &ignored);
        CHECK(v.length == -E_LIMIT && v.status == (response ? 502 : 431));
        tight.fields++;
    }
    if (!response) {
        CHECK(line <= heads_limits.request_line_bytes);
        tight.request_line_bytes--;
        v = heads_parse(response, head, &tight, &ignored);
        CHECK(v.length == -E_LIMIT && v.status == 414);
    }
}

/* The second reading. */

static struct str next_line(struct str *rest)
{
    struct str line = str_cut(rest, '\n');

    CHECK(line.n > 0 && line.p[line.n - 1] == '\r');
    line.n--;
    for (size_t i = 0; i < line.n; i++)
        CHECK(((uint8_t)line.p[i] >= 0x20 || line.p[i] == '\t') && line.p[i] != 0x7f);
    return line;
}

static bool named(struct str name, const char *want) { return str_caseeq(name, str_of(want)); }

static enum http1_field_id id_of(struct str name)
{
    for (enum http1_field_id id = HTTP1_OTHER + 1; id < HTTP1_FIELD_IDS; id++)
        if (named(name, known_names[id]))
            return id;
    return HTTP1_OTHER;
}

/* True when a Connection field of the head lists the word. */
static bool connection_lists(const struct http1_head *h, const char *b, struct str word)
{
    for (size_t i = 0; i < h->nfields; i++) {
        struct str list = http1_str(b, h->field[i].value);

        if (!named(http1_str(b, h->field[i].name), "connection"))
            continue;
        while (list.n > 0)
            if (str_caseeq(str_trim(str_cut(&list, ',')), word))
                return true;
    }
    return false;
}

static unsigned count_id(const struct http1_head *h, enum http1_field_id id)
{
    unsigned n = 0;

    for (size_t i = 0; i < h->nfields; i++)
        n += h->field[i].id == id;
    return n;
}

static void check_field(const struct http1_head *h, const char *b, size_t i, struct str line)
{
    const struct http1_field *f = &h->field[i];
    struct str value = line, name = str_cut(&value, ':');
    bool first = true, underscore = str_find(name, '_') < name.n;

    value = str_trim(value);
    CHECK(name.n + 1 < line.n + 1 && line.n <= HTTP1_FIELD_BYTES_MAX && http1_is_token(name));
    CHECK(http1_str(b, f->name).p == name.p && f->name.len == name.n);
    CHECK(str_eq(http1_str(b, f->value), value) && http1_is_value(value));
    CHECK(f->id == id_of(name) && f->underscore == underscore);
    for (size_t j = 0; j < i; j++)
        first &= h->field[j].id != f->id;
    if (first && f->id != HTTP1_OTHER)
        CHECK(h->known[f->id] == i + 1 && str_eq(http1_value(h, b, f->id), value));
}

static void check_meaning(const struct http1_head *h, const char *b)
{
    unsigned lengths = count_id(h, HTTP1_CONTENT_LENGTH);
    unsigned codings = count_id(h, HTTP1_TRANSFER_ENCODING);
    bool keep = connection_lists(h, b, STR("keep-alive"));
    uint64_t n = 0;

    for (enum http1_field_id id = 1; id < HTTP1_FIELD_IDS; id++)
        CHECK((h->known[id] == 0) == (count_id(h, id) == 0));
    CHECK(lengths + codings <= 1 && h->has_length == (lengths == 1));
    CHECK((h->framing == HTTP1_CHUNKED) == (codings == 1));
    if (codings)
        CHECK(named(http1_value(h, b, HTTP1_TRANSFER_ENCODING), "chunked") && h->minor == 1);
    if (lengths) {
        CHECK(str_u64(http1_value(h, b, HTTP1_CONTENT_LENGTH), &n) && n == h->content_length);
        CHECK(h->framing == (n > 0 ? HTTP1_LENGTH : HTTP1_NO_BODY));
    } else if (!codings) {
        CHECK(h->framing == (h->response ? HTTP1_UNTIL_CLOSE : HTTP1_NO_BODY));
    }
    CHECK(h->keep_alive == (!connection_lists(h, b, STR("close")) && (h->minor == 1 || keep)));
    CHECK(h->upgrade == (h->minor == 1 && count_id(h, HTTP1_UPGRADE) > 0 &&
                         connection_lists(h, b, STR("upgrade"))));
}

/* RFC 9110 section 7.6.1, and what the writer sets by itself. */
static void check_hop_by_hop(const struct http1_head *h, const char *b, size_t i)
{
    static const char *const hop[] = {
        "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
        "te",         "trailer",    "trailers",         "transfer-encoding",  "upgrade",
        "host",       "expect",     "content-length"};
    struct str name = http1_str(b, h->field[i].name);
    bool want = connection_lists(h, b, name);

    for (size_t k = 0; k < ARRAY_LEN(hop); k++)
        want |= named(name, hop[k]);
    CHECK(http1_is_hop_by_hop(h, b, &h->field[i]) == want);
}

static void check_second_reading(const struct http1_head *h, struct str head)
{
    struct str rest = head;

    if (!h->response && head.p[0] == '\r')
        CHECK(next_line(&rest).n == 0);
    (void)next_line(&rest); /* the targets look at it */
    for (size_t i = 0; i < h->nfields; i++) {
        check_field(h, head.p, i, next_line(&rest));
        check_hop_by_hop(h, head.p, i);
    }
    CHECK(next_line(&rest).n == 0 && rest.n == 0);
    check_meaning(h, head.p);
}

bool heads_check(bool response, struct fuzz_room *room, struct str s, struct http1_head *head)
{
    struct heads_verdict whole = heads_parse(response, s, &heads_limits, head);
    uint64_t hash = fuzz_hash(s);
    size_t cut = hash % (s.n + 1);
    struct str first;

    CHECK(whole.length == 0 ||
          (whole.length > 0) != (whole.why != NULL && whole.status >= 400 && whole.status < 600));
    check_cut(response, room, s, cut, whole, head);
    if (fuzz_turn(&hash, 8))
        check_bytewise(response, room, s, cut, whole, head);
    if (whole.length <= 0)
        return false;
    first = str_head(s, (size_t)whole.length);
    CHECK(head->response == response && head->minor <= 1);
    if (fuzz_turn(&hash, 8))
        check_limits(response, first, head);
    if (fuzz_turn(&hash, 2))
        check_second_reading(head, first);
    return true;
}

/* Passing on. */

void heads_write_fields(const struct http1_head *h, const char *b, struct buf *out)
{
    for (size_t i = 0; i < h->nfields; i++)
        if (!http1_is_hop_by_hop(h, b, &h->field[i]))
            http1_write_field(out, http1_str(b, h->field[i].name), http1_str(b, h->field[i].value));
    if (h->framing == HTTP1_CHUNKED)
        http1_write_chunked(out);
    else if (h->framing == HTTP1_LENGTH || (h->response && h->framing == HTTP1_NO_BODY))
        http1_write_length(out, h->content_length);
    http1_write_end(out);
    CHECK(buf_status(out) == 0);
}

bool heads_reread(const struct http1_head *h, const char *b, struct str written,
                  struct http1_head *again)
{
    static const struct http1_limits wide = {.head_bytes = HTTP1_HEAD_BYTES_MAX,
                                             .request_line_bytes = HTTP1_HEAD_BYTES_MAX,
                                             .fields = HTTP1_FIELDS_MAX};
    struct heads_verdict v = heads_parse(h->response, written, &wide, again);
    size_t longest = 0, at = 0;

    for (size_t i = 0; i < h->nfields; i++)
        longest = max_size(longest, h->field[i].name.len + 2U + h->field[i].value.len);
    if (longest > HTTP1_FIELD_BYTES_MAX && v.length < 0)
        return false;
    CHECK(v.length == (long)written.n);
    CHECK(again->framing == h->framing && again->minor == 1);
    CHECK(h->framing != HTTP1_LENGTH || again->content_length == h->content_length);
    for (size_t i = 0; i < again->nfields; i++) {
        const struct http1_field *f = &again->field[i];

        if (f->id == HTTP1_HOST || f->id == HTTP1_CONTENT_LENGTH ||
            f->id == HTTP1_TRANSFER_ENCODING)
            continue;
        while (at < h->nfields && http1_is_hop_by_hop(h, b, &h->field[at]))
            at++;
        CHECK(at < h->nfields);
        CHECK(str_eq(http1_str(written.p, f->name), http1_str(b, h->field[at].name)));
        CHECK(str_eq(http1_str(written.p, f->value), http1_str(b, h->field[at].value)));
        CHECK(!http1_is_hop_by_hop(again, written.p, f));
        at++;
    }
    while (at < h->nfields)
        CHECK(http1_is_hop_by_hop(h, b, &h->field[at++]));
    return true;
}
