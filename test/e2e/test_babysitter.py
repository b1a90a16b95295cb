# SPDX-License-Identifier: Apache-2.0
"""inferd babysitter: one engine from its start to its end, every state in between, what it tells a registry, and
that nothing of the engine is left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness import net, raw
from harness.fabric import BlackHole, free_pair
from harness.svc_doubles import OldRegistry
from harness.tree import PROGRAM, alive, children
from harness.wait import SLOW, Stopwatch, never, until

QUICK = {"restart_delay": 0}

ENGINE = r"""
import http.server, json, sys, time
asked = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(sys.argv[2]) as f:
            answers = {"/asked": [200, json.dumps(asked)], **json.load(f)}
        asked.append([self.path, time.monotonic()])
        status, body = answers.get(self.path, [404, "no such path"])
        time.sleep(600 if status == 0 else 0)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *a):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def answer(bench, port, answers):
    """What the engine on that port answers from now on, {path: [status, body]}; 404 to all other paths. Status 0:
    nothing, ever."""
    path = bench.path(f"answers-{port}.json")
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(answers, f)
    os.rename(path + ".new", path)
    return path


def engine(bench, answers, **rest):
    """Arguments for bench.sitter(): an engine that has only these paths, and /asked: what it was asked for, and when."""
    path = bench.path("engine.py")
    with open(path, "w", encoding="utf-8") as f:
        f.write(ENGINE)
    port = free_pair()
    backend = {"type": "command", "command": sys.executable, "args": ["-u", path, str(port), answer(bench, port, answers)]}
    return {"engine_port": port, "config": {"backend": backend, **rest}}


def shell(script, **rest):
    """The same for a shell script."""
    return {"config": {"backend": {"type": "command", "command": "/bin/sh", "args": ["-c", script]}, **rest}}


def gated(bench, **rest):
    """The same for a mock that is there once a file is, and the file's path."""
    port, gate = free_pair(), bench.path("gate")
    mock = f"exec {PROGRAM} mock --name gated --port {port} --models m1"
    return {"engine_port": port, **shell(f"until [ -e {gate} ]; do sleep 0.02; done; {mock}", **rest)}, gate


def touch(path):
    with open(path, "w", encoding="utf-8"):
        pass


def family(sitter, n):
    """The engine, what it started, and the stray, which is the babysitter's since who forked it has ended: n
    processes, or none yet."""
    own = [p for p in children(sitter.pid) if alive(p)]
    found = own + [p for c in own for p in children(c) if alive(p)]
    return found if (len(own), len(found)) == (2, n) else []


def asked_for(sitter, path):
    """When its engine was asked for that path, on the monotonic clock."""
    return [when for what, when in raw.get(f"127.0.0.1:{sitter.engine_port}", "/asked").json() if what == path]


def but_for_its_age(models):
    """A mock's list: "created" is when it was asked."""
    return [{**m, "created": 0} for m in models]


def health(sitter):
    """(status, body) of /health."""
    reply = sitter.ask("GET", "/health")
    return reply.status, reply.json()


def launches(sitter):
    return sitter.log().count(" unit started ")


def wait_health(sitter, status, word, seconds=10.0):
    return until(lambda: (h := health(sitter)) == (status, h[1]) and h[1]["status"] == word and h[1],
                 f"/health is {status} {word}", seconds)


# ---- the whole of it ----


