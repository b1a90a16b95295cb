/* SPDX-License-Identifier: Apache-2.0
 *
 * listing_test.c - a registry's reply and the three shapes of the file: what is taken, what is
 * noted, what spoils an element and what spoils all.
 */
#include "unit.h"

#include "fleet/listing.h"

struct notes {
    unsigned n[3];
    char text[4096]; /* each on a line */
    struct buf b;
};

static void on_note(void *ctx, const struct listing_note *n)
{
    struct notes *to = ctx;

    to->n[n->gravity]++;
    listing_write_note(n, &to->b);
    buf_char(&to->b, '\n');
}

static int read_it(const char *text, enum listing_kind kind, struct notes *notes,
                   struct listing *ret)
{
    *notes = (struct notes){.n = {0}};
    notes->b = buf_on(notes->text, sizeof notes->text);
    return listing_read(str_of(text), kind, 7, on_note, notes, ret);
}

/* One element of a registry that is an engine, and nothing else is said of it. */
static struct listing_row only(const char *element, struct notes *notes, struct listing *l)
{
    char text[2048];

    (void)snprintf(text, sizeof text, "{\"services\": [%s]}", element);
    assert_int_equal(read_it(text, LISTING_REGISTRY, notes, l), 0);
    assert_int_equal(l->n, 1);
    return l->rows[0];
}

#define ENGINE "\"metadata\":{\"type\":\"openai-api\"}"

static void a_registry_s_element(void **state)
{
    struct listing l;
    struct notes notes;
    struct listing_row r = only(
        "{ \"name\": \"svc-server\", \"host\": \"Box\", \"port\": 6001, \"hostname\": \"x\", "
        "\"url\": \"http://box:6001/v2/\", \"status\": \"running\", \"last_heartbeat\": 1.5e9, "
        "\"is_healthy\": true, \"health_status\": \"unknown\", \"extra\": [1.25, {\"a\": null}], "
        "\"weight\": 2, \"metadata\": { \"type\": \"openai-api\", \"weight\": 7, \"a\": 1.0 } }",
        &notes, &l);

    (void)state;
    assert_str_is(r.name, "svc-server");
    assert_str_is(r.host, "Box");
    assert_int_equal(r.port, 6001);
    assert_str_is(r.url, "http://Box:6001/v2");
    assert_str_is(r.babysitter_url, "http://Box:6002");
    assert_str_is(r.probe, "http://Box:6002/health");
    assert_str_is(r.metadata, "{\"a\":1.0,\"type\":\"openai-api\",\"weight\":7}");
    assert_true(r.healthy && r.weighed && !r.lasting);
    assert_int_equal(r.weight, 2);
    assert_int_equal(notes.b.n, 0);
    assert_int_equal(l.elements, 1);
    listing_fini(&l);
}

static void what_may_be_missing(void **state)
{
    struct listing l;
    struct notes notes;
    struct listing_row r =
        only("{\"name\":\"a\",\"host\":\"h\",\"port\":1," ENGINE "}", &notes, &l);

    (void)state;
    assert_true(r.healthy && !r.weighed);
    assert_int_equal(r.weight, 1);
    assert_str_is(r.url, "http://h:1");
    listing_fini(&l);
    r = only("{\"name\":\"a\",\"host\":\"h\",\"port\":1,\"is_healthy\":false,"
             "\"metadata\":{\"type\":\"openai-api\",\"weight\":0,\"static\":true}}",
             &notes, &l);
    assert_true(!r.healthy && r.weighed && r.lasting);
    assert_int_equal(r.weight, 0);
    assert_int_equal(notes.b.n, 0);
    listing_fini(&l);
}

static void wrong_kinds_count_as_not_said(void **state)
{
    struct listing l;
    struct notes notes;
    struct listing_row r = only("{\"name\":\"a\",\"host\":\"h\",\"port\":1,\"is_healthy\":\"no\","
                                "\"url\":7,\"weight\":\"2\",\"metadata\":{\"type\":\"openai-api\","
                                "\"weight\":1000001}}",
                                &notes, &l);

    (void)state;
    assert_true(r.healthy && !r.weighed);
    assert_str_is(r.url, "http://h:1");
    assert_int_equal(notes.n[LISTING_IGNORED], 4);
    assert_str_is(buf_str(&notes.b),
                  "services[0] 'a': is_healthy must be true or false\n"
                  "services[0] 'a': url must be a string\n"
                  "services[0] 'a': weight must be an integer within 0 and 1000000\n"
                  "services[0] 'a': metadata.weight must be an integer within 0 and 1000000\n");
    listing_fini(&l);
}

