# SPDX-License-Identifier: Apache-2.0
"""`inferd router` as a program: its own endpoints, its flags and variables, who may reach it, its limits at the
limit and one beyond, its end. Where engines come from, how they are chosen and what is forwarded have files of
their own."""

import os
import re
import signal
import subprocess
import threading

import pytest

from harness import fake, net, raw
from harness.fabric import Router
from harness.tree import PROGRAM
from harness.wait import SLOW, Stopwatch, until


def entry(engine, name="e", models=("tiny",), **more):
    """A line of the static file, never probed."""
    return {"name": name, "host": "127.0.0.1", "port": engine.port, "health_url": "none",
            "metadata": {"type": "openai-api", "models": list(models)}, **more}


def run(*args, env=None, program=None):
    return subprocess.run([program or PROGRAM, *args], capture_output=True, text=True, timeout=20 * SLOW, check=False,
                          env={**{k: v for k, v in os.environ.items() if not k.startswith("INFERD")}, **(env or {})})


def refused(reply, status, code):
    assert (reply.status, reply.error()["code"]) == (status, code), reply
    return reply


def answer(c):
    if c.target == "/v1/chat/completions":
        fake.answer_chat(c)
    else:
        c.reply({})


@pytest.fixture
def engine(bench):
    return bench.engine(answer)


# ---- own endpoints ----


@pytest.mark.smoke
def test_what_each_endpoint_says(bench, engine):
    r = bench.router(static=[entry(engine, "b", ["tiny", "big"]), entry(engine, "a")])
    health = r.get("/health")
    assert isinstance(health.pop("timestamp"), int) and health == {
        "healthy_services": "2/2", "message": None, "registry_url": None, "router": "running", "status": "healthy"}
    assert {**health, "timestamp": 0} == {**r.get("/status"), "timestamp": 0}
    assert r.chat().status == 200
    listed = r.get("/services")
    assert set(listed) == {"registry_url", "services", "total"} and listed["total"] == 2
    assert [s["name"] for s in listed["services"]] == ["a", "b"]
    for s in listed["services"]:
        assert set(s) == {"babysitter_url", "error_count", "healthy", "host", "metadata", "models", "name", "port",
                          "request_count", "response_time", "url", "weight", "in_flight", "last_check", "listed", "origin",
                          "probed", "traffic"}
        assert (s["healthy"], s["listed"], s["probed"], s["traffic"], s["origin"]) == (True, "yes", "unknown", "closed", "static")
        assert s["url"] == f"http://127.0.0.1:{engine.port}" and s["babysitter_url"] == f"http://127.0.0.1:{engine.port + 1}"
    assert sum(s["request_count"] for s in listed["services"]) == 1  # two names of one engine, counted once
    stats = r.get("/stats")
    assert set(stats) == {"healthy_services", "registry_url", "services", "total_services"}
    assert (stats["healthy_services"], stats["total_services"]) == (2, 2)
    for path in ("/models", "/v1/models"):
        models = r.get(path)
        assert models["object"] == "list" and [m["id"] for m in models["data"]] == ["big", "tiny"]
        assert r.get("/v1/models/big") == models["data"][0] == {"created": 0, "id": "big", "object": "model", "owned_by": "inferd"}
    assert r.ask("GET", "/v1/models/huge").error()["code"] == "model_not_found"


def test_bytes_of_a_body(bench, engine):
    """Compact, sorted at every level, floats with a fraction: scripts match them with grep."""
    r = bench.router(static=[entry(engine, "a", metadata={"type": "openai-api", "z": {"b": 1, "a": 2.0}, "models": ["tiny"]})])
    reply = r.ask("GET", "/services")
    assert reply["content-type"] == "application/json" and reply["date"] and reply.framing == "length"
    assert reply.names == {n.lower() for n in reply.names}
    assert b'"metadata":{"models":["tiny"],"type":"openai-api","z":{"a":2.0,"b":1}},"models":["tiny"],"name":"a"' in reply.body
    assert b'"response_time":0.0,' in reply.body and reply.body.startswith(b'{"registry_url":null,"services":[{"babysitter_url":')


OWN = ("/health", "/status", "/services", "/stats", "/models", "/v1/models", "/v1/models/tiny", "/_inferd/metrics", "/metrics")


