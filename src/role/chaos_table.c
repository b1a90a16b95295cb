/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_table.c - the rows. An act is what one attempt meets; where a row has fewer acts than there
 * are attempts, the last one repeats. A row whose `want` is the good answer has an engine left that
 * could serve: anything less is a missed retry.
 *
 * Times are bounds of a gateway whose limits are scaled down as chaos_gateway.c and docs/chaos.md
 * say: 1.5 s to the first byte, 1 s of silence, 0.5 s to connect.
 */
#include "role/chaos_table.h"

#define ACT(...) ((const struct chaos_step[]){__VA_ARGS__, {.what = CHAOS_DO_END}})
#define DO(what_)                                                                                  \
    {                                                                                              \
        .what = CHAOS_DO_##what_                                                                   \
    }
#define DO_N(what_, n_)                                                                            \
    {                                                                                              \
        .what = CHAOS_DO_##what_, .n = (n_)                                                        \
    }
#define SAY(text_)                                                                                 \
    {                                                                                              \
        .what = CHAOS_DO_RAW, .text = (text_)                                                      \
    }
#define STATUS(n_)                                                                                 \
    {                                                                                              \
        .what = CHAOS_DO_STATUS, .n = (n_)                                                         \
    }
#define STATUS_WITH(n_, field)                                                                     \
    {                                                                                              \
        .what = CHAOS_DO_STATUS, .n = (n_), .text = (field)                                        \
    }
#define WELL ACT(DO(GOOD))

#define ROW(name_, does_, sees_, ...)                                                              \
    {                                                                                              \
        .name = name_, .does = does_, .sees = sees_, __VA_ARGS__                                   \
    }

/* Heads that are written by hand, for what no honest server would send. */
#define JSON_HEAD "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
#define STREAM_HEAD                                                                                \
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
#define STREAM_HEAD_CLOSE                                                                          \
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
#define A_LINE_OF_HEAD                                                                             \
    "x-filler: "                                                                                   \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"

enum {
    QUICK_MS = 1000,   /* nothing to wait for */
    LIMITED_MS = 2500, /* a limit of at most 1.5 s passes */
};

