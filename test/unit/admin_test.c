/* SPDX-License-Identifier: Apache-2.0
 *
 * admin_test.c - the admin side over its sockets: a whole control without lanes, the master's end
 * of its link in the test's hands, and clients that speak from threads of their own. Which path
 * takes which method, what an order becomes on the link and its answer on the wire, names that need
 * escapes, logs, and who may ask.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/api.h"
#include "base/mem.h"
#include "ev/deadline.h"
#include "ev/memfd.h"
#include "ev/packet.h"
#include "gate/control_priv.h"
#include "gate/linked.h"
#include "link/master.h"

enum { REPLY_BYTES = 1 << 20, PATIENCE_TICKS = 20000, SOME_ID = 40 };

struct rig {
    struct loop *loop;
    struct link_master *master;
    struct gate gate;
    struct linked *linked;
    struct control *control; /* its */
    struct deadline tick;
    unsigned ticks;
    bool ready;
    struct link_unit unit; /* "tiny" */
    struct ring *ring;
    char folder[64], socket[96];
    uint16_t port; /* of [admin] address */
    /* the last order, and how orders are answered */
    char order[64];
    bool withhold;
    int answer_err;
    const char *answer;
    /* called each tick while a client waits */
    void (*hook)(struct rig *r, struct str received);
};

/* One client: sends, reads until the end, or until `enough` bytes came. */
struct talk {
    const struct rig *rig;
    const char *request;
    bool tcp;
    size_t enough;
    char reply[REPLY_BYTES];
    _Atomic size_t n;
    _Atomic bool done;
};

/* ---- the client's thread ---- */