@pytest.mark.parametrize("path", OWN)
def test_own_paths_take_get_and_head(bench, engine, path):
    r = bench.router(static=[entry(engine)])
    whole, head = r.ask("GET", path), r.ask("HEAD", path)
    assert whole.status == head.status == 200 and head.body == b"" and int(head["content-length"]) > 0
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
        reply = r.ask(method, path, body=b"{}")
        assert refused(reply, 405, "method_not_allowed")["allow"] == "GET, HEAD"
    assert engine.requests == []


def test_what_is_proxied(bench, engine):
    """All but own paths and what is below /_inferd/; /metrics is the engines' under the original's name."""
    r = bench.router(static=[entry(engine)])
    for path in ("/health/", "/services/e", "/v1/models?x", "/ready", "/x?y=/health"):
        r.ask("POST", path, body=b"{}")
    assert [c.target for c in engine.requests] == ["/health/", "/services/e", "/ready", "/x?y=/health"]
    for path in ("/_inferd/", "/_inferd/x", "/%5finferd/x", "/_inferd/%2e%2e/_inferd/x", "/x/../_inferd/x"):
        refused(r.ask("GET", path), 404, "not_found")
    assert r.ask("GET", "/x/../he%61lth").status == 200
    assert len(engine.requests) == 4
    alias = bench.router(static=[entry(engine)], alias=True)
    alias.ask("POST", "/metrics", body=b"{}")
    assert engine.requests[-1].target == "/metrics"
    assert b"# HELP inferd_requests_total" in alias.ask("GET", "/_inferd/metrics").body


def test_polls_disturb_nobody(bench, engine):
    """Own endpoints answer while every lane has a stream, and count as no request of an engine."""
    r = bench.router(static=[entry(engine)], args=["--lanes", 1])
    engine.script = lambda c: (c.stream_head(), c.token("a"), c.wait_gone())
    with raw.Connection(r.address) as stream:
        stream.request("POST", "/v1/chat/completions", json_body={"model": "tiny", "stream": True})
        assert stream.head().status == 200
        for path in OWN:
            assert r.ask("GET", path).status == 200
        (service,) = r.get("/services")["services"]
        assert (service["in_flight"], service["request_count"]) == (1, 1)
    until(lambda: r.services()["e"]["in_flight"] == 0, "the client's leaving is seen")


def test_polls_of_a_long_table(bench, engine):
    """Many who read a list of thousands keep neither requests nor other endpoints waiting."""
    others = [{"name": f"n{i}", "host": f"192.0.2.{i % 250}", "port": 1000 + i, "health_url": "none",
               "metadata": {"type": "openai-api", "models": [f"m{i}"]}} for i in range(5000)]
    r = bench.router(static=[entry(engine), *others])
    over, polls = threading.Event(), []

    def poll():
        while not over.is_set():
            polls.append(len(r.ask("GET", "/services", seconds=60).json()["services"]))

    threads = [threading.Thread(target=poll) for _ in range(6)]
    for t in threads:
        t.start()
    try:
        until(lambda: polls, "the first list", 30)
        for _ in range(10):
            watch = Stopwatch()
            assert r.chat().status == 200 and r.ask("GET", "/health").status == 200
            assert watch.seconds() < 5 * SLOW
    finally:
        over.set()
        for t in threads:
            t.join()
    assert set(polls) == {5001}


def test_a_client_that_leaves_before_the_answer(bench, engine):
    r = bench.router(static=[entry(engine)])
    for _ in range(50):
        c = raw.Connection(r.address)
        c.request("GET", "/services")
        c.reset()
    with raw.Connection(r.address) as c:  # pipelined: answered in order
        c.send(b"".join(c.format("GET", path) for path in ("/health", "/models", "/stats")))
        assert ["data" in c.reply().json() for _ in range(3)] == [False, True, False]


def test_request_ids(bench, engine):
    """1..128 visible ASCII: passed on and returned; anything else is replaced by one of ours."""
    r = bench.router(static=[entry(engine)])
    for given, kept in (("a", True), ("~" * 128, True), ("!{}", True), ("x" * 129, False), ("a b", False), ("\xe9", False)):
        reply = r.ask("POST", "/v1/chat/completions", {"model": "tiny"}, headers={"x-request-id": given})
        assert reply.status == 200 and (reply["x-request-id"] == given) == kept, given
        assert engine.requests[-1]["x-request-id"] == reply["x-request-id"]
        assert kept or re.fullmatch(r"[0-9a-f]{16}", reply["x-request-id"])


