/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_jsonscan.c - any bytes as a document. Asserted: the scanner tells the same events and ends
 * with the same verdict, place and reason for the whole, for a cut and byte by byte, on its SSE2
 * path and on the portable one; the document reader accepts exactly what jansson's own strict
 * parser accepts; what the writer wrote reads back equal, and is written the same again. Where to
 * cut follows from the bytes, so a plain JSON file is a seed.
 *
 * Covers: src/base/jsonscan.c src/base/jsonscan_run.h
 */
#include <jansson.h>

#include "../unit/jsonscan_portable.h"
#include "base/json.h"
#include "fuzz.h"

static struct fuzz_room room;

/* The verdict and a digest of the events; the text of a string counts by its bytes, not its pieces.
 */
struct outcome {
    int err;
    uint64_t at, tokens, events;
    const char *reason;
};

static int on_event(void *ctx, const struct jsonscan_event *e)
{
    uint64_t *h = ctx;

    if (e->kind == JSONSCAN_TEXT) {
        CHECK(e->text.n > 0 && e->begin < e->end);
    } else {
        *h = fuzz_mix(fuzz_mix(fuzz_mix(*h, e->kind << 16 | e->depth), e->begin), e->end);
    }
    for (size_t i = 0; i < e->text.n; i++)
        *h = (*h ^ (uint8_t)e->text.p[i]) * 0x100000001B3u;
    return e->kind == JSONSCAN_KEY || e->kind == JSONSCAN_STRING ? JSONSCAN_WANT_TEXT : JSONSCAN_GO;
}

/* Pieces of `step` bytes, the first `first` bytes long. */
static struct outcome scan(struct str doc, size_t first, size_t step, bool portable)
{
    uint64_t events = 0;
    struct jsonscan s;
    size_t at = 0;

    (portable ? jsonscan_portable_init : jsonscan_init)(&s, NULL, on_event, &events);
    for (size_t end = min_size(first, doc.n);; end = min_size(end + step, doc.n)) {
        fuzz_fence(&room, end);
        (void)!(portable ? jsonscan_portable_feed : jsonscan_feed)(&s, doc.p + at, end - at);
        at = end;
        if (end == doc.n)
            break;
    }
    (void)!(portable ? jsonscan_portable_finish : jsonscan_finish)(&s);
    CHECK((s.err == 0) == (s.reason[0] == '\0'));
    return (struct outcome){s.err, s.error_at, s.tokens, events, s.reason};
}

static void same_outcome(struct outcome a, struct outcome b)
{
    CHECK(a.err == b.err);
    CHECK(strcmp(a.reason, b.reason) == 0);
    CHECK(a.at == b.at);
    CHECK(a.tokens == b.tokens);
    CHECK(a.events == b.events);
}

static void check_writer(const struct json *v)
{
    struct buf once = buf_make(1 << 26), twice = buf_make(1 << 26);
    struct json *again = NULL;

    json_write(v, &once);
    CHECK(buf_status(&once) == 0);
    CHECK(json_read(buf_str(&once), NULL, NULL, &again) == 0);
    CHECK(json_same(v, again));
    json_write(again, &twice);
    CHECK(str_eq(buf_str(&once), buf_str(&twice)));
    json_unref(&again);
    buf_fini(&once);
    buf_fini(&twice);
}

/* A second strict parser must agree, but for NUL: jansson loses a raw one behind a number or a word
 * (it is never right), and does not know it in keys. */
static void check_verdict(struct str doc, int read)
{
    json_error_t error;
    json_t *v;

    if (str_find(doc, '\0') < doc.n) {
        CHECK(read < 0);
        return;
    }
    v = json_loadb(doc.p, doc.n,
                   JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES |
                       JSON_DECODE_INT_AS_REAL,
                   &error);

    CHECK((v != NULL) == (read == 0) || strstr(error.text, "NUL byte in object key"));
    json_decref(v);
}

/* As documents are read and written. */
static void check_document(struct str doc, struct outcome scanned)
{
    struct json_error error;
    struct json *v = NULL;
    int read = json_read(doc, NULL, &error, &v);

    if (scanned.err)
        CHECK(read < 0);
    else
        CHECK(read == 0 || read == -E_EXISTS || strcmp(error.reason, "number out of range") == 0);
    if (read != -E_LIMIT)
        check_verdict(doc, read);
    if (v)
        check_writer(v);
    json_unref(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole;
    uint64_t hash;
    struct str doc;

    if (size > FUZZ_BYTES)
        return 0;
    doc = fuzz_fill(&room, data, size);
    hash = fuzz_hash(doc);
    whole = scan(doc, hash % (size + 1), size + 1, false);
    if (fuzz_turn(&hash, 2))
        same_outcome(whole, scan(doc, size, 1, true));
    if (fuzz_turn(&hash, 4))
        same_outcome(whole, scan(doc, size, 1, false));
    if (fuzz_turn(&hash, 4))
        same_outcome(whole, scan(doc, hash % 7, 1 + hash / 7 % 37, true));
    if (fuzz_turn(&hash, 16))
        same_outcome(whole, scan(doc, 1, 1, false));
    if (fuzz_turn(&hash, 8))
        check_document(doc, whole);
    return 0;
}
