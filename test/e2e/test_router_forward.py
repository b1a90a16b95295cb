# SPDX-License-Identifier: Apache-2.0
"""What the router sends to engines, what it sends again, how it relays replies, and what it says when there are
none."""

import contextlib
import os
import threading
import time

import pytest

from harness import raw
from harness.fabric import free_pair
from harness.net import free_port
from harness.svc_doubles import OldSitter
from harness.wait import SLOW, Stopwatch, until

CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": []}
JSON = {"content-type": "application/json"}


def entry(port, name="e", models=("m",), **more):
    return {"name": name, "host": "127.0.0.1", "port": port, "health_url": "none",
            "metadata": {"type": "openai-api", "models": list(models)}, **more}


def answer(c):
    c.reply({"from": c.engine.server})


class Pair:
    """A router in front of engines that follow `scripts`; of two, the first is asked first: the second has no weight."""

    def __init__(self, bench, *scripts, args=(), **kw):
        self.engines = [bench.engine(s, gets=False, server=f"e{i}") for i, s in enumerate(scripts)]
        entries = [entry(e.port, f"e{i}", weight=0 if i else 1) for i, e in enumerate(self.engines)]
        self.router = bench.router(static=entries, args=["--lanes", 1, *args], **kw)
        self.router.wait_healthy(*[e["name"] for e in entries])

    def asked(self):
        return [len(e.requests) for e in self.engines]

    def wait_asked(self, *counts):
        """For who gave up on an engine, which may not have looked at its request yet."""
        until(lambda: self.asked() == list(counts), f"asked: {counts}")

    def ask(self, method, target, json_body=None, **kw):
        return self.router.ask(method, target, json_body, **kw)

    def open(self, seconds=10.0):
        return raw.Connection(self.router.address, seconds)

    def wait_errors(self, *counts):
        until(lambda: [s["error_count"] for s in self.router.get("/services")["services"]] == list(counts), f"errors: {counts}")


def check_error(reply, status, code, message):
    error = reply.error()
    assert (reply.status, error["code"], error["message"]) == (status, code, message), reply
    assert error["param"] is None and error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert reply["retry-after"] == ("5" if status == 503 and code != "model_not_found" else None)


# ---- what an engine gets


def test_a_request_goes_on_as_it_came(bench):
    p = Pair(bench, answer)
    with p.open() as c:
        c.send(b"PATCH /any/%41/x/../y?q=%20/../z HTTP/1.1\r\nHost: front.example\r\nX-Twice: 1\r\nX-Twice: 2\r\n"
               b"Cookie: a=1\r\nX-Forwarded-For: 10.1.1.1\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n"
               b"Keep-Alive: 5\r\nProxy-Authorization: Basic x\r\nUpgrade: websocket\r\nUser-Agent: mine/1\r\n"
               b"Content-Length: 4\r\n\r\n\x00\xff\r\n")
        reply = c.reply("PATCH")
        assert reply.status == 200 and reply.json() == {"from": "e0"}, reply
    got = p.engines[0].requests[0]
    assert (got.method, got.target, got.body) == ("PATCH", "/any/%41/y?q=%20/../z", b"\x00\xff\r\n")
    request_id = got["x-request-id"]
    assert sorted(got.fields) == sorted([
        ("host", f"127.0.0.1:{p.engines[0].port}"), ("x-twice", "1"), ("x-twice", "2"), ("cookie", "a=1"),
        ("x-forwarded-for", "10.1.1.1"), ("user-agent", "mine/1"), ("accept", "*/*"), ("content-length", "4"),
        ("x-request-id", request_id)])
    assert reply["x-request-id"] == request_id


def test_no_body_has_no_length(bench):
    p = Pair(bench, answer)
    assert p.ask("POST", "/empty", body=b"").status == 200
    assert p.ask("DELETE", "/nothing").status == 200
    assert [g["content-length"] for g in p.engines[0].requests] == [None, None]