static int talk_connect(const struct talk *t)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(t->rig->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(t->tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(un.sun_path, t->rig->socket, sizeof t->rig->socket);
    if (fd < 0 || connect(fd, t->tcp ? (struct sockaddr *)&in : (struct sockaddr *)&un,
                          t->tcp ? sizeof in : sizeof un) < 0)
        abort();
    return fd;
}

static void *talk_main(void *ctx)
{
    struct talk *t = ctx;
    int fd = talk_connect(t);
    ssize_t got;

    if (write(fd, t->request, strlen(t->request)) != (ssize_t)strlen(t->request))
        abort();
    while (t->n < t->enough && (got = read(fd, t->reply + t->n, sizeof t->reply - t->n)) > 0)
        t->n += (size_t)got;
    close(fd);
    t->done = true;
    return NULL;
}

static void on_tick(struct deadline *d)
{
    struct rig *r = container_of(d, struct rig, tick);

    if (++r->ticks > PATIENCE_TICKS)
        fail_msg("nothing happens any more");
    loop_stop(r->loop);
}

static void turn(struct rig *r)
{
    deadline_arm(r->loop, &r->tick, 1, on_tick);
    loop_run(r->loop);
}

/* The reply's bytes; the caller frees *ret. */
static struct str talked(struct rig *r, const char *request, bool tcp, size_t enough,
                         struct talk **ret)
{
    struct talk *t = xnew(struct talk, .rig = r, .request = request, .tcp = tcp);
    pthread_t thread;

    t->enough = enough ? enough : REPLY_BYTES;
    assert_int_equal(pthread_create(&thread, NULL, talk_main, t), 0);
    r->ticks = 0;
    while (!t->done) {
        turn(r);
        if (r->hook)
            r->hook(r, str_span(t->reply, t->n));
    }
    pthread_join(thread, NULL);
    turn(r);
    *ret = t;
    return str_span(t->reply, t->n);
}

static unsigned status_of(struct str reply)
{
    uint64_t status;

    assert_true(str_starts(reply, STR("HTTP/1.1 ")));
    assert_true(str_u64(str_head(str_from(reply, 9), 3), &status));
    return (unsigned)status;
}

static bool has(struct str reply, const char *text)
{
    return str_find_str(reply, str_of(text)) < reply.n;
}

static struct str body_of(struct str reply)
{
    return str_from(reply, str_find_str(reply, STR("\r\n\r\n")) + 4);
}

#define CLOSE " HTTP/1.1\r\nconnection: close\r\n\r\n"

/* Sends "METHOD TARGET"; checks status and that the reply contains `text`. */
static void answered(struct rig *r, const char *line, unsigned status, const char *text)
{
    char *request = mem_printf("%s" CLOSE, line);
    struct talk *t;
    struct str reply = talked(r, request, false, 0, &t);

    if (status_of(reply) != status || !has(reply, text))
        fail_msg("%s: want %u with \"%s\", got %.*s", line, status, text, STR_ARGS(reply));
    mem_free(t);
    mem_free(request);
}

/* ---- the master's end ---- */

static const char *const verb_words[] = {"start", "stop", "drain", "restart", "reload"};

static void m_ask(void *ctx, uint32_t ticket, enum link_verb verb, uint32_t unit)
{
    struct rig *r = ctx;

    snprintf(r->order, sizeof r->order, "%s %u", verb_words[verb], unit);
    if (!r->withhold)
        link_master_answer(r->master, ticket, r->answer_err, str_of(r->answer));
}

static void m_report(void *ctx, uint32_t unit, uint32_t generation, enum link_report report)
{
    (void)ctx, (void)unit, (void)generation, (void)report;
}

static void m_ack(void *ctx, uint32_t generation, struct str problem)
{
    struct rig *r = ctx;

    (void)generation;
    assert_int_equal(problem.n, 0);
    link_master_commit(r->master);
}

static void m_swapped(void *ctx, uint32_t generation) { (void)ctx, (void)generation; }

static void m_accepting(void *ctx) { ((struct rig *)ctx)->ready = true; }

static void m_drained(void *ctx) { (void)ctx; }

static void m_closed(void *ctx, bool broken)
{
    (void)ctx;
    assert_false(broken);
}

static const struct link_master_ops master_ops = {m_ask,       m_report,  m_ack,   m_swapped,
                                                  m_accepting, m_drained, m_closed};

/* ---- the role's side ---- */

static void unref_nothing(void *owner) { (void)owner; }

static int parse(void *ctx, struct str bundle, struct control_settings *ret, struct buf *why)
{
    static struct str tiny_models[] = {{"m1", 2}, {"big", 3}}, far_models[] = {{"big", 3}};
    static struct engine_conf engines[] = {
        {.name = {"tiny", 4}, .models = {tiny_models, 2}, .weight = 1, .slots = 4},
        {.name = {"a/b \xc3\xa9", 6}, .weight = 1},
    };
    static struct remote_conf remotes[] = {
        {.name = {"far", 3},
         .url = {"http://127.0.0.1:1", 18},
         .models = {far_models, 1},
         .weight = 2},
    };
    static struct model_conf aliases[] = {{.name = {"gpt", 3}, .target = {"m1", 2}}};
    static const struct engine_conf_list engine_list = {engines, 2};
    static const struct remote_conf_list remote_list = {remotes, 1};
    static const struct model_conf_list alias_list = {aliases, 1};
    static const struct listen_conf_list listens;
    static const struct limits limits = {.queue_length = 1};
    static const struct probe_conf probe = {.timeout_ms = 1000, .failures = 3, .successes = 2};

    (void)bundle, (void)why;
    *ret = (struct control_settings){.limits = &limits,
                                     .probe = &probe,
                                     .listens = &listens,
                                     .engines = &engine_list,
                                     .remotes = &remote_list,
                                     .aliases = &alias_list,
                                     .owner = ctx,
                                     .unref = unref_nothing};
    return 0;
}

static void on_commit(void *ctx, void *owner) { (void)ctx, (void)owner; }

static void start_lanes(void *ctx, struct snapshot *first) { (void)ctx, (void)first; }

static void on_over(void *ctx) { (void)ctx; }

static const struct linked_ops linked_ops = {parse, on_commit, start_lanes, on_over, NULL};

/* ---- the rig ---- */

static void configure(struct rig *r)
{
    struct addr unix_at = {.family = ADDR_UNIX}, tcp_at;
    struct link_listener ls[2] = {{.id = 1, .kind = LINK_LISTENER_CTL},
                                  {.id = 2, .kind = LINK_LISTENER_ADMIN}};
    struct ev_fd bundle, sockets[2];

    memcpy(unix_at.path, r->socket, sizeof r->socket);
    assert_int_equal(addr_parse(STR("127.0.0.1:0"), &tcp_at), 0);
    assert_int_equal(listener_bind(&unix_at, 64, 0600, &sockets[0]), 0);
    assert_int_equal(listener_bind(&tcp_at, 64, 0, &sockets[1]), 0);
    r->port = tcp_at.port;
    assert_int_equal(memfd_freeze("test", STR("x"), &bundle), 0);
    assert_int_equal(link_master_config(r->master, 1, &bundle, ls, sockets, 2), 0);
    ev_fd_close(&bundle);
    ev_fd_close(&sockets[0]);
    ev_fd_close(&sockets[1]);
    while (!r->ready)
        turn(r);
}

static void tell_unit(struct rig *r)
{
    struct ev_fd fd;

    assert_int_equal(ring_share(r->ring, &fd), 0);
    link_master_unit(r->master, &r->unit, &fd);
    ev_fd_close(&fd);
    turn(r);
    turn(r);
}

static int setup(void **state)
{
    struct rig *r = xnew(struct rig, .answer = "said");
    struct ev_fd a, b;

    snprintf(r->folder, sizeof r->folder, "/tmp/admin_test.XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    snprintf(r->socket, sizeof r->socket, "%s/ctl.sock", r->folder);
    assert_int_equal(loop_create(&r->loop), 0);
    assert_int_equal(packet_pair(&a, &b), 0);
    r->gate.api = api_gate();
    r->gate.rules = &gate_rules_up;
    assert_int_equal(link_master_open(r->loop, &a, &master_ops, r, &r->master), 0);
    assert_int_equal(linked_create(&r->gate, r->loop, &b, &linked_ops, r, &r->linked), 0);
    r->control = linked_control(r->linked);
    assert_int_equal(ring_create(&r->ring), 0);
    configure(r);
    r->unit = (struct link_unit){.id = SOME_ID,
                                 .generation = 3,
                                 .state = UNIT_STOPPED,
                                 .restarts = 2,
                                 .since_ms = UINT64_MAX};
    memcpy(r->unit.name, "tiny", 5);
    memcpy(r->unit.last_exit, "exit status 3", 14);
    tell_unit(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    deadline_stop(&r->tick);
    linked_destroy(&r->linked);
    link_master_close(&r->master);
    ring_close(&r->ring);
    loop_destroy(&r->loop);
    unlink(r->socket);
    rmdir(r->folder);
    mem_free(r);
    return 0;
}

/* ---- what is read ---- */

static void body_is(struct rig *r, const char *line, const char *want)
{
    char *request = mem_printf("%s" CLOSE, line);
    struct talk *t;
    struct str reply = talked(r, request, false, 0, &t);

    assert_int_equal(status_of(reply), 200);
    assert_true(has(reply, "content-type: application/json\r\n"));
    assert_str_is(body_of(reply), want);
    mem_free(t);
    mem_free(request);
}

static void test_reads(void **state)
{
    struct rig *r = *state;
    char *status =
        mem_printf("{\"connections\":0,\"draining\":false,\"engines\":3,"
                   "\"engines_ready\":0,\"gateway_pid\":%d,\"in_flight\":0,\"lanes\":0,"
                   "\"listen\":[],\"models\":2,\"version\":\"" INFERD_VERSION "\",\"waiting\":0}",
                   (int)getpid());

    r->unit.state = UNIT_EXITED;
    tell_unit(r);
    cell_set(member_by_name(r->control, STR("far"))->cell, CELL_PROBED, CELL_BAD);
    body_is(r, "GET /status", status);
    body_is(
        r, "GET /routes",
        "{\"models\":[{\"alias_of\":null,\"engines\":[{\"name\":\"far\",\"ready\":false},"
        "{\"name\":\"tiny\",\"ready\":false}],\"fallbacks\":[],\"name\":\"big\",\"targets\":[]},"
        "{\"alias_of\":\"m1\",\"engines\":[{\"name\":\"tiny\",\"ready\":false}],\"fallbacks\":[],"
        "\"name\":\"gpt\",\"targets\":[{\"model\":\"m1\",\"weight\":1}]},{\"alias_of\":null,"
        "\"engines\":[{\"name\":\"tiny\",\"ready\":false}],\"fallbacks\":[],\"name\":\"m1\","
        "\"targets\":[]}]}");
    body_is(r, "GET /units",
            "{\"units\":[{\"generation\":0,\"in_flight\":0,\"last_exit\":null,\"models\":[],"
            "\"name\":\"a/b \xc3\xa9\",\"next_start_ms\":0,\"pid\":null,\"restarts\":0,\"slots\":0,"
            "\"state\":\"starting\",\"state_ms\":0,\"url\":null,\"waiting\":0},{\"generation\":3,"
            "\"in_flight\":0,\"last_exit\":\"exit status 3\",\"models\":[\"m1\",\"big\"],\"name\":"
            "\"tiny\",\"next_start_ms\":0,\"pid\":null,\"restarts\":2,\"slots\":4,\"state\":"
            "\"exited\",\"state_ms\":0,\"url\":null,\"waiting\":0}]}");
    mem_free(status);
}

static void test_engines(void **state)
{
    struct rig *r = *state;
    struct member *far = member_by_name(r->control, STR("far"));

    probe_stop(far);
    cell_set(far->cell, CELL_PROBED, CELL_GOOD);
    atomic_store(&far->cell->requests, 7);
    atomic_store(&far->cell->errors, 1);
    far->kind = ENGINE_KIND_VLLM;
    r->unit.next_ms = UINT64_MAX;
    r->unit.state = UNIT_BACKOFF;
    tell_unit(r);
    answered(r, "GET /engines", 200,
             "{\"errors\":1,\"in_flight\":0,\"kind\":\"vllm\",\"last_exit\":null,\"models\":"
             "[\"big\"],\"name\":\"far\",\"next_start_ms\":null,\"origin\":\"remote\",\"pid\":null,"
             "\"ready\":true,\"requests\":7,\"restarts\":null,\"slots\":0,\"state\":\"ready\","
             "\"state_ms\":null,\"tested\":{\"ejections\":0,\"failures_in_a_row\":0,");
    answered(r, "GET /engines", 200,
             "\"url\":\"http://127.0.0.1:1\",\"verdicts\":{\"listed\":\"good\",\"probed\":\"good\","
             "\"supervised\":\"unknown\",\"traffic\":\"unknown\"},\"waiting\":0,\"weight\":2}");
    answered(r, "GET /engines", 200, "\"state\":\"backoff\",\"state_ms\":0,");
    answered(r, "GET /metrics", 200, "inferd_engine_requests_total{engine=\"far\"} 7\n");
    cell_set(far->cell, CELL_PROBED, CELL_NO_WORD);
    answered(r, "GET /engines", 200, "\"state\":\"untested\"");
    atomic_store(&far->cell->checked_s, 1);
    answered(r, "GET /engines", 200, "\"state\":\"silent\"");
    atomic_store(&far->cell->checked_s, loop_wall_us(r->loop) / 1000000);
    answered(r, "GET /engines", 200,
             "\"name\":\"far\",\"next_start_ms\":null,\"origin\":\"remote\",\"pid\":null,"
             "\"ready\":true,\"requests\":7,\"restarts\":null,\"slots\":0,\"state\":\"ready\"");
    cell_set(far->cell, CELL_PROBED, CELL_BAD);
    answered(r, "GET /engines", 200, "\"state\":\"unreachable\"");
    answered(r, "GET /metrics", 200, "inferd_engine_ready{engine=\"far\"} 0\n");
    far->kind = engine_kind_unset;
}

static void test_own_endpoints(void **state)
{
    static const char *const paths[] = {"/health", "/models", "/v1/models", "/services", "/stats"};
    struct rig *r = *state;

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char *line = mem_printf("GET %s", paths[i]);

        answered(*state, line, 200, "application/json");
        mem_free(line);
    }
    probe_stop(member_by_name(r->control, STR("far")));
    cell_set(member_by_name(r->control, STR("far"))->cell, CELL_PROBED, CELL_BAD);
    answered(*state, "GET /ready", 503, "retry-after: 5");
    answered(*state, "GET /v1/models/none", 404, "model_not_found");
}

static void test_methods(void **state)
{
    static const struct {
        const char *line;
        unsigned status;
        const char *text;
    } rows[] = {
        {"POST /status", 405, "allow: GET, HEAD\r\n"},
        {"POST /metrics", 405, "allow: GET, HEAD\r\n"},
        {"PUT /health", 405, "allow: GET, HEAD\r\n"},
        {"DELETE /engines", 405, "allow: GET, HEAD\r\n"},
        {"POST /ready", 405, "allow: GET, HEAD\r\n"},
        {"GET /reload", 405, "allow: POST\r\n"},
        {"GET /units/tiny/stop", 405, "allow: POST\r\n"},
        {"HEAD /units/tiny/stop", 405, "allow: POST\r\n"},
        {"POST /units/tiny/logs", 405, "allow: GET, HEAD\r\n"},
        {"GET /", 404, "not_found"},
        {"POST /", 404, "not_found"},
        {"GET /nothing", 404, "not_found"},
        {"GET /status/", 404, "not_found"},
        {"GET /units/", 404, "not_found"},
        {"GET /units/tiny", 404, "not_found"},
        {"POST /units/tiny/kill", 404, "not_found"},
        {"POST /units/tiny/stop/", 404, "not_found"},
        {"POST /v1/chat/completions", 404, "not_found"},
        {"BROKEN", 400, "bad_request"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        answered(*state, rows[i].line, rows[i].status, rows[i].text);
}

static void test_head(void **state)
{
    static const char *const paths[] = {"/status", "/metrics", "/units/tiny/logs", "/nothing"};
    struct rig *r = *state;

    ring_write(r->ring, STR("something\n"));
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char *request = mem_printf("HEAD %s" CLOSE, paths[i]);
        struct talk *t;
        struct str reply = talked(r, request, false, 0, &t);

        assert_int_equal(status_of(reply), i < 3 ? 200 : 404);
        assert_str_is(body_of(reply), "");
        mem_free(t);
        mem_free(request);
    }
}

/* ---- orders ---- */

static void test_orders(void **state)
{
    struct rig *r = *state;

    for (size_t i = 0; i < 4; i++) {
        char *line = mem_printf("POST /units/tiny/%s", verb_words[i]);
        char want[64];

        answered(r, line, 200, "\r\n\r\n{\"message\":\"said\"}");
        snprintf(want, sizeof want, "%s %d", verb_words[i], SOME_ID);
        assert_string_equal(r->order, want);
        mem_free(line);
    }
    r->answer = "";
    answered(r, "POST /reload", 200, "{\"message\":\"done\"}");
    assert_string_equal(r->order, "reload 0");
}

static void test_refused_orders(void **state)
{
    struct rig *r = *state;

    r->answer = "line 3: \"x\" is no key";
    r->answer_err = -E_CONF;
    answered(r, "POST /reload", 400, "\"code\":\"bad_request\",\"message\":\"line 3: \\\"x\\\" is");
    r->answer_err = -E_NOT_FOUND;
    answered(r, "POST /units/tiny/stop", 404, "service_not_found");
    r->answer_err = -E_BUSY;
    answered(r, "POST /units/tiny/stop", 409, "conflict");
}

static void test_names(void **state)
{
    struct rig *r = *state;
    char *endless = mem_printf("POST /units/%0*d/stop", 2000, 0);

    answered(r, "POST /units/%74in%79/stop", 200, "said");
    answered(r, "POST /units/none/stop", 404, "There is no engine 'none'");
    answered(r, "POST /units//stop", 404, "service_not_found");
    answered(r, "POST /units/%ff/stop", 400, "invalid_path");
    answered(r, endless, 404, "service_not_found");
    answered(r, "POST /units/far/stop", 409, "Engine 'far' is not a process of this inferd");
    answered(r, "GET /units/far/logs", 409, "conflict");
    answered(r, "POST /units/a%2Fb%20%C3%A9/stop", 503, "is being set up");
    memcpy(r->unit.name, "a/b \xc3\xa9", 7);
    r->unit.id = SOME_ID + 1;
    tell_unit(r);
    answered(r, "POST /units/a%2Fb%20%c3%a9/stop", 200, "said");
    assert_string_equal(r->order, "stop 41");
    mem_free(endless);
}

/* Whoever ordered has gone when the answer comes; and a full table of open questions. */
static void test_unanswered_orders(void **state)
{
    struct rig *r = *state;
    struct talk *talks[LINK_ASKS_MAX];
    pthread_t threads[LINK_ASKS_MAX];

    r->withhold = true;
    for (unsigned i = 0; i < LINK_ASKS_MAX; i++) {
        talks[i] = xnew(struct talk, .rig = r, .request = "POST /units/tiny/stop" CLOSE,
                        .enough = REPLY_BYTES);
        assert_int_equal(pthread_create(&threads[i], NULL, talk_main, talks[i]), 0);
    }
    for (unsigned n = 0; n < LINK_ASKS_MAX;) {
        struct list *node;

        turn(r);
        n = 0;
        for (node = r->control->asks.next; node != &r->control->asks; node = node->next)
            n++;
    }
    answered(r, "POST /units/tiny/stop", 503, "Too many orders");
    r->withhold = false;
    for (uint32_t ticket = 1; ticket < 1000; ticket++)
        link_master_answer(r->master, ticket, 0, STR("late"));
    for (unsigned i = 0; i < LINK_ASKS_MAX; i++) {
        while (!talks[i]->done)
            turn(r);
        pthread_join(threads[i], NULL);
        assert_int_equal(status_of(str_span(talks[i]->reply, talks[i]->n)), 200);
        mem_free(talks[i]);
    }
    assert_true(list_empty(&r->control->asks));
}

/* ---- logs ---- */

static struct str unchunked(struct str body, struct buf *out)
{
    for (;;) {
        char size[16] = "";
        size_t end = str_find(body, '\r'), n;

        assert_true(end < sizeof size && end < body.n);
        memcpy(size, body.p, end);
        n = strtoul(size, NULL, 16);
        if (n == 0)
            return buf_str(out);
        assert_true(body.n > end + 2 + n + 2);
        buf_add(out, str_head(str_from(body, end + 2), n));
        body = str_from(body, end + 2 + n + 2);
    }
}

static void log_is(struct rig *r, const char *request, struct str want)
{
    struct buf out = buf_make(REPLY_BYTES);
    struct talk *t;
    struct str reply = talked(r, request, false, 0, &t);

    assert_int_equal(status_of(reply), 200);
    assert_true(has(reply, "content-type: text/plain; charset=utf-8\r\n"));
    assert_true(str_eq(unchunked(body_of(reply), &out), want));
    buf_fini(&out);
    mem_free(t);
}

static void test_logs(void **state)
{
    struct rig *r = *state;
    char *full = mem_alloc(RING_BYTES);

    log_is(r, "GET /units/tiny/logs" CLOSE, STR(""));
    ring_write(r->ring, STR("one\ntwo\0\xff\n"));
    log_is(r, "GET /units/tiny/logs" CLOSE, STR("one\ntwo\0\xff\n"));
    memset(full, 'x', RING_BYTES);
    full[RING_BYTES - 1] = '\n';
    ring_write(r->ring, str_span(full, RING_BYTES));
    log_is(r, "GET /units/tiny/logs" CLOSE, str_span(full, RING_BYTES)); /* no line ends soon */
    memset(full + 100, '\n', 1);
    ring_write(r->ring, str_span(full, RING_BYTES));
    log_is(r, "GET /units/tiny/logs" CLOSE, str_span(full + 101, RING_BYTES - 101));
    memset(full, '\n', RING_BYTES);
    ring_write(r->ring, str_span(full, RING_BYTES));
    log_is(r, "GET /units/tiny/logs" CLOSE, str_span(full, RING_BYTES - 1));
    mem_free(full);
}

/* Two lines come while somebody follows, then the unit goes. */
static void more_lines(struct rig *r, struct str received)
{
    static unsigned step;

    if (received.n == 0)
        step = 0;
    if (step == 0 && has(received, "first\n")) {
        ring_write(r->ring, STR("second\n"));
        step++;
    } else if (step == 1 && has(received, "second\n")) {
        link_master_unit_gone(r->master, SOME_ID);
        step++;
    }
}

static void test_follow(void **state)
{
    struct rig *r = *state;

    ring_write(r->ring, STR("first\n"));
    member_by_name(r->control, STR("tiny"))->conf = NULL; /* taken out of the configuration */
    r->hook = more_lines;
    log_is(r, "GET /units/tiny/logs?follow=1" CLOSE, STR("first\nsecond\n"));
    assert_true(list_empty(&r->control->tails));
}

/* The reply's head comes at once, even when the log is empty; a follower that leaves is dropped. */
static void test_follower_leaves(void **state)
{
    struct rig *r = *state;
    struct talk *t;
    struct str reply = talked(r, "GET /units/tiny/logs?follow=1" CLOSE, false, 15, &t);

    assert_int_equal(status_of(reply), 200);
    mem_free(t);
    r->ticks = 0;
    while (!list_empty(&r->control->tails)) {
        ring_write(r->ring, STR("more\n"));
        turn(r);
    }
}

/* A unit was taken out of the configuration and put back while its process was ending: it is
 * another unit then, with a ring of its own. */
static void test_unit_of_the_same_name(void **state)
{
    struct rig *r = *state;
    struct ring *first = r->ring;
    struct member *m;
    unsigned n = 0;

    ring_write(first, STR("old\n"));
    link_master_unit_gone(r->master, SOME_ID);
    turn(r);
    assert_int_equal(ring_create(&r->ring), 0);
    ring_write(r->ring, STR("new\n"));
    r->unit.id = SOME_ID + 1;
    tell_unit(r);
    log_is(r, "GET /units/tiny/logs" CLOSE, STR("new\n"));
    ring_close(&first);
    first = r->ring; /* again, and this time the new one is there before the old one goes */
    assert_int_equal(ring_create(&r->ring), 0);
    ring_write(r->ring, STR("newer\n"));
    r->unit.id = SOME_ID + 2;
    tell_unit(r);
    link_master_unit_gone(r->master, SOME_ID + 1);
    turn(r);
    turn(r);
    log_is(r, "GET /units/tiny/logs" CLOSE, STR("newer\n"));
    list_each(m, &r->control->members, node) n += str_eq(str_of(m->name), STR("tiny"));
    assert_int_equal(n, 1);
    ring_close(&first);
}

/* ---- who may ask ---- */

static void asked_tcp(struct rig *r, const char *fields, unsigned status)
{
    char *request = mem_printf("GET /health HTTP/1.1\r\nconnection: close\r\n%s\r\n", fields);
    struct talk *t;

    assert_int_equal(status_of(talked(r, request, true, 0, &t)), status);
    mem_free(t);
    mem_free(request);
}

static void test_access(void **state)
{
    struct rig *r = *state;
    struct talk *t;
    struct str reply;

    asked_tcp(r, "host: localhost\r\n", 200);
    asked_tcp(r, "host: LOCALHOST:80\r\n", 200);
    asked_tcp(r, "host: 127.0.0.1:1234\r\n", 200);
    asked_tcp(r, "host: [::1]\r\n", 200);
    asked_tcp(r, "host: evil.example\r\n", 403);
    asked_tcp(r, "host: localhost.evil.example\r\n", 403);
    asked_tcp(r, "", 400);
    asked_tcp(r, "host: localhost\r\norigin: http://localhost\r\n", 403);
    asked_tcp(r, "host: localhost\r\norigin: null\r\n", 403);
    reply =
        talked(r, "POST /reload HTTP/1.1\r\nconnection: close\r\norigin: http://127.0.0.1\r\n\r\n",
               false, 0, &t);
    assert_int_equal(status_of(reply), 403);
    assert_string_equal(r->order, "");
    mem_free(t);
    reply = talked(r,
                   "GET http://evil.example/health HTTP/1.1\r\nhost: localhost\r\nconnection: "
                   "close\r\n\r\n",
                   true, 0, &t);
    assert_int_equal(status_of(reply), 403);
    mem_free(t);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_reads),
        WITH_RIG(test_engines),
        WITH_RIG(test_own_endpoints),
        WITH_RIG(test_methods),
        WITH_RIG(test_head),
        WITH_RIG(test_orders),
        WITH_RIG(test_refused_orders),
        WITH_RIG(test_names),
        WITH_RIG(test_unanswered_orders),
        WITH_RIG(test_logs),
        WITH_RIG(test_follow),
        WITH_RIG(test_follower_leaves),
        WITH_RIG(test_unit_of_the_same_name),
        WITH_RIG(test_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
