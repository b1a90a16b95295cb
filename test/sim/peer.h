/* SPDX-License-Identifier: Apache-2.0
 *
 * peer.h - scripted peers of the simulated world: HTTP clients and engines on the other side of the
 * wire, each a list of steps done one after the other. They speak and read HTTP with a parser of
 * their own, so that a misreading of ours does not agree with itself.
 *
 *   static const struct step script[] = {
 *       SEND("GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
 *       EXPECT_STATUS(200), EXPECT_BODY("hello"),
 *       MARK, EXPECT_END, SINCE(75000, 75100),
 *       DONE,
 *   };
 *
 * A step waits as long as it takes; the scenario bounds the whole (peers_run()). A step that cannot
 * come true any more ends the test with the script's line, the seed and the bytes at hand. A peer
 * whose script is over hangs up.
 */
#pragma once
#include "base/str.h"
#include "ev/addr.h"

struct peer;
struct engine;

struct step {
    unsigned op; /* enum peer_op */
    int line;    /* in its script's file, for messages */
    const char *text, *value, *more;
    size_t n;
    uint64_t a, b;
    void (*fn)(struct peer *p, void *arg);
    void *arg;
};

#define PEER_OPS(X)                                                                                \
    X(done)                                                                                        \
    X(send)                                                                                        \
    X(fill)                                                                                        \
    X(drip)                                                                                        \
    X(reply)                                                                                       \
    X(post)                                                                                        \
    X(chunk)                                                                                       \
    X(pause)                                                                                       \
    X(mark)                                                                                        \
    X(since)                                                                                       \
    X(status)                                                                                      \
    X(request)                                                                                     \
    X(work)                                                                                        \
    X(field)                                                                                       \
    X(no_field)                                                                                    \
    X(body)                                                                                        \
    X(body_has)                                                                                    \
    X(filled)                                                                                      \
    X(some)                                                                                        \
    X(so_far)                                                                                      \
    X(cut)                                                                                         \
    X(honest)                                                                                      \
    X(end)                                                                                         \
    X(reset_seen)                                                                                  \
    X(closed)                                                                                      \
    X(gone)                                                                                        \
    X(quiet)                                                                                       \
    X(raw)                                                                                         \
    X(deaf)                                                                                        \
    X(sip)                                                                                         \
    X(shut)                                                                                        \
    X(hang_up)                                                                                     \
    X(reset)                                                                                       \
    X(repeat)                                                                                      \
    X(again)                                                                                       \
    X(call)
#define PEER_AS_ENUM(op) PEER_##op,
enum peer_op { PEER_OPS(PEER_AS_ENUM) };

#define STEP(op_, ...)                                                                             \
    {                                                                                              \
        .op = PEER_##op_, .line = __LINE__, __VA_ARGS__                                            \
    }

/* Ends the script; hangs up when it is still connected. */
#define DONE STEP(done)

/* Writing. A step is over when the network has taken all of it. */
#define SEND(literal) STEP(send, .text = (literal), .n = sizeof(literal) - 1)
/* n bytes of the pattern that peer_fill() makes. */
#define FILL(bytes) STEP(fill, .a = (bytes))
/* The same as JSON, with 200. */
#define REPLY_JSON(literal)                                                                        \
    STEP(reply, .text = (literal), .n = sizeof(literal) - 1, .value = "200 OK",                    \
         .more = "content-type: application/json\r\n")
/* A byte every so many milliseconds. */
#define DRIP(literal, ms) STEP(drip, .text = (literal), .n = sizeof(literal) - 1, .a = (ms))
/* "HTTP/1.1 <status>" with content-length and the body. */
#define REPLY(status_line, literal)                                                                \
    STEP(reply, .text = (literal), .n = sizeof(literal) - 1, .value = (status_line))
/* n blanks: JSON does not mind them. */
#define PAD(bytes) STEP(fill, .a = (bytes), .b = ' ')
/* A request with this body and its length, and `fields`: more lines of the head, each with CRLF. */
#define POST(path, literal) STEP(post, .value = (path), .text = (literal), .n = sizeof(literal) - 1)
#define POST_WITH(path, fields, literal)                                                           \
    STEP(post, .value = (path), .more = (fields), .text = (literal), .n = sizeof(literal) - 1)
/* One chunk of a chunked body. */
#define CHUNK(literal) STEP(chunk, .text = (literal), .n = sizeof(literal) - 1)
#define SHUT STEP(shut)       /* FIN; reading goes on */
#define HANG_UP STEP(hang_up) /* close() */
#define RESET STEP(reset)     /* close() with RST */

/* Time. */
#define PAUSE(ms) STEP(pause, .a = (ms))
/* The moment that SINCE counts from: the last MARK, else the connect or accept. */
#define MARK STEP(mark)
#define SINCE(at_least_ms, at_most_ms) STEP(since, .a = (at_least_ms), .b = (at_most_ms))

