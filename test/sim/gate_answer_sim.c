/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_answer_sim.c - scenarios of what control answers for lanes: each in its order, once for all
 * that ask for the same at the same time, and for nobody who has left.
 */
#include "api/api.h"
#include "base/mem.h"
#include "gate/control_priv.h"
#include "sim/gate_rig.h"

enum { LONG_BYTES = 400000 };

static unsigned written; /* bodies */

static unsigned count_own(const struct gate_own *q, struct buf *out, struct fault *f)
{
    written++;
    for (unsigned i = 0; i < LONG_BYTES / 10 && str_eq(q->path, STR("/stats")); i++)
        buf_text(out, "0123456789");
    if (out->n > 0)
        return 200;
    return api_router(false)->own(q, out, f);
}

static void begin(unsigned lanes)
{
    static struct gate_api api;

    api = *api_router(false);
    api.own = count_own;
    written = 0;
    rig_begin(lanes);
    rig.gate.api = &api;
    rig.gate.rules = &gate_rules_router;
    rig.conf.limits.unsent_bytes = 1000000;
    rig_start();
}

#define EXPECT_NOBODY EXPECT_BODY("{\"registry_url\":null,\"services\":[],\"total\":0}")

static void answers_in_order(void)
{
    begin(1 + (unsigned)world_random(2));
    RUN(1000,
        SEND("GET /services HTTP/1.1\r\n\r\nGET /models HTTP/1.1\r\n\r\n"
             "GET /v1/models/x HTTP/1.1\r\n\r\nGET /services HTTP/1.1\r\n\r\n"),
        EXPECT_STATUS(200), EXPECT_NOBODY, EXPECT_STATUS(200),
        EXPECT_BODY("{\"data\":[],\"object\":\"list\"}"), EXPECT_FAULT(404, "model_not_found"),
        EXPECT_STATUS(200), EXPECT_NOBODY, DONE);
    EXPECT_U64(written, 4);
    rig_end();
}

static void ask(const char *path)
{
    struct control_mail *m = gate_control_mail(CONTROL_ASK);

    m->lane = (uint32_t)world_random(rig.gate.nlanes);
    m->ticket = UINT64_MAX; /* nobody's, or of who has left meanwhile */
    m->path = str_span(str_dup(str_of(path)), strlen(path));
    gate_post_control(&rig.gate, m);
}

/* However many ask at once. */
static void answers_are_shared(void)
{
    begin(2);
    for (unsigned i = 0; i < 100; i++)
        ask(i % 2 ? "/services" : "/v1/models");
    world_run_ms(50);
    EXPECT_U64(written, 2);
    ask("/services");
    world_run_ms(50);
    EXPECT_U64(written, 3); /* what was true then is not told later */
    rig_end();
}

static void answers_for_who_left(void)
{
    SCRIPT(leaves, SEND("GET /services HTTP/1.1\r\n\r\n"), RESET, DONE);

    begin(2);
    for (unsigned i = 0; i < 20; i++)
        client_start("client", &rig.at, leaves);
    peers_run(1000);
    RUN(1000, GET("/services"), EXPECT_STATUS(200), EXPECT_NOBODY, DONE);
    rig_wait_idle(1000);
    rig_end();
}

/* Who asks for long answers and takes nothing of them leaves the others what they need. */
static void answers_that_nobody_reads(void)
{
    SCRIPT(deaf, GET("/stats"), EXPECT_STATUS(200), SIP(1, 1000), PAUSE(8000), RESET, DONE);

    begin(1 + (unsigned)world_random(2));
    wire_conf()->buffer_bytes = 2048;
    client_start("deaf", &rig.at, deaf);
    client_start("deaf too", &rig.at, deaf);
    world_run_ms(2000);
    RUN(20000, GET("/stats"), EXPECT_FAULT(503, "overloaded"), GET("/services"), EXPECT_STATUS(200),
        EXPECT_NOBODY, PAUSE(10000), GET("/stats"), EXPECT_STATUS(200), DONE);
    EXPECT_U64(RIG_COUNT(limit_unsent), 1);
    rig_end();
}

/* The questions that wait at the end go with control. */
static void answers_at_the_end(void)
{
    begin(2);
    for (unsigned i = 0; i < 10; i++)
        ask("/health");
    rig_end_hard();
}

#define ROW(name) {#name, name},
const struct scenario *scenarios_gate_answer(void)
{
    static const struct scenario all[] = {
        ROW(answers_in_order) ROW(answers_are_shared) ROW(answers_for_who_left)
            ROW(answers_at_the_end) ROW(answers_that_nobody_reads){NULL, NULL},
    };

    return all;
}
