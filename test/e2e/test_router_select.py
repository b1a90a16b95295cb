# SPDX-License-Identifier: Apache-2.0
"""Which engine the router asks: what it reads in a body, classes by size, sessions, turns, weights, absent engines."""

import json
import threading

import pytest

from harness import raw
from harness.fabric import free_pair
from harness.rendezvous import caller, home
from harness.svc_doubles import OldSitter
from harness.wait import SLOW, until

CHAT = "/v1/chat/completions"


def answer(c):
    """Whatever was asked."""
    c.reply({"object": "x", "model": "m", "choices": []})


def entry(engine, name, metadata=None, models=("m",), **more):
    return {"name": name, "host": "127.0.0.1", "port": engine.port, "health_url": "none",
            "metadata": {"type": "openai-api", "models": list(models), **(metadata or {})}, **more}


class Fleet:
    """Engines behind a router that has them from a static file. `rows`: name -> what its entry has besides."""

    def __init__(self, bench, rows, args=(), **kw):
        self.engines = {name: bench.engine(answer, gets=False) for name in rows}
        self.entries = [entry(self.engines[name], name, **more) for name, more in rows.items()]
        self.router = bench.router(static=self.entries, args=["--lanes", "1", *args], **kw)
        self.connection = None  # from the first request on: one that never spoke is closed after 10 s
        self.router.wait_healthy(*rows)

    def asked(self):
        return {name: len(e.requests) for name, e in self.engines.items()}

    def who(self, json_body=None, body=None, headers=(), method="POST", target=CHAT, router=None):
        """The engine that one request went to."""
        before = self.asked()
        if router:
            reply = router.ask(method, target, json_body, body, headers)
        else:
            self.connection = self.connection or raw.Connection(self.router.address)
            self.connection.request(method, target, body, headers, json_body)
            reply = self.connection.reply(method)
        assert reply.status == 200, reply
        moved = [n for n, count in self.asked().items() if count != before[n]]
        assert len(moved) == 1, moved
        sent = json.dumps(json_body).encode() if json_body is not None else body or b""
        assert self.engines[moved[0]].requests[-1].body == sent
        return moved[0]

    def turns(self, n, **body):
        return "".join(self.who({"model": "m", **body}) for _ in range(n))


def message(n, **more):
    return {"model": "m", "messages": [{"role": "user", "content": "x" * n}], **more}


PAGED, STATIC = {"metadata": {"cache_type": "paged"}}, {"metadata": {"cache_type": "static", "static": True}}


def refused(router, body, status=400, code="invalid_model", headers=()):
    reply = router.ask("POST", CHAT, body=body, headers=headers)
    assert (reply.status, reply.error()["code"]) == (status, code), reply
    return reply.error()


@pytest.mark.smoke
def test_fields_stand_alone(bench):
    """B6: what is odd in one never hides another, and a model that is none goes nowhere by chance."""
    fleet = Fleet(bench, {"a": {"models": ["m"]}, "b": {"models": ["n"]}})
    for i in range(3):
        for body in ({"model": "n", "prompt": [1, 2, 3]}, {"model": "n", "messages": [7, {"content": [{"x": []}, "y"]}]},
                     {"prompt_cache_key": ["k", i], "model": "n", "messages": "none"}, {"model": "n", "user": 7, "x": {}},
                     {"prompt": {"model": "m"}, "model": "n"}):
            assert fleet.who(body) == "b", body
    for odd in (b"7", b"true", b'["n"]', b'{"model":"n"}'):
        error = refused(fleet.router, b'{"model":' + odd + b',"messages":[]}')
        assert error["param"] == "model" and error["type"] == "invalid_request_error"
    assert fleet.asked() == {"a": 0, "b": 15}


def test_a_field_that_is_used_twice_is_refused(bench):
    fleet = Fleet(bench, {"a": {}})
    for key, value in (("model", '"m"'), ("prompt_cache_key", '"k"'), ("messages", "[]"), ("prompt", '""')):
        error = refused(fleet.router, f'{{"{key}":{value},"x":1,"{key}":{value}}}'.encode(), code="invalid_json")
        assert error["param"] == key
    assert fleet.who(body=b'{"model":"m","x":1,"x":2,"messages":[{"content":"a","content":"b"}],"Model":7}') == "a"


