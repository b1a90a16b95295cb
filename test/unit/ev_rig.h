/* SPDX-License-Identifier: Apache-2.0
 *
 * ev_rig.h - what the contract tests of src/ev share. They hold the promises of its headers against
 * two implementations: the real one on loopback sockets, and test/sim's on virtual time (EV_FAKE),
 * there under many seeds. What holds for both is what code above ev/ may rely on, and why a
 * scenario of the simulation says something about the program.
 *
 * A test runs its loop until a condition holds, looked at after every turn; a deadline on the same
 * loop turns a condition that never comes true into a failure. Included by test programs only,
 * once.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/chunk.h"
#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/loop.h"

#ifdef EV_FAKE
#include "sim/ev/fake.h"
#include "sim/wire.h"
#include "sim/world.h"
enum { ROUNDS = 60 };
#else
#include <signal.h>
#include <sys/resource.h>
enum { ROUNDS = 1 };
#endif

enum { GUARD_MS = 20000 };

/* the two worlds */

static void world_open(unsigned round)
{
#ifdef EV_FAKE
    world_begin(round, round == 0);
#else
    (void)round;
#endif
}

static void world_close(void)
{
#ifdef EV_FAKE
    world_end();
#endif
}

/* the rig: a loop, a pool, and waiting */

struct rig {
    struct loop *loop;
    struct chunk_pool pool;
    struct deadline guard, pause;
    bool (*until)(void *ctx);
    void *ctx;
    bool pause_over;
    bool in_call; /* set around calls into ev: no callback may see it */
};

static struct rig rig;

#define CALL(expr)                                                                                 \
    ({                                                                                             \
        rig.in_call = true;                                                                        \
        __auto_type r_ = (expr);                                                                   \
        rig.in_call = false;                                                                       \
        r_;                                                                                        \
    })
#define CALLV(stmt)                                                                                \
    do {                                                                                           \
        rig.in_call = true;                                                                        \
        stmt;                                                                                      \
        rig.in_call = false;                                                                       \
    } while (0)

static void on_guard(struct deadline *d)
{
    (void)d;
    fail_msg("what was waited for did not happen");
}

static void on_turn(void *ctx)
{
    (void)ctx;
    if (rig.until && rig.until(rig.ctx))
        loop_stop(rig.loop);
}

static void rig_open(void)
{
    rig = (struct rig){0};
    assert_int_equal(loop_create(&rig.loop), 0);
    loop_on_turn(rig.loop, on_turn, NULL);
}

static void rig_close(void)
{
    loop_destroy(&rig.loop);
    assert_null(rig.loop);
    assert_int_equal(rig.pool.live, 0);
    chunk_pool_fini(&rig.pool);
}

static void wait_until(bool (*until)(void *ctx), void *ctx)
{
    if (until(ctx))
        return;
    rig.until = until;
    rig.ctx = ctx;
    deadline_arm(rig.loop, &rig.guard, GUARD_MS, on_guard);
    loop_run(rig.loop);
    deadline_stop(&rig.guard);
    rig.until = NULL;
    assert_true(until(ctx));
}

static bool pause_is_over(void *ctx)
{
    (void)ctx;
    return rig.pause_over;
}

static void on_pause_over(struct deadline *d)
{
    (void)d;
    rig.pause_over = true;
}

/* For what must not happen: lets everything happen for so long. */
static void wait_ms(unsigned ms)
{
    rig.pause_over = false;
    deadline_arm(rig.loop, &rig.pause, ms, on_pause_over);
    wait_until(pause_is_over, NULL);
}

static bool is_nonzero(void *ctx) { return *(unsigned *)ctx != 0; }

#define AS_TEST(name)                                                                              \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        for (unsigned round = 0; round < ROUNDS; round++) {                                        \
            world_open(round);                                                                     \
            rig_open();                                                                            \
            name();                                                                                \
            rig_close();                                                                           \
            world_close();                                                                         \
        }                                                                                          \
    }
#define AS_ROW(name) cmocka_unit_test(test_##name),
