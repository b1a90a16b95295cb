# SPDX-License-Identifier: Apache-2.0
"""Where the router's engines come from: a registry, ours and one that behaves like the original, and the file of static
services. Each test names what of the contract it holds."""

import json
import os
import signal

import pytest

from harness.fabric import free_pair, record
from harness.svc_doubles import OldEngine, OldRegistry, OldSitter
from harness.wait import never, until

def old_registry(bench, **kw):
    r = OldRegistry(**kw)
    bench.engines.append(r)
    return r


def static(name, port, models=("model-a",), **changes):
    return {"name": name, "host": "127.0.0.1", "port": port,
            "metadata": {"models": list(models), "type": "openai-api"}, **changes}


def wait_names(router, *names, seconds=10.0):
    until(lambda: set(router.services()) == set(names), f"entries: {names}", seconds)


# ---- a registry ----


@pytest.mark.smoke
def test_a_registry_of_ours(bench):
    """5.3: an engine that registers serves; who is withdrawn is absent, serves, and goes after the grace period."""
    registry = bench.registry()
    engine = OldEngine(bench)
    router = bench.router(registry=registry, args=["--service-removal-grace-period", 6])
    router.wait_log("Registry sync")
    router.wait_log("Fetched 0 services from registry")
    registry.register("svc", port=engine.port + 1, metadata={"type": "command"})
    registry.register("svc-server", port=engine.port, url=f"http://127.0.0.1:{engine.port}", weight=2,
                      metadata={"type": "openai-api", "models": ["model-a"]})
    router.wait_healthy("svc-server")
    router.wait_log("Fetched 2 services from registry")
    s = router.services()["svc-server"]
    assert (s["origin"], s["listed"], s["weight"], s["port"]) == ("registry", "yes", 2, engine.port)
    assert s["babysitter_url"] == f"http://127.0.0.1:{engine.port + 1}"
    assert router.chat("model-a").status == 200
    assert registry.ask("DELETE", "/services/svc-server").status == 200
    until(lambda: router.services()["svc-server"]["listed"] == "absent", "absent")
    assert router.services()["svc-server"]["healthy"] and router.chat("model-a").status == 200
    wait_names(router)
    reply = router.chat("model-a")
    assert reply.status == 503 and "model-a" in reply.error()["message"]
    assert router.metric("inferd_syncs_total") >= 4 and router.metric("inferd_sync_failures_total") == 0


def test_a_registry_like_the_original(bench):
    """1.3 and 7.5: HTTP/1.0 that ends with its connection, the literal request line, spaced JSON, floats, unknown keys;
    another type is not adopted; a weight of 2 is seen; one that is withdrawn never raises the count."""
    registry = old_registry(bench)
    engine = OldEngine(bench)
    registry.element("svc", engine.port + 1, metadata={"type": "babysitter"})
    taken = registry.element("svc-server", engine.port, metadata={"weight": 2, "extra": {"a": [1.5, None]}})
    router = bench.router(registry=registry.url, args=["--service-removal-grace-period", 0])
    router.wait_healthy("svc-server")
    s = router.services()["svc-server"]
    assert s["weight"] == 2 and s["metadata"] == taken["metadata"] and s["models"] == ["model-a"]
    assert set(registry.lines()) == {"GET /services?healthy=true HTTP/1.1"}
    assert all("authorization" not in head.lower() for head in registry.heads)
    assert router.chat("model-a").status == 200
    registry.services.remove(taken)
    wait_names(router)
    assert router.get("/services")["total"] == 0


def test_a_registry_behind_a_path(bench):
    """7.5: the URL's path is kept, a slash at its end is not."""
    registry = old_registry(bench, path="/services")
    engine = OldEngine(bench)
    registry.element("a", engine.port)
    router = bench.router(registry=registry.url + "/services/")
    router.wait_healthy("a")
    assert set(registry.lines()) == {"GET /services/services?healthy=true HTTP/1.1"}
    assert router.get("/health")["registry_url"] == registry.url + "/services"


