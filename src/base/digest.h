/* SPDX-License-Identifier: Apache-2.0
 *
 * digest.h - SHA-256, random bytes, comparison in constant time. The library behind it appears in
 * digest.c only. Nothing here blocks (the kernel's pool is seeded long before we run) or allocates.
 */
#pragma once
#include "base/str.h"

enum {
    DIGEST_BYTES = 32,
    DIGEST_HEX_BYTES = 2 * DIGEST_BYTES + 1, /* its NUL included */
};

void digest_sha256(struct str bytes, uint8_t ret[DIGEST_BYTES]);
/* Lower-case hexadecimal of `n` bytes and a NUL: `ret` holds 2 * n + 1. */
void digest_hex(const uint8_t *bytes, size_t n, char *ret);
/* From the kernel. Aborts when it refuses: nobody may go on with predictable keys. */
void digest_random(void *ret, size_t n);
uint64_t digest_random_u64(void);
/* Equal, in a time that depends on the lengths only. */
bool digest_equal(struct str a, struct str b);
