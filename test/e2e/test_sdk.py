# SPDX-License-Identifier: Apache-2.0
"""The OpenAI SDK for Python, unmodified, through a gateway: what its users see."""

import asyncio
import json
import os
import signal
import time

import pytest

from harness import answers, faults, net
from harness.answers import engine, via  # noqa: F401 (fixtures)
from harness.gateway import mock_unit, remote
from harness.wait import SLOW, until
from test_keys import Ring, bearer, up_with

openai = pytest.importorskip("openai", reason="the OpenAI SDK is not installed")
pytestmark = pytest.mark.sdk
MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def up(bench):
    bench.slow = bench.mock(name="slow", models=("slow",), args=["--tokens-per-second", "20", "--repeat", "100"])
    bench.bad = bench.mock(name="bad", models=("cut", "stall", "status", "hang", "close"), args=[
        "--tokens-per-second", "500", "--fault", "cut=truncate:3", "--fault", "stall=stall:3", "--fault", "status=status:500",
        "--fault", "hang=hang", "--fault", "close=close"])
    up = bench.up({"engine": [mock_unit("tiny")], "remote": [remote(bench.slow, "slow", ["slow"]),
                                                             remote(bench.bad, "bad", ["cut", "stall", "status", "hang", "close"])],
                   "model": {"gpt-4o": {"target": "tiny"}}, "limits": {"idle_ms": 2500, "first_byte_ms": 2500}})
    up.wait_unit("tiny", "ready")
    return up


def client(up, **kw):
    return openai.OpenAI(base_url=f"{up.url}/v1", api_key="sk-anything", max_retries=0, timeout=20 * SLOW, **kw)


@pytest.mark.smoke
def test_chat(up):
    with client(up) as c:
        reply = c.chat.completions.create(model="tiny", messages=MESSAGES)
        assert reply.choices[0].message.content == "Hello from tiny (model: tiny)" and reply.model == "tiny"
        assert reply.usage.total_tokens == 15
        assert c.chat.completions.create(model="gpt-4o", messages=MESSAGES).model == "gpt-4o"
        raw = c.chat.completions.with_raw_response.create(model="tiny", messages=MESSAGES)
        assert raw.headers["x-request-id"] == raw.parse()._request_id


@pytest.mark.smoke
def test_stream(up):
    with client(up) as c:
        for model in ("tiny", "gpt-4o"):
            text = ""
            for chunk in c.chat.completions.create(model=model, messages=MESSAGES, stream=True):
                assert chunk.model == model
                text += chunk.choices[0].delta.content
            assert text == "Hello from tiny (model: tiny)"


@pytest.mark.smoke
def test_models(up):
    with client(up) as c:
        ids = [m.id for m in c.models.list()]
        assert ids == sorted(["tiny", "slow", "cut", "stall", "status", "hang", "close", "gpt-4o"])
        assert c.models.retrieve("gpt-4o").id == "gpt-4o"
        with pytest.raises(openai.NotFoundError):
            c.models.retrieve("none")


def test_completions_and_embeddings(up):
    with client(up) as c:
        assert c.completions.create(model="tiny", prompt="x").choices[0].text == "Hello from tiny (model: tiny)"
        assert "".join(p.choices[0].text for p in c.completions.create(model="tiny", prompt="x", stream=True)).endswith("tiny)")
        assert len(c.embeddings.create(model="tiny", input=["a", "b"], encoding_format="float").data) == 2


@pytest.mark.smoke
def test_abort(up, bench):
    """Leaving a stream stops the engine."""
    with client(up) as c:
        with c.chat.completions.create(model="slow", messages=MESSAGES, stream=True) as stream:
            for _ in range(3):
                next(stream)
            assert bench.slow.health()["active"] == 1
        until(lambda: bench.slow.health()["active"] == 0, "the engine has stopped")
        assert c.chat.completions.create(model="tiny", messages=MESSAGES).choices


@pytest.mark.parametrize("model", ["cut", "stall"])
def test_a_broken_stream_is_an_error(up, model):
    with client(up) as c, pytest.raises(openai.APIError) as e:
        for _ in c.chat.completions.create(model=model, messages=MESSAGES, stream=True):
            pass
    assert e.value.code in ("upstream_disconnected", "upstream_timeout")


