# SPDX-License-Identifier: Apache-2.0
"""`inferd ctl` and the control side of a running inferd: every command, what it says and what it
does, who may ask. What ctl makes of strange answers is in test_ctl_client.py."""

import os
import signal
import stat
import subprocess
import threading

import pytest

from harness import net, raw
from harness.tree import PROGRAM, alive, sanitizer_env
from harness.wait import SLOW, never, until


def mock_engine(name="tiny", models="tiny", args=(), **settings):
    return {"name": name, "command": [PROGRAM, "mock", "--name", name, "--models", models, "--port", "${PORT}", *args],
            **settings}


def chatter(name, text, **settings):
    """Writes and never answers; its models are configured."""
    return {"name": name, "command": ["/bin/sh", "-c", text], "url": "http://127.0.0.1:1", "models": [f"of-{name}"],
            **settings}


def rows(text):
    """A table as dicts by column; cells are cut where the heads begin."""
    lines = text.splitlines()
    heads = lines[0].split("  ")
    heads = [h.strip() for h in heads if h.strip()]
    found = []
    for line in lines[1:]:
        cells = [c.strip() for c in line.split("  ") if c.strip()]
        assert len(cells) == len(heads), (heads, line)
        found.append(dict(zip(heads, cells)))
    return found


class Following:
    """`ctl logs NAME -f` with its lines as they come."""

    def __init__(self, up, name):
        self.process = subprocess.Popen([PROGRAM, "ctl", "--runtime-dir", up.runtime_dir, "logs", name, "-f"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=dict(os.environ, **sanitizer_env(up.folder)))
        self.lines = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_line(self, text, after=0):
        return until(lambda: any(text in line for line in self.lines[after:]), f"a line with {text!r}")

    def end(self):
        status = self.process.wait(20 * SLOW)
        self.reader.join()
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return status, errors

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.end()


@pytest.fixture
def up(bench):
    """Two units, a remote, an alias."""
    far = bench.engine(models=("shared",))
    gateway = bench.up({
        "engine": [mock_engine(models="tiny,shared", slots=4), mock_engine("b:1@x+y", "b")],
        "remote": [{"name": "far", "url": far.url, "weight": 2}],
        "model": {"gpt": {"target": "tiny"}},
    })
    gateway.wait_unit("tiny", "ready")
    gateway.wait_unit("b:1@x+y", "ready")
    until(lambda: gateway.get("/v1/models/shared").status == 200, "the remote's models")
    return gateway


# what is read

@pytest.mark.smoke
def test_status_engines_models(up):
    until(lambda: up.admin("/status")["engines_ready"] == 3, "three engines")
    status = up.ctl("status").stdout.splitlines()
    assert status[0].endswith(": ready")
    assert [line.split()[0] for line in status[1:]] == ["listens", "gateway", "engines", "models", "requests"]
    assert status[1].split()[1] == up.address
    assert f"pid {up.gateway_pid()}," in status[2]
    assert status[3].split() == ["engines", "3", "of", "3", "ready"]

    up.chat("tiny")
    until(lambda: up.metric("inferd_requests_in_flight") + up.metric("inferd_engine_in_flight") == 0, "it has ended")
    engines = rows(up.ctl("engines").stdout)
    assert [e["NAME"] for e in engines] == ["b:1@x+y", "far", "tiny"]
    assert [e["STATE"].split()[0] for e in engines] == ["ready"] * 3
    assert engines[2]["MODELS"] == "tiny, shared" and engines[2]["BUSY"] == "0/4" and engines[2]["REQUESTS"] == "1"
    assert alive(int(engines[2]["PID"])) and engines[1]["PID"] == "-" and engines[1]["RESTARTS"] == "-"

    models = rows(up.ctl("models").stdout)
    assert models == [
        {"MODEL": "b", "READY": "1/1", "ENGINES": "b:1@x+y", "ALIAS OF": "-"},
        {"MODEL": "gpt", "READY": "1/1", "ENGINES": "tiny", "ALIAS OF": "tiny"},
        {"MODEL": "shared", "READY": "2/2", "ENGINES": "far, tiny", "ALIAS OF": "-"},
        {"MODEL": "tiny", "READY": "1/1", "ENGINES": "tiny", "ALIAS OF": "-"},
    ]


def test_json(up):
    until(lambda: up.admin("/status")["engines_ready"] == 3, "three engines")
    status = up.ctl_json("status")
    assert status["listen"] == [up.address] and status["lanes"] == int(os.environ.get("INFERD_TEST_LANES", "2"))
    assert (status["engines"], status["models"], status["draining"], status["waiting"]) == (3, 3, False, 0)
    engines = {e["name"]: e for e in up.ctl_json("engines")["engines"]}
    assert engines["tiny"]["origin"] == "unit" and engines["far"]["origin"] == "remote"
    assert engines["far"]["pid"] is None and engines["far"]["weight"] == 2 and engines["tiny"]["slots"] == 4
    assert [m["name"] for m in up.ctl_json("models")["models"]] == ["b", "gpt", "shared", "tiny"]
    assert up.ctl_json("stop", "tiny")["message"]
    assert up.ctl_json("reload")["message"]


def test_an_engine_that_died_tells_how(bench):
    up = bench.up({"engine": [mock_engine(restart_delay_ms=60000)]})
    pid = up.wait_unit("tiny", "ready")["pid"]
    os.kill(pid, signal.SIGKILL)
    up.wait_unit("tiny", "backoff")
    (row,) = rows(up.ctl("engines").stdout)
    assert row["STATE"].startswith("backoff, starts in ") and "SIGKILL" in row["LAST EXIT"] and "PID" not in row
    assert rows(up.ctl("models").stdout)[0]["READY"] == "0/1"
    assert up.ctl("status").stdout.splitlines()[0].endswith(": no engine is ready")
    up.ctl("start", "tiny")  # need not wait for the back-off
    row = up.wait_unit("tiny", "ready")
    assert row["pid"] != pid


# orders

def test_stop_and_start(up):
    pid = up.unit("tiny")["pid"]
    assert up.ctl("stop", "tiny").stdout.startswith("tiny: ")
    row = up.wait_unit("tiny", "stopped")
    assert row["pid"] is None and not alive(pid)
    reply = up.chat("tiny")
    assert reply.status == 503 and reply.error()["code"] == "no_healthy_service" and reply["retry-after"]
    assert up.chat("shared").status == 200, "the other engine of the model still serves"
    never(lambda: up.unit("tiny")["state"] != "stopped", "nobody asked for a start", 1.5)
    assert up.ctl("start", "tiny", "b:1@x+y").stdout.count("\n") == 2
    row = up.wait_unit("tiny", "ready")
    assert row["restarts"] == 0, "asked for is not counted as a restart"
    assert up.chat("tiny").status == 200


def test_restart_drains_first(bench):
    up = bench.up({"engine": [mock_engine(args=("--tokens-per-second", "6"), stop_grace_ms=5000)]})
    before = up.wait_unit("tiny", "ready")
    c = up.open_chat(stream=True)
    until(lambda: up.unit("tiny")["in_flight"] == 1, "the stream")
    up.ctl("restart", "tiny")
    assert up.unit("tiny")["state"] == "draining" and alive(before["pid"])
    waits = up.open_chat(stream=False)  # comes while nobody can take it: waits for the new process
    reply = c.reply()
    assert reply.whole and reply.events()[-1] == "[DONE]", "what was begun is finished"
    after = up.wait_unit("tiny", "ready")
    assert after["pid"] != before["pid"] and after["generation"] == before["generation"] + 1
    assert not alive(before["pid"])
    answer = waits.reply()
    assert answer.status in (200, 503), answer
    c.close()
    waits.close()


def test_drain(bench):
    up = bench.up({"engine": [mock_engine(args=("--tokens-per-second", "6"))]})
    pid = up.wait_unit("tiny", "ready")["pid"]
    c = up.open_chat(stream=True)
    until(lambda: up.unit("tiny")["in_flight"] == 1, "the stream")
    up.ctl("drain", "tiny")
    assert up.unit("tiny")["state"] == "draining"
    refused = up.chat("tiny")
    assert refused.status == 503 and refused.error()["code"] == "no_healthy_service"
    assert c.reply().events()[-1] == "[DONE]"
    assert up.wait_unit("tiny", "stopped")["pid"] is None and not alive(pid)
    c.close()


def test_stop_cuts_what_is_in_flight(bench):
    up = bench.up({"engine": [mock_engine(args=("--tokens-per-second", "5"))]})
    up.wait_unit("tiny", "ready")
    c = up.open_chat(stream=True)
    head = c.head()
    assert head.status == 200
    up.ctl("stop", "tiny")
    while c.more():
        pass
    assert b"[DONE]" not in c.waiting and not c.waiting.endswith(b"0\r\n\r\n") and b'"error"' in c.waiting
    c.close()
    up.wait_unit("tiny", "stopped")


@pytest.mark.parametrize("name, status, text", [
    ("nobody", 404, "There is no engine 'nobody'"),
    ("a/b c", 404, "There is no engine 'a/b c'"),
    ("far", 409, "not a process of this inferd"),
])
@pytest.mark.parametrize("verb", ["start", "stop", "drain", "restart", "logs"])
def test_who_cannot_be_ordered(up, verb, name, status, text):
    done = up.ctl(verb, name, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert text in done.stderr and f"({status})" in done.stderr, done.stderr


def test_reload(bench):
    config = {"engine": [mock_engine()]}
    up = bench.up(config)
    pid = up.wait_unit("tiny", "ready")["pid"]
    config["engine"].append(mock_engine("more", "more"))
    up.write_config(config)
    assert up.ctl("reload").stdout.startswith("reload: ")
    up.wait_unit("more", "ready")
    assert up.unit("tiny")["pid"] == pid, "what did not change is left alone"
    up.write_config(dict(config, nonsense=1))
    done = up.ctl("reload", check=False)
    assert done.returncode == 1 and done.stdout == "" and "nonsense" in done.stderr, done
    assert up.chat("more").status == 200, "the old configuration holds"
    del config["engine"][1]
    up.write_config(config)
    up.ctl("reload")
    until(lambda: [u["name"] for u in up.admin("/units")["units"]] == ["tiny"], "the unit that was taken out is gone")


# logs

def test_logs(bench):
    up = bench.up({"engine": [chatter("loud", r"printf 'out \377\n'; echo err >&2; sleep 1000"), mock_engine()]})
    until(lambda: {b"err", b"out \xff"} <= set(logs_of(up, "loud").splitlines()), "both lines")
    lines = logs_of(up, "loud").splitlines()
    assert b"out \xff" in lines and b"err" in lines and any(line.startswith(b"--- started, pid") for line in lines)
    assert b"out" not in logs_of(up, "tiny")


def logs_of(up, name):
    return subprocess.run([PROGRAM, "ctl", "--runtime-dir", up.runtime_dir, "logs", name], capture_output=True,
                          timeout=30 * SLOW, check=True, env=dict(os.environ, **sanitizer_env(up.folder))).stdout


def test_a_log_keeps_its_end(bench):
    """The ring holds the last quarter of a MiB; what it holds begins at a line."""
    up = bench.up({"engine": [chatter("loud", "seq -f 'line %.0f of many' 100000; echo over; sleep 1000")]})
    until(lambda: logs_of(up, "loud").endswith(b"over\n"), "the last line", 20)
    lines = logs_of(up, "loud").decode().splitlines()
    assert lines[-2:] == ["line 100000 of many", "over"] and 5000 < len(lines) < 30000
    first = int(lines[0].split()[1])
    assert lines[:-1] == [f"line {n} of many" for n in range(first, 100001)]


def test_follow_across_a_restart_until_the_unit_goes(bench):
    config = {"engine": [mock_engine(), chatter("loud", "while :; do echo tick; sleep 0.05; done")]}
    up = bench.up(config)
    first = up.wait_unit("loud", "loading")["pid"]
    with Following(up, "loud") as following:
        following.wait_line("tick")
        up.ctl("restart", "loud")
        until(lambda: up.unit("loud")["pid"] not in (None, first), "another process")
        following.wait_line(f"pid {up.unit('loud')['pid']}")
        seen = len(following.lines)
        following.wait_line("tick", after=seen)
        del config["engine"][1]
        up.write_config(config)
        up.ctl("reload")
        assert following.end() == (0, "")


def test_follow_says_when_inferd_goes(bench):
    up = bench.up({"engine": [mock_engine()]})
    up.wait_unit("tiny", "ready")
    with Following(up, "tiny") as following:
        following.wait_line("listening")
        os.kill(up.gateway_pid(), signal.SIGKILL)
        status, errors = following.end()
        assert status == 1 and "ended before the answer did" in errors
        assert "done it" not in errors, "nothing was to be done"


# beside other things

def test_a_gateway_crash_does_not_take_ctl_away(bench):
    up = bench.up({"engine": [mock_engine()]})
    row = up.wait_unit("tiny", "ready")
    for _ in range(3):
        pid = up.gateway_pid()
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), "the gateway is dead")
        status = up.ctl_json("status")  # waits in the socket's backlog, which is the master's
        assert status["gateway_pid"] != pid
    assert up.wait_unit("tiny", "ready")["pid"] == row["pid"], "no engine notices"
    assert "listening" in logs_of(up, "tiny").decode(), "nor does the log"


