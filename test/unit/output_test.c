/* SPDX-License-Identifier: Apache-2.0
 *
 * output_test.c - what becomes of what a unit writes. The ring is read as the gateway would;
 * records are caught where they go before log_init(): on stderr, which is a file here meanwhile.
 */
#include "supervise/output.h"

#include "unit.h"

#include <sys/mman.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "ev/deadline.h"
#include "link/ring.h"

enum { PATIENCE_MS = 20000, PIECE_BYTES = 4000 };

struct rig {
    struct loop *loop;
    struct log_writer *log;
    struct output *out;
    struct deadline patience;
    int caught, stderr_was;
    char records[256 * 1024];
    char lines[RING_BYTES + 1];
    size_t lines_n;
    const char *wanted;
};

static struct rig rig;

static void catch_stderr(void)
{
    rig.caught = memfd_create("records", MFD_CLOEXEC);
    rig.stderr_was = dup(STDERR_FILENO);
    assert_true(rig.caught >= 0 && rig.stderr_was >= 0);
    assert_int_equal(dup2(rig.caught, STDERR_FILENO), STDERR_FILENO);
}

static const char *records(void)
{
    ssize_t n = pread(rig.caught, rig.records, sizeof rig.records - 1, 0);

    assert_true(n >= 0);
    rig.records[n] = '\0';
    return rig.records;
}

static const char *lines(void)
{
    uint64_t at = 0;

    rig.lines_n = ring_read(output_ring(rig.out), &at, rig.lines, RING_BYTES);
    rig.lines[rig.lines_n] = '\0';
    return rig.lines;
}

static int rig_open(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof rig);
    assert_int_equal(loop_create(&rig.loop), 0);
    rig.log = log_writer_create();
    log_set_format(LOG_JSON);
    log_set_level(LOG_INFO);
    catch_stderr();
    rig.out = output_create(rig.loop, rig.log, "tiny");
    return 0;
}

static int rig_close(void **state)
{
    (void)state;
    output_destroy(&rig.out);
    (void)dup2(rig.stderr_was, STDERR_FILENO);
    close(rig.stderr_was);
    close(rig.caught);
    log_writer_destroy(&rig.log);
    loop_destroy(&rig.loop);
    return 0;
}

static void take(enum child_stream s, const char *text) { output_take(rig.out, s, str_of(text)); }

static unsigned count(const char *text, const char *needle)
{
    unsigned n = 0;

    for (const char *at = text; (at = strstr(at, needle)); at += strlen(needle))
        n++;
    return n;
}

static void lines_are_whole(void **state)
{
    (void)state;
    take(CHILD_STDOUT, "one\ntw");
    take(CHILD_STDERR, "err");
    assert_string_equal(lines(), "one\n");
    take(CHILD_STDOUT, "o\nthree\n");
    assert_string_equal(lines(), "one\ntwo\nthree\n");
    take(CHILD_STDERR, "or\r\n");
    assert_string_equal(lines(), "one\ntwo\nthree\nerror\r\n");
    assert_int_equal(count(records(), "\n"), 4);
    assert_non_null(
        strstr(records(), "\"info\",\"target\":\"supervise\",\"msg\":\"[tiny stdout] two\""));
    assert_non_null(
        strstr(records(), "\"warn\",\"target\":\"supervise\",\"msg\":\"[tiny stderr] error\""));
    take(CHILD_STDOUT, "\n\n"); /* empty lines are lines */
    assert_int_equal(count(records(), "[tiny stdout] \""), 2);
}

static void the_end_of_a_stream_ends_its_line(void **state)
{
    (void)state;
    take(CHILD_STDOUT, "last words");
    assert_string_equal(lines(), "");
    take(CHILD_STDOUT, "");
    assert_string_equal(lines(), "last words\n");
    take(CHILD_STDOUT, "");
    assert_string_equal(lines(), "last words\n");
    assert_int_equal(count(records(), "[tiny stdout] last words\""), 1);
    output_note(rig.out, "exit status 3");
    assert_string_equal(lines(), "last words\n--- exit status 3\n");
    assert_int_equal(count(records(), "\n"), 1); /* the log has its own word for that */
}

