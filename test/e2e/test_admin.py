# SPDX-License-Identifier: Apache-2.0
"""The operator's side: on the control socket and on [admin] address, never on the data side, never for a
web page, and alive when the lanes are not."""

import re
from pathlib import Path

import pytest

from harness import net, raw
from harness.gateway import mock_unit, remote
from harness.wait import until

TOP = Path(__file__).parents[2]


def refused(reply, status, code):
    assert reply.status == status, reply
    assert reply.error()["code"] == code, reply
    return reply


@pytest.fixture
def up(bench):
    bench.admin_address = f"127.0.0.1:{net.free_port()}"
    return bench.up({"remote": [remote(bench.engine(), "e", ["b", "a"], weight=3, slots=5), remote(bench.engine(), "d", ["a"])],
                     "admin": {"address": bench.admin_address}})


@pytest.mark.smoke
def test_where_it_is(bench, up):
    assert bench.admin_address in up.ready["admin"] and any(a == up.control for a in up.ready["admin"]), up.ready
    for path in ("/metrics", "/_inferd/metrics", "/services", "/stats", "/health", "/ready", "/v1/models", "/models", "/status", "/units"):
        for address in (up.control, bench.admin_address):
            assert raw.get(address, path).status == 200, (address, path)
    for path in ("/metrics", "/_inferd/metrics", "/services", "/stats", "/status", "/units", "/units/x/logs"):
        refused(up.get(path), 404, "not_found")
    for address in (up.control, bench.admin_address):
        refused(raw.get(address, "/nowhere"), 404, "not_found")
        refused(raw.post(address, "/metrics", {}), 405, "method_not_allowed")
        refused(raw.post(address, "/v1/chat/completions", {"model": "a"}), 404, "not_found")
        head = raw.exchange(address, "HEAD", "/services")
        assert head.status == 200 and head.body == b""


def test_no_web_page(bench, up):
    refused(raw.get(bench.admin_address, "/services", headers={"Origin": "http://evil.example"}), 403, "origin_not_allowed")
    refused(raw.get(bench.admin_address, "/services", headers={"Origin": f"http://{bench.admin_address}"}), 403, "origin_not_allowed")
    refused(raw.get(bench.admin_address, "/services", headers={"Host": "evil.example"}), 403, "host_not_allowed")
    refused(raw.post(bench.admin_address, "/reload", headers={"Host": "evil.example"}, body=b""), 403, "host_not_allowed")
    assert raw.get(bench.admin_address, "/services", headers={"Host": "localhost"}).status == 200
    for form in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json"}):
        refused(raw.post(bench.admin_address, "/reload", headers=form, body=b""), 403, "path_not_allowed")
    assert raw.post(up.control, "/reload", body=b"").status == 200
    assert up.metric("inferd_reloads_total") == 1


def test_whoever_has_a_login_gives_no_orders(bench):
    """Every user of the machine reaches a loopback port; the control socket is a file of its owner's."""
    address = f"127.0.0.1:{net.free_port()}"
    up = bench.up({"engine": [mock_unit("tiny")], "admin": {"address": address}})
    up.wait_unit("tiny", "ready")
    for method, path in (("POST", "/units/tiny/stop"), ("POST", "/units/tiny/restart"), ("GET", "/units/tiny/logs"), ("POST", "/reload")):
        refused(raw.exchange(address, method, path), 403, "path_not_allowed")
    assert up.unit("tiny")["state"] == "ready" and up.metric("inferd_reloads_total") == 0
    assert b"listening" in raw.get(up.control, "/units/tiny/logs").body
    assert raw.post(up.control, "/reload", body=b"").status == 200


def test_services(up):
    for _ in range(4):
        assert up.chat("b").status == 200
    until(lambda: up.metric("inferd_requests_in_flight") + up.metric("inferd_engine_in_flight") == 0, "all have ended")
    document = up.admin("/services")
    assert document["registry_url"] is None and document["total"] == 2
    d, e = document["services"]
    assert (d["name"], e["name"]) == ("d", "e")
    assert set(e) == {"babysitter_url", "error_count", "healthy", "host", "in_flight", "last_check", "listed", "metadata", "models",
                      "name", "origin", "port", "probed", "request_count", "response_time", "traffic", "url", "weight"}
    assert e["request_count"] == 4 and e["error_count"] == 0 and e["in_flight"] == 0 and e["healthy"] is True
    assert e["weight"] == 3 and e["host"] == "127.0.0.1" and e["origin"] == "static" and e["models"] == ["b", "a"]
    assert e["babysitter_url"] is None
    stats = up.admin("/stats")
    assert stats["healthy_services"] == 2 and stats["total_services"] == 2 and stats["registry_url"] is None
    assert [s["name"] for s in stats["services"]] == ["d", "e"]


def test_errors_are_counted(bench):
    engine = bench.engine(lambda c: c.rst())
    up = bench.up({"remote": [remote(engine)]})
    for _ in range(3):
        assert up.chat().status == 502
    service = until(lambda: (s := up.admin("/services")["services"][0])["request_count"] == 3 and s, "all are counted")
    assert service["error_count"] == 3


LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*")*\})? '
                  r"([0-9.e+-]+|\+Inf|NaN)$")


def test_the_page_of_metrics(up):
    """docs/metrics.md has a row for every family, in the order of /metrics, and no others."""
    up.chat("a")
    until(lambda: up.metric("inferd_model_requests_total"), "it is counted")
    lines = raw.get(up.control, "/metrics").body.decode().splitlines()
    helps = {name: text for name, _, text in (x[7:].partition(" ") for x in lines if x.startswith("# HELP "))}
    labels = {}
    for line in lines:
        if "{" in line:
            labels.setdefault(line.partition("{")[0], re.findall(r'([a-z]+)="', line.partition("{")[2]))
    want = []
    for name, kind in (x[7:].split(" ") for x in lines if x.startswith("# TYPE ")):
        of = ", ".join(f"`{x}`" for x in labels.get(name, []))
        want.append(f"| `{name}` | {kind} | {of} | {helps[name]} |")
    rows = [x for x in (TOP / "docs" / "metrics.md").read_text().splitlines() if x.startswith("| `inferd_")]
    assert rows == want, "\n".join(want)
    settings = set(re.findall(r"^\| `(\w+)` \|", (TOP / "docs" / "config.md").read_text().partition("`[limits]`")[2]
                              .partition("\n## ")[0], re.M))
    silent = {"body_grace_ms", "drain_delay_ms", "drain_ms", "linger_ms"}  # they refuse nobody
    assert {m for m in settings - silent if f"`inferd_limit_{m}_total`" not in "".join(rows)} == set()


@pytest.mark.smoke
@pytest.mark.threads
def test_metrics(up):
    up.chat("a"), up.chat("nope"), up.chat("b", stream=True)
    reply = raw.get(up.control, "/metrics")
    assert reply["content-type"].startswith("text/plain; version=0.0.4")
    typed, seen = {}, set()
    for line in reply.body.decode().splitlines():
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name not in typed, f"{name} has two heads"
            typed[name] = kind
        elif not line.startswith("# HELP "):
            match = LINE.match(line)
            assert match, line
            assert match[0].rpartition(" ")[0] not in seen, f"twice: {line}"
            seen.add(match[0].rpartition(" ")[0])
            base = re.sub("_(bucket|sum|count)$", "", match[1]) if match[1] not in typed else match[1]
            assert base in typed, line
            assert match[1].startswith("inferd_"), line
    until(lambda: up.metric("inferd_requests_total") == 3 and up.metric("inferd_requests_in_flight") == 0, "all three are counted")
    values = up.metrics()
    assert values['inferd_faults_total{code="model_not_found"}'] == 1
    assert values['inferd_model_requests_total{model="a",class="2xx"}'] == 1
    assert values['inferd_model_requests_total{model="other",class="4xx"}'] == 1  # a name nobody lists is no label
    assert sum(v for k, v in values.items() if k.startswith("inferd_engine_replies_total") and 'class="2xx"' in k) == 2
    assert not any("nope" in k for k in values)
    assert values['inferd_requests_total{class="2xx"}'] == 2 and values['inferd_requests_total{class="4xx"}'] == 1
    assert up.metric("inferd_attempts_total") == 2
    assert values["inferd_first_byte_seconds_count"] == 2
    assert up.metric("inferd_prompt_tokens_total") == 3  # of the reply that was no stream


def test_it_answers_when_the_lanes_do_not(bench):
    """Every connection is taken; the admin side has its own."""
    engine = bench.engine(lambda c: c.wait_gone(30))
    up = bench.up({"remote": [remote(engine)], "limits": {"connections": 8}})
    held = [up.open_chat(stream=False) for _ in range(8)]
    until(lambda: len(engine.requests) == 8, "all are taken")
    assert up.admin("/status")["connections"] == 8
    assert raw.get(up.address, "/health").status == 503
    assert up.admin("/stats")["total_services"] == 1
    for c in held:
        c.close()


def test_logs_follow(bench):
    up = bench.up({"engine": [{"name": "talker", "models": ["m"], "command":
                               ["sh", "-c", "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.05; done # ${PORT}"]}]})
    until(lambda: b"line 0\n" in raw.get(up.control, "/units/talker/logs").body, "output is kept")
    with raw.Connection(up.control) as c:
        c.request("GET", "/units/talker/logs?follow=1")
        reply = c.head()
        assert reply.status == 200
        while b"line 20\n" not in c.waiting:
            assert c.more()
    refused(raw.get(up.control, "/units/nobody/logs"), 404, "service_not_found")


def test_a_stranger_on_the_control_socket(bench):
    """It speaks HTTP only, and nothing it says stops the gateway."""
    up = bench.up({"engine": [mock_unit("tiny")]})
    for junk in (b"\0" * 5000, b"GET / HTTP/9.9\r\n\r\n", b"POST /units/tiny/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
                 b"GET /units/ HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /units//logs HTTP/1.1\r\nHost: x\r\n\r\n"):
        with raw.Connection(up.control) as c:
            c.send(junk)
            if not junk.startswith(b"POST"):
                assert c.reply("GET").status >= 400
    assert up.wait_unit("tiny", "ready")
