# SPDX-License-Identifier: Apache-2.0
"""`inferd bench` against engines whose behaviour is known: every count is exact, and the engine agrees."""

import json
import os
import subprocess

import pytest

from harness import net, raw
from harness.tree import PROGRAM
from harness.wait import until


def load(target, *args, status=0, stream=False):
    """The JSON report of one load."""
    command = [PROGRAM, "bench", target, "--json", *(["--stream"] if stream else []), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def failures(report):
    return {k: v for k, v in report["failed_by"].items() if v}


@pytest.mark.smoke
def test_closed_loop_counts_exactly(bench):
    m = bench.mock()
    report = load(m.url, "--model", "tiny", "--requests", 500, "--connections", 7, "--threads", 3)
    assert report["ok"] == 500 and report["failed"] == report["truncated"] == report["unfinished"] == 0
    assert report["connects"] == 7 and report["status"] == {"200": 500}
    assert report["latency_us"]["count"] == report["first_us"]["count"] == 500
    assert report["latency_us"]["p50"] <= report["latency_us"]["p99"] <= report["latency_us"]["max"]
    assert report["delay_us"] is None and report["gap_us"] is None and report["events"] == 0
    health = m.health()
    assert health["requests"] == 500 and health["cancelled"] == 0


def test_a_prompt_as_long_as_asked(bench):
    engine = bench.engine()
    report = load(engine.url, "--model", "tiny", "--prompt-bytes", 70000, "--requests", 1,
                  "--connections", 1, "--header", "Authorization: Bearer k", "--header", "x-a:b")
    assert report["ok"] == 1
    request = engine.requests[0]
    document = request.json()
    assert len(document["messages"][0]["content"]) == 70000
    assert document["model"] == "tiny" and document["stream"] is False
    assert request["authorization"] == "Bearer k" and request["x-a"] == "b"
    assert request["content-type"] == "application/json" and request["host"] == f"127.0.0.1:{engine.port}"


def test_streams_are_read_event_by_event(bench):
    m = bench.mock(args=["--tokens-per-second", "200", "--stamp"])
    events = len("Hello from mock (model: tiny)")
    report = load(m.url, "--model", "tiny", "--requests", 20, "--connections", 10, stream=True)
    assert report["ok"] == 20 and report["events"] == 20 * events
    assert report["first_us"]["count"] == 20 and report["gap_us"]["count"] == 20 * (events - 1)
    assert report["delay_us"]["count"] == 20 * events
    # Paced by the engine: 28 gaps of 5 ms, though several events may come at once, behind a late first one.
    paced = (events - 1) * 5000
    assert report["latency_us"]["min"] >= paced
    assert report["first_us"]["mean"] + (events - 1) * report["gap_us"]["mean"] >= 0.98 * paced
    assert report["delay_us"]["p50"] <= report["delay_us"]["max"] <= report["latency_us"]["max"]


def test_a_stream_without_stamps_has_no_delay(bench):
    m = bench.mock(args=["--tokens-per-second", "0"])
    report = load(m.url, "--model", "tiny", "--requests", 3, stream=True)
    assert report["ok"] == 3 and report["delay_us"] is None and report["gap_us"] is not None


FAULTS = [
    # fault, asks for a stream, what it counts as
    ("status:500", False, {"status": 30}),
    ("status:429", True, {"status": 30}),
    ("reset", False, {"no_reply": 30}),
    ("close", True, {"no_reply": 30}),
    ("badhttp", False, {"malformed": 30}),
    ("garbage", True, {"not_a_stream": 30}),
    ("hang", False, {"timeout": 30}),
    ("stall:3", True, {"timeout": 30}),
    ("truncate:5", True, "truncated"),
    ("abort:5", True, "truncated"),
    ("truncate:40", False, "truncated"),
    ("abort:40", False, "truncated"),
]


@pytest.mark.parametrize("fault, stream, counted", FAULTS)
def test_failed_and_truncated_apart(bench, fault, stream, counted):
    m = bench.mock(models=("tiny", "bad"), args=["--tokens-per-second", "0", "--fault", f"bad={fault}"])
    report = load(m.url, "--model", "bad", "--requests", 30, "--connections", 15, "--timeout-ms",
                  700 if counted == {"timeout": 30} else 60000, status=1, stream=stream)
    assert report["ok"] == report["unfinished"] == 0
    if counted == "truncated":
        assert report["truncated"] == 30 and report["failed"] == 0
    else:
        assert failures(report) == counted and report["failed"] == 30 and report["truncated"] == 0
    assert report["first_failure"]
    assert report["latency_us"] is None  # only good requests have one


def test_a_mixture_adds_up(bench):
    m = bench.mock(models=("bad",), args=["--tokens-per-second", "0", "--fault", "bad=truncate:5@0.3", "--fault",
                                          "bad=status:503@0.3"])
    report = load(m.url, "--model", "bad", "--requests", 400, "--connections", 8, status=1, stream=True)
    assert report["ok"] + report["truncated"] + report["failed"] == 400 and report["unfinished"] == 0
    assert report["ok"] > 50 and report["truncated"] > 50 and failures(report) == {"status": report["failed"]}
    assert report["status"]["503"] == report["failed"] > 50
    assert m.health()["requests"] == 400


def test_a_stream_that_ends_cleanly_without_done_is_truncated(bench):
    def no_done(c):
        c.stream_head()
        c.token("x")
        c.send(b"0\r\n\r\n")

    engine = bench.engine(no_done)
    report = load(engine.url, "--model", "tiny", "--requests", 4, "--connections", 2, status=1, stream=True)
    assert report["truncated"] == 4 and report["failed"] == 0 and report["events"] == 4


def test_nobody_listens(bench):
    report = load(f"http://127.0.0.1:{net.free_port()}", "--model", "tiny", "--requests", 20, "--connections", 5,
                  status=1)
    assert failures(report) == {"connect": 20} and report["connects"] == 20


def test_the_rate_is_kept(bench):
    m = bench.mock()
    report = load(m.url, "--model", "tiny", "--rate", 200, "--duration-ms", 1500, "--connections", 50, "--threads", 2,
                  "--grace-ms", 60000)
    assert report["ok"] == 300 and report["unfinished"] == 0
    assert report["duration_us"] >= 1_400_000  # the last request is due 5 ms before the end
    assert m.health()["requests"] == 300


def test_a_stalled_target_cannot_hide_requests(bench):
    """Coordinated omission: one connection, each reply takes 100 ms, ten requests a second too many. All of
    them are due on schedule, so the last waits for those before it, and that is its latency."""
    m = bench.mock(args=["--latency-ms", "100"])
    report = load(m.url, "--model", "tiny", "--rate", 20, "--requests", 20, "--connections", 1)
    assert report["ok"] == 20
    # request i is due at i * 50 ms and done at (i + 1) * 100 ms: 100 + i * 50; what is late makes all behind it late
    assert report["latency_us"]["max"] - report["latency_us"]["min"] >= 0.98 * 19 * 50_000
    assert report["latency_us"]["max"] >= 100_000 + 19 * 50_000
    assert report["latency_us"]["p50"] >= 100_000 + 9 * 50_000


def test_what_is_never_sent_is_unfinished(bench):
    m = bench.mock(models=("bad",), args=["--fault", "bad=hang"])
    report = load(m.url, "--model", "bad", "--rate", 15, "--duration-ms", 2000, "--grace-ms", 500, "--connections", 4,
                  status=1)
    assert report["unfinished"] == 30 and report["ok"] == report["failed"] == 0
    until(lambda: m.health()["requests"] == 4, "the engine saw as many as there are connections")


def test_unix_socket_and_path(bench):
    path = bench.path("engine.sock")
    mock = bench.tree([PROGRAM, "mock", "--name", "m", "--socket", path, "--models", "tiny"], "mock")
    until(lambda: os.path.exists(path) and raw.get(f"unix:{path}", "/health").status == 200, "the mock listens")
    assert load(f"unix:{path}", "--model", "tiny", "--requests", 10)["ok"] == 10
    assert load(f"unix:{path}", "--path", "/health", "--requests", 10)["ok"] == 10
    assert mock.running()


@pytest.mark.parametrize("args, says", [
    ([], "URL is missing"),
    (["http://192.0.2.1:80", "--model", "x"], "--allow-remote"),
    (["http://127.0.0.1:1"], "--model, --body-file and --path"),
    (["http://127.0.0.1:1", "--model", "x", "--body-file", "/nowhere"], "not with --body-file"),
    (["http://127.0.0.1:1", "--body-file", "/nowhere"], "cannot be read"),
    (["https://127.0.0.1:1", "--model", "x"], "https"),
    (["http://127.0.0.1:1", "--model", "x", "--header", "no colon"], "Name: value"),
    (["http://127.0.0.1:1", "--model", "x", "--threads", "3", "--connections", "2"], "more threads"),
])
def test_mistakes_are_told(args, says):
    done = subprocess.run([PROGRAM, "bench", *args], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2 and says in done.stderr and not done.stdout