/* Reading. A peer reads all the time what comes, and its steps look at it. */
#define DEAF(on) STEP(deaf, .a = (on)) /* stops reading: the network fills up */
/* From now on it takes so many bytes every so many milliseconds; 0: all at once again. */
#define SIP(bytes, every_ms) STEP(sip, .a = (bytes), .b = (every_ms))
/* A whole response head with this status. NO_BODY: to a HEAD. */
#define EXPECT_STATUS(code) STEP(status, .a = (code))
#define EXPECT_STATUS_NO_BODY(code) STEP(status, .a = (code), .b = 1)
/* A whole request head that begins so. */
#define EXPECT_REQUEST(start) STEP(request, .text = (start), .n = sizeof(start) - 1)
/* The same, or the script is over when the connection ends instead. */
#define EXPECT_REQUEST_OR_END(start) STEP(request, .text = (start), .n = sizeof(start) - 1, .a = 1)
/* The same, after questions of a gateway's own: GET /health is answered by 200, GET /v1/models by a
 * list of that one model. */
#define EXPECT_WORK_OR_END(start, model)                                                           \
    STEP(work, .text = (start), .n = sizeof(start) - 1, .value = (model), .a = 1)
/* Of the last head. Names in lower case, the value exactly. */
#define EXPECT_FIELD(name, is) STEP(field, .text = (name), .n = sizeof(name) - 1, .value = (is))
#define EXPECT_NO_FIELD(name) STEP(no_field, .text = (name), .n = sizeof(name) - 1)
/* The whole body behind the last head, complete by its framing. */
#define EXPECT_BODY(literal) STEP(body, .text = (literal), .n = sizeof(literal) - 1)
#define EXPECT_BODY_HAS(literal) STEP(body_has, .text = (literal), .n = sizeof(literal) - 1)
/* The same, or the script is over when the connection ends instead. */
#define EXPECT_ANY_BODY_OR_END STEP(body_has, .text = "", .b = 1)
#define EXPECT_FILLED(bytes) STEP(filled, .a = (bytes))
/* So many body bytes have come. */
#define EXPECT_SOME(bytes) STEP(some, .a = (bytes))
/* The body has this somewhere, though it may go on. */
#define EXPECT_SO_FAR(literal) STEP(so_far, .text = (literal), .n = sizeof(literal) - 1)
/* These bytes come next, whatever they are. */
#define EXPECT_RAW(literal) STEP(raw, .text = (literal), .n = sizeof(literal) - 1)
/* The connection ends before the body is complete, in a way that no client can take for the end. */
#define EXPECT_CUT STEP(cut)
/* The same, directly behind these bytes of the body. */
#define EXPECT_CUT_BEHIND(literal) STEP(cut, .text = (literal), .n = sizeof(literal) - 1)
/* For a reply that cannot be had: a whole error (5xx), or the connection ends inside a reply that
 * no client can take for whole. */
#define EXPECT_HONEST STEP(honest)
/* The connection ends, nothing unread before: with FIN, with RST, with either. */
#define EXPECT_END STEP(end)
#define EXPECT_RESET STEP(reset_seen)
#define EXPECT_CLOSED STEP(closed)
/* The same, whatever came before. */
#define EXPECT_GONE STEP(gone)
/* For so long nothing comes, not even the end. */
#define EXPECT_QUIET(ms) STEP(quiet, .a = (ms))

/* The steps in between n times, 0: until the connection ends. No nesting. */
#define REPEAT(times) STEP(repeat, .a = (times))
#define AGAIN STEP(again)
#define DO(function, argument) STEP(call, .fn = (function), .arg = (argument))

/* A client that connects now. `name` and `script` are borrowed. */
struct peer *client_start(const char *name, const struct addr *to, const struct step *script);

/* Listens at *at (port 0: a free one, written back). The n-th connection follows script[n], those
 * beyond the last one the last. A NULL script never accepts: connections stay in the backlog. */
struct engine *engine_start(const char *name, struct addr *at, const struct step *const *scripts,
                            unsigned n);
#define ENGINE_START(name, at, ...)                                                                \
    engine_start(name, at, (const struct step *const[]){__VA_ARGS__},                              \
                 sizeof((const struct step *const[]){__VA_ARGS__}) / sizeof(void *))
unsigned engine_accepted(const struct engine *e);
/* No more connects. */
void engine_stop(struct engine *e);

/* The engine's process has died: its connections are reset, their scripts over. */
void engine_kill(struct engine *e);

/* Until every client's script is over; the test ends when that takes longer than `ms`. */
void peers_run(uint64_t ms);
/* The same for the connections of engines too. */
void peers_finish(uint64_t ms);
/* Forgets all; every script must be over. */
void peers_close(void);

bool peer_over(const struct peer *p);
const char *peer_name(const struct peer *p);
/* The byte at offset i of every FILL. */
char peer_fill(uint64_t i);
