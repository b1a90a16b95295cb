/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_fallback_sim.c - scenarios of names that stand for several models: shares, and fallbacks for
 * every way in which a model cannot answer; that the engine reads its own name for the model and
 * the client its own; and that nothing is asked anew once the client has a part of a reply.
 */
#include "sim/gate_rig.h"

#include "fleet/rendezvous.h"

#define REQUEST "POST " CHAT_PATH " HTTP/1.1"
#define ASKED(model) EXPECT_WORK_OR_END(REQUEST, model), EXPECT_BODY_HAS("\"model\":\"" model "\"")
#define ANSWERER(model)                                                                            \
    REPEAT(0), ASKED(model), REPLY_JSON("{\"model\":\"" model "\"}"), AGAIN, DONE
#define EXPECT_FROM(model)                                                                         \
    EXPECT_STATUS(200), EXPECT_FIELD("x-inferd-model", model), EXPECT_BODY("{\"model\":\"x\"}")
#define EXPECT_FALLBACK(model) EXPECT_FROM(model), EXPECT_FIELD("x-inferd-fallback", "1")
#define EXPECT_TARGET(model) EXPECT_FROM(model), EXPECT_NO_FIELD("x-inferd-fallback")

static struct str n_alone[] = {M("n")}, n_and_o[] = {M("n"), M("o")};
static struct target_conf shares[] = {{.model = M("m"), .weight = 2},
                                      {.model = M("n"), .weight = 1}};

/* Engine a of model m at port 8001, b of model n at 8002; x is m, or else the fallbacks. */
static void begin(const struct step *a, const struct step *b, struct str_list fallbacks)
{
    struct addr at_a = rig_at(8001), at_b = rig_at(8002);

    rig_begin(1 + (unsigned)world_random(2));
    rig_remote("a", "http://127.0.0.1:8001", 0, MODELS(M("m")));
    rig_remote("b", "http://127.0.0.1:8002", 0, MODELS(M("n")));
    rig_alias("x", "m");
    rig.conf.alias[0].fallbacks = fallbacks;
    if (a)
        ENGINE_START("a", &at_a, a);
    if (b)
        ENGINE_START("b", &at_b, b);
}
#define ELSE_N ((struct str_list){n_alone, 1})
#define ELSE_N_O ((struct str_list){n_and_o, 2})

static void fallback_not_needed(void)
{
    SCRIPT(a, ANSWERER("m"));
    SCRIPT(b, ANSWERER("n"));

    begin(a, b, ELSE_N);
    rig_start();
    RUN(5000, CHAT("x"), EXPECT_TARGET("m"), CHAT("n"), EXPECT_STATUS(200),
        EXPECT_NO_FIELD("x-inferd-model"), EXPECT_BODY("{\"model\":\"n\"}"), DONE);
    EXPECT_U64(RIG_COUNT(attempts), 2);
    rig_end();
}

/* Nobody listens; the breaker knows it then, and the next request does not try. */
static void fallback_refused(void)
{
    SCRIPT(b, ANSWERER("n"));

    begin(NULL, b, ELSE_N);
    rig_start();
    RUN(5000, MARK, CHAT("x"), EXPECT_FALLBACK("n"), SINCE(0, 100), DONE);
    EXPECT_U64(RIG_COUNT(attempts), 2);
    RUN(5000, MARK, CHAT("x"), EXPECT_FALLBACK("n"), SINCE(0, 100), DONE);
    EXPECT_U64(RIG_COUNT(attempts), 3);
    rig_end();
}

static void fallback_broken(void)
{
    SCRIPT(a, ASKED("m"), HANG_UP, DONE);
    SCRIPT(b, ANSWERER("n"));

    begin(a, b, ELSE_N);
    rig_start();
    RUN(5000, CHAT("x"), EXPECT_FALLBACK("n"), DONE);
    EXPECT_U64(RIG_COUNT(attempts), 2);
    rig_end();
}

/* What another engine would be asked for; 500 is passed on as it is. */
static void fallback_answers(void)
{
    SCRIPT(a1, ASKED("m"), REPLY("429 Too Many Requests", "{}"), EXPECT_GONE, DONE);
    SCRIPT(a2, ASKED("m"), REPLY("503 Service Unavailable", "{}"), EXPECT_GONE, DONE);
    SCRIPT(a3, ASKED("m"), REPLY("500 Internal Server Error", "{}"), ASKED("m"),
           REPLY("400 Bad Request", "{}"), EXPECT_GONE, DONE);
    SCRIPT(b, ANSWERER("n"));
    struct addr at = rig_at(8001);

    begin(NULL, b, ELSE_N);
    ENGINE_START("a", &at, a1, a2, a3);
    rig_start();
    RUN(5000, CHAT("x"), EXPECT_FALLBACK("n"), CHAT("x"), EXPECT_FALLBACK("n"), CHAT("x"),
        EXPECT_STATUS(500), EXPECT_BODY("{}"), CHAT("x"), EXPECT_STATUS(400), EXPECT_BODY("{}"),
        DONE);
    EXPECT_U64(RIG_COUNT(attempts), 6);
    rig_end();
}

