# SPDX-License-Identifier: Apache-2.0
"""Units: engines that inferd starts, watches, restarts, drains and stops, and what clients see meanwhile."""

import os
import signal

import pytest

from harness import net, raw
from harness.gateway import mock_unit, remote
from harness.tree import PROGRAM, alive, children
from harness.wait import SLOW, Stopwatch, never, until


def ready(up, name="tiny"):
    return up.wait_unit(name, "ready")


def gated(bench, before="", after=""):
    """A unit of shell: `before`, the test's open_gate(bench, unit), `after`."""
    gate = bench.path("gate")
    return ["sh", "-c", f"{before}\nwhile [ ! -e {gate} ]; do sleep 0.02; done\nrm {gate}\n{after}"]


def open_gate(bench):
    with open(bench.path("gate"), "wb"):
        pass


def mock_words(name="tiny"):
    return f"{PROGRAM} mock --name {name} --port ${{PORT}} --models {name}"


def refused(reply, status, code):
    assert reply.status == status, reply
    assert reply.error()["code"] == code, reply
    return reply


# ---- start ----


@pytest.mark.smoke
def test_a_unit_is_started_asked_and_used(bench):
    up = bench.up({"engine": [mock_unit("tiny")]})
    row = ready(up)
    assert row["pid"] and alive(row["pid"]) and row["restarts"] == 0 and row["models"] == ["tiny"]
    assert row["url"].startswith("http://127.0.0.1:27")
    reply = up.chat()
    assert reply.json()["choices"][0]["message"]["content"] == "Hello from tiny (model: tiny)"
    assert os.getsid(row["pid"]) == row["pid"], "a session of its own"
    with open(f"/proc/{row['pid']}/environ", "rb") as f:
        names = [v.partition(b"=")[0] for v in f.read().split(b"\0")]
    assert [n for n in names if n.startswith(b"INFERD_")] == [b"INFERD_UNIT"]
    with open(f"/proc/{row['pid']}/oom_score_adj", encoding="ascii") as f, open("/proc/self/oom_score_adj", encoding="ascii") as own:
        assert int(f.read()) == min(1000, int(own.read()) + 500), "short of memory, an engine goes before inferd"


@pytest.mark.smoke
def test_requests_wait_for_a_unit_that_starts(bench):
    command = gated(bench, after=f"exec {mock_words()}")
    up = bench.up({"engine": [{"name": "tiny", "command": command, "models": ["tiny"]}]})
    replies = [up.open_chat(stream=False) for _ in range(5)]
    until(lambda: up.metric("inferd_waiting") == 5, "they wait")
    open_gate(bench)
    for c in replies:
        with c:
            assert c.reply().status == 200
    assert up.metric("inferd_tickets_total") == 5


def test_models_asked_from_the_unit(bench):
    row = mock_unit("e", models=("one", "two"))
    del row["models"]
    up = bench.up({"engine": [row]})
    assert ready(up, "e")["models"] == ["one", "two"]
    until(lambda: up.chat("two").status == 200, "each lane knows them")
    assert [m["id"] for m in up.get("/v1/models").json()["data"]] == ["one", "two"]


def test_a_unit_on_a_socket(bench):
    up = bench.up({"engine": [mock_unit("tiny", at="${SOCKET}")]})
    row = ready(up)
    assert row["url"].startswith("unix:") and os.path.exists(row["url"][5:])
    assert up.chat().status == 200 and up.chat(stream=True).whole
    up.ctl("stop", "tiny")
    up.wait_unit("tiny", "stopped")
    assert not os.path.exists(row["url"][5:]), "its socket ends with it"
    up.ctl("start", "tiny")
    assert up.chat().status == 200


def test_a_unit_at_a_url_of_its_own(bench):
    port = net.free_port()
    up = bench.up({"engine": [mock_unit("tiny", at=str(port), url=f"http://127.0.0.1:{port}")]})
    ready(up)
    assert up.chat().status == 200


