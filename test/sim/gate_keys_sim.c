/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_keys_sim.c - scenarios of API keys: who may ask, what is shown, limits that hold across
 * lanes and come back with time, tokens that are reserved and settled, keys that a reload takes
 * away under their connections, addresses that fail too often.
 */
#include "gate/control_priv.h"
#include "sim/gate_rig.h"

#define SECRET_A "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define SECRET_B "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
#define ALICE "authorization: Bearer inf_alice_" SECRET_A "\r\n"
#define BOBBY "authorization: Bearer inf_bobby_" SECRET_B "\r\n"
#define WRONG "authorization: Bearer inf_alice_" SECRET_B "\r\n"
#define CHAT_AS(who, model) POST_WITH(CHAT_PATH, who, "{\"model\":\"" model "\",\"messages\":[]}")
#define GET_AS(who, path) SEND("GET " path " HTTP/1.1\r\nhost: localhost\r\n" who "\r\n")
#define EXPECT_WHOLE(status) EXPECT_STATUS(status), EXPECT_BODY_HAS("")
#define EXPECT_401 EXPECT_FAULT(401, "invalid_api_key"), EXPECT_FIELD("www-authenticate", "Bearer")

static struct addr at;

static void begin(void)
{
    at = rig_at(8001);
    rig_begin(1 + (unsigned)world_random(2));
    rig_remote("a", "http://127.0.0.1:8001", 4, MODELS(M("m"), M("n")));
    rig_alias("gpt", "m");
}

static unsigned under_way(const char *id)
{
    return keys_under_way(keys_find(rig.control->conf->keys, str_of(id)));
}

static void keys_who_may_ask(void)
{
    begin();
    rig_key("alice", SECRET_A, MODELS(M("m"), M("gpt")));
    SCRIPT(engine, REPEAT(0), EXPECT_REQUEST_OR_END("POST " CHAT_PATH),
           EXPECT_NO_FIELD("authorization"), EXPECT_NO_FIELD("x-api-key"), EXPECT_BODY_HAS(""),
           REPLY_CHAT, AGAIN, DONE);
    ENGINE_START("a", &at, engine);
    rig_start();
    RUN(1000, GET("/health"), EXPECT_WHOLE(200), GET("/ready"), EXPECT_WHOLE(200), DONE);
    RUN(1000, GET("/v1/models"), EXPECT_401, GET("/nowhere"), EXPECT_401, GET("/props"), EXPECT_401,
        GET_AS(WRONG, "/v1/models"), EXPECT_401, DONE);
    RUN(1000, CHAT("m"), EXPECT_401, DONE);
    RUN(1000, CHAT_AS(WRONG, "m"), EXPECT_401, DONE);
    RUN(1000, CHAT_AS(ALICE, "m"), EXPECT_ANSWER, CHAT_AS(ALICE, "gpt"), EXPECT_WHOLE(200),
        CHAT_AS(ALICE, "n"), EXPECT_FAULT(403, "model_not_allowed"), CHAT_AS(ALICE, "none"),
        EXPECT_FAULT(403, "model_not_allowed"),
        CHAT_AS("x-api-key: inf_alice_" SECRET_A "\r\n", "m"), EXPECT_ANSWER,
        GET_AS(ALICE, "/nowhere"), EXPECT_FAULT(404, "not_found"), GET_AS(ALICE, "/v1/models"),
        EXPECT_STATUS(200),
        EXPECT_BODY("{\"data\":[{\"created\":0,\"id\":\"gpt\",\"object\":\"model\",\"owned_by\":"
                    "\"inferd\"},{\"created\":0,\"id\":\"m\",\"object\":\"model\",\"owned_by\":"
                    "\"inferd\"}],\"object\":\"list\"}"),
        GET_AS(ALICE, "/v1/models/m"), EXPECT_WHOLE(200), GET_AS(ALICE, "/v1/models/n"),
        EXPECT_FAULT(404, "model_not_found"), DONE);
    EXPECT_U64(under_way("alice"), 0);
    EXPECT_U64(RIG_COUNT(key_refused[GATE_REFUSED_MODEL]), 2);
    rig_end();
}

