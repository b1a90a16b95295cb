# SPDX-License-Identifier: Apache-2.0
"""`inferd registry` as its peers and its operator meet it: probes, heartbeats and time, clients that
behave like the original's, flags, token, exposure, the end."""

import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import net, raw
from harness.clock import Clock
from harness.fabric import JSON, BlackHole, Registry, record
from harness.tree import PROGRAM
from harness.svc_doubles import OldRegistrant, router_sync
from harness.wait import SLOW, Stopwatch, never, until


class Health:
    """A babysitter's face: answers GET as told and counts who asked for what. It answers while `free` is set."""

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", host="127.0.0.1", port=0):
        self.answer, self.asked, self.open, self.free = answer, [], [], threading.Event()
        self.free.set()
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.socket.listen(512)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                s, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(s,), daemon=True).start()

    def _answer(self, s):
        head = b""
        while b"\r\n\r\n" not in head:
            data = s.recv(65536)
            if not data:
                return
            head += data
        self.asked.append(head.decode())
        self.free.wait(60 * SLOW)
        s.sendall(self.answer)
        self.open.append(s)

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


@pytest.fixture(name="health")
def fixture_health():
    made = []

    def make(*args, **kw):
        made.append(Health(*args, **kw))
        return made[-1]

    yield make
    for h in made:
        h.close()


@pytest.fixture(name="hole")
def fixture_hole():
    hole = BlackHole()
    yield hole
    hole.close()


API = {"type": "openai-api"}


# ---- probes ----