def test_the_line_of_a_request(bench, engine):
    """id, entry, status, attempts, ms to headers, ms in all, bytes; no query, no body."""
    r = bench.router(static=[entry(engine, "my-entry")])
    reply = r.ask("POST", "/v1/chat/completions?secret=1", {"model": "tiny", "x": "private"}, headers={"x-request-id": "me"})
    r.wait_log("request id=me ")
    (line,) = [x for x in r.log().splitlines() if "request id=me " in x]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z  INFO inferd::router: request id=me method=POST "
                    r"path=/v1/chat/completions model=tiny engine=my-entry client=127\.0\.0\.1 status=200 attempts=1 "
                    r"first_byte_ms=\d+\.\d{3} total_ms=\d+\.\d{3} bytes_in=33 bytes_out=\d+", line), line
    assert reply.status == 200 and "secret" not in r.log() and "private" not in r.log()


def test_counters(bench, engine):
    """Requests by model, engine and status, faults by cause, bytes, times."""
    r = bench.router(static=[entry(engine)])
    r.chat()
    r.ask("POST", "/v1/chat/completions", {"model": "nobody's"})
    wanted = ('inferd_model_requests_total{model="tiny",class="2xx"} 1', 'inferd_engine_replies_total{engine="e",class="2xx"} 1',
              'inferd_engine_requests_total{engine="e"} 1', 'inferd_faults_total{code="model_not_found"} 1',
              'inferd_engine_circuit_open{engine="e"} 0', "inferd_log_dropped_total 0", "inferd_retries_total{after=\"connect\"} 0",
              "inferd_first_byte_seconds_count 1")

    def missing():
        text = r.ask("GET", "/_inferd/metrics").body.decode()
        return [line for line in wanted if f"\n{line}\n" not in text]

    until(lambda: not missing(), f"all is counted behind the last byte: {wanted}")
    assert r.metric("inferd_client_bytes_in_total") > 0 and r.metric("inferd_client_bytes_out_total") > 0
    assert r.metric("inferd_request_seconds_count") >= 2
    until(lambda: r.metric("inferd_requests_in_flight") == 1, "none but this one")


# ---- the command line ----


@pytest.mark.parametrize("args", [
    ("--nope",), ("--router-port",), ("--router-port", "x"), ("--router-port", "65536"), ("--router-port", "-1"), ("stray",),
    ("--port", "1"), ("--health-interval", "0"), ("--health-timeout", "0"), ("--registry-sync-interval", "0"),
    ("--service-removal-grace-period", "-1"), ("--max-errors", "-1"), ("--balance", "random"), ("--affinity-load-factor", "0.5"),
    ("--affinity-load-factor", "x"), ("--affinity-min-load", "x"), ("--stream-idle-timeout", "0"), ("--drain-timeout", "0"),
    ("--first-byte-timeout", "-1"), ("--queue-wait", "x"), ("--trusted-proxies", "10.0.0.1/8"), ("--trusted-proxies", "none,::1"),
    ("--forward-authorization", "sometimes"), ("--max-body-bytes", "0"), ("--max-buffered-bytes", "1"), ("--lanes", "0"),
    ("--max-errors", "1", "--max-errors", "2"), ("--registry-url", "--insecure"), ("--registry-url", "https://h"),
    ("--registry-url", "h:1"),
])
def test_wrong_flags(args):
    done = run("router", *args)
    assert done.returncode == 2 and done.stdout == "" and "inferd router" in done.stderr, done.stderr


def test_help_and_version():
    flags = ("router-port registry-url static-services health-interval health-timeout registry-sync-interval max-errors lanes "
             "service-removal-grace-period balance affinity-load-factor affinity-min-load stream-idle-timeout drain-timeout "
             "first-byte-timeout queue-wait trusted-proxies forward-authorization max-body-bytes max-buffered-bytes max-connections "
             "listen insecure registry-token-file").split()
    for flag in ("--help", "-h"):
        done = run("router", flag)
        assert done.returncode == 0 and [f for f in flags if f"--{f}" not in done.stdout] == []
    assert run("router", "--version").stdout.startswith("inferd ")


