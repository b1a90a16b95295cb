/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_http1.c - any bytes as a request head. Asserted: every cut gives the same verdict and the
 * same head; an accepted head reads the same without the parser's tables; limits are exact; what is
 * written from it is accepted again, with the same method, target, fields and body length and
 * nothing hop-by-hop; and what may stand as a token, a value, a target or an authority is the same
 * alone as in a head.
 *
 * Covers: src/proto/http1.c src/proto/http1_target.c src/proto/http1_write.c src/proto/chars.h
 */
#include <stdio.h>

#include "heads.h"

enum { PART_BYTES = 512 };

static struct fuzz_room room;

/* METHOD SP TARGET SP HTTP/1.x, from the second reading's point of view. */
static void check_line(const struct http1_head *h, struct str s)
{
    struct str rest = str_from(s, s.p[0] == '\r' ? 2 : 0), line = str_cut(&rest, '\r');
    struct str method = str_cut(&line, ' '), target = str_cut(&line, ' '), path = target, query;

    CHECK(http1_is_token(method) && method.p == s.p + h->method_name.off);
    CHECK(method.n == h->method_name.len && target.n == h->target.len);
    CHECK(target.p == s.p + h->target.off);
    CHECK(str_eq(line, h->minor ? STR("HTTP/1.1") : STR("HTTP/1.0")));
    CHECK(h->method == HTTP1_METHOD_OTHER || str_eq(method, str_of(http1_method_text(h->method))));
    query = target;
    path = str_cut(&query, '?');
    CHECK(h->has_query == (query.p != NULL) && str_eq(query, http1_str(s.p, h->query)));
    if (h->method == HTTP1_CONNECT) {
        CHECK(h->path.len == 0 && str_eq(http1_str(s.p, h->authority), target));
        return;
    }
    CHECK(http1_is_target(target));
    if (path.p[0] == '/') {
        CHECK(str_eq(path, http1_str(s.p, h->path)) && h->authority.len == 0);
    } else if (target.n == 1) {
        CHECK(target.p[0] == '*' && h->method == HTTP1_OPTIONS);
    } else {
        struct str authority = str_from(path, 7);

        path = str_from(authority, str_find(authority, '/'));
        authority.n -= path.n;
        CHECK(str_eq(authority, http1_str(s.p, h->authority)) && authority.n > 0);
        CHECK(str_eq(path.n ? path : STR("/"), http1_str(s.p, h->path)));
    }
}

/* An authority taken apart, put together again, and taken apart the same. */
static void check_authority(struct str s)
{
    char text[300];
    struct str host = STR_NONE, port = STR_NONE, host_again, port_again;

    if (!http1_target_authority(s, &host, &port)) {
        CHECK(!host.p && !port.p);
        return;
    }
    CHECK(host.n > 0 && str_find(host, '@') == host.n && str_find(host, '%') == host.n);
    for (size_t i = 0; i < port.n; i++)
        CHECK(port.p[i] >= '0' && port.p[i] <= '9');
    CHECK(port.n <= 5);
    if (host.n > 255)
        return;
    snprintf(text, sizeof text, s.p[0] == '[' ? "[%.*s]:%.*s" : "%.*s:%.*s", STR_ARGS(host),
             STR_ARGS(port));
    CHECK(http1_target_authority(str_of(text), &host_again, &port_again));
    CHECK(str_eq(host, host_again) && str_eq(port, port_again));
}

