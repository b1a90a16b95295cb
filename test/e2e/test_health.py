# SPDX-License-Identifier: Apache-2.0
"""What tests of engines say of them, and what clients notice of it: remotes, units and found ones are ejected after
failures in a row and return after answers in a row."""

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from harness import net
from harness.gateway import mock_unit, remote
from harness.wait import SLOW, Stopwatch, until

QUICK = {"interval_ms": 200, "timeout_ms": 1000}
PATIENT = {"interval_ms": 200, "timeout_ms": 10000}  # where a slow engine must not count as a silent one


def row(up, name):
    rows = [e for e in up.admin("/engines")["engines"] if e["name"] == name]
    assert len(rows) == 1, rows
    return rows[0]


def probed(up, name):
    return row(up, name)["verdicts"]["probed"]


def wait_probed(up, name, word, seconds=10.0):
    """Its row when it was found so."""

    def found():
        e = row(up, name)
        return e if e["verdicts"]["probed"] == word else None

    return until(found, f"engine {name} is {word}", seconds)


@pytest.fixture
def stopped():
    """Stops processes, and lets them go on afterwards whatever happens."""
    pids = []

    def stop(pid):
        pids.append(pid)
        os.kill(pid, signal.SIGSTOP)

    yield stop
    for pid in pids:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


@pytest.mark.smoke
def test_a_remote_with_configured_models_is_tested(bench):
    port = net.free_port()
    up = bench.up({"remote": [remote(f"http://127.0.0.1:{port}", "far")], "probe": QUICK})
    found = wait_probed(up, "far", "bad")
    assert found["state"] == "unreachable" and not found["ready"]
    assert found["tested"]["last_test"] == "no connection" and found["tested"]["failures_in_a_row"] >= 3
    watch = Stopwatch()
    reply = up.chat()
    assert (reply.status, reply.error()["code"]) == (503, "no_healthy_service") and reply["retry-after"] == "5"
    assert watch.seconds() < 1 * SLOW
    record = up.wait_log(msg="engine ejected", engine="far")
    assert record["why"] == "no connection" and record["tests_in_a_row"] == 3
    bench.mock("far", port=port)
    found = wait_probed(up, "far", "good")
    assert found["ready"] and found["tested"]["last_answer_s"]
    assert up.chat().status == 200
    assert up.wait_log(msg="engine returned", engine="far")["tests_in_a_row"] == 2
    assert len(up.log(msg="engine ejected")) == 1, "told once"
    until(lambda: up.metrics()['inferd_engine_test_failures{engine="far"}'] == 0, "its last test was good")
    metrics = up.metrics()
    assert metrics['inferd_engine_probed{engine="far"}'] == 1
    assert metrics['inferd_engine_ejections_total{engine="far"}'] == 1
    assert metrics['inferd_engine_tests_total{engine="far"}'] > metrics['inferd_engine_tests_failed_total{engine="far"}'] >= 3


def test_a_hung_remote_is_ejected_within_three_intervals(bench, stopped):
    """The defaults. Its process is there and takes connections; the other serves."""
    mocks = [bench.mock(n) for n in ("a", "b")]
    up = bench.up({"remote": [remote(m.url, n) for m, n in zip(mocks, "ab")]})
    for n in "ab":
        wait_probed(up, n, "good")
    stopped(mocks[0].pid)
    watch = Stopwatch()
    found = wait_probed(up, "a", "coming")
    assert watch.seconds() < 6 + 2 * (SLOW - 1), "three intervals of 2 s"
    assert found["tested"]["last_test"] == "no answer in time" and found["state"] == "loading"
    for _ in range(10):
        assert "from b " in up.chat().json()["choices"][0]["message"]["content"]
    os.kill(mocks[0].pid, signal.SIGCONT)
    wait_probed(up, "a", "good")
    until(lambda: "from a " in up.chat().json()["choices"][0]["message"]["content"], "it serves again")


def test_a_hung_unit_is_ejected_and_returns(bench, stopped):
    """One prober, two verdicts: the master moves its state, the tests say their own word."""
    up = bench.up({"engine": [mock_unit("a"), mock_unit("b")], "probe": QUICK})
    pid = up.wait_unit("a", "ready")["pid"]
    up.wait_unit("b", "ready")
    stopped(pid)
    up.wait_unit("a", "unresponsive")
    words = wait_probed(up, "a", "coming")["verdicts"]
    assert words["supervised"] == "coming" and words["listed"] == "good"
    for _ in range(5):
        assert "from b " in up.chat().json()["choices"][0]["message"]["content"]
    os.kill(pid, signal.SIGCONT)
    wait_probed(up, "a", "good")
    assert up.wait_unit("a", "ready")["restarts"] == 0


