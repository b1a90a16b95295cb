// SPDX-License-Identifier: Apache-2.0
// The OpenAI SDK for JavaScript, as its users write it. One JSON object on stdout: what each case gave.
// Run by test_sdk_node.py: node openai.mjs BASE_URL CASE...
import OpenAI, { APIError } from 'openai';
import { run, settle } from './cases.mjs';

const baseURL = `${process.argv[2]}/v1`;
const messages = [{ role: 'user', content: 'Hi' }];
const tools = ['weather', 'note'].map((name) => ({
  type: 'function',
  function: { name, parameters: { type: 'object', properties: {} } },
}));
const client = (maxRetries = 0, timeout = 60000) => new OpenAI({ baseURL, apiKey: process.env.KEY, maxRetries, timeout });
const chat = (model, more = {}, options = {}, retries = 0, timeout) =>
  client(retries, timeout).chat.completions.create({ model, messages, ...more }, options);

// What a thrown thing is to its catcher.
const judge = (e) => ({
  error: e.constructor.name, api: e instanceof APIError, status: e.status ?? null, code: e.code ?? null,
  type: e.type ?? null, message: e.message, retry_after: e.headers?.get('retry-after') ?? null,
});

async function read(stream, seen) {
  for await (const chunk of stream) {
    seen.text += chunk.choices[0]?.delta?.content ?? '';
    seen.finish = chunk.choices[0]?.finish_reason ?? seen.finish;
  }
  return seen;
}

const cases = {
  chat: async (model) => (await chat(model)).choices[0].message.content,

  stream: async (model, retries = 0) => {
    const seen = { text: '', finish: null };
    const end = await settle(async () => read(await chat(model, { stream: true }, {}, Number(retries)), seen), judge);
    return { ...end, ...seen };
  },

  whole: async (model, retries = 0) => settle(async () => (await chat(model, {}, {}, Number(retries))).choices[0].message, judge),

  models: async () => {
    const ids = [];
    for await (const m of client().models.list()) ids.push(m.id);
    return ids;
  },

  tools: async () => {
    const whole = (await chat('tools', { tools })).choices[0];
    const pieces = [];
    for await (const chunk of await chat('tools', { tools, stream: true })) {
      for (const call of chunk.choices[0].delta.tool_calls ?? []) pieces.push([call.index, call.function.arguments]);
    }
    return { finish: whole.finish_reason, arguments: whole.message.tool_calls.map((t) => t.function.arguments), pieces };
  },

  runner: async () => { // its helper that puts a stream together
    const final = await client().chat.completions.stream({ model: 'tools', messages, tools }).finalChatCompletion();
    return final.choices[0].message.tool_calls.map((t) => [t.function.name, t.function.arguments]);
  },

  embed: async () => (await client().embeddings.create({ model: 'embed', input: ['a', 'b'] })).data.map((d) => d.embedding),

  respond: async () => {
    let text = '';
    for await (const event of await client().responses.create({ model: 'respond', input: 'Hi', stream: true })) {
      if (event.type === 'response.output_text.delta') text += event.delta;
    }
    return { text, whole: (await client().responses.create({ model: 'respond', input: 'Hi' })).output_text };
  },

  respond_cut: async () => settle(async () => {
    for await (const event of await client().responses.create({ model: 'respond', input: 'Hi', stream: true, user: 'cut' })) event;
  }, judge),

  abort: async (how) => {
    const controller = new AbortController();
    const stream = await chat('endless', { stream: true }, { signal: controller.signal });
    let n = 0;
    return settle(async () => {
      for await (const chunk of stream) {
        if (chunk && ++n === 3) {
          if (how === 'break') break;
          if (how === 'signal') controller.abort();
          if (how === 'controller') stream.controller.abort();
        }
      }
      return n >= 3;
    }, judge);
  },

  timeout: async () => settle(async () => chat('hang', {}, {}, 0, 300), judge),

  unreachable: async (port) => settle(
    async () => new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'x', maxRetries: 0 }).models.list(), judge),

  // n streams of one client at once; what came of them, counted
  many: async (n, model) => {
    const one = client(0, 180000), found = {};
    await Promise.all(Array.from({ length: Number(n) }, async () => {
      const seen = { text: '', finish: null };
      const end = await settle(
        async () => read(await one.chat.completions.create({ model, messages, stream: true }), seen), judge);
      const key = end.error ? `${end.error} ${end.message}` : `${seen.finish} ${seen.text}`;
      found[key] = (found[key] ?? 0) + 1;
    }));
    return found;
  },
};

await run(cases, process.argv.slice(3));
