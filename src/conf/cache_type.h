/* SPDX-License-Identifier: Apache-2.0
 *
 * cache_type.h - how an engine keeps its cache, when the configuration says so: routers prefer the
 * one kind for long requests, the other for short ones. Shared by [[engine]] and [[remote]], whose
 * folders are peers. In the order of enum cache_class (fleet/entry.h).
 */
#pragma once
#include "conf/option.h"

#define CACHE_TYPE_WORDS(X)                                                                        \
    X(CACHE_TYPE_PAGED, "paged")                                                                   \
    X(CACHE_TYPE_STATIC, "static")
OPTION_ENUM(cache_type, CACHE_TYPE_WORDS); /* cache_type_unset: it is not said */