def test_expect_is_answered_here(bench):
    p = Pair(bench, answer)
    with p.open() as c:
        c.send(b"POST /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        until(lambda: c.more() and b"\r\n\r\n" in c.waiting, "100 Continue")
        assert c.waiting == b"HTTP/1.1 100 Continue\r\n\r\n" and p.asked() == [0]
        c.waiting = b""
        c.send(b"ab")
        assert c.reply().status == 200
    assert p.engines[0].requests[0]["expect"] is None


@pytest.mark.parametrize("how,alias,file_gets,other_gets", [
    (None, False, True, False), (None, True, True, True), ("static", True, True, False), ("always", False, True, True),
    ("never", True, False, False)])
def test_authorization(bench, how, alias, file_gets, other_gets):
    port = free_pair()
    in_file = bench.engine(answer, gets=False)
    listed = bench.engine(answer, gets=False, at=("127.0.0.1", port))
    with contextlib.closing(OldSitter(port + 1)):
        registry = bench.registry()
        registry.register("listed", port=port, url=f"http://127.0.0.1:{port}", metadata={"type": "openai-api", "models": ["l"]})
        router = bench.router(registry=registry, static=[entry(in_file.port, "file")], alias=alias,
                              args=["--forward-authorization", how] if how else [])
        router.wait_healthy("file", "listed")
        for model in ("m", "l"):
            assert router.ask("POST", CHAT, {**BODY, "model": model}, headers={"authorization": "Bearer secret"}).status == 200
    assert in_file.requests[0]["authorization"] == ("Bearer secret" if file_gets else None)
    assert listed.requests[0]["authorization"] == ("Bearer secret" if other_gets else None)


# ---- what is sent again


WAYS = {"fin": lambda c: c.fin(), "rst": lambda c: c.rst(), "garbage": lambda c: (c.send(b"garbage\r\n\r\n"), c.wait_gone()),
        "half": lambda c: (c.send(b"HTTP/1.1 200 OK\r\nconte"), c.rst())}


@pytest.mark.parametrize("method,target,fields,again", [
    ("GET", "/x", {}, True), ("OPTIONS", "/x", {}, True), ("POST", CHAT, JSON, True), ("POST", "/chat/completions", JSON, True),
    ("POST", "/completions", JSON, True), ("POST", "/x", JSON, False), ("POST", "/v1/x", {}, False), ("PUT", "/v1/x", JSON, False),
    ("DELETE", "/x", {}, False)])
def test_a_connection_that_breaks(bench, method, target, fields, again):
    p = Pair(bench, lambda c: WAYS[c["x-way"]](c), answer, args=["--max-errors", 100])
    for way in WAYS:
        reply = p.ask(method, target, body=b"{}" if method in ("POST", "PUT") else None, headers={**fields, "x-way": way})
        if again:
            assert reply.status == 200 and reply.json() == {"from": "e1"}, way
        else:
            check_error(reply, 502, "bad_gateway", "Bad gateway - error communicating with service")
    assert p.asked() == [4, 4 if again else 0]


def test_a_generation_is_begun_twice_at_most(bench):
    p = Pair(bench, *[lambda c: c.rst()] * 3)
    check_error(p.ask("POST", CHAT, BODY), 502, "bad_gateway", "Bad gateway - error communicating with service")
    assert sum(p.asked()) == 2


def test_an_engine_that_is_not_there_costs_nothing(bench):
    good = bench.engine(answer, gets=False)
    router = bench.router(static=[entry(free_port(), "dead"), entry(good.port, "good", weight=0)], args=["--lanes", 1])
    for _ in range(5):
        assert router.ask("POST", "/upload", body=b"x").status == 200
    counts = {n: (s["request_count"], s["error_count"], s["traffic"]) for n, s in router.services().items()}
    assert counts == {"dead": (1, 1, "open"), "good": (5, 0, "closed")}


def test_every_answer_is_final(bench):
    fields = [("Location", "/elsewhere"), ("Server", "engine/1"), ("Retry-After", "7")]
    p = Pair(bench, lambda c: c.reply({"own": "words"}, c["x-status"], fields), answer)
    for status in (302, 404, 429, 500, 502, 503, 504):
        reply = p.ask("POST", CHAT, BODY, headers={"x-status": status})
        assert reply.status == status and reply.json() == {"own": "words"}
        assert (reply["location"], reply["server"], reply["retry-after"]) == ("/elsewhere", "engine/1", "7")
    assert p.asked() == [7, 0]


# ---- time


def test_no_answer_in_time(bench):
    p = Pair(bench, lambda c: c.wait_gone(60), answer, env={"PROXY_TIMEOUT_SECONDS": "1"})
    watch = Stopwatch()
    check_error(p.ask("GET", "/slow"), 504, "upstream_timeout", "Service timeout")
    assert 0.9 < watch.seconds() < 1 + 2 * SLOW
    p.wait_asked(1, 0)
    assert p.ask("GET", "/slow").status == 504, "one time-out closes no door"
    p.wait_asked(2, 0)
    assert p.engines[0].left.acquire(timeout=5 * SLOW)


def test_a_held_body_in_time(bench):
    def drips(c):
        c.send(c.head_of(200, [("Content-Length", 1000)]))
        try:
            while True:
                c.send(b"x")
                time.sleep(0.1)
        finally:
            c.over = True

    p = Pair(bench, drips, env={"PROXY_TIMEOUT_SECONDS": "3"})
    check_error(p.ask("GET", "/slow"), 502, "upstream_disconnected", "Failed to read response from service")


def test_a_stream_may_last_but_not_be_silent(bench):
    def lasts(c):
        c.stream_head()
        for i in range(12):
            c.token(str(i))
            time.sleep(0.3)
        c.wait_gone(60)

    p = Pair(bench, lasts, args=["--stream-idle-timeout", 4], env={"PROXY_TIMEOUT_SECONDS": "3"})
    reply = p.ask("POST", CHAT, BODY)
    assert reply.status == 200 and not reply.whole
    events = reply.events()
    assert len(events) == 13 and "[DONE]" not in events
    assert events[-1] == '{"error":{"code":"upstream_timeout","message":"Service timeout","param":null,"type":"server_error"}}'


def test_first_byte_timeout_moves_once(bench):
    p = Pair(bench, lambda c: c.wait_gone(60), answer, args=["--first-byte-timeout", 1])
    reply = p.ask("POST", CHAT, BODY)
    assert reply.status == 200 and reply.json() == {"from": "e1"}
    p.wait_asked(1, 1)
    assert p.engines[0].left.acquire(timeout=5 * SLOW), "the first connection was closed"


def test_queue_wait(bench):
    port = free_port()
    router = bench.router(static=[entry(port)], args=["--queue-wait", 20, "--lanes", 1])
    assert router.ask("POST", CHAT, BODY).status == 503  # its door is open now
    replies = []
    asks = [threading.Thread(target=lambda: replies.append(router.ask("POST", CHAT, BODY, seconds=60))) for _ in range(3)]
    watch = Stopwatch()
    for t in asks:
        t.start()
    until(lambda: router.metric("inferd_requests_in_flight") == 4, "they wait")
    bench.engine(answer, gets=False, at=("127.0.0.1", port))
    for t in asks:
        t.join()
    assert [r.status for r in replies] == [200] * 3 and watch.seconds() < 20
    check_error(router.ask("POST", CHAT, {**BODY, "model": "other"}), 503, "model_not_found",
                "No healthy services available for model 'other'")


# ---- errors


def test_what_is_told_when_nobody_answers(bench):
    router = bench.router(static=[entry(free_port(), "dead"), entry(free_port(), "gone", models=["n"])], args=["--lanes", 1])
    check_error(router.ask("POST", CHAT, BODY), 503, "no_healthy_service",
                "No healthy services available for model 'm' (last error: connection refused at 'dead')")
    check_error(router.ask("POST", CHAT, BODY), 503, "no_healthy_service", "No healthy services available for model 'm'")
    check_error(router.ask("GET", CHAT), 503, "no_healthy_service",
                "No healthy services available (last error: connection refused at 'gone')")
    check_error(router.ask("POST", "/v1/test", {}), 503, "no_healthy_service", "No healthy services available")
    check_error(router.ask("POST", CHAT, {**BODY, "model": "no-such-model"}), 503, "model_not_found",
                "No healthy services available for model 'no-such-model'")
    assert router.ask("POST", "/status").status == 405


def test_a_router_that_knows_nobody(bench):
    router = bench.router(args=["--queue-wait", 1])
    for method, body in (("GET", None), ("POST", {})):
        check_error(router.ask(method, "/any", body), 503, "no_healthy_service", "No healthy services available")
    check_error(router.ask("POST", CHAT, BODY), 503, "model_not_found", "No healthy services available for model 'm'")


def test_third_refusal(bench):
    router = bench.router(static=[entry(free_port(), f"e{i}") for i in range(4)], args=["--lanes", 1])
    check_error(router.ask("GET", "/"), 503, "upstream_refused", "Service unavailable - connection refused")
    assert sum(s["request_count"] for s in router.services().values()) == 3


def test_a_body_that_breaks(bench):
    p = Pair(bench, answer)
    with p.open() as c:
        c.send(b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n")
        check_error(c.reply(), 400, "bad_request", "Failed to read request body")
    assert p.asked() == [0]


def test_the_log_says_what_is_asked_for(bench):
    p = Pair(bench, answer)
    p.ask("POST", CHAT + "?key=hidden", BODY)
    p.ask("GET", "/pl%0Aain?token=hidden")
    p.ask("POST", CHAT, {**BODY, "model": "no\nsuch"})
    p.ask("GET", "/health")
    p.router.wait_log("no\\nsuch")
    lines = [line for line in p.router.log().splitlines() if "Proxying" in line]
    assert len(lines) == 3, lines
    assert " INFO inferd::router: Proxying POST /v1/chat/completions (model: m)" in lines[0]
    assert " INFO inferd::router: Proxying GET /pl%0Aain" in lines[1] and "model" not in lines[1]
    assert "Proxying POST /v1/chat/completions (model: no\\nsuch)" in lines[2]
    assert "hidden" not in p.router.log()


# ---- replies


def test_a_stream_comes_as_it_is_made(bench):
    go = threading.Semaphore(0)

    def script(c):
        c.send(c.head_of(200, [("Content-Type", c["x-type"]), ("Transfer-Encoding", "chunked")]))
        for letter in (b"data: 1\n\n", b"data: 2\n\n"):
            c.chunk(letter)
            assert go.acquire(timeout=10 * SLOW)
        c.send(b"0\r\n\r\n")

    p = Pair(bench, script)
    for kind in ("text/event-stream; charset=utf-8", "application/octet-stream"):
        with p.open() as c:
            c.request("POST", "/x", b"", {"x-type": kind})
            until(lambda c=c: b"data: 1\n\n" in c.waiting or not c.more(), "the first piece comes alone")
            assert b"data: 2" not in c.waiting
            go.release()
            until(lambda c=c: b"data: 2\n\n" in c.waiting or not c.more(), "the second")
            go.release()
            reply = c.reply()
            assert reply.whole and reply.framing == "chunked" and reply.body == b"data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize("ended_by", ["length", "close"])
def test_bodies_of_all_sizes(bench, ended_by):
    whole = bytes(i * 7 % 251 for i in range(1000)) * 3000

    def script(c):
        body = whole[:int(c["x-size"])]
        if ended_by == "close":
            c.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + body)
            c.fin()
        else:
            c.send(c.head_of(200, [("Content-Length", len(body))]) + body)

    p = Pair(bench, script)
    for size in (0, 1, 65536, 65537, 3000000):
        reply = p.ask("GET", "/x", headers={"x-size": size})
        assert reply.status == 200 and reply.whole and reply.body == whole[:size]
        assert size == 0 or reply.framing == ("chunked" if ended_by == "close" and size > 65536 else "length")


def test_no_body_replies(bench):
    def script(c):
        if c.method == "HEAD":
            c.send(c.head_of(200, [("Content-Length", 5)]))
        else:
            c.send(c.head_of(304, [("ETag", '"a"')]))

    p = Pair(bench, script)
    with p.open() as c:
        c.request("HEAD", "/x")
        assert (lambda r: (r.status, r["content-length"], r.body))(c.reply("HEAD")) == (200, "5", b"")
        c.request("GET", "/x")
        assert (lambda r: (r.status, r["etag"], r.body))(c.reply("GET")) == (304, '"a"', b"")


def test_a_stream_that_breaks(bench):
    def script(c):
        c.stream_head()
        c.token("a")
        c.chunk(b"data: {\"half\"")
        {"fin": c.fin, "rst": c.rst}[c["x-how"]]()

    p = Pair(bench, script, args=["--max-errors", 100])
    for how in ("fin", "rst"):
        reply = p.ask("POST", CHAT, BODY, headers={"x-how": how})
        assert reply.status == 200 and not reply.whole and b"[DONE]" not in reply.body
        events = reply.events()
        assert events[-1] == ('{"error":{"code":"upstream_disconnected","message":"Failed to read response from service",'
                              '"param":null,"type":"server_error"}}'), events
        with p.open() as c:  # an old client can tell the end by a reset alone
            c.send(f"POST {CHAT} HTTP/1.0\r\nx-how: {how}\r\ncontent-length: 2\r\n\r\n{{}}".encode())
            while c.more():
                pass
            assert c.eof == "reset"
    p.wait_errors(4)


def test_other_bodies_that_break(bench):
    def script(c):
        size, sent = int(c["x-size"]), int(c["x-sent"])
        if size:
            c.send(c.head_of(200, [("Content-Length", size)]) + b"x" * sent)
        else:
            c.send(c.head_of(200, [("Transfer-Encoding", "chunked")]))
            c.chunk(b"x" * sent)
        c.rst() if c["x-how"] == "rst" else c.fin()

    p = Pair(bench, script, args=["--max-errors", 100])
    for how in ("fin", "rst"):
        for size, sent in ((1000, 999), (1000000, 10000)):
            check_error(p.ask("GET", "/x", headers={"x-size": size, "x-sent": sent, "x-how": how}), 502, "upstream_disconnected",
                        "Failed to read response from service")
    for size, sent in ((1000000, 500000), (0, 10)):
        reply = p.ask("GET", "/x", headers={"x-size": size, "x-sent": sent, "x-how": "fin"})
        assert reply.status == 200 and not reply.whole
    p.wait_errors(6)


def test_a_client_that_leaves(bench):
    began = threading.Semaphore(0)

    def script(c):
        if c.target == CHAT:
            c.stream_head()
            c.token("a")
        began.release()
        c.wait_gone(10)

    p = Pair(bench, script)

    def leave(target):
        """How long the engine was kept after the client had left."""
        with p.open() as c:
            c.request("POST", target, json_body=BODY)
            assert began.acquire(timeout=10 * SLOW)
            if target == CHAT:
                until(lambda: b"data: " in c.waiting or not c.more(), "the first token")
            watch = Stopwatch()
        assert p.engines[0].left.acquire(timeout=5 * SLOW)
        return watch.seconds()

    for target in (CHAT, "/silent"):
        took = [leave(target) for _ in range(5)]
        assert min(took) < 0.1 * SLOW, took  # any of them may have been held up by the machine, but not all
    until(lambda: p.router.metric("inferd_requests_in_flight") == 1, "nothing but the question is left")
    services = p.router.services()
    assert services["e0"]["error_count"] == 0 and services["e0"]["traffic"] == "closed" and services["e0"]["in_flight"] == 0


# ---- secrets, proxies, limits


def test_secrets_stay_where_they_belong(bench):
    token = bench.path("token")
    with open(token, "w", encoding="utf-8") as f:
        f.write("registry-secret\n")
    os.chmod(token, 0o600)
    p = Pair(bench, lambda c: c.rst(), args=["--registry-token-file", token],
             env={"SOME_KEY": "env-secret", "INFERD_LOG": "trace", "OPENAI_API_KEY": "env-secret"})
    fields = {"authorization": "Bearer auth-secret", "cookie": "c=cookie-secret", "x-api-key": "key-secret",
              "proxy-authorization": "Basic proxy-secret"}
    bodies = []
    for method, target in (("POST", "/x?key=query-secret"), ("POST", CHAT + "?key=query-secret"), ("GET", "/services?key=query-secret")):
        bodies.append(p.ask(method, target, {"model": "m", "prompt": "body-secret"} if method == "POST" else None, headers=fields).body)
    with p.open() as c:
        c.send(b"GET /%zz HTTP/9.9\r\nauthorization: auth-secret\r\n\r\n")
        bodies.append(c.reply().body)
    p.router.wait_log("status=505")
    told = p.router.log() + p.router.stderr().decode() + p.router.ask("GET", "/_inferd/metrics").body.decode()
    assert "Proxying" in told
    for body in bodies:
        assert b"secret" not in body, body
    assert "secret" not in told


def test_proxy_variables_mean_nothing(bench):
    trap = bench.engine(answer)
    port = free_pair()
    engine = bench.engine(answer, gets=False, at=("127.0.0.1", port))
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    with contextlib.closing(OldSitter(port + 1)):
        registry = bench.registry()
        registry.register("listed", port=port, url=f"http://127.0.0.1:{port}", metadata={"type": "openai-api", "models": ["m"]})
        router = bench.router(registry=registry, env={**{n: trap.url for n in names}, "no_proxy": ""})
        router.wait_healthy("listed")
        assert router.ask("POST", CHAT, BODY).status == 200
    assert trap.connections == 0 and len(engine.requests) == 1


def test_bodies_at_their_bound(bench):
    p = Pair(bench, answer, args=["--max-body-bytes", 1000, "--max-buffered-bytes", 65536])
    assert p.ask("POST", "/x", body=b"x" * 1000).status == 200
    reply = p.ask("POST", "/x", body=b"x" * 1001)
    assert reply.status == 413 and reply.error()["code"] == "payload_too_large"
    for size, status in ((1000, 200), (1001, 413)):
        with p.open() as c:
            c.send(b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size))
            assert c.reply().status == status
    assert p.asked() == [2]


