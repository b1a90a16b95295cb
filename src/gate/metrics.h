/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.h - what the gate counts, one shard a lane; see base/metrics.h.
 */
#pragma once
#include "base/fault.h"
#include "base/metrics.h"
#include "gate/retry.h"

/* Labels of closed sets. */
enum { GATE_STATUS_CLASSES = 6, GATE_FAULTS = FAULT_client_gone + 1 };

/* What a key did not allow, or why it was none. */
#define GATE_REFUSALS(X)                                                                           \
    X(NO_KEY, "no_key")           /* none was given */                                             \
    X(WRONG_KEY, "wrong_key")     /* malformed, unknown, revoked, or another secret */             \
    X(ADDRESS, "address")         /* one of the two before, once too often from one address */     \
    X(MODEL, "model")             /* the right to the model, or to an engine's own path */         \
    X(CONCURRENCY, "concurrency") /* requests at once */                                           \
    X(REQUESTS, "requests")       /* requests per minute */                                        \
    X(TOKENS, "tokens")           /* tokens per minute */
#define GATE_REFUSAL_AS_ENUM(name, word) GATE_REFUSED_##name,
enum gate_refusal { GATE_REFUSALS(GATE_REFUSAL_AS_ENUM) GATE_REFUSALS_N };

#define GATE_METRICS(X)                                                                            \
    X(COUNTER, requests, "inferd_requests_total",                                                  \
      "Requests ended, by status class (0: cut or gone).", NONE, [GATE_STATUS_CLASSES],            \
      &gate_label_class)                                                                           \
    X(COUNTER, by_model, "inferd_model_requests_total",                                            \
      "Requests ended, by model and status class (0: cut or gone).",                               \
      NONE, [METRICS_NAMES][GATE_STATUS_CLASSES], &label_model, &gate_label_class)                 \
    X(COUNTER, by_engine, "inferd_engine_replies_total",                                           \
      "Reply heads of engines, by engine and status class.",                                       \
      NONE, [METRICS_NAMES][GATE_STATUS_CLASSES], &label_engine, &gate_label_class)                \
    X(COUNTER, faults, "inferd_faults_total", "Requests that failed, by code.",                    \
      NONE, [GATE_FAULTS], &gate_label_fault)                                                      \
    X(COUNTER, key_refused, "inferd_key_refused_total",                                            \
      "Requests refused for their API key or its limits, by reason.", NONE, [GATE_REFUSALS_N],     \
      &gate_label_refusal)                                                                         \
    X(COUNTER, attempts, "inferd_attempts_total", "Requests sent to engines.", NONE, , )           \
    X(COUNTER, retries, "inferd_retries_total", "Further attempts, by what the one before met.",   \
      NONE, [RETRY_KINDS_N], &gate_label_retry)                                                    \
    X(COUNTER, taken_back, "inferd_taken_back_total",                                              \
      "Requests without a byte that left an engine that stopped answering.", NONE, , )             \
    X(COUNTER, limit_retries, "inferd_limit_retry_budget_total",                                   \
      "Attempts that were not made because budget_percent was used up.", NONE, , )                 \
    X(COUNTER, cut_streams, "inferd_cut_streams_total",                                            \
      "Replies that ended unclean because the engine failed after the head.", NONE, , )            \
    X(COUNTER, canceled, "inferd_canceled_total", "Requests whose client left first.", NONE, , )   \
    X(COUNTER, sessions, "inferd_session_requests_total",                                          \
      "Requests that named their session: see affinity.", NONE, , )                                \
    X(COUNTER, fallbacks, "inferd_fallbacks_total",                                                \
      "Replies of a model that was asked because another could not answer, by that model.",        \
      NONE, [METRICS_NAMES], &label_model)                                                         \
    X(COUNTER, tickets, "inferd_tickets_total", "Requests that waited for a slot.", NONE, , )      \
    X(COUNTER, bytes_in, "inferd_client_bytes_in_total", "Request body bytes.", NONE, , )          \
    X(COUNTER, bytes_out, "inferd_client_bytes_out_total", "Reply bytes handed over.", NONE, , )   \
    X(COUNTER, tokens_in, "inferd_prompt_tokens_total", "Prompt tokens that engines reported.",    \
      NONE, , )                                                                                    \
    X(COUNTER, tokens_out, "inferd_completion_tokens_total",                                       \
      "Completion tokens that engines reported.", NONE, , )                                        \
    X(COUNTER, limit_body, "inferd_limit_body_bytes_total", "Refused for body_bytes.", NONE, , )   \
    X(COUNTER, limit_buffered, "inferd_limit_buffered_bytes_total", "Refused for buffered_bytes.", \
      NONE, , )                                                                                    \
    X(COUNTER, limit_unsent, "inferd_limit_unsent_bytes_total", "Replies cut for unsent_bytes.",   \
      NONE, , )                                                                                    \
    X(COUNTER, limit_connections, "inferd_limit_connections_total",                                \
      "Connections refused for the cap.", NONE, , )                                                \
    X(COUNTER, limit_address, "inferd_limit_connections_per_address_total",                        \
      "Connections refused because their address had too many.", NONE, , )                         \
    X(COUNTER, accept_pauses, "inferd_accept_pauses_total",                                        \
      "Times that accepting paused for want of descriptors or memory, or at the cap.", NONE, , )   \
    X(COUNTER, limit_queue_length, "inferd_limit_queue_length_total",                              \
      "Refused because queue_length requests waited for the model.", NONE, , )                     \
    X(COUNTER, limit_queue_ms, "inferd_limit_queue_ms_total",                                      \
      "Refused after waiting queue_ms for a slot, or because it would have.", NONE, , )            \
    X(COUNTER, limit_engine_stall, "inferd_limit_engine_stall_ms_total",                           \
      "Requests that the engine took nothing of for stall_ms.", NONE, , )                          \
    X(COUNTER, limit_first_byte, "inferd_limit_first_byte_ms_total",                               \
      "Requests whose engine sent no head within first_byte_ms.", NONE, , )                        \
    X(COUNTER, limit_idle, "inferd_limit_idle_ms_total",                                           \
      "Replies whose engine fell silent for idle_ms.", NONE, , )                                   \
    X(COUNTER, log_suppressed, "inferd_log_suppressed_total",                                      \
      "Refused heads that the log does not tell: it tells 20 a second.", NONE, , )                 \
    X(GAUGE, in_flight, "inferd_requests_in_flight", "Requests under way.", NONE, , )              \
    X(HISTOGRAM, first_byte, "inferd_first_byte_seconds",                                          \
      "From the request's head to the engine's head.", SECONDS, , )                                \
    X(HISTOGRAM, total, "inferd_request_seconds", "From the request's head to its end.", SECONDS,  \
      , )

struct gate_shard {
    GATE_METRICS(METRICS_FIELD)
};
/* Their values are names: metrics_name(), on control. */
const struct metrics_label *gate_metrics_model(void);
const struct metrics_label *gate_metrics_engine(void);
void gate_metrics_register(struct metrics *m, const struct gate_shard *shard);
