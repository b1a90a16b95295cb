/* SPDX-License-Identifier: Apache-2.0
 *
 * peer.c - scripted peers; see peer.h. A turn of a peer reads what may be read and then does steps
 * until one has to wait. `attempt` says that the current step should be looked at again.
 */
#include "sim/peer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "sim/sim.h"
#include "sim/wire.h"
#include "sim/world.h"

enum {
    PEERS_MAX = 4096,
    ENGINES_MAX = 400,
    IN_MAX = 64 << 20,
    READ_BYTES = 65536,
    FOREVER = 1 << 30,
};

enum framing { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE };

struct peer {
    struct actor actor;
    const char *name;
    unsigned number; /* among an engine's connections */
    bool client;
    struct engine *engine; /* whose connection it is; NULL: a client */
    const struct step *script, *step;
    struct sock *sock;
    bool connected, over, deaf, attempt;
    bool ended, was_reset; /* what reading met */
    uint64_t mark_us;
    uint64_t wake_us;     /* of a step that waits for time */
    size_t sent;          /* of the current step */
    uint64_t sip, sip_us; /* bytes at once, 0: all; how often */
    uint64_t next_sip_us;
    const struct step *loop; /* the step behind REPEAT */
    uint64_t loop_left;
    bool loop_endless;
    struct buf in;         /* unread bytes */
    struct buf head, body; /* of the last message */
    enum framing framing;
    uint64_t body_left; /* of BODY_LENGTH, or of the current chunk */
    bool body_over;
    int chunk_state; /* 0: size line, 1: data, 2: CRLF behind data, 3: trailers */
    struct buf out;  /* a reply that is being sent */
};

struct engine {
    struct actor actor;
    const char *name;
    struct sock *sock;
    const struct step *script[8];
    unsigned n, accepted;
};

static struct peer *peers[PEERS_MAX];
static unsigned peers_n;
static struct engine *engines[ENGINES_MAX];
static unsigned engines_n;

char peer_fill(uint64_t i) { return (char)('!' + (i * 31 + i / 93) % 90); }

bool peer_over(const struct peer *p) { return p->over; }

const char *peer_name(const struct peer *p) { return p->name; }

NORETURN static void fail(const struct peer *p, const char *why)
{
    struct str in = str_head(buf_str(&p->in), 300), body = str_head(buf_str(&p->body), 300);

    sim_fail("script", p->step->line,
             "%s/%u: %s\n  connection: %s%s\n  head: %.*s\n  body so far (%zu): %.*s\n"
             "  unread (%zu): %.*s",
             p->name, p->number, why, p->ended ? "ended" : "open", p->was_reset ? " by RST" : "",
             STR_ARGS(buf_str(&p->head)), p->body.n, STR_ARGS(body), p->in.n, STR_ARGS(in));
}

/* ---- reading ---- */

static bool may_read(const struct peer *p)
{
    return p->connected && p->sock && !p->deaf && !p->ended && wire_readable(p->sock) &&
           (p->sip == 0 || world_now_us() >= p->next_sip_us);
}

static void read_some(struct peer *p)
{
    static char bytes[READ_BYTES];
    size_t max = p->sip ? min_size(p->sip, sizeof bytes) : sizeof bytes;
    long n = wire_recv_all(p->sock, bytes, max);

    p->attempt = true;
    if (p->sip)
        p->next_sip_us = world_now_us() + p->sip_us;
    if (n > 0) {
        world_note("%s/%u reads %ld: %.*s", p->name, p->number, n, n > 60 ? 60 : (int)n, bytes);
        buf_bytes(&p->in, bytes, (size_t)n);
        CHECK(!p->in.full);
    } else if (n != -E_AGAIN) {
        p->ended = true;
        p->was_reset = n < 0;
        world_note("%s/%u sees the %s", p->name, p->number, n < 0 ? "reset" : "end");
    }
}

static void drop_in(struct peer *p, size_t n)
{
    memmove(p->in.p, p->in.p + n, p->in.n - n);
    p->in.n -= n;
}

static struct str head_field(const struct peer *p, struct str name)
{
    struct str rest = buf_str(&p->head);

    (void)str_cut(&rest, '\n');
    while (rest.n > 0) {
        struct str value = str_cut(&rest, '\n'), key = str_cut(&value, ':');

        if (value.n > 0 && value.p[value.n - 1] == '\r')
            value.n--;
        if (str_caseeq(key, name))
            return str_trim(value);
    }
    return STR_NONE;
}

