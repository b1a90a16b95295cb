# SPDX-License-Identifier: Apache-2.0
"""Every bound of the request path, at the bound and one beyond: what is refused is refused with its status
and an error object, is counted, reaches no engine, and disturbs nobody else. Then abuse: slow clients,
lying lengths, every byte in every place of the log, marks that must never be seen again."""

import json
import os
import select
import socket
import threading
import time

import pytest

from harness import fake, raw
from harness.gateway import mock_unit, remote
from harness.tree import Tree, children
from harness.wait import SLOW, Stopwatch, until


@pytest.fixture
def engine(bench):
    return bench.engine()


def up_with(bench, engine, limits, **more):
    return bench.up({"remote": [remote(engine)], "limits": limits}, **more)


def refused(reply, status, code):
    assert reply.status == status, reply
    assert reply.error()["code"] == code, reply
    return reply


def faults(up, code):
    return up.metrics()[f'inferd_faults_total{{code="{code}"}}']


def hits(up, setting):
    """How often a limit was met."""
    return up.metric(f"inferd_limit_{setting}_total")


def padded(n, start=b'{"model":"tiny","x":"', end=b'"}'):
    """A JSON body of n bytes."""
    return start + b"y" * (n - len(start) - len(end)) + end


# ---- the head ----


def head_of(n, fields=0):
    """A whole request head of n bytes, spread over fields of at most 4,000."""
    lines = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + b"x: y\r\n" * fields
    while n - len(lines) - 2 > 4100:
        lines += b"A: " + b"z" * 3995 + b"\r\n"
    return lines + b"B: " + b"z" * (n - len(lines) - 7) + b"\r\n\r\n"


def ask(up, data, method="GET"):
    with up.open() as c:
        c.send(data)
        reply = c.reply(method)
        assert c.end() == "fin"
        return reply


@pytest.mark.parametrize("limits, bound", [({}, 32768), ({"head_bytes": 1024, "request_line_bytes": 512}, 1024), ({"head_bytes": 65535}, 65535)])
def test_head_bytes(bench, engine, limits, bound):
    up = up_with(bench, engine, limits)
    data = head_of(bound)
    assert len(data) == bound and ask(up, data).status == 200
    assert hits(up, "head_bytes") == 0
    refused(ask(up, head_of(bound + 1)), 431, "headers_too_large")
    assert faults(up, "headers_too_large") == 1 and hits(up, "head_bytes") == 1
    refused(ask(up, b"GET /health HTTP/1.1\r\nHost: localhost\r\nA: " + b"z" * 9000 + b"\r\n\r\n"), 431, "headers_too_large")
    assert hits(up, "head_bytes") == 2 and hits(up, "headers") == 0 and up.metric("inferd_heads_refused_total") == 2


@pytest.mark.parametrize("limits, bound", [({}, 8192), ({"request_line_bytes": 256}, 256)])
def test_request_line_bytes(bench, engine, limits, bound):
    up = up_with(bench, engine, limits)

    def line(n):
        return b"GET /health?" + b"q" * (n - len(b"GET /health? HTTP/1.1")) + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    assert ask(up, line(bound)).status == 200
    refused(ask(up, line(bound + 1)), 414, "uri_too_long")
    assert faults(up, "uri_too_long") == 1 and hits(up, "request_line_bytes") == 1


@pytest.mark.parametrize("limits, bound", [({}, 100), ({"headers": 8}, 8)])
def test_headers(bench, engine, limits, bound):
    up = up_with(bench, engine, limits)
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    assert ask(up, head + b"a: b\r\n" * (bound - 2) + b"\r\n").status == 200
    assert hits(up, "headers") == 0
    refused(ask(up, head + b"a: b\r\n" * (bound - 1) + b"\r\n"), 431, "headers_too_large")
    assert hits(up, "headers") == 1 and hits(up, "head_bytes") == 0


# ---- bodies ----