@pytest.mark.smoke
def test_one_engine_from_start_to_end(bench):
    registry = bench.registry()
    sitter = bench.sitter(models=["m1", "m2"], name="svc", registry=registry)
    until(lambda: registry.names() == ["svc", "svc-server"], "both names are registered")
    port, at = sitter.engine_port, sitter.engine_port + 1
    reply = sitter.ask("GET", "/health")
    now = reply.json()["timestamp"]
    assert isinstance(now, int) and abs(now - time.time()) < 60 * SLOW
    assert reply.status == 200 and reply.body.decode() == (
        f'{{"babysitter":"enhanced","infinilm_server_port":{port},"infinilm_server_ready":true,'
        f'"infinilm_server_running":true,"service":"svc","status":"healthy","timestamp":{now}}}')
    info = sitter.get("/info")
    assert list(info) == sorted(info) and {k: v for k, v in info.items() if k not in ("pid", "uptime")} == {
        "babysitter": "enhanced", "consecutive_restarts": 0, "host": "localhost", "infinilm_server_port": port,
        "last_exit": None, "name": "svc", "port": at, "restart_count": 0, "service": "svc", "service_type": "command",
        "state": "ready", "url": f"http://localhost:{at}"}
    assert info["pid"] == children(sitter.pid)[0] and isinstance(info["uptime"], int)
    models = sitter.get("/models")
    assert [m["id"] for m in models["data"]] == ["m1", "m2"]
    own, server = (registry.get(f"/services/{n}") for n in ("svc", "svc-server"))
    assert {k: own[k] for k in ("host", "hostname", "port", "url", "status", "metadata")} == {
        "host": "localhost", "hostname": "localhost", "port": at, "url": f"http://localhost:{at}", "status": "running",
        "metadata": {"babysitter": "enhanced", "type": "command"}}
    assert but_for_its_age(server["metadata"].pop("models_list")) == but_for_its_age(models["data"])
    assert {k: server[k] for k in ("host", "hostname", "port", "url", "status", "metadata")} == {
        "host": "localhost", "hostname": "localhost", "port": port, "url": f"http://localhost:{port}", "status": "running",
        "metadata": {"babysitter": "enhanced", "models": ["m1", "m2"], "parent_service": "svc", "type": "openai-api"}}
    for phrase in ("Service detected", "Fetched 2 models", "registered name=svc ", "registered name=svc-server"):
        sitter.wait_log(phrase)
    sitter.signal(signal.SIGTERM)
    assert sitter.wait_exit() == 0 and not alive(info["pid"])
    until(lambda: registry.names() == [], "the registry knows of the end")


def test_paths_and_methods(bench):
    sitter = bench.sitter(models=["m1"]).wait_state("ready")
    for path in ("/health", "/info", "/models", "/metrics", "/_inferd/metrics"):
        reply = sitter.ask("HEAD", path)
        assert reply.status == 200 and reply.body == b"", path
        reply = sitter.ask("POST", path, body=b"x")
        assert (reply.status, reply["allow"]) == (405, "GET, HEAD") and reply.error()["code"] == "method_not_allowed"
    for path in ("/", "/health/", "/services", "/v1/models"):
        assert sitter.ask("GET", path).status == 404, path
    assert 'inferd_babysitter_state{state="ready"} 1' in sitter.ask("GET", "/metrics").body.decode()
    assert sitter.metric("inferd_babysitter_state") == 1 and sitter.metric("inferd_babysitter_restarts_total") == 0


# ---- states ----


def test_starting_is_200_until_the_engine_was_ready_once(bench):
    late, gate = gated(bench, babysitter={"restart_delay": 60})
    sitter = bench.sitter(**late)
    until(sitter.child, "it is started")
    status, body = health(sitter)
    assert (status, body["status"]) == (200, "starting")
    assert body["infinilm_server_running"] and not body["infinilm_server_ready"] and body["infinilm_server_port"] is None
    reply = sitter.ask("GET", "/models")
    assert reply.status == 503 and reply.error()["code"] == "engine_unavailable"
    touch(gate)
    wait_health(sitter, 200, "healthy")
    os.kill(sitter.child(), signal.SIGKILL)
    body = wait_health(sitter, 503, "restarting")
    assert not body["infinilm_server_running"] and body["infinilm_server_port"] is None
    assert sitter.ask("GET", "/models").status == 503
    info = sitter.get("/info")
    assert info["pid"] is None and info["last_exit"] == "killed by SIGKILL" and info["consecutive_restarts"] == 1


def test_a_death_is_noticed_at_once_and_told(bench):
    registry = bench.registry()
    sitter = bench.sitter(models=["m1"], name="svc", registry=registry, config={"babysitter": {"restart_delay": 60}})
    until(lambda: registry.names() == ["svc", "svc-server"], "registered")
    os.kill(sitter.child(), signal.SIGKILL)
    watch = Stopwatch()
    until(lambda: not registry.get("/services/svc-server")["is_healthy"], "the registry knows", 1)
    assert watch.seconds() < 1 * SLOW
    assert registry.get("/services/svc-server")["status"] == "restarting"
    assert registry.get("/services/svc")["is_healthy"], "the babysitter itself is well"