def test_a_body_that_names_no_model_goes_to_anybody(bench):
    fleet = Fleet(bench, {"a": {"models": ["m"]}, "b": {"models": ["n"]}, "c": {"models": []}})
    seen = []
    for body in (b"", b"not json", b'{"model":"n"', b"[1]", b'"n"', b'{"model":null}', b"{}", b'{"x":"n"}',
                 b"\x1f\x8b\x08\x00"):
        seen.append(fleet.who(body=body))
    assert "".join(seen) == "abcabcabc"  # a pool of its own, and all in turn
    assert [fleet.who(body=b'{"model":7}', method=m) for m in ("PUT", "PATCH", "GET")] == ["a", "b", "c"]  # not looked at
    assert refused(fleet.router, b'{"model":""}', 503, "model_not_found")
    for name in ("n" * 2000, "xé" * 500):
        assert refused(fleet.router, f'{{"model":"{name}"}}'.encode(), 503, "model_not_found")


def test_the_model_of_a_form(bench):
    fleet = Fleet(bench, {"a": {"models": ["m"]}, "b": {"models": ["whisper"]}})
    kind = {"content-type": "multipart/form-data; boundary=xyz"}
    part = '--xyz\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    form = part.format("file", '{"model":"m"}') + part.format("model", "whisper") + "--xyz--\r\n"
    for _ in range(3):
        assert fleet.who(body=form.encode(), headers=kind, target="/v1/audio/transcriptions") == "b"
    refused(fleet.router, (part.format("model", "m") + form).encode(), code="invalid_json", headers=kind)
    assert {fleet.who(body=b"--xyz--\r\n", headers=kind) for _ in range(2)} == {"a", "b"}
    for odd in ('\xff\xfe"\0\n', "x" * 5000):
        error = refused(fleet.router, part.format("model", odd).encode("latin-1") + b"--xyz--", 503, "model_not_found", kind)
        assert error["message"].startswith("No healthy services available for model '")


@pytest.mark.smoke
def test_sizes_choose_the_class(bench):
    fleet = Fleet(bench, {"p": PAGED, "s": STATIC, "t": STATIC})
    assert fleet.turns(4, messages=[{"content": "Hi"}]) == "pppp"
    assert [fleet.who(message(60000)) for _ in range(4)] == ["s", "t", "s", "t"]
    assert fleet.who(message(51200)) == "p"  # the threshold itself is not above it
    assert fleet.who(message(51201)) in "st"
    assert fleet.who({"model": "m", "messages": [{"content": "ü" * 25601}]}) in "st"  # bytes, not characters
    assert fleet.who({"model": "m", "messages": [{"content": [{"text": "x" * 30000}, {"content": "y" * 30000}]}]}) in "st"
    assert fleet.who({"model": "m", "prompt": "x" * 60000}) in "st"
    assert fleet.who({"model": "m", "prompt": [7] * 12800}) == "p" and fleet.who({"model": "m", "prompt": [7] * 12801}) in "st"
    assert fleet.who({"model": "m", "input": "x" * 60000}) == "p"  # neither key: 0
    assert {fleet.who({"model": "m", "prompt": 7}) for _ in range(3)} == {"p", "s", "t"}  # no size: no class
    assert "class" not in fleet.router.log()


def test_the_threshold_is_the_environments(bench):
    fleet = Fleet(bench, {"p": PAGED, "s": STATIC}, env={"CACHE_TYPE_ROUTING_THRESHOLD": "10"})
    assert [fleet.who(message(n)) for n in (10, 11)] == ["p", "s"]


def test_a_class_that_nobody_has(bench):
    fleet = Fleet(bench, {"a": {}, "p": PAGED, "q": PAGED})
    assert [fleet.who(message(60000)) for _ in range(3)] == ["a", "p", "q"]
    assert [fleet.who(message(2)) for _ in range(4)] == ["p", "q", "p", "q"]