def test_draining_is_told(bench):
    up = bench.up({"engine": [mock_engine(args=("--tokens-per-second", "5"))]})
    up.wait_unit("tiny", "ready")
    c = up.open_chat(stream=True)
    assert c.head().status == 200
    up.signal(signal.SIGTERM)
    until(lambda: up.admin("/status")["draining"], "draining")
    assert up.ctl("status").stdout.splitlines()[0].endswith(": draining")
    reply = raw.get(up.control, "/ready")
    assert reply.status == 503 and reply.error()["code"] == "draining" and reply["retry-after"] == "5"
    while c.more():
        pass
    assert c.waiting.endswith(b"0\r\n\r\n") and b"[DONE]" in c.waiting
    c.close()
    assert up.wait_exit() == 0
    done = up.ctl("status", check=False)
    assert done.returncode == 1 and "not running" in done.stderr


# who may ask

def test_the_control_socket_is_its_users(bench):
    up = bench.up({"engine": [mock_engine()]})
    mode = os.stat(f"{up.runtime_dir}/ctl.sock").st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) & 0o007 == 0, oct(mode)
    up.wait_unit("tiny", "ready")
    reply = raw.get(up.control, "/status", headers={"origin": "http://localhost"})
    assert reply.status == 403 and reply.error()["code"] == "origin_not_allowed"
    for target in ("/metrics", "/services", "/stats", "/status", "/units", "/engines", "/routes", "/reload",
                   "/units/tiny/logs"):
        assert up.get(target).error()["code"] == "not_found", target
    assert up.post("/units/tiny/stop", {}).status == 404 and up.post("/reload", {}).status == 404
    assert up.unit("tiny")["state"] == "ready"


def test_admin_address(bench):
    port = net.free_port()
    up = bench.up({"engine": [mock_engine()], "admin": {"address": f"127.0.0.1:{port}"}})
    up.wait_unit("tiny", "ready")
    admin = f"127.0.0.1:{port}"
    services = raw.get(admin, "/services")
    assert services.json()["total"] == 1 and services.json()["registry_url"] is None
    (s,) = services.json()["services"]
    assert s["name"] == "tiny" and s["origin"] == "unit" and s["healthy"] is True and s["babysitter_url"] is None
    assert raw.get(admin, "/stats").json()["healthy_services"] == 1
    assert b"inferd_requests_total" in raw.get(admin, "/metrics").body
    for host in ("evil.example", f"localhost.evil.example:{port}"):
        reply = raw.get(admin, "/metrics", headers={"host": host})
        assert reply.status == 403 and reply.error()["code"] == "host_not_allowed"
    assert raw.get(admin, "/metrics", headers={"host": f"localhost:{port}"}).status == 200
