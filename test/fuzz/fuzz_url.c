/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_url.c - any bytes as the URL of an engine. Asserted: a refusal has a sentence and leaves the
 * output alone; the parts lie within the text and hold nothing that would break a request line or a
 * Host field; put together again they are the same URL.
 *
 * Covers: src/conf/url.c
 */
#include <stdio.h>

#include "conf/url.h"
#include "fuzz.h"
#include "proto/http1.h"

static struct fuzz_room room;

static void check_http(const struct url *u)
{
    static char text[FUZZ_BYTES + 64];
    bool literal = str_find(u->host, ':') < u->host.n;
    struct str host = STR_NONE, port = STR_NONE;
    const char *why = NULL;
    struct url again;

    CHECK(u->host.n > 0 && u->port > 0 && http1_is_value(u->origin));
    CHECK(http1_target_authority(u->origin, &host, &port) && str_eq(host, u->host));
    for (size_t i = 0; i < u->prefix.n; i++)
        CHECK(u->prefix.p[i] > ' ' && u->prefix.p[i] < 0x7f);
    CHECK(u->prefix.n == 0 || (u->prefix.p[0] == '/' && u->prefix.p[u->prefix.n - 1] != '/'));
    snprintf(text, sizeof text, literal ? "http://[%.*s]:%u%.*s" : "http://%.*s:%u%.*s",
             STR_ARGS(u->host), u->port, STR_ARGS(u->prefix));
    CHECK(url_parse(str_of(text), &again, &why) == 0 && !why);
    CHECK(again.kind == u->kind && str_eq(again.host, u->host) && again.port == u->port);
    CHECK(str_eq(again.prefix, u->prefix) && url_is_loopback(&again) == url_is_loopback(u));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct url u = {.kind = URL_NONE};
    const char *why = NULL;
    struct str s;
    int r;

    if (size > FUZZ_BYTES)
        return 0;
    s = fuzz_fill(&room, data, size);
    r = url_parse(s, &u, &why);
    CHECK(r == 0 || r == -E_SYNTAX || r == -E_UNSUPPORTED);
    CHECK((why != NULL) == (r < 0) && (u.kind == URL_NONE) == (r < 0));
    if (u.kind == URL_HTTP)
        check_http(&u);
    if (u.kind == URL_UNIX)
        CHECK(u.path.p == s.p + 5 && u.path.p[0] == '/' && u.path.n <= 107 &&
              memchr(u.path.p, '\0', u.path.n) == NULL && url_is_loopback(&u));
    return 0;
}