def test_error_classes(up):
    with client(up) as c:
        def ask(model="tiny", **kw):
            return c.chat.completions.create(model=model, messages=MESSAGES, **kw)

        for model, error, status, code in (("none", openai.NotFoundError, 404, "model_not_found"),
                                           ("status", openai.InternalServerError, 500, None),
                                           ("hang", openai.InternalServerError, 504, "upstream_timeout"),
                                           ("close", openai.InternalServerError, 502, "bad_gateway")):
            with pytest.raises(error) as e:
                ask(model)
            assert e.value.status_code == status and (code is None or e.value.code == code), (model, e.value)
        with pytest.raises(openai.BadRequestError) as e:
            ask(model=7)
        assert e.value.code == "invalid_model" and e.value.param == "model"
        with pytest.raises(openai.PermissionDeniedError):
            ask(extra_headers={"Origin": "http://evil.example"})
        up.ctl("stop", "tiny")
        up.wait_unit("tiny", "stopped")
        with pytest.raises(openai.InternalServerError) as e:
            ask()
        assert e.value.status_code == 503 and e.value.code == "no_healthy_service" and e.value.response.headers["retry-after"]
    with openai.OpenAI(base_url=f"http://127.0.0.1:{net.free_port()}/v1", api_key="x", max_retries=0) as c, \
            pytest.raises(openai.APIConnectionError):
        c.models.list()


def test_its_retries_ride_out_a_restart(up):
    """The SDK retries a 503 by itself; a unit that comes back within that time costs its user nothing."""
    with openai.OpenAI(base_url=f"{up.url}/v1", api_key="x", max_retries=3, timeout=30 * SLOW) as c:
        up.ctl("restart", "tiny")
        assert c.chat.completions.create(model="tiny", messages=MESSAGES).choices


@pytest.mark.threads
def test_async(up):
    async def one(c, k):
        if k % 2:
            return "".join([p.choices[0].delta.content async for p in await c.chat.completions.create(
                model="tiny", messages=MESSAGES, stream=True)])
        return (await c.chat.completions.create(model="tiny", messages=MESSAGES)).choices[0].message.content

    async def run():
        async with openai.AsyncOpenAI(base_url=f"{up.url}/v1", api_key="x", max_retries=0) as c:
            return await asyncio.gather(*(one(c, k) for k in range(30)))

    assert set(asyncio.run(run())) == {"Hello from tiny (model: tiny)"}


# Against an engine that does what the model's name says: harness/answers.py.

CLASSES = {400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError", 404: "NotFoundError",
           408: "APIStatusError", 409: "ConflictError", 413: "APIStatusError", 422: "UnprocessableEntityError",
           429: "RateLimitError", 500: "InternalServerError", 502: "InternalServerError", 503: "InternalServerError",
           504: "InternalServerError"}
RETRIED = (408, 409, 429, 500, 502, 503, 504)
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
         for _, name, _ in answers.CALLS]


def patient(up, retries=0, timeout=20 * SLOW, **kw):
    return openai.AsyncOpenAI(base_url=f"{up.url}/v1", api_key="sk-anything", max_retries=retries, timeout=timeout, **kw)


def at_once(make, *calls):
    """The outcome of each coroutine that make(client, call) gives: a value or the exception."""
    async def run():
        return await asyncio.gather(*(make(call) for call in calls), return_exceptions=True)

    return asyncio.run(run())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_each_status_has_its_class_and_is_retried_as_it_should(via, engine, stream):
    async def ask(status):
        async with patient(via, retries=1) as c:
            return await c.chat.completions.create(model=f"status-{status}", messages=MESSAGES, stream=stream)

    for status, error in zip(CLASSES, at_once(ask, *CLASSES)):
        assert type(error).__name__ == CLASSES[status], (status, error)
        assert error.status_code == status and error.code == f"e{status}" and error.type == "engine_error", error
        assert error.body["message"] == f"the engine says {status}" and error.request_id, "the engine's own words"
        retries = [fields["x-stainless-retry-count"] for _, fields, _ in engine.of(f"status-{status}")]
        assert retries == (["0", "1"] if status in RETRIED else ["0"]), f"{status} was asked {retries}"


