/* SPDX-License-Identifier: Apache-2.0
 *
 * log_test.c - the three formats byte for byte, hostile bytes in every place, the 4,000-byte line,
 * and every kind of reader: fast, stalled, gone, full, slow socket, terminal. Readers are this
 * thread, so a writer that blocks shows as a test that hangs into the runner's limit.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

static const uint64_t NOON = 1795208933120411; /* 2026-11-20T21:08:53.120411Z */

/* What the log is written to, and what came out of it. */
struct sink {
    int reader, fd; /* fd is the log's */
    struct buf text;
    struct log_writer *w;
};

static void sink_start(struct sink *s, enum log_format format, enum log_level level, int fds[2])
{
    struct log_conf conf = {.format = format, .level = level, .fd = fds[1], .colour = true};

    *s = (struct sink){.reader = fds[0], .fd = fds[1], .text = buf_make(64 << 20)};
    assert_int_equal(fcntl(s->reader, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(log_init(&conf), 0);
    s->w = log_writer_create();
}

static void sink_on_pipe(struct sink *s, enum log_format format)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    sink_start(s, format, LOG_INFO, fds);
}

static size_t count_lines(const struct sink *s)
{
    size_t lines = 0;

    for (size_t i = 0; i < s->text.n; i++)
        lines += s->text.p[i] == '\n';
    return lines;
}

/* Reads until `lines` lines are there, or nothing came for `ms`; returns how many there are. */
static size_t sink_read(struct sink *s, size_t lines, int ms)
{
    while (count_lines(s) < lines) {
        struct pollfd ready = {.fd = s->reader, .events = POLLIN};
        char *to = buf_reserve(&s->text, 65536);
        ssize_t n;

        assert_non_null(to);
        if (poll(&ready, 1, ms) <= 0)
            break;
        n = read(s->reader, to, 65536);
        if (n <= 0)
            break;
        s->text.n += (size_t)n;
    }
    return count_lines(s);
}

/* Ends the log, reads the rest, closes everything but the text. */
static void sink_stop(struct sink *s)
{
    log_writer_destroy(&s->w);
    log_fini();
    close(s->fd);
    (void)sink_read(s, SIZE_MAX, 0);
    close(s->reader);
}

static void sink_fini(struct sink *s) { buf_fini(&s->text); }

/* Cuts the next line, without its newline, off *rest. */
static bool next_line(struct str *rest, struct str *line)
{
    if (rest->n == 0)
        return false;
    assert_int_equal(rest->p[rest->n - 1], '\n'); /* nothing is ever half a line */
    *line = str_cut(rest, '\n');
    return true;
}

static uint64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void log_everything(struct log_writer *w)
{
    struct log_rec *r = log_begin(w, LOG_INFO, NOON, "gate", "a request");

    log_str(r, "model", STR("tiny"));
    log_str(r, "quoted", STR("a b=\"c\\\""));
    log_text(r, "none", NULL);
    log_u64(r, "u", UINT64_MAX);
    log_i64(r, "i", INT64_MIN);
    log_bool(r, "t", true);
    log_bool(r, "f", false);
    log_ms(r, "ms", 1234567);
    log_ms(r, "tiny_ms", 9);
    log_err(r, "err", -E_RESET);
    log_end(r);
}

static void assert_everything_reads(enum log_format format, const char *expected)
{
    struct sink s;

    sink_on_pipe(&s, format);
    log_everything(s.w);
    sink_stop(&s);
    assert_str_is(buf_str(&s.text), expected);
    sink_fini(&s);
}

static void test_logfmt(void **state)
{
    (void)state;
    assert_everything_reads(
        LOG_LOGFMT, "ts=2026-11-20T21:08:53.120411Z level=info target=gate msg=\"a request\" "
                    "model=tiny quoted=\"a b=\\\"c\\\\\\\"\" none=\"\" u=18446744073709551615 "
                    "i=-9223372036854775808 t=true f=false ms=1234.567 tiny_ms=0.009 "
                    "err=\"connection reset by peer\"\n");
}

static void test_json(void **state)
{
    (void)state;
    assert_everything_reads(
        LOG_JSON, "{\"ts\":\"2026-11-20T21:08:53.120411Z\",\"level\":\"info\",\"target\":\"gate\","
                  "\"msg\":\"a request\",\"model\":\"tiny\",\"quoted\":\"a b=\\\"c\\\\\\\"\","
                  "\"none\":\"\",\"u\":18446744073709551615,\"i\":-9223372036854775808,\"t\":true,"
                  "\"f\":false,\"ms\":1234.567,\"tiny_ms\":0.009,"
                  "\"err\":\"connection reset by peer\"}\n");
}

static void test_svc(void **state)
{
    (void)state;
    assert_everything_reads(
        LOG_SVC, "2026-11-20T21:08:53.120411Z  INFO inferd::gate: a request "
                 "model=tiny quoted=\"a b=\\\"c\\\\\\\"\" none=\"\" u=18446744073709551615 "
                 "i=-9223372036854775808 t=true f=false ms=1234.567 tiny_ms=0.009 "
                 "err=\"connection reset by peer\"\n");
}

static void test_svc_phrases_are_verbatim(void **state)
{
    struct sink s;

    (void)state;
    sink_on_pipe(&s, LOG_SVC);
    log_end(log_beginf(s.w, LOG_WARN, NOON, "router", "Proxying %s %s (model: %s)", "POST",
                       "/v1/chat\"x=y\"", "a/b:c"));
    log_end(log_begin(s.w, LOG_ERROR, NOON, "router", "no\nnew line, \x1b[31mno colour"));
    sink_stop(&s);
    assert_str_is(buf_str(&s.text), "2026-11-20T21:08:53.120411Z  WARN inferd::router: "
                                    "Proxying POST /v1/chat\"x=y\" (model: a/b:c)\n"
                                    "2026-11-20T21:08:53.120411Z ERROR inferd::router: "
                                    "no\\nnew line, \\u001b[31mno colour\n");
    sink_fini(&s);
}

static void test_dates(void **state)
{
    static const uint64_t second = 1000000, day = 86400 * second;
    static const struct {
        uint64_t us;
        const char *stamp;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
        {951782400 * second - 1, "2000-02-28T23:59:59.999999Z"},
        {951782400 * second, "2000-02-29T00:00:00.000000Z"},
        {951782400 * second + day, "2000-03-01T00:00:00.000000Z"},
        {1709164800 * second, "2024-02-29T00:00:00.000000Z"},
        {1735689599 * second, "2024-12-31T23:59:59.000000Z"},
        {4107542400 * second, "2100-03-01T00:00:00.000000Z"},
        {4107542399 * second, "2100-02-28T23:59:59.000000Z"},
        {253402300799 * second, "9999-12-31T23:59:59.000000Z"},
    };
    struct str rest, line = STR_NONE;
    struct sink s;

    (void)state;
    sink_on_pipe(&s, LOG_LOGFMT);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        log_end(log_begin(s.w, LOG_INFO, rows[i].us, "x", "x"));
    for (uint64_t d = 0; d < 400; d++) /* against the C library */
        log_end(log_begin(s.w, LOG_INFO, d * 37 * day + d * 12345 * second, "x", "x"));
    sink_stop(&s);
    rest = buf_str(&s.text);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(next_line(&rest, &line));
        assert_str_is(str_head(str_from(line, 3), 27), rows[i].stamp);
    }
    for (uint64_t d = 0; d < 400; d++) {
        time_t t = (time_t)(d * 37 * 86400 + d * 12345);
        struct tm tm;
        char stamp[40];

        assert_true(next_line(&rest, &line));
        (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S.000000Z", gmtime_r(&t, &tm));
        assert_str_is(str_head(str_from(line, 3), 27), stamp);
    }
    sink_fini(&s);
}

/* Whatever the format: one line, printable, UTF-8, at most 4,000 bytes. */
static void assert_harmless(struct str line)
{
    assert_true(line.n < LOG_LINE_BYTES);
    assert_true(str_utf8_valid(line));
    for (size_t i = 0; i < line.n; i++)
        assert_true((unsigned char)line.p[i] >= 0x20 && line.p[i] != 0x7f);
    assert_int_equal(str_find_str(line, STR("\xc2\x9b")), line.n);     /* CSI in one character */
    assert_int_equal(str_find_str(line, STR("\xe2\x80\xae")), line.n); /* right to left */
}

/* A JSON line with our keys; the value of `key` must be `expected`, if that is not NULL. */
static void assert_json_line(struct str line, const char *key, const struct str *expected)
{
    static const char *const ours[] = {"ts", "level", "target", "msg", "v"};
    struct json_error error;
    struct json *v = NULL;
    struct str got;

    assert_harmless(line);
    if (json_read(line, NULL, &error, &v) < 0)
        fail_msg("%s at %d: %.*s", error.reason, (int)error.at, STR_ARGS(line));
    assert_int_equal(json_count(v), ARRAY_LEN(ours));
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        assert_true(json_get_str(json_find_cstr(v, ours[i]), &got));
    assert_true(json_get_str(json_find_cstr(v, key), &got));
    if (expected && !str_eq(got, *expected))
        fail_msg("got %.*s, want %.*s", STR_ARGS(got), STR_ARGS(*expected));
    json_unref(&v);
}

static void log_bytes(struct log_writer *w, struct str message, struct str value)
{
    struct log_rec *r =
        log_beginf(w, LOG_INFO, NOON, "gate", "%.*s", (int)message.n, message.n ? message.p : "");

    log_str(r, "v", value);
    log_end(r);
}

static void test_every_byte_in_every_place(void **state)
{
    (void)state;
    for (enum log_format format = LOG_LOGFMT; format <= LOG_SVC; format++) {
        struct str rest, line;
        struct sink s;
        size_t lines = 0;

        sink_on_pipe(&s, format);
        for (int c = 0; c < 256; c++)
            for (size_t at = 0; at < 10;
                 at++) { /* alone, first, last, within and behind a word of 8 */
                char text[] = "abcdefghij";

                text[at] = (char)c;
                log_bytes(s.w, str_span(text, 10), str_span(text, 10));
                log_bytes(s.w, str_span(text, at + 1), str_span(text, at + 1));
                log_bytes(s.w, str_span(text + at, 1), str_span(text + at, 1));
                lines += 3;
                if (lines % 600 == 0) /* never more than the ring holds */
                    assert_int_equal(sink_read(&s, lines, 5000), lines);
            }
        sink_stop(&s);
        rest = buf_str(&s.text);
        for (int c = 0; c < 256; c++)
            for (size_t at = 0; at < 10; at++) {
                char text[] = "abcdefghij";
                struct str is[3] = {str_span(text, 10), str_span(text, at + 1),
                                    str_span(text + at, 1)};

                text[at] = (char)c;
                for (int i = 0; i < 3; i++) {
                    assert_true(next_line(&rest, &line));
                    if (format == LOG_JSON)
                        assert_json_line(line, "v", c < 0x80 ? &is[i] : NULL);
                    else
                        assert_harmless(line);
                }
            }
        assert_int_equal(rest.n, 0);
        sink_fini(&s);
    }
}

static void test_text_survives_json(void **state)
{
    static const char *const texts[] = {
        "plain",
        "\xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x98\x80 \xc3\xa4",
        "c:\\path \"quoted\" /slash/",
        "tab\there",
        "\\x41 \\u0041",
    };
    struct str rest, line;
    struct sink s;

    (void)state;
    sink_on_pipe(&s, LOG_JSON);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        log_bytes(s.w, str_of(texts[i]), str_of(texts[i]));
    sink_stop(&s);
    rest = buf_str(&s.text);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct str expected = str_of(texts[i]);

        assert_true(next_line(&rest, &line));
        assert_json_line(line, "v", &expected);
        assert_json_line(line, "msg", &expected);
    }
    sink_fini(&s);
}