static void the_url_counts_for_its_own_place_only(void **state)
{
    static const struct {
        const char *host, *url, *is;
    } rows[] = {
        {"box", "http://box:6001", "http://box:6001"},
        {"box", "HTTP://BOX:6001/a/b", "http://box:6001/a/b"},
        {"box", "http://box:6002/a", "http://box:6001"},
        {"box", "http://other:6001/a", "http://box:6001"},
        {"box", "http://box/a", "http://box:6001"},
        {"box", "https://box:6001/a", "http://box:6001"},
        {"box", "http://user@box:6001/a", "http://box:6001"},
        {"box", "http://box:6001/a?b", "http://box:6001"},
        {"box", "", "http://box:6001"},
        {"::1", "http://[::1]:6001/a", "http://[::1]:6001/a"},
        {"[::1]", "http://[::1]:6001/a", "http://[::1]:6001/a"},
        {"fe80::2", "nothing", "http://[fe80::2]:6001"},
        {"0.0.0.0", "http://0.0.0.0:6001", "http://0.0.0.0:6001"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char element[512];
        struct listing l;
        struct notes notes;

        (void)snprintf(element, sizeof element,
                       "{\"name\":\"a\",\"host\":\"%s\",\"port\":6001,\"url\":\"%s\"," ENGINE "}",
                       rows[i].host, rows[i].url);
        assert_str_is(only(element, &notes, &l).url, rows[i].is);
        listing_fini(&l);
    }
}

static void one_bad_element_spoils_no_other(void **state)
{
    static const struct {
        const char *element, *note; /* NULL: any */
        bool named;
    } rows[] = {
        {"7", "services[1]: must be an object\n", false},
        {"[{}]", "services[1]: must be an object\n", false},
        {"{}", "services[1]: name is missing\n", false},
        {"{\"name\":5}", "services[1]: name must be a string\n", false},
        {"{\"name\":\"\"}", NULL, false},
        {"{\"name\":\"a\\n\"}", NULL, false},
        {"{\"name\":\"b\"," ENGINE "}", "services[1] 'b': host is missing\n", true},
        {"{\"name\":\"b\",\"host\":1," ENGINE "}", "services[1] 'b': host must be a string\n",
         true},
        {"{\"name\":\"b\",\"host\":\"h\"," ENGINE "}", "services[1] 'b': port is missing\n", true},
        {"{\"name\":\"b\",\"host\":\"h\",\"port\":\"1\"," ENGINE "}",
         "services[1] 'b': port must be an integer\n", true},
        {"{\"name\":\"b\",\"host\":\"h\",\"port\":6001.0," ENGINE "}", NULL, true},
        {"{\"name\":\"b\",\"host\":\"h\",\"port\":0," ENGINE "}", NULL, true},
        {"{\"name\":\"b\",\"host\":\"h\",\"port\":65535," ENGINE "}",
         "services[1] 'b': port must be within 1 and 65534: the babysitter has the next one\n",
         true},
        {"{\"name\":\"b\",\"host\":\"a b\",\"port\":1," ENGINE "}",
         "services[1] 'b': host must be a name or an address\n", true},
        {"{\"name\":\"b\",\"host\":\"h/x\",\"port\":1," ENGINE "}", NULL, true},
        {"{\"name\":\"b\",\"host\":\"\",\"port\":1," ENGINE "}", NULL, true},
        {"{\"name\":\"a\",\"host\":\"h\",\"port\":9," ENGINE "}",
         "services[1] 'a': name was there before\n", true},
        {"{\"name\":\"b\",\"x\":1,\"x\":2}", "services[1] 'b': x is there twice\n", true},
        {"{\"name\":\"b\",\"x\":1e999}", NULL, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[1024];
        struct listing l;
        struct notes notes;

        (void)snprintf(text, sizeof text,
                       "{\"services\":[{\"name\":\"a\",\"host\":\"h\",\"port\":1," ENGINE
                       "},%s,{\"name\":\"z\",\"host\":\"h\",\"port\":2," ENGINE "}]}",
                       rows[i].element);
        assert_int_equal(read_it(text, LISTING_REGISTRY, &notes, &l), 0);
        assert_int_equal(l.n, 2);
        assert_int_equal(l.elements, 3);
        assert_int_equal(l.skipped, 1);
        assert_int_equal(l.nnames, 2 + rows[i].named);
        assert_str_is(l.rows[1].name, "z");
        assert_int_equal(l.rows[0].port, 1);
        assert_int_equal(notes.n[LISTING_SKIPPED], 1);
        if (rows[i].note)
            assert_str_is(buf_str(&notes.b), rows[i].note);
        listing_fini(&l);
    }
}

/* Nothing is wrong with what is no engine: its name is there. */
static void other_services_are_names(void **state)
{
    static const char text[] =
        "{\"services\":[{\"name\":\"svc\",\"port\":65535,\"metadata\":{\"type\":\"command\"}},"
        "{\"name\":\"b\",\"host\":\"h\",\"port\":1,\"metadata\":{\"type\":\"OpenAI-API\"}},"
        "{\"name\":\"c\",\"metadata\":{\"type\":7}},{\"name\":\"d\"}]}";
    struct listing l;
    struct notes notes;

    (void)state;
    assert_int_equal(read_it(text, LISTING_REGISTRY, &notes, &l), 0);
    assert_int_equal(l.n, 0);
    assert_int_equal(l.nnames, 4);
    assert_str_is(l.names[0], "svc");
    assert_int_equal(notes.b.n, 0);
    listing_fini(&l);
}

static void no_list_at_all(void **state)
{
    static const char *const texts[] = {
        "",
        "nothing",
        "[]",
        "{\"services\":{}}",
        "{\"services\":null}",
        "{\"a\":{\"services\":[]}}",
        "{\"services\":[]",
        "{\"services\":[{]}",
        "{\"services\":[]}x",
        "{\"services\":[],\"services\":[]}",
        "{\"static_services\":{\"services\":[]}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct listing l;
        struct notes notes;

        assert_int_equal(read_it(texts[i], LISTING_REGISTRY, &notes, &l), -E_CONF);
        assert_int_equal(notes.n[LISTING_REFUSED], 1);
    }
}

/* `element` in the place of '#'. */
static void put_element(char text[512], const char *shape, const char *element)
{
    const char *at = strchr(shape, '#');

    (void)snprintf(text, 512, "%.*s%s%s", (int)(at - shape), shape, element, at + 1);
}

static void the_file_s_shapes(void **state)
{
    static const struct {
        const char *text;
        int n; /* -1: refused */
    } rows[] = {
        {"{\"static_services\":{\"services\":[#],\"enabled\":true},\"router\":{\"x\":[1]}}", 1},
        {"{\"router\":{\"services\":[1]},\"services\":[#]}", 1},
        {"[#]", 1},
        {"{\"services\":[],\"static_services\":{\"services\":[#]}}", 1},
        {"{\"static_services\":{\"services\":7},\"services\":[#]}", 1},
        {"{\"static_services\":[#]}", -1},
        {"{\"x\":[#]}", -1},
        {"\"#", -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[512];
        struct listing l;
        struct notes notes;
        int r;

        put_element(text, rows[i].text, "{\"name\":\"a\",\"host\":\"h\",\"port\":1}");
        r = read_it(text, LISTING_FILE, &notes, &l);
        assert_int_equal(r, rows[i].n < 0 ? -E_CONF : 0);
        assert_int_equal(notes.n[LISTING_REFUSED], rows[i].n < 0);
        if (r < 0)
            continue;
        assert_int_equal(l.n, rows[i].n);
        assert_str_is(l.rows[0].metadata, "{}");
        listing_fini(&l);
    }
}

static void one_bad_entry_refuses_the_file(void **state)
{
    static const struct {
        const char *element, *note;
    } rows[] = {
        {"{\"host\":\"h\",\"port\":1}", "services[1]: name is missing\n"},
        {"{\"name\":\"b\",\"port\":1}", "services[1] 'b': host is missing\n"},
        {"{\"name\":\"b\",\"host\":\"h\",\"port\":\"1\"}",
         "services[1] 'b': port must be an integer\n"},
        {"{\"name\":\"b\",\"host\":\"h\",\"port\":65535}",
         "services[1] 'b': port must be within 1 and 65534: the babysitter has the next one\n"},
        {"{\"name\":\"a\",\"host\":\"h\",\"port\":2}", "services[1] 'a': name was there before\n"},
        {"{\"name\":\"b\",\"host\":\"h\",\"port\":1,\"port\":2}",
         "services[1] 'b': port is there twice\n"},
        {"{\"name\":\"b\",\"host\":\"h\",\"port\":1,\"health_url\":7}",
         "services[1] 'b': health_url must be a string\n"},
        {"{\"name\":\"b\",\"host\":\"h\",\"port\":1,\"health_url\":\"ftp://x\"}",
         "services[1] 'b': health_url must be \"none\" or \"http://host:port/path\"\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[512];
        struct listing l;
        struct notes notes;

        (void)snprintf(text, sizeof text, "[{\"name\":\"a\",\"host\":\"h\",\"port\":1},%s]",
                       rows[i].element);
        assert_int_equal(read_it(text, LISTING_FILE, &notes, &l), -E_CONF);
        assert_str_is(buf_str(&notes.b), rows[i].note);
    }
}

static void the_file_s_keys(void **state)
{
    static const char text[] =
        "[{\"name\":\"a\",\"host\":\"h\",\"port\":1,\"weight\":0,\"max_fails\":3,"
        "\"fail_timeout\":\"10s\",\"backup\":true,\"health_url\":\"none\",\"metadata\":[]},"
        "{\"name\":\"b\",\"host\":\"::1\",\"port\":2,\"weigth\":3,\"url\":\"x\",\"weight\":1.5,"
        "\"metadata\":{\"models\":[\"m\"],\"weight\":9},"
        "\"health_url\":\"http://mon:99/a/b\"},"
        "{\"name\":\"c\",\"host\":\"h\",\"port\":3,\"health_url\":\"http://mon\"}]";
    struct listing l;
    struct notes notes;

    (void)state;
    assert_int_equal(read_it(text, LISTING_FILE, &notes, &l), 0);
    assert_int_equal(l.n, 3);
    assert_true(l.rows[0].weighed && l.rows[0].healthy);
    assert_int_equal(l.rows[0].weight, 0);
    assert_true(!l.rows[1].weighed);
    assert_int_equal(l.rows[1].weight, 1);
    assert_str_is(l.rows[1].url, "http://[::1]:2");
    assert_str_is(l.rows[1].babysitter_url, "http://[::1]:3");
    assert_str_is(l.rows[0].probe, "none");
    assert_str_is(l.rows[1].probe, "http://mon:99/a/b");
    assert_str_is(l.rows[2].probe, "http://mon");
    assert_int_equal(notes.n[LISTING_IGNORED], 4);
    assert_true(str_find_str(buf_str(&notes.b),
                             STR("services[1] 'b': weigth is no key of a static service; did you "
                                 "mean 'weight'?\n")) < notes.b.n);
    listing_fini(&l);
}

static void ways_to_say_one_address(void **state)
{
    static const struct {
        const char *host, *is;
    } rows[] = {{"localhost", "localhost:6001"}, {"LocalHost", "localhost:6001"},
                {"127.0.0.1", "localhost:6001"}, {"::1", "localhost:6001"},
                {"[::1]", "localhost:6001"},     {"0.0.0.0", "localhost:6001"},
                {"127.0.0.2", "127.0.0.2:6001"}, {"Box.Example", "box.example:6001"},
                {"[FE80::2]", "fe80::2:6001"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[64];
        struct buf b = buf_on(text, sizeof text);

        listing_write_address(str_of(rows[i].host), 6001, &b);
        assert_str_is(buf_str(&b), rows[i].is);
    }
}

/* Metadata at its bound, and one byte beyond. */
static void metadata_has_a_bound(void **state)
{
    static const char head[] = "{\"services\":[{\"name\":\"a\",\"host\":\"h\",\"port\":1,"
                               "\"metadata\":{\"type\":\"openai-api\",\"x\":\"";
    static const size_t frame = sizeof "{\"type\":\"openai-api\",\"x\":\"\"}" - 1;

    (void)state;
    for (size_t over = 0; over < 2; over++) {
        struct buf b = buf_make(1 << 20);
        struct listing l;
        struct notes notes;

        buf_text(&b, head);
        for (size_t i = 0; i < LISTING_METADATA_BYTES - frame + over; i++)
            buf_char(&b, 'x');
        buf_text(&b, "\"}}]}");
        assert_non_null(buf_cstr(&b));
        assert_int_equal(read_it(b.p, LISTING_REGISTRY, &notes, &l), 0);
        assert_int_equal(l.n, 1 - over);
        assert_int_equal(l.skipped, over);
        listing_fini(&l);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_registry_s_element),
        cmocka_unit_test(what_may_be_missing),
        cmocka_unit_test(wrong_kinds_count_as_not_said),
        cmocka_unit_test(the_url_counts_for_its_own_place_only),
        cmocka_unit_test(one_bad_element_spoils_no_other),
        cmocka_unit_test(other_services_are_names),
        cmocka_unit_test(no_list_at_all),
        cmocka_unit_test(the_file_s_shapes),
        cmocka_unit_test(one_bad_entry_refuses_the_file),
        cmocka_unit_test(the_file_s_keys),
        cmocka_unit_test(ways_to_say_one_address),
        cmocka_unit_test(metadata_has_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
