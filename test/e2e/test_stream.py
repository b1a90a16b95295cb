# SPDX-License-Identifier: Apache-2.0
"""Streams through a gateway: as they come, and never a clean end of a broken one. Every way an engine can
lie is told to the client by an error event without [DONE] and an unclean end; a client that leaves
cancels the engine's work; a client that does not read stops the engine."""

import json
import socket
import threading
import time

import pytest

from harness import fake, raw
from harness.gateway import remote
from harness.wait import SLOW, Stopwatch, until


def told_truthfully(reply, code=None, whole_events=None):
    """A cut stream: 200, some events, one error event as the last, no [DONE], no clean end."""
    assert reply.status == 200 and not reply.whole, reply
    assert b"[DONE]" not in reply.body, reply
    events = reply.events()
    error = json.loads(events[-1])["error"]
    assert error["type"] == "server_error" and error["code"] in (code and [code] or ["upstream_disconnected", "upstream_timeout"])
    assert reply.body.endswith(b"\n\n")
    if whole_events is not None:
        assert len(events) - 1 == whole_events, events
    return error


def settles(up, engine="e"):
    """Nothing is held any more."""
    until(lambda: up.metrics()[f'inferd_engine_in_flight{{engine="{engine}"}}'] == 0, "the slot is free")
    until(lambda: up.metric("inferd_requests_in_flight") == 0, "no request is left")


# ---- as it comes ----


@pytest.mark.smoke
def test_events_are_relayed_as_they_come(bench):
    """Each event reaches the client before the engine sends the next."""
    def script(c):
        c.stream_head()
        for letter in "abcde":
            c.token(letter)
            assert c.engine.seen.acquire(timeout=10 * SLOW), f"the client did not see {letter}"
        c.done()

    import threading
    engine = bench.engine(script)
    engine.seen = threading.Semaphore(0)
    up = bench.up({"remote": [remote(engine)], "model": {"nick": {"target": "tiny"}}})
    for model in ("tiny", "nick"):
        with up.open_chat(model) as c:
            reply = c.head()
            assert reply.status == 200
            for letter in "abcde":
                while b'"%s"' % letter.encode() not in c.waiting or not c.waiting.endswith(b"\n\n\r\n"):
                    assert c.more()
                engine.seen.release()
            c.body(reply)
            assert reply.whole and reply.events()[-1] == "[DONE]"


def test_the_head_is_relayed_before_the_first_event(bench):
    import threading
    gate = threading.Event()

    def script(c):
        c.stream_head()
        gate.wait(10)
        c.done()

    up = bench.up({"remote": [remote(bench.engine(script))]})
    with up.open_chat() as c:
        reply = c.head()
        gate.set()
        assert c.body(reply).whole


def test_bytes_of_a_stream_are_untouched(bench):
    text = ": comment\r\nevent: x\r\ndata: {\"a\": 1}\r\n\r\nid: 5\ndata:1\ndata:2\n\n\n\nretry: 3\r\rdata: [DONE]\n\n".encode()

    def script(c):
        c.stream_head()
        size = c.json()["size"]
        for i in range(0, len(text), size):
            c.chunk(text[i:i + size])
        c.send(b"0\r\n\r\n")

    up = bench.up({"remote": [remote(bench.engine(script))]})
    for size in (1, 2, 3, 7, 1000):
        reply = up.chat(stream=True, size=size)
        assert reply.whole and reply.body == text


def test_close_delimited_streams(bench):
    """They end well by [DONE], and only by it."""
    def script(c):
        c.send(c.head_of(200, [("Content-Type", "text/event-stream"), ("Connection", "close")]))
        c.send(b'data: {"x":1}\n\n')
        if c.json()["end"]:
            c.send(b"data: [DONE]\n\n")
        c.fin()

    up = bench.up({"remote": [remote(bench.engine(script))]})
    good = up.chat(stream=True, end=True)
    assert good.whole and good.framing == "chunked" and good.events()[-1] == "[DONE]"
    told_truthfully(up.chat(stream=True, end=False), "upstream_disconnected", 1)


