/* SPDX-License-Identifier: Apache-2.0
 *
 * http1.c - the parser of HTTP/1.1 heads and what is asked of a parsed head. http1_write.c writes
 * them, http1_target.c takes targets apart.
 *
 * Byte-exact: each state scans forward from p->at and stops at the first byte that is not its own,
 * so what was looked at is not looked at again (only a CR waits for its LF) and the first offending
 * byte decides, however the bytes were cut. All verdicts rest on the parser's own words, never on
 * *head, which many parsers share; a head that came in pieces is known to be good before it is read
 * once more, in one call, to fill *head. The limits are walls the scanners cannot pass: a head that
 * has not ended where the wall stands is refused by it.
 *
 *     START -> METHOD -> TARGET [-> QUERY] -> VERSION -> FIELD <-> VALUE -> (complete)
 *     START -> STATUS -> [REASON] -> FIELD <-> VALUE -> (complete)
 *
 * A step returns NEXT (the state has changed), MORE (bytes are missing), END, or a negative code.
 * Framing is decided once, at the end, from fields noted as they came.
 */
#include "proto/http1_priv.h"

#include "proto/chars.h"

enum state {
    ST_START,   /* no byte seen; an empty line may come first */
    ST_METHOD,  /* a token up to a space */
    ST_TARGET,  /* up to '?' or a space; mark: its first byte */
    ST_QUERY,   /* behind the '?', up to a space */
    ST_VERSION, /* HTTP/1.x CRLF; mark: its first byte */
    ST_STATUS,  /* HTTP/1.x nnn; mark: its first byte */
    ST_REASON,  /* up to CRLF; mark: its first byte */
    ST_FIELD,   /* a name up to ':', or the empty line; line: its first byte */
    ST_VALUE,   /* up to CRLF; mark: behind the ':' */
    ST_REFUSED, /* err holds the verdict */
    ST_DONE,    /* the head is complete */
};

enum step { MORE = 0, NEXT = 1, END = 2 };

void http1_init(struct http1_parser *p, bool response, const struct http1_limits *limits)
{
    *p = (struct http1_parser){.limits = *limits, .response = response};
    if (p->limits.head_bytes > HTTP1_HEAD_BYTES_MAX)
        p->limits.head_bytes = HTTP1_HEAD_BYTES_MAX;
    if (p->limits.request_line_bytes > HTTP1_HEAD_BYTES_MAX)
        p->limits.request_line_bytes = HTTP1_HEAD_BYTES_MAX;
    if (p->limits.fields > HTTP1_FIELDS_MAX)
        p->limits.fields = HTTP1_FIELDS_MAX;
}

/* Refusals. */

static COLD int refuse_as(struct http1_parser *p, enum fault_code code, int status, const char *why)
{
    p->state = ST_REFUSED;
    p->code = p->response ? FAULT_bad_gateway : code;
    p->status = p->response ? 502 : status;
    p->why = why;
    p->err = code == FAULT_headers_too_large || code == FAULT_uri_too_long ? -E_LIMIT : -E_SYNTAX;
    return p->err;
}

static COLD int refuse(struct http1_parser *p, const char *why)
{
    return refuse_as(p, FAULT_bad_request, 400, why);
}

/* For a byte that ended a run where it may not: names the usual suspects, else says `otherwise`. */
static COLD int refuse_byte(struct http1_parser *p, char c, const char *otherwise)
{
    switch (c) {
    case '\n':
        return refuse(p, "a bare LF");
    case '\0':
        return refuse(p, "a NUL");
    default:
        return refuse(p, ((unsigned char)c < 0x20 && c != '\r' && c != '\t') || c == 0x7f
                             ? "a control character"
                             : otherwise);
    }
}

static COLD int refuse_limit(struct http1_parser *p, size_t wall)
{
    if (wall == p->limits.head_bytes)
        return refuse_as(p, FAULT_headers_too_large, 431, "a head that is too large");
    return refuse_as(p, FAULT_uri_too_long, 414, "a request line that is too long");
}

