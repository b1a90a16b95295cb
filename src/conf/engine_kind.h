/* SPDX-License-Identifier: Apache-2.0
 *
 * engine_kind.h - which program an engine is, when the configuration says so: it decides the paths
 * that may be asked and how models are listed. Shared by [[engine]] and [[remote]], whose folders
 * are peers.
 */
#pragma once
#include "conf/option.h"

#define ENGINE_KIND_WORDS(X)                                                                       \
    X(ENGINE_KIND_OPENAI, "openai")                                                                \
    X(ENGINE_KIND_LLAMA, "llama.cpp")                                                              \
    X(ENGINE_KIND_VLLM, "vllm")                                                                    \
    X(ENGINE_KIND_OLLAMA, "ollama")
OPTION_ENUM(engine_kind, ENGINE_KIND_WORDS); /* engine_kind_unset: asked from the engine */
