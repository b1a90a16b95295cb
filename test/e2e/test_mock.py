# SPDX-License-Identifier: Apache-2.0
"""`inferd mock`: what it answers, its pace, and each way it misbehaves."""

import json
import os
import signal
import subprocess

import pytest

from harness import raw
from harness.tree import PROGRAM, alive, children
from harness.wait import SLOW, Stopwatch, never, until


def sentence(model, name="mock"):
    return f"Hello from {name} (model: {model})"


def deltas(reply):
    events = reply.events()
    assert events[-1] == "[DONE]"
    return [json.loads(e)["choices"][0]["delta"]["content"] for e in events[:-1]]


@pytest.mark.smoke
def test_whole_and_stream(bench):
    m = bench.mock(models=("a", "b"))
    whole = raw.chat(m.address, "b")
    assert whole.status == 200 and whole.framing == "length"
    document = whole.json()
    assert document["choices"][0] == {"finish_reason": "stop", "index": 0,
                                      "message": {"content": sentence("b"), "role": "assistant"}}
    assert document["usage"] == {"completion_tokens": 5, "prompt_tokens": 10, "total_tokens": 15}
    assert document["object"] == "chat.completion" and document["model"] == "b"
    assert whole.body == json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    stream = raw.chat(m.address, "a", stream=True)
    assert stream["content-type"] == "text/event-stream" and stream.whole and stream.framing == "chunked"
    assert deltas(stream) == list(sentence("a"))
    first = json.loads(stream.events()[0])
    assert first["object"] == "chat.completion.chunk" and first["choices"][0]["finish_reason"] is None


def test_completions_and_embeddings(bench):
    m = bench.mock()
    whole = raw.post(m.address, "/v1/completions", {"model": "tiny", "prompt": "x"}).json()
    assert whole["object"] == "text_completion" and whole["choices"][0]["text"] == sentence("tiny")
    stream = raw.post(m.address, "/v1/completions", {"model": "tiny", "prompt": "x", "stream": True})
    assert "".join(json.loads(e)["choices"][0]["text"] for e in stream.events()[:-1]) == sentence("tiny")
    one = raw.post(m.address, "/v1/embeddings", {"model": "tiny", "input": "a"}).json()
    two = raw.post(m.address, "/v1/embeddings", {"model": "tiny", "input": ["b", "a"]}).json()
    tokens = raw.post(m.address, "/v1/embeddings", {"model": "tiny", "input": [1, 2]}).json()
    assert [d["index"] for d in two["data"]] == [0, 1] and len(tokens["data"]) == 1
    assert one["data"][0]["embedding"] == two["data"][1]["embedding"] != two["data"][0]["embedding"]
    assert len(one["data"][0]["embedding"]) == 8
    assert raw.post(m.address, "/v1/embeddings", {"model": "tiny"}).status == 400


def test_lists_and_health(bench):
    m = bench.mock(models=("a", " b "))
    reply = raw.get(m.address, "/v1/models")
    assert [d["id"] for d in reply.json()["data"]] == ["a", "b"]
    assert reply.body.startswith(b'{"data":[{"created":') and reply.body.endswith(b'"object":"list"}')
    health = m.health()
    assert health["status"] == "healthy" and health["service"] == "mock" and health["requests"] == 0
    assert health["port"] == int(m.address.rpartition(":")[2])
    raw.chat(m.address, "a")
    assert m.health()["requests"] == 1
    head = raw.exchange(m.address, "HEAD", "/health")
    assert head.status == 200 and head.body == b"" and int(head["content-length"]) > 0


@pytest.mark.parametrize("method, target, body, status, code", [
    ("POST", "/v1/chat/completions", b'{"model":"nope"}', 400, "invalid_model"),
    ("POST", "/v1/chat/completions", b"{}", 400, "invalid_model"),
    ("POST", "/v1/chat/completions", b'{"model":"tiny"', 500, "internal_error"),
    ("POST", "/v1/chat/completions", None, 500, "internal_error"),
    ("POST", "/v1/chat/completions", b'{"model":"tiny","model":"tiny"}', 400, "invalid_json"),
    ("POST", "/chat/completions", b'{"model":"tiny"}', 404, "not_found"),
    ("GET", "/models", None, 404, "not_found"),
    ("POST", "/health", b"", 405, "method_not_allowed"),
    ("GET", "/v1/chat/completions", None, 405, "method_not_allowed"),
])
def test_refusals(bench, method, target, body, status, code):
    m = bench.mock()
    reply = raw.exchange(m.address, method, target, body)
    assert reply.status == status and reply.error()["code"] == code
    assert (reply["allow"] is not None) == (status == 405)
    if code == "invalid_model" and b"nope" in body:
        assert reply.error()["message"] == "Model nope not available on this service"