static void test_bad_bytes_are_spelled(void **state)
{
    struct sink s;

    (void)state;
    sink_on_pipe(&s, LOG_LOGFMT);
    log_bytes(s.w, STR("m"), STR("\xff\x80z\xc2\x9b\xe2\x80\xae\xef\xbb\xbf\x7f"));
    sink_stop(&s);
    assert_str_is(buf_str(&s.text), "ts=2026-11-20T21:08:53.120411Z level=info target=gate msg=m "
                                    "v=\"\\xff\\x80z\\u009b\\u202e\\ufeff\\u007f\"\n");
    sink_fini(&s);
}

static void test_random_bytes(void **state)
{
    uint64_t r = 88172645463325252ULL;
    unsigned char bytes[6000];

    (void)state;
    for (enum log_format format = LOG_LOGFMT; format <= LOG_SVC; format++) {
        struct str rest, line;
        struct sink s;
        size_t lines = 0;

        sink_on_pipe(&s, format);
        for (; lines < 300; lines++) {
            size_t n, shift = lines % 3; /* any byte; mostly ASCII; mostly UTF-8 leads */

            for (size_t i = 0; i < sizeof bytes; i++) {
                r ^= r << 13;
                r ^= r >> 7;
                r ^= r << 17;
                bytes[i] = (unsigned char)(r >> 20);
                if (shift == 1 && r % 50)
                    bytes[i] = ' ' + bytes[i] % 0x5f;
                if (shift == 2 && r % 3 == 0)
                    bytes[i] = 0xe4;
            }
            n = r % sizeof bytes;
            if (lines % 30 == 0)
                assert_int_equal(sink_read(&s, lines, 5000), lines);
            log_bytes(s.w, str_span((char *)bytes, n), str_span((char *)bytes, sizeof bytes - n));
        }
        assert_int_equal(sink_read(&s, lines, 5000), lines);
        sink_stop(&s);
        rest = buf_str(&s.text);
        for (lines = 0; next_line(&rest, &line); lines++) {
            if (format == LOG_JSON)
                assert_json_line(line, "v", NULL);
            else
                assert_harmless(line);
        }
        assert_int_equal(lines, 300);
        sink_fini(&s);
    }
}

