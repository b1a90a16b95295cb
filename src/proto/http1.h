/* SPDX-License-Identifier: Apache-2.0
 *
 * http1.h - HTTP/1.1 heads, both directions, sans I/O (RFC 9112, RFC 9110). Strict: what is
 * ambiguous is refused, because two parsers that disagree are a smuggled request.
 *
 * The caller keeps the bytes of one head contiguous and calls the parser again with more of them;
 * the parser remembers where it stopped, so a head that comes a byte at a time costs one pass. The
 * result is offsets into those bytes: the caller may move them. Nothing is allocated.
 *
 * Writing a head is re-serialisation from parsed fields, never a copy of what came in.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/str.h"
#include "proto/http1_fields.h"

/* Absolute bounds of one parser; the configured limits are at most these. */
enum {
    HTTP1_FIELDS_MAX = 255,       /* field lines in one head; an index + 1 fits a byte */
    HTTP1_FIELD_BYTES_MAX = 8192, /* one field line without its CRLF; beyond: 431 */
    HTTP1_HEAD_BYTES_MAX = 65535  /* offsets are 16 bits wide */
};

enum http1_method {
    HTTP1_METHOD_OTHER, /* a token that is none of these */
    HTTP1_GET,
    HTTP1_HEAD,
    HTTP1_POST,
    HTTP1_PUT,
    HTTP1_DELETE,
    HTTP1_OPTIONS,
    HTTP1_PATCH,
    HTTP1_CONNECT,
    HTTP1_TRACE,
};

struct http1_span {
    uint16_t off, len;
};

struct http1_field {
    struct http1_span name, value; /* the value without blanks around it */
    uint8_t id;                    /* enum http1_field_id */
    bool underscore; /* the name has a '_': CGI-like peers read it as '-', so the gate drops it */
};

/* How the body behind a head is delimited (RFC 9112 section 6.3). */
enum http1_framing {
    HTTP1_NO_BODY,
    HTTP1_LENGTH, /* content_length bytes follow, more than 0 */
    HTTP1_CHUNKED,
    HTTP1_UNTIL_CLOSE, /* responses only */
};

struct http1_limits {
    uint32_t head_bytes;         /* the whole head, final CRLF included; beyond: 431 */
    uint32_t request_line_bytes; /* without its CRLF; beyond: 414 */
    uint16_t fields;             /* field lines; beyond: 431 */
    bool host_optional; /* HTTP/1.1 without Host passes (Unix sockets, the fabric's own roles) */
};

/* One parsed head. Spans are offsets into the bytes the parser was given. */
struct http1_head {
    bool response;
    uint8_t minor; /* HTTP/1.minor: 0 or 1 */
    /* requests */
    enum http1_method method;
    struct http1_span method_name;
    struct http1_span
        target; /* as sent: origin-form, absolute-form, "*", authority-form of CONNECT */
    struct http1_span
        authority; /* of an absolute-form or CONNECT target; len 0 otherwise. It overrides Host */
    struct http1_span path; /* without query; starts with '/', or is "*"; len 0 only for CONNECT. An
                             * absolute form without a path has "/" (a slash of its "//") */
    struct http1_span query; /* behind '?', without it; len 0 when there is none */
    bool has_query;
    bool expect_continue; /* Expect: 100-continue, HTTP/1.1 only */
    bool upgrade;         /* Connection names upgrade and there is an Upgrade field */
    /* responses */
    uint16_t status; /* 100..999 */
    struct http1_span reason;
    /* both */
    enum http1_framing
        framing; /* for responses: as if the request was not HEAD; see http1_response_framing */
    uint64_t content_length; /* valid when has_length */
    bool has_length;
    bool keep_alive;       /* the connection may be used again, by version and Connection */
    bool connection_names; /* Connection lists more than close, keep-alive and upgrade */
    uint16_t nfields;
    uint8_t known[HTTP1_FIELD_IDS]; /* index + 1 of the first field of that id; 0: absent */
    struct http1_field field[HTTP1_FIELDS_MAX];
};

