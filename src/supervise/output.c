/* SPDX-License-Identifier: Apache-2.0
 *
 * output.c - see output.h. Bytes that end in a newline go to the ring as they are, in one piece;
 * what follows the last newline waits here for the rest of its line, so that the two streams never
 * cut into each other's lines. A line longer than PIECE_BYTES goes on in pieces: nothing a process
 * writes makes us hold more than that.
 *
 * The log gets at most LINES_PER_S lines of a unit in each second. The first that is too much opens
 * a deadline at the end of that second, which tells how many there were.
 */
#include "supervise/output.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "ev/deadline.h"
#include "link/ring.h"

enum {
    PIECE_BYTES = 4000, /* of a line in one record, if it holds them escaped */
    BEFORE_BYTES = 512, /* "[name stdout] " */
    LINES_PER_S = 100,
    SECOND_MS = 1000,
};

struct output {
    struct loop *loop;
    struct log_writer *log;
    const char *name;
    struct ring *ring;              /* NULL: there were no descriptors left */
    struct buf half[CHILD_STREAMS]; /* a line whose end has not come yet */
    uint64_t second_ms;             /* when the second that is being counted began */
    bool all;                       /* nobody counts */
    unsigned lines;                 /* logged in it */
    uint64_t unlogged;
    struct deadline tell; /* armed while unlogged > 0 */
};

static const struct {
    const char *name;
    enum log_level level;
} streams[CHILD_STREAMS] = {
    [CHILD_STDOUT] = {"stdout", LOG_INFO}, [CHILD_STDERR] = {"stderr", LOG_WARN}};

struct output *output_create(struct loop *l, struct log_writer *log, const char *name)
{
    struct output *o = xnew(struct output, .loop = l, .log = log, .name = name);
    int err = ring_create(&o->ring);

    for (int s = 0; s < CHILD_STREAMS; s++)
        o->half[s] = buf_make(PIECE_BYTES);
    if (err < 0) {
        struct log_rec *r = log_begin(log, LOG_ERROR, loop_wall_us(l), "supervise",
                                      "no room for a unit's output: it goes to the log only");

        log_text(r, "unit", name);
        log_err(r, "error", err);
        log_end(r);
    }
    return o;
}

void output_log_all(struct output *o) { o->all = true; }

static void tell_unlogged(struct output *o)
{
    struct log_rec *r;

    if (!o->unlogged)
        return;
    r = log_begin(o->log, LOG_WARN, loop_wall_us(o->loop), "supervise",
                  "a unit writes more than is logged; `inferd ctl logs` has it");
    log_text(r, "unit", o->name);
    log_u64(r, "lines_not_logged", o->unlogged);
    log_end(r);
    o->unlogged = 0;
}

void output_destroy(struct output **op)
{
    struct output *o = TAKE(op);

    if (!o)
        return;
    tell_unlogged(o);
    deadline_stop(&o->tell);
    for (int s = 0; s < CHILD_STREAMS; s++)
        buf_fini(&o->half[s]);
    ring_close(&o->ring);
    mem_free(o);
}

static void on_second(struct deadline *d) { tell_unlogged(container_of(d, struct output, tell)); }

static bool may_log(struct output *o)
{
    uint64_t now = loop_now_ms(o->loop);

    if (o->all)
        return true;
    if (now - o->second_ms >= SECOND_MS) {
        tell_unlogged(o);
        deadline_stop(&o->tell);
        o->second_ms = now;
        o->lines = 0;
    }
    if (o->lines < LINES_PER_S) {
        o->lines++;
        return true;
    }
    if (o->unlogged++ == 0)
        deadline_arm(o->loop, &o->tell, o->second_ms + SECOND_MS - now, on_second);
    return false;
}

/* Returns what the record had no room for. */
static struct str log_piece(struct output *o, enum child_stream s, struct str piece)
{
    char memory[BEFORE_BYTES];
    struct buf before = buf_on(memory, sizeof memory);

    if (!log_enabled(streams[s].level) || !may_log(o))
        return STR_NONE;
    buf_printf(&before, "[%.*s %s] ", BEFORE_BYTES - 16, o->name, streams[s].name);
    log_end(log_begin_part(o->log, streams[s].level, loop_wall_us(o->loop), "supervise",
                           buf_str(&before), &piece));
    return piece;
}

/* Without its newline. */
static void log_line(struct output *o, enum child_stream s, struct str line)
{
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    do {
        size_t n = str_utf8_cut(line, PIECE_BYTES);

        line = str_from(line, n - log_piece(o, s, str_head(line, n)).n);
    } while (line.n);
}

static void write_ring(struct output *o, struct str bytes)
{
    if (o->ring && bytes.n)
        ring_write(o->ring, bytes);
}

/* A half line becomes a line, or a piece of one. */
static void end_half(struct output *o, enum child_stream s)
{
    struct buf half = o->half[s];

    o->half[s] = buf_make(PIECE_BYTES);
    write_ring(o, buf_str(&half));
    log_line(o, s, str_head(buf_str(&half), half.n - (half.p[half.n - 1] == '\n')));
    buf_fini(&half);
}

/* Adds to the half line up to its newline or to its bound; returns what is left of `bytes`. */
static struct str complete_half(struct output *o, enum child_stream s, struct str bytes)
{
    struct buf *half = &o->half[s];
    size_t n = str_find(bytes, '\n') + 1, room = PIECE_BYTES - half->n;
    bool ends = n <= bytes.n && n <= room;

    n = min_size(min_size(n, room), bytes.n);
    buf_add(half, str_head(bytes, n));
    if (ends || half->n == PIECE_BYTES)
        end_half(o, s);
    return str_from(bytes, n);
}

/* All whole lines at the beginning of `bytes`; returns what is left. */
static struct str take_lines(struct output *o, enum child_stream s, struct str bytes)
{
    const char *last = memrchr(bytes.p, '\n', bytes.n);
    size_t n = last ? (size_t)(last - bytes.p) + 1 : 0;
    struct str lines = str_head(bytes, n ? n - 1 : 0);

    if (!n)
        return bytes;
    write_ring(o, str_head(bytes, n));
    do {
        log_line(o, s, str_cut(&lines, '\n'));
    } while (lines.p);
    return str_from(bytes, n);
}

void output_take(struct output *o, enum child_stream s, struct str bytes)
{
    if (!bytes.n && o->half[s].n) { /* nobody wrote its newline: the next line must not join it */
        buf_char(&o->half[s], '\n');
        end_half(o, s);
    }
    if (bytes.n && o->half[s].n)
        bytes = complete_half(o, s, bytes);
    if (bytes.n)
        bytes = take_lines(o, s, bytes);
    while (bytes.n)
        bytes = complete_half(o, s, bytes);
}

void output_note(struct output *o, const char *text)
{
    char memory[1024];
    struct buf line = buf_on(memory, sizeof memory - 1);

    buf_printf(&line, "--- %.*s", (int)sizeof memory - 16, text);
    memory[line.n++] = '\n';
    write_ring(o, buf_str(&line));
}

const struct ring *output_ring(const struct output *o) { return o->ring; }
