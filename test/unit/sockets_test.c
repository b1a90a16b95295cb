/* SPDX-License-Identifier: Apache-2.0
 *
 * sockets_test.c - the sockets of a configuration: bound, kept over a reload when their address
 * stays, closed and removed when it goes, all or nothing on failure; sockets that were handed over.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "base/mem.h"
#include "conf/bundle.h"
#include "role/sockets.h"

struct rig {
    char dir[64];
    struct sockets_inherited inherited;
    uint32_t last_id;
    struct settings *settings[4];
    unsigned n;
    char text[1024];
    struct buf problem;
};

static int set_up(void **state)
{
    struct rig *r = calloc(1, sizeof *r);

    (void)snprintf(r->dir, sizeof r->dir, "/tmp/sockets_test.XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    r->problem = buf_on(r->text, sizeof r->text);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    char command[128];

    for (unsigned i = 0; i < r->n; i++)
        settings_unref(&r->settings[i]);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
    assert_int_equal(system(command), 0);
    free(r);
    return 0;
}

/* Settings from TOML text; NULL: no file. */
static const struct settings *configure(struct rig *r, const char *toml)
{
    struct bundle *b;
    struct conf_errors errors;
    struct arena arena;

    arena_init(&arena, NULL);
    error_init(&errors, &arena);
    bundle_create(&b);
    assert_int_equal(bundle_add(b, BUNDLE_COMPUTED, STR("lanes"), STR("1")), 0);
    assert_int_equal(bundle_add(b, BUNDLE_COMPUTED, STR("runtime_dir"), str_of(r->dir)), 0);
    assert_int_equal(bundle_add(b, BUNDLE_COMPUTED, STR("state_dir"), str_of(r->dir)), 0);
    if (toml)
        assert_int_equal(bundle_add(b, BUNDLE_FILE, STR("t.toml"), str_of(toml)), 0);
    if (settings_from_bundle(b, &r->settings[r->n], &errors) < 0)
        fail_msg("%.*s", STR_ARGS(errors.at[0].problem));
    bundle_destroy(&b);
    arena_clear(&arena);
    return r->settings[r->n++];
}

static int open_sockets(struct rig *r, const struct settings *s, const struct sockets *old,
                        struct sockets *ret)
{
    struct sockets_plan plan = {.settings = s,
                                .old = old,
                                .inherited = &r->inherited,
                                .runtime_dir = r->dir,
                                .last_id = &r->last_id};

    return sockets_open(&plan, ret, &r->problem);
}

static const struct sockets_one *find_kind(const struct sockets *s, enum link_listener_kind kind,
                                           unsigned skip)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->at[i].is.kind == kind && skip-- == 0)
            return &s->at[i];
    fail_msg("no such socket");
    return NULL;
}

