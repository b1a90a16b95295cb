/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_http1_response.c - any bytes as a response head: what heads.h asks of both directions, the
 * status line, which statuses have a body, and the head as it would be relayed.
 *
 * Covers: src/proto/http1.c src/proto/http1_target.c src/proto/http1_write.c src/proto/chars.h
 */
#include "heads.h"

static struct fuzz_room room;

/* HTTP/1.x SP 3 digits [SP reason] */
static void check_line(const struct http1_head *h, struct str s)
{
    struct str line = str_cut(&s, '\r'), version = str_cut(&line, ' '), digits;
    uint64_t status = 0;

    digits = str_cut(&line, ' ');
    CHECK(str_eq(version, h->minor ? STR("HTTP/1.1") : STR("HTTP/1.0")));
    CHECK(digits.n == 3 && str_u64(digits, &status) && status == h->status && status >= 100);
    CHECK(str_eq(line, http1_str(version.p, h->reason)));
}

static void check_framing(const struct http1_head *h)
{
    for (enum http1_method m = HTTP1_METHOD_OTHER; m <= HTTP1_TRACE; m++) {
        enum http1_framing framing = http1_response_framing(h, m);

        if (m == HTTP1_HEAD || h->status / 100 == 1 || h->status == 204 || h->status == 304)
            CHECK(framing == HTTP1_NO_BODY);
        else
            CHECK(framing == h->framing);
    }
}

static void check_passed_on(const struct http1_head *h, const char *b)
{
    static char memory[HEADS_OUT_BYTES];
    static struct http1_head again;
    struct buf out = buf_on(memory, sizeof memory);

    http1_write_status_line(&out, h->status);
    heads_write_fields(h, b, &out);
    if (!heads_reread(h, b, buf_str(&out), &again))
        return;
    CHECK(again.status == h->status && again.keep_alive && !again.upgrade);
    CHECK(str_eq(http1_str(out.p, again.reason), str_of(http1_reason(h->status))));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http1_head head;
    uint64_t hash;
    struct str s;

    if (size > FUZZ_BYTES)
        return 0;
    s = fuzz_fill(&room, data, size);
    if (size >= 2) /* any number may be asked for */
        CHECK(http1_reason((unsigned)data[0] << 8 | data[1]) != NULL);
    if (!heads_check(true, &room, s, &head))
        return 0;
    check_line(&head, s);
    check_framing(&head);
    hash = ~fuzz_hash(s);
    if (fuzz_turn(&hash, 2))
        check_passed_on(&head, s.p);
    return 0;
}
