/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_bundle.c - any bytes as the configuration that the gateway gets. Asserted: what is decoded
 * is within its bounds and encodes to the very bytes it came from; cut anywhere, or with a byte
 * more, it is refused.
 *
 * Covers: src/conf/bundle.c
 */
#include "conf/bundle.h"
#include "fuzz.h"

static struct fuzz_room room;

static void refused(struct str bytes)
{
    struct bundle *b = NULL;

    CHECK(bundle_decode(bytes, &b) == -E_SYNTAX && !b);
}

static void check_records(const struct bundle *b)
{
    CHECK(b->n <= BUNDLE_RECORDS_MAX);
    for (size_t i = 0; i < b->n; i++) {
        const struct bundle_record *r = &b->at[i];

        CHECK(r->kind >= BUNDLE_FILE && r->kind < BUNDLE_KINDS_);
        CHECK(r->name.n <= BUNDLE_NAME_MAX && r->value.n <= BUNDLE_FILE_MAX);
        CHECK(r->value.p[r->value.n] == '\0');
        CHECK(bundle_find(b, r->kind, &r->name) <= r && bundle_find(b, r->kind, NULL) <= r);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char memory[BUNDLE_MAX];
    struct buf out = buf_on(memory, sizeof memory);
    struct bundle *b = NULL;
    struct str s;
    int r;

    if (size >= FUZZ_BYTES)
        return 0;
    s = fuzz_fill(&room, data, size);
    r = bundle_decode(s, &b);
    CHECK(r == (b ? 0 : -E_SYNTAX));
    if (!b)
        return 0;
    check_records(b);
    CHECK(b->bytes == size && bundle_encode(b, &out) == 0 && str_eq(buf_str(&out), s));
    bundle_destroy(&b);
    refused(str_head(s, fuzz_hash(s) % size));
    fuzz_fence(&room, size + 1);
    room.p[size] = 0;
    refused(str_span(s.p, size + 1));
    return 0;
}
