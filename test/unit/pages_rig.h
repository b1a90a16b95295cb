/* SPDX-License-Identifier: Apache-2.0
 *
 * pages_rig.h - the program's own commands and settings for the tests of its pages, and programs of
 * the machine that judge them.
 */
#pragma once
#include "unit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "conf/help.h"
#include "role/role.h"
#include "role/settings.h"

#define assert_contains(page, text) pages_contain((page), str_of(text), __FILE__, __LINE__)

static inline void pages_contain(const struct buf *page, struct str text, const char *file,
                                 int line)
{
    if (str_find_str(buf_str(page), text) < page->n)
        return;
    print_error("no \"%.*s\" in\n%.*s\n", STR_ARGS(text), STR_ARGS(buf_str(page)));
    _fail(file, line);
}

static inline const struct option_table *pages_settings(const struct command *c)
{
    return c->settings ? settings_table() : NULL;
}

static inline bool pages_have(const char *program)
{
    char *command = mem_printf("command -v %s >/dev/null 2>&1", program);
    bool there = system(command) == 0;

    mem_free(command);
    if (!there)
        print_message("skipped: %s is not installed (scripts/deps ci)\n", program);
    return there;
}

/* Runs `command` (a shell's, the page on its stdin); its output, which the caller frees. */
static inline char *pages_feed(const char *command, const struct buf *page, int *status)
{
    char in[] = "/tmp/inferd-page-XXXXXX";
    int fd = mkstemp(in);
    char *line = mem_printf("{ %s ; } <%s 2>&1", command, in);
    char *output = mem_alloc(1 << 16);
    FILE *f;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, page->p, page->n), page->n);
    close(fd);
    f = popen(line, "r");
    assert_non_null(f);
    output[fread(output, 1, (1 << 16) - 1, f)] = '\0';
    *status = pclose(f);
    (void)unlink(in);
    mem_free(line);
    return output;
}

/* It ends with 0 and says nothing. */
static inline void pages_pass(const char *command, const struct buf *page)
{
    int status;
    char *output = pages_feed(command, page, &status);

    if (status != 0 || *output)
        fail_msg("%s: status %d: %s", command, status, output);
    mem_free(output);
}