def test_a_bad_element_spoils_nothing_else(bench):
    """5.3, B20: each is left out alone, and told once, not with every list."""
    registry = old_registry(bench)
    engine = OldEngine(bench)
    registry.element("a", engine.port)
    registry.services += [7, {"name": "no-host", "port": 1, "metadata": {"type": "openai-api"}},
                          {**record("high", port=65535), "metadata": {"type": "openai-api"}}]
    registry.element("z", engine.port, weight="heavy")
    router = bench.router(registry=registry.url)
    router.wait_healthy("a", "z")
    assert router.services()["z"]["weight"] == 1
    until(lambda: router.metric("inferd_syncs_total") >= 4, "four lists")
    assert router.metric("inferd_sync_skipped_total") >= 9
    log = router.log()
    for text in ("services[1]: must be an object", "'no-host': host is missing", "'high': port must be within",
                 "'z': weight must be an integer"):
        assert log.count(text) == 1, text


def test_repeated_keys_spoil_their_element_only(bench):
    registry = old_registry(bench)
    engine = OldEngine(bench)
    good = json.dumps(registry.element("a", engine.port))
    registry.services = ('{"services":[{"name":"b","port":1,"port":2},%s]}' % good).encode()
    router = bench.router(registry=registry.url)
    router.wait_healthy("a")


def test_a_failed_fetch_changes_nothing(bench):
    """5.3: whatever comes instead of a list, or nothing, and for longer than the grace period."""
    registry = old_registry(bench)
    engine = OldEngine(bench)
    element = registry.element("a", engine.port)
    router = bench.router(registry=registry.url, args=["--service-removal-grace-period", 1])
    router.wait_healthy("a")
    for wrong in ("500 Internal Server Error", "404 Not Found", f"302 Found\r\nLocation: {registry.url}/x"):
        before = router.metric("inferd_sync_failures_total")
        registry.wrong = wrong
        until(lambda: router.metric("inferd_sync_failures_total") > before, wrong)
    registry.wrong = None
    assert not any("GET /x" in line for line in registry.lines())
    for body in (b"", b"<html>", b'{"services": [{"name"', b'{"services": null}', b"[]"):
        before = router.metric("inferd_sync_failures_total")
        registry.services = body
        until(lambda: router.metric("inferd_sync_failures_total") > before, str(body))
    registry.close()
    before = router.metric("inferd_sync_failures_total")
    until(lambda: router.metric("inferd_sync_failures_total") >= before + 3, "nobody is there")
    s = router.services()["a"]
    assert s["healthy"] and s["listed"] == "yes" and router.chat("model-a").status == 200
    again = old_registry(bench, port=registry.port)  # with an empty table, as after a restart
    until(lambda: router.services()["a"]["listed"] == "absent", "absent")
    again.services = [element]
    until(lambda: router.services()["a"]["listed"] == "yes", "listed again")


def test_news_clears_no_local_failure(bench):
    """B1: the registry says that it is well, with every list; who failed here stays out until it was tried here."""
    registry = old_registry(bench)
    dead = free_pair()
    registry.element("dead", dead)
    router = bench.router(registry=registry.url, args=["--health-interval", 600])
    until(lambda: "dead" in router.services() and router.services()["dead"]["probed"] == "bad", "probed at once")
    syncs = router.metric("inferd_syncs_total")
    registry.services[0]["metadata"]["news"] = 1
    until(lambda: router.metric("inferd_syncs_total") >= syncs + 2, "two more lists")
    until(lambda: router.services()["dead"]["metadata"]["news"] == 1, "the news")
    s = router.services()["dead"]
    assert s["listed"] == "yes" and s["probed"] == "bad" and not s["healthy"]


