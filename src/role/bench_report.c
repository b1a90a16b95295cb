/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_report.c - see bench_report.h.
 */
#include "role/bench_report.h"

#include "base/jsonw.h"

#define AS_NAME(id, name) [BENCH_##id] = name,
static const char *const outcome_names[] = {BENCH_OUTCOMES(AS_NAME)};

static const struct {
    const char *key, *text;
    double q;
} shares[] = {
    {"p50", "p50", 0.5},
    {"p90", "p90", 0.9},
    {"p99", "p99", 0.99},
    {"p99_9", "p99.9", 0.999},
};

void bench_report_merge(struct bench_result *into, const struct bench_result *from)
{
    for (size_t i = 0; i < BENCH_OUTCOMES_N; i++)
        into->outcome[i] += from->outcome[i];
    for (size_t i = 0; i < BENCH_STATUSES; i++)
        into->status[i] += from->status[i];
    if (!into->first_why)
        into->first_why = from->first_why;
    if (!into->err)
        into->err = from->err;
    if (from->start_us && (!into->start_us || from->start_us < into->start_us))
        into->start_us = from->start_us;
    if (from->end_us > into->end_us)
        into->end_us = from->end_us;
    into->body_bytes += from->body_bytes;
    into->events += from->events;
    into->connects += from->connects;
    into->races += from->races;
    bench_hist_merge(&into->latency, &from->latency);
    bench_hist_merge(&into->first, &from->first);
    bench_hist_merge(&into->gap, &from->gap);
    bench_hist_merge(&into->delay, &from->delay);
}

static bool is_failure(size_t outcome)
{
    return outcome != BENCH_OK && outcome != BENCH_TRUNCATED && outcome != BENCH_UNFINISHED;
}

uint64_t bench_report_failed(const struct bench_result *r)
{
    uint64_t n = 0;

    for (size_t i = 0; i < BENCH_OUTCOMES_N; i++)
        n += is_failure(i) ? r->outcome[i] : 0;
    return n;
}

static double seconds_of(const struct bench_result *r)
{
    return r->end_us > r->start_us ? (double)(r->end_us - r->start_us) / 1e6 : 0;
}

static double a_second(const struct bench_result *r, uint64_t n)
{
    double seconds = seconds_of(r);

    return seconds > 0 ? (double)n / seconds : 0;
}

/* ---- for people ---- */

static void put_us(struct buf *out, double us)
{
    if (us < 1000)
        buf_printf(out, "%.0f us", us);
    else if (us < 1e6)
        buf_printf(out, "%.2f ms", us / 1e3);
    else
        buf_printf(out, "%.2f s", us / 1e6);
}

static void put_hist(struct buf *out, const char *name, const struct bench_hist *h)
{
    if (h->count == 0)
        return;
    buf_printf(out, "%-12s", name);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        buf_printf(out, "%s ", shares[i].text);
        put_us(out, (double)bench_hist_at(h, shares[i].q));
        buf_text(out, "  ");
    }
    buf_text(out, "max ");
    put_us(out, (double)h->max);
    buf_text(out, "  mean ");
    put_us(out, bench_hist_mean(h));
    buf_char(out, '\n');
}

static void put_failures(struct buf *out, const struct bench_result *r)
{
    const char *between = " (";
    uint64_t failed = bench_report_failed(r);

    buf_printf(out, "%-12s%llu", "failed", (unsigned long long)failed);
    for (size_t i = 0; i < BENCH_OUTCOMES_N; i++) {
        if (!is_failure(i) || r->outcome[i] == 0)
            continue;
        buf_printf(out, "%s%s %llu", between, outcome_names[i], (unsigned long long)r->outcome[i]);
        between = ", ";
    }
    buf_text(out, failed ? ")\n" : "\n");
    for (size_t i = 0; i < BENCH_STATUSES; i++)
        if ((i < 200 || i > 299) && r->status[i] > 0)
            buf_printf(out, "%-12s%zu: %llu\n", "  status", i, (unsigned long long)r->status[i]);
    if (r->first_why)
        buf_printf(out, "%-12s%s\n", "  first", r->first_why);
}

