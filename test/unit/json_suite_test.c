/* SPDX-License-Identifier: Apache-2.0
 *
 * json_suite_test.c - JSONTestSuite's test_parsing files against the scanner and the document
 * reader: every y_ file accepted (but for repeated keys, which the reader refuses), every n_ file
 * refused, and each i_ file, which the RFC leaves open, as docs/json.md decides it. Whole and byte
 * by byte; and that page, $INFERD_JSON_PAGE, against the verdicts here. The folder is
 * $INFERD_JSON_SUITE; without it the test is skipped, loudly.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/mem.h"
#include "jsonscan_portable.h"

enum { Y_FILES = 95, N_FILES = 188, SKIPPED = 77 };

struct verdict {
    const char *file;
    int scan, read; /* 0 or a code of err.h */
    bool seen;
};

/* What the reader does differently with files that must parse. */
static struct verdict repeated[] = {
    {"y_object_duplicated_key.json", 0, -E_EXISTS, false},
    {"y_object_duplicated_key_and_value.json", 0, -E_EXISTS, false},
};

static struct verdict decided[] = {
    {"i_number_double_huge_neg_exp.json", 0, 0, false},
    {"i_number_huge_exp.json", -E_LIMIT, -E_LIMIT, false},
    {"i_number_neg_int_huge_exp.json", 0, -E_SYNTAX, false},
    {"i_number_pos_double_huge_exp.json", 0, -E_SYNTAX, false},
    {"i_number_real_neg_overflow.json", 0, -E_SYNTAX, false},
    {"i_number_real_pos_overflow.json", 0, -E_SYNTAX, false},
    {"i_number_real_underflow.json", 0, 0, false},
    {"i_number_too_big_neg_int.json", 0, 0, false},
    {"i_number_too_big_pos_int.json", 0, 0, false},
    {"i_number_very_big_negative_int.json", 0, 0, false},
    {"i_object_key_lone_2nd_surrogate.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_1st_surrogate_but_2nd_missing.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_1st_valid_surrogate_2nd_invalid.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_UTF-16LE_with_BOM.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_UTF-8_invalid_sequence.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_UTF8_surrogate_U+D800.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_incomplete_surrogate_and_escape_valid.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_incomplete_surrogate_pair.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_incomplete_surrogates_escape_valid.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_invalid_lonely_surrogate.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_invalid_surrogate.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_invalid_utf-8.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_inverted_surrogates_U+1D11E.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_iso_latin_1.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_lone_second_surrogate.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_lone_utf8_continuation_byte.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_not_in_unicode_range.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_overlong_sequence_2_bytes.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_overlong_sequence_6_bytes.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_overlong_sequence_6_bytes_null.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_truncated-utf-8.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_utf16BE_no_BOM.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_string_utf16LE_no_BOM.json", -E_SYNTAX, -E_SYNTAX, false},
    {"i_structure_500_nested_arrays.json", -E_LIMIT, -E_LIMIT, false},
    {"i_structure_UTF-8_BOM_empty_object.json", -E_SYNTAX, -E_SYNTAX, false},
};

static int failures;

static int ignore(void *ctx, const struct jsonscan_event *e)
{
    (void)ctx;
    return e->kind == JSONSCAN_KEY || e->kind == JSONSCAN_STRING ? JSONSCAN_WANT_TEXT : JSONSCAN_GO;
}

static int scan(struct str doc, size_t step)
{
    struct jsonscan s;
    int r = 0;

    jsonscan_init(&s, NULL, ignore, NULL);
    for (size_t at = 0; at < doc.n && r == 0; at += step)
        r = jsonscan_feed(&s, doc.p + at, min_size(step, doc.n - at));
    return r ? r : jsonscan_finish(&s);
}

static int scan_portable(struct str doc)
{
    struct jsonscan s;
    int r;

    jsonscan_portable_init(&s, NULL, ignore, NULL);
    r = jsonscan_portable_feed(&s, doc.p, doc.n);
    return r ? r : jsonscan_portable_finish(&s);
}

static struct verdict *find(struct verdict *rows, size_t n, const char *file)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].file, file) == 0)
            return &rows[i];
    return NULL;
}

static void differs(const char *file, const char *what, const char *got, const char *want)
{
    printf("%s: %s gives %s, must give %s\n", file, what, got, want);
    failures++;
}