def test_placeholders_in_env_and_work_dir(bench):
    script = 'exec "$PROGRAM_" mock --name "$PWD" --port "$MY_PORT" --models tiny'
    os.mkdir(bench.path("dir"))
    up = bench.up({"engine": [{"name": "tiny", "command": ["sh", "-c", script], "models": ["tiny"], "work_dir": bench.path("dir"),
                               "env": {"MY_PORT": "${PORT}", "PROGRAM_": PROGRAM}}]})
    ready(up)
    assert bench.path("dir") in up.chat().json()["choices"][0]["message"]["content"]


def test_ready_path(bench):
    """/health is 503 for ever; the configured path is not."""
    up = bench.up({"engine": [mock_unit("tiny", args=["--health-status", 503], ready_path="/v1/models"),
                              mock_unit("other", ["other"], args=["--health-status", 404])]})
    ready(up)
    ready(up, "other")
    assert up.chat().status == 200 and up.chat("other").status == 200


def test_ready_timeout(bench):
    up = bench.up({"engine": [mock_unit("tiny", args=["--health-status", 503], ready_timeout_ms=400, restart_delay_ms=50)]})
    until(lambda: up.unit("tiny")["restarts"] >= 2, "restarted when it was not ready in time", 8)


def test_a_command_that_cannot_start(bench):
    up = bench.up({"engine": [{"name": "none", "command": ["/no/such/program", "${PORT}"], "models": ["none"]}, mock_unit("tiny")]})
    ready(up)
    until(lambda: up.unit("none")["last_exit"], "why is told")
    assert up.unit("none")["state"] in ("backoff", "parked", "starting")
    assert up.chat().status == 200


# ---- death ----


@pytest.mark.smoke
def test_a_killed_unit_comes_back(bench):
    up = bench.up({"engine": [mock_unit("tiny", restart_delay_ms=300)]})
    first = ready(up)["pid"]
    os.kill(first, signal.SIGKILL)
    last_exit = up.wait_log(unit="tiny", state="backoff")["last_exit"]
    assert "9" in last_exit or "KILL" in last_exit
    watch = Stopwatch()
    assert up.chat().status == 200, "a request waits for the next run"
    assert watch.seconds() < 5 * SLOW
    row = ready(up)
    assert row["pid"] != first and row["restarts"] == 1 and row["generation"] == 2


def test_death_in_the_middle_of_a_stream(bench):
    up = bench.up({"engine": [mock_unit("tiny", args=["--tokens-per-second", 20, "--repeat", 100], restart_delay_ms=10)]})
    pid = ready(up)["pid"]
    with up.open_chat() as c:
        reply = c.head()
        assert c.begun()
        os.kill(pid, signal.SIGKILL)
        c.body(reply)
    assert not reply.whole and b"[DONE]" not in reply.body
    assert '"upstream_disconnected"' in reply.events()[-1]
    ready(up)


def test_back_off(bench):
    """Each death waits longer, up to the bound; a long enough run begins anew."""
    up = bench.up({"engine": [{"name": "bad", "command": ["sh", "-c", "exit 3 # ${PORT}"], "models": ["bad"],
                               "restart_delay_ms": 100, "restart_max_ms": 400}]})
    until(lambda: up.unit("bad")["restarts"] >= 4, "four restarts", 8)
    row = until(lambda: up.unit("bad")["state"] == "backoff" and up.unit("bad"), "it waits")
    assert row["next_start_ms"] <= 500 and "3" in row["last_exit"]
    waits = until(lambda: len(r := up.log(unit="bad", state="backoff")) >= 4 and [x["next_ms"] for x in r], "four are logged")
    assert waits[0] == 200 and max(waits) <= 400 and waits[-1] >= 350, waits  # never less than 200


@pytest.mark.parametrize("policy, code, again", [("never", 0, False), ("never", 1, False), ("on-failure", 0, False),
                                                 ("on-failure", 1, True), ("always", 0, True)])
