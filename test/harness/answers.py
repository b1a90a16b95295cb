# SPDX-License-Identifier: Apache-2.0
"""An engine for the client libraries: the model's name says what it does, and it remembers what it
was asked. The same table stands behind the tests of every SDK, so that they can be compared.

    chat            answers, or streams, "Hello"
    tools           calls two functions, in pieces that cut through letters' escapes
    json            answers with the document FIELDS
    respond         speaks /v1/responses
    embed           two vectors, in base64 if that is asked for
    status-NNN      an error object with that status, each time
    wait-NNN        the same with `retry-after: 2`, but the first time only; then it answers
    limit-NNN       the same each time
    told            two pieces of a stream, then an error event of the engine's own
    cut, stall      two pieces of a stream, then RST, or silence
    early           the head of a stream, then RST
    close, hang     no reply at all: the connection ends, or nothing happens
    endless         pieces until the client goes
    together        one piece, and the others when as many streams are open as expect() says"""

import base64
import json
import struct
import threading
import time

import pytest

from harness import fake
from harness.wait import SLOW

MODELS = ("chat", "tools", "json", "respond", "embed", "told", "cut", "stall", "early", "close", "hang", "endless", "together", *(
    f"{kind}-{status}" for kind in ("status", "wait", "limit")
    for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504)))
RETRY_AFTER = 2
FIELDS = '{"city": "Z\u00fcrich", "degrees": 1.5}'
SENTENCE = ["Each", " of", " them", " says", " all", " of", " this", ",", " in", " this", " order", ",", " or", " it",
            " is", " not", " right", " at", " all", "."]
VECTORS = [[0.5, -1.25, 3.0], [1e-3, 2.0, -0.0]]

# Arguments of two calls at once, in pieces: an escaped quote, a surrogate pair's escape, and bytes of UTF-8.
CALLS = [("call_1", "weather", ['{"city"', ':"Z\\u00fcr', 'ich \\"H', 'B\\"","x":', '1.50}']),
         ("call_2", "note", ['{"text":"', 'naïve 🙂', ' \\ud83d', '\\ude42"}'])]
DELTAS = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3), (0, 4)]


def arguments(call):
    return "".join(CALLS[call][2])


def _chunk(model, delta, finish=None):
    # written by hand: a space after each comma would be a byte that an encoder might lose
    return json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [
        {"index": 0, "delta": delta, "finish_reason": finish}]}, ensure_ascii=False)


def tool_events(model="tools"):
    """The events of the stream, as text."""
    yield _chunk(model, {"role": "assistant", "content": None})
    for call, piece in DELTAS:
        ident, name, pieces = CALLS[call]
        delta = {"index": call, "function": {"arguments": pieces[piece]}}
        if piece == 0:
            delta = {"index": call, "id": ident, "type": "function", "function": {"name": name, "arguments": pieces[0]}}
        yield _chunk(model, {"tool_calls": [delta]})
    yield _chunk(model, {}, "tool_calls")


