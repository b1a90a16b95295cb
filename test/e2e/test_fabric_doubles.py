# SPDX-License-Identifier: Apache-2.0
"""Router and babysitter among peers that behave like the original's (harness/svc_doubles.py). The registry among
them: test_registry_life.py."""

import pytest

from harness import raw
from harness.svc_doubles import OldEngine, OldRegistry, old_engine, router_sync
from harness.wait import SLOW, Stopwatch, never, until


@pytest.fixture(name="old")
def fixture_old(bench):
    made = []

    def make(**kw):
        made.append(OldRegistry(**kw))
        return made[-1]

    yield make
    for r in made:
        r.close()


# ---- the router ----


@pytest.mark.smoke
def test_a_registry_of_http_1_0(bench, old):
    """The literal request; what is no engine is not adopted; weights are seen; what is withdrawn raises no count."""
    registry = old()
    engines = [OldEngine(bench) for _ in range(3)]
    registry.element("a-server", engines[0].port, weight=2)
    registry.element("b-server", engines[1].port, metadata={"weight": 2})
    third = registry.element("c-server", engines[2].port)
    registry.element("a", engines[0].sitter.port, metadata={"type": "babysitter"})
    registry.element("old", 1, metadata=None)
    router = bench.router(registry=registry, args=["--service-removal-grace-period", "1"])
    router.wait_healthy("a-server", "b-server", "c-server")
    assert {n: s["weight"] for n, s in router.services().items()} == {"a-server": 2, "b-server": 2, "c-server": 1}
    assert router.services()["a-server"]["babysitter_url"] == f"http://127.0.0.1:{engines[0].port + 1}"
    assert registry.lines()[0] == "GET /services?healthy=true HTTP/1.1"
    registry.services.remove(third)
    never(lambda: len(router.services()) > 3, "a withdrawn element raised the count", 0.5)
    router.wait_healthy("a-server", "b-server")
    assert set(registry.lines()) == {"GET /services?healthy=true HTTP/1.1"}


def test_a_registry_below_a_path(bench, old):
    registry = old(path="/services")
    registry.element("a-server", OldEngine(bench).port)
    router = bench.router(registry=registry.url + "/services/")
    router.wait_healthy("a-server")
    assert registry.lines()[0] == "GET /services/services?healthy=true HTTP/1.1"


@pytest.mark.parametrize("mode, healthy", [("close", True), ("endless", True), ("down", False), ("silent", False)])
def test_health_behind_an_engine(bench, old, mode, healthy):
    """A probe is decided by its status line and head: bodies without an end are not waited for."""
    registry = old()
    good, engine = OldEngine(bench), OldEngine(bench, mode=mode)
    registry.element("good", good.port)
    registry.element("a-server", engine.port)
    router = bench.router(registry=registry, args=["--health-timeout", "1"])
    router.wait_healthy(*(["a-server"] if healthy else []), "good")
    until(lambda: router.services()["a-server"]["probed"] == ("good" if healthy else "bad"), "it was probed")


def test_models_without_a_list(bench, old):
    """`models` but no `models_list`: the ids with what is missing filled in; one that has a list keeps its objects."""
    registry = old()
    registry.element("a-server", OldEngine(bench).port, ("model-a", "model-b"))
    whole = {"id": "model-a", "object": "model", "created": 7, "owned_by": "lab", "extra": [1.5]}
    registry.element("b-server", OldEngine(bench).port, ("model-a",), metadata={"models_list": [whole]})
    registry.services[0]["metadata"].pop("babysitter")
    router = bench.router(registry=registry)
    router.wait_healthy("a-server", "b-server")
    listed = router.get("/models")
    assert listed == router.get("/v1/models") and listed["object"] == "list"
    filled = {"object": "model", "created": 0, "owned_by": "inferd"}
    assert listed["data"] == [{"id": m, **filled} for m in ("model-a", "model-b")], "the first by name wins"
    assert router.get("/v1/models/model-a") == listed["data"][0]


