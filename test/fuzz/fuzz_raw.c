/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_raw.c - any bytes down a connection: heads and bodies one behind the other, through the
 * codecs as a server puts them together (test/http1/raw.h). Asserted: every cut tells the same
 * requests and ends the same; what would go upstream is read there as exactly the requests that
 * were told here, none more and none less, with the same methods, targets and bodies: nothing is
 * smuggled.
 *
 * Covers: src/proto/http1.c src/proto/http1_target.c src/proto/http1_write.c src/proto/chars.h
 */
#include "../http1/raw.h"
#include "fuzz.h"

enum { IN_BYTES = 4096, OUT_BYTES = 1 << 17 };

static struct fuzz_room room;

/* A digest of the requests that have a path: CONNECT is not passed on. */
struct told {
    uint64_t digest;
    unsigned n;
};

static void on_request(void *ctx, struct str method, struct str target, struct str body)
{
    struct told *t = ctx;

    if (target.n == 0)
        return;
    t->digest = fuzz_mix(fuzz_mix(t->digest, fuzz_hash(method)), fuzz_hash(target));
    t->digest = fuzz_mix(t->digest, fuzz_hash(body));
    t->n++;
}

/* Pieces of `step` bytes, the first of `first`; true when nothing is open or refused at the end. */
static bool tell(struct str in, size_t first, size_t step, struct buf *out, struct buf *up,
                 struct told *told)
{
    static struct raw r;
    size_t at = 0;

    raw_init(&r, out, up);
    r.on_request = on_request;
    r.ctx = told;
    if (!up) { /* what we wrote has a Host and a length more than what came in */
        r.limits.fields = HTTP1_FIELDS_MAX;
        http1_init(&r.parser, false, &r.limits);
    }
    for (size_t end = min_size(first, in.n);; end = min_size(end + step, in.n)) {
        if (in.p == room.p)
            fuzz_fence(&room, end);
        raw_feed(&r, in.p + at, end - at);
        at = end;
        if (end == in.n)
            break;
    }
    raw_end(&r);
    raw_fini(&r);
    CHECK(buf_status(out) == 0);
    return str_ends(buf_str(out), STR("codec: pass\n"));
}

static void check_cut(struct str in, size_t first, size_t step, struct str out, struct str up)
{
    static char out_memory[OUT_BYTES], up_memory[OUT_BYTES];
    struct buf out_again = buf_on(out_memory, OUT_BYTES), up_again = buf_on(up_memory, OUT_BYTES);
    struct told told = {0};

    (void)tell(in, first, step, &out_again, &up_again, &told);
    CHECK(str_eq(buf_str(&out_again), out) && str_eq(buf_str(&up_again), up));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char out_memory[OUT_BYTES], up_memory[OUT_BYTES], second_memory[OUT_BYTES];
    struct buf out = buf_on(out_memory, OUT_BYTES), up = buf_on(up_memory, OUT_BYTES);
    struct buf second = buf_on(second_memory, OUT_BYTES);
    struct told here = {0}, there = {0};
    uint64_t hash;
    struct str in;

    if (size > IN_BYTES)
        return 0;
    in = fuzz_fill(&room, data, size);
    hash = fuzz_hash(in);
    (void)tell(in, size, 1, &out, &up, &here);
    check_cut(in, hash % (size + 1), size + 1, buf_str(&out), buf_str(&up));
    if (fuzz_turn(&hash, 16))
        check_cut(in, 1, 1, buf_str(&out), buf_str(&up));
    if (fuzz_turn(&hash, 4))
        check_cut(in, hash % 7, 1 + hash / 7 % 37, buf_str(&out), buf_str(&up));
    CHECK(tell(buf_str(&up), up.n, 1, &second, NULL, &there));
    CHECK(here.n == there.n && here.digest == there.digest);
    return 0;
}