def test_retry_after_is_waited_for(via, engine):
    async def ask(model):
        async with patient(via, retries=1) as c:
            return await c.chat.completions.create(model=model, messages=MESSAGES)

    models = ["wait-429", "wait-503", "limit-429", "limit-404"]
    good, also, limited, missing = at_once(ask, *models)
    assert good.choices[0].message.content == also.choices[0].message.content == "Hello"
    assert type(limited) is openai.RateLimitError and limited.response.headers["retry-after"] == str(answers.RETRY_AFTER)
    assert type(missing) is openai.NotFoundError and len(engine.of("limit-404")) == 1, "a 404 is not asked again"
    for model in models[:3]:
        (first, *_), (second, *_) = engine.of(model)
        assert second - first >= answers.RETRY_AFTER, f"{model}: asked again after {second - first:.2f} s"


def test_our_own_retry_after_is_waited_for(bench, engine):
    """An engine that is not there: our 503 says when, the SDK comes again then, and finds it."""
    port = net.free_port()
    up = bench.up({"remote": [remote(f"http://127.0.0.1:{port}", "late", ["chat"])]})
    with openai.OpenAI(base_url=f"{up.url}/v1", api_key="x", max_retries=0, timeout=30 * SLOW) as c:
        with pytest.raises(openai.InternalServerError) as e:
            c.chat.completions.create(model="chat", messages=MESSAGES)
        assert e.value.status_code == 503
        seconds = int(e.value.response.headers["retry-after"])
        until(lambda: up.metric("inferd_faults_total") == 1, "it is counted")

        async def ask():
            async with patient(up, retries=3) as a:
                began = time.monotonic()
                reply = asyncio.ensure_future(a.chat.completions.create(model="chat", messages=MESSAGES))
                await asyncio.to_thread(until, lambda: up.metric("inferd_faults_total") == 2, "it was refused")
                late = answers.Answers(at=("127.0.0.1", port))
                bench.engines.append(late)
                return (await reply).choices[0].message.content, time.monotonic() - began

        content, took = asyncio.run(ask())
        assert content == "Hello" and took >= seconds


def key_in_use(bench, engine):
    """A gateway, a key that has as many requests under way as it may, and the connection of that one."""
    ring = Ring(bench)
    key = ring.new("one", "--concurrency", "1")
    up = up_with(bench, ring, engine, remote=answers.remotes(engine))
    held = up.open()
    held.request("POST", "/v1/chat/completions", json_body={"model": "endless", "stream": True}, headers=bearer(key))
    assert held.head().status == 200
    return up, key, held


def test_a_keys_own_429_is_waited_for(bench, engine):
    """The SDK comes again when our own 429 says."""
    up, key, held = key_in_use(bench, engine)
    with held:
        with openai.OpenAI(base_url=f"{up.url}/v1", api_key=key, max_retries=0) as c, pytest.raises(openai.RateLimitError) as e:
            c.chat.completions.create(model="chat", messages=MESSAGES)
        seconds = int(e.value.response.headers["retry-after"])
        until(lambda: up.metric("inferd_faults_total") == 1, "it is counted")

        async def ask():
            async with openai.AsyncOpenAI(base_url=f"{up.url}/v1", api_key=key, max_retries=3, timeout=30 * SLOW) as c:
                began = time.monotonic()
                reply = asyncio.ensure_future(c.chat.completions.create(model="chat", messages=MESSAGES))
                await asyncio.to_thread(until, lambda: up.metric("inferd_faults_total") == 2, "it was refused")
                held.close()
                return (await reply).choices[0].message.content, time.monotonic() - began

        content, took = asyncio.run(ask())
    assert content == "Hello" and took >= seconds and len(engine.of("chat")) == 1


