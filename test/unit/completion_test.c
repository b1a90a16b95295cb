/* SPDX-License-Identifier: Apache-2.0
 *
 * completion_test.c - what shells offer: scripts that their shell accepts, with every flag in them;
 * and bash's really run with what a person has typed so far.
 */
#include "pages_rig.h"

#include "conf/completion.h"

static struct buf bash(void)
{
    struct buf page = buf_make(1 << 20);

    completion_bash(role_list(), settings_table(), &page);
    assert_int_equal(buf_status(&page), 0);
    return page;
}

/* The reply to `typed`, words by blanks, the last one being completed; sorted, in one line. */
static void offers(const char *typed, const char *reply)
{
    struct buf page = bash();
    char *output;
    int status;

    buf_printf(&page,
               "\nCOMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _inferd\n"
               "printf '%%s\\n' \"${COMPREPLY[@]}\" | sort | tr '\\n' ' '\n",
               typed);
    output = pages_feed("bash --norc", &page, &status);
    if (status != 0 || !str_eq(str_trim(str_of(output)), str_of(reply)))
        fail_msg("%s: status %d, \"%s\", not \"%s\"", typed, status, output, reply);
    mem_free(output);
    buf_fini(&page);
}

static void test_bash_takes_the_script(void **state)
{
    struct buf page = bash();

    (void)state;
    if (!pages_have("bash"))
        skip();
    pages_pass("bash -n", &page);
    pages_pass("bash --norc", &page);
    buf_fini(&page);
}

static void test_bash_offers(void **state)
{
    (void)state;
    if (!pages_have("bash"))
        skip();
    offers("inferd che", "check");
    offers("inferd --v", "--version");
    offers("inferd check --du", "--dump");
    offers("inferd check --log-format ''", "json logfmt svc");
    offers("inferd check --log-format = j", "json"); /* bash splits at = */
    offers("inferd check --log-format =", "json logfmt svc");
    offers("inferd check --log-level w", "warn");
    offers("inferd check --limits-queue-ms ''", ""); /* a number: nothing */
    offers("inferd check --config /etc/passw", "/etc/passwd /etc/passwd-");
    offers("inferd check --state-dir /et", "/etc");
    offers("inferd check --dump --limits-req", "--limits-request-line-bytes");
    offers("inferd nonsense --", "");
    offers("inferd help --format z", "zsh");
}

struct check {
    const struct buf *page;
    const char *before, *between; /* of the command's name */
    const struct command *command;
};

static int has_flag(void *ctx, struct str path, const struct option *o)
{
    struct check *c = ctx;
    struct buf text = buf_make(1000);

    (void)o;
    buf_text(&text, c->before);
    buf_printf(&text, "%s%s", c->between ? c->command->name : "", c->between ? c->between : "");
    option_flag_name(path, &text);
    assert_contains(c->page, buf_cstr(&text));
    buf_fini(&text);
    return 0;
}

/* `between` NULL: without the command's name. */
static void has_every_flag(const struct buf *page, const char *before, const char *between)
{
    for (const struct command *const *c = role_list(); *c; c++) {
        struct check check = {page, before, between, *c};

        if (!(*c)->hidden)
            (void)help_each_flag(*c, pages_settings(*c), has_flag, &check);
    }
}

static void test_zsh(void **state)
{
    struct buf page = buf_make(1 << 20);

    (void)state;
    completion_zsh(role_list(), settings_table(), &page);
    assert_true(str_starts(buf_str(&page), STR("#compdef inferd\n")));
    has_every_flag(&page, "--", NULL);
    buf_fini(&page);
}

static void test_zsh_takes_the_script(void **state)
{
    struct buf page = buf_make(1 << 20);

    (void)state;
    if (!pages_have("zsh"))
        skip();
    completion_zsh(role_list(), settings_table(), &page);
    pages_pass("zsh -n", &page);
    buf_fini(&page);
}

static void test_fish(void **state)
{
    struct buf page = buf_make(1 << 20);

    (void)state;
    completion_fish(role_list(), settings_table(), &page);
    has_every_flag(&page, "complete -c inferd -n '__fish_seen_subcommand_from ", "' -l ");
    buf_fini(&page);
}

static void test_fish_offers(void **state)
{
    struct buf page = buf_make(1 << 20);
    char *output;
    int status;

    (void)state;
    if (!pages_have("fish"))
        skip();
    completion_fish(role_list(), settings_table(), &page);
    buf_text(&page, "complete -C 'inferd check --log-format '\n"
                    "complete -C 'inferd che'\n");
    output = pages_feed("HOME=/nonexistent fish --no-config | cut -f1", &page, &status);
    if (status != 0 || strcmp(output, "json\nlogfmt\nsvc\ncheck\n") != 0)
        fail_msg("status %d: %s", status, output);
    mem_free(output);
    buf_fini(&page);
}

/* Texts with everything that ends a string or begins something in one. */
static void test_hostile_texts_do_no_harm(void **state)
{
    static const struct option rows[] = {
        {.key = "x",
         .type = OPTION_STR,
         .dflt = "UNSET",
         .most = 9,
         .text = "It's [a] $(touch x) `b` \"c\": \\ d."},
    };
    static const struct option_table table = {.name = "t", .rows = rows, .n = 1, .text = "T."};
    static const struct command hostile = {
        .name = "x", .summary = "somebody's $(touch x) `id` \"y\" [z]: \\", .flags = &table};
    static const struct command *const list[] = {&hostile, NULL};
    struct buf page = buf_make(1 << 20);

    (void)state;
    completion_bash(list, NULL, &page);
    pages_pass("bash --norc", &page);
    buf_clear(&page);
    /* quotes of zsh and fish behave as sh's here */
    completion_fish(list, NULL, &page);
    pages_pass("sed 's/^complete/true/' | sh", &page);
    buf_clear(&page);
    completion_zsh(list, NULL, &page);
    assert_contains(&page, "'x:somebodys (touch x) id y z '");
    assert_contains(&page, "'--x=[Its a (touch x) b c  d]:TEXT:'");
    buf_fini(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bash_takes_the_script),
        cmocka_unit_test(test_bash_offers),
        cmocka_unit_test(test_zsh),
        cmocka_unit_test(test_zsh_takes_the_script),
        cmocka_unit_test(test_fish),
        cmocka_unit_test(test_fish_offers),
        cmocka_unit_test(test_hostile_texts_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