static void begin_body(struct peer *p, bool response, bool no_body)
{
    struct str length = head_field(p, STR("content-length"));
    struct str coding = head_field(p, STR("transfer-encoding"));

    p->body_left = 0;
    p->chunk_state = 0;
    p->framing = response ? BODY_UNTIL_CLOSE : BODY_NONE;
    if (length.p && coding.p)
        fail(p, "both content-length and transfer-encoding");
    if (length.p) {
        p->framing = BODY_LENGTH;
        if (!str_u64(length, &p->body_left))
            fail(p, "a bad content-length");
    } else if (coding.p) {
        p->framing = BODY_CHUNKED;
    }
    if (no_body)
        p->framing = BODY_NONE;
    p->body_over = p->framing == BODY_NONE || (p->framing == BODY_LENGTH && p->body_left == 0);
}

/* A whole head at the front of `in` becomes p->head. */
static bool take_head(struct peer *p)
{
    size_t n = str_find_str(buf_str(&p->in), STR("\r\n\r\n"));

    if (n == p->in.n)
        return false;
    buf_clear(&p->head);
    buf_clear(&p->body);
    buf_bytes(&p->head, p->in.p, n + 2);
    drop_in(p, n + 4);
    return true;
}

static bool take_line(struct peer *p, struct str *ret)
{
    static char line[256];
    size_t n = str_find_str(buf_str(&p->in), STR("\r\n"));

    if (n == p->in.n)
        return false;
    if (n >= sizeof line)
        fail(p, "a chunk line that long");
    memcpy(line, p->in.p, n);
    *ret = str_span(line, n);
    drop_in(p, n + 2);
    return true;
}

static void take_body_bytes(struct peer *p)
{
    size_t n = (size_t)min_u64(p->in.n, p->body_left);

    buf_bytes(&p->body, p->in.p, n);
    drop_in(p, n);
    p->body_left -= n;
}

/* One step of a chunked body; false: more bytes are needed. */
static bool take_chunked(struct peer *p)
{
    struct str line;

    switch (p->chunk_state) {
    case 0:
        if (!take_line(p, &line))
            return false;
        if (line.n == 0 || line.n > 8)
            fail(p, "a bad chunk size");
        p->body_left = 0;
        for (size_t i = 0; i < line.n; i++) {
            const char *digits = "0123456789abcdef", *d = strchr(digits, line.p[i] | 32);

            if (!d)
                fail(p, "a bad chunk size");
            p->body_left = p->body_left * 16 + (uint64_t)(d - digits);
        }
        p->chunk_state = p->body_left ? 1 : 3;
        return true;
    case 1:
        take_body_bytes(p);
        if (p->body_left > 0)
            return false;
        p->chunk_state = 2;
        return true;
    case 2:
        if (!take_line(p, &line))
            return false;
        if (line.n > 0)
            fail(p, "bytes behind a chunk");
        p->chunk_state = 0;
        return true;
    default:
        if (!take_line(p, &line))
            return false;
        p->body_over = line.n == 0;
        return !p->body_over;
    }
}

static void take_body(struct peer *p)
{
    if (p->body_over)
        return;
    switch (p->framing) {
    case BODY_NONE:
        break;
    case BODY_LENGTH:
        take_body_bytes(p);
        p->body_over = p->body_left == 0;
        break;
    case BODY_CHUNKED:
        while (take_chunked(p))
            ;
        break;
    case BODY_UNTIL_CLOSE:
        p->body_left = UINT64_MAX;
        take_body_bytes(p);
        p->body_over = p->ended && !p->was_reset;
        break;
    }
}

/* ---- writing ---- */

/* True when all n bytes from `text` are sent. */
static bool send_bytes(struct peer *p, const char *text, size_t n)
{
    while (p->sent < n) {
        long sent;

        if (!p->sock || wire_was_reset(p->sock)) {
            p->ended = p->was_reset = true; /* what comes next will say whether that was right */
            return true;
        }
        sent = wire_send(p->sock, text + p->sent, n - p->sent);
        if (sent == 0)
            return false;
        if (sent > 0)
            p->sent += (size_t)sent;
    }
    return true;
}