/* NEXT when CRLF stands at p->at, which then is behind it. */
static inline int crlf(struct http1_parser *p, const char *b, size_t end, const char *otherwise)
{
    if (p->at == end)
        return MORE;
    if (UNLIKELY(b[p->at] != '\r'))
        return refuse_byte(p, b[p->at], otherwise);
    if (p->at + 1 == end)
        return MORE;
    if (UNLIKELY(b[p->at + 1] != '\n'))
        return refuse(p, "a bare CR");
    p->at += 2;
    return NEXT;
}

static inline struct http1_span span_of(size_t from, size_t to)
{
    return (struct http1_span){(uint16_t)from, (uint16_t)(to - from)};
}

/* The first line. */

static int step_start(struct http1_parser *p, const char *b, size_t end, struct http1_head *h)
{
    if (p->at == end)
        return MORE;
    if (UNLIKELY(b[0] == '\r' &&
                 !p->response)) { /* RFC 9112 section 2.2: one empty line is ignored */
        int r = crlf(p, b, end, "");

        if (r != NEXT)
            return r;
    }
    memset(h, 0, offsetof(struct http1_head, field));
    h->response = p->response;
    p->line = p->mark = p->at;
    p->state = p->response ? ST_STATUS : ST_METHOD;
    return NEXT;
}

static enum http1_method method_of(const char *m, size_t n)
{
    for (enum http1_method i = HTTP1_GET; i <= HTTP1_TRACE; i++) {
        const char *name = http1_method_text(i);

        if (name[0] == m[0] && str_eq(str_span(m, n), str_of(name)))
            return i;
    }
    return HTTP1_METHOD_OTHER;
}

static int step_method(struct http1_parser *p, const char *b, size_t end, struct http1_head *h)
{
    size_t at = chars_run(b, p->at, end, CHARS_TOKEN);

    p->at = (uint32_t)at;
    if (at == end)
        return MORE;
    if (UNLIKELY(b[at] != ' '))
        return refuse_byte(p, b[at], "a method that is no token");
    if (UNLIKELY(at == p->line))
        return refuse(p, "no method");
    h->method_name = span_of(p->line, at);
    if (LIKELY(at - p->line == 4 && memcmp(b + p->line, "POST", 4) == 0))
        p->method = HTTP1_POST;
    else
        p->method = (uint8_t)method_of(b + p->line, at - p->line);
    p->target = p->at = (uint32_t)at + 1;
    p->state = ST_TARGET;
    return NEXT;
}

static int step_target(struct http1_parser *p, const char *b, size_t end)
{
    size_t at = chars_run(b, p->at, end, p->state == ST_QUERY ? CHARS_QUERY : CHARS_PATH);

    p->at = (uint32_t)at;
    if (at == end)
        return MORE;
    if (b[at] == '?') { /* ends the path only: it is of the query class */
        p->query = p->at++;
        p->state = ST_QUERY;
        return NEXT;
    }
    if (UNLIKELY(b[at] != ' '))
        return refuse_byte(p, b[at],
                           b[at] == '\r' ? "a request line without a version"
                                         : "a character that may not stand in a request target");
    if (UNLIKELY(at == p->target))
        return refuse(p, "no request target");
    p->mark = p->at = (uint32_t)at + 1;
    p->state = ST_VERSION;
    return NEXT;
}

/* Matches the bytes from p->mark on with `form`, where '0' stands for any digit. */
static int match_form(struct http1_parser *p, const char *b, size_t end, const char *form, size_t n)
{
    for (size_t i = p->at - p->mark; i < n; i++, p->at++) {
        if (p->at == end)
            return MORE;
        if (form[i] == '0' ? b[p->at] < '0' || b[p->at] > '9' : b[p->at] != form[i])
            return refuse_byte(
                p, b[p->at], p->response ? "a malformed status line" : "a malformed HTTP version");
    }
    return NEXT;
}

