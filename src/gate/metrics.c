/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.c - the families of metrics.h.
 */
#include "gate/metrics.h"

static const char *const classes[GATE_STATUS_CLASSES] = {"0", "1xx", "2xx", "3xx", "4xx", "5xx"};
#define AS_TEXT(code, status, type) [FAULT_##code] = #code,
static const char *const faults[GATE_FAULTS] = {[FAULT_none] = "none", FAULT_CODES(AS_TEXT)};
#define AS_WORD(name, word) word,
static const char *const refusals[GATE_REFUSALS_N] = {GATE_REFUSALS(AS_WORD)};
static const struct metrics_label gate_label_refusal = {"reason", GATE_REFUSALS_N, refusals};
static const struct metrics_label gate_label_class = {"class", GATE_STATUS_CLASSES, classes};
#define RETRY_WORD(bit, word, dflt) word,
static const char *const retry_kinds[] = {RETRY_KINDS(RETRY_WORD)};
static const struct metrics_label gate_label_retry = {"after", RETRY_KINDS_N, retry_kinds};
static const struct metrics_label gate_label_fault = {"code", GATE_FAULTS, faults};

static const struct metrics_label label_model = {"model", METRICS_NAMES, NULL};
static const struct metrics_label label_engine = {"engine", METRICS_NAMES, NULL};

#define GATE_ROW(...) METRICS_ROW(struct gate_shard, __VA_ARGS__)
static const struct metrics_family families[] = {GATE_METRICS(GATE_ROW)};

const struct metrics_label *gate_metrics_model(void) { return &label_model; }

const struct metrics_label *gate_metrics_engine(void) { return &label_engine; }

void gate_metrics_register(struct metrics *m, const struct gate_shard *shard)
{
    METRICS_REGISTER(m, families, shard);
}
