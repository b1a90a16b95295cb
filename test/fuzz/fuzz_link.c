/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_link.c - what a gateway in a stranger's hands can send its master. The input is a script:
 * messages made of bytes, of the wrong size, with descriptors, between steps of the master's own.
 * They go through a real socket pair into the master's end of the link on a real loop. Asserted:
 * the reader accepts exactly what its table of kinds allows and hands out nothing out of bounds;
 * what comes is told once and in order; the first bad message ends the link and nothing is told
 * after it; what the master sends meanwhile is well-formed; no descriptor is left.
 *
 * Covers: src/link/wire.c
 */
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "ev/mailbox.h"
#include "ev/packet.h"
#include "fuzz.h"
#include "link/master.h"
#include "link/wire_priv.h"

enum { STEPS_MAX = 48, TEXT_FROM = offsetof(struct wire, text) };

/* The input, byte by byte; zeros behind its end. */
struct script {
    struct str rest;
};

static unsigned take(struct script *s)
{
    unsigned c = s->rest.n ? (uint8_t)s->rest.p[0] : 0;

    s->rest = str_from(s->rest, 1);
    return c;
}

static unsigned take2(struct script *s)
{
    unsigned low = take(s);

    return low | take(s) << 8;
}

/* What was told, as a digest, and what should have been. */
struct rig {
    struct loop *loop;
    struct mailbox *bell;
    struct link_master *master;
    struct ev_fd raw;
    uint64_t told, want;
    bool closed, broken;            /* told */
    bool want_broken;               /* a bad message was sent */
    bool active, config_out, acked; /* a transfer; what was done about it */
    uint32_t generation;
};

static struct ev_fd nothing; /* /dev/null */

static uint64_t tell(uint64_t h, unsigned what, uint64_t a, uint64_t b, uint64_t c)
{
    return fuzz_mix(fuzz_mix(fuzz_mix(fuzz_mix(h, what), a), b), c);
}

static void m_ask(void *ctx, uint32_t ticket, enum link_verb verb, uint32_t unit)
{
    struct rig *r = ctx;

    CHECK(!r->closed && (unsigned)verb < LINK_VERBS);
    r->told = tell(r->told, 1, ticket, verb, unit);
    link_master_answer(r->master, ticket, -E_NOT_FOUND, STR("none"));
}

static void m_report(void *ctx, uint32_t unit, uint32_t generation, enum link_report report)
{
    struct rig *r = ctx;

    CHECK(!r->closed && (unsigned)report < LINK_REPORTS);
    r->told = tell(r->told, 2, unit, generation, report);
}

static void m_ack(void *ctx, uint32_t generation, struct str problem)
{
    struct rig *r = ctx;

    CHECK(!r->closed && problem.n <= LINK_TEXT_MAX);
    r->told = tell(r->told, 3, generation, fuzz_hash(problem), 0);
}

static void m_swapped(void *ctx, uint32_t generation)
{
    struct rig *r = ctx;

    CHECK(!r->closed);
    r->told = tell(r->told, 4, generation, 0, 0);
}

static void m_accepting(void *ctx)
{
    struct rig *r = ctx;

    CHECK(!r->closed);
    r->told = tell(r->told, 5, 0, 0, 0);
}

static void m_drained(void *ctx)
{
    struct rig *r = ctx;

    CHECK(!r->closed);
    r->told = tell(r->told, 6, 0, 0, 0);
}

static void m_closed(void *ctx, bool broken)
{
    struct rig *r = ctx;

    CHECK(!r->closed);
    r->closed = true;
    r->broken = broken;
}

static const struct link_master_ops ops = {m_ask,       m_report,  m_ack,   m_swapped,
                                           m_accepting, m_drained, m_closed};

/* The second reader: what each kind may hold. */

static bool ends(const char *text, size_t room_bytes)
{
    for (size_t i = 0; i < room_bytes; i++)
        if (text[i] == '\0')
            return true;
    return false;
}

static bool from_gateway_ok(const struct wire *w)
{
    switch (w->kind) {
    case WIRE_ASK:
        return w->code >= 0 && w->code < LINK_VERBS;
    case WIRE_REPORT:
        return w->code >= 0 && w->code < LINK_REPORTS;
    case WIRE_ACK:
        return (w->code == 0 || w->code == 1) && ends(w->text, sizeof w->text);
    default:
        return w->kind == WIRE_SWAPPED || w->kind == WIRE_ACCEPTING || w->kind == WIRE_DRAINED;
    }
}

