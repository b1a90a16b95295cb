/* SPDX-License-Identifier: Apache-2.0
 *
 * check.h - the vocabulary every file starts from: assertions that are always on, ownership
 * helpers, compiler attributes, checked arithmetic. A failed CHECK is a bug of ours: it prints the
 * place and the trace ring of the thread's current request (base/trace.h) and aborts; the master
 * restarts us. Nothing here allocates.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUSTCHECK __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define HOT __attribute__((hot))
#define COLD __attribute__((cold, noinline))
/* For large arrays on the hot path, whose used part is written before it is read: optimised builds
 * zero all other locals. */
#if defined(__has_attribute) && __has_attribute(uninitialized)
#define NO_INIT __attribute__((uninitialized))
#else
#define NO_INIT
#endif

/* Always on, release builds included. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (UNLIKELY(!(cond)))                                                                     \
            check_failed(#cond, __FILE__, __LINE__, __func__);                                     \
    } while (0)

NORETURN COLD void check_failed(const char *cond, const char *file, int line, const char *func);

/* What a dying process prints after the failed condition; base/trace.c installs itself here. Called
 * once, in the failing thread, with stderr as `fd`; only async-signal-safe calls. NULL: nothing. */
typedef void check_dump_fn(int fd);
void check_set_dump(check_dump_fn *fn);

/* Counts something surprising but survivable: COUNT_IF(n == 0, &shard->odd). Evaluates to `cond`.
 */
#define COUNT_IF(cond, counter) (UNLIKELY(cond) ? ((*(counter))++, true) : false)

/* Reads a pointer and leaves NULL behind: the destructor's first line. */
#define TAKE(pp)                                                                                   \
    ({                                                                                             \
        __typeof__(*(pp)) taken_ = *(pp);                                                          \
        *(pp) = NULL;                                                                              \
        taken_;                                                                                    \
    })

/* Runs `fn(&variable)` when the variable leaves its scope. */
#define _cleanup_(fn) __attribute__((cleanup(fn)))

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

static inline size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }
