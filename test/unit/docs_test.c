/* SPDX-License-Identifier: Apache-2.0
 *
 * docs_test.c - the reference and the manual pages: every row of every table is in both, the
 * example is a configuration that is taken, docs/config.md is what the program writes, and mandoc
 * finds nothing to say about any page.
 */
#include "pages_rig.h"

#include "conf/bundle.h"
#include "conf/docs.h"

/* `within`: the path of the table, with a dot behind. */
static void markdown_has(const struct buf *page, const struct option_table *t, const char *within)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct option *o = &t->rows[i];
        struct buf row = buf_make(1000);

        if (o->table) {
            char path[256];

            buf_printf(&row,
                       o->type == OPTION_TABLES  ? "\n## `[[%s%s]]`\n"
                       : o->type == OPTION_NAMED ? "\n## `[%s%s.\"NAME\"]`\n"
                                                 : "\n## `[%s%s]`\n",
                       within, o->key);
            (void)snprintf(path, sizeof path, "%s%s%s.", within, o->key,
                           o->type == OPTION_NAMED ? ".\"NAME\"" : "");
            markdown_has(page, o->table, path);
        } else {
            buf_printf(&row, "\n| `%s` | %s | ", o->key, option_type_text(o));
        }
        if (o->type != OPTION_NAME)
            assert_contains(page, buf_cstr(&row));
        buf_fini(&row);
    }
}

static int has_names(void *ctx, struct str path, const struct option *o)
{
    struct buf names = buf_make(1000);

    buf_text(&names, "`--");
    option_flag_name(path, &names);
    buf_text(&names, o->by ? "` and `" : "` | `");
    option_env_name(path, &names);
    buf_char(&names, '`');
    assert_contains(ctx, buf_cstr(&names));
    buf_fini(&names);
    return 0;
}

static int counts(void *ctx, struct str path, const struct option *o)
{
    (void)path;
    *(size_t *)ctx += !o->by; /* --listen stands in a sentence */
    return 0;
}

/* Lists were told of with flags that nobody took, and variables that nobody read. */
static void test_no_flag_is_told_of_that_there_is_not(void **state)
{
    struct buf page = buf_make(1 << 20);
    size_t there = 0, told = 0;

    (void)state;
    docs_markdown(settings_table(), &page);
    (void)option_each_flag(settings_table(), counts, &there);
    for (const char *p = buf_cstr(&page); (p = strstr(p, "| `--")); p++)
        told++;
    assert_int_equal(told, there);
    buf_fini(&page);
}

static void test_every_row_is_in_the_reference(void **state)
{
    struct buf page = buf_make(1 << 20);

    (void)state;
    docs_markdown(settings_table(), &page);
    assert_int_equal(buf_status(&page), 0);
    markdown_has(&page, settings_table(), "");
    (void)option_each_flag(settings_table(), has_names, &page);
    assert_contains(&page, "| `queue_ms` | integer | `30000` | 1 to 86400000 | "
                           "`--limits-queue-ms` | `INFERD_LIMITS_QUEUE_MS` | ");
    assert_contains(&page,
                    "| `restart` | string | `\"always\"` | `always`, `on-failure`, `never` |");
    assert_contains(&page, "| `model` | string | *required* | up to 256 bytes |");
    assert_contains(&page, " *restart* |\n");
    buf_fini(&page);
}

/* A stray `|` would add a cell, a stray backtick would swallow one. */
static void test_reference_tables_are_regular(void **state)
{
    struct buf page = buf_make(1 << 20);
    struct str rest;
    size_t columns = 0;

    (void)state;
    docs_markdown(settings_table(), &page);
    rest = buf_str(&page);
    while (rest.n) {
        struct str line = str_cut(&rest, '\n');
        size_t bars = 0, ticks = 0;

        for (size_t i = 0; i < line.n; i++) {
            bars += line.p[i] == '|' && (i == 0 || line.p[i - 1] != '\\');
            ticks += line.p[i] == '`';
        }
        if (line.n == 0 || line.p[0] != '|') {
            columns = 0;
            continue;
        }
        columns = columns ? columns : bars;
        if (bars != columns || ticks % 2)
            fail_msg("%.*s", STR_ARGS(line));
    }
    buf_fini(&page);
}

static void test_reference_example_is_a_configuration(void **state)
{
    struct buf page = buf_make(1 << 20);
    struct str toml;
    struct settings *s;
    struct conf_errors errors;
    struct bundle *b;
    struct arena arena;

    (void)state;
    arena_init(&arena, NULL);
    error_init(&errors, &arena);
    docs_markdown(settings_table(), &page);
    toml = str_from(buf_str(&page), str_find_str(buf_str(&page), STR("```toml\n")) + 8);
    toml = str_head(toml, str_find_str(toml, STR("```")));
    bundle_create(&b);
    assert_int_equal(bundle_add(b, BUNDLE_FILE, STR("example"), toml), 0);
    assert_int_equal(bundle_add(b, BUNDLE_COMPUTED, STR("lanes"), STR("1")), 0);
    assert_int_equal(bundle_add(b, BUNDLE_COMPUTED, STR("state_dir"), STR("/s")), 0);
    assert_int_equal(bundle_add(b, BUNDLE_COMPUTED, STR("runtime_dir"), STR("/r")), 0);
    assert_int_equal(bundle_add(b, BUNDLE_SECRET, STR("/etc/inferd/gpu1.key"), STR("k")), 0);
    if (settings_from_bundle(b, &s, &errors) < 0)
        fail_msg("%.*s", STR_ARGS(errors.at[0].problem));
    settings_unref(&s);
    bundle_destroy(&b);
    arena_clear(&arena);
    buf_fini(&page);
}

static void test_docs_config_md_is_current(void **state)
{
    struct buf page = buf_make(1 << 20);
    static char kept[1 << 20];
    FILE *f = fopen(getenv("INFERD_DOCS_CONFIG"), "r");

    (void)state;
    assert_non_null(f);
    docs_markdown(settings_table(), &page);
    if (!str_eq(str_span(kept, fread(kept, 1, sizeof kept, f)), buf_str(&page)))
        fail_msg("docs/config.md is not what the program writes: run `make docs`");
    (void)fclose(f);
    buf_fini(&page);
}

/* --- manual pages --- */

static void man_has(const struct buf *page, const struct option_table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct buf row = buf_make(1000);

        buf_printf(&row, ".TP\n\\fB%s\\fR (", t->rows[i].key);
        if (t->rows[i].table)
            man_has(page, t->rows[i].table);
        else if (t->rows[i].type != OPTION_NAME)
            assert_contains(page, buf_cstr(&row));
        buf_fini(&row);
    }
}

static int man_has_flag(void *ctx, struct str path, const struct option *o)
{
    struct buf name = buf_make(1000), troff = buf_make(1000);

    (void)o;
    buf_text(&name, "--");
    option_flag_name(path, &name);
    for (size_t i = 0; i < name.n; i++) {
        buf_text(&troff, name.p[i] == '-' ? "\\" : "");
        buf_char(&troff, name.p[i]);
    }
    assert_contains(ctx, buf_cstr(&troff));
    buf_fini(&name);
    buf_fini(&troff);
    return 0;
}

static void test_every_row_is_in_the_manual(void **state)
{
    struct buf page = buf_make(1 << 20);

    (void)state;
    docs_man_settings(settings_table(), &page);
    man_has(&page, settings_table());
    assert_contains(&page, ".SS [[engine]]\n");
    assert_contains(&page, "INFERD_*, LISTEN_*,"); /* stars of their own are no italics */
    assert_contains(&page, "command = [\"llama\\-server\"");
    buf_fini(&page);
    for (const struct command *const *c = role_list(); *c; c++) {
        page = buf_make(1 << 20);
        docs_man_command(*c, pages_settings(*c), &page);
        (void)help_each_flag(*c, pages_settings(*c), man_has_flag, &page);
        buf_fini(&page);
    }
}

static void test_overview_points_to_every_command(void **state)
{
    struct buf page = buf_make(1 << 20), line = buf_make(1000);

    (void)state;
    docs_man_overview(role_list(), &page);
    for (const struct command *const *c = role_list(); *c; c++) {
        buf_clear(&line);
        buf_printf(&line, "\\fBinferd\\-%s\\fR(1)", (*c)->name);
        assert_true((*c)->hidden == (str_find_str(buf_str(&page), buf_str(&line)) == page.n));
    }
    buf_fini(&page);
    buf_fini(&line);
}

#define MANDOC "mandoc -Tlint -Wwarning"

static void test_mandoc_is_content(void **state)
{
    struct buf page = buf_make(1 << 20);

    (void)state;
    if (!pages_have("mandoc"))
        skip();
    docs_man_settings(settings_table(), &page);
    pages_pass(MANDOC, &page);
    buf_clear(&page);
    docs_man_overview(role_list(), &page);
    pages_pass(MANDOC, &page);
    for (const struct command *const *c = role_list(); *c; c++) {
        buf_clear(&page);
        docs_man_command(*c, pages_settings(*c), &page);
        pages_pass(MANDOC, &page);
    }
    buf_fini(&page);
}

/* mandoc's lint, or what it is, must be able to complain. */
static void test_mandoc_finds_a_mistake(void **state)
{
    struct buf page = buf_make(1000);
    char *output;
    int status;

    (void)state;
    if (!pages_have("mandoc"))
        skip();
    buf_text(&page, ".TH X 1 \"2026-01-01\" \"x\"\n.SH NAME\nx \\- y\n.SH Z\n.PP\nz\n");
    output = pages_feed(MANDOC, &page, &status);
    assert_non_null(strstr(output, "WARNING"));
    mem_free(output);
    buf_fini(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_flag_is_told_of_that_there_is_not),
        cmocka_unit_test(test_every_row_is_in_the_reference),
        cmocka_unit_test(test_reference_tables_are_regular),
        cmocka_unit_test(test_reference_example_is_a_configuration),
        cmocka_unit_test(test_docs_config_md_is_current),
        cmocka_unit_test(test_every_row_is_in_the_manual),
        cmocka_unit_test(test_overview_points_to_every_command),
        cmocka_unit_test(test_mandoc_is_content),
        cmocka_unit_test(test_mandoc_finds_a_mistake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