static int step_version(struct http1_parser *p, const char *b, size_t end, struct http1_head *h)
{
    const char *v = b + p->mark, *why;
    int r;

    if (LIKELY(end - p->mark >= 10 && memcmp(v, "HTTP/1.1\r\n", 10) == 0)) {
        p->at = p->mark + 10;
    } else {
        r = p->at - p->mark >= 8 ? NEXT : match_form(p, b, end, "HTTP/0.0", 8);
        if (r != NEXT)
            return r;
        if (v[5] != '1' || v[7] > '1')
            return refuse_as(p, FAULT_version_not_supported, 505,
                             "an HTTP version other than 1.0 and 1.1");
        r = crlf(p, b, end, "bytes behind the HTTP version");
        if (r != NEXT)
            return r;
    }
    h->minor = p->minor = (uint8_t)(v[7] - '0');
    h->method = (enum http1_method)p->method;
    h->target = span_of(p->target, p->mark - 1);
    why = http1_target_split(h, b, p->query);
    if (UNLIKELY(why))
        return refuse(p, why);
    p->line = p->at;
    p->state = ST_FIELD;
    return NEXT;
}

static int step_status(struct http1_parser *p, const char *b, size_t end, struct http1_head *h)
{
    const char *v = b + p->mark;
    int r = p->at - p->mark >= 12 ? NEXT : match_form(p, b, end, "HTTP/0.0 000", 12);

    if (r != NEXT)
        return r;
    if (v[5] != '1' || v[7] > '1')
        return refuse(p, "an HTTP version other than 1.0 and 1.1");
    if (v[9] == '0' || v[9] > '5') /* RFC 9110 section 15 */
        return refuse(p, "a status below 100 or above 599");
    if (p->at == end)
        return MORE;
    if (b[p->at] == ' ') /* servers that leave out the space behind the code exist */
        p->at++;
    else if (b[p->at] != '\r')
        return refuse_byte(p, b[p->at], "a malformed status line");
    h->minor = p->minor = (uint8_t)(v[7] - '0');
    h->status = (uint16_t)((v[9] - '0') * 100 + (v[10] - '0') * 10 + (v[11] - '0'));
    p->mark = p->at;
    p->state = ST_REASON;
    return NEXT;
}

static int step_reason(struct http1_parser *p, const char *b, size_t end, struct http1_head *h)
{
    size_t at = chars_value(b, p->at, end);
    int r;

    p->at = (uint32_t)at;
    r = crlf(p, b, end, "a character that may not stand in a reason phrase");
    if (r != NEXT)
        return r;
    h->reason = span_of(p->mark, at);
    p->line = p->at;
    p->state = ST_FIELD;
    return NEXT;
}

/* Fields. */

#define KNOWN_NAME(id, name) [HTTP1_##id] = name,
static const char known_name[HTTP1_FIELD_IDS][32] = {HTTP1_KNOWN_FIELDS(KNOWN_NAME)};

/* Length and first letter tell the known names apart; the compiler rejects two in one slot (which
 * is the time to look for another multiplier), and the unit test finds a row that is missing here.
 */