static void binds_all_of_a_configuration(void **state)
{
    struct rig *r = *state;
    struct sockets s;
    char toml[512];
    struct stat st;

    (void)snprintf(toml, sizeof toml,
                   "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"unix:%s/data\"\n"
                   "[admin]\naddress = \"127.0.0.1:0\"\n",
                   r->dir);
    assert_int_equal(open_sockets(r, configure(r, toml), NULL, &s), 0);
    assert_int_equal(s.n, 4);
    assert_true(find_kind(&s, LINK_LISTENER_DATA, 0)->bound.port != 0);
    assert_int_equal(find_kind(&s, LINK_LISTENER_DATA, 1)->is.index, 1);
    assert_true(find_kind(&s, LINK_LISTENER_ADMIN, 0)->bound.port != 0);
    assert_int_equal(stat(find_kind(&s, LINK_LISTENER_CTL, 0)->bound.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    (void)snprintf(toml, sizeof toml, "%s/data", r->dir);
    sockets_close(&s, NULL);
    assert_int_equal(access(toml, F_OK), -1);
}

static void keeps_what_stays(void **state)
{
    struct rig *r = *state;
    struct sockets first, second;
    char toml[256], path[128];
    uint32_t id;

    (void)snprintf(path, sizeof path, "%s/data", r->dir);
    (void)snprintf(toml, sizeof toml,
                   "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"unix:%s\"\n",
                   path);
    assert_int_equal(open_sockets(r, configure(r, toml), NULL, &first), 0);
    id = find_kind(&first, LINK_LISTENER_DATA, 0)->is.id;
    assert_int_equal(open_sockets(r,
                                  configure(r, "[[listen]]\naddress = \"[::1]:0\"\n"
                                               "[[listen]]\naddress = \"127.0.0.1:0\"\n"),
                                  &first, &second),
                     0);
    assert_int_equal(find_kind(&second, LINK_LISTENER_DATA, 1)->is.id, id);
    assert_int_equal(find_kind(&second, LINK_LISTENER_DATA, 1)->is.index, 1);
    assert_int_equal(find_kind(&second, LINK_LISTENER_DATA, 1)->bound.port,
                     find_kind(&first, LINK_LISTENER_DATA, 0)->bound.port);
    assert_int_equal(find_kind(&second, LINK_LISTENER_CTL, 0)->is.id,
                     find_kind(&first, LINK_LISTENER_CTL, 0)->is.id);
    assert_int_equal(access(path, F_OK), 0);
    sockets_close(&first, &second);
    assert_int_equal(access(path, F_OK), -1); /* its address went, and its file with it */
    sockets_close(&second, NULL);
}

/* A reload whose address is taken must leave the sockets that serve alone. */
static void failure_closes_only_what_is_new(void **state)
{
    struct rig *r = *state;
    struct sockets first, other, next;
    char toml[256];
    int fd;

    assert_int_equal(
        open_sockets(r, configure(r, "[[listen]]\naddress = \"127.0.0.1:0\"\n"), NULL, &first), 0);
    fd = first.fd[0].fd;
    (void)snprintf(
        toml, sizeof toml,
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"127.0.0.1:%u\"\n",
        first.at[0].bound.port);
    assert_true(open_sockets(r, configure(r, toml), &first, &next) < 0);
    assert_true(str_find_str(buf_str(&r->problem), STR("another program does")) < r->problem.n);
    assert_int_equal(listener_inspect(&(struct ev_fd){fd}, &other.at[0].bound), 0);
    assert_int_equal(access(first.at[1].bound.path, F_OK), 0);
    sockets_close(&first, NULL);
}

static void inherit_one(struct rig *r, const char *address)
{
    struct addr *a = &r->inherited.addr[r->inherited.n];

    assert_int_equal(addr_parse(str_of(address), a), 0);
    assert_int_equal(listener_bind(a, 8, 0600, &r->inherited.fd[r->inherited.n]), 0);
    r->inherited.n++;
}

static void handed_over_sockets_replace_the_default(void **state)
{
    struct rig *r = *state;
    struct sockets s;
    struct addr still;

    inherit_one(r, "127.0.0.1:0");
    assert_int_equal(open_sockets(r, configure(r, NULL), NULL, &s), 0);
    assert_int_equal(s.n, 2);
    assert_true(s.at[0].inherited);
    assert_int_equal(s.at[0].is.index, LINK_INDEX_NONE);
    assert_int_equal(s.fd[0].fd, r->inherited.fd[0].fd);
    sockets_close(&s, NULL);
    assert_int_equal(listener_inspect(&r->inherited.fd[0], &still), 0); /* not ours to close */
    ev_fd_close(&r->inherited.fd[0]);
}

static void handed_over_sockets_serve_beside_configured_ones(void **state)
{
    struct rig *r = *state;
    struct sockets s;
    char toml[128];

    inherit_one(r, "127.0.0.1:0");
    inherit_one(r, "127.0.0.1:0");
    (void)snprintf(toml, sizeof toml, "[[listen]]\naddress = \"127.0.0.1:%u\"\n",
                   r->inherited.addr[1].port);
    assert_int_equal(open_sockets(r, configure(r, toml), NULL, &s), 0);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.at[0].is.index, 0);
    assert_int_equal(s.fd[0].fd, r->inherited.fd[1].fd);
    assert_int_equal(s.at[2].is.kind == LINK_LISTENER_DATA ? s.at[2].is.index : s.at[1].is.index,
                     LINK_INDEX_NONE);
    sockets_close(&s, NULL);
    ev_fd_close(&r->inherited.fd[0]);
    ev_fd_close(&r->inherited.fd[1]);
}

static void handed_over_sockets_off_loopback_need_keys_or_insecure(void **state)
{
    struct rig *r = *state;
    struct settings *settings;
    struct sockets s;

    (void)configure(r, NULL);
    settings = r->settings[0];
    inherit_one(r, "0.0.0.0:0");
    assert_int_equal(open_sockets(r, settings, NULL, &s), -E_PERM);
    assert_true(str_find_str(buf_str(&r->problem), STR("--insecure")) < r->problem.n);
    settings->keys.file = STR("/keys.toml");
    assert_int_equal(open_sockets(r, settings, NULL, &s), 0);
    sockets_close(&s, NULL);
    settings->keys.file = STR_NONE;
    settings->insecure = true;
    assert_int_equal(open_sockets(r, settings, NULL, &s), 0);
    sockets_close(&s, NULL);
    ev_fd_close(&r->inherited.fd[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(binds_all_of_a_configuration, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_what_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failure_closes_only_what_is_new, set_up, tear_down),
        cmocka_unit_test_setup_teardown(handed_over_sockets_replace_the_default, set_up, tear_down),
        cmocka_unit_test_setup_teardown(handed_over_sockets_serve_beside_configured_ones, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(handed_over_sockets_off_loopback_need_keys_or_insecure,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
