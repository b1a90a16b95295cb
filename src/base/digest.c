/* SPDX-License-Identifier: Apache-2.0
 *
 * digest.c - SHA-256 from Nettle. Not from libcrypto, which nothing else here needs yet: linking it
 * costs each process 1.5 MB and a millisecond of start time before the first hash, 3.5 MB after one
 * through EVP; Nettle costs 0.25 MB and uses the same SHA instructions.
 */
#include "base/digest.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <sys/random.h>

void digest_sha256(struct str bytes, uint8_t ret[DIGEST_BYTES])
{
    struct sha256_ctx ctx;

    _Static_assert(DIGEST_BYTES == SHA256_DIGEST_SIZE, "one digest, one size");
    sha256_init(&ctx);
    sha256_update(&ctx, bytes.n, (const uint8_t *)bytes.p);
    sha256_digest(&ctx, DIGEST_BYTES, ret);
}

void digest_hex(const uint8_t *bytes, size_t n, char *ret)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = hex[bytes[i] >> 4];
        ret[2 * i + 1] = hex[bytes[i] & 15];
    }
    ret[2 * n] = '\0';
}

void digest_random(void *ret, size_t n)
{
    char *p = ret;

    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        CHECK(got > 0);
        p += got;
        n -= (size_t)got;
    }
}

uint64_t digest_random_u64(void)
{
    uint64_t v;

    digest_random(&v, sizeof v);
    return v;
}

bool digest_equal(struct str a, struct str b)
{
    uint64_t differ = 0, x, y;
    size_t i = 0;

    if (a.n != b.n)
        return false;
    for (; a.n - i >= sizeof x; i += sizeof x) {
        memcpy(&x, a.p + i, sizeof x);
        memcpy(&y, b.p + i, sizeof y);
        differ |= x ^ y;
        __asm__("" : "+r"(differ)); /* no early exit for the compiler to find */
    }
    for (; i < a.n; i++) {
        differ |= (unsigned char)(a.p[i] ^ b.p[i]);
        __asm__("" : "+r"(differ));
    }
    return differ == 0;
}