def test_the_launch_scripts_flags(bench):
    """The original's flags, both spellings, under the original's name; 0 where it may stand."""
    port = net.free_port()
    r = bench.register(Router.__new__(Router), bench.new_folder("launch"), alias=True, port=port, registry="http://127.0.0.1:9/",
                       args=["--health-interval", "30", "--health-timeout=5", "--registry-sync-interval", "10", "--max-errors", "0",
                             "--service-removal-grace-period", "0"])
    assert r.address == f"127.0.0.1:{port}" and r.get("/health")["registry_url"] == "http://127.0.0.1:9"


def test_a_taken_port(bench):
    r = bench.router()
    done = run("router", "--router-port", r.address.rpartition(":")[2])
    assert done.returncode == 1 and done.stderr.startswith("Error: cannot listen on 127.0.0.1:")


def test_variables(bench, engine):
    """INFERD_ ones fill flags under `inferd router` only; those of the original that cannot be used are a WARN each."""
    r = bench.router(static=[entry(engine)], env={"INFERD_MAX_BODY_BYTES": "10"})
    refused(r.ask("POST", "/x", body=b"x" * 11), 413, "payload_too_large")
    alias = bench.router(static=[entry(engine)], env={"INFERD_MAX_BODY_BYTES": "10"}, alias=True)
    assert alias.ask("POST", "/x", body=b"x" * 11).status == 200
    wrong = run("router", env={"INFERD_HEALTH_INTERVAL": "often"})
    assert wrong.returncode == 2 and "INFERD_HEALTH_INTERVAL" in wrong.stderr
    for name in ("PROXY_TIMEOUT_SECONDS", "CACHE_TYPE_ROUTING_THRESHOLD"):
        odd = bench.router(env={name: "soon"})
        odd.wait_log("listening")
        assert odd.log().count("WARN") == 1 and re.search(f"WARN inferd::router: {name} ", odd.log())
        good = bench.router(env={name: "10"})
        good.wait_log("listening")
        assert "WARN" not in good.log()


def test_proxy_timeout(bench, engine):
    engine.script = lambda c: c.wait_gone()
    r = bench.router(static=[entry(engine)], env={"PROXY_TIMEOUT_SECONDS": "1"})
    reply = r.chat()
    assert refused(reply, 504, "upstream_timeout").error()["message"] == "Service timeout"


def test_exposure(bench):
    """Beyond loopback without a token: refused, unless --insecure; exactly one WARN where it is allowed."""
    done = run("router", "--router-port", "0", "--listen", "0.0.0.0")
    assert done.returncode == 1 and done.stderr.startswith("Error: ") and "--insecure" in done.stderr
    token = bench.path("token")
    with open(token, "w", encoding="utf-8") as f:
        f.write("t\n")
    os.chmod(token, 0o600)
    for kw, warns in (({"args": ["--listen", "0.0.0.0", "--insecure"]}, 1), ({"alias": True}, 1), ({}, 0),
                      ({"args": ["--listen", "0.0.0.0", "--registry-token-file", token]}, 0),
                      ({"alias": True, "args": ["--listen", "127.0.0.1"]}, 0)):
        r = bench.router(**kw)
        r.wait_log("listening")
        assert r.log().count("WARN") == warns == r.log().count("exposed"), (kw, r.log())


def test_it_listens_where_it_is_told(bench):
    r = bench.router(args=["--listen", "::1"])
    assert r.address.startswith("[::1]:") and r.get("/health")["router"] == "running"
    done = run("router", "--router-port", "0", "--listen", "localhost")
    assert done.returncode == 2


def test_levels_of_the_log(bench, engine):
    for env, said in (({"RUST_LOG": "infini_router=warn"}, False), ({"INFERD_LOG": "registry=debug,warn"}, False),
                      ({"INFERD_LOG": "inferd::router=info"}, True), ({"RUST_LOG": "off,infini-router=info"}, True)):
        r = bench.router(static=[entry(engine)], env=env)
        r.chat()
        if said:
            r.wait_log("request id=")
        r.signal(signal.SIGTERM)
        assert r.wait_exit() == 0
        assert ("Proxying POST /v1/chat/completions (model: tiny)" in r.log()) == said, env


# ---- limits ----


def head_of(n):
    """A whole request head of n bytes."""
    lines = b"GET /health HTTP/1.1\r\nConnection: close\r\n"
    while n - len(lines) - 2 > 4100:
        lines += b"A: " + b"z" * 3995 + b"\r\n"
    return lines + b"B: " + b"z" * (n - len(lines) - 7) + b"\r\n\r\n"


