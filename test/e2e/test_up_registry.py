# SPDX-License-Identifier: Apache-2.0
"""`inferd up` with [registry]: serving one, being in one, both; the records are true at every moment."""

import json
import os
import signal

import pytest

from harness import raw
from harness.fabric import BlackHole, free_pair, record
from harness.gateway import mock_unit
from harness.net import free_port
from harness.wait import SLOW, Stopwatch, until

TOKEN = "a-token-of-the-registry"


def config(units=(), registry=None, port=None, **more):
    """A node whose door is on `port` and that joins what `registry` says."""
    made = {"engine": list(units), "registry": registry or {}, **more}
    if port:
        made["listen"] = [{"address": f"127.0.0.1:{port}"}]
    return made


def node(bench, registry, units=(), port=None, more=None, **keys):
    """(gateway, port): `inferd up` in `registry` under the name n."""
    port = port or free_pair()
    url = registry if isinstance(registry, str) else registry.url
    return bench.up(config(units, {"url": url, "name": "n", **keys}, port, **(more or {}))), port


def statuses(registry):
    return {s["name"]: s["status"] for s in registry.get("/services")["services"]}


def token_file(bench):
    path = bench.path("token")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
        f.write(TOKEN + "\n")
    return path


def pid_of(up, unit):
    return up.unit(unit)["pid"]


# being in one


@pytest.mark.smoke
@pytest.mark.threads
def test_the_records(bench):
    """One for each engine, leading to the node's door, with models, class, weight and state."""
    r = bench.registry()
    m = bench.mock(name="far", models=("big",))
    units = [mock_unit("a", ("tiny", "small"), weight=3, cache_type="paged")]
    remotes = [{"name": "far", "url": m.url}]
    up, port = node(bench, r, units, more={"remote": remotes})
    until(lambda: statuses(r) == {"n-a": "running", "n-far": "running"}, "both are registered", 10 * SLOW)
    a = r.get("/services/n-a")
    want = {"host": "127.0.0.1", "hostname": "127.0.0.1", "port": port, "url": f"http://127.0.0.1:{port}", "weight": 3,
            "is_healthy": True}
    assert {k: a[k] for k in want} == want
    assert a["metadata"] == {"cache_type": "paged", "models": ["tiny", "small"], "parent_service": "n",
                             "models_list": [{"id": "tiny", "object": "model"}, {"id": "small", "object": "model"}],
                             "type": "openai-api", "weight": 3}
    far = r.get("/services/n-far")["metadata"]
    assert far["models"] == ["big"] and far["models_list"][0]["id"] == "big" and "cache_type" not in far
    until(lambda: up.metrics()["inferd_registrar_registered"] == 2, "the node has heard of it")
    known = {"names": 2, "registered": 2, "url": r.url}
    until(lambda: up.ctl_json("status")["registry"] == known, "and its master, too")
    assert f"2 of 2 registered at {r.url}" in up.ctl("status").stdout


def test_the_port_behind(bench):
    """What registries and routers ask: is anybody there who serves?"""
    r = bench.registry()
    up, port = node(bench, r, [mock_unit("a")])
    face = f"127.0.0.1:{port + 1}"
    until(lambda: raw.get(face, "/health").status == 200, "healthy", 10 * SLOW)
    health = raw.get(face, "/health").json()
    assert isinstance(health.pop("timestamp"), int)
    assert health == {"babysitter": "inferd", "infinilm_server_port": port, "infinilm_server_ready": True,
                      "infinilm_server_running": True, "service": "n", "status": "healthy"}
    assert [m["id"] for m in raw.get(face, "/models").json()["data"]] == ["tiny"]
    info = raw.get(face, "/info").json()
    assert (info["name"], info["port"], info["host"], info["url"]) == ("n", port + 1, "127.0.0.1", f"http://{face}")
    assert raw.exchange(face, "HEAD", "/health").status == 200
    refused = raw.exchange(face, "POST", "/health", b"x")
    assert refused.status == 405 and refused["allow"] == "GET, HEAD"
    assert raw.exchange(face, "POST", "/nope", b"x").status == 404
    assert raw.get(face, "/v1/models").status == 404
    until(lambda: r.get("/services/n-a/health")["health_status"] == "healthy", "the registry's probe", 5 * SLOW)
    up.ctl("stop", "a")
    until(lambda: raw.get(face, "/health").status == 503, "nobody serves")
    assert raw.get(face, "/health").json()["infinilm_server_ready"] is False


