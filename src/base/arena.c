/* SPDX-License-Identifier: Apache-2.0
 *
 * arena.c - see arena.h.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t bytes; /* of data */
    _Alignas(ALIGN) char data[];
};

struct arena_hook {
    struct arena_hook *next;
    arena_hook_fn *fn;
    void *ctx;
};

void arena_init(struct arena *a, struct arena_cache *cache) { *a = (struct arena){.cache = cache}; }

static struct arena_block *block_get(struct arena_cache *cache, size_t bytes)
{
    struct arena_block *b;

    if (cache && cache->free && bytes <= ARENA_BLOCK_BYTES) {
        b = cache->free;
        cache->free = b->next;
        cache->count--;
        return b;
    }
    bytes = max_size(bytes, ARENA_BLOCK_BYTES);
    b = mem_resize(NULL, sizeof *b + bytes);
    b->bytes = bytes;
    POISON(b->data, b->bytes);
    return b;
}

static void block_put(struct arena_cache *cache, struct arena_block *b)
{
    if (cache && b->bytes == ARENA_BLOCK_BYTES && cache->count < cache->max) {
        POISON(b->data, b->bytes);
        b->next = cache->free;
        cache->free = b;
        cache->count++;
        return;
    }
    UNPOISON(b->data, b->bytes);
    mem_free(b);
}

void arena_clear(struct arena *a)
{
    while (a->hooks) {
        struct arena_hook *h = a->hooks;

        a->hooks = h->next;
        h->fn(h->ctx);
    }
    while (a->head) {
        struct arena_block *b = a->head;

        a->head = b->next;
        block_put(a->cache, b);
    }
    a->at = a->end = NULL;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    struct arena_block *b;
    size_t need;
    char *p;

    CHECK(!__builtin_add_overflow(bytes, (size_t)(ALIGN - 1), &need));
    need = max_size(need & ~(size_t)(ALIGN - 1), ALIGN); /* nothing has an address, too */
    if (need > (size_t)(a->end - a->at)) {
        b = block_get(a->cache, need);
        if (a->head && need > ARENA_BLOCK_BYTES) { /* keep filling the current block */
            b->next = a->head->next;
            a->head->next = b;
            UNPOISON(b->data, bytes);
            return b->data;
        }
        b->next = a->head;
        a->head = b;
        a->at = b->data;
        a->end = b->data + b->bytes;
    }
    p = a->at;
    a->at += need;
    UNPOISON(p, bytes);
    return p;
}

void *arena_zalloc(struct arena *a, size_t bytes)
{
    return memset(arena_alloc(a, bytes), 0, bytes);
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n);

    if (s.n)
        memcpy(p, s.p, s.n);
    return (struct str){p, s.n};
}

char *arena_cstr(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);

    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    char text[256], *p;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    CHECK(n >= 0);
    p = arena_alloc(a, (size_t)n + 1);
    if ((size_t)n < sizeof text)
        memcpy(p, text, (size_t)n + 1);
    else
        (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return (struct str){p, (size_t)n};
}

void arena_on_clear(struct arena *a, arena_hook_fn *fn, void *ctx)
{
    struct arena_hook *h = arena_alloc(a, sizeof *h);

    *h = (struct arena_hook){.next = a->hooks, .fn = fn, .ctx = ctx};
    a->hooks = h;
}

void arena_cache_fini(struct arena_cache *c)
{
    while (c->free) {
        struct arena_block *b = c->free;

        c->free = b->next;
        UNPOISON(b->data, b->bytes);
        mem_free(b);
    }
    c->count = 0;
}
