/* SPDX-License-Identifier: Apache-2.0
 *
 * rows.c - see rows.h.
 */
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { FILE_BYTES = 1 << 20, ROW_BYTES = 1 << 18 };

struct reader {
    const char *path;
    unsigned line;
    struct rows *all;
    struct row *row; /* being read; NULL between rows */
};

static void NORETURN malformed(const struct reader *in, const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", in->path, in->line, what);
    exit(1);
}

static unsigned hex_digit(const struct reader *in, char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;

    if (!at)
        malformed(in, "two small hex digits belong behind \\x");
    return (unsigned)(at - digits);
}

/* "{COUNT*CHARACTER}" behind a backslash; returns its length. */
static size_t add_repeat(const struct reader *in, struct buf *out, struct str s)
{
    struct str count;
    struct str rest = str_from(s, 1);
    uint64_t times;

    count = str_cut(&rest, '*');
    if (!str_u64(count, &times) || times > ROW_BYTES || rest.n < 2 || rest.p[1] != '}')
        malformed(in, "a repetition is written \\{COUNT*CHARACTER}");
    while (times-- > 0)
        buf_char(out, rest.p[0]);
    return count.n + 4;
}

static void add_unescaped(const struct reader *in, struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c != '\\') {
            buf_char(out, c);
            continue;
        }
        if (++i == s.n)
            malformed(in, "a backslash ends the line");
        switch (s.p[i]) {
        case 'r':
            buf_char(out, '\r');
            break;
        case 'n':
            buf_char(out, '\n');
            break;
        case 't':
            buf_char(out, '\t');
            break;
        case '\\':
            buf_char(out, '\\');
            break;
        case 'x':
            if (s.n - i < 3)
                malformed(in, "two small hex digits belong behind \\x");
            buf_char(out, (char)(hex_digit(in, s.p[i + 1]) << 4 | hex_digit(in, s.p[i + 2])));
            i += 2;
            break;
        case '{':
            i += add_repeat(in, out, str_from(s, i)) - 1;
            break;
        default:
            malformed(in, "an unknown escape");
        }
    }
}

static bool take(struct str *s, const char *prefix)
{
    if (!str_starts(*s, str_of(prefix)))
        return false;
    *s = str_from(*s, strlen(prefix));
    return true;
}

static void begin_row(struct reader *in, struct str id)
{
    struct rows *all = in->all;

    for (size_t i = 0; i < all->n; i++)
        if (str_eq(all->row[i].id, id))
            malformed(in, "an id that is taken");
    all->row = mem_resize_array(all->row, all->n + 1, sizeof *all->row);
    in->row = &all->row[all->n++];
    *in->row = (struct row){.id = id,
                            .line = in->line,
                            .bytes = buf_make(ROW_BYTES),
                            .transcript = buf_make(ROW_BYTES)};
}

static void end_row(struct reader *in)
{
    struct row *r = in->row;

    if (!r)
        return;
    if (r->rfc.n == 0 || r->gate.n == 0 || r->bytes.n == 0 || r->transcript.n == 0)
        malformed(in, "a row needs id, rfc, bytes, codec and gate");
    if (buf_status(&r->bytes) < 0 || buf_status(&r->transcript) < 0)
        malformed(in, "a row that is too large");
    in->row = NULL;
}

/* A line of the transcript: escapes stay as they are (raw.h writes the same), repetitions do not.
 */
static void expect(struct reader *in, const char *head, struct str tail)
{
    buf_text(&in->row->transcript, head);
    for (size_t i = 0; i < tail.n; i++) {
        if (tail.p[i] == '\\' && i + 1 < tail.n && tail.p[i + 1] == '{')
            i += add_repeat(in, &in->row->transcript, str_from(tail, i + 1));
        else
            buf_char(&in->row->transcript, tail.p[i]);
    }
    buf_char(&in->row->transcript, '\n');
}

static void read_line(struct reader *in, struct str line)
{
    if (line.n == 0) {
        end_row(in);
    } else if (line.p[0] == '#') {
        return;
    } else if (take(&line, "id: ")) {
        end_row(in);
        begin_row(in, line);
    } else if (!in->row) {
        malformed(in, "a line outside a row");
    } else if (take(&line, "rfc: ")) {
        in->row->rfc = line;
    } else if (take(&line, "note: ")) {
        in->row->note = line;
    } else if (take(&line, "gate: ")) {
        in->row->gate = line;
    } else if (take(&line, "| ")) {
        add_unescaped(in, &in->row->bytes, line);
    } else if (take(&line, "up: ")) {
        in->row->requests++;
        expect(in, "up: ", line);
    } else if (take(&line, "+ ") || take(&line, "~ ")) {
        expect(in, "+ ", line);
    } else if (take(&line, "body: ")) {
        expect(in, "body: ", line);
    } else if (take(&line, "codec: ")) {
        expect(in, "codec: ", line);
    } else if (!take(&line, "nginx: ") && !take(&line, "node: ")) {
        malformed(in, "an unknown line");
    }
}

void rows_read(struct rows *all, const char *path)
{
    struct reader in = {.path = path, .all = all};
    FILE *f = fopen(path, "rb");
    char *text = mem_alloc(FILE_BYTES);
    struct str rest = {text, f ? fread(text, 1, FILE_BYTES, f) : 0};

    if (!f || rest.n == 0 || rest.n == FILE_BYTES)
        malformed(&in, "cannot be read");
    fclose(f);
    all->text = mem_resize_array(all->text, all->files + 1, sizeof *all->text);
    all->text[all->files++] = text;
    while (rest.n > 0) {
        in.line++;
        read_line(&in, str_cut(&rest, '\n'));
    }
    end_row(&in);
}

void rows_free(struct rows *all)
{
    for (size_t i = 0; i < all->n; i++) {
        buf_fini(&all->row[i].bytes);
        buf_fini(&all->row[i].transcript);
    }
    for (size_t i = 0; i < all->files; i++)
        mem_free(all->text[i]);
    mem_free(all->text);
    mem_free(all->row);
}
