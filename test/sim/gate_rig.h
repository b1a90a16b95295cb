/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_rig.h - a whole gateway in the simulation: control, one or two lanes and a master's end of
 * the link that does what a scenario tells it. A scenario fills `rig.conf`, lets the rig start,
 * runs its peers and ends it; the end asserts that nothing was left: no request, no ticket, no
 * slot, no byte of a body, no chunk, no configuration.
 *
 *   rig_begin(2);
 *   rig_remote("a", "http://127.0.0.1:8001", 4, MODELS("tiny"));
 *   rig_start();
 *   client_start("client", &rig.at, script);
 *   peers_run(10000);
 *   rig_end();
 */
#pragma once
#include "fleet/options.h"
#include "gate/gate.h"
#include "gate/metrics.h"
#include "link/master.h"
#include "sim/peer.h"
#include "sim/sim.h"
#include "sim/wire.h"
#include "sim/world.h"
#include "supervise/options.h"

enum { RIG_PLACES = 8, RIG_REMOTES = 1010, RIG_REPORTS = 256, RIG_LANES = 2 };

/* What a master would have read from a file. */
struct rig_conf {
    unsigned refs;
    struct limits limits;
    struct affinity_conf affinity;
    struct probe_conf probe; /* interval_ms is 0 until a scenario says otherwise */
    struct retry_conf retry;
    struct breaker_conf breaker;
    struct registry_settings registry;
    struct listen_conf listen[2];
    struct engine_conf engine[RIG_PLACES];
    struct remote_conf remote[RIG_REMOTES];
    struct model_conf alias[RIG_PLACES];
    struct listen_conf_list listens;
    struct engine_conf_list engines;
    struct remote_conf_list remotes;
    struct model_conf_list aliases;
    struct key_conf key[RIG_PLACES];
    struct key_conf_list keys;
    bool asks_keys;
    struct addr_net net[RIG_PLACES];
    struct addr_net_list trusted;
    const struct sources_conf *sources;
    enum forward_authorization authorization;
    bool discover;
    const char *refuse; /* the gateway finds this wrong with it */
};

struct rig_report {
    uint32_t unit, generation;
    enum link_report report;
    uint64_t at_ms;
};

struct rig {
    struct rig_conf conf; /* as the next rig_start() or rig_reload() hands it over */
    struct addr at;       /* where clients connect */
    struct gate gate;
    struct linked *linked;
    struct control *control; /* its */
    struct link_master *master;
    struct loop *master_loop, *control_loop, *lane_loops[RIG_LANES];
    struct ev_fd listener, second, ctl;
    struct addr second_at; /* listens when conf.listens.n is 2 */
    struct addr ctl_at;
    uint32_t generation;
    bool acked, refused, swapped, accepting, drained, over;
    struct rig_report reports[RIG_REPORTS];
    unsigned reports_n;
    uint32_t asked_unit; /* the last order */
    enum link_verb asked;
    unsigned asks;
    struct rig_conf *given[64]; /* those that hold somewhere; freed by their last user */
    unsigned given_n;
    struct str models[RIG_REMOTES + RIG_PLACES][RIG_PLACES];
    unsigned models_n;
};
extern struct rig rig;

#define MODELS(...)                                                                                \
    ((struct str_list){(struct str[]){__VA_ARGS__},                                                \
                       sizeof((struct str[]){__VA_ARGS__}) / sizeof(struct str)})
#define M(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

/* 127.0.0.1 */
struct addr rig_at(uint16_t port);
/* A world for `lanes` lanes, with the defaults of the option tables and one listener. */
void rig_begin(unsigned lanes);
/* A [[remote]] of kind openai, so that nothing is asked of it, when it lists models. */
struct remote_conf *rig_remote(const char *name, const char *url, uint32_t slots,
                               struct str_list models);
/* An [[engine]] of kind openai. */
struct engine_conf *rig_unit(const char *name, uint32_t slots, struct str_list models);
void rig_alias(const char *name, const char *target);
/* A key with the right to everything and no limits; from now on one is asked for. `secret` has 43
 * characters. */