static void test_values_are_cut(void **state)
{
    static char text[8000];
    struct str rest, line;
    struct sink s;

    (void)state;
    memset(text, 'x', sizeof text);
    sink_on_pipe(&s, LOG_JSON);
    log_bytes(s.w, STR("m"), str_span(text, LOG_VALUE_BYTES));
    log_bytes(s.w, STR("m"), str_span(text, LOG_VALUE_BYTES + 1));
    for (size_t i = 0; i + 3 <= sizeof text; i += 3)
        memcpy(text + i, "\xe4\xb8\xad", 3);
    log_bytes(s.w, STR("m"), str_span(text, sizeof text));
    sink_stop(&s);
    rest = buf_str(&s.text);
    assert_true(next_line(&rest, &line));
    assert_int_equal(str_find_str(line, STR("\xe2\x80\xa6")), line.n);
    assert_true(next_line(&rest, &line));
    assert_true(str_ends(line, STR("xxx\xe2\x80\xa6\"}")));
    assert_true(next_line(&rest, &line));
    assert_true(str_ends(line, STR("\xe4\xb8\xad\xe2\x80\xa6\"}")));
    assert_json_line(line, "msg", NULL);
    sink_fini(&s);
}

static void test_line_is_at_most_4000_bytes(void **state)
{
    static char text[8000];

    (void)state;
    memset(text, '\x01', sizeof text); /* six bytes each */
    for (enum log_format format = LOG_LOGFMT; format <= LOG_SVC; format++)
        for (size_t pad = 0; pad < 40; pad++) {
            struct str rest, line;
            struct log_rec *r;
            struct sink s;

            sink_on_pipe(&s, format);
            r = log_begin(s.w, LOG_INFO, NOON, "gate", "m");
            log_str_cut(r, "a", str_span(text, sizeof text), LOG_TEXT_BYTES);
            log_str(r, "pad", str_span("yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", pad));
            for (int i = 0; i < 40; i++) {
                log_str(r, "b", str_span(text, sizeof text));
                log_u64(r, "c", UINT64_MAX);
            }
            log_end(r);
            log_end(log_begin(s.w, LOG_INFO, NOON, "gate", "next"));
            sink_stop(&s);
            rest = buf_str(&s.text);
            assert_true(next_line(&rest, &line));
            assert_harmless(line);
            assert_in_range(line.n, LOG_LINE_BYTES - 60, LOG_LINE_BYTES - 1);
            assert_true(
                str_ends(line, format == LOG_JSON ? STR(",\"cut\":true}") : STR(" cut=true")));
            assert_true(next_line(&rest, &line));
            assert_int_equal(rest.n, 0);
            sink_fini(&s);
        }
}