def test_restart_policies(bench, policy, code, again):
    command = gated(bench, f"{mock_words()} &", f"kill $!; wait $!; exit {code}")
    up = bench.up({"engine": [{"name": "tiny", "command": command, "models": ["tiny"], "restart": policy, "restart_delay_ms": 10}]})
    ready(up)
    open_gate(bench)
    if again:
        until(lambda: up.unit("tiny")["restarts"] >= 1, "started again")
    else:
        until(lambda: up.unit("tiny")["state"] in ("exited", "stopped"), "it has ended")
        never(lambda: up.unit("tiny")["restarts"] > 0, "started again", 0.3)
        refused(up.chat(), 503, "no_healthy_service")


def test_nobody_left(bench):
    """Every engine of the model is stopped: at once a 503 with Retry-After, and no queueing."""
    up = bench.up({"engine": [mock_unit("tiny")]})
    ready(up)
    up.ctl("stop", "tiny")
    up.wait_unit("tiny", "stopped")
    watch = Stopwatch()
    reply = refused(up.chat(), 503, "no_healthy_service")
    assert reply["retry-after"] == "5" and watch.seconds() < 5 * SLOW
    refused(up.get("/ready"), 503, "no_healthy_service")
    assert up.get("/v1/models").json()["data"] == []


def test_waiting_requests_are_refused_when_hope_is_gone(bench):
    up = bench.up({"engine": [mock_unit("tiny", args=["--ready-after-ms", 600000])]})
    with up.open_chat(stream=False) as c:
        until(lambda: up.metric("inferd_waiting") == 1, "it waits")
        up.ctl("stop", "tiny")
        refused(c.reply(), 503, "no_healthy_service")


def test_a_second_engine_takes_over(bench):
    up = bench.up({"engine": [mock_unit("a", restart_delay_ms=60000), mock_unit("b")]})
    pid = ready(up, "a")["pid"]
    ready(up, "b")
    os.kill(pid, signal.SIGKILL)
    up.wait_unit("a", "backoff")
    for _ in range(10):
        assert "from b " in up.chat().json()["choices"][0]["message"]["content"]


# ---- hanging ----


def test_a_hanging_unit(bench):
    """Silent three times: unresponsive, requests wait; it answers again: ready, same process."""
    up = bench.up({"engine": [mock_unit("tiny", live_interval_ms=100, live_timeout_ms=200)]})
    pid = ready(up)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        up.wait_unit("tiny", "unresponsive")
        with up.open_chat(stream=False) as c:
            until(lambda: up.metric("inferd_waiting") == 1, "requests wait")
            os.kill(pid, signal.SIGCONT)
            assert c.reply().status == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    assert ready(up)["pid"] == pid and up.unit("tiny")["restarts"] == 0


def test_hang_timeout(bench):
    up = bench.up({"engine": [mock_unit("tiny", live_interval_ms=100, live_timeout_ms=500, hang_timeout_ms=1500,
                                        restart_delay_ms=10, stop_grace_ms=100)]})
    pid = ready(up)["pid"]
    os.kill(pid, signal.SIGSTOP)
    until(lambda: up.unit("tiny")["restarts"] >= 1 and up.unit("tiny")["state"] == "ready", "it is replaced", 8)
    assert not alive(pid) and up.chat().status == 200


# ---- orders ----


@pytest.mark.smoke
def test_stop_start_restart(bench):
    up = bench.up({"engine": [mock_unit("tiny")]})
    pid = ready(up)["pid"]
    up.ctl("stop", "tiny")
    row = up.wait_unit("tiny", "stopped")
    assert row["pid"] is None and not alive(pid)
    up.ctl("start", "tiny")
    second = ready(up)["pid"]
    assert up.chat().status == 200
    up.ctl("restart", "tiny")
    until(lambda: up.unit("tiny")["state"] == "ready" and up.unit("tiny")["pid"] != second, "a new process")
    assert up.chat().status == 200 and not alive(second)
    failed = up.ctl("stop", "nobody", check=False)
    assert failed.returncode != 0 and "nobody" in failed.stderr