static bool wants_write(const struct peer *p)
{
    unsigned op = p->step->op;
    bool writes = op == PEER_send || op == PEER_fill || op == PEER_reply || op == PEER_drip ||
                  op == PEER_post || op == PEER_chunk || (op == PEER_work && p->out.cap > 0);

    return writes && p->connected && p->sock && p->wake_us == 0 && wire_writable(p->sock);
}

static void let_go(struct peer *p, bool reset)
{
    wire_close(&p->sock, reset);
    p->ended = true;
}

/* ---- steps: true when done ---- */

static bool step_done(struct peer *p)
{
    p->over = true;
    let_go(p, false);
    return false;
}

static bool step_send(struct peer *p) { return send_bytes(p, p->step->text, p->step->n); }

/* Sends what `build` puts together, once. */
static bool send_built(struct peer *p, void (*build)(const struct step *s, struct buf *out))
{
    if (p->out.cap == 0) {
        p->out = buf_make(IN_MAX);
        build(p->step, &p->out);
    }
    if (!send_bytes(p, p->out.p, p->out.n))
        return false;
    buf_fini(&p->out);
    p->out = (struct buf){0};
    return true;
}

static void build_fill(const struct step *s, struct buf *out)
{
    for (uint64_t i = 0; i < s->a; i++)
        buf_char(out, s->b ? (char)s->b : peer_fill(i));
}

static void build_reply(const struct step *s, struct buf *out)
{
    buf_printf(out, "HTTP/1.1 %s\r\n%scontent-length: %zu\r\n\r\n", s->value,
               s->more ? s->more : "", s->n);
    buf_bytes(out, s->text, s->n);
}

static void build_post(const struct step *s, struct buf *out)
{
    buf_printf(out, "POST %s HTTP/1.1\r\nhost: localhost\r\n%scontent-length: %zu\r\n\r\n",
               s->value, s->more ? s->more : "", s->n);
    buf_bytes(out, s->text, s->n);
}

static void build_chunk(const struct step *s, struct buf *out)
{
    buf_printf(out, "%zx\r\n", s->n);
    buf_bytes(out, s->text, s->n);
    buf_text(out, "\r\n");
}

static bool step_fill(struct peer *p) { return send_built(p, build_fill); }

static bool step_reply(struct peer *p) { return send_built(p, build_reply); }

static bool step_post(struct peer *p) { return send_built(p, build_post); }

static bool step_chunk(struct peer *p) { return send_built(p, build_chunk); }

static bool step_drip(struct peer *p)
{
    if (p->wake_us > world_now_us())
        return false;
    if (p->sent == p->step->n || p->ended)
        return true;
    if (!send_bytes(p, p->step->text, p->sent + 1))
        return false;
    p->wake_us = world_now_us() + p->step->a * 1000;
    return false;
}

static bool step_pause(struct peer *p)
{
    if (p->wake_us == 0)
        p->wake_us = world_now_us() + p->step->a * 1000;
    return world_now_us() >= p->wake_us;
}

static bool step_mark(struct peer *p)
{
    p->mark_us = world_now_us();
    return true;
}

static bool step_since(struct peer *p)
{
    uint64_t us = world_now_us() - p->mark_us;
    char why[120];

    if (us / 1000 >= p->step->a && us <= p->step->b * 1000)
        return true;
    (void)snprintf(why, sizeof why, "after %.3f ms, not %llu to %llu", (double)us / 1000,
                   (unsigned long long)p->step->a, (unsigned long long)p->step->b);
    fail(p, why);
}

static bool step_status(struct peer *p)
{
    char want[32];
    struct str line;

    if (!take_head(p)) {
        if (p->ended)
            fail(p, "no reply");
        return false;
    }
    (void)snprintf(want, sizeof want, "HTTP/1.1 %llu ", (unsigned long long)p->step->a);
    line = buf_str(&p->head);
    begin_body(p, true, p->step->b || p->step->a == 204 || p->step->a == 304);
    take_body(p);
    if (!str_starts(line, str_of(want)))
        fail(p, "another status");
    return true;
}

/* The next request's head; false when the step has to wait, or the script is over. */
static bool take_request(struct peer *p)
{
    if (take_head(p)) {
        begin_body(p, false, false);
        take_body(p);
        return true;
    }
    if (p->ended && p->step->a) { /* inside a head, perhaps: whoever asked has gone */
        p->over = true;
        let_go(p, false);
    } else if (p->ended) {
        fail(p, "no request");
    }
    return false;
}