static void test_levels(void **state)
{
    struct str rest, line;
    struct sink s;

    (void)state;
    sink_on_pipe(&s, LOG_LOGFMT);
    log_set_level(LOG_WARN);
    assert_true(log_enabled(LOG_ERROR) && log_enabled(LOG_WARN));
    assert_false(log_enabled(LOG_INFO));
    assert_null(log_begin(s.w, LOG_INFO, NOON, "x", "x"));
    assert_null(log_beginf(s.w, LOG_TRACE, NOON, "x", "x"));
    log_str(NULL, "k", STR("v"));
    log_str_cut(NULL, "k", STR("v"), 10);
    log_u64(NULL, "k", 1);
    log_i64(NULL, "k", 1);
    log_bool(NULL, "k", true);
    log_ms(NULL, "k", 1);
    log_err(NULL, "k", -1);
    log_end(NULL);
    log_end(log_begin(s.w, LOG_ERROR, NOON, "x", "seen"));
    log_set_level(LOG_OFF);
    assert_null(log_begin(s.w, LOG_ERROR, NOON, "x", "x"));
    log_set_level(LOG_TRACE);
    log_set_format(LOG_JSON);
    log_end(log_begin(s.w, LOG_TRACE, NOON, "x", "seen"));
    sink_stop(&s);
    rest = buf_str(&s.text);
    assert_true(next_line(&rest, &line));
    assert_true(str_starts(line, STR("ts=")));
    assert_true(next_line(&rest, &line));
    assert_true(str_starts(line, STR("{\"ts\"")));
    assert_int_equal(rest.n, 0);
    sink_fini(&s);
}

