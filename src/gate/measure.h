/* SPDX-License-Identifier: Apache-2.0
 *
 * measure.h - how much text a request's body asks about, in bytes: what decides between engines
 * whose caches differ. A client of jsonscan's events (by way of jsonindex.h) for the values of two
 * keys; it keeps counts and no text. Pure.
 *
 * `messages`, when it is an array: of each message its `content`, a string, or an array of parts of
 * which the strings `text` and `content` count. Anything else in it counts nothing. Otherwise
 * `prompt`: a string, or an array of strings and token ids, a token being 4 bytes; arrays of token
 * ids may stand in it, too. Lengths are of UTF-8 after unescaping. A key that is null is as if it
 * were not there.
 */
#pragma once
#include "base/jsonscan.h"

enum { MEASURE_TOKEN_BYTES = 4 };

enum measure_key { MEASURE_MESSAGES, MEASURE_PROMPT, MEASURE_KEYS };

/* Zeroed before a body's first event; plain data. */
struct measure {
    struct {
        bool there, odd; /* odd: it says nothing about a size */
        uint64_t bytes;
    } of[MEASURE_KEYS];
    /* private */
    bool in_key; /* the text that comes is a key's */
    uint8_t name_n;
    char name[8];
};

/* An event of the value of `key` in the document's object, or inside it; jsonscan's answer. */
int measure_event(struct measure *m, enum measure_key key, const struct jsonscan_event *event);
/* After the whole body. False: what is there says nothing about a size. Neither key: 0. */
bool measure_size(const struct measure *m, uint64_t *ret);
