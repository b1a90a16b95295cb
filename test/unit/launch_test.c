/* SPDX-License-Identifier: Apache-2.0
 *
 * launch_test.c - from [[engine]] to a process: words, environment, program, user. Programs are
 * files of a directory of the test's own.
 */
#include "supervise/launch.h"

#include "unit.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "link/link.h"

struct rig {
    char dir[64], cwd[1024];
    struct arena arena;
    struct engine_conf engine;
    struct str words[8];
    struct str_pair env[8];
    struct launch_input in;
    struct child_conf got;
    char text[1024];
    struct buf problem;
};

static char *const parent_env[] = {(char[]){"PATH=/nowhere"},
                                   (char[]){"HOME=/home/of/inferd"},
                                   (char[]){"INFERD_LOG=debug"},
                                   (char[]){"INFERD_UNIT=another"},
                                   (char[]){"LISTEN_FDS=3"},
                                   (char[]){"LISTEN_PID=1"},
                                   (char[]){"NOTIFY_SOCKET=/run/systemd/notify"},
                                   (char[]){"NOTIFY_SOCKETS=kept"},
                                   (char[]){"WATCHDOG_USEC=1"},
                                   (char[]){"HF_HOME=/models"},
                                   (char[]){"not a variable"},
                                   NULL};

static struct rig rig;

static int rig_open(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof rig);
    (void)snprintf(rig.dir, sizeof rig.dir, "/tmp/launch_test.XXXXXX");
    assert_non_null(mkdtemp(rig.dir));
    assert_non_null(getcwd(rig.cwd, sizeof rig.cwd));
    arena_init(&rig.arena, NULL);
    rig.engine = (struct engine_conf){.name = STR("tiny"),
                                      .command = {rig.words, 0},
                                      .env = {rig.env, 0},
                                      .endpoint = ENGINE_AT_PORT};
    rig.in = (struct launch_input){.engine = &rig.engine,
                                   .parent_env = parent_env,
                                   .mark = "0123/tiny/4567",
                                   .port = 27123,
                                   .socket = ""};
    rig.problem = buf_on(rig.text, sizeof rig.text);
    return 0;
}

static const char *path_in(const char *name)
{
    return arena_printf(&rig.arena, "%s/%s", rig.dir, name).p;
}

static int rig_close(void **state)
{
    (void)state;
    assert_int_equal(chdir(rig.cwd), 0);
    (void)unlink(path_in("engine"));
    (void)unlink(path_in("plain"));
    assert_int_equal(rmdir(rig.dir), 0);
    arena_clear(&rig.arena);
    return 0;
}

static void add_word(const char *word) { rig.words[rig.engine.command.n++] = str_of(word); }

static void add_env(const char *key, const char *value)
{
    rig.env[rig.engine.env.n++] = (struct str_pair){str_of(key), str_of(value)};
}

