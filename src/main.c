/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - picks the role: by the name the program was started under (symlinks), else by the first
 * argument. Everything else is the role's. It owns nothing and starts no thread.
 */
#include <limits.h>
#include <stdio.h>

#include "conf/help.h"
#include "role/role.h"

enum { TEXT_BYTES = 64 << 10 };

static void overview(FILE *to)
{
    struct buf text = buf_make(TEXT_BYTES);

    help_overview(role_list(), &text);
    (void)fwrite(text.p, 1, text.n, to);
    buf_fini(&text);
}

static int unknown(struct str name)
{
    const struct command *const *list = role_list();
    const char *nearest = NULL;
    unsigned best = UINT_MAX;

    for (size_t i = 0; list[i]; i++)
        if (!list[i]->hidden && option_nearer(name, str_of(list[i]->name), &best))
            nearest = list[i]->name;
    fprintf(stderr, "inferd: unknown command \"%.*s\"", STR_ARGS(str_head(name, 100)));
    if (nearest)
        fprintf(stderr, " (did you mean %s?)", nearest);
    fprintf(stderr, "\n");
    overview(stderr);
    return 2;
}

int main(int argc, char **argv)
{
    const struct command *c = argc > 0 ? role_find_alias(argv[0]) : NULL;
    struct str name;

    if (c)
        return c->run(argc, argv);
    if (argc < 2) {
        fprintf(stderr, "inferd: which command?\n");
        overview(stderr);
        return 2;
    }
    name = str_of(argv[1]);
    if (str_eq(name, STR("--help")) || str_eq(name, STR("-h"))) {
        overview(stdout);
        return 0;
    }
    if (str_eq(name, STR("--version"))) {
        printf("inferd " INFERD_VERSION "\n");
        return 0;
    }
    c = role_find(name);
    return c ? c->run(argc - 1, argv + 1) : unknown(name);
}