def test_class_first_and_sessions_within_it(bench):
    """B7."""
    fleet = Fleet(bench, {"p": PAGED, "q": PAGED, "s": STATIC, "t": STATIC})
    for i in range(12):
        key = f"k{i}"
        for _ in range(2):
            assert fleet.who(message(2, prompt_cache_key=key)) == home(f"m:prompt_cache:{key}", {"p": 1, "q": 1})
            assert fleet.who(message(60000, prompt_cache_key=key)) == home(f"m:prompt_cache:{key}", {"s": 1, "t": 1})
    assert "class" not in fleet.router.log()


@pytest.mark.smoke
def test_sessions(bench):
    """B8: one engine each, the same from every router, after a restart too; without a key all in turn."""
    rows = {"master-server": {}, "slave-server": {"weight": 2}, "third-server": {}}
    weights = {"master-server": 1, "slave-server": 2, "third-server": 1}
    fleet = Fleet(bench, rows)
    second = bench.router(static=list(reversed(fleet.entries)))
    second.wait_healthy(*rows)
    keys = [f"conversation {i} é" for i in range(16)]
    homes = [home(f"m:prompt_cache:{k}", weights) for k in keys]
    assert len(set(homes)) == 3
    for router in (None, second, None):
        assert [fleet.who(message(1, prompt_cache_key=k), router=router) for k in keys] == homes
    again = bench.router(static=fleet.entries)
    again.wait_healthy(*rows)
    assert [fleet.who(message(1, prompt_cache_key=k), router=again) for k in keys] == homes
    assert {fleet.who(message(1, prompt_cache_key=keys[0])) for _ in range(10)} == {homes[0]}
    assert {fleet.who(message(1)) for _ in range(10)} == set(rows)
    assert fleet.who({"prompt_cache_key": "k"}) == home("default:prompt_cache:k", weights)
    long = "l" * 1000
    assert fleet.who(message(1, prompt_cache_key=long)) == home(f"m:prompt_cache:{long[:448]}", weights)


def test_a_lost_engine_takes_only_its_own_sessions(bench):
    weights = {"a": 1, "b": 1, "c": 1}
    fleet = Fleet(bench, {"a": {}, "b": {}, "c": {}})
    keys = [f"k{i}" for i in range(15)]
    homes = {k: home(f"m:prompt_cache:{k}", weights) for k in keys}
    left = {k: home(f"m:prompt_cache:{k}", {"a": 1, "c": 1}) for k in keys}
    port = fleet.engines["b"].port
    fleet.engines["b"].close()

    def where():
        return {k: fleet.who(message(1, prompt_cache_key=k)) for k in keys}

    assert where() == left
    assert all(left[k] == homes[k] for k in keys if homes[k] != "b")
    fleet.engines["b"] = bench.engine(answer, gets=False, at=("127.0.0.1", port))
    until(lambda: where() == homes, "its sessions are back", 20)


def test_who_is_behind_a_proxy(bench):
    weights = {"a": 1, "b": 1, "c": 1}
    rows = {"a": {}, "b": {}, "c": {}}
    fleet = Fleet(bench, rows)
    for i in range(6):
        for forwarded, element in ((f"203.0.113.{i}", f"203.0.113.{i}"), (f"  x{i} , 10.0.0.1", f"x{i}")):
            want = home(f"m:ip:{caller(element, 'curl/8')}", weights)
            fields = {"X-Forwarded-For": forwarded, "User-Agent": "curl/8"}
            assert fleet.who(message(1), headers=fields) == want
            assert fleet.who(message(1, prompt_cache_key="k"), headers=fields) == home("m:prompt_cache:k", weights)
            assert fleet.who(message(1, prompt_cache_key=7), headers=fields) == want
            assert fleet.who(method="GET", target="/any", headers={"x-forwarded-for": forwarded}) == home(
                f"default:ip:{caller(element)}", weights)
    for nobody in ("", " , 203.0.113.1"):
        assert {fleet.who(message(1), headers={"X-Forwarded-For": nobody}) for _ in range(6)} == set(rows)
    none = bench.router(static=fleet.entries, args=["--lanes", "1", "--trusted-proxies", "none"])
    none.wait_healthy(*rows)
    fields = {"X-Forwarded-For": "203.0.113.1", "User-Agent": "curl/8"}
    assert {fleet.who(message(1), headers=fields, router=none) for _ in range(6)} == set(rows)