@pytest.mark.smoke
@pytest.mark.parametrize("answer, state", [
    (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "healthy"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", "healthy"), (b"HTTP/1.0 299 Fine\r\n\r\nunti", "healthy"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "healthy"),  # the body never ends
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "healthy"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "healthy"),
    (b"HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n", "unhealthy"),
    (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", "unhealthy"),
    (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "unhealthy"), (b"SSH-2.0-OpenSSH\r\n", "unhealthy"),
])
def test_what_a_probe_finds(bench, health, answer, state):
    """Any 2xx is healthy, decided by the head; redirects are not followed."""
    h = health(answer)
    r = bench.registry(args=["--health-timeout", "20"])
    r.register(port=h.port - 1, metadata=API, url="http://127.0.0.1:1")
    watch = Stopwatch()
    found = r.get("/services/svc/health")
    assert found["health_status"] == state and found["is_healthy"] is True
    assert watch.seconds() < 10, "nothing else was waited for"
    assert len(h.asked) == 1 and h.asked[0].startswith(f"GET /health HTTP/1.1\r\nhost: 127.0.0.1:{h.port}\r\naccept: */*\r\n")
    assert "user-agent" not in h.asked[0].lower()
    assert r.get("/services/svc")["health_status"] == state


def test_probe_urls(bench, health):
    """openai-api: host and port + 1; else <url>/health with its prefix; only http:// is probed."""
    h = health()
    r = bench.registry()
    url = f"http://127.0.0.1:{h.port}"
    for name, changes, target in (("api", {"metadata": API, "port": h.port - 1, "url": "http://127.0.0.1:1"}, "/health"),
                                  ("plain", {"url": url}, "/health"), ("prefix", {"url": f"{url}/a/b/"}, "/a/b/health"),
                                  ("other", {"url": url, "metadata": {"type": "babysitter"}}, "/health")):
        r.register(name, **changes)
        assert r.get(f"/services/{name}/health")["health_status"] == "healthy", name
        assert h.asked.pop().startswith(f"GET {target} HTTP/1.1\r\n")
    r.register("tls", url=f"https://127.0.0.1:{h.port}")
    assert r.get("/services/tls/health")["health_status"] == "unhealthy" and h.asked == []


def test_ipv6_and_wildcard_hosts(bench, health):
    six = health(host="::1")
    r = bench.registry()
    for host in ("::1", "[::1]", "localhost"):
        r.register(host=host, port=six.port - 1, metadata=API)
        assert r.get("/services/svc/health")["health_status"] == "healthy", host
    assert f"host: [::1]:{six.port}\r\n" in six.asked[0]
    four = health()
    for host in ("0.0.0.0", "localhost", "LOCALHOST"):
        r.register(host=host, port=four.port - 1, metadata=API)
        assert r.get("/services/svc/health")["health_status"] == "healthy", host


def test_rounds(bench, health, hole):
    """The first one interval after the start; all at once; health_status only."""
    good, bad = health(), health(b"HTTP/1.1 500 Sad\r\n\r\n")
    r = bench.registry(args=["--health-interval", "3", "--health-timeout", "1"])
    r.register("good", url=f"http://127.0.0.1:{good.port}")
    r.register("bad", url=f"http://127.0.0.1:{bad.port}")
    r.register("hole", url=f"http://127.0.0.1:{hole.port}")
    before = {s["name"]: s for s in r.get("/services")["services"]}
    assert {s["health_status"] for s in before.values()} == {"unknown"}
    want = {"good": "healthy", "bad": "unhealthy", "hole": "unhealthy"}
    want = {name: {**s, "health_status": want[name]} for name, s in before.items()}
    until(lambda: {s["name"]: s for s in r.get("/services")["services"]} == want, "a round, and nothing else has changed")
    bad.answer = good.answer
    until(lambda: r.get("/services/bad")["health_status"] == "healthy", "it got well")


def test_black_holes_block_nothing(bench, hole):
    """100 of them: every endpoint answers within 100 ms, a round takes at most two timeouts."""
    r = bench.registry(args=["--health-interval", "1", "--health-timeout", "3"])
    for i in range(100):
        r.register(f"hole-{i}", url=f"http://127.0.0.1:{hole.port}")
    running = lambda: "inferd_registry_probes_running 64" in r.ask("GET", "/metrics").body.decode()
    until(running, "a round under way", 5)
    watch = Stopwatch()
    took = []
    while watch.seconds() < 1 or len(took) < 40:
        for target in ("/health", "/services", "/services/hole-1", "/stats"):
            one = Stopwatch()
            r.get(target)
            took.append(one.seconds())
    assert sorted(took)[-4] < 0.1 * SLOW, took  # the machine may hold up some of them, but not all
    probed = lambda: all(s["health_status"] == "unhealthy" for s in r.get("/services")["services"])
    until(probed, "the round's end", 6 + 1)
    text = r.ask("GET", "/metrics").body.decode()
    took = float(text.partition("inferd_registry_probe_round_seconds_sum ")[2].split()[0])
    rounds = int(text.partition("inferd_registry_probe_round_seconds_count ")[2].split()[0])
    assert rounds == 0 or took / rounds < 3 * 3, "two timeouts, not three"


def test_on_demand_probes_are_shared(bench, health):
    """Concurrent requests for one name share one probe; nothing else waits for it; success is a heartbeat."""
    h = health()
    h.free.clear()
    r = bench.registry(args=["--health-timeout", "60"])
    r.register(url=f"http://127.0.0.1:{h.port}")
    waiting = lambda: r.metric("inferd_heads_total") - r.metric("inferd_registry_requests_total")
    nobody = waiting()
    clients = [raw.Connection(r.address) for _ in range(20)]
    for c in clients:
        c.request("GET", "/services/svc/health")
    until(lambda: waiting() == nobody + 20, "all of them wait")
    assert r.get("/services/svc")["health_status"] == "unknown" and r.metric("inferd_registry_probes_running") == 1
    h.free.set()
    assert {c.reply("GET").json()["health_status"] for c in clients} == {"healthy"}
    assert r.metric("inferd_registry_probes_total") == len(h.asked) == 1


def test_a_late_result_is_dropped(bench, health):
    """The record was replaced or deleted meanwhile."""
    h = health()
    r = bench.registry(args=["--health-timeout", "60"])
    r.register(url=f"http://127.0.0.1:{h.port}")

    def probed_while(change):
        """What was answered to one who asked before."""
        h.free.clear()
        asked = len(h.asked)
        with raw.Connection(r.address) as c:
            c.request("GET", "/services/svc/health")
            until(lambda: len(h.asked) > asked, "the probe")
            change()
            h.free.set()
            return c.reply("GET")

    replaced = probed_while(lambda: r.register(port=7, url=f"http://127.0.0.1:{h.port}"))
    assert replaced.json()["health_status"] == "unknown"
    assert probed_while(lambda: r.ask("DELETE", "/services/svc")).status == 404
    assert r.metric("inferd_registry_probes_dropped_total") == 2 and r.names() == []


def test_a_client_that_leaves_its_probe(bench, hole):
    r = bench.registry(args=["--health-timeout", "1"])
    r.register(url=f"http://127.0.0.1:{hole.port}")
    for _ in range(10):
        with raw.Connection(r.address) as c:
            c.request("GET", "/services/svc/health")
    assert r.get("/services/svc/health")["health_status"] == "unhealthy"


# ---- who may be registered ----


@pytest.mark.parametrize("changes, param", [
    ({"host": "10.0.0.1"}, "host"), ({"url": "http://169.254.169.254/latest"}, "url"), ({"url": "http://0x7f.1:80"}, "url"),
    ({"host": "2130706433"}, "host"), ({"url": "file:///etc/passwd"}, "url"), ({"url": "http://a@127.0.0.1"}, "url"),
    ({"url": "http://127.0.0.1#@10.0.0.1"}, "url"), ({"host": "::ffff:10.0.0.1"}, "host"), ({"url": "gopher://127.0.0.1"}, "url"),
    ({"host": "127.0.0.1%00"}, "host"), ({"host": "no-such-host.invalid"}, "host"),
])
def test_hosts_refused(bench, changes, param):
    """Loopback by default, for host and url. Every spelling: test/unit/hosts_test.c."""
    r = bench.registry()
    error = r.ask("POST", "/services", record(**changes), seconds=20).error()
    assert error["code"] == "host_not_allowed" and error["param"] == param
    assert r.names() == []


def test_hosts_allowed(bench):
    r = bench.registry(args=["--allow-host", "10.0.0.0/8", "--allow-host=gpu-1.lan", "--allow-host", "2001:db8::1"])
    for host in ("10.1.2.3", "gpu-1.lan", "GPU-1.LAN.", "2001:db8::1"):
        in_url = f"[{host}]" if ":" in host else host
        r.register(host=host, url=f"http://{in_url}:80")
    for host in ("127.0.0.1", "11.0.0.1", "gpu-2.lan.invalid", "2001:db8::2"):
        assert r.ask("POST", "/services", record(host=host, url="http://10.0.0.1"), seconds=20).status == 403, host
    anything = bench.registry(alias=True)
    anything.register(host="169.254.169.254", url="whatever this is")


def test_ports_refused(bench):
    """A registry does not register itself, nor what is denied by number, whether as port, as its babysitter's or in url."""
    r = bench.registry(args=["--deny-port", "6379", "--deny-port=22"])
    own = int(r.address.rpartition(":")[2])
    openai = {"type": "openai-api"}
    refused = [({"port": own}, "port"), ({"host": "0.0.0.0", "port": own}, "port"), ({"host": "localhost", "port": own}, "port"),
               ({"host": "::ffff:127.0.0.1", "port": own}, "port"), ({"port": own - 1, "metadata": openai}, "port"),
               ({"url": f"http://localhost:{own}/x"}, "url"), ({"url": f"http://127.0.0.1:{own}"}, "url"),
               ({"port": 6379}, "port"), ({"port": 21, "metadata": openai}, "port"), ({"url": "http://127.0.0.1:22"}, "url")]
    for changes, param in refused:
        error = r.ask("POST", "/services", record(**changes)).error()
        assert (error["code"], error["param"]) == ("host_not_allowed", param), changes
    r.register()
    for changes in ({"port": own}, {"port": 6379}, {"url": f"http://127.0.0.1:{own}"}, {"port": 21, "metadata": openai}):
        assert r.ask("PUT", "/services/svc", changes).status == 403, changes
    assert r.get("/services/svc")["port"] == 6001
    assert r.ask("PUT", "/services/svc", {"port": 6002}).status == 200
    anything = bench.registry(alias=True)
    anything.register(port=int(anything.address.rpartition(":")[2]))


# ---- peers that behave like the original's ----


@pytest.mark.smoke
def test_the_originals_peers(bench):
    """Heartbeats without length or type, the literal request line of the router, compact JSON, 201 on repeats."""
    r = bench.registry(alias=True)
    sitters = [OldRegistrant(r.address, f"svc-{i}", host="0.0.0.0", metadata={"type": "openai-api", "models": ["m"]}) for i in range(3)]
    for s in sitters:
        s.register()
        s.register()
        assert s.beat()
    found = router_sync(r.address)
    assert sorted(found) == ["svc-0", "svc-1", "svc-2"] and found["svc-0"]["metadata"]["models"] == ["m"]
    assert r.ask("GET", "/services").body.count(b'"name":"svc-') == 3
    r.ask("POST", "/services/svc-1/heartbeat", {"status": "stopped"})
    assert sorted(router_sync(r.address)) == sorted(router_sync(r.address, "1.0")) == ["svc-0", "svc-2"]
    odd = {"type": "openai-api", "models": ["m"], "created": 1795208933.25, "load": 0.5, "x": None}
    OldRegistrant(r.address, "spaced", spaced=True, metadata=odd, region="lab", last_heartbeat=1795208933.0).register()
    assert router_sync(r.address)["spaced"]["metadata"] == odd
    assert r.ask("POST", "/services/spaced/heartbeat", body=b"", headers={"content-type": "application/octet-stream"}).status == 200
    assert r.ask("DELETE", "/services/spaced").status == 200


def test_a_restart_is_healed_by_registering_again(bench):
    """Within one heartbeat: 404 makes every babysitter register."""
    port = net.free_port()
    r = bench.registry(port=port)
    sitters = [OldRegistrant(r.address, f"svc-{i}") for i in range(20)]
    for s in sitters:
        s.register()
    r.kill()
    assert not any(s.beat() for s in sitters)
    again = bench.registry(port=port)
    assert again.names() == []
    watch = Stopwatch()
    for s in sitters:
        assert s.beat()
    assert len(again.names()) == 20 and all(s.registrations == 2 for s in sitters)
    assert watch.seconds() < 1 * SLOW


def test_the_clock_steps(bench):
    """An hour forward, an hour back, ten years: nothing expires, nothing lives longer."""
    os.makedirs(bench.path("clock"))
    clock = Clock(bench.path("clock"))
    r = bench.registry(env=clock.env(), args=["--cleanup-interval", "1"])
    r.register()
    first = r.get("/services/svc")["last_heartbeat"]
    for step in (3600, -3600, 315_576_000, 0):
        clock.turn(step)
        time.sleep(1.2)  # a sweep passes
        assert r.names("?healthy=true") == ["svc"], step
        assert r.ask("POST", "/services/svc/heartbeat").status == 200
        moved = r.get("/services/svc")["last_heartbeat"] - first
        assert -1 <= moved - step <= 60 * SLOW, (step, moved)
        assert r.names("?healthy=true") == ["svc"], step


def test_stopped_for_a_while(bench):
    """A registry that was stopped (suspend, a debugger) does not hold its deafness against its services. The
    length that matters, 120 s, is in test/unit/records_test.c; here it must only go on as if nothing was."""
    r = bench.registry(args=["--cleanup-interval", "1"])
    r.register()
    r.signal(signal.SIGSTOP)
    time.sleep(6)
    r.signal(signal.SIGCONT)
    assert r.names("?healthy=true") == ["svc"]


# ---- flags, token, exposure, the end ----


def run(*args, env=None, program=None):
    return subprocess.run([program or PROGRAM, *args], capture_output=True, text=True, timeout=20 * SLOW, check=False,
                          env={**{k: v for k, v in os.environ.items() if not k.startswith("INFERD")}, **(env or {})})


@pytest.mark.parametrize("args", [
    ("--nope",), ("--port",), ("--port", "x"), ("--port", "65536"), ("--port", "-1"), ("--health-interval", "0"),
    ("--health-timeout", "0"), ("--cleanup-interval", "0"), ("stray",), ("--port", "1", "--port", "2"), ("-p", "1"),
    ("--allow-host", "1.2.3"), ("--allow-host", "10.0.0.0/33"), ("--deny-port", "0"), ("--deny-port", "ssh"), ("--listen", "localhost"), ("--max-services", "0"),
    ("--listen", "--insecure"),
])
def test_wrong_flags(args):
    done = run("registry", *args)
    assert done.returncode == 2 and done.stdout == "" and "inferd registry" in done.stderr


def test_help_and_version():
    for flag in ("--help", "-h"):
        done = run("registry", flag)
        assert done.returncode == 0 and all(f"--{f}" in done.stdout for f in (
            "port", "health-interval", "health-timeout", "cleanup-interval", "allow-host", "deny-port", "registry-token-file", "listen",
            "insecure", "max-services", "max-connections"))
    assert run("registry", "--version").stdout.startswith("inferd ")


def test_the_launch_scripts_flags(bench):
    """The original's flags, both spellings, under the original's name."""
    port = net.free_port()
    r = bench.register(Registry.__new__(Registry), bench.new_folder("launch"), port=None, alias=True, wait=False,
                       args=["--port", port, "--health-interval", "30", "--health-timeout=5", "--cleanup-interval", "60"])
    r.address = f"127.0.0.1:{port}"
    until(lambda: r.get("/health"), "it listens")


def test_a_taken_port(bench):
    r = bench.registry()
    done = run("registry", "--port", r.address.rpartition(":")[2])
    assert done.returncode == 1 and done.stderr.startswith("Error: cannot listen on 127.0.0.1:")


def test_variables_fill_flags(bench):
    """Under `inferd registry`, not under the original's name."""
    token = bench.path("token")
    with open(token, "w", encoding="utf-8") as f:
        f.write("t\n")
    os.chmod(token, 0o600)
    env = {"INFERD_MAX_SERVICES": "1", "INFERD_ALLOW_HOST": "10.0.0.1, 127.0.0.1"}
    r = bench.registry(env=env)
    r.register("a", host="10.0.0.1")
    assert r.ask("POST", "/services", record("b")).status == 503
    given = bench.registry(env=env, args=["--max-services", "2", "--allow-host", "127.0.0.1"])
    given.register("a")
    given.register("b")
    assert given.ask("POST", "/services", record("a", host="10.0.0.1")).status == 403
    alias = bench.registry(env={**env, "INFERD_REGISTRY_TOKEN_FILE": token}, alias=True)
    assert alias.ask("POST", "/services", record("a")).status == 401
    for name in ("a", "b"):
        assert alias.ask("POST", "/services", record(name, host="1.1.1.1"), headers={"authorization": "Bearer t"}).status == 201
    wrong = run("registry", env={"INFERD_HEALTH_INTERVAL": "often"})
    assert wrong.returncode == 2 and "INFERD_HEALTH_INTERVAL" in wrong.stderr


def test_the_token(bench):
    """Demanded for every write; reads stay open; 401 says how."""
    path = bench.path("token")
    with open(path, "w", encoding="utf-8") as f:
        f.write("s3cret token\r\nsecond line\n")
    os.chmod(path, 0o600)
    r = bench.registry(args=["--registry-token-file", path])
    good = {"authorization": "bearer s3cret token"}
    assert r.ask("POST", "/services", record(), headers=good).status == 201
    for value in (None, "Bearer", "Bearer x", "Bearer s3cret", "Bearer s3cret tokenx", "Basic s3cret token", "s3cret token"):
        headers = {"authorization": value} if value else {}
        for method, target, body in (("POST", "/services", record()), ("PUT", "/services/svc", {}), ("DELETE", "/services/svc", None),
                                     ("POST", "/services/svc/heartbeat", None), ("POST", "/services/nope/heartbeat", None)):
            reply = r.ask(method, target, body, headers=headers)
            assert reply.status == 401 and reply["www-authenticate"] == "Bearer", (value, method, target)
            assert reply.error()["code"] == "invalid_registry_token"
    for target in ("/services", "/services/svc", "/services/svc/health", "/health", "/stats", "/metrics"):
        assert r.ask("GET", target).status == 200
    assert r.ask("POST", "/services/svc/heartbeat", headers=good).status == 200
    assert r.ask("DELETE", "/services/svc", headers=good).status == 200
    assert "s3cret" not in r.log() and "s3cret" not in r.stderr().decode()


@pytest.mark.parametrize("content, mode, why", [
    (b"", 0o600, "no token"), (b"\nsecond\n", 0o600, "no token"), (b"good\n", 0o644, "read by others"),
    (b"good\n", 0o640, "read by others"), (b"a\x00b\n", 0o600, "no token"), (None, 0, "No such file"),
])
def test_tokens_that_are_none(tmp_path, content, mode, why):
    path = f"{tmp_path}/token"
    if content is not None:
        with open(path, "wb") as f:
            f.write(content)
        os.chmod(path, mode)
    done = run("registry", "--port", "0", "--registry-token-file", path)
    assert done.returncode == 1 and done.stderr.startswith("Error: ") and why in done.stderr


def test_exposure(bench):
    """Beyond loopback without a token: refused, unless --insecure; exactly one WARN where it is allowed."""
    done = run("registry", "--port", "0", "--listen", "0.0.0.0")
    assert done.returncode == 1 and done.stderr.startswith("Error: ") and "--insecure" in done.stderr
    for kw in ({"args": ["--listen", "0.0.0.0", "--insecure"]}, {"alias": True}):
        r = bench.registry(**kw)
        until(lambda r=r: "listening" in r.log(), "the log")
        assert r.log().count("WARN") == 1 and "exposed" in r.log() and "listening address=0.0.0.0:" in r.log()
    path = bench.path("token")
    with open(path, "w", encoding="utf-8") as f:
        f.write("t\n")
    os.chmod(path, 0o600)
    for kw in ({"args": ["--listen", "0.0.0.0", "--registry-token-file", path]}, {"alias": True, "args": ["--listen", "127.0.0.1"]},
               {}):
        r = bench.registry(**kw)
        until(lambda r=r: "listening" in r.log(), "the log")
        assert "WARN" not in r.log()


def test_levels_of_the_log(bench):
    for env, said in (({"INFERD_LOG": "warn"}, False), ({"RUST_LOG": "infini_registry=warn"}, False), ({"RUST_LOG": "router=warn"}, True),
                      ({"INFERD_LOG": "info", "RUST_LOG": "off"}, True), ({"RUST_LOG": "info,registry=off"}, False)):
        r = bench.registry(env=env)
        r.register()
        if said:
            r.wait_log("registered")
        r.signal(signal.SIGTERM)
        r.wait_exit()
        assert ("registered" in r.log()) == said, env
    odd = bench.registry(env={"INFERD_LOG": "info,nonsense=loud"})
    until(lambda: odd.log().count("WARN") == 1, "a warning about it")


def test_proxy_variables_change_nothing(bench, health):
    h = health()
    proxy = health()
    env = {name: f"http://127.0.0.1:{proxy.port}" for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")}
    r = bench.registry(env=env)
    r.register(url=f"http://127.0.0.1:{h.port}")
    assert r.get("/services/svc/health")["health_status"] == "healthy"
    assert len(h.asked) == 1 and proxy.asked == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end(bench, hole, number):
    """Accepts no more, gives open requests at most 2 s, exits 0; a second signal exits at once."""
    r = bench.registry(args=["--health-timeout", "60"])
    r.register(url=f"http://127.0.0.1:{hole.port}")
    idle = raw.Connection(r.address)
    busy = raw.Connection(r.address)
    busy.request("GET", "/services/svc/health")
    until(lambda: "inferd_registry_probes_running 1\n" in r.ask("GET", "/metrics").body.decode(), "the probe")
    watch = Stopwatch()
    r.signal(number)
    assert idle.end() in ("fin", "reset")
    refused = lambda: not raw.connects(r.address)
    until(refused, "nothing is accepted")
    assert r.running() or watch.seconds() > 1.5
    assert r.wait_exit() == 0
    assert 1.5 < watch.seconds() < 2 + 2 * SLOW


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal(bench, hole, number):
    """It exits at once, whatever is open."""

    def end():
        """How long it took from the first signal on."""
        r = bench.registry(args=["--health-timeout", "60"])
        r.register(url=f"http://127.0.0.1:{hole.port}")
        with raw.Connection(r.address) as busy:
            busy.request("GET", "/services/svc/health")
            until(lambda: r.metric("inferd_registry_probes_running") == 1, "the probe")
            watch = Stopwatch()
            r.signal(number)
            until(lambda: not raw.connects(r.address), "it stops accepting")
            r.signal(number)
            assert r.wait_exit() == 0
            return watch.seconds()

    took = [end() for _ in range(3)]
    assert min(took) < 1.5, took  # 2 s are what the first signal alone gives; the machine may hold up some


def test_an_idle_registry_ends_at_once(bench):
    r = bench.registry()
    watch = Stopwatch()
    r.signal(signal.SIGTERM)
    assert r.wait_exit() == 0 and watch.seconds() < 1 * SLOW


def test_connections_at_their_limit_and_beyond(bench):
    r = bench.registry(args=["--max-connections", "5"])
    body = (b"POST /services HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n"
            b"expect: 100-continue\r\n\r\n")
    held = [raw.Connection(r.address) for _ in range(5)]
    for c in held:  # busy, so that nobody is closed for a new one
        c.send(body)
        assert c.head().status == 100
    refused = lambda: raw.Connection(r.address).reply("GET").status == 503
    until(refused, "the sixth is refused")
    for c in held:
        c.close()
    until(lambda: r.ask("GET", "/health").status == 200, "there is room again")


def test_slow_heads_and_bodies_are_cut(bench):
    """10 s for a head, 1 kB/s for a body after 5 s."""
    r = bench.registry()
    watch = Stopwatch()
    head, body = raw.Connection(r.address, 20), raw.Connection(r.address, 20)
    head.send(b"GET /health HTTP/1.1\r\nhost")
    body.send(b"POST /services HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n")
    assert head.reply("GET").status == 408 and 9 < watch.seconds() < 10 + 2 * SLOW
    assert body.reply().status == 408


def test_heads_at_their_limits(bench):
    r = bench.registry()
    line = len("GET /health? HTTP/1.1")
    assert r.ask("GET", "/health?" + "x" * (8192 - line)).status == 200
    assert r.ask("GET", "/health?" + "x" * (8192 - line + 1)).status == 414
    for count, status in ((100, 200), (101, 431)):
        with raw.Connection(r.address) as c:
            c.send(b"GET /health HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % i for i in range(count)) + b"\r\n")
            assert c.reply("GET").status == status
    for size, status in ((32768, 200), (32769, 431)):
        head = b"GET /health HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (i, b"y" * 6000) for i in range(5))
        head += b"z: " + b"y" * (size - len(head) - 7) + b"\r\n\r\n"
        with raw.Connection(r.address) as c:
            c.send(head)
            assert len(head) == size and c.reply("GET").status == status


def test_readers_that_never_read(bench):
    """Many slow readers of a long list, which changes meanwhile, hold no more than is allowed to them."""
    r = bench.registry()
    metadata = {"k": "x" * 200000}
    for i in range(60):
        r.register(f"svc-{i:03}", metadata=metadata)
    whole = len(r.ask("GET", "/services").body)
    slow = []
    for i in range(60):
        c = raw.Connection(r.address, receive_buffer=4096)
        c.request("GET", "/services")
        slow.append(c)
        r.register(f"svc-{i:03}", metadata=metadata, port=i)
    held = lambda: int(r.ask("GET", "/metrics").body.decode().partition("\ninferd_registry_held_list_bytes ")[2].split()[0])
    assert held() <= (256 << 20) + 2 * whole  # the last one is let in before the first are cut
    assert whole > 12e6 and "inferd_registry_cut_readers_total 0\n" not in r.ask("GET", "/metrics").body.decode()
    last = slow[-1].reply("GET")  # the newest reader gets all of what it began with
    assert last.whole and len(last.json()["services"]) == 60
    for c in slow:
        c.close()
    until(lambda: held() == 0, "all is let go")