def test_is_healthy_false_counts(bench):
    """5.4: "listed" is the registry's word alone; the probe's stays what it was."""
    registry = old_registry(bench)
    engine = OldEngine(bench)
    element = registry.element("a", engine.port)
    router = bench.router(registry=registry.url)
    router.wait_healthy("a")
    element["is_healthy"] = False
    until(lambda: router.services()["a"]["listed"] == "no", "listed: no")
    s = router.services()["a"]
    assert not s["healthy"] and s["probed"] == "good"
    assert router.chat("model-a").status == 503
    del element["is_healthy"]
    router.wait_healthy("a")
    assert router.chat("model-a").status == 200


def test_metadata_static_stays(bench):
    """B11: a discovered entry with metadata.static outlives the grace period."""
    registry = old_registry(bench)
    engine = OldEngine(bench)
    registry.element("lasting", engine.port, metadata={"static": True})
    registry.element("passing", engine.port)
    router = bench.router(registry=registry.url, args=["--service-removal-grace-period", 1])
    router.wait_healthy("lasting", "passing")
    registry.services.clear()
    wait_names(router, "lasting")
    never(lambda: set(router.services()) != {"lasting"}, "it is removed", 2)
    assert router.services()["lasting"]["listed"] == "absent"


def test_two_names_of_one_engine(bench):
    """1.2: what is said of one engine in several ways is one engine: one load, one verdict, each request counted once."""
    registry = old_registry(bench)
    engine = OldEngine(bench)
    registry.element("m", engine.port, models=["model-a"], host="127.0.0.1")
    registry.element("m-server", engine.port, models=["model-b"], host="localhost",
                     url=f"http://localhost:{engine.port}", weight=5, metadata={"cache_type": "paged"})
    router = bench.router(registry=registry.url)
    router.wait_healthy("m", "m-server")
    for model in ("model-a", "model-b", "model-a"):
        assert router.chat(model).status == 200
    services = router.services()
    assert [services[n]["request_count"] for n in ("m", "m-server")] == [3, 0]
    assert [services[n]["weight"] for n in ("m", "m-server")] == [1, 5]
    assert services["m-server"]["url"] == f"http://localhost:{engine.port}"
    assert len(engine.requests) >= 3
    registry.services.pop(0)  # its counters stay, told by who is left
    until(lambda: router.services()["m"]["listed"] == "absent", "absent")
    assert router.chat("model-b").status == 200


def test_another_address_is_another_engine(bench):
    """5.3: counters and verdicts stay unless the address changed; the URL rule is the same for adding and changing."""
    registry = old_registry(bench)
    one, two = OldEngine(bench), OldEngine(bench)
    element = registry.element("a", one.port, url=f"http://127.0.0.1:{one.port}/")
    router = bench.router(registry=registry.url)
    router.wait_healthy("a")
    assert router.chat("model-a").status == 200
    element["metadata"] = {**element["metadata"], "more": 1}
    until(lambda: router.services()["a"]["metadata"].get("more") == 1, "changed")
    s = router.services()["a"]
    assert s["request_count"] == 1 and s["url"] == f"http://127.0.0.1:{one.port}"
    element.update(port=two.port)  # the url is the old one's, and counts for nothing
    until(lambda: router.services()["a"]["port"] == two.port, "moved")
    s = router.services()["a"]
    assert s["request_count"] == 0 and s["url"] == f"http://127.0.0.1:{two.port}"
    router.wait_healthy("a")
    assert router.chat("model-a").status == 200 and two.requests


def test_a_prefix_of_the_url_is_kept(bench):
    registry = old_registry(bench)
    engine = OldEngine(bench)
    registry.element("a", engine.port, url=f"http://127.0.0.1:{engine.port}/v9")
    router = bench.router(registry=registry.url)
    router.wait_healthy("a")
    assert router.services()["a"]["url"].endswith("/v9")
    assert router.ask("POST", "/v1/chat/completions", {"model": "model-a", "messages": []}).status == 200
    assert engine.requests[-1].target == "/v9/v1/chat/completions"