def test_a_long_stream(bench):
    def script(c):
        c.stream_head()
        for i in range(20000):
            c.token(str(i))
        c.done()

    up = bench.up({"remote": [remote(bench.engine(script))]})
    reply = up.chat(stream=True)
    assert reply.whole
    assert [json.loads(e)["choices"][0]["delta"]["content"] for e in reply.events()[:-1]] == [str(i) for i in range(20000)]


@pytest.mark.threads
def test_many_streams_do_not_mix(bench):
    def script(c):
        c.stream_head()
        name = c.json()["tag"]
        for i in range(40):
            c.token(f"{name}:{i}")
        c.done()

    up = bench.up({"remote": [remote(bench.engine(script))], "model": {"nick": {"target": "tiny"}}})
    open_ones = [(k, up.open_chat("nick" if k % 2 else "tiny", tag=f"t{k}")) for k in range(40)]
    for k, c in open_ones:
        with c:
            reply = c.reply()
        got = [json.loads(e) for e in reply.events()[:-1]]
        assert [e["choices"][0]["delta"]["content"] for e in got] == [f"t{k}:{i}" for i in range(40)]
        assert {e["model"] for e in got} == {"nick" if k % 2 else "tiny"}
    settles(up)


# ---- engines that break ----


@pytest.mark.fault
@pytest.mark.parametrize("fault, events", [("abort:0", 0), ("abort:1", 1), ("abort:5", 5), ("truncate:0", 0), ("truncate:1", 1),
                                           ("truncate:5", 5)])
def test_streams_that_the_mock_cuts(bench, fault, events):
    m = bench.mock(models=("tiny", "bad"), args=["--fault", f"bad={fault}", "--tokens-per-second", "1000"])
    up = bench.up({"remote": [remote(m, models=["tiny", "bad"])]})
    for _ in range(3):
        reply = up.chat("bad", stream=True)
        if reply.status != 200:  # RST may overtake the head
            assert (reply.status, reply.error()["code"]) == (502, "bad_gateway") and fault.startswith("abort")
            continue
        told_truthfully(reply, "upstream_disconnected", events if fault.startswith("truncate") else None)
    assert up.chat("tiny", stream=True).whole
    settles(up)


@pytest.mark.fault
def test_a_stalled_stream(bench):
    def script(c):  # in one go: were they apart, a slow engine's silence between them might be the one that is met
        c.send(c.head_of(200, [("Content-Type", "text/event-stream")]) + b'data: {"x":1}\n\ndata: {"x":2}\n\n')
        c.wait_gone()

    engine = bench.engine(script)
    up = bench.up({"remote": [remote(engine)], "limits": {"idle_ms": 500}})
    told_truthfully(up.chat(stream=True), "upstream_timeout", 2)
    assert engine.left.acquire(timeout=5 * SLOW), "the engine is told"
    assert up.metric("inferd_limit_idle_ms_total") == 1


@pytest.mark.fault
def test_a_slow_but_living_stream_lives(bench):
    """idle_ms is about silence, not about the whole."""
    m = bench.mock(args=["--tokens-per-second", "8"])
    up = bench.up({"remote": [remote(m)], "limits": {"idle_ms": 2500}})
    watch = Stopwatch()
    reply = up.chat(stream=True, seconds=20)
    assert reply.whole and reply.events()[-1] == "[DONE]" and watch.seconds() > 2.5


@pytest.mark.fault
@pytest.mark.parametrize("fault, status, code", [("reset", 502, "bad_gateway"), ("close", 502, "bad_gateway"),
                                                 ("badhttp", 502, "bad_gateway"), ("status:503", 503, None),
                                                 ("hang", 504, "upstream_timeout")])
