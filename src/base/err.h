/* SPDX-License-Identifier: Apache-2.0
 *
 * err.h - codes of failed operations. A function that can fail returns 0 (or a count) on success
 * and one of these, negative, on failure. System errors are translated where they happen, by
 * err_sys(). What failed for a client is a `struct fault` (base/fault.h), never one of these.
 */
#pragma once
#include "base/check.h"

/* name, number, text */
#define ERR_CODES(X)                                                                               \
    X(E_AGAIN, 1, "not now, try again")                                                            \
    X(E_LIMIT, 2, "a configured limit was reached")                                                \
    X(E_CONF, 3, "bad configuration")                                                              \
    X(E_SYNTAX, 4, "malformed input")                                                              \
    X(E_EOF, 5, "end of file")                                                                     \
    X(E_RESET, 6, "connection reset by peer")                                                      \
    X(E_REFUSED, 7, "connection refused")                                                          \
    X(E_TIMEOUT, 8, "timed out")                                                                   \
    X(E_UNREACHABLE, 9, "host or network unreachable")                                             \
    X(E_NOT_FOUND, 10, "not found")                                                                \
    X(E_EXISTS, 11, "exists already")                                                              \
    X(E_BUSY, 12, "in use")                                                                        \
    X(E_PERM, 13, "permission denied")                                                             \
    X(E_NO_FDS, 14, "out of file descriptors")                                                     \
    X(E_NO_MEM, 15, "out of memory")                                                               \
    X(E_NO_SPACE, 16, "no space left on device")                                                   \
    X(E_IO, 17, "input/output error")                                                              \
    X(E_CANCELED, 18, "canceled")                                                                  \
    X(E_GONE, 19, "no longer there")                                                               \
    X(E_INVAL, 20, "invalid argument")                                                             \
    X(E_UNSUPPORTED, 21, "not supported")                                                          \
    X(E_NAME, 22, "host name does not resolve")                                                    \
    X(E_CLOSED, 23, "closed by us")

#define ERR_AS_ENUM(name, number, text) name = (number),
enum err { ERR_CODES(ERR_AS_ENUM) };

/* "E_LIMIT" for -E_LIMIT; "E_?" for what is no code. Static strings. */
const char *err_name(int err);
/* "a configured limit was reached" for -E_LIMIT. Static strings. */
const char *err_text(int err);
/* The negative code for an errno value; unlisted ones become -E_IO. */
int err_sys(int errno_value);