static void test_names(void **state)
{
    enum log_format format = LOG_SVC;
    enum log_level level = LOG_OFF;

    (void)state;
    assert_int_equal(log_format_parse(STR("json"), &format), 0);
    assert_int_equal(format, LOG_JSON);
    assert_int_equal(log_format_parse(STR("xml"), &format), -E_SYNTAX);
    assert_int_equal(format, LOG_JSON);
    assert_int_equal(log_level_parse(STR("Debug"), &level), 0);
    assert_int_equal(level, LOG_DEBUG);
    assert_int_equal(log_level_parse(STR(""), &level), -E_SYNTAX);
    assert_int_equal(log_level_parse(STR("debu"), &level), -E_SYNTAX);
    for (enum log_level l = LOG_OFF; l <= LOG_TRACE; l++) {
        assert_int_equal(log_level_parse(str_of(log_level_name(l)), &level), 0);
        assert_int_equal(level, l);
    }
}

static void test_filter(void **state)
{
    static const struct {
        const char *filter, *role;
        unsigned unusable;
        enum log_level level;
    } rows[] = {
        {"", "router", 0, LOG_INFO},
        {"debug", "router", 0, LOG_DEBUG},
        {"WARN", "router", 0, LOG_WARN},
        {"router=trace", "router", 0, LOG_TRACE},
        {"inferd=trace", "router", 0, LOG_TRACE},
        {"inferd::router=trace", "router", 0, LOG_TRACE},
        {"infini_router=debug", "router", 0, LOG_DEBUG},
        {"infini-router::proxy=debug", "router", 0, LOG_DEBUG},
        {"infini_registry=debug", "router", 0, LOG_INFO},
        {"router=debug,warn", "router", 0, LOG_DEBUG},
        {"router=debug,inferd=error", "router", 0, LOG_ERROR},
        {"hyper=trace, debug , tower::x=off", "router", 0, LOG_DEBUG},
        {"queue_worker=debug", "queue-worker", 0, LOG_DEBUG},
        {"infini-queue-worker=debug", "queue-worker", 0, LOG_DEBUG},
        {"nonsense,debug,=info,router=loud,,", "router", 3, LOG_DEBUG},
        {"router", "router", 1, LOG_INFO},
        {"off", "router", 0, LOG_OFF},
        {"routers=debug,infini_=debug,infini=debug", "router", 0, LOG_INFO},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum log_level level = LOG_INFO;
        unsigned unusable = log_filter_parse(str_of(rows[i].filter), str_of(rows[i].role), &level);

        if (unusable != rows[i].unusable || level != rows[i].level)
            fail_msg("%s: %u unusable, level %s", rows[i].filter, unusable, log_level_name(level));
    }
}

/* Records numbered from 1; returns how many were sent. */
static uint64_t log_numbers(struct log_writer *w, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        struct log_rec *r = log_begin(w, LOG_INFO, NOON, "gate", "numbered");

        log_u64(r, "n", i);
        log_str(r, "filler", STR("............................................................"));
        log_end(r);
    }
    return to - from + 1;
}

/* What the lines of log_numbers() and of the drop reports add up to. */
struct tally {
    uint64_t records, dropped, last, reports;
};

