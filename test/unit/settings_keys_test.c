/* SPDX-License-Identifier: Apache-2.0
 *
 * settings_keys_test.c - the file of API keys in a configuration: who may own and read it, what may
 * stand in it, that a mistake names file, line and bound, and that both processes read the same.
 */
#include "settings_rig.h"

#define DIGEST "a58cfb9a3d3027ab6cda06300c4025254ced6ccf1bb7b35b872d87894813d2b5"
#define KEY(id) "[[key]]\nid = \"" id "\"\nsha256 = \"" DIGEST "\"\nmodels = [\"*\"]\n"

static const char conf[] = "[keys]\nfile = \"keys.toml\"\n";

static const char *read_keys(struct settings_rig *r, const char *keys, mode_t mode)
{
    settings_rig_file("keys.toml", keys, mode);
    return settings_rig_read(r, conf);
}

static void test_keys_are_read(void **state)
{
    struct settings_rig *r = *state;
    struct settings *again = NULL;
    struct conf_errors errors;
    const struct key_conf *k;

    settings_rig_forget(r);
    assert_string_equal(read_keys(r,
                                  KEY("alice") "name = \"Alice\"\nconcurrency = 2\n"
                                               "requests_per_minute = 60\n"
                                               "tokens_per_minute = 1000000\n" KEY("bobby"),
                                  0600),
                        "");
    assert_int_equal(r->settings->key.n, 2);
    k = &r->settings->key.at[0];
    assert_str_is(k->id, "alice");
    assert_str_is(k->name, "Alice");
    assert_int_equal(k->concurrency, 2);
    assert_int_equal(k->requests_per_minute, 60);
    assert_int_equal(k->tokens_per_minute, 1000000);
    assert_int_equal(k->digest[0], 0xa5);
    assert_int_equal(k->digest[31], 0xb5);
    k = &r->settings->key.at[1];
    assert_null(k->name.p);
    assert_int_equal(k->concurrency, OPTION_UNSET_U32);
    error_init(&errors, &r->arena); /* the gateway's half */
    assert_int_equal(settings_from_bundle(r->bundle, &again, &errors), 0);
    assert_int_equal(again->key.n, 2);
    assert_memory_equal(again->key.at[0].digest, r->settings->key.at[0].digest, 32);
    settings_unref(&again);
    assert_string_equal(read_keys(r, "", 0600), ""); /* it asks for keys, and there are none */
    assert_int_equal(r->settings->key.n, 0);
}

static void test_off_loopback(void **state)
{
    struct settings_rig *r = *state;

    settings_rig_forget(r);
    settings_rig_file("keys.toml", KEY("alice"), 0600);
    assert_non_null(strstr(settings_rig_read(r, "[[listen]]\naddress = \"0.0.0.0:1\"\n"),
                           "keys.file names some, --insecure allows it without"));
    assert_string_equal(
        settings_rig_read(r, "[[listen]]\naddress = \"0.0.0.0:1\"\n[keys]\nfile = \"keys.toml\"\n"),
        "");
}

static void test_whose_file_it_is(void **state)
{
    struct settings_rig *r = *state;

    settings_rig_forget(r);
    assert_non_null(strstr(read_keys(r, KEY("alice"), 0640),
                           "inferd.toml:2:1: keys.file: \"keys.toml\" can be read or changed by "
                           "others: chmod 600 it"));
    assert_non_null(strstr(read_keys(r, KEY("alice"), 0602), "can be read or changed by others"));
    assert_int_equal(unlink("keys.toml"), 0);
    assert_non_null(strstr(settings_rig_read(r, conf), "keys.file: \"keys.toml\" cannot be read"));
    assert_int_equal(mkdir("keys.toml", 0700), 0);
    assert_non_null(strstr(settings_rig_read(r, conf), "is not a regular file"));
    assert_int_equal(rmdir("keys.toml"), 0);
}

static void test_mistakes(void **state)
{
    static const struct {
        const char *keys, *says;
    } rows[] = {
        {"[[key]]\nid = \"abc\"\n", "keys.toml:2:1: key[0].id: is too short: at least 4 bytes"},
        {KEY("Alice"), "keys.toml:2:1: key[0].id: must be 4 to 32 lower-case letters and digits"},
        {KEY("alice") KEY("alice"), "keys.toml:6:1: key[1].id: is the id of a key above, too"},
        {"[[key]]\nid = \"alice\"\nsha256 = \"x\"\n", "keys.toml:3:1: key[0].sha256: "},
        {"[[key]]\nid = \"alice\"\nmodels = [\"*\"]\nsha256 = "
         "\"g58cfb9a3d3027ab6cda06300c4025254ced6ccf1bb7b35b872d87894813d2b5\"\n",
         "keys.toml:4:1: key[0].sha256: must be 64 hexadecimal digits"},
        {"[[key]]\nid = \"alice\"\n", "sha256"},
        {"[[key]]\nid = \"alice\"\nsha256 = \"" DIGEST "\"\n", "models"},
        {"[[key]]\nid = \"alice\"\nsha256 = \"" DIGEST "\"\nmodels = []\n", "models"},
        {KEY("alice") "models2 = 1\n", "did you mean `models`"},
        {KEY("alice") "concurrency = 0\n",
         "keys.toml:5:1: key[0].concurrency: 0 is too small: at least 1"},
        {KEY("alice") "requests_per_minute = \"x\"\n",
         "keys.toml:5:1: key[0].requests_per_minute: "},
        {"[[keys]]\n", "keys.toml:1"},
        {"[[key]\n", "keys.toml:1"},
        {"secret = \"inf_x\"\n", "keys.toml:1:1: secret: "},
    };
    struct settings_rig *r = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *said;

        settings_rig_forget(r);
        said = read_keys(r, rows[i].keys, 0600);
        if (!strstr(said, rows[i].says))
            fail_msg("row %zu: wanted \"%s\", got:\n%s", i, rows[i].says, said);
    }
}

static void test_proxies(void **state)
{
    struct settings_rig *r = *state;

    settings_rig_forget(r);
    assert_string_equal(
        settings_rig_read(r, "trusted_proxies = [\"10.0.0.0/8\", \"::1\", \"unix\"]\n"), "");
    assert_int_equal(r->settings->trusted.n, 3);
    assert_non_null(strstr(settings_rig_read(r, "trusted_proxies = [\"10.0.0.1/8\"]\n"),
                           "inferd.toml:1:1: trusted_proxies: \"10.0.0.1/8\" is not"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_read),    cmocka_unit_test(test_off_loopback),
        cmocka_unit_test(test_whose_file_it_is), cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_proxies),
    };

    return cmocka_run_group_tests(tests, settings_rig_setup, settings_rig_teardown);
}