static void make_program(const char *name, mode_t mode)
{
    int fd = open(path_in(name), O_CREAT | O_WRONLY, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void prepare(void)
{
    int r = launch_prepare(&rig.in, &rig.arena, &rig.got, &rig.problem);

    if (r < 0)
        fail_msg("refused: %s", buf_cstr(&rig.problem));
}

static const char *refused(void)
{
    buf_clear(&rig.problem);
    assert_int_equal(launch_prepare(&rig.in, &rig.arena, &rig.got, &rig.problem), -E_CONF);
    return buf_cstr(&rig.problem);
}

static const char *got_env(const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; rig.got.env[i]; i++)
        if (strncmp(rig.got.env[i], name, n) == 0 && rig.got.env[i][n] == '=')
            return rig.got.env[i] + n + 1;
    return NULL;
}

static void words_are_filled_in(void **state)
{
    (void)state;
    rig.in.socket = "/run/inferd/unit-tiny.sock";
    add_word("/bin/sh");
    add_word("--port=${PORT}");
    add_word("${SOCKET}${PORT}");
    add_word("$PORT ${HOME} ${PORT $${PORT}");
    add_word("");
    add_env("ADDRESS", "127.0.0.1:${PORT}");
    prepare();
    assert_string_equal(rig.got.file, "/bin/sh");
    assert_string_equal(rig.got.argv[0], "/bin/sh");
    assert_string_equal(rig.got.argv[1], "--port=27123");
    assert_string_equal(rig.got.argv[2], "/run/inferd/unit-tiny.sock27123");
    assert_string_equal(rig.got.argv[3], "$PORT ${HOME} ${PORT $27123");
    assert_string_equal(rig.got.argv[4], "");
    assert_null(rig.got.argv[5]);
    assert_string_equal(got_env("ADDRESS"), "127.0.0.1:27123");
    assert_true(rig.got.capture);
    assert_null(rig.got.user);
    assert_int_equal(rig.got.umask, 077); /* a socket of ours alone */
    rig.in.socket_gid = 4;
    prepare();
    assert_int_equal(rig.got.umask, 007); /* and of a group */
}

static void what_was_for_us_is_not_passed_on(void **state)
{
    mode_t ours;

    (void)state;
    add_word("/bin/sh");
    add_env("HOME", "/elsewhere");
    add_env("INFERD_LOG", "theirs"); /* configured: somebody wants that */
    add_env("INFERD_UNIT", "forged");
    prepare();
    assert_string_equal(got_env("HF_HOME"), "/models");
    assert_string_equal(got_env("NOTIFY_SOCKETS"), "kept");
    assert_string_equal(got_env("HOME"), "/elsewhere");
    assert_string_equal(got_env("INFERD_LOG"), "theirs");
    assert_string_equal(got_env("INFERD_UNIT"), "0123/tiny/4567");
    assert_null(got_env("LISTEN_FDS"));
    assert_null(got_env("LISTEN_PID"));
    assert_null(got_env("NOTIFY_SOCKET"));
    assert_null(got_env("WATCHDOG_USEC"));
    for (size_t i = 0; rig.got.env[i]; i++) { /* each once */
        for (size_t k = i + 1; rig.got.env[k]; k++)
            assert_int_not_equal(
                strncmp(rig.got.env[i], rig.got.env[k], strcspn(rig.got.env[i], "=") + 1), 0);
    }
    ours = umask(022);
    prepare();
    (void)umask(ours);
    assert_int_equal(rig.got.umask, 022);
}

static void programs_are_looked_up_in_the_units_path(void **state)
{
    (void)state;
    make_program("engine", 0755);
    make_program("plain", 0644);
    add_word("engine");
    assert_non_null(strstr(refused(), "there is no program \"engine\" in PATH"));
    add_env("PATH", arena_printf(&rig.arena, "/nonexistent:%s:/bin", rig.dir).p);
    prepare();
    assert_string_equal(rig.got.file, path_in("engine"));
    assert_string_equal(rig.got.argv[0], "engine");
    rig.words[0] = STR("plain"); /* passed over there, named here */
    assert_non_null(strstr(refused(), "there is no program \"plain\" in PATH"));
    rig.words[0] = str_of(path_in("plain"));
    assert_non_null(strstr(refused(), "plain is not executable"));
    rig.words[0] = STR("engine");
    assert_int_equal(chdir(rig.dir), 0);
    rig.env[0].value = STR("::/bin"); /* an empty entry is not the current directory */
    assert_non_null(strstr(refused(), "in PATH"));
    rig.words[0] = STR("./engine");
    prepare();
    assert_int_equal(access(rig.got.file, X_OK), 0);
    rig.words[0] = STR("");
    assert_string_equal(refused(), "the command names no program");
}

static void a_program_that_anybody_can_write_is_refused(void **state)
{
    (void)state;
    make_program("engine", 0757);
    add_word(path_in("engine"));
    assert_non_null(strstr(refused(), "can be written by any user"));
    assert_int_equal(chmod(path_in("engine"), 0775), 0);
    prepare();
    rig.words[0] = str_of(rig.dir); /* a directory is no program */
    assert_non_null(strstr(refused(), "there is no program"));
}

static void paths_are_relative_to_work_dir(void **state)
{
    (void)state;
    make_program("engine", 0755);
    rig.engine.work_dir = str_of(rig.dir);
    add_word("./engine");
    prepare();
    assert_string_equal(rig.got.work_dir, rig.dir);
    assert_int_equal(access(rig.got.file, X_OK), 0);
    assert_int_equal(rig.got.file[0], '/'); /* the process is elsewhere when it runs it */
    assert_int_equal(chdir("/tmp"), 0);
    rig.engine.work_dir = str_of(strrchr(rig.dir, '/') + 1);
    prepare();
    assert_string_equal(rig.got.work_dir, rig.dir);
    assert_int_equal(access(rig.got.file, X_OK), 0);
    rig.engine.work_dir = STR("/nonexistent/dir");
    assert_string_equal(refused(), "work_dir /nonexistent/dir is no directory");
}

static void users_are_looked_up(void **state)
{
    const struct passwd *own = getpwuid(geteuid()), *nobody;

    (void)state;
    rig.engine.user = STR("no-such-user");
    assert_int_equal(launch_check_user(&rig.engine, &rig.problem), -E_CONF);
    assert_string_equal(buf_cstr(&rig.problem), "there is no user \"no-such-user\"");
    assert_non_null(own);
    rig.engine.user = str_of(arena_cstr(&rig.arena, str_of(own->pw_name)));
    buf_clear(&rig.problem);
    assert_int_equal(launch_check_user(&rig.engine, &rig.problem), 0);
    nobody = getpwnam("nobody");
    if (!nobody || nobody->pw_uid == geteuid()) {
        print_message("no user \"nobody\" here: not tried as another user\n");
        return;
    }
    rig.engine.user = STR("nobody");
    add_word("/bin/sh");
    if (geteuid() != 0) {
        assert_string_equal(refused(), "only root can start it as user \"nobody\"");
        return;
    }
    prepare();
    nobody = getpwnam("nobody");
    assert_int_equal(rig.got.user->uid, nobody->pw_uid);
    assert_int_equal(rig.got.user->gid, nobody->pw_gid);
    assert_true(rig.got.user->groups_n >= 1);
    assert_string_equal(got_env("USER"), "nobody");
    assert_string_equal(got_env("HOME"), nobody->pw_dir);
    add_env("HOME", "/chosen");
    prepare();
    assert_string_equal(got_env("HOME"), "/chosen");
}

static void sockets_have_their_place(void **state)
{
    char path[LINK_SOCKET_MAX + 1], name[LINK_NAME_MAX];
    size_t fits = LINK_SOCKET_MAX - strlen("/run/x/unit-.sock");

    (void)state;
    assert_int_equal(launch_socket_path("/run/x", STR("tiny"), path, &rig.problem), 0);
    assert_string_equal(path, "/run/x/unit-tiny.sock");
    memset(name, 'n', sizeof name);
    assert_int_equal(launch_socket_path("/run/x", str_span(name, fits), path, &rig.problem), 0);
    assert_int_equal(strlen(path), LINK_SOCKET_MAX);
    assert_int_equal(launch_socket_path("/run/x", str_span(name, fits + 1), path, &rig.problem),
                     -E_LIMIT);
    assert_non_null(strstr(buf_cstr(&rig.problem), "longer than 107 bytes"));
}

static void secrets_are_masked(void **state)
{
    static const struct {
        const char *argv[6], *text;
    } rows[] = {
        {{"llama-server", "-m", "a b.gguf"}, "llama-server -m 'a b.gguf'"},
        {{"x", "--api-key", "s3cret", "--port", "1"}, "x --api-key *** --port 1"},
        {{"x", "--api-key=s3cret", "y"}, "x --api-key=*** y"},
        {{"x", "--API-TOKEN", "-s3cret"}, "x --API-TOKEN ***"},
        {{"env", "HF_TOKEN=s3cret", "x"}, "env HF_TOKEN=*** x"},
        {{"x", "--db-password", "it's", "it's"}, "x --db-password *** 'it'\\''s'"},
        {{"x", "--secret"}, "x --secret"},
        {{"x", "keyboard", "y"}, "x keyboard y"},
        {{"x", "", "$a"}, "x '' '$a'"},
        {{"/opt/tokens/run", "y"}, "/opt/tokens/run y"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&rig.problem);
        launch_print(rows[i].argv, &rig.problem);
        assert_string_equal(buf_cstr(&rig.problem), rows[i].text);
    }
}

static void copies_are_deep_and_compare(void **state)
{
    struct engine_conf copy;
    struct arena arena;
    char *word = arena_cstr(&rig.arena, STR("--flag"));

    (void)state;
    arena_init(&arena, NULL);
    add_word("/bin/sh");
    add_word(word);
    add_env("A", "1");
    rig.engine.url = STR("http://127.0.0.1:${PORT}");
    rig.engine.stop_grace_ms = 77;
    launch_copy(&rig.engine, &arena, &copy);
    assert_true(launch_same(&rig.engine, &copy));
    assert_ptr_not_equal(copy.command.at[1].p, word);
    assert_ptr_not_equal(copy.url.p, rig.engine.url.p);
    assert_str_is(copy.url, "http://127.0.0.1:${PORT}");
    assert_null(copy.work_dir.p);
    assert_int_equal(copy.stop_grace_ms, 77);
    word[2] = 'F';
    assert_false(launch_same(&rig.engine, &copy));
    word[2] = 'f';
    copy.stop_grace_ms = 78; /* not of the process */
    copy.url = STR("http://127.0.0.1:1");
    assert_true(launch_same(&rig.engine, &copy));
    rig.env[0].value = STR("2");
    assert_false(launch_same(&rig.engine, &copy));
    rig.env[0].value = STR("1");
    copy.work_dir = STR("/");
    assert_false(launch_same(&rig.engine, &copy));
    copy.work_dir = STR_NONE;
    copy.endpoint = ENGINE_AT_SOCKET;
    assert_false(launch_same(&rig.engine, &copy));
    arena_clear(&arena);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(words_are_filled_in),
        ROW(what_was_for_us_is_not_passed_on),
        ROW(programs_are_looked_up_in_the_units_path),
        ROW(a_program_that_anybody_can_write_is_refused),
        ROW(paths_are_relative_to_work_dir),
        ROW(users_are_looked_up),
        ROW(sockets_have_their_place),
        ROW(secrets_are_masked),
        ROW(copies_are_deep_and_compare),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