/* Two at once, whatever lane they are on; the third is told, and may come when one has ended. */
static void keys_concurrency(void)
{
    begin();
    rig_key("alice", SECRET_A, MODELS(M("*")))->concurrency = 2;
    rig_key("bobby", SECRET_B, MODELS(M("*")));
    SCRIPT(engine, SLOW_CHATTER(500));
    SCRIPT(first, CHAT_AS(ALICE, "m"), EXPECT_ANSWER, DONE);
    SCRIPT(third, PAUSE(100), CHAT_AS(ALICE, "m"), EXPECT_FAULT(429, "rate_limit_exceeded"),
           EXPECT_FIELD("retry-after", "1"), DONE);
    SCRIPT(other, PAUSE(100), CHAT_AS(BOBBY, "m"), EXPECT_ANSWER, DONE);
    SCRIPT(later, PAUSE(700), CHAT_AS(ALICE, "m"), EXPECT_ANSWER, DONE);
    ENGINE_START("a", &at, engine);
    rig_start();
    client_start("one", &rig.at, first);
    client_start("two", &rig.at, first);
    client_start("third", &rig.at, third);
    client_start("other", &rig.at, other);
    client_start("later", &rig.at, later);
    peers_run(3000);
    EXPECT_U64(under_way("alice"), 0);
    EXPECT_U64(under_way("bobby"), 0);
    rig_end();
}

/* A client that goes in the middle gives its place back. */
static void keys_concurrency_of_the_gone(void)
{
    begin();
    rig_key("alice", SECRET_A, MODELS(M("*")))->concurrency = 1;
    SCRIPT(engine, SLOW_CHATTER(500));
    SCRIPT(goes, CHAT_AS(ALICE, "m"), PAUSE(100), HANG_UP, DONE);
    SCRIPT(stays, PAUSE(200), CHAT_AS(ALICE, "m"), EXPECT_ANSWER, DONE);
    ENGINE_START("a", &at, engine);
    rig_start();
    client_start("goes", &rig.at, goes);
    client_start("stays", &rig.at, stays);
    peers_run(3000);
    EXPECT_U64(under_way("alice"), 0);
    rig_end();
}

static void keys_requests_per_minute(void)
{
    begin();
    rig_key("alice", SECRET_A, MODELS(M("*")))->requests_per_minute = 2;
    SCRIPT(engine, CHATTER);
    ENGINE_START("a", &at, engine);
    rig_start();
    RUN(120000, CHAT_AS(ALICE, "m"), EXPECT_ANSWER, EXPECT_FIELD("x-ratelimit-limit-requests", "2"),
        EXPECT_FIELD("x-ratelimit-remaining-requests", "1"), GET_AS(ALICE, "/v1/models"),
        EXPECT_WHOLE(200), EXPECT_FIELD("x-ratelimit-remaining-requests", "0"),
        GET_AS(ALICE, "/v1/models"), EXPECT_FAULT(429, "rate_limit_exceeded"),
        EXPECT_FIELD("retry-after", "30"), PAUSE(30001), CHAT_AS(ALICE, "m"), EXPECT_ANSWER, DONE);
    RUN(1000, CHAT_AS(ALICE, "m"), EXPECT_FAULT(429, "rate_limit_exceeded"), DONE);
    EXPECT_U64(RIG_COUNT(key_refused[GATE_REFUSED_REQUESTS]), 2);
    rig_end();
}

