/* SPDX-License-Identifier: Apache-2.0
 *
 * link_test.c - both ends of the link in one process, on one loop: the order of a configuration,
 * what happens to a table whose reader stalls, what a hostile gateway can do, and the output ring.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

#include "ev/deadline.h"
#include "ev/memfd.h"
#include "ev/packet.h"
#include "link/gateway.h"
#include "link/master.h"
#include "link/ring.h"
#include "link/wire_priv.h"

enum { STEPS_MAX = 4096, PATIENCE_MS = 20000 };

/* What happened, as short words, in order. */
struct rig {
    struct loop *loop;
    struct link_master *master;
    struct link_gateway *gateway;
    struct ev_fd raw; /* instead of a gateway: its bare end */
    char story[STEPS_MAX];
    size_t n;
    const char *until; /* the loop stops when the story ends in this */
    struct deadline patience;
    unsigned fds, units;
    struct link_unit last_unit;
    bool auto_ack;
};

static void tell(struct rig *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void tell(struct rig *r, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(r->story + r->n, sizeof r->story - r->n, fmt, ap);
    va_end(ap);
    assert_true(n > 0 && r->n + (size_t)n + 2 < sizeof r->story);
    r->n += (size_t)n;
    r->story[r->n++] = ' ';
    r->story[r->n] = '\0';
    if (r->until && str_ends(str_span(r->story, r->n - 1), str_of(r->until)))
        loop_stop(r->loop);
}

static void on_impatience(struct deadline *d)
{
    struct rig *r = container_of(d, struct rig, patience);

    fail_msg("waited for \"%s\", got: %s", r->until, r->story);
}

/* Runs until the story ends in `until`, and starts a new one. */
static void run_until(struct rig *r, const char *until)
{
    r->until = until;
    deadline_arm(r->loop, &r->patience, PATIENCE_MS, on_impatience);
    loop_run(r->loop);
    deadline_stop(&r->patience);
    r->until = NULL;
}

static void expect(struct rig *r, const char *story)
{
    assert_string_equal(r->story, story);
    r->n = 0;
    r->story[0] = '\0';
}

static void g_config(void *ctx, uint32_t generation, struct str bundle)
{
    struct rig *r = ctx;

    tell(r, "config:%u:%.*s", generation, STR_ARGS(bundle));
    if (r->auto_ack)
        link_gateway_ack(r->gateway, generation, NULL);
}

static void g_listener(void *ctx, uint32_t generation, const struct link_listener *l,
                       struct ev_fd *fd)
{
    tell(ctx, "listener:%u:%u:%s", generation, l->id, fd->fd >= 0 ? "fd" : "known");
}

static void g_commit(void *ctx, uint32_t generation)
{
    struct rig *r = ctx;

    tell(r, "commit:%u", generation);
    link_gateway_swapped(r->gateway, generation);
}

static void g_abandon(void *ctx, uint32_t generation) { tell(ctx, "abandon:%u", generation); }

static void g_unit(void *ctx, const struct link_unit *u, struct ev_fd *ring)
{
    struct rig *r = ctx;

    r->units++;
    r->fds += ring->fd >= 0;
    r->last_unit = *u;
    tell(r, "unit:%u:%s%s", u->id, link_state_word(u->state), ring->fd >= 0 ? ":ring" : "");
}

static void g_gone(void *ctx, uint32_t id) { tell(ctx, "gone:%u", id); }

static void g_answer(void *ctx, uint32_t ticket, int err, struct str text)
{
    tell(ctx, "answer:%u:%d:%.*s", ticket, err, STR_ARGS(text));
}

static void g_drain(void *ctx) { tell(ctx, "drain"); }

static void g_cut(void *ctx) { tell(ctx, "cut"); }

static void g_counts(void *ctx, const struct link_counts *c)
{
    tell(ctx, "counts:%llu:%llu:%llu", (unsigned long long)c->reloads,
         (unsigned long long)c->reloads_refused, (unsigned long long)c->gateways);
}

static void g_closed(void *ctx) { tell(ctx, "gateway-closed"); }

static const struct link_gateway_ops gateway_ops = {g_config, g_listener, g_commit, g_abandon,
                                                    g_unit,   g_gone,     g_answer, g_drain,
                                                    g_cut,    g_counts,   g_closed};

static void m_ask(void *ctx, uint32_t ticket, enum link_verb verb, uint32_t unit)
{
    struct rig *r = ctx;

    tell(r, "ask:%u:%d:%u", ticket, (int)verb, unit);
    link_master_answer(r->master, ticket, verb == LINK_STOP ? -E_NOT_FOUND : 0, STR("said"));
}

static void m_report(void *ctx, uint32_t unit, uint32_t generation, enum link_report report)
{
    tell(ctx, "report:%u:%u:%d", unit, generation, (int)report);
}

static void m_ack(void *ctx, uint32_t generation, struct str problem)
{
    tell(ctx, "ack:%u:%.*s", generation, STR_ARGS(problem));
}

static void m_swapped(void *ctx, uint32_t generation) { tell(ctx, "swapped:%u", generation); }

static void m_accepting(void *ctx) { tell(ctx, "accepting"); }

static void m_drained(void *ctx) { tell(ctx, "drained"); }

static void m_closed(void *ctx, bool broken)
{
    tell(ctx, broken ? "master-broken" : "master-closed");
}

static const struct link_master_ops master_ops = {m_ask,       m_report,  m_ack,   m_swapped,
                                                  m_accepting, m_drained, m_closed};

static void rig_start(struct rig *r, bool with_gateway)
{
    struct ev_fd a, b;

    *r = (struct rig){.raw = EV_FD_NONE, .auto_ack = true};
    assert_int_equal(loop_create(&r->loop), 0);
    assert_int_equal(packet_pair(&a, &b), 0);
    assert_int_equal(link_master_open(r->loop, &a, &master_ops, r, &r->master), 0);
    if (with_gateway)
        assert_int_equal(link_gateway_open(r->loop, &b, &gateway_ops, r, &r->gateway), 0);
    else
        r->raw = b;
}

static void rig_end(struct rig *r)
{
    link_master_close(&r->master);
    link_gateway_close(&r->gateway);
    ev_fd_close(&r->raw);
    loop_destroy(&r->loop);
}

static struct ev_fd bundle_of(const char *text)
{
    struct ev_fd fd;

    assert_int_equal(memfd_freeze("test", str_of(text), &fd), 0);
    return fd;
}

static struct link_listener listener_of(uint32_t id)
{
    return (struct link_listener){.id = id, .kind = LINK_LISTENER_DATA, .address = "127.0.0.1:1"};
}

static void configure(struct rig *r, uint32_t generation, const char *text, unsigned n,
                      const uint32_t *ids)
{
    struct ev_fd bundle = bundle_of(text), sockets[4];
    struct link_listener ls[4];

    for (unsigned i = 0; i < n; i++) {
        ls[i] = listener_of(ids[i]);
        sockets[i].fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    assert_int_equal(link_master_config(r->master, generation, &bundle, ls, sockets, n), 0);
    ev_fd_close(&bundle);
    for (unsigned i = 0; i < n; i++)
        ev_fd_close(&sockets[i]);
}

static struct link_unit unit_of(uint32_t id, enum unit_state state)
{
    struct link_unit u = {.id = id, .state = state, .generation = 1};

    snprintf(u.name, sizeof u.name, "unit%u", id);
    return u;
}

static void hands_over_in_order(void **state)
{
    struct rig r;
    const uint32_t both[] = {7, 8}, other[] = {8, 9};
    struct link_unit u = unit_of(1, UNIT_STARTING);
    struct ring *ring;
    struct ev_fd fd;

    (void)state;
    rig_start(&r, true);
    assert_int_equal(ring_create(&ring), 0);
    assert_int_equal(ring_share(ring, &fd), 0);
    link_master_unit(r.master, &u, &fd); /* early: it waits for the first commit */
    configure(&r, 1, "one", 2, both);
    run_until(&r, "ack:1:");
    expect(&r, "config:1:one listener:1:7:fd listener:1:8:fd ack:1: ");
    link_master_commit(r.master);
    run_until(&r, "swapped:1");
    expect(&r, "commit:1 unit:1:starting:ring swapped:1 ");
    u.state = UNIT_LOADING;
    link_master_unit(r.master, &u, &fd);
    run_until(&r, "unit:1:loading");
    expect(&r, "unit:1:loading ");
    configure(&r, 2, "two", 2, other);
    run_until(&r, "ack:2:");
    expect(&r, "config:2:two listener:2:8:known listener:2:9:fd ack:2: ");
    link_master_abandon(r.master);
    run_until(&r, "abandon:2");
    expect(&r, "abandon:2 ");
    configure(&r, 3, "three", 2, other);
    run_until(&r, "ack:3:");
    expect(&r, "config:3:three listener:3:8:known listener:3:9:fd ack:3: ");
    link_master_commit(r.master);
    link_master_unit_gone(r.master, 1);
    run_until(&r, "swapped:3");
    expect(&r, "commit:3 gone:1 swapped:3 ");
    ev_fd_close(&fd);
    ring_close(&ring);
    rig_end(&r);
}

static void carries_a_refusal(void **state)
{
    struct rig r;
    char long_text[3000];

    (void)state;
    rig_start(&r, true);
    r.auto_ack = false;
    configure(&r, 1, "", 0, NULL);
    run_until(&r, "config:1:");
    expect(&r, "config:1: ");
    link_gateway_ack(r.gateway, 9, "about another one: ignored");
    link_gateway_ack(r.gateway, 1, "line 3: no");
    run_until(&r, "line 3: no");
    expect(&r, "ack:1:line 3: no ");
    link_gateway_ack(r.gateway, 1, NULL); /* changed its mind: too late */
    link_master_abandon(r.master);
    run_until(&r, "abandon:1");
    expect(&r, "abandon:1 ");
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    long_text[LINK_TEXT_MAX - 1] = '\xc3'; /* a character across the end is left out whole */
    long_text[LINK_TEXT_MAX] = '\xa4';
    configure(&r, 2, "", 0, NULL);
    run_until(&r, "config:2:");
    expect(&r, "config:2: ");
    link_gateway_ack(r.gateway, 2, long_text);
    run_until(&r, "x");
    assert_int_equal(r.n, strlen("ack:2:") + LINK_TEXT_MAX - 1 + 1);
    rig_end(&r);
}

static void asks_and_answers(void **state)
{
    struct rig r;
    uint32_t ticket;

    (void)state;
    rig_start(&r, true);
    assert_int_equal(link_gateway_ask(r.gateway, LINK_RESTART, 5, &ticket), 0);
    run_until(&r, "answer:1:0:said");
    expect(&r, "ask:1:3:5 answer:1:0:said ");
    assert_int_equal(link_gateway_ask(r.gateway, LINK_STOP, 6, &ticket), 0);
    run_until(&r, "said");
    expect(&r, "ask:2:1:6 answer:2:-10:said ");
    for (unsigned i = 0; i < LINK_ASKS_MAX; i++)
        assert_int_equal(link_gateway_ask(r.gateway, LINK_RELOAD, 0, &ticket), 0);
    assert_int_equal(link_gateway_ask(r.gateway, LINK_RELOAD, 0, &ticket), -E_LIMIT);
    run_until(&r, "answer:18:0:said");
    r.n = 0;
    assert_int_equal(link_gateway_ask(r.gateway, LINK_RELOAD, 0, &ticket), 0);
    link_gateway_accepting(r.gateway);
    link_gateway_report(r.gateway, 3, 2, LINK_REPORT_SILENT);
    link_gateway_drained(r.gateway);
    run_until(&r, "answer:19:0:said");
    expect(&r, "ask:19:4:0 accepting report:3:2:1 drained answer:19:0:said ");
    link_master_drain(r.master);
    link_master_cut(r.master);
    run_until(&r, "cut");
    expect(&r, "drain cut ");
    link_master_counts(r.master, &(struct link_counts){1, 2, 3});
    link_master_counts(r.master, &(struct link_counts){4, 5, 6});
    run_until(&r, "counts:4:5:6");
    expect(&r, "counts:1:2:3 counts:4:5:6 ");
    rig_end(&r);
}

static void tells_the_end(void **state)
{
    struct rig r;

    (void)state;
    rig_start(&r, true);
    link_gateway_close(&r.gateway);
    run_until(&r, "master-closed");
    rig_end(&r);
    rig_start(&r, true);
    link_master_close(&r.master);
    run_until(&r, "gateway-closed");
    rig_end(&r);
}

/* A gateway that does not read for a while gets the latest state of each unit, once, and the master
 * keeps no more than that. */
static void stalled_reader_gets_the_latest(void **state)
{
    struct rig r;
    struct link_unit u;

    (void)state;
    rig_start(&r, false);
    configure(&r, 1, "x", 0, NULL);
    link_master_commit(r.master);
    for (unsigned round = 0; round < 1000; round++)
        for (uint32_t id = 1; id <= 8; id++) {
            u = unit_of(id, round % 2 ? UNIT_READY : UNIT_LOADING);
            u.restarts = round;
            link_master_unit(r.master, &u, NULL);
        }
    link_master_unit_gone(r.master, 8);
    link_master_drain(r.master);
    assert_int_equal(link_gateway_open(r.loop, &r.raw, &gateway_ops, &r, &r.gateway), 0);
    run_until(&r, "gone:8");
    assert_true(r.units < 1000); /* what the socket held, and the last of each */
    assert_non_null(strstr(r.story, "drain"));
    for (uint32_t id = 1; id <= 7; id++) {
        char want[32], *last = NULL, *at = r.story;

        snprintf(want, sizeof want, "unit:%u:", id);
        while ((at = strstr(at, want)))
            last = at++;
        assert_non_null(last);
        assert_memory_equal(last + strlen(want), "ready", 5);
    }
    rig_end(&r);
}

static void raw_send(struct rig *r, const void *p, size_t n)
{
    assert_int_equal(send(r->raw.fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void distrusts_the_gateway(void **state)
{
    struct wire w = wire_make(WIRE_ASK), bad[12];
    unsigned n = 0;
    struct rig r;

    (void)state;
    bad[n] = w, bad[n++].version++;
    bad[n] = w, bad[n++].kind = WIRE_KINDS_N;
    bad[n] = w, bad[n++].kind = WIRE_DRAIN; /* the other direction's */
    bad[n] = w, bad[n++].code = LINK_VERBS;
    bad[n] = w, bad[n++].code = -1;
    bad[n] = w, bad[n++].reserved = 1;
    bad[n] = wire_make(WIRE_REPORT), bad[n++].code = LINK_REPORTS;
    bad[n] = wire_make(WIRE_ACK), memset(bad[n++].text, 'x', sizeof w.text);
    bad[n] = wire_make(WIRE_ACK), bad[n++].code = 2;
    for (unsigned i = 0; i < n; i++) {
        rig_start(&r, false);
        raw_send(&r, &bad[i], sizeof bad[i]);
        run_until(&r, "master-broken");
        expect(&r, "master-broken ");
        rig_end(&r);
    }
    for (size_t cut = 1; cut < sizeof w; cut = cut * 2 + 1) { /* shorter than a message */
        rig_start(&r, false);
        raw_send(&r, &w, cut);
        run_until(&r, "master-broken");
        rig_end(&r);
    }
    rig_start(&r, false); /* longer than any packet */
    raw_send(&r, (char[PACKET_BYTES_MAX + 1]){0}, PACKET_BYTES_MAX + 1);
    run_until(&r, "master-broken");
    rig_end(&r);
}

static void flood_end(struct deadline *d)
{
    loop_stop(container_of(d, struct rig, patience)->loop);
}

/* A quarter of a second or more of a gateway that sends as fast as it can: a window's worth is read
 * in each 100 ms of it. */
static void paces_a_flood(void **state)
{
    struct wire w = wire_make(WIRE_REPORT);
    struct rig r;
    unsigned read = 0;
    uint64_t began_ms;

    (void)state;
    rig_start(&r, false);
    began_ms = loop_now_ms(r.loop);
    assert_int_equal(fcntl(r.raw.fd, F_SETFL, O_NONBLOCK), 0);
    while (loop_now_ms(r.loop) < began_ms + 250) {
        while (send(r.raw.fd, &w, sizeof w, MSG_NOSIGNAL) > 0)
            ;
        deadline_arm(r.loop, &r.patience, 1, flood_end);
        loop_run(r.loop);
        for (const char *at = r.story; (at = strstr(at, "report")); at++)
            read++;
        r.n = 0;
        r.story[0] = '\0';
    }
    assert_in_range(read, 256, 256 * ((loop_now_ms(r.loop) - began_ms) / 100 + 2));
    rig_end(&r);
}

static void ring_keeps_the_newest(void **state)
{
    struct ring *w, *r;
    struct ev_fd fd;
    char line[64], got[4096];
    uint64_t at = 0;
    size_t n;

    (void)state;
    assert_int_equal(ring_create(&w), 0);
    assert_int_equal(ring_share(w, &fd), 0);
    assert_int_equal(ring_open(&fd, &r), 0);
    assert_int_equal(ring_read(r, &at, got, sizeof got), 0);
    ring_write(w, str_span("a\0b\n", 4));
    assert_int_equal(ring_read(r, &at, got, 3), 3);
    assert_memory_equal(got, "a\0b", 3);
    assert_int_equal(ring_read(r, &at, got, sizeof got), 1);
    for (unsigned i = 0; i < 40000; i++) {
        n = (size_t)snprintf(line, sizeof line, "line %u\n", i);
        ring_write(w, str_span(line, n));
    }
    assert_int_equal(ring_newest(r) - ring_oldest(r), RING_BYTES);
    at = ring_newest(r) - n;
    assert_int_equal(ring_read(r, &at, got, sizeof got), n);
    assert_memory_equal(got, line, n);
    at = 0; /* long overwritten: the oldest that is held */
    assert_int_equal(ring_read(r, &at, got, sizeof got), sizeof got);
    assert_int_equal(at, ring_newest(r) - RING_BYTES + sizeof got);
    at = UINT64_MAX; /* a position from nowhere */
    assert_int_equal(ring_read(r, &at, got, 1), 1);
    ring_close(&r);
    ring_close(&w);
}

static void ring_is_sealed(void **state)
{
    struct ring *w, *r;
    struct ev_fd fd;

    (void)state;
    assert_int_equal(ring_create(&w), 0);
    assert_int_equal(ring_share(w, &fd), 0);
    assert_int_equal(ftruncate(fd.fd, 10), -1);
    assert_int_equal(write(fd.fd, "x", 1), -1);
    ev_fd_close(&fd);
    fd = bundle_of("not a ring");
    assert_int_equal(ring_open(&fd, &r), -E_INVAL);
    ev_fd_close(&fd);
    ring_close(&w);
}

struct race {
    struct ring *ring;
    _Atomic bool over;
};

static void *write_numbers(void *arg)
{
    struct race *race = arg;
    char block[1024];

    for (unsigned i = 0; i < 20000; i++) {
        memset(block, 'a' + (int)(i % 26), sizeof block);
        ring_write(race->ring, str_span(block, sizeof block));
    }
    atomic_store(&race->over, true);
    return NULL;
}

/* Blocks of equal bytes, aligned: what a reader gets is never a mixture of two. */
static void ring_reader_never_sees_half(void **state)
{
    struct race race = {0};
    static char got[RING_BYTES];
    pthread_t writer;
    uint64_t at = 0, seen = 0;

    (void)state;
    assert_int_equal(ring_create(&race.ring), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_numbers, &race), 0);
    while (!atomic_load(&race.over) || at < ring_newest(race.ring)) {
        size_t n = ring_read(race.ring, &at, got, sizeof got);
        uint64_t from = at - n;

        seen += n;
        for (size_t i = 0; i < n; i++) {
            uint64_t block = (from + i) / 1024;

            if (got[i] != 'a' + (int)(block % 26))
                fail_msg("byte %llu is '%c'", (unsigned long long)(from + i), got[i]);
        }
    }
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_true(seen > 0);
    ring_close(&race.ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_over_in_order),
        cmocka_unit_test(carries_a_refusal),
        cmocka_unit_test(asks_and_answers),
        cmocka_unit_test(tells_the_end),
        cmocka_unit_test(stalled_reader_gets_the_latest),
        cmocka_unit_test(distrusts_the_gateway),
        cmocka_unit_test(paces_a_flood),
        cmocka_unit_test(ring_keeps_the_newest),
        cmocka_unit_test(ring_is_sealed),
        cmocka_unit_test(ring_reader_never_sees_half),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
