/* SPDX-License-Identifier: Apache-2.0
 *
 * retry.h - what of an attempt's failures may be tried again: the words of [retry] `on`, as bits.
 */
#pragma once
#include "base/str.h"

/* bit, word, in the default set */
#define RETRY_KINDS(X)                                                                             \
    X(CONNECT, "connect", 1) /* no connection was made: nothing was sent */                        \
    X(BROKEN, "broken", 1)   /* it ended, or was no HTTP, before a whole reply head */             \
    X(TIMEOUT, "timeout", 0) /* no reply head within first_byte_ms */                              \
    X(429, "429", 1)                                                                               \
    X(500, "500", 0)                                                                               \
    X(502, "502", 1)                                                                               \
    X(503, "503", 1)                                                                               \
    X(504, "504", 1)

#define RETRY_AS_INDEX(bit, word, dflt) RETRY_INDEX_##bit,
enum { RETRY_KINDS(RETRY_AS_INDEX) RETRY_KINDS_N };
#define RETRY_AS_BIT(bit, word, dflt) RETRY_##bit = 1 << RETRY_INDEX_##bit,
enum { RETRY_KINDS(RETRY_AS_BIT) RETRY_NOTHING = 0 };
#define RETRY_AS_DEFAULT(bit, word, dflt) | ((dflt) ? RETRY_##bit : 0)
enum { RETRY_DEFAULT = 0 RETRY_KINDS(RETRY_AS_DEFAULT) };

/* The bit of a word, 0 for none. */
uint32_t retry_bit(struct str word);
/* The word of RETRY_INDEX_*. */
const char *retry_word(unsigned index);
/* The bit of a reply's status, 0 when it is never tried again. */
uint32_t retry_bit_of_status(unsigned status);
/* All words, ", "-separated. */
const char *retry_words(void);
/* A Retry-After of whole seconds in ms, as long as it is below a day; 1 for "0", which asks for no
 * pause at all; 0: there is none (or a date). */
uint64_t retry_after_ms(struct str value);
