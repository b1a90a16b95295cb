/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonscan.c - see jsonscan.h. A table of states, one small function per kind of state; each
 * consumes at least one byte or moves on to another state. Everything that a cut between two bytes
 * could separate is in the struct.
 *
 * Inside strings there are fast paths (plain runs 16 or 8 bytes at a time, whole UTF-8 sequences,
 * whole escapes). A fast path only ever accepts: whatever it does not like, because it is wrong or
 * because its end has not come yet, it leaves to the byte-wise states. So a verdict, its offset and
 * its reason are decided in one place and do not depend on how the bytes were cut.
 */
#include "base/jsonscan.h"

#include "base/jsonscan_run.h"

enum state {
    VALUE,        /* a value must come */
    ARRAY_FIRST,  /* behind '[': a value or ']' */
    OBJECT_FIRST, /* behind '{': a key or '}' */
    KEY,          /* behind ',' in an object: a key */
    COLON,        /* behind a key */
    AFTER,        /* behind a value: ',' or the container's end; at depth 0 nothing */
    LITERAL,      /* `pending` more bytes of true, false or null */
    NUM_MINUS,    /* "-" */
    NUM_ZERO,     /* "0" */
    NUM_INT,      /* "12" */
    NUM_DOT,      /* "0." */
    NUM_FRAC,     /* "0.1" */
    NUM_E,        /* "1e" */
    NUM_SIGN,     /* "1e-" */
    NUM_EXP,      /* "1e1" */
    STRING,       /* between the characters of a string */
    UTF8,         /* `pending` more bytes of a sequence, the next within low..high */
    ESCAPE,       /* behind '\' */
    HEX,          /* `pending` more hex digits into `unit` */
    LEAD,         /* behind a high surrogate: '\' */
    LEAD_ESCAPE,  /* behind that: 'u' */
};

/* The bytes of one feed; `base` has the offset s->offset. */
struct cursor {
    const uint8_t *p, *end, *base;
};

static uint64_t offset_of(const struct jsonscan *s, const struct cursor *c)
{
    return s->offset + (uint64_t)(c->p - c->base);
}

static COLD void fail_at(struct jsonscan *s, uint64_t at, int err, const char *reason)
{
    s->err = err;
    s->error_at = at;
    s->reason = reason;
}

static COLD void fail(struct jsonscan *s, const struct cursor *c, const char *reason)
{
    fail_at(s, offset_of(s, c), -E_SYNTAX, reason);
}

/* Tells an event unless it is inside what the client skips; the client's wish, or 0. */
static inline int tell(struct jsonscan *s, enum jsonscan_kind kind, uint64_t begin, uint64_t end,
                       struct str text)
{
    struct jsonscan_event event;
    int r;

    if (s->depth > s->loud)
        return 0;
    event = (struct jsonscan_event){
        .kind = kind, .depth = s->depth, .begin = begin, .end = end, .text = text};
    r = s->fn(s->ctx, &event);
    if (UNLIKELY(r < 0)) {
        fail_at(s, begin, r, "refused by the reader");
        return 0;
    }
    return r;
}

/* Counts a key or value that begins here; false when that is one too many. */
static inline bool count_token(struct jsonscan *s, const struct cursor *c)
{
    if (UNLIKELY(s->tokens >= s->limits.tokens)) {
        fail_at(s, offset_of(s, c), -E_LIMIT, "too many keys and values");
        return false;
    }
    s->tokens++;
    return true;
}

static inline bool in_object(const struct jsonscan *s) { return s->objects >> (s->depth - 1) & 1; }

/* ---- strings ---- */

static inline void tell_text(struct jsonscan *s, const struct cursor *c, const uint8_t *run)
{
    if (s->want_text && c->p > run)
        (void)tell(s, JSONSCAN_TEXT, offset_of(s, c) - (uint64_t)(c->p - run), offset_of(s, c),
                   str_span((const char *)run, (size_t)(c->p - run)));
}