def test_turns(bench):
    """B9, B12: weights on one connection; two models do not change each other's turns."""
    fleet = Fleet(bench, {"a": {"weight": 3, "models": ["m", "n"]}, "b": {"models": ["m", "n"]}, "c": {"models": ["n"]}})
    assert fleet.turns(8) == "aabaaaba"
    alternating = [(fleet.who({"model": "m"}), fleet.who({"model": "n"})) for _ in range(20)]
    assert "".join(m for m, _ in alternating) == "aaba" * 5
    assert sorted(n for _, n in alternating) == ["a"] * 12 + ["b"] * 4 + ["c"] * 4


@pytest.mark.parametrize("mode", ["least-outstanding", "round-robin"])
def test_balance(bench, mode):
    """While one is held up the other gets the next, or its turn only."""
    goes_on = threading.Event()

    def hold(c):
        if "hold" in c.json():
            goes_on.wait(20 * SLOW)
        answer(c)

    fleet = Fleet(bench, {"a": {}, "b": {}}, args=["--balance", mode])
    for e in fleet.engines.values():
        e.script = hold
    with raw.Connection(fleet.router.address) as held:
        held.request("POST", CHAT, json_body={"model": "m", "hold": True})
        until(lambda: fleet.asked()["a"] == 1, "it is held")
        assert fleet.turns(4) == ("bbbb" if mode == "least-outstanding" else "baba")
        goes_on.set()
        assert held.reply().status == 200


def test_weight_0_gets_nothing_new(bench):
    fleet = Fleet(bench, {"a": {"weight": 0}, "b": {"weight": 2}, "c": {"weight": 0}})
    assert fleet.turns(4) == "bbbb"
    assert {fleet.who(message(1, prompt_cache_key=f"k{i}")) for i in range(6)} == {"b"}
    fleet.engines["b"].close()
    assert "".join(fleet.who({"model": "m"}) for _ in range(5)) in ("acaca", "cacac")  # all are 0: all count as 1


class Registered:
    """Engines with babysitters, behind a router that has them from a registry. `records`: name -> what each has besides."""

    def __init__(self, bench, records):
        self.registry = bench.registry()
        ports = {n: free_pair() for n in records}
        self.engines = {n: bench.engine(answer, gets=False, at=("127.0.0.1", p)) for n, p in ports.items()}
        self.sitters = [OldSitter(p + 1) for p in ports.values()]
        for name, changes in records.items():
            e = self.engines[name]
            metadata = {"type": "openai-api", "models": ["m"], **changes.get("metadata", {})}
            self.registry.register(name, port=e.port, url=e.url, **{**changes, "metadata": metadata})
        self.router = bench.router(registry=self.registry, args=["--lanes", "1"])
        self.router.wait_healthy(*records)

    def turns(self, n, **body):
        """Who was asked, in order."""
        order = ""
        for _ in range(n):
            before = {name: len(e.requests) for name, e in self.engines.items()}
            assert self.router.ask("POST", CHAT, json_body=message(1, **body)).status == 200
            order += "".join(name for name, e in self.engines.items() if len(e.requests) > before[name])
        return order

    def close(self):
        for s in self.sitters:
            s.close()


def test_weights_travel_through_the_registry(bench):
    """B12: the record's own, else that of its metadata, else 1; a change is taken with the next list."""
    fleet = Registered(bench, {"a": {"weight": 3, "metadata": {"weight": 7}}, "b": {}, "c": {"metadata": {"weight": 2}}})
    assert {n: s["weight"] for n, s in fleet.router.services().items()} == {"a": 3, "b": 1, "c": 2}
    assert sorted(fleet.turns(12)) == sorted("aaabcc" * 2)
    fleet.registry.register("a", port=fleet.engines["a"].port, url=fleet.engines["a"].url, weight=0,
                            metadata={"type": "openai-api", "models": ["m"]})
    until(lambda: fleet.router.services()["a"]["weight"] == 0, "its weight is 0")
    assert sorted(fleet.turns(6)) == sorted("bccbcc")
    fleet.close()