def ask(r, data):
    with raw.Connection(r.address) as c:
        c.send(data)
        reply = c.reply("GET")
        assert c.end() == "fin"
        return reply


def test_limits_of_a_head(bench):
    r = bench.router()
    assert ask(r, head_of(32768)).status == 200
    refused(ask(r, head_of(32769)), 431, "headers_too_large")
    line = b"GET /health?%s HTTP/1.1\r\nConnection: close\r\n\r\n"
    fits = 8192 - len(b"GET /health? HTTP/1.1")
    assert ask(r, line % (b"q" * fits)).status == 200
    refused(ask(r, line % (b"q" * (fits + 1))), 414, "uri_too_long")
    fields = b"GET /health HTTP/1.1\r\nConnection: close\r\n%s\r\n"
    assert ask(r, fields % (b"a: b\r\n" * 99)).status == 200
    refused(ask(r, fields % (b"a: b\r\n" * 100)), 431, "headers_too_large")
    assert r.metric("inferd_limit_head_bytes_total") == r.metric("inferd_limit_headers_total") == 1


def test_a_missing_host_is_tolerated(bench, engine):
    r = bench.router(static=[entry(engine)])
    for target in (b"/v1/x", b"http://elsewhere:1/v1/x"):
        assert ask(r, b"POST " + target + b" HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").status == 200
        assert engine.requests[-1].target == "/v1/x"


