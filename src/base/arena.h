/* SPDX-License-Identifier: Apache-2.0
 *
 * arena.h - memory that dies together: one per request, one per configuration snapshot. Bump
 * allocation out of blocks; nothing is freed alone. Cleanup hooks run newest first. Blocks are
 * poisoned for ASan while they hold nothing. Body bytes never enter an arena (base/chunk.h).
 * One thread at a time.
 */
#pragma once
#include "base/str.h"

struct arena_block;
struct arena_hook;

/* Free blocks that arenas of one thread share, so that a request costs no heap call. */
struct arena_cache {
    struct arena_block *free;
    unsigned count, max; /* blocks kept */
};

struct arena {
    struct arena_block *head; /* newest block, NULL while nothing was allocated */
    char *at, *end;           /* free part of the newest block */
    struct arena_hook *hooks;
    struct arena_cache *cache; /* may be NULL: blocks go back to the heap */
};

typedef void arena_hook_fn(void *ctx);

/* Usable bytes of a standard block; larger allocations get a block of their own. */
enum { ARENA_BLOCK_BYTES = 4096 - 32 };

void arena_init(struct arena *a, struct arena_cache *cache);
/* Runs the hooks, gives every block back. The arena is empty and usable again. */
void arena_clear(struct arena *a);
/* 16-byte aligned, not zeroed, never NULL. */
void *arena_alloc(struct arena *a, size_t bytes) __attribute__((malloc, returns_nonnull));
/* The same, zeroed. */
void *arena_zalloc(struct arena *a, size_t bytes) __attribute__((malloc, returns_nonnull));
struct str arena_str(struct arena *a, struct str s);
/* NUL-terminated copy. */
char *arena_cstr(struct arena *a, struct str s) __attribute__((returns_nonnull));
struct str arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
void arena_on_clear(struct arena *a, arena_hook_fn *fn, void *ctx);
/* Frees the cached blocks. */
void arena_cache_fini(struct arena_cache *c);

#define arena_new(a, T) ((T *)arena_zalloc((a), sizeof(T)))
