/* SPDX-License-Identifier: Apache-2.0
 *
 * url.h - where an engine is reached: "http://host:port[/prefix]" or "unix:/path". Text only:
 * nothing is resolved. Slices point into the parsed text.
 */
#pragma once
#include "base/err.h"
#include "base/str.h"

enum url_kind {
    URL_NONE, /* no url was given */
    URL_HTTP, /* host, port, prefix */
    URL_UNIX, /* path */
};

struct url {
    enum url_kind kind;
    struct str host;   /* name or literal, IPv6 without its brackets */
    uint16_t port;     /* 80 when the text names none */
    struct str prefix; /* "" or "/v2" without a slash at the end; put before every path */
    struct str path;   /* of the socket, absolute */
    struct str
        origin; /* what Host says: "10.0.0.5:8000", brackets included; "localhost" for Unix */
};

/* -E_SYNTAX; -E_UNSUPPORTED for https. Either way *why is a static sentence. */
int url_parse(struct str text, struct url *ret, const char **why) MUSTCHECK;
/* "localhost", 127.0.0.0/8, ::1 and Unix sockets. */
bool url_is_loopback(const struct url *u);
