/* SPDX-License-Identifier: Apache-2.0
 *
 * token.h - the registry's token (fabric.md 3.5): the first line of a file that is nobody else's to
 * read. Start-up only: it blocks on the file.
 */
#pragma once
#include "base/str.h"

/* `path`, else INFERD_REGISTRY_TOKEN_FILE, else none: *ret is "" then. 0; or 1, the exit status,
 * with the reason on stderr. *ret is the caller's, to be freed with mem_free(). */
int token_find(struct str path, char **ret) MUSTCHECK;
