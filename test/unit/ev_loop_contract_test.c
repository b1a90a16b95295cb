/* SPDX-License-Identifier: Apache-2.0
 *
 * ev_loop_contract_test.c - time, deadlines, graves, mailboxes, threads, offloaded work, names and
 * signals, real and simulated, against the headers of src/ev; see ev_rig.h.
 */
#include "ev_rig.h"

#include "ev/mailbox.h"
#include "ev/offload.h"
#include "ev/resolve.h"
#include "ev/thread.h"

static bool is_true(void *ctx) { return *(bool *)ctx; }

static void send_signal(int signo)
{
#ifdef EV_FAKE
    fake_signal(signo);
#else
    assert_int_equal(kill(getpid(), signo), 0);
#endif
}

/* deadlines and graves */

struct alarm {
    struct deadline d;
    uint64_t armed_ms, ms;
    unsigned fired;
    unsigned order;
    bool again;
};

static unsigned fired_in_all;

static void on_alarm(struct deadline *d)
{
    struct alarm *a = container_of(d, struct alarm, d);

    assert_false(rig.in_call);
    assert_false(deadline_armed(d));
    assert_true(loop_now_ms(rig.loop) >= a->armed_ms + a->ms);
    a->fired++;
    a->order = ++fired_in_all;
    if (a->again && a->fired < 3) {
        a->armed_ms = loop_now_ms(rig.loop);
        CALLV(deadline_arm(rig.loop, d, a->ms, on_alarm));
    }
}

static void alarm_in(struct alarm *a, uint64_t ms)
{
    a->ms = ms;
    a->armed_ms = loop_now_ms(rig.loop);
    CALLV(deadline_arm(rig.loop, &a->d, ms, on_alarm));
    assert_true(deadline_armed(&a->d) == (ms > 0));
}

static void deadlines_fire_in_order_and_never_early(void)
{
    struct alarm a[8] = {0};

    fired_in_all = 0;
    alarm_in(&a[0], 40);
    alarm_in(&a[1], 10);
    alarm_in(&a[2], 20);
    alarm_in(&a[3], 10);
    alarm_in(&a[4], 0);
    alarm_in(&a[5], 15);
    alarm_in(&a[5], 0); /* disarms */
    alarm_in(&a[6], 5);
    alarm_in(&a[6], 30); /* moves */
    alarm_in(&a[7], 12);
    CALLV(deadline_stop(&a[7].d));
    CALLV(deadline_stop(&a[7].d));
    wait_until(is_nonzero, &a[0].fired);
    assert_int_equal(a[1].order, 1);
    assert_int_equal(a[3].order, 2);
    assert_int_equal(a[2].order, 3);
    assert_int_equal(a[6].order, 4);
    assert_int_equal(a[0].order, 5);
    wait_ms(20);
    assert_int_equal(fired_in_all, 5);
}

static bool fired_thrice(void *ctx) { return ((struct alarm *)ctx)->fired == 3; }

static void a_deadline_may_arm_itself_again(void)
{
    struct alarm a = {.again = true};
    uint64_t began = loop_now_ms(rig.loop);

    alarm_in(&a, 7);
    wait_until(fired_thrice, &a);
    assert_true(loop_now_ms(rig.loop) >= began + 21);
}

static void on_free_me(struct deadline *d)
{
    struct alarm *a = container_of(d, struct alarm, d);

    mem_free(a);
    fired_in_all++;
}

static void a_deadline_may_free_its_owner(void)
{
    struct alarm *a = xnew(struct alarm), *b = xnew(struct alarm);

    fired_in_all = 0;
    deadline_arm(rig.loop, &a->d, 5, on_free_me);
    deadline_arm(rig.loop, &b->d, 5, on_free_me);
    wait_until(is_nonzero, &fired_in_all);
    wait_ms(5);
    assert_int_equal(fired_in_all, 2);
}

struct body {
    struct grave grave;
    unsigned order;
};

static unsigned buried;
static bool mourning; /* still in the callback that buried them */

static void on_grave(struct grave *g)
{
    struct body *b = container_of(g, struct body, grave);

    assert_false(mourning);
    b->order = ++buried;
}

static struct body bodies[3];

static void on_bury(struct deadline *d)
{
    (void)d;
    mourning = true;
    for (unsigned i = 0; i < ARRAY_LEN(bodies); i++)
        CALLV(loop_bury(rig.loop, &bodies[i].grave, on_grave));
    assert_int_equal(buried, 0);
    mourning = false;
}