def test_ipv6(bench):
    """B20: hosts of IPv6, with and without brackets, are bracketed in URLs."""
    registry = old_registry(bench)
    engine = OldEngine(bench, host="::1")
    registry.element("a", engine.port, host="::1", url=f"http://[::1]:{engine.port}")
    router = bench.router(registry=registry.url)
    router.wait_healthy("a")
    s = router.services()["a"]
    assert s["url"] == f"http://[::1]:{engine.port}" and s["babysitter_url"] == f"http://[::1]:{engine.port + 1}"
    assert router.chat("model-a").status == 200


def test_weight_travels(bench):
    """B12: top-level weight, else metadata.weight, from the registry to /services, and changed by PUT."""
    registry = bench.registry()
    engine = OldEngine(bench)
    place = {"port": engine.port, "url": f"http://127.0.0.1:{engine.port}"}
    registry.register("top", weight=3, metadata={"type": "openai-api", "weight": 9}, **place)
    registry.register("inner", metadata={"type": "openai-api", "weight": 4}, **place)
    registry.register("none", metadata={"type": "openai-api"}, **place)
    registry.register("zero", weight=0, metadata={"type": "openai-api"}, **place)
    router = bench.router(registry=registry)
    wait_names(router, "top", "inner", "none", "zero")
    assert {n: s["weight"] for n, s in router.services().items()} == {"top": 3, "inner": 4, "none": 1, "zero": 0}
    assert registry.ask("PUT", "/services/top", {"weight": 7}).status == 200
    until(lambda: router.services()["top"]["weight"] == 7, "the new weight")


def test_the_token_is_the_registry_s(bench):
    """3.5: it is sent to the configured URL, and to no engine and no babysitter."""
    path = bench.path("token")
    with open(path, "w", encoding="utf-8") as f:
        f.write("s3cret-token\n")
    os.chmod(path, 0o600)
    registry = old_registry(bench)
    engine = OldEngine(bench)
    registry.element("a", engine.port)
    router = bench.router(registry=registry.url, args=["--registry-token-file", path])
    router.wait_healthy("a")
    assert router.chat("model-a").status == 200
    assert all("authorization: Bearer s3cret-token" in head for head in registry.heads)
    for head in engine.sitter.heads:
        assert "s3cret" not in head
    for request in engine.requests:
        assert "s3cret" not in str(vars(request))
    assert "s3cret" not in router.log()


def test_a_silent_registry_delays_nothing(bench):
    """5.3: a question that hangs is one, and what the router says and does goes on."""
    registry = old_registry(bench)
    engine = OldEngine(bench)
    router = bench.router(registry=registry.url, static=[static("s", engine.port, health_url="none")])
    hang = []
    registry.answer = lambda s, head, body: hang.append(s) or until(lambda: registry.over, "the end", 60)
    until(lambda: hang, "a question that hangs")
    assert router.chat("model-a").status == 200
    never(lambda: len(hang) > 1, "a second question", 2.5)


def test_log_phrases_once(bench):
    """2.5: at INFO in the first round and when the result changed, not with every list."""
    registry = old_registry(bench)
    router = bench.router(registry=registry.url)
    until(lambda: router.metric("inferd_syncs_total") >= 4, "four lists")
    assert router.log().count("Registry sync") == 1
    assert router.log().count("Fetched 0 services from registry") == 1
    registry.element("svc", 6002, metadata={"type": "command"})
    router.wait_log("Fetched 1 services from registry")


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:1", "http://", "unix:/x", "http://a b:1"])
def test_urls_that_are_no_registry_s(bench, url):
    router = bench.router(registry=url, wait=False)
    router.expected_exit = 2
    assert router.wait_exit() == 2 and "--registry-url" in router.stderr().decode()


# ---- the file ----


