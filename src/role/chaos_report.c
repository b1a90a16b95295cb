/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_report.c - see chaos_report.h.
 */
#include "role/chaos_report.h"

#include "base/jsonw.h"

static const char *const verdicts[] = {
    [CHAOS_PASS] = "pass", [CHAOS_SAFE] = "safe", [CHAOS_FAIL] = "FAIL"};

unsigned chaos_report_count(const struct chaos_result *r, size_t n, enum chaos_verdict verdict)
{
    unsigned found = 0;

    for (size_t i = 0; i < n; i++)
        found += r[i].verdict == verdict;
    return found;
}

void chaos_report_list(struct buf *out)
{
    size_t n;
    const struct chaos_row *rows = chaos_table(&n);

    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%-24s %s\n%24s   client: %s\n", rows[i].name, rows[i].does, "",
                   rows[i].sees);
}

/* "38 the good answer, 2 an error object (502 bad_gateway)". */
static void put_seen(const struct chaos_result *r, struct buf *out)
{
    const char *between = "";
    unsigned all = 0;

    for (unsigned o = 0; o < CHAOS_OUTCOMES_N; o++)
        all += r->seen[o];
    for (unsigned o = 0; o < CHAOS_OUTCOMES_N; o++) {
        if (r->seen[o] == 0)
            continue;
        buf_text(out, between);
        if (all > 1)
            buf_printf(out, "%u x ", r->seen[o]);
        buf_text(out, chaos_answer_words((enum chaos_outcome)o));
        between = ", ";
    }
    if (r->status >= 400 || r->code[0])
        buf_printf(out, " (%u%s%s)", r->status, r->code[0] ? " " : "", r->code);
    if (all == 1 && r->attempts > 1)
        buf_printf(out, ", %u attempts", r->attempts);
}

void chaos_report_line(const struct chaos_result *r, struct buf *out)
{
    buf_printf(out, "%-24s %s %6.2f s  ", r->row->name, verdicts[r->verdict],
               (double)r->request_us / 1e6);
    put_seen(r, out);
    if (r->note[0])
        buf_printf(out, "; %s", r->note);
    buf_char(out, '\n');
}

void chaos_report_sum(const struct chaos_result *r, size_t n, struct buf *out)
{
    buf_printf(out, "%u pass, %u safe, %u fail\n", chaos_report_count(r, n, CHAOS_PASS),
               chaos_report_count(r, n, CHAOS_SAFE), chaos_report_count(r, n, CHAOS_FAIL));
}

static void json_row(struct jsonw *w, const struct chaos_result *r)
{
    char memory[512];
    struct buf seen = buf_on(memory, sizeof(memory));

    put_seen(r, &seen);
    jsonw_begin_object(w);
    jsonw_key(w, "asked");
    jsonw_u64(w, r->asked);
    jsonw_key(w, "attempts");
    jsonw_u64(w, r->attempts);
    jsonw_key(w, "code");
    jsonw_cstr(w, r->code[0] ? r->code : NULL);
    jsonw_key(w, "does");
    jsonw_cstr(w, r->row->does);
    jsonw_key(w, "missed");
    jsonw_bool(w, r->missed);
    jsonw_key(w, "name");
    jsonw_cstr(w, r->row->name);
    jsonw_key(w, "note");
    jsonw_cstr(w, r->note);
    jsonw_key(w, "request_us");
    jsonw_u64(w, r->request_us);
    jsonw_key(w, "seen");
    jsonw_str(w, buf_str(&seen));
    jsonw_key(w, "sees");
    jsonw_cstr(w, r->row->sees);
    jsonw_key(w, "status");
    jsonw_u64(w, r->status);
    jsonw_key(w, "us");
    jsonw_u64(w, r->us);
    jsonw_key(w, "verdict");
    jsonw_cstr(w, r->verdict == CHAOS_FAIL ? "fail" : verdicts[r->verdict]);
    jsonw_end_object(w);
}

void chaos_report_json(const struct chaos_result *r, size_t n, struct buf *out)
{
    struct jsonw w = jsonw_make(out);
    unsigned missed = 0;

    for (size_t i = 0; i < n; i++)
        missed += r[i].missed;
    jsonw_begin_object(&w);
    jsonw_key(&w, "fail");
    jsonw_u64(&w, chaos_report_count(r, n, CHAOS_FAIL));
    jsonw_key(&w, "missed");
    jsonw_u64(&w, missed);
    jsonw_key(&w, "pass");
    jsonw_u64(&w, chaos_report_count(r, n, CHAOS_PASS));
    jsonw_key(&w, "rows");
    jsonw_begin_array(&w);
    for (size_t i = 0; i < n; i++)
        json_row(&w, &r[i]);
    jsonw_end_array(&w);
    jsonw_key(&w, "safe");
    jsonw_u64(&w, chaos_report_count(r, n, CHAOS_SAFE));
    jsonw_end_object(&w);
    buf_char(out, '\n');
}