static void tally_line(struct tally *t, struct str line)
{
    struct str key = STR(" n="), digits;
    size_t at = str_find_str(line, key);
    uint64_t n = 0;

    assert_true(str_starts(line, STR("ts=2026-11-20T21:08:53.120411Z level=")));
    if (at == line.n) {
        at = str_find_str(line, STR("\"dropped "));
        assert_true(at < line.n);
        digits = str_from(line, at + 9);
        assert_true(str_ends(digits, STR(" records\"")));
        assert_true(str_u64(str_head(digits, str_find(digits, ' ')), &n));
        t->dropped += n;
        t->reports++;
        return;
    }
    digits = str_from(line, at + key.n);
    assert_true(str_u64(str_head(digits, str_find(digits, ' ')), &n));
    assert_true(str_ends(line, STR("...")));
    assert_true(n > t->last); /* one writer's records keep their order */
    t->last = n;
    t->records++;
}

static struct tally tally_text(struct str rest)
{
    struct tally t = {.last = 0};
    struct str line;

    while (next_line(&rest, &line))
        tally_line(&t, line);
    return t;
}

static void test_records_leave_by_themselves(void **state)
{
    struct sink s;

    (void)state;
    sink_on_pipe(&s, LOG_LOGFMT);
    for (uint64_t i = 1; i <= 5; i++) {
        (void)log_numbers(s.w, i, i);
        assert_int_equal(sink_read(&s, i, 10000),
                         i); /* promised: 100 ms, to who gets a processor */
    }
    sink_stop(&s);
    sink_fini(&s);
}

/* Of the whole lines that have come so far. */
static struct tally sink_tally(const struct sink *s)
{
    size_t n = s->text.n;

    while (n > 0 && s->text.p[n - 1] != '\n')
        n--;
    return tally_text(str_span(s->text.p, n));
}

/* The reader stalls until far more was logged than fits, then reads on. */
static void stalled_reader_resumes(struct sink *s)
{
    uint64_t before = log_dropped(), sent = log_numbers(s->w, 1, 20000);
    struct tally t;

    assert_true(log_dropped() > before);
    (void)sink_read(s, SIZE_MAX, 300);
    do { /* until there is room again, and a line says so */
        sent += log_numbers(s->w, sent + 1, sent + 1);
        (void)sink_read(s, SIZE_MAX, 300);
        t = sink_tally(s);
    } while ((t.last != sent || t.dropped != log_dropped() - before) && sent < 20100);
    sink_stop(s);
    t = tally_text(buf_str(&s->text));
    assert_int_equal(t.last, sent);
    assert_int_equal(t.dropped, log_dropped() - before);
    assert_int_equal(t.records + t.dropped, sent);
    sink_fini(s);
}

static void test_stalled_pipe(void **state)
{
    struct sink s;
    int flags;

    (void)state;
    sink_on_pipe(&s, LOG_LOGFMT);
    flags = fcntl(s.fd, F_GETFL);
    assert_int_equal(flags & O_NONBLOCK, 0);
    assert_int_equal(sink_read(&s, 0, 0), 0);
    assert_int_equal(fcntl(s.fd, F_GETFL), flags); /* a shared description keeps its flags */
    stalled_reader_resumes(&s);
}

static void test_stalled_nonblocking_pipe(void **state)
{
    struct sink s;
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    sink_start(&s, LOG_LOGFMT, LOG_INFO, fds);
    stalled_reader_resumes(&s);
}

static void test_stalled_socket(void **state)
{
    struct sink s;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    sink_start(&s, LOG_LOGFMT, LOG_INFO, fds);
    stalled_reader_resumes(&s);
}

static void test_fini_does_not_wait_for_a_stalled_reader(void **state)
{
    uint64_t began;
    struct sink s;

    (void)state;
    sink_on_pipe(&s, LOG_LOGFMT);
    (void)log_numbers(s.w, 1, 5000);
    began = now_ms();
    sink_stop(&s);
    assert_in_range(now_ms() - began, 0, 10000); /* promised: 200 ms, to who gets a processor */
    (void)tally_text(buf_str(&s.text));          /* what went out is whole lines */
    sink_fini(&s);
}

static void test_reader_gone_kills_nobody(void **state)
{
    uint64_t began;
    struct sink s;

    (void)state;
    sink_on_pipe(&s, LOG_LOGFMT);
    close(s.reader);
    (void)log_numbers(s.w, 1, 10000); /* SIGPIPE has its default disposition here */
    assert_true(log_dropped() > 0);
    began = now_ms();
    log_writer_destroy(&s.w);
    log_fini();
    assert_in_range(now_ms() - began, 0, 10000);
    close(s.fd);
    sink_fini(&s);
}

