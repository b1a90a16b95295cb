/* SPDX-License-Identifier: Apache-2.0
 *
 * paths.c - the one table of paths: which are answered here (with or without a key), which go to an
 * engine of the model that the body names and which kinds of engines speak them, and which manage
 * an engine. What is not in it is unknown and reaches nobody.
 *
 * An inference path is a POST whose body is JSON with a `model`. Uploads (multipart), WebSockets
 * and paths that go on with an engine's earlier state (/v1/responses/{id}) are no such thing. An
 * engine of kind `openai` is any server that speaks OpenAI's API, so it is offered every path below
 * /v1.
 *
 * Management paths are those that change an engine, that show what others ask it, or that tell of
 * its inside; they are listed so that the refusal can say so. /metrics, /services and /stats are
 * not among them although engines have some: on the data side nothing has these names.
 *
 * Paths are compared as they came: an escaped letter makes another path, hence an unknown one.
 * Hot rows stand first.
 */
#include "api/api_priv.h"

#define OPENAI (1u << ENGINE_KIND_OPENAI)
#define LLAMA (1u << ENGINE_KIND_LLAMA)
#define VLLM (1u << ENGINE_KIND_VLLM)
#define OLLAMA (1u << ENGINE_KIND_OLLAMA)
#define ALL (OPENAI | LLAMA | VLLM | OLLAMA)

struct row {
    struct str path; /* one that ends in '/' stands for all below it */
    uint8_t class;   /* enum path_class */
    uint8_t kinds;   /* of inference paths */
};

#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }
#define INFER(path, kinds)                                                                         \
    {                                                                                              \
        TEXT(path), PATH_INFERENCE, (kinds)                                                        \
    }
#define OWN(path)                                                                                  \
    {                                                                                              \
        TEXT(path), PATH_OWN, 0                                                                    \
    }
#define OPEN(path)                                                                                 \
    {                                                                                              \
        TEXT(path), PATH_OPEN, 0                                                                   \
    }
#define MANAGE(path)                                                                               \
    {                                                                                              \
        TEXT(path), PATH_MANAGE, 0                                                                 \
    }