def test_the_port_behind_has_room(bench):
    """256 connections; who idles makes room for who asks."""
    r = bench.registry()
    _, port = node(bench, r, [mock_unit("a")])
    face = f"127.0.0.1:{port + 1}"
    held = [raw.Connection(face) for _ in range(256)]
    for c in held:
        c.request("GET", "/info")
        assert c.reply().status == 200
    assert raw.get(face, "/info").status == 200
    assert held[0].socket.recv(1) == b"", "the one that idled longest makes room"
    for c in held[1:]:
        c.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            c.socket.recv(1)
    for c in held:
        c.close()


def test_models_that_fill_a_record(bench):
    """What an engine says of its models may be more than a record holds: their names are registered."""
    models = [{"id": f"m{i}", "object": "model", "story": "x" * 4000} for i in range(100)]
    r = bench.registry()
    engine = bench.engine(lambda c: c.reply({"object": "list", "data": models}), gets=False)
    node(bench, r, more={"remote": [{"name": "far", "url": engine.url}]})
    until(lambda: statuses(r) == {"n-far": "running"}, "registered", 10 * SLOW)
    metadata = r.get("/services/n-far")["metadata"]
    assert len(metadata["models"]) == 100 and metadata["models_list"][0] == {"id": "m0", "object": "model"}


def test_an_engine_that_dies_is_unhealthy_at_once(bench):
    r = bench.registry()
    up, _ = node(bench, r, [mock_unit("a", restart_delay_ms=60000), mock_unit("b")])
    until(lambda: statuses(r) == {"n-a": "running", "n-b": "running"}, "both are registered", 10 * SLOW)
    os.kill(pid_of(up, "a"), signal.SIGKILL)
    watch = Stopwatch()
    until(lambda: r.names("?healthy=true") == ["n-b"], "its record is not healthy")
    assert watch.seconds() < 1 * SLOW
    until(lambda: statuses(r)["n-a"] == "backoff", "it says why")
    up.ctl("start", "a")
    until(lambda: statuses(r)["n-a"] == "running", "it is back", 10 * SLOW)


def test_the_end_deletes_them(bench):
    """While requests finish, nobody finds the node any more."""
    r = bench.registry()
    up, _ = node(bench, r, [mock_unit("a", args=["--tokens-per-second", "2"])])  # 13 s long
    until(lambda: statuses(r) == {"n-a": "running"}, "registered", 10 * SLOW)
    with up.open_chat() as c:
        c.head()
        up.signal(signal.SIGTERM)
        until(lambda: r.names() == [], "gone, and the request goes on")
        assert up.running()
    up.signal(signal.SIGTERM)
    assert up.wait_exit() == 0


def test_the_end_does_not_wait_for_a_registry_that_hangs(bench):
    hole = BlackHole()
    up, _ = node(bench, f"http://127.0.0.1:{hole.port}", [mock_unit("a")])
    hole.socket.settimeout(10 * SLOW)
    with hole.socket.accept()[0] as asked:
        asked.settimeout(10 * SLOW)
        assert asked.recv(1) == b"P", "it registers"
        watch = Stopwatch()
        up.signal(signal.SIGTERM)
        assert up.wait_exit() == 0
        assert 0.9 < watch.seconds() < 3 * SLOW
    hole.close()


def test_a_registry_that_lost_everything_has_it_back(bench):
    """B4: within one heartbeat interval and a second."""
    port = free_port()
    r = bench.registry(port=port)
    node(bench, r, [mock_unit("a")], heartbeat_interval_s=2)
    until(lambda: statuses(r) == {"n-a": "running"}, "registered", 10 * SLOW)
    r.kill()
    again = bench.registry(port=port)
    watch = Stopwatch()
    until(lambda: statuses(again) == {"n-a": "running"}, "registered again", 10 * SLOW)
    assert watch.seconds() < 3 * SLOW


def test_a_gateway_that_dies_takes_nothing_along(bench):
    r = bench.registry()
    up, _ = node(bench, r, [mock_unit("a")])
    until(lambda: statuses(r) == {"n-a": "running"}, "registered", 10 * SLOW)
    before = r.metric("inferd_registry_registrations_total")
    os.kill(up.gateway_pid(), signal.SIGKILL)
    until(lambda: r.metric("inferd_registry_registrations_total") > before, "the next one registers", 10 * SLOW)
    until(lambda: statuses(r) == {"n-a": "running"}, "and it runs", 10 * SLOW)


