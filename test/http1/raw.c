/* SPDX-License-Identifier: Apache-2.0
 *
 * raw.c - see raw.h.
 */
#include "raw.h"

void raw_init(struct raw *r, struct buf *out, struct buf *upstream)
{
    *r = (struct raw){
        .limits = {.head_bytes = 32768, .request_line_bytes = 8192, .fields = 100},
        .bytes = buf_make(HTTP1_HEAD_BYTES_MAX),
        .body = buf_make(RAW_BODY_BYTES),
        .out = out,
        .upstream = upstream,
    };
    http1_init(&r->parser, false, &r->limits);
}

void raw_fini(struct raw *r)
{
    buf_fini(&r->bytes);
    buf_fini(&r->body);
}

void raw_escape(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '\\')
            buf_text(out, "\\\\");
        else if (c == '\r')
            buf_text(out, "\\r");
        else if (c == '\n')
            buf_text(out, "\\n");
        else if (c == '\t')
            buf_text(out, "\\t");
        else if (c < 0x20 || c >= 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_char(out, (char)c);
    }
}

static void refuse(struct raw *r, int status, const char *why)
{
    r->phase = RAW_REFUSED;
    r->status = status;
    r->why = why;
}

/* Path and query; empty for CONNECT. They need not be neighbours in the head: "http://host?x" is
 * "/?x". */
static void add_target(struct buf *out, const struct http1_head *h, const char *b)
{
    buf_add(out, http1_str(b, h->path));
    if (h->has_query) {
        buf_char(out, '?');
        buf_add(out, http1_str(b, h->query));
    }
}

/* A request as the gateway would write it: own Host, own framing, nothing hop-by-hop. */
static void serialise(struct raw *r)
{
    const struct http1_head *h = &r->head;
    const char *b = r->bytes.p;
    _cleanup_(buf_fini) struct buf target = buf_make(HTTP1_HEAD_BYTES_MAX);

    if (h->path.len == 0)
        return; /* CONNECT is never sent on */
    add_target(&target, h, b);
    http1_write_request_line(r->upstream, http1_str(b, h->method_name), buf_str(&target));
    http1_write_field(r->upstream, STR("host"), STR("upstream"));
    for (size_t i = 0; i < h->nfields; i++)
        if (!http1_is_hop_by_hop(h, b, &h->field[i]))
            http1_write_field(r->upstream, http1_str(b, h->field[i].name),
                              http1_str(b, h->field[i].value));
    if (r->body.n > 0)
        http1_write_length(r->upstream, r->body.n);
    http1_write_end(r->upstream);
    buf_add(r->upstream, buf_str(&r->body));
}

static void finish_request(struct raw *r)
{
    const struct http1_head *h = &r->head;
    const char *b = r->bytes.p;
    _cleanup_(buf_fini) struct buf target = buf_make(HTTP1_HEAD_BYTES_MAX);

    add_target(&target, h, b);
    buf_text(r->out, "up: ");
    raw_escape(r->out, http1_str(b, h->method_name));
    buf_text(r->out, target.n > 0 ? " " : "");
    raw_escape(r->out, buf_str(&target));
    buf_char(r->out, '\n');
    for (size_t i = 0; i < h->nfields; i++) {
        if (http1_is_hop_by_hop(h, b, &h->field[i]))
            continue;
        buf_text(r->out, "+ ");
        raw_escape(r->out, http1_str(b, h->field[i].name));
        buf_text(r->out, h->field[i].value.len > 0 ? ": " : ":");
        raw_escape(r->out, http1_str(b, h->field[i].value));
        buf_char(r->out, '\n');
    }
    if (r->body.n > 0) {
        buf_text(r->out, "body: ");
        raw_escape(r->out, buf_str(&r->body));
        buf_char(r->out, '\n');
    }
    if (r->upstream)
        serialise(r);
    if (r->on_request)
        r->on_request(r->ctx, http1_str(b, h->method_name), buf_str(&target), buf_str(&r->body));
    buf_clear(&r->bytes);
    buf_clear(&r->body);
    http1_init(&r->parser, false, &r->limits);
    r->phase = RAW_HEAD;
}

/* Each returns how many bytes it used; 0 only when there were none or the request was refused. */
static size_t feed_head(struct raw *r, const char *p, size_t n)
{
    size_t had = r->bytes.n, room = r->bytes.cap - had;
    long length;

    buf_bytes(&r->bytes, p, min_size(n, room));
    memset(&r->head, 0xa5, sizeof r->head); /* others parse into it between our calls */
    length = http1_parse(&r->parser, r->bytes.p, r->bytes.n, &r->head);
    if (length < 0) {
        refuse(r, r->parser.status, r->parser.why);
        return 0;
    }
    if (length == 0)
        return min_size(n, room);
    r->bytes.n = (size_t)length;
    r->left = r->head.framing == HTTP1_LENGTH ? r->head.content_length : 0;
    chunked_init(&r->chunks);
    r->phase = RAW_BODY;
    if (r->head.framing == HTTP1_NO_BODY)
        finish_request(r);
    return (size_t)length - had;
}

static size_t feed_body(struct raw *r, const char *p, size_t n)
{
    struct str data = {p, min_size(n, r->left)};
    long used = (long)data.n;
    bool done = r->left == data.n;

    if (r->head.framing == HTTP1_CHUNKED) {
        used = chunked_decode(&r->chunks, p, n, &data);
        done = chunked_done(&r->chunks);
        if (used < 0) {
            refuse(r, 400, r->chunks.why);
            return 0;
        }
    } else {
        r->left -= data.n;
    }
    buf_add(&r->body, data);
    if (buf_status(&r->body) < 0) {
        refuse(r, 413, "a body that is too large");
        return 0;
    }
    if (done)
        finish_request(r);
    return (size_t)used;
}

void raw_feed(struct raw *r, const char *p, size_t n)
{
    while (n > 0 && r->phase != RAW_REFUSED) {
        size_t used = r->phase == RAW_HEAD ? feed_head(r, p, n) : feed_body(r, p, n);

        CHECK(used <= n && (used > 0 || r->phase == RAW_REFUSED));
        p += used;
        n -= used;
    }
}

void raw_end(struct raw *r)
{
    if (r->phase == RAW_REFUSED)
        buf_printf(r->out, "codec: refuse %d\n", r->status);
    else if (r->phase == RAW_BODY || r->bytes.n > 0)
        buf_text(r->out, "codec: more\n");
    else
        buf_text(r->out, "codec: pass\n");
}
