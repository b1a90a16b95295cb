/* SPDX-License-Identifier: Apache-2.0
 *
 * mock_engine.h - the requests of a mock engine: routes, bodies, pace, misbehaviour. One engine per
 * loop; mock.c reads the command line and starts it.
 */
#pragma once
#include "net/exchange.h"
#include "role/mock_fault.h"
#include "role/mock_pace.h"
#include "role/mock_reply.h"

/* What the command line decides. Borrowed, constant while the engine lives. */
struct mock_conf {
    struct str name;
    uint16_t port; /* told by /health; 0 on a Unix socket */
    const struct mock_model *models;
    size_t models_n;
    const struct mock_fault *faults;
    size_t faults_n;
    uint64_t seed;
    uint32_t latency_ms;
    double tokens_per_second; /* pace of streams; 0: as fast as they are read */
    bool slow_whole;          /* replies that are no stream take as long */
    uint32_t health_status, models_status;
    bool stamp; /* each event of a stream says when it was sent */
};

struct mock_engine {
    const struct mock_conf *conf;
    struct loop *loop;
    uint64_t dice;
    uint64_t replies;   /* numbers them */
    uint64_t requests;  /* inference requests whose body came whole */
    uint64_t cancelled; /* of these, left by their client before the end */
    uint64_t active;    /* of these, not ended yet */
    struct mock_pace pace;
    struct buf scratch; /* for bodies of replies; empty between callbacks */
};

/* -E_NO_FDS; mock_engine_fini() is due all the same. */
int mock_engine_init(struct mock_engine *e, const struct mock_conf *conf,
                     struct loop *loop) MUSTCHECK;
void mock_engine_fini(struct mock_engine *e);
/* For struct server_conf, whose ctx is the engine. */
const struct exchange_owner *mock_engine_owner(void);