BROKEN = {"told": ("engine_oom", "Onetwo"), "cut": ("upstream_disconnected", "Onetwo"), "stall": ("upstream_timeout", "Onetwo"),
          "early": ("upstream_disconnected", "")}


def test_no_broken_stream_ends_like_a_whole_one(via, engine):
    seen = {m: "" for m in BROKEN}

    async def ask(model):
        async with patient(via, retries=2) as c:
            async for chunk in await c.chat.completions.create(model=model, messages=MESSAGES, stream=True):
                seen[model] += chunk.choices[0].delta.content or ""

    for (model, (code, text)), error in zip(BROKEN.items(), at_once(ask, *BROKEN)):
        assert isinstance(error, openai.APIError) and error.code == code, (model, error)
        assert seen[model] == text and len(engine.of(model)) == 1, "and a stream that began is not asked for again"


def test_a_gateway_that_dies_breaks_the_stream(via):
    with client(via) as c:
        with c.chat.completions.create(model="endless", messages=MESSAGES, stream=True) as stream:
            next(stream)
            os.kill(via.gateway_pid(), signal.SIGKILL)
            with pytest.raises(openai.APIConnectionError):
                for _ in stream:
                    pass
    with openai.OpenAI(base_url=f"{via.url}/v1", api_key="x", max_retries=3) as c:
        assert c.chat.completions.create(model="chat", messages=MESSAGES).choices[0].message.content == "Hello"


def test_no_reply_at_all(via, engine):
    async def ask(model):
        async with patient(via, retries=1) as c:
            return await c.chat.completions.create(model=model, messages=MESSAGES)

    closed, hung = at_once(ask, "close", "hang")
    assert isinstance(closed, openai.InternalServerError) and closed.status_code in (502, 503), closed
    assert isinstance(hung, openai.InternalServerError) and hung.status_code in (503, 504), hung
    assert engine.of("close") and engine.of("hang")


def test_an_impatient_client_frees_the_engine(via, engine):
    def gives_up():
        """True when it had come as far as the engine."""
        with client(via) as c, pytest.raises(openai.APITimeoutError):
            c.with_options(timeout=0.3).chat.completions.create(model="hang", messages=MESSAGES)
        return engine.of("hang")

    until(gives_up, "the engine was asked")
    assert engine.left.acquire(timeout=5 * SLOW), "the engine sees that nobody waits any more"


@pytest.mark.smoke
def test_abort_in_each_way(via, engine):
    """Leaving a stream ends it at the engine: by close, by leaving its block, by cancelling the task."""
    with client(via) as c:
        stream = c.chat.completions.create(model="endless", messages=MESSAGES, stream=True)
        next(stream)
        stream.close()
        assert engine.left.acquire(timeout=5 * SLOW), "close"
        with c.chat.completions.create(model="endless", messages=MESSAGES, stream=True) as stream:
            next(stream)
        assert engine.left.acquire(timeout=5 * SLOW), "with"

    async def cancel():
        async with patient(via) as a:
            got = asyncio.Event()

            async def read():
                async for _ in await a.chat.completions.create(model="endless", messages=MESSAGES, stream=True):
                    got.set()

            task = asyncio.ensure_future(read())
            await got.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await asyncio.to_thread(engine.left.acquire, timeout=5 * SLOW)

    assert asyncio.run(cancel()), "cancel"
    until(lambda: faults.load_of(via) == 0, "every slot is free")


def test_tools_pass_byte_for_byte(via, engine):
    sent = []
    http = openai.DefaultHttpxClient(event_hooks={"request": [lambda r: sent.append(r.read())]})
    with client(via, http_client=http) as c:
        whole = c.chat.completions.create(model="tools", messages=MESSAGES, tools=TOOLS, tool_choice="auto")
        assert whole.choices[0].finish_reason == "tool_calls"
        assert [t.function.arguments for t in whole.choices[0].message.tool_calls] == [answers.arguments(0), answers.arguments(1)]
        pieces, calls = [], {}
        for chunk in c.chat.completions.create(model="tools", messages=MESSAGES, tools=TOOLS, stream=True):
            for call in chunk.choices[0].delta.tool_calls or []:
                pieces.append((call.index, call.function.arguments))
                calls.setdefault(call.index, call)
        assert pieces == [(i, answers.CALLS[i][2][k]) for i, k in answers.DELTAS], "piece for piece"
        assert [(calls[i].id, calls[i].function.name) for i in (0, 1)] == [call[:2] for call in answers.CALLS]
        raw = c.chat.completions.with_streaming_response.create(model="tools", messages=MESSAGES, tools=TOOLS, stream=True)
        with raw as reply:
            assert reply.read() == "".join(f"data: {e}\n\n" for e in [*answers.tool_events(), "[DONE]"]).encode()
    assert [body for *_, body in engine.of("tools")] == sent, "and the request's bytes arrived as they were sent"


