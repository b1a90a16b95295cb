/* SPDX-License-Identifier: Apache-2.0
 *
 * role.c - see role.h.
 */
#include "role/role.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "conf/help.h"
#include "role/babysitter.h"
#include "role/bench.h"
#include "role/chaos.h"
#include "role/check.h"
#include "role/ctl.h"
#include "role/gateway.h"
#include "role/manual.h"
#include "role/mock.h"
#include "role/registry.h"
#include "role/router.h"
#include "role/settings.h"
#include "role/up.h"

enum { TEXT_BYTES = 1 << 20 };

const struct command *const *role_list(void)
{
    static const struct command *list[13];
    const struct command *const all[] = {
        up_command(),         mock_command(),   bench_command(),    chaos_command(),
        check_command(),      ctl_command(),    registry_command(), router_command(),
        babysitter_command(), manual_command(), gateway_command(),
    };

    _Static_assert(ARRAY_LEN(all) < ARRAY_LEN(list), "room for the NULL");
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        list[i] = all[i];
    return list;
}

const struct command *role_find(struct str name)
{
    const struct command *const *list = role_list();

    for (size_t i = 0; list[i]; i++)
        if (str_eq(str_of(list[i]->name), name))
            return list[i];
    return NULL;
}

bool role_is_alias(const struct command *c, const char *path)
{
    const char *slash = strrchr(path, '/');
    struct str name = str_of(slash ? slash + 1 : path);

    for (size_t i = 0; c->aliases && c->aliases[i]; i++)
        if (str_eq(str_of(c->aliases[i]), name))
            return true;
    return false;
}

const struct command *role_find_alias(const char *path)
{
    const struct command *const *list = role_list();

    for (size_t i = 0; list[i]; i++)
        if (role_is_alias(list[i], path))
            return list[i];
    return NULL;
}

int role_start(const struct command *c, int argc, char **argv, struct arena *arena, void *own,
               struct bundle *overrides)
{
    struct flags_input in = {
        .command = c,
        .settings = c->settings ? settings_table() : NULL,
        .argc = argc,
        .argv = argv,
        .environment = c->environment && !role_is_alias(c, argv[0]) ? environ : NULL,
    };
    struct buf text = buf_make(TEXT_BYTES);
    enum flags_verdict verdict = flags_parse(&in, arena, own, overrides, &text);
    FILE *to = verdict == FLAGS_WRONG ? stderr : stdout;

    (void)fwrite(text.p ? text.p : "", 1, text.n, to);
    (void)fflush(to);
    buf_fini(&text);
    return verdict == FLAGS_OK ? -1 : verdict == FLAGS_WRONG ? 2 : 0;
}

void role_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)!setrlimit(RLIMIT_NOFILE, &limit);
}
