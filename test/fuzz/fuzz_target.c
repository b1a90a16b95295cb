/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_target.c - any bytes behind a '/' as a path whose dots are resolved. Asserted: the result
 * begins with '/', is no longer, has no segment of one or two dots however they are written, ends
 * in '/' when the last segment was one, is its own result, and is the path itself when that had
 * none.
 *
 * Covers: src/gate/target.c
 */
#include "fuzz.h"
#include "gate/target.h"

static struct fuzz_room room;

/* 1 or 2 for a segment of so many dots, by unescaping it; else 0. */
static unsigned dots_of(struct str s)
{
    char plain[3];
    unsigned n = 0;

    for (size_t i = 0; i < s.n && n < 3; n++) {
        bool escape =
            s.n - i >= 3 && s.p[i] == '%' && s.p[i + 1] == '2' && (s.p[i + 2] | 0x20) == 'e';

        plain[n] = escape ? '.' : s.p[i];
        i += escape ? 3 : 1;
    }
    for (unsigned i = 0; i < n; i++)
        if (plain[i] != '.')
            return 0;
    return n < 3 ? n : 0;
}

static bool has_dots(struct str path, bool *last)
{
    bool any = false;
    struct str rest = str_from(path, 1);

    *last = false;
    for (bool more = true; more;) {
        more = str_find(rest, '/') < rest.n;
        *last = dots_of(str_cut(&rest, '/')) > 0;
        any |= *last;
    }
    return any;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char first[FUZZ_BYTES + 2], second[FUZZ_BYTES + 2];
    struct buf out = buf_on(first, sizeof first), again = buf_on(second, sizeof second);
    struct str path;
    bool had, last, unused;

    if (size > FUZZ_BYTES || size < 1 || data[0] != '/')
        return 0;
    path = fuzz_fill(&room, data, size);
    had = has_dots(path, &last);
    target_resolve(path, &out);
    CHECK(buf_status(&out) == 0 && out.n >= 1 && out.n <= path.n && out.p[0] == '/');
    CHECK(!has_dots(buf_str(&out), &unused));
    CHECK(had || str_eq(buf_str(&out), path));
    CHECK(!last || out.p[out.n - 1] == '/');
    target_resolve(buf_str(&out), &again);
    CHECK(str_eq(buf_str(&again), buf_str(&out)));
    return 0;
}