def _tools(c, _):
    if c.json().get("stream"):
        c.stream_head()
        for text in tool_events():
            c.event(text)
        c.done()
        return
    calls = [{"id": ident, "type": "function", "function": {"name": name, "arguments": "".join(pieces)}}
             for ident, name, pieces in CALLS]
    c.reply({"id": "c", "object": "chat.completion", "created": 1, "model": "tools", "choices": [
        {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": None, "tool_calls": calls}}]})


def _chat(c, model, text="Hello"):
    if not c.json().get("stream"):
        fake.answer_chat(c, text)
        return
    c.stream_head()
    for letter in text:
        c.token(letter, model)
    c.event(_chunk(model, {}, "stop"))
    c.done()


def _json(c, model):
    _chat(c, model, FIELDS)


def _embed(c, _):
    rows = [base64.b64encode(struct.pack("<3f", *v)).decode() if c.json().get("encoding_format") == "base64" else v
            for v in VECTORS]
    c.reply({"object": "list", "model": "embed", "usage": {"prompt_tokens": 2, "total_tokens": 2},
             "data": [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]})


def _respond(c, _):
    part = {"type": "output_text", "text": "Hello", "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
    whole = {"id": "r", "object": "response", "created_at": 1, "model": "respond", "status": "completed", "output": [message],
             "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None,
             "usage": {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
                       "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 6}}
    if not c.json().get("stream"):
        c.reply(whole)
        return
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    events = [("response.created", {"response": {**whole, "status": "in_progress", "output": [], "usage": None}}),
              ("response.output_item.added", {"output_index": 0, "item": {**message, "status": "in_progress", "content": []}}),
              ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
              *(("response.output_text.delta", {**place, "delta": letter, "logprobs": []}) for letter in "Hello"),
              ("response.output_text.done", {**place, "text": "Hello", "logprobs": []}),
              ("response.output_item.done", {"output_index": 0, "item": message}),
              ("response.completed", {"response": whole})]
    c.stream_head()
    for number, (name, fields) in enumerate(events):
        event = json.dumps({"type": name, "sequence_number": number, **fields})
        c.chunk(f"event: {name}\ndata: {event}\n\n".encode())
        if c.json().get("user") == "cut" and number == 5:
            c.rst()
            return
    c.send(b"0\r\n\r\n")


def _two(c, model):
    c.stream_head()
    c.token("One", model)
    c.token("two", model)


def _told(c, model):
    _two(c, model)
    c.event({"error": {"message": "out of memory", "type": "server_error", "code": "engine_oom", "param": None}})
    c.done()


def _cut(c, model):
    _two(c, model)
    c.rst()  # which does not discard what it is behind of


def _stall(c, model):
    _two(c, model)
    c.wait_gone()


def _early(c, _):
    c.stream_head()
    c.rst()


def _together(c, model):
    c.stream_head()
    c.token(SENTENCE[0], model)
    if not c.engine.arrive():
        c.rst()
        return
    for word in SENTENCE[1:]:
        c.token(word, model)
    c.event(_chunk(model, {}, "stop"))
    c.done()


def _endless(c, model):
    c.stream_head()
    try:
        while True:
            c.token("on ", model)
            time.sleep(0.01)
    except fake.Gone:
        c.over = True
        c.engine.left.release()


KINDS = {"tools": _tools, "json": _json, "respond": _respond, "embed": _embed, "told": _told, "cut": _cut, "stall": _stall,
         "early": _early, "endless": _endless, "together": _together}


class Answers(fake.Engine):
    def __init__(self, **kw):
        self.asked = []  # (seconds on the monotonic clock, model, header fields as a dict, body's bytes)
        self.count_lock = threading.Lock()
        self.expected, self.arrived, self.all_there = 0, 0, threading.Event()
        super().__init__(self._answer, models=MODELS, **kw)

    def of(self, model):
        """When it was asked for that model, with which fields and which body."""
        with self.count_lock:
            return [(when, fields, body) for when, m, fields, body in self.asked if m == model]

    def expect(self, n):
        self.expected = n

    def arrive(self):
        """A stream of `together` is open; False if the others never come."""
        with self.count_lock:
            self.arrived += 1
            if self.arrived >= self.expected:
                self.all_there.set()
        return self.all_there.wait(60 * SLOW)

    def _remember(self, c, model):
        with self.count_lock:
            self.asked.append((time.monotonic(), model, dict(c.fields), c.body))
            return sum(m == model for _, m, *_ in self.asked)

    def _answer(self, c):
        model = c.json()["model"]
        times = self._remember(c, model)
        kind, _, status = model.partition("-")
        if kind == "status":
            self._error(c, int(status), [])
        elif kind == "limit" or (kind == "wait" and times == 1):
            self._error(c, int(status), [("Retry-After", RETRY_AFTER)])
        elif kind in ("wait", "chat"):
            _chat(c, model)
        elif kind == "hang":
            c.wait_gone()
        elif kind == "close":
            c.rst()
        else:
            KINDS[kind](c, model)

    @staticmethod
    def _error(c, status, fields):
        c.reply({"error": {"message": f"the engine says {status}", "type": "engine_error", "param": None, "code": f"e{status}"}},
                status, fields)


# What each of them is to a client: its own engine, so that no breaker that one of them opens closes another.
APART = ("cut", "stall", "early", "close", "hang")


def remotes(engine):
    """Rows of [[remote]] for one Answers: what breaks connections is an engine of its own each."""
    rest = [m for m in MODELS if m not in APART]
    return [{"name": "answers", "url": engine.url, "models": rest}] + [
        {"name": m, "url": engine.url, "models": [m]} for m in APART]


# fixtures of the tests that import them


@pytest.fixture
def engine(bench):
    answering = Answers()
    bench.engines.append(answering)
    return answering


@pytest.fixture
def via(bench, engine):
    """A gateway before it, impatient with what falls silent."""
    return bench.up({"remote": remotes(engine), "limits": {"idle_ms": 2000, "first_byte_ms": 3000}})