/* What an escape of `raw` bytes that ends before c->p stood for. */
static void tell_code(struct jsonscan *s, const struct cursor *c, uint32_t code, unsigned raw)
{
    char text[4];
    size_t n = 0;

    if (!s->want_text)
        return;
    if (code < 0x80) {
        text[n++] = (char)code;
    } else if (code < 0x800) {
        text[n++] = (char)(0xC0 | code >> 6);
        text[n++] = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        text[n++] = (char)(0xE0 | code >> 12);
        text[n++] = (char)(0x80 | (code >> 6 & 0x3F));
        text[n++] = (char)(0x80 | (code & 0x3F));
    } else {
        text[n++] = (char)(0xF0 | code >> 18);
        text[n++] = (char)(0x80 | (code >> 12 & 0x3F));
        text[n++] = (char)(0x80 | (code >> 6 & 0x3F));
        text[n++] = (char)(0x80 | (code & 0x3F));
    }
    (void)tell(s, JSONSCAN_TEXT, offset_of(s, c) - raw, offset_of(s, c), str_span(text, n));
}

/* What stands for itself or a control character behind '\'; 0: no such escape. */
static inline uint8_t short_escape(uint8_t b)
{
    static const uint8_t meaning[256] = {
        ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
        ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
    };

    return meaning[b];
}