def test_a_unit_whose_tests_fail_lives(bench):
    """Any answer keeps its process; its requests go elsewhere."""
    sick = threading.Event()

    def script(c):
        if c.method == "POST":
            c.reply({"choices": []})
        else:
            c.reply({"error": "ill"}, 500 if sick.is_set() else 200)

    engine = bench.engine(script, gets=False, path=bench.path("engine.sock"))
    os.chmod(engine.path, 0o777)
    sleeper = {"name": "u", "command": ["sleep", "1000"], "models": ["tiny"], "url": engine.url}
    up = bench.up({"engine": [sleeper], "probe": QUICK})
    pid = up.wait_unit("u", "ready")["pid"]
    sick.set()
    words = wait_probed(up, "u", "bad")["verdicts"]
    assert words["supervised"] == "good"
    reply = up.chat()
    assert (reply.status, reply.error()["code"]) == (503, "no_healthy_service")
    sick.clear()
    wait_probed(up, "u", "good")
    assert up.unit("u")["pid"] == pid and up.unit("u")["restarts"] == 0 and up.chat().status == 200


def test_requests_wait_for_a_remote_that_loads(bench):
    loading = threading.Event()
    loading.set()

    def script(c):
        if c.method == "POST":
            c.reply({"choices": []})
        else:
            c.reply({"error": {"message": "Loading model"}}, 503 if loading.is_set() else 200)

    engine = bench.engine(script, gets=False)
    up = bench.up({"remote": [remote(engine, "far")], "probe": QUICK})
    wait_probed(up, "far", "coming")
    with up.open_chat(stream=False) as c:
        until(lambda: up.metric("inferd_waiting") == 1, "it waits")
        loading.clear()
        assert c.reply().status == 200


def test_a_body_that_never_ends(bench):
    """The status line and head decide; such a connection is not kept."""

    def script(c):
        if c.method == "POST":
            c.reply({"choices": []})
        else:
            c.stream_head()
            c.chunk(b"still here\n")
            c.wait_gone()

    engine = bench.engine(script, gets=False)
    up = bench.up({"remote": [remote(engine, "far", kind="openai")], "probe": PATIENT})
    until(lambda: row(up, "far")["tested"]["tests"] >= 8, "it is tested")
    tested = row(up, "far")["tested"]
    assert tested["tests_failed"] == 0 and probed(up, "far") == "good"


def test_paths(bench):
    """/health, and where it is not found /v1/models; a path of one's own; none at all."""
    asked = {}

    def of(name, missing):
        def script(c):
            asked.setdefault(name, []).append(c.target)
            if c.target in missing:
                c.reply({"error": "no such path"}, 404)
            else:
                c.reply({"object": "list", "data": []})

        return bench.engine(script, gets=False)

    rows = [("usual", [], {}), ("bare", ["/health"], {}), ("own", [], {"probe_path": "/ping"}), ("none", [], {"probe_path": "none"})]
    up = bench.up({"remote": [remote(of(name, missing), name, kind="openai", **more) for name, missing, more in rows],
                   "probe": PATIENT})
    for name in ("usual", "bare", "own"):
        until(lambda: row(up, name)["tested"]["tests"] >= 3, f"{name} is tested")
        assert probed(up, name) == "good"
    assert set(asked["usual"]) == {"/health"} and set(asked["own"]) == {"/ping"}
    assert asked["bare"][0] == "/health" and set(asked["bare"][1:]) == {"/v1/models"}
    assert "none" not in asked and probed(up, "none") == "unknown" and row(up, "none")["ready"]


def test_models_are_asked_anew_after_a_gap(bench):
    port = net.free_port()
    first = bench.mock("far", port=port, models=("one",))
    up = bench.up({"remote": [remote(first, "far", models=[])], "probe": QUICK})
    until(lambda: up.chat("one").status == 200, "its model is known")
    first.stop()
    wait_probed(up, "far", "bad")
    bench.mock("far", port=port, models=("two",))
    wait_probed(up, "far", "good")
    until(lambda: up.chat("two").status == 200, "its new model is known")
    until(lambda: up.chat("one").error()["code"] == "model_not_found", "by every lane")