struct key_conf *rig_key(const char *id, const char *secret, struct str_list models);
/* Until it accepts. */
void rig_start(void);
/* Hands rig.conf over again; true when the gateway swapped, false when it refused. */
bool rig_reload(void);
/* What the master says of a unit: ids count from 1 in the order of rig_unit(). */
void rig_unit_is(uint32_t id, uint32_t generation, enum unit_state state, uint16_t port);
void rig_unit_gone(uint32_t id);
/* When the n-th (from 0) such report comes; fails after `ms`. */
void rig_wait_report(uint32_t unit, enum link_report report, unsigned nth, uint64_t ms);
unsigned rig_count_reports(uint32_t unit, enum link_report report);

/* What tests say of a member. */
enum cell_verdict rig_word(const char *member);
/* Waits until they say so; how long that took. */
uint64_t rig_until_word(const char *member, enum cell_verdict v, uint64_t ms);

/* Sums over the fleet and the lanes. */
unsigned rig_tickets(void);
unsigned rig_in_flight(void);
unsigned rig_requests(void);
unsigned rig_connections(void);
/* Sum of a counter over the lanes: RIG_COUNT(canceled). */
#define RIG_COUNT(counter) rig_count(offsetof(struct gate_shard, counter))
uint64_t rig_count(size_t offset);
/* Runs until no request is left, for at most `ms`. */
void rig_wait_idle(uint64_t ms);

/* Asserts idleness and takes everything down as the role does. */
void rig_end(void);
/* The master dies, whatever is under way. */
void rig_end_hard(void);

/* Clients' and engines' words. */
#define CHAT_PATH "/v1/chat/completions"
#define CHAT(model) POST(CHAT_PATH, "{\"model\":\"" model "\",\"messages\":[]}")
#define CHAT_STREAM(model)                                                                         \
    POST(CHAT_PATH, "{\"model\":\"" model "\",\"stream\":true,\"messages\":[]}")
#define GET(path) SEND("GET " path " HTTP/1.1\r\nhost: localhost\r\n\r\n")
#define EXPECT_FAULT(status, code) EXPECT_STATUS(status), EXPECT_BODY_HAS("\"code\":\"" code "\"")
#define EXPECT_CHAT EXPECT_REQUEST("POST " CHAT_PATH " HTTP/1.1"), EXPECT_BODY_HAS("")
#define EXPECT_CHAT_OR_END                                                                         \
    EXPECT_WORK_OR_END("POST " CHAT_PATH " HTTP/1.1", "m"), EXPECT_ANY_BODY_OR_END
#define JSON_HEAD "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
#define ANSWER                                                                                     \
    "{\"id\":\"c1\",\"model\":\"m\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}"
#define REPLY_CHAT REPLY_JSON(ANSWER)
#define STREAM_HEAD                                                                                \
    SEND("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: "               \
         "chunked\r\n\r\n")
#define EVENT(text) "data: {\"model\":\"m\",\"t\":\"" text "\"}\n\n"
#define STREAM_DONE CHUNK("data: [DONE]\n\n"), SEND("0\r\n\r\n")
/* An engine that answers every chat at once, or after so many milliseconds. */
#define CHATTER REPEAT(0), EXPECT_CHAT_OR_END, REPLY_CHAT, AGAIN, DONE
#define SLOW_CHATTER(ms) REPEAT(0), EXPECT_CHAT_OR_END, PAUSE(ms), REPLY_CHAT, AGAIN, DONE
#define EXPECT_ANSWER EXPECT_STATUS(200), EXPECT_BODY(ANSWER)

#define SCRIPT(name, ...) static const struct step name[] = {__VA_ARGS__}
/* One client, and until all clients are done. */
#define RUN(ms, ...)                                                                               \
    do {                                                                                           \
        SCRIPT(script_, __VA_ARGS__);                                                              \
        client_start("client", &rig.at, script_);                                                  \
        peers_run(ms);                                                                             \
    } while (0)
