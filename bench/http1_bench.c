/* SPDX-License-Identifier: Apache-2.0
 *
 * http1_bench.c - what one request costs in the codecs: ns per request head and per response head
 * (parsed and written again without their hop-by-hop fields, as the relay does), per chunk, per SSE
 * event. The figure is the best of several rounds: everything above it is the machine's doing.
 */
#include <stdio.h>
#include <time.h>

#include "proto/chunked.h"
#include "proto/http1.h"
#include "proto/sse.h"

static const char request[] = "POST /v1/chat/completions HTTP/1.1\r\n"
                              "Host: 127.0.0.1:8900\r\n"
                              "Accept: application/json\r\n"
                              "Accept-Encoding: gzip, deflate\r\n"
                              "Connection: keep-alive\r\n"
                              "Content-Type: application/json\r\n"
                              "User-Agent: OpenAI/Python 1.54.3\r\n"
                              "X-Stainless-Lang: python\r\n"
                              "X-Stainless-OS: Linux\r\n"
                              "Authorization: Bearer sk-0123456789abcdef0123456789abcdef\r\n"
                              "Content-Length: 312\r\n"
                              "\r\n";
static const char response[] = "HTTP/1.1 200 OK\r\n"
                               "date: Tue, 25 Nov 2025 04:44:00 GMT\r\n"
                               "server: uvicorn\r\n"
                               "content-length: 512\r\n"
                               "content-type: application/json\r\n"
                               "x-request-id: 5f2c9a7e-6d1b-4a0c-9f3e-0123456789ab\r\n"
                               "\r\n";
static const char event[] =
    "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1694268190,"
    "\"model\":\"tiny\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},"
    "\"finish_reason\":null}]}\n\n";
static const struct http1_limits limits = {
    .head_bytes = 32768, .request_line_bytes = 8192, .fields = 100};

static struct http1_head head;
static uint64_t sink; /* keeps the work from being optimised away */

static void parse(const char *bytes, size_t n, bool is_response)
{
    struct http1_parser p;

    http1_init(&p, is_response, &limits);
    CHECK(http1_parse(&p, bytes, n, &head) == (long)n);
    sink += head.nfields;
}

static void parse_request(void) { parse(request, sizeof request - 1, false); }

static void parse_response(void) { parse(response, sizeof response - 1, true); }

static void rewrite(const char *bytes)
{
    char room[1024];
    struct buf out = buf_on(room, sizeof room);

    if (head.response)
        http1_write_status_line(&out, head.status);
    else
        http1_write_request_line(&out, http1_str(bytes, head.method_name),
                                 http1_str(bytes, head.target));
    for (size_t i = 0; i < head.nfields; i++)
        if (!http1_is_hop_by_hop(&head, bytes, &head.field[i]))
            http1_write_field(&out, http1_str(bytes, head.field[i].name),
                              http1_str(bytes, head.field[i].value));
    http1_write_length(&out, head.content_length);
    http1_write_end(&out);
    CHECK(buf_status(&out) == 0);
    sink += out.n;
}

static void relay_request(void)
{
    parse_request();
    rewrite(request);
}

static void relay_response(void)
{
    parse_response();
    rewrite(response);
}

static void relay_event(void)
{
    static struct sse_parser s;
    size_t used;

    CHECK(sse_next(&s, event, sizeof event - 1, &used) == SSE_EVENT && used == sizeof event - 1);
    sink += used;
}

static void relay_chunk(void)
{
    static struct chunked_decoder d;
    static char chunk[300];
    static size_t n;
    struct str data;

    if (n == 0) {
        n = chunked_write_head(chunk, sizeof event - 1);
        memcpy(chunk + n, event, sizeof event - 1);
        memcpy(chunk + n + sizeof event - 1, "\r\n", 2);
        n += sizeof event - 1 + 2;
    }
    CHECK(chunked_decode(&d, chunk, n, &data) == (long)n && data.n == sizeof event - 1);
    sink += data.n;
}

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void measure(const char *what, size_t bytes, void (*fn)(void))
{
    enum { ROUNDS = 20, TIMES = 100000 };
    double best = 1e18;

    for (int round = 0; round < ROUNDS; round++) {
        double from = now_ns(), each;

        for (int i = 0; i < TIMES; i++)
            fn();
        each = (now_ns() - from) / TIMES;
        best = each < best ? each : best;
    }
    printf("%-36s %4zu bytes %7.1f ns\n", what, bytes, best);
}

int main(void)
{
    measure("request head, parsed", sizeof request - 1, parse_request);
    measure("request head, parsed and written", sizeof request - 1, relay_request);
    measure("response head, parsed", sizeof response - 1, parse_response);
    measure("response head, parsed and written", sizeof response - 1, relay_response);
    measure("SSE event found", sizeof event - 1, relay_event);
    measure("chunk with an SSE event decoded", sizeof event - 1, relay_chunk);
    return sink == 0;
}
