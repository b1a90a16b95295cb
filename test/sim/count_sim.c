/* SPDX-License-Identifier: Apache-2.0
 *
 * count_sim.c - what callgrind counts: the same chat again and again on one kept-alive connection,
 * without keys, with one and through a router, and one stream of many events, through one lane with
 * its access log on. INFERD_SIM_COUNT says how many; the difference between two runs is what that
 * many more cost. Seed 0 only says something: its world is plain, nothing in it is random.
 * test/sim/count does all of it.
 */
#include <stdlib.h>

#include "api/api.h"
#include "base/log.h"
#include "sim/gate_rig.h"

enum { FEW = 5 };

static unsigned how_many(void)
{
    const char *text = getenv("INFERD_SIM_COUNT");
    uint64_t n = FEW;

    if (text)
        CHECK(str_u64(str_of(text), &n) && n > 0 && n < 1000000);
    return (unsigned)n;
}

/* As the OpenAI SDK for Python sends it. */
#define SDK_FIELDS "authorization: Bearer sk-0123456789abcdef\r\n" OTHER_FIELDS
#define SECRET "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define KEY_FIELDS "authorization: Bearer inf_m6egpqtd2sc3_" SECRET "\r\n" OTHER_FIELDS
#define OTHER_FIELDS                                                                               \
    "accept: application/json\r\naccept-encoding: gzip, deflate\r\nconnection: keep-alive\r\n"     \
    "content-type: application/json\r\nuser-agent: OpenAI/Python 1.99.0\r\n"                       \
    "x-stainless-arch: x64\r\nx-stainless-async: false\r\nx-stainless-lang: python\r\n"            \
    "x-stainless-os: Linux\r\nx-stainless-package-version: 1.99.0\r\n"                             \
    "x-stainless-read-timeout: 600\r\nx-stainless-retry-count: 0\r\n"                              \
    "x-stainless-runtime: CPython\r\nx-stainless-runtime-version: 3.11.2\r\n"
#define WORDS                                                                                      \
    "The quick brown fox jumps over the lazy dog, and the dog, who has seen foxes before, sighs. "
#define QUESTION(stream)                                                                           \
    "{\"messages\":[{\"role\":\"system\",\"content\":\"" WORDS WORDS WORDS                         \
    "\"},{\"role\":\"user\",\"content\":\"" WORDS WORDS WORDS WORDS                                \
    "\"}],\"model\":\"m\",\"max_tokens\":128,\"temperature\":0.7" stream "}"
#define SAYS                                                                                       \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,"                \
    "\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","               \
    "\"content\":\"" WORDS WORDS "\"},\"finish_reason\":\"stop\"}],"                               \
    "\"usage\":{\"prompt_tokens\":120,\"completion_tokens\":40,\"total_tokens\":160}}"
#define SAYS_EVENT                                                                                 \
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"    \
    "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" fox\"},"                  \
    "\"finish_reason\":null}]}\n\n"

/* An engine and a client with its fields that chat as often as is counted. */
#define CHATS(engine, client, fields)                                                              \
    SCRIPT(engine, REPEAT(0), EXPECT_CHAT_OR_END, REPLY_JSON(SAYS), AGAIN, DONE);                  \
    static struct step client[] = {                                                                \
        REPEAT(1),                                                                                 \
        POST_WITH(CHAT_PATH, fields, QUESTION("")),                                                \
        EXPECT_STATUS(200),                                                                        \
        EXPECT_BODY(SAYS),                                                                         \
        AGAIN,                                                                                     \
        DONE,                                                                                      \
    }

static void prepare(void)
{
    rig_begin(1);
    if (getenv("INFERD_SIM_COUNT"))
        log_set_level(LOG_INFO); /* to stderr, whole lines */
}

static void begin(const struct step *engine)
{
    struct addr at = rig_at(8001);

    rig_remote("a", "http://127.0.0.1:8001", 0, MODELS(M("m")));
    ENGINE_START("engine", &at, engine);
    rig_start();
}

static void chat(const struct step *engine, struct step *client)
{
    client[0].a = how_many();
    begin(engine);
    client_start("client", &rig.at, client);
    peers_run(1000000);
    EXPECT_U64(RIG_COUNT(attempts), client[0].a);
    rig_end();
}

static void count_chat(void)
{
    CHATS(engine, client, SDK_FIELDS);

    prepare();
    chat(engine, client);
}

/* The same with a key that has every limit. */
static void count_keyed(void)
{
    CHATS(engine, client, KEY_FIELDS);
    struct key_conf *key;

    prepare();
    key = rig_key("m6egpqtd2sc3", SECRET, MODELS(M("other"), M("m")));
    key->concurrency = 8;
    key->requests_per_minute = 10000000;
    key->tokens_per_minute = 1000000000000;
    chat(engine, client);
}

/* With its two lines of log, in its own format. */
static void count_router(void)
{
    CHATS(engine, client, SDK_FIELDS);

    prepare();
    rig.gate.api = api_router(false);
    rig.gate.rules = &gate_rules_router;
    log_set_format(LOG_SVC);
    chat(engine, client);
}

static void count_stream(void)
{
    static struct step engine[] = {
        EXPECT_CHAT, STREAM_HEAD, REPEAT(1), CHUNK(SAYS_EVENT), PAUSE(1), AGAIN,
        STREAM_DONE, EXPECT_END,  DONE,
    };
    SCRIPT(client, POST_WITH(CHAT_PATH, SDK_FIELDS, QUESTION(",\"stream\":true")),
           EXPECT_STATUS(200), EXPECT_BODY_HAS("[DONE]"), DONE);

    for (struct step *s = engine; s->op != PEER_done; s++)
        if (s->op == PEER_repeat)
            s->a = how_many();
    prepare();
    begin(engine);
    client_start("client", &rig.at, client);
    peers_run(1000000);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_count(void)
{
    static const struct scenario all[] = {ROW(count_chat) ROW(count_keyed) ROW(count_router)
                                              ROW(count_stream){NULL, NULL}};

    return all;
}
