/* SPDX-License-Identifier: Apache-2.0
 *
 * mem.h - the only door to the heap. Small allocations abort when the heap is exhausted (the master
 * restarts us, nothing half-done lives on); what a peer sizes goes through mem_try() and fails as
 * that request's fault. Raw malloc/free are banned outside base/.
 */
#pragma once
#include "base/check.h"

/* Zeroed memory, never NULL. */
void *mem_alloc(size_t bytes) __attribute__((malloc, returns_nonnull));
/* Zeroed memory or NULL: for sizes that a peer decides. */
void *mem_try(size_t bytes) __attribute__((malloc));
/* Grows or shrinks; new bytes are not zeroed; never NULL for bytes > 0. */
void *mem_resize(void *p, size_t bytes) __attribute__((returns_nonnull));
/* count * size, overflow-checked; otherwise like mem_resize. */
void *mem_resize_array(void *p, size_t count, size_t size) __attribute__((returns_nonnull));
/* Cache-line aligned and zeroed, never NULL; freed with mem_free. */
void *mem_alloc_aligned(size_t align, size_t bytes) __attribute__((malloc, returns_nonnull));
void *mem_dup(const void *p, size_t bytes) __attribute__((malloc, returns_nonnull));
/* NUL-terminated copy. */
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((malloc, returns_nonnull));
void mem_free(void *p);

/* For _cleanup_(mem_cleanup) on any pointer variable. */
static inline void mem_cleanup(void *pp) { mem_free(*(void **)pp); }

/* xnew(struct child, .out_fd = -1): allocate and initialise, or abort. */
#define xnew(T, ...)                                                                               \
    ({                                                                                             \
        T *new_ = mem_alloc(sizeof(T));                                                            \
        *new_ = (T){__VA_ARGS__};                                                                  \
        new_;                                                                                      \
    })
#define xfree(p) mem_free(p)