#define KNOWN_SLOT(length, first) (((length)*19U + (first)) & 127U)
static const uint8_t known_slot[128] = {
    [KNOWN_SLOT(2, 't')] = HTTP1_TE,
    [KNOWN_SLOT(4, 'd')] = HTTP1_DATE,
    [KNOWN_SLOT(4, 'h')] = HTTP1_HOST,
    [KNOWN_SLOT(6, 'a')] = HTTP1_ACCEPT,
    [KNOWN_SLOT(6, 'e')] = HTTP1_EXPECT,
    [KNOWN_SLOT(6, 'o')] = HTTP1_ORIGIN,
    [KNOWN_SLOT(6, 's')] = HTTP1_SERVER,
    [KNOWN_SLOT(7, 't')] = HTTP1_TRAILER,
    [KNOWN_SLOT(7, 'u')] = HTTP1_UPGRADE,
    [KNOWN_SLOT(8, 't')] = HTTP1_TRAILERS,
    [KNOWN_SLOT(9, 'f')] = HTTP1_FORWARDED,
    [KNOWN_SLOT(9, 'x')] = HTTP1_X_REAL_IP,
    [KNOWN_SLOT(10, 'c')] = HTTP1_CONNECTION,
    [KNOWN_SLOT(10, 'k')] = HTTP1_KEEP_ALIVE,
    [KNOWN_SLOT(10, 'u')] = HTTP1_USER_AGENT,
    [KNOWN_SLOT(11, 'r')] = HTTP1_RETRY_AFTER,
    [KNOWN_SLOT(12, 'c')] = HTTP1_CONTENT_TYPE,
    [KNOWN_SLOT(12, 'x')] = HTTP1_X_REQUEST_ID,
    [KNOWN_SLOT(13, 'a')] = HTTP1_AUTHORIZATION,
    [KNOWN_SLOT(14, 'c')] = HTTP1_CONTENT_LENGTH,
    [KNOWN_SLOT(15, 'a')] = HTTP1_ACCEPT_ENCODING,
    [KNOWN_SLOT(16, 'c')] = HTTP1_CONTENT_ENCODING,
    [KNOWN_SLOT(16, 'p')] = HTTP1_PROXY_CONNECTION,
    [KNOWN_SLOT(17, 't')] = HTTP1_TRANSFER_ENCODING,
    [KNOWN_SLOT(18, 'p')] = HTTP1_PROXY_AUTHENTICATE,
    [KNOWN_SLOT(19, 'p')] = HTTP1_PROXY_AUTHORIZATION,
    [KNOWN_SLOT(29, 'a')] = HTTP1_ACCESS_CONTROL_REQUEST_METHOD,
};

static inline uint8_t known_id(const char *name, size_t n)
{
    uint8_t id = known_slot[KNOWN_SLOT((unsigned)n, (unsigned)(name[0] | 0x20))];

    return id != HTTP1_OTHER && n < sizeof known_name[0] && known_name[id][n] == '\0' &&
                   chars_folded_eq(name, known_name[id], n)
               ? id
               : HTTP1_OTHER;
}

/* Cuts the next element of a comma list off *list, blanks removed; false when none is left. */
static bool list_next(struct str *list, struct str *element)
{
    while (list->n > 0) {
        *element = str_trim(str_cut(list, ','));
        if (element->n > 0)
            return true; /* empty elements are skipped, RFC 9110 section 5.6.1.2 */
    }
    return false;
}

static bool is_word(struct str s, const char *lower, size_t n)
{
    return s.n == n && chars_folded_eq(s.p, lower, n);
}
#define IS_WORD(s, literal) is_word(s, literal, sizeof(literal) - 1)

static int note_connection(struct http1_parser *p, struct http1_head *h, struct str list)
{
    struct str option;

    if (LIKELY(IS_WORD(list, "keep-alive"))) {
        p->persist = true;
        return NEXT;
    }
    while (list_next(&list, &option)) {
        if (IS_WORD(option, "close"))
            p->close = true;
        else if (IS_WORD(option, "keep-alive"))
            p->persist = true;
        else if (IS_WORD(option, "upgrade"))
            p->upgrade = true;
        else if (http1_is_token(option))
            h->connection_names = true;
        else
            return refuse(p, "a Connection option that is no token");
    }
    return NEXT;
}

static int note_length(struct http1_parser *p, struct http1_head *h, struct str value)
{
    uint64_t n;

    if (value.n > 20 || !str_u64(value, &n) || n > INT64_MAX)
        return refuse(p, "an invalid Content-Length");
    h->content_length = n;
    return NEXT;
}