def test_black_holes_block_nothing(bench):
    """A hundred engines that take connections and never answer: everything else is as quick as before, and a round of
    tests takes no longer than two time-outs."""
    hole = socket.socket()
    hole.bind(("127.0.0.1", 0))
    hole.listen(4096)
    port = hole.getsockname()[1]
    engine = bench.engine()
    rows = [remote(f"http://127.0.0.1:{port}", f"hole{i}", [f"hole{i}"]) for i in range(100)]
    with hole:
        up = bench.up({"remote": [*rows, remote(engine, "good")], "probe": {"interval_ms": 1000, "timeout_ms": 1000}})

        def slowest(n=50):
            """Of 200 requests, but for ten: this machine may have been busy elsewhere just then."""
            took = []
            for _ in range(n):
                for ask in (up.chat, lambda: up.get("/v1/models"), lambda: up.get("/health"), lambda: up.admin("/status")):
                    watch = Stopwatch()
                    ask()
                    took.append(watch.seconds())
            return sorted(took)[-11]

        assert slowest() < 0.1 * SLOW * 2
        until(lambda: up.metric("inferd_engine_ejections_total") == 100, "all of them are out", 6)
        before = up.metrics()
        assert slowest() < 0.1 * SLOW * 2
        watch = Stopwatch()
        until(lambda: all(up.metrics()[f'inferd_engine_tests_total{{engine="hole{i}"}}'] >=
                          before[f'inferd_engine_tests_total{{engine="hole{i}"}}'] + 2 for i in range(100)), "two more rounds")
        assert watch.seconds() < 2 * 2 * 1 * SLOW
        assert probed(up, "good") == "good" and up.chat().status == 200


@pytest.mark.engine
def test_a_real_server_as_a_remote(bench, tmp_path, stopped):
    """llama.cpp's own: 503 while it loads, hung, and back."""
    pytest.importorskip("xllamacpp", reason="the wheel xllamacpp is not installed")
    here = os.path.join(os.path.dirname(__file__), "engine")
    model, port = str(tmp_path / "babble.gguf"), net.free_port()
    subprocess.run([sys.executable, f"{here}/make_gguf.py", model], check=True, timeout=60 * SLOW)
    up = bench.up({"remote": [remote(f"http://127.0.0.1:{port}", "llama", models=[])], "probe": QUICK})
    wait_probed(up, "llama", "bad")
    server = bench.tree([sys.executable, f"{here}/launch.py", model, str(port)], "llama", env={"OMP_NUM_THREADS": "1"})
    found = wait_probed(up, "llama", "good", 30)
    until(lambda: "babble" in row(up, "llama")["models"], "its model is known")
    assert found["kind"] in (None, "openai", "llama.cpp")
    assert up.chat("babble", max_tokens=4, seconds=30).status == 200
    stopped(server.pid)
    wait_probed(up, "llama", "coming")
    os.kill(server.pid, signal.SIGCONT)
    wait_probed(up, "llama", "good")
    assert up.chat("babble", max_tokens=4, seconds=30).status == 200
    server.expected_exit = -signal.SIGKILL
    os.kill(server.pid, signal.SIGKILL)
    wait_probed(up, "llama", "bad")


def test_who_waits_for_an_engine_that_does_not_come_is_told_so(bench):
    """Not "no free slot": no engine was ready."""
    up = bench.up({"engine": [mock_unit("late", args=["--ready-after-ms", 600000])], "limits": {"queue_ms": 300}})
    reply = up.chat()
    assert (reply.status, reply.error()["code"]) == (503, "no_healthy_service") and reply["retry-after"] == "5"
    assert "'late'" in reply.error()["message"] and "process" in reply.error()["message"], reply.error()


def test_control_knocks_before_a_request_is_risked(bench):
    """Tests are off: the refused connect alone closes the door, and control's own connect opens it."""
    port = net.free_port()
    up = bench.up({"remote": [remote(f"http://127.0.0.1:{port}", "far", probe_path="none", kind="openai")]})
    with up.open_chat(stream=False) as c:
        until(lambda: row(up, "far")["verdicts"]["traffic"] == "coming", "its door is open")
        assert up.metrics()['inferd_engine_circuit_open{engine="far"}'] == 1
        bench.engine(at=("127.0.0.1", port))  # at once: three seconds after the first refusal it is given up
        assert c.reply().status == 200
    until(lambda: row(up, "far")["verdicts"]["traffic"] == "unknown", "its circuit is closed")
    assert up.wait_log(msg="engine answers again: its circuit is closed", engine="far")