def test_all_bodies_at_their_bound(bench):
    p = Pair(bench, answer, args=["--max-buffered-bytes", 65536])
    with p.open() as first:
        first.send(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 65537\r\n\r\n" + b"x" * 65535)
        replies = []
        until(lambda: replies.append(p.ask("POST", "/x", body=b"yy")) or replies[-1].status == 503, "all is taken")
        assert p.ask("POST", "/x", body=b"y").status == 200
        reply = replies[-1]
        assert reply.error()["code"] == "overloaded" and reply["connection"] == "close"


def test_heads_at_their_bound(bench):
    p = Pair(bench, answer)
    for line, status in ((8192, 200), (8193, 414)):
        with p.open() as c:
            c.send(b"GET /" + b"x" * (line - len("GET / HTTP/1.1")) + b" HTTP/1.1\r\nhost: a\r\n\r\n")
            assert c.reply("GET").status == status
    for fields, status in ((100, 200), (101, 431)):
        with p.open() as c:
            c.send(b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: 1\r\n" % i for i in range(fields)) + b"\r\n")
            assert c.reply("GET").status == status
    start = b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (i, b"v" * 8000) for i in range(4))
    for size, status in ((32768, 200), (32769, 431)):
        with p.open() as c:
            c.send(start + b"x-last: " + b"v" * (size - len(start) - len(b"x-last: \r\n\r\n")) + b"\r\n\r\n")
            assert c.reply("GET").status == status


def test_slow_clients_are_cut_off(bench):
    p = Pair(bench, answer)
    with p.open(30) as head, p.open(30) as body:
        watch = Stopwatch()
        head.send(b"GET / HTTP/1.1\r\nx-slow: ")
        body.send(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 10000\r\n\r\n" + b"x" * 100)
        for c, least in ((body, 4.5), (head, 9.5)):
            reply = c.reply()
            assert reply.status == 408 and reply.error()["code"] == "request_timeout" and watch.seconds() > least, reply
    assert p.asked() == [0]


def test_old_and_hostless_clients(bench):
    p = Pair(bench, answer)
    for head in (b"GET /x HTTP/1.0\r\n\r\n", b"GET /x HTTP/1.1\r\n\r\n", b"GET http://far.example/x HTTP/1.1\r\nhost: a\r\n\r\n"):
        with p.open() as c:
            c.send(head)
            assert c.reply("GET").status == 200
    assert [g.target for g in p.engines[0].requests] == ["/x"] * 3