def test_reload(bench):
    """An engine more, another name, another registry, none."""
    first, second = bench.registry(), bench.registry()
    up, port = node(bench, first, [mock_unit("a")])
    until(lambda: statuses(first) == {"n-a": "running"}, "registered", 10 * SLOW)

    def reload(units, registry):
        up.write_config(config(units, registry, port))
        up.ctl("reload")

    two = [mock_unit("a"), mock_unit("b")]
    reload(two, {"url": first.url, "name": "n"})
    until(lambda: statuses(first) == {"n-a": "running", "n-b": "running"}, "one more", 10 * SLOW)
    reload(two[1:], {"url": first.url, "name": "n"})
    until(lambda: first.names() == ["n-b"], "one less", 10 * SLOW)
    reload(two[1:], {"url": first.url, "name": "other"})
    until(lambda: first.names() == ["other-b"], "another name", 10 * SLOW)
    reload(two[1:], {"url": second.url, "name": "other"})
    until(lambda: second.names() == ["other-b"] and first.names() == [], "another registry", 10 * SLOW)
    reload(two[1:], {})
    until(lambda: second.names() == [], "none", 10 * SLOW)
    assert up.chat().status == 200


# serving one


def served(up):
    return up.ready["registry"][0]


def names(address):
    return [s["name"] for s in raw.get(address, "/services").json()["services"]]


@pytest.mark.threads
def test_serving_one_that_it_is_in(bench):
    """Both at once, with a token; the master holds the socket, a gateway that dies loses the table for a moment."""
    path, port, own = token_file(bench), free_pair(), free_port()
    registry = {"listen": f"127.0.0.1:{own}", "url": f"http://127.0.0.1:{own}", "name": "n", "token_file": path,
                "heartbeat_interval_s": 1}
    up = bench.up(config([mock_unit("a")], registry, port))
    address = served(up)
    assert address == f"127.0.0.1:{own}"
    until(lambda: names(address) == ["n-a"], "it is in its own registry", 10 * SLOW)
    assert raw.post(address, "/services", record("x")).status == 401
    assert raw.exchange(address, "POST", "/services", json_body=record("x"),
                        headers=[("authorization", f"Bearer {TOKEN}")]).status == 201
    assert TOKEN not in up.stdout().decode()
    os.kill(up.gateway_pid(), signal.SIGKILL)

    def back():
        try:
            return names(address) == ["n-a"]
        except (OSError, raw.Broken):
            return False
    until(back, "a new table, and it is in it", 10 * SLOW)


@pytest.mark.threads
def test_serving_rules(bench):
    """Hosts beyond loopback only when they are allowed; a reload changes that, and takes it away."""
    up = bench.up(config(registry={"listen": "127.0.0.1:0"}))
    address = served(up)
    far = record("far", host="10.0.0.7", url="http://10.0.0.7:6001")
    assert raw.post(address, "/services", far).status == 403
    assert raw.post(address, "/services", record("near")).status == 201
    up.write_config(config(registry={"listen": "127.0.0.1:0", "allow_hosts": ["10.0.0.0/8"]}))
    up.ctl("reload")
    until(lambda: raw.post(address, "/services", far).status == 201, "allowed")
    assert names(address) == ["far"], "new rules, a new table"
    up.write_config(config(registry={"listen": "127.0.0.1:0", "allow_hosts": ["10.0.0.0/8"]}, limits={"queue_ms": 1000}))
    up.ctl("reload")
    assert names(address) == ["far"], "what does not concern it leaves it alone"
    up.write_config(config())
    up.ctl("reload")
    until(lambda: not raw.connects(address), "nobody listens any more")


def test_two_machines_and_a_router(bench):
    """One serves the registry, another is in it, a router sends a chat through."""
    main = bench.up(config([mock_unit("a", ("one",))], {"listen": "127.0.0.1:0"}, free_pair()))
    url = f"http://{served(main)}"
    other, _ = node(bench, url, [mock_unit("b", ("two",))])
    until(lambda: names(served(main)) == ["n-b"], "registered", 10 * SLOW)
    router = bench.router(registry=url)
    until(lambda: router.chat("two").status == 200, "a chat through router and node", 20 * SLOW)
    content = router.chat("two").json()["choices"][0]["message"]["content"]
    assert content.startswith("Hello from b")
    os.kill(pid_of(other, "b"), signal.SIGKILL)
    until(lambda: router.chat("two").status == 200, "it is restarted", 20 * SLOW)
    other.signal(signal.SIGTERM)
    assert other.wait_exit() == 0
    until(lambda: names(served(main)) == [], "it has left")
    assert json.loads(raw.get(served(main), "/stats").body)["total_services"] == 0
