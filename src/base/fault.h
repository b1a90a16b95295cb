/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.h - why one request failed: data that travels with the request and is rendered once, in the
 * client's dialect, by the dialect that owns the reply. Never a log line plus a guess.
 */
#pragma once
#include "base/str.h"

/* code, HTTP status, OpenAI error type. Statuses and codes are fixed by the wire contract that
 * drop-in peers rely on (docs/errors.md). */
#define FAULT_CODES(X)                                                                             \
    X(bad_request, 400, "invalid_request_error")                                                   \
    X(invalid_path, 400, "invalid_request_error")                                                  \
    X(invalid_query, 400, "invalid_request_error")                                                 \
    X(invalid_json, 400, "invalid_request_error")                                                  \
    X(invalid_model, 400, "invalid_request_error")                                                 \
    X(invalid_registry_token, 401, "authentication_error")                                         \
    X(invalid_api_key, 401, "authentication_error")                                                \
    X(host_not_allowed, 403, "permission_error")                                                   \
    X(origin_not_allowed, 403, "permission_error")                                                 \
    X(path_not_allowed, 403, "permission_error")                                                   \
    X(model_not_allowed, 403, "permission_error")                                                  \
    X(not_found, 404, "invalid_request_error")                                                     \
    X(model_not_found, 404, "invalid_request_error")                                               \
    X(service_not_found, 404, "invalid_request_error")                                             \
    X(method_not_allowed, 405, "invalid_request_error")                                            \
    X(request_timeout, 408, "invalid_request_error")                                               \
    X(conflict, 409, "invalid_request_error")                                                      \
    X(payload_too_large, 413, "invalid_request_error")                                             \
    X(uri_too_long, 414, "invalid_request_error")                                                  \
    X(unsupported_media_type, 415, "invalid_request_error")                                        \
    X(expectation_failed, 417, "invalid_request_error")                                            \
    X(invalid_field, 422, "invalid_request_error")                                                 \
    X(rate_limit_exceeded, 429, "rate_limit_error")                                                \
    X(headers_too_large, 431, "invalid_request_error")                                             \
    X(internal_error, 500, "server_error")                                                         \
    X(bad_engine_reply, 500, "server_error")                                                       \
    X(not_implemented, 501, "invalid_request_error")                                               \
    X(bad_gateway, 502, "server_error")                                                            \
    X(upstream_disconnected, 502, "server_error")                                                  \
    X(no_healthy_service, 503, "server_error")                                                     \
    X(upstream_refused, 503, "server_error")                                                       \
    X(engine_unavailable, 503, "server_error")                                                     \
    X(table_full, 503, "server_error")                                                             \
    X(overloaded, 503, "server_error")                                                             \
    X(draining, 503, "server_error")                                                               \
    X(upstream_timeout, 504, "server_error")                                                       \
    X(version_not_supported, 505, "invalid_request_error")                                         \
    X(client_gone, 499, "invalid_request_error")

#define FAULT_AS_ENUM(code, status, type) FAULT_##code,
enum fault_code {
    FAULT_none, /* the request is fine */
    FAULT_CODES(FAULT_AS_ENUM)
};

/* Whose fault it was: what metrics and later the breaker count. */
enum fault_whose {
    FAULT_OF_NOBODY, /* load, drain, time */
    FAULT_OF_CLIENT,
    FAULT_OF_ENGINE,
    FAULT_OF_US,
};

struct fault {
    enum fault_code code;
    int status; /* HTTP; usually the code's own, see fault_status */
    enum fault_whose whose;
    int retry_after_s; /* 0: what its status has, -1: no Retry-After */
    char param[64];    /* the field at fault, "" when none; escaped when rendered */
    char text[512];    /* a sentence for the client; UTF-8, cut at a character */
};

/* Fills *f; the text is formatted, cut at 511 bytes. `whose` follows from the status class: 4xx the
 * client's, 502 and 504 the engine's, 500 ours, else nobody's; set it afterwards where that is
 * wrong. */
void fault_set(struct fault *f, enum fault_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
const char *fault_code_name(enum fault_code code);
int fault_code_status(enum fault_code code);
/* OpenAI's `error.type`. */
const char *fault_code_type(enum fault_code code);
/* The same of one fault: what is told by a 5xx that is not the code's own is the server's. */
const char *fault_type(const struct fault *f);