static void read_file(int fd, struct buf *to)
{
    char *p;
    ssize_t n;

    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    while ((p = buf_reserve(to, 65536)) && (n = read(fd, p, 65536)) > 0)
        to->n += (size_t)n;
}

/* In a child, because the limit stays: a file may grow to 10,000 bytes, later to more. Exits with 0
 * when all lines are whole and none is missing. */
static void log_into_a_full_disk(FILE *f)
{
    struct log_conf conf = {.level = LOG_INFO, .fd = fileno(f)};
    struct rlimit limit = {.rlim_cur = 10001, .rlim_max = RLIM_INFINITY};
    struct log_writer *w = log_writer_create();
    struct buf text = buf_make(1 << 20);
    struct pollfd none = {.fd = -1};
    struct tally t;

    (void)setrlimit(RLIMIT_FSIZE, &limit);
    assert_int_equal(log_init(&conf), 0);
    (void)log_numbers(w, 1, 200);
    for (int i = 0; i < 3000 && lseek(fileno(f), 0, SEEK_CUR) < 10001; i++)
        (void)poll(&none, 1, 10);
    assert_int_equal(lseek(fileno(f), 0, SEEK_CUR), 10001); /* full, in the middle of a line */
    limit.rlim_cur = RLIM_INFINITY;
    (void)setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 3000 && lseek(fileno(f), 0, SEEK_CUR) < 25000; i++)
        (void)poll(&none, 1, 10);
    log_writer_destroy(&w);
    log_fini();
    read_file(fileno(f), &text);
    t = tally_text(buf_str(&text));
    assert_int_equal(t.records, 200);
    buf_fini(&text);
}

