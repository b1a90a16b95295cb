/* SPDX-License-Identifier: Apache-2.0
 *
 * services_file.c - see services_file.h.
 */
#include "role/services_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"

enum { PIECE = 1 << 16, WARNINGS_MAX = 100 };

struct reading {
    const char *path;
    struct loop *loop;
    struct log_writer *log;
    struct buf *why;
    unsigned warnings;
};

static void on_note(void *ctx, const struct listing_note *note)
{
    struct reading *q = ctx;
    char memory[LOG_TEXT_BYTES];
    struct buf text = buf_on(memory, sizeof memory);
    struct log_rec *r;

    listing_write_note(note, &text);
    if (note->gravity == LISTING_REFUSED) {
        buf_printf(q->why, "%s: %.*s", q->path, STR_ARGS(buf_str(&text)));
        return;
    }
    if (q->warnings++ >= WARNINGS_MAX)
        return;
    r = log_begin(q->log, LOG_WARN, loop_wall_us(q->loop), "router",
                  "the file of static services is not as it should be");
    log_text(r, "file", q->path);
    log_str_cut(r, "what", buf_str(&text), LOG_TEXT_BYTES);
    log_end(r);
}

static int read_all(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r = 0;
    ssize_t n = 0;

    if (fd < 0)
        return err_sys(errno);
    do {
        char *room = buf_reserve(out, PIECE);

        n = room ? read(fd, room, PIECE) : -1;
        if (n < 0)
            r = room ? err_sys(errno) : -E_LIMIT;
        else
            out->n += (size_t)n;
    } while (n > 0);
    (void)close(fd);
    return r;
}

int services_file_read(const char *path, uint64_t seed, struct loop *l, struct log_writer *log,
                       struct listing *ret, struct buf *why)
{
    struct reading q = {.path = path, .loop = l, .log = log, .why = why};
    struct buf bytes = buf_make(LISTING_BYTES + 2 * PIECE);
    int r = read_all(path, &bytes);

    if (r < 0) {
        buf_printf(why, "%s: cannot be read: %s", path, err_text(r));
        r = -E_CONF;
    } else {
        r = listing_read(buf_str(&bytes), LISTING_FILE, seed, on_note, &q, ret);
    }
    buf_fini(&bytes);
    return r;
}