@pytest.mark.parametrize("request_of", [
    ("POST", "/v1/chat/completions", b'{"messages":[]}'), ("POST", "/v1/chat/completions", b'{"model":'),
    ("POST", "/v1/chat/completions", b""), ("GET", "/nothing/here", None), ("POST", "/v1/test", b"[]"),
    ("DELETE", "/v1/files/x", None), ("GET", "/services/", None),
])
def test_odd_requests_have_an_end(bench, old, request_of):
    """200, 400, 502 or 503 (here the engine's 404, too), never a hang."""
    registry = old()
    registry.element("a-server", OldEngine(bench, script=lambda c: c.reply({"ok": True})).port)
    router = bench.router(registry=registry)
    router.wait_healthy("a-server")
    method, target, body = request_of
    watch = Stopwatch()
    reply = router.ask(method, target, body=body, headers={"content-type": "application/json"} if body else {})
    assert reply.status in (200, 400, 404, 502, 503) and watch.seconds() < 5 * SLOW, reply
    assert router.chat("model-a").status == 200
    router.wait_log("model: model-a")


def test_an_engine_of_http_1_0(bench, old):
    """A reply whose end is the connection's reaches the client whole, with a length."""
    registry = old()
    engine = OldEngine(bench, script=old_engine)
    registry.element("a-server", engine.port)
    router = bench.router(registry=registry)
    router.wait_healthy("a-server")
    for _ in range(3):
        reply = router.chat("model-a")
        assert reply.status == 200 and reply.whole and reply.json()["model"] == "model-a"
    assert len(engine.requests) == 3