@pytest.mark.parametrize("path, chunked", [("/v1/chat/completions", False), ("/v1/chat/completions", True), ("/any", False), ("/any", True)])
def test_body_bytes(bench, engine, path, chunked):
    r = bench.router(static=[entry(engine)], args=["--max-body-bytes", 50000])
    for n, status in ((50000, 200), (50001, 413)):  # of what is refused, 64 KiB are read on, lest a reset destroy the reply
        before = len(engine.requests)
        body = b'{"model":"tiny","x":"' + b"y" * (n - 23) + b'"}'
        with raw.Connection(r.address) as c:
            if chunked:
                c.send(f"POST {path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
                c.send(b"%x\r\n%s\r\n0\r\n\r\n" % (n, body))
            else:
                c.request("POST", path, body=body)
            reply = c.reply()
        assert reply.status == status, reply
        if status == 413:
            refused(reply, 413, "payload_too_large")
            assert len(engine.requests) == before
        else:
            assert engine.requests[-1].body == body


def test_buffered_bytes(bench, engine):
    """All bodies together: 503 and close, and what is given back may be had again."""
    r = bench.router(static=[entry(engine)], args=["--max-buffered-bytes", 65536])
    with raw.Connection(r.address) as held:
        held.send(b"POST /x HTTP/1.1\r\nContent-Length: 50000\r\n\r\n" + b"y" * 40000)
        until(lambda: _buffered_refusal(r), "the second body finds no room")
    until(lambda: r.ask("POST", "/x", body=b"y" * 40000).status == 200, "the room is there again")
    assert r.metric("inferd_limit_buffered_bytes_total") >= 1


def _buffered_refusal(r):
    reply = r.ask("POST", "/x", body=b"y" * 40000)
    if reply.status == 200:
        return False  # the first body has not come yet
    assert refused(reply, 503, "overloaded")["retry-after"] == "5" and reply["connection"] == "close"
    return True


def test_connections(bench, engine):
    r = bench.router(static=[entry(engine)], args=["--max-connections", 4, "--lanes", 2])
    engine.script = lambda c: (c.stream_head(), c.wait_gone())
    busy = []
    for _ in range(4):
        busy.append(raw.Connection(r.address))
        busy[-1].request("POST", "/v1/chat/completions", json_body={"model": "tiny", "stream": True})
        assert busy[-1].head().status == 200
    with raw.Connection(r.address) as c:
        assert refused(c.reply(), 503, "overloaded")["connection"] == "close"
    for c in busy:
        c.close()
    until(lambda: _served(r), "there is room again")


def _served(r):
    try:
        return r.ask("GET", "/health").status == 200
    except (OSError, raw.Broken):
        return False


# ---- the end ----


def test_an_idle_router_ends_at_once(bench, engine):
    r = bench.router(static=[entry(engine)])
    idle = raw.Connection(r.address)
    idle.request("GET", "/health")
    assert idle.reply().status == 200
    watch = Stopwatch()
    r.signal(signal.SIGTERM)
    assert idle.end() in ("fin", "reset")
    assert r.wait_exit() == 0 and watch.seconds() < 5 * SLOW


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_open_requests_finish(bench, engine, number):
    """Nobody is let in any more; what is open ends as it would have."""
    go = threading.Event()

    def script(c):
        c.stream_head()
        c.token("a")
        go.wait(20 * SLOW)
        c.token("b")
        c.done()

    engine.script = script
    r = bench.router(static=[entry(engine)], args=["--drain-timeout", 60])
    with raw.Connection(r.address) as c:
        c.request("POST", "/v1/chat/completions", json_body={"model": "tiny", "stream": True})
        reply = c.head()
        r.signal(number)
        until(lambda: not raw.connects(r.address), "nobody is let in")
        assert r.running()
        go.set()
        c.body(reply)
        assert reply.whole and reply.events()[-1] == "[DONE]"
    assert r.wait_exit() == 0


def test_what_does_not_finish_is_cut(bench, engine):
    """After --drain-timeout a stream hears of it and has no clean end; who has no reply yet gets a 503."""
    engine.script = lambda c: (c.stream_head(), c.token("a"), c.wait_gone()) if c.json().get("stream") else c.wait_gone()
    r = bench.router(static=[entry(engine)], args=["--drain-timeout", 1])
    with raw.Connection(r.address) as stream, raw.Connection(r.address) as silent:
        stream.request("POST", "/v1/chat/completions", json_body={"model": "tiny", "stream": True})
        reply = stream.head()
        silent.request("POST", "/v1/chat/completions", json_body={"model": "tiny"})
        until(lambda: len(engine.requests) == 2, "both are with the engine")
        watch = Stopwatch()
        r.signal(signal.SIGTERM)
        stream.body(reply)
        assert watch.seconds() > 0.9
        assert not reply.whole and '"code":"draining"' in reply.events()[-1] and "[DONE]" not in reply.events()
        refused(silent.reply(), 503, "draining")
    assert r.wait_exit() == 0 and watch.seconds() < 1 + 5 * SLOW


def test_a_second_signal_ends_it_at_once(bench, engine):
    engine.script = lambda c: (c.stream_head(), c.token("a"), c.wait_gone())
    r = bench.router(static=[entry(engine)], args=["--drain-timeout", 600])
    with raw.Connection(r.address) as stream:
        stream.request("POST", "/v1/chat/completions", json_body={"model": "tiny", "stream": True})
        reply = stream.head()
        r.signal(signal.SIGTERM)
        until(lambda: not raw.connects(r.address), "nobody is let in")
        r.signal(signal.SIGINT)
        assert r.wait_exit() == 0
        stream.body(reply)
        assert not reply.whole


def test_a_closed_stdout_stops_nobody(bench, engine):
    """Neither a reader that never reads nor one that has gone: records are dropped and counted."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x" * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(write, True)
    port = net.free_port()
    with subprocess.Popen([PROGRAM, "router", "--router-port", str(port)], stdout=write, stderr=subprocess.DEVNULL) as p:
        try:
            until(lambda: raw.connects(f"127.0.0.1:{port}"), "it listens", 20)
            for _ in range(20):
                assert raw.exchange(f"127.0.0.1:{port}", "GET", "/health").status == 200
            os.close(read)
            for _ in range(20):
                assert raw.exchange(f"127.0.0.1:{port}", "GET", "/health").status == 200
        finally:
            p.send_signal(signal.SIGTERM)
            assert p.wait(20 * SLOW) == 0
            os.close(write)


@pytest.mark.parametrize("role, port", [("router", "--router-port"), ("registry", "--port")])
def test_a_signal_as_soon_as_it_is_there(tmp_path, role, port):
    """Who has read the ready file may end it: in order, not by the signal itself."""
    for i in range(20):
        ready = f"{tmp_path}/{i}"
        with subprocess.Popen([PROGRAM, role, port, "0", "--ready-file", ready], stdout=subprocess.DEVNULL) as p:
            until(lambda ready=ready: os.path.exists(ready), "it is there", 20, 0)
            p.send_signal(signal.SIGTERM)
            assert p.wait(20 * SLOW) == 0