static void test_full_disk_heals(void **state)
{
    FILE *f = tmpfile();
    int status = 0;
    pid_t pid;

    (void)state;
    assert_non_null(f);
    pid = fork();
    if (pid == 0) {
        log_into_a_full_disk(f);
        _exit(0); /* a failed assertion does not come here */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    (void)fclose(f);
}

static void test_device_without_space(void **state)
{
    struct log_conf conf = {.level = LOG_INFO, .fd = open("/dev/full", O_WRONLY)};
    uint64_t before = log_dropped();
    struct log_writer *w;

    (void)state;
    assert_true(conf.fd >= 0);
    assert_int_equal(log_init(&conf), 0);
    w = log_writer_create();
    (void)log_numbers(w, 1, 10000);
    assert_true(log_dropped() > before);
    log_writer_destroy(&w);
    log_fini();
    close(conf.fd);
}

enum { THREADS = 3, PER_THREAD = 30000 };

static void *log_from_thread(void *arg)
{
    struct log_writer *w = log_writer_create();

    for (uint64_t i = 1; i <= PER_THREAD; i++) {
        struct log_rec *r = log_begin(w, LOG_INFO, NOON, arg, "numbered");

        log_u64(r, "n", i);
        log_str(r, "filler", STR("..."));
        log_end(r);
    }
    log_writer_destroy(&w);
    return NULL;
}

static void test_many_threads(void **state)
{
    static const char *const names[THREADS] = {"one", "two", "three"};
    struct tally t[THREADS] = {{.last = 0}};
    uint64_t before = log_dropped(), records = 0;
    struct str rest, line;
    pthread_t thread[THREADS];
    struct sink s;

    (void)state;
    sink_on_pipe(&s, LOG_LOGFMT);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(
            pthread_create(&thread[i], NULL, log_from_thread, (void *)(uintptr_t)names[i]), 0);
    (void)sink_read(&s, SIZE_MAX, 500);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    (void)sink_read(&s, SIZE_MAX, 500);
    sink_stop(&s);
    rest = buf_str(&s.text);
    while (next_line(&rest, &line))
        for (int i = 0; i < THREADS; i++) {
            char target[32];

            (void)snprintf(target, sizeof target, " target=%s ", names[i]);
            if (str_find_str(line, str_of(target)) < line.n) {
                tally_line(&t[i], line);
                records++;
            }
        }
    assert_int_equal(records + (log_dropped() - before), THREADS * PER_THREAD);
    sink_fini(&s);
}

static void test_without_log_thread_stderr_gets_the_line(void **state)
{
    int fds[2], status = 0;
    char text[1000];
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = unit_fork(fds);
    if (pid == 0) {
        struct log_conf conf = {.level = LOG_INFO, .fd = open("/dev/null", O_WRONLY)};
        struct log_writer *w = log_writer_create();

        log_end(log_begin(w, LOG_WARN, NOON, "role", "before"));
        if (log_init(&conf) == 0)
            log_end(log_begin(w, LOG_WARN, NOON, "role", "during"));
        log_fini();
        log_end(log_begin(w, LOG_WARN, NOON, "role", "after"));
        log_writer_destroy(&w);
        _exit(0);
    }
    unit_read_all(fds[0], text, sizeof text);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_string_equal(text, "ts=2026-11-20T21:08:53.120411Z level=warn target=role msg=before\n"
                              "ts=2026-11-20T21:08:53.120411Z level=warn target=role msg=after\n");
}

static void test_a_writer_outlives_restarts(void **state)
{
    struct log_writer *w = log_writer_create();

    (void)state;
    for (int round = 0; round < 3; round++) {
        struct sink s;

        sink_on_pipe(&s, LOG_LOGFMT);
        (void)log_numbers(w, 1, 100);
        sink_stop(&s);
        assert_int_equal(tally_text(buf_str(&s.text)).records, 100);
        sink_fini(&s);
    }
    log_writer_destroy(&w);
    assert_null(w);
    log_writer_destroy(&w);
}

static void test_too_many_writers(void **state)
{
    struct log_writer *w[LOG_WRITERS];
    char text[512];

    (void)state;
    for (int i = 0; i < LOG_WRITERS; i++)
        w[i] = log_writer_create();
    assert_dies(log_writer_create(), text);
    assert_non_null(strstr(text, "CHECK("));
    for (int i = 0; i < LOG_WRITERS; i++)
        log_writer_destroy(&w[i]);
}

static void test_two_records_at_once_is_a_bug(void **state)
{
    struct log_writer *w = log_writer_create();
    struct log_rec *r = log_begin(w, LOG_ERROR, NOON, "x", "x");
    char text[512];

    (void)state;
    assert_dies(log_begin(w, LOG_ERROR, NOON, "x", "x"), text);
    assert_dies((log_set_level(LOG_OFF), log_writer_destroy(&w)), text);
    log_set_level(LOG_INFO);
    (void)r;
    log_end(r);
    log_writer_destroy(&w);
}

static void test_colour_is_for_terminals(void **state)
{
    struct log_conf conf = {.format = LOG_SVC, .level = LOG_INFO, .colour = true};
    char text[500] = "";
    struct log_writer *w;
    int tty;
    ssize_t n;

    (void)state;
    if (openpty(&tty, &conf.fd, NULL, NULL, NULL) < 0) {
        print_message("no pseudo-terminal here: %s\n", strerror(errno));
        skip();
    }
    assert_int_equal(log_init(&conf), 0);
    w = log_writer_create();
    log_end(log_begin(w, LOG_INFO, NOON, "router", "hello"));
    log_writer_destroy(&w);
    log_fini();
    n = read(tty, text, sizeof text - 1);
    assert_true(n > 0);
    assert_str_is(str_span(text, (size_t)n),
                  "\x1b[2m2026-11-20T21:08:53.120411Z\x1b[0m \x1b[32m INFO\x1b[0m "
                  "\x1b[2minferd::router:\x1b[0m hello\r\n");
    close(tty);
    close(conf.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logfmt),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_svc),
        cmocka_unit_test(test_svc_phrases_are_verbatim),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_every_byte_in_every_place),
        cmocka_unit_test(test_text_survives_json),
        cmocka_unit_test(test_bad_bytes_are_spelled),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_values_are_cut),
        cmocka_unit_test(test_line_is_at_most_4000_bytes),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_records_leave_by_themselves),
        cmocka_unit_test(test_stalled_pipe),
        cmocka_unit_test(test_stalled_nonblocking_pipe),
        cmocka_unit_test(test_stalled_socket),
        cmocka_unit_test(test_fini_does_not_wait_for_a_stalled_reader),
        cmocka_unit_test(test_reader_gone_kills_nobody),
        cmocka_unit_test(test_full_disk_heals),
        cmocka_unit_test(test_device_without_space),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_without_log_thread_stderr_gets_the_line),
        cmocka_unit_test(test_a_writer_outlives_restarts),
        cmocka_unit_test(test_too_many_writers),
        cmocka_unit_test(test_two_records_at_once_is_a_bug),
        cmocka_unit_test(test_colour_is_for_terminals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