@pytest.mark.parametrize("host, at", [("localhost", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1")])
def test_hosts_that_are_registered(bench, old, host, at):
    """As they are found in the wild; IPv6 in and out of brackets."""
    registry = old()
    engine = OldEngine(bench, host=at)
    in_url = f"[{host}]" if ":" in host else host
    registry.element("a-server", engine.port, host=host, url=f"http://{in_url}:{engine.port}")
    router = bench.router(registry=registry)
    router.wait_healthy("a-server")
    assert router.services()["a-server"]["url"] == f"http://{in_url}:{engine.port}"
    assert router.chat("model-a").status == 200


def test_elements_that_are_none(bench, old):
    """Each is left out alone, with a warning; what is missing and may be is filled in; unknown keys do no harm."""
    registry = old()
    engine = OldEngine(bench)
    for name, changes in (("no-host", {"host": None}), ("port-text", {"port": "80"}), ("port-float", {"port": 80.5}),
                          ("port-65535", {"port": 65535}), ("host-number", {"host": 7}), ("no-port", {"port": None})):
        registry.element(name, 80, **changes)
    registry.services += [7, None, [], "x", {}]
    bare = registry.element("bare", engine.port, timestamp=None, url=None, hostname=None, status=None, last_heartbeat=None,
                            health_status=None, is_healthy=None, more={"a": [1, 2.5]})
    assert "url" not in bare
    router = bench.router(registry=registry)
    router.wait_healthy("bare")
    assert list(router.services()) == ["bare"] and router.services()["bare"]["listed"] == "yes"
    assert router.services()["bare"]["url"] == f"http://127.0.0.1:{engine.port}"
    router.wait_log(" WARN ")


@pytest.mark.parametrize("wrong", ["500 Oops", "302 Found", "404 Not Found", b"", b"[", b"[]", b'{"services":7}', b'{"services":[{}]'])
def test_answers_that_change_nothing(bench, old, wrong):
    """A sync that fails leaves the table as it was."""
    registry = old()
    registry.element("a-server", OldEngine(bench).port)
    router = bench.router(registry=registry, args=["--service-removal-grace-period", "0"])
    router.wait_healthy("a-server")
    before = len(registry.heads)
    if isinstance(wrong, bytes):
        registry.services = wrong
    else:
        registry.wrong = wrong
    until(lambda: len(registry.heads) >= before + 3, "two syncs")
    assert router.services()["a-server"]["listed"] == "yes"
    assert router.chat("model-a").status == 200


def test_redirects_are_not_followed(bench, old):
    """Neither by a probe nor by a sync; a client gets an engine's own redirect as it is."""
    elsewhere = old()
    registry = old()
    aside = {"Location": elsewhere.url + "/v1/chat/completions"}
    engine = OldEngine(bench, script=lambda c: c.reply({}, 307, aside.items()))
    moved = OldEngine(bench, mode=elsewhere.url + "/services?healthy=true")
    registry.element("a-server", engine.port)
    registry.element("b-server", moved.port, ("model-b",))
    router = bench.router(registry=registry)
    until(lambda: router.services()["b-server"]["probed"] == "bad", "a redirect is no health")
    reply = router.chat("model-a")
    assert reply.status == 307 and reply["location"] == aside["Location"]
    registry.wrong = f"302 Found\r\nLocation: {elsewhere.url}/services?healthy=true"
    before = len(registry.heads)
    until(lambda: len(registry.heads) >= before + 2, "two syncs")
    assert elsewhere.heads == []


# ---- the babysitter ----


@pytest.mark.smoke
def test_a_babysitter_at_the_originals_registry(bench, old):
    """Both names with all that the original wants, as JSON; beats; 404 is answered by registering again; both go."""
    registry = old()
    sitter = bench.sitter(name="s", models=("m", "n"), registry=registry, config={"babysitter": {"heartbeat_interval": 1}})
    sitter.wait_state("ready")
    until(lambda: {"s", "s-server"} <= registry.known, "both are registered")
    own = next(p for p in registry.posted if p["name"] == "s")
    served = next(p for p in registry.posted if p["name"] == "s-server")
    p = sitter.engine_port
    assert (own["host"], own["hostname"], own["port"], own["url"], own["status"]) == (
        "localhost", "localhost", p + 1, f"http://localhost:{p + 1}", "running")
    assert own["metadata"] == {"babysitter": "enhanced", "type": "command"}
    assert (served["port"], served["url"], served["status"]) == (p, f"http://localhost:{p}", "running")
    assert {k: served["metadata"][k] for k in ("type", "parent_service", "babysitter", "models")} == {
        "type": "openai-api", "parent_service": "s", "babysitter": "enhanced", "models": ["m", "n"]}
    assert [m["id"] for m in served["metadata"]["models_list"]] == ["m", "n"]
    posts = [h.lower() for h in registry.heads if h.startswith("POST /services ")]
    assert all("content-type: application/json" in h for h in posts)
    until(lambda: {("s", b'{"status":"running"}'), ("s-server", b'{"status":"running"}')} <= set(registry.beaten), "both beat")
    registry.forget()
    until(lambda: {"s", "s-server"} <= registry.known, "both are registered again")
    sitter.signal(15)
    assert sitter.wait_exit() == 0
    until(lambda: set(registry.deleted) == {"s", "s-server"}, "both are deleted")


def test_the_originals_router_reads_what_a_babysitter_registers(bench):
    registry = bench.registry(alias=True)
    bench.sitter(name="s", models=("m",), registry=registry, config={"host": "0.0.0.0"}, alias=True).wait_state("ready")
    until(lambda: "s-server" in registry.names(), "it is registered")
    element = router_sync(registry.address)["s-server"]
    assert element["metadata"]["type"] == "openai-api" and element["metadata"]["models"] == ["m"]
    health = raw.get(f"127.0.0.1:{element['port'] + 1}", "/health")
    assert health.status == 200 and health.json()["infinilm_server_running"] is True
    assert raw.chat(f"127.0.0.1:{element['port']}", "m").status == 200


@pytest.mark.parametrize("name", ["a b", "a/b?c#d", "ünï", "100%"])
def test_names_that_need_escaping(bench, name):
    """In the paths of heartbeats and of the end, and back through the registry into the router's table."""
    registry = bench.registry()
    router = bench.router(registry=registry)
    sitter = bench.sitter(name="s", models=("m",), registry=registry, args=["--name", name, "--heartbeat-interval", "1"])
    router.wait_healthy(f"{name}-server")
    assert router.who("m") == "s"
    beats = registry.metric("inferd_registry_heartbeats_total")
    until(lambda: registry.metric("inferd_registry_heartbeats_total") >= beats + 4, "both names beat")
    assert registry.metric("inferd_registry_registrations_total") == 2, "nobody was told that it is not known"
    sitter.signal(15)
    assert sitter.wait_exit() == 0
    until(lambda: registry.names() == [], "both are deleted")