static const struct row rows[] = {
    INFER("/v1/chat/completions", ALL),
    INFER("/v1/completions", ALL),
    INFER("/v1/embeddings", ALL),
    INFER("/v1/responses", ALL),
    INFER("/v1/messages", ALL),
    INFER("/api/chat", OLLAMA),
    INFER("/api/generate", OLLAMA),
    OPEN("/health"),
    OPEN("/ready"),
    OWN("/v1/models"),
    OWN("/models"),
    OWN("/v1/models/"),
    /* OpenAI and what others put beside it */
    INFER("/v1/messages/count_tokens", OPENAI | LLAMA | VLLM),
    INFER("/v1/responses/input_tokens", OPENAI | LLAMA),
    INFER("/v1/moderations", OPENAI),
    INFER("/v1/images/generations", OPENAI | VLLM | OLLAMA),
    INFER("/v1/audio/speech", OPENAI | VLLM),
    INFER("/v1/rerank", OPENAI | LLAMA | VLLM),
    INFER("/v1/reranking", OPENAI | LLAMA),
    INFER("/v1/score", OPENAI | VLLM),
    INFER("/v1/tokenize", OPENAI),
    INFER("/v1/detokenize", OPENAI),
    INFER("/v1/chat/completions/batch", OPENAI | VLLM),
    INFER("/v1/chat/completions/render", OPENAI | VLLM),
    INFER("/v1/completions/render", OPENAI | VLLM),
    /* llama.cpp, some of it vLLM's too */
    INFER("/completion", LLAMA),
    INFER("/completions", LLAMA),
    INFER("/chat/completions", LLAMA),
    INFER("/responses", LLAMA),
    INFER("/infill", LLAMA),
    INFER("/embedding", LLAMA),
    INFER("/embeddings", LLAMA),
    INFER("/rerank", LLAMA | VLLM),
    INFER("/reranking", LLAMA),
    INFER("/tokenize", LLAMA | VLLM),
    INFER("/detokenize", LLAMA | VLLM),
    INFER("/apply-template", LLAMA),
    /* vLLM */
    INFER("/v2/rerank", VLLM),
    INFER("/v2/embed", VLLM),
    INFER("/score", VLLM),
    INFER("/classify", VLLM),
    INFER("/pooling", VLLM),
    INFER("/generative_scoring", VLLM),
    INFER("/invocations", VLLM),
    INFER("/inference/v1/generate", VLLM),
    /* Ollama */
    INFER("/api/embed", OLLAMA),
    INFER("/api/embeddings", OLLAMA),

    /* llama.cpp */
    MANAGE("/props"),
    MANAGE("/slots"),
    MANAGE("/slots/"),
    MANAGE("/lora-adapters"),
    MANAGE("/models/load"),
    MANAGE("/models/unload"),
    MANAGE("/models/sse"),
    MANAGE("/cors-proxy"),
    MANAGE("/tools"),
    /* vLLM */
    MANAGE("/v1/load_lora_adapter"),
    MANAGE("/v1/unload_lora_adapter"),
    MANAGE("/sleep"),
    MANAGE("/wake_up"),
    MANAGE("/is_sleeping"),
    MANAGE("/pause"),
    MANAGE("/resume"),
    MANAGE("/is_paused"),
    MANAGE("/abort_requests"),
    MANAGE("/collective_rpc"),
    MANAGE("/reset_prefix_cache"),
    MANAGE("/reset_mm_cache"),
    MANAGE("/reset_encoder_cache"),
    MANAGE("/start_profile"),
    MANAGE("/stop_profile"),
    MANAGE("/scale_elastic_ep"),
    MANAGE("/is_scaling_elastic_ep"),
    MANAGE("/init_weight_transfer_engine"),
    MANAGE("/update_weights"),
    MANAGE("/get_world_size"),
    MANAGE("/server_info"),
    MANAGE("/tokenizer_info"),
    MANAGE("/load"),
    MANAGE("/ping"),
    MANAGE("/version"),
    /* Ollama */
    MANAGE("/api/tags"),
    MANAGE("/api/ps"),
    MANAGE("/api/show"),
    MANAGE("/api/version"),
    MANAGE("/api/pull"),
    MANAGE("/api/push"),
    MANAGE("/api/create"),
    MANAGE("/api/copy"),
    MANAGE("/api/delete"),
    MANAGE("/api/blobs/"),
    MANAGE("/api/me"),
    MANAGE("/api/user/"),
    MANAGE("/api/signout"),
    MANAGE("/api/web_search"),
    MANAGE("/api/web_fetch"),
    MANAGE("/api/experimental/"),
};

static bool matches(const struct row *row, struct str path)
{
    if (row->path.p[row->path.n - 1] == '/')
        return path.n > row->path.n && str_starts(path, row->path);
    return str_eq(path, row->path);
}

enum path_class paths_classify(struct str path, uint32_t *kinds)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (matches(&rows[i], path)) {
            *kinds = rows[i].kinds;
            return (enum path_class)rows[i].class;
        }
    }
    *kinds = 0;
    return PATH_UNKNOWN;
}

bool paths_row(size_t i, struct str *path, enum path_class *c)
{
    if (i >= ARRAY_LEN(rows))
        return false;
    *path = rows[i].path;
    *c = (enum path_class)rows[i].class;
    return true;
}

bool paths_names_events(struct str path)
{
    return str_eq(path, STR("/v1/responses")) || str_eq(path, STR("/responses")) ||
           str_eq(path, STR("/v1/messages"));
}

struct str paths_model_id(struct str path)
{
    struct str prefix = STR("/v1/models/");

    return str_starts(path, prefix) ? str_from(path, prefix.n) : STR_NONE;
}