static const struct chaos_row rows[] = {
    /* ---- statuses ---- */
    ROW("429-then-good", "429 without Retry-After, then well; two engines",
        "the good answer, from the other engine", .script.act = {ACT(STATUS(429)), WELL},
        .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("429-long-wait-then-good", "429 with Retry-After: 30, then well; two engines",
        "the good answer at once, from the other engine",
        .script.act = {ACT(STATUS_WITH(429, "retry-after: 30")), WELL}, .want = CHAOS_GOOD,
        .attempts = 2, .ms = QUICK_MS),
    ROW("429-wait-1-s", "429 with Retry-After: 1, then well; one engine",
        "the good answer, a second later", .solo = true,
        .script.act = {ACT(STATUS_WITH(429, "retry-after: 1")), WELL}, .want = CHAOS_GOOD,
        .attempts = 2, .gap_ms = 900, .ms = LIMITED_MS),
    ROW("429-long-wait", "429 with Retry-After: 30, always; one engine",
        "that 429 and its Retry-After at once", .solo = true,
        .script.act = {ACT(STATUS_WITH(429, "retry-after: 30"))}, .want = CHAOS_OWN,
        .statuses = {429}, .retry_after = "30", .attempts = 1, .ms = QUICK_MS),
    ROW("429-always", "429 without Retry-After, always; two engines", "that 429",
        .script.act = {ACT(STATUS(429))}, .want = CHAOS_OWN, .statuses = {429}, .attempts = 2,
        .ms = QUICK_MS),
    ROW("500-once", "500, then well; two engines",
        "that 500: it may be the request's fault, and is not repeated",
        .script.act = {ACT(STATUS(500)), WELL}, .want = CHAOS_OWN, .statuses = {500}, .attempts = 1,
        .ms = QUICK_MS),
    ROW("502-once", "502, then well; two engines", "the good answer",
        .script.act = {ACT(STATUS(502)), WELL}, .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("503-once", "503, then well; two engines", "the good answer",
        .script.act = {ACT(STATUS(503)), WELL}, .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("503-once-stream", "503, then well as a stream; two engines", "the good stream",
        .stream = true, .script.act = {ACT(STATUS(503)), WELL}, .want = CHAOS_GOOD, .attempts = 2,
        .ms = QUICK_MS),
    ROW("504-once", "504, then well; two engines", "the good answer",
        .script.act = {ACT(STATUS(504)), WELL}, .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("503-always", "503 with Retry-After: 7, always; two engines",
        "that 503 and its Retry-After", .script.act = {ACT(STATUS_WITH(503, "retry-after: 7"))},
        .want = CHAOS_OWN, .statuses = {503}, .retry_after = "7", .attempts = 2, .ms = QUICK_MS),
    ROW("400", "400, then well; two engines", "that 400, asked once",
        .script.act = {ACT(STATUS(400)), WELL}, .want = CHAOS_OWN, .statuses = {400}, .attempts = 1,
        .ms = QUICK_MS),
    ROW("error-that-is-html", "500 with a page of HTML", "that page, as it is",
        .script.act = {ACT(SAY("HTTP/1.1 500 Oops\r\ncontent-type: text/html\r\n"
                               "content-length: 20\r\n\r\n<html>broken</html>\n"))},
        .want = CHAOS_BARE, .statuses = {500}, .attempts = 1, .ms = QUICK_MS),
    ROW("error-of-a-mebibyte", "500 with a body of 1 MiB", "that 500 and its body",
        .script.act = {ACT(SAY("HTTP/1.1 500 Oops\r\ncontent-type: text/plain\r\n"
                               "content-length: 1048576\r\n\r\n"),
                           {.what = CHAOS_DO_REPEAT, .n = 1024, .text = "0123456789abcdef"})},
        .want = CHAOS_BARE, .statuses = {500}, .attempts = 1, .ms = LIMITED_MS),
    /* ---- no connection ---- */
    ROW("refused", "the first is not there, the second is well", "good answers only",
        .event = CHAOS_ONE_REFUSES, .requests = 20, .want = CHAOS_GOOD, .ms = QUICK_MS),
    ROW("all-refused", "neither is there", "503, an error object", .event = CHAOS_ALL_REFUSE,
        .want = CHAOS_ERROR, .statuses = {503}, .ms = LIMITED_MS),
    /* ---- before the head ---- */
    ROW("reset-before-head", "RST before any byte, then well; two engines", "the good answer",
        .script.act = {ACT(DO(RST)), WELL}, .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("close-before-head", "FIN before any byte, then well; two engines", "the good answer",
        .script.act = {ACT(DO(FIN)), WELL}, .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("close-in-head", "half a head and FIN, then well; two engines", "the good answer",
        .script.act = {ACT(SAY("HTTP/1.1 200 OK\r\nconte"), DO(FIN)), WELL}, .want = CHAOS_GOOD,
        .attempts = 2, .ms = QUICK_MS),
    ROW("reset-always", "RST before any byte, always; two engines", "502, an error object",
        .script.act = {ACT(DO(RST))}, .want = CHAOS_ERROR, .statuses = {502, 503}, .attempts = 3,
        .ms = QUICK_MS),
    ROW("garbage", "what is not HTTP, then well; two engines", "the good answer",
        .script.act = {ACT(SAY("HTTQ/9.9 okay\r\nthis is not: HTTP\n\n"), DO(FIN)), WELL},
        .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("endless-head", "a head of 8 MiB, then well; two engines", "the good answer",
        .script.act = {ACT(SAY("HTTP/1.1 200 OK\r\n"),
                           {.what = CHAOS_DO_REPEAT, .n = 8192, .text = A_LINE_OF_HEAD}, DO(HOLD)),
                       WELL},
        .want = CHAOS_GOOD, .attempts = 2, .ms = LIMITED_MS),
    ROW("head-with-two-lengths", "two Content-Lengths that differ, then well",
        "the good answer: nobody can tell where such a body ends",
        .script.act = {ACT(SAY(JSON_HEAD "content-length: 2\r\ncontent-length: 3\r\n\r\n{} "),
                           DO(HOLD)),
                       WELL},
        .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("head-with-length-and-chunks", "Content-Length and Transfer-Encoding at once, then well",
        "the good answer: nobody can tell where such a body ends",
        .script.act = {ACT(SAY(JSON_HEAD "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"
                                         "0\r\n\r\n"),
                           DO(HOLD)),
                       WELL},
        .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("head-with-a-bare-cr", "a field whose value has a CR in it, then well",
        "the good answer: one field must not become two",
        .script.act = {ACT(SAY(JSON_HEAD "x-a: b\rset-cookie: c\r\ncontent-length: 2\r\n\r\n{}"),
                           DO(HOLD)),
                       WELL},
        .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("no-answer", "silence, always; two engines",
        "504: asked once, since it may be at work on it", .script.act = {ACT(DO(HOLD))},
        .want = CHAOS_ERROR, .statuses = {504}, .code = "upstream_timeout", .attempts = 1,
        .ms = LIMITED_MS),
    ROW("slow-first-token", "0.8 s of thought, then well as a stream",
        "the good stream, asked once", .stream = true,
        .script.act = {ACT(DO_N(WAIT, 800), DO(GOOD))}, .want = CHAOS_GOOD, .attempts = 1,
        .ms = LIMITED_MS),
    ROW("slow-whole", "0.8 s of thought, then well", "the good answer, asked once",
        .script.act = {ACT(DO_N(WAIT, 800), DO(GOOD))}, .want = CHAOS_GOOD, .attempts = 1,
        .ms = LIMITED_MS),
    ROW("informational", "103 before a good answer", "the good answer",
        .script.act = {ACT(SAY("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"), DO(GOOD))},
        .want = CHAOS_GOOD, .attempts = 1, .ms = QUICK_MS),
    ROW("switching-protocols", "101 that nobody asked for, then well", "the good answer",
        .script.act = {ACT(SAY("HTTP/1.1 101 Switching "
                               "Protocols\r\nconnection: upgrade\r\n"
                               "upgrade: x\r\n\r\n"),
                           DO(HOLD)),
                       WELL},
        .want = CHAOS_GOOD, .attempts = 2, .ms = LIMITED_MS),
    /* ---- in a stream ---- */
    ROW("stream-reset", "three events, then RST", "an error event and no end", .stream = true,
        .script.act = {ACT(DO(HEAD), DO_N(EVENTS, 3), DO_N(WAIT, 50), DO(RST)), WELL},
        .want = CHAOS_EVENT, .code = "upstream_disconnected", .attempts = 1, .ms = QUICK_MS),
    ROW("stream-closed", "three events, then FIN", "an error event and no end", .stream = true,
        .script.act = {ACT(DO(HEAD), DO_N(EVENTS, 3), DO(FIN)), WELL}, .want = CHAOS_EVENT,
        .code = "upstream_disconnected", .attempts = 1, .ms = QUICK_MS),
    ROW("stream-cut-in-event", "half an event, then FIN", "an error event of its own and no end",
        .stream = true,
        .script.act = {ACT(SAY(STREAM_HEAD "1a\r\ndata: {\"choices\":[{\"delta\"\r\n"), DO(FIN)),
                       WELL},
        .want = CHAOS_EVENT, .code = "upstream_disconnected", .attempts = 2, .ms = QUICK_MS),
    ROW("stream-head-then-reset", "the head of a stream, then RST", "an error event and no end",
        .stream = true,
        .script.act = {ACT(DO(HEAD), DO_N(EVENTS, 0), DO_N(WAIT, 50), DO(RST)), WELL},
        .want = CHAOS_EVENT, .attempts = 1, .ms = QUICK_MS),
    ROW("stream-stalled", "three events, then silence",
        "an error event within the limit and no end", .stream = true,
        .script.act = {ACT(DO(HEAD), DO_N(EVENTS, 3), DO(HOLD)), WELL}, .want = CHAOS_EVENT,
        .code = "upstream_timeout", .attempts = 1, .ms = LIMITED_MS),
    ROW("stream-bad-chunk", "three events, then a chunk of size zz", "an error event and no end",
        .stream = true,
        .script.act = {ACT(DO(HEAD), DO_N(EVENTS, 3), SAY("zz\r\ndata: x\n\n\r\n"), DO(HOLD)),
                       WELL},
        .want = CHAOS_EVENT, .attempts = 2, .ms = QUICK_MS),
    ROW("stream-no-last-chunk", "all of it and [DONE], then FIN instead of the last chunk",
        "all of it and [DONE]; no error behind it", .stream = true,
        .script.act = {ACT(DO(HEAD), DO_N(EVENTS, CHAOS_EVENTS_N), SAY("e\r\ndata: [DONE]\n\n\r\n"),
                           DO(FIN)),
                       WELL},
        .want = CHAOS_UNENDED, .attempts = 1, .ms = QUICK_MS),
    ROW("stream-no-done", "all of it, no [DONE], a clean end",
        "the same: the engine says that it was all", .stream = true,
        .script.act = {ACT(DO(HEAD), DO_N(EVENTS, CHAOS_EVENTS_N), SAY("0\r\n\r\n"), DO(FIN)),
                       WELL},
        .want = CHAOS_AS_SAID, .attempts = 1, .ms = QUICK_MS),
    ROW("stream-until-close", "a stream that only the close ends, [DONE] included",
        "the good stream", .stream = true,
        .script.act = {ACT(SAY(STREAM_HEAD_CLOSE), DO_N(RAW_EVENTS, CHAOS_EVENTS_N),
                           SAY("data: [DONE]\n\n"), DO(FIN))},
        .want = CHAOS_GOOD, .attempts = 1, .ms = QUICK_MS),
    ROW("stream-until-close-cut", "a stream that only the close ends, and half of it",
        "an error event and no end: [DONE] was missing", .stream = true,
        .script.act = {ACT(SAY(STREAM_HEAD_CLOSE), DO_N(RAW_EVENTS, 3), DO(FIN)), WELL},
        .want = CHAOS_EVENT, .code = "upstream_disconnected", .attempts = 1, .ms = QUICK_MS),
    ROW("stream-slow", "an event every 0.5 s, all of it", "the good stream: slow is not silent",
        .stream = true,
        .script.act = {ACT(DO(HEAD), DO_N(EVENTS, 1), DO_N(WAIT, 500), DO_N(EVENTS, 1),
                           DO_N(WAIT, 500), DO_N(EVENTS, 1), DO_N(WAIT, 500), DO_N(EVENTS, 3),
                           SAY("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"), DO(FIN))},
        .want = CHAOS_GOOD, .attempts = 1, .ms = 4000),
    /* ---- in a body ---- */
    ROW("body-slow", "a body that takes 1.2 s to come, never silent for long",
        "the good answer: slow is not silent",
        .script.act = {ACT(DO_N(PART, 60), DO_N(WAIT, 600), DO_N(REST, 30), DO_N(WAIT, 600),
                           DO_N(REST, 0))},
        .want = CHAOS_GOOD, .attempts = 1, .ms = LIMITED_MS),
    ROW("body-cut", "a body of its length less 40 bytes, then FIN", "502 or a cut",
        .script.act = {ACT(DO_N(PART, 40), DO(FIN)), WELL}, .want = CHAOS_ERROR, .statuses = {502},
        .or_cut = true, .attempts = 2, .ms = QUICK_MS),
    ROW("body-reset", "a body of its length less 40 bytes, then RST", "502 or a cut",
        .script.act = {ACT(DO_N(PART, 40), DO_N(WAIT, 50), DO(RST)), WELL}, .want = CHAOS_ERROR,
        .statuses = {502}, .or_cut = true, .attempts = 2, .ms = QUICK_MS),
    ROW("body-stalled", "a body of its length less 40 bytes, then silence",
        "504 within the limit, or a cut", .script.act = {ACT(DO_N(PART, 40), DO(HOLD)), WELL},
        .want = CHAOS_ERROR, .statuses = {502, 504}, .or_cut = true, .attempts = 2,
        .ms = LIMITED_MS),
    ROW("body-bad-chunk", "a chunked body whose second chunk has no size", "502 or a cut",
        .script.act = {ACT(SAY(JSON_HEAD
                               "transfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n\r\n1}"),
                           DO(HOLD)),
                       WELL},
        .want = CHAOS_ERROR, .statuses = {502}, .or_cut = true, .attempts = 2, .ms = QUICK_MS),
    ROW("body-longer-than-said", "an answer, and 64 KiB more than its length",
        "the good answer; the rest reaches nobody",
        .script.act = {ACT(
            DO(GOOD), {.what = CHAOS_DO_REPEAT, .n = 64, .text = "HTTP/1.1 200 OK\r\n"}, DO(HOLD))},
        .want = CHAOS_GOOD, .attempts = 1, .after = 5, .ms = QUICK_MS),
    ROW("second-answer", "one more answer behind the one that was asked for",
        "good answers only, each its own",
        .script.act = {ACT(DO(GOOD), SAY(JSON_HEAD "content-length: 8\r\n\r\n{\"no\":1}"))},
        .requests = 10, .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("body-until-close-cut", "a body that only the close ends, and half of it",
        "502 or a cut: half a document is none",
        .script.act = {ACT(SAY("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                               "connection: close\r\n\r\n{\"choices\":[{\"index\":0,\"mess"),
                           DO(FIN)),
                       WELL},
        .want = CHAOS_ERROR, .statuses = {502}, .or_cut = true, .attempts = 2, .ms = QUICK_MS),
    ROW("wrong-content-type", "a whole answer that is HTML", "that answer as it is",
        .script.act = {ACT(SAY("HTTP/1.1 200 OK\r\ncontent-type: "
                               "text/html\r\ncontent-length: 14\r\n"
                               "\r\n<html>1</html>"))},
        .want = CHAOS_AS_SAID, .statuses = {200}, .attempts = 1, .ms = QUICK_MS),
    /* ---- kept connections ---- */
    ROW("reuse-race", "closes a kept connection just as the next request comes",
        "the good answer, on a fresh connection", .kept = true, .script.act = {ACT(DO(FIN)), WELL},
        .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    ROW("reuse-race-reset", "resets a kept connection just as the next request comes",
        "the good answer, on a fresh connection", .kept = true, .stream = true,
        .script.act = {ACT(DO(RST)), WELL}, .want = CHAOS_GOOD, .attempts = 2, .ms = QUICK_MS),
    /* ---- clients that leave ---- */
    ROW("client-gone-early", "silence; five clients leave after 0.2 s; one engine",
        "the engine is told; the next five get good answers at once", .solo = true,
        .leave = CHAOS_LEAVES_EARLY, .leave_ms = 200, .requests = 5, .after = 5,
        .script.act = {ACT(DO(HOLD))}, .want = CHAOS_LEFT, .attempts = 1, .gone_ms = 1000,
        .ms = QUICK_MS),
    ROW("client-gone-mid-stream", "three events; five clients leave then; one engine",
        "the engine is told; the next five get good answers at once", .solo = true, .stream = true,
        .leave = CHAOS_LEAVES_LATE, .requests = 5, .after = 5,
        .script.act = {ACT(DO(HEAD), DO_N(EVENTS, 3), DO(HOLD))}, .want = CHAOS_LEFT, .attempts = 1,
        .gone_ms = 1000, .ms = QUICK_MS),
    /* ---- over time ---- */
    ROW("flapping", "the first says 503 to every other request, the second is well",
        "30 of 30 good answers", .requests = 30,
        .script = {.act = {ACT(STATUS(503)), NULL}, .by_engine = true, .every_other = true},
        .want = CHAOS_GOOD, .attempts = 3, .ms = QUICK_MS),
    ROW("one-breaks-always", "the first resets every connection, the second is well",
        "40 of 40 good answers", .requests = 40, .at_once = 4,
        .script = {.act = {ACT(DO(RST)), NULL}, .by_engine = true}, .want = CHAOS_GOOD,
        .attempts = 3, .ms = QUICK_MS),
    ROW("engine-killed", "two processes; SIGKILL of one under 50 requests a second",
        "100 of 100 good answers", .event = CHAOS_KILL, .requests = 100, .every_ms = 20,
        .want = CHAOS_GOOD, .ms = QUICK_MS),
    ROW("engine-hung", "two processes; SIGSTOP of one under 50 requests a second",
        "100 of 100 good answers: what waits at it is taken back", .event = CHAOS_STOP,
        .requests = 100, .every_ms = 20, .want = CHAOS_GOOD, .ms = LIMITED_MS),
    ROW("retry-budget", "503 to 200 requests, always; two engines",
        "503s, and no more attempts than the budget has", .requests = 200, .at_once = 8,
        .budget = true, .script.act = {ACT(STATUS(503))}, .want = CHAOS_OWN, .statuses = {503},
        .attempts = 2, .ms = QUICK_MS),
};

const struct chaos_row *chaos_table(size_t *n)
{
    *n = ARRAY_LEN(rows);
    return rows;
}