/* The engine says 3 and 5 of what was reserved. */
static void keys_tokens_per_minute(void)
{
    begin();
    rig_key("alice", SECRET_A, MODELS(M("*")))->tokens_per_minute = 600;
    SCRIPT(engine, CHATTER);
    ENGINE_START("a", &at, engine);
    rig_start();
    RUN(120000, POST_WITH(CHAT_PATH, ALICE, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":550}"),
        EXPECT_ANSWER, EXPECT_FIELD("x-ratelimit-limit-tokens", "600"),
        POST_WITH(CHAT_PATH, ALICE,
                  "{\"model\":\"m\",\"messages\":[],\"max_completion_tokens\":550}"),
        EXPECT_ANSWER, /* the first came to 8, so there is room */
        POST_WITH(CHAT_PATH, ALICE, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":590}"),
        EXPECT_FAULT(429, "rate_limit_exceeded"), PAUSE(5000),
        POST_WITH(CHAT_PATH, ALICE, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":580}"),
        EXPECT_ANSWER, DONE);
    EXPECT_U64(RIG_COUNT(key_refused[GATE_REFUSED_TOKENS]), 1);
    rig_end();
}

/* What the tokens refuse takes none of the requests, and its reply says so. */
static void keys_refused_for_tokens_are_no_requests(void)
{
    struct key_conf *alice;

    begin();
    alice = rig_key("alice", SECRET_A, MODELS(M("*")));
    alice->tokens_per_minute = 600;
    alice->requests_per_minute = 2;
    SCRIPT(engine, CHATTER);
    ENGINE_START("a", &at, engine);
    rig_start();
    RUN(1000, CHAT_AS(ALICE, "m"), EXPECT_ANSWER, REPEAT(5),
        POST_WITH(CHAT_PATH, ALICE, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":599}"),
        EXPECT_FAULT(429, "rate_limit_exceeded"),
        EXPECT_FIELD("x-ratelimit-remaining-requests", "1"), AGAIN, CHAT_AS(ALICE, "m"),
        EXPECT_ANSWER, EXPECT_FIELD("x-ratelimit-remaining-requests", "0"), DONE);
    rig_end();
}

/* What no engine answered costs nothing. */
static void keys_tokens_of_the_refused(void)
{
    begin();
    rig_key("alice", SECRET_A, MODELS(M("*")))->tokens_per_minute = 600;
    SCRIPT(engine, REPEAT(2), EXPECT_CHAT, REPLY("500 Oh", "no"), AGAIN, EXPECT_CHAT, REPLY_CHAT,
           EXPECT_CLOSED, DONE);
    ENGINE_START("a", &at, engine);
    rig_start();
    RUN(5000, REPEAT(2),
        POST_WITH(CHAT_PATH, ALICE, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":550}"),
        EXPECT_WHOLE(500), AGAIN,
        POST_WITH(CHAT_PATH, ALICE, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":550}"),
        EXPECT_ANSWER, DONE);
    rig_end();
}

#define ASK(most) POST_WITH(CHAT_PATH, ALICE, "{\"model\":\"m\",\"messages\":[],\"" most "\":5}")
#define SAYS_80(status)                                                                            \
    SEND("HTTP/1.1 " status "\r\nx-ratelimit-remaining-tokens: 99\r\ncontent-length: 80\r\n\r\n"), \
        FILL(80)
#define EXPECT_LEFT(n) EXPECT_FIELD("x-ratelimit-remaining-tokens", n)
#define LEFT(n) GET_AS(ALICE, "/v1/models"), EXPECT_WHOLE(200), EXPECT_LEFT(n)

/* What the request bounds is reserved, whichever field says it, and told instead of what the engine
 * says of its own limits; an answer without usage is settled by its bytes; an error costs nothing.
 */
