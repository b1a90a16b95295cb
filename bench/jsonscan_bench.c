/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonscan_bench.c - how fast bodies are scanned: MB/s of one core for the shapes of text that
 * decide it, through the index that the request path uses and through the scanner alone with every
 * text wanted, and the worst 8 MiB. Best of several rounds of at least 50 ms each: what the code
 * costs, not what the machine does besides. Prints one line per shape; with --check it fails below
 * the budget.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/jsonindex.h"

enum { BODY_BYTES = 64 << 10, BIG_BYTES = 8 << 20, BUDGET_MB_S = 800 };

static const struct jsonindex_key wanted[] = {
    {.name = "model", .text_bytes = 256},
    {.name = "stream"},
    {.name = "prompt_cache_key", .text_bytes = 256},
    {.name = "user", .text_bytes = 256},
    {.name = "messages"},
    {.name = "prompt"},
};

static double cpu_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int on_event(void *ctx, const struct jsonscan_event *e)
{
    size_t *text = ctx;

    if (e->kind == JSONSCAN_TEXT)
        *text += e->text.n;
    return e->kind == JSONSCAN_KEY || e->kind == JSONSCAN_STRING ? JSONSCAN_WANT_TEXT : JSONSCAN_GO;
}

/* One pass over the body, fed as a connection would: at most 64 KiB at a time. Returns the verdict.
 */
static int pass(struct str body, bool index)
{
    static struct jsonindex ix;
    struct jsonscan s;
    size_t text = 0;
    int r = 0;

    if (index)
        jsonindex_init(&ix, wanted, ARRAY_LEN(wanted));
    else
        jsonscan_init(&s, NULL, on_event, &text);
    for (size_t at = 0; at < body.n && r == 0; at += BODY_BYTES) {
        struct str piece = str_head(str_from(body, at), BODY_BYTES);

        r = index ? jsonindex_feed(&ix, piece.p, piece.n) : jsonscan_feed(&s, piece.p, piece.n);
    }
    if (r == 0)
        r = index ? jsonindex_finish(&ix) : jsonscan_finish(&s);
    return r;
}

/* Seconds of the fastest pass. */
static double measure(struct str body, bool index)
{
    double best = 1e9;

    for (int round = 0; round < 7; round++) {
        double began = cpu_s(), took;
        unsigned n = 0;

        do {
            if (pass(body, index) == -E_SYNTAX) {
                fprintf(stderr, "a benchmark body is malformed\n");
                exit(1);
            }
            n++;
            took = cpu_s() - began;
        } while (took < 0.05);
        if (took / n < best)
            best = took / n;
    }
    return best;
}

/* A chat body of about `bytes` whose one message repeats `unit`. */
static void chat(struct buf *b, const char *unit, size_t bytes)
{
    buf_clear(b);
    buf_text(
        b,
        "{\"model\":\"llama-3.1-8b\",\"stream\":true,\"temperature\":0.7,\"messages\":["
        "{\"role\":\"system\",\"content\":\"You are helpful.\"},{\"role\":\"user\",\"content\":\"");
    while (b->n + strlen(unit) + 4 < bytes)
        buf_text(b, unit);
    buf_text(b, "\"}]}");
}

/* `open`, then `unit` joined by commas up to about `bytes` or `count` times, then `close`. */
static void list(struct buf *b, const char *open, const char *unit, const char *close, size_t bytes,
                 size_t count)
{
    buf_clear(b);
    buf_text(b, open);
    for (size_t i = 0; i < count && b->n + strlen(unit) + strlen(close) + 1 < bytes; i++) {
        if (i)
            buf_char(b, ',');
        buf_text(b, unit);
    }
    buf_text(b, close);
}

static void brackets(struct buf *b, size_t bytes)
{
    buf_clear(b);
    while (b->n < bytes)
        buf_char(b, '[');
}

static double report(const char *name, const struct buf *b)
{
    double index = measure(buf_str(b), true), text = measure(buf_str(b), false);

    if (buf_status(b) < 0)
        exit(1);
    printf("%-34s %9zu bytes  %8.0f MB/s indexed %8.0f MB/s all text %9.3f ms\n", name, b->n,
           (double)b->n / index / 1e6, (double)b->n / text / 1e6, index * 1e3);
    return (double)b->n / index / 1e6;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *unit;
    } chats[] = {
        {"plain text", "The quick brown fox jumps over the lazy dog, and then it does so again. "},
        {"a line break every 80 bytes",
         "The quick brown fox jumps over the lazy dog, and then it does so once again.\\n"},
        {"source code (quotes, breaks)", "    printf(\\\"%s\\\\n\\\", name);\\n\\treturn 0;\\n"},
        {"escapes only (\\n)", "\\n\\t\\\"\\\\"},
        {"\\u escapes only", "\\u00e9\\u4e2d\\ud83d\\ude00"},
        {"French",
         "Voil\xC3\xA0 l'\xC3\xA9t\xC3\xA9 o\xC3\xB9 le ch\xC3\xA2teau fut b\xC3\xA2ti. "},
        {"Russian", "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 \xD0\xBC\xD0\xB8\xD1\x80, "},
        {"Chinese", "\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C\xE3\x80\x82"},
        {"emoji", "\xF0\x9F\x98\x80\xF0\x9F\x9A\x80"},
        {"2-byte, 1-byte alternating", "\xC3\xA9x"},
    };
    struct buf b = buf_make(BIG_BYTES + 4096);
    double plain = 0;

    for (size_t i = 0; i < ARRAY_LEN(chats); i++) {
        double mb_s;

        chat(&b, chats[i].unit, BODY_BYTES);
        mb_s = report(chats[i].name, &b);
        plain = i == 0 ? mb_s : plain;
    }
    list(&b, "{\"prompt\":[", "128000", "]}", BODY_BYTES, BODY_BYTES);
    report("token ids", &b);
    list(&b, "{\"messages\":[", "{\"role\":\"user\",\"content\":\"Hi\"}", "]}", BODY_BYTES,
         BODY_BYTES);
    report("many small messages", &b);
    list(&b, "[", "{\n        \"a\": 1,\n        \"b\": [true, null]\n    }", "]", BODY_BYTES,
         BODY_BYTES);
    report("pretty-printed small objects", &b);

    puts("worst cases of 8 MiB:");
    list(&b, "[", "\"\"", "]", BIG_BYTES, 999999);
    report("a million empty strings", &b);
    list(&b, "[", "{\"a\":0}", "]", BIG_BYTES, 333333);
    report("a million tokens in objects", &b);
    list(&b, "[", "1.5e-7", "]", BIG_BYTES, 999999);
    report("a million numbers", &b);
    list(&b, "[", "      ", "", BIG_BYTES, 1);
    while (b.n < BIG_BYTES - 1)
        buf_char(&b, ' ');
    buf_char(&b, ']');
    report("white space", &b);
    for (size_t i = 3; i < ARRAY_LEN(chats); i++) {
        chat(&b, chats[i].unit, BIG_BYTES);
        report(chats[i].name, &b);
    }
    brackets(&b, 100000);
    report("100,000 open brackets", &b);
    buf_fini(&b);
    if (argc > 1 && strcmp(argv[1], "--check") == 0 && plain < BUDGET_MB_S) {
        printf("plain text: %.0f MB/s is below %d\n", plain, BUDGET_MB_S);
        return 1;
    }
    return 0;
}
