/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_session_sim.c - scenarios of sessions: each goes to the engine that its bids say, computed
 * here once more, whatever names it, on every lane; it comes back to it; a hot one spills over; one
 * that waits is served by its own engine when that has a slot.
 */
#include "sim/gate_rig.h"

#include "fleet/rendezvous.h"

static char served[64]; /* the engines' letters, in the order they were asked */
static unsigned served_n, working[3], most_working[3];

static void enter(struct peer *p, void *letter)
{
    unsigned i = (unsigned)(*(char *)letter - 'a');

    (void)p;
    CHECK(served_n + 1 < sizeof served && i < ARRAY_LEN(working));
    served[served_n++] = *(char *)letter;
    working[i]++;
    most_working[i] = working[i] > most_working[i] ? working[i] : most_working[i];
}

static void leave(struct peer *p, void *letter)
{
    (void)p;
    working[*(char *)letter - 'a']--;
}

static char A[] = "a", B[] = "b", C[] = "c";
#define NOTED(letter, ms)                                                                          \
    REPEAT(0), EXPECT_CHAT_OR_END, DO(enter, letter), PAUSE(ms), DO(leave, letter), REPLY_CHAT,    \
        AGAIN, DONE

#define KEYED(key) POST(CHAT_PATH, "{\"model\":\"m\",\"prompt_cache_key\":\"" key "\"}")
#define USED(key) POST(CHAT_PATH, "{\"model\":\"m\",\"user\":\"" key "\",\"prompt_cache_key\":7}")
#define HEADED(key)                                                                                \
    POST_WITH(CHAT_PATH, "X-Session-Id: " key "\r\n", "{\"model\":\"m\",\"user\":\"\"}")

static const char *const ports[] = {"http://127.0.0.1:8001", "http://127.0.0.1:8002",
                                    "http://127.0.0.1:8003"};

/* Engines a, b, c of model m; each takes so long. */
static void begin(uint32_t slots, bool slow)
{
    SCRIPT(a, NOTED(A, 1));
    SCRIPT(b, NOTED(B, 1));
    SCRIPT(c, NOTED(C, 1));
    SCRIPT(slow_a, NOTED(A, 1000));
    SCRIPT(slow_b, NOTED(B, 1000));
    SCRIPT(slow_c, NOTED(C, 1000));
    const struct step *scripts[] = {a, b, c}, *slow_scripts[] = {slow_a, slow_b, slow_c};
    static const char *const names[] = {"a", "b", "c"};

    served_n = 0;
    memset(working, 0, sizeof working);
    memset(most_working, 0, sizeof most_working);
    rig_begin(1 + (unsigned)world_random(2));
    for (uint16_t i = 0; i < 3; i++) {
        struct addr at = rig_at((uint16_t)(8001 + i));

        rig_remote(names[i], ports[i], slots, MODELS(M("m")));
        (void)engine_start(names[i], &at, slow ? &slow_scripts[i] : &scripts[i], 1);
    }
}

/* Whose it is, were only those letters there. */
static char home(const char *source, const char *key, const char *among)
{
    struct rendezvous best = {.weight = 0};
    uint64_t session = rendezvous_session(STR("m"), str_of(source), str_of(key));
    char found = 0;

    for (; *among; among++)
        if (rendezvous_bid(&best, rendezvous_hash(session, rendezvous_name(str_span(among, 1))), 1))
            found = *among;
    return found;
}

#define KEYS(X) X("k0") X("k1") X("k2") X("k3") X("k4") X("k5") X("k6") X("k7") X("k8") X("k9")
#define AS_CALL(key) KEYED(key), EXPECT_ANSWER,
#define AS_TEXT(key) key,
static const char *const keys[] = {KEYS(AS_TEXT)};
enum { KEYS_N = 10 };

/* Every key once, on one connection; the letters that served them. */
static void ask_all(void)
{
    served_n = 0;
    RUN(5000, KEYS(AS_CALL) DONE);
    EXPECT_U64(served_n, KEYS_N);
}

static void session_stays(void)
{
    begin(0, false);
    rig_start();
    for (unsigned round = 0; round < 3; round++) {
        ask_all();
        for (unsigned i = 0; i < KEYS_N; i++)
            EXPECT(served[i] == home("prompt_cache", keys[i], "abc"));
    }
    EXPECT_U64(RIG_COUNT(sessions), 3 * KEYS_N);
    rig_end();
}