/* RFC 9112 sections 6.1 and 6.3: a coding that we do not know is 501 when chunked ends the list,
 * since the message would be delimited; anything else is 400, since nobody knows where it ends. */
static COLD int refuse_coding(struct http1_parser *p, struct str list)
{
    struct str coding;
    unsigned chunked = 0, others = 0;
    bool last_chunked = false;

    while (list_next(&list, &coding)) {
        if (!http1_is_token(coding))
            return refuse(p, "a malformed Transfer-Encoding");
        last_chunked = IS_WORD(coding, "chunked");
        chunked += last_chunked;
        others += !last_chunked;
    }
    if (chunked == 1 && others > 0 && last_chunked)
        return refuse_as(p, FAULT_not_implemented, 501, "a transfer coding other than chunked");
    return refuse(p, "a Transfer-Encoding other than chunked");
}

/* A tab beside the value is a blank by RFC 9110, but not to every server: where a field frames or
 * routes the message, that is a disagreement to hide in. */
static bool beside_tab(const char *b, const struct http1_field *f)
{
    size_t from = (size_t)f->name.off + f->name.len + 1, to = (size_t)f->value.off + f->value.len;

    for (; from < f->value.off; from++)
        if (b[from] == '\t')
            return true;
    for (; b[to] != '\r'; to++)
        if (b[to] == '\t')
            return true;
    return false;
}

/* What a known field means to us, as it comes. */
static int note_known(struct http1_parser *p, const char *b, struct http1_head *h,
                      const struct http1_field *f)
{
    bool again = p->seen >> f->id & 1;
    struct str value = http1_str(b, f->value), host, port;

    p->seen |= 1U << f->id;
    if (!again)
        h->known[f->id] = (uint8_t)p->nfields;
    switch (f->id) {
    case HTTP1_HOST:
        if (p->response)
            return NEXT;
        if (again || beside_tab(b, f))
            return refuse(p, again ? "two Host fields" : "a tab beside the Host");
        return http1_target_authority(value, &host, &port) ? NEXT : refuse(p, "an invalid Host");
    case HTTP1_CONTENT_LENGTH:
        if (again || beside_tab(b, f))
            return refuse(p,
                          again ? "two Content-Length fields" : "a tab beside the Content-Length");
        return note_length(p, h, value);
    case HTTP1_TRANSFER_ENCODING:
        if (again || beside_tab(b, f))
            return refuse(p, again ? "two Transfer-Encoding fields"
                                   : "a tab beside the Transfer-Encoding");
        return IS_WORD(value, "chunked") ? NEXT : refuse_coding(p, value);
    case HTTP1_CONNECTION:
        return note_connection(p, h, value);
    case HTTP1_EXPECT: /* RFC 9110 section 10.1.1: HTTP/1.0 does not know it */
        if (p->response || p->minor == 0)
            return NEXT;
        if (again || !IS_WORD(value, "100-continue"))
            return refuse_as(p, FAULT_expectation_failed, 417,
                             "an expectation other than 100-continue");
        h->expect_continue = true;
        return NEXT;
    default:
        return NEXT;
    }
}

/* p->at stands on what ended a name that is no "name:". */
static int field_odd(struct http1_parser *p, const char *b, size_t end)
{
    char c = b[p->at];

    if (p->at != p->line) {
        if (c == ' ' || c == '\t')
            return refuse(p, "a blank in or behind a field name");
        return refuse_byte(p, c,
                           c == '\r' ? "a field line without a colon"
                                     : "a character that may not stand in a field name");
    }
    if (c == '\r') {
        int r = crlf(p, b, end, "");

        return r == NEXT ? END : r;
    }
    if (c == ' ' || c == '\t')
        return refuse(p, "a folded field line");
    return refuse_byte(
        p, c, c == ':' ? "an empty field name" : "a character that may not stand in a field name");
}