def test_absent_engines_are_the_last_choice(bench):
    """What the registry does not name any more still serves, while there is nobody else."""
    fleet = Registered(bench, {"a": {}, "b": {}})
    assert fleet.registry.ask("DELETE", "/services/a").status == 200
    until(lambda: fleet.router.services()["a"]["listed"] == "absent", "one is absent")
    assert fleet.turns(4) == "bbbb"
    assert "".join(fleet.turns(1, prompt_cache_key=f"k{i}") for i in range(4)) == "bbbb"
    fleet.engines["b"].close()
    assert fleet.turns(1) == "a"
    fleet.close()


def test_a_hot_session_spills_over(bench):
    """B8: at the bound, and not before: ceil(1.25 * 12 / 3)."""
    goes_on = threading.Event()

    def hold(c):
        goes_on.wait(20 * SLOW)
        answer(c)

    fleet = Fleet(bench, {"a": {}, "b": {}, "c": {}}, args=["--affinity-min-load", "2"])
    for e in fleet.engines.values():
        e.script = hold
    first = home("m:prompt_cache:hot", {"a": 1, "b": 1, "c": 1})
    clients = []
    for n in range(1, 13):
        clients.append(raw.Connection(fleet.router.address))
        clients[-1].request("POST", CHAT, json_body=message(1, prompt_cache_key="hot"))
        until(lambda n=n: sum(fleet.asked().values()) == n, "it is asked")
        if n <= 2:
            assert fleet.asked()[first] == n
    assert max(fleet.asked().values()) == fleet.asked()[first] == 5
    goes_on.set()
    for c in clients:
        assert c.reply().status == 200
        c.close()


@pytest.mark.parametrize("body", [{"model": "m"}, {}, message(60000)])
def test_waits_for_an_engine(bench, body):
    """--queue-wait: with a model or without, and for a class, too."""
    fleet = Fleet(bench, {"p": PAGED, "q": {}}, args=["--queue-wait", "20"])
    at = {n: ("127.0.0.1", e.port) for n, e in fleet.engines.items()}
    for e in fleet.engines.values():
        e.close()
    assert fleet.router.ask("POST", CHAT, json_body=body).status == 503  # tried both
    with raw.Connection(fleet.router.address, 30) as c:
        c.request("POST", CHAT, json_body=body)
        until(lambda: fleet.router.metric("inferd_tickets_total") == 1, "it waits")
        back = {n: bench.engine(answer, gets=False, at=a) for n, a in at.items()}
        assert c.reply().status == 200
    assert sum(len(e.requests) for e in back.values()) == 1


def test_classes_and_weights_of_a_deployment(bench):
    """7.4's deployment for classes, from babysitters through the registry; B12: a weight travels along."""
    registry = bench.registry()
    for kind in ("paged", "static"):
        bench.sitter(name=f"{kind}-cache-9g_8b_thinking", models=["9g_8b_thinking"], registry=registry,
                     config={"metadata": {"cache_type": kind, "static": kind == "static"}, "service": {"weight": 3}})
    router = bench.router(registry=registry)
    names = [f"{kind}-cache-9g_8b_thinking-server" for kind in ("paged", "static")]
    until(lambda: [n for n, s in router.services().items() if s["healthy"]] == names, "both serve", 30)
    assert {s["weight"] for s in router.services().values()} == {3}
    for size, name in ((2, names[0]), (60000, names[1]), (2, names[0])):
        before = router.services()[name]["request_count"]
        reply = router.ask("POST", CHAT, {"model": "9g_8b_thinking", "messages": [{"role": "user", "content": "x" * size}]})
        assert reply.status == 200, reply
        assert router.services()[name]["request_count"] == before + 1