static bool from_master_ok(const struct wire *w, unsigned fds)
{
    switch (w->kind) {
    case WIRE_CONFIG:
        return fds == 1;
    case WIRE_LISTENER:
        return fds <= 1 && (unsigned)w->listener.kind < LINK_LISTENER_KINDS &&
               ends(w->listener.address, sizeof w->listener.address);
    case WIRE_UNIT:
        return fds <= 1 && (unsigned)w->unit.state < UNIT_STATES_N && w->unit.pid >= 0 &&
               w->unit.name[0] && ends(w->unit.name, sizeof w->unit.name) &&
               ends(w->unit.socket, sizeof w->unit.socket) &&
               ends(w->unit.last_exit, sizeof w->unit.last_exit);
    case WIRE_ANSWER:
        return fds == 0 && w->code <= 0 && ends(w->text, sizeof w->text);
    default:
        return fds == 0 &&
               (w->kind == WIRE_COMMIT || w->kind == WIRE_ABANDON || w->kind == WIRE_UNIT_GONE ||
                w->kind == WIRE_COUNTS || w->kind == WIRE_DRAIN || w->kind == WIRE_CUT);
    }
}

static bool message_ok(const struct wire *w, size_t n, unsigned fds, bool from_master)
{
    if (n != sizeof *w || w->version != WIRE_VERSION || w->reserved != 0)
        return false;
    return from_master ? from_master_ok(w, fds) : fds == 0 && from_gateway_ok(w);
}

/* The master's next message to this gateway, if there is one; checked. */
static bool hear(struct rig *r)
{
    struct wire w, again;
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {&w, sizeof w};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t n = recvmsg(r->raw.fd, &m, MSG_DONTWAIT);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    unsigned fds = 0;
    int fd;

    if (n <= 0)
        return false;
    CHECK(!(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)));
    if (c) {
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
        close(fd);
        fds = 1;
    }
    CHECK(message_ok(&w, (size_t)n, fds, true));
    CHECK(wire_read(&w, (size_t)n, fds, true, &again) == 0);
    return true;
}

/* The loop. */

static void on_bell(void *ctx, struct mail *m)
{
    loop_stop(ctx);
    mem_free(m);
}

/* One turn at least, in which the master reads what it can. */
static void turn(struct rig *r)
{
    struct mail *m = xnew(struct mail);

    mailbox_post(r->bell, &m);
    loop_run(r->loop);
    if (r->closed && r->master)
        link_master_close(&r->master);
}

/* Turns until the master has read all that was sent: one turn reads some of it. */
static void settle(struct rig *r)
{
    int unread = 0;

    do {
        turn(r);
        CHECK(ioctl(r->raw.fd, SIOCOUTQ, &unread) == 0);
    } while (r->master && unread > 0);
}

/* Steps. */

static void expect(struct rig *r, const struct wire *w)
{
    struct str text = str_of(w->text);

    if (w->kind == WIRE_ASK) {
        r->want = tell(r->want, 1, w->ticket, (uint64_t)w->code, w->unit.id);
    } else if (w->kind == WIRE_REPORT) {
        r->want = tell(r->want, 2, w->unit.id, w->unit.generation, (uint64_t)w->code);
    } else if (w->kind == WIRE_ACK) {
        if (!r->active || w->generation != r->generation || r->acked)
            return;
        r->acked = true;
        if (w->code && !text.n)
            text = STR("refused without a reason");
        r->want = tell(r->want, 3, w->generation, fuzz_hash(w->code ? text : STR_NONE), 0);
    } else if (w->kind == WIRE_SWAPPED) {
        r->want = tell(r->want, 4, w->generation, 0, 0);
    } else {
        r->want = tell(r->want, w->kind == WIRE_ACCEPTING ? 5 : 6, 0, 0, 0);
    }
}

/* What a script's number stands for, whatever the enum counts. */
static uint32_t kind_of(unsigned c)
{
    static const enum wire_kind said[] = {WIRE_ASK,       WIRE_REPORT,  WIRE_ACK,    WIRE_SWAPPED,
                                          WIRE_ACCEPTING, WIRE_DRAINED, WIRE_CONFIG, WIRE_LISTENER,
                                          WIRE_COMMIT,    WIRE_ABANDON, WIRE_UNIT,   WIRE_UNIT_GONE,
                                          WIRE_ANSWER,    WIRE_DRAIN,   WIRE_CUT,    WIRE_COUNTS};

    return c < 200 ? said[c % ARRAY_LEN(said)] : c - 200;
}