@pytest.mark.parametrize("chunked", [False, True])
def test_body_bytes(bench, engine, chunked):
    up = up_with(bench, engine, {"body_bytes": 100000})
    for n, status in ((99999, 200), (100000, 200), (100001, 413), (300000, 413)):
        before = len(engine.requests)
        with up.open() as c:
            if chunked:
                c.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
                body = padded(n)
                data = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 9999]), body[i:i + 9999]) for i in range(0, n, 9999))
                try:
                    c.send(data + b"0\r\n\r\n")
                except OSError:
                    pass  # it is refused before it has come
            else:
                c.request("POST", "/v1/chat/completions", body=padded(n))
            reply = c.reply()
        assert reply.status == status, (n, reply)
        if status == 413:
            refused(reply, 413, "payload_too_large")
            assert reply["connection"] == "close" and len(engine.requests) == before
        else:
            assert len(engine.requests[-1].body) == n
    assert up.metric("inferd_limit_body_bytes_total") == 2


def test_a_length_beyond_the_bound_is_refused_before_the_body(bench, engine):
    up = up_with(bench, engine, {"body_bytes": 1000})
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n"
    for extra in (b"", b"Expect: 100-continue\r\n"):
        with up.open() as c:
            c.send(head + extra + b"\r\n")
            reply = c.head()
            assert reply.status == 413
            refused(c.body(reply), 413, "payload_too_large")