def test_pace(bench):
    m = bench.mock(args=["--tokens-per-second", "200", "--latency-ms", "100"])
    seconds = len(sentence("tiny")) / 200 + 0.1
    for stream in (False, True):
        watch = Stopwatch()
        assert raw.chat(m.address, stream=stream).status == 200
        assert watch.seconds() > seconds - 0.01, "it answered sooner than its pace allows"


def test_unpaced_stream_waits_for_its_reader(bench):
    m = bench.mock(args=["--tokens-per-second", "0", "--repeat", "5000"])
    with raw.Connection(m.address, receive_buffer=16384) as c:
        c.request("POST", "/v1/chat/completions", json_body={"model": "tiny", "stream": True})
        head = c.head()
        before = resident_kib(m.pid)
        never(lambda: resident_kib(m.pid) > before + 8192, "memory grew behind a reader that does not read", 0.5)
        body = c.body(head)
    assert body.whole and body.body.endswith(b"data: [DONE]\n\n")
    assert len(body.events()) == 5000 * len(sentence("tiny")) + 1


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int(f.read().partition("VmRSS:")[2].split()[0])


def test_leaving_cancels(bench):
    m = bench.mock(args=["--latency-ms", "60000"])
    c = raw.Connection(m.address)
    c.request("POST", "/v1/chat/completions", json_body={"model": "tiny"})
    until(lambda: m.health()["active"] == 1, "the request arrived")
    c.close()
    until(lambda: m.health()["active"] == 0 and m.health()["cancelled"] == 1, "cancelled")


def fault(bench, kind, **kw):
    return bench.mock(args=["--fault", f"tiny={kind}"], **kw)


def send_chat(m, stream):
    c = raw.Connection(m.address)
    c.request("POST", "/v1/chat/completions", json_body={"model": "tiny", "stream": stream})
    return c


@pytest.mark.parametrize("status", [204, 302, 429, 503])
def test_fault_status(bench, status):
    assert raw.chat(fault(bench, f"status:{status}").address).status == status


def test_fault_delay_and_hang(bench):
    watch = Stopwatch()
    assert raw.chat(fault(bench, "delay:300").address).status == 200
    assert watch.seconds() >= 0.3
    m = fault(bench, "hang")
    with send_chat(m, False) as c:
        until(lambda: m.health()["active"] == 1, "the request arrived")
        c.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            c.socket.recv(1)


@pytest.mark.parametrize("kind, end", [("reset", "reset"), ("close", "fin")])
def test_fault_before_any_byte(bench, kind, end):
    with send_chat(fault(bench, kind), True) as c:
        assert not c.more() and c.eof == end and c.waiting == b""


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind, end", [("abort", "reset"), ("truncate", "fin")])
@pytest.mark.parametrize("after", [0, 3])
def test_fault_in_the_middle(bench, kind, end, stream, after):
    with send_chat(fault(bench, f"{kind}:{after}"), stream) as c:
        reply = c.reply()
    assert reply.status == 200 and not reply.whole and reply.ended_by == end
    assert len(reply.events()) == after if stream else len(reply.body) == after


def test_fault_stall(bench):
    m = fault(bench, "stall:2")
    with send_chat(m, True) as c:
        c.head()
        until(lambda: c.waiting.count(b"\n\n") == 2 or not c.more(), "two events")
        c.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            c.socket.recv(1)
    until(lambda: m.health()["cancelled"] == 1, "cancelled")


def test_fault_garbage_badhttp_redirect(bench):
    reply = raw.chat(fault(bench, "garbage").address)
    assert reply.status == 200 and reply.whole
    with pytest.raises(ValueError):
        reply.json()
    with send_chat(fault(bench, "badhttp"), False) as c, pytest.raises(raw.Broken):
        c.reply()
    reply = raw.chat(fault(bench, "redirect:http://user@127.0.0.1:1/x").address)
    assert reply.status == 307 and reply["location"] == "http://user@127.0.0.1:1/x"


@pytest.mark.parametrize("kind, status", [("exit:7", 7), ("crash", -signal.SIGABRT)])
def test_fault_death(bench, kind, status):
    m = fault(bench, kind)
    m.expected_exit = status
    with send_chat(m, False) as c:
        assert not c.more()
    assert m.wait_exit() == status


