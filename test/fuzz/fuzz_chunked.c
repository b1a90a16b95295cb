/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_chunked.c - any bytes as a chunked body, beside a second decoder that reads the grammar of
 * RFC 9112 section 7.1 by descent and cannot be resumed. Asserted: the same verdict, at the same
 * byte, and the same body, whole, cut and byte by byte; limits are exact (the sums may begin near
 * their bound, so that small inputs reach it); what is encoded anew decodes to the same.
 *
 * Covers: src/proto/chunked.c
 */
#include "base/buf.h"
#include "fuzz.h"
#include "proto/chunked.h"

static struct fuzz_room room;

/* What the sums hold before the first byte. */
struct start {
    uint32_t trailer;
    uint64_t overhead;
};

struct outcome {
    int err;     /* 0, -E_SYNTAX, -E_LIMIT */
    bool done;   /* the body has ended */
    size_t used; /* bytes of it, or before the flaw */
    struct str body;
};

/* The second decoder. */

struct second {
    struct str in;
    struct outcome out;
    struct start sums;
    uint32_t extension;
    enum { PLAIN, EXTENSION, TRAILER } counts;
    char *body;
};

/* The next byte, counted; -1 when there is none or it is one too many. */
static int next(struct second *s)
{
    char c;

    if (s->out.used == s->in.n)
        return -1;
    c = s->in.p[s->out.used];
    if (s->counts == EXTENSION && c != '\r' && ++s->extension > CHUNKED_EXTENSION_BYTES)
        s->out.err = -E_LIMIT;
    else if (s->counts == TRAILER && ++s->sums.trailer > CHUNKED_TRAILER_BYTES)
        s->out.err = -E_LIMIT;
    else if ((s->counts == TRAILER || (s->counts == EXTENSION && c != '\r')) &&
             ++s->sums.overhead > CHUNKED_OVERHEAD_BYTES)
        s->out.err = -E_LIMIT;
    if (s->out.err)
        return -1;
    s->out.used++;
    return (uint8_t)c;
}

/* False; c is what should have been something else. */
static bool flaw(struct second *s, int c)
{
    if (c >= 0) {
        s->out.err = -E_SYNTAX;
        s->out.used--;
    }
    return false;
}

static bool want(struct second *s, int what)
{
    int c = next(s);

    return c == what || flaw(s, c);
}

