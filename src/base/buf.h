/* SPDX-License-Identifier: Apache-2.0
 *
 * buf.h - an append-only byte buffer with a hard cap. An append that would pass the cap marks the
 * buffer `full` and appends nothing, then or later: callers check once, at the end. Grows by
 * doubling on the heap, or lives in memory the caller lends (then it never grows).
 */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct buf {
    char *p;     /* owned unless `lent` */
    size_t n;    /* bytes used, n <= size */
    size_t size; /* bytes allocated, size <= cap */
    size_t cap;  /* bytes at most */
    bool lent;   /* the memory is the caller's */
    bool full;   /* an append was refused */
};

static inline struct buf buf_make(size_t cap) { return (struct buf){.cap = cap}; }

/* On the caller's memory; nothing to free. */
static inline struct buf buf_on(char *memory, size_t bytes)
{
    return (struct buf){.p = memory, .size = bytes, .cap = bytes, .lent = true};
}

void buf_fini(struct buf *b);
/* Empties it and keeps the memory. */
static inline void buf_clear(struct buf *b)
{
    b->n = 0;
    b->full = false;
}

static inline struct str buf_str(const struct buf *b) { return (struct str){b->p, b->n}; }

/* buf_reserve() where the memory at hand may not do. */
char *buf_grow(struct buf *b, size_t n);
/* Room for `n` more bytes, to be filled by the caller and counted with b->n += used; NULL when the
 * cap forbids it (and `full` is set). */
static inline char *buf_reserve(struct buf *b, size_t n)
{
    bool at_hand = b->p && !b->full && b->n <= b->size && n <= b->size - b->n;

    return LIKELY(at_hand) ? b->p + b->n : buf_grow(b, n);
}
void buf_bytes(struct buf *b, const void *p, size_t n);
void buf_add(struct buf *b, struct str s);
void buf_text(struct buf *b, const char *c);
void buf_char(struct buf *b, char c);
void buf_u64(struct buf *b, uint64_t v);
void buf_i64(struct buf *b, int64_t v);
void buf_hex(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* 0, or -E_LIMIT when an append was refused. */
int buf_status(const struct buf *b) MUSTCHECK;
/* Terminates with a NUL that is not counted; "" when empty. NULL when there is no room for it. */
const char *buf_cstr(struct buf *b);