/* Parser state between calls; zero-initialise through http1_init. */
struct http1_parser {
    struct http1_limits limits;
    bool response;
    uint8_t state;
    uint32_t at;                  /* bytes looked at so far */
    uint32_t line;                /* where the current line began */
    uint32_t mark;                /* where the current element began */
    uint32_t target;              /* where the request target began */
    uint32_t query;               /* where its '?' stands; 0: none so far */
    uint32_t seen;                /* bit of each enum http1_field_id that came */
    uint16_t nfields;             /* complete field lines */
    uint8_t method;               /* enum http1_method */
    uint8_t minor;                /* HTTP/1.minor */
    bool underscore;              /* the name being read has a '_' */
    bool close, persist, upgrade; /* options that Connection listed so far */
    bool resumed;                 /* the head came in more than one call */
    int err;                      /* -E_SYNTAX or -E_LIMIT once it was refused */
    /* why it was refused, valid after -E_SYNTAX or -E_LIMIT */
    int status; /* 400, 414, 417, 431, 501, 505 for requests; 502 for responses */
    enum fault_code code;
    const char *why; /* static sentence part: "a bare LF", "two Content-Length fields" */
};

/* Limits above the absolute bounds count as those. */
void http1_init(struct http1_parser *p, bool response, const struct http1_limits *limits);

/* Looks at bytes[0..n), the head's bytes so far from its first byte on (a request may be preceded
 * by at most one empty line, which counts as part of it). Returns the head's length (> 0, <= n)
 * when it is complete and *head is filled, 0 when more bytes are needed, -E_SYNTAX or -E_LIMIT when
 * it is refused. The verdict does not depend on how the bytes were split. *head need not be
 * initialised and holds garbage until the head is complete: many parsers may share one, nothing is
 * read from it between calls (a head that came in pieces is read a second time, once, to fill it).
 * Another call after a refusal repeats it; after a complete head the parser needs http1_init again.
 */
long http1_parse(struct http1_parser *p, const char *bytes, size_t n,
                 struct http1_head *head) MUSTCHECK;

static inline struct str http1_str(const char *bytes, struct http1_span s)
{
    return (struct str){bytes + s.off, s.len};
}

/* The value of the first field with this id; {NULL, 0} when absent. */
struct str http1_value(const struct http1_head *h, const char *bytes, enum http1_field_id id);

/* The framing of a response to a request of that method: HEAD, 1xx, 204 and 304 have no body. */
enum http1_framing http1_response_framing(const struct http1_head *h, enum http1_method asked);

/* True when the field must not be passed on: hop-by-hop (RFC 9110 section 7.6.1), or named by
 * Connection. content-length, transfer-encoding, host and expect count as hop-by-hop: the writer
 * sets them. */
bool http1_is_hop_by_hop(const struct http1_head *h, const char *bytes,
                         const struct http1_field *f);

/* Splits "host", "host:port", "[v6]:port" as Host and URLs have it: *host without brackets, *port
 * the digits behind the colon ({NULL, 0} when there are none). False, outputs untouched, when it is
 * none: empty, with userinfo, percent-escapes or sub-delimiters, a port over 65535, a broken IPv6
 * literal. */
bool http1_target_authority(struct str authority, struct str *host, struct str *port) MUSTCHECK;

/* True when `s` may stand as a field value (no blanks around it) / as a field name / as a request
 * target in origin form, in absolute form, or "*". */
bool http1_is_value(struct str s);
bool http1_is_token(struct str s);
bool http1_is_target(struct str s);

/* Writers: append to `out`; its cap is the bound, buf_status() the verdict. Names and values given
 * here must be valid (CHECKed in debug builds). Each ends with CRLF; http1_write_end adds the empty
 * line. */
void http1_write_request_line(struct buf *out, struct str method, struct str target);
void http1_write_status_line(struct buf *out, unsigned status);
void http1_write_field(struct buf *out, struct str name, struct str value);
void http1_write_length(struct buf *out, uint64_t bytes);
void http1_write_chunked(struct buf *out);
void http1_write_end(struct buf *out);
/* "OK" for 200; "" for a status that is not listed. */
const char *http1_reason(unsigned status);
const char *http1_method_text(enum http1_method m);
