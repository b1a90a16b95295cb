/* SPDX-License-Identifier: Apache-2.0
 *
 * log.c - makes the lines: one record, three formats; log_ring.c carries them to stdout.
 *
 * A record is assembled in its writer's own buffer. `limit` leaves room for the record's tail
 * (closing quote, cut=true, brace, newline), so that whatever was cut, the line ends as its format
 * demands and JSON parses. Everything that is not a literal of ours goes through put_escaped():
 * plain ASCII is copied in runs found eight bytes at a time, the rest is looked at one UTF-8
 * sequence at a time.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log_priv.h"
#include "base/mem.h"

enum {
    TAIL_BYTES = 24,  /* `","cut":true}\n` and an ellipsis */
    STAMP_BYTES = 19, /* 2026-11-20T21:08:53 */
    ESCAPE_BYTES = 6, /* the longest escape of one character: backslash, u, four digits */
};

struct log_rec {
    struct log_writer *writer;
    enum log_format format;
    bool open; /* between log_begin and log_end */
    bool cut;  /* a field was left out */
    char *at;
    const char *limit;
    char line[LOG_LONG_BYTES];
};

struct log_writer {
    struct log_ring *ring;
    uint64_t dropped;  /* by this ring, so far */
    uint64_t reported; /* of them, in a line */
    uint64_t second;   /* the one `stamp` spells */
    char stamp[STAMP_BYTES];
    struct log_rec rec;
};

static struct {
    enum log_level level;   /* atomic */
    enum log_format format; /* atomic */
    bool colour;            /* of svc lines; set by log_init */
} conf = {.level = LOG_INFO};

static const char *const level_names[] = {"off", "error", "warn", "info", "debug", "trace"};
static const char *const format_names[] = {"logfmt", "json", "svc"};

/* Settings ------------------------------------------------------------------------------------- */

int log_init(const struct log_conf *c)
{
    log_set_level(c->level);
    log_set_format(c->format);
    conf.colour = c->colour && isatty(c->fd);
    return log_ring_start(c->fd);
}

void log_fini(void)
{
    log_ring_stop();
    conf.colour = false;
}

void log_set_level(enum log_level level) { __atomic_store_n(&conf.level, level, __ATOMIC_RELAXED); }

void log_set_format(enum log_format format)
{
    __atomic_store_n(&conf.format, format, __ATOMIC_RELAXED);
}

bool log_enabled(enum log_level level)
{
    return level <= __atomic_load_n(&conf.level, __ATOMIC_RELAXED);
}

int log_format_parse(struct str name, enum log_format *ret)
{
    for (unsigned i = 0; i < ARRAY_LEN(format_names); i++)
        if (str_eq(name, str_of(format_names[i]))) {
            *ret = (enum log_format)i;
            return 0;
        }
    return -E_SYNTAX;
}

int log_level_parse(struct str name, enum log_level *ret)
{
    for (unsigned i = 0; i < ARRAY_LEN(level_names); i++)
        if (str_caseeq(name, str_of(level_names[i]))) {
            *ret = (enum log_level)i;
            return 0;
        }
    return -E_SYNTAX;
}

const char *log_level_name(enum log_level level) { return level_names[level]; }

/* `target` names us: role, inferd, or infini_<role>, where '-' equals '_'. */
static bool target_counts(struct str target, struct str role)
{
    static const struct str prefix = {"infini_", 7};

    target = str_head(target, str_find_str(target, STR("::")));
    if (str_eq(target, STR("inferd")))
        return true;
    if (target.n == prefix.n + role.n && str_starts(target, STR("infini")) &&
        (target.p[6] == '_' || target.p[6] == '-'))
        target = str_from(target, prefix.n);
    if (target.n != role.n)
        return false;
    for (size_t i = 0; i < role.n; i++)
        if ((target.p[i] == '-' ? '_' : target.p[i]) != (role.p[i] == '-' ? '_' : role.p[i]))
            return false;
    return true;
}

unsigned log_filter_parse(struct str filter, struct str role, enum log_level *ret)
{
    enum log_level level = LOG_OFF, bare = *ret, ours = LOG_OFF;
    bool targeted = false;
    unsigned unusable = 0;

    while (filter.n > 0) {
        struct str part = str_trim(str_cut(&filter, ',')), target = STR_NONE;
        size_t equals = str_find(part, '=');

        if (part.n == 0)
            continue;
        if (equals < part.n) {
            target = str_trim(str_head(part, equals));
            part = str_trim(str_from(part, equals + 1));
        }
        if (log_level_parse(part, &level) < 0 || (target.p && target.n == 0)) {
            unusable++;
        } else if (!target.p) {
            bare = level;
        } else if (target_counts(target, role)) {
            ours = level;
            targeted = true;
        }
    }
    *ret = targeted ? ours : bare;
    return unusable;
}