static inline int field_name(struct http1_parser *p, const char *b, size_t end)
{
    size_t at = chars_name(b, p->at, end, &p->underscore);

    p->at = (uint32_t)at;
    if (at == end)
        return MORE;
    if (UNLIKELY(b[at] != ':' || at == p->line))
        return field_odd(p, b, end);
    if (UNLIKELY(p->nfields >= p->limits.fields))
        return refuse_as(p, FAULT_headers_too_large, 431, "too many fields");
    p->mark = p->at = (uint32_t)at + 1;
    p->state = ST_VALUE;
    return NEXT;
}

static inline int field_value(struct http1_parser *p, const char *b, size_t end,
                              struct http1_head *h)
{
    size_t from = p->mark, to = chars_value(b, p->at, end);
    struct http1_field *f = &h->field[p->nfields];
    size_t name_end = from - 1, next;
    int r;

    p->at = (uint32_t)to;
    r = crlf(p, b, end, "a character that may not stand in a field value");
    if (UNLIKELY(r != NEXT))
        return r;
    next = p->at;
    if (UNLIKELY(to - p->line > HTTP1_FIELD_BYTES_MAX))
        return refuse_as(p, FAULT_headers_too_large, 431, "a field line that is too long");
    while (from < to && (b[from] == ' ' || b[from] == '\t'))
        from++;
    while (from < to && (b[to - 1] == ' ' || b[to - 1] == '\t'))
        to--;
    f->name = span_of(p->line, name_end);
    f->value = span_of(from, to);
    f->id = known_id(b + p->line, name_end - p->line);
    f->underscore = p->underscore;
    p->nfields++;
    if (f->id != HTTP1_OTHER) {
        r = note_known(p, b, h, f);
        if (UNLIKELY(r != NEXT))
            return r;
    }
    p->line = (uint32_t)next;
    p->underscore = false;
    p->state = ST_FIELD;
    return NEXT;
}

static HOT int step_fields(struct http1_parser *p, const char *b, size_t end, struct http1_head *h)
{
    int r = NEXT;

    for (;;) {
        if (p->state == ST_FIELD)
            r = field_name(p, b, end);
        if (r == NEXT)
            r = field_value(p, b, end, h);
        if (r != NEXT)
            return r;
    }
}

/* The end: what the fields mean together. */
static int finish(struct http1_parser *p, struct http1_head *h)
{
    bool coded = p->seen >> HTTP1_TRANSFER_ENCODING & 1;
    bool sized = p->seen >> HTTP1_CONTENT_LENGTH & 1, hosted = p->seen >> HTTP1_HOST & 1;

    if (UNLIKELY(coded && sized))
        return refuse(p, "both Content-Length and Transfer-Encoding");
    if (UNLIKELY(coded && p->minor == 0))
        return refuse(p, "Transfer-Encoding in HTTP/1.0");
    if (UNLIKELY(!p->response && p->minor == 1 && !hosted && !p->limits.host_optional))
        return refuse(p, "no Host");
    h->nfields = p->nfields;
    h->has_length = sized;
    if (coded)
        h->framing = HTTP1_CHUNKED;
    else if (sized)
        h->framing = h->content_length > 0 ? HTTP1_LENGTH : HTTP1_NO_BODY;
    else
        h->framing = p->response ? HTTP1_UNTIL_CLOSE : HTTP1_NO_BODY;
    h->keep_alive = !p->close && (p->minor == 1 || p->persist);
    h->upgrade = p->minor == 1 && p->upgrade && (p->seen >> HTTP1_UPGRADE & 1);
    p->state = ST_DONE;
    return END;
}

static inline int run(struct http1_parser *p, const char *b, size_t end, struct http1_head *h)
{
    switch ((enum state)p->state) {
    case ST_START:
        return step_start(p, b, end, h);
    case ST_METHOD:
        return step_method(p, b, end, h);
    case ST_TARGET:
    case ST_QUERY:
        return step_target(p, b, end);
    case ST_VERSION:
        return step_version(p, b, end, h);
    case ST_STATUS:
        return step_status(p, b, end, h);
    case ST_REASON:
        return step_reason(p, b, end, h);
    case ST_FIELD:
    case ST_VALUE:
        return step_fields(p, b, end, h);
    case ST_REFUSED:
        return p->err;
    case ST_DONE:
        break;
    }
    CHECK(p->state != ST_DONE); /* http1_init first */
    return -E_INVAL;
}