def test_structured_output(via, engine):
    from pydantic import BaseModel

    class Weather(BaseModel):
        city: str
        degrees: float

    with client(via) as c:
        reply = c.chat.completions.parse(model="json", messages=MESSAGES, response_format=Weather)
        assert reply.choices[0].message.parsed == Weather(city="Zürich", degrees=1.5)
        with c.chat.completions.stream(model="json", messages=MESSAGES, response_format=Weather) as stream:
            assert stream.get_final_completion().choices[0].message.parsed == Weather(city="Zürich", degrees=1.5)
    for *_, body in engine.of("json"):
        schema = json.loads(body)["response_format"]["json_schema"]
        assert schema["strict"] is True and list(schema["schema"]["properties"]) == ["city", "degrees"]


def test_embeddings_in_base64(via):
    with client(via) as c:
        reply = c.embeddings.create(model="embed", input=["a", "b"])  # the SDK asks for base64 by itself
        assert [[round(x, 6) for x in d.embedding] for d in reply.data] == answers.VECTORS


def test_responses(via):
    with client(via) as c:
        assert c.responses.create(model="respond", input="Hi").output_text == "Hello"
        with c.responses.stream(model="respond", input="Hi") as stream:
            assert "".join(e.delta for e in stream if e.type == "response.output_text.delta") == "Hello"
            assert stream.get_final_response().output_text == "Hello"
        with pytest.raises(openai.APIError) as e:
            for _ in c.responses.create(model="respond", input="Hi", stream=True, extra_body={"user": "cut"}):
                pass
        assert e.value.code == "upstream_disconnected"


def test_what_no_engine_is_offered(via):
    """What goes on with an engine's state, and uploads, are honest 404s, not something half done."""
    with client(via) as c:
        for call in (lambda: c.responses.retrieve("resp_1"), lambda: c.files.list(), lambda: c.batches.list(),
                     lambda: c.audio.transcriptions.create(model="chat", file=("a.wav", b"RIFF"))):
            with pytest.raises(openai.NotFoundError) as e:
                call()
            assert e.value.code == "not_found"


STREAMS = 1000


@pytest.mark.threads
def test_1000_streams_at_once(bench, engine):
    """All open at the same time, every one whole and right, in little memory."""
    net.allow_descriptors(3 * STREAMS)  # the engine lives in this process, too
    up = bench.up({"remote": [remote(engine, "answers", ["together", "chat"], probe_path="none")]})  # it will be busy
    assert client(up).chat.completions.create(model="chat", messages=MESSAGES).choices
    before, most = faults.rss_kb(up.gateway_pid()), []
    engine.expect(STREAMS)

    async def one(c):
        words, end = [], None
        async for part in await c.chat.completions.create(model="together", messages=MESSAGES, stream=True):
            words.append(part.choices[0].delta.content)
            end = part.choices[0].finish_reason or end
        if not most:
            most.append(faults.rss_kb(up.gateway_pid()))
        return words == [*answers.SENTENCE, None], end

    async def run():
        async with patient(up, timeout=60 * SLOW) as c:
            return await asyncio.gather(*(one(c) for _ in range(STREAMS)))

    ends = asyncio.run(run())
    assert ends == [(True, "stop")] * STREAMS and engine.arrived == STREAMS
    assert (most[0] - before) / STREAMS < 256, f"{most[0] - before} kB for {STREAMS} streams"