def test_a_crash_loop_ends_in_failed(bench):
    registry = bench.registry()
    sitter = bench.sitter(**shell("exit 3", babysitter={**QUICK, "max_restarts": 2}), name="svc", registry=registry)
    sitter.wait_state("failed", 20)
    until(lambda: launches(sitter) == 3, "three launches are in the log")
    info = sitter.get("/info")
    assert (info["restart_count"], info["consecutive_restarts"], info["last_exit"]) == (2, 2, "exit status 3")
    assert health(sitter)[0] == 200, "it has never been ready"
    until(lambda: registry.names() == ["svc"], "what never was ready is not registered")
    never(lambda: launches(sitter) > 3, "it is started again", 1)


def test_failed_after_ready_is_503_and_still_answers_and_beats(bench):
    registry = bench.registry()
    care = {**QUICK, "max_restarts": 0, "heartbeat_interval": 1}
    sitter = bench.sitter(models=["m1"], name="svc", registry=registry, config={"babysitter": care})
    until(lambda: registry.names() == ["svc", "svc-server"], "both names are registered")
    os.kill(sitter.child(), signal.SIGKILL)
    wait_health(sitter, 503, "failed")
    until(lambda: launches(sitter) == 1, "one launch is in the log")
    until(lambda: registry.get("/services/svc-server")["status"] == "failed", "the registry knows")
    beat = registry.get("/services/svc")["last_heartbeat"]
    until(lambda: registry.get("/services/svc")["last_heartbeat"] > beat + 1, "it beats on")


def test_exit_status_0_under_on_failure(bench):
    sitter = bench.sitter(models=["m1"], config={"babysitter": {**QUICK, "restart": "on-failure"}}).wait_state("ready")
    os.kill(sitter.child(), signal.SIGTERM)  # a mock's own way to end well
    wait_health(sitter, 503, "exited")
    assert sitter.get("/info")["last_exit"] == "exit status 0" and sitter.get("/info")["restart_count"] == 0


def test_exit_status_0_is_a_crash_by_default_and_not_hurried(bench):
    sitter = bench.sitter(**shell("exit 0", babysitter=QUICK))
    until(lambda: launches(sitter) >= 2, "it is started again")
    assert "next_ms=1000" in sitter.log()


def test_too_long_to_start(bench):
    sitter = bench.sitter(models=["m1"], mock_args=["--ready-after-ms", 60000], config={"babysitter": {**QUICK, "start_timeout": 1}})
    until(lambda: launches(sitter) >= 2, "it was stopped and started again")
    assert "not ready in time" in sitter.get("/info")["last_exit"]


@pytest.mark.fault
def test_a_frozen_engine_is_unresponsive_until_it_answers(bench):
    registry = bench.registry()
    sitter = bench.sitter(models=["m1"], name="svc", registry=registry)
    until(lambda: registry.names() == ["svc", "svc-server"], "registered")
    pid = sitter.child()
    os.kill(pid, signal.SIGSTOP)
    body = wait_health(sitter, 503, "unresponsive", 45)
    assert body["infinilm_server_running"] and body["infinilm_server_port"] == sitter.engine_port
    until(lambda: registry.get("/services/svc-server")["status"] == "unresponsive", "the registry knows")
    posts = sitter.metric("inferd_registrar_registrations_total")
    os.kill(pid, signal.SIGCONT)
    wait_health(sitter, 200, "healthy", 20)
    until(lambda: registry.get("/services/svc-server")["status"] == "running", "the registry knows")
    assert sitter.child() == pid
    until(lambda: sitter.metric("inferd_registrar_registrations_total") == posts + 1, "its answer has come")


@pytest.mark.fault
def test_a_hung_engine_is_restarted(bench):
    sitter = bench.sitter(models=["m1"], config={"babysitter": {**QUICK, "hang_timeout": 1, "stop_grace": 1}}).wait_state("ready")
    pid = sitter.child()
    os.kill(pid, signal.SIGSTOP)
    until(lambda: launches(sitter) == 2, "started again", 60)
    assert not alive(pid) and "unresponsive for too long" in sitter.log()