@pytest.mark.parametrize("length", ["18446744073709551615", "18446744073709551616", "9" * 100, "68719476736"])
def test_claimed_lengths_cost_nothing(bench, engine, length):
    up = up_with(bench, engine, {})
    with up.open() as c:
        c.send(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{{".encode())
        reply = c.reply()
        assert reply.status in (400, 413), reply
    assert not engine.requests and up.chat().status == 200


def test_buffered_bytes(bench):
    """All bodies together, held as long as their requests are under way."""
    engine = bench.engine(lambda c: c.engine.gate.wait(20 * SLOW) and fake.answer_chat(c))
    engine.gate = threading.Event()
    up = up_with(bench, engine, {"buffered_bytes": 300000, "body_bytes": 200000})
    held = []
    for _ in range(3):
        c = up.open()
        c.request("POST", "/v1/chat/completions", body=padded(100000))
        held.append(c)
    until(lambda: len(engine.requests) == 3, "all three are with the engine")
    reply = up.post("/v1/chat/completions", {"model": "tiny"})
    refused(reply, 503, "overloaded")
    assert reply["retry-after"] == "5" and reply["connection"] == "close"
    assert up.get("/health").status == 200 and up.metric("inferd_limit_buffered_bytes_total") == 1
    engine.gate.set()
    for c in held:
        with c:
            assert c.reply().status == 200
    assert up.chat().status == 200


def test_a_body_that_is_promised_and_not_sent(bench, engine):
    up = up_with(bench, engine, {"body_grace_ms": 500, "body_bytes_per_s": 1000})
    watch = Stopwatch()
    with up.open() as c:
        c.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        refused(c.reply(), 408, "request_timeout")
        assert c.end() == "fin" and watch.seconds() < 4 * SLOW
    assert not engine.requests and faults(up, "request_timeout") == 1


def test_body_rate(bench, engine):
    """Slower than the bound is cut; just above it is not. The grace is what either may fall behind: 2.5 kB."""
    up = up_with(bench, engine, {"body_grace_ms": 2500, "body_bytes_per_s": 1000})
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000\r\n\r\n"
    body = padded(8000)
    with up.open() as c:
        c.send(head)
        for i in range(0, 8000, 400):  # 2,000 bytes a second
            c.send(body[i:i + 400])
            time.sleep(0.2)
        assert c.reply().status == 200
    with up.open() as c:
        c.send(head)
        dribble(c, (body[i:i + 40] for i in range(0, 8000, 40)), 0.2)  # 200 bytes a second
        refused(c.reply(), 408, "request_timeout")
    assert hits(up, "body_bytes_per_s") == 1


def dribble(c, pieces, pause):
    """Sends one after the other until something is answered."""
    for piece in pieces:
        if select.select([c.socket], [], [], 0)[0]:
            return
        try:
            c.send(piece)
        except OSError:  # it was, and the connection has ended since
            return
        time.sleep(pause)


def test_deep_json(bench, engine):
    up = up_with(bench, engine, {})

    def nested(n):  # n levels in all, the object among them
        return b'{"model":"tiny","x":' + b"[" * (n - 1) + b"]" * (n - 1) + b"}"

    assert up.post("/v1/chat/completions", body=nested(64)).status == 200
    refused(up.post("/v1/chat/completions", body=nested(65)), 400, "invalid_json")
    watch = Stopwatch()
    refused(up.post("/v1/chat/completions", body=b"[" * 100000), 400, "invalid_json")
    assert watch.seconds() < 1 * SLOW


# ---- time ----


def test_head_ms(bench, engine):
    up = up_with(bench, engine, {"head_ms": 2000, "keepalive_ms": 60000})
    with up.open() as c:  # never says anything: closed without a word
        assert c.end() == "fin"
    watch = Stopwatch()
    with up.open() as c:  # a byte now and then does not help
        dribble(c, (bytes([b]) for b in b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 200), 0.1)
        refused(c.reply(), 408, "request_timeout")
        assert watch.seconds() < 4 * SLOW
    with up.open() as c:  # the second head of a connection, too
        c.request("GET", "/health")
        assert c.reply("GET").status == 200
        c.send(b"GET /hea")
        refused(c.reply(), 408, "request_timeout")
    assert hits(up, "head_ms") == 2 and hits(up, "keepalive_ms") == 1


def test_keepalive_ms(bench, engine):
    up = up_with(bench, engine, {"keepalive_ms": 500})
    watch = Stopwatch()
    with up.open() as c:
        c.request("GET", "/health")
        assert c.reply("GET").status == 200
        assert c.end() == "fin"
        assert 0.45 < watch.seconds() < 3 * SLOW
    assert hits(up, "keepalive_ms") == 1


def test_stall_ms(bench):
    """A client that reads nothing of a body with a length."""
    big = b"x" * 20_000_000
    engine = bench.engine(lambda c: c.send(c.head_of(200, [("Content-Length", len(big))]) + big))
    up = up_with(bench, engine, {"stall_ms": 600, "stream_stall_ms": 3600000})
    with up.open_chat(stream=False, receive_buffer=16384):
        up.wait_log(msg="request", fault="client_gone", seconds=8)
    assert hits(up, "stall_ms") == 1 and hits(up, "stream_stall_ms") == 0


def test_first_byte_ms(bench):
    engine = bench.engine(lambda c: c.wait_gone(20))
    up = bench.up({"remote": [remote(engine, probe_path="none")], "limits": {"first_byte_ms": 500}})
    watch = Stopwatch()
    refused(up.chat(), 504, "upstream_timeout")
    assert 0.45 < watch.seconds() < 3 * SLOW
    assert engine.left.acquire(timeout=5 * SLOW)  # and the engine was told
    assert hits(up, "first_byte_ms") == 1 and up.admin("/services")["services"][0]["error_count"] == 1


def test_connect_ms(bench):
    """A listener whose queue is full: the handshake does not end."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(0)
    fillers = []
    for _ in range(4):
        f = socket.socket()
        f.setblocking(False)
        f.connect_ex(s.getsockname())
        fillers.append(f)
    up = bench.up({"remote": [remote(f"http://127.0.0.1:{s.getsockname()[1]}", kind="openai", probe_path="none")],
                   "limits": {"connect_ms": 500}})
    watch = Stopwatch()
    refused(up.chat(), 503, "upstream_refused")
    assert 0.45 < watch.seconds() < 3 * SLOW
    assert hits(up, "connect_ms") == 1 and up.metric("inferd_engine_connect_failures_total") == 1
    for f in (*fillers, s):
        f.close()


# ---- connections, slots, tickets ----


def test_connections(bench, engine):
    up = up_with(bench, engine, {"connections": 10, "body_grace_ms": 60000})
    held = []
    for _ in range(10):
        c = up.open()
        c.request("POST", "/v1/chat/completions", body=b'{"model":"tiny"}')
        assert c.reply().status == 200
        # each has a request under way, so that none may be shed
        c.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        held.append(c)
    until(lambda: up.metric("inferd_requests_in_flight") == 10, "all are under way")
    with up.open() as c:
        reply = refused(c.reply(), 503, "overloaded")
        assert reply["connection"] == "close" and c.end() == "fin"
    assert up.metric("inferd_limit_connections_total") == 1
    # the admin side answers all the same; the one that was refused may linger
    until(lambda: up.admin("/status")["connections"] == 10, "ten are left")
    for c in held:
        c.close()
    until(lambda: up.admin("/status")["connections"] == 0, "all are gone")
    assert up.chat().status == 200


def test_idle_connections_are_shed_first(bench, engine):
    up = up_with(bench, engine, {"connections": 10}, lanes="1")
    held = []
    for _ in range(10):
        c = up.open()
        c.request("GET", "/health")
        assert c.reply("GET").status == 200
        held.append(c)
    assert up.chat().status == 200
    assert held[0].end() == "fin"  # the longest idle
    assert up.metric("inferd_connections_shed_total") == 1 and hits(up, "connections") == 0
    for c in held[1:]:
        c.request("GET", "/health")
        assert c.reply("GET").status == 200
        c.close()


@pytest.mark.smoke
@pytest.mark.threads
def test_slots(bench):
    """Never more than `slots` at once, and nobody forgotten."""
    lock, active, most = threading.Lock(), [0], [0]

    def script(c):
        with lock:
            active[0] += 1
            most[0] = max(most[0], active[0])
        time.sleep(0.02)
        with lock:
            active[0] -= 1
        fake.answer_chat(c)

    up = bench.up({"remote": [remote(bench.engine(script), slots=2)]})
    waiting = [up.open_chat(stream=False) for _ in range(30)]
    for c in waiting:
        with c:
            assert c.reply().status == 200
    assert 1 <= most[0] <= 2
    until(lambda: up.metrics()['inferd_engine_in_flight{engine="e"}'] == up.metric("inferd_waiting") == 0, "every slot is free")
    assert up.metric("inferd_tickets_total") > 0


def test_queue_length(bench):
    engine = bench.engine(lambda c: c.engine.gate.wait(20 * SLOW) and fake.answer_chat(c))
    engine.gate = threading.Event()
    up = bench.up({"remote": [remote(engine, slots=1)], "limits": {"queue_length": 3}})
    held = [up.open_chat(stream=False)]
    until(lambda: len(engine.requests) == 1, "the slot is taken")
    held += [up.open_chat(stream=False) for _ in range(3)]
    until(lambda: up.metric("inferd_waiting") == 3, "three wait")
    assert hits(up, "queue_length") == 0
    reply = refused(up.chat(), 503, "overloaded")
    assert reply["retry-after"] == "5" and hits(up, "queue_length") == 1
    engine.gate.set()
    for c in held:
        with c:
            assert c.reply().status == 200


def test_no_queue(bench):
    engine = bench.engine(lambda c: c.engine.gate.wait(20 * SLOW) and fake.answer_chat(c))
    engine.gate = threading.Event()
    up = bench.up({"remote": [remote(engine, slots=1)], "limits": {"queue_length": 0}})
    with up.open_chat(stream=False) as c:
        until(lambda: len(engine.requests) == 1, "the slot is taken")
        refused(up.chat(), 503, "overloaded")
        engine.gate.set()
        assert c.reply().status == 200


def test_queue_ms(bench):
    engine = bench.engine(lambda c: c.engine.gate.wait(20 * SLOW) and fake.answer_chat(c))
    engine.gate = threading.Event()
    up = bench.up({"remote": [remote(engine, slots=1)], "limits": {"queue_ms": 500}})
    with up.open_chat(stream=False) as c:
        until(lambda: len(engine.requests) == 1, "the slot is taken")
        watch = Stopwatch()
        reply = refused(up.chat(), 503, "overloaded")
        assert reply["retry-after"] == "5" and 0.45 < watch.seconds() < 3 * SLOW
        until(lambda: up.metric("inferd_waiting") == 0, "nobody waits")
        assert hits(up, "queue_ms") == 1
        engine.gate.set()
        assert c.reply().status == 200


def test_a_full_model_does_not_hold_up_another(bench):
    slow, fast = bench.engine(lambda c: c.engine.gate.wait(20 * SLOW) and fake.answer_chat(c)), bench.engine()
    slow.gate = threading.Event()
    up = bench.up({"remote": [remote(slow, "slow", ["slow"], slots=1), remote(fast, "fast", ["fast"], slots=1)]})
    held = [up.open_chat("slow", stream=False) for _ in range(5)]
    until(lambda: up.metric("inferd_waiting") == 4, "four wait")
    for _ in range(10):
        assert up.chat("fast").status == 200
    slow.gate.set()
    for c in held:
        with c:
            assert c.reply().status == 200


def test_endless_pipelining(bench):
    """One head is kept behind a stream that goes on, then reading stops; the hang-up is still seen."""
    m = bench.mock(args=["--tokens-per-second", "20", "--repeat", "1000"])
    up = bench.up({"remote": [remote(m)]})
    with up.open_chat() as c:
        assert c.head().status == 200
        c.socket.settimeout(1.0)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 50_000_000:
                sent += c.socket.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
        assert m.health()["active"] == 1
    until(lambda: m.health()["active"] == 0, "the engine has stopped")


def test_a_model_list_beyond_its_bound(bench):
    """4 MiB; a larger one counts as no answer."""
    def script(c):
        models = [{"id": f"m{i}", "x": "y" * 4000} for i in range(c.engine.count)]
        c.reply({"object": "list", "data": models})

    small, large = bench.engine(script, gets=False), bench.engine(script, gets=False)
    small.count, large.count = 1000, 1100
    up = bench.up({"remote": [{"name": "small", "url": small.url}, {"name": "large", "url": large.url}],
                   "probe": {"timeout_ms": 10000}})  # nothing else may count as a failed test
    until(lambda: len(up.get("/v1/models").json()["data"]) == 1000, "the list at the bound is taken")
    until(lambda: large.requests, "the other was asked, too")
    until(lambda: up.admin("/services")["services"][0]["error_count"] > 0, "it counts as a failed test")
    assert up.admin("/services")["services"][0]["models"] == [] and up.admin("/services")["services"][1]["error_count"] == 0


# ---- the log ----


@pytest.mark.parametrize("form", ["json", "logfmt"])
def test_every_byte_in_the_log(bench, form):
    """In path, header, model and an engine's output: each line is one record with our keys."""
    every = bytes(range(256)) * 2 + b"\x1b[31m red \xc2\x85 \xe2\x80\xae \r\n{\"msg\":\"forged\"}\nts=1 level=error msg=forged\n"
    with open(bench.path("noise"), "wb") as f:
        f.write(every * 3 + b"z" * 100000 + b"\n" + b"no end")
    up = bench.up({"engine": [mock_unit("noisy", args=["--emit-file", bench.path("noise")])]},
                  args=["--log-format", form] if form == "logfmt" else ())
    until(lambda: up.get("/ready").status == 200, "the engine is ready")
    for byte in range(256):
        with up.open() as c:
            c.send(b"GET /p" + bytes([byte]) + b"q HTTP/1.1\r\nHost: localhost\r\n\r\n")
            c.reply("GET")
        with up.open() as c:
            c.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a" + bytes([byte]) + b"b\r\n\r\n")
            c.reply("GET")
        up.post("/v1/chat/completions", body=b'{"model":"m' + bytes([byte]) + b'n"}')
        up.post("/v1/chat/completions", body=b'{"model":"m\\u%04xn"}' % byte)
    problems = Tree.stop(up)  # and what is still in the log's ring is written
    assert not problems, problems
    if form == "logfmt":
        up.stop = lambda *_: []  # its lines are no JSON
    lines = up.stdout().split(b"\n")
    assert lines.pop() == b""
    assert len(lines) > 700
    for line in lines:
        assert len(line) < (4096 if b"[noisy stdout] " in line else 4000)
        line.decode("utf-8")
        assert all(c >= 0x20 and c != 0x7f for c in line), line
        if form == "json":
            record = json.loads(line)
            assert {"ts", "level", "target", "msg"} <= set(record), line
            assert record["msg"] != "forged"
        else:
            assert line.startswith(b"ts=2") and b" level=" in line and b" msg=" in line, line


def test_marks_are_never_seen_again(bench):
    """A13: a prompt, a completion, a key, a header and a query leave no trace but in the bytes relayed."""
    def script(c):
        if c.json().get("cut"):
            c.stream_head()
            c.event({"text": "MARK-completion"})
            c.fin()
        else:
            c.reply({"text": "MARK-completion", "model": "tiny"})

    engine = bench.engine(script)
    path = bench.path("key")
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as f:
        f.write("MARK-enginekey")
    up = bench.up({"engine": [mock_unit("unit", ["unit"])], "remote": [remote(engine, api_key_file=path)], "limits": {"body_bytes": 100000}},
                  args=["--log-level", "trace"])
    until(lambda: up.chat("unit").status == 200, "the unit is ready")
    marked = {"Authorization": "Bearer MARK-clientkey", "Cookie": "MARK-cookie", "X-Mark": "MARK-header", "User-Agent": "MARK-agent"}
    replies = []
    for body in ({"model": "tiny", "messages": "MARK-prompt"}, {"model": "unit", "messages": "MARK-prompt"},
                 {"model": "nope", "x": "MARK-prompt"}, {"model": 1, "x": "MARK-prompt"},
                 {"model": "tiny", "cut": True, "x": "MARK-prompt"}, {"model": "tiny", "x": "MARK-prompt" * 10000}):
        replies.append(up.post("/v1/chat/completions?MARK-query=1", body, headers=marked))
    replies.append(up.post("/v1/chat/completions?MARK-query", body=b'{"MARK-prompt":', headers=marked))
    replies.append(up.post("/nowhere?MARK-query", body=b"MARK-prompt", headers=marked))
    replies.append(up.post("/slots?MARK-query", body=b"MARK-prompt", headers=marked))
    replies.append(up.chat(headers={"Host": "MARK-host.example"}))
    replies.append(up.chat(headers={"Origin": "http://MARK-origin.example"}))
    for reply in replies:
        if reply.status >= 400:
            assert b"MARK" not in reply.body, reply
    seen = {"log": up.stdout(), "stderr": up.stderr(), "metrics": raw.get(up.control, "/metrics").body,
            "services": raw.get(up.control, "/services").body, "units": raw.get(up.control, "/units").body}
    pids = [up.pid, *children(up.pid)]
    for pid in pids:
        for what in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{what}", "rb") as f:
                seen[f"{what} of {pid}"] = f.read()
    for folder in (up.state_dir, up.runtime_dir):
        for base, _, names in os.walk(folder):
            for name in names:
                try:
                    with open(f"{base}/{name}", "rb") as f:
                        seen[f"{base}/{name}"] = f.read()
                except OSError:
                    pass  # a socket
    for where, text in seen.items():
        assert b"MARK" not in text, f"{where}: {text[max(0, text.find(b'MARK') - 80):][:200]}"
