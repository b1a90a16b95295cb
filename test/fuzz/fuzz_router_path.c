/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_router_path.c - any bytes as a path that a client of the router asks for. Asserted: what is
 * below /_inferd/ when its escapes are taken for what they stand for goes to no engine; a path that
 * the router calls its own is answered, with a body or with a fault; under both names the answer is
 * the same but for /metrics.
 *
 * Covers: src/api/router.c
 */
#include "api/api.h"
#include "base/metrics.h"
#include "base/percent.h"
#include "fuzz.h"
#include "gate/gate.h"

enum { BODY_BYTES = 1 << 20 };

static struct fuzz_room room;

static void check_own(const struct gate_api *api, struct str path)
{
    static const struct entry_list nobody;
    struct metrics *m = metrics_create();
    struct str type = STR("application/json");
    struct gate_own q = {.entries = &nobody, .path = path, .metrics = m, .type = &type};
    struct buf out = buf_make(BODY_BYTES);
    struct fault f = {.code = FAULT_none};
    unsigned status = api->own(&q, &out, &f);

    CHECK((status == 200) == (f.code == FAULT_none) && (status == 200 || status == 0));
    CHECK(status == 200 || f.code == FAULT_model_not_found || f.code == FAULT_invalid_path);
    CHECK(buf_status(&out) == 0);
    buf_fini(&out);
    metrics_destroy(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char memory[FUZZ_BYTES + 1];
    struct buf plain = buf_on(memory, sizeof memory);
    enum path_class class[2];
    bool decoded;
    struct str s;

    if (size > FUZZ_BYTES)
        return 0;
    s = fuzz_fill(&room, data, size);
    decoded = percent_decode(&plain, s) == 0;
    for (unsigned alias = 0; alias < 2; alias++) {
        const struct gate_api *api = api_router(alias);
        uint32_t kinds = 0;

        class[alias] = api->classify(s, &kinds);
        CHECK(kinds == UINT32_MAX);
        CHECK(class[alias] == PATH_ASKED || class[alias] == PATH_ANY ||
              class[alias] == PATH_UNKNOWN);
        if (class[alias] == PATH_ASKED)
            check_own(api, s);
        if (decoded && str_starts(buf_str(&plain), STR("/_inferd/")))
            CHECK(class[alias] != PATH_ANY);
    }
    CHECK(class[0] == class[1] || (decoded && str_eq(buf_str(&plain), STR("/metrics"))));
    return 0;
}