def test_somebody_else_on_the_port_is_not_the_engine(bench):
    with socket.socket() as foreign:
        port = free_pair()
        foreign.bind(("127.0.0.1", port))
        foreign.listen(8)
        sitter = bench.sitter(models=["m1"], engine_port=port, config={"babysitter": QUICK})
        until(lambda: sitter.log().count(f"ERROR inferd::supervise: port {port} is in use") >= 2, "it says so, and tries again")
        assert launches(sitter) == 0 and not children(sitter.pid) and health(sitter)[1]["status"] != "healthy"
    sitter.wait_state("ready", 20)


def test_an_engine_on_ipv6_loopback_is_found_by_its_host(bench):
    port = free_pair()
    words = ["mock", "--name", "six", "--port", str(port), "--listen", "::1", "--models", "m1"]
    sitter = bench.sitter(config={"host": "::1", "backend": {"type": "command", "command": PROGRAM, "args": words}}, engine_port=port)
    sitter.wait_state("ready")
    assert sitter.get("/info")["url"] == f"http://[::1]:{port + 1}" and sitter.get("/models")["data"][0]["id"] == "m1"


# ---- the registry ----


class Listener(OldRegistry):
    """An original's registry that remembers in which order it was told what."""

    def __init__(self):
        self.events = []
        super().__init__()

    def answer(self, s, head, body):
        method, target, _ = head.split("\r\n")[0].split(" ")
        document = json.loads(body) if body else {}
        # before the answer, behind which the next one comes on another thread
        self.events.append((method, document.get("name") or target.split("/")[2], document.get("status"), document, head))
        super().answer(s, head, body)

    def of(self, name):
        return [(m, s) for m, n, s, _, _ in list(self.events) if n == name]


@pytest.fixture
def old_registry():
    registry = Listener()
    yield registry
    registry.close()


def test_an_original_registry_hears_every_change_in_order(bench, old_registry):
    held, gate = gated(bench, babysitter={"restart_delay": 3, "heartbeat_interval": 2})
    touch(gate)
    sitter = bench.sitter(**held, name="svc", registry=old_registry.url + "/")
    sitter.wait_log("registered name=svc-server")
    os.unlink(gate)
    os.kill(sitter.child(), signal.SIGKILL)
    for word in ("restarting", "starting"):
        until(lambda word=word: ("POST", word) in old_registry.of("svc-server"), f"it is told of {word}")
    touch(gate)

    def posts():
        return [d for m, n, s, d, h in list(old_registry.events) if m == "POST" and n == "svc-server" and "port" in d]

    until(lambda: len(posts()) == 2, "registered anew after the restart", 15)
    words = [s for m, s in old_registry.of("svc-server")]
    first = words.index("restarting")
    second = next(i for i, e in enumerate([e for e in old_registry.events if e[1] == "svc-server"]) if e[3].get("port") and i > first)
    assert "running" not in words[first:second] and "starting" in words[first:second]
    until(lambda: any(s == "running" and "port" not in d for m, n, s, d, h in old_registry.events[-6:] if n == "svc-server"), "it beats")
    assert {s for m, s in old_registry.of("svc")} == {"running"}
    beat = next(h for m, n, s, d, h in old_registry.events if n == "svc" and "port" not in d).lower()
    assert "content-type: application/json" in beat and beat.startswith("post /services/svc/heartbeat http/1.1")
    sitter.signal(signal.SIGTERM)
    assert sitter.wait_exit() == 0
    until(lambda: sorted(old_registry.deleted) == ["svc", "svc-server"], "both are deleted")


def test_a_registry_that_forgot_is_told_again(bench, old_registry):
    sitter = bench.sitter(models=["m1"], name="svc", registry=old_registry.url, config={"babysitter": {"heartbeat_interval": 1}})
    sitter.wait_log("registered name=svc-server")
    old_registry.forget()
    watch = Stopwatch()
    until(lambda: old_registry.known == {"svc", "svc-server"}, "both are there again")
    assert watch.seconds() < 2 * SLOW


def test_a_registry_that_comes_late(bench):
    port = net.free_port()
    sitter = bench.sitter(models=["m1"], name="svc", registry=f"http://127.0.0.1:{port}").wait_state("ready")
    sitter.wait_log("the registry cannot be had")
    registry = bench.registry(port=port)
    until(lambda: registry.names() == ["svc", "svc-server"], "registered", 40)