static bool expected_request(struct peer *p)
{
    if (!str_starts(buf_str(&p->head), str_span(p->step->text, p->step->n)))
        fail(p, "another request");
    return true;
}

static bool step_request(struct peer *p) { return take_request(p) && expected_request(p); }

static void build_answer(const struct step *s, struct buf *out)
{
    struct buf list = buf_make(1024);

    buf_printf(&list, "{\"object\":\"list\",\"data\":[{\"id\":\"%s\"}]}", s->value);
    buf_printf(out, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", list.n);
    buf_add(out, buf_str(&list));
    buf_fini(&list);
}

static bool step_work(struct peer *p)
{
    for (;;) {
        struct str head;

        if (p->out.cap > 0 && !send_built(p, build_answer))
            return false;
        p->sent = 0;
        if (!take_request(p))
            return false;
        head = buf_str(&p->head);
        if (!str_starts(head, STR("GET /health ")) && !str_starts(head, STR("GET /v1/models ")))
            return expected_request(p);
        p->out = buf_make(IN_MAX);
        build_answer(p->step, &p->out);
    }
}

static bool step_field(struct peer *p)
{
    struct str value = head_field(p, str_span(p->step->text, p->step->n));

    if (!value.p)
        fail(p, "no such field");
    if (!str_eq(value, str_of(p->step->value)))
        fail(p, "another value");
    return true;
}

static bool step_no_field(struct peer *p)
{
    if (head_field(p, str_span(p->step->text, p->step->n)).p)
        fail(p, "an unwanted field");
    return true;
}

static bool whole_body(struct peer *p)
{
    take_body(p);
    if (!p->body_over && p->ended && p->step->b) { /* whoever asked has gone */
        p->over = true;
        let_go(p, false);
        return false;
    }
    if (!p->body_over && p->ended)
        fail(p, "a cut body");
    return p->body_over;
}

static bool step_body(struct peer *p)
{
    if (!whole_body(p))
        return false;
    if (!str_eq(buf_str(&p->body), str_span(p->step->text, p->step->n)))
        fail(p, "another body");
    return true;
}

static bool step_body_has(struct peer *p)
{
    if (!whole_body(p))
        return false;
    if (p->step->n > 0 &&
        str_find_str(buf_str(&p->body), str_span(p->step->text, p->step->n)) == p->body.n)
        fail(p, "another body");
    return true;
}

static void check_fill(struct peer *p)
{
    for (size_t i = 0; i < p->body.n; i++) {
        if (p->body.p[i] != peer_fill(i))
            fail(p, "wrong bytes in the body");
    }
}

static bool step_filled(struct peer *p)
{
    if (!whole_body(p))
        return false;
    if (p->body.n != p->step->a)
        fail(p, "a body of another length");
    check_fill(p);
    return true;
}

static bool step_some(struct peer *p)
{
    take_body(p);
    if (p->body.n < p->step->a && (p->ended || p->body_over))
        fail(p, "too few bytes");
    return p->body.n >= p->step->a;
}

static bool step_so_far(struct peer *p)
{
    take_body(p);
    if (str_find_str(buf_str(&p->body), str_span(p->step->text, p->step->n)) < p->body.n)
        return true;
    if (p->ended || p->body_over)
        fail(p, "another body");
    return false;
}

static bool step_cut(struct peer *p)
{
    take_body(p);
    if (p->body_over)
        fail(p, "a complete reply");
    if (!p->ended)
        return false;
    if (p->framing == BODY_UNTIL_CLOSE && !p->was_reset)
        fail(p, "a complete reply"); /* a close is its end */
    if (p->step->text && !str_ends(buf_str(&p->body), str_span(p->step->text, p->step->n)))
        fail(p, "another body");
    return true;
}

static bool step_honest(struct peer *p)
{
    struct str line;

    if (p->sent == 0) { /* the head has not come */
        if (!take_head(p))
            return p->ended;
        p->sent = 1;
        begin_body(p, true, false);
    }
    line = buf_str(&p->head);
    if (str_starts(line, STR("HTTP/1.1 5")))
        return whole_body(p);
    if (!str_starts(line, STR("HTTP/1.1 200 ")))
        fail(p, "another status");
    return step_cut(p);
}

static bool ended_with_nothing(struct peer *p)
{
    if (p->in.n > 0)
        fail(p, "bytes, not the end");
    return p->ended;
}

static bool step_end(struct peer *p)
{
    if (!ended_with_nothing(p))
        return false;
    if (p->was_reset)
        fail(p, "a reset, not the end");
    return true;
}

static bool step_reset_seen(struct peer *p)
{
    if (!p->ended)
        return false;
    if (!p->was_reset)
        fail(p, "the end, not a reset");
    return true;
}

static bool step_closed(struct peer *p) { return ended_with_nothing(p); }

static bool step_gone(struct peer *p)
{
    buf_clear(&p->in);
    return p->ended;
}

static bool step_quiet(struct peer *p)
{
    if (p->in.n > 0)
        fail(p, "bytes though it should be quiet");
    if (p->ended)
        fail(p, "the end though it should be quiet");
    return step_pause(p);
}

static bool step_raw(struct peer *p)
{
    size_t n = min_size(p->in.n, p->step->n);

    if (memcmp(p->in.n ? p->in.p : "", p->step->text, n) != 0 || (n < p->step->n && p->ended))
        fail(p, "other bytes");
    if (n < p->step->n)
        return false;
    drop_in(p, n);
    return true;
}

static bool step_deaf(struct peer *p)
{
    p->deaf = p->step->a;
    return true;
}

static bool step_sip(struct peer *p)
{
    p->sip = p->step->a;
    p->sip_us = p->step->b * 1000;
    p->next_sip_us = 0;
    return true;
}

static bool step_shut(struct peer *p)
{
    if (!wire_was_reset(p->sock))
        wire_shutdown(p->sock);
    return true;
}

static bool step_hang_up(struct peer *p)
{
    let_go(p, false);
    return true;
}

static bool step_reset(struct peer *p)
{
    let_go(p, true);
    return true;
}

static bool step_repeat(struct peer *p)
{
    p->loop = p->step + 1;
    p->loop_endless = p->step->a == 0;
    p->loop_left = p->loop_endless ? FOREVER : p->step->a;
    return true;
}

static bool step_again(struct peer *p)
{
    if (p->loop_endless && p->ended)
        return true;
    if (--p->loop_left > 0)
        p->step = p->loop - 1; /* the driver goes on to the next */
    return true;
}

static bool step_call(struct peer *p)
{
    p->step->fn(p, p->step->arg);
    return true;
}

#define PEER_AS_ROW(op) [PEER_##op] = {#op, step_##op},
static const struct {
    const char *name;
    bool (*fn)(struct peer *p);
} ops[] = {PEER_OPS(PEER_AS_ROW)};

/* ---- the actor ---- */

static bool peer_ready(struct actor *a)
{
    struct peer *p = container_of(a, struct peer, actor);

    if (p->over)
        return false;
    if (!p->connected)
        return wire_connected(p->sock) != 0;
    return p->attempt || may_read(p) || wants_write(p) ||
           (p->wake_us > 0 && world_now_us() >= p->wake_us);
}

static void run_steps(struct peer *p)
{
    for (unsigned i = 0;; i++) {
        const struct step *before = p->step;

        CHECK(i < 100000); /* a loop without a step that waits */
        if (!ops[p->step->op].fn(p))
            return;
        world_note("%s/%u line %d: %s", p->name, p->number, before->line, ops[before->op].name);
        p->step++;
        p->sent = 0;
        p->wake_us = 0;
    }
}

static void peer_turn(struct actor *a)
{
    struct peer *p = container_of(a, struct peer, actor);
    int r;

    if (!p->connected) {
        r = wire_connected(p->sock);
        p->connected = r != 0;
        p->ended = p->was_reset = r < 0;
        p->mark_us = world_now_us();
        p->attempt = true;
    } else if (may_read(p)) {
        read_some(p);
    }
    p->attempt = false;
    run_steps(p);
    a->busy = false;
    if (p->over)
        world_remove(a); /* one less to be asked at every step */
}

static uint64_t peer_next_us(struct actor *a)
{
    struct peer *p = container_of(a, struct peer, actor);
    uint64_t next = UINT64_MAX, now = world_now_us();

    if (p->over)
        return UINT64_MAX;
    if (p->wake_us > now)
        next = p->wake_us;
    if (!p->sock || p->ended)
        return next;
    if (!p->connected || !p->deaf)
        next = min_u64(next, wire_next_us(p->sock));
    if (p->connected && p->sip && !p->deaf && p->next_sip_us > now && wire_readable(p->sock))
        next = min_u64(next, p->next_sip_us);
    return next;
}

static const struct actor_ops peer_ops = {peer_ready, peer_turn, peer_next_us};

static struct peer *peer_new(const char *name, const struct step *script, struct sock *sock)
{
    struct peer *p = xnew(struct peer, .name = name, .script = script, .step = script);

    CHECK(peers_n < PEERS_MAX);
    peers[peers_n++] = p;
    p->sock = sock;
    p->in = buf_make(IN_MAX);
    p->head = buf_make(IN_MAX);
    p->body = buf_make(IN_MAX);
    p->mark_us = world_now_us();
    world_add(&p->actor, name, &peer_ops);
    return p;
}

struct peer *client_start(const char *name, const struct addr *to, const struct step *script)
{
    struct sock *s;
    struct peer *p;

    if (wire_connect(to, true, &s) < 0)
        sim_fail("script", script->line, "%s: the connect failed at once", name);
    p = peer_new(name, script, s);
    p->client = true;
    return p;
}

/* ---- engines ---- */

static bool engine_ready(struct actor *a)
{
    struct engine *e = container_of(a, struct engine, actor);

    return e->sock && e->script[min_size(e->accepted, e->n - 1)] && wire_acceptable(e->sock);
}

static void engine_turn(struct actor *a)
{
    struct engine *e = container_of(a, struct engine, actor);
    struct sock *s = wire_accept(e->sock);
    struct peer *p = peer_new(e->name, e->script[min_size(e->accepted, e->n - 1)], s);

    world_note("%s accepts connection %u", e->name, e->accepted);
    p->engine = e;
    p->number = e->accepted++;
    p->connected = true;
    p->attempt = true;
    a->busy = false;
}

static uint64_t engine_next_us(struct actor *a)
{
    struct engine *e = container_of(a, struct engine, actor);

    return e->sock && e->script[min_size(e->accepted, e->n - 1)] ? wire_next_us(e->sock)
                                                                 : UINT64_MAX;
}

static const struct actor_ops engine_ops = {engine_ready, engine_turn, engine_next_us};

struct engine *engine_start(const char *name, struct addr *at, const struct step *const *scripts,
                            unsigned n)
{
    struct engine *e = xnew(struct engine, .name = name, .n = n);

    CHECK(n >= 1 && n <= ARRAY_LEN(e->script) && engines_n < ENGINES_MAX);
    for (unsigned i = 0; i < n; i++)
        e->script[i] = scripts[i];
    if (wire_listen(at, 64, &e->sock) < 0)
        CHECK(!"the engine's address is taken");
    engines[engines_n++] = e;
    world_add(&e->actor, name, &engine_ops);
    return e;
}

unsigned engine_accepted(const struct engine *e) { return e->accepted; }

void engine_stop(struct engine *e) { wire_close(&e->sock, false); }

void engine_kill(struct engine *e)
{
    engine_stop(e);
    for (unsigned i = 0; i < peers_n; i++) {
        if (peers[i]->engine != e || peers[i]->over)
            continue;
        peers[i]->over = true;
        let_go(peers[i], true);
    }
}

/* ---- all of them ---- */

static bool scripts_over(void *ctx)
{
    bool clients_only = ctx != NULL;

    for (unsigned i = 0; i < peers_n; i++) {
        if (!peers[i]->over && (peers[i]->client || !clients_only))
            return false;
    }
    return true;
}

static void run_all(void *clients_only, uint64_t ms)
{
    if (world_run_until(scripts_over, clients_only, ms))
        return;
    for (unsigned i = 0; i < peers_n; i++) {
        if (!peers[i]->over && (peers[i]->client || !clients_only))
            fail(peers[i], "still waits here");
    }
}

void peers_run(uint64_t ms) { run_all(&peers_n, ms); }

void peers_finish(uint64_t ms) { run_all(NULL, ms); }

void peers_close(void)
{
    for (unsigned i = 0; i < peers_n; i++) {
        struct peer *p = peers[i];

        CHECK(p->over);
        world_remove(&p->actor);
        buf_fini(&p->in);
        buf_fini(&p->head);
        buf_fini(&p->body);
        buf_fini(&p->out);
        mem_free(p);
    }
    for (unsigned i = 0; i < engines_n; i++) {
        wire_close(&engines[i]->sock, false);
        world_remove(&engines[i]->actor);
        mem_free(engines[i]);
    }
    peers_n = engines_n = 0;
}