/* Written as for an upstream, then read. */
static void check_passed_on(const struct http1_head *h, const char *b)
{
    static char memory[HEADS_OUT_BYTES], target_memory[HTTP1_HEAD_BYTES_MAX];
    static struct http1_head again;
    struct buf out = buf_on(memory, sizeof memory);
    struct buf target = buf_on(target_memory, sizeof target_memory);

    if (h->path.len == 0)
        return; /* CONNECT is never sent on */
    buf_add(&target, http1_str(b, h->path));
    if (h->has_query)
        buf_char(&target, '?');
    buf_add(&target, http1_str(b, h->query));
    http1_write_request_line(&out, http1_str(b, h->method_name), buf_str(&target));
    http1_write_field(&out, STR("host"), STR("upstream:80"));
    heads_write_fields(h, b, &out);
    if (!heads_reread(h, b, buf_str(&out), &again))
        return;
    CHECK(str_eq(http1_str(out.p, again.method_name), http1_str(b, h->method_name)));
    CHECK(again.method == h->method && str_eq(http1_str(out.p, again.target), buf_str(&target)));
    CHECK(str_eq(http1_str(out.p, again.path), http1_str(b, h->path)));
    CHECK(again.authority.len == 0 && again.known[HTTP1_HOST] == 1);
    CHECK(!again.upgrade && again.keep_alive && !again.expect_continue);
}

/* The head "before S behind" is accepted; then *head holds it. */
static bool accepted(struct http1_head *head, char *text, const char *before, struct str s,
                     const char *behind)
{
    static const struct http1_limits limits = {
        .head_bytes = 4096, .request_line_bytes = 2048, .fields = 4};
    struct buf out = buf_on(text, 2 * PART_BYTES);

    buf_text(&out, before);
    buf_add(&out, s);
    buf_text(&out, behind);
    return heads_parse(false, buf_str(&out), &limits, head).length == (long)out.n;
}

/* The whole input as one part of a head. */
static void check_parts(struct str s)
{
    static const char host[] = " HTTP/1.1\r\nhost: a\r\n";
    static struct http1_head h;
    char text[2 * PART_BYTES], end[64];
    bool in_head;

    snprintf(end, sizeof end, "%s\r\n", host);
    in_head = accepted(&h, text, "OPTIONS ", s, end);
    CHECK(http1_is_target(s) == (in_head && h.target.len == s.n));
    snprintf(end, sizeof end, " /%s\r\n", host);
    in_head = accepted(&h, text, "M", s, end); /* CONNECT wants another target */
    CHECK(http1_is_token(s) == (in_head && h.method_name.len == s.n + 1 && s.n > 0));
    in_head = accepted(&h, text, "GET / HTTP/1.1\r\nhost: a\r\nx: ", s, "\r\n\r\n");
    CHECK(http1_is_value(s) == (in_head && h.nfields == 2 && h.field[1].value.len == s.n));
    in_head = accepted(&h, text, "GET / HTTP/1.1\r\nx: a\r\nhost: ", s, "\r\n\r\n");
    check_authority(s);
    if (in_head && h.nfields == 2)
        check_authority(http1_value(&h, text, HTTP1_HOST));
}

/* Where Host may be missing, nothing else changes. */
static void check_host_optional(struct str s)
{
    static struct http1_head head;
    struct http1_limits optional = heads_limits;
    struct heads_verdict v = heads_parse(false, s, &heads_limits, &head);

    optional.host_optional = true;
    if (v.length < 0 && strcmp(v.why, "no Host") == 0)
        CHECK(heads_parse(false, s, &optional, &head).length > 0 && !head.known[HTTP1_HOST] &&
              head.minor == 1);
    else
        heads_same_verdict(heads_parse(false, s, &optional, &head), v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http1_head head;
    uint64_t hash;
    struct str s;

    if (size > FUZZ_BYTES)
        return 0;
    s = fuzz_fill(&room, data, size);
    hash = ~fuzz_hash(s);
    if (heads_check(false, &room, s, &head)) {
        CHECK(head.known[HTTP1_HOST] || head.minor == 0);
        check_line(&head, s);
        check_authority(http1_str(s.p, head.authority));
        if (fuzz_turn(&hash, 2))
            check_passed_on(&head, s.p);
    }
    if (fuzz_turn(&hash, 8))
        check_host_optional(s);
    if (size <= PART_BYTES && fuzz_turn(&hash, 8))
        check_parts(s);
    return 0;
}
