/* SPDX-License-Identifier: Apache-2.0
 *
 * health.c - see health.h.
 */
#include "fleet/health.h"

#include "base/json.h"

enum { AGAIN_FIRST_MS = 1000 };

static enum cell_verdict word_of(enum health_outcome o)
{
    switch (o) {
    case HEALTH_ALIVE:
        return CELL_GOOD;
    case HEALTH_LOADING:
    case HEALTH_SILENT:
        return CELL_COMING;
    case HEALTH_FAILED:
    case HEALTH_ABSENT:
        break;
    }
    return CELL_BAD;
}

bool health_note(struct health *h, enum health_outcome o, uint32_t failures, uint32_t successes)
{
    enum cell_verdict before = h->word;

    h->last = o;
    if (o == HEALTH_ALIVE) {
        h->failures = 0;
        if (h->successes < UINT32_MAX)
            h->successes++;
        if (health_is_good(h) || h->successes >= successes)
            h->word = CELL_GOOD;
    } else {
        h->successes = 0;
        if (h->failures < UINT32_MAX)
            h->failures++;
        if (!health_is_good(h) || h->failures >= failures)
            h->word = word_of(o);
    }
    return h->word != before;
}

static bool denies(struct str body)
{
    struct json *doc = NULL;
    bool ready = true;

    if (body.n == 0 || json_read(body, NULL, NULL, &doc) < 0)
        return false;
    (void)json_get_bool(json_find_cstr(doc, "infinilm_server_ready"), &ready);
    json_unref(&doc);
    return !ready;
}

enum health_outcome health_strictly(unsigned status, struct str body)
{
    if (status < 200 || status > 299)
        return status == 503 ? HEALTH_LOADING : HEALTH_FAILED;
    return denies(body) ? HEALTH_LOADING : HEALTH_ALIVE;
}

uint32_t health_again_ms(const struct health *h, uint32_t most_ms)
{
    uint32_t ms = AGAIN_FIRST_MS;

    for (uint32_t i = 1; i < h->failures && ms < most_ms; i++)
        ms *= 2;
    return ms < most_ms ? ms : most_ms;
}

const char *health_text(enum health_outcome o)
{
    switch (o) {
    case HEALTH_ALIVE:
        return "it answers";
    case HEALTH_LOADING:
        return "it says that it is not ready";
    case HEALTH_SILENT:
        return "no answer in time";
    case HEALTH_FAILED:
        return "no answer that is one";
    case HEALTH_ABSENT:
        break;
    }
    return "no connection";
}
