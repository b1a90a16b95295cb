// SPDX-License-Identifier: Apache-2.0
// The Vercel AI SDK with both providers that can speak to a gateway, as its users write it. One JSON
// object on stdout: what each case gave. Run by test_sdk_node.py: node ai.mjs BASE_URL CASE...
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, Output, RetryError, embedMany, generateText, jsonSchema, streamText, tool } from 'ai';
import { run, settle } from './cases.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;
const baseURL = `${process.argv[2]}/v1`;
const compatible = createOpenAICompatible({ name: 'inferd', baseURL, apiKey: process.env.KEY, supportsStructuredOutputs: true });
const openai = createOpenAI({ baseURL, apiKey: process.env.KEY });
const model = (kind, id) => (kind === 'openai' ? openai.chat(id) : kind === 'responses' ? openai.responses(id) : compatible(id));
const tools = Object.fromEntries(['weather', 'note'].map((name) =>
  [name, tool({ description: name, inputSchema: jsonSchema({ type: 'object', properties: {} }) })]));

function judge(e) {
  const last = RetryError.isInstance(e) ? e.lastError : e;
  return {
    error: e.name, reason: e.reason ?? null, last: last?.name ?? null, api: APICallError.isInstance(last),
    status: last?.statusCode ?? null, retryable: last?.isRetryable ?? null, code: last?.data?.error?.code ?? null,
    message: last?.message ?? `${last}`, retry_after: last?.responseHeaders?.['retry-after'] ?? null,
  };
}

// Reads every part of a stream; `seen` keeps what came before it broke.
async function read(result, seen) {
  for await (const part of result.fullStream) {
    seen.parts[part.type] = (seen.parts[part.type] ?? 0) + 1;
    if (part.type === 'text-delta') seen.text += part.text;
    if (part.type === 'tool-call') seen.calls.push([part.toolName, part.input]);
    if (part.type === 'tool-input-delta') seen.pieces.push(part.delta);
    if (part.type === 'error') seen.failed = judgeStream(part.error);
    if (part.type === 'finish') seen.finish = part.finishReason;
  }
  return seen;
}

const judgeStream = (e) => (e instanceof Error ? judge(e) : { error: 'event', code: e?.code ?? e?.error?.code ?? null, message: e?.message ?? e?.error?.message ?? `${e}` });
const nothing = () => ({ text: '', parts: {}, calls: [], pieces: [], failed: null, finish: null });
const ask = (kind, id, more = {}) => ({ model: model(kind, id), prompt: 'Hi', maxRetries: 0, ...more });
const cutting = { openai: { user: 'cut' } };

const cases = {
  chat: async (kind, id) => {
    const r = await generateText(ask(kind, id));
    return { text: r.text, finish: r.finishReason };
  },

  whole: async (kind, id, retries = 0) =>
    settle(async () => (await generateText(ask(kind, id, { maxRetries: Number(retries) }))).text, judge),

  stream: async (kind, id, retries = 0) => {
    const seen = nothing();
    const end = await settle(
      async () => { await read(streamText(ask(kind, id, { maxRetries: Number(retries), onError() {} })), seen); }, judge);
    return { ...seen, thrown_error: end.error };
  },

  responses_cut: async () => {
    const seen = nothing();
    const end = await settle(async () => {
      await read(streamText(ask('responses', 'respond', { providerOptions: cutting, onError() {} })), seen);
    }, judge);
    return { ...seen, thrown_error: end.error };
  },

  tools: async (kind) => {
    const whole = await generateText(ask(kind, 'tools', { tools }));
    const streamed = await read(streamText(ask(kind, 'tools', { tools })), nothing());
    return { finish: whole.finishReason, calls: whole.toolCalls.map((t) => [t.toolName, t.input]), streamed };
  },

  object: async (kind) => {
    const schema = jsonSchema({
      type: 'object', properties: { city: { type: 'string' }, degrees: { type: 'number' } },
      required: ['city', 'degrees'], additionalProperties: false,
    });
    return (await generateText(ask(kind, 'json', { output: Output.object({ schema }) }))).output;
  },

  embed: async (kind) => {
    const provider = kind === 'openai' ? openai : compatible;
    return (await embedMany({ model: provider.textEmbeddingModel('embed'), values: ['a', 'b'], maxRetries: 0 })).embeddings;
  },

  abort: async (kind) => {
    const controller = new AbortController();
    let n = 0;
    const r = streamText(ask(kind, 'endless', { abortSignal: controller.signal, onError() {} }));
    return settle(async () => {
      let aborted = false;
      for await (const part of r.fullStream) {
        if (part.type === 'text-delta' && ++n === 3) controller.abort();
        if (part.type === 'abort') aborted = true;
      }
      return { aborted, enough: n >= 3 };
    }, judge);
  },

  many: async (kind, n, id) => {
    const found = {};
    await Promise.all(Array.from({ length: Number(n) }, async () => {
      const seen = nothing();
      const end = await settle(async () => read(streamText(ask(kind, id, { onError() {} })), seen), judge);
      const key = end.error || seen.failed ? JSON.stringify(end.error ?? seen.failed) : `${seen.finish} ${seen.text}`;
      found[key] = (found[key] ?? 0) + 1;
    }));
    return found;
  },
};

await run(cases, process.argv.slice(3));
