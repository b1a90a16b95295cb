/* SPDX-License-Identifier: Apache-2.0
 *
 * bundle.h - everything a configuration was made from, as bytes: what the master hands to the
 * gateway in a sealed memfd, so that the gateway builds the same settings without reading a file.
 * Records of a kind, a name and a value in a framed, versioned, bounded container. Decoding trusts
 * nothing.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum bundle_kind {
    BUNDLE_FILE = 1, /* name: the file's path; value: the TOML */
    BUNDLE_COMPUTED, /* name: option path; value: a default that depends on the machine (lanes,
                        directories) */
    BUNDLE_ENV,      /* name: option path; value: the variable's text */
    BUNDLE_FLAG,   /* name: option path; value: the flag's text. Repeatable ones come repeatedly */
    BUNDLE_SECRET, /* name: the file's path as configured; value: its content */
    BUNDLE_KEYS,   /* name: the path of the file of API keys; value: its TOML */
    BUNDLE_KINDS_, /* one more than the last */
};

enum {
    BUNDLE_RECORDS_MAX = 20000,
    BUNDLE_NAME_MAX = 4096,
    BUNDLE_TEXT_MAX = 4096,       /* bytes of a flag or variable */
    BUNDLE_FILE_MAX = 4 << 20,    /* bytes of TOML */
    BUNDLE_SECRET_MAX = 64 << 10, /* bytes of one secret */
    BUNDLE_MAX = 32 << 20,        /* bytes encoded */
};

struct bundle_record {
    enum bundle_kind kind;
    struct str name, value; /* value is NUL-terminated in the bundle's memory */
};

struct bundle {
    struct arena arena; /* owns the bytes */
    struct bundle_record *at;
    size_t n, size;
    size_t bytes; /* that bundle_encode() will write */
};

void bundle_create(struct bundle **ret);
/* NULL is fine. Secrets are overwritten before the memory goes. */
void bundle_destroy(struct bundle **b);
/* Copies. -E_LIMIT when the record, their number or the sum is too large. */
int bundle_add(struct bundle *b, enum bundle_kind kind, struct str name,
               struct str value) MUSTCHECK;
/* The first record of this kind and name; NULL name: of this kind. */
const struct bundle_record *bundle_find(const struct bundle *b, enum bundle_kind kind,
                                        const struct str *name);
/* Appends to a buffer whose cap is BUNDLE_MAX or more. -E_LIMIT. */
int bundle_encode(const struct bundle *b, struct buf *out) MUSTCHECK;
/* Copies out of `bytes`. -E_SYNTAX for anything but a whole, well-formed bundle of this version. */
int bundle_decode(struct str bytes, struct bundle **ret) MUSTCHECK;
