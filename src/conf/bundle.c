/* SPDX-License-Identifier: Apache-2.0
 *
 * bundle.c - see bundle.h. The layout, numbers in little-endian order:
 *
 *     "INFB"  u32 version  u32 records  u32 bytes of all that follows
 *     per record: u32 kind  u32 name bytes  u32 value bytes  name  value
 *
 * Nothing follows the last record.
 */
#include "conf/bundle.h"

#include <endian.h>

#include "base/mem.h"

enum { VERSION = 1, HEAD_BYTES = 16, RECORD_BYTES = 12 };

static const char magic[4] = {'I', 'N', 'F', 'B'};

void bundle_create(struct bundle **ret)
{
    struct bundle *b = xnew(struct bundle, .bytes = HEAD_BYTES);

    arena_init(&b->arena, NULL);
    *ret = b;
}

void bundle_destroy(struct bundle **bp)
{
    struct bundle *b = TAKE(bp);

    if (!b)
        return;
    for (size_t i = 0; i < b->n; i++)
        if (b->at[i].kind == BUNDLE_SECRET)
            explicit_bzero((void *)(uintptr_t)b->at[i].value.p, b->at[i].value.n);
    arena_clear(&b->arena);
    mem_free(b->at);
    xfree(b);
}

static size_t value_max(enum bundle_kind kind)
{
    switch (kind) {
    case BUNDLE_FILE:
    case BUNDLE_KEYS:
        return BUNDLE_FILE_MAX;
    case BUNDLE_SECRET:
        return BUNDLE_SECRET_MAX;
    case BUNDLE_COMPUTED:
    case BUNDLE_ENV:
    case BUNDLE_FLAG:
    case BUNDLE_KINDS_:
        break;
    }
    return BUNDLE_TEXT_MAX;
}

int bundle_add(struct bundle *b, enum bundle_kind kind, struct str name, struct str value)
{
    size_t bytes = b->bytes + RECORD_BYTES;

    CHECK(kind >= BUNDLE_FILE && kind < BUNDLE_KINDS_);
    if (b->n == BUNDLE_RECORDS_MAX || name.n > BUNDLE_NAME_MAX || value.n > value_max(kind))
        return -E_LIMIT;
    bytes += name.n + value.n;
    if (bytes > BUNDLE_MAX)
        return -E_LIMIT;
    if (b->n == b->size) {
        b->size = b->size ? b->size * 2 : 16;
        b->at = mem_resize_array(b->at, b->size, sizeof *b->at);
    }
    b->at[b->n++] = (struct bundle_record){
        .kind = kind,
        .name = str_span(arena_cstr(&b->arena, name), name.n),
        .value = str_span(arena_cstr(&b->arena, value), value.n),
    };
    b->bytes = bytes;
    return 0;
}

const struct bundle_record *bundle_find(const struct bundle *b, enum bundle_kind kind,
                                        const struct str *name)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->at[i].kind == kind && (!name || str_eq(b->at[i].name, *name)))
            return &b->at[i];
    return NULL;
}

static void put_u32(struct buf *out, size_t v)
{
    uint32_t le = htole32((uint32_t)v);

    buf_bytes(out, &le, sizeof le);
}

int bundle_encode(const struct bundle *b, struct buf *out)
{
    buf_bytes(out, magic, sizeof magic);
    put_u32(out, VERSION);
    put_u32(out, b->n);
    put_u32(out, b->bytes - HEAD_BYTES);
    for (size_t i = 0; i < b->n; i++) {
        put_u32(out, (size_t)b->at[i].kind);
        put_u32(out, b->at[i].name.n);
        put_u32(out, b->at[i].value.n);
        buf_add(out, b->at[i].name);
        buf_add(out, b->at[i].value);
    }
    return buf_status(out);
}

/* Takes `n` bytes off the front. */
static bool take(struct str *rest, size_t n, struct str *ret)
{
    if (rest->n < n)
        return false;
    *ret = str_head(*rest, n);
    *rest = (struct str){rest->p + n, rest->n - n};
    return true;
}

static bool take_u32(struct str *rest, uint32_t *ret)
{
    struct str bytes;
    uint32_t le;

    if (!take(rest, sizeof le, &bytes))
        return false;
    memcpy(&le, bytes.p, sizeof le);
    *ret = le32toh(le);
    return true;
}

static bool take_record(struct str *rest, struct bundle *b)
{
    uint32_t kind, name_bytes, value_bytes;
    struct str name, value;

    if (!take_u32(rest, &kind) || !take_u32(rest, &name_bytes) || !take_u32(rest, &value_bytes))
        return false;
    if (kind < BUNDLE_FILE || kind >= BUNDLE_KINDS_)
        return false;
    if (!take(rest, name_bytes, &name) || !take(rest, value_bytes, &value))
        return false;
    return bundle_add(b, (enum bundle_kind)kind, name, value) == 0;
}

int bundle_decode(struct str bytes, struct bundle **ret)
{
    uint32_t version, records, following;
    struct str head, rest = bytes;
    struct bundle *b;

    if (bytes.n > BUNDLE_MAX || !take(&rest, sizeof magic, &head) ||
        !str_eq(head, str_span(magic, sizeof magic)))
        return -E_SYNTAX;
    if (!take_u32(&rest, &version) || !take_u32(&rest, &records) || !take_u32(&rest, &following))
        return -E_SYNTAX;
    if (version != VERSION || following != rest.n)
        return -E_SYNTAX;
    bundle_create(&b);
    for (uint32_t i = 0; i < records; i++)
        if (!take_record(&rest, b))
            goto fail;
    if (rest.n > 0)
        goto fail;
    *ret = b;
    return 0;
fail:
    bundle_destroy(&b);
    return -E_SYNTAX;
}
