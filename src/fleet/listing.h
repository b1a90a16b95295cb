/* SPDX-License-Identifier: Apache-2.0
 *
 * listing.h - lists of services as text: a registry's reply, and the router's file of static ones.
 * Pure. Each element is read by itself, so one that is wrong spoils no other: of a registry it is
 * left out, of the file it is refused with everything. What is unknown is passed over; what is
 * optional and of the wrong kind counts as not said. Each such thing is noted.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"

enum {
    LISTING_NAME_BYTES = 256,
    LISTING_HOST_BYTES = 253,
    LISTING_URL_BYTES = 2048,
    LISTING_METADATA_BYTES = 256 << 10, /* of one element, compact */
    LISTING_WEIGHT_MAX = 1000000,
    LISTING_PORT_MAX = 65534, /* the babysitter has the next one */
    LISTING_BYTES = 64 << 20, /* of a whole list */
};

enum listing_kind {
    LISTING_REGISTRY, /* {"services":[...]} */
    LISTING_FILE,     /* {"static_services":{"services":[...]}}, {"services":[...]} or [...] */
};

/* An engine that is named. Texts live as long as the listing. */
struct listing_row {
    struct str name, host; /* host as written */
    uint16_t port;
    struct str url;            /* "http://host:port[/prefix]", IPv6 in brackets */
    struct str babysitter_url; /* "http://host:port+1" */
    struct str probe;          /* the URL that tells its health; "none": there is none */
    bool healthy;              /* is_healthy is not false */
    bool lasting;              /* metadata.static is true: kept longer when absent */
    bool weighed;              /* a weight is said */
    uint32_t weight;           /* 1 when none is */
    struct str metadata;       /* an object, compact, keys sorted */
};

struct listing {
    struct listing_row *rows; /* in the list's order, each name once */
    size_t n;
    struct str *names; /* of all elements that have one, whatever else they say */
    size_t nnames;
    size_t elements;
    size_t skipped; /* elements left out because they are wrong */
    /* private */
    struct arena arena;
};

enum listing_gravity {
    LISTING_IGNORED, /* it counts as not said */
    LISTING_SKIPPED, /* its element is left out */
    LISTING_REFUSED, /* all of it is */
};

/* Good until the call returns. */
struct listing_note {
    enum listing_gravity gravity;
    size_t element;   /* from 0 */
    bool of_element;  /* false: of the whole text */
    struct str name;  /* n 0: not known */
    struct str key;   /* n 0: of no key */
    const char *what; /* a clause: "must be a string" */
    struct str hint;  /* n 0: none; the key that may be meant */
};
typedef void listing_note_fn(void *ctx, const struct listing_note *note);
/* "services[3] 'a': port must be within 1 and 65534" */
void listing_write_note(const struct listing_note *note, struct buf *out);

/* 0, *ret to be given to listing_fini(); -E_CONF: nothing of it holds, a note of gravity
 * LISTING_REFUSED says why. `seed` is of a map of its names. */
int listing_read(struct str bytes, enum listing_kind kind, uint64_t seed, listing_note_fn *note,
                 void *ctx, struct listing *ret) MUSTCHECK;
void listing_fini(struct listing *l);

/* The engine that is meant, the same for all ways to say it: "localhost:6001" for the loopback
 * addresses and 0.0.0.0, else host in lower case without brackets and port. */
void listing_write_address(struct str host, uint16_t port, struct buf *out);