def test_a_silent_registry_delays_nothing(bench):
    hole = BlackHole()
    sitter = bench.sitter(models=["m1"], registry=f"http://127.0.0.1:{hole.port}").wait_state("ready")
    os.kill(sitter.child(), signal.SIGKILL)
    wait_health(sitter, 503, "restarting", 1)
    watch = Stopwatch()
    sitter.signal(signal.SIGTERM)
    assert sitter.wait_exit() == 0 and watch.seconds() < 2.5 * SLOW
    hole.close()


def test_metadata_and_weight(bench):
    registry = bench.registry()
    config = {"metadata": {"cache_type": "paged", "static": True, "type": "mine", "ratio": 1.0, "nested": {"b": 1, "a": [1, "x"]}},
              "service": {"weight": 3}}
    bench.sitter(models=["m1"], name="svc", registry=registry, config=config)
    until(lambda: registry.names() == ["svc", "svc-server"], "registered")
    record = registry.get("/services/svc-server")
    assert record["weight"] == 3
    assert {k: v for k, v in record["metadata"].items() if k != "models_list"} == {
        "babysitter": "enhanced", "cache_type": "paged", "models": ["m1"], "nested": {"a": [1, "x"], "b": 1},
        "parent_service": "svc", "ratio": 1.0, "static": True, "type": "mine", "weight": 3}
    assert registry.get("/services/svc")["metadata"] == {"babysitter": "enhanced", "type": "command"}


@pytest.mark.parametrize("where", [{"service": {"models": ["a", "b"]}}, {"metadata": {"models": ["a", "b"]}}], ids=["service", "metadata"])
def test_models_that_the_configuration_names(bench, where):
    registry = bench.registry()
    health_path = {"health_path": "/up"}
    config = {**where, "service": {**where.get("service", {}), **health_path}}
    sitter = bench.sitter(**engine(bench, {"/up": [200, "ok"]}, **config), name="svc", registry=registry)
    until(lambda: "svc-server" in registry.names(), "registered")
    metadata = registry.get("/services/svc-server")["metadata"]
    assert metadata["models"] == ["a", "b"]
    assert metadata["models_list"] == [{"id": "a", "object": "model"}, {"id": "b", "object": "model"}]
    assert "Fetched" not in sitter.log()


def test_an_engine_without_models(bench):
    registry = bench.registry()
    quiet = bench.sitter(**engine(bench, {}), name="quiet", registry=registry)
    quiet.wait_log("neither /v1/models nor /models")
    quiet.wait_state("ready")
    empty = bench.sitter(**engine(bench, {}, service={"register_without_models": True}), name="empty", registry=registry)
    until(lambda: "empty-server" in registry.names(), "registered")
    metadata = registry.get("/services/empty-server")["metadata"]
    assert metadata["models"] == [] == metadata["models_list"]
    assert empty.state() == "ready" and "quiet-server" not in registry.names()
    os.kill(quiet.child(), signal.SIGKILL)
    until(lambda: quiet.log().count("Service detected") == 2, "ready again", 15)
    until(lambda: asked_for(quiet, "/models"), "asked for its list again", 5)
    never(lambda: quiet.log().count("neither /v1/models nor /models") > 1, "warned again", 0.5)


def test_a_list_that_comes_late_and_odd_models(bench):
    registry = bench.registry()
    listed = [{"id": "a", "owned_by": "x", "n": 1.5}, {"name": "no id"}, {"id": 7}]
    sitter = bench.sitter(**engine(bench, {"/v1/models": [500, "loading"], "/models": [200, json.dumps(listed)]}), name="svc", registry=registry)
    until(lambda: "svc-server" in registry.names(), "registered")
    metadata = registry.get("/services/svc-server")["metadata"]
    assert metadata["models"] == ["a", "", ""] and metadata["models_list"] == listed
    assert sitter.get("/models") == listed


def test_a_restarted_engine_is_registered_with_its_present_models(bench):
    registry = bench.registry()
    sitter = bench.sitter(**engine(bench, {"/v1/models": [200, '[{"id":"old"}]']}, babysitter=QUICK), name="svc", registry=registry)
    until(lambda: "svc-server" in registry.names(), "registered")
    answer(bench, sitter.engine_port, {"/v1/models": [200, '[{"id":"new"}]']})
    os.kill(sitter.child(), signal.SIGKILL)
    until(lambda: registry.get("/services/svc-server")["metadata"]["models"] == ["new"], "the new model is known", 15)
    assert registry.get("/services/svc-server")["status"] == "running"