@pytest.mark.smoke
@pytest.mark.parametrize("shape", ["nested", "plain", "bare"])
def test_shapes_of_the_file(bench, shape):
    """5.2: three shapes; other sections do not matter; without health_url the babysitter is asked."""
    engine = OldEngine(bench)
    entries = [static("s", engine.port, weight=4, max_fails=3, fail_timeout="10s", backup=False)]
    whole = {"nested": {"router": {"port": 1}, "static_services": {"enabled": True, "services": entries}},
             "plain": {"router": {"services": 7}, "services": entries}, "bare": entries}[shape]
    router = bench.router(static=whole)
    router.wait_healthy("s")
    s = router.services()["s"]
    assert (s["origin"], s["listed"], s["weight"], s["url"]) == ("static", "yes", 4, f"http://127.0.0.1:{engine.port}")
    assert router.chat("model-a").status == 200
    assert "registry" not in router.log().lower().replace("registry_", "")
    assert [m["id"] for m in router.get("/v1/models")["data"]] == ["model-a"]


def test_one_backend_that_cannot_be_reached(bench):
    """7.5: it is listed, and answers come soon."""
    router = bench.router(static=[{"name": "s", "host": "127.0.0.1", "port": free_pair()}])
    assert list(router.services()) == ["s"]
    assert router.ask("GET", "/v1/chat/completions").status == 503
    assert router.ask("POST", "/v1/test", {}).status == 503
    router.wait_log("Proxying")


MISTAKES = [
    ({"x": []}, "has no array"),
    ([{"host": "h", "port": 1}], "services[0]: name is missing"),
    ([{"name": "a", "host": "h", "port": "1"}], "services[0] 'a': port must be an integer"),
    ([{"name": "a", "host": "h", "port": 65535}], "services[0] 'a': port must be within 1 and 65534"),
    ([{"name": "a", "host": 7, "port": 1}], "services[0] 'a': host must be a string"),
    ([{"name": "a", "host": "h", "port": 1}, {"name": "a", "host": "h", "port": 2}],
     "services[1] 'a': name was there before"),
    ([{"name": "a", "host": "h", "port": 1, "health_url": "h:1"}], "services[0] 'a': health_url must be"),
]


@pytest.mark.parametrize("content, says", MISTAKES, ids=[m[1] for m in MISTAKES])
def test_mistakes_of_the_file(bench, content, says):
    """5.2: exit 1 with the file, the element and the key."""
    router = bench.router(static=content, wait=False)
    assert router.wait_exit() == 1
    err = router.stderr().decode()
    assert err.startswith(f"Error: {router.static_path}: ") and says in err
    router.expected_exit = 1


def test_a_file_that_is_not_there(bench):
    router = bench.router(args=["--static-services", bench.path("nothing.json")], wait=False)
    assert router.wait_exit() == 1
    assert "Error: " in router.stderr().decode() and "cannot be read" in router.stderr().decode()
    router.expected_exit = 1


def test_an_unknown_key_is_a_warning_with_a_hint(bench):
    router = bench.router(static=[static("s", free_pair(), weigth=3)])
    router.wait_log("weigth is no key of a static service; did you mean 'weight'?")
    assert router.services()["s"]["weight"] == 1


def test_the_file_is_read_again(bench):
    """B26: SIGHUP; a file that is wrong changes nothing."""
    one, two = OldEngine(bench), OldEngine(bench)
    router = bench.router(static=[static("s", one.port), static("t", one.port, ["model-b"])])
    router.wait_healthy("s", "t")
    assert router.chat("model-a").status == 200
    router.write_static([static("s", one.port, ["model-a", "model-c"]), static("u", two.port, ["model-d"])])
    router.signal(signal.SIGHUP)
    router.wait_healthy("s", "u")
    assert router.chat("model-c").status == 200 and router.chat("model-d").status == 200
    assert router.chat("model-b").status == 503
    assert router.services()["s"]["request_count"] == 2  # the same engine as before
    router.write_static([{"name": "x"}])
    router.signal(signal.SIGHUP)
    router.wait_log("the static services stay as they are")
    assert set(router.services()) == {"s", "u"} and router.chat("model-c").status == 200