static bool is_token(int c) { return c > 0x20 && c < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", c); }

static bool is_text(int c) { return c == '\t' || (c >= 0x20 && c != 0x7f); }

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Extensions, the first of which began with c; up to the CR, which is taken. */
static bool extensions(struct second *s, int c)
{
    while (c == ';') {
        if (!is_token(c = next(s)))
            return flaw(s, c);
        while (is_token(c = next(s)))
            ;
        if (c != '=')
            continue;
        if ((c = next(s)) == '"') {
            while ((c = next(s)) != '"') {
                if (c == '\\')
                    c = next(s);
                if (!is_text(c))
                    return flaw(s, c);
            }
            c = next(s);
        } else {
            if (!is_token(c))
                return flaw(s, c);
            while (is_token(c = next(s)))
                ;
        }
    }
    return c == '\r' || flaw(s, c);
}

static bool size_line(struct second *s, uint64_t *ret)
{
    uint64_t size = 0;
    int c, digits = 0;

    s->counts = PLAIN;
    s->extension = 0;
    while (hex_value(c = next(s)) >= 0) {
        if (++digits > CHUNKED_SIZE_DIGITS)
            return flaw(s, c);
        size = size * 16 + (unsigned)hex_value(c);
    }
    if (digits == 0 || (c != '\r' && c != ';'))
        return flaw(s, c);
    if (c == ';') { /* counted as the first byte of the extensions */
        s->out.used--;
        s->counts = EXTENSION;
        c = next(s);
    }
    *ret = size;
    if (c < 0 || !extensions(s, c))
        return false;
    s->counts = PLAIN;
    return want(s, '\n');
}

static bool trailers(struct second *s)
{
    s->counts = TRAILER;
    for (;;) {
        int c = next(s);

        if (c == '\r')
            return want(s, '\n');
        if (!is_token(c))
            return flaw(s, c);
        while (is_token(c = next(s)))
            ;
        if (c != ':')
            return flaw(s, c);
        while (is_text(c = next(s)))
            ;
        if (c != '\r')
            return flaw(s, c);
        if (!want(s, '\n'))
            return false;
    }
}

static struct outcome second_decode(struct str in, struct start start, char *body)
{
    struct second s = {.in = in, .sums = start, .body = body};
    uint64_t size;

    s.out.body = str_span(body, 0);
    while (size_line(&s, &size)) {
        size_t have = min_size(size, in.n - s.out.used);

        s.counts = PLAIN;
        if (size == 0) {
            s.out.done = trailers(&s);
            break;
        }
        memcpy(body + s.out.body.n, in.p + s.out.used, have);
        s.out.body.n += have;
        s.out.used += have;
        if (have < size || !want(&s, '\r') || !want(&s, '\n'))
            break;
    }
    return s.out;
}

/* The decoder itself, in pieces of `step` bytes, the first of `first`. */
static struct outcome decode(struct str in, struct start start, size_t first, size_t step,
                             char *body)
{
    struct outcome o = {.body = str_span(body, 0)};
    struct chunked_decoder d;

    chunked_init(&d);
    d.trailer = start.trailer;
    d.overhead = start.overhead;
    for (size_t end = min_size(first, in.n); !o.done; end = min_size(end + step, in.n)) {
        fuzz_fence(&room, end);
        while (o.used < end && !chunked_done(&d)) {
            const char *p = in.p + o.used;
            struct str data = {"?", 1};
            long used = chunked_decode(&d, p, end - o.used, &data);

            if (used < 0) {
                CHECK(d.why && data.n == 0 && !chunked_done(&d));
                CHECK(chunked_decode(&d, p, end - o.used, &data) == used); /* it stays so */
                o.err = (int)used;
                return o;
            }
            CHECK(used > 0 && o.used + (size_t)used <= end);
            CHECK(data.n == 0 || (data.p >= p && data.p + data.n <= p + used));
            memcpy(body + o.body.n, data.n ? data.p : body, data.n);
            o.body.n += data.n;
            o.used += (size_t)used;
        }
        o.done = chunked_done(&d);
        if (end == in.n)
            break;
    }
    if (o.done) { /* uses nothing behind the end */
        struct str data;

        CHECK(chunked_decode(&d, in.p + o.used, in.n - o.used, &data) == 0 && data.n == 0);
    }
    return o;
}

static void same(struct outcome got, struct outcome want, bool exact)
{
    CHECK(got.err == want.err && got.done == want.done);
    if (exact || got.err == 0) {
        CHECK(got.used == want.used && str_eq(got.body, want.body));
    } else { /* what stood before the flaw in the same call is not handed out */
        CHECK(got.used <= want.used && str_starts(want.body, got.body));
    }
}

static struct outcome check_decode(struct str in, struct start start, uint64_t *hash)
{
    static char memory[FUZZ_BYTES], again[FUZZ_BYTES];
    struct outcome o = second_decode(in, start, memory);

    same(decode(in, start, in.n, 1, again), o, false);
    same(decode(in, start, *hash % (in.n + 1), in.n + 1, again), o, false);
    if (fuzz_turn(hash, 4))
        same(decode(in, start, 1, 1, again), o, true);
    if (fuzz_turn(hash, 4))
        same(decode(in, start, *hash % 7, 1 + *hash / 7 % 37, again), o, false);
    fuzz_fence(&room, in.n);
    return o;
}

/* The body in chunks of other sizes. */
static void check_encode(struct str body, uint64_t hash)
{
    static struct fuzz_room out;
    static char memory[FUZZ_BYTES];
    struct buf b = buf_on(out.p, FUZZ_BYTES);
    struct outcome o;
    char head[CHUNKED_HEAD_MAX];
    size_t at = 0;

    fuzz_fence(&out, FUZZ_BYTES);
    while (at < body.n) {
        size_t n = min_size(1 + (hash = fuzz_mix(hash, at)) % 300, body.n - at);

        buf_bytes(&b, head, chunked_write_head(head, (uint32_t)n));
        buf_bytes(&b, body.p + at, n);
        buf_text(&b, "\r\n");
        at += n;
    }
    buf_text(&b, CHUNKED_LAST);
    if (buf_status(&b) < 0)
        return;
    o = second_decode(buf_str(&b), (struct start){0}, memory);
    CHECK(o.done && o.used == b.n && str_eq(o.body, body));
}

static void check_head(uint32_t n)
{
    char head[CHUNKED_HEAD_MAX];
    size_t length = chunked_write_head(head, n);
    struct chunked_decoder d;
    struct str data;

    CHECK(length <= CHUNKED_HEAD_MAX);
    chunked_init(&d);
    CHECK(chunked_decode(&d, head, length, &data) == (long)length && d.left == n && data.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct start near = {0};
    struct outcome o;
    uint64_t hash;
    struct str in;

    if (size > FUZZ_BYTES)
        return 0;
    in = fuzz_fill(&room, data, size);
    hash = fuzz_hash(in);
    o = check_decode(in, near, &hash);
    if (fuzz_turn(&hash, 4) && size > 0) {
        near.overhead = CHUNKED_OVERHEAD_BYTES - hash % size;
        (void)check_decode(in, near, &hash);
        near.trailer = CHUNKED_TRAILER_BYTES - (uint32_t)hash % (uint32_t)min_size(size, 8192);
        near.overhead = 0;
        (void)check_decode(in, near, &hash);
    }
    if (o.done && fuzz_turn(&hash, 4))
        check_encode(o.body, hash);
    check_head((uint32_t)(hash >> hash % 32) | 1);
    return 0;
}
