/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.c - the tables behind fault.h.
 */
#include "base/fault.h"

#include <stdarg.h>
#include <stdio.h>

#define AS_ROW(code, status, type) [FAULT_##code] = {#code, type, status},
static const struct {
    const char *name;
    const char *type;
    int status;
} rows[] = {[FAULT_none] = {"none", "", 0}, FAULT_CODES(AS_ROW)};

static enum fault_whose whose_fault(int status)
{
    if (status == 502 || status == 504)
        return FAULT_OF_ENGINE;
    if (status == 500)
        return FAULT_OF_US;
    return status < 500 ? FAULT_OF_CLIENT : FAULT_OF_NOBODY;
}

void fault_set(struct fault *f, enum fault_code code, const char *fmt, ...)
{
    va_list ap;
    char text[1024];
    int n;

    *f = (struct fault){.code = code, .status = rows[code].status};
    f->whose = whose_fault(f->status);
    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    n = (int)min_size((size_t)n, sizeof text - 1);
    n = (int)str_utf8_cut(str_span(text, (size_t)n), sizeof f->text - 1);
    memcpy(f->text, text, (size_t)n);
}

const char *fault_code_name(enum fault_code code) { return rows[code].name; }

int fault_code_status(enum fault_code code) { return rows[code].status; }

const char *fault_code_type(enum fault_code code) { return rows[code].type; }

const char *fault_type(const struct fault *f)
{
    if (f->status >= 500 && f->status != rows[f->code].status)
        return "server_error";
    return rows[f->code].type;
}