/* A message that begins as a good one, with bytes of it written over. */
static size_t compose(struct script *s, struct wire *w, unsigned *fds)
{
    unsigned shape = take(s);
    size_t n = sizeof *w;

    *w = wire_make(kind_of(take(s)));
    w->code = (int8_t)take(s);
    w->generation = take(s);
    w->ticket = take(s);
    if (w->kind == WIRE_ACK) {
        memset(w->text, 'x', take(s) % 8);
    } else {
        w->unit.id = take(s);
        w->unit.generation = take(s);
    }
    for (unsigned patches = shape & 3; patches > 0; patches--) {
        size_t at = take2(s) % sizeof *w, bytes = take(s);

        bytes = min_size(bytes, sizeof *w - at);
        memset((char *)w + at, (int)take(s), bytes);
    }
    if ((shape & 0x1c) == 0x1c)
        n = 1 + take2(s) % (2 * sizeof *w);
    *fds = (shape & 0xe0) == 0xe0 ? 1 + take(s) % 6 : 0;
    return n;
}

static void send_raw(struct rig *r, struct script *s)
{
    static char bytes[2 * sizeof(struct wire)];
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(6 * sizeof(int))];
    } control = {.room = {0}};
    struct iovec iov = {bytes, 0};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    struct wire w, again;
    unsigned fds;
    bool ok;

    iov.iov_len = compose(s, &w, &fds);
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &w, sizeof w);
    ok = message_ok(&w, iov.iov_len, fds, false);
    CHECK((wire_read(bytes, iov.iov_len, fds, false, &again) == 0) == ok);
    CHECK(!ok || memcmp(&again, &w, sizeof w) == 0);
    CHECK((wire_read(bytes, iov.iov_len, fds, true, &again) == 0) ==
          message_ok(&w, iov.iov_len, fds, true));
    if (fds > 0) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(fds * sizeof(int));
        control.align = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(fds * sizeof(int)), .cmsg_level = SOL_SOCKET, SCM_RIGHTS};
        for (unsigned i = 0; i < fds; i++)
            memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &nothing.fd, sizeof(int));
    }
    if (sendmsg(r->raw.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
    if (!r->want_broken && ok)
        expect(r, &w);
    r->want_broken |= !ok;
}

static void own_step(struct rig *r, struct script *s)
{
    unsigned what = take(s) % 8;
    struct link_unit u = {.id = take(s) % 8, .state = take(s) % UNIT_STATES_N, .name = "unit"};
    struct link_listener l = {.id = take(s) % 4, .address = "127.0.0.1:1"};

    if (!r->master)
        return;
    if (what == 0 && !r->active) {
        settle(r); /* what is under way belongs to the one before */
        if (!r->master)
            return;
        r->active = true;
        r->acked = false;
        r->generation = take(s);
        CHECK(link_master_config(r->master, r->generation, &nothing, &l, &nothing, 1) == 0);
    } else if (what <= 1 && r->active) {
        settle(r);
        if (!r->master)
            return;
        if (take(s) & 1)
            link_master_commit(r->master);
        else
            link_master_abandon(r->master);
        while (hear(r)) /* so that it is out */
            ;
        r->active = false;
    } else if (what == 2) {
        link_master_unit(r->master, &u, take(s) & 1 ? &nothing : NULL);
    } else if (what == 3) {
        link_master_unit_gone(r->master, u.id);
    } else if (what == 4) {
        link_master_drain(r->master);
    } else if (what == 5) {
        link_master_cut(r->master);
    } else if (what == 6) {
        link_master_counts(r->master, &(struct link_counts){.reloads = u.id});
        while (hear(r))
            ;
    } else {
        turn(r);
    }
}

static void run(struct rig *r, struct script *s)
{
    struct ev_fd end;

    CHECK(packet_pair(&end, &r->raw) == 0);
    CHECK(link_master_open(r->loop, &end, &ops, r, &r->master) == 0);
    for (unsigned i = 0; i < STEPS_MAX && s->rest.n > 0; i++) {
        if (take(s) & 3)
            send_raw(r, s);
        else
            own_step(r, s);
    }
    settle(r);
    CHECK(r->told == r->want);
    CHECK(r->closed == r->want_broken && r->broken == r->want_broken);
    link_master_close(&r->master);
    ev_fd_close(&r->raw);
    loop_settle(r->loop);
}

static int lowest_free_fd(void)
{
    int fd = dup(nothing.fd);

    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct loop *loop;
    static struct mailbox *bell;
    struct script s = {str_span((const char *)data, size)};
    struct rig r = {.raw = EV_FD_NONE};
    int fd_before;

    if (!loop) {
        CHECK(loop_create(&loop) == 0 && mailbox_create(loop, on_bell, loop, &bell) == 0);
        nothing.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    fd_before = lowest_free_fd();
    r.loop = loop;
    r.bell = bell;
    run(&r, &s);
    CHECK(lowest_free_fd() == fd_before);
    return 0;
}