/* A12: every byte, and each record is JSON with the same keys. */
static void every_byte_is_kept_and_escaped(void **state)
{
    char all[257], *line, *rest;

    (void)state;
    for (unsigned i = 0; i < 256; i++)
        all[i] = (char)(i == '\n' ? 0xff : i);
    all[256] = '\n';
    for (unsigned i = 0; i < 256; i++) { /* and each alone */
        char one[] = {'<', all[i], '>', '\n'};

        output_take(rig.out, i % 2 ? CHILD_STDOUT : CHILD_STDERR, str_span(one, sizeof one));
        if (i % 90 == 89) { /* not more than is logged of one unit */
            output_destroy(&rig.out);
            rig.out = output_create(rig.loop, rig.log, "tiny");
        }
    }
    output_take(rig.out, CHILD_STDOUT, str_span(all, sizeof all));
    (void)lines();
    assert_true(rig.lines_n > sizeof all);
    assert_memory_equal(rig.lines + rig.lines_n - sizeof all, all, sizeof all);
    (void)records();
    assert_int_equal(count(rig.records, "\n"), 257);
    for (rest = rig.records; (line = strsep(&rest, "\n")) && *line;) {
        struct json *doc = NULL;

        assert_int_equal(json_read(str_of(line), NULL, NULL, &doc), 0);
        assert_int_equal(json_count(doc), 4);
        assert_non_null(json_find_cstr(doc, "ts"));
        assert_non_null(json_find_cstr(doc, "level"));
        assert_non_null(json_find_cstr(doc, "target"));
        assert_non_null(json_find_cstr(doc, "msg"));
        json_unref(&doc);
    }
}

/* Whether it comes at once or byte by byte. */
static void a_long_line_is_logged_in_pieces(void **state)
{
    enum { LONG = 2 * PIECE_BYTES + 17 };
    static char text[LONG + 1];

    (void)state;
    memset(text, 'x', LONG);
    text[LONG] = '\n';
    output_take(rig.out, CHILD_STDOUT, str_span(text, LONG + 1));
    for (size_t i = 0; i <= LONG; i++)
        output_take(rig.out, CHILD_STDOUT, str_span(text + i, 1));
    (void)lines();
    assert_int_equal(rig.lines_n, 2 * (LONG + 1));
    assert_memory_equal(rig.lines, text, LONG + 1);
    assert_memory_equal(rig.lines + LONG + 1, text, LONG + 1);
    assert_int_equal(count(records(), "[tiny stdout] x"), 6);
    assert_int_equal(count(rig.records, "[tiny stdout] xxxxxxxxxxxxxxxxx\""), 2);
    assert_int_equal(count(rig.records, "x"), 2 * LONG);
}

/* What an escape makes longer is not cut, but goes on in the next record. */
static void what_is_escaped_is_logged_whole(void **state)
{
    static char text[PIECE_BYTES + 1];

    (void)state;
    memset(text, '\x01', PIECE_BYTES);
    text[PIECE_BYTES] = '\n';
    for (enum log_format format = LOG_LOGFMT; format <= LOG_SVC; format++) {
        unsigned before = count(records(), "\\u0001");

        log_set_format(format);
        output_take(rig.out, CHILD_STDOUT, str_span(text, sizeof text));
        assert_int_equal(count(records(), "\\u0001"), before + PIECE_BYTES);
    }
    for (char *line, *rest = rig.records; (line = strsep(&rest, "\n"));)
        assert_in_range(strlen(line), 0, LOG_LONG_BYTES - 1);
}

static void look(void *ctx)
{
    (void)ctx;
    if (strstr(records(), rig.wanted))
        loop_stop(rig.loop);
}

static void on_impatience(struct deadline *d)
{
    (void)d;
    fail_msg("no record has \"%s\"", rig.wanted);
}

static void await_record(const char *text)
{
    rig.wanted = text;
    loop_on_turn(rig.loop, look, NULL);
    deadline_arm(rig.loop, &rig.patience, PATIENCE_MS, on_impatience);
    loop_run(rig.loop);
    deadline_stop(&rig.patience);
}

static void a_flood_is_counted_not_logged(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        take(i % 2 ? CHILD_STDOUT : CHILD_STDERR, "noise\n");
    assert_int_equal(count(records(), "noise"), 100);
    assert_int_equal(count(lines(), "noise\n"), 1000);
    await_record("\"lines_not_logged\":900");
    take(CHILD_STDOUT, "quiet again\n");
    assert_int_equal(count(records(), "quiet again"), 1);
    for (int i = 0; i < 105; i++)
        take(CHILD_STDOUT, "more\n");
    output_destroy(&rig.out); /* what is not told yet is told then */
    assert_int_equal(count(records(), "more\""), 99);
    assert_int_equal(count(rig.records, "\"lines_not_logged\":6"), 1);
    rig.out = output_create(rig.loop, rig.log, "tiny");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_are_whole, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(the_end_of_a_stream_ends_its_line, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(every_byte_is_kept_and_escaped, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(a_long_line_is_logged_in_pieces, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(what_is_escaped_is_logged_whole, rig_open, rig_close),
        cmocka_unit_test_setup_teardown(a_flood_is_counted_not_logged, rig_open, rig_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
