/* SPDX-License-Identifier: Apache-2.0
 *
 * http1_fields.h - the field names that have a number: http1_parse() finds them in passing, so that
 * asking a head for one is one array read. A name is here because somebody asks for it.
 */
#pragma once

/* id, lower-case name */
#define HTTP1_KNOWN_FIELDS(X)                                                                      \
    X(HOST, "host")                                                                                \
    X(CONTENT_LENGTH, "content-length")                                                            \
    X(TRANSFER_ENCODING, "transfer-encoding")                                                      \
    X(CONNECTION, "connection")                                                                    \
    X(KEEP_ALIVE, "keep-alive")                                                                    \
    X(PROXY_CONNECTION, "proxy-connection")                                                        \
    X(PROXY_AUTHENTICATE, "proxy-authenticate")                                                    \
    X(PROXY_AUTHORIZATION, "proxy-authorization")                                                  \
    X(TE, "te")                                                                                    \
    X(TRAILER, "trailer")                                                                          \
    X(TRAILERS, "trailers")                                                                        \
    X(UPGRADE, "upgrade")                                                                          \
    X(EXPECT, "expect")                                                                            \
    X(CONTENT_TYPE, "content-type")                                                                \
    X(CONTENT_ENCODING, "content-encoding")                                                        \
    X(ACCEPT, "accept")                                                                            \
    X(ACCEPT_ENCODING, "accept-encoding")                                                          \
    X(AUTHORIZATION, "authorization")                                                              \
    X(ORIGIN, "origin")                                                                            \
    X(USER_AGENT, "user-agent")                                                                    \
    X(SERVER, "server")                                                                            \
    X(DATE, "date")                                                                                \
    X(X_REQUEST_ID, "x-request-id")                                                                \
    X(FORWARDED, "forwarded")                                                                      \
    X(X_REAL_IP, "x-real-ip")                                                                      \
    X(RETRY_AFTER, "retry-after")                                                                  \
    X(ACCESS_CONTROL_REQUEST_METHOD, "access-control-request-method")

#define HTTP1_AS_ENUM(id, name) HTTP1_##id,
enum http1_field_id {
    HTTP1_OTHER, /* not in the table; also "absent" in http1_head.known */
    HTTP1_KNOWN_FIELDS(HTTP1_AS_ENUM) HTTP1_FIELD_IDS
};