/* A name that nobody has, and under it one whose engine goes. */
static void fallback_unknown(void)
{
    SCRIPT(b, ANSWERER("n"));

    begin(NULL, b, ELSE_N);
    rig.conf.alias[0].target = STR("gone");
    rig_start();
    RUN(5000, CHAT("x"), EXPECT_FALLBACK("n"), DONE);
    EXPECT_U64(RIG_COUNT(attempts), 1);
    rig.conf.alias[0].fallbacks = (struct str_list){&n_and_o[1], 1};
    EXPECT(rig_reload());
    RUN(5000, CHAT("x"), EXPECT_FAULT(404, "model_not_found"), DONE);
    rig_end();
}

/* All slots are taken: after queue_ms, or at once without a queue. */
static void fallback_waited(void)
{
    SCRIPT(a, REPEAT(0), ASKED("m"), PAUSE(3000), REPLY_JSON("{\"model\":\"m\"}"), AGAIN, DONE);
    SCRIPT(b, ANSWERER("n"));
    SCRIPT(busy, CHAT("x"), EXPECT_TARGET("m"), DONE);

    begin(a, b, ELSE_N);
    rig.conf.remote[0].slots = 1;
    rig.conf.limits.queue_ms = 500;
    rig_start();
    client_start("busy", &rig.at, busy);
    world_run_ms(20);
    RUN(9000, CHAT("x"), MARK, EXPECT_FALLBACK("n"), SINCE(490, 700), DONE);
    rig.conf.limits.queue_length = 0;
    EXPECT(rig_reload());
    client_start("busy", &rig.at, busy);
    world_run_ms(20);
    RUN(9000, CHAT("x"), MARK, EXPECT_FALLBACK("n"), SINCE(0, 200), DONE);
    rig_end();
}

/* It waits queue_ms in all, not for each model. */
static void fallback_waits_once(void)
{
    SCRIPT(a, REPEAT(0), ASKED("m"), PAUSE(3000), REPLY_JSON("{\"model\":\"m\"}"), AGAIN, DONE);
    SCRIPT(b, REPEAT(0), ASKED("n"), PAUSE(3000), REPLY_JSON("{\"model\":\"n\"}"), AGAIN, DONE);
    SCRIPT(busy_a, CHAT("m"), EXPECT_STATUS(200), EXPECT_BODY_HAS("m"), DONE);
    SCRIPT(busy_b, CHAT("n"), EXPECT_STATUS(200), EXPECT_BODY_HAS("n"), DONE);

    begin(a, b, ELSE_N);
    rig.conf.remote[0].slots = rig.conf.remote[1].slots = 1;
    rig.conf.limits.queue_ms = 500;
    rig_start();
    client_start("busy", &rig.at, busy_a);
    client_start("busy", &rig.at, busy_b);
    world_run_ms(20);
    RUN(9000, CHAT("x"), MARK, EXPECT_FAULT(503, "overloaded"), SINCE(490, 700), DONE);
    rig_end();
}

static void fallback_all_fail(void)
{
    SCRIPT(b, REPEAT(0), ASKED("n"), HANG_UP, DONE);

    begin(NULL, b, ELSE_N_O);
    rig.conf.limits.queue_ms = 300;
    rig_start();
    RUN(9000, CHAT("x"), EXPECT_HONEST, DONE);
    rig_end();
}

/* The client has a part of m's reply: n is not asked. */
static void fallback_never_after_bytes(void)
{
    SCRIPT(a, ASKED("m"), STREAM_HEAD, CHUNK(EVENT("one")), PAUSE(20), HANG_UP, DONE);
    SCRIPT(b, ANSWERER("n"));

    begin(a, b, ELSE_N);
    rig_start();
    RUN(9000, CHAT_STREAM("x"), EXPECT_STATUS(200), EXPECT_FIELD("x-inferd-model", "m"),
        EXPECT_SO_FAR("\"model\":\"x\",\"t\":\"one\""), EXPECT_CUT, DONE);
    EXPECT_U64(RIG_COUNT(attempts), 1);
    rig_end();
}

