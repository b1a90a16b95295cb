/* SPDX-License-Identifier: Apache-2.0
 *
 * mem.c - heap wrappers; see mem.h for the policy.
 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *mem_try(size_t bytes) { return calloc(1, bytes ? bytes : 1); }

void *mem_alloc(size_t bytes)
{
    void *p = mem_try(bytes);

    CHECK(p != NULL);
    return p;
}

void *mem_resize(void *p, size_t bytes)
{
    void *grown = realloc(p, bytes ? bytes : 1);

    CHECK(grown != NULL);
    return grown;
}

void *mem_resize_array(void *p, size_t count, size_t size)
{
    size_t bytes;

    CHECK(!__builtin_mul_overflow(count, size, &bytes));
    return mem_resize(p, bytes);
}

void *mem_alloc_aligned(size_t align, size_t bytes)
{
    void *p = NULL;

    CHECK(posix_memalign(&p, align, bytes) == 0 && p != NULL);
    memset(p, 0, bytes);
    return p;
}

void *mem_dup(const void *p, size_t bytes)
{
    void *copy = mem_alloc(bytes);

    if (bytes)
        memcpy(copy, p, bytes);
    return copy;
}

char *mem_strdup(const char *s) { return mem_dup(s, strlen(s) + 1); }

char *mem_printf(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    CHECK(n >= 0 && text != NULL);
    return text;
}

void mem_free(void *p) { free(p); }
