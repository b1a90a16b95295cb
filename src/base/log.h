/* SPDX-License-Identifier: Apache-2.0
 *
 * log.h - one record, three formats, on stdout. Every thread that logs owns a `struct log_writer`
 * (lane, control, the master's loop): it fills 4 KiB blocks of whole lines without a lock, a system
 * call or a clock of its own. One log thread per process writes the blocks; records leave within
 * 100 ms without the owner doing anything. A line is at most 4,000 bytes, one of a child 4,096, so
 * a write to a full non-blocking pipe is all or nothing. What cannot be written waits in the
 * writer's blocks; when they are full, new records are dropped, counted, and the count is logged
 * once there is room. A reader of stdout that stalls, closes or runs out of disk stops nobody.
 *
 *   struct log_rec *r = log_begin(lane->log, LOG_INFO, wall_us, "gate", "request");
 *
 *   log_str(r, "model", model);        what a peer sent: escaped, quoted, cut
 *   log_u64(r, "status", status);
 *   log_ms(r, "total_ms", total_us);
 *   log_end(r);
 *
 * log_begin() returns NULL for a filtered level; every other function takes that NULL and does
 * nothing. Keys and targets are literals of ours: letters, digits, '_', '.', ':'. Only gate,
 * supervise, queue, api and role log; lower layers return codes. Prompts, secrets, query strings
 * and bodies are never logged, in no format.
 */
#pragma once
#include "base/err.h"
#include "base/str.h"

enum log_level {
    LOG_OFF,   /* as a threshold: nothing */
    LOG_ERROR, /* something we promised does not work */
    LOG_WARN,  /* it works, but somebody should look */
    LOG_INFO,  /* one line per request and per state change of anything long-lived */
    LOG_DEBUG, /* why it did that */
    LOG_TRACE, /* every step */
};

enum log_format {
    LOG_LOGFMT, /* ts=2026-11-20T21:08:53.120411Z level=info target=gate msg=request model=tiny */
    LOG_JSON,   /* {"ts":"2026-11-20T21:08:53.120411Z","level":"info","target":"gate","msg":...} */
    LOG_SVC,    /* 2026-11-20T21:08:53.120411Z  INFO inferd::router: message model=tiny */
};

enum {
    LOG_LINE_BYTES = 4000, /* a line, its newline included */
    LOG_LONG_BYTES = 4096, /* one of log_begin_part(): what a pipe takes whole (PIPE_BUF) */
    LOG_VALUE_BYTES = 512, /* a value of log_str(), escaped; longer ones end in an ellipsis */
    LOG_TEXT_BYTES = 3000, /* a message, and the largest value log_str_cut() allows */
    LOG_WRITERS = 80,      /* at once in a process: more than it may have lanes */
};

struct log_writer; /* opaque, one thread's */
struct log_rec;    /* the record a writer is assembling, one at a time */

struct log_conf {
    enum log_format format;
    enum log_level level;
    int fd;      /* usually STDOUT_FILENO; stays the caller's and keeps its flags */
    bool colour; /* NO_COLOR is empty: svc lines are coloured if `fd` is also a terminal */
};

/* Starts the log thread. Until then, and after log_fini(), records go to stderr at once, whole,
 * with write(2). No other thread may log during log_init() and log_fini(). */
int log_init(const struct log_conf *conf) MUSTCHECK;
/* Writes what is there, unless the reader makes no room for 200 ms, and ends the log thread. At
 * most 1.5 s. */
void log_fini(void);

/* Any thread, any time; take effect with the next record. */
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
/* Worth preparing values for? */
bool log_enabled(enum log_level level);
/* "logfmt", "json", "svc"; -E_SYNTAX otherwise. */
int log_format_parse(struct str name, enum log_format *ret) MUSTCHECK;
/* "off".."trace", any case; -E_SYNTAX otherwise. */
int log_level_parse(struct str name, enum log_level *ret) MUSTCHECK;
const char *log_level_name(enum log_level level);
/* INFERD_LOG and RUST_LOG of the svc roles: a level, or a comma list of level and target=level. A
 * target counts when its part before "::" is `role`, "inferd" or "infini_<role>" ('-' equals '_');
 * it beats a bare level, and the last one that counts wins. *ret stays as it was when nothing
 * counts. Returns how many parts could not be used: log one warning when that is not 0. */
unsigned log_filter_parse(struct str filter, struct str role, enum log_level *ret);

/* For the calling thread. Aborts beyond LOG_WRITERS. */
struct log_writer *log_writer_create(void) __attribute__((returns_nonnull));
/* What it holds is still written. NULL is fine. */
void log_writer_destroy(struct log_writer **writer);
/* Records dropped in this process so far, whatever the reason. Any thread. */
uint64_t log_dropped(void);

/* `wall_us`: microseconds since the epoch, from the loop's clock. NULL when the level is filtered.
 */
struct log_rec *log_begin(struct log_writer *w, enum log_level level, uint64_t wall_us,
                          const char *target, const char *message);
/* The same with a formatted message, which may hold text from outside. */
struct log_rec *log_beginf(struct log_writer *w, enum log_level level, uint64_t wall_us,
                           const char *target, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* The same with a message of bytes from anywhere. */
struct log_rec *log_begin_str(struct log_writer *w, enum log_level level, uint64_t wall_us,
                              const char *target, struct str message);
/* The same with `before` and as much of *rest as one line of LOG_LONG_BYTES holds, cut between two
 * characters: *rest is what is left. It has no room for fields. */
struct log_rec *log_begin_part(struct log_writer *w, enum log_level level, uint64_t wall_us,
                               const char *target, struct str before, struct str *rest);
/* Bytes from anywhere: control characters, invalid UTF-8 and what makes terminals lie are escaped.
 */
void log_str(struct log_rec *r, const char *key, struct str value);
/* The same, cut at `max` <= LOG_TEXT_BYTES escaped bytes. */
void log_str_cut(struct log_rec *r, const char *key, struct str value, size_t max);
/* A NUL-terminated string; NULL reads as "". */
void log_text(struct log_rec *r, const char *key, const char *value);
void log_u64(struct log_rec *r, const char *key, uint64_t value);
void log_i64(struct log_rec *r, const char *key, int64_t value);
void log_bool(struct log_rec *r, const char *key, bool value);
/* Microseconds, printed as milliseconds with three decimals. */
void log_ms(struct log_rec *r, const char *key, uint64_t us);
/* A negative code as its text: "connection reset by peer". */
void log_err(struct log_rec *r, const char *key, int err);
/* Hands the line over. A field that found no room is left out, and cut=true says so. */
void log_end(struct log_rec *r);