static void fallback_stream(void)
{
    SCRIPT(a, ASKED("m"), HANG_UP, DONE);
    SCRIPT(b, ASKED("n"), STREAM_HEAD, CHUNK("data: {\"model\":\"n\",\"t\":1}\n\n"), STREAM_DONE,
           EXPECT_GONE, DONE);

    begin(a, b, ELSE_N);
    rig_start();
    RUN(9000, CHAT_STREAM("x"), EXPECT_STATUS(200), EXPECT_FIELD("x-inferd-model", "n"),
        EXPECT_BODY("data: {\"model\":\"x\",\"t\":1}\n\ndata: [DONE]\n\n"), DONE);
    rig_end();
}

/* A model's own name with fallbacks: the engine's reply passes as it is, a fallback's has it. */
static void fallback_of_a_model(void)
{
    SCRIPT(a, ASKED("m"), REPLY_JSON("{\"model\":\"m\"}"), ASKED("m"),
           REPLY("503 Service Unavailable", "{}"), EXPECT_GONE, DONE);
    SCRIPT(b, ANSWERER("n"));

    begin(a, b, ELSE_N);
    rig.conf.alias[0].name = STR("m");
    rig.conf.alias[0].target = STR_NONE;
    rig_start();
    RUN(5000, CHAT("m"), EXPECT_STATUS(200), EXPECT_FIELD("x-inferd-model", "m"),
        EXPECT_BODY("{\"model\":\"m\"}"), CHAT("m"), EXPECT_STATUS(200),
        EXPECT_FIELD("x-inferd-model", "n"), EXPECT_FIELD("x-inferd-fallback", "1"),
        EXPECT_BODY("{\"model\":\"m\"}"), DONE);
    rig_end();
}

/* The client leaves while the second model works: both engines are rid of it. */
static void fallback_client_leaves(void)
{
    SCRIPT(a, ASKED("m"), HANG_UP, DONE);
    SCRIPT(b, ASKED("n"), EXPECT_GONE, DONE);

    begin(a, b, ELSE_N);
    rig_start();
    RUN(5000, CHAT("x"), PAUSE(200), HANG_UP, DONE);
    rig_wait_idle(1000);
    EXPECT_U64(RIG_COUNT(canceled), 1);
    rig_end();
}

/* Two thirds and a third; then one of them has nobody, and the other answers all. */
static void targets_share(void)
{
    SCRIPT(a, ANSWERER("m"));
    SCRIPT(b, ANSWERER("n"));

    begin(a, b, (struct str_list){NULL, 0});
    rig.conf.alias[0].target = STR_NONE;
    rig.conf.alias[0].targets.at = shares;
    rig.conf.alias[0].targets.n = 2;
    rig_start();
    if (rig.gate.nlanes == 1)
        RUN(5000, CHAT("x"), EXPECT_TARGET("m"), CHAT("x"), EXPECT_TARGET("n"), CHAT("x"),
            EXPECT_TARGET("m"), CHAT("x"), EXPECT_TARGET("m"), CHAT("x"), EXPECT_TARGET("n"), DONE);
    rig.conf.remotes.n = 1;
    EXPECT(rig_reload());
    RUN(5000, REPEAT(6), CHAT("x"), EXPECT_TARGET("m"), AGAIN, DONE);
    rig_end();
}

#define KEYED(key) POST(CHAT_PATH, "{\"model\":\"x\",\"prompt_cache_key\":\"" key "\"}")
static void targets_keep_sessions(void)
{
    SCRIPT(a, ANSWERER("m"));
    SCRIPT(b, ANSWERER("n"));
    struct rendezvous best = {.weight = 0};
    uint64_t session = rendezvous_session(STR("x"), STR("prompt_cache"), STR("k1"));

    (void)rendezvous_bid(&best, rendezvous_hash(session, rendezvous_name(STR("m"))), 2);
    begin(a, b, (struct str_list){NULL, 0});
    rig.conf.alias[0].target = STR_NONE;
    rig.conf.alias[0].targets.at = shares;
    rig.conf.alias[0].targets.n = 2;
    rig_start();
    if (rendezvous_bid(&best, rendezvous_hash(session, rendezvous_name(STR("n"))), 1))
        RUN(5000, REPEAT(5), KEYED("k1"), EXPECT_TARGET("n"), AGAIN, DONE);
    else
        RUN(5000, REPEAT(5), KEYED("k1"), EXPECT_TARGET("m"), AGAIN, DONE);
    rig_end();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_fallback(void)
{
    static const struct scenario all[] = {
        ROW(fallback_not_needed) ROW(fallback_refused) ROW(fallback_broken) ROW(fallback_answers)
            ROW(fallback_unknown) ROW(fallback_waited) ROW(fallback_waits_once)
                ROW(fallback_all_fail) ROW(fallback_never_after_bytes) ROW(fallback_stream)
                    ROW(fallback_of_a_model) ROW(fallback_client_leaves) ROW(targets_share)
                        ROW(targets_keep_sessions){NULL, NULL},
    };

    return all;
}