def test_drain_finishes_what_it_has(bench):
    up = bench.up({"engine": [mock_unit("tiny", args=["--tokens-per-second", 40, "--repeat", 8])]})
    pid = ready(up)["pid"]
    with up.open_chat(seconds=20) as c:
        reply = c.head()
        assert c.begun()
        up.ctl("drain", "tiny")
        up.wait_unit("tiny", "draining")
        refused(up.chat(), 503, "no_healthy_service")
        assert alive(pid)
        c.body(reply)
        assert reply.whole and reply.events()[-1] == "[DONE]"
    up.wait_unit("tiny", "stopped")
    assert not alive(pid)


def test_a_unit_that_ignores_sigterm(bench):
    up = bench.up({"engine": [mock_unit("tiny", args=["--ignore-sigterm", "--fork-helper"], stop_grace_ms=300)]})
    pid = ready(up)["pid"]
    group = [p for p in children(pid)] + [pid]
    assert len(group) >= 2
    watch = Stopwatch()
    up.ctl("stop", "tiny")
    up.wait_unit("tiny", "stopped")
    assert watch.seconds() < 3 * SLOW
    until(lambda: not any(alive(p) for p in group), "nobody of its group is left")


def unit_mark(pid):
    """INFERD_UNIT of a process: <instance>/<unit>/<nonce>."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as f:
            return next((v[12:].decode() for v in f.read().split(b"\0") if v.startswith(b"INFERD_UNIT=")), None)
    except OSError:
        return None


def test_what_left_the_group_is_ended_too(bench):
    up = bench.up({"engine": [mock_unit("tiny", args=["--fork-stray"])]})
    pid = ready(up)["pid"]
    instance = unit_mark(pid).partition("/")[0]

    def strays():
        return [p for p in net.inhabitants() if p != pid and (unit_mark(p) or "").startswith(instance) and alive(p)]

    found = until(strays, "the stray is there")
    assert all(os.getsid(p) != pid for p in found)
    up.ctl("stop", "tiny")
    up.wait_unit("tiny", "stopped")
    until(lambda: not any(alive(p) for p in found), "the stray is gone", 6)


# ---- slots ----


def test_slots_of_a_unit(bench):
    up = bench.up({"engine": [mock_unit("tiny", args=["--latency-ms", 600], slots=1)]})
    ready(up)
    held = [up.open_chat(stream=False) for _ in range(4)]
    until(lambda: up.unit("tiny")["waiting"] >= 1, "who finds no slot waits")
    for c in held:
        assert up.unit("tiny")["in_flight"] <= 1
        with c:
            assert c.reply().status == 200
    until(lambda: up.unit("tiny")["waiting"] == 0 and up.unit("tiny")["in_flight"] == 0, "the slot is free")


# ---- output ----


def test_output_is_kept_as_it_is(bench):
    noise = bytes(range(256)) * 4
    with open(bench.path("noise"), "wb") as f:
        f.write(b"first line\n" + noise + b"\nlast line\n")
    up = bench.up({"engine": [mock_unit("tiny", args=["--emit-file", bench.path("noise")])]})
    ready(up)

    def logs():
        reply = raw.get(up.control, "/units/tiny/logs")
        return reply.body if b"last line" in reply.body else None

    text = until(logs, "the output is in the ring")
    assert b"first line\n" + noise + b"\nlast line\n" in text


def test_a_flood_of_output_stops_nobody(bench):
    with open(bench.path("flood"), "wb") as f:
        f.write((b"x" * 99 + b"\n") * 300000)  # 30 MB
    watch = Stopwatch()
    up = bench.up({"engine": [mock_unit("tiny", args=["--emit-file", bench.path("flood")])]})
    ready(up)
    for _ in range(20):
        assert up.chat().status == 200
    records = [r for r in up.log() if "xxxxx" in str(r)]
    assert len(records) <= 100 * (watch.seconds() + 2), "the log is rate-limited"


def test_mixed_sources(bench):
    engine = bench.engine()
    up = bench.up({"engine": [mock_unit("tiny")], "remote": [remote(engine)]})
    ready(up)
    # both serve; how evenly is select_test's, and who has just come gets less for a second
    until(lambda: "from tiny " in up.chat().json()["choices"][0]["message"]["content"], "the unit serves")
    until(lambda: up.chat().status == 200 and engine.requests, "the remote serves")