/* The first name that is one counts; an odd one is as if it were not there. */
static void session_names(void)
{
    begin(0, false);
    rig_start();
    RUN(5000, USED("u1"), EXPECT_ANSWER, USED("u2"), EXPECT_ANSWER, HEADED("h1"), EXPECT_ANSWER,
        HEADED("h2"), EXPECT_ANSWER, HEADED("h3"), EXPECT_ANSWER, DONE);
    EXPECT(served[0] == home("user", "u1", "abc"));
    EXPECT(served[1] == home("user", "u2", "abc"));
    EXPECT(served[2] == home("header", "h1", "abc"));
    EXPECT(served[3] == home("header", "h2", "abc"));
    EXPECT(served[4] == home("header", "h3", "abc"));
    rig.conf.affinity.header = STR_NONE;
    EXPECT(rig_reload());
    RUN(5000, HEADED("h1"), EXPECT_ANSWER, HEADED("h1"), EXPECT_ANSWER, HEADED("h1"), EXPECT_ANSWER,
        DONE);
    EXPECT_U64(RIG_COUNT(sessions), 5); /* nothing names one any more: all three in turn */
    EXPECT(served[5] != served[6] && served[6] != served[7] && served[5] != served[7]);
    rig.conf.affinity.enabled = false;
    EXPECT(rig_reload());
    ask_all();
    EXPECT_U64(RIG_COUNT(sessions), 5);
    rig_end();
}

/* b goes and comes back: its sessions go elsewhere and come back, the others stay. */
static void session_of_a_lost_engine(void)
{
    begin(0, false);
    rig_start();
    rig.conf.remote[1].name = STR("c");
    rig.conf.remote[1].url = str_of(ports[2]);
    rig.conf.remote[1].at.port = 8003;
    rig.conf.remotes.n = 2;
    EXPECT(rig_reload());
    ask_all();
    for (unsigned i = 0; i < KEYS_N; i++) {
        char was = home("prompt_cache", keys[i], "abc");

        EXPECT(served[i] == home("prompt_cache", keys[i], "ac"));
        EXPECT(was == 'b' || was == served[i]);
    }
    rig.conf.remote[1].name = STR("b");
    rig.conf.remote[1].url = str_of(ports[1]);
    rig.conf.remote[1].at.port = 8002;
    rig.conf.remotes.n = 3;
    EXPECT(rig_reload());
    ask_all();
    for (unsigned i = 0; i < KEYS_N; i++)
        EXPECT(served[i] == home("prompt_cache", keys[i], "abc"));
    rig_end();
}

static void session_spills_over(void)
{
    SCRIPT(hot, KEYED("k0"), EXPECT_ANSWER, DONE);
    char own = home("prompt_cache", "k0", "abc");

    begin(0, true);
    rig.conf.affinity.min_load = 2;
    rig_start();
    for (unsigned i = 0; i < 12; i++) {
        client_start("hot", &rig.at, hot);
        world_run_ms(20);
        if (i == 1)
            EXPECT_U64(working[own - 'a'], 2);
    }
    EXPECT_U64(working[0] + working[1] + working[2], 12);
    peers_run(5000);
    for (unsigned i = 0; i < 3; i++) /* ceil(1.25 * 12 / 3) */
        EXPECT(most_working[i] >= 2 && most_working[i] <= 5);
    EXPECT_U64(RIG_COUNT(tickets), 0);
    rig_end();
}

/* All slots are taken; then every engine has one more. */
static void session_waits_for_its_own(void)
{
    SCRIPT(busy, CHAT("m"), EXPECT_ANSWER, DONE);
    SCRIPT(waits, KEYED("k3"), EXPECT_ANSWER, DONE);

    begin(1, true);
    rig_start();
    for (unsigned i = 0; i < 3; i++) {
        client_start("busy", &rig.at, busy);
        world_run_ms(20);
    }
    client_start("waits", &rig.at, waits);
    world_run_ms(20);
    EXPECT_U64(rig_tickets(), 1);
    for (unsigned i = 0; i < 3; i++)
        rig.conf.remote[i].slots = 2;
    EXPECT(rig_reload());
    world_run_ms(50);
    EXPECT_U64(rig_tickets(), 0);
    EXPECT_U64(served_n, 4);
    EXPECT(served[3] == home("prompt_cache", "k3", "abc"));
    peers_run(5000);
    rig_end();
}

/* A slot that comes free elsewhere is taken all the same: waiting is worse. */
static void session_takes_what_is_free(void)
{
    SCRIPT(waits, KEYED("k3"), EXPECT_ANSWER, DONE);

    begin(1, true);
    rig_start();
    for (unsigned i = 0; i < 4; i++) {
        client_start("one of many", &rig.at, waits);
        world_run_ms(20);
    }
    EXPECT_U64(rig_tickets(), 1);
    EXPECT_U64(working[0] + working[1] + working[2], 3);
    peers_run(5000);
    EXPECT(served[0] == home("prompt_cache", "k3", "abc"));
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_session(void)
{
    static const struct scenario all[] = {
        ROW(session_stays) ROW(session_names) ROW(session_of_a_lost_engine) ROW(session_spills_over)
            ROW(session_waits_for_its_own) ROW(session_takes_what_is_free){NULL, NULL},
    };

    return all;
}