def test_chance_is_repeatable_and_about_right(bench):
    def run(seed):
        m = bench.mock(args=["--fault", "tiny=status:500@0.25", "--seed", seed])
        with raw.Connection(m.address) as c:
            def one():
                c.request("POST", "/v1/chat/completions", json_body={"model": "tiny"})
                return c.reply().status
            return [one() for _ in range(400)]

    first = run(1)
    assert 60 < first.count(500) < 140 and set(first) == {200, 500}
    assert run(1) == first != run(2)


def test_statuses_of_its_own_endpoints(bench):
    m = bench.mock(args=["--health-status", "503", "--models-status", "404"])
    assert raw.get(m.address, "/health").status == 503
    assert raw.get(m.address, "/v1/models").status == 404
    assert raw.chat(m.address).status == 200


def test_unix_socket(bench):
    path = bench.path("mock.sock")
    m = bench.tree([PROGRAM, "mock", "--name", "m", "--socket", path, "--models", "tiny"])
    until(lambda: raw.get(f"unix:{path}", "/health").status == 200, "it listens")
    assert raw.chat(f"unix:{path}").json()["model"] == "tiny"
    assert raw.get(f"unix:{path}", "/health").json()["port"] == 0
    assert os.stat(path).st_mode & 0o777 == 0o660 and m.running()


def test_late_and_early(bench):
    watch = Stopwatch()
    bench.mock(args=["--ready-after-ms", "400"])
    assert watch.seconds() >= 0.4
    watch = Stopwatch()
    m = bench.mock(args=["--exit-after-ms", "400:9"], wait=False)
    m.expected_exit = 9
    assert m.wait_exit() == 9 and watch.seconds() >= 0.4


def test_ignore_sigterm(bench):
    m = bench.mock(args=["--ignore-sigterm"])
    m.signal(signal.SIGTERM)
    until(lambda: b"ignoring" in m.stdout(), "the signal arrived")
    assert raw.chat(m.address).status == 200
    m.kill()


def test_helpers(bench):
    m = bench.mock(args=["--fork-helper", "--fork-stray"])

    def found():
        """The helper and the stray, once that has left its session."""
        kin = children(m.pid)
        helper = [p for p in kin if os.getpgid(p) == os.getpgid(m.pid) and alive(p)]
        strays = [p for p in pids_named("mock") if p != m.pid and os.getsid(p) != os.getsid(m.pid) and p not in kin]
        return helper + strays if len(helper) == len(strays) == 1 else None

    for pid in until(found, "one helper and one stray"):
        os.kill(pid, signal.SIGKILL)


def pids_named(role):
    from harness import net
    from harness.tree import command_line
    return [p for p in net.inhabitants() if role in command_line(p)[1:2]]


def test_emit_file(bench):
    path = bench.path("noise")
    with open(path, "wb") as f:
        f.write(bytes(range(256)) * 1000)
    m = bench.mock(args=["--emit-file", path])
    assert m.stdout().startswith(bytes(range(256)) * 1000)
    until(lambda: b"listening" in m.stdout(), "and what it has to say itself")


@pytest.mark.parametrize("args", [
    [], ["--name", "a"], ["--name", "a", "--port", "1"], ["--name", "a", "--models", "m"],
    ["--name", "a", "--models", "m", "--port", "1", "--socket", "/x"],
    ["--name", "a", "--models", "m", "--port", "65535"],
    ["--name", "a", "--models", "m", "--port", "0", "--fault", "m=explode"],
    ["--name", "a", "--models", "m", "--port", "0", "--fault", "m=status:99"],
    ["--name", "a", "--models", "m", "--port", "0", "--fault", "m=hang:1"],
    ["--name", "a", "--models", "m", "--port", "0", "--exit-after-ms", "5:256"],
    ["--name", "a", "--models", "m,,n", "--port", "0"],
    ["--name", "a", "--models", "m", "--port", "0", "--port", "0"],
    ["--name", "a", "--models", "m", "--port", "0", "stray"],
    ["--name", "a", "--models", "m", "--port", "0", "--no-such-flag"],
])
def test_usage_errors(args):
    done = subprocess.run([PROGRAM, "mock", *args], capture_output=True, timeout=30 * SLOW, check=False)
    assert done.returncode == 2 and done.stderr and not done.stdout


def test_taken_port(bench):
    m = bench.mock()
    second = bench.mock(port=int(m.address.rpartition(":")[2]), wait=False)
    second.expected_exit = 1
    assert second.wait_exit() == 1
    assert second.stderr().startswith(b"Error: ")