static const char *name_of(int r) { return r < 0 ? err_name(r) : "ok"; }

/* `want` NULL: any refusal. */
static void judge(const char *file, struct str doc, const struct verdict *want)
{
    _cleanup_(json_cleanup) struct json *v = NULL;
    int scans[] = {scan(doc, doc.n + 1), scan(doc, 1), scan_portable(doc)};
    int read = json_read(doc, NULL, NULL, &v);

    for (size_t i = 0; i < ARRAY_LEN(scans); i++)
        if (want ? scans[i] != want->scan : scans[i] == 0)
            differs(file,
                    i == 0   ? "scan"
                    : i == 1 ? "scan byte by byte"
                             : "portable scan",
                    name_of(scans[i]), want ? name_of(want->scan) : "an error");
    if (want ? read != want->read : read == 0)
        differs(file, "read", name_of(read), want ? name_of(want->read) : "an error");
}

/* By the letter its name begins with; `counts` are the files of y, n, i. */
static void run_file(const char *file, struct str doc, unsigned counts[3])
{
    const struct verdict fine = {.file = file};
    struct verdict *row = find(repeated, ARRAY_LEN(repeated), file);

    if (!row)
        row = find(decided, ARRAY_LEN(decided), file);
    if (row)
        row->seen = true;
    if (file[0] == 'n') {
        counts[1]++;
        judge(file, doc, NULL);
    } else if (file[0] == 'y') {
        counts[0]++;
        judge(file, doc, row ? row : &fine);
    } else {
        counts[2]++;
        if (row)
            judge(file, doc, row);
        else
            differs(file, "the table", "no verdict", "one");
    }
}

/* Heap bytes of exactly the file's size. */
static char *slurp(const char *path, size_t *ret_size)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    char *bytes;

    if (!f || fstat(fileno(f), &st) < 0) {
        perror(path);
        exit(1);
    }
    bytes = malloc((size_t)st.st_size);
    *ret_size = fread(bytes, 1, (size_t)st.st_size, f);
    fclose(f);
    return bytes;
}

static void all_seen(const struct verdict *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!rows[i].seen)
            differs(rows[i].file, "the suite", "no such file", "one");
}

static const char *word_of(int r)
{
    return r == 0 ? "accepted" : r == -E_LIMIT ? "limit" : "syntax";
}

/* The page tells the same verdicts. */
static void check_page(const char *path)
{
    size_t size;
    char *bytes = slurp(path, &size);

    for (size_t i = 0; i < ARRAY_LEN(decided); i++) {
        _cleanup_(mem_cleanup) char *row =
            mem_printf("| `%s` | %s | %s |", decided[i].file, word_of(decided[i].scan),
                       word_of(decided[i].read));

        if (str_find_str(str_span(bytes, size), str_of(row)) == size)
            differs(decided[i].file, "docs/json.md", "another verdict, or none", row);
    }
    free(bytes);
}

int main(void)
{
    const char *folder = getenv("INFERD_JSON_SUITE");
    DIR *dir = folder ? opendir(folder) : NULL;
    unsigned counts[3] = {0};

    if (!dir) {
        printf("SKIP: the JSON test suite is not there (INFERD_JSON_SUITE=%s); scripts/deps test "
               "gets it\n",
               folder ? folder : "");
        return SKIPPED;
    }
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        size_t size;
        char *bytes, *path;

        if (!strstr(e->d_name, ".json") || !strchr("yni", e->d_name[0]))
            continue;
        path = mem_printf("%s/%s", folder, e->d_name);
        bytes = slurp(path, &size);
        mem_free(path);
        run_file(e->d_name, str_span(bytes, size), counts);
        free(bytes);
    }
    closedir(dir);
    check_page(getenv("INFERD_JSON_PAGE"));
    all_seen(repeated, ARRAY_LEN(repeated));
    all_seen(decided, ARRAY_LEN(decided));
    printf("%u y_, %u n_, %u i_ files, %d differences\n", counts[0], counts[1], counts[2],
           failures);
    if (counts[0] != Y_FILES || counts[1] != N_FILES || counts[2] != ARRAY_LEN(decided)) {
        printf("the suite must hold %d y_, %d n_, %zu i_ files\n", Y_FILES, N_FILES,
               ARRAY_LEN(decided));
        return 1;
    }
    return failures > 0;
}
