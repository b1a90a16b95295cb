/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_priv.h - the messages themselves. Both ends are the same executable (the master starts the
 * gateway from /proc/self/exe), so a message is one C struct of fixed size; what arrives is still
 * checked member by member, because a gateway may be in a stranger's hands. Texts end in NUL within
 * their array.
 */
#pragma once
#include "link/link.h"

enum { WIRE_VERSION = 0x49460001 }; /* "IF", then the version: the ends never differ, bugs do */

/* name, from the master?, descriptors at most */
#define WIRE_KINDS(X)                                                                              \
    X(WIRE_CONFIG, true, 1)     /* generation; the bundle */                                       \
    X(WIRE_LISTENER, true, 1)   /* generation, listener; its socket unless sent before */          \
    X(WIRE_COMMIT, true, 0)     /* generation */                                                   \
    X(WIRE_ABANDON, true, 0)    /* generation */                                                   \
    X(WIRE_UNIT, true, 1)       /* unit; its ring the first time */                                \
    X(WIRE_UNIT_GONE, true, 0)  /* unit.id */                                                      \
    X(WIRE_ANSWER, true, 0)     /* ticket, code, text */                                           \
    X(WIRE_COUNTS, true, 0)     /* counts */                                                       \
    X(WIRE_DRAIN, true, 0)      /* */                                                              \
    X(WIRE_CUT, true, 0)        /* */                                                              \
    X(WIRE_ASK, false, 0)       /* ticket, code = verb, unit.id */                                 \
    X(WIRE_REPORT, false, 0)    /* unit.id, unit.generation, code = report */                      \
    X(WIRE_ACK, false, 0)       /* generation, code = 0 or 1 (refused), text */                    \
    X(WIRE_SWAPPED, false, 0)   /* generation */                                                   \
    X(WIRE_ACCEPTING, false, 0) /* */                                                              \
    X(WIRE_DRAINED, false, 0)   /* */

#define WIRE_AS_ENUM(name, from_master, fds) name,
enum wire_kind { WIRE_KINDS(WIRE_AS_ENUM) WIRE_KINDS_N };

struct wire {
    uint32_t version, kind;
    uint32_t generation; /* of the configuration */
    uint32_t ticket;
    int32_t code;
    uint32_t reserved; /* 0 */
    union {
        struct link_unit unit;
        struct link_listener listener;
        struct link_counts counts;
        char text[LINK_TEXT_MAX + 1];
    };
};

/* Checks a message of `n` bytes with `fds_n` descriptors and copies it. -E_SYNTAX when the other
 * end would not have sent it. */
int wire_read(const void *p, size_t n, unsigned fds_n, bool from_master,
              struct wire *ret) MUSTCHECK;
/* A message with everything else zero. */
struct wire wire_make(enum wire_kind kind);
/* Copies `text`, cut at a character that fits. */
void wire_text(struct wire *w, struct str text);