@pytest.mark.parametrize("stream", [False, True])
def test_faults_before_the_first_byte(bench, fault, status, code, stream):
    m = bench.mock(models=("bad",), args=["--fault", f"bad={fault}"])
    limits = {"first_byte_ms": 500} if fault == "hang" else {}
    up = bench.up({"remote": [remote(m, models=["bad"])], "limits": limits})
    reply = up.chat("bad", stream=stream)
    assert reply.status == status and reply.whole, reply
    if code:
        assert reply.error()["code"] == code and reply.error()["type"] == "server_error"
    with up.open() as c:  # the client's connection goes on
        for _ in range(2):
            c.request("POST", "/v1/chat/completions", json_body={"model": "bad", "stream": stream})
            assert c.reply().status == status
    settles(up)


@pytest.mark.fault
def test_garbage_passes_as_what_it_is(bench):
    """A complete reply is final, whatever it says."""
    m = bench.mock(models=("bad",), args=["--fault", "bad=garbage"])
    up = bench.up({"remote": [remote(m, models=["bad"])]})
    direct, relayed = raw.chat(m.address, "bad"), up.chat("bad")
    assert relayed.status == 200 and relayed.body == direct.body and relayed.whole


CUTS = {
    "fin inside a line": lambda c: (c.chunk(b'data: {"x"'), c.fin()),
    "rst inside a line": lambda c: (c.chunk(b'data: {"x"'), c.engine.pause(), c.rst()),
    "fin inside an event": lambda c: (c.chunk(b'data: {"x":1}\n'), c.fin()),
    "fin behind a CR": lambda c: (c.chunk(b'data: {"x":1}\r'), c.fin()),
    "fin between events": lambda c: (c.chunk(b'data: {"x":1}\n\n'), c.fin()),
    "fin inside a chunk": lambda c: (c.send(b'40\r\ndata: {"x":1}\n\n'), c.fin()),
    "fin inside a chunk head": lambda c: (c.chunk(b'data: {"x":1}\n\n'), c.send(b"4"), c.fin()),
    "fin inside the last chunk": lambda c: (c.chunk(b'data: {"x":1}\n\n'), c.send(b"0\r\n"), c.fin()),
    "a chunk head that is none": lambda c: (c.chunk(b'data: {"x":1}\n\n'), c.send(b"zz\r\n"), c.wait_gone()),
    "a chunk of more than 32 bits": lambda c: (c.chunk(b'data: {"x":1}\n\n'), c.send(b"fffffffff\r\n"), c.wait_gone()),
    "a chunk end that is none": lambda c: (c.send(b'f\r\ndata: {"x":1}\n\nXX'), c.wait_gone()),
    "a new reply inside": lambda c: (c.chunk(b'data: {"x":1}\n\n'), c.send(b"HTTP/1.1 200 OK\r\n\r\n"), c.wait_gone()),
}


@pytest.mark.fault
@pytest.mark.parametrize("model", ["tiny", "nick"])
def test_every_cut_of_a_chunked_stream(bench, model):
    def script(c):
        c.stream_head()
        c.token("a")
        CUTS[c.json()["cut"]](c)

    engine = bench.engine(script)
    engine.pause = lambda: until(lambda: engine.seen, "the client has read")
    up = bench.up({"remote": [remote(engine)], "model": {"nick": {"target": "tiny"}}})
    for cut in CUTS:
        engine.seen = False
        with up.open_chat(model, cut=cut) as c:
            reply = c.head()
            while b'"a"' not in c.waiting and c.more():
                pass
            engine.seen = True
            c.body(reply)
        try:
            told_truthfully(reply, "upstream_disconnected")
        except AssertionError as e:
            raise AssertionError(f"{cut}: {e}") from e
    settles(up)
    assert up.metric("inferd_cut_streams_total") == len(CUTS)