/* Writers -------------------------------------------------------------------------------------- */

struct log_writer *log_writer_create(void)
{
    struct log_writer *w = mem_alloc(sizeof *w);

    w->ring = log_ring_create();
    w->rec.writer = w;
    w->second = UINT64_MAX;
    return w;
}

void log_writer_destroy(struct log_writer **writer)
{
    struct log_writer *w = TAKE(writer);

    if (!w)
        return;
    CHECK(!w->rec.open);
    log_ring_close(&w->ring);
    xfree(w);
}

uint64_t log_dropped(void) { return log_ring_dropped(); }

/* Bytes ---------------------------------------------------------------------------------------- */

#define ONES (~(uint64_t)0 / 255)
/* Bit 7 of each byte of `w` below `n` (1..128) or above 0x7f. Exact as a whole-word test, and in
 * its lowest set bit, which is the one that is used. */
#define BELOW(w, n) (((w)-ONES * (n)) | (w))
#define EQUAL(w, c) (((w) ^ ONES * (c)) - ONES)

/* Where a byte may stand as it is. */
enum plain {
    PLAIN_BARE = 1,   /* in a logfmt value without quotes */
    PLAIN_QUOTED = 2, /* between quotes */
    PLAIN_TEXT = 4,   /* in an svc message, where a quote is only a quote */
};

/* All of printable ASCII but '\\'; then without the quote; then without ' ' and '='. */
static const uint8_t plain_in[256] = {
    [' '] = PLAIN_QUOTED | PLAIN_TEXT,
    ['!'] = PLAIN_BARE | PLAIN_QUOTED | PLAIN_TEXT,
    ['"'] = PLAIN_TEXT,
    ['#' ... '<'] = PLAIN_BARE | PLAIN_QUOTED | PLAIN_TEXT,
    ['='] = PLAIN_QUOTED | PLAIN_TEXT,
    ['>' ... '['] = PLAIN_BARE | PLAIN_QUOTED | PLAIN_TEXT,
    [']' ... '~'] = PLAIN_BARE | PLAIN_QUOTED | PLAIN_TEXT,
};

/* How many bytes at the front are plain. */
static inline size_t plain_run(struct str s, enum plain plain)
{
    size_t i = 0;

    for (; i + 8 <= s.n; i += 8) {
        uint64_t w, odd;

        memcpy(&w, s.p + i, 8);
        odd = BELOW(w, plain == PLAIN_BARE ? 0x21 : 0x20) | EQUAL(w, '\\') | EQUAL(w, 0x7f);
        if (plain != PLAIN_TEXT)
            odd |= EQUAL(w, '"');
        if (plain == PLAIN_BARE)
            odd |= EQUAL(w, '=');
        if (odd & ONES * 0x80)
            break; /* somewhere in these eight, or a rare false alarm: the loop below knows */
    }
    while (i < s.n && (plain_in[(unsigned char)s.p[i]] & plain))
        i++;
    return i;
}

static inline void put_bytes(struct log_rec *r, const char *p, size_t n)
{
    memcpy(r->at, p, n);
    r->at += n;
}

static inline void put_text(struct log_rec *r, const char *c) { put_bytes(r, c, strlen(c)); }

/* A cut value's ellipsis and quote may stand behind the limit. */
static size_t room(const struct log_rec *r)
{
    return r->at < r->limit ? (size_t)(r->limit - r->at) : 0;
}

/* Characters that do not show as what they are: C1 controls, marks and overrides of direction, line
 * and paragraph separators, the byte order mark. `s` is one well-formed sequence. */
