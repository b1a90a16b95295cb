# SPDX-License-Identifier: Apache-2.0
"""What the router knows of an engine's health: rounds of probes of its babysitter, the breaker of its own
requests, and what its source says: three inputs, each with a source of its own. Times are in the simulation
(test/sim/gate_round_sim.c); here is what can be seen from outside, with real sockets."""

import http.server
import os
import re
import threading
import time

import pytest

from harness import net
from harness.fabric import BlackHole, free_pair, record
from harness.tree import PROGRAM
from harness.wait import SLOW, Stopwatch, never, until

COMPLETED = "Health check completed"
HOLE_SECONDS = 3  # the time-out of probes that nobody answers; others must not be held up for so long


class Says:
    """A babysitter that says what it is told to: `answer` is (status, body) or None, which is silence."""

    def __init__(self, at=("127.0.0.1", 0), status=200, body="{}"):
        says = self
        self.answer, self.asked = (status, body), []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                says.asked.append((time.monotonic(), self.path))
                if says.answer is None:
                    says.over.wait()
                    self.close_connection = True
                    return
                status, body = says.answer
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.over = threading.Event()
        self.server = http.server.ThreadingHTTPServer(at, Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://{at[0]}:{self.port}/health"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def says():
    made = []

    def make(**kw):
        made.append(Says(**kw))
        return made[-1]

    yield make
    for one in made:
        one.close()


def entry(name, port, models=("tiny",), **keys):
    return {"name": name, "host": "127.0.0.1", "port": port, "metadata": {"type": "openai-api", "models": list(models)},
            **keys}


def completed(router, level="INFO"):
    """The lines about rounds, as dicts of their numbers."""
    lines = [line for line in router.log().splitlines() if COMPLETED in line and f" {level} " in line]
    return [{k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", line)} for line in lines]


def port_of(engine):
    return int(engine.address.rpartition(":")[2])


# rounds


def test_the_first_round_is_told_even_if_it_is_empty(bench):
    router = bench.router(args=["--health-interval", "1"])
    until(lambda: completed(router), "the first round is told", 3)
    never(lambda: len(completed(router)) > 1, "others say nothing new", 3.5)
    assert completed(router)[0]["of"] == 0


def test_a_round_is_told_when_its_result_is_another_one(bench, says):
    well, other = says(), says(status=500)
    router = bench.router(static=[entry("a", net.free_port(), health_url=well.url),
                                  entry("b", net.free_port(), health_url=other.url)],
                          env={"INFERD_LOG": "debug"})
    until(lambda: completed(router) == [completed(router)[0]] and completed(router)[0]["good"] == 1, "1 of 2", 5)
    until(lambda: len(completed(router, "DEBUG")) >= 2, "more rounds, of which nothing is new", 10)
    assert len(completed(router)) == 1
    other.answer = (204, "")
    until(lambda: [c["good"] for c in completed(router)] == [1, 2], "2 of 2", 10)
    assert {c["of"] for c in completed(router)} == {2}


@pytest.mark.parametrize("holes", [100, 1000])
def test_black_holes_block_nothing(bench, says, holes):
    """Every endpoint answers within 100 ms, a round takes two time-outs at most, and the engine that is well
    stays so."""
    hole, well, mock = BlackHole(), says(), bench.mock("good", models=("tiny",))
    rows = [entry(f"hole-{i}", 20000 + i, ("hole",), weight=0, health_url=f"http://127.0.0.1:{hole.port}/health")
            for i in range(holes)]
    router = bench.router(static=[*rows, entry("good", port_of(mock), health_url=well.url)], env={"INFERD_LOG": "debug"},
                          args=["--health-interval", "1", "--health-timeout", HOLE_SECONDS])

    def rounds():
        return completed(router) + completed(router, "DEBUG")

    paths = ("/health", "/services", "/stats", "/models", "/v1/models", "/v1/models/tiny", "/_inferd/metrics", None)
    quickest = {}  # path -> its slowest answer in that round in which this was quickest

    def ask_for_a_round():
        slowest, asked, ended = dict.fromkeys(paths, 0), time.monotonic(), len(rounds())
        while len(rounds()) == ended:
            assert time.monotonic() < asked + 15 * SLOW, "a round ends"
            for path in paths:
                watch = Stopwatch()
                assert (router.ask("GET", path) if path else router.chat()).status == 200
                slowest[path] = max(slowest[path], watch.seconds())
        for path in paths:
            quickest[path] = min(slowest[path], quickest.get(path, slowest[path]))

    # A round that blocks something does so each time; what the machine holds up now and then is not in all of them.
    for n in range(8):
        ask_for_a_round()
        if n > 0 and max(quickest.values()) < 0.1 * SLOW:
            break
    assert max(quickest.values()) < 0.1 * SLOW, quickest
    assert min(r["ms"] for r in rounds()) <= 2 * HOLE_SECONDS * 1000, rounds()
    services = router.services()
    assert [n for n, s in services.items() if s["healthy"]] == ["good"]
    assert {s["probed"] for n, s in services.items() if n != "good"} == {"bad"}
    assert 0 < services["good"]["response_time"] < HOLE_SECONDS
    hole.close()


# what probes say


def test_the_babysitters_answer_decides(bench, says):
    one = says()
    router = bench.router(static=[entry("a", net.free_port(), health_url=one.url)])
    for answer, word in (((200, "{}"), "good"), ((200, '{"infinilm_server_ready":false}'), "bad"), ((204, ""), "good"),
                         ((503, '{"infinilm_server_ready":true}'), "bad"), ((200, "not JSON"), "good"), ((302, ""), "bad"),
                         ((200, '{"infinilm_server_ready":true}'), "good"), ((404, ""), "bad")):
        one.answer = answer
        until(lambda word=word: router.services()["a"]["probed"] == word, f"{answer} is {word}", 10)
        assert router.services()["a"]["healthy"] == (word == "good")
    assert {path for _, path in one.asked} == {"/health"}


def test_errors_are_forgiven_by_a_good_probe(bench, says):
    one = says(status=500)
    router = bench.router(static=[entry("a", net.free_port(), health_url=one.url)])
    until(lambda: router.services()["a"]["error_count"] >= 2, "failed probes are counted", 10)
    one.answer = (200, "")
    row = until(lambda: (s := router.services()["a"])["probed"] == "good" and s["error_count"] == 0 and s, "forgiven", 10)
    assert row["healthy"] and row["last_check"] > 0
    assert isinstance(row["response_time"], float) and 0 < row["response_time"] < 5


def test_health_url_none_is_never_probed(bench, says):
    mock = bench.mock("a", models=("tiny",))
    router = bench.router(static=[entry("a", port_of(mock), health_url="none")])
    until(lambda: completed(router), "a round", 3)
    assert completed(router)[0]["of"] == 0
    row = router.services()["a"]
    assert row["probed"] == "unknown" and row["healthy"] and row["response_time"] == 0
    assert router.who() == "a"


def test_bad_ones_are_asked_sooner(bench, says):
    one = says(status=500)
    router = bench.router(static=[entry("a", net.free_port(), health_url=one.url)], args=["--health-interval", "30"])
    until(lambda: len(one.asked) >= 4, "asked again after 1, 2 and 4 s", 9)
    gaps = [b[0] - a[0] for a, b in zip(one.asked, one.asked[1:])]
    for gap, wanted in zip(gaps, (1, 2, 4)):  # to the millisecond: the simulation; here: long before the next round
        assert wanted - 0.05 <= gap < wanted + 4 * SLOW, gaps
    one.answer = (200, "")
    until(lambda: router.services()["a"]["healthy"], "well again long before the next round", 9)


def test_an_engine_that_dies_is_out_at_the_next_probe(bench):
    """And in again when its babysitter has started another, which is ready once there is a file."""
    port, ready = free_pair(), bench.path("ready")
    script = f"until [ -e {ready} ]; do sleep 0.02; done; exec {PROGRAM} mock --name a --port {port} --models tiny"
    sitter = bench.sitter(name="a", engine_port=port, config={
        "backend": {"type": "command", "command": "/bin/sh", "args": ["-c", script]}, "babysitter": {"restart_delay": 0}})
    other = bench.sitter(name="b", models=("tiny",))
    with open(ready, "w", encoding="utf-8"):
        pass
    for one in (sitter, other):
        one.wait_state("ready")
    router = bench.router(static=[entry("a", sitter.engine_port), entry("b", other.engine_port)])
    router.wait_healthy("a", "b")
    os.unlink(ready)
    os.kill(sitter.child(), 9)
    router.wait_healthy("b", seconds=5)
    for _ in range(20):
        assert router.who() == "b"
    with open(ready, "w", encoding="utf-8"):
        pass
    router.wait_healthy("a", "b", seconds=15)
    until(lambda: router.who() == "a", "it is asked again", 5)


# the breaker


def test_a_dead_engine_behind_a_living_babysitter(bench, says):
    """One failed attempt, no error that a client could see; probes do not close what requests opened."""
    well, port = says(), net.free_port()
    mock = bench.mock("b", models=("tiny",))
    router = bench.router(static=[entry("a", port, health_url=well.url), entry("b", port_of(mock), health_url=well.url)])
    router.wait_healthy("a", "b")
    assert [router.chat().status for _ in range(40)] == [200] * 40
    row = router.services()["a"]
    assert (row["traffic"], row["probed"], row["healthy"]) == ("open", "good", False)
    assert row["request_count"] == 1, "one attempt"
    probes = len(well.asked)
    until(lambda: len(well.asked) >= probes + 4, "probed twice more each", 10)
    assert router.services()["a"]["traffic"] == "open"
    bench.mock("a", models=("tiny",), port=port)
    until(lambda: router.services()["a"]["traffic"] == "half-open", "tried by the router itself", 10)
    until(lambda: router.who() == "a", "its trial", 5)
    assert router.services()["a"]["traffic"] == "closed"


def test_registry_news_clear_nothing(bench, says):
    """A dead engine that its source calls healthy again and again stays out."""
    port = net.free_port()
    registry = bench.registry()
    record_of = record("a", port=port, url=f"http://127.0.0.1:{port}", metadata={"type": "openai-api", "models": ["tiny"]})
    assert registry.ask("POST", "/services", record_of).status == 201
    router = bench.router(registry=registry, args=["--health-interval", "1"])
    until(lambda: "a" in router.services(), "it is taken over", 5)
    until(lambda: router.services()["a"]["probed"] == "bad", "nobody there", 5)
    fetched = router.log().count("Fetched")
    for _ in range(6):
        assert registry.ask("POST", "/services", record_of).status == 201
        time.sleep(0.5)
        assert router.services()["a"]["probed"] == "bad" and not router.services()["a"]["healthy"]
    assert router.log().count("Fetched") >= fetched
    assert router.services()["a"]["listed"] == "yes"


def test_a_host_that_vanishes(bench):
    """Nobody refuses anything there, and connections to it stand. Each request is served elsewhere after one
    connect timeout at most; then nobody is sent there; its probes fail; it comes back."""
    lan = bench.lan("router", "one", "two")
    sitters = {}
    for host in (lan.one, lan.two):
        with host:
            sitters[host.name] = bench.sitter(name=host.name, models=("tiny",), args=["--listen", host.address, "--insecure"],
                                              mock_args=["--listen", host.address], engine_port=8000,
                                              config={"host": host.address})
            sitters[host.name].wait_state("ready")
    rows = [{**entry(h.name, 8000), "host": h.address} for h in (lan.one, lan.two)]
    with lan.router:
        router = bench.router(static=rows, args=["--listen", lan.router.address, "--insecure", "--health-interval", "2"])
    router.wait_healthy("one", "two")
    while {router.who() for _ in range(8)} != {"one", "two"}:
        pass  # connections to both are kept
    lan.drop(lan.router, lan.one)
    slowest, replies = 0, []

    def ask():
        nonlocal slowest
        watch = Stopwatch()
        replies.append(router.chat().status)
        slowest = max(slowest, watch.seconds())

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert replies == [200] * 10
    assert slowest < 5 + 1.5 * SLOW, f"{slowest:.1f} s"
    until(lambda: not router.services()["one"]["healthy"], "out", 6)
    for _ in range(20):
        watch = Stopwatch()
        assert router.who() == "two"
        assert watch.seconds() < 1 * SLOW
    until(lambda: router.services()["one"]["probed"] == "bad", "its probe failed", 6)
    lan.heal()
    until(lambda: router.services()["one"]["probed"] == "good", "well again", 20)
    until(lambda: router.who() == "one", "asked again", 10)