@pytest.mark.smoke
@pytest.mark.fault
@pytest.mark.parametrize("room", [1, 50, 300, 5000])
def test_a_stream_with_a_length_is_cut_as_any_other(bench, room):
    """The error event must not be taken for the bytes that are missing, whatever their number."""
    start = b'data: {"x":1}\n\n'

    def script(c):
        c.send(c.head_of(200, [("Content-Type", "text/event-stream"), ("Content-Length", len(start) + room)]) + start)
        c.fin()

    def whole(c):
        c.send(c.head_of(200, [("Content-Type", "text/event-stream"), ("Content-Length", len(start))]) + start)

    engine = bench.engine(lambda c: (whole if c.json().get("whole") else script)(c))
    up = bench.up({"remote": [remote(engine)]})
    pid = up.gateway_pid()
    for _ in range(2):
        told_truthfully(up.chat(stream=True), "upstream_disconnected", 1)
    reply = up.chat(stream=True, whole=True)
    assert reply.whole and reply.body == start
    assert up.gateway_pid() == pid and up.metric("inferd_cut_streams_total") == 2


def test_http_1_0_clients_see_a_reset(bench):
    """Their streams have no framing: a FIN would look like a good end."""
    def script(c):
        c.stream_head()
        c.token("a")
        until(lambda: engine.seen, "the client has read")
        c.fin()

    engine = bench.engine(script)
    engine.seen = False
    up = bench.up({"remote": [remote(engine)]})
    body = b'{"model":"tiny","stream":true}'
    with up.open() as c:
        c.send(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        reply = c.head()
        while b'"a"' not in c.waiting:
            assert c.more()
        engine.seen = True
        c.body(reply)
        assert reply.framing == "close" and reply.ended_by == "reset" and b"[DONE]" not in reply.body


LIES = {
    "content-length, then fin": lambda c: (c.send(c.head_of(200, [("Content-Type", "application/json"), ("Content-Length", 100)])
                                                  + b'{"a":'), c.fin()),
    "chunked, then fin": lambda c: (c.send(c.head_of(200, [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")])
                                           + b'5\r\n{"a":\r\n'), c.fin()),
    "half a JSON document, closed": lambda c: (c.send(c.head_of(200, [("Content-Type", "application/json"), ("Connection", "close")])
                                                      + b'{"a":'), c.fin()),
    "half a head": lambda c: (c.send(b"HTTP/1.1 200 OK\r\nContent-Ty"), c.fin()),
    "endless head": lambda c: (c.send(b"HTTP/1.1 200 OK\r\n" + b"X-A: %s\r\n" % (b"y" * 4000) * 20), c.wait_gone()),
    "a header with a control byte": lambda c: (c.send(b"HTTP/1.1 200 OK\r\nX-A: a\x01b\r\nContent-Length: 0\r\n\r\n"), c.wait_gone()),
    "two lengths": lambda c: (c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), c.wait_gone()),
    "length and chunked": lambda c: (c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                                     c.wait_gone()),
    "switching protocols": lambda c: (c.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), c.wait_gone()),
    "a status of no class": lambda c: (c.send(b"HTTP/1.1 600 Six\r\nContent-Length: 0\r\n\r\n"), c.wait_gone()),
    "the last number": lambda c: (c.send(b"HTTP/1.1 999 \r\nContent-Length: 2\r\n\r\n{}"), c.wait_gone()),
    "not HTTP": lambda c: (c.send(b"SSH-2.0-OpenSSH_9.2\r\n"), c.wait_gone()),
}


@pytest.mark.fault
def test_lies_about_held_bodies_are_a_502(bench):
    """Held replies have not begun for the client: an honest 502 instead."""
    engine = bench.engine(lambda c: LIES[c.json()["lie"]](c))
    up = bench.up({"remote": [remote(engine)], "breaker": {"broken": 0}})
    for lie in LIES:
        reply = up.chat(lie=lie)
        if lie == "chunked, then fin":  # chunked replies go on as they come
            assert reply.status == 200 and not reply.whole, reply
            continue
        assert reply.status == 502 and reply.whole, (lie, reply)
        assert reply.error()["code"] in ("bad_gateway", "upstream_disconnected"), lie
    settles(up)


@pytest.mark.fault
def test_a_large_body_cut_short(bench):
    def script(c):
        c.send(c.head_of(200, [("Content-Type", "application/octet-stream"), ("Content-Length", 500000)]) + b"x" * 300000)
        c.fin()

    up = bench.up({"remote": [remote(bench.engine(script))]})
    reply = up.chat()
    assert reply.status == 200 and not reply.whole and len(reply.body) <= 300000


@pytest.mark.fault
def test_more_bytes_than_promised_never_reach_the_next_request(bench):
    """The connection is not used again."""
    def script(c):
        body = b'{"model":"tiny"}'
        c.send(c.head_of(200, [("Content-Type", "application/json"), ("Content-Length", len(body))]) + body
               + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")

    engine = bench.engine(script)
    up = bench.up({"remote": [remote(engine)]}, lanes="1")
    for _ in range(5):
        assert up.chat().json() == {"model": "tiny"}
    assert engine.connections >= 5


@pytest.mark.fault
def test_unasked_bytes_on_an_idle_connection(bench):
    import threading
    sent = threading.Event()

    def script(c):
        c.reply({"model": "tiny"})
        if not sent.is_set():
            until(lambda: engine.answered, "the client has its reply")
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
            sent.set()

    engine = bench.engine(script)
    engine.answered = False
    up = bench.up({"remote": [remote(engine)]}, lanes="1")
    assert up.chat().json() == {"model": "tiny"}
    engine.answered = True
    assert sent.wait(10)
    for _ in range(3):
        assert up.chat().json() == {"model": "tiny"}


@pytest.mark.fault
def test_reuse_race(bench):
    """An engine that closes each connection just as the next request comes: nobody notices."""
    def script(c):
        if len(c.engine.requests) % 2 == 0 and c.engine.closing:
            c.engine.requests.pop()
            c.engine.closing = False
            c.rst() if c.json()["how"] == "rst" else c.fin()
            return
        c.engine.closing = True
        fake.answer_chat(c)

    engine = bench.engine(script)
    engine.closing = False
    up = bench.up({"remote": [remote(engine)]}, lanes="1")
    for how in ("fin", "rst"):
        for _ in range(10):
            assert up.chat(how=how).status == 200
    assert up.metric("inferd_engine_requests_total") == 20


# ---- clients that leave ----


@pytest.mark.smoke
@pytest.mark.threads
@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_a_client_that_leaves_cancels_the_engine(bench, how):
    m = bench.mock(args=["--tokens-per-second", "20", "--repeat", "100"])
    up = bench.up({"remote": [remote(m)]})
    c = up.open_chat()
    assert c.head().status == 200 and c.more()
    assert m.health()["active"] == 1
    watch = Stopwatch()
    if how == "close":
        c.close()
    elif how == "reset":
        c.reset()
    else:
        c.socket.shutdown(socket.SHUT_WR)
    until(lambda: m.health()["active"] == 0, "the engine has stopped")
    assert watch.seconds() < 1 * SLOW
    c.close()
    settles(up)
    record = up.wait_log(msg="request", fault="client_gone")
    assert record["status"] == 200 and record["bytes_out"] > 0
    assert up.metric("inferd_canceled_total") == 1


@pytest.mark.parametrize("phase", ["waits for the head", "waits for a slot", "sends its body"])
def test_a_client_that_leaves_early(bench, phase):
    m = bench.mock(args=["--latency-ms", "600000"])
    up = bench.up({"remote": [remote(m, slots=1)]})
    first = up.open_chat(stream=False)
    until(lambda: m.health()["active"] == 1, "the engine works")
    if phase == "waits for a slot":
        second = up.open_chat(stream=False)
        until(lambda: up.metric("inferd_waiting") == 1, "the second waits")
        second.close()
        until(lambda: up.metric("inferd_waiting") == 0, "and waits no more")
    elif phase == "sends its body":
        second = up.open()
        second.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        until(lambda: up.metric("inferd_requests_in_flight") == 2, "the second has begun")
        second.close()
        until(lambda: up.metric("inferd_requests_in_flight") == 1, "and ended")
    first.close()
    until(lambda: m.health()["active"] == 0, "the engine has stopped")
    settles(up)
    up.wait_log(msg="request", status=499)


# ---- clients that do not read ----


def largest_buffer(name):
    with open(f"/proc/sys/net/ipv4/{name}", encoding="ascii") as f:
        return int(f.read().split()[2])


def test_back_pressure(bench):
    """An engine with endless bytes is stopped by a client that does not read, and goes on with it."""
    piece = b"data: " + b"x" * 8186 + b"\n\n"
    kernel = largest_buffer("tcp_rmem") + 2 * largest_buffer("tcp_wmem")  # what its sockets may hold
    count = (kernel + 20_000_000) // len(piece)

    def script(c):
        c.stream_head()
        c.engine.sent = 0
        try:
            for _ in range(count):
                c.chunk(piece)
                c.engine.sent += len(piece)
            c.done()
        except fake.Gone:
            c.engine.gone = True

    engine = bench.engine(script)
    engine.sent, engine.gone = 0, False
    up = bench.up({"remote": [remote(engine)]})

    def memory():
        with open(f"/proc/{up.gateway_pid()}/status", encoding="utf-8") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    before = memory()
    with up.open_chat(receive_buffer=32768, seconds=60) as c:
        reply = c.head()
        settled = -1
        while settled != engine.sent or engine.sent == 0:
            settled = engine.sent
            time.sleep(0.3)
        assert engine.sent < kernel + 10_000_000, "the engine was not stopped"
        assert memory() - before < 4096, "the gateway holds what nobody reads"
        c.body(reply)
        assert reply.whole and reply.body == piece * count + b"data: [DONE]\n\n"
    settles(up)


def test_a_client_that_never_reads_is_cut(bench):
    piece = b"data: " + b"x" * 8186 + b"\n\n"

    def script(c):
        c.stream_head()
        try:
            while True:
                c.chunk(piece)
        except fake.Gone:
            c.engine.left.release()
            raise

    engine = bench.engine(script)
    up = bench.up({"remote": [remote(engine)], "limits": {"stream_stall_ms": 700}})
    watch = Stopwatch()
    with up.open_chat(receive_buffer=32768) as c:
        assert engine.left.acquire(timeout=10 * SLOW)
        assert watch.seconds() >= 0.7
        up.wait_log(msg="request", fault="client_gone")
        while c.more():
            c.waiting = b""
        assert c.eof == "reset"
    assert up.metric("inferd_limit_stream_stall_ms_total") == 1
    settles(up)


def test_a_slow_reader_is_no_stalled_one(bench):
    """Progress, however slow, keeps a stream alive: the client's time is not the engine's silence."""
    piece = b"data: " + b"x" * 8186 + b"\n\n"

    def script(c):
        c.stream_head()
        for _ in range(100):
            c.chunk(piece)
        c.done()

    engine = bench.engine(script)
    up = bench.up({"remote": [remote(engine)], "limits": {"stream_stall_ms": 3000, "idle_ms": 1500}})
    with up.open_chat(receive_buffer=16384) as c:
        reply = c.head()
        for _ in range(6):
            time.sleep(0.7)  # the point is to be slow
            c.more()
        c.body(reply)
        assert reply.whole and reply.body == piece * 100 + b"data: [DONE]\n\n"


def test_a_stream_ends_for_one_and_goes_on_for_others(bench):
    m = bench.mock(models=("tiny", "bad"), args=["--fault", "bad=abort:3", "--tokens-per-second", "200"])
    up = bench.up({"remote": [remote(m, models=["tiny", "bad"])]})
    good = [up.open_chat("tiny") for _ in range(4)]
    bad = [up.open_chat("bad") for _ in range(4)]
    for c in bad:
        with c:
            reply = c.reply()
            assert not (reply.status == 200 and reply.whole)
    for c in good:
        with c:
            assert c.reply().events()[-1] == "[DONE]"
    settles(up)