static void graves_are_filled_at_the_end_of_the_turn_in_order(void)
{
    struct deadline d = {0};

    memset(bodies, 0, sizeof bodies);
    buried = 0;
    deadline_arm(rig.loop, &d, 1, on_bury);
    wait_ms(5);
    assert_int_equal(buried, ARRAY_LEN(bodies));
    for (unsigned i = 0; i < ARRAY_LEN(bodies); i++)
        assert_int_equal(bodies[i].order, i + 1);
    loop_bury(rig.loop, &bodies[0].grave, on_grave); /* outside a turn: at the next one's end */
    assert_int_equal(buried, 3);
    wait_ms(1);
    assert_int_equal(buried, 4);
    loop_bury(rig.loop, &bodies[1].grave, on_grave); /* and loop_destroy() leaves none behind */
}

/* mailboxes, threads, offload, names, signals */

enum { MAILS = 200, SENDERS = 3 };

struct letter {
    struct mail mail;
    unsigned sender, number;
};

struct office {
    struct mailbox *box;
    unsigned got[SENDERS], total;
    struct thread *thread[SENDERS];
};

struct sender {
    struct office *office;
    unsigned id;
};

static void on_letter(void *ctx, struct mail *m)
{
    struct office *o = ctx;
    struct letter *l = container_of(m, struct letter, mail);

    assert_int_equal(m->kind, 7);
    assert_int_equal(l->number, o->got[l->sender]);
    o->got[l->sender]++;
    o->total++;
    mem_free(l);
}

static void post_letter(struct office *o, unsigned sender, unsigned number)
{
    struct letter *l = xnew(struct letter, .mail = {.kind = 7}, .sender = sender, .number = number);
    struct mail *m = &l->mail;

    mailbox_post(o->box, &m);
    assert_null(m);
}

static void sender_main(void *ctx)
{
    struct sender *s = ctx;

    for (unsigned i = 0; i < MAILS; i++)
        post_letter(s->office, s->id, i);
}

static bool all_letters(void *ctx) { return ((struct office *)ctx)->total == SENDERS * MAILS; }

static void mails_of_a_sender_come_in_order(void)
{
    struct office o = {0};
    struct sender s[SENDERS];

    assert_int_equal(CALL(mailbox_create(rig.loop, on_letter, &o, &o.box)), 0);
    for (unsigned i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){&o, i};
        assert_int_equal(thread_start("sender", sender_main, &s[i], &o.thread[i]), 0);
    }
    wait_until(all_letters, &o);
    for (unsigned i = 0; i < SENDERS; i++)
        thread_join(&o.thread[i]);
    post_letter(&o, 0, MAILS);
    post_letter(&o, 0, MAILS + 1);
    mailbox_close(&o.box); /* hands over what was not delivered */
    assert_int_equal(o.total, SENDERS * MAILS + 2);
    assert_null(o.box);
}

/* A thread with a loop of its own, that answers letters until it is told to end. */
struct clerk {
    struct loop *loop;
    struct mailbox *in, *out; /* out: the test's */
    bool ready_to_post;
    unsigned answered;
};

static void on_task(void *ctx, struct mail *m)
{
    struct clerk *c = ctx;
    struct letter *l = container_of(m, struct letter, mail);

    if (l->number == 0) {
        mem_free(l);
        loop_stop(c->loop);
        return;
    }
    c->answered++;
    mailbox_post(c->out, &m);
}

static void clerk_main(void *ctx)
{
    struct clerk *c = ctx;

    loop_run(c->loop);
    mailbox_close(&c->in);
}

static void threads_talk_by_mail(void)
{
    struct office o = {0};
    struct clerk c = {0};
    struct thread *t;
    struct mail *m;

    assert_int_equal(mailbox_create(rig.loop, on_letter, &o, &o.box), 0);
    assert_int_equal(loop_create(&c.loop), 0);
    assert_int_equal(mailbox_create(c.loop, on_task, &c, &c.in), 0);
    c.out = o.box;
    o.got[0] = 1;
    assert_int_equal(thread_start("clerk with a long name", clerk_main, &c, &t), 0);
    m = &xnew(struct letter, .mail = {.kind = 7}, .number = 1)->mail;
    mailbox_post(c.in, &m);
    wait_until(is_nonzero, &o.total);
    m = &xnew(struct letter, .mail = {.kind = 7})->mail;
    mailbox_post(c.in, &m);
    thread_join(&t);
    assert_null(t);
    assert_int_equal(c.answered, 1);
    loop_destroy(&c.loop);
    mailbox_close(&o.box);
}

struct chore {
    bool worked, done;
};

static void do_work(void *ctx)
{
    struct chore *c = ctx;

    assert_false(c->worked);
    c->worked = true;
}