def test_an_engine_that_loads_its_models_late_is_asked_at_its_pace(bench):
    """Every 300 ms at first; a list that is empty is none, and one that comes late is taken."""
    registry = bench.registry()
    sitter = bench.sitter(**engine(bench, {"/up": [200, ""], "/v1/models": [503, ""], "/models": [200, '{"data":[]}']},
                                   service={"health_path": "/up"}), name="svc", registry=registry).wait_state("ready")
    rounds = until(lambda: len(r := asked_for(sitter, "/models")) >= 6 and r, "six rounds")
    pauses = [after - before for before, after in zip(rounds, rounds[1:])]
    assert min(pauses) > 0.25 and min(pauses) < 0.3 * SLOW, pauses  # the shortest: the others may have been held up
    assert "svc-server" not in registry.names()
    answer(bench, sitter.engine_port, {"/up": [200, ""], "/v1/models": [200, '[{"id":"late"}]']})
    until(lambda: "svc-server" in registry.names(), "registered")
    asked = len(asked_for(sitter, "/v1/models"))
    never(lambda: len(asked_for(sitter, "/v1/models")) > asked, "it is asked again", 1)


@pytest.mark.parametrize("answers, status, code", [
    ({"/v1/models": [200, '{"b":1,"a":[1.50,"\\u00e9"]}']}, 200, '{"a":[1.5,"é"],"b":1}'),
    ({"/v1/models": [200, "{}"], "/models": [200, "no json"]}, 500, "bad_engine_reply"),
    ({"/v1/models": [200, "{}"], "/models": [500, "{}"]}, 503, "engine_unavailable"),
], ids=["v1", "no-json", "error"])
def test_models_of_odd_engines(bench, answers, status, code):
    sitter = bench.sitter(**engine(bench, answers)).wait_state("ready")
    reply = sitter.ask("GET", "/models")
    assert reply.status == status
    if status == 200:
        assert reply.body.decode() == code and reply["content-type"] == "application/json"
    else:
        assert reply.error()["code"] == code


def test_an_engine_that_is_silent_about_its_models(bench):
    """Five seconds, then 503; and so many may wait for that, not more."""
    sitter = bench.sitter(**engine(bench, {"/up": [200, ""], "/models": [0, ""]}, service={"health_path": "/up"})).wait_state("ready")
    waiting = [raw.Connection(sitter.address, seconds=30) for _ in range(70)]
    for c in waiting:
        c.request("GET", "/models")
    assert sitter.state() == "ready"
    codes = []
    for c in waiting:
        reply = c.reply("GET")
        assert reply.status == 503
        codes.append(reply.error()["code"])
        c.close()
    assert (codes.count("engine_unavailable"), codes.count("overloaded")) == (64, 6)


# ---- the end ----


@pytest.mark.smoke
@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda s: s.name)
def test_every_signal_unregisters_and_leaves_nothing(bench, signo):
    registry = bench.registry()
    sitter = bench.sitter(models=["m1"], mock_args=["--fork-helper", "--fork-stray"], name="svc", registry=registry)
    until(lambda: len(registry.names()) == 2, "registered")
    everybody = until(lambda: family(sitter, 3), "engine, helper, stray")
    watch = Stopwatch()
    sitter.signal(signo)
    assert sitter.wait_exit() == 0 and watch.seconds() < 5 * SLOW
    assert not any(alive(p) for p in everybody)
    until(lambda: registry.names() == [], "the registry knows of the end")


def test_a_deaf_engine_is_killed_after_its_grace(bench):
    sitter = bench.sitter(models=["m1"], mock_args=["--ignore-sigterm"], config={"babysitter": {"stop_grace": 4}}).wait_state("ready")
    pid = sitter.child()
    watch = Stopwatch()
    sitter.signal(signal.SIGTERM)
    wait_health(sitter, 503, "stopping")
    assert sitter.wait_exit() == 0 and 4 <= watch.seconds() < 4 + 3 * SLOW and not alive(pid)


def test_a_frozen_engine_hears_that_it_is_to_end(bench):
    sitter = bench.sitter(models=["m1"], config={"babysitter": {"stop_grace": 600}}).wait_state("ready")
    pid = sitter.child()
    os.kill(pid, signal.SIGSTOP)
    sitter.signal(signal.SIGTERM)
    assert sitter.wait_exit() == 0 and not alive(pid)