static void keys_tokens_are_told(void)
{
    begin();
    rig_key("alice", SECRET_A, MODELS(M("*")))->tokens_per_minute = 60; /* one a second */
    SCRIPT(engine, EXPECT_CHAT, SAYS_80("200 OK"), EXPECT_CHAT, SAYS_80("500 Oh"), EXPECT_CHAT,
           SAYS_80("200 OK"), EXPECT_CHAT, SAYS_80("200 OK"), EXPECT_CLOSED, DONE);
    ENGINE_START("a", &at, engine);
    rig_start();
    RUN(400000, ASK("max_tokens"), EXPECT_WHOLE(200), EXPECT_LEFT("44"), LEFT("29"), PAUSE(60000),
        ASK("max_tokens"), EXPECT_WHOLE(500), EXPECT_LEFT("44"), LEFT("60"),
        ASK("max_completion_tokens"), EXPECT_WHOLE(200), EXPECT_LEFT("41"), PAUSE(60000),
        ASK("max_output_tokens"), EXPECT_WHOLE(200), EXPECT_LEFT("42"), DONE);
    rig_end();
}

/* To a key without rates an engine's own are passed on. */
static void keys_without_rates_see_the_engines(void)
{
    begin();
    (void)rig_key("alice", SECRET_A, MODELS(M("*")));
    SCRIPT(engine, EXPECT_CHAT, SAYS_80("200 OK"), EXPECT_CLOSED, DONE);
    ENGINE_START("a", &at, engine);
    rig_start();
    RUN(1000, ASK("max_tokens"), EXPECT_WHOLE(200), EXPECT_LEFT("99"), DONE);
    rig_end();
}

static void revoke(struct peer *p, void *arg)
{
    (void)p, (void)arg;
    rig.conf.keys.n = 1;
}

/* A reload takes a key away: what goes on goes on, the next request on its connection is refused,
 * and no lane answers by the old keys once the reload is done. */
static void keys_revoked_under_a_connection(void)
{
    struct peer *alice, *bobby;

    begin();
    rig_key("alice", SECRET_A, MODELS(M("*")));
    rig_key("bobby", SECRET_B, MODELS(M("*")));
    SCRIPT(engine, SLOW_CHATTER(300));
    SCRIPT(of_alice, CHAT_AS(ALICE, "m"), EXPECT_ANSWER, CHAT_AS(ALICE, "m"), EXPECT_ANSWER, DONE);
    SCRIPT(of_bobby, CHAT_AS(BOBBY, "m"), EXPECT_ANSWER, CHAT_AS(BOBBY, "m"), EXPECT_401, DONE);
    SCRIPT(fresh, CHAT_AS(BOBBY, "m"), EXPECT_401, DONE);
    ENGINE_START("a", &at, engine);
    rig_start();
    alice = client_start("alice", &rig.at, of_alice);
    bobby = client_start("bobby", &rig.at, of_bobby);
    world_run_ms(100);
    revoke(bobby, NULL);
    EXPECT(rig_reload());
    client_start("fresh", &rig.at, fresh);
    peers_run(3000);
    EXPECT(peer_over(alice) && peer_over(bobby));
    rig.conf.asks_keys = false; /* and the keys themselves */
    EXPECT(rig_reload());
    RUN(1000, CHAT("m"), EXPECT_ANSWER, DONE);
    rig_end();
}

/* Its key goes while its body comes. */
static void keys_revoked_under_a_body(void)
{
    begin();
    rig_key("alice", SECRET_A, MODELS(M("*")));
    rig_key("bobby", SECRET_B, MODELS(M("*")));
    SCRIPT(engine, CHATTER);
    SCRIPT(slow,
           SEND("POST " CHAT_PATH " HTTP/1.1\r\nhost: localhost\r\ncontent-length: 13\r\n" BOBBY
                "\r\n{\"model\""),
           PAUSE(1000), SEND(":\"m\"}"), EXPECT_401, DONE);
    ENGINE_START("a", &at, engine);
    rig_start();
    client_start("slow", &rig.at, slow);
    world_run_ms(500);
    rig.conf.keys.n = 1;
    EXPECT(rig_reload());
    peers_run(3000);
    rig_end();
}

