# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's own server, supervised: the real model files, streams, slots and death. The model is a script's
(engine/make_gguf.py), the server is the one that the wheel xllamacpp carries."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from harness.tree import alive
from harness.wait import SLOW, until

HERE = pathlib.Path(__file__).parent / "engine"
pytestmark = pytest.mark.engine
START = 30  # seconds that it may take to start


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("xllamacpp", reason="the wheel xllamacpp is not installed")
    path = tmp_path_factory.mktemp("model") / "babble.gguf"
    subprocess.run([sys.executable, HERE / "make_gguf.py", path], check=True, timeout=60 * SLOW)
    assert path.stat().st_size < 1_000_000
    path.parent.chmod(0o755)
    return path


@pytest.fixture
def start(bench, model):
    def start(**more):
        row = {"name": "llama", "command": [sys.executable, str(HERE / "launch.py"), str(model), "${PORT}"], "env": {"OMP_NUM_THREADS": "1"},
               "restart_delay_ms": 50, **more}
        up = bench.up({"engine": [row], "model": {"gpt-4o": {"target": "babble"}}})
        up.wait_unit("llama", "ready", START)
        return up

    return start


def ask(up, stream=False, model="babble", tokens=16, **kw):
    return up.chat(model, stream=stream, max_tokens=tokens, ignore_eos=True, seconds=30, **kw)


def test_chat_stream_models(start):
    up = start()
    until(lambda: "babble" in [m["id"] for m in up.get("/v1/models").json()["data"]], "its model is listed")
    whole = ask(up)
    assert whole.status == 200, whole
    document = whole.json()
    assert document["choices"][0]["message"]["content"] and document["usage"]["completion_tokens"] > 0
    stream = ask(up, stream=True)
    assert stream.whole and stream.events()[-1] == "[DONE]"
    text = "".join(c["delta"].get("content") or "" for e in stream.events()[:-1] for c in json.loads(e)["choices"])
    assert text
    for reply in (ask(up, model="gpt-4o"), ask(up, model="gpt-4o", stream=True)):
        models = {json.loads(e)["model"] for e in reply.events()[:-1]} if reply.framing == "chunked" and b"data:" in reply.body \
            else {reply.json()["model"]}
        assert models == {"gpt-4o"}, reply
    record = up.wait_log(msg="request", id=whole["x-request-id"])
    assert record["tokens_out"] == document["usage"]["completion_tokens"]
    assert up.post("/tokenize", {"model": "babble", "content": "ba be"}).status == 200  # its kind was found out
    assert up.get("/slots").status == 403


def test_killed(start):
    up = start()
    pid = up.unit("llama")["pid"]
    # it is quick: a small receive buffer holds it up in the middle of its stream
    with up.open_chat("babble", max_tokens=4000, ignore_eos=True, seconds=60, receive_buffer=4096) as c:
        reply = c.head()
        assert reply.status == 200
        os.kill(pid, signal.SIGKILL)
        until(lambda: up.unit("llama")["state"] != "ready", "its death is noticed")
        c.body(reply)
    assert not reply.whole and '"upstream_disconnected"' in reply.events()[-1]
    assert ask(up).status == 200, "a request waits for the next run"
    assert up.unit("llama")["restarts"] == 1 and up.unit("llama")["pid"] != pid


def test_stopped_and_started(start):
    up = start()
    pid = up.unit("llama")["pid"]
    up.ctl("stop", "llama")
    up.wait_unit("llama", "stopped")
    assert not alive(pid) and ask(up).status == 503
    up.ctl("start", "llama")
    assert ask(up).status == 200


def test_hung(start):
    """Unresponsive after three silent tests, and replaced when that was too long."""
    up = start(live_interval_ms=100, live_timeout_ms=500, hang_timeout_ms=1000, stop_grace_ms=500)
    pid = up.unit("llama")["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert up.wait_unit("llama", "unresponsive")["pid"] == pid
    until(lambda: up.unit("llama")["state"] == "ready" and up.unit("llama")["pid"] != pid, "it is replaced", START)
    assert not alive(pid) and ask(up).status == 200


def test_a_client_that_leaves_frees_its_slot(start):
    up = start(passthrough=["/slots"], slots=2)

    def busy():
        return [s for s in up.get("/slots").json() if s["is_processing"]]

    with up.open_chat("babble", max_tokens=4000, ignore_eos=True, receive_buffer=4096) as c:
        assert c.head().status == 200
        assert len(busy()) == 1
    until(lambda: not busy(), "its slot is free")
    until(lambda: up.unit("llama")["in_flight"] == 0, "and is known to be")