def test_the_file_stands_whatever_the_registry_says(bench):
    """B11: never re-addressed, never removed, never listed as ill; an element of its name adds what it lacks."""
    registry = old_registry(bench)
    one, two = OldEngine(bench), OldEngine(bench)
    element = registry.element("s", two.port, models=["model-b", "model-a"], weight=9, is_healthy=False,
                               metadata={"cache_type": "static", "mine": "registry's"})
    router = bench.router(registry=registry.url, args=["--service-removal-grace-period", 0],
                          static=[{**static("s", one.port), "metadata": {"models": ["model-a"], "mine": "the file's"}}])
    until(lambda: router.services()["s"]["models"] == ["model-a", "model-b"], "models that it lacked")
    s = router.services()["s"]
    assert (s["origin"], s["port"], s["weight"], s["listed"]) == ("static", one.port, 1, "yes")
    assert s["metadata"] == {**element["metadata"], "models": ["model-a"], "mine": "the file's"}
    router.wait_healthy("s")
    assert router.chat("model-b").status == 200 and not two.requests
    registry.services.clear()
    until(lambda: router.services()["s"]["models"] == ["model-a"], "they are gone with it")
    syncs = router.metric("inferd_syncs_total")
    until(lambda: router.metric("inferd_syncs_total") >= syncs + 3, "more lists")
    assert router.services()["s"]["healthy"] and router.chat("model-a").status == 200


def test_a_health_url_of_its_own(bench):
    """5.2: health_url is asked instead of the babysitter; "none" is never asked."""
    engine = OldEngine(bench)
    watched = OldSitter(0)
    bench.engines.append(watched)
    router = bench.router(static=[static("a", engine.port, health_url=f"{watched.url}/live"),
                                  static("b", free_pair(), health_url="none")])
    until(lambda: router.services()["a"]["probed"] == "good", "asked there")
    assert set(watched.lines()) == {"GET /live HTTP/1.1"}
    assert router.services()["b"]["probed"] == "unknown" and not engine.sitter.heads


# ---- limits ----


def test_entries_have_a_bound(bench):
    """2.7: 10,000; what is beyond is ignored, with one warning."""
    registry = old_registry(bench)
    base = {"host": "127.0.0.1", "port": free_pair(), "metadata": {"type": "openai-api"}}
    registry.services = [{"name": f"e{i:05}", **base} for i in range(10001)]
    router = bench.router(registry=registry.url, args=["--registry-sync-interval", 1])

    def metric(name):
        return router.metric(name, seconds=60)  # so many take their time, with a sanitizer above all

    until(lambda: metric("inferd_entries") == 10000 and metric("inferd_limit_entries_total") >= 1, "a full table", 60)
    until(lambda: router.get("/services", seconds=60)["total"] == 10000, "all of them are listed", 60)
    syncs = metric("inferd_syncs_total")
    until(lambda: metric("inferd_syncs_total") > syncs + 1, "another list", 60)
    router.wait_log("the table of services is full")
    assert router.log().count("the table of services is full") == 1


def test_metrics_are_documented(bench):
    """docs/router.md has a row for what is counted about sources, with the program's own words."""
    router = bench.router()
    text = router.ask("GET", "/_inferd/metrics").body.decode()
    told = [line.removeprefix("# HELP ").partition(" ") for line in text.splitlines() if line.startswith("# HELP ")]
    told = {name: words for name, _, words in told if name.startswith(("inferd_sync", "inferd_entries"))}
    with open(f"{os.path.dirname(__file__)}/../../docs/router.md", encoding="utf-8") as f:
        rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in f if line.startswith("| `inferd_")]
    documented = {row[0].strip("`"): row[-1] for row in rows}
    assert len(told) == 5 and {n: documented[n] for n in told} == told
    assert "inferd_limit_entries_total" in documented