def test_a_second_signal_kills(bench):
    sitter = bench.sitter(models=["m1"], mock_args=["--ignore-sigterm"], config={"babysitter": {"stop_grace": 600}}).wait_state("ready")
    pid = sitter.child()
    sitter.signal(signal.SIGTERM)
    until(lambda: health(sitter)[1]["status"] == "stopping", "it says that it stops")
    sitter.signal(signal.SIGINT)
    assert sitter.wait_exit(5) == 0 and not alive(pid)


def test_nothing_is_started_after_a_signal(bench):
    hole = BlackHole()  # a DELETE that takes its whole second
    sitter = bench.sitter(models=["m1"], registry=f"http://127.0.0.1:{hole.port}", config={"babysitter": QUICK}).wait_state("ready")
    pid = sitter.child()
    sitter.signal(signal.SIGTERM)
    os.kill(pid, signal.SIGKILL)
    assert sitter.wait_exit() == 0 and launches(sitter) == 1
    hole.close()


def test_the_engine_dies_with_a_killed_babysitter(bench):
    sitter = bench.sitter(models=["m1"]).wait_state("ready")
    pid = sitter.child()
    sitter.kill()
    until(lambda: not alive(pid), "the engine died with it")


@pytest.mark.fault
def test_the_next_start_ends_what_a_killed_one_left(bench):
    port = free_pair()
    sitter = bench.sitter(models=["m1"], mock_args=["--ignore-sigterm", "--fork-stray"], engine_port=port).wait_state("ready")
    left = until(lambda: family(sitter, 2), "engine and stray")
    sitter.kill()
    assert all(alive(p) for p in left), "they do not hear TERM"
    again = bench.sitter(models=["m1"], engine_port=port)
    again.wait_state("ready", 20)
    assert not any(alive(p) for p in left) and again.get("/info")["restart_count"] == 0


def test_a_group_is_gone_before_the_next_launch(bench):
    """A helper that ignores TERM and would hold the engine's port or memory."""
    script = f"trap '' TERM; {PROGRAM} mock --name x --port 0 --models a --ignore-sigterm & echo helper $! ; exec sleep 600"
    sitter = bench.sitter(**shell(script, babysitter=QUICK))
    helper = until(lambda: [w for line in sitter.log().splitlines() if "stdout] helper " in line for w in line.split()[-1:]], "a helper")[0]
    os.kill(sitter.child(), signal.SIGKILL)
    until(lambda: launches(sitter) == 2, "started again")
    assert not alive(int(helper))


def test_whoever_cannot_listen_starts_nothing(bench):
    port = free_pair()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen(1)
        mark = bench.path("started")
        done = subprocess.run([PROGRAM, "babysitter", "--port", str(port), "--command", f"touch {mark}"],
                              capture_output=True, text=True, timeout=30 * SLOW, check=False)
    assert done.returncode == 1 and done.stderr.startswith(f"Error: cannot listen on 127.0.0.1:{port + 1}"), done
    assert not os.path.exists(mark)


def test_a_second_babysitter_on_the_port_harms_nobody(bench):
    first = bench.sitter(models=["m1"]).wait_state("ready")
    pid = first.child()
    done = subprocess.run([PROGRAM, "babysitter", "--port", str(first.engine_port), "--command", "sleep 600"], capture_output=True,
                          text=True, timeout=30 * SLOW, check=False)
    assert done.returncode == 1 and "cannot listen" in done.stderr
    assert first.state() == "ready" and first.child() == pid


def test_two_babysitters_of_one_name_leave_each_other_alone(bench):
    """What one sweeps is what stood on its own port."""
    first = bench.sitter(models=["m1"], name="svc").wait_state("ready")
    pid = first.child()
    second = bench.sitter(models=["m1"], name="svc").wait_state("ready")
    second.signal(signal.SIGTERM)
    assert second.wait_exit() == 0
    assert first.state() == "ready" and first.child() == pid


def test_a_signal_right_after_the_start(bench):
    for _ in range(5):
        sitter = bench.sitter(models=["m1"])
        sitter.signal(signal.SIGTERM)
        assert sitter.wait_exit() == 0 and launches(sitter) <= 1