/* The rate goes on over a reload that changes nothing of the key. */
static void keys_rates_outlive_reloads(void)
{
    begin();
    rig_key("alice", SECRET_A, MODELS(M("*")))->requests_per_minute = 1;
    SCRIPT(engine, CHATTER);
    ENGINE_START("a", &at, engine);
    rig_start();
    RUN(1000, CHAT_AS(ALICE, "m"), EXPECT_ANSWER, DONE);
    EXPECT(rig_reload());
    RUN(1000, CHAT_AS(ALICE, "m"), EXPECT_FAULT(429, "rate_limit_exceeded"), DONE);
    rig_end();
}

/* Ten a second, over all lanes; a right key from the same address is not refused for them. */
static void keys_failures_of_an_address(void)
{
    begin();
    rig_key("alice", SECRET_A, MODELS(M("*")));
    SCRIPT(engine, CHATTER);
    SCRIPT(guesser, REPEAT(5), GET_AS(WRONG, "/v1/models"), EXPECT_401, AGAIN, DONE);
    SCRIPT(eleventh, GET_AS(WRONG, "/v1/models"), EXPECT_FAULT(429, "rate_limit_exceeded"),
           EXPECT_FIELD("retry-after", "1"), EXPECT_CLOSED, DONE);
    ENGINE_START("a", &at, engine);
    rig_start();
    client_start("one", &rig.at, guesser);
    client_start("two", &rig.at, guesser);
    peers_run(90);
    RUN(10, GET_AS(WRONG, "/v1/models"), EXPECT_FAULT(429, "rate_limit_exceeded"), EXPECT_CLOSED,
        DONE);
    RUN(500, CHAT_AS(ALICE, "m"), EXPECT_ANSWER, DONE);
    world_run_ms(1000);
    client_start("one", &rig.at, guesser);
    client_start("two", &rig.at, guesser);
    peers_run(90);
    client_start("eleventh", &rig.at, eleventh);
    peers_run(10);
    EXPECT_U64(RIG_COUNT(key_refused[GATE_REFUSED_ADDRESS]), 2);
    rig_end();
}

/* Behind a proxy it is the client's address that counts; without one it is not believed. */
static void keys_failures_behind_a_proxy(void)
{
#define FROM(ip) "x-forwarded-for: " ip "\r\n" WRONG
    begin();
    rig_key("alice", SECRET_A, MODELS(M("*")));
    EXPECT(addr_net_parse(STR("127.0.0.0/8"), &rig.conf.net[0]) == 0);
    rig.conf.trusted.n = 1;
    SCRIPT(engine, CHATTER);
    SCRIPT(one, REPEAT(10), GET_AS(FROM("1.2.3.4"), "/v1/models"), EXPECT_401, AGAIN,
           GET_AS(FROM("1.2.3.4"), "/v1/models"), EXPECT_WHOLE(429), DONE);
    SCRIPT(two, REPEAT(10), GET_AS(FROM("9.9.9.9, 5.6.7.8"), "/v1/models"), EXPECT_401, AGAIN,
           DONE);
    ENGINE_START("a", &at, engine);
    rig_start();
    client_start("one", &rig.at, one);
    client_start("two", &rig.at, two);
    peers_run(95);
    rig_end();
#undef FROM
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_keys(void)
{
    static const struct scenario all[] = {
        ROW(keys_who_may_ask) ROW(keys_concurrency) ROW(keys_concurrency_of_the_gone)
            ROW(keys_requests_per_minute) ROW(keys_tokens_per_minute)
                ROW(keys_refused_for_tokens_are_no_requests) ROW(keys_tokens_of_the_refused)
                    ROW(keys_tokens_are_told) ROW(keys_without_rates_see_the_engines)
                        ROW(keys_revoked_under_a_connection) ROW(keys_revoked_under_a_body)
                            ROW(keys_rates_outlive_reloads) ROW(keys_failures_of_an_address)
                                ROW(keys_failures_behind_a_proxy){NULL, NULL},
    };

    return all;
}