void bench_report_text(const struct bench_result *r, bool stream, struct buf *out)
{
    uint64_t ok = r->outcome[BENCH_OK];

    buf_printf(out, "%-12s%llu in %.2f s, %.1f a second\n", "ok", (unsigned long long)ok,
               seconds_of(r), a_second(r, ok));
    put_failures(out, r);
    buf_printf(out, "%-12s%llu\n", "truncated", (unsigned long long)r->outcome[BENCH_TRUNCATED]);
    buf_printf(out, "%-12s%llu\n", "unfinished", (unsigned long long)r->outcome[BENCH_UNFINISHED]);
    buf_printf(out, "%-12s%llu opened, %llu lost the race of reuse\n", "connections",
               (unsigned long long)r->connects, (unsigned long long)r->races);
    buf_printf(out, "%-12s%.1f MB of bodies\n", "received", (double)r->body_bytes / 1e6);
    put_hist(out, "latency", &r->latency);
    put_hist(out, stream ? "first event" : "first byte", &r->first);
    if (!stream)
        return;
    buf_printf(out, "%-12s%llu, %.1f a second\n", "events", (unsigned long long)r->events,
               a_second(r, r->events));
    put_hist(out, "gap", &r->gap);
    put_hist(out, "added delay", &r->delay);
}

/* ---- as JSON: keys in ascending order ---- */

static void json_hist(struct jsonw *w, const char *key, const struct bench_hist *h)
{
    jsonw_key(w, key);
    if (h->count == 0) {
        jsonw_null(w);
        return;
    }
    jsonw_begin_object(w);
    jsonw_key(w, "count");
    jsonw_u64(w, h->count);
    jsonw_key(w, "max");
    jsonw_u64(w, h->max);
    jsonw_key(w, "mean");
    jsonw_double(w, bench_hist_mean(h));
    jsonw_key(w, "min");
    jsonw_u64(w, h->min);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        jsonw_key(w, shares[i].key);
        jsonw_u64(w, bench_hist_at(h, shares[i].q));
    }
    jsonw_end_object(w);
}

static void json_u64(struct jsonw *w, const char *key, uint64_t v)
{
    jsonw_key(w, key);
    jsonw_u64(w, v);
}

static void json_failures(struct jsonw *w, const struct bench_result *r)
{
    static const enum bench_outcome sorted[] = {
        BENCH_CONNECT,   BENCH_MALFORMED, BENCH_NO_REPLY,
        BENCH_NO_STREAM, BENCH_STATUS,    BENCH_TIMEOUT,
    };

    json_u64(w, "failed", bench_report_failed(r));
    jsonw_key(w, "failed_by");
    jsonw_begin_object(w);
    for (size_t i = 0; i < ARRAY_LEN(sorted); i++)
        json_u64(w, outcome_names[sorted[i]], r->outcome[sorted[i]]);
    jsonw_end_object(w);
}

static void json_statuses(struct jsonw *w, const struct bench_result *r)
{
    char memory[8];

    jsonw_key(w, "status");
    jsonw_begin_object(w);
    for (size_t i = 0; i < BENCH_STATUSES; i++) {
        struct buf key = buf_on(memory, sizeof(memory));

        if (r->status[i] == 0)
            continue;
        buf_printf(&key, "%03zu", i);
        jsonw_key_str(w, buf_str(&key));
        jsonw_u64(w, r->status[i]);
    }
    jsonw_end_object(w);
}

void bench_report_json(const struct bench_result *r, struct buf *out)
{
    struct jsonw w = jsonw_make(out);

    jsonw_begin_object(&w);
    json_u64(&w, "body_bytes", r->body_bytes);
    json_u64(&w, "connects", r->connects);
    json_hist(&w, "delay_us", &r->delay);
    json_u64(&w, "duration_us", r->end_us > r->start_us ? r->end_us - r->start_us : 0);
    json_u64(&w, "events", r->events);
    json_failures(&w, r);
    jsonw_key(&w, "first_failure");
    jsonw_cstr(&w, r->first_why);
    json_hist(&w, "first_us", &r->first);
    json_hist(&w, "gap_us", &r->gap);
    json_hist(&w, "latency_us", &r->latency);
    json_u64(&w, "ok", r->outcome[BENCH_OK]);
    json_u64(&w, "races", r->races);
    jsonw_key(&w, "rate");
    jsonw_double(&w, a_second(r, r->outcome[BENCH_OK]));
    json_statuses(&w, r);
    json_u64(&w, "truncated", r->outcome[BENCH_TRUNCATED]);
    json_u64(&w, "unfinished", r->outcome[BENCH_UNFINISHED]);
    jsonw_end_object(&w);
    buf_char(out, '\n');
}