/* How far the current state may look. */
static size_t wall_of(const struct http1_parser *p)
{
    size_t wall = p->limits.head_bytes;

    if (!p->response && p->state < ST_FIELD) {
        size_t line = p->line + p->limits.request_line_bytes + sizeof "\r\n" - 1;

        wall = line < wall ? line : wall;
    }
    return wall;
}

/* END, or what http1_parse returns when the head is not complete. */
static int run_all(struct http1_parser *p, const char *bytes, size_t n, struct http1_head *head)
{
    for (;;) {
        size_t wall = wall_of(p);
        int r = run(p, bytes, min_size(n, wall), head);

        if (r == END)
            return finish(p, head);
        if (r == MORE && n >= wall)
            r = refuse_limit(p, wall);
        if (r <= 0)
            return r;
    }
}

/* Reads the whole of a head that is known to be good. */
static COLD void fill(const struct http1_parser *p, const char *bytes, struct http1_head *head)
{
    struct http1_parser again;

    http1_init(&again, p->response, &p->limits);
    CHECK(run_all(&again, bytes, p->at, head) == END && again.at == p->at);
}

long http1_parse(struct http1_parser *p, const char *bytes, size_t n, struct http1_head *head)
{
    int r;

    p->resumed |= p->state != ST_START;
    r = run_all(p, bytes, n, head);
    if (r != END)
        return r;
    if (UNLIKELY(p->resumed))
        fill(p, bytes, head);
    return (long)p->at;
}

/* What is asked of a parsed head. */

struct str http1_value(const struct http1_head *h, const char *bytes, enum http1_field_id id)
{
    return h->known[id] ? http1_str(bytes, h->field[h->known[id] - 1].value) : STR_NONE;
}

enum http1_framing http1_response_framing(const struct http1_head *h, enum http1_method asked)
{
    if (asked == HTTP1_HEAD || h->status < 200 || h->status == 204 || h->status == 304)
        return HTTP1_NO_BODY;
    return h->framing;
}

#define BIT(id) (UINT64_C(1) << HTTP1_##id)
static const uint64_t hop_by_hop = BIT(HOST) | BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING) |
                                   BIT(CONNECTION) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) |
                                   BIT(PROXY_AUTHENTICATE) | BIT(PROXY_AUTHORIZATION) | BIT(TE) |
                                   BIT(TRAILER) | BIT(TRAILERS) | BIT(UPGRADE) | BIT(EXPECT);
_Static_assert(HTTP1_FIELD_IDS <= 32, "http1_parser.seen is a 32-bit set");

static COLD bool named_by_connection(const struct http1_head *h, const char *bytes, struct str name)
{
    for (size_t i = h->known[HTTP1_CONNECTION] - 1U; i < h->nfields; i++) {
        struct str list = http1_str(bytes, h->field[i].value), option;

        if (h->field[i].id != HTTP1_CONNECTION)
            continue;
        while (list_next(&list, &option))
            if (str_caseeq(option, name))
                return true;
    }
    return false;
}

bool http1_is_hop_by_hop(const struct http1_head *h, const char *bytes, const struct http1_field *f)
{
    if (hop_by_hop >> f->id & 1)
        return true;
    return h->connection_names && named_by_connection(h, bytes, http1_str(bytes, f->name));
}

bool http1_is_value(struct str s)
{
    if (s.n == 0)
        return true;
    return s.p[0] != ' ' && s.p[0] != '\t' && s.p[s.n - 1] != ' ' && s.p[s.n - 1] != '\t' &&
           chars_value(s.p, 0, s.n) == s.n;
}