static void work_done(void *ctx)
{
    struct chore *c = ctx;

    assert_false(rig.in_call);
    assert_true(c->worked && !c->done);
    c->done = true;
}

static void work_is_done_elsewhere_and_told_here(void)
{
    struct chore c = {0};

    assert_int_equal(CALL(offload_start(rig.loop, do_work, work_done, &c)), 0);
    assert_false(c.done);
    wait_until(is_true, &c.done);
}

struct answer {
    struct resolve *r;
    unsigned answers, n;
    int err;
    struct addr first;
};

static void on_answer(void *ctx, int err, const struct addr *addrs, unsigned n)
{
    struct answer *a = ctx;

    assert_false(rig.in_call);
    assert_true(err ? n == 0 : n >= 1 && n <= RESOLVE_ADDRS_MAX);
    a->r = NULL;
    a->answers++;
    a->err = err;
    a->n = n;
    if (n)
        a->first = addrs[0];
}

static void names_become_addresses(void)
{
    char impossible[80];
    struct answer a = {0}, b = {0}, c = {0}, d = {0};

    memset(impossible, 'x', sizeof impossible); /* labels end at 63 bytes: no resolver is asked */
    impossible[sizeof impossible - 1] = '\0';
    assert_int_equal(CALL(resolve_start(rig.loop, "127.0.0.2", 81, on_answer, &a, &a.r)), 0);
    assert_int_equal(CALL(resolve_start(rig.loop, "localhost", 82, on_answer, &b, &b.r)), 0);
    assert_int_equal(CALL(resolve_start(rig.loop, impossible, 83, on_answer, &c, &c.r)), 0);
    assert_int_equal(CALL(resolve_start(rig.loop, "127.0.0.3", 84, on_answer, &d, &d.r)), 0);
    CALLV(resolve_cancel(&d.r));
    wait_until(is_nonzero, &a.answers);
    wait_until(is_nonzero, &b.answers);
    wait_until(is_nonzero, &c.answers);
    wait_ms(10);
    assert_int_equal(a.err + b.err, 0);
    assert_int_equal(a.first.port, 81);
    assert_int_equal(a.first.ip[3], 2);
    assert_int_equal(b.first.port, 82);
    assert_true(addr_is_loopback(&b.first));
    assert_int_equal(c.err, -E_NAME);
    assert_int_equal(d.answers, 0);
    assert_int_equal(a.answers + b.answers + c.answers, 3);
}

static unsigned signals;

static void on_signal(void *ctx, int signo)
{
    (void)ctx;
    assert_int_equal(signo, 10);
    signals++;
}

static void signals_are_events(void)
{
    struct signal_watch *w;

    signals = 0;
    assert_int_equal(CALL(signal_watch_start(rig.loop, 10, on_signal, NULL, &w)), 0); /* USR1 */
    send_signal(10);
    assert_int_equal(signals, 0);
    wait_until(is_nonzero, &signals);
    wait_ms(10);
    assert_int_equal(signals, 1);
    signal_watch_close(&w);
    send_signal(10); /* by default it would end us */
    wait_ms(5);
    assert_int_equal(signals, 1);
}

static void time_moves_on(void)
{
    uint64_t us = loop_now_us(rig.loop), wall = loop_wall_us(rig.loop);

    assert_true(us > 0);
    assert_true(loop_now_ms(rig.loop) >= us / 1000);
    wait_ms(5);
    assert_true(loop_now_us(rig.loop) >= us + 4000);
    assert_true(loop_fresh_us(rig.loop) >= loop_now_us(rig.loop));
    assert_true(wall > 1700000000000000 && loop_wall_us(rig.loop) > wall);
    assert_null(loop_user(rig.loop));
    loop_set_user(rig.loop, &rig);
    assert_ptr_equal(loop_user(rig.loop), &rig);
}

#define TESTS(X)                                                                                   \
    X(deadlines_fire_in_order_and_never_early)                                                     \
    X(a_deadline_may_arm_itself_again)                                                             \
    X(a_deadline_may_free_its_owner)                                                               \
    X(graves_are_filled_at_the_end_of_the_turn_in_order)                                           \
    X(mails_of_a_sender_come_in_order)                                                             \
    X(threads_talk_by_mail)                                                                        \
    X(work_is_done_elsewhere_and_told_here)                                                        \
    X(names_become_addresses)                                                                      \
    X(signals_are_events)                                                                          \
    X(time_moves_on)

TESTS(AS_TEST)

int main(void)
{
    const struct CMUnitTest tests[] = {TESTS(AS_ROW)};

    return cmocka_run_group_tests_name("ev: loops", tests, NULL, NULL);
}