static bool misleads(struct str s, unsigned *point)
{
    const unsigned char *p = (const unsigned char *)s.p;

    if (s.n == 2)
        *point = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    else if (s.n == 3)
        *point = (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    else
        return false;
    return *point < 0xa0 || *point == 0x61c || (*point >= 0x200e && *point <= 0x200f) ||
           (*point >= 0x2028 && *point <= 0x202e) || (*point >= 0x2066 && *point <= 0x2069) ||
           *point == 0xfeff;
}

static size_t escape_point(unsigned point, char to[ESCAPE_BYTES])
{
    static const char hex[] = "0123456789abcdef";

    to[0] = '\\';
    to[1] = 'u';
    for (unsigned i = 0; i < 4; i++)
        to[2 + i] = hex[point >> (12 - 4 * i) & 15];
    return 6;
}

/* Spells the first character of `s`, which is not plain ASCII, into `to`; what it cost of `s` goes
 * to *used. */
static size_t escape_one(struct str s, enum log_format format, char to[ESCAPE_BYTES], size_t *used)
{
    static const char hex[] = "0123456789abcdef";
    static const char shorts[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    unsigned char c = (unsigned char)s.p[0];
    size_t n = str_utf8_sequence(s), at = 0;
    unsigned point = c;

    *used = n ? n : 1;
    if (n == 0) { /* a byte that is no character: \xff, in JSON with the backslash escaped */
        if (format == LOG_JSON)
            to[at++] = '\\';
        to[at++] = '\\';
        to[at++] = 'x';
        to[at++] = hex[c >> 4];
        to[at++] = hex[c & 15];
        return at;
    }
    if (n > 1) {
        if (misleads(str_head(s, n), &point))
            return escape_point(point, to);
        memcpy(to, s.p, n);
        return n;
    }
    if (c == '"' || c == '\\' || (c < 32 && shorts[c])) {
        to[0] = '\\';
        to[1] = c < 32 ? shorts[c] : (char)c;
        return 2;
    }
    return escape_point(point, to);
}

/* As much of `s` as `max` bytes hold. Returns what is left of it. */
static struct str put_part(struct log_rec *r, struct str s, size_t max, enum plain plain)
{
    while (s.n > 0) {
        size_t run = plain_run(s, plain);
        char one[ESCAPE_BYTES];
        size_t n, used = 0;

        if (run > 0) {
            n = min_size(run, max);
            put_bytes(r, s.p, n);
            max -= n;
            s = str_from(s, n);
            if (n == run)
                continue;
        }
        n = max ? escape_one(s, r->format, one, &used) : SIZE_MAX;
        if (n > max)
            break;
        put_bytes(r, one, n);
        max -= n;
        s = str_from(s, used);
    }
    return s;
}

/* At most `max` bytes, the ellipsis that marks a cut not counted; room() has 3 more for it. */
static void put_escaped(struct log_rec *r, struct str s, size_t max, enum plain plain)
{
    if (put_part(r, s, min_size(max, room(r)), plain).n > 0)
        put_text(r, "\xe2\x80\xa6");
}

static const char digit_pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233"
    "34353637383940414243444546474849505152535455565758596061626364656667"
    "6869707172737475767778798081828384858687888990919293949596979899";

static void put_u64(struct log_rec *r, uint64_t v)
{
    char *to = r->at += str_digits(v);

    for (; v >= 100; v /= 100)
        memcpy(to -= 2, digit_pairs + v % 100 * 2, 2);
    if (v >= 10)
        memcpy(to - 2, digit_pairs + v * 2, 2);
    else
        to[-1] = (char)('0' + v);
}

/* Exactly `n` digits, n even. */
static void digits_at(char *to, uint64_t v, unsigned n)
{
    for (; n > 0; n -= 2, v /= 100)
        memcpy(to + n - 2, digit_pairs + v % 100 * 2, 2);
}

/* The proleptic Gregorian date of a day since 1970-01-01 (H. Hinnant, "chrono-compatible low-level
 * date algorithms": years begin in March, eras have 400 of them). */
static void stamp_second(struct log_writer *w, uint64_t second)
{
    uint64_t day = second / 86400 + 719468, era, of_era, year, of_year, month;

    w->second = second;
    second %= 86400;
    era = day / 146097;
    of_era = day % 146097;
    year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    of_year = of_era - (365 * year + year / 4 - year / 100);
    month = (5 * of_year + 2) / 153;
    digits_at(w->stamp + 8, of_year - (153 * month + 2) / 5 + 1, 2);
    month = month < 10 ? month + 3 : month - 9;
    digits_at(w->stamp, (year + era * 400 + (month <= 2)) % 10000, 4);
    digits_at(w->stamp + 5, month, 2);
    digits_at(w->stamp + 11, second / 3600, 2);
    digits_at(w->stamp + 14, second / 60 % 60, 2);
    digits_at(w->stamp + 17, second % 60, 2);
    w->stamp[4] = w->stamp[7] = '-';
    w->stamp[10] = 'T';
    w->stamp[13] = w->stamp[16] = ':';
}

static void put_stamp(struct log_rec *r, uint64_t wall_us)
{
    struct log_writer *w = r->writer;

    if (w->second != wall_us / 1000000)
        stamp_second(w, wall_us / 1000000);
    put_bytes(r, w->stamp, STAMP_BYTES);
    *r->at++ = '.';
    digits_at(r->at, wall_us % 1000000, 6);
    r->at += 6;
    *r->at++ = 'Z';
}

/* Records -------------------------------------------------------------------------------------- */

static void put_value(struct log_rec *r, struct str s, size_t max)
{
    bool bare = r->format != LOG_JSON && s.n > 0 && s.n <= max && s.n <= room(r) &&
                plain_run(s, PLAIN_BARE) == s.n;

    if (bare) {
        put_bytes(r, s.p, s.n);
        return;
    }
    *r->at++ = '"';
    put_escaped(r, s, max, PLAIN_QUOTED);
    *r->at++ = '"';
}

static inline void put_colour(struct log_rec *r, const char *code)
{
    if (conf.colour)
        put_text(r, code);
}

/* The head of an svc line, as tracing's subscriber prints it. */
static void put_svc_head(struct log_rec *r, enum log_level level, uint64_t wall_us,
                         const char *target)
{
    static const char names[][6] = {"  OFF", "ERROR", " WARN", " INFO", "DEBUG", "TRACE"};
    static const char *const colours[] = {"",         "\x1b[31m", "\x1b[33m",
                                          "\x1b[32m", "\x1b[34m", "\x1b[35m"};
    static const char dim[] = "\x1b[2m", plain[] = "\x1b[0m";

    put_colour(r, dim);
    put_stamp(r, wall_us);
    put_colour(r, plain);
    *r->at++ = ' ';
    put_colour(r, colours[level]);
    put_bytes(r, names[level], sizeof names[0] - 1);
    put_colour(r, plain);
    *r->at++ = ' ';
    put_colour(r, dim);
    put_text(r, "inferd::");
    put_text(r, target);
    *r->at++ = ':';
    put_colour(r, plain);
    *r->at++ = ' ';
}

/* Up to where the message stands. */
static struct log_rec *rec_open(struct log_writer *w, enum log_level level, uint64_t wall_us,
                                const char *target)
{
    struct log_rec *r = &w->rec;

    CHECK(!r->open && level > LOG_OFF && level <= LOG_TRACE && strlen(target) <= 64);
    r->open = true;
    r->cut = false;
    r->format = __atomic_load_n(&conf.format, __ATOMIC_RELAXED);
    r->at = r->line;
    r->limit = r->line + LOG_LINE_BYTES - TAIL_BYTES;
    if (r->format == LOG_SVC) {
        put_svc_head(r, level, wall_us, target);
        return r;
    }
    put_text(r, r->format == LOG_JSON ? "{\"ts\":\"" : "ts=");
    put_stamp(r, wall_us);
    put_text(r, r->format == LOG_JSON ? "\",\"level\":\"" : " level=");
    put_text(r, level_names[level]);
    put_text(r, r->format == LOG_JSON ? "\",\"target\":\"" : " target=");
    put_text(r, target);
    put_text(r, r->format == LOG_JSON ? "\",\"msg\":" : " msg=");
    return r;
}

static struct log_rec *rec_begin(struct log_writer *w, enum log_level level, uint64_t wall_us,
                                 const char *target, struct str message)
{
    struct log_rec *r = rec_open(w, level, wall_us, target);

    if (r->format == LOG_SVC)
        put_escaped(r, message, LOG_TEXT_BYTES, PLAIN_TEXT);
    else
        put_value(r, message, LOG_TEXT_BYTES);
    return r;
}

/* "key=" or ",\"key\":", when that and `need` bytes of a value fit. */
static inline bool put_key(struct log_rec *r, const char *key, size_t need)
{
    size_t n = strlen(key);

    CHECK(r->open);
    if (room(r) < n + 4 + need) {
        r->cut = true;
        return false;
    }
    if (r->format == LOG_JSON) {
        *r->at++ = ',';
        *r->at++ = '"';
        put_bytes(r, key, n);
        *r->at++ = '"';
        *r->at++ = ':';
    } else {
        *r->at++ = ' ';
        put_bytes(r, key, n);
        *r->at++ = '=';
    }
    return true;
}

static void rec_end(struct log_rec *r)
{
    struct log_writer *w = r->writer;

    if (r->cut)
        put_text(r, r->format == LOG_JSON ? ",\"cut\":true" : " cut=true");
    if (r->format == LOG_JSON)
        *r->at++ = '}';
    *r->at++ = '\n';
    CHECK(r->at <= r->line + LOG_LONG_BYTES);
    r->open = false;
    if (!log_ring_put(w->ring, r->line, (size_t)(r->at - r->line)))
        w->dropped++;
}

/* Says what was dropped, once there is room again. */
static COLD void report_dropped(struct log_writer *w, uint64_t wall_us)
{
    uint64_t count = w->dropped - w->reported, before = w->dropped;
    char text[64];
    int n = snprintf(text, sizeof text, "dropped %llu records", (unsigned long long)count);

    if (!log_ring_calm(w->ring))
        return;
    rec_end(rec_begin(w, LOG_WARN, wall_us, "log", str_span(text, (size_t)n)));
    if (w->dropped == before)
        w->reported = before;
}

static void catch_up(struct log_writer *w, uint64_t wall_us)
{
    if (UNLIKELY(w->dropped != w->reported))
        report_dropped(w, wall_us);
}

static struct log_rec *begin(struct log_writer *w, enum log_level level, uint64_t wall_us,
                             const char *target, struct str message)
{
    catch_up(w, wall_us);
    return rec_begin(w, level, wall_us, target, message);
}

struct log_rec *log_begin(struct log_writer *w, enum log_level level, uint64_t wall_us,
                          const char *target, const char *message)
{
    return log_enabled(level) ? begin(w, level, wall_us, target, str_of(message)) : NULL;
}

struct log_rec *log_begin_str(struct log_writer *w, enum log_level level, uint64_t wall_us,
                              const char *target, struct str message)
{
    return log_enabled(level) ? begin(w, level, wall_us, target, message) : NULL;
}

struct log_rec *log_begin_part(struct log_writer *w, enum log_level level, uint64_t wall_us,
                               const char *target, struct str before, struct str *rest)
{
    struct log_rec *r;
    enum plain plain;
    bool quoted;

    if (!log_enabled(level))
        return NULL;
    catch_up(w, wall_us);
    r = rec_open(w, level, wall_us, target);
    quoted = r->format != LOG_SVC;
    plain = quoted ? PLAIN_QUOTED : PLAIN_TEXT;
    r->limit = r->line + LOG_LONG_BYTES - 1 - quoted - (r->format == LOG_JSON);
    if (quoted)
        *r->at++ = '"';
    put_escaped(r, before, LOG_TEXT_BYTES, plain);
    *rest = put_part(r, *rest, room(r), plain);
    if (quoted)
        *r->at++ = '"';
    return r;
}

struct log_rec *log_beginf(struct log_writer *w, enum log_level level, uint64_t wall_us,
                           const char *target, const char *fmt, ...)
{
    char text[LOG_TEXT_BYTES + 1] NO_INIT;
    va_list ap;
    int n;

    if (!log_enabled(level))
        return NULL;
    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    n = n < 0 ? 0 : (int)min_size((size_t)n, sizeof text - 1);
    return begin(w, level, wall_us, target, str_span(text, (size_t)n));
}

void log_str_cut(struct log_rec *r, const char *key, struct str value, size_t max)
{
    CHECK(max <= LOG_TEXT_BYTES);
    if (r && put_key(r, key, min_size(value.n, 16)))
        put_value(r, value, max);
}

void log_str(struct log_rec *r, const char *key, struct str value)
{
    log_str_cut(r, key, value, LOG_VALUE_BYTES);
}

void log_text(struct log_rec *r, const char *key, const char *value)
{
    log_str(r, key, str_of(value));
}

void log_u64(struct log_rec *r, const char *key, uint64_t value)
{
    if (r && put_key(r, key, 20))
        put_u64(r, value);
}

void log_i64(struct log_rec *r, const char *key, int64_t value)
{
    if (!r || !put_key(r, key, 20))
        return;
    if (value < 0)
        *r->at++ = '-';
    put_u64(r, value < 0 ? ~(uint64_t)value + 1 : (uint64_t)value);
}

void log_bool(struct log_rec *r, const char *key, bool value)
{
    if (r && put_key(r, key, 5))
        put_text(r, value ? "true" : "false");
}

void log_ms(struct log_rec *r, const char *key, uint64_t us)
{
    if (!r || !put_key(r, key, 24))
        return;
    put_u64(r, us / 1000);
    *r->at++ = '.';
    *r->at++ = (char)('0' + us % 1000 / 100);
    memcpy(r->at, digit_pairs + us % 100 * 2, 2);
    r->at += 2;
}

void log_err(struct log_rec *r, const char *key, int err) { log_text(r, key, err_text(err)); }

void log_end(struct log_rec *r)
{
    if (r)
        rec_end(r);
}