/* -1 when b is no hex digit. */
static inline int hex_digit(uint8_t b)
{
    if (b >= '0' && b <= '9')
        return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

/* Four hex digits, or something negative. */
static inline int32_t hex_unit(const uint8_t *p)
{
    int32_t a = hex_digit(p[0]), b = hex_digit(p[1]), c = hex_digit(p[2]), d = hex_digit(p[3]);

    return (a | b | c | d) < 0 ? -1 : a << 12 | b << 8 | c << 4 | d;
}

/* A whole escape at c->p ('\'), if it is there and right; otherwise false and nothing is consumed.
 */
static inline bool escape_run(struct jsonscan *s, struct cursor *c)
{
    ptrdiff_t left = c->end - c->p;
    int32_t unit, low;
    uint8_t code;

    if (left < 2)
        return false;
    code = short_escape(c->p[1]);
    if (code) {
        c->p += 2;
        tell_code(s, c, code, 2);
        return true;
    }
    if (c->p[1] != 'u' || left < 6 || (unit = hex_unit(c->p + 2)) < 0)
        return false;
    if (unit < 0xD800 || unit > 0xDFFF) {
        c->p += 6;
        tell_code(s, c, (uint32_t)unit, 6);
        return true;
    }
    if (unit > 0xDBFF || left < 12 || c->p[6] != '\\' || c->p[7] != 'u')
        return false;
    low = hex_unit(c->p + 8);
    if (low < 0xDC00 || low > 0xDFFF)
        return false;
    c->p += 12;
    tell_code(s, c, 0x10000 + ((uint32_t)(unit - 0xD800) << 10) + (uint32_t)(low - 0xDC00), 12);
    return true;
}

static inline void begin_string(struct jsonscan *s, struct cursor *c, bool key)
{
    if (!count_token(s, c))
        return;
    s->token_begin = offset_of(s, c);
    s->in_key = key;
    s->state = STRING;
    c->p++;
    s->want_text = tell(s, key ? JSONSCAN_KEY : JSONSCAN_STRING, s->token_begin, s->token_begin + 1,
                        STR_NONE) == JSONSCAN_WANT_TEXT;
}

static inline void end_string(struct jsonscan *s, struct cursor *c)
{
    c->p++;
    s->state = s->in_key ? COLON : AFTER;
    (void)tell(s, s->in_key ? JSONSCAN_KEY_END : JSONSCAN_STRING_END, s->token_begin,
               offset_of(s, c), STR_NONE);
}

/* The first byte of a sequence that no fast path took. */
static void begin_utf8(struct jsonscan *s, struct cursor *c)
{
    uint8_t b = *c->p;

    if (b < 0xC2 || b > 0xF4) {
        fail(s, c, "invalid UTF-8");
        return;
    }
    s->pending = b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
    s->low = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80;
    s->high = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF;
    s->state = UTF8;
    c->p++;
    tell_text(s, c, c->p - 1);
}

static void scan_utf8(struct jsonscan *s, struct cursor *c)
{
    const uint8_t *run = c->p;

    if (*c->p < s->low || *c->p > s->high) {
        fail(s, c, "invalid UTF-8");
        return;
    }
    s->low = 0x80;
    s->high = 0xBF;
    if (--s->pending == 0)
        s->state = STRING;
    c->p++;
    tell_text(s, c, run);
}

static HOT void scan_string(struct jsonscan *s, struct cursor *c)
{
    const uint8_t *run = c->p; /* from here on, nothing was told yet */

    while (s->err == 0) {
        const uint8_t *was;

        c->p = was = plain_run(c->p, c->end);
        if (c->p < c->end && *c->p >= 0x80) {
            c->p = utf8_run(c->p, c->end);
            if (c->p > was)
                continue;
        }
        tell_text(s, c, run); /* whatever comes next, an error included */
        if (c->p == c->end || s->err)
            return;
        if (*c->p == '"') {
            end_string(s, c);
            return;
        }
        if (*c->p >= 0x80) {
            begin_utf8(s, c);
            return;
        }
        if (*c->p != '\\') {
            fail(s, c, "control character in string");
        } else if (!escape_run(s, c)) {
            s->state = ESCAPE;
            c->p++;
            return;
        }
        run = c->p;
    }
}

static void scan_escape(struct jsonscan *s, struct cursor *c)
{
    uint8_t code = short_escape(*c->p);

    if (code) {
        s->state = STRING;
        c->p++;
        tell_code(s, c, code, 2);
    } else if (*c->p == 'u') {
        s->state = HEX;
        s->pending = 4;
        s->unit = 0;
        c->p++;
    } else {
        fail(s, c, "unknown escape");
    }
}

/* All four digits of a \u escape are in s->unit, c->p is behind them. */
static void end_unit(struct jsonscan *s, struct cursor *c)
{
    uint32_t unit = s->unit, lead = s->lead;
    bool is_lead = unit >= 0xD800 && unit <= 0xDBFF, is_tail = unit >= 0xDC00 && unit <= 0xDFFF;

    if (is_tail != (lead != 0)) {
        c->p--; /* the place is the digit that made it so, whatever was fed before */
        fail(s, c, "lone surrogate escape");
        return;
    }
    if (is_lead) {
        s->lead = s->unit;
        s->state = LEAD;
        return;
    }
    s->lead = 0;
    s->state = STRING;
    if (is_tail)
        tell_code(s, c, 0x10000 + ((lead - 0xD800) << 10) + (unit - 0xDC00), 12);
    else
        tell_code(s, c, unit, 6);
}

static void scan_hex(struct jsonscan *s, struct cursor *c)
{
    int digit = hex_digit(*c->p);

    if (digit < 0) {
        fail(s, c, "malformed \\u escape");
        return;
    }
    s->unit = (uint16_t)(s->unit << 4 | digit);
    c->p++;
    if (--s->pending == 0)
        end_unit(s, c);
}

/* Behind a high surrogate only "\u" may come. */
static void scan_lead(struct jsonscan *s, struct cursor *c)
{
    bool escape = s->state == LEAD_ESCAPE;

    if (*c->p != (escape ? 'u' : '\\')) {
        fail(s, c, "lone surrogate escape");
        return;
    }
    s->state = escape ? HEX : LEAD_ESCAPE;
    s->pending = 4;
    s->unit = 0;
    c->p++;
}

/* ---- numbers and literals ---- */

static void begin_number(struct jsonscan *s, const struct cursor *c)
{
    if (!count_token(s, c))
        return;
    s->token_begin = offset_of(s, c);
    s->number_n = s->number_free = 0;
    s->state = *c->p == '-' ? NUM_MINUS : *c->p == '0' ? NUM_ZERO : NUM_INT;
    s->number[s->number_n++] = (char)*c->p;
    s->number_zero = *c->p == '-' || *c->p == '0';
}

static inline bool is_digit(uint8_t b) { return b >= '0' && b <= '9'; }

/* The state behind byte b, or AFTER when b is no part of the number. */
static inline uint8_t number_state(uint8_t state, uint8_t b)
{
    enum { OTHER, ZERO, DIGIT, DOT, EXP, PLUS, MINUS };
    static const uint8_t class_of[256] = {
        ['0'] = ZERO,  ['1'] = DIGIT, ['2'] = DIGIT, ['3'] = DIGIT, ['4'] = DIGIT,
        ['5'] = DIGIT, ['6'] = DIGIT, ['7'] = DIGIT, ['8'] = DIGIT, ['9'] = DIGIT,
        ['.'] = DOT,   ['e'] = EXP,   ['E'] = EXP,   ['+'] = PLUS,  ['-'] = MINUS,
    };
    static const uint8_t next[NUM_EXP - NUM_MINUS + 1][7] = {
        /* by class: OTHER, ZERO, DIGIT, DOT, EXP, PLUS, MINUS */
        [NUM_MINUS - NUM_MINUS] = {AFTER, NUM_ZERO, NUM_INT, AFTER, AFTER, AFTER, AFTER},
        [NUM_ZERO - NUM_MINUS] = {AFTER, AFTER, AFTER, NUM_DOT, NUM_E, AFTER, AFTER},
        [NUM_INT - NUM_MINUS] = {AFTER, NUM_INT, NUM_INT, NUM_DOT, NUM_E, AFTER, AFTER},
        [NUM_DOT - NUM_MINUS] = {AFTER, NUM_FRAC, NUM_FRAC, AFTER, AFTER, AFTER, AFTER},
        [NUM_FRAC - NUM_MINUS] = {AFTER, NUM_FRAC, NUM_FRAC, AFTER, NUM_E, AFTER, AFTER},
        [NUM_E - NUM_MINUS] = {AFTER, NUM_EXP, NUM_EXP, AFTER, AFTER, NUM_SIGN, NUM_SIGN},
        [NUM_SIGN - NUM_MINUS] = {AFTER, NUM_EXP, NUM_EXP, AFTER, AFTER, AFTER, AFTER},
        [NUM_EXP - NUM_MINUS] = {AFTER, NUM_EXP, NUM_EXP, AFTER, AFTER, AFTER, AFTER},
    };

    return next[state - NUM_MINUS][class_of[b]];
}

/* A number is known to be over only by what follows it. */
static void end_number(struct jsonscan *s, uint64_t at)
{
    if (s->state != NUM_ZERO && s->state != NUM_INT && s->state != NUM_FRAC &&
        s->state != NUM_EXP) {
        fail_at(s, at, -E_SYNTAX, "malformed number");
        return;
    }
    s->state = AFTER;
    (void)tell(s, JSONSCAN_NUMBER, s->token_begin, at, str_span(s->number, s->number_n));
}

static HOT void scan_number(struct jsonscan *s, struct cursor *c)
{
    uint8_t state = s->state;
    unsigned n = s->number_n, free_zeros = s->number_free;

    while (c->p < c->end) {
        uint8_t b = *c->p;
        uint8_t next = number_state(state, b);

        if (next == AFTER) {
            s->number_n = (uint8_t)n;
            s->state = state;
            end_number(s, offset_of(s, c));
            return;
        }
        if (next == NUM_FRAC && b == '0' && s->number_zero)
            free_zeros++;
        else if (b >= '1' && b <= '9')
            s->number_zero = false;
        if (n - free_zeros >= s->limits.number_bytes || n >= JSONSCAN_NUMBER_MAX) {
            fail_at(s, offset_of(s, c), -E_LIMIT, "number too long");
            return;
        }
        s->number[n++] = (char)b;
        state = next;
        c->p++;
    }
    s->number_n = (uint8_t)n;
    s->number_free = (uint8_t)free_zeros;
    s->state = state;
}

static void begin_literal(struct jsonscan *s, struct cursor *c, enum jsonscan_kind kind)
{
    if (!count_token(s, c))
        return;
    s->token_begin = offset_of(s, c);
    s->literal = (uint8_t)kind;
    s->pending = kind == JSONSCAN_FALSE ? 4 : 3;
    s->state = LITERAL;
    c->p++;
}

static void scan_literal(struct jsonscan *s, struct cursor *c)
{
    const char *rest = s->literal == JSONSCAN_TRUE    ? "rue"
                       : s->literal == JSONSCAN_FALSE ? "alse"
                                                      : "ull";
    const char *want = rest + (s->literal == JSONSCAN_FALSE ? 4 : 3) - s->pending;

    for (; c->p < c->end && s->pending > 0; want++) {
        if (*c->p != (uint8_t)*want) {
            fail(s, c, "unknown word");
            return;
        }
        c->p++;
        s->pending--;
    }
    if (s->pending > 0)
        return;
    s->state = AFTER;
    (void)tell(s, s->literal, s->token_begin, offset_of(s, c), STR_NONE);
}

/* ---- structure ---- */

static void open_container(struct jsonscan *s, struct cursor *c, bool object)
{
    uint64_t at = offset_of(s, c);
    int wish;

    if (!count_token(s, c))
        return;
    if (s->depth >= s->limits.depth) {
        fail_at(s, at, -E_LIMIT, "nested too deeply");
        return;
    }
    c->p++;
    wish = tell(s, object ? JSONSCAN_OBJECT : JSONSCAN_ARRAY, at, at + 1, STR_NONE);
    if (wish == JSONSCAN_SKIP)
        s->loud = s->depth;
    s->objects = (s->objects & ~((uint64_t)1 << s->depth)) | (uint64_t)object << s->depth;
    s->keys[s->depth++] = 0;
    s->state = object ? OBJECT_FIRST : ARRAY_FIRST;
}

static void close_container(struct jsonscan *s, struct cursor *c)
{
    uint64_t at = offset_of(s, c);
    bool object = in_object(s);

    s->depth--;
    if (s->depth == s->loud)
        s->loud = JSONSCAN_DEPTH_MAX;
    c->p++;
    s->state = AFTER;
    (void)tell(s, object ? JSONSCAN_OBJECT_END : JSONSCAN_ARRAY_END, at, at + 1, STR_NONE);
}

static void scan_value(struct jsonscan *s, struct cursor *c)
{
    switch (*c->p) {
    case '"':
        begin_string(s, c, false);
        break;
    case '{':
    case '[':
        open_container(s, c, *c->p == '{');
        break;
    case ']':
        if (s->state == ARRAY_FIRST)
            close_container(s, c);
        else
            fail(s, c, "value expected");
        break;
    case 't':
        begin_literal(s, c, JSONSCAN_TRUE);
        break;
    case 'f':
        begin_literal(s, c, JSONSCAN_FALSE);
        break;
    case 'n':
        begin_literal(s, c, JSONSCAN_NULL);
        break;
    default:
        if (*c->p == '-' || is_digit(*c->p)) {
            begin_number(s, c);
            c->p += s->err == 0;
        } else {
            fail(s, c, "value expected");
        }
    }
}

static void scan_key(struct jsonscan *s, struct cursor *c)
{
    if (*c->p == '"') {
        if (s->keys[s->depth - 1] >= s->limits.keys) {
            fail_at(s, offset_of(s, c), -E_LIMIT, "too many keys in an object");
            return;
        }
        s->keys[s->depth - 1]++;
        begin_string(s, c, true);
    } else if (*c->p == '}' && s->state == OBJECT_FIRST) {
        close_container(s, c);
    } else {
        fail(s, c, "key expected");
    }
}

static void scan_after(struct jsonscan *s, struct cursor *c)
{
    if (s->depth == 0) {
        fail(s, c, "more than one value");
    } else if (*c->p == ',') {
        s->state = in_object(s) ? KEY : VALUE;
        c->p++;
    } else if (*c->p == (in_object(s) ? '}' : ']')) {
        close_container(s, c);
    } else {
        fail(s, c, in_object(s) ? "',' or '}' expected" : "',' or ']' expected");
    }
}

static void scan_colon(struct jsonscan *s, struct cursor *c)
{
    if (*c->p != ':') {
        fail(s, c, "':' expected");
        return;
    }
    s->state = VALUE;
    c->p++;
}

static inline bool is_space(uint8_t b) { return b == ' ' || b == '\n' || b == '\r' || b == '\t'; }

/* The structure up to the inside of the next string, number or word, white space skipped. */
static inline void scan_structure(struct jsonscan *s, struct cursor *c)
{
    do {
        while (is_space(*c->p))
            if (++c->p == c->end)
                return;
        switch (s->state) {
        case OBJECT_FIRST:
        case KEY:
            scan_key(s, c);
            break;
        case COLON:
            scan_colon(s, c);
            break;
        case AFTER:
            scan_after(s, c);
            break;
        default: /* VALUE, ARRAY_FIRST */
            scan_value(s, c);
        }
    } while (s->state <= AFTER && c->p < c->end && s->err == 0);
}

static inline void scan_step(struct jsonscan *s, struct cursor *c)
{
    switch (s->state) {
    case STRING:
        scan_string(s, c);
        break;
    case UTF8:
        scan_utf8(s, c);
        break;
    case ESCAPE:
        scan_escape(s, c);
        break;
    case HEX:
        scan_hex(s, c);
        break;
    case LEAD:
    case LEAD_ESCAPE:
        scan_lead(s, c);
        break;
    case LITERAL:
        scan_literal(s, c);
        break;
    case NUM_MINUS:
    case NUM_ZERO:
    case NUM_INT:
    case NUM_DOT:
    case NUM_FRAC:
    case NUM_E:
    case NUM_SIGN:
    case NUM_EXP:
        scan_number(s, c);
        break;
    default: /* between tokens */
        scan_structure(s, c);
    }
}

/* ---- interface ---- */

void jsonscan_init(struct jsonscan *s, const struct jsonscan_limits *limits, jsonscan_fn *fn,
                   void *ctx)
{
    struct jsonscan_limits l = limits ? *limits : JSONSCAN_LIMITS;

    CHECK(fn && l.depth <= JSONSCAN_DEPTH_MAX && l.number_bytes <= JSONSCAN_NUMBER_MAX &&
          l.keys <= JSONSCAN_KEYS_MAX);
    memset(s, 0, offsetof(struct jsonscan, keys));
    s->reason = "";
    s->fn = fn;
    s->ctx = ctx;
    s->limits = l;
    s->loud = JSONSCAN_DEPTH_MAX;
    s->state = VALUE;
}

int jsonscan_feed(struct jsonscan *s, const char *p, size_t n)
{
    struct cursor c = {.p = (const uint8_t *)p, .base = (const uint8_t *)p};

    if (s->err || n == 0)
        return s->err;
    c.end = c.p + n;
    while (c.p < c.end && s->err == 0)
        scan_step(s, &c);
    s->offset += n;
    return s->err;
}

int jsonscan_finish(struct jsonscan *s)
{
    if (s->err)
        return s->err;
    if (s->state >= NUM_MINUS && s->state <= NUM_EXP && s->depth == 0)
        end_number(s, s->offset);
    if (s->err == 0 && (s->state != AFTER || s->depth > 0))
        fail_at(s, s->offset, -E_SYNTAX, s->tokens ? "unexpected end" : "empty document");
    return s->err;
}
