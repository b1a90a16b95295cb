# SPDX-License-Identifier: Apache-2.0
"""The fabric on several machines (harness/netns.py): what is there when one of them dies, when two of them lose
sight of each other, when the registry is away, when a clock is set. What a client may expect of each is the
paragraph behind the table of docs/several-machines.md; intervals are short here, so that it takes seconds."""

import os
import re
import shlex
import signal
import threading
import time

import pytest

from harness import raw
from harness.clock import Clock
from harness.netns import PREFIX
from harness.tree import PROGRAM
from harness.wait import SLOW, Stopwatch, until

CONNECT_S = 5  # a connect to a silent host is given up after it, and a request that it does not acknowledge
IN_USE_S = 9  # and one that it had acknowledged when it died


class Fabric:
    """Registry and router on host `one`, engines on the others."""

    def __init__(self, bench, *hosts, env=None):
        self.bench, self.env = bench, env
        self.lan = bench.lan("one", *hosts)
        self.token = bench.path("token")
        with open(self.token, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write("a-token-of-this-test\n")
        self.safe = ["--registry-token-file", self.token]

    def registry(self, port=0):
        with self.lan.one:
            args = ["--listen", self.lan.one.address, "--allow-host", f"{PREFIX}.0/24", *self.safe]
            return self.bench.registry(port=port, args=args, env=self.env)

    def router(self, registry, *args, host=None):
        """Its probes wait for the usual 5 s: an engine that is only slow for a moment is not taken for dead."""
        host = host or self.lan.one
        with host:
            return self.bench.router(registry=registry, args=["--listen", host.address, *self.safe, *args], env=self.env)

    def sitter(self, host, name, registry, models=("tiny",), engine_port=None, mock_args=(), **babysitter):
        with host:
            config = {"host": host.address, "babysitter": {"heartbeat_interval": 1, "restart_delay": 1, **babysitter}}
            s = self.bench.sitter(name=name, models=models, registry=registry, config=config, env=self.env, engine_port=engine_port,
                                  mock_args=["--listen", host.address, *mock_args], args=["--listen", host.address, *self.safe])
        return s.wait_state("ready")


class Clients:
    """Asks without a pause from one thread; keeps each answer's status and how long it took."""

    def __init__(self, router, model="tiny"):
        self.router, self.model, self.over = router, model, False
        self.statuses, self.took, self.engines = [], [], []
        self.thread = threading.Thread(target=self._run)  # starts where the test's thread is: at the switch
        self.thread.start()

    def _run(self):
        while not self.over:
            watch = Stopwatch()
            try:
                reply = self.router.chat(self.model, seconds=30)
                self.statuses.append(reply.status)
                text = reply.json()["choices"][0]["message"]["content"] if reply.status == 200 else "Hello from nobody"
                self.engines.append(text.split(" ")[2])
            except (OSError, AssertionError) as e:
                self.statuses.append(repr(e))
            self.took.append(watch.seconds())
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()

    def more(self, n=20, seconds=20.0):
        """Waits for n more answers."""
        want = len(self.statuses) + n
        until(lambda: len(self.statuses) >= want, f"{n} more answers", seconds)


def example():
    """The files and the commands of the page: [(kind, text)]."""
    with open(f"{os.path.dirname(__file__)}/../../docs/several-machines.md", encoding="utf-8") as f:
        text = f.read()
    text = text[text.index("## An example"):text.index("Then anywhere")]
    return re.findall(r"^```(toml|sh)\n(.*?)^```", text, re.M | re.S)


@pytest.mark.smoke
@pytest.mark.threads
def test_the_example_of_the_page(bench):
    """docs/several-machines.md as it stands there; only paths are of this test."""
    f = Fabric(bench, "two", "three", "client")
    files = iter(("tiny.toml", "inferd.toml"))
    for kind, text in example():
        text = text.replace("/etc/inferd/token", f.token).replace('"inferd', f'"{PROGRAM}')
        if kind == "toml":
            with open(bench.path(next(files)), "w", encoding="utf-8") as file:
                file.write(text)
            continue
        for line in re.findall("^inferd .*", text, re.M):
            words = [PROGRAM, *shlex.split(line)[1:]]
            host = {"registry": f.lan.one, "router": f.lan.one, "babysitter": f.lan.two, "up": f.lan.three}[words[1]]
            if words[1] == "up":
                words += ["--runtime-dir", bench.path("run"), "--state-dir", bench.path("state")]
            with host:
                bench.tree(words, words[1], cwd=bench.folder)
    with f.lan.client:
        router = f"{f.lan.one.address}:8080"
        until(lambda: [m["id"] for m in raw.get(router, "/v1/models").json()["data"]] == ["large", "small", "tiny"], "models", 25)
        said = {model: {raw.chat(router, model).json()["choices"][0]["message"]["content"].split(" ")[2] for _ in range(4)}
                for model in ("large", "small", "tiny")}
        assert said == {"large": {"tiny-3"}, "small": {"tiny"}, "tiny": {"tiny", "tiny-3"}}
        services = {s["name"]: s["healthy"] for s in raw.get(router, "/services").json()["services"]}
        assert services == {"tiny-server": True, "three-tiny": True}


@pytest.mark.fault
def test_a_host_dies(bench):
    """Its power fails under load: one attempt waits for one timeout of the connection and is made elsewhere, nobody sees an
    error; the breaker is open at once, the probe is bad within an interval and a timeout; it comes back by itself."""
    f = Fabric(bench, "two", "three")
    registry = f.registry()
    router = f.router(registry)
    a, b = f.sitter(f.lan.two, "a", registry), f.sitter(f.lan.three, "b", registry)
    router.wait_healthy("a-server", "b-server")
    with Clients(router) as clients:
        clients.more()
        watch = Stopwatch()
        f.lan.two.halt(a)
        until(lambda: not router.services()["a-server"]["healthy"], "the dead host is noticed", 10)
        noticed = watch.seconds()
        clients.more(20)
        until(lambda: router.services()["a-server"]["probed"] == "bad", "its probe is bad", 10)
        at = len(clients.took)
        clients.more(20)
    assert set(clients.statuses) == {200}, clients.statuses
    assert noticed < CONNECT_S + 3 * SLOW
    assert max(clients.took) < IN_USE_S + 2 * SLOW, "more than one timeout"
    assert max(clients.took[at:]) < 2 * SLOW, "later requests are not delayed"
    assert set(clients.engines[at:]) == {"b"}
    assert b.running() and registry.names("?healthy=true").count("a-server") == 1, "its last beat is fresh"
    f.lan.heal()
    a = f.sitter(f.lan.two, "a", registry)
    router.wait_healthy("a-server", "b-server", seconds=20)
    until(lambda: router.who() == "a", "it serves again", 10)


@pytest.mark.fault
def test_a_stream_from_a_host_that_dies(bench):
    """It ends by the idle limit, with an error event and no [DONE]."""
    f = Fabric(bench, "two")
    registry = f.registry()
    router = f.router(registry, "--stream-idle-timeout", "2")
    a = f.sitter(f.lan.two, "a", registry, mock_args=["--tokens-per-second", "2"])  # 13 s long
    router.wait_healthy("a-server")
    with raw.Connection(router.address, 30) as c:
        c.request("POST", "/v1/chat/completions", json_body={"model": "tiny", "stream": True, "messages": []})
        head = c.head()
        assert head.status == 200
        f.lan.two.halt(a)
        reply = c.body(head)
    assert not reply.whole and "[DONE]" not in reply.events()
    assert '"upstream_timeout"' in reply.events()[-1]


@pytest.mark.fault
def test_a_partition_between_router_and_engine(bench):
    """The registry still hears the babysitter: its good news do not clear what the router sees itself. Healed, the
    engine serves again within seconds, without anybody's help."""
    f = Fabric(bench, "two", "three", "four")
    registry = f.registry()
    router = f.router(registry, host=f.lan.four)
    f.sitter(f.lan.two, "a", registry)
    f.sitter(f.lan.three, "b", registry)
    router.wait_healthy("a-server", "b-server")
    with Clients(router) as clients:
        clients.more()
        f.lan.drop(f.lan.four, f.lan.two)
        until(lambda: not router.services()["a-server"]["healthy"], "the router notices", 10)
        clients.more(20)
        for _ in range(20):
            s = router.services()["a-server"]
            assert not s["healthy"] and s["listed"] == "yes", s
            time.sleep(0.1)
        assert "a-server" in registry.names("?healthy=true")
        f.lan.heal()
        until(lambda: router.services()["a-server"]["healthy"], "healed", 40)
        until(lambda: clients.engines[-1] == "a", "it serves again", 10)
    assert set(clients.statuses) == {200}, clients.statuses


@pytest.mark.fault
def test_a_partition_between_router_and_registry(bench):
    """The table stays as it was, and serves; what changed meanwhile is there with the first sync afterwards."""
    f = Fabric(bench, "two", "three")
    registry = f.registry()
    router = f.router(registry, "--service-removal-grace-period", "1", host=f.lan.three)
    f.sitter(f.lan.two, "a", registry)
    router.wait_healthy("a-server")
    with Clients(router) as clients:
        f.lan.drop(f.lan.one, f.lan.three)
        f.sitter(f.lan.two, "b", registry)
        clients.more(200)
        assert list(router.services()) == ["a-server"] and router.services()["a-server"]["listed"] == "yes"
        f.lan.heal()
        router.wait_healthy("a-server", "b-server", seconds=30)
    assert set(clients.statuses) == {200}, clients.statuses


@pytest.mark.fault
@pytest.mark.parametrize("how", ["killed", "silent"])
def test_the_registry_dies(bench, how):
    """Routers go on with what they know. The next registry on its address has all names again within a heartbeat and
    a second (silent: as soon as what hangs was given up, after 5 s at most), with the models as they are then. Its first
    lists are short, which the grace period is there for."""
    f = Fabric(bench, "two")
    registry = f.registry(port=8081)
    router = f.router(registry, "--service-removal-grace-period", "30", host=f.lan.two)
    f.sitter(f.lan.two, "a", registry)
    f.sitter(f.lan.two, "b", registry, ("small",))
    router.wait_healthy("a-server", "b-server")
    with Clients(router) as clients:
        if how == "killed":
            registry.kill()
        else:
            f.lan.one.halt(registry)
        clients.more(200)
        assert {n: (s["healthy"], s["listed"]) for n, s in router.services().items()} == {
            "a-server": (True, "yes"), "b-server": (True, "yes")}
        f.lan.heal()
        again = f.registry(port=8081)
        watch = Stopwatch()
        until(lambda: len(again.names()) == 4, "all names are there again", 40)
        took = watch.seconds()
        clients.more(20)
    assert how == "silent" or took < 2 * SLOW, took
    assert set(clients.statuses) == {200}, clients.statuses
    assert again.get("/services/b-server")["metadata"]["models"] == ["small"]
    assert router.who("small") == "b"


@pytest.mark.fault
def test_the_clock_is_set_by_an_hour(bench):
    """Forward and back, under all of them at once: nothing expires, nothing restarts, nobody is unhealthy."""
    os.makedirs(bench.path("clock"))
    clock = Clock(bench.path("clock"))
    f = Fabric(bench, "two", env=clock.env())
    registry = f.registry()
    router = f.router(registry, "--service-removal-grace-period", "1")
    a = f.sitter(f.lan.two, "a", registry)
    router.wait_healthy("a-server")
    child = a.child()
    with Clients(router) as clients:
        for step in (3600, -3600, 0):
            clock.turn(step)
            syncs = registry.metric("inferd_registry_requests_total")
            until(lambda: registry.metric("inferd_registry_requests_total") >= syncs + 8, "beats and syncs go on", 10)
            assert router.services()["a-server"]["healthy"], step
            assert registry.get("/services/a-server")["is_healthy"], step
            clients.more(5)
    assert set(clients.statuses) == {200} and a.child() == child and a.get("/info")["restart_count"] == 0


@pytest.mark.fault
def test_an_engine_dies_behind_its_babysitter(bench):
    """Within a second the registry knows; the router wastes one attempt at most, and no client sees it."""
    f = Fabric(bench, "two", "three")
    registry = f.registry()
    router = f.router(registry)
    a = f.sitter(f.lan.two, "a", registry, restart_delay=5)
    f.sitter(f.lan.three, "b", registry)
    router.wait_healthy("a-server", "b-server")
    with Clients(router) as clients:
        clients.more()
        errors = router.services()["a-server"]["error_count"]
        watch = Stopwatch()
        os.kill(a.child(), signal.SIGKILL)
        until(lambda: not registry.get("/services/a-server")["is_healthy"], "the registry knows", 2)
        assert watch.seconds() < 1 * SLOW
        assert registry.get("/services/a-server")["status"] == "restarting"
        assert raw.get(a.address, "/health").status == 503
        until(lambda: not router.services()["a-server"]["healthy"], "the router knows", 5)
        clients.more(20)
        assert router.services()["a-server"]["error_count"] > errors
        a.wait_state("ready", 20)
        until(lambda: clients.engines[-1] == "a", "it serves again", 20)
    assert set(clients.statuses) == {200}, clients.statuses


@pytest.mark.fault
def test_all_are_suspended(bench):
    """A machine that sleeps: after it woke up nobody is gone, nobody was restarted, and requests are served."""
    f = Fabric(bench, "two")
    registry = f.registry()
    router = f.router(registry, "--service-removal-grace-period", "1")
    a = f.sitter(f.lan.two, "a", registry)
    router.wait_healthy("a-server")
    everybody = [registry.pid, router.pid, a.pid, a.child()]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(6)
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    assert router.who() == "a"
    assert router.services()["a-server"]["listed"] == "yes" and registry.get("/services/a-server")["is_healthy"]
    assert a.get("/info")["restart_count"] == 0


@pytest.mark.fault
def test_a_host_reboots(bench):
    """Nobody noticed: pooled connections lead to a machine that does not know them. The next requests are served."""
    f = Fabric(bench, "two")
    registry = f.registry()
    a = f.sitter(f.lan.two, "a", registry)
    until(lambda: "a-server" in registry.names(), "it is registered")
    router = f.router(registry, "--health-interval", "60", "--registry-sync-interval", "60")
    until(lambda: router.services()["a-server"]["probed"] == "good", "no probe is under way")
    for _ in range(3):
        assert router.who() == "a"
    f.lan.two.halt(a)
    f.lan.heal()
    f.sitter(f.lan.two, "a", registry, engine_port=a.engine_port)
    until(lambda: registry.metric("inferd_registry_registrations_total") >= 4, "the network is there again")
    assert [router.chat().status for _ in range(5)] == [200] * 5


@pytest.mark.fault
def test_a_cable_that_loses_one_packet_in_a_hundred(bench):
    """Nobody sees it, and no engine is taken for dead."""
    f = Fabric(bench, "two")
    registry = f.registry()
    router = f.router(registry)
    f.sitter(f.lan.two, "a", registry)
    router.wait_healthy("a-server")
    cable = f.lan.lose(f.lan.two, 0.01)
    with Clients(router) as clients:
        until(lambda: len(clients.statuses) >= 300 and cable.lost >= 10, "some packets were lost", 60)
    assert set(clients.statuses) == {200}, clients.statuses
    assert router.services()["a-server"]["healthy"]