bool http1_is_token(struct str s) { return s.n > 0 && chars_run(s.p, 0, s.n, CHARS_TOKEN) == s.n; }

bool http1_is_target(struct str s)
{
    struct http1_head h = {.method = HTTP1_OPTIONS, .target = {0, (uint16_t)s.n}};
    size_t query = chars_run(s.p, 0, s.n, CHARS_PATH);

    if (s.n == 0 || s.n > HTTP1_HEAD_BYTES_MAX || query == 0)
        return false;
    if (query < s.n && (s.p[query] != '?' || chars_run(s.p, query, s.n, CHARS_QUERY) < s.n))
        return false;
    return http1_target_split(&h, s.p, query < s.n ? query : 0) == NULL;
}

const char *http1_method_text(enum http1_method m)
{
    static const char *const text[] = {
        [HTTP1_METHOD_OTHER] = "",   [HTTP1_GET] = "GET",     [HTTP1_HEAD] = "HEAD",
        [HTTP1_POST] = "POST",       [HTTP1_PUT] = "PUT",     [HTTP1_DELETE] = "DELETE",
        [HTTP1_OPTIONS] = "OPTIONS", [HTTP1_PATCH] = "PATCH", [HTTP1_CONNECT] = "CONNECT",
        [HTTP1_TRACE] = "TRACE",
    };

    return text[m];
}

/* RFC 9110 section 15, with 103 of RFC 8297 and 428, 429, 431 of RFC 6585. */
const char *http1_reason(unsigned status)
{
    static const char *const text[] = {
        [100 - 100] = "Continue",
        [101 - 100] = "Switching Protocols",
        [103 - 100] = "Early Hints",
        [200 - 100] = "OK",
        [201 - 100] = "Created",
        [202 - 100] = "Accepted",
        [203 - 100] = "Non-Authoritative Information",
        [204 - 100] = "No Content",
        [205 - 100] = "Reset Content",
        [206 - 100] = "Partial Content",
        [300 - 100] = "Multiple Choices",
        [301 - 100] = "Moved Permanently",
        [302 - 100] = "Found",
        [303 - 100] = "See Other",
        [304 - 100] = "Not Modified",
        [305 - 100] = "Use Proxy",
        [307 - 100] = "Temporary Redirect",
        [308 - 100] = "Permanent Redirect",
        [400 - 100] = "Bad Request",
        [401 - 100] = "Unauthorized",
        [402 - 100] = "Payment Required",
        [403 - 100] = "Forbidden",
        [404 - 100] = "Not Found",
        [405 - 100] = "Method Not Allowed",
        [406 - 100] = "Not Acceptable",
        [407 - 100] = "Proxy Authentication Required",
        [408 - 100] = "Request Timeout",
        [409 - 100] = "Conflict",
        [410 - 100] = "Gone",
        [411 - 100] = "Length Required",
        [412 - 100] = "Precondition Failed",
        [413 - 100] = "Content Too Large",
        [414 - 100] = "URI Too Long",
        [415 - 100] = "Unsupported Media Type",
        [416 - 100] = "Range Not Satisfiable",
        [417 - 100] = "Expectation Failed",
        [421 - 100] = "Misdirected Request",
        [422 - 100] = "Unprocessable Content",
        [426 - 100] = "Upgrade Required",
        [428 - 100] = "Precondition Required",
        [429 - 100] = "Too Many Requests",
        [431 - 100] = "Request Header Fields Too Large",
        [500 - 100] = "Internal Server Error",
        [501 - 100] = "Not Implemented",
        [502 - 100] = "Bad Gateway",
        [503 - 100] = "Service Unavailable",
        [504 - 100] = "Gateway Timeout",
        [505 - 100] = "HTTP Version Not Supported",
    };

    if (status < 100 || status - 100 >= ARRAY_LEN(text) || !text[status - 100])
        return "";
    return text[status - 100];
}
